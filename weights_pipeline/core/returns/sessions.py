"""Trading sessions: which session an instant belongs to, and the sessions around a date.

Here belongs the arithmetic of instants, local dates and sessions. Here does not belong any exchange's
calendar: the sessions are an argument, tz-naive midnights in ascending order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Instants = pd.Series | pd.DatetimeIndex | NDArray[np.datetime64]
SessionOf = Callable[[Instants], pd.DatetimeIndex]
"""Says which session each instant belongs to."""


class UtcTimes(NamedTuple):
    """Local times placed on the UTC axis, entry by entry.

    Attributes
    ----------
    utc : DatetimeIndex
        tz-naive UTC in microseconds; NaT where the local time is missing, ambiguous or nonexistent.
    ambiguous : ndarray of bool
        The clocks were put back and the local time occurred twice.
    nonexistent : ndarray of bool
        The clocks were put forward and the local time never occurred.
    """

    utc: pd.DatetimeIndex
    ambiguous: NDArray[np.bool_]
    nonexistent: NDArray[np.bool_]


def to_utc(local: pd.DatetimeIndex, timezone: str) -> UtcTimes:
    """Place local wall-clock times on the UTC axis; never guesses around a change of the clocks.

    Parameters
    ----------
    local : DatetimeIndex, shape (n,)
        tz-naive wall-clock times; NaT stays NaT.
    timezone : str
        IANA zone of the wall clock.
    """
    placed = local.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    lost = np.asarray(placed.isna()) & np.asarray(local.notna())
    shifted = local.tz_localize(timezone, ambiguous="NaT", nonexistent="shift_forward")
    ambiguous = lost & np.asarray(shifted.isna())
    return UtcTimes(_naive_utc(placed), ambiguous, lost & ~ambiguous)


def day_start(days: pd.DatetimeIndex, timezone: str) -> pd.DatetimeIndex:
    """First instant of each local day, tz-naive UTC, also where the clocks change at midnight."""
    the_first_of_two = np.ones(len(days), dtype=bool)
    return _naive_utc(days.tz_localize(timezone, ambiguous=the_first_of_two, nonexistent="shift_forward"))


def assign_session(times: Instants, hours: pd.DataFrame, timezone: str) -> pd.DatetimeIndex:
    """Session each instant belongs to: the one that trades then, or outside trading hours the next one to close.

    The instant of a close still belongs to the session that ends with it, unless the next session opens at it. So what
    happens in the evening belongs to the overnight session of futures, and after a stock exchange's close to the next
    day; what happens on a weekend or a holiday, to the session after it.

    Parameters
    ----------
    times : Series, DatetimeIndex or ndarray of datetime64, shape (n,)
        Instants; tz-naive ones are UTC.
    hours : DataFrame, shape (m, 2)
        ``open`` and ``close`` of each session, tz-naive UTC, by session: tz-naive midnights in ascending order.
    timezone : str
        IANA zone of the exchange, which says when the day of the first session begins.

    Returns
    -------
    DatetimeIndex, shape (n,)
        tz-naive midnights in microseconds. NaT for a NaT, for an instant before the day of the first session (one
        that the calendar leaves out may lie between) and for one after the last close.

    Raises
    ------
    ValueError
        If there are no sessions or they do not ascend.
    """
    return session_assigner(hours, timezone)(times)


def session_assigner(hours: pd.DataFrame, timezone: str, over: pd.Timestamp | None = None) -> SessionOf:
    """:func:`assign_session` of one calendar, for several calls; an instant from `over` on has no session either."""
    days = _ascending(pd.DatetimeIndex(hours.index))
    opens, closes = (hours[name].to_numpy(dtype="datetime64[us]") for name in ("open", "close"))
    ends = closes - np.append(opens[1:] == closes[:-1], False).astype("timedelta64[us]")
    begin = min(pd.Timestamp(opens[0]), day_start(days[:1], timezone)[0]).to_datetime64()
    # Whatever has no session stands behind the last.
    sessions = np.append(days.to_numpy(), np.datetime64("NaT", "us"))
    until = (pd.Timestamp.max if over is None else over).to_datetime64()

    def assigned(times: Instants) -> pd.DatetimeIndex:
        instants = pd.DatetimeIndex(times).as_unit("us")
        if instants.tz is not None:
            instants = instants.tz_convert("UTC").tz_localize(None)
        at = instants.to_numpy()
        position = np.where((at >= begin) & (at < until), ends.searchsorted(at, side="left"), len(days))
        return pd.DatetimeIndex(sessions[position])

    return assigned


def next_session(sessions: pd.DatetimeIndex, d: date | pd.Timestamp) -> pd.Timestamp:
    """First session strictly after the date `d`.

    Raises
    ------
    ValueError
        If the sessions end on or before `d`.
    """
    days = _ascending(sessions)
    position = int(days.searchsorted(pd.Timestamp(d).normalize(), side="right"))
    if position == len(days):
        raise ValueError(f"sessions: expected one after {d:%Y-%m-%d}, but they end on {days[-1]:%Y-%m-%d}")
    return days[position]


def sessions_after(sessions: pd.DatetimeIndex, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """First session strictly after each date; errors as :func:`next_session`."""
    days = _ascending(sessions)
    if len(dates):
        next_session(days, dates.max())
    return days[days.searchsorted(dates, side="right")]


def _naive_utc(zoned: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return zoned.tz_convert("UTC").tz_localize(None).as_unit("us")


def _ascending(sessions: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if len(sessions) == 0 or not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected at least one session, in ascending order and each once")
    return sessions.as_unit("us")
