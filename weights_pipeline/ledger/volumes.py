"""Traded volumes of a ledger's symbols.

Scope: the file that says what trades in a symbol and session. Not here: what strategies trade of it (``core``).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from weights_pipeline.core.returns.cells import Column
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.source import LedgerSource

_COLUMNS = {
    "date": Column(kind="date"),
    "symbol": Column(kind="text"),
    "volume": Column(kind="number", required=False),
}


def read_volumes(source: LedgerSource, root: Path) -> pd.DataFrame | None:
    """Volumes in units of quantities, dates × symbols; None where the source names no file.

    Raises
    ------
    LedgerError
        The file cannot be read, a line is not a date, a symbol and a volume of at least 0 or none, or a pair stands
        twice.
    """
    if source.volumes is None:
        return None
    rows, line = flawless_rows(root, source.volumes, _COLUMNS)
    if rows["volume"].isna().all():
        raise LedgerError(f"{source.volumes}: no line has a volume; expected columns {', '.join(_COLUMNS)}")
    if (again := rows.duplicated(["date", "symbol"]).to_numpy()).any():
        at = int(again.argmax())
        date, symbol = rows[["date", "symbol"]].iloc[at]
        raise LedgerError(f"{source.volumes}: line {line[at]}: {symbol} on {date:%Y-%m-%d} stands twice; keep one")
    if (below := (rows["volume"] < 0).to_numpy()).any():
        at = int(below.argmax())
        raise LedgerError(
            f"{source.volumes}: line {line[at]}: volume: expected 0 or more, got {rows['volume'].iloc[at]:g}"
        )
    return rows.pivot(index="date", columns="symbol", values="volume").sort_index()
