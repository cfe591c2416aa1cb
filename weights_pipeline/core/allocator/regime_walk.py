"""Risk regimes of a book whose weights are still being decided, rebalance by rebalance.

Scope: the one recursion in which weights depend on regimes and regimes on weights: a rebalance reads the regime of its
as-of session, which the realized weights of earlier rebalances alone have led to. Not here: features (``state``),
thresholds (``regime``), and what a rebalance makes of the regime (``core.chain``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.regime import FEATURES, REGIMES, RegimeCarry, RegimeThresholds, regime_arrays
from weights_pipeline.core.allocator.state import WARM_UP, required_features
from weights_pipeline.core.targets.normalise import Floats


class RegimeWalk:
    """The path of regimes as far as weights are known, advanced stretch by stretch.

    Each stretch is classified from its own sessions, the 59 before them and what is carried over: equity, its peak and
    where the path stands. The regimes are those of the whole history at once, bit for bit.

    Parameters
    ----------
    days : DatetimeIndex, shape (sessions,)
        From the first session at weights on.
    returns : array, shape (strategies, sessions)
        Daily returns in the order of names, NaN where not live.
    thresholds : RegimeThresholds
    """

    def __init__(self, days: pd.DatetimeIndex, returns: Floats, thresholds: RegimeThresholds) -> None:
        self._days, self._thresholds = days, thresholds
        self._returns = np.where(np.isnan(returns), 0.0, returns)
        self._earned, self._equity = np.empty(len(days)), np.empty(len(days))
        self._done = 0
        self._carry: RegimeCarry | None = None

    @property
    def regime(self) -> str:
        """Regime after the sessions walked so far; NORMAL before the first state."""
        return self._carry.regime if self._carry else REGIMES[0]

    def advance(self, end: int, weights: Floats, correlations: tuple[Floats, Floats]) -> None:
        """Walk up to the session before ``end``, at constant weights.

        Parameters
        ----------
        end
            Sessions walked afterwards; where that many have been walked already, nothing happens.
        weights
            Realized weights in force, shape (strategies,).
        correlations
            Of all sessions, from :func:`~weights_pipeline.core.allocator.state.component_correlations`; not read beyond
            ``end``.

        Raises
        ------
        ValueError
            Equity is not above 0.
        """
        begin = self._done
        if end <= begin:
            return
        earned, equity, peaks_from = self._earned, self._equity, max(begin - WARM_UP, 0)
        total = np.zeros(end - begin)
        for weight, returns in zip(weights.tolist(), self._returns[:, begin:end], strict=True):
            total += weight * returns
        earned[begin:end] = total
        start = equity[begin - 1] if begin else 1.0
        equity[begin:end] = np.cumprod(np.concatenate([[start], 1.0 + total]))[1:]
        if (equity[begin:end] <= 0.0).any():
            lost = begin + int(np.argmax(equity[begin:end] <= 0.0))
            raise ValueError(f"equity: expected values above 0, got {equity[lost]} on {self._days[lost]:%Y-%m-%d}")
        self._done = end
        if end <= WARM_UP:
            return
        found = required_features(
            earned[peaks_from:end],
            equity[peaks_from:end],
            (correlations[0][peaks_from : end - WARM_UP], correlations[1][peaks_from : end - WARM_UP]),
            peak=float(equity[:peaks_from].max(initial=1.0)),
        )
        features = np.array([found[name] for name in FEATURES])
        self._carry = regime_arrays(features, self._thresholds, self._carry).carry
