"""Files of a ledger: cells as text, with the line each row stands on.

Here belong listing, CSV and Parquet. Here does not belong what a cell means.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

from weights_pipeline.core.returns.cells import Column
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.source import PLAIN, Reading

Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one file as read.

    Attributes
    ----------
    name
        Path in the data folder; with ``#`` and a word behind it where rows of a file are read in more than one way.
    cells, line
        Text with a positional index, and where each row was read.
    header
        Columns as a line that is no row would have them, in the ledger's names.
    malformed
        What is no row: line, reason and fields.
    unreadable
        Columns whose type is no cell, with that type.
    reading
        How the source says that the file reads.
    left_out
        Rows that the source says are not to be read: its footer, and all that ``where`` does not take.
    others
        The latter.
    """

    name: str
    cells: pd.DataFrame
    line: Indices
    header: Sequence[str] = ()
    malformed: Sequence[tuple[int, str, list[str]]] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    reading: Reading = PLAIN
    left_out: int = 0
    others: pd.DataFrame = field(default_factory=pd.DataFrame)

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
        hints.append(f"the fields seem to be separated by {other!r}: save the file with commas, or set delimiter")
    if preamble := _preamble(part, missing):
        hints.append(preamble)
    raise LedgerError(
        f"{part.name}: missing column {', '.join(missing)}; found {', '.join(found) or 'none'}"
        + "".join(f"; {hint}" for hint in hints)
    )


_HEADER_WITHIN = 20


def _preamble(part: Part, missing: Sequence[str]) -> str:
    """Say where the header is, when a line below the first has all that is missing."""
    theirs = {part.reading.columns.get(name, name) for name in missing}
    skipped = part.reading.skip_lines
    rows = [(number, fields) for number, _, fields in part.malformed]
    rows += list(zip(part.line.tolist(), part.cells.head(_HEADER_WITHIN).to_numpy().tolist(), strict=False))
    for number, fields in sorted(rows, key=lambda row: row[0])[:_HEADER_WITHIN]:
        if theirs <= {str(name).strip().strip('"') for name in fields}:
            return (
                f"the header is not in line {skipped + 1} but in line {number}: set skip_lines: {number - 1}, and "
                f"footer to the number of lines below the last row that are none"
            )
    return ""


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


