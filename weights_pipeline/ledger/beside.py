"""Small files beside a ledger's rows that brokers write too, in whatever form: corporate actions and positions.

Scope: reading one entry of a ledger into typed rows, in which nothing may be wrong. Not here: what becomes of them
(``instruments``, ``statements``), nor small files that only a desk writes (``flawless``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.cells import Column
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, read_part, require_columns
from weights_pipeline.ledger.mapping import mapped
from weights_pipeline.ledger.places import file_at, find_files
from weights_pipeline.ledger.rows import formats, parsed, queried, require_meaning_read
from weights_pipeline.ledger.source import Entry
from weights_pipeline.ledger.vocabulary import PLAIN, ByTable

ACTIONS: Mapping[str, Column] = {
    "symbol": Column(kind="text"),
    "date": Column(kind="date"),
    "kind": Column(kind="text"),
    "ratio": Column(kind="text", required=False),
    "new_symbol": Column(kind="text", required=False),
    "price": Column(kind="number", required=False),
}
POSITIONS: Mapping[str, Column] = {
    "date": Column(kind="date"),
    "symbol": Column(kind="text"),
    "quantity": Column(kind="number"),
    "strategy": Column(kind="text", required=False),
    "account": Column(kind="text", required=False),
    "realized_pnl": Column(kind="number", required=False),
    "market_value": Column(kind="number", required=False),
}
BESIDE: Mapping[str, Mapping[str, Column]] = {"actions": ACTIONS, "positions": POSITIONS}
"""Columns by kind."""


def rows_beside(root: Path, entry: Entry, kind: str, key: str) -> pd.DataFrame:
    """Read the files of an entry, or its query; a cell or line that is wrong is an error.

    Parameters
    ----------
    root
        The data folder.
    entry
        What to read. What a ledger says of all its files does not count here.
    kind
        A key of `BESIDE`.
    key
        What a message calls the entry.

    Returns
    -------
    DataFrame
        The columns of the kind, ``source_file`` and ``line``; in the order of the files' names.

    Raises
    ------
    LedgerError
        A file cannot be read, something in it is wrong, or a file in the ledger's own form has no row; the message
        names up to five lines.
    """
    read = [
        typed.assign(source_file=pd.array([part.name] * len(typed), dtype="str"), line=part.line)
        for part, typed in parts_beside(root, entry, kind, key)
    ]
    return pd.concat(read, ignore_index=True)


def parts_beside(root: Path, entry: Entry, kind: str, key: str) -> Iterator[tuple[Part, pd.DataFrame]]:
    """Yield each file in the ledger's words, and its rows, typed; otherwise as :func:`rows_beside`."""
    reading, columns = entry.reading(PLAIN), BESIDE[kind]
    rule = reading.strategy_from
    table = read_part(file_at(root, rule.table)) if isinstance(rule, ByTable) else None
    if entry.query:
        found = [queried(entry.query, reading)]
    else:
        found = [read_part(file, reading) for file in find_files(root, entry.files or (), key)]
    for written in found:
        part = mapped(written, columns, table)
        require_columns(part, columns)
        if reading != PLAIN:
            require_meaning_read(part, columns)
        cells = part.cells.reset_index(drop=True)
        read = parsed(cells, columns, reading, formats(reading, "UTC", "UTC"), np.zeros(len(cells), dtype=np.intp), {})
        flaws = [(line, detail) for line, detail, _ in part.malformed]
        flaws += [(int(part.line[fault.row]), fault.detail) for fault in (*part.faults, *read.faults)]
        if flaws:
            listed = "; ".join(f"line {line}: {detail}" for line, detail in sorted(flaws)[:5])
            raise LedgerError(f"{part.name}: {len(flaws)} cells or lines to correct: {listed}")
        if read.typed.empty and reading == PLAIN:
            raise LedgerError(f"{part.name}: has no row below its header; expected {', '.join(columns)}")
        yield part, read.typed
