"""Methods on one metric of choice: what it is of each strategy, as it was measured or shrunk.

Scope: the choice and the reading. Not here: the map from what was read to multipliers (``power_tilt``,
``minmax_tilt``), the formula of shrinkage (``shrinkage``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from weights_pipeline.core.metrics.measures import REASONS
from weights_pipeline.core.metrics.sampling import VARIANCES
from weights_pipeline.core.targets.methods.base import Codes, CrossSection, Metric, require_metric
from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.shrinkage import shrunk

NO_DRAWDOWN = REASONS.index("no_drawdown")
"""Reason of a ratio that is null because a gain came without any drawdown."""


class Reading(NamedTuple):
    """The metric of one date.

    Attributes
    ----------
    metric, reason
        As it was measured, and why it is null, shape (n,).
    score
        What a method goes by, shape (n,): the metric, or what it is shrunk to; NaN is null.
    words
        How it was shrunk, to go after the formula of a multiplier; empty where it was not.
    """

    metric: Floats
    reason: Codes
    score: Floats
    words: str


@dataclass(frozen=True, kw_only=True)
class OnMetric:
    """The choice of a metric, which methods inherit.

    Parameters
    ----------
    metric
        The metric to read, one where more is better; ``{name: calmar, shrink: true}`` reads it shrunk.
    lookback
        Its window, such as ``12m`` or ``90d``; or one per risk regime.
    """

    metric: str | Metric
    lookback: str | Mapping[str, str]

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if isinstance(self.metric, str):
            require_metric(self.metric)

    @property
    def reads(self) -> tuple[str, ...]:
        """The one metric."""
        return (self.metric if isinstance(self.metric, str) else self.metric.name,)

    @property
    def optimises(self) -> bool:
        """Whether it needs the returns of the window: only they tell how uncertain a metric is."""
        return isinstance(self.metric, Metric) and self.metric.shrink

    def read(self, section: CrossSection) -> Reading:
        """The metric of each strategy.

        Where it is shrunk, a Calmar ratio that is null for a gain without drawdown is as uncertain as can be, and
        becomes the mean; every other null stays one.

        Parameters
        ----------
        section
            Metrics of one date; with the returns of the window where the metric is shrunk.

        Raises
        ------
        ValueError
            The metric is to be shrunk, and the section has no sample.
        """
        (name,) = self.reads
        x, reason = section.values[name], section.reasons[name]
        if not self.optimises:
            return Reading(x, reason, x, "")
        if section.sample is None:
            raise ValueError("sample: expected the returns of the window, got none")
        returns, per_year = section.sample.returns, section.sample.per_year
        measured = np.flatnonzero(~np.isnan(x))
        errors = [
            VARIANCES[name](own[~np.isnan(own)], float(x[at]), per_year)
            for at, own in ((at, returns[:, at]) for at in measured.tolist())
        ]
        found = shrunk(x[measured], np.array(errors))
        score = x.copy()
        score[measured] = found.values
        score[np.isnan(x) & (reason == NO_DRAWDOWN)] = found.mean
        if math.isnan(found.mean):
            return Reading(x, reason, score, f"; {name} not shrunk, fewer than two have a known sampling error")
        words = f"; {name} shrunk towards {found.mean:.6g}, variance beyond sampling errors {found.spread:.6g}"
        return Reading(x, reason, score, words)
