"""A desk's first day, rebalances by hand, trials of them, and queries of one's own: the commands and what is behind."""

import datetime as dt
import json
import shutil
from functools import partial

import dagster as dg
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.books.reading import BookError
from weights_pipeline.core.metrics.table import OVERRIDABLE
from weights_pipeline.core.versions import unbroken
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.live import LiveWeights
from weights_pipeline.operations import rebalance as operation
from weights_pipeline.orchestration import runs
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import Settings
from weights_pipeline.tables import catalog
from weights_pipeline.versions.recompute import reproduce
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import Desk

NEWEST = "2013-06-01"
FIGURES = {
    "trend_long": {"twelve_month_return": 0.30, "twelve_month_max_drawdown": 0.10, "calmar_ratio": 3.02},
    "rsi2": {"twelve_month_return": 0.05, "twelve_month_max_drawdown": 0.10, "calmar_ratio": 0.5},
    "index_dip": {"twelve_month_return": -0.05, "twelve_month_max_drawdown": 0.10, "calmar_ratio": -0.5},
}
FIGURES = {name: {**figures, "months_of_data": 12} for name, figures in FIGURES.items()}
REASON = "committee: figures of the prime broker, see minutes = 12/2013"


def at(monkeypatch, desk):
    """Let the environment point to a desk; returns the command line."""
    monkeypatch.setenv("WEIGHTS_DATA", str(desk.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(desk.settings.home))
    return Result


def contents(folder):
    """Bytes of every file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def versions(desk):
    return desk.store.read(BOOK, catalog.WEIGHT_HISTORY)


# The first day.


def test_a_desk_opens_on_an_empty_store_and_trades_its_base_weights_at_once(small_data, desk, monkeypatch):
    own = desk(small_data)
    weights = at(monkeypatch, own)
    saturday = dt.date.today() - dt.timedelta(days=dt.date.today().weekday() + 9)
    sessions = calendar_sessions("XNYS", saturday - dt.timedelta(days=9), saturday + dt.timedelta(days=9))
    result = weights("init", "--book", BOOK, "--effective", str(saturday), "--comment", "our first day")
    assert result.exit_code == 0, result.errors
    rows = versions(own).set_index("strategy")
    assert set(rows["version"]) == {1}
    assert set(rows["reason"]) == {"initial"}
    assert set(rows["comment"]) == {"our first day"}
    assert set(rows["effective_from"]) == {sessions[sessions > pd.Timestamp(saturday)][0]}
    assert set(rows["as_of"]) == {sessions[sessions < pd.Timestamp(saturday)][-1]}
    for name in ("base", "previous", "target", "realized", "final"):
        assert rows[name].to_dict() == own.book.strategies
    metrics = rows["metrics"].map(json.loads)
    assert metrics["index_dip"] == {"annual_return_12m": 0.1117, "calmar_12m": 2.2984, "max_drawdown_12m": 0.0486}
    assert metrics["factor_rotation"] == {}

    answer = weights("decide", "--book", BOOK, "--strategy", "rsi2", "--equity", "1000", "--action", "enter", "--json")
    assert answer.exit_code == 0
    said = json.loads(answer.output)
    assert (said["source"], said["version"], said["capital"]) == ("live", 1, 80.0)
    assert reproduce(own.store, BOOK, 1).finding.passed
    shown = weights("show").output
    assert "opened at base weights" in shown
    assert "Published: version 1, until " in shown

    again = weights("init", "--book", BOOK)
    assert again.exit_code == 2
    assert f"{BOOK} has versions already; the newest is 1 (initial), in force from" in again.errors
    assert len(versions(own)) == len(rows)


def test_weights_of_a_first_day_to_come_are_published_and_wait_for_it(small_data, desk, monkeypatch):
    own = desk(small_data)
    weights = at(monkeypatch, own)
    later = dt.date.today() + dt.timedelta(days=20)
    document = json.loads(weights("init", "--book", BOOK, "--effective", str(later), "--json").output)
    assert document["effective_from"] >= str(later)
    published = LiveWeights.from_json((own.settings.home / "live" / f"{BOOK}.json").read_bytes())
    assert (published.version, dict(published.final)) == (1, own.book.strategies)
    said = weights("decide", "--book", BOOK, "--strategy", "rsi2", "--equity", "1000", "--action", "enter", "--json")
    assert json.loads(said.output)["source"] == "base"
    assert f"Published: version 1, which counts from {document['effective_from']} on." in weights("show").output


def test_a_book_that_was_opened_is_shown_beside_one_that_goes_on(finished, desk, tmp_path, monkeypatch):
    own = desk(shutil.copytree(finished.settings.data, tmp_path / "data"), like=finished)
    books = own.settings.data / "books"
    (books / "young.yaml").write_text((books / f"{BOOK}.yaml").read_text().replace(f"name: {BOOK}", "name: young"))
    now = dt.datetime(2013, 6, 28, tzinfo=dt.UTC)
    operation.open_history(own.workspace.setup("young"), dt.date(2013, 7, 1), now=now)
    weights = at(monkeypatch, own)
    shown = weights("show").output
    assert f"{BOOK}: weights in force from 2013-07-01" in shown
    assert "young: opened at base weights, in force from 2013-07-01" in shown
    told = {each["book"]: each["published"][0]["state"] for each in json.loads(weights("show", "--json").output)}
    assert told == {BOOK: "missing", "young": "missing"}
    # Of a day on which some of them had none, the other has them all the same.
    with own.store.writing() as connection:
        connection.execute("CREATE SCHEMA late").fetchall()
        for table in ("target_weights", "realized_weights", "final_weights"):
            rows = f"FROM {BOOK}.{table} WHERE as_of > '2013-03-01'"
            connection.execute(f"CREATE TABLE late.{table} AS {rows}").fetchall()
    assert "late: weights in force from 2013-07-01" in weights("show").output
    assert [each["book"] for each in json.loads(weights("show", "--as-of", "2013-02-14", "--json").output)] == [BOOK]


def test_a_book_with_rebalances_is_not_opened_and_keeps_its_files(finished, monkeypatch):
    before = contents(finished.settings.home)
    result = at(monkeypatch, finished)("init", "--book", BOOK)
    assert result.exit_code == 2
    assert "the newest is 18 (backfill), in force from 2013-07-01" in result.errors
    assert contents(finished.settings.home) == before


def test_versions_are_unbroken_with_an_opening_on_the_session_of_a_rebalance(finished, small_data, desk):
    opened = desk(small_data)
    now = dt.datetime(2012, 1, 30, tzinfo=dt.UTC)
    first = operation.open_history(opened.setup, dt.date(2012, 2, 1), now=now)
    later = versions(finished).assign(version=lambda rows: rows["version"] + 1)
    final = finished.store.read(BOOK, catalog.FINAL_WEIGHTS)
    assert first["as_of"].iloc[0] in set(final["as_of"])
    both = pd.concat([first, later], ignore_index=True)
    assert unbroken(both, final).passed
    assert not unbroken(both[both["version"] > 1], final).passed


# A trial.


def test_a_trial_of_a_stored_rebalance_gives_its_bits_and_turns_over_nothing(finished, monkeypatch):
    trial = json.loads(at(monkeypatch, finished)("rebalance", "--book", BOOK, "--dry-run", "--json").output)
    realized = finished.store.read(BOOK, catalog.REALIZED_WEIGHTS, [NEWEST]).set_index("strategy")
    rows = pd.DataFrame(trial["weights"]).set_index("strategy")
    assert (
        rows["final"].to_dict()
        == finished.store.read(BOOK, catalog.FINAL_WEIGHTS, [NEWEST]).set_index("strategy")["final"].to_dict()
    )
    for name in ("base", "target", "previous", "realized"):
        assert rows[name].to_dict() == realized[name].to_dict()
    targets = finished.store.read(BOOK, catalog.TARGET_WEIGHTS, [NEWEST]).set_index("strategy")
    assert rows["note"].to_dict() == targets["note"].to_dict()
    assert (trial["rebalance"], trial["traded"]) == (NEWEST, 0.0)
    assert trial["turnover"] == pytest.approx((realized["realized"] - realized["previous"]).abs().sum() / 2)


def test_a_first_trial_is_held_against_the_weights_the_desk_opened_with(finished, small_data, desk, monkeypatch):
    own = desk(small_data, like=finished)
    own.forget(BOOK)
    weights = at(monkeypatch, own)
    trial = json.loads(weights("rebalance", "--book", BOOK, "--dry-run", "--partition", "2012-01", "--json").output)
    assert trial["held"] == "the book's base weights"
    assert weights("init", "--book", BOOK, "--effective", "2012-01-03").exit_code == 0
    trial = json.loads(weights("rebalance", "--book", BOOK, "--dry-run", "--partition", "2012-01", "--json").output)
    assert trial["held"] == "the desk's first day, after 2011-12-30"
    rows = pd.DataFrame(trial["weights"])
    assert rows["held"].tolist() == rows["base"].tolist()
    stored = finished.store.read(BOOK, catalog.FINAL_WEIGHTS, ["2012-01-01"])
    assert rows["final"].tolist() == stored["final"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "DELETE FROM store.partitions WHERE table_name = 'strategy_returns' AND partition_key = '2013-04-01'",
            "2013-04",
        ),
        (
            "UPDATE store.partitions SET recorded_at = '2013-06-28 12:00' "
            "WHERE table_name = 'strategy_returns' AND partition_key = '2013-06-01'",
            "lacks 2013-06 of ledger sample, read after it was over",
        ),
        (
            "DELETE FROM store.partitions WHERE table_name = 'realized_weights' AND partition_key >= '2013-05-01'",
            "rebalance 2013-05-01, from which 2013-06-01 continues, is missing",
        ),
    ],
)
def test_a_trial_says_what_it_lacks(finished, small_data, desk, monkeypatch, change, message):
    own = desk(small_data, like=finished)
    with own.store.writing() as connection:
        connection.execute(change).fetchall()
    result = at(monkeypatch, own)("rebalance", "--book", BOOK, "--dry-run")
    assert result.exit_code == 3
    assert message in result.errors


@pytest.mark.parametrize(
    ("table", "since", "command"),
    [("strategy_returns", "2013-04-01", "--from 2013-04"), ("realized_weights", "2013-05-01", "--from 2013-05-01")],
)
def test_a_rebalance_that_cannot_continue_says_so_before_it_runs(
    finished, small_data, desk, monkeypatch, table, since, command
):
    own = desk(small_data, like=finished)
    with own.store.writing() as connection:
        connection.execute(
            "DELETE FROM store.partitions WHERE table_name = ? AND partition_key >= ?", [table, since]
        ).fetchall()
    result = at(monkeypatch, own)("rebalance", "--book", BOOK)
    assert result.exit_code == 3
    assert f"`weights run --book {BOOK} {command}`" in result.errors


# Metrics by hand.


@pytest.fixture(scope="module")
def by_hand(finished, tmp_path_factory):
    """A copy of the finished desk, tried out and rebalanced by the commands on metrics of a file."""
    home = tmp_path_factory.mktemp("by_hand")
    file = home / "figures.json"
    file.write_text(json.dumps(FIGURES))
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        own = Desk(finished.settings.data, home / "home", instance)
        own.settings.home.mkdir()
        shutil.copy(finished.store.path, own.store.path)
        patch.setattr(runs, "materialise", partial(runs.materialise, instance=instance))
        weights = at(patch, own)
        own.before = contents(own.settings.home)
        own.trial = weights("rebalance", "--book", BOOK, "--metrics", str(file), "--dry-run", "--json")
        own.after_trial = contents(own.settings.home)
        own.result = weights("rebalance", "--book", BOOK, "--metrics", str(file), "--reason", REASON, "--json")
        yield own


def test_a_trial_writes_nothing_and_equals_what_the_run_then_stores(by_hand):
    assert by_hand.trial.exit_code == 0, by_hand.trial.errors
    assert by_hand.after_trial == by_hand.before
    trial = json.loads(by_hand.trial.output)
    rows = pd.DataFrame(trial["weights"]).set_index("strategy")
    stored = versions(by_hand)
    stored = stored[stored["version"] == 19].set_index("strategy")
    for name in ("base", "previous", "target", "realized", "final"):
        assert rows[name].to_dict() == stored[name].to_dict()
    earlier = versions(by_hand).query("version == 18").set_index("strategy")["final"]
    assert rows["held"].to_dict() == earlier.to_dict()
    assert trial["traded"] == pytest.approx((rows["final"] - earlier).abs().sum() / 2)
    assert trial["traded"] > 0.01
    assert trial["without_metric"] == sorted(set(by_hand.book.strategies) - set(FIGURES))


def test_metrics_by_hand_change_one_rebalance_and_pass_every_check(by_hand, finished):
    report = json.loads(by_hand.result.output)
    assert by_hand.result.exit_code == 0, report
    failed = [check["name"] for check in report["checks"] if check["error"] and not check["passed"]]
    assert failed == []
    assert {"no_look_ahead", "no_version_gap", "recurrence"} <= {check["name"] for check in report["checks"]}
    before, after = finished.hashes(), by_hand.hashes()
    changed = {key for key in after if after[key] != before[key]}
    assert {key for *_, key in changed} == {NEWEST}
    assert {schema for schema, *_ in changed} == {BOOK}
    assert {"metrics", "target_weights", "realized_weights", "final_weights"} <= {table for _, table, _ in changed}


def test_metrics_by_hand_take_the_place_of_three_measured_ones(by_hand, finished):
    found, measured = (
        d.store.read(BOOK, catalog.METRICS, [NEWEST]).set_index(["strategy", "metric"]) for d in (by_hand, finished)
    )
    given = found[found["source"] == "manual"]
    assert {metric for _, metric in given.index} == set(OVERRIDABLE)
    assert len(given) == 3 * len(by_hand.book.strategies)
    assert given["value"].loc["trend_long"].to_dict() == {
        "annual_return": 0.30,
        "calmar": 3.02,
        "max_drawdown": 0.10,
    }
    missing = given.loc["xs_momentum"]
    assert missing["value"].isna().all()
    assert set(missing["reason"]) == {"missing"}
    others = found.index.difference(given.index)
    pd.testing.assert_frame_equal(found.loc[others], measured.loc[others], check_exact=True)
    targets = by_hand.store.read(BOOK, catalog.TARGET_WEIGHTS, [NEWEST]).set_index("strategy")
    assert targets.loc["xs_momentum", "note"] == "neutral: missing"
    assert targets.loc["trend_long", "metric_value"] == 3.02


def test_version_and_run_record_say_what_was_given_and_why(by_hand):
    rows = versions(by_hand)
    new = rows[rows["version"] == rows["version"].max()].set_index("strategy")
    assert set(new["rebalance"]) == {NEWEST}
    assert set(new["reason"]) == {"correction"}
    assert set(new["comment"]) == {REASON}
    assert json.loads(new.loc["rsi2", "metrics"]) == {"calmar_12m": 0.5, "source": "manual"}
    assert json.loads(new.loc["xs_momentum", "metrics"]) == {"calmar_12m": None, "source": "manual"}
    assert "source" not in json.loads(rows[rows["version"] == 18].set_index("strategy").loc["rsi2", "metrics"])
    run = by_hand.instance.get_run_by_id(new["run_id"].iloc[0])
    given = run.run_config["ops"][f"{BOOK}__metrics"]["config"]["manual"]
    assert json.loads(given) == FIGURES


def test_run_again_without_a_file_returns_to_measured_metrics_and_every_version_is_reproduced(by_hand, finished):
    assert reproduce(by_hand.store, BOOK, 19).finding.passed
    by_hand.job(BOOK, NEWEST, checks=False)
    assert by_hand.hashes() == finished.hashes()
    rows = versions(by_hand)
    newest = rows[rows["version"] == 20]
    assert set(newest["reason"]) == {"correction"}
    again, first = (rows[rows["version"] == n].set_index("strategy")["final"].to_dict() for n in (20, 18))
    assert again == first
    for version in (18, 19, 20):
        found = reproduce(by_hand.store, BOOK, version).finding
        assert found.passed, found.summary


def test_metrics_by_hand_are_refused_for_a_range(finished, small_data, desk):
    own = desk(small_data, like=finished)
    before = own.hashes(book=BOOK)
    job = build_definitions(own.workspace).resolve_job_def(BOOK)
    edges = {"dagster/asset_partition_range_start": "2013-05-01", "dagster/asset_partition_range_end": NEWEST}
    config = {"ops": {f"{BOOK}__metrics": {"config": {"manual": json.dumps(FIGURES)}}}}
    result = job.execute_in_process(instance=own.instance, tags=edges, run_config=config, raise_on_error=False)
    errors = [event.step_failure_data.error.to_string() for event in result.all_events if event.is_step_failure]
    assert any("metric overrides are of one partition, got 2" in error for error in errors)
    assert own.hashes(book=BOOK) == before


def ratio_off(figures):
    figures["rsi2"]["calmar_ratio"] = 0.506


def unknown(figures):
    figures["nonsense"] = figures["rsi2"]


def from_the_future(figures):
    figures["rsi2"]["known_from"] = "2013-07-01"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (ratio_off, 2, "figures.json: rsi2: calmar_ratio: expected return / drawdown = 0.5 within 1%"),
        (unknown, 2, "figures.json: strategies ['nonsense'] are not in book calmar_core"),
        (dict.clear, 2, "figures.json: expected figures of at least one strategy, got none"),
        (from_the_future, 1, "rsi2: known_from: expected a day up to 2013-06-28, got 2013-07-01"),
    ],
)
def test_files_of_metrics_that_cannot_be_used(finished, tmp_path, monkeypatch, change, code, message):
    figures = json.loads(json.dumps(FIGURES))
    change(figures)
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(figures))
    result = at(monkeypatch, finished)("rebalance", "--book", BOOK, "--metrics", str(file), "--dry-run")
    assert result.exit_code == code, result.output
    assert message in result.errors


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sharpe_weekly", "method sharpe_tilt of book sharpe_weekly reads sharpe, which cannot be overridden"),
        ("ensemble_regime", "reads weight sets made per market regime"),
        ("max_hybrid", "method fixed of book max_hybrid reads no metrics"),
    ],
)
def test_books_that_metrics_by_hand_have_no_effect_on(name, message):
    book = load_book(DATA / "books" / f"{name}.yaml")
    with pytest.raises(BookError, match=message):
        operation.metric_overrides({}, book, "figures.json")


# Which rebalance is due.


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ("2012-05", "rebalances up to 2013-06-01 continue from it; `weights run --book calmar_core --from 2012-05-01`"),
        ("2013-07", "2013-07 is no period that has ended of book calmar_core; expected one from 2012-01-01 to"),
        ("June", "'June' is not a period"),
    ],
)
def test_partitions_that_are_not_rebalanced_on(finished, monkeypatch, partition, message):
    for trial in ([], ["--dry-run"]):
        result = at(monkeypatch, finished)("rebalance", "--book", BOOK, "--partition", partition, *trial)
        assert result.exit_code == 2
        assert message in result.errors


def test_a_month_is_several_weeks(tmp_path):
    weekly = Workspace(Settings(data=DATA, home=tmp_path)).setup("sharpe_weekly")
    with pytest.raises(operation.NotDueError, match="2012-06 is 4 periods, 2012-06-03 to 2012-06-24, of book"):
        operation.due(weekly, dt.datetime(2013, 1, 1, tzinfo=dt.UTC), "2012-06")


# Queries of one's own.


def test_an_answer_as_table_csv_and_json(finished, monkeypatch):
    weights = at(monkeypatch, finished)
    query = (
        f"SELECT strategy, final, scalar_session, NULL AS nothing, 0.5 AS half FROM {BOOK}.final_weights "
        "WHERE as_of = (SELECT max(as_of) FROM calmar_core.final_weights) ORDER BY strategy"
    )
    stored = finished.store.read(BOOK, catalog.FINAL_WEIGHTS, [NEWEST]).set_index("strategy")["final"]
    rows = json.loads(weights("sql", query, "--json").output)
    assert {row["strategy"]: row["final"] for row in rows} == stored.to_dict()
    assert rows[0]["scalar_session"] == "2013-06-28"
    assert (rows[0]["nothing"], rows[0]["half"]) == (None, 0.5)
    lines = weights("sql", query, "--csv").output.splitlines()
    assert lines[0] == "strategy,final,scalar_session,nothing,half"
    assert float(lines[1].split(",")[1]) == stored["breakout_55d"]
    told = weights("sql", query, "--limit", "3")
    assert len(told.output.splitlines()) == 2 + 3
    assert told.errors == f"weights: 3 of {len(stored)} rows; --limit shows more\n"
    assert weights("sql", query).errors == ""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"DELETE FROM {BOOK}.final_weights", "expected one statement that asks, such as SELECT, got DELETE"),
        (f"DROP SCHEMA {BOOK} CASCADE", "got DROP"),
        ("SELECT 1; SELECT 2", "got SELECT, SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM read_text('pyproject.toml')", "file system operations are disabled"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "got COPY"),
        ("ATTACH 'other.duckdb'", "got ATTACH"),
        ("SELEC 1", "Parser Error"),
        ("SELECT nonsense", "Binder Error"),
        ("SELECT * FROM calmar_core.nonsense", f"Tables there are: {BOOK}.allocator_audit"),
    ],
)
def test_queries_that_are_refused_in_a_line(finished, monkeypatch, query, message):
    before = contents(finished.settings.home)
    result = at(monkeypatch, finished)("sql", query)
    assert result.exit_code == 2
    assert message in result.errors
    assert result.errors.count("\n") == 1
    assert result.output == ""
    assert contents(finished.settings.home) == before


def test_a_query_to_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_DATA", str(DATA))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    assert Result("sql", "SELECT 1").exit_code == 3
    assert Result("rebalance", "--book", BOOK, "--dry-run").exit_code == 3
