"""Optimisers of skfolio as one method: a book names one and its parameters.

Scope: from the book's limits to those of an optimiser, and exact limits on what it answers. Not here: which names there
are (``optimise.skfolio_estimators``), the objectives themselves, which are skfolio's, nor our own (``optimised``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.methods.optimised import Optimised
from weights_pipeline.core.targets.normalise import Floats, fit_to_groups
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Optimum, Problem
from weights_pipeline.core.targets.optimise.skfolio_estimators import by_strategy, library, optimiser

NEGLIGIBLE = 1e-8
"""Range of returns, relative to the largest range, below which a strategy has not moved."""

NEAR = 1e-6
"""Distance to a limit, relative to gross, below which a weight is put on it: a solver comes no closer."""

ACCEPTED = 1e-4
"""Distance beyond a limit, relative to gross, that is put down to the tolerance of a solver."""

CONSTRAINTS = ("max_", "min_return", "linear_constraints", "left_inequality", "threshold_", "cardinality")
"""How parameters begin that ask for more than the book's limits."""

ROUNDING = 1e-14
"""Error in a sum of weights, relative to gross, that is left as it is."""


@dataclass(frozen=True, kw_only=True)
class Skfolio(Optimised):
    """An optimiser of skfolio, inside the limits and the gross of the book.

    Parameters
    ----------
    optimiser
        ``kind``, the name of an optimiser such as ``MeanRisk`` or ``HierarchicalRiskParity``, and its parameters under
        skfolio's own names. An estimator among them is a mapping with ``kind`` again; a member of an enumeration is
        given by value, such as ``cvar``. Whatever depends on time is per observation.
    cost_horizon
        Observations over which what a trade costs is spread, such as 21 for a month of sessions: the expected return of
        an observation is less by the fees of the book, times what is traded, over this number. None leaves costs out.
    """

    optimiser: Mapping[str, Any]
    cost_horizon: float | None = None
    kind: Literal["skfolio"] = "skfolio"

    def __post_init__(self) -> None:
        super().__post_init__()
        estimator = optimiser(self.optimiser, "optimiser")
        if self.cost_horizon is None:
            return
        if not 0 < self.cost_horizon < math.inf:
            raise ValueError(f"cost_horizon: expected a number of observations above 0, got {self.cost_horizon!r}")
        if "transaction_costs" in self.optimiser:
            raise ValueError("optimiser.transaction_costs: the book's costs say it; leave it out")
        if not _weighs_return(estimator):
            raise ValueError(
                f"cost_horizon: expected MeanRisk with an objective that weighs return, or with a min_return; costs "
                f"change no weight of {self.optimiser['kind']} as it is"
            )

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        """See :meth:`Optimised.multipliers`; refuses parameters by strategy that name one the book does not have."""
        for key, parameter in by_strategy(self.optimiser, "optimiser"):
            if unknown := sorted(set(parameter) - set(section.strategies)):
                known = ", ".join(section.strategies)
                raise ValueError(f"method.{key}: strategies {unknown} are not in the book, which has {known}")
        return super().multipliers(section, limits)

    def solve(self, problem: Problem) -> Optimum:
        """Weights of the optimiser inside limits and gross.

        Parameters
        ----------
        problem
            Returns, limits and gross.

        Returns
        -------
        Optimum
            Without a value of the objective, which rules such as hierarchical risk parity do not have.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, or no strategy has moved; or skfolio failed, warned, or gave weights that do
            not keep the limits.

        Notes
        -----
        A strategy that has not moved has not traded, and least risk would give it everything. It stays at its lower
        limit, and takes more only where all others at their upper limits do not reach what has to be reached.

        Where gross is a maximum, an optimiser may leave capital in cash if its objective knows what that costs: one
        that maximises return or utility, or least risk for a return that is asked for. Least risk as such would hold
        nothing but cash, and ratios are the same at any size: these are brought to gross, or to the most that the
        limits allow.

        A single strategy that has to be brought there leaves nothing to choose, and many estimators nothing to compare:
        skfolio is asked only whether it keeps the optimiser's own constraints, where there are any.
        """
        if len(problem.returns) < 2:
            raise NoSolutionError(f"returns: expected at least 2 observations, got {len(problem.returns)}")
        ranges = np.ptp(problem.returns, axis=0)
        moved = (ranges > NEGLIGIBLE * ranges.max(initial=0.0)) & (problem.upper > 0)
        if not moved.any():
            raise NoSolutionError("returns: no strategy that may be held has moved, so there is no risk to allocate")
        rest, lower, upper = math.fsum(problem.lower[~moved]), problem.lower[moved], problem.upper[moved]
        most = max(min(problem.gross - rest, math.fsum(upper)), math.fsum(lower))
        if most <= NEAR * problem.gross:
            raise NoSolutionError("limits: floors of strategies that have not moved leave nothing for those that have")
        inside = replace(
            problem,
            returns=problem.returns[:, moved],
            lower=lower,
            upper=np.minimum(upper, most),
            gross=most,
            slack=most,
            groups=tuple(group.beside(problem.lower, moved) for group in problem.groups),
            held=None if problem.held is None else problem.held[moved],
            fees=None if problem.fees is None else problem.fees[moved],
        )
        estimator = optimiser(self.optimiser, "optimiser")
        least = min(max(problem.gross - problem.slack - rest, 0.0), most) if _knows_cash(estimator) else most
        names = [name for name, one in zip(problem.strategies, moved, strict=True) if one]
        weights = problem.lower.copy()
        if len(names) == 1 and least == most and not any(key.startswith(CONSTRAINTS) for key in self.optimiser):
            weights[moved] = most
        else:
            weights[moved] = _chosen(
                estimator,
                pd.DataFrame(inside.returns, columns=names),
                inside,
                least=least,
                horizon=self.cost_horizon,
            )
        weights = _settled(problem, weights, least + rest)
        distance = max(problem.gross - math.fsum(weights), 0.0)
        parts = problem.figures(weights)
        if problem.held is not None and problem.fees is not None:
            parts |= {"cost_of_trading": math.fsum(problem.fees * np.abs(weights - problem.held))}
        return Optimum(
            weights=weights,
            title=self.optimiser["kind"],
            parts=parts,
            distances={"gross": distance},
        )


