"""The history of weights in real runs: what adds versions, what was known when, and computing any of them again."""

import argparse
import contextlib
import datetime as dt
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, DATA, LEDGER, WEEKLY_BOOKS, edit_rows, edit_yaml
from weights_pipeline.cli.commands import history as commands
from weights_pipeline.core.chain import returns_table
from weights_pipeline.core.returns.capital import AverageLotValue, AveragePositionValue
from weights_pipeline.core.versions import Stamp, additions, unbroken
from weights_pipeline.ledger import calendar_sessions, read_capital, sessions_past
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.partitions import range_tags
from weights_pipeline.settings import Settings
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.tables.definition import Column, Type
from weights_pipeline.tables.errors import DamagedError, MixedInputsError
from weights_pipeline.versions.history import NoVersionError, add_versions, list_versions, weights_known
from weights_pipeline.versions.inputs import inputs_of, parameters_of, policy_of
from weights_pipeline.versions.policies import OF_TODAY
from weights_pipeline.versions.recompute import LedgerView, reproduce
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.by_library import assert_stored, tables_of
from weights_pipeline_tests.support.desk import Desk, drawing
from weights_pipeline_tests.support.small_table import WINDOWS, frame, month, small_table

FIRST_CORRECTED = "2013-01-01"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def history_of(desk, book=BOOK):
    return desk.store.read(book, catalog.WEIGHT_HISTORY)


def versions_of(desk, book=BOOK):
    return history_of(desk, book).drop_duplicates("version").set_index("version")


def record_only(desk, first, last, **tags):
    """Materialise nothing but the history."""
    done = materialised(desk, dg.AssetSelection.assets([BOOK, "weight_history"]), first, last, **tags)
    return done.get_asset_materialization_events()[-1].materialization.metadata


def materialised(desk, selection, first, last, **tags):
    job = build_definitions(desk.workspace).resolve_implicit_global_asset_job_def()
    keys = [*selection.resolve(job.asset_layer.asset_graph)]
    with drawing(0):
        return job.execute_in_process(instance=desk.instance, asset_selection=keys, tags=range_tags(first, last) | tags)


@pytest.fixture(scope="module")
def corrected(finished, small_data, tmp_path_factory):
    """The finished history after a lot of January 2013 was corrected, and everything from then on was run again."""
    home = tmp_path_factory.mktemp("corrected")
    data = shutil.copytree(small_data, home / "data")
    changed = []

    def better(row):
        if row["strategy"] == "rsi2" and row["closed_at"][:7] == FIRST_CORRECTED[:7] and not changed:
            changed.append(row["lot_id"])
            row["pnl"] = str(float(row["pnl"]) + 40_000)
        return row

    for file in sorted((data / "sample" / "lots").glob("*.csv")):
        edit_rows(file, better)
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(data, home / "home", instance)
        desk.settings.home.mkdir()
        shutil.copy(finished.store.path, desk.store.path)
        desk.fill(FIRST_CORRECTED[:7], "2013-06")
        yield desk


@pytest.fixture
def tampered(corrected, tmp_path):
    """Change the store of the corrected history with a statement; gives the store."""

    def change(statement):
        store = DuckDBStore(shutil.copy(corrected.store.path, tmp_path / "weights.duckdb"))
        with store.writing() as connection:
            assert connection.execute(statement).fetchall() != [(0,)]
        return store

    return change


def test_a_first_run_gives_one_version_of_every_rebalance(finished):
    versions = versions_of(finished)
    months = [f"{m:%Y-%m-%d}" for m in pd.date_range("2012-01-01", "2013-06-01", freq="MS")]
    assert versions["rebalance"].tolist() == months
    assert versions.index.tolist() == list(range(1, 19))
    assert versions["reason"].tolist() == ["initial"] + ["backfill"] * 17
    final = finished.store.read(BOOK, catalog.FINAL_WEIGHTS)
    rows = history_of(finished)
    assert rows[["strategy", "realized", "final"]].equals(final[["strategy", "realized", "final"]])
    metrics = finished.store.read(BOOK, catalog.METRICS).set_index(["as_of", "strategy", "metric"])["value"]
    newest = rows[rows["version"] == 18].set_index("strategy")
    for strategy, read in newest["metrics"].map(json.loads).items():
        expected = metrics[newest["as_of"].iloc[0], strategy, "calmar"]
        assert read == {"calmar_12m": None if np.isnan(expected) else expected}
    assert rows["parameters_hash"].nunique() == 1
    assert rows["ledger_hash"].nunique() == 18
    events = finished.instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION, dg.AssetKey([BOOK, "weight_history"]))
    )
    newest_event = next(e.asset_materialization for e in events if e.asset_materialization.partition == "2013-06-01")
    told = {name: newest_event.metadata[name].value for name in ("version", "versions_added", "newest_version")}
    assert told == {"version": 18, "versions_added": 18, "newest_version": 18}


