"""``weights ui``: Dagster's interface on this machine, with the daemon that keeps schedules and sensors.

Scope: the command, and the processes that it starts and ends. Not here: who may see and do what (``ui``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from weights_pipeline.cli import common

_SECONDS = 180.0
"""How long a code server may take to answer, on a slow and busy machine."""


def add(commands: common.Commands) -> None:
    """Declare the command."""
    parser = common.command(commands, "ui", _ui)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default 3000)")


def _ui(options: argparse.Namespace) -> int:
    """Serve Dagster's interface, to this machine alone unless a token or a proxy says who else; Ctrl-C ends it."""
    from weights_pipeline.cli import render
    from weights_pipeline.ui import Access, AccessError

    settings, host, port = common.settings(), options.host, options.port
    try:
        access = Access.from_environment(os.environ, settings.ui, host, port)
    except AccessError as error:
        common.stop(str(error), common.INVALID)
    if _taken(host, port):
        common.stop(f"--port: {port} is taken; name another, such as --port {port + 1}", common.INVALID)
    from weights_pipeline.orchestration.instance import LOCATION, furnish
    from weights_pipeline.orchestration.webserver import serve

    # Every process of the interface reads the same data and records in the same place.
    own = {"WEIGHTS_HOME": settings.home, "WEIGHTS_DATA": settings.data, "DAGSTER_HOME": settings.home}
    os.environ |= {name: os.environ.get(name) or str(path) for name, path in own.items()}
    furnish(settings)
    code = _free_port()
    workspace = settings.home / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": LOCATION}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
    module = ["-m", "weights_pipeline.definitions", "--location-name", LOCATION]
    logs = settings.home / "log"
    logs.mkdir(exist_ok=True)
    served = ["dagster", "code-server", "start", "-h", "127.0.0.1", "-p", str(code), *module]
    # Told to end by a service manager, or by a terminal that is closed, it ends what it has started as on Ctrl-C. A
    # shell's `&` lets that be ignored, also by what is started here, which then ignores being told to end as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        beside = [stack.enter_context(_running(logs / "code-server.log", *served))]
        beside[0].wait_for(code)
        daemon = ["dagster._daemon", "run", "-w", str(workspace)]
        beside.append(stack.enter_context(_running(logs / "daemon.log", *daemon)))
        for process in beside:
            threading.Thread(target=process.watch, daemon=True).start()
        render.say(f"Dagster on http://{host}:{port}, logs in {logs}. Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            serve(workspace, access, host, port)
        return common.FAILED if any(process.ended for process in beside) else 0


class _Process:
    """A process beside the interface, which cannot do without it."""

    def __init__(self, log: Path, *command: str) -> None:
        self._log, self._leaving, self.ended = log, False, False
        with log.open("ab") as stream:
            # A group of its own: Ctrl-C reaches this process alone, which then ends them in order.
            self._process = subprocess.Popen(  # noqa: S603 - this Python, and modules of Dagster
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                process_group=0,
            )

    def wait_for(self, port: int) -> None:
        """Return once it listens; ends the command where it never does."""
        until = time.monotonic() + _SECONDS
        while not _taken("127.0.0.1", port):
            if self._process.poll() is not None or time.monotonic() > until:
                tail = self._log.read_text(errors="replace")[-2000:]
                common.stop(f"the code server does not answer; the end of {self._log}:\n{tail}", common.FAILED)
            time.sleep(0.1)

    def watch(self) -> None:
        """Stop the interface should this end by itself."""
        self._process.wait()
        if not self._leaving:
            self.ended = True
            sys.stderr.write(f"weights: a process of the interface has ended; see the end of {self._log}\n")
            os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        """Stop it, and whatever it has started that does not stop with it."""
        self._leaving = True
        if self._process.poll() is None:
            self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        finally:
            # Also where somebody presses Ctrl-C again, for whom this takes too long.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def _running(log: Path, *command: str) -> Iterator[_Process]:
    process = _Process(log, *command)
    try:
        yield process
    finally:
        process.end()


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
