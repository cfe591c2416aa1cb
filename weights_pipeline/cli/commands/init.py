"""``weights init``: a desk's first day, at base weights.

Scope: the command, and the clock: this is where "now" is read. Not here: the version it records
(``operations.rebalance``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from zoneinfo import ZoneInfo

from weights_pipeline.cli import common


def add(commands: common.Commands) -> None:
    """Declare the command."""
    init = common.command(commands, "init", _init)
    init.add_argument("--book", required=True, help="book to open")
    init.add_argument(
        "--effective", type=common.day, metavar="YYYY-MM-DD", help="in force from the first session on; default today"
    )
    init.add_argument("--comment", default="", metavar="TEXT", help="what the history says beside it")


def _init(options: argparse.Namespace) -> int:
    """Open a book: record its base weights as version 1, and publish them."""
    from weights_pipeline.cli import render
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.live import LiveError, SigningKey
    from weights_pipeline.operations.rebalance import OpenedError, open_history
    from weights_pipeline.versions.publication import live_weights, publish_live

    now = dt.datetime.now(dt.UTC)
    workspace = common.workspace()
    setup, live = common.setup_named(workspace, options.book), workspace.settings.live
    try:
        key = SigningKey.from_environment(os.environ)
    except ValueError as error:
        common.stop(str(error), common.INVALID)
    effective = options.effective or now.astimezone(ZoneInfo(setup.book.timezone)).date()
    try:
        open_history(setup, effective, now=now, comment=options.comment)
    except (LedgerError, OpenedError) as error:
        common.stop(str(error), common.INVALID)
    document = live_weights(setup, now)
    try:
        publish_live(document, live, key)
    except (LiveError, OSError, ValueError) as error:
        common.stop(
            f"{setup.name}: version 1 is recorded and could not be published: {error}. Dagster's job {setup.name}_live "
            f"publishes it",
            common.FAILED,
        )
    if options.json:
        common.print_json(document.content() | {"published": list(live)})
    else:
        render.opened(setup.name, document.effective_from, document.final)
        render.say(f"Version {document.version} ({document.reason}) is published to {', '.join(live)}.")
    return 0
