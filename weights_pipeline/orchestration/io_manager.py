"""Tables of the store as inputs: of a notebook, and of assets and checks that others write.

Scope: reading, by Dagster's own means. Not here: writing, which steps do themselves, several
tables at once (``steps``).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.orchestration.resources import StoreResource
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.errors import MissingPartitionError

KEY = "weights_tables"
"""Resource that the tables' assets name as theirs."""


class TablesIOManager(dg.ConfigurableIOManager):
    """Reads tables of the store as data frames; it writes nothing. One partition or a range refuses a gap."""

    store: dg.ResourceDependency[StoreResource]

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """Rows of the partitions asked for, ordered by the table's key.

        All partitions there are, which is what an asset or check without partitions asks for, give all that is stored.

        Raises
        ------
        MissingPartitionError
            One of them, or of a range, was never written; or the table never was.
        """
        schema, name = context.asset_key.path
        table, store = catalog.TABLES[name], self.store.open()
        with store.view():
            if table.time_column is None:
                return _of_history(store.read(schema, table), _asked(context))
            keys = _present(store, schema, name, _asked(context))
            return store.read(schema, table, keys)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuse: what others compute belongs to a store of their own."""
        raise dg.DagsterInvariantViolationError(
            f"{context.asset_key.to_user_string()}: {type(self).__name__} only reads; give this asset an IO manager of "
            f"its own."
        )


def _asked(context: dg.InputContext) -> Sequence[str] | None:
    """Partitions that are asked for by name; None for all there are."""
    if not context.has_asset_partitions:
        return None
    asked = list(context.asset_partition_keys)
    every = context.asset_partitions_def.get_partition_keys()
    return None if len(asked) > 1 and asked == list(every) else asked


def _present(store: Store, schema: str, name: str, asked: Sequence[str] | None) -> Sequence[str]:
    """Keys of the partitions asked for, all of which are stored."""
    stored = store.partitions(schema, name)
    missing = [key for key in asked or () if key not in stored]
    if missing or not stored:
        what = f"partition{'s' if len(missing) > 1 else ''} {', '.join(missing[:6])}" if missing else "every partition"
        raise MissingPartitionError(
            f"{schema}/{name}: {what} missing from {store.location}, which holds "
            + (f"{min(stored)} to {max(stored)}" if stored else "nothing of it")
            + ". Materialise what is missing, or ask for what is there."
        )
    return list(stored) if asked is None else asked


def _of_history(rows: pd.DataFrame, asked: Sequence[str] | None) -> pd.DataFrame:
    """Rows of a table that is kept as a whole; the history of weights says which rebalance each is of."""
    if asked is None or "rebalance" not in rows:
        return rows
    chosen: pd.DataFrame = rows[rows["rebalance"].isin(list(asked))].reset_index(drop=True)
    return chosen
