"""Application of the risk scalar to realised weights, and its audit over a whole history.

Here belong the lag between a scalar and the weights it scales, the refusal of a stale scalar, and the
comparison of scaled with unscaled returns. Here do not belong how a scalar comes about (:mod:`.scalar`) nor
limits on the audited figures.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.typing import NaTType

from weights_pipeline.core.regime import regime_levels
from weights_pipeline.core.state import SESSIONS_PER_YEAR

FULL_EXPOSURE = 0.99
"""A day whose scalar is below this counts as scaled."""

MIN_SESSIONS = 60
"""Fewer sessions have no annual return nor Sharpe ratio worth the name."""

INSUFFICIENT = "insufficient"


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


@dataclass(frozen=True, kw_only=True)
class OverlayResult:
    """Weights of one rebalance with and without the overlay.

    Attributes
    ----------
    scalar : ScalarInForce
    scaled : Series, shape (strategies,)
        realised × scalar; null with the scalar.
    final : Series, shape (strategies,)
        Weights to trade: ``scaled`` for an enabled overlay, otherwise the realised ones.
    """

    scalar: ScalarInForce
    scaled: pd.Series
    final: pd.Series


def apply_overlay(
    realised: pd.Series,
    scalar: pd.Series,
    effective_from: pd.Timestamp,
    sessions: pd.DatetimeIndex,
    *,
    lag: int,
    enabled: bool,
) -> OverlayResult:
    """Scale the weights of one rebalance: final_t = realised × scalar_{t−lag}.

    Parameters
    ----------
    realised : Series, shape (strategies,)
        Unscaled weights.
    scalar, effective_from, sessions, lag, enabled
        See :func:`scalar_in_force`.

    Returns
    -------
    OverlayResult
    """
    used = scalar_in_force(scalar, effective_from, sessions, lag=lag, enabled=enabled)
    scaled = realised * used.value
    return OverlayResult(scalar=used, scaled=scaled, final=scaled if enabled else realised)


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
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 session, got {lag}")
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
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 session, got {lag}")
    return scalar.reindex(sessions).ffill().shift(lag).fillna(1.0).rename("scalar")


def scaled_returns(portfolio: pd.Series, scalar: pd.Series, lag: int) -> pd.Series:
    """Scale daily returns: r_t × scalar_{t−lag}; see :func:`applied_scalar` for the first sessions."""
    return (portfolio * applied_scalar(scalar, pd.DatetimeIndex(portfolio.index), lag)).rename("scaled")


def audit(unscaled: pd.Series, scaled: pd.Series, scalar: pd.Series, regimes: pd.Series) -> pd.DataFrame:
    """Compare the scaled with the unscaled portfolio over a whole history.

    ======================== ==========================================================================
    ``cagr``                 Π(1 + r)^(252/n) − 1
    ``sharpe``               mean / std (ddof = 1) · √252, risk-free rate 0
    ``max_drawdown``         max over t of 1 − E_t / max_{s≤t} E_s, E anchored at 1.0; a positive number
    ``worst_month``          smallest compounded return of a calendar month, whole or not
    ``share_scaled``         share of sessions with a scalar below 0.99
    ``transitions_per_year`` changes of regime per 252 sessions classified
    ======================== ==========================================================================

    Parameters
    ----------
    unscaled, scaled : Series, shape (sessions,)
        Daily returns above −1, over the same sessions.
    scalar : Series, shape (sessions,)
        Scalar in force on those sessions (:func:`applied_scalar`).
    regimes : Series of str
        Regimes in session order.

    Returns
    -------
    DataFrame, shape (10, 4)
        ``portfolio``, ``metric``, ``value``, ``reason``: the first four metrics for ``unscaled`` and
        ``scaled``, the last two for ``scaled``. A null value has the reason ``insufficient`` (fewer than 60
        sessions for cagr and sharpe, none at all for the others) or ``zero_volatility``; else it is empty.

    Raises
    ------
    ValueError
        Sessions differ, a return is null or not above −1, a scalar is null, a regime is unknown.
    """
    if not (unscaled.index.equals(scaled.index) and unscaled.index.equals(scalar.index)):
        raise ValueError("audit: expected unscaled, scaled and scalar on the same sessions, got different ones")
    if scalar.isna().any():
        raise ValueError(f"scalar: expected no null, got one on {scalar.index[scalar.isna()][0]:%Y-%m-%d}")
    levels = regime_levels(regimes)
    share = float((scalar < FULL_EXPOSURE).mean()) if len(scalar) else np.nan
    changes = np.count_nonzero(np.diff(levels)) * SESSIONS_PER_YEAR / len(levels) if len(levels) else np.nan
    rows = [("unscaled", metric, *measured) for metric, measured in performance(unscaled, "unscaled").items()]
    rows += [("scaled", metric, *measured) for metric, measured in performance(scaled, "scaled").items()]
    for metric, value in (("share_scaled", share), ("transitions_per_year", changes)):
        rows.append(("scaled", metric, value, INSUFFICIENT if np.isnan(value) else ""))
    return pd.DataFrame(rows, columns=["portfolio", "metric", "value", "reason"])


def performance(returns: pd.Series, name: str = "returns") -> dict[str, tuple[float, str]]:
    """Figures of one portfolio: ``cagr``, ``sharpe``, ``max_drawdown`` and ``worst_month`` of :func:`audit`.

    Parameters
    ----------
    returns : Series, shape (sessions,)
        Daily returns above −1.
    name : str
        What an error calls them.

    Returns
    -------
    dict of str to (float, str)
        Value and reason by metric; the reason is empty where there is a value.

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
    cagr = sharpe = drawdown = month = missing
    if len(r):
        wealth = np.cumprod(1.0 + r)
        drawdown = (float(np.max(1.0 - wealth / np.maximum(np.maximum.accumulate(wealth), 1.0))), "")
        months = pd.DatetimeIndex(returns.index).to_period("M")
        month = (float((1.0 + returns).groupby(months).prod().min()) - 1.0, "")
    if len(r) >= MIN_SESSIONS:
        cagr = (float(wealth[-1] ** (SESSIONS_PER_YEAR / len(r))) - 1.0, "")
        flat = r.max() == r.min()
        sharpe = (np.nan, "zero_volatility") if flat else (_sharpe(r), "")
    return {"cagr": cagr, "sharpe": sharpe, "max_drawdown": drawdown, "worst_month": month}


def _sharpe(returns: NDArray[np.float64]) -> float:
    return float(returns.mean() / returns.std(ddof=1) * np.sqrt(SESSIONS_PER_YEAR))
