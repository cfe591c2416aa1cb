"""Sampling errors: how far a ratio of a strategy could lie from what its returns gave, by luck alone.

Scope: the variance of the error of each ratio that has one here, by name of the metric. Not here: what is done with it
(``targets.shrinkage``), and intervals of portfolios (``study``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from weights_pipeline.core.metrics.bootstrap import block_length, drawn, percentile_interval, stationary_draws
from weights_pipeline.core.metrics.measures import FloatArray, calmar_of

DRAWS, SEED = 500, 20130101
"""Of the bootstrap of a Calmar ratio."""

_ONE_DEVIATION = math.erf(math.sqrt(0.5))
"""Share of a normal distribution within one standard deviation of its mean."""


def sharpe_variance(returns: FloatArray, ratio: float, per_year: float) -> float:
    r"""Variance of the sampling error of a Sharpe ratio.

    Lo (2002, "The statistics of Sharpe ratios", Financial Analysts Journal 58(4)), with returns that need be neither
    normal nor independent: the ratio is a function of mean and variance, whose estimates are those of the generalised
    method of moments, so that to first order its error is the mean of
    :math:`\psi_t = z_t - \tfrac{S}{2}(z_t^2 - 1)` with :math:`z_t = (r_t - \bar r) / \sigma` and the ratio :math:`S`
    per session. The variance of that mean is
    :math:`\frac1n \bigl(\gamma_0 + 2 \sum_{l=1}^{L} (1 - \tfrac{l}{L+1}) \gamma_l\bigr)` with the autocovariances
    :math:`\gamma_l` of :math:`\psi` (Newey and West 1987, Econometrica 55(3)) and :math:`L = \lfloor 4 (n/100)^{2/9}
    \rfloor` lags. Of independent normal returns it is Lo's :math:`(1 + S^2/2) / n`.

    To that, fifteen trades that were all won alike look certain, since no loss has been seen. So the error is at least
    Lo's of normal returns, with the ratio :math:`S_a` of the sessions that returned anything:
    :math:`(1 + S_a^2/2) / n`.

    Parameters
    ----------
    returns
        Of the window, shape (n,), without nulls.
    ratio
        Sharpe ratio a year.
    per_year
        Sessions a year.

    Returns
    -------
    float
        Of the ratio a year. Infinite of fewer than three returns, and where those that are not 0 do not vary.
    """
    n, moved = len(returns), returns[returns != 0]
    if n < 3 or len(moved) < 2 or np.ptp(moved) == 0:
        return math.inf
    of_moved = float(moved.mean() / moved.std(ddof=1))
    z = (returns - returns.mean()) / returns.std()
    error = z - ratio / math.sqrt(per_year) / 2 * (z * z - 1)
    lags = min(math.floor(4 * (n / 100) ** (2 / 9)), n - 1)
    terms = [float(error @ error)]
    terms += [2 * (1 - lag / (lags + 1)) * float(error[lag:] @ error[:-lag]) for lag in range(1, lags + 1)]
    return per_year * (max(math.fsum(terms) / n, 1 + of_moved**2 / 2) / n)


def calmar_variance(returns: FloatArray, ratio: float, per_year: float) -> float:
    """Variance of the sampling error of a Calmar ratio, by the stationary bootstrap.

    A maximum drawdown is of the path, so that there is no closed form. The window is drawn anew ``DRAWS`` times, in
    blocks of the length of Politis and White for these returns; the standard error is half of the interval that holds
    the middle 68.3% of what the draws give, as one standard deviation either side does of a normal distribution. The
    ratio's tail is too heavy for a variance: draws without a drawdown have an infinite ratio, and count as that.

    Parameters
    ----------
    returns
        Of the window, shape (n,), without nulls.
    ratio
        Not read: the error is that of the returns.
    per_year
        Sessions a year.

    Returns
    -------
    float
        Infinite of fewer than nine returns, where a draw has neither gain nor drawdown, and where a sixth of the draws
        have no drawdown: nothing is then known of how bad it may be.
    """
    block = block_length(returns)
    if math.isnan(block):
        return math.inf

    def calmar(drawn_returns: FloatArray) -> FloatArray:
        wealth = np.cumprod(1.0 + drawn_returns, axis=-1)
        peak = np.maximum(np.maximum.accumulate(wealth, axis=-1), 1.0)
        annual: FloatArray = np.expm1(np.log(wealth[..., -1]) * (per_year / len(returns)))
        drawdown: FloatArray = np.max(1.0 - wealth / peak, axis=-1, initial=0.0)
        return calmar_of(annual, drawdown)[0]

    sessions = stationary_draws(len(returns), block, DRAWS, SEED)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lower, upper = percentile_interval(drawn(returns[:, None], sessions, calmar), _ONE_DEVIATION)
        error = float(upper[0] - lower[0]) / 2.0
    return error**2 if math.isfinite(error) else math.inf


VARIANCES: Mapping[str, Callable[[FloatArray, float, float], float]] = MappingProxyType(
    {"sharpe": sharpe_variance, "calmar": calmar_variance}
)
"""Variance of the sampling error of a metric from returns of a window, the metric, and sessions a year."""
