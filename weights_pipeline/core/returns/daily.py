"""Daily strategy returns from lots.

Here belongs what a strategy earned in a session and on what capital. Here do not belong the lots themselves
(files, matching, rejection), nor anything measured on the returns (``metrics``).

A return is fixed on its session. At session t only lots closed by t are known, and of lots from fills also
what was open by then; nothing that happens later revises it. Capital at t is made of the trailing window
alone, and always by the same additions in the same order, so that a ledger cut after t, or before the
window, gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.returns.capital import AveragePositionValue, CapitalPolicy
from weights_pipeline.core.returns.lot_arrays import (
    Booleans,
    Floats,
    LotArrays,
    inside,
    month_start,
    positions,
    require_columns,
    require_grid,
)

_CODED = ("strategy", "open_session", "entry_value")


@dataclass(frozen=True, kw_only=True)
class DailyArrays:
    """Daily figures, each of shape (strategies, sessions).

    Attributes
    ----------
    daily_return
        P&L over capital, a fraction; 0 in a session without P&L.
    pnl
        P&L booked in the session, account currency.
    capital
        Capital known in the session; NaN while unknown.
    closed_lots, winning_lots
        Lots that left in the session, and those of them with a profit.
    active
        Whether a lot known by then was open in the session, lots known to use no margin left aside.
    """

    daily_return: Floats
    pnl: Floats
    capital: Floats
    closed_lots: npt.NDArray[np.int64]
    winning_lots: npt.NDArray[np.int64]
    active: Booleans


def daily_return_arrays(
    lots: LotArrays, policy: CapitalPolicy, *, marked: Floats | None = None, start: int = 0
) -> DailyArrays:
    r"""Daily returns :math:`r_{i,t} = \mathrm{pnl}_{i,t} / C_{i,t}` on the grid of strategies and sessions.

    The array-level core of :func:`daily_returns`, for ledgers too large to be held as a frame.

    Parameters
    ----------
    lots
        Coded lots.
    policy
        How capital is chosen.
    marked
        P&L to use in place of what was booked on exit, shape (strategies, sessions); from
        :func:`mark_to_market`.
    start
        Position of the first session wanted. Those before it are the history that windows need: their
        capital may be incomplete, and their returns are 0 and not checked.

    Returns
    -------
    DailyArrays

    Raises
    ------
    ValueError
        There is P&L but no capital, or a return is −100 % or less.
    """
    pnl = lots.per_cell(lots.pnl) if marked is None else marked
    closed_lots = lots.per_cell(rows=lots.closed)
    capital = policy.capital(lots)
    earned = (closed_lots > 0) | (pnl != 0)
    earned[:, :start] = False
    if (unknown := earned & np.isnan(capital)).any():
        row, column = _earliest(unknown)
        raise ValueError(
            f"capital: strategy {lots.strategies[row]} has P&L of {pnl[row, column]:.2f} on "
            f"{lots.sessions[column]:%Y-%m-%d} but no capital under {policy.kind}: {policy.remedy}"
        )
    daily_return = np.divide(pnl, capital, out=np.zeros(lots.shape), where=earned)
    if (ruined := daily_return <= -1).any():
        row, column = _earliest(ruined)
        raise ValueError(
            f"daily return: strategy {lots.strategies[row]} lost 100% or more on "
            f"{lots.sessions[column]:%Y-%m-%d}: P&L {pnl[row, column]:.2f} on capital "
            f"{capital[row, column]:.2f}; check the lots of that session, or give the capital it "
            f"really had as capital_base"
        )
    return DailyArrays(
        daily_return=daily_return,
        pnl=pnl,
        capital=capital,
        closed_lots=closed_lots,
        winning_lots=lots.per_cell(rows=lots.pnl > 0),
        active=_active(lots),
    )


_DEFAULT_POLICY = AveragePositionValue()


def daily_returns(
    lots: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    policy: CapitalPolicy = _DEFAULT_POLICY,
    *,
    open_lots: pd.DataFrame | None = None,
    marked: pd.DataFrame | None = None,
    first_activity: Mapping[str, pd.Timestamp] | None = None,
    start: pd.Timestamp | None = None,
) -> pd.DataFrame:
    r"""Daily returns per strategy: P&L of the lots exited in a session over the capital known then.

    Rows may come in any order: they are summed in an order of their own content.

    Parameters
    ----------
    lots
        Closed lots: ``strategy``, ``session`` (of the exit), ``open_session``, ``entry_value``, ``pnl``,
        ``margin_used`` (may be null) and, where ``open_lots`` is given, ``source`` (``lots`` or ``fills``).
        Exits outside ``sessions`` are left aside.
    sessions
        The calendar's sessions, ascending, up to the last one wanted. With ``open_lots`` they run to the
        end of a month or of the ledger. What was open before the first of them counts from the first on, so
        they begin with the ledger or, to get the same bits from a part of it, two windows before ``start``.
    policy
        How capital is chosen.
    open_lots
        Lots from fills still open at each month end: ``strategy``, ``entry_value``, ``open_session``,
        ``snapshot`` (the last session of that month). Without it, lots from fills too are known only once
        they are closed.
    marked
        Daily P&L to use in place of what was booked on exit, sessions × strategies; from
        :func:`mark_to_market`.
    first_activity
        First session of each strategy, where the lots do not reach back to it.
    start
        First session wanted, by default the first of all.

    Returns
    -------
    DataFrame
        Sorted by session and strategy, from each strategy's first activity on (its first exit; from fills,
        its first opening): ``session``, ``strategy``, ``daily_return`` (a fraction; 0 without P&L),
        ``pnl``, ``capital`` (NaN while unknown and not needed), ``closed_lots``, ``winning_lots`` (P&L
        above 0), ``active`` (a lot known by then was open; lots with a ``margin_used`` of 0 do not count).

    Raises
    ------
    ValueError
        Columns or values are missing, a date is not a session, there is P&L but no capital, a return is
        −100 % or less, or ``first_activity`` contradicts the lots.
    """
    require_grid(sessions)
    coded = _coded(lots, open_lots, sessions, first_activity or {})
    first = _first_positions(coded, first_activity)
    begin = 0 if start is None else int(sessions.searchsorted(pd.Timestamp(start)))
    pnl = None if marked is None else _on_grid(marked, coded)
    daily = daily_return_arrays(coded, policy, marked=pnl, start=begin)
    wanted = np.arange(len(sessions))[:, None] >= np.maximum(first, begin)
    session, strategy = wanted.nonzero()
    return pd.DataFrame(
        {
            "session": sessions.take(session),
            "strategy": pd.Index(coded.strategies, dtype="str").take(strategy),
            **{f.name: getattr(daily, f.name).T[wanted] for f in fields(daily)},
        }
    )


def wide(returns: pd.DataFrame, column: str = "daily_return") -> pd.DataFrame:
    """Turn long daily returns into sessions × strategies; NaN before a strategy's first activity.

    Parameters
    ----------
    returns
        Rows as :func:`daily_returns` gives them.
    column
        The figure to spread.

    Returns
    -------
    DataFrame
    """
    return returns.pivot(index="session", columns="strategy", values=column)


def _coded(
    lots: pd.DataFrame,
    open_lots: pd.DataFrame | None,
    sessions: pd.DatetimeIndex,
    also: Iterable[str],
) -> LotArrays:
    """Code a ledger on the grid, rows in an order that depends on their content alone."""
    source = () if open_lots is None else ("source",)
    require_columns("lots", lots, (*_CODED, "pnl", "session", *source), nullable=("margin_used",))
    columns = [*_CODED, "pnl", "session", "uses_margin", "closed", "from_fills"]
    rows = lots.assign(
        uses_margin=lots["margin_used"].astype(np.float64) != 0,
        closed=True,
        from_fills=False if open_lots is None else lots["source"] == "fills",
    )[columns]
    if open_lots is not None:
        require_columns("open_lots", open_lots, (*_CODED, "snapshot"))
        still_open = open_lots.rename(columns={"snapshot": "session"}).assign(
            pnl=0.0, uses_margin=True, closed=False, from_fills=True
        )[columns]
        rows = pd.concat([rows, still_open], ignore_index=True)
    names = sorted({*rows["strategy"].unique(), *also})
    rows = inside(rows, sessions)
    strategy = pd.Index(names, dtype="str").get_indexer(pd.Index(rows["strategy"], dtype="str"))
    session = positions(rows, "session", sessions)
    opened = np.maximum(positions(rows, "open_session", sessions), 0)
    entry_value, pnl = rows["entry_value"].to_numpy(np.float64), rows["pnl"].to_numpy(np.float64)
    # Rows that tie on all of these are the same addend to every sum.
    order = np.lexsort((pnl, entry_value, opened, strategy, session))
    return LotArrays(
        strategies=tuple(names),
        sessions=sessions,
        strategy=strategy[order],
        session=session[order],
        open_session=opened[order],
        pnl=pnl[order],
        entry_value=entry_value[order],
        **{name: rows[name].to_numpy(bool)[order] for name in ("uses_margin", "closed", "from_fills")},
    )


def _first_positions(lots: LotArrays, given: Mapping[str, pd.Timestamp] | None) -> npt.NDArray[np.int64]:
    """Position of each strategy's first activity; past the end where there is none."""
    n, horizon = lots.shape
    known = np.where(lots.from_fills, lots.open_session, lots.session)
    first = np.full(n, horizon)
    np.minimum.at(first, lots.strategy, known)
    if given is None:
        return first
    for row, name in enumerate(lots.strategies):
        if name not in given:
            raise ValueError(f"first_activity: strategy {name} has lots but no first session, got {sorted(given)}")
        position = int(lots.sessions.searchsorted(pd.Timestamp(given[name])))
        if first[row] < position:
            raise ValueError(
                f"first_activity: strategy {name} has lots on {lots.sessions[first[row]]:%Y-%m-%d}, before "
                f"{given[name]:%Y-%m-%d}"
            )
        first[row] = position
    return first


def _active(lots: LotArrays) -> Booleans:
    """Whether a lot known in a session, and not known to use no margin, was open in it."""
    active: Booleans = lots.per_cell(rows=~lots.from_fills & lots.uses_margin) > 0
    fills = lots.where(lots.from_fills & lots.uses_margin)
    number, each, month = np.zeros(lots.shape), np.ones(len(fills.session)), month_start(lots.sessions)
    for session, rows in fills.by_session():
        fills.add_open(number, rows, int(month[session]), each)
    return active | (number > 0)


def _on_grid(marked: pd.DataFrame, lots: LotArrays) -> Floats:
    values = marked.reindex(index=lots.sessions, columns=list(lots.strategies)).to_numpy(np.float64).T
    if (missing := ~np.isfinite(values)).any():
        row, column = _earliest(missing)
        raise ValueError(
            f"marked: no P&L of strategy {lots.strategies[row]} on {lots.sessions[column]:%Y-%m-%d}, "
            f"expected one per strategy and session"
        )
    return values


def _earliest(mask: Booleans) -> tuple[int, int]:
    """Row and column of the first true cell by session, then strategy."""
    column, row = np.argwhere(mask.T)[0].tolist()
    return row, column
