"""Some partitions of a table, to be read in parts: what is larger than memory is meant for.

Scope: which rows are read together. Not here: how a store reads them, nor what is made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weights_pipeline.store.base import Reader

if TYPE_CHECKING:
    import pandas as pd

    from weights_pipeline.tables.definition import Table


@dataclass(frozen=True)
class Parts:
    """Partitions of one table, each of which there is.

    Attributes
    ----------
    store, schema, table
        Which table.
    keys
        Of the partitions.
    """

    store: Reader
    schema: str
    table: Table
    keys: Sequence[str]

    def count(self) -> int:
        """How many rows they have; none is read."""
        records = self.store.partitions(self.schema, self.table.name)
        return sum(records[key].rows for key in self.keys)

    def of(
        self,
        strategies: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rows of some strategies, or all, and of some partitions, or all, ordered by the table's key."""
        among = None if strategies is None else {"strategy": strategies}
        chosen = self.keys if keys is None else [key for key in self.keys if key in {*keys}]
        return self.store.read(self.schema, self.table, chosen, columns=columns, among=among)

    def each(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Columns of one partition after the other."""
        for key in self.keys:
            yield self.store.read(self.schema, self.table, [key], columns=columns)
