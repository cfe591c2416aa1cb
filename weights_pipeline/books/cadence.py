"""When a book rebalances.

Scope: everything that sets one cadence apart from another: where its periods begin, when each is rebalanced on, as an
instant and as a cron expression, and the words for both. A new cadence is a class here and its place in
:data:`Cadence`; partitions, schedules, deadlines, checks and the command line ask it. Not here: which sessions a period
holds (``ledger.periods``), and what is done with one.
"""

from __future__ import annotations

import calendar
import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Annotated, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from weights_pipeline.books.reading import Model

Closes = Callable[[dt.date], Iterator[dt.datetime]]
"""Instants at which sessions close, from the last one before a day on, in order."""

NO_TIME = dt.timedelta()

_LONG_MONTH = dt.date(2001, 1, 1)
"""A month of 31 days, to count days in."""

_SUNDAY = dt.date(2001, 1, 7)
"""A first day of the week as cron counts."""


class CadenceModel(Model, ABC):
    """What each cadence says of itself.

    Attributes
    ----------
    period
        What one period is called.
    works_on
        Which period a rebalance is on, in words.
    """

    period: ClassVar[str]
    works_on: ClassVar[str]

    @property
    @abstractmethod
    def title(self) -> str:
        """When it rebalances, in words."""

    @property
    @abstractmethod
    def longest(self) -> dt.timedelta:
        """No period is longer."""

    @property
    def wait(self) -> dt.timedelta:
        """From the end of a period to its rebalance."""
        return NO_TIME

    @property
    @abstractmethod
    def cron(self) -> str | None:
        """Where periods begin, as a cron expression of local time; None where no such expression says it."""

    @abstractmethod
    def ticks(self, later: dt.timedelta = NO_TIME) -> str | None:
        """When it rebalances, or so much later, as a cron expression of local time; None where none says it."""

    @abstractmethod
    def beginnings(self, first: dt.date, zone: ZoneInfo, closes: Closes) -> Iterator[dt.datetime]:
        """Where periods begin; each ends where the next begins.

        Parameters
        ----------
        first
            Day from whose start on they begin.
        zone
            The book's zone.
        closes
            Sessions, for a cadence that counts them.
        """

    def due(self, end: dt.datetime) -> dt.datetime:
        """When the period that ends at an instant of the book's zone is rebalanced on."""
        return end

    def label(self, key: str) -> str:
        """A period by its key, as a person writes it."""
        return key


class _OfMonths(CadenceModel):
    """Periods of whole calendar months, each rebalanced on at a local time of the month after."""

    day: int
    time: dt.time

    @property
    @abstractmethod
    def months(self) -> tuple[int, ...]:
        """Months of the year in which periods begin."""

    @property
    def longest(self) -> dt.timedelta:
        """So many long months."""
        return dt.timedelta(days=31 * 12 // len(self.months))

    @property
    def wait(self) -> dt.timedelta:
        """From the end of the month to the day and time."""
        return self._tick - dt.datetime.combine(_LONG_MONTH, dt.time())

    @property
    def cron(self) -> str:
        """Midnight of each first day."""
        return f"0 0 1 {self._months_of_cron} *"

    def ticks(self, later: dt.timedelta = NO_TIME) -> str:
        """Day and time, in the months after."""
        tick = self._tick + later
        return f"{tick.minute} {tick.hour} {tick.day} {self._months_of_cron} *"

    def beginnings(self, first: dt.date, zone: ZoneInfo, closes: Closes) -> Iterator[dt.datetime]:
        """From the first whole month on."""
        month = first.year * 12 + first.month - 1 + (first.day > 1)
        while True:
            year, index = divmod(month, 12)
            if index + 1 in self.months:
                yield instant(dt.date(year, index + 1, 1), dt.time(), zone)
            month += 1

    def due(self, end: dt.datetime) -> dt.datetime:
        """Day and time in the month after."""
        return instant(end.date().replace(day=self.day), self.time, _zone(end))

    def label(self, key: str) -> str:
        """The month it begins with."""
        return key[: len("YYYY-MM")]

    @property
    def _tick(self) -> dt.datetime:
        return dt.datetime.combine(_LONG_MONTH.replace(day=self.day), self.time)

    @property
    def _months_of_cron(self) -> str:
        return "*" if len(self.months) == 12 else ",".join(map(str, self.months))


class Monthly(_OfMonths):
    """A rebalance once a month, at a local time of the book's zone, on the calendar month before."""

    period: ClassVar[str] = "month"
    works_on: ClassVar[str] = "calendar month before"

    kind: Literal["monthly"] = "monthly"
    day: int = Field(default=1, ge=1, le=28)
    time: dt.time = dt.time(6, 30)

    @property
    def title(self) -> str:
        """In words."""
        return f"monthly on day {self.day} at {self.time:%H:%M}"

    @property
    def months(self) -> tuple[int, ...]:
        """All twelve."""
        return tuple(range(1, 13))


class Quarterly(_OfMonths):
    """A rebalance once a quarter, at a local time of the book's zone, on the three calendar months before."""

    period: ClassVar[str] = "quarter"
    works_on: ClassVar[str] = "three calendar months before"

    kind: Literal["quarterly"]
    day: int = Field(default=1, ge=1, le=28)
    time: dt.time = dt.time(6, 30)
    first_month: int = Field(default=1, ge=1, le=3, description="Month in which the year's first quarter begins.")

    @property
    def title(self) -> str:
        """In words."""
        *names, last = (calendar.month_name[month] for month in self.months)
        return f"quarterly on day {self.day} of {', '.join(names)} and {last} at {self.time:%H:%M}"

    @property
    def months(self) -> tuple[int, ...]:
        """Four, three apart."""
        return tuple(range(self.first_month, 13, 3))


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)


