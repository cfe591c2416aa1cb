"""The chain from daily returns to final weights, table by table.

Scope: the steps that map one stored table to the next, over any number of rebalances; each is one call into the
formulas of its neighbours. Not here: formulas, and where tables are kept. Whoever wants a whole history in memory calls
these in order; an orchestrator calls them one by one.
"""

from weights_pipeline.core.chain.audit import AuditedHedges, AuditedWeights, audit_table, audited_weights
from weights_pipeline.core.chain.final import daily_table, final_table
from weights_pipeline.core.chain.metrics import base_regimes, metric_grids, metric_rows
from weights_pipeline.core.chain.overlay import (
    OverlayPath,
    overlay_path,
    regime_table,
    scalar_table,
    scalars_told,
    state_of,
    state_table,
    volatility_table,
)
from weights_pipeline.core.chain.realized import realized_table
from weights_pipeline.core.chain.returns import last_sessions, returns_table
from weights_pipeline.core.chain.targets import cross_sections, target_table, targets_in_turn, with_samples

__all__ = [
    "AuditedHedges",
    "AuditedWeights",
    "OverlayPath",
    "audit_table",
    "audited_weights",
    "base_regimes",
    "cross_sections",
    "daily_table",
    "final_table",
    "last_sessions",
    "metric_grids",
    "metric_rows",
    "overlay_path",
    "realized_table",
    "regime_table",
    "returns_table",
    "scalar_table",
    "scalars_told",
    "state_of",
    "state_table",
    "target_table",
    "targets_in_turn",
    "volatility_table",
    "with_samples",
]
