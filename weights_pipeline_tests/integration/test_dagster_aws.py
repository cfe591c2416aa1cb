"""Dagster's own tools for S3: what steps say is kept at a deployed stage, and clients for assets of others."""

import dagster as dg
import pytest
import yaml
from dagster_aws.s3 import S3Resource
from dagster_aws.s3.sensor import get_objects

from benchmarks.support.data import DATA
from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline.orchestration.s3 import S3Clients
from weights_pipeline_tests.support.desk import QUIET, Desk
from weights_pipeline_tests.support.returns_desk import BOOK, LEDGER, random_returns, write_book, write_ledger

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
    server, deployed, tmp_path, capfd
):
    write_ledger(tmp_path / "data", random_returns("calm", "other", first="2024-01-02", last="2024-01-31"))
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4})
    report = Desk(tmp_path / "data", tmp_path / "home", deployed).done(book=BOOK)
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


def test_a_client_has_what_dagsters_own_lacks_and_is_taken_wherever_that_is(server, monkeypatch):
    for name in server.variables:
        monkeypatch.delenv(name)
    given = {
        "endpoint_url": server.url,
        "region_name": "us-east-1",
        "aws_access_key_id": dg.EnvVar("DESK_KEY"),
        "aws_secret_access_key": dg.EnvVar("DESK_KEY"),
    }
    monkeypatch.setenv("DESK_KEY", server.secret)
    server.objects.put("listed/a.csv", b"a", {})
    seen = {}

    @dg.asset
    def listed(s3: S3Resource) -> None:
        client = s3.get_client()
        config = client.meta.config
        seen[type(s3)] = (config.connect_timeout, config.read_timeout, config.request_checksum_calculation)
        seen["objects"] = {each["Key"]: each["ETag"] for each in get_objects(BUCKET, "listed/", client=client)}

    for resource in (S3Resource(**given), S3Clients(**given)):
        assert dg.materialize([listed], resources={"s3": resource}, run_config=QUIET).success
    assert seen[S3Resource] == (60, 60, "when_supported")
    assert seen[S3Clients] == (5, 30, "when_required")
    # What the sensor of a ledger lists is what Dagster's helper for sensors lists.
    assert seen["objects"] == dict(server.objects.list("listed/"))
    unsigned = S3Clients(**given | {"use_unsigned_session": True})
    assert (
        unsigned.get_client().meta.config.signature_version
        != S3Clients(**given).get_client().meta.config.signature_version
    )
