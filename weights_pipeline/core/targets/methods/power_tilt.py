"""Power tilt: multipliers that follow a metric relative to the median strategy, raised to a power.

Scope: this one method, and its preset on the 12-month Calmar ratio. Not here: normalisation (``normalise``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.methods.on_metric import NO_DRAWDOWN, OnMetric
from weights_pipeline.core.targets.rules import Rule


@dataclass(frozen=True, kw_only=True)
class PowerTilt(OnMetric):
    """Power tilt on a metric of choice.

    Parameters
    ----------
    metric
        The metric to read, one where more is better; ``{name: calmar, shrink: true}`` reads it shrunk.
    lookback
        Its window, such as ``12m`` or ``90d``; or one per risk regime.
    alpha
        Power, in (0, 1]: 1 tilts in proportion to the metric, smaller powers less.
    anchor_floor
        Least value of the anchor, in units of the metric; positive.
    """

    alpha: float = 0.5
    anchor_floor: float = 0.1
    kind: Literal["power_tilt"] = "power_tilt"

    clips_to_limits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha: expected a power in (0, 1], got {self.alpha!r}")
        if not 0 < self.anchor_floor < math.inf:
            raise ValueError(f"anchor_floor: expected a positive number, got {self.anchor_floor!r}")

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers :math:`m_i = \mathrm{clip}((x_i / a)^\alpha, f, k)`.

        The anchor :math:`a` is the median of the measured values, but at least ``anchor_floor``: nothing
        jumps as the median nears zero, and two losses never divide to a gain. The limits of the formula
        decide where it has no value: :math:`x_i \le 0` gives the floor, a gain without drawdown the cap.

        Parameters
        ----------
        section
            Base weights and metrics of one date. A null with the reason ``no_drawdown`` gives the cap, any other 1.0.
        limits
            Floor :math:`f` and cap :math:`k`, multiples of base.

        Returns
        -------
        Multipliers
        """
        metric, reason, x, words = self.read(section)
        null = np.isnan(x)
        measured = x[~null]
        anchor = max(float(np.median(measured)), self.anchor_floor) if len(measured) else self.anchor_floor
        gain = x > 0
        raw = np.full(len(x), np.nan)
        # One power at a time: a vectorised one may round differently by position and processor.
        raw[gain] = [math.pow(value / anchor, self.alpha) for value in x[gain].tolist()]
        cases = [null & (reason == NO_DRAWDOWN), null, ~gain, raw < limits.floor, raw > limits.cap]
        return Multipliers(
            metric=metric,
            reason=reason,
            score=x,
            raw=raw,
            value=np.select(cases, [limits.cap, 1.0, limits.floor, limits.floor, limits.cap], default=raw),
            rule=np.select(
                cases, [Rule.CAP, Rule.NULL, Rule.FLOOR, Rule.AT_FLOOR, Rule.AT_CAP], default=Rule.MEASURED
            ).astype(np.int8),
            formula=f"({self.reads[0]} / {anchor!r})^{self.alpha!r}{words}",
        )


@dataclass(frozen=True, kw_only=True)
class CalmarTilt(PowerTilt):
    """Power tilt on the 12-month Calmar ratio; see :class:`PowerTilt`."""

    metric: Literal["calmar"] = "calmar"
    lookback: str | Mapping[str, str] = "12m"
    kind: Literal["calmar_tilt"] = "calmar_tilt"  # type: ignore[assignment]
