"""Dagster says which partitions are out of date, and whether a ledger or the code is the cause."""

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline_tests.support.returns_desk import BOOK, LEDGER, random_returns, write_book, write_ledger

RETURNS = random_returns("calm", "other", first="2024-01-02", last="2024-04-30")
MONTHS = [f"2024-0{month}-01" for month in range(1, 5)]


@pytest.fixture
def own(tmp_path, desk):
    """A desk with four rebalances."""
    write_ledger(tmp_path / "data", RETURNS)
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4})
    made = desk(tmp_path / "data")
    made.job(LEDGER, MONTHS[0], MONTHS[-1], checks=False)
    made.job(BOOK, MONTHS[0], MONTHS[-1], checks=False)
    return made


def out_of_date(desk):
    """By asset and partition that are out of date: what is the cause, and which asset it is in."""
    graph = build_definitions(desk.workspace).get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(desk.instance, graph, LoadingContextForTest(desk.instance))
    return {
        (key.to_user_string(), partition): [
            (cause.category.value, (cause.dependency_asset_key or key).to_user_string())
            for cause in resolver.get_stale_causes(key, partition)
        ]
        for key in graph.materializable_asset_keys
        for partition in (MONTHS if graph.get(key).is_partitioned else [None])
        if resolver.get_status(key, partition).value == "STALE"
    }


def test_a_corrected_month_is_the_cause_until_what_is_made_of_it_is_made_again(own, tmp_path, monkeypatch):
    assert out_of_date(own) == {}
    with monkeypatch.context() as patch:
        patch.setattr("weights_pipeline.orchestration.steps.code_version", lambda: "another")
        found = out_of_date(own)
    assert found[f"{BOOK}/metrics", MONTHS[0]] == [("CODE", f"{BOOK}/metrics")]
    assert {category for causes in found.values() for category, _ in causes} == {"CODE"}
    own.job(LEDGER, MONTHS[2], checks=False)
    assert out_of_date(own) == {}  # it was what it was
    corrected = RETURNS.copy()
    corrected.loc["2024-03-12", "calm"] += 0.01
    write_ledger(tmp_path / "data", corrected)
    # Beside it April is read, which is what it was.
    own.job(LEDGER, MONTHS[2], MONTHS[3], checks=False)
    cause = [("DATA", f"{LEDGER}/strategy_returns")]
    assert out_of_date(own) == {(f"{BOOK}/{name}", MONTHS[2]): cause for name in ("metrics", "allocator_state")}
    april = own.instance.get_latest_data_version_record(
        dg.AssetKey([LEDGER, "strategy_returns"]), partition_key=MONTHS[3]
    )
    assert "dagster/row_count" in april.asset_materialization.metadata
    own.job(BOOK, MONTHS[2], MONTHS[3], checks=False)
    assert out_of_date(own) == {}
