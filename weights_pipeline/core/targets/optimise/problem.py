"""What every objective is given, and what it answers with.

Here belongs the statement of the problem. Here do not belong objectives (one file each) nor the solver (``program``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats

BINDING = 1e-6
"""Distance to a constraint below which it is said to bind."""


class NoSolutionError(ValueError):
    """There are no weights to choose, or none that keep the constraints; the message says which constraint and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Returns of n strategies over T observations, and the weights that may be chosen.

    Attributes
    ----------
    returns
        Daily returns, fractions, shape (T, n), finite. Column order is that of the weights.
    lower, upper
        Limits on each weight, shape (n,), ``0 <= lower <= upper``.
    gross
        What weights add up to at most.
    slack
        How far below gross they may stay: 0 where they have to add up to it, gross where the rest may stay in cash,
        which earns nothing.
    periods
        Observations a year: 252 where they are calendar sessions, fewer where idle ones were left out.
    """

    returns: Floats
    lower: Floats
    upper: Floats
    gross: float
    slack: float
    periods: float

    def __post_init__(self) -> None:
        if self.returns.ndim != 2 or not np.isfinite(self.returns).all():
            raise ValueError("returns: expected finite numbers, observations × strategies")
        if not self.lower.shape == self.upper.shape == self.returns.shape[1:]:
            raise ValueError(f"lower, upper: expected {self.returns.shape[1]} limits each, one per strategy")
        if not ((self.lower >= 0) & (self.lower <= self.upper)).all():
            raise ValueError("lower, upper: expected 0 <= lower <= upper for every strategy")
        if not (self.gross > 0 and 0 <= self.slack <= self.gross and self.periods > 0):
            raise ValueError(
                f"gross, slack, periods: expected gross and periods above 0 and slack from 0 to gross, "
                f"got {self.gross!r}, {self.slack!r} and {self.periods!r}"
            )
        tolerance = GROSS_TOLERANCE * self.gross
        least, most = float(self.lower.sum()), float(self.upper.sum())
        if least > self.gross + tolerance or most < self.gross - self.slack - tolerance:
            raise NoSolutionError(
                f"limits: they allow sums from {least:.6g} to {most:.6g}, expected one from "
                f"{self.gross - self.slack:.6g} to {self.gross:.6g}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """Weights that an objective prefers to all others, and how that came about.

    Attributes
    ----------
    weights
        Shape (n,), inside the limits, adding up to gross less at most the slack.
    objective
        Value of the objective at the weights, before its sign is turned for a solver; more is better.
    parts
        What the objective is made of, by name, such as ``sharpe`` and ``cagr``.
    distances
        How far each constraint of the book as a whole is from binding, by name (``gross``, ``max_drawdown``), in the
        units of the constraint. Limits on single weights are in the weights themselves.
    dropped
        Positions of the strategies whose weight was too small to keep, and is 0.
    """

    weights: Floats
    objective: float
    parts: Mapping[str, float]
    distances: Mapping[str, float]
    dropped: tuple[int, ...] = ()

    @property
    def binding(self) -> tuple[str, ...]:
        """Names of the constraints that bind."""
        return tuple(name for name, distance in self.distances.items() if distance <= BINDING)
