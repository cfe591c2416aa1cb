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
    from weights_pipeline.checks.checklist import book_checks, ledger_checks
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import books_in_store

    workspace = common.workspace()
    setups, store = common.setups(workspace), workspace.store
    try:
        stored = books_in_store(store)
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    if options.book:
        chosen = [common.setup_named(workspace, options.book)]
    else:
        chosen = [setup for setup in setups.values() if setup.name in stored]
    if not chosen or any(setup.name not in stored for setup in chosen):
        message = f"{options.book or 'no book'} has no weights in {store.location}. Run `weights run` first."
        common.stop(message, common.NOTHING)
    checks = []
    for source in {setup.source.name: setup.source for setup in chosen}.values():
        checks += ledger_checks(source, workspace.readers[source.name])
    for setup in chosen:
        checks += book_checks(setup)
    with store.view():
        outcomes = [(check, check.run(store)) for check in checks]
    if options.json:
        common.print_json([render.outcome_as_dict(*outcome) for outcome in outcomes])
    else:
        render.outcomes(outcomes)
    return common.FAILED if any(c.error and not f.passed for c, f in outcomes) else 0
