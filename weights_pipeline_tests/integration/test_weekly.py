"""Weekly books on a ledger of months: what a week sees, ranges and single weeks, open months, ensembles."""

import datetime as dt
import shutil
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.support.data import DATA, LEDGER, WEEKLY_BOOKS, edit_yaml, open_ended
from weights_pipeline.books.load import load_book, load_books
from weights_pipeline.checks import book_checks, ledger_checks
from weights_pipeline.ledger import LedgerError, calendar_sessions, load_ledger_source, session_closes
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.partitions import book_partitions
from weights_pipeline.orchestration.runs import RangeError
from weights_pipeline.settings import Settings
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.desk import clock_at

SHARPE, ENSEMBLE = WEEKLY_BOOKS
BOTH = pytest.mark.parametrize("book", WEEKLY_BOOKS)


def weeks_of(name, data=DATA):
    book = load_book(data / "books" / f"{name}.yaml")
    return book_partitions(book, load_ledger_source(data / "ledgers" / "sample.yaml"))


@pytest.mark.parametrize(
    ("book", "zone", "end"), [(SHARPE, "America/New_York", "Sunday 18:00"), (ENSEMBLE, "UTC", "Monday 02:00")]
)
def test_weeks_end_at_the_local_time_of_the_book_across_clock_changes(book, zone, end):
    weeks = weeks_of(book)
    windows = [weeks.time_window_for_partition_key(key) for key in weeks.get_partition_keys()]
    assert {window.end.astimezone(ZoneInfo(zone)).strftime("%A %H:%M") for window in windows} == {end}
    hours = {(w.end.astimezone(dt.UTC) - w.start.astimezone(dt.UTC)) / dt.timedelta(hours=1) for w in windows}
    assert hours == ({167, 168, 169} if zone == "America/New_York" else {168})


@BOTH
def test_a_week_sees_the_sessions_that_had_closed_by_its_end(finished_weekly, book):
    final = finished_weekly.store.read(book, catalog.FINAL_WEIGHTS)
    weeks = weeks_of(book)
    closes = session_closes("XNYS", dt.date(2012, 1, 1), dt.date(2013, 1, 31))
    keys = sorted(finished_weekly.store.partitions(book, "final_weights"))
    assert len(keys) == final["as_of"].nunique() >= 51
    ends = [weeks.time_window_for_partition_key(key).end.astimezone(dt.UTC).replace(tzinfo=None) for key in keys]
    expected = [closes.index[closes <= end][-1] for end in ends]
    assert sorted(final["as_of"].unique()) == expected
    sessions = calendar_sessions("XNYS", dt.date(2012, 1, 1), dt.date(2013, 1, 31))
    after = [sessions[sessions > as_of][0] for as_of in expected]
    assert sorted(final["effective_from"].unique()) == after
    assert all(closes[date] > end for date, end in zip(after, ends, strict=True))


def test_every_check_holds(finished_weekly):
    once, setups = ReadOnce(finished_weekly.store), [finished_weekly.workspace.setup(name) for name in WEEKLY_BOOKS]
    checks = [*ledger_checks(setups[0].source, setups), *(check for setup in setups for check in book_checks(setup))]
    with once.view():
        findings = {check: check.run(once) for check in checks}
    assert [check for check, finding in findings.items() if check.error and not finding.passed] == []


def test_a_week_alone_and_again_in_a_range_gives_the_bytes_of_one_range(finished_weekly, weekly_data, desk):
    other, book = desk(weekly_data, like=finished_weekly), ENSEMBLE
    first, last = sorted(finished_weekly.store.partitions(book, "final_weights"))[-2:]
    other.forget(book, since=first)
    other.job(book, first, checks=False)
    other.job(book, first, last, checks=False)
    assert other.hashes(book=book) == finished_weekly.hashes(book=book)


