"""What follows from a spec: plain data, decided without Pulumi."""
