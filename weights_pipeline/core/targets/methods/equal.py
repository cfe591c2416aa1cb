"""Equal weights: the same weight to every strategy, the benchmark that any other method has to beat.

Scope: this one method. Not here: normalisation (``normalise``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.rules import Rule


@dataclass(frozen=True, kw_only=True)
class Equal:
    """The same weight to every strategy with a base weight, whatever that is; reads no metrics."""

    kind: Literal["equal"] = "equal"

    metric: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    lookback: ClassVar[str] = "12m"
    """Window of the metrics reported beside the weights."""
    optimises: ClassVar[bool] = False
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers :math:`m_i = G / n / b_i` of the n strategies with a base weight.

        Parameters
        ----------
        section
            Base weights of one date. A strategy without a base weight stays without: 1.0, which multiplies zero.
        limits
            Not read.

        Returns
        -------
        Multipliers
        """
        funded = section.base > 0
        count, gross = int(np.count_nonzero(funded)), float(section.gross)
        nothing = np.full(len(funded), np.nan)
        raw = nothing.copy()
        raw[funded] = gross / count / section.base[funded]
        return Multipliers(
            metric=nothing,
            reason=np.zeros(len(funded), dtype=np.int8),
            score=nothing,
            raw=raw,
            value=np.where(funded, raw, 1.0),
            rule=np.where(funded, Rule.EQUAL, Rule.NO_BASE).astype(np.int8),
            formula=f"{gross!r} / {count} / base",
        )
