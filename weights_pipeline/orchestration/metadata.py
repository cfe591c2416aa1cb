"""What a materialisation says of its rows: figures that plot over time, a preview, charts, columns and lineage.

Scope: turning rows into Dagster's metadata. Not here: which figures and charts (``assets``), nor how a chart is drawn
(``charts``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import numpy as np
import pandas as pd

from weights_pipeline.charts import style
from weights_pipeline.extras import missing
from weights_pipeline.ledger.periods import window_dates
from weights_pipeline.store.duckdb_store import quoted
from weights_pipeline.tables.catalog import DERIVED_FROM
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table, Type
from weights_pipeline.text import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARTED: Final = 1
"""Partitions of a run that get a chart, the newest ones: a chart costs a twentieth of a second and twelve kilobytes in
the event log."""

HISTORY: Final = 6
"""Partitions from which on a run gets a chart of all of them."""

_ROWS_SHOWN = 20
_DAGSTER_TYPES = {
    Type.TEXT: "string",
    Type.FLOAT: "float",
    Type.INTEGER: "int",
    Type.BOOLEAN: "bool",
    Type.DATE: "date",
    Type.TIMESTAMP: "timestamp",
}

_IN_PERCENT = frozenset(
    {
        *("gross", "max_weight", "max_target", "turnover", "distance_to_target", "distance_from_base", "rate"),
        *("drawdown", "volatility_20d"),
    }
)
"""Figures of partitions that are fractions of capital."""

Figures = Callable[[pd.DataFrame], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of rows.

    Attributes
    ----------
    figures
        From the rows of a partition to what plots over time.
    shown
        From the rows of the newest partition to what is looked at there: too large to be kept for each.
    chart
        From the rows of one of the newest partitions to its chart.
    history
        From all rows of a run, where it is long enough to have a history, to their chart.
    """

    figures: Figures = lambda rows: {}
    shown: Figures = lambda rows: {}
    chart: Callable[[pd.DataFrame], Figure] | None = None
    history: Callable[[pd.DataFrame], Figure] | None = None


def per_partition(
    frame: pd.DataFrame, table: Table, windows: Sequence[Window], told: Told, warn: Callable[[str], object]
) -> dict[str, dict[str, Any]]:
    """Metadata of each partition of a run, by its key.

    Parameters
    ----------
    frame
        Rows of all of them.
    table
        The table; its time column says which partition a row is of.
    windows
        The partitions, in order.
    told
        What is said of the rows.
    warn
        Takes what could not be drawn, and why.
    """
    dates = window_dates(windows)
    slot = dates.left.searchsorted(frame[str(table.time_column)], side="right") - 1
    order = np.argsort(slot, kind="stable")
    edges = np.searchsorted(slot[order], np.arange(len(windows) + 1))
    ordered, newest, found = frame.iloc[order], windows[-1], {}
    for window, (first, last) in zip(windows, pairwise(edges), strict=True):
        rows = ordered.iloc[first:last]
        figures: dict[str, Any] = {}
        # Charts first: the page of a partition lists metadata in this order.
        if told.chart and len(rows) and window in windows[-CHARTED:]:
            figures |= _drawn("chart", window.key, told.chart, rows, warn)
        if told.history and len(rows) and window is newest and len(windows) >= HISTORY:
            figures |= _drawn("history", f"{windows[0].key} to {window.key}", told.history, frame, warn)
        figures["dagster/row_count"] = len(rows)
        said = told.figures(rows) if len(rows) else {}
        if window is newest:
            figures |= {**_at_a_glance(said), **table_figures(rows, table), **(told.shown(rows) if len(rows) else {})}
        figures |= said
        found[window.key] = figures
    return found


def _drawn(
    name: str, of: str, draw: Callable[[pd.DataFrame], Figure], rows: pd.DataFrame, warn: Callable[[str], object]
) -> dict[str, Any]:
    """A chart as metadata; what is missing, or a warning, in its place where it cannot be drawn."""
    if said := missing("matplotlib"):
        return {name: f"a chart {said}"}
    try:
        return {name: dg.MetadataValue.md(style.markdown(draw(rows), f"{name} of {of}"))}
    except Exception as error:
        # A chart is for the eye: no weight waits for a font or a cache folder.
        warn(f"no {name} of {of}: {type(error).__name__}: {error}")
        return {}


