"""Runs that hold a pool of the store, and those of them whose process is gone.

Scope: telling such runs from living ones, and freeing what they held. Not here: the lock of the store itself, which
ends with its process.

Dagster counts a slot as taken until the run that took it says otherwise. A run that is killed says nothing, and every
later one would wait for it for ever.
"""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._core.events import RunFailureReason

_STOPPED = "The run was stopped: by Ctrl-C, a closed terminal, or whoever ended its process. Run it again."
_GONE = "The process of this run has ended without a word: it was killed, or the machine went down."


@contextmanager
def alive(home: Path, run_id: str) -> Iterator[None]:
    """Hold a lock that ends with this process, so that others can tell whether the run still lives."""
    file = _mark(home, run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_suffix(".made")
    with made.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        # Nobody sees it before it is locked.
        made.replace(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def turn(home: Path, pools: Iterable[str], waiting: Callable[[], None]) -> Iterator[None]:
    """Let one run at a time be under way of those that are started by hand on a machine and share a pool.

    Dagster would let them take turns step by step, each asking the database until its turn has come: three runs of ten
    seconds took minutes. A lock of the system is waited for without asking, and ends with the process that holds it.

    Parameters
    ----------
    home
        Folder of :func:`alive`.
    pools
        Those that this run needs.
    waiting
        Called before this run waits for another one.
    """
    (home / "running").mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for pool in sorted(pools):  # all in one order, so that no two wait for each other
            stream = held.enter_context((home / "running" / f"{pool.replace('/', '.')}.turn").open("a"))
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Let a closed terminal and a polite end by the system stop a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Whoever ignores one of them (`nohup`) goes on doing so.
    caught = [each for each in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, lambda *_: signal.raise_signal(signal.SIGINT)) for each in caught}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def cancel_if_stopped(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Record a run that was stopped by a signal as canceled, which Dagster takes for a failure, and free its slots."""
    record = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    data = record[-1].dagster_event.job_failure_data if record and record[-1].dagster_event else None
    if data is None or data.failure_reason != RunFailureReason.UNEXPECTED_TERMINATION:
        return False
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    if run := instance.get_run_by_id(run_id):
        instance.report_run_canceled(run, _STOPPED)
    return True


def free_dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Free the slots of runs that have ended or died; the latter, with or without a slot, are recorded as failed.

    Parameters
    ----------
    instance
        Where runs are recorded.
    home
        Folder of :func:`alive`. A run without a mark there is somebody else's, and left alone while it is in progress.

    Returns
    -------
    list of str
        Runs that had died.
    """
    died = list[str]()
    for run_id in dead_runs(instance, home):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, _GONE)
            died.append(run_id)
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        _mark(home, run_id).unlink(missing_ok=True)
    return died


def dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Runs that have died, and runs that hold or wait for a slot and have ended, or are not recorded any more."""
    storage = instance.event_log_storage
    holding = storage.get_concurrency_run_ids() if storage.supports_global_concurrency_limits else set()
    begun = {file.stem for file in (home / "running").glob("*.lock")}
    runs = {run_id: instance.get_run_by_id(run_id) for run_id in sorted(holding)}
    ended = {run_id for run_id, run in runs.items() if run is None or run.is_finished}
    return sorted(ended | {run_id for run_id in begun | holding if _is_dead(home, run_id)})


def holder(instance: dg.DagsterInstance, run_id: str, pools: Iterable[str] | None = None) -> str:
    """What a run waits for: the other run that holds one of the pools (any, if None), in words; empty if none does."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return ""
    asked = storage.get_concurrency_keys() if pools is None else pools
    held = [slot.run_id for pool in asked for slot in storage.get_concurrency_info(pool).claimed_slots]
    others = set(held) - {run_id}
    runs = [run for other in sorted(others) if (run := instance.get_run_by_id(other))]
    return f"waiting for run {runs[0].run_id[:8]} of {runs[0].job_name}" if runs else ""


def _mark(home: Path, run_id: str) -> Path:
    return home / "running" / f"{run_id}.lock"


def _is_dead(home: Path, run_id: str) -> bool:
    with suppress(FileNotFoundError), _mark(home, run_id).open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    return False
