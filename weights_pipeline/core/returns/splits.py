"""Splits that nobody told of: what closes and fills look like over one.

Scope: what a person has to be asked. Not here: actions that are known (``actions``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.actions import Action
from weights_pipeline.core.returns.matching import FILL, RESIDUE, begins_stream, stream_order

LARGEST = 20
"""Splits are of 2 to so many for one, or the reverse."""
NEAR, NEARLY, LIKE = 0.02, 0.1, 0.35
"""How near to n:1 of the one before a close has to be, the price of a fill that sells up to n times what is held, and
the price of one that sells n times what is held to the unit."""


class SplitLike(NamedTuple):
    """A jump between two closes while a position was open: where it stands, and units after it for one before."""

    strategy: str
    symbol: str
    session: pd.Timestamp
    line: int
    ratio: str


class SoldTimes(NamedTuple):
    """A fill that sells more than is held, at about the nth part of the price paid last, and at most n times of it."""

    row: int
    strategy: str
    symbol: str
    ts: pd.Timestamp
    times: int
    held: float


def jumps_held_over(closes: pd.DataFrame, holdings: pd.DataFrame, actions: Sequence[Action]) -> Iterator[SplitLike]:
    """Closes that jump by n:1 or 1:n, within 2%, over a night on which the symbol was held and no action is known.

    Parameters
    ----------
    closes
        ``date``, ``symbol``, ``close`` and ``line``.
    holdings
        ``strategy``, ``symbol``, ``since`` and ``until``, sessions; the last is null of what is open to the end.
    actions
        What is known.
    """
    rows = closes[closes["close"] > 0].sort_values(["symbol", "date"])
    before = rows.groupby("symbol")[["date", "close"]].shift(1)
    factor = (before["close"] / rows["close"]).to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        size = np.where(factor >= 1, factor, 1 / factor)
    times = np.rint(size)
    jumped = (times >= 2) & (times <= LARGEST) & (np.abs(size / times - 1) <= NEAR)
    known = {(action.symbol, action.session) for action in actions if action.kind == "split"}
    for i in np.flatnonzero(jumped).tolist():
        symbol, day, since = rows["symbol"].iloc[i], rows["date"].iloc[i], before["date"].iloc[i]
        if any(name == symbol and since < session <= day for name, session in known):
            continue
        own = holdings[(holdings["symbol"] == symbol) & (holdings["since"] <= since)]
        held = own[own["until"].isna() | (own["until"] >= day)]
        n = int(times[i])
        for strategy in sorted(held["strategy"].unique()):
            yield SplitLike(strategy, symbol, day, int(rows["line"].iloc[i]), f"{n}:1" if factor[i] > 1 else f"1:{n}")


def sold_times(events: pd.DataFrame) -> Iterator[SoldTimes]:
    """Fills that turn a position round at about an nth of the price paid for it, by no more than n times what it was.

    The price may be 35% off where the fill is n times the position to the unit, and 10% where it is less.

    Parameters
    ----------
    events
        As for :func:`~weights_pipeline.core.returns.matching.match_fifo`.
    """
    fills = events[events["event"] == FILL]
    fills = fills.iloc[stream_order(fills)]
    pair = np.cumsum(begins_stream(fills))
    amount, price = fills["amount"].astype(float), fills["price"].astype(float)
    after = amount.groupby(pair).cumsum()
    held = after - amount
    # What is left of sums of decimals is no position.
    position = held.abs().to_numpy() > RESIDUE * amount.abs().to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        times = (-amount / held).to_numpy(np.float64)
    if not (position & (times > 1)).any():
        return

    def entered(what: pd.Series) -> pd.Series:
        """Of the last fill of the position's own sign: exits in parts may have come since."""
        buys, sells = (what.where(sign * amount > 0).groupby(pair).ffill().groupby(pair).shift(1) for sign in (1, -1))
        return buys.where(held > 0, sells)

    with np.errstate(divide="ignore", invalid="ignore"):
        part = (entered(price) / price).to_numpy(np.float64)
        whole, nth = np.rint(times), np.rint(part)
        exact = (np.abs(times - whole) <= 1e-9) & (np.abs(part / whole - 1) <= LIKE)
        split = nth * entered(after.abs()).to_numpy(np.float64)
        within = (times > 1) & (amount.abs().to_numpy() <= split) & (np.abs(part / nth - 1) <= NEARLY)
    n = np.where(within, nth, whole)
    found = position & (n >= 2) & (n <= LARGEST) & (exact | within)
    for i in np.flatnonzero(found).tolist():
        row = fills.iloc[i]
        yield SoldTimes(int(row["position"]), row["strategy"], row["symbol"], row["ts"], int(n[i]), float(held.iloc[i]))
