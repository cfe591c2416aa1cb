"""Sensors: what Dagster has seen, and the state of the world, become alerts; changed files are read again.

Scope: the translation of Dagster's events, and ticks. Not here: what an alert says (``alerts``), its delivery
(``alerts.delivery``), and how a ledger's files are asked whether they have changed (``ledger.changes``). The sensors of
alerts run without being switched on: an alarm that somebody has to arm is none. Those of ledgers are switched on by
whoever switches their schedules on.
"""

import datetime as dt
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.alerts import Alert, Outbox, Severity
from weights_pipeline.alerts.deadlines import (
    left_out,
    missed_rebalances,
    missed_scalings,
    regime_change,
    regimes,
    unfit_live,
)
from weights_pipeline.books.reading import BookError
from weights_pipeline.checks import told_of
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.ledger.changes import state
from weights_pipeline.live import Keys
from weights_pipeline.operations.book_returns import tables_read
from weights_pipeline.orchestration.partitions import RANGE_TAGS, ledger_months
from weights_pipeline.orchestration.resources import Notifier
from weights_pipeline.orchestration.run_slots import free_dead_runs
from weights_pipeline.orchestration.schedules import newest_months
from weights_pipeline.settings import Settings
from weights_pipeline.store import open_store
from weights_pipeline.store.base import Store
from weights_pipeline.tables.errors import StoreLockedError
from weights_pipeline.workspace import BookSetup, Workspace

RUNS_PER_TICK = 50
"""Most runs that one tick reads; the next one goes on after them."""

SETTLED = dt.timedelta(seconds=3)
"""Age from which on events are read: one with a lower number may be written a moment later than its successor."""

_HOUR = dt.timedelta(hours=1)
LONGEST_RUN = 2 * _HOUR
"""A run that has not ended so long after it was made has hung, or its process was killed."""

