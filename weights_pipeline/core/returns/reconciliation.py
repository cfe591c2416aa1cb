"""Reconciliation: what a broker states, beside what a ledger's rows come to.

Scope: positions and realised profit at the end of a session. Not here: files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

QUANTITY, PROFIT = 1e-6, 0.005
"""Relative tolerance of a quantity, and of a realised profit."""


class Break(NamedTuple):
    """A figure that a statement and the ledger do not agree on; ``strategy`` is empty where the statement names none.

    ``row`` is the statement's row, or −1 of a position that it does not list.
    """

    row: int
    session: pd.Timestamp
    strategy: str
    symbol: str
    what: str
    stated: float
    found: float


def breaks(statement: pd.DataFrame, holdings: pd.DataFrame, lots: pd.DataFrame) -> Iterator[Break]:
    """Compare every date of a statement with the ledger.

    Parameters
    ----------
    statement
        ``session`` (the last one on or before its date), ``symbol``, ``quantity`` (signed), ``strategy`` (null: summed
        over all) and ``realized_pnl`` to date (may be null). A date on which no strategy is named lists every position
        there is.
    holdings
        ``strategy``, ``symbol``, ``side``, ``quantity``, ``since`` and ``until``, sessions.
    lots
        Closed lots: ``strategy``, ``symbol``, ``session``, ``pnl``.
    """
    signed = holdings["quantity"].where(holdings["side"] == "long", -holdings["quantity"])
    for session, rows in statement.groupby("session"):
        here = (holdings["since"] <= session) & ~(holdings["until"] <= session)
        open_now = holdings.loc[here, ["strategy", "symbol"]].assign(quantity=signed[here])
        done = lots[lots["session"] <= session]
        for row in rows.itertuples():
            own = "" if pd.isna(row.strategy) else str(row.strategy)
            held, closed = (
                frame[(frame["symbol"] == row.symbol) & ((frame["strategy"] == own) | (not own))]
                for frame in (open_now, done)
            )
            found = float(held["quantity"].sum())
            if abs(found - row.quantity) > QUANTITY * max(abs(found), abs(row.quantity)):
                yield Break(row.Index, session, own, row.symbol, "quantity", float(row.quantity), found)
            if pd.notna(row.realized_pnl):
                profit = float(closed["pnl"].sum())
                if abs(profit - row.realized_pnl) > PROFIT * max(abs(profit), abs(row.realized_pnl)):
                    yield Break(row.Index, session, own, row.symbol, "realized_pnl", float(row.realized_pnl), profit)
        if rows["strategy"].isna().all():
            by_symbol = open_now.groupby("symbol")["quantity"].sum()
            for symbol, found in by_symbol.drop(rows["symbol"].unique(), errors="ignore").items():
                if found != 0:
                    yield Break(-1, session, "", str(symbol), "quantity", 0.0, float(found))
