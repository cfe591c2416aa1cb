"""Fixtures: data folders cut from the sample, settings over temporary stores, runs on temporary instances."""

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml

from weights_pipeline.books.load import load_books
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.runs import RunReport, materialise
from weights_pipeline.settings import Settings
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.tables import catalog

DATA = Path(__file__).resolve().parents[1] / "data"
BOOK = "calmar_core"
BOOK_TABLES = [
    (BOOK, table)
    for table in (
        catalog.METRICS,
        catalog.TARGET_WEIGHTS,
        catalog.REALIZED_WEIGHTS,
        catalog.ALLOCATOR_STATE,
        catalog.RISK_REGIME,
        catalog.RISK_SCALAR,
        catalog.FINAL_WEIGHTS,
        catalog.ALLOCATOR_SUMMARY,
        catalog.ALLOCATOR_AUDIT,
    )
]
LEDGER = "sample_ledger"
LEDGER_TABLES = [
    (LEDGER, table)
    for table in (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.STRATEGY_RETURNS, catalog.MARKET_REGIME)
]
HISTORY = (catalog.WEIGHT_HISTORY, catalog.WEIGHT_DOCUMENTS)
DRAWN = 1
"""Partitions of the finished desk that have charts."""
WEEKLY_BOOKS = ("sharpe_weekly", "ensemble_regime")


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


def edit_rows(file: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Rewrite a CSV file, each row changed, or dropped where the change gives None."""
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        names = list(reader.fieldnames or [])
        rows = [kept for row in reader if (kept := change(row)) is not None]
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def edit_yaml(file: Path, **changes: object) -> None:
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes, sort_keys=False))


def cut_ledger(data: Path, end: str) -> None:
    """Drop every exit and every fill on or after a date."""
    for file in (data / "sample" / "lots").glob("*.csv"):
        edit_rows(file, lambda row: row if row["closed_at"][:10] < end else None)
    for file in (data / "sample" / "fills").glob("*.csv"):
        edit_rows(file, lambda row: row if row["ts"][:10] < end else None)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first year and a half, as a finished history, with one book."""
    data = tmp_path_factory.mktemp("small") / "data"
    shutil.copytree(DATA, data)
    for file in (data / "books").glob("*.yaml"):
        if file.stem != BOOK:
            file.unlink()
    shutil.rmtree(data / "comparisons")
    for name in ("lots/2016_2019.csv", "lots/2020_2022.csv"):
        (data / "sample" / name).unlink()
    cut_ledger(data, "2013-07-01")
    lots = data / "sample" / "lots" / "2012_2015.csv"
    header, first, *_ = lots.read_text().splitlines()
    worthless = dict(zip(header.split(","), first.split(","), strict=True)) | {"lot_id": "BAD-1", "quantity": "0"}
    with lots.open("a") as stream:
        stream.write(f"{first}\n{','.join(worthless.values())}\n")
    edit_yaml(data / "ledgers" / "sample.yaml", last_month="2013-06")
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


@contextmanager
def drawing(newest: int) -> Iterator[None]:
    """Draw so many partitions of a run: a chart costs more than all else that is done for one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CHARTED", "CHARTED_WHOLE"):
            patch.setattr(f"weights_pipeline.orchestration.assets.common.{name}", newest)
        if not newest:
            patch.setattr("weights_pipeline.orchestration.assets.common._drawn", lambda *_: {})
        yield


class Desk:
    """One data folder, one store, one instance."""

    def __init__(self, data: Path, home: Path, instance: dg.DagsterInstance, draws: int = 0) -> None:
        self.draws = draws
        self.settings = Settings(data=data, home=home, lock_timeout=30)
        self.instance = instance
        self.store = DuckDBStore(self.settings.store_path, lock_timeout=30)

    def run(self, first: str | None = None, last: str | None = None, book: str = BOOK) -> RunReport:
        with drawing(self.draws):
            return materialise(self.settings, book, first, last or first, instance=self.instance)

    def done(self, first: str | None = None, last: str | None = None, book: str = BOOK) -> RunReport:
        report = self.run(first, last, book)
        assert report.success, report.errors
        return report

    def fill(self, first: str, last: str | None = None, book: str = BOOK) -> None:
        """Materialise months of the ledger and of a book without the checks of the latter, which take half of a run."""
        self.job(LEDGER, f"{first}-01", f"{last or first}-01")
        self.job(book, f"{first}-01", f"{last or first}-01", checks=False)

    def job(self, name: str, first: str | None = None, last: str | None = None, *, checks: bool = True) -> None:
        """Run one job: a ledger's or book's own over partitions, or one without partitions."""
        edges = {"start": first, "end": last or first}
        tags = {f"dagster/asset_partition_range_{edge}": key for edge, key in edges.items() if key}
        job = build_definitions(self.settings).resolve_job_def(name)
        if not checks:
            keys = set(job.asset_layer.executable_asset_keys)
            job = job.get_subset(asset_selection=keys, asset_check_selection=set())
        with drawing(self.draws):
            assert job.execute_in_process(instance=self.instance, tags=tags).success

    def forget(self, schema: str, since: str = "") -> None:
        """Drop what the store holds of a book or ledger: all of it, or its history and partitions from a key on."""
        tables = [catalog.TABLES[name] for owner, name in self.store.tables() if owner == schema]
        with self.store.writing() as connection:

            def execute(statement: str, *values: str) -> None:
                connection.execute(statement, list(values)).fetchall()

            if not since:
                execute(f"DROP SCHEMA {schema} CASCADE")
                execute("DELETE FROM store.partitions WHERE table_schema = ?", schema)
                return
            for table in tables:
                if table.time_column is not None:
                    execute(f"DELETE FROM {schema}.{table.name} WHERE partition_key >= ?", since)
                elif table in HISTORY:
                    execute(f"DROP TABLE {schema}.{table.name}")
            gone = "partition_key >= ? OR table_name IN (?, ?)"
            names = [table.name for table in HISTORY]
            execute(f"DELETE FROM store.partitions WHERE table_schema = ? AND ({gone})", schema, since, *names)

    def hashes(self, until: str = "9999", book: str | None = None) -> dict[tuple[str, str, str], str]:
        """Content hash of every partition of every table, of the ledger and a book or of one book alone."""
        tables = [*LEDGER_TABLES, *BOOK_TABLES]
        if book is not None:
            # The history says which run added a version, and when.
            tables = [(book, table) for table in catalog.TABLES.values() if table not in HISTORY]
        return {
            (schema, table.name, key): record.content_hash
            for schema, table in tables
            for key, record in self.store.partitions(schema, table.name).items()
            if key <= until
        }

    @property
    def book(self):
        return load_books(self.settings.data / "books")[BOOK]


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
