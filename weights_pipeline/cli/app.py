"""Commands and their options.

Here belongs what a person types. What is printed is in ``render``; what is done is elsewhere.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from weights_pipeline.runs import RunReport
    from weights_pipeline.settings import Settings
    from weights_pipeline.store.duckdb_store import DuckDBStore

FAILED, INVALID, NOTHING = 1, 2, 3
DEMO_BOOK = "calmar_core"

app = typer.Typer(
    help="Capital weights from a trade ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BookOption = Annotated[str | None, typer.Option("--book", help="Book; all of them when left out.")]


@app.command()
def show(
    book: BookOption = None,
    as_of: Annotated[
        dt.datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Weights in force on this day.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the weights in force, how they came about, and how fast they move."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, books_in_store, weights_in_force

    store = _store(_settings())
    try:
        names = [book] if book else books_in_store(store)
        found = [weights_in_force(store, name, as_of.date() if as_of else None) for name in names]
    except (FileNotFoundError, NothingInForceError) as error:
        _stop(str(error), NOTHING)
    if not found:
        _stop(f"{store.path}: no book has weights yet. Run `weights run --book NAME` first.", NOTHING)
    if as_json:
        _print_json([render.weights_as_dict(weights) for weights in found])
    else:
        for weights in found:
            render.weights(weights)


@app.command()
def run(
    book: Annotated[str, typer.Option("--book", help="Book to materialise, with the ledger it reads.")],
    first: Annotated[str | None, typer.Option("--from", help="First month, YYYY-MM.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last month, YYYY-MM.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="One month, YYYY-MM.")] = None,
    as_json: Json = False,
) -> None:
    """Materialise a book over a range of months (the whole history when none is given)."""
    if partition and (first or last):
        _stop("--partition names one month, --from and --to a range: give one or the other", INVALID)
    report = _run(_settings(), book, partition or first, partition or last, quiet=as_json)
    if as_json:
        _print_json(report.as_dict())
    raise typer.Exit(0 if report.success else FAILED)


@app.command()
def check(book: BookOption = None, as_json: Json = False) -> None:
    """Run every check on what is stored; exit 1 when one of severity ERROR fails."""
    from weights_pipeline.books import BookError, load_books
    from weights_pipeline.checklist import book_checks, ledger_checks
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import books_in_store

    settings = _settings()
    store = _store(settings)
    try:
        books = load_books(settings.data / "books")
        stored = books_in_store(store)
    except BookError as error:
        _stop(str(error), INVALID)
    except FileNotFoundError as error:
        _stop(str(error), NOTHING)
    if book is not None and book not in books:
        _stop(f"unknown book {book!r}; there are {', '.join(books)}", INVALID)
    chosen = [books[book]] if book else [b for b in books.values() if b.name in stored]
    if not chosen or any(b.name not in stored for b in chosen):
        _stop(f"{book or 'no book'} has no weights in {store.path}. Run `weights run` first.", NOTHING)
    outcomes = [("ledger", c, c.run(store)) for c in ledger_checks(books.values())]
    outcomes += [(b.name, c, c.run(store)) for b in chosen for c in book_checks(b)]
    if as_json:
        _print_json([render.outcome_as_dict(*outcome) for outcome in outcomes])
    else:
        render.outcomes(outcomes)
    raise typer.Exit(FAILED if any(c.error and not f.passed for _, c, f in outcomes) else 0)


@app.command()
def demo(as_json: Json = False) -> None:
    """Materialise the full history of the sample book and show its newest weights and checks."""
    from weights_pipeline.cli import render

    report = _run(_settings(), DEMO_BOOK, None, None, quiet=as_json)
    if as_json:
        _print_json(report.as_dict())
    if not report.success:
        raise typer.Exit(FAILED)
    if not as_json:
        show(book=DEMO_BOOK, as_of=None, as_json=False)
        render.next_steps()


def main() -> None:
    """Entry point of the console script."""
    app()


def _run(settings: Settings, book: str, first: str | None, last: str | None, *, quiet: bool) -> RunReport:
    from weights_pipeline.cli import render

    with render.progress(quiet=quiet) as progress:
        # Imported under the progress display: Dagster takes a moment to load.
        from weights_pipeline.books import BookError
        from weights_pipeline.runs import RangeError, materialise

        os.environ.setdefault("DAGSTER_HOME", str(settings.home))
        try:
            report = materialise(settings, book, first, last, on_progress=progress)
        except (BookError, RangeError) as error:
            _stop(str(error), INVALID)
    if not quiet:
        render.run_report(report)
    return report


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
    raise typer.Exit(code)
