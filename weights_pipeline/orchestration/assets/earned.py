"""What books have earned, as the file of a ledger whose strategies are books.

Scope: one call that makes the rows, one that writes them, and metadata. Not here: the arithmetic (``operations``), and
reading the file, which the ledger does as any other (``assets.ledger``).
"""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from weights_pipeline.ledger import LedgerSource
from weights_pipeline.operations.book_returns import book_returns, tables_read, within, write_book_returns
from weights_pipeline.orchestration.data_versions import of_content
from weights_pipeline.orchestration.partitions import SINGLE_RUN
from weights_pipeline.store.base import Store
from weights_pipeline.versions.inputs import code_version
from weights_pipeline.workspace import BookSetup

OWNER = "team:allocation"
"""Of ledgers."""


def earned_key(source: LedgerSource) -> dg.AssetKey:
    """Key of the asset of one ledger."""
    return dg.AssetKey([source.schema_name, "book_returns"])


def earned_asset(source: LedgerSource, books: Sequence[BookSetup], root: Path, store: Store) -> dg.AssetsDefinition:
    """Daily returns of the books that a ledger is of, written before the ledger is read."""
    read = [dg.AssetKey([schema, table.name]) for setup in books for schema, table in tables_read(setup)]

    @dg.asset(
        key=earned_key(source),
        group_name=source.schema_name,
        description=f"Earned by {', '.join(source.books)} after fees, by session: the file of this ledger.",
        owners=[OWNER],
        kinds={"csv"},
        deps=list(dict.fromkeys(read)),
        code_version=code_version(),
        backfill_policy=SINGLE_RUN,
    )
    def earned() -> dg.MaterializeResult[None]:
        with store.view():
            rows = within(source, book_returns(books, store))
        content = write_book_returns(root / source.written, rows)
        return dg.MaterializeResult(
            metadata={
                "file": source.written,
                "dagster/row_count": len(rows),
                "first": str(rows["session"].min())[:10],
                "last": str(rows["session"].max())[:10],
            },
            data_version=of_content(content),
        )

    return earned
