"""The embedded store: one DuckDB file, shared by many processes, one schema per book.

Scope: what is particular to DuckDB: connections and their lock, transactions, table creation, the manifest of written
partitions. Not here: what every store does (``base``). It imports neither Dagster nor, until a frame is asked for,
pandas, so that read-only commands start fast.

A DuckDB file is open either in one writing process or in any number of reading ones. Every connection here is
therefore short, reads are read-only, and whoever meets a lock waits with jitter up to ``lock_timeout`` seconds.

A file is attached to a database in memory that a process keeps, and detached again: making a database takes DuckDB
twenty milliseconds, attaching a file to one takes one. Detaching lets the lock go.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb

from weights_pipeline.tables.definition import PARTITION_COLUMN, Column, Table, Type
from weights_pipeline.tables.errors import DamagedError, StoreError
from weights_pipeline.tables.errors import StoreLockedError as StoreLockedError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from weights_pipeline.tables.contract import PartitionRecord, Prepared, Window

MANIFEST = "store.partitions"
MANIFEST_DDL = f"""
CREATE SCHEMA IF NOT EXISTS store;
CREATE TABLE IF NOT EXISTS {MANIFEST} (
    table_schema VARCHAR NOT NULL, table_name VARCHAR NOT NULL, partition_key VARCHAR NOT NULL,
    row_count BIGINT NOT NULL, content_hash VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL, recorded_at TIMESTAMP NOT NULL
)"""
_ARCHIVE = "store"
"""Schema of the tables ``"SCHEMA.TABLE"`` of rows that others have taken the place of."""

NOTHING_YET = "store {} does not exist: nothing has been materialised yet. Run `weights run` first."

# DuckDB has one class of error for many causes. Each block of its file, the headers too, has a checksum.
_SHORT = "Could not read enough bytes"
"""What is said of a file that ends before a block that it names."""
_LOOKS = 3
"""How often such a file is looked at again before it counts as damaged."""
_DAMAGED = ("Corrupt ", "not a valid DuckDB database file", _SHORT, "while replaying WAL")
_NO_SPACE = ("No space left on device", "File too large", "Disk quota exceeded", "Could not write ")

# The system forgets a process's lock on a file as soon as the process closes it once, however often it is open: no file
# is opened twice at a time.
_PROCESS_LOCK = threading.RLock()
_OPEN: set[Path] = set()
"""Files that the thread which holds the lock has open."""

_FILE = "weights_file"
"""What an attached file is called, whatever its own name is: one called ``store.duckdb`` would hide its manifest."""
_ENDINGS = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""Of the files that DuckDB reads to open one: itself, and what a writer that died has left beside it."""
_DATABASES_KEPT = 8
_MEMORY, _MEMORY_EACH = 512, 64
"""Megabytes that a file may take in memory, in all and for each processor: rows of a block are put together on each.

What needs more lies beside the file meanwhile."""


class _Reading(threading.local):
    """Reading connections that a thread holds open, and what was seen over them, by path: each sees one state."""

    def __init__(self) -> None:
        self.connections: dict[Path, duckdb.DuckDBPyConnection] = {}
        self.tables: dict[Path, list[tuple[str, str]]] = {}
        self.records: dict[Path, dict[str, _Records]] = {}


_READING = _Reading()


_Records: TypeAlias = "dict[str, dict[str, PartitionRecord]]"
"""What was written under each partition key, by table."""

Columns = Mapping[str, tuple[str, bool]]
"""Type and nullability of each stored column, in storage order."""


def quoted(identifier: str) -> str:
    """Quote an SQL identifier; names come from validated books, this makes them harmless whatever they are."""
    return '"' + identifier.replace('"', '""') + '"'


