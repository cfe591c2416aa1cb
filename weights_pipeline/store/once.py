"""A store of which every table is read once: what many questions in a row share.

Scope: keeping what was read for as long as the object lives. Not here: how rows are kept, nor which of them count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import pandas as pd

from weights_pipeline.core import shards
from weights_pipeline.store.base import Reader
from weights_pipeline.tables.contract import PartitionRecord
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table


class ReadOnce:
    """A store as it is while one view of it is open; see :class:`~weights_pipeline.store.base.Reader`.

    Whole tables are kept, with their partition column, and handed out column by column; single partitions of a table
    that is not in memory yet are read by themselves, and so is whatever is asked of a table of too many rows to be
    kept. Whoever reads must not change the frames.
    """

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._read: dict[tuple[str, str], pd.DataFrame] = {}
        self._records: dict[tuple[str, str], dict[str, PartitionRecord]] = {}

    @property
    def location(self) -> str:
        """Where the store is."""
        return self._store.location

    def view(self) -> AbstractContextManager[None]:
        """Let all reads inside see one state."""
        return self._store.view()

    def tables(self) -> list[tuple[str, str]]:
        """Schema and name of every table there is."""
        return self._store.tables()

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of a table, ordered by its key."""
        if (keys is not None and (schema, table.name) not in self._read) or self._is_large(schema, table):
            return self._store.read(schema, table, keys, columns=columns, among=among)
        rows = self._whole(schema, table)
        wanted = ({} if keys is None else {PARTITION_COLUMN: keys}) | dict(among or {})
        for name, texts in wanted.items():
            rows = rows[rows[name].isin(list(texts))].reset_index(drop=True)
        if table.earlier is not None:
            rows = table.earlier(rows)
        return rows[table.column_names() if columns is None else list(columns)]

    def _is_large(self, schema: str, table: Table) -> bool:
        """Whether a table has too many rows to be kept."""
        return sum(record.rows for record in self._recorded(schema, table.name).values()) > shards.AT_ONCE

    def _whole(self, schema: str, table: Table) -> pd.DataFrame:
        """All rows as they are stored, with their partition where the table has any."""
        place = (schema, table.name)
        if place not in self._read:
            partition = [] if table.time_column is None else [PARTITION_COLUMN]
            stored = replace(table, earlier=None)
            self._read[place] = self._store.read(schema, stored, columns=[*partition, *table.column_names()])
        return self._read[place]

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """What was written under each partition key of a table."""
        return self._recorded(schema, table_name)

    def _recorded(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        place = (schema, table_name)
        if place not in self._records:
            self._records[place] = self._store.partitions(schema, table_name)
        return self._records[place]
