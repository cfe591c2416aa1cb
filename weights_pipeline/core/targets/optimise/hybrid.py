r"""Hybrid objective: a share of daily Sharpe and a share of annual growth, under a limit on drawdown.

Scope: the objective and the search for its maximum. Not here: what a drawdown asks of weights (``drawdown``), and the
solver (``program``).

With constant weights w the portfolio earns :math:`p = Rw` a day, cash nothing. What is maximised is

.. math:: F(w) = a\,\frac{\bar p}{s(p)} + \frac{1 - a}{c}\,\mathrm{CAGR}(w), \qquad
          1 + \mathrm{CAGR}(w) = \prod_t (1 + p_t)^{P/T}

with s the sample standard deviation (ddof 1), T observations, P observations a year, a ``sharpe_share`` and c
``cagr_scale``.

F is not concave and may have several maxima. But of portfolios with the same mean it prefers the one with the least
variance: exactly in its first term, and in its second up to moments beyond the variance. So the search is one of a
single dimension, along the efficient frontier (Markowitz, J. Finance 7, 1952): what is found by climbing from one
portfolio is the best of all when, at no mean, the least variance there can be allows more. Lower bounds of that
variance are tangents of the frontier, each the answer of one convex program. Where higher moments count, as with
strategies that lose a little most days and gain much on a few, portfolios all along the frontier are climbed from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.drawdown import Cut, Equity, Region, Stretch
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Optimum, Problem
from weights_pipeline.core.targets.optimise.program import minimise
from weights_pipeline.core.targets.optimise.support import choose

Bools = NDArray[np.bool_]

MIN_OBSERVATIONS = 3
"""Fewer say nothing of a spread around a mean."""
CONVERGED = 1e-8
"""Step in weights below which a climb has arrived."""
ARRIVED = 1e-6
"""Step of Newton's method after which there is none to take, as each squares what is left."""
CLIMB = 100
"""Steps of a climb, at most; Newton's method takes three to six."""
SEARCH, VICINITY = 2e-3, 0.2
"""Gain in the objective, relative, that is not searched for at means within this share of the best portfolio's."""
SKEWED = 0.01
"""Share of the annual growth factor that is too much to be owed to moments beyond the second."""
GROWTH = 1.0
"""Appetite of who wants growth alone, which is log(1 + m) - v/2 or thereabouts."""
TANGENTS = 60
"""Tangents of the frontier, at most; three to ten are common."""
MEANS = 64
"""Means at which tangents are compared, besides those where they cross."""
NEWTON = 12
"""Steps of Newton's method, at most, before another program is asked what binds."""
DEPENDENT = 1e-13
"""Regularisation of its equations, which lets constraints that depend on each other bind together."""
ROUNDING = 1e-10
"""Fall of the objective, relative, that is rounding."""
LEAST_MEAN = 1e-3
"""Share of the highest mean from which on the frontier is searched where it begins with a loss."""
FLAT = 1e-12
"""Volatility, relative to the mean, which is rounding."""
EXTREME = 700.0
"""Annual growth, a logarithm, beyond which floating point ends."""


