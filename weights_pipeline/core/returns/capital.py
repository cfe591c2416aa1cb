"""Capital policies: what the profit of a session is divided by.

Here belong the choices of capital, each a frozen dataclass told apart by ``kind``. Here do not belong the returns on it
(``returns``) nor the files that amounts come from.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.returns.lot_arrays import Floats, LotArrays
from weights_pipeline.core.returns.lots import DUST

WINDOW = 252
"""Trailing sessions over which positions are told from dust, unless a policy of capital says otherwise."""


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
    sessions: ClassVar[int] = WINDOW

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = "is its name right? If so, add an entry to the capital table, dated that session or before"

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

    :math:`C_t` is the mean of :math:`E_t(s)` over the trailing sessions :math:`s` to :math:`t` in which it is at least
    `DUST` of its largest, with :math:`E_t(s)` the entry value of all lots open in :math:`s` (both the session of the
    opening and that of the exit count) that are known at :math:`t`: those closed by :math:`t`, and from fills also
    those open. Values in other currencies count at the rate of :math:`s`. Drawdowns of returns on it are those of a
    fully used account; neither idle money nor what a fee in the instrument leaves behind dilutes them.

    Parameters
    ----------
    sessions
        Length of the trailing window.
    """

    sessions: int = WINDOW
    kind: Literal["average_position_value"] = "average_position_value"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = "its lots of the trailing window have no entry value; give it a dated capital_base"

    def __post_init__(self) -> None:
        _require_window(self.sessions)

    def capital(self, lots: LotArrays) -> Floats:
        """Average position value, shape (strategies, sessions); NaN while no position is known."""
        result = np.full(lots.shape, np.nan)
        for session, window in position_values(lots, self.sessions):
            held = not_dust(window)
            number = np.count_nonzero(held, axis=1)
            total = np.where(held, window, 0.0).sum(axis=1)
            np.divide(total, number, out=result[:, session], where=number > 0)
        return result


def position_values(lots: LotArrays, sessions: int) -> Iterator[tuple[int, Floats]]:
    """Yield every session with the entry value open in each session of its trailing window, as known then.

    Parameters
    ----------
    lots
        Coded lots.
    sessions
        Length of the window.

    Yields
    ------
    session : int
        Position on the grid.
    window : ndarray, shape (strategies, sessions)
        Its last column is the session itself. Every session's value is at its own rates, account currency. Valid until
        the next one is asked for.
    """
    if lots.rates is None:
        yield from _own_values(lots, sessions)
        return
    # Before the grid nothing is open, and where nothing is, no rate is needed.
    rates = np.pad(np.nan_to_num(lots.rates.values[:, 1:]), ((0, 0), (sessions - 1, 0)))
    by_currency = [_own_values(lots.of_currency(code), sessions) for code in range(len(rates))]
    for session in range(len(lots.sessions)):
        at = rates[:, None, session : session + sessions]
        windows = [next(values)[1] for values in by_currency]
        yield session, np.add.reduce([window * rate for window, rate in zip(windows, at, strict=True)])


def _own_values(lots: LotArrays, sessions: int) -> Iterator[tuple[int, Floats]]:
    """Yield what :func:`position_values` does, of lots of one currency in that currency."""
    n, horizon = lots.shape
    closed = lots.where(~lots.from_fills)
    # A window of columns before the first session, so that every sum runs over equally many columns.
    value = np.zeros((n, sessions - 1 + horizon))
    # An opening from fills is known at once; another lot only once it is closed.
    lots.held.add_to(value[:, sessions - 1 :])
    for session, rows in closed.by_session():
        closed.add_open(value, rows, session - sessions + 1, closed.entry_value)
        yield session, value[:, session : session + sessions]


def not_dust(window: Floats) -> npt.NDArray[np.bool_]:
    """Where a window of values is above dust; shape as given."""
    largest = window.max(axis=1, keepdims=True)
    above: npt.NDArray[np.bool_] = (window >= DUST * largest) & (window > 0)
    return above


@dataclass(frozen=True, kw_only=True)
class AverageLotValue:
    """Capital as the mean entry value of one lot, over the lots closed in the trailing sessions.

    A value in another currency counts at the rate of the session that its lot was closed in.

    Parameters
    ----------
    sessions
        Length of the trailing window.
    """

    sessions: int = WINDOW
    kind: Literal["average_lot_value"] = "average_lot_value"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    remedy: ClassVar[str] = AveragePositionValue.remedy

    def __post_init__(self) -> None:
        _require_window(self.sessions)

    def capital(self, lots: LotArrays) -> Floats:
        """Average lot value, shape (strategies, sessions); NaN while no lot of the window is closed."""
        before = ((0, 0), (self.sessions - 1, 0))
        value, count = np.pad(lots.per_cell(lots.value_at_exit()), before), np.pad(lots.per_cell(), before)
        result = np.full(lots.shape, np.nan)
        for session in range(len(lots.sessions)):
            window = slice(session, session + self.sessions)
            total, number = value[:, window].sum(axis=1), count[:, window].sum(axis=1)
            np.divide(total, number, out=result[:, session], where=total > 0)
        return result


CapitalPolicy = CapitalBase | AveragePositionValue | AverageLotValue
"""How the capital under a return is chosen; told apart by ``kind``."""
