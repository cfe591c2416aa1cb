"""``weights check``: every check on what is stored, with an exit code for whoever runs it by a machine.

Scope: the command. Not here: the checks (``checks``).
"""

from __future__ import annotations

import argparse

from weights_pipeline.cli import common


def add(commands: common.Commands) -> None:
    """Declare the command."""
    check = common.command(commands, "check", _check)
    check.add_argument("--book", help="book; all of them when left out")
    check.add_argument("--full", action="store_true", help="verify again what a run has verified and nothing changed")


def _check(options: argparse.Namespace) -> int:
    """Run every check on what is stored; exit 1 when one of severity ERROR fails."""
    from weights_pipeline.checks import Verified, book_checks, ledger_checks
    from weights_pipeline.cli import render
    from weights_pipeline.store.once import ReadOnce
    from weights_pipeline.store.queries import books_in_store

    workspace = common.workspace()
    chosen = [common.setup_named(workspace, options.book)] if options.book else [*common.setups(workspace).values()]
    store = workspace.store
    try:
        stored = books_in_store(store)
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    if not options.book:
        chosen = [setup for setup in chosen if setup.name in stored]
    if not chosen or any(setup.name not in stored for setup in chosen):
        message = f"{options.book or 'no book'} has no weights in {store.location}. Run `weights run` first."
        common.stop(message, common.NOTHING)
    lists = [
        ledger_checks(source, workspace.readers[source.name])
        for source in {setup.source.name: setup.source for setup in chosen}.values()
    ]
    lists += [book_checks(setup) for setup in chosen]
    with store.view():
        # Of one ledger or book at a time, so that its tables are in memory once and not for longer.
        outcomes = []
        for checks in lists:
            verified = Verified() if options.full else Verified.of(workspace.settings.verified, checks[0].schema)
            once = ReadOnce(store)
            outcomes += [(check, check.run(once, verified)) for check in checks]
    if options.json:
        common.print_json([render.outcome_as_dict(*outcome) for outcome in outcomes])
    else:
        render.outcomes(outcomes)
    if any(c.error and not f.passed for c, f in outcomes):
        return common.FAILED
    return common.INVALID if workspace.dropped and not options.book else 0
