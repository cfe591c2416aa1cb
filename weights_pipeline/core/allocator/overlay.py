"""Application of the risk scalar to realized weights, and its audit over a whole history.

Scope: the lag between a scalar and the weights it scales, the refusal of a stale scalar, and the comparison of scaled
with unscaled returns, with its gates. Not here: how a scalar comes about (``scalar``), and what becomes of a gate that
is missed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.typing import NaTType

from weights_pipeline.core.allocator.regime import regime_levels
from weights_pipeline.core.metrics.measures import MIN_VOLATILITY
from weights_pipeline.core.returns.frequency import DAILY, Frequency

FULL_EXPOSURE = 0.99
"""A day whose scalar is below this counts as scaled."""

INSUFFICIENT = "insufficient"
NOT_COVERED = "not covered"

STRESS_WINDOWS: Mapping[str, tuple[pd.Timestamp, pd.Timestamp]] = MappingProxyType(
    {
        name: (pd.Timestamp(first), pd.Timestamp(last))
        for name, first, last in (
            ("2015-08", "2015-08-03", "2015-08-31"),
            ("2018-Q4", "2018-10-01", "2018-12-31"),
            ("2020-03", "2020-03-02", "2020-03-31"),
            ("2022", "2022-01-03", "2022-12-30"),
        )
    }
)
"""Periods in which diversified books fell together: first and last session at New York of each."""


@dataclass(frozen=True, kw_only=True)
class AuditGates:
    """Limits on what :func:`audit` finds of the whole history; each is kept where the figure is at it.

    Attributes
    ----------
    min_sharpe_change : float
        Smallest change of the Sharpe ratio by scaling.
    max_drawdown_ratio : float
        Largest maximum drawdown of the scaled portfolio over that of the unscaled one, above 0.
    max_share_scaled : float
        Largest share of scaled sessions, in [0, 1].
    max_transitions_per_year : float
        Most changes of regime a year.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    min_sharpe_change: float = -0.10
    max_drawdown_ratio: float = 1.0
    max_share_scaled: float = 0.60
    max_transitions_per_year: float = 24.0

    def __post_init__(self) -> None:
        if not isfinite(self.min_sharpe_change):
            raise ValueError(f"min_sharpe_change: expected a finite number, got {self.min_sharpe_change}")
        if not 0.0 < self.max_drawdown_ratio < inf:
            raise ValueError(f"max_drawdown_ratio: expected a positive number, got {self.max_drawdown_ratio}")
        if not 0.0 <= self.max_share_scaled <= 1.0:
            raise ValueError(f"max_share_scaled: expected a share in [0, 1], got {self.max_share_scaled}")
        if not 0.0 <= self.max_transitions_per_year < inf:
            raise ValueError(
                f"max_transitions_per_year: expected a number of at least 0, got {self.max_transitions_per_year}"
            )


class StaleScalarError(ValueError):
    """An enabled overlay lacks the scalar of the very session it needs."""


@dataclass(frozen=True, kw_only=True)
class ScalarInForce:
    """The scalar that one rebalance is scaled with.

    Attributes
    ----------
    value : float
        1.0 before the first scalar of the history; null where the history has a gap.
    session : Timestamp or NaT
        Session of that scalar; NaT where there is none.
    reason : str or None
        Why ``session`` is NaT; None when it is not.
    """

    value: float
    session: pd.Timestamp | NaTType
    reason: str | None


