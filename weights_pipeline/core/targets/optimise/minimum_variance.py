"""Minimum variance: the weights of least volatility.

Here belongs the objective alone. Here do not belong covariances (``estimators``), limits and gross (``constraints``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.optimise.constraints import Universe
from weights_pipeline.core.targets.optimise.estimators import Covariance, SampleCovariance
from weights_pipeline.core.targets.optimise.problem import Optimum, Problem


@dataclass(frozen=True, kw_only=True)
class MinimumVariance:
    """Least variance.

    Parameters
    ----------
    covariance
        How the covariance is estimated: ``sample``, ``exponential`` or ``ledoit_wolf``.
    """

    covariance: Covariance = field(default_factory=SampleCovariance)
    kind: Literal["minimum_variance"] = "minimum_variance"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def solve(self, problem: Problem) -> Optimum:
        r"""Minimise :math:`w'\Sigma w` subject to :math:`\sum_i w_i = G` and the limits (Markowitz 1952).

        Nothing has less variance than cash: where slack would let it stay there, the sum is brought to gross all the
        same, or to the most that the limits allow. A strategy that has not moved stays at its lower limit, see
        :class:`~weights_pipeline.core.targets.optimise.constraints.Universe`.

        Parameters
        ----------
        problem
            Returns and limits.

        Returns
        -------
        Optimum
            The objective is the annual variance, negated.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, or no strategy has moved for which the limits leave anything.
        """
        universe = Universe.of(problem, self.covariance, fully_invested=True)
        weights = universe.all_weights(universe.least_quadratic(np.zeros(len(universe.lower))))
        figures = universe.figures(weights)
        return universe.optimum(weights, -(figures["volatility"] ** 2), figures)
