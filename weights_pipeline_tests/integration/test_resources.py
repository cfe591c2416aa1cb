"""Resources: what the interface shows of them, and the definitions' own in assets that are not ours."""

import datetime as dt
import json
from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from benchmarks.support.data import BOOK
from weights_pipeline.alerts import Alert, Severity
from weights_pipeline.live.signing import new_secret
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.resources import (
    ALERTS,
    LIVE,
    STORE,
    DuckDBStoreResource,
    LiveTargets,
    Notifier,
    S3StoreResource,
)
from weights_pipeline.settings import SettingsError
from weights_pipeline.store.s3_store import S3Store
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.desk import QUIET

NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
ALERT = Alert(
    severity=Severity.NOTICE,
    book="paper",
    event=("published", "7"),
    title="version 7 is published",
    value="7",
    limit="none",
    advice="Nothing.",
    link="http://127.0.0.1:3000",
)


def shown(definitions):
    """What the code server tells the interface of the resources."""
    return {each.name: each for each in RepositorySnap.from_def(definitions.get_repository_def()).resources}


@pytest.mark.parametrize("place", ["", "s3://desk/weights"])
def test_every_resource_says_what_it_is_and_none_a_secret(finished, monkeypatch, place):
    secret = new_secret()
    canaries = {
        "WEIGHTS_ALERTS": "json://user:CANARY@127.0.0.1/",
        "WEIGHTS_LIVE_SIGNING_KEY": secret,
        "AWS_ACCESS_KEY_ID": "CANARY",
        "AWS_SECRET_ACCESS_KEY": "CANARY",
    }
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    workspace = Workspace(replace(finished.settings, store=place))
    found = shown(build_definitions(workspace))
    own = {name: each for name, each in found.items() if name.startswith("weights_")}
    assert set(own) == {STORE, LIVE, ALERTS, "weights_tables"}
    for each in own.values():
        assert each.resource_type.startswith("weights_pipeline.orchestration.")
        assert each.resource_snapshot.description
        assert all(field.description for field in each.config_field_snaps)
    told = {field: json.loads(value) for field, value in own[STORE].configured_values.items()}
    own_place = {"url": place, "sse": ""} if place else {"home": str(finished.settings.home)}
    assert told == own_place | {"lock_timeout": finished.settings.lock_timeout}
    assert own["weights_tables"].nested_resources["store"].name == STORE
    assert own[LIVE].asset_keys_using == [dg.AssetKey([BOOK, "live_weights"])]
    assert own[ALERTS].sensors_using == ["alerts_of_runs", "alerts_of_time"]
    for text in ("CANARY", secret, secret.partition(":")[2]):
        assert text not in serialize_value(list(found.values()))


def test_assets_of_others_use_those_of_the_definitions(finished, instance, tmp_path):
    @dg.asset
    def theirs(weights_store: DuckDBStoreResource, weights_live: LiveTargets) -> None:
        rows = weights_store.open().read(BOOK, catalog.FINAL_WEIGHTS)
        assert len(rows) == len(finished.store.read(BOOK, catalog.FINAL_WEIGHTS)) > 0
        assert weights_live.places == finished.settings.live

    own = build_definitions(finished.workspace)
    both = dg.Definitions.merge(
        own, dg.Definitions(assets=[theirs], jobs=[dg.define_asset_job("theirs", selection="theirs")])
    )
    assert both.resolve_job_def("theirs").execute_in_process(instance=instance, run_config=QUIET).success


def test_an_address_comes_from_the_environment_when_it_is_used(monkeypatch):
    named = S3StoreResource(url=dg.EnvVar("DESK_STORE"))
    opened = []

    @dg.asset
    def reads(store: S3StoreResource) -> None:
        opened.append(store.open())

    monkeypatch.setenv("DESK_STORE", "s3://desk/weights/")
    assert dg.materialize([reads], resources={"store": named}, run_config=QUIET).success
    assert opened == [S3Store("desk", "weights")]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (S3StoreResource(url="s3://key:CANARY@desk/x").open, r"url: expected s3://BUCKET/PREFIX.*AWS_\* variables"),
        (S3StoreResource(url="s3://desk/x", sse="des").open, "sse: expected AES256, aws:kms or aws:kms:KEY, got 'des'"),
        (lambda: LiveTargets(targets=["s3://key:CANARY@desk/x"]).places, r"targets: expected .*AWS_\* variables"),
    ],
)
def test_what_is_no_place_is_named_without_what_is_secret_in_it(use, message):
    with pytest.raises(SettingsError, match=message) as refused:
        use()
    assert "CANARY" not in str(refused.value)


def test_an_alert_is_told_once_however_often_it_is_given(monkeypatch, tmp_path):
    monkeypatch.delenv("WEIGHTS_ALERTS", raising=False)
    notifier = Notifier(folder=str(tmp_path))
    assert notifier.notify([ALERT], NOW) == []
    assert notifier.notify([ALERT], NOW + dt.timedelta(hours=1)) == []
    assert (tmp_path / "alerts.log").read_text().count("version 7 is published") == 2, "a title and a text"
