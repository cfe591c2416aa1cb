"""A store as a run sees it: what it holds and, in its place, what the run has computed.

Scope: rows that are about to be written, among those that are stored. Not here: computing and writing them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.store.base import Reader
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.tables.contract import Prepared, to_frame
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table


class Working(ReadOnce):
    """Tables that are read once each, and of which partitions are replaced one after the other."""

    def __init__(self, store: Reader) -> None:
        super().__init__(store)
        self._made: dict[tuple[str, str], tuple[set[str], Prepared]] = {}

    def keep(self, prepared: Prepared) -> None:
        """Take rows in the place of those of the same partitions."""
        place = (prepared.schema, prepared.table.name)
        records = self.partitions(*place)
        self._records[place] = dict(sorted({**records, **{r.key: r for r in prepared.records}}.items()))
        self._read.pop(place, None)
        self._made[place] = ({record.key for record in prepared.records}, prepared)

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of the given partitions, ordered by the table's key."""
        made, prepared = self._made.get((schema, table.name), (set(), None))
        if prepared is not None and self._is_large(schema, table):
            return self._joined(prepared, keys, columns, among or {})
        if prepared is None or keys is None or not set(keys) & made:
            return super().read(schema, table, keys, columns=columns, among=among)
        if set(keys) == made and not among:
            return _ordered(prepared.frame, table)[table.column_names() if columns is None else list(columns)]
        self._whole(schema, table)
        return super().read(schema, table, keys, columns=columns, among=among)

    def _joined(
        self,
        prepared: Prepared,
        keys: Sequence[str] | None,
        columns: Sequence[str] | None,
        among: Mapping[str, Collection[str]],
    ) -> pd.DataFrame:
        """Rows of a table of too many to be kept: those that were made, and the others from where they are stored."""
        schema, table = prepared.schema, prepared.table
        asked = list(self.partitions(schema, table.name) if keys is None else keys)
        names = table.column_names() if columns is None else list(columns)
        read = [*dict.fromkeys([*names, *table.key, *among])]
        own = to_frame(prepared.only(set(asked)).select(read if table.earlier is None else prepared.rows.column_names))
        if table.earlier is not None:
            own = table.earlier(own)[read]
        for name, texts in among.items():
            own = own[own[name].isin(list(texts))]
        made = {record.key for record in prepared.records}
        others = [key for key in asked if key not in made]
        stored = self._store.read(schema, table, others, columns=read, among=among)
        return in_order(pd.concat([stored, own], ignore_index=True), table.key, spent=True)[names]

    def _whole(self, schema: str, table: Table) -> pd.DataFrame:
        place = (schema, table.name)
        if place in self._read or place not in self._made:
            return super()._whole(schema, table)
        made, prepared = self._made[place]
        rows = prepared.frame
        if table.time_column is not None:
            others = super()._whole(schema, table)
            others = others[~others[PARTITION_COLUMN].isin(made)]
            rows = pd.concat([others, rows], ignore_index=True) if len(others) else rows
        self._read[place] = _ordered(rows, table)
        return self._read[place]


def _ordered(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Rows as a store gives them out."""
    return in_order(rows, table.key)
