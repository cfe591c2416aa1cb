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

from weights_pipeline.core.returns.capital import (
    AveragePositionValue,
    CapitalPolicy,
    not_dust,
    position_values,
)
from weights_pipeline.core.returns.currencies import Rates, rates_of
from weights_pipeline.core.returns.lot_arrays import (
    NOTHING_HELD,
    Booleans,
    Floats,
    Held,
    LotArrays,
    inside,
    positions,
    require_columns,
    require_grid,
)
from weights_pipeline.core.returns.open_positions import decimal, dust_of, parts_of, spans_of


class RuinError(ValueError):
    """A return of −100% or less: of which strategy, and in which session."""

    strategy: str
    session: pd.Timestamp


_CODED = ("strategy", "open_session", "entry_value")
_HELD = (*_CODED, "symbol", "quantity")


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
        Whether a lot known by then was open in the session: one that used margin or, where that is not known, a
        position that is no dust.
    """

    daily_return: Floats
    pnl: Floats
    capital: Floats
    closed_lots: npt.NDArray[np.int64]
    winning_lots: npt.NDArray[np.int64]
    active: Booleans


def daily_return_arrays(
    lots: LotArrays,
    policy: CapitalPolicy,
    *,
    marked: Floats | None = None,
    cash: Floats | None = None,
    start: int = 0,
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
        :func:`~weights_pipeline.core.returns.marking.mark_to_market`.
    cash
        P&L to add to either, shape (strategies, sessions): dividends, funding, interest.
    start
        Position of the first session wanted. Those before it are the history that windows need: their
        capital may be incomplete, and their returns are 0 and not checked.

    Returns
    -------
    DailyArrays

    Raises
    ------
    ValueError
        There is P&L but no capital; a return is −100 % or less (:class:`RuinError`).
    """
    pnl = lots.per_cell(lots.pnl) if marked is None else marked
    if cash is not None:
        pnl = pnl + cash
    closed_lots = lots.per_cell()
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
        strategy, session = lots.strategies[row], lots.sessions[column]
        message = (
            f"daily return: strategy {strategy} lost 100% or more on {session:%Y-%m-%d}: P&L {pnl[row, column]:.2f} on "
            f"capital {capital[row, column]:.2f}; check the lots of that session, or give the capital it really had as "
            f"capital_base"
        )
        error = RuinError(message)
        error.strategy, error.session = strategy, session
        raise error
    return DailyArrays(
        daily_return=daily_return,
        pnl=pnl,
        capital=capital,
        closed_lots=closed_lots,
        winning_lots=lots.per_cell(rows=lots.pnl > 0),
        active=_active(lots, policy.sessions),
    )


_DEFAULT_POLICY = AveragePositionValue()


