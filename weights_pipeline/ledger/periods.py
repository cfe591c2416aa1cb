"""Periods: the months of a ledger, the periods of a book, and the sessions that close in each.

Scope: the arithmetic of cadence, zone and exchange calendar. A period is a partition of the orchestrator, which asks
here when one begins and ends, as everybody does who runs no partitions. Not here: what sets one cadence apart
(``books.cadence``), and what is computed for a period.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock
from zoneinfo import ZoneInfo

import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import Cadence, Monthly, instant
from weights_pipeline.core.chain import last_sessions
from weights_pipeline.ledger import (
    LedgerError,
    LedgerSource,
    calendar_sessions,
    exchange_timezone,
    recorded_bounds,
    recorded_until,
    session_closes,
    session_span,
)
from weights_pipeline.ledger.calendars import REACH, closes_from
from weights_pipeline.tables.contract import Window

_MONTH = dt.timedelta(days=31)
"""From the first day of any month into the next one."""

_END_OF_DAY = dt.time(23, 59, 59)


@dataclass(frozen=True)
class Periods:
    """Periods that follow each other without a gap. The key of one is the day it begins.

    Attributes
    ----------
    cadence
        What sort of periods they are.
    timezone
        IANA zone in which they begin.
    calendar
        Calendar of the exchange. A session belongs to the period that it closes in.
    first
        Day from whose start on they begin, or sessions are counted.
    over
        Day by whose start the last one has ended; None where they go on.
    """

    cadence: Cadence
    timezone: str
    calendar: str
    first: dt.date
    over: dt.date | None = None

    def ended(self, by: dt.datetime) -> list[Window]:
        """Those that have ended by an instant, in order."""
        return _walk(self).ended(by)

    def begun(self, by: dt.datetime) -> list[Window]:
        """Those that have begun by an instant, in order; the last one may go on after it."""
        return _walk(self).begun(by)

    def window(self, key: str) -> Window:
        """The one of a key.

        Raises
        ------
        KeyError
            None begins that day.
        """
        begun = self._begun_on(key)
        if not begun or begun[-1].key != key:
            raise KeyError(f"no {self.cadence.period} begins on {key}")
        return begun[-1]

    def keys(self, first: str, last: str) -> list[str]:
        """Keys from one day to another, both included."""
        return [window.key for window in self._begun_on(last) if window.key >= first]

    def strays(self, keys: Iterable[str]) -> list[str]:
        """Those of some keys that are none of a period: of partitions of another cadence, or before the first day."""
        found = sorted(keys)
        return sorted(set(found).difference(self.keys(found[0], found[-1]))) if found else []

    def _begun_on(self, day: str) -> list[Window]:
        return self.begun(instant(dt.date.fromisoformat(day), _END_OF_DAY, ZoneInfo(self.timezone)))

    def due(self, window: Window) -> dt.datetime:
        """When one is rebalanced on, in the zone."""
        return self.cadence.due(window.end)

    def next_due(self, window: Window) -> str:
        """When the one after is rebalanced on, ISO 8601 in the zone.

        Raises
        ------
        weights_pipeline.ledger.LedgerError
            The calendar is not recorded that far.
        """
        return self.cadence.due(_walk(self).end_after(window)).isoformat(timespec="minutes")


def book_periods(book: Book, source: LedgerSource) -> Periods:
    """Periods of a book, from its own first month or that of its ledger to the last one, in the book's zone."""
    return Periods(book.cadence, book.timezone, source.calendar, _begins(book, source), _day_after(source))


def ledger_months(source: LedgerSource) -> Periods:
    """Months of a ledger, in the exchange's zone."""
    zone = exchange_timezone(source.calendar)
    return Periods(Monthly(), zone, source.calendar, _first_day(source), _day_after(source))


def daily_months(book: Book, source: LedgerSource) -> Periods:
    """Months of the weights that a book scales every day, in the book's zone."""
    return Periods(Monthly(), book.timezone, source.calendar, _begins(book, source), _day_after(source))


def require_recorded(source: LedgerSource, now: dt.datetime) -> None:
    """Refuse a ledger whose calendar is not recorded from its first month to its last one, or to an instant.

    Raises
    ------
    LedgerError
        The message names the calendar, what is recorded of it, and what to do.
    """
    calendar_sessions(source.calendar, dt.date.fromisoformat(f"{source.first_month}-01"), horizon(source, now))


def horizon(source: LedgerSource, now: dt.datetime) -> dt.date:
    """Day up to which a ledger is read: that of an instant at the exchange, or the last one of a finished history."""
    today = now.astimezone(ZoneInfo(exchange_timezone(source.calendar))).date()
    over = _day_after(source)
    return today if over is None else min(today, over - dt.timedelta(days=1))


def until(periods: Periods, instant: dt.datetime) -> list[Window]:
    """Periods that have begun by an instant, in order, the last one as far as it has gone by then."""
    return [
        window if window.end <= instant else _as_far(periods.calendar, window, instant)
        for window in periods.begun(instant)
    ]


def _as_far(calendar: str, window: Window, instant: dt.datetime) -> Window:
    span = session_span(calendar, window.start, instant)
    return Window(window.key, window.start, instant, span.first, span.after, span.settled)


