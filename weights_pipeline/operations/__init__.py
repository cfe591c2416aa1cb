"""What a person starts by hand: a rebalance, a restatement, an update of weight sets, an allocator's documents.

Scope: plans and documents that need no run. Not here: starting runs (``orchestration.runs``).
"""
