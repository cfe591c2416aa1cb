"""What is published of a book, beside the weights that were computed for it, and whether its rebalances go on.

Scope: two comparisons, for everybody who tells a person which weights are in force. Not here: what a service goes by
(``reader``), and why something was not published (``checks``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weights_pipeline.live.document import LiveError, LiveWeights, MissingError, UnreachableError
from weights_pipeline.live.places import SOURCES, source
from weights_pipeline.live.signing import Keys

State = Literal["in_force", "coming", "expired", "other", "missing", "unusable", "unreachable"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What one place has published of a book.

    Attributes
    ----------
    target
        The place.
    state
        ``in_force`` where services go by the weights computed; ``coming`` or ``expired`` where these are published and
        do not count yet or any more; ``other`` where other weights are published; ``missing`` where none are;
        ``unusable`` where what there is cannot be read or trusted; ``unreachable`` where that could not be found out.
    version, effective_from, stale_after
        Of what is published; null where nothing can be read.
    says
        The same in a sentence.
    """

    target: str
    state: State
    version: int | None = None
    effective_from: dt.date | None = None
    stale_after: dt.datetime | None = None
    says: str


@dataclass(frozen=True, kw_only=True)
class Course:
    """Whether a book goes on: its rebalances, and the ledger under them.

    Attributes
    ----------
    state
        ``on_time``; ``overdue`` where a rebalance that was due has not happened; ``ended`` where for longer than from
        one rebalance to the next nothing has come in the ledger.
    newest
        Newest session on which a strategy of the book earned or lost anything; null where there is none.
    due
        When the next rebalance is, or was.
    says
        The same in a sentence; empty for ``on_time``.
    """

    state: Literal["on_time", "overdue", "ended"]
    newest: dt.date | None
    due: dt.datetime
    says: str = ""


def course(book: str, as_of: dt.date, next_rebalance: str, newest: dt.date | None, now: dt.datetime) -> Course:
    """Whether a book goes on at an instant.

    Parameters
    ----------
    book
        Its name.
    as_of, next_rebalance
        Last session of its newest rebalance, and when the one after is due, ISO 8601 with a zone.
    newest
        See :class:`Course`.
    now
        Instant with a zone.
    """
    due = dt.datetime.fromisoformat(next_rebalance)
    overdue = now >= due
    expected = now.astimezone(due.tzinfo).date() if overdue else as_of
    state: Literal["on_time", "overdue", "ended"] = "overdue" if overdue else "on_time"
    missed = f"the rebalance due {due:%Y-%m-%d %H:%M} has not happened"
    says = f"Overdue: {missed}; `weights rebalance --book {book}` makes it." if overdue else ""
    if newest is None or expected - newest > due.date() - as_of:
        since = "it holds nothing" if newest is None else f"nothing in it is newer than {newest}"
        state, says = "ended", f"The ledger has ended, rests or is not read: {since}{f', and {missed}' * overdue}."
    return Course(state=state, newest=newest, due=due, says=says)


def standings(
    computed: Mapping[str, Mapping[str, float]],
    targets: Iterable[str],
    keys: Keys | None,
    now: dt.datetime,
) -> dict[str, tuple[Standing, ...]]:
    """What each place that can be read has published of books, by book.

    A place that cannot be reached is asked once, and not waited for.

    Parameters
    ----------
    computed
        Weights that were computed, by book and strategy.
    targets
        Places as settings name them; those that can only be written to are passed over.
    keys
        Whose signatures are accepted.
    now
        Instant with a zone.
    """
    read = [t for t in targets if (t.partition("://")[0] if "://" in t else "") in SOURCES]
    places = [[*_standings(computed, target, keys, now)] for target in read]
    return {book: tuple(place[number] for place in places) for number, book in enumerate(computed)}


def _standings(
    computed: Mapping[str, Mapping[str, float]], target: str, keys: Keys | None, now: dt.datetime
) -> Iterator[Standing]:
    unreachable: Standing | None = None
    for book, weights in computed.items():
        try:
            yield unreachable or _standing(book, weights, target, keys, now)
        except UnreachableError as error:
            unreachable = Standing(target=target, state="unreachable", says=f"What is published is not known: {error}")
            yield unreachable


def _standing(book: str, computed: Mapping[str, float], target: str, keys: Keys | None, now: dt.datetime) -> Standing:
    missing = Standing(target=target, state="missing", says="Not published: services go by base weights.")
    if "://" not in target and not Path(target).exists():
        return missing
    try:
        found = source(target, patient=False).poll(book, None)
        weights = LiveWeights.from_json(found[0], keys) if found else None
    except MissingError:
        return missing
    except UnreachableError:
        raise
    except LiveError as error:
        return Standing(target=target, state="unusable", says=f"What is published cannot be used: {error}")
    if weights is None:
        return missing
    state, says = _told(weights, computed, now)
    return Standing(
        target=target,
        state=state,
        version=weights.version,
        effective_from=weights.effective_from,
        stale_after=weights.stale_after,
        says=says,
    )


def _told(weights: LiveWeights, computed: Mapping[str, float], now: dt.datetime) -> tuple[State, str]:
    number = f"version {weights.version}"
    if now > weights.stale_after:
        since = f"Expired: {number} is not used after {weights.max_age} days; services go by base weights since"
        says = f"{since} {weights.stale_after:%Y-%m-%d %H:%M %Z}."
    else:
        says = f"Published: {number}, until {weights.stale_after:%Y-%m-%d %H:%M %Z}."
    if dict(weights.final) != dict(computed):
        other = f"Other weights are published: those in force from {weights.effective_from}."
        return "other", f"{other} {says} `weights check` and `weights history` say why."
    if now > weights.stale_after:
        return "expired", says
    if now < weights.begins:
        return "coming", f"Published: {number}, which counts from {weights.effective_from} on."
    return "in_force", says
