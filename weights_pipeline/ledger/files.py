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
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
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
from weights_pipeline.ledger.json_records import NotPlainError, lined, listed
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
    path, suffix = file.path, PurePosixPath(file.path).suffix.lower()
    if suffix not in {**_READERS, **_OF_RECORDS}:
        raise LedgerError(f"{path}: expected a file named {', '.join([*_READERS, *_OF_RECORDS])}")
    if suffix in _OF_RECORDS:
        _require_no_lines(path, suffix, reading)
        coming = _Coming(file)
        part = _OF_RECORDS[suffix](coming, reading)
        return replace(part, version=file.version or coming.hash.hexdigest())
    if reading.records:
        raise LedgerError(
            f"{path}: records: is a path within JSON or XML; leave it out, or name the file .json or .xml"
        )
    data = _whole(file)
    return replace(_READERS[suffix](path, data, reading), version=file.version or hashlib.sha256(data).hexdigest())


_MARK = len(codecs.BOM_UTF8)
_BLANK = re.compile(rb"(?:\xef\xbb\xbf)?\s*")


def _whole(file: File) -> bytes:
    data = file.read()
    if _BLANK.fullmatch(data):
        raise _empty(file.path)
    return data


def _empty(path: str) -> LedgerError:
    return LedgerError(f"{path}: is empty; expected at least a header, or leave the file out")


class _Coming:
    """Bytes of a file piece by piece, as often as they are asked for, and the hash of those that came last."""

    def __init__(self, file: File) -> None:
        self.file, self.path, self.hash = file, file.path, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        self.hash, begun, blank = hashlib.sha256(), b"", True
        for piece in self.file.pieces():
            self.hash.update(piece)
            if blank:
                begun = begun[:_MARK] + piece
                blank = len(begun) < _MARK or _BLANK.fullmatch(begun) is not None
            yield piece
        if blank and _BLANK.fullmatch(begun):
            raise _empty(self.path)

    def texts(self, encoding: str) -> Iterator[str]:
        """The same as text; what :func:`_decoded` would refuse is a ValueError."""
        decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == PLAIN.encoding else encoding)()
        begun = False
        for number, piece in enumerate(self):
            text = decoder.decode(piece)
            if (not number and piece.startswith(b"PAR1")) or "\0" in text:
                raise NotPlainError
            if text and not begun:
                text, begun = text.removeprefix("\ufeff"), True
            yield text
        yield decoder.decode(b"", final=True)


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
    if reading.encoding == PLAIN.encoding and not any(told) and b"\0" not in data:
        if b'"' not in data:
            return _read_unquoted(path, data, 0, reading)
        return _read_quoted(path, _lines(path, data), len(data), 0, reading)
    lines = io.StringIO(_decoded(path, data, reading.encoding), newline="").readlines()
    above, body, left_out = 0, lines, 0
    if reading.section is not None:
        above, body, left_out = _section(path, lines, reading.section, reading)
    elif any(told):
        above, body, left_out = _without(path, lines, reading)
    text = "".join(body)
    part = (
        _read_quoted(path, iter(body), len(text), above, reading)
        if '"' in text
        else _read_unquoted(path, text.encode(), above, reading)
    )
    return replace(part, left_out=left_out)


def _lines(path: str, data: bytes) -> Iterator[str]:
    """Lines of a text in UTF-8, each with its end; that it is one is found out before the first."""
    decoder = codecs.getincrementaldecoder(PLAIN.encoding)()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data))
    except UnicodeDecodeError:
        _decoded(path, data, PLAIN.encoding)
    if data.startswith(b"PAR1"):
        _decoded(path, data, PLAIN.encoding)
    lines = iter(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""))
    return chain((line.removeprefix("\ufeff") for line in islice(lines, 1)), lines)


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

    Memory does not grow with the rows.
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

    cells = _gathered(rows(), names, len(data))
    return Part(name=path, cells=cells, line=np.concatenate(line), header=names, malformed=malformed, reading=reading)


def _gathered(rows: Iterator[pa.RecordBatch], names: Sequence[str], size: int) -> pd.DataFrame:
    """Rows of a file of so many bytes; of one that is longer than a piece they wait in a temporary file."""
    empty = pa.schema([(name, TEXT) for name in names]).empty_table()
    if size <= _PIECE:
        cells: pd.DataFrame = pa.Table.from_batches(rows, empty.schema).to_pandas()
        return cells
    with TemporaryDirectory(prefix="weights-rows-") as folder:
        table = pa.concat_tables([empty, spooled(rows, Path(folder), "read")], promote_options="default")
        cells = table.to_pandas()
    return cells  # noqa: RET504 - pandas has no types for it


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


