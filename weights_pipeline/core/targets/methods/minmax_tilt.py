"""Min-max tilt: multipliers spread linearly between the worst and the best measured strategy.

Scope: this one map, the method on a metric of choice, and its preset on the 90-day Sharpe ratio. Not here:
normalisation (``normalise``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.methods.base import Codes, CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.methods.on_metric import OnMetric
from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.rules import Rule


@dataclass(frozen=True, kw_only=True)
class MinmaxMap:
    """The map from scores to multipliers, which methods inherit.

    Parameters
    ----------
    lo, hi
        Multipliers of the worst and the best measured strategy, either side of 1.
    metric_clip
        Scores are clipped to ± this; positive.
    """

    lo: float = 0.5
    hi: float = 2.0
    metric_clip: float = 5.0

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.lo <= 1:
            raise ValueError(f"lo: expected a multiplier in [0, 1], got {self.lo!r}")
        if not 1 <= self.hi < math.inf:
            raise ValueError(f"hi: expected a finite multiplier of at least 1, got {self.hi!r}")
        if not 0 < self.metric_clip < math.inf:
            raise ValueError(f"metric_clip: expected a positive number, got {self.metric_clip!r}")

    def spread(self, metric: Floats, reason: Codes, x: Floats, name: str) -> Multipliers:
        r"""Multipliers :math:`m_i = l + (h - l)\,(x_i - \min x) / (\max x - \min x)`.

        The score is first clipped to ± ``metric_clip``, so that one near-flat strategy with a huge ratio
        cannot flatten the map. Fewer than two measured strategies, or equal ones, give 1.0 to all.

        Parameters
        ----------
        metric, reason
            The metric shown and why it is null, shape (n,).
        x
            Scores, shape (n,); NaN is null and gives 1.0.
        name
            What the score is called in the formula.
        """
        null = np.isnan(x)
        score = np.clip(x, -self.metric_clip, self.metric_clip)
        measured = score[~null]
        low, high = (float(measured.min()), float(measured.max())) if len(measured) else (0.0, 0.0)
        neutral = Rule.TOO_FEW if len(measured) < 2 else Rule.ALL_EQUAL if low == high else None
        if neutral is None:
            # The end points are exact; rounding between them may not overshoot.
            raw = np.clip(self.lo + (self.hi - self.lo) * ((score - low) / (high - low)), self.lo, self.hi)
            formula = f"{self.lo!r} + {self.hi - self.lo!r} × (({name} - {low!r}) / {high - low!r})"
        else:
            raw, formula = np.where(null, np.nan, 1.0), "1.0"
        rule = np.where(score != x, Rule.METRIC_CLIPPED, Rule.MEASURED) if neutral is None else np.full(len(x), neutral)
        return Multipliers(
            metric=metric,
            reason=reason,
            score=score,
            raw=raw,
            value=np.where(null, 1.0, raw),
            rule=np.where(null, Rule.NULL, rule).astype(np.int8),
            formula=formula,
        )


@dataclass(frozen=True, kw_only=True)
class MinmaxTilt(MinmaxMap, OnMetric):
    """Min-max tilt on a metric of choice.

    Parameters
    ----------
    metric
        The metric to read, one where more is better; ``{name: calmar, shrink: true}`` reads it shrunk.
    lookback
        Its window, such as ``12m`` or ``90d``; or one per risk regime.
    lo, hi
        Multipliers of the worst and the best measured strategy, either side of 1.
    metric_clip
        The metric is clipped to ± this; positive.
    """

    kind: Literal["minmax_tilt"] = "minmax_tilt"

    clips_to_limits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        MinmaxMap.__post_init__(self)
        OnMetric.__post_init__(self)

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        """Spread the metric; see :meth:`MinmaxMap.spread`. ``lo`` and ``hi`` are the ends of the map, not limits."""
        metric, reason, score, words = self.read(section)
        spread = self.spread(metric, reason, score, self.reads[0])
        return replace(spread, formula=spread.formula + words)


@dataclass(frozen=True, kw_only=True)
class SharpeTilt(MinmaxTilt):
    """Min-max tilt on the 90-day Sharpe ratio; see :class:`MinmaxTilt`."""

    metric: Literal["sharpe"] = "sharpe"
    lookback: str | Mapping[str, str] = "90d"
    kind: Literal["sharpe_tilt"] = "sharpe_tilt"  # type: ignore[assignment]
