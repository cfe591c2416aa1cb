"""Every check can fail: each rule is broken on a sound history, and the finding names the rows."""

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.checks import book_checks, ledger_checks
from weights_pipeline.core import verify
from weights_pipeline.core.realized.adjust import carried, step
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.orchestration.asset_checks import as_result
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import Settings
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace


class Tampered:
    """The finished store with one table replaced: what a check sees after somebody changed a file by hand."""

    def __init__(self, store, table=None, change=None, records=None):
        self.store, self.table, self.change, self.records = store, table, change, records

    def read(self, schema, table, keys=None, *, columns=None, among=None):
        frame = self.store.read(schema, table, keys)
        if table is self.table:
            frame = self.change(frame)
        return frame if columns is None else frame[list(columns)]

    def partitions(self, schema, name):
        found = self.store.partitions(schema, name)
        return found if self.records is None else self.records(found)


def at(column, row, value):
    def change(frame):
        frame = frame.copy()
        frame.loc[frame.index[row], column] = value
        return frame

    return change


def shifted(column, row, by):
    return lambda frame: at(column, row, frame[column].iloc[row] + by)(frame)


def repeated(frame):
    return pd.concat([frame, frame.iloc[[7]].assign(session=frame["session"].iloc[-1])], ignore_index=True)


def unmeasured(frame):
    gone = (frame["metric"] == "calmar") & (frame["as_of"] == frame["as_of"].max())
    return frame.assign(value=frame["value"].mask(gone))


def flapping(frame):
    frame = frame.copy()
    frame.loc[frame.index[10:12], ["regime", "sessions_in_regime"]] = [["CRISIS", 1], ["NORMAL", 1]]
    return frame


def upside_down(frame):
    return frame.assign(scalar=frame["scalar"].mask(frame["regime"] == "NORMAL", 0.5))


def worse_when_scaled(frame):
    scaled = (frame["portfolio"] == "scaled") & (frame["metric"] == "sharpe")
    return frame.assign(value=frame["value"].where(~scaled, frame["value"] - 1))


def found(code, severity):
    """One more finding of a ledger."""
    row = dict.fromkeys(catalog.LEDGER_FINDINGS.column_names(), "") | {
        "code": code,
        "severity": severity,
        "strategy": "rsi2",
        "symbol": "SPY",
        "since": pd.Timestamp("2013-03-04"),
        "until": pd.NaT,
        "line": 17,
    }
    return lambda frame: pd.concat([frame, pd.DataFrame([row])], ignore_index=True)


def not_measured(frame):
    own = frame["strategy"] == "rsi2"
    return frame.assign(reason=frame["reason"].mask(own, "ledger_incomplete"))


