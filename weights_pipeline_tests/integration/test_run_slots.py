"""A run that was killed does not keep later ones waiting; one that lives does."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from weights_pipeline.doctor.orchestration import turns
from weights_pipeline.orchestration.asset_checks import STORE_POOL
from weights_pipeline.orchestration.run_slots import alive, free_dead_runs, holder

ROOT = Path(__file__).resolve().parents[2]


@dg.asset(pool=STORE_POOL)
def table() -> None:
    pass


def claim(instance, status=dg.DagsterRunStatus.STARTED):
    """A run that holds the pool's only slot."""
    run_id = str(uuid.uuid4())
    job = dg.Definitions([table], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    instance.create_run_for_job(job, run_id=run_id, status=status)
    claimed = instance.event_log_storage.claim_concurrency_slot(STORE_POOL, run_id, "table")
    assert claimed.is_claimed
    return run_id


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
    ) as own:
        own.event_log_storage.initialize_concurrency_limit_to_default(STORE_POOL)
        yield own


DYING = """
import os, signal, sys
from pathlib import Path
from weights_pipeline.orchestration.run_slots import alive
with alive(Path(sys.argv[1]), sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_held_is_freed_and_the_run_has_failed(instance, tmp_path):
    run_id = claim(instance)
    died = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), run_id], check=False)
    assert died.returncode == -signal.SIGKILL
    assert holder(instance, "another") == f"waiting for run {run_id[:8]} of job"
    patient = SimpleNamespace(instance=instance, settings=SimpleNamespace(home=tmp_path))
    state, found, _ = turns(patient)
    assert (state, found) == ("warn", f"{run_id[:8]} ended without giving back the turn to write to the store")
    assert free_dead_runs(instance, tmp_path) == [run_id]
    assert turns(patient)[:2] == ("ok", "free: no run is writing to the store")
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
    assert holder(instance, "another") == ""
    assert claim(instance)
    assert not list((tmp_path / "running").iterdir())


def test_a_run_that_lives_keeps_its_slot(instance, tmp_path):
    run_id = claim(instance)
    with alive(tmp_path, run_id):
        assert free_dead_runs(instance, tmp_path) == []
        assert holder(instance, "another") == f"waiting for run {run_id[:8]} of job"
        assert holder(instance, run_id) == ""
        patient = SimpleNamespace(instance=instance, settings=SimpleNamespace(home=tmp_path))
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
