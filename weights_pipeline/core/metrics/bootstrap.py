"""Bootstrap: how far figures of dependent returns could lie from what was measured, by drawing blocks of sessions.

Scope: the drawing of sessions, the length of the blocks, and intervals from what was drawn. Not here: the figures of a
whole history (``measures``), and tests that have a formula (``study.sharpe_inference``).

Blocks have random lengths (Politis & Romano, The Stationary Bootstrap, J. American Statistical Association 89, 1994),
so that what was drawn is as stationary as what it was drawn from. All series are drawn on the same sessions: the
difference of two figures keeps what the series have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weights_pipeline.core.metrics.measures import MIN_VOLATILITY
from weights_pipeline.core.returns.frequency import DAILY

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Statistic = Callable[[FloatArray], FloatArray]
"""A figure of each row of an array of shape (rows, sessions), such as ``sharpe``; NaN where it is undefined."""

# Rows drawn at a time: their returns stay in cache. It never changes a value.
_ROWS = 64


def block_length(series: ArrayLike) -> float:
    r"""Mean length of blocks that estimates the variance of a mean best.

    :math:`b = (2 \hat G^2 / \hat D)^{1/3} n^{1/3}` with :math:`\hat G = \sum_k \lambda(k/M) |k| \hat R(k)`,
    :math:`\hat D = 2 \hat g(0)^2`, :math:`\hat g(0) = \sum_k \lambda(k/M) \hat R(k)`, sums over :math:`|k| \le M`,
    autocovariances :math:`\hat R` and :math:`\lambda(t) = \min(1, 2(1 - |t|))`. M is twice the last lag before
    max(5, ⌈log₁₀ n⌉) autocorrelations in a row that lie within ±2√(log₁₀ n / n).

    Parameters
    ----------
    series : array_like, shape (T,)
        Returns, without nulls.

    Returns
    -------
    float
        Sessions, from 1 to ⌈min(3√n, n/3)⌉; 1 for a constant series, which has no dependence. NaN below 9 sessions.

    References
    ----------
    Politis & White, Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23, 2004; Patton,
    Politis & White, Correction, Econometric Reviews 28, 2009.
    """
    x = _series(series)
    n = len(x)
    if n < 9:
        return math.nan
    if x.max() == x.min():
        return 1.0
    x = x - x.mean()
    run = max(5, math.ceil(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariance = np.array([float(np.sum(x[lag:] * x[: n - lag])) / n for lag in range(most + 1)])
    small = np.abs(covariance[1:]) < 2.0 * math.sqrt(math.log10(n) / n) * covariance[0]
    quiet = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(small, min(run, most)).all(axis=1))
    reach = min(2 * max(int(quiet[0]), 1), most) if len(quiet) else most
    lags = np.arange(1, reach + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lags / reach))
    spread = 2.0 * float(np.sum(weight * lags * covariance[1 : reach + 1]))
    density = covariance[0] + 2.0 * float(np.sum(weight * covariance[1 : reach + 1]))
    longest = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    if density == 0.0:
        return float(longest)
    return float(np.clip((spread**2 / density**2 * n) ** (1.0 / 3.0), 1.0, longest))


def stationary_draws(sessions: int, block: float, draws: int, seed: int) -> IntArray:
    """Draw sessions in blocks: each session follows the one before it, or with probability 1/block is any of them.

    After the last session comes the first.

    Parameters
    ----------
    sessions
        How many there are to draw from, and how many a draw has.
    block
        Mean length of a block, at least 1; 1 draws each session by itself.
    draws
        How many.
    seed
        Of the generator; the same one gives the same draws.

    Returns
    -------
    ndarray of int, shape (draws, sessions)

    Raises
    ------
    ValueError
        No session or draw, a block shorter than 1.
    """
    for name, count in (("sessions", sessions), ("draws", draws)):
        if count < 1:
            raise ValueError(f"{name}: expected at least 1, got {count}")
    if not 1.0 <= block < math.inf:
        raise ValueError(f"block: expected a mean length of at least 1 session, got {block}")
    generator = np.random.default_rng(seed)
    begins = generator.random((draws, sessions)) < 1.0 / block
    begins[:, 0] = True
    first = generator.integers(0, sessions, (draws, sessions))
    place = np.arange(sessions)
    begun = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    return (np.take_along_axis(first, begun, axis=1) + place - begun) % sessions


def drawn(returns: ArrayLike, sessions: IntArray, statistic: Statistic) -> FloatArray:
    """Figure of each draw of each series.

    Parameters
    ----------
    returns : array_like, shape (T, N)
        Without nulls.
    sessions : ndarray of int, shape (B, T)
        From :func:`stationary_draws`.
    statistic
        The figure.

    Returns
    -------
    ndarray, shape (B, N)
        A column depends on its own series alone.
    """
    columns = np.ascontiguousarray(np.asarray(returns, dtype=np.float64).T)
    found = np.empty((len(sessions), len(columns)))
    for begin in range(0, len(sessions), _ROWS):
        rows = sessions[begin : begin + _ROWS]
        for column, series in enumerate(columns):
            found[begin : begin + _ROWS, column] = statistic(series[rows])
    return found


def percentile_interval(figures: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Interval that holds the middle share of what was drawn (Efron, 1979).

    Parameters
    ----------
    figures : ndarray, shape (B, ...)
        Figures of the draws, or differences of two.
    level
        The share, between 0 and 1.

    Returns
    -------
    lower, upper : ndarray, shape (...)
        NaN where the figure of any draw is undefined: leaving it out would narrow the interval.

    Raises
    ------
    ValueError
        The level is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a share between 0 and 1 such as 0.95, got {level}")
    lower, upper = np.quantile(figures, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return lower, upper


def sharpe(returns: FloatArray, per_year: float = DAILY.per_year) -> FloatArray:
    """Mean / std (ddof = 1) · √252 of each row, risk-free rate 0; NaN where the volatility is noise."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    mean = returns.mean(axis=-1)
    deviation = np.sqrt(np.square(returns - mean[..., None]).sum(axis=-1) / (returns.shape[-1] - 1))
    year = math.sqrt(per_year)
    deviation[deviation * year < MIN_VOLATILITY] = np.nan
    ratio: FloatArray = mean / deviation * year
    return ratio


def cagr(log_returns: FloatArray, per_year: float = DAILY.per_year) -> FloatArray:
    """Π(1 + r)^(252/n) − 1 of each row of log(1 + r)."""
    growth: FloatArray = np.expm1(log_returns.mean(axis=-1) * per_year)
    return growth


def _series(values: ArrayLike) -> FloatArray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"series: expected shape (sessions,), got {series.shape}")
    if not np.isfinite(series).all():
        raise ValueError(f"series: expected finite returns, got {series[~np.isfinite(series)][0]}")
    return series
