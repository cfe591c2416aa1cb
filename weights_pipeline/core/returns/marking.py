"""Marking open lots to market, where prices are to be had.

Here belongs the daily profit of lots while they are open. Here do not belong prices as such, nor returns on capital
(``returns``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.currencies import rates_of
from weights_pipeline.core.returns.lot_arrays import (
    Floats,
    inside,
    positions,
    require_columns,
    require_grid,
)
from weights_pipeline.core.returns.matching import carried_from
from weights_pipeline.core.returns.open_positions import decimal, parts_of, spans_of


class UnpricedError(ValueError):
    """A lot was open in a session for which there is no price of it."""


_PRICED = ("strategy", "symbol", "side", "quantity", "open_price", "entry_value", "open_session")


def mark_to_market(
    lots: pd.DataFrame,
    open_lots: pd.DataFrame,
    prices: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    rates: pd.DataFrame | None = None,
) -> pd.DataFrame:
    r"""Daily P&L with lots from fills marked to market while they are open.

    A lot of signed quantity :math:`q` earns :math:`q\,(p_s - p_{s-1})` in each session it is open, from its
    entry price in the session of the opening to its exit price in that of the exit. What was carried over a split or
    a rename goes on from the close before it, in its new units. What prices do not
    explain of its realized P&L, the fees, is booked on exit, so that the days of a lot add up to its P&L.

    In another currency, a lot opened at :math:`p_0` has :math:`q\,(p_s - p_0)\,x_s` of profit by :math:`s`, with
    :math:`x_s` the rate of the session, and earns in each session what that has changed by. So its days add up to its
    P&L, which is at the rate of the exit; what the price paid gains by its currency alone is no profit, there or here.

    Each month stands on the lots closed in it and those open at its end. Other lots are not known before
    their exit and stay booked there.

    Parameters
    ----------
    lots
        Closed lots: ``strategy``, ``symbol``, ``side`` (long or short), ``quantity``, ``open_price``,
        ``close_price``, ``pnl`` (account currency), ``entry_value``, ``open_session``, ``session``, ``source``; of
        those from fills ``parent_lot_id``; ``currency`` (null in account currency) where prices are in several.
    open_lots
        Lots from fills still open at each month end: ``lot_id``, the columns of ``lots`` known by then, ``snapshot``.
    prices
        Closing prices, sessions × symbols, from the session before the first of ``sessions`` where lots
        were open.
    sessions
        The calendar's sessions, whole months.
    rates
        As of :func:`~weights_pipeline.core.returns.daily.daily_returns`.

    Returns
    -------
    DataFrame
        P&L in account currency, sessions × strategies (sorted by name); 0 without a lot.

    Raises
    ------
    ValueError
        Columns or values are missing, an open lot has no price (:class:`UnpricedError`), or a session no rate of its
        currency (:class:`~weights_pipeline.core.returns.currencies.UnknownRateError`).
    """
    require_grid(sessions)
    require_columns("lots", lots, (*_PRICED, "close_price", "pnl", "session", "source"))
    from_fills = lots["source"] == "fills"
    booked = inside(lots[~from_fills], sessions)
    require_columns("lots from fills", lots[from_fills], (*_PRICED, "parent_lot_id", "session"))
    require_columns("open_lots", open_lots, (*_PRICED, "lot_id", "snapshot"))
    known, columns = rates_of(rates, sessions, lots[from_fills], open_lots), [*_PRICED]
    if known is not None:
        lots, open_lots, columns = known.coded(lots), known.coded(open_lots), [*_PRICED, "currency"]
    parts = parts_of(
        lots.loc[from_fills, [*columns, "parent_lot_id", "session", "close_price", "pnl"]],
        open_lots[[*columns, "lot_id", "snapshot"]],
        sessions,
    )
    # Of a day on which a part leaves, what stays is marked to its close, and the part to its own price.
    spans = spans_of(parts, sessions, with_exit=False)
    span, stays = spans.days()
    exits = np.flatnonzero(parts["closed"].to_numpy(bool))
    row = np.concatenate([spans.row[span], exits])
    day = np.concatenate([stays, parts["last"].to_numpy()[exits]])
    leaves = np.arange(len(row)) >= len(stays)

    symbols, symbol = np.unique(parts["symbol"].to_numpy(dtype=object), return_inverse=True)
    of_symbols = prices.reindex(columns=symbols)
    close = of_symbols.reindex(sessions).to_numpy(dtype=np.float64)
    close_before = np.vstack([_last_row(of_symbols[of_symbols.index < sessions[0]]), close[:-1]])

    value, side = parts["entry_value"].to_numpy(np.float64), np.where(parts["side"] == "long", 1.0, -1.0)
    entry, leave = parts["open_price"].to_numpy(np.float64), parts["close_price"].to_numpy(np.float64)
    units = parts["quantity"].to_numpy(np.float64)
    # A contract stands for so many units; with a price of 0 nothing says how many, and it is taken for one.
    paid = np.abs(units * entry)
    multiplier = np.where(paid > 0, decimal(np.divide(value, paid, out=np.ones_like(paid), where=paid > 0)), 1.0)
    quantity = side[row] * multiplier[row] * np.concatenate([spans.quantity[span], units[exits]])
    price = np.where(leaves, leave[row], close[day, symbol[row]])
    begins = _begins(parts, pd.Index(symbols), close_before)
    price_before = np.where(day == parts["opened"].to_numpy()[row], begins[row], close_before[day, symbol[row]])
    if (missing := np.isnan(price - price_before)).any():
        where = int(np.argmax(missing))
        lot = parts.iloc[row[where]]
        raise UnpricedError(
            f"prices: strategy {lot['strategy']} held {lot['symbol']} on {sessions[day[where]]:%Y-%m-%d}, "
            f"but it has no price then or in the session before"
        )
    earned, gross = quantity * (price - price_before), (side * units * multiplier * (leave - entry))[row]
    if known is not None:
        currency = parts["currency"].to_numpy(np.intp)[row]
        now, before = known.at(currency, day), known.values[currency, day]
        profit = quantity * (price_before - entry[row])
        # What is opened in a session has no profit before it, and needs no rate.
        earned = earned * now + np.where(profit != 0, profit * (now - before), 0.0)
        gross = gross * now
    earned += np.where(leaves, parts["pnl"].to_numpy(np.float64)[row] - gross, 0.0)

    names = sorted({*booked["strategy"], *parts["strategy"]})
    session = np.concatenate([day, positions(booked, "session", sessions)])
    strategy = pd.Index(names).get_indexer(pd.Index([*parts["strategy"].to_numpy()[row], *booked["strategy"]]))
    amount = np.concatenate([earned, booked["pnl"].to_numpy(np.float64)])
    cell = session * len(names) + strategy
    order = np.lexsort((amount, cell))
    total = np.bincount(cell[order], weights=amount[order], minlength=len(sessions) * len(names))
    total = total.astype(np.float64, copy=False)  # of no rows NumPy counts, whatever their weights
    return pd.DataFrame(total.reshape(len(sessions), len(names)), index=sessions, columns=names)


def _begins(parts: pd.DataFrame, symbols: pd.Index, close_before: Floats) -> Floats:
    """Price that each part is marked from in its first session, shape (n,).

    That is what was paid; of what was carried, the close before in its new units, which the cost says.
    """
    paid: Floats = parts["open_price"].to_numpy(np.float64).copy()
    openers = pd.Index(parts["opener"])
    # In any other id the sign is escaped.
    of = {name: carried_from(name) for name in openers.unique() if "@" in name}
    if not of:
        return paid
    before = openers.map(of)
    carried = np.flatnonzero(before.notna())
    known = parts.drop_duplicates("opener").set_index("opener").loc[before[carried], ["symbol", "open_price"]]
    cost, now = known["open_price"].to_numpy(np.float64), paid[carried]
    both = (cost != 0) & (now != 0)
    ratio = np.where(both, decimal(np.divide(cost, now, out=np.ones_like(cost), where=both)), 1.0)
    opened = parts["opened"].to_numpy()[carried]
    paid[carried] = close_before[opened, symbols.get_indexer(known["symbol"])] / ratio
    return paid


def _last_row(frame: pd.DataFrame) -> Floats:
    """Last row of a frame, shape (1, columns); NaN when it has none."""
    return frame.to_numpy(np.float64)[-1:] if len(frame) else np.full((1, frame.shape[1]), np.nan)


def booked_on_exit(returns: pd.DataFrame, lots: pd.DataFrame, cash: pd.DataFrame) -> pd.DataFrame:
    """Daily returns as they would be without prices: profit of lots on their exit, and cash, over the same capital.

    Parameters
    ----------
    returns
        Rows of :func:`~weights_pipeline.core.returns.daily.daily_returns`: which sessions and strategies, and
        ``capital``; where that is not known there is no profit either.
    lots
        Closed lots: ``strategy``, ``session`` (of the exit), ``pnl``.
    cash
        ``session``, ``strategy``, ``amount``.

    Returns
    -------
    DataFrame
        Sessions × strategies; NaN before a strategy's first activity.
    """
    booked = pd.concat([lots[["session", "strategy", "pnl"]], cash.rename(columns={"amount": "pnl"})])
    profit = booked.groupby(["session", "strategy"])["pnl"].sum()
    rows = returns.set_index(["session", "strategy"])
    earned = (profit.reindex(rows.index).fillna(0.0) / rows["capital"]).fillna(0.0)
    spread: pd.DataFrame = earned.unstack("strategy").sort_index()
    return spread
