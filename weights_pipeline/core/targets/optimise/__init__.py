"""Optimised allocations: weights that follow from the returns of a window rather than from a metric of each strategy.

Here belong the objectives, one file each, what they estimate from returns, and the one convex program they share. Here
does not belong how a book names them and what becomes of their weights (``methods``), nor where returns come from.
"""
