"""How likely it is that the best of some policies was the best by luck, and what choosing it as time went on was worth.

Scope: the probability of backtest overfitting by combinatorially symmetric cross-validation, and the walk forward, from
returns of everything that was tried, or from sums of them that are small enough to keep for thousands. Not here: how
likely a single Sharpe ratio is above luck (``sharpe_inference``).

References
----------
Bailey, Borwein, López de Prado & Zhu, The Probability of Backtest Overfitting, J. Computational Finance 20(4), 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BLOCKS: Final = 16
"""Even; half of them can be chosen in 12,870 ways."""

SHORTEST: Final = 5
"""Returns of a block, at the least."""

_STILL: Final = 1e-12
"""Share of its sum of squares below which a deviation is rounding."""

_TOGETHER: Final = 65_536
"""Ratios that are reckoned at once: enough for speed, few enough for memory whatever the trials are."""


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """What came of choosing the best trial on each half of the blocks and looking at it on the other half.

    Attributes
    ----------
    trials, blocks, ways
        Trials, blocks, and halves of them on which one of the trials could be chosen.
    probability
        Share of the ways in which the chosen trial is no better than the median trial out of sample.
    loss
        Share of the ways in which its Sharpe ratio out of sample is below 0.
    inside, outside
        Mean Sharpe ratio per return of the chosen trial where it was chosen, and on the other half.
    """

    trials: int
    blocks: int
    ways: int
    probability: float
    loss: float
    inside: float
    outside: float

    @property
    def sentence(self) -> str:
        """The probability, and what it is one of."""
        return (
            f"Probability of backtest overfitting {self.probability:.1%}: so often the best of {self.trials:,} on one "
            f"half of the returns was no better than the median on the other half (CSCV, {self.blocks} blocks, "
            f"{self.ways:,} ways)."
        )


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What came of choosing, before each block of the later half, the best trial of all blocks up to it.

    Attributes
    ----------
    chosen
        Place of the trial of each of these blocks.
    sharpe
        Sharpe ratio per return of what was chosen, over these blocks together.
    best, median
        The same of the trial that was the best over them, which nobody knew, and of the median trial.
    """

    chosen: tuple[int, ...]
    sharpe: float
    best: float
    median: float


def block_sums(returns: ArrayLike, blocks: int = BLOCKS) -> Floats:
    """Sums of returns and of their squares over blocks of equal length, one after the other; shape (2, blocks).

    What does not fill a block is left out at the beginning, where a history knows least.

    Parameters
    ----------
    returns : array_like, shape (T,)
        Finite.
    blocks
        Even, at least 2.
    """
    r = np.asarray(returns, dtype=np.float64)
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks: expected an even number of at least 2, got {blocks}")
    parts = r[len(r) % blocks :].reshape(blocks, -1)
    return np.array([parts.sum(axis=1), (parts**2).sum(axis=1)])


