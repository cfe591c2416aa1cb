"""The event log of one machine: Dagster's own on SQLite, over connections that are kept open.

Scope: how the databases are opened. Not here: what is in them, which is Dagster's own and read by Dagster's own class
as well.

Dagster opens a database anew for every event that it stores: an engine without a single compiled statement, a
connection whose end writes back the journal, and questions to the schema. For a new database it reads the eighty files
of its migrations three times. That was most of what a run cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import dagster as dg
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import get_alembic_config
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

_MOST_OPEN = 8
"""Databases that are kept open: a run has one of its own."""


class EventLog(SqliteEventLogStorage):
    """Event log in the databases of a Dagster home; any number of processes may use them at once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, sqlalchemy.Engine] = {}
        self._tables: set[str] = set()
        self._asset_columns: set[str] = set()
        self._secondary_indexes: set[str] = set()
        super().__init__(base_dir, inst_data)

    def has_table(self, table_name: str) -> bool:
        """Whether a table exists; one that does stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def has_asset_key_col(self, column_name: str) -> bool:
        """Whether assets have a column; one that they have they keep."""
        return column_name in self._asset_columns or super().has_asset_key_col(column_name)

    def _has_asset_key_col_on_connection(self, conn: sqlalchemy.Connection, column_name: str) -> bool:
        if column_name not in self._asset_columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._asset_columns.add(column_name)
        return column_name in self._asset_columns

    def has_secondary_index(self, name: str) -> bool:
        """Whether an index has been made; one that has been stays."""
        if name not in self._secondary_indexes and super().has_secondary_index(name):
            self._secondary_indexes.add(name)
        return name in self._secondary_indexes

    def _initdb(self, engine: sqlalchemy.Engine, for_index_shard: bool = False) -> None:
        # Left to Dagster: what an older one has begun, and waiting for a process that keeps the database to itself.
        with suppress(sqlalchemy.exc.DatabaseError), engine.connect() as connection:
            migration = MigrationContext.configure(connection)
            if migration.get_current_revision():
                return
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            if not sqlalchemy.inspect(connection).get_table_names():
                SqlEventLogStorageMetadata.create_all(connection)
                migration.stamp(_migrations(), "head")
                connection.commit()
                return
        super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock:
            if shard not in self._engines:
                if len(self._engines) == _MOST_OPEN:
                    oldest = next(name for name in self._engines if name != INDEX_SHARD_NAME)
                    self._engines.pop(oldest).dispose()
                self._engines[shard] = sqlalchemy.create_engine(
                    self.conn_string_for_shard(shard),
                    # One connection for all threads, of which the lock lets one at a time have it.
                    poolclass=sqlalchemy.StaticPool,
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
            if shard not in self._initialized_dbs:
                self._initdb(self._engines[shard])
                self._initialized_dbs.add(shard)
            with self._engines[shard].begin() as connection:
                yield connection

    def wipe(self) -> None:
        """Delete everything."""
        self._close()
        super().wipe()
        for known in (self._tables, self._asset_columns, self._secondary_indexes):
            known.clear()

    def dispose(self) -> None:
        """Close the databases."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


@cache
def _migrations() -> ScriptDirectory:
    """What Dagster would bring an older database up to date with; the newest is what a new one is as new as."""
    return ScriptDirectory.from_config(get_alembic_config(sqlite_event_log.__file__))


def kept_open(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Keep the event log of an instance open, where it is one on SQLite; the same instance."""
    stock = instance.event_log_storage
    if type(stock) is SqliteEventLogStorage:
        # What an instance is made of says how it is made in other processes, and stays.
        instance._event_storage = EventLog(stock._base_dir, stock.inst_data)
        instance._event_storage.register_instance(instance)
    return instance
