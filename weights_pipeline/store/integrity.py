"""Whether a store still holds what was written: rows against the hashes in the manifest.

Scope: the comparison. Not here: what a content's hash covers (``tables.contract``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import PartitionRecord, arrow_schema, content_hashes, is_content, partition_slices
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
        Of an earlier comparison. All rows are read either way; those of partitions that are the same to the last bit,
        records included, are not compared one by one again.

    Raises
    ------
    weights_pipeline.tables.errors.DamagedError
        The store noticed by itself, and gives out no rows.
    """
    form = arrow_schema(table)
    with store.view():
        records = store.partitions(schema, table.name)
        rows = store.read(schema, replace(table, earlier=None), columns=form.names)
    stored = pa.Table.from_pandas(rows, schema=form, preserve_index=False)
    if table.time_column is None:
        keys = [""] if len(rows) or records else []
    else:
        stored = stored.sort_by([(name, "ascending") for name in (PARTITION_COLUMN, *table.key)])
        keys = sorted({*records, *rows[PARTITION_COLUMN].unique()})
    through = seal.partition(":")[0]
    known = bool(seal) and seal == _seal(stored, records, through, table)
    left = [key for key in keys if key > through] if known else keys
    if known and not left:
        return Compared([], seal)
    altered = [
        key
        for key, (count, content) in (content_hashes(stored, table, left) if left else {}).items()
        if key not in records
        or count != records[key].rows
        # All at once cost least; of one that differs, columns may have been added since.
        or (content != (said := records[key].content_hash) and not is_content(_part(stored, table, key), said))
    ]
    return Compared(altered, _seal(stored, records, keys[-1], table) if keys and not altered else "")


def _part(stored: pa.Table, table: Table, key: str) -> pa.Table:
    return partition_slices(stored, table, [key])[key]


def altered_tables(
    store: Reader,
    schema: str,
    before: Callable[[str], str] = lambda name: "",
    passed: Callable[[str, str], None] = lambda name, seal: None,
) -> tuple[pd.DataFrame, int]:
    """Altered partitions of every table of a schema, and how many tables there are.

    Parameters
    ----------
    store, schema
        Where to look.
    before, passed
        Seal of an earlier comparison by ``SCHEMA/TABLE``, and what takes the new one; see :func:`compared`.

    Returns
    -------
    DataFrame
        Columns table and partition; empty when all holds what was written.
    int
        Tables compared.
    """
    names = [name for owner, name in store.tables() if owner == schema and name in catalog.TABLES]
    altered = []
    for name in names:
        found = compared(store, schema, catalog.TABLES[name], before(place := f"{schema}/{name}"))
        altered += [(name, key) for key in found.altered]
        if found.seal:
            passed(place, found.seal)
    return pd.DataFrame(altered, columns=["table", "partition"]), len(names)


def _seal(stored: pa.Table, records: Mapping[str, PartitionRecord], through: str, table: Table) -> str:
    """Last partition key, and SHA-256 of all rows and records up to it."""
    count = stored.num_rows
    if table.time_column is not None:
        partition = stored.column(PARTITION_COLUMN).to_numpy(zero_copy_only=False)
        count = int(np.searchsorted(partition, through, side="right"))
    content = hashlib.sha256()
    for key in sorted(records):
        if key <= through:
            content.update(f"{key} {records[key].rows} {records[key].content_hash}\n".encode())
    rows = pa.BufferOutputStream()
    with pyarrow.ipc.new_stream(rows, stored.schema) as stream:
        stream.write_table(stored.slice(0, count).combine_chunks())
    content.update(rows.getvalue())
    return f"{through}:{content.hexdigest()}"