def scalar_in_force(
    scalar: pd.Series,
    effective_from: pd.Timestamp,
    sessions: pd.DatetimeIndex,
    *,
    lag: int,
    enabled: bool,
) -> ScalarInForce:
    """Scalar of the session that lies ``lag`` sessions before weights come into force.

    Parameters
    ----------
    scalar : Series, shape (sessions,)
        Risk scalars from the first session that has one; a gap is a missing or a null row.
    effective_from : Timestamp
        Session t from which the weights are in force.
    sessions : DatetimeIndex
        The trading calendar around it, in order.
    lag : int
        Sessions between scalar and weights, at least 1.
    enabled : bool
        Whether final weights are the scaled ones.

    Returns
    -------
    ScalarInForce
        Before the first scalar of all, the scalar is 1.0. A disabled overlay reports a gap as null: the last
        known scalar would pass for that session's.

    Raises
    ------
    StaleScalarError
        The overlay is enabled, scalars have begun, and the session needed has none.
    ValueError
        ``effective_from`` is not a session, or the lag is below 1.
    """
    _require_lag(lag)
    position = int(sessions.searchsorted(effective_from))
    if position == len(sessions) or sessions[position] != effective_from:
        raise ValueError(f"effective_from: expected a session of the calendar, got {effective_from:%Y-%m-%d}")

    known = scalar.dropna()
    needed = sessions[position - lag] if position >= lag else None
    if not len(known):
        return ScalarInForce(value=1.0, session=pd.NaT, reason="no scalar has been computed yet")
    if needed is None or needed < known.index[0]:
        reason = f"before the first scalar, that of {known.index[0]:%Y-%m-%d}"
        return ScalarInForce(value=1.0, session=pd.NaT, reason=reason)
    if needed in known.index:
        return ScalarInForce(value=float(known[needed]), session=needed, reason=None)
    latest = known.index[known.index < needed][-1]
    reason = f"no scalar for {needed:%Y-%m-%d}, the latest is that of {latest:%Y-%m-%d}"
    if enabled:
        raise StaleScalarError(
            f"weights effective from {effective_from:%Y-%m-%d}, lag {lag}: {reason}; "
            "compute the scalar of that session first"
        )
    return ScalarInForce(value=np.nan, session=pd.NaT, reason=reason)


def scalars_in_force(
    scalar: pd.Series,
    effective_from: pd.DatetimeIndex,
    sessions: pd.DatetimeIndex,
    *,
    lag: int,
    enabled: bool,
) -> tuple[NDArray[np.float64], pd.DatetimeIndex]:
    """Scalars of :func:`scalar_in_force` for many dates.

    Parameters
    ----------
    scalar, sessions, lag, enabled
        See :func:`scalar_in_force`.
    effective_from : DatetimeIndex, shape (dates,)

    Returns
    -------
    values : array, shape (dates,)
    sessions : DatetimeIndex, shape (dates,)
        NaT where there is none.

    Raises
    ------
    StaleScalarError, ValueError
        See :func:`scalar_in_force`.
    """
    _require_lag(lag)
    known = scalar.dropna()
    position = np.asarray(sessions.searchsorted(effective_from))
    found = (position >= lag) & (position < len(sessions))
    found[found] = sessions[position[found]] == effective_from[found]
    needed = sessions.take(np.where(found, position - lag, 0)) if len(sessions) else effective_from
    place = np.where(found, known.index.get_indexer(needed), -1)
    value = np.full(len(place), np.nan)
    value[place >= 0] = known.to_numpy()[place[place >= 0]]
    for date in np.flatnonzero(place < 0).tolist():
        value[date] = scalar_in_force(known, effective_from[date], sessions, lag=lag, enabled=enabled).value
    return value, pd.DatetimeIndex(needed.where(place >= 0)).as_unit("us").rename(None)


def scalars_on(
    scalar: pd.Series, of: str, values: NDArray[np.float64], sessions: pd.DatetimeIndex, *, enabled: bool
) -> NDArray[np.float64]:
    """Other scalars, of a sleeve or of a volatility target, on the sessions whose scalars are in force for the book.

    Parameters
    ----------
    scalar : Series, shape (scalar sessions,)
        The scalars.
    of : str
        What they are of, for errors.
    values : array, shape (dates,)
        What they are where the book has no session.
    sessions : DatetimeIndex, shape (dates,)
        What :func:`scalars_in_force` gives for the book.
    enabled : bool
        Whether final weights are the scaled ones.

    Returns
    -------
    array, shape (dates,)
        Null where those of a disabled overlay lack the session.

    Raises
    ------
    StaleScalarError
        The overlay is enabled and they lack a session that the book has.
    """
    own = np.where(sessions.isna(), values, scalar.reindex(sessions).to_numpy(np.float64))
    if enabled and np.isnan(own).any():
        session = sessions[np.isnan(own)][0]
        raise StaleScalarError(f"{of}: no scalar for {session:%Y-%m-%d}, for which the book has one")
    return own


