"""Costs: what a book pays for trading and for borrowing.

Scope: the rates. Not here: what weights earn after them (``study.costs``), and the optimisers that count them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from weights_pipeline.core.targets.normalise import Floats


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What trading and borrowing cost, as fractions of capital.

    Parameters
    ----------
    fee
        Cost of trading one unit of weight, bought or sold; 0.001 is 10 basis points.
    by_strategy
        The same of single strategies, in place of ``fee``.
    rebalance
        Cost of each rebalance that trades anything, whatever it trades.
    financing
        Annual rate paid on what the weights add up to above 1.

    Raises
    ------
    ValueError
        A cost that is negative or not finite.
    """

    fee: float = 0.0
    by_strategy: Mapping[str, float] = field(default_factory=dict)
    rebalance: float = 0.0
    financing: float = 0.0

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        asked = {"fee": self.fee} | {f"by_strategy.{name}": fee for name, fee in self.by_strategy.items()}
        for key, cost in (asked | {"rebalance": self.rebalance, "financing": self.financing}).items():
            if not 0 <= cost < math.inf:
                raise ValueError(f"{key}: expected a fraction of at least 0, such as 0.001, got {cost!r}")

    def require_known(self, strategies: Sequence[str]) -> None:
        """Refuse a cost of a strategy that is not there."""
        if unknown := sorted(set(self.by_strategy) - set(strategies)):
            raise ValueError(f"by_strategy: {unknown} are no strategies of the book, which has {sorted(strategies)}")

    def fees(self, strategies: Sequence[str]) -> Floats:
        """Cost of trading one unit of weight of each strategy, shape (n,)."""
        return np.array([self.by_strategy.get(name, self.fee) for name in strategies], dtype=np.float64)
