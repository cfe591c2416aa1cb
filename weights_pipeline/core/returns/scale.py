"""Scale: profits of another size than their prices give.

Scope: what closed lots say of themselves. Not here: returns in percent (``findings`` of returns), nor multipliers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.lots import lot_pnl

WITHIN = 0.01
"""Multiples that differ by less than this fraction of themselves are the same, as rounded prices leave them."""

_CENT = 0.01


class Multiple(NamedTuple):
    """A symbol whose given profits are a constant multiple of what its prices give."""

    strategy: str
    symbol: str
    row: int
    lots: int
    factor: float


def profit_multiples(lots: pd.DataFrame) -> list[Multiple]:
    """Strategies and symbols whose profits are a constant multiple, other than 1, of what their prices give.

    Parameters
    ----------
    lots : DataFrame
        ``strategy``, ``symbol``, ``side``, ``quantity``, ``open_price``, ``close_price``, ``fees`` (null is 0),
        ``multiplier`` (null is 1) and ``pnl`` as given, null where it is not.

    Returns
    -------
    list of Multiple
        Of at least two lots with a profit given and a price that moved; ``row`` is the label of the first.
    """
    rows = _compared(lots)
    if rows.empty:
        return []
    # Nearly all are at their scale, and seen to be so at once.
    scale = rows.groupby(["strategy", "symbol"], sort=False)["ratio"].transform("median")
    rows = rows[(scale - 1).abs() > WITHIN / 2]
    found = []
    for (strategy, symbol), own in rows.groupby(["strategy", "symbol"], sort=True):
        factor = float(own["ratio"].median())
        off = (own["given"] - factor * own["gross"]).abs() - _CENT
        constant = bool((off <= WITHIN * abs(factor) * own["gross"].abs()).all())
        if len(own) > 1 and constant and abs(factor - 1) > WITHIN:
            found.append(Multiple(str(strategy), str(symbol), int(own.index[0]), len(own), factor))
    return found


class Suspects(NamedTuple):
    """Strategies and symbols of some lots of a ledger: of which others decide, and of which none can.

    Where no lots make a pair suspect, or some make it mixed, :func:`profit_multiples` of all of them has not got it.
    """

    suspect: frozenset[tuple[str, str]]
    mixed: frozenset[tuple[str, str]]


def multiples_suspected(lots: pd.DataFrame) -> Suspects:
    """Say of which pairs some lots alone do not settle that profits are no constant multiple.

    A factor f that lots share is within ``0.01·|f|`` and a cent's share of every ratio r of given to computed profit,
    so |f| is at most (|r| + s) / 0.99 and f within that far of r: where two such intervals have nothing in common, the
    pair is mixed. Where every ratio is within 1 % of 1, so is their median, which the factor is.

    Parameters
    ----------
    lots : DataFrame
        As of :func:`profit_multiples`.
    """
    rows = _compared(lots)
    if rows.empty:
        return Suspects(frozenset(), frozenset())
    share = _CENT / rows["gross"].abs()
    far = WITHIN * (rows["ratio"].abs() + share) / (1 - WITHIN) + share
    # Rounding must not part what belongs together.
    far = far * (1 + 1e-9) + 1e-9
    near = (rows["ratio"] - 1).abs() <= WITHIN
    found = (
        rows.assign(low=rows["ratio"] - far, high=rows["ratio"] + far, off=~near)
        .groupby(["strategy", "symbol"], sort=True)
        .agg(low=("low", "max"), high=("high", "min"), off=("off", "any"))
    )
    mixed = found["low"] > found["high"]
    return Suspects(frozenset(found.index[found["off"] & ~mixed]), frozenset(found.index[mixed]))


def _compared(lots: pd.DataFrame) -> pd.DataFrame:
    """Given and computed profit before fees, and their ratio, of lots that have both; the labels of the lots."""
    if lots["pnl"].isna().all():
        empty = pd.DataFrame(columns=["strategy", "symbol", "given", "gross", "ratio"], dtype=np.float64)
        return empty.astype({"strategy": "str", "symbol": "str"})
    fees, multiplier = lots["fees"].fillna(0.0), lots["multiplier"].fillna(1.0)
    gross = lot_pnl(
        lots["side"], lots["quantity"], lots["open_price"], lots["close_price"], fees * 0.0, multiplier
    ).to_numpy()
    given = (lots["pnl"] + fees).to_numpy()
    some = np.isfinite(given) & np.isfinite(gross) & (np.abs(gross) > _CENT)
    rows: pd.DataFrame = lots.loc[some, ["strategy", "symbol"]].assign(given=given[some], gross=gross[some])
    rows["ratio"] = rows["given"] / rows["gross"]
    return rows