def test_a_week_in_an_open_month(finished_weekly, weekly_data, tmp_path, desk):
    """The ledger is read on Friday at noon and on Sunday morning; the week may only be computed after the latter."""
    book, week, end = SHARPE, "2012-05-06", "2012-05-13T18:00-04:00"
    data = shutil.copytree(weekly_data, tmp_path / "open")
    open_ended(data)
    own = desk(data, like=finished_weekly)
    own.forget(LEDGER, since="2012-05-01")
    own.forget(book, since=week)
    with clock_at("2012-05-11T12:00-04:00"):
        own.job(LEDGER, "2012-05-01", checks=False)
    with clock_at(end):
        errors = own.errors(own.try_job(book, week, checks=False))
    assert any("2012-05-01 was written before the sessions needed of it were over" in error for error in errors), errors
    assert week not in own.store.partitions(book, "final_weights")
    with clock_at("2012-05-13T05:30-04:00"):
        own.job(LEDGER, "2012-05-01", checks=False)
    assert own.store.read(LEDGER, catalog.STRATEGY_RETURNS)["session"].max() == pd.Timestamp("2012-05-11")
    with clock_at(end):
        own.job(book, week, checks=False)
    assert own.hashes(book=book) == finished_weekly.hashes(until=week, book=book)


def test_overlay_that_is_off_is_computed_and_not_applied(finished_weekly):
    final = finished_weekly.store.read(SHARPE, catalog.FINAL_WEIGHTS)
    assert np.array_equal(final["final"], final["realized"])
    assert (final["scaled"] != final["realized"]).any()
    assert not final["applied"].any()


def tick(definitions, name, when):
    context = dg.build_schedule_context(scheduled_execution_time=when, repository_def=definitions.get_repository_def())
    return definitions.resolve_schedule_def(name).evaluate_tick(context)


@pytest.mark.parametrize(
    ("name", "cron", "when", "partition"),
    [
        # The clocks went forward on 8 March 2026 and go back on 1 November.
        (SHARPE, "0 18 * * 0", "2026-03-08T18:00-04:00", "2026-03-01"),
        (SHARPE, "0 18 * * 0", "2026-03-15T18:00-04:00", "2026-03-08"),
        (SHARPE, "0 18 * * 0", "2026-11-01T18:00-05:00", "2026-10-25"),
        (SHARPE, "0 18 * * 0", "2026-01-04T18:00-05:00", "2025-12-28"),
        (ENSEMBLE, "0 2 * * 1", "2026-03-09T02:00+00:00", "2026-03-02"),
        (ENSEMBLE, "0 2 * * 1", "2026-11-02T02:00+00:00", "2026-10-26"),
    ],
)
def test_weekly_schedules_tick_for_the_week_that_has_just_ended(
    weekly_data, tmp_path, monkeypatch, name, cron, when, partition
):
    monkeypatch.setattr("weights_pipeline.orchestration.schedules.require_ready", lambda *_, **__: None)
    data = shutil.copytree(weekly_data, tmp_path / "open")
    open_ended(data)
    definitions = build_definitions(Workspace(Settings(data=data, home=tmp_path / "home")))
    schedule = definitions.resolve_schedule_def(f"{name}_rebalance")
    assert schedule.cron_schedule == cron
    assert schedule.execution_timezone == load_books(data / "books")[name].timezone
    moment = dt.datetime.fromisoformat(when).astimezone(ZoneInfo(schedule.execution_timezone))
    assert [request.partition_key for request in tick(definitions, f"{name}_rebalance", moment).run_requests] == [
        partition
    ]


def test_one_year_of_rebalances_leaves_the_base_weights_of_the_book(finished_weekly):
    for name in WEEKLY_BOOKS:
        book = load_books(finished_weekly.settings.data / "books")[name]
        for table in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS):
            rows = finished_weekly.store.read(name, table)
            assert (rows["base"] == rows["strategy"].map(book.strategies)).all()


