"""Schedules: when a ledger is read and when a book rebalances.

Scope: timing. Not here: what a tick starts, a job of ``definitions``.
"""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.books.book import Book
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.operations.rebalance import NotReadyError, daily_time, require_ready
from weights_pipeline.orchestration.partitions import Partitions, daily_months, ledger_months, range_tags
from weights_pipeline.tables.errors import StoreLockedError
from weights_pipeline.versions.policies import OF_TODAY
from weights_pipeline.versions.publication import LIVE_TIME
from weights_pipeline.workspace import BookSetup

_OF_FILES, _OF_BOOKS = dt.time(5, 30), dt.time(6, 0)


def ledger_time(source: LedgerSource) -> dt.time:
    """When a ledger is read, in the zone of its exchange: before any book rebalances, one of books after the others."""
    return _OF_BOOKS if source.books else _OF_FILES


def rebalance_schedule(setup: BookSetup, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Rebalance of a book at its cadence, on the period that has just ended."""
    book, periods, time = setup.book, setup.periods, setup.book.cadence.time

    @dg.schedule(
        job=job,
        name=f"{book.name}_rebalance",
        description=f"Rebalance {book.cadence.title}, {book.timezone}.",
        cron_schedule=book.cadence.ticks() or f"{time.minute} {time.hour} * * *",
        execution_timezone=book.timezone,
    )
    def rebalance(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        ended = periods.ended(tick)
        if not ended:
            return dg.SkipReason(f"No {book.cadence.period} of {book.name} has ended yet.")
        newest, due = ended[-1].key, periods.due(ended[-1])
        if due.timestamp() != tick.timestamp():
            return dg.SkipReason(
                f"No {book.cadence.period} of {book.name} is due now: the newest, {newest}, was due {due:%Y-%m-%d}."
            )
        try:
            require_ready(setup, ended, trial=True)
        except (NotReadyError, StoreLockedError) as error:
            return dg.SkipReason(f"{newest} waits: {error} The sensor due_rebalances starts it once it can be.")
        return dg.RunRequest(run_key=newest, partition_key=newest, tags=OF_TODAY)

    return rebalance


def ledger_schedule(source: LedgerSource, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Read the ledger every morning before any book rebalances: the open month, and the one before it.

    The month before is read again since late lots arrive, and since a month counts as complete only when it was read
    after its end.
    """
    return _every_day(
        f"{source.schema_name}_refresh",
        "Daily reading of the ledger: the open month and the one before it.",
        ledger_time(source),
        ledger_months(source),
        job,
    )


def daily_schedule(book: Book, source: LedgerSource, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Scale the weights of a book anew every morning, after the ledger was read and the book rebalanced."""
    return _every_day(
        f"{book.name}_daily",
        f"Daily weights of {book.name}: the open month and the one before it.",
        daily_time(book),
        daily_months(book, source),
        job,
        OF_TODAY,
    )


def live_schedule(book: Book, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Publish every morning: weights of a rebalance before a weekend or holiday come into force days after it."""
    return dg.ScheduleDefinition(
        name=f"{book.name}_live",
        description=f"Publish the weights of {book.name} whose day has come.",
        job=job,
        cron_schedule=f"{LIVE_TIME.minute} {LIVE_TIME.hour} * * *",
        execution_timezone=book.timezone,
    )


def report_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Write the report every morning, after books rebalance and publish."""
    return dg.ScheduleDefinition(
        name="report",
        description="Write the report of every book, and of all of them.",
        job=job,
        cron_schedule="45 7 * * *",
        execution_timezone="America/New_York",
    )


def _every_day(
    name: str,
    description: str,
    time: dt.time,
    months: Partitions,
    job: UnresolvedAssetJobDefinition,
    tags: dict[str, str] | None = None,
) -> dg.ScheduleDefinition:
    """Run a job for the open month and the one before it, every day at a local time."""

    @dg.schedule(
        job=job,
        name=name,
        description=description,
        cron_schedule=f"{time.minute} {time.hour} * * *",
        execution_timezone=months.timezone,
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        return newest_months(months, tick, tick.isoformat(), tags)

    return refresh


def newest_months(
    months: Partitions, now: dt.datetime, run_key: str, tags: dict[str, str] | None = None
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run over the open month and the one before it."""
    open_ones = months.existing(now)[-2:]
    if not open_ones or now >= open_ones[-1].end:
        return dg.SkipReason("The ledger is a finished history: every month of it has ended.")
    return dg.RunRequest(
        run_key=run_key,
        tags=range_tags(open_ones[0].key, open_ones[-1].key) | (tags or {}),
    )
