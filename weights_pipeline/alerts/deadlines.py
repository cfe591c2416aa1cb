"""What goes wrong by itself as time passes, and what has changed in the state of the world.

Scope: questions to files, to the store and to published weights, as of an instant that the caller gives: a book that is
not valid any more, a rebalance that did not happen, weights that were not scaled, not published or are stale, a regime
that is another one than last time. Not here: what Dagster has seen fail (``orchestration.sensors``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

import pandas as pd

from weights_pipeline.alerts.message import Alert, Severity
from weights_pipeline.books.book import Book
from weights_pipeline.books.reading import BookError
from weights_pipeline.live import Keys, LiveWeights, MissingError
from weights_pipeline.live.document import CorruptError
from weights_pipeline.live.places import SOURCES
from weights_pipeline.live.places import source as place
from weights_pipeline.operations.rebalance import daily_time, owed, unscaled
from weights_pipeline.settings import without_secrets
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import NoVersionError
from weights_pipeline.versions.publication import LIVE_TIME, live_weights
from weights_pipeline.workspace import BookSetup, Workspace

GRACE: Final = dt.timedelta(hours=1)
"""What a rebalance or a publication may take after it was due."""

Link = Callable[[str, str], str]
"""Address of the user interface by book and table."""


def left_out(workspace: Workspace, link: Link) -> list[Alert]:
    """Books and comparisons that do not work: as they were loaded, and as their files are now.

    Parameters
    ----------
    workspace
        As the code location has loaded it.
    link
        Where to look.
    """
    found = dict[str, ValueError]()
    for each in (workspace, Workspace(workspace.settings)):
        try:
            found |= each.dropped
        except BookError as error:
            found["books"] = error
    return [
        Alert(
            severity=Severity.ERROR,
            book=name,
            event=("left out", hashlib.sha256(str(error).encode()).hexdigest()[:16]),
            title="is not valid and left out",
            value="left out",
            limit="a valid file",
            detail=f"{str(error).rstrip('.')}. Nothing of it runs, and its live weights stay as they are until they "
            f"expire. What is valid goes on.",
            advice="Correct the file, see that `weights books` says nothing of it, and reload the code location.",
            link=link("deployment", "locations"),
        )
        for name, error in found.items()
    ]


def missed_rebalances(setup: BookSetup, now: dt.datetime, link: Link) -> list[Alert]:
    """Every rebalance that is owed past its time and grace; see :func:`weights_pipeline.operations.rebalance.owed`.

    Parameters
    ----------
    setup
        The book.
    now
        The instant, zone-aware.
    link
        Where to look.
    """
    book = setup.book
    return [
        Alert(
            severity=Severity.ERROR,
            book=book.name,
            event=("missed", window.key),
            title="rebalance did not happen",
            value="not stored",
            limit=f"due {due:%Y-%m-%d %H:%M} {book.timezone}",
            detail=f"The weights of the rebalance before stay in force. The book rebalances {book.cadence.title}.",
            advice=f"See whether schedule {book.name}_rebalance is on and its last run went well, then run "
            f"`weights rebalance --book {book.name}`.",
            partition=window.key,
            link=link(book.name, catalog.FINAL_WEIGHTS.name),
        )
        for window, due in owed(setup, now)
        if now >= due + GRACE
    ]


def missed_scalings(setup: BookSetup, now: dt.datetime, link: Link) -> list[Alert]:
    """Sessions whose daily weights are owed past their time and grace, in one alert until a later one is owed too.

    Parameters
    ----------
    setup, now, link
        As of :func:`missed_rebalances`.
    """
    name, (months, sessions) = setup.name, unscaled(setup, now - GRACE)
    if not sessions:
        return []
    return [
        Alert(
            severity=Severity.ERROR,
            book=name,
            event=("unscaled", str(sessions[-1])),
            title="weights were not scaled",
            value="not stored",
            limit=f"every day at {daily_time(setup.book):%H:%M} {setup.book.timezone}",
            detail=f"Weights scaled before stay in force. Missing: {', '.join(map(str, sessions))}.",
            advice=f"See whether schedule {name}_daily is on and its last run went well, then launch the job "
            f"{name}_daily over {months[0].key} to {months[-1].key}.",
            partition=months[-1].key,
            link=link(name, catalog.DAILY_WEIGHTS.name),
        )
    ]


def unfit_live(
    setup: BookSetup, targets: tuple[str, ...], now: dt.datetime, link: Link, keys: Keys | None
) -> list[Alert]:
    """Places whose live weights are corrupt, stale, or behind what the store has in force.

    Places that can only be written to are left out. A book without a version is published nowhere, and weights on a
    finished history are stale by nature.

    Parameters
    ----------
    setup, now, link
        As of :func:`missed_rebalances`.
    targets
        Where live weights are published.
    keys
        Keys of which one has to have signed them, if any.

    Raises
    ------
    weights_pipeline.live.UnreachableError
        What is published somewhere could not be found out.
    """
    book = setup.book
    if setup.source.last_month is not None:
        return []
    if setup.store.read(book.name, catalog.WEIGHT_HISTORY, columns=["version"]).empty:
        return []
    expected, alerts = _in_force(setup, now), list[Alert]()

    def alert(kind: str, event: str, title: str, value: str, limit: str, where: str, detail: str = "") -> Alert:
        return Alert(
            severity=Severity.ERROR,
            book=book.name,
            event=(kind, where, event),
            title=title,
            value=value,
            limit=limit,
            detail=f"{detail}Services that read {where} trade on base weights or on older ones.",
            advice=f"See whether schedule {book.name}_live is on, and materialise {book.name}/live_weights.",
            link=link(book.name, "live_weights"),
        )

    for target in targets:
        if (target.partition("://")[0] if "://" in target else "") not in SOURCES:
            continue
        where, published = without_secrets(target), None
        try:
            content = (place(target).poll(book.name, None) or (b"", None))[0]
            published = LiveWeights.from_json(content, keys)
        except MissingError:
            pass
        except CorruptError as error:
            digest = hashlib.sha256(content).hexdigest()[:16]
            alerts.append(alert("corrupt", digest, "live weights are corrupt", str(error), "a whole document", where))
            continue
        has = f"version {published.version}" if published else "nothing"
        if expected is not None and now >= (deadline := _deadline(book, expected)) and _behind(published, expected):
            event = f"{expected.version} {expected.recorded_at.isoformat()}"
            limit = f"version {expected.version} by {deadline:%Y-%m-%d %H:%M} UTC"
            alerts.append(alert("unpublished", event, "weights in force are not published", has, limit, where))
        if published is not None and now > published.stale_after:
            since = f"In force since {published.effective_from}, they count for {published.max_age} days. "
            event, limit = str(published.version), f"used until {published.stale_after:%Y-%m-%d %H:%M} UTC"
            alerts.append(alert("stale", event, "live weights are stale", has, limit, where, since))
    return alerts


def _in_force(setup: BookSetup, now: dt.datetime) -> LiveWeights | None:
    """What should be published; None where the day of the first version has not come."""
    try:
        return live_weights(setup, now)
    except NoVersionError:
        return None


def _deadline(book: Book, expected: LiveWeights) -> dt.datetime:
    first_day = dt.datetime.combine(expected.effective_from, LIVE_TIME, tzinfo=ZoneInfo(book.timezone))
    return max(first_day.astimezone(dt.UTC), expected.recorded_at) + GRACE


def _behind(published: LiveWeights | None, expected: LiveWeights) -> bool:
    return published is None or (published.version, published.recorded_at) < (expected.version, expected.recorded_at)


def regimes(setup: BookSetup) -> dict[str, tuple[str, str]]:
    """Session and regime newest in the store: ``risk`` of a book with an overlay, ``market`` of an ensemble."""
    book, source, store = setup.book, setup.source, setup.store
    found: dict[str, tuple[str, str]] = {}
    wanted = [
        ("risk", book.name, catalog.RISK_REGIME, book.overlay is not None),
        ("market", source.schema_name, catalog.MARKET_REGIME, book.ensemble is not None),
    ]
    for kind, schema, table, reads in wanted:
        rows = store.read(schema, table, columns=["session", "regime"]) if reads else pd.DataFrame()
        if len(rows):
            newest = rows.sort_values("session").iloc[-1]
            found[kind] = (f"{newest['session']:%Y-%m-%d}", str(newest["regime"]))
    return found


def regime_change(setup: BookSetup, kind: str, before: str, session: str, regime: str, link: Link) -> Alert:
    """A regime that is another one than an operator was last told of."""
    book, source = setup.book, setup.source
    risk = kind == "risk"
    effect = "" if book.overlay is None or book.overlay.enabled else " The overlay is computed, not applied."
    table = (book.name, catalog.RISK_REGIME.name) if risk else (source.schema_name, catalog.MARKET_REGIME.name)
    return Alert(
        severity=Severity.NOTICE,
        book=book.name,
        event=(f"{kind} regime", session, before, regime),
        title=f"{kind} regime is {regime}",
        value=f"{regime} on {session}",
        limit=f"{before} when last told",
        detail=f"Weights are scaled towards the scalar of {regime}.{effect}"
        if risk
        else f"The next rebalance reads the weight set of {regime}.",
        advice=f"Look at what comes of it: `weights rebalance --book {book.name} --dry-run`.",
        link=link(*table),
    )
