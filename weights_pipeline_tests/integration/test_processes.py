"""What tests and benchmarks start ends with them, even where they are killed, and leaves no folder."""

import subprocess
import sys
from pathlib import Path

from benchmarks.support.processes import Together
from weights_pipeline_tests.support.waiting import until

# A child that starts a session's worth of grandchildren, one of them in a group of its own, as job control does.
FAMILY = "set -m; sleep 60 & sleep 60 & echo begun > $0/begun; wait"
STARTS = """
import os, signal, sys
from pathlib import Path
from benchmarks.support.processes import Together
folder = Path(sys.argv[1])
started = Together(["bash", "-c", sys.argv[2], str(folder)], folders=[folder])
while not (folder / "begun").exists():
    pass
print(started.process.pid, len(started.members()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_of_it_ends_at_once_when_told(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    started = Together(["bash", "-c", FAMILY, str(folder)], folders=[folder])
    until((folder / "begun").exists)
    assert len(started.members()) == 3
    started.kill()
    assert started.members() == {}
    assert not folder.exists()


def test_all_of_it_ends_when_the_process_that_started_it_is_killed(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    died = subprocess.run(
        [sys.executable, "-c", STARTS, str(folder), FAMILY], capture_output=True, text=True, check=False
    )
    session, members = died.stdout.split()
    assert (died.returncode, members) == (-9, "3"), died.stderr
    until(lambda: not folder.exists())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *numbers = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        assert numbers[2] != session or state == "Z"