def _read_quoted(path: str, lines: Iterator[str], size: int, above: int, reading: Reading) -> Part:
    """Read CSV whose cells may be quoted and then hold line breaks; of so many bytes, some more or less."""
    records = _csv_records(lines, reading.delimiter)
    _, fields, problem = next(records)
    if problem:
        raise LedgerError(f"{path}: line {above + 1}: the header is not CSV: {problem}")
    names = _header(path, fields, above)
    line, malformed = [np.empty(0, np.intp)], list[tuple[int, str, list[str]]]()

    def whole() -> Iterator[tuple[int, list[str]]]:
        for number, fields, problem in records:
            if problem or len(fields) not in (0, len(names)):
                malformed.append((number + above, problem or _miscounted(names, len(fields)), fields))
            elif fields:
                yield number + above, fields

    def rows() -> Iterator[pa.RecordBatch]:
        found = whole()
        while page := list(islice(found, PAGE)):
            line.append(np.array([number for number, _ in page], dtype=np.intp))
            columns = zip(*(fields for _, fields in page), strict=True)
            yield pa.RecordBatch.from_arrays([pa.array(column, TEXT) for column in columns], names=names)

    cells = _gathered(rows(), names, size)
    return Part(name=path, cells=cells, line=np.concatenate(line), header=names, malformed=malformed, reading=reading)


def _header(path: str, fields: list[str], above: int) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        raise LedgerError(f"{path}: line {above + 1} is blank; expected the header there, or set skip_lines")
    _require_unique(path, names)
    return names


def _miscounted(names: list[str], found: int) -> str:
    return f"expected {len(names)} fields, found {found}"


