"""Desks of another year: months on sessions of their own, and calendars that every command refuses."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import edit_yaml
from weights_pipeline.core.returns.frequency import MONTHLY
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import read_documents
from weights_pipeline.versions.recompute import reproduce
from weights_pipeline_tests.support.commands import Result

MONTHS = pd.period_range("2023-09", "2024-04", freq="M")
DRAWN = np.random.default_rng(8).normal(0.01, 0.03, (len(MONTHS), 2)).round(4)

LEDGER = """
name: record
description: Two funds that report by the month.
returns: [funds/returns.csv]
timezone: America/New_York
calendar: {custom: {file: funds/sessions.csv}}
frequency: monthly
first_month: 2023-09
last_month: 2024-04
"""
BOOK = """
name: funds
description: A tilt of two funds.
owner: team:desk
account: main
ledger: record
cadence: {kind: monthly, day: 1, time: "07:00"}
timezone: America/New_York
max_age: 35
strategies: {alpha: 0.6, beta: 0.4}
method: {kind: sharpe_tilt, lookback: 6m}
limits: {floor: 0.5, cap: 2.0}
adjustment: {rate: 0.5}
overlay: null
"""


def list_sessions(data: Path, last: str) -> None:
    days = calendar_sessions("XNYS", dt.date(2023, 6, 1), dt.date.fromisoformat(last)).strftime("%Y-%m-%d")
    (data / "funds" / "sessions.csv").write_text("\n".join(["date", *days]) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for folder in ("ledgers", "books", "funds"):
        (data / folder).mkdir(parents=True)
    (data / "ledgers" / "record.yaml").write_text(LEDGER)
    (data / "books" / "funds.yaml").write_text(BOOK)
    list_sessions(data, "2024-06-28")
    lines = [f"{month},{a},{b}" for month, (a, b) in zip(MONTHS, DRAWN.tolist(), strict=True)]
    (data / "funds" / "returns.csv").write_text("\n".join(["date,alpha,beta", *lines]) + "\n")
    return data


def test_months_on_sessions_of_their_own_through_store_checks_and_history(data, desk, monkeypatch):
    made = desk(data)
    report = made.done("2023-09", "2024-04", book="funds")
    assert [check.name for check in report.checks if check.error and not check.passed] == []
    assert {"no_look_ahead", "stored_as_written", "enough_data"} <= {check.name for check in report.checks}
    returns = made.store.read("record_ledger", catalog.STRATEGY_RETURNS)
    ends = returns["session"].dt.strftime("%m-%d").unique().tolist()
    assert ends == ["09-29", "10-31", "11-30", "12-29", "01-31", "02-29", "03-28", "04-30"]
    metrics = made.store.read("funds", catalog.METRICS)
    last = metrics[(metrics["as_of"] == "2024-04-30") & (metrics["strategy"] == "alpha")].set_index("metric")["value"]
    assert set(metrics["lookback"]) == {"6m"}
    window = DRAWN[2:, 0]
    sharpe = (window.mean() * 12 - 0.045) / (window.std(ddof=1) * math.sqrt(12))
    assert last["sharpe"] == pytest.approx(sharpe, rel=1e-12)
    assert last["n_sessions"] == 6
    # In two months there is nothing to go by, in the third there is.
    notes = made.store.read("funds", catalog.TARGET_WEIGHTS).groupby("as_of")["note"].first().tolist()
    assert [note == "neutral: insufficient" for note in notes] == [True, True, *[False] * 6]
    final = made.store.read("funds", catalog.FINAL_WEIGHTS)
    assert final["effective_from"].max() == pd.Timestamp("2024-05-01")

    # A version is computed again from the sessions as they were, wherever the file is and whatever it says by now.
    list_sessions(data, "2024-01-31")
    assert reproduce(made.store, "funds", 8).finding.passed
    version = made.store.read("funds", catalog.WEIGHT_HISTORY).iloc[-1]
    parameters = json.loads(read_documents(made.store, "funds")[version["parameters_hash"]])
    assert parameters["ledger"]["calendar"] == {"custom": "America/New_York"}
    assert parameters["ledger"]["frequency"] == {"per_year": MONTHLY.per_year, "unit": "month"}

    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(made.settings.home))
    ended = Result("check", "--book", "funds")
    assert ended.exit_code != 0
    assert "is recorded from 2023-06-01 to 2024-01-31" in ended.output + ended.errors


def test_a_simulation_of_months_is_that_of_the_store(data, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "home"))
    arguments = ("--book", str(data / "books" / "funds.yaml"), "--returns", str(data / "funds" / "returns.csv"))
    result = Result("simulate", *arguments, "--monthly", "--json")
    assert result.exit_code == 0, result.errors
    found = json.loads(result.output)
    assert found["rebalances"] == 8
    assert found["findings"] == []
    traded = found["performance"]["unscaled"]
    # Eight months less the first, of which six are enough for figures of a year.
    assert traded["volatility"] is not None
    assert traded["worst_month"] == pytest.approx(traded["worst_day"])
    daily = Result("simulate", *arguments, "--json")
    assert daily.exit_code == 2
    assert "'2023-09' is not an ISO 8601 date" in daily.errors


COMMANDS = [
    ("run", "--book", "funds"),
    ("check", "--book", "funds"),
    ("restate",),
    ("rebalance", "--book", "funds", "--dry-run"),
    ("report", "--book", "funds"),
    ("init", "--book", "funds", "--effective", "2024-05-01"),
    ("books", "validate", "BOOK"),
    ("allocator", "state", "--book", "funds"),
    ("ensemble", "update", "--book", "funds"),
    ("simulate", "--book", "BOOK", "--returns", "RETURNS", "--calendar", "XBEL"),
    ("allocator", "state", "--returns", "RETURNS", "--calendar", "XBEL"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_a_calendar_that_cannot_be_built(data, monkeypatch, tmp_path, command):
    edit_yaml(data / "ledgers" / "record.yaml", calendar="XBEL")
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "home"))
    files = {"BOOK": data / "books" / "funds.yaml", "RETURNS": data / "funds" / "returns.csv"}
    result = Result(*(str(files.get(word, word)) for word in command))
    assert result.exit_code == 2
    assert "cannot build the sessions of XBEL" in result.errors
    assert "calendar: {custom: {file: sessions.csv}}" in result.errors


def test_a_book_whose_calendar_has_ended_is_not_valid(data, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    validate = ("books", "validate", str(data / "books" / "funds.yaml"))
    assert Result(*validate).exit_code == 0
    assert "null with fewer than 3 months or" in Result(*validate).output
    edit_yaml(data / "ledgers" / "record.yaml", last_month=None)
    goes_on = Result(*validate)
    assert goes_on.exit_code == 2
    assert "sessions.csv is recorded from 2023-06-01 to 2024-06-28; 2023-09-01 to 20" in goes_on.errors
    edit_yaml(data / "ledgers" / "record.yaml", last_month="2024-04", frequency="daily")
    edit_yaml(data / "books" / "funds.yaml", overlay={"enabled": True})
    assert Result(*validate).exit_code == 0
    edit_yaml(data / "ledgers" / "record.yaml", frequency="monthly")
    assert "book funds, on ledger record: overlay: counts sessions, of which returns by month have none" in (
        Result(*validate).errors
    )
