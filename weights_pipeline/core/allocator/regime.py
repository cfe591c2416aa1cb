"""Risk regimes: which of four states the reference portfolio is in, and for how long.

Scope: the stress signals, their thresholds, and the path of regimes with hysteresis and a minimum stay. Not here: the
features (``state``), what a regime does to the weights (``scalar``), and the market regimes (bull, bear, range) of
ensembles (``targets.market_regime``).
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.columns import texts

REGIMES = ("NORMAL", "ELEVATED", "STRESS", "CRISIS")
SIGNALS = ("vol_fast", "corr_spike", "dd_deep", "dd_worsening")
FEATURES = ("vol_accel", "corr_shock", "dd_level", "dd_slope_10d")

_NORMAL, _ELEVATED, _STRESS, _CRISIS = range(4)


@dataclass(frozen=True, kw_only=True)
class RegimeThresholds:
    """When a signal is on, what the signals add up to, and how a regime is left.

    Every comparison is inclusive. A signal is stricter on entry than on exit, so that the exit score is never
    below the score.

    Attributes
    ----------
    vol_accel_enter, vol_accel_exit : float
        ``vol_fast``: vol_accel at or above.
    corr_shock_enter, corr_shock_exit : float
        ``corr_spike``: corr_shock at or above.
    dd_enter, dd_exit : float
        ``dd_deep``: dd_level at or below (drawdowns are negative).
    dd_slope_enter, dd_slope_exit : float
        ``dd_worsening``: dd_slope_10d at or below.
    dd_stress, dd_crisis : float
        dd_level at or below which STRESS and CRISIS are entered whatever the score.
    elevated_score, stress_score, crisis_score : int
        Score at which the regime is entered, and below which the exit score must be to leave it.
    min_stay : int
        Sessions a regime lasts before it can be left for a calmer one.
    stepwise : bool
        Go down one level at a time instead of straight to the target.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    vol_accel_enter: float = 1.30
    vol_accel_exit: float = 1.15
    corr_shock_enter: float = 0.10
    corr_shock_exit: float = 0.05
    dd_enter: float = -0.10
    dd_exit: float = -0.06
    dd_slope_enter: float = -0.06
    dd_slope_exit: float = -0.03
    dd_stress: float = -0.12
    dd_crisis: float = -0.20
    elevated_score: int = 1
    stress_score: int = 2
    crisis_score: int = 3
    min_stay: int = 5
    stepwise: bool = False

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not isfinite(value):
                raise ValueError(f"{key}: expected a finite number, got {value}")
        ordered = (
            ("vol_accel_exit", self.vol_accel_exit, "vol_accel_enter", self.vol_accel_enter),
            ("corr_shock_exit", self.corr_shock_exit, "corr_shock_enter", self.corr_shock_enter),
            ("dd_enter", self.dd_enter, "dd_exit", self.dd_exit),
            ("dd_slope_enter", self.dd_slope_enter, "dd_slope_exit", self.dd_slope_exit),
            ("dd_crisis", self.dd_crisis, "dd_stress", self.dd_stress),
            ("elevated_score", self.elevated_score, "stress_score", self.stress_score),
            ("stress_score", self.stress_score, "crisis_score", self.crisis_score),
        )
        for low_key, low, high_key, high in ordered:
            if not low < high:
                raise ValueError(f"{low_key}: expected a value below {high_key} ({high}), got {low}")
        if self.elevated_score < 1 or self.crisis_score > len(SIGNALS):
            raise ValueError(
                f"elevated_score, crisis_score: expected scores from 1 to {len(SIGNALS)}, "
                f"got {self.elevated_score} and {self.crisis_score}"
            )
        if self.min_stay < 1:
            raise ValueError(f"min_stay: expected at least 1 session, got {self.min_stay}")


@dataclass(frozen=True, kw_only=True)
class RegimeCarry:
    """Where a path stands after its last session: all that the next session needs to know of the past.

    Attributes
    ----------
    regime : str
        One of ``REGIMES``.
    sessions : int
        Sessions spent in it so far, at least 1.
    """

    regime: str
    sessions: int

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise ValueError(f"regime: expected one of {', '.join(REGIMES)}, got {self.regime!r}")
        if self.sessions < 1:
            raise ValueError(f"sessions: expected at least 1, got {self.sessions}")


