"""Operation by hand: a desk's first day, and a rebalance that a person starts or tries out.

Scope: the version that opens a book's history, metric overrides, which rebalance can be started, and a rebalance in
memory. Not here: formulas (``core``), and running a rebalance (``orchestration.runs``).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import instant
from weights_pipeline.books.load import metrics_given
from weights_pipeline.books.reading import BookError
from weights_pipeline.core.chain import last_sessions, metric_rows
from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.metrics.table import OVERRIDABLE, overridden
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.versions import OPENING, WEIGHTS, Stamp, canonical, digest, link
from weights_pipeline.ledger import sessions_past
from weights_pipeline.ledger.calendars import REACH
from weights_pipeline.ledger.periods import daily_months, ledger_months, until, window_dates
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.versions.history import add_versions
from weights_pipeline.versions.inputs import code_version, parameters_of, started_from
from weights_pipeline.versions.recompute import Rebalanced, StoredLedger, Taken, rebalanced
from weights_pipeline.workspace import BookSetup

_YEAR = Lookback.parse("12m")


class OpenedError(ValueError):
    """The book has versions already, so that it cannot be opened."""


class NotDueError(ValueError):
    """The rebalance asked for cannot be started. The message says why, and what to do."""


class NotReadyError(LookupError):
    """The store lacks what a rebalance reads. The message says what."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A rebalance that was computed and not stored.

    Attributes
    ----------
    partition
        Key of the book's partition.
    as_of, effective_from
        Last session that it reads, and first one on which its weights would be in force.
    metric, weight_set
        Metric shown, such as ``calmar_12m``, and the weight set read; empty where there is none.
    weights
        By strategy: ``base``, ``metric_value``, ``note``, ``target``, ``previous`` (what the step starts from),
        ``realized``, ``held`` (final weights that these would take the place of) and ``final``.
    held
        Where the weights held are from, in words.
    turnover
        One-way turnover of a rebalance: ½·Σ|realized − previous|.
    traded
        One-way turnover against what is held: ½·Σ|final − held|.
    """

    partition: str
    as_of: pd.Timestamp
    effective_from: pd.Timestamp
    metric: str
    weight_set: str
    weights: pd.DataFrame
    held: str
    turnover: float
    traded: float


def open_history(setup: BookSetup, effective: dt.date, *, now: dt.datetime, comment: str = "") -> pd.DataFrame:
    """Record a book's base weights as its first version, for a desk's first day.

    Parameters
    ----------
    setup
        The book; its store need not exist yet.
    effective
        The weights are in force from the first session on or after this day.
    now
        When it is recorded, zone-aware.
    comment
        What to record beside it.

    Returns
    -------
    DataFrame
        Rows of ``weight_history``.

    Raises
    ------
    OpenedError
        The book has versions. Nothing was written.
    weights_pipeline.ledger.LedgerError
        The calendar is not recorded around that day.
    """
    book, store, policy = setup.book, setup.store, setup.policy
    day = pd.Timestamp(effective)
    sessions = sessions_past(setup.source.calendar, (day - REACH).date(), (day - dt.timedelta(days=1)).date())
    first = int(sessions.searchsorted(day))
    as_of = sessions[first - 1]
    parameters, nothing = parameters_of(setup, as_of), link(OPENING, {}, None)
    computed = pd.DataFrame(
        {
            "as_of": as_of,
            "effective_from": sessions[first],
            "strategy": policy.strategies,
            **dict.fromkeys(WEIGHTS, policy.weights),
            "metrics": [_starter_figures(setup.starter.get(name), as_of) for name in policy.strategies],
            "parameters_hash": digest(parameters),
            "ledger_hash": digest(nothing),
            "state_hash": digest(nothing),
            "rebalance": OPENING,
        }
    )
    stamp = Stamp(
        run_id=OPENING,
        recorded_at=pd.Timestamp(now).tz_convert("UTC").tz_localize(None),
        code_version=code_version(),
        comment=comment,
        reason="manual",
        first=OPENING,
    )
    documents = {digest(text): text for text in (parameters, nothing)}
    # Another process may open it meanwhile.
    return add_versions(
        store, book.name, computed, documents, stamp, require=lambda history: _require_unopened(book, history)
    )


def metric_overrides(content: Any, book: Book, named: Any) -> Mapping[str, StarterMetrics]:
    """Twelve-month figures of a JSON document that stand in for what a book measures.

    Parameters
    ----------
    content
        Figures by strategy, in the form of starter metrics.
    book
        The book.
    named
        Where the document is from, for a message.

    Raises
    ------
    weights_pipeline.books.reading.BookError
        Figures that contradict each other or are of no strategy of the book, none at all, or a book whose method reads
        other metrics than they give.
    """
    figures = metrics_given(content, book, named)
    kind, reads = book.method.kind, book.method.reads
    if book.ensemble is not None:
        raise BookError(f"{named}: book {book.name} reads weight sets made per market regime, no metric overrides")
    if not reads:
        raise BookError(
            f"{named}: method {kind} of book {book.name} reads no metrics, so that giving some has no effect"
        )
    if absent := sorted(set(reads) - set(OVERRIDABLE)):
        raise BookError(
            f"{named}: method {kind} of book {book.name} reads {', '.join(absent)}, which cannot be overridden; "
            f"those that can are {', '.join(OVERRIDABLE)}"
        )
    if not figures:
        raise BookError(f"{named}: expected figures of at least one strategy, got none")
    return figures


def due(setup: BookSetup, now: dt.datetime, partition: str | None = None) -> list[Window]:
    """Periods of a book up to the one to rebalance on.

    Parameters
    ----------
    setup
        The book.
    now
        The instant, zone-aware; a period can be rebalanced on once it has ended.
    partition
        Its key, ``YYYY-MM-DD``, or its month; the last one that has ended when left out or ``latest``.

    Raises
    ------
    NotDueError
        It has not ended, is none, is several, or later rebalances continue from it.
    """
    book = setup.book
    ended = setup.periods.ended(now)
    if not ended:
        raise NotDueError(f"book {book.name} has no period that has ended yet")
    if partition in (None, "latest"):
        return ended
    if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", str(partition)):
        raise NotDueError(f"{partition!r} is not a period; write YYYY-MM, or the day YYYY-MM-DD that it begins")
    keys = [window.key for window in ended if window.key.startswith(str(partition))]
    if len(keys) != 1:
        found = f"is {len(keys)} periods, {keys[0]} to {keys[-1]}," if keys else "is no period that has ended"
        raise NotDueError(
            f"{partition} {found} of book {book.name}; expected one from {ended[0].key} to {ended[-1].key}"
        )
    newest = max(setup.store.partitions(book.name, catalog.REALIZED_WEIGHTS.name), default="")
    if keys[0] < newest:
        raise NotDueError(
            f"{keys[0]}: rebalances up to {newest} continue from it; `weights run --book {book.name} --from "
            f"{keys[0]}` materialises it and all after it, on measured metrics"
        )
    return list(takewhile(lambda window: window.key <= keys[0], ended))


def owed(setup: BookSetup, now: dt.datetime) -> list[tuple[Window, dt.datetime]]:
    """Rebalances that are due and not stored, in order, each with the instant from which it was due.

    Only those after the newest one that is stored: what lacks before it is a gap, which a check finds. A book that was
    never opened nor materialised owes none, and neither does one whose ledger is a finished history.
    """
    book, store = setup.book, setup.store
    history = store.read(book.name, catalog.WEIGHT_HISTORY, columns=["effective_from"])
    if history.empty or setup.source.last_month is not None:
        return []
    since = history["effective_from"].min().date()
    newest = max(store.partitions(book.name, catalog.FINAL_WEIGHTS.name), default="")
    later = [window for window in setup.periods.ended(now) if window.key > newest and window.end.date() > since]
    return [(window, due) for window in later if (due := setup.periods.due(window)) <= now]


def daily_time(book: Book) -> dt.time:
    """When the weights of a book are scaled anew: at seven, or after its own rebalance where that is later."""
    time = dt.time(7, 0)
    if book.cadence.wait and book.cadence.time >= time:
        time = (dt.datetime.combine(dt.date.min, book.cadence.time) + dt.timedelta(minutes=30)).time()
    return time


def unscaled(setup: BookSetup, now: dt.datetime) -> tuple[list[Window], list[dt.date]]:
    """Months of daily weights that are due and not stored as they should be, and the sessions that they lack.

    Only those from the newest one that is stored on. The last month is one up to when weights were to be scaled last.
    """
    book, store, overlay = setup.book, setup.store, setup.policy.overlay
    if overlay is None or overlay.apply != "daily" or setup.source.last_month is not None:
        return [], []
    daily, realized = catalog.DAILY_WEIGHTS.name, catalog.REALIZED_WEIGHTS.name
    records = store.partitions(book.name, daily)
    newest = max(records, default=min(store.partitions(book.name, realized), default="9999"))
    local = now.astimezone(ZoneInfo(book.timezone))
    tick = instant(local.date(), daily_time(book), ZoneInfo(book.timezone))
    if tick > now:
        tick = instant(local.date() - dt.timedelta(days=1), daily_time(book), ZoneInfo(book.timezone))
    months = [
        month
        for month in until(daily_months(book, setup.source), tick)
        if month.key >= newest
        and month.first < month.after
        and (month.key not in records or records[month.key].recorded_at.replace(tzinfo=dt.UTC) < month.settled)
    ]
    if not months:
        return [], []
    scaled = store.read(book.name, catalog.DAILY_WEIGHTS, columns=["as_of"])["as_of"]
    begun = store.read(book.name, catalog.REALIZED_WEIGHTS, columns=["as_of"])["as_of"].min()
    first = max(begun, pd.Timestamp(months[0].first)).date()
    sessions = sessions_past(setup.source.calendar, first, months[-1].after - dt.timedelta(days=1))
    sessions = sessions[(sessions >= pd.Timestamp(first)) & (sessions < pd.Timestamp(months[-1].after))]
    return months, [day.date() for day in sessions.difference(pd.DatetimeIndex(scaled))]


def unread_months(setup: BookSetup, window: Window, *, trial: bool) -> list[str]:
    """Months of the ledger that a period needs and that are not in the store as they ended.

    ``trial`` says whether nothing will read the months that the period touches, so that they have to be there too.
    """
    source, store = setup.source, setup.store
    months = [
        month
        for month in ledger_months(source).begun(window.end)
        if (month.start < window.end if trial else month.end <= window.start)
    ]
    records = store.partitions(source.schema_name, catalog.STRATEGY_RETURNS.name)
    # Of a month that goes on after the period has ended, only what came before counts.
    return [
        month.key
        for month in months
        if month.key not in records
        or records[month.key].recorded_at.replace(tzinfo=dt.UTC) < min(month.settled, window.settled)
    ]


def require_ready(setup: BookSetup, periods: list[Window], *, trial: bool) -> None:
    """Refuse a store that lacks what a rebalance reads, or has it from before its sessions were over.

    Parameters
    ----------
    setup
        The book.
    periods
        Periods of the book up to the one to rebalance on; see :func:`due`.
    trial
        Whether nothing will read the ledger's months that the last period touches, so that they have to be there too.

    Raises
    ------
    NotReadyError
        The store lacks a month of the ledger, read after it was over, or the rebalance before.
    """
    book, source, store, window = setup.book, setup.source, setup.store, periods[-1]
    unread = [key[:7] for key in unread_months(setup, window, trial=trial)]
    stored = store.partitions(book.name, catalog.REALIZED_WEIGHTS.name)
    lacking = next((each.key for each in periods if each.key not in stored), window.key)
    begin = _since(min(lacking[:7], *unread[:1]), periods) if unread else lacking
    run = f"weights run --book {book.name} --from {begin}"
    if unread:
        raise NotReadyError(
            f"{store.location} lacks {', '.join(unread[:6])}{' …' if len(unread) > 6 else ''} of ledger {source.name}, "
            f"read after it was over. A rebalance that is no trial reads its own month alone; `{run}` reads and "
            f"rebalances on all from there on."
        )
    if missing := [each.key for each in periods[-2:-1] if each.key not in stored]:
        raise NotReadyError(
            f"book {book.name}: rebalance {missing[0]}, from which {window.key} continues, is missing in "
            f"{store.location}. Run `{run}` first."
        )


def _since(month: str, periods: list[Window]) -> str:
    """A month, or where none of the periods begins in it the one before that does, or the first."""
    if any(each.key.startswith(month) for each in periods):
        return month
    return max((each.key for each in periods if each.key < month), default=periods[0].key)


def plan(setup: BookSetup, periods: list[Window], figures: Mapping[str, StarterMetrics] | None = None) -> Plan:
    """Compute a rebalance from what the store has, and store nothing.

    Parameters
    ----------
    setup
        The book.
    periods
        Periods of the book up to the one to rebalance on; see :func:`due`.
    figures
        What :func:`metric_overrides` gives, if anything.

    Raises
    ------
    NotReadyError
        The store lacks a month of the ledger, read after it was over, or the rebalance before.
    ValueError
        Overrides that were known only later.
    """
    source, store, window = setup.source, setup.store, periods[-1]
    book, policy = setup.on(window.key).book, setup.on(window.key).policy
    begin = pd.Timestamp(f"{source.first_month}-01")
    sessions = sessions_past(source.calendar, begin.date(), window.after - dt.timedelta(days=1))
    as_of = last_sessions(sessions, window_dates([window]))
    with store.view():
        require_ready(setup, periods, trial=True)
        returns, unknown, liquidity, market = StoredLedger.of(store, source.schema_name)
        past, sets = (store.read(book.name, t) for t in (catalog.REALIZED_WEIGHTS, catalog.ENSEMBLE_WEIGHTS))
        updates = store.read(book.name, catalog.ENSEMBLE_UPDATES)
        held, origin = _held(store, book, as_of[0])
        opening = started_from(setup, store, min(past["as_of"].min(), as_of[0]) if len(past) else as_of[0])
    returns = returns[returns["session"] <= as_of[0]]
    earlier = past[past["as_of"] < as_of[0]]
    taken = Taken(past=earlier, opening=opening, sets=sets[sets["as_of"] < as_of[0]], updates=updates)
    if figures:
        observed = policy.frequency.observed(sessions)
        history = ReturnHistory.from_long(returns, sessions=observed[observed <= as_of[0]]).with_unknown(unknown)
        overrides = overridden(metric_rows(history, as_of, policy), figures)
        taken = replace(taken, overrides=overrides)
    made = rebalanced(
        returns, unknown, liquidity, as_of, taken, policy, sessions, market.set_index("session")["regime"]
    )
    return _as_plan(window.key, made, held, origin)


def _as_plan(partition: str, made: Rebalanced, held: pd.Series, origin: str) -> Plan:
    targets, realized, final = (table.set_index("strategy") for table in made)
    weights = pd.DataFrame(
        {
            **{name: targets[name] for name in ("base", "metric_value", "note", "target")},
            "previous": realized["previous"],
            "realized": realized["realized"],
            "held": held.reindex(targets.index, fill_value=0.0),
            "final": final["final"],
        }
    )
    # What is held of a strategy that the book does not have any more is given up.
    given_up = held[~held.index.isin(targets.index)]
    moved = (weights["final"] - weights["held"]).abs().tolist()
    return Plan(
        partition=partition,
        as_of=targets["as_of"].iloc[0],
        effective_from=final["effective_from"].iloc[0],
        metric=str(targets["metric"].iloc[0]),
        weight_set=str(targets["weight_set"].iloc[0]),
        weights=weights.rename_axis("strategy").reset_index(),
        held=origin,
        turnover=math.fsum((weights["realized"] - weights["previous"]).abs()) / 2,
        traded=math.fsum([*moved, *given_up]) / 2,
    )


def _held(store: Store, book: Book, as_of: pd.Timestamp) -> tuple[pd.Series, str]:
    """Final weights that those of a rebalance would take the place of, and where they are from."""
    final = store.read(book.name, catalog.FINAL_WEIGHTS)
    final, origin = final[final["as_of"] <= as_of], "the rebalance on data to"
    if final.empty:
        history = store.read(book.name, catalog.WEIGHT_HISTORY)
        final, origin = history[history["rebalance"] == OPENING], "the desk's first day, after"
    if final.empty:
        return pd.Series(book.strategies, dtype=np.float64), "the book's base weights"
    newest = final[final["as_of"] == final["as_of"].max()]
    return newest.set_index("strategy")["final"], f"{origin} {newest['as_of'].iloc[0]:%Y-%m-%d}"


def _require_unopened(book: Book, history: pd.DataFrame) -> None:
    if len(history):
        newest = history[history["version"] == history["version"].max()].iloc[0]
        raise OpenedError(
            f"book {book.name} has versions already; the newest is {newest['version']} ({newest['reason']}), in force "
            f"from {newest['effective_from']:%Y-%m-%d}"
        )


def _starter_figures(given: StarterMetrics | None, as_of: pd.Timestamp) -> str:
    """Starter metrics of a strategy as JSON, as far as they were known on a day."""
    if given is None or as_of < pd.Timestamp(given.known_from or as_of):
        return "{}"
    figures = (given.twelve_month_return, given.twelve_month_max_drawdown, given.calmar_ratio)
    return canonical({metric_label(name, _YEAR.label): value for name, value in zip(OVERRIDABLE, figures, strict=True)})
