"""What objectives on a covariance share: who takes part, what limits and gross allow, and the weights inside them.

Here belong limits and gross as matrices, the exact end of a convex program, and the figures that every such objective
reports. Here do not belong objectives (one file each), estimators nor the solver (``program``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from weights_pipeline.core.targets.normalise import Floats, fit_to_gross
from weights_pipeline.core.targets.optimise.estimators import Covariance, by_strategy
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Optimum, Problem
from weights_pipeline.core.targets.optimise.program import minimise

Bools = npt.NDArray[np.bool_]

RIDGE = 1e-8
"""What quadratic programs add to each variance, relative to it. Duplicates then have one best split, the equal one, and
strategies that offset each other a finite one. Far below what can be known of a correlation: the error of one that is
estimated from a year is above 0.06."""

NEGLIGIBLE = 1e-8
"""Range of returns or volatility, relative to the largest range, below which a strategy has not moved."""

RISKLESS = 1e-4
"""Volatility, relative to that of the strategies apart, below which there is none: as much as the ridge would give."""

AT_LIMIT = 1e-10
"""Distance to a limit, relative to gross, below which a weight is put on it."""

NEAR = 1e-6
"""Distance below which a constraint is first taken to bind, of numbers that are about 1."""

EXACT = 1e-12
"""Violation, or multiplier of the wrong sign, that counts as rounding."""

ROUNDING = 1e-14
"""Error in a sum of weights, relative to gross, that is left as it is."""

ROUNDS = 20
"""Most guesses at which constraints bind; one or two are usual."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Universe:
    """The strategies that weights are chosen for: those that have moved and may be held, m of n.

    A strategy without volatility is one that has not traded, and least variance would give it everything. It stays at
    its lower limit, and takes more only where all others at their upper limits do not reach what has to be reached.

    Attributes
    ----------
    problem
        What was asked.
    moved
        Whether a strategy takes part, shape (n,).
    covariance
        Per observation, shape (m, m).
    lower, upper
        Limits, shape (m,); no upper limit is above what all have together.
    least, most
        What the m weights add up to.
    """

    problem: Problem
    moved: Bools
    covariance: Floats
    lower: Floats
    upper: Floats
    least: float
    most: float

    @classmethod
    def of(cls, problem: Problem, covariance: Covariance, *, fully_invested: bool) -> Self:
        """Who takes part in a problem.

        Parameters
        ----------
        problem
            Returns and limits.
        covariance
            How it is estimated; strategies that have not moved are unknown to it.
        fully_invested
            Bring the sum to gross, or to the most that the limits allow where slack lets it stay below.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, or no strategy has moved for which the limits leave anything.
        """
        ranges = np.ptp(by_strategy(problem.returns), axis=1)
        negligible = NEGLIGIBLE * ranges.max(initial=0.0)
        moved = (ranges > negligible) & (problem.upper > 0)
        estimated = covariance.estimate(problem.returns[:, moved]) if moved.any() else np.empty((0, 0))
        # An estimate may have forgotten a move.
        lasting = np.sqrt(np.diag(estimated)) > negligible
        moved[moved] = lasting
        if not moved.any():
            raise NoSolutionError("returns: no strategy that may be held has moved, so there is no risk to allocate")
        rest, lower, upper = math.fsum(problem.lower[~moved]), problem.lower[moved], problem.upper[moved]
        most = max(min(problem.gross - rest, math.fsum(upper)), math.fsum(lower))
        if most <= AT_LIMIT * problem.gross:
            raise NoSolutionError("limits: floors of strategies that have not moved leave nothing for those that have")
        least = min(max(problem.gross - problem.slack - rest, 0.0), most)
        return cls(
            problem=problem,
            moved=moved,
            covariance=estimated[np.ix_(lasting, lasting)],
            lower=lower,
            upper=np.minimum(upper, most),
            least=most if fully_invested else least,
            most=most,
        )

    @cached_property
    def volatility(self) -> Floats:
        """Standard deviations per observation, shape (m,)."""
        volatility: Floats = np.sqrt(np.diag(self.covariance))
        return volatility

    @cached_property
    def unit(self) -> Floats:
        """Volatilities relative to their mean, shape (m,): weights times these are all of one size to a solver."""
        unit: Floats = self.volatility / self.volatility.mean()
        return unit

    @cached_property
    def correlation(self) -> Floats:
        """Correlations with the ridge on their diagonal, shape (m, m)."""
        correlation: Floats = self.covariance / np.outer(self.volatility, self.volatility)
        return correlation + RIDGE * np.eye(len(correlation))

    def least_quadratic(self, linear: Floats) -> Floats:
        r"""Minimise :math:`\tfrac12 w'\Sigma w + q'w` inside limits and gross, ridge included.

        Parameters
        ----------
        linear
            :math:`q`, shape (m,).

        Returns
        -------
        ndarray, shape (m,)
        """
        eye, smallest = np.eye(len(self.unit)), self.unit.min()
        total = (smallest / self.unit)[None, :]
        rows, ends = [eye, -eye], [self.unit * self.upper, -self.unit * self.lower]
        equal = total, np.array([smallest * self.most])
        if self.least < self.most:
            rows = [*rows, total, -total]
            ends = [*ends, np.array([smallest * self.most]), np.array([-smallest * self.least])]
            equal = total[:0], np.empty(0)
        below = np.vstack(rows), np.concatenate(ends)
        scaled = linear / (self.unit * self.volatility.mean() ** 2)
        return minimise_exactly(self.correlation, scaled, equal=equal, below=below) / self.unit

    def all_weights(self, chosen: Floats) -> Floats:
        """Weights of all n strategies: limits kept to the last bit, the sum to rounding.

        Parameters
        ----------
        chosen
            Weights of those that take part, shape (m,), which keep limits and sum nearly.

        Returns
        -------
        ndarray, shape (n,)
        """
        lower, upper, gross = self.problem.lower, self.problem.upper, self.problem.gross
        weights = np.zeros(len(lower))
        weights[self.moved] = np.maximum(chosen, 0.0)
        at_lower = weights <= lower + AT_LIMIT * gross
        at_upper = ~at_lower & (weights >= upper - AT_LIMIT * gross)
        settled = np.where(at_lower, lower, np.where(at_upper, upper, weights))
        total = math.fsum(settled)
        least = max(gross - self.problem.slack, min(gross, self.least + math.fsum(lower[~self.moved])))
        goal = min(max(total, least), gross)
        if abs(total - goal) <= ROUNDING * gross:
            return settled
        # One factor for those between their limits; the others are pushed so far past theirs that they stay there.
        pushed = np.where(at_lower, lower / 2, np.where(at_upper, 2 * upper, weights))
        return fit_to_gross(pushed, lower, upper, gross=goal)[0]

    def figures(self, weights: Floats) -> dict[str, float]:
        r"""What weights come to, annual where it depends on time.

        Parameters
        ----------
        weights
            Of all strategies, shape (n,).

        Returns
        -------
        dict
            ``volatility``; and, where there is any, ``diversification_ratio`` :math:`w'\sigma / \sqrt{w'\Sigma w}`,
            ``effective_strategies`` :math:`(\sum_i w_i)^2 / \sum_i w_i^2`, ``largest_risk_contribution`` and
            ``smallest_risk_contribution``, shares :math:`w_i (\Sigma w)_i / w'\Sigma w` of those that take part.
        """
        held = weights[self.moved]
        contributions = held * (self.covariance @ held)
        variance = math.fsum(contributions)
        apart = float(held @ self.volatility)
        volatility = math.sqrt(max(variance, 0.0) * self.problem.periods)
        if variance <= RISKLESS**2 * apart**2:
            return {"volatility": volatility}
        return {
            "volatility": volatility,
            "diversification_ratio": apart / math.sqrt(variance),
            "effective_strategies": float(weights.sum() ** 2 / (weights @ weights)),
            "largest_risk_contribution": float(contributions.max()) / variance,
            "smallest_risk_contribution": float(contributions.min()) / variance,
        }

    def risky_figures(self, weights: Floats) -> dict[str, float]:
        """The same, of weights that have to have risk.

        Raises
        ------
        NoSolutionError
            Strategies offset each other completely.
        """
        figures = self.figures(weights)
        if "diversification_ratio" not in figures:
            raise NoSolutionError(
                "returns: strategies offset each other completely, so there is no risk to share; "
                "more observations than strategies, or a ledoit_wolf covariance, would leave some"
            )
        return figures

    def optimum(self, weights: Floats, objective: float, parts: Mapping[str, float]) -> Optimum:
        """Weights with their figures, and how far below gross they add up."""
        distance = max(self.problem.gross - math.fsum(weights), 0.0)
        return Optimum(weights=weights, objective=objective, parts=parts, distances={"gross": distance})


