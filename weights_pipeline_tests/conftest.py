"""Fixtures: data folders cut from the sample, settings over temporary stores, runs on temporary instances."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.support.data import BOOK, DATA, beginning
from weights_pipeline_tests.support.desk import DRAWN, WEEKLY_BOOKS, Desk

ON_ONE_WORKER = (
    "finished_weekly",
    "full",  # of test_allocator_runs
    "corrected",  # of test_history
    "by_hand",  # of test_cli_operation
    "package",  # of test_by_hand
    "desk_of_pages",  # of test_docs
    "recorded",  # of test_doctor
    "report",  # of test_report
    "browser",  # of test_ui
)
"""Fixtures that take long to make; all tests of one of them go to one worker."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if shared := next((name for name in ON_ONE_WORKER if name in getattr(item, "fixturenames", ())), None):
            item.add_marker(pytest.mark.xdist_group(shared))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first year and a half, as a finished history, with one book."""
    data = beginning(tmp_path_factory.mktemp("small") / "data", "2013-06")
    lots = data / "sample" / "lots" / "2012_2015.csv"
    header, first, *_ = lots.read_text().splitlines()
    worthless = dict(zip(header.split(","), first.split(","), strict=True)) | {"lot_id": "BAD-1", "quantity": "0"}
    with lots.open("a") as stream:
        stream.write(f"{first}\n{','.join(worthless.values())}\n")
    return data


@pytest.fixture
def own_data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the small data that a test may change."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture(scope="session")
def weekly_data(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data with the weekly books."""
    data = Path(shutil.copytree(small_data, tmp_path_factory.mktemp("weekly") / "data"))
    (data / "books" / f"{BOOK}.yaml").unlink()
    for name in WEEKLY_BOOKS:
        shutil.copy(DATA / "books" / f"{name}.yaml", data / "books")
    return data


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def desk(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., Desk]:
    """Make a desk over a data folder, with a store of its own: empty, or a copy of another desk's."""
    made: list[Desk] = []

    def make(data: Path, like: Desk | None = None) -> Desk:
        made.append(Desk(data, tmp_path / f"home{len(made)}", instance))
        if like is not None:
            made[-1].settings.home.mkdir()
            shutil.copy(like.store.path, made[-1].store.path)
        return made[-1]

    return make


@pytest.fixture(scope="session")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The small data, materialised in one run over its whole range; tests only read it."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        desk = Desk(small_data, tmp_path_factory.mktemp("finished"), ephemeral, draws=DRAWN)
        desk.done()
        yield desk


@pytest.fixture(scope="session")
def finished_weekly(weekly_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The weekly books over the first year, each in one run; tests only read it."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        desk = Desk(weekly_data, tmp_path_factory.mktemp("finished_weekly"), ephemeral)
        for name in WEEKLY_BOOKS:
            desk.done("2012-01", "2012-12", name)
        yield desk
