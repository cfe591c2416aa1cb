"""From realized weights to regimes and scalars.

Scope: ``allocator_state``, ``risk_regime`` and ``risk_scalar``.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.regime import RegimeThresholds, classify
from weights_pipeline.core.allocator.scalar import AllocatorParameters, risk_scalar
from weights_pipeline.core.allocator.state import (
    allocator_state,
    reference_portfolio,
    sleeve_contributions,
)
from weights_pipeline.core.allocator.volatility import volatility_scalars
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.frequency import Frequency


def state_table(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame:
    """State of the unscaled reference portfolio on every session on which it can be computed.

    Parameters
    ----------
    returns
        Rows of ``strategy_returns`` from the first session on.
    realized
        Rows of ``realized_weights`` from the first rebalance on.
    overlay
        The allocator: sleeves of strategies, and which are hedges.
    frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame
        Rows of ``allocator_state``.
    """
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized")
    return state_of(weights, wide(returns), overlay, frequency)


def state_of(
    weights: pd.DataFrame, returns: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame:
    """State as in :func:`state_table`, of weights by effective session and returns by session.

    A weight is null where the strategy is not in the book. The components of a session are the strategies in the book,
    with what they returned before they joined it: whoever joins or leaves later does not change it. Hedges are none:
    the state is that of the portfolio that they hedge.
    """
    portfolio = reference_portfolio(weights, returns.reindex(columns=weights.columns))
    in_book = weights.notna() & ~weights.columns.isin(overlay.hedging)
    begun = in_book.index[(in_book != in_book.shift()).any(axis=1)]
    states = []
    for first, later in zip_longest(begun, begun[1:]):
        until = portfolio.returns.index < later if later is not None else slice(None)
        names = weights.columns[in_book.loc[first]]
        units = portfolio.units.loc[until, names]
        states.append(
            allocator_state(
                portfolio.returns[until],
                portfolio.equity[until],
                portfolio.components.loc[until, names],
                trend_units=units,
                sleeves=sleeve_contributions(units, overlay.sleeves or None),
                per_year=frequency.per_year,
            ).loc[first:]
        )
    state = states[0] if len(states) == 1 else pd.concat(states)
    table = state.assign(
        portfolio_return=portfolio.returns.reindex(state.index), equity=portfolio.equity.reindex(state.index)
    )
    return table.rename_axis("session").reset_index()


def regime_table(state: pd.DataFrame, thresholds: RegimeThresholds) -> pd.DataFrame:
    """Risk regime of every session of a state table, from its first row on."""
    return classify(state.set_index("session"), thresholds).rename_axis("session").reset_index()


def scalar_table(
    regimes: pd.DataFrame, overlay: AllocatorParameters, targeted: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Scalars of every session of a regime table, from its first row on.

    Parameters
    ----------
    regimes
        Rows of ``risk_regime`` from the first session on.
    overlay
        The book's allocator.
    targeted
        What :func:`volatility_table` makes of an overlay with a volatility target; None of any other.

    Returns
    -------
    DataFrame
        Rows of ``risk_scalar``: those of the whole book, with an empty ``sleeve``, and after them those of each sleeve
        with a map of its own, by name. What follows from a volatility target is in those of the whole book alone.
    """
    by_session = regimes.set_index("session")["regime"]
    tables = [
        risk_scalar(by_session, profile).assign(
            regime=by_session, sleeve=texts([sleeve], np.zeros(len(by_session), int))
        )
        for sleeve, profile in overlay.profiles().items()
    ]
    if targeted is None:
        targeted = pd.DataFrame({"volatility": np.nan, "volatility_scalar": np.nan}, index=by_session.index)
    tables[0] = tables[0].join(targeted)
    return pd.concat(tables).rename_axis("session").reset_index()


def scalars_told(scalars: pd.DataFrame, overlay: AllocatorParameters) -> pd.DataFrame:
    """Rows of ``risk_scalar`` for people and files: without columns of a volatility target where there is none."""
    return scalars if overlay.volatility_target else scalars.drop(columns=["volatility", "volatility_scalar"])


def volatility_table(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame | None:
    """What a volatility target makes of the unscaled reference portfolio on every session at weights.

    Parameters
    ----------
    returns, realized
        Rows of ``strategy_returns`` and ``realized_weights`` from the first on.
    overlay
        The book's allocator.
    frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame or None
        ``volatility`` and ``volatility_scalar`` by session, see
        :func:`~weights_pipeline.core.allocator.volatility.volatility_scalars`; None without a target.
    """
    if overlay.volatility_target is None:
        return None
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized")
    held = reference_portfolio(weights, wide(returns).reindex(columns=weights.columns)).returns
    return volatility_scalars(held, overlay.volatility_target, frequency.per_year)


class OverlayPath(NamedTuple):
    """Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar`` from the first session on."""

    state: pd.DataFrame
    regimes: pd.DataFrame
    scalars: pd.DataFrame


def overlay_path(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> OverlayPath:
    """What an overlay makes of the whole history: a book that changes its overlay has another path from then on.

    Parameters
    ----------
    returns, realized
        Rows of ``strategy_returns`` and ``realized_weights`` from the first on.
    overlay
        The allocator of the rebalance that the path leads to.
    frequency
        How many sessions make a year.
    """
    state = state_table(returns, realized, overlay, frequency)
    regimes = regime_table(state, overlay.thresholds)
    targeted = volatility_table(returns, realized, overlay, frequency)
    return OverlayPath(state, regimes, scalar_table(regimes, overlay, targeted))
