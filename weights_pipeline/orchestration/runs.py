"""Runs started from the command line: the ledger and a book over a range of months, in this process.

Scope: launching and following Dagster runs. Not here: what runs (``definitions``).
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.execution.execution_result import ExecutionResult
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from weights_pipeline.orchestration.assets.history import COMMENT_TAG
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.instance import LOCATION, recorded_on
from weights_pipeline.orchestration.partitions import range_tags, require_partitions
from weights_pipeline.orchestration.run_slots import (
    alive,
    cancel_if_stopped,
    free_dead_runs,
    holder,
    stoppable,
    turn,
)
from weights_pipeline.versions.policies import POLICY_TAG, require_own
from weights_pipeline.workspace import BookSetup, Workspace

Progress = Callable[[int, int, str], None]
_POLL_SECONDS = 0.2
_WAITING_SECONDS = 2.0
_STOPPED = "it was stopped, and is recorded as canceled; run it again"


class RangeError(ValueError):
    """The periods asked for are not partitions of the book. The message says which there are."""


@dataclass(frozen=True)
class CheckOutcome:
    """One evaluated asset check."""

    asset: str
    name: str
    passed: bool
    error: bool
    summary: str


@dataclass(frozen=True)
class RunReport:
    """What a command-line run did."""

    book: str
    first: str
    last: str
    success: bool
    assets: int
    materialisations: int
    seconds: float
    run_ids: tuple[str, ...]
    checks: tuple[CheckOutcome, ...]
    errors: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def materialise(
    workspace: Workspace,
    book: str,
    first: str | None = None,
    last: str | None = None,
    *,
    comment: str = "",
    manual: str = "",
    policy: str = "",
    on_progress: Progress = lambda done, total, what: None,
    instance: dg.DagsterInstance | None = None,
) -> RunReport:
    """Materialise a ledger, a book on it, and its daily weights where it has them, each as one run over the range.

    Parameters
    ----------
    workspace
        Books, and where data and state are.
    book
        Name of the book.
    first, last
        Months ``YYYY-MM`` or partition keys ``YYYY-MM-DD`` (the day a period begins); the first and last partition
        there is when left out. ``latest`` is the last one that has ended.
    comment
        What the runs, and the versions of weights that they add, say of why they took place.
    manual
        Metrics in place of measured ones, as the book's metrics take them; of a single partition.
    policy
        ``stored`` to make each partition by the policy of its newest version, ``today`` by that of the book now. When
        left out, no partition may have been made under another policy than the book's.
    on_progress
        Called with (partitions done, partitions in all, what is being done).
    instance
        Dagster instance to record on; the one of ``DAGSTER_HOME`` when left out.

    Raises
    ------
    BookError
        There is no such book, or a book is not valid.
    RangeError
        The range is not one of months the book has.
    weights_pipeline.versions.policies.PolicyError
        A partition was made under another policy, and nobody has said which one counts.
    SettingsError
        The instance is not one that the stage may record on.
    """
    settings = workspace.settings
    stretches = _stretches(build_definitions(workspace, book), workspace.setup(book), first, last)
    started = time.monotonic()
    total, done, results = sum(each.expected for each in stretches), 0, list[ExecutionResult]()
    tags = ({COMMENT_TAG: comment} if comment else {}) | ({POLICY_TAG: policy} if policy else {})
    given = {"ops": {f"{book}__metrics": {"config": {"manual": manual}}}} if manual else {}
    stopped = False
    setup = workspace.setup(book)
    pools = {setup.store.queue(schema) for schema in (setup.source.schema_name, book)}
    waiting = partial(on_progress, 0, total, "waiting for another run that was started by hand")
    with recorded_on(settings, instance) as on, stoppable(), turn(settings.home, pools, waiting):
        free_dead_runs(on, settings.home)
        if not policy:
            with setup.store.view():
                require_own(setup, setup.store, next(each.keys for each in stretches if each.job.name == book))
        for each in stretches:
            run_id = str(uuid.uuid4())
            with (
                alive(settings.home, run_id),
                _followed(on, run_id, pools, partial(_advance, on_progress, done, total)),
            ):
                results.append(each.run(on, run_id, given if each.job.name == book else {}, tags))
            done += each.expected
            if not results[-1].success:
                stopped = cancel_if_stopped(on, run_id)
                break
    keys = next(each.keys for each in stretches if each.job.name == book)
    return RunReport(
        book=book,
        first=keys[0],
        last=keys[-1],
        success=all(r.success for r in results) and len(results) == len(stretches),
        assets=sum(len(each.assets) for each in stretches),
        materialisations=sum(len(_materialised(r)) for r in results),
        seconds=round(time.monotonic() - started, 2),
        run_ids=tuple(r.run_id for r in results),
        checks=tuple(c for r in results for c in _checks(r)),
        errors=(_STOPPED,) if stopped else tuple(e for r in results for e in _errors(r)),
    )


@dataclass(frozen=True)
class _Stretch:
    """One job and the partitions that it is to materialise, in order."""

    job: dg.JobDefinition
    keys: Sequence[str]

    @property
    def assets(self) -> list[dg.AssetKey]:
        """What it materialises."""
        return list(self.job.asset_layer.executable_asset_keys)

    @property
    def expected(self) -> int:
        """Materialisations that it records."""
        layer = self.job.asset_layer
        return sum(len(self.keys) if layer.get(key).partitions_def else 1 for key in self.assets)

    def run(
        self, instance: dg.DagsterInstance, run_id: str, config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> ExecutionResult:
        """Run it over its partitions, in this process; what fails is in the result."""
        # `execute_in_process` gives a run no origin: the interface would list it under no job.
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), SINGLETON_REPOSITORY_NAME)
        run = instance.create_run_for_job(
            self.job,
            run_id=run_id,
            run_config=config,
            tags={**self.job.run_tags, **range_tags(self.keys[0], self.keys[-1]), **tags},
            remote_job_origin=RemoteJobOrigin(repository, self.job.name),
        )
        with _off_the_terminal():
            return execute_run(InMemoryJob(self.job), run, instance)


@contextmanager
def _off_the_terminal() -> Iterator[None]:
    """Let what steps say go into the log of their run alone: what Dagster captures it shows on standard error too."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


