"""What holds of target, realized and final weights.

Scope: limits, gross, groups and the step from one date to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from weights_pipeline.core.realized.adjust import carried, step
from weights_pipeline.core.targets.normalise import Group
from weights_pipeline.core.verify.finding import Finding, over_limit

SUM_TOLERANCE = 1e-9
"""Largest difference between the sum of weights and gross that rounding can explain."""

BOUND_TOLERANCE = 1e-12
"""Largest overshoot of a floor or cap that rounding can explain."""

_RECURRING: Final = ("base", "target", "lower", "upper", "previous", "realized", "rate", "slack")
"""What a step of realized weights is made of."""


def weight_violations(weights: pd.DataFrame, column: str, by: Sequence[str] = ("as_of",)) -> pd.DataFrame:
    """Rows of a weights table that break a hard limit.

    Parameters
    ----------
    weights
        Columns as_of, strategy, base, lower, upper, slack and ``column``.
    column
        The weight to hold against the limits.
    by
        Columns that tell one weight set from another.

    Returns
    -------
    DataFrame
        Columns ``by``, strategy, ``column``, lower, upper, problem; empty when all hold: finite and non-negative,
        lower ≤ w ≤ upper, and Σw = Σbase (the book's gross) in each set, or as far below it as its slack allows.
    """
    value = weights[column].to_numpy(dtype=float)
    problem = np.full(len(weights), "", dtype=object)
    sums = weights.groupby(list(by))[[column, "base"]].transform("sum")
    off = _off_gross(sums[column], sums["base"], weights["slack"]).to_numpy() > SUM_TOLERANCE
    problem[off] = [
        f"weights sum to {s:.12g}, gross is {g:.12g}"
        for s, g in sums.loc[off, [column, "base"]].itertuples(index=False)
    ]
    problem[value > weights["upper"].to_numpy() + BOUND_TOLERANCE] = "above its cap"
    problem[value < weights["lower"].to_numpy() - BOUND_TOLERANCE] = "below its floor"
    problem[value < 0] = "negative"
    problem[~np.isfinite(value)] = "not a finite number"
    broken = problem != ""
    columns = [*by, "strategy", column, "lower", "upper"]
    offending: pd.DataFrame = weights.loc[broken, columns].assign(problem=problem[broken])
    return offending


def hard_limits(weights: pd.DataFrame, column: str, by: Sequence[str] = ("as_of",)) -> Finding:
    """Sum equals gross, caps and floors hold, every weight is finite and non-negative, over the whole history."""
    broken = weight_violations(weights, column, by)
    sums = weights.groupby(list(by)).agg({column: "sum", "base": "sum", "slack": "max"})
    off = float(_off_gross(sums[column], sums["base"], sums["slack"]).max()) if len(sums) else 0.0
    value, lower, upper = (weights[name].to_numpy(dtype=float) for name in (column, "lower", "upper"))
    beyond = float(np.nanmax(np.maximum(value - upper, lower - value), initial=0.0))
    return Finding(
        passed=broken.empty,
        value=max(off, beyond),
        limit=SUM_TOLERANCE,
        summary=f"over {len(sums)} weight sets Σ{column} is at most {off:.1e} off the gross allowed, and a weight at "
        f"most {beyond:.1e} beyond its floor or cap; weights that break a limit: {len(broken)}",
        # A sum that is off concerns every weight of its set: those beyond their own limits come first.
        offending=broken.sort_values("problem", key=lambda p: p.str.startswith("weights sum"), kind="stable"),
    )


def _off_gross(total: pd.Series, gross: pd.Series, slack: pd.Series) -> pd.Series:
    """How far sums lie outside [gross − slack, gross]."""
    outside: pd.Series = pd.concat([total - gross, gross - slack - total], axis=1).max(axis=1).clip(lower=0.0)
    return outside


def group_limits(weights: pd.DataFrame, column: str, groups: Sequence[Group], strategies: Sequence[str]) -> Finding:
    """Weights of each group add up to no less than its floor and no more than its cap, on every date.

    Parameters
    ----------
    weights
        Columns as_of, strategy, base and ``column``; weight_set where there are several sets a date.
    column
        The weight to hold against the limits.
    groups, strategies
        Limits of the policy that the weights were made under, and its strategies in order.
    """
    by = ["as_of", *weights.columns.intersection(["weight_set"])]
    gross = weights.groupby(by)["base"].sum()
    broken, worst = list[pd.DataFrame](), 0.0
    for group in groups:
        own = weights[weights["strategy"].isin([strategies[at] for at in group.members])]
        total = own.groupby(by)[column].sum()
        beyond = pd.concat([total - group.cap, group.floor - total], axis=1).max(axis=1).clip(lower=0.0) / gross
        worst = max(worst, float(beyond.max()) if len(beyond) else 0.0)
        off = total[beyond > SUM_TOLERANCE].rename("sum").reset_index()
        broken.append(off.assign(group=group.name, floor=group.floor, cap=group.cap))
    offending = pd.concat(broken, ignore_index=True) if broken else pd.DataFrame()
    return Finding(
        passed=offending.empty,
        value=worst,
        limit=SUM_TOLERANCE,
        summary=f"over {len(gross)} weight sets the sum of a group is at most {worst:.1e} beyond its floor or cap, of "
        f"{len(groups)} groups; sums that break a limit: {len(offending)}",
        offending=offending,
    )


def recurrence(
    realized: pd.DataFrame,
    opening: pd.Series | None = None,
    groups: Callable[[pd.Timestamp], Sequence[Sequence[Group]]] = lambda as_of: ((),),
) -> Finding:
    """Every realized weight follows from its predecessor: w = w_old + λ(target − w_old), whole history, to the bit.

    Rate, limits and gross of each rebalance are those stored with it, so that a book may change its policy without
    its past turning wrong.

    Parameters
    ----------
    realized
        Rows of ``realized_weights``.
    opening
        What the first rebalance starts from, by strategy; the base weights when None.
    groups
        Limits on sums of weights by as-of session, of which a row says nothing: those of each policy that the rows may
        have been made under, one of which has to give them.
    """
    previous = opening
    broken: list[pd.DataFrame] = []
    worst = 0.0
    rows = realized.sort_values(["as_of", "strategy"], ignore_index=True)
    # Plain arrays, cut by date: a hundred frames would cost more than all the arithmetic.
    strategies = rows["strategy"].tolist()
    numbers = {name: rows[name].to_numpy(float) for name in _RECURRING}
    edges = np.flatnonzero(rows["as_of"].ne(rows["as_of"].shift())).tolist()
    for first, after in pairwise([*edges, len(rows)]):
        names = strategies[first:after]
        base, target, lower, upper, held, weight, rate, slacks = (each[first:after] for each in numbers.values())
        slack, gross = float(slacks[0]), math.fsum(base)
        as_of = rows["as_of"].iloc[first]
        wrong = list[tuple[float, pd.DataFrame]]()
        for own in groups(as_of):
            try:
                begin, _ = carried(previous, names, base)
                begin, expected = step(begin, target, lower, upper, rate=rate, gross=gross, slack=slack, groups=own)
            except ValueError as error:
                wrong.append((0.0, pd.DataFrame({"as_of": [as_of], "problem": [str(error)]})))
                continue
            gap = np.maximum(np.abs(held - begin), np.abs(weight - expected))
            if not (gap > 0).any():
                break
            columns = ["strategy", "as_of", "previous", "target", "realized"]
            found = rows.iloc[first:after][columns].assign(expected=expected)[gap > 0]
            wrong.append((float(gap.max()), found))
        else:
            off, found = wrong[-1]
            worst = max(worst, off)
            broken.append(found)
        previous = pd.Series(weight, index=names)
    return Finding(
        passed=not broken,
        value=worst,
        limit=0.0,
        summary=f"largest deviation from w_old + λ(target − w_old) is {worst:.1e} "
        f"over {realized['as_of'].nunique()} rebalances, {len(broken)} of them wrong",
        offending=pd.concat(broken, ignore_index=True) if broken else pd.DataFrame(),
    )


def turnover(realized: pd.DataFrame, limit: float) -> Finding:
    """One-way turnover ½·Σ|w − w_old| of each rebalance against a limit."""
    moved = (realized["realized"] - realized["previous"]).abs().groupby(realized["as_of"]).sum() / 2
    return over_limit(moved, limit, "turnover", "one-way turnover")


def at_bound(targets: pd.DataFrame) -> Finding:
    """Strategies that the newest rebalance holds at their cap or floor, by name; a floor of 0 holds nothing.

    Information, and always passed: limits are there to decide weights.
    """
    newest = targets[targets["as_of"] == targets["as_of"].max()]
    at = (newest["bound"] != "") & ((newest["bound"] != "floor") | (newest["lower"] > 0))
    held = newest.loc[at, ["as_of", "strategy", "bound", "metric_value", "target"]]
    names = ", ".join(f"{row.strategy} ({row.bound})" for row in held.itertuples())
    return Finding(
        passed=True,
        value=float(len(held)),
        limit=float(len(newest)),
        summary=f"held at a limit: {names}" if names else "no strategy is at its cap or floor",
        offending=held,
    )


def reads_current_set(targets: pd.DataFrame) -> Finding:
    """Weight set that the newest rebalance of an ensemble reads, and over how many rebalances it was another's."""
    chosen = targets.drop_duplicates("as_of").sort_values("as_of")[["as_of", "weight_set"]]
    other = ~chosen["weight_set"].str.endswith("current regime")
    passed = not (len(chosen) and other.iloc[-1])
    newest = chosen["weight_set"].iloc[-1] if len(chosen) else "no rebalance yet"
    return Finding(
        passed=passed,
        value=float(other.sum()),
        limit=0.0,
        summary=f"{newest}; {int(other.sum())} of {len(chosen)} rebalances read a set of another regime",
        offending=chosen.tail(1) if not passed else pd.DataFrame(),
    )
