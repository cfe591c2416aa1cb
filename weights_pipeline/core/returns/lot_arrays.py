"""Lots as coded arrays on a grid of sessions.

Here belong their layout, their sums per strategy and session, and the checks of frames that are coded. Here does not
belong what the sums mean (``capital``, ``returns``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.returns.currencies import Rates

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Entry value of what was open, in stretches in which it stayed the same; sorted so that no later fill changes it.

    Attributes
    ----------
    strategy
        Code of the strategy, shape (n,).
    begin, end
        Positions of the first and the last session, shape (n,).
    value
        Entry value, shape (n,), in its own currency.
    currency
        Code of that currency, shape (n,); None where all are in the account's.
    """

    strategy: Integers
    begin: Integers
    end: Integers
    value: Floats
    currency: Integers | None = None

    def of_currency(self, code: int) -> Held:
        """What was open in one currency, in its order."""
        if self.currency is None:
            return self
        rows = self.currency == code
        return Held(strategy=self.strategy[rows], begin=self.begin[rows], end=self.end[rows], value=self.value[rows])

    def add_to(self, total: Floats) -> None:
        """Add the value of every session, in order; the last columns of ``total`` (strategies, …) are the sessions."""
        length = self.end - self.begin + 1
        ends = np.cumsum(length)
        at = 0
        while at < len(length):
            upto = max(at + 1, int(np.searchsorted(ends, (ends[at - 1] if at else 0) + _ADDED_AT_ONCE, side="right")))
            span = np.repeat(np.arange(at, upto), length[at:upto])
            day = np.arange(len(span)) - np.repeat(
                ends[at:upto] - length[at:upto] - (ends[at - 1] if at else 0), length[at:upto]
            )
            np.add.at(total, (self.strategy[span], day + self.begin[span]), self.value[span])
            at = upto


_ADDED_AT_ONCE = 2_000_000
_NONE = np.empty(0, dtype=np.intp)
NOTHING_HELD = Held(strategy=_NONE, begin=_NONE, end=_NONE, value=np.empty(0))


@dataclass(frozen=True, kw_only=True)
class LotArrays:
    """Lots coded as arrays: one row per exit.

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
        Position in ``sessions`` of the exit, shape (n,).
    open_session
        Position of the opening, shape (n,); 0 where it is before the first session.
    pnl
        Profit or loss realized, shape (n,), account currency.
    entry_value
        Value at entry, shape (n,), in its own currency, finite and non-negative.
    uses_margin, states_margin
        False where the lot is known to have used no margin, and whether that is known at all; shape (n,).
    from_fills
        True where the opening was known when it happened, shape (n,): what was open is in ``held`` then.
    held
        What was open of positions from fills.
    rates, currency
        Rates on the grid, and the code of the currency of ``entry_value``, shape (n,); both None where all entry values
        are in account currency.
    """

    strategies: tuple[str, ...]
    sessions: pd.DatetimeIndex
    strategy: Integers
    session: Integers
    open_session: Integers
    pnl: Floats
    entry_value: Floats
    uses_margin: Booleans
    states_margin: Booleans
    from_fills: Booleans
    held: Held = NOTHING_HELD
    rates: Rates | None = None
    currency: Integers | None = None

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
        if self.rates is not None and self.currency is not None:
            self.rates.require(self.rates.open_in(self.currency, self.open_session, self.session))
            if self.held.currency is not None:
                self.rates.require(self.rates.open_in(self.held.currency, self.held.begin, self.held.end))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of strategies and of sessions."""
        return len(self.strategies), len(self.sessions)

    def where(self, mask: Booleans) -> LotArrays:
        """Return the rows under a mask, in their order."""
        if mask.all():
            return self
        whole = ("strategies", "sessions", "held", "rates", *(["currency"] if self.currency is None else []))
        rows = {f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name not in whole}
        return replace(self, **rows)

    def of_currency(self, code: int) -> LotArrays:
        """Rows of one currency, in their order, and what was open in it."""
        own = self if self.currency is None else self.where(self.currency == code)
        return replace(own, held=self.held.of_currency(code))

    def value_at_exit(self) -> Floats:
        """Entry value at the rate of the exit's session, shape (n,), account currency."""
        if self.rates is None or self.currency is None:
            return self.entry_value
        return self.entry_value * self.rates.at(self.currency, self.session)

    def per_cell(self, weights: Floats | None = None, rows: Booleans | slice = slice(None)) -> npt.NDArray[Any]:
        """Count rows per strategy and session, or sum their weights; shape (strategies, sessions)."""
        n, horizon = self.shape
        cell = self.strategy[rows].astype(np.int64) * horizon + self.session[rows]
        total = np.bincount(cell, weights=weights, minlength=n * horizon).reshape(n, horizon)
        # Of no rows NumPy counts, whatever their weights.
        return total if weights is None else total.astype(np.float64, copy=False)

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


def month_start(sessions: pd.DatetimeIndex) -> npt.NDArray[np.intp]:
    """Position of the first session on the grid of each session's month."""
    months = np.asarray(sessions.year * 12 + sessions.month)
    return np.searchsorted(months, months)


def positions(rows: pd.DataFrame, column: str, sessions: pd.DatetimeIndex) -> npt.NDArray[np.intp]:
    """Positions of dates on the grid; −1 before it."""
    dates = pd.DatetimeIndex(rows[column])
    positions = sessions.get_indexer(dates)
    if (stray := (positions < 0) & np.asarray(dates >= sessions[0])).any():
        where = int(np.argmax(stray))
        raise ValueError(
            f"{column}: {dates[where]:%Y-%m-%d} of strategy {rows['strategy'].iloc[where]} is not a session"
        )
    return positions


def inside(rows: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows whose session lies between the ends of the grid."""
    return rows[(rows["session"] >= sessions[0]) & (rows["session"] <= sessions[-1])]


def require_grid(sessions: pd.DatetimeIndex) -> None:
    """Refuse a grid of sessions that is empty, zoned, unordered or repeats one."""
    if sessions.empty or sessions.tz is not None or not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected at least one, zone-naive, ascending and each once")


def require_columns(name: str, frame: pd.DataFrame, columns: tuple[str, ...], nullable: tuple[str, ...] = ()) -> None:
    """Refuse a frame that lacks a column, or has a null where none may be."""
    for column in (*columns, *nullable):
        if column not in frame.columns:
            raise ValueError(f"{name}: column {column!r} is missing, got {list(frame.columns)}")
        if column not in nullable and frame[column].isna().any():
            raise ValueError(f"{name}: column {column!r} has {int(frame[column].isna().sum())} nulls")
