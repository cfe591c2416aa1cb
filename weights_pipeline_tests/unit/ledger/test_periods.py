"""Periods: what has ended and begun by an instant, when it is rebalanced on, and the sessions in it."""

import datetime as dt
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from benchmarks.support.data import DATA
from weights_pipeline.books.cadence import Monthly, Quarterly, Sessions, Weekly
from weights_pipeline.books.load import load_book
from weights_pipeline.ledger import LedgerError, calendar_sessions
from weights_pipeline.ledger.periods import Periods, rebalances

NEW_YORK = "America/New_York"
MONTHS = Periods(Monthly(), NEW_YORK, "XNYS", dt.date(2020, 1, 1))
QUARTERS = Periods(Quarterly(kind="quarterly", day=3), NEW_YORK, "XNYS", dt.date(2019, 12, 1), dt.date(2021, 1, 1))


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK))


def keys(windows):
    return [window.key for window in windows]


def test_ended_and_begun_by_an_instant():
    before, at_the_end = at("2020-02-29T23:59:59"), at("2020-03-01T00:00")
    assert keys(MONTHS.ended(before)) == ["2020-01-01"]
    assert keys(MONTHS.ended(at_the_end)) == ["2020-01-01", "2020-02-01"]
    assert keys(MONTHS.begun(before)) == ["2020-01-01", "2020-02-01"]
    assert keys(MONTHS.begun(at_the_end)) == ["2020-01-01", "2020-02-01", "2020-03-01"]
    assert MONTHS.ended(at("2019-12-31T00:00")) == MONTHS.begun(at("2019-12-31T00:00")) == []


def test_nothing_begins_that_is_not_over_with_a_finished_history():
    assert keys(QUARTERS.begun(at("2030-01-01T00:00"))) == ["2020-01-01", "2020-04-01", "2020-07-01", "2020-10-01"]
    assert QUARTERS.ended(at("2030-01-01T00:00")) == QUARTERS.begun(at("2020-12-31T00:00"))
    cut = Periods(QUARTERS.cadence, NEW_YORK, "XNYS", QUARTERS.first, dt.date(2020, 12, 31))
    assert keys(cut.begun(at("2030-01-01T00:00")))[-1] == "2020-07-01"


def test_one_by_its_key():
    window = QUARTERS.window("2020-04-01")
    assert (window.start, window.end) == (at("2020-04-01T00:00"), at("2020-07-01T00:00"))
    assert (window.first, window.after) == (dt.date(2020, 4, 1), dt.date(2020, 7, 1))
    assert QUARTERS.due(window) == at("2020-07-03T06:30")
    with pytest.raises(KeyError, match="no quarter begins on 2020-05-01"):
        QUARTERS.window("2020-05-01")
    assert QUARTERS.keys("2020-02-01", "2020-07-01") == ["2020-04-01", "2020-07-01"]


@pytest.mark.parametrize(
    ("name", "key", "due"),
    [
        # In New York the clocks go forward on 8 March 2026 and back on 1 November.
        ("calmar_core", "2026-02-01", "2026-04-01T06:30-04:00"),
        ("sharpe_weekly", "2026-02-22", "2026-03-08T18:00-04:00"),
        ("sharpe_weekly", "2026-10-18", "2026-11-01T18:00-05:00"),
        ("sharpe_weekly", "2026-12-20", "2027-01-03T18:00-05:00"),
        ("ensemble_regime", "2026-02-23", "2026-03-09T02:00+00:00"),
    ],
)
def test_next_rebalance_is_one_period_later_in_local_time(name, key, due):
    book = load_book(DATA / "books" / f"{name}.yaml")
    periods = Periods(book.cadence, book.timezone, "XNYS", dt.date(2026, 1, 1))
    assert periods.next_due(periods.window(key)) == due


def test_next_rebalance_after_a_finished_history():
    assert QUARTERS.next_due(QUARTERS.window("2020-10-01")) == "2021-04-03T06:30-04:00"


@pytest.mark.parametrize(
    ("cadence", "zone", "newest", "last"),
    [
        (Monthly(), NEW_YORK, "2020-03-30", "2020-02-28"),
        (Monthly(), NEW_YORK, "2020-03-31", "2020-03-31"),
        (Quarterly(kind="quarterly"), NEW_YORK, "2020-06-29", "2020-03-31"),
        (Quarterly(kind="quarterly"), NEW_YORK, "2020-06-30", "2020-06-30"),
        (Weekly(kind="weekly", weekday="sunday", time=dt.time(18)), NEW_YORK, "2020-04-08", "2020-04-03"),
        # Good Friday ends the week a day early.
        (Weekly(kind="weekly", weekday="sunday", time=dt.time(18)), NEW_YORK, "2020-04-09", "2020-04-09"),
        (Weekly(kind="weekly", weekday="monday", time=dt.time(2)), "UTC", "2020-05-21", "2020-05-15"),
    ],
)
def test_a_period_is_over_with_its_last_session(cadence, zone, newest, last):
    periods = Periods(cadence, zone, "XNYS", dt.date(2020, 1, 1))
    windows, as_of = rebalances(periods, dt.date.fromisoformat(newest))
    assert str(as_of[-1].date()) == last
    assert len(windows) == len(as_of)
    assert windows[-1].first <= as_of[-1].date() < windows[-1].after


TENTH = Periods(Sessions(kind="sessions", every=10, time=dt.time(17)), NEW_YORK, "XNYS", dt.date(2020, 1, 1))


def test_sessions_are_counted_from_the_first_one_on_whoever_asks():
    windows = TENTH.ended(at("2021-01-01T00:00"))
    sessions = calendar_sessions("XNYS", dt.date(2020, 1, 1), dt.date(2021, 1, 31))
    assert [window.first for window in windows] == [day.date() for day in sessions[: len(windows) * 10 : 10]]
    assert keys(windows)[:3] == ["2020-01-01", "2020-01-15", "2020-01-30"]
    assert all(before.end == after.start for before, after in pairwise(windows))
    # The day after Thanksgiving closes early, and the clocks have changed twice.
    assert {window.end.time() for window in windows} == {dt.time(17)}
    one_day_on = replace(TENTH, over=dt.date(2020, 12, 1))
    assert one_day_on.ended(at("2030-01-01T00:00")) == windows[: len(one_day_on.ended(at("2030-01-01T00:00")))]


def test_next_rebalance_of_sessions_is_after_so_many_more():
    window = TENTH.window("2020-10-15")
    assert TENTH.due(window) == at("2020-10-29T17:00")
    assert TENTH.next_due(window) == "2020-11-12T17:00-05:00"


def test_sessions_beyond_the_recorded_calendar():
    periods = replace(TENTH, calendar="XSHG", timezone="Asia/Shanghai", first=dt.date(2026, 1, 1))
    ended = periods.ended(dt.datetime(2027, 6, 1, tzinfo=dt.UTC))
    assert keys(ended)[-1] < "2026-12-31"
    with pytest.raises(LedgerError, match="XSHG is not recorded to the end of the period from 2026-12"):
        periods.next_due(ended[-1])
    with pytest.raises(LedgerError, match="a session before 1890-01-01, to count from"):
        replace(TENTH, calendar="XSHG", first=dt.date(1890, 1, 1)).ended(at("2020-01-01T00:00"))


def test_simulated_rebalances_of_sessions():
    windows, as_of = rebalances(TENTH, dt.date(2020, 12, 31))
    sessions = calendar_sessions("XNYS", dt.date(2020, 1, 1), dt.date(2020, 12, 31))
    assert list(as_of) == list(sessions[9::10])
    assert len(windows) == len(sessions) // 10
