"""Trailing metrics of strategies, as of a session.

Here belong lookbacks, the metric formulas with their null rules, the build-up from starter metrics, and the
table of all metrics of all strategies at many as-of sessions. Here do not belong the window arithmetic
(``windows``), the making of daily returns from lots, or anything that turns a metric into a weight.

A metric at session d reads the sessions in (d − lookback, d] from the strategy's first activity on, and
nothing else. A null is NaN with a reason, never an infinity and never a stand-in number:

===================  ====================================================================================
``insufficient``     fewer sessions or closed lots than asked for, or too few for the formula
``zero_volatility``  all returns of the window are equal, so a ratio to their spread means nothing
``no_drawdown``      a gain and no drawdown: the ratio has no upper limit
``no_downside``      no return below target: the ratio has no upper limit
``flat``             neither gain nor drawdown
``no_lots``          no lot was closed, or the history carries returns without lots
``overflow``         the value exceeds floating point
===================  ====================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from weights_pipeline.core.windows import (
    MOMENTS,
    SUM,
    WEALTH,
    rolling_statistic,
    squared_shortfall,
    window_statistic,
)

__all__ = [
    "METRICS",
    "REASONS",
    "SESSIONS_PER_YEAR",
    "Lookback",
    "Measured",
    "MetricParameters",
    "ReturnHistory",
    "StarterMetrics",
    "WindowQuantities",
    "build_up",
    "metrics_table",
    "rolling_calmar",
    "rolling_max_drawdown",
    "rolling_sharpe",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SESSIONS_PER_YEAR = 252
MONTHS_PER_YEAR = 12
DAYS_PER_YEAR = 365.25

REASONS = (
    "",
    "insufficient",
    "zero_volatility",
    "no_drawdown",
    "no_downside",
    "flat",
    "no_lots",
    "overflow",
)
"""Reasons of a null, by code; code 0 is a measured value."""

SOURCES = ("none", "live", "build_up", "starter")


# parameters ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lookback:
    """A trailing stretch (d − lookback, d].

    Attributes
    ----------
    amount : int
        How many, at least 1.
    unit : {"months", "days", "sessions"}
        Calendar months, calendar days or sessions.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    amount: int
    unit: Literal["months", "days", "sessions"]

    def __post_init__(self) -> None:
        if self.unit not in ("months", "days", "sessions"):
            raise ValueError(f"lookback.unit: expected months, days or sessions, got {self.unit!r}")
        if self.amount < 1:
            raise ValueError(f"lookback.amount: expected at least 1, got {self.amount}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a label such as ``12m`` (calendar months), ``90d`` (calendar days) or ``60s`` (sessions).

        Raises
        ------
        ValueError
            When `text` is not a positive whole number followed by m, d or s.
        """
        match = re.fullmatch(r"([1-9][0-9]*)([mds])", text)
        if match is None:
            raise ValueError(f"lookback: expected months, days or sessions such as 12m, 90d or 60s, got {text!r}")
        units: dict[str, Literal["months", "days", "sessions"]] = {
            "m": "months",
            "d": "days",
            "s": "sessions",
        }
        return cls(int(match[1]), units[match[2]])

    @property
    def label(self) -> str:
        """The text `parse` reads, e.g. ``12m``."""
        return f"{self.amount}{self.unit[0]}"

    @property
    def expected_sessions(self) -> float:
        """Sessions the lookback spans at 252 a year."""
        per_unit = {
            "months": SESSIONS_PER_YEAR / MONTHS_PER_YEAR,
            "days": SESSIONS_PER_YEAR / DAYS_PER_YEAR,
            "sessions": 1.0,
        }
        return self.amount * per_unit[self.unit]

    @property
    def full_months(self) -> int:
        """Whole months the lookback spans, rounded, at least 1: 12 for ``12m``, 3 for ``90d``."""
        return max(1, round(self.expected_sessions * MONTHS_PER_YEAR / SESSIONS_PER_YEAR))

    @property
    def is_one_year(self) -> bool:
        """Whether this is the 12-month lookback, whose full window needs no annualisation."""
        return (self.amount, self.unit) == (MONTHS_PER_YEAR, "months")

    def metric(self, name: str) -> str:
        """Return the output name of a metric over this lookback, e.g. ``calmar_12m``."""
        return f"{name}_{self.label}"

    def starts(self, sessions: pd.DatetimeIndex, as_of: pd.DatetimeIndex) -> IntArray:
        """Return the index in `sessions` of the first session of each window (d − lookback, d].

        Parameters
        ----------
        sessions : DatetimeIndex, shape (T,)
            All sessions, ascending.
        as_of : DatetimeIndex, shape (A,)
            The days d. A month is subtracted on the calendar: twelve before 29 February is 28 February.

        Returns
        -------
        ndarray of int, shape (A,)
            0 where the window reaches back beyond the first session.
        """
        if self.unit == "sessions":
            ends: IntArray = np.asarray(sessions.searchsorted(as_of, side="right"), dtype=np.int64)
            return np.maximum(ends - self.amount, 0)
        span = pd.DateOffset(months=self.amount) if self.unit == "months" else pd.DateOffset(days=self.amount)
        return np.asarray(sessions.searchsorted(as_of - span, side="right"), dtype=np.int64)

    def start(self, sessions: pd.DatetimeIndex, d: pd.Timestamp) -> int:
        """Return the index in `sessions` of the first session of the window (d − lookback, d]."""
        return int(self.starts(sessions, pd.DatetimeIndex([d]))[0])


@dataclass(frozen=True, kw_only=True)
class MetricParameters:
    """What the metric formulas leave open.

    Attributes
    ----------
    risk_free : float
        Annual risk-free rate, a fraction.
    rf_mode : {"arithmetic", "geometric"}
        The daily rate is ``rf / 252`` or ``(1 + rf)^(1/252) − 1``.
    min_closed_lots : int
        Fewer lots closed in the window make every estimate null. Not asked of a history without lots.
    min_sessions : int, optional
        Fewer sessions in the window make every estimate null; at least 2. By default a third of the sessions
        the lookback spans, at most 60: 60 for 12 months, 20 for 90 days.
    active_days_only : bool
        Take mean, volatility and downside deviation over active days only, annualised by the strategy's own
        active days a year. The target of the downside deviation stays the daily risk-free rate.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    risk_free: float = 0.045
    rf_mode: Literal["arithmetic", "geometric"] = "arithmetic"
    min_closed_lots: int = 5
    min_sessions: int | None = None
    active_days_only: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.risk_free) and -1 < self.risk_free < 1):
            raise ValueError(f"risk_free: expected an annual fraction such as 0.045 for 4.5%, got {self.risk_free}")
        if self.rf_mode not in ("arithmetic", "geometric"):
            raise ValueError(f"rf_mode: expected arithmetic or geometric, got {self.rf_mode!r}")
        if self.min_closed_lots < 0:
            raise ValueError(f"min_closed_lots: expected 0 or more, got {self.min_closed_lots}")
        if self.min_sessions is not None and self.min_sessions < 2:
            raise ValueError(f"min_sessions: expected at least 2, got {self.min_sessions}")

    @property
    def daily_risk_free(self) -> float:
        """The risk-free rate of one session."""
        if self.rf_mode == "geometric":
            return math.expm1(math.log1p(self.risk_free) / SESSIONS_PER_YEAR)
        return self.risk_free / SESSIONS_PER_YEAR

    def sessions_needed(self, lookback: Lookback) -> int:
        """Return the sessions below which a window is insufficient."""
        if self.min_sessions is not None:
            return self.min_sessions
        return min(60, max(2, math.floor(lookback.expected_sessions / 3)))


