"""Calendars: what is recorded, what cannot be built, overnight sessions, and sessions that a desk lists itself."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY
from weights_pipeline.ledger import LedgerError, calendar_sessions, exchange_timezone, load_ledger_source
from weights_pipeline.ledger.calendars import (
    default_per_year,
    observed_sessions,
    recorded_bounds,
    require_calendar,
    session_closes,
    session_hours,
    session_span,
    sessions_file,
    sessions_past,
)
from weights_pipeline.ledger.periods import Periods, rebalances

BOOK = load_book(DATA / "books" / "calmar_core.yaml", root=DATA)
WEEKLY = load_book(DATA / "books" / "sharpe_weekly.yaml", root=DATA)
ENDED = (
    "calendar: XSHG is recorded from 1990-12-03 to 2026-12-31; {} was asked for: upgrade exchange_calendars, or list"
)


def span(calendar: str, start: dt.datetime, end: dt.datetime) -> tuple[str, str]:
    found = session_span(calendar, start, end)
    return str(found.first), str(found.after)


def at(zone: str, *parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type]


# --- calendars that end -------------------------------------------------------------------------------------


def test_dates_inside_the_bound_work_up_to_its_last_day() -> None:
    assert recorded_bounds("XSHG")[1] == dt.date(2026, 12, 31)
    last = calendar_sessions("XSHG", dt.date(2026, 12, 28), dt.date(2026, 12, 31))
    assert last.strftime("%m-%d").tolist() == ["12-28", "12-29", "12-30", "12-31"]
    shanghai = "Asia/Shanghai"
    december = span("XSHG", at(shanghai, 2026, 12, 1), at(shanghai, 2027, 1, 1))
    # No session after the last month is known, but where it ends is.
    assert december == ("2026-12-01", "2027-01-01")
    # Past any day with a session after it.
    assert sessions_past("XSHG", dt.date(2026, 11, 2), dt.date(2026, 12, 30))[-1] == pd.Timestamp("2026-12-31")


def test_what_lies_beyond_is_an_error_that_names_calendar_bound_and_remedy() -> None:
    for ask, asked in [
        (lambda: calendar_sessions("XSHG", dt.date(2026, 12, 1), dt.date(2027, 1, 31)), "2026-12-01 to 2027-01-31"),
        (lambda: sessions_past("XSHG", dt.date(2026, 12, 1), dt.date(2026, 12, 31)), "a session after 2026-12-31"),
        (lambda: sessions_past("XSHG", dt.date(2026, 12, 1), dt.date(2028, 5, 1)), "a session after 2028-05-01"),
        (
            lambda: session_span("XSHG", at("UTC", 2027, 1, 1), at("UTC", 2027, 2, 1)),
            "2027-01-01 to 2027-02-01",
        ),
        (
            lambda: session_span("XSHG", at("UTC", 1980, 1, 1), at("UTC", 1980, 2, 1)),
            "1980-01-01 to 1980-02-01",
        ),
    ]:
        with pytest.raises(LedgerError) as caught:
            ask()
        assert str(caught.value).startswith(ENDED.format(asked))


@pytest.mark.parametrize("book", [BOOK, WEEKLY])
def test_rebalances_near_the_bound_are_those_whose_periods_are_surely_over(book) -> None:
    first = dt.date(2026, 9, 1)
    periods = Periods(book.cadence, book.timezone, "XSHG", first)
    windows, as_of = rebalances(periods, dt.date(2026, 12, 18))
    later, _ = rebalances(periods, dt.date(2026, 12, 31))
    assert later[: len(windows)] == windows
    assert all(window.after <= dt.date(2027, 1, 1) for window in later)
    if book is BOOK:
        assert [window.key for window in windows] == ["2026-09-01", "2026-10-01", "2026-11-01"]
        assert as_of.strftime("%m-%d").tolist() == ["09-30", "10-30", "11-30"]


def test_rebalances_are_the_same_wherever_the_data_stop() -> None:
    sessions = calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 4, 30))
    periods = Periods(BOOK.cadence, BOOK.timezone, "XNYS", dt.date(2024, 1, 1))
    whole, ends = rebalances(periods, sessions[-1].date())
    assert [w.key for w in whole] == ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]
    for newest in sessions[::7]:
        windows, as_of = rebalances(periods, newest.date())
        over = int((ends <= newest).sum())
        assert windows == whole[:over]
        assert as_of.equals(ends[:over])


@pytest.mark.parametrize("name", ["XTAE", "ASEX", "XBSE", "XBEL", "XCYS"])
def test_a_calendar_that_cannot_be_built_is_refused_as_such(name: str) -> None:
    with pytest.raises(LedgerError, match=f"cannot build the sessions of {name} from 2024"):
        require_calendar(name)


# --- overnight sessions and every day -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["us_futures", "CMES"])
def test_sessions_of_futures_run_from_sunday_evening_to_friday(name: str) -> None:
    hours = session_hours(name, dt.date(2024, 3, 4), dt.date(2024, 3, 8))
    assert hours.index.day_name().tolist() == ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    # Sunday 18:00 in New York.
    assert hours["open"].iloc[0] == pd.Timestamp("2024-03-03 23:00")
    assert hours["close"].iloc[-1] == pd.Timestamp("2024-03-08 23:00")
    assert (hours["open"].iloc[1:].to_numpy() == hours["close"].iloc[:-1].to_numpy()).all()
    # A session belongs to the month that it closes in: the last of March opens on Sunday, closes on 1 April.
    zone = exchange_timezone(name)
    assert span(name, at(zone, 2024, 3, 1), at(zone, 2024, 4, 1)) == ("2024-03-01", "2024-04-01")


def test_sessions_a_year_by_calendar() -> None:
    assert [default_per_year(name) for name in ("XNYS", "24/7", "us_futures")] == [252, 365, 252]
    assert len(calendar_sessions("24/7", dt.date(2023, 1, 1), dt.date(2023, 12, 31))) == 365


def test_months_are_observed_on_their_last_session_once_they_are_over() -> None:
    sessions = calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 3, 28))
    assert observed_sessions("XNYS", DAILY, sessions) is sessions
    months = observed_sessions("XNYS", MONTHLY, sessions)
    assert months.strftime("%m-%d").tolist() == ["01-31", "02-29", "03-28"]
    # The calendar knows that the month goes on, however few of its sessions are asked for.
    assert observed_sessions("XNYS", MONTHLY, sessions[:-1]).equals(months[:-1])


# --- sessions that a desk lists itself ----------------------------------------------------------------------


def listed(folder: Path, text: str, zone: str = "Europe/London") -> str:
    (folder / "sessions.csv").write_text(text)
    return sessions_file(folder / "sessions.csv", zone)


def test_dates_alone_are_sessions_that_end_with_their_day(tmp_path: Path) -> None:
    calendar = listed(tmp_path, "date\n2024-03-28\n2024-04-02\n2024-04-03\n")
    assert recorded_bounds(calendar) == (dt.date(2024, 3, 1), dt.date(2024, 4, 3))
    assert exchange_timezone(calendar) == "Europe/London"
    hours = session_hours(calendar, dt.date(2024, 3, 28), dt.date(2024, 4, 2))
    assert hours["open"].tolist() == [pd.Timestamp("2024-03-28"), pd.Timestamp("2024-04-01 23:00")]  # summer time
    assert hours["close"].tolist() == [pd.Timestamp("2024-03-29"), pd.Timestamp("2024-04-02 23:00")]
    london = "Europe/London"
    assert span(calendar, at(london, 2024, 3, 28), at(london, 2024, 4, 1)) == ("2024-03-28", "2024-04-02")


def test_hours_are_read_in_the_files_zone_and_in_any_order(tmp_path: Path) -> None:
    calendar = listed(
        tmp_path,
        "date,close,open,note\n2024-03-05,16:30,,x\n2024-03-04,2024-03-04T12:30:00Z,2024-03-03T22:00:00Z,half\n".replace(
            "16:30", "2024-03-05 16:30"
        ),
    )
    hours = session_hours(calendar, dt.date(2024, 3, 4), dt.date(2024, 3, 5))
    assert hours["close"].tolist() == [pd.Timestamp("2024-03-04 12:30"), pd.Timestamp("2024-03-05 16:30")]
    assert hours["open"].tolist() == [pd.Timestamp("2024-03-03 22:00"), pd.Timestamp("2024-03-05")]


def test_a_file_that_has_grown_is_read_again(tmp_path: Path) -> None:
    calendar = listed(tmp_path, "date\n2024-03-28\n")
    with pytest.raises(LedgerError, match=r"sessions\.csv is recorded from 2024-03-01 to 2024-03-28; a session after"):
        sessions_past(calendar, dt.date(2024, 3, 28), dt.date(2024, 3, 28))
    listed(tmp_path, "date\n2024-03-28\n2024-04-02\n")
    assert len(sessions_past(calendar, dt.date(2024, 3, 28), dt.date(2024, 3, 28))) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date\n2024-03-28\n2024-03-28\n", "1 sessions to correct: line 3: date: occurs twice"),
        ("date,close\n2024-03-28,2024-03-29T10:00Z\n", "line 2: close: is not on its date in Europe/London"),
        ("date,open,close\n2024-03-28,2024-03-28T17:00Z,2024-03-28T16:00Z\n", "line 2: open: is not before close"),
        (
            "date,open,close\n2024-03-28,,2024-03-28T16:00Z\n2024-03-29,2024-03-28T15:00Z,\n",
            "line 3: open: is before the close of the session before",
        ),
        ("date\nsoon\n", "line 2: date: 'soon' is not an ISO 8601 date"),
        ("day\n2024-03-28\n", "missing column date"),
    ],
)
def test_sessions_that_cannot_be_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        require_calendar(listed(tmp_path, text))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"calendar: .*gone\.csv cannot be read"):
        require_calendar(sessions_file(tmp_path / "gone.csv", "UTC"))


LEDGER = """
name: desk
description: A desk.
returns: [returns.csv]
timezone: Europe/London
first_month: 2023-01
last_month: 2023-12
"""


def source(folder: Path, *lines: str):
    (folder / "ledgers").mkdir(exist_ok=True)
    (folder / "ledgers" / "desk.yaml").write_text(LEDGER + "\n".join(lines) + "\n")
    return load_ledger_source(folder / "ledgers" / "desk.yaml")


def test_a_ledger_names_its_sessions_and_how_many_make_a_year(tmp_path: Path) -> None:
    every_day = pd.date_range("2023-01-01", "2024-02-29").strftime("%Y-%m-%d")
    (tmp_path / "sessions.csv").write_text("\n".join(["date", *every_day]) + "\n")
    custom = "calendar: {custom: {file: sessions.csv}}"
    with pytest.raises(LedgerError, match=r"lists 365 sessions a year, .* sessions_per_year: 365"):
        source(tmp_path, custom)
    desk = source(tmp_path, custom, "sessions_per_year: 365")
    assert desk.frequency.per_year == 365
    assert desk.calendar == sessions_file(tmp_path.resolve() / "sessions.csv", "Europe/London")
    tokyo = "calendar: {custom: {file: sessions.csv, timezone: Asia/Tokyo}}"
    elsewhere = source(tmp_path, tokyo, "sessions_per_year: 365")
    assert exchange_timezone(elsewhere.calendar) == "Asia/Tokyo"
    assert source(tmp_path, "calendar: 24/7").frequency.per_year == 365
    assert source(tmp_path, "calendar: us_futures", "sessions_per_year: 259").frequency.per_year == 259
    assert source(tmp_path, "frequency: monthly").frequency == MONTHLY
    assert source(tmp_path).frequency == DAILY


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["calendar: XBEL"], "cannot build the sessions of XBEL"),
        (["calendar: {custom: {file: ../sessions.csv}}"], "file: .*a path inside the data folder"),
        (["calendar: {custom: {files: sessions.csv}}"], "calendar"),
        (["calendar: {file: sessions.csv}"], "calendar"),
        (["calendar: {custom: {file: sessions.csv}}"], r"sessions\.csv cannot be read"),
        (["frequency: weekly"], "frequency: Input should be 'daily' or 'monthly'"),
        (["frequency: monthly", "sessions_per_year: 12"], "a year has 12 months"),
        (["frequency: monthly", "lots: [lots.csv]"], "trades have days"),
        (["sessions_per_year: 0"], "sessions_per_year"),
        (["sessions_per_year: 400"], "sessions_per_year"),
    ],
)
def test_calendars_and_frequencies_that_cannot_be_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        source(tmp_path, *lines)


def test_closes_by_session_of_a_file(tmp_path: Path) -> None:
    calendar = listed(tmp_path, "date,close\n2024-03-04,2024-03-04T16:30Z\n2024-03-05,\n")
    closes = session_closes(calendar, dt.date(2024, 3, 4), dt.date(2024, 3, 5))
    assert closes.tolist() == [pd.Timestamp("2024-03-04 16:30"), pd.Timestamp("2024-03-06")]
