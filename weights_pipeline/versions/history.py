"""The history of weights in a store: adding versions, and asking for them in SQL.

Scope: how versions are kept, and which one was in force. Not here: which rows are a new version (``core.versions``).

Pandas is imported only when versions are added, so that questions are answered at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weights_pipeline.store.base import Store
from weights_pipeline.store.duckdb_store import quoted

if TYPE_CHECKING:
    import pandas as pd

    from weights_pipeline.core.versions import Stamp
    from weights_pipeline.store.base import DuckDBPyConnection

TABLE = "weight_history"


class NoVersionError(LookupError):
    """There is no such version, or none that was in force and known."""


@dataclass(frozen=True)
class VersionLine:
    """One version in a list of them; ``changed`` says in a word what sets it apart from the one before it."""

    version: int
    rebalance: str
    as_of: dt.date
    effective_from: dt.date
    recorded_at: dt.datetime
    reason: str
    comment: str
    run_id: str
    code_version: str
    turnover: float
    changed: str


@dataclass(frozen=True)
class VersionRow:
    """One strategy of a version."""

    strategy: str
    base: float
    previous: float
    target: float
    realized: float
    final: float
    metrics: str


@dataclass(frozen=True)
class KnownWeights:
    """The version of a book that was in force on a day, as known at an instant.

    ``scaled_from`` is the session from which on its weights were scaled anew by then, of a book that is scaled every
    day: the final weights of the version are those before.
    """

    book: str
    version: int
    rebalance: str
    as_of: dt.date
    effective_from: dt.date
    recorded_at: dt.datetime
    reason: str
    comment: str
    rows: tuple[VersionRow, ...]
    scaled_from: dt.date | None = None


def add_versions(
    store: Store,
    book: str,
    computed: pd.DataFrame,
    documents: Mapping[str, str],
    stamp: Stamp,
    require: Callable[[pd.DataFrame], None] = lambda history: None,
) -> pd.DataFrame:
    """Add a version of each rebalance that differs from its newest one.

    Of two runs at once neither loses nor repeats a version. Documents are stored before the versions that refer to
    them.

    Parameters
    ----------
    store, book
        Where to.
    computed
        See :func:`~weights_pipeline.core.versions.additions`.
    documents
        What the versions refer to, by hash.
    stamp
        What to record of the run.
    require
        Raises where the history so far is not one to add to; asked again in the transaction that writes.

    Returns
    -------
    DataFrame
        All rows of ``weight_history``; where nothing is new, nothing was written.
    """
    import pandas as pd

    from weights_pipeline.core.versions import additions
    from weights_pipeline.tables import catalog

    with store.view():
        history = store.read(book, catalog.WEIGHT_HISTORY)
        stored = set(store.read(book, catalog.WEIGHT_DOCUMENTS, columns=["hash"])["hash"])
    require(history)
    if additions(history, computed, stamp).empty:
        return history
    instant = stamp.recorded_at.tz_localize("UTC").to_pydatetime()

    def with_documents(rows: pd.DataFrame) -> pd.DataFrame:
        new = sorted(documents.keys() - set(rows["hash"]))
        return _joined(rows, pd.DataFrame({"hash": new, "document": [documents[key] for key in new]}))

    def with_versions(rows: pd.DataFrame) -> pd.DataFrame:
        nonlocal history
        require(rows)
        history = _joined(rows, additions(rows, computed, stamp))
        return history

    if documents.keys() - stored:
        store.update(book, catalog.WEIGHT_DOCUMENTS, with_documents, run_id=stamp.run_id, recorded_at=instant)
    store.update(book, catalog.WEIGHT_HISTORY, with_versions, run_id=stamp.run_id, recorded_at=instant)
    return history


def _joined(rows: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([rows, new], ignore_index=True) if len(rows) else new


def read_documents(store: Store, book: str) -> dict[str, str]:
    """All documents of a book's versions, by hash."""
    from weights_pipeline.tables import catalog

    rows = store.read(book, catalog.WEIGHT_DOCUMENTS)
    return dict(zip(rows["hash"], rows["document"], strict=True))


def read_version(store: Store, book: str, version: int) -> pd.DataFrame:
    """Rows of one version, ordered by strategy.

    Raises
    ------
    NoVersionError
        There is none of that number.
    """
    from weights_pipeline.tables import catalog

    history = store.read(book, catalog.WEIGHT_HISTORY)
    rows = history[history["version"] == version].reset_index(drop=True)
    if rows.empty:
        there = f"there are 1 to {history['version'].max()}" if len(history) else "there are none yet"
        raise NoVersionError(f"{book}: no version {version}; {there}.")
    return rows


def books_with_history(store: Store, book: str | None = None) -> list[str]:
    """Books that have versions, by name; of them only ``book`` where one is given.

    Raises
    ------
    FileNotFoundError
        The store does not exist.
    NoVersionError
        There are none.
    """
    books = [schema for schema, name in store.tables() if name == TABLE and book in (None, schema)]
    if not books:
        name = book or "NAME"
        raise NoVersionError(f"{name}: no versions in {store.location}. Run `weights run --book {name}` first.")
    return books


