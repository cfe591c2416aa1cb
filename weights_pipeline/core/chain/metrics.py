"""From daily returns to metrics.

Scope: ``metrics``, over the lookback of each date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.chain.overlay import regime_table, state_of
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.table import MetricGrid, metrics_grid
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.shards import Over, Shard, shards_of


def metric_rows(history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy, over: Over = map) -> pd.DataFrame:
    """Metrics of a book's strategies at each rebalance, over the policy's lookback.

    A policy with one lookback per risk regime takes that of the as-of session, by :func:`base_regimes`.

    Parameters
    ----------
    history
        Returns; for a lookback per risk regime from the first session on.
    as_of
        Last sessions of the partitions.
    policy
        The book's policy.
    over
        Carries the work to shards of strategies; see :mod:`weights_pipeline.core.shards`.

    Returns
    -------
    DataFrame
        Rows of ``metrics``.
    """
    work = partial(_metrics_of, history, _measured_on(history, as_of, policy), policy)
    tables: list[pd.DataFrame] = list(over(work, map(Shard, shards_of(policy.strategies))))
    return pd.concat(tables).sort_values(["as_of", "strategy", "metric", "lookback"], ignore_index=True)


def metric_grids(
    history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy, metrics: Sequence[str] | None = None
) -> list[MetricGrid]:
    """Metrics as in :func:`metric_rows`, as arrays: one grid per lookback, each with its own as-of sessions."""
    return _grids(history, _measured_on(history, as_of, policy), policy, metrics, policy.strategies)


def _measured_on(history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy) -> dict[Lookback, pd.DatetimeIndex]:
    """Sessions that each lookback is measured on."""
    if not policy.adaptive:
        return {policy.longest_lookback: as_of}
    regimes = base_regimes(history, policy).reindex(as_of).fillna(REGIMES[0])
    return {
        lookback: as_of[[policy.lookbacks[regime] == lookback for regime in regimes]]
        for lookback in dict.fromkeys(policy.lookbacks.values())
    }


def _metrics_of(
    history: ReturnHistory, wanted: Mapping[Lookback, pd.DatetimeIndex], policy: Policy, shard: Shard
) -> pd.DataFrame:
    return pd.concat([grid.table() for grid in _grids(history, wanted, policy, None, shard.strategies)])


def _grids(
    history: ReturnHistory,
    wanted: Mapping[Lookback, pd.DatetimeIndex],
    policy: Policy,
    metrics: Sequence[str] | None,
    strategies: Sequence[str],
) -> list[MetricGrid]:
    return [
        metrics_grid(
            history,
            dates,
            lookback,
            policy.metrics,
            frequency=policy.frequency,
            metrics=metrics,
            strategies=strategies,
            starter=policy.starter,
        )
        for lookback, dates in wanted.items()
        if len(dates)
    ]


def base_regimes(history: ReturnHistory, policy: Policy) -> pd.Series:
    """Risk regime of the portfolio at constant base weights, by session; NORMAL on sessions without a state.

    The metrics may depend on this one, but not on the regime of the realized weights, which follow from them.
    """
    returns = pd.DataFrame(history.returns, index=history.sessions, columns=list(history.strategies))
    weights = pd.DataFrame([policy.weights], index=history.sessions[:1], columns=list(policy.strategies))
    overlay = policy.overlay or AllocatorParameters()
    state = state_of(weights, returns, overlay, policy.frequency)
    return (
        regime_table(state, overlay.thresholds)
        .set_index("session")["regime"]
        .reindex(history.sessions, fill_value=REGIMES[0])
    )
