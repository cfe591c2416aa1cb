"""``weights ui`` ends with everything that it has started."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from benchmarks.support.processes import Together, free_port
from weights_pipeline.cli.commands.ui import _Process
from weights_pipeline_tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(small_data, tmp_path):
    """The interface of a small desk on a free port, once it answers; whatever it leaves behind is killed."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEIGHTS_", "DAGSTER_"))}
    own = {"WEIGHTS_DATA": str(small_data), "WEIGHTS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", f"from weights_pipeline.cli import main; main(['ui', '--port', '{port}'])"]
    with (tmp_path / "said").open("w") as said:
        running = Together(
            command, cwd=ROOT, env=kept | own, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            # As a shell starts what ends in `&`.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )  # fmt: skip

    def answers() -> bool:
        assert running.process.poll() is None, (tmp_path / "said").read_text()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).status == 200
        except OSError:
            return False

    try:
        until(answers, 180)
        yield running
    finally:
        running.kill()


def test_when_a_part_of_it_ends_it_says_so_and_leaves_nothing_running(served, tmp_path):
    """It tells itself to end as a service manager would."""
    assert len(served.members()) >= 3
    [daemon] = [pid for pid, command in served.members().items() if "dagster._daemon" in command]
    os.kill(daemon, signal.SIGKILL)
    assert served.process.wait(120) == 1
    assert "a process of the interface has ended; see the end of" in (tmp_path / "said").read_text()
    until(lambda: not served.members())


def test_what_is_told_to_end_twice_has_ended_all_the_same(tmp_path, monkeypatch):
    process = _Process(tmp_path / "log", "http.server", "--bind", "127.0.0.1", "0")
    own = process._process

    def again(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(own, "wait", again)
    monkeypatch.setattr(own, "terminate", lambda: None)  # it is deaf
    with pytest.raises(KeyboardInterrupt):
        process.end()
    monkeypatch.undo()
    assert own.wait(60) == -signal.SIGKILL
