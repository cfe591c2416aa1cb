"""Work on a store in processes that are disturbed: killed at a step or an instant, short of disk, refused by a server.

Here belong the processes and what is done to them. What is tried, and what has to come of it, is in ``reliability``.
Nothing in the package knows of it: a child changes its own copy of the code, or is traced from outside.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import functools
import itertools
import json
import multiprocessing as mp
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from weights_pipeline.aws import S3Objects
from weights_pipeline.store.base import Store
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.s3_store import S3Store
from weights_pipeline.tables.catalog import TABLES
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.workspace import Workspace

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
PATIENCE = 300.0


@dataclass(frozen=True)
class Place:
    """Where a store is, for a process that is to open it: a DuckDB file, or a prefix on an S3 server.

    ``variables`` are those of the environment that name the server.
    """

    file: Path | None = None
    bucket: str = ""
    prefix: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def open(self) -> Store:
        os.environ.update(self.variables)
        if self.file is not None:
            return DuckDBStore(self.file, lock_timeout=PATIENCE)
        store = S3Store(self.bucket, self.prefix, lock_timeout=PATIENCE)
        # A client takes a third of a second to make.
        vars(store)["objects"] = _objects(self.bucket, *self.variables.values())
        return store


@functools.cache
def _objects(bucket: str, *_: str) -> S3Objects:
    return S3Objects(bucket)


@dataclass(frozen=True)
class Step:
    """One write of a run: partitions of a table, a whole one without partitions, or rows to be added to such a one."""

    schema: str
    table: Table
    rows: pd.DataFrame
    windows: tuple[Window, ...] = ()
    added: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # A gate is a function without a name, which cannot go to another process.
        table = self.table.name if TABLES.get(self.table.name) is self.table else self.table
        return _step, (self.schema, table, self.rows, self.windows, self.added)

    @property
    def place(self) -> tuple[str, str]:
        return self.schema, self.table.name

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table.name}"

    def write(self, store: Store) -> None:
        if self.added:
            store.update(self.schema, self.table, self._with_missing, run_id="run", recorded_at=NOW)
        else:
            store.write(self.schema, self.table, self.rows, self.windows, run_id="run", recorded_at=NOW)

    def _with_missing(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with those added whose key is not there yet, as versions of weights are added."""
        if rows.empty:
            return self.rows
        key = list(self.table.key)
        there = pd.MultiIndex.from_frame(rows[key])
        new = self.rows[~pd.MultiIndex.from_frame(self.rows[key]).isin(there)]
        return pd.concat([rows, new], ignore_index=True)


def _step(schema: str, table: Table | str, *others: Any) -> Step:
    return Step(schema, TABLES[table] if isinstance(table, str) else table, *others)


def write_all(place: Place, steps: Sequence[Step]) -> None:
    """Do the steps of a run, in their order."""
    store = place.open()
    for step in steps:
        step.write(store)


Work = Callable[..., str | None]

_CONTEXT = mp.get_context("forkserver")


def preload(*modules: str) -> None:
    """Import modules once, for all processes to come; to be called before the first of them."""
    _CONTEXT.set_forkserver_preload(["benchmarks.disturbed", "boto3", "botocore.config", *modules])


preload()


@dataclass
class Child:
    """A process that does some work once it is told to; its errors come back in words."""

    process: Any
    orders: Connection

    @classmethod
    def of(cls, work: Work, *arguments: object) -> Child:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_obey, args=(theirs, work, arguments), daemon=False)
        process.start()
        theirs.close()
        child = cls(process, ours)
        ours.recv()
        return child

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def begin(self) -> None:
        self.orders.send(None)

    def end(self) -> tuple[int, str]:
        """Exit code of the process, and what it said of its failure."""
        said = ""
        with suppress(EOFError):
            said = self.orders.recv()
        self.process.join(PATIENCE)
        return int(self.process.exitcode), said


def _obey(orders: Connection, work: Work, arguments: Sequence[object]) -> None:
    orders.send("ready")
    orders.recv()
    try:
        said = work(*arguments)
    except BaseException as error:
        orders.send(f"{type(error).__name__}: {error}")
        os._exit(1)
    orders.send(said or "")


def undisturbed(work: Work, *arguments: object) -> float:
    """Do work in a process of its own, and tell the seconds it took."""
    child = Child.of(work, *arguments)
    started = time.monotonic()
    child.begin()
    killed(*child.end())
    return time.monotonic() - started


def killed_after(seconds: float, work: Work, *arguments: object) -> bool:
    """Kill a process some time after it began to work; whether it was in time."""
    child = Child.of(work, *arguments)
    child.begin()
    time.sleep(seconds)
    if child.process.is_alive():
        child.process.kill()
    return killed(*child.end())


