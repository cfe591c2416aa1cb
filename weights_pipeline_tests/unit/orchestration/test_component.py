"""A bigger Dagster project takes a desk in with one file."""

import datetime as dt
import re
import traceback

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

import weights_pipeline
from weights_pipeline.orchestration import component
from weights_pipeline.orchestration.component import Desk
from weights_pipeline.scaffold import desk_files, write_new
from weights_pipeline_tests.support.commands import loaded_by

NOW = dt.datetime(2024, 4, 10, tzinfo=dt.UTC)


@pytest.fixture
def loaded(tmp_path):
    """Definitions that one file of a project gives."""
    write_new(tmp_path / "my_desk", desk_files("my_desk", NOW))

    def load(**attributes):
        with create_defs_folder_sandbox() as project:
            given = {"folder": str(tmp_path / "my_desk")} | attributes
            file = project.scaffold_component(
                component_cls=Desk,
                defs_yaml_contents={"type": "weights_pipeline.Desk", "attributes": given},
            )
            with project.load_component_and_build_defs(defs_path=file) as (_, definitions):
                definitions.get_repository_def().get_all_jobs()
                return definitions

    return load


def test_a_desk_comes_with_its_assets_checks_jobs_and_schedules(loaded, tmp_path):
    definitions = loaded()
    keys = {key.to_user_string() for key in definitions.resolve_all_asset_keys()}
    assert {"my_desk_ledger/trade_ledger", "my_desk_book/final_weights"} <= keys
    assert definitions.resolve_job_def("my_desk_book").asset_layer.executable_asset_keys
    assert definitions.get_schedule_def("my_desk_book_rebalance").execution_timezone == "America/New_York"
    reads = definitions.resources["weights_tables"]
    assert reads.store.home == str(tmp_path / "my_desk" / ".home")
    assert not (tmp_path / "my_desk" / ".home").exists(), "loading writes nothing"


def test_what_the_file_does_not_say_is_the_environments(loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS_LIVE", str(tmp_path / "published"))
    seen = []
    monkeypatch.setattr(component, "build_definitions", lambda of: seen.append(of.settings) or dg.Definitions())
    loaded()
    assert {settings.live for settings in seen} == {(str(tmp_path / "published"),)}


def test_assets_of_ones_own_stand_beside_it(loaded):
    @dg.asset
    def mine() -> None:
        pass

    both = dg.Definitions.merge(loaded(), dg.Definitions(assets=[mine]))
    assert dg.AssetKey("mine") in both.resolve_all_asset_keys()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"folder": "nowhere"}, r"folder: .*nowhere holds no folder `data`"),
        ({"stage": "live"}, r"WEIGHTS_STAGE: expected one of dev, staging, prod, got 'live'"),
        ({"stage": "prod"}, r"WEIGHTS_STORE, WEIGHTS_PG_HOST, .*: not set\. Stage prod keeps its tables in S3"),
        ({"store": "s3:/desk"}, r"WEIGHTS_STORE: expected s3://BUCKET/PREFIX"),
        ({"fodler": "x"}, "fodler"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(loaded, attributes, message):
    with pytest.raises(Exception, match=r"error|Error") as refused:
        loaded(**attributes)
    assert re.search(message, "".join(traceback.format_exception(refused.value)))


def test_the_component_is_found_by_name_and_costs_nobody_else_anything():
    assert weights_pipeline.Desk is Desk
    assert "Desk" in dir(weights_pipeline)
    with pytest.raises(AttributeError, match="no attribute 'Desks'"):
        weights_pipeline.Desks  # noqa: B018
    assert not {"dagster", "pandas", "numpy"} & loaded_by("import weights_pipeline.live")[0]
