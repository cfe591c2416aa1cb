"""Dagster definitions: every asset, check, job and schedule, built from settings.

Here belongs putting the pieces together. ``build_definitions`` takes its settings as an argument, so that a test, a
benchmark or another stage builds a fresh set over its own store.
"""

from __future__ import annotations

import os
from typing import Any

import dagster as dg

from weights_pipeline.assets.allocator import allocator_assets
from weights_pipeline.assets.ledger import ledger_assets
from weights_pipeline.assets.weights import weight_assets
from weights_pipeline.books import BookError, load_books, load_starter_metrics
from weights_pipeline.checklist import book_checks, ledger_checks
from weights_pipeline.checks import asset_check
from weights_pipeline.ledger import load_ledger_source
from weights_pipeline.partitions import ledger_months
from weights_pipeline.schedules import ledger_schedule, rebalance_schedule
from weights_pipeline.settings import Settings
from weights_pipeline.store.duckdb_io import StoreIOManager
from weights_pipeline.store.duckdb_store import DuckDBStore


def build_definitions(settings: Settings) -> dg.Definitions:
    """Definitions over one data folder and one store.

    Raises
    ------
    weights_pipeline.books.BookError
        A book or ledger source is not valid; the message names file, key and what was expected.
    """
    books = load_books(settings.data / "books")
    names = sorted({book.ledger for book in books.values()})
    if len(names) != 1:
        raise BookError(f"books read different ledgers {names}; they have to share one")
    source = load_ledger_source(settings.data / "ledgers" / f"{names[0]}.yaml")

    assets = ledger_assets(source, settings.data)
    checks = [asset_check(c, dg.AssetKey(c.table.name)) for c in ledger_checks(books.values())]
    ledger_job = dg.define_asset_job(
        f"{source.name}_ledger",
        selection=dg.AssetSelection.assets(*(key for asset in assets for key in asset.keys)),
        description=f"Read the ledger {source.name!r} and compute daily strategy returns.",
    )
    jobs = [ledger_job]
    schedules: list[Any] = [ledger_schedule(source.name, ledger_months(source), ledger_job)]
    for book in books.values():
        starter = load_starter_metrics(book, settings.data)
        assets += weight_assets(book, source, starter) + allocator_assets(book, source)
        checks += [
            asset_check(c, dg.AssetKey([book.name, c.table.name])) for c in book_checks(book, source, settings.data)
        ]
        job = dg.define_asset_job(
            book.name,
            selection=dg.AssetSelection.key_prefixes(book.name),
            description=f"{book.description} From metrics to final weights.",
            tags={"book": book.name},
        )
        jobs.append(job)
        schedules.append(rebalance_schedule(book, job))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        schedules=schedules,
        # Steps of the chain follow each other anyway; a process for each would only pay its imports again.
        executor=dg.in_process_executor,
        resources={
            "io_manager": StoreIOManager(database=str(settings.store_path), lock_timeout=settings.lock_timeout),
            "store": DuckDBStore(settings.store_path, lock_timeout=settings.lock_timeout),
        },
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """The code location: settings from the environment, read when it is loaded."""
    return build_definitions(Settings.from_environment(os.environ))
