"""Versions of weights: what they were made from, their history, the same computed again, their publication.

Scope: everything that reads or adds versions over a store. Not here: which is in force (``core.versions``).
"""