def rebalances(periods: Periods, newest: dt.date) -> tuple[list[Window], pd.DatetimeIndex]:
    """Periods with data to their end, and the last session of each.

    Parameters
    ----------
    periods
        Periods of a book.
    newest
        Newest session with data. A period is left out when one of its sessions is after it, or may be.

    Returns
    -------
    windows : list of Window
    as_of : DatetimeIndex
        The last session of each, which is what a rebalance has seen.

    Raises
    ------
    ValueError
        A period has no session.
    """
    _, high = recorded_bounds(periods.calendar)
    closes = session_closes(periods.calendar, newest, max(newest, min(newest + REACH, high)))
    following = closes[closes.index > pd.Timestamp(newest)]
    # Periods are over before the next session closes, or with what is recorded.
    moment = dt.timedelta(microseconds=1)
    over = (
        following.iloc[0].tz_localize("UTC").to_pydatetime() - moment
        if len(following)
        else recorded_until(periods.calendar)
    )
    windows = [window for window in periods.ended(over) if window.first <= newest]
    sessions = calendar_sessions(periods.calendar, periods.first, newest)
    return windows, last_sessions(sessions, window_dates(windows)) if windows else sessions[:0]


def window_dates(windows: Sequence[Window]) -> pd.IntervalIndex:
    """Windows as half-open intervals of session dates."""
    dates = [(pd.Timestamp(w.first), pd.Timestamp(w.after)) for w in windows]
    return pd.IntervalIndex.from_tuples(dates, closed="left")


def only_windows(frame: pd.DataFrame, time_column: str, windows: Sequence[Window]) -> pd.DataFrame:
    """Rows of a frame that belong to windows without a gap between them."""
    first, after, days = pd.Timestamp(windows[0].first), pd.Timestamp(windows[-1].after), frame[time_column]
    inside = ((days >= first) & (days < after)).to_numpy()
    kept: pd.DataFrame = (frame if inside.all() else frame[inside]).reset_index(drop=True)
    return kept


class _Walk:
    """Windows in order, each computed once, as far as they have been asked for.

    Instants are compared as timestamps: those of one zone compare by their wall clock, which runs twice through the
    hour that is put back.
    """

    def __init__(self, periods: Periods) -> None:
        zone = ZoneInfo(periods.timezone)
        self._calendar, self._lock = periods.calendar, Lock()
        self._over = None if periods.over is None else instant(periods.over, dt.time(), zone).timestamp()
        closes = partial(closes_from, periods.calendar)
        self._more = periods.cadence.beginnings(periods.first, zone, closes)
        self._beginnings: list[dt.datetime] = []
        self._stamps: list[float] = []
        self._windows: list[Window] = []

    def ended(self, by: dt.datetime) -> list[Window]:
        stamp = by.timestamp()
        with self._lock:
            while (until := self._beginning(len(self._windows) + 1)) and until.timestamp() <= stamp and self._add():
                pass
            return self._windows[: max(0, bisect_right(self._stamps, stamp) - 1)]

    def begun(self, by: dt.datetime) -> list[Window]:
        stamp = by.timestamp()
        with self._lock:
            while (begin := self._beginning(len(self._windows))) and begin.timestamp() <= stamp and self._add():
                pass
            return self._windows[: bisect_right(self._stamps, stamp)]

    def end_after(self, window: Window) -> dt.datetime:
        with self._lock:
            self._beginning(len(self._windows))
            place = bisect_left(self._stamps, window.end.timestamp())
            end = self._beginning(place + 1)
        if end is None:
            raise LedgerError(f"calendar: {self._calendar} is not recorded to the end of the period from {window.end}")
        return end

    def _beginning(self, place: int) -> dt.datetime | None:
        """Where the period of a place begins; None where sessions that are counted are not recorded that far."""
        while len(self._beginnings) <= place:
            begin = next(self._more, None)
            if begin is None:
                return None
            self._beginnings.append(begin)
            self._stamps.append(begin.timestamp())
        return self._beginnings[place]

    def _add(self) -> bool:
        """Compute one more window; whether there is one."""
        begin, until = (self._beginning(len(self._windows) + more) for more in (0, 1))
        if begin is None or until is None or (self._over is not None and until.timestamp() > self._over):
            return False
        span = session_span(self._calendar, begin, until)
        self._windows.append(Window(f"{begin:%Y-%m-%d}", begin, until, span.first, span.after, span.settled))
        return True


@lru_cache(maxsize=256)
def _walk(periods: Periods) -> _Walk:
    return _Walk(periods)


def _begins(book: Book, source: LedgerSource) -> dt.date:
    return dt.date.fromisoformat(f"{book.starts}-01") if book.starts else _first_day(source)


def _first_day(source: LedgerSource) -> dt.date:
    return dt.date.fromisoformat(f"{source.first_month}-01")


def _day_after(source: LedgerSource) -> dt.date | None:
    """First day after a finished history."""
    if source.last_month is None:
        return None
    return (dt.date.fromisoformat(f"{source.last_month}-01") + _MONTH).replace(day=1)
