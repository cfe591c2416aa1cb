"""Estimators: expected returns and covariances from the returns of a window.

Here belong the formulas and their conventions. Here does not belong what is done about covariances that are singular
(``constraints``), nor what they are needed for (one file per objective).

Everything is per observation; objectives make it annual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.problem import NoSolutionError


def by_strategy(returns: Floats) -> Floats:
    """Returns with a row per strategy, each contiguous: sums over time then do not depend on what stands beside.

    Parameters
    ----------
    returns
        Shape (T, n).

    Returns
    -------
    ndarray, shape (n, T)

    Raises
    ------
    NoSolutionError
        Fewer than two observations.
    """
    if len(returns) < 2:
        raise NoSolutionError(f"returns: expected at least 2 observations, got {len(returns)}")
    return np.ascontiguousarray(returns.T)


@dataclass(frozen=True, kw_only=True)
class SampleMean:
    """Arithmetic mean, every observation alike."""

    kind: Literal["sample"] = "sample"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def estimate(self, returns: Floats) -> Floats:
        """Expected return per observation, shape (n,), from returns of shape (T, n)."""
        mean: Floats = by_strategy(returns).mean(axis=1)
        return mean


@dataclass(frozen=True, kw_only=True)
class ExponentialMean:
    """Mean in which an observation weighs half as much as one that is a half-life younger.

    Parameters
    ----------
    half_life
        In observations, at least 1.
    """

    half_life: float
    kind: Literal["exponential"] = "exponential"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _require_half_life(self.half_life)

    def estimate(self, returns: Floats) -> Floats:
        """Expected return per observation, shape (n,), from returns of shape (T, n)."""
        mean: Floats = by_strategy(returns) @ _decay(len(returns), self.half_life)
        return mean


@dataclass(frozen=True, kw_only=True)
class SampleCovariance:
    """Sample covariance, ddof 1."""

    kind: Literal["sample"] = "sample"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def estimate(self, returns: Floats) -> Floats:
        r"""Covariance per observation, :math:`\frac1{T-1}\sum_t (r_t - \bar r)(r_t - \bar r)'`.

        Parameters
        ----------
        returns
            Shape (T, n), T at least 2.

        Returns
        -------
        ndarray, shape (n, n)
        """
        deviations = _centred(returns)
        covariance: Floats = deviations @ deviations.T / (len(returns) - 1)
        return covariance


@dataclass(frozen=True, kw_only=True)
class ExponentialCovariance:
    """Covariance in which an observation weighs half as much as one that is a half-life younger.

    Parameters
    ----------
    half_life
        In observations, at least 1.
    """

    half_life: float
    kind: Literal["exponential"] = "exponential"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _require_half_life(self.half_life)

    def estimate(self, returns: Floats) -> Floats:
        r"""Covariance per observation, unbiased as ddof 1 is, which it becomes as the half-life grows.

        .. math:: \frac1{1 - \sum_t a_t^2} \sum_t a_t (r_t - \bar r)(r_t - \bar r)', \qquad
                  a_t \propto 2^{-(T - t)/h}, \quad \sum_t a_t = 1, \quad \bar r = \sum_t a_t r_t

        Parameters
        ----------
        returns
            Shape (T, n), T at least 2.

        Returns
        -------
        ndarray, shape (n, n)
        """
        weights = _decay(len(returns), self.half_life)
        rows = by_strategy(returns)
        deviations = (rows - (rows @ weights)[:, None]) * np.sqrt(weights)
        covariance: Floats = deviations @ deviations.T / (1 - weights @ weights)
        return covariance


@dataclass(frozen=True, kw_only=True)
class LedoitWolf:
    """Sample covariance, shrunk towards the same variance for all and no correlation by as much as its noise asks for.

    References
    ----------
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
    Multivariate Analysis 88(2), 365-411.
    """

    kind: Literal["ledoit_wolf"] = "ledoit_wolf"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def estimate(self, returns: Floats) -> Floats:
        r"""Covariance per observation, ddof 0 as in the paper: :math:`\rho\,m I + (1 - \rho) S`.

        .. math:: S = \tfrac1T \sum_t x_t x_t', \quad m = \tfrac1n \operatorname{tr} S, \quad
                  d^2 = \lVert S - m I \rVert^2, \quad
                  b^2 = \min\Bigl(d^2, \tfrac1{T^2} \sum_t \lVert x_t x_t' - S \rVert^2\Bigr), \quad
                  \rho = b^2 / d^2

        with returns :math:`x_t` less their means and squared norms that are sums of squares;
        :math:`\sum_t \lVert x_t x_t' - S \rVert^2 = \sum_t (x_t'x_t)^2 - T \lVert S \rVert^2`.

        Parameters
        ----------
        returns
            Shape (T, n), T at least 2.

        Returns
        -------
        ndarray, shape (n, n)
        """
        deviations = _centred(returns)
        n, observations = deviations.shape
        sample = deviations @ deviations.T / observations
        target = np.trace(sample) / n * np.eye(n)
        distance = float(((sample - target) ** 2).sum())
        squares = (deviations**2).sum(axis=0)
        noise = (float(squares @ squares) / observations - float((sample**2).sum())) / observations
        shrinkage = min(max(noise, 0.0), distance) / distance if distance > 0 else 0.0
        covariance: Floats = shrinkage * target + (1 - shrinkage) * sample
        return covariance


ExpectedReturn = SampleMean | ExponentialMean
Covariance = SampleCovariance | ExponentialCovariance | LedoitWolf


def _centred(returns: Floats) -> Floats:
    rows = by_strategy(returns)
    deviations: Floats = rows - rows.mean(axis=1, keepdims=True)
    return deviations


def _decay(observations: int, half_life: float) -> Floats:
    weights = 0.5 ** (np.arange(observations - 1, -1, -1) / half_life)
    shares: Floats = weights / weights.sum()
    return shares


def _require_half_life(half_life: float) -> None:
    if not 1 <= half_life < math.inf:
        raise ValueError(f"half_life: expected a number of observations of at least 1, got {half_life!r}")
