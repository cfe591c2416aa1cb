"""Which strategies are held where no weight may be small: each is zero, or at least the smallest.

Scope: the choice of the strategies, given something that solves one problem. Not here: that something (``hybrid``).

Weights that are zero or not small are no convex set. The problem that allows small ones is easier, so what it reaches
is a bound, and each small weight in its answer is decided both ways: nothing, or enough. With the problem of the
highest bound always taken up first, the first answer without small weights is the best there is (Land and Doig, "An
automatic method of solving discrete programming problems", Econometrica 28, 1960).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.optimise.program import SolverError

Bools = NDArray[np.bool_]

EXACT = 20
"""Strategies that may be dropped, at most, where all supports count."""
EQUAL = 1e-6
"""Relative difference between weights that are decided together where the search is greedy."""
ROUNDING = 1e-9
"""Gain in the objective, relative, that is rounding."""


class Answer(Protocol):
    """Weights, shape (n,), and how good they are; more is better."""

    weights: Floats

    @property
    def objective(self) -> float:
        """Value of the objective."""


A = TypeVar("A", bound=Answer)


def choose(problem: Problem, whole: A, smallest: float, solve: Callable[[Problem, Floats | None], A]) -> tuple[A, str]:
    """Choose which strategies to hold, and their weights.

    Parameters
    ----------
    problem
        Limits and gross. A strategy with a lower limit above 0 is held, whatever its weight.
    whole
        The answer with small weights.
    smallest
        What a weight is at least, if it is not zero.
    solve
        Solves the problem under tighter limits: anew, or climbing from weights nearby where these are given.

    Returns
    -------
    answer
        Never worse than the greedy one. Of strategies with the same returns and limits the first ones are held.
    how
        How the strategies were chosen, in words; empty where no weight was small.

    Raises
    ------
    NoSolutionError
        No admissible weights are large enough, or the solver failed.
    """
    search = _Supports(problem, smallest, solve)
    if not search.small(whole).any():
        return whole, ""
    answer, how = search.greedy(whole), "held strategies chosen greedily"
    candidates = int(((problem.lower == 0) & (problem.upper > 0)).sum())
    if candidates <= EXACT:
        answer, how = search.best(whole, answer), "held strategies are the best choice, by branch and bound"
    if answer is None:
        raise NoSolutionError(f"smallest: no weights that are 0 or at least {smallest:.3%} will do; {search.refusal}")
    return answer, how


class _Supports(Generic[A]):
    """The search; a node is the problem with some strategies dropped and others held."""

    def __init__(self, problem: Problem, smallest: float, solve: Callable[[Problem, Floats | None], A]) -> None:
        self.problem, self.smallest, self.solve = problem, smallest, solve
        self.refusal = ""

    def small(self, answer: A) -> Bools:
        small: Bools = (answer.weights > 0) & (answer.weights < self.smallest) & (self.problem.lower == 0)
        return small

    def greedy(self, whole: A) -> A | None:
        """Drop the smaller half of what is small, equal ones together, until nothing is, as the rest grows meanwhile.

        What cannot be dropped is held. None where that cannot be either.
        """
        node, answer = self.problem, whole
        while (small := self.small(answer)).any():
            half = small & (answer.weights <= np.median(answer.weights[small]) * (1 + EQUAL))
            near = np.where(half, 0.0, answer.weights)
            for decided in (self.dropping(node, half), self.holding(node, half)):
                if decided is not None and (found := self.answer(decided, near if near.any() else None)) is not None:
                    node, answer = decided, found
                    break
            else:
                return None
        return answer

    def best(self, whole: A, best: A | None) -> A | None:
        """Branch and bound, the highest bound first, on the weight that is farthest from either decision."""
        number = count()
        nodes = [(-whole.objective, next(number), self.problem, whole)]
        while nodes:
            _, _, node, answer = heappop(nodes)
            if best is not None and answer.objective <= best.objective + ROUNDING * abs(best.objective):
                break
            small = self.small(answer)
            if not small.any():
                best = answer
                continue
            at = int(np.where(small, np.minimum(answer.weights, self.smallest - answer.weights), -1.0).argmax())
            # Of strategies that nothing tells apart, any that is held comes before all that are not.
            alike, place = self.alike(at), np.arange(len(small))
            for decided in (
                self.dropping(node, alike & (place >= at) & (node.lower == 0)),
                self.holding(node, alike & (place <= at)),
            ):
                if decided is not None and (found := self.answer(decided)) is not None:
                    heappush(nodes, (-found.objective, next(number), decided, found))
        return best

    def alike(self, at: int) -> Bools:
        problem = self.problem
        alike: Bools = (problem.returns == problem.returns[:, [at]]).all(axis=0)
        alike &= (problem.lower == problem.lower[at]) & (problem.upper == problem.upper[at])
        for group in problem.groups:
            alike &= np.isin(np.arange(len(alike)), group.members) == (at in group.members)
        return alike

    def dropping(self, node: Problem, which: Bools) -> Problem | None:
        return self.tighter(node, node.lower, np.where(which, 0.0, node.upper))

    def holding(self, node: Problem, which: Bools) -> Problem | None:
        return self.tighter(node, np.where(which, self.smallest, node.lower), node.upper)

    def tighter(self, node: Problem, lower: Floats, upper: Floats) -> Problem | None:
        if (lower > upper).any():
            self.refusal = "limits: an upper limit is below that"
            return None
        try:
            return replace(node, lower=lower, upper=upper)
        except NoSolutionError as error:
            self.refusal = str(error)
            return None

    def answer(self, node: Problem, near: Floats | None = None) -> A | None:
        """None where the node has no admissible weights; a solver that fails is no answer to that."""
        try:
            return self.solve(node, near)
        except SolverError:
            raise
        except NoSolutionError as error:
            self.refusal = str(error)
            return None
