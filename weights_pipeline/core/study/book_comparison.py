"""Books, equal weight and base weights side by side: the same sessions, the same fee, and how sure a difference is.

Scope: what each would have earned at the weights it had in force, intervals of that, and the plain sentence. Not here:
the formulas of figures (``allocator.overlay``), of intervals (``metrics.bootstrap``) and of Sharpe ratios under doubt
(``sharpe_inference``), and methods that are walked forward (``comparison``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.allocator.state import reference_portfolio
from weights_pipeline.core.metrics.bootstrap import (
    block_length,
    cagr,
    drawn,
    percentile_interval,
    sharpe,
    stationary_draws,
)
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.study.comparison import traded_weight
from weights_pipeline.core.study.overfitting import Overfitting, of_returns
from weights_pipeline.core.study.sharpe_inference import deflated_sharpe, probabilistic_sharpe, sharpe_estimate

FEE = 0.001
"""Cost of trading one unit of weight, bought or sold: 10 basis points, as in the walk-forward comparison."""

DRAWS, SEED, LEVEL = 2000, 20140401, 0.95
"""Of the bootstrap: draws, the seed of its generator, and the share that an interval holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """What is compared.

    Attributes
    ----------
    name
        As shown.
    weights
        Weights indexed by the session they are in force from; columns strategies.
    returns
        Daily returns of the ledger that it reads, sessions × strategies.
    equal, base
        Names of the contenders that a book is compared with: its strategies in equal parts, and its base weights, which
        are the same one where these are equal parts; empty for what books are compared with.
    frequency
        How often its returns are observed.
    """

    name: str
    weights: pd.DataFrame
    returns: pd.DataFrame
    equal: str = ""
    base: str = ""
    frequency: Frequency = DAILY


@dataclass(frozen=True)
class Interval:
    """A figure and the interval around it; NaN where null."""

    value: float
    lower: float
    upper: float

    @property
    def verdict(self) -> str:
        """Of a difference: ``better`` or ``worse`` where the interval does not hold 0, ``open`` where it does."""
        if math.isnan(self.lower):
            return "unknown"
        return "better" if self.lower > 0 else "worse" if self.upper < 0 else "open"


@dataclass(frozen=True)
class Gap:
    """Figures of a book less those of what it is compared with."""

    against: str
    sharpe: Interval
    cagr: Interval


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Figures of one contender after fees; a null is NaN and ``nulls`` says why.

    ``equal`` and ``base`` are its differences to equal weight and to its own base weights, None for what books are
    compared with; ``probabilistic`` is the probability that its true Sharpe ratio is above 0, ``deflated`` that it is
    above the best of as many trials without skill.
    """

    name: str
    figures: Mapping[str, float]
    nulls: str
    sharpe: Interval
    cagr: Interval
    equal: Gap | None
    base: Gap | None
    probabilistic: float
    deflated: float
    mean_gross: float
    turnover_per_year: float
    fees_per_year: float

    @property
    def tilt(self) -> Gap | None:
        """Difference to base weights where these are not equal weight."""
        return self.base if self.base and self.equal and self.base.against != self.equal.against else None


@dataclass(frozen=True, kw_only=True, eq=False)
class BookComparison:
    """All contenders on the sessions that they have in common.

    Attributes
    ----------
    first, last, sessions
        The sessions.
    standings
        In the order given.
    returns
        After fees, sessions × names.
    block
        Mean length of the blocks of the bootstrap, sessions.
    frequency
        How often returns are observed.
    overfitting
        Of the choice among all of them; None of one, or where returns are too few.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    sessions: int
    standings: tuple[Standing, ...]
    returns: pd.DataFrame
    block: float
    frequency: Frequency
    overfitting: Overfitting | None

    @property
    def books(self) -> tuple[Standing, ...]:
        """Those that are compared with others."""
        return tuple(each for each in self.standings if each.equal is not None)

    def sentence(self, names: Collection[str] | None = None) -> str:
        """What the comparison says of some books, of all when None: plainly, also where weighting did not help."""
        unit, least = self.frequency.unit, self.frequency.enough
        many = f"{self.sessions:,} {unit}s" if self.sessions > 1 else f"one {unit}"
        span = f"Over {many} from {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}, after fees"
        if self.sessions < least:
            return f"{span}: too short to say whether weighting helped; it takes {least} {unit}s at least."
        chosen = [each for each in self.books if names is None or each.name in names]
        equal = _said({each.name: each.equal for each in chosen if each.equal}, _AGAINST_EQUAL)
        tilt = _said({each.name: each.tilt for each in chosen if each.tilt}, _AGAINST_BASE)
        said = f"{span}, differences of Sharpe ratios with their {LEVEL:.0%} intervals in brackets: {equal}."
        return said + (f" Against a book's own base weights, {tilt}." if tilt else "")


_AGAINST_EQUAL = {
    "better": "better than equal weight",
    "open": "no evidence of a difference to equal weight (the interval holds zero)",
    "worse": "worse than equal weight",
    "unknown": "no comparison with equal weight (a Sharpe ratio is undefined)",
}
_AGAINST_BASE = {
    "better": "tilting helped",
    "open": "tilting has not been shown to help (the interval holds zero)",
    "worse": "tilting hurt",
    "unknown": "nothing can be said of tilting (a Sharpe ratio is undefined)",
}


