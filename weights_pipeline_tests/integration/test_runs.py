"""Real materialisations: ranges, single months, re-runs, gaps, corrections, the future."""

import datetime as dt
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, LEDGER, cut_ledger, edit_rows, edit_yaml, open_ended
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.runs import RangeError
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.desk import BOOK_TABLES


def test_every_partition_of_every_table_is_there(finished):
    months = [f"{m:%Y-%m-%d}" for m in pd.date_range("2012-01-01", "2013-06-01", freq="MS")]
    keys = finished.hashes()
    assert sorted({key for *_, key in keys}) == months
    assert len(keys) == 13 * len(months)


def test_stored_hash_is_that_of_the_stored_rows(finished):
    from weights_pipeline.tables.contract import content_hashes, prepare
    from weights_pipeline_tests.support.small_table import month

    for schema, table in BOOK_TABLES:
        records = finished.store.partitions(schema, table.name)
        windows = [month(key) for key in records]
        stored = prepare(finished.store.read(schema, table), table, windows)
        assert content_hashes(stored, table, list(records)) == {
            key: (record.rows, record.content_hash) for key, record in records.items()
        }


def test_month_by_month_and_again_gives_the_bytes_of_one_range(finished, small_data, desk):
    other = desk(small_data)
    other.fill("2012-01", "2012-02")
    other.fill("2012-03")
    other.fill("2012-02", "2012-04")
    assert other.hashes() == finished.hashes(until="2012-04-01")


def test_gap_in_the_recursion_is_an_error_that_names_the_partition(small_data, desk):
    other = desk(small_data)
    other.done("2012-01")
    report = other.run("2012-03")
    assert not report.success
    assert any("2012-02-01" in error and "missing" in error for error in report.errors), report.errors
    assert "2012-03-01" not in other.store.partitions(BOOK, "realized_weights")


def test_recursion_refuses_to_start_in_the_middle(finished, small_data, desk):
    other = desk(small_data, like=finished)
    with other.store.writing() as connection:
        connection.execute(
            "DELETE FROM store.partitions WHERE table_name = 'realized_weights' AND partition_key = '2012-03-01'"
        ).fetchall()
    report = other.run("2012-04")
    assert not report.success
    assert any("realized_weights" in error and "2012-03-01 missing" in error for error in report.errors), report.errors


@pytest.mark.parametrize("end", ["2012-04-01", "2012-12-01"])
def test_weights_do_not_change_when_the_future_is_taken_away(finished, own_data, desk, end):
    last = f"{pd.Timestamp(end) - pd.offsets.MonthBegin():%Y-%m-%d}"
    cut_ledger(own_data, end)
    blind = desk(own_data)
    blind.fill("2012-01", last[:7])
    assert blind.hashes() == finished.hashes(until=last)


def test_weights_do_not_change_when_the_future_is_perturbed(finished, own_data, desk):
    def worse(row):
        if row["closed_at"][:10] >= "2012-09-01" and row["pnl"]:
            row["pnl"] = str(float(row["pnl"]) - 5000)
        return row

    for file in (own_data / "sample" / "lots").glob("*.csv"):
        edit_rows(file, worse)
    other = desk(own_data)
    other.fill("2012-01", "2012-09")
    assert other.hashes(until="2012-08-01") == finished.hashes(until="2012-08-01")
    ours, theirs = (d.store.read(BOOK, catalog.REALIZED_WEIGHTS, ["2012-09-01"])["realized"] for d in (other, finished))
    assert not np.array_equal(ours, theirs)


def test_correction_is_reported_as_late_and_rerun_gives_what_a_first_run_would(finished, own_data, desk):
    corrected = desk(own_data, like=finished)
    changed = []

    def double_one(row):
        if row["strategy"] == "rsi2" and row["closed_at"][:7] == "2012-10" and not changed:
            changed.append(row["lot_id"])
            row["pnl"] = str(float(row["pnl"]) + 40_000)
        return row

    for file in sorted((own_data / "sample" / "lots").glob("*.csv")):
        edit_rows(file, double_one)
    before = corrected.hashes()
    report = corrected.done("2013-06")
    late = [c for c in report.checks if c.name == "no_late_lots"]
    assert len(late) == 1
    assert not late[0].passed
    assert "2012-10-01" in late[0].summary
    corrected.done("2012-10", "2013-06")
    fresh = desk(own_data)
    fresh.fill("2012-01", "2012-11")
    after = fresh.hashes()
    assert corrected.hashes(until="2012-11-01") == after
    differing = {key for key, value in after.items() if before[key] != value}
    assert min(key for *_, key in differing) == "2012-10-01"
    assert (BOOK, "realized_weights", "2012-11-01") in differing