@lru_cache(maxsize=_DATABASES_KEPT)
def _database(path: str, process: int, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """The database in memory of a process that a file is attached to; what it spills lies beside the file.

    One for reading answers questions about the file and nothing else, whoever wrote the question.
    """
    config: dict[str, str | bool | int | float | list[str]] = {"python_enable_replacements": "false"}
    config["temp_directory"] = f"{path}.tmp"
    # By itself DuckDB keeps what it reads, and what it is yet to write, while the machine has memory.
    config["memory_limit"] = f"{max(_MEMORY, _MEMORY_EACH * (os.cpu_count() or 1))}MB"
    made = duckdb.connect(config=config)
    if read_only:
        made.execute("SET allowed_paths = ?", [[path + ending for ending in _ENDINGS]]).fetchall()
        made.execute("SET enable_external_access = false").fetchall()
        made.execute("SET lock_configuration = true").fetchall()
    return made


def _drop(database: duckdb.DuckDBPyConnection) -> None:
    """Close a database that has failed: whatever is left in it goes with it, a lock too."""
    _database.cache_clear()
    database.close()


@dataclass(frozen=True)
class DuckDBStore:
    """A DuckDB file of partitioned tables; see :class:`~weights_pipeline.store.base.Store` for what it does.

    Parameters
    ----------
    path
        The database file; created, with its folder, by the first write.
    lock_timeout
        Seconds to wait for other processes before giving up with
        :class:`~weights_pipeline.tables.errors.StoreLockedError`.
    """

    path: Path
    lock_timeout: float = 120.0
    _pauses: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    @property
    def location(self) -> str:
        """Path of the file."""
        return str(self.path)

    def queue(self, schema: str) -> str:
        """One for the whole file."""
        return "duckdb"

    @contextmanager
    def reading(self, tables: Collection[tuple[str, str]] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-only connection to the file, whichever tables are asked for; inside a view, that of the view."""
        if not self.path.exists():
            raise FileNotFoundError(NOTHING_YET.format(self.path))
        held = _READING.connections
        if self.path in held:
            yield held[self.path]
            return
        with self._opened(partial(self._attached, read_only=True)) as connection:
            held[self.path] = connection
            try:
                yield connection
            finally:
                del held[self.path]
                _READING.tables.pop(self.path, None)
                _READING.records.pop(self.path, None)

    @contextmanager
    def view(self) -> Iterator[None]:
        """Let all reads inside share one connection: they see one state of the whole file."""
        if not self.path.exists():
            yield
            return
        with self.reading():
            yield

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection inside one transaction: committed on success, rolled back on any error."""
        if not self.path.exists():
            self._create()
        with self._opened(partial(self._attached, read_only=False)) as connection:
            # In a process that another has spawned DuckDB takes itself for a terminal, and draws a bar on what it says.
            connection.execute("SET enable_progress_bar = false").fetchall()
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
        """Replace partitions in one transaction.

        The frame is validated, sorted and hashed before the file is opened, so the lock is held for the database's
        own work only.
        """
        from weights_pipeline.tables.contract import Prepared

        prepared = Prepared.of(schema, table, frame, windows, run_id=run_id, recorded_at=recorded_at)
        self.commit([prepared])
        return list(prepared.records)

    def commit(self, prepared: Sequence[Prepared]) -> None:
        """Replace partitions of several tables in one transaction."""
        with self.writing() as connection:
            found = {schema: _schema_columns(connection, schema) for schema in {each.schema for each in prepared}}
            for each in prepared:
                stored = found[each.schema].get(each.table.name, {})
                _replace(connection, each.schema, each.table, each.rows, each.records, stored)

    def archive(self, schema: str, table: Table, keys: Collection[str]) -> None:
        """Move rows to the archive beside the manifest, in one transaction."""
        with self.writing() as connection:
            _ensure_table(connection, schema, table, _columns(connection, schema, table.name))
            _archive(connection, schema, table, dict.fromkeys(keys, ""))
            _delete(connection, schema, table, keys)

    def update(
        self,
        schema: str,
        table: Table,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> PartitionRecord:
        """Read and write back in one transaction."""
        from weights_pipeline.tables.contract import no_rows, partition_records, prepare

        with self.writing() as connection:
            # Inside a transaction a query may not fail.
            found = _columns(connection, schema, table.name)
            rows = _rows(connection, schema, table, stored=found) if found else no_rows(table)
            stored = prepare(change(rows), table, ())
            records = partition_records(stored, table, [""], run_id, recorded_at)
            _replace(connection, schema, table, stored, records, found)
        return records[0]

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of the given partitions, in one query."""
        from weights_pipeline.tables.contract import arrow_schema, no_rows, selection

        selection(table, columns)
        if table.earlier is not None:
            every = arrow_schema(table).names
            rows = table.earlier(self.read(schema, replace(table, earlier=None), keys, columns=every, among=among))
            return rows[table.column_names() if columns is None else list(columns)]
        if not self.path.exists():
            return no_rows(table, columns)
        with self.reading() as connection:
            # Asking the catalogue first would cost more than the rows.
            try:
                return _rows(connection, schema, table, keys, columns, among=among)
            except duckdb.CatalogException:
                return no_rows(table, columns)
            except duckdb.BinderException:
                found = _columns(connection, schema, table.name)
                return _rows(connection, schema, table, keys, columns, found, among=among)

    def read_known(self, schema: str, table: Table, contents: Mapping[str, str]) -> pd.DataFrame:
        """Rows from the table itself where they are still in it, otherwise from the archive beside it."""
        from weights_pipeline.tables.contract import is_content, no_rows, partition_slices, to_frame

        if not contents or not self.path.exists():
            return no_rows(table)
        with self.reading() as connection:
            stored = _known(connection, schema, table, contents)
        for key, part in partition_slices(stored, table, list(contents)).items():
            if not is_content(part, contents[key]):
                raise DamagedError(
                    f"{self.path}: {schema}.{table.name} {key}: rows of the content {contents[key]} are not in the "
                    f"store any more, or not as they were written; they were not used. Restore a backup of the file."
                )
        ordered = stored.sort_by([(name, "ascending") for name in table.key])
        return to_frame(ordered.select(table.column_names()))

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """Return the manifest of one table."""
        if not self.path.exists():
            return {}
        with self.reading() as connection:
            seen = _READING.records.setdefault(self.path, {})
            if schema not in seen:
                # Who asks for one table asks for the others of its schema next, and a query costs more than its rows.
                seen[schema] = _records(connection, schema)
            return {**seen[schema].get(table_name, {})}

    def tables(self) -> list[tuple[str, str]]:
        """Every table of the file but the manifest."""
        with self.reading() as connection:
            if self.path not in _READING.tables:
                # A reading connection sees one state. DuckDB makes its whole catalog for this, which takes a while.
                _READING.tables[self.path] = connection.execute(
                    "SELECT schema_name, table_name FROM duckdb_tables() "
                    "WHERE database_name = current_database() AND schema_name <> 'store' ORDER BY ALL"
                ).fetchall()
            return [*_READING.tables[self.path]]

    def _create(self) -> None:
        """Create an empty file as a whole: DuckDB opens none whose writer died before its headers were there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=self.path.name, dir=self.path.parent) as folder:
            made = Path(folder) / self.path.name
            duckdb.connect(str(made)).close()
            # Unlike renaming, a link never takes the place of what another process has created meanwhile.
            with suppress(FileExistsError):
                self.path.hardlink_to(made)

    @contextmanager
    def _opened(
        self, connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        deadline = time.monotonic() + self.lock_timeout
        if not _PROCESS_LOCK.acquire(timeout=self.lock_timeout):
            raise StoreLockedError(f"{self.path}: another thread held the store for {self.lock_timeout:g} s")
        file = self.path.absolute()
        try:
            if file in _OPEN:
                raise RuntimeError(f"{file} is open already: read before or after it is written, not meanwhile")
            _OPEN.add(file)
            try:
                with ExitStack() as stack:
                    yield self._unlocked(deadline, lambda: stack.enter_context(connected()))
            finally:
                _OPEN.discard(file)
        except duckdb.Error as error:
            if (in_words := _in_words(self.path, error)) is None:
                raise
            raise in_words from error
        finally:
            _PROCESS_LOCK.release()

    @contextmanager
    def _attached(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file in the database that is kept for it; one that has failed is not kept."""
        path = str(self.path.absolute())
        database = _database(path, os.getpid(), read_only=read_only)
        way = "READ_ONLY" if read_only else "READ_WRITE"
        try:
            # A path may be written as an identifier.
            database.execute(f"ATTACH {quoted(path)} AS {_FILE} ({way})").fetchall()
            with closing(database.cursor()) as connection:
                connection.execute(f"USE {_FILE}").fetchall()
                yield connection
        except BaseException:
            _drop(database)
            raise
        try:
            database.execute(f"DETACH {_FILE}").fetchall()
        except duckdb.IOException:
            # No room to write the journal back. It stays beside the file, and is read with it.
            _drop(database)

    def _unlocked(
        self, deadline: float, connected: Callable[[], duckdb.DuckDBPyConnection]
    ) -> duckdb.DuckDBPyConnection:
        pause, looks = 0.01, 0
        while True:
            try:
                return connected()
            except duckdb.IOException as error:
                # Seen once in thousands of openings by eight processes: a whole file looks cut short as it is opened.
                cut = _SHORT in str(error)
                looks += cut
                if "lock" not in str(error).lower() and not (cut and looks <= _LOOKS):
                    raise
                if time.monotonic() >= deadline:
                    raise StoreLockedError(
                        f"{self.path} stayed locked for {self.lock_timeout:g} s: {error}. "
                        "End the process named above or wait for it, then run again; nothing was written."
                    ) from error
                # Full jitter: waiting processes must not wake in step with each other.
                time.sleep(self._pauses.uniform(0, pause))
                pause = min(pause * 1.5, 0.25)


def _in_words(path: Path, error: duckdb.Error) -> StoreError | None:
    """What a person can do about a file that cannot be read or written; None where the cause is another."""
    said = " ".join(str(error).split())
    if any(sign in said for sign in _NO_SPACE):
        return StoreError(
            f"{path} cannot be written: {said}. Nothing was written; what was stored before is unchanged. Free space "
            f"on the disk, or raise the limit, then run again."
        )
    if any(sign in said for sign in _DAMAGED):
        return DamagedError(
            f"{path} is damaged: {said}. It was not used. Restore a backup of the file, or move it away and "
            f"materialise everything again."
        )
    return None


def _records(connection: duckdb.DuckDBPyConnection, schema: str) -> _Records:
    """The manifest of every table of a schema."""
    from weights_pipeline.tables.contract import PartitionRecord

    try:
        rows = connection.execute(
            "SELECT table_name, partition_key, row_count, content_hash, run_id, recorded_at "  # noqa: S608
            f"FROM {MANIFEST} WHERE table_schema = ? ORDER BY partition_key",
            [schema],
        ).fetchall()
    except duckdb.CatalogException:
        return {}
    found: _Records = {}
    for table, key, *row in rows:
        found.setdefault(table, {})[key] = PartitionRecord(key, *row)
    return found


def _columns(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> Columns:
    """Columns of a stored table; none where there is no such table."""
    return _schema_columns(connection, schema).get(table, {})


def _schema_columns(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """Columns of every stored table of a schema. DuckDB makes its whole catalog for this, which takes a while."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = ?",
        [schema],
    ).fetchall()
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, name, kind, nullable in rows:
        found.setdefault(table, {})[name] = kind, nullable
    return found


def _rows(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: Table,
    keys: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    stored: Collection[str] | None = None,
    *,
    among: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Rows as :meth:`DuckDBStore.read` gives them; ``stored`` are the columns there are, all of them when None."""
    from weights_pipeline.tables.contract import to_frame

    names = list(columns) if columns is not None else table.column_names()
    # A nullable column added to the definition since the file was written reads as null.
    known = names if stored is None else stored
    kinds = {c.name: c.type.value for c in table.columns}
    selected = ", ".join(quoted(n) if n in known else f"NULL::{kinds[n]} AS {quoted(n)}" for n in names)
    query = f"SELECT {selected} FROM {quoted(schema)}.{quoted(table.name)}"  # noqa: S608 - quoted identifiers
    wanted = ({} if keys is None else {PARTITION_COLUMN: keys}) | dict(among or {})
    if wanted:
        query += " WHERE " + " AND ".join(f"{quoted(name)} IN (SELECT unnest(?))" for name in wanted)
    parameters = [list(texts) for texts in wanted.values()]
    query += " ORDER BY " + ", ".join(map(quoted, table.key))
    return to_frame(connection.sql(query, params=parameters).to_arrow_table())


def _replace(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: Table,
    stored: pa.Table,
    records: Sequence[PartitionRecord],
    found: Columns,
) -> None:
    """Put rows in the place of those of the same partitions, and their records in the manifest.

    ``found`` are the columns of the table as it is stored, none where there is no such table yet.
    """
    connection.execute(MANIFEST_DDL).fetchall()
    _ensure_table(connection, schema, table, found)
    keys = [r.key for r in records]
    if table.kept:
        _archive(connection, schema, table, {r.key: r.content_hash for r in records})
    _delete(connection, schema, table, keys)
    _insert(connection, f"{quoted(schema)}.{quoted(table.name)}", stored)
    connection.execute(
        f"INSERT INTO {MANIFEST} SELECT ?, ?, unnest(?), unnest(?), unnest(?), ?, ?",
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


def _delete(connection: duckdb.DuckDBPyConnection, schema: str, table: Table, keys: Collection[str]) -> None:
    """Remove partitions, or all rows of a table without any, and their records in the manifest."""
    name = f"{quoted(schema)}.{quoted(table.name)}"
    if table.time_column is None:
        connection.execute(f"DELETE FROM {name}").fetchall()  # noqa: S608 - quoted identifiers
    else:
        connection.execute(
            f"DELETE FROM {name} WHERE {PARTITION_COLUMN} IN (SELECT unnest(?))",  # noqa: S608
            [list(keys)],
        ).fetchall()
    connection.execute(
        f"DELETE FROM {MANIFEST} WHERE table_schema = ? AND table_name = ? "  # noqa: S608
        "AND partition_key IN (SELECT unnest(?))",
        [schema, table.name, list(keys)],
    ).fetchall()


def _archive(connection: duckdb.DuckDBPyConnection, schema: str, table: Table, coming: Mapping[str, str]) -> None:
    """Keep rows whose place other content is about to take, each content once, in a table beside the manifest."""
    held = _content_hashes(connection, schema, table, coming)
    leaving = {key: content for key, content in held.items() if content != coming[key]}
    if not leaving:
        return
    content = Column("content_hash", Type.TEXT, "Hash of the content that the row is of.")
    archive = replace(table, name=f"{schema}.{table.name}", columns=(content, *table.columns))
    _ensure_table(connection, _ARCHIVE, archive, _columns(connection, _ARCHIVE, archive.name))
    kept, own = f"{_ARCHIVE}.{quoted(archive.name)}", ", ".join(map(quoted, defined_columns(table)))
    same = f"{PARTITION_COLUMN} = key" if table.time_column is not None else "true"
    connection.execute(
        f"INSERT INTO {kept} BY NAME SELECT content_hash, {own} FROM {quoted(schema)}.{quoted(table.name)} "  # noqa: S608
        f"JOIN (SELECT unnest(?) AS key, unnest(?) AS content_hash) ON {same} "
        f"WHERE content_hash NOT IN (SELECT content_hash FROM {kept})",
        [list(leaving), list(leaving.values())],
    ).fetchall()


def _known(connection: duckdb.DuckDBPyConnection, schema: str, table: Table, contents: Mapping[str, str]) -> pa.Table:
    """Rows of contents in stored form, as far as they are to be found."""
    import pyarrow as pa

    from weights_pipeline.tables.contract import arrow_schema

    held = _content_hashes(connection, schema, table, contents)
    current = [key for key, content in contents.items() if held.get(key) == content]
    past = [content for key, content in contents.items() if held.get(key) != content]
    is_current = f"{PARTITION_COLUMN} IN (SELECT unnest(?))" if table.time_column is not None else "len(?) > 0"
    places = [
        (schema, table.name, is_current, current),
        (_ARCHIVE, f"{schema}.{table.name}", "content_hash IN (SELECT unnest(?))", past),
    ]
    wanted = arrow_schema(table)
    found = [wanted.empty_table()]
    for space, name, condition, values in places:
        if not values or not (there := _columns(connection, space, name)):
            continue
        columns = ", ".join(
            quoted(n) if n in there else f"NULL::{kind} AS {quoted(n)}"
            for n, (kind, _) in defined_columns(table).items()
        )
        query = f"SELECT {columns} FROM {quoted(space)}.{quoted(name)} WHERE {condition}"  # noqa: S608
        found.append(connection.sql(query, params=[values]).to_arrow_table().cast(wanted))
    order = ([PARTITION_COLUMN] if table.time_column is not None else []) + list(table.key)
    return pa.concat_tables(found).sort_by([(name, "ascending") for name in order])


def _content_hashes(
    connection: duckdb.DuckDBPyConnection, schema: str, table: Table, keys: Collection[str]
) -> dict[str, str]:
    """Content hash of partitions, as the manifest has it."""
    rows = connection.execute(
        f"SELECT partition_key, content_hash FROM {MANIFEST} "  # noqa: S608
        "WHERE table_schema = ? AND table_name = ? AND partition_key IN (SELECT unnest(?))",
        [schema, table.name, list(keys)],
    ).fetchall()
    return dict(rows)


def _ensure_table(connection: duckdb.DuckDBPyConnection, schema: str, table: Table, found: Columns) -> None:
    """Create the table, add the nullable columns it lacks, let columns be null; the rest is for a person to migrate."""
    if not found:
        create_table(connection, schema, table.name, defined_columns(table))
        return
    from weights_pipeline.tables.contract import migrated_columns

    for column in migrated_columns(f"{schema}.{table.name}", table, found):
        name = quoted(column.name)
        change = f"ALTER {name} DROP NOT NULL" if column.name in found else f"ADD COLUMN {name} {column.type.value}"
        connection.execute(f"ALTER TABLE {quoted(schema)}.{quoted(table.name)} {change}").fetchall()


def defined_columns(table: Table) -> Columns:
    """Columns of a table as its definition has them, the partition column first where it has partitions."""
    partition = {} if table.time_column is None else {PARTITION_COLUMN: (Type.TEXT.value, False)}
    return partition | {c.name: (c.type.value, c.nullable) for c in table.columns}


def create_table(connection: duckdb.DuckDBPyConnection, schema: str, name: str, columns: Columns) -> None:
    """Create an empty table, and its schema where that is missing."""
    lines = [f"{quoted(n)} {kind}{'' if nullable else ' NOT NULL'}" for n, (kind, nullable) in columns.items()]
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}").fetchall()
    connection.execute(f"CREATE TABLE {quoted(schema)}.{quoted(name)} ({', '.join(lines)})").fetchall()


def _insert(connection: duckdb.DuckDBPyConnection, name: str, stored: pa.Table) -> None:
    columns = ", ".join(map(quoted, stored.column_names))
    connection.register("incoming", stored)
    try:
        connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM incoming").fetchall()  # noqa: S608
    finally:
        connection.unregister("incoming")
