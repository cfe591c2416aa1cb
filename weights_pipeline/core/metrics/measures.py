"""Measures: the formula of every metric, with its null rules.

Scope: formulas on the quantities of windows. Not here: the window arithmetic (``windows``), and which windows are
measured (``metrics``).

A null is NaN with a reason, never an infinity and never a stand-in number:

=====================  ====================================================================================
``insufficient``       fewer sessions or closed lots than asked for, or too few for the formula
``ended``              returns are delivered, and none has been for 20 sessions (2 months of monthly returns)
``zero_volatility``    the volatility is below ``min_volatility``, so a ratio to it means nothing
``no_drawdown``        a gain and no drawdown: the ratio has no upper limit
``no_downside``        no return below target: the ratio has no upper limit
``flat``               neither gain nor drawdown
``no_lots``            no lot was closed, or the history carries returns without lots
``overflow``           the value exceeds floating point
``missing``            there is no such metric of the strategy at all
``ledger_incomplete``  a position of the strategy is not known in some session of the window
``hedge``              the strategy is a hedge, whose metrics tilt nothing
=====================  ====================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.returns.frequency import DAILY, Frequency

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

REASONS = (
    "",
    "insufficient",
    "zero_volatility",
    "no_drawdown",
    "no_downside",
    "flat",
    "no_lots",
    "overflow",
    "missing",
    "ledger_incomplete",
    "ended",
    "hedge",
)
"""Reasons of a null, by code; code 0 is a measured value."""


MIN_VOLATILITY = 1e-4
"""Annual volatility below which a ratio to it is noise: returns read off an account's value never agree to the last
bit, and a Sharpe ratio of 1e12 says nothing."""


@dataclass(frozen=True, kw_only=True)
class MetricParameters:
    """What the metric formulas leave open.

    Attributes
    ----------
    risk_free : float
        Annual risk-free rate, a fraction.
    rf_mode : {"arithmetic", "geometric"}
        The rate of a session is ``rf / 252`` or ``(1 + rf)^(1/252) − 1``.
    min_closed_lots : int
        Fewer lots closed in the window make every estimate null. Not asked of a history without lots.
    min_sessions : int, optional
        Fewer sessions in the window make every estimate null; at least 2. By default a third of the sessions
        the lookback spans, at most 60: 60 for 12 months, 20 for 90 days. Of monthly returns half of the months, at
        least 3 and at most 6.
    min_volatility : float
        Annual volatility below which ratios to it are null.
    active_days_only : bool
        Take mean, volatility and downside deviation over active days only, annualised by the strategy's own
        active days a year. The target of the downside deviation stays the daily risk-free rate.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    risk_free: float = 0.045
    rf_mode: Literal["arithmetic", "geometric"] = "arithmetic"
    min_closed_lots: int = 5
    min_sessions: int | None = None
    min_volatility: float = MIN_VOLATILITY
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
        if not 0 <= self.min_volatility < math.inf:
            raise ValueError(
                f"min_volatility: expected an annual fraction of at least 0, such as 0.0001, got {self.min_volatility}"
            )

    def session_risk_free(self, per_year: float) -> float:
        """The risk-free rate of one session of so many a year."""
        if self.rf_mode == "geometric":
            return math.expm1(math.log1p(self.risk_free) / per_year)
        return self.risk_free / per_year

    def sessions_needed(self, lookback: Lookback, frequency: Frequency = DAILY) -> int:
        """Return the sessions, or months of monthly returns, below which a window is insufficient."""
        return frequency.needed(lookback.expected(frequency)) if self.min_sessions is None else self.min_sessions


