"""Bootstrap: blocks by hand and of known processes, draws, intervals against SciPy and theory, nulls."""

import math

import numpy as np
import pytest

from weights_pipeline.core.metrics.bootstrap import (
    block_length,
    cagr,
    drawn,
    percentile_interval,
    sharpe,
    stationary_draws,
)


def autoregressive(rho: float, sessions: int, paths: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((paths, sessions + 100))
    for t in range(1, noise.shape[1]):
        noise[:, t] += rho * noise[:, t - 1]
    return noise[:, 100:]


def test_block_length_by_hand():
    """The formula of the paper in loops, on a series whose first three autocorrelations are significant."""
    x = autoregressive(0.6, 200, 1, seed=5)[0]
    n, mean = len(x), float(np.mean(x))
    covariance = [sum((x[t] - mean) * (x[t - k] - mean) for t in range(k, n)) / n for k in range(21)]
    band = 2 * math.sqrt(math.log10(n) / n)
    last = next(m for m in range(21) if all(abs(covariance[m + k] / covariance[0]) < band for k in range(1, 6)))
    assert last == 3
    reach = 2 * last
    taper = {k: 1.0 if k / reach <= 0.5 else 2 * (1 - k / reach) for k in range(1, reach + 1)}
    g = 2 * sum(taper[k] * k * covariance[k] for k in taper)
    density = covariance[0] + 2 * sum(taper[k] * covariance[k] for k in taper)
    assert block_length(x) == pytest.approx((2 * g**2 / (2 * density**2)) ** (1 / 3) * n ** (1 / 3), rel=1e-12)


def test_block_length_is_what_theory_says_of_an_autoregression():
    """(2ρ / (1 − ρ²))^(2/3) n^(1/3)."""
    rho, n = 0.5, 20_000
    found = np.median([block_length(path) for path in autoregressive(rho, n, 9, seed=5)])
    assert found == pytest.approx((2 * rho / (1 - rho**2)) ** (2 / 3) * n ** (1 / 3), rel=0.15)


def test_block_length_of_no_dependence_is_short_and_never_too_long():
    noise = np.random.default_rng(6).standard_normal(2000)
    assert block_length(noise) < 6
    assert block_length(np.cumsum(noise)) > 50
    assert block_length(np.sin(np.arange(60))) == 20
    assert block_length([0.01] * 100) == 1.0
    assert math.isnan(block_length([0.01, 0.02] * 4))


def test_draws_are_blocks_of_the_mean_length_and_use_every_session_alike():
    drawn_sessions = stationary_draws(500, 8.0, 400, seed=7)
    follows = np.diff(drawn_sessions, axis=1) % 500 == 1
    assert follows.mean() == pytest.approx(1 - 1 / 8, abs=0.005)
    assert np.bincount(drawn_sessions.ravel(), minlength=500).std() / 400 < 0.2
    assert drawn_sessions.shape == (400, 500)


def test_draws_of_blocks_of_one_session_are_independent():
    sessions = stationary_draws(50, 1.0, 2000, seed=8)
    assert (np.diff(sessions, axis=1) % 50 == 1).mean() == pytest.approx(1 / 50, abs=0.002)


def test_the_seed_decides_the_draws_and_a_series_its_own_figures_alone():
    returns = np.random.default_rng(9).normal(0.001, 0.01, (300, 3))
    sessions = stationary_draws(300, 5.0, 200, seed=10)
    assert (sessions == stationary_draws(300, 5.0, 200, seed=10)).all()
    assert (sessions != stationary_draws(300, 5.0, 200, seed=11)).any()
    found = drawn(returns, sessions, sharpe)
    assert (drawn(returns[:, [2, 0]], sessions, sharpe) == found[:, [2, 0]]).all()
    assert (drawn(returns, sessions[:7], sharpe) == found[:7]).all()


def test_intervals_of_independent_returns_are_those_of_scipy():
    from scipy import stats

    returns = np.random.default_rng(12).normal(0.001, 0.01, 400)
    lower, upper = percentile_interval(drawn(returns[:, None], stationary_draws(400, 1.0, 4000, seed=13), sharpe))
    oracle = stats.bootstrap(
        (returns,),
        lambda x, axis: sharpe(np.atleast_2d(x)),
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(14),
    ).confidence_interval
    width = oracle.high - oracle.low
    assert lower[0] == pytest.approx(oracle.low, abs=0.05 * width)
    assert upper[0] == pytest.approx(oracle.high, abs=0.05 * width)


def test_intervals_cover_the_mean_of_an_autoregression_where_single_sessions_do_not():
    paths = autoregressive(0.5, 400, 120, seed=15)

    def coverage(block):
        sessions = stationary_draws(400, block, 200, seed=16)
        lower, upper = percentile_interval(drawn(paths.T, sessions, lambda x: x.mean(axis=-1)), 0.9)
        return ((lower <= 0) & (upper >= 0)).mean()

    assert 0.8 <= coverage(np.median([block_length(path) for path in paths])) <= 0.97
    assert coverage(1.0) < 0.75


def test_the_difference_of_alike_series_is_known_better_than_either():
    common = np.random.default_rng(17).normal(0.0005, 0.01, 1000)
    pair = np.column_stack([common, common + np.random.default_rng(18).normal(0.0, 0.0005, 1000)])
    figures = drawn(np.log1p(pair), stationary_draws(1000, 4.0, 300, seed=19), cagr)
    alone = np.ptp(percentile_interval(figures[:, 0]))
    assert np.ptp(percentile_interval(figures[:, 0] - figures[:, 1])) < alone / 5


def test_figures_are_their_formulas():
    returns = np.random.default_rng(20).normal(0.0005, 0.01, (2, 300))
    assert sharpe(returns) == pytest.approx(returns.mean(1) / returns.std(1, ddof=1) * math.sqrt(252))
    assert cagr(np.log1p(returns)) == pytest.approx((1 + returns).prod(1) ** (252 / 300) - 1)


def test_undefined_figures_make_no_interval():
    returns = np.zeros((40, 1))
    returns[0] = 0.01
    found = drawn(returns, stationary_draws(40, 20.0, 200, seed=21), sharpe)
    assert np.isnan(found).any()
    assert not np.isinf(found).any()
    assert np.isnan(percentile_interval(found)).all()
    assert np.isnan(sharpe(np.array([[0.01]])))


@pytest.mark.parametrize(
    ("sessions", "block", "draws", "named"), [(0, 1.0, 1, "sessions"), (5, 1.0, 0, "draws"), (5, 0.5, 1, "block")]
)
def test_impossible_draws_are_refused(sessions, block, draws, named):
    with pytest.raises(ValueError, match=named):
        stationary_draws(sessions, block, draws, seed=1)
    with pytest.raises(ValueError, match="level"):
        percentile_interval(np.zeros((3, 1)), 1.0)


def test_series_that_are_none_are_refused():
    with pytest.raises(ValueError, match="finite returns, got inf"):
        block_length([0.1, math.inf] * 10)
    with pytest.raises(ValueError, match="shape"):
        block_length([[0.1], [0.2]])
