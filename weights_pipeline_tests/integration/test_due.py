"""Nobody looks for two rebalances: the ledger is read first, then they run in order, and nothing shows of it."""

import datetime as dt

import dagster as dg
import pytest

from benchmarks.support.data import edit_yaml
from weights_pipeline.alerts.deadlines import missed_scalings
from weights_pipeline.orchestration import due
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.versions.policies import OF_TODAY
from weights_pipeline_tests.support.desk import clock_at
from weights_pipeline_tests.support.returns_desk import BOOK, LEDGER, random_returns, write_book, write_ledger

BEFORE, AFTER = "2024-04-10T06:00+00:00", "2024-06-03T12:00+00:00"
RETURNS = random_returns("calm", "other", first="2024-01-02", last="2024-05-31")


def deliver(data, last):
    """The file of returns as it is on a day, of a ledger that goes on."""
    write_ledger(data, RETURNS.loc[:last])
    edit_yaml(data / "ledgers" / "desk.yaml", last_month=None)


def read(desk, first, last):
    desk.job(LEDGER, f"{first}-01", f"{last}-01", checks=False)


@pytest.fixture
def opened(tmp_path, desk):
    """A desk whose last rebalance was that of March; its daemon went down in April."""
    deliver(tmp_path / "data", "2024-04-09")
    overlay = {"enabled": True, "profile": "low", "lag": 1, "apply": "daily"}
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4}, overlay=overlay)
    own = desk(tmp_path / "data")
    with clock_at(BEFORE):
        read(own, "2024-01", "2024-04")
        own.job(BOOK, "2024-01-01", "2024-03-01", checks=False)
        own.job(f"{BOOK}_daily", "2024-03-01", "2024-04-01", checks=False)
    return own


def next_of(desk, look=due._next_of, at=AFTER):
    """What the sensor asks for in June."""
    found = look(desk.instance, desk.workspace.setups[BOOK], dt.datetime.fromisoformat(at))
    return [each if isinstance(each, str) else (each.job_name, each.partition_key or each.tags) for each in found]


def unscaled_at(desk, at):
    """Alerts on weights that were not scaled."""
    return missed_scalings(desk.workspace.setups[BOOK], dt.datetime.fromisoformat(at), lambda *_: "")


def test_after_downtime_the_ledger_is_read_and_then_rebalances_run_in_order(opened, desk, tmp_path):
    deliver(tmp_path / "data", "2024-05-31")
    edges = {"dagster/asset_partition_range_start": "2024-04-01", "dagster/asset_partition_range_end": "2024-05-01"}
    said = f"{BOOK}: due are 2024-04-01, 2024-05-01"
    assert next_of(opened) == [f"{said}; 2024-04-01 to 2024-05-01 of {LEDGER} are to be read first", (LEDGER, edges)]
    with clock_at(AFTER):
        read(opened, "2024-04", "2024-05")
        for key in ("2024-04-01", "2024-05-01"):
            assert next_of(opened) == [(BOOK, key)]
            opened.job(BOOK, key, checks=False)
    assert next_of(opened) == []
    # Weights that are scaled every day follow; no session of June has closed.
    missed = [f"{day:%Y-%m-%d}" for day in RETURNS.loc["2024-04-10":].index]
    [said, (job, tags)] = next_of(opened, due._next_scaling)
    assert said == f"{BOOK}: daily weights are due of {', '.join(missed)}"
    assert (job, tags) == (f"{BOOK}_daily", edges | OF_TODAY)
    [alert] = unscaled_at(opened, "2024-06-03T12:30+00:00")
    assert (alert.event, alert.partition) == (("unscaled", "2024-05-31"), "2024-05-01")
    assert f"Missing: {', '.join(missed)}." in alert.detail
    with clock_at(AFTER):
        opened.job(job, *edges.values(), checks=False)
    assert next_of(opened, due._next_scaling) == []
    # The session of Monday is owed on Tuesday at 07:30, looked for half an hour later, and told of after an hour.
    assert unscaled_at(opened, "2024-06-04T12:29+00:00") == []
    assert [alert.event for alert in unscaled_at(opened, "2024-06-04T12:30+00:00")] == [("unscaled", "2024-06-03")]
    assert next_of(opened, due._next_scaling, "2024-06-04T11:59+00:00") == []
    [said, _] = next_of(opened, due._next_scaling, "2024-06-04T12:00+00:00")
    assert said.startswith(f"{BOOK}: daily weights are due of 2024-06-03; 2024-06-01 to 2024-06-01 of {LEDGER} are to ")
    # As if nothing had happened.
    other = desk(tmp_path / "data")
    with clock_at(AFTER):
        read(other, "2024-01", "2024-06")
        other.job(BOOK, "2024-01-01", "2024-05-01", checks=False)
        other.job(f"{BOOK}_daily", "2024-03-01", "2024-05-01", checks=False)
    assert opened.hashes(book=BOOK) == other.hashes(book=BOOK)


def test_ticks_wait_for_the_ledger_and_nothing_is_started_twice(opened, tmp_path, monkeypatch):
    made = build_definitions(opened.workspace)
    when = dt.datetime.fromisoformat("2024-05-01T07:00-04:00")
    context = dg.build_schedule_context(scheduled_execution_time=when, repository_def=made.get_repository_def())
    result = made.resolve_schedule_def(f"{BOOK}_rebalance").evaluate_tick(context)
    assert not result.run_requests
    assert result.skip_message.startswith("2024-04-01 waits: ")

    [sensor] = [each for each in made.sensors if each.name == "due_rebalances"]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as kept, dg.build_sensor_context(kept) as context:
        assert sensor.evaluate_tick(context).skip_message == "Nothing is due."  # the schedule is off
        monkeypatch.setattr(due, "_switched_on", lambda _: {f"{BOOK}_rebalance"})
        [asked] = sensor.evaluate_tick(context).run_requests
    assert (asked.job_name, asked.tags["dagster/asset_partition_range_start"]) == (LEDGER, "2024-04-01")

    deliver(tmp_path / "data", "2024-05-31")
    with clock_at(AFTER):
        read(opened, "2024-04", "2024-06")
    with dg.build_sensor_context(opened.instance, repository_def=made.get_repository_def()) as context:
        [asked] = sensor.evaluate_tick(context).run_requests
    assert (asked.job_name, asked.partition_key) == (BOOK, "2024-04-01")
    assert asked.tags.items() >= OF_TODAY.items()

    tags = {"dagster/partition": "2024-04-01"}
    job = made.resolve_job_def(BOOK)
    run = opened.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert next_of(opened) == [f"{BOOK}: due are 2024-04-01, 2024-05-01; run {run.run_id[:8]} goes on"]
    opened.instance.report_run_failed(run)
    [said] = next_of(opened)
    assert said.endswith(f"run {run.run_id[:8]} of 2024-04-01 has ended without it")
