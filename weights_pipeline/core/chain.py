"""The chain from daily returns to final weights, table by table.

Here belong the steps that map one stored table to the next, over any number of rebalances: each is one call into the
formulas of its neighbours. Here do not belong formulas, nor where tables are kept. Whoever wants a whole history in
memory calls these in order; an orchestrator calls them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weights_pipeline.core.adjust import partial_adjustment
from weights_pipeline.core.capital import CapitalPolicy
from weights_pipeline.core.marking import mark_to_market
from weights_pipeline.core.methods.base import Limits, Method, target_weights
from weights_pipeline.core.overlay import apply_overlay
from weights_pipeline.core.regime import RegimeThresholds, classify
from weights_pipeline.core.returns import daily_returns, wide
from weights_pipeline.core.scalar import AllocatorParameters, Profile, risk_scalar
from weights_pipeline.core.sessions import next_session
from weights_pipeline.core.state import allocator_state, reference_portfolio, sleeve_contributions


def last_sessions(sessions: pd.DatetimeIndex, windows: pd.IntervalIndex) -> pd.DatetimeIndex:
    """Last session inside each window of dates [left, right).

    Parameters
    ----------
    sessions
        Trading sessions, ascending.
    windows
        Half-open windows of dates, ascending.

    Raises
    ------
    ValueError
        A window has no session.
    """
    last = sessions.searchsorted(windows.right, side="left") - 1
    first = sessions.searchsorted(windows.left, side="left")
    if (empty := last < first).any():
        raise ValueError(f"no session in {windows[empty].to_tuples().tolist()}")
    return sessions[last]


def returns_table(
    lots: pd.DataFrame,
    open_lots: pd.DataFrame,
    given: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    policy: CapitalPolicy,
    start: pd.Timestamp,
    prices: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Daily returns from ``start`` on, from lots or, where a strategy delivers them, as given.

    Parameters
    ----------
    lots, open_lots
        Rows of ``trade_ledger`` and ``open_lots`` from the first session on.
    given
        Rows of ``given_returns`` from the first session on; a session without one is a return of 0.
    sessions
        Trading sessions up to the last one wanted.
    policy
        How capital is chosen.
    start
        First session wanted.
    prices
        Closing prices, sessions × symbols; where given, lots from fills are marked to market while open.

    Returns
    -------
    DataFrame
        Rows of ``strategy_returns``.
    """
    marked = None if prices is None else mark_to_market(lots, open_lots, prices, sessions)
    booked = daily_returns(lots, sessions, policy, open_lots=open_lots, marked=marked, start=start)
    if given.empty:
        return booked
    spread = wide(given).reindex(sessions)
    live = spread.notna().cumsum() > 0
    rows = spread.fillna(0.0).where(live).loc[start:].rename_axis(index="session", columns="strategy")
    delivered = rows.reset_index().melt("session", value_name="daily_return").dropna()
    delivered = delivered.assign(
        pnl=np.nan, capital=np.nan, closed_lots=np.nan, winning_lots=np.nan, active=delivered["daily_return"] != 0
    )
    table = pd.concat([booked, delivered], ignore_index=True)
    return table.sort_values(["session", "strategy"], ignore_index=True)


def target_table(
    metrics: pd.DataFrame, metric: str, method: Method, base: Mapping[str, float], limits: Limits, gross: float
) -> pd.DataFrame:
    """Target weights of every date in a metrics table.

    Parameters
    ----------
    metrics
        Rows of ``metrics``: as_of, strategy, metric, value, reason.
    metric
        The metric the method reads, with its window, such as ``calmar_12m``.
    method, base, limits, gross
        The book's policy.

    Returns
    -------
    DataFrame
        Rows of ``target_weights``.

    Raises
    ------
    ValueError
        The metric is not in the table.
    """
    chosen = metrics[metrics["metric"] == metric]
    if chosen.empty:
        raise ValueError(f"metric {metric!r} is not in the table, which has {sorted(metrics['metric'].unique())}")
    weights = pd.Series(dict(base), dtype=np.float64)
    tables = []
    for as_of, rows in chosen.groupby("as_of"):
        by_strategy = rows.set_index("strategy")
        table = target_weights(method, weights, by_strategy["value"], by_strategy["reason"], limits, gross)
        tables.append(table.assign(as_of=as_of, metric=metric))
    return pd.concat(tables, ignore_index=True)


