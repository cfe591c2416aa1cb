"""The command ``weights explain``: steps that end at the stored bits, and what is behind the metric."""

import json
import math

import duckdb
import pytest

from benchmarks.support.data import WEEKLY_BOOKS
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result

SHARPE, ENSEMBLE = WEEKLY_BOOKS


@pytest.fixture
def explain(finished, finished_weekly, monkeypatch):
    """Call the command on the finished store of a book."""

    def call(book, *arguments):
        desk = finished_weekly if book in WEEKLY_BOOKS else finished
        monkeypatch.setenv("WEIGHTS_DATA", str(desk.settings.data))
        monkeypatch.setenv("WEIGHTS_HOME", str(desk.settings.home))
        return Result("explain", "--book", book, *arguments)

    return call


def replayed(steps):
    """Redo the arithmetic of the printed steps."""
    value = math.nan
    for step in steps:
        first, *rest = step["operands"] or [math.nan]
        value = {
            "start": lambda first=first: first,
            "hold": lambda first=first: first,
            "times": lambda value=value, first=first: value * first,
            "over": lambda value=value, first=first: value / first,
            "plus": lambda value=value, first=first: value + first,
            "clip": lambda value=value, first=first, rest=rest: min(max(value, first), rest[0]),
            "note": lambda value=value: value,
        }[step["operation"]]()
    return value


@pytest.mark.parametrize(
    ("book", "day"), [("calmar_core", "2013-06-20"), (SHARPE, "2012-11-07"), (ENSEMBLE, "2012-11-07")]
)
def test_steps_of_every_strategy_end_at_the_stored_weight(explain, finished, finished_weekly, book, day):
    final = (finished_weekly if book in WEEKLY_BOOKS else finished).store.read(book, catalog.FINAL_WEIGHTS)
    in_force = final[final["as_of"] == final.loc[final["effective_from"] <= day, "as_of"].max()]
    for strategy in in_force["strategy"].tolist()[::5]:
        content = json.loads(explain(book, "--strategy", strategy, "--as-of", day, "--json").output)
        stored = in_force.set_index("strategy").loc[strategy]
        assert content["as_of"] == str(stored["as_of"].date())
        assert content["effective_from"] == str(stored["effective_from"].date())
        assert replayed(content["steps"]) == content["steps"][-1]["value"] == content["final"] == stored["final"]


def test_lines_carry_full_precision_and_percent_where_it_is_a_weight(explain, finished):
    result = explain("calmar_core", "--strategy", "trend_long")
    assert result.exit_code == 0, result.errors
    lines = {line[:15].rstrip(): line for line in result.output.splitlines()}
    targets, realized, final = (
        table[table["as_of"] == table["as_of"].max()].set_index("strategy").loc["trend_long"]
        for table in (
            finished.store.read("calmar_core", each)
            for each in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS)
        )
    )
    assert f"{targets['metric_value']:.10g}" in lines["calmar_12m"]
    assert "%" not in lines["calmar_12m"]
    assert f"{targets['multiplier']:.10g}" in lines["multiplier"]
    assert "%" not in lines["multiplier"]
    assert f"{targets['target']:.10g}   {targets['target']:.4%}" in lines["target"]
    assert lines["target"].split()[1:3] == ["within", f"{targets['lower']:.10g}..{targets['upper']:.10g}"]
    assert "0.1 × (target - previous)" in lines["realized weight"]
    assert f"{realized['realized']:.4%}" in lines["realized weight"]
    assert f"the stored final weight exactly: {float(final['final'])!r}." in result.output


