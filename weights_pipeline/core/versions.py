"""Versions of weights: which are new, and what sets two apart.

Scope: the rows that a materialisation adds, differences, and hashes of rows and documents. Not here: where versions are
kept and which was in force (``versions.history``), what they are computed from (``versions.inputs``), and computing
them again (``versions.recompute``).

A version is the weights of one rebalance. A history has one row per version and strategy. It has two time axes:
``effective_from`` says when weights are in force, ``recorded_at`` since when that is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.table import MANUAL
from weights_pipeline.core.verify import Finding

OPENING = "init"
"""In place of a partition, of the version that a desk opens with: its base weights, before any rebalance."""

WEIGHTS = ("base", "previous", "target", "realized", "final")
"""The weights of a version, in the order in which one follows from the other."""

CONTENT = ("as_of", "effective_from", "strategy", *WEIGHTS, "metrics", "parameters_hash", "ledger_hash")
"""What sets one version apart from another of the same rebalance."""


_METRIC_COLUMNS = ("as_of", "strategy", "metric", "lookback", "value")

CHANGES = ("ledger", "policy", "metrics", "earlier weights", "code")
"""What may differ between two versions besides their weights."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What all versions of one run have in common.

    Attributes
    ----------
    run_id, code_version, comment
        Recorded as they are.
    recorded_at
        Instant of the run, tz-naive UTC.
    reason
        Why the run took place: scheduled, manual or backfill.
    first
        Key of the book's first rebalance, whose first version is the initial one whatever the run.
    """

    run_id: str
    recorded_at: pd.Timestamp
    code_version: str
    comment: str
    reason: str
    first: str


def version_rows(
    final: pd.DataFrame,
    realized: pd.DataFrame,
    read: pd.DataFrame,
    hashes: pd.DataFrame,
    rebalances: Mapping[str, pd.Timestamp],
) -> pd.DataFrame:
    """Weights of some rebalances, as versions of them would say.

    Parameters
    ----------
    final, realized
        Rows of ``final_weights`` and ``realized_weights``.
    read
        ``as_of``, ``strategy`` and ``metrics``, as JSON; empty for a strategy without a row.
    hashes
        ``as_of``, ``parameters_hash``, ``ledger_hash`` and ``state_hash``.
    rebalances
        As-of session by key of the partition.

    Returns
    -------
    DataFrame
        See ``computed`` of :func:`additions`.
    """
    steps = realized[["as_of", "strategy", "base", "previous", "target"]]
    rows = final[["as_of", "effective_from", "strategy", "realized", "final"]]
    rows = rows.merge(steps, on=["as_of", "strategy"], validate="one_to_one").merge(hashes, on="as_of")
    rows = rows.merge(read, on=["as_of", "strategy"], how="left").fillna({"metrics": "{}"})
    keys = {as_of: key for key, as_of in rebalances.items()}
    return rows.assign(rebalance=rows["as_of"].map(keys))


def newest_versions(history: pd.DataFrame, of: str = "rebalance") -> pd.DataFrame:
    """Rows of the newest version of each rebalance, or of each as-of session: a book may have changed its cadence."""
    rows: pd.DataFrame = history[history["version"] == history.groupby(of)["version"].transform("max")]
    return rows


def known_before(history: pd.DataFrame, version: int) -> pd.DataFrame:
    """Earlier rebalances as they stood when a version was made: of each, the newest version with a smaller number."""
    own = history.loc[history["version"] == version, "rebalance"].iloc[0]
    rows = newest_versions(history[(history["version"] < version) & (history["rebalance"] < own)])
    return rows.sort_values(["rebalance", "strategy"], ignore_index=True)


def published_before(history: pd.DataFrame, as_of: pd.Timestamp) -> pd.Series | None:
    """Realized weights in force on the as-of session of a book's first rebalance, by strategy; None where none were.

    They are those that a desk opened with, or of rebalances from before the book had its first month.

    Parameters
    ----------
    history
        Rows of ``weight_history``.
    as_of
        The session.
    """
    known = newest_versions(history[history["effective_from"] <= as_of])
    if known.empty:
        return None
    last = known[known["effective_from"] == known["effective_from"].max()]
    weights: pd.Series = last[last["version"] == last["version"].max()].set_index("strategy")["realized"]
    return weights


def additions(history: pd.DataFrame, computed: pd.DataFrame, stamp: Stamp) -> pd.DataFrame:
    """Rows that a run adds: a version of each rebalance whose content is not that of its newest one.

    Parameters
    ----------
    history
        Rows of ``weight_history`` so far.
    computed
        Rows of rebalances as computed: ``rebalance``, ``state_hash`` and the columns ``CONTENT``.
    stamp
        What to record of the run.

    Returns
    -------
    DataFrame
        Rows of ``weight_history``, numbered on from the newest version in the order of the rebalances. Their reason is
        ``correction`` where a rebalance has a version already, ``initial`` for the first of all rebalances unless a
        desk has opened before it, and otherwise that of the run. They are recorded no earlier than any version before
        them, also by a clock that was put back: what was known at an instant stays what was known.
    """
    found = _contents(computed)
    held = _contents(newest_versions(history[history["rebalance"].isin(found)]))
    new = [key for key in sorted(found) if found[key] != held.get(key)]
    number = int(history["version"].max()) if len(history) else 0
    reasons = {key: "correction" if key in held else stamp.reason for key in new}
    if reasons.get(stamp.first) == stamp.reason and OPENING not in set(history["rebalance"]):
        reasons[stamp.first] = "initial"
    rows = computed[computed["rebalance"].isin(new)].reset_index(drop=True)
    return rows.assign(
        version=rows["rebalance"].map({key: number + 1 + place for place, key in enumerate(new)}).astype("int64"),
        recorded_at=max(stamp.recorded_at, history["recorded_at"].max()) if len(history) else stamp.recorded_at,
        reason=rows["rebalance"].map(reasons),
        comment=stamp.comment,
        run_id=stamp.run_id,
        code_version=stamp.code_version,
    )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What sets two versions apart.

    Attributes
    ----------
    weights
        By strategy: of base, target, realized and final weight the ``_old`` and ``_new`` one and the ``_change``; null
        where a version does not have the strategy.
    changed
        Which of ``CHANGES`` there are.
    """

    weights: pd.DataFrame
    changed: tuple[str, ...]


