"""Composite tilt: several metrics, made comparable across strategies and averaged, then spread as one score.

Scope: the standardisation and the average. Not here: the map from score to multiplier (``minmax_tilt``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.metrics.measures import LESS_IS_BETTER, METRICS
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxMap
from weights_pipeline.core.targets.normalise import Floats


@dataclass(frozen=True, kw_only=True)
class Composite(MinmaxMap):
    """Min-max tilt on a weighted mean of standardised metrics.

    Parameters
    ----------
    weights
        Weight of each metric in the mean, positive; they need not add up to 1. A metric of which less is better
        counts with its sign flipped.
    lookback
        Window of the metrics, such as ``90d`` or ``12m``; or one per risk regime.
    lo, hi
        Multipliers of the worst and the best measured strategy, either side of 1.
    metric_clip
        Each metric, in its own units, and the mean are clipped to ± this; positive.
    """

    weights: Mapping[str, float]
    lookback: str | Mapping[str, str]
    kind: Literal["composite"] = "composite"

    metric: ClassVar[str] = "composite"
    optimises: ClassVar[bool] = False
    clips_to_limits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights:
            raise ValueError("weights: expected at least one metric, got none")
        for name, weight in self.weights.items():
            if name not in METRICS:
                raise ValueError(f"weights.{name}: expected one of {', '.join(sorted(METRICS))}, got {name!r}")
            if not 0 < weight < math.inf:
                raise ValueError(f"weights.{name}: expected a positive number, got {weight!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The metrics, in the order of their names."""
        return tuple(sorted(self.weights))

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Spread the score :math:`\sum_k a_k z_{ik} / \sum_k a_k`; see :meth:`MinmaxMap.spread`.

        :math:`z_{ik}` is :func:`standardised` from metric :math:`k`, clipped to ± ``metric_clip``, over the strategies
        of which every metric is measured. A strategy with any null among its metrics is null, with the reason of the
        first: a mean over the others would compare it by other criteria than its peers.

        Parameters
        ----------
        section
            Base weights and metrics of one date.
        limits
            Not read: ``lo`` and ``hi`` are the ends of the map, not limits.

        Returns
        -------
        Multipliers
            The metric shown is the score before it is clipped.
        """
        reason = section.read(self.reads)
        measured = reason == 0
        total = math.fsum(self.weights.values())
        terms = []
        for name in self.reads:
            x = np.clip(section.values[name][measured], -self.metric_clip, self.metric_clip)
            sign = -1.0 if name in LESS_IS_BETTER else 1.0
            terms.append(sign * self.weights[name] / total * standardised(x))
        score = np.full(len(measured), np.nan)
        score[measured] = [math.fsum(row) for row in zip(*terms, strict=True)]
        return self.spread(score, reason, score, self.metric)


def standardised(x: Floats) -> Floats:
    r"""Cross-sectional z-scores :math:`z_i = (x_i - \bar x) / \sigma`, with the population standard deviation.

    They are taken of :math:`(x - \min x) / (\max x - \min x)`, of which they are the same: neither a tiny nor a huge
    spread is lost to rounding, and equal values are told exactly.

    Parameters
    ----------
    x
        Values, shape (n,), finite.

    Returns
    -------
    ndarray, shape (n,)
        0 where all values are equal.
    """
    if not len(x) or x.min() == x.max():
        return np.zeros_like(x)
    unit = (x - x.min()) / (x.max() - x.min())
    deviation: Floats = unit - math.fsum(unit) / len(unit)
    return deviation / math.sqrt(math.fsum(deviation * deviation) / len(deviation))
