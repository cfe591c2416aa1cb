"""Partitions: periods as Dagster knows them, and which of them an input is made of.

Scope: definitions and mappings of time. Not here: when a period begins (``ledger.periods``), and what is computed for
one (``assets``).

To Dagster, a partition depends on those of each input that lie in the same time. What is read of the past beside them
an input knows by itself: Dagster would resolve every partition of the history, and look up the version of each, for
every input of every run, and widen a range to all that comes after it.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.mapping import UpstreamPartitionsResult

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import instant
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.ledger import LedgerSource, exchange_timezone, periods
from weights_pipeline.ledger.periods import Periods
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.workspace import BookSetup

# Backfill policies and mappings past the first partition are marked as beta; the version range of the dependency is
# what guards against their changing.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Any range is one run: a recorded materialisation costs milliseconds, a run of its own half a minute."""

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Tags by which Dagster knows the first and the last partition of a run over a range."""


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags of a run over a range of partitions."""
    return dict(zip(RANGE_TAGS, (first, last), strict=True))


Back = int | Literal["all"]

_HORIZON = dt.date(2041, 1, 1)
"""Up to when sessions are counted for Dagster, which takes each day on which no period begins."""

_LAST_YEAR = 2100
_SAME_TIME = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
_TO_THE_NEXT = dg.TimeWindowPartitionMapping(end_offset=1, allow_nonexistent_upstream_partitions=True)


class Partitions(dg.TimeWindowPartitionsDefinition):
    """Partitions of a ledger or a book.

    Attributes
    ----------
    periods
        What they are.
    """

    periods: Periods

    def existing(self, at: dt.datetime) -> list[Window]:
        """Those that there are at an instant: the ended ones, and the open one of a ledger."""
        return self.periods.begun(at) if self.end_offset > 0 else self.periods.ended(at)

    def get_partition_keys(
        self, current_time: dt.datetime | None = None, dynamic_partitions_store: Any = None
    ) -> list[str]:
        """Keys of those that there are, from the periods, since a check asks for all of them."""
        with partition_loading_context(current_time, dynamic_partitions_store) as context:
            now = context.effective_dt
        return [
            window.key for window in self.existing(now if now.tzinfo else now.replace(tzinfo=ZoneInfo(self.timezone)))
        ]

    def __hash__(self) -> int:
        """Hash of the periods: Dagster asks at every call, and spells out every field to tell."""
        return hash((self.periods, self.end_offset))


class TimeWindowPartitionMapping(dg.TimeWindowPartitionMapping):
    """Every partition from the first one on, without a walk over them; or those so many before.

    A run of checks alone has no partitions, for which Dagster's own mapping has no answer. It walks an offset partition
    by partition. Its own processes, which know none of our classes, get the mapping
    of this name with an offset as long as the history can be, which comes to the same.
    """

    def get_upstream_mapped_partitions_result_for_partitions(
        self,
        downstream_partitions_subset: Any,
        downstream_partitions_def: Any,
        upstream_partitions_def: Any,
        current_time: dt.datetime | None = None,
        dynamic_partitions_store: Any = None,
    ) -> Any:
        """Everything from the first partition to the newest of the subset; nothing for a run without partitions."""
        if downstream_partitions_def is None:
            nothing = upstream_partitions_def.empty_subset()
            return UpstreamPartitionsResult(partitions_subset=nothing, required_but_nonexistent_subset=nothing)
        if self.start_offset == self.end_offset:
            return super().get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset,
                downstream_partitions_def,
                upstream_partitions_def,
                current_time,
                dynamic_partitions_store,
            )
        with partition_loading_context(current_time, dynamic_partitions_store):
            found = _SAME_TIME.get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset, downstream_partitions_def, upstream_partitions_def
            )
            same: Any = found.partitions_subset
            if same.is_empty:
                return found
            first = upstream_partitions_def.get_first_partition_window()
        window = dg.TimeWindow(first.start, same.included_time_windows[-1].end)
        return type(found)(
            partitions_subset=upstream_partitions_def.get_partition_subset_in_time_window(window),
            required_but_nonexistent_subset=found.required_but_nonexistent_subset,
        )

    def get_downstream_partitions_for_partitions(
        self,
        upstream_partitions_subset: Any,
        upstream_partitions_def: Any,
        downstream_partitions_def: Any,
        current_time: dt.datetime | None = None,
        dynamic_partitions_store: Any = None,
    ) -> Any:
        """Everything from the first partition of the subset on."""
        if self.start_offset == self.end_offset:
            return super().get_downstream_partitions_for_partitions(
                upstream_partitions_subset,
                upstream_partitions_def,
                downstream_partitions_def,
                current_time,
                dynamic_partitions_store,
            )
        with partition_loading_context(current_time, dynamic_partitions_store):
            same: Any = _SAME_TIME.get_downstream_partitions_for_partitions(
                upstream_partitions_subset, upstream_partitions_def, downstream_partitions_def
            )
            if same.is_empty:
                return same
            last = downstream_partitions_def.get_last_partition_window()
        window = dg.TimeWindow(same.first_start, last.end)
        return downstream_partitions_def.get_partition_subset_in_time_window(window)


_BEFORE = TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


def require_partitions(definition: dg.PartitionsDefinition[Any] | None) -> Partitions:
    """Partitions of a ledger or a book, told from any others that Dagster knows."""
    if not isinstance(definition, Partitions):
        raise TypeError(f"expected partitions of a ledger or a book, got {definition}")
    return definition


def ledger_months(source: LedgerSource) -> Partitions:
    """Months of a ledger, in the exchange's zone, the open month included unless the history is finished."""
    return _partitions(periods.ledger_months(source), open_too=True)


