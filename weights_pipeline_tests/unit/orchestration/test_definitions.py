"""Definitions: what a person sees in the catalogue, and that every declaration refers to something that exists."""

import tomllib
from itertools import pairwise

import dagster as dg
import pytest
import yaml

from benchmarks.support.data import BOOK, DATA, LEDGER
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.instance import LOCATION
from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.tables.catalog import DERIVED_FROM, TABLES
from weights_pipeline.workspace import Workspace

LEDGER_NAMES = {
    "trade_ledger",
    "open_lots",
    "unknown_positions",
    "rejected_lots",
    "ledger_files",
    "ledger_findings",
    "strategy_returns",
    "market_regime",
}
OVERLAY = {"allocator_state", "risk_regime", "risk_scalar", "allocator_summary", "allocator_audit"}
BOOKS = (BOOK, "sharpe_weekly", "ensemble_regime", "max_hybrid", "max_hybrid_dynamic")
COMPARED = {"comparison", "walk_forward_windows", "walk_forward_weights", "walk_forward_returns"}
CHAIN = [
    "metrics",
    "target_weights",
    "realized_weights",
    "allocator_state",
    "risk_regime",
    "risk_scalar",
    "final_weights",
    "allocator_summary",
    "allocator_audit",
]


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    return build_definitions(Workspace(Settings(data=DATA, home=tmp_path_factory.mktemp("home"))))


def specs(definitions):
    given = [asset.specs if isinstance(asset, dg.AssetsDefinition) else [asset] for asset in definitions.assets]
    return {spec.key: spec for those in given for spec in those}


def test_of_one_book_there_are_its_assets_and_those_of_its_ledger(definitions, tmp_path):
    alone = specs(build_definitions(Workspace(Settings(data=DATA, home=tmp_path)), BOOK))
    assert set(alone) == {key for key in specs(definitions) if key.path[0] in (BOOK, LEDGER)}


def test_definitions_load_and_every_asset_is_described(definitions):
    dg.Definitions.validate_loadable(definitions)
    found = specs(definitions)
    expected = {dg.AssetKey([LEDGER, name]) for name in LEDGER_NAMES}
    expected |= {dg.AssetKey([book, name]) for book in (BOOK, "sharpe_weekly") for name in CHAIN}
    ensemble = {*CHAIN, "ensemble_weights", "ensemble_updates"} - OVERLAY
    expected |= {dg.AssetKey(["ensemble_regime", name]) for name in ensemble}
    hybrids = ("max_hybrid", "max_hybrid_dynamic")
    expected |= {dg.AssetKey([book, name]) for book in hybrids for name in set(CHAIN) - OVERLAY}
    expected |= {dg.AssetKey(["methods", name]) for name in COMPARED}
    expected |= {dg.AssetKey([book, name]) for book in BOOKS for name in ("weight_history", "live_weights")}
    expected.add(dg.AssetKey(["report", "weights_report"]))
    assert set(found) == expected
    for key, spec in found.items():
        assert spec.description, key
        assert spec.owners, key
        assert spec.kinds, key
        assert spec.group_name == key.path[0]
        if key.path[-1] in ("ensemble_updates", "live_weights", "weights_report"):
            continue
        assert "dagster/column_schema" in spec.metadata
        assert all(c.description for c in spec.metadata["dagster/column_schema"].columns)


def test_chain_reads_from_left_to_right(definitions):
    graph = definitions.resolve_asset_graph()
    for before, after in pairwise(CHAIN[:3]):
        assert dg.AssetKey([BOOK, before]) in graph.get(dg.AssetKey([BOOK, after])).parent_keys
    measured_on = {dg.AssetKey([LEDGER, name]) for name in ("strategy_returns", "unknown_positions")}
    assert graph.get(dg.AssetKey([BOOK, "metrics"])).parent_keys == measured_on
    assert graph.get(dg.AssetKey([BOOK, "final_weights"])).parent_keys == {
        dg.AssetKey([BOOK, "target_weights"]),
        dg.AssetKey([BOOK, "realized_weights"]),
        dg.AssetKey([BOOK, "risk_scalar"]),
    }
    ensemble = "ensemble_regime"
    assert graph.get(dg.AssetKey([ensemble, "target_weights"])).parent_keys == {
        dg.AssetKey([ensemble, "ensemble_weights"]),
        dg.AssetKey([ensemble, "ensemble_updates"]),
        dg.AssetKey([LEDGER, "market_regime"]),
    }


def test_column_lineage_names_columns_that_exist():
    for table, columns in DERIVED_FROM.items():
        for column, sources in columns.items():
            assert column in TABLES[table].column_names()
            for source, name in sources:
                assert name in TABLES[source].column_names()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WEIGHTS_DATA": "/nowhere/at/all"}, "WEIGHTS_DATA: /nowhere/at/all is not a folder"),
        ({"WEIGHTS_LOCK_TIMEOUT": "soon"}, "WEIGHTS_LOCK_TIMEOUT: expected a positive number of seconds, got 'soon'"),
        ({"WEIGHTS_ENGINE": "8786"}, "WEIGHTS_ENGINE: expected local, or tcp://HOST:PORT or tls://HOST:PORT"),
        ({"WEIGHTS_ENGINE": "tcp://me:secret@host:1"}, r"WEIGHTS_ENGINE: .* got 'tcp://\*\*\*@host:1'"),
        ({"WEIGHTS_MAIL_REPORTS": "on"}, "WEIGHTS_MAIL_REPORTS: expected yes, or nothing, got 'on'"),
        ({"WEIGHTS_LOCK_TIMEOUT": "-1"}, "WEIGHTS_LOCK_TIMEOUT"),
        ({"WEIGHTS_LOCK_TIMEOUT": "inf"}, "WEIGHTS_LOCK_TIMEOUT"),
    ],
)
def test_settings_are_validated(environment, message):
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment({"WEIGHTS_DATA": str(DATA)} | environment)


def test_a_job_found_among_its_own_assets_is_the_one_found_among_all(definitions):
    whole = definitions.resolve_asset_graph()
    for job in definitions.jobs:
        near = definitions.resolve_job_def(job.name).asset_layer
        assert near.executable_asset_keys == job.selection.resolve(whole), job.name
        assert near.asset_graph.asset_check_keys == job.selection.resolve_checks(whole), job.name
        for key in near.executable_asset_keys:
            assert near.asset_graph.get(key).parent_keys == whole.get(key).parent_keys, key


def test_every_job_takes_a_range_in_one_run(definitions):
    """Dagster refuses a range of a job of which one asset, partitioned or not, does not say so."""
    for job in definitions.get_repository_def().get_all_jobs():
        layer = job.asset_layer
        policies = {key: layer.get(key).backfill_policy for key in layer.executable_asset_keys}
        assert {*policies.values()} <= {dg.BackfillPolicy.single_run()}, job.name


def test_the_code_location_has_one_name_everywhere():
    """Under another name schedules would lose their state, and runs their job."""
    root = DATA.parent
    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert tools["dagster"]["code_location_name"] == tools["dg"]["project"]["code_location_name"] == LOCATION
    for file, kind in (("workspace.yaml", "python_module"), ("deploy/workspace.yaml", "grpc_server")):
        (entry,) = yaml.safe_load((root / file).read_text())["load_from"]
        assert entry[kind]["location_name"] == LOCATION
    assert f"--location-name {LOCATION}\n" in (root / "deploy" / "start").read_text()
