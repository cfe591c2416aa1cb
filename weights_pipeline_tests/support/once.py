"""What Dagster and boto3 do anew for each thing that they make is done once, and no disk is waited for.

It is a tenth of the processor time of the tests of runs, and half of the wall time of those that write many files.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from botocore.loaders import JSONFileLoader
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage


@pytest.fixture(scope="session", autouse=True)
def once() -> Iterator[None]:
    """Migrations, of which a new database runs none, and descriptions of AWS are read, and connections opened, once."""
    migrations, described = dict[object, ScriptDirectory](), cache(JSONFileLoader().load_file)
    read, connect = ScriptDirectory.from_config, InMemoryEventLogStorage._connect

    def scripts(config: Config) -> ScriptDirectory:
        key = config.config_file_name, config.get_main_option("script_location")
        if key not in migrations:
            migrations[key] = read(config)
        return migrations[key]

    @contextmanager
    def connected(self: InMemoryEventLogStorage) -> Iterator[sqlalchemy.Connection]:
        """The connection that it holds for all its life; other threads open one each time, as all do elsewhere."""
        if threading.current_thread() is not threading.main_thread():
            with connect(self) as connection:
                yield connection
            return
        with self._db_lock, self._held_conn.begin():
            self._held_conn.exec_driver_sql("PRAGMA foreign_keys=ON")
            yield self._held_conn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", scripts)
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: described(path))
        patch.setattr(InMemoryEventLogStorage, "_connect", connected)
        # What a power cut leaves is seen by no test; that a disk which is full at this call is told of, by tests of it.
        patch.setattr(os, "fsync", lambda _: None)
        yield
