"""Fixed allocations: weights that the desk has decided, in percent of capital.

Here belong the checks of such a decision against the book and its translation to multipliers. Here does not belong
reading it from its file (``books``), nor normalisation (``normalise``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.methods.base import FIXED, NO_BASE, CrossSection, Limits, Multipliers
from weights_pipeline.core.normalise import GROSS_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Fixed allocations; reads no metrics.

    Parameters
    ----------
    file
        The file that the allocations come from; whoever loads the book reads it.
    allocations
        Percent of capital by strategy, each from 0 to 100. A 0 is a decision: every strategy of the book has one.
    """

    file: str = ""
    allocations: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["fixed"] = "fixed"

    metric: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    lookback: ClassVar[str] = "12m"
    """Window of the metrics reported beside the weights."""
    clips_to_limits: ClassVar[bool] = False
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name, percent in self.allocations.items():
            if not 0 <= percent <= 100:
                raise ValueError(f"allocations.{name}: expected percent of capital from 0 to 100, got {percent!r}")

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        r"""Multipliers :math:`m_i = a_i / 100 / b_i`, so that target weights are the allocations :math:`a`.

        Parameters
        ----------
        section
            Base weights of one date.
        limits
            Not read; they hold target weights all the same.

        Returns
        -------
        Multipliers
            The score is the allocation, in percent; 1.0 for a strategy without a base weight.

        Raises
        ------
        ValueError
            The allocations have not been loaded, are not those of the strategies of the book, do not add up to
            gross within :func:`rounding`, or give capital to a strategy without a base weight.
        """
        if not self.allocations:
            raise ValueError(f"allocations: none given, the file {self.file!r} was not loaded")
        if missing := sorted(set(section.strategies) - set(self.allocations)):
            raise ValueError(
                f"allocations: {missing} have none; expected one for every strategy of the book, 0 for none"
            )
        if unknown := sorted(set(self.allocations) - set(section.strategies)):
            raise ValueError(f"allocations: {unknown} are not strategies of the book")
        percent = np.array([self.allocations[name] for name in section.strategies], dtype=np.float64)
        funded = section.base > 0
        if (unfunded := ~funded & (percent > 0)).any():
            names = [name for name, without in zip(section.strategies, unfunded, strict=True) if without]
            raise ValueError(f"allocations: {names} have one above 0 but no base weight")
        total, expected = sum(map(printed, percent.tolist()), Decimal()), 100 * printed(section.gross)
        slack = rounding(percent.tolist()) + Decimal(GROSS_TOLERANCE) * expected
        if abs(total - expected) > slack:
            raise ValueError(
                f"allocations: expected a total of {expected.normalize():f}%, the book's gross, within the rounding of "
                f"{slack:.3g}, got {total:f}%"
            )
        raw = np.full(len(percent), np.nan)
        raw[funded] = percent[funded] / 100 / section.base[funded]
        return Multipliers(
            metric=np.full(len(percent), np.nan),
            reason=np.zeros(len(percent), dtype=np.int8),
            score=percent,
            raw=raw,
            value=np.where(funded, raw, 1.0),
            rule=np.where(funded, FIXED, NO_BASE).astype(np.int8),
            formula="allocation / 100 / base",
        )


def printed(number: float) -> Decimal:
    """Return the shortest decimal that reads as this number, which is how it was printed but for trailing zeros."""
    return Decimal(repr(float(number))).normalize()


def rounding(numbers: Collection[float]) -> Decimal:
    """Largest error that printing leaves in a sum: half a unit of the last digit for each number.

    Numbers printed together have the same digits after the point. Trailing zeros are lost in reading, so the one
    with most digits tells how many they were: nine numbers such as 81.91, 6.5 and 0 are off by 0.045 at most.
    """
    exponents = [int(printed(number).as_tuple().exponent) for number in numbers]
    return Decimal(1).scaleb(min(0, *exponents)) / 2 * len(exponents)