def minimise_exactly(
    quadratic: Floats, linear: Floats, *, equal: tuple[Floats, Floats], below: tuple[Floats, Floats]
) -> Floats:
    r"""Minimise :math:`\tfrac12 x'Px + q'x` subject to :math:`Ax = b` and :math:`Gx \le h`, to the last few bits.

    An interior point method stops at a small gap in the objective, and so at about the square root of it in weights.
    Which constraints bind is clear by then, and the minimum on those is a linear system. A constraint that its solution
    violates joins them, the one with the most negative multiplier leaves them, until there is neither: the conditions
    of optimality then hold. It is the polishing of Stellato et al. (2020), OSQP: an operator splitting solver for
    quadratic programs, section 5.2, repeated. Where more constraints meet than there are unknowns, as in limits that
    add up to gross, multipliers are not unique and it may not settle; the answer is then the first of these minima, or
    that of the interior point method where the first violates a constraint.

    Parameters
    ----------
    quadratic, linear, equal, below
        See :func:`~weights_pipeline.core.targets.optimise.program.minimise`; numbers of about 1, and :math:`P`
        definite.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    NoSolutionError
        See there.
    """
    near = minimise(quadratic, linear, equal=equal, below=below)
    (a, b), (g, h) = equal, below
    n, rounding = len(linear), EXACT * max(1.0, float(np.abs(linear).max()))
    binding = h - g @ near <= NEAR
    fallback = near
    for attempt in range(ROUNDS):
        rows, ends = np.vstack([a, g[binding]]), np.concatenate([b, h[binding]])
        system = np.block([[quadratic, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
        # Least squares, as binding constraints may depend on each other.
        solution = np.linalg.lstsq(system, np.concatenate([-linear, ends]), rcond=None)[0]
        x: Floats = solution[:n]
        multipliers = solution[n + len(a) :]
        violated = ~binding & (g @ x - h > EXACT)
        possible = not violated.any() and float(np.abs(rows @ x - ends).max(initial=0.0)) <= NEAR
        wrong = multipliers.size > 0 and multipliers.min() < -rounding
        if possible and not wrong:
            return x
        if possible and attempt == 0:
            fallback = x
        if wrong:
            binding[np.flatnonzero(binding)[multipliers.argmin()]] = False
        binding |= violated
    return fallback
