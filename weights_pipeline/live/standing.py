"""What is published of a book, beside the weights that were computed for it.

Scope: one comparison, for everybody who tells a person which weights are in force. Not here: what a service goes by
(``reader``), and why something was not published (``checks``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weights_pipeline.live.document import LiveError, LiveWeights, MissingError
from weights_pipeline.live.places import SOURCES, source
from weights_pipeline.live.signing import Keys

State = Literal["in_force", "coming", "expired", "other", "missing", "unusable"]


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
        ``unusable`` where what there is cannot be read or trusted.
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


def standings(
    book: str,
    computed: Mapping[str, float],
    targets: Iterable[str],
    keys: Keys | None,
    now: dt.datetime,
) -> Iterator[Standing]:
    """What each place that can be read has published of a book.

    Parameters
    ----------
    book
        Its name.
    computed
        Weights that were computed for it, by strategy.
    targets
        Places as settings name them; those that can only be written to are passed over.
    keys
        Whose signatures are accepted.
    now
        Instant with a zone.
    """
    for target in targets:
        scheme = target.partition("://")[0] if "://" in target else ""
        if scheme in SOURCES:
            yield _standing(book, computed, target, keys, now)


def _standing(book: str, computed: Mapping[str, float], target: str, keys: Keys | None, now: dt.datetime) -> Standing:
    missing = Standing(target=target, state="missing", says="Not published: services go by base weights.")
    if "://" not in target and not Path(target).exists():
        return missing
    try:
        found = source(target).poll(book, None)
        weights = LiveWeights.from_json(found[0], keys) if found else None
    except MissingError:
        return missing
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
