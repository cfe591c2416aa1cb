"""What is stored and published: the store, its lock, its tables, and live weights.

Scope: examinations of whether it can be read. Not here: whether the numbers in it are right (``checks``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from weights_pipeline.doctor.patient import PATIENCE, Answer, Patient, amount
from weights_pipeline.settings import Settings
from weights_pipeline.tables.errors import SchemaMigrationError

_HEADERS = 3 * 4096
"""Bytes of a DuckDB file before its first block."""


def store(patient: Patient) -> Answer:
    """The store can be read, and was not cut short."""
    settings = patient.settings
    if settings.store:
        return _bucket(patient)
    from weights_pipeline.store.duckdb_store import MANIFEST, DuckDBStore, quoted

    path = settings.store_path
    if not path.exists():
        return "warn", f"{path} does not exist: nothing has been materialised yet", "`make demo` or `weights run`."
    store = DuckDBStore(path, lock_timeout=PATIENCE)
    with store.reading() as connection:
        tables = store.tables()
        # Of a file cut short, the end is not missed until it is read: it has to hold the last block of every table.
        names = [f"{quoted(schema)}.{quoted(table)}" for schema, table in tables]
        ends = [
            connection.execute("SELECT max(block_id) FROM pragma_storage_info(?)", [name]).fetchall()[0][0]
            for name in names
        ]
        ((block_size,),) = connection.execute(
            "SELECT block_size FROM pragma_database_size() WHERE database_name = current_database()"
        ).fetchall()
        length = _HEADERS + (max((end for end in ends if end is not None), default=-1) + 1) * block_size
        ((partitions, newest),) = connection.execute(
            f"SELECT count(*), max(recorded_at) FROM {MANIFEST}"  # noqa: S608 - a constant
        ).fetchall()
    size = path.stat().st_size
    if size < length:
        found = f"{path} is damaged: it has {size} bytes, and rows up to byte {length}"
        return "fail", found, "Restore a backup of the file, or move it away and materialise everything again."
    found = f"{path}: {len(tables)} tables, {partitions} partitions, {amount(size)}"
    return "ok", found + (f", last written {newest:%Y-%m-%d %H:%M} UTC" if newest else ""), ""


def _bucket(patient: Patient) -> Answer:
    """The index of a store in S3, by one read and without a listing."""
    from weights_pipeline.store.manifest import unsealed

    found = patient.stored("index.json")
    where = f"{patient.settings.store} in region {patient.objects.client.meta.region_name or 'none'}"
    if found is None:
        return "warn", f"{where} can be read and holds no store yet", "The first `weights run` makes it."
    try:
        index = unsealed(found[0])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "fail", f"{where}: index.json is damaged, or of a later version", "Restore its previous version."
    said = f"{where}: {len(index['tables'])} tables"
    if not index.get("conditional_writes", True):
        return (
            "warn",
            f"{said}; the server ignores conditions",
            "Let one process write at a time, or change the server.",
        )
    return "ok", f"{said}; the server honours conditional writes", ""


Stored = Mapping[tuple[str, str], Mapping[str, tuple[str, bool]]]
"""Type and nullability of each stored column, by schema and name of the table."""


def schema(patient: Patient) -> Answer:
    """Stored tables are those that this version of the code defines, or can be brought to them by itself."""
    from weights_pipeline.tables.catalog import TABLES
    from weights_pipeline.tables.contract import migrated_columns

    tables = _columns(patient)
    if tables is None:
        return "ok", "no tables yet", ""
    older, unfit, unknown = list[str](), list[str](), list[str]()
    for (schema, name), columns in tables.items():
        if name not in TABLES:
            unknown.append(f"{schema}.{name}")
            continue
        try:
            if changed := migrated_columns(f"{schema}.{name}", TABLES[name], columns):
                without_nulls = " (without nulls)"
                named = (f"{c.name}{without_nulls if c.name in columns else ''}" for c in changed)
                older.append(f"{schema}.{name} lacks {', '.join(named)}")
        except SchemaMigrationError as error:
            unfit.append(str(error))
    if unfit:
        todo = "Do what each line says."
        return "fail", f"{len(unfit)} tables are of another version of the code", todo, *unfit
    if unknown:
        todo = "Update the code, if a later version wrote them; otherwise they may be dropped."
        return "warn", f"{len(unknown)} tables are unknown to this version of the code", todo, *unknown
    if older:
        return "ok", f"{len(older)} tables are older; the next write adds what they lack", "", *older
    return "ok", f"{len(tables)} tables, all of this version of the code", ""


def _columns(patient: Patient) -> Stored | None:
    return _columns_in_bucket(patient) if patient.settings.store else _columns_in_file(patient.settings)


def _columns_in_file(settings: Settings) -> Stored | None:
    from weights_pipeline.store.duckdb_store import DuckDBStore

    if not settings.store_path.exists():
        return None
    with DuckDBStore(settings.store_path, lock_timeout=PATIENCE).reading() as connection:
        rows = connection.execute(
            "SELECT schema_name, table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name <> 'store' AND NOT internal"
        ).fetchall()
    tables: dict[tuple[str, str], dict[str, tuple[str, bool]]] = {}
    for schema, table, column, kind, nullable in rows:
        tables.setdefault((schema, table), {})[column] = (kind, nullable)
    return tables


def _columns_in_bucket(patient: Patient) -> Stored | None:
    from weights_pipeline.store.manifest import Manifest, unsealed

    if (index := patient.stored("index.json")) is None:
        return None
    named = [tuple(table) for table in unsealed(index[0])["tables"]]
    found = {table: patient.stored(f"{'/'.join(table)}/manifest.json") for table in named}
    return {table: Manifest.from_json(*content).columns for table, content in found.items() if content}


def lock(patient: Patient) -> Answer:
    """Nobody holds the store's file, and nobody has left anything beside it."""
    settings = patient.settings
    if settings.store:
        return "ok", "a store in S3 knows no locks", ""
    import duckdb

    path = settings.store_path
    if not path.exists():
        return "ok", "no file yet", ""
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            return "warn", "not looked at: the file cannot be opened", ""
        holder = re.search(r"PID (\d+)", str(error))
        who = _process(int(holder[1]), patient.now) if holder else "another process"
        return "warn", f"{path} is held by {who}", "Wait for it. If it hangs, end it: nothing half-written stays."
    left = [file for folder in (path.parent, *map(Path, settings.live)) for file in _leftovers(folder, patient.now)]
    if left:
        return "warn", f"free; {len(left)} files of writers that died", "They may be deleted.", *map(str, left)
    wal = path.with_name(f"{path.name}.wal")
    return "ok", "free" + ("; the last writer died, the next one takes its log over" if wal.exists() else ""), ""


