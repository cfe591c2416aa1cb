"""Cadences: their words, cron expressions and instants, around both changes of the clocks and the turn of the year."""

import datetime as dt
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from weights_pipeline.books.cadence import Cadence, instant

NEW_YORK = ZoneInfo("America/New_York")
CADENCE = TypeAdapter(Cadence)
HALF_AN_HOUR = dt.timedelta(minutes=30)


def cadence(**content):
    return CADENCE.validate_python(content)


def no_sessions(day):
    raise AssertionError(f"sessions from {day} on were asked for")


def beginnings(of, first, count, zone=NEW_YORK):
    return [
        begin.isoformat(timespec="minutes")
        for begin in islice(of.beginnings(dt.date.fromisoformat(first), zone, no_sessions), count)
    ]


@pytest.mark.parametrize(
    ("content", "title", "works_on"),
    [
        ({"kind": "monthly"}, "monthly on day 1 at 06:30", "calendar month before"),
        (
            {"kind": "quarterly", "day": 3, "time": "07:15"},
            "quarterly on day 3 of January, April, July and October at 07:15",
            "three calendar months before",
        ),
        (
            {"kind": "quarterly", "first_month": 2},
            "quarterly on day 1 of February, May, August and November at 06:30",
            "three calendar months before",
        ),
        (
            {"kind": "weekly", "weekday": "sunday", "time": "18:00"},
            "weekly on Sunday at 18:00",
            "week that ends then",
        ),
        (
            {"kind": "sessions", "every": 10, "time": "17:00"},
            "every 10 sessions at 17:00",
            "sessions that have closed since the one before",
        ),
        (
            {"kind": "sessions", "every": 1, "time": "17:00"},
            "every session at 17:00",
            "sessions that have closed since the one before",
        ),
    ],
)
def test_in_words(content, title, works_on):
    assert (cadence(**content).title, cadence(**content).works_on) == (title, works_on)


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ({"kind": "quarterly", "first_month": 4}, "first_month"),
        ({"kind": "quarterly", "day": 29}, "day"),
        ({"kind": "monthly", "first_month": 1}, "first_month"),
        ({"kind": "weekly", "weekday": "sunday"}, "time"),
        ({"kind": "sessions", "every": 0, "time": "17:00"}, "every"),
        ({"kind": "sessions", "every": 10, "time": "03:59"}, "expected 04:00 or later"),
        ({"kind": "yearly"}, "Input tag 'yearly'"),
    ],
)
def test_refused(content, refused):
    with pytest.raises(ValidationError, match=refused):
        cadence(**content)


@pytest.mark.parametrize(
    ("content", "begin", "rebalance", "later"),
    [
        ({"kind": "monthly", "day": 5, "time": "07:15"}, "0 0 1 * *", "15 7 5 * *", "45 7 5 * *"),
        ({"kind": "quarterly"}, "0 0 1 1,4,7,10 *", "30 6 1 1,4,7,10 *", "0 7 1 1,4,7,10 *"),
        (
            {"kind": "quarterly", "first_month": 3, "day": 28, "time": "23:45"},
            "0 0 1 3,6,9,12 *",
            "45 23 28 3,6,9,12 *",
            "15 0 29 3,6,9,12 *",
        ),
        ({"kind": "weekly", "weekday": "saturday", "time": "23:59"}, "59 23 * * 6", "59 23 * * 6", "29 0 * * 0"),
    ],
)
def test_as_cron(content, begin, rebalance, later):
    found = cadence(**content)
    assert (found.cron, found.ticks(), found.ticks(HALF_AN_HOUR)) == (begin, rebalance, later)