BREAKS = [
    ("rejected_lots", "every_row_accounted_for", catalog.LEDGER_FILES, shifted("read", 0, 1)),
    ("rejected_lots", "every_row_accounted_for", catalog.REJECTED_LOTS, lambda f: f.iloc[1:]),
    (
        "rejected_lots",
        "rejection_share",
        catalog.LEDGER_FILES,
        lambda f: f.assign(rejected=f["read"] // 10, duplicates=0),
    ),
    ("ledger_findings", "positions_known", catalog.LEDGER_FINDINGS, found("position_unknown", "ERROR")),
    ("ledger_findings", "ledger_errors", catalog.LEDGER_FINDINGS, found("fees_lost", "ERROR")),
    ("ledger_findings", "ledger_warnings", catalog.LEDGER_FINDINGS, found("ambiguous_order", "WARN")),
    ("metrics", "positions_known", catalog.METRICS, not_measured),
    ("trade_ledger", "lots_unique", catalog.TRADE_LEDGER, repeated),
    ("strategy_returns", "strategies_known", catalog.STRATEGY_RETURNS, at("strategy", 3, "stranger")),
    ("strategy_returns", "returns_in_scale", catalog.STRATEGY_RETURNS, at("daily_return", 3, 2.0)),
    ("market_regime", "up_to_date", catalog.MARKET_REGIME, lambda f: f.iloc[:-6]),
    ("metrics", "enough_data", catalog.METRICS, unmeasured),
    ("metrics", "extreme_values", catalog.METRICS, lambda f: f.assign(value=f["value"] * 1e4)),
    ("target_weights", "hard_limits", catalog.TARGET_WEIGHTS, shifted("target", 5, 1e-6)),
    ("realized_weights", "hard_limits", catalog.REALIZED_WEIGHTS, shifted("realized", 5, 0.5)),
    ("realized_weights", "hard_limits", catalog.REALIZED_WEIGHTS, at("realized", 5, -0.01)),
    ("realized_weights", "recurrence", catalog.REALIZED_WEIGHTS, shifted("realized", 40, 1e-15)),
    ("realized_weights", "recurrence", catalog.REALIZED_WEIGHTS, at("target", 40, 0.9)),
    (
        "realized_weights",
        "recurrence",
        catalog.REALIZED_WEIGHTS,
        lambda f: f[f["as_of"] != sorted(f["as_of"].unique())[5]],
    ),
    ("realized_weights", "turnover", catalog.REALIZED_WEIGHTS, shifted("previous", 3, 0.4)),
    ("allocator_state", "coverage", catalog.ALLOCATOR_STATE, lambda f: f.iloc[: len(f) // 2]),
    ("risk_regime", "sticky_regimes", catalog.RISK_REGIME, flapping),
    ("risk_scalar", "bounds", catalog.RISK_SCALAR, at("scalar", 9, 0.2)),
    ("risk_scalar", "recursion", catalog.RISK_SCALAR, shifted("scalar", 9, -1e-15)),
    ("risk_scalar", "recursion", catalog.RISK_SCALAR, at("sleeve", 9, "stranger")),
    ("risk_scalar", "smoothness", catalog.RISK_SCALAR, at("scalar", 9, 0.3)),
    ("risk_scalar", "ordered_by_regime", catalog.RISK_SCALAR, upside_down),
    ("risk_scalar", "no_null_propagation", catalog.RISK_SCALAR, at("scalar", 9, np.nan)),
    ("risk_scalar", "no_null_propagation", catalog.RISK_SCALAR, lambda f: f.iloc[1:]),
    ("risk_scalar", "no_null_propagation", catalog.RISK_REGIME, lambda f: f.iloc[:-1]),
    ("risk_scalar", "no_null_propagation", catalog.ALLOCATOR_STATE, at("corr_shock", 9, np.nan)),
    ("allocator_state", "alignment", catalog.ALLOCATOR_STATE, shifted("portfolio_return", 9, 1e-18)),
    ("allocator_state", "alignment", catalog.REALIZED_WEIGHTS, lambda f: f.assign(realized=f["realized"] * 1.001)),
    ("allocator_audit", "audit", catalog.ALLOCATOR_AUDIT, worse_when_scaled),
    (
        "final_weights",
        "final_is_realized_times_scalar",
        catalog.FINAL_WEIGHTS,
        shifted("final", 9, 1e-12),
    ),
    ("final_weights", "final_is_realized_times_scalar", catalog.FINAL_WEIGHTS, lambda f: f.iloc[1:]),
    ("final_weights", "no_look_ahead", catalog.FINAL_WEIGHTS, shifted("final", -1, 1e-16)),
    ("final_weights", "no_look_ahead", catalog.TRADE_LEDGER, lambda f: f.assign(pnl=f["pnl"] * 1.01)),
]


def all_checks(settings):
    setup = Workspace(settings).setup(BOOK)
    return [*ledger_checks(setup.source, [setup]), *book_checks(setup)]


def find(finished, table, name):
    (check,) = [c for c in all_checks(finished.settings) if c.table.name == table and c.name == name]
    return check


@pytest.mark.parametrize(("table", "name", "broken", "change"), BREAKS)
def test_a_broken_rule_is_found(finished, table, name, broken, change):
    check = find(finished, table, name)
    finding = check.run(Tampered(finished.store, broken, change))
    assert not finding.passed
    assert finding.summary
    result = as_result(finding, error=check.error)
    assert not result.passed
    assert {"value", "limit", "offending_rows"} <= set(result.metadata)
    assert result.severity == (dg.AssetCheckSeverity.ERROR if check.error else dg.AssetCheckSeverity.WARN)


def test_every_check_of_the_list_is_broken_above():
    broken = {(table, name) for table, name, *_ in BREAKS}
    declared = {(c.table.name, c.name) for c in all_checks(Settings(data=DATA, home=DATA))}
    elsewhere = {
        ("target_weights", "at_bound"),  # information, below
        ("realized_weights", "no_gap"),
        ("weight_history", "no_version_gap"),
        ("weight_history", "made_of_stored_ledger"),  # test_restatement
        ("strategy_returns", "books_made_of_it"),
        ("weight_history", "stored_as_written"),
        ("strategy_returns", "stored_as_written"),
    }
    assert declared - broken == elsewhere


def test_limits_that_decide_a_weight_are_told_and_no_warning(finished):
    change = at("bound", -1, "cap")
    tampered = Tampered(finished.store, catalog.TARGET_WEIGHTS, change)
    last = change(finished.store.read(BOOK, catalog.TARGET_WEIGHTS)).iloc[-1]
    finding = find(finished, "target_weights", "at_bound").run(tampered)
    assert finding.passed
    assert f"{last['strategy']} (cap)" in finding.names
    assert f"{last['strategy']} (cap)" in finding.summary
    assert finding.value == len(finding.offending) <= finding.limit == 16


def test_extreme_values_are_those_of_the_newest_rebalance_the_largest_first_and_signed(finished):
    check = find(finished, "metrics", "extreme_values")
    metrics = finished.store.read(BOOK, catalog.METRICS)
    newest = (metrics["as_of"] == metrics["as_of"].max()) & (metrics["metric"] == "calmar")
    of = metrics[newest & metrics["value"].notna()].index
    before = Tampered(finished.store, catalog.METRICS, lambda f: f.assign(value=f["value"].where(newest, 1e3)))
    assert check.run(before).passed
    now = Tampered(
        finished.store,
        catalog.METRICS,
        lambda f: f.assign(value=f["value"].mask(f.index == of[1], -80.0).mask(f.index == of[2], 30.0)),
    )
    finding = check.run(now)
    assert (finding.passed, finding.value) == (False, -80.0)
    assert finding.offending["value"].tolist() == [-80.0, 30.0]
    assert finding.names == tuple(metrics.loc[of[1:3], "strategy"])
    assert f"is -80.00 ({metrics.loc[of[1], 'strategy']}); 2 values beyond ±25" in finding.summary


def test_checks_that_block_run_by_themselves_and_write_nothing(finished):
    job = build_definitions(finished.workspace).resolve_implicit_global_asset_job_def()
    asked = {
        dg.AssetCheckKey(dg.AssetKey([check.schema, check.table.name]), check.name)
        for check in all_checks(finished.settings)
        if check.blocking
    }
    before = finished.hashes()
    alone = job.get_subset(asset_selection=set(), asset_check_selection=asked)
    with dg.DagsterInstance.ephemeral() as instance:
        done = alone.execute_in_process(instance=instance)
    assert {each.asset_check_key for each in done.get_asset_check_evaluations() if each.passed} == asked
    assert done.get_asset_materialization_events() == []
    assert finished.hashes() == before


def test_gap_is_found(finished):
    check = find(finished, "realized_weights", "no_gap")
    assert check.run(finished.store).passed
    without = Tampered(finished.store, records=lambda found: {k: v for k, v in found.items() if k != "2012-07-01"})
    finding = check.run(without)
    assert not finding.passed
    assert finding.offending["partition_key"].tolist() == ["2012-07-01"]


def test_rows_changed_by_hand_are_found(finished, desk):
    own = desk(finished.settings.data, like=finished)
    check = find(own, "weight_history", "stored_as_written")
    assert "11 tables" in check.run(own.store).summary
    with duckdb.connect(str(own.store.path)) as connection:
        connection.execute(f"UPDATE {BOOK}.final_weights SET final = 0.9 WHERE as_of = '2013-03-28'").fetchall()
    finding = check.run(own.store)
    assert not finding.passed
    assert finding.offending.to_dict("records") == [{"table": "final_weights", "partition": "2013-03-01"}]
    assert find(own, "strategy_returns", "stored_as_written").run(own.store).passed


def test_a_store_without_tables_is_not_as_written():
    finding = verify.as_written(pd.DataFrame({"table": [], "partition": []}), 0)
    assert not finding.passed
    assert finding.summary == "there is no table to compare"


def test_errors_pass_on_the_sound_history(finished):
    once = ReadOnce(finished.store)
    with once.view():
        failed = [c.name for c in all_checks(finished.settings) if c.error and not c.run(once).passed]
    assert failed == []


def test_recurrence_survives_a_change_of_limits():
    names, base = ["a", "b", "c"], np.array([0.2, 0.3, 0.5])
    target = np.array([0.4, 0.2, 0.4])
    tables, previous = [], None
    for month, cap in enumerate([2.0, 2.0, 1.5], start=1):
        lower, upper = Limits(floor=0.5, cap=cap).bounds(base, 1.0)
        goal = np.minimum(target, upper)
        goal[2] += 1 - goal.sum()
        begin, _ = carried(previous, names, base)
        begin, realized = step(begin, goal, lower, upper, rate=0.5, gross=1.0)
        previous = pd.Series(realized, index=names)
        weights = {"base": base, "previous": begin, "target": goal, "realized": realized}
        table = pd.DataFrame({"strategy": names, **weights, "lower": lower, "upper": upper, "slack": 0.0})
        tables.append(table.assign(rate=0.5, as_of=pd.Timestamp(2020, month, 28)))
    finding = verify.recurrence(pd.concat(tables, ignore_index=True))
    assert finding.passed, finding.offending


def metric_rows(*dates):
    """Two strategies, alike: per date the value of their metric and their number of sessions."""
    return pd.DataFrame(
        [
            {"as_of": pd.Timestamp(f"2012-{month:02d}-28"), "strategy": s, "metric": m, "value": v, "reason": "flat"}
            for month, (value, sessions) in enumerate(dates, start=1)
            for s in ("a", "b")
            for m, v in (("calmar", value), ("n_sessions", sessions))
        ]
    ).assign(lookback="12m")


def test_warming_up_is_not_a_failure_but_a_measurement_that_ceases_is():
    assert verify.enough_data(metric_rows((np.nan, 20.0), (np.nan, 60.0)), ["calmar"], {"12m": 226}).passed
    full = verify.enough_data(metric_rows((np.nan, 20.0), (np.nan, 226.0)), ["calmar"], {"12m": 226})
    assert not full.passed
    assert full.offending["strategy"].tolist() == ["a", "b"]
    ceased = verify.enough_data(metric_rows((1.0, 60.0), (np.nan, 81.0)), ["calmar"], {"12m": 226})
    assert not ceased.passed
    assert ceased.offending["as_of"].unique().tolist() == [pd.Timestamp("2012-02-28")]


def test_an_ensemble_that_reads_another_regimes_set_is_found():
    chosen = ["all of 2020-01-31: latest other, no set of the current regime bear"]
    chosen.append("bull of 2020-02-28: current regime")
    dates = pd.to_datetime(["2020-01-31", "2020-02-28"])
    targets = pd.DataFrame({"as_of": dates, "strategy": "a", "weight_set": chosen})
    assert verify.reads_current_set(targets).passed
    finding = verify.reads_current_set(targets.iloc[:1])
    assert not finding.passed
    assert finding.value == 1


@pytest.mark.parametrize(("column", "value", "passes"), [("final", 0.0, True), ("final", 1e-15, False)])
def test_books_without_a_scalar_are_compared_too(column, value, passes):
    none = {"scalar": np.nan, "volatility_scalar": np.nan}
    stored = pd.DataFrame(
        {"as_of": pd.Timestamp("2020-01-31"), "strategy": ["a"], "realized": 0.5, **none, "final": 0.5}
    )
    assert verify.reproduced(stored.assign(**{column: stored[column] - value}), stored).passed == passes
    assert not verify.reproduced(stored.assign(scalar=1.0), stored).passed
