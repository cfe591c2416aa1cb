"""The command line: what it prints, as text and JSON, and the exit codes."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.support.data import DATA
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.returns_desk import BOOK, random_returns, write_book, write_ledger


@pytest.fixture
def weights(finished, monkeypatch):
    """Call the command line on the finished store."""
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    return Result


def test_show_has_the_promised_columns_and_lines(weights):
    result = weights("show")
    assert result.exit_code == 0, result.output
    for heading in ("Strategy", "Base", "Target", "Realized", "Final", "Calmar", "Why"):
        assert heading in result.output
    assert "in force from 2013-07-01" in result.output
    assert "Next rebalance: 2013-08-01T06:30-04:00" in result.output
    assert "risk scalar" in result.output
    assert "half of a gap takes 6.6 rebalances, 90% takes 22; 34.9% is left after ten" in result.output


def test_show_json_agrees_with_the_store(weights, finished):
    content = json.loads(weights("show", "--json").output)
    assert [c["book"] for c in content] == ["calmar_core"]
    final = finished.store.read("calmar_core", catalog.FINAL_WEIGHTS)
    newest = final[final["as_of"] == final["as_of"].max()].set_index("strategy")["final"]
    assert {r["strategy"]: r["final"] for r in content[0]["rows"]} == newest.to_dict()
    assert content[0]["speed"]["rebalances_to_90"] == 22


def test_show_as_of_gives_what_was_in_force_that_day(weights):
    content = json.loads(weights("show", "--as-of", "2013-02-14", "--json").output)
    assert content[0]["effective_from"] == "2013-02-01"
    assert content[0]["as_of"] == "2013-01-31"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "--as-of", "2011-01-01"), 3, "the first are from 2012-02-01 on"),
        (("show", "--book", "nonsense"), 3, "nonsense: no weights in"),
        (("show", "--as-of", "yesterday"), 2, "--as-of: invalid day value: 'yesterday'"),
        (("run", "--book", "nonsense"), 2, "unknown book 'nonsense'; there are calmar_core"),
        (("run", "--book", "calmar_core", "--from", "1999-01"), 2, "months run from 2012-01 to 2013-06"),
        (("run", "--book", "calmar_core", "--partition", "2012-01", "--to", "2012-02"), 2, "one or the other"),
        (("check", "--book", "nonsense"), 2, "unknown book"),
        (("nonsense",), 2, "invalid choice: 'nonsense'"),
    ],
)
def test_exit_codes_and_messages(weights, arguments, code, message):
    result = weights(*arguments)
    assert result.exit_code == code, result.errors
    assert message in result.errors
    assert result.output == ""


def test_check_passes_on_a_sound_store(weights):
    result = weights("check")
    assert result.exit_code == 0, result.output
    assert "ERROR" not in result.output
    outcomes = json.loads(weights("check", "--json").output)
    assert len(outcomes) == 34
    assert all(o["passed"] or o["severity"] == "WARN" for o in outcomes)
    assert {"table", "check", "value", "limit", "summary", "offending"} <= set(outcomes[0])


def test_a_reader_that_has_seen_enough_is_no_error(finished):
    script = [sys.executable, "-c", "from weights_pipeline.cli import main; main(['show'])"]
    environment = os.environ | {
        "WEIGHTS_DATA": str(finished.settings.data),
        "WEIGHTS_HOME": str(finished.settings.home),
    }
    process = subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(60) == 0
    assert errors == b""


def test_nothing_there_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_DATA", str(DATA))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    for command in ("show", "check"):
        result = Result(command)
        assert result.exit_code == 3
        assert "nothing has been materialised yet" in result.errors


def test_wrong_data_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path / "nowhere"))
    result = Result("show")
    assert result.exit_code == 2
    assert "WEIGHTS_DATA" in result.errors
    assert "nowhere" in result.errors


def test_run_in_a_process_of_its_own(tmp_path, monkeypatch):
    write_ledger(tmp_path / "data", random_returns("calm", "other", first="2024-01-02", last="2024-03-28"))
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4})
    own = {
        "WEIGHTS_DATA": str(tmp_path / "data"),
        "WEIGHTS_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }
    script = [sys.executable, "-c", "from weights_pipeline.cli import main; main()"]
    done = subprocess.run(
        [*script, "run", "--book", BOOK, "--partition", "2024-01"],
        env=os.environ | own | {"COLUMNS": "150"},
        cwd=DATA.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 partitions of 18 assets" in done.stdout
    assert "2024-01-01 to 2024-01-01" in done.stdout
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    failed = Result("run", "--book", BOOK, "--partition", "latest", "--json")
    assert failed.exit_code == 1
    report = json.loads(failed.output)
    assert (report["success"], report["first"], report["last"]) == (False, "2024-03-01", "2024-03-01")
    assert any("2024-02-01" in error for error in report["errors"])
