"""What a report may see of a store: every table read once, and nothing that came later than a day.

Scope: the cut. Not here: what is made of the rows (``facts``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import pandas as pd

from weights_pipeline.checks import Check
from weights_pipeline.core.verify import Finding
from weights_pipeline.store.base import Reader
from weights_pipeline.store.once import ReadOnce
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import PartitionRecord
from weights_pipeline.tables.definition import Table


class SeenStore(ReadOnce):
    """A store as far as it reached on a day; the whole of it where no day is given.

    Weights count from the day on which they come into force, everything else of a book up to the rebalance they are of,
    and sessions up to the day.
    """

    def __init__(self, store: Reader, day: dt.date | None) -> None:
        super().__init__(store)
        self._day = None if day is None else pd.Timestamp(day)

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows that there were on the day, ordered by the table's key."""
        if self._day is None:
            return super().read(schema, table, keys, columns=columns, among=among)
        rows = self._cut(schema, table, super().read(schema, table, keys, among=among))
        return rows if columns is None else rows[list(columns)]

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """What was written under each partition key that had ended by the newest rebalance of the day.

        Of a ledger, which has no rebalances, under those that had begun by the day.
        """
        records = super().partitions(schema, table_name)
        if self._day is None or not records:
            return records
        is_book = (schema, catalog.FINAL_WEIGHTS.name) in self.tables()
        through = self._newest(schema) if is_book else self._day
        return {} if pd.isna(through) else {k: r for k, r in records.items() if k <= f"{through:%Y-%m-%d}"}

    def runs(self, check: Check) -> bool:
        """Whether a check means something: of a past day only where its table has dates and it needs no later rows."""
        return self._day is None or (check.table.time_column is not None and not check.needs_all)

    def outcome(self, check: Check) -> Finding:
        """Finding of a check on these rows; checks do nothing but read."""
        return check.run(self)

    def _cut(self, schema: str, table: Table, rows: pd.DataFrame) -> pd.DataFrame:
        if self._day is None or (table.time_column is None and "effective_from" not in rows):
            return rows
        if "effective_from" in rows:
            kept = rows["effective_from"] <= self._day
        elif table.time_column == "as_of":
            kept = rows["as_of"] <= self._newest(schema)
        else:
            kept = rows[table.time_column] <= self._day
        return rows[kept].reset_index(drop=True)

    def _newest(self, schema: str) -> pd.Timestamp:
        """Last session of the rebalance in force; NaT where none was, which nothing is up to."""
        return cast(pd.Timestamp, self.read(schema, catalog.FINAL_WEIGHTS)["as_of"].max())
