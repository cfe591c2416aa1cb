"""What scaling has earned and cost.

Scope: ``allocator_audit``, and the weights that it is of.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import hedged, wanted
from weights_pipeline.core.allocator.overlay import (
    applied_scalar,
    audit,
    audit_of_hedges,
)
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters
from weights_pipeline.core.allocator.state import (
    reference_portfolio,
)
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.daily import wide


def audit_table(
    realized: pd.DataFrame,
    returns: pd.DataFrame,
    scalars: pd.DataFrame,
    regimes: pd.DataFrame,
    policy: Policy,
    as_of: pd.DatetimeIndex,
) -> pd.DataFrame:
    """Audit of an overlay over the whole history up to each date: final against realized weights, by what they earned.

    Final weights are those of :func:`final_table`, or of :func:`daily_table` where the overlay is applied daily, also
    where it is disabled: what it would do. Where the scalar of a session is missing, the one before it stays.

    Parameters
    ----------
    realized, returns, scalars, regimes
        Rows of ``realized_weights``, ``strategy_returns``, ``risk_scalar`` and ``risk_regime`` from the first on.
    policy
        The book's policy, with an overlay.
    as_of
        Last sessions that count.

    Returns
    -------
    DataFrame
        Date by date: ``as_of`` and the rows of :func:`~weights_pipeline.core.allocator.overlay.audit`; of a policy with
        hedges also those of :func:`~weights_pipeline.core.allocator.overlay.audit_of_hedges`.
    """
    weights, daily = audited_weights(realized, returns, scalars, policy), wide(returns)
    unscaled, scaled = (reference_portfolio(each, daily).returns for each in (weights.unscaled, weights.scaled))
    exposure, path = weights.exposure, regimes.set_index("session")["regime"]
    unhedged, hedges = scaled, None
    if weights.hedges:
        unhedged, given_up, earned = (reference_portfolio(each, daily).returns for each in weights.hedges)
        together = weights.hedges.hedge.sum(axis=1)
        hedges = pd.DataFrame({"weight": together, "earned": earned, "given_up": given_up})
    tables = []
    for date in as_of:
        table = audit(unscaled.loc[:date], scaled.loc[:date], exposure.loc[:date], path.loc[:date], policy.frequency)
        tables.append(table.assign(as_of=date))
        if hedges is not None:
            table = audit_of_hedges(unhedged.loc[:date], hedges.loc[:date], policy.frequency)
            tables.append(table.assign(as_of=date))
    return pd.concat(tables, ignore_index=True)


class AuditedHedges(NamedTuple):
    """Scaled weights without hedges, how much of them has paid for these, and they; sessions × strategies."""

    unhedged: pd.DataFrame
    paid: pd.DataFrame
    hedge: pd.DataFrame


class AuditedWeights(NamedTuple):
    """Weights that an audit is of: unscaled and scaled, sessions × strategies, and scaled over unscaled gross.

    Scaled weights have the hedges among them; how, is None under a policy without any.
    """

    unscaled: pd.DataFrame
    scaled: pd.DataFrame
    exposure: pd.Series
    hedges: AuditedHedges | None = None


def audited_weights(
    realized: pd.DataFrame, returns: pd.DataFrame, scalars: pd.DataFrame, policy: Policy
) -> AuditedWeights:
    """Weights in force on each session of an audit, as they were and as they were or would have been scaled.

    Parameters
    ----------
    realized, returns, scalars, policy
        See :func:`audit_table`.
    """
    overlay = policy.overlay or AllocatorParameters()
    daily = wide(returns)
    held = realized.pivot(index="effective_from", columns="strategy", values="realized")
    weights = held.fillna(0.0)
    days = pd.DatetimeIndex(daily.index[daily.index >= weights.index.min()])
    by_sleeve = scalars.pivot(index="session", columns="sleeve", values="scalar")
    # A sleeve that has got a map of its own only later was scaled as the book before.
    own = {name: by_sleeve[name].fillna(by_sleeve[WHOLE_BOOK]) for name in by_sleeve}
    book = own.get(WHOLE_BOOK, pd.Series(dtype=np.float64))
    factor = pd.DataFrame(
        {
            name: applied_scalar(own.get(overlay.scaled_by(name), book), pd.DatetimeIndex(daily.index), overlay.lag)
            for name in weights.columns
        }
    )
    targeted = pd.Series(1.0, index=daily.index)
    if overlay.volatility_target is not None:
        found = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")["volatility_scalar"]
        targeted = applied_scalar(found, pd.DatetimeIndex(daily.index), overlay.lag)
    if overlay.apply == "rebalance":
        factor, targeted = factor.reindex(weights.index).fillna(1.0), targeted.reindex(weights.index).fillna(1.0)
    factor, targeted = factor.reindex(days, method="ffill"), targeted.reindex(days, method="ffill")
    in_force = weights.reindex(days, method="ffill")
    lowest = factor.min(axis=1)
    # Exactly the scalar where it is the same for all strategies.
    exposure = lowest + (in_force * factor.sub(lowest, axis=0)).sum(axis=1) / in_force.sum(axis=1)
    scaled = (in_force * factor).mul(targeted, axis=0)
    audited = AuditedWeights(in_force, scaled, exposure * targeted)
    if policy.hedging is None:
        return audited
    regimes = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")["regime"]
    goal = wanted(regimes, policy.hedging.hedges).reindex(daily.index).ffill().shift(overlay.lag).fillna(0.0)
    dates = days if overlay.apply == "daily" else held.index
    of_book = scaled.reindex(dates).where(held.notna().reindex(dates, method="ffill"))
    made = hedged(of_book, goal.reindex(dates).to_numpy(), policy.hedging)
    hedge = pd.DataFrame(made.hedge, index=dates, columns=held.columns).reindex(days, method="ffill")
    funding = pd.Series(made.funding, index=dates).reindex(days, method="ffill")
    paid = scaled.mul(1.0 - funding, axis=0)
    return audited._replace(scaled=scaled.mul(funding, axis=0) + hedge, hedges=AuditedHedges(scaled, paid, hedge))
