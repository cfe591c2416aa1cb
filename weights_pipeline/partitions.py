"""Partitions: the months of a ledger and of a book, and how they depend on each other.

Here belong definitions and mappings of time. What is computed for a partition is in ``assets``.
"""

from __future__ import annotations

import dagster as dg

from weights_pipeline.books import Book
from weights_pipeline.ledger import LedgerSource, exchange_timezone

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Any range is one run: a recorded materialisation costs milliseconds, a run of its own half a minute."""

PREVIOUS = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
"""The partition before: what a recursion continues from."""

UP_TO_NOW = dg.TimeWindowPartitionMapping(start_offset=-10_000, allow_nonexistent_upstream_partitions=True)
"""Everything from the first partition to this one; never anything after it."""


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
