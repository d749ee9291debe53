"""Asks registries and AWS what a preview wants to know. Reads only; knows no Pulumi."""

from pulumi_holdfast.probe.ask import Prober

__all__ = ["Prober"]