_ENDS = (
    dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_SUCCESS),
    dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE),
    dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_CANCELED),
)
_GOING_ON = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_TOLD_OF_A_RUN = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE}
_OF_RUNS = {
    "failed": (
        "run of {} failed",
        "SUCCESS",
        "Nothing of the failed step was written. Open the run, mend the cause, and start it again.",
    ),
    "unended": (
        "run of {} does not end",
        f"an end within {LONGEST_RUN / _HOUR:g} hours",
        "Open the run: if its process is gone, cancel it and start it again.",
    ),
    "unreadable": ("events of a run of {} cannot be read", "readable", "Open the run and look at its checks."),
}
"""Title, limit and advice, by what became of a run."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a sensor has come: its cursor.

    Attributes
    ----------
    source
        Made anew when a sensor begins: what an outbox knows of an earlier beginning does not count.
    after
        Number of the newest event read.
    standing
        What is told once for as long as it lasts: offenders by check with a warning, books by key of a deadline.
    regimes
        Session and regime last told, by book and kind.
    """

    source: str = field(default_factory=lambda: uuid.uuid4().hex)
    after: int = 0
    standing: Mapping[str, str] = field(default_factory=dict)
    regimes: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``str`` has made."""
        content = json.loads(text)
        return cls(**content | {"regimes": {name: tuple(pair) for name, pair in content["regimes"].items()}})


def alert_sensors(workspace: Workspace) -> list[dg.SensorDefinition]:
    """The sensor of finished runs and the sensor of deadlines and regimes."""
    settings = workspace.settings
    # A run may hold the store for minutes, a tick has one; the next one looks again.
    store = open_store(replace(settings, lock_timeout=5.0))

    @dg.sensor(
        name="alerts_of_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tell of failed runs and failed checks, free what dead runs have held, and deliver what could not "
        "be delivered before.",
    )
    def of_runs(context: dg.SensorEvaluationContext, weights_alerts: Notifier) -> dg.SensorResult:
        try:
            for run_id in free_dead_runs(context.instance, settings.home):
                context.log.warning(f"run {run_id} had died: it is recorded as failed, and what it held is free")
        except Exception as error:  # alerts are delivered all the same
            context.log.warning(f"dead runs are not known: {type(error).__name__}: {error}")
        position, newest = _resumed(context, weights_alerts.outbox), newest_end(context.instance)
        if position is None or position.after > newest:
            # Records that were moved away or restored count from an earlier number: what comes would be passed over.
            return _delivered(context, weights_alerts, Position(after=newest))
        now = dt.datetime.now(dt.UTC)
        alerts, reached = run_alerts(context.instance, position, settings.ui, now)
        return _delivered(context, weights_alerts, reached, position, alerts)

    @dg.sensor(
        name="alerts_of_time",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tell of books that are not valid, rebalances that did not happen, live weights that are stale or "
        "behind, and new regimes.",
    )
    def of_time(context: dg.SensorEvaluationContext, weights_alerts: Notifier) -> dg.SensorResult:
        position, now, alerts = _resumed(context, weights_alerts.outbox), dt.datetime.now(dt.UTC), list[Alert]()
        before = reached = position or Position()
        try:
            found, reached = _once(unended_runs(context.instance, settings.ui, now), "runs", reached)
            alerts += found
        except Exception as error:  # deadlines are looked at all the same
            context.log.warning(f"runs that go on are not known: {type(error).__name__}: {error}")
        found, reached = _once(left_out(workspace, lambda *path: _link(settings.ui, *path)), "files", reached)
        alerts += found
        for setup in _setups(workspace):
            found, reached, unknown = time_alerts(replace(setup, store=store), settings, reached, now)
            alerts += found
            for problem in unknown:
                context.log.warning(f"book {setup.name}: {problem}")
        return _delivered(context, weights_alerts, reached, before, alerts)

    return [of_runs, of_time]


def _setups(workspace: Workspace) -> Sequence[BookSetup]:
    """Books that work; none where nothing of the workspace does, which :func:`left_out` tells."""
    try:
        return list(workspace.setups.values())
    except BookError:
        return []


QUIET = dt.timedelta(minutes=2)
"""How long what a ledger reads has to stay as it is before it is read again: files may arrive one after the other."""


def stored_state(books: Sequence[BookSetup], store: Store) -> str:
    """What is stored of the weights of books and of what their strategies have earned."""
    content = hashlib.sha256()
    with store.view():
        for setup in books:
            for schema, table in tables_read(setup):
                for key, record in store.partitions(schema, table.name).items():
                    content.update(f"{schema} {key} {record.content_hash}\n".encode())
    return content.hexdigest()


def ledger_sensor(
    source: LedgerSource,
    root: Path,
    job: UnresolvedAssetJobDefinition,
    stored: Callable[[], str] | None = None,
) -> dg.SensorDefinition:
    """Read a ledger again once its files, objects or rows have changed and are quiet: it alone, and no rebalance.

    A ledger of books is read again once what is ``stored`` of these has changed: its file follows from that.

    Months before the open one and the one before it are not read; the check ``no_late_lots`` of the run tells when a
    change is in them.
    """
    months = ledger_months(source)

    @dg.sensor(
        job=job,
        name=f"{source.schema_name}_changes",
        minimum_interval_seconds=60,
        description="Read the ledger once a file, an object or a row of it is new or has changed.",
    )
    def changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = dt.datetime.now(dt.UTC)
        try:
            found = state(source, root, os.environ) if stored is None else stored()
        except StoreLockedError as error:
            return dg.SensorResult(skip_reason=f"Whether something has changed is seen later: {error}")
        before = Watched.parse(context.cursor) or Watched(read=found)
        if found == before.read:
            return dg.SensorResult(skip_reason="Nothing has changed.", cursor=str(Watched(read=found)))
        if found != before.waiting:
            since = now.isoformat()
            reason = f"Something has changed; it is read once it is quiet for {QUIET.seconds // 60} minutes."
            return dg.SensorResult(skip_reason=reason, cursor=str(replace(before, waiting=found, since=since)))
        if now - dt.datetime.fromisoformat(before.since) < QUIET:
            return dg.SensorResult(skip_reason="Something has changed, and is not quiet yet.", cursor=str(before))
        asked = newest_months(months, now, f"{found} since {before.since}")
        answer = {"run_requests": [asked]} if isinstance(asked, dg.RunRequest) else {"skip_reason": asked}
        return dg.SensorResult(**answer, cursor=str(Watched(read=found)))

    return changes


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a sensor of a ledger knows: its cursor.

    Attributes
    ----------
    read
        State that is read, or that the sensor began with.
    waiting, since
        State found since, and when it was found first; empty where nothing has changed.
    """

    read: str
    waiting: str = ""
    since: str = ""

    def __str__(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """What ``str`` has made; None of anything else."""
        try:
            return cls(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None


def newest_end(instance: dg.DagsterInstance) -> int:
    """Number of the newest event that ended a run; 0 where there is none."""
    newest = [instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS]
    return max((records[0].storage_id for records in newest if records), default=0)


def run_alerts(
    instance: dg.DagsterInstance, position: Position, ui: str, now: dt.datetime
) -> tuple[list[Alert], Position]:
    """Alerts of runs that have ended after a position, and the position after them.

    A failed run and its failed checks come together, since a run is read once it is over. A failed check of severity
    ERROR is an event of each run that finds it. A WARN is one event for as long as the same names offend, run after
    run, and another once it has passed in between.
    """
    alerts, standing, after = list[Alert](), dict(position.standing), position.after
    for record in _ended(instance, position.after, now):
        run, after = instance.get_run_by_id(record.run_id), record.storage_id
        if run is None:  # deleted since, by a person
            continue
        try:
            alerts += _of_run(instance, run, record.event_log_entry.dagster_event, standing, ui)
        except Exception as error:  # what cannot be read is told of, and does not hold up the others
            alerts.append(_run_alert(run, ui, "unreadable", f"{type(error).__name__}: {error}"))
    return alerts, replace(position, after=after, standing=standing)


def time_alerts(
    setup: BookSetup, settings: Settings, position: Position, now: dt.datetime
) -> tuple[list[Alert], Position, list[str]]:
    """Alerts of one book that follow from the time and from the state of the world.

    A missed deadline is told once for as long as it is missed; a regime when it is another one than last told.

    Returns
    -------
    alerts : list of Alert
    position : Position
        After them.
    unknown : list of str
        What could not be found out now, and why; it does not hold up the rest.
    """

    def link(schema: str, table: str) -> str:
        return _link(settings.ui, "assets", schema, table)

    def missed(reached: Position) -> tuple[list[Alert], Position]:
        owing = [*missed_rebalances(setup, now, link), *missed_scalings(setup, now, link)]
        return _once(owing, f"{setup.name} rebalances", reached)

    def live(reached: Position) -> tuple[list[Alert], Position]:
        keys = Keys.from_environment(os.environ)
        return _once(unfit_live(setup, settings.live, now, link, keys), f"{setup.name} live", reached)

    def new_regimes(reached: Position) -> tuple[list[Alert], Position]:
        found, told = list[Alert](), dict(reached.regimes)
        for kind, (session, regime) in regimes(setup).items():
            _, before = told.get(name := f"{setup.name} {kind}", (session, regime))
            if regime != before:
                found.append(regime_change(setup, kind, before, session, regime, link))
            told[name] = (session, regime)
        return found, replace(reached, regimes=told)

    alerts, unknown = list[Alert](), list[str]()
    for look in (missed, live, new_regimes):
        try:
            with setup.store.view():
                found, position = look(position)
            alerts += found
        except Exception as error:  # the rest is looked at, and this again next time
            unknown.append(f"{look.__name__.replace('_', ' ')}: {type(error).__name__}: {error}")
    return alerts, position, unknown


def unended_runs(instance: dg.DagsterInstance, ui: str, now: dt.datetime) -> list[Alert]:
    """Alerts of runs that should have ended long ago: no event will ever tell of one whose process was killed."""
    hung = instance.get_runs(dg.RunsFilter(statuses=_GOING_ON, created_before=now - LONGEST_RUN), limit=RUNS_PER_TICK)
    return [_run_alert(run, ui, "unended", f"It was made more than {LONGEST_RUN / _HOUR:g} hours ago.") for run in hung]


def _once(alerts: list[Alert], of: str, position: Position) -> tuple[list[Alert], Position]:
    """Alerts that are not standing already, and the position with those that stand now."""
    kept = {key: owner for key, owner in position.standing.items() if owner != of}
    fresh = [alert for alert in alerts if alert.key not in position.standing]
    return fresh, replace(position, standing=kept | {alert.key: of for alert in alerts})


def _resumed(context: dg.SensorEvaluationContext, outbox: Outbox) -> Position | None:
    """Where a sensor goes on; None where it begins."""
    if not context.cursor:
        return None
    try:
        return Position.parse(outbox.position(Position.parse(context.cursor).source, context.cursor))
    except (ValueError, TypeError, KeyError, AttributeError):
        context.log.warning("the cursor is none of this sensor; it begins anew")
        return None


def _delivered(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    reached: Position,
    before: Position | None = None,
    alerts: list[Alert] | None = None,
) -> dg.SensorResult:
    """Keep what was found, deliver what is due, and move the cursor past what is settled."""
    now, outbox = dt.datetime.now(dt.UTC), notifier.outbox
    if alerts or (before is not None and reached != before):
        outbox.put(reached.source, str(reached), alerts or [], now)
    problems = notifier.deliver(now)
    for name, reason in problems:
        context.log.warning(f"alerts to {name}: {reason}; they are sent again until they arrive")
    start = context.cursor if before is not None and context.cursor else str(before or reached)
    told = f"{len(alerts)} alerts found" if alerts else "nothing to tell"
    lacking = f"; not delivered to {', '.join(sorted({name for name, _ in problems}))}" if problems else ""
    return dg.SensorResult(
        skip_reason=dg.SkipReason(told + lacking), cursor=outbox.settled_position(reached.source, start)
    )


def _ended(instance: dg.DagsterInstance, after: int, now: dt.datetime) -> Iterator[dg.EventLogRecord]:
    """Events that ended runs, in order, each once it is certain that none before it is to come."""
    found, through = list[dg.EventLogRecord](), float("inf")
    for kind in _ENDS:
        wanted = kind._replace(after_storage_id=after)
        records = instance.fetch_run_status_changes(wanted, limit=RUNS_PER_TICK, ascending=True).records
        found += records
        if len(records) == RUNS_PER_TICK:
            through = min(through, records[-1].storage_id)
    for record in sorted(found, key=lambda each: each.storage_id):
        if record.storage_id > through or record.timestamp > (now - SETTLED).timestamp():
            return
        yield record


def _of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, ended: Any, standing: dict[str, str], ui: str
) -> Iterator[Alert]:
    """Alerts of one run; ``standing`` is brought up to date."""
    events = list(_events(instance, run.run_id))
    # One that was stopped by a person has failed to Dagster, before it is canceled.
    if ended.event_type == dg.DagsterEventType.RUN_FAILURE and run.status != dg.DagsterRunStatus.CANCELED:
        reasons = [
            f"{event.step_key}: {_cause(event)}"
            for event in events
            if event.event_type == dg.DagsterEventType.STEP_FAILURE
        ]
        yield _run_alert(run, ui, "failed", "; ".join(reasons) or _cause(ended))
    for event in events:
        if event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        check = f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}"
        before = standing.pop(check, None)
        if evaluation.passed:
            continue
        alert = _check_alert(evaluation, run, ui)
        if alert.severity is Severity.WARN:
            # Its figures move from day to day: who offends, and how often, is what makes it another one.
            standing[check] = ", ".join([*alert.names, _figure(evaluation, "offending_rows")])
            if standing[check] == before:
                continue
        yield alert


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[Any]:
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=_TOLD_OF_A_RUN)
        cursor, more = page.cursor, page.has_more
        yield from (record.event_log_entry.dagster_event for record in page.records)


