"""How much of a book is its benchmark: beta and correlation, over the whole history and over rolling windows.

Scope: figures of two series of returns on the same sessions. Not here: the market regime that a benchmark says
(``targets.market_regime``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.frequency import DAILY, Frequency

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class AgainstBenchmark:
    """Beta and correlation of returns to those of a benchmark.

    Attributes
    ----------
    observations
        Returns that both have.
    beta, correlation
        cov(r, b) / var(b), and cov(r, b) / (std(r) · std(b)); NaN with too few returns, or where one does not move.
    rolling
        By span, ``beta`` and ``correlation`` by session, from the first one with a whole window on.
    """

    observations: int
    beta: float
    correlation: float
    rolling: Mapping[str, pd.DataFrame]


def against_benchmark(
    returns: pd.Series, prices: pd.Series, spans: Mapping[str, int], frequency: Frequency = DAILY
) -> AgainstBenchmark:
    """Hold returns against those of a benchmark, session by session.

    Parameters
    ----------
    returns : Series, shape (sessions,)
        Of a portfolio.
    prices : Series
        Closes of the benchmark by session, positive. A return needs the closes of a session and of the one before it;
        where one is missing, the session is left out.
    spans
        Observations of each rolling window, by name.
    frequency
        How many observations are enough.
    """
    closes = prices.reindex(returns.index)
    both = pd.DataFrame({"own": returns, "benchmark": closes / closes.shift(1) - 1.0}).dropna()
    own, benchmark = (both[name].to_numpy(np.float64) for name in both)
    rolling = {name: _rolling(own, benchmark, span, both.index) for name, span in spans.items()}
    beta = correlation = math.nan
    if len(both) >= frequency.enough:
        (beta,), (correlation,) = _figures(own[None], benchmark[None])
    return AgainstBenchmark(observations=len(both), beta=float(beta), correlation=float(correlation), rolling=rolling)


def _rolling(own: Floats, benchmark: Floats, span: int, sessions: pd.Index) -> pd.DataFrame:
    if len(own) < span:
        return pd.DataFrame({"beta": [], "correlation": []}, index=sessions[:0], dtype=float)
    windows = (np.lib.stride_tricks.sliding_window_view(values, span) for values in (own, benchmark))
    beta, correlation = _figures(*windows)
    return pd.DataFrame({"beta": beta, "correlation": correlation}, index=sessions[span - 1 :])


def _figures(own: Floats, benchmark: Floats) -> tuple[Floats, Floats]:
    """Beta and correlation along the last axis; NaN where one of the two does not move."""
    still = [values.max(axis=1) == values.min(axis=1) for values in (own, benchmark)]
    ours, theirs = (values - values.mean(axis=1, keepdims=True) for values in (own, benchmark))
    together, own_square, square = ((a * b).sum(axis=1) for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(still[1], np.nan, together / square)
        correlation = np.where(still[0] | still[1], np.nan, together / np.sqrt(own_square * square))
    return beta, correlation
