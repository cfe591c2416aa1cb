"""Verification of stored tables: invariants that hold on every correct history, as pure functions on frames.

Scope: findings: what was measured, against which limit, and the rows that offend. Not here: what becomes of a finding:
the store refuses a write, an asset check turns red, the command line exits non-zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import Hedging, hedged_rows
from weights_pipeline.core.allocator.overlay import AuditGates, audit_misses
from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds, regime_levels, regime_summary
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters, Profile, risk_scalar
from weights_pipeline.core.allocator.state import MAY_BE_NULL, OPTIONAL, idle_sessions, reference_portfolio
from weights_pipeline.core.realized.adjust import carried, step
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.delivered import odd_scales
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.identity import ascending, hashed
from weights_pipeline.core.targets.normalise import Group

SUM_TOLERANCE = 1e-9
"""Largest difference between the sum of weights and gross that rounding can explain."""

BOUND_TOLERANCE = 1e-12
"""Largest overshoot of a floor or cap that rounding can explain."""

UNKNOWN_POSITION = "position_unknown"
"""Code of what is found where a fill is missing."""

RECONCILED, NOT_RECONCILED = "reconciled", "not_reconciled"
"""Codes of the newest statement that a ledger agrees with, and of what a statement says otherwise."""

_RECURRING: Final = ("base", "target", "lower", "upper", "previous", "realized", "rate", "slack")
"""What a step of realized weights is made of."""

_LISTED = 5
_NAMING = ("strategy", "partition_key", "source_file", "lot_id", "method", "table", "as_of", "session")
"""Columns that say of what an offending row is, the telling ones first."""


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

    @property
    def names(self) -> tuple[str, ...]:
        """Who offends, each once: strategies, or else what the rows are of, with the bound they are at."""
        naming = next((name for name in _NAMING if name in self.offending), None)
        if naming is None:
            return ()
        named = self.offending[naming]
        texts = named.dt.strftime("%Y-%m-%d") if named.dtype.kind == "M" else named.astype("str")
        if "bound" in self.offending:
            texts = texts + " (" + self.offending["bound"].astype("str") + ")"
        return tuple(dict.fromkeys(texts))


def together(findings: Sequence[Finding]) -> Finding:
    """One finding on parts that were judged each by itself: the worst value, and what the last part that fails says."""
    failed = [finding for finding in findings if not finding.passed]
    said = (failed or list(findings))[-1]
    return Finding(
        passed=not failed,
        value=said.value,
        limit=said.limit,
        summary=said.summary,
        offending=pd.concat([each.offending for each in failed], ignore_index=True) if failed else said.offending,
    )


def as_written(altered: pd.DataFrame, tables: int) -> Finding:
    """Finding on a store whose rows were compared with what was recorded when they were written.

    Parameters
    ----------
    altered
        Columns table and partition: those that differ.
    tables
        How many tables were compared.
    """
    if len(altered):
        summary = f"{len(altered)} partitions of {altered['table'].nunique()} tables are not what was written"
    else:
        summary = f"{tables} tables hold exactly what was written" if tables else "there is no table to compare"
    return Finding(
        passed=altered.empty and tables > 0,
        value=float(len(altered)),
        limit=0.0,
        summary=summary,
        offending=altered,
    )


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
    return _over_limit(moved, limit, "turnover", "one-way turnover")


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
    """Share of rows rejected for a defect of their own: repeats, and rows held back or taken back, are sound."""
    defects = files["rejected"] - files["duplicates"] - files["unhurt"].fillna(0).astype(int)
    read = int(files["read"].sum())
    share = float(defects.sum()) / read if read else 1.0
    unhurt = int(files["unhurt"].fillna(0).sum())
    return Finding(
        passed=share <= limit,
        value=share,
        limit=limit,
        summary=f"{int(defects.sum())} of {read} rows rejected for a defect ({share:.2%}); "
        f"repeats of rows already read do not count: {int(files['duplicates'].sum())}"
        + (f", nor rows held back or taken back: {unhurt}" if unhurt else ""),
        offending=files[defects > 0] if share > limit else files.iloc[:0],
    )


def positions_known(findings: pd.DataFrame) -> Finding:
    """No position is unknown to this day: none was ever, or an opening has stated what is held.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    """
    unknown = findings[findings["code"] == UNKNOWN_POSITION]
    still = unknown[unknown["until"].isna()]
    return Finding(
        passed=still.empty,
        value=float(len(still)),
        limit=0.0,
        summary=f"positions unknown: {_listed(still)}"
        if len(still)
        else f"every position is known; {len(unknown)} were not for a time"
        if len(unknown)
        else "every position is known",
        offending=still[["strategy", "symbol", "since", "source_file", "line", "message"]],
    )


def reconciled(findings: pd.DataFrame) -> Finding:
    """What the broker states is what the ledger's rows come to.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    """
    broken, agreed = (findings[findings["code"] == code] for code in (NOT_RECONCILED, RECONCILED))
    to = f"reconciled to {agreed['since'].iloc[0]:%Y-%m-%d}" if len(agreed) else "no statement agrees in everything"
    return Finding(
        passed=broken.empty,
        value=float(len(broken)),
        limit=0.0,
        summary=f"{to}; {len(broken)} figures differ" if len(broken) else to,
        offending=broken[["strategy", "symbol", "since", "source_file", "line", "message"]],
    )


