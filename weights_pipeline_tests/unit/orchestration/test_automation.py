"""Automation: by when what is due, as Dagster judges it, and what follows a corrected ledger and what never does."""

import asyncio
import datetime as dt
import shutil
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from benchmarks.support.data import BOOK, DATA, LEDGER, edit_yaml
from weights_pipeline.books.load import load_books
from weights_pipeline.ledger import load_sources
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.freshness import book_freshness, ledger_freshness, live_freshness
from weights_pipeline.settings import Settings
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace

NEW_YORK = ZoneInfo("America/New_York")
MONTHS = ["2012-01-01", "2012-02-01", "2012-03-01", "2012-04-01", "2012-05-01"]
READ = ("trade_ledger", "open_lots")
COMPARED = ("comparison", "walk_forward_windows", "walk_forward_weights", "walk_forward_returns")


def at(text, zone=NEW_YORK):
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.fixture(scope="module")
def ended(small_data, tmp_path_factory):
    """The small data with a comparison."""
    data = shutil.copytree(small_data, tmp_path_factory.mktemp("ended") / "data")
    shutil.copytree(DATA / "comparisons", data / "comparisons")
    methods = {name: {"method": {"kind": name}} for name in ("sharpe_tilt", "calmar_tilt")}
    edit_yaml(data / "comparisons" / "methods.yaml", book=BOOK, methods=methods)
    return data


@pytest.fixture(scope="module")
def data(ended, tmp_path_factory):
    """The same with a ledger that goes on."""
    data = shutil.copytree(ended, tmp_path_factory.mktemp("open") / "data")
    ledger = data / "ledgers" / "sample.yaml"
    content = yaml.safe_load(ledger.read_text())
    content.pop("last_month")
    ledger.write_text(yaml.safe_dump(content))
    return data


@pytest.fixture(scope="module")
def history(ended, tmp_path_factory):
    return build_definitions(Workspace(Settings(data=ended, home=tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="module")
def definitions(data, tmp_path_factory):
    return build_definitions(Workspace(Settings(data=data, home=tmp_path_factory.mktemp("home"))))


class Day:
    """An instance, what has been materialised on it, and the sensor's ticks."""

    def __init__(self, definitions, instance):
        self.definitions, self.instance, self.cursor = definitions, instance, None

    def made(self, *names, months=MONTHS, schema=LEDGER):
        keys = [dg.AssetKey([schema, name]) for name in names]
        partitioned = self.definitions.resolve_asset_graph().get(keys[0]).is_partitioned
        for key in keys:
            for month in months if partitioned else [None]:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=month))

    def everything(self):
        self.made(*READ, "strategy_returns", "market_regime")
        self.made("rejected_lots", "ledger_files")
        graph = self.definitions.resolve_asset_graph()
        of_book = [key.path[1] for key in graph.materializable_asset_keys if key.path[0] == BOOK]
        self.made(*(name for name in of_book if name != "live_weights"), schema=BOOK)
        self.made("live_weights", schema=BOOK)
        self.made(*COMPARED, schema="methods")

    def tick(self, now=None):
        """Partitions asked for, by asset; None stands for an asset without them."""
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor, evaluation_time=now
        )
        self.cursor = result.cursor
        asked = {each.key: result.get_requested_partitions(each.key) for each in result.results}
        return {key.to_user_string(): sorted(keys, key=str) for key, keys in asked.items() if keys}


@pytest.fixture
def day(history, instance):
    return Day(history, instance)


RETURNS = f"{LEDGER}/strategy_returns"


def test_corrected_month_brings_later_returns_along_then_the_comparison_and_no_weight(day):
    day.everything()
    assert day.tick() == {}
    day.made(*READ, months=["2012-03-01"])
    assert day.tick() == {RETURNS: MONTHS[2:]}
    assert day.tick() == {}
    day.made("strategy_returns", months=MONTHS[2:])
    assert day.tick() == {f"methods/{name}": [None] for name in COMPARED}
    day.made(*COMPARED, schema="methods")
    assert day.tick() == {}


