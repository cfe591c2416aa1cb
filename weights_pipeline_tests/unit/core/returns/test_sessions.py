"""Instants, local dates and sessions."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.sessions import assign_session, day_start, next_session, to_utc
from weights_pipeline_tests.support.examples import examples

# 2021-12-31 is a Friday; New Year's Day falls on a Saturday; 2022-01-17 is a holiday.
SESSIONS = pd.DatetimeIndex(
    ["2021-12-29", "2021-12-30", "2021-12-31", "2022-01-03", "2022-01-04", "2022-01-14", "2022-01-18"]
)
HOURS = pd.DataFrame(
    {"open": SESSIONS + pd.Timedelta("14:30:00"), "close": SESSIONS + pd.Timedelta("21:00:00")}, index=SESSIONS
)


@pytest.mark.parametrize(
    ("utc", "session"),
    [
        ("2021-12-30 15:00", "2021-12-30"),  # within the session
        ("2021-12-30 21:00", "2021-12-30"),  # the instant of its close
        ("2021-12-30 21:01", "2021-12-31"),  # after it, to the next one to close
        ("2021-12-31 05:00", "2021-12-31"),  # midnight in New York
        ("2021-12-31 21:01", "2022-01-03"),  # the last evening of the year
        ("2022-01-01 05:00", "2022-01-03"),  # Saturday and New Year: the first session of the year
        ("2022-01-02 22:00", "2022-01-03"),  # Sunday evening
        ("2022-01-15 15:00", "2022-01-18"),  # weekend and holiday
        ("2022-01-18 05:00", "2022-01-18"),
        ("2022-01-18 21:01", None),  # after the last close
        ("2021-12-29 05:00", "2021-12-29"),  # the day of the first session begins
        ("2021-12-29 04:59", None),  # before it a session may lie
        (None, None),
    ],
)
def test_an_instant_belongs_to_the_session_that_trades_then_or_the_next_one_to_close(
    utc: str | None, session: str | None
) -> None:
    (assigned,) = assign_session(pd.DatetimeIndex([utc]), HOURS, "America/New_York")
    assert assigned is pd.NaT if session is None else assigned == pd.Timestamp(session)


def test_the_instant_at_which_one_session_ends_and_the_next_begins_belongs_to_the_latter() -> None:
    days = pd.DatetimeIndex(["2024-03-04", "2024-03-05"])
    close = days + pd.Timedelta(hours=23)
    overnight = pd.DataFrame({"open": close - pd.Timedelta(days=1), "close": close}, index=days)
    times = pd.DatetimeIndex(["2024-03-04 22:59:59.999999", "2024-03-04 23:00", "2024-03-05 23:00", "2024-03-03 22:59"])
    assigned = assign_session(times, overnight, "America/Chicago")
    assert [None if day is pd.NaT else day.day for day in assigned] == [4, 5, 5, None]


def test_instants_come_as_series_array_or_index_with_or_without_a_zone() -> None:
    naive = pd.DatetimeIndex(["2021-12-31 20:00", "2022-01-01 20:00"])
    expected = pd.DatetimeIndex(["2021-12-31", "2022-01-03"]).as_unit("us")
    for times in (
        naive,
        pd.Series(naive, index=[7, 3]),
        naive.to_numpy(),
        naive.as_unit("ns").tz_localize("UTC").tz_convert("Asia/Tokyo"),
    ):
        pd.testing.assert_index_equal(assign_session(times, HOURS, "America/New_York"), expected)


@pytest.mark.parametrize("sessions", [[], ["2022-01-04", "2022-01-03"], ["2022-01-03", "2022-01-03"]])
def test_sessions_that_do_not_ascend_are_refused(sessions: list[str]) -> None:
    with pytest.raises(ValueError, match="ascending order"):
        assign_session(pd.DatetimeIndex(["2022-01-03"]), HOURS.reindex(pd.DatetimeIndex(sessions)), "UTC")


@examples(60)
@given(st.lists(st.datetimes(dt.datetime(2021, 12, 20), dt.datetime(2022, 1, 25)), max_size=20))
def test_assignment_agrees_with_a_search_session_by_session(times: list[dt.datetime]) -> None:
    assigned = assign_session(pd.DatetimeIndex(times), HOURS, "America/New_York")
    for time, session in zip(times, assigned, strict=True):
        ends = (day for day, close in HOURS["close"].items() if close >= time)
        expected = next(ends, None) if time >= dt.datetime(2021, 12, 29, 5) else None
        assert (None if session is pd.NaT else session) == expected


def test_the_session_after_a_date() -> None:
    assert next_session(SESSIONS, dt.date(2021, 12, 31)) == pd.Timestamp("2022-01-03")
    assert next_session(SESSIONS, pd.Timestamp("2022-01-01")) == pd.Timestamp("2022-01-03")
    with pytest.raises(ValueError, match="one after 2022-01-18, but they end on 2022-01-18"):
        next_session(SESSIONS, dt.date(2022, 1, 18))


def test_clock_changes_are_told_apart_and_never_guessed() -> None:
    local = pd.DatetimeIndex(["2024-03-10 02:30", "2024-11-03 01:30", "2024-11-03 00:59:59", "2024-11-03 02:00", None])
    utc, ambiguous, nonexistent = to_utc(local, "America/New_York")
    assert ambiguous.tolist() == [False, True, False, False, False]
    assert nonexistent.tolist() == [True, False, False, False, False]
    assert np.isnat(utc.to_numpy()).tolist() == [True, True, False, False, True]
    assert utc[2:4].tolist() == [pd.Timestamp("2024-11-03 04:59:59"), pd.Timestamp("2024-11-03 07:00")]


def test_a_day_begins_also_where_its_midnight_is_skipped_or_occurs_twice() -> None:
    days = pd.DatetimeIndex(["2018-11-04", "2018-02-18", None])
    # São Paulo: clocks went from 00:00 to 01:00 (UTC−2), and from 24:00 back to 23:00 on the 17th.
    expected = pd.DatetimeIndex(["2018-11-04 03:00", "2018-02-18 03:00", None]).as_unit("us")
    pd.testing.assert_index_equal(day_start(days, "America/Sao_Paulo"), expected)
    # Havana: clocks went from 01:00 back to 00:00, so midnight occurred twice; the day begins with the first.
    assert day_start(pd.DatetimeIndex(["2023-11-05"]), "America/Havana")[0] == pd.Timestamp("2023-11-05 04:00")
