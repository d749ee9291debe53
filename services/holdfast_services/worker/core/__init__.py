"""The worker's decisions: pure, without HTTP client, broker client or clock of their own."""
