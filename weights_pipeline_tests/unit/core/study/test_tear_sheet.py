"""Figures of a reader's page against empyrical, and against what is reckoned by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.allocator.overlay import monthly_returns
from weights_pipeline.core.returns.frequency import MONTHLY
from weights_pipeline.core.study import tear_sheet as sheet


def series(values, first="2020-01-01"):
    return pd.Series(np.asarray(values, dtype=float), index=pd.bdate_range(first, periods=len(values)))


@pytest.fixture(scope="module")
def noise():
    return series(np.random.default_rng(3).normal(0.0004, 0.01, 700))


returns_of = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=60).map(series)


def test_tail_risk_and_rolling_figures_are_those_of_empyrical(noise):
    import empyrical

    for level in (0.95, 0.99):
        tail = sheet.tail_risk(noise, level)
        assert tail.var == pytest.approx(-empyrical.value_at_risk(noise, 1 - level), rel=1e-12)
        assert tail.cvar == pytest.approx(-empyrical.conditional_value_at_risk(noise, 1 - level), rel=1e-12)
        assert tail.cvar >= tail.var
    assert sheet.tail_ratio(noise) == pytest.approx(empyrical.tail_ratio(noise), rel=1e-12)
    rolling = sheet.rolling_figures(noise, 126)
    np.testing.assert_allclose(rolling["sharpe"], empyrical.roll_sharpe_ratio(noise, 126), rtol=1e-9)
    np.testing.assert_allclose(rolling["volatility"], empyrical.roll_annual_volatility(noise, 126), rtol=1e-9)
    assert rolling.index[0] == noise.index[125]


def test_periods_months_and_years_are_those_of_empyrical(noise):
    import empyrical

    monthly = empyrical.aggregate_returns(noise, "monthly")
    np.testing.assert_allclose(monthly_returns(noise), monthly, rtol=1e-9)
    yearly = sheet.yearly_figures(noise)
    np.testing.assert_allclose(yearly["return"], empyrical.aggregate_returns(noise, "yearly"), rtol=1e-9)
    assert yearly.loc[2021, "sharpe"] == pytest.approx(empyrical.sharpe_ratio(noise["2021"]), rel=1e-12)
    assert yearly.loc[2021, "max_drawdown"] == pytest.approx(-empyrical.max_drawdown(noise["2021"]), rel=1e-12)
    assert sheet.sharpe_over(noise, 0.045 / 252) == pytest.approx(
        empyrical.sharpe_ratio(noise, risk_free=0.045 / 252), rel=1e-12
    )


def test_periods_to_date_begin_where_the_calendar_does():
    returns = series(np.full(520, 0.001), "2020-01-01")
    last = returns.index[-1]
    assert last == pd.Timestamp("2021-12-28")
    found = {each.name: each for each in sheet.period_returns(returns, pd.Timestamp("2021-12-27"))}
    first = {name: f"{each.first:%Y-%m-%d}" for name, each in found.items()}
    assert first == {
        "Month to date": "2021-12-01",
        "Quarter to date": "2021-10-01",
        "Year to date": "2021-01-01",
        "One year": "2020-12-29",
        "Since inception": "2020-01-01",
        "Since the last rebalance": "2021-12-27",
    }
    assert found["Since the last rebalance"].value == pytest.approx(1.001**2 - 1, rel=1e-12)
    assert found["Since inception"].value == pytest.approx(1.001**520 - 1, rel=1e-12)


def test_what_is_not_covered_is_null():
    found = {each.name: each for each in sheet.period_returns(series([0.01] * 30), pd.Timestamp("2020-03-01"))}
    assert np.isnan(found["One year"].value)
    assert np.isnan(found["Since the last rebalance"].value)
    assert found["Year to date"].value == found["Since inception"].value
    short = series([0.01, -0.01] * 20)
    assert np.isnan(sheet.tail_risk(short, 0.95)[1:]).all()
    assert np.isnan(sheet.tail_ratio(short))
    assert not np.isnan(sheet.tail_ratio(short, MONTHLY))
    assert sheet.rolling_figures(short, 41).empty
    assert np.isnan(sheet.rolling_figures(series([0.0] * 5), 3)["sharpe"]).all()


def test_drawdowns_are_told_from_peak_to_recovery():
    first, second = sheet.worst_drawdowns(series([0.1, -0.1, -0.1, 0.3, -0.5, 0.1]))
    sessions = series([0] * 6).index
    assert (first.start, first.trough, first.recovery, first.length) == (sessions[4], sessions[4], None, 2)
    assert first.depth == pytest.approx(0.5)
    assert (second.start, second.trough, second.recovery, second.length) == (*sessions[1:4], 2)
    assert second.depth == pytest.approx(0.19)
    assert sheet.worst_drawdowns(series([0.1, 0.0, 0.1])) == ()


@given(returns_of)
def test_the_deepest_drawdown_is_the_largest_and_none_overlap(returns):
    import empyrical

    found = sheet.worst_drawdowns(returns, most=len(returns))
    deepest = found[0].depth if found else 0.0
    assert deepest == pytest.approx(-empyrical.max_drawdown(returns), abs=1e-12)
    assert sum(each.length for each in found) == int((sheet.underwater(returns) < 0).sum())
    assert [each.depth for each in found] == sorted((each.depth for each in found), reverse=True)
