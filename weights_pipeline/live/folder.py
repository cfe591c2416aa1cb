"""A folder of live weights: one file ``<book>.json`` for each book.

Scope: how a file is replaced and polled. Not here: what is in it (``document``).
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from weights_pipeline.files import replacing
from weights_pipeline.live.document import LiveWeights, MissingError, UnreachableError, published, require_name
from weights_pipeline.live.signing import SigningKey


class Folder:
    """A folder, local or mounted."""

    def __init__(self, location: str) -> None:
        self.path = Path(location)

    def publish(self, document: LiveWeights, key: SigningKey | None = None) -> bool:
        """Put a document in the place of an older one; False where it is there already.

        A lock on ``.<book>.lock`` keeps publishers apart, of this process or of others on the same machine, from
        reading what is published to replacing it. The operating system frees it should its holder die. Readers need
        no lock: they find the old file or the new one, whole.

        Raises
        ------
        OlderVersionError
            What is published is newer.
        SignatureError
            What is published is signed, and the document would not be.
        OSError
            The folder cannot be written to.
        """
        file = self._file(document.book)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file.with_name(f".{document.book}.lock")):
            there = file.is_file()
            if not document.replaces(published(file.read_bytes(), key) if there else None):
                return False
            try:
                with replacing(file) as temporary:
                    temporary.write_bytes(document.to_json(key))
                    if there and (before := file.stat().st_mtime_ns) >= temporary.stat().st_mtime_ns:
                        # Clocks of file systems are coarse: two versions within a tick must not look alike to a poll.
                        os.utime(temporary, ns=(before + 1, before + 1))
            except OSError as error:
                kept = "what was published before stays" if there else "nothing is published there"
                raise OSError(error.errno, f"{file} cannot be written: {error.strerror}; {kept}") from error
        return True

    def poll(self, book: str, seen: Hashable) -> tuple[bytes, Hashable] | None:
        """Content of a book's file and its signature; None where the signature is still the one seen.

        The signature is modification time, size and inode: looking takes one system call.

        Raises
        ------
        MissingError
            The folder has no such file.
        UnreachableError
            There is no folder, or the file cannot be read.
        """
        file = self._file(book)
        try:
            if seen is not None and _signature(file.stat()) == seen:
                return None
            with file.open("rb") as stream:
                # Of the file that was opened: another may have taken its name since.
                return stream.read(), _signature(os.fstat(stream.fileno()))
        except FileNotFoundError as error:
            if self.path.is_dir():
                raise MissingError(f"nothing is published in {file}") from error
            raise UnreachableError(f"{self.path}: no such folder") from error
        except OSError as error:
            raise UnreachableError(f"{file}: {error.strerror or error}") from error

    def _file(self, book: str) -> Path:
        return self.path / f"{require_name(book)}.json"


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    # Publishing needs a POSIX system; reading does not.
    import fcntl

    with file.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
