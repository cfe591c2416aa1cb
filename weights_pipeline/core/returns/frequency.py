"""Frequency of returns: what one observation spans, and how many of them make a year.

Scope: the one noun that annualisation, lookbacks and the least number of observations ask. It comes from the ledger and
travels with the policy. Not here: calendars, metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MONTHS_PER_YEAR = 12
DAYS_PER_YEAR = 365.25

_LONGEST_MONTH = pd.Timedelta(days=31)


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """How often returns are observed.

    Attributes
    ----------
    per_year : float
        Observations a year: 252 sessions of an exchange, 365 of ``24/7``, 12 months.
    unit : {"session", "month"}
        What one observation spans. That of a month stands on the month's last session.
    """

    per_year: float = 252
    unit: Literal["session", "month"] = "session"

    def __post_init__(self) -> None:
        if not 0 < self.per_year < math.inf:
            raise ValueError(f"per_year: expected a positive number of observations, got {self.per_year!r}")
        if self.unit not in ("session", "month"):
            raise ValueError(f"unit: expected session or month, got {self.unit!r}")
        if self.monthly and self.per_year != MONTHS_PER_YEAR:
            raise ValueError(f"per_year: expected {MONTHS_PER_YEAR} observations of a month, got {self.per_year!r}")

    def __str__(self) -> str:
        return f"{self.per_year:g} {self.unit}s a year"

    @property
    def monthly(self) -> bool:
        """Whether an observation spans a month."""
        return self.unit == "month"

    @property
    def enough(self) -> int:
        """Observations with which any estimate is content: 60 sessions or 6 months."""
        return 6 if self.monthly else 60

    @property
    def ended_after(self) -> int:
        """Observations without a value after which a delivered series has ended: 20 sessions or 2 months."""
        return 2 if self.monthly else 20

    def needed(self, expected: float) -> int:
        """Observations below which a window that spans `expected` of them is insufficient.

        A third of the sessions, at least 2; half of the months, at least 3, since so few say less each. Never more than
        `enough`.
        """
        spanned = max(3, math.floor(expected / 2)) if self.monthly else max(2, math.floor(expected / 3))
        return min(self.enough, spanned)

    def observed(self, sessions: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Sessions that returns stand on: all of them, or the last one of each month.

        Parameters
        ----------
        sessions : DatetimeIndex, shape (T,)
            Ascending. The last month counts only where a session of a later one says that it is over.
        """
        if not self.monthly:
            return sessions
        month = np.asarray(sessions.year * MONTHS_PER_YEAR + sessions.month)
        return pd.DatetimeIndex(sessions[:-1][month[:-1] != month[1:]])

    def rows(self, sessions: pd.DatetimeIndex, as_of: pd.DatetimeIndex) -> NDArray[np.intp]:
        """Position of the newest observation on each day.

        Parameters
        ----------
        sessions : DatetimeIndex, shape (T,)
            Sessions that returns stand on, ascending.
        as_of : DatetimeIndex, shape (A,)
            Days: these very sessions or, where returns are monthly, any day up to a month after one.

        Raises
        ------
        ValueError
            A day has no observation.
        """
        if not self.monthly:
            found = np.asarray(sessions.get_indexer(as_of), dtype=np.intp)
            stale = found < 0
        else:
            found = np.asarray(sessions.searchsorted(as_of, side="right") - 1, dtype=np.intp)
            stale = found < 0
            if len(sessions):
                stale |= np.asarray(as_of - sessions[found] > _LONGEST_MONTH)
        if stale.any():
            raise ValueError(f"as_of: expected sessions of the history, got {as_of[int(np.argmax(stale))]:%Y-%m-%d}")
        return found


DAILY = Frequency()
"""Returns of the sessions of an exchange."""

MONTHLY = Frequency(per_year=MONTHS_PER_YEAR, unit="month")
"""Returns of calendar months."""
