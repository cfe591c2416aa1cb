"""Verification of stored tables: invariants that hold on every correct history, as pure functions on frames.

Scope: findings: what was measured, against which limit, and the rows that offend. Not here: what becomes of a finding:
the store refuses a write, an asset check turns red, the command line exits non-zero.
"""

from weights_pipeline.core.verify.allocator import (
    aligned_state,
    audit_gates,
    ordered_scalars,
    overlay_applied,
    same_sessions,
    scalar_bounds,
    scalar_recursion,
    smooth_scalars,
    state_coverage,
    sticky_regimes,
    volatility_targeted,
)
from weights_pipeline.core.verify.finding import Finding, together
from weights_pipeline.core.verify.ledger import (
    NOT_RECONCILED,
    RECONCILED,
    UNKNOWN_POSITION,
    accounting,
    known_strategies,
    known_volumes,
    ledger_findings,
    positions_known,
    reconciled,
    rejection_share,
    returns_in_scale,
    unique_lots,
)
from weights_pipeline.core.verify.metrics import enough_data, extreme_values, measured_on_known_positions, not_behind
from weights_pipeline.core.verify.stored import as_written, no_gap, reproduced, unchanged_months
from weights_pipeline.core.verify.weights import (
    BOUND_TOLERANCE,
    SUM_TOLERANCE,
    at_bound,
    group_limits,
    hard_limits,
    reads_current_set,
    recurrence,
    turnover,
    weight_violations,
)

__all__ = [
    "BOUND_TOLERANCE",
    "NOT_RECONCILED",
    "RECONCILED",
    "SUM_TOLERANCE",
    "UNKNOWN_POSITION",
    "Finding",
    "accounting",
    "aligned_state",
    "as_written",
    "at_bound",
    "audit_gates",
    "enough_data",
    "extreme_values",
    "group_limits",
    "hard_limits",
    "known_strategies",
    "known_volumes",
    "ledger_findings",
    "measured_on_known_positions",
    "no_gap",
    "not_behind",
    "ordered_scalars",
    "overlay_applied",
    "positions_known",
    "reads_current_set",
    "reconciled",
    "recurrence",
    "rejection_share",
    "reproduced",
    "returns_in_scale",
    "same_sessions",
    "scalar_bounds",
    "scalar_recursion",
    "smooth_scalars",
    "state_coverage",
    "sticky_regimes",
    "together",
    "turnover",
    "unchanged_months",
    "unique_lots",
    "volatility_targeted",
    "weight_violations",
]