def _partition(run: dg.DagsterRun) -> str:
    """Partition of a run, or the first and last one of its range."""
    edges = [run.tags.get(tag, "") for tag in RANGE_TAGS]
    return run.tags.get("dagster/partition") or " to ".join(dict.fromkeys(filter(None, edges)))


def _check_alert(evaluation: dg.AssetCheckEvaluation, run: dg.DagsterRun, ui: str) -> Alert:
    schema, table, check = evaluation.asset_key.path[0], evaluation.asset_key.path[-1], evaluation.check_name
    error = evaluation.severity == dg.AssetCheckSeverity.ERROR
    partition, names = evaluation.partition or _partition(run), evaluation.metadata.get("names")
    told = told_of(table, check, error=error)
    return Alert(
        severity=Severity.ERROR if error else Severity.WARN,
        book=schema,
        event=("check", table, check, partition, run.run_id),
        title=told.title,
        value=_figure(evaluation, "value"),
        limit=_figure(evaluation, "limit"),
        detail=evaluation.description or "",
        names=tuple(str(name) for name in names.value) if names and isinstance(names.value, list) else (),
        advice=told.advice,
        partition=partition,
        run_id=run.run_id,
        link=_link(ui, "assets", *evaluation.asset_key.path, view="checks", checkDetail=check),
    )


def _run_alert(run: dg.DagsterRun, ui: str, kind: str, reason: str) -> Alert:
    title, limit, advice = _OF_RUNS[kind]
    return Alert(
        severity=Severity.ERROR,
        book=run.tags.get("book", run.job_name),
        event=("run", kind, run.run_id),
        title=title.format(run.job_name),
        value=run.status.value,
        limit=limit,
        detail=reason,
        advice=advice,
        partition=_partition(run),
        run_id=run.run_id,
        link=_link(ui, "runs", run.run_id),
    )


def _cause(event: Any) -> str:
    """Message of the error that an event stems from."""
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join((error.message if error else event.message or "no reason was given").split())


def _figure(evaluation: dg.AssetCheckEvaluation, name: str) -> str:
    value = evaluation.metadata[name].value if name in evaluation.metadata else None
    return f"{value:.6g}" if isinstance(value, int | float) else "–" if value is None else str(value)


def _link(ui: str, *path: str, **query: str) -> str:
    return f"{ui}/{'/'.join(quote(part, safe='') for part in path)}" + (f"?{urlencode(query)}" if query else "")