DEFAULT_PARAMETERS = MetricParameters()


@dataclass(frozen=True, kw_only=True)
class StarterMetrics:
    """Twelve-month figures of a strategy from before it was live (a backtest, another account).

    Attributes
    ----------
    twelve_month_return : float
        Annual return, a fraction above −1.
    twelve_month_max_drawdown : float
        Positive fraction below 1.
    calmar_ratio : float
        Return over drawdown, as stated; refused when more than 1% off.
    months_of_data : int
        Months behind the figures, 1 to 12.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    twelve_month_return: float
    twelve_month_max_drawdown: float
    calmar_ratio: float
    months_of_data: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.twelve_month_return) and self.twelve_month_return > -1):
            raise ValueError(
                "twelve_month_return: expected a fraction above -1 such as 0.20 for 20%,"
                f" got {self.twelve_month_return}"
            )
        if not 0 < self.twelve_month_max_drawdown < 1:
            raise ValueError(
                "twelve_month_max_drawdown: expected a fraction between 0 and 1 such as 0.15 for 15%,"
                f" got {self.twelve_month_max_drawdown}"
            )
        if not 1 <= self.months_of_data <= MONTHS_PER_YEAR:
            raise ValueError(f"months_of_data: expected 1 to 12, got {self.months_of_data}")
        ratio = self.twelve_month_return / self.twelve_month_max_drawdown
        if not abs(self.calmar_ratio - ratio) <= 0.01 * abs(ratio):
            raise ValueError(
                f"calmar_ratio: expected return / drawdown = {ratio:.6g} within 1%, got {self.calmar_ratio}"
            )


# history ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class ReturnHistory:
    """Daily returns and activity of strategies, aligned on sessions.

    Attributes
    ----------
    sessions : DatetimeIndex, shape (T,)
        Ascending, tz-naive midnights.
    strategies : tuple of str, length N
        Sorted and unique.
    returns : ndarray of float, shape (T, N)
        Simple daily returns, each above −1. NaN before a strategy's first activity and nowhere else.
    closed_lots, winning_lots : ndarray of int, shape (T, N), or None
        Lots closed, and closed with a profit, per session. None when returns were ingested without lots.
    active : ndarray of bool, shape (T, N)
        Whether the strategy had capital at work in the session.

    Raises
    ------
    ValueError
        When a rule above is broken; the message names the strategy and the session.
    """

    sessions: pd.DatetimeIndex
    strategies: tuple[str, ...]
    returns: FloatArray
    closed_lots: IntArray | None
    winning_lots: IntArray | None
    active: BoolArray

    def __post_init__(self) -> None:
        _check_sessions(self.sessions)
        if list(self.strategies) != sorted(set(self.strategies)):
            raise ValueError(f"strategies: expected sorted and unique names, got {list(self.strategies)}")
        shape = (len(self.sessions), len(self.strategies))
        if (self.closed_lots is None) != (self.winning_lots is None):
            raise ValueError("closed_lots and winning_lots: expected both or neither")
        for name in ("returns", "closed_lots", "winning_lots", "active"):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape} (sessions, strategies), got {array.shape}")
        live = np.arange(shape[0])[:, None] >= self.first_live
        self._refuse(live & np.isnan(self.returns), "daily_return missing after the first activity (expected 0)")
        self._refuse(np.isinf(self.returns), "daily_return not finite")
        self._refuse(self.returns <= -1, "daily_return of -100% or worse")
        if self.closed_lots is not None and self.winning_lots is not None:
            self._refuse(~live & (self.closed_lots != 0), "closed_lots before the first daily_return")
            self._refuse(self.winning_lots < 0, "winning_lots below 0")
            self._refuse(self.winning_lots > self.closed_lots, "more winning_lots than closed_lots")

    @property
    def first_live(self) -> IntArray:
        """Index of each strategy's first session with a return, shape (N,); T where there is none."""
        live = ~np.isnan(self.returns)
        if not len(live):
            return np.zeros(live.shape[1], dtype=np.int64)
        return np.where(live.any(axis=0), live.argmax(axis=0), len(live))

    @classmethod
    def from_long(cls, frame: pd.DataFrame, *, sessions: pd.DatetimeIndex | None = None) -> Self:
        """Align a long frame on sessions.

        Parameters
        ----------
        frame : DataFrame
            Columns ``session``, ``strategy``, ``daily_return``, ``closed_lots``, ``winning_lots`` and
            ``active``; one row per session and strategy, in any order. A row may be absent, or its return
            null, before the first activity. The lot counts are null throughout when returns were ingested
            without lots.
        sessions : DatetimeIndex, optional
            The calendar to align on; by default the sessions in `frame`.

        Returns
        -------
        ReturnHistory

        Raises
        ------
        ValueError
            When a column is missing, a session is not in the calendar, a session and strategy occur twice,
            lot counts are null in some rows only, or the result breaks a rule of the class.
        """
        columns = ("session", "strategy", "daily_return", "closed_lots", "winning_lots", "active")
        missing = [column for column in columns if column not in frame]
        if missing:
            raise ValueError(f"returns: missing columns {missing}, got {list(frame.columns)}")
        if frame["strategy"].isna().any():
            raise ValueError("strategy: expected a name in every row, found null")
        days = pd.DatetimeIndex(frame["session"])
        names = np.asarray(frame["strategy"], dtype=object)
        if sessions is None:
            sessions = days.unique().sort_values().rename(None)
        _check_sessions(sessions)
        strategies = tuple(sorted(set(names)))
        row, column = sessions.get_indexer(days), pd.Index(strategies, dtype=object).get_indexer(names)

        def refuse(bad: NDArray[np.bool_], what: str) -> None:
            if bad.any():
                k = int(np.flatnonzero(bad)[0])
                raise ValueError(f"{what}: strategy {names[k]!r}, session {days[k]}")

        refuse(row < 0, "session outside the calendar")
        refuse(
            pd.Series(row * len(strategies) + column).duplicated().to_numpy(),
            "more than one row for a session",
        )

        def spread(values: pd.Series, empty: float) -> FloatArray:
            # Strategy by strategy in memory, as the window kernel reads it.
            grid = np.full((len(sessions), len(strategies)), empty, order="F")
            grid[row, column] = values.to_numpy(dtype=np.float64, na_value=np.nan)
            return grid

        unknown = frame[["closed_lots", "winning_lots"]].isna().to_numpy()
        without_lots = bool(unknown.all()) and len(frame) > 0
        if not without_lots:
            refuse(unknown[:, 0] | unknown[:, 1], "closed_lots or winning_lots null here but not everywhere")
        refuse(frame["active"].isna().to_numpy(), "active is null")
        return cls(
            sessions=sessions,
            strategies=strategies,
            returns=spread(frame["daily_return"], np.nan),
            closed_lots=None if without_lots else spread(frame["closed_lots"], 0.0).astype(np.int64),
            winning_lots=None if without_lots else spread(frame["winning_lots"], 0.0).astype(np.int64),
            active=spread(frame["active"], 0.0).astype(np.bool_),
        )

    def _refuse(self, bad: BoolArray, what: str) -> None:
        if bad.any():
            t, i = (int(index[0]) for index in np.nonzero(bad))
            raise ValueError(f"{what}: strategy {self.strategies[i]!r}, session {self.sessions[t]:%Y-%m-%d}")


