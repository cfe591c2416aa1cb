"""What the fills of one instant leave open: their order, and whether two of them are one trade and its cancellation.

Scope: what a person has to be asked. Not here: the order that is taken until then (``matching.stream_order``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.matching import FILL, LOST, OPENING, stream_order


class Ambiguity(NamedTuple):
    """Fills of opposite signs at one instant that nothing orders; P&L without fees, of all buys first or all sells."""

    strategy: str
    symbol: str
    ts: pd.Timestamp
    position: int
    buys_first: float
    sells_first: float


class Opposites(NamedTuple):
    """Positions in the files of a fill and of its opposite: same instant, price and size."""

    strategy: str
    symbol: str
    ts: pd.Timestamp
    first: int
    second: int


_WALKED = ["strategy", "symbol", "ts", "event", "position", "amount", "price", "multiplier"]


class _Fill(NamedTuple):
    amount: float
    price: float
    multiplier: float


def ambiguous_order(events: pd.DataFrame, rows: pd.DataFrame) -> Iterator[Ambiguity]:
    """Instants at which fills of both signs happen that no ``sequence`` orders.

    Parameters
    ----------
    events : DataFrame
        As for :func:`~weights_pipeline.core.returns.matching.match_fifo`.
    rows : DataFrame
        Those that :func:`at_one_instant` finds among them.
    """
    pair = ["strategy", "symbol"]
    if rows.empty:
        return
    instant = [rows[name] for name in (*pair, "ts")]
    both = rows["amount"].gt(0).groupby(instant).transform("nunique") == 2
    ordered = rows["sequence"].notna() & ~rows.duplicated([*pair, "ts", "sequence"], keep=False)
    unclear = rows[both & ~ordered.groupby(instant).transform("all")]
    if unclear.empty:
        return
    wanted = {*unclear[[*pair, "ts"]].drop_duplicates().itertuples(index=False, name=None)}
    concerned = pd.MultiIndex.from_frame(events[pair]).isin(pd.MultiIndex.from_frame(unclear[pair]))
    own = events[concerned]
    own = own.iloc[stream_order(own)]
    walked = zip(*(own[name].tolist() for name in _WALKED), strict=True)
    for (strategy, symbol), stream in groupby(walked, key=lambda row: row[:2]):
        queue: deque[_Fill] = deque()
        for ts, at in groupby(stream, key=lambda row: row[2]):
            fills: list[tuple[float, _Fill]] = []
            for _, _, _, event, position, *figures in at:
                if event == LOST:
                    queue.clear()
                elif event in (FILL, OPENING):
                    fills.append((position, _Fill(*figures)))
            given = [fill for _, fill in fills]
            if (strategy, symbol, ts) in wanted:
                buys = [fill for fill in given if fill.amount > 0]
                sells = [fill for fill in given if fill.amount < 0]
                yield Ambiguity(
                    strategy,
                    symbol,
                    ts,
                    int(min(position for position, _ in fills)),
                    _realized(queue.copy(), buys + sells),
                    _realized(queue.copy(), sells + buys),
                )
            _realized(queue, given)


def opposites(rows: pd.DataFrame) -> list[Opposites]:
    """Fills with their opposite, each in one pair at most; the first of a size with the first of the other sign.

    Parameters
    ----------
    rows : DataFrame
        Fills that :func:`at_one_instant` finds.
    """
    if rows.empty:
        return []
    same = ["strategy", "symbol", "ts", "price", "size"]
    rows = rows.assign(size=rows["amount"].abs(), buys=rows["amount"] > 0)
    rows = rows[rows.groupby(same)["buys"].transform("nunique") == 2].sort_values("position")
    rows = rows.assign(number=rows.groupby([*same, "buys"]).cumcount())
    both = rows[rows["buys"]].merge(rows[~rows["buys"]], on=[*same, "number"], suffixes=("", "_other"))
    found = zip(both["strategy"], both["symbol"], both["ts"], both["position"], both["position_other"], strict=True)
    return [Opposites(strategy, symbol, ts, int(min(a, b)), int(max(a, b))) for strategy, symbol, ts, a, b in found]


def at_one_instant(events: pd.DataFrame) -> pd.DataFrame:
    """Fills of instants at which a strategy and symbol has several: of most ledgers few, or none."""
    fills = np.flatnonzero(events["event"] == FILL)
    together = fills[events["ts"].take(fills).duplicated(keep=False)]
    if not len(together):
        return events.iloc[:0]
    rows = events.take(together)
    return rows[rows.duplicated(["strategy", "symbol", "ts"], keep=False)]


def _realized(queue: deque[_Fill], fills: Iterable[_Fill]) -> float:
    """Run fills into the queue of an open position; the profit realized, without fees."""
    profit = 0.0
    for amount, price, multiplier in fills:
        rest = amount
        while queue and rest and (queue[0].amount > 0) != (rest > 0):
            held = queue[0]
            closed = min(abs(held.amount), abs(rest)) * np.sign(held.amount)
            profit += closed * (price - held.price) * held.multiplier
            rest += closed
            if abs(held.amount - closed) > 0:
                queue[0] = held._replace(amount=held.amount - closed)
            else:
                queue.popleft()
        if rest:
            queue.append(_Fill(rest, price, multiplier))
    return float(profit)
