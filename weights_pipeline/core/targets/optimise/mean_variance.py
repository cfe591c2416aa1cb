"""Mean-variance: expected return less a price on variance.

Here belongs the objective alone. Here do not belong expected returns and covariances (``estimators``), limits and gross
(``constraints``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from weights_pipeline.core.targets.optimise.constraints import Universe
from weights_pipeline.core.targets.optimise.estimators import Covariance, ExpectedReturn, LedoitWolf, SampleMean
from weights_pipeline.core.targets.optimise.problem import Optimum, Problem


@dataclass(frozen=True, kw_only=True)
class MeanVariance:
    """Largest utility of expected return and variance.

    Parameters
    ----------
    risk_aversion
        Expected return that half the variance has to be paid with, positive: 1 is growth in the long run to second
        order, more is calmer.
    expected_return
        How expected returns are estimated: ``sample`` or ``exponential``.
    covariance
        How the covariance is estimated: ``sample``, ``exponential`` or ``ledoit_wolf``.
    """

    risk_aversion: float
    expected_return: ExpectedReturn = field(default_factory=SampleMean)
    covariance: Covariance = field(default_factory=LedoitWolf)
    kind: Literal["mean_variance"] = "mean_variance"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 < self.risk_aversion < math.inf:
            raise ValueError(f"risk_aversion: expected a positive number, got {self.risk_aversion!r}")

    def solve(self, problem: Problem) -> Optimum:
        r"""Maximise :math:`\mu'w - \tfrac{\gamma}{2} w'\Sigma w`, annual, inside limits and gross (Markowitz 1952).

        With slack the rest stays in cash, which earns nothing: strategies that all lose are then left alone. A strategy
        that has not moved stays at its lower limit and counts for nothing, see
        :class:`~weights_pipeline.core.targets.optimise.constraints.Universe`.

        Parameters
        ----------
        problem
            Returns and limits.

        Returns
        -------
        Optimum
            The objective is the utility, a return per year.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, or no strategy has moved for which the limits leave anything.
        """
        universe = Universe.of(problem, self.covariance, fully_invested=False)
        mean = self.expected_return.estimate(problem.returns[:, universe.moved])
        weights = universe.all_weights(universe.least_quadratic(-mean / self.risk_aversion))
        expected = float(mean @ weights[universe.moved]) * problem.periods
        figures = universe.figures(weights)
        utility = expected - self.risk_aversion / 2 * figures["volatility"] ** 2
        return universe.optimum(weights, utility, {"expected_return": expected, **figures})
