"""Restatements: what a changed ledger touches, told before anything is written, and true of what a run then stores."""

import csv
import datetime as dt
import json

import pytest

from benchmarks.support.data import BOOK, LEDGER, edit_rows, edit_yaml, open_ended
from weights_pipeline.checks import book_checks, ledger_checks
from weights_pipeline.operations.restatement import restate
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result

LOTS = "sample/lots/2012_2015.csv"
LATE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def own(finished, own_data, desk):
    """A copy of the finished desk over data that a test may change."""
    return desk(own_data, like=finished)


def lot_of(desk, month, strategy="rsi2"):
    """First lot of a strategy that was closed in a month, as the files have it."""
    with (desk.settings.data / LOTS).open(newline="") as stream:
        return next(r for r in csv.DictReader(stream) if r["strategy"] == strategy and r["closed_at"][:7] == month)


def change(desk, lot_id, **cells):
    edit_rows(desk.settings.data / LOTS, lambda row: row | cells if row["lot_id"] == lot_id else row)


def restated(desk, now=LATE):
    return restate(desk.workspace, "sample", [BOOK], now)


def printed(desk, monkeypatch, *arguments):
    monkeypatch.setenv("WEIGHTS_DATA", str(desk.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(desk.settings.home))
    return Result("restate", *arguments)


def weights(desk):
    """Realized and final weights by partition and strategy."""
    final = desk.store.read(BOOK, catalog.FINAL_WEIGHTS)
    keys = dict(zip(sorted(final["as_of"].unique()), sorted(desk.store.partitions(BOOK, "final_weights")), strict=True))
    return final.assign(key=final["as_of"].map(keys)).set_index(["key", "strategy"])[["realized", "final"]]


def test_nothing_has_changed(finished, monkeypatch):
    result = printed(finished, monkeypatch)
    assert (result.exit_code, result.errors) == (0, "")
    assert result.output == "Nothing has changed: the files of ledger sample say what is stored.\n"


def test_a_late_lot_that_a_refresh_has_read_is_told_until_the_books_are_run(own, monkeypatch):
    lot = lot_of(own, "2013-04")
    change(own, lot["lot_id"], pnl=str(float(lot["pnl"]) - 9_000))
    told = restated(own).effects
    own.job(LEDGER, "2013-04-01", "2013-06-01", checks=False)

    found = restated(own)
    assert (found.since, found.changes) == (None, ())
    [effect], [before] = found.effects, told
    assert (effect.changed, effect.largest, effect.command) == (before.changed, before.largest, before.command)
    said = "3 rebalances from 2013-04-01 on were made from another ledger than is stored, which differs from 2013-04 on"
    assert effect.remarks == (said,)
    output = printed(own, monkeypatch).output
    assert output.startswith("The files of ledger sample say what is stored, but not all weights were made from it.")
    assert f"Note: {said}.\nTo make it so: weights run --book {BOOK} --from 2013-04" in output
    checks = {check.name: check for check in [*ledger_checks(own.setup.source, [own.setup]), *book_checks(own.setup)]}
    for name in ("books_made_of_it", "made_of_stored_ledger"):
        finding = checks[name].run(own.store)
        assert not finding.passed
        assert finding.summary.endswith(f"differs from 2013-04 on: {effect.command}")

    own.job(BOOK, "2013-04-01", "2013-06-01", checks=False)
    assert restated(own).effects == ()
    assert all(checks[name].run(own.store).passed for name in ("books_made_of_it", "made_of_stored_ledger"))


def test_a_row_that_is_set_aside_since_is_told(own, monkeypatch):
    file = own.settings.data / LOTS
    lot = lot_of(own, "2013-04")
    with file.open("a") as stream:
        stream.write(",".join((lot | {"lot_id": "WORTHLESS", "quantity": "0"}).values()) + "\n")
    assert printed(own, monkeypatch).output == (
        "Nothing has changed: the files of ledger sample say what is stored.\n"
        "Rows set aside: 2 when ledger sample was read, 3 now. Its next reading lists them in "
        "sample_ledger.rejected_lots, with every reason.\n"
    )


def test_a_changed_lot_is_named_and_what_is_told_of_it_comes_true(own, monkeypatch):
    lot = lot_of(own, "2013-04")
    change(own, lot["lot_id"], pnl=str(float(lot["pnl"]) + 40_000))
    stored, before = own.store.path.read_bytes(), weights(own)
    told = printed(own, monkeypatch)
    found = json.loads(printed(own, monkeypatch, "--book", BOOK, "--json").output)[0]
    assert own.store.path.read_bytes() == stored
    [row] = found["changes"]
    assert (row["table"], row["month"], row["kind"]) == ("trade_ledger", "2013-04", "changed")
    assert row["row"] == {"lot_id": lot["lot_id"], "strategy": "rsi2"}
    assert row["values"] == {"pnl": [float(lot["pnl"]), float(lot["pnl"]) + 40_000]}
    assert found["since"] == lot["closed_at"][:10]
    assert found["returns"] == {"rsi2": 1}
    [effect] = found["effects"]
    assert effect["command"] == f"weights run --book {BOOK} --from 2013-04"
    assert (effect["rebalances"], effect["remarks"]) == (18, [])

    own.fill("2013-04", "2013-06")
    after = weights(own)
    differs = (before != after).any(axis=1)
    assert effect["changed"] == sorted(set(differs[differs].index.get_level_values("key")))
    assert effect["changed"] == ["2013-04-01", "2013-05-01", "2013-06-01"]
    newest = {move["strategy"]: (move["old"], move["new"]) for move in effect["newest"]}
    old, new = (table.loc["2013-06-01", "final"].to_dict() for table in (before, after))
    assert newest == {name: (old[name], new[name]) for name in old}
    moves = (after["final"] - before["final"]).abs()
    largest = effect["largest"]
    assert (largest["rebalance"], largest["strategy"]) == moves.idxmax()
    assert abs(largest["new"] - largest["old"]) == moves.max()

    assert told.exit_code == 0
    for text in (
        f"2013-04 changed: lot_id {lot['lot_id']}, strategy rsi2: pnl {float(lot['pnl'])} → ",
        "weights of 3 of 18 rebalances change, from 2013-04-01 to 2013-06-01",
        f"most that of {largest['strategy']} in {largest['rebalance']}, from {largest['old']:.4%} to ",
        f"To make it so: {effect['command']}\n",
    ):
        assert text in told.output
    line = next(line for line in told.output.splitlines() if line.startswith("rsi2 "))
    assert line.split()[1:3] == [f"{100 * old['rsi2']:.4f}", f"{100 * new['rsi2']:.4f}"]
    assert restated(own).since is None


def test_lots_that_came_and_went_and_moved(own):
    gone, bad, moved = (lot_of(own, month) for month in ("2012-05", "2012-07", "2012-09"))
    edit_rows(own.settings.data / LOTS, lambda row: None if row["lot_id"] == gone["lot_id"] else row)
    change(own, bad["lot_id"], quantity="0")
    change(own, moved["lot_id"], closed_at=moved["closed_at"].replace("2012-09", "2012-10"), pnl=moved["pnl"])
    with (own.settings.data / LOTS).open("a", newline="") as stream:
        csv.DictWriter(stream, list(gone), lineterminator="\n").writerow(gone | {"lot_id": "NEW-1"})
    found = restated(own)
    told = {(c.month, c.kind, c.row["lot_id"]) for c in found.changes if c.table == "trade_ledger"}
    assert told == {
        ("2012-05", "removed", gone["lot_id"]),
        ("2012-05", "added", "NEW-1"),
        ("2012-07", "removed", bad["lot_id"]),
        ("2012-09", "removed", moved["lot_id"]),
        ("2012-10", "added", moved["lot_id"]),
    }
    [removed] = [c for c in found.changes if c.kind == "removed" and c.month == "2012-05"]
    assert removed.values["pnl"] == (float(gone["pnl"]), None)
    # One lot took the place of its like, so that nothing changes before the next one.
    assert "rsi2" in found.returns
    assert found.effects[0].changed[0] >= "2012-07-01"
    assert found.effects[0].command.endswith("--from 2012-05")


def test_capital_that_changed_touches_returns_without_a_row(own, monkeypatch):
    edit_rows(
        own.settings.data / "sample" / "capital.csv",
        lambda row: row | {"capital": "1234567"} if row["strategy"] == "rsi2" else row,
    )
    told = printed(own, monkeypatch).output
    assert (
        "No row of it has: what has changed is its capital, its prices or its rates.\n"
        "Daily returns that change: 369 of rsi2." in told
    )
    assert told.endswith(f"To make it so: weights run --book {BOOK} --from 2012-01\n")


def test_what_would_change_for_other_reasons_is_said_and_left_out(own):
    lot = lot_of(own, "2013-06")
    change(own, lot["lot_id"], pnl=str(float(lot["pnl"]) + 40_000))
    plain = restated(own).effects[0]
    with own.store.writing() as connection:
        connection.execute(f"UPDATE {BOOK}.metrics SET source = 'manual' WHERE as_of = '2013-06-28'").fetchall()
    edit_yaml(own.settings.data / "books" / f"{BOOK}.yaml", adjustment={"rate": 0.2})
    other = restated(own).effects[0]
    assert plain.remarks == ()
    assert other.remarks == (
        "metrics of 2013-06-01 are overrides; run again, it is rebalanced on measured ones",
        "the weights stored from 2013-06-01 on are not those that the book as it is now gives on the ledger as it is "
        "stored; shown is the change by the ledger alone",
    )
    assert other.changed == plain.changed == ("2013-06-01",)
    # Twice the rate, twice the step; of both ledgers alike.
    for one, two in zip(plain.newest, other.newest, strict=True):
        assert two.new - two.old == pytest.approx(2 * (one.new - one.old), abs=1e-12)


def test_a_month_that_goes_on_has_not_changed_by_growing(own):
    open_ended(own.settings.data)
    with own.store.writing() as connection:
        for table in ("trade_ledger", "strategy_returns", "market_regime"):
            connection.execute(f"DELETE FROM {LEDGER}.{table} WHERE session > '2013-06-13'").fetchall()
        connection.execute(f"DELETE FROM {LEDGER}.open_lots WHERE snapshot > '2013-06-13'").fetchall()
        connection.execute(
            "UPDATE store.partitions SET recorded_at = '2013-06-14 12:00', content_hash = 'of fewer rows' "
            f"WHERE table_schema = '{LEDGER}' AND partition_key = '2013-06-01'"
        ).fetchall()
        connection.execute(f"DELETE FROM {BOOK}.final_weights WHERE as_of > '2013-06-01'").fetchall()
        connection.execute(
            f"DELETE FROM store.partitions WHERE table_schema = '{BOOK}' AND partition_key = '2013-06-01'"
        ).fetchall()
    now = dt.datetime(2013, 6, 24, 12, tzinfo=dt.UTC)
    assert restated(own, now).since is None
    lot = lot_of(own, "2013-06")
    assert lot["closed_at"] < "2013-06-13"
    change(own, lot["lot_id"], pnl=str(float(lot["pnl"]) + 1))
    found = restated(own, now)
    assert [(c.kind, c.row["lot_id"]) for c in found.changes] == [("changed", lot["lot_id"])]
    assert found.since == dt.date.fromisoformat(lot["closed_at"][:10])
    assert (found.effects[0].rebalances, found.effects[0].command) == (17, "")


def test_books_that_have_not_seen_it_and_ledgers_that_were_never_stored(own, small_data, desk, monkeypatch):
    change(own, lot_of(own, "2013-06")["lot_id"], pnl="1")
    own.forget(BOOK)
    result = printed(own, monkeypatch)
    assert f"{BOOK}: is not stored, so nothing of it has seen the change." in result.output
    assert "To make it so" not in result.output
    empty = printed(desk(small_data), monkeypatch)
    assert empty.exit_code == 3
    assert "ledger sample is not in" in empty.errors
    assert printed(own, monkeypatch, "--book", "nonsense").exit_code == 2