def list_versions(store: Store, book: str, limit: int | None = None) -> list[VersionLine]:
    """Versions of a book, the newest first; the newest ``limit`` of them."""
    query = f"""
        WITH versions AS (
            SELECT version, any_value(rebalance) AS rebalance, any_value(as_of) AS as_of,
                   any_value(effective_from) AS effective_from, any_value(recorded_at) AS recorded_at,
                   any_value(reason) AS reason, any_value(comment) AS comment, any_value(run_id) AS run_id,
                   any_value(code_version) AS code_version, sum(abs(realized - previous)) / 2 AS turnover,
                   any_value(ledger_hash) AS ledger, any_value(parameters_hash) AS parameters,
                   list((strategy, metrics) ORDER BY strategy) AS metrics,
                   list((strategy, previous) ORDER BY strategy) AS previous
            FROM {quoted(book)}.{TABLE} GROUP BY version
        )
        SELECT version, rebalance, as_of, effective_from, recorded_at, reason, comment, run_id, code_version, turnover,
               lag(version) OVER earlier IS NULL, coalesce(parameters <> lag(parameters) OVER before, false),
               ledger <> lag(ledger) OVER earlier,
               parameters <> lag(parameters) OVER earlier, metrics <> lag(metrics) OVER earlier,
               previous <> lag(previous) OVER earlier, code_version <> lag(code_version) OVER earlier
        FROM versions WINDOW
            earlier AS (PARTITION BY rebalance ORDER BY version),
            before AS (PARTITION BY rebalance LIKE '____-__-__' ORDER BY rebalance, version)
        ORDER BY version DESC LIMIT coalesce(?, 9223372036854775807)
    """  # noqa: S608 - quoted identifiers
    with store.reading([(book, TABLE)]) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(query, [limit]).fetchall()
    return [VersionLine(*(*row[:4], _utc(row[4]), *row[5:10], _in_words(*row[10:]))) for row in rows]


def weights_known(store: Store, book: str, effective: dt.date, known: dt.datetime) -> KnownWeights:
    """Weights in force on a day, as they were known at an instant.

    Of each rebalance the newest version recorded by then counts; of these, the one that came into force last. Of
    rebalances that are partitions of the book no more, those count that came into force before any that still is one.

    Parameters
    ----------
    store, book
        Where to look.
    effective
        The day.
    known
        The instant, zone-aware.

    Raises
    ------
    NoVersionError
        None was in force on that day as far as was known then.
    """
    name = f"{quoted(book)}.{TABLE}"
    instant = known.astimezone(dt.UTC).replace(tzinfo=None)
    query = f"""
        WITH stored AS (
            SELECT partition_key AS rebalance FROM store.partitions
            WHERE table_schema = $book AND table_name = 'final_weights'
        ),
        newest AS (SELECT max(version) AS version FROM {name} WHERE recorded_at <= $known GROUP BY rebalance),
        known AS (SELECT * FROM {name} SEMI JOIN newest USING (version)),
        chosen AS (
            SELECT version FROM known WHERE effective_from <= $day AND (
                -- What a desk opened with is of no partition.
                rebalance IN (FROM stored) OR rebalance NOT LIKE '____-__-__'
                OR effective_from < coalesce(
                    (SELECT min(effective_from) FROM known SEMI JOIN stored USING (rebalance)), 'infinity'::DATE
                )
            )
            ORDER BY effective_from DESC, version DESC LIMIT 1
        )
        SELECT version, rebalance, as_of, effective_from, recorded_at, reason, comment,
               strategy, base, previous, target, realized, final, metrics
        FROM {name} SEMI JOIN chosen USING (version) ORDER BY strategy
    """  # noqa: S608 - quoted identifiers
    asked = {"known": instant, "day": effective, "book": book}
    daily = [each for each in store.tables() if each == (book, "daily_weights")]
    with store.reading([(book, TABLE), ("store", "partitions"), *daily]) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(query, asked).fetchall()
        scaled_from = _scaled_from(connection, book, rows[0][2], effective) if rows and daily else None
    if not rows:
        raise NoVersionError(f"{book}: no weights in force on {effective}, as far as was known at {known}.")
    row = rows[0]
    versions = tuple(VersionRow(*row[7:]) for row in rows)
    return KnownWeights(*(book, *row[:4], _utc(row[4]), *row[5:7], versions, scaled_from))


def _scaled_from(connection: DuckDBPyConnection, book: str, as_of: dt.date, day: dt.date) -> dt.date | None:
    """First session of the newest daily scaling of a rebalance that had come into force by a day."""
    found: dt.date | None = connection.execute(
        "SELECT max(effective_from) "  # noqa: S608 - quoted identifier
        f"FROM {quoted(book)}.daily_weights WHERE as_of > ? AND effective_from <= ?",
        [as_of, day],
    ).fetchall()[0][0]
    return found


def _utc(instant: dt.datetime) -> dt.datetime:
    return instant.replace(tzinfo=dt.UTC)


def _in_words(
    first: bool, policy: bool, ledger: bool, parameters: bool, metrics: bool, earlier_weights: bool, code: bool
) -> str:
    if first:
        return "new, under another policy" if policy else "new"
    changes = {"ledger": ledger, "policy": parameters, "metrics": metrics, "earlier weights": earlier_weights}
    # The code nearly always differs, and is to blame only where nothing else does.
    return ", ".join(word for word, changed in changes.items() if changed) or ("code" if code else "weights")
