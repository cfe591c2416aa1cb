"""Full Dagster runs give the bits of the library: a monthly book, a weekly one and an ensemble.

That a range is its partitions one by one, that nothing sees the future and that order is of no account is tried on the
library alone, where it costs milliseconds.
"""

import pandas as pd
import pytest

from benchmarks.support.data import LEDGER, WEEKLY_BOOKS
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.by_library import assert_stored, tables_of
from weights_pipeline_tests.support.commands import Result

SHARPE, ENSEMBLE = WEEKLY_BOOKS


def test_every_table_of_a_monthly_book_is_what_the_library_makes_of_the_files(finished):
    made = tables_of(finished.settings.data)
    assert set(made) == {
        *("trade_ledger", "strategy_returns", "target_weights", "realized_weights", "final_weights"),
        *("allocator_state", "risk_regime", "risk_scalar"),
    }
    assert_stored(finished.store, made)


@pytest.mark.parametrize("name", ["calmar_core", SHARPE, ENSEMBLE])
def test_simulated_weights_are_the_stored_ones_bit_for_bit(finished, finished_weekly, monkeypatch, tmp_path, name):
    desk = finished_weekly if name in WEEKLY_BOOKS else finished
    monkeypatch.setenv("WEIGHTS_DATA", str(desk.settings.data))
    returns, output = tmp_path / "returns.parquet", tmp_path / "weights.parquet"
    desk.store.read(LEDGER, catalog.STRATEGY_RETURNS).to_parquet(returns)
    arguments = ["simulate", "--book", str(desk.settings.data / "books" / f"{name}.yaml"), "--returns", str(returns)]
    if name == ENSEMBLE:
        arguments += ["--benchmark", str(desk.settings.data / "sample" / "benchmark.csv")]
    result = Result(*arguments, "--output", str(output))
    assert result.exit_code == 0, result.errors
    stored = desk.store.read(name, catalog.FINAL_WEIGHTS)
    simulated = pd.read_parquet(output)
    known = simulated[simulated["as_of"].isin(stored["as_of"])].reset_index(drop=True)
    columns = ["as_of", "effective_from", "strategy", "realized", "scalar", "regime", "final", "next_rebalance"]
    assert len(stored) > 200
    pd.testing.assert_frame_equal(known[columns], stored[columns], check_exact=True, check_dtype=False)
    newest = simulated[simulated["as_of"] == simulated["as_of"].max()]
    assert f"in force from {newest['effective_from'].iloc[0].date()}" in result.output
    assert f"Simulated {simulated['as_of'].nunique()} rebalances" in result.output

    csv = tmp_path / "returns.csv"
    pd.read_parquet(returns).to_csv(csv, index=False)
    arguments[4] = str(csv)
    again = Result(*arguments)
    assert again.output == result.output
