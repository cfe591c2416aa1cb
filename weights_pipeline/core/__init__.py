"""The science: pure functions on NumPy and pandas.

Scope: formulas of sessions, lots, returns, metrics, targets, adjustment and the allocator. Not here: Dagster, files,
databases, the clock and the environment.
"""