@dataclass(frozen=True, kw_only=True)
class HybridObjective:
    """Parameters of the objective and its constraints.

    Parameters
    ----------
    sharpe_share
        Share of the daily Sharpe ratio at a risk-free rate of 0, below 1; the rest is that of growth, without which
        any scale would be as good.
    cagr_scale
        Annual growth that counts as much as a daily Sharpe of 1.
    max_drawdown
        Limit on the maximum drawdown in the window, a fraction, anchored at 1.0 before the first session.
    ridge
        Share of its variance that is added to each strategy's in search, so that duplicates get equal weights. A
        billionth at least; a millionth costs less than that of the objective.
    smallest
        What a weight is at least, if it is not zero; 0 for any.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    sharpe_share: float = 0.85
    cagr_scale: float = 2.0
    max_drawdown: float = 0.06
    ridge: float = 1e-6
    smallest: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.sharpe_share < 1:
            raise ValueError(f"sharpe_share: expected a share from 0 to below 1, got {self.sharpe_share!r}")
        if not 0 < self.cagr_scale < math.inf:
            raise ValueError(f"cagr_scale: expected a number above 0, got {self.cagr_scale!r}")
        if not 0 < self.max_drawdown < 1:
            raise ValueError(f"max_drawdown: expected a fraction such as 0.06 for 6%, got {self.max_drawdown!r}")
        if not 1e-9 <= self.ridge <= 1:
            raise ValueError(f"ridge: expected a share from 1e-9 to 1, got {self.ridge!r}")
        if not 0 <= self.smallest < 1:
            raise ValueError(f"smallest: expected a weight such as 0.01 for 1%, 0 for none, got {self.smallest!r}")


def solve(problem: Problem, objective: HybridObjective) -> Optimum:
    """Find the weights with the highest objective.

    Parameters
    ----------
    problem
        Returns, limits and gross.
    objective
        Parameters.

    Returns
    -------
    Optimum
        Limits, gross and drawdown limit are kept to the last bit. ``parts`` are daily ``sharpe``, ``cagr``,
        ``volatility`` a year, ``max_drawdown`` (a positive fraction) and ``gross``. A strategy whose returns are all
        the same gets its lower limit. Strategies that only the ridge tells apart share their weight equally.

    Raises
    ------
    NoSolutionError
        There are fewer than three observations; no returns vary; no weights have a positive mean, or none that keep
        the drawdown limit; the constraints contradict each other; or no weights reach the smallest.

    Notes
    -----
    Weights below the smallest are dropped or raised to it, whichever is better for the whole; see
    :func:`~weights_pipeline.core.targets.optimise.support.choose`.
    """
    window = _Window.of(problem, objective)
    problem = replace(problem, upper=_capped(problem, window))
    cuts: dict[Stretch, Cut] = {}

    def solved(tighter: Problem, near: Floats | None) -> _Book:
        search = _Search(window, Region(tighter, objective.max_drawdown, cuts))
        return search.best() if near is None else search.climb(search.book(near))

    whole = solved(problem, None)
    best, held = choose(problem, whole, objective.smallest, solved)
    return _optimum(problem, objective, window, best.weights, (whole.weights > 0) & (best.weights == 0), held)


def _capped(problem: Problem, window: _Window) -> Floats:
    """Upper limits, without room for strategies that did nothing; refuses what has no maximum."""
    varies = np.diag(window.covariance) > (FLAT * window.mean) ** 2
    if not varies.any():
        raise NoSolutionError("returns: those of each strategy are all the same, so there is no volatility")
    upper = np.where(varies, problem.upper, problem.lower)
    if math.fsum(upper) < problem.gross - problem.slack:
        raise NoSolutionError(
            f"limits: strategies whose returns vary may have {math.fsum(upper):.6g} in all, expected at least "
            f"{problem.gross - problem.slack:.6g}"
        )
    if not (window.mean[upper > 0] > 0).any():
        why = "the best is cash" if problem.slack == problem.gross else "of a negative Sharpe more risk would be better"
        raise NoSolutionError(f"returns: no strategy has a positive mean; {why}, and the objective has no maximum")
    return upper


def _optimum(
    problem: Problem, objective: HybridObjective, window: _Window, weights: Floats, dropped: Bools, held: str
) -> Optimum:
    if float((problem.returns @ weights).std(ddof=1)) ** 2 <= float(window.ridge @ weights**2):
        raise NoSolutionError("returns: there are weights that gain without volatility, so the Sharpe has no maximum")
    parts = problem.figures(weights)
    share = objective.sharpe_share
    return Optimum(
        weights=weights,
        objective=share * parts["sharpe"] + (1 - share) * parts["cagr"] / objective.cagr_scale,
        parts=parts,
        distances={
            "gross": problem.gross - parts["gross"],
            "max_drawdown": objective.max_drawdown - parts["max_drawdown"],
            **problem.distances(weights),
        },
        dropped=tuple(np.flatnonzero(dropped).tolist()),
        held=held,
    )


@dataclass(frozen=True, eq=False)
class _Window:
    """What the objective reads of a window.

    `covariance` includes the ridge; `sharpe` and `cagr` are what a unit of each is worth.
    """

    returns: Floats
    periods: float
    mean: Floats
    covariance: Floats
    ridge: Floats
    sharpe: float
    cagr: float

    @classmethod
    def of(cls, problem: Problem, objective: HybridObjective) -> _Window:
        returns = problem.returns
        if len(returns) < MIN_OBSERVATIONS:
            raise NoSolutionError(f"returns: expected at least {MIN_OBSERVATIONS} observations, got {len(returns)}")
        mean = np.ones(len(returns)) @ returns / len(returns)
        centred = returns - mean
        covariance = centred.T @ centred / (len(returns) - 1)
        ridge = objective.ridge * np.diag(covariance)
        share = objective.sharpe_share
        cagr = (1 - share) / objective.cagr_scale
        return cls(returns, problem.periods, mean, covariance + np.diag(ridge), ridge, share, cagr)

    def objective(self, mean: Floats | float, variance: Floats | float, growth: Floats | float) -> Floats:
        """F of portfolios with these means, variances and means of log(1 + p)."""
        annual = np.minimum(self.periods * growth, EXTREME)
        value: Floats = self.sharpe * mean / np.sqrt(variance) + self.cagr * np.expm1(annual)
        return value

    def growing(self, growth: float) -> float:
        """Slope of F in growth."""
        return self.cagr * self.periods * math.exp(min(max(self.periods * growth, -EXTREME), EXTREME))

    def appetite(self, mean: float, variance: float, growth: float) -> float:
        r"""Half the variance that F gives for a unit of mean: :math:`\tau = -F_m / 2F_v`.

        Where the efficient frontier is as steep, :math:`dv/dm = 2\tau`, F is stationary along it. Growth is taken as
        :math:`\log(1 + m) - v / 2(1 + m)^2`.
        """
        deviation = math.sqrt(variance)
        growing = self.growing(growth)
        gain = self.sharpe / deviation + growing / (1 + mean)
        return gain / (self.sharpe * mean / deviation**3 + growing / (1 + mean) ** 2)


class _Book:
    """A portfolio with the objective and its derivatives."""

    def __init__(self, window: _Window, equity: Equity) -> None:
        self.window, self.equity, self.weights = window, equity, equity.weights
        self._spread = window.covariance @ self.weights
        self.mean = float(window.mean @ self.weights)
        self.variance = float(self._spread @ self.weights)
        self.growth = float(equity.path[-1]) / len(window.returns) - float(window.ridge @ self.weights**2) / 2
        self._growing = window.growing(self.growth)

    @cached_property
    def objective(self) -> float:
        """F, with the ridge in the variance; cash has none."""
        if not self.variance:
            return -math.inf
        return float(self.window.objective(self.mean, self.variance, self.growth))

    @property
    def appetite(self) -> float:
        return self.window.appetite(self.mean, self.variance, self.growth)

    @cached_property
    def _growth_gradient(self) -> Floats:
        slopes = 1 / (1 + self.equity.portfolio) / len(self.window.returns)
        gradient: Floats = slopes @ self.window.returns - self.window.ridge * self.weights
        return gradient

    @cached_property
    def gradient(self) -> Floats:
        deviation = math.sqrt(self.variance)
        ratio = self.window.mean / deviation - self.mean / deviation**3 * self._spread
        return self.window.sharpe * ratio + self._growing * self._growth_gradient

    def curvature(self, prices: Mapping[Stretch, float]) -> Floats:
        """Hessian of the Lagrangian of −F, with these multipliers of the depths of stretches."""
        window, spread, deviation = self.window, self._spread, math.sqrt(self.variance)
        cross = np.outer(window.mean, spread)
        ratio = (cross + cross.T + self.mean * window.covariance) / deviation**3
        ratio -= 3 * self.mean / deviation**5 * np.outer(spread, spread)
        days = np.zeros(len(self.equity.path))
        for (start, end), price in prices.items():
            days[start] += price
            days[end] -= price
        days = (np.cumsum(days)[:-1] + self._growing / len(window.returns)) / (1 + self.equity.portfolio) ** 2
        growth = window.periods * np.outer(self._growth_gradient, self._growth_gradient)
        growth -= np.diag(window.ridge)
        return window.sharpe * ratio - self._growing * growth + (window.returns * days[:, None]).T @ window.returns


class _Frontier:
    """What is known of the efficient frontier: tangents from below, and how growth goes beyond two moments."""

    def __init__(self, window: _Window, lowest: float, highest: float) -> None:
        self.window = window
        self.means = np.geomspace(lowest, highest, MEANS)
        self.tangents: list[tuple[float, float, float]] = []
        self.excess: dict[float, float] = {}

    def touch(self, appetite: float, weights: Floats) -> None:
        r"""Learn the tangent :math:`v \ge v_w + 2\tau (m - m_w)` at weights w that are efficient at appetite τ."""
        variance = float(weights @ self.window.covariance @ weights)
        self.tangents.append((appetite, float(self.window.mean @ weights), variance))

    def see(self, book: _Book) -> None:
        """Learn by how much the growth of a portfolio differs from that of its mean and variance."""
        self.excess[book.mean] = book.growth - float(_growth(book.mean, book.variance))

    def growth(self, means: Floats | float, variances: Floats | float) -> Floats:
        """Growth at these means and variances."""
        seen = sorted(self.excess)
        return _growth(means, variances) + np.interp(means, seen, [self.excess[mean] for mean in seen])

    def is_skewed(self, book: _Book) -> bool:
        """Whether mean and variance alone do not tell how good a portfolio seen is, nor those beside it."""
        return self.window.periods * abs(self.excess[book.mean]) > SKEWED

    def most(self, best: _Book | None) -> tuple[float, float]:
        """Find the highest objective that the tangents allow, and the appetite with which to look there.

        Around the best portfolio a little more is allowed than it has, as there it is the highest.
        """
        appetites, touched, variances = np.array(self.tangents).T
        level = variances - 2 * appetites * touched
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = np.subtract.outer(level, level) / (-2 * np.subtract.outer(appetites, appetites))
        means = np.append(self.means, crossings[(crossings > self.means[0]) & (crossings < self.means[-1])])
        least = (level[:, None] + 2 * np.outer(appetites, means)).max(axis=0)
        growth = self.growth(means, least)
        bound = self.window.objective(means, least, growth)
        if best is not None:
            bound[np.abs(means - best.mean) < VICINITY * best.mean] -= SEARCH * abs(best.objective)
        at = int(bound.argmax())
        appetite = self.window.appetite(float(means[at]), float(least[at]), float(growth[at]))
        if means[at] > touched.max():
            # Past the last tangent nothing tells how steep the frontier gets, so ask far on.
            appetite = max(appetite, 4 * float(appetites.max()))
        return float(bound[at]), appetite


class _Search:
    """The maximum of the objective over a region."""

    def __init__(self, window: _Window, region: Region) -> None:
        self.window, self.region = window, region

    def book(self, weights: Floats) -> _Book:
        """Return these weights, or the admissible ones on the way to them."""
        return _Book(self.window, self.region.reach(weights))

    def best(self) -> _Book:
        """Climb from either end of the frontier, then from wherever on it more is possible, until that is nowhere."""
        highest = self._highest_mean()
        low, efficient, appetite = self._low_end()
        frontier = _Frontier(self.window, low.mean if low.mean > 0 else LEAST_MEAN * highest, highest)
        frontier.touch(appetite, efficient)
        frontier.see(low)
        best, book = None, low
        for attempt in range(TANGENTS):
            if book.mean > 0 and (best is None or book.objective > best.objective or frontier.is_skewed(book)):
                climbed = self.climb(book)
                if best is None or climbed.objective > best.objective:
                    best = climbed
                    frontier.touch(best.appetite, best.weights)
                    frontier.see(best)
            bound, appetite = frontier.most(best) if attempt else (math.inf, GROWTH)
            if best is not None and bound <= best.objective:
                break
            book = self._see(frontier, appetite)
        if best is None:
            raise NoSolutionError("max_drawdown: no weights within the limits that keep it have a positive mean")
        return best

    def _see(self, frontier: _Frontier, appetite: float) -> _Book:
        """Go to the frontier at this appetite, as far as cuts tell where it is, and from there into the region."""
        efficient = self.region.minimise(self.window.covariance, -appetite * self.window.mean).x
        book = self.book(efficient)
        self.region.cut(book.equity)
        frontier.touch(appetite, efficient)
        frontier.see(book)
        return book

    def _highest_mean(self) -> float:
        """Mean of the portfolio with the highest, but for the drawdown limit: the best strategies at their caps."""
        region, mean = self.region, self.window.mean
        order = np.argsort(-mean, kind="stable")
        room = np.minimum(np.cumsum((region.upper - region.lower)[order]), region.gross - math.fsum(region.lower))
        highest = float(mean @ region.lower + np.diff(room, prepend=0.0) @ np.maximum(mean[order], 0.0))
        if highest <= 0:
            raise NoSolutionError("limits: no weights within them have a positive mean")
        return highest

    def _low_end(self) -> tuple[_Book, Floats, float]:
        """Where the frontier begins, as weights and appetite: with a lower mean nothing is better.

        With cash that is the highest Sharpe there is without caps, scaled up as far as it goes, as below this scale
        the Sharpe is the same and growth less; and the least variance otherwise.
        """
        window, region = self.window, self.region
        strategies = len(window.mean)
        if not region.cash:
            weights = region.minimise(window.covariance, np.zeros(strategies)).x
            return self.book(weights), weights, 0.0
        positive = -np.eye(strategies)[region.free], np.zeros(int(region.free.sum()))
        weights = minimise(window.covariance, -window.mean, equal=region.equal, below=positive)
        held = weights > CONVERGED * weights.max()
        scale = min(region.gross / math.fsum(weights[held]), float((region.upper[held] / weights[held]).min()))
        sums = [(group.cap, math.fsum(weights[group.members][held[group.members]])) for group in region.groups]
        scale = min([scale, *(cap / total for cap, total in sums if total > 0)])
        book = self.book(np.where(held, scale * weights, 0.0))
        return book, book.weights, book.variance / book.mean

    def climb(self, book: _Book) -> _Book:
        """Climb to a maximum nearby: sequential quadratic programs tell what binds, Newton's method the last digits.

        Where the objective is not concave its curvature is taken for none, so that each program has a solution.
        """
        prices: dict[Stretch, float] = {}
        for _ in range(CLIMB):
            self.region.cut(book.equity)
            values, vectors = np.linalg.eigh(book.curvature(prices))
            convex = (vectors * np.maximum(values, CONVERGED * values[-1])) @ vectors.T
            solution = self.region.minimise(convex, -book.gradient - convex @ book.weights)
            # In the answer of an interior point method, what binds has a price above the room it leaves.
            rows, sides = self.region.below
            costs, room = solution.multipliers, sides - rows @ solution.x
            binding = costs[: len(rows)] > room
            prices = {
                stretch: cost
                for cost, (stretch, (row, side)) in zip(
                    costs[len(rows) :].tolist(), self.region.cuts.items(), strict=True
                )
                if cost > side - row @ solution.x
            }
            higher = self._ascend(book, solution.x - book.weights)
            arrived = self._newton(higher, binding, prices)
            if arrived is not None or higher is book:
                return arrived or book
            # Where curvature was taken for none, steps are too short.
            book = self._extend(higher, higher.weights - book.weights)
        return book

    def _ascend(self, book: _Book, step: Floats) -> _Book:
        """Go as much of the step, halved until it is, as makes the objective higher."""
        while float(np.abs(step).max()) > CONVERGED:
            other = self.book(book.weights + step)
            if other.objective > book.objective:
                return other
            self.region.cut(other.equity)
            step = step / 2
        return book

    def _extend(self, book: _Book, step: Floats) -> _Book:
        """Go on in this direction in doubling steps as long as that makes the objective higher."""
        while (other := self.book(book.weights + step)).objective > book.objective:
            book, step = other, 2 * step
        return book

    def _newton(self, first: _Book, binding: Bools, prices: dict[Stretch, float]) -> _Book | None:
        """Solve for where the gradient is made up by what binds; None where that is not a maximum, or not nearby.

        A limit that is passed binds as well, and what turns out to have a negative price does not bind, the most
        negative first.
        """
        region, book = self.region, first
        equal, strategies, curvature = len(region.equal[1]), len(book.weights), book.curvature(prices)
        for _ in range(NEWTON):
            tangents = [region.tangent(book.equity, stretch) for stretch in prices]
            rows = np.vstack([region.equal[0], region.below[0][binding], *[row for row, _ in tangents]])
            sides = np.concatenate([region.equal[1], region.below[1][binding], [side for _, side in tangents]])
            system = np.diag(np.full(strategies + len(rows), -DEPENDENT))
            system[:strategies, :strategies] = curvature
            system[strategies:, :strategies] = rows
            system[:strategies, strategies:] = rows.T
            try:
                solution = np.linalg.solve(system, np.append(book.gradient, sides - rows @ book.weights))
            except np.linalg.LinAlgError:
                return None
            costs, wanted = solution[strategies + equal :], book.weights + solution[:strategies]
            limits = len(costs) - len(prices)
            passed = region.below[0] @ wanted > region.below[1] + CONVERGED
            if (costs < -CONVERGED).any():
                least = int(costs.argmin())
                if least < limits:
                    binding = binding.copy()
                    binding[np.flatnonzero(binding)[least]] = False
                else:
                    prices = {
                        stretch: price for at, (stretch, price) in enumerate(prices.items(), limits) if at != least
                    }
            elif passed.any():
                binding = binding | passed
            else:
                size, other = float(np.abs(wanted - book.weights).max()), self.book(wanted)
                if not other.variance or float(np.abs(other.weights - wanted).max()) > max(CONVERGED, size / 10):
                    return None
                book, prices = other, dict(zip(prices, costs[limits:].tolist(), strict=True))
                if size < ARRIVED:
                    return book if book.objective > first.objective - ROUNDING * abs(first.objective) else None
                curvature = book.curvature(prices)
        return None


def _growth(mean: Floats | float, variance: Floats | float) -> Floats:
    """Mean of log(1 + p), as far as mean and variance tell."""
    return np.log1p(mean) - variance / (2 * (1 + mean) ** 2)