def _said(gaps: Mapping[str, Gap], words: Mapping[str, str]) -> str:
    """Books by verdict, after the words of it."""
    by_verdict: dict[str, list[str]] = {}
    for name, gap in gaps.items():
        ratio = gap.sharpe
        known = f"({ratio.value:+.2f}, {ratio.lower:+.2f} to {ratio.upper:+.2f})".replace("-", "\N{MINUS SIGN}")
        by_verdict.setdefault(ratio.verdict, []).append(name if ratio.verdict == "unknown" else f"{name} {known}")
    return "; ".join(
        f"{text}: {_listed(by_verdict[verdict])}" for verdict, text in words.items() if verdict in by_verdict
    )


def compare(contenders: Sequence[Contender]) -> BookComparison | None:
    """Compare contenders on the sessions on which all of them had weights in force; None where there is none.

    Each session earns the sum of weight in force times return; on the session on which weights change it pays ``FEE``
    times the sum of their absolute changes, on the first session for the whole book. Between rebalances weights are
    held constant, as everywhere in the pipeline. Returns of one frequency alone can be compared: weekends of one ledger
    and none of another, or months and days, have no sessions in common that would tell all of either.
    """
    if len(frequencies := {each.frequency for each in contenders}) > 1:
        raise ValueError(f"contenders: expected one frequency of returns, got {sorted(map(str, frequencies))}")
    held = {each.name: reference_portfolio(each.weights.sort_index(), each.returns) for each in contenders}
    common = None
    for portfolio in held.values():
        own = pd.DatetimeIndex(portfolio.returns.index)
        common = own if common is None else common.intersection(own)
    if common is None or not len(common):
        return None
    common = common.sort_values()
    gross, traded = {}, {}
    for each in contenders:
        held_then = in_force(each.weights, common)
        traded[each.name] = traded_weight(held_then)
        gross[each.name] = float(held_then.sum(axis=1).mean())
    after = pd.DataFrame({name: held[name].returns.reindex(common) - FEE * traded[name] for name in held})
    return _compared(contenders, after, traded, gross)


def net_returns(weights: pd.DataFrame, returns: pd.DataFrame) -> pd.Series:
    """Returns of one portfolio after fees on all its own sessions, as :func:`compare` reckons them.

    Parameters
    ----------
    weights
        Indexed by the session they are in force from; columns strategies.
    returns
        Sessions × strategies.
    """
    earned = reference_portfolio(weights.sort_index(), returns).returns
    return earned - FEE * traded_weight(in_force(weights, pd.DatetimeIndex(earned.index)))


def in_force(weights: pd.DataFrame, sessions: pd.DatetimeIndex) -> NDArray[np.float64]:
    """Weights of each session, shape (sessions, strategies): the newest from then or before, NaN before the first."""
    return weights.sort_index().fillna(0.0).reindex(sessions, method="ffill").to_numpy(np.float64)


def _compared(
    contenders: Sequence[Contender],
    after: pd.DataFrame,
    traded: Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
    gross: Mapping[str, float],
) -> BookComparison:
    values, place = after.to_numpy(np.float64), {name: column for column, name in enumerate(after)}
    pairs = [(place[each.name], place[other]) for each in contenders for other in {each.equal, each.base} - {""}]
    lengths = [block_length(column) for column in values.T]
    lengths += [block_length(values[:, one] - values[:, other]) for one, other in pairs]
    known = [length for length in lengths if not math.isnan(length)]
    frequency = contenders[0].frequency
    enough, per_year = len(after) >= frequency.enough, frequency.per_year
    block = max(known, default=1.0)
    figures = {"sharpe": np.full((1, values.shape[1]), np.nan), "cagr": np.full((1, values.shape[1]), np.nan)}
    if enough:
        draws = stationary_draws(len(after), block, DRAWS, SEED)
        figures = {
            "sharpe": drawn(values, draws, partial(sharpe, per_year=per_year)),
            "cagr": drawn(np.log1p(values), draws, partial(cagr, per_year=per_year)),
        }
    measured = {name: performance(after[name], name, frequency) for name in traded}
    estimates = {name: sharpe_estimate(after[name].to_numpy()) for name in traded}
    trials = [estimate.ratio for estimate in estimates.values()]
    a_year = per_year / len(after) if enough else math.nan

    def interval(figure: str, name: str, against: str = "") -> Interval:
        value, sample = measured[name][figure][0], figures[figure][:, place[name]]
        if against:
            value, sample = value - measured[against][figure][0], sample - figures[figure][:, place[against]]
        lower, upper = percentile_interval(sample, LEVEL)
        return Interval(value, float(lower), float(upper))

    def gap(name: str, against: str) -> Gap | None:
        return Gap(against, interval("sharpe", name, against), interval("cagr", name, against)) if against else None

    return BookComparison(
        first=after.index[0],
        last=after.index[-1],
        sessions=len(after),
        returns=after,
        block=block,
        frequency=frequency,
        overfitting=of_returns(values) if enough else None,
        standings=tuple(
            Standing(
                name=each.name,
                figures={figure: value for figure, (value, _) in measured[each.name].items()},
                nulls="; ".join(f"{figure}: {why}" for figure, (_, why) in measured[each.name].items() if why),
                sharpe=interval("sharpe", each.name),
                cagr=interval("cagr", each.name),
                equal=gap(each.name, each.equal),
                base=gap(each.name, each.base),
                probabilistic=probabilistic_sharpe(estimates[each.name]) if enough else math.nan,
                deflated=deflated_sharpe(estimates[each.name], trials) if enough else math.nan,
                mean_gross=gross[each.name],
                turnover_per_year=math.fsum(traded[each.name]) / 2 * a_year,
                fees_per_year=FEE * math.fsum(traded[each.name]) * a_year,
            )
            for each in contenders
        ),
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
