"""Optimised allocations: weights that follow from the returns of a window rather than from a metric of each strategy.

Scope: our own objective, its drawdown limit and the convex program it is solved by; the estimators of skfolio by name.
Not here: how a book names a method and what becomes of its weights (``methods``), nor where returns come from.
"""
