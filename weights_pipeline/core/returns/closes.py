"""Closing prices looked through: those that can hardly be right, and which of them a ruinous return comes from.

Scope: what prices alone tell. Not here: what lots earn by them (``marking``), nor the files they come from.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.findings import LedgerFinding

LEAVES, RETURNS = 3.0, 1.5
"""A close that is this many times its neighbours or less than a share of them, which are within this factor of each
other, has left them and come back."""


def has_jumped(closes: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each close leaves both its neighbours by a factor of 3, while they are within 1.5 of each other.

    Parameters
    ----------
    closes : DataFrame, shape (n, …)
        ``symbol``, ``date`` and ``close``, in any order. A close of 0 or less is not judged, nor beside one.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    ordered = closes.sort_values(["symbol", "date"])
    with np.errstate(divide="ignore", invalid="ignore"):
        level = pd.Series(np.log(ordered["close"].to_numpy(np.float64)), index=ordered.index)
    by_symbol = level.groupby(ordered["symbol"])
    before, after = level - by_symbol.shift(1), level - by_symbol.shift(-1)
    there, back = np.log(LEAVES), np.log(RETURNS)
    same_side = (np.minimum(before, after) >= there) | (np.maximum(before, after) <= -there)
    jumped = np.isfinite(level) & same_side & ((before - after).abs() <= back)
    found: NDArray[np.bool_] = jumped.reindex(closes.index).to_numpy(dtype=np.bool_)
    return found


def price_findings(closes: pd.DataFrame, source_file: str) -> list[LedgerFinding]:
    """What there is to say of a file of closing prices.

    Parameters
    ----------
    closes : DataFrame
        ``date``, ``symbol``, ``close`` and ``line``, with a positional index.
    source_file : str
        Where they were read.
    """
    rules = (
        ("price_not_positive", (closes["close"] <= 0).to_numpy(), "is 0 or less: a gap is an empty line, not a 0"),
        ("price_jump", has_jumped(closes), "leaves the closes before and after it by a factor of 3 or more"),
    )
    return [finding for code, wrong, says in rules for finding in _by_symbol(closes[wrong], code, says, source_file)]


def _by_symbol(rows: pd.DataFrame, code: str, says: str, source_file: str) -> Iterable[LedgerFinding]:
    for symbol, own in rows.groupby("symbol"):
        first = own.sort_values("date").iloc[0]
        others = f", and {len(own) - 1} other closes of it do" if len(own) > 1 else ""
        yield LedgerFinding(
            code=code,
            symbol=str(symbol),
            since=first["date"],
            source_file=source_file,
            line=int(first["line"]),
            message=f"the close of {first['close']:g} on {first['date']:%Y-%m-%d} {says}{others}",
            figures={"close": float(first["close"]), "closes": len(own)},
            setting="correct the price, or take the line out",
        )
