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
    if lots["pnl"].isna().all():
        return []
    fees, multiplier = lots["fees"].fillna(0.0), lots["multiplier"].fillna(1.0)
    gross = lot_pnl(
        lots["side"], lots["quantity"], lots["open_price"], lots["close_price"], fees * 0.0, multiplier
    ).to_numpy()
    given = (lots["pnl"] + fees).to_numpy()
    some = np.isfinite(given) & np.isfinite(gross) & (np.abs(gross) > _CENT)
    rows = lots.loc[some, ["strategy", "symbol"]].assign(given=given[some], gross=gross[some])
    rows["ratio"] = rows["given"] / rows["gross"]
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
