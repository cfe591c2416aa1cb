"""``weights show``: the weights in force on a day.

Scope: the command. Not here: the question to the store (``store.queries``), and what a weight set looks like
(``render``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.store.base import Store
    from weights_pipeline.versions.history import KnownWeights


def add(commands: common.Commands) -> None:
    """Declare the command."""
    show = common.command(commands, "show", _show)
    show.add_argument("--book", help="book; all of them when left out")
    show.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="weights in force on this day")


def _show(options: argparse.Namespace) -> int:
    """Show the weights in force, how they came about, and how fast they move."""
    return print_weights(common.workspace().store, options.book, options.as_of, as_json=options.json)


def print_weights(store: Store, book: str | None, on: dt.date | None, *, as_json: bool) -> int:
    """Print the weights in force on a day, of one book or of all."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, weights_in_force

    try:
        found = weights_in_force(store, book, on)
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    except NothingInForceError as error:
        # Before its first rebalance a book may have been opened.
        opened = _opened(store, book, on)
        if not opened:
            common.stop(str(error), common.NOTHING)
        if as_json:
            common.print_json([asdict(each) for each in opened])
        for each in () if as_json else opened:
            render.opened(each.book, each.effective_from, {row.strategy: row.final for row in each.rows})
        return 0
    if as_json:
        common.print_json([render.weights_as_dict(weights) for weights in found])
    else:
        for weights in found:
            render.weights(weights)
    return 0


def _opened(store: Store, book: str | None, on: dt.date | None) -> list[KnownWeights]:
    """Weights that books were opened with and that are in force on a day; on any when None."""
    from weights_pipeline.versions.history import NoVersionError, books_with_history, weights_known

    found, ever = list["KnownWeights"](), dt.datetime.max.replace(tzinfo=dt.UTC)
    with suppress(NoVersionError):
        for name in books_with_history(store, book):
            with suppress(NoVersionError):
                found.append(weights_known(store, name, on or dt.date.max, ever))
    return [each for each in found if each.reason == "initial"]
