"""Groups that overlap: weights inside limits that no factor of a single group makes.

Scope: the projection where groups share strategies and none lies within the other. Not here: nested and disjoint
groups, which need no solver (``normalise``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from weights_pipeline.core.targets.normalise import Fitted, Floats, Group

_LOW, _FREE, _HIGH = -1, 0, 1
_NONE = Fraction(-1)
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

    A quadratic program tells which limits hold. Given these the :math:`y` solve linear equations, one for each group
    whose limit holds, and all conditions are verified, in rational numbers: no digit of the answer is the solver's, and
    the order of strategies is of no account.

    Parameters
    ----------
    weights, lower, upper, gross, slack
        See :func:`~weights_pipeline.core.targets.normalise.fit_within`. Weights of zero stay at their lower bounds,
        unless the others cannot reach what is asked for: then they share that in proportion to their upper bounds.
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


class _Projection:
    """One program, in rational numbers; limits that contradict each other by no more than rounding do not."""

    def __init__(self, weights: Floats, lower: Floats, upper: Floats, groups: Sequence[Group]) -> None:
        self.floats, self.groups = (weights, lower, upper), groups
        self.weights, self.lower, self.upper = ([Fraction(each) for each in of.tolist()] for of in self.floats)
        self.members = [group.members.tolist() for group in groups]
        self.of = [[g for g, own in enumerate(self.members) if at in own] for at in range(len(weights))]
        self.floor = [Fraction(group.floor) for group in groups]
        everything = sum(self.upper, Fraction(groups[0].cap))
        self.cap = [Fraction(group.cap) if np.isfinite(group.cap) else everything for group in groups]
        self.rounding = Fraction(groups[0].cap) * Fraction(_ROUNDING)

    def solved(self) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
        """Weights, the factor of each, and :math:`y` of each group."""
        status, active = self._guess()
        for _ in range(8 * (len(status) + len(active)) + 32):
            prices = self._prices(status, active)
            factors = [1 + sum((prices[g] for g in own), Fraction(0)) for own in self.of]
            free = [weight * factor for weight, factor in zip(self.weights, factors, strict=True)]
            bounds = zip(status, free, self.lower, self.upper, strict=True)
            made = [low if side == _LOW else high if side == _HIGH else own for side, own, low, high in bounds]
            if not self._mended(status, active, made, free, prices):
                return made, factors, prices
        raise ValueError("groups: which of their limits hold was not found")

    def _guess(self) -> tuple[list[int], list[int]]:
        """Which bounds and which limits of groups hold, as the solver has them."""
        # Whoever has no groups that overlap needs no solver.
        from weights_pipeline.core.targets.optimise.program import SolverError, minimum

        weights, lower, upper = self.floats
        vary = (weights > 0) & (upper > lower)
        rest, unit = np.where(vary, 0.0, lower), np.eye(int(vary.sum()))
        rows = np.array([np.isin(np.arange(len(weights)), own)[vary] for own in self.members], dtype=float)
        held = np.array([math.fsum(rest[group.members]) for group in self.groups])
        most = np.array([float(cap) for cap in self.cap]) - held
        least = np.array([group.floor for group in self.groups]) - held
        # In units in which the objective is a sum of squares, however small a weight is.
        by = np.sqrt(weights[vary])
        sides = np.concatenate([most, -least]) + self.groups[0].cap * _ROUNDING
        below = (
            np.vstack([rows * by, -rows * by, unit, -unit]),
            np.concatenate([sides, upper[vary] / by, -lower[vary] / by]),
        )
        nothing = np.empty((0, len(unit))), np.empty(0)
        try:
            found = minimum(unit, -by, equal=nothing, below=below)
        except SolverError as error:
            if error.contradiction:
                raise ValueError(f"groups: no weights keep all limits: {error}") from None
            # From nothing it takes longer, and comes to the same.
            return [_FREE if varies else _LOW for varies in vary], [_HIGH, *[_FREE] * (len(self.groups) - 1)]
        # In the answer of an interior point method, what holds has a price above the room it leaves.
        holds = found.multipliers > below[1] - below[0] @ found.x
        caps, floors = holds[: len(rows)], holds[len(rows) : 2 * len(rows)]
        highs, lows = np.split(holds[2 * len(rows) :], 2)
        status = np.full(len(weights), _LOW)
        status[vary] = np.where(highs, _HIGH, np.where(lows, _LOW, _FREE))
        return status.tolist(), np.where(caps, _HIGH, np.where(floors, _LOW, _FREE)).tolist()

    def _give_way(self, status: list[int], active: list[int], group: int, side: int) -> None:
        """Of a group whose limit cannot hold free the largest strategy that is in its way, or else the limit."""
        held = [at for at in self.members[group] if status[at] == side and self.lower[at] < self.upper[at]]
        if held := [at for at in held if self.weights[at] > 0]:
            status[max(held, key=lambda at: (self.weights[at], -at))] = _FREE
        else:
            active[group] = _FREE

    def _prices(self, status: list[int], active: list[int]) -> list[Fraction]:
        """:math:`y` by which groups whose limits hold come to them; those that cannot hold with the others do not."""
        own = [g for g, side in enumerate(active) if side]
        rows = list[tuple[int, list[Fraction]]]()
        for h in own:
            row, left = [Fraction(0)] * len(own), self.floor[h] if active[h] == _LOW else self.cap[h]
            for at in self.members[h]:
                if status[at] != _FREE:
                    left -= self.lower[at] if status[at] == _LOW else self.upper[at]
                    continue
                left -= self.weights[at]
                for column, g in enumerate(own):
                    row[column] += self.weights[at] * (g in self.of[at])
            rows.append((h, [*row, left]))
        pivots = list[int]()
        for column in range(len(own)):
            place = len(pivots)
            found = next((r for r in range(place, len(rows)) if rows[r][1][column]), None)
            if found is None:
                continue
            rows[place], rows[found] = rows[found], rows[place]
            chosen = rows[place][1]
            for r, (h, row) in enumerate(rows):
                if r != place and row[column]:
                    times = row[column] / chosen[column]
                    rows[r] = h, [mine - times * its for mine, its in zip(row, chosen, strict=True)]
            pivots.append(column)
        for h, row in rows[len(pivots) :]:
            if abs(row[-1]) > self.rounding:
                self._give_way(status, active, h, _LOW if row[-1] > 0 else _HIGH)
                return self._prices(status, active)
        prices = [Fraction(0)] * len(self.groups)
        for (_, row), column in zip(rows, pivots, strict=False):
            prices[own[column]] = row[-1] / row[column]
        return prices

    def _mended(
        self,
        status: list[int],
        active: list[int],
        made: Sequence[Fraction],
        free: Sequence[Fraction],
        prices: Sequence[Fraction],
    ) -> bool:
        """Correct what breaks its condition most, of the first kind of which any does; False where nothing does."""
        bounds = list(zip(made, free, self.lower, self.upper, status, strict=True))
        outside = [max(low - own, own - high) if side == _FREE else _NONE for own, _, low, high, side in bounds]
        if (at := self._worst(outside)) is not None:
            status[at] = _LOW if made[at] < self.lower[at] else _HIGH
            return True
        sums = [sum((made[at] for at in own), Fraction(0)) for own in self.members]
        broken = [
            _NONE if side else max(floor - total, total - cap)
            for total, floor, cap, side in zip(sums, self.floor, self.cap, active, strict=True)
        ]
        if (g := self._worst(broken)) is not None:
            active[g] = _LOW if sums[g] < self.floor[g] else _HIGH
            return True
        pulled = [
            _NONE if side == _FREE or low == high else own - low if side == _LOW else high - own
            for _, own, low, high, side in bounds
        ]
        if (at := self._worst(pulled)) is not None:
            status[at] = _FREE
            return True
        # A price is at most 0 at a cap and at least 0 at a floor; where both are the same it is either.
        wrong = [
            _NONE if floor == cap else price * side
            for price, side, floor, cap in zip(prices, active, self.floor, self.cap, strict=True)
        ]
        if (g := self._worst(wrong)) is not None:
            active[g] = _FREE
            return True
        return False

    def _worst(self, amounts: Sequence[Fraction]) -> int | None:
        """Where the largest amount is, the first of several, if it is more than rounding."""
        at = max(range(len(amounts)), key=amounts.__getitem__)
        return at if amounts[at] > self.rounding else None
