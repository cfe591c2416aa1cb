"""Verification of stored tables: invariants that hold on every correct history, as pure functions on frames.

Here belong findings: what was measured, against which limit, and the rows that offend. Here does not belong what
becomes of a finding: the store refuses a write, an asset check turns red, the command line exits non-zero.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from weights_pipeline.core.adjust import partial_adjustment
from weights_pipeline.core.methods.base import Limits
from weights_pipeline.core.regime import RegimeThresholds, regime_levels
from weights_pipeline.core.scalar import Profile, risk_scalar

SUM_TOLERANCE = 1e-9
"""Largest difference between the sum of weights and gross that rounding can explain."""

BOUND_TOLERANCE = 1e-12
"""Largest overshoot of a floor or cap that rounding can explain."""


@dataclass(frozen=True)
class Finding:
    """Outcome of one check.

    Attributes
    ----------
    passed
        Whether the measured value respects the limit.
    value, limit
        The figure measured, and what it was held against.
    summary
        One sentence for a person.
    offending
        The rows that break the rule; empty when passed.
    """

    passed: bool
    value: float
    limit: float
    summary: str
    offending: pd.DataFrame = field(default_factory=pd.DataFrame)


def weight_violations(weights: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows of a weights table that break a hard limit.

    Parameters
    ----------
    weights
        Columns as_of, strategy, base, lower, upper and ``column``.
    column
        The weight to hold against the limits.

    Returns
    -------
    DataFrame
        Columns as_of, strategy, ``column``, lower, upper, problem; empty when all hold: finite and non-negative,
        lower ≤ w ≤ upper, and Σw = Σbase (the book's gross) on each date.
    """
    value = weights[column].to_numpy(dtype=float)
    problem = np.full(len(weights), "", dtype=object)
    sums = weights.groupby("as_of")[[column, "base"]].transform("sum")
    off = (sums[column] - sums["base"]).abs().to_numpy() > SUM_TOLERANCE
    problem[off] = [
        f"weights sum to {s:.12g}, gross is {g:.12g}"
        for s, g in sums.loc[off, [column, "base"]].itertuples(index=False)
    ]
    problem[value > weights["upper"].to_numpy() + BOUND_TOLERANCE] = "above its cap"
    problem[value < weights["lower"].to_numpy() - BOUND_TOLERANCE] = "below its floor"
    problem[value < 0] = "negative"
    problem[~np.isfinite(value)] = "not a finite number"
    broken = problem != ""
    columns = ["as_of", "strategy", column, "lower", "upper"]
    offending: pd.DataFrame = weights.loc[broken, columns].assign(problem=problem[broken])
    return offending


def hard_limits(weights: pd.DataFrame, column: str) -> Finding:
    """Sum equals gross, caps and floors hold, every weight is finite and non-negative, over the whole history."""
    broken = weight_violations(weights, column)
    sums = weights.groupby("as_of")[[column, "base"]].sum()
    worst = float((sums[column] - sums["base"]).abs().max()) if len(sums) else 0.0
    return Finding(
        passed=broken.empty,
        value=worst,
        limit=SUM_TOLERANCE,
        summary=f"largest |Σ{column} − gross| over {len(sums)} rebalances is {worst:.1e}; "
        f"{len(broken)} weights break a limit",
        offending=broken,
    )


def recurrence(realized: pd.DataFrame) -> Finding:
    """Every realised weight follows from its predecessor: w = w_old + λ(target − w_old), whole history, to the bit.

    Rate, limits and gross of each rebalance are those stored with it, so that a book may change its policy without
    its past turning wrong.
    """
    previous: pd.Series | None = None
    broken: list[pd.DataFrame] = []
    worst = 0.0
    for as_of, group in realized.sort_values(["as_of", "strategy"]).groupby("as_of"):
        rows = group.set_index("strategy")
        limits, gross = _policy(rows)
        try:
            step = partial_adjustment(
                previous, rows["target"], rows["base"], rate=float(rows["rate"].iloc[0]), limits=limits, gross=gross
            ).set_index("strategy")
        except ValueError as error:
            broken.append(pd.DataFrame({"as_of": [as_of], "problem": [str(error)]}))
        else:
            gap = (rows[["previous", "realized"]] - step[["previous", "realized"]]).abs().max(axis=1)
            worst = max(worst, float(gap.max()))
            wrong = rows[["as_of", "previous", "target", "realized"]].assign(expected=step["realized"])[gap > 0]
            if len(wrong):
                broken.append(wrong.reset_index())
        previous = rows["realized"]
    return Finding(
        passed=not broken,
        value=worst,
        limit=0.0,
        summary=f"largest deviation from w_old + λ(target − w_old) is {worst:.1e} "
        f"over {realized['as_of'].nunique()} rebalances, {len(broken)} of them wrong",
        offending=pd.concat(broken, ignore_index=True) if broken else pd.DataFrame(),
    )