def applied_scalar(scalar: pd.Series, sessions: pd.DatetimeIndex, lag: int) -> pd.Series:
    """Scalar in force on each session if it were applied daily.

    Parameters
    ----------
    scalar : Series, shape (scalar sessions,)
    sessions : DatetimeIndex
    lag : int
        Sessions between scalar and returns, at least 1.

    Returns
    -------
    Series, shape (sessions,)
        1.0 before the first scalar. A session without one keeps the last one, as positions would stay put.

    Raises
    ------
    ValueError
        The lag is below 1.
    """
    _require_lag(lag)
    return scalar.reindex(sessions).ffill().shift(lag).fillna(1.0).rename("scalar")


def audit(
    unscaled: pd.Series,
    scaled: pd.Series,
    exposure: pd.Series,
    regimes: pd.Series,
    frequency: Frequency = DAILY,
) -> pd.DataFrame:
    """Compare the scaled with the unscaled portfolio, over a whole history and through named windows of stress.

    The figures of :func:`performance` for either portfolio, and of the scaled one, from what it was scaled with:

    ======================== ==========================================================================
    ``share_scaled``         share of sessions with an exposure below 0.99
    ``mean_scalar``          mean exposure
    ``transitions_per_year`` changes of regime in a year's sessions, of those classified
    ======================== ==========================================================================

    In each of ``STRESS_WINDOWS`` that lies inside the history: ``total_return`` (Π(1 + r) − 1), ``max_drawdown`` from
    the window's start on, ``worst_day`` and ``share_scaled``.

    Parameters
    ----------
    unscaled, scaled : Series, shape (sessions,)
        Daily returns above −1, over the same sessions.
    exposure : Series, shape (sessions,)
        Scaled over unscaled gross on those sessions: the scalar in force where there is one for all strategies.
    regimes : Series of str
        Regimes in session order.
    frequency : Frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame
        ``window`` (``all`` or a name), ``portfolio`` (``unscaled`` or ``scaled``), ``metric``, ``value``, ``reason``.
        A null value has the reason ``insufficient`` (fewer than 60 sessions for annual figures, none at all for the
        others), ``zero_volatility``, ``no_loss`` or ``not covered``; else the reason is empty.

    Raises
    ------
    ValueError
        Sessions differ, a return is null or not above −1, an exposure is null, a regime is unknown.
    """
    if not (unscaled.index.equals(scaled.index) and unscaled.index.equals(exposure.index)):
        raise ValueError("audit: expected unscaled, scaled and exposure on the same sessions, got different ones")
    if exposure.isna().any():
        raise ValueError(f"exposure: expected no null, got one on {exposure.index[exposure.isna()][0]:%Y-%m-%d}")
    levels = regime_levels(regimes)
    changes = np.count_nonzero(np.diff(levels)) * frequency.per_year / len(levels) if len(levels) else np.nan
    rows = [
        ("all", name, metric, *measured)
        for name, returns in (("unscaled", unscaled), ("scaled", scaled))
        for metric, measured in performance(returns, name, frequency).items()
    ]
    figures = {
        "share_scaled": _share_scaled(exposure),
        "mean_scalar": float(exposure.mean()) if len(exposure) else np.nan,
        "transitions_per_year": changes,
    }
    rows += [("all", "scaled", name, value, INSUFFICIENT if np.isnan(value) else "") for name, value in figures.items()]
    through = {"unscaled": through_stress(unscaled), "scaled": through_stress(scaled)}
    for window, (first, last) in STRESS_WINDOWS.items():
        covered = window in through["unscaled"]
        reason = "" if covered else NOT_COVERED
        for portfolio, windows in through.items():
            found = windows.get(window, dict.fromkeys(_THROUGH, np.nan))
            rows += [(window, portfolio, metric, value, reason) for metric, value in found.items()]
        share = _share_scaled(exposure.loc[first:last]) if covered else np.nan
        rows.append((window, "scaled", "share_scaled", share, reason))
    return pd.DataFrame(rows, columns=["window", "portfolio", "metric", "value", "reason"])