def _stretches(definitions: dg.Definitions, setup: BookSetup, first: str | None, last: str | None) -> list[_Stretch]:
    """Months of the ledger around a range of the book, the range itself, and months of daily weights around it."""
    ledger, book = (definitions.resolve_job_def(name) for name in (setup.source.schema_name, setup.name))
    keys = _range(book, first, last)
    begin, end = setup.periods.window(keys[0]).start, setup.periods.window(keys[-1]).end
    # The first period may begin months after the ledger.
    first_month = None if setup.periods.begun(begin)[0].key == keys[0] else begin
    stretches = [_Stretch(ledger, _months(ledger, first_month, end)), _Stretch(book, keys)]
    overlay = setup.policy.overlay
    if overlay is not None and overlay.apply == "daily":
        daily = definitions.resolve_job_def(f"{setup.name}_daily")
        stretches.append(_Stretch(daily, _months(daily, begin, end)))
    return stretches


def _range(job: dg.JobDefinition, first: str | None, last: str | None) -> list[str]:
    partitions = require_partitions(job.partitions_def)
    known, cadence = [window.key for window in partitions.existing(_now())], partitions.periods.cadence
    if not known:
        raise RangeError(f"book {job.name} has no {cadence.period} that has ended yet")
    chosen = [_matching(text, known) if text else known for text in (first, last)]
    unknown = [text for text, keys in zip((first, last), chosen, strict=True) if not keys]
    if unknown or chosen[0][0] > chosen[1][-1]:
        problem = (
            f"{unknown[0]} is not a {cadence.period} of book {job.name}" if unknown else f"{first} is after {last}"
        )
        there = " to ".join(cadence.label(key) for key in (known[0], known[-1]))
        raise RangeError(f"{problem}; {cadence.period}s run from {there}")
    return known[known.index(chosen[0][0]) : known.index(chosen[1][-1]) + 1]


def _matching(text: str, known: Sequence[str]) -> list[str]:
    """Partitions that a month, a partition key or the word ``latest`` stands for."""
    if text == "latest":
        return list(known[-1:])
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])(-\d\d)?", text):
        raise RangeError(f"{text!r} is not a month; write YYYY-MM, for example 2020-03, or the day a period begins")
    return [key for key in known if key.startswith(text)]


def _months(job: dg.JobDefinition, begin: dt.datetime | None, end: dt.datetime) -> list[str]:
    """Months of a job from the one of an instant, or its first one, to the one before another instant."""
    first = f"{begin:%Y-%m-01}" if begin else ""
    last = f"{end - dt.timedelta(microseconds=1):%Y-%m-01}"
    existing = require_partitions(job.partitions_def).existing(_now())
    return [month.key for month in existing if first <= month.key <= last]


def _now() -> dt.datetime:
    """What decides which partitions there are."""
    return dt.datetime.now(dt.UTC)


def _advance(on_progress: Progress, before: int, total: int, done: int, what: str) -> None:
    on_progress(before + done, total, what)


@contextmanager
def _followed(
    instance: dg.DagsterInstance, run_id: str, pools: Collection[str], report: Callable[[int, str], None]
) -> Iterator[None]:
    """Report materialisations of a run while it goes on, from a thread that hears of its events."""
    over, done, names = threading.Event(), set[tuple[dg.AssetKey | None, str | None]](), list[str]()

    def heard(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            names.append(event.asset_key.to_user_string() if event.asset_key else "")
            done.add((event.asset_key, event.partition))

    def follow() -> None:
        told, since = 0, time.monotonic()
        while True:
            last_look = over.wait(_POLL_SECONDS)
            if len(done) > told:
                told, since = len(done), time.monotonic()
                report(told, names[-1])
            elif time.monotonic() - since > _WAITING_SECONDS:
                # Whoever waits does not keep the one that it waits for from the database.
                since = time.monotonic()
                if waits_for := holder(instance, run_id, pools):
                    report(told, waits_for)
            if last_look:
                return

    instance.add_event_listener(run_id, heard)
    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _materialised(result: ExecutionResult) -> set[tuple[dg.AssetKey | None, str | None]]:
    """Assets and partitions; what holds what it held before is recorded twice."""
    events = [e for e in result.all_events if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    return {(event.asset_key, event.partition) for event in events}


def _checks(result: ExecutionResult) -> Iterator[CheckOutcome]:
    for evaluation in result.get_asset_check_evaluations():
        yield CheckOutcome(
            asset=evaluation.asset_key.to_user_string(),
            name=evaluation.check_name,
            passed=evaluation.passed,
            error=evaluation.severity == dg.AssetCheckSeverity.ERROR,
            summary=str(evaluation.description or ""),
        )


def _errors(result: ExecutionResult) -> Iterator[str]:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            yield f"{event.step_key}: {error.message.strip() if error else 'failed'}"
