"""Periods: the months or weeks of a book, the months of a ledger, and the sessions that close in each.

Here belongs the arithmetic of cadence, zone and exchange calendar, for whoever runs no partitions. Here does not belong
what is computed for a period. The periods are the partitions that an orchestrator gives the book and the ledger.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import WEEKDAYS, Weekly
from weights_pipeline.core.chain import last_sessions
from weights_pipeline.ledger import LedgerSource, calendar_sessions, exchange_timezone, session_span
from weights_pipeline.tables.contract import Window

_LONGEST = dt.timedelta(days=62)
"""Longer than a period and a month, so that a period that has begun is over by then."""

_MONTH = dt.timedelta(days=31)
"""From the first day of any month into the next one."""


def periods(book: Book, calendar: str, first: dt.date, end: dt.date) -> list[Window]:
    """Months or weeks of a book that begin on or after one day and are over when another begins, in the book's zone.

    Parameters
    ----------
    book
        Its cadence and its zone: a month is a calendar month, a week ends when the book rebalances.
    calendar
        Calendar of the exchange. A session belongs to the period that it closes in.
    first
        Day of the earliest beginning.
    end
        Day at whose beginning the last period is over.

    Returns
    -------
    list of Window
        In order, without a gap; the key is the day a period begins.
    """
    zone = ZoneInfo(book.timezone)
    return _windows(_beginnings(book, first, zone), calendar, _instant(end, dt.time(), zone))


def ended_periods(book: Book, source: LedgerSource, now: dt.datetime) -> list[Window]:
    """Periods of a book that have ended by an instant, from the first month of its ledger to the last; see above."""
    first = dt.date.fromisoformat(f"{source.first_month}-01")
    tomorrow = now.astimezone(ZoneInfo(book.timezone)).date() + dt.timedelta(days=1)
    end = min(tomorrow, _last_day(source) + dt.timedelta(days=1)) if source.last_month else tomorrow
    return [window for window in periods(book, source.calendar, first, end) if window.end <= now]


def ledger_months(source: LedgerSource, now: dt.datetime) -> list[Window]:
    """Months of a ledger in the exchange's zone, the one that an instant lies in included."""
    zone = ZoneInfo(exchange_timezone(source.calendar))
    first = dt.date.fromisoformat(f"{source.first_month}-01")
    end = horizon(source, now).replace(day=1) + _MONTH
    return _windows(_months(first, zone), source.calendar, _instant(end.replace(day=1), dt.time(), zone))


def horizon(source: LedgerSource, now: dt.datetime) -> dt.date:
    """Day up to which a ledger is read: that of an instant at the exchange, or the last one of a finished history."""
    today = now.astimezone(ZoneInfo(exchange_timezone(source.calendar))).date()
    return min(today, _last_day(source)) if source.last_month else today


def rebalances(book: Book, calendar: str, first: dt.date, newest: dt.date) -> tuple[list[Window], pd.DatetimeIndex]:
    """Periods of a book with data to their end, and the last session of each.

    Parameters
    ----------
    book, calendar, first
        See :func:`periods`.
    newest
        Newest session with data. A period is left out when one of its sessions is after it.

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
    begun = [w for w in periods(book, calendar, first, newest + _LONGEST) if w.first <= newest]
    sessions = calendar_sessions(calendar, first, newest + _LONGEST)
    as_of = last_sessions(sessions, window_dates(begun)) if begun else sessions[:0]
    complete = int(as_of.searchsorted(pd.Timestamp(newest), side="right"))
    return begun[:complete], as_of[:complete]


def window_dates(windows: Sequence[Window]) -> pd.IntervalIndex:
    """Windows as half-open intervals of session dates."""
    dates = [(pd.Timestamp(w.first), pd.Timestamp(w.after)) for w in windows]
    return pd.IntervalIndex.from_tuples(dates, closed="left")


def only_windows(frame: pd.DataFrame, time_column: str, windows: Sequence[Window]) -> pd.DataFrame:
    """Rows of a frame that belong to windows without a gap between them."""
    dates = window_dates(windows)
    days = frame[time_column]
    kept: pd.DataFrame = frame[(days >= dates.left[0]) & (days < dates.right[-1])].reset_index(drop=True)
    return kept


def _windows(beginnings: Iterator[dt.datetime], calendar: str, over: dt.datetime) -> list[Window]:
    """Windows between beginnings that follow each other without end, as far as they are over by an instant."""
    found: list[Window] = []
    for begin, until in pairwise(beginnings):
        # Instants of one zone compare by their wall clock, which runs twice through the hour that is put back.
        if until.astimezone(dt.UTC) > over.astimezone(dt.UTC):
            return found
        span = session_span(calendar, begin, until)
        found.append(Window(f"{begin:%Y-%m-%d}", begin, until, span.first, span.after, span.settled))
    raise AssertionError("beginnings never end")


def _beginnings(book: Book, first: dt.date, zone: ZoneInfo) -> Iterator[dt.datetime]:
    """Instants at which periods begin, from the first on or after the start of a day; without end."""
    if isinstance(book.cadence, Weekly):
        day = first + dt.timedelta(days=(WEEKDAYS.index(book.cadence.weekday) - first.weekday()) % 7)
        while True:
            yield _instant(day, book.cadence.time, zone)
            day += dt.timedelta(days=7)
    yield from _months(first, zone)


def _months(first: dt.date, zone: ZoneInfo) -> Iterator[dt.datetime]:
    """Instants at which months begin, from the first on or after the start of a day; without end."""
    month = first.year * 12 + first.month - 1 + (first.day > 1)
    while True:
        year, index = divmod(month, 12)
        yield _instant(dt.date(year, index + 1, 1), dt.time(), zone)
        month += 1


def _instant(day: dt.date, time: dt.time, zone: ZoneInfo) -> dt.datetime:
    """Instant of a wall-clock time: the later of two, and the end of the gap for one that the clocks skip."""
    later = dt.datetime.combine(day, time, tzinfo=zone).replace(fold=1)
    if later.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == later.replace(tzinfo=None):
        return later
    before, after = later.replace(fold=0).utcoffset(), later.utcoffset()
    gap = (after or dt.timedelta()) - (before or dt.timedelta())
    return later.replace(minute=0, second=0, microsecond=0, fold=0) + gap


def _last_day(source: LedgerSource) -> dt.date:
    """Last day of a finished history."""
    first = dt.date.fromisoformat(f"{source.last_month}-01")
    return (first + _MONTH).replace(day=1) - dt.timedelta(days=1)
