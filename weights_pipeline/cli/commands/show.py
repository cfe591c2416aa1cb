"""``weights show``: the weights in force on a day, and what is published of them.

Scope: the command, and the clock: this is where "now" is read. Not here: the questions to the store
(``store.queries``) and to the places of publication (``live.standing``), and what weights look like (``render``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from weights_pipeline.cli import common
from weights_pipeline.settings import without_secrets

if TYPE_CHECKING:
    from weights_pipeline.live.standing import Course, Standing
    from weights_pipeline.store.base import Store
    from weights_pipeline.store.queries import WeightSet
    from weights_pipeline.versions.history import KnownWeights
    from weights_pipeline.workspace import Workspace


def add(commands: common.Commands) -> None:
    """Declare the command."""
    show = common.command(commands, "show", _show)
    show.add_argument("--book", help="book; all of them when left out")
    show.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="weights in force on this day")


def _show(options: argparse.Namespace) -> int:
    """Show the weights in force, how they came about, and how fast they move."""
    return print_weights(common.workspace(), options.book, options.as_of, as_json=options.json)


def print_weights(workspace: Workspace, book: str | None, on: dt.date | None, *, as_json: bool) -> int:
    """Print the weights in force on a day, of one book or of all; of today with what is published of them."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import NothingInForceError, weights_in_force

    store, found, nothing = workspace.store, list["WeightSet"](), ""
    try:
        with store.view():
            try:
                found = weights_in_force(store, book, on)
            except NothingInForceError as error:
                nothing = str(error)
            # Before its first rebalance a book may have been opened.
            opened = _opened(store, book, on, {each.book for each in found})
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    if not found and not opened:
        common.stop(nothing, common.NOTHING)
    courses, published = _told(workspace, found, opened) if on is None else ({}, {})
    if as_json:
        content = [*map(render.weights_as_dict, found), *map(asdict, opened)]
        for each in content:
            course, places = courses.get(each["book"]), published.get(each["book"], ())
            each |= {"course": asdict(course) if course else None, "published": [asdict(place) for place in places]}
        common.print_json(content)
        return 0
    for weights in found:
        render.weights(weights)
        _say(courses.get(weights.book), published.get(weights.book, ()))
    for known in opened:
        render.opened(known.book, known.effective_from, {row.strategy: row.final for row in known.rows})
        _say(None, published.get(known.book, ()))
    return 0


def _say(course: Course | None, published: tuple[Standing, ...]) -> None:
    """Say whether a book goes on, and what is published of it."""
    from weights_pipeline.cli import render

    if course and course.says:
        render.say(course.says)
    for place in published:
        render.say(place.says if len(published) == 1 else f"{without_secrets(place.target)}: {place.says}")


def _told(
    workspace: Workspace, found: list[WeightSet], opened: list[KnownWeights]
) -> tuple[dict[str, Course], dict[str, tuple[Standing, ...]]]:
    """Whether books go on, and what each place has published of them."""
    from weights_pipeline.live import Keys
    from weights_pipeline.live.standing import course, standings

    now = dt.datetime.now(dt.UTC)
    computed = {each.book: {row.strategy: row.final for row in each.rows} for each in found}
    computed |= {each.book: {row.strategy: row.final for row in each.rows} for each in opened}
    try:
        keys = Keys.from_environment(os.environ)
    except ValueError as error:
        common.stop(str(error), common.INVALID)
    courses = {each.book: course(each.book, each.as_of, each.next_rebalance, each.newest, now) for each in found}
    return courses, standings(computed, workspace.settings.live, keys, now)


def _opened(store: Store, book: str | None, on: dt.date | None, others: set[str]) -> list[KnownWeights]:
    """Weights that all but some books were opened with and that are in force on a day; on any when None."""
    from weights_pipeline.store.queries import books_in_store

    names = [each for each in books_in_store(store, "weight_history") if each not in others and book in (None, each)]
    if not names:
        return []
    from weights_pipeline.versions.history import NoVersionError, weights_known

    found, ever = list["KnownWeights"](), dt.datetime.max.replace(tzinfo=dt.UTC)
    for name in names:
        with suppress(NoVersionError):
            found.append(weights_known(store, name, on or dt.date.max, ever))
    return [each for each in found if each.reason == "initial"]
