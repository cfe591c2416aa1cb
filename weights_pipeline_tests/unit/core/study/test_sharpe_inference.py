"""Probabilistic and deflated Sharpe ratio: numbers of the papers, coverage, oracles, nulls."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.study.sharpe_inference import (
    SharpeEstimate,
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    sharpe_estimate,
)


def test_probabilistic_sharpe_of_the_hedge_fund_in_the_paper():
    """Two years of months, Sharpe 0.458 a month: 0.982 if returns were normal, 0.913 as they are."""
    normal = SharpeEstimate(ratio=0.458, observations=24)
    skewed = SharpeEstimate(ratio=0.458, observations=24, skewness=-2.448, kurtosis=10.164)
    assert probabilistic_sharpe(normal) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(skewed) == pytest.approx(0.913, abs=5e-4)


def test_deflated_sharpe_of_the_backtest_in_the_paper():
    """Sharpe 2.5 a year over five years, the best of 100 trials with a variance of 1/2: 0.9004, not 0.95."""
    estimate = SharpeEstimate(ratio=2.5 / math.sqrt(250), observations=1250, skewness=-3, kurtosis=10)
    threshold = expected_maximum_sharpe(0.5 / 250, 100)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(estimate, threshold) == pytest.approx(0.9004, abs=5e-5)
    assert probabilistic_sharpe(estimate, expected_maximum_sharpe(0.5 / 250, 46)) == pytest.approx(0.9505, abs=5e-5)


def test_expected_maximum_is_that_of_simulated_trials():
    best = np.random.default_rng(1).standard_normal((4000, 50)).max(axis=1)
    assert expected_maximum_sharpe(1.0, 50) == pytest.approx(best.mean(), rel=0.02)
    assert expected_maximum_sharpe(4.0, 50) == pytest.approx(2 * expected_maximum_sharpe(1.0, 50))


def test_deflation_by_one_trial_is_none_and_by_more_is_more():
    returns = np.random.default_rng(2).normal(0.0005, 0.01, 500)
    estimate = sharpe_estimate(returns)
    alone = deflated_sharpe(estimate, [estimate.ratio])
    assert alone == probabilistic_sharpe(estimate)
    several = [estimate.ratio, estimate.ratio - 0.02, estimate.ratio - 0.04]
    assert deflated_sharpe(estimate, [*several, *several]) < deflated_sharpe(estimate, several) < alone


def test_moments_are_those_of_scipy():
    from scipy import stats

    returns = np.random.default_rng(3).standard_t(5, 400) / 100
    found = sharpe_estimate(returns)
    assert found.ratio == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert found.skewness == pytest.approx(stats.skew(returns))
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))


@pytest.mark.parametrize("returns", [[], [0.01], [0.01] * 40, [0.0] * 40])
def test_what_has_no_sharpe_ratio_has_no_probability(returns):
    estimate = sharpe_estimate(returns)
    assert math.isnan(estimate.ratio)
    assert math.isnan(probabilistic_sharpe(estimate))
    assert math.isnan(deflated_sharpe(sharpe_estimate([0.01, 0.02, 0.0]), [0.1, estimate.ratio]))


@given(st.lists(st.floats(-0.5, 0.5, allow_subnormal=False), min_size=0, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_probability_is_one_or_null(returns):
    found = probabilistic_sharpe(sharpe_estimate(returns))
    assert math.isnan(found) or 0.0 <= found <= 1.0


@pytest.mark.parametrize(("variance", "trials", "named"), [(0.1, 0, "trials"), (-0.1, 3, "variance")])
def test_impossible_trials_are_refused(variance, trials, named):
    with pytest.raises(ValueError, match=named):
        expected_maximum_sharpe(variance, trials)


def test_returns_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite returns, got nan"):
        sharpe_estimate([0.1, math.nan])