def test_month_read_together_with_its_returns_leaves_only_later_months_to_follow(day):
    day.everything()
    day.tick()
    day.made(*READ, "strategy_returns", months=["2012-03-01"])
    assert day.tick()[RETURNS] == MONTHS[3:]


def test_daily_reading_leaves_nothing_of_the_ledger_to_follow(day):
    day.everything()
    day.tick()
    day.made(*READ, "strategy_returns", months=MONTHS[3:])
    assert RETURNS not in day.tick()


def test_second_correction_is_followed_while_the_first_is_not_done(day):
    day.everything()
    day.tick()
    day.made(*READ, months=["2012-04-01"])
    day.tick()
    day.made(*READ, months=["2012-02-01"])
    assert day.tick() == {RETURNS: MONTHS[1:]}


def test_nothing_is_asked_for_at_first_nor_for_the_first_time(day):
    assert day.tick() == {}
    day.made(*READ)
    assert day.tick() == {}
    day.made("strategy_returns", months=MONTHS[:2])
    assert day.tick() == {}
    day.made(*READ, months=["2012-01-01"])
    assert day.tick() == {RETURNS: MONTHS[:2]}


def test_nothing_is_asked_for_by_time_passing(definitions, instance):
    day = Day(definitions, instance)
    day.everything()
    now = dt.datetime.now(dt.UTC)
    assert [day.tick(now + dt.timedelta(days=days)) for days in (0, 1, 40, 400)] == [{}] * 4


def test_what_is_under_way_is_waited_for(day):
    day.everything()
    day.tick()
    job = day.definitions.resolve_job_def(LEDGER)
    day.made(*READ, months=["2012-03-01"])
    edges = {f"dagster/asset_partition_range_{edge}": "2012-04-01" for edge in ("start", "end")}
    run = day.instance.create_run_for_job(job, tags=edges, status=dg.DagsterRunStatus.STARTED)
    assert day.tick() == {RETURNS: ["2012-03-01"]}
    day.instance.report_run_canceled(run)
    assert day.tick() == {RETURNS: ["2012-04-01", "2012-05-01"]}


def test_only_returns_and_comparisons_follow(definitions):
    graph = definitions.resolve_asset_graph()
    following = {key for key in graph.materializable_asset_keys if graph.get(key).automation_condition is not None}
    of_comparison = {key for key in graph.materializable_asset_keys if key.path[0] == "methods"}
    assert following == {dg.AssetKey([LEDGER, "strategy_returns"])} | of_comparison
    assert len(of_comparison) == 4


def test_sensor_is_on_and_leaves_none_to_the_default_one(definitions):
    [sensor] = [
        each
        for each in definitions.get_repository_def().sensor_defs
        if isinstance(each, dg.AutomationConditionSensorDefinition)
    ]
    assert (sensor.name, sensor.default_status) == ("follow_ledger", dg.DefaultSensorStatus.RUNNING)


def judged(definitions, instance, key, made, now):
    """Freshness of an asset that was materialised at one instant, looked at from another."""
    with freeze_time(made.astimezone(dt.UTC)):
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=None))
    node = definitions.resolve_asset_graph().get(key)
    with freeze_time(now.astimezone(dt.UTC)):
        state = CronFreshnessPolicyEvaluator().evaluate_freshness(LoadingContextForTest(instance), node)
        return asyncio.run(state).value


@pytest.mark.parametrize(
    ("name", "made", "now", "state"),
    [
        # A Friday's reading holds over the weekend, and is late on Monday from six on.
        ("sample_ledger/trade_ledger", "2026-03-06T05:31", "2026-03-08T23:00", "PASS"),
        ("sample_ledger/trade_ledger", "2026-03-06T05:31", "2026-03-09T05:59", "PASS"),
        ("sample_ledger/trade_ledger", "2026-03-06T05:31", "2026-03-09T06:01", "FAIL"),
        ("sample_ledger/strategy_returns", "2026-03-09T00:10", "2026-03-09T06:01", "PASS"),
        ("sample_ledger/strategy_returns", "2026-03-08T23:50", "2026-03-09T06:01", "FAIL"),
        # Clocks went forward on 8 March: the book is due at seven by the wall.
        ("calmar_core/final_weights", "2026-03-01T06:31", "2026-04-01T06:59", "PASS"),
        ("calmar_core/final_weights", "2026-03-01T06:31", "2026-04-01T07:01", "FAIL"),
        ("calmar_core/weight_history", "2026-04-01T00:05", "2026-04-30T23:00", "PASS"),
        ("calmar_core/live_weights", "2026-03-07T04:01", "2026-03-08T04:29", "PASS"),
        ("calmar_core/live_weights", "2026-03-07T04:01", "2026-03-08T04:31", "FAIL"),
    ],
)
def test_what_a_schedule_makes_is_late_half_an_hour_after_its_tick(definitions, instance, name, made, now, state):
    assert judged(definitions, instance, dg.AssetKey(name.split("/")), at(made), at(now)) == state