DEFAULT_PARAMETERS = MetricParameters()


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
    calendar_mean : ndarray of float
        Mean return of all sessions of the window, whatever `mean` is of.
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
    liquid_capital : ndarray of float
        Least capital at which what was traded would have been all that usually trades; NaN where none is known.
    insufficient : ndarray of bool
        Fewer sessions or closed lots than asked for.
    ended : ndarray of bool
        Returns were delivered once, and are no more.
    per_year : float
        Sessions a year.
    min_volatility : float
        Annual volatility below which ratios to it are null.
    """

    n: IntArray
    months: IntArray
    total_return: FloatArray
    max_drawdown: FloatArray
    observations: IntArray
    mean: FloatArray
    m2: FloatArray
    downside_ss: FloatArray
    calendar_mean: FloatArray
    periods: FloatArray
    risk_free: FloatArray
    one_year: BoolArray
    active_days: IntArray
    active_sum: FloatArray
    closed_lots: FloatArray
    winning_lots: FloatArray
    liquid_capital: FloatArray
    insufficient: BoolArray
    ended: BoolArray
    per_year: float
    min_volatility: float


Rule = tuple[BoolArray, str]


def _undefined_allowed() -> np.errstate:
    """Let a value that is undefined or infinite pass without a warning: the null rules see it."""
    return np.errstate(divide="ignore", invalid="ignore", over="ignore")


def _measured(value: FloatArray, *rules: Rule) -> Measured:
    """Null `value` by the first rule that holds; else undefined is insufficient and infinite is overflow."""
    rules = (*rules, (np.isnan(value), "insufficient"), (np.isinf(value), "overflow"))
    reason = np.zeros(value.shape, dtype=np.int8)
    for holds, name in reversed(rules):
        reason[holds] = REASONS.index(name)
    return Measured(np.where(reason == 0, value, np.nan), reason)


def _estimate(w: WindowQuantities, value: FloatArray, *rules: Rule) -> Measured:
    return _measured(value, (w.ended, "ended"), (w.insufficient, "insufficient"), *rules)


def _annual_return(
    total_return: FloatArray, n: int | IntArray, one_year: bool | BoolArray, per_year: float
) -> FloatArray:
    """Return (1 + total)^(252/n) − 1, and the total return itself of a full year."""
    if np.all(one_year):
        return total_return
    with _undefined_allowed():
        annualised: FloatArray = np.expm1(np.log1p(total_return) * (per_year / n))
    return np.where(one_year, total_return, annualised)


def calmar_of(annual_return: FloatArray, max_drawdown: FloatArray) -> tuple[FloatArray, Rule, Rule]:
    """Return annual return / maximum drawdown (Young, Futures, October 1991) and its null rules."""
    smooth = max_drawdown == 0
    with _undefined_allowed():
        ratio = annual_return / max_drawdown
    return ratio, (smooth & (annual_return > 0), "no_drawdown"), (smooth, "flat")


def _volatility(m2: FloatArray, observations: int | IntArray, periods: float | FloatArray) -> FloatArray:
    """Return the sample standard deviation (ddof 1) a year; undefined for fewer than two observations."""
    with _undefined_allowed():
        return np.sqrt(m2 / (observations - 1) * periods)


def _sharpe(
    mean: FloatArray,
    m2: FloatArray,
    observations: int | IntArray,
    periods: float | FloatArray,
    risk_free: float | FloatArray,
    min_volatility: float,
) -> tuple[FloatArray, Rule, Rule]:
    """Return (mean·252 − rf) / volatility and its null rules (Sharpe, J. Portfolio Management, Fall 1994)."""
    volatility = _volatility(m2, observations, periods)
    with _undefined_allowed():
        ratio = (mean * periods - risk_free) / volatility
    return ratio, *_spread_rules(m2, observations, volatility, min_volatility)


def _sortino(w: WindowQuantities) -> tuple[FloatArray, Rule, Rule, Rule]:
    """Return (mean·252 − rf) / downside deviation (Sortino & Price, J. Investing, Fall 1994) and null rules.

    Returns that hardly move are null as for Sharpe: below target the ratio of equal ones would be −√252 whatever they
    are.
    """
    volatility = _volatility(w.m2, w.observations, w.periods)
    with _undefined_allowed():
        ratio = (w.mean * w.periods - w.risk_free) / np.sqrt(w.downside_ss / w.observations * w.periods)
    spread = _spread_rules(w.m2, w.observations, volatility, w.min_volatility)
    return ratio, *spread, (w.downside_ss == 0, "no_downside")


def _spread_rules(
    m2: FloatArray, observations: int | IntArray, volatility: FloatArray, least: float
) -> tuple[Rule, Rule]:
    few = np.broadcast_to(np.asarray(observations) < 2, m2.shape)
    return (few, "insufficient"), ((m2 == 0) | (volatility < least), "zero_volatility")


def _annual(w: WindowQuantities) -> FloatArray:
    return _annual_return(w.total_return, w.n, w.one_year, w.per_year)


def share_of(part: FloatArray | IntArray, whole: FloatArray | IntArray) -> FloatArray:
    """Quotient of two quantities; undefined (0/0) is NaN, for the null rules to see."""
    with _undefined_allowed():
        share: FloatArray = part / whole
    return share


LIQUID_CAPITAL = "liquid_capital"
"""The metric that is known where volumes are."""

METRICS: Mapping[str, Callable[[WindowQuantities], Measured]] = MappingProxyType(
    {
        "total_return": lambda w: _estimate(w, w.total_return),
        "annual_return": lambda w: _estimate(w, _annual(w)),
        "volatility": lambda w: _estimate(w, _volatility(w.m2, w.observations, w.periods)),
        "sharpe": lambda w: _estimate(
            w, *_sharpe(w.mean, w.m2, w.observations, w.periods, w.risk_free, w.min_volatility)
        ),
        "sortino": lambda w: _estimate(w, *_sortino(w)),
        "max_drawdown": lambda w: _estimate(w, w.max_drawdown),
        "calmar": lambda w: _estimate(w, *calmar_of(_annual(w), w.max_drawdown)),
        "hit_rate": lambda w: _estimate(w, share_of(w.winning_lots, w.closed_lots), (~(w.closed_lots > 0), "no_lots")),
        "mean_return": lambda w: _estimate(w, w.calendar_mean),
        "mean_active_return": lambda w: _estimate(w, share_of(w.active_sum, w.active_days)),
        "n_sessions": lambda w: _measured(w.n.astype(np.float64)),
        "months_of_data": lambda w: _measured(w.months.astype(np.float64)),
        "closed_lots": lambda w: _measured(w.closed_lots, (np.isnan(w.closed_lots), "no_lots")),
        LIQUID_CAPITAL: lambda w: _measured(w.liquid_capital, (np.isnan(w.liquid_capital), "no_lots")),
    }
)
"""Every metric by name; an entry here is all a new one needs. Estimates may be insufficient, counts never."""

LESS_IS_BETTER = frozenset({"volatility", "max_drawdown"})
"""Metrics of which less is better."""
