"""Tables of more rows than are held at a time: read, compared and written a part at a time, to the same bits."""

import datetime as dt
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core import shards
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.integrity import compared
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.store.working import Working
from weights_pipeline.tables.contract import Prepared, StoreError, content_hashes
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.small_table import LOG, MONTHS, month_rows, small_table

TABLE, NOW = small_table(), dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
KEYS = [window.key for window in MONTHS]
WRITE = {"run_id": "r", "recorded_at": NOW}


def rows(windows, value=0.0):
    return pd.concat([month_rows(window, value + number) for number, window in enumerate(windows)], ignore_index=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    made = DuckDBStore(tmp_path_factory.mktemp("written") / "weights.duckdb")
    made.write("desk", TABLE, rows(MONTHS), MONTHS, **WRITE)
    return made.path


@pytest.fixture
def store(written, tmp_path):
    return DuckDBStore(Path(shutil.copy(written, tmp_path)))


@pytest.fixture(params=[8, 10**6])
def at_once(request, monkeypatch):
    monkeypatch.setattr(shards, "AT_ONCE", request.param)
    return request.param


@pytest.mark.parametrize(
    ("statement", "altered"),
    [
        ("SELECT 1", []),
        ("UPDATE desk.small SET value = 7 WHERE partition_key = '2020-05-01' AND name = 'b'", ["2020-05-01"]),
        ("DELETE FROM desk.small WHERE partition_key IN ('2020-01-01', '2020-12-01')", ["2020-01-01", "2020-12-01"]),
        ("DELETE FROM store.partitions WHERE partition_key = '2020-07-01'", ["2020-07-01"]),
        ("UPDATE desk.small SET partition_key = '2019-01-01' WHERE partition_key = '2020-03-01'",
         ["2019-01-01", "2020-03-01"]),
    ],
)  # fmt: skip
def test_what_was_altered_is_found(store, at_once, statement, altered):
    whole = compared(store, "desk", TABLE)
    assert (whole.altered, bool(whole.seal)) == ([], True)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(statement).fetchall()
    for seal in ("", whole.seal):
        found = compared(store, "desk", TABLE, seal)
        assert (found.altered, found.seal) == (altered, "" if altered else whole.seal)


def test_what_was_never_written_holds_what_was_written(store, at_once):
    store.write("desk", LOG, rows(MONTHS), **WRITE)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("DELETE FROM desk.log").fetchall()
    assert compared(store, "desk", LOG).altered == [""]
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("DELETE FROM store.partitions WHERE table_name = 'log'").fetchall()
    for name in ("log", "never"):
        for table in (small_table(name=name), small_table(name=name, time_column=None)):
            if name == "never" or table.time_column is None:
                assert compared(store, "desk", table) == ([], "")


def test_what_was_compared_before_a_month_came_is_not_compared_again(store, at_once, monkeypatch):
    earlier = DuckDBStore(store.path.parent / "earlier.duckdb")
    earlier.write("desk", TABLE, rows(MONTHS[:-1]), MONTHS[:-1], **WRITE)
    seal = compared(earlier, "desk", TABLE).seal
    earlier.write("desk", TABLE, rows(MONTHS).tail(4), MONTHS[-1:], **WRITE)
    asked = []
    monkeypatch.setattr(
        "weights_pipeline.store.integrity.content_hashes",
        lambda stored, table, keys: asked.extend(keys) or content_hashes(stored, table, keys),
    )
    assert compared(earlier, "desk", TABLE, seal) == compared(store, "desk", TABLE)
    assert asked == [KEYS[-1], *KEYS]


ASKED = [
    (keys, {"columns": columns, "among": among})
    for keys in (None, KEYS[2:4], KEYS[:1], KEYS[1:3], [])
    for columns in (None, ["value"])
    for among in (None, {"name": ["a", "c"]})
]


def test_what_is_read_of_a_run_under_way_is_what_it_will_store(store, at_once):
    made = Prepared.of("desk", TABLE, rows(MONTHS[2:6], 100.0), MONTHS[2:6], **WRITE)

    def all_read(by):
        return [by().read("desk", TABLE, keys, **others) for keys, others in ASKED]

    def kept():
        working = Working(store)
        working.keep(made)
        return working

    with store.view():
        old, seen = all_read(lambda: ReadOnce(store)), all_read(kept)
        plain = all_read(lambda: store)
    store.commit([made])
    with store.view():
        stored = all_read(lambda: store)
    for asked, *frames in zip(ASKED, old, plain, seen, stored, strict=True):
        pd.testing.assert_frame_equal(*frames[:2], obj=str(asked))
        pd.testing.assert_frame_equal(*frames[2:], obj=str(asked))


def test_parts_that_wait_in_files_are_written_as_if_they_were_one(store, tmp_path):
    whole = Prepared.of("desk", TABLE, rows(MONTHS, 5.0), MONTHS, **WRITE)
    frame, folder = rows(MONTHS, 5.0), tmp_path / "new" / "aside"
    parts = [
        Prepared.of("desk", TABLE, frame[frame["day"].isin([w.start.replace(tzinfo=None) for w in own])], own, **WRITE)
        for own in (MONTHS[:1], MONTHS[1:7], MONTHS[7:])
    ]
    joined = Prepared.joined([part.laid_down(folder) for part in parts])
    assert list(folder.iterdir()) == []
    assert joined.rows.equals(whole.rows)
    assert joined.records == whole.records
    assert {key: part.to_pydict() for key, part in joined.contents().items()} == {
        key: part.to_pydict() for key, part in whole.contents().items()
    }
    store.commit([joined])
    assert compared(store, "desk", TABLE).altered == []


def test_parts_that_cannot_wait_are_refused_in_words(tmp_path):
    part, file = Prepared.of("desk", TABLE, rows(MONTHS), MONTHS, **WRITE), tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match=r"file: rows of desk\.small cannot wait there .* Nothing was written"):
        part.laid_down(file)


@examples(60)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20))
def test_few_at_a_time_are_all_in_order_and_no_more_than_asked_for(counts, at_once):
    groups = list(shards.few_at_a_time(enumerate(counts), at_once))
    assert [item for group in groups for item in group] == list(range(len(counts)))
    for group, following in zip(groups, [*groups[1:], ()], strict=False):
        total = sum(counts[item] for item in group)
        assert len(group) == 1 or total <= at_once
        assert not following or total + counts[following[0]] > at_once
