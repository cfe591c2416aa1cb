"""What steps say is kept in S3 at a deployed stage, of runs that are started by hand too."""

import dagster as dg
import pytest
import yaml

from benchmarks.support.data import BOOK, DATA, LEDGER
from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline_tests.support.desk import Desk

STORE = "tests/step-logs"


@pytest.fixture
def server(monkeypatch, tmp_path):
    found = moto()
    found.environment(monkeypatch)
    monkeypatch.setenv("WEIGHTS_DATA", str(DATA))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WEIGHTS_STORE", f"s3://{BUCKET}/{STORE}")
    yield found
    found.fault = None


@pytest.fixture
def deployed(server, tmp_path):
    """An instance as a deployed stage configures it, but for PostgreSQL."""
    configured = yaml.safe_load((DATA.parent / "deploy" / "dagster.yaml").read_text())
    del configured["storage"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(yaml.safe_dump(configured))
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        yield instance


def kept(server, prefix):
    """Objects below a prefix, by key."""
    return {key: server.objects.get(key)[0].decode() for key, _ in server.objects.list(prefix)}


def test_a_run_by_hand_leaves_what_its_steps_say_in_the_bucket_and_nothing_on_the_terminal(
    server, deployed, small_data, tmp_path, capfd
):
    report = Desk(small_data, tmp_path / "home", deployed).done("2012-01")
    shown = capfd.readouterr()
    assert shown.err == ""
    for run_id, job in zip(report.run_ids, (LEDGER, BOOK), strict=True):
        logs = kept(server, f"{STORE}/_logs/storage/{run_id}/")
        assert {key.rpartition(".")[2] for key in logs} == {"err", "out"}
        [said] = [text for key, text in logs.items() if key.endswith(".err")]
        assert f"{job} - {run_id}" in said
        assert "STEP_SUCCESS" in said
        [captured] = deployed.get_records_for_run(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED).records
        manager, file = deployed.compute_log_manager, captured.event_log_entry.dagster_event.logs_captured_data.file_key
        # As the interface shows it: the machine has kept none.
        assert not [*(tmp_path / "home" / "storage" / run_id).rglob("*.err")]
        assert manager.get_log_data(manager.build_log_key_for_run(run_id, file)).stderr.decode() == said


@dg.op
def speak() -> None:
    print("spoken")  # noqa: T201


@dg.job
def spoken() -> None:
    speak()


def test_what_is_to_be_encrypted_is(server, deployed, monkeypatch):
    monkeypatch.setenv("WEIGHTS_S3_SSE", "AES256")
    monkeypatch.setenv("WEIGHTS_STEP_LOGS", f"s3://{BUCKET}/elsewhere/")
    run_id = spoken.execute_in_process(instance=deployed).run_id
    logs = kept(server, f"elsewhere/storage/{run_id}/")
    [(key, said)] = [(key, text) for key, text in logs.items() if key.endswith(".out")]
    assert said == "spoken\n"
    assert server.objects.client.head_object(Bucket=BUCKET, Key=key)["ServerSideEncryption"] == "AES256"


def test_a_bucket_that_refuses_stops_no_run(server, deployed):
    server.fault = lambda environ: (403, "AccessDenied")
    result = spoken.execute_in_process(instance=deployed)
    assert result.success
    [told] = [
        event
        for event in result.all_events
        if event.event_type_value == "ENGINE_EVENT" and "compute log capture" in (event.message or "")
    ]
    assert "AccessDenied" in told.engine_event_data.error.to_string()
