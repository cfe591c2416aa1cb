"""Volatility target: how far the whole book is scaled so that its volatility stays near the one that is wanted.

Scope: the target's parameters, and the scalar that follows on each session from what the unscaled book has earned. Not
here: the risk scalar before it (``scalar``), and the application of either to weights (``overlay``).
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.state import rolling_volatility
from weights_pipeline.core.metrics.measures import MIN_VOLATILITY


@dataclass(frozen=True, kw_only=True)
class VolatilityTarget:
    """The ``overlay.volatility_target`` section of a book.

    Attributes
    ----------
    target : float
        Volatility of the book that is wanted, a year; 0.10 is 10 %.
    window : int
        Sessions over which the volatility of the unscaled book is measured, at least 2.
    cap : float
        Largest scalar, at least 1. Above 1 it is leverage: final weights may add up to gross × cap.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    target: float
    window: int = 60
    cap: float = 1.0

    def __post_init__(self) -> None:
        if not MIN_VOLATILITY <= self.target < inf:
            raise ValueError(f"target: expected a volatility a year such as 0.10, got {self.target}")
        if self.window < 2:
            raise ValueError(f"window: expected at least 2 sessions, got {self.window}")
        if not 1.0 <= self.cap < inf:
            raise ValueError(f"cap: expected a finite number of at least 1, got {self.cap}")


def volatility_scalars(portfolio: pd.Series, wanted: VolatilityTarget, per_year: float) -> pd.DataFrame:
    r"""Scalar of each session: min(cap, target / volatility of the unscaled book over the window that ends on it).

    .. math:: v_t = \min\left(c,\ \frac{\sigma^*}{\hat\sigma_t}\right), \qquad
        \hat\sigma_t = \sqrt{\frac{A}{n - 1} \sum_{k=0}^{n-1} (r_{t-k} - \bar r)^2}

    with target :math:`\sigma^*`, cap :math:`c`, window :math:`n` and :math:`A` sessions a year, as in the book's Sharpe
    ratio. Returns are those at realized weights, before any scalar: a scalar that read what it had scaled would follow
    itself. Whoever applies it lags it by at least a session.

    Parameters
    ----------
    portfolio : Series, shape (sessions,)
        Daily returns of the unscaled reference portfolio, from the first session at weights on, never null.
    wanted : VolatilityTarget
    per_year : float
        Sessions a year.

    Returns
    -------
    DataFrame, shape (sessions, 2)
        ``volatility``, a year; null on the first n − 1 sessions, which are too few. ``volatility_scalar``, in
        (0, cap], never null: 1 where the volatility is null, and where it is below ``MIN_VOLATILITY``. A book that has
        not moved says nothing of the risk that it takes once it does, so it is not levered on that.

    Notes
    -----
    After Moreira and Muir, "Volatility-Managed Portfolios", Journal of Finance 72 (2017), who scale by the variance,
    and Harvey, Hoyle, Korgaonkar, Rattray, Sargaison and Van Hemert, "The Impact of Volatility Targeting", Journal of
    Portfolio Management 45 (2018), who scale by the volatility, as here. A ruined portfolio, whose equity is not above
    0, has no state (:func:`~weights_pipeline.core.allocator.state.allocator_state`) and so no scalar.
    """
    volatility = np.full(len(portfolio), np.nan)
    if len(portfolio) >= wanted.window:
        measured = rolling_volatility(portfolio.to_numpy(np.float64), wanted.window, per_year)
        volatility[wanted.window - 1 :] = measured
    moves = volatility >= MIN_VOLATILITY
    scalar = np.divide(wanted.target, volatility, out=np.ones_like(volatility), where=moves)
    return pd.DataFrame(
        {"volatility": volatility, "volatility_scalar": np.minimum(scalar, wanted.cap)}, index=portfolio.index
    )
