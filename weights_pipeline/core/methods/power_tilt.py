"""Power tilt: multipliers that follow a metric relative to the median strategy, raised to a power.

Here belongs this one method and its preset on the 12-month Calmar ratio. Normalisation is in ``normalise``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.methods.base import Limits, Multipliers
from weights_pipeline.core.normalise import Floats

NO_DRAWDOWN = "no_drawdown"
"""Reason of a ratio that is null because a gain came without any drawdown."""


@dataclass(frozen=True, kw_only=True)
class _PowerTilt:
    alpha: float = 0.5
    anchor_floor: float = 0.1

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha: expected a power in (0, 1], got {self.alpha!r}")
        if not 0 < self.anchor_floor < math.inf:
            raise ValueError(f"anchor_floor: expected a positive number, got {self.anchor_floor!r}")

    def multipliers(
        self, strategies: Sequence[str], values: Floats, reasons: Sequence[str], limits: Limits
    ) -> Multipliers:
        r"""Multipliers :math:`m_i = \mathrm{clip}((x_i / a)^\alpha, f, k)`.

        The anchor :math:`a` is the median of the measured values, but at least ``anchor_floor``: nothing
        jumps as the median nears zero, and two losses never divide to a gain. The limits of the formula
        decide where it has no value: :math:`x_i \le 0` gives the floor, a gain without drawdown the cap.

        Parameters
        ----------
        strategies
            Names, n of them.
        values
            The metric, shape (n,); NaN is null.
        reasons
            Why a value is null. ``no_drawdown`` gives the cap, any other 1.0.
        limits
            Floor :math:`f` and cap :math:`k`.

        Returns
        -------
        Multipliers
        """
        measured = values[~np.isnan(values)]
        anchor = max(float(np.median(measured)), self.anchor_floor) if len(measured) else self.anchor_floor
        rows = [self._multiplier(x, why, anchor, limits) for x, why in zip(values.tolist(), reasons, strict=True)]
        return Multipliers(
            strategies=tuple(strategies),
            metric=values,
            raw=np.array([raw for raw, _, _ in rows]),
            value=np.array([value for _, value, _ in rows]),
            note=tuple(note for _, _, note in rows),
        )

    def _multiplier(self, x: float, reason: str, anchor: float, limits: Limits) -> tuple[float, float, str]:
        if math.isnan(x):
            if reason == NO_DRAWDOWN:
                return math.nan, limits.cap, "cap: gain without drawdown"
            return math.nan, 1.0, f"neutral: {reason}"
        if x <= 0:
            return math.nan, limits.floor, "floor: metric <= 0"
        raw = math.pow(x / anchor, self.alpha)
        if raw < limits.floor:
            return raw, limits.floor, "clipped at floor"
        if raw > limits.cap:
            return raw, limits.cap, "clipped at cap"
        return raw, raw, "measured"


@dataclass(frozen=True, kw_only=True)
class PowerTilt(_PowerTilt):
    """Power tilt on a metric of choice.

    Parameters
    ----------
    metric
        The metric to read, one where more is better.
    lookback
        Its window, such as ``12m`` or ``90d``.
    alpha
        Power, in (0, 1]: 1 tilts in proportion to the metric, smaller powers less.
    anchor_floor
        Least value of the anchor, in units of the metric; positive.
    """

    metric: str
    lookback: str
    kind: Literal["power_tilt"] = "power_tilt"


@dataclass(frozen=True, kw_only=True)
class CalmarTilt(_PowerTilt):
    """Power tilt on the Calmar ratio.

    Parameters
    ----------
    alpha
        Power, in (0, 1].
    anchor_floor
        Least value of the anchor; positive.
    lookback
        Window of the ratio.
    """

    lookback: str = "12m"
    metric: Literal["calmar"] = "calmar"
    kind: Literal["calmar_tilt"] = "calmar_tilt"
