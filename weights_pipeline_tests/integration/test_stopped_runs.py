"""A run that was stopped and is run again ends as if it had not been stopped."""

import errno
import json
import os
import signal

import dagster as dg
import pytest

from weights_pipeline.orchestration.definitions import definitions
from weights_pipeline_tests.support.desk import QUIET, drawing
from weights_pipeline_tests.support.returns_desk import BOOK, LEDGER, random_returns, write_book, write_ledger

RANGE = {"dagster/asset_partition_range_start": "2024-02-01", "dagster/asset_partition_range_end": "2024-03-01"}


def book_job() -> dg.JobDefinition:
    """The job of the book, as the daemon loads it."""
    return definitions().resolve_job_def(BOOK)


@pytest.fixture
def read(tmp_path, desk, monkeypatch):
    """A desk whose ledger is read, and that has rebalanced for its first month."""
    write_ledger(tmp_path / "data", random_returns("calm", "other", first="2024-01-02", last="2024-03-28"))
    write_book(tmp_path / "data", {"calm": 0.6, "other": 0.4})
    own = desk(tmp_path / "data")
    monkeypatch.setenv("WEIGHTS_DATA", str(own.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(own.settings.home))
    own.job(LEDGER, "2024-01-01", "2024-03-01", checks=False)
    own.job(BOOK, "2024-01-01", checks=False)
    return own


def test_a_canceled_run_that_is_re_executed_finishes_what_was_left_out(read, tmp_path, desk, monkeypatch):
    def execute(**options):
        job = dg.reconstructable(book_job)
        with drawing(0):
            return dg.execute_job(job, read.instance, run_config=QUIET, tags=RANGE, raise_on_error=False, **options)

    with monkeypatch.context() as patched:
        stop = "weights_pipeline.orchestration.assets.allocator.final_table"
        patched.setattr(stop, lambda *_, **__: signal.raise_signal(signal.SIGINT))
        stopped = execute()
    read.instance.report_run_canceled(read.instance.get_run_by_id(stopped.run_id))
    again = execute(reexecution_options=dg.ReexecutionOptions.from_failure(stopped.run_id, read.instance))
    assert again.success
    steps = [event.step_key for event in again.all_events if event.is_step_start]
    assert steps[:2] == [f"{BOOK}__final_weights", f"{BOOK}__weight_history"]
    other = desk(tmp_path / "data")
    other.job(LEDGER, "2024-01-01", "2024-03-01", checks=False)
    other.job(BOOK, "2024-01-01", "2024-03-01", checks=False)
    assert read.hashes(book=BOOK) == other.hashes(book=BOOK)


def test_a_disk_that_is_full_at_publication_costs_the_publication_alone(read, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    published = read.settings.home / "live" / f"{BOOK}.json"
    before = published.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        failed = read.try_job(BOOK, "2024-02-01", checks=False)
    [said] = read.errors(failed)
    assert f"{published} cannot be written: No space left on device; what was published before stays" in said
    assert published.read_bytes() == before
    read.job(f"{BOOK}_live")
    assert json.loads(published.read_bytes())["version"] == 2
