"""Shrinkage: estimates are drawn to their common mean, each the more the larger its sampling error.

Scope: the formula. Not here: sampling errors (``metrics.sampling``), and the methods that read what is shrunk.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

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
