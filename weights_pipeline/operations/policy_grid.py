"""Grids: many policies, which are a book with values of some keys changed, over one file of daily returns.

Scope: which policies, in which order, what each has earned, and the results of a grid that was interrupted. Not here:
the simulation (``core.study.simulate``), and what a person is shown.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.shards import Over
from weights_pipeline.core.study.costs import Earned, before_and_after, earned_by, require_rebalanced
from weights_pipeline.core.study.overfitting import BLOCKS, Overfitting, Walked, block_sums, overfitting, walked
from weights_pipeline.core.study.sharpe_inference import expected_maximum_sharpe
from weights_pipeline.core.study.simulate import Simulation, grid
from weights_pipeline.ledger.periods import Periods, rebalances
from weights_pipeline.tables.contract import Window
from weights_pipeline.versions.inputs import code_version

_CHAIN = ("metrics", "method", "limits", "adjustment", "overlay")
"""Keys of a book in the order in which the chain reads them."""

BATCH = 128
"""Policies that are simulated together, and whose figures are kept together."""


class OtherGridError(ValueError):
    """Results are kept that are not of this grid."""


@dataclass(frozen=True)
class PolicyGrid:
    """Every combination of some values.

    Attributes
    ----------
    values
        What to try, by path of keys such as ``method.alpha``. Without any there is one policy, the book's own.
    """

    values: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return math.prod(self._shape)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.values.values()))

    def changes(self, place: int) -> dict[str, Any]:
        """Values of one combination; the last key varies fastest."""
        at = np.unravel_index(place, self._shape)
        return {key: listed[int(i)] for (key, listed), i in zip(self.values.items(), at, strict=True)}

    def cells(self, place: int) -> dict[str, Any]:
        """The same for a table: a mapping or list as one text."""
        return {
            key: json.dumps(value).replace('"', "") if isinstance(value, dict | list) else value
            for key, value in self.changes(place).items()
        }

    def order(self) -> list[int]:
        """Every place, so that neighbours share as much of the chain as they can: what it reads first varies last."""

        def read(axis: int) -> tuple[int, bool]:
            section, _, key = keys[axis].partition(".")
            return (_CHAIN.index(section) if section in _CHAIN else -1, key != "lookback")

        keys = list(self.values)
        axes = sorted(range(len(keys)), key=read)
        places: list[int] = np.arange(len(self)).reshape(self._shape).transpose(axes).ravel().tolist()
        return places


class Rebalances(NamedTuple):
    """Periods of a book, those with data to their end, and the last session of each."""

    periods: Periods
    windows: list[Window]
    as_of: pd.DatetimeIndex

    @classmethod
    def of(cls, periods: Periods, history: ReturnHistory) -> Self:
        """Those of a history, from the first month of the periods on."""
        return cls(periods, *rebalances(periods, history.sessions[-1].date()))


class Trial(NamedTuple):
    """One policy of a grid, by its place, and when it rebalances."""

    place: int
    book: Book
    policy: Policy
    due: Rebalances


class Trading(NamedTuple):
    """What trading costs, in place of what each book says, and whether weights drift between rebalances."""

    costs: Costs | None
    drift: bool

    def require(self, policy: Policy) -> None:
        """Refuse a policy that these costs cannot be counted of.

        Raises
        ------
        ValueError
            A cost of a strategy that it does not have, or weights that do not stay between rebalances.
        """
        if self.costs is not None:
            self.costs.require_known(policy.strategies)
        require_rebalanced(policy)

    def of(self, simulation: Simulation) -> Earned:
        """What traded weights earn; see :func:`~weights_pipeline.core.study.costs.earned_by`."""
        return earned_by(simulation, self.costs or simulation.policy.costs or Costs(), drift=self.drift)


class Batch(NamedTuple):
    """Neighbours in a grid that rebalance alike: a shard of it."""

    places: tuple[int, ...]
    policies: tuple[Policy, ...]
    as_of: pd.DatetimeIndex

    def __str__(self) -> str:
        return f"{len(self.places)} policies of the grid from number {self.places[0] + 1} on"


def figures_over(
    trials: Iterable[Trial],
    history: ReturnHistory,
    sessions: pd.DatetimeIndex,
    market_regimes: pd.Series | None,
    since: pd.Timestamp,
    trading: Trading | None = None,
    over: Over = map,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield place and figures of each trial, in their order; see :func:`figures_of`.

    Beside them stand ``blocks``, what :func:`choice_of` needs of the returns of a trial.

    Parameters
    ----------
    trials
        Taken a batch at a time; neighbours that rebalance alike share what they have in common.
    history, sessions, market_regimes
        See :func:`~weights_pipeline.core.study.simulate.grid`.
    since
        Session after which trials are held against each other: the latest on which one rebalances first.
    trading
        Trials are held against each other by what they earn after costs; before any where there is none.
    over
        Carries the work to batches; see :mod:`weights_pipeline.core.shards`.
    """
    compared = sessions[sessions > since]
    for made in over(partial(_figures, history, sessions, market_regimes, compared, trading), _batches(trials)):
        yield from made