def test_weight_set_of_the_current_regime_is_read_or_else_the_latest_other(finished_weekly):
    sets = finished_weekly.store.read(ENSEMBLE, catalog.ENSEMBLE_WEIGHTS)
    targets = finished_weekly.store.read(ENSEMBLE, catalog.TARGET_WEIGHTS)
    regimes = finished_weekly.store.read(LEDGER, catalog.MARKET_REGIME).set_index("session")["regime"]
    assert set(sets["weight_set"]) == {"all", "bull", "bear", "range", "neutral"}
    active = sets[sets["is_active"]]
    seen = set()
    for as_of, rows in targets.groupby("as_of"):
        known = active[active["as_of"] <= as_of]
        own = known[known["weight_set"] == regimes[as_of]]
        (chosen,) = rows["weight_set"].unique()
        if len(own):
            expected = own[own["as_of"] == own["as_of"].max()]
            assert chosen == f"{regimes[as_of]} of {expected['as_of'].iloc[0]:%Y-%m-%d}: current regime"
        elif len(known):
            expected = known[(known["as_of"] == known["as_of"].max())]
            name = next(n for n in ("all", "bull", "bear", "range", "neutral") if n in set(expected["weight_set"]))
            expected = expected[expected["weight_set"] == name]
            assert chosen.startswith(f"{name} of {expected['as_of'].iloc[0]:%Y-%m-%d}: latest other")
        else:
            assert chosen.startswith("uniform: no active set")
            seen.add("uniform")
            assert np.allclose(rows["target"], 1 / 16, rtol=0, atol=1e-15)
            continue
        seen.add(chosen.split(": ")[1][:7])
        merged = rows.merge(expected, on="strategy", suffixes=("", "_set"))
        assert (merged["target"] == merged["target_set"]).all()
    assert seen == {"uniform", "current", "latest "}


def test_every_partition_of_final_weights_carries_its_waterfall(finished_weekly):
    records = finished_weekly.instance.get_event_records(
        dg.EventRecordsFilter(
            dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key=dg.AssetKey([ENSEMBLE, "final_weights"])
        )
    )
    shown = {r.asset_materialization.partition: r.asset_materialization.metadata["waterfall"].md_str for r in records}
    assert len(shown) >= 51
    newest = shown[max(shown)]
    assert "current regime" in newest
    assert "sharpe_60d" in newest
    table = [line for line in newest.splitlines() if line.startswith("|")]
    assert len(table) == 18
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert "nan" not in "".join(shown.values())


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2012-01-03", None, "2012-01-03 is not a week of book sharpe_weekly; weeks run from 2012-01-01 to 2013-06-"),
        ("2011-12", None, "2011-12 is not a week"),
        ("2012-05", "2012-04", "2012-05 is after 2012-04"),
        ("spring", None, "write YYYY-MM"),
    ],
)
def test_ranges_that_are_not_weeks_of_the_book(weekly_data, desk, first, last, message):
    with pytest.raises(RangeError, match=message):
        desk(weekly_data).run(first, last, SHARPE)


def test_a_book_may_read_a_ledger_of_its_own(finished_weekly, weekly_data, tmp_path, desk):
    data = shutil.copytree(weekly_data, tmp_path / "two")
    other = yaml.safe_load((data / "ledgers" / "sample.yaml").read_text()) | {"name": "second"}
    del other["fills"], other["benchmark"]
    (data / "ledgers" / "second.yaml").write_text(yaml.safe_dump(other))
    edit_yaml(data / "books" / f"{SHARPE}.yaml", ledger="second")
    both = desk(data, like=finished_weekly)
    both.forget(SHARPE)
    both.job("second_ledger", "2012-01-01", checks=False)
    both.job(SHARPE, "2012-01-01", checks=False)
    assert both.hashes(book=ENSEMBLE) == finished_weekly.hashes(book=ENSEMBLE)
    lots = {schema: both.store.read(schema, catalog.TRADE_LEDGER) for schema in ("second_ledger", LEDGER)}
    assert set(lots["second_ledger"]["source"]) == {"lots"}
    assert set(lots[LEDGER]["source"]) == {"lots", "fills"}
    assert len(both.store.read("second_ledger", catalog.MARKET_REGIME)) == 0
    edit_yaml(data / "books" / f"{ENSEMBLE}.yaml", ledger="second")
    with pytest.raises(
        LedgerError, match=r"second.yaml: benchmark: book ensemble_regime keeps a weight set per market"
    ):
        both.workspace.setup(ENSEMBLE)
    edit_yaml(data / "books" / f"{ENSEMBLE}.yaml", ledger="sample", name="second_ledger")
    with pytest.raises(LedgerError, match="ledger second keeps its tables under that name"):
        both.workspace.setup("second_ledger")