def diff(old: pd.DataFrame, new: pd.DataFrame) -> Difference:
    """Difference between the rows of two versions."""
    names = [name for name in WEIGHTS if name != "previous"]
    both = old.merge(new, on="strategy", how="outer", suffixes=("_old", "_new")).sort_values("strategy")
    weights = both[["strategy", *(f"{name}_{side}" for name in names for side in ("old", "new"))]].assign(
        **{f"{name}_change": both[f"{name}_new"] - both[f"{name}_old"] for name in names}
    )
    one_each = {"ledger": "ledger_hash", "policy": "parameters_hash", "code": "code_version"}
    changed = {word: old[name].iloc[0] != new[name].iloc[0] for word, name in one_each.items()}
    for word, name in {"metrics": "metrics", "earlier weights": "previous"}.items():
        by_strategy = [rows.set_index("strategy")[name].sort_index() for rows in (old, new)]
        changed[word] = not by_strategy[0].equals(by_strategy[1])
    return Difference(
        weights=weights.reset_index(drop=True),
        changed=tuple(word for word in CHANGES if changed[word]),
    )


def changed_contents(documents: Mapping[str, str], old: str, new: str) -> list[str]:
    """Names of contents in which two chains differ; see :func:`linked`."""
    before, after = (
        {name: content for contents in linked(documents, head).values() for name, content in contents.items()}
        for head in (old, new)
    )
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def changed_keys(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Old and new value by path of keys, wherever two JSON documents differ; None where one has no such key."""
    if old == new:
        return {}
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {path: (old, new)}
    keys = sorted(old.keys() | new.keys())
    found = [changed_keys(old.get(key), new.get(key), f"{path}.{key}" if path else key) for key in keys]
    return {where: values for each in found for where, values in each.items()}


def unbroken(history: pd.DataFrame, final: pd.DataFrame) -> Finding:
    """Versions are numbered 1, 2, … without a gap, and the newest of each rebalance is what is stored, to the bit.

    Parameters
    ----------
    history
        Rows of ``weight_history``.
    final
        Rows of ``final_weights``; ``realized`` and ``final`` are compared.
    """
    numbers = np.sort(history["version"].unique())
    missing = np.setdiff1d(np.arange(1, numbers.max(initial=0) + 1), numbers)
    stored = final[["as_of", "strategy", "realized", "final"]]
    newest = newest_versions(history[history["rebalance"] != OPENING], "as_of")
    newest = newest.loc[newest["as_of"].isin(stored["as_of"]), ["version", *stored.columns]]
    rows = stored.merge(newest, on=["as_of", "strategy"], how="outer", suffixes=("", "_version"))
    same = (rows["realized"] == rows["realized_version"]) & (rows["final"] == rows["final_version"])
    gaps = pd.DataFrame({"version": missing, "problem": "missing"})
    broken = rows[~same].assign(problem="not the stored weight")
    dates = broken["as_of"].drop_duplicates()
    offending = pd.concat([gaps, broken], ignore_index=True) if len(gaps) else broken
    return Finding(
        passed=offending.empty,
        value=float(len(offending)),
        limit=0.0,
        summary=f"{len(numbers)} versions of {history['rebalance'].nunique()} rebalances; {len(missing)} numbers "
        f"missing, {len(dates)} of {stored['as_of'].nunique()} rebalances without a version of their stored weights"
        + (f": {', '.join(f'{date:%Y-%m-%d}' for date in dates[:6])}" if len(dates) else ""),
        offending=offending,
    )


def metrics_read(metrics: pd.DataFrame, reads: Collection[str]) -> pd.DataFrame:
    """What a method read of each date and strategy.

    Parameters
    ----------
    metrics
        Rows of ``metrics``.
    reads
        Names of the metrics that the method reads.

    Returns
    -------
    DataFrame
        ``as_of``, ``strategy`` and ``metrics``: JSON by label such as ``calmar_12m``, null where it could not be
        measured; and the ``source`` manual where a person gave them.
    """
    read = metrics[metrics["metric"].isin(list(reads))]
    found: dict[tuple[pd.Timestamp, str], dict[str, float | str | None]] = {}
    for as_of, strategy, metric, lookback, value in zip(*(read[name] for name in _METRIC_COLUMNS), strict=True):
        found.setdefault((as_of, strategy), {})[metric_label(metric, lookback)] = None if value != value else value
    given = read[read["source"] == MANUAL]
    for key in zip(given["as_of"], given["strategy"], strict=True):
        found[key]["source"] = MANUAL
    spelled = [(*key, canonical(values)) for key, values in found.items()]
    return pd.DataFrame(spelled, columns=["as_of", "strategy", "metrics"])


def set_metrics_read(targets: pd.DataFrame, sets: pd.DataFrame) -> pd.DataFrame:
    """What an ensemble read of each date and strategy: which weight set, and the metrics that it was made of.

    Parameters
    ----------
    targets
        Rows of ``target_weights``.
    sets
        Rows of :func:`~weights_pipeline.core.ensembles.all_weight_sets`.

    Returns
    -------
    DataFrame
        As :func:`metrics_read`; the JSON also has ``weight_set``.
    """
    made = sets["weight_set"] + " of " + sets["as_of"].dt.strftime("%Y-%m-%d")
    wanted = targets[["as_of", "strategy", "target", "weight_set"]]
    wanted = wanted.assign(made=wanted["weight_set"].str.split(":").str[0])
    # A set made by hand after the rebalance was not the one it read.
    named = sets.assign(made=made).sort_values("source")[["made", "strategy", "target", "metrics"]]
    rows = wanted.merge(named, on=["made", "strategy", "target"], how="left")
    rows = rows.drop_duplicates(["as_of", "strategy"], ignore_index=True)
    read = rows["metrics"].fillna("{}").map(json.loads)
    spelled = [canonical({"weight_set": name, **found}) for name, found in zip(rows["weight_set"], read, strict=True)]
    return rows[["as_of", "strategy"]].assign(metrics=spelled)


def canonical(document: Any) -> str:
    """JSON in one spelling: keys sorted, no spaces, floats as the shortest text that reads as the same bits."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def link(of: str, contents: Mapping[str, str], previous: str | None) -> str:
    """Document that adds contents to those of the documents before it; its own hash is one of everything up to it.

    Parameters
    ----------
    of
        What the contents are of, such as a month.
    contents
        Hash of each by its name.
    previous
        Hash of the document before; None for the first.
    """
    return canonical({"of": of, "contents": contents, "previous": previous})


def chain(contents: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Link contents month by month.

    Parameters
    ----------
    contents
        By month, ascending: hash by name.

    Returns
    -------
    heads : dict
        Hash of the document of each month.
    documents : dict
        By hash.
    """
    heads, documents = dict[str, str](), dict[str, str]()
    previous = None
    for month, own in contents.items():
        text = link(month, own, previous)
        heads[month] = previous = digest(text)
        documents[previous] = text
    return heads, documents


def linked(documents: Mapping[str, str], head: str) -> dict[str, dict[str, str]]:
    """All contents from the first document of a chain up to ``head``, by what they are of.

    Raises
    ------
    ValueError
        A document is missing, or is not what its hash says.
    """
    found: list[tuple[str, dict[str, str]]] = []
    place: str | None = head
    while place is not None:
        document = json.loads(intact(documents, place))
        found.append((document["of"], document["contents"]))
        place = document["previous"]
    return dict(reversed(found))


def intact(documents: Mapping[str, str], key: str) -> str:
    """Text of a document, which is what its hash says.

    Raises
    ------
    ValueError
        There is none, or it is another.
    """
    if key not in documents:
        raise ValueError(f"document {key} is missing")
    if digest(documents[key]) != key:
        raise ValueError(f"document {key} is not what was recorded: its hash is {digest(documents[key])}")
    return documents[key]


def running_digests(rows: pd.DataFrame, time_column: str, dates: pd.DatetimeIndex) -> list[str]:
    """SHA-256 of the rows up to each date, in one pass.

    Rows that are added after a date do not change its digest: each session continues the digest of those before it.

    Parameters
    ----------
    rows
        Sorted by ``time_column`` and, within a session, by a key.
    time_column
        Dates of the rows.
    dates
        Ascending.

    Returns
    -------
    list of str
        One digest per date. It covers names and values; neither the order of columns nor the type of a number.
    """
    cells = _Cells(rows[sorted(rows.columns)])
    days = rows[time_column].to_numpy(dtype="datetime64[us]")
    edges = _edges(days)
    running, found, session = hashlib.sha256(cells.names), list[str](), 0
    for date in dates.to_numpy(dtype="datetime64[us]"):
        while session + 1 < len(edges) and days[edges[session]] <= date:
            running.update(cells.between(edges[session], edges[session + 1]))
            session += 1
        found.append(running.hexdigest())
    return found


def _contents(rows: pd.DataFrame) -> dict[str, bytes]:
    """Digest of the content of each rebalance."""
    ordered = rows.sort_values(["rebalance", "strategy"], ignore_index=True)
    cells, keys = _Cells(ordered[list(CONTENT)]), ordered["rebalance"].to_numpy(dtype=object)
    edges = _edges(keys)
    return {keys[start]: hashlib.sha256(cells.between(start, stop)).digest() for start, stop in pairwise(edges)}


def _edges(values: np.ndarray[Any, Any]) -> list[int]:
    """Where each run of equal values begins, and where the last one ends."""
    return [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)] if len(values) else [0]


class _Cells:
    """Cells of a frame as bytes, row range by row range."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.names = canonical([str(name) for name in rows.columns]).encode()
        self._numbers: list[np.ndarray[Any, Any]] = []
        self._texts: list[np.ndarray[Any, Any]] = []
        for name in rows.columns:
            column = rows[name]
            match column.dtype.kind:
                case "M":
                    self._numbers.append(column.to_numpy(dtype="datetime64[us]"))
                case "b" | "i" | "u" | "f":
                    self._numbers.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
                case _:
                    # The lengths tell where a text ends, and a null from an empty one.
                    length = column.str.len().to_numpy(dtype=np.float64, na_value=np.nan)
                    self._numbers.append(length)
                    self._texts.append(column.fillna("").to_numpy(dtype=object))

    def between(self, start: int, stop: int) -> bytes:
        numbers = b"".join(np.ascontiguousarray(column[start:stop]).tobytes() for column in self._numbers)
        texts = "".join("".join(column[start:stop]) for column in self._texts)
        return (stop - start).to_bytes(8, "little") + numbers + texts.encode()
