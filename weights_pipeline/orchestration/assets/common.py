"""What every asset of the chain shares: its spec, and metadata per partition.

Scope: the few lines that would otherwise stand in each asset. Not here: any one asset.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import numpy as np
import pandas as pd

from weights_pipeline.charts import style
from weights_pipeline.ledger import LedgerSource, sessions_past
from weights_pipeline.ledger.periods import window_dates
from weights_pipeline.orchestration.asset_checks import STORE_POOL
from weights_pipeline.orchestration.freshness import book_freshness
from weights_pipeline.orchestration.io_manager import table_figures
from weights_pipeline.orchestration.partitions import SINGLE_RUN, book_partitions, require_partitions
from weights_pipeline.tables.catalog import DERIVED_FROM
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table, Type
from weights_pipeline.workspace import BookSetup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARTED_WHOLE: Final = 12
CHARTED: Final = 6
"""A run of up to so many partitions gets a chart for each, a longer one for so many of its newest: a chart costs a
twentieth of a second and twelve kilobytes in the event log, and a full history has a thousand of them."""

_DAGSTER_TYPES = {
    Type.TEXT: "string",
    Type.FLOAT: "float",
    Type.INTEGER: "int",
    Type.BOOLEAN: "bool",
    Type.DATE: "date",
    Type.TIMESTAMP: "timestamp",
}


def column_schema(table: Table) -> dg.TableSchema:
    """Columns of a table, as the catalogue shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                _DAGSTER_TYPES[c.type],
                c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"key: {', '.join(table.key)}"]),
    )


def book_asset(
    setup: BookSetup,
    table: Table,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    **options: Any,
) -> Callable[[Callable[..., pd.DataFrame]], dg.AssetsDefinition]:
    """Asset of one table of a book: key, group, owner, partitions (the book's unless others are given) and pool."""
    book, source = setup.book, setup.source
    decorate: Callable[[Callable[..., pd.DataFrame]], dg.AssetsDefinition] = dg.asset(
        name=table.name,
        key_prefix=book.name,
        group_name=book.name,
        description=table.description,
        owners=[book.owner],
        kinds={"table", "pandas"},
        tags={"account": book.account},
        partitions_def=partitions_def or book_partitions(book, source),
        backfill_policy=SINGLE_RUN,
        metadata={"dagster/column_schema": column_schema(table)},
        freshness_policy=book_freshness(book, source, table),
        pool=STORE_POOL,
        **options,
    )
    return decorate


def run_windows(context: dg.AssetExecutionContext) -> list[Window]:
    """Windows of the partitions this run computes, in order."""
    own = require_partitions(context.assets_def.partitions_def).periods
    return [own.window(key) for key in context.partition_keys]


def known(frame: pd.DataFrame, windows: Sequence[Window], time_column: str = "session") -> pd.DataFrame:
    """Rows of sessions that had closed by the end of the last window; a month around a week may hold later ones."""
    kept: pd.DataFrame = frame[frame[time_column] < pd.Timestamp(windows[-1].after)].reset_index(drop=True)
    return kept


def sessions_of(source: LedgerSource, windows: Sequence[Window]) -> pd.DatetimeIndex:
    """Trading sessions from the ledger's first month to past the last window."""
    first = pd.Timestamp(f"{source.first_month}-01")
    return sessions_past(source.calendar, first.date(), windows[-1].after - dt.timedelta(days=1))


def per_partition(
    context: dg.AssetExecutionContext,
    frame: pd.DataFrame,
    time_column: str,
    windows: Sequence[Window],
    measure: Callable[[pd.DataFrame], Mapping[str, Any]],
    asset: dg.AssetKey | None = None,
    *,
    chart: Callable[[pd.DataFrame], Figure] | None = None,
    history: Callable[[pd.DataFrame], Figure] | None = None,
) -> pd.DataFrame:
    """Attach figures to each partition's own materialisation, so that they plot over time; returns the frame.

    ``measure`` and ``chart`` see the rows of one partition, ``chart`` of the newest ones alone; ``history`` sees those
    of the whole run, where it is long enough to have one, and its chart goes to the newest partition.
    """
    dates = window_dates(windows)
    slot = dates.left.searchsorted(frame[time_column], side="right") - 1
    order = np.argsort(slot, kind="stable")
    edges = np.searchsorted(slot[order], np.arange(len(windows) + 1))
    charted = windows[-(CHARTED_WHOLE if len(windows) <= CHARTED_WHOLE else CHARTED) :]
    newest = windows[-1]
    for window, (first, last) in zip(windows, pairwise(edges), strict=True):
        rows = frame.iloc[order[first:last]]
        figures: dict[str, Any] = {}
        # Charts first: the page of a partition lists metadata in this order.
        if chart and len(rows) and window in charted:
            figures |= _drawn(context, "chart", window.key, chart, rows)
        if history and len(rows) and window is newest and len(windows) >= CHARTED:
            figures |= _drawn(context, "history", f"{windows[0].key} to {window.key}", history, frame)
        figures["dagster/row_count"] = len(rows)
        # A preview for the newest partition only: a thousand of them would be most of a run's time.
        if window is newest:
            figures |= table_figures(rows) | column_lineage(context, asset)
        if len(rows):
            figures |= measure(rows)
        context.add_asset_metadata(figures, asset_key=asset, partition_key=window.key)
    return frame


def _drawn(
    context: dg.AssetExecutionContext,
    name: str,
    of: str,
    draw: Callable[[pd.DataFrame], Figure],
    rows: pd.DataFrame,
) -> dict[str, Any]:
    """A chart as metadata; a warning in the run's log in its place where it cannot be drawn."""
    try:
        return {name: dg.MetadataValue.md(style.markdown(draw(rows), f"{name} of {of}"))}
    except Exception as error:
        # A chart is for the eye: no weight waits for a font or a cache folder.
        context.log.warning(f"no {name} of {of}: {type(error).__name__}: {error}")
        return {}


def total(weights: pd.Series) -> float:
    """Sum of weights to twelve digits: a plot of the last ones would show the order of addition."""
    return round(float(weights.sum()), 12)


def column_lineage(context: dg.AssetExecutionContext, asset: dg.AssetKey | None = None) -> dict[str, Any]:
    """Which columns of the assets it depends on the columns of an asset follow from."""
    key = asset or context.asset_key
    upstream = {parent.path[-1]: parent for parent in context.assets_def.asset_deps[key]}
    lineage = {
        column: [dg.TableColumnDep(upstream[table], name) for table, name in sources if table in upstream]
        for column, sources in DERIVED_FROM.get(key.path[-1], {}).items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {}
