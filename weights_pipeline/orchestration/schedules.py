"""Schedules: when a ledger is read and when a book rebalances.

Here belongs timing. What a tick starts is a job of ``definitions``.
"""

import datetime as dt

import dagster as dg
from dagster._core.definitions.partitions.partitioned_schedule import (
    UnresolvedPartitionedAssetScheduleDefinition,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import Monthly
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.orchestration.partitions import daily_months, ledger_months
from weights_pipeline.versions.publication import LIVE_TIME

LEDGER_TIME = dt.time(5, 30)
"""When a ledger is read, in the zone of its exchange: before any book rebalances."""


def rebalance_schedule(
    book: Book, job: UnresolvedAssetJobDefinition
) -> UnresolvedPartitionedAssetScheduleDefinition | dg.ScheduleDefinition:
    """Rebalance of a book at its cadence, for the month or week that has just ended, in the zone of its partitions."""
    # A week ends when the book rebalances, so that its partitions say when that is; a month ends before.
    monthly = book.cadence if isinstance(book.cadence, Monthly) else None
    return dg.build_schedule_from_partitioned_job(
        job,
        name=f"{book.name}_rebalance",
        description=f"Rebalance {book.cadence.title}, {book.timezone}.",
        day_of_month=monthly.day if monthly else None,
        hour_of_day=monthly.time.hour if monthly else None,
        minute_of_hour=monthly.time.minute if monthly else None,
    )


def ledger_schedule(source: LedgerSource, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Read the ledger every morning before any book rebalances: the open month, and the one before it.

    The month before is read again since late lots arrive, and since a month counts as complete only when it was read
    after its end.
    """
    return _every_day(
        f"{source.schema_name}_refresh",
        "Daily reading of the ledger: the open month and the one before it.",
        LEDGER_TIME,
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
    )


def daily_time(book: Book) -> dt.time:
    """When the weights of a book are scaled anew: at seven, or after its own rebalance where that is later."""
    time = dt.time(7, 0)
    if isinstance(book.cadence, Monthly) and book.cadence.time >= time:
        time = (dt.datetime.combine(dt.date.min, book.cadence.time) + dt.timedelta(minutes=30)).time()
    return time


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
    months: dg.MonthlyPartitionsDefinition,
    job: UnresolvedAssetJobDefinition,
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
        keys = months.get_partition_keys(current_time=tick)[-2:]
        if not keys or tick >= months.time_window_for_partition_key(keys[-1]).end:
            return dg.SkipReason("The ledger is a finished history: every month of it has ended.")
        return dg.RunRequest(
            run_key=tick.isoformat(),
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
        )

    return refresh
