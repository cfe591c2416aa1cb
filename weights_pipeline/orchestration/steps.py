"""Steps: tables that are computed one after the other, checked as they come, and written together.

Scope: what is the same for all of them, which is reading, order, checks, writing and telling. Not here: what is
computed (``assets``), which partitions an input is made of (``partitions``).

A step of Dagster costs more than the arithmetic of a month, so one computes several tables. It opens the store twice:
once to read, and once to write what was made. A person may still run any of the tables by itself.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import dagster as dg
import pandas as pd

from weights_pipeline.checks import Check, Declaration
from weights_pipeline.core.shards import Over
from weights_pipeline.core.verify import Finding
from weights_pipeline.engine import open_engine
from weights_pipeline.orchestration.asset_checks import as_result, check_spec
from weights_pipeline.orchestration.data_versions import of_partitions, tags_of
from weights_pipeline.orchestration.io_manager import KEY
from weights_pipeline.orchestration.metadata import (
    Told,
    column_lineage,
    column_schema,
    per_partition,
    table_figures,
    written_to,
)
from weights_pipeline.orchestration.partitions import SINGLE_RUN, Input, Partitions
from weights_pipeline.store.base import Reader, Store
from weights_pipeline.store.parts import Parts
from weights_pipeline.store.working import Working
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import PartitionRecord, Prepared, Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.tables.errors import MissingPartitionError
from weights_pipeline.versions.inputs import code_version

_NAMES_SHOWN: Final = 6


class Computed(NamedTuple):
    """Rows of a table, and what is said of them."""

    rows: pd.DataFrame
    told: Told = Told()


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A check that is run as soon as its table is made, and ends the step where it blocks."""

    said: Declaration
    find: Callable[["Run"], Finding]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A table that a step makes.

    Attributes
    ----------
    table
        Which.
    compute
        From the run and the inputs, by name, to its rows.
    ins
        Inputs.
    in_parts
        Whether the inputs are given as `Parts`, to be read by ``compute``, and not as their rows.
    after
        Assets that come before it without being an input.
    partitions
        Of the table; None where it has none.
    guards
        Checks of it that come before whatever is made of it.
    kind
        What the asset is shown as, besides a table.
    automation
        When it is made by itself.
    at_a_time
        From the run to those of its partitions that are computed together, in order, where there may be more rows than
        fit into memory: of a table without charts of its history, and whose partitions do not depend on each other.
    aside
        Folder for rows that wait to be written, where they are not all computed together.
    """

    table: Table
    compute: Callable[..., Computed]
    ins: Mapping[str, Input] = field(default_factory=dict)
    in_parts: bool = False
    after: Sequence[dg.AssetKey] = ()
    partitions: Partitions | None = None
    guards: Sequence[Guard] = ()
    kind: str = "pandas"
    automation: dg.AutomationCondition[Any] | None = None
    at_a_time: Callable[["Run"], Iterable[Sequence[Window]]] = lambda run: [run.windows]
    aside: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How the assets of a ledger, book or comparison are shown, and by when they are expected.

    Attributes
    ----------
    schema
        Schema of their tables; first part of their keys, and their group.
    owner, tags
        Of all of them.
    freshness
        When a table is late.
    """

    schema: str
    owner: str
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: Callable[[Table], dg.FreshnessPolicy | None] = lambda table: None

    def spec(self, made: Made) -> dg.AssetSpec:
        """One asset."""
        return dg.AssetSpec(
            [self.schema, made.table.name],
            deps=[*(each.dep for each in made.ins.values()), *made.after],
            description=made.table.description,
            group_name=self.schema,
            owners=[self.owner],
            kinds={"table", made.kind},
            tags=self.tags,
            partitions_def=made.partitions,
            metadata={"dagster/column_schema": column_schema(made.table)},
            freshness_policy=self.freshness(made.table),
            automation_condition=made.automation,
            code_version=code_version(),
        ).with_io_manager_key(KEY)


