"""Benchmarks: ratios side by side in one run, against a peer and against the limit. Run by ``make bench``."""
