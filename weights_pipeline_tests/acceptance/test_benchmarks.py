"""Benchmarks: each runs, on its smallest sizes, and says of which commit and on how busy a machine its figures are."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import peers
from benchmarks.support import circumstances
from benchmarks.support.apart import apart


@pytest.mark.parametrize("suite", benchmarks.SUITES)
def test_a_quick_run_gives_rows_of_figures(suite):
    rows = benchmarks.SUITES[suite](quick=True)
    assert len({tuple(row) for row in rows}) == 1
    for row in rows:
        figures = [value for value in row.values() if isinstance(value, float)]
        assert figures
        assert all(math.isfinite(figure) and figure > -1e-6 for figure in figures), row


def test_what_is_measured_apart_has_a_process_of_its_own_each_time():
    alone, together = apart(quick=False), apart(quick=True)
    assert len({os.getpid(), alone(os.getpid), alone(os.getpid)}) == 3
    assert together(os.getpid) == os.getpid()


@pytest.mark.parametrize(("load", "said"), [(0.1, "the machine was idle"), (7.0, "the machine was busy")])
def test_figures_carry_their_commit_and_how_busy_the_machine_was(monkeypatch, capsys, load, said):
    monkeypatch.setitem(benchmarks.SUITES, "decide", lambda quick: [{"median_us": 1.25, "quick": quick}])
    monkeypatch.setattr(circumstances.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(circumstances, "commit_of", lambda _: "0123abcd changed")
    benchmarks.main(["--quick", "decide"])
    printed = capsys.readouterr().out
    assert "quick run, not to be quoted; commit 0123abcd changed; " in printed
    assert f"load {load:.2f} before the run: {said}" in printed
    benchmarks.main(["--json", "decide"])
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["commit"] == "0123abcd changed"
    assert found["measured"]["busy"] == (load > 1)
    assert found["results"] == {"decide": [{"median_us": 1.25, "quick": False}]}


def test_a_commit_is_that_of_the_checkout_and_of_nothing_around_it(tmp_path):
    assert circumstances.commit_of(tmp_path) == "unknown"
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments):
        own = ["-c", "user.name=desk", "-c", "user.email=desk@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *own, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init")
    (tmp_path / "file").write_text("one")
    (tmp_path / "unpacked").mkdir()
    git("add", "file")
    git("commit", "-m", "first")
    assert circumstances.commit_of(tmp_path) == git("rev-parse", "HEAD").strip()
    (tmp_path / "file").write_text("two")
    assert circumstances.commit_of(tmp_path) == git("rev-parse", "HEAD").strip() + " changed"
    assert circumstances.commit_of(tmp_path / "unpacked") == "unknown"


def test_what_is_said_of_the_peer_that_is_installed_here_comes_out() -> None:
    rows = peers.skfolio_rows()
    limit, short_of_it = peers.said_by(rows["limits of groups"]).split(" and ")
    assert limit == "0.35"
    assert -1e-5 < float(short_of_it) < 0
    assert peers.said_by(rows["contradicting limits"]).startswith("ConvexOptimizationError: Solver 'CLARABEL' failed")
    page = (Path(peers.__file__).parents[1] / "docs" / "compared.md").read_text()
    assert {name for name in peers.PEERS if name.split("-")[0].lower() not in page.lower()} == set()
