"""Who earned a book's return: strategy by strategy, and decision by decision of the pipeline.

Scope: contributions of single sessions, and how they are linked over time so that they add up. Not here: the book's
return itself (``book_comparison.net_returns``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.study.book_comparison import FEE, in_force

Floats = NDArray[np.float64]

DECISIONS = ("base", "tilt", "overlay", "costs")
"""What a book's return is made of: base weights held, what tilting added, what the risk scalar added, and fees."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contributions:
    """Contributions of T sessions, S strategies and the decisions; see :func:`contributions`.

    Attributes
    ----------
    sessions : DatetimeIndex, shape (T,)
    strategies : tuple of str, length S
        Sorted.
    parts : ndarray, shape (T, S, 4)
        In the order of ``DECISIONS``; the sum over the last two axes is the book's return of the session after fees.
    weights : ndarray, shape (T, S)
        Weights in force.
    own : ndarray, shape (T, S)
        Returns of the strategies; 0 where one is not live.
    """

    sessions: pd.DatetimeIndex
    strategies: tuple[str, ...]
    parts: Floats
    weights: Floats
    own: Floats

    @property
    def totals(self) -> Floats:
        """Returns of the book after fees, shape (T,)."""
        return np.array([math.fsum(row) for row in self.parts.reshape(len(self.parts), -1).tolist()])

    @property
    def own_returns(self) -> pd.Series:
        """Compounded return of each strategy, shape (S,)."""
        return pd.Series(np.cumprod(1.0 + self.own, axis=0)[-1] - 1.0, index=list(self.strategies))

    def linked(self, since: pd.Timestamp | None = None, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """Contributions to the compounded return of a stretch, both ends included; fractions of its first capital.

        Returns
        -------
        DataFrame, shape (S, 4)
            Indexed by strategy, columns ``DECISIONS``. All cells add up to Π(1 + R) − 1.
        """
        inside = np.ones(len(self.sessions), dtype=bool)
        if since is not None:
            inside &= np.asarray(self.sessions >= since)
        if until is not None:
            inside &= np.asarray(self.sessions <= until)
        factors = linking(self.totals[inside])
        cells = np.einsum("t,tsd->sd", factors, self.parts[inside])
        return pd.DataFrame(cells, index=list(self.strategies), columns=list(DECISIONS))


def linking(returns: Floats) -> Floats:
    """Factors that make contributions of single sessions add up to the compounded return; shape (T,).

    With R = Π(1 + R_t) − 1, a contribution c_t counts k_t / K times, k_t = ln(1 + R_t) / R_t and
    K = ln(1 + R) / R, either 1 where its return is 0: Carino, "Combining attribution effects over time",
    J. Performance Measurement, Summer 1999.

    Parameters
    ----------
    returns : ndarray, shape (T,)
        Above −1.
    """
    total = math.expm1(math.fsum(np.log1p(returns)))
    return _smoothed(returns) / float(_smoothed(np.array([total]))[0])


def contributions(
    base: pd.DataFrame, realized: pd.DataFrame, final: pd.DataFrame, returns: pd.DataFrame
) -> Contributions:
    """What each strategy and each decision contributed to the book's return of each session.

    ============ ====================================================================
    ``base``     b·r: what base weights would have earned
    ``tilt``     (q − b)·r: what realized weights earned more
    ``overlay``  (w − q)·r: what the risk scalar added or took
    ``costs``    −FEE·|Δw| on the session on which weights change, the first included
    ============ ====================================================================

    The sum of the first three is w·r. A fee is that of the strategy whose weight changed.

    Parameters
    ----------
    base, realized, final
        Weights b, q and w indexed by the session they are in force from; columns strategies. Null is 0.
    returns
        Daily returns r, sessions × strategies; null where a strategy is not live, which earns 0.
    """
    strategies = sorted({*base.columns, *realized.columns, *final.columns})
    sessions = pd.DatetimeIndex(returns.index[returns.index >= final.index[0]])
    held = (weights.reindex(columns=strategies) for weights in (base, realized, final))
    b, q, w = (np.nan_to_num(in_force(weights, sessions)) for weights in held)
    r = returns.reindex(index=sessions, columns=strategies).fillna(0.0).to_numpy(np.float64)
    costs = -FEE * np.abs(np.diff(w, axis=0, prepend=0.0))
    parts = np.stack([b * r, (q - b) * r, (w - q) * r, costs], axis=2)
    return Contributions(sessions=sessions, strategies=tuple(strategies), parts=parts, weights=w, own=r)


def by_sleeve(linked: pd.DataFrame, sleeve_of: Mapping[str, str]) -> pd.DataFrame:
    """Contributions of sleeves; a strategy without one is its own. Shape (sleeves, 4), ordered by name."""
    sleeves = [sleeve_of.get(name, name) for name in linked.index]
    return linked.groupby(sleeves).agg(math.fsum)


def hit_rate(found: Contributions, rebalances: pd.DatetimeIndex) -> tuple[int, int]:
    """Rebalances after which tilting earned more than base weights until the next one, and rebalances at all.

    Those whose weights have not been in force on any session are left out.
    """
    tilt = found.parts[:, :, DECISIONS.index("tilt")].sum(axis=1)
    held = rebalances.searchsorted(found.sessions, side="right")
    earned = [math.fsum(tilt[held == number]) for number in np.unique(held) if number > 0]
    return sum(each > 0.0 for each in earned), len(earned)


def _smoothed(returns: Floats) -> Floats:
    """ln(1 + R) / R, 1 at 0."""
    still = returns == 0.0
    return np.where(still, 1.0, np.log1p(returns) / np.where(still, 1.0, returns))
