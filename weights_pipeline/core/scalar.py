"""Risk scalars: how much of the realised weights each regime leaves standing.

Here belong the profiles (regime to scalar), their smoothing, the parameters of the whole overlay and the
chain from the reference portfolio to its scalar. Here do not belong regimes as such (:mod:`.regime`) nor the
application of a scalar to weights (:mod:`.overlay`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd

from weights_pipeline.core.regime import (
    REGIMES,
    RegimeCarry,
    RegimePath,
    RegimeThresholds,
    classify,
    regime_levels,
)
from weights_pipeline.core.state import AllocatorState, allocator_state


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How hard the book is cut in each regime, and how fast.

    Attributes
    ----------
    map : mapping of regime to float
        Target scalar of each of the four regimes, in [0, 1], never larger in a worse regime.
    alpha : float
        Weight of the newest target in the exponential smoothing, in (0, 1].
    floor, cap : float
        Bounds of the smoothed scalar, 0 < floor ≤ cap ≤ 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    map: Mapping[str, float]
    alpha: float
    floor: float
    cap: float = 1.0

    def __post_init__(self) -> None:
        if set(self.map) != set(REGIMES):
            raise ValueError(f"map: expected a scalar for each of {', '.join(REGIMES)}, got {dict(self.map)}")
        # One canonical form, so that equal profiles have equal hashes however they were written.
        targets = {regime: float(self.map[regime]) for regime in REGIMES}
        object.__setattr__(self, "map", targets)
        for calm, worse in pairwise(REGIMES):
            if not 0.0 <= targets[worse] <= targets[calm] <= 1.0:
                raise ValueError(
                    f"map: expected scalars in [0, 1] that do not rise with stress, "
                    f"got {calm} {targets[calm]} and {worse} {targets[worse]}"
                )
        if not 0.0 < self.alpha <= 1.0:
            raise ValueError(f"alpha: expected a number in (0, 1], got {self.alpha}")
        if not 0.0 < self.floor <= self.cap <= 1.0:
            raise ValueError(f"floor, cap: expected 0 < floor <= cap <= 1, got {self.floor} and {self.cap}")


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "low": Profile(map={"NORMAL": 1.00, "ELEVATED": 0.85, "STRESS": 0.55, "CRISIS": 0.30}, alpha=0.25, floor=0.25),
        "medium": Profile(
            map={"NORMAL": 1.00, "ELEVATED": 0.90, "STRESS": 0.70, "CRISIS": 0.45}, alpha=0.20, floor=0.35
        ),
        "high": Profile(map={"NORMAL": 1.00, "ELEVATED": 0.98, "STRESS": 0.85, "CRISIS": 0.60}, alpha=0.15, floor=0.50),
    }
)
"""Profiles by risk tolerance: ``low`` is cut first and hardest."""


@dataclass(frozen=True, kw_only=True)
class AllocatorParameters:
    """The ``overlay`` section of a book.

    Attributes
    ----------
    enabled : bool
        Whether final weights are the scaled ones; the scalar is computed and stored either way.
    profile : str or Profile
        A name in ``PROFILES`` or a profile of the book's own.
    half_life : float, optional
        Sessions in which half of a change of target is followed; takes the place of the profile's alpha.
    lag : int
        Sessions between the scalar and the weights it is applied to, at least 1: no look-ahead.
    thresholds : RegimeThresholds
    sleeves : mapping of strategy to sleeve
        For the concentration feature; strategies it does not name are their own sleeve.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = True
    profile: str | Profile = "low"
    half_life: float | None = None
    lag: int = 1
    thresholds: RegimeThresholds = field(default_factory=RegimeThresholds)
    sleeves: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.profile, str) and self.profile not in PROFILES:
            raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {self.profile!r}")
        if self.half_life is not None and not 0.0 < self.half_life < np.inf:
            raise ValueError(f"half_life: expected a positive number of sessions, got {self.half_life}")
        if self.lag < 1:
            raise ValueError(f"lag: expected at least 1 session, got {self.lag}")

    def resolved_profile(self) -> Profile:
        """Return the profile in use: named or own, with the alpha of ``half_life`` where one is given."""
        profile = PROFILES[self.profile] if isinstance(self.profile, str) else self.profile
        return profile if self.half_life is None else replace(profile, alpha=smoothing_alpha(self.half_life))


