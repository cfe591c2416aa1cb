"""``weights ledger``: what the files of a ledger say, read and not written; and what a ledger can say of them.

Scope: the commands, and the clock: this is where "now" is read. Not here: the reading of files (``ledger``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.ledger import Intake, LedgerSource
    from weights_pipeline.ledger.alone import Attempt
    from weights_pipeline.ledger.understood import Sample, Summary

_SHOWN = 20
"""Findings of one kind that are printed."""
_FEW = 3
"""Importers that are suggested, and open positions of a strategy that are printed."""


def add(commands: common.Commands) -> None:
    """Declare the commands."""
    ledger = common.command(commands, "ledger", _list)
    beneath = ledger.add_subparsers(metavar="COMMAND", title="commands")
    check = common.command(beneath, "check", _check, within=True)
    check.add_argument(
        "ledger",
        nargs="?",
        metavar="LEDGER|FILE",
        help="name of a ledger, all of them when left out; or a file by itself",
    )
    check.add_argument("--importer", metavar="NAME", help="how a file by itself reads; see `weights ledger importers`")
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
    """Read a ledger or a file, say how it was understood and what is wrong, and write nothing; exit 1 on an ERROR."""
    from weights_pipeline.ledger import LedgerError, read_ledger
    from weights_pipeline.ledger.beside import BESIDE
    from weights_pipeline.ledger.periods import horizon

    now = dt.datetime.now(dt.UTC)
    try:
        sources, root, kind = _asked(options)
        if kind in BESIDE:
            return _print_beside(sources[0], root, kind, options)
        read = [(source, read_ledger(source, root, horizon=horizon(source, now))) for source in sources]
    except LedgerError as error:
        common.stop(str(error), common.INVALID)
    if options.json:
        common.print_json([_as_dict(source, intake) for source, intake in read])
    for number, (source, intake) in enumerate(() if options.json else read):
        _print(source, intake, apart=number > 0)
    wrong = any(each.severity == "ERROR" for _, intake in read for each in intake.findings)
    return common.FAILED if wrong else 0


def _asked(options: argparse.Namespace) -> tuple[list[LedgerSource], Path, str]:
    """Ledgers to check, the folder of their files, and what a file by itself has rows of; ends where nobody knows."""
    from weights_pipeline.ledger.alone import attempts, ledger_of_file, local_place, own_errors
    from weights_pipeline.ledger.importers import importer

    data, name = common.settings().data, options.ledger
    folder = data / "ledgers"
    if not _is_file(name, folder) and not options.importer:
        return _sources(name), data, ""
    if name is None:
        common.stop("--importer: says how a file reads; name the file too", common.INVALID)
    root, path = local_place(name, data)
    if options.importer:
        kind = importer(options.importer, folder).kind
        return [ledger_of_file(path, root, folder, kind=kind, named=options.importer)], root, kind
    found = attempts(path, root, folder)
    if not found or found[0].importer or found[0].settings:
        _suggest(found, name, options)
        own = () if found else own_errors(path, root, folder)
        reasons = "".join(f"\nRead as {kind}: {why}" for kind, why in own)
        common.stop(f"{name} is not in the ledger's own form, and no importer was named.{reasons}", common.INVALID)
    return [ledger_of_file(path, root, folder, kind=found[0].kind)], root, found[0].kind


def _print_beside(source: LedgerSource, root: Path, kind: str, options: argparse.Namespace) -> int:
    """Print how a file of actions or positions reads, in which nothing may be wrong."""
    from weights_pipeline.cli import render
    from weights_pipeline.ledger.alone import samples_beside

    [(sample, rows)] = samples_beside(source, root, kind)
    if options.json:
        common.print_json({"rows": rows, "sample": _sample_as_dict(sample)})
        return 0
    render.say(f"{sample.source_file}: {rows} rows read as {kind}. Beside fills they are compared and booked.")
    _print_sample(sample)
    return 0


def _is_file(name: str | None, folder: Path) -> bool:
    if name is None or (folder / f"{name}.yaml").is_file():
        return False
    return "/" in name or "." in name or Path(name).is_file()


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
    from weights_pipeline.ledger.alone import ALONE
    from weights_pipeline.ledger.understood import summaries

    if apart:
        render.say()
    names = ("read", "accepted", "rejected", "duplicates", "unhurt")
    read, accepted, rejected, repeated, unhurt = (int(intake.files[name].sum()) for name in names)
    render.say(
        f"Ledger {source.name}: {read} rows read of {len(intake.files)} files = {accepted} accepted + {rejected} "
        f"rejected ({repeated} repeat others, {unhurt} held back or taken back)."
    )
    if left_out := int(intake.files["left_out"].sum()):
        render.say(f"Left out, as the source says: {left_out} rows.")
    reasons = Counter(reason for row in intake.rejected["reasons"] for reason in row.split(";"))
    if reasons:
        render.say(f"Rejected: {', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))}.")
    ignored = sorted({name for names in intake.files["ignored_columns"] for name in names.split(";") if name})
    if ignored:
        render.say(f"Columns that no rule reads: {', '.join(ignored)}.")
    for shown in intake.samples:
        if shown.foreign or source.name == ALONE:
            _print_sample(shown)
    render.say(
        f"Booked: {len(intake.lots)} closed lots, {int(intake.holdings['until'].isna().sum())} open, "
        f"{len(intake.cash)} movements of cash, {len(intake.returns)} daily returns."
    )
    if found := summaries(intake):
        render.table(*_summary_rows(found))
    if intake.stated:
        render.say(f"\nThe broker's statement of {_day(intake.stated[0].session)}:")
        called = {"quantity": "position", "realized_pnl": "realized P&L"}
        figures = [
            [each.strategy, each.symbol, called[each.what], f"{each.stated:.15g}", f"{each.found:.15g}"]
            for each in intake.stated
        ]
        render.table(figures, ["Strategy", "Symbol", "Figure", "Statement", "Ledger"])
        render.say()
    counted = Counter[str]()
    for each in intake.findings:
        counted[each.code] += 1
        if counted[each.code] > _SHOWN:
            continue
        render.ledger_finding(each)
    for code, count in counted.items():
        if count > _SHOWN:
            render.say(f"… and {count - _SHOWN} more of {code}.")
    if not intake.findings:
        render.say("Nothing was found that its owner has to decide.")


def _print_sample(found: Sample) -> None:
    """Print rows one beneath the other, so that they fit a narrow terminal."""
    from weights_pipeline.cli import render

    for row in found.rows:
        rejected = f", rejected: {', '.join(dict.fromkeys(row.reasons))}" if row.reasons else ""
        render.say(f"\n{found.source_file} line {row.line}, read as {found.kind}{rejected}:")
        render.table([list(cell) for cell in row.cells], ["Ours", "Theirs", "Written", "Read as, UTC"])
    render.say()


def _summary_rows(found: Sequence[Summary]) -> tuple[list[list[str]], list[str]]:
    """Rows and headings; a column that says nothing of any strategy is left out."""
    columns = {
        "Strategy": [each.strategy for each in found],
        "From": [_day(each.first) or "–" for each in found],
        "To": [_day(each.last) or "–" for each in found],
        "Lots": [str(each.lots or "") for each in found],
        "P&L": [f"{each.pnl:.2f}" if each.lots else "" for each in found],
        "Cash": [f"{each.cash:.2f}" if each.cash else "" for each in found],
        "Return": ["" if each.compounded is None else f"{each.compounded:.2%}" for each in found],
        "Open": [_held(each.held) for each in found],
    }
    said = {name: cells for name, cells in columns.items() if any(cells)}
    return [list(row) for row in zip(*said.values(), strict=True)], list(said)


def _held(held: Mapping[str, float | None]) -> str:
    """Some of what is held, and how many more there are."""
    shown = [f"{name} {'?' if size is None else f'{size:.15g}'}" for name, size in [*held.items()][:_FEW]]
    more = len(held) - len(shown)
    return ", ".join([*shown, *[f"{more} more"] * (more > 0)])


def _suggest(found: Sequence[Attempt], file: str, options: argparse.Namespace) -> None:
    """Print which importers and settings read most rows of a file."""
    from weights_pipeline.cli import render

    if options.json:
        common.print_json([asdict(each) for each in found])
        return
    if not found:
        render.say(f"No importer reads any row of {file}.")
        return
    render.say(f"These read most rows of {file}; none of them is applied:")
    rows = [
        [
            each.importer or "(own form)",
            each.kind,
            f"{each.accepted} of {each.read}",
            ", ".join(f"{key}: {value!r}" for key, value in each.settings.items()),
        ]
        for each in found[:_FEW]
    ]
    render.table(rows, ["Importer", "Rows", "Read", "Beside it"])
    if found[0].importer:
        render.say(f"\nTo see what it makes of the rows: weights ledger check {file} --importer {found[0].importer}")


def _as_dict(source: LedgerSource, intake: Intake) -> dict[str, Any]:
    from weights_pipeline.ledger.understood import summaries

    rejected = intake.rejected[["source_file", "line", "reasons", "details"]]
    return {
        "ledger": source.name,
        "files": intake.files.to_dict("records"),
        "rejected": rejected.to_dict("records"),
        "samples": [_sample_as_dict(each) for each in intake.samples],
        "strategies": [
            {**each._asdict(), "first": _day(each.first), "last": _day(each.last)} for each in summaries(intake)
        ],
        "stated": [{**each._asdict(), "session": _day(each.session)} for each in intake.stated],
        "findings": [
            {**asdict(each), "severity": each.severity, "since": _day(each.since), "until": _day(each.until)}
            for each in intake.findings
        ],
    }


def _sample_as_dict(found: Sample) -> dict[str, Any]:
    rows = [
        {"line": row.line, "reasons": list(row.reasons), "cells": [cell._asdict() for cell in row.cells]}
        for row in found.rows
    ]
    return {"source_file": found.source_file, "kind": found.kind, "rows": rows}


def _day(session: Any) -> str | None:
    return None if session is None or session != session else f"{session:%Y-%m-%d}"
