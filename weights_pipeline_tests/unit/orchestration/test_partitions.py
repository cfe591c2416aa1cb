"""Partitions: Dagster's are our periods, and an input is mapped as Dagster would by walking."""

import datetime as dt
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.snap import PartitionsSnap
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._serdes import deserialize_value, serialize_value
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.books.load import load_book, load_books
from weights_pipeline.ledger import load_ledger_source
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.partitions import (
    TimeWindowPartitionMapping,
    book_partitions,
    daily_months,
    ledger_history,
    ledger_input,
    ledger_months,
    own_input,
    past_input,
)
from weights_pipeline.settings import Settings
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.examples import examples

SOURCE = load_ledger_source(DATA / "ledgers" / "sample.yaml")
OPEN = SOURCE.model_copy(update={"last_month": None})
SUNDAY = {"kind": "weekly", "weekday": "sunday"}


def elsewhere(partitions):
    """Partitions as the user interface and the daemon have them, made of what is told them."""
    return PartitionsSnap.from_def(partitions).get_partitions_definition()


def book(name="calmar_core", **changes):
    return load_book(DATA / "books" / f"{name}.yaml", root=DATA, changes=changes)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 24),
        ({"timezone": "Asia/Tokyo"}, 24),
        ({"cadence": {"kind": "quarterly"}}, 7),
        ({"cadence": {"kind": "quarterly", "first_month": 2}, "timezone": "Asia/Tokyo"}, 8),
        ({"cadence": SUNDAY | {"time": "18:00"}}, 104),
        ({"cadence": {"kind": "weekly", "weekday": "monday", "time": "02:00"}, "timezone": "UTC"}, 104),
        # Skipped and doubled by the clocks.
        ({"cadence": SUNDAY | {"time": "02:30"}}, 104),
        ({"cadence": SUNDAY | {"time": "01:30"}}, 104),
        ({"cadence": SUNDAY | {"time": "02:00"}, "timezone": "Australia/Lord_Howe"}, 104),
    ],
)
def test_periods_are_the_partitions_over_two_years_of_clock_changes(changes, count):
    source = SOURCE.model_copy(update={"first_month": "2020-02", "last_month": "2022-01"})
    partitions = book_partitions(book(**changes), source)
    keys = elsewhere(partitions).get_partition_keys()
    windows = [partitions.time_window_for_partition_key(key) for key in keys]
    found = partitions.existing(dt.datetime.now(dt.UTC))
    assert [window.key for window in found] == partitions.get_partition_keys() == keys
    assert len(keys) == count
    # Equality of times of one zone is that of the wall clock.
    instants = [[(w.start.timestamp(), w.end.timestamp()) for w in each] for each in (found, windows)]
    assert instants[0] == instants[1]


@pytest.mark.parametrize("now", ["2012-02-29T23:59:59-05:00", "2012-11-05T01:59:59+00:00", "2024-01-01T05:00:00+00:00"])
@pytest.mark.parametrize("source", [SOURCE, OPEN], ids=["finished", "open"])
def test_partitions_there_are_at_an_instant(now, source):
    instant = dt.datetime.fromisoformat(now)
    definitions = [ledger_months(source), daily_months(book(), source)]
    definitions += [book_partitions(each, source) for each in load_books(DATA / "books").values()]
    definitions.append(book_partitions(book(cadence={"kind": "quarterly"}), source))
    for partitions in definitions:
        keys = elsewhere(partitions).get_partition_keys(current_time=instant)
        assert partitions.get_partition_keys(current_time=instant) == keys
        local = instant.astimezone(ZoneInfo(partitions.timezone)).replace(tzinfo=None)
        assert partitions.get_partition_keys(current_time=local) == keys


def test_months_and_weeks_are_to_dagster_what_they_always_were():
    zone = "America/New_York"
    months = dg.MonthlyPartitionsDefinition("2012-01-01", "2023-01-01", timezone=zone)
    weeks = dg.WeeklyPartitionsDefinition("2012-01-01", timezone=zone, day_offset=0, hour_offset=18)
    open_months = dg.MonthlyPartitionsDefinition("2012-01-01", timezone=zone, end_offset=1)
    pairs = [
        (book_partitions(book(), SOURCE), months),
        (book_partitions(book("sharpe_weekly"), OPEN), weeks),
        (ledger_months(OPEN), open_months),
    ]
    for own, stock in pairs:
        assert PartitionsSnap.from_def(own) == PartitionsSnap.from_def(stock)
        assert own.get_serializable_unique_identifier() == stock.get_serializable_unique_identifier()


YEAR = SOURCE.model_copy(update={"last_month": "2012-12"})
MONTHS = ledger_months(YEAR)
KEYS = MONTHS.get_partition_keys()
WALKED = dg.TimeWindowPartitionMapping(start_offset=-11, allow_nonexistent_upstream_partitions=True)


