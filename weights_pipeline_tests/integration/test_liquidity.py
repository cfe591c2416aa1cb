"""A book limited by liquidity and by groups that overlap: stored, explained, reproduced and restated."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, edit_rows, edit_yaml
from weights_pipeline.checks import book_checks, ledger_checks
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL
from weights_pipeline.core.waterfall import waterfalls_by_date
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.operations.restatement import restate
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.tables import catalog
from weights_pipeline.versions.recompute import reproduce
from weights_pipeline_tests.support.by_library import LATE, SMALL_BOOK, assert_stored, small_desk, tables_of
from weights_pipeline_tests.support.desk import Desk

CAPITAL, SHARE = 1_000_000.0, 0.005


def write_volumes(data: Path) -> None:
    """Every symbol trades a million a day, and in April, while rsi2 holds it, one trades less."""
    symbols = set[str]()
    for file in (*data.glob("sample/lots/*.csv"), *data.glob("sample/fills/*.csv")):
        symbols |= set(pd.read_csv(file)["symbol"])
    days = calendar_sessions("XNYS", dt.date(2011, 12, 1), dt.date(2012, 6, 29))
    rows = pd.DataFrame({"date": days}).merge(pd.DataFrame({"symbol": sorted(symbols)}), how="cross")
    rows.assign(volume=1_000_000.0).to_csv(data / "sample" / "volumes.csv", index=False)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    root = tmp_path_factory.mktemp("liquidity")
    data = small_desk(root / "data")
    write_volumes(data)
    edit_yaml(data / "ledgers" / "sample.yaml", volumes="sample/volumes.csv")
    edit_yaml(
        data / "books" / f"{BOOK}.yaml",
        limits={
            "gross": "at_most",
            "capital": CAPITAL,
            "max_capital": {"rsi2": {"participation": SHARE}},
            "groups": {
                "fast": {"members": ["rsi2", "reversal_5d"], "cap": 0.76},
                "slow": {"members": ["reversal_5d", "breakout_55d"], "cap": 0.62},
            },
        },
    )
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(data, root / "home", instance)
        desk.done()
        yield desk


def test_what_is_stored_is_what_the_library_makes_and_limits_hold(limited: Desk) -> None:
    made = tables_of(limited.settings.data)
    assert_stored(limited.store, made)
    metrics = limited.store.read(BOOK, catalog.METRICS)
    liquid = metrics[metrics["metric"] == LIQUID_CAPITAL].set_index(["as_of", "strategy"])["value"]
    targets = limited.store.read(BOOK, catalog.TARGET_WEIGHTS).set_index(["as_of", "strategy"])
    realized = limited.store.read(BOOK, catalog.REALIZED_WEIGHTS).set_index(["as_of", "strategy"])
    own = targets.xs("rsi2", level="strategy", drop_level=False)
    allowed = SHARE * liquid.loc[own.index] / CAPITAL
    assert (allowed < 2 * SMALL_BOOK["rsi2"]).any()
    np.testing.assert_array_equal(own["upper"], np.minimum(2 * SMALL_BOOK["rsi2"], allowed))
    assert (realized["realized"] <= realized["upper"]).all()
    held = own[own["target"] == allowed]
    assert len(held)
    assert (held["bound"] == "cap of rsi2's liquidity").all()
    assert (realized.groupby("as_of")["realized"].sum() < 1).any()
    final = limited.store.read(BOOK, catalog.FINAL_WEIGHTS)
    steps = waterfalls_by_date(targets.reset_index(), realized.reset_index(), final)
    assert [step.name for step in steps[held.index[0][0]]["rsi2"] if "held at its cap of rsi2" in step.remark]
    for members, cap in ((["rsi2", "reversal_5d"], 0.76), (["reversal_5d", "breakout_55d"], 0.62)):
        for column, rows in (("target", targets), ("realized", realized)):
            together = rows[rows.index.isin(members, level="strategy")].groupby("as_of")[column].sum()
            assert (together <= cap + 1e-12).all()


def test_every_version_is_made_again_to_the_bit_and_every_check_passes(limited: Desk) -> None:
    history = limited.store.read(BOOK, catalog.WEIGHT_HISTORY)
    for version in history["version"].unique():
        again = reproduce(limited.store, BOOK, version)
        assert again.finding.passed, again.finding.summary
    checks = [*ledger_checks(limited.setup.source, [limited.setup]), *book_checks(limited.setup)]
    assert {each.name for each in checks} >= {"volumes_known", "group_limits", "no_look_ahead"}
    store = ReadOnce(limited.store)
    failed = {check.name: found.summary for check in checks if not (found := check.run(store)).passed and check.error}
    assert failed == {}


def test_restated_volumes_show_which_weights_change(limited: Desk, tmp_path: Path) -> None:
    file = limited.settings.data / "sample" / "volumes.csv"
    before = file.read_text()
    try:
        edit_rows(file, lambda row: row | {"volume": "500000.0"} if row["date"] < "2012-02-15" else row)
        found = restate(limited.workspace, "sample", [BOOK], LATE)
    finally:
        file.write_text(before)
    assert {change.table for change in found.changes} == {"strategy_liquidity"}
    (effect,) = found.effects
    assert effect.changed
    assert effect.largest.strategy in SMALL_BOOK