def _weighs_return(estimator: Any) -> bool:
    skfolio = library()
    if not isinstance(estimator, skfolio.MeanRisk) or isinstance(estimator, skfolio.MaximumDiversification):
        return False
    return estimator.objective_function != skfolio.ObjectiveFunction.MINIMIZE_RISK or estimator.min_return is not None


def _knows_cash(estimator: Any) -> bool:
    skfolio = library()
    if isinstance(estimator, skfolio.MeanRisk):
        goals = skfolio.ObjectiveFunction
        if estimator.objective_function == goals.MINIMIZE_RISK:
            return estimator.min_return is not None
        return bool(estimator.objective_function != goals.MAXIMIZE_RATIO)
    return isinstance(estimator, skfolio.DistributionallyRobustCVaR)


def _chosen(
    estimator: Any, returns: pd.DataFrame, problem: Problem, *, least: float, horizon: float | None = None
) -> Floats:
    """Weights that an optimiser chooses, inside the limits but for the tolerance of a solver.

    An optimiser without a budget answers in shares of it. What one answers that takes no limits is scaled by one factor
    and clipped to them, as the multipliers of other methods are.

    Parameters
    ----------
    estimator
        The optimiser, which is fitted.
    returns
        Observations × strategies.
    problem
        Limits, groups and gross, which is the most that weights add up to.
    least
        The least that they add up to.
    horizon
        Observations that what a trade costs is spread over; None where costs are not counted.

    Raises
    ------
    NoSolutionError
        skfolio failed or warned, or its weights do not keep limits and budget.
    """
    lower, upper, most = problem.lower, problem.upper, problem.gross
    name, takes, unit = type(estimator).__name__, estimator.get_params(deep=False), 1.0
    if "budget" in takes:
        estimator.set_params(budget=most) if least == most else estimator.set_params(
            budget=None, min_budget=least, max_budget=most
        )
    else:
        unit = most
    if "min_weights" in takes:
        estimator.set_params(min_weights=lower / unit, max_weights=upper / unit)
    if horizon is not None and problem.held is not None and problem.fees is not None:
        estimator.set_params(previous_weights=problem.held, transaction_costs=problem.fees / horizon)
    rows, sides, _ = problem.inequalities()
    if "left_inequality" in takes and len(sides):
        own = takes["left_inequality"], takes["right_inequality"]
        estimator.set_params(
            left_inequality=rows if own[0] is None else np.vstack([own[0], rows]),
            right_inequality=sides if own[1] is None else np.append(own[1], sides),
        )
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        # Of estimators fitted on a frame that one which nests them asks with an array.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        try:
            estimator.fit(returns)
        except Exception as error:
            # Whatever it is, the optimiser cannot work with this sample or with a parameter of the book.
            raise NoSolutionError(f"{name} of skfolio failed: {error}") from error
    if doubts:
        raise NoSolutionError(f"{name} of skfolio does not stand by its weights: {doubts[0].message}")
    weights: Floats = unit * np.asarray(estimator.weights_, dtype=np.float64)
    if weights.shape != lower.shape:
        raise NoSolutionError(f"{name} of skfolio gave weights of shape {weights.shape}, expected {lower.shape}")
    limited, tolerance, total = "min_weights" in takes, ACCEPTED * most, math.fsum(weights)
    low, high = (lower, upper) if limited else (np.zeros_like(lower), np.full_like(upper, math.inf))
    outside = (weights < low - tolerance) | (weights > high + tolerance)
    if outside.any() or not least - tolerance <= total <= most + tolerance:
        each = ", ".join(f"{strategy} {weight:.6g}" for strategy, weight in zip(returns, weights, strict=True))
        raise NoSolutionError(
            f"{name} of skfolio gave weights that do not keep the limits, or a sum from {least:.6g} to {most:.6g}: "
            f"{each}, in all {total:.6g}"
        )
    if limited:
        return weights
    return fit_to_groups(np.maximum(weights, 0.0), lower, upper, problem.groups, gross=most).weights


def _settled(problem: Problem, weights: Floats, least: float) -> Floats:
    """Weights that keep limits to the last bit, and a sum from the least to gross to rounding.

    Parameters
    ----------
    problem
        Limits and gross.
    weights
        Weights that keep them nearly, shape (n,).
    least
        What they add up to at least.
    """
    lower, upper, gross = problem.lower, problem.upper, problem.gross
    at_lower = weights <= lower + NEAR * gross
    at_upper = ~at_lower & (weights >= upper - NEAR * gross)
    settled = np.where(at_lower, lower, np.where(at_upper, upper, weights))
    total = math.fsum(settled)
    goal = min(max(total, gross - problem.slack, least), gross)
    near = all(group.keeps(settled, ROUNDING * gross) for group in problem.groups)
    if near and abs(total - goal) <= ROUNDING * gross:
        return settled
    # One factor for those between their limits; the others are pushed so far past theirs that they stay there.
    pushed = np.where(at_lower, lower / 2, np.where(at_upper, 2 * upper, weights))
    return fit_to_groups(pushed, lower, upper, problem.groups, gross=goal).weights
