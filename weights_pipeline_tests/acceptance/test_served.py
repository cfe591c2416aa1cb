"""What ``weights ui`` has started ends, even where it is deaf."""

import signal

import pytest

from weights_pipeline.cli.commands.ui import _Process


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
