"""Softmax of the drawdown-penalised Sharpe ratio: weights from scores, whatever the base weights.

Scope: this one method. Not here: how shares of the measured become multipliers (``base``), and normalisation
(``normalise``).
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
class SoftmaxSharpe:
    """Softmax of the Sharpe ratio, penalised for drawdown.

    Parameters
    ----------
    lookback
        Window of both metrics, such as ``60d``; or one per risk regime.
    temperature
        Difference of scores that makes one share e times another; positive. The smaller, the more the best strategy
        takes of all.
    drawdown_scale
        Maximum drawdown, a fraction, from which on the penalty no longer grows; positive.
    """

    lookback: str | Mapping[str, str] = "60d"
    temperature: float = 1.0
    drawdown_scale: float = 0.5
    kind: Literal["softmax_sharpe"] = "softmax_sharpe"

    metric: ClassVar[str] = "sharpe"
    reads: ClassVar[tuple[str, ...]] = ("sharpe", "max_drawdown")
    optimises: ClassVar[bool] = False
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for key in ("temperature", "drawdown_scale"):
            if not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"{key}: expected a positive number, got {getattr(self, key)!r}")

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers that give the measured the shares :math:`e^{z_i / T} / \sum_j e^{z_j / T}`.

        The score is :math:`z = S (1 - d/2)` of a Sharpe ratio :math:`S \ge 0` and :math:`z = S (1 + d/2)` of a
        negative one, with :math:`d = \min(\mathrm{drawdown} / \mathrm{scale}, 1)`: more drawdown never helps. The
        largest score is subtracted before the exponential, which leaves the shares as they are and cannot overflow.

        Parameters
        ----------
        section
            Base weights and metrics of one date. A strategy whose Sharpe ratio or drawdown is null counts as null and
            keeps its base weight, and one without a base weight stays without; the others share what they hold
            together at base.
        limits
            Not read: limits hold weights, not shares.

        Returns
        -------
        Multipliers
        """
        sharpe, reason = section.values["sharpe"], section.read(self.reads)
        penalty = np.minimum(section.values["max_drawdown"] / self.drawdown_scale, 1.0) / 2
        score = sharpe * np.where(sharpe >= 0, 1 - penalty, 1 + penalty)
        null = np.isnan(score)
        aside = null | (section.base == 0)
        raw, formula = np.full(len(score), np.nan), "1.0"
        if not aside.all():
            best = float(score[~aside].max())
            # One exponential at a time: a vectorised one may round differently by position and processor.
            powers = [math.exp((value - best) / self.temperature) for value in score[~aside].tolist()]
            total = math.fsum(powers)
            shares = np.zeros_like(score)
            shares[~aside] = np.array(powers) / total
            raw[~aside] = shares_as_multipliers(section, aside, shares)[~aside]
            formula = (
                f"exp((score - {best!r}) / {self.temperature!r}) / {total!r} × {shared_budget(section, aside)!r} / base"
            )
        return Multipliers(
            metric=np.where(null, np.nan, sharpe),
            reason=reason,
            score=score,
            raw=raw,
            value=np.where(aside, 1.0, raw),
            rule=np.select([null, aside], [Rule.NULL, Rule.NO_BASE], default=Rule.SHARE).astype(np.int8),
            formula=formula,
        )
