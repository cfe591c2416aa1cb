"""Risk parity: weights by which all strategies contribute the same risk.

Here belong the objective and its solution. Here do not belong covariances (``estimators``), limits and gross
(``constraints``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.constraints import Universe
from weights_pipeline.core.targets.optimise.estimators import Covariance, SampleCovariance
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Optimum, Problem

ON_TARGET = 1e-13
"""Error in the sum of weights, relative, at which the level of contributions is found."""

LEVELS = 200
"""Most levels tried; each at least halves an interval of logarithms, and five are usual."""

FARTHEST = 5.0
"""Most that the logarithm of the level changes by at once."""

VANISHED = 1e-9
"""Level, relative to the sizes of the terms that cancel in a contribution, below which it is nothing but rounding."""

QUADRATIC = 0.25
"""Newton decrement below which full steps converge quadratically."""

LAST = 1e-6
"""Newton decrement after which one more step is exact: the next would be its square."""

EXACT = 1e-12
"""Error in a contribution, relative to the level, that counts as rounding."""

STEPS = 1000
"""Most Newton steps at one level; ten are usual."""


@dataclass(frozen=True, kw_only=True)
class RiskParity:
    """Equal risk contributions.

    Parameters
    ----------
    covariance
        How the covariance is estimated: ``sample``, ``exponential`` or ``ledoit_wolf``.
    """

    covariance: Covariance = field(default_factory=SampleCovariance)
    kind: Literal["risk_parity"] = "risk_parity"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def solve(self, problem: Problem) -> Optimum:
        r"""Weights that add up to gross and of which those between their limits contribute the same risk.

        The contribution of a strategy to the variance is :math:`w_i (\Sigma w)_i`. There is one level :math:`c` with

        .. math:: w_i (\Sigma w)_i = c \ \text{ between the limits}, \quad \le c \ \text{ at the upper}, \quad
                  \ge c \ \text{ at the lower}, \qquad \textstyle\sum_i w_i = G

        where no limit binds, all contribute alike (Maillard, Roncalli and Teiletche 2010). A strategy at its cap would
        need a larger weight to contribute as much as the others, one at its floor a smaller. This is risk budgeting
        under constraints as Richard and Roncalli (2019), arXiv:1902.05710, define it; to minimise the spread of
        contributions, or to cap the weights of the parity, would leave those between their limits unequal.

        Where floors, or strategies that offset each other, keep the sum above gross however small the level, there is
        no parity to be had; the limit of a vanishing level, least variance, takes its place. Where slack would let
        weights add up to less than gross, the sum is brought there all the same, or to the most that the limits allow.
        A strategy that has not moved stays at its lower limit, see
        :class:`~weights_pipeline.core.targets.optimise.constraints.Universe`.

        Parameters
        ----------
        problem
            Returns and limits.

        Returns
        -------
        Optimum
            The objective is the smallest less the largest share of the variance: 0 where all contribute alike.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, no strategy has moved for which the limits leave anything, or strategies offset
            each other completely.
        """
        universe = Universe.of(problem, self.covariance, fully_invested=True)
        chosen = _parity(universe)
        if chosen is None:
            chosen = universe.least_quadratic(np.zeros(len(universe.lower)))
        weights = universe.all_weights(chosen)
        figures = universe.risky_figures(weights)
        spread = figures["largest_risk_contribution"] - figures["smallest_risk_contribution"]
        return universe.optimum(weights, -spread, figures)


def _parity(universe: Universe) -> Floats | None:
    """Weights at the level on which they add up to gross; None where no level is low enough.

    The logarithm of the sum grows by half that of the level while no limit binds, so Newton's method on logarithms
    is there at once; an interval that contains the level keeps it safe.
    """
    covariance, lower, upper, total = universe.covariance, universe.lower, universe.upper, universe.most
    # On this level every strategy is at its upper limit.
    low, high = 0.0, float((upper * (covariance @ upper)).max())
    vanished = VANISHED**2 * high
    weights: Floats = np.clip(total / universe.volatility / (1 / universe.volatility).sum(), lower, upper)
    level = min(float(weights @ covariance @ weights) / len(weights), high)
    for _ in range(LEVELS):
        found = _at_level(covariance, level, lower, upper, weights)
        if found is None:
            return None
        weights, growth = found
        error = math.log(math.fsum(weights) / total)
        if abs(error) <= ON_TARGET:
            break
        low, high = (level, high) if error < 0 else (low, level)
        if high <= vanished:
            return None
        level *= math.exp(min(max(-error / growth, -FARTHEST), FARTHEST)) if growth > 0 else 0.0
        if not low < level < high:
            level = math.sqrt(low * high) if low > 0 else high * math.exp(-FARTHEST)
    return weights


def _at_level(
    covariance: Floats, level: float, lower: Floats, upper: Floats, start: Floats
) -> tuple[Floats, float] | None:
    r"""Minimise :math:`\tfrac12 w'\Sigma w - c \sum_i \log w_i` between the limits.

    The convex form of risk parity, whose gradient is :math:`(\Sigma w)_i - c / w_i`, by the damped Newton method of
    Spinu (2013), An algorithm for computing risk parity weights, SSRN 2297383: a step of decrement :math:`\delta` is
    shortened by :math:`1 + \delta` until it is in the region of quadratic convergence, which keeps weights positive and
    needs no line search. A step ends at the first limit in its way, where that weight is then held; at the minimum over
    the others, those held that would rather leave are let go. Every such minimum is below the one before, so this ends.

    Parameters
    ----------
    covariance
        Shape (m, m), semidefinite.
    level
        :math:`c`, positive.
    lower, upper
        Shape (m,).
    start
        Positive weights between the limits.

    Returns
    -------
    weights : ndarray, shape (m,)
    growth : float
        Derivative of the logarithm of their sum by that of the level.
    None
        Instead of both, where contributions that cancel leave nothing but rounding.
    """
    weights, fixed = start, lower >= upper
    held = (weights <= lower) | (weights >= upper)
    for _ in range(STEPS):
        free = ~held
        terms = weights[:, None] * covariance * weights
        excess, sizes = terms.sum(axis=1) - level, np.abs(terms).sum(axis=1)
        if level <= VANISHED * sizes[free].max(initial=0.0):
            return None
        # Steps are relative to weights.
        curvature = terms[np.ix_(free, free)] + level * np.eye(int(free.sum()))
        step = np.zeros(len(weights))
        step[free] = -np.linalg.solve(curvature, excess[free])
        decrement = math.sqrt(max(float(-excess @ step) / level, 0.0))
        if decrement > QUADRATIC:
            step /= 1 + decrement
        limit = np.where(step > 0, upper, lower)
        room = np.divide(limit / weights - 1, step, out=np.full(len(weights), np.inf), where=step != 0)
        length = min(1.0, float(room.min()))
        stopped = room <= length
        weights = np.where(stopped, limit, weights * (1 + length * step))
        held = held | stopped
        if decrement <= LAST and not stopped.any():
            excess = weights * (covariance @ weights) - level
            outwards = np.where(weights <= lower, excess, -excess)
            leaving = held & ~fixed & (outwards < -EXACT * np.maximum(level, sizes))
            if not leaving.any():
                growth = level * float(weights[free] @ np.linalg.solve(curvature, np.ones(int(free.sum()))))
                return weights, growth / math.fsum(weights)
            held = held & ~leaving
    raise NoSolutionError(f"no solution: risk contributions did not settle at a level of {level:.6g}")
