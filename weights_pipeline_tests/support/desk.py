"""A desk of tests: one data folder, one store, one Dagster instance, and the runs that fill the store."""

import datetime as dt
import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.partitions import range_tags
from weights_pipeline.orchestration.runs import RunReport, materialise
from weights_pipeline.settings import Settings
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.tables import catalog
from weights_pipeline.versions.policies import POLICY_TAG
from weights_pipeline.workspace import BookSetup, Workspace

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
LEDGER_TABLES = [
    (LEDGER, table)
    for table in (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.STRATEGY_RETURNS, catalog.MARKET_REGIME)
]
HISTORY = (catalog.WEIGHT_HISTORY, catalog.WEIGHT_DOCUMENTS)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RELEASE = Path(__file__).parent / "previous_release"
DRAWN = 1
"""Partitions of the finished desk that have charts."""


@contextmanager
def drawing(newest: int) -> Iterator[None]:
    """Draw so many partitions of a run: a chart costs more than all else that is done for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weights_pipeline.orchestration.metadata.CHARTED", newest)
        if not newest:
            patch.setattr("weights_pipeline.orchestration.metadata._drawn", lambda *_: {})
        yield


@contextmanager
def clock_at(instant: str) -> Iterator[None]:
    """Let runs begin at an instant, such as ``2013-05-15T12:00+00:00``."""
    moment = dt.datetime.fromisoformat(instant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weights_pipeline.orchestration.steps.run_instant", lambda *_: moment)
        yield


class Desk:
    """One data folder, one store, one instance."""

    def __init__(self, data: Path, home: Path, instance: dg.DagsterInstance, draws: int = 0) -> None:
        self.draws = draws
        self.settings = Settings(data=data, home=home, lock_timeout=30)
        self.instance = instance
        self.store = DuckDBStore(self.settings.store_path, lock_timeout=30)

    def run(
        self, first: str | None = None, last: str | None = None, book: str = BOOK, policy: str = "today"
    ) -> RunReport:
        with drawing(self.draws):
            return materialise(self.workspace, book, first, last or first, policy=policy, instance=self.instance)

    def done(
        self, first: str | None = None, last: str | None = None, book: str = BOOK, policy: str = "today"
    ) -> RunReport:
        report = self.run(first, last, book, policy)
        assert report.success, report.errors
        return report

    def fill(self, first: str, last: str | None = None, book: str = BOOK) -> None:
        """Materialise months of the ledger and of a book without the checks, which take half of a run."""
        for name in (self.workspace.setup(book).source.schema_name, book):
            self.job(name, f"{first}-01", f"{last or first}-01", checks=False)

    def job(
        self, name: str, first: str | None = None, last: str | None = None, *, checks: bool = True, policy: str = ""
    ) -> None:
        """Run one job to its end: a ledger's or book's own over partitions, or one without partitions."""
        assert self.try_job(name, first, last, checks=checks, policy=policy).success

    def try_job(
        self, name: str, first: str | None = None, last: str | None = None, *, checks: bool = True, policy: str = ""
    ) -> dg.ExecuteInProcessResult:
        """Run one job, whatever comes of it."""
        tags = range_tags(first, last or first) if first else {}
        tags |= {POLICY_TAG: policy} if policy else {}
        job = build_definitions(self.workspace).resolve_job_def(name)
        if not checks:
            keys = set(job.asset_layer.executable_asset_keys)
            job = job.get_subset(asset_selection=keys, asset_check_selection=set())
        with drawing(self.draws):
            return job.execute_in_process(instance=self.instance, tags=tags, run_config=QUIET, raise_on_error=False)

    @staticmethod
    def errors(result: dg.ExecuteInProcessResult) -> list[str]:
        """What steps have failed with."""
        return [event.step_failure_data.error.to_string() for event in result.all_events if event.is_step_failure]

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
        with self.store.view():
            return {
                (schema, table.name, key): record.content_hash
                for schema, table in tables
                for key, record in self.store.partitions(schema, table.name).items()
                if key <= until
            }

    @property
    def workspace(self) -> Workspace:
        """What the files of the folder say now."""
        return Workspace(self.settings)

    @property
    def setup(self) -> BookSetup:
        return self.workspace.setups[BOOK]

    @property
    def book(self):
        return self.workspace.books[BOOK]


def previous_release(folder: Path, instance: dg.DagsterInstance) -> Desk:
    """The desk that the release before has left, under this one."""
    home = folder / "home"
    (home / "live").mkdir(parents=True)
    shutil.copytree(RELEASE / "data", folder / "data")
    shutil.copy(RELEASE / "steady.json", home / "live")
    (home / "weights.duckdb").write_bytes(gzip.decompress((RELEASE / "weights.duckdb.gz").read_bytes()))
    return Desk(folder / "data", home, instance)
