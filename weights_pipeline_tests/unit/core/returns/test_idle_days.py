"""Idle days: a strategy that trades 20 of 30 days, worked by hand, and the page that tells of it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.measured import metrics_table

PAGE = Path(__file__).resolve().parents[4] / "docs" / "idle_days.md"

# Two days of trading, one idle one, ten times over: +1.3%, -0.7%, nothing. The mean of an active day is 0.3%.
TRADER = [0.013, -0.007, 0.0] * 10
STEADY = [0.003, 0.003, 0.0] * 10
ACTIVE, SESSIONS, RISK_FREE = 20, 30, 0.045

# Sums of squared deviations from the mean: each active day lies 1% from 0.3%; from 0.2% they lie 1.1%, 0.9% and 0.2%.
ACTIVE_VOLATILITY = math.sqrt(20 * 0.01**2 / 19 * 168)
CALENDAR_VOLATILITY = math.sqrt(10 * (0.011**2 + 0.009**2 + 0.002**2) / 29 * 252)


def measured(returns, active_days_only, active=None):
    """Value and reason by metric, over all sessions of one strategy."""
    values = np.array([returns]).T
    history = ReturnHistory(
        sessions=pd.bdate_range("2024-01-01", periods=len(values)),
        strategies=("s",),
        returns=values,
        closed_lots=None,
        winning_lots=None,
        active=values != 0 if active is None else np.array([active]).T,
    )
    parameters = MetricParameters(risk_free=RISK_FREE, active_days_only=active_days_only)
    table = metrics_table(history, history.sessions[-1:], Lookback(len(values), "sessions"), parameters)
    return dict(zip(table["metric"], zip(table["value"], table["reason"], strict=True), strict=True))


@pytest.mark.parametrize("active_days_only", [False, True])
@pytest.mark.parametrize("returns", [TRADER, STEADY])
def test_both_means_stand_side_by_side_whichever_the_ratios_are_taken_over(returns, active_days_only):
    got = measured(returns, active_days_only)
    assert got["mean_return"] == (pytest.approx(0.002, rel=1e-12), "")
    assert got["mean_active_return"] == (pytest.approx(0.003, rel=1e-12), "")


def test_golden_sharpe_of_twenty_active_days_in_thirty():
    calendar, active = measured(TRADER, False), measured(TRADER, True)
    assert calendar["volatility"][0] == pytest.approx(CALENDAR_VOLATILITY, rel=1e-12)
    assert active["volatility"][0] == pytest.approx(ACTIVE_VOLATILITY, rel=1e-12)
    assert calendar["sharpe"][0] == pytest.approx((0.002 * 252 - RISK_FREE) / CALENDAR_VOLATILITY, rel=1e-12)
    assert active["sharpe"][0] == pytest.approx((0.003 * 168 - RISK_FREE) / ACTIVE_VOLATILITY, rel=1e-12)
    assert (round(calendar["sharpe"][0], 2), round(active["sharpe"][0], 2)) == (3.43, 3.45)


def test_an_infrequent_trader_is_neither_punished_nor_flattered():
    calendar, active = measured(TRADER, False), measured(TRADER, True)
    a_year = 252 * ACTIVE / SESSIONS
    assert a_year == 168
    assert calendar["mean_return"][0] * 252 == pytest.approx(0.504, rel=1e-12)
    assert active["mean_active_return"][0] * a_year == pytest.approx(0.504, rel=1e-12)
    assert active["sharpe"][0] / calendar["sharpe"][0] == pytest.approx(1, abs=0.01)
    # Active days annualised as if there were 252 of them a year would flatter by more than a quarter.
    flattered = (0.003 * 252 - RISK_FREE) / (0.01 * math.sqrt(20 / 19 * 252))
    assert flattered / calendar["sharpe"][0] == pytest.approx(1.27, abs=0.005)


def test_only_the_ratios_to_a_spread_depend_on_the_choice():
    calendar, active = measured(TRADER, False), measured(TRADER, True)
    differ = {name for name in calendar if not np.array_equal(calendar[name][0], active[name][0], equal_nan=True)}
    assert differ == {"volatility", "sharpe", "sortino"}


def test_equal_active_days_have_a_spread_on_calendar_days_alone():
    assert measured(STEADY, True)["sharpe"] == (pytest.approx(math.nan, nan_ok=True), "zero_volatility")
    spread = math.sqrt(10 * (2 * 0.001**2 + 0.002**2) / 29 * 252)
    assert measured(STEADY, False)["sharpe"] == (pytest.approx((0.504 - RISK_FREE) / spread, rel=1e-9), "")
    assert round((0.504 - RISK_FREE) / spread, 1) == 20.1


def test_a_return_on_an_idle_day_counts_on_calendar_days():
    got = measured([0.01, 0.02, 0.03] * 5, True, active=[True, True, False] * 5)
    assert got["mean_return"][0] == pytest.approx(0.02, rel=1e-12)
    assert got["mean_active_return"][0] == pytest.approx(0.015, rel=1e-12)


@examples(25)
@given(
    traded=st.lists(st.floats(-0.05, 0.05), min_size=10, max_size=30),
    idle=st.integers(0, 60),
    seed=st.integers(0, 100),
)
def test_idle_days_scale_the_calendar_mean_and_leave_the_active_one(traded, idle, seed):
    days = np.random.default_rng(seed).permutation(len(traded) + idle)
    returns, active = np.append(traded, np.zeros(idle))[days], (np.arange(len(days)) < len(traded))[days]
    got = measured(returns, True, active)
    assert got["mean_active_return"][0] == pytest.approx(math.fsum(traded) / len(traded), rel=1e-9, abs=1e-15)
    share = len(traded) / len(days)
    assert got["mean_return"][0] == pytest.approx(got["mean_active_return"][0] * share, rel=1e-9, abs=1e-15)


def test_the_page_has_the_figures_of_this_example():
    calendar, active = measured(TRADER, False), measured(TRADER, True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line]
    table = {row[0]: row[1:] for row in rows}
    assert table["days counted"] == [str(SESSIONS), str(ACTIVE)]
    assert table["mean return of a day"] == [
        f"{mean:.2%}" for mean in (calendar["mean_return"][0], active["mean_active_return"][0])
    ]
    assert table["such days a year"] == ["252", "168"]
    assert table["mean return a year"] == [f"{0.002 * 252:.1%}", f"{0.003 * 168:.1%}"]
    assert table["volatility"] == [f"{got['volatility'][0]:.2%}" for got in (calendar, active)]
    assert table["Sharpe ratio"] == [f"{got['sharpe'][0]:.2f}" for got in (calendar, active)]
    words = " ".join(PAGE.read_text().split())
    flattered = (0.003 * 252 - RISK_FREE) / (0.01 * math.sqrt(20 / 19 * 252))
    assert f"a Sharpe ratio of {flattered:.2f}" in words
    assert f"a Sharpe ratio of {measured(STEADY, False)['sharpe'][0]:.1f}" in words
