"""Signals: whether a strategy may put on a position now, and with how much capital.

Scope: the decision on one signal, from weights that are in memory already: no store, no optimiser, no clock. Not here:
where those weights come from (``live``), and which orders follow. Standard library alone, so that a trading service
starts at once.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

OPENING = ("enter", "increase")
CLOSING = ("reduce", "exit")
ACTIONS = (*OPENING, *CLOSING)
"""What a signal may ask for."""

TOLERANCE = 1e-9
"""Relative error in a sum of weights, and fraction of equity in use, that count as rounding."""

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Mandate:
    """What one book of one account allows, until it is stale.

    Mandates share nothing: what one book has in use neither frees nor takes capital of another.

    Attributes
    ----------
    book
        The book.
    allocations
        Largest capital of each strategy, in fractions of equity; their sum is at most ``max_leverage``.
    max_leverage
        Largest sum of capital in use, in fractions of equity; 1.0 is no borrowing.
    source
        ``live`` for published weights; ``base`` for base weights that stand in, on which no new position may rest.
    reason
        Why these weights, in words.
    version, effective_from, stale_after
        Number of the published weights, the session since which they are in force, and the last instant (with a zone)
        at which they still count; all None for base weights.

    Raises
    ------
    ValueError
        An allocation is negative or not finite, they add up to more than the leverage limit, the limit is not
        positive, or the last three are not as the source says.
    """

    book: str
    allocations: Mapping[str, float]
    max_leverage: float
    source: Literal["live", "base"]
    reason: str
    version: int | None = None
    effective_from: dt.date | None = None
    stale_after: dt.datetime | None = None

    def __post_init__(self) -> None:
        if not 0 < self.max_leverage < math.inf:
            raise ValueError(f"max_leverage: expected a positive multiple of equity, got {self.max_leverage!r}")
        allocations = fractions("allocations", self.allocations, total=self.max_leverage)
        object.__setattr__(self, "allocations", allocations)
        given = [value is not None for value in (self.version, self.effective_from, self.stale_after)]
        if self.source not in ("live", "base") or set(given) != {self.source == "live"}:
            raise ValueError(
                f"source: expected live with version, effective_from and stale_after, or base without any of them; "
                f"got {self.source!r} with {self.version!r}, {self.effective_from!r} and {self.stale_after!r}"
            )
        if self.stale_after is not None:
            require_zone("stale_after", self.stale_after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The answer to one signal.

    Attributes
    ----------
    approved
        True for APPROVE, False for REJECT.
    book, strategy, action
        What was asked.
    allocation
        New capital as a fraction of equity: on top of what the strategy has in use, 0 where nothing new is put on.
    capital, margin
        The same in money, and the equity to set aside for it; see :func:`decide`.
    reason
        Why, in words.
    version
        The published weights that it rests on; None for base weights.
    """

    approved: bool
    book: str
    strategy: str
    action: str
    allocation: float
    capital: float
    margin: float
    reason: str
    version: int | None


