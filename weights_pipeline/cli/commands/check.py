"""``weights check``: every check on what is stored, with an exit code for whoever runs it by a machine.

Here belongs the command. The checks are in ``checklist``.
"""

from __future__ import annotations

import argparse

from weights_pipeline.cli import common


def add(commands: common.Commands) -> None:
    """Declare the command."""
    check = common.command(commands, "check", _check)
    check.add_argument("--book", help="book; all of them when left out")


def _check(options: argparse.Namespace) -> int:
    """Run every check on what is stored; exit 1 when one of severity ERROR fails."""
    from weights_pipeline.books.load import load_books
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.checks.checklist import book_checks, ledger_checks
    from weights_pipeline.cli import render
    from weights_pipeline.ledger import LedgerError, load_sources
    from weights_pipeline.store.queries import books_in_store

    settings = common.settings()
    store = common.store(settings)
    try:
        books = load_books(settings.data / "books", settings.stage)
        sources = load_sources(settings.data / "ledgers", books.values())
        stored = books_in_store(store)
    except (BookError, LedgerError) as error:
        common.stop(str(error), common.INVALID)
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    if options.book is not None and options.book not in books:
        common.stop(f"unknown book {options.book!r}; there are {', '.join(books)}", common.INVALID)
    chosen = [books[options.book]] if options.book else [b for b in books.values() if b.name in stored]
    if not chosen or any(b.name not in stored for b in chosen):
        message = f"{options.book or 'no book'} has no weights in {store.location}. Run `weights run` first."
        common.stop(message, common.NOTHING)
    checks = []
    for name in dict.fromkeys(b.ledger for b in chosen):
        checks += ledger_checks(sources[name], [b for b in books.values() if b.ledger == name])
    for b in chosen:
        checks += book_checks(b, sources[b.ledger], settings.data)
    with store.view():
        outcomes = [(check, check.run(store)) for check in checks]
    if options.json:
        common.print_json([render.outcome_as_dict(*outcome) for outcome in outcomes])
    else:
        render.outcomes(outcomes)
    return common.FAILED if any(c.error and not f.passed for c, f in outcomes) else 0
