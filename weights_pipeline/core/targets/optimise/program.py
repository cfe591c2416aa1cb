"""The one convex program that objectives are solved by: quadratic, under linear constraints.

Scope: the call of the solver and what its answers mean. Not here: objectives, which state their programs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.problem import NoSolutionError

TOLERANCE = 1e-11
"""What the solver aims at, relative to the numbers it is given, whose largest is made 1."""
ACCEPTED = 1e-7
"""What is accepted where rounding stops it earlier."""


class SolverError(NoSolutionError):
    """The solver did not get to a minimum.

    Attributes
    ----------
    multipliers
        What it last gave for those of the inequalities, shape (m,): where constraints contradict each other, how much
        each has a part in that.
    """

    def __init__(self, message: str, multipliers: Floats) -> None:
        super().__init__(message)
        self.multipliers = multipliers


class Solution(NamedTuple):
    """Where the minimum is, and what the constraints cost there.

    Attributes
    ----------
    x
        Shape (n,).
    multipliers
        By how much the minimum falls per unit by which each inequality is loosened, shape (m,), never negative.
    """

    x: Floats
    multipliers: Floats


def minimise(
    quadratic: Floats, linear: Floats, *, equal: tuple[Floats, Floats], below: tuple[Floats, Floats]
) -> Floats:
    r"""Minimise :math:`\tfrac12 x'Px + q'x` subject to :math:`Ax = b` and :math:`Gx \le h`.

    Solved to the precision of the floating point numbers, by an interior point method without randomness and without
    threads: the same numbers in give the same numbers out.

    Parameters
    ----------
    quadratic, linear
        :math:`P`, symmetric and positive semidefinite, shape (n, n), and :math:`q`, shape (n,).
    equal, below
        :math:`(A, b)` and :math:`(G, h)`, shapes (m, n) and (m,); m may be 0.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    SolverError
        The constraints contradict each other, or the solver did not get there; the message has its verdict.
    """
    return minimum(quadratic, linear, equal=equal, below=below).x


def minimum(
    quadratic: Floats, linear: Floats, *, equal: tuple[Floats, Floats], below: tuple[Floats, Floats]
) -> Solution:
    """Minimise as :func:`minimise` does, and tell the multipliers of the inequalities as well."""
    # Only who optimises needs the solver.
    import clarabel

    # One scale for all, so that tolerances mean the same whatever the size of daily returns.
    scale = max(float(np.abs(quadratic).max(initial=0.0)), float(np.abs(linear).max(initial=0.0)))
    scale = scale if scale > 0 else 1.0
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    settings.reduced_tol_gap_abs = settings.reduced_tol_gap_rel = settings.reduced_tol_feas = ACCEPTED
    program = (
        _sparse(np.triu(quadratic) / scale),
        linear / scale,
        _sparse(np.vstack([equal[0], below[0]])),
        np.concatenate([equal[1], below[1]]),
        [clarabel.ZeroConeT(len(equal[1])), clarabel.NonnegativeConeT(len(below[1]))],
    )
    # Balancing rows and columns helps the solver, but for a few programs that it only solves as they are.
    for settings.equilibrate_enable in (True, False):
        solution = clarabel.DefaultSolver(*program, settings).solve()
        if str(solution.status) in ("Solved", "AlmostSolved"):
            return Solution(np.array(solution.x), np.array(solution.z[len(equal[1]) :]) * scale)
    raise SolverError(f"no solution: the solver stopped with {solution.status}", np.array(solution.z[len(equal[1]) :]))


@dataclass(frozen=True, slots=True)
class _Sparse:
    """Compressed columns under the names the solver reads: those of SciPy, which would take far longer to load."""

    data: list[float]
    indices: list[int]
    indptr: list[int]
    nnz: int
    shape: tuple[int, int]

    has_canonical_format: ClassVar[bool] = True


def _sparse(dense: Floats) -> _Sparse:
    rows, columns = dense.shape
    column, row = np.nonzero(dense.T)
    starts = np.searchsorted(column, np.arange(columns + 1))
    return _Sparse(dense[row, column].tolist(), row.tolist(), starts.tolist(), len(row), (rows, columns))