def _process(pid: int, now: dt.datetime) -> str:
    """A process as a person knows it, as far as this machine tells."""
    folder = Path(f"/proc/{pid}")
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        since = dt.timedelta(seconds=round(now.timestamp() - folder.stat().st_ctime))
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({command[:80]}), which has run for {since}"


def _leftovers(folder: Path, now: dt.datetime) -> Iterator[Path]:
    """Temporary files that are an hour old; their writers took seconds."""
    for file in sorted(folder.glob(".*")) if folder.is_dir() else []:
        ours = file.suffix in (".duckdb", ".json") and file.name.startswith(".tmp")
        if ours and now.timestamp() - file.stat().st_mtime > 3600:
            yield file


def cells(patient: Patient) -> Answer:
    """Cells of ledgers' files, which are kept so that a run need not parse a file again, are as they were written."""
    from weights_pipeline.ledger.kept import as_written, entries

    folder = patient.settings.cells
    if not (kept := entries(folder)):
        return "ok", "none are kept yet: the next run reads every file", ""
    size = sum(entry.stat().st_size for entry in kept if entry.exists())
    said = f"{folder}: {len(kept)} files of cells, {amount(size)}"
    if damaged := [entry for entry in kept if not as_written(entry)]:
        todo = "Look at the disk. Runs read the ledger's own files instead; remove these while none is under way."
        return "warn", f"{said}; {len(damaged)} are not as they were written", todo, *map(str, damaged)
    former = sorted(
        {entry.relative_to(folder).parts[0] for entry in kept}
        - {each.schema_name for each in patient.workspace.sources.values()}
    )
    if former:
        return "warn", f"{said}; {', '.join(former)}: no ledger any more", "Remove these folders: nothing reads them."
    return "ok", said, ""


