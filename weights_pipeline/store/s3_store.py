"""The store in S3: one immutable Parquet object per partition, one manifest per table that says which are current.

Scope: what is particular to objects: their names, their integrity, replacing a manifest, asking them in SQL. Not here:
talking to the server (``weights_pipeline.aws``).

Under the prefix of the store lie ::

    index.json                                             tables there are
    SCHEMA/TABLE/manifest.json                             partitions there are, each with the hash of its content
    SCHEMA/TABLE/KEY/HASH.parquet                          rows of one partition ("_" for an unpartitioned table)

A write first stores the new rows beside the old under names of their own, then replaces the manifest, on condition
that nobody else has done so meanwhile; otherwise it begins again from the new one. So a reader sees a range of
partitions as it was or as it is, a writer that dies leaves what was, and of two writers at once neither loses what the
other wrote. Nothing is ever listed, and nothing deleted: what a manifest has once named stays for whoever reads by it.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weights_pipeline.aws import S3Objects
from weights_pipeline.store.duckdb_store import MANIFEST, MANIFEST_DDL, NOTHING_YET, create_table, quoted
from weights_pipeline.store.manifest import FORMAT, Manifest, schema_version, sealed, unsealed
from weights_pipeline.tables.contract import (
    PartitionRecord,
    Prepared,
    Window,
    arrow_schema,
    content_hash,
    partition_records,
    prepare,
    selection,
    to_frame,
)
from weights_pipeline.tables.definition import Table
from weights_pipeline.tables.errors import DamagedError, StoreError, StoreLockedError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WORKERS = 8
"""Objects on their way at once; so many encoded partitions are in memory, never a whole range of them."""

# What a name may be to become part of an object's: ASCII, and nothing that a path could climb by.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,62}")
_UNPARTITIONED = "_"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where the objects of one table are."""

    schema: str
    name: str
    folder: str

    @property
    def manifest(self) -> str:
        return f"{self.folder}/manifest.json"

    def rows(self, key: str, content: str) -> str:
        return f"{self.folder}/{key or _UNPARTITIONED}/{content}.parquet"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class _Seen:
    """What a view has read so far, and will read again as it was."""

    tables: list[tuple[str, str]] = field(default_factory=list)
    manifests: dict[_Place, Manifest] = field(default_factory=dict)
    parts: dict[str, pa.Table] = field(default_factory=dict)


class _Views(threading.local):
    """Views that a thread holds open, by store."""

    def __init__(self) -> None:
        self.open: dict[str, _Seen] = {}


_VIEWS = _Views()


