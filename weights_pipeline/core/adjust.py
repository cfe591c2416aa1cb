"""Partial adjustment: how realised weights follow their targets.

Here belongs the step from one rebalance to the next. Here do not belong targets (``methods``), how fast the
steps get there (``speed``), nor where the previous weights are kept.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from weights_pipeline.core.methods.base import Limits
from weights_pipeline.core.normalise import GROSS_TOLERANCE, Floats, fit_to_gross, proportional
from weights_pipeline.core.speed import require_rate


def partial_adjustment(
    previous: pd.Series | None,
    target: pd.Series,
    base: pd.Series,
    *,
    rate: float,
    limits: Limits,
    gross: float,
) -> pd.DataFrame:
    r"""One step towards the targets: :math:`w_i \leftarrow w_i + \lambda (w_i^* - w_i)`.

    The step starts from the weights before it, which are the base weights in the first partition and for a
    strategy that was not there before; one that is no longer in the book is dropped. Weights that then
    break a limit or do not add up to gross (the set of strategies, base weights or limits have changed) are
    put back by the book's own normalisation. Weights that do are taken as they are, so that a chain of
    steps disturbs no bit of them.

    Under ``capped`` normalisation both ends of the step are inside the limits and so is what lies between:
    realised weights keep floor and cap by construction. Under ``proportional`` targets may lie outside
    those multiples of base; realised weights follow them there, and only gross is kept.

    Parameters
    ----------
    previous
        Realised weights of the preceding rebalance by strategy; None in the first partition.
    target
        Target weights by strategy, the same strategies as ``base``.
    base
        Base weights by strategy.
    rate
        Share :math:`\lambda` of the gap closed in one rebalance, in (0, 1].
    limits
        Floor, cap and normalisation.
    gross
        What the weights add up to.

    Returns
    -------
    DataFrame
        One row per strategy, sorted by name: ``strategy``, ``base``, ``previous`` (the weight the step
        started from), ``target``, ``rate``, ``realized``, ``entered`` (new since the preceding rebalance),
        ``lower``, ``upper`` (the limits promised).

    Raises
    ------
    ValueError
        The rate is outside (0, 1], target and base differ in strategies, a weight is null or negative, or a
        target breaks a limit or gross.
    """
    require_rate(rate)
    base = base.sort_index()
    if base.index.has_duplicates or not base.index.equals(target.index.sort_values()):
        raise ValueError(f"target: expected one weight for each of {list(base.index)}, got {list(target.index)}")
    anchor = base.to_numpy(dtype=np.float64)
    goal = target.reindex(base.index).to_numpy(dtype=np.float64)
    lower, upper = limits.bounds(anchor, gross)
    if not _feasible(goal, lower, upper, gross):
        raise ValueError(
            f"target: weights break a limit or do not add up to gross {gross:.12g}: {target.to_dict()}, "
            f"lower {lower.tolist()}, upper {upper.tolist()}"
        )
    start, entered = anchor, np.zeros(len(base), dtype=bool)
    if previous is not None:
        if not (previous >= 0).all() or previous.index.has_duplicates:
            raise ValueError(f"previous: expected one weight of at least 0 per strategy, got {previous.to_dict()}")
        entered = ~base.index.isin(previous.index)
        start = np.where(entered, anchor, previous.reindex(base.index).to_numpy(dtype=np.float64))
        if not _feasible(start, lower, upper, gross):
            start = _put_back(start, lower, upper, limits, gross)
    # Below 1 the rate shortens the gap by more than rounding lengthens it, so that no step passes its
    # target and with it a limit. At 1 the target itself is exact, the sum need not be.
    realized = goal if rate == 1 else start + rate * (goal - start)
    return pd.DataFrame(
        {
            "strategy": base.index.astype("str"),
            "base": anchor,
            "previous": start,
            "target": goal,
            "rate": float(rate),
            "realized": realized,
            "entered": entered,
            "lower": lower,
            "upper": upper,
        }
    )


def _feasible(weights: Floats, lower: Floats, upper: Floats, gross: float) -> bool:
    inside = bool(((weights >= lower) & (weights <= upper)).all())
    return inside and abs(math.fsum(weights) - gross) <= GROSS_TOLERANCE * gross


def _put_back(weights: Floats, lower: Floats, upper: Floats, limits: Limits, gross: float) -> Floats:
    if limits.normalisation == "capped":
        return fit_to_gross(weights, lower, upper, gross=gross)[0]
    return proportional(weights, np.ones_like(weights), gross=gross)[0]