def _check_sessions(sessions: pd.DatetimeIndex) -> None:
    if sessions.tz is not None or not (sessions == sessions.normalize()).all():
        raise ValueError("sessions: expected tz-naive midnights")
    if not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected ascending and unique days")


# formulas --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of many windows.

    Attributes
    ----------
    value : ndarray of float
        Finite where measured, NaN where null.
    reason : ndarray of int
        Code into `REASONS`; 0 where measured.
    """

    value: FloatArray
    reason: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowQuantities:
    """What a metric may read of each window; arrays of shape (K,).

    Attributes
    ----------
    n : ndarray of int
        Sessions of the window, from the strategy's first activity on.
    months : ndarray of int
        Calendar months from the month of first activity to the month of d inclusive, at most those of the
        lookback; 0 before the first activity.
    total_return, max_drawdown : ndarray of float
        Of all sessions of the window.
    observations : ndarray of int
        Sessions behind `mean`, `m2` and `downside_ss`: all, or the active days.
    mean, m2, downside_ss : ndarray of float
        Mean, sum of squared deviations, and sum of squared shortfalls to the daily risk-free rate.
    periods : ndarray of float
        Observations a year.
    risk_free : ndarray of float
        Annual risk-free rate over the window.
    one_year : ndarray of bool
        A full 12-month window, whose total return is its annual return.
    active_days : ndarray of int
        Active sessions of the window.
    active_sum : ndarray of float
        Sum of the returns of the active sessions.
    closed_lots, winning_lots : ndarray of float
        Lots closed in the window; NaN when the history carries none.
    insufficient : ndarray of bool
        Fewer sessions or closed lots than asked for.
    """

    n: IntArray
    months: IntArray
    total_return: FloatArray
    max_drawdown: FloatArray
    observations: IntArray
    mean: FloatArray
    m2: FloatArray
    downside_ss: FloatArray
    periods: FloatArray
    risk_free: FloatArray
    one_year: BoolArray
    active_days: IntArray
    active_sum: FloatArray
    closed_lots: FloatArray
    winning_lots: FloatArray
    insufficient: BoolArray


Rule = tuple[BoolArray, str]
_quiet = np.errstate(divide="ignore", invalid="ignore", over="ignore")


def _measured(value: FloatArray, *rules: Rule) -> Measured:
    """Null `value` by the first rule that holds; else undefined is insufficient and infinite is overflow."""
    rules = (*rules, (np.isnan(value), "insufficient"), (np.isinf(value), "overflow"))
    reason = np.zeros(value.shape, dtype=np.int8)
    for holds, name in reversed(rules):
        reason[holds] = REASONS.index(name)
    return Measured(np.where(reason == 0, value, np.nan), reason)


def _estimate(w: WindowQuantities, value: FloatArray, *rules: Rule) -> Measured:
    return _measured(value, (w.insufficient, "insufficient"), *rules)


@_quiet
def _annual_return(total_return: FloatArray, n: int | IntArray, one_year: bool | BoolArray) -> FloatArray:
    """Return (1 + total)^(252/n) − 1, and the total return itself of a full year."""
    if np.all(one_year):
        return total_return
    annualised: FloatArray = np.expm1(np.log1p(total_return) * (SESSIONS_PER_YEAR / n))
    return np.where(one_year, total_return, annualised)


@_quiet
def _calmar(annual_return: FloatArray, max_drawdown: FloatArray) -> tuple[FloatArray, Rule, Rule]:
    """Return annual return / maximum drawdown (Young, Futures, October 1991) and its null rules."""
    smooth = max_drawdown == 0
    return (
        annual_return / max_drawdown,
        (smooth & (annual_return > 0), "no_drawdown"),
        (smooth, "flat"),
    )


@_quiet
def _volatility(m2: FloatArray, observations: int | IntArray, periods: float | FloatArray) -> FloatArray:
    """Return the sample standard deviation (ddof 1) a year; undefined for fewer than two observations."""
    return np.sqrt(m2 / (observations - 1) * periods)


@_quiet
def _sharpe(
    mean: FloatArray,
    m2: FloatArray,
    observations: int | IntArray,
    periods: float | FloatArray,
    risk_free: float | FloatArray,
) -> tuple[FloatArray, Rule, Rule]:
    """Return (mean·252 − rf) / volatility and its null rules (Sharpe, J. Portfolio Management, Fall 1994)."""
    ratio = (mean * periods - risk_free) / _volatility(m2, observations, periods)
    return ratio, *_spread_rules(m2, observations)


@_quiet
def _sortino(w: WindowQuantities) -> tuple[FloatArray, Rule, Rule, Rule]:
    """Return (mean·252 − rf) / downside deviation (Sortino & Price, J. Investing, Fall 1994) and null rules.

    Equal returns are null as for Sharpe: below target their ratio would be −√252 whatever they are.
    """
    ratio = (w.mean * w.periods - w.risk_free) / np.sqrt(w.downside_ss / w.observations * w.periods)
    return ratio, *_spread_rules(w.m2, w.observations), (w.downside_ss == 0, "no_downside")


def _spread_rules(m2: FloatArray, observations: int | IntArray) -> tuple[Rule, Rule]:
    few = np.broadcast_to(np.asarray(observations) < 2, m2.shape)
    return (few, "insufficient"), (m2 == 0, "zero_volatility")


def _annual(w: WindowQuantities) -> FloatArray:
    return _annual_return(w.total_return, w.n, w.one_year)


@_quiet
def _share(part: FloatArray | IntArray, whole: FloatArray | IntArray) -> FloatArray:
    share: FloatArray = part / whole
    return share


METRICS: Mapping[str, Callable[[WindowQuantities], Measured]] = MappingProxyType(
    {
        "total_return": lambda w: _estimate(w, w.total_return),
        "annual_return": lambda w: _estimate(w, _annual(w)),
        "volatility": lambda w: _estimate(w, _volatility(w.m2, w.observations, w.periods)),
        "sharpe": lambda w: _estimate(w, *_sharpe(w.mean, w.m2, w.observations, w.periods, w.risk_free)),
        "sortino": lambda w: _estimate(w, *_sortino(w)),
        "max_drawdown": lambda w: _estimate(w, w.max_drawdown),
        "calmar": lambda w: _estimate(w, *_calmar(_annual(w), w.max_drawdown)),
        "hit_rate": lambda w: _estimate(w, _share(w.winning_lots, w.closed_lots), (~(w.closed_lots > 0), "no_lots")),
        "mean_active_return": lambda w: _estimate(w, _share(w.active_sum, w.active_days)),
        "n_sessions": lambda w: _measured(w.n.astype(np.float64)),
        "months_of_data": lambda w: _measured(w.months.astype(np.float64)),
        "closed_lots": lambda w: _measured(w.closed_lots, (np.isnan(w.closed_lots), "no_lots")),
    }
)
"""Every metric by name; an entry here is all a new one needs. Estimates may be insufficient, counts never."""


def rolling_max_drawdown(returns: ArrayLike, window: int) -> FloatArray:
    """Compute the maximum drawdown of every window of `window` sessions.

    Parameters
    ----------
    returns : array_like, shape (T, N)
        Simple daily returns, each above −1.
    window : int
        Sessions per window.

    Returns
    -------
    ndarray, shape (T, N)
        Positive fractions, anchored at 1.0 before the first session of the window; 0.0 when wealth never
        falls. NaN in the first ``window - 1`` rows and where the window holds a NaN.
    """
    return rolling_statistic(WEALTH, returns, window)["max_drawdown"]


def rolling_calmar(returns: ArrayLike, window: int) -> FloatArray:
    """Compute annual return / maximum drawdown of every window of `window` sessions.

    Parameters
    ----------
    returns : array_like, shape (T, N)
        Simple daily returns, each above −1.
    window : int
        Sessions per window; a window of 252 is a full year, whose total return is its annual return.

    Returns
    -------
    ndarray, shape (T, N)
        NaN without a drawdown, in the first ``window - 1`` rows and where the window holds a NaN.
    """
    wealth = rolling_statistic(WEALTH, returns, window)
    annual = _annual_return(wealth["total_return"], window, window == SESSIONS_PER_YEAR)
    return _measured(*_calmar(annual, wealth["max_drawdown"])).value


def rolling_sharpe(returns: ArrayLike, window: int, *, risk_free: float = 0.045) -> FloatArray:
    """Compute (mean·252 − rf) / (std·√252) of every window of `window` sessions.

    Parameters
    ----------
    returns : array_like, shape (T, N)
        Simple daily returns, each above −1.
    window : int
        Sessions per window, at least 2 for a value.
    risk_free : float
        Annual risk-free rate, a fraction.

    Returns
    -------
    ndarray, shape (T, N)
        NaN where all returns of the window are equal, in the first ``window - 1`` rows and where the window
        holds a NaN.
    """
    moments = rolling_statistic(MOMENTS, returns, window)
    return _measured(*_sharpe(moments["mean"], moments["m2"], window, SESSIONS_PER_YEAR, risk_free)).value


def build_up(
    starter_return: ArrayLike,
    starter_drawdown: ArrayLike,
    months: ArrayLike,
    live_return: ArrayLike,
    live_drawdown: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Blend starter figures with the first months of live data.

    With m months live: return = (1 − m/12)·R0 + (m/12)·(live·12/m), the live total return as an annual rate,
    so that its weighted part is the live return itself; drawdown = max((1 − m/12)·D0, live drawdown).

    Parameters
    ----------
    starter_return, starter_drawdown : array_like
        R0 and D0, twelve-month fractions.
    months : array_like of int
        m, 0 or more. 0, not live yet, gives the starter figures; from 12 on they count for nothing.
    live_return, live_drawdown : array_like
        Total return and maximum drawdown of the live sessions of the window; not looked at where m is 0.

    Returns
    -------
    annual_return, max_drawdown : ndarray of float
        Of the common broadcast shape.

    Raises
    ------
    ValueError
        When a month count is negative.
    """
    months = np.asarray(months)
    if (months < 0).any():
        raise ValueError(f"months: expected 0 or more, got {months.min()}")
    live = months > 0
    starter_share = 1.0 - np.minimum(months, MONTHS_PER_YEAR) / MONTHS_PER_YEAR
    annual_return = starter_share * np.asarray(starter_return) + np.where(live, live_return, 0.0)
    max_drawdown = np.maximum(starter_share * np.asarray(starter_drawdown), np.where(live, live_drawdown, 0.0))
    return annual_return, max_drawdown


