"""Daily strategy returns from lots.

Here belongs what a strategy earned in a session and on what capital. Here do not belong the lots themselves
(files, matching, rejection), nor anything measured on the returns (``metrics``).

A return is fixed on its session. At session t only lots closed by t are known, and of lots from fills also
what was open by then; nothing that happens later revises it. Capital at t is made of the trailing window
alone, and always by the same additions in the same order, so that a ledger cut after t, or before the
window, gives the same bits.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
Booleans = npt.NDArray[np.bool_]

_CODED = ("strategy", "open_session", "entry_value")
_PRICED = ("strategy", "symbol", "side", "quantity", "open_price", "open_session")


@dataclass(frozen=True, kw_only=True)
class LotArrays:
    """Lots coded as arrays: one row per exit, and one per month end at which a lot from fills was still open.

    Rows are sorted by session, then strategy. Sums run in the order of the rows.

    Attributes
    ----------
    strategies
        Names, in the order of their codes.
    sessions
        The grid of trading sessions, ascending.
    strategy
        Code of the strategy, shape (n,).
    session
        Position in ``sessions`` of the exit or, of a lot still open, of the month end; shape (n,).
    open_session
        Position of the opening, shape (n,); 0 where it is before the first session.
    pnl
        Profit or loss realised, shape (n,), account currency; 0 for a lot still open.
    entry_value
        Value at entry, shape (n,), account currency, finite and non-negative.
    uses_margin
        False where the lot is known to have used no margin, shape (n,).
    closed
        False where the row is a lot still open, shape (n,).
    from_fills
        True where the opening was known when it happened, shape (n,); so for every lot still open.
    """

    strategies: tuple[str, ...]
    sessions: pd.DatetimeIndex
    strategy: Integers
    session: Integers
    open_session: Integers
    pnl: Floats
    entry_value: Floats
    uses_margin: Booleans
    closed: Booleans
    from_fills: Booleans

    def __post_init__(self) -> None:
        cell = self.session.astype(np.int64) * len(self.strategies) + self.strategy
        if (cell[1:] < cell[:-1]).any():
            raise ValueError("lots: expected rows sorted by session, then strategy")
        for problem, rows in (
            ("pnl is not finite", ~np.isfinite(self.pnl)),
            ("entry_value is not finite", ~np.isfinite(self.entry_value)),
            ("entry_value is negative", self.entry_value < 0),
            ("the lot opens after it ends", self.open_session > self.session),
        ):
            if rows.any():
                row = int(np.argmax(rows))
                raise ValueError(
                    f"lots: {problem}: strategy {self.strategies[self.strategy[row]]}, session "
                    f"{self.sessions[self.session[row]]:%Y-%m-%d}, pnl {self.pnl[row]}, "
                    f"entry_value {self.entry_value[row]}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of strategies and of sessions."""
        return len(self.strategies), len(self.sessions)

    def where(self, mask: Booleans) -> LotArrays:
        """Return the rows under a mask, in their order."""
        if mask.all():
            return self
        rows = {f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name not in ("strategies", "sessions")}
        return replace(self, **rows)

    def per_cell(self, weights: Floats | None = None, rows: Booleans | slice = slice(None)) -> npt.NDArray[Any]:
        """Count rows per strategy and session, or sum their weights; shape (strategies, sessions)."""
        n, horizon = self.shape
        cell = self.strategy[rows].astype(np.int64) * horizon + self.session[rows]
        return np.bincount(cell, weights=weights, minlength=n * horizon).reshape(n, horizon)

    def by_session(self) -> Iterator[tuple[int, slice]]:
        """Yield every session of the grid with the slice of rows that end in it."""
        edges = np.searchsorted(self.session, np.arange(len(self.sessions) + 1, dtype=self.session.dtype))
        for session, (start, stop) in enumerate(pairwise(edges.tolist())):
            yield session, slice(start, stop)

    def add_open(self, total: Floats, rows: slice, first: int, weights: npt.NDArray[Any]) -> None:
        """Add rows that end in one session to every session they were open in, from session ``first`` on.

        The last column of ``total`` is the last session. Weights are scattered to the sessions of opening
        and summed along time: only additions, so that a position which is gone leaves exactly nothing
        behind.
        """
        if rows.start == rows.stop:
            return
        n, horizon = self.shape
        last = int(self.session[rows.start])
        width = last - first + 1
        opening = np.maximum(self.open_session[rows].astype(np.int64) - first, 0)
        cell = self.strategy[rows].astype(np.int64) * width + opening
        opened = np.bincount(cell, weights=weights[rows], minlength=n * width).reshape(n, width)
        shift = total.shape[1] - horizon
        total[:, shift + first : shift + last + 1] += np.cumsum(opened, axis=1)


