"""A ledger that lacks a fill: which books stop, which go on, and what people are told."""

import pandas as pd
import pytest
import yaml

from weights_pipeline.orchestration.runs import materialise
from weights_pipeline.report.facts import gather
from weights_pipeline.report.words import headline
from weights_pipeline.settings import Settings
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import drawing

DAYS = pd.bdate_range("2024-01-03", "2024-02-28", freq="B").strftime("%Y-%m-%d")
BOOK = {
    "description": "Tilt.",
    "owner": "team:desk",
    "account": "main",
    "ledger": "desk",
    "cadence": {"kind": "monthly", "day": 1, "time": "07:00"},
    "timezone": "America/New_York",
    "max_age": 35,
    "gross": 1.0,
    "method": {"kind": "sharpe_tilt", "lookback": "90d"},
    "metrics": {"min_closed_lots": 3, "min_sessions": 10},
    "limits": {"floor": 0.5, "cap": 2.0},
    "adjustment": {"rate": 1.0},
    "overlay": None,
}
LEDGER = {
    "name": "desk",
    "description": "A desk.",
    "fills": ["fills.csv"],
    "positions": "positions.csv",
    "timezone": "UTC",
    "first_month": "2024-01",
    "last_month": "2024-02",
}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Two strategies of daily round trips, the fourth fill of one of them written with a thousands separator."""
    data, rows = tmp_path / "data", ["strategy,symbol,ts,amount,price"]
    for number, day in enumerate(DAYS):
        for strategy, price in (("loser", 1000 - number), ("steady", 50 + number % 5)):
            rows.append(f"{strategy},X,{day}T15:00,{1 - 2 * (number % 2)}00,{price}")
    rows[7] = rows[7].rsplit(",", 1)[0] + ',"1,050.00"'
    for name, strategies in (("both", {"loser": 0.5, "steady": 0.5}), ("one", {"steady": 1.0})):
        (data / "books").mkdir(parents=True, exist_ok=True)
        (data / "books" / f"{name}.yaml").write_text(yaml.safe_dump(BOOK | {"name": name, "strategies": strategies}))
    (data / "ledgers").mkdir()
    (data / "ledgers" / "desk.yaml").write_text(yaml.safe_dump(LEDGER))
    (data / "fills.csv").write_text("\n".join(rows))
    stated = ["date,symbol,quantity,strategy", "2024-02-28,X,100,steady", "2024-02-29,X,9,steady"]
    (data / "positions.csv").write_text("\n".join(stated))
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "home"))
    return Workspace(Settings(data=data, home=tmp_path / "home", lock_timeout=30))


def test_books_that_hold_the_strategy_stop_or_stay_neutral_and_others_go_on(workspace, instance):
    def run(workspace, book):
        with drawing(0):
            return materialise(workspace, book, instance=instance)

    stopped = run(workspace, "both")
    assert not stopped.success
    failed = {(check.asset, check.name): check for check in stopped.checks if not check.passed}
    assert failed["desk_ledger/ledger_findings", "positions_known"].error
    assert (
        "positions unknown: loser X since 2024-01-08 (fills.csv line 8)"
        in failed["desk_ledger/ledger_findings", "positions_known"].summary
    )
    assert "loser X since 2024-01-08 (fills.csv line 8)" in failed["both/metrics", "positions_known"].summary
    assert not workspace.store.partitions("both", catalog.TARGET_WEIGHTS.name)

    assert run(workspace, "one").success

    source = workspace.root / "ledgers" / "desk.yaml"
    source.write_text(yaml.safe_dump(LEDGER | {"incomplete": "neutral"}))
    neutral = Workspace(workspace.settings)
    report = run(neutral, "both")
    assert report.success
    assert [check.name for check in report.checks if check.error and not check.passed] == ["reconciled"]
    metrics = neutral.store.read("both", catalog.METRICS)
    loser = metrics["strategy"] == "loser"
    assert set(metrics.loc[loser, "reason"]) == {"ledger_incomplete"}
    assert metrics.loc[~loser & (metrics["metric"] == "sharpe"), "value"].notna().any()
    weights = neutral.store.read("both", catalog.FINAL_WEIGHTS)
    assert set(weights["final"]) == {0.5}
    shown = Result("show", "--book", "both")
    assert "Ledger: loser: position in X unknown since 2024-01-08, fills.csv line 8." in shown.output
    assert "Ledger reconciled to 2024-02-28." in shown.output
    ((report,),) = (report.books for report in gather(neutral, [["both"]]))
    assert "loser: position in X unknown since 2024-01-08, fills.csv line 8." in headline(report)
    assert "Ledger reconciled to 2024-02-28." in headline(report)
