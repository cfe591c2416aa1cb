"""Waterfalls: the way of one weight from its metric to what is traded, step by step.

Scope: the steps between stored figures, each with its number; the last of them is the stored weight, bit for bit. Not
here: the making of any figure: a waterfall only replays what tables hold.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from weights_pipeline.core.targets.methods.base import BY_LIQUIDITY


@dataclass(frozen=True)
class Step:
    """One step of a waterfall.

    Attributes
    ----------
    name
        What the step does, in words.
    operation
        How the value follows from the one before: ``start`` (it is the operand), ``times``, ``over``, ``plus``,
        ``clip`` (to the operands), ``hold`` (it is the operand, a limit that holds it) or ``note`` (a figure beside
        the way, from which nothing is computed).
    operands
        Figures of the operation.
    value
        Value after the step; of a note, the figure; NaN where it is null.
    remark
        Formula or reason, in words.
    """

    name: str
    operation: str
    operands: tuple[float, ...]
    value: float
    remark: str = ""

    def replayed(self, before: float) -> float:
        """Value that follows from the one before."""
        match self.operation:
            case "times":
                return before * self.operands[0]
            case "over":
                return before / self.operands[0]
            case "plus":
                return before + self.operands[0]
            case "clip":
                return _clipped(before, *self.operands)
            case "note":
                return before
            case _:
                return self.operands[0]


class ReplayError(ValueError):
    """A stored weight does not follow from the stored figures before it."""


def waterfall(target: Mapping[str, Any], realized: Mapping[str, Any], final: Mapping[str, Any]) -> list[Step]:
    """Steps from metric to final weight of one strategy on one date.

    Parameters
    ----------
    target, realized, final
        Its rows of ``target_weights``, ``realized_weights`` and ``final_weights``.

    Returns
    -------
    list of Step
        Replayed one by one they give the stored target, realized and final weight, bit for bit.

    Raises
    ------
    ReplayError
        They do not; the message names the strategy, the date and the step.
    """
    steps = _to_target(target)
    steps += _to_realized(realized, steps[-1].value)
    steps += _to_final(final)
    value = math.nan
    for step in steps:
        value = step.replayed(value)
        if step.operation != "note" and value != step.value:
            raise ReplayError(
                f"{target['strategy']} on {target['as_of']:%Y-%m-%d}: step {step.name!r} gives {value!r}, "
                f"stored is {step.value!r}"
            )
    return steps


def waterfalls(targets: pd.DataFrame, realized: pd.DataFrame, final: pd.DataFrame) -> dict[str, list[Step]]:
    """Waterfall of every strategy on one date, by name.

    Parameters
    ----------
    targets, realized, final
        Rows of ``target_weights``, ``realized_weights`` and ``final_weights`` of one date.

    Raises
    ------
    ReplayError
        A stored weight does not follow, or the tables differ in strategies.
    """
    found = waterfalls_by_date(targets, realized, final)
    return next(iter(found.values()), {})


def waterfalls_by_date(
    targets: pd.DataFrame, realized: pd.DataFrame, final: pd.DataFrame
) -> dict[pd.Timestamp, dict[str, list[Step]]]:
    """Waterfall of every strategy, by date and name; otherwise as :func:`waterfalls`."""
    by_date: list[dict[pd.Timestamp, dict[str, Any]]] = []
    for table in (targets, realized, final):
        rows: dict[pd.Timestamp, dict[str, Any]] = {}
        for row in table.sort_values(["as_of", "strategy"]).to_dict("records"):
            rows.setdefault(row["as_of"], {})[str(row["strategy"])] = row
        by_date.append(rows)
    found = {}
    for date in sorted({date for rows in by_date for date in rows}):
        own = [rows.get(date, {}) for rows in by_date]
        if not own[0].keys() == own[1].keys() == own[2].keys():
            raise ReplayError(
                f"targets, realized and final weights differ in strategies: {[list(each) for each in own]}"
            )
        found[date] = {name: waterfall(own[0][name], own[1][name], own[2][name]) for name in own[0]}
    return found


def _to_target(row: Mapping[str, Any]) -> list[Step]:
    value, raw, multiplier = float(row["metric_value"]), float(row["raw_multiplier"]), float(row["multiplier"])
    steps = []
    if row["weight_set"]:
        steps.append(Step("weight set", "note", (), math.nan, row["weight_set"]))
    if row["metric"]:
        steps.append(Step(row["metric"], "note", (value,), value, row["reason"] or "measured"))
    if not math.isnan(row["score"]) and row["score"] != value:
        steps.append(Step("score", "note", (float(row["score"]),), float(row["score"])))
    if not math.isnan(raw):
        steps.append(Step("raw multiplier", "note", (raw,), raw, row["formula"]))
    base, scale, lower, upper, target = (float(row[name]) for name in ("base", "scale", "lower", "upper", "target"))
    steps.append(Step("multiplier", "start", (multiplier,), multiplier, row["note"]))
    if target == base and multiplier > 0 and scale == 1 / multiplier:
        # They cancel before the base weight comes in, which stays what it is to the last bit.
        steps.append(Step("scale", "over", (multiplier,), 1.0, "one factor for all, which undoes this multiplier"))
        return [*steps, Step("target", "times", (base,), target, "the base weight")]
    weight = base * multiplier
    # A limit of a group that holds the target has made its scale.
    by_liquidity = row["bound"].endswith(BY_LIQUIDITY)
    bound = row["bound"] if row["bound"] in ("floor", "cap") or by_liquidity else ""
    group = row["bound"] if not bound else ""
    steps.append(Step("base weight", "times", (base,), weight))
    # To normalisation so small a weight is none; see fit_to_gross.
    if not bound and weight <= upper * sys.float_info.min and _clipped(weight * scale, lower, upper) != target:
        if scale == 1:
            return [*steps, Step("target", "hold", (base,), target, "no multiplier is above zero: the base weight")]
        weight = upper
        shared = "no multiplier above zero reaches gross, the rest is shared in proportion to caps"
        steps.append(Step("cap", "hold", (upper,), upper, shared))
    scaled = weight * scale
    enough = scale == 1 and row["slack"] > 0
    why = "the sum keeps gross as it is" if enough else "one factor for all, so that weights add up to gross"
    why = f"one factor for the group, by the {group}" if group else why
    steps.append(Step("scale", "times", (scale,), scaled, why))
    limits = f"floor {lower:.6g}, cap {upper:.6g}" + (f"; held at its {bound}" if bound else "")
    if bound and _clipped(scaled, lower, upper) != target:
        steps.append(Step("target", "hold", (lower if bound == "floor" else upper,), target, limits))
    else:
        steps.append(Step("target", "clip", (lower, upper), target, limits))
    return steps


def _clipped(value: float, lower: float, upper: float) -> float:
    return min(max(value, lower), upper)


def _to_realized(row: Mapping[str, Any], target: float) -> list[Step]:
    previous, rate, realized, aim = (float(row[name]) for name in ("previous", "rate", "realized", "target"))
    steps = []
    if aim != target:
        steps = [Step("aim", "start", (aim,), aim, "part of the way from base to target: as much of it as lasts")]
        target = aim
    if rate == 1:
        return [*steps, Step("realized weight", "times", (1.0,), realized, "all the way to target (rate 1)")]
    if rate == 0:
        left = f"inside its no-trade band: not traded, a gap to target of {target - previous:+.6g} is left"
        return [*steps, Step("realized weight", "start", (previous,), realized, left)]
    start = "its base weight: new in the book" if row["entered"] else "weight before this rebalance"
    move = rate * (target - previous)
    return [
        *steps,
        Step("previous weight", "start", (previous,), previous, start),
        Step("realized weight", "plus", (move,), realized, f"{rate!r} × (target - previous)"),
    ]


def _to_final(row: Mapping[str, Any]) -> list[Step]:
    final, scalar, targeted, funding, hedge = (
        float(row[name]) for name in ("final", "scalar", "volatility_scalar", "funding", "hedge")
    )
    if math.isnan(scalar):
        return [Step("final weight", "times", (1.0,), final, "no risk scalar")]
    since = "before the first scalar" if pd.isna(row["scalar_session"]) else f"of {row['scalar_session']:%Y-%m-%d}"
    risk = f"risk scalar {since} {row['regime']}".rstrip()
    hedged = not (math.isnan(hedge) or (funding == 1 and hedge == 0))
    if row["applied"] and math.isnan(targeted) and not hedged:
        return [Step("final weight", "times", (scalar,), final, risk)]
    if row["applied"]:
        value, said = float(row["realized"]) * scalar, "scaled by both"
        steps = [Step("risk scalar", "times", (scalar,), value, risk)]
        if not math.isnan(targeted):
            measured = "too few sessions" if pd.isna(row["volatility"]) else f"over {row['volatility']:.4%} a year"
            value = value * targeted if hedged else final
            steps.append(Step("volatility target", "times", (targeted,), value, f"{since}, {measured}"))
        if hedged:
            value, said = value * funding, "with the hedges of the book"
            steps.append(Step("funding", "times", (funding,), value, "what hedges leave of it"))
        if hedged and hedge:
            value += hedge
            steps.append(Step("hedge", "plus", (hedge,), value, f"risk regime {since} {row['regime']}".rstrip()))
        return [*steps, Step("final weight", "times", (1.0,), final, said)]
    beside = "" if math.isnan(targeted) else f" and volatility target {targeted:.6g}"
    return [
        Step("final weight", "times", (1.0,), final, f"risk scalar {scalar:.6g} {row['regime']}{beside} not applied")
    ]
