"""Settings by stage: what each needs, what it says when that is missing, and that no secret gets out."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.books.comparisons import Comparison, compared_policies
from weights_pipeline.books.load import load_books
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import POSTGRES, STAGES, Settings, SettingsError
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import Result

ROOT = DATA.parent
PASSWORD, KEY = "hunter2/of*the%desk", "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLE"
DEPLOYED = {
    "WEIGHTS_DATA": str(DATA),
    "WEIGHTS_STORE": "s3://desk/weights",
    "WEIGHTS_PG_HOST": "db.internal",
    "WEIGHTS_PG_PORT": "5432",
    "WEIGHTS_PG_DB": "weights",
    "WEIGHTS_PG_USER": "weights",
    "WEIGHTS_PG_PASSWORD": PASSWORD,
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": KEY,
}
BEYOND_DEV = [stage for stage in STAGES if stage != "dev"]


def test_dev_is_the_stage_of_an_empty_environment_and_needs_nothing():
    settings = Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_STAGE": "", "WEIGHTS_HOME": ""})
    assert (settings.stage, settings.deployed, settings.store) == ("dev", False, "")
    assert settings.home == Path.cwd() / ".home"


def test_dev_may_keep_its_tables_in_s3_without_postgres():
    settings = Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_STORE": "s3://desk/try/"})
    assert (settings.stage, settings.store) == ("dev", "s3://desk/try")


@pytest.mark.parametrize("stage", BEYOND_DEV)
def test_a_deployed_stage_has_a_store_and_a_home_of_its_own(stage):
    settings = Settings.from_environment(DEPLOYED | {"WEIGHTS_STAGE": stage})
    assert (settings.stage, settings.deployed, settings.store) == (stage, True, "s3://desk/weights")
    assert settings.home == Path.cwd() / ".home" / stage


@pytest.mark.parametrize("stage", BEYOND_DEV)
@pytest.mark.parametrize("missing", ["WEIGHTS_STORE", *POSTGRES])
def test_what_a_deployed_stage_lacks_is_named_with_what_to_do(stage, missing):
    with pytest.raises(SettingsError, match=f"^{missing}: not set. Stage {stage} .*set all of them as deploy/environ"):
        Settings.from_environment({**DEPLOYED, "WEIGHTS_STAGE": stage, missing: ""})


def test_everything_that_is_missing_is_said_at_once():
    with pytest.raises(SettingsError, match=", ".join(["WEIGHTS_STORE", *POSTGRES])):
        Settings.from_environment({"WEIGHTS_DATA": str(DATA), "WEIGHTS_STAGE": "prod"})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WEIGHTS_STAGE": "production"}, "WEIGHTS_STAGE: expected one of dev, staging, prod, got 'production'"),
        ({"WEIGHTS_STAGE": "prod", "WEIGHTS_PG_PORT": "0"}, "WEIGHTS_PG_PORT: expected the port .*5432, got '0'"),
        ({"WEIGHTS_STAGE": "prod", "WEIGHTS_PG_PORT": "65536"}, "WEIGHTS_PG_PORT"),
        ({"WEIGHTS_STAGE": "prod", "WEIGHTS_PG_PORT": "²"}, "WEIGHTS_PG_PORT"),
        ({"WEIGHTS_STAGE": "prod", "WEIGHTS_STORE": "/var/weights"}, "WEIGHTS_STORE: expected s3://BUCKET/PREFIX"),
        ({"WEIGHTS_STEP_LOGS": "s3://Desk"}, "WEIGHTS_STEP_LOGS: expected s3://BUCKET/PREFIX"),
        ({"WEIGHTS_STAGE": "prod", "WEIGHTS_DATA": "/nowhere"}, "WEIGHTS_DATA: /nowhere is not a folder"),
    ],
)
def test_nonsense_is_refused(environment, message):
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment(DEPLOYED | environment)


def test_settings_hold_no_secret():
    settings = Settings.from_environment(DEPLOYED | {"WEIGHTS_STAGE": "prod"})
    shown = repr(settings) + str(asdict(settings))
    assert "s3://desk/weights" in shown
    for secret in (PASSWORD, KEY, "AKIA"):
        assert secret not in shown


@pytest.mark.parametrize("variable", ["WEIGHTS_STORE", "WEIGHTS_LIVE"])
@pytest.mark.parametrize(
    "place", [f"s3://AKIAIOSFODNN7EXAMPLE:{KEY}@desk/weights", f"s3://desk/weights?X-Amz-Signature={KEY}"]
)
def test_credentials_in_the_wrong_place_are_refused_and_not_repeated(variable, place):
    for stage in STAGES:
        with pytest.raises(SettingsError, match=f"^{variable}: .* Credentials go into AWS_") as refused:
            Settings.from_environment(DEPLOYED | {"WEIGHTS_STAGE": stage, variable: place})
        for secret in (PASSWORD, KEY, "AKIA"):
            assert secret not in str(refused.value)


@pytest.fixture
def staged(own_data, monkeypatch, tmp_path):
    """Write overrides of a book for staging; the command line is at that stage."""
    environment = DEPLOYED | {"WEIGHTS_STAGE": "staging", "WEIGHTS_DATA": str(own_data)}
    for name, value in (environment | {"WEIGHTS_HOME": str(tmp_path / "home")}).items():
        monkeypatch.setenv(name, value)
    (own_data / "books" / "staging").mkdir()

    def override(**keys):
        (own_data / "books" / "staging" / f"{BOOK}.yaml").write_text(yaml.safe_dump(keys))
        return Settings(data=own_data, home=tmp_path / "home", stage="staging", store="s3://desk/weights")

    return override


def test_overrides_of_a_stage_reach_its_definitions(staged):
    settings = staged(owner="team:staging", cadence={"kind": "monthly", "day": 2, "time": "08:15"})
    schedules = {
        stage: build_definitions(Workspace(Settings(data=settings.data, home=settings.home, stage=stage)))
        .resolve_schedule_def(f"{BOOK}_rebalance")
        .cron_schedule
        for stage in ("dev", "staging", "prod")
    }
    assert schedules == {"dev": "30 6 1 * *", "staging": "15 8 2 * *", "prod": "30 6 1 * *"}


def test_overrides_of_a_stage_reach_the_command_line(staged, monkeypatch):
    staged(account="paper", adjustment={"rate": 0.25})
    at_staging = Result("books")
    monkeypatch.setenv("WEIGHTS_STAGE", "dev")
    at_home = Result("books")
    assert (at_staging.exit_code, at_home.exit_code) == (0, 0)
    assert "paper" in at_staging.output
    assert "paper" not in at_home.output


@pytest.mark.parametrize("arguments", [("books",), ("check",), ("run", "--book", BOOK)])
def test_every_command_that_reads_books_reads_those_of_the_stage(staged, arguments):
    staged(adjustment={"rate": 3})
    result = Result(*arguments)
    assert result.exit_code == 2
    assert f"staging/{BOOK}.yaml: adjustment.rate" in result.errors
    for secret in (PASSWORD, KEY):
        assert secret not in result.errors


def test_compared_methods_start_from_the_book_of_the_stage(staged):
    settings = staged(adjustment={"rate": 0.25})
    methods = {"slow": {"adjustment.rate": 0.05}, "as_is": {"max_age": 40}}
    comparison = Comparison(name="pace", description="Pace.", owner="team:staging", book=BOOK, methods=methods)
    for stage, rate in (("staging", 0.25), ("dev", 0.1)):
        book = load_books(settings.data / "books", stage)[BOOK]
        policies = compared_policies(comparison, book, settings.data, stage)
        assert {name: policy.rate for name, policy in policies.items()} == {"slow": 0.05, "as_is": rate}


def test_a_stage_never_records_in_sqlite(staged, monkeypatch, tmp_path):
    staged()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    result = Result("run", "--book", BOOK, "--partition", "2012-01")
    assert result.exit_code == 2, result.errors
    assert f"DAGSTER_HOME: {tmp_path / 'home'} records runs in SQLite, stage staging does in" in result.errors


def test_the_example_environment_names_every_variable_and_no_secret():
    example = (ROOT / "deploy" / "environment.example").read_text()
    given = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", example, re.MULTILINE))
    files = [*(ROOT / "weights_pipeline").rglob("*.py"), *(ROOT / "deploy").glob("*")]
    used = {name for file in files if file.name != "environment.example" for name in _variables(file)}
    assert {name for name in given if name.startswith("WEIGHTS_")} == used
    assert {name for name, value in given.items() if re.search("PASSWORD|SECRET|KEY", name) and value} == set()
    filled = {"BUCKET": "desk", "PREFIX": "weights", "HOST": "db.internal", "REGION": "eu-west-1"}
    environment = {
        name: re.sub("|".join(filled), lambda found: filled[found[0]], value) for name, value in given.items()
    }
    settings = Settings.from_environment(environment | {"WEIGHTS_DATA": str(DATA), "WEIGHTS_PG_PASSWORD": PASSWORD})
    assert (settings.stage, settings.store, settings.lock_timeout) == ("staging", "s3://desk/weights", 120)
    assert settings.step_logs == "s3://desk/weights/_logs"


def _variables(file: Path) -> set[str]:
    return set(re.findall(r"WEIGHTS_[A-Z0-9_]*[A-Z0-9]", file.read_text()))


def test_deployed_instances_differ_from_development_in_what_they_must():
    dev, deployed = (yaml.safe_load((ROOT / name).read_text()) for name in ("dagster.yaml", "deploy/dagster.yaml"))
    assert {key: deployed[key] for key in dev} == dev
    assert deployed["telemetry"] == {"enabled": False}
    database = deployed["storage"]["postgres"]["postgres_db"]
    assert {each["env"] for each in database.values() if isinstance(each, dict) and "env" in each} == set(POSTGRES)