# table -----------------------------------------------------------------------------------------------


def metrics_table(
    history: ReturnHistory,
    as_of: pd.DatetimeIndex,
    lookback: Lookback,
    parameters: MetricParameters = DEFAULT_PARAMETERS,
    *,
    strategies: Sequence[str] | None = None,
    starter: Mapping[str, StarterMetrics] | None = None,
    risk_free_daily: pd.Series | None = None,
) -> pd.DataFrame:
    """Compute every metric of every strategy at every as-of session.

    Parameters
    ----------
    history : ReturnHistory
        Must reach back over the lookback of the earliest as-of session, or to the first activity.
    as_of : DatetimeIndex, shape (A,)
        Sessions of the history.
    lookback : Lookback
        Window (d − lookback, d].
    parameters : MetricParameters
        Risk-free rate and null thresholds.
    strategies : sequence of str, optional
        Strategies to report, by default those of the history. One the history has never seen has no sessions.
    starter : mapping of str to StarterMetrics, optional
        With the 12-month lookback, a strategy with fewer than 12 months of data takes its annual return,
        maximum drawdown and Calmar from :func:`build_up`, however few its sessions and lots. Not used by
        other lookbacks.
    risk_free_daily : Series, optional
        Daily risk-free rate by session, in place of the annual one: its window mean is subtracted from the
        mean return, and each day's rate is that day's downside target.

    Returns
    -------
    DataFrame
        Columns ``as_of``, ``strategy``, ``metric`` (e.g. ``calmar_12m``), ``value`` (NaN is null), ``reason``
        (one of `REASONS`, "" when measured) and ``source`` (live, build_up, starter; none where null),
        ordered by the first three.

    Raises
    ------
    ValueError
        When an as-of day is not a session of the history or the daily risk-free rate misses a session.
    """
    rows = history.sessions.get_indexer(as_of)
    if (rows < 0).any():
        raise ValueError(f"as_of: expected sessions of the history, got {as_of[int(np.argmax(rows < 0))]:%Y-%m-%d}")
    rows = np.unique(rows).astype(np.int64)
    names = tuple(sorted(set(history.strategies if strategies is None else strategies)))
    w = _window_quantities(history, rows, names, lookback, parameters, risk_free_daily)

    blend, blended = np.zeros(w.n.shape, dtype=np.bool_), dict[str, FloatArray]()
    if starter and lookback.is_one_year:
        blend, blended = _built_up(w, names, starter)

    metrics = sorted(METRICS)
    shape = (len(rows), len(names), len(metrics))
    value, reason, source = np.empty(shape), np.empty(shape, np.int8), np.empty(shape, np.int8)
    for k, name in enumerate(metrics):
        measured = METRICS[name](w)
        origin = np.where(measured.reason == 0, SOURCES.index("live"), SOURCES.index("none"))
        if name in blended:
            measured = Measured(
                np.where(blend, blended[name], measured.value), np.where(blend, np.int8(0), measured.reason)
            )
            built = np.where(w.months == 0, SOURCES.index("starter"), SOURCES.index("build_up"))
            origin = np.where(blend, built, origin)
        # Windows run strategy by strategy, as the kernel likes them; the table runs day by day.
        for table, cells in ((value, measured.value), (reason, measured.reason), (source, origin)):
            table[:, :, k] = cells.reshape(len(names), len(rows)).T

    day, strategy, metric = (index.ravel() for index in np.indices(shape, dtype=np.int32))
    labels = [lookback.metric(name) for name in metrics]
    return pd.DataFrame(
        {
            "as_of": history.sessions[rows].take(day),
            "strategy": _words(names, strategy),
            "metric": _words(labels, metric),
            "value": value.ravel(),
            "reason": _words(REASONS, reason.ravel()),
            "source": _words(SOURCES, source.ravel()),
        },
        copy=False,
    )


