"""What ``pip install`` gives: the wheel in an environment of its own, in an empty folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")


def ended(*command, cwd, **variables) -> subprocess.CompletedProcess[str]:
    """What came of a command that knows nothing of the checkout."""
    unknown = ("WEIGHTS_", "DAGSTER_", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unknown)}
    words = [str(each) for each in command]
    return subprocess.run(words, cwd=cwd, env=environment | variables, capture_output=True, text=True)


def run(*command, cwd, **variables) -> str:
    """Output of such a command, which works."""
    result = ended(*command, cwd=cwd, **variables)
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "-q", "--wheel", "-o", folder, ROOT, cwd=folder)
    [file] = folder.glob("*.whl")
    return file


def test_the_wheel_carries_what_a_desk_needs_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("dagster.yaml", "deploy/dagster.yaml", "data/books/calmar_core.yaml", "data/sample/benchmark.csv"):
        assert f"weights_pipeline/shipped_files/{name}" in names
    assert "weights_pipeline/scaffold/templates/book.yaml" in names
    assert "weights_pipeline/ledger/importers/ibkr_flex_trades.yaml" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"weights_pipeline"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_a_desk_of_ones_own_by_the_package_alone(wheel, tmp_path):
    run(UV, "venv", "-q", "--python", sys.executable, "env", cwd=tmp_path)
    own = tmp_path / "env" / "bin"
    constraints = ROOT / "constraints.txt"
    run(
        *(UV, "pip", "install", "-q", "--python", own / "python", "-c", constraints, wheel, "dagster-dg-cli"),
        cwd=tmp_path,
    )
    assert "weights new my_desk" in run(own / "weights", cwd=tmp_path)
    run(own / "weights", "new", "desk", cwd=tmp_path)
    desk = tmp_path / "desk"
    assert "28 partitions of 12 assets materialised" in run(own / "weights", "run", cwd=desk)
    # Without the configuration that comes along, Dagster would send telemetry.
    assert (desk / ".home" / "dagster.yaml").read_bytes() == (ROOT / "dagster.yaml").read_bytes()
    assert "desk_book: weights in force from 2024-04-01" in run(own / "weights", "show", cwd=desk)
    # Installed without extras, it says which one brings what is missing.
    refused = ended(own / "weights", "report", cwd=desk)
    assert (refused.returncode, refused.stderr) == (
        2,
        "weights: the report needs the package matplotlib, which is not installed: pip install "
        "'weights-pipeline[report]'\n",
    )
    places = {"PATH": f"{own}{os.pathsep}{os.environ['PATH']}", "DAGSTER_HOME": str(desk / ".home")}
    listed = run(own / "dg", "list", "defs", "--json", cwd=desk, **places)
    assert '"desk_book/final_weights"' in listed
    assert '"weights_pipeline.Desk"' in run(own / "dg", "list", "components", "--json", cwd=desk, **places)


def test_dagsters_tools_find_the_project():
    run(Path(sys.executable).with_name("dg"), "check", "toml", cwd=ROOT)
