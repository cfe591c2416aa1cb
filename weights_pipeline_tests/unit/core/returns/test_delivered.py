"""Delivered returns: on sessions, ended where they end, and what there is to say of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.delivered import (
    compounded,
    delivered,
    delivery_findings,
    observation_of,
    odd_scales,
)
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY, Frequency
from weights_pipeline_tests.support.examples import examples

SESSIONS = pd.bdate_range("2024-01-02", "2024-04-10").as_unit("us")


def rows(dated: dict[str, float], strategy: str = "s", frequency: Frequency = DAILY) -> pd.DataFrame:
    """Accepted rows of one strategy."""
    dates = pd.Series(pd.to_datetime(list(dated)).as_unit("us"))
    return pd.DataFrame(
        {
            "date": dates,
            "strategy": strategy,
            "daily_return": list(dated.values()),
            "session": observation_of(dates, frequency.observed(SESSIONS), frequency),
            "source_file": "returns.csv",
            "line": np.arange(2, len(dated) + 2),
        }
    )


def said(found: list[LedgerFinding]) -> dict[str, LedgerFinding]:
    assert len({each.code for each in found}) == len(found)
    return {each.code: each for each in found}


# --- on sessions --------------------------------------------------------------------------------------------


def test_a_day_without_a_session_is_part_of_the_next_one() -> None:
    given_rows = rows(
        {"2024-01-05": 0.01, "2024-01-06": 0.02, "2024-01-07": -0.03, "2024-01-08": 0.04, "2024-01-13": 0.5}
    )
    table = compounded(given_rows).set_index("session")["daily_return"]
    assert table.index.strftime("%m-%d").tolist() == ["01-05", "01-08", "01-15"]
    # A return that stands alone is as it was, to the bit.
    assert table.iloc[[0, 2]].tolist() == [0.01, 0.5]
    assert table.iloc[1] == pytest.approx(1.02 * 0.97 * 1.04 - 1, rel=1e-14)


def test_days_outside_the_sessions_stand_nowhere() -> None:
    dates = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-04-10", "2024-04-11", None]))
    found = observation_of(dates, SESSIONS, DAILY)
    assert found.isna().tolist() == [True, False, False, True, True]


def test_a_month_stands_on_its_last_session_whatever_day_it_is_dated() -> None:
    ends = MONTHLY.observed(SESSIONS)
    dates = pd.Series(pd.to_datetime(["2024-01-01", "2024-02-29", "2024-03-31", "2024-04-10", "2023-12-31"]))
    found = observation_of(dates, ends, MONTHLY)
    assert found[:3].strftime("%m-%d").tolist() == ["01-31", "02-29", "03-29"]
    # April is not over, December has no session here.
    assert found[3:].isna().all()


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(-0.5, 0.5)), max_size=25, unique_by=lambda pair: pair[0]))
def test_wealth_is_kept_and_nothing_after_a_session_is_used(drawn: list[tuple[int, float]]) -> None:
    days = [(pd.Timestamp("2024-01-02") + pd.Timedelta(days=day), value) for day, value in drawn]
    whole = rows({f"{day:%Y-%m-%d}": value for day, value in days})
    table = compounded(whole)
    assert math.prod(1 + table["daily_return"]) == pytest.approx(math.prod(1 + value for _, value in days), rel=1e-12)
    assert not table.duplicated(["session", "strategy"]).any()
    cut = pd.Timestamp("2024-01-31")
    # What is dated up to a session is all that its row is made of, bit for bit, in whatever order it is read.
    early = whole[whole["date"] <= cut].iloc[::-1]
    pd.testing.assert_frame_equal(
        compounded(early), table[table["session"] <= cut].reset_index(drop=True), check_exact=True
    )


# --- ended --------------------------------------------------------------------------------------------------


def test_a_series_ends_on_the_twentieth_session_without_a_value() -> None:
    table = compounded(rows({"2024-01-03": 0.01, "2024-01-05": 0.02}))
    live = delivered(table, SESSIONS, DAILY.ended_after)["s"]
    assert live.first_valid_index() == pd.Timestamp("2024-01-03")
    assert live.iloc[1:4].tolist() == [0.01, 0.0, 0.02]
    last = SESSIONS.get_loc(pd.Timestamp("2024-01-05"))
    assert live.iloc[last + 1 : last + 20].tolist() == [0.0] * 19
    assert live.iloc[last + 20 :].isna().all()
    assert delivered(table, SESSIONS, None)["s"].notna().sum() == len(SESSIONS) - 1


def test_months_end_with_the_second_one_without_a_value() -> None:
    ends = MONTHLY.observed(SESSIONS)
    table = compounded(rows({"2024-01-15": 0.01}, frequency=MONTHLY))
    assert delivered(table, ends, MONTHLY.ended_after)["s"].fillna(-1).tolist() == [0.01, 0.0, -1.0]


@examples(60)
@given(st.sets(st.integers(0, 69)), st.integers(1, 70))
def test_whether_a_series_has_ended_is_known_on_the_session(valued: set[int], cut: int) -> None:
    table = pd.DataFrame({"session": SESSIONS[sorted(valued)], "strategy": "s", "daily_return": 0.01})
    whole = delivered(table, SESSIONS, 5)
    seen = delivered(table[table["session"] <= SESSIONS[cut - 1]], SESSIONS[:cut], 5)
    pd.testing.assert_frame_equal(seen, whole.iloc[:cut].reindex(columns=seen.columns), check_exact=True)
    assert set(np.flatnonzero(whole["s"] == 0.01) if valued else ()) == valued


# --- what there is to say -----------------------------------------------------------------------------------


def full(value: float = 0.01, until: str = "2024-04-10", skip: int = 0) -> dict[str, float]:
    """A return of alternating sign on every session, but for `skip` of them in the middle."""
    days = SESSIONS[until >= SESSIONS]
    kept = days.delete(slice(10, 10 + skip))
    return {f"{day:%Y-%m-%d}": value * (-1) ** i for i, day in enumerate(kept)}


END = SESSIONS[-1]


def test_nothing_is_said_of_what_is_in_order() -> None:
    assert delivery_findings(rows(full()), SESSIONS, DAILY, END) == []
    assert delivery_findings(rows({}), SESSIONS, DAILY, END) == []


def test_days_off_the_calendar_are_counted() -> None:
    off = said(delivery_findings(rows(full() | {"2024-01-20": 0.01, "2024-01-13": 0.01}), SESSIONS, DAILY, END))
    found = off["returns_off_calendar"]
    assert (found.severity, found.strategy, found.since) == ("INFO", "s", pd.Timestamp("2024-01-15"))
    assert found.figures == {"rows": 2, "of": len(SESSIONS) + 2}
    assert (found.source_file, found.line) == ("returns.csv", len(SESSIONS) + 3)
    assert "the first on 2024-01-13" in found.message


def test_blanks_are_worth_a_look_above_one_in_a_hundred() -> None:
    ok = rows(full(skip=0))
    gap = said(delivery_findings(pd.concat([ok, rows(full(skip=1), "t")]), SESSIONS, DAILY, END))["returns_gap"]
    assert (gap.strategy, gap.since, gap.figures) == ("t", SESSIONS[10], {"blank": 1, "of": len(SESSIONS)})
    # One of 72 is more than 1%, one of 101 is not.
    longer = pd.bdate_range("2024-01-02", periods=101).as_unit("us")
    values = pd.DataFrame({"session": longer.delete(50), "strategy": "s", "daily_return": 0.01})
    values = values.assign(date=values["session"], source_file="", line=0)
    assert delivery_findings(values, longer, DAILY, longer[-1]) == []


def test_a_series_that_has_ended_is_named_from_where_it_is_null() -> None:
    both = pd.concat([rows(full()), rows(full(until="2024-02-29"), "t")])
    found = said(delivery_findings(both, SESSIONS, DAILY, END))
    ended = found["series_ended"]
    assert ended.strategy == "t"
    assert ended.since == SESSIONS[SESSIONS.get_loc(pd.Timestamp("2024-02-29")) + 20]
    assert "its last return is of 2024-02-29" in ended.message
    # On the nineteenth session without a value it has not.
    horizon = ended.since - pd.tseries.offsets.BDay()
    assert "series_ended" not in said(delivery_findings(both, SESSIONS, DAILY, horizon))


def test_percent_for_fractions_is_told_by_the_other_series() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.normal(0, 0.0009, 300)
    (odd,) = odd_scales({"percent": drawn * 100, "fraction": drawn}, DAILY)
    assert (odd.strategy, odd.factor) == ("percent", 100.0)
    assert odd.times_others == pytest.approx(100)
    # With nothing beside it, by its own size; a year of 9% volatility in percent has a median above 5%.
    (odd,) = odd_scales({"percent": drawn * 100}, DAILY)
    assert odd.factor == 100.0
    assert math.isnan(odd.times_others)
    assert odd_scales({"fraction": drawn, "idle": np.zeros(9), "none": np.array([np.nan])}, DAILY) == []


def test_a_factor_is_the_power_of_ten_that_is_nearest() -> None:
    drawn = np.random.default_rng(2).normal(0, 1e-4, 300)
    (odd,) = odd_scales({"basis points": drawn * 1.1e4, "b": drawn, "c": drawn * 0.9}, DAILY)
    assert odd.factor == 10_000.0


def test_one_return_above_all_wealth_is_named_with_its_line() -> None:
    found = said(delivery_findings(rows(full() | {"2024-03-01": 1.5}), SESSIONS, DAILY, END))["scale"]
    assert (found.severity, found.line) == ("WARN", 2 + list(full()).index("2024-03-01"))
    assert found.figures["factor"] == 1
    assert "too large by" not in found.message


def test_months_move_further_than_days() -> None:
    lively = np.array([0.08, -0.07, 0.09, -0.12, 0.1, 0.06])
    assert odd_scales({"s": lively}, MONTHLY) == []
    assert len(odd_scales({"s": lively}, DAILY)) == 1
    assert len(odd_scales({"s": lively * 100}, MONTHLY)) == 1
