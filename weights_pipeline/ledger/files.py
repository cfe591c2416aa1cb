"""Files of a ledger: cells as text, with the line each row stands on.

Here belong CSV, Parquet, JSON and XML. Here does not belong what a cell means.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Column, Fault
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.places import File
from weights_pipeline.ledger.sources.cells import TEXT, record_batch
from weights_pipeline.ledger.sources.reading import PAGE, spooled
from weights_pipeline.ledger.vocabulary import PLAIN, Reading, Section

Indices = NDArray[np.intp]

_PIECE = 32 << 20
"""Bytes of a CSV file that are read at a time."""


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
    faults
        What is wrong with which of the rows, before their cells are read.
    version
        ETag of an object in S3, otherwise SHA-256 of the file; empty of a query.
    written
        First rows in the words of their file, where those are others than the ledger's.
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
    faults: Sequence[Fault] = ()
    version: str = ""
    written: pd.DataFrame = field(default_factory=pd.DataFrame)

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
    theirs = {each for name in missing for each in part.reading.columns.get(name, (name,))}
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


def read_part(file: File, reading: Reading = PLAIN) -> Part:
    """Read one file, in its own words.

    Raises
    ------
    LedgerError
        The path leads out of the data folder, the file is missing, empty, or neither CSV, Parquet nor JSON, or what
        the source says of its lines does not fit it.
    """
    path = file.path
    reader = _READERS.get(PurePosixPath(path).suffix.lower())
    if reader is None:
        raise LedgerError(f"{path}: expected a file named {', '.join(_READERS)}")
    if reading.records and reader not in (_read_json, _read_xml):
        raise LedgerError(
            f"{path}: records: is a path within JSON or XML; leave it out, or name the file .json or .xml"
        )
    data = file.read()
    if re.fullmatch(rb"(?:\xef\xbb\xbf)?\s*", data):
        raise LedgerError(f"{path}: is empty; expected at least a header, or leave the file out")
    return replace(reader(path, data, reading), version=file.version or hashlib.sha256(data).hexdigest())


def _read_parquet(path: str, data: bytes, reading: Reading) -> Part:
    """Read Parquet, every column as the text that a CSV file would have."""
    unreadable: dict[str, str] = {}

    def texts(file: pyarrow.parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
        for batch in file.iter_batches(batch_size=PAGE):
            columns = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    columns[name] = _as_text(column)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    unreadable[name] = str(column.type)
                    columns[name] = pa.nulls(len(column), TEXT)
            yield pa.RecordBatch.from_pydict(columns)

    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(data))
        _require_unique(path, file.schema_arrow.names)
        empty = pa.schema([(name, TEXT) for name in file.schema_arrow.names]).empty_table()
        with TemporaryDirectory(prefix="weights-rows-") as folder:
            table = pa.concat_tables([empty, spooled(texts(file), Path(folder), "read")], promote_options="default")
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: is not a Parquet file ({error}); export it again") from error
    readable = table.drop_columns([*unreadable])
    cells = readable.to_pandas() if readable.column_names else pd.DataFrame(index=range(table.num_rows))
    if reading.skip_lines:
        raise LedgerError(f"{path}: skip_lines: a Parquet file has no lines above its header; leave it out")
    kept = max(table.num_rows - reading.footer, 0)
    return Part(
        name=path,
        cells=cells.iloc[:kept],
        line=np.arange(1, kept + 1),
        header=readable.column_names,
        unreadable=unreadable,
        reading=reading,
        left_out=table.num_rows - kept,
    )


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))  # so that the text ends in Z
    return column.cast(TEXT)


def _read_csv(path: str, data: bytes, reading: Reading) -> Part:
    """Read CSV, every cell as text and every row with the physical line it starts on."""
    told = (reading.section, reading.skip_lines, reading.skip_to, reading.footer, reading.stop_at)
    if reading.encoding == PLAIN.encoding and not any(told) and b'"' not in data and b"\0" not in data:
        return _read_unquoted(path, data, 0, reading)
    lines = io.StringIO(_decoded(path, data, reading.encoding), newline="").readlines()
    above, body, left_out = 0, lines, 0
    if reading.section is not None:
        above, body, left_out = _section(path, lines, reading.section, reading)
    elif any(told):
        above, body, left_out = _without(path, lines, reading)
    text = "".join(body)
    part = (
        _read_quoted(path, body, above, reading) if '"' in text else _read_unquoted(path, text.encode(), above, reading)
    )
    return replace(part, reading=reading, left_out=left_out)


def _without(path: str, lines: list[str], reading: Reading) -> tuple[int, list[str], int]:
    """How many lines are above the header, the lines from there to the last row, and how many rows are below."""
    above = reading.skip_lines
    if reading.skip_to:
        wanted = (number for number, line in enumerate(lines) if _cells(line, reading)[:1] == [reading.skip_to])
        if (found := next(wanted, None)) is None:
            raise LedgerError(
                f"{path}: skip_to: no line begins with the cell {reading.skip_to!r}; correct it or the file"
            )
        above = found
    body = lines[above:]
    last = len(body)
    if reading.stop_at:
        last = next((number for number, line in enumerate(body) if number and not line.strip()), last)
    footer = 0
    while footer < reading.footer and last:
        last -= 1
        footer += bool(body[last].strip())
    if not any(line.strip() for line in body[:last]):
        settings = f"skip_lines: {reading.skip_lines} and footer: {reading.footer}"
        raise LedgerError(f"{path}: {settings} leave nothing of {len(lines)} lines")
    return above, body[:last], sum(bool(line.strip()) for line in body[last:])


def _section(path: str, lines: list[str], section: Section, reading: Reading) -> tuple[int, list[str], int]:
    """As `_without`, of the lines of one section: their first cells are gone, and other lines are blank."""
    above, header, body, left_out = -1, "", list[str](), 0
    for number, line in enumerate(lines):
        cells = _cells(line, reading)
        begins = [tuple(cells[: len(first)]) == first for first in (section.header, section.rows)]
        if not any(begins):
            body.append("\n")
            left_out += above >= 0 and bool(line.strip())
            continue
        rest = line.split(reading.delimiter, len(section.header if begins[0] else section.rows))[-1]
        if begins[0] and above < 0:
            above, header, body = number, rest, []
        elif begins[0]:
            if rest.strip() != header.strip():
                raise LedgerError(f"{path}: line {number + 1}: section: another header than in line {above + 1}")
            rest = "\n"
        body.append(rest)
    if above < 0:
        raise LedgerError(f"{path}: section: no line begins with {reading.delimiter.join(section.header)}")
    return above, body, left_out


def _cells(line: str, reading: Reading) -> list[str]:
    """Cells of a line by itself."""
    return [cell.strip().strip('"') for cell in line.strip().split(reading.delimiter)]


def _read_unquoted(path: str, data: bytes, above: int, reading: Reading) -> Part:
    """Read CSV without quotes, in which a line is a row: several times as fast as the general case.

    What is longer than a piece waits in a temporary file, so that memory does not grow with the rows.
    """
    begin = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    end = min((at for at in (data.find(b"\n", begin), data.find(b"\r", begin)) if at >= 0), default=len(data))
    header = _utf8(path, data, begin, end)
    names = _header(path, header.decode().split(reading.delimiter), above)
    line, malformed = [np.empty(0, np.intp)], list[tuple[int, str, list[str]]]()

    def rows() -> Iterator[pa.RecordBatch]:
        start, before = end + (2 if data.startswith(b"\r\n", end) else 1), above + 1
        while start < len(data):
            stop = data.rfind(b"\n", start, start + _PIECE) + 1 if len(data) - start > _PIECE else len(data)
            stop = stop or len(data)  # lines that end otherwise
            table, number, cut, lines = _rows_of(_utf8(path, data, start, stop), names, reading.delimiter)
            line.append(number + before + 1)
            malformed.extend(
                (row.number + before, _miscounted(names, row.actual_columns), row.text.split(reading.delimiter))
                for row in cut
            )
            start, before = stop, before + lines
            yield from table.to_batches()

    empty = pa.schema([(name, TEXT) for name in names]).empty_table()
    if len(data) <= _PIECE:
        cells = pa.Table.from_batches(rows(), empty.schema).to_pandas()
    else:
        with TemporaryDirectory(prefix="weights-rows-") as folder:
            cells = pa.concat_tables(
                [empty, spooled(rows(), Path(folder), "read")], promote_options="default"
            ).to_pandas()
    return Part(name=path, cells=cells, line=np.concatenate(line), header=names, malformed=malformed, reading=reading)


def _rows_of(
    piece: bytes, names: list[str], delimiter: str
) -> tuple[pa.Table, Indices, list[pyarrow.csv.InvalidRow], int]:
    """Rows of whole lines, the number of each, lines that have not as many fields, and how many lines there are."""
    cut: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        cut.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(piece if piece.endswith((b"\n", b"\r")) else piece + b"\n"),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False,  # so that rows come in order and invalid ones know their number
            block_size=min(len(piece) + 2, 2**31 - 1),  # one block, so that no line can straddle two
            column_names=names,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter,
            quote_char=False,
            double_quote=False,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, TEXT), strings_can_be_null=False),
    )
    lines = table.num_rows + len(cut)
    number = np.delete(np.arange(lines), [row.number - 1 for row in cut])
    perhaps = np.flatnonzero(pyarrow.compute.equal(table.column(0), "").to_numpy())
    if len(perhaps):
        physical = re.split(rb"\r\n|\r|\n", piece)
        kept = np.delete(np.arange(table.num_rows), [row for row in perhaps if not physical[number[row]]])
        table, number = table.take(kept), number[kept]
    return table, number, cut, lines


def _utf8(path: str, data: bytes, start: int, stop: int) -> bytes:
    """Part of a file that is text."""
    piece = data[start:stop]
    try:
        piece.decode()
    except UnicodeDecodeError:
        _decoded(path, data, PLAIN.encoding)
    return piece


def _read_quoted(path: str, lines: list[str], above: int, reading: Reading) -> Part:
    """Read CSV whose cells may be quoted and then hold line breaks."""
    records = _csv_records(lines, reading.delimiter)
    _, fields, problem = next(records)
    if problem:
        raise LedgerError(f"{path}: line {above + 1}: the header is not CSV: {problem}")
    names = _header(path, fields, above)
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


def _header(path: str, fields: list[str], above: int) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        raise LedgerError(f"{path}: line {above + 1} is blank; expected the header there, or set skip_lines")
    _require_unique(path, names)
    return names


def _miscounted(names: list[str], found: int) -> str:
    return f"expected {len(names)} fields, found {found}"


def _csv_records(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield the records: the line each starts on, its fields, and what is wrong with its quotes.

    After broken quotes reading goes on with the very next line, so that a quote which is never closed
    costs its own line and not those after it. Two stray quotes close each other: where a line within a cell has as many
    fields as the header, the cell has swallowed rows.
    """
    at, width = 0, 0

    def feed() -> Iterator[str]:
        nonlocal at
        while at < len(lines):
            at += 1
            yield lines[at - 1]

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while (start := at) < len(lines):
        try:
            fields = next(reader)
            if width > 1 and any(line.count(delimiter) >= width - 1 for line in lines[start + 1 : at]):
                raise csv.Error("a cell goes on over lines that are rows")
        except csv.Error as error:
            at = start + 1
            reader = csv.reader(feed(), delimiter=delimiter, strict=True)
            yield at, [lines[start].rstrip("\r\n")], f"quotes: {error}"
        else:
            width = width or len(fields)
            yield start + 1, fields, ""


