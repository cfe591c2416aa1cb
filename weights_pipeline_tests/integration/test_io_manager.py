"""Tables of the store are inputs like any other: of a notebook, and of assets and checks of somebody else's project."""

import dagster as dg
import pandas as pd
import pytest

from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.io_manager import KEY, TablesIOManager
from weights_pipeline.orchestration.resources import DuckDBStoreResource
from weights_pipeline.tables import catalog
from weights_pipeline.tables.errors import MissingPartitionError
from weights_pipeline_tests.support.desk import QUIET

FINAL = dg.AssetKey([BOOK, "final_weights"])


@pytest.fixture(scope="module")
def definitions(finished):
    """The code location over the finished desk."""
    return build_definitions(finished.workspace)


def test_a_notebook_loads_a_partition_a_range_and_everything(finished, definitions, instance):
    stored = finished.store.read(BOOK, catalog.FINAL_WEIGHTS)
    loader = definitions.get_asset_value_loader(instance=instance)
    [one, two] = sorted(finished.store.partitions(BOOK, "final_weights"))[-2:]
    alone = loader.load_asset_value(FINAL, partition_key=two)
    pd.testing.assert_frame_equal(alone, finished.store.read(BOOK, catalog.FINAL_WEIGHTS, [two]))
    both = loader.load_asset_value(FINAL, partition_key_range=dg.PartitionKeyRange(one, two))
    pd.testing.assert_frame_equal(both, finished.store.read(BOOK, catalog.FINAL_WEIGHTS, [one, two]))
    pd.testing.assert_frame_equal(loader.load_asset_value(FINAL), stored)


def run(instance, definitions, *, assets=(), checks=(), selected):
    """Run what a project of somebody else has made, in its own definitions beside ours."""
    theirs = dg.Definitions(
        assets=assets, asset_checks=checks, jobs=[dg.define_asset_job("theirs", selection=selected)]
    )
    job = dg.Definitions.merge(definitions, theirs).resolve_job_def("theirs")
    return job.execute_in_process(instance=instance, run_config=QUIET)


def test_an_unpartitioned_asset_of_a_user_reads_final_weights(finished, definitions, instance):
    @dg.asset(ins={"weights": dg.AssetIn(FINAL)})
    def gross(weights: pd.DataFrame) -> float:
        return float(weights["final"].sum())

    result = run(instance, definitions, assets=[gross], selected="gross")
    assert result.output_for_node("gross") == finished.store.read(BOOK, catalog.FINAL_WEIGHTS)["final"].sum()


def test_a_check_of_a_user_reads_final_weights(finished, definitions, instance):
    @dg.asset_check(asset=FINAL, name="theirs")
    def theirs(final_weights: pd.DataFrame) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=bool((final_weights["final"] >= 0).all()), metadata={"n": len(final_weights)})

    selected = dg.AssetSelection.checks(theirs)
    [found] = run(instance, definitions, checks=[theirs], selected=selected).get_asset_check_evaluations()
    assert found.passed
    assert found.metadata["n"].value == len(finished.store.read(BOOK, catalog.FINAL_WEIGHTS))


def test_versions_are_loaded_by_the_rebalance_that_they_are_of(finished, definitions, instance):
    key = max(finished.store.partitions(BOOK, "final_weights"))
    loaded = definitions.load_asset_value([BOOK, "weight_history"], instance=instance, partition_key=key)
    assert set(loaded["rebalance"]) == {key}


def test_a_gap_is_refused_by_name_and_nothing_is_written(desk, small_data, instance):
    own = desk(small_data)
    own.job(LEDGER, "2012-01-01", "2012-02-01")
    loader = build_definitions(own.workspace).get_asset_value_loader(instance=instance)
    returns = [LEDGER, "strategy_returns"]
    assert len(loader.load_asset_value(returns)) == len(own.store.read(LEDGER, catalog.STRATEGY_RETURNS)) > 0
    asked = dg.PartitionKeyRange("2012-02-01", "2012-03-01")
    with pytest.raises(MissingPartitionError, match=r"partition 2012-03-01 missing .* holds 2012-01-01 to 2012-02-01"):
        loader.load_asset_value(returns, partition_key_range=asked)
    with pytest.raises(MissingPartitionError, match=f"{BOOK}/final_weights: every partition missing"):
        loader.load_asset_value(FINAL)


def test_it_serves_a_project_of_its_own(finished, instance):
    theirs = dg.AssetSpec(FINAL, partitions_def=None).with_io_manager_key(KEY)
    tables = TablesIOManager(store=DuckDBStoreResource(home=str(finished.settings.home)))

    @dg.asset(ins={"weights": dg.AssetIn(FINAL)})
    def gross(weights: pd.DataFrame) -> float:
        return float(weights["final"].sum())

    result = dg.materialize([theirs, gross], resources={KEY: tables}, instance=instance, run_config=QUIET)
    assert result.output_for_node("gross") > 0

    @dg.asset(io_manager_key=KEY)
    def written() -> int:
        return 1

    refused = dg.materialize([written], QUIET, instance, {KEY: tables}, raise_on_error=False)
    [failure] = [event for event in refused.all_events if event.is_step_failure]
    assert "only reads" in failure.step_failure_data.error.to_string()