def test_the_same_inputs_add_nothing_and_other_parameters_add_a_version(finished, own_data, desk):
    other = desk(own_data, like=finished)
    before = other.store.partitions(BOOK, "weight_history")[""]
    told = record_only(other, "2012-01-01", "2013-06-01", **{"dagster/schedule_name": "any"})
    assert other.store.partitions(BOOK, "weight_history")[""] == before
    assert (told["versions_added"].value, told["unchanged"].value) == (0, 18)
    method = {"kind": "power_tilt", "metric": "calmar", "lookback": "12m", "alpha": 0.4}
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", method=method)
    said = f"the final weights of 2013-06-01 do not follow .* weights run --book {BOOK} --from 2013-06"
    with pytest.raises(MixedInputsError, match=said):
        record_only(other, "2013-06-01", "2013-06-01", **OF_TODAY)
    assert other.store.partitions(BOOK, "weight_history")[""] == before
    whole = dg.AssetSelection.key_prefixes(BOOK)
    materialised(other, whole, "2013-06-01", "2013-06-01", **OF_TODAY, **{"weights/comment": "alpha is too bold"})
    versions = versions_of(other)
    assert versions.loc[19, ["rebalance", "reason", "comment"]].tolist() == [
        "2013-06-01",
        "correction",
        "alpha is too bold",
    ]
    assert list_versions(other.store, BOOK, 1)[0].changed == "policy"
    assert reproduce(other.store, BOOK, 19).finding.passed


def test_a_correction_adds_versions_from_its_month_on_and_keeps_the_old(finished, corrected):
    versions, before = versions_of(corrected), history_of(finished)
    assert versions.index.tolist() == list(range(1, 25))
    added = versions.loc[19:]
    assert added["rebalance"].tolist() == [m for m in versions.loc[:18, "rebalance"] if m >= FIRST_CORRECTED]
    assert set(added["reason"]) == {"correction"}
    after = history_of(corrected)
    pd.testing.assert_frame_equal(after[after["version"] <= 18], before, check_exact=True)
    assert {line.changed for line in list_versions(corrected.store, BOOK, 5)} == {"ledger, metrics, earlier weights"}
    final = corrected.store.read(BOOK, catalog.FINAL_WEIGHTS)
    assert unbroken(after, final).passed


def test_a_correction_gives_what_a_first_run_on_the_corrected_ledger_would_have_given(corrected):
    assert_stored(corrected.store, tables_of(corrected.settings.data))


def test_what_was_believed_before_a_correction_stays_known(finished, corrected):
    on = dt.date(2013, 3, 15)
    then = versions_of(finished)["recorded_at"].max().to_pydatetime().replace(tzinfo=dt.UTC)
    now = then + dt.timedelta(days=1)
    old, new = (weights_known(corrected.store, BOOK, on, known) for known in (then, now))
    assert (old.version, new.version) == (14, 20)
    assert old.effective_from == new.effective_from == dt.date(2013, 3, 1)
    final = {
        desk: desk.store.read(BOOK, catalog.FINAL_WEIGHTS, ["2013-02-01"])["final"].tolist()
        for desk in (finished, corrected)
    }
    assert [row.final for row in old.rows] == final[finished]
    assert [row.final for row in new.rows] == final[corrected]
    with pytest.raises(NoVersionError, match="no weights in force on 2013-03-15, as far as was known at"):
        weights_known(corrected.store, BOOK, on, then - dt.timedelta(microseconds=1))


@pytest.mark.parametrize("version", [1, 10, 18, 19, 24])
def test_versions_before_and_after_a_correction_are_recomputed_bit_for_bit(corrected, version):
    found = reproduce(corrected.store, BOOK, version)
    assert found.finding.passed, found.finding.summary
    recorded = history_of(corrected)
    assert found.weights["final_recomputed"].tolist() == recorded.loc[recorded["version"] == version, "final"].tolist()


