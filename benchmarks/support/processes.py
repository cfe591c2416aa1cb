"""Processes that end, with everything they have started, when the process that started them does, however that ends."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# A process that is killed can end nothing, but its pipes are closed, and whoever reads one can.
_GUARD = """
import contextlib, os, shutil, signal, sys, time
session, *folders = sys.argv[1:]
sys.stdin.read()
def members():
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:
            state, *numbers = stat.read().rpartition(")")[2].split()
            if numbers[2] == session and state != "Z":
                yield int(name)
for _ in range(200):
    found = list(members())
    for number in found:
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)
    if not found:
        break
    time.sleep(0.02)
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""


class Together:
    """A process in a session of its own, with whatever it starts.

    Parameters
    ----------
    command, options
        As :class:`subprocess.Popen` takes them.
    folders
        Folders that are removed once all has ended.
    """

    def __init__(self, command: list[Any], *, folders: Iterable[Path] = (), **options: Any) -> None:
        self.process = subprocess.Popen(command, start_new_session=True, **options)
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(self.process.pid), *map(str, folders)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    def kill(self) -> None:
        """End all of it at once."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(30)
        self.process.wait(30)

    def members(self) -> dict[int, str]:
        """Command lines of the processes there are, by their numbers."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, *numbers = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(numbers[2]) == self.process.pid and state != "Z":
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