@dataclass(frozen=True, kw_only=True)
class CapitalEntry:
    """Capital of one strategy, in force from a date on.

    Parameters
    ----------
    strategy
        Name of the strategy.
    date
        First day in force.
    capital
        Amount in account currency, positive.
    """

    strategy: str
    date: dt.date
    capital: float

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 < self.capital < math.inf:
            raise ValueError(f"capital: expected a positive amount for {self.strategy}, got {self.capital!r}")


@dataclass(frozen=True, kw_only=True)
class CapitalBase:
    """Capital by a dated table, the preferred choice where the amounts are known.

    Parameters
    ----------
    table
        Entries in any order, each in force from its date until the strategy's next.
    """

    table: tuple[CapitalEntry, ...]
    kind: Literal["capital_base"] = "capital_base"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = "add an entry to the capital table that is dated on or before that session"

    def __post_init__(self) -> None:
        seen: set[tuple[str, dt.date]] = set()
        for entry in self.table:
            if (key := (entry.strategy, entry.date)) in seen:
                raise ValueError(f"table: expected one entry per strategy and date, got two for {key[0]} {key[1]}")
            seen.add(key)

    def capital(self, lots: LotArrays) -> Floats:
        """Capital in force, shape (strategies, sessions); NaN before the first entry."""
        result = np.full(lots.shape, np.nan)
        code = {name: row for row, name in enumerate(lots.strategies)}
        for entry in sorted(self.table, key=lambda entry: entry.date):
            if entry.strategy in code:
                result[code[entry.strategy], lots.sessions.searchsorted(pd.Timestamp(entry.date)) :] = entry.capital
        return result


def _require_window(sessions: int) -> None:
    if sessions < 1:
        raise ValueError(f"sessions: expected a window of at least 1 session, got {sessions!r}")


@dataclass(frozen=True, kw_only=True)
class AveragePositionValue:
    r"""Capital as the average value of the positions held.

    :math:`C_t` is the mean of :math:`E_t(s) > 0` over the trailing sessions :math:`s` to :math:`t`, with
    :math:`E_t(s)` the entry value of all lots open in :math:`s` (both the session of the opening and that
    of the exit count) that are known at :math:`t`: those closed by :math:`t`, and from fills also those
    open. Drawdowns of returns on it are those of a fully used account; idle money does not dilute them.

    Parameters
    ----------
    sessions
        Length of the trailing window.
    """

    sessions: int = 252
    kind: Literal["average_position_value"] = "average_position_value"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = "its lots of the trailing window have no entry value; give it a dated capital_base"

    def __post_init__(self) -> None:
        _require_window(self.sessions)

    def capital(self, lots: LotArrays) -> Floats:
        """Average position value, shape (strategies, sessions); NaN while no position is known."""
        n, horizon = lots.shape
        fills, closed = lots.where(lots.from_fills), lots.where(~lots.from_fills)
        # A window of columns before the first session, so that every mean runs over equally many columns.
        value = np.zeros((n, self.sessions - 1 + horizon))
        # An opening from fills is known at once: each month stands on the lots that left in it and on those
        # open at its end, whatever became of them later.
        month = _month_start(lots.sessions)
        for session, rows in fills.by_session():
            fills.add_open(value, rows, int(month[session]), fills.entry_value)
        result = np.full((n, horizon), np.nan)
        for session, rows in closed.by_session():
            closed.add_open(value, rows, session - self.sessions + 1, closed.entry_value)
            window = value[:, session : session + self.sessions]
            held = np.count_nonzero(window, axis=1)
            np.divide(window.sum(axis=1), held, out=result[:, session], where=held > 0)
        return result