def _batches(trials: Iterable[Trial]) -> Iterator[Batch]:
    for _, alike in groupby(trials, key=lambda trial: (repr(trial.book.cadence), trial.book.timezone)):
        while some := list(islice(alike, BATCH)):
            yield Batch(tuple(t.place for t in some), tuple(t.policy for t in some), some[0].due.as_of)


def _figures(
    history: ReturnHistory,
    sessions: pd.DatetimeIndex,
    market_regimes: pd.Series | None,
    compared: pd.DatetimeIndex,
    trading: Trading | None,
    batch: Batch,
) -> list[tuple[int, dict[str, Any]]]:
    found = []
    made = grid(history, batch.as_of, sessions, batch.policies, market_regimes=market_regimes)
    for place, each in zip(batch.places, made, strict=True):
        paid = trading and trading.of(each)
        judged = each.traded if paid is None else pd.Series(paid.after, each.traded.index)
        # Before any strategy is live there is nothing but cash.
        blocks = block_sums(judged.reindex(compared).fillna(0.0)).tolist()
        found.append((place, figures_of(each, paid) | {"blocks": blocks}))
    return found


def figures_of(simulation: Simulation, paid: Earned | None = None) -> dict[str, Any]:
    """What unscaled and traded weights earned, after costs too where they are counted, and turnover of the unscaled."""
    largest = int(simulation.turnover.argmax())
    figures: dict[str, Any] = {
        "turnover": {
            "mean": float(simulation.turnover.mean()),
            "largest": float(simulation.turnover[largest]),
            "largest_as_of": str(simulation.as_of[largest].date()),
        },
        "performance": {
            returns.name: {
                name: float(value)
                for name, (value, _) in performance(returns, str(returns.name), simulation.policy.frequency).items()
            }
            for returns in (simulation.unscaled, simulation.traded)
        },
    }
    if paid is not None:
        days = pd.DatetimeIndex(simulation.traded.index)
        figures["costs"] = before_and_after(paid, days, simulation.policy.frequency)
    return figures


def judged_by(figures: Mapping[str, Any]) -> Mapping[str, float]:
    """Figures that a policy is judged by: those of its traded weights, after costs where there are any."""
    found: Mapping[str, float] = figures["costs"]["after"] if "costs" in figures else figures["performance"]["traded"]
    return found


class Choice(NamedTuple):
    """What choosing the best policy of a grid is worth.

    Attributes
    ----------
    policies
        Those with a Sharpe ratio.
    lucky
        Sharpe ratio, annual, to be expected of the best of so many without skill that lie so far apart; null of one.
    overfitting, walked
        None where they cannot be measured. Sharpe ratios of both are per session.
    per_year
        Sessions a year.
    """

    policies: int
    lucky: float
    overfitting: Overfitting | None
    walked: Walked | None
    per_year: float

    @property
    def sentence(self) -> str:
        """All of it in words."""
        if self.policies < 2:
            return ""
        said = (
            f"The best of {self.policies:,} policies without skill, as far apart as these, would show a Sharpe ratio "
            f"of {self.lucky:.2f}."
        )
        if self.overfitting is None:
            return f"{said} Too few returns for a probability of backtest overfitting."
        return f"{said} {self.overfitting.sentence}{self._walk}"

    @property
    def _walk(self) -> str:
        if self.walked is None:
            return ""
        chosen, best, median = (
            f"{ratio * math.sqrt(self.per_year):.2f}"
            for ratio in (self.walked.sharpe, self.walked.best, self.walked.median)
        )
        return (
            f" Chosen anew before each of the last {len(self.walked.chosen)} of {BLOCKS} blocks, as the best up to it, "
            f"policies would have shown a Sharpe ratio of {chosen} there; the best of them with hindsight {best}, the "
            f"median {median}."
        )


