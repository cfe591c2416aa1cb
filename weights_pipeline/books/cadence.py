"""When a book rebalances.

Scope: everything that sets one cadence apart from another. Not here: partitions and schedules, which follow from it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, get_args

from pydantic import Field

from weights_pipeline.books.reading import Model


class Monthly(Model):
    """A rebalance once a month, at a local time of the book's zone."""

    kind: Literal["monthly"] = "monthly"
    day: int = Field(default=1, ge=1, le=28)
    time: dt.time = dt.time(6, 30)

    @property
    def title(self) -> str:
        """In words."""
        return f"monthly on day {self.day} at {self.time:%H:%M}"

    def due(self, after: dt.datetime, *, skip: int = 0) -> dt.datetime:
        """First rebalance at or after a zone-aware instant, or the one that many rebalances later."""
        month = after.year * 12 + after.month - 1
        tick = self._tick(month, after)
        if tick < after:
            month += 1
        return self._tick(month + skip, after)

    def _tick(self, month: int, like: dt.datetime) -> dt.datetime:
        year, index = divmod(month, 12)
        return dt.datetime.combine(dt.date(year, index + 1, self.day), self.time, tzinfo=like.tzinfo)


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


WEEKDAYS: tuple[str, ...] = get_args(Weekday)


class Weekly(Model):
    """A rebalance once a week, at a local time of the book's zone; the week it is for ends then."""

    kind: Literal["weekly"]
    weekday: Weekday
    time: dt.time

    @property
    def title(self) -> str:
        """In words."""
        return f"weekly on {self.weekday.capitalize()} at {self.time:%H:%M}"

    def due(self, after: dt.datetime, *, skip: int = 0) -> dt.datetime:
        """First rebalance at or after a zone-aware instant, or the one that many rebalances later."""
        day = after.date() + dt.timedelta(days=(WEEKDAYS.index(self.weekday) - after.weekday()) % 7)
        tick = dt.datetime.combine(day, self.time, tzinfo=after.tzinfo)
        if tick < after:
            day += dt.timedelta(days=7)
        return dt.datetime.combine(day + dt.timedelta(days=7 * skip), self.time, tzinfo=after.tzinfo)


Cadence = Annotated[Monthly | Weekly, Field(discriminator="kind")]
