"""Frequency: how many observations make a year, which are needed, and where monthly ones stand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY, Frequency

SESSIONS = pd.bdate_range("2023-01-02", "2024-04-10")


@pytest.mark.parametrize(
    ("frequency", "needed"),
    [
        (DAILY, {"12m": 60, "90d": 20, "60s": 20, "5s": 2, "36m": 60}),
        (Frequency(per_year=365), {"12m": 60, "90d": 29, "60s": 20}),
        (MONTHLY, {"12m": 6, "6m": 3, "3m": 3, "90d": 3, "36m": 6, "24s": 6}),
    ],
)
def test_observations_that_a_lookback_needs(frequency: Frequency, needed: dict[str, int]) -> None:
    parameters = MetricParameters()
    found = {label: parameters.sessions_needed(Lookback.parse(label), frequency) for label in needed}
    assert found == needed
    assert MetricParameters(min_sessions=9).sessions_needed(Lookback.parse("12m"), frequency) == 9


def test_a_lookback_spans_the_same_months_whatever_the_frequency() -> None:
    for label, months in (("12m", 12), ("90d", 3), ("1m", 1)):
        lookback = Lookback.parse(label)
        assert {lookback.full_months(each) for each in (DAILY, Frequency(per_year=365), MONTHLY)} == {months}
    assert Lookback.parse("24s").full_months(MONTHLY) == 24
    assert Lookback.parse("252s").full_months() == 12


def test_a_month_is_observed_on_its_last_session_and_only_when_another_follows() -> None:
    ends = MONTHLY.observed(SESSIONS)
    assert ends[[0, 1, -1]].strftime("%Y-%m-%d").tolist() == ["2023-01-31", "2023-02-28", "2024-03-29"]
    assert len(ends) == 15
    assert MONTHLY.observed(SESSIONS[:0]).empty
    assert DAILY.observed(SESSIONS) is SESSIONS


def test_a_monthly_window_has_as_many_rows_as_it_has_months() -> None:
    ends = MONTHLY.observed(SESSIONS)
    lookback = Lookback.parse("12m")
    # Good Friday: 29 March 2024 is no session at New York, so that a year before the month's end comes too early.
    early = ends.where(ends != pd.Timestamp("2024-03-29"), pd.Timestamp("2024-03-28"))
    for sessions in (ends, early):
        starts = lookback.starts(sessions, sessions[-3:], MONTHLY)
        assert (np.arange(len(sessions))[-3:] - starts + 1).tolist() == [12, 12, 12]
    # Between two ends of months the window is that of the month before.
    friday = pd.DatetimeIndex(["2024-03-15"])
    assert MONTHLY.rows(ends, friday).tolist() == [13]
    assert lookback.starts(ends, friday, MONTHLY).tolist() == [2]


def test_days_without_an_observation_are_refused() -> None:
    ends = MONTHLY.observed(SESSIONS)
    assert MONTHLY.rows(ends, pd.DatetimeIndex(["2024-04-26"])).tolist() == [14]
    for frequency, sessions, day in (
        (DAILY, SESSIONS, "2023-01-07"),
        (MONTHLY, ends, "2023-01-30"),
        (MONTHLY, ends, "2024-05-31"),
        (MONTHLY, ends[:0], "2024-03-29"),
    ):
        with pytest.raises(ValueError, match=f"as_of: expected sessions of the history, got {day}"):
            frequency.rows(sessions, pd.DatetimeIndex([day]))


@pytest.mark.parametrize("keys", [{"per_year": 0}, {"per_year": np.inf}, {"unit": "week"}, {"unit": "month"}])
def test_frequencies_that_cannot_be_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Frequency(**keys)  # type: ignore[arg-type]
