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


def common_rate(rates: Iterable[float]) -> float | None:
    """Share of the gap that a rebalance closed; None where a no-trade band gave each strategy its own."""
    first, *others = rates
    return first if all(rate == first for rate in others) else None


def require_rate(rate: float) -> None:
    """Refuse a rate outside (0, 1]."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate: expected a share of the gap in (0, 1], got {rate!r}")
