"""A run that was killed does not keep later ones waiting; one that lives does."""

import datetime as dt
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

from benchmarks.support.data import BOOK
from weights_pipeline.doctor.orchestration import turns
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.instance import LOCATION
from weights_pipeline.orchestration.records import Records
from weights_pipeline.orchestration.resources import ALERTS, Notifier
from weights_pipeline.orchestration.run_slots import alive, free_dead_runs, holder, turn
from weights_pipeline.orchestration.sensors import Position, alert_sensors, run_alerts
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

POOL = "duckdb"
ROOT = Path(__file__).resolve().parents[2]


@dg.asset(pool=POOL)
def table() -> None:
    pass


def claim(instance, status=dg.DagsterRunStatus.STARTED):
    """A run that holds the pool's only slot."""
    run_id = str(uuid.uuid4())
    job = dg.Definitions([table], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    instance.create_run_for_job(job, run_id=run_id, status=status)
    claimed = instance.event_log_storage.claim_concurrency_slot(POOL, run_id, "table")
    assert claimed.is_claimed
    return run_id


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
    ) as own:
        own.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        yield own


def die(home, run_id):
    with alive(home, run_id):
        os.kill(os.getpid(), signal.SIGKILL)


def killed(home, run_id):
    """Let a process of a run be killed; it is a copy of this one, since all of Dagster is slow to load."""
    process = multiprocessing.get_context("fork").Process(target=die, args=(home, run_id))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_run_held_is_freed_and_the_run_has_failed(instance, tmp_path):
    run_id = claim(instance)
    killed(tmp_path, run_id)
    assert holder(instance, "another") == f"waiting for run {run_id[:8]} of job"
    patient = SimpleNamespace(records=Records(instance), settings=SimpleNamespace(home=tmp_path))
    state, found, _ = turns(patient)
    assert (state, found) == ("warn", f"{run_id[:8]} ended without giving back the turn to write to the store")
    assert free_dead_runs(instance, tmp_path) == [run_id]
    assert turns(patient)[:2] == ("ok", "free: no run is writing to the store")
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
    assert holder(instance, "another") == ""
    assert claim(instance)
    assert not list((tmp_path / "running").iterdir())


def test_a_run_that_died_between_two_steps_is_freed_by_the_sensor(instance, tmp_path, small_data):
    run_id = claim(instance)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    killed(tmp_path, run_id)
    [sensor, _] = alert_sensors(Workspace(Settings(data=small_data, home=tmp_path)))
    reached_by = {ALERTS: Notifier(folder=str(tmp_path / "alerts"))}
    with dg.build_sensor_context(instance=instance, resources=reached_by) as context:
        sensor.evaluate_tick(context)
    assert sensor.minimum_interval_seconds <= 300
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


HELD = """
import fcntl, sys, time
with open(sys.argv[1], "a") as stream:
    fcntl.flock(stream, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


def test_runs_by_hand_take_turns_and_the_next_goes_on_when_the_process_of_one_is_gone(tmp_path):
    waited = []
    (tmp_path / "running").mkdir()
    held = [sys.executable, "-c", HELD, str(tmp_path / "running" / "duckdb.turn")]
    with subprocess.Popen(held, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"

        def waiting():
            waited.append("waits")
            other.kill()

        for _ in range(2):
            with turn(tmp_path, [POOL], waiting):
                pass
    assert waited == ["waits"]


def test_runs_by_hand_that_share_no_pool_do_not_wait_for_each_other(tmp_path):
    with turn(tmp_path, ["s3/one", "s3/ledger"], pytest.fail), turn(tmp_path, ["s3/two"], pytest.fail):
        waited = []
        held = [sys.executable, "-c", HELD, str(tmp_path / "running" / "s3.other.turn")]
        with subprocess.Popen(held, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "held\n"

            def waiting():
                waited.append("waits")
                other.kill()

            with turn(tmp_path, ["s3/more", "s3/other"], waiting):
                assert waited == ["waits"]


@pytest.mark.parametrize(
    ("store", "pools"),
    [("", {"duckdb"}), ("s3://bucket/weights", {"s3/sample_ledger", f"s3/{BOOK}"})],
    ids=["duckdb", "s3"],
)
def test_writers_of_an_s3_store_take_turns_by_schema_and_those_of_a_file_all_together(
    small_data, tmp_path, store, pools, monkeypatch
):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    settings = Settings(data=small_data, home=tmp_path, **({"store": store} if store else {}))
    job = build_definitions(Workspace(settings)).resolve_job_def(BOOK)
    ledger = build_definitions(Workspace(settings)).resolve_job_def("sample_ledger")
    found = {pool for each in (job, ledger) for node in each.nodes for pool in node.definition.pools if pool}
    assert found == pools


STOPPED = """
import json, os, signal, sys
from pathlib import Path
from benchmarks.support.data import BOOK
from weights_pipeline.orchestration import runs
from weights_pipeline.orchestration.assets import ledger
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

