"""Whether a store still holds what was written: rows against the hashes in the manifest.

Scope: the comparison. Not here: what a content's hash covers (``tables.contract``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from weights_pipeline.core import shards
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import arrow_schema, content_hashes, is_content, partition_slices
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table


class Compared(NamedTuple):
    """A table, compared with what was recorded when it was written.

    Attributes
    ----------
    altered
        Keys of the partitions that differ, ordered (``""`` for an unpartitioned table); also of rows that no record
        names.
    seal
        Identifies rows and records of all partitions up to the last one; empty where something differs.
    """

    altered: list[str]
    seal: str


def compared(store: Reader, schema: str, table: Table, seal: str = "") -> Compared:
    """Compare the rows of a table with the row count and SHA-256 recorded for each partition.

    Parameters
    ----------
    store, schema, table
        Which table; one that was never written holds what was written.
    seal
        Of an earlier comparison. All rows are read either way, a part at a time where they are many; those of
        partitions that are the same to the last bit, records included, are not compared one by one again.

    Raises
    ------
    weights_pipeline.tables.errors.DamagedError
        The store noticed by itself, and gives out no rows.
    """
    with store.view():
        rows = _Rows(store, schema, table)
        through = seal.partition(":")[0]
        known = bool(seal) and seal == rows.seal(through)
        left = [key for key in rows.keys if key > through] if known else rows.keys
        if known and not left:
            return Compared([], seal)
        altered = [key for keys, stored in rows.of(left) for key in _altered(stored, rows, keys)]
        return Compared(altered, rows.seal(rows.keys[-1]) if rows.keys and not altered else "")


def _altered(stored: pa.Table, rows: _Rows, keys: Sequence[str]) -> list[str]:
    """Keys of partitions, among rows in stored form, that are not what was recorded."""
    table, records = rows.table, rows.records
    return [
        key
        for key, (count, content) in content_hashes(stored, table, keys).items()
        if key not in records
        or count != records[key].rows
        # All at once cost least; of one that differs, columns may have been added since.
        or (
            content != (said := records[key].content_hash)
            and not is_content(partition_slices(stored, table, [key])[key], said)
        )
    ]


class _Rows:
    """Rows of a table in stored form, all at once or as many partitions at a time as fit into memory.

    Attributes
    ----------
    table, records
        Its definition, and what was recorded.
    keys
        Of all partitions that there are or should be, ordered.
    """

    def __init__(self, store: Reader, schema: str, table: Table) -> None:
        self.table, self.records = table, store.partitions(schema, table.name)
        self._read = partial(store.read, schema, replace(table, earlier=None))
        few = table.time_column is None or sum(record.rows for record in self.records.values()) <= shards.AT_ONCE
        self._whole = self._stored() if few else None
        if self._whole is None:
            # Of partitions that nothing is recorded of, nobody knows but their rows.
            self.keys = self._keys(self._read(columns=[PARTITION_COLUMN])[PARTITION_COLUMN].unique())
        elif table.time_column is None:
            self.keys = [""] if self.records or self._whole.num_rows else []
        else:
            self.keys = self._keys(self._whole.column(PARTITION_COLUMN).unique().to_pylist())

    def _keys(self, present: Iterable[str]) -> list[str]:
        return sorted({*self.records, *present})

    def _stored(self, keys: Sequence[str] | None = None) -> pa.Table:
        form = arrow_schema(self.table)
        rows = pa.Table.from_pandas(self._read(keys, columns=form.names), schema=form, preserve_index=False)
        if self.table.time_column is None:
            return rows
        return rows.sort_by([(name, "ascending") for name in (PARTITION_COLUMN, *self.table.key)])

    def of(self, keys: Sequence[str]) -> Iterator[tuple[Sequence[str], pa.Table]]:
        """Partitions, and rows that theirs are among."""
        if self._whole is not None:
            yield from [(keys, self._whole)] if keys else []
            return
        counts = ((key, self.records[key].rows if key in self.records else 0) for key in keys)
        for group in shards.few_at_a_time(counts, shards.AT_ONCE):
            yield group, self._stored(group)

    def seal(self, through: str) -> str:
        """Last partition key, and SHA-256 of all rows and records up to it."""
        content = hashlib.sha256()
        for key in sorted(self.records):
            if key <= through:
                record = self.records[key]
                content.update(f"{key} {record.rows} {record.content_hash}\n".encode())
        for _, stored in self.of([key for key in self.keys if key <= through]):
            count = stored.num_rows
            if self.table.time_column is not None:
                partition = stored.column(PARTITION_COLUMN).to_numpy(zero_copy_only=False)
                count = int(np.searchsorted(partition, through, side="right"))
            if count < stored.num_rows:
                # Bits that pack several rows into a byte would tell of the rows that are left out.
                stored = stored.take(np.arange(count))
            rows = pa.BufferOutputStream()
            with pyarrow.ipc.new_stream(rows, stored.schema) as stream:
                stream.write_table(stored.combine_chunks())
            content.update(rows.getvalue())
        return f"{through}:{content.hexdigest()}"


def altered_tables(
    store: Reader,
    schema: str,
    before: Callable[[str], str] = lambda name: "",
    passed: Callable[[str, str], None] = lambda name, seal: None,
    among: Collection[Table] = (),
) -> tuple[pd.DataFrame, int]:
    """Altered partitions of tables of a schema, and how many tables there are.

    Parameters
    ----------
    store, schema
        Where to look.
    before, passed
        Seal of an earlier comparison by ``SCHEMA/TABLE``, and what takes the new one; see :func:`compared`.
    among
        Which tables; every one of the schema when left out.

    Returns
    -------
    DataFrame
        Columns table and partition; empty when all holds what was written.
    int
        Tables compared.
    """
    asked = {table.name for table in among} or catalog.TABLES.keys()
    names = [name for owner, name in store.tables() if owner == schema and name in asked]
    altered = []
    for name in names:
        found = compared(store, schema, catalog.TABLES[name], before(place := f"{schema}/{name}"))
        altered += [(name, key) for key in found.altered]
        if found.seal:
            passed(place, found.seal)
    return pd.DataFrame(altered, columns=["table", "partition"]), len(names)
