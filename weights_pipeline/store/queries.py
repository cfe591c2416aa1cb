"""Read-only questions to the store, answered in SQL without Dagster, so that they answer at once.

Scope: queries for people and consumers, and the one way in which a person asks a query of their own. Not here: tables
for computing on, which are read through the store itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb

from weights_pipeline.core.realized.speed import common_rate
from weights_pipeline.store.base import Store
from weights_pipeline.store.duckdb_store import quoted
from weights_pipeline.tables.definition import PARTITION_COLUMN
from weights_pipeline.tables.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

_PARTITIONS = ("store", "partitions")
_FINDINGS, _RETURNS = "ledger_findings", "strategy_returns"
_WEIGHT_TABLES = ("target_weights", "realized_weights", "final_weights", "daily_weights")


class NothingInForceError(LookupError):
    """No weights are in force: the book was never materialised, or not for so early a date."""


@dataclass(frozen=True)
class WeightRow:
    """One strategy of a weight set, from base weight to the weight to trade; the scalar is that of its sleeve.

    ``previous`` is the weight to trade that was in force before, null where the strategy had none.
    """

    strategy: str
    base: float
    target: float
    realized: float
    final: float
    metric_value: float | None
    note: str
    scalar: float | None
    previous: float | None = None


@dataclass(frozen=True)
class UnknownPosition:
    """A position that is not known, since when, and the row that is missing."""

    strategy: str
    symbol: str
    since: dt.date
    source_file: str
    line: int


@dataclass(frozen=True)
class WeightSet:
    """The weights of one book in force on a date.

    ``as_of`` is the last session of the rebalance they are of, ``effective_from`` the session since which they are in
    force: of a book that is scaled every day, that of its newest scaling. Until then those of ``previous_from`` were,
    and none where that is null. ``unknown`` are positions of its strategies that its ledger does not know to this day;
    ``reconciled`` is the newest date on which the ledger agrees with the broker's statement, where there is any;
    ``newest`` is the newest session on which one of them earned or lost anything, and null for a past day.
    ``rate`` is the share of the gap that the rebalance closed, null where a no-trade band gave each strategy its own.
    ``volatility_scalar`` is what a volatility target scales the whole book by, null without one.
    """

    book: str
    rows: tuple[WeightRow, ...]
    metric: str
    weight_set: str
    as_of: dt.date
    effective_from: dt.date
    next_rebalance: str
    rate: float | None
    scalar_session: dt.date | None
    regime: str
    applied: bool
    volatility_scalar: float | None
    previous_from: dt.date | None = None
    unknown: tuple[UnknownPosition, ...] = ()
    reconciled: dt.date | None = None
    newest: dt.date | None = None


def books_in_store(store: Store, table_name: str = "final_weights") -> list[str]:
    """Books that have final weights, or another table, by name."""
    return [schema for schema, name in store.tables() if name == table_name]


def weights_in_force(store: Store, book: str | None = None, on: dt.date | None = None) -> list[WeightSet]:
    """Newest weights whose effective date is not after ``on``, of one book or of all that have any.

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
    with store.view():
        there = store.tables()
        books = [schema for schema, name in there if name == "final_weights"]
        if not books or (book is not None and book not in books):
            name = book or "NAME"
            raise NothingInForceError(f"{name}: no weights in {store.location}. Run `weights run --book {name}` first.")
        books = [book] if book else books
        ledgers = [(schema, table) for schema, table in there if table == _FINDINGS]
        with store.reading([(name, table) for name in books for table in _WEIGHT_TABLES] + ledgers) as connection:
            found, missing = list[WeightSet](), list[NothingInForceError]()
            for name in books:
                try:
                    found.append(_in_force(connection, name, on, scaled_daily=(name, "daily_weights") in there))
                except NothingInForceError as error:  # others may have been by then
                    missing.append(error)
            if not found:
                raise missing[0]
            unknown = [each for schema, _ in ledgers for each in _unknown(connection, schema, on)]
            dates = {schema: date for schema, _ in ledgers if (date := _reconciled(connection, schema))}
        with store.reading(returns := [(schema, table) for schema, table in there if table == _RETURNS]) as connection:
            seen = [(dates.get(schema), _newest(connection, schema)) for schema, _ in returns]
    told = [_with_ledger(each, unknown, seen) for each in found]
    return told if on is None else [replace(each, newest=None) for each in told]