def measured_on_known_positions(metrics: pd.DataFrame, findings: pd.DataFrame) -> Finding:
    """No metric is null because a position is not known in its window.

    Parameters
    ----------
    metrics
        Rows of a book's ``metrics``.
    findings
        Rows of its ledger's ``ledger_findings``, which say why.
    """
    null = metrics[metrics["reason"] == "ledger_incomplete"]
    strategies = sorted(null["strategy"].unique())
    why = findings[(findings["code"] == UNKNOWN_POSITION) & findings["strategy"].isin(strategies)]
    shown = _listed(why) or ", ".join(strategies)
    return Finding(
        passed=not strategies,
        value=float(len(strategies)),
        limit=0.0,
        summary=f"not measured from {null['as_of'].min():%Y-%m-%d} to {null['as_of'].max():%Y-%m-%d}, positions being "
        f"unknown: {shown}; correct the ledger, or set incomplete: neutral in it"
        if strategies
        else "every strategy is measured on known positions",
        offending=why[["strategy", "symbol", "since", "until", "source_file", "line", "message"]],
    )


def ledger_findings(findings: pd.DataFrame, severity: str) -> Finding:
    """Nothing of a severity was found in a ledger; what has a check of its own is left to that.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    severity
        ERROR or WARN.
    """
    own_check = findings["code"].isin([UNKNOWN_POSITION, NOT_RECONCILED])
    found = findings[(findings["severity"] == severity) & ~own_check]
    counted = found["code"].value_counts().sort_index()
    return Finding(
        passed=found.empty,
        value=float(len(found)),
        limit=0.0,
        summary=", ".join(f"{code}: {count}" for code, count in counted.items()) or "nothing was found",
        offending=found[["code", "strategy", "symbol", "since", "source_file", "line", "message", "setting"]],
    )


def _listed(unknown: pd.DataFrame) -> str:
    """Whose positions are unknown, since when, and by which row; the first few."""
    named = [
        f"{row['strategy']} {row['symbol']} since {row['since']:%Y-%m-%d} ({row['source_file']} line {row['line']})"
        for row in unknown.head(_LISTED).to_dict("records")
    ]
    return ", ".join(named) + (f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else "")