settings = Settings(data=Path(sys.argv[1]), home=Path(sys.argv[2]))
for name in sys.argv[3:]:
    def stopped(*_, **__):
        signal.raise_signal(getattr(signal, name))
        raise AssertionError("goes on")

    ledger.read_ledger = stopped
    # Whoever runs the tests may have asked not to be told of it, as nohup does.
    signal.signal(getattr(signal, name), signal.SIG_DFL)
    report = runs.materialise(Workspace(settings), BOOK, "2012-01", "2012-01")
    print(json.dumps({"success": report.success, "errors": report.errors, "run": report.run_ids[-1]}))
"""


def test_a_run_that_is_told_to_end_is_canceled_and_gives_back_its_turn(small_data, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    command = [sys.executable, "-c", STOPPED, str(small_data), str(home), "SIGTERM", "SIGHUP"]
    given = os.environ | {"DAGSTER_HOME": str(home)}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=given, cwd=ROOT)
    told = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(told) == 2
    with dg.DagsterInstance.from_config(str(home)) as own:
        for each in told:
            errors = ["it was stopped, and is recorded as canceled; run it again"]
            assert (each["success"], each["errors"]) == (False, errors)
            run = own.get_run_by_id(each["run"])
            assert run.status == dg.DagsterRunStatus.CANCELED
            # What the interface lists under Jobs and in its timeline.
            assert run.remote_job_origin.location_name == LOCATION
        listed = dg.RunsFilter(job_name=run.job_name, tags={REPOSITORY_LABEL_TAG: f"__repository__@{LOCATION}"})
        assert [each.run_id for each in own.get_runs(listed)] == [each["run"] for each in reversed(told)]
        assert own.event_log_storage.get_concurrency_run_ids() == set()
        found, _ = run_alerts(own, Position(), "", dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))
        assert found == []
    assert [file.name for file in (home / "running").iterdir()] == ["duckdb.turn"]


def test_a_run_that_lives_keeps_its_slot(instance, tmp_path):
    run_id = claim(instance)
    with alive(tmp_path, run_id):
        assert free_dead_runs(instance, tmp_path) == []
        assert holder(instance, "another") == f"waiting for run {run_id[:8]} of job"
        assert holder(instance, run_id) == ""
        patient = SimpleNamespace(records=Records(instance), settings=SimpleNamespace(home=tmp_path))
        assert turns(patient)[:2] == ("ok", f"taken by run {run_id[:8]} of job")
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTED


def test_a_run_of_somebody_else_is_left_alone_until_it_has_ended(instance, tmp_path):
    run_id = claim(instance)
    assert free_dead_runs(instance, tmp_path) == []
    instance.report_run_canceled(instance.get_run_by_id(run_id))
    assert free_dead_runs(instance, tmp_path) == []
    assert holder(instance, "another") == ""
    assert claim(instance)


def test_slots_of_runs_that_nobody_knows_are_freed(instance, tmp_path):
    run_id = claim(instance)
    instance.run_storage.delete_run(run_id)
    assert free_dead_runs(instance, tmp_path) == []
    assert claim(instance)
