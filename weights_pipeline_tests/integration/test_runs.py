"""Real materialisations: ranges, single months, re-runs, gaps, corrections, the future."""

import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, LEDGER, edit_rows, edit_yaml, open_ended
from weights_pipeline.checks import book_checks
from weights_pipeline.core import shards
from weights_pipeline.orchestration.runs import RangeError
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.by_library import assert_stored, tables_of
from weights_pipeline_tests.support.desk import BOOK_TABLES, clock_at


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


def test_gap_in_the_recursion_is_an_error_that_names_the_partition(finished, small_data, desk):
    other = desk(small_data, like=finished)
    other.forget(BOOK, since="2012-02-01")
    result = other.try_job(BOOK, "2012-03-01", checks=False)
    errors = other.errors(result)
    assert any("2012-02-01" in error and "missing" in error for error in errors), errors
    assert "2012-03-01" not in other.store.partitions(BOOK, "realized_weights")


def test_recursion_refuses_to_start_in_the_middle(finished, small_data, desk):
    other = desk(small_data, like=finished)
    with other.store.writing() as connection:
        connection.execute(
            "DELETE FROM store.partitions WHERE table_name = 'realized_weights' AND partition_key = '2012-03-01'"
        ).fetchall()
    errors = other.errors(other.try_job(BOOK, "2012-04-01", checks=False))
    assert any("realized_weights" in error and "2012-03-01 missing" in error for error in errors), errors


def evaluations(result):
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_a_correction_of_an_earlier_month_is_reported_as_late(finished, own_data, desk):
    corrected = desk(own_data, like=finished)
    lots = own_data / "sample" / "lots" / "2012_2015.csv"
    changed = []

    def double_one(row):
        if row["strategy"] == "rsi2" and row["closed_at"][:7] == "2012-10" and not changed:
            changed.append(row["lot_id"])
            row["pnl"] = str(float(row["pnl"]) + 40_000)
        return row

    edit_rows(lots, double_one)
    late = evaluations(corrected.try_job(LEDGER, "2013-06-01"))["no_late_lots"]
    assert not late.passed
    assert "2012-10-01" in late.description


def test_a_lot_moved_to_another_month_does_not_stay_in_both(finished, own_data, desk, monkeypatch):
    # A few rows at a time, as ledgers of millions of lots are written.
    monkeypatch.setattr(shards, "AT_ONCE", 50)
    moved = desk(own_data, like=finished)
    lots = moved.store.read(LEDGER, catalog.TRADE_LEDGER)
    chosen = lots[(lots["source"] == "lots") & (lots["session"] == "2013-03-12")]["lot_id"].iloc[0]

    def later(row):
        if row["lot_id"] == chosen:
            row["closed_at"] = row["closed_at"].replace("2013-03-12", "2013-05-14")
        return row

    for file in (own_data / "sample" / "lots").glob("*.csv"):
        edit_rows(file, later)
    result = moved.try_job(LEDGER, "2013-05-01", "2013-06-01")
    assert not evaluations(result)["lots_unique"].passed
    assert not result.success
    moved.job(LEDGER, "2013-03-01", "2013-06-01", checks=False)
    assert_stored(moved.store, tables_of(own_data), [LEDGER])


def test_strategies_may_join_and_leave_a_book(finished, own_data, desk):
    changing = desk(own_data, like=finished)
    strategies = dict(changing.book.strategies)
    weight = strategies.pop("rsi2")
    strategies["newcomer"] = weight
    overlay = {"enabled": True, "profile": "low", "lag": 1}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", strategies=strategies, starter_metrics=None, overlay=overlay)
    changing.forget(BOOK, since="2012-07-01")
    changing.job(BOOK, "2012-07-01", "2012-08-01", checks=False)
    weights = changing.store.read(BOOK, catalog.REALIZED_WEIGHTS)
    july = weights[weights["as_of"] == "2012-07-31"].set_index("strategy")
    assert july.loc["newcomer", "entered"]
    assert july["entered"].sum() == 1
    assert "rsi2" not in july.index
    assert july["realized"].sum() == pytest.approx(1, abs=1e-12)
    recurrence = next(check for check in book_checks(changing.setup) if check.name == "recurrence")
    assert recurrence.run(changing.store).passed


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
    errors = other.errors(other.try_job(BOOK, "2012-02-01", checks=False))
    assert any("above its cap" in error for error in errors), errors
    assert other.hashes() == before


def test_open_month_grows_and_does_not_count_until_it_has_ended(finished, own_data, desk):
    """The ledger is read in the middle of May, again in June; a book may only compute on May after the latter."""
    open_ended(own_data)
    own = desk(own_data, like=finished)
    own.forget(LEDGER, since="2013-05-01")
    own.forget(BOOK, since="2013-05-01")
    store = own.store
    with clock_at("2013-05-15T12:00+00:00"):
        own.job(LEDGER, "2013-05-01", checks=False)
    returns = store.read(LEDGER, catalog.STRATEGY_RETURNS, ["2013-05-01"])
    assert returns["session"].max() == pd.Timestamp("2013-05-14")
    open_lots = store.read(LEDGER, catalog.OPEN_LOTS)
    assert open_lots["snapshot"].max() == pd.Timestamp("2013-05-14")
    with clock_at("2013-06-01T09:30+00:00"):
        own.job(LEDGER, "2013-05-01", "2013-06-01", checks=False)
    assert store.read(LEDGER, catalog.STRATEGY_RETURNS)["session"].max() == pd.Timestamp("2013-05-31")
    whole = store.read(LEDGER, catalog.STRATEGY_RETURNS, ["2013-05-01"])
    pd.testing.assert_frame_equal(whole[whole["session"] <= "2013-05-14"].reset_index(drop=True), returns)
    with clock_at("2013-06-01T10:30+00:00"):
        own.job(BOOK, "2013-05-01", checks=False)
    with clock_at("2013-07-01T10:30+00:00"):
        errors = own.errors(own.try_job(BOOK, "2013-06-01", checks=False))
    assert any("2013-06-01 was written before the sessions needed of it were over" in error for error in errors), errors


KILLED = """
import os, signal, sys
from pathlib import Path
import dagster as dg
from weights_pipeline.orchestration.runs import materialise
from weights_pipeline.settings import Settings
from weights_pipeline.store import duckdb_store
from weights_pipeline.workspace import Workspace

data, home, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
writes = 0
replace = duckdb_store._replace

def dying_replace(*args):
    global writes
    writes += 1
    replace(*args)
    if writes == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

duckdb_store._replace = dying_replace
with dg.DagsterInstance.ephemeral() as instance:
    materialise(Workspace(Settings(data=data, home=home)), "calmar_core", "2012-01", "2012-02", instance=instance)
"""


def test_killed_in_the_middle_and_run_again_by_month_and_by_range_gives_the_bytes_of_one_range(
    finished, small_data, desk
):
    other = desk(small_data)
    arguments = [str(small_data), str(other.settings.home), "11"]
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    partial, whole = other.hashes(), finished.hashes(until="2012-02-01")
    assert {} != partial.items() < whole.items()
    other.fill("2012-01")
    other.fill("2012-02")
    assert other.hashes() == whole
    # What is stored of a range itself is no part of what it continues from.
    other.job(BOOK, "2012-01-01", "2012-02-01", checks=False)
    assert other.hashes() == whole