def live(patient: Patient) -> Answer:
    """What is published can be read and is fresh, of the books whose ledger goes on."""
    from weights_pipeline.live import Keys, LiveError, LiveWeights, MissingError, NotInForceError, UnreachableError
    from weights_pipeline.live.places import source

    try:
        keys = Keys.from_environment(patient.environment)
    except ValueError as error:
        return "fail", str(error), "Correct the variable, as docs/live_weights.md says."
    ended, living = list[str](), patient.living
    problems, missing, fresh = list[str](), list[str](), list[str]()
    tables = [target for target in patient.settings.live if target.startswith("dynamodb://")]
    for target in patient.settings.live:
        if target in tables:
            continue
        if "://" not in target and not Path(target).exists():
            missing += [f"all in {target}, which does not exist"] * bool(living)
            continue
        for name in patient.workspace.books:
            where = f"{name} in {target}"
            try:
                if (found := source(target, patient=False).poll(name, None)) is None:
                    continue
                weights = LiveWeights.from_json(found[0], keys)
                if (stale := weights.problem(patient.now)) is None:
                    fresh.append(name)
                elif name in living or not isinstance(stale, NotInForceError):
                    problems.append(f"{where}: {stale}")
                else:
                    ended.append(name)
            except MissingError:
                missing += [where] * (name in living)
            except UnreachableError as error:
                problems.append(f"{target}: {error}")
                break
            except LiveError as error:
                problems.append(f"{where}: {error}")
    parts = [
        f"fresh: {', '.join(dict.fromkeys(fresh))}" * bool(fresh),
        f"out of force, as their ledger ended: {', '.join(dict.fromkeys(ended))}" * bool(ended),
        f"not published: {', '.join(missing)}" * bool(missing),
        f"not looked at, as it takes a query: {', '.join(tables)}" * bool(tables),
    ]
    said = "; ".join(part for part in parts if part)
    if problems:
        todo = "Those who trade them use base weights. Rebalance, or publish with the job BOOK_live."
        return "fail", f"{len(problems)} not to be used" + (f"; {said}" if said else ""), todo, *problems
    if missing:
        return "warn", said, "`weights init`, `weights rebalance` or the job BOOK_live publishes."
    return "ok", said or "nothing is published, and nothing is expected to be", ""


def former(patient: Patient) -> Answer:
    """Books that were renamed or removed: what becomes of their versions, and of what they have published."""
    from weights_pipeline.live import LiveError
    from weights_pipeline.live.places import source
    from weights_pipeline.tables.catalog import WEIGHT_HISTORY

    with_versions = {schema for schema, table in _columns(patient) or {} if table == WEIGHT_HISTORY.name}
    gone = sorted(with_versions - set(patient.workspace.books))
    if not gone:
        return "ok", "every version in the store is of a book", ""
    left = list[str]()
    for target in patient.settings.live:
        for name in gone if not target.startswith("dynamodb://") else ():
            with suppress(LiveError):
                source(target, patient=False).poll(name, None)
                left.append(f"{name} in {target}")
    said = f"{', '.join(gone)}: no book any more; the versions stay, and `weights history --book NAME` reads them"
    if not left:
        return "ok", said, ""
    todo = (
        "Who reads these goes by them until they are stale. If the book was renamed, let them read the new name; then "
        "delete what is published under the old one. If it was not meant, put the book's file back."
    )
    return "warn", f"{said}; still published: {', '.join(left)}", todo
