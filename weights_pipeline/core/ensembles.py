"""Ensembles: one weight set per market regime, and which of them is read.

Scope: the making of weight sets on the sessions of each regime, and the order in which they are read. Not here: the
regimes themselves (``targets.market_regime``), the methods that make a set (``targets.methods``), and where sets are
kept.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.table import MetricGrid, metrics_grid
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.market_regime import MARKET_REGIMES
from weights_pipeline.core.targets.methods.base import CrossSection, target_weights, targets_frame
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE

ALL = "all"
WEIGHT_SETS = (ALL, *MARKET_REGIMES)
"""The set made on all sessions, and one per market regime; of equally new ones the first is read."""

MAX_REGIME_AGE = 5
"""Sessions after which the newest market regime no longer says what the current one is."""


@dataclass(frozen=True)
class Choice:
    """The weight set read on one date.

    Attributes
    ----------
    weight_set
        One of ``WEIGHT_SETS``, or ``uniform``.
    snapshot
        Date of the set; NaT for uniform weights.
    reason
        Why this one, in words.
    """

    weight_set: str
    snapshot: pd.Timestamp
    reason: str

    def __str__(self) -> str:
        """``bull of 2022-12-23: current regime``."""
        made = "" if pd.isna(self.snapshot) else f" of {self.snapshot:%Y-%m-%d}"
        return f"{self.weight_set}{made}: {self.reason}"


def weight_sets(
    history: ReturnHistory,
    regimes: pd.Series,
    as_of: pd.DatetimeIndex,
    policy: Policy,
    sets: tuple[str, ...] = WEIGHT_SETS,
) -> pd.DataFrame:
    """Weight sets of each date: the policy's method, run on the sessions of each market regime in the lookback.

    Parameters
    ----------
    history
        Returns, over the lookback of the earliest date at least.
    regimes
        Market regime by session; a session without one belongs to the set ``all`` only.
    as_of
        Sessions of the history.
    policy
        The book's policy.
    sets
        Which of ``WEIGHT_SETS`` to make.

    Returns
    -------
    DataFrame
        Per date, set and strategy: the columns of target weights, and ``weight_set``, ``is_active`` (at least one
        strategy is measured, so that the set may be read), ``sessions`` (how many of the set lie in the lookback) and
        ``metrics`` (what the method read, as JSON).
    """
    as_of, lookback = as_of.unique().sort_values(), policy.longest_lookback
    regime = regimes.reindex(history.sessions).to_numpy()
    stop = history.sessions.get_indexer(as_of) + 1
    start = lookback.starts(history.sessions, as_of, policy.frequency)
    tables = []
    for name in sets:
        within = None if name == ALL else regime == name
        grid = metrics_grid(
            history,
            as_of,
            lookback,
            policy.metrics,
            frequency=policy.frequency,
            metrics=policy.method.reads,
            strategies=policy.strategies,
            starter=policy.starter,
            within=within,
        )
        sections = sections_of(grid, policy)
        targets = [target_weights(policy.method, section, policy.limits) for section in sections]
        counted = np.concatenate([[0], np.cumsum(np.ones(len(regime), dtype=bool) if within is None else within)])
        measured = [is_active(section, policy) for section in sections]
        n = len(policy.strategies)
        table = targets_frame(targets, policy.strategies, policy.weights).assign(
            as_of=as_of.repeat(n),
            metric=policy.label(lookback.label),
            weight_set=name,
            is_active=np.repeat(measured, n),
            sessions=np.repeat(counted[stop] - counted[start], n),
            metrics=_json(grid),
        )
        tables.append(table)
    return pd.concat(tables).sort_values(["as_of", "weight_set", "strategy"], ignore_index=True)


def is_active(section: CrossSection, policy: Policy) -> bool:
    """Whether a set may be read: at least one strategy with a base weight is measured."""
    return bool(((section.read(policy.method.reads) == 0) & (section.base > 0)).any())


def sections_of(grid: MetricGrid, policy: Policy) -> list[CrossSection]:
    """What the method reads of each date of a grid."""
    return [
        CrossSection(
            strategies=policy.strategies,
            base=policy.weights,
            gross=policy.gross,
            values={name: measured.value[day] for name, measured in grid.measured.items()},
            reasons={name: measured.reason[day] for name, measured in grid.measured.items()},
            liquid=policy.liquid({name: measured.value[day] for name, measured in grid.measured.items()}),
            as_of=grid.as_of[day],
        ).without(policy.are_hedges)
        for day in range(len(grid.as_of))
    ]


def ensemble_targets(
    sets: pd.DataFrame, regimes: pd.Series, as_of: pd.DatetimeIndex, sessions: pd.DatetimeIndex, policy: Policy
) -> pd.DataFrame:
    """Target weights of each date, read from the weight sets known by then.

    The newest active set of the current regime; where there is none, the newest other active set; where there is none
    either, uniform weights. A set made for other strategies, base weights or limits than the policy's is not read.

    Parameters
    ----------
    sets
        Rows of :func:`weight_sets`, of any dates; what is dated after a date is not read on it. Where two sets of the
        same name and date may be read that differ in ``source``, the one that sorts first by it counts.
    regimes
        Market regime by session.
    as_of
        Dates to read on.
    sessions
        Trading sessions, to tell how old a regime is.
    policy
        The book's policy.

    Returns
    -------
    DataFrame
        Rows of ``target_weights``; ``weight_set`` says which set was read, and why.

    Raises
    ------
    ValueError
        The newest market regime is more than five sessions old.
    """
    usable = _usable(sets, policy)
    blocks: dict[Any, Any] = dict(usable.groupby(["weight_set", "as_of"]).indices)
    newest = {name: sorted(made for found, made in blocks if found == name) for name in WEIGHT_SETS}
    section = CrossSection(strategies=policy.strategies, base=policy.weights, gross=policy.gross, values={}, reasons={})
    uniform = targets_frame([target_weights(Equal(), section, policy.limits)], policy.strategies, policy.weights)
    uniform = uniform.assign(metric="", weight_set="", as_of=as_of[0])
    columns = list(uniform.columns)
    tables, chosen = [], []
    for date in as_of:
        choice = choose(newest, current_regime(regimes, date, sessions), date)
        chosen.append(str(choice))
        rows = blocks.get((choice.weight_set, choice.snapshot))
        tables.append(uniform if rows is None else usable.iloc[rows][columns])
    n = len(policy.strategies)
    table: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return table.assign(as_of=as_of.repeat(n), weight_set=texts(chosen, np.repeat(np.arange(len(as_of)), n)))


def all_weight_sets(scheduled: pd.DataFrame, manual: pd.DataFrame) -> pd.DataFrame:
    """Sets made at rebalances and by hand together; of one name and date, that made by hand counts."""
    return pd.concat(
        [scheduled.assign(source="scheduled"), manual.reindex(columns=scheduled.columns).assign(source="manual")],
        ignore_index=True,
    )


def choose(newest: dict[str, list[pd.Timestamp]], regime: str, date: pd.Timestamp) -> Choice:
    """Choose among the dates of active sets: the current regime's newest, else the newest other, else uniform."""
    known = {name: dates[:cut][-1] for name, dates in newest.items() if (cut := bisect_right(dates, date))}
    if regime in known:
        return Choice(regime, known[regime], "current regime")
    if not known:
        return Choice("uniform", pd.NaT, f"no active set, regime {regime}")  # type: ignore[arg-type]
    # Dictionaries keep the order of WEIGHT_SETS, so that of equally new sets the first is taken.
    other = max(known, key=lambda name: known[name])
    return Choice(other, known[other], f"latest other, no set of the current regime {regime}")


