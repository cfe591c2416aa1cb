"""Read-only questions to the store, answered in SQL without pandas or Dagster, so that they answer at once.

Here belong queries for people and consumers. Tables for computing on are read through the store itself.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weights_pipeline.store.duckdb_store import DuckDBStore, quoted
from weights_pipeline.store.tables import PARTITION_COLUMN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class NothingInForceError(LookupError):
    """No weights are in force: the book was never materialised, or not for so early a date."""


@dataclass(frozen=True)
class WeightRow:
    """One strategy of a weight set, from base weight to the weight to trade; the scalar is that of its sleeve."""

    strategy: str
    base: float
    target: float
    realized: float
    final: float
    metric_value: float | None
    note: str
    scalar: float | None


@dataclass(frozen=True)
class WeightSet:
    """The weights of one book in force on a date.

    ``as_of`` is the last session of the rebalance they are of, ``effective_from`` the session since which they are in
    force: of a book that is scaled every day, that of its newest scaling.
    """

    book: str
    rows: tuple[WeightRow, ...]
    metric: str
    weight_set: str
    as_of: dt.date
    effective_from: dt.date
    next_rebalance: str
    rate: float
    scalar_session: dt.date | None
    regime: str
    applied: bool


def books_in_store(store: DuckDBStore) -> list[str]:
    """Books that have final weights, by name."""
    with store.reading() as connection:
        return _books(connection)


def weights_in_force(store: DuckDBStore, book: str | None = None, on: dt.date | None = None) -> list[WeightSet]:
    """Newest weights whose effective date is not after ``on``, of one book or of all.

    Parameters
    ----------
    store
        Where to look.
    book
        Name of a book; all of them when None.
    on
        Day on which the weights were in force; the newest of all when None.

    Raises
    ------
    FileNotFoundError
        The store does not exist.
    NothingInForceError
        There are none.
    """
    with store.reading() as connection:
        books = _books(connection)
        if not books or (book is not None and book not in books):
            name = book or "NAME"
            raise NothingInForceError(f"{name}: no weights in {store.path}. Run `weights run --book {name}` first.")
        return [_in_force(connection, name, on) for name in ([book] if book else books)]


def partition_of(store: DuckDBStore, schema: str, table_name: str, as_of: dt.date) -> str | None:
    """Key of the partition that holds a date of a table; None where no row has that date."""
    name = f"{quoted(schema)}.{quoted(table_name)}"
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {PARTITION_COLUMN} FROM {name} WHERE as_of = ? LIMIT 1",  # noqa: S608 - quoted identifiers
            [as_of],
        ).fetchall()
    return rows[0][0] if rows else None


def _books(connection: DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "SELECT schema_name FROM duckdb_tables() WHERE table_name = 'final_weights' ORDER BY schema_name"
    ).fetchall()
    return [row[0] for row in rows]


def _in_force(connection: DuckDBPyConnection, book: str, on: dt.date | None) -> WeightSet:
    schema = quoted(book)
    first, newest = connection.execute(
        "SELECT min(effective_from), max(as_of) "  # noqa: S608 - quoted identifier
        f"FILTER (effective_from <= coalesce(?, 'infinity'::DATE)) FROM {schema}.final_weights",
        [on],
    ).fetchall()[0]
    if newest is None:
        raise NothingInForceError(f"{book}: no weights in force on {on}; the first are from {first} on")
    table, since = _newest_scaling(connection, book, newest, on)
    rows: list[tuple[Any, ...]] = connection.execute(
        f"""
        SELECT strategy, r.base, t.target, f.realized, f.final, t.metric_value, t.note, f.scalar,
               t.metric, t.weight_set, r.as_of, f.effective_from, w.next_rebalance, r.rate,
               f.scalar_session, f.regime, f.applied
        FROM {schema}.{table} f
        JOIN {schema}.final_weights w USING (strategy)
        JOIN {schema}.realized_weights r USING (strategy)
        JOIN {schema}.target_weights t USING (strategy)
        WHERE f.effective_from = ? AND w.as_of = ? AND r.as_of = ? AND t.as_of = ? ORDER BY strategy
        """,  # noqa: S608 - quoted identifiers
        [since, newest, newest, newest],
    ).fetchall()
    return WeightSet(book, tuple(WeightRow(*row[:8]) for row in rows), *rows[0][8:])


def _newest_scaling(
    connection: DuckDBPyConnection, book: str, as_of: dt.date, on: dt.date | None
) -> tuple[str, dt.date]:
    """Table that holds the weights of a rebalance as last scaled, and the session since which they are in force."""
    schema = quoted(book)
    found: dt.date = connection.execute(
        f"SELECT effective_from FROM {schema}.final_weights WHERE as_of = ?",  # noqa: S608 - quoted identifier
        [as_of],
    ).fetchall()[0][0]
    scaled_daily = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = 'daily_weights'", [book]
    ).fetchall()
    if scaled_daily:
        daily = connection.execute(
            f"SELECT max(effective_from) FROM {schema}.daily_weights "  # noqa: S608 - quoted identifier
            "WHERE effective_from <= coalesce(?, 'infinity'::DATE)",
            [on],
        ).fetchall()[0][0]
        if daily is not None and daily > found:
            return "daily_weights", daily
    return "final_weights", found
