"""No-trade bands: which weights a rebalance leaves alone, because they are near enough to their targets.

Scope: how much of its gap each strategy closes. Not here: the step itself (``adjust``), and what trading costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from weights_pipeline.core.targets.normalise import Floats

_ROUNDING = 1e-12
"""Distance from an edge, as a fraction of gross, and from the whole of a gap, that count as rounding."""


@dataclass(frozen=True, kw_only=True)
class Band:
    r"""How far a weight may be from its target before it is traded.

    Parameters
    ----------
    absolute
        Half width, as a weight; None where the band is relative alone.
    relative
        Half width, as a share of the target; None where the band is absolute alone. Where both are given the narrower
        one counts, as in the rule of five points or a quarter.
    of
        What is left alone or traded: each ``strategy`` by its own gap; the whole ``book``, which is traded when the gap
        of one strategy is outside; the whole book by its ``turnover``, which is traded when
        :math:`\tfrac12 \sum_i |w_i^* - w_i|` is above ``absolute``.
    to
        How far a strategy outside of its band is traded: to its ``edge``, the best under costs in proportion to what
        is traded (Davis and Norman 1990, "Portfolio selection with transaction costs"), or to its ``target``, the best
        under costs of each trade. A whole book is traded to its targets.

    Raises
    ------
    ValueError
        No width, one that is negative or not finite, or parts that contradict each other.
    """

    absolute: float | None = None
    relative: float | None = None
    of: Literal["strategy", "book", "turnover"] = "strategy"
    to: Literal["edge", "target"] | None = None

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.absolute is None and self.relative is None:
            raise ValueError("expected a width, absolute: 0.01 (of capital) or relative: 0.2 (of the target), got none")
        for name, width in (("absolute", self.absolute), ("relative", self.relative)):
            if width is not None and not 0 <= width < math.inf:
                raise ValueError(f"{name}: expected a width of at least 0, got {width!r}")
        if self.of not in ("strategy", "book", "turnover"):
            raise ValueError(f"of: expected strategy, book or turnover, got {self.of!r}")
        if self.to not in ("edge", "target", None):
            raise ValueError(f"to: expected edge or target, got {self.to!r}")
        if self.of == "turnover" and self.relative is not None:
            raise ValueError("relative: turnover is of the book, not of a target; expected absolute alone")
        if self.of != "strategy" and self.to == "edge":
            raise ValueError(f"to: a whole {self.of} is traded to its targets; expected no edge")

    def shares(self, start: Floats, target: Floats, *, gross: float, slack: float = 0.0) -> Floats:
        r"""Share of its gap that each strategy closes.

        A strategy whose gap :math:`|w_i^* - w_i|` is at most its half width :math:`b_i` is left alone; one outside is
        traded by :math:`s_i = 1 - b_i / |w_i^* - w_i|` of its gap (``edge``) or all of it (``target``). Then buys and
        sells differ, and the sum would leave ``[gross - slack, gross]``. So the side that falls short, buys or sells,
        is completed: by the strategies on it that are traded anyway, each further by the same share of what is left of
        its gap; and only when they have all reached their targets, by those inside their bands, again by one share for
        all. When that share is 1, all of that side is traded to its targets.

        This never runs out. The other side closes at most its whole gap, and at the targets the sum is inside
        ``[gross - slack, gross]``. As every share is in [0, 1], weights stay between where they start and their
        targets, both of which keep floor and cap: so do the weights after the step, with any rate up to 1 and any
        turnover cap. And no strategy is outside of its band after a step at rate 1.

        Parameters
        ----------
        start, target
            Weights before the step and their targets, shape (n,), both inside the limits and on gross.
        gross, slack
            What weights add up to at most, and how far below it they may stay.

        Returns
        -------
        ndarray, shape (n,)
            In [0, 1]. All 1 where the band has no width, and all 0 where nothing is outside of it.
        """
        everything, nothing = np.ones(len(start)), np.zeros(len(start))
        if self.absolute == 0 or self.relative == 0:
            return everything
        gap = target - start
        size, rounding = np.abs(gap), _ROUNDING * gross
        if self.of == "turnover" and self.absolute is not None:
            return everything if math.fsum(size) / 2 > self.absolute + rounding else nothing
        width = self._width(target)
        outside = size > width + rounding
        if not outside.any():
            return nothing
        if self.of == "book":
            return everything
        share = np.where(outside, 1.0, 0.0)
        if self.to != "target":
            share[outside] -= width[outside] / size[outside]
        total = math.fsum([*start, *(share * gap)])
        below, above = gross - slack - total, total - gross
        side, missing = (gap > 0, below) if below > 0 else (gap < 0, above)
        for some in (side & outside, side & ~outside):
            room = math.fsum(size[some] * (1 - share[some]))
            if missing <= rounding:
                break
            if room > 0:
                share[some] += min(missing / room, 1.0) * (1 - share[some])
                missing -= min(missing, room)
        # What is as good as all of a gap is all of it, so that no rounding passes a target and with it a limit.
        share[share > 1 - _ROUNDING] = 1.0
        return share

    def _width(self, target: Floats) -> Floats:
        width: Floats = np.full(len(target), np.inf if self.absolute is None else self.absolute)
        return width if self.relative is None else np.minimum(width, self.relative * target)
