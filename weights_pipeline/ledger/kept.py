"""Cells of files that were read before, so that a file is not parsed again for as long as it is what it was.

Scope: keeping the cells of a ledger's files, in files beside the store. Not here: reading a file (``files``), nor what
cells mean, which is found out anew each time.

An entry is named by everything that cells depend on: what is in the file, how it reads, and the code that reads it.
Size and time of a file are not asked, as they can stay when its content does not. So an entry that is lost, damaged or
of another version costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from weights_pipeline.files import replacing
from weights_pipeline.ledger.files import Part, read_part
from weights_pipeline.ledger.places import File
from weights_pipeline.ledger.sources.reading import PAGE
from weights_pipeline.ledger.vocabulary import Reading

Read = Callable[[File, Reading], Part]
_LOG = logging.getLogger(__name__)
_SEAL = hashlib.sha256().digest_size


class Kept:
    """Cells that were read before, and those that are read now.

    Parameters
    ----------
    folder
        Where those of one ledger are. It is made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: set[str] = set()

    def part(self, file: File, reading: Reading, read: Read | None = None) -> Part:
        """As :func:`~weights_pipeline.ledger.files.read_part` reads a file, parsed only if it has not been before.

        Where it is parsed now, it is by ``read``, if that is given.

        Raises
        ------
        LedgerError
            As ``read_part``.
        """
        # An object that the listing names with its version need not be fetched to know what it holds.
        version = file.version or digest_of(file)
        entry = self._entry(file, version, reading)
        self._used.add(entry.name)
        if (known := _read(entry, reading)) is not None:
            return replace(known, name=file.path, version=version)
        part = (read or read_part)(file, reading)
        # Of a file that was written to in between, the entry would hold what it does not say.
        if part.version == version:
            _write(entry, part)
        return part

    def tidy(self) -> None:
        """Remove what no file that was read now is kept in; others that read it meanwhile keep what they have."""
        for entry in self._folder.glob("*.arrow"):
            if entry.name not in self._used and not entry.name.startswith("."):
                entry.unlink(missing_ok=True)

    def _entry(self, file: File, version: str, reading: Reading) -> Path:
        # Objects of one ETag may differ, if they are not the same object.
        of = file.path if file.version else PurePosixPath(file.path).suffix.lower()
        named = json.dumps([of, version, reading.model_dump_json(), reader()])
        return self._folder / f"{hashlib.sha256(named.encode()).hexdigest()}.arrow"


@lru_cache(maxsize=1)
def reader() -> str:
    """What turns bytes into rows: the code of this room and of the rules, and the libraries that it parses with."""
    ledger = Path(__file__).parent
    content, rooms = hashlib.sha256(), (ledger, ledger.parent / "core" / "returns")
    for room in rooms:
        if not (sources := sorted(room.rglob("*.py"))):
            raise FileNotFoundError(f"{room}: no source files there; install the package again")
        for source in sources:
            content.update(f"{source.relative_to(ledger.parent).as_posix()}\n".encode() + source.read_bytes())
    return " ".join([content.hexdigest(), platform.python_version(), pd.__version__, pa.__version__])


def digest_of(file: File) -> str:
    """SHA-256 of a file, read a piece at a time."""
    content = hashlib.sha256()
    for piece in file.pieces():
        content.update(piece)
    return content.hexdigest()


def entries(folder: Path) -> list[Path]:
    """Files that are kept of all ledgers, of which each has a folder in this one."""
    return sorted(entry for entry in folder.glob("*/**/*.arrow") if not entry.name.startswith("."))


def as_written(entry: Path) -> bool:
    """Whether a file that is kept is what was written; one that is removed meanwhile is."""
    try:
        _body(entry)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _body(entry: Path) -> pa.Buffer:
    """What was written to an entry, mapped into memory."""
    with pa.memory_map(str(entry)) as mapped:
        content = mapped.read_buffer()
    body: pa.Buffer = content[: max(content.size - _SEAL, 0)]
    if hashlib.sha256(body).digest() != content[body.size :].to_pybytes():
        raise ValueError("its content is not what was written")
    return body


def sealed(file: Path, name: str) -> tuple[pa.Table, dict[str, Any]]:
    """What :func:`write_sealed` has written under a name, mapped into memory.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError, KeyError, OSError, pyarrow.ArrowException
        It is not as it was written.
    """
    table = pyarrow.ipc.open_file(pa.BufferReader(_body(file))).read_all()
    said = json.loads(table.schema.metadata[b"part"])
    if said["entry"] != name:
        raise ValueError("it is the content of another entry")
    return table, said


def write_sealed(file: Path, name: str, table: pa.Table, said: Mapping[str, Any]) -> None:
    """Write a table and what is said of it, sealed with a hash of all that is written; whole or not at all."""
    table = table.replace_schema_metadata({"part": json.dumps({"entry": name, **said})})
    with replacing(file, durable=False) as path:
        with pa.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, PAGE)
        with path.open("r+b") as written:
            seal = hashlib.file_digest(written, "sha256").digest()
            written.write(seal)


def read_said(file: Path) -> dict[str, Any]:
    """What :func:`write_said` has written; nothing where there is no such file, or it is not as it was written."""
    try:
        said = sealed(file, file.name)[1]
    except FileNotFoundError:
        return {}
    except UNUSABLE as error:
        _LOG.warning("%s: cannot be used, it is made again: %s", file, error)
        return {}
    del said["entry"]
    return said


def write_said(file: Path, said: Mapping[str, Any]) -> None:
    """Keep what is known of a ledger's files; where it cannot be kept, say so."""
    try:
        write_sealed(file, file.name, pa.table({}), said)
    except OSError as error:
        _LOG.warning("%s: cannot be kept, it will be made again: %s", file, error)


UNUSABLE = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)
"""Errors of what cannot be used, as it is not what was written."""


def _read(entry: Path, reading: Reading) -> Part | None:
    """What an entry holds, mapped into memory; None where there is none, or it is not as it was written."""
    try:
        table, said = sealed(entry, entry.name)
    except FileNotFoundError:
        return None
    except UNUSABLE as error:
        _LOG.warning("%s: cannot be used, its file is read again: %s", entry, error)
        return None
    cells = table.drop_columns(["line"]).to_pandas()
    cells.columns = pd.Index(said["columns"], dtype="str")
    return Part(
        name="",
        cells=cells,
        line=table.column("line").to_numpy(),
        header=said["header"],
        malformed=[(line, why, fields) for line, why, fields in said["malformed"]],
        unreadable=said["unreadable"],
        reading=reading,
        left_out=said["left_out"],
    )


def _write(entry: Path, part: Part) -> None:
    """Keep a part as it was read, sealed with a hash of all that is written; where it cannot be kept, say so."""
    if not part.cells.shape[1]:
        return  # Rows without a cell have no columns that could say how many they are.
    said = {
        "columns": [*part.cells],
        "header": [*part.header],
        "malformed": [(int(line), why, [*fields]) for line, why, fields in part.malformed],
        "unreadable": dict(part.unreadable),
        "left_out": part.left_out,
    }
    # Columns go by their place, as a file may call one as it likes.
    columns = {str(place): pa.array(part.cells.iloc[:, place]) for place in range(part.cells.shape[1])}
    table = pa.table(columns | {"line": pa.array(part.line.astype(np.int64))})
    try:
        write_sealed(entry, entry.name, table, said)
    except OSError as error:
        _LOG.warning("%s: cells cannot be kept, their file will be read again: %s", entry, error)
