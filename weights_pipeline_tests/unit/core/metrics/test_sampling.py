"""Sampling errors against known processes, independent estimates and their null rules."""

import math

import numpy as np
import pytest

from weights_pipeline.core.metrics.bootstrap import block_length, stationary_draws
from weights_pipeline.core.metrics.sampling import DRAWS, SEED, VARIANCES, calmar_variance, sharpe_variance

YEAR = 252


def ratio_of(returns: np.ndarray) -> float:
    return float(returns.mean() / returns.std(ddof=1) * math.sqrt(YEAR))


def calmar_of(returns: np.ndarray) -> float:
    wealth = np.concatenate([[1.0], np.cumprod(1 + returns)])
    return float((wealth[-1] ** (YEAR / len(returns)) - 1) / (1 - wealth / np.maximum.accumulate(wealth)).max())


def normal(seed: int, n: int = 252, mean: float = 0.001, deviation: float = 0.01) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, n)


def test_the_error_of_independent_normal_returns_is_that_of_lo():
    returns = normal(1, 40_000, 0.1, 1)
    per_session = ratio_of(returns) / math.sqrt(YEAR)
    found = sharpe_variance(returns, ratio_of(returns), YEAR)
    assert len(returns) * found == pytest.approx(YEAR * (1 + per_session**2 / 2), rel=0.03)


def test_autocorrelation_makes_the_error_larger_by_the_variance_ratio():
    noise = normal(2, 40_000, 0, 1)
    returns = np.empty_like(noise)
    returns[0] = noise[0]
    for at in range(1, len(noise)):
        returns[at] = 0.3 * returns[at - 1] + noise[at]
    found = sharpe_variance(returns, ratio_of(returns), YEAR)
    assert len(returns) * found == pytest.approx(YEAR * (1 + 0.3) / (1 - 0.3), rel=0.06)


def test_the_fewer_returns_the_larger_the_error_and_without_variation_it_is_infinite():
    returns = normal(3, mean=0.001)
    assert sharpe_variance(returns[:63], 1.6, YEAR) > 2 * sharpe_variance(returns, 1.6, YEAR)
    wins = np.zeros(252)
    wins[::17] = 0.02
    for none in (np.zeros(252), wins, returns[:2], np.empty(0)):
        assert sharpe_variance(none, 1.6, YEAR) == math.inf


def test_the_error_of_a_calmar_ratio_is_that_of_windows_that_could_have_been():
    """Of an independent process its windows can be drawn at will: a bootstrap of one of them knows as much, roughly."""
    among = np.array([calmar_of(normal(seed)) for seed in range(400)])
    low, high = np.quantile(among, [0.1587, 0.8413])
    found = np.sqrt([calmar_variance(normal(seed), 0.0, YEAR) for seed in range(40)])
    assert np.median(found) == pytest.approx((high - low) / 2, rel=0.25)


@pytest.mark.parametrize("sessions", [252, 63])
def test_the_error_of_a_calmar_ratio_draw_by_draw(sessions):
    returns = normal(4)[:sessions]
    draws = stationary_draws(sessions, block_length(returns), DRAWS, SEED)
    low, high = np.quantile([calmar_of(returns[draw]) for draw in draws], [0.15865525393145707, 0.8413447460685429])
    assert math.sqrt(calmar_variance(returns, 0.0, YEAR)) == pytest.approx((high - low) / 2, rel=1e-9)


def test_the_error_of_a_calmar_ratio_hardly_depends_on_the_scale():
    """A Calmar ratio does, by compounding alone."""
    returns = normal(5)
    tiny = calmar_variance(returns * 1e-4, 0.0, YEAR)
    assert calmar_variance(returns * 1e-5, 0.0, YEAR) == pytest.approx(tiny, rel=1e-3)


def test_a_calmar_ratio_whose_drawdown_may_be_luck_is_not_known():
    returns = normal(6)
    lucky = np.zeros(252)
    lucky[5:230:15] = 0.02
    lucky[65] = -0.001
    for none in (returns[:8], np.empty(0), np.zeros(252), np.abs(returns), lucky):
        assert calmar_variance(none, 1.0, YEAR) == math.inf
    assert calmar_variance(np.full(252, -0.001), -1.0, YEAR) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("variance", VARIANCES.values(), ids=VARIANCES)
def test_the_same_returns_have_the_same_error_every_time(variance):
    returns = normal(7)
    found = variance(returns, 1.0, YEAR)
    assert 0 < found < math.inf
    assert variance(returns.copy(), 1.0, YEAR) == found
