"""What a platform on AWS follows from its declaration: plain data, without Pulumi."""
