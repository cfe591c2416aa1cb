"""From metrics to target weights.

Scope: what a method reads of each date, and ``target_weights``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from weights_pipeline.core.chain.realized import newest_weights
from weights_pipeline.core.metrics.measures import REASONS
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import carried
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.methods.base import (
    MISSING,
    Codes,
    CrossSection,
    Method,
    Targets,
    target_weights,
    targets_frame,
)
from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.samples import samples


def cross_sections(metrics: pd.DataFrame, policy: Policy) -> tuple[pd.DatetimeIndex, list[str], list[CrossSection]]:
    """What the method reads of each date of a metrics table.

    Returns
    -------
    as_of : DatetimeIndex
        The dates of the table, ascending.
    lookbacks : list of str
        Label of each date's lookback.
    sections : list of CrossSection

    Raises
    ------
    ValueError
        A metric that the method reads is not in the table, or a date has more than one lookback.
    """
    there = set(metrics["metric"].unique())
    if absent := sorted(set(policy.reads) - there):
        raise ValueError(f"metrics {absent} are not in the table, which has {sorted(there)}")
    by_date = metrics.groupby("as_of")["lookback"].agg(["first", "nunique"])
    if (several := by_date["nunique"] > 1).any():
        raise ValueError(f"metrics: expected one lookback a date, got several on {by_date.index[several][0]:%Y-%m-%d}")
    as_of = pd.DatetimeIndex(by_date.index).rename(None)
    shape = (len(as_of), len(policy.strategies))
    values, reasons = dict[str, Floats](), dict[str, Codes]()
    for name in policy.reads:
        rows = metrics[metrics["metric"] == name]
        values[name], reasons[name] = np.full(shape, np.nan), np.full(shape, MISSING, dtype=np.int8)
        day = as_of.get_indexer(pd.DatetimeIndex(rows["as_of"]))
        place = pd.Index(policy.strategies).get_indexer(pd.Index(rows["strategy"]))
        if pd.Series(day * shape[1] + place)[place >= 0].duplicated().any():
            raise ValueError(f"metrics: a strategy has {name} twice on one date")
        known = place >= 0
        values[name][day[known], place[known]] = rows["value"].to_numpy(np.float64)[known]
        codes = rows["reason"].map({reason: code for code, reason in enumerate(REASONS)}).to_numpy(np.int8)
        reasons[name][day[known], place[known]] = codes[known]
    sections = [
        CrossSection(
            strategies=policy.strategies,
            base=policy.weights,
            gross=policy.gross,
            values={name: grid[day] for name, grid in values.items()},
            reasons={name: grid[day] for name, grid in reasons.items()},
            liquid=policy.liquid({name: grid[day] for name, grid in values.items()}),
            as_of=as_of[day],
        ).without(policy.are_hedges)
        for day in range(len(as_of))
    ]
    return as_of, by_date["first"].tolist(), sections


def with_samples(
    sections: Sequence[CrossSection], history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy
) -> list[CrossSection]:
    """Sections of some dates, each with the returns of its window."""
    drawn = samples(history, as_of, policy.longest_lookback, policy.strategies, policy.frequency)
    return [replace(section, sample=sample) for section, sample in zip(sections, drawn, strict=True)]


def targets_in_turn(
    read: Iterable[tuple[Method, CrossSection]], policy: Policy, held: pd.Series | None = None
) -> list[Targets]:
    """Targets of some dates, each the weights that the next one trades from where the method counts costs.

    Parameters
    ----------
    read
        Method and what it reads, by date, ascending.
    policy
        The book's policy.
    held
        Weights by strategy before the first date; None in the first partition, which starts from base weights.
    """
    made = list[Targets]()
    fees = policy.costs.fees(policy.strategies) if policy.counts_costs and policy.costs is not None else None
    for method, section in read:
        if fees is not None:
            start, _ = carried(held, policy.strategies, policy.weights)
            section = replace(section, held=start, fees=fees)
        made.append(target_weights(method, section, policy.limits))
        if fees is not None:
            # A policy that counts costs goes to its targets at once.
            held = pd.Series(made[-1].target, index=pd.Index(policy.strategies))
    return made


def target_table(
    metrics: pd.DataFrame,
    policy: Policy,
    history: ReturnHistory | None = None,
    previous: pd.DataFrame | None = None,
    opening: pd.Series | None = None,
) -> pd.DataFrame:
    """Target weights of every date in a metrics table.

    Parameters
    ----------
    metrics
        Rows of ``metrics``: as_of, strategy, metric, lookback, value, reason.
    policy
        The book's policy.
    history
        Returns from the lookback of the first date on; read by a method that optimises or shrinks, and needed by it.
    previous, opening
        As of :func:`realized_table`; read by a method that counts costs alone.

    Returns
    -------
    DataFrame
        Rows of ``target_weights``.

    Raises
    ------
    ValueError
        See :func:`cross_sections`.
    """
    as_of, lookbacks, sections = cross_sections(metrics, policy)
    if policy.method.optimises:
        if history is None:
            raise ValueError(f"history: method {policy.method.kind} reads the returns of the window, got none")
        sections = with_samples(sections, history, as_of, policy)
    held = newest_weights(previous) if previous is not None and len(previous) else opening
    targets = targets_in_turn(((policy.method, section) for section in sections), policy, held)
    n = len(policy.strategies)
    table = targets_frame(targets, policy.strategies, policy.weights)
    shown = [policy.label(lookback) for lookback in lookbacks]
    return table.assign(as_of=as_of.repeat(n), metric=texts(shown, np.repeat(np.arange(len(as_of)), n)), weight_set="")
