"""Groups that overlap: weights inside limits that no factor of a single group makes.

Scope: the projection where groups share strategies and none lies within the other. Not here: nested and disjoint
groups, which need no solver (``normalise``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from weights_pipeline.core.targets.normalise import Fitted, Floats, Group

_ROUNDING = 2.0**-42
"""Of gross, by which a limit may be missed where rounding of the limits themselves allows no better."""
_FAINT = 2.0**-24
"""What a weight of zero counts as, of its upper bound, where the others cannot reach what is asked for."""


def fit_to_overlapping(
    weights: Floats, lower: Floats, upper: Floats, groups: Sequence[Group], *, gross: float, slack: float = 0.0
) -> Fitted:
    r"""Bring weights inside all limits as :func:`~weights_pipeline.core.targets.normalise.fit_to_groups` does.

    The weights are those with the least :math:`\sum_i (w_i - v_i)^2 / v_i` to the given ones :math:`v`. By the
    conditions of Karush, Kuhn and Tucker :math:`w_i = \mathrm{clip}(v_i (1 + y_0 + \sum_{g \ni i} y_g), l_i, u_i)`,
    with :math:`y_0` of gross and a :math:`y_g` of each group, which is at most 0 where its cap holds, at least 0 where
    its floor does, and 0 otherwise. Where groups are nested these are the weights of ``fit_to_groups``: a strategy
    has one factor there too.

    A quadratic program tells which limits hold. From there the dual method of Goldfarb and Idnani (Mathematical
    Programming 27, 1983) comes to the answer in rational numbers: no digit is the solver's, and the order of strategies
    is of no account.

    Parameters
    ----------
    weights, lower, upper, gross, slack
        See :func:`~weights_pipeline.core.targets.normalise.fit_within`. Weights of zero stay at their lower bounds,
        unless the others cannot reach what is asked for: then they count as a tiny share of their upper bounds, the
        same of each.
    groups
        Any.

    Returns
    -------
    Fitted
        Weights that several groups hold name each of them.

    Raises
    ------
    ValueError
        No weights are inside all limits.
    """
    moving = weights > upper * np.finfo(np.float64).tiny
    faint = ~moving & (upper > lower)
    given = np.where(moving, weights, 0.0)
    every = (Group("gross", np.arange(len(weights), dtype=np.intp), gross - slack, gross), *groups)
    try:
        exact, factors, prices = _Projection(given, lower, upper, every).solved()
    except ValueError:
        if not faint.any():
            raise
        most = float((given[moving] / upper[moving]).max(initial=0.0)) or 1.0
        given = np.where(faint, upper * most * _FAINT, given)
        exact, factors, prices = _Projection(given, lower, upper, every).solved()
    fitted = np.clip(np.array([float(weight) for weight in exact]), lower, upper)
    scale = np.array([max(float(factor), 0.0) for factor in factors])
    # What is stored is made again from its factor; a weight of zero has its factor on its upper bound.
    shown = np.where(moving, weights, upper)
    off = faint & (fitted > lower)
    scale[off] = fitted[off] / upper[off]
    made = np.clip(scale * shown, lower, upper)
    fitted = np.where(moving | off, made, fitted)
    inside = (fitted > lower) & (fitted < upper) & moving
    held = np.full(len(weights), "", dtype=object)
    for group, price in zip(groups, prices[1:], strict=True):
        for at in group.members[inside[group.members]].tolist() if price else ():
            side = "floor" if price > 0 else "cap"
            held[at] = " and ".join(filter(None, [held[at], f"{side} of {group.name}"]))
    return Fitted(fitted, scale, held.astype(str))


class _Limit(NamedTuple):
    """A cap, of side 1, or a floor, of side -1, of a group or else of one strategy."""

    grouped: bool
    at: int
    side: int


_Prices = dict[_Limit, Fraction]
"""What limits that hold cost, at least 0 each; their sums of weights are linearly independent."""


class _Projection:
    """One program, in rational numbers; limits that contradict each other by no more than rounding do not.

    Weights are always the nearest to those limits alone that have a price. So the distance grows with each limit that
    is met, no set of them comes twice, and the method ends wherever it starts.
    """

    def __init__(self, weights: Floats, lower: Floats, upper: Floats, groups: Sequence[Group]) -> None:
        self.floats, self.groups = (weights, lower, upper), groups
        self.weights, self.lower, highs = ([Fraction(each) for each in of.tolist()] for of in self.floats)
        self.vary = np.flatnonzero((weights > 0) & (upper > lower)).tolist()
        self.members = [set(group.members.tolist()) for group in groups]
        self.of = [[g for g, own in enumerate(self.members) if at in own] for at in range(len(weights))]
        self.most = {_Limit(True, g, 1): Fraction(each.cap) for g, each in enumerate(groups) if np.isfinite(each.cap)}
        self.most |= {_Limit(True, g, -1): -Fraction(each.floor) for g, each in enumerate(groups)}
        self.most |= {_Limit(False, at, 1): highs[at] for at in self.vary}
        self.most |= {_Limit(False, at, -1): -self.lower[at] for at in self.vary}
        self.rounding = Fraction(groups[0].cap) * Fraction(_ROUNDING)

    def solved(self) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
        """Weights, the factor of each, and :math:`y` of each group."""
        prices, missed = self._start(), set[_Limit]()
        while True:
            of = self._of_groups(prices)
            factors = [1 + sum((of[g] for g in own), Fraction(0)) for own in self.of]
            made = list(self.lower)
            for at in self.vary:
                made[at] = self.weights[at] * factors[at]
            made = self._held(made, prices)
            sums = [sum((made[at] for at in own), Fraction(0)) for own in self.members]
            worst, beyond = None, Fraction(0)
            for limit, most in self.most.items():
                miss = (sums if limit.grouped else made)[limit.at] * limit.side - most
                # One that rounding forbids is given up, but only as far as rounding goes.
                if miss > max(beyond, self.rounding if limit in missed else 0):
                    worst, beyond = limit, miss
            if worst is None:
                return made, factors, of
            found = self._met(worst, beyond, prices)
            if found is None:
                missed.add(worst)
            else:
                prices = found

    def _start(self) -> _Prices:
        """Prices of the limits that hold by the solver, without those that have none."""
        prices = dict.fromkeys(self._guess(), Fraction(0))
        while True:
            groups, free = self._apart(prices)
            given = self._held([self.weights[at] if at in free else low for at, low in enumerate(self.lower)], prices)
            left = [
                self.most[limit] * limit.side - sum((given[at] for at in self.members[limit.at]), Fraction(0))
                for limit in groups
            ]
            solution = self._shared(groups, free, left)
            of = {limit.at: y for limit, y in zip(groups, solution, strict=True) if y is not None}
            for limit in list(prices):
                if limit.grouped:
                    price = -limit.side * of.get(limit.at, Fraction(limit.side))
                else:
                    factor = 1 + sum((of.get(g, Fraction(0)) for g in self.of[limit.at]), Fraction(0))
                    price = limit.side * factor - self.most[limit] / self.weights[limit.at]
                prices[limit] = price
            below = [limit for limit, price in prices.items() if price < 0]
            if not below:
                return prices
            # Those of groups first, by which those of strategies are too low.
            for limit in [limit for limit in below if limit.grouped] or below:
                del prices[limit]

    def _guess(self) -> list[_Limit]:
        """Limits that hold, as the solver has them; none where it loses its way."""
        # Whoever has no groups that overlap needs no solver.
        from weights_pipeline.core.targets.optimise.program import SolverError, minimum

        weights, lower, upper = (each[self.vary] for each in self.floats)
        # In units in which the objective is a sum of squares, however small a weight is.
        by, unit = np.sqrt(weights), np.eye(len(weights))
        limits = [limit for limit in self.most if limit.grouped]
        rows, sides = list[Floats](), list[float]()
        for limit in limits:
            rows.append(limit.side * by * [at in self.members[limit.at] for at in self.vary])
            rest = math.fsum(float(self.lower[at]) for at in self.members[limit.at].difference(self.vary))
            sides.append(float(self.most[limit]) - limit.side * rest + self.groups[0].cap * _ROUNDING)
        below = np.vstack([*rows, unit, -unit]), np.concatenate([sides, upper / by, -lower / by])
        try:
            found = minimum(unit, -by, equal=(np.empty((0, len(unit))), np.empty(0)), below=below)
        except SolverError:
            return []
        limits += [_Limit(False, at, side) for side in (1, -1) for at in self.vary]
        # In the answer of an interior point method, what holds has a price above the room it leaves.
        prices, room = found.multipliers, below[1] - below[0] @ found.x
        by_price = sorted(
            (price, limit) for price, left, limit in zip(prices, room, limits, strict=True) if price > left
        )
        # Of a cap and a floor that are the same, the one that costs more is kept.
        return list({limit[:2]: limit for _, limit in by_price}.values())

    def _met(self, new: _Limit, beyond: Fraction, prices: _Prices) -> _Prices | None:
        """Prices with which one more limit is met, without those that fall to 0; None where rounding forbids it."""
        prices, price = dict(prices), Fraction(0)
        within = self.members[new.at] if new.grouped else {new.at}
        while True:
            groups, free = self._apart(prices)
            own = [
                sum((self.weights[at] for at in within & self.members[limit.at] & free), Fraction(0))
                for limit in groups
            ]
            solution = self._shared(groups, free, own)
            of = {limit.at: y for limit, y in zip(groups, solution, strict=True) if y is not None}
            # Per unit of the new price: what of it the groups that hold do not take back, and what other prices lose.
            rest = [
                (at in within) - sum((of.get(g, Fraction(0)) for g in self.of[at]), Fraction(0))
                for at in range(len(self.of))
            ]
            slope = sum((self.weights[at] * rest[at] ** 2 for at in free), Fraction(0))
            falls = {
                limit: limit.side * new.side * (of[limit.at] if limit.grouped else rest[limit.at]) for limit in prices
            }
            steps = {limit: prices[limit] / fall for limit, fall in falls.items() if fall > 0}
            first = min(steps.values(), default=None)
            if first is None and not slope:
                if beyond > self.rounding:
                    raise ValueError("groups: no weights keep all limits")
                return None
            step = min(each for each in (first, beyond / slope if slope else None) if each is not None)
            price, beyond = price + step, beyond - step * slope
            prices = {limit: one - step * falls[limit] for limit, one in prices.items()}
            if not beyond:
                return {**prices, new: price}
            del prices[min(limit for limit, each in steps.items() if each == step)]

    def _apart(self, prices: _Prices) -> tuple[list[_Limit], set[int]]:
        """Limits of groups that hold, and strategies that no limit of their own holds."""
        return [limit for limit in prices if limit.grouped], {
            at for at in self.vary if not {_Limit(False, at, 1), _Limit(False, at, -1)} & prices.keys()
        }

    def _held(self, weights: list[Fraction], prices: _Prices) -> list[Fraction]:
        """Weights, those at their limits that limits of their own hold."""
        for limit in prices:
            if not limit.grouped:
                weights[limit.at] = self.most[limit] * limit.side
        return weights

    def _of_groups(self, prices: _Prices) -> list[Fraction]:
        """:math:`y` of each group."""
        of = [Fraction(0)] * len(self.groups)
        for limit, price in prices.items():
            if limit.grouped:
                of[limit.at] -= limit.side * price
        return of

    def _shared(self, groups: Sequence[_Limit], free: set[int], sums: Sequence[Fraction]) -> list[Fraction | None]:
        """:math:`y` of groups that add so much to the sum of each; None of one that the others before it determine."""
        own = [self.members[limit.at] & free for limit in groups]
        rows = [
            [*(sum((self.weights[at] for at in mine & its), Fraction(0)) for its in own), total]
            for mine, total in zip(own, sums, strict=True)
        ]
        # Symmetric and positive semidefinite: the diagonal tells whether anything is left of a group.
        pivots = list[int]()
        for column, chosen in enumerate(rows):
            if not chosen[column]:
                continue
            pivots.append(column)
            for row in rows:
                if row is not chosen and row[column]:
                    times = row[column] / chosen[column]
                    row[:] = [mine - times * its for mine, its in zip(row, chosen, strict=True)]
        return [row[-1] / row[column] if column in pivots else None for column, row in enumerate(rows)]
