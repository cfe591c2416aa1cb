"""Lookbacks: how far back a metric looks from a session.

Scope: windows in months, days and sessions, and the length of a year. Not here: what is measured in a window
(``measures``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.frequency import DAILY, DAYS_PER_YEAR, MONTHS_PER_YEAR, Frequency

IntArray = NDArray[np.int64]

CLOSED = pd.Timedelta(days=4)
"""From one session to the next over a weekend with a holiday."""


@dataclass(frozen=True)
class Lookback:
    """A trailing stretch (d − lookback, d].

    Attributes
    ----------
    amount : int
        How many, at least 1.
    unit : {"months", "days", "sessions"}
        Calendar months, calendar days or sessions.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    amount: int
    unit: Literal["months", "days", "sessions"]

    def __post_init__(self) -> None:
        if self.unit not in ("months", "days", "sessions"):
            raise ValueError(f"lookback.unit: expected months, days or sessions, got {self.unit!r}")
        if self.amount < 1:
            raise ValueError(f"lookback.amount: expected at least 1, got {self.amount}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a label such as ``12m`` (calendar months), ``90d`` (calendar days) or ``60s`` (sessions).

        Raises
        ------
        ValueError
            When `text` is not a positive whole number followed by m, d or s.
        """
        match = re.fullmatch(r"([1-9][0-9]*)([mds])", text)
        if match is None:
            raise ValueError(f"lookback: expected months, days or sessions such as 12m, 90d or 60s, got {text!r}")
        units: dict[str, Literal["months", "days", "sessions"]] = {
            "m": "months",
            "d": "days",
            "s": "sessions",
        }
        return cls(int(match[1]), units[match[2]])

    @property
    def label(self) -> str:
        """The text `parse` reads, e.g. ``12m``."""
        return f"{self.amount}{self.unit[0]}"

    def expected(self, frequency: Frequency = DAILY) -> float:
        """Observations the lookback spans."""
        per_unit = {
            "months": frequency.per_year / MONTHS_PER_YEAR,
            "days": frequency.per_year / DAYS_PER_YEAR,
            "sessions": 1.0,
        }
        return self.amount * per_unit[self.unit]

    def full_months(self, frequency: Frequency = DAILY) -> int:
        """Whole months the lookback spans, rounded, at least 1: 12 for ``12m``, 3 for ``90d``."""
        return max(1, round(self.expected(frequency) * MONTHS_PER_YEAR / frequency.per_year))

    @property
    def is_one_year(self) -> bool:
        """Whether this is the 12-month lookback, whose full window needs no annualisation."""
        return (self.amount, self.unit) == (MONTHS_PER_YEAR, "months")

    def starts(self, sessions: pd.DatetimeIndex, as_of: pd.DatetimeIndex, frequency: Frequency = DAILY) -> IntArray:
        """Return the index in `sessions` of the first observation of each window (d − lookback, d].

        Parameters
        ----------
        sessions : DatetimeIndex, shape (T,)
            All sessions that returns stand on, ascending.
        as_of : DatetimeIndex, shape (A,)
            The days d. A month is subtracted on the calendar: twelve before 29 February is 28 February.
        frequency : Frequency
            Of monthly returns, a lookback in months is as many of them, whatever the day of a month's last session.

        Returns
        -------
        ndarray of int, shape (A,)
            0 where the window reaches back beyond the first session.
        """
        if self._counts(frequency):
            ends: IntArray = np.asarray(sessions.searchsorted(as_of, side="right"), dtype=np.int64)
            return np.maximum(ends - self.amount, 0)
        return np.asarray(sessions.searchsorted(as_of - self._span, side="right"), dtype=np.int64)

    def covered(
        self, sessions: pd.DatetimeIndex, as_of: pd.DatetimeIndex, frequency: Frequency = DAILY
    ) -> NDArray[np.bool_]:
        """Whether sessions go back to the beginning of each window.

        Parameters are those of :meth:`starts`. A window in months or days begins on a day that need not be a session:
        the first session may be as much later as there are days from one to the next.

        Returns
        -------
        ndarray of bool, shape (A,)
        """
        if self._counts(frequency):
            return np.asarray(sessions.searchsorted(as_of, side="right")) >= self.amount
        return np.asarray(as_of - self._span >= (sessions[0] if len(sessions) else pd.Timestamp.max) - CLOSED)

    def _counts(self, frequency: Frequency) -> bool:
        """Whether a window is a number of observations."""
        return self.unit == "sessions" or (frequency.monthly and self.unit == "months")

    @property
    def _span(self) -> pd.DateOffset:
        return pd.DateOffset(months=self.amount) if self.unit == "months" else pd.DateOffset(days=self.amount)
