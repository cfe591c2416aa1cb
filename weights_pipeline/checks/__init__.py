"""Checks: which verification guards which table.

Scope: declarations, free of any orchestrator. Not here: what a check computes (``core.verify``).
"""
