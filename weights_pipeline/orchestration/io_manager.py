"""The Dagster IO manager of any store.

Scope: the translation between Dagster's contexts and the store: which table, which partitions, which of them must
exist. Not here: what a frame has to look like (``tables.contract``), and how it is kept (``store``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd
from dagster import (
    DagsterInstance,
    InputContext,
    IOManager,
    MetadataValue,
    OutputContext,
)

from weights_pipeline.orchestration.partitions import BACK, PRECEDING, require_partitions
from weights_pipeline.store.base import Store
from weights_pipeline.store.duckdb_store import quoted
from weights_pipeline.tables.catalog import TABLES
from weights_pipeline.tables.contract import PartitionRecord, Window
from weights_pipeline.tables.definition import PARTITION_COLUMN, Table
from weights_pipeline.tables.errors import MissingPartitionError
from weights_pipeline.text import markdown

_NAMES_SHOWN = 6
_ROWS_SHOWN = 20


class StoreIOManager(IOManager):
    """Keeps every asset as a table of a store: pandas frames against explicit definitions, by name, with gates.

    The schema of an asset's table is the part of its key before the last, the table the last part.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def handle_output(self, context: OutputContext, obj: object) -> None:
        """Write the run's partitions of one table, or refuse them as a whole."""
        schema, table = _table(context)
        if not isinstance(obj, pd.DataFrame):
            raise TypeError(f"{schema}.{table.name}: expected a pandas frame to store, got {type(obj).__name__}")
        windows = _output_windows(context)
        records = self._store.write(
            schema,
            table,
            obj,
            windows,
            run_id=context.run_id,
            recorded_at=run_instant(context.step_context.instance, context.run_id),
        )
        context.log.info(
            f"wrote {sum(r.rows for r in records)} rows of {schema}.{table.name} in "
            f"{len(records)} partitions ({records[0].key}..{records[-1].key})"
        )
        # What is added here is attached to every partition of the run alike; figures of each partition are the
        # asset's to add.
        figures = {} if windows else table_figures(obj)
        # Where the store is differs between machines and is no part of a table's name.
        name = {"dagster/table_name": f"{schema}.{table.name}", "Query": _query(schema, table, windows)}
        context.add_output_metadata(figures | name)

    def load_input(self, context: InputContext) -> pd.DataFrame:
        """Load the partitions an asset depends on.

        Raises
        ------
        MissingPartitionError
            One of them was never written, or was last written before the sessions needed of it were over.
        """
        schema, table = _table(context)
        if not context.has_asset_partitions:
            return self._store.read(schema, table)
        needed, last = _needed(context)
        with self._store.view():
            records = self._store.partitions(schema, table.name)
            _require(context, f"{schema}.{table.name}", needed, last, records)
            return self._store.read(schema, table, [window.key for window in needed])


def table_figures(frame: pd.DataFrame) -> dict[str, Any]:
    """Row count and a preview of rows."""
    preview = markdown_table(frame.tail(_ROWS_SHOWN)) if len(frame) else "no rows"
    return {"dagster/row_count": len(frame), "preview": MetadataValue.md(preview)}


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table that shows its texts as they are, whatever they hold; nulls are empty."""
    texts = [name for name in frame if frame[name].dtype.kind not in "biufM"]
    dates = [name for name in frame if frame[name].dtype.kind == "M" and _are_days(frame[name])]
    shown = frame.assign(
        **{str(name): ["" if pd.isna(value) else markdown(value) for value in frame[name]] for name in texts}
    ).assign(**{str(name): frame[name].dt.strftime("%Y-%m-%d").fillna("") for name in dates})
    # A strategy that is called 1e5 is not the number.
    return str(shown.to_markdown(index=False, disable_numparse=[frame.columns.get_loc(name) for name in texts]))


def _are_days(times: pd.Series) -> bool:
    known = times.dropna()
    return bool((known == known.dt.normalize()).all())


@lru_cache(maxsize=64)
def run_instant(instance: DagsterInstance, run_id: str) -> dt.datetime:
    """Instant the run was created: the only "now" that assets and the store know."""
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise LookupError(f"run {run_id} is unknown to the instance")
    return record.create_timestamp


def _table(context: InputContext | OutputContext) -> tuple[str, Table]:
    """Schema and definition of the table that an asset is kept in."""
    *_, schema, name = context.asset_key.path
    return schema, TABLES[name]


def _query(schema: str, table: Table, windows: Sequence[Window]) -> str:
    """SQL that shows the written rows, for a person to paste."""
    query = f"SELECT * FROM {quoted(schema)}.{quoted(table.name)}"  # noqa: S608 - for show
    if windows:
        first, after = windows[0].start, windows[-1].end
        query += f" WHERE {PARTITION_COLUMN} >= '{first:%Y-%m-%d}' AND {PARTITION_COLUMN} < '{after:%Y-%m-%d}'"
    return query


def _output_windows(context: OutputContext) -> list[Window]:
    if not context.has_asset_partitions:
        return []
    own = require_partitions(context.asset_partitions_def).periods
    return [own.window(key) for key in context.asset_partition_keys]


def _needed(context: InputContext) -> tuple[list[Window], Window]:
    """Partitions that an input is made of, and the last one of the run."""
    step, reads = context.step_context, context.definition_metadata or {}
    upstream = require_partitions(context.asset_partitions_def)
    own = require_partitions(step.run_partitions_def).periods
    first, last = own.window(step.partition_key_range.start), own.window(step.partition_key_range.end)
    # Nothing that begins after the run's own partitions have ended.
    end = first.start if reads.get(PRECEDING) else last.end
    begun = [window for window in upstream.existing(run_instant(step.instance, step.run_id)) if window.start < end]
    if (back := reads.get(BACK, 0)) == "all":
        return begun, last
    before = sum(window.end <= first.start for window in begun)
    return begun[max(0, before - back) :], last


def _require(
    context: InputContext,
    table: str,
    needed: Sequence[Window],
    last: Window,
    records: Mapping[str, PartitionRecord],
) -> None:
    """Refuse to compute on a gap, or on a month that was read before the sessions needed of it were over."""
    name = context.asset_key.to_user_string()
    missing = [window.key for window in needed if window.key not in records]
    if missing:
        raise MissingPartitionError(
            f"{name}: partition{'s' if len(missing) > 1 else ''} {_listed(missing)} missing from {table}. "
            f"They come before or with the partition being computed; materialise {name} "
            f"from {missing[0]} on, then run this again. Nothing was written."
        )
    now = run_instant(context.step_context.instance, context.step_context.run_id)
    # Of a month that goes on after the run's own partitions have ended, only what came before them counts.
    read_too_early = [
        window.key
        for window in needed
        if records[window.key].recorded_at.replace(tzinfo=dt.UTC) < min(last.settled, window.settled) <= now
    ]
    if read_too_early:
        raise MissingPartitionError(
            f"{name}: partition{'s' if len(read_too_early) > 1 else ''} {_listed(read_too_early)} was written before "
            f"the sessions needed of it were over and may lack rows. Materialise {name} for it again, then run this "
            f"again."
        )


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:_NAMES_SHOWN])
    return shown if len(keys) <= _NAMES_SHOWN else f"{shown} … ({len(keys)} in all)"