class Weekly(CadenceModel):
    """A rebalance once a week, at a local time of the book's zone; the week it is for ends then."""

    period: ClassVar[str] = "week"
    works_on: ClassVar[str] = "week that ends then"

    kind: Literal["weekly"]
    weekday: Weekday
    time: dt.time

    @property
    def title(self) -> str:
        """In words."""
        return f"weekly on {self.weekday.capitalize()} at {self.time:%H:%M}"

    @property
    def longest(self) -> dt.timedelta:
        """Seven days, and the hour that is put back."""
        return dt.timedelta(days=7, hours=1)

    @property
    def cron(self) -> str:
        """When it rebalances."""
        return self.ticks()

    def ticks(self, later: dt.timedelta = NO_TIME) -> str:
        """Weekday and time."""
        day = _SUNDAY + dt.timedelta(days=WEEKDAYS.index(self.weekday) + 1)
        tick = dt.datetime.combine(day, self.time) + later
        return f"{tick.minute} {tick.hour} * * {tick.isoweekday() % 7}"

    def beginnings(self, first: dt.date, zone: ZoneInfo, closes: Closes) -> Iterator[dt.datetime]:
        """From the first such weekday on."""
        day = first + dt.timedelta(days=(WEEKDAYS.index(self.weekday) - first.weekday()) % 7)
        while True:
            yield instant(day, self.time, zone)
            day += dt.timedelta(days=7)


def _after_clock_changes(time: dt.time) -> dt.time:
    if time < dt.time(4):
        raise ValueError("expected 04:00 or later: before, there are days on which the clocks skip or double a time")
    return time


class Sessions(CadenceModel):
    """A rebalance every so many sessions, at a local time of the book's zone; the sessions it is for have closed then.

    They are counted by the ledger's calendar, from the ledger's first session on, so that a history computed at once
    has the same periods as a desk that went along.
    """

    period: ClassVar[str] = "period"
    works_on: ClassVar[str] = "sessions that have closed since the one before"

    kind: Literal["sessions"]
    every: int = Field(ge=1, le=126, description="How many sessions.")
    time: Annotated[dt.time, AfterValidator(_after_clock_changes)]

    @property
    def title(self) -> str:
        """In words."""
        return f"every {f'{self.every} sessions' if self.every > 1 else 'session'} at {self.time:%H:%M}"

    @property
    def longest(self) -> dt.timedelta:
        """Weeks of five sessions, and the longest holidays of any exchange."""
        return dt.timedelta(days=self.every * 7 // 5 + 14)

    @property
    def cron(self) -> None:
        """No expression knows holidays."""
        return None

    def ticks(self, later: dt.timedelta = NO_TIME) -> None:
        """No expression knows holidays."""
        return

    def beginnings(self, first: dt.date, zone: ZoneInfo, closes: Closes) -> Iterator[dt.datetime]:
        """The first day, then the next such time after the close of each so-manieth session."""
        sessions = closes(first)
        before, opening = next(sessions), next(sessions)
        begin, midnight = self._after(before, zone), instant(first, dt.time(), zone)
        # A period of one session may end on the first day, and a day is the key of one period.
        if self.every > 1 and begin.timestamp() < midnight.timestamp() < opening.timestamp():
            begin = midnight
        yield begin
        for close in islice(chain([opening], sessions), self.every - 1, None, self.every):
            until = self._after(close, zone)
            # Two sessions may close between two such times, the second of them early.
            if until.timestamp() > begin.timestamp():
                yield (begin := until)

    def _after(self, close: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        day = close.astimezone(zone).date()
        same_day = instant(day, self.time, zone)
        if same_day.timestamp() >= close.timestamp():
            return same_day
        return instant(day + dt.timedelta(days=1), self.time, zone)


Cadence = Annotated[Monthly | Quarterly | Weekly | Sessions, Field(discriminator="kind")]


def instant(day: dt.date, time: dt.time, zone: ZoneInfo) -> dt.datetime:
    """Instant of a wall-clock time: the later of two, and the end of the gap for one that the clocks skip."""
    later = dt.datetime.combine(day, time, tzinfo=zone).replace(fold=1)
    if later.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == later.replace(tzinfo=None):
        return later
    before, after = later.replace(fold=0).utcoffset(), later.utcoffset()
    gap = (after or dt.timedelta()) - (before or dt.timedelta())
    return later.replace(minute=0, second=0, microsecond=0, fold=0) + gap


def _zone(moment: dt.datetime) -> ZoneInfo:
    if not isinstance(moment.tzinfo, ZoneInfo):
        raise TypeError(f"{moment.isoformat()} is not an instant of a book's zone")
    return moment.tzinfo
