"""Files of a ledger: cells as text, with the line each row stands on.

Here belong listing, CSV and Parquet. Here does not belong what a cell means.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet
from numpy.typing import NDArray

from weights_pipeline.core.returns.lots import Column
from weights_pipeline.ledger.errors import LedgerError

Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one file as read.

    `cells` is text with a positional index and `line` says where each row was read. `malformed` is what
    is no row: line, reason and fields. `unreadable` are columns whose type is no cell, with that type.
    """

    name: str
    cells: pd.DataFrame
    line: Indices
    malformed: Sequence[tuple[int, str, list[str]]] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Rows in the file, well-formed or not."""
        return len(self.line) + len(self.malformed)


def require_columns(part: Part, columns: Mapping[str, Column]) -> None:
    """Stop at a file that lacks a column, saying what it has instead."""
    found = [*part.cells, *part.unreadable]
    missing = [name for name, column in columns.items() if column.required and name not in part.cells]
    if not missing:
        return
    hints = [
        f"{name} holds {part.unreadable[name]}, which is no text, number or time"
        for name in missing
        if name in part.unreadable
    ]
    alike = {name.strip().casefold(): name for name in found}
    hints += [f"rename {alike[name]!r} to {name!r}" for name in missing if name in alike and name not in found]
    if len(found) == 1 and (other := next((c for c in ";\t|" if c in found[0]), None)):
        hints.append(f"the fields seem to be separated by {other!r}: save the file with commas")
    raise LedgerError(
        f"{part.name}: missing column {', '.join(missing)}; found {', '.join(found) or 'none'}"
        + "".join(f"; {hint}" for hint in hints)
    )


def _filesystem(root: Path) -> pyarrow.fs.FileSystem:
    """Open the data folder; the one place that knows where it is kept."""
    return pyarrow.fs.SubTreeFileSystem(str(root.resolve()), pyarrow.fs.LocalFileSystem())


def list_files(root: Path, patterns: Iterable[str], key: str) -> list[str]:
    """Files that any of the globs matches, sorted; a glob that matches none is an error."""
    files: set[str] = set()
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        fixed = list(takewhile(lambda part: not set(part) & set("*?"), parts[:-1]))
        below = pyarrow.fs.FileSelector("/".join(fixed), allow_not_found=True, recursive=True)
        paths = pa.array([info.path for info in _filesystem(root).get_file_info(below) if info.is_file], pa.string())
        # Arrow's expressions take time in proportion to the text; with Python's, a few stars may take for ever.
        matches = pyarrow.compute.match_substring_regex(paths, _glob_expression("/".join(parts)))
        found = set(paths.filter(matches).to_pylist())
        if not found:
            raise LedgerError(f"{key}: no file in {root} matches {pattern!r}; correct the path or add the file")
        files |= found
    return sorted(files)


def _glob_expression(pattern: str) -> str:
    wild = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    matched = "".join(wild.get(token) or re.escape(token) for token in tokens)
    return f"(?s)^{matched}$"


def read_part(root: Path, path: str) -> Part:
    """Read one file.

    Raises
    ------
    LedgerError
        The path leads out of the data folder, or the file is missing, empty, or neither CSV nor Parquet.
    """
    try:
        inside = (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise LedgerError(f"{path}: leads nowhere: {error}") from error
    if not inside:
        raise LedgerError(f"{path}: leads out of the data folder {root}; keep the file itself inside it")
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(PurePosixPath(path).suffix.lower())
    if reader is None:
        raise LedgerError(f"{path}: expected a file named .csv or .parquet")
    try:
        with _filesystem(root).open_input_stream(path) as stream:
            data = stream.read()
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read from {root}: {error}") from error
    if re.fullmatch(rb"(?:\xef\xbb\xbf)?\s*", data):
        raise LedgerError(f"{path}: is empty; expected at least a header, or leave the file out")
    return reader(path, data)


def _read_parquet(path: str, data: bytes) -> Part:
    """Read Parquet, every column as the text that a CSV file would have."""
    try:
        table = pyarrow.parquet.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: is not a Parquet file ({error}); export it again") from error
    _require_unique(path, table.column_names)
    texts, unreadable = {}, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            texts[name] = _as_text(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            unreadable[name] = str(column.type)
    cells = pa.table(texts).to_pandas() if texts else pd.DataFrame(index=range(table.num_rows))
    return Part(name=path, cells=cells, line=np.arange(1, table.num_rows + 1), unreadable=unreadable)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))  # so that the text ends in Z
    return column.cast(pa.string())


def _read_csv(path: str, data: bytes) -> Part:
    """Read CSV, every cell as text and every row with the physical line it starts on."""
    text = _decoded(path, data)
    if '"' in text:
        return _read_quoted(path, io.StringIO(text, newline="").readlines())
    return _read_unquoted(path, data, re.split(r"[\r\n]", text, maxsplit=1)[0])


def _read_unquoted(path: str, data: bytes, header: str) -> Part:
    """Read CSV without quotes, in which a line is a row: several times as fast as the general case."""
    names = _header(path, header.split(","))
    cut: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        cut.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data + b"\n" * (not data.endswith((b"\n", b"\r")))),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False,  # so that rows come in order and invalid ones know their number
            block_size=min(len(data) + 2, 2**31 - 1),  # one block, so that no line can straddle two
            skip_rows=1,
            column_names=names,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            quote_char=False, double_quote=False, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    cells = table.to_pandas()
    line = np.delete(np.arange(2, 2 + len(cells) + len(cut)), [row.number - 2 for row in cut])
    if len(perhaps := np.flatnonzero(cells[names[0]] == "")):
        physical = re.split(rb"\r\n|\r|\n", data)
        blank = [row for row in perhaps.tolist() if not physical[line[row] - 1]]
        cells, line = cells.drop(index=blank).reset_index(drop=True), np.delete(line, blank)
    malformed = [(row.number, _miscounted(names, row.actual_columns), row.text.split(",")) for row in cut]
    return Part(name=path, cells=cells, line=line, malformed=malformed)


def _read_quoted(path: str, lines: list[str]) -> Part:
    """Read CSV whose cells may be quoted and then hold line breaks."""
    records = _csv_records(lines)
    _, fields, problem = next(records)
    if problem:
        raise LedgerError(f"{path}: line 1: the header is not CSV: {problem}")
    names = _header(path, fields)
    rows: list[list[str]] = []
    line: list[int] = []
    malformed: list[tuple[int, str, list[str]]] = []
    for number, fields, problem in records:
        if problem or len(fields) not in (0, len(names)):
            malformed.append((number, problem or _miscounted(names, len(fields)), fields))
        elif fields:
            rows.append(fields)
            line.append(number)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    cells = pa.table([pa.array(column, pa.string()) for column in columns], names=names).to_pandas()
    return Part(name=path, cells=cells, line=np.array(line, dtype=np.intp), malformed=malformed)


def _header(path: str, fields: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        raise LedgerError(f"{path}: line 1 is blank; expected the header there")
    _require_unique(path, names)
    return names


def _miscounted(names: list[str], found: int) -> str:
    return f"expected {len(names)} fields, found {found}"


def _csv_records(lines: list[str]) -> Iterator[tuple[int, list[str], str]]:
    """Yield the records: the line each starts on, its fields, and what is wrong with its quotes.

    After broken quotes reading goes on with the very next line, so that a quote which is never closed
    costs its own line and not those after it.
    """
    at = 0

    def feed() -> Iterator[str]:
        nonlocal at
        while at < len(lines):
            at += 1
            yield lines[at - 1]

    reader = csv.reader(feed(), strict=True)
    while (start := at) < len(lines):
        try:
            yield start + 1, next(reader), ""
        except csv.Error as error:
            at = start + 1
            reader = csv.reader(feed(), strict=True)
            yield at, [lines[start].rstrip("\r\n")], f"quotes: {error}"


def _decoded(path: str, data: bytes) -> str:
    """Text of a file, or where it stops being UTF-8 text."""
    if data.startswith(b"PAR1"):
        raise LedgerError(f"{path}: is a Parquet file; name it .parquet")
    remedy = "save the file as CSV in UTF-8"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"byte {data[error.start]:#04x} at offset {error.start}, line {line}"
        raise LedgerError(f"{path}: is not UTF-8 ({where}); {remedy}") from error
    if "\0" in text:
        raise LedgerError(f"{path}: is not text (byte 0x00 at offset {data.index(0)}); {remedy}")
    return text


def _require_unique(path: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LedgerError(f"{path}: column {', '.join(map(repr, twice))} appears more than once; keep one")
