"""Partial adjustment: how realized weights follow their targets.

Scope: the step from one rebalance to the next. Not here: targets (``core.targets``), how fast the steps get there
(``speed``), which weights are left alone (``band``), and where the previous weights are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.realized.speed import require_rate
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats, Group, fit_to_groups


def step(
    start: Floats,
    target: Floats,
    lower: Floats,
    upper: Floats,
    *,
    rate: float | Floats,
    gross: float,
    slack: float = 0.0,
    groups: Sequence[Group] = (),
) -> tuple[Floats, Floats]:
    r"""One step towards the targets: :math:`w_i \leftarrow w_i + \lambda (w_i^* - w_i)`.

    Weights to start from that break a limit or do not add up to gross (the set of strategies, base weights or limits
    have changed) are first put back by :func:`~weights_pipeline.core.targets.normalise.fit_to_groups`. Weights that
    keep all are taken as they are, so that a chain of steps disturbs no bit of them.

    Both ends of the step are inside the limits and so is what lies between: realized weights keep floor and cap, and
    those of groups, by construction.

    Parameters
    ----------
    start
        Weights before the step, shape (n,).
    target
        Target weights, shape (n,).
    lower, upper
        Limits, as weights, shape (n,).
    rate
        Share :math:`\lambda` of the gap closed in one rebalance, in (0, 1]; or that of each strategy, shape (n,), in
        [0, 1], with which the weights have to add up.
    gross, slack
        What the weights add up to at most, and how far below it they may stay.
    groups
        Limits on sums of weights.

    Returns
    -------
    start, realized : ndarray, shape (n,)
        The weights the step started from, put back where that was needed, and those after it.

    Raises
    ------
    ValueError
        The rate is outside (0, 1], a weight is null or negative, or a target breaks a limit or gross.
    """
    if isinstance(rate, np.ndarray):
        if not ((rate >= 0) & (rate <= 1)).all():
            raise ValueError(f"rate: expected shares of the gap in [0, 1], got {rate.tolist()}")
    else:
        require_rate(rate)
    if not _feasible(target, lower, upper, gross, slack):
        raise ValueError(
            f"target: weights break a limit or do not add up to gross {gross:.12g}: {target.tolist()}, "
            f"lower {lower.tolist()}, upper {upper.tolist()}"
        )
    rounding = GROSS_TOLERANCE * gross
    if broken := [group.name for group in groups if not group.keeps(target, rounding)]:
        raise ValueError(f"target: weights break the limits of groups {broken}: {target.tolist()}")
    if not (_feasible(start, lower, upper, gross, slack) and all(group.keeps(start, rounding) for group in groups)):
        start = fit_to_groups(start, lower, upper, groups, gross=gross, slack=slack).weights
    # Below 1 the rate shortens the gap by more than rounding lengthens it, so that no step passes its
    # target and with it a limit. At 1 the target itself is exact, the sum need not be.
    return start, np.where(rate == 1, target, start + rate * (target - start))


def capped_step(
    start: Floats,
    target: Floats,
    lower: Floats,
    upper: Floats,
    *,
    rate: float,
    turnover_cap: float | None,
    gross: float,
    slack: float = 0.0,
    band: Band | None = None,
    groups: Sequence[Group] = (),
) -> tuple[Floats, Floats, float | Floats]:
    r"""One step as in :func:`step`, shortened to a one-way turnover of :math:`\tau`.

    The rate is :math:`\min(\lambda, \tau / \tfrac12 \sum_i |w_i^* - w_i|)`, with the weights that the step starts from.
    As all weights move by the same share of their gap, a shortened step keeps limits and gross like any other.

    With a no-trade band the gap of a strategy is :math:`s_i |w_i^* - w_i|`, with the share :math:`s_i` of
    :meth:`~weights_pipeline.core.realized.band.Band.shares`, and its rate that share of the one of all. Weights that
    break a limit are put back first, whatever the band. Strategies that move by shares of their own keep their own
    limits, but maybe not those of a group: where all of these shares would break one, the whole book is traded instead.
    Otherwise no part of them does, since the weights that the step starts from keep it too.

    Parameters
    ----------
    start, target, lower, upper, rate, gross, slack, groups
        See :func:`step`.
    turnover_cap
        Largest turnover :math:`\tau`, positive; None where there is no cap.
    band
        What is left alone; None where everything is traded.

    Returns
    -------
    start, realized : ndarray, shape (n,)
        As :func:`step` gives them at the rate used.
    rate : float, or ndarray of shape (n,) with a band
        The rate used.

    Raises
    ------
    ValueError
        See :func:`step`.
    """
    begin, realized = step(start, target, lower, upper, rate=rate, gross=gross, slack=slack, groups=groups)
    share: float | Floats = 1.0 if band is None else band.shares(begin, target, gross=gross, slack=slack)
    if any(not group.keeps(begin + share * (target - begin), GROSS_TOLERANCE * gross) for group in groups):
        share = np.ones(len(begin))
    gap = math.fsum(np.abs(share * (target - begin))) / 2
    if turnover_cap is not None and rate * gap > turnover_cap:
        rate = turnover_cap / gap
    elif band is None:
        return begin, realized, rate
    share = rate * share
    return *step(start, target, lower, upper, rate=share, gross=gross, slack=slack, groups=groups), share


def carried(
    previous: pd.Series | None, strategies: Sequence[str], base: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Weights that a step starts from, for the strategies that a book has now.

    They are the realized weights of the preceding rebalance; the base weights in the first partition and for a strategy
    that was not there before. A strategy that is no longer in the book is dropped.

    Parameters
    ----------
    previous
        Realized weights of the preceding rebalance by strategy; None in the first partition.
    strategies
        Names, n of them.
    base
        Base weights, shape (n,).

    Returns
    -------
    start : ndarray, shape (n,)
    entered : ndarray of bool, shape (n,)
        Whether a strategy is new since the preceding rebalance.

    Raises
    ------
    ValueError
        A previous weight is null or negative, or a strategy has two.
    """
    if previous is None:
        return base, np.zeros(len(base), dtype=np.bool_)
    # A dict, as an index of names would cost more than the step.
    held = dict(zip(previous.index, previous.to_numpy(np.float64).tolist(), strict=True))
    if len(held) < len(previous) or not all(weight >= 0 for weight in held.values()):
        raise ValueError(f"previous: expected one weight of at least 0 per strategy, got {previous.to_dict()}")
    entered = np.array([name not in held for name in strategies], dtype=np.bool_)
    start = [held.get(name, own) for name, own in zip(strategies, base.tolist(), strict=True)]
    return np.array(start, dtype=np.float64), entered


def _feasible(weights: Floats, lower: Floats, upper: Floats, gross: float, slack: float) -> bool:
    inside = bool(((weights >= lower) & (weights <= upper)).all())
    rounding = GROSS_TOLERANCE * gross
    return inside and gross - slack - rounding <= math.fsum(weights) <= gross + rounding