def daily_returns(
    lots: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    policy: CapitalPolicy = _DEFAULT_POLICY,
    *,
    open_lots: pd.DataFrame | None = None,
    marked: pd.DataFrame | None = None,
    cash: pd.DataFrame | None = None,
    rates: pd.DataFrame | None = None,
    first_activity: Mapping[str, pd.Timestamp] | None = None,
    start: pd.Timestamp | None = None,
) -> pd.DataFrame:
    r"""Daily returns per strategy: P&L of the lots exited in a session over the capital known then.

    Rows may come in any order: they are summed in an order of their own content.

    Parameters
    ----------
    lots
        Closed lots: ``strategy``, ``session`` (of the exit), ``open_session``, ``entry_value``, ``pnl``,
        ``margin_used`` (may be null) and, where ``open_lots`` is given, ``source`` (``lots`` or ``fills``),
        ``symbol``, ``parent_lot_id`` and ``quantity``; where entry values are in several currencies, ``currency`` (null
        in account currency, which profit is always in). Exits outside ``sessions`` are left aside.
    sessions
        The calendar's sessions, ascending, up to the last one wanted. With ``open_lots`` they run to the
        end of a month or of the ledger. What was open before the first of them counts from the first on, so
        they begin with the ledger or, to get the same bits from a part of it, two windows before ``start``.
    policy
        How capital is chosen.
    open_lots
        Lots from fills still open at each month end: ``lot_id``, ``strategy``, ``symbol``, ``quantity``,
        ``entry_value``, ``open_session``, ``snapshot`` (the last session of that month, or the last that the position
        is known of); ``currency`` as of ``lots``. Without it, lots from fills too are known only once they are closed.
    marked
        Daily P&L to use in place of what was booked on exit, sessions × strategies; from
        :func:`~weights_pipeline.core.returns.marking.mark_to_market`.
    cash
        Cash that is part of a session's P&L: ``session``, ``strategy``, ``amount``.
    rates
        Units of account currency for one, dates × currencies; of each session in which lots of a currency are open, or
        of one of the :data:`~weights_pipeline.core.returns.currencies.OLDEST` sessions before.
    first_activity
        First session of each strategy, where the lots do not reach back to it.
    start
        First session wanted, by default the first of all.

    Returns
    -------
    DataFrame
        Sorted by session and strategy, from each strategy's first activity on (its first exit; from fills,
        its first opening; or its first cash): ``session``, ``strategy``, ``daily_return`` (a fraction; 0 without P&L),
        ``pnl``, ``capital`` (NaN while unknown and not needed), ``closed_lots``, ``winning_lots`` (P&L
        above 0), ``active`` (a lot known by then was open that used margin; where the ledger does not say, lots of a
        value that is no dust, see :data:`~weights_pipeline.core.returns.lots.DUST`).

    Raises
    ------
    ValueError
        Columns or values are missing, a date is not a session, there is P&L but no capital, a return is
        −100 % or less, ``first_activity`` contradicts the lots, or a rate is missing
        (:class:`~weights_pipeline.core.returns.currencies.UnknownRateError`).
    """
    require_grid(sessions)
    paid = None if cash is None or cash.empty else inside(cash, sessions)
    also = {*(first_activity or {}), *([] if paid is None else paid["strategy"])}
    coded = _coded(lots, open_lots, sessions, also, rates_of(rates, sessions, lots, open_lots))
    received = None if paid is None else _cash_on_grid(paid, coded)
    first = _first_positions(coded, received, first_activity)
    begin = 0 if start is None else int(sessions.searchsorted(pd.Timestamp(start)))
    pnl = None if marked is None else _on_grid(marked, coded)
    daily = daily_return_arrays(coded, policy, marked=pnl, cash=received, start=begin)
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
    rates: Rates | None,
) -> LotArrays:
    """Code a ledger on the grid, rows in an order that depends on their content alone."""
    if rates is not None:
        lots, open_lots = rates.coded(lots), open_lots if open_lots is None else rates.coded(open_lots)
    source = () if open_lots is None else ("source",)
    require_columns("lots", lots, (*_CODED, "pnl", "session", *source), nullable=("margin_used",))
    margin = lots["margin_used"].astype(np.float64)
    from_fills = pd.Series(False, index=lots.index) if open_lots is None else lots["source"] == "fills"
    rows = lots.assign(uses_margin=margin != 0, states_margin=margin.notna(), from_fills=from_fills)
    names = sorted({*rows["strategy"].unique(), *also, *([] if open_lots is None else open_lots["strategy"])})
    codes, held = pd.Index(names, dtype="str"), NOTHING_HELD
    if open_lots is not None:
        require_columns("open_lots", open_lots, (*_HELD, "lot_id", "snapshot"))
        require_columns("lots from fills", lots[from_fills], (*_HELD, "parent_lot_id", "session"))
        held = _held(lots[from_fills], open_lots, sessions, codes, ("currency",) if rates is not None else ())
    rows = inside(rows, sessions)
    strategy = codes.get_indexer(pd.Index(rows["strategy"], dtype="str"))
    session = positions(rows, "session", sessions)
    opened = np.maximum(positions(rows, "open_session", sessions), 0)
    entry_value, pnl = rows["entry_value"].to_numpy(np.float64), rows["pnl"].to_numpy(np.float64)
    currency = None if rates is None else rows["currency"].to_numpy(np.intp)
    # By the day itself: a grid that begins later may not bring lots of several days together.
    day = rows["open_session"].to_numpy("datetime64[D]").astype(np.int64)
    if len(day):
        day -= day.min()
    cell = (session * len(names) + strategy) * (day.max(initial=0) + 1) + day
    order = _by_cell(cell, entry_value, pnl, *([] if currency is None else [currency]))
    return LotArrays(
        strategies=tuple(names),
        sessions=sessions,
        strategy=strategy[order],
        session=session[order],
        open_session=opened[order],
        pnl=pnl[order],
        entry_value=entry_value[order],
        held=held,
        rates=rates,
        currency=None if currency is None else currency[order],
        **{name: rows[name].to_numpy(bool)[order] for name in ("uses_margin", "states_margin", "from_fills")},
    )