def _policy(rows: pd.DataFrame) -> tuple[Limits, float]:
    """Limits and gross in force at one rebalance, read back from its bounds.

    Multiples of base are rounded to twelve digits, so that the division gives back the number the book spelled.
    """
    gross = math.fsum(rows["base"])
    if (rows["lower"] == 0).all() and rows["upper"].nunique() == 1:
        return Limits(floor=0.0, normalisation="proportional"), gross
    funded = rows[rows["base"] > 0]
    floor, cap = (round(float((funded[side] / funded["base"]).median()), 12) for side in ("lower", "upper"))
    return Limits(floor=floor, cap=cap), gross


def turnover(realized: pd.DataFrame, limit: float) -> Finding:
    """One-way turnover ½·Σ|w − w_old| of each rebalance against a limit."""
    moved = (realized["realized"] - realized["previous"]).abs().groupby(realized["as_of"]).sum() / 2
    return _over_limit(moved, limit, "turnover", "one-way turnover")


def at_bound(targets: pd.DataFrame) -> Finding:
    """Strategies that the newest rebalance holds at their cap or floor, by name."""
    newest = targets[targets["as_of"] == targets["as_of"].max()]
    held = newest.loc[newest["bound"] != "", ["as_of", "strategy", "bound", "metric_value", "target"]]
    names = ", ".join(f"{row.strategy} ({row.bound})" for row in held.itertuples())
    return Finding(
        passed=held.empty,
        value=float(len(held)),
        limit=0.0,
        summary=f"held at a limit: {names}" if names else "no strategy is at its cap or floor",
        offending=held,
    )


def no_gap(keys: Collection[str], expected: Sequence[str]) -> Finding:
    """Partitions form one unbroken run from the first to the newest one written."""
    newest = max(keys, default="")
    missing = [key for key in expected if key <= newest and key not in keys]
    return Finding(
        passed=not missing,
        value=float(len(missing)),
        limit=0.0,
        summary=f"{len(missing)} partitions missing before {newest}: {', '.join(missing[:6])}"
        if missing
        else f"no gap up to {newest}",
        offending=pd.DataFrame({"partition_key": missing}),
    )


def accounting(files: pd.DataFrame, rejected: pd.DataFrame) -> Finding:
    """Accepted + rejected = read, in every source file, and every rejected row is in quarantine."""
    quarantined = rejected.groupby("source_file").size().reindex(files["source_file"], fill_value=0).to_numpy()
    gap = (files["read"] - files["accepted"] - files["rejected"]).abs().to_numpy()
    gap = gap + np.abs(files["rejected"].to_numpy() - quarantined)
    total = int(gap.sum())
    return Finding(
        passed=total == 0,
        value=float(total),
        limit=0.0,
        summary=f"{int(files['read'].sum())} rows read = {int(files['accepted'].sum())} accepted + "
        f"{int(files['rejected'].sum())} rejected",
        offending=files[gap != 0],
    )


def rejection_share(files: pd.DataFrame, limit: float) -> Finding:
    """Share of rows that were rejected for a defect (repeats of a row already read do not count)."""
    defects = files["rejected"] - files["duplicates"]
    read = int(files["read"].sum())
    share = float(defects.sum()) / read if read else 1.0
    return Finding(
        passed=share <= limit,
        value=share,
        limit=limit,
        summary=f"{int(defects.sum())} of {read} rows rejected ({share:.2%})",
        offending=files[defects > 0] if share > limit else files.iloc[:0],
    )


def unique_lots(lots: pd.DataFrame) -> Finding:
    """No lot is booked twice over the whole ledger: a re-dated exit leaves its old month only when that is re-run."""
    repeats = lots[lots.duplicated("lot_id", keep=False)].sort_values("lot_id")
    return Finding(
        passed=repeats.empty,
        value=float(repeats["lot_id"].nunique()),
        limit=0.0,
        summary=f"{repeats['lot_id'].nunique()} lot ids are booked more than once among {len(lots)} lots",
        offending=repeats,
    )