@dataclass(frozen=True, kw_only=True)
class RegimeSummary:
    """How a path was spread over the regimes.

    Attributes
    ----------
    by_regime : DataFrame, shape (4, 3)
        Index ``REGIMES``; ``sessions``, ``share`` (of all sessions; null without any) and ``longest_run``.
    transitions : DataFrame, shape (4, 4)
        Changes from the regime in the row to that in the column; the diagonal is 0.
    """

    by_regime: pd.DataFrame
    transitions: pd.DataFrame


def classify(state: pd.DataFrame, thresholds: RegimeThresholds | None = None) -> pd.DataFrame:
    """Classify each session as NORMAL, ELEVATED, STRESS or CRISIS.

    The score is the number of signals at their entry thresholds and sets the target:

    * CRISIS: dd_level ≤ dd_crisis, or score ≥ crisis_score, or vol_fast with corr_spike and dd_worsening;
    * STRESS: score ≥ stress_score, or vol_fast with corr_spike, or dd_level ≤ dd_stress;
    * ELEVATED: score ≥ elevated_score; NORMAL otherwise.

    A higher target is entered at once and may skip levels. A lower one needs ``min_stay`` sessions in the
    current regime and an exit score (the same signals at their exit thresholds) below that regime's score.

    Parameters
    ----------
    state : DataFrame, shape (sessions, features)
        With ``vol_accel``, ``corr_shock``, ``dd_level`` and ``dd_slope_10d``, none of them null.
        The first session enters its target.
    thresholds : RegimeThresholds, optional

    Returns
    -------
    DataFrame, shape (sessions, 9)
        ``regime`` (str), ``score`` and ``exit_score`` (0 to 4), the four signals at their entry thresholds
        (bool), ``sessions_in_regime`` (the entry session counts as 1), ``changed`` (bool).

    Raises
    ------
    ValueError
        A missing feature or a null.
    """
    limits = thresholds or RegimeThresholds()
    missing = [name for name in FEATURES if name not in state.columns]
    if missing:
        raise ValueError(f"state: expected the columns {', '.join(FEATURES)}, got none named {', '.join(missing)}")
    values = np.column_stack([state[name].to_numpy(dtype=float) for name in FEATURES])
    if np.isnan(values).any():
        row, column = np.argwhere(np.isnan(values))[0]
        raise ValueError(f"state: expected no null, got one in {FEATURES[column]} on {state.index[row]:%Y-%m-%d}")

    path = regime_arrays(values.T, limits)
    return pd.DataFrame(
        {
            "regime": texts(REGIMES, path.levels),
            "score": path.score,
            "exit_score": path.exit_score,
            **dict(zip(SIGNALS, path.signals, strict=True)),
            "sessions_in_regime": path.stays,
            "changed": path.changed,
        },
        index=state.index,
    )


class RegimeArrays(NamedTuple):
    """Columns of :func:`classify` as arrays, with regimes as their positions in ``REGIMES``, and where the path stands.

    The carry is None only where there has been no session at all.
    """

    levels: NDArray[np.intp]
    stays: NDArray[np.intp]
    changed: NDArray[np.bool_]
    score: NDArray[np.int64]
    exit_score: NDArray[np.int64]
    signals: NDArray[np.bool_]
    carry: RegimeCarry | None


