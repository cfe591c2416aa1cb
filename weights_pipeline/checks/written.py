"""The check that every list ends with: all tables of a schema hold the rows that were written.

Scope: one declaration, shared. Not here: the comparison (``store.integrity``).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Protocol

import pandas as pd

from weights_pipeline.checks.verified import Verified
from weights_pipeline.core import verify
from weights_pipeline.core.verify import Finding
from weights_pipeline.store.base import Reader
from weights_pipeline.store.integrity import altered_tables
from weights_pipeline.tables.definition import Table

RESTORE = "The store was changed by hand or is damaged: restore a backup, or materialise what is named again."
"""Advice of the check, which is shown at the table of a schema that is written last."""


class Written(Protocol):
    """Rows of a schema, and what of them was verified before."""

    @property
    def schema(self) -> str:
        """Schema whose tables are compared."""
        ...

    @property
    def store(self) -> Reader:
        """Where they are."""
        ...

    @property
    def verified(self) -> Verified:
        """What was verified before."""
        ...


def stored_as_written(of: Written) -> Finding:
    """Every table of {schema} holds the rows that were written, by the hashes recorded with them."""
    # All rows are read; of partitions that have not changed since they were compared, as one.
    return verify.as_written(*altered(of.store, of.schema, of.verified))


_CHECK = stored_as_written.__name__


def altered(store: Reader, schema: str, verified: Verified, among: Collection[Table] = ()) -> tuple[pd.DataFrame, int]:
    """Altered partitions of tables of a schema, all when left out, and their number; found once for all that ask."""
    asked = schema, *(table.name for table in among)
    if asked not in verified.altered:
        before, passed = partial(verified.before, _CHECK), partial(verified.passed, _CHECK)
        verified.altered[asked] = altered_tables(store, schema, before, passed, among)
    return verified.altered[asked]
