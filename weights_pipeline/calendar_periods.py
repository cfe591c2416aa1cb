"""Rebalance periods: the months or weeks of a book and the sessions that close in each, for whoever runs no partitions.

Here belongs the arithmetic of cadence, zone and exchange calendar. Here does not belong what is computed for a period.
The periods are the partitions that an orchestrator gives the book.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from zoneinfo import ZoneInfo

import pandas as pd

from weights_pipeline.books import WEEKDAYS, Book, Weekly
from weights_pipeline.core.chain import last_sessions
from weights_pipeline.ledger import calendar_sessions, session_span
from weights_pipeline.store.contract import Window

_LONGEST = dt.timedelta(days=62)
"""Longer than a period and a month, so that a period that has begun is over by then."""


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
    over = _instant(end, dt.time(), zone)
    found: list[Window] = []
    for begin, until in pairwise(_beginnings(book, first, zone)):
        # Instants of one zone compare by their wall clock, which runs twice through the hour that is put back.
        if until.astimezone(dt.UTC) > over.astimezone(dt.UTC):
            return found
        span = session_span(calendar, begin, until)
        found.append(Window(f"{begin:%Y-%m-%d}", begin, until, span.first, span.after, span.settled))
    raise AssertionError("beginnings never end")


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
    dates = [(pd.Timestamp(w.first), pd.Timestamp(w.after)) for w in begun]
    sessions = calendar_sessions(calendar, first, newest + _LONGEST)
    as_of = last_sessions(sessions, pd.IntervalIndex.from_tuples(dates, closed="left")) if begun else sessions[:0]
    complete = int(as_of.searchsorted(pd.Timestamp(newest), side="right"))
    return begun[:complete], as_of[:complete]


def _beginnings(book: Book, first: dt.date, zone: ZoneInfo) -> Iterator[dt.datetime]:
    """Instants at which periods begin, from the first on or after the start of a day; without end."""
    if isinstance(book.cadence, Weekly):
        day = first + dt.timedelta(days=(WEEKDAYS.index(book.cadence.weekday) - first.weekday()) % 7)
        while True:
            yield _instant(day, book.cadence.time, zone)
            day += dt.timedelta(days=7)
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