@pytest.mark.parametrize(("book", "picked"), [("sharpe_weekly", (1, 3, 30, 53)), ("ensemble_regime", (1, 3, 12, 53))])
def test_weekly_versions_and_those_of_an_ensemble_are_recomputed_bit_for_bit(finished_weekly, book, picked):
    assert book in WEEKLY_BOOKS
    for version in picked:
        found = reproduce(finished_weekly.store, book, version)
        assert found.finding.passed, (version, found.finding.summary)
    assert unbroken(history_of(finished_weekly, book), finished_weekly.store.read(book, catalog.FINAL_WEIGHTS)).passed


def test_metrics_of_an_ensemble_are_those_of_the_set_it_read(finished_weekly):
    rows = history_of(finished_weekly, "ensemble_regime")
    read = rows["metrics"].map(json.loads)
    made = read.str["weight_set"].str.split(":").str[0]
    sets = finished_weekly.store.read("ensemble_regime", catalog.ENSEMBLE_WEIGHTS)
    sets.index = [sets["weight_set"] + " of " + sets["as_of"].dt.strftime("%Y-%m-%d"), sets["strategy"]]
    assert made.str.startswith("bull").any()
    for place in np.flatnonzero(~made.str.startswith("uniform"))[::97]:
        expected = json.loads(sets.loc[(made[place], rows["strategy"][place]), "metrics"])
        assert {**expected, "weight_set": read[place]["weight_set"]} == read[place]


def test_a_tampered_version_is_found_by_the_check_and_by_computing_it_again(corrected, tampered):
    book = f'"{BOOK}"'
    store = tampered(f"UPDATE {book}.weight_history SET final = final + 1e-16 WHERE version = 20 AND strategy = 'rsi2'")
    check = unbroken(store.read(BOOK, catalog.WEIGHT_HISTORY), store.read(BOOK, catalog.FINAL_WEIGHTS))
    assert not check.passed
    assert check.offending["strategy"].tolist() == ["rsi2"]
    found = reproduce(store, BOOK, 20)
    assert not found.finding.passed
    assert found.finding.offending["strategy"].tolist() == ["rsi2"]
    assert 0 < found.finding.value < 1e-15


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE {book}.weight_documents SET document = replace(document, '0.5', '0.6') WHERE document LIKE '%alpha%'",
         "is not what was recorded"),
        ("DELETE FROM {book}.weight_documents WHERE document LIKE '%trade_ledger/2013-01-01%'", "is missing"),
        ('DELETE FROM store."sample_ledger.trade_ledger"', "trade_ledger 2013-01-01"),
        ('UPDATE store."sample_ledger.trade_ledger" SET pnl = pnl + 1e-9', "trade_ledger 2013-01-01"),
    ],
)  # fmt: skip
def test_what_a_version_was_computed_from_cannot_be_altered_unnoticed(tampered, statement, message):
    store = tampered(statement.format(book=f'"{BOOK}"'))
    with pytest.raises(DamagedError, match=message):
        reproduce(store, BOOK, 18)


def test_another_ledger_hash_is_found_out(tampered):
    store = tampered(f"UPDATE \"{BOOK}\".weight_history SET ledger_hash = 'other' WHERE version = 5")
    finding = reproduce(store, BOOK, 5).finding
    assert not finding.passed
    assert finding.offending.empty
    assert "the hash of the ledger known then is another than the recorded one" in finding.summary


class Result:
    """What one of the commands printed, and how it ended."""

    def __init__(self, *arguments):
        parser = argparse.ArgumentParser()
        commands.add(parser.add_subparsers())
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                options = parser.parse_args(arguments)
                self.exit_code = options.command(options)
            except SystemExit as end:
                self.exit_code = end.code
        self.output, self.errors = output.getvalue(), errors.getvalue()

    @property
    def json(self):
        return json.loads(self.output)


