"""Benchmarks: figures as ratios within one run, each printed as one JSON line. Never part of the tests."""
