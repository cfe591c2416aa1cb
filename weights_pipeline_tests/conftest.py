"""Fixtures of all tests: data folders cut from the sample, and an empty instance."""

from __future__ import annotations

import atexit
import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from benchmarks.support.data import BOOK, DATA, WEEKLY_BOOKS, beginning
from weights_pipeline_tests.support.kept import Kept

if TYPE_CHECKING:
    import dagster as dg

ON_ONE_WORKER = (
    "full",  # of test_allocator_runs
    "decided",  # of test_change_a_book
    "corrected",  # of test_history
    "limited",  # of test_liquidity
    "by_hand",  # of test_cli_operation
    "package",  # of test_by_hand
    "desk_of_pages",  # of test_docs
    "recorded",  # of test_doctor
    "report",  # of test_report
    "browser",  # of test_ui
)
"""Fixtures that take long to make; all tests of one of them go to one worker."""

# A worker keeps hundreds of thousands of objects for its whole life; looking through them is a twentieth of the suite.
gc.set_threshold(100_000, 50, 1000)

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", settings.get_profile("new"), derandomize=True, max_examples=20)
if settings.get_current_profile_name() == "default":
    # A suite that passed passes again; `make fuzz` draws new examples.
    settings.load_profile("fixed")
    # Hypothesis draws constants of whatever code is loaded by then too: examples would be others after any change of
    # it, and after other tests. To look for them takes seconds besides.
    providers._get_local_constants = lambda: providers._local_constants


UNIT = Path(__file__).parent / "unit"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What a file of unit tests makes or imports is made once; beside long tests they fill what those leave, one by one.
    by_file = all(UNIT in item.path.parents for item in items)
    for item in items:
        if shared := next((name for name in ON_ONE_WORKER if name in getattr(item, "fixturenames", ())), None):
            item.add_marker(pytest.mark.xdist_group(shared))
        elif by_file and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(UNIT))))


def pytest_collection_finish() -> None:
    # What is there by now stays to the end: nobody has to look through it again.
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """What processes and sessions share."""
    return Kept(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def small_data(kept: Kept) -> Path:
    """The sample's first year and a half, as a finished history, with one book; tests only read it."""

    def make(folder: Path) -> None:
        data = beginning(folder / "data", "2013-06")
        lots = data / "sample" / "lots" / "2012_2015.csv"
        header, first, *_ = lots.read_text().splitlines()
        worthless = dict(zip(header.split(","), first.split(","), strict=True)) | {"lot_id": "BAD-1", "quantity": "0"}
        with lots.open("a") as stream:
            stream.write(f"{first}\n{','.join(worthless.values())}\n")

    return kept.made("small", make) / "data"


@pytest.fixture
def own_data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the small data that a test may change."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture(scope="session")
def weekly_data(small_data: Path, kept: Kept) -> Path:
    """The small data with the weekly books; tests only read it."""

    def make(folder: Path) -> None:
        data = Path(shutil.copytree(small_data, folder / "data"))
        (data / "books" / f"{BOOK}.yaml").unlink()
        for name in WEEKLY_BOOKS:
            shutil.copy(DATA / "books" / f"{name}.yaml", data / "books")

    return kept.made("weekly", make) / "data"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    import dagster as dg

    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
