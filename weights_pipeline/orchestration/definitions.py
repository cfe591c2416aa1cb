"""Dagster definitions: every asset, check, job and schedule, built from settings.

Here belongs putting the pieces together. ``build_definitions`` takes its settings as an argument, so that a test, a
benchmark or another stage builds a fresh set over its own store.
"""

from __future__ import annotations

import os
from typing import Any

import dagster as dg

from weights_pipeline.books.comparisons import compared_policies, load_comparisons
from weights_pipeline.books.load import load_books, load_starter_metrics
from weights_pipeline.checks.checklist import book_checks, comparison_checks, ledger_checks
from weights_pipeline.ledger import load_sources
from weights_pipeline.orchestration.asset_checks import asset_check
from weights_pipeline.orchestration.assets.allocator import allocator_assets, daily_assets
from weights_pipeline.orchestration.assets.comparison import comparison_assets
from weights_pipeline.orchestration.assets.history import history_assets
from weights_pipeline.orchestration.assets.ledger import ledger_assets
from weights_pipeline.orchestration.assets.live import live_asset
from weights_pipeline.orchestration.assets.report import NAME as REPORT
from weights_pipeline.orchestration.assets.report import report_asset
from weights_pipeline.orchestration.assets.weights import weight_assets
from weights_pipeline.orchestration.freshness import automation_sensor
from weights_pipeline.orchestration.io_manager import StoreIOManager
from weights_pipeline.orchestration.schedules import (
    daily_schedule,
    ledger_schedule,
    live_schedule,
    rebalance_schedule,
    report_schedule,
)
from weights_pipeline.orchestration.sensors import alert_sensors
from weights_pipeline.settings import Settings
from weights_pipeline.store import open_store


def build_definitions(settings: Settings) -> dg.Definitions:
    """Definitions over one data folder and one store.

    Raises
    ------
    weights_pipeline.books.reading.BookError, weights_pipeline.ledger.LedgerError
        A book or ledger source is not valid; the message names file, key and what was expected.
    """
    books = load_books(settings.data / "books", settings.stage)
    sources = load_sources(settings.data / "ledgers", books.values())
    assets: list[Any] = []
    checks, jobs, schedules = list[Any](), list[Any](), list[Any]()
    for source in sources.values():
        readers = [book for book in books.values() if book.ledger == source.name]
        assets += ledger_assets(source, settings.data)
        checks += [asset_check(c, dg.AssetKey([c.schema, c.table.name])) for c in ledger_checks(source, readers)]
        job = dg.define_asset_job(
            source.schema_name,
            selection=dg.AssetSelection.key_prefixes(source.schema_name),
            description=f"Read the ledger {source.name!r} and compute daily strategy returns.",
        )
        jobs.append(job)
        schedules.append(ledger_schedule(source, job))
    for book in books.values():
        source = sources[book.ledger]
        policy = book.policy(load_starter_metrics(book, settings.data))
        daily = daily_assets(book, source, policy)
        assets += weight_assets(book, source, policy) + allocator_assets(book, source, policy, settings.artefacts)
        assets += history_assets(book, source, policy, settings.data) + daily
        assets.append(live := live_asset(book, source, settings.live))
        checks += [
            asset_check(c, dg.AssetKey([c.schema, c.table.name])) for c in book_checks(book, source, settings.data)
        ]
        every_day = dg.AssetSelection.assets(*daily)
        job = dg.define_asset_job(
            book.name,
            selection=dg.AssetSelection.key_prefixes(book.name) - every_day,
            description=f"{book.description} From metrics to final weights.",
            tags={"book": book.name},
        )
        jobs.append(job)
        schedules.append(rebalance_schedule(book, job))
        job = dg.define_asset_job(
            f"{book.name}_live",
            selection=dg.AssetSelection.assets(live),
            description=f"Publish the weights of {book.name} in force.",
            tags={"book": book.name},
        )
        jobs.append(job)
        schedules.append(live_schedule(book, job))
        if daily:
            job = dg.define_asset_job(
                f"{book.name}_daily",
                selection=every_day,
                description=f"Weights of {book.name} for the session after each session.",
                tags={"book": book.name},
            )
            jobs.append(job)
            schedules.append(daily_schedule(book, source, job))
    assets.append(report := report_asset(settings, books, sources))
    job = dg.define_asset_job(
        REPORT,
        selection=dg.AssetSelection.assets(report),
        description="Write the report of every book, and of all of them.",
    )
    jobs.append(job)
    schedules.append(report_schedule(job))
    ledgers = [source.schema_name for source in sources.values()]
    for comparison in load_comparisons(settings.data / "comparisons", books, ledgers).values():
        book = books[comparison.book]
        policies = compared_policies(comparison, book, settings.data, settings.stage)
        assets.append(comparison_assets(comparison, policies, sources[book.ledger]))
        checks += [asset_check(c, dg.AssetKey([c.schema, c.table.name])) for c in comparison_checks(comparison)]
        jobs.append(
            dg.define_asset_job(
                comparison.name,
                selection=dg.AssetSelection.key_prefixes(comparison.name),
                description=comparison.description,
            )
        )
    store = open_store(settings)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        schedules=schedules,
        sensors=[automation_sensor(), *alert_sensors(settings, books, sources)],
        # Steps of the chain follow each other anyway; a process for each would only pay its imports again.
        executor=dg.in_process_executor,
        resources={"io_manager": StoreIOManager(store), "store": store},
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """The code location: settings from the environment, read when it is loaded."""
    return build_definitions(Settings.from_environment(os.environ))
