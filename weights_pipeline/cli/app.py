"""The command line itself: which commands there are, and how any of them begins and ends.

Scope: the registry. Not here: what a command does (a file each under ``commands``), what they share (``common``) and
print (``render``).

Imports are inside the commands, and arguments are parsed by the standard library: `weights show` answers before a
heavier parser, pandas or Dagster would even have been loaded.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from weights_pipeline.cli import common
from weights_pipeline.tables.errors import StoreError

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Weights": {
        "show": "weights show --book calmar_core",
        "explain": "weights explain --book calmar_core --strategy rsi2",
        "decide": "weights decide --book calmar_core --strategy rsi2 --equity 1000000 --action enter",
        "history": "weights history --book calmar_core --limit 10",
        "as-of": "weights as-of --effective 2020-03-31 --known 2026-12-01",
        "diff": "weights diff 12 13 --book calmar_core",
        "reproduce": "weights reproduce 12 --book calmar_core",
        "report": "weights report --book calmar_core",
    },
    "Rebalances": {
        "init": "weights init --book calmar_core",
        "rebalance": "weights rebalance --book calmar_core --dry-run",
        "run": "weights run --book calmar_core --from 2020-01 --to 2020-12",
        "restate": "weights restate",
        "check": "weights check --book calmar_core",
        "alerts": "weights alerts test",
    },
    "Ledgers and books": {
        "ledger": "weights ledger check trades.csv --importer ibkr_flex_trades",
        "books": "weights books validate data/books/calmar_core.yaml",
        "allocations": "weights allocations show --book max_hybrid",
        "ensemble": "weights ensemble update --book ensemble_regime",
    },
    "Research": {
        "simulate": "weights simulate --returns returns.csv --book data/books/calmar_core.yaml",
        "allocator": "weights allocator audit --book calmar_core",
        "sql": 'weights sql "SELECT count(*) FROM calmar_core.final_weights"',
    },
    "This machine": {
        "demo": "weights demo",
        "new": "weights new my_desk --from-ledger trades.csv",
        "ui": "weights ui --port 3001",
        "doctor": "weights doctor",
        "completion": "weights completion bash",
    },
}
"""Every command with one use of it, in the order in which help lists them; a new one is a file and an entry here."""

EXAMPLES = {name: example for group in GROUPS.values() for name, example in group.items()}

_BESIDE = {"as-of": "history", "diff": "history", "reproduce": "history"}
"""Commands that are declared in the file of another one."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A full disk, a quota that is used up, a file that is too large."""

_WIDEST = 100
"""Columns that help fills at most."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always ends in :class:`SystemExit`, see the package for the codes.

    Parameters
    ----------
    arguments
        Words of the command line; when left out, those of this process, which ends with the command.
    """
    if "_ARGCOMPLETE" in os.environ:
        from weights_pipeline.cli.commands.completion import answer

        answer(_parser)
    if arguments is not None:
        _answer(arguments)
    # A process of one command ends before what it leaves lying matters; looking for it is a tenth of a month's run.
    gc.set_threshold(1_000_000, 50, 1000)
    codes = list[int]()
    # Registered before anything else that there is to do at the end, and so called after it.
    atexit.register(_leave, codes)
    try:
        _answer(sys.argv[1:])
    except SystemExit as end:
        codes += [end.code] if isinstance(end.code, int) else []
        raise


def _leave(codes: Sequence[int]) -> None:
    """End this process with a code, where there is one, and leave its memory to the system.

    Python would free half a million objects one by one, which is an eighth of a month's run.
    """
    for code in codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(words: Sequence[str]) -> NoReturn:
    """Run the command that some words are."""
    try:
        try:
            options = _parser(*words[:1]).parse_args(words)
            code = options.command(options)
        except SystemExit:
            sys.stdout.flush()
            raise
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
        # Whoever reads has seen enough (`weights check | head`).
        _say_no_more()
        code = 0
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _say_no_more()
        common.stop(f"{error.filename or 'the output'} cannot be written: {error.strerror}", common.FAILED)
    sys.exit(code)


def _say_no_more() -> None:
    """Let nothing be written to standard output any more, at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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

    books = common.named("books")
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


def _parser(first: str = "") -> argparse.ArgumentParser:
    """The command line; where its first word says which command, with no other, as loading them all takes time."""
    parser = argparse.ArgumentParser(
        prog="weights",
        usage="weights [-h] [--version] COMMAND ...",
        description="Capital weights from a trade ledger.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    parser.set_defaults(command=_begin)
    commands = parser.add_subparsers(metavar="COMMAND", help=argparse.SUPPRESS)
    wanted = [first] if first in EXAMPLES else [] if first == "--version" else [*EXAMPLES]
    for file in dict.fromkeys(_BESIDE.get(name, name) for name in wanted):
        import_module(f"weights_pipeline.cli.commands.{file}").add(commands)
    for name, added in commands.choices.items():
        added.epilog = f"example: {EXAMPLES[name]}"
    said = {each.dest: each.help or "" for each in commands._choices_actions}
    listed = list[str]()
    for title, group in GROUPS.items():
        listed += [f"\n{title}:", *(_line(name, said[name]) for name in group if name in said)]
    parser.epilog = "\n".join([*listed, "\n`weights COMMAND --help` ends with an example."]).strip()
    return parser


def _line(name: str, said: str) -> str:
    """A command with the first line of what it does, wrapped beside its name."""
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) - 1
    return textwrap.fill(said, width, initial_indent=f"  {name:<13}", subsequent_indent=" " * 15)
