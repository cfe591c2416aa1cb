"""Normalisation: from multipliers of base weights to weights that add up to gross.

Scope: the arithmetic of budget and bounds. Not here: how multipliers arise (``methods``), and how weights move in time
(``core.realized``).

Sums are correctly rounded (``math.fsum``), hence independent of the order of strategies: permuting the
input permutes the output, bit for bit.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GROSS_TOLERANCE = 1e-9
"""Relative error in a sum of printed weights that counts as rounding."""


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


def _require_non_negative(**inputs: Floats) -> None:
    for name, values in inputs.items():
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name}: expected finite numbers of at least 0, got {values.tolist()}")
