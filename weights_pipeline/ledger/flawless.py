"""Small files of inputs beside a ledger's rows, in which nothing may be wrong.

Scope: reading one such file into typed rows, with the line of each. Not here: rows of the ledger, of which some may be
rejected (``rows``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from weights_pipeline.core.returns.cells import Column, Formats, parse_cells
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Indices, read_part, require_columns
from weights_pipeline.ledger.places import file_at


def flawless_rows(
    root: Path, path: str, columns: Mapping[str, Column], *, timezone: str = "UTC"
) -> tuple[pd.DataFrame, Indices]:
    """Read a file; a cell or line that is wrong is an error.

    Parameters
    ----------
    root, path
        The data folder, and the file's path in it.
    columns
        What to read.
    timezone
        IANA zone of times that state no offset, and of dates in place of times.

    Returns
    -------
    typed : DataFrame, shape (n, len(columns))
    line : ndarray of int, shape (n,)
        Line of each row; of a Parquet file its number.

    Raises
    ------
    LedgerError
        The file cannot be read, has no row, or something in it is wrong; the message names up to five lines.
    """
    part = read_part(file_at(root, path))
    require_columns(part, columns)
    parsed = parse_cells(part.cells, columns, Formats(timezone=timezone, exchange_timezone=timezone))
    typed, faults = parsed.typed, parsed.faults
    flaws = [(line, detail) for line, detail, _ in part.malformed]
    flaws += [(int(part.line[fault.row]), fault.detail) for fault in faults]
    if flaws:
        listed = "; ".join(f"line {line}: {detail}" for line, detail in sorted(flaws)[:5])
        raise LedgerError(f"{path}: {len(flaws)} cells or lines to correct: {listed}")
    if typed.empty:
        raise LedgerError(f"{path}: has no row below its header; expected {', '.join(columns)}")
    return typed, part.line
