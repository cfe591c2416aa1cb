"""Values of records as the text that a CSV file would have.

Scope: JSON, documents and rows of databases. Not here: what a text means, which the ledger's columns say.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

TEXT = pa.large_string()
"""Kind of text that pandas takes over without a copy."""


def flat(record: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested record: what is within is named ``outer.inner``, in a list ``outer.0``."""
    for key, value in record.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield from flat({str(i): each for i, each in enumerate(value)}, f"{name}.")
        else:
            yield name, value


def text(value: Any) -> str | None:
    """One value as text; None for none.

    Raises
    ------
    TypeError
        The value is bytes or of another kind that no cell holds.
    """
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal() | uuid.UUID():
            return str(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case _:
            raise TypeError(f"a value of type {type(value).__name__} is no text, number or time")


def batch(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> pa.RecordBatch:
    """Rows of one width as a batch of text columns; a :class:`TypeError` names the column that holds no text."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.RecordBatch.from_arrays([_column(*each) for each in zip(names, columns, strict=True)], names=list(names))


def record_batch(records: Iterable[Mapping[str, Any]]) -> pa.RecordBatch:
    """Nested records as a batch: a column for each name that occurs, in the order in which they first do."""
    rows = [
        dict(flat(record)) if any(isinstance(value, dict | list | tuple) for value in record.values()) else record
        for record in records
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return batch(names, ([row.get(name) for name in names] for row in rows))


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    """Values as text: many of one kind by Arrow, which writes them as `text` does, others one by one."""
    try:
        typed = pa.array(values)
        if pa.types.is_string(typed.type) or pa.types.is_null(typed.type):
            return typed.cast(TEXT)
        if pa.types.is_int64(typed.type) or pa.types.is_boolean(typed.type):
            return typed.cast(TEXT)
    except pa.ArrowException:
        pass
    try:
        return pa.array([text(value) for value in values], TEXT)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