def unique_lots(read: Callable[[], Iterable[pd.DataFrame]]) -> Finding:
    """No lot is booked twice over the whole ledger: a re-dated exit leaves its old month only when that is re-run.

    Parameters
    ----------
    read
        Gives session, strategy and ``lot_id`` of all lots, a part at a time. Of all parts only eight bytes a lot are
        held; they are read once more where these may be the same of two.
    """
    hashes = [hashed(part["lot_id"]) for part in read()]
    total = sum(map(len, hashes))
    numbers = ascending((hashes.pop() for _ in range(len(hashes))), total)
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    parts = [part[np.isin(hashed(part["lot_id"]), twice)] for part in read()] if len(twice) else []
    lots = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"lot_id": pd.Series(dtype="str")})
    repeats = lots[lots.duplicated("lot_id", keep=False)].sort_values("lot_id", kind="stable")
    return Finding(
        passed=repeats.empty,
        value=float(repeats["lot_id"].nunique()),
        limit=0.0,
        summary=f"{repeats['lot_id'].nunique()} lot ids are booked more than once among {len(numbers)} lots",
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


def returns_in_scale(returns: pd.DataFrame, frequency: Frequency) -> Finding:
    """Daily returns have the size of fractions of capital, and strategies are of about one size.

    Parameters
    ----------
    returns
        ``strategy`` and ``daily_return``; zeros and nulls say nothing of scale.
    frequency
        How often the ledger's returns come.
    """
    odd = odd_scales(
        {str(name): own.to_numpy() for name, own in returns.groupby("strategy")["daily_return"]}, frequency
    )
    columns = ["strategy", "median", "largest", "times_others", "factor"]
    offending = pd.DataFrame([[getattr(row, name) for name in columns] for row in odd], columns=columns)
    said = [f"{row.strategy}: median size {row.median:.4g}, largest {row.largest:.4g}" for row in odd]
    return Finding(
        passed=not odd,
        value=float(len(odd)),
        limit=0.0,
        summary="; ".join(said) or f"all {returns['strategy'].nunique()} strategies are in scale",
        offending=offending,
    )


def enough_data(metrics: pd.DataFrame, reads: Collection[str], full: Mapping[str, int]) -> Finding:
    """Strategies measured; a date on which none is, though one could be, is a failure.

    One could be when one was on an earlier date, or when the sessions of one fill the lookback. Before that, nothing
    can be measured and base weights are the right answer.

    Parameters
    ----------
    metrics
        Rows of ``metrics``.
    reads
        Names of the metrics that the method reads; a strategy is measured when all of them are.
    full
        Sessions that fill a lookback, by its label.
    """
    read = metrics[metrics["metric"].isin(list(reads))]
    counted = metrics[metrics["metric"] == "n_sessions"]
    whole = read["value"].notna().groupby([read["as_of"], read["strategy"]]).all()
    measured = whole.groupby("as_of").sum()
    filled = (counted["value"] >= counted["lookback"].map(full)).groupby(counted["as_of"]).any().reindex(measured.index)
    empty = measured.index[(measured == 0) & (filled | (measured.cumsum() > 0))]
    count = int(measured.iloc[-1]) if len(measured) else 0
    return Finding(
        passed=empty.empty and len(measured) > 0,
        value=float(measured.min()) if len(measured) else 0.0,
        limit=1.0,
        summary=f"{count} strategies measured on the newest date; {len(empty)} dates without any",
        offending=read.loc[read["as_of"].isin(empty), ["as_of", "strategy", "metric", "lookback", "reason"]],
    )


def extreme_values(metrics: pd.DataFrame, reads: Collection[str], limit: float) -> Finding:
    """Values of the metrics that the method reads beyond ±limit: rarely skill, often a scale error in the ledger.

    Only those of the newest rebalance are judged, which nobody has looked at yet; the largest come first.
    """
    newest = metrics["as_of"] == metrics["as_of"].max()
    rows = metrics.loc[
        newest & metrics["metric"].isin(list(reads)), ["as_of", "strategy", "metric", "lookback", "value"]
    ]
    rows = rows.dropna(subset="value").sort_values("value", key=lambda values: -values.abs(), kind="stable")
    beyond = rows[rows["value"].abs() > limit]
    largest = rows.iloc[0] if len(rows) else None
    return Finding(
        passed=beyond.empty,
        value=0.0 if largest is None else float(largest["value"]),
        limit=limit,
        summary="nothing was measured"
        if largest is None
        else f"largest value of {', '.join(reads)} at the newest rebalance is {largest['value']:.2f} "
        f"({largest['strategy']}); {len(beyond)} values beyond ±{limit:g}",
        offending=beyond,
    )


def not_behind(sessions: pd.Series, reference: pd.Series, limit: int) -> Finding:
    """A series of sessions ends at most some sessions before another one."""
    newest, expected = sessions.max(), np.sort(reference.unique())
    behind = int((expected > newest).sum()) if len(sessions) else len(expected)
    return Finding(
        passed=behind <= limit,
        value=float(behind),
        limit=float(limit),
        summary=f"newest session is {newest:%Y-%m-%d}, {behind} sessions behind" if len(sessions) else "no session",
        offending=pd.DataFrame({"session": expected[-behind:]}) if behind > limit else pd.DataFrame(),
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


def state_coverage(due: pd.DatetimeIndex, state: pd.DataFrame) -> Finding:
    """Every session that is due a state has one."""
    lost = due.difference(pd.DatetimeIndex(state["session"]))
    idle = int(idle_sessions(state).sum())
    return Finding(
        passed=lost.empty,
        value=float(len(lost)),
        limit=0.0,
        summary=f"{len(lost)} of {len(due)} sessions beyond warm-up have no state; on {idle} too little moved for one",
        offending=pd.DataFrame({"session": lost}),
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


def scalar_recursion(scalars: pd.DataFrame, profiles: Mapping[str, Profile]) -> Finding:
    """The stored scalars are the smoothed targets of the stored regimes, to the bit.

    Parameters
    ----------
    scalars
        Rows of ``risk_scalar``.
    profiles
        Profile of the book and of each sleeve with a map of its own.
    """
    broken, worst = [], 0.0
    for sleeve, rows in scalars.sort_values(["sleeve", "session"]).groupby("sleeve"):
        if str(sleeve) not in profiles:
            broken.append(rows.assign(expected=np.nan))
            continue
        expected = risk_scalar(rows.set_index("session")["regime"], profiles[str(sleeve)])["scalar"].to_numpy()
        gap = np.abs(rows["scalar"].to_numpy() - expected)
        worst = max(worst, float(gap.max(initial=0.0)))
        broken.append(rows[gap > 0].assign(expected=expected[gap > 0]))
    offending = pd.concat(broken) if broken else pd.DataFrame()
    return Finding(
        passed=offending.empty,
        value=worst,
        limit=0.0,
        summary=f"scalars deviate at most {worst:.1e} from the smoothed targets",
        offending=offending,
    )


def smooth_scalars(scalars: pd.DataFrame, profile: Profile) -> Finding:
    """No scalar moves further in a session than the profile's smoothing allows."""
    limit = profile.alpha * (profile.cap - min(profile.floor, *profile.map.values()))
    rows = scalars.sort_values(["sleeve", "session"])
    step = rows.groupby("sleeve")["scalar"].diff().abs()
    largest = float(step.max()) if step.notna().any() else 0.0
    return Finding(
        passed=largest <= limit,
        value=largest,
        limit=limit,
        summary=f"largest step of a scalar in a session is {largest:.4f}, allowed {limit:.4f}",
        offending=rows[step > limit],
    )


def volatility_targeted(scalars: pd.DataFrame, expected: pd.DataFrame | None) -> Finding:
    """The stored scalars of a volatility target are those of the unscaled portfolio that was held, to the bit.

    Parameters
    ----------
    scalars
        Rows of ``risk_scalar``.
    expected
        ``volatility`` and ``volatility_scalar`` by session; None where there is no target, and nothing is stored of
        one.
    """
    columns = ["volatility", "volatility_scalar"]
    rows = scalars[scalars["sleeve"] == WHOLE_BOOK]
    found, again = rows[columns].to_numpy(np.float64), np.full((len(rows), 2), np.nan)
    if expected is not None:
        again = expected[columns].reindex(pd.DatetimeIndex(rows["session"])).to_numpy(np.float64)
    broken = ~((found == again) | (np.isnan(found) & np.isnan(again))).all(axis=1)
    names = [f"{name}_expected" for name in columns]
    offending = rows.loc[broken, ["session", *columns]]
    offending[names] = again[broken]
    return Finding(
        passed=not broken.any(),
        value=float(broken.sum()),
        limit=0.0,
        summary=f"{len(rows)} sessions, {int(broken.sum())} whose scalar is not target over volatility",
        offending=offending,
    )


def ordered_scalars(scalars: pd.DataFrame) -> Finding:
    """The mean scalar of a worse regime is not above that of a calmer one, for the book and each sleeve."""
    means = scalars.groupby(["sleeve", "regime"])["scalar"].mean().unstack().reindex(columns=list(REGIMES))
    known = means.ffill(axis=1)
    broken = means[(known.diff(axis=1) > 0).any(axis=1)]
    words = (
        ", ".join(f"{name} {mean:.3f}" for name, mean in means.iloc[0].dropna().items()) if len(means) else "none yet"
    )
    return Finding(
        passed=broken.empty,
        value=float(len(broken)),
        limit=0.0,
        summary=f"mean scalar by regime: {words}",
        offending=broken.reset_index(),
    )


def same_sessions(state: pd.DataFrame, regimes: pd.DataFrame, scalars: pd.DataFrame) -> Finding:
    """Every session with a state has a regime and a scalar and none else has; nothing that must be known is null."""
    features = [name for name in state.columns if name not in (*OPTIONAL, *MAY_BE_NULL)]
    expected = pd.DatetimeIndex(state["session"])
    book = scalars[scalars["sleeve"] == WHOLE_BOOK]
    tables = {"regime": regimes[["session", "regime"]], "scalar": book[["session", "scalar"]]}
    offending = [
        pd.DataFrame({"session": expected.symmetric_difference(pd.DatetimeIndex(table["session"])), "problem": name})
        for name, table in tables.items()
    ]
    for name, table in {"state": state[features], **tables}.items():
        null = table.isna().any(axis=1)
        offending.append(pd.DataFrame({"session": table.loc[null, "session"], "problem": f"null in {name}"}))
    rows = pd.concat(offending, ignore_index=True)
    return Finding(
        passed=rows.empty,
        value=float(len(rows)),
        limit=0.0,
        summary=f"{len(expected)} sessions with a state; {len(rows)} without regime or scalar, or with a null",
        offending=rows,
    )


def aligned_state(state: pd.DataFrame, realized: pd.DataFrame, returns: pd.DataFrame) -> Finding:
    """The state speaks of the portfolio that was held: Σ w·r of the unscaled weights in force, to the bit.

    Parameters
    ----------
    state, realized, returns
        Rows of ``allocator_state``, ``realized_weights`` and ``strategy_returns``.
    """
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized").fillna(0.0)
    held = reference_portfolio(weights, wide(returns).reindex(columns=weights.columns)).returns
    expected = held.reindex(pd.DatetimeIndex(state["session"])).to_numpy(float)
    stored = state["portfolio_return"].to_numpy(float)
    broken = stored != expected
    return Finding(
        passed=not broken.any(),
        value=float(np.nanmax(np.abs(stored - expected), initial=0.0)),
        limit=0.0,
        summary=f"{len(state)} sessions, {int(broken.sum())} not of the portfolio held",
        offending=state.loc[broken, ["session", "portfolio_return"]].assign(expected=expected[broken]),
    )


def audit_gates(audited: pd.DataFrame, gates: AuditGates) -> Finding:
    """The overlay keeps the gates of the newest audit; the figures are told either way."""
    newest = audited[audited["as_of"] == audited["as_of"].max()]
    if newest.empty:
        return Finding(passed=True, value=0.0, limit=0.0, summary="no audit yet")
    missed = audit_misses(newest, gates)
    whole = newest[newest["window"] == "all"].set_index(["portfolio", "metric"])["value"]
    told = "; ".join(
        f"{metric} {whole['unscaled', metric]:.4f} unscaled, {whole['scaled', metric]:.4f} scaled"
        for metric in ("cagr", "sharpe", "max_drawdown")
    )
    names = f"; gates missed: {', '.join(missed['gate'])}" if len(missed) else ""
    return Finding(passed=missed.empty, value=float(len(missed)), limit=0.0, summary=f"{told}{names}", offending=missed)


def overlay_applied(
    final: pd.DataFrame,
    realized: pd.DataFrame,
    scalars: pd.DataFrame,
    overlay: AllocatorParameters | None,
    hedging: Hedging | None = None,
) -> Finding:
    """Final weights are the stored realized ones times the stored scalars where applied, to the bit.

    Parameters
    ----------
    final, realized, scalars
        Rows of ``final_weights``, ``realized_weights`` and ``risk_scalar``.
    overlay
        The allocator, which says by what a strategy is scaled.
    hedging
        Hedges of the policy: they are among final weights as the stored regimes say.
    """
    rows = final.merge(
        realized[["as_of", "strategy", "realized"]], on=["as_of", "strategy"], how="outer", suffixes=("", "_stored")
    )
    rows["sleeve"] = [overlay.scaled_by(name) if overlay else WHOLE_BOOK for name in rows["strategy"]]
    stored = scalars[["session", "sleeve", "scalar"]].rename(
        columns={"session": "scalar_session", "scalar": "smoothed"}
    )
    rows = rows.merge(stored, on=["scalar_session", "sleeve"], how="left")
    known = rows["scalar_session"].notna()
    rows["scaled"] = rows["realized_stored"] * np.where(known, rows["smoothed"], rows["scalar"])
    book = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")
    nothing = np.full(len(rows), np.nan)
    told = dict.fromkeys(("volatility_scalar", "funding", "hedge"), nothing)
    if overlay is not None and overlay.volatility_target is not None:
        targeted = np.where(known, book["volatility_scalar"].reindex(rows["scalar_session"]).to_numpy(), 1.0)
        told["volatility_scalar"], rows["scaled"] = targeted, rows["scaled"] * targeted
    if hedging is not None:
        told["funding"], told["hedge"] = hedged_rows(rows, book["regime"], hedging)
        rows["scaled"] = rows["scaled"] * told["funding"] + told["hedge"]
    expected = np.where(rows["applied"], rows["scaled"], rows["realized_stored"])
    gap = np.abs(rows["final"] - expected)
    broken = ~(gap == 0) | (rows["realized"] != rows["realized_stored"])
    for column, found in told.items():
        broken |= (rows[column] != found) & ~(rows[column].isna() & np.isnan(found))
    return Finding(
        passed=not broken.any(),
        value=float(gap.max()) if len(gap) else 0.0,
        limit=0.0,
        summary=f"{len(rows)} final weights, {int(broken.sum())} differ from realized × scalars"
        f"{' and hedges' if hedging else ''}",
        offending=rows[broken],
    )


def reproduced(recomputed: pd.DataFrame, stored: pd.DataFrame) -> Finding:
    """Weights computed again are those stored: unscaled, scalars and final, bit for bit.

    Parameters
    ----------
    recomputed, stored
        Rows of ``final_weights`` for the same dates.
    """
    columns = ["realized", "scalar", "volatility_scalar", "final"]
    rows = stored.merge(
        recomputed[["as_of", "strategy", *columns]],
        on=["as_of", "strategy"],
        how="outer",
        suffixes=("", "_recomputed"),
    )
    found, expected = (rows[[f"{name}{end}" for name in columns]].to_numpy(float) for end in ("", "_recomputed"))
    gap = np.abs(found - expected).max(axis=1, initial=0)
    # A book without overlay has no scalar, neither stored nor recomputed.
    broken = ~((found == expected) | (np.isnan(found) & np.isnan(expected))).all(axis=1)
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
    longest = regime_summary(rows.set_index("session")["regime"]).by_regime["longest_run"]
    runs = ", ".join(f"{name} {int(run)}" for name, run in longest.items())
    return Finding(
        passed=not early.any(),
        value=float(early.sum()),
        limit=0.0,
        summary=f"{changes} transitions in {len(rows)} sessions; {int(early.sum())} downgrades before "
        f"{thresholds.min_stay} sessions; longest runs: {runs}",
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