@pytest.fixture
def weights(corrected, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(corrected.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(corrected.settings.home))
    return Result


def test_history_lists_the_newest_first(weights):
    lines = weights("history", "--limit", "10").output.splitlines()
    assert lines[0] == "calmar_core: versions of weights, the newest first"
    assert lines[3].split()[:3] == ["24", "2013-06-01", "2013-07-01"]
    assert "correction  ledger, metrics, earlier weights" in lines[3]
    assert lines[-1].split()[0] == "15"
    listed = weights("history", "--book", BOOK, "--json").json[BOOK]
    assert [line["version"] for line in listed] == list(range(24, 4, -1))
    assert listed[-1]["changed"] == "new"
    assert listed[5]["changed"] == "ledger, metrics"


def test_as_of_answers_on_both_axes(weights, finished):
    then = versions_of(finished)["recorded_at"].max().isoformat()
    old, new = (
        weights("as-of", "--effective", "2013-03-15", *known, "--json").json[0] for known in (("--known", then), ())
    )
    assert (old["version"], new["version"]) == (14, 20)
    assert old["rows"][0]["metrics"].keys() == {"calmar_12m"}
    shown = weights("as-of", "--effective", "2013-03-15", "--known", "9999-12-31").output
    assert "Version 20: rebalance 2013-02-01 on data to 2013-02-28, in force from 2013-03-01, recorded" in shown
    assert "  100.00  " in shown


def test_diff_says_what_changed_and_where(weights):
    found = weights("diff", "14", "20", "--book", BOOK, "--json").json
    assert found["changed"][:3] == ["ledger", "metrics", "earlier weights"]
    assert found["ledger"] == ["sample_ledger/trade_ledger/2013-01-01"]
    assert found["parameters"] == {}
    rsi2 = next(row for row in found["weights"] if row["strategy"] == "rsi2")
    assert rsi2["final_change"] == rsi2["final_new"] - rsi2["final_old"] > 0
    shown = weights("diff", "14", "20", "--book", BOOK).output
    assert "in the ledger: sample_ledger/trade_ledger/2013-01-01" in shown
    assert f"{100 * rsi2['final_change']:+.4f}" in shown


def test_reproduce_shows_bits_and_fails_where_they_differ(weights, tampered, monkeypatch, tmp_path):
    same = weights("reproduce", "14", "--book", BOOK)
    assert same.exit_code == 0
    assert "Identical: version 14 computed again: 0 of 16 strategies differ." in same.output
    assert same.output.count("0x1.") == 32
    tampered(f'UPDATE "{BOOK}".weight_history SET target = target * 2 WHERE version = 14')
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    other = weights("reproduce", "14", "--book", BOOK, "--json")
    assert other.exit_code == 1
    assert not other.json["identical"]
    assert other.json["largest_difference"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("reproduce", "99", "--book", BOOK), 3, "no version 99; there are 1 to 24"),
        (("diff", "1", "28", "--book", BOOK), 3, "no version 28"),
        (("diff", "1", "2", "--book", "nonsense"), 3, "nonsense: no version 1; there are none yet"),
        (("history", "--book", "nonsense"), 3, "nonsense: no versions in"),
        (("as-of", "--effective", "2011-01-01"), 3, "no weights in force on 2011-01-01"),
        (("as-of", "--effective", "soon"), 2, "invalid day value"),
        (("as-of", "--effective", "2013-01-01", "--known", "soon"), 2, "invalid _instant value"),
    ],
)
def test_exit_codes_and_messages(weights, arguments, code, message):
    result = weights(*arguments)
    assert (result.exit_code, result.output) == (code, "")
    assert message in result.errors


def test_asking_loads_neither_dagster_nor_pandas(corrected):
    script = (
        "import argparse, sys; from weights_pipeline.cli.commands import history as h; p = argparse.ArgumentParser(); "
        "h.add(p.add_subparsers()); run = lambda *a: (lambda o: o.command(o))(p.parse_args(a)); "
        "run('history'); run('as-of', '--effective', '2013-01-15'); "
        "assert not {'dagster', 'pandas', 'numpy', 'pyarrow', 'pydantic'} & set(sys.modules)"
    )
    own = {"WEIGHTS_DATA": str(corrected.settings.data), "WEIGHTS_HOME": str(corrected.settings.home)}
    subprocess.run([sys.executable, "-c", script], env=os.environ | own, check=True, capture_output=True)


WORKSPACE = Workspace(Settings(data=DATA, home=DATA / "none"))
NEWEST = pd.Timestamp("2022-12-30")


