"""From metrics to target weights.

Scope: methods, optimisation, normalisation, market regimes. Not here: how fast weights follow (``core.realized``).
"""
