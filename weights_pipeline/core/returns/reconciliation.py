"""Reconciliation: what a broker states, beside what a ledger's rows come to.

Scope: positions and realized profit at the end of a session. Not here: files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

QUANTITY, PROFIT = 1e-6, 0.005
"""Relative tolerance of a quantity, and of a realized profit."""


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
    rows = statement.assign(strategy=statement["strategy"].fillna("")).reset_index(drop=True)
    for session in sorted(rows["session"].unique()):
        here = (holdings["since"] <= session) & ~(holdings["until"] <= session)
        held = holdings.loc[here, ["strategy", "symbol"]].assign(quantity=signed[here])
        done = lots[lots["session"] <= session]
        stated = rows[rows["session"] == session]
        for row, said in zip(stated.index.tolist(), stated.to_dict("records"), strict=True):
            strategy, symbol = said["strategy"], said["symbol"]
            figures = ("quantity", held, "quantity", QUANTITY), ("realized_pnl", done, "pnl", PROFIT)
            for what, frame, column, tolerance in figures:
                own = frame[(frame["symbol"] == symbol) & ((frame["strategy"] == strategy) | (not strategy))]
                found, figure = float(own[column].sum()), said[what]
                if pd.notna(figure) and abs(found - figure) > tolerance * max(abs(found), abs(figure)):
                    yield Break(row, session, strategy, symbol, what, figure, found)
        if (stated["strategy"] == "").all():
            unlisted = held[~held["symbol"].isin(stated["symbol"])].groupby("symbol")["quantity"].sum()
            for symbol, found in unlisted[unlisted != 0].items():
                yield Break(-1, session, "", str(symbol), "quantity", 0.0, float(found))
