"""``weights show``: the weights in force on a day.

Here belongs the command. The question to the store is in ``store.queries``, what a weight set looks like in ``render``.
"""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.settings import Settings


def add(commands: common.Commands) -> None:
    """Declare the command."""
    show = common.command(commands, "show", _show)
    show.add_argument("--book", help="book; all of them when left out")
    show.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="weights in force on this day")


def _show(options: argparse.Namespace) -> int:
    """Show the weights in force, how they came about, and how fast they move."""
    return print_weights(common.settings(), options.book, options.as_of, as_json=options.json)


def print_weights(settings: Settings, book: str | None, on: dt.date | None, *, as_json: bool) -> int:
    """Print the weights in force on a day, of one book or of all."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, weights_in_force

    try:
        found = weights_in_force(common.store(settings), book, on)
    except (FileNotFoundError, NothingInForceError) as error:
        common.stop(str(error), common.NOTHING)
    if as_json:
        common.print_json([render.weights_as_dict(weights) for weights in found])
    else:
        for weights in found:
            render.weights(weights)
    return 0