def regime_arrays(
    features: NDArray[np.float64], limits: RegimeThresholds, carry: RegimeCarry | None = None
) -> RegimeArrays:
    """Classify as :func:`classify` does, from arrays.

    Parameters
    ----------
    features : array, shape (4, sessions)
        In the order of ``FEATURES``, not null.
    limits
        See :func:`classify`.
    carry : RegimeCarry, optional
        Where the path stood before the first session. A path continued from it equals that of the whole history.

    Returns
    -------
    RegimeArrays
    """
    vol_accel, corr_shock, dd_level, dd_slope = features
    signals = np.array(
        [
            vol_accel >= limits.vol_accel_enter,
            corr_shock >= limits.corr_shock_enter,
            dd_level <= limits.dd_enter,
            dd_slope <= limits.dd_slope_enter,
        ]
    )
    vol_fast, corr_spike, _, dd_worsening = signals
    score = np.add.reduce(signals, axis=0, dtype=np.int64)
    lingering = [
        vol_accel >= limits.vol_accel_exit,
        corr_shock >= limits.corr_shock_exit,
        dd_level <= limits.dd_exit,
        dd_slope <= limits.dd_slope_exit,
    ]
    exit_score = np.add.reduce(lingering, axis=0, dtype=np.int64)

    shock = vol_fast & corr_spike
    target = np.where(score >= limits.elevated_score, _ELEVATED, _NORMAL)
    target[(score >= limits.stress_score) | shock | (dd_level <= limits.dd_stress)] = _STRESS
    in_crisis = (score >= limits.crisis_score) | (shock & dd_worsening) | (dd_level <= limits.dd_crisis)
    target[in_crisis] = _CRISIS

    levels, stays = _path(target.tolist(), exit_score.tolist(), limits, carry)
    changed = stays == 1
    if carry is None:
        changed[:1] = False
    if len(levels):
        carry = RegimeCarry(regime=REGIMES[levels[-1]], sessions=int(stays[-1]))
    return RegimeArrays(levels, stays, changed, score, exit_score, signals, carry)


def regime_summary(regimes: pd.Series) -> RegimeSummary:
    """Count sessions, changes and longest runs.

    Parameters
    ----------
    regimes : Series of str, shape (sessions,)
        In session order.

    Returns
    -------
    RegimeSummary

    Raises
    ------
    ValueError
        A value that is not in ``REGIMES``.
    """
    levels = regime_levels(regimes)
    sessions = np.bincount(levels, minlength=len(REGIMES))
    table = np.zeros((len(REGIMES), len(REGIMES)), dtype=np.int64)
    turns = np.flatnonzero(np.diff(levels)) + 1
    np.add.at(table, (levels[turns - 1], levels[turns]), 1)
    starts = np.concatenate([np.zeros(min(len(levels), 1), dtype=np.intp), turns])
    longest = np.zeros(len(REGIMES), dtype=np.int64)
    np.maximum.at(longest, levels[starts], np.diff(starts, append=len(levels)))
    share = sessions / len(levels) if len(levels) else np.full(len(REGIMES), np.nan)
    return RegimeSummary(
        by_regime=pd.DataFrame(
            {"sessions": sessions, "share": share, "longest_run": longest},
            index=pd.Index(REGIMES, name="regime"),
        ),
        transitions=pd.DataFrame(table, index=pd.Index(REGIMES, name="from"), columns=pd.Index(REGIMES, name="to")),
    )


def regime_levels(regimes: pd.Series) -> NDArray[np.intp]:
    """Position of each regime in ``REGIMES``, 0 the calmest.

    Raises
    ------
    ValueError
        A value that is not in ``REGIMES``, naming its date.
    """
    codes = {regime: level for level, regime in enumerate(REGIMES)}
    levels = np.array([codes.get(regime, -1) for regime in regimes.tolist()], dtype=np.intp)
    unknown = np.flatnonzero(levels < 0)
    if len(unknown):
        date, value = regimes.index[unknown[0]], regimes.iloc[unknown[0]]
        raise ValueError(f"regimes: expected one of {', '.join(REGIMES)}, got {value!r} on {date:%Y-%m-%d}")
    return levels


def _path(
    targets: list[int], exit_scores: list[int], limits: RegimeThresholds, carry: RegimeCarry | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Regime levels and sessions spent in them; plain Python, as each session depends on the one before."""
    exits_below = (0, limits.elevated_score, limits.stress_score, limits.crisis_score)
    level, stay = (REGIMES.index(carry.regime), carry.sessions) if carry else (-1, 0)
    levels, stays = [], []
    for target, exit_score in zip(targets, exit_scores, strict=True):
        calms = target < level and stay >= limits.min_stay and exit_score < exits_below[level]
        if target > level:
            level, stay = target, 1
        elif calms:
            level, stay = level - 1 if limits.stepwise else target, 1
        else:
            stay += 1
        levels.append(level)
        stays.append(stay)
    return np.array(levels, dtype=np.intp), np.array(stays, dtype=np.intp)
