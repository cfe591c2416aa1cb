"""From realized weights and scalars to the weights to trade.

Scope: ``final_weights`` and ``daily_weights``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import hedged_rows
from weights_pipeline.core.allocator.overlay import (
    scalars_in_force,
    scalars_on,
)
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.sessions import sessions_after


def final_table(
    realized: pd.DataFrame, scalars: pd.DataFrame | None, policy: Policy, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Weights to trade on every date of a realized table.

    Parameters
    ----------
    realized
        Rows of ``realized_weights``.
    scalars
        Rows of ``risk_scalar`` from the first session on; None for a policy without overlay.
    policy
        The book's policy.
    sessions
        Trading sessions, past the last effective date.

    Returns
    -------
    DataFrame
        Rows of ``final_weights`` but for ``next_rebalance``.

    Raises
    ------
    StaleScalarError
        An enabled overlay lacks the scalar of a session, once scalars have begun.
    """
    table = realized[["as_of", "effective_from", "strategy", "realized"]].reset_index(drop=True)
    return _scaled(table, scalars, policy, sessions)


def daily_table(
    realized: pd.DataFrame,
    scalars: pd.DataFrame | None,
    policy: Policy,
    sessions: pd.DatetimeIndex,
    as_of: pd.DatetimeIndex,
) -> pd.DataFrame:
    """Weights to trade after every session: the newest realized ones at a scalar of each day's own.

    Parameters
    ----------
    realized, scalars, policy
        See :func:`final_table`.
    sessions
        Trading sessions, past the last of ``as_of``.
    as_of
        Closed sessions, ascending.

    Returns
    -------
    DataFrame
        Columns of :func:`final_table`, one row per session and strategy in force on the session after it, which is
        ``effective_from``. None for sessions before the first realized weights. After the as-of session of a rebalance
        they are those of :func:`final_table`.

    Raises
    ------
    StaleScalarError
        See :func:`final_table`.
    """
    effective = sessions_after(sessions, as_of)
    rows = realized.sort_values(["effective_from", "strategy"], ignore_index=True)
    begun, first, count = np.unique(rows["effective_from"].to_numpy(), return_index=True, return_counts=True)
    newest = np.searchsorted(begun, effective.to_numpy(), side="right") - 1
    days = np.flatnonzero(newest >= 0)
    size = count[newest[days]]
    day = days.repeat(size)
    place = np.arange(len(day)) + (first[newest[days]] - (size.cumsum() - size)).repeat(size)
    table = pd.DataFrame(
        {
            "as_of": as_of[day],
            "effective_from": effective[day],
            "strategy": rows["strategy"].array.take(place),
            "realized": rows["realized"].to_numpy()[place],
        }
    )
    return _scaled(table, scalars, policy, sessions)


def _scaled(
    table: pd.DataFrame, scalars: pd.DataFrame | None, policy: Policy, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Scale realized weights, each by the scalar of its sleeve that is in force when they are, and by the target's."""
    if policy.overlay is None or scalars is None:
        nowhere = pd.DatetimeIndex([pd.NaT] * len(table)).as_unit("us")
        nothing = ("scalar", "volatility", "volatility_scalar", "funding", "hedge", "scaled")
        unscaled = table.assign(**dict.fromkeys(nothing, np.nan), scalar_session=nowhere, regime="", applied=False)
        return unscaled.assign(final=table["realized"])
    overlay = policy.overlay
    dates = pd.DatetimeIndex(table["effective_from"].unique()).sort_values()
    date = dates.get_indexer(pd.DatetimeIndex(table["effective_from"]))
    book = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")
    values, used = scalars_in_force(book["scalar"], dates, sessions, lag=overlay.lag, enabled=overlay.enabled)
    value, session = values[date], used[date]
    sleeve = table["strategy"].map(overlay.scaled_by).to_numpy()
    for name in overlay.sleeve_maps:
        own = scalars[scalars["sleeve"] == name].set_index("session")["scalar"]
        mine = sleeve == name
        value[mine] = scalars_on(own, f"sleeve {name}", values, used, enabled=overlay.enabled)[date[mine]]
    scaled = table["realized"].to_numpy() * value
    volatility = targeted = np.full(len(table), np.nan)
    if overlay.volatility_target is not None:
        volatility = book["volatility"].reindex(session).to_numpy()
        neutral, of = np.ones(len(session)), "volatility target"
        targeted = scalars_on(book["volatility_scalar"], of, neutral, session, enabled=overlay.enabled)
        scaled = scaled * targeted
    table = table.assign(
        scalar=value,
        scalar_session=session,
        regime=book["regime"].reindex(session).fillna("").to_numpy(),
        volatility=volatility,
        volatility_scalar=targeted,
        funding=np.nan,
        hedge=np.nan,
        scaled=scaled,
        applied=overlay.enabled,
    )
    if policy.hedging:
        table["funding"], table["hedge"] = hedged_rows(table, book["regime"], policy.hedging)
        table["scaled"] = table["scaled"] * table["funding"] + table["hedge"]
    return table.assign(final=table["scaled"] if overlay.enabled else table["realized"])
