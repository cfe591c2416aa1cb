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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weights", description="Capital weights from a trade ledger.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
