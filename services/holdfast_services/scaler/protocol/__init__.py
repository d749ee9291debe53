"""KEDA's external scaler protocol: `externalscaler.proto`, and the code generated from it by `generate`."""
