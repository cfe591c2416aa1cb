"""What only the DuckDB store has: one file and its transactions."""

import datetime as dt
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from weights_pipeline.store import duckdb_store
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.queries import sql
from weights_pipeline.tables.contract import ContractError
from weights_pipeline.tables.errors import DamagedError
from weights_pipeline_tests.support.small_table import WINDOWS, frame, month, small_table

NOW = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)


def write(store, rows, windows=WINDOWS, table=None, run_id="run"):
    return store.write("book", table or small_table(), rows, windows, run_id=run_id, recorded_at=NOW)


@pytest.fixture
def store(tmp_path):
    return DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=5)


def watched(monkeypatch, before=lambda count: None):
    """Statements that open the file, as they come; ``before`` is called with how many there are."""
    opened, real = [], duckdb_store._database

    class Watched:
        def __init__(self, database):
            self._database = database

        def execute(self, statement):
            if statement.startswith("ATTACH"):
                opened.append(statement)
                before(len(opened))
            return self._database.execute(statement)

        def __getattr__(self, name):
            return getattr(self._database, name)

    def database(*arguments, **options):
        return Watched(real(*arguments, **options))

    database.cache_clear = real.cache_clear
    monkeypatch.setattr(duckdb_store, "_database", database)
    return opened


def test_reads_inside_a_view_share_one_connection_and_state(store, monkeypatch):
    with store.view():
        assert store.read("book", small_table()).empty
    write(store, frame())
    opened = watched(monkeypatch)
    with store.view():
        before = store.read("book", small_table())
        store.partitions("book", "small")
        with store.view():
            pd.testing.assert_frame_equal(store.read("book", small_table()), before)
        assert len(opened) == 1
    write(store, frame())
    assert len(opened) == 2
    with pytest.raises(ZeroDivisionError), store.view():
        1 / 0  # noqa: B018
    assert len(store.read("book", small_table())) == len(before)


def test_failed_write_leaves_everything_as_it_was(store, monkeypatch):
    write(store, frame())
    before = store.read("book", small_table()), store.partitions("book", "small")

    def breaks(*args):
        raise duckdb.Error("disk full")

    monkeypatch.setattr("weights_pipeline.store.duckdb_store._insert", breaks)
    with pytest.raises(duckdb.Error, match="disk full"):
        write(store, frame().assign(value=5.0))
    after = store.read("book", small_table()), store.partitions("book", "small")
    pd.testing.assert_frame_equal(before[0], after[0])
    assert before[1] == after[1]


def test_refused_frame_does_not_even_create_the_file(store):
    with pytest.raises(ContractError):
        write(store, frame().drop(columns="flag"))
    assert not store.path.exists()


def test_hostile_names_are_only_names(store):
    table = small_table(name='x"; DROP TABLE book.small; --')
    write(store, frame())
    store.write('s"chema; --', table, frame(), WINDOWS, run_id="r", recorded_at=NOW)
    assert len(store.read('s"chema; --', table)) == 3
    assert len(store.read("book", small_table())) == 3


def test_month_helper_covers_december():
    assert month("2020-12-01").end.month == 1


@pytest.mark.parametrize(("failures", "damaged"), [(1, False), (3, False), (4, True)])
def test_a_file_that_looks_cut_short_is_looked_at_again_before_it_counts_as_damaged(
    store, monkeypatch, failures, damaged
):
    write(store, frame())

    def cut(count):
        if count <= failures:
            raise duckdb.IOException("IO Error: Could not read enough bytes from file: attempted to read 262144 bytes")

    opened = watched(monkeypatch, cut)
    with pytest.raises(DamagedError) if damaged else nullcontext():
        assert len(store.read("book", small_table())) == len(frame())
    assert len(opened) == failures + (not damaged)


@pytest.mark.parametrize(
    "name", ["store.duckdb", "book.duckdb", "it's a file.duckdb", "main.db", "weights_file.duckdb"]
)
def test_a_file_may_have_any_name(tmp_path, name):
    store = DuckDBStore(tmp_path / name)
    write(store, frame())
    assert len(store.read("book", small_table())) == 3
    assert list(store.partitions("book", "small")) == ["2020-01-01", "2020-02-01"]
    assert sql(store, "SELECT count(*) AS n FROM book.small JOIN store.partitions USING (partition_key)").num_rows == 1
    write(store, frame())
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_database_that_has_failed_is_not_used_again(store):
    write(store, frame())

    def fail(opened):
        with opened() as connection:
            connection.execute("SELECT 1")
            1 / 0  # noqa: B018

    for opened in (store.reading, store.writing):
        with pytest.raises(ZeroDivisionError):
            fail(opened)
        # What a failure leaves open holds no lock: another process may write.
        subprocess.run([sys.executable, "-c", f"import duckdb; duckdb.connect({str(store.path)!r})"], check=True)
        assert len(store.read("book", small_table())) == 3


def test_a_file_is_let_go_between_two_looks(store):
    write(store, frame())
    for _ in range(3):
        assert len(store.read("book", small_table())) == 3
        duckdb.connect(str(store.path)).close()
        write(store, frame())


def test_no_file_is_open_twice_at_a_time(store, monkeypatch):
    write(store, frame())
    monkeypatch.chdir(store.path.parent)
    same = DuckDBStore(Path(store.path.name))
    with store.writing(), pytest.raises(RuntimeError, match="is open already"):
        same.read("book", small_table())
    with store.view(), pytest.raises(RuntimeError, match="is open already"):
        write(same, frame())
    write(same, frame())
    assert len(store.read("book", small_table())) == 3