def partition_of(store: Store, schema: str, table_name: str, as_of: dt.date) -> str | None:
    """Key of the partition that holds a date of a table; None where no row has that date."""
    name = f"{quoted(schema)}.{quoted(table_name)}"
    with store.reading([(schema, table_name)]) as connection:
        rows = connection.execute(
            f"SELECT {PARTITION_COLUMN} FROM {name} WHERE as_of = ? LIMIT 1",  # noqa: S608 - quoted identifiers
            [as_of],
        ).fetchall()
    return rows[0][0] if rows else None


def sql(store: Store, query: str) -> pa.Table:
    """Answer of one query that a person has written.

    Parameters
    ----------
    store
        What to ask. Its tables are ``schema.table``, its manifest is ``store.partitions``.
    query
        One statement that asks: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN. It can neither
        change anything nor reach files, the network or the settings of the database.

    Raises
    ------
    FileNotFoundError
        The store does not exist.
    QueryError
        It is not one such statement, or the database cannot answer it.
    """
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    asks = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in asks:
        given = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise QueryError(f"expected one statement that asks, such as SELECT, got {given}")
    text = query.lower()
    with store.view():
        there = [*store.tables(), _PARTITIONS]
        # A name that the query does not spell out it cannot ask for.
        named = [(schema, name) for schema, name in there if schema in text and name in text]
        with store.reading(named) as connection:
            try:
                return connection.sql(statements[0].query).to_arrow_table()
            except duckdb.CatalogException as error:
                raise QueryError(f"{error}\n\nTables there are: {_listed(store.tables())}.") from error
            except duckdb.Error as error:
                raise QueryError(str(error)) from error


def _listed(tables: Sequence[tuple[str, str]]) -> str:
    return ", ".join(".".join(pair) for pair in [*tables, _PARTITIONS])


def _in_force(connection: duckdb.DuckDBPyConnection, book: str, on: dt.date | None, *, scaled_daily: bool) -> WeightSet:
    schema = quoted(book)
    first, newest = connection.execute(
        "SELECT min(effective_from), max(as_of) "  # noqa: S608 - quoted identifier
        f"FILTER (effective_from <= coalesce(?, 'infinity'::DATE)) FROM {schema}.final_weights",
        [on],
    ).fetchall()[0]
    if newest is None:
        raise NothingInForceError(f"{book}: no weights in force on {on}; the first are from {first} on")
    table, since = _newest_scaling(connection, book, newest, on, scaled_daily=scaled_daily)
    # A store of an earlier release has no such column until it is written to.
    columns = connection.execute(f"SELECT * FROM {schema}.{table} LIMIT 0").description  # noqa: S608 - quoted
    targeted = "f.volatility_scalar" if "volatility_scalar" in {name for name, *_ in columns} else "NULL"
    rows: list[tuple[Any, ...]] = connection.execute(
        f"""
        SELECT strategy, r.base, t.target, f.realized, f.final, t.metric_value, t.note, f.scalar,
               t.metric, t.weight_set, r.as_of, f.effective_from, w.next_rebalance, r.rate,
               f.scalar_session, f.regime, f.applied, {targeted}
        FROM {schema}.{table} f
        JOIN {schema}.final_weights w USING (strategy)
        JOIN {schema}.realized_weights r USING (strategy)
        JOIN {schema}.target_weights t USING (strategy)
        WHERE f.effective_from = ? AND w.as_of = ? AND r.as_of = ? AND t.as_of = ? ORDER BY strategy
        """,  # noqa: S608 - quoted identifiers
        [since, newest, newest, newest],
    ).fetchall()
    earlier, previous = _before(connection, book, since, scaled_daily=scaled_daily)
    told = tuple(WeightRow(*(*row[:8], previous.get(row[0]))) for row in rows)
    rate = common_rate(row[13] for row in rows)
    return WeightSet(book, told, *(*rows[0][8:13], rate, *rows[0][14:], earlier))