def unchanged_months(source: Mapping[str, str], stored: Mapping[str, str], being_written: Collection[str]) -> Finding:
    """Months written earlier still hold what the source says now; otherwise late or corrected lots have arrived.

    Parameters
    ----------
    source, stored
        Content hash by month: of the source as it reads now, and of what was written.
    being_written
        Months that this very run writes, which cannot be late.
    """
    late = sorted(key for key in stored if key not in being_written and source.get(key) != stored[key])
    return Finding(
        passed=not late,
        value=float(len(late)),
        limit=0.0,
        summary=f"late or corrected lots in {', '.join(late[:6])}: materialise from {late[0]} on"
        if late
        else "no month written earlier has changed in the source",
        offending=pd.DataFrame({"partition_key": late}),
    )


def known_strategies(seen: Collection[str], booked: Collection[str]) -> Finding:
    """Ledger and books name the same strategies."""
    rows = [(s, "in the ledger, in no book") for s in sorted(set(seen) - set(booked))]
    rows += [(s, "in a book, never in the ledger") for s in sorted(set(booked) - set(seen))]
    return Finding(
        passed=not rows,
        value=float(len(rows)),
        limit=0.0,
        summary="; ".join(f"{s}: {what}" for s, what in rows) or f"all {len(set(booked))} strategies are known",
        offending=pd.DataFrame(rows, columns=["strategy", "problem"]),
    )


def enough_data(metrics: pd.DataFrame, metric: str, min_sessions: int) -> Finding:
    """Share of strategies measured; a date on which none is, though one has sessions enough, is a failure.

    Before any strategy has ``min_sessions`` sessions nothing can be measured and base weights are the right answer.
    """
    label = metric.rsplit("_", 1)[1]
    wide = metrics[metrics["metric"].isin([metric, f"n_sessions_{label}"])].pivot_table(
        index=["as_of", "strategy"], columns="metric", values="value", dropna=False, sort=True
    )
    measured = wide[metric].notna().groupby("as_of").sum()
    ripe = (wide[f"n_sessions_{label}"] >= min_sessions).groupby("as_of").any()
    empty = measured.index[(measured == 0) & ripe]
    reasons = metrics[(metrics["metric"] == metric) & metrics["as_of"].isin(empty)]
    count = int(measured.iloc[-1]) if len(measured) else 0
    return Finding(
        passed=empty.empty and len(measured) > 0,
        value=float(measured.min()) if len(measured) else 0.0,
        limit=1.0,
        summary=f"{count} strategies measured on the newest date; {len(empty)} dates without any",
        offending=reasons[["as_of", "strategy", "reason"]],
    )


def extreme_values(metrics: pd.DataFrame, metric: str, limit: float) -> Finding:
    """Values of the book's metric beyond ±limit: rarely skill, often a scale error in the ledger."""
    rows = metrics[metrics["metric"] == metric]
    size = rows["value"].abs()
    largest = float(size.max()) if size.notna().any() else 0.0
    beyond = rows.loc[size > limit, ["as_of", "strategy", "metric", "value"]]
    return Finding(
        passed=beyond.empty,
        value=largest,
        limit=limit,
        summary=f"largest |{metric}| is {largest:.2f}; {len(beyond)} values beyond {limit:g}",
        offending=beyond,
    )


def state_coverage(sessions: pd.DatetimeIndex, state: pd.DataFrame, warm_up: int, limit: float) -> Finding:
    """Share of sessions beyond warm-up whose state could not be computed."""
    due = sessions[warm_up:]
    lost = due.difference(pd.DatetimeIndex(state["session"]))
    share = len(lost) / len(due) if len(due) else 0.0
    return Finding(
        passed=share <= limit,
        value=share,
        limit=limit,
        summary=f"{len(lost)} of {len(due)} sessions beyond warm-up have no state ({share:.1%})",
        offending=pd.DataFrame({"session": lost}) if share > limit else pd.DataFrame(),
    )


def scalar_bounds(scalars: pd.DataFrame, profile: Profile) -> Finding:
    """Every scalar lies inside the profile's floor and cap."""
    value = scalars["scalar"]
    broken = scalars[~value.between(profile.floor, profile.cap)]
    lowest = float(value.min()) if len(value) else profile.cap
    return Finding(
        passed=broken.empty,
        value=lowest,
        limit=profile.floor,
        summary=f"scalars between {lowest:.4f} and {float(value.max()) if len(value) else profile.cap:.4f}, "
        f"allowed {profile.floor:g} to {profile.cap:g}",
        offending=broken,
    )