def _by_cell(cell: npt.NDArray[np.intp], *others: Floats | npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Order of rows by cell, then by the others one after the other; what ties on all is the same addend.

    The same as one sort by all of them, in a third of the time: by each only what still ties is sorted.
    """
    order = np.argsort(cell, kind="stable")
    begins, ends = np.ones((2, len(cell)), dtype=np.bool_)
    begins[1:] = cell[order][1:] != cell[order][:-1]
    for other in others:
        ends[:-1] = begins[1:]
        tied = ~(begins & ends)
        rows = order[tied]
        order[tied] = rows[np.lexsort((other[rows], np.cumsum(begins)[tied]))]
        begins[1:] |= other[order][1:] != other[order][:-1]
    return order


def _held(
    lots: pd.DataFrame, open_lots: pd.DataFrame, sessions: pd.DatetimeIndex, names: pd.Index, also: tuple[str, ...]
) -> Held:
    """Entry value of what was open of positions from fills; ``also`` names the code of its currency, where it has."""
    columns = (*_HELD, *also)
    parts = parts_of(
        lots[[*columns, "parent_lot_id", "session"]], open_lots[[*columns, "lot_id", "snapshot"]], sessions
    )
    spans = spans_of(parts, sessions, with_exit=True)
    spans = spans.where(~dust_of(parts, spans))
    # What a unit is worth is the same for all parts of an opening fill, but for rounding.
    unit = decimal(parts["entry_value"].to_numpy(np.float64) / parts["quantity"].to_numpy(np.float64))
    return Held(
        strategy=names.get_indexer(pd.Index(parts["strategy"], dtype="str"))[spans.row],
        begin=spans.begin,
        end=spans.end,
        value=spans.quantity * unit[spans.row],
        currency=parts["currency"].to_numpy(np.intp)[spans.row] if also else None,
    )


def _cash_on_grid(cash: pd.DataFrame, lots: LotArrays) -> Floats:
    """Cash per strategy and session, summed in an order of its own content."""
    n, horizon = lots.shape
    strategy = pd.Index(lots.strategies, dtype="str").get_indexer(pd.Index(cash["strategy"], dtype="str"))
    cell = strategy * horizon + positions(cash, "session", lots.sessions)
    amount = cash["amount"].to_numpy(np.float64)
    order = np.lexsort((amount, cell))
    total: Floats = np.bincount(cell[order], weights=amount[order], minlength=n * horizon).astype(np.float64)
    return total.reshape(n, horizon)


def _first_positions(
    lots: LotArrays, cash: Floats | None, given: Mapping[str, pd.Timestamp] | None
) -> npt.NDArray[np.int64]:
    """Position of each strategy's first activity; past the end where there is none."""
    n, horizon = lots.shape
    first = np.full(n, horizon)
    np.minimum.at(first, lots.strategy, np.where(lots.from_fills, lots.open_session, lots.session))
    np.minimum.at(first, lots.held.strategy, lots.held.begin)
    if cash is not None:
        paid = cash != 0
        first = np.minimum(first, np.where(paid.any(axis=1), paid.argmax(axis=1), horizon))
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


def _active(lots: LotArrays, sessions: int) -> Booleans:
    """Whether a lot known in a session was open in it that used margin or, where that is not known, was no dust."""
    active = np.zeros(lots.shape, dtype=np.bool_)
    for session, window in position_values(lots.where(lots.uses_margin), sessions):
        active[:, session] = not_dust(window)[:, -1]
    margin: Booleans = lots.per_cell(rows=lots.states_margin & lots.uses_margin) > 0
    return active | margin


def _on_grid(marked: pd.DataFrame, lots: LotArrays) -> Floats:
    # One that has cash and no lots has nothing to mark.
    idle = [name for row, name in enumerate(lots.strategies) if name not in marked and not (lots.strategy == row).any()]
    marked = marked.assign(**dict.fromkeys(idle, 0.0))
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
