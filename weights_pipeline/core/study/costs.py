"""What a path of weights earns once it is traded: drift between rebalances, and costs of trading and of borrowing.

Scope: from weights, returns and costs to returns before and after, and their figures side by side. Not here: what costs
there are (``realized.costs``), how weights come about (``simulate``), and the formulas of figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.study.simulate import Simulation
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats


class Earned(NamedTuple):
    """What T sessions earned, with A rebalances; totals are fractions of capital, not compounded.

    Attributes
    ----------
    before, after : ndarray, shape (T,)
        Daily returns before and after costs.
    traded : ndarray, shape (A,)
        Σ|Δw| of each rebalance, the first one from cash.
    gross : ndarray, shape (T,)
        What the weights of each session add up to.
    fees, rebalances, financing : float
        What was paid for weight traded, for rebalances as such, and for gross above 1.
    drift : bool
        Whether weights drifted between rebalances.
    """

    before: Floats
    after: Floats
    traded: Floats
    gross: Floats
    fees: float
    rebalances: float
    financing: float
    drift: bool

    @property
    def paid(self) -> float:
        """All that was paid."""
        return self.fees + self.rebalances + self.financing


def require_rebalanced(policy: Policy) -> None:
    """Refuse a policy whose weights do not stay between rebalances: its overlay scales them anew for every session."""
    if policy.overlay is not None and policy.overlay.enabled and policy.overlay.apply == "daily":
        raise ValueError("costs: expected weights that stay between rebalances, the overlay scales them every session")


def earned_by(simulation: Simulation, costs: Costs, *, drift: bool = False) -> Earned:
    """What the final weights of a simulation earn on the sessions of its returns; see :func:`earned`.

    Raises
    ------
    ValueError
        See :func:`earned` and :func:`require_rebalanced`.
    """
    policy, days = simulation.policy, simulation.traded.index
    require_rebalanced(policy)
    newest = simulation.effective_from.searchsorted(days, side="right") - 1
    first = np.flatnonzero(np.diff(newest, prepend=-1))
    history = simulation.history
    returns = history.of(simulation.strategies)[len(history.sessions) - len(days) :]
    return earned(
        simulation.final[newest[first]],
        first,
        returns,
        simulation.strategies,
        costs,
        drift=drift,
        per_year=policy.frequency.per_year,
    )


def before_and_after(paid: Earned, days: pd.DatetimeIndex, frequency: Frequency) -> dict[str, Any]:
    """Figures of what was earned before and after costs, and what was traded and paid in a year.

    Parameters
    ----------
    paid
        Of T sessions.
    days
        These sessions, shape (T,).
    frequency
        How many of them make a year.

    Returns
    -------
    dict
        ``drift``; ``traded_per_year`` (Σ|Δw|), ``fees_per_year``, ``rebalances_per_year`` and ``financing_per_year``,
        fractions of capital; ``before`` and ``after``, each by name of a figure of
        :func:`~weights_pipeline.core.allocator.overlay.performance`, null as NaN.
    """
    a_year = frequency.per_year / max(len(days), 1)
    return {
        "drift": paid.drift,
        "traded_per_year": float(paid.traded.sum()) * a_year,
        "fees_per_year": paid.fees * a_year,
        "rebalances_per_year": paid.rebalances * a_year,
        "financing_per_year": paid.financing * a_year,
        **{
            side: {
                name: float(value) for name, (value, _) in performance(pd.Series(each, days), side, frequency).items()
            }
            for side, each in (("before", paid.before), ("after", paid.after))
        },
    }


def paid_in_words(figures: Mapping[str, Any]) -> str:
    """What :func:`before_and_after` says was paid, in a sentence."""
    return (
        f"A year: {figures['traded_per_year']:.1%} of capital bought and sold; {figures['fees_per_year']:.3%} paid for "
        f"that, {figures['rebalances_per_year']:.3%} for rebalances as such, {figures['financing_per_year']:.3%} for "
        f"gross above 1."
    )


def in_force_after(
    weights: pd.DataFrame, returns: pd.DataFrame, costs: Costs, frequency: Frequency
) -> dict[str, Any] | None:
    """Figures of weights that were in force, before and after costs; None where they have been on no session.

    Weights are constant until others are in force; what they add to or take from those is traded then, the first ones
    from cash.

    Parameters
    ----------
    weights
        Indexed by the session they are in force from; columns strategies. Null is 0.
    returns
        Daily, sessions × strategies; null is 0.
    costs
        Those of a strategy without weights count nothing.
    frequency
        How often returns are observed.
    """
    days = pd.DatetimeIndex(returns.index[returns.index >= weights.index.min()])
    names = sorted({*weights, *costs.by_strategy})
    place = days.searchsorted(pd.DatetimeIndex(weights.index))
    # Of several that come into force by the same session, and of those after the last one, none but the newest is held.
    held = weights.reindex(columns=names).fillna(0.0)[place < len(days)].groupby(place[place < len(days)]).last()
    if held.empty:
        return None
    live = returns.reindex(index=days, columns=names).to_numpy(np.float64)
    paid = earned(held.to_numpy(np.float64), held.index.to_numpy(), live, names, costs, per_year=frequency.per_year)
    return before_and_after(paid, days, frequency)


def earned(
    weights: Floats,
    first: npt.NDArray[np.int_],
    returns: Floats,
    strategies: Sequence[str],
    costs: Costs,
    *,
    drift: bool = False,
    per_year: float,
) -> Earned:
    r"""Returns of weights that are set at rebalances, before and after costs.

    On the first session of a rebalance the weights are traded to those given; the session pays :math:`\sum_i c_i
    |w_i - w_i^{\mathrm{before}}|`, and the fixed cost where that is not 0. Every session pays :math:`\max(0, \sum_i w_i
    - 1)` times the rate of financing over the sessions of a year. Cash earns 0.

    Between rebalances weights are *constant*: the convention of all figures of the pipeline, that of a book which is
    put back to its weights every day, for nothing. With ``drift`` they are what the market makes of them,
    :math:`w_i (1 + r_i) / (1 + r)` with the return :math:`r` of the book after costs, and what a rebalance trades is
    counted from there.

    Parameters
    ----------
    weights
        Set at each rebalance, shape (A, S), never null.
    first
        Place of the first session of each rebalance, shape (A,), ascending; before the first one there is cash.
    returns
        Daily, shape (T, S); null where a strategy is not live, which earns 0.
    strategies
        Names, S of them.
    costs
        Their strategies are among ``strategies``.
    drift
        Whether weights drift.
    per_year
        Sessions of a year.

    Returns
    -------
    Earned

    Raises
    ------
    ValueError
        A cost of an unknown strategy; with ``drift``, a session that loses all.
    """
    costs.require_known(strategies)
    live = np.where(np.isnan(returns), 0.0, returns)
    fee = costs.fees(strategies)
    sessions, (rebalances, width) = len(live), weights.shape
    ends = np.append(first[1:], sessions)
    held, change = np.zeros((sessions, width)), np.zeros((rebalances, width))
    charged = np.zeros(sessions)
    rate, now = costs.financing / per_year, np.zeros(width)
    for rebalance, (begin, end) in enumerate(zip(first.tolist(), ends.tolist(), strict=True)):
        change[rebalance] = np.abs(weights[rebalance] - now)
        charged[begin] += _fee(change[rebalance], fee, costs) + (costs.rebalance if change[rebalance].any() else 0.0)
        now = weights[rebalance]
        held[begin:end] = now
        for day in range(begin, end) if drift else ():
            held[day] = now
            after = now @ live[day] - charged[day] - rate * float(_borrowed(now.sum()))
            if not after > -1:
                raise ValueError(f"returns: a book that drifts has lost all by session {day}, its return is {after}")
            now = now * (1 + live[day]) / (1 + after)
    before = np.zeros(sessions)
    # In the order of names, as a simulation sums.
    for own, weight in zip(live.T, held.T, strict=True):
        before += weight * own
    gross = held.sum(axis=1)
    borrowed = rate * _borrowed(gross)
    traded = np.array([math.fsum(row) for row in change.tolist()])
    return Earned(
        before=before,
        after=before - charged - borrowed,
        traded=traded,
        gross=gross,
        fees=math.fsum((fee * change).ravel()) if costs.by_strategy else costs.fee * math.fsum(traded),
        rebalances=costs.rebalance * int(change.any(axis=1).sum()),
        financing=math.fsum(borrowed),
        drift=drift,
    )


def _borrowed(gross: npt.ArrayLike) -> Floats:
    """What weights add up to above 1; a sum that rounding puts there borrows nothing."""
    excess = np.asarray(gross, dtype=np.float64) - 1.0
    return np.where(excess > GROSS_TOLERANCE, excess, 0.0)


def _fee(change: Floats, fee: Floats, costs: Costs) -> float:
    return math.fsum(fee * change) if costs.by_strategy else costs.fee * math.fsum(change)
