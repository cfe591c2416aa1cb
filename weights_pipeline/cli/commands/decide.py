"""``weights decide``: what a signal would be answered now, from the published weights of a book.

Scope: the command, and the clock: this is where "now" is read. Not here: the decision (``core.decide``), and published
weights (``live``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.core.decide import Mandate

REJECTED = 4
"""Exit code of a signal that is rejected: nothing went wrong, but nothing may be put on."""


def add(commands: common.Commands) -> None:
    """Declare the command."""
    decide = common.command(commands, "decide", _decide)
    decide.add_argument("--book", required=True, help="book")
    decide.add_argument("--strategy", required=True, help="strategy that gave the signal")
    decide.add_argument("--equity", required=True, type=float, help="equity of the account, in money")
    decide.add_argument("--action", required=True, choices=("enter", "increase", "reduce", "exit"))
    decide.add_argument(
        "--in-use",
        type=_use,
        action="extend",
        nargs="+",
        default=[],
        metavar="STRATEGY=FRACTION",
        help="capital in use, as a fraction of equity, of every strategy that has any; repeated ones add up",
    )
    decide.add_argument("--live", metavar="FOLDER|s3://BUCKET/PREFIX", help="where live weights are published")


def _decide(options: argparse.Namespace) -> int:
    """Say whether a signal may be acted on, and with how much capital; exit 4 when it may not."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.decide import decide

    in_use: dict[str, float] = {}
    for strategy, fraction in options.in_use:
        in_use[strategy] = in_use.get(strategy, 0.0) + fraction
    now = dt.datetime.now(dt.UTC)
    mandate = _mandate(options, now)
    decision = decide(mandate, options.strategy, options.equity, options.action, now=now, in_use=in_use)
    if options.json:
        common.print_json(
            {
                "decision": "APPROVE" if decision.approved else "REJECT",
                "book": decision.book,
                "strategy": decision.strategy,
                "action": decision.action,
                "allocation": decision.allocation,
                "capital": decision.capital,
                "margin": decision.margin,
                "reason": decision.reason,
                "source": mandate.source,
                "version": decision.version,
                "effective_from": mandate.effective_from,
                "weights": mandate.reason,
                "decided_at": now.isoformat(),
            }
        )
    else:
        verdict = "APPROVE" if decision.approved else "REJECT"
        render.say(f"{verdict} {decision.action} {decision.strategy} of {decision.book}: {decision.reason}.")
        render.say(
            f"Allocation {decision.allocation:.2%} of equity, capital {decision.capital:,.2f}, "
            f"margin {decision.margin:,.2f}."
        )
        render.say(f"Weights: {mandate.source}, {mandate.reason}.")
    return 0 if decision.approved else REJECTED


def _mandate(options: argparse.Namespace, now: dt.datetime) -> Mandate:
    """What the book allows; for an exit or a reduction nothing is read that could stand in its way."""
    from weights_pipeline.core.decide import CLOSING, Mandate

    if options.action in CLOSING:
        return Mandate(
            book=options.book, allocations={}, max_leverage=1.0, source="base", reason="none read to close a position"
        )
    from weights_pipeline.live import Keys, Reader

    workspace = common.workspace()
    book = common.book_named(workspace, options.book)
    try:
        keys = Keys.from_environment(os.environ)
    except ValueError as error:
        common.stop(str(error), common.INVALID)
    try:
        reader = Reader(
            options.live or workspace.settings.live[0],
            book=book.name,
            base=book.strategies,
            max_leverage=book.max_gross,
            max_age=book.max_age,
            keys=keys,
        )
    except ValueError as error:
        common.stop(f"--live: {error}", common.INVALID)
    return reader.current(now)


def _use(text: str) -> tuple[str, float]:
    """Parse STRATEGY=FRACTION; argparse names the option when it cannot."""
    strategy, _, fraction = text.rpartition("=")
    if not strategy:
        raise argparse.ArgumentTypeError(f"expected STRATEGY=FRACTION such as trend=0.2, got {text!r}")
    try:
        return strategy, float(fraction)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a fraction of equity such as 0.2, got {fraction!r}") from error
