"""Commands and their options.

Here belongs what a person types. What is printed is in ``render``; what is done is elsewhere.

Imports are inside the commands, and arguments are parsed by the standard library: `weights show` answers before a
heavier parser, pandas or Dagster would even have been loaded.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from weights_pipeline.runs import RunReport
    from weights_pipeline.settings import Settings
    from weights_pipeline.store.duckdb_store import DuckDBStore

FAILED, INVALID, NOTHING = 1, 2, 3
DEMO_BOOK = "calmar_core"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always ends in :class:`SystemExit`, see the package for the codes."""
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough (`weights check | head`); nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weights", description="Capital weights from a trade ledger.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        added.set_defaults(command=function)
        added.add_argument("--json", action="store_true", help="print JSON instead of a table")
        return added

    show = command("show", _show)
    show.add_argument("--book", help="book; all of them when left out")
    show.add_argument("--as-of", type=day, metavar="YYYY-MM-DD", help="weights in force on this day")
    run = command("run", _run)
    run.add_argument("--book", required=True, help="book to materialise, with the ledger it reads")
    run.add_argument("--from", dest="first", metavar="YYYY-MM", help="first month")
    run.add_argument("--to", dest="last", metavar="YYYY-MM", help="last month")
    run.add_argument("--partition", metavar="YYYY-MM", help="one month")
    check = command("check", _check)
    check.add_argument("--book", help="book; all of them when left out")
    command("demo", _demo)
    return parser


def _show(options: argparse.Namespace) -> int:
    """Show the weights in force, how they came about, and how fast they move."""
    return _print_weights(_settings(), options.book, options.as_of, as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    """Materialise a book over a range of months (the whole history when none is given)."""
    if options.partition and (options.first or options.last):
        _stop("--partition names one month, --from and --to a range: give one or the other", INVALID)
    first, last = options.partition or options.first, options.partition or options.last
    report = _materialise(_settings(), options.book, first, last, as_json=options.json)
    return 0 if report.success else FAILED


def _check(options: argparse.Namespace) -> int:
    """Run every check on what is stored; exit 1 when one of severity ERROR fails."""
    from weights_pipeline.books import BookError, load_books
    from weights_pipeline.checklist import book_checks, ledger_checks
    from weights_pipeline.cli import render
    from weights_pipeline.ledger import LedgerError, load_sources
    from weights_pipeline.store.queries import books_in_store

    settings = _settings()
    store = _store(settings)
    try:
        books = load_books(settings.data / "books")
        sources = load_sources(settings.data / "ledgers", books.values())
        stored = books_in_store(store)
    except (BookError, LedgerError) as error:
        _stop(str(error), INVALID)
    except FileNotFoundError as error:
        _stop(str(error), NOTHING)
    if options.book is not None and options.book not in books:
        _stop(f"unknown book {options.book!r}; there are {', '.join(books)}", INVALID)
    chosen = [books[options.book]] if options.book else [b for b in books.values() if b.name in stored]
    if not chosen or any(b.name not in stored for b in chosen):
        _stop(f"{options.book or 'no book'} has no weights in {store.path}. Run `weights run` first.", NOTHING)
    checks = []
    for name in dict.fromkeys(b.ledger for b in chosen):
        checks += ledger_checks(sources[name], [b for b in books.values() if b.ledger == name])
    for b in chosen:
        checks += book_checks(b, sources[b.ledger], settings.data)
    outcomes = [(check, check.run(store)) for check in checks]
    if options.json:
        _print_json([render.outcome_as_dict(*outcome) for outcome in outcomes])
    else:
        render.outcomes(outcomes)
    return FAILED if any(c.error and not f.passed for c, f in outcomes) else 0


def _demo(options: argparse.Namespace) -> int:
    """Materialise the full history of the sample book and show its newest weights and checks."""
    from weights_pipeline.cli import render

    settings = _settings()
    report = _materialise(settings, DEMO_BOOK, None, None, as_json=options.json)
    if not report.success:
        return FAILED
    if not options.json:
        _print_weights(settings, DEMO_BOOK, None, as_json=False)
        render.next_steps()
    return 0


def _print_weights(settings: Settings, book: str | None, on: dt.date | None, *, as_json: bool) -> int:
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, weights_in_force

    try:
        found = weights_in_force(_store(settings), book, on)
    except (FileNotFoundError, NothingInForceError) as error:
        _stop(str(error), NOTHING)
    if as_json:
        _print_json([render.weights_as_dict(weights) for weights in found])
    else:
        for weights in found:
            render.weights(weights)
    return 0


def _materialise(settings: Settings, book: str, first: str | None, last: str | None, *, as_json: bool) -> RunReport:
    from weights_pipeline.cli import render

    with render.progress(quiet=as_json) as progress:
        # Imported under the progress display: Dagster takes a moment to load.
        from weights_pipeline.books import BookError
        from weights_pipeline.ledger import LedgerError
        from weights_pipeline.runs import RangeError, materialise

        os.environ.setdefault("DAGSTER_HOME", str(settings.home))
        try:
            report = materialise(settings, book, first, last, on_progress=progress)
        except (BookError, LedgerError, RangeError) as error:
            _stop(str(error), INVALID)
    if as_json:
        _print_json(report.as_dict())
    else:
        render.run_report(report)
    return report


def day(text: str) -> dt.date:
    """Parse a day; argparse names this function when it cannot."""
    return dt.date.fromisoformat(text)


def _settings() -> Settings:
    from weights_pipeline.settings import Settings, SettingsError

    try:
        return Settings.from_environment(os.environ)
    except SettingsError as error:
        _stop(str(error), INVALID)


def _store(settings: Settings) -> DuckDBStore:
    from weights_pipeline.store.duckdb_store import DuckDBStore

    return DuckDBStore(settings.store_path, lock_timeout=settings.lock_timeout)


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, indent=2, default=str, allow_nan=False) + "\n")


def _stop(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"weights: {message}\n")
    sys.exit(code)
