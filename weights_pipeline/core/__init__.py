"""The science: pure functions on NumPy and pandas.

Here belong formulas: sessions, lots, returns, metrics, tilts, normalisation, adjustment, allocator.
Here do not belong Dagster, files, databases, the clock or the environment.
"""
