"""Files that others read: whole or not there at all, never half-written.

Scope: putting a file in its place. Not here: what is in it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def replacing(file: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside a file to write to, which takes the file's place on leaving without an error.

    The folder is made where it is missing. A reader finds the old content or the new, whenever it looks, and the old
    stays where the writing fails. The path ends as the file does. What can be made again from the store need not be
    ``durable``: it does not wait for the disk.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=f".{file.name}", dir=file.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # Private to its owner until here, as temporary files are.
        temporary.chmod(0o644)
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8; see :func:`replacing`."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file; see :func:`replacing`."""
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def write_artefacts(
    folder: Path, tables: Mapping[str, pd.DataFrame], documents: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write tables as ``NAME.csv`` and documents as ``NAME.json``; equal content gives equal bytes."""
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv", durable=False) as temporary:
            table.to_csv(temporary, index=False, date_format="%Y-%m-%d", lineterminator="\n")
    for name, document in documents.items():
        with replacing(folder / f"{name}.json", durable=False) as temporary:
            temporary.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
