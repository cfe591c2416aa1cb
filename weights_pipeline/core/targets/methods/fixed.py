"""Fixed allocations: weights that the desk has decided, in percent of capital, each decision with its date.

Scope: which decision is in force, its checks against the book, and its translation to multipliers. Not here: reading
decisions from their files (``books.allocations``), and normalisation (``normalise``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Multipliers
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE
from weights_pipeline.core.targets.rules import Rule


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Allocations that the desk has decided on one day.

    Parameters
    ----------
    date
        Day of the decision.
    number
        1, or more for one that takes the place of others of the same day.
    allocations
        Percent of capital by strategy, each from 0 to 100. A 0 is a decision: every strategy of the book has one.
    provenance
        The backtest or judgement behind them.
    """

    date: dt.date
    number: int = 1
    allocations: Mapping[str, float]
    provenance: str = ""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"number: expected at least 1, got {self.number!r}")
        if problems := _out_of_range(self.allocations):
            raise ValueError("; ".join(problems))

    @property
    def order(self) -> tuple[dt.date, int]:
        """Of two decisions the greater one is the newer."""
        return self.date, self.number

    @property
    def label(self) -> str:
        """``2014-12-31``, or ``2014-12-31_2`` for the second of the day."""
        return f"{self.date}" if self.number == 1 else f"{self.date}_{self.number}"


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Fixed allocations; reads no metrics.

    A date follows the newest decision made by then, so that a past date never follows a later one.

    Parameters
    ----------
    folder
        The folder of decisions, one file each.
    decisions
        What the folder holds; whoever loads the book reads it, and no book spells it out.
    """

    folder: str = ""
    # To pydantic: nothing that a book may spell, nor that belongs in one that is written.
    decisions: tuple[Decision, ...] = field(default=(), metadata={"max_length": 0, "exclude": True})
    kind: Literal["fixed"] = "fixed"

    metric: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    lookback: ClassVar[str] = "12m"
    """Window of the metrics reported beside the weights."""
    optimises: ClassVar[bool] = False
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        labels = [decision.label for decision in self.decisions]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"decisions: expected each date and number once, got {twice} again")

    def in_force(self, day: dt.date | None = None) -> Decision:
        """Newest decision made by the end of a day; the newest of all where no day is given.

        Raises
        ------
        ValueError
            There is none: the decisions have not been loaded, or the first one was made later.
        """
        if not self.decisions:
            raise ValueError(f"allocations: none given, the folder {self.folder!r} was not loaded")
        made = [decision for decision in self.decisions if day is None or decision.date <= day]
        if not made:
            first = min(self.decisions, key=lambda decision: decision.order)
            raise ValueError(
                f"allocations: no decision by {day} in folder {self.folder!r}; the first is that of {first.date}"
            )
        return max(made, key=lambda decision: decision.order)

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers :math:`m_i = a_i / 100 / b_i`, so that target weights are the allocations :math:`a`.

        Parameters
        ----------
        section
            Base weights of one date.
        limits
            Whether the allocations add up to gross or to less; they hold target weights all the same.

        Returns
        -------
        Multipliers
            The score is the allocation, in percent; 1.0 for a strategy without a base weight. The formula says which
            decision it is of.

        Raises
        ------
        ValueError
            No decision was made by the date, or it is not one for this book: see :func:`allocation_problems`.
        """
        decision = self.in_force(section.as_of.date() if section.as_of is not None else None)
        if problems := allocation_problems(decision.allocations, section, limits):
            raise ValueError("; ".join(problems))
        percent = np.array([decision.allocations[name] for name in section.strategies], dtype=np.float64)
        funded = section.base > 0
        raw = np.full(len(percent), np.nan)
        raw[funded] = percent[funded] / 100 / section.base[funded]
        return Multipliers(
            metric=np.full(len(percent), np.nan),
            reason=np.zeros(len(percent), dtype=np.int8),
            score=percent,
            raw=raw,
            value=np.where(funded, raw, 1.0),
            rule=np.where(funded, Rule.FIXED, Rule.NO_BASE).astype(np.int8),
            formula=f"allocation of {decision.label} / 100 / base",
        )


def allocation_problems(allocations: Mapping[str, float], section: CrossSection, limits: Limits) -> list[str]:
    """Everything that keeps allocations from being a decision for a book.

    Each strategy of the book has one, from 0 to 100, and no other has; one above 0 needs a base weight. They add up to
    gross, or to no more than that where limits ask for gross at most, within :func:`rounding`.

    Parameters
    ----------
    allocations
        Percent of capital by strategy.
    section
        Strategies, base weights and gross of the book.
    limits
        Whether gross is met exactly or at most.

    Returns
    -------
    list of str
        Problems in words, each after its key; empty where there are none.
    """
    problems = _out_of_range(allocations)
    in_range = not problems
    if missing := sorted(set(section.strategies) - set(allocations)):
        problems.append(f"allocations: {missing} have none; expected one for every strategy of the book, 0 for none")
    if unknown := sorted(set(allocations) - set(section.strategies)):
        problems.append(f"allocations: {unknown} are not strategies of the book")
    base = zip(section.strategies, section.base.tolist(), strict=True)
    if unfunded := [name for name, weight in base if weight == 0 and allocations.get(name, 0) > 0]:
        problems.append(f"allocations: {unfunded} have one above 0 but no base weight")
    if in_range:
        numbers = allocations.values()
        total, expected = sum(map(printed, numbers), Decimal()), 100 * printed(section.gross)
        slack = rounding(numbers) + Decimal(GROSS_TOLERANCE) * expected
        at_most = limits.gross == "at_most"
        if total > expected + slack or (total < expected - slack and not at_most):
            problems.append(
                f"allocations: expected a total of {'at most ' if at_most else ''}{expected.normalize():f}%, the "
                f"book's gross, within the rounding of {slack:.3g}, got {total:f}%"
            )
    return problems


def _out_of_range(allocations: Mapping[str, float]) -> list[str]:
    return [
        f"allocations.{name}: expected percent of capital from 0 to 100, got {percent!r}"
        for name, percent in allocations.items()
        if not 0 <= percent <= 100
    ]


def printed(number: float) -> Decimal:
    """Return the shortest decimal that reads as this number, which is how it was printed but for trailing zeros."""
    return Decimal(repr(float(number))).normalize()


def rounding(numbers: Collection[float]) -> Decimal:
    """Largest error that printing leaves in a sum: half a unit of the last digit for each number.

    Numbers printed together have the same digits after the point. Trailing zeros are lost in reading, so the one
    with most digits tells how many they were: nine numbers such as 81.91, 6.5 and 0 are off by 0.045 at most.
    """
    exponents = [int(printed(number).as_tuple().exponent) for number in numbers]
    return Decimal(1).scaleb(min([0, *exponents])) / 2 * len(exponents)