@dataclass(frozen=True, kw_only=True)
class AverageLotValue:
    """Capital as the mean entry value of one lot, over the lots closed in the trailing sessions.

    Parameters
    ----------
    sessions
        Length of the trailing window.
    """

    sessions: int = 252
    kind: Literal["average_lot_value"] = "average_lot_value"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = AveragePositionValue.remedy

    def __post_init__(self) -> None:
        _require_window(self.sessions)

    def capital(self, lots: LotArrays) -> Floats:
        """Average lot value, shape (strategies, sessions); NaN while no lot of the window is closed."""
        before = ((0, 0), (self.sessions - 1, 0))
        value = np.pad(lots.per_cell(lots.entry_value[lots.closed], lots.closed), before)
        count = np.pad(lots.per_cell(rows=lots.closed), before)
        result = np.full(lots.shape, np.nan)
        for session in range(len(lots.sessions)):
            window = slice(session, session + self.sessions)
            total, number = value[:, window].sum(axis=1), count[:, window].sum(axis=1)
            np.divide(total, number, out=result[:, session], where=total > 0)
        return result


CapitalPolicy = CapitalBase | AveragePositionValue | AverageLotValue
"""How the capital under a return is chosen; told apart by ``kind``."""


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
    _require_grid(sessions)
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


