"""Normalisation: from multipliers of base weights to weights that add up to gross.

Scope: the arithmetic of budget and bounds. Not here: how multipliers arise (``methods``), and how weights move in time
(``core.realized``).

Sums are correctly rounded (``math.fsum``), hence independent of the order of strategies: permuting the
input permutes the output, bit for bit.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GROSS_TOLERANCE = 1e-9
"""Relative error in a sum of printed weights that counts as rounding."""


class Group(NamedTuple):
    """Strategies whose weights together have limits.

    Attributes
    ----------
    name
        What a book calls it.
    members
        Positions of its strategies, shape (m,).
    floor, cap
        Smallest and largest sum of their weights; the cap is infinite where there is none.
    """

    name: str
    members: npt.NDArray[np.intp]
    floor: float
    cap: float

    def keeps(self, weights: Floats, rounding: float) -> bool:
        """Whether weights, shape (n,), add up to no less than the floor and no more than the cap, but for rounding."""
        return self.floor - rounding <= math.fsum(weights[self.members]) <= self.cap + rounding

    def beside(self, held: Floats, free: npt.NDArray[np.bool_]) -> Group:
        """The group among the strategies that are free, with its limits less what the others hold."""
        own = free[self.members]
        rest = math.fsum(held[self.members][~own])
        members = (np.cumsum(free) - 1)[self.members[own]]
        return Group(self.name, members, max(self.floor - rest, 0.0), max(self.cap - rest, 0.0))


class Fitted(NamedTuple):
    """Weights inside all limits; arrays of shape (n,).

    Attributes
    ----------
    weights
        Inside their bounds to the last bit.
    scale
        The factor of each: the common one, or that of its group where a limit of the group holds.
    held
        Which limit of which group holds each, such as ``cap of trend``; empty where none does.
    """

    weights: Floats
    scale: Floats
    held: npt.NDArray[np.str_]


def proportional(base: Floats, multipliers: Floats, *, gross: float) -> tuple[Floats, float]:
    r"""Scale tilted base weights to gross: :math:`w_i = c\,b_i m_i` with :math:`c = G / \sum_j b_j m_j`.

    Multiples of base are not bounded: the scale is common, so a strategy whose multiplier is at its floor
    can end below the floor times its base weight. :func:`capped` keeps both bounds.

    Parameters
    ----------
    base
        Base weights :math:`b`, shape (n,), finite and non-negative.
    multipliers
        Multipliers :math:`m`, shape (n,), finite and non-negative.
    gross
        The sum :math:`G` to reach, positive.

    Returns
    -------
    weights : ndarray, shape (n,)
    scale : float
        The factor :math:`c`.

    Raises
    ------
    ValueError
        An input is negative or not finite, or every product of base weight and multiplier is zero.
    """
    _require_non_negative(base=base, multipliers=multipliers)
    tilted = base * multipliers
    total = math.fsum(tilted)
    if not total > 0:
        raise ValueError(f"multipliers: every base weight times multiplier is zero, cannot reach gross {gross:g}")
    scale = gross / total
    return scale * tilted, scale


def capped(base: Floats, multipliers: Floats, *, floor: float, cap: float, gross: float) -> tuple[Floats, float]:
    r"""Scale tilted base weights to gross inside multiples of base.

    The one :math:`c` with :math:`\sum_i \mathrm{clip}(c\,b_i m_i,\ f b_i,\ k b_i) = G`; see
    :func:`fit_to_gross`.

    Parameters
    ----------
    base
        Base weights :math:`b`, shape (n,), finite and non-negative. A zero stays zero.
    multipliers
        Multipliers :math:`m`, shape (n,), finite and non-negative.
    floor, cap
        Smallest and largest multiple of base, :math:`0 \le f \le k`.
    gross
        The sum :math:`G` to reach.

    Returns
    -------
    weights : ndarray, shape (n,)
        Inside ``[floor * base, cap * base]`` to the last bit.
    scale : float
        The factor :math:`c`.

    Raises
    ------
    ValueError
        An input is negative or not finite, or the bounds leave no weights that add up to gross.
    """
    _require_non_negative(base=base, multipliers=multipliers)
    return fit_to_gross(base * multipliers, floor * base, cap * base, gross=gross)


def fit_to_gross(weights: Floats, lower: Floats, upper: Floats, *, gross: float) -> tuple[Floats, float]:
    r"""Scale weights by one factor, clipped to bounds, so that they add up to gross.

    :math:`S(c) = \sum_i \mathrm{clip}(c\,w_i, l_i, u_i)` does not decrease in :math:`c` and is linear
    between the breakpoints :math:`l_i/w_i` and :math:`u_i/w_i`. The breakpoints are sorted, the segment on
    which :math:`S` passes gross is found by bisection, and the linear equation on it is solved: O(n log n),
    no iteration and no tolerance, and the sum is exact to rounding. Where no bound holds a weight, the
    result is that of :func:`proportional`.

    Weights of zero stay at their lower bounds. When even all others at their upper bounds miss gross, those
    zeros share the rest in proportion to their upper bounds, the limit of equally small multipliers.

    Parameters
    ----------
    weights
        Weights before scaling, shape (n,), finite and non-negative.
    lower, upper
        Bounds, shape (n,), ``0 <= lower <= upper``, finite.
    gross
        The sum to reach.

    Returns
    -------
    weights : ndarray, shape (n,)
        Inside ``[lower, upper]`` to the last bit.
    scale : float
        The factor :math:`c`; where zeros share a rest, the factor on their upper bounds.

    Raises
    ------
    ValueError
        An input is negative or not finite, ``lower`` exceeds ``upper``, or gross lies outside
        ``[sum(lower), sum(upper)]`` by more than rounding.
    """
    _require_non_negative(weights=weights, lower=lower, upper=upper)
    if (lower > upper).any():
        raise ValueError("bounds: a lower bound exceeds its upper bound")
    least, most = math.fsum(lower), math.fsum(upper)
    slack = GROSS_TOLERANCE * abs(gross)
    if not least - slack <= gross <= most + slack:
        raise ValueError(
            f"gross: {gross:.12g} cannot be reached, the bounds allow sums from {least:.12g} to {most:.12g}"
        )
    # A smaller weight would overflow its breakpoints; it is zero for every purpose.
    moving = weights > upper * np.finfo(np.float64).tiny
    zeros = ~moving & (upper > lower)
    if zeros.any() and gross > math.fsum(np.where(moving, upper, lower)):
        room = upper[zeros]
        rest = min(gross - math.fsum(upper[~zeros]), math.fsum(room))
        shared, scale = fit_to_gross(room, lower[zeros], room, gross=rest)
        result = upper.copy()
        result[zeros] = shared
        return result, scale
    result = lower.copy()
    if not moving.any():
        return result, 0.0
    w, low, high, held = weights[moving], lower[moving], upper[moving], lower[~moving].tolist()

    def total(scale: float) -> float:
        return math.fsum([*np.clip(scale * w, low, high).tolist(), *held])

    leaves_low, meets_high = low / w, high / w
    breakpoints = np.sort(np.concatenate([leaves_low, meets_high])).tolist()
    with np.errstate(over="ignore"):
        passed = bisect_right(breakpoints, gross, key=total)
        left, right = breakpoints[max(passed - 1, 0)], breakpoints[min(passed, len(breakpoints) - 1)]
        at_low, at_high = leaves_low > left, meets_high < right
        slope = math.fsum(w[~at_low & ~at_high])
        fixed = [*low[at_low].tolist(), *high[at_high].tolist(), *held]
        exact = math.fsum([gross, *(-x for x in fixed)]) / slope if slope > 0 else left
        scale = min(max(exact, left), right)
        result[moving] = np.clip(scale * w, low, high)
    return result, scale


def fit_within(weights: Floats, lower: Floats, upper: Floats, *, gross: float, slack: float) -> tuple[Floats, float]:
    r"""Clip weights to bounds and, where their sum is not from gross less slack to gross, bring it to the nearer end.

    Parameters
    ----------
    weights, lower, upper
        See :func:`fit_to_gross`.
    gross, slack
        Most that the weights may add up to, and how far below it they may stay.

    Returns
    -------
    weights : ndarray, shape (n,)
        Inside ``[lower, upper]`` to the last bit.
    scale : float
        The common factor; 1.0 where clipping was enough.

    Raises
    ------
    ValueError
        See :func:`fit_to_gross`.
    """
    _require_non_negative(weights=weights, lower=lower, upper=upper)
    clipped = np.clip(weights, lower, upper)
    total = math.fsum(clipped)
    if slack > 0 and gross - slack <= total <= gross * (1 + GROSS_TOLERANCE):
        return clipped, 1.0
    return fit_to_gross(weights, lower, upper, gross=gross - slack if total < gross - slack else gross)


def overlap(groups: Sequence[Group]) -> bool:
    """Whether two groups share strategies and neither lies within the other."""
    members = [set(group.members.tolist()) for group in groups]
    return any(one & other and not (one <= other or other <= one) for one, other in combinations(members, 2))


def fit_to_groups(
    weights: Floats, lower: Floats, upper: Floats, groups: Sequence[Group], *, gross: float, slack: float = 0.0
) -> Fitted:
    r"""Scale weights as :func:`fit_within` does, and keep the limits of groups as well.

    The weights are those inside all limits with the least relative entropy
    :math:`\sum_i w_i (\log(w_i / v_i) - 1)` to the given ones :math:`v`, which is what one factor, clipped, comes to
    where there are no groups. By the conditions of Karush, Kuhn and Tucker each group whose limit holds has a factor of
    its own: :math:`w_i = \mathrm{clip}(c_{g(i)} v_i, l_i, u_i)`.

    Groups that are nested or disjoint need no solver. The weights of a group rise with its factor and with nothing
    else, so that its floor and cap are the same as narrower bounds of its members: the weights that add up to them.
    From the innermost groups outwards each narrows its members' bounds by :func:`fit_to_gross`, and one more such step
    reaches gross: O(n log n) for each level, without iteration or tolerance.

    Parameters
    ----------
    weights, lower, upper, gross, slack
        See :func:`fit_within`.
    groups
        A group after all that lie within it. Where two overlap and neither lies within the other, see
        :func:`~weights_pipeline.core.targets.overlap.fit_to_overlapping`.

    Returns
    -------
    Fitted
        Sums of groups and of all are exact to rounding; without groups, what :func:`fit_within` gives.

    Raises
    ------
    ValueError
        See :func:`fit_to_gross`; limits of a group that its members cannot keep are named.
    """
    nothing = np.full(len(weights), "", dtype=object)
    if overlap(groups):
        # It imports this module.
        from weights_pipeline.core.targets.overlap import fit_to_overlapping

        return fit_to_overlapping(weights, lower, upper, groups, gross=gross, slack=slack)
    if not groups:
        fitted, common = fit_within(weights, lower, upper, gross=gross, slack=slack)
        return Fitted(fitted, np.full_like(fitted, common), nothing.astype(str))
    low, high = lower.copy(), upper.copy()
    least, most = np.zeros_like(weights), np.full_like(weights, math.inf)
    floors, caps = nothing.copy(), nothing.copy()
    for group in groups:
        at = group.members
        try:
            if math.fsum(low[at]) < group.floor:
                low[at], factor = fit_to_gross(weights[at], low[at], high[at], gross=group.floor)
                least[at], floors[at] = np.clip(factor, least[at], most[at]), f"floor of {group.name}"
            if math.fsum(high[at]) > group.cap:
                high[at], factor = fit_to_gross(weights[at], low[at], high[at], gross=group.cap)
                most[at], caps[at] = np.clip(factor, least[at], most[at]), f"cap of {group.name}"
        except ValueError as error:
            raise ValueError(f"groups.{group.name}: {error}") from None
    fitted, common = fit_within(weights, low, high, gross=gross, slack=slack)
    scale = np.clip(common, least, most)
    # What shares a rest in proportion to upper bounds has its factor on these, and its neighbours are at their limits.
    off = np.clip(scale * weights, lower, upper) != fitted
    scaled = np.where(weights > upper * np.finfo(np.float64).tiny, weights, upper)[off]
    scale[off] = np.divide(fitted[off], scaled, out=np.zeros_like(scaled), where=scaled > 0)
    inside = (fitted > lower) & (fitted < upper)
    held = np.where(inside & (fitted == high), caps, np.where(inside & (fitted == low), floors, ""))
    fitted[off] = np.clip(scale[off] * scaled, lower[off], upper[off])
    return Fitted(fitted, scale, held.astype(str))


def _require_non_negative(**inputs: Floats) -> None:
    for name, values in inputs.items():
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name}: expected finite numbers of at least 0, got {values.tolist()}")
