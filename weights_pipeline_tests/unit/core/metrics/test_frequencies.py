"""Metrics by how often returns are observed, of streams that end or go on, and where a spread is only noise."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import MIN_VOLATILITY, MetricParameters
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY, Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.samples import samples
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.measured import metrics_table

EVERY_DAY = Frequency(per_year=365)
YEAR, QUARTER = Lookback.parse("12m"), Lookback.parse("90d")
LENIENT = MetricParameters(min_closed_lots=0, min_sessions=2)
MONTHS = MONTHLY.observed(pd.bdate_range("2022-01-03", "2024-04-10"))
RECORD = (0.02, -0.01, 0.03, 0.01, -0.02, 0.04, 0.0, 0.01, -0.03, 0.02, 0.01, 0.02)
"""Returns of twelve months, which are 10.22% together, with a drawdown of 3%."""


def of(returns, sessions, names=("s",)) -> ReturnHistory:
    values = np.asarray(returns, dtype=float).reshape(len(sessions), -1)
    return ReturnHistory.from_arrays(values, sessions, names)


def measured(history, lookback, as_of=None, parameters=LENIENT, strategy="s", **options):
    """Metric name (without label) -> (value or None, reason) on a day, by default the last one."""
    days = history.sessions[-1:] if as_of is None else pd.DatetimeIndex([as_of])
    table = metrics_table(history, days, lookback, parameters, **options)
    own = table[table["strategy"] == strategy]
    return {
        metric: (None if np.isnan(value) else value, reason)
        for metric, value, reason in own[["metric", "value", "reason"]].itertuples(index=False)
    }


# --- how many make a year -----------------------------------------------------------------------------------


def test_golden_monthly_track_record() -> None:
    found = measured(of(RECORD, MONTHS[:12]), YEAR, frequency=MONTHLY)
    total = math.prod(1 + r for r in RECORD) - 1
    assert total == pytest.approx(0.10221979, abs=1e-8)
    mean, spread = statistics.fmean(RECORD), statistics.stdev(RECORD)
    assert found["total_return"] == (pytest.approx(total), "")
    # Twelve months are a year: nothing is annualised.
    assert found["annual_return"] == (pytest.approx(total), "")
    assert found["max_drawdown"] == (pytest.approx(0.03), "")
    assert found["calmar"] == (pytest.approx(total / 0.03), "")
    assert found["volatility"] == (pytest.approx(spread * math.sqrt(12)), "")
    assert found["sharpe"] == (pytest.approx((mean * 12 - 0.045) / (spread * math.sqrt(12))), "")
    assert found["sharpe"][0] == pytest.approx(0.77923554, abs=1e-8)
    assert found["n_sessions"] == (12, "")
    assert found["months_of_data"] == (12, "")


def test_half_a_year_of_months_is_annualised_by_twelve_over_six() -> None:
    found = measured(of(RECORD[:6], MONTHS[:6]), YEAR, frequency=MONTHLY, parameters=MetricParameters())
    total = math.prod(1 + r for r in RECORD[:6]) - 1
    assert found["annual_return"] == (pytest.approx((1 + total) ** 2 - 1), "")
    fewer = measured(of(RECORD[:5], MONTHS[:5]), YEAR, frequency=MONTHLY, parameters=MetricParameters())
    assert fewer["calmar"][1] == "insufficient"


@pytest.mark.parametrize(
    ("frequency", "seed"), [(EVERY_DAY, 0), (EVERY_DAY, 1), (MONTHLY, 2), (MONTHLY, 3), (DAILY, 4)]
)
def test_agrees_with_empyrical_at_any_number_a_year(frequency: Frequency, seed: int) -> None:
    import empyrical

    n, year = 20, frequency.per_year
    returns = np.random.default_rng(seed).normal(0.004, 0.02, n)
    sessions = MONTHS[:n] if frequency.monthly else pd.date_range("2024-01-01", periods=n)
    found = measured(of(returns, sessions), Lookback(n, "sessions"), frequency=frequency)
    expected = {
        "annual_return": empyrical.annual_return(returns, annualization=year),
        "volatility": empyrical.annual_volatility(returns, annualization=year),
        "sharpe": empyrical.sharpe_ratio(returns, risk_free=0.045 / year, annualization=year),
        "sortino": empyrical.sortino_ratio(returns, required_return=0.045 / year, annualization=year),
        "calmar": empyrical.calmar_ratio(returns, annualization=year),
    }
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=1e-9), ""), name


@examples(20)
@given(st.integers(0, 99), st.sampled_from([12.0, 250.0, 365.0]))
def test_scaling_a_year_scales_as_the_formulas_say(seed: int, per_year: float) -> None:
    returns = np.random.default_rng(seed).normal(0.0, 0.01, 30)
    history = of(returns, pd.bdate_range("2024-01-01", periods=30))
    free = MetricParameters(min_closed_lots=0, min_sessions=2, risk_free=0.0)
    day, other = (
        measured(history, Lookback(30, "sessions"), parameters=free, frequency=each)
        for each in (DAILY, Frequency(per_year=per_year))
    )
    factor = math.sqrt(per_year / 252)
    for name in ("volatility", "sharpe", "sortino"):
        if not day[name][1]:
            assert other[name][0] == pytest.approx(day[name][0] * factor)
    assert other["max_drawdown"] == day["max_drawdown"]
    assert other["mean_return"] == day["mean_return"]


def test_active_days_of_a_year_of_365() -> None:
    values = np.tile([0.01, 0.0, -0.005], 10)
    found = measured(
        of(values, pd.date_range("2024-01-01", periods=30)),
        Lookback(30, "sessions"),
        frequency=EVERY_DAY,
        parameters=MetricParameters(min_closed_lots=0, min_sessions=2, active_days_only=True),
    )
    spread = statistics.stdev(values[values != 0].tolist())
    assert found["volatility"] == (pytest.approx(spread * math.sqrt(365 * 20 / 30)), "")


def test_between_two_months_ends_the_record_is_that_of_the_month_before() -> None:
    history = of([*RECORD, *RECORD], MONTHS[:24])
    friday = measured(history, YEAR, as_of="2023-12-15", frequency=MONTHLY)
    assert friday == measured(history, YEAR, as_of=MONTHS[22], frequency=MONTHLY)
    assert friday["n_sessions"] == (12, "")
    table = metrics_table(history, pd.DatetimeIndex(["2023-12-15"]), YEAR, LENIENT, frequency=MONTHLY)
    assert (table["as_of"] == "2023-12-15").all()
    with pytest.raises(ValueError, match="as_of: expected sessions of the history, got 2024-03-15"):
        measured(history, YEAR, as_of="2024-03-15", frequency=MONTHLY)


def test_a_sample_knows_how_many_of_its_rows_make_a_year() -> None:
    history = of(np.random.default_rng(0).normal(0, 0.02, 24), MONTHS[:24])
    (sample,) = samples(history, pd.DatetimeIndex([MONTHS[23]]), YEAR, ("s",), MONTHLY)
    returns, periods, _ = sample.observed(np.array([0]), active_days_only=False)
    assert sample.whole.tolist() == [True]
    assert (len(returns), periods) == (12, 12.0)


# --- noise --------------------------------------------------------------------------------------------------


def test_a_ratio_to_the_noise_of_an_account_value_is_null() -> None:
    # A money market fund, read off a value of cents: each return the same but for rounding.
    value = np.round(1e6 * 1.0001 ** np.arange(101), 2)
    history = of(value[1:] / value[:-1] - 1, pd.bdate_range("2024-01-01", periods=100))
    found = measured(history, Lookback(100, "sessions"))
    assert 0 < found["volatility"][0] < MIN_VOLATILITY
    assert (found["sharpe"][1], found["sortino"][1]) == ("zero_volatility", "zero_volatility")
    # Only what divides by the spread is null.
    assert found["annual_return"][1] == found["volatility"][1] == ""
    anything = MetricParameters(min_closed_lots=0, min_sessions=2, min_volatility=0.0)
    assert measured(history, Lookback(100, "sessions"), parameters=anything)["sharpe"][0] < -1e5


def test_the_least_volatility_is_that_of_a_year_and_itself_enough() -> None:
    swing = MIN_VOLATILITY / math.sqrt(252) * math.sqrt(99 / 100)
    history = of(np.tile([swing, -swing], 50), pd.bdate_range("2024-01-01", periods=100))
    just = measured(history, Lookback(100, "sessions"))["volatility"][0]
    for least, reason in ((just, ""), (np.nextafter(just, 1), "zero_volatility")):
        parameters = MetricParameters(min_closed_lots=0, min_sessions=2, min_volatility=least)
        assert measured(history, Lookback(100, "sessions"), parameters=parameters)["sharpe"][1] == reason


@pytest.mark.parametrize("least", [-1e-9, math.inf, math.nan])
def test_a_least_volatility_that_cannot_be_is_refused(least: float) -> None:
    with pytest.raises(ValueError, match="min_volatility: expected an annual fraction of at least 0"):
        MetricParameters(min_volatility=least)


# --- streams that end, and go on ----------------------------------------------------------------------------

DAYS = pd.bdate_range("2024-01-01", periods=150)
ENDED = np.where(np.arange(150) < 80, np.random.default_rng(5).normal(0, 0.01, 150), np.nan)
RESUMED = np.where(np.arange(150) < 110, ENDED, np.random.default_rng(6).normal(0, 0.01, 150))


def test_a_stream_that_has_ended_is_null_and_says_so() -> None:
    history = of(np.column_stack([ENDED, np.nan_to_num(ENDED)]), DAYS, ["ended", "other"])
    starter = StarterMetrics(
        twelve_month_return=0.2, twelve_month_max_drawdown=0.1, calmar_ratio=2.0, months_of_data=12
    )
    found = measured(history, YEAR, strategy="ended", starter={"ended": starter})
    estimates = {name: reason for name, (_, reason) in found.items() if name not in ("n_sessions", "months_of_data")}
    assert set(estimates.values()) == {"ended", "no_lots"}
    assert estimates["calmar"] == estimates["sharpe"] == "ended"
    assert found["n_sessions"] == (0, "")
    # On its last session it had not.
    alone = of(ENDED[:80], DAYS[:80])
    assert measured(history, YEAR, as_of=DAYS[79], strategy="ended") == measured(alone, YEAR)
    # Before it was live it is young, not ended.
    young = of(np.where(np.arange(150) > 100, 0.01, np.nan), DAYS)
    assert measured(young, YEAR, as_of=DAYS[50])["calmar"][1] == "insufficient"


def test_a_stream_that_goes_on_begins_anew() -> None:
    history, anew = of(RESUMED, DAYS), of(RESUMED[110:], DAYS[110:])
    assert measured(history, YEAR) == measured(anew, YEAR)
    assert measured(history, QUARTER, as_of=DAYS[115]) == measured(anew, QUARTER, as_of=DAYS[115])
    (sample,) = samples(history, DAYS[-1:], YEAR, ("s",))
    assert np.isnan(sample.returns[:110]).all()
    assert not np.isnan(sample.returns[110:]).any()
    (sample,) = samples(history, DAYS[[90]], YEAR, ("s",))
    assert np.isnan(sample.returns).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(0, 39))
def test_live_since_is_the_first_of_the_unbroken_returns(there: list[bool], row: int) -> None:
    history = of(np.where(there, 0.01, np.nan), DAYS[:40])
    since = int(history.live_since(np.array([row]))[0, 0])
    if there[row]:
        assert all(there[since : row + 1])
        assert since == 0 or not there[since - 1]
    else:
        assert since > row


# --- lots beside delivered returns --------------------------------------------------------------------------


def test_lots_are_asked_of_those_that_have_them() -> None:
    n = 30
    days, rng = pd.bdate_range("2024-01-01", periods=n), np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "session": np.tile(days, 2),
            "strategy": np.repeat(["fund", "trader"], n),
            "daily_return": rng.normal(0, 0.01, 2 * n),
            "closed_lots": np.repeat([np.nan, 1.0], n),
            "winning_lots": np.repeat([np.nan, 1.0], n),
            "active": True,
        }
    )
    history = ReturnHistory.from_long(rows)
    assert history.counted.tolist() == [False, True]
    ask = MetricParameters(min_sessions=2, min_closed_lots=31)
    fund, trader, unseen = (
        measured(history, QUARTER, strategy=name, parameters=ask, strategies=["fund", "trader", "unseen"])
        for name in ("fund", "trader", "unseen")
    )
    assert fund["sharpe"][1] == ""
    assert fund["closed_lots"][1] == fund["hit_rate"][1] == "no_lots"
    assert trader["sharpe"][1] == "insufficient"
    assert trader["closed_lots"] == (n, "")
    assert unseen["closed_lots"] == (0, "")
    # One that has lots has no holes; one without may have ended.
    with pytest.raises(ValueError, match="missing after the first activity"):
        ReturnHistory.from_long(rows[(rows["strategy"] == "fund") | (rows["session"] != days[9])])
    assert np.isnan(ReturnHistory.from_long(rows.iloc[np.r_[0:20, n : 2 * n]]).returns[20:, 0]).all()
    with pytest.raises(ValueError, match="null here but not everywhere: strategy 'trader'"):
        ReturnHistory.from_long(rows.assign(winning_lots=rows["winning_lots"].where(rows.index != n + 3)))
