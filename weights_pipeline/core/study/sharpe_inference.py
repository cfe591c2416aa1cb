"""Sharpe ratios under doubt: how likely a true ratio is above another one, also after a choice among many.

Scope: the probabilistic and the deflated Sharpe ratio. Not here: the ratio of a window (``metrics.measures``), and
intervals without a formula (``metrics.bootstrap``).

All ratios here are per session, not per year: mean / std (ddof = 1), risk-free rate 0. A null is NaN, by the rules of
:mod:`~weights_pipeline.core.metrics.measures`: too few returns (``insufficient``), and returns that are all equal
(``zero_volatility``).

References
----------
Bailey & López de Prado, The Sharpe Ratio Efficient Frontier, J. Risk 15(2), 2012; The Deflated Sharpe Ratio, J.
Portfolio Management 40(5), 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


@dataclass(frozen=True, kw_only=True)
class SharpeEstimate:
    """A Sharpe ratio per session, and what its uncertainty follows from.

    Attributes
    ----------
    ratio
        Mean / std (ddof = 1); NaN where it is undefined.
    observations
        Returns behind it.
    skewness, kurtosis
        m₃ / m₂^(3/2) and m₄ / m₂² of the central moments (0 and 3 of the normal distribution); NaN with the ratio.
    """

    ratio: float
    observations: int
    skewness: float = 0.0
    kurtosis: float = 3.0


def sharpe_estimate(returns: ArrayLike) -> SharpeEstimate:
    """Sharpe ratio per session of daily returns, with the moments behind its uncertainty.

    Parameters
    ----------
    returns : array_like, shape (T,)
        Without nulls.

    Raises
    ------
    ValueError
        A return is not finite.
    """
    r = np.asarray(returns, dtype=np.float64)
    if not np.isfinite(r).all():
        raise ValueError(f"returns: expected finite returns, got {r[~np.isfinite(r)][0]}")
    n = len(r)
    if n < 2 or r.max() == r.min():
        return SharpeEstimate(ratio=math.nan, observations=n, skewness=math.nan, kurtosis=math.nan)
    # No figure depends on the scale; powers of very small returns would be 0.
    r = r / np.abs(r).max()
    mean = float(r.mean())
    second, third, fourth = (float(np.mean((r - mean) ** power)) for power in (2, 3, 4))
    return SharpeEstimate(
        ratio=mean / math.sqrt(second * n / (n - 1)),
        observations=n,
        skewness=third / second**1.5,
        kurtosis=fourth / second**2,
    )


def probabilistic_sharpe(estimate: SharpeEstimate, benchmark: float = 0.0) -> float:
    r"""Probability that the true Sharpe ratio is above a benchmark.

    :math:`\Phi\left((\hat S - S^*) \sqrt{n - 1} / \sqrt{1 - \gamma_3 \hat S + (\gamma_4 - 1) \hat S^2 / 4}\right)`.

    Parameters
    ----------
    estimate
        The ratio that was measured.
    benchmark
        The other one, per session.

    Returns
    -------
    float
        NaN where the ratio or the benchmark is, and where two values alone leave it no variance.
    """
    ratio = estimate.ratio
    variance = 1.0 - estimate.skewness * ratio + (estimate.kurtosis - 1.0) / 4.0 * ratio**2
    if math.isnan(variance) or math.isnan(benchmark) or variance <= 0.0:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt((estimate.observations - 1) / variance))


def expected_maximum_sharpe(variance: float, trials: int) -> float:
    r"""Largest Sharpe ratio to be expected of some trials none of which has any skill.

    :math:`\sqrt V \left((1 - \gamma)\,\Phi^{-1}(1 - 1/N) + \gamma\,\Phi^{-1}(1 - 1/(N e))\right)` with Euler's constant
    :math:`\gamma`; 0 of one trial, among which there is no choice.

    Parameters
    ----------
    variance
        Variance of the ratios of the trials, at least 0.
    trials
        How many independent ones, at least 1.

    Raises
    ------
    ValueError
        A negative variance, no trial.
    """
    if trials < 1:
        raise ValueError(f"trials: expected at least 1, got {trials}")
    if variance < 0.0:
        raise ValueError(f"variance: expected at least 0, got {variance}")
    if trials == 1:
        return 0.0
    inner, outer = (_NORMAL.inv_cdf(1.0 - 1.0 / (trials * scale)) for scale in (1.0, math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * inner + _EULER * outer)


def deflated_sharpe(estimate: SharpeEstimate, trials: Sequence[float]) -> float:
    """Probability that the true Sharpe ratio is above what the best of some trials without skill would show.

    Parameters
    ----------
    estimate
        The ratio that was measured.
    trials
        Ratios per session of everything that was tried, its own included; at least one. Trials that resemble each other
        are fewer independent ones, so that counting all of them errs on the side of doubt.

    Returns
    -------
    float
        NaN where the ratio of any trial is.
    """
    variance = float(np.var(trials, ddof=1)) if len(trials) > 1 else 0.0
    if math.isnan(variance):
        return math.nan
    return probabilistic_sharpe(estimate, expected_maximum_sharpe(variance, len(trials)))