def audit_of_hedges(unhedged: pd.Series, hedges: pd.DataFrame, frequency: Frequency = DAILY) -> pd.DataFrame:
    """What hedges have given and cost, over a whole history.

    The figures of :func:`performance` for the scaled portfolio without hedges, ``unhedged``, and of those of
    :func:`through_stress` in each window; and of the portfolio ``hedges``:

    =============== ===================================================================================
    ``share_on``    share of sessions with a hedge
    ``mean_weight`` their mean weight together on those
    ``earned``      Σ weight · return of the hedges, a year's sessions of it
    ``given_up``    the same of the weights that have paid for them; 0 where cash did
    ``carry``       earned less given up: what a year cost where it is negative
    =============== ===================================================================================

    Parameters
    ----------
    unhedged : Series, shape (sessions,)
        Daily returns above −1.
    hedges : DataFrame, shape (sessions, 3)
        ``weight``, ``earned`` and ``given_up`` on the same sessions.
    frequency : Frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame
        Columns of :func:`audit`. A null value has one of its reasons, or ``never on`` of the mean weight.

    Raises
    ------
    ValueError
        See :func:`performance`.
    """
    rows = [
        ("all", "unhedged", metric, *measured)
        for metric, measured in performance(unhedged, "unhedged", frequency).items()
    ]
    covered = through_stress(unhedged)
    for window in STRESS_WINDOWS:
        through, reason = covered.get(window, dict.fromkeys(_THROUGH, np.nan)), "" if window in covered else NOT_COVERED
        rows += [(window, "unhedged", metric, value, reason) for metric, value in through.items()]
    on, enough = hedges["weight"] > 0.0, "" if len(hedges) >= frequency.enough else INSUFFICIENT
    earned, given_up = (np.nan if enough else hedges[key].mean() * frequency.per_year for key in ("earned", "given_up"))
    figures = {
        "share_on": (on.mean(), "" if len(hedges) else INSUFFICIENT),
        "mean_weight": (hedges.loc[on, "weight"].mean(), "" if on.any() else "never on"),
        "earned": (earned, enough),
        "given_up": (given_up, enough),
        "carry": (earned - given_up, enough),
    }
    rows += [("all", "hedges", key, float(value), reason) for key, (value, reason) in figures.items()]
    return pd.DataFrame(rows, columns=["window", "portfolio", "metric", "value", "reason"])


def audit_misses(audited: pd.DataFrame, gates: AuditGates) -> pd.DataFrame:
    """Gates that an audit misses.

    Parameters
    ----------
    audited : DataFrame
        From :func:`audit`; what is null there misses no gate.
    gates : AuditGates

    Returns
    -------
    DataFrame, shape (misses, 3)
        ``gate``, ``value`` and ``limit``; empty when all are kept.
    """
    whole = audited[audited["window"] == "all"].set_index(["portfolio", "metric"])["value"]
    drawdown = whole["unscaled", "max_drawdown"]
    held = (
        ("min_sharpe_change", whole["scaled", "sharpe"] - whole["unscaled", "sharpe"], -1.0),
        ("max_drawdown_ratio", whole["scaled", "max_drawdown"] / drawdown if drawdown > 0.0 else np.nan, 1.0),
        ("max_share_scaled", whole["scaled", "share_scaled"], 1.0),
        ("max_transitions_per_year", whole["scaled", "transitions_per_year"], 1.0),
    )
    missed = [
        (gate, value, getattr(gates, gate)) for gate, value, sign in held if sign * value > sign * getattr(gates, gate)
    ]
    return pd.DataFrame(missed, columns=["gate", "value", "limit"])


