"""Reading a database whole or not at all.

Scope: what every adapter keeps, retries, and memory. Not here: a database's own language (one file each beside this).
"""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.ipc
from pydantic import BaseModel, ConfigDict, Field

from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources.cells import TEXT

ATTEMPTS = 5
PAGE = 20_000
"""Rows fetched at a time, and rows of a batch."""
_LONGEST_PAUSE = 20.0
_SORTING = "256MB"
"""Memory that sorting takes; the rest goes to files."""

Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
"""Name of an environment variable."""


class PassingError(Exception):
    """A read failed for a reason that may pass: a lost connection, a time-out, throttling. Its text holds no secret."""


class RowSource(BaseModel, ABC):
    """One query of one database, read-only. Its rows count as one file whose lines are their ordinals.

    An adapter yields what it reads in batches of text columns and keeps none of them. It opens its connection in
    :meth:`batches` and closes it there, whatever happens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    ordered: ClassVar[bool] = True
    """Whether the same rows come in the same order at every read; if not, they are sorted by all that they say."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages and ``source_file`` call it: no secret, and another one for another query."""

    @abstractmethod
    def batches(self, environment: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Read page by page.

        Raises
        ------
        PassingError
            It may go better the next time.
        LedgerError
            It will not: a variable is not set, the query is wrong, access is denied. The message says what to do.
        """

    def changed(self, environment: Mapping[str, str]) -> str | None:
        """What is another text once rows have changed, asked without reading them; None where nothing can tell.

        Raises
        ------
        PassingError, LedgerError
            As :meth:`batches`.
        """
        return None


def read_rows(
    source: RowSource, environment: Mapping[str, str] | None = None, *, pause: Callable[[float], None] = time.sleep
) -> pa.Table:
    """Read all rows of a source, from its first to its last: after a failure everything anew, never a part.

    Batches wait in a temporary file, so that memory does not grow with the rows.

    Parameters
    ----------
    source
        What to read.
    environment
        Where addresses and their secrets are looked up: that of this process when left out, and at no other time, so
        that nothing keeps them.
    pause
        Waits so many seconds.

    Returns
    -------
    Table
        Columns of text, rows in the order of the source.

    Raises
    ------
    LedgerError
        As :meth:`RowSource.batches`, or what should pass did not, `ATTEMPTS` times.
    """
    for attempt in range(ATTEMPTS):
        try:
            with TemporaryDirectory(prefix="weights-rows-") as folder:
                batches = source.batches(os.environ if environment is None else environment)
                if not source.ordered:
                    batches = _sorted(batches, Path(folder))
                return spooled(batches, Path(folder), "read")
        except PassingError as error:
            why = str(error)
        if attempt < ATTEMPTS - 1:
            pause(random.uniform(0.5, 1.0) * min(2.0**attempt / 2, _LONGEST_PAUSE))  # noqa: S311 - jitter
    raise LedgerError(
        f"{source.name}: could not be read, {ATTEMPTS} times ({why}). Nothing was written. Check that the server "
        f"runs and can be reached from here, then start again."
    )


def require_variable(environment: Mapping[str, str], variable: str, key: str, example: str) -> str:
    """Value of an environment variable, or a :class:`LedgerError` that names it; its value is in no message."""
    if value := environment.get(variable):
        return value
    raise LedgerError(f"{key}: the environment variable {variable} is not set; set it to an address such as {example}")


def spooled(batches: Iterable[pa.RecordBatch], folder: Path, stem: str) -> pa.Table:
    """Batches, written down and mapped into memory, so that it does not grow with them; the files may go then."""
    tables = [pyarrow.ipc.open_file(pa.memory_map(str(path))).read_all() for path in _written(batches, folder, stem)]
    # Where records differ in their fields, what a batch lacks is null.
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def _written(batches: Iterable[pa.RecordBatch], folder: Path, stem: str) -> Iterator[Path]:
    for number, batch in enumerate(batches):
        path = folder / f"{stem}-{number}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield path


def _sorted(batches: Iterable[pa.RecordBatch], folder: Path) -> Iterator[pa.RecordBatch]:
    """Rows in the order of what they say, column by column in the order of their names; a null comes last.

    They are sorted beside memory, by DuckDB, as there may be more of them than it holds.
    """
    paths, names = list[Path](), set[str]()
    for path in _written(_seen(batches, names), folder, "unsorted"):
        paths.append(path)
    if not names:
        return
    import duckdb

    schema = pa.schema([(name, TEXT) for name in sorted(names)])
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _SORTING,
        "threads": "1",
        "temp_directory": str(folder),
    }
    with duckdb.connect(config=config) as connection:
        rows = connection.from_arrow(pa.RecordBatchReader.from_batches(schema, _conforming(paths, schema)))
        for batch in rows.order("ALL").to_arrow_reader(PAGE):
            yield batch.cast(schema)


def _seen(batches: Iterable[pa.RecordBatch], names: set[str]) -> Iterator[pa.RecordBatch]:
    """The batches as they are; their columns are added to the names."""
    for batch in batches:
        names.update(batch.schema.names)
        yield batch


def _conforming(paths: Iterable[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches from files, with all columns of a schema; read, not mapped: what was mapped stays in memory."""
    empty = schema.empty_table()
    for path in paths:
        with pa.OSFile(str(path)) as file:
            table = pyarrow.ipc.open_file(file).read_all()
        whole = pa.concat_tables([empty, table], promote_options="default").select(schema.names)
        yield from whole.combine_chunks().to_batches()