class Run:
    """A step under way: when and for what it runs, and the tables as it sees them.

    Attributes
    ----------
    context
        Dagster's.
    store
        Tables that are stored, and in their place those that were made so far.
    now
        Instant the run was created: the only "now" that assets and the store know.
    """

    def __init__(self, context: dg.AssetExecutionContext, store: Store) -> None:
        self.context = context
        self.store = Working(store)
        self.now = run_instant(context.instance, context.run.run_id)
        self._once: dict[Callable[[Run], Any], Any] = {}

    @cached_property
    def windows(self) -> list[Window]:
        """Partitions that the run computes, in order; none where it runs checks alone."""
        if not self.context.selected_asset_keys:
            return []
        (periods,) = {
            spec.partitions_def.periods
            for spec in self.context.assets_def.specs
            if isinstance(spec.partitions_def, Partitions)
        }
        return [periods.window(key) for key in self.context.partition_keys]

    def once(self, make: Callable[["Run"], Any]) -> Any:
        """What a function makes, made once for all tables of the step."""
        if make not in self._once:
            self._once[make] = make(self)
        return self._once[make]

    def only(self, windows: Sequence[Window]) -> Self:
        """The same run of some of its partitions alone."""
        part = copy(self)
        part.windows = list(windows)
        return part

    def over(self, engine: str) -> Over:
        """Carries work to shards where an engine is, and logs how far it is."""

        def work(function: Callable[[Any], Any], shards: Iterable[Any]) -> Iterator[Any]:
            with open_engine(engine) as at:
                for done, result in enumerate(at.map(function, shards), start=1):
                    if engine:
                        self.context.log.info(f"{done} shards done at {engine} {at.dashboard}")
                    yield result

        return work

    def load(self, source: Input) -> pd.DataFrame:
        """Rows of an input; see :meth:`parts`."""
        return self.store.read(source.schema, source.table) if source.partitions is None else self.parts(source).of()

    def parts(self, source: Input) -> Parts:
        """An input of a table with partitions, to be read in parts.

        Raises
        ------
        MissingPartitionError
            One of its partitions was never written, or was last written before the sessions needed of it were over.
        """
        needed = source.needed(self.windows, self.now)
        _require(source, needed, self.windows[-1], self.store.partitions(source.schema, source.table.name), self.now)
        return Parts(self.store, source.schema, source.table, [window.key for window in needed])


class _Done(NamedTuple):
    """A table that was made, what is said of it, what its guards found, and the content hashes of before.

    What is said of each partition is by its key; of a table without any, by an empty one.
    """

    made: Made
    prepared: Prepared
    said: Mapping[str, Mapping[str, Any]]
    found: list[tuple[Declaration, Finding]]
    before: Mapping[str, str]

    @property
    def blocks(self) -> bool:
        return any(said.blocking and said.error and not finding.passed for said, finding in self.found)


def table_step(
    name: str, store: Store, shown: Shown, made: Sequence[Made], config: Mapping[str, dg.Field] | None = None
) -> dg.AssetsDefinition:
    """One step that makes tables of a store in the order given, as far as they are selected.

    A table that cannot be computed, or a guard that blocks, ends it; what was made before is written all the same.
    """

    @dg.multi_asset(
        name=name,
        specs=[shown.spec(each) for each in made],
        check_specs=[check_spec(guard.said, shown.schema) for each in made for guard in each.guards],
        config_schema=dict(config or {}),
        backfill_policy=SINGLE_RUN,
        can_subset=True,
        pool=store.queue(shown.schema),
    )
    def step(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult]:
        run, selected = Run(context, store), context.selected_asset_keys
        wanted = [each for each in made if dg.AssetKey([shown.schema, each.table.name]) in selected]
        done, alone, failure = list[_Done](), list[dg.AssetCheckResult](), None
        try:
            with ExitStack() as opened:
                opened.enter_context(run.store.view())
                if selected and (strays := _strays(run.store, shown.schema, made)):
                    opened.close()  # while one process reads, none writes
                    _archive(context, store, shown.schema, strays)
                    run = Run(context, store)
                    opened.enter_context(run.store.view())
                for each in wanted:
                    done.append(_make(run, shown.schema, each))
                    if done[-1].blocks:
                        break
                # A person may also run a check of what is stored.
                others = [each for each in made if each not in wanted]
                alone = [
                    _result(shown.schema, each.table, *told)
                    for each in others
                    for told in _guarded(run, shown.schema, each)
                ]
        except Exception as error:
            failure = error
        if done:
            store.commit([one.prepared for one in done])
        for one in done:
            yield from _told(run, one)
        yield from alone
        if failure is not None:
            raise failure

    return step


def _strays(store: Reader, schema: str, made: Sequence[Made]) -> dict[Table, list[str]]:
    """Keys that are no partitions any more, of all tables that have any."""
    own = {each.table.name: each.partitions.periods for each in made if each.partitions}
    if not own:
        return {}
    stored = [catalog.TABLES[name] for owner, name in _tables(store) if owner == schema and name in catalog.TABLES]
    # Weights that are scaled every day are in months of their own.
    others = [table for table in stored if table.time_column and table is not catalog.DAILY_WEIGHTS]
    periods = {table.name: next(iter(own.values())) for table in others} | own
    found = {
        table: periods[table.name].strays(store.partitions(schema, table.name))
        for table in stored
        if table.name in periods
    }
    return {table: keys for table, keys in found.items() if keys}


