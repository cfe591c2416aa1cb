"""The explicit definition of every table: columns, types, keys, time column and gate.

Scope: what a table is. Not here: how rows are validated against it (``contract``), and how they reach a file
(``store``). Adding a nullable column, or letting one be null, is a migration that stores make by themselves; anything
else is not, and the definition of a record changes in no other way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Type(StrEnum):
    """Column types, spelled as DuckDB spells them."""

    TEXT = "VARCHAR"
    FLOAT = "DOUBLE"
    INTEGER = "BIGINT"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"


PARTITION_COLUMN = "partition_key"
"""Stored beside the defined columns of a partitioned table; assigned by the contract, never by an asset."""


@dataclass(frozen=True)
class Column:
    """One column: name, type, what it means, and whether it may be null.

    One that came with a `later` release is no part of a content in which it is null throughout: that is the content
    which the releases before have written. A fraction that people read in `percent` is stored as it is.
    """

    name: str
    type: Type
    description: str
    nullable: bool = False
    later: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Table:
    """One table of the chain.

    Attributes
    ----------
    name
        Table name, equal to the last part of the asset key; the schema is the rest of it.
    columns
        In storage order. Frames may come in any order: columns are matched by name.
    key
        Columns that identify a row; never null, never twice in one write.
    time_column
        The DATE column that places a row in a partition's window; None for an unpartitioned table.
    may_be_empty
        Whether a partition without rows is a normal state of affairs (a month without trades) or a defect.
    gate
        Returns the rows that break a hard limit. Any such row refuses the whole write.
    made_again
        Whether its rows follow from ledger and books. What does not is a record of what was, and never to be dropped.
    kept
        Whether rows stay readable by their content hash once others have taken their place.
    earlier
        Brings rows that an earlier release has written to this definition, whenever they are read; they stay stored
        as they are, with their content hash. Given rows with all columns, null where they lack one.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time_column: str | None
    may_be_empty: bool = False
    gate: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    made_again: bool = True
    kept: bool = False
    earlier: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def column_names(self) -> list[str]:
        """Names in storage order."""
        return [column.name for column in self.columns]