def current_regime(regimes: pd.Series, date: pd.Timestamp, sessions: pd.DatetimeIndex) -> str:
    """Newest market regime on a date; neutral before the first one.

    Raises
    ------
    ValueError
        The newest one is more than five sessions old.
    """
    position = int(regimes.index.searchsorted(date, side="right"))
    if position == 0:
        return "neutral"
    last = regimes.index[position - 1]
    age = int(sessions.searchsorted(date, side="right") - sessions.searchsorted(last, side="right"))
    if age > MAX_REGIME_AGE:
        raise ValueError(
            f"market regime: the newest is that of {last:%Y-%m-%d}, {age} sessions before {date:%Y-%m-%d}; "
            f"expected at most {MAX_REGIME_AGE}. Bring the benchmark up to date."
        )
    return str(regimes.iloc[position - 1])


def _usable(sets: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Active sets that fit the policy, one per name and date, sorted by strategy."""
    lower, upper = policy.limits.bounds(policy.weights, policy.gross)
    slack = GROSS_TOLERANCE * policy.gross
    expected = pd.DataFrame(
        {"base": policy.weights, "lower": lower, "upper": upper}, index=pd.Index(policy.strategies, name="strategy")
    )
    active = sets[sets["is_active"]]
    for group in policy.groups:
        members = active["strategy"].isin([policy.strategies[at] for at in group.members])
        keys = ["weight_set", "as_of", *active.columns.intersection(["source"])]
        sums = active["target"].where(members, 0.0).groupby([active[key] for key in keys]).transform("sum")
        active = active[sums.between(group.floor - slack, group.cap + slack)]
    wanted = expected.reindex(active["strategy"])
    same = (active[["base", "lower", "upper"]].to_numpy() == wanted.to_numpy()).all(axis=1)
    one_set = ["weight_set", "as_of", *active.columns.intersection(["source"])]
    by_set = active.assign(same=same).groupby(one_set)["same"]
    active = active[(by_set.transform("sum") == len(expected)) & (by_set.transform("size") == len(expected))]
    if "source" in active:
        # Only now: a set that cannot be read may not hide one that can.
        active = active[active["source"] == active.groupby(["weight_set", "as_of"])["source"].transform("min")]
    return active.sort_values(["weight_set", "as_of", "strategy"], ignore_index=True)


def _json(grid: MetricGrid) -> list[str]:
    """What was read of each date and strategy, as JSON; null where it could not be measured."""
    labels = [metric_label(name, grid.lookback.label) for name in grid.measured]
    values = np.stack([measured.value for measured in grid.measured.values()], axis=-1) if labels else None
    if values is None:
        return ["{}"] * (len(grid.as_of) * len(grid.strategies))
    rows = values.reshape(-1, len(labels)).tolist()
    return [json.dumps({k: None if v != v else v for k, v in zip(labels, row, strict=True)}) for row in rows]
