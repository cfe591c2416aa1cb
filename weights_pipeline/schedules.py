"""Schedules: when a ledger is read and when a book rebalances.

Here belongs timing. What a tick starts is a job of ``definitions``.
"""

import dagster as dg
from dagster._core.definitions.partitions.partitioned_schedule import (
    UnresolvedPartitionedAssetScheduleDefinition,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.books import Book, Monthly
from weights_pipeline.ledger import LedgerSource


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


def ledger_schedule(
    source: LedgerSource, months: dg.MonthlyPartitionsDefinition, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """Read the ledger every morning before any book rebalances: the open month, and the one before it.

    The month before is read again since late lots arrive, and since a month counts as complete only when it was read
    after its end.
    """

    @dg.schedule(
        job=job,
        name=f"{source.schema_name}_refresh",
        description="Daily reading of the ledger: the open month and the one before it.",
        cron_schedule="30 5 * * *",
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
