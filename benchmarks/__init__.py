"""Benchmarks: each times two or more forms side by side in one run."""
