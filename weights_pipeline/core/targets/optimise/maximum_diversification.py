"""Maximum diversification: the weights whose volatility is least compared to the volatilities they are made of.

Here belongs the objective alone. Here do not belong covariances (``estimators``), limits and gross (``constraints``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.constraints import Universe, minimise_exactly
from weights_pipeline.core.targets.optimise.estimators import Covariance, SampleCovariance
from weights_pipeline.core.targets.optimise.problem import Optimum, Problem


@dataclass(frozen=True, kw_only=True)
class MaximumDiversification:
    """Largest diversification ratio.

    Parameters
    ----------
    covariance
        How the covariance is estimated: ``sample``, ``exponential`` or ``ledoit_wolf``.
    """

    covariance: Covariance = field(default_factory=SampleCovariance)
    kind: Literal["maximum_diversification"] = "maximum_diversification"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def solve(self, problem: Problem) -> Optimum:
        r"""Maximise :math:`w'\sigma / \sqrt{w'\Sigma w}` subject to :math:`\sum_i w_i = G` and the limits.

        The ratio of Choueifaty and Coignard (2008), Toward maximum diversification, Journal of Portfolio Management
        35(1), 40-51. It does not depend on how much is invested: where slack would let weights add up to less, the sum
        is brought to gross all the same, or to the most that the limits allow. A strategy that has not moved stays at
        its lower limit, see :class:`~weights_pipeline.core.targets.optimise.constraints.Universe`.

        Parameters
        ----------
        problem
            Returns and limits.

        Returns
        -------
        Optimum
            The objective is the ratio.

        Raises
        ------
        NoSolutionError
            Fewer than two observations, no strategy has moved for which the limits leave anything, or strategies offset
            each other completely.
        """
        universe = Universe.of(problem, self.covariance, fully_invested=True)
        weights = universe.all_weights(_most_diversified(universe))
        figures = universe.risky_figures(weights)
        return universe.optimum(weights, figures["diversification_ratio"], figures)


def _most_diversified(universe: Universe) -> Floats:
    r"""Weights from the convex form: minimise :math:`z'Cz` over risks :math:`z_i = s w_i \sigma_i` that add up to 1.

    The ratio is the same at every scale :math:`s`, so the one at which its numerator is 1 may be chosen; limits
    :math:`l_i \le w_i \le u_i` become :math:`l_i \sum_j y_j \le G y_i \le u_i \sum_j y_j` for :math:`y = s w`.
    """
    unit, eye = universe.unit, np.eye(len(universe.unit))
    total = unit[:, None] / unit / universe.most
    below = np.vstack([eye - universe.upper[:, None] * total, universe.lower[:, None] * total - eye])
    risks = minimise_exactly(
        universe.correlation,
        np.zeros(len(unit)),
        equal=(np.ones((1, len(unit))), np.ones(1)),
        below=(below, np.zeros(len(below))),
    )
    y: Floats = risks / unit
    weights: Floats = universe.most / y.sum() * y
    return weights
