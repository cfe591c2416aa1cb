"""The report: one HTML file about a rebalance that stands by itself, for whoever does not read tables.

Scope: what of the store may be read for a past day (``seen``), what is known (``facts``), how it is said (``words``),
and how it becomes a page (``render``, ``templates``). Not here: any formula of a weight or a check.
"""