def killed(code: int, said: str) -> bool:
    """Whether a process was killed, by its exit code, rather than done.

    Raises
    ------
    RuntimeError
        It failed by itself; what it said is in the message.
    """
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"work failed before it was killed: exit code {code}, {said}")
    return code != 0


# Requests to S3.


def killed_at_request(number: int, answered: bool, work: Work, *arguments: object) -> int:
    """Kill a process in place of its n-th request to S3, or as soon as that is answered.

    Returns
    -------
    int
        0 where it was killed, else how many requests the work took.
    """
    child = Child.of(_die_at_request, number, answered, work, arguments)
    child.begin()
    code, said = child.end()
    return 0 if killed(code, said) else int(said)


def _die_at_request(number: int, answered: bool, work: Work, arguments: Sequence[object]) -> str:
    numbers, call = itertools.count(1), S3Objects._call

    def dying(self: S3Objects, *positional: Any, **named: Any) -> Any:
        own = next(numbers)
        if own == number and not answered:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(self, *positional, **named)
        if own == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    S3Objects._call = dying  # type: ignore[method-assign]
    work(*arguments)
    return str(next(numbers) - 1)


# Calls that change a file: what a killed process leaves behind is what its calls so far have done, and nothing else.

_FILE_CALLS = {  # write, pwrite64, writev, fsync, fdatasync, ftruncate, fallocate
    "x86_64": {1, 18, 20, 74, 75, 77, 285},
    "aarch64": {64, 68, 66, 82, 83, 46, 47},
}
_PATH_CALLS = {  # truncate, unlink, unlinkat, rename, renameat, renameat2
    "x86_64": {76, 87, 263, 82, 264, 316},
    "aarch64": {45, 35, 38, 276},
}
_FILES, _PATHS = _FILE_CALLS.get(platform.machine(), set()), _PATH_CALLS.get(platform.machine(), set())
CAN_TRACE = sys.platform == "linux" and bool(_FILES)

_SYSCALL, _SEIZE, _INTERRUPT, _SYSCALL_INFO = 24, 0x4206, 0x4207, 0x420E
_OPTIONS = 0x1 | 0x8 | 0x100000
"""Tell stops at calls from other stops, follow threads, and let the traced die with the tracer."""
_ALL_THREADS = 0x40000000


class _Entry(ctypes.Structure):
    """``struct ptrace_syscall_info`` as of the entry to a call; see ptrace(2)."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64 * 2),
    )


def killed_at_file_call(number: int, folder: Path, work: Work, *arguments: object) -> int:
    """Kill a process in place of its n-th call that changes a file under a folder.

    Returns
    -------
    int
        0 where it was killed, else how many such calls the work took.

    Raises
    ------
    PermissionError
        This machine does not let a process trace its children.
    """
    child = Child.of(work, *arguments)
    libc = ctypes.CDLL(None, use_errno=True)

    def trace(request: int, thread: int, where: int, data: object) -> bool:
        done = libc.ptrace(request, thread, ctypes.c_void_p(where), data) != -1
        if not done and ctypes.get_errno() != 3:
            os.kill(child.pid, signal.SIGKILL)
            raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return done

    for task in Path(f"/proc/{child.pid}/task").iterdir():
        trace(_SEIZE, int(task.name), 0, ctypes.c_void_p(_OPTIONS))
        trace(_INTERRUPT, int(task.name), 0, None)
    child.begin()
    seen, entry = 0, _Entry()
    while True:
        thread, status = os.waitpid(-1, _ALL_THREADS)
        if not os.WIFSTOPPED(status):
            if thread == child.pid:
                break
            continue
        stopped_by, passed_on = os.WSTOPSIG(status), 0
        if stopped_by == signal.SIGTRAP | 0x80:
            trace(_SYSCALL_INFO, thread, ctypes.sizeof(entry), ctypes.byref(entry))
            if entry.op == 1 and _changes_file(child.pid, entry, folder):
                seen += 1
                if seen == number:
                    os.kill(child.pid, signal.SIGKILL)
                    continue
        elif status >> 16 == 0:
            passed_on = stopped_by
        trace(_SYSCALL, thread, 0, ctypes.c_void_p(passed_on))
    return 0 if killed(*child.end()) else seen


def _changes_file(pid: int, entry: _Entry, folder: Path) -> bool:
    if entry.number not in _FILES:
        return entry.number in _PATHS
    try:
        path = Path(f"/proc/{pid}/fd/{ctypes.c_int32(entry.arguments[0]).value}").readlink()
    except OSError:
        return False
    return path.is_relative_to(folder)


# A disk without space.


@contextmanager
def no_more_than(space: int, file: Path, *, fill: bool) -> Iterator[None]:
    """Leave so many bytes while inside: on the disk of a file, by filling it (ENOSPC), or in any one file (EFBIG).

    The latter is a limit of this process, for machines on which nobody may mount a disk to fill; there is no signal, as
    Python ignores SIGXFSZ.
    """
    ballast, limits = file.with_name("ballast"), resource.getrlimit(resource.RLIMIT_FSIZE)
    if fill:
        disk = os.statvfs(file.parent)
        ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - space)))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (space, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        ballast.unlink(missing_ok=True)


def mount_small_disk(folder: Path, size: int) -> None:
    """Put a file system in memory over a folder, for this process alone; it is gone when the process is.

    Raises
    ------
    OSError
        This machine does not let an ordinary process do so.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    new_user, new_mounts = 0x10000000, 0x00020000
    if libc.unshare(new_user | new_mounts) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount: " + os.strerror(ctypes.get_errno()))


