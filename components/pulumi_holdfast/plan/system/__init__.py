"""The plan of the shared stack: namespaces, secret stores, queue, gateway, scaler."""
