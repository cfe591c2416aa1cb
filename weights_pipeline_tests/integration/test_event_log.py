"""The event log that is kept open holds what Dagster's own holds, and is read by it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from weights_pipeline.orchestration import event_log
from weights_pipeline.orchestration.event_log import EventLog, kept_open

KEYS = ["a", "b", "c"]


@dg.multi_asset(
    specs=[dg.AssetSpec("made", partitions_def=dg.StaticPartitionsDefinition(KEYS))],
    check_specs=[dg.AssetCheckSpec("sound", asset="made")],
    pool="duckdb",
)
def made(context: dg.AssetExecutionContext):
    yield dg.MaterializeResult(metadata={"key": context.partition_key})
    yield dg.AssetCheckResult(passed=True)


@pytest.fixture
def opened(tmp_path):
    with kept_open(dg.DagsterInstance.local_temp(str(tmp_path))) as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        yield instance


def run(instance, key="a"):
    result = dg.materialize([made], instance=instance, partition_key=key)
    assert result.success
    return result.run_id


def told(instance, run_id):
    return [record.event_log_entry for record in instance.get_records_for_run(run_id).records]


def test_another_process_reads_what_was_stored_while_it_is_stored(opened, tmp_path):
    run_id = run(opened)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as stock:
        assert type(stock.event_log_storage) is not EventLog
        assert told(stock, run_id) == told(opened, run_id)
        assert stock.get_run_by_id(run_id).is_success
        assert stock.get_latest_materialization_event(dg.AssetKey("made")).run_id == run_id
        other = run(stock, "b")
    assert opened.get_materialized_partitions(dg.AssetKey("made")) == {"a", "b"}
    assert len(told(opened, other)) == len(told(opened, run_id))


def schema_of(database):
    with closing(sqlite3.connect(database)) as connection:
        made = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        return made, *(
            connection.execute(query).fetchall() for query in ("SELECT * FROM alembic_version", "PRAGMA journal_mode")
        )


def test_a_new_database_is_what_dagster_makes(opened, tmp_path):
    (tmp_path / "stock").mkdir()
    own = run(opened)
    with dg.DagsterInstance.local_temp(str(tmp_path / "stock")) as stock:
        theirs = run(stock)
        log = stock.event_log_storage
        for mine, other in ((own, theirs), ("index", "index")):
            made = schema_of(opened.event_log_storage.path_for_shard(mine))
            assert made == schema_of(log.path_for_shard(other))


def test_a_database_that_was_only_begun_is_completed(opened):
    path = opened.event_log_storage.path_for_shard("begun")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE pending_steps (id INTEGER NOT NULL)")
    with opened.event_log_storage.run_connection("begun") as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM event_logs").scalar() == 0
    assert schema_of(path)[1] == schema_of(opened.event_log_storage.path_for_shard(run(opened)))[1]


def test_a_log_of_more_runs_than_are_kept_open_is_whole(opened, monkeypatch):
    monkeypatch.setattr(event_log, "_MOST_OPEN", 3)
    runs = [run(opened) for _ in range(5)]
    counts = [len(told(opened, each)) for each in [*runs, *runs]]
    assert len(set(counts)) == 1
    assert len(opened.event_log_storage._engines) == 3


def test_threads_take_turns(opened):
    run_id, found = run(opened), []
    threads = [Thread(target=lambda: found.append(len(told(opened, run_id)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    run(opened, "c")
    for thread in threads:
        thread.join()
    assert found == [len(told(opened, run_id))] * 8


def test_a_log_is_wiped_and_closed(opened, tmp_path):
    run_id = run(opened)
    opened.event_log_storage.wipe()
    assert told(opened, run_id) == []
    run(opened)
    opened.event_log_storage.dispose()
    held = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert not [name for name in held if name.startswith(str(tmp_path / "history" / "runs"))]


def test_an_instance_that_records_elsewhere_is_left_alone(instance):
    assert kept_open(instance) is instance
