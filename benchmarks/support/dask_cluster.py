"""A Dask scheduler and workers as processes of their own on loopback, for tests and benchmarks."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.support.processes import Together

_ROOT = str(Path(__file__).resolve().parents[2])


@dataclass
class Cluster:
    """Where the scheduler is, and the processes that work for it."""

    address: str = ""
    workers: list[Together] = field(default_factory=list)

    def kill_a_worker(self) -> None:
        """Let one worker vanish without a word."""
        os.kill(self.workers[0].process.pid, signal.SIGKILL)


@contextmanager
def cluster(folder: Path, workers: int, **variables: str) -> Iterator[Cluster]:
    """A scheduler and so many workers of one thread, with variables of theirs, which end with the context."""
    file = folder / "scheduler.json"
    # What is sent by name is found by name: this package, and that of the tests.
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), _ROOT])
    given = os.environ | {"PYTHONPATH": paths} | variables

    def start(part: str, *options: str) -> Together:
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", "--scheduler-file", str(file), *options]
        return Together(command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with ExitStack() as ending:
        made, own = Cluster(), ("--no-dashboard", "--host", "127.0.0.1")
        scheduler = start("scheduler", "--port", "0", *own)
        ending.callback(scheduler.kill)
        while not (file.exists() and file.read_text()):
            assert scheduler.process.poll() is None, "the scheduler has ended"
            time.sleep(0.02)
        made.address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
            made.workers.append(start("worker", *options, *own))
            ending.callback(made.workers[-1].kill)
        yield made