def _read_json(path: str, data: bytes, reading: Reading) -> Part:
    """Read JSON: a list of records, an object of them, or, in a file named .jsonl, one a line.

    Numbers stay as they are written. What is nested in a record is a column ``outer.inner``.
    """
    _require_no_lines(path, "JSON", reading)
    text = _decoded(path, data, reading.encoding)
    lined = path.lower().endswith(".jsonl")
    try:
        content: Any = [_loaded(line) for line in text.splitlines() if line.strip()] if lined else _loaded(text)
        for key in filter(None, reading.records.split(".")):
            content = content[int(key)] if isinstance(content, list) else content[key]
    except (KeyError, IndexError, TypeError):
        raise LedgerError(f"{path}: records: there is no {reading.records!r} in it; correct the path") from None
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path}: is not JSON ({error}); fetch or export it again") from None
    listed = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(listed, list) or (
        isinstance(content, dict) and not all(isinstance(each, dict) for each in listed)
    ):
        inside = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise LedgerError(f"{path}: expected a list of records; found {inside}: say with records where the list is")
    rows = [(number, each) for number, each in enumerate(listed, 1) if isinstance(each, dict)]
    cells = record_batch(each for _, each in rows).to_pandas() if rows else _no_cells(reading)
    return Part(
        name=path,
        cells=cells,
        line=np.array([number for number, _ in rows], dtype=np.intp),
        header=[*map(str, cells)],
        malformed=[(n, "is no record", [str(each)]) for n, each in enumerate(listed, 1) if not isinstance(each, dict)],
        reading=reading,
    )