# An S3 server in a process of its own.

_SERVE = """
import json, sys
from benchmarks.support.s3_servers import Moto, at_random
server = Moto()
server.objects
counted = {}
def counting(dice):
    def fault(environ):
        kind = dice(environ)
        name = "answered" if kind is None else kind if isinstance(kind, str) else str(kind[0])
        counted[name] = counted.get(name, 0) + 1
        return kind
    return fault
print(json.dumps([server.url, server.variables]), flush=True)
for line in sys.stdin:
    seed, rate = json.loads(line)
    server.fault = counting(at_random(seed, rate)) if rate else None
    print(json.dumps(counted), flush=True)
    counted.clear()
"""


class FaultyServer:
    """moto's S3 server on loopback, which refuses, loses or breaks off a share of requests when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.variables: dict[str, str] = json.loads(self._said())[1]
        self._stores = 0

    def faults(self, rate: float, seed: int = 1) -> dict[str, int]:
        """From now on let this share of requests fail; which faults there were so far since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([seed, rate]) + "\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._said())
        return counts

    def place(self) -> Place:
        """An empty store of its own."""
        self._stores += 1
        return Place(bucket="desk-weights", prefix=f"reliability/{self._stores}", variables=self.variables)

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """Run the server while inside."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield FaultyServer(process)
    finally:
        process.kill()
        process.wait()


# Backfills.


def backfill(
    data: Path, home: Path, store: str, variables: Mapping[str, str], book: str, first: str, last: str
) -> None:
    """A real Dagster run over a range, on an instance of its own."""
    import dagster as dg

    from weights_pipeline.orchestration.runs import materialise
    from weights_pipeline.settings import Settings

    os.environ.update(variables)
    # What the run says of itself is not the question here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    settings = Settings(data=data, home=home, store=store, lock_timeout=PATIENCE)
    with dg.DagsterInstance.ephemeral() as instance:
        report = materialise(Workspace(settings), book, first, last, instance=instance)
    if not report.success:
        raise RuntimeError("; ".join(report.errors) or f"{report.materialisations} materialisations, then none")


# Many at once.


def keep_writing(place: Place, number: int, table: Table, counter: Table, until: float, told: Path) -> None:
    """Write own partitions and count each turn in a shared table, while reading what everybody writes."""
    store, dice, turn = place.open(), random.Random(number), 0
    start = dt.datetime(2020, number + 1, 1, tzinfo=dt.UTC)
    end = (start + dt.timedelta(days=32)).replace(day=1)
    own = Window(f"{start:%Y-%m-%d}", start, end, start.date(), end.date(), end)
    reads = 0

    def counted(rows: pd.DataFrame) -> pd.DataFrame:
        return one if rows.empty else rows.assign(count=rows["count"] + 1)

    one = pd.DataFrame({"name": ["all"], "count": [1]})
    while time.time() < until:
        turn += 1
        size = dice.randrange(1, 200)
        rows = pd.DataFrame(
            {"day": pd.Timestamp(own.key), "name": [f"n{i:03d}" for i in range(size)], "value": float(turn)}
        )
        store.write("many", table, rows.assign(rows=size), [own], run_id=str(number), recorded_at=NOW)
        store.update("many", counter, counted, run_id=str(number), recorded_at=NOW)
        with store.view():
            records = store.partitions("many", table.name)
            back = store.read("many", table, columns=["partition_key", "value", "rows"])
        reads += 1
        for key, part in back.groupby("partition_key"):
            whole = len(part) == part["rows"].iloc[0] == records[str(key)].rows
            if not (whole and part["value"].nunique() == part["rows"].nunique() == 1):
                raise AssertionError(f"{key} was read in part: {len(part)} rows of {part['rows'].unique()}")
        if set(back["partition_key"]) != set(records):
            raise AssertionError("rows and manifest name different partitions")
    told.write_text(f"{turn} {reads} {size}")