def overfitting(sums: ArrayLike, length: int) -> Overfitting | None:
    r"""Probability of backtest overfitting from :func:`block_sums` of every trial.

    For every half of the blocks: the trial with the largest Sharpe ratio on it is chosen, of equal ones the first. Its
    relative rank on the other half is :math:`\bar\omega = (W + (E + 1) / 2) / (N + 1)` with W worse trials and E equal
    ones, itself among them. The probability is the share of halves with a logit
    :math:`\ln(\bar\omega / (1 - \bar\omega)) \le 0`: out of sample the chosen trial is no better than the median.

    A trial that does not move on a half has no ratio there: it is chosen by no one, and ranks below all others. Where
    none has one, no trial can be chosen, and the half is left out.

    Parameters
    ----------
    sums : array_like, shape (N, 2, S)
        Of N trials over the same returns.
    length
        Returns of a block.

    Returns
    -------
    Overfitting or None
        None where there is no choice, blocks are shorter than ``SHORTEST``, or no half allows one.
    """
    given = np.asarray(sums, dtype=np.float64)
    if len(given) < 2 or length < SHORTEST:
        return None
    trials, _, blocks = given.shape
    by_block = np.ascontiguousarray(given.transpose(2, 1, 0))
    count = length * (blocks // 2)
    overfitted = losing = ways = 0
    inside = outside = 0.0
    for chosen_on, other in _halves(blocks, max(1, _TOGETHER // trials)):
        ratios = [_sharpe(by_block[half].sum(axis=1), count) for half in (chosen_on, other)]
        for seen, unseen in (ratios, ratios[::-1]):
            best = seen.argmax(axis=1)[:, None]
            found = np.take_along_axis(seen, best, axis=1)[:, 0]
            then = np.take_along_axis(unseen, best, axis=1)
            rank = (unseen < then).sum(axis=1) + ((unseen == then).sum(axis=1) + 1) / 2
            possible = found > -np.inf
            ways += int(possible.sum())
            overfitted += int((possible & (2 * rank <= trials + 1)).sum())
            losing += int((possible & (then[:, 0] < 0.0)).sum())
            inside += math.fsum(found[possible])
            outside += math.fsum(then[:, 0][possible & np.isfinite(then[:, 0])])
    if not ways:
        return None
    return Overfitting(
        trials=trials,
        blocks=blocks,
        ways=ways,
        probability=overfitted / ways,
        loss=losing / ways,
        inside=inside / ways,
        outside=outside / ways,
    )


def walked(sums: ArrayLike, length: int) -> Walked | None:
    """Walk trials forward by :func:`block_sums` of each; see :class:`Walked`.

    Of equal ratios the first is chosen. What it would cost to change from one trial to another is not counted.

    Parameters
    ----------
    sums, length
        As of :func:`overfitting`.

    Returns
    -------
    Walked or None
        None where there is no choice, blocks are shorter than ``SHORTEST``, or a trial or the choice does not move.
    """
    given = np.asarray(sums, dtype=np.float64)
    if len(given) < 2 or length < SHORTEST:
        return None
    by_block = given.transpose(2, 1, 0)
    begin = len(by_block) // 2
    later = range(begin, len(by_block))
    seen = [_sharpe(by_block[:block].sum(axis=0)[None], block * length)[0] for block in later]
    chosen = [int(ratios.argmax()) for ratios in seen]
    path = sum(by_block[block][:, [trial]] for block, trial in zip(later, chosen, strict=True))
    count = length * len(later)
    held = _sharpe(by_block[begin:].sum(axis=0)[None], count)[0]
    (found,) = _sharpe(np.asarray(path)[None], count)[0].tolist()
    if not (np.isfinite(held).all() and math.isfinite(found)):
        return None
    return Walked(chosen=tuple(chosen), sharpe=found, best=float(held.max()), median=float(np.median(held)))


def of_returns(returns: Floats, blocks: int = BLOCKS) -> Overfitting | None:
    """:func:`overfitting` of returns, shape (T, N)."""
    sums = [block_sums(column, blocks) for column in returns.T]
    return overfitting(sums, len(returns) // blocks) if sums else None


def _halves(blocks: int, together: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Each half with the block 0 and the other one beside it, some at a time; shapes (some, blocks / 2)."""
    every = frozenset(range(blocks))
    others = combinations(range(1, blocks), blocks // 2 - 1)
    while some := list(islice(others, together)):
        ours = np.array([(0, *rest) for rest in some])
        yield ours, np.array([sorted(every.difference(half)) for half in ours.tolist()])


def _sharpe(sums: Floats, count: int) -> Floats:
    """Mean / std (ddof = 1) from sums, shape (some, 2, N) to (some, N); −∞ where nothing moves."""
    total, squares = sums[:, 0], sums[:, 1]
    deviation = squares - total**2 / count
    moves = deviation > _STILL * squares
    return np.where(moves, total / count / np.sqrt(np.where(moves, deviation, 1.0) / (count - 1)), -np.inf)
