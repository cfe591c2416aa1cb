"""From target weights to realized weights.

Scope: ``realized_weights``, each date from the one before, under the risk regime that those before have led to.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.regime_walk import RegimeWalk
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.state import (
    WARM_UP,
    component_correlations,
)
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step, carried
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.sessions import sessions_after
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats


def realized_table(
    previous: pd.DataFrame,
    targets: pd.DataFrame,
    policy: Policy,
    sessions: pd.DatetimeIndex,
    returns: pd.DataFrame | None = None,
    opening: pd.Series | None = None,
) -> pd.DataFrame:
    """Realized weights of every date in a targets table, each continuing from the one before.

    A policy whose rate or turnover cap depends on the risk regime takes that of the as-of session, which earlier
    realized weights have led to: the one that :func:`regime_table` gives for that session, or for the last one before
    it that has a state; NORMAL before the first.

    Parameters
    ----------
    previous
        Rows of ``realized_weights`` before the first date; only the newest date counts, but all are needed for a policy
        paced by risk regime. Empty for the first partition of a book, which starts from base weights.
    targets
        Rows of ``target_weights``.
    policy
        The book's policy.
    sessions
        Trading sessions, past the last date.
    returns
        Rows of ``strategy_returns`` from the first session on; read for a policy paced by risk regime alone.
    opening
        Weights by strategy that the first partition starts from, where they are not the base weights.

    Returns
    -------
    DataFrame
        Rows of ``realized_weights``; ``target`` is that of :meth:`Policy.aimed`; ``rate`` is the one used, shortened by
        the turnover cap where that holds and 0 where a no-trade band leaves the strategy alone, and ``regime`` the risk
        regime that chose them, empty where the policy has one rate and cap for all.

    Raises
    ------
    ValueError
        A policy paced by risk regime lacks returns up to the last date, or earlier realized weights.
    """
    table = targets[["as_of", "strategy", "base", "target", "lower", "upper", "slack"]]
    table = table.sort_values(["as_of", "strategy"], ignore_index=True)
    walk = _Walk(previous, table, returns, policy, opening) if policy.paced_by_regime else None
    weights = newest_weights(previous) if len(previous) else opening
    start, realized, rate = np.empty(len(table)), np.empty(len(table)), np.empty(len(table))
    entered, regime = np.zeros(len(table), dtype=np.bool_), np.zeros(len(table), dtype=np.int8)
    base, target, lower, upper = (table[name].to_numpy(np.float64) for name in ("base", "target", "lower", "upper"))
    target = policy.aimed(base, target, lower, upper)
    for rows in table.groupby("as_of").indices.values():
        names = table["strategy"].iloc[rows].tolist()
        current = walk.regime(table["as_of"].iloc[rows[0]]) if walk else REGIMES[0]
        pace, turnover_cap = policy.pace(current)
        begin, entered[rows] = carried(weights, names, base[rows])
        start[rows], realized[rows], rate[rows] = capped_step(
            begin,
            target[rows],
            lower[rows],
            upper[rows],
            rate=pace,
            turnover_cap=turnover_cap,
            gross=policy.gross,
            slack=policy.slack,
            band=policy.band,
            groups=policy.groups,
        )
        weights = pd.Series(realized[rows], index=pd.Index(names))
        if walk:
            regime[rows] = 1 + REGIMES.index(current)
            walk.hold(weights)
    return table.assign(
        target=target,
        previous=start,
        rate=rate,
        regime=texts(("", *REGIMES), regime),
        realized=realized,
        entered=entered,
        effective_from=sessions_after(sessions, pd.DatetimeIndex(table["as_of"])),
    )


class _Walk:
    """Risk regimes up to each rebalance, by the realized weights before it."""

    def __init__(
        self,
        previous: pd.DataFrame,
        targets: pd.DataFrame,
        returns: pd.DataFrame | None,
        policy: Policy,
        opening: pd.Series | None,
    ) -> None:
        if returns is None:
            raise ValueError(
                "returns: expected daily returns from the first session on, which tell the regime, got none"
            )
        last = targets["as_of"].max()
        if len(returns) and returns["session"].max() < last:
            raise ValueError(
                f"returns: expected them up to {last:%Y-%m-%d}, they end on {returns['session'].max():%Y-%m-%d}"
            )
        first = (previous if len(previous) else targets)["as_of"].min()
        if len(previous) and opening is None:
            oldest = previous[previous["as_of"] == first]
            if not np.allclose(oldest["previous"], oldest["base"], rtol=0, atol=GROSS_TOLERANCE * policy.gross):
                raise ValueError(
                    "previous: expected realized weights from the first rebalance on, which starts from base weights; "
                    f"the oldest, of {first:%Y-%m-%d}, does not"
                )
        overlay = policy.overlay or AllocatorParameters()
        self._hedges = list(overlay.hedging)
        self._names = pd.Index(sorted({*targets["strategy"], *(previous["strategy"] if len(previous) else ())}))
        daily = wide(returns).reindex(columns=self._names)
        self._days = pd.DatetimeIndex(daily.index[(daily.index > first) & (daily.index <= last)])
        self._returns = daily.loc[self._days].to_numpy(np.float64).T
        self._walk = RegimeWalk(self._days, self._returns, overlay.thresholds)
        self._in_book = np.zeros(len(self._names), dtype=np.bool_)
        self._in_force = np.zeros(len(self._names))
        self._correlations: dict[bytes, tuple[Floats, Floats]] = {}
        for _, rows in previous.groupby("as_of") if len(previous) else ():
            self.regime(rows["as_of"].iloc[0])
            self.hold(newest_weights(rows))

    def regime(self, as_of: pd.Timestamp) -> str:
        """Regime of a session."""
        end = int(self._days.searchsorted(as_of, side="right"))
        self._walk.advance(end, self._in_force, self._components())
        return self._walk.regime

    def hold(self, weights: pd.Series) -> None:
        """Put realized weights in force, by strategy."""
        self._in_book = self._names.isin(weights.index.difference(self._hedges))
        self._in_force = weights.reindex(self._names, fill_value=0.0).to_numpy(np.float64)

    def _components(self) -> tuple[Floats, Floats]:
        """Correlations of the strategies in the book but for hedges; they do not depend on weights."""
        key = self._in_book.tobytes()
        if len(self._days) <= WARM_UP or not self._in_book.any():
            return np.empty(0), np.empty(0)
        if key not in self._correlations:
            self._correlations[key] = component_correlations(self._returns[self._in_book])
        return self._correlations[key]


def newest_weights(realized: pd.DataFrame) -> pd.Series:
    """Realized weights of the newest date, by strategy."""
    weights: pd.Series = realized[realized["as_of"] == realized["as_of"].max()].set_index("strategy")["realized"]
    return weights
