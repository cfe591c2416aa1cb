"""``weights history``, ``as-of``, ``diff`` and ``reproduce``: what was in force, what was known, and why it changed.

Scope: the commands. Not here: asking for versions (``versions.history``), comparing them (``core.versions``), and
computing them again (``versions.recompute``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.versions.history import KnownWeights, VersionLine
    from weights_pipeline.versions.recompute import Reproduction

_SHOWN = 20


def add(commands: common.Commands) -> None:
    """Declare the commands."""
    history = common.command(commands, "history", _history)
    history.add_argument("--book", help="book; all of them when left out")
    history.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help=f"versions of a book, default {_SHOWN}")
    as_of = common.command(commands, "as-of", _as_of)
    as_of.add_argument("--effective", type=common.day, required=True, metavar="YYYY-MM-DD", help="in force on this day")
    as_of.add_argument(
        "--known",
        type=_instant,
        metavar="WHEN",
        help="as known by then: a day (its end) or an instant, UTC; default now",
    )
    as_of.add_argument("--book", help="book; all of them when left out")
    diff = common.command(commands, "diff", _diff)
    diff.add_argument("old", type=int, metavar="V1", help="number of a version")
    diff.add_argument("new", type=int, metavar="V2", help="number of another")
    diff.add_argument("--book", required=True, help="book")
    reproduce = common.command(commands, "reproduce", _reproduce)
    reproduce.add_argument("version", type=int, metavar="VERSION", help="number of the version")
    reproduce.add_argument("--book", required=True, help="book")


def _history(options: argparse.Namespace) -> int:
    """List the versions of weights, the newest first: when, why, and what changed."""
    from weights_pipeline.cli import render
    from weights_pipeline.versions.history import NoVersionError, books_with_history, list_versions

    store = common.workspace().store
    try:
        with store.view():
            found = {
                book: list_versions(store, book, options.limit) for book in books_with_history(store, options.book)
            }
    except (FileNotFoundError, NoVersionError) as error:
        common.stop(str(error), common.NOTHING)
    if options.json:
        common.print_json({book: [asdict(line) for line in lines] for book, lines in found.items()})
        return 0
    headings = ["Version", "Rebalance", "In force from", "Recorded (UTC)", "Reason", "Changed", "Turnover", "Comment"]
    for book, lines in found.items():
        render.say(f"{book}: versions of weights, the newest first")
        render.table([_line(line) for line in lines], headings)
    return 0


def _as_of(options: argparse.Namespace) -> int:
    """Show the weights in force on a day, as they were known at an instant."""
    from weights_pipeline.versions.history import NoVersionError, books_with_history, weights_known

    # The one look at the clock; everything below is told the time.
    known = options.known or dt.datetime.now(dt.UTC)
    store = common.workspace().store
    found, missing = list["KnownWeights"](), ""
    try:
        with store.view():
            for book in books_with_history(store, options.book):
                try:
                    found.append(weights_known(store, book, options.effective, known))
                except NoVersionError as error:
                    missing = str(error)
    except (FileNotFoundError, NoVersionError) as error:
        common.stop(str(error), common.NOTHING)
    if not found:
        common.stop(missing, common.NOTHING)
    if options.json:
        asked = {"effective": options.effective, "known": known.isoformat()}
        common.print_json([{**asked, **_weights_as_dict(weights)} for weights in found])
        return 0
    for weights in found:
        _show(weights, options.effective, known)
    return 0


def _diff(options: argparse.Namespace) -> int:
    """Show what sets two versions of weights apart: strategy by strategy, and in what they were computed from."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.versions import changed_contents, changed_keys, diff, intact
    from weights_pipeline.versions.history import NoVersionError, read_documents, read_version

    store = common.workspace().store
    try:
        with store.view():
            old, new = (read_version(store, options.book, number) for number in (options.old, options.new))
            documents = read_documents(store, options.book)
    except NoVersionError as error:
        common.stop(str(error), common.NOTHING)
    found, first, second = diff(old, new), old.iloc[0], new.iloc[0]
    try:
        before, after = (json.loads(intact(documents, row["parameters_hash"])) for row in (first, second))
        contents = changed_contents(documents, first["state_hash"], second["state_hash"])
    except ValueError as error:
        common.stop(f"{options.book}: {error}", common.FAILED)
    parameters, ledger = changed_keys(before, after), contents if "ledger" in found.changed else []
    if options.json:
        content = {
            "book": options.book,
            "old": options.old,
            "new": options.new,
            "changed": list(found.changed),
            "parameters": {key: list(values) for key, values in parameters.items()},
            "ledger": ledger,
            "weights": found.weights.to_dict("records"),
        }
        common.print_json(content)
        return 0
    for number, row in ((options.old, first), (options.new, second)):
        render.say(
            f"{options.book} version {number}: rebalance {row['rebalance']}, in force from "
            f"{row['effective_from']:%Y-%m-%d}, recorded {row['recorded_at']:%Y-%m-%d %H:%M} ({row['reason']})"
        )
    names = ("base", "target", "realized", "final")
    rows = [
        [
            row["strategy"],
            *(render.percent(row[f"final_{side}"], render.FINE) for side in ("old", "new")),
            *(render.points(row[f"{name}_change"], render.FINE) for name in names),
        ]
        for row in found.weights.to_dict("records")
    ]
    render.say("Final weights in percent, changes (Δ) of all in points:")
    render.table(rows, ["Strategy", "Final old", "Final new", *(f"Δ {name}" for name in names)])
    render.say(f"Changed: {', '.join(found.changed) or 'nothing'}.")
    for key, (was, now) in parameters.items():
        render.say(f"  {key}: {json.dumps(was)} → {json.dumps(now)}")
    if ledger:
        more = f" and {len(ledger) - _SHOWN} more" if len(ledger) > _SHOWN else ""
        render.say(f"  in the ledger: {', '.join(ledger[:_SHOWN])}{more}")
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    """Compute a version again from the ledger as it was known then, and compare it bit for bit."""
    from weights_pipeline.cli import render
    from weights_pipeline.tables.errors import StoreError
    from weights_pipeline.versions.history import NoVersionError
    from weights_pipeline.versions.recompute import reproduce

    try:
        found = reproduce(common.workspace().store, options.book, options.version)
    except NoVersionError as error:
        common.stop(str(error), common.NOTHING)
    except (StoreError, ValueError) as error:
        common.stop(f"{options.book} version {options.version}: {error}", common.FAILED)
    if options.json:
        content = {
            "book": options.book,
            "version": found.version,
            "rebalance": found.rebalance,
            "as_of": f"{found.as_of:%Y-%m-%d}",
            "identical": found.finding.passed,
            "largest_difference": found.finding.value,
            "summary": found.finding.summary,
            "weights": found.weights.to_dict("records"),
        }
        common.print_json(content)
    else:
        render.say(f"{options.book}, rebalance {found.rebalance} on data to {found.as_of:%Y-%m-%d}")
        render.table(_bits(found), ["Strategy", "Weight", "Recorded", "Recomputed", "Bits recorded", "Bits recomputed"])
        render.say(f"{'Identical' if found.finding.passed else 'Different'}: {found.finding.summary}.")
    return 0 if found.finding.passed else common.FAILED


