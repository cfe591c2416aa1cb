"""What every store is: the one interface that assets, checks, queries and commands know.

Scope: the interface. Not here: what a frame must be (``tables.contract``), and how rows are kept (``duckdb_store``,
``s3_store``). It imports nothing that takes time, so that read-only commands start fast.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection as DuckDBPyConnection

    from weights_pipeline.tables.contract import PartitionRecord, Prepared, Window
    from weights_pipeline.tables.definition import Table


class Reader(Protocol):
    """What questions to a store need of it: rows as they are, or as they were on a day."""

    @property
    def location(self) -> str:
        """Where the store is, for a message to a person."""
        ...

    def read(
        self,
        schema: str,
        table: Table,
        keys: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        among: Mapping[str, Collection[str]] | None = None,
    ) -> pd.DataFrame:
        """Rows of the given partitions (all of them when None), ordered by the table's key.

        With ``among`` only those whose text in each column named is one of the texts.
        A table or partition that does not exist yields no rows: whether that is an error is the caller's question,
        answered from :meth:`partitions`. A nullable column that the definition has gained since the rows were written
        reads as null.

        Raises
        ------
        weights_pipeline.tables.errors.ContractError
            A column is asked for that the definition does not have.
        """
        ...

    def partitions(self, schema: str, table_name: str) -> dict[str, PartitionRecord]:
        """What was written under each partition key of a table, by which run, and when; ordered by key."""
        ...

    def tables(self) -> list[tuple[str, str]]:
        """Schema and name of every table there is, ordered.

        Raises
        ------
        FileNotFoundError
            Nothing has been materialised into this store yet.
        """
        ...

    def view(self) -> AbstractContextManager[None]:
        """Let all reads of this thread inside see one state of each table, and pay for opening the store once."""
        ...


class Store(Reader, Protocol):
    """Partitioned tables, one schema per ledger and book.

    All stores give the same frames, the same content hashes and the same errors for the same writes. Any number of
    processes may use one store at once: a write happens as a whole or not at all, and a reader never sees part of one.
    """

    def queue(self, schema: str) -> str:
        """Name of the queue of those who write to a schema; writers in different queues do not wait for each other."""
        ...

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
        """Replace partitions, or an unpartitioned table, as a whole.

        Parameters
        ----------
        schema, table, frame, windows
            Where to, by which definition, which rows, for which partitions.
        run_id, recorded_at
            Recorded beside row count and content hash; the instant is zone-aware.

        Returns
        -------
        list of PartitionRecord

        Raises
        ------
        weights_pipeline.tables.errors.ContractError
            The frame does not meet the definition. Nothing was written.
        weights_pipeline.tables.errors.SchemaMigrationError
            The stored table cannot be brought to the definition by adding nullable columns or letting columns
            be null. Nothing was written.
        weights_pipeline.tables.errors.StoreLockedError
            Others held the store for longer than the time-out. Nothing was written.
        """
        ...

    def commit(self, prepared: Sequence[Prepared]) -> None:
        """Replace partitions of several tables, in order; a store with transactions does so as a whole.

        Raises
        ------
        weights_pipeline.tables.errors.SchemaMigrationError, weights_pipeline.tables.errors.StoreLockedError
            See :meth:`write`. Of a store with transactions nothing was written.
        """
        ...

    def update(
        self,
        schema: str,
        table: Table,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        *,
        run_id: str,
        recorded_at: dt.datetime,
    ) -> PartitionRecord:
        """Change an unpartitioned table: nobody else writes between the reading of its rows and the writing back.

        Of two updates at once neither loses what the other has changed.

        Parameters
        ----------
        schema, table
            Which table; it is created where it is missing.
        change
            From the rows stored (none where it is missing) to the rows to store instead, as :meth:`write` takes them.
            It may be called again, on what another process has written meanwhile, so its answer may depend on its
            argument alone.
        run_id, recorded_at
            See :meth:`write`.

        Raises
        ------
        weights_pipeline.tables.errors.ContractError, weights_pipeline.tables.errors.SchemaMigrationError
            See :meth:`write`. Nothing was written.
        """
        ...

    def archive(self, schema: str, table: Table, keys: Collection[str]) -> None:
        """Take partitions out of a table: what they held is kept beside it, where nobody reads it but by its content.

        Parameters
        ----------
        schema, table
            Which table, which has partitions.
        keys
            Of partitions that there are.
        """
        ...

    def read_known(self, schema: str, table: Table, contents: Mapping[str, str]) -> pd.DataFrame:
        """Rows that partitions of a kept table once had, also where others have taken their place since.

        Parameters
        ----------
        schema, table
            Which table; its definition says ``kept``.
        contents
            Content hash by partition key, as the manifest had it.

        Returns
        -------
        DataFrame
            As :meth:`read` gives it; every content was compared with its hash.

        Raises
        ------
        weights_pipeline.tables.errors.DamagedError
            A content is nowhere any more, or not what was written.
        """
        ...

    def reading(self, tables: Collection[tuple[str, str]] | None = None) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a DuckDB connection to ask in SQL: ``schema.table`` and the manifest ``store.partitions``.

        It can neither write nor reach files or the network, and is closed on leaving.

        Parameters
        ----------
        tables
            Those that will be asked for, when known: a store that has to fetch them fetches only these.

        Raises
        ------
        FileNotFoundError
            Nothing has been materialised into this store yet.
        """
        ...
