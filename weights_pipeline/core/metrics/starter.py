"""Starter metrics: figures from before a strategy was live, and how they give way to live data.

Scope: their validation and the build-up. Not here: live metrics (``measures``).
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weights_pipeline.core.returns.frequency import MONTHS_PER_YEAR

FloatArray = NDArray[np.float64]


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
    known_from : date, optional
        First day on which the figures were known; before it they are not used. Without it they count as known ever
        since, which in a recomputed history would look ahead.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    twelve_month_return: float
    twelve_month_max_drawdown: float
    calmar_ratio: float
    months_of_data: int
    known_from: dt.date | None = None

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
