"""Pulumi resources on AWS."""
