"""Returns of a portfolio that is known by what share of it was in which symbol, and by their closes.

Scope: the formula. Not here: how such a file reads (``ledger.allocations``), and returns of trades (``daily``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd


class Allocated(NamedTuple):
    """Returns that follow from allocations.

    Attributes
    ----------
    returns : Series, shape (T,)
        By date, fractions; null where one cannot be computed. The first is 0.
    lacking : dict
        By date of a return that is null for want of a close: the symbol, and the date that has no close of it.
    """

    returns: pd.Series
    lacking: dict[pd.Timestamp, tuple[str, pd.Timestamp]]


def allocated_returns(weights: pd.DataFrame, closes: pd.DataFrame) -> Allocated:
    """Return of each date by the allocation of the date before: nothing is earned by what is bought at its close.

    r_t = Σ_s w_{t−1,s} · (p_{t,s} / p_{t−1,s} − 1), where t−1 is the row before, however many days before. Between two
    rows nothing is traded, and what is in no symbol earns nothing. The first row has none before it: its return is 0.

    Parameters
    ----------
    weights : DataFrame, shape (T, symbols)
        Fractions of the portfolio at the close of each date, ascending and unique; a row with a null is unknown, and so
        is the return of the row after it.
    closes : DataFrame
        Positive closes, dates × symbols, adjusted for splits and dividends; others are none.

    Returns
    -------
    Allocated
        Sums are exact before they are rounded, so that neither the order of symbols nor a symbol that is not held
        changes a bit.
    """
    prices = closes.reindex(index=weights.index, columns=weights.columns).to_numpy(np.float64)
    prices = np.where(prices > 0, prices, np.nan)
    change = prices[1:] / prices[:-1] - 1
    returns, lacking = [0.0] * min(1, len(weights)), dict[pd.Timestamp, tuple[str, pd.Timestamp]]()
    for place, share in enumerate(weights.to_numpy(np.float64)[:-1]):
        held = np.flatnonzero(share)  # a null is not 0
        earned = share[held] * change[place, held]
        returns.append(math.fsum(earned))
        if math.isnan(returns[-1]) and not np.isnan(share).any():
            name, symbol = min((str(weights.columns[i]), i) for i in held.tolist() if np.isnan(change[place, i]))
            without = weights.index[place if np.isnan(prices[place, symbol]) else place + 1]
            lacking[weights.index[place + 1]] = name, without
    return Allocated(pd.Series(returns, index=weights.index, dtype="float64"), lacking)
