"""``weights ledger``: what the files of a ledger say, read and not written; and what a ledger can say of them.

Scope: the commands, and the clock: this is where "now" is read. Not here: the reading of files (``ledger``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.ledger import Intake, LedgerSource

_SHOWN = 20
"""Findings of one kind that are printed."""


def add(commands: common.Commands) -> None:
    """Declare the commands."""
    ledger = common.command(commands, "ledger", _list)
    beneath = ledger.add_subparsers(metavar="COMMAND", title="commands")
    check = common.command(beneath, "check", _check, within=True)
    check.add_argument("ledger", nargs="?", metavar="LEDGER", help="name of a ledger; all of them when left out")
    common.command(beneath, "importers", _importers, within=True)
    schema = common.command(beneath, "schema", _schema, within=True)
    schema.add_argument("--output", type=Path, metavar="FILE", help="write it to a file")


def _list(options: argparse.Namespace) -> int:
    """List the ledgers: what they are made of, on which calendar."""
    from weights_pipeline.cli import render
    from weights_pipeline.ledger.calendars import shown

    rows = [
        {
            "ledger": source.name,
            "kinds": ", ".join(
                kind for kind in ("lots", "fills", "cash", "openings", "returns") if getattr(source, kind)
            ),
            "calendar": shown(source.calendar),
            "first month": source.first_month,
            "last month": source.last_month or "",
            "incomplete": source.incomplete,
        }
        for source in _sources(None)
    ]
    if options.json:
        common.print_json(rows)
    elif rows:
        render.table([list(row.values()) for row in rows], [name.capitalize() for name in rows[0]])
    return 0


def _check(options: argparse.Namespace) -> int:
    """Read the files of a ledger, say what was understood and what is wrong, and write nothing; exit 1 on an ERROR."""
    from weights_pipeline.ledger import LedgerError, read_ledger
    from weights_pipeline.ledger.periods import horizon

    now, root = dt.datetime.now(dt.UTC), common.settings().data
    read = list[tuple["LedgerSource", "Intake"]]()
    for source in _sources(options.ledger):
        try:
            read.append((source, read_ledger(source, root, horizon=horizon(source, now))))
        except LedgerError as error:
            common.stop(str(error), common.INVALID)
    if options.json:
        common.print_json([_as_dict(source, intake) for source, intake in read])
    for number, (source, intake) in enumerate(() if options.json else read):
        _print(source, intake, apart=number > 0)
    wrong = any(each.severity == "ERROR" for _, intake in read for each in intake.findings)
    return common.FAILED if wrong else 0


def _importers(options: argparse.Namespace) -> int:
    """List the importers: vendors' exports that a ledger can read with ``importer: NAME``, and a desk's own."""
    from weights_pipeline.cli import render
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.ledger.importers import importers

    try:
        listed = list(importers(common.settings().data / "ledgers"))
    except LedgerError as error:
        common.stop(str(error), common.INVALID)
    if options.json:
        common.print_json(
            [
                {"importer": name, "kind": preset.kind, "what": preset.what, "as_of": preset.as_of, "own": own}
                for name, preset, own in listed
            ]
        )
        return 0
    rows = [[name, preset.kind, preset.what, "own" if own else preset.as_of] for name, preset, own in listed]
    render.table(rows, ["Importer", "Rows", "Reads", "As of"])
    return 0


def _schema(options: argparse.Namespace) -> int:
    """Print the JSON Schema of ledgers, for editors that complete and check YAML while it is typed."""
    from weights_pipeline.ledger.source import ledger_schema

    return common.give_schema(ledger_schema(), options)


def _sources(name: str | None) -> list[LedgerSource]:
    """The ledger of a name, or all; ends the command where there is none or one is not valid."""
    from weights_pipeline.ledger import LedgerError, load_ledger_source

    folder = common.settings().data / "ledgers"
    there = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if name is not None and name not in there:
        common.stop(f"unknown ledger {name!r}; there are {', '.join(there) or 'none'} in {folder}", common.INVALID)
    try:
        return [load_ledger_source(file) for stem, file in there.items() if name in (None, stem)]
    except LedgerError as error:
        common.stop(str(error), common.INVALID)


def _print(source: LedgerSource, intake: Intake, *, apart: bool) -> None:
    from weights_pipeline.cli import render

    if apart:
        render.say()
    names = ("read", "accepted", "rejected", "duplicates", "unhurt")
    read, accepted, rejected, repeated, unhurt = (int(intake.files[name].sum()) for name in names)
    render.say(
        f"Ledger {source.name}: {read} rows read of {len(intake.files)} files = {accepted} accepted + {rejected} "
        f"rejected ({repeated} repeat others, {unhurt} held back or taken back)."
    )
    reasons = Counter(reason for row in intake.rejected["reasons"] for reason in row.split(";"))
    if reasons:
        render.say(f"Rejected: {', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))}.")
    ignored = sorted({name for names in intake.files["ignored_columns"] for name in names.split(";") if name})
    if ignored:
        render.say(f"Columns that no rule reads: {', '.join(ignored)}.")
    render.say(
        f"Booked: {len(intake.lots)} closed lots, {int(intake.holdings['until'].isna().sum())} open, "
        f"{len(intake.cash)} movements of cash, {len(intake.returns)} daily returns."
    )
    shown = Counter[str]()
    for each in intake.findings:
        shown[each.code] += 1
        if shown[each.code] > _SHOWN:
            continue
        render.ledger_finding(each)
    for code, count in shown.items():
        if count > _SHOWN:
            render.say(f"… and {count - _SHOWN} more of {code}.")
    if not intake.findings:
        render.say("Nothing was found that its owner has to decide.")


def _as_dict(source: LedgerSource, intake: Intake) -> dict[str, Any]:
    rejected = intake.rejected[["source_file", "line", "reasons", "details"]]
    return {
        "ledger": source.name,
        "files": intake.files.to_dict("records"),
        "rejected": rejected.to_dict("records"),
        "findings": [
            {**asdict(each), "severity": each.severity, "since": _day(each.since), "until": _day(each.until)}
            for each in intake.findings
        ],
    }


def _day(session: Any) -> str | None:
    return None if session is None else f"{session:%Y-%m-%d}"
