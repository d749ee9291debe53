"""The gateway's decisions: pure, without web framework, broker client or clock of their own."""
