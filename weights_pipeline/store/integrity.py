"""Whether a store still holds what was written: rows against the hashes in the manifest.

Here belongs the comparison. What a content's hash covers is in ``contract``.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import arrow_schema, is_content, partition_slices
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table


def altered_partitions(store: Store, schema: str, table: Table) -> list[str]:
    """Partitions whose rows are not those that were written, by row count and SHA-256 of their content.

    Parameters
    ----------
    store, schema, table
        Which table; one that was never written has none.

    Returns
    -------
    list of str
        Keys, ordered (``""`` for an unpartitioned table); also of rows that no record names.

    Raises
    ------
    weights_pipeline.tables.errors.DamagedError
        The store noticed by itself, and gives out no rows.
    """
    form = arrow_schema(table)
    with store.view():
        records = store.partitions(schema, table.name)
        rows = store.read(schema, table, columns=form.names)
    stored = pa.Table.from_pandas(rows, schema=form, preserve_index=False)
    if table.time_column is None:
        found = {"": stored} if len(rows) or records else {}
    else:
        order = [PARTITION_COLUMN, *table.key]
        keys = sorted({*records, *rows[PARTITION_COLUMN]})
        found = partition_slices(stored.sort_by([(name, "ascending") for name in order]), table, keys)
    return [
        key
        for key, part in found.items()
        if key not in records or part.num_rows != records[key].rows or not is_content(part, records[key].content_hash)
    ]


def altered_tables(store: Store, schema: str) -> tuple[pd.DataFrame, int]:
    """Altered partitions of every table of a schema, and how many tables there are.

    Returns
    -------
    DataFrame
        Columns table and partition; empty when all holds what was written.
    int
        Tables compared.
    """
    names = [name for owner, name in store.tables() if owner == schema and name in catalog.TABLES]
    altered = [(name, key) for name in names for key in altered_partitions(store, schema, catalog.TABLES[name])]
    return pd.DataFrame(altered, columns=["table", "partition"]), len(names)
