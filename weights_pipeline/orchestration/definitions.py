"""Dagster definitions: every asset, check, job and schedule of a workspace.

Scope: putting the pieces together. ``build_definitions`` takes its workspace as an argument, so that a test, a
benchmark or another stage builds a fresh set over its own store. Not here: what any piece does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.books.comparisons import Comparison, compared_policies
from weights_pipeline.books.reading import BookError
from weights_pipeline.checks import Check, book_checks, comparison_checks, ledger_checks
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.orchestration.asset_checks import check_step
from weights_pipeline.orchestration.assets.allocator import allocator_assets, daily_assets
from weights_pipeline.orchestration.assets.comparison import comparison_assets
from weights_pipeline.orchestration.assets.history import history_asset
from weights_pipeline.orchestration.assets.ledger import ledger_assets
from weights_pipeline.orchestration.assets.live import live_asset
from weights_pipeline.orchestration.assets.report import NAME as REPORT
from weights_pipeline.orchestration.assets.report import report_asset
from weights_pipeline.orchestration.assets.weights import weight_assets
from weights_pipeline.orchestration.due import due_sensor
from weights_pipeline.orchestration.freshness import automation_sensor
from weights_pipeline.orchestration.io_manager import KEY, TablesIOManager
from weights_pipeline.orchestration.jobs import job_over
from weights_pipeline.orchestration.resources import ALERTS, LIVE, STORE, LiveTargets, Notifier, store_resource
from weights_pipeline.orchestration.schedules import (
    daily_schedule,
    ledger_schedule,
    live_schedule,
    rebalance_schedule,
    report_schedule,
)
from weights_pipeline.orchestration.sensors import alert_sensors, ledger_sensor, stored_state
from weights_pipeline.settings import Settings
from weights_pipeline.store import open_store
from weights_pipeline.store.base import Store
from weights_pipeline.workspace import BookSetup, Workspace


def build_definitions(workspace: Workspace, book: str = "") -> dg.Definitions:
    """Definitions of everything in a workspace that is valid; what is not is left out, and an alert tells of it.

    Parameters
    ----------
    workspace
        Books, and where data and state are.
    book
        The one book, with the ledger it reads, that somebody is about to run; all that there is when left out.

    Raises
    ------
    weights_pipeline.books.reading.BookError
        No book is there, or nobody knows which one a file is of.
    """
    parts = [*_parts(workspace, book)]
    return dg.Definitions(
        assets=[asset for part in parts for asset in part.assets],
        asset_checks=[step for part in parts for step in part.checks],
        jobs=[job for part in parts for job in part.jobs],
        schedules=[schedule for part in parts for schedule in part.schedules],
        sensors=[
            automation_sensor(),
            *alert_sensors(workspace),
            *(sensor for part in parts for sensor in part.sensors),
            due_sensor(_briefly(workspace), [job for part in parts for job in part.jobs]),
        ],
        # Steps of the chain follow each other anyway; a process for each would only pay its imports again.
        executor=dg.in_process_executor,
        resources=_resources(workspace.settings),
    )


def _resources(settings: Settings) -> dict[str, Any]:
    """What steps and sensors reach the world by, and what assets of others may use too.

    Steps have the store of their workspace: what it holds decides which partitions, checks and schedules there are,
    before any resource exists.
    """
    store = store_resource(settings)
    return {
        STORE: store,
        KEY: TablesIOManager(store=store),
        LIVE: LiveTargets(targets=list(settings.live)),
        ALERTS: Notifier(folder=str(settings.alerts)),
    }


def _briefly(workspace: Workspace) -> list[BookSetup]:
    """Every book over a store that is waited for briefly: a run may hold it for minutes, a tick has one."""
    store = _brief_store(workspace)
    return [replace(setup, store=store) for setup in workspace.setups.values()]


def _brief_store(workspace: Workspace) -> Store:
    return open_store(replace(workspace.settings, lock_timeout=5.0))


def _parts(workspace: Workspace, book: str) -> Iterator[_Part]:
    """Every ledger, book and comparison, each by itself: one that cannot be built takes no other down with it."""
    wanted = {book, workspace.setup(book).source.schema_name} if book else None
    builders: dict[str, Callable[[], _Part]] = {
        **{source.schema_name: partial(_of_ledger, workspace, source) for source in workspace.sources.values()},
        **{name: partial(_of_book, workspace, setup) for name, setup in workspace.setups.items()},
        REPORT: partial(_of_report, workspace),
        **{name: partial(_of_comparison, workspace, each) for name, each in workspace.comparisons.items()},
    }
    for name, build in builders.items():
        if wanted is not None and name not in wanted:
            continue
        try:
            yield build()
        except Exception as error:
            workspace.drop(name, error)


class _Part(NamedTuple):
    """What one ledger, book, comparison or the report contributes."""

    assets: list[dg.AssetsDefinition | dg.AssetSpec]
    jobs: list[UnresolvedAssetJobDefinition]
    checks: list[dg.AssetChecksDefinition]
    schedules: list[dg.ScheduleDefinition]
    sensors: Sequence[dg.SensorDefinition] = ()


def _of_ledger(workspace: Workspace, source: LedgerSource) -> _Part:
    schema, settings = source.schema_name, workspace.settings
    job = job_over(
        schema,
        schema,
        dg.AssetSelection.key_prefixes(schema),
        f"Read the ledger {source.name!r} and compute daily strategy returns.",
    )
    checks = ledger_checks(source, workspace.readers[source.name])
    books, root, store = [workspace.setup(name) for name in source.books], workspace.root, workspace.store
    stored = partial(stored_state, books, _brief_store(workspace)) if books else None
    return _Part(
        assets=[*ledger_assets(source, root, store, checks, settings.engine, settings.cells / schema, books)],
        jobs=[job],
        checks=[_checks_after(checks, workspace)],
        schedules=[ledger_schedule(source, job)],
        sensors=[ledger_sensor(source, root, job, stored)],
    )


def _checks_after(checks: Sequence[Check], workspace: Workspace) -> dg.AssetChecksDefinition:
    """The step of those checks that no table waits for."""
    return check_step([check for check in checks if not check.blocking], workspace.store, workspace.settings.verified)


def _of_book(workspace: Workspace, setup: BookSetup) -> _Part:
    settings, book, tags, checks = workspace.settings, setup.book, {"book": setup.name}, book_checks(setup)
    daily, live = daily_assets(setup), live_asset(setup)
    every_day = dg.AssetSelection.assets(*daily)
    rebalance_job = job_over(
        book.name,
        book.name,
        dg.AssetSelection.key_prefixes(book.name) - every_day,
        f"{book.description} From metrics to final weights.",
        tags,
    )
    live_job = job_over(
        book.name,
        f"{book.name}_live",
        dg.AssetSelection.assets(live),
        f"Publish the weights of {book.name} in force.",
        tags,
    )
    part = _Part(
        assets=[
            *weight_assets(setup, checks),
            *allocator_assets(setup, settings.artefacts, checks),
            history_asset(setup),
            *daily,
            live,
        ],
        jobs=[rebalance_job, live_job],
        checks=[_checks_after(checks, workspace)],
        schedules=[rebalance_schedule(setup, rebalance_job), live_schedule(book, live_job)],
    )
    if daily:
        daily_job = job_over(
            book.name,
            f"{book.name}_daily",
            every_day,
            f"Weights of {book.name} for the session after each session.",
            tags,
        )
        part.jobs.append(daily_job)
        part.schedules.append(daily_schedule(book, setup.source, daily_job))
    return part


def _of_report(workspace: Workspace) -> _Part:
    report = report_asset(workspace)
    job = dg.define_asset_job(
        REPORT,
        selection=dg.AssetSelection.assets(report),
        description="Write the report of every book, and of all of them.",
    )
    return _Part(assets=[report], jobs=[job], checks=[], schedules=[report_schedule(job)])


def _of_comparison(workspace: Workspace, comparison: Comparison) -> _Part:
    setup, settings = workspace.setups[comparison.book], workspace.settings
    policies = compared_policies(comparison, setup.book, settings.data, settings.stage, setup.source.frequency)
    job = job_over(
        comparison.name, comparison.name, dg.AssetSelection.key_prefixes(comparison.name), comparison.description
    )
    return _Part(
        assets=[comparison_assets(comparison, policies, setup)],
        jobs=[job],
        checks=[_checks_after(comparison_checks(comparison), workspace)],
        schedules=[],
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """The code location: settings from the environment, read when it is loaded.

    It loads whatever the books say: who tells of what is wrong must not go down with it.
    """
    workspace = Workspace(Settings.from_environment(os.environ))
    try:
        return build_definitions(workspace)
    except BookError:
        return dg.Definitions(sensors=alert_sensors(workspace), resources=_resources(workspace.settings))