@dataclass(frozen=True)
class S3Store:
    """Partitioned tables under one prefix of a bucket; see :class:`~weights_pipeline.store.base.Store`.

    The server must honour ``If-Match`` and ``If-None-Match`` when an object is put, as Amazon S3 does. A server that
    does not is recognised and warned of: on such a one only one process may write at a time.

    Parameters
    ----------
    bucket, prefix
        Where; the prefix has no slash at either end, and is empty for the whole bucket.
    sse
        See :class:`~weights_pipeline.aws.S3Objects`.
    lock_timeout
        Seconds for which a write begins again because others keep writing the same table.
    """

    bucket: str
    prefix: str = ""
    sse: str = ""
    lock_timeout: float = 120.0
    _registered: set[tuple[str, str]] = field(default_factory=set, repr=False, compare=False)

    @property
    def location(self) -> str:
        """URL of the prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def queue(self, schema: str) -> str:
        """One for each schema: they share no object."""
        return f"s3/{schema}"

    @cached_property
    def objects(self) -> S3Objects:
        """Objects of the bucket."""
        return S3Objects(self.bucket, self.sse)

    def write(
        self,
        schema: str,
        table: Table,
        frame: pd.DataFrame,
        windows: Sequence[Window] = (),
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> list[PartitionRecord]:
        """Store an object per partition, then replace the manifest."""
        prepared = Prepared.of(schema, table, frame, windows, run_id=run_id, recorded_at=recorded_at)
        self.commit([prepared])
        return list(prepared.records)

    def commit(self, prepared: Sequence[Prepared]) -> None:
        """Replace one table after the other: each as a whole."""
        for each in prepared:
            self._replace(each)

    def archive(self, schema: str, table: Table, keys: Collection[str]) -> None:
        """Let the manifest name partitions no more; their objects stay."""
        place = self._place(schema, table.name)
        self._swap(place, self._fetch(place), lambda manifest, commit: manifest.without(keys, commit))

    def update(
        self,
        schema: str,
        table: Table,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> PartitionRecord:
        """Compare and swap: change what the manifest names, and replace it if it still names that."""
        place = self._place(schema, table.name)

        def changed(manifest: Manifest) -> list[PartitionRecord]:
            rows = self._frame(place, manifest, table, manifest.contents())
            stored = prepare(change(rows), table, ())
            records = partition_records(stored, table, [""], run_id, recorded_at)
            self._upload(place, table, stored, records, manifest)
            return records

        return self._commit(place, table, self._fetch(place), changed)[0]

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of the given partitions, each compared with its hash in the manifest."""
        place = self._place(schema, table.name)
        manifest = self._manifest(place)
        if table.earlier is None:
            return self._frame(place, manifest, table, manifest.contents(keys), columns, among)
        every = arrow_schema(table).names
        rows = table.earlier(self._frame(place, manifest, table, manifest.contents(keys), every, among))
        return rows[table.column_names() if columns is None else list(columns)]

    def read_known(self, schema: str, table: Table, contents: Mapping[str, str]) -> pd.DataFrame:
        """Rows by the names of their contents: what was once stored stays, of any table."""
        place = self._place(schema, table.name)
        return self._frame(place, self._manifest(place), table, contents)

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """Return the manifest of one table."""
        return dict(self._manifest(self._place(schema, table_name)).records)

    def tables(self) -> list[tuple[str, str]]:
        """Every table of the index."""
        seen = self._seen.tables
        if not seen:
            index, version = self._index()
            if version is None:
                raise FileNotFoundError(NOTHING_YET.format(self.location))
            seen.extend(index["tables"])
        return list(seen)

    @contextmanager
    def view(self) -> Iterator[None]:
        """Let all reads inside see each table as it was when first read, and fetch no object twice."""
        if self.location in _VIEWS.open:
            yield
            return
        _VIEWS.open[self.location] = _Seen()
        try:
            yield
        finally:
            del _VIEWS.open[self.location]

    @contextmanager
    def reading(self, tables: Collection[tuple[str, str]] | None = None) -> Iterator[DuckDBPyConnection]:
        """Yield a connection to a copy in memory of the given tables.

        The manifest is among them when it is named, as ``("store", "partitions")``, or nothing is.
        """
        import duckdb

        with self.view(), closing(duckdb.connect(config={"python_enable_replacements": "false"})) as connection:
            known = self.tables()
            for schema, name in known:
                if tables is None or (schema, name) in tables:
                    place = self._place(schema, name)
                    manifest = self._manifest(place)
                    if not manifest.columns:
                        continue
                    create_table(connection, schema, name, manifest.columns)
                    rows = self._rows(place, pa.schema(manifest.types()), manifest.contents())
                    _fill(connection, f"{quoted(schema)}.{quoted(name)}", rows)
            if tables is None or tuple(MANIFEST.split(".")) in tables:
                connection.execute(MANIFEST_DDL).fetchall()
                _fill(connection, MANIFEST, self._all_records(known))
            connection.execute("SET enable_external_access = false; SET lock_configuration = true").fetchall()
            connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()
            yield connection

    def _place(self, schema: str, name: str) -> _Place:
        for what, text in (("schema", schema), ("table", name)):
            _require_name(what, text, _NAME)
        return _Place(schema, name, f"{self._root}{schema}/{name}")

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def _seen(self) -> _Seen:
        return _VIEWS.open.get(self.location) or _Seen()

    def _manifest(self, place: _Place) -> Manifest:
        """Manifest as a reader sees it: of one view always the same."""
        seen = self._seen.manifests
        if place not in seen:
            seen[place] = self._fetch(place)
        return seen[place]

    def _fetch(self, place: _Place) -> Manifest:
        """Manifest as it is now."""
        found = self.objects.get(place.manifest)
        if found is None:
            return Manifest()
        try:
            return Manifest.from_json(*found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(place.manifest, f"is not a manifest of format {FORMAT}") from error

    def _replace(self, prepared: Prepared) -> None:
        place, records = self._place(prepared.schema, prepared.table.name), list(prepared.records)
        manifest = self._fetch(place)
        self._upload(place, prepared.table, prepared.rows, records, manifest)
        self._commit(place, prepared.table, manifest, lambda _: records)

    def _upload(
        self, place: _Place, table: Table, stored: pa.Table, records: Sequence[PartitionRecord], manifest: Manifest
    ) -> None:
        """Store the rows of each partition under the name of their content; nobody reads them yet."""
        columns = manifest.columns_with(str(place), table)
        for record in records if table.time_column is not None else ():
            _require_name("partition", record.key, _KEY)
        parts = Prepared(place.schema, table, stored, records).contents()

        def put(record: PartitionRecord) -> None:
            content = io.BytesIO()
            pq.write_table(parts[record.key], content, compression="zstd", write_page_checksum=True)
            metadata = {
                "content-hash": record.content_hash,
                "schema-version": schema_version(columns),
                "rows": str(record.rows),
                "partition": record.key or _UNPARTITIONED,
                "run-id": quote(record.run_id),
                "recorded-at": record.recorded_at.isoformat(),
            }
            self.objects.put(place.rows(record.key, record.content_hash), content.getvalue(), metadata)

        _at_once(put, records)

    def _commit(
        self,
        place: _Place,
        table: Table,
        manifest: Manifest,
        make: Callable[[Manifest], list[PartitionRecord]],
    ) -> list[PartitionRecord]:
        """Replace a manifest by the one that follows it with the records of what was stored."""
        records = list[PartitionRecord]()

        def following(manifest: Manifest, commit: str) -> Manifest:
            records[:] = make(manifest)
            return manifest.followed_by(str(place), table, records, commit)

        self._swap(place, manifest, following)
        self._register(place)
        return records

    def _swap(self, place: _Place, manifest: Manifest, follow: Callable[[Manifest, str], Manifest]) -> None:
        """Replace a manifest by the one that follows it, beginning again where somebody else was first."""
        commit = uuid.uuid4().hex
        for _ in self._attempts(place.manifest):
            following = follow(manifest, commit)
            if self.objects.replace(place.manifest, following.as_json(), manifest.version):
                break
            manifest = self._fetch(place)
            # The client repeats a request whose answer was lost, and is then refused for what it did itself.
            if commit in manifest.commits:
                break

    def _attempts(self, key: str) -> Iterator[None]:
        """Turns at replacing an object, with pauses between them, until the time-out."""
        deadline, pause = time.monotonic() + self.lock_timeout, 0.01
        while True:
            yield
            if time.monotonic() >= deadline:
                raise StoreLockedError(
                    f"{self.objects.url(key)} was changed by others again and again for {self.lock_timeout:g} s. "
                    f"Wait for them, then run again."
                )
            # Full jitter: writers must not wake in step with each other.
            time.sleep(random.uniform(0, pause))  # noqa: S311
            pause = min(pause * 1.5, 1.0)

    def _frame(
        self,
        place: _Place,
        manifest: Manifest,
        table: Table,
        contents: Mapping[str, str],
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of contents by partition key, as a reader by a definition gets them."""
        asked = selection(table, columns).names
        # A definition with another type asks for a migration when it writes; until then it reads what there is.
        types = {field.name: field.type for field in arrow_schema(table)} | manifest.types()
        names = dict.fromkeys([*asked, *table.key, *(among or {})])
        stored = self._rows(place, pa.schema([(name, types[name]) for name in names]), contents)
        for name, texts in (among or {}).items():
            stored = stored.filter(pc.is_in(stored.column(name), pa.array(list(texts), pa.string())))
        return to_frame(stored.sort_by([(name, "ascending") for name in table.key]).select(asked))

    def _rows(self, place: _Place, schema: pa.Schema, contents: Mapping[str, str]) -> pa.Table:
        """Columns of contents by partition key, null where a content lacks one that came later."""
        seen = self._seen.parts
        missing = {place.rows(*item): item for item in contents.items() if place.rows(*item) not in seen}
        seen.update(zip(missing, _at_once(lambda item: self._part(place, *item), [*missing.values()]), strict=True))
        parts = [seen[place.rows(*item)] for item in contents.items()]
        return pa.concat_tables([_with_columns(part, schema) for part in parts] or [schema.empty_table()])

    def _part(self, place: _Place, key: str, content: str) -> pa.Table:
        """Rows of one partition, exactly as they were written."""
        name, mend = place.rows(key, content), f"Materialise {place}{f' {key}' if key else ''} again, or restore"
        found = self.objects.get(name)
        if found is None:
            raise self._damaged(name, "is missing", mend)
        try:
            file = pq.ParquetFile(pa.BufferReader(found[0]), page_checksum_verification=True)
            part = file.read(use_threads=False)
            intact = content_hash(part) == content
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(name, "cannot be read", mend) from error
        if not intact:
            raise self._damaged(name, "does not hold the rows that were written", mend)
        return part

    def _damaged(self, key: str, what: str, mend: str = "Restore") -> DamagedError:
        return DamagedError(
            f"{self.objects.url(key)} {what}: it was altered or deleted after it had been stored, and was not used. "
            f"{mend} the object's previous version."
        )

    def _all_records(self, tables: Sequence[tuple[str, str]]) -> pa.Table:
        """Rows of ``store.partitions``."""
        places, seen = [self._place(*pair) for pair in tables], self._seen.manifests
        missing = [place for place in places if place not in seen]
        seen.update(zip(missing, _at_once(self._fetch, missing), strict=True))
        rows = [
            (place.schema, place.name, r.key, r.rows, r.content_hash, r.run_id, r.recorded_at)
            for place in places
            for r in seen[place].records.values()
        ]
        return pa.Table.from_pylist([dict(zip(_RECORD.names, row, strict=True)) for row in rows], schema=_RECORD)

    def _index(self) -> tuple[dict[str, Any], str | None]:
        """Tables there are, and the version of the object that says so."""
        key = f"{self._root}index.json"
        found = self.objects.get(key)
        if found is None:
            return {"format": FORMAT, "tables": []}, None
        try:
            index = unsealed(found[0])
            index["tables"] = sorted((schema, name) for schema, name in index["tables"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(key, f"is not an index of format {FORMAT}") from error
        return index, found[1]

    def _register(self, place: _Place) -> None:
        """See to it that a table is in the index, once per process; whoever makes the index tries the server, too."""
        entry, key = (place.schema, place.name), f"{self._root}index.json"
        if entry in self._registered:
            return
        for _ in self._attempts(key):
            index, version = self._index()
            wanted = {**index, "tables": sorted({*index["tables"], entry})}
            if version is not None and "conditional_writes" not in index:
                # Only what is not there may be created: a server that creates it all the same ignores conditions.
                wanted["conditional_writes"] = not self.objects.replace(key, sealed(index), None)
            if wanted == index:
                break
            if self.objects.replace(key, sealed(wanted), version) and "conditional_writes" in wanted:
                break
        if not wanted["conditional_writes"] and not self._registered:
            _log.warning(
                "%s: the server ignores If-Match and If-None-Match when an object is put, so of two writers at once "
                "one may lose what it wrote. Let only one process write at a time, or use a server that honours them.",
                self.location,
            )
        self._registered.update(wanted["tables"])


_RECORD = pa.schema(
    [
        ("table_schema", pa.string()),
        ("table_name", pa.string()),
        ("partition_key", pa.string()),
        ("row_count", pa.int64()),
        ("content_hash", pa.string()),
        ("run_id", pa.string()),
        ("recorded_at", pa.timestamp("us")),
    ]
)


def _at_once(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Results of work that waits for the network, in order; the first failure ends what has not begun."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(_WORKERS, len(items))) as pool:
        return list(pool.map(work, items))


def _with_columns(part: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [part.column(f.name) if f.name in part.column_names else pa.nulls(part.num_rows, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _fill(connection: DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming").fetchall()  # noqa: S608 - quoted identifiers
    connection.unregister("incoming")


def _require_name(what: str, text: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(text):
        raise StoreError(f"{what} {text!r} cannot name an object; expected {pattern.pattern}. Nothing was written.")
