"""Under which circumstances figures were measured: of which commit, on what machine, and how busy it was."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUSY = 0.25
"""Load a core, one-minute average, from which on others take time from what is measured."""


@dataclass(frozen=True)
class Circumstances:
    """What has to be known of figures to compare them with others.

    Attributes
    ----------
    commit
        Commit that was checked out, with ``changed`` after it where files differ; ``unknown`` outside a checkout.
    python, cores
        Version of Python, and cores that this process may use.
    load
        One-minute average load of the machine before anything was measured.
    """

    commit: str
    python: str
    cores: int
    load: float

    @property
    def busy(self) -> bool:
        return self.load > BUSY * self.cores

    def __str__(self) -> str:
        verdict = "busy, so compare nothing but ratios of one run" if self.busy else "idle"
        return (
            f"commit {self.commit}; Python {self.python}, {self.cores} cores; "
            f"load {self.load:.2f} before the run: the machine was {verdict}"
        )


def now(root: Path = ROOT) -> Circumstances:
    return Circumstances(
        commit=commit_of(root),
        python=platform.python_version(),
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
    )


def commit_of(root: Path) -> str:
    """Commit that a folder is a checkout of."""
    found = _git(root, "rev-parse", "--show-toplevel", "HEAD").split()
    if len(found) != 2 or Path(found[0]) != root:
        return "unknown"
    return found[1] + " changed" * bool(_git(root, "status", "--porcelain"))


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