def scalar_recursion(scalars: pd.DataFrame, profile: Profile) -> Finding:
    """The stored scalars are the smoothed targets of the stored regimes, to the bit, and move no faster than that."""
    rows = scalars.sort_values("session")
    expected = risk_scalar(rows.set_index("session")["regime"], profile)["scalar"].to_numpy()
    gap = np.abs(rows["scalar"].to_numpy() - expected)
    step = float(rows["scalar"].diff().abs().max()) if len(rows) > 1 else 0.0
    return Finding(
        passed=bool((gap == 0).all()),
        value=float(gap.max()) if len(gap) else 0.0,
        limit=0.0,
        summary=f"scalars deviate at most {float(gap.max()) if len(gap) else 0.0:.1e} from the smoothed targets; "
        f"largest step in a session {step:.4f}",
        offending=rows[gap > 0].assign(expected=expected[gap > 0]),
    )


def overlay_applied(final: pd.DataFrame, realized: pd.DataFrame, scalars: pd.DataFrame) -> Finding:
    """Final weights are the stored realised ones times the stored scalar where applied, to the bit."""
    by_session = scalars.set_index("session")["scalar"]
    rows = final.merge(
        realized[["as_of", "strategy", "realized"]], on=["as_of", "strategy"], how="outer", suffixes=("", "_stored")
    )
    known = rows["scalar_session"].notna()
    scalar = np.where(known, rows["scalar_session"].map(by_session), rows["scalar"])
    expected = np.where(rows["applied"], rows["realized_stored"] * scalar, rows["realized_stored"])
    gap = np.abs(rows["final"] - expected)
    broken = ~(gap == 0) | (rows["realized"] != rows["realized_stored"])
    return Finding(
        passed=not broken.any(),
        value=float(gap.max()) if len(gap) else 0.0,
        limit=0.0,
        summary=f"{len(rows)} final weights, {int(broken.sum())} differ from realised × scalar",
        offending=rows[broken],
    )


def reproduced(recomputed: pd.DataFrame, stored: pd.DataFrame) -> Finding:
    """Weights computed again are those stored: unscaled, scalar and final, bit for bit.

    Parameters
    ----------
    recomputed, stored
        Rows of ``final_weights`` for the same dates.
    """
    columns = ["realized", "scalar", "final"]
    rows = stored.merge(
        recomputed[["as_of", "strategy", *columns]],
        on=["as_of", "strategy"],
        how="outer",
        suffixes=("", "_recomputed"),
    )
    gap = np.column_stack([np.abs(rows[name] - rows[f"{name}_recomputed"]) for name in columns]).max(axis=1, initial=0)
    broken = ~(gap == 0)
    return Finding(
        passed=not broken.any(),
        value=float(np.nanmax(gap, initial=0.0)),
        limit=0.0,
        summary=f"{len(rows)} weights of {rows['as_of'].nunique()} dates recomputed, {int(broken.sum())} differ",
        offending=rows.loc[broken, ["as_of", "strategy", *columns, *(f"{name}_recomputed" for name in columns)]],
    )


def sticky_regimes(regimes: pd.DataFrame, thresholds: RegimeThresholds) -> Finding:
    """No regime is left for a calmer one before its minimum stay."""
    rows = regimes.sort_values("session")
    left = np.diff(regime_levels(rows["regime"]), prepend=0) < 0
    early = left & (rows["sessions_in_regime"].shift() < thresholds.min_stay).to_numpy()
    changes = int(rows["changed"].sum())
    return Finding(
        passed=not early.any(),
        value=float(early.sum()),
        limit=0.0,
        summary=f"{changes} transitions in {len(rows)} sessions; {int(early.sum())} downgrades before "
        f"{thresholds.min_stay} sessions",
        offending=rows[early],
    )


def _over_limit(values: pd.Series, limit: float, name: str, words: str) -> Finding:
    largest = float(values.max()) if len(values) else 0.0
    over = values[values > limit]
    return Finding(
        passed=over.empty,
        value=largest,
        limit=limit,
        summary=f"largest {words} is {largest:.2%}; {len(over)} beyond {limit:.0%}",
        offending=over.rename(name).reset_index(),
    )