def _windows(
    history: ReturnHistory, rows: IntArray, names: tuple[str, ...], lookback: Lookback
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return column, start, stop and months of data of all windows, strategy by strategy, shape (S·A,)."""
    length, width = history.returns.shape
    place = pd.Index(history.strategies, dtype=object).get_indexer(pd.Index(names, dtype=object))
    # One column past the last stands for strategies never seen: never live, all windows empty.
    columns = np.where(place < 0, width, place).astype(np.int64)
    first_live = np.repeat(np.append(history.first_live, length)[columns], len(rows))
    stop = np.tile(rows + 1, len(names))
    window_start = np.tile(lookback.starts(history.sessions, history.sessions[rows]), len(names))
    start = np.minimum(np.maximum(window_start, first_live), stop)

    month = np.append(history.sessions.year * MONTHS_PER_YEAR + history.sessions.month, 0)
    months = np.minimum(month[stop - 1] - month[first_live] + 1, lookback.full_months)
    return np.repeat(columns, len(rows)), start, stop, np.where(start < stop, months, 0)


def _window_quantities(
    history: ReturnHistory,
    rows: IntArray,
    names: tuple[str, ...],
    lookback: Lookback,
    parameters: MetricParameters,
    risk_free_daily: pd.Series | None,
) -> WindowQuantities:
    """Measure the windows of all strategies at all as-of rows, strategy by strategy, shape (S·A,)."""
    column, start, stop, months = _windows(history, rows, names, lookback)
    n = stop - start
    used = slice(start.min(initial=len(history.sessions)), stop.max(initial=0))
    start, stop = start - used.start, stop - used.start
    returns, active = history.returns[used], history.active[used]

    if risk_free_daily is None:
        daily_rate = np.full(len(returns), parameters.daily_risk_free)
        risk_free = np.full(n.shape, SESSIONS_PER_YEAR * parameters.daily_risk_free)
    else:
        daily_rate = _aligned(risk_free_daily, history.sessions[used])
        mean_rate = window_statistic(MOMENTS, daily_rate[:, None], np.zeros_like(column), start, stop)["mean"]
        risk_free = SESSIONS_PER_YEAR * mean_rate

    active_days = _count(active, column, start, stop)
    shortfall = squared_shortfall(returns, daily_rate[:, None])
    if parameters.active_days_only:
        active_start = _count(active, column, np.zeros_like(start), start)
        sample = (column, active_start, active_start + active_days)
        observations, periods = active_days, SESSIONS_PER_YEAR * _share(active_days, n)
        sampled, shortfall = _active_rows(returns, active), _active_rows(shortfall, active)
    else:
        sample = (column, start, stop)
        observations, periods = n, np.full(n.shape, float(SESSIONS_PER_YEAR))
        sampled = returns

    closed_lots, winning_lots = (
        np.full(n.shape, np.nan) if lots is None else _count(lots[used], column, start, stop).astype(np.float64)
        for lots in (history.closed_lots, history.winning_lots)
    )
    return WindowQuantities(
        n=n,
        months=months,
        observations=observations,
        periods=periods,
        risk_free=risk_free,
        one_year=(months == MONTHS_PER_YEAR) & lookback.is_one_year,
        active_days=active_days,
        active_sum=window_statistic(SUM, np.where(active, returns, 0.0), column, start, stop)["total"],
        closed_lots=closed_lots,
        winning_lots=winning_lots,
        insufficient=(n < parameters.sessions_needed(lookback)) | (closed_lots < parameters.min_closed_lots),
        downside_ss=window_statistic(SUM, shortfall, *sample)["total"],
        **window_statistic(MOMENTS, sampled, *sample),
        **window_statistic(WEALTH, returns, column, start, stop),
    )


def _built_up(
    w: WindowQuantities, names: tuple[str, ...], starter: Mapping[str, StarterMetrics]
) -> tuple[BoolArray, dict[str, FloatArray]]:
    """Return where the build-up applies, shape (S·A,), and what it gives there, by metric."""
    figures = np.full((len(names), 2), np.nan)
    for i, name in enumerate(names):
        if (given := starter.get(name)) is not None:
            figures[i] = given.twelve_month_return, given.twelve_month_max_drawdown
    starter_return, starter_drawdown = figures.repeat(len(w.n) // max(1, len(names)), axis=0).T
    annual, drawdown = build_up(starter_return, starter_drawdown, w.months, w.total_return, w.max_drawdown)
    applies = ~np.isnan(starter_return) & (w.months < MONTHS_PER_YEAR)
    calmar, *_ = _calmar(annual, drawdown)
    return applies, {"annual_return": annual, "max_drawdown": drawdown, "calmar": calmar}


def _count(flags: NDArray[np.generic], column: IntArray, start: IntArray, stop: IntArray) -> IntArray:
    """Sum whole numbers over windows, shape (K,); exact, so counts before two rows may be subtracted."""
    used = np.zeros(len(flags) + 1, dtype=np.bool_)
    used[start] = used[stop] = used[0] = used[-1] = True
    edges = np.flatnonzero(used)
    before = np.zeros((len(edges), flags.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.add.reduceat(flags, edges[:-1], axis=0, dtype=np.int64), axis=0, out=before[1:, :-1])
    place = used.cumsum() - 1
    counts: IntArray = before[place[stop], column] - before[place[start], column]
    return counts


def _active_rows(values: FloatArray, active: BoolArray) -> FloatArray:
    """Move the active rows of each column to its top, in order."""
    rows, columns = np.nonzero(active)
    packed = np.zeros_like(values)
    packed[active.cumsum(axis=0)[rows, columns] - 1, columns] = values[rows, columns]
    return packed


def _aligned(rate: pd.Series, sessions: pd.DatetimeIndex) -> FloatArray:
    aligned = rate.reindex(sessions).to_numpy(dtype=np.float64)
    bad = ~np.isfinite(aligned)
    if bad.any():
        raise ValueError(
            "risk_free_daily: expected a finite rate for every session,"
            f" none on {sessions[int(np.argmax(bad))]:%Y-%m-%d}"
        )
    return aligned


def _words(vocabulary: Sequence[str], codes: NDArray[np.integer]) -> pd.api.extensions.ExtensionArray:
    """Return vocabulary[codes] as a string column, without a Python object per cell."""
    return pd.array(list(vocabulary), dtype="str").take(codes)
