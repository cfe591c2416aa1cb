"""Samples: the returns of a window that an optimised allocation is chosen on.

Here belongs which observations a sample has. Here does not belong what is done with them (``optimise``), nor metrics,
which are measured strategy by strategy (``metrics``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from weights_pipeline.core.metrics.lookback import SESSIONS_PER_YEAR, Lookback
from weights_pipeline.core.returns.history import BoolArray, FloatArray, IntArray, ReturnHistory


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Returns of n strategies in the window of one date.

    Attributes
    ----------
    returns
        Daily returns of all sessions of the window, shape (T, n); NaN before a strategy's first activity, and all of
        them where a position of it is not known in the window.
    active
        Whether a strategy had capital at work in the session, shape (T, n).
    """

    returns: FloatArray
    active: BoolArray

    def observed(self, chosen: IntArray, *, active_days_only: bool) -> tuple[FloatArray, float]:
        """Observations that some strategies have in common, and how many of them there are in a year.

        Parameters
        ----------
        chosen
            Columns, each live in at least one session.
        active_days_only
            Leave out the sessions on which none of them had capital at work.

        Returns
        -------
        returns : ndarray, shape (observations, len(chosen))
            From the first session on which all are live.
        periods : float
            252, or the share of it that the active sessions are.
        """
        live = ~np.isnan(self.returns[:, chosen]).any(axis=1)
        returns = self.returns[live][:, chosen]
        if not active_days_only:
            return returns, float(SESSIONS_PER_YEAR)
        some = self.active[live][:, chosen].any(axis=1)
        return returns[some], SESSIONS_PER_YEAR * int(np.count_nonzero(some)) / max(len(returns), 1)


def samples(
    history: ReturnHistory, as_of: pd.DatetimeIndex, lookback: Lookback, strategies: tuple[str, ...]
) -> list[Sample]:
    """Sample of each date: the sessions in (d − lookback, d], and nothing after.

    Parameters
    ----------
    history
        Returns, from the lookback of the first date on.
    as_of
        Sessions of the history.
    lookback
        The window.
    strategies
        Columns of the samples; one that the history has never seen is live on no session.
    """
    rows = history.sessions.get_indexer(as_of)
    if (rows < 0).any():
        raise ValueError(f"as_of: expected sessions of the history, got {as_of[int(np.argmax(rows < 0))]:%Y-%m-%d}")
    known = pd.Index(history.strategies, dtype=object).get_indexer(pd.Index(strategies, dtype=object))
    returns = np.where(known >= 0, history.returns[:, known], np.nan)
    active = history.active[:, known] & (known >= 0)
    unknown = np.zeros_like(active) if history.unknown is None else history.unknown[:, known] & (known >= 0)
    return [
        Sample(
            returns=np.where(unknown[start : row + 1].any(axis=0), np.nan, returns[start : row + 1]),
            active=active[start : row + 1],
        )
        for start, row in zip(lookback.starts(history.sessions, as_of), rows, strict=True)
    ]