def realized_table(
    previous: pd.DataFrame, targets: pd.DataFrame, rate: float, limits: Limits, gross: float, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Realised weights of every date in a targets table, each continuing from the one before.

    Parameters
    ----------
    previous
        Rows of ``realized_weights`` before the first date; only the newest date counts. Empty for the first
        partition of a book, which starts from base weights.
    targets
        Rows of ``target_weights``.
    rate, limits, gross
        The book's adjustment and limits.
    sessions
        Trading sessions, past the last date.

    Returns
    -------
    DataFrame
        Rows of ``realized_weights``.
    """
    weights: pd.Series | None = None
    if len(previous):
        newest = previous[previous["as_of"] == previous["as_of"].max()]
        weights = newest.set_index("strategy")["realized"]
    tables = []
    for as_of in pd.DatetimeIndex(targets["as_of"].unique()).sort_values():
        by_strategy = targets[targets["as_of"] == as_of].set_index("strategy")
        table = partial_adjustment(
            weights, by_strategy["target"], by_strategy["base"], rate=rate, limits=limits, gross=gross
        )
        weights = table.set_index("strategy")["realized"]
        tables.append(table.assign(as_of=as_of, effective_from=next_session(sessions, as_of)))
    return pd.concat(tables, ignore_index=True)


def state_table(returns: pd.DataFrame, realized: pd.DataFrame, sleeves: Mapping[str, str]) -> pd.DataFrame:
    """State of the unscaled reference portfolio on every session on which it can be computed.

    Parameters
    ----------
    returns
        Rows of ``strategy_returns`` from the first session on.
    realized
        Rows of ``realized_weights`` from the first rebalance on.
    sleeves
        Sleeve of each strategy; each its own where empty.

    Returns
    -------
    DataFrame
        Rows of ``allocator_state``.
    """
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized").fillna(0.0)
    held = wide(returns).reindex(columns=weights.columns)
    portfolio = reference_portfolio(weights, held)
    state = allocator_state(
        portfolio.returns,
        portfolio.equity,
        portfolio.components,
        trend_units=portfolio.units,
        sleeves=sleeve_contributions(portfolio.units, sleeves or None),
    )
    table = state.features.assign(
        portfolio_return=portfolio.returns.reindex(state.features.index),
        equity=portfolio.equity.reindex(state.features.index),
    )
    return table.rename_axis("session").reset_index()


def regime_table(state: pd.DataFrame, thresholds: RegimeThresholds) -> pd.DataFrame:
    """Risk regime of every session of a state table, from its first row on."""
    path = classify(state.set_index("session"), thresholds)
    return path.frame.rename_axis("session").reset_index()


def scalar_table(regimes: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Risk scalar of every session of a regime table, from its first row on."""
    by_session = regimes.set_index("session")["regime"]
    table = risk_scalar(by_session, profile).assign(regime=by_session)
    return table.rename_axis("session").reset_index()


def final_table(
    realized: pd.DataFrame, scalars: pd.DataFrame, overlay: AllocatorParameters, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Weights to trade on every date of a realised table.

    Parameters
    ----------
    realized
        Rows of ``realized_weights``.
    scalars
        Rows of ``risk_scalar`` from the first session on.
    overlay
        Lag, and whether the overlay is applied.
    sessions
        Trading sessions, past the last effective date.

    Returns
    -------
    DataFrame
        Rows of ``final_weights`` but for ``next_rebalance``.
    """
    by_session = scalars.set_index("session")
    tables = []
    for effective_from in pd.DatetimeIndex(realized["effective_from"].unique()).sort_values():
        rows = realized[realized["effective_from"] == effective_from]
        weights = rows.set_index("strategy")["realized"]
        result = apply_overlay(
            weights, by_session["scalar"], effective_from, sessions, lag=overlay.lag, enabled=overlay.enabled
        )
        known = not pd.isna(result.scalar_session)
        tables.append(
            pd.DataFrame(
                {
                    "as_of": rows["as_of"].iloc[0],
                    "effective_from": effective_from,
                    "strategy": weights.index,
                    "realized": weights.to_numpy(),
                    "scalar": result.scalar,
                    "scalar_session": result.scalar_session,
                    "regime": by_session["regime"].get(result.scalar_session, "") if known else "",
                    "scaled": result.scaled.to_numpy(),
                    "applied": overlay.enabled,
                    "final": result.final.to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