def test_finished_history_is_never_late(history):
    graph = history.resolve_asset_graph()
    assert [key for key in graph.materializable_asset_keys if graph.get(key).freshness_policy] == []


def test_everything_that_a_schedule_makes_of_a_ledger_that_goes_on_is_due(definitions):
    graph = definitions.resolve_asset_graph()
    due = {key for key in graph.materializable_asset_keys if graph.get(key).freshness_policy}
    assert due == {key for key in graph.materializable_asset_keys if key.path[0] in (LEDGER, BOOK)}


@pytest.fixture(scope="module")
def source(data):
    return load_sources(data / "ledgers", load_books(data / "books").values())["sample"]


@pytest.mark.parametrize(
    ("cadence", "cron", "since"),
    [
        ({"kind": "monthly"}, "0 7 1 * *", "7:00:00"),
        ({"kind": "monthly", "day": 5, "time": "07:15"}, "45 7 5 * *", "4 days, 7:45:00"),
        ({"kind": "monthly", "day": 28, "time": "23:45"}, "15 0 29 * *", "28 days, 0:15:00"),
        ({"kind": "quarterly", "day": 2}, "0 7 2 1,4,7,10 *", "1 day, 7:00:00"),
        ({"kind": "weekly", "weekday": "sunday", "time": "18:00"}, "30 18 * * 0", "0:30:00"),
        ({"kind": "weekly", "weekday": "monday", "time": "02:00"}, "30 2 * * 1", "0:30:00"),
        ({"kind": "weekly", "weekday": "saturday", "time": "23:59"}, "29 0 * * 0", "0:30:00"),
    ],
)
def test_deadline_of_a_book_follows_its_cadence(data, source, cadence, cron, since):
    book = load_books(data / "books")[BOOK]
    book = type(book).model_validate(book.model_dump() | {"cadence": cadence})
    policy = book_freshness(book, source, catalog.TARGET_WEIGHTS)
    assert (policy.deadline_cron, policy.timezone) == (cron, "America/New_York")
    assert str(policy.lower_bound_delta) == since
    daily = book_freshness(book, source, catalog.DAILY_WEIGHTS)
    assert daily.deadline_cron.endswith("* * 1-5")
    assert daily.lower_bound_delta <= dt.timedelta(days=1)


def test_a_book_that_counts_sessions_is_late_after_its_longest_period(data, source):
    cadence = {"kind": "sessions", "every": 10, "time": "17:00"}
    book = load_books(data / "books")[BOOK]
    book = type(book).model_validate(book.model_dump() | {"cadence": cadence})
    policy = book_freshness(book, source, catalog.TARGET_WEIGHTS)
    assert policy.fail_window.to_timedelta() == book.cadence.longest + dt.timedelta(minutes=30)


def test_deadlines_are_in_the_zone_of_exchange_and_book(data, source):
    book = load_books(data / "books")[BOOK].model_copy(update={"timezone": "Asia/Tokyo"})
    tokyo = source.model_copy(update={"calendar": "XTKS"})
    ledger, live = ledger_freshness(tokyo), live_freshness(book, source)
    assert (ledger.deadline_cron, ledger.timezone) == ("0 6 * * 1-5", "Asia/Tokyo")
    assert (live.deadline_cron, live.timezone) == ("30 4 * * *", "Asia/Tokyo")
