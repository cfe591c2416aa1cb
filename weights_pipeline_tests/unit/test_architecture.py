"""Rooms: an arrow between two of them goes down only, Dagster has one room, and databases and clouds have three."""

import ast
import functools
import re
import sys
from pathlib import Path

from weights_pipeline_tests.support.commands import loaded_by

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "weights_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    "core.returns",
    "core.metrics",
    "core.targets",
    "core.realized",
    "core.allocator",
    "core.shards",
    "core.policy",
    "core.ensembles",
    "core.chain",
    "core.verify",
    "core.versions",
    "core.waterfall",
    "core.decide",
    "core.study",
    "settings",
    "files",
    "shipped",
    "extras",
    "text",
    "engine",
    "tables",
    "aws",
    "books",
    "live",
    "charts",
    "ledger",
    "store",
    "workspace",
    "versions",
    "checks",
    "operations",
    "alerts",
    "report",
    "scaffold",
    "ui",
    "orchestration",
    "definitions",
    "doctor",
    "cli",
)
"""From the bottom up: a room imports those before it, and itself."""
ONLY_IN = {
    "dagster": {"orchestration"},
    "dagster_aws": {"orchestration"},
    "duckdb": {"store", "ledger", "live", "doctor"},
    "boto3": {"aws"},
    "botocore": {"aws"},
    "dask": {"engine"},
    "distributed": {"engine"},
    "s3fs": {"store", "ledger", "live"},
}
"""Rooms that alone may import a library; the doctor looks into what it examines."""
OF_CORE = {"numpy", "pandas", "clarabel", "skfolio"}
"""Libraries that the science may import, the last two of them only while it optimises."""
IMPURE = {"os", "time", "pathlib", "random"}
"""Parts of the standard library that it may not."""


def room(dotted: str) -> str:
    """Room of a module, or of a name in one, such as ``core.returns`` or ``ledger``; empty for the package itself."""
    parts = dotted.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] == ["core"] else 1])


def own_room(module: Path) -> str:
    parts = module.relative_to(PACKAGE.parent).with_suffix("").parts
    return room(".".join(part for part in parts if part != "__init__"))


@functools.cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


@functools.cache
def imports(module: Path) -> set[str]:
    """Dotted names that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def libraries(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def leads_down(own: str, target: str) -> bool:
    """Whether a room may import from another; the packages that hold rooms import nothing.

    But for the component, which Dagster's tools look for in the package itself; it is imported when it is asked for.
    """
    if own in ("", "core"):
        return (own, target) == ("", "orchestration")
    return target in (own, "core") or ROOMS.index(target) < ROOMS.index(own)


def test_imports_point_down():
    assert [
        f"{module.relative_to(PACKAGE)} imports {name}"
        for module in MODULES
        for name in imports(module)
        if name.startswith("weights_pipeline.") and not leads_down(own_room(module), room(name))
    ] == []


def test_libraries_keep_to_their_rooms():
    assert [
        f"{module.relative_to(PACKAGE)} imports {library}"
        for module in MODULES
        for library, rooms in ONLY_IN.items()
        if library in libraries(module) and own_room(module).split(".")[0] not in rooms
    ] == []


def test_every_room_is_there():
    there = {own_room(module) for module in MODULES} - {"", "core"}
    assert there == set(ROOMS)


def test_the_page_on_architecture_lists_the_rooms_in_their_order():
    (listed,) = re.findall(r"(?ms)^```tree\n(.*?)^```$", (ROOT / "docs" / "architecture.md").read_text())
    names = re.findall(r"(?m)^( *)(\w+)", listed)
    assert [f"core.{name}" if indented else name for indented, name in names if name != "core"] == list(ROOMS)


def test_nothing_but_tests_imports_tests():
    others = [file for name in ("benchmarks", ".ci", "data", PACKAGE.name) for file in (ROOT / name).rglob("*.py")]
    assert len(others) > len(MODULES)
    assert [file for file in others if any(name.startswith("weights_pipeline_tests") for name in imports(file))] == []


def test_unit_tests_start_neither_runs_nor_servers_nor_browsers():
    starts = {"materialise", "execute_in_process", "Popen", "make_server", "HTTPServer", "ThreadingHTTPServer"}
    modules = {
        "moto",
        "playwright",
        "aiosmtpd",
        *(f"benchmarks.support.{name}" for name in ("processes", "s3_servers", "ui")),
    }
    found = {}
    named = re.compile("|".join(re.escape(each.split(".")[-1]) for each in starts | modules))
    for file in Path(__file__).parent.rglob("*.py"):
        if not named.search(file.read_text()):
            continue
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree(file))}
        loaded = {
            name for name in imports(file) if any(name == each or name.startswith(f"{each}.") for each in modules)
        }
        if both := (names & starts) | loaded:
            found[file.name] = both
    assert found == {}


def test_core_is_pure():
    impure = {}
    for module in (each for each in MODULES if own_room(each).startswith("core")):
        others = libraries(module) - sys.stdlib_module_names - {"weights_pipeline"} - OF_CORE
        calls = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
        if found := others | (libraries(module) & IMPURE) | (calls & {"now", "today", "utcnow", "environ"}):
            impure[module.name] = found
    assert impure == {}


def test_every_module_says_what_belongs_there():
    silent = [module for module in MODULES if len(ast.get_docstring(tree(module)) or "") <= 60]
    assert silent == []


def test_each_room_loads_what_it_needs_and_no_more():
    core = "import importlib, pkgutil, weights_pipeline.core as c\n" + (
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(c.__path__, c.__name__ + '.')]"
    )
    simulations_and_manual_updates = (
        "import weights_pipeline.ledger.periods, weights_pipeline.core.study.simulate, "
        "weights_pipeline.operations.ensemble_updates, weights_pipeline.ledger"
    )
    of_core, without_orchestrator, before_a_chart = loaded_by(
        core, simulations_and_manual_updates, "import weights_pipeline.definitions"
    )
    assert not of_core & {"dagster", "duckdb", "pydantic", "exchange_calendars", "clarabel", "skfolio"}
    assert "dagster" not in without_orchestrator
    assert "dagster" in before_a_chart
    assert not before_a_chart & {"matplotlib", "PIL"}


def test_reading_commands_load_neither_dagster_nor_pandas():
    statement = (
        "import weights_pipeline.cli.app, weights_pipeline.cli.render, weights_pipeline.store.queries, "
        "weights_pipeline.settings, weights_pipeline.live, weights_pipeline.core.decide"
    )
    assert not loaded_by(statement)[0] & {"dagster", "pandas", "numpy", "pyarrow", "pydantic"}
