"""What runs one's own code as an endpoint: a service class becomes an HTTP server."""
