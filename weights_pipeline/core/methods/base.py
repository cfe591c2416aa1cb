"""What every allocation method shares: its protocol, limits on its outcome, and the step to target weights.

Here belongs what is the same for all methods. Here does not belong the formula of any of them: each has a
file of its own, and one entry in ``METHODS``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import pandas as pd

from weights_pipeline.core.normalise import GROSS_TOLERANCE, Floats, capped, proportional

MISSING = "missing"
"""Reason of a strategy for which there is no metric at all."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits on a weight, as multiples of its base weight.

    Parameters
    ----------
    floor
        Smallest multiple of base, in [0, 1].
    cap
        Largest multiple of base, at least 1.
    normalisation
        ``capped`` keeps both limits exactly. ``proportional`` scales all weights alike: floor and cap then
        bound the multipliers only, and weights may end outside those multiples of base.
    """

    floor: float = 0.5
    cap: float = 2.0
    normalisation: Literal["capped", "proportional"] = "capped"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor: expected a multiple of base in [0, 1], got {self.floor!r}")
        if not 1 <= self.cap < math.inf:
            raise ValueError(f"cap: expected a finite multiple of base of at least 1, got {self.cap!r}")
        if self.normalisation not in ("capped", "proportional"):
            raise ValueError(f"normalisation: expected capped or proportional, got {self.normalisation!r}")

    def bounds(self, base: Floats, gross: float) -> tuple[Floats, Floats]:
        """Limits that weights are promised to keep, as weights.

        Parameters
        ----------
        base
            Base weights, shape (n,).
        gross
            What all weights add up to.

        Returns
        -------
        lower, upper : ndarray, shape (n,)
            ``floor * base`` and ``cap * base``; 0 and gross under ``proportional``, which promises no more.
        """
        if self.normalisation == "capped":
            return self.floor * base, self.cap * base
        return np.zeros_like(base), np.full_like(base, gross)


@dataclass(frozen=True, kw_only=True)
class Multipliers:
    """Multipliers of base weights, with how each came about.

    Attributes
    ----------
    strategies
        Names, in the order of the arrays.
    metric
        The metric read, shape (n,); NaN where it could not be measured.
    raw
        Multipliers before clipping, shape (n,); NaN where the formula has no value and a rule decides.
    value
        Multipliers to use, shape (n,), finite and non-negative.
    note
        In words: ``measured``, ``clipped at cap``, ``neutral: insufficient``, …
    """

    strategies: tuple[str, ...]
    metric: Floats
    raw: Floats
    value: Floats
    note: tuple[str, ...]


class Method(Protocol):
    """An allocation method: a frozen dataclass of parameters that maps metrics to multipliers.

    Methods are pure and do not depend on the order of strategies; of two measured strategies the one with the
    better metric never gets the smaller multiplier.
    """

    @property
    def kind(self) -> str:
        """Name of the method, as books spell it."""

    @property
    def metric(self) -> str:
        """The metric it reads, such as ``calmar``."""

    @property
    def lookback(self) -> str:
        """Window of that metric, such as ``12m`` or ``90d``."""

    def multipliers(
        self, strategies: Sequence[str], values: Floats, reasons: Sequence[str], limits: Limits
    ) -> Multipliers:
        """Map metrics to multipliers.

        Parameters
        ----------
        strategies
            Names, n of them.
        values
            The metric per strategy, shape (n,); NaN is null.
        reasons
            Why a value is null; empty where it is not.
        limits
            Floor and cap on a multiplier.

        Returns
        -------
        Multipliers
            1.0 for a null, unless the method has a rule for its reason.
        """


def target_weights(
    method: Method, base: pd.Series, values: pd.Series, reasons: pd.Series, limits: Limits, gross: float
) -> pd.DataFrame:
    r"""Target weights of one rebalance: :math:`b_i m_i`, brought to gross inside the limits.

    Where all multipliers are equal the targets are the base weights, bit for bit.

    Parameters
    ----------
    method
        The allocation method.
    base
        Base weights by strategy, adding up to ``gross``.
    values
        The method's metric by strategy; NaN is null. Strategies outside ``base`` are left aside; one that
        is missing here counts as null with the reason ``missing``.
    reasons
        Why a value is null, by strategy.
    limits
        Floor, cap and normalisation.
    gross
        What the weights add up to.

    Returns
    -------
    DataFrame
        One row per strategy, sorted by name: ``strategy``, ``base``, ``metric_value``, ``reason``,
        ``raw_multiplier``, ``multiplier``, ``note``, ``scale`` (the common factor c), ``target``, ``lower``,
        ``upper`` (the limits promised) and ``bound`` (``floor`` or ``cap`` where that limit holds the target,
        otherwise empty).

    Raises
    ------
    ValueError
        No strategies, duplicates, an infinite metric, base weights that do not add up to gross, or
        multipliers that cannot be normalised.
    """
    for name, series in (("base", base), ("values", values), ("reasons", reasons)):
        if series.index.has_duplicates:
            raise ValueError(f"{name}: duplicate strategies {sorted(series.index[series.index.duplicated()])}")
    base = base.sort_index()
    if base.empty:
        raise ValueError("base: expected at least one strategy, got none")
    weights = base.to_numpy(dtype=np.float64)
    total = math.fsum(weights)
    if not abs(total - gross) <= GROSS_TOLERANCE * gross:
        raise ValueError(f"base: weights add up to {total:.12g}, expected gross {gross:.12g}")
    metric = values.reindex(base.index).to_numpy(dtype=np.float64)
    if np.isinf(metric).any():
        raise ValueError(f"values: infinite metric of {list(base.index[np.isinf(metric)])}, expected a null")
    given = reasons.reindex(base.index).fillna("")
    reason = [(text or MISSING) if null else "" for text, null in zip(given, np.isnan(metric), strict=True)]

    tilt = method.multipliers(tuple(base.index), metric, reason, limits)
    if (tilt.value == tilt.value[0]).all() and tilt.value[0] > 0:
        target, scale = weights.copy(), 1 / float(tilt.value[0])
    elif limits.normalisation == "capped":
        target, scale = capped(weights, tilt.value, floor=limits.floor, cap=limits.cap, gross=gross)
    else:
        target, scale = proportional(weights, tilt.value, gross=gross)
    lower, upper = limits.bounds(weights, gross)
    bound = np.where(target >= upper, "cap", np.where(target <= lower, "floor", ""))
    return pd.DataFrame(
        {
            "strategy": base.index.astype("str"),
            "base": weights,
            "metric_value": tilt.metric,
            "reason": pd.Series(reason, dtype="str"),
            "raw_multiplier": tilt.raw,
            "multiplier": tilt.value,
            "note": pd.Series(tilt.note, dtype="str"),
            "scale": scale,
            "target": target,
            "lower": lower,
            "upper": upper,
            "bound": pd.Series(np.where(weights > 0, bound, ""), dtype="str"),
        }
    )
