"""What every objective is given, and what it answers with.

Scope: the statement of the problem, and what weights come to in its sample. Not here: objectives (``hybrid``, and those
of a library) nor the solver (``program``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats, Group, fit_to_groups

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
    strategies
        Names of the columns; read by an objective whose parameters name strategies.
    groups
        Limits on sums of weights, a group after all that lie within it.
    held, fees
        Weights before, and the cost of trading one unit of each, shape (n,); None where trades cost nothing.
    """

    returns: Floats
    lower: Floats
    upper: Floats
    gross: float
    slack: float
    periods: float
    strategies: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    held: Floats | None = None
    fees: Floats | None = None

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
        if self.groups:
            self.nearest(self.upper)

    def nearest(self, weights: Floats) -> Floats:
        """Weights inside limits, groups and gross that these are scaled to.

        Raises
        ------
        NoSolutionError
            There are none.
        """
        try:
            lower, upper = self.lower, self.upper
            return fit_to_groups(weights, lower, upper, self.groups, gross=self.gross, slack=self.slack).weights
        except ValueError as error:
            raise NoSolutionError(f"limits: {error}") from None

    def inequalities(self) -> tuple[Floats, Floats, list[str]]:
        """Limits of groups that are not kept anyway as rows A and sides b of A·w <= b, and the name of each."""
        rows, sides, names = list[Floats](), list[float](), list[str]()
        for group in self.groups:
            row = np.zeros(len(self.lower))
            row[group.members] = 1.0
            if math.fsum(self.upper[group.members]) > group.cap:
                rows, sides, names = [*rows, row], [*sides, group.cap], [*names, f"cap of {group.name}"]
            if math.fsum(self.lower[group.members]) < group.floor:
                rows, sides, names = [*rows, -row], [*sides, -group.floor], [*names, f"floor of {group.name}"]
        return np.array(rows).reshape(-1, len(self.lower)), np.array(sides), names

    def distances(self, weights: Floats) -> dict[str, float]:
        """How far weights are from the limits of groups, by name."""
        rows, sides, names = self.inequalities()
        return dict(zip(names, (sides - rows @ weights).tolist(), strict=True))

    def figures(self, weights: Floats) -> dict[str, float]:
        r"""What weights come to over the observations, cash earning nothing.

        Parameters
        ----------
        weights
            Shape (n,).

        Returns
        -------
        dict
            ``sharpe`` per observation at a risk-free rate of 0 (ddof 1), ``cagr`` and ``volatility`` per year,
            ``max_drawdown``, a positive fraction anchored at 1.0 before the first observation, and ``gross``, the sum.
            Without volatility there is no ``sharpe``; where an observation loses all, ``cagr`` is -1.
        """
        portfolio = self.returns @ weights
        equity = np.cumprod(np.append(1.0, 1.0 + portfolio))
        deviation = float(portfolio.std(ddof=1))
        sharpe = {"sharpe": float(portfolio.mean()) / deviation} if deviation > 0 else {}
        ruined = portfolio.min() <= -1
        return sharpe | {
            "cagr": -1.0 if ruined else math.expm1(float(np.log1p(portfolio).mean()) * self.periods),
            "volatility": deviation * math.sqrt(self.periods),
            "max_drawdown": float((1 - equity / np.maximum.accumulate(equity)).max()),
            "gross": math.fsum(weights),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """Weights that an objective prefers to all others, and how that came about.

    Attributes
    ----------
    weights
        Shape (n,), inside the limits, adding up to gross less at most the slack.
    parts
        What the weights come to, by name, such as ``sharpe`` and ``cagr``.
    distances
        How far each constraint of the book as a whole is from binding, by name (``gross``, ``max_drawdown``), in the
        units of the constraint. Limits on single weights are in the weights themselves.
    dropped
        Positions of the strategies whose weight was too small to keep, and is 0.
    objective
        Value of the objective at the weights, before its sign is turned for a solver; more is better. None where the
        weights follow from a rule.
    title
        What the value is of, or who chose the weights.
    held
        How the strategies that are held were chosen, where weights may not be small, in words.
    """

    weights: Floats
    parts: Mapping[str, float]
    distances: Mapping[str, float]
    dropped: tuple[int, ...] = ()
    objective: float | None = None
    title: str = "objective"
    held: str = ""

    @property
    def binding(self) -> tuple[str, ...]:
        """Names of the constraints that bind."""
        return tuple(name for name, distance in self.distances.items() if distance <= BINDING)
