"""Partitions: the months of a ledger and of a book, and how they depend on each other.

Here belong definitions and mappings of time. What is computed for a partition is in ``assets``.
"""

from __future__ import annotations

import warnings

import dagster as dg

from weights_pipeline.books import Book
from weights_pipeline.core.lookback import Lookback
from weights_pipeline.ledger import LedgerSource, exchange_timezone

# Backfill policies and mappings past the first partition are marked as beta; the version range of the dependency is
# what guards against their changing.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Any range is one run: a recorded materialisation costs milliseconds, a run of its own half a minute."""

PREVIOUS = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
"""The partition before: what a recursion continues from."""

_LAST_YEAR = 2100


def history(source: LedgerSource) -> dg.TimeWindowPartitionMapping:
    """Everything from the ledger's first month to the partition itself; never anything after it.

    Dagster walks the offset month by month, so it is as long as the history can be and no longer.
    """
    year, month = map(int, source.first_month.split("-"))
    last_year, last_month = map(int, (source.last_month or f"{_LAST_YEAR}-12").split("-"))
    return _back((last_year - year) * 12 + last_month - month)


def window(lookback: Lookback) -> dg.TimeWindowPartitionMapping:
    """The months that a lookback ending in the partition can touch, with room for rounding and holidays."""
    return _back(lookback.full_months + 2)


def _back(months: int) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(start_offset=-months, allow_nonexistent_upstream_partitions=True)


def ledger_months(source: LedgerSource) -> dg.MonthlyPartitionsDefinition:
    """Months of a ledger, in the exchange's zone, the open month included unless the history is finished."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{source.first_month}-01",
        end_date=_after(source),
        end_offset=1,
        timezone=exchange_timezone(source.calendar),
    )


def book_months(book: Book, source: LedgerSource) -> dg.MonthlyPartitionsDefinition:
    """Months of a book: those that have ended, in the book's zone."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{source.first_month}-01", end_date=_after(source), timezone=book.timezone
    )


def _after(source: LedgerSource) -> str | None:
    """First day after a finished history."""
    if source.last_month is None:
        return None
    year, month = map(int, source.last_month.split("-"))
    return f"{year + month // 12:04d}-{month % 12 + 1:02d}-01"
