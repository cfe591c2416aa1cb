"""From target weights to realized weights.

Scope: partial adjustment, and how long it takes. Not here: the risk scalar (``core.allocator``).
"""