def performance(
    returns: pd.Series, name: str = "returns", frequency: Frequency = DAILY
) -> dict[str, tuple[float, str]]:
    """Figures of one portfolio; 252 stands for the sessions a year of the ledger, 12 of monthly returns.

    ================ ==================================================================================
    ``cagr``         Π(1 + r)^(252/n) − 1
    ``volatility``   std (ddof = 1) · √252
    ``sharpe``       mean / std (ddof = 1) · √252, risk-free rate 0
    ``sortino``      mean / √(mean of min(r, 0)²) · √252
    ``max_drawdown`` max over t of 1 − E_t / max_{s≤t} E_s, E anchored at 1.0; a positive number
    ``worst_month``  smallest compounded return of a calendar month, whole or not
    ``worst_day``    smallest return
    ================ ==================================================================================

    Parameters
    ----------
    returns : Series, shape (sessions,)
        Daily returns above −1.
    name : str
        What an error calls them.
    frequency : Frequency
        How often they are observed.

    Returns
    -------
    dict of str to (float, str)
        Value and reason by metric; the reason is empty where there is a value. The first four need 60 sessions, or 6
        months.

    Raises
    ------
    ValueError
        A return is null or not above −1.
    """
    r = returns.to_numpy(dtype=float)
    if not (r > -1.0).all():
        date = returns.index[~(r > -1.0)][0]
        raise ValueError(f"{name}: expected returns above -1, got {returns[date]} on {date:%Y-%m-%d}")
    missing = (np.nan, INSUFFICIENT)
    figures = dict.fromkeys(
        ("cagr", "volatility", "sharpe", "sortino", "max_drawdown", "worst_month", "worst_day"), missing
    )
    if len(r):
        through = _through(returns)
        figures["max_drawdown"] = (through["max_drawdown"], "")
        figures["worst_month"] = (float(monthly_returns(returns).min()), "")
        figures["worst_day"] = (through["worst_day"], "")
    if len(r) >= frequency.enough:
        flat = r.max() == r.min()
        deviation = 0.0 if flat else float(r.std(ddof=1))
        downside = float(np.sqrt(np.mean(np.minimum(r, 0.0) ** 2)))
        mean, year = float(r.mean()), float(np.sqrt(frequency.per_year))
        figures["cagr"] = (float(np.cumprod(1.0 + r)[-1] ** (frequency.per_year / len(r))) - 1.0, "")
        figures["volatility"] = (deviation * year, "")
        noise = flat or deviation * year < MIN_VOLATILITY
        figures["sharpe"] = (np.nan, "zero_volatility") if noise else (mean / deviation * year, "")
        figures["sortino"] = (mean / downside * year, "") if downside > 0.0 else (np.nan, "no_loss")
    return figures


def monthly_returns(returns: pd.Series) -> pd.Series:
    """Compounded return of each calendar month, whole or not, by its period; shape (months,)."""
    months = pd.DatetimeIndex(returns.index).to_period("M")
    return (1.0 + returns).groupby(months).prod() - 1.0


def through_stress(returns: pd.Series) -> dict[str, dict[str, float]]:
    """Figures of each of ``STRESS_WINDOWS`` that lies inside some returns, by window; see :func:`audit`."""
    return {
        window: _through(returns.loc[first:last])
        for window, (first, last) in STRESS_WINDOWS.items()
        if len(returns) and returns.index[0] <= first and last <= returns.index[-1]
    }


_THROUGH = ("total_return", "max_drawdown", "worst_day")


def _through(returns: pd.Series) -> dict[str, float]:
    """Figures of ``_THROUGH``, of at least one return."""
    r = returns.to_numpy(dtype=float)
    wealth = np.cumprod(1.0 + r)
    drawdowns = 1.0 - wealth / np.maximum(np.maximum.accumulate(wealth), 1.0)
    return dict(zip(_THROUGH, (float(wealth[-1]) - 1.0, float(drawdowns.max()), float(r.min())), strict=True))


def _share_scaled(exposure: pd.Series) -> float:
    return float((exposure < FULL_EXPOSURE).mean()) if len(exposure) else np.nan


def _require_lag(lag: int) -> None:
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 session, got {lag}")