def choice_of(figures: Mapping[int, Mapping[str, Any]], compared: int, frequency: Frequency) -> Choice:
    """How much of the best Sharpe ratio of a grid is the choice.

    Parameters
    ----------
    figures
        By place, as :func:`figures_over` yields them.
    compared
        Sessions that the blocks are of.
    frequency
        How often returns are observed.
    """
    sharpe = [judged_by(figures[place])["sharpe"] for place in by_sharpe(figures)]
    sums = [figures[place]["blocks"] for place in sorted(figures)]
    enough = compared >= frequency.enough
    return Choice(
        policies=len(sharpe),
        lucky=expected_maximum_sharpe(float(np.var(sharpe, ddof=1)), len(sharpe)) if len(sharpe) > 1 else math.nan,
        overfitting=overfitting(sums, compared // BLOCKS) if enough else None,
        walked=walked(sums, compared // BLOCKS) if enough else None,
        per_year=frequency.per_year,
    )


def hash_of(policies: Iterable[Policy]) -> str:
    """Hash of policies and their order."""
    digest = hashlib.sha256()
    for policy in policies:
        digest.update(repr(policy).encode())
    return digest.hexdigest()


def fingerprint(
    policies: str,
    history: ReturnHistory,
    sessions: pd.DatetimeIndex,
    market_regimes: pd.Series | None,
    trading: Trading | None = None,
) -> str:
    """Hash of all that the results of a grid depend on: its policies by their hash, costs, data, and the code."""
    digest = hashlib.sha256(f"{policies} {trading} {code_version()}".encode())
    digest.update("\n".join(history.strategies).encode())
    for values in (history.sessions.asi8, history.returns, history.first_live, sessions.asi8):
        digest.update(np.ascontiguousarray(values).tobytes())
    if market_regimes is not None:
        digest.update(market_regimes.to_json(date_unit="us").encode())
    return digest.hexdigest()


class Results(AbstractContextManager["Results"]):
    """Figures of a grid's policies by place, kept in a file as they come until the grid is whole.

    The file holds a JSON document a line: which grid it is of, then place and figures of each policy. A last line that
    was cut off is not read.

    Parameters
    ----------
    file
        None keeps nothing.
    of
        Fingerprint of the grid.

    Attributes
    ----------
    figures
        See :func:`figures_of`; at first those that the file held.

    Raises
    ------
    OtherGridError
        The file holds results of another grid.
    """

    def __init__(self, file: Path | None, of: str) -> None:
        self.figures: dict[int, dict[str, Any]] = {}
        self._file, self._open = file, None
        if file is None:
            return
        whole = 0
        if file.exists():
            # What was cut off is no line: of a file that was only begun nothing is left.
            *lines, _ = file.read_bytes().split(b"\n")
            if lines and lines[0] != _line({"grid": of}):
                raise OtherGridError(
                    f"{file}: holds results of another grid: book, values, returns or version have changed since it "
                    "was interrupted. Remove it to begin anew, or name another output."
                )
            self.figures = dict(map(json.loads, lines[1:]))
            whole = sum(len(line) + 1 for line in lines)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._open = file.open("ab")
        self._open.truncate(whole)
        if not whole:
            self._write({"grid": of})

    def add(self, place: int, figures: dict[str, Any]) -> None:
        """Take the figures of a policy, and keep them."""
        self.figures[place] = figures
        self._write([place, figures])

    def done(self) -> None:
        """Forget what was kept: the grid is whole, and written elsewhere."""
        self.__exit__(None, None, None)
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.close()

    def _write(self, document: Any) -> None:
        if self._open is not None:
            self._open.write(_line(document) + b"\n")
            self._open.flush()


def _line(document: Any) -> bytes:
    return json.dumps(document).encode()


def grid_table(values: PolicyGrid, figures: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each policy, in the order of places: its values, what its traded weights earned, mean turnover.

    With costs, what they earned before and after, and what was paid in a year, have columns of their own.
    """
    best = best_of(figures)
    return pd.DataFrame(
        [
            values.cells(place)
            | figures[place]["performance"]["traded"]
            | _flat(figures[place].get("costs", {}))
            | {"mean_turnover": figures[place]["turnover"]["mean"], "best_sharpe": place == best}
            for place in sorted(figures)
        ]
    )


def _flat(costs: Mapping[str, Any]) -> dict[str, Any]:
    """Figures after costs in one level: ``after_sharpe`` of ``after`` and ``sharpe``."""
    flat = dict[str, Any]()
    for key, value in costs.items():
        flat |= {f"{key}_{name}": each for name, each in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def best_of(figures: Mapping[int, Mapping[str, Any]]) -> int | None:
    """Place of the best Sharpe ratio, the first of equals; None where none has one."""
    return next(iter(by_sharpe(figures)), None)


def by_sharpe(figures: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Places with a Sharpe ratio of what they are judged by, the best first."""
    sharpe = {place: judged_by(figures[place])["sharpe"] for place in sorted(figures)}
    return sorted((place for place, value in sharpe.items() if not math.isnan(value)), key=lambda p: -sharpe[p])
