"""Fixtures of desks whose histories are finished: made once, read by the tests of every process."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.support.data import LEDGER, WEEKLY_BOOKS
from weights_pipeline_tests.support.desk import DRAWN, Desk
from weights_pipeline_tests.support.kept import Kept


@pytest.fixture
def desk(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., Desk]:
    """Make a desk over a data folder, with a store of its own: empty, or a copy of another desk's."""
    made: list[Desk] = []

    def make(data: Path, like: Desk | None = None) -> Desk:
        made.append(Desk(data, tmp_path / f"home{len(made)}", instance))
        if like is not None:
            made[-1].settings.home.mkdir()
            shutil.copy(like.store.path, made[-1].store.path)
        return made[-1]

    return make


@pytest.fixture(scope="session")
def finished(small_data: Path, kept: Kept) -> Iterator[Desk]:
    """The small data, materialised in one run over its whole range; tests only read it."""
    with _finished(kept, "finished", small_data, Desk.done, draws=DRAWN) as desk:
        yield desk


@pytest.fixture(scope="session")
def finished_weekly(weekly_data: Path, kept: Kept) -> Iterator[Desk]:
    """The weekly books over the first year, whose last week ends in the next; tests only read it."""

    def fill(desk: Desk) -> None:
        desk.job(LEDGER, "2012-01-01", "2013-01-01", checks=False)
        for name in WEEKLY_BOOKS:
            weeks = desk.workspace.setup(name).periods.keys("2012-01-01", "2012-12-31")
            desk.job(name, weeks[0], weeks[-1], checks=False)

    with _finished(kept, "finished_weekly", weekly_data, fill) as desk:
        yield desk


@contextmanager
def _finished(kept: Kept, name: str, data: Path, fill: Callable[[Desk], object], draws: int = 0) -> Iterator[Desk]:
    """A desk of a name, filled by whichever process comes first; its instance is a copy of the one that filled it."""

    def make(folder: Path) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            fill(Desk(data, folder / "home", instance, draws))
            for records, memory in _records(instance, folder):
                memory.backup(records)

    folder = kept.made(name, make)
    with dg.DagsterInstance.ephemeral() as instance:
        for records, memory in _records(instance, folder):
            records.backup(memory)
        desk = Desk(data, folder / "home", instance)
        with kept.unchanged(name, desk.store.path):
            yield desk


def _records(instance: dg.DagsterInstance, folder: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Databases of runs and of events: the file, and the one in memory, which is twice as fast to record in."""
    for name, storage in (("runs", instance.run_storage), ("events", instance.event_log_storage)):
        with closing(sqlite3.connect(folder / f"{name}.db")) as file:
            yield file, storage._held_conn.connection.dbapi_connection