def decide(
    mandate: Mandate,
    strategy: str,
    equity: float,
    action: str,
    *,
    now: dt.datetime,
    in_use: Mapping[str, float] = _NOTHING,
) -> Decision:
    r"""Decide on one signal.

    A position must always be closable: ``exit`` and ``reduce`` are approved before anything else is looked at,
    whatever the strategy, the equity, the age of the weights or the leverage. They put on nothing new, so their
    allocation, capital and margin are 0; how much they free is what the position is worth, which is not known here.

    ``enter`` and ``increase`` are granted, of strategy :math:`i` with allocation :math:`a_i`, leverage limit :math:`L`
    and fractions of equity :math:`u_j` in use,

    .. math:: g = \min(a_i - u_i,\; L - \textstyle\sum_j u_j)

    of equity :math:`E`: capital :math:`gE`, margin :math:`gE / \max(1, L)`. With the whole leverage limit spread over
    the equity, margins add up to the equity: a book that may hold 230 % of it sets 1/2.3 aside for every unit of
    capital, and one that does not borrow the capital itself. Both actions are treated alike, since the allocation is
    the strategy's and not a position's: an ``enter`` may well be its second symbol, and what the first has in use
    counts.

    They are rejected where base weights stand in for published ones, where the weights are stale, where the strategy
    is unknown or has no allocation, where it or the leverage limit is used up (within ``TOLERANCE``), and where equity
    or what is in use is no usable number.

    Parameters
    ----------
    mandate
        What the book allows.
    strategy
        Name of the strategy.
    equity
        Equity of the account, in money.
    action
        One of ``ACTIONS``.
    now
        The time, with a zone.
    in_use
        Capital in use by strategy, in fractions of equity, of all strategies of the account: also of those that the
        book no longer has. Absent is nothing.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        The action is unknown, or ``now`` has no zone; never for an exit or a reduction.
    """
    if action in CLOSING:
        return Decision(
            approved=True,
            book=mandate.book,
            strategy=strategy,
            action=action,
            allocation=0.0,
            capital=0.0,
            margin=0.0,
            reason="exits and reductions are always approved",
            version=mandate.version,
        )
    if action not in OPENING:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}, got {action!r}")
    require_zone("now", now)
    granted, reason = _granted(mandate, strategy, now, in_use)
    capital = granted * equity if granted else 0.0
    if granted and not 0 < capital < math.inf:
        granted, capital, reason = 0.0, 0.0, f"equity: expected a positive amount of money, got {equity!r}"
    return Decision(
        approved=granted > 0,
        book=mandate.book,
        strategy=strategy,
        action=action,
        allocation=granted,
        capital=capital,
        margin=capital / max(1.0, mandate.max_leverage),
        reason=reason,
        version=mandate.version,
    )


def _granted(mandate: Mandate, strategy: str, now: dt.datetime, in_use: Mapping[str, float]) -> tuple[float, str]:
    """New capital that a strategy may put on, as a fraction of equity, and why; 0 for none."""
    if mandate.stale_after is None:
        return 0.0, f"base weights stand in and open nothing new: {mandate.reason}"
    if now > mandate.stale_after:
        return 0.0, f"stale weights: version {mandate.version} counted until {mandate.stale_after.isoformat(' ')}"
    allocation = mandate.allocations.get(strategy)
    if allocation is None:
        return 0.0, f"unknown strategy: {strategy!r} is not in book {mandate.book}"
    if allocation == 0:
        return 0.0, "0% allocation: the strategy gets no capital"
    try:
        # Correctly rounded: the order in which positions are listed changes nothing.
        total = math.fsum(in_use.values())
    except (OverflowError, ValueError):
        total = math.nan
    if not total < math.inf or (in_use and min(in_use.values()) < 0):
        odd = {name: used for name, used in in_use.items() if not 0 <= used < math.inf}
        return 0.0, f"in_use: expected fractions of equity, got {odd or dict(in_use)}"
    own = in_use.get(strategy, 0.0)
    left, room, limit = allocation - own, mandate.max_leverage - total, mandate.max_leverage
    if left <= TOLERANCE:
        return 0.0, f"allocation used up: {own:.2%} of equity in use, {allocation:.2%} allowed"
    if room <= TOLERANCE:
        return 0.0, f"leverage full: {total:.2%} of equity in use, {limit:.2%} allowed"
    if room < left:
        return room, f"{left:.2%} of equity left, cut by the leverage limit: {total:.2%} of {limit:.2%} in use"
    return left, f"{allocation:.2%} of equity allocated, {own:.2%} in use"


def fractions(key: str, weights: Mapping[str, float], *, total: float) -> Mapping[str, float]:
    """Weights as an immutable mapping of floats.

    Parameters
    ----------
    key
        What they are called in messages.
    weights
        Weights by strategy.
    total
        What they may add up to, within a relative ``TOLERANCE``.

    Raises
    ------
    ValueError
        A weight is negative or no finite number, or they add up to more.
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, float | int) or not 0 <= weight < math.inf:
            raise ValueError(f"{key}.{name}: expected a finite weight of 0 or more, got {weight!r}")
    try:
        found = math.fsum(weights.values())
    except OverflowError:
        found = math.inf
    if found > total * (1 + TOLERANCE):
        raise ValueError(f"{key}: expected weights that add up to at most {total:.12g}, got {found:.12g}")
    return MappingProxyType({name: float(weight) for name, weight in weights.items()})


def require_zone(key: str, instant: dt.datetime) -> None:
    """Refuse an instant without a zone: it would be another instant on another machine."""
    if instant.utcoffset() is None:
        raise ValueError(f"{key}: expected a time with a zone, got {instant!r}")
