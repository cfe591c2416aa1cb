"""Schedules: ticks in local time across both clock changes and the turn of the year, and what they start."""

import datetime as dt
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml

from benchmarks.support.data import edit_yaml
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(autouse=True)
def everything_is_read(monkeypatch):
    """The schedules alone: whether the ledger is in the store is another test's matter."""
    monkeypatch.setattr("weights_pipeline.orchestration.schedules.require_ready", lambda *_, **__: None)


@pytest.fixture
def definitions(own_data, tmp_path):
    """An open-ended ledger: months go on."""
    source = own_data / "ledgers" / "sample.yaml"
    text = "\n".join(line for line in source.read_text().splitlines() if not line.startswith("last_month"))
    source.write_text(text + "\n")
    return build_definitions(Workspace(Settings(data=own_data, home=tmp_path / "home")))


def tick(definitions, name, when):
    schedule = definitions.resolve_schedule_def(name)
    context = dg.build_schedule_context(scheduled_execution_time=when, repository_def=definitions.get_repository_def())
    return schedule.evaluate_tick(context)


def ticks(schedule, start, count):
    after = schedule.get_cron_iterator if hasattr(schedule, "get_cron_iterator") else None
    assert after is None
    from dagster._utils.schedules import schedule_execution_time_iterator

    found = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return [next(found) for _ in range(count)]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # Clocks go forward on 8 March 2026 and back on 1 November 2026, the very day of a rebalance.
        ("2026-02-15", ["2026-03-01T06:30:00-05:00", "2026-04-01T06:30:00-04:00"]),
        ("2026-10-15", ["2026-11-01T06:30:00-05:00", "2026-12-01T06:30:00-05:00"]),
        ("2026-12-15", ["2027-01-01T06:30:00-05:00", "2027-02-01T06:30:00-05:00"]),
    ],
)
def test_rebalance_ticks_at_half_past_six_in_new_york(definitions, start, expected):
    schedule = definitions.resolve_schedule_def("calmar_core_rebalance")
    assert schedule.execution_timezone == "America/New_York"
    found = ticks(schedule, dt.datetime.fromisoformat(start).replace(tzinfo=NEW_YORK), 2)
    assert [moment.isoformat() for moment in found] == expected


@pytest.mark.parametrize(
    ("when", "partition"),
    [
        ("2026-03-01T06:30", "2026-02-01"),
        ("2026-04-01T06:30", "2026-03-01"),
        ("2026-11-01T06:30", "2026-10-01"),
        ("2027-01-01T06:30", "2026-12-01"),
    ],
)
def test_rebalance_is_for_the_month_that_has_just_ended(definitions, when, partition):
    result = tick(
        definitions,
        "calmar_core_rebalance",
        dt.datetime.fromisoformat(when).replace(tzinfo=NEW_YORK),
    )
    assert [request.partition_key for request in result.run_requests] == [partition]


def test_ledger_is_read_for_the_open_month_and_the_one_before(definitions):
    result = tick(definitions, "sample_ledger_refresh", dt.datetime(2026, 3, 1, 5, 30, tzinfo=NEW_YORK))
    tags = result.run_requests[0].tags
    assert tags["dagster/asset_partition_range_start"] == "2026-02-01"
    assert tags["dagster/asset_partition_range_end"] == "2026-03-01"


def test_ledger_is_read_before_any_book_rebalances(definitions):
    start = dt.datetime(2026, 10, 31, 12, tzinfo=NEW_YORK)
    ledger = ticks(definitions.resolve_schedule_def("sample_ledger_refresh"), start, 1)[0]
    book = ticks(definitions.resolve_schedule_def("calmar_core_rebalance"), start, 1)[0]
    assert ledger < book
    assert ledger.date() == book.date()


def test_finished_history_is_skipped_with_a_reason(own_data, tmp_path):
    definitions = build_definitions(Workspace(Settings(data=own_data, home=tmp_path / "home")))
    result = tick(definitions, "sample_ledger_refresh", dt.datetime(2026, 3, 1, 5, 30, tzinfo=NEW_YORK))
    assert not result.run_requests
    assert "finished history" in result.skip_message


def test_every_book_and_the_ledger_have_a_schedule(own_data, tmp_path):
    edit_yaml(own_data / "books" / "calmar_core.yaml", cadence={"kind": "monthly", "day": 5, "time": "07:15"})
    definitions = build_definitions(Workspace(Settings(data=own_data, home=tmp_path / "home")))
    schedule = definitions.resolve_schedule_def("calmar_core_rebalance")
    assert schedule.cron_schedule == "15 7 5 * *"


def rebalances(own_data, tmp_path, cadence, ticks_at):
    """What the schedule of a book asks for at instants, or why it does not."""
    source = own_data / "ledgers" / "sample.yaml"
    content = {name: value for name, value in yaml.safe_load(source.read_text()).items() if name != "last_month"}
    source.write_text(yaml.safe_dump(content))
    edit_yaml(own_data / "books" / "calmar_core.yaml", cadence=cadence)
    made = build_definitions(Workspace(Settings(data=own_data, home=tmp_path / "home")))
    schedule = made.resolve_schedule_def("calmar_core_rebalance")
    found = []
    for when in ticks_at:
        result = tick(made, schedule.name, dt.datetime.fromisoformat(when).replace(tzinfo=NEW_YORK))
        found.append([request.partition_key for request in result.run_requests] or result.skip_message)
    return schedule.cron_schedule, found


def test_a_quarter_is_rebalanced_on_once_it_is_over(own_data, tmp_path):
    cadence = {"kind": "quarterly", "day": 8, "first_month": 3, "time": "02:30"}
    # The clocks skip half past two on the eighth of March.
    at = ["2026-03-08T03:00", "2026-06-08T02:30"]
    cron, found = rebalances(own_data, tmp_path, cadence, at)
    assert (cron, found) == ("30 2 8 3,6,9,12 *", [["2025-12-01"], ["2026-03-01"]])


def test_sessions_are_counted_every_day_and_rebalanced_on_after_the_tenth(own_data, tmp_path):
    cadence = {"kind": "sessions", "every": 10, "time": "17:00"}
    days = ["2012-01-13", "2012-01-17", "2012-01-18", "2012-01-31", "2026-11-02"]
    cron, found = rebalances(own_data, tmp_path, cadence, [f"{day}T17:00" for day in days])
    assert cron == "0 17 * * *"
    assert found == [
        "No period of calmar_core has ended yet.",
        ["2012-01-01"],
        "No period of calmar_core is due now: the newest, 2012-01-01, was due 2012-01-17.",
        ["2012-01-17"],
        ["2026-10-19"],
    ]
