"""Persistence: the DuckDB and S3 stores, and the interface both keep.

Scope: everything that knows files, objects and databases. Not here: what a table is (``tables``), and formulas: a hard
limit on weights is a function of ``core`` that a table definition names as its gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weights_pipeline.settings import Settings
    from weights_pipeline.store.base import Store


def open_store(settings: Settings) -> Store:
    """The store that the settings name; it need not exist yet, and nothing is connected to before it is used."""
    if settings.store:
        from weights_pipeline.store.s3_store import S3Store

        bucket, _, prefix = settings.store.removeprefix("s3://").partition("/")
        return S3Store(bucket, prefix, sse=settings.sse, lock_timeout=settings.lock_timeout)
    from weights_pipeline.store.duckdb_store import DuckDBStore

    return DuckDBStore(settings.store_path, lock_timeout=settings.lock_timeout)
