"""What every store demands of a frame before it writes it, and what it records about the write.

Scope: the rules shared by all stores: columns by name, types, nulls, keys, partition windows, gates, content hashes.
Not here: anything that knows one storage technology.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.ipc

from weights_pipeline.core.returns.columns import ascends, in_order
from weights_pipeline.tables.definition import PARTITION_COLUMN, Column, Table, Type
from weights_pipeline.tables.errors import ContractError, GateError, SchemaMigrationError
from weights_pipeline.tables.errors import StoreError as StoreError

_ARROW = {
    Type.TEXT: pa.string(),
    Type.FLOAT: pa.float64(),
    Type.INTEGER: pa.int64(),
    Type.BOOLEAN: pa.bool_(),
    Type.DATE: pa.date32(),
    Type.TIMESTAMP: pa.timestamp("us"),
}
_SPELLED_TYPES = tuple(f":{kind};".encode() for kind in _ARROW.values())
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class Window:
    """One partition: its key, the half-open span of time [start, end), and the sessions that close within it.

    Attributes
    ----------
    key
        Partition key.
    start, end
        Zone-aware instants.
    first, after
        First session that closes after the start, and first one that closes after the end: a date belongs to the
        window when ``first <= date < after``.
    settled
        When everything that belongs to its sessions has happened: the end of the last session's day at the exchange,
        but no later than the end.
    """

    key: str
    start: dt.datetime
    end: dt.datetime
    first: dt.date
    after: dt.date
    settled: dt.datetime


@dataclass(frozen=True)
class PartitionRecord:
    """What is recorded about one written partition; the key is empty for an unpartitioned table."""

    key: str
    rows: int
    content_hash: str
    run_id: str
    recorded_at: dt.datetime


def arrow_type(kind: str) -> pa.DataType:
    """Arrow type of a column type as its definition spells it."""
    return _ARROW[Type(kind)]


def arrow_schema(table: Table) -> pa.Schema:
    """Arrow schema of the stored columns, the partition column first where the table has partitions."""
    fields = [pa.field(c.name, _ARROW[c.type], nullable=c.nullable) for c in table.columns]
    if table.time_column is not None:
        fields.insert(0, pa.field(PARTITION_COLUMN, pa.string(), nullable=False))
    return pa.schema(fields)


def selection(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    """Arrow schema of the columns that a reader asks for: all of the definition's when None.

    Raises
    ------
    ContractError
        The definition has no such column.
    """
    known = arrow_schema(table)
    names = table.column_names() if columns is None else columns
    if unknown := [name for name in names if name not in known.names]:
        raise ContractError(f"{table.name}: unknown columns {unknown}, expected some of {known.names}")
    return pa.schema([known.field(name) for name in names])


def no_rows(table: Table, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """No rows, with the columns that a reader asks for."""
    return to_frame(selection(table, columns).empty_table())


def migrated_columns(where: str, table: Table, found: Mapping[str, tuple[str, bool]]) -> list[Column]:
    """Nullable columns of a definition that a stored table lacks, or has without nulls: to be added, or loosened.

    Parameters
    ----------
    where
        Schema and table, for the message.
    table
        The definition.
    found
        Type and nullability of each stored column.

    Raises
    ------
    SchemaMigrationError
        Anything else differs; that is for a person to migrate.
    """
    wanted = {*table.column_names(), PARTITION_COLUMN}
    problems = [
        f"column {c.name!r} is {found[c.name][0]}, the definition says {c.type.value}"
        for c in table.columns
        if c.name in found and found[c.name][0] != c.type.value
    ]
    problems += [
        f"column {name!r} is NOT NULL in the store and unknown to the definition"
        for name, (_, nullable) in found.items()
        if name not in wanted and not nullable
    ]
    missing = [c for c in table.columns if c.name not in found]
    problems += [f"column {c.name!r} is missing and not nullable" for c in missing if not c.nullable]
    if (table.time_column is not None) != (PARTITION_COLUMN in found):
        problems.append("it is partitioned in one of the two and not in the other")
    if problems:
        todo = (
            f"Keep a copy of the store, drop table {where} (in S3, delete what is under {where.replace('.', '/')}/), "
            f"and `weights run` from the first month makes it again; no version is lost"
            if table.made_again
            else "It is a record, and nothing can make it again: leave it as it is. Go back to the release that wrote "
            "it, or restore the copy of the store from before it was altered"
        )
        raise SchemaMigrationError(f"{where} needs a migration: {'; '.join(problems)}. Nothing was written. {todo}.")
    return [*missing, *(c for c in table.columns if c.nullable and c.name in found and not found[c.name][1])]


def prepare(frame: pd.DataFrame, table: Table, windows: Sequence[Window]) -> pa.Table:
    """Validate a frame and bring it into stored form.

    Parameters
    ----------
    frame
        Rows with the columns of ``table`` in any order.
    table
        The definition to meet.
    windows
        The partitions being written; empty for an unpartitioned table.

    Returns
    -------
    pyarrow.Table
        Columns in storage order, rows sorted by partition and key.

    Raises
    ------
    ContractError
        Missing, unknown or mistyped columns, nulls in columns that are not nullable, duplicate keys, rows outside
        every window, infinite numbers, or no rows where rows are due. Nothing has been written then.
    GateError
        Rows break the table's hard limit.
    """
    where = table.name if not windows else f"{table.name} [{windows[0].key}..{windows[-1].key}]"
    _check_columns(frame, table, where)
    typed = pd.DataFrame({c.name: _typed(frame[c.name], c, where) for c in table.columns}, copy=False)
    _check_nulls(typed, table, where)
    distinct = ascends(typed, table.key, each_once=True)
    if not distinct and (duplicated := int((repeats := typed.duplicated(list(table.key), keep=False)).sum())):
        raise ContractError(
            f"{where}: {duplicated} rows share their key {table.key}:\n{_excerpt(typed[repeats])}\n"
            f"Each key may occur once; nothing was written."
        )
    if table.time_column is not None:
        typed.insert(0, PARTITION_COLUMN, _assign(typed[table.time_column], table, windows, where))
    _check_empty(typed, table, windows, where)
    if table.gate is not None and len(broken := table.gate(typed)):
        raise GateError(f"{where}: {len(broken)} rows break a hard limit; nothing was written:\n{_excerpt(broken)}")
    order = ([PARTITION_COLUMN] if table.time_column is not None else []) + list(table.key)
    typed = in_order(typed, order)
    stored = pa.Table.from_pandas(typed, schema=arrow_schema(table), preserve_index=False, safe=True)
    # What pandas writes of itself into a schema differs between its versions and would follow the rows around.
    return stored.replace_schema_metadata(None)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows of one table that a store may write: they meet its definition, and are in stored form.

    Attributes
    ----------
    schema, table
        Where to.
    rows
        See :func:`prepare`.
    records
        What is recorded about the write, a partition each.
    """

    schema: str
    table: Table
    rows: pa.Table
    records: Sequence[PartitionRecord]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame, made when it is first asked for."""
        return to_frame(self.rows)

    def contents(self) -> dict[str, pa.Table]:
        """Content of each partition by its key, without a copy; see :func:`partition_slices`."""
        return {key: _said(part, self.table) for key, part in self._parts()}

    def only(self, keys: Collection[str]) -> pa.Table:
        """Rows of some partitions, in stored form, without a copy."""
        return pa.concat_tables([self.rows.slice(0, 0), *(part for key, part in self._parts() if key in keys)])

    def _parts(self) -> Iterator[tuple[str, pa.Table]]:
        begin = 0
        for record in self.records:
            yield record.key, self.rows.slice(begin, record.rows)
            begin += record.rows

    def laid_down(self, folder: Path | None = None) -> Prepared:
        """The same, with its rows in a file that goes with them: they take no memory that nobody else may have.

        Parameters
        ----------
        folder
            Where the file is made, created if need be; where the system has temporary files when left out.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".arrow") as file:
                with pa.ipc.new_file(file, self.rows.schema) as rows:
                    rows.write_table(self.rows)
                file.flush()
                # What is mapped stays for as long as it is, without a name.
                return replace(self, rows=pa.ipc.open_file(pa.memory_map(file.name)).read_all())
        except OSError as error:
            raise StoreError(
                f"{folder or tempfile.gettempdir()}: rows of {self.schema}.{self.table.name} cannot wait there to be "
                f"written: {error}. Nothing was written. Free space on the disk, or run fewer months at a time."
            ) from error

    @classmethod
    def joined(cls, parts: Sequence[Prepared]) -> Prepared:
        """One write of several, of one table and of partitions that follow each other."""
        if len(parts) == 1:
            return parts[0]
        records = [record for part in parts for record in part.records]
        return replace(parts[0], rows=pa.concat_tables([part.rows for part in parts]), records=records)

    @classmethod
    def of(
        cls,
        schema: str,
        table: Table,
        frame: pd.DataFrame,
        windows: Sequence[Window],
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> Prepared:
        """Validate, sort and hash a frame, as :func:`prepare` and :func:`partition_records` do."""
        rows = prepare(frame, table, windows)
        keys = [window.key for window in windows] or [""]
        return cls(schema, table, rows, partition_records(rows, table, keys, run_id, recorded_at))


Span = tuple[int, int]
"""First row of a partition, and the row after its last one."""


def partition_slices(stored: pa.Table, table: Table, keys: Sequence[str]) -> dict[str, pa.Table]:
    """Content of each partition of a table in stored form (key ``""`` for an unpartitioned table), without a copy."""
    spans = _spans(stored, table, keys)
    return {key: _said(stored.slice(first, after - first), table) for key, (first, after) in spans.items()}


def _spans(stored: pa.Table, table: Table, keys: Sequence[str]) -> dict[str, Span]:
    if table.time_column is None:
        return {"": (0, stored.num_rows)}
    partition = stored.column(PARTITION_COLUMN).to_numpy(zero_copy_only=False)
    edges = (np.searchsorted(partition, [key, key + "\0"]) for key in keys)
    return {key: (int(first), int(after)) for key, (first, after) in zip(keys, edges, strict=True)}


def _said(part: pa.Table, table: Table) -> pa.Table:
    """Rows without the columns of a later release that are null throughout."""
    later = [c.name for c in table.columns if c.later and part.column(c.name).null_count == part.num_rows]
    return part.drop_columns(later) if later else part


def content_hashes(stored: pa.Table, table: Table, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Row count and SHA-256 of the content of each partition (key ``""`` for an unpartitioned table).

    The hash covers column names, types and values in storage order and nothing else, so equal content has equal
    hashes whatever the run, the store, the file layout or the size of the range it was written in.
    """
    spans = _spans(stored, table, keys)
    hashes = _hashes(stored, [*spans.values()], later={c.name for c in table.columns if c.later})
    return {key: (after - first, said) for (key, (first, after)), said in zip(spans.items(), hashes, strict=True)}


def partition_records(
    stored: pa.Table, table: Table, keys: Sequence[str], run_id: str, recorded_at: dt.datetime
) -> list[PartitionRecord]:
    """What is recorded about a write of rows in stored form; the zone-aware instant becomes UTC."""
    written_at = recorded_at.astimezone(dt.UTC).replace(tzinfo=None)
    return [
        PartitionRecord(key, rows, content, run_id, written_at)
        for key, (rows, content) in content_hashes(stored, table, keys).items()
    ]


def content_hash(part: pa.Table) -> str:
    """SHA-256 of rows in stored form; see :func:`content_hashes`."""
    (said,) = _hashes(part, [(0, part.num_rows)])
    return said


def _hashes(stored: pa.Table, spans: Sequence[Span], later: Collection[str] = ()) -> list[str]:
    """SHA-256 of the rows of each span, without those columns of a later release that are null throughout it."""
    digests = [hashlib.sha256() for _ in spans]
    for field, column in zip(stored.schema, stored.columns, strict=True):
        nulls, whole = _nulls(column, spans), column.combine_chunks()
        values = _text_bytes(whole, spans, nulls) if pa.types.is_string(field.type) else _number_bytes(whole, spans)
        for digest, (first, after), null, own in zip(digests, spans, nulls, values, strict=True):
            if field.name not in later or null < after - first:
                digest.update(f"{field.name}:{field.type};".encode())
                digest.update(own)
    return [digest.hexdigest() for digest in digests]


def _nulls(column: pa.ChunkedArray, spans: Sequence[Span]) -> list[int]:
    if not column.null_count:
        return [0] * len(spans)
    before = np.concatenate([[0], np.cumsum(column.is_null().to_numpy())])
    return [int(before[after] - before[first]) for first, after in spans]


def _number_bytes(column: pa.Array, spans: Sequence[Span]) -> Iterator[bytes]:
    # Whole numbers beside a null would be made into others.
    whole = None if column.null_count else column.to_numpy(zero_copy_only=False)
    for first, after in spans:
        own = column[first:after].to_numpy(zero_copy_only=False) if whole is None else whole[first:after]
        yield np.ascontiguousarray(own).tobytes()


def _text_bytes(column: pa.Array, spans: Sequence[Span], nulls: Sequence[int]) -> Iterator[bytes]:
    r"""Bytes of a column of texts, which no other column and no other pair of columns has.

    Values are parted by ``\x1f``, a null is ``\x00``, and the next column begins with its name and ``:type;``. Where a
    text holds any of these itself, every value is behind its length instead.
    """
    text = pa.large_string()
    texts = pyarrow.compute.fill_null(column.cast(text), "\x00")
    edges = sorted({0, *chain.from_iterable(spans)})
    # Spans do not overlap, so that each lies between two edges that follow each other.
    lists = pa.ListArray.from_arrays(pa.array(edges, pa.int32()), texts)
    joined = dict(zip(edges, pyarrow.compute.binary_join(lists, pa.scalar("\x1f", text)), strict=False))
    for (first, after), null in zip(spans, nulls, strict=True):
        own: bytes = joined[first].as_buffer().to_pybytes() if after > first else b""
        parted = own.count(b"\x1f") == max(after - first - 1, 0) and own.count(b"\x00") == null
        if parted and b"\x1e" not in own and not any(spelled in own for spelled in _SPELLED_TYPES):
            yield own
        else:
            values = column[first:after].to_pylist()
            yield "".join("\x1e-" if v is None else f"\x1e{len(v)}:{v}" for v in values).encode()


def is_content(part: pa.Table, expected: str) -> bool:
    """Whether rows in stored form are of a content; columns added since they were written are null, and not in it."""
    nulls = [f.name for f, column in zip(part.schema, part.columns, strict=True) if column.null_count == part.num_rows]
    added = [name for name in nulls if part.schema.field(name).nullable]
    return any(
        content_hash(part.drop_columns(list(left_out))) == expected
        for number in range(len(added) + 1)
        for left_out in combinations(added, number)
    )


def to_frame(stored: pa.Table) -> pd.DataFrame:
    """Turn stored form back into a frame: dates and timestamps as datetime64[us], null numbers as NaN."""
    instant = pa.timestamp("us")
    # Arrow changes a column for less than pandas, which copies a block for each.
    typed = [field.with_type(instant) if pa.types.is_temporal(field.type) else field for field in stored.schema]
    frame: pd.DataFrame = stored.cast(pa.schema(typed)).to_pandas()
    return frame


def _check_columns(frame: pd.DataFrame, table: Table, where: str) -> None:
    names = table.column_names()
    missing = [name for name in names if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in names]
    if missing or unknown or frame.columns.has_duplicates:
        raise ContractError(
            f"{where}: columns do not match the table definition: missing {missing}, unknown {unknown}, "
            f"expected exactly {names}"
        )


def _typed(values: pd.Series, column: Column, where: str) -> pd.Series:
    try:
        match column.type:
            case Type.TEXT:
                texts = values.astype("str")
                # A column of texts holds nothing else; one of objects may.
                if values.dtype != texts.dtype and not all(isinstance(v, str) for v in values.dropna()):
                    raise TypeError("expected text")
                return texts
            case Type.FLOAT:
                if values.dtype.kind not in "fiu" and len(values):
                    raise TypeError("expected numbers")
                numbers = values.astype("float64")
                if np.isinf(numbers.to_numpy()).any():
                    raise ValueError("infinite values; a null with a reason was expected")
                return numbers
            case Type.INTEGER:
                if values.dtype.kind not in ("iuf" if column.nullable else "iu") and len(values):
                    raise TypeError("expected whole numbers")
                return values.astype("Int64" if column.nullable else "int64")
            case Type.BOOLEAN:
                if values.dtype.kind != "b" and len(values):
                    raise TypeError("expected true/false")
                return values.astype("bool")
            case Type.DATE:
                dates = values.astype("datetime64[us]")
                if (dates.dropna() != dates.dropna().dt.normalize()).any():
                    raise ValueError("dates with a time of day")
                return dates
            case Type.TIMESTAMP:
                return values.astype("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{where}: column {column.name!r} must be {column.type.value}, got {values.dtype}: {error}"
        ) from error


def _check_nulls(frame: pd.DataFrame, table: Table, where: str) -> None:
    for column in table.columns:
        must = column.name in table.key or not column.nullable
        if must and (nulls := frame[column.name].isna()).any():
            raise ContractError(
                f"{where}: {int(nulls.sum())} nulls in column {column.name!r}, which may not be null:\n"
                f"{_excerpt(frame[nulls])}"
            )


def _assign(dates: pd.Series, table: Table, windows: Sequence[Window], where: str) -> pd.Series:
    """Give each row the key of the window that its session closes in."""
    if not windows:
        raise ContractError(f"{where}: a partitioned table was written without partitions")
    starts = np.array([w.first for w in windows], dtype="datetime64[us]")
    ends = np.array([w.after for w in windows], dtype="datetime64[us]")
    days = dates.to_numpy(dtype="datetime64[us]")
    slot = np.searchsorted(starts, days, side="right") - 1
    outside = (slot < 0) | (days >= ends[slot])
    if outside.any():
        raise ContractError(
            f"{where}: {int(outside.sum())} rows lie outside the partitions being written, by column "
            f"{table.time_column!r}: {sorted({str(d)[:10] for d in days[outside]})[:_ROWS_SHOWN]}"
        )
    keys = np.array([w.key for w in windows], dtype=object)
    return pd.Series(keys[slot], index=dates.index, dtype="str")


def _check_empty(frame: pd.DataFrame, table: Table, windows: Sequence[Window], where: str) -> None:
    if table.may_be_empty:
        return
    if table.time_column is None:
        vacant = [] if len(frame) else [table.name]
    else:
        present = set(frame[PARTITION_COLUMN].unique())
        vacant = [w.key for w in windows if w.key not in present]
    if vacant:
        raise ContractError(
            f"{where}: no rows for {', '.join(vacant[:_ROWS_SHOWN])} ({len(vacant)} in all), where rows are due; "
            f"nothing was written. Check that the inputs cover them."
        )


def _excerpt(frame: pd.DataFrame) -> str:
    return frame.head(_ROWS_SHOWN).to_string(index=False)
