"""What takes seconds to make, made once: by the first process that needs it, for all that run the same code and data.

It is kept beside pytest's own temporary folders, under a name made of everything it depends on.
"""

import fcntl
import hashlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("weights_pipeline", "data", "benchmarks/support/data.py", "weights_pipeline_tests/support")
KEPT = 3
"""How many states of code and data are kept."""

_DONE, _USED = "done", "used"


def fingerprint() -> str:
    """Hash of the code, the data, how things are made of them, and what is installed."""
    # The name of such a folder is a package's and its version.
    installed = sorted(each.name for folder in sys.path for each in Path(folder or ".").glob("*.dist-info"))
    digest = hashlib.sha256("\n".join([str(ROOT), sys.version, *installed]).encode())
    for source in SOURCES:
        for file in sorted([ROOT / source, *(ROOT / source).rglob("*")]):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def temporary_root(base: Path) -> Path:
    """Where pytest keeps the folders of all sessions; of a session in a folder of one's own, that folder."""
    session = base.parent if base.name.startswith("popen-") else base
    return session.parent if session.parent.name.startswith("pytest-of-") else session


class Kept:
    """The folder of one state of code and data; a process holds on to it for as long as it lives.

    Parameters
    ----------
    base
        Temporary folder of the session or of a worker of it, as pytest gives it.
    """

    def __init__(self, base: Path) -> None:
        root = temporary_root(base)
        self.folder = root / f"weights-{fingerprint()}"
        self._held = _taken(self.folder)
        for old in sorted(root.glob("weights-*"), key=_last_used)[:-KEPT]:
            _remove_unused(old)

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Folder of a name, made by this process if no other has; others wait while one makes it."""
        folder = self.folder / name
        with _alone(self.folder / f"{name}.lock"):
            if not (folder / _DONE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / _DONE).touch()
        return folder

    @contextmanager
    def unchanged(self, name: str, file: Path) -> Iterator[None]:
        """Forget what a name stands for, and fail, where a file of it changes inside the context.

        Raises
        ------
        AssertionError
            The file has changed.
        """
        before = hashlib.sha256(file.read_bytes()).digest()
        yield
        if hashlib.sha256(file.read_bytes()).digest() != before:
            (self.folder / name / _DONE).unlink()
            raise AssertionError(f"a test has changed {file}, which others read; let it work on a copy")


@contextmanager
def _alone(lock: Path) -> Iterator[IO[str]]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held


def _taken(folder: Path) -> IO[str]:
    """Make a folder, or take the one there is, and keep others from removing it for as long as the file is open."""
    while True:
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            held = (folder / _USED).open("w")
            fcntl.flock(held, fcntl.LOCK_SH)
            # Whoever was removing the folder meanwhile has removed this file as well.
            if (folder / _USED).stat().st_ino == os.fstat(held.fileno()).st_ino:
                return held


def _last_used(folder: Path) -> float:
    """When a process took a folder last; one that is being taken is the newest."""
    try:
        return (folder / _USED).stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _remove_unused(folder: Path) -> None:
    with suppress(OSError), (folder / _USED).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