def test_a_lot_moved_to_another_month_does_not_stay_in_both(finished, own_data, desk):
    moved = desk(own_data, like=finished)
    lots = moved.store.read(LEDGER, catalog.TRADE_LEDGER)
    chosen = lots[(lots["source"] == "lots") & (lots["session"] == "2013-03-12")]["lot_id"].iloc[0]

    def later(row):
        if row["lot_id"] == chosen:
            row["closed_at"] = row["closed_at"].replace("2013-03-12", "2013-05-14")
        return row

    for file in (own_data / "sample" / "lots").glob("*.csv"):
        edit_rows(file, later)
    report = moved.run("2013-05", "2013-06")
    duplicates = [c for c in report.checks if c.name == "lots_unique"]
    assert not duplicates[0].passed
    assert not report.success
    moved.fill("2013-03", "2013-06")
    fresh = desk(own_data, like=finished)
    fresh.forget(LEDGER)
    fresh.forget(BOOK, since="2013-03-01")
    fresh.job(LEDGER, "2012-01-01", "2013-06-01")
    fresh.job(BOOK, "2013-03-01", "2013-06-01", checks=False)
    assert moved.hashes() == fresh.hashes()


def test_strategies_may_join_and_leave_a_book(finished, own_data, desk):
    changing = desk(own_data, like=finished)
    strategies = dict(changing.book.strategies)
    weight = strategies.pop("rsi2")
    strategies["newcomer"] = weight
    overlay = {"enabled": True, "profile": "low", "lag": 1}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", strategies=strategies, starter_metrics=None, overlay=overlay)
    report = changing.done("2012-07", "2013-06")
    weights = changing.store.read(BOOK, catalog.REALIZED_WEIGHTS)
    july = weights[weights["as_of"] == "2012-07-31"].set_index("strategy")
    assert july.loc["newcomer", "entered"]
    assert july["entered"].sum() == 1
    assert "rsi2" not in july.index
    assert july["realized"].sum() == pytest.approx(1, abs=1e-12)
    recurrence = [c for c in report.checks if c.name == "recurrence"]
    assert recurrence[0].passed


def test_scalar_follows_the_portfolio_and_is_applied_with_a_lag(finished):
    final = finished.store.read(BOOK, catalog.FINAL_WEIGHTS)
    scalars = finished.store.read(BOOK, catalog.RISK_SCALAR).set_index("session")["scalar"]
    assert (final.loc[final["effective_from"] <= scalars.index[0], "scalar"] == 1).all()
    known = final[final["scalar_session"].notna()]
    assert len(known)
    assert (known["scalar_session"] < known["effective_from"]).all()
    assert (known["scalar_session"] == known["as_of"]).all()
    assert np.array_equal(known["scalar"], scalars[known["scalar_session"]])
    assert np.array_equal(known["final"], known["realized"] * known["scalar"])


def test_overlay_that_is_off_is_computed_and_not_applied(finished, own_data, desk):
    book = own_data / "books" / f"{BOOK}.yaml"
    edit_yaml(book, overlay={"enabled": False, "profile": "low", "lag": 1})
    off = desk(own_data, like=finished)
    off.forget(BOOK)
    off.job(BOOK, "2012-01-01", "2012-09-01", checks=False)
    final = off.store.read(BOOK, catalog.FINAL_WEIGHTS)
    assert np.array_equal(final["final"], final["realized"])
    assert (final["scaled"] != final["realized"]).any()
    assert not final["applied"].any()


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2011-12", None, "2011-12 is not a month of book calmar_core; months run from 2012-01 to 2013-06"),
        ("2012-13", None, "write YYYY-MM"),
        ("2012-05", "2012-04", "2012-05 is after 2012-04"),
        ("2012-01", "2013-07", "2013-07 is not a month"),
    ],
)
def test_ranges_that_are_not_months_of_the_book(small_data, desk, first, last, message):
    with pytest.raises(RangeError, match=message):
        desk(small_data).run(first, last)


