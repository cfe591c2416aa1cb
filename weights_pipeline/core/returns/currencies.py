"""Currencies: what one unit of each comes to in the account's own, session by session.

Scope: rates on a grid of sessions. Not here: the file of rates (``ledger.currencies``), nor at which session's rate an
amount is taken (``capital``, ``marking``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
Booleans = npt.NDArray[np.bool_]

OLDEST = 5
"""Sessions that a rate may be older than the one it is used in."""


class UnknownRateError(ValueError):
    """A rate is needed in a session that has none, nor had one shortly before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rates:
    """Rates in force on a grid of sessions; no rate of a later day is ever one of an earlier session.

    Attributes
    ----------
    sessions
        The grid.
    currencies
        Names in the order of their codes; the first, empty, stands for the account's own.
    values
        Units of the account's own currency for one, shape (currencies, 1 + sessions); the first column is what was in
        force before the grid. NaN where there is none, nor one of the `OLDEST` sessions before.
    carried
        Whether a rate is of an earlier day than its session, shape as ``values``.
    """

    sessions: pd.DatetimeIndex
    currencies: tuple[str, ...]
    values: Floats
    carried: Booleans

    @classmethod
    def on(cls, given: pd.DataFrame, sessions: pd.DatetimeIndex) -> Rates:
        """Bring rates on a grid.

        Parameters
        ----------
        given
            Rates, dates × currencies, dates ascending; null where there is none.
        sessions
            The grid.
        """
        shape = (1 + given.shape[1], 1 + len(sessions))
        values, carried = np.ones(shape), np.zeros(shape, dtype=np.bool_)
        days = sessions.insert(0, sessions[0] - pd.Timedelta(days=1))
        for code, name in enumerate(given.columns, start=1):
            stated = given[name].dropna()
            dates = pd.DatetimeIndex(stated.index)
            at = dates.searchsorted(days, side="right") - 1
            stands = np.append(sessions.searchsorted(dates, side="right") - 1, -1)[at]
            age = np.arange(len(days)) - 1 - stands
            values[code] = np.where((at < 0) | (age > OLDEST), np.nan, np.append(stated.to_numpy(np.float64), 0.0)[at])
            carried[code] = np.append(dates, pd.DatetimeIndex(["NaT"]))[at] < days
        return cls(sessions=sessions, currencies=("", *given.columns), values=values, carried=carried)

    def coded(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with the code of their ``currency`` in its place; without that column all are in the account's own."""
        return rows.assign(currency=self.codes(rows["currency"]) if "currency" in rows else 0)

    def codes(self, currency: pd.Series) -> npt.NDArray[np.intp]:
        """Code of each currency; null is the account's own."""
        return pd.Index(self.currencies, dtype="str").get_indexer(pd.Index(currency.astype("str").fillna("")))

    def at(self, code: Integers, session: Integers) -> Floats:
        """Rate of each currency in a session, by its position on the grid.

        Raises
        ------
        UnknownRateError
            There is none.
        """
        needed = np.zeros((len(self.currencies), len(self.sessions)), dtype=np.bool_)
        needed[code, session] = True
        self.require(needed)
        found: Floats = self.values[code, session + 1]
        return found

    def open_in(self, code: Integers, begin: Integers, end: Integers) -> Booleans:
        """Whether any of some stretches runs through a session, by currency; shape (currencies, sessions).

        ``begin`` and ``end`` are positions of the first and the last session of each, shape (n,) as ``code``.
        """
        edges = np.zeros((len(self.currencies), len(self.sessions) + 1), dtype=np.int64)
        np.add.at(edges, (code, begin), 1)
        np.add.at(edges, (code, end + 1), -1)
        through: Booleans = np.cumsum(edges, axis=1)[:, :-1] > 0
        return through

    def require(self, needed: Booleans) -> None:
        """Refuse sessions, by currency, that need a rate and have none.

        Raises
        ------
        UnknownRateError
            There is one; the message names the first.
        """
        missing = needed & np.isnan(self.values[:, 1:])
        if missing.any():
            session, code = np.argwhere(missing.T)[0].tolist()
            raise UnknownRateError(
                f"there is no rate of {self.currencies[code]} on {self.sessions[session]:%Y-%m-%d}, nor in the "
                f"{OLDEST} sessions before it"
            )


def rates_of(given: pd.DataFrame | None, sessions: pd.DatetimeIndex, *rows: pd.DataFrame | None) -> Rates | None:
    """Rates of the currencies that rows are in, on a grid; None where all rows are in the account's own.

    Parameters
    ----------
    given
        Rates, dates × currencies, dates ascending; None where there are none.
    sessions
        The grid.
    rows
        Rows with a column ``currency``, null in the account's own; without the column all are.
    """
    several = [each["currency"] for each in rows if each is not None and "currency" in each]
    stated = sorted({name for each in several for name in each.dropna().unique()})
    if not stated:
        return None
    known = pd.DataFrame(index=pd.DatetimeIndex([])) if given is None else given
    return Rates.on(known.reindex(columns=stated), sessions)
