"""Proportional shares: weights in proportion to a metric, whatever the base weights.

Scope: this one map and the methods on the Sharpe and the Calmar ratio. Not here: how shares of the measured become
multipliers (``base``), and normalisation (``normalise``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.methods.base import (
    CrossSection,
    Limits,
    Multipliers,
    shared_budget,
    shares_as_multipliers,
)
from weights_pipeline.core.targets.rules import Rule


@dataclass(frozen=True, kw_only=True)
class ProportionalShare:
    """Shares in proportion to a metric, which methods inherit.

    Parameters
    ----------
    lookback
        Window of the metric, such as ``90d`` or ``12m``; or one per risk regime.
    """

    lookback: str | Mapping[str, str]

    metric: ClassVar[str]
    optimises: ClassVar[bool] = False
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    @property
    def reads(self) -> tuple[str, ...]:
        """The one metric."""
        return (self.metric,)

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers that give the measured the shares :math:`\max(0, x_i) / \sum_j \max(0, x_j)`.

        Where no metric is above zero, the shares are equal.

        Parameters
        ----------
        section
            Base weights and metrics of one date. A null keeps its base weight, and a strategy without a base weight
            stays without; the others share what they hold together at base.
        limits
            Not read: limits hold weights, not shares.

        Returns
        -------
        Multipliers
        """
        x = section.values[self.metric]
        null = np.isnan(x)
        aside = null | (section.base == 0)
        gains = np.maximum(x, 0.0)
        total, count = math.fsum(gains[~aside]), int(np.count_nonzero(~aside))
        uniform = not total > 0
        raw, formula = np.full(len(x), np.nan), "1.0"
        if count:
            shares = np.full(len(x), 1 / count) if uniform else gains / total
            raw[~aside] = shares_as_multipliers(section, aside, shares)[~aside]
            share = f"1 / {count}" if uniform else f"max(0, {self.metric}) / {total!r}"
            formula = f"{share} × {shared_budget(section, aside)!r} / base"
        return Multipliers(
            metric=x,
            reason=section.reasons[self.metric],
            score=x,
            raw=raw,
            value=np.where(aside, 1.0, raw),
            rule=np.select(
                [null, aside], [Rule.NULL, Rule.NO_BASE], default=Rule.UNIFORM if uniform else Rule.SHARE
            ).astype(np.int8),
            formula=formula,
        )


@dataclass(frozen=True, kw_only=True)
class ProportionalSharpe(ProportionalShare):
    """Shares in proportion to the 90-day Sharpe ratio; see :class:`ProportionalShare`."""

    lookback: str | Mapping[str, str] = "90d"
    kind: Literal["proportional_sharpe"] = "proportional_sharpe"

    metric: ClassVar[str] = "sharpe"


@dataclass(frozen=True, kw_only=True)
class CalmarWeighted(ProportionalShare):
    """Shares in proportion to the 12-month Calmar ratio; see :class:`ProportionalShare`."""

    lookback: str | Mapping[str, str] = "12m"
    kind: Literal["calmar_weighted"] = "calmar_weighted"

    metric: ClassVar[str] = "calmar"
