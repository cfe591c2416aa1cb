"""Marking open lots to market, where prices are to be had.

Here belongs the daily profit of lots while they are open. Here do not belong prices as such, nor returns on capital
(``returns``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.lot_arrays import (
    Floats,
    inside,
    month_start,
    positions,
    require_columns,
    require_grid,
)

_PRICED = ("strategy", "symbol", "side", "quantity", "open_price", "open_session")


def mark_to_market(
    lots: pd.DataFrame, open_lots: pd.DataFrame, prices: pd.DataFrame, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    r"""Daily P&L with lots from fills marked to market while they are open.

    A lot of signed quantity :math:`q` earns :math:`q\,(p_s - p_{s-1})` in each session it is open, from its
    entry price in the session of the opening to its exit price in that of the exit. What prices do not
    explain of its realised P&L, the fees, is booked on exit, so that the days of a lot add up to its P&L.
    Each month stands on the lots closed in it and those open at its end. Other lots are not known before
    their exit and stay booked there.

    Parameters
    ----------
    lots
        Closed lots: ``strategy``, ``symbol``, ``side`` (long or short), ``quantity``, ``open_price``,
        ``close_price``, ``pnl``, ``open_session``, ``session``, ``source``.
    open_lots
        Lots from fills still open at each month end: the columns of ``lots`` known by then, and ``snapshot``.
    prices
        Closing prices, sessions × symbols, from the session before the first of ``sessions`` where lots
        were open.
    sessions
        The calendar's sessions, whole months.

    Returns
    -------
    DataFrame
        P&L in account currency, sessions × strategies (sorted by name); 0 without a lot.

    Raises
    ------
    ValueError
        Columns or values are missing, or an open lot has no price.
    """
    require_grid(sessions)
    require_columns("lots", lots, (*_PRICED, "close_price", "pnl", "session", "source"))
    from_fills = lots["source"] == "fills"
    booked = inside(lots[~from_fills], sessions)
    require_columns("open_lots", open_lots, (*_PRICED, "snapshot"))
    still_open = open_lots.rename(columns={"snapshot": "session"}).assign(close_price=np.nan, pnl=0.0)
    both = [lots[from_fills].assign(closed=True), still_open.assign(closed=False)]
    held = inside(pd.concat(both, ignore_index=True), sessions)

    last, opened = positions(held, "session", sessions), positions(held, "open_session", sessions)
    begin = np.maximum(opened, month_start(sessions)[last])
    days = last - begin + 1
    row = np.repeat(np.arange(len(held)), days)
    day = np.arange(len(row)) - np.repeat(np.cumsum(days) - days, days) + begin[row]

    symbols, symbol = np.unique(held["symbol"].to_numpy(dtype=object), return_inverse=True)
    of_symbols = prices.reindex(columns=symbols)
    close = of_symbols.reindex(sessions).to_numpy(dtype=np.float64)
    close_before = np.vstack([_last_row(of_symbols[of_symbols.index < sessions[0]]), close[:-1]])

    quantity = held["quantity"].to_numpy(np.float64) * np.where(held["side"] == "long", 1.0, -1.0)
    entry, leave = held["open_price"].to_numpy(np.float64), held["close_price"].to_numpy(np.float64)
    exits = held["closed"].to_numpy(bool)[row] & (day == last[row])
    price = np.where(exits, leave[row], close[day, symbol[row]])
    price_before = np.where(day == opened[row], entry[row], close_before[day, symbol[row]])
    if (missing := np.isnan(price - price_before)).any():
        where = int(np.argmax(missing))
        lot = held.iloc[row[where]]
        raise ValueError(
            f"prices: strategy {lot['strategy']} held {lot['symbol']} on {sessions[day[where]]:%Y-%m-%d}, "
            f"but it has no price then or in the session before"
        )
    unexplained = held["pnl"].to_numpy(np.float64) - quantity * (leave - entry)
    earned = quantity[row] * (price - price_before) + np.where(exits, unexplained[row], 0.0)

    names = sorted({*booked["strategy"], *held["strategy"]})
    session = np.concatenate([day, positions(booked, "session", sessions)])
    strategy = pd.Index(names).get_indexer(pd.Index([*held["strategy"].to_numpy()[row], *booked["strategy"]]))
    amount = np.concatenate([earned, booked["pnl"].to_numpy(np.float64)])
    cell = session * len(names) + strategy
    order = np.lexsort((amount, cell))
    total = np.bincount(cell[order], weights=amount[order], minlength=len(sessions) * len(names))
    return pd.DataFrame(total.reshape(len(sessions), len(names)), index=sessions, columns=names)


def _last_row(frame: pd.DataFrame) -> Floats:
    """Last row of a frame, shape (1, columns); NaN when it has none."""
    return frame.to_numpy(np.float64)[-1:] if len(frame) else np.full((1, frame.shape[1]), np.nan)