def _read_xml(path: str, data: bytes, reading: Reading) -> Part:
    """Read XML: elements at a path below the root are rows, and their attributes are cells.

    So is the text of what is within them, in a column ``outer.inner``. A row stands on the line that it begins on;
    where several do on one line, each has its number among all.
    """
    _require_no_lines(path, "XML", reading)
    wanted = reading.records.split(".") if reading.records else []
    if not wanted:
        raise LedgerError(f"{path}: records: say which elements are rows, by their path below the root: outer.inner")
    open_ones, rows, line, known = list[str](), list[dict[str, str]](), list[int](), False

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal known
        open_ones.append(name)
        known |= open_ones[1:] == wanted[:-1]
        within = open_ones[1 + len(wanted) :]
        if open_ones[1 : 1 + len(wanted)] != wanted:
            return
        if not within:
            rows.append({})
            line.append(parser.CurrentLineNumber)
        for key, value in attributes.items():
            add(".".join([*within, key]), value)

    def text(content: str) -> None:
        within = open_ones[1 + len(wanted) :]
        if within and open_ones[1 : 1 + len(wanted)] == wanted and content.strip():
            add(".".join(within), content.strip())

    def add(column: str, value: str) -> None:
        if column in rows[-1]:
            raise LedgerError(f"{path}: line {parser.CurrentLineNumber}: {column} stands twice in one record")
        rows[-1][column] = value

    def refuse(*_: Any) -> None:
        raise LedgerError(f"{path}: declares a document type, which is not read; export it without")

    parser = expat.ParserCreate(None if reading.encoding == PLAIN.encoding else reading.encoding)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, lambda _: open_ones.pop()
    parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise LedgerError(f"{path}: is not XML ({error}); fetch or export it again") from None
    if not known:
        raise LedgerError(f"{path}: records: there is no {reading.records!r} below its root; correct the path")
    cells = record_batch(rows).to_pandas() if rows else _no_cells(reading)
    number = line if len({*line}) == len(line) else [*range(1, len(line) + 1)]
    return Part(
        name=path, cells=cells, line=np.array(number, dtype=np.intp), header=[*map(str, cells)], reading=reading
    )


def _no_cells(reading: Reading) -> pd.DataFrame:
    """No rows, with the columns that the source names: a file of records has none of them where it has no record."""
    named = [name.removeprefix("-") for names in reading.columns.values() for name in names]
    return pd.DataFrame(columns=[*dict.fromkeys([*named, *sorted(reading.looked_at)])], dtype="str")


def _require_no_lines(path: str, what: str, reading: Reading) -> None:
    if reading.skip_lines or reading.skip_to or reading.footer or reading.stop_at or reading.section:
        raise LedgerError(
            f"{path}: {what} has no lines to skip; leave skip_lines, skip_to, footer, stop_at and section out"
        )


def _loaded(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


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


_READERS = {".csv": _read_csv, ".parquet": _read_parquet, ".json": _read_json, ".jsonl": _read_json, ".xml": _read_xml}