def test_sample_behind_the_metric_is_that_of_the_metrics_table(explain, finished):
    metrics = finished.store.read("calmar_core", catalog.METRICS)
    newest = metrics[(metrics["as_of"] == metrics["as_of"].max()) & (metrics["strategy"] == "rsi2")]
    value = newest.set_index("metric")["value"]
    result = explain("calmar_core", "--strategy", "rsi2")
    sessions, lots = int(value["n_sessions"]), int(value["closed_lots"])
    assert f"Behind calmar_12m: {sessions} sessions, {lots} closed lots; source live." in result.output
    content = json.loads(explain("calmar_core", "--strategy", "rsi2", "--json").output)
    assert content["behind_the_metric"] == {"sessions": sessions, "closed_lots": lots, "source": "live"}


def test_what_a_metric_was_made_of_is_named(explain, finished):
    metrics = finished.store.read("calmar_core", catalog.METRICS)
    kinds = metrics[metrics["metric"] == "calmar"].drop_duplicates("source")
    final = finished.store.read("calmar_core", catalog.FINAL_WEIGHTS)
    in_force = final.drop_duplicates("as_of").set_index("as_of")["effective_from"]
    assert len(kinds) >= 2
    for row in kinds.itertuples():
        day = str(in_force[row.as_of].date())
        assert f"; source {row.source}." in explain("calmar_core", "--strategy", row.strategy, "--as-of", day).output


def test_an_ensemble_shows_the_set_it_read(explain, finished_weekly):
    targets = finished_weekly.store.read(ENSEMBLE, catalog.TARGET_WEIGHTS)
    newest = targets[targets["as_of"] == targets["as_of"].max()].iloc[0]
    sets = finished_weekly.store.read(ENSEMBLE, catalog.ENSEMBLE_WEIGHTS)
    name, made = newest["weight_set"].split(":")[0].split(" of ")
    row = sets[(sets["as_of"] == made) & (sets["weight_set"] == name) & (sets["strategy"] == "rsi2")].iloc[0]
    content = json.loads(explain(ENSEMBLE, "--strategy", "rsi2", "--json").output)
    assert content["steps"][0]["remark"] == newest["weight_set"]
    assert content["behind_the_metric"] == {
        "weight_set": name,
        "made": made,
        "source": "made at a rebalance",
        "sessions": int(row["sessions"]),
        "metrics": json.loads(row["metrics"]),
    }
    text = explain(ENSEMBLE, "--strategy", "rsi2").output
    assert f"weight set {name} of {made}, made at a rebalance, on {row['sessions']} sessions: sharpe_60d" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("calmar_core", "--strategy", "nonsense"),
            2,
            "unknown strategy 'nonsense'; book calmar_core has breakout_55d,",
        ),
        (("nonsense", "--strategy", "rsi2"), 3, "nonsense: no weights in"),
        (("calmar_core", "--strategy", "rsi2", "--as-of", "2011-01-01"), 3, "the first are from 2012-02-01 on"),
        (("calmar_core",), 2, "--strategy"),
    ],
)
def test_exit_codes_and_messages(explain, arguments, code, message):
    result = explain(*arguments)
    assert result.exit_code == code
    assert message in result.errors
    assert result.output == ""


def test_nothing_there_yet(explain, monkeypatch, tmp_path, finished):
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    result = Result("explain", "--book", "calmar_core", "--strategy", "rsi2")
    assert result.exit_code == 3
    assert "nothing has been materialised yet" in result.errors


@pytest.mark.parametrize(
    ("table", "column", "step"),
    [
        ("target_weights", "multiplier", "target"),
        ("realized_weights", "previous", "realized weight"),
        ("final_weights", "final", "final weight"),
    ],
)
def test_a_stored_weight_that_does_not_follow_is_a_failure(finished, desk, monkeypatch, table, column, step):
    own = desk(finished.settings.data, like=finished)
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"UPDATE calmar_core.{table} SET {column} = {column} * 1.01")
    monkeypatch.setenv("WEIGHTS_DATA", str(own.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(own.settings.home))
    result = Result("explain", "--book", "calmar_core", "--strategy", "rsi2")
    assert result.exit_code == 1
    assert "stored figures contradict each other: rsi2 on" in result.errors
    assert step in result.errors
    assert result.output == ""
