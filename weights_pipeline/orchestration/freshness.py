"""Automation: by when Dagster expects what to be fresh, and what follows a corrected ledger by itself.

Scope: these two sets of rules, for all assets in one place. Not here: when a ledger is read and a book rebalances by
the clock (``schedules``).

Freshness. What a schedule makes is due half an hour after its tick. Nothing is due of a ledger that states its last
month, nor of the books on it: their schedules skip, and a finished history would otherwise be reported as late for
ever. Dagster looks at when an asset was last materialised, not at which of its partitions; that a period was left out
is what the check of gaps finds.

Following. When a month of a ledger is read again, the daily returns from that month on follow it, and comparisons,
which are views of the returns, follow those: only what has been materialised before, never for the first time, and
never by time passing. Nothing of a book follows: a late or corrected lot changes no metric and no weight before the
operator has looked (`weights restate`, before the ledger is read again) and materialises them.
"""

from __future__ import annotations

import datetime as dt
from functools import cache

import dagster as dg

from weights_pipeline.books.book import Book
from weights_pipeline.ledger import LedgerSource, exchange_timezone
from weights_pipeline.operations.rebalance import daily_time
from weights_pipeline.orchestration.schedules import ledger_time
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.publication import LIVE_TIME

GRACE = dt.timedelta(minutes=30)
"""From a tick of a schedule to when what it makes is overdue."""

_DAY = dt.timedelta(days=1)
_WEEKDAYS, _ALL_DAYS = "1-5", "*"

# To judge a policy Dagster walks through years of ticks, and a book has the same one for each of its tables.
_cron = cache(dg.FreshnessPolicy.cron)


def ledger_freshness(source: LedgerSource) -> dg.FreshnessPolicy | None:
    """Each business day a ledger is read, after midnight at the exchange and by half an hour after its schedule."""
    return _every_morning(source, ledger_time(source), exchange_timezone(source.calendar), _WEEKDAYS)


def book_freshness(book: Book, source: LedgerSource, table: Table) -> dg.FreshnessPolicy | None:
    """At its cadence a book is rebalanced, on the period that has ended; its daily weights are due each business day.

    A period may be rebalanced on from its end on, however long after that the schedule ticks.
    """
    if source.last_month is not None:
        return None
    if table is catalog.DAILY_WEIGHTS:
        return _every_morning(source, daily_time(book), book.timezone, _WEEKDAYS)
    deadline = book.cadence.ticks(GRACE)
    if deadline is None:
        return dg.FreshnessPolicy.time_window(book.cadence.longest + GRACE)
    return _cron(deadline, book.cadence.wait + GRACE, book.timezone)


def live_freshness(book: Book, source: LedgerSource) -> dg.FreshnessPolicy | None:
    """Every day the weights in force are published, after midnight and by half an hour after their schedule."""
    return _every_morning(source, LIVE_TIME, book.timezone, _ALL_DAYS)


def follows() -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """What has been materialised before follows anything it depends on that is newer, once nothing of it is under way.

    What is newer is told by partition and by time, not by run: a month that is read again together with its own
    returns leaves the returns of the months after it behind. What was asked for once is not asked for again, so that a
    run that fails is a person's to look at.
    """
    newer = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
    # Two conditions, since Dagster compares times within a tick only where a single thing resets one.
    return (
        newer.since(dg.AutomationCondition.newly_updated()).with_label("newer than it")
        & newer.since(dg.AutomationCondition.newly_requested()).with_label("not asked for yet")
        & ~dg.AutomationCondition.missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("follows the ledger")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that starts what follows; on from the start, since it acts on nothing but what a person has run."""
    return dg.AutomationConditionSensorDefinition(
        "follow_ledger",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Brings daily returns and comparisons up to date after a ledger was read again. It computes "
        "nothing for the first time, and no weights: metrics and weights follow their schedule, or the operator.",
    )


def _every_morning(source: LedgerSource, time: dt.time, zone: str, weekdays: str) -> dg.FreshnessPolicy | None:
    if source.last_month is not None:
        return None
    midnight = dt.datetime.combine(dt.date.min, dt.time())
    due = dt.datetime.combine(dt.date.min, time) + GRACE
    return _cron(f"{due.minute} {due.hour} * * {weekdays}", min(due - midnight, _DAY), zone)
