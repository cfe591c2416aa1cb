"""Speed of partial adjustment: how long weights take to follow their targets.

Scope: arithmetic on the rate alone, importable without NumPy or pandas, for whoever only wants to say how fast a book
moves. Not here: the step itself (``adjust``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


def remaining_gap(rate: float, rebalances: int) -> float:
    r"""Share of a gap to a constant target that is left after some rebalances: :math:`(1 - \lambda)^n`.

    Parameters
    ----------
    rate
        Share of the gap closed in one rebalance, in (0, 1].
    rebalances
        Their number :math:`n`.

    Returns
    -------
    float
    """
    require_rate(rate)
    return float((1 - rate) ** rebalances)


@dataclass(frozen=True)
class AdjustmentSpeed:
    """How fast weights follow a constant target.

    Attributes
    ----------
    rate
        Share of the gap closed in one rebalance.
    half_life
        Rebalances until half of a gap is closed; 0 at rate 1.
    gap_after_10
        Share of a gap that is left after ten rebalances.
    rebalances_to_90
        Rebalances that close 90 % of a gap, to the nearest whole number and at least one.
    """

    rate: float
    half_life: float
    gap_after_10: float
    rebalances_to_90: int


def adjustment_speed(rate: float) -> AdjustmentSpeed:
    r"""Speed of partial adjustment: a share :math:`p` is left after :math:`\ln p / \ln(1-\lambda)` steps.

    Parameters
    ----------
    rate
        Share :math:`\lambda` of the gap closed in one rebalance, in (0, 1].

    Returns
    -------
    AdjustmentSpeed
    """
    gap = remaining_gap(rate, 10)
    if rate == 1:
        return AdjustmentSpeed(rate=rate, half_life=0.0, gap_after_10=gap, rebalances_to_90=1)
    decay = math.log1p(-rate)
    return AdjustmentSpeed(
        rate=rate,
        half_life=math.log(0.5) / decay,
        gap_after_10=gap,
        rebalances_to_90=max(1, round(math.log(0.1) / decay)),
    )


@dataclass(frozen=True)
class OptimalSpeed:
    """How to trade towards a target that does not last.

    Attributes
    ----------
    rate
        Share of the gap to the aim closed in one rebalance, in (0, 1].
    aim
        Share of the way from base to target at which the aim lies, in (0, 1].
    """

    rate: float
    aim: float


def optimal_speed(cost: float, half_life: float | None = None, discount: float = 0.0) -> OptimalSpeed:
    r"""Speed and aim that are the best under quadratic costs: the closed form of Gârleanu and Pedersen.

    Weights :math:`x` earn by how near they are to targets :math:`x^*`, at risk aversion :math:`\gamma`; what a target
    differs from base by decays by :math:`\phi = 1 - 2^{-1/h}` in a rebalance; and a trade costs
    :math:`\tfrac12 \lambda \Delta x' \Sigma \Delta x`. With :math:`k = \lambda / \gamma` and the discount :math:`\rho`,

    .. math:: \theta = \frac{-(1 - \rho + k\rho) + \sqrt{(1 - \rho + k\rho)^2 + 4k(1 - \rho)^2}}{2k(1 - \rho)}

    of the gap to the aim is closed in a rebalance, and the aim lies at :math:`1 / (1 + \phi\theta k)` of the way from
    base to target: less is bought of what will soon be sold.

    Parameters
    ----------
    cost
        Cost of trading over that of risk, :math:`k`, at least 0: how many rebalances' risk of a weight cost as much as
        trading it once. At 0 the target is traded to at once.
    half_life
        Rebalances :math:`h` after which half of what a target differs from base by is gone; None where it lasts.
    discount
        Of what is earned one rebalance later, in [0, 1).

    Returns
    -------
    OptimalSpeed

    Raises
    ------
    ValueError
        A parameter is out of range.

    References
    ----------
    Gârleanu, N., and Pedersen, L. H. (2013), Dynamic Trading with Predictable Returns and Transaction Costs, Journal of
    Finance 68(6), propositions 3 and 4, with costs in proportion to risk.
    """
    for key, value in (("cost", cost), ("half_life", half_life)):
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{key}: expected a number of at least 0, got {value!r}")
    if half_life == 0:
        raise ValueError("half_life: expected rebalances above 0, got 0")
    if not 0 <= discount < 1:
        raise ValueError(f"discount: expected a fraction in [0, 1), got {discount!r}")
    decay = 0.0 if half_life is None else -math.expm1(-math.log(2) / half_life)
    later = 1 - discount
    half = later + cost * discount
    # The root of the formula without its cancellation, which at a cost of 0 is a quotient of zeros.
    rate = 2 * later / (half + math.sqrt(half**2 + 4 * cost * later**2))
    return OptimalSpeed(rate=rate, aim=1 / (1 + decay * rate * cost))


def common_rate(rates: Iterable[float]) -> float | None:
    """Share of the gap that a rebalance closed; None where a no-trade band gave each strategy its own."""
    first, *others = rates
    return first if all(rate == first for rate in others) else None


def require_rate(rate: float) -> None:
    """Refuse a rate outside (0, 1]."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate: expected a share of the gap in (0, 1], got {rate!r}")
