"""Rebalances that are due and have not started: the ledger is read first, then they run in order, one after the other.

Scope: what was missed while nobody looked (the daemon was down, a ledger could not be read in time), and is asked for
again; weights that are scaled every day follow. Not here: the hour at which a book rebalances (``schedules``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import takewhile

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.operations.rebalance import NotReadyError, owed, require_ready, unread_months, unscaled
from weights_pipeline.orchestration.freshness import GRACE
from weights_pipeline.orchestration.partitions import range_tags
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.versions.policies import OF_TODAY
from weights_pipeline.workspace import BookSetup


def due_sensor(setups: Sequence[BookSetup], jobs: Sequence[UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Start what is due and can be, of books whose schedule is on.

    A rebalance that has failed is started again once its ledger was read again, and not before.
    """

    @dg.sensor(
        jobs=jobs,
        name="due_rebalances",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Start rebalances whose hour has passed, in order, each once its months of the ledger are read; "
        "read these first where they are not. Of books whose schedule is on.",
    )
    def due_rebalances(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        on, now = _switched_on(context.instance), dt.datetime.now(dt.UTC)
        asked, waits = list[dg.RunRequest](), list[str]()
        for setup in setups:
            looks = [_next_of] * (f"{setup.name}_rebalance" in on) + [_next_scaling] * (f"{setup.name}_daily" in on)
            try:
                with setup.store.view():
                    # Weights are scaled once they are there.
                    found = next(filter(None, (list(look(context.instance, setup, now)) for look in looks)), [])
            except Exception as error:  # other books are looked at all the same
                found = [f"{setup.name}: {type(error).__name__}: {error}"]
            asked += [each for each in found if isinstance(each, dg.RunRequest)]
            waits += [each for each in found if isinstance(each, str)]
        for each in waits:
            context.log.info(each)
        # Books of one ledger ask for it together.
        once = list({(each.job_name, each.run_key): each for each in asked}.values())
        if once:
            return dg.SensorResult(run_requests=once)
        return dg.SensorResult(skip_reason=dg.SkipReason("; ".join(waits) or "Nothing is due."))

    return due_rebalances


def _switched_on(instance: dg.DagsterInstance) -> set[str]:
    states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    return {state.instigator_name for state in states if state.status.value == "RUNNING"}


def _next_of(instance: dg.DagsterInstance, setup: BookSetup, now: dt.datetime) -> Iterator[dg.RunRequest | str]:
    """What is to be started next for a book, or why nothing is although something is due."""
    owing = [window for window, _ in owed(setup, now)]
    if not owing:
        return
    first, name = owing[0], setup.name
    due = f"{name}: due are {', '.join(window.key for window in owing)}"
    if unread_months(setup, first, trial=True):
        yield from _reading(instance, setup, owing[-1], due, now)
        return
    try:
        require_ready(setup, [window for window in setup.periods.ended(now) if window.key <= first.key], trial=True)
    except NotReadyError as error:
        yield f"{due}; {error}"
        return
    if going := _going(instance, name):
        yield f"{due}; run {going[:8]} goes on"
        return
    read = _read(setup, first)
    if run := _tried(instance, name, {"dagster/partition": first.key}, read):
        yield f"{due}; run {run[:8]} of {first.key} has ended without it"
        return
    yield dg.RunRequest(
        run_key=f"{first.key} {read.isoformat()}", job_name=name, partition_key=first.key, tags=OF_TODAY
    )


def _next_scaling(instance: dg.DagsterInstance, setup: BookSetup, now: dt.datetime) -> Iterator[dg.RunRequest | str]:
    """The same of weights that are scaled every day, half an hour after their schedule was to do so."""
    months, sessions = unscaled(setup, now - GRACE)
    if not months:
        return
    last, job = months[-1], f"{setup.name}_daily"
    due = f"{setup.name}: daily weights are due of {', '.join(map(str, sessions))}"
    if unread_months(setup, last, trial=True):
        yield from _reading(instance, setup, last, due, now)
        return
    if going := _going(instance, job):
        yield f"{due}; run {going[:8]} goes on"
        return
    edges, read = range_tags(months[0].key, last.key), _read(setup, last)
    if run := _tried(instance, job, edges, read):
        yield f"{due}; run {run[:8]} of {months[0].key} to {last.key} has ended without them"
        return
    yield due
    yield dg.RunRequest(
        run_key=f"{months[0].key} to {last.key} {read.isoformat()}", job_name=job, tags=edges | OF_TODAY
    )


def _reading(
    instance: dg.DagsterInstance, setup: BookSetup, window: Window, due: str, now: dt.datetime
) -> Iterator[dg.RunRequest | str]:
    """Months of the ledger that are to be read up to a window before what is due can be started."""
    ledger, unread = setup.source.schema_name, unread_months(setup, window, trial=True)
    # Months that were read are left as they are: what has changed in them since is a person's to look at.
    begun = [month.key for month in ledger_months(setup.source).begun(now)]
    row = list(takewhile(unread.__contains__, begun[begun.index(unread[0]) :]))
    if going := _going(instance, ledger):
        yield f"{due}; run {going[:8]} reads the ledger"
        return
    # Once a day, as its schedule does: a ledger that cannot be read is a person's to look at.
    yield f"{due}; {row[0]} to {row[-1]} of {ledger} are to be read first"
    tags = range_tags(row[0], row[-1])
    yield dg.RunRequest(run_key=f"{row[0]} to {row[-1]} on {now:%Y-%m-%d}", job_name=ledger, tags=tags)


def _read(setup: BookSetup, window: Window) -> dt.datetime:
    """When the ledger was read last, as far as a window needs it."""
    months = setup.store.partitions(setup.source.schema_name, catalog.STRATEGY_RETURNS.name)
    return max(record.recorded_at for key, record in months.items() if key < f"{window.end:%Y-%m-%d}")


def _tried(instance: dg.DagsterInstance, job: str, tags: dict[str, str], read: dt.datetime) -> str:
    """The newest run of a job over partitions, where it is newer than the ledger was read; empty otherwise."""
    found = instance.get_run_records(dg.RunsFilter(job_name=job, tags=tags), limit=1)
    return found[0].dagster_run.run_id if found and found[0].create_timestamp >= read.replace(tzinfo=dt.UTC) else ""


def _going(instance: dg.DagsterInstance, job: str) -> str:
    """A run of a job that goes on; empty where there is none."""
    going = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=going), limit=1)
    return runs[0].run_id if runs else ""
