"""Liquidity: what strategies trade, against the volume that usually trades.

Scope: traded quantities of closed lots and the usual volume of their symbols. Not here: the weight that follows
(``core.targets``), and where volumes come from.

What a session says is known in it: lots count when they leave, and volumes before a trade alone are its usual ones.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

USUAL = 21
"""Sessions before a trade whose mean volume is the usual one."""

LIQUIDITY = ("session", "strategy", "symbol", "quantity", "usual_volume", "unknown")

_TRADED = ["strategy", "symbol", "open_session", "session"]


def traded(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Quantities of lots that were entered in one session and left in another, whatever their order.

    Parameters
    ----------
    parts
        Closed lots, each session's in one part: ``strategy``, ``symbol``, ``open_session``, ``session``, ``quantity``.

    Returns
    -------
    DataFrame
        ``strategy``, ``symbol``, ``open_session``, ``session`` (each four once, in their order), ``quantity``.
    """
    sums = [_summed(part[[*_TRADED, "quantity"]], _TRADED) for part in parts]
    return pd.concat(sums).sort_values(_TRADED, ignore_index=True)


def liquidity(trades: pd.DataFrame, volumes: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    r"""The trade of each session and strategy that is largest against the usual volume of its symbol.

    With lots :math:`j` of a strategy in a symbol, of quantity :math:`q_j`, entered in :math:`u_j` and left in
    :math:`t_j`, the trades known in session :math:`t` are what left, :math:`\sum_{t_j=t} q_j`, against the usual volume
    of :math:`t`; and for each session :math:`u` in which some of it had been entered, what is known of that entry,
    :math:`\sum_{u_j=u,\,t_j\le t} q_j`, against the usual volume of :math:`u`. The usual volume of a session is the
    mean of the volumes stated in the ``USUAL`` sessions before it.

    Parameters
    ----------
    trades
        As :func:`traded` gives them.
    volumes
        Volume, in units of quantities, dates × symbols; NaN where none is stated. Dates that are no sessions are left
        aside.
    sessions
        Trading sessions from the first volume or entry to the last exit.

    Returns
    -------
    DataFrame
        By session and strategy: ``session``, ``strategy``; ``symbol``, ``quantity`` and ``usual_volume`` of that trade,
        of those whose usual volume is known (NaN where none is: then of the first one); ``unknown``, the first symbol
        by name of which no volume is stated in the sessions before a trade, null where there is none.
    """
    exits = _summed(trades, ["strategy", "symbol", "session"]).assign(at=lambda rows: rows["session"])
    entered = trades.groupby(_TRADED[:3], sort=False)["quantity"].cumsum()
    entries = trades.assign(quantity=entered, at=trades["open_session"]).drop(columns="open_session")
    rows = pd.concat([exits, entries], ignore_index=True)
    rows["usual_volume"] = _usual(rows, volumes, sessions)
    tightness = rows["usual_volume"] / rows["quantity"]
    order = ["session", "strategy", "tightness", "symbol", "quantity"]
    rows = rows.assign(tightness=tightness).sort_values(order, na_position="last", kind="stable")
    unknown = rows[rows["usual_volume"].isna()].groupby(order[:2])["symbol"].min().rename("unknown").reset_index()
    tightest = rows.drop_duplicates(order[:2]).merge(unknown, on=order[:2], how="left")
    return tightest[[*LIQUIDITY]].astype({"unknown": "str"})


def _summed(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sums of quantities, added in an order of their own."""
    rows = rows.sort_values([*by, "quantity"], ignore_index=True)
    if rows.empty:
        return rows[[*by, "quantity"]]
    first = ~rows.duplicated(by).to_numpy()
    total = np.add.reduceat(rows["quantity"].to_numpy(np.float64), np.flatnonzero(first))
    return rows.loc[first, by].assign(quantity=total).reset_index(drop=True)


def _usual(rows: pd.DataFrame, volumes: pd.DataFrame, sessions: pd.DatetimeIndex) -> Floats:
    """Usual volume of each row's symbol at its trade."""
    on_sessions = volumes.reindex(sessions).to_numpy(np.float64)
    before = np.concatenate([np.full((USUAL, on_sessions.shape[1]), np.nan), on_sessions])
    column = volumes.columns.get_indexer(pd.Index(rows["symbol"]))
    place = sessions.get_indexer(pd.DatetimeIndex(rows["at"]))
    wanted, back = np.unique(np.stack([place, column]), axis=1, return_inverse=True)
    window = before[wanted[0][:, None] + np.arange(USUAL), wanted[1][:, None]]
    stated = (~np.isnan(window)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(np.isnan(window), 0.0, window).sum(axis=1) / stated
    found: Floats = np.where((wanted < 0).any(axis=0), np.nan, mean)[back]
    return found
