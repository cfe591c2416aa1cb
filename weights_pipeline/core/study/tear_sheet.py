"""What one series of returns has earned, period by period, and how badly it went at times.

Scope: figures of a portfolio for a reader: returns of periods, months and years, drawdowns, tail risk, rolling figures.
Not here: the figures of the whole (``allocator.overlay.performance``), who earned them (``attribution``), the risk of
the weights held now (``holdings``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.returns.frequency import DAILY, Frequency

WORST = 10
"""Drawdowns that are listed."""

LATE = pd.Timedelta(days=7)
"""How much later than a year ago returns may begin for a year to count as covered."""


class PeriodReturn(NamedTuple):
    """Compounded return of a period, null where the returns do not cover it.

    ``first`` is the first session counted; a period that began before the returns did is counted from their first.
    """

    name: str
    first: pd.Timestamp
    value: float


@dataclass(frozen=True, kw_only=True)
class Drawdown:
    """A fall below an earlier peak.

    Attributes
    ----------
    depth : float
        Largest loss from the peak, a positive fraction.
    start, trough : Timestamp
        First session below the peak, and the session of the largest loss.
    recovery : Timestamp or None
        First session at or above the peak again; None while it lasts.
    length : int
        Sessions below the peak.
    """

    depth: float
    start: pd.Timestamp
    trough: pd.Timestamp
    recovery: pd.Timestamp | None
    length: int


class Tail(NamedTuple):
    """Losses that are met or exceeded with probability 1 − ``level``, as positive fractions of capital."""

    level: float
    var: float
    cvar: float


def sharpe_over(returns: pd.Series, rate: float, frequency: Frequency = DAILY) -> float:
    """Annual Sharpe ratio of what was earned above a rate per observation; null with too few of them."""
    return performance(returns - rate, frequency=frequency)["sharpe"][0]


def period_returns(returns: pd.Series, rebalanced: pd.Timestamp) -> tuple[PeriodReturn, ...]:
    """Month, quarter and year to date, one year, since inception, and since a rebalance: Π(1 + r) − 1.

    Parameters
    ----------
    returns : Series, shape (sessions,)
        At least one return; "to date" is to the last of them.
    rebalanced : Timestamp
        First session at the weights of the last rebalance; none earned since then is a null.
    """
    first, last = returns.index[0], returns.index[-1]
    year_ago = last - pd.DateOffset(years=1)
    begins = {
        "Month to date": last.to_period("M").start_time,
        "Quarter to date": last.to_period("Q").start_time,
        "Year to date": last.to_period("Y").start_time,
        "One year": year_ago + pd.Timedelta(days=1),
        "Since inception": first,
        "Since the last rebalance": rebalanced,
    }
    found = []
    for name, begin in begins.items():
        part = returns[returns.index >= begin]
        covered = len(part) and (name != "One year" or first <= begin + LATE)
        found.append(
            PeriodReturn(name, part.index[0] if covered else begin, _compounded(part) if covered else math.nan)
        )
    return tuple(found)


def yearly_figures(returns: pd.Series, frequency: Frequency = DAILY) -> pd.DataFrame:
    """Figures of each calendar year, whole or not.

    Returns
    -------
    DataFrame, shape (years, 4)
        Indexed by year: ``return`` (compounded, not annualised), ``volatility``, ``sharpe`` (risk-free rate 0) and
        ``max_drawdown`` inside the year; null rules of :func:`~weights_pipeline.core.allocator.overlay.performance`.
    """
    years = {}
    for year, part in returns.groupby(pd.DatetimeIndex(returns.index).year):
        figures = {name: value for name, (value, _) in performance(part, frequency=frequency).items()}
        years[year] = {"return": _compounded(part)} | {
            name: figures[name] for name in ("volatility", "sharpe", "max_drawdown")
        }
    return pd.DataFrame.from_dict(years, orient="index").rename_axis("year")


def underwater(returns: pd.Series) -> pd.Series:
    """E_t / max_{s≤t} E_s − 1 by session, E anchored at 1; shape (sessions,), 0 or negative."""
    wealth = np.cumprod(1.0 + returns.to_numpy(np.float64))
    return pd.Series(wealth / np.maximum(np.maximum.accumulate(wealth), 1.0) - 1.0, index=returns.index)


def worst_drawdowns(returns: pd.Series, most: int = WORST) -> tuple[Drawdown, ...]:
    """The deepest falls below a peak that do not overlap, the deepest first; of equal ones the earlier first."""
    depth, sessions = -underwater(returns).to_numpy(), pd.DatetimeIndex(returns.index)
    below = np.r_[False, depth > 0.0, False]
    starts = np.flatnonzero(below[1:] & ~below[:-1]).tolist()
    ends = np.flatnonzero(~below[1:] & below[:-1]).tolist()
    found = []
    for start, end in zip(starts, ends, strict=True):
        trough = start + int(np.argmax(depth[start:end]))
        found.append(
            Drawdown(
                depth=float(depth[trough]),
                start=sessions[start],
                trough=sessions[trough],
                recovery=sessions[end] if end < len(sessions) else None,
                length=end - start,
            )
        )
    return tuple(sorted(found, key=lambda each: -each.depth)[:most])


def tail_risk(returns: pd.Series, level: float, frequency: Frequency = DAILY) -> Tail:
    """Historical value at risk and conditional value at risk of one observation, losses positive.

    With α = 1 − `level`: VaR is −quantile(r, α), interpolated between observations; CVaR is −mean of the
    ⌊α·(n − 1)⌋ + 1 smallest returns (Rockafellar & Uryasev, J. Risk, 2000, of the empirical distribution). Both are
    null where there are too few observations for any estimate.
    """
    r = np.sort(returns.to_numpy(np.float64))
    if len(r) < frequency.enough:
        return Tail(level, math.nan, math.nan)
    cut = 1.0 - level
    count = int((len(r) - 1) * cut) + 1
    return Tail(level, -float(np.percentile(r, 100 * cut)), -math.fsum(r[:count]) / count)


def tail_ratio(returns: pd.Series, frequency: Frequency = DAILY) -> float:
    """|95th percentile| / |5th percentile| of the returns: above 1 the good days are larger than the bad ones."""
    if len(returns) < frequency.enough:
        return math.nan
    low, high = np.abs(np.percentile(returns.to_numpy(np.float64), (5, 95)))
    return float(high / low) if low else math.nan


def rolling_figures(returns: pd.Series, observations: int, frequency: Frequency = DAILY) -> pd.DataFrame:
    """Annual Sharpe ratio (risk-free rate 0) and volatility of the last so many observations.

    Returns
    -------
    DataFrame, shape (sessions − observations + 1, 2)
        ``sharpe`` and ``volatility`` (ddof = 1), from the first session with a whole window on; a window that does not
        move has no Sharpe ratio.
    """
    r = returns.to_numpy(np.float64)
    if len(r) < observations:
        return pd.DataFrame({"sharpe": [], "volatility": []}, index=returns.index[:0], dtype=float)
    parts = np.lib.stride_tricks.sliding_window_view(r, observations)
    volatility = parts.std(axis=1, ddof=1) * math.sqrt(frequency.per_year)
    volatility[parts.max(axis=1) == parts.min(axis=1)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = np.where(volatility > 0.0, parts.mean(axis=1) * frequency.per_year / volatility, np.nan)
    return pd.DataFrame({"sharpe": sharpe, "volatility": volatility}, index=returns.index[observations - 1 :])


def _compounded(returns: pd.Series) -> float:
    return float(np.cumprod(1.0 + returns.to_numpy(np.float64))[-1]) - 1.0