@examples(50)
@given(st.lists(st.sampled_from(KEYS), max_size=5))
def test_history_is_mapped_as_by_walking(keys):
    subset, own = MONTHS.empty_subset().with_partition_keys(keys), ledger_history(YEAR, catalog.OPEN_LOTS).mapping
    assert isinstance(own, TimeWindowPartitionMapping)
    found, walked = (
        [
            mapping.get_upstream_mapped_partitions_result_for_partitions(subset, MONTHS, MONTHS),
            mapping.get_downstream_partitions_for_partitions(subset, MONTHS, MONTHS),
        ]
        for mapping in (own, WALKED)
    )
    assert found[0].partitions_subset == walked[0].partitions_subset
    assert found[0].required_but_nonexistent_subset == walked[0].required_but_nonexistent_subset
    assert found[1] == walked[1]


def test_dagster_gets_the_mapping_that_it_knows():
    own = ledger_history(YEAR, catalog.OPEN_LOTS).mapping
    there = deserialize_value(serialize_value(own), dg.TimeWindowPartitionMapping)
    assert type(there) is dg.TimeWindowPartitionMapping
    assert there == WALKED
    assert ledger_history(OPEN, catalog.OPEN_LOTS).mapping.start_offset == -(2100 - 2012) * 12 - 11


def test_a_range_of_a_whole_book_is_not_widened_to_what_comes_after(own_data, tmp_path):
    made = build_definitions(Workspace(Settings(data=own_data, home=tmp_path / "home")))
    graph = made.resolve_asset_graph()
    of_book = [key for key in graph.materializable_asset_keys if key.path[0] == BOOK and graph.get(key).is_partitioned]
    with dg.DagsterInstance.ephemeral() as instance:
        asked = AssetBackfillData.from_asset_partitions(
            asset_graph=graph,
            partition_names=["2012-02-01", "2012-03-01"],
            asset_selection=of_book,
            dynamic_partitions_store=instance,
            backfill_start_timestamp=dt.datetime.now(dt.UTC).timestamp(),
            all_partitions=False,
        )
    assert {asked.target_subset.get_asset_subset(key).size for key in of_book} == {2}


# --- sessions -----------------------------------------------------------------------------------------------


def counted(source, every=10, time="17:00", **changes):
    return book_partitions(book(cadence={"kind": "sessions", "every": every, "time": time}, **changes), source)


SPAN = {"first_month": "2012-02", "last_month": "2012-12"}


@pytest.mark.parametrize(
    ("source", "cadence"),
    [
        pytest.param({}, {}, id="finished"),
        pytest.param({"last_month": None}, {}, id="open"),
        pytest.param({}, {"every": 1, "time": "15:30"}, id="every one"),
        pytest.param({}, {"every": 3, "time": "08:00", "timezone": "Australia/Sydney"}, id="elsewhere"),
        pytest.param({"calendar": "24/7"}, {"every": 30, "time": "04:00"}, id="every day"),
    ],
)
def test_partitions_of_sessions_there_are_at_an_instant(source, cadence):
    partitions = counted(SOURCE.model_copy(update=SPAN | source), **cadence)
    there = elsewhere(partitions)
    windows = partitions.periods.ended(dt.datetime(2013, 1, 1, tzinfo=dt.UTC))
    for window in (windows[0], windows[-1]):
        for later in (dt.timedelta(), -dt.timedelta(seconds=1), dt.timedelta(days=1)):
            now = window.end + later
            keys = partitions.get_partition_keys(current_time=now)
            assert keys == there.get_partition_keys(current_time=now)
            with partition_loading_context(now):
                assert there.has_partition_key(window.key) == (window.key in keys)
    assert [window.key for window in windows] == sorted({window.key for window in windows})


def test_a_finished_history_of_fewer_sessions_has_no_partition():
    partitions = counted(SOURCE.model_copy(update={"first_month": "2012-02", "last_month": "2012-02"}), every=30)
    now = dt.datetime.now(dt.UTC)
    assert partitions.get_partition_keys() == partitions.existing(now) == []


def test_sessions_are_mapped_to_the_one_before_and_to_the_months_they_close_in():
    setup = SimpleNamespace(
        book=book(cadence={"kind": "sessions", "every": 10, "time": "17:00"}), source=SOURCE, name=BOOK
    )
    partitions, months = book_partitions(setup.book, SOURCE), ledger_months(SOURCE)
    keys = partitions.get_partition_keys()

    def mapped(given, of, to):
        subset = partitions.empty_subset().with_partition_keys(given)
        found = of.mapping.get_upstream_mapped_partitions_result_for_partitions(subset, partitions, to)
        assert found.required_but_nonexistent_subset.is_empty
        return list(found.partitions_subset.get_partition_keys())

    before = past_input(setup, catalog.REALIZED_WEIGHTS, 1)
    assert mapped(keys[:1], before, partitions) == []
    assert mapped(keys[5:8], before, partitions) == keys[4:7]
    assert mapped(keys[5:8], own_input(setup, catalog.METRICS), partitions) == keys[5:8]
    in_months = ledger_input(setup, catalog.STRATEGY_RETURNS)
    assert (keys[0], mapped(keys[:1], in_months, months)) == ("2012-01-01", ["2012-01-01"])
    assert (keys[2:4], mapped(keys[2:3], in_months, months)) == (
        ["2012-01-31", "2012-02-14"],
        ["2012-01-01", "2012-02-01"],
    )
    assert mapped(keys[-1:], in_months, months) == ["2022-12-01"]
