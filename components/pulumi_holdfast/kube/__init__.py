"""Planned objects made real on Kubernetes."""
