"""``weights new``: the folder of a new desk, or a book in the one there is.

Scope: the command, and the clock. Not here: which files there are, and what stands in them (``scaffold``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
from pathlib import Path

from weights_pipeline.cli import common

_BOOK = "book"


def add(commands: common.Commands) -> None:
    """Declare the command."""
    new = common.command(commands, "new", _new)
    new.add_argument("what", metavar="DIR|book", help="folder to make, or the word book and then its NAME")
    new.add_argument("name", nargs="?", metavar="NAME", help="name of a new book in the desk one works in")
    new.add_argument("--sample", action="store_true", help="with the sample ledger and its five books")
    new.add_argument(
        "--importer", default="", metavar="NAME", help="for a vendor's files; see `weights ledger importers`"
    )
    new.add_argument("--from-ledger", type=Path, metavar="FILE", help="with this file, and a book of its strategies")
    new.add_argument("--method", default="sharpe_tilt", metavar="KIND", help="of a new book (default sharpe_tilt)")
    new.add_argument("--ledger", default="", metavar="NAME", help="ledger of a new book, where there are several")


def _new(options: argparse.Namespace) -> int:
    """Make the folder of a new desk, ready to run; or, in a desk, `weights new book NAME` a book of a ledger."""
    from weights_pipeline.scaffold import ScaffoldError

    try:
        if options.what == _BOOK and options.name:
            return _new_book(options)
        if options.name:
            common.stop(f"{options.name!r}: expected nothing after a folder; see --help", common.INVALID)
        return _new_desk(options)
    except ScaffoldError as error:
        common.stop(str(error), common.INVALID)


def _new_desk(options: argparse.Namespace) -> int:
    from weights_pipeline.cli import render
    from weights_pipeline.scaffold import desk_files, found_in, sample_files, write_new

    folder, file, now = Path(options.what), options.from_ledger, dt.datetime.now(dt.UTC)
    if options.sample and (options.importer or file):
        common.stop("--sample: brings its own ledger; leave --importer and --from-ledger out", common.INVALID)
    name = re.sub(r"[^a-z0-9_]+", "_", folder.resolve().name.lower()).lstrip("_0123456789")[:40] or "desk"
    found = found_in(str(file), options.importer, now) if file else None
    files = sample_files() if options.sample else desk_files(name, now, reads=options.importer, file=file, found=found)
    write_new(folder, files)
    if options.json:
        common.print_json({"folder": str(folder), "files": sorted(map(str, files))})
        return 0
    render.say(f"{folder}: {len(files)} files.")
    if found:
        how = f"by the importer {found.importer}" if found.importer else "in the ledger's own form"
        render.say(
            f"{file} reads as {found.kind} {how}: {found.accepted} of {found.read} rows accepted, of "
            f"{', '.join(found.strategies)}, from {found.first} on. How it reads stands in data/ledgers/{name}.yaml."
        )
    step = "weights demo" if options.sample else f"weights run --book {name}_book"
    if options.importer and not file:
        render.say(f"Put your files into {folder}/data/{name}, then `weights ledger check` says how they read.")
    render.say(f"Next: cd {folder} && {step}")
    return 0


def _new_book(options: argparse.Namespace) -> int:
    from weights_pipeline.cli import render
    from weights_pipeline.files import write_text
    from weights_pipeline.ledger import LedgerError, read_ledger
    from weights_pipeline.ledger.periods import horizon
    from weights_pipeline.ledger.understood import summaries
    from weights_pipeline.scaffold import book_file

    of = common.workspace()
    file = of.settings.data / "books" / f"{options.name}.yaml"
    if file.exists():
        common.stop(f"{file} is there already; choose another name", common.INVALID)
    ledgers = sorted(of.sources)
    if not options.ledger and len(ledgers) != 1:
        common.stop(f"--ledger: there are {', '.join(ledgers) or 'none'}; name one", common.INVALID)
    ledger = options.ledger or ledgers[0]
    if ledger not in of.sources:
        common.stop(f"--ledger: there is no {ledger!r}; there are {', '.join(ledgers)}", common.INVALID)
    source = of.sources[ledger]
    try:
        intake = read_ledger(source, of.root, horizon=horizon(source, dt.datetime.now(dt.UTC)))
    except LedgerError as error:
        common.stop(str(error), common.INVALID)
    strategies = [each.strategy for each in summaries(intake)]
    text = book_file(options.name, ledger, strategies, options.method)
    write_text(file, text)
    if options.json:
        common.print_json({"file": str(file), "strategies": strategies})
    else:
        render.say(f"{file}: {len(strategies)} strategies of ledger {ledger} with equal base weights.")
        render.say(f"Next: weights books validate {file}")
    return 0
