"""Publication: the newest version of a book's weights whose day has come, as a document for consumers.

Scope: what of the history is published, and whether there will be more. Not here: how documents look and where they
are kept (``live``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.core.versions import OPENING
from weights_pipeline.live import LiveWeights, SigningKey, publish
from weights_pipeline.live.standing import Course, course
from weights_pipeline.store.base import Reader, Store
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import NoVersionError, read_version, weights_known
from weights_pipeline.versions.policies import Kept
from weights_pipeline.workspace import BookSetup

LIVE_TIME = dt.time(4)
"""When weights whose day has come are published, in the zone of the book."""

_EVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


def live_weights(setup: BookSetup, now: dt.datetime) -> LiveWeights:
    """Weights of a book that are in force at an instant, by its newest version whose effective date has come.

    A book that is scaled every day has those of its newest scaling whose day has come. Of a desk that has opened and
    whose first day is yet to come, they are those of that day: a document says itself from when on it counts.

    Parameters
    ----------
    setup
        The book.
    now
        The instant, with a zone; the day is the one of the book's zone.

    Raises
    ------
    weights_pipeline.versions.history.NoVersionError
        There is none, or the store has lost its final weights.
    """
    book, store = setup.book, setup.store
    today = now.astimezone(ZoneInfo(book.timezone)).date()
    with store.view():
        version = read_version(store, book.name, _in_force(store, book, today))
        final, recorded_at = _scaled(store, book, version, today)
    one, scalars = version.iloc[0], final["scalar"].unique()
    return LiveWeights(
        book=book.name,
        account=book.account,
        version=int(one["version"]),
        effective_from=final["effective_from"].iloc[0].date(),
        as_of=final["as_of"].iloc[0].date(),
        recorded_at=recorded_at.to_pydatetime().replace(tzinfo=dt.UTC),
        reason=str(one["reason"]),
        run_id=str(one["run_id"]),
        max_age=book.max_age,
        gross=_max_gross(setup, one),
        base=_by_strategy(version, "base"),
        target=_by_strategy(version, "target"),
        realized=_by_strategy(version, "realized"),
        final=_by_strategy(final, "final"),
        regime=str(final["regime"].iloc[0]) or None,
        scalar=float(scalars[0]) if len(scalars) == 1 and pd.notna(scalars[0]) else None,
        parameters_hash=str(one["parameters_hash"]),
        ledger_hash=str(one["ledger_hash"]),
        code_version=str(one["code_version"]),
    )


def publish_live(document: LiveWeights, targets: Sequence[str], key: SigningKey | None) -> dict[str, bool]:
    """Publish a document to every target, signed where there is a key; by target, whether it was new there.

    Raises
    ------
    weights_pipeline.live.LiveError
        A target holds newer weights or cannot be reached. The targets before it have the document.
    """
    return {target: publish(document, target, key) for target in targets}


def _max_gross(setup: BookSetup, version: pd.Series) -> float:
    """Most that the weights of a version may add up to, by the policy that it was made under."""
    key = str(version["rebalance"])
    if key == OPENING:
        return setup.book.gross
    return Kept(setup, setup.store).policies(key, version["recorded_at"])[0].max_gross


def _by_strategy(rows: pd.DataFrame, column: str) -> dict[str, float]:
    return dict(zip(rows["strategy"].tolist(), rows[column].tolist(), strict=True))


def _in_force(store: Store, book: Book, today: dt.date) -> int:
    """Number of the version in force, or of the one that opens the book."""
    try:
        # Whatever is recorded by now: of two runs at once, one may publish what the other has made.
        return weights_known(store, book.name, today, _EVER).version
    except NoVersionError:
        history = store.read(book.name, catalog.WEIGHT_HISTORY, columns=["version", "rebalance"])
        if set(history["rebalance"]) != {OPENING}:
            raise
        return int(history["version"].max())


def course_of(setup: BookSetup, store: Reader, now: dt.datetime) -> Course | None:
    """Whether a book goes on at an instant, by its newest rebalance that is stored; None where there is none."""
    final = store.read(setup.name, catalog.FINAL_WEIGHTS, columns=["as_of", "strategy", "next_rebalance"])
    return None if final.empty else course_after(setup, store, final[final["as_of"] == final["as_of"].max()], now)


def course_after(setup: BookSetup, store: Reader, final: pd.DataFrame, now: dt.datetime) -> Course:
    """The same by final weights of one rebalance."""
    columns = ["session", "strategy", "daily_return"]
    returns = store.read(setup.source.schema_name, catalog.STRATEGY_RETURNS, columns=columns)
    moved = returns[returns["strategy"].isin(final["strategy"]) & (returns["daily_return"] != 0)]
    newest = None if moved.empty else moved["session"].max().date()
    one = final.iloc[0]
    return course(setup.name, one["as_of"].date(), one["next_rebalance"], newest, now)


def _scaled(store: Store, book: Book, version: pd.DataFrame, today: dt.date) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Final weights of a version as last scaled, and when that was recorded."""
    as_of, recorded_at = version["as_of"].iloc[0], version["recorded_at"].iloc[0]
    rebalance = str(version["rebalance"].iloc[0])
    if rebalance == OPENING:
        return version.assign(scalar=np.nan, regime=""), recorded_at
    rows = store.read(book.name, catalog.FINAL_WEIGHTS, [rebalance])
    rows = rows[rows["as_of"] == as_of]
    if rows.empty:
        raise NoVersionError(
            f"book {book.name}: final weights of rebalance {rebalance}, of which version {version['version'].iloc[0]} "
            f"is, are not in {store.location}. Run `weights run --book {book.name} --from {rebalance}`."
        )
    if book.overlay is None or book.overlay.apply != "daily":
        return rows, recorded_at
    daily = store.read(book.name, catalog.DAILY_WEIGHTS)
    begun = daily[(daily["as_of"] > as_of) & (daily["effective_from"] <= pd.Timestamp(today))]
    if begun.empty:
        return rows, recorded_at
    newest = begun[begun["as_of"] == begun["as_of"].max()]
    records = store.partitions(book.name, catalog.DAILY_WEIGHTS.name)
    return newest, pd.Timestamp(max(record.recorded_at for record in records.values()))
