"""Delivered returns in a ledger's files: days off the calendar, months, blanks, ends and scale; no row is dropped."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from weights_pipeline.core.returns.frequency import MONTHLY
from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, calendar_sessions, read_ledger, read_returns_file
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.tables import intake_rows, return_rows
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
NOW = dt.datetime(2024, 6, 29, tzinfo=dt.UTC)


def make(**keys) -> LedgerSource:
    sound = {"name": "desk", "description": "Test.", "timezone": "America/New_York", "first_month": "2024-01"}
    return LedgerSource.model_validate(sound | {"returns": ["*.csv"]} | keys)


def read(root: Path, text: str, **keys) -> Intake:
    (root / "returns.csv").write_text(text)
    intake = read_ledger(make(**keys), root, horizon=HORIZON)
    assert (intake.files["accepted"] + intake.files["rejected"] == intake.files["read"]).all()
    return intake


def table(intake: Intake) -> list[tuple[str, str, float]]:
    rows = intake.returns[["session", "strategy", "daily_return"]].itertuples(index=False)
    return [(f"{session:%m-%d}", strategy, value) for session, strategy, value in rows]


def strategy_returns(intake: Intake, root: Path, **keys) -> pd.DataFrame:
    source = make(**keys)
    windows = ledger_months(source).begun(NOW)
    return return_rows(intake_rows(intake, source, windows, NOW), source, root, windows, NOW)


def findings(intake: Intake) -> dict[tuple[str, str], str]:
    return {(each.code, each.strategy): each.message for each in intake.findings}


@pytest.mark.parametrize(
    "text",
    [
        "date,a,b\n2024-03-15,0.01,0.02\n2024-03-16,0.01,\n2024-03-17,-0.02,0.03\n2024-03-18,0.05,\n",
        "session,strategy,daily_return\n2024-03-17,a,-0.02\n2024-03-16,a,0.01\n2024-03-15,b,0.02\n2024-03-18,a,0.05\n"
        "2024-03-17,b,0.03\n2024-03-15,a,0.01\n",
    ],
)
def test_weekends_are_part_of_monday_and_no_row_is_dropped(tmp_path: Path, text: str) -> None:
    intake = read(tmp_path, text)
    monday = math.prod((1.01, 0.98, 1.05)) - 1
    assert table(intake) == [
        ("03-15", "a", 0.01),
        ("03-15", "b", 0.02),
        ("03-18", "a", pytest.approx(monday, rel=1e-14)),
        ("03-18", "b", 0.03),
    ]
    assert intake.files["accepted"].sum() == 6
    found = findings(intake)
    assert "2 of 4 returns are dated on days without a session" in found["returns_off_calendar", "a"]
    assert "1 of 2 returns" in found["returns_off_calendar", "b"]


def test_the_first_session_takes_what_came_just_before_it(tmp_path: Path) -> None:
    intake = read(tmp_path, "date,a\n2023-12-29,0.5\n2023-12-30,0.1\n2024-01-01,0.1\n2024-01-02,0.1\n2024-06-29,0.1\n")
    assert table(intake) == [("01-02", "a", pytest.approx(1.1**3 - 1))]
    # A session of the year before, and a Saturday whose Monday has not come.
    assert intake.rejected["line"].tolist() == [2, 6]
    assert set(intake.rejected["reasons"]) == {"outside_history"}


def test_equal_dates_are_judged_before_they_are_compounded(tmp_path: Path) -> None:
    intake = read(tmp_path, "date,a\n2024-03-16,0.1\n2024-03-16,0.1\n2024-03-17,0.2\n2024-03-17,0.3\n2024-03-18,0.1\n")
    assert table(intake) == [("03-18", "a", pytest.approx(0.21))]
    assert intake.rejected["reasons"].tolist() == ["exact_duplicate", "duplicate_return", "duplicate_return"]


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_at_a_session_gives_its_rows_bit_for_bit(tmp_path: Path, data: st.DataObject) -> None:
    days = list(pd.date_range("2024-01-02", "2024-03-28"))
    kept = data.draw(st.lists(st.sampled_from(days), min_size=5, max_size=80, unique=True))
    values = pd.Series(np.random.default_rng(0).normal(0, 0.01, len(days)), index=days).loc[sorted(kept)]
    cut = data.draw(st.sampled_from(list(calendar_sessions("XNYS", days[20].date(), days[-1].date()))))

    def returns(dated: pd.Series) -> pd.DataFrame:
        lines = [f"{day:%Y-%m-%d},{value!r}" for day, value in dated.items()]
        intake = read(tmp_path, "\n".join(["date,a", *lines]) + "\n", last_month="2024-03")
        made = strategy_returns(intake, tmp_path, last_month="2024-03")
        return made[made["session"] <= cut].reset_index(drop=True)

    known = values[values.index <= cut]
    if len(known):
        pd.testing.assert_frame_equal(returns(known), returns(values), check_exact=True)


def test_a_series_that_has_ended_has_no_rows_and_one_that_trails_has_zeros(tmp_path: Path) -> None:
    days = calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 6, 28))
    cells = [[0.01 * (-1) ** i, 0.01 if i < 40 else "", 0.01 if i < 110 else ""] for i in range(len(days))]
    lines = [",".join(map(str, [f"{day:%Y-%m-%d}", *own])) for day, own in zip(days, cells, strict=True)]
    intake = read(tmp_path, "\n".join(["date,a,ended,late", *lines]) + "\n")
    rows = strategy_returns(intake, tmp_path).groupby("strategy")["session"].agg(["max", "count"])
    assert rows.loc["ended"].tolist() == [days[58], 59]
    assert rows.loc["late"].tolist() == [days[-1], len(days)]
    found = findings(intake)
    assert f"from {days[59]:%Y-%m-%d} on it has none" in found["series_ended", "ended"]
    assert ("series_ended", "late") not in found
    assert f"{len(days) - 110} of {len(days)} sessions" in found["returns_gap", "late"]


def test_a_column_in_percent_is_told_apart(tmp_path: Path) -> None:
    days = calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 5, 31))
    drawn = np.random.default_rng(3).normal(0.0001, 0.0008, len(days)).round(6)
    lines = [f"{day:%Y-%m-%d},{value:.6f},{100 * value:.4f}" for day, value in zip(days, drawn, strict=True)]
    intake = read(tmp_path, "\n".join(["date,fraction,percent", *lines]) + "\n")
    (found,) = [each for each in intake.findings if each.code == "scale"]
    assert (found.strategy, found.figures["factor"], found.source_file) == ("percent", 100, "returns.csv#percent")
    assert "too large by 100, it seems (percent in place of fractions)" in found.message


# --- months -------------------------------------------------------------------------------------------------

MONTHS = """date,fund,other
2024-01,0.02,
2024-02-29,-0.01,0.03
2024-03-01,0.03,0.01
2024-04-30,,0.02
2024-05-31,0.01,0.01
"""


def test_months_stand_on_their_last_session_however_they_are_dated(tmp_path: Path) -> None:
    intake = read(tmp_path, MONTHS, frequency="monthly")
    assert [row for row in table(intake) if row[1] == "fund"] == [
        ("01-31", "fund", 0.02),
        ("02-29", "fund", -0.01),
        ("03-28", "fund", 0.03),
        ("05-31", "fund", 0.01),
    ]
    returns = strategy_returns(intake, tmp_path, frequency="monthly")
    fund = returns[returns["strategy"] == "fund"]
    assert fund["session"].dt.strftime("%m-%d").tolist() == ["01-31", "02-29", "03-28", "04-30", "05-31", "06-28"]
    assert fund["daily_return"].tolist() == [0.02, -0.01, 0.03, 0.0, 0.01, 0.0]
    assert fund["closed_lots"].isna().all()
    found = findings(intake)
    assert "1 of 5 months" in found["returns_gap", "fund"]
    assert ("returns_off_calendar", "fund") not in found


def test_a_month_has_one_return_and_is_over(tmp_path: Path) -> None:
    (tmp_path / "returns.csv").write_text("date,a\n2024-05-01,0.01\n2024-05-31,0.02\n2024-04,0.01\n2024-06-12,0.01\n")
    source = make(frequency="monthly")
    intake = read_ledger(source, tmp_path, horizon=dt.date(2024, 6, 14))
    assert table(intake) == [("04-30", "a", 0.01)]
    assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [
        [2, "duplicate_return"],
        [3, "duplicate_return"],
        [5, "outside_history"],
    ]


def test_days_in_a_monthly_ledger_are_refused_row_by_row(tmp_path: Path) -> None:
    days = calendar_sessions("XNYS", dt.date(2024, 5, 1), dt.date(2024, 5, 31)).strftime("%Y-%m-%d")
    lines = [f"{day},{i / 1e4}" for i, day in enumerate(days)]
    intake = read(tmp_path, "\n".join(["date,a", *lines]) + "\n2024-04,0.1\n", frequency="monthly")
    assert set(intake.rejected["reasons"]) == {"duplicate_return"}
    assert len(intake.rejected) == len(days)


def test_a_month_alone_is_no_day(tmp_path: Path) -> None:
    intake = read(tmp_path, "date,a\n2024-03,0.01\n2024-03-15,0.01\n")
    assert intake.rejected["reasons"].tolist() == ["unparseable_date"]


# --- a file by itself ---------------------------------------------------------------------------------------


def test_a_file_by_itself_is_read_by_the_same_rules(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(MONTHS)
    monthly = read_returns_file(tmp_path / "r.csv", calendar="XNYS", strategies=["fund", "other"], frequency=MONTHLY)
    history = monthly.history
    assert history.sessions.strftime("%m-%d").tolist() == ["01-31", "02-29", "03-28", "04-30", "05-31"]
    assert history.returns[:, 0].tolist() == [0.02, -0.01, 0.03, 0.0, 0.01]
    assert [each.code for each in monthly.findings] == ["returns_gap"]

    (tmp_path / "r.csv").write_text("date,a\n2024-03-15,0.01\n2024-03-16,0.02\n")
    daily = read_returns_file(tmp_path / "r.csv", calendar="XNYS", strategies=["a"])
    assert daily.history.sessions[[0, -1]].strftime("%m-%d").tolist() == ["03-01", "03-18"]
    assert daily.history.returns[-2:, 0].tolist() == [0.01, 0.02]
    assert [each.code for each in daily.findings] == ["returns_off_calendar"]
    every_day = read_returns_file(tmp_path / "r.csv", calendar="24/7", strategies=["a"])
    assert every_day.findings == ()
    assert len(every_day.history.sessions) == 16


def test_lots_beside_delivered_returns_in_one_file(tmp_path: Path) -> None:
    days = calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 3, 28))
    lines = [f"{day:%Y-%m-%d},trader,0.01,1,1" for day in days[:5]] + [
        f"{day:%Y-%m-%d},fund,0.01,," for day in days[:5]
    ]
    lines += [f"{days[-1]:%Y-%m-%d},trader,0.01,1,0"]
    header = "session,strategy,daily_return,closed_lots,winning_lots"
    (tmp_path / "r.csv").write_text("\n".join([header, *lines]) + "\n")
    history = read_returns_file(tmp_path / "r.csv", calendar="XNYS", strategies=["fund", "trader"]).history
    assert history.counted.tolist() == [False, True]
    # One who trades is idle, a fund that reports no more has ended.
    assert np.isnan(history.returns).sum(axis=0).tolist() == [len(days) - 24, 0]
    assert history.closed_lots.sum(axis=0).tolist() == [0, 6]
    (tmp_path / "r.csv").write_text("\n".join([header, *lines, f"{days[7]:%Y-%m-%d},trader,0.01,1,"]) + "\n")
    more = read_returns_file(tmp_path / "r.csv", calendar="XNYS", strategies=["fund", "trader"])
    np.testing.assert_array_equal(more.history.returns, history.returns)
    with pytest.raises(LedgerError, match="line 13: winning_lots: is empty, but lots are given in other rows"):
        more.require_whole()


def test_a_file_by_itself_and_a_ledger_reject_the_same_rows_for_the_same_reasons(tmp_path: Path) -> None:
    text = (
        "session,strategy,daily_return\n2024-03-15,a,0.01\n2024-03-16,a,0.02\n2024-03-18,a,x\n2024-03-19,a,-1\n"
        "2024-03-20,a,0.03\n2024-03-20,a,0.04\n2024-03-21,a,0.01\n2024-03-21,a,0.01\n2024-03-22,,0.01\n2024-03-25,a\n"
    )
    intake = read(tmp_path, text, last_month="2024-03")
    alone = read_returns_file(tmp_path / "returns.csv", calendar="XNYS", strategies=["a"])
    pd.testing.assert_frame_equal(alone.rejected.sort_values("line", ignore_index=True), intake.rejected)
    given = alone.history.returns[:, 0]
    assert given[~np.isnan(given) & (given != 0)].tolist() == intake.returns["daily_return"].tolist()
