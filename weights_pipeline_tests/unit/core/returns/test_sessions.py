"""Instants, local dates and sessions."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.returns.sessions import assign_session, day_start, next_session, to_utc

# 2021-12-31 is a Friday; New Year's Day falls on a Saturday; 2022-01-17 is a holiday.
SESSIONS = pd.DatetimeIndex(
    ["2021-12-29", "2021-12-30", "2021-12-31", "2022-01-03", "2022-01-04", "2022-01-14", "2022-01-18"]
)


@pytest.mark.parametrize(
    ("utc", "session"),
    [
        ("2021-12-30 15:00", "2021-12-30"),  # within the session
        ("2021-12-30 23:30", "2021-12-30"),  # after the close, still its date
        ("2021-12-31 04:59", "2021-12-30"),  # 23:59 in New York on the day before
        ("2021-12-31 05:00", "2021-12-31"),  # midnight in New York
        ("2022-01-01 04:59", "2021-12-31"),  # the last minute of the year there
        ("2022-01-01 05:00", "2022-01-03"),  # Saturday and New Year: the first session of the year
        ("2022-01-02 22:00", "2022-01-03"),  # Sunday evening
        ("2022-01-15 15:00", "2022-01-18"),  # weekend and holiday
        ("2022-01-18 05:00", "2022-01-18"),
        ("2022-01-19 05:00", None),  # after the last session
        ("2021-12-29 04:59", None),  # before the first: a session may lie there
        (None, None),
    ],
)
def test_an_instant_belongs_to_the_first_session_on_or_after_its_date_in_new_york(
    utc: str | None, session: str | None
) -> None:
    (assigned,) = assign_session(pd.DatetimeIndex([utc]), SESSIONS, "America/New_York")
    assert assigned is pd.NaT if session is None else assigned == pd.Timestamp(session)


def test_instants_come_as_series_array_or_index_with_or_without_a_zone() -> None:
    naive = pd.DatetimeIndex(["2021-12-31 20:00", "2022-01-01 20:00"])
    expected = pd.DatetimeIndex(["2021-12-31", "2022-01-03"]).as_unit("us")
    for times in (
        naive,
        pd.Series(naive, index=[7, 3]),
        naive.to_numpy(),
        naive.as_unit("ns").tz_localize("UTC").tz_convert("Asia/Tokyo"),
    ):
        pd.testing.assert_index_equal(assign_session(times, SESSIONS, "America/New_York"), expected)


@pytest.mark.parametrize("sessions", [[], ["2022-01-04", "2022-01-03"], ["2022-01-03", "2022-01-03"]])
def test_sessions_that_do_not_ascend_are_refused(sessions: list[str]) -> None:
    with pytest.raises(ValueError, match="ascending order"):
        assign_session(pd.DatetimeIndex(["2022-01-03"]), pd.DatetimeIndex(sessions), "UTC")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(dt.datetime(2021, 12, 20), dt.datetime(2022, 1, 25)), max_size=20),
    st.sampled_from(["America/New_York", "Asia/Tokyo", "Europe/London", "UTC"]),
)
def test_assignment_agrees_with_a_search_day_by_day(times: list[dt.datetime], zone: str) -> None:
    assigned = assign_session(pd.DatetimeIndex(times), SESSIONS, zone)
    days = [session.date() for session in SESSIONS]
    for time, session in zip(times, assigned, strict=True):
        local = time.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).date()
        expected = next((day for day in days if day >= local), None) if local >= days[0] else None
        assert (None if session is pd.NaT else session.date()) == expected


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