def read_part(root: Path, path: str, reading: Reading = PLAIN) -> Part:
    """Read one file, the columns named and the rows taken as the source says.

    Raises
    ------
    LedgerError
        The path leads out of the data folder, the file is missing, empty, or neither CSV nor Parquet, or what the
        source says does not fit it.
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
    return _mapped(reader(path, data, reading))


def _mapped(part: Part) -> Part:
    """Take the rows asked for, name columns as we do, and turn their values into ours."""
    reading = part.reading
    if reading == PLAIN:
        return part
    found = [*part.header, *part.unreadable]
    for setting, named in (("columns", reading.columns.values()), ("where", reading.where)):
        if absent := sorted({*named} - {*found} - {*(reading.columns if setting == "where" else ())}):
            raise LedgerError(f"{part.name}: {setting}: there is no {', '.join(absent)}; found {', '.join(found)}")
    taken = np.ones(len(part.cells), dtype=bool)
    for column, condition in reading.where.items():
        taken &= condition.takes(part.cells[column if column in found else reading.columns[column]])
    # What is mapped goes by our name alone; what has our name and is another column, by one that nothing reads.
    theirs = {*reading.columns.values()}
    names = {name: f"{name} (of the file)" if name in reading.columns else name for name in part.header}
    cells = part.cells[[name for name in part.cells if name not in theirs]].rename(columns=names)
    cells = cells.assign(**{name: part.cells[own] for name, own in reading.columns.items()})
    cells = cells.assign(
        **{name: pd.array([text] * len(cells), dtype="str") for name, text in reading.constants.items()}
    )
    for column, values in reading.values.items():
        if column in cells:
            text = cells[column].str.strip()
            cells[column] = text.map(values).where(text.isin([*values]), cells[column])
    ours = {own: name for name, own in reading.columns.items()}
    return replace(
        part,
        cells=cells[taken].reset_index(drop=True),
        line=part.line[taken],
        header=[ours.get(name, names[name]) for name in part.header],
        left_out=part.left_out + int((~taken).sum()),
        others=cells[~taken].reset_index(drop=True),
    )


def _read_parquet(path: str, data: bytes, reading: Reading) -> Part:
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
    if reading.skip_lines:
        raise LedgerError(f"{path}: skip_lines: a Parquet file has no lines above its header; leave it out")
    kept = max(table.num_rows - reading.footer, 0)
    return Part(
        name=path,
        cells=cells.iloc[:kept],
        line=np.arange(1, kept + 1),
        header=list(texts),
        unreadable=unreadable,
        reading=reading,
        left_out=table.num_rows - kept,
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))  # so that the text ends in Z
    return column.cast(pa.string())


def _read_csv(path: str, data: bytes, reading: Reading) -> Part:
    """Read CSV, every cell as text and every row with the physical line it starts on."""
    text = _decoded(path, data, reading.encoding)
    left_out = 0
    if reading.skip_lines or reading.footer:
        text, left_out = _without(path, text, reading)
    if '"' in text:
        part = _read_quoted(path, io.StringIO(text, newline="").readlines(), reading)
    else:
        part = _read_unquoted(path, text, reading)
    return replace(part, reading=reading, left_out=left_out)


def _without(path: str, text: str, reading: Reading) -> tuple[str, int]:
    """Text without the lines above its header and those below its last row, and how many the latter are."""
    lines = io.StringIO(text, newline="").readlines()
    body = lines[reading.skip_lines :]
    last = len(body)
    footer = 0
    while footer < reading.footer and last:
        last -= 1
        footer += bool(body[last].strip())
    if not any(line.strip() for line in body[:last]):
        settings = f"skip_lines: {reading.skip_lines} and footer: {reading.footer}"
        raise LedgerError(f"{path}: {settings} leave nothing of {len(lines)} lines")
    return "".join(body[:last]), footer


def _read_unquoted(path: str, text: str, reading: Reading) -> Part:
    """Read CSV without quotes, in which a line is a row: several times as fast as the general case."""
    names = _header(path, re.split(r"[\r\n]", text, maxsplit=1)[0].split(reading.delimiter), reading)
    cut: list[pyarrow.csv.InvalidRow] = []
    data = text.encode()

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
            delimiter=reading.delimiter,
            quote_char=False,
            double_quote=False,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    cells = table.to_pandas()
    line = np.delete(np.arange(2, 2 + len(cells) + len(cut)), [row.number - 2 for row in cut])
    if len(perhaps := np.flatnonzero(cells[names[0]] == "")):
        physical = re.split(r"\r\n|\r|\n", text)
        blank = [row for row in perhaps.tolist() if not physical[line[row] - 1]]
        cells, line = cells.drop(index=blank).reset_index(drop=True), np.delete(line, blank)
    above = reading.skip_lines
    malformed = [
        (row.number + above, _miscounted(names, row.actual_columns), row.text.split(reading.delimiter)) for row in cut
    ]
    return Part(name=path, cells=cells, line=line + above, header=names, malformed=malformed)


def _read_quoted(path: str, lines: list[str], reading: Reading) -> Part:
    """Read CSV whose cells may be quoted and then hold line breaks."""
    above = reading.skip_lines
    records = _csv_records(lines, reading.delimiter)
    _, fields, problem = next(records)
    if problem:
        raise LedgerError(f"{path}: line {above + 1}: the header is not CSV: {problem}")
    names = _header(path, fields, reading)
    rows: list[list[str]] = []
    line: list[int] = []
    malformed: list[tuple[int, str, list[str]]] = []
    for number, fields, problem in records:
        if problem or len(fields) not in (0, len(names)):
            malformed.append((number + above, problem or _miscounted(names, len(fields)), fields))
        elif fields:
            rows.append(fields)
            line.append(number + above)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    cells = pa.table([pa.array(column, pa.string()) for column in columns], names=names).to_pandas()
    return Part(name=path, cells=cells, line=np.array(line, dtype=np.intp), header=names, malformed=malformed)


def _header(path: str, fields: list[str], reading: Reading) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        line = reading.skip_lines + 1
        raise LedgerError(f"{path}: line {line} is blank; expected the header there, or set skip_lines")
    _require_unique(path, names)
    return names


def _miscounted(names: list[str], found: int) -> str:
    return f"expected {len(names)} fields, found {found}"


def _csv_records(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
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

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while (start := at) < len(lines):
        try:
            yield start + 1, next(reader), ""
        except csv.Error as error:
            at = start + 1
            reader = csv.reader(feed(), delimiter=delimiter, strict=True)
            yield at, [lines[start].rstrip("\r\n")], f"quotes: {error}"


def _decoded(path: str, data: bytes, encoding: str) -> str:
    """Text of a file, or where it stops being text of its encoding."""
    if data.startswith(b"PAR1"):
        raise LedgerError(f"{path}: is a Parquet file; name it .parquet")
    remedy = "save the file as CSV in UTF-8, or set encoding"
    spelled = encoding.upper()
    try:
        text = data.decode("utf-8-sig" if spelled == "UTF-8" else encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"byte {data[error.start]:#04x} at offset {error.start}, line {line}"
        raise LedgerError(f"{path}: is not {spelled} ({where}); {remedy}") from error
    if "\0" in text:
        raise LedgerError(f"{path}: is not text (byte 0x00 at offset {data.find(0)}); {remedy}")
    return text.removeprefix("\ufeff")


def _require_unique(path: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LedgerError(f"{path}: column {', '.join(map(repr, twice))} appears more than once; keep one")
