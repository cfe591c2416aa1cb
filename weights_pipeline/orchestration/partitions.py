"""Partitions: the months of a ledger, the months or weeks of a book, and how they depend on each other.

Here belong definitions and mappings of time. What is computed for a partition is in ``assets``.
"""

from __future__ import annotations

import math
import warnings

import dagster as dg

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import WEEKDAYS, Monthly, Weekly
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.ledger import LedgerSource, exchange_timezone

# Backfill policies and mappings past the first partition are marked as beta; the version range of the dependency is
# what guards against their changing.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Any range is one run: a recorded materialisation costs milliseconds, a run of its own half a minute."""

PREVIOUS = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
"""The partition before: what a recursion continues from."""

_LAST_YEAR = 2100
_WEEKS_A_MONTH = 4.35


def own_history(book: Book, source: LedgerSource) -> dg.PartitionMapping:
    """Every partition of the book from its first to the partition itself; never anything after it.

    Dagster walks the offset partition by partition, so it is as long as the history can be and no longer.
    """
    return _back(_months(source), book)


def ledger_history(source: LedgerSource, book: Book | None = None) -> dg.PartitionMapping:
    """Every month of the ledger from its first to the partition of the book, or of the ledger itself."""
    return _back(_months(source), book) if _same_zone(source, book) else dg.AllPartitionMapping()


def ledger_window(lookback: Lookback, source: LedgerSource, book: Book) -> dg.PartitionMapping:
    """Months that a lookback ending in the partition can touch, with room for rounding and holidays."""
    return _back(lookback.full_months + 2, book) if _same_zone(source, book) else dg.AllPartitionMapping()


def own_past(book: Book, source: LedgerSource) -> dg.PartitionMapping:
    """Every partition of the book before the partition itself: what a recursion on its whole past continues from."""
    return _back(_months(source) + 1, book, end=-1)


def _same_zone(source: LedgerSource, book: Book | None) -> bool:
    # Dagster maps windows of time in one zone only. Over different zones every month is mapped, and the store loads
    # those that begin before the partition ends.
    return book is None or book.timezone == exchange_timezone(source.calendar)


def _months(source: LedgerSource) -> int:
    year, month = map(int, source.first_month.split("-"))
    last_year, last_month = map(int, (source.last_month or f"{_LAST_YEAR}-12").split("-"))
    return (last_year - year) * 12 + last_month - month


def _back(months: int, book: Book | None, end: int = 0) -> dg.TimeWindowPartitionMapping:
    # Offsets count partitions of the one that looks back.
    weekly = book is not None and isinstance(book.cadence, Weekly)
    count = math.ceil(months * _WEEKS_A_MONTH) + 1 if weekly else months
    return dg.TimeWindowPartitionMapping(
        start_offset=-count, end_offset=end, allow_nonexistent_upstream_partitions=True
    )


def ledger_months(source: LedgerSource) -> dg.MonthlyPartitionsDefinition:
    """Months of a ledger, in the exchange's zone, the open month included unless the history is finished."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{source.first_month}-01",
        end_date=_after(source),
        end_offset=1,
        timezone=exchange_timezone(source.calendar),
    )


def book_partitions(book: Book, source: LedgerSource) -> dg.TimeWindowPartitionsDefinition:
    """Months or weeks of a book: those that have ended, in the book's zone. A week ends when the book rebalances."""
    start, end = f"{source.first_month}-01", _after(source)
    if isinstance(book.cadence, Monthly):
        return dg.MonthlyPartitionsDefinition(start_date=start, end_date=end, timezone=book.timezone)
    return dg.WeeklyPartitionsDefinition(
        start_date=start,
        end_date=end,
        timezone=book.timezone,
        # Dagster counts from Sunday.
        day_offset=(WEEKDAYS.index(book.cadence.weekday) + 1) % 7,
        hour_offset=book.cadence.time.hour,
        minute_offset=book.cadence.time.minute,
    )


def months_so_far(source: LedgerSource) -> dg.PartitionMapping:
    """Every partition of a book from its first to the month that looks back."""
    return _back(_months(source), None)


def daily_months(book: Book, source: LedgerSource) -> dg.MonthlyPartitionsDefinition:
    """Months of the weights that a book scales every day, in its zone, the open month included."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{source.first_month}-01", end_date=_after(source), end_offset=1, timezone=book.timezone
    )


def _after(source: LedgerSource) -> str | None:
    """First day after a finished history."""
    if source.last_month is None:
        return None
    year, month = map(int, source.last_month.split("-"))
    return f"{year + month // 12:04d}-{month % 12 + 1:02d}-01"
