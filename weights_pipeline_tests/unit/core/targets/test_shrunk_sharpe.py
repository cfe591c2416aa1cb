"""Shrunk Sharpe ratios: sampling errors against known processes, empirical Bayes against its formula, and the tilt."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, target_weights
from weights_pipeline.core.targets.methods.shrunk_sharpe import ShrunkSharpeTilt, sampling_variance, shrunk
from weights_pipeline.core.targets.samples import Sample

SESSIONS = pd.bdate_range("2020-01-01", periods=252).as_unit("us")
NAMES = ("a", "b", "c", "d")
EQUAL = dict.fromkeys(NAMES, 0.25)


def ratio_of(returns: np.ndarray) -> float:
    return float(returns.mean() / returns.std(ddof=1))


def section(returns: np.ndarray) -> CrossSection:
    """The date after some returns, with their Sharpe ratios at a rate of 0."""
    ratios = pd.Series([math.sqrt(252) * ratio_of(own) for own in returns.T], index=list(NAMES))
    sample = Sample(sessions=SESSIONS, returns=returns, active=returns != 0)
    return replace(CrossSection.of(EQUAL, {"sharpe": ratios}, {}), sample=sample)


def test_the_error_of_independent_normal_returns_is_that_of_lo():
    returns = np.random.default_rng(1).normal(0.1, 1, 40_000)
    ratio = ratio_of(returns)
    assert len(returns) * sampling_variance(returns, ratio) == pytest.approx(1 + ratio**2 / 2, rel=0.03)


def test_autocorrelation_makes_the_error_larger_by_the_variance_ratio():
    noise = np.random.default_rng(2).normal(0, 1, 40_000)
    returns = np.empty_like(noise)
    returns[0] = noise[0]
    for at in range(1, len(noise)):
        returns[at] = 0.3 * returns[at - 1] + noise[at]
    expected = (1 + 0.3) / (1 - 0.3)
    assert len(returns) * sampling_variance(returns, ratio_of(returns)) == pytest.approx(expected, rel=0.06)


def test_the_fewer_returns_the_larger_the_error_and_without_variation_it_is_infinite():
    returns = np.random.default_rng(3).normal(0.001, 0.01, 252)
    assert sampling_variance(returns[:63], 0.1) > 2 * sampling_variance(returns, 0.1)
    wins = np.zeros(252)
    wins[::17] = 0.02
    for none in (np.zeros(252), wins, returns[:2], np.empty(0)):
        assert sampling_variance(none, 0.1) == math.inf


def test_golden_equal_errors_are_the_textbook_case():
    values = np.array([2.0, 1.0, 0.5, 0.0, 3.0])
    found = shrunk(values, np.full(5, 0.4))
    assert found.mean == pytest.approx(1.3)
    assert found.spread == pytest.approx(values.var(ddof=1) - 0.4)
    np.testing.assert_allclose(found.values, 1.3 + 1.05 / 1.45 * (values - 1.3), rtol=1e-12)


def test_values_that_differ_by_no_more_than_their_errors_are_one_value():
    found = shrunk(np.array([1.0, 1.1, 0.9]), np.full(3, 1.0))
    assert found.spread == 0
    np.testing.assert_allclose(found.values, 1.0, rtol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(6)))
@settings(deadline=None)
def test_shrinkage_draws_to_the_mean_whatever_the_order_and_the_uncertain_more(seed, order):
    rng = np.random.default_rng(seed)
    values, variances = rng.normal(0, 2, 6), rng.uniform(0.05, 4, 6)
    found = shrunk(values, variances)
    assert (np.abs(found.values - found.mean) <= np.abs(values - found.mean) + 1e-12).all()
    assert ((found.values - found.mean) * (values - found.mean) >= -1e-12).all()
    other = shrunk(values[list(order)], variances[list(order)])
    np.testing.assert_array_equal(other.values, found.values[list(order)])
    doubted = variances.copy()
    doubted[0] = math.inf
    assert shrunk(values, doubted).values[0] == shrunk(values, doubted).mean


def test_fewer_than_two_known_errors_leave_values_as_they_are():
    values = np.array([1.0, 5.0])
    found = shrunk(values, np.array([0.3, math.inf]))
    assert found.values is values
    assert math.isnan(found.mean)


def test_fifteen_lucky_trades_do_not_reach_the_cap():
    returns = np.random.default_rng(5).normal(0.0006, 0.01, (252, 4))
    returns[:, 3] = 0.0
    returns[5:230:15, 3] = 0.02
    lucky = section(returns)
    plain = lucky.values["sharpe"]
    assert plain.argmax() == 3
    tilt = ShrunkSharpeTilt().multipliers(lucky, Limits())
    assert tilt.metric.tolist() == plain.tolist()
    others = tilt.score[:3]
    assert others.min() <= tilt.score[3] <= others.max()
    assert tilt.value[3] < 2.0
    found = target_weights(ShrunkSharpeTilt(), lucky, Limits())
    assert math.fsum(found.target) == pytest.approx(1.0, abs=1e-15)
    assert found.target[3] < 0.5
    assert "shrunk towards" in tilt.formula


def test_a_null_stays_neutral_and_a_sample_is_needed():
    returns = np.random.default_rng(6).normal(0.001, 0.01, (252, 4))
    whole = section(returns)
    ratios = whole.values["sharpe"].copy()
    ratios[1] = np.nan
    reasons = np.array([0, 1, 0, 0], dtype=np.int8)
    young = replace(whole, values={"sharpe": ratios}, reasons={"sharpe": reasons})
    tilt = ShrunkSharpeTilt().multipliers(young, Limits())
    assert tilt.value[1] == 1.0
    assert np.isnan(tilt.score[1])
    with pytest.raises(ValueError, match="sample: expected the returns of the window"):
        ShrunkSharpeTilt().multipliers(replace(whole, sample=None), Limits())


def test_what_comes_after_a_rebalance_changes_nothing_in_it():
    returns = np.random.default_rng(7).normal([0.004, 0.001, 0.001, -0.002], 0.01, (400, 4))
    sessions = pd.bdate_range("2018-01-01", periods=420).as_unit("us")
    policy = Policy(base=EQUAL, method=ShrunkSharpeTilt(lookback="90d"), rate=0.5)
    as_of = sessions[[200, 300]]
    one = simulate(ReturnHistory.from_arrays(returns, sessions[:400], NAMES), as_of, sessions, policy)
    altered = returns.copy()
    altered[301:] *= -3
    other = simulate(ReturnHistory.from_arrays(altered, sessions[:400], NAMES), as_of, sessions, policy)
    np.testing.assert_array_equal(one.realized, other.realized)
    assert not np.allclose(one.target[0], 0.25)