@pytest.mark.parametrize("name", WORKSPACE.books)
def test_parameters_are_the_whole_policy(name):
    setup = WORKSPACE.setup(name)
    book = setup.book
    document = parameters_of(setup, NEWEST)
    assert policy_of(json.loads(document)) == setup.policy
    indifferent = {"owner": "team:other", "description": "other", "max_age": 99, "account": "other", "max_turnover": 1}
    assert parameters_of(replace(setup, book=book.model_copy(update=indifferent)), NEWEST) == document
    slower = book.adjustment.model_copy(update={"rate": 0.123})
    assert parameters_of(replace(setup, book=book.model_copy(update={"adjustment": slower})), NEWEST) != document
    for capital in (AveragePositionValue(), AveragePositionValue(sessions=60), AverageLotValue()):
        source = setup.source.model_copy(update={"capital": capital})
        assert parameters_of(replace(setup, source=source), NEWEST) != document


def test_parameters_hold_the_decisions_made_by_then_and_no_later_one():
    setup = WORKSPACE.setup("max_hybrid")
    decisions = sorted(setup.book.method.decisions, key=lambda decision: decision.order)
    for number, (decision, following) in enumerate(zip(decisions, [*decisions[1:], None], strict=True), start=1):
        document = parameters_of(setup, pd.Timestamp(decision.date))
        assert policy_of(json.loads(document)).method.decisions == tuple(decisions[:number])
        if following and following.date > decision.date:
            day_before = pd.Timestamp(following.date) - pd.Timedelta(days=1)
            assert parameters_of(setup, day_before) == document


def test_an_open_month_that_grows_does_not_change_an_earlier_date(finished, tmp_path):
    """The ledger hash of a date in the middle of a month is that of a ledger that ends there."""
    store = DuckDBStore(shutil.copy(finished.store.path, tmp_path / "grown.duckdb"))
    setup = replace(finished.setup, store=store)
    dates = {"2013-05-05": pd.Timestamp("2013-05-10"), "2013-05-12": pd.Timestamp("2013-05-17")}

    def hashes():
        with store.view():
            return inputs_of(setup, setup.store, dates).hashes

    def shorten(until, **changes):
        lots = finished.store.read(LEDGER, catalog.TRADE_LEDGER, ["2013-05-01"])
        kept = lots[lots["session"] <= until].assign(**changes)
        store.write(LEDGER, catalog.TRADE_LEDGER, kept, [month("2013-05-01")], run_id="r", recorded_at=NOW)

    whole = hashes()
    assert whole["ledger_hash"].nunique() == 2
    shorten("2013-05-17")
    shorter = hashes()
    assert shorter["ledger_hash"].tolist() == whole["ledger_hash"].tolist()
    assert (shorter["state_hash"] != whole["state_hash"]).all()
    shorten("2013-05-10")
    assert (hashes()["ledger_hash"] == whole["ledger_hash"]).tolist() == [True, False]
    shorten("2013-05-17", fees=1.0)
    assert not (hashes()["ledger_hash"] == whole["ledger_hash"]).any()


def test_a_ledger_cut_on_a_day_gives_the_returns_of_the_whole(finished):
    """What fills had open on the day is open in the cut ledger, whatever became of it later in the month."""
    read = (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.GIVEN_RETURNS, catalog.CASH, catalog.UNKNOWN_POSITIONS)
    lots, open_lots, given, cash, unknown = (finished.store.read(LEDGER, table) for table in read)
    ledger = LedgerView(
        lots=lots, open_lots=open_lots, given=given, cash=cash, unknown=unknown, prices=None, rates=None,
        liquidity=no_rows(catalog.STRATEGY_LIQUIDITY),
        capital=read_capital(WORKSPACE.sources["sample"], DATA),
        sessions=partial(sessions_past, "XNYS"), begin=pd.Timestamp("2012-01-01"), market=pd.Series(dtype="str"),
    )  # fmt: skip
    sessions = calendar_sessions("XNYS", lots["open_session"].min().date(), dt.date(2013, 6, 28))
    average_position = replace(ledger, capital=AveragePositionValue(sessions=60))

    def returns(of, until):
        table = returns_table(of.lots, of.open_lots, of.given, sessions, of.capital, of.begin)
        return table[table["session"] <= until].reset_index(drop=True)

    for day in ("2012-01-04", "2012-02-29", "2012-11-14", "2013-06-13"):
        cut = ledger.cut(pd.Timestamp(day))
        assert max(cut.lots["session"].max(), cut.open_lots["snapshot"].max()) <= pd.Timestamp(day)
        pd.testing.assert_frame_equal(returns(cut, day), returns(ledger, day), check_exact=True)
        # The value of what is open is summed in the order in which it is closed, which a cut ledger does not know.
        cut = average_position.cut(pd.Timestamp(day))
        pd.testing.assert_frame_equal(returns(cut, day), returns(average_position, day), rtol=1e-12, atol=0)


