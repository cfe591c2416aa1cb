"""Samples: the returns of a window that optimised weights are chosen on.

Scope: which observations a sample has. Not here: what is done with them (``methods``), and metrics, which are measured
strategy by strategy (``core.metrics``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.history import BoolArray, FloatArray, IntArray, ReturnHistory


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Returns of n strategies in the window of one date.

    Attributes
    ----------
    sessions
        Sessions of the window that returns stand on, from the first one on with any strategy live, shape (T,).
    returns
        Their returns, shape (T, n); NaN before a strategy's first activity, and all NaN once it has ended, or where a
        position of it is not known in the window.
    active
        Whether a strategy had capital at work in the session, shape (T, n).
    covers
        Whether returns go back to the beginning of the window.
    per_year
        Sessions a year.
    """

    sessions: pd.DatetimeIndex
    returns: FloatArray
    active: BoolArray
    covers: bool = True
    per_year: float = DAILY.per_year

    @property
    def whole(self) -> BoolArray:
        """Whether a strategy was live on every session of the window, shape (n,)."""
        live = np.asarray(~np.isnan(self.returns).any(axis=0))
        return live if self.covers else np.zeros_like(live)

    def observed(self, chosen: IntArray, *, active_days_only: bool) -> tuple[FloatArray, float, str]:
        """Observations of some strategies, and how many of them there are in a year.

        Parameters
        ----------
        chosen
            Columns, each live in the whole window.
        active_days_only
            Leave out the sessions on which none of them had capital at work.

        Returns
        -------
        returns : ndarray, shape (observations, len(chosen))
        periods : float
            Sessions a year, or the share of them that the active sessions are.
        words : str
            How many, and from when to when.
        """
        returns, count = self.returns[:, chosen], len(self.returns)
        words = f"{count} sessions from {self.sessions[0]:%Y-%m-%d} to {self.sessions[-1]:%Y-%m-%d}"
        if not active_days_only:
            return returns, float(self.per_year), words
        some = self.active[:, chosen].any(axis=1)
        active = int(np.count_nonzero(some))
        return returns[some], self.per_year * active / count, f"the {active} active of {words}"


def samples(
    history: ReturnHistory,
    as_of: pd.DatetimeIndex,
    lookback: Lookback,
    strategies: tuple[str, ...],
    frequency: Frequency = DAILY,
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
    frequency
        How often returns are observed.
    """
    rows = frequency.rows(history.sessions, as_of)
    known = pd.Index(history.strategies, dtype=object).get_indexer(pd.Index(strategies, dtype=object))
    returns = np.where(known >= 0, history.returns[:, known], np.nan)
    active, place = history.active[:, known] & (known >= 0), np.arange(len(returns))[:, None]
    unknown = np.zeros_like(active) if history.unknown is None else history.unknown[:, known] & (known >= 0)
    # However early a calendar begins, a ledger does with the first return.
    begun = np.append(~np.isnan(returns).all(axis=1), True).argmax()
    starts = np.maximum(lookback.starts(history.sessions, as_of, frequency), begun)
    covered = lookback.covered(history.sessions[begun:], as_of, frequency)
    drawn = []
    for start, row, covers, since in zip(starts, rows, covered, history.live_since(rows)[:, known], strict=True):
        window = slice(start, row + 1)
        # What came before the returns ended for a while is of another stream.
        kept = (place[window] >= since) & ~unknown[window].any(axis=0)
        current = np.where(kept, returns[window], np.nan)
        drawn.append(
            Sample(
                sessions=history.sessions[window],
                returns=current,
                active=active[window],
                covers=bool(covers),
                per_year=frequency.per_year,
            )
        )
    return drawn
