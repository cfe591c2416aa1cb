"""Risk scalars: how much of the realized weights each regime leaves standing.

Scope: the profiles (regime to scalar), their smoothing, and the parameters of the whole overlay. Not here: regimes as
such (``regime``), the scalar that follows volatility (``volatility``), and the application of a scalar to weights
(``overlay``).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, Literal, get_args

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import Hedges
from weights_pipeline.core.allocator.overlay import AuditGates
from weights_pipeline.core.allocator.regime import (
    REGIMES,
    RegimeThresholds,
    regime_levels,
)
from weights_pipeline.core.allocator.volatility import VolatilityTarget

WHOLE_BOOK = ""
"""What stands for the book as a whole where scalars are told apart by sleeve."""

Apply = Literal["rebalance", "daily"]


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
        object.__setattr__(self, "map", _canonical_map("map", self.map))
        if not 0.0 < self.alpha <= 1.0:
            raise ValueError(f"alpha: expected a number in (0, 1], got {self.alpha}")
        if not 0.0 < self.floor <= self.cap <= 1.0:
            raise ValueError(f"floor, cap: expected 0 < floor <= cap <= 1, got {self.floor} and {self.cap}")


def _canonical_map(key: str, given: Mapping[str, float]) -> dict[str, float]:
    """Map from regime to scalar in one form, so that equal maps have equal hashes however they were written."""
    if set(given) != set(REGIMES):
        raise ValueError(f"{key}: expected a scalar for each of {', '.join(REGIMES)}, got {dict(given)}")
    targets = {regime: float(given[regime]) for regime in REGIMES}
    for calm, worse in pairwise(REGIMES):
        if not 0.0 <= targets[worse] <= targets[calm] <= 1.0:
            raise ValueError(
                f"{key}: expected scalars in [0, 1] that do not rise with stress, "
                f"got {calm} {targets[calm]} and {worse} {targets[worse]}"
            )
    return targets


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
        Sessions between the scalar and the weights it is applied to, at least 1: no look-ahead. It counts for the
        volatility target too.
    thresholds : RegimeThresholds
    sleeves : mapping of strategy to sleeve
        Strategies it does not name are their own sleeve. For the concentration feature and ``sleeve_maps``.
    sleeve_maps : mapping of sleeve to mapping of regime to float
        Sleeves that are cut otherwise than the book: target scalars as ``Profile.map``, smoothed and bounded as the
        profile says. Strategies of all other sleeves use the scalar of the book.
    apply : {"rebalance", "daily"}
        Whether weights are scaled once, when they come into force, or anew for every session.
    audit : AuditGates
        Limits on the comparison of scaled with unscaled returns.
    volatility_target : VolatilityTarget, optional
        Scales the whole book, after the risk scalar, towards a volatility.
    hedges : Hedges, optional
        Strategies that carry weight in named regimes alone, ``lag`` sessions after them.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = True
    profile: str | Profile = "low"
    half_life: float | None = None
    lag: int = 1
    thresholds: RegimeThresholds = field(default_factory=RegimeThresholds)
    sleeves: Mapping[str, str] = field(default_factory=dict)
    sleeve_maps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    apply: Apply = "rebalance"
    audit: AuditGates = field(default_factory=AuditGates)
    volatility_target: VolatilityTarget | None = None
    hedges: Hedges | None = None

    def __post_init__(self) -> None:
        if isinstance(self.profile, str) and self.profile not in PROFILES:
            raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {self.profile!r}")
        if self.half_life is not None and not 0.0 < self.half_life < np.inf:
            raise ValueError(f"half_life: expected a positive number of sessions, got {self.half_life}")
        if self.lag < 1:
            raise ValueError(f"lag: expected at least 1 session, got {self.lag}")
        if self.apply not in get_args(Apply):
            raise ValueError(f"apply: expected one of {', '.join(get_args(Apply))}, got {self.apply!r}")
        if WHOLE_BOOK in self.sleeve_maps:
            raise ValueError("sleeve_maps: expected names of sleeves, got an empty one")
        maps = {
            sleeve: _canonical_map(f"sleeve_maps.{sleeve}", self.sleeve_maps[sleeve]) for sleeve in self.sleeve_maps
        }
        object.__setattr__(self, "sleeve_maps", maps)

    def resolved_profile(self) -> Profile:
        """Return the profile in use: named or own, with the alpha of ``half_life`` where one is given."""
        profile = PROFILES[self.profile] if isinstance(self.profile, str) else self.profile
        return profile if self.half_life is None else replace(profile, alpha=smoothing_alpha(self.half_life))

    def profiles(self) -> dict[str, Profile]:
        """Profile of the book, under ``WHOLE_BOOK``, and of each sleeve with a map of its own, by name."""
        book = self.resolved_profile()
        own = {sleeve: replace(book, map=self.sleeve_maps[sleeve]) for sleeve in sorted(self.sleeve_maps)}
        return {WHOLE_BOOK: book} | own

    @property
    def leverage(self) -> float:
        """Most that realized weights are multiplied with to become final ones."""
        return self.volatility_target.cap if self.enabled and self.volatility_target else 1.0

    @property
    def hedging(self) -> tuple[str, ...]:
        """Strategies that are hedges: no components of the portfolio whose state is watched."""
        return self.hedges.strategies if self.hedges else ()

    def sleeve(self, strategy: str) -> str:
        """Sleeve of a strategy; its own where none is named."""
        return self.sleeves.get(strategy, strategy)

    def scaled_by(self, strategy: str) -> str:
        """Key in :meth:`profiles` of the scalar that a strategy is scaled with."""
        sleeve = self.sleeve(strategy)
        return sleeve if sleeve in self.sleeve_maps else WHOLE_BOOK


def smoothing_alpha(half_life: float) -> float:
    """Convert a half-life in sessions to a smoothing weight: α = 1 − 2^(−1/h)."""
    return float(1.0 - 2.0 ** (-1.0 / half_life))


def risk_scalar(regimes: pd.Series, profile: Profile) -> pd.DataFrame:
    """Smooth the targets of the regimes: s_t = (1 − α)·s_{t−1} + α·target_t, clipped to [floor, cap].

    The recursion is seeded at the first target and carries the clipped value, so a floor above a target does
    not wind up: the scalar leaves it as soon as targets rise. Where floor and cap enclose the map, as in
    ``PROFILES``, clipping inside or after the recursion is the same. A scalar at its target stays there.

    Parameters
    ----------
    regimes : Series of str, shape (sessions,)
        In session order.
    profile : Profile

    Returns
    -------
    DataFrame, shape (sessions, 2)
        ``target`` and ``scalar``, never null.

    Raises
    ------
    ValueError
        A value that is not a regime.
    """
    targets = np.array([profile.map[regime] for regime in REGIMES])[regime_levels(regimes)]
    keep, scalars = 1.0 - profile.alpha, list[float]()
    last = targets[0].item() if len(targets) else 0.0
    for target in targets.tolist():
        if last != target:
            last = keep * last + profile.alpha * target
        last = min(max(last, profile.floor), profile.cap)
        scalars.append(last)
    return pd.DataFrame({"target": targets, "scalar": np.array(scalars, dtype=float)}, index=regimes.index)


def parameter_hash(parameters: AllocatorParameters) -> str:
    """Hash what the parameters mean, as 64 hexadecimal digits.

    SHA-256 of the canonical JSON (sorted keys, no spaces) with the profile resolved to its numbers: a named
    profile and the same profile spelled out hash alike, and a change to a named profile changes the hash. Left out
    are the gates of the audit, which no weight depends on, and ``sleeve_maps``, ``apply``, ``volatility_target`` and
    ``hedges`` where they change nothing.
    """
    meaning = asdict(replace(parameters, profile=parameters.resolved_profile(), half_life=None))
    del meaning["audit"]
    if not parameters.sleeve_maps:
        del meaning["sleeve_maps"]
    if parameters.apply == "rebalance":
        del meaning["apply"]
    if parameters.volatility_target is None:
        del meaning["volatility_target"]
    if not parameters.hedges:
        del meaning["hedges"]
    # Numbers as floats throughout: 1 and 1.0 mean the same.
    numbers = json.loads(json.dumps(meaning), parse_int=float)
    canonical = json.dumps(numbers, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()
