"""Files that others read: whole or not there at all, never half-written.

Here belongs putting a file in its place. Here does not belong what is in it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path beside a file to write to, which takes the file's place on leaving without an error.

    The folder is made where it is missing. A reader finds the old content or the new, whenever it looks, and the old
    stays where the writing fails. The path ends as the file does.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=f".{file.name}", dir=file.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # Private to its owner until here, as temporary files are.
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8; see :func:`replacing`."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
