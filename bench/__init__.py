"""Benchmarks: `python -m bench` runs all of them, each module alone runs its own."""
