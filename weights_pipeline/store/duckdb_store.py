"""The embedded store: one DuckDB file, shared by many processes, one schema per book.

Here belongs what is particular to DuckDB: connections and their lock, transactions, table creation, the manifest of
written partitions. It does not import Dagster (nor, until a frame is asked for, pandas), so that read-only commands
start fast.

A DuckDB file is open either in one writing process or in any number of reading ones. Every connection here is
therefore short, reads are read-only, and whoever meets a lock waits with jitter up to ``lock_timeout`` seconds.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from weights_pipeline.store.tables import PARTITION_COLUMN, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from weights_pipeline.store.contract import PartitionRecord, Window

_MANIFEST = "store.partitions"
_MANIFEST_DDL = f"""
CREATE SCHEMA IF NOT EXISTS store;
CREATE TABLE IF NOT EXISTS {_MANIFEST} (
    table_schema VARCHAR NOT NULL, table_name VARCHAR NOT NULL, partition_key VARCHAR NOT NULL,
    row_count BIGINT NOT NULL, content_hash VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL, recorded_at TIMESTAMP NOT NULL
)"""

# Within one process DuckDB refuses a read-only and a writing connection to the same file at the same time.
_PROCESS_LOCK = threading.RLock()


class _Reading(threading.local):
    """Reading connections that a thread holds open, by path."""

    def __init__(self) -> None:
        self.connections: dict[Path, duckdb.DuckDBPyConnection] = {}


_READING = _Reading()


class StoreLockedError(Exception):
    """Another process held the file for longer than the time-out."""


def quoted(identifier: str) -> str:
    """Quote an SQL identifier; names come from validated books, this makes them harmless whatever they are."""
    return '"' + identifier.replace('"', '""') + '"'


@dataclass(frozen=True)
class DuckDBStore:
    """A DuckDB file of partitioned tables.

    Parameters
    ----------
    path
        The database file; created, with its folder, by the first write.
    lock_timeout
        Seconds to wait for other processes before giving up with :class:`StoreLockedError`.
    """

    path: Path
    lock_timeout: float = 120.0
    _pauses: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-only connection, closed on leaving whatever happens.

        Raises
        ------
        FileNotFoundError
            Nothing has been materialised into this store yet.
        """
        if not self.path.exists():
            raise FileNotFoundError(
                f"store {self.path} does not exist: nothing has been materialised yet. Run `weights run` first."
            )
        held = _READING.connections
        if self.path in held:
            yield held[self.path]
            return
        with self._connected(read_only=True) as connection:
            held[self.path] = connection
            try:
                yield connection
            finally:
                del held[self.path]

    @contextmanager
    def view(self) -> Iterator[None]:
        """Let all reads inside share one connection: they see one state of the store, and opening it is paid once."""
        if not self.path.exists():
            yield
            return
        with self.reading():
            yield

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection inside one transaction: committed on success, rolled back on any error."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected(read_only=False) as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def write(
        self,
        schema: str,
        table: Table,
        frame: pd.DataFrame,
        windows: Sequence[Window] = (),
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> list[PartitionRecord]:
        """Replace partitions (or an unpartitioned table) in one transaction.

        The frame is validated, sorted and hashed before the file is opened, so the lock is held for the database's
        own work only.

        Parameters
        ----------
        schema, table, frame, windows
            Where to, by which definition, which rows, for which partitions.
        run_id, recorded_at
            Recorded in the manifest beside row count and content hash; the instant is zone-aware.

        Returns
        -------
        list of PartitionRecord

        Raises
        ------
        weights_pipeline.store.contract.ContractError
            The frame does not meet the definition. Nothing was written.
        weights_pipeline.store.contract.SchemaMigrationError
            The stored table cannot be brought to the definition by adding nullable columns.
        """
        from weights_pipeline.store.contract import prepare

        stored = prepare(frame, table, windows)
        keys = [w.key for w in windows] or [""]
        records = _records(stored, table, keys, run_id, recorded_at)
        with self.writing() as connection:
            _replace(connection, schema, table, stored, records)
        return records

    def update(
        self,
        schema: str,
        table: Table,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> PartitionRecord:
        """Change an unpartitioned table; rows are read and written back in one transaction.

        Nobody else writes between the two, so that of two updates at once neither loses what the other has changed.

        Parameters
        ----------
        schema, table
            Which table; it is created where it is missing.
        change
            From the rows stored (none where it is missing) to the rows to store instead, as :meth:`write` takes them.
        run_id, recorded_at
            See :meth:`write`.

        Returns
        -------
        PartitionRecord

        Raises
        ------
        weights_pipeline.store.contract.ContractError, weights_pipeline.store.contract.SchemaMigrationError
            See :meth:`write`. Nothing was written.
        """
        from weights_pipeline.store.contract import prepare

        with self.writing() as connection:
            # Inside a transaction a query may not fail.
            found = _columns(connection, schema, table.name)
            rows = _rows(connection, schema, table, stored=found) if found else _no_rows(table, None)
            stored = prepare(change(rows), table, ())
            records = _records(stored, table, [""], run_id, recorded_at)
            _replace(connection, schema, table, stored, records)
        return records[0]

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rows of the given partitions (all of them when None), ordered by key.

        A table or partition that does not exist yields no rows: whether that is an error is the caller's question,
        answered from :meth:`partitions`.
        """
        if not self.path.exists():
            return _no_rows(table, columns)
        with self.reading() as connection:
            # Asking the catalogue first would cost more than the rows.
            try:
                return _rows(connection, schema, table, keys, columns)
            except duckdb.CatalogException:
                return _no_rows(table, columns)
            except duckdb.BinderException:
                found = _columns(connection, schema, table.name)
                return _rows(connection, schema, table, keys, columns, found)

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """Return the manifest of one table: what was written under each partition key, by which run, and when."""
        from weights_pipeline.store.contract import PartitionRecord

        if not self.path.exists():
            return {}
        with self.reading() as connection:
            try:
                rows = connection.execute(
                    "SELECT partition_key, row_count, content_hash, run_id, recorded_at "  # noqa: S608
                    f"FROM {_MANIFEST} WHERE table_schema = ? AND table_name = ? ORDER BY partition_key",
                    [schema, table_name],
                ).fetchall()
            except duckdb.CatalogException:
                return {}
        return {row[0]: PartitionRecord(*row) for row in rows}

    @contextmanager
    def _connected(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        deadline = time.monotonic() + self.lock_timeout
        if not _PROCESS_LOCK.acquire(timeout=self.lock_timeout):
            raise StoreLockedError(f"{self.path}: another thread held the store for {self.lock_timeout:g} s")
        try:
            connection = self._connect(deadline, read_only=read_only)
            try:
                yield connection
            finally:
                connection.close()
        finally:
            _PROCESS_LOCK.release()

    def _connect(self, deadline: float, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        pause = 0.01
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise
                if time.monotonic() >= deadline:
                    raise StoreLockedError(
                        f"{self.path} stayed locked for {self.lock_timeout:g} s: {error}. "
                        "End the process named above or wait for it, then run again; nothing was written."
                    ) from error
                # Full jitter: waiting processes must not wake in step with each other.
                time.sleep(self._pauses.uniform(0, pause))
                pause = min(pause * 1.5, 0.25)


def _columns(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, tuple[str, bool]]:
    """Type and nullability of each column of a stored table; empty where there is no such table."""
    rows = connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = ? AND table_name = ?",
        [schema, table],
    ).fetchall()
    return {name: (kind, nullable) for name, kind, nullable in rows}


def _rows(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: Table,
    keys: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    stored: Collection[str] | None = None,
) -> pd.DataFrame:
    """Rows as :meth:`DuckDBStore.read` gives them; ``stored`` are the columns there are, all of them when None."""
    from weights_pipeline.store.contract import to_frame

    names = list(columns) if columns is not None else table.column_names()
    # A nullable column added to the definition since the file was written reads as null.
    known = names if stored is None else stored
    selected = ", ".join(quoted(n) if n in known else f"NULL AS {quoted(n)}" for n in names)
    query = f"SELECT {selected} FROM {quoted(schema)}.{quoted(table.name)}"  # noqa: S608 - quoted identifiers
    parameters: list[Any] = []
    if keys is not None:
        query += f" WHERE {PARTITION_COLUMN} IN (SELECT unnest(?))"
        parameters.append(list(keys))
    query += " ORDER BY " + ", ".join(map(quoted, table.key))
    return to_frame(connection.sql(query, params=parameters).to_arrow_table())


def _no_rows(table: Table, columns: Sequence[str] | None) -> pd.DataFrame:
    from weights_pipeline.store.contract import arrow_schema, to_frame

    names = list(columns) if columns is not None else table.column_names()
    return to_frame(arrow_schema(table).empty_table().select(names))


def _records(
    stored: pa.Table, table: Table, keys: Sequence[str], run_id: str, recorded_at: dt.datetime
) -> list[PartitionRecord]:
    """What the manifest says of rows in stored form."""
    from weights_pipeline.store.contract import PartitionRecord, content_hashes

    written_at = recorded_at.astimezone(dt.UTC).replace(tzinfo=None)
    return [
        PartitionRecord(key, rows, content, run_id, written_at)
        for key, (rows, content) in content_hashes(stored, table, keys).items()
    ]


def _replace(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: Table,
    stored: pa.Table,
    records: Sequence[PartitionRecord],
) -> None:
    """Put rows in the place of those of the same partitions, and their records in the manifest."""
    connection.execute(_MANIFEST_DDL).fetchall()
    _ensure_table(connection, schema, table)
    keys = [r.key for r in records]
    name = f"{quoted(schema)}.{quoted(table.name)}"
    if table.time_column is None:
        connection.execute(f"DELETE FROM {name}").fetchall()  # noqa: S608 - quoted identifiers
    else:
        connection.execute(
            f"DELETE FROM {name} WHERE {PARTITION_COLUMN} IN (SELECT unnest(?))",  # noqa: S608
            [keys],
        ).fetchall()
    _insert(connection, name, stored)
    connection.execute(
        f"DELETE FROM {_MANIFEST} WHERE table_schema = ? AND table_name = ? "  # noqa: S608
        "AND partition_key IN (SELECT unnest(?))",
        [schema, table.name, keys],
    ).fetchall()
    connection.execute(
        f"INSERT INTO {_MANIFEST} SELECT ?, ?, unnest(?), unnest(?), unnest(?), ?, ?",
        [
            schema,
            table.name,
            keys,
            [r.rows for r in records],
            [r.content_hash for r in records],
            records[0].run_id,
            records[0].recorded_at,
        ],
    ).fetchall()


def _ensure_table(connection: duckdb.DuckDBPyConnection, schema: str, table: Table) -> None:
    """Create the table, or add the nullable columns it lacks; anything else is for a person to migrate."""
    name = f"{quoted(schema)}.{quoted(table.name)}"
    wanted = set(table.column_names())
    found = _columns(connection, schema, table.name)
    if not found:
        lines = [f"{quoted(c.name)} {c.type.value}{'' if c.nullable else ' NOT NULL'}" for c in table.columns]
        if table.time_column is not None:
            lines.insert(0, f"{PARTITION_COLUMN} VARCHAR NOT NULL")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}").fetchall()
        connection.execute(f"CREATE TABLE {name} ({', '.join(lines)})").fetchall()
        return
    found.pop(PARTITION_COLUMN, None)
    problems = [
        f"column {c.name!r} is {found[c.name][0]}, the definition says {c.type.value}"
        for c in table.columns
        if c.name in found and found[c.name][0] != c.type.value
    ]
    problems += [
        f"column {n!r} is NOT NULL in the file and unknown to the definition"
        for n, (_, nullable) in found.items()
        if n not in wanted and not nullable
    ]
    added = [c for c in table.columns if c.name not in found]
    problems += [f"column {c.name!r} is missing and not nullable" for c in added if not c.nullable]
    if problems:
        from weights_pipeline.store.contract import SchemaMigrationError

        raise SchemaMigrationError(
            f"{schema}.{table.name} needs a migration: {'; '.join(problems)}. "
            f"Alter the table, or drop it and materialise its partitions again; nothing was written."
        )
    for column in added:
        connection.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column.name)} {column.type.value}").fetchall()


def _insert(connection: duckdb.DuckDBPyConnection, name: str, stored: pa.Table) -> None:
    columns = ", ".join(map(quoted, stored.column_names))
    connection.register("incoming", stored)
    try:
        connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM incoming").fetchall()  # noqa: S608
    finally:
        connection.unregister("incoming")