def _before(
    connection: duckdb.DuckDBPyConnection, book: str, since: dt.date, *, scaled_daily: bool
) -> tuple[dt.date | None, dict[str, float]]:
    """Session since which the weights that others replaced were in force, and those weights by strategy."""
    schema, columns = quoted(book), "strategy, final, effective_from"
    ever = f"SELECT {columns} FROM {schema}.final_weights"  # noqa: S608 - quoted identifier
    if scaled_daily:  # A rebalance comes before a scaling of the same session.
        ever += f" UNION ALL SELECT {columns} FROM {schema}.daily_weights ANTI JOIN {schema}.final_weights "  # noqa: S608
        ever += "USING (effective_from)"
    rows = connection.execute(
        f"FROM ({ever}) WHERE effective_from < ? QUALIFY effective_from = max(effective_from) OVER ()", [since]
    ).fetchall()
    return (rows[0][2] if rows else None), {strategy: final for strategy, final, _ in rows}


def _unknown(connection: duckdb.DuckDBPyConnection, schema: str, on: dt.date | None) -> list[UnknownPosition]:
    """Positions that a ledger does not know to this day, and did not on a day."""
    rows = connection.execute(
        "SELECT strategy, symbol, since, source_file, line "  # noqa: S608 - quoted identifiers
        f"FROM {quoted(schema)}.{_FINDINGS} WHERE code = 'position_unknown' AND until IS NULL "
        "AND since <= coalesce(?, 'infinity'::DATE) ORDER BY number",
        [on],
    ).fetchall()
    return [UnknownPosition(*row) for row in rows]


def _reconciled(connection: duckdb.DuckDBPyConnection, schema: str) -> dt.date | None:
    """Newest date on which a ledger agrees with the broker's statement."""
    found: dt.date | None = connection.execute(
        f"SELECT max(since) FROM {quoted(schema)}.{_FINDINGS} WHERE code = 'reconciled'"  # noqa: S608 - quoted
    ).fetchall()[0][0]
    return found


def _newest(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, dt.date | None]:
    """Strategies of a ledger, each with the newest session on which it earned or lost anything."""
    rows = connection.execute(
        "SELECT strategy, max(session) FILTER (daily_return <> 0) "  # noqa: S608 - quoted identifiers
        f"FROM {quoted(schema)}.{_RETURNS} GROUP BY strategy"
    ).fetchall()
    return dict(rows)


def _with_ledger(
    found: WeightSet,
    unknown: Sequence[UnknownPosition],
    ledgers: Sequence[tuple[dt.date | None, Mapping[str, dt.date | None]]],
) -> WeightSet:
    """A weight set with what is known of the ledgers that its strategies are of."""
    own = {row.strategy for row in found.rows}
    seen = [(reconciled, newest) for reconciled, newest in ledgers if own & newest.keys()]
    return replace(
        found,
        unknown=tuple(each for each in unknown if each.strategy in own),
        reconciled=min((date for date, _ in seen if date), default=None),
        newest=max((day for _, newest in seen for name, day in newest.items() if day and name in own), default=None),
    )


def _newest_scaling(
    connection: duckdb.DuckDBPyConnection, book: str, as_of: dt.date, on: dt.date | None, *, scaled_daily: bool
) -> tuple[str, dt.date]:
    """Table that holds the weights of a rebalance as last scaled, and the session since which they are in force."""
    schema = quoted(book)
    found: dt.date = connection.execute(
        f"SELECT effective_from FROM {schema}.final_weights WHERE as_of = ?",  # noqa: S608 - quoted identifier
        [as_of],
    ).fetchall()[0][0]
    if scaled_daily:
        daily = connection.execute(
            f"SELECT max(effective_from) FROM {schema}.daily_weights "  # noqa: S608 - quoted identifier
            "WHERE effective_from <= coalesce(?, 'infinity'::DATE)",
            [on],
        ).fetchall()[0][0]
        if daily is not None and daily > found:
            return "daily_weights", daily
    return "final_weights", found
