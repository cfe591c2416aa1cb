r"""The weights that keep limits, gross and a drawdown limit: a convex set, described by cuts.

Scope: everything that knows what a drawdown is in terms of weights. Not here: objectives.

With constant weights the portfolio returns :math:`p_u = r_u'w` daily, and the drawdown from session s to session t is
:math:`1 - \exp(-h_{st}(w))` with :math:`h_{st}(w) = -\sum_{s < u \le t} \log(1 + p_u)`. Each :math:`h_{st}` is convex
in w, hence so is their maximum, and a limit D on the maximum drawdown is the convex constraint
:math:`\max_{s \le t} h_{st}(w) \le -\log(1 - D)`. A tangent of any :math:`h_{st}` is a linear constraint that all
admissible weights keep (a *cut*), and tangents taken on the boundary separate the weights that do not (Veinott, "The
supporting hyperplane method for unimodal programming", Operations Research 15, 1967).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.optimise.program import Solution, SolverError, minimum

Stretch = tuple[int, int]
"""Rows of a fall of the equity, from the row after its peak up to and including its trough, as in a slice."""

Cut = tuple[Floats, float]
"""A row and what the row times weights may be at most."""

EPSILON = float(np.finfo(np.float64).eps)
SNAP = 1e-10
"""Weights so near to a limit are at it."""
NEAR = 0.8
"""Share of the limit from which on a drawdown is cut off before it passes the limit."""
STRETCHES = 8
"""Cuts made at one portfolio, at most."""
SAFE = 0.9
"""Share of the limit at which a search for weights with less drawdown may stop."""
CLOSE, ROUGHLY = 1e-9, 1e-5
"""Error of the least drawdown at which that search stops: where it may be within the limit, and where it is not."""
SHARE = 1e-3
"""Cost of a limit, relative to the highest, from which on it is said to bind where the solver failed."""
ROUNDS = 500
"""Programs solved in that search, at most."""


@dataclass(frozen=True, eq=False)
class Equity:
    """Weights and what they would have earned.

    Attributes
    ----------
    weights
        Shape (n,).
    portfolio
        Daily returns, shape (T,).
    path
        Logarithm of the equity, 0 before the first session, shape (T + 1,).
    drawdowns
        How far the path is below its highest so far, shape (T + 1,).
    """

    weights: Floats
    portfolio: Floats
    path: Floats
    drawdowns: Floats

    def falls(self, least: float) -> list[Stretch]:
        """Rows of the worst fall of each time under water, if it is as deep as this, deepest first."""
        highs = np.flatnonzero(self.drawdowns == 0)
        depths = np.maximum.reduceat(self.drawdowns, highs)
        ends = np.append(highs[1:], len(self.path))
        deep = np.flatnonzero(depths >= least)
        deepest = deep[np.argsort(-depths[deep], kind="stable")][:STRETCHES].tolist()
        return [(int(highs[at]), int(highs[at] + self.drawdowns[highs[at] : ends[at]].argmax())) for at in deepest]


class Region:
    """Weights within limits, gross and drawdown limit; it learns cuts as portfolios are tried.

    Parameters
    ----------
    problem
        Returns, limits and gross.
    max_drawdown
        Limit on the maximum drawdown, a fraction above 0 and below 1.
    cuts
        Cuts known for these returns and this limit, to which those of this region are added.

    Raises
    ------
    NoSolutionError
        No weights within limits and gross keep the drawdown limit.

    Notes
    -----
    What is admissible here is tighter than asked for by the rounding of sums over strategies and of products over
    sessions, so that weights keep gross and drawdown limit to the last bit however these are added up elsewhere.
    """

    def __init__(self, problem: Problem, max_drawdown: float, cuts: dict[Stretch, Cut]) -> None:
        sessions, strategies = problem.returns.shape
        self.returns, self.names = problem.returns, problem.strategies or range(1, strategies + 1)
        self.lower, self.upper, self.groups = problem.lower, problem.upper, problem.groups
        lower, upper = problem.lower, problem.upper
        self.gross = max(problem.gross * (1 - 4 * strategies * EPSILON), math.fsum(lower))
        self.least = min(self.gross - problem.slack, math.fsum(upper))
        self.max_drawdown = max_drawdown
        self.rounding = 4 * sessions * EPSILON
        self._settled = (
            replace(problem, gross=self.gross, slack=self.gross - max(self.least, 0.0)) if self.groups else problem
        )
        self.limit = -math.log1p(-max_drawdown) - 2 * self.rounding
        self.cuts = cuts

        # Weights that are given have no interior, which the solver needs: they are equations.
        self.free = free = upper - lower > SNAP
        unit, ones = np.eye(strategies), np.ones((1, strategies))
        equal, below = [(unit[~free], lower[~free])], [(unit[free], upper[free]), (-unit[free], -lower[free])]
        if problem.slack == 0:
            equal.append((ones, np.array([self.gross])))
        else:
            below.append((ones, np.array([self.gross])))
            if self.least > 0:
                below.append((-ones, np.array([-self.least])))
        rows, sides, self._grouped = problem.inequalities()
        below.append((rows, sides))
        self.equal = np.vstack([rows for rows, _ in equal]), np.concatenate([sides for _, sides in equal])
        self.below = np.vstack([rows for rows, _ in below]), np.concatenate([sides for _, sides in below])
        self.cash = not lower.any() and self.least <= 0 and not any(group.floor > 0 for group in self.groups)
        """Whether all capital may stay in cash."""
        self.safe = np.zeros(strategies) if self.cash else self._safe()
        self._safe_portfolio = self.returns @ self.safe

    def minimise(self, quadratic: Floats, linear: Floats) -> Solution:
        """Minimise over the region as far as its cuts tell; multipliers are of `below`, then of `cuts`."""
        rows, sides = self.below
        if self.cuts:
            rows = np.vstack([rows, *[row for row, _ in self.cuts.values()]])
            sides = np.append(sides, [side for _, side in self.cuts.values()])
        return self._solved(quadratic, linear, self.equal, (rows, sides))

    def _solved(
        self, quadratic: Floats, linear: Floats, equal: tuple[Floats, Floats], below: tuple[Floats, Floats]
    ) -> Solution:
        """Minimise; what is not solved tells the limits that have a share in that, the largest first."""
        try:
            return minimum(quadratic, linear, equal=equal, below=below)
        except SolverError as error:
            free = [name for name, free in zip(self.names, self.free, strict=True) if free]
            names = [*(f"upper limit of {name}" for name in free), *(f"lower limit of {name}" for name in free)]
            names += ["gross"] * (len(self.below[1]) - len(names) - len(self._grouped)) + self._grouped
            names += ["max_drawdown"] * (len(below[1]) - len(names))
            costs = error.multipliers
            largest = [at for at in np.argsort(-costs, kind="stable") if costs[at] > SHARE * costs.max()]
            binding = ", ".join(dict.fromkeys(names[at] for at in largest)) or "none"
            raise SolverError(f"{error}, where these limits bind: {binding}", costs) from None

    def reach(self, weights: Floats) -> Equity:
        """Go from the safe weights towards these as far as the region goes.

        Where all may stay in cash, cash is safe, and weights are scaled down no further than the drawdown limit asks.
        """
        weights = self._settle(weights)
        base = self._safe_portfolio
        move = self.returns @ weights - base
        share = 1.0
        while True:
            portfolio = base + share * move
            path, drawdowns = self._path(portfolio)
            end = int(drawdowns.argmax())
            if drawdowns[end] <= self.limit + self.rounding:
                break
            start = int(path[: end + 1].argmax())
            share = self._share(base[start:end], move[start:end], share)
        if share < 1:
            weights = self.safe + share * (weights - self.safe)
        return Equity(np.clip(weights, self.lower, self.upper), portfolio, path, drawdowns)

    def tangent(self, equity: Equity, stretch: Stretch) -> Cut:
        """Gradient of the depth of a stretch, and what gradient times weights may be at most."""
        start, end = stretch
        gradient = -self._log_slope(equity.portfolio[start:end]) @ self.returns[start:end]
        depth = equity.path[start] - equity.path[end]
        return gradient, float(self.limit - depth + gradient @ equity.weights)

    def cut(self, equity: Equity) -> None:
        """Learn the cuts at these weights, in place of older ones of the same stretches."""
        for stretch in equity.falls(NEAR * self.limit):
            self.cuts[stretch] = self.tangent(equity, stretch)

    def _path(self, portfolio: Floats) -> tuple[Floats, Floats]:
        path = np.zeros(len(portfolio) + 1)
        np.cumsum(self._log(portfolio), out=path[1:])
        return path, np.maximum.accumulate(path) - path

    def _log(self, portfolio: Floats) -> Floats:
        """log(1 + p), continued by its tangent where a single day loses more than the limit.

        That keeps it concave and leaves the region what it is, and there is a value where all is lost.
        """
        worst = -self.max_drawdown
        logs: Floats = np.log1p(np.maximum(portfolio, worst))
        if portfolio.min(initial=0.0) < worst:
            logs += np.minimum(portfolio - worst, 0.0) / (1 + worst)
        return logs

    def _log_slope(self, portfolio: Floats) -> Floats:
        slope: Floats = 1 / (1 + np.maximum(portfolio, -self.max_drawdown))
        return slope

    def _share(self, base: Floats, move: Floats, share: float) -> float:
        """Newton from above on a convex function, hence monotone: where the stretch is as deep as the limit."""
        while True:
            portfolio = base + share * move
            excess = -float(self._log(portfolio).sum()) - self.limit
            closer = share + excess / float(move @ self._log_slope(portfolio))
            if excess <= self.rounding / 2 or closer >= share:
                return share
            share = closer

    def _settle(self, weights: Floats) -> Floats:
        """Put weights within limits and gross, off which the solver's rounding may have left them."""
        weights = np.where(weights - self.lower < SNAP, self.lower, weights)
        weights = np.where(self.upper - weights < SNAP, self.upper, weights)
        if self.groups:
            # Limits that hold are pushed past, where a factor near 1 leaves them.
            pushed = np.where(weights == self.lower, weights / 2, np.where(weights == self.upper, 2 * weights, weights))
            return self._settled.nearest(pushed)
        total, floor, ceiling = math.fsum(weights), math.fsum(self.lower), math.fsum(self.upper)
        if total > self.gross:
            weights = self.lower + (weights - self.lower) * ((self.gross - floor) / (total - floor))
        elif total < self.least:
            weights = self.upper - (self.upper - weights) * ((ceiling - self.least) / (ceiling - total))
        return weights

    def _safe(self) -> Floats:
        """Weights with little drawdown, or else with the least: by cutting planes (Kelley, J. SIAM 8, 1960)."""
        strategies = len(self.lower)
        depth_of = np.append(np.zeros(strategies), 1.0)
        flat = np.zeros((strategies + 1, strategies + 1))
        equal = np.pad(self.equal[0], ((0, 0), (0, 1))), self.equal[1]
        rows, sides = [*np.pad(self.below[0], ((0, 0), (0, 1))), -depth_of], [*self.below[1], 0.0]
        safe, least = self.lower, math.inf
        for _ in range(ROUNDS):
            solution = self._solved(flat, depth_of, equal, (np.array(rows), np.array(sides))).x
            weights, bound = self._settle(solution[:-1]), float(solution[-1])
            portfolio = self.returns @ weights
            equity = Equity(weights, portfolio, *self._path(portfolio))
            depth = float(equity.drawdowns.max())
            if depth < least:
                safe, least = weights, depth
            if least <= SAFE * self.limit or least <= bound + (CLOSE if bound <= self.limit else ROUGHLY):
                break
            for stretch in equity.falls(NEAR * depth):
                gradient, side = self.tangent(equity, stretch)
                rows.append(np.append(gradient, -1.0))
                sides.append(side - self.limit)
        if least <= self.limit:
            return safe
        raise NoSolutionError(
            f"max_drawdown: the least that the limits leave is {-math.expm1(-least):.3%}, expected one within "
            f"{self.max_drawdown:.3%}"
        )
