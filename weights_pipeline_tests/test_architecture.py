"""Dependencies point one way: core, books, ledger and store, orchestration, command line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "weights_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"core"},
    {"settings", "books", "comparisons"},
    {"ledger", "store", "live", "charts"},
    {
        "alerts",
        "notify",
        "report",
        "checklist",
        "calendar_periods",
        "ensemble_updates",
        "allocator_runs",
        "publication",
        "recompute",
        "version_inputs",
        "ledger_tables",
        "operation",
        "restatement",
    },
    {
        "partitions",
        "checks",
        "assets",
        "automation",
        "schedules",
        "sensors",
        "definitions",
        "doctor",
        "run_slots",
        "runs",
    },
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
IMPURE = {
    "dagster",
    "dagster_duckdb",
    "duckdb",
    "boto3",
    "s3fs",
    "pyarrow",
    "pydantic",
    "matplotlib",
    "os",
    "time",
    "pathlib",
    "random",
}


def unit(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_inwards(module):
    own = RANK.get(unit(module))
    for name in imports(module):
        if name.startswith("weights_pipeline."):
            target = name.split(".")[1]
            assert own is None or RANK[target] <= own, f"{module.name} imports {name}, which is further out"


@pytest.mark.parametrize("module", [m for m in MODULES if unit(m) == "core"], ids=lambda m: m.stem)
def test_core_is_pure(module):
    assert not {name.split(".")[0] for name in imports(module)} & IMPURE
    calls = {node.attr for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)}
    assert not calls & {"now", "today", "utcnow", "environ"}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_every_module_says_what_belongs_there(module):
    assert len(ast.get_docstring(ast.parse(module.read_text())) or "") > 60


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(m for m in sys.modules if '.' not in m))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_core_is_importable_alone():
    statement = "import importlib, pkgutil, weights_pipeline.core as c\n" + (
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(c.__path__, c.__name__ + '.')]"
    )
    assert not loaded_by(statement) & {"dagster", "duckdb", "pydantic", "exchange_calendars"}


def test_reading_commands_load_neither_dagster_nor_pandas():
    statement = (
        "import weights_pipeline.cli.app, weights_pipeline.cli.render, weights_pipeline.store.queries, "
        "weights_pipeline.settings, weights_pipeline.live, weights_pipeline.core.decide"
    )
    assert not loaded_by(statement) & {"dagster", "pandas", "numpy", "pyarrow", "pydantic"}


def test_simulations_and_manual_updates_need_no_orchestrator():
    statement = (
        "import weights_pipeline.calendar_periods, weights_pipeline.core.simulate, weights_pipeline.ensemble_updates, "
        "weights_pipeline.ledger"
    )
    assert "dagster" not in loaded_by(statement)
