"""The manifest of one table in an object store: which partitions are current, and what each of them holds.

Scope: the document, as a value and as JSON. Not here: where it lies and how it is replaced (``s3_store``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from weights_pipeline.store.duckdb_store import Columns, defined_columns
from weights_pipeline.tables.contract import PartitionRecord, arrow_type, migrated_columns
from weights_pipeline.tables.definition import Table, Type

FORMAT = 1
_COMMITS_KEPT = 64


@dataclass(frozen=True)
class Manifest:
    """State of one table; that of a table never written is empty.

    Attributes
    ----------
    columns
        Every column that some partition has, in storage order.
    records
        By partition key, in order of the keys.
    commits
        Identifiers of the newest writes, the last one last. A writer whose answer was lost on the way finds out from
        them whether it wrote.
    version
        Version of the object that this was read from; None where there was none.
    """

    columns: Columns = field(default_factory=dict)
    records: Mapping[str, PartitionRecord] = field(default_factory=dict)
    commits: tuple[str, ...] = ()
    version: str | None = None

    def contents(self, keys: Sequence[str] | None = None) -> dict[str, str]:
        """Content hash of the given partitions that there are, of all of them when None, by key and in its order."""
        asked = set(self.records if keys is None else keys)
        return {key: record.content_hash for key, record in self.records.items() if key in asked}

    def types(self) -> dict[str, pa.DataType]:
        """Arrow type of each column."""
        return {name: arrow_type(kind) for name, (kind, _) in self.columns.items()}

    def followed_by(self, where: str, table: Table, records: Sequence[PartitionRecord], commit: str) -> Manifest:
        """State after partitions were replaced; see :func:`~weights_pipeline.tables.contract.migrated_columns`."""
        merged = {**self.records, **{record.key: record for record in records}}
        return Manifest(
            columns=self.columns_with(where, table),
            records={key: merged[key] for key in sorted(merged)},
            commits=(*self.commits, commit)[-_COMMITS_KEPT:],
        )

    def without(self, keys: Collection[str], commit: str) -> Manifest:
        """State after partitions were taken out."""
        left = {key: record for key, record in self.records.items() if key not in keys}
        return Manifest(columns=self.columns, records=left, commits=(*self.commits, commit)[-_COMMITS_KEPT:])

    def columns_with(self, where: str, table: Table) -> Columns:
        """Columns after a write by a definition.

        Raises
        ------
        weights_pipeline.tables.errors.SchemaMigrationError
            They cannot be brought to the definition by adding nullable columns or letting columns be null.
        """
        if not self.columns:
            return defined_columns(table)
        changed = migrated_columns(where, table, self.columns)
        return {**self.columns, **{c.name: (c.type.value, c.nullable) for c in changed}}

    def as_json(self) -> bytes:
        """The document, for a person to read too."""
        document = {
            "format": FORMAT,
            "columns": [[name, kind, nullable] for name, (kind, nullable) in self.columns.items()],
            "partitions": {
                key: {
                    "rows": record.rows,
                    "content_hash": record.content_hash,
                    "run_id": record.run_id,
                    "recorded_at": record.recorded_at.isoformat(),
                }
                for key, record in self.records.items()
            },
            "commits": self.commits,
        }
        return sealed(document)

    @classmethod
    def from_json(cls, content: bytes, version: str) -> Manifest:
        """Read the document.

        Raises
        ------
        ValueError, KeyError, TypeError, AttributeError
            It is not one, of a later format, or not as it was written.
        """
        document = unsealed(content)
        return cls(
            columns={name: (Type(kind).value, nullable) for name, kind, nullable in document["columns"]},
            records={
                key: PartitionRecord(
                    key,
                    entry["rows"],
                    entry["content_hash"],
                    entry["run_id"],
                    dt.datetime.fromisoformat(entry["recorded_at"]),
                )
                for key, entry in document["partitions"].items()
            },
            commits=tuple(document["commits"]),
            version=version,
        )


def sealed(document: dict[str, Any]) -> bytes:
    """A document as JSON, with a hash of itself."""
    return json.dumps(document | {"sha256": _digest(document)}, indent=1).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """Read a document of this format; one that was written without a hash of itself is taken as it is.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        It is not one, of a later format, or not as it was written.
    """
    document: dict[str, Any] = json.loads(content)
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}")
    digest = document.pop("sha256", None)
    if digest not in (None, _digest(document)):
        raise ValueError("altered")
    return document


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def schema_version(columns: Columns) -> str:
    """Short name of a set of columns: equal for equal names, types and nullability, in the same order."""
    lines = "\n".join(f"{name} {kind} {nullable}" for name, (kind, nullable) in columns.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:12]
