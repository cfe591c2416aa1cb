"""Market regimes: whether a benchmark is in a bull, bear, range-bound or neutral market, session by session.

Scope: the trend signal of a price series and its confirmation. Not here: the risk regimes of the book itself
(``allocator.regime``), what an ensemble makes of a market regime, and where the prices come from.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MARKET_REGIMES = ("bull", "bear", "range", "neutral")

_BULL, _BEAR, _RANGE, _NEUTRAL = range(4)

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MarketRegimeParameters:
    """Where a trend begins and how long it must last to be believed.

    Attributes
    ----------
    band : float
        Half-width of the range around the slow mean, as a fraction of that mean; in [0, 1).
    fast, slow : int
        Sessions in the two trailing means, the current session included; 1 ≤ fast < slow.
    confirmation : int
        Sessions in a row with the same signal that make it the regime, at least 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    band: float = 0.02
    fast: int = 50
    slow: int = 200
    confirmation: int = 5

    def __post_init__(self) -> None:
        if not (isfinite(self.band) and 0 <= self.band < 1):
            raise ValueError(f"band: expected a fraction of at least 0 and below 1, got {self.band}")
        if self.fast < 1:
            raise ValueError(f"fast: expected at least 1 session, got {self.fast}")
        if self.slow <= self.fast:
            raise ValueError(f"slow: expected more sessions than fast ({self.fast}), got {self.slow}")
        if self.confirmation < 1:
            raise ValueError(f"confirmation: expected at least 1 session, got {self.confirmation}")


_DEFAULTS = MarketRegimeParameters()


def market_regimes(prices: pd.Series, parameters: MarketRegimeParameters = _DEFAULTS) -> pd.DataFrame:
    """Classify each session as bull, bear, range or neutral, and confirm the regime it is in.

    The signal compares the price with its trailing means, all three as of the session's close:

    * bull: price > slow_mean · (1 + band) and fast_mean > slow_mean;
    * bear: price < slow_mean · (1 − band) and fast_mean < slow_mean;
    * range: slow_mean · (1 − band) ≤ price ≤ slow_mean · (1 + band), whatever the fast mean;
    * neutral: the price is outside the band without the fast mean on its side, or there is no slow mean yet.

    The regime is the latest signal that came ``confirmation`` sessions in a row; the last of these is the
    first session of the regime. One session of another signal starts the count again, and neutral has to be
    confirmed like any other. The path begins in neutral, which a history too short for a slow mean never leaves.

    Means and signals depend only on the prices in their own windows, bit for bit. The regime and its age depend
    on the path before, so they are reproducible only from the same first price on.

    Parameters
    ----------
    prices : Series, shape (sessions,)
        Closing prices, positive and finite, in any currency; indexed by session: tz-naive midnights, ascending.
        Missing sessions are not filled in: windows count the rows given.
    parameters : MarketRegimeParameters

    Returns
    -------
    DataFrame, shape (sessions, 6)
        ``price``; ``fast_mean`` and ``slow_mean`` (null in the first fast − 1 and slow − 1 sessions); ``signal``
        and ``regime`` (str, of ``MARKET_REGIMES``); ``sessions_in_regime`` (int, the entry session counts as 1).

    Raises
    ------
    ValueError
        A session that is not a tz-naive midnight, repeats or is out of order; a price that is null, infinite,
        zero or negative. Both name the first such date.

    Notes
    -----
    Price against its 200-session mean is the timing rule of Faber (2007), "A Quantitative Approach to Tactical
    Asset Allocation"; the 50-session mean above or below the 200 is the golden or death cross.
    """
    _check_sessions(prices.index)
    price: Floats = prices.to_numpy(dtype=float, na_value=np.nan)
    bad = np.flatnonzero(~(np.isfinite(price) & (price > 0.0)))
    if len(bad):
        raise ValueError(
            f"prices: expected positive and finite, got {price[bad[0]]} on {prices.index[bad[0]]:%Y-%m-%d}"
        )

    fast, slow = _trailing_mean(price, parameters.fast), _trailing_mean(price, parameters.slow)
    above, below = price > slow * (1.0 + parameters.band), price < slow * (1.0 - parameters.band)
    signal = np.full(len(price), _NEUTRAL)
    signal[above & (fast > slow)] = _BULL
    signal[below & (fast < slow)] = _BEAR
    signal[~above & ~below & ~np.isnan(slow)] = _RANGE

    confirmed = _run_lengths(signal) >= parameters.confirmation
    latest = np.maximum.accumulate(np.where(confirmed, np.arange(len(price)), -1))
    regime = np.where(latest >= 0, signal[latest], _NEUTRAL)
    names = pd.Index(MARKET_REGIMES)
    return pd.DataFrame(
        {
            "price": price,
            "fast_mean": fast,
            "slow_mean": slow,
            "signal": names.take(signal),
            "regime": names.take(regime),
            "sessions_in_regime": _run_lengths(regime),
        },
        index=prices.index,
    )


def _trailing_mean(price: Floats, window: int) -> Floats:
    """Mean of the last ``window`` prices; null where there are fewer.

    Every sum runs from the oldest price to the newest, so it has the same bits wherever the history begins.
    Running totals and library reductions do not promise that.
    """
    mean = np.full(len(price), np.nan)
    if len(price) >= window:
        total = np.zeros(len(price) - window + 1)
        for nth_oldest in np.lib.stride_tricks.sliding_window_view(price, len(total)):
            total += nth_oldest
        mean[window - 1 :] = total / window
    return mean


def _run_lengths(codes: Codes) -> Codes:
    """How many times in a row each code has come, itself included."""
    position = np.arange(len(codes))
    begins = np.diff(codes, prepend=-1) != 0
    lengths: Codes = position - np.maximum.accumulate(np.where(begins, position, 0)) + 1
    return lengths


def _check_sessions(index: pd.Index) -> None:
    """Refuse an index that is not of tz-naive midnights in ascending order."""
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError(f"prices: expected an index of sessions (DatetimeIndex), got {index.dtype}")
    if index.tz is not None:
        raise ValueError(f"prices: expected tz-naive sessions, got sessions in {index.tz}")
    odd = np.flatnonzero(index != index.normalize())
    if len(odd):
        raise ValueError(f"prices: expected sessions at midnight, got {index[odd[0]]}")
    unordered = np.flatnonzero(index[1:] <= index[:-1])
    if len(unordered):
        date, before = index[unordered[0] + 1], index[unordered[0]]
        raise ValueError(f"prices: expected ascending sessions, got {date:%Y-%m-%d} after {before:%Y-%m-%d}")