def _csv_records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield the records: the line each starts on, its fields, and what is wrong with its quotes.

    After broken quotes reading goes on with the very next line, so that a quote which is never closed
    costs its own line and not those after it. Two stray quotes close each other: where a line within a cell has as many
    fields as the header, the cell has swallowed rows.
    """
    waiting, taken, start, width = deque[str](), list[str](), 0, 0

    def feed() -> Iterator[str]:
        while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
            taken.append(line)
            yield line

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while (following := waiting.popleft() if waiting else next(lines, None)) is not None:
        waiting.appendleft(following)
        taken.clear()
        try:
            fields = next(reader)
            if width > 1 and any(line.count(delimiter) >= width - 1 for line in taken[1:]):
                raise csv.Error("a cell goes on over lines that are rows")
        except csv.Error as error:
            waiting.extendleft(reversed(taken[1:]))
            reader = csv.reader(feed(), delimiter=delimiter, strict=True)
            yield start + 1, [taken[0].rstrip("\r\n")], f"quotes: {error}"
            start += 1
        else:
            width = width or len(fields)
            yield start + 1, fields, ""
            start += len(taken)


def _read_json(coming: _Coming, reading: Reading) -> Part:
    """Read JSON: a list of records, an object of them, or, in a file named .jsonl, one a line.

    Numbers stay as they are written. What is nested in a record is a column ``outer.inner``. A list is read as it
    comes; anything else as a whole, also to say what is wrong with it.
    """
    lines = coming.path.lower().endswith(".jsonl")
    malformed = list[tuple[int, str, list[str]]]()

    def records(elements: Iterable[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, each in enumerate(elements, 1):
            if isinstance(each, dict):
                yield number, each
            else:
                malformed.append((number, "is no record", [str(each)]))

    try:
        if lines and reading.records:
            raise NotPlainError
        texts = coming.texts(reading.encoding)
        found = lined(texts) if lines else listed(texts, [*filter(None, reading.records.split("."))])
        cells, line = _of_records(records(found), reading)
    except (ValueError, RecursionError) as error:
        if isinstance(error, LedgerError):
            raise
        malformed.clear()
        cells, line = _of_records(records(_json_whole(coming, reading, lines=lines)), reading)
    return Part(
        name=coming.path, cells=cells, line=line, header=[*map(str, cells)], malformed=malformed, reading=reading
    )


def _json_whole(coming: _Coming, reading: Reading, *, lines: bool) -> list[Any]:
    """Records of a file that is read as a whole, or what is wrong with it."""
    path, text = coming.path, _decoded(coming.path, b"".join(coming), reading.encoding)
    try:
        content: Any = [_loaded(line) for line in text.splitlines() if line.strip()] if lines else _loaded(text)
        for key in filter(None, reading.records.split(".")):
            content = content[int(key)] if isinstance(content, list) else content[key]
    except (KeyError, IndexError, TypeError):
        raise LedgerError(f"{path}: records: there is no {reading.records!r} in it; correct the path") from None
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path}: is not JSON ({error}); fetch or export it again") from None
    found = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(found, list) or (isinstance(content, dict) and not all(isinstance(each, dict) for each in found)):
        inside = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise LedgerError(f"{path}: expected a list of records; found {inside}: say with records where the list is")
    return found


def _loaded(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _of_records(records: Iterator[tuple[int, dict[str, Any]]], reading: Reading) -> tuple[pd.DataFrame, Indices]:
    """Cells and numbers of records; more of them than a page wait in a temporary file."""
    line = [np.empty(0, np.intp)]

    def pages() -> Iterator[pa.RecordBatch]:
        nameless, known = 0, ""
        while page := list(islice(records, PAGE)):
            line.append(np.array([number for number, _ in page], dtype=np.intp))
            batch = record_batch(each for _, each in page)
            known = known or next(iter(batch.schema.names), "")
            # Records without a cell are rows all the same.
            nameless += len(page) - batch.num_rows
            if known and nameless:
                yield pa.RecordBatch.from_arrays([pa.nulls(nameless, TEXT)], names=[known])
                nameless = 0
            if batch.num_rows:
                yield batch

    made = pages()
    first = next(made, None)
    if len(line) == 1:
        return _no_cells(reading), line[0]
    if first is None:
        return pd.DataFrame(), np.concatenate(line)
    if len(line) == 2 and len(line[-1]) < PAGE:
        return first.to_pandas(), line[-1]
    with TemporaryDirectory(prefix="weights-rows-") as folder:
        cells = spooled(chain([first], made), Path(folder), "read").to_pandas()
    return cells, np.concatenate(line)


def _read_xml(coming: _Coming, reading: Reading) -> Part:
    """Read XML: elements at a path below the root are rows, and their attributes are cells.

    So is the text of what is within them, in a column ``outer.inner``. A row stands on the line that it begins on;
    where several do on one line, each has its number among all.
    """
    if not reading.records:
        deque(coming, 0)  # that there is none, or that it is empty, comes first
        raise LedgerError(
            f"{coming.path}: records: say which elements are rows, by their path below the root: outer.inner"
        )
    cells, line = _of_records(_elements(coming, reading), reading)
    number = line if (np.diff(line) > 0).all() else np.arange(1, len(line) + 1)
    return Part(name=coming.path, cells=cells, line=number, header=[*map(str, cells)], reading=reading)


def _elements(coming: _Coming, reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of an XML file, and the line that each begins on."""
    path, wanted = coming.path, reading.records.split(".")
    open_ones, rows, texts, known = list[str](), list[tuple[int, dict[str, Any]]](), list[str](), False

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal known
        text()
        open_ones.append(name)
        known |= open_ones[1:] == wanted[:-1]
        within = open_ones[1 + len(wanted) :]
        if open_ones[1 : 1 + len(wanted)] != wanted:
            return
        if not within:
            rows.append((parser.CurrentLineNumber, {}))
        for key, value in attributes.items():
            add(".".join([*within, key]), value)

    def end(name: str) -> None:
        text()
        open_ones.pop()

    def text() -> None:
        """Add the text between two tags, however many pieces it has come in."""
        content = "".join(texts).strip()
        texts.clear()
        within = open_ones[1 + len(wanted) :]
        if content and within and open_ones[1 : 1 + len(wanted)] == wanted:
            add(".".join(within), content)

    def add(column: str, value: str) -> None:
        if column in rows[-1][1]:
            raise LedgerError(f"{path}: line {parser.CurrentLineNumber}: {column} stands twice in one record")
        rows[-1][1][column] = value

    def refuse(*_: Any) -> None:
        raise LedgerError(f"{path}: declares a document type, which is not read; export it without")

    parser = expat.ParserCreate(None if reading.encoding == PLAIN.encoding else reading.encoding)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = texts.append
    pieces = chain(coming, [None])
    for piece in pieces:
        try:
            parser.Parse(piece or b"", piece is None)
        except (expat.ExpatError, LedgerError) as error:
            deque(pieces, 0)  # at its end it is said of a file whether it was written to meanwhile
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"{path}: is not XML ({error}); fetch or export it again") from None
        # The last one may go on with the next piece.
        done = rows[:-1] if piece is not None else rows[:]
        del rows[: len(done)]
        yield from done
    if not known:
        raise LedgerError(f"{path}: records: there is no {reading.records!r} below its root; correct the path")


def _no_cells(reading: Reading) -> pd.DataFrame:
    """No rows, with the columns that the source names: a file of records has none of them where it has no record."""
    named = [name.removeprefix("-") for names in reading.columns.values() for name in names]
    return pd.DataFrame(columns=[*dict.fromkeys([*named, *sorted(reading.looked_at)])], dtype="str")


def _require_no_lines(path: str, suffix: str, reading: Reading) -> None:
    what = "XML" if suffix == ".xml" else "JSON"
    if reading.skip_lines or reading.skip_to or reading.footer or reading.stop_at or reading.section:
        raise LedgerError(
            f"{path}: {what} has no lines to skip; leave skip_lines, skip_to, footer, stop_at and section out"
        )


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


_READERS = {".csv": _read_csv, ".parquet": _read_parquet}
_OF_RECORDS = {".json": _read_json, ".jsonl": _read_json, ".xml": _read_xml}
