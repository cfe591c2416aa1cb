"""``weights explain``: the way of one weight from its metric to what is traded, replayed step by step.

Scope: the command. Not here: the steps (``core.waterfall``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common
from weights_pipeline.core.metrics.label import of_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weights_pipeline.core.waterfall import Step
    from weights_pipeline.store.base import Store
    from weights_pipeline.store.queries import WeightSet

_SIGNS = {"start": "=", "hold": "=", "times": "×", "over": "÷", "plus": "+", "clip": "within", "note": ""}
_SET_READ = re.compile(r"(?P<name>\w+) of (?P<day>\d{4}-\d\d-\d\d): ")


def add(commands: common.Commands) -> None:
    """Declare the command."""
    explain = common.command(commands, "explain", _explain)
    explain.add_argument("--book", required=True, help="book")
    explain.add_argument("--strategy", required=True, help="strategy whose weight to explain")
    explain.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="the weight in force on this day")


def _explain(options: argparse.Namespace) -> int:
    """Show how one weight came about: every step with its figure, up to the very bits that are stored."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, weights_in_force

    store = common.workspace().store
    with store.view():
        try:
            found = weights_in_force(store, options.book, options.as_of)[0]
        except (FileNotFoundError, NothingInForceError) as error:
            common.stop(str(error), common.NOTHING)
        names = [row.strategy for row in found.rows]
        if options.strategy not in names:
            message = f"unknown strategy {options.strategy!r}; book {found.book} has {', '.join(names)}"
            common.stop(message, common.INVALID)
        target, realized, final = _rows(store, found, options.strategy)
        behind = _behind(store, found, target)

    from weights_pipeline.core.waterfall import ReplayError, waterfall

    try:
        steps = waterfall(target, realized, final)
    except ReplayError as error:
        common.stop(f"{found.book}: stored figures contradict each other: {error}", common.FAILED)
    if options.json:
        content = {
            "book": found.book,
            "strategy": options.strategy,
            "as_of": found.as_of,
            "effective_from": found.effective_from,
            "steps": [_as_dict(step) for step in steps],
            "final": float(final["final"]),
            "exact": True,
            "behind_the_metric": behind,
        }
        common.print_json(content)
        return 0
    render.say(f"{found.book}, {options.strategy}: weight in force from {found.effective_from}")
    render.table(_lines(steps), ["Step", "", "By", "Value", "As weight", "Remark"])
    render.say(_sample(found, behind))
    render.say(f"Replayed, the steps multiply out to the stored final weight exactly: {float(final['final'])!r}.")
    return 0


def _rows(store: Store, found: WeightSet, strategy: str) -> list[Mapping[str, Any]]:
    """Rows of target, realized and final weights of one strategy on the date of a weight set."""
    from weights_pipeline.tables import catalog

    tables = (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS)
    return [_row(store, found.book, table.name, found.as_of, strategy=strategy) for table in tables]


def _row(store: Store, book: str, table_name: str, as_of: dt.date, **where: str) -> Mapping[str, Any]:
    """One row of a book's table; empty where there is none."""
    rows = _on(store, book, table_name, as_of, **where)
    return rows[0] if rows else {}


def _on(store: Store, book: str, table_name: str, as_of: dt.date, **where: str) -> list[Mapping[str, Any]]:
    import pandas as pd

    from weights_pipeline.store.queries import partition_of
    from weights_pipeline.tables.catalog import TABLES

    table = TABLES[table_name]
    keys = None
    if table.time_column is not None:
        key = partition_of(store, book, table_name, as_of)
        keys = [key] if key is not None else []
    rows = store.read(book, table, keys)
    rows = rows[rows["as_of"] == pd.Timestamp(as_of)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return [{str(name): cell for name, cell in row.items()} for row in rows.to_dict("records")]


def _behind(store: Store, found: WeightSet, target: Mapping[str, Any]) -> dict[str, Any]:
    """What the metric was measured on: of an ensemble the sessions of the set, otherwise those of the window."""
    if target["weight_set"]:
        return _behind_set(store, found.book, target)
    rows = _on(store, found.book, "metrics", found.as_of, strategy=target["strategy"])
    metric, lookback = of_label(found.metric)
    by_name = {row["metric"]: row for row in rows if row["lookback"] == lookback}
    shown = by_name.get(metric)
    return {
        "sessions": by_name["n_sessions"]["value"] if "n_sessions" in by_name else None,
        "closed_lots": by_name["closed_lots"]["value"] if "closed_lots" in by_name else None,
        "source": shown["source"] if shown else "none",
    }


def _behind_set(store: Store, book: str, target: Mapping[str, Any]) -> dict[str, Any]:
    """Of the weight set that was read: its sessions, and the metrics of the strategy in it."""
    read = _SET_READ.match(target["weight_set"])
    if read is None:
        return {}
    made = dt.date.fromisoformat(read["day"])
    for table_name, source in (("ensemble_updates", "made by hand"), ("ensemble_weights", "made at a rebalance")):
        row = _row(store, book, table_name, made, weight_set=read["name"], strategy=target["strategy"])
        # A set made by hand after the rebalance was not the one it read.
        if row and row["target"] == target["target"]:
            return {
                "weight_set": read["name"],
                "made": made,
                "source": source,
                "sessions": int(row["sessions"]),
                "metrics": json.loads(row["metrics"]),
            }
    return {}


def _as_dict(step: Step) -> dict[str, Any]:
    return {
        "step": step.name,
        "operation": step.operation,
        "operands": list(step.operands),
        "value": step.value,
        "remark": step.remark,
    }


def _lines(steps: list[Step]) -> list[list[str]]:
    lines, is_weight = [], False
    for step in steps:
        # Multipliers become a weight with the base weight, and what follows on it is one.
        is_weight = is_weight or step.name in ("base weight", "target")
        null = step.value != step.value
        operands = "" if step.operation == "note" else "..".join(f"{each:.10g}" for each in step.operands)
        lines.append(
            [
                step.name,
                _SIGNS[step.operation],
                operands,
                "–" if null else f"{step.value:.10g}",
                f"{step.value:.4%}" if is_weight and not null else "",
                step.remark,
            ]
        )
    return lines


def _sample(found: WeightSet, behind: Mapping[str, Any]) -> str:
    if "weight_set" in behind:
        figures = ", ".join(
            f"{name} {'null' if value is None else f'{value:.6g}'}" for name, value in behind["metrics"].items()
        )
        return (
            f"Behind it: weight set {behind['weight_set']} of {behind['made']}, {behind['source']}, on "
            f"{behind['sessions']} sessions: {figures or 'no metric'}."
        )
    if "sessions" not in behind:
        return "Behind it: no weight set."
    sessions, lots = behind["sessions"], behind["closed_lots"]
    counted = [f"{sessions:.0f} sessions" if sessions is not None else "an unknown number of sessions"]
    counted.append("closed lots unknown" if lots is None or lots != lots else f"{lots:.0f} closed lots")
    what = found.metric or "the metrics, which the method does not read"
    return f"Behind {what}: {', '.join(counted)}; source {behind['source']}."
