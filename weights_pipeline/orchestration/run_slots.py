"""Runs that hold the store's pool, and those of them whose process is gone.

Scope: telling such runs from living ones, and freeing what they held. Not here: the lock of the store itself, which
ends with its process.

Dagster counts a slot as taken until the run that took it says otherwise. A run that is killed says nothing, and every
later one would wait for it for ever.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg

from weights_pipeline.orchestration.asset_checks import STORE_POOL

_GONE = "The process of this run has ended without a word: it was killed, or the machine went down."


@contextmanager
def alive(home: Path, run_id: str) -> Iterator[None]:
    """Hold a lock that ends with this process, so that others can tell whether the run still lives."""
    file = _mark(home, run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def free_dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Free the slots of runs that have ended or died; the latter are recorded as failed.

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
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        _mark(home, run_id).unlink(missing_ok=True)
    return died


def dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Runs that hold or wait for a slot, and have ended or died, or are not recorded any more."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return []
    runs = {run_id: instance.get_run_by_id(run_id) for run_id in sorted(storage.get_concurrency_run_ids())}
    return [each for each, run in runs.items() if run is None or run.is_finished or _is_dead(home, each)]


def holder(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a run waits for: the other run that holds the pool, in words; empty when there is none."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return ""
    others = {slot.run_id for slot in storage.get_concurrency_info(STORE_POOL).claimed_slots} - {run_id}
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