def mark_to_market(
    lots: pd.DataFrame, open_lots: pd.DataFrame, prices: pd.DataFrame, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    r"""Daily P&L with lots from fills marked to market while they are open.

    A lot of signed quantity :math:`q` earns :math:`q\,(p_s - p_{s-1})` in each session it is open, from its
    entry price in the session of the opening to its exit price in that of the exit. What prices do not
    explain of its realised P&L, the fees, is booked on exit, so that the days of a lot add up to its P&L.
    Each month stands on the lots closed in it and those open at its end. Other lots are not known before
    their exit and stay booked there.

    Parameters
    ----------
    lots
        Closed lots: ``strategy``, ``symbol``, ``side`` (long or short), ``quantity``, ``open_price``,
        ``close_price``, ``pnl``, ``open_session``, ``session``, ``source``.
    open_lots
        Lots from fills still open at each month end: the columns of ``lots`` known by then, and ``snapshot``.
    prices
        Closing prices, sessions × symbols, from the session before the first of ``sessions`` where lots
        were open.
    sessions
        The calendar's sessions, whole months.

    Returns
    -------
    DataFrame
        P&L in account currency, sessions × strategies (sorted by name); 0 without a lot.

    Raises
    ------
    ValueError
        Columns or values are missing, or an open lot has no price.
    """
    _require_grid(sessions)
    _require_columns("lots", lots, (*_PRICED, "close_price", "pnl", "session", "source"))
    from_fills = lots["source"] == "fills"
    booked = _inside(lots[~from_fills], sessions)
    _require_columns("open_lots", open_lots, (*_PRICED, "snapshot"))
    still_open = open_lots.rename(columns={"snapshot": "session"}).assign(close_price=np.nan, pnl=0.0)
    both = [lots[from_fills].assign(closed=True), still_open.assign(closed=False)]
    held = _inside(pd.concat(both, ignore_index=True), sessions)

    last, opened = _positions(held, "session", sessions), _positions(held, "open_session", sessions)
    begin = np.maximum(opened, _month_start(sessions)[last])
    days = last - begin + 1
    row = np.repeat(np.arange(len(held)), days)
    day = np.arange(len(row)) - np.repeat(np.cumsum(days) - days, days) + begin[row]

    symbols, symbol = np.unique(held["symbol"].to_numpy(dtype=object), return_inverse=True)
    of_symbols = prices.reindex(columns=symbols)
    close = of_symbols.reindex(sessions).to_numpy(dtype=np.float64)
    close_before = np.vstack([_last_row(of_symbols[of_symbols.index < sessions[0]]), close[:-1]])

    quantity = held["quantity"].to_numpy(np.float64) * np.where(held["side"] == "long", 1.0, -1.0)
    entry, leave = held["open_price"].to_numpy(np.float64), held["close_price"].to_numpy(np.float64)
    exits = held["closed"].to_numpy(bool)[row] & (day == last[row])
    price = np.where(exits, leave[row], close[day, symbol[row]])
    price_before = np.where(day == opened[row], entry[row], close_before[day, symbol[row]])
    if (missing := np.isnan(price - price_before)).any():
        where = int(np.argmax(missing))
        lot = held.iloc[row[where]]
        raise ValueError(
            f"prices: strategy {lot['strategy']} held {lot['symbol']} on {sessions[day[where]]:%Y-%m-%d}, "
            f"but it has no price then or in the session before"
        )
    unexplained = held["pnl"].to_numpy(np.float64) - quantity * (leave - entry)
    earned = quantity[row] * (price - price_before) + np.where(exits, unexplained[row], 0.0)

    names = sorted({*booked["strategy"], *held["strategy"]})
    session = np.concatenate([day, _positions(booked, "session", sessions)])
    strategy = pd.Index(names).get_indexer(pd.Index([*held["strategy"].to_numpy()[row], *booked["strategy"]]))
    amount = np.concatenate([earned, booked["pnl"].to_numpy(np.float64)])
    cell = session * len(names) + strategy
    order = np.lexsort((amount, cell))
    total = np.bincount(cell[order], weights=amount[order], minlength=len(sessions) * len(names))
    return pd.DataFrame(total.reshape(len(sessions), len(names)), index=sessions, columns=names)


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
    _require_columns("lots", lots, (*_CODED, "pnl", "session", *source), nullable=("margin_used",))
    columns = [*_CODED, "pnl", "session", "uses_margin", "closed", "from_fills"]
    rows = lots.assign(
        uses_margin=lots["margin_used"].astype(np.float64) != 0,
        closed=True,
        from_fills=False if open_lots is None else lots["source"] == "fills",
    )[columns]
    if open_lots is not None:
        _require_columns("open_lots", open_lots, (*_CODED, "snapshot"))
        still_open = open_lots.rename(columns={"snapshot": "session"}).assign(
            pnl=0.0, uses_margin=True, closed=False, from_fills=True
        )[columns]
        rows = pd.concat([rows, still_open], ignore_index=True)
    names = sorted({*rows["strategy"].unique(), *also})
    rows = _inside(rows, sessions)
    strategy = pd.Index(names, dtype="str").get_indexer(pd.Index(rows["strategy"], dtype="str"))
    session = _positions(rows, "session", sessions)
    opened = np.maximum(_positions(rows, "open_session", sessions), 0)
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
    number, each, month = np.zeros(lots.shape), np.ones(len(fills.session)), _month_start(lots.sessions)
    for session, rows in fills.by_session():
        fills.add_open(number, rows, int(month[session]), each)
    return active | (number > 0)


def _month_start(sessions: pd.DatetimeIndex) -> npt.NDArray[np.intp]:
    """Position of the first session on the grid of each session's month."""
    months = np.asarray(sessions.year * 12 + sessions.month)
    return np.searchsorted(months, months)


def _positions(rows: pd.DataFrame, column: str, sessions: pd.DatetimeIndex) -> npt.NDArray[np.intp]:
    """Positions of dates on the grid; −1 before it."""
    dates = pd.DatetimeIndex(rows[column])
    positions = sessions.get_indexer(dates)
    if (stray := (positions < 0) & np.asarray(dates >= sessions[0])).any():
        where = int(np.argmax(stray))
        raise ValueError(
            f"{column}: {dates[where]:%Y-%m-%d} of strategy {rows['strategy'].iloc[where]} is not a session"
        )
    return positions


def _inside(rows: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows whose session lies between the ends of the grid."""
    return rows[(rows["session"] >= sessions[0]) & (rows["session"] <= sessions[-1])]


def _on_grid(marked: pd.DataFrame, lots: LotArrays) -> Floats:
    values = marked.reindex(index=lots.sessions, columns=list(lots.strategies)).to_numpy(np.float64).T
    if (missing := ~np.isfinite(values)).any():
        row, column = _earliest(missing)
        raise ValueError(
            f"marked: no P&L of strategy {lots.strategies[row]} on {lots.sessions[column]:%Y-%m-%d}, "
            f"expected one per strategy and session"
        )
    return values


def _last_row(frame: pd.DataFrame) -> Floats:
    """Last row of a frame, shape (1, columns); NaN when it has none."""
    return frame.to_numpy(np.float64)[-1:] if len(frame) else np.full((1, frame.shape[1]), np.nan)


def _earliest(mask: Booleans) -> tuple[int, int]:
    """Row and column of the first true cell by session, then strategy."""
    column, row = np.argwhere(mask.T)[0].tolist()
    return row, column


def _require_grid(sessions: pd.DatetimeIndex) -> None:
    if sessions.empty or sessions.tz is not None or not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected at least one, zone-naive, ascending and each once")


def _require_columns(name: str, frame: pd.DataFrame, columns: tuple[str, ...], nullable: tuple[str, ...] = ()) -> None:
    for column in (*columns, *nullable):
        if column not in frame.columns:
            raise ValueError(f"{name}: column {column!r} is missing, got {list(frame.columns)}")
        if column not in nullable and frame[column].isna().any():
            raise ValueError(f"{name}: column {column!r} has {int(frame[column].isna().sum())} nulls")
