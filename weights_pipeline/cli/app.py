"""The command line itself: which commands there are, and how any of them begins and ends.

Scope: the registry. Not here: what a command does (a file each under ``commands``), what they share (``common``) and
print (``render``).

Imports are inside the commands, and arguments are parsed by the standard library: `weights show` answers before a
heavier parser, pandas or Dagster would even have been loaded.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from weights_pipeline.cli import common
from weights_pipeline.cli.commands import (
    alerts,
    allocations,
    allocator,
    books,
    check,
    decide,
    demo,
    doctor,
    ensemble,
    explain,
    history,
    init,
    ledger,
    new,
    rebalance,
    report,
    restate,
    run,
    show,
    simulate,
    sql,
    ui,
)
from weights_pipeline.tables.errors import StoreError

COMMANDS = (
    show,
    explain,
    decide,
    history,
    init,
    rebalance,
    restate,
    run,
    check,
    ledger,
    report,
    alerts,
    books,
    allocations,
    simulate,
    ensemble,
    allocator,
    sql,
    doctor,
    new,
    demo,
    ui,
)
"""Every command, in the order in which help lists them; a new one is a file and an entry here."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always ends in :class:`SystemExit`, see the package for the codes."""
    options = _parser().parse_args(arguments)
    # A process of one command ends before what it leaves lying matters; looking for it is a tenth of a month's run.
    gc.set_threshold(100_000, 50, 1000)
    try:
        code = options.command(options)
        sys.stdout.flush()
    except StoreError as error:
        common.stop(str(error), common.FAILED)
    except ValueError as error:
        from weights_pipeline.books.reading import BookError
        from weights_pipeline.ledger.errors import LedgerError

        if not isinstance(error, BookError | LedgerError):
            raise
        common.stop(str(error), common.INVALID)
    except KeyboardInterrupt:
        common.stop("stopped", 130)
    except BrokenPipeError:
        # Whoever reads has seen enough (`weights check | head`); nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


class _Version(argparse.Action):
    """Says which version is installed; looked up when it is asked for, as that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and end."""
        from importlib.metadata import version

        sys.stdout.write(f"weights-pipeline {version('weights-pipeline')}\n")
        parser.exit()


def _begin(options: argparse.Namespace) -> int:
    """Say what to do next, where no command was given."""
    from weights_pipeline.cli import render

    data = Path(os.environ.get("WEIGHTS_DATA") or "data")
    books = sorted(file.stem for file in (data / "books").glob("*.yaml"))
    if not books:
        render.say("There is no desk here: no books in data/books.\n")
        render.say("weights demo            the sample: from trades to weights, in a minute")
        render.say("weights new my_desk     a desk of your own; --from-ledger FILE with your trades")
    else:
        render.say(f"A desk with {', '.join(books)}.\n")
        render.say("weights show            the weights in force, and why")
        render.say("weights run --book B    the history of a book, made anew")
        render.say("weights ui              Dagster in the browser")
    render.say("weights --help          everything else")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weights", description="Capital weights from a trade ledger.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    parser.set_defaults(command=_begin)
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