def table_figures(frame: pd.DataFrame, table: Table) -> dict[str, Any]:
    """Row count, and the last rows as a preview for people; of weights of a rebalance also to the last digit."""
    if frame.empty:
        return {"dagster/row_count": 0, "preview": dg.MetadataValue.md("no rows")}
    rows, percent = frame.tail(_ROWS_SHOWN), {column.name for column in table.columns if column.percent}
    preview = markdown_table(rows, lambda name, value: f"{value:.2%}" if name in percent else f"{value:.4g}")
    figures: dict[str, Any] = {"dagster/row_count": len(frame), "preview": dg.MetadataValue.md(preview)}
    if percent and table.time_column == "as_of":
        figures["exact"] = dg.MetadataValue.md(markdown_table(rows, lambda name, value: repr(value)))
    return figures


def _at_a_glance(figures: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a partition in one line, rounded; each stands below it to the last digit."""
    said = [
        f"{name.replace('_', ' ')} {f'{value:.2%}' if name in _IN_PERCENT else f'{value:.4g}'}"
        for name, value in figures.items()
        if isinstance(value, float)
    ]
    return {"at a glance": ", ".join(said)} if said else {}


def markdown_table(frame: pd.DataFrame, number: Callable[[str, float], str] = lambda name, value: f"{value:g}") -> str:
    """A frame as a Markdown table that shows its texts as they are, whatever they hold; nulls are empty.

    Parameters
    ----------
    frame
        Any rows; columns of numbers are aligned to the right.
    number
        From the name of a column and a number in it, which is no whole one, to how it is read.
    """
    names = [str(name) for name in frame]
    columns = [_read(frame[name], partial(number, str(name))) for name in frame]
    sides = ["--:" if frame[name].dtype.kind in "iuf" else ":--" for name in frame]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, sides, *zip(*columns, strict=True)))


def _read(column: pd.Series, number: Callable[[float], str]) -> list[str]:
    """A column as people read it: its numbers in their form, days that do not wrap, a text as it is."""
    values, kind = column.tolist(), column.dtype.kind
    known = [value for value in values if not pd.isna(value)]
    read: Callable[[Any], str]
    if kind == "f":
        read = number
    elif kind == "M" and all(value == value.normalize() for value in known):
        read = "{:%Y\N{NON-BREAKING HYPHEN}%m\N{NON-BREAKING HYPHEN}%d}".format
    else:
        read = str if kind in "biuM" else markdown
    return ["" if pd.isna(value) else read(value) for value in values]


def written_to(schema: str, table: Table, windows: Sequence[Window]) -> dict[str, Any]:
    """Name of a table, and SQL that shows the written rows, for a person to paste.

    Where the store is differs between machines and is no part of a table's name.
    """
    query = f"SELECT * FROM {quoted(schema)}.{quoted(table.name)}"  # noqa: S608 - for show
    if windows:
        first, after = windows[0].start, windows[-1].end
        query += f" WHERE {PARTITION_COLUMN} >= '{first:%Y-%m-%d}' AND {PARTITION_COLUMN} < '{after:%Y-%m-%d}'"
    return {"dagster/table_name": f"{schema}.{table.name}", "Query": query}


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


def column_lineage(table: Table, upstream: Mapping[str, dg.AssetKey]) -> dict[str, Any]:
    """Which columns of the tables that it is computed from, by name, the columns of a table follow from."""
    lineage = {
        column: [dg.TableColumnDep(upstream[name], source) for name, source in sources if name in upstream]
        for column, sources in DERIVED_FROM.get(table.name, {}).items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {}


def total(weights: pd.Series) -> float:
    """Sum of weights to twelve digits: a plot of the last ones would show the order of addition."""
    return round(float(weights.sum()), 12)
