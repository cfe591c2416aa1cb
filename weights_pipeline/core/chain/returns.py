"""From lots to daily returns.

Scope: ``strategy_returns``, of lots, marked to market while open, or as a strategy delivers them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.capital import CapitalPolicy
from weights_pipeline.core.returns.daily import daily_returns
from weights_pipeline.core.returns.delivered import delivered
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.marking import mark_to_market


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
    open_lots: pd.DataFrame | None,
    given: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    policy: CapitalPolicy,
    start: pd.Timestamp,
    prices: pd.DataFrame | None = None,
    cash: pd.DataFrame | None = None,
    frequency: Frequency = DAILY,
    rates: pd.DataFrame | None = None,
    first_activity: Mapping[str, pd.Timestamp] | None = None,
) -> pd.DataFrame:
    """Daily returns from ``start`` on, from lots or, where a strategy delivers them, as given.

    Parameters
    ----------
    lots, open_lots
        Rows of ``trade_ledger`` and ``open_lots`` from the first session on; None where no lot is from fills.
    given
        Rows of ``given_returns`` from the first session on; see :func:`delivered` for a session without one.
    sessions
        Sessions that returns stand on, up to the last one wanted.
    policy
        How capital is chosen.
    start
        First session wanted.
    prices
        Closing prices, sessions × symbols; where given, lots from fills are marked to market while open.
    cash
        Rows of ``cash`` from the first session on.
    frequency
        How often returns are observed.
    rates
        Rates of exchange into account currency, dates × currencies; needed where lots are in others.
    first_activity
        First session of each strategy, where the rows do not reach back to it.

    Returns
    -------
    DataFrame
        Rows of ``strategy_returns``.
    """
    marked = None
    if prices is not None and open_lots is not None:
        marked = mark_to_market(lots, open_lots, prices, sessions, rates)
    booked = daily_returns(
        lots,
        sessions,
        policy,
        open_lots=open_lots,
        marked=marked,
        cash=cash,
        rates=rates,
        first_activity=first_activity,
        start=start,
    )
    if given.empty:
        return booked
    live = (
        delivered(given, sessions, frequency.ended_after).loc[start:].rename_axis(index="session", columns="strategy")
    )
    rows = live.reset_index().melt("session", value_name="daily_return").dropna()
    rows = rows.assign(
        pnl=np.nan, capital=np.nan, closed_lots=np.nan, winning_lots=np.nan, active=rows["daily_return"] != 0
    )
    table = pd.concat([booked, rows], ignore_index=True)
    return table.sort_values(["session", "strategy"], ignore_index=True)