def test_a_gate_stops_weights_that_break_a_cap_before_they_are_written(finished, small_data, desk, monkeypatch):
    other = desk(small_data, like=finished)
    before = other.hashes()
    from weights_pipeline.orchestration.assets import weights as module

    real = module.realized_table

    def breaks(*args, **kwargs):
        table = real(*args, **kwargs)
        table.loc[table.index[0], "realized"] = 0.9
        return table

    monkeypatch.setattr(module, "realized_table", breaks)
    report = other.run("2012-02")
    assert not report.success
    assert any("above its cap" in error for error in report.errors), report.errors
    assert other.hashes() == before


def test_open_month_grows_and_does_not_count_until_it_has_ended(finished, own_data, desk, instance, monkeypatch):
    """The ledger is read in the middle of May, again in June; a book may only compute on May after the latter."""
    open_ended(own_data)
    own = desk(own_data, like=finished)
    own.forget(LEDGER)
    own.forget(BOOK, since="2013-05-01")
    store, definitions = own.store, build_definitions(own.workspace)

    def run(job, first, last, now):
        moment = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
        for module in ("weights_pipeline.orchestration.io_manager", "weights_pipeline.orchestration.assets.ledger"):
            monkeypatch.setattr(f"{module}.run_instant", lambda *_: moment)
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return definitions.resolve_job_def(job).execute_in_process(instance=instance, tags=tags, raise_on_error=False)

    assert run("sample_ledger", "2012-01-01", "2013-05-01", "2013-05-15T12:00").success
    returns = store.read(LEDGER, catalog.STRATEGY_RETURNS)
    assert returns["session"].max() == pd.Timestamp("2013-05-14")
    open_lots = store.read(LEDGER, catalog.OPEN_LOTS)
    assert open_lots["snapshot"].max() == pd.Timestamp("2013-05-14")
    assert run("sample_ledger", "2013-05-01", "2013-06-01", "2013-06-01T09:30").success
    assert store.read(LEDGER, catalog.STRATEGY_RETURNS)["session"].max() == pd.Timestamp("2013-05-31")
    before = store.read(LEDGER, catalog.STRATEGY_RETURNS, ["2013-05-01"])
    pd.testing.assert_frame_equal(
        before[before["session"] <= "2013-05-14"].reset_index(drop=True),
        returns[returns["session"] >= "2013-05-01"].reset_index(drop=True),
    )
    assert run(BOOK, "2013-05-01", "2013-05-01", "2013-06-01T10:30").success
    refused = run(BOOK, "2013-06-01", "2013-06-01", "2013-07-01T10:30")
    assert not refused.success
    errors = [e.step_failure_data.error.to_string() for e in refused.all_events if e.is_step_failure]
    assert any("2013-06-01 was written before the sessions needed of it were over" in error for error in errors)


KILLED = """
import os, signal, sys
from pathlib import Path
import dagster as dg
from weights_pipeline.orchestration.runs import materialise
from weights_pipeline.settings import Settings
from weights_pipeline.store import duckdb_store

data, home, fatal, inside = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "inside"
writes = 0
insert, write = duckdb_store._insert, duckdb_store.DuckDBStore.write

def dying_insert(*args):
    insert(*args)
    if writes == fatal and inside:
        os.kill(os.getpid(), signal.SIGKILL)

def dying_write(*args, **kwargs):
    global writes
    writes += 1
    records = write(*args, **kwargs)
    if writes == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return records

duckdb_store._insert, duckdb_store.DuckDBStore.write = dying_insert, dying_write
with dg.DagsterInstance.ephemeral() as instance:
    materialise(Workspace(Settings(data=data, home=home)), "calmar_core", "2012-01", "2012-03", instance=instance)
"""


@pytest.mark.parametrize(("fatal", "where"), [(2, "inside"), (11, "after")])
def test_killed_in_the_middle_and_run_again_gives_an_undisturbed_history(finished, small_data, desk, fatal, where):
    other = desk(small_data)
    arguments = [str(small_data), str(other.settings.home), str(fatal), where]
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    partial = other.hashes()
    whole = finished.hashes(until="2012-03-01")
    assert partial.items() < whole.items()
    other.fill("2012-01", "2012-03")
    assert other.hashes() == whole