def _archive(
    context: dg.AssetExecutionContext, store: Store, schema: str, strays: Mapping[Table, Sequence[str]]
) -> None:
    """Put partitions away that are none any more, of all tables at once: nothing reads two cadences."""
    for table, keys in strays.items():
        store.archive(schema, table, keys)
    context.log.warning(
        f"{schema}: {_listed(sorted(set(chain.from_iterable(strays.values()))))} archived, in "
        f"{len(strays)} tables: they are no partitions any more, and nothing reads them."
    )


def _tables(store: Reader) -> list[tuple[str, str]]:
    """Tables there are; none in a store that does not exist yet."""
    try:
        return store.tables()
    except FileNotFoundError:
        return []


def guards(checks: Sequence[Check], table: Table) -> list[Guard]:
    """Those of some checks that guard a table and block: they are run as soon as it is made."""

    def guard(check: Check) -> Guard:
        return Guard(said=check, find=lambda run: check.run(run.store))

    return [guard(check) for check in checks if check.table is table and check.blocking]


def _make(run: Run, schema: str, made: Made) -> _Done:
    """Compute one table, and run its guards on the store as it will be."""
    given = run.parts if made.in_parts else run.load
    inputs = {name: given(each) for name, each in made.ins.items()}
    groups = list(made.at_a_time(run)) if made.partitions else [()]
    parts, said = list[Prepared](), dict[str, Mapping[str, Any]]()
    for windows in groups:
        rows, told = made.compute(run.only(windows) if windows else run, **inputs)
        part = Prepared.of(schema, made.table, rows, windows, run_id=run.context.run.run_id, recorded_at=run.now)
        parts.append(part if len(groups) == 1 else part.laid_down(made.aside))
        if windows:
            said |= per_partition(rows, made.table, windows, told, run.context.log.warning)
        else:
            said[""] = {**table_figures(rows, made.table), **told.figures(rows)}
    prepared = Prepared.joined(parts)
    before = {key: record.content_hash for key, record in run.store.partitions(schema, made.table.name).items()}
    run.store.keep(prepared)
    return _Done(made, prepared, said, _guarded(run, schema, made), before)


def _guarded(run: Run, schema: str, made: Made) -> list[tuple[Declaration, Finding]]:
    """What those guards of a table find that the run is asked for."""
    key = dg.AssetKey([schema, made.table.name])
    asked = {each.name for each in run.context.selected_asset_check_keys if each.asset_key == key}
    return [(guard.said, guard.find(run)) for guard in made.guards if guard.said.name in asked]


def _result(schema: str, table: Table, said: Declaration, finding: Finding) -> dg.AssetCheckResult:
    return as_result(finding, error=said.error, check_name=said.name, asset_key=dg.AssetKey([schema, table.name]))


def _told(run: Run, done: _Done) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult]:
    """The materialisation of a table, with its figures, and what its guards found."""
    schema, table, said = done.prepared.schema, done.made.table, done.said
    key = dg.AssetKey([schema, table.name])
    windows = run.windows if done.made.partitions else []
    if windows:
        newest, upstream = windows[-1].key, {each.table.name: each.dep.asset_key for each in done.made.ins.values()}
        said = {**said, newest: {**said[newest], **column_lineage(table, upstream)}}
        for partition, figures in said.items():
            run.context.add_asset_metadata(figures, asset_key=key, partition_key=partition)
    # What is given here is attached to every partition of the run alike.
    alike = written_to(schema, table, windows)
    contents = {record.key: record.content_hash for record in done.prepared.records}
    version, kept = of_partitions(run.context.instance, key, contents, done.before)
    yield dg.MaterializeResult(asset_key=key, metadata={**alike, **said.get("", {})}, data_version=version)
    for partition, own in kept.items():
        metadata, tags = {**alike, **said[partition]}, tags_of(run.context, key, own)
        yield dg.AssetMaterialization(asset_key=key, partition=partition or None, metadata=metadata, tags=tags)
    for declaration, finding in done.found:
        yield _result(schema, table, declaration, finding)


@lru_cache(maxsize=64)
def run_instant(instance: dg.DagsterInstance, run_id: str) -> dt.datetime:
    """Instant the run was created: the only "now" that assets and the store know."""
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise LookupError(f"run {run_id} is unknown to the instance")
    return record.create_timestamp


def _require(
    source: Input,
    needed: Sequence[Window],
    last: Window,
    records: Mapping[str, PartitionRecord],
    now: dt.datetime,
) -> None:
    """Refuse to compute on a gap, or on a month that was read before the sessions needed of it were over."""
    name, table = f"{source.schema}/{source.table.name}", f"{source.schema}.{source.table.name}"
    missing = [window.key for window in needed if window.key not in records]
    if missing:
        raise MissingPartitionError(
            f"{name}: partition{'s' if len(missing) > 1 else ''} {_listed(missing)} missing from {table}. "
            f"They come before or with the partition being computed; materialise {name} "
            f"from {missing[0]} on, then run this again. Nothing was written."
        )
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
