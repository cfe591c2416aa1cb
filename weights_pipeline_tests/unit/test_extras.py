"""What is not installed says which extra brings it, where it is needed and nowhere else."""

import tomllib

import pandas as pd
import pytest

from benchmarks.support.data import DATA
from weights_pipeline import aws, extras
from weights_pipeline.alerts.delivery import Remote
from weights_pipeline.alerts.message import message
from weights_pipeline.extras import MissingExtraError, missing, need
from weights_pipeline.orchestration.metadata import _drawn
from weights_pipeline_tests.support.alerts import NOW, alert


@pytest.fixture
def light(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda package: None)


def test_what_is_there_is_used():
    # Plutoprint has no wheel for some machines.
    assert {missing(package) for package in extras._EXTRAS if package != "plutoprint"} == {""}
    need("boto3", "s3")


def test_every_extra_is_one_of_the_package():
    there = tomllib.loads((DATA.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in extras._EXTRAS.items():
        assert any(each.startswith(package) for each in there[extra])
        assert extra in "".join(there["dev"])


def test_what_is_missing_is_said_with_what_installs_it(light):
    for package, extra in extras._EXTRAS.items():
        assert missing(package).endswith(f"pip install 'weights-pipeline[{extra}]'")
    with pytest.raises(MissingExtraError, match=r"^the report needs the package matplotlib"):
        need("matplotlib", "the report")
    with pytest.raises(aws.ServiceError, match=r"^s3 needs the package boto3, .*\[aws\]"):
        aws.client("s3")
    [due] = [message([alert()], NOW)]
    assert Remote("json://127.0.0.1:1/").send(due).endswith("'weights-pipeline[alerts]'")


def test_a_run_goes_on_without_charts_and_says_so_where_they_would_be(light):
    warned = []
    found = _drawn("chart", "2024-01", lambda rows: pytest.fail("draws"), pd.DataFrame(), warned.append)
    assert found["chart"].startswith("a chart needs the package matplotlib")
    assert warned == []
