"""Exchange calendars: sessions, their closes, and the zone of an exchange.

Here belongs the one place that asks the calendar library. Here does not belong the assignment of times to sessions,
which is in ``core``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd

from weights_pipeline.ledger.errors import LedgerError


def calendar_sessions(calendar: str, start: dt.date, end: dt.date) -> pd.DatetimeIndex:
    """Sessions of an exchange from `start` to `end`, both included: tz-naive midnights, microseconds.

    Raises
    ------
    LedgerError
        The calendar is unknown, or not recorded over these dates.
    """
    sessions = _calendar_over(calendar, start, end).sessions
    within = sessions[(sessions >= pd.Timestamp(start)) & (sessions <= pd.Timestamp(end))]
    return pd.DatetimeIndex(within.to_numpy(dtype="datetime64[us]"))


def session_closes(calendar: str, start: dt.date, end: dt.date) -> pd.Series:
    """Return the closing instants, tz-naive UTC, by session; otherwise as `calendar_sessions`."""
    sessions = calendar_sessions(calendar, start, end)
    closes = _calendar_over(calendar, start, end).closes.loc[sessions]
    instants = pd.DatetimeIndex(closes).tz_convert("UTC").tz_localize(None).as_unit("us")
    return pd.Series(instants, index=sessions, name="close")


def session_hours(calendar: str, start: dt.date, end: dt.date) -> pd.DataFrame:
    """Return ``open`` and ``close``, tz-naive UTC, by session; otherwise as `calendar_sessions`."""
    closes = session_closes(calendar, start, end)
    opens = pd.DatetimeIndex(_calendar_over(calendar, start, end).opens.loc[closes.index])
    return pd.DataFrame({"open": opens.tz_convert("UTC").tz_localize(None).as_unit("us"), "close": closes})


@dataclass(frozen=True)
class SessionSpan:
    """The sessions that close in a span of time.

    Attributes
    ----------
    first, after
        First session that closes after the start, and first one that closes after the end.
    settled
        End of the last session's day at the exchange, but no later than the end of the span.
    """

    first: dt.date
    after: dt.date
    settled: dt.datetime


def session_span(calendar: str, start: dt.datetime, end: dt.datetime) -> SessionSpan:
    """Sessions that have closed by the end of a span of time and had not by its start; zone-aware instants."""
    closes = _closes(calendar, start.year // 10 * 10)
    first, after = (int(closes.searchsorted(_utc(instant), side="right")) for instant in (start, end))
    settled = end
    if after > first:
        day_after = closes.index[after - 1].date() + dt.timedelta(days=1)
        midnight = dt.datetime.combine(day_after, dt.time(), tzinfo=ZoneInfo(exchange_timezone(calendar)))
        settled = min(end, midnight.astimezone(end.tzinfo))
    return SessionSpan(closes.index[first].date(), closes.index[after].date(), settled)


def closes_from(calendar: str, day: dt.date) -> Iterator[dt.datetime]:
    """Instants at which sessions close, from the last session before a day on, as far as they are recorded.

    Raises
    ------
    LedgerError
        There is no session before that day, or it is not recorded.
    """
    low, high = recorded_bounds(calendar)
    # A decade comes with the year after it, so that one that begins a year before the day has a session before it.
    begin = (day.year - 1) // 10 * 10
    sessions = _closes(calendar, begin).index if low < day <= high else pd.DatetimeIndex([])
    earlier = sessions[sessions < pd.Timestamp(day)]
    if earlier.empty:
        raise LedgerError(
            f"calendar: {calendar} is recorded from {low} to {high}; expected a session before {day}, to count from"
        )
    first = earlier[-1]
    for decade in range(begin, high.year + 1, 10):
        closes = _closes(calendar, decade)
        yield from (close.replace(tzinfo=dt.UTC) for close in closes[closes.index >= first].dt.to_pydatetime())
        first = closes.index[-1] + pd.Timedelta(days=1)


@lru_cache(maxsize=64)
def _closes(calendar: str, decade: int) -> pd.Series:
    """Closes from a decade's first year to the year after it, so that a span of up to a year always fits."""
    low, high = recorded_bounds(calendar)
    return session_closes(calendar, max(dt.date(decade, 1, 1), low), min(dt.date(decade + 11, 12, 31), high))


def _utc(instant: dt.datetime) -> pd.Timestamp:
    return pd.Timestamp(instant).tz_convert("UTC").tz_localize(None)


def exchange_timezone(calendar: str) -> str:
    """IANA zone of an exchange, which says on which date something happened there."""
    return str(_any_year(calendar).tz)


def _calendar_over(name: str, start: dt.date, end: dt.date) -> Any:
    low, high = recorded_bounds(name)
    if start < low or end > high:
        raise LedgerError(f"calendar: {name} is recorded from {low} to {high}; {start} to {end} was asked for")
    # Whole decades: a run asks for a dozen spans of years, and a calendar takes a while to make.
    return _calendar(name, start.year // 10 * 10, end.year // 10 * 10 + 9)


@lru_cache(maxsize=16)
def _calendar(name: str, first_year: int, last_year: int) -> Any:
    low, high = recorded_bounds(name)
    start, end = max(dt.date(first_year, 1, 1), low), min(dt.date(last_year, 12, 31), high)
    return exchange_calendars.get_calendar(name, start=str(start), end=str(end))


def recorded_bounds(name: str) -> tuple[dt.date, dt.date]:
    """First and last day that a calendar is recorded for, within the years that a ledger may speak of."""
    kind = type(_any_year(name))
    low, high = kind.bound_min(), kind.bound_max()
    return low.date() if low else dt.date(1900, 1, 1), high.date() if high else dt.date(2199, 12, 31)


@lru_cache(maxsize=64)
def _any_year(name: str) -> Any:
    """Open a calendar over one year that all of them cover; the default range would depend on the clock."""
    require_calendar(name)
    return exchange_calendars.get_calendar(name, start="2024-01-01", end="2024-12-31")


def require_calendar(name: str) -> None:
    """Refuse a calendar that the library does not know."""
    if name not in exchange_calendars.get_calendar_names():
        raise LedgerError(f"calendar: {name!r} is not known to exchange_calendars; expected a name such as XNYS")
