"""Read-only questions to the store, answered in SQL without pandas or Dagster, so that they answer at once.

Here belong queries for people and consumers. Tables for computing on are read through the store itself.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from weights_pipeline.store.duckdb_store import DuckDBStore, quoted


class NothingInForceError(LookupError):
    """No weights are in force: the book was never materialised, or not for so early a date."""


@dataclass(frozen=True)
class WeightRow:
    """One strategy of a weight set, from base weight to the weight to trade."""

    strategy: str
    base: float
    target: float
    realized: float
    final: float
    metric_value: float | None
    note: str


@dataclass(frozen=True)
class WeightSet:
    """The weights of one book in force on a date."""

    book: str
    rows: tuple[WeightRow, ...]
    metric: str
    as_of: dt.date
    effective_from: dt.date
    next_rebalance: str
    rate: float
    scalar: float | None
    scalar_session: dt.date | None
    regime: str
    applied: bool


def books_in_store(store: DuckDBStore) -> list[str]:
    """Books that have final weights, by name."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 'final_weights' ORDER BY 1"
        ).fetchall()
    return [row[0] for row in rows]


def weights_in_force(store: DuckDBStore, book: str, on: dt.date | None = None) -> WeightSet:
    """Newest weights of a book whose effective date is not after ``on`` (the newest of all when None).

    Raises
    ------
    NothingInForceError
        There are none.
    """
    if book not in books_in_store(store):
        raise NothingInForceError(
            f"book {book!r} has no weights in {store.path}. Run `weights run --book {book}` first."
        )
    schema = quoted(book)
    with store.reading() as connection:
        newest = connection.execute(
            f"SELECT max(as_of) FROM {schema}.final_weights WHERE effective_from <= coalesce(?, 'infinity'::DATE)",  # noqa: S608
            [on],
        ).fetchall()[0][0]
        if newest is None:
            first = connection.execute(f"SELECT min(effective_from) FROM {schema}.final_weights").fetchall()[0][0]  # noqa: S608
            raise NothingInForceError(f"book {book!r} has no weights in force on {on}; the first are from {first} on")
        rows: list[tuple[Any, ...]] = connection.execute(
            f"""
            SELECT strategy, r.base, t.target, f.realized, f.final, t.metric_value, t.note,
                   t.metric, f.as_of, f.effective_from, f.next_rebalance, r.rate,
                   f.scalar, f.scalar_session, f.regime, f.applied
            FROM {schema}.final_weights f
            JOIN {schema}.realized_weights r USING (as_of, strategy)
            JOIN {schema}.target_weights t USING (as_of, strategy)
            WHERE as_of = ? ORDER BY strategy
            """,  # noqa: S608
            [newest],
        ).fetchall()
    return WeightSet(book, tuple(WeightRow(*row[:7]) for row in rows), *rows[0][7:])
