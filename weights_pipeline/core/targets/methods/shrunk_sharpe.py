"""Power tilt on Sharpe ratios that are shrunk towards each other by how uncertain each is.

Scope: sampling errors, the shrinkage, and the method. Not here: the map from ratios to multipliers (``power_tilt``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.methods.power_tilt import PowerTilt
from weights_pipeline.core.targets.normalise import Floats


class Shrunk(NamedTuple):
    """Estimates drawn to their common mean.

    Attributes
    ----------
    values
        Shape (n,).
    mean
        What they are drawn to.
    spread
        Variance of the true values, as far as it exceeds the sampling errors.
    """

    values: Floats
    mean: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class ShrunkSharpeTilt(PowerTilt):
    """Power tilt on the shrunk Sharpe ratio; see :class:`PowerTilt` for the map.

    Parameters
    ----------
    lookback
        Its window, such as ``12m`` or ``90d``.
    alpha, anchor_floor
        As of :class:`PowerTilt`.
    """

    metric: Literal["sharpe"] = "sharpe"
    lookback: str = "12m"
    kind: Literal["shrunk_sharpe_tilt"] = "shrunk_sharpe_tilt"  # type: ignore[assignment]

    optimises: ClassVar[bool] = True

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        """Shrink the measured ratios, then tilt; the score is the shrunk ratio.

        Parameters
        ----------
        section
            Base weights, Sharpe ratios and the returns of the window.
        limits
            Floor and cap, multiples of base.

        Raises
        ------
        ValueError
            The section has no sample.
        """
        if section.sample is None:
            raise ValueError("sample: expected the returns of the window, got none")
        ratio, returns, per_year = section.values[self.metric], section.sample.returns, section.sample.per_year
        measured = np.flatnonzero(~np.isnan(ratio))
        errors = [
            per_year * sampling_variance(own[~np.isnan(own)], float(ratio[at]) / math.sqrt(per_year))
            for at, own in ((at, returns[:, at]) for at in measured.tolist())
        ]
        found = shrunk(ratio[measured], np.array(errors))
        score = ratio.copy()
        score[measured] = found.values
        tilt = super().multipliers(replace(section, values={**section.values, self.metric: score}), limits)
        words = f"shrunk towards {found.mean:.6g}, variance beyond sampling errors {found.spread:.6g}"
        return replace(tilt, metric=ratio, formula=f"{tilt.formula}; {self.metric} {words}")


def sampling_variance(returns: Floats, ratio: float) -> float:
    r"""Variance of the sampling error of a Sharpe ratio per session.

    Lo (2002, "The statistics of Sharpe ratios", Financial Analysts Journal 58(4)), with returns that need be neither
    normal nor independent: the ratio is a function of mean and variance, whose estimates are those of the generalised
    method of moments, so that to first order its error is the mean of
    :math:`\psi_t = z_t - \tfrac{S}{2}(z_t^2 - 1)` with :math:`z_t = (r_t - \bar r) / \sigma`. The variance of that mean
    is :math:`\frac1n \bigl(\gamma_0 + 2 \sum_{l=1}^{L} (1 - \tfrac{l}{L+1}) \gamma_l\bigr)` with the autocovariances
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
        Sharpe ratio per session.

    Returns
    -------
    float
        Infinite of fewer than three returns, and where those that are not 0 do not vary.
    """
    n, moved = len(returns), returns[returns != 0]
    if n < 3 or len(moved) < 2 or np.ptp(moved) == 0:
        return math.inf
    of_moved = float(moved.mean() / moved.std(ddof=1))
    z = (returns - returns.mean()) / returns.std()
    error = z - ratio / 2 * (z * z - 1)
    lags = min(math.floor(4 * (n / 100) ** (2 / 9)), n - 1)
    terms = [float(error @ error)]
    terms += [2 * (1 - lag / (lags + 1)) * float(error[lag:] @ error[:-lag]) for lag in range(1, lags + 1)]
    return max(math.fsum(terms) / n, 1 + of_moved**2 / 2) / n


def shrunk(values: Floats, variances: Floats) -> Shrunk:
    r"""Draw estimates to their mean, each the more the larger its sampling error: empirical Bayes.

    :math:`x_i^* = \mu + \frac{\tau^2}{\tau^2 + s_i^2} (x_i - \mu)`, the posterior mean where true values are normal
    around :math:`\mu` with variance :math:`\tau^2` (Efron and Morris 1975, JASA 70(350)). The variance is that of the
    method of moments, :math:`\tau^2 = \max\bigl(0, (Q - (k - 1)) / (\sum w - \sum w^2 / \sum w)\bigr)` with
    :math:`w_i = 1/s_i^2` and :math:`Q = \sum w_i (x_i - \bar x_w)^2` (DerSimonian and Laird 1986, Controlled Clinical
    Trials 7(3)); :math:`\mu` is the mean with weights :math:`1 / (\tau^2 + s_i^2)`. Values that differ by no more than
    their errors explain are all :math:`\mu`.

    Parameters
    ----------
    values
        Estimates, shape (k,).
    variances
        Of their sampling errors, :math:`s_i^2`, shape (k,), at least 0; an infinite one leaves nothing of its value.

    Returns
    -------
    Shrunk
        The values as they are where fewer than two have a finite variance above 0.
    """
    known = np.isfinite(variances) & (variances > 0)
    count = int(known.sum())
    if count < 2:
        return Shrunk(values, math.nan, math.nan)
    x, weight = values[known], 1 / variances[known]
    total = math.fsum(weight)
    centre = math.fsum(weight * x) / total
    excess = math.fsum(weight * (x - centre) ** 2) - (count - 1)
    spread = max(0.0, excess / (total - math.fsum(weight**2) / total))
    weight = 1 / (spread + variances[known])
    mean = math.fsum(weight * x) / math.fsum(weight)
    kept = spread / (spread + variances) if spread > 0 else np.zeros_like(values)
    return Shrunk(mean + kept * (values - mean), mean, spread)