@pytest.mark.parametrize(
    ("content", "first", "begin"),
    [
        ({"kind": "monthly"}, "2026-02-02", ["2026-03-01T00:00-05:00", "2026-04-01T00:00-04:00"]),
        ({"kind": "monthly"}, "2026-11-01", ["2026-11-01T00:00-04:00", "2026-12-01T00:00-05:00"]),
        ({"kind": "quarterly"}, "2026-10-02", ["2027-01-01T00:00-05:00", "2027-04-01T00:00-04:00"]),
        ({"kind": "quarterly", "first_month": 3}, "2026-12-01", ["2026-12-01T00:00-05:00", "2027-03-01T00:00-05:00"]),
        (
            {"kind": "weekly", "weekday": "sunday", "time": "18:00"},
            "2026-12-22",
            ["2026-12-27T18:00-05:00", "2027-01-03T18:00-05:00"],
        ),
        # A time that the clocks skip is the end of the gap, one that they double the later.
        (
            {"kind": "weekly", "weekday": "sunday", "time": "02:30"},
            "2026-03-02",
            ["2026-03-08T03:00-04:00", "2026-03-15T02:30-04:00"],
        ),
        (
            {"kind": "weekly", "weekday": "sunday", "time": "01:30"},
            "2026-11-01",
            ["2026-11-01T01:30-05:00", "2026-11-08T01:30-05:00"],
        ),
    ],
)
def test_beginnings(content, first, begin):
    assert beginnings(cadence(**content), first, 2) == begin


@pytest.mark.parametrize(
    ("content", "end", "due"),
    [
        ({"kind": "monthly"}, "2026-03-01", "2026-03-01T06:30-05:00"),
        ({"kind": "monthly", "day": 8, "time": "02:30"}, "2026-03-01", "2026-03-08T03:00-04:00"),
        ({"kind": "quarterly", "day": 9}, "2026-04-01", "2026-04-09T06:30-04:00"),
    ],
)
def test_rebalance_of_the_months_before(content, end, due):
    midnight = instant(dt.date.fromisoformat(end), dt.time(), NEW_YORK)
    assert cadence(**content).due(midnight).isoformat(timespec="minutes") == due
    assert instant(dt.date.fromisoformat(due[:10]), dt.time(), NEW_YORK) - midnight <= cadence(**content).wait


def closes(*instants):
    return lambda day: (dt.datetime.fromisoformat(text).astimezone(dt.UTC) for text in instants)


BEFORE = "2026-10-30T16:00-04:00"


@pytest.mark.parametrize(
    ("time", "sessions", "begin"),
    [
        # The first day is that of the history; sessions close at 16:00, in the evening of Tokyo's next day.
        (
            "17:00",
            ["2026-11-02T16:00-05:00", "2026-11-03T16:00-05:00", "2026-11-04T16:00-05:00", "2026-11-05T16:00-05:00"],
            ["2026-11-01T00:00-04:00", "2026-11-03T17:00-05:00", "2026-11-05T17:00-05:00"],
        ),
        # Before the close, it is the next day's time; of two closes between, the second is in the same period.
        (
            "15:30",
            ["2026-11-02T16:00-05:00", "2026-11-25T16:00-05:00", "2026-11-27T13:00-05:00", "2026-11-30T16:00-05:00"],
            ["2026-11-01T00:00-04:00", "2026-11-26T15:30-05:00", "2026-12-01T15:30-05:00"],
        ),
    ],
)
def test_beginnings_of_sessions(time, sessions, begin):
    every_other = cadence(kind="sessions", every=2, time=time)
    found = every_other.beginnings(dt.date(2026, 11, 1), NEW_YORK, closes(BEFORE, *sessions))
    assert [each.isoformat(timespec="minutes") for each in found] == begin


def test_every_session_begins_where_one_before_has_closed():
    sessions = ["2026-11-02T16:00-05:00", "2026-11-03T12:00-05:00", "2026-11-04T16:00-05:00"]
    each = cadence(kind="sessions", every=1, time="15:30")
    found = each.beginnings(dt.date(2026, 11, 2), NEW_YORK, closes(BEFORE, *sessions))
    # Two have closed by half past three on the third.
    assert [begin.isoformat(timespec="minutes") for begin in found] == [
        "2026-10-31T15:30-04:00",
        "2026-11-03T15:30-05:00",
        "2026-11-05T15:30-05:00",
    ]