def _instant(text: str) -> dt.datetime:
    """Parse an instant; of a day, its end. Without an offset it is UTC. argparse names this function when it cannot."""
    if len(text) == len("YYYY-MM-DD"):
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time.max, tzinfo=dt.UTC)
    instant = dt.datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


def _line(line: VersionLine) -> list[str]:
    return [
        str(line.version),
        line.rebalance,
        str(line.effective_from),
        f"{line.recorded_at:%Y-%m-%d %H:%M:%S}",
        line.reason,
        line.changed,
        f"{line.turnover:.2%}",
        line.comment,
    ]


def _weights_as_dict(weights: KnownWeights) -> dict[str, Any]:
    content = asdict(weights)
    return {**content, "rows": [{**row, "metrics": json.loads(row["metrics"])} for row in content["rows"]]}


def _show(weights: KnownWeights, effective: dt.date, known: dt.datetime) -> None:
    from weights_pipeline.cli import render

    parts = ("base", "target", "realized", "final")
    largest_first = sorted(weights.rows, key=lambda row: (-row.final, row.strategy))
    rows = [[row.strategy, *(render.percent(getattr(row, part)) for part in parts)] for row in largest_first]
    totals = [render.percent(sum(getattr(row, part) for row in weights.rows)) for part in parts]
    render.say(f"{weights.book}: weights in force on {effective}, as known at {known:%Y-%m-%d %H:%M:%S %Z}, in percent")
    render.table([*rows, ["Total", *totals]], ["Strategy", "Base", "Target", "Realized", "Final"])
    render.say(
        f"Version {weights.version}: rebalance {weights.rebalance} on data to {weights.as_of}, in force from "
        f"{weights.effective_from}, recorded {weights.recorded_at:%Y-%m-%d %H:%M:%S} UTC ({weights.reason})."
        + (f" {weights.comment}" if weights.comment else "")
    )
    if weights.scaled_from is not None:
        render.say(
            f"Scaled every day: from {weights.scaled_from} on the weights in force on {effective} are those of "
            f"`weights show --book {weights.book} --as-of {effective}`."
        )


def _bits(found: Reproduction) -> list[list[str]]:
    """Final weights of all strategies, and every other weight that differs."""
    return [
        [row["strategy"], name, f"{old:.10g}", f"{new:.10g}", old.hex(), new.hex()]
        for row in found.weights.to_dict("records")
        for name in ("previous", "target", "realized", "final")
        for old, new in [(float(row[name]), float(row[f"{name}_recomputed"]))]
        if name == "final" or old != new
    ]
