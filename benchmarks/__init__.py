"""Benchmarks of speed and size. Each is measured beside its reference in the same run, so only ratios count."""
