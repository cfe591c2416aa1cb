"""Risk of the weights held now: where it comes from, how much of it is the same bet, and what if all goes wrong.

Scope: figures of one vector of weights over returns of strategies. Not here: the risk regime and its scalar
(``allocator``), what the book has been through (``tear_sheet``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.allocator.overlay import monthly_returns
from weights_pipeline.core.returns.frequency import DAILY, Frequency

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class HoldingsRisk:
    """Risk of S weights; figures of returns are of the last year of observations, in which cash earns 0.

    Attributes
    ----------
    first, last : Timestamp
        Of the observations used.
    volatility : float
        √(w'Σw), annual.
    by_strategy : DataFrame, shape (S, 5)
        Largest share of risk first: ``weight``; ``volatility`` σ_i, annual; ``marginal`` (Σw)_i / √(w'Σw), what one
        more unit of weight would add; ``contribution`` w_i · marginal, which add up to the volatility; ``share`` of it.
    correlations : DataFrame
        Of strategies that moved, in cluster order; see :func:`cluster_order`.
    idle : tuple of str
        Strategies that did not move, which have no correlation.
    bets : float
        Effective number of bets; see :func:`effective_bets`.
    holdings : float
        Effective number of holdings, (Σw)² / Σw².
    largest, top_five : float
        Share of the sum of weights in the largest and in the five largest.
    diversification : float
        Σ w_i·σ_i / √(w'Σw): 1 where all is one bet.
    worst_months : DataFrame, shape (S, 3)
        Worst calendar month of each strategy since it is live: ``month``, ``return``, ``loss`` at the weight now; the
        largest loss first. Strategies that were never live are left out.
    all_at_once : float
        Sum of the losses: every strategy at its worst month at the same time, a return.
    replayed : tuple of (Period, float)
        Month in which these weights would have lost most, and the return of it.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    volatility: float
    by_strategy: pd.DataFrame
    correlations: pd.DataFrame
    idle: tuple[str, ...]
    bets: float
    holdings: float
    largest: float
    top_five: float
    diversification: float
    worst_months: pd.DataFrame
    all_at_once: float
    replayed: tuple[pd.Period, float]

    @property
    def document(self) -> dict[str, Any]:
        """Figures for a machine; a null is NaN."""
        return {
            "first": f"{self.first:%Y-%m-%d}",
            "last": f"{self.last:%Y-%m-%d}",
            "volatility": self.volatility,
            "strategies": self.by_strategy.to_dict("index"),
            "correlations": self.correlations.to_dict(),
            "effective_bets": self.bets,
            "effective_holdings": self.holdings,
            "largest": self.largest,
            "top_five": self.top_five,
            "diversification": self.diversification,
            "worst_months": {
                name: row | {"month": str(row["month"])} for name, row in self.worst_months.to_dict("index").items()
            },
            "all_at_once": self.all_at_once,
            "replayed": {"month": str(self.replayed[0]), "return": self.replayed[1]},
        }


def holdings_risk(
    weights: Mapping[str, float], returns: pd.DataFrame, frequency: Frequency = DAILY
) -> HoldingsRisk | None:
    """Risk of weights over the returns of their strategies; None where there are too few returns for any estimate.

    Parameters
    ----------
    weights
        By strategy.
    returns
        Sessions × strategies, null where a strategy is not live.
    frequency
        How often returns are observed.
    """
    names = sorted(weights)
    own = returns.reindex(columns=names)
    recent = own.iloc[-round(frequency.per_year) :]
    if len(recent) < frequency.enough:
        return None
    w = np.array([weights[name] for name in names])
    r = recent.fillna(0.0).to_numpy(np.float64)
    covariance = np.atleast_2d(np.cov(r, rowvar=False, ddof=1)) * frequency.per_year
    flat = r.max(axis=0) == r.min(axis=0)
    covariance[flat, :] = covariance[:, flat] = 0.0
    deviation = np.sqrt(np.diag(covariance))
    volatility = math.sqrt(max(float(w @ covariance @ w), 0.0))
    marginal = covariance @ w / volatility if volatility else np.full(len(w), np.nan)
    table = pd.DataFrame(
        {
            "weight": w,
            "volatility": deviation,
            "marginal": marginal,
            "contribution": w * marginal,
            "share": w * marginal / volatility if volatility else np.nan,
        },
        index=names,
    )
    moved = [name for name, still in zip(names, flat, strict=True) if not still]
    correlations = recent[moved].fillna(0.0).corr()
    order = cluster_order(correlations.to_numpy(np.float64))
    sizes = np.sort(np.abs(w))[::-1] / (math.fsum(np.abs(w)) or math.nan)
    worst = _worst_months(own, weights)
    months = monthly_returns((own.fillna(0.0) * w).sum(axis=1))
    return HoldingsRisk(
        first=recent.index[0],
        last=recent.index[-1],
        volatility=volatility,
        by_strategy=table.sort_values("share", ascending=False, kind="stable"),
        correlations=correlations.iloc[order, order],
        idle=tuple(name for name in names if name not in moved),
        bets=effective_bets(w, covariance),
        holdings=1.0 / float((sizes**2).sum()),
        largest=float(sizes[0]),
        top_five=math.fsum(sizes[:5]),
        diversification=float(w @ deviation) / volatility if volatility else math.nan,
        worst_months=worst,
        all_at_once=math.fsum(worst["loss"]),
        replayed=(_worst(months), float(months.min())),
    )


def effective_bets(weights: Floats, covariance: Floats) -> float:
    """Effective number of uncorrelated bets: exp(−Σ p·ln p), p_k = (e_k'w)²·λ_k / w'Σw over principal portfolios.

    Meucci, "Managing diversification", Risk, May 2009. From 1, one bet, to the number of strategies; null without risk.
    """
    values, vectors = np.linalg.eigh(covariance)
    parts = np.maximum(values, 0.0) * (vectors.T @ weights) ** 2
    total = float(parts.sum())
    if not total > 0.0:
        return math.nan
    shares = parts[parts > 0.0] / total
    return math.exp(-math.fsum(shares * np.log(shares)))


def cluster_order(correlations: Floats) -> list[int]:
    """Order in which alike strategies stand side by side: leaves of a tree of average linkage.

    Distances are √((1 − ρ) / 2) (Mantegna, European Physical Journal B, 1999); of two clusters that are joined the one
    that was made first stands first.
    """
    count = len(correlations)
    distances = np.sqrt(np.clip((1.0 - correlations) / 2.0, 0.0, 1.0))
    np.fill_diagonal(distances, np.inf)
    leaves = {place: [place] for place in range(count)}
    made = list(range(count))  # which cluster is at a row: numbered in the order in which they are made
    for number in range(count, 2 * count - 1):
        a, b = sorted(divmod(int(np.argmin(distances)), count))
        sizes = [len(leaves[made[place]]) for place in (a, b)]
        joined = (sizes[0] * distances[a] + sizes[1] * distances[b]) / sum(sizes)
        first, second = sorted((made[a], made[b]))
        leaves[number] = leaves.pop(first) + leaves.pop(second)
        distances[a], distances[:, a] = joined, joined
        distances[a, a] = np.inf
        distances[b], distances[:, b] = np.inf, np.inf
        made[a] = number
    return leaves[max(leaves)] if leaves else []


def _worst_months(returns: pd.DataFrame, weights: Mapping[str, float]) -> pd.DataFrame:
    rows = {}
    for name, weight in weights.items():
        live = returns[name].dropna()
        if len(live):
            months = monthly_returns(live)
            rows[name] = (_worst(months), float(months.min()), weight * float(months.min()))
    found = pd.DataFrame.from_dict(rows, orient="index", columns=["month", "return", "loss"])
    return found.sort_values("loss", kind="stable")


def _worst(months: pd.Series) -> pd.Period:
    return pd.PeriodIndex(months.index)[int(months.to_numpy().argmin())]
