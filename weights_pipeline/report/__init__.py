"""The report: one HTML file about a rebalance that stands by itself, for whoever does not read tables.

Here belong what a report says (``gather``), what the books would have earned side by side (``compare``), what of the
store may be read for a past day (``seen``), and how it becomes a page (``render``, ``templates``). Here does not belong
any formula of a weight or a check: those of ``core`` and ``checklist`` are called.
"""