def stamp(run_id):
    instant = pd.Timestamp("2026-01-01")
    return Stamp(run_id=run_id, recorded_at=instant, code_version="", comment="", reason="manual", first="")


class Interrupted:
    """A store in which somebody else writes between the reading and the writing of an update."""

    def __init__(self, store, meanwhile):
        self._store, self._meanwhile = store, [meanwhile]

    def __getattr__(self, name):
        return getattr(self._store, name)

    def update(self, *args, **options):
        while self._meanwhile:
            self._meanwhile.pop()()
        return self._store.update(*args, **options)


def test_two_runs_at_once_neither_lose_nor_repeat_a_version(finished, tmp_path):
    store = DuckDBStore(tmp_path / "two.duckdb")
    rows = history_of(finished)
    one, other = (rows[rows["rebalance"].isin(keys)] for keys in (["2012-01-01", "2012-02-01"], ["2012-02-01"]))
    interrupted = Interrupted(store, lambda: add_versions(store, "book", other, {"x": "1"}, stamp("other")))
    history = add_versions(interrupted, "book", one, {"y": "2"}, stamp("one"))
    stored = store.read("book", catalog.WEIGHT_HISTORY)
    assert sorted(history["version"].unique()) == sorted(stored["version"].unique()) == [1, 2]
    by_run = stored.drop_duplicates("version").set_index("run_id")["rebalance"]
    assert by_run.to_dict() == {"other": "2012-02-01", "one": "2012-01-01"}
    assert store.read("book", catalog.WEIGHT_DOCUMENTS)["hash"].tolist() == ["x", "y"]
    assert additions(stored, one, stamp("again")).empty


def test_rows_that_are_replaced_are_kept_once_and_equal_ones_cost_nothing(tmp_path):
    store, table = DuckDBStore(tmp_path / "kept.duckdb"), small_table(kept=True)

    def write(rows, definition=table, windows=WINDOWS):
        records = store.write("book", definition, rows, windows, run_id="r", recorded_at=NOW)
        return {record.key: record.content_hash for record in records}

    def ask(query):
        with store.reading() as connection:
            return connection.execute(query).fetchall()

    january = frame(value=2.0).iloc[[0, 2]]
    first = write(frame(value=1.0))
    assert write(frame(value=1.0)) == first
    assert ask("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store'") == [("partitions",)]
    second = write(january, windows=WINDOWS[:1])
    kept = 'SELECT value FROM store."book.small" ORDER BY ALL'
    assert ask(kept) == [(1.0,), (1.0,)]
    for value in (1.0, 2.0, 1.0):
        write(january.assign(value=value), windows=WINDOWS[:1])
    assert ask(kept) == [(1.0,), (1.0,), (2.0,), (2.0,)]
    assert store.tables() == [("book", "small")]
    # A column that the definition gains is null in what was written before, and no part of its hash.
    grown = small_table(kept=True, columns=(*table.columns, Column("more", Type.TEXT, "more", nullable=True)))
    write(january.assign(more="x"), grown, WINDOWS[:1])
    for contents, value in ((first, 1.0), (second, 2.0)):
        old = store.read_known("book", grown, contents)
        assert old["value"].tolist() == [value] * len(old) != []
        assert old["more"].isna().all()


def test_replaced_rows_of_a_table_without_partitions_are_kept_too(tmp_path):
    store, log = DuckDBStore(tmp_path / "log.duckdb"), small_table(name="log", time_column=None, kept=True)
    hashes = []
    for value in (1.0, 2.0, 3.0):
        record = store.update("book", log, lambda _, v=value: frame(value=v), run_id="r", recorded_at=NOW)
        hashes.append(record.content_hash)
    assert [store.read_known("book", log, {"": each})["value"].iloc[0] for each in hashes] == [1.0, 2.0, 3.0]
    with pytest.raises(DamagedError, match=r"book\.log"):
        store.read_known("book", log, {"": "0" * 64})
