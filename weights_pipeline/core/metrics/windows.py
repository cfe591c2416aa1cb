"""Exact statistics of windows of daily returns, built from power-of-two blocks.

Scope: the summaries of a stretch of sessions that join associatively (wealth and drawdown, mean and variance, plain
sums), read over any list of windows. Not here: annualisation, risk-free rates, null rules and calendars, which are
metrics.

A window of L sessions is cut by the binary digits of L, shortest block first, and the pieces are joined from
left to right. Its result is therefore a function of its own returns alone: it has the same bits wherever the
loaded history begins, and whatever follows. No running total is ever subtracted from another, so an outlier leaves
no trace once it has left the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MOMENTS",
    "SUM",
    "WEALTH",
    "Statistic",
    "squared_shortfall",
    "window_statistic",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Block = tuple[FloatArray, ...]
Count = int | IntArray

# Cells of one float64 field of a chunk: small enough that the fields a step touches stay in the cache, large
# enough that NumPy's cost per call does not show. Speed is flat between 30,000 and 60,000.
_CHUNK_CELLS = 40_960

_overflow_is_infinity = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """An associative summary of a stretch of sessions.

    Attributes
    ----------
    names : tuple of str
        What is read from a finished summary.
    leaf : callable
        The summary of single sessions: values of any shape -> block (a tuple of fields of that shape).
    join : callable
        ``join(a, b, size_a, size_b)``: the summary of stretch a followed by stretch b. Associative in exact
        arithmetic; sizes are sessions, scalar or per window.
    empty : tuple of float
        The summary of no session; joining it from the left changes no bit.
    read : callable
        Block -> the arrays called `names`.
    """

    names: tuple[str, ...]
    leaf: Callable[[FloatArray], Block]
    join: Callable[[Block, Block, Count, Count], Block]
    empty: tuple[float, ...]
    read: Callable[[Block], Block]


def _wealth_leaf(returns: FloatArray) -> Block:
    growth = 1.0 + returns
    low = np.minimum(growth, 1.0)
    return growth, low, low, low


def _wealth_join(a: Block, b: Block, size_a: Count, size_b: Count) -> Block:
    """Join blocks of wealth E, each starting from its own anchor E_0 = 1.

    The fields are growth E_n, end over peak E_n / max E, trough min E and the worst fall min_{s<=t} E_t /
    E_s. A fall across the seam runs from the peak of a, over its end, to the trough of b: (end over peak of
    a) x (trough of b). In logarithms this is the maximum-subarray join (Bentley, CACM 27(9), 1984). Four
    products, no division.
    """
    growth_a, end_over_peak_a, trough_a, fall_a = a
    growth_b, end_over_peak_b, trough_b, fall_b = b
    fall = end_over_peak_a * trough_b
    np.minimum(fall, fall_a, out=fall)
    np.minimum(fall, fall_b, out=fall)
    end_over_peak = end_over_peak_a * growth_b
    np.minimum(end_over_peak, end_over_peak_b, out=end_over_peak)
    trough = growth_a * trough_b
    np.minimum(trough, trough_a, out=trough)
    return growth_a * growth_b, end_over_peak, trough, fall


def _moments_leaf(values: FloatArray) -> Block:
    # No field is ever -0.0, whose sign would be lost in joining it onto the empty block. A NaN reaches both.
    return values + 0.0, values - values


def _moments_join(a: Block, b: Block, size_a: Count, size_b: Count) -> Block:
    """Join mean and squared deviations M2 (Chan, Golub & LeVeque, American Statistician 37(3), 1983)."""
    (mean_a, m2_a), (mean_b, m2_b) = a, b
    size = size_a + size_b
    m2 = mean_b - mean_a
    mean = m2 * (size_b / size)
    mean += mean_a
    m2 *= m2
    m2 *= size_a * size_b / size
    m2 += m2_a
    m2 += m2_b
    return mean, m2


WEALTH = Statistic(
    names=("total_return", "max_drawdown"),
    leaf=_wealth_leaf,
    join=_wealth_join,
    empty=(1.0, 1.0, 1.0, 1.0),
    read=lambda block: (block[0] - 1.0, 1.0 - block[3]),
)
"""Total return Π(1+r) − 1 and maximum drawdown max_t 1 − E_t / max_{s≤t} E_s, a positive fraction, with E
anchored at 1.0 before the first session, so that a first-day loss counts. Where no return is negative the
drawdown is exactly 0."""

MOMENTS = Statistic(
    names=("mean", "m2"),
    leaf=_moments_leaf,
    join=_moments_join,
    empty=(0.0, 0.0),
    read=lambda block: block,
)
"""Mean and sum of squared deviations from it. Equal values give that very mean and an M2 of exactly 0, and
only equal values do (differences below 1e-162, whose squares vanish, count as equal)."""

SUM = Statistic(
    names=("total",),
    leaf=lambda values: (values + 0.0,),
    join=lambda a, b, size_a, size_b: (a[0] + b[0],),
    empty=(0.0,),
    read=lambda block: block,
)
"""Pairwise sum."""


@_overflow_is_infinity
def window_statistic(
    statistic: Statistic, values: ArrayLike, column: ArrayLike, start: ArrayLike, stop: ArrayLike
) -> dict[str, FloatArray]:
    """Compute one statistic over any windows, each within one column.

    Parameters
    ----------
    statistic : Statistic
        `WEALTH`, `MOMENTS` or `SUM`.
    values : array_like, shape (T, N)
        Daily values, time down the rows.
    column, start, stop : array_like of int, shape (K,)
        Window k is ``values[start[k]:stop[k], column[k]]``. The column of an empty window is not looked at.

    Returns
    -------
    dict of str to ndarray, shape (K,)
        One array per name of the statistic; NaN where the window is empty or holds a NaN.

    Raises
    ------
    ValueError
        When `values` is not two-dimensional, the index arrays differ in length, or a window reaches outside.
    """
    values = _matrix(values)
    column, start, stop = (np.asarray(index, dtype=np.int64) for index in (column, start, stop))
    _check_windows(values, column, start, stop)
    length = stop - start
    out = {name: np.full(column.shape, np.nan) for name in statistic.names}
    for windows, chunk, top, bottom in _column_chunks(values, column, start, stop):
        block = _window_block(
            statistic,
            np.ascontiguousarray(values[top:bottom, chunk]),
            column[windows] - chunk.start,
            start[windows] - top,
            length[windows],
        )
        for name, result in zip(statistic.names, statistic.read(block), strict=True):
            out[name][windows] = result
    return out


def squared_shortfall(returns: FloatArray, target: ArrayLike) -> FloatArray:
    """Square what each daily return lacks to its target: min(r − target, 0)², NaN where r is."""
    return np.minimum(returns - np.asarray(target, dtype=np.float64), 0.0) ** 2


def _window_block(
    statistic: Statistic, values: FloatArray, column: IntArray, start: IntArray, length: IntArray
) -> Block:
    """Return the summaries of the given non-empty windows of a chunk, shape (K,)."""
    width = values.shape[1]
    result = tuple(np.full(length.shape, value) for value in statistic.empty)
    cell, longest = start * width + column, int(length.max())
    block, size = statistic.leaf(values), 1
    while True:
        due = np.flatnonzero((length & size) != 0)
        at = cell.take(due)
        piece = tuple(field.take(at) for field in block)
        so_far = tuple(field.take(due) for field in result)
        joined = statistic.join(so_far, piece, length.take(due) & (size - 1), size)
        for field, value in zip(result, joined, strict=True):
            field[due] = value
        cell[due] = at + size * width
        if 2 * size > longest:
            return result
        block, size = _double(statistic, block, size), 2 * size


def _double(statistic: Statistic, block: Block, size: int) -> Block:
    """Join every block of `size` sessions with the one that follows it."""
    return statistic.join(tuple(field[:-size] for field in block), tuple(field[size:] for field in block), size, size)


def _column_chunks(
    values: FloatArray, column: IntArray, start: IntArray, stop: IntArray
) -> Iterator[tuple[IntArray, slice, int, int]]:
    """Yield chunks that fit the cache: (non-empty windows, their columns, first row, row after the last)."""
    order = np.flatnonzero(stop > start)
    if not order.size:
        return
    order = order[np.argsort(column[order], kind="stable")]
    top, bottom = int(start[order].min()), int(stop[order].max())
    width = max(1, _CHUNK_CELLS // (bottom - top))
    edges = np.arange(0, values.shape[1] + width, width)
    bounds = np.searchsorted(column[order], edges)
    for edge, low, high in zip(edges, bounds, bounds[1:], strict=False):
        if high > low:
            yield order[low:high], slice(int(edge), int(edge) + width), top, bottom


def _matrix(values: ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"returns: expected shape (sessions, strategies), got {matrix.shape}")
    return matrix


def _check_windows(values: FloatArray, column: IntArray, start: IntArray, stop: IntArray) -> None:
    if not (column.ndim == 1 and column.shape == start.shape == stop.shape):
        raise ValueError(
            f"windows: expected three equally long index arrays, got shapes {column.shape}, {start.shape}, {stop.shape}"
        )
    rows, columns = values.shape
    inside = (start == stop) | ((column >= 0) & (column < columns))
    bad = np.flatnonzero(~(inside & (start >= 0) & (start <= stop) & (stop <= rows)))
    if bad.size:
        k = bad[0]
        raise ValueError(
            f"windows: window {k} is [{start[k]}, {stop[k]}) of column {column[k]},"
            f" expected 0 <= start <= stop <= {rows} and a column below {columns}"
        )
