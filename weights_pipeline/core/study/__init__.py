"""Whole histories: simulation, walk-forward comparison of policies, and what a difference may be by luck.

Scope: studies over returns in memory. Not here: stored runs.
"""