def book_partitions(book: Book, source: LedgerSource) -> Partitions:
    """Periods of a book that have ended, in the book's zone."""
    return _partitions(periods.book_periods(book, source), open_too=False)


def daily_months(book: Book, source: LedgerSource) -> Partitions:
    """Months of the weights that a book scales every day, in its zone, the open month included."""
    return _partitions(periods.daily_months(book, source), open_too=True)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A table that something is computed from.

    Attributes
    ----------
    schema, table
        Which table.
    partitions
        Its partitions; None of a table without any.
    mapping
        How its partitions and those computed belong together, as far as Dagster is to know.
    back
        How many partitions are read before those of the run's own time, or ``all``.
    preceding
        Only what precedes the run's first partition is read: a range holds rows of an earlier run that this very run is
        about to replace.
    """

    schema: str
    table: Table
    partitions: Partitions | None = None
    mapping: dg.PartitionMapping | None = None
    back: Back = 0
    preceding: bool = False

    @property
    def dep(self) -> dg.AssetDep:
        """The dependency, as Dagster shows it."""
        return dg.AssetDep(dg.AssetKey([self.schema, self.table.name]), partition_mapping=self.mapping)

    def needed(self, own: Sequence[Window], now: dt.datetime) -> list[Window]:
        """Partitions that are read for those of a run; none of a table without any.

        Parameters
        ----------
        own
            What the run computes, in order.
        now
            When it was created.
        """
        if self.partitions is None:
            return []
        # Nothing that begins after the run's own partitions have ended.
        end = own[0].start if self.preceding else own[-1].end
        begun = [window for window in self.partitions.existing(now) if window.start < end]
        if self.back == "all":
            return begun
        before = sum(window.end <= own[0].start for window in begun)
        return begun[max(0, before - self.back) :]


def own_input(setup: BookSetup, table: Table, back: Back = 0) -> Input:
    """A table of the same book, and so many partitions before the run's own."""
    return Input(
        schema=setup.name,
        table=table,
        partitions=book_partitions(setup.book, setup.source),
        mapping=_SAME_TIME,
        back=back,
    )


def past_input(setup: BookSetup, table: Table, back: Back) -> Input:
    """A table that is continued: so many partitions before the run's first, and none of the run's own."""
    return replace(own_input(setup, table, back), mapping=_BEFORE, preceding=True)


def ledger_input(setup: BookSetup, table: Table, back: Back = "all") -> Input:
    """A table of the ledger that a book reads, and so many months before the run's own time."""
    source = setup.source
    mapping: dg.PartitionMapping = _SAME_TIME
    if setup.book.timezone != exchange_timezone(source.calendar):
        # Dagster maps windows of time in one zone only.
        mapping = dg.AllPartitionMapping()
    elif setup.book.cadence.cron is None:
        # What Dagster holds for the period is the hour before it.
        mapping = _TO_THE_NEXT
    return Input(schema=source.schema_name, table=table, partitions=ledger_months(source), mapping=mapping, back=back)


def within(lookback: Lookback, frequency: Frequency) -> int:
    """Months that a lookback can touch before the partition it ends in, with room for rounding and holidays."""
    return lookback.full_months(frequency) + 2


def ledger_history(source: LedgerSource, table: Table) -> Input:
    """A table of the same ledger from its first month on.

    Whoever follows the ledger by itself has to know that a month bears on all after it.
    """
    first, last = (int(month[:4]) * 12 + int(month[5:]) for month in (source.first_month, _last_month(source)))
    mapping = TimeWindowPartitionMapping(start_offset=first - last, allow_nonexistent_upstream_partitions=True)
    return Input(schema=source.schema_name, table=table, partitions=ledger_months(source), mapping=mapping, back="all")


def _last_month(source: LedgerSource) -> str:
    return source.last_month or f"{_LAST_YEAR}-12"


@lru_cache(maxsize=1024)
def _partitions(of: Periods, *, open_too: bool) -> Partitions:
    """The same object for the same periods, so that Dagster need not compare two field by field."""
    told = _by_exclusion(of) if of.cadence.cron is None else _by_cron(of) | {"end_offset": int(open_too)}
    definition = Partitions(**told, fmt="%Y-%m-%d", timezone=of.timezone)
    definition.periods = of
    return definition


def _by_cron(of: Periods) -> dict[str, Any]:
    return {"start": str(of.first), "end": str(of.over) if of.over else None, "cron_schedule": of.cadence.cron}


def _by_exclusion(of: Periods) -> dict[str, Any]:
    """Periods that no cron expression tells: ticks of a daily schedule, but for the days on which none begins.

    To Dagster a partition is over with the next tick of its schedule. So each has a second tick, the hour before it
    begins, and is told by that hour; and it is there when the hour of the next one is over, which is when it has ended.
    """
    time, end = of.cadence.time, of.over or _HORIZON
    schedule, start = f"{time.minute} {time.hour - 1},{time.hour} * *", str(of.first)
    ended = of.ended(instant(end, dt.time(), ZoneInfo(of.timezone)))
    if not ended:
        return {"start": start, "end": start, "cron_schedule": f"{schedule} *"}
    edges = [*(window.start.date() for window in ended), ended[-1].end.date()]
    weekdays = sorted({f"{day:%w}" for day in edges})
    days = (edges[0] + dt.timedelta(days=n) for n in range((edges[-1] - edges[0]).days))
    idle = sorted({day for day in days if f"{day:%w}" in weekdays}.difference(edges))
    return {
        "start": str(edges[0]),
        "end": dt.datetime.combine(edges[-2], time),
        "end_offset": -1,
        "cron_schedule": f"{schedule} {','.join(weekdays)}",
        "exclusions": [
            f"{time.minute} {time.hour} * * *",
            *(dt.datetime.combine(day, time.replace(hour=time.hour - 1)) for day in idle),
        ],
    }
