"""Optimised allocations as methods: weights chosen on the returns of a window, not on a metric of each strategy.

Scope: the way from a date's sample to multipliers, and the method whose objective is our own. Not here: that objective
(``optimise``), the optimisers of a library (``skfolio``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, cast

import numpy as np

from weights_pipeline.core.targets.methods.base import (
    CrossSection,
    Limits,
    Multipliers,
)
from weights_pipeline.core.targets.optimise import hybrid
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Optimum, Problem
from weights_pipeline.core.targets.rules import Rule


class Objective(Protocol):
    """What is optimised: a frozen dataclass of parameters."""

    def solve(self, problem: Problem) -> Optimum:
        """Weights of a sample that the objective prefers to all others."""


@dataclass(frozen=True, kw_only=True)
class Optimised:
    """What all optimised methods share; the objective's own parameters stand beside these.

    A strategy is optimised over where it was live on every session of the window, and its Sharpe ratio is measured
    there: where it has closed lots enough, and has moved. The others keep their base weight, so that a newcomer
    shortens nobody's sample, and the optimised share what is left of gross.

    Parameters
    ----------
    lookback
        The window, such as ``252s``.
    days
        Observations: all ``calendar`` sessions, or those on which any optimised strategy was ``active``. Idle sessions
        lower the daily Sharpe ratio of a portfolio; growth and drawdown are the same with or without them.
    """

    lookback: str = "252s"
    days: Literal["calendar", "active"] = "calendar"

    metric: ClassVar[str] = "sharpe"
    reads: ClassVar[tuple[str, ...]] = ("sharpe",)
    optimises: ClassVar[bool] = True
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.days not in ("calendar", "active"):
            raise ValueError(f"days: expected calendar or active, got {self.days!r}")

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers :math:`m_i = w_i / b_i` of the optimised weights :math:`w`.

        Parameters
        ----------
        section
            Base weights, Sharpe ratios and the sample of one date.
        limits
            Limits on a weight, and whether weights add up to gross.

        Returns
        -------
        Multipliers
            The score is the optimised weight; 1.0 for a null.

        Raises
        ------
        NoSolutionError
            There are no weights to choose, or none that keep the constraints.
        """
        if section.sample is None:
            raise ValueError("sample: expected the returns of the window, got none")
        reason, funded = section.read(self.reads), section.base > 0
        whole = section.sample.whole
        free = (reason == 0) & funded & whole
        score, value = np.full(len(free), np.nan), np.ones(len(free))
        rule = np.select(
            [~funded, reason != 0, ~whole], [Rule.NO_BASE, Rule.NULL, Rule.NEWCOMER], default=Rule.OPTIMISED
        )
        formula = ""
        if (chosen := np.flatnonzero(free)).size:
            held = float(section.base[~free].sum())
            returns, periods, sample = section.sample.observed(chosen, active_days_only=self.days == "active")
            lower, upper = limits.bounds(section.base, section.gross)
            gross = section.gross - held
            names = tuple(section.strategies[i] for i in chosen)
            problem = Problem(
                returns=returns,
                lower=lower[chosen],
                upper=upper[chosen],
                gross=gross,
                slack=min(limits.slack(section.gross), gross),
                periods=periods,
                strategies=names,
                groups=tuple(group.beside(section.base, free) for group in limits.grouped(section.strategies)),
                held=None if section.held is None else section.held[chosen],
                fees=None if section.fees is None else section.fees[chosen],
            )
            try:
                found = cast(Objective, self).solve(problem)
            except NoSolutionError as error:
                day = f"{section.as_of:%Y-%m-%d}: " if section.as_of is not None else ""
                # Of a chain of errors a run tells the first one, which does not know the date.
                raise NoSolutionError(f"{day}{error} (strategies {', '.join(names)})") from None
            score[chosen] = found.weights
            value[chosen] = found.weights / section.base[chosen]
            rule[chosen[list(found.dropped)]] = Rule.DROPPED
            formula = f"{_spelled(found)}; on {sample}"
        return Multipliers(
            metric=section.values["sharpe"],
            reason=reason,
            score=score,
            raw=np.where(free, value, np.nan),
            value=value,
            rule=rule.astype(np.int8),
            formula=formula,
        )


def _spelled(found: Optimum) -> str:
    """Objective, its parts and the constraints that bind, in words."""
    title = found.title if found.objective is None else f"{found.title} {found.objective:.6g}"
    parts = ", ".join(f"{name} {value:.6g}" for name, value in found.parts.items())
    distances = ", ".join(
        f"{name} binds" if name in found.binding else f"{distance:.3g} to {name}"
        for name, distance in found.distances.items()
    )
    held = f"; {found.held}" if found.held else ""
    return f"{title} ({parts}); limits: {distances or 'none'}{held}"


@dataclass(frozen=True, kw_only=True)
class MaxHybrid(Optimised, hybrid.HybridObjective):
    """Sharpe ratio and growth together, under a limit on drawdown."""

    kind: Literal["max_hybrid"] = "max_hybrid"

    def __post_init__(self) -> None:
        Optimised.__post_init__(self)
        hybrid.HybridObjective.__post_init__(self)

    def solve(self, problem: Problem) -> Optimum:
        """See :func:`~weights_pipeline.core.targets.optimise.hybrid.solve`."""
        return hybrid.solve(problem, self)