@dataclass(frozen=True, kw_only=True)
class AllocatorCarry:
    """All that the next session needs to know of the past.

    Attributes
    ----------
    regime : RegimeCarry
        Where the regime path stands.
    scalar : float
        Last smoothed scalar.
    """

    regime: RegimeCarry
    scalar: float


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """State, regimes and scalars of one stretch of sessions.

    Attributes
    ----------
    state : AllocatorState
    regimes : RegimePath
    scalars : DataFrame, shape (sessions, 2)
        See :func:`risk_scalar`.
    carry : AllocatorCarry or None
        To continue from; None only when no session has a state yet.
    """

    state: AllocatorState
    regimes: RegimePath
    scalars: pd.DataFrame
    carry: AllocatorCarry | None


def smoothing_alpha(half_life: float) -> float:
    """Convert a half-life in sessions to a smoothing weight: α = 1 − 2^(−1/h)."""
    return float(1.0 - 2.0 ** (-1.0 / half_life))


def risk_scalar(regimes: pd.Series, profile: Profile, carry: float | None = None) -> pd.DataFrame:
    """Smooth the targets of the regimes: s_t = (1 − α)·s_{t−1} + α·target_t, clipped to [floor, cap].

    The recursion is seeded at the first target and carries the clipped value, so a floor above a target does
    not wind up: the scalar leaves it as soon as targets rise. Where floor and cap enclose the map, as in
    ``PROFILES``, clipping inside or after the recursion is the same. A scalar at its target stays there.

    Parameters
    ----------
    regimes : Series of str, shape (sessions,)
        In session order.
    profile : Profile
    carry : float, optional
        Scalar of the session before the first; continues a recursion bit for bit.

    Returns
    -------
    DataFrame, shape (sessions, 2)
        ``target`` and ``scalar``, never null.

    Raises
    ------
    ValueError
        A value that is not a regime; a carry outside [floor, cap].
    """
    if carry is not None and not profile.floor <= carry <= profile.cap:
        raise ValueError(f"carry: expected a scalar in [{profile.floor}, {profile.cap}], got {carry}")
    targets = np.array([profile.map[regime] for regime in REGIMES])[regime_levels(regimes)]
    keep, last = 1.0 - profile.alpha, carry
    scalars = []
    for target in targets.tolist():
        if last is None:
            last = target
        elif last != target:
            last = keep * last + profile.alpha * target
        last = min(max(last, profile.floor), profile.cap)
        scalars.append(last)
    return pd.DataFrame({"target": targets, "scalar": np.array(scalars, dtype=float)}, index=regimes.index)


def allocate(
    portfolio: pd.Series,
    equity: pd.Series,
    components: pd.DataFrame,
    parameters: AllocatorParameters,
    *,
    trend_units: pd.DataFrame | None = None,
    sleeves: pd.DataFrame | None = None,
    peak: float = 1.0,
    carry: AllocatorCarry | None = None,
) -> Allocation:
    """Chain state, regime and scalar.

    Parameters
    ----------
    portfolio, equity, components, trend_units, sleeves, peak
        See :func:`~weights_pipeline.core.state.allocator_state`.
    parameters : AllocatorParameters
    carry : AllocatorCarry, optional
        Where an earlier stretch ended. The data then start 59 sessions before the first new session, as its
        warm-up, with ``peak`` the highest equity before them; the result equals that of the whole history.

    Returns
    -------
    Allocation
    """
    state = allocator_state(portfolio, equity, components, trend_units=trend_units, sleeves=sleeves, peak=peak)
    path = classify(state.features, parameters.thresholds, carry.regime if carry else None)
    scalars = risk_scalar(path.frame["regime"], parameters.resolved_profile(), carry.scalar if carry else None)
    if path.carry and len(scalars):
        carry = AllocatorCarry(regime=path.carry, scalar=float(scalars["scalar"].iloc[-1]))
    return Allocation(state=state, regimes=path, scalars=scalars, carry=carry)


def parameter_hash(parameters: AllocatorParameters) -> str:
    """Hash what the parameters mean, as 64 hexadecimal digits.

    SHA-256 of the canonical JSON (sorted keys, no spaces) with the profile resolved to its numbers: a named
    profile and the same profile spelled out hash alike, and a change to a named profile changes the hash.
    """
    meaning = asdict(replace(parameters, profile=parameters.resolved_profile(), half_life=None))
    # Numbers as floats throughout: 1 and 1.0 mean the same.
    numbers = json.loads(json.dumps(meaning), parse_int=float)
    canonical = json.dumps(numbers, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()
