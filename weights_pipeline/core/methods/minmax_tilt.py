"""Min-max tilt: multipliers spread linearly between the worst and the best measured strategy.

Here belongs this one method and its preset on the 90-day Sharpe ratio. Normalisation is in ``normalise``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.methods.base import Limits, Multipliers
from weights_pipeline.core.normalise import Floats


@dataclass(frozen=True, kw_only=True)
class _MinmaxTilt:
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

    def multipliers(
        self, strategies: Sequence[str], values: Floats, reasons: Sequence[str], limits: Limits
    ) -> Multipliers:
        r"""Multipliers :math:`m_i = l + (h - l)\,(x_i - \min x) / (\max x - \min x)`.

        The metric is first clipped to ± ``metric_clip``, so that one near-flat strategy with a huge ratio
        cannot flatten the map. Fewer than two measured strategies, or equal ones, give 1.0 to all.

        Parameters
        ----------
        strategies
            Names, n of them.
        values
            The metric, shape (n,); NaN is null and gives 1.0.
        reasons
            Why a value is null.
        limits
            Not read: ``lo`` and ``hi`` are the ends of this map.

        Returns
        -------
        Multipliers
            ``raw`` equals ``value`` where measured: the map needs no clipping of its own.
        """
        null = np.isnan(values)
        x = np.clip(values, -self.metric_clip, self.metric_clip)
        measured = x[~null]
        low, high = (measured.min(), measured.max()) if len(measured) else (0.0, 0.0)
        neutral = "fewer than two measured" if len(measured) < 2 else "all equal" if low == high else None
        if neutral is None:
            # The end points are exact; rounding between them may not overshoot.
            raw = np.clip(self.lo + (self.hi - self.lo) * ((x - low) / (high - low)), self.lo, self.hi)
        else:
            raw = np.where(null, np.nan, 1.0)
        note = [
            f"neutral: {reason if is_null else neutral}"
            if is_null or neutral
            else "metric clipped"
            if is_clipped
            else "measured"
            for reason, is_null, is_clipped in zip(reasons, null, x != values, strict=True)
        ]
        return Multipliers(
            strategies=tuple(strategies),
            metric=values,
            raw=raw,
            value=np.where(null, 1.0, raw),
            note=tuple(note),
        )


@dataclass(frozen=True, kw_only=True)
class MinmaxTilt(_MinmaxTilt):
    """Min-max tilt on a metric of choice.

    Parameters
    ----------
    metric
        The metric to read, one where more is better.
    lookback
        Its window, such as ``90d`` or ``12m``.
    lo, hi
        Multipliers of the worst and the best measured strategy, either side of 1.
    metric_clip
        The metric is clipped to ± this; positive.
    """

    metric: str
    lookback: str
    kind: Literal["minmax_tilt"] = "minmax_tilt"


@dataclass(frozen=True, kw_only=True)
class SharpeTilt(_MinmaxTilt):
    """Min-max tilt on the Sharpe ratio.

    Parameters
    ----------
    lo, hi
        Multipliers of the worst and the best measured strategy, either side of 1.
    metric_clip
        The ratio is clipped to ± this; positive.
    lookback
        Window of the ratio.
    """

    lookback: str = "90d"
    metric: Literal["sharpe"] = "sharpe"
    kind: Literal["sharpe_tilt"] = "sharpe_tilt"
