"""The essentials of ``benchmarks.reliability`` in seconds: kills at write steps, a full disk, flipped bytes."""

import tempfile
import uuid

import duckdb
import pandas as pd
import pytest

from benchmarks import disturbed
from benchmarks.disturbed import Place, Step, write_all
from benchmarks.reliability import (
    Ground,
    Scenario,
    aimed_kills,
    as_a_whole,
    at_file_call,
    at_request,
    contents,
    damaged_file,
    damaged_objects,
    full_disk,
)
from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.integrity import compared
from weights_pipeline.tables.definition import Column, Type
from weights_pipeline.tables.errors import DamagedError
from weights_pipeline_tests.support.small_table import LOG, MONTHS, month_rows, small_table

KEPT = small_table(kept=True)


def months(value, number=3):
    rows = pd.concat([month_rows(window, value) for window in MONTHS[:number]], ignore_index=True)
    return Step("book", KEPT, rows, tuple(MONTHS[:number]))


OVER_OLD = Scenario("range", (months(1.0),), (months(2.0),))
ON_NOTHING = Scenario("first", (), (months(1.0), Step("book", LOG, month_rows(MONTHS[0]), added=True)))


@pytest.fixture(scope="module", autouse=True)
def _temporary_files(tmp_path_factory):
    """Keep what multiprocessing leaves behind in a process that does not end by itself among pytest's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("children")))
        yield


class Server:
    """moto in this process, for stores of other processes."""

    def __init__(self):
        self.variables = moto().variables
        assert moto().objects.bucket == BUCKET

    def place(self):
        return Place(bucket=BUCKET, prefix=f"reliability/{uuid.uuid4().hex}", variables=self.variables)


@pytest.fixture
def server(monkeypatch):
    moto().environment(monkeypatch)
    return Server()


@pytest.mark.skipif(not disturbed.CAN_TRACE, reason="calls of a child cannot be traced here")
@pytest.mark.parametrize("scenario", [OVER_OLD, ON_NOTHING], ids=lambda scenario: scenario.name)
def test_killed_at_a_file_call_the_store_is_whole_and_the_next_run_mends_it(tmp_path, scenario):
    line = aimed_kills(Ground(tmp_path, None), [scenario], at_file_call, 4, "")
    assert not line.wrong
    assert line.tried == 4
    assert line.found["all old"]
    assert line.found["all old"] < 4


def test_killed_at_a_request_the_store_is_whole_and_the_next_run_mends_it(tmp_path, server):
    line = aimed_kills(Ground(tmp_path, server), [OVER_OLD], at_request, 4, "")
    assert not line.wrong
    assert line.tried + line.found["too late"] == 4
    assert line.found["all old"]


def test_half_a_range_and_a_later_table_before_an_earlier_one_would_be_noticed():
    places = [("book", "small", window.key) for window in MONTHS[:3]]
    before, after = dict.fromkeys(places, "old"), dict.fromkeys(places, "new")
    assert as_a_whole(before, before, after, [months(2.0)]) == "all old"
    assert as_a_whole(after, before, after, [months(2.0)]) == "all new"
    with pytest.raises(AssertionError, match=r"book\.small: neither the old content nor the new"):
        as_a_whole(before | {places[1]: "new"}, before, after, [months(2.0)])
    log = Step("book", LOG, month_rows(MONTHS[0]), added=True)
    later = {("book", "log", ""): "new"}
    with pytest.raises(AssertionError, match="a later step has happened before an earlier one"):
        as_a_whole(before | later, before, after | later, [months(2.0), log])


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path):
    line = full_disk(tmp_path, OVER_OLD, [0, 1 << 20], "", mounted=False)
    assert not line.wrong
    assert line.found == {"refused in words, all old": 1, "there was room, all new": 1}


def test_a_damaged_file_is_refused(tmp_path):
    line = damaged_file(tmp_path / "damaged", OVER_OLD, 30, "")
    assert not line.wrong
    assert line.found["refused in words"] > line.tried / 2


def test_a_damaged_object_is_refused(tmp_path, server):
    line = damaged_objects(server, OVER_OLD, 20, "")
    assert not line.wrong
    assert line.found["refused in words"] > line.tried / 2


def test_rows_that_somebody_changed_by_hand_are_noticed(tmp_path):
    place = Place(tmp_path / "weights.duckdb")
    write_all(place, [months(1.0)])
    store = DuckDBStore(place.file)
    assert compared(store, "book", KEPT).altered == []
    assert compared(store, "book", LOG).altered == []
    added = small_table(columns=(*KEPT.columns, Column("note", Type.TEXT, "later", nullable=True)))
    assert compared(store, "book", added).altered == []
    for change in (
        "UPDATE book.small SET value = 1.5 WHERE partition_key = '2020-02-01' AND name = 'a'",
        "DELETE FROM book.small WHERE partition_key = '2020-02-01' AND name = 'a'",
        "UPDATE store.partitions SET row_count = 5 WHERE partition_key = '2020-02-01'",
        "DELETE FROM store.partitions WHERE partition_key = '2020-02-01'",
    ):
        write_all(place, [months(1.0)])
        with duckdb.connect(str(place.file)) as connection:
            connection.execute(change).fetchall()
        assert compared(store, "book", KEPT).altered == ["2020-02-01"], change
        with pytest.raises(AssertionError, match="not what the manifest says"):
            contents(store, [("book", KEPT)])


def test_a_damaged_file_says_what_to_do(tmp_path):
    place = Place(tmp_path / "weights.duckdb")
    write_all(place, [months(1.0)])
    whole = place.file.read_bytes()
    for content in (whole[:20_000], b"", whole[:100] + b"\xff" + whole[101:]):
        place.file.write_bytes(content)
        for work in (lambda: DuckDBStore(place.file).read("book", KEPT), lambda: write_all(place, [months(2.0)])):
            with pytest.raises(DamagedError, match=r"weights\.duckdb is damaged: .*Restore a backup of the file"):
                work()
        assert place.file.read_bytes() == content
