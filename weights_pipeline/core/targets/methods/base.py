"""What every weighting method shares: what it reads, the limits on its outcome, and the step to target weights.

Scope: what is the same for all methods. Not here: the formula of any of them: each has a file of its own, and one entry
in ``METHODS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.core.metrics.measures import LESS_IS_BETTER, METRICS, REASONS
from weights_pipeline.core.metrics.sampling import VARIANCES
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.targets.normalise import (
    GROSS_TOLERANCE,
    Floats,
    Group,
    capped,
    fit_to_groups,
    fit_within,
    proportional,
)
from weights_pipeline.core.targets.rules import Rule
from weights_pipeline.core.targets.samples import Sample

Codes = npt.NDArray[np.int8]

BY_LIQUIDITY = "'s liquidity"
"""How the limit ends in words that liquidity is the cap of."""

MISSING, HEDGE = REASONS.index("missing"), REASONS.index("hedge")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of which more is better, as it is measured or shrunk.

    Parameters
    ----------
    name
        Which one.
    shrink
        Whether it is drawn towards the mean of all strategies, the more the larger its sampling error.
    """

    name: str
    shrink: bool = False

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_metric(self.name, key="name")
        if self.shrink and self.name not in VARIANCES:
            raise ValueError(f"shrink: the sampling error of {self.name} is not known, but of {', '.join(VARIANCES)}")


@dataclass(frozen=True, kw_only=True)
class GroupLimits:
    """Hard limits on what some strategies weigh together.

    Parameters
    ----------
    members
        Names of the strategies.
    floor
        Smallest sum of their weights, in the units of gross, whatever single limits are stated in.
    cap
        Largest sum; None where there is none.
    """

    members: tuple[str, ...]
    floor: float = 0.0
    cap: float | None = None

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"members: expected one strategy or more, each once, got {list(self.members)}")
        if not 0 <= self.floor <= (math.inf if self.cap is None else self.cap) or not math.isfinite(self.floor):
            raise ValueError(f"floor, cap: expected weights 0 <= floor <= cap, got {self.floor!r} and {self.cap!r}")
        if self.floor == 0 and self.cap is None:
            raise ValueError("floor, cap: expected a floor above 0, a cap, or both, got neither")


@dataclass(frozen=True, kw_only=True)
class MarginLimit:
    """Capital that a strategy can put to work until its margin is used up.

    Parameters
    ----------
    margin
        Most margin that it is given, in the currency of the account.
    rate
        Margin that a unit of capital at work asks for, such as 0.2.
    """

    margin: float
    rate: float

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not (0 < self.margin < math.inf and 0 < self.rate < math.inf):
            raise ValueError(
                f"margin, rate: expected an amount and a share of capital above 0, "
                f"got {self.margin!r} and {self.rate!r}"
            )

    @property
    def capital(self) -> float:
        """The capital that the margin is for."""
        return self.margin / self.rate


@dataclass(frozen=True, kw_only=True)
class LiquidityLimit:
    """Capital that a strategy can put to work until it trades so much of what usually trades in a symbol.

    The capital itself is known at a rebalance: ``participation`` times the liquid capital of the window, see
    :func:`~weights_pipeline.core.returns.liquidity.liquidity`. A participation cap is how capacity is usually
    estimated, as by QuantConnect's ``StrategyCapacity``.

    Parameters
    ----------
    participation
        Largest share of a symbol's usual volume, such as 0.05.
    """

    participation: float

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 < self.participation <= 1:
            raise ValueError(f"participation: expected a share of volume in (0, 1], got {self.participation!r}")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits on a weight.

    Parameters
    ----------
    floor
        Smallest weight: a multiple of base in [0, 1], or a weight of at least 0.
    cap
        Largest weight: a multiple of base of at least 1, or a weight above the floor.
    of
        What floor and cap are stated in: multiples of ``base``, or ``weight`` itself. A strategy without a base
        weight stays without weight either way.
    normalisation
        ``capped`` keeps both limits exactly. ``proportional`` scales all weights alike: floor and cap then
        bound the multipliers only, and weights may end outside those multiples of base.
    gross
        Whether weights add up to the book's gross ``exactly``, or ``at_most``: the rest then stays in cash.
    groups
        Limits on sums of weights by name of the group.
    capital
        What a weight of 1 is worth, in the currency of the account; needed for ``max_capital`` and read for it alone.
    max_capital
        Most capital that a strategy can put to work, by strategy, as an amount, by its margin, or by the liquidity of
        its symbols: its weight is at most that share of ``capital``, whatever its cap. What follows from liquidity is
        known at a rebalance alone: it is a cap of that date, which its floor gives way to, and what other caps and
        gross then leave over stays in cash.
    """

    floor: float = 0.5
    cap: float = 2.0
    of: Literal["base", "weight"] = "base"
    normalisation: Literal["capped", "proportional"] = "capped"
    gross: Literal["exactly", "at_most"] = "exactly"
    groups: Mapping[str, GroupLimits] = field(default_factory=dict)
    capital: float | None = None
    max_capital: Mapping[str, float | MarginLimit | LiquidityLimit] = field(default_factory=dict)

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.of not in ("base", "weight"):
            raise ValueError(f"of: expected base or weight, got {self.of!r}")
        if self.normalisation not in ("capped", "proportional"):
            raise ValueError(f"normalisation: expected capped or proportional, got {self.normalisation!r}")
        if self.gross not in ("exactly", "at_most"):
            raise ValueError(f"gross: expected exactly or at_most, got {self.gross!r}")
        if self.gross == "at_most" and self.normalisation != "capped":
            raise ValueError(f"gross: at_most is kept by capped only, got {self.normalisation!r}")
        if (self.groups or self.max_capital) and self.normalisation != "capped":
            key = "groups" if self.groups else "max_capital"
            raise ValueError(f"{key}: these limits are kept by capped only, got {self.normalisation!r}")
        if (self.capital is None) != (not self.max_capital):
            raise ValueError("capital, max_capital: expected both or neither; one is a share of the other")
        for key, amount in {
            "capital": self.capital,
            **{f"max_capital.{name}": amount for name, amount in self.capacities.items()},
        }.items():
            if amount is not None and not 0 < amount < math.inf:
                raise ValueError(f"{key}: expected an amount above 0, got {amount!r}")
        if self.participations and self.gross != "at_most":
            raise ValueError(
                f"max_capital: what liquidity allows {', '.join(self.participations)} is known at a rebalance alone, "
                f"and may be less than others can take over; expected gross: at_most"
            )
        if self.participations and (floors := sorted(name for name, of in self.groups.items() if of.floor > 0)):
            raise ValueError(
                f"groups.{floors[0]}.floor: cannot be promised where liquidity limits "
                f"{', '.join(self.participations)}; expected no floors of groups"
            )
        if self.of == "weight":
            if not 0 <= self.floor < self.cap < math.inf:
                raise ValueError(f"floor, cap: expected weights 0 <= floor < cap, got {self.floor!r} and {self.cap!r}")
            if self.normalisation != "capped":
                raise ValueError(f"normalisation: limits of weight are kept by capped only, got {self.normalisation!r}")
            return
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor: expected a multiple of base in [0, 1], got {self.floor!r}")
        if not 1 <= self.cap < math.inf:
            raise ValueError(f"cap: expected a finite multiple of base of at least 1, got {self.cap!r}")

    @property
    def capacities(self) -> dict[str, float]:
        """Most capital of each strategy that has such a limit of its own, in the currency of the account."""
        return {
            name: most.capital if isinstance(most, MarginLimit) else most
            for name, most in self.max_capital.items()
            if not isinstance(most, LiquidityLimit)
        }

    @property
    def participations(self) -> dict[str, float]:
        """Largest share of a symbol's usual volume, of each strategy that liquidity limits."""
        limits = sorted(self.max_capital.items())
        return {name: most.participation for name, most in limits if isinstance(most, LiquidityLimit)}

    def liquid(self, strategies: Sequence[str], liquid_capital: Floats) -> Floats:
        """Largest weights by liquidity, shape (n,); infinite where there is no such limit, or nothing known.

        Parameters
        ----------
        strategies
            Names, n of them.
        liquid_capital
            Capital at which they would trade all of a symbol's usual volume, shape (n,); NaN where that is not known.
        """
        share = np.array([self.participations.get(name, math.nan) for name in strategies])
        most = share * liquid_capital / (self.capital or math.nan)
        return np.where(np.isnan(most), np.inf, most)

    def slack(self, gross: float) -> float:
        """How far below a book's gross its weights may stay."""
        return gross if self.gross == "at_most" else 0.0

    def grouped(self, strategies: Sequence[str]) -> tuple[Group, ...]:
        """Groups over strategies in this order, the smallest first, so that a group comes after all within it.

        A strategy whose capital is limited is a group of its own.

        Raises
        ------
        ValueError
            A member is none of the strategies.
        """
        place = {name: at for at, name in enumerate(strategies)}
        found = []
        for name, amount in sorted(self.capacities.items()):
            if name not in place:
                raise ValueError(f"limits.max_capital: {name} is no strategy of the book")
            share = amount / (self.capital or math.nan)
            found.append(Group(f"{name}'s capacity", np.array([place[name]], dtype=np.intp), 0.0, share))
        for name, group in sorted(self.groups.items(), key=lambda item: (len(item[1].members), item[0])):
            if unknown := sorted(set(group.members) - set(place)):
                raise ValueError(f"limits.groups.{name}.members: {unknown} are not strategies of the book")
            members = np.array(sorted(place[member] for member in group.members), dtype=np.intp)
            found.append(Group(name, members, group.floor, math.inf if group.cap is None else group.cap))
        return tuple(found)

    def bounds(self, base: Floats, gross: float) -> tuple[Floats, Floats]:
        """Limits that weights are promised to keep, as weights.

        Parameters
        ----------
        base
            Base weights, shape (n,).
        gross
            What all weights add up to.

        Returns
        -------
        lower, upper : ndarray, shape (n,)
            ``floor * base`` and ``cap * base``, or floor and cap themselves where base is above 0; 0 and gross under
            ``proportional``, which promises no more.
        """
        if self.normalisation == "proportional":
            return np.zeros_like(base), np.full_like(base, gross)
        if self.of == "base":
            return self.floor * base, self.cap * base
        funded = base > 0
        return np.where(funded, self.floor, 0.0), np.where(funded, self.cap, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossSection:
    """What a method may read of one date.

    Attributes
    ----------
    strategies
        Names, n of them, sorted.
    base
        Base weights, shape (n,), non-negative, adding up to ``gross``.
    gross
        What weights add up to.
    values
        Metrics by name without window, each of shape (n,); NaN is null.
    reasons
        Why each is null: codes into ``REASONS``, 0 where measured.
    liquid
        Largest weights by liquidity, shape (n,); None where it limits nothing.
    as_of
        The date; None where a method is asked that depends on none.
    sample
        Returns of the window, for a method that reads them; None for all others.
    held, fees
        Weights before the rebalance, and the cost of trading one unit of each, shape (n,), for a method that counts
        costs; None for all others.
    """

    strategies: tuple[str, ...]
    base: Floats
    gross: float
    values: Mapping[str, Floats]
    reasons: Mapping[str, Codes]
    liquid: Floats | None = None
    as_of: pd.Timestamp | None = None
    sample: Sample | None = None
    held: Floats | None = None
    fees: Floats | None = None

    @classmethod
    def of(
        cls,
        base: Mapping[str, float] | pd.Series,
        values: Mapping[str, pd.Series],
        reasons: Mapping[str, pd.Series],
        gross: float = 1.0,
    ) -> Self:
        """Align metrics by name of strategy.

        Parameters
        ----------
        base
            Base weights by strategy.
        values, reasons
            By metric: value and reason by strategy. Strategies outside ``base`` are left aside; one that is missing
            counts as null with the reason ``missing``.
        gross
            What the weights add up to.

        Raises
        ------
        ValueError
            No strategies, duplicates, an infinite metric, an unknown reason, or base weights that do not add up to
            gross.
        """
        weights = base if isinstance(base, pd.Series) else pd.Series(dict(base), dtype=np.float64)
        for name, series in {"base": weights, **values, **reasons}.items():
            if series.index.has_duplicates:
                raise ValueError(f"{name}: duplicate strategies {sorted(series.index[series.index.duplicated()])}")
        weights = weights.sort_index()
        if weights.empty:
            raise ValueError("base: expected at least one strategy, got none")
        budget = np.asarray(weights, dtype=np.float64)
        require_budget(budget, gross)
        aligned, codes = dict[str, Floats](), dict[str, Codes]()
        for name, series in values.items():
            metric = np.asarray(series.reindex(weights.index), dtype=np.float64)
            if np.isinf(metric).any():
                raise ValueError(f"{name}: infinite metric of {list(weights.index[np.isinf(metric)])}, expected a null")
            given = reasons.get(name, pd.Series(dtype="str")).reindex(weights.index).fillna("")
            null = np.isnan(metric)
            words = [(word or "missing") if absent else "" for word, absent in zip(given, null, strict=True)]
            aligned[name] = metric
            codes[name] = np.array([reason_code(word) for word in words], dtype=np.int8)
        return cls(strategies=tuple(weights.index), base=budget, gross=gross, values=aligned, reasons=codes)

    def without(self, hedges: npt.NDArray[np.bool_]) -> Self:
        """The same with no metric of hedges, shape (n,): what they have earned tilts nothing."""
        if not hedges.any():
            return self
        return replace(
            self,
            values={name: np.where(hedges, np.nan, values) for name, values in self.values.items()},
            reasons={name: np.where(hedges, np.int8(HEDGE), codes) for name, codes in self.reasons.items()},
        )

    def read(self, metrics: tuple[str, ...]) -> Codes:
        """Reason why any of some metrics is null, by strategy: that of the first one; 0 where all are measured."""
        found = np.zeros(len(self.base), dtype=np.int8)
        for name in reversed(metrics):
            found = np.where(np.isnan(self.values[name]), self.reasons[name], found)
        return found.astype(np.int8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Multipliers:
    """Multipliers of base weights, with how each came about; arrays of shape (n,).

    Attributes
    ----------
    metric
        The metric shown; NaN where it could not be measured.
    reason
        Why it is null: code into ``REASONS``.
    score
        The number that the multiplier is a function of; NaN where there is none.
    raw
        Multipliers before clipping; NaN where the formula has no value and a rule decides.
    value
        Multipliers to use, finite and non-negative.
    rule
        How each came about: code of a :class:`~weights_pipeline.core.targets.rules.Rule`.
    formula
        From score to raw multiplier, with the figures of this date.
    """

    metric: Floats
    reason: Codes
    score: Floats
    raw: Floats
    value: Floats
    rule: Codes
    formula: str


class Method(Protocol):
    """A weighting method: a frozen dataclass of parameters that maps metrics to multipliers.

    Methods are pure and do not depend on the order of strategies. Of two measured strategies the one with the
    better metric never gets the smaller multiplier of a tilt, nor the smaller weight of a method that sets weights
    whatever their base.
    """

    clips_to_limits: ClassVar[bool]
    """Whether multipliers are clipped to floor and cap as multiples of base."""

    @property
    def kind(self) -> str:
        """Name of the method, as books spell it."""

    @property
    def optimises(self) -> bool:
        """Whether it reads the returns of the window rather than metrics alone."""

    @property
    def metric(self) -> str | Metric:
        """The metric shown beside weights, such as ``calmar``; empty where none is read."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Every metric it reads."""

    @property
    def lookback(self) -> str | Mapping[str, str]:
        """Window of its metrics, such as ``12m`` or ``90d``; or one per risk regime."""

    def multipliers(self, section: CrossSection, limits: Limits) -> Multipliers:
        """Map metrics to multipliers.

        Parameters
        ----------
        section
            Base weights and metrics of one date.
        limits
            Floor and cap on a multiplier.

        Returns
        -------
        Multipliers
            1.0 for a null, unless the method has a rule for its reason.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Target weights of one date; arrays of shape (n,).

    Attributes
    ----------
    tilt
        The multipliers they follow from.
    target
        Weights, adding up to gross inside the limits.
    scale
        The common factor c; 1.0 where every multiplier is zero, and the targets are the base weights. Where limits of
        a group hold, the factor of each strategy, shape (n,).
    lower, upper
        The limits promised, as weights.
    liquid
        Where liquidity is what the upper limit follows from, shape (n,); None where it limits nothing.
    slack
        How far below gross the weights may stay.
    held
        Which limit of which group holds each target; None without groups.
    """

    tilt: Multipliers
    target: Floats
    scale: float | Floats
    lower: Floats
    upper: Floats
    slack: float
    liquid: npt.NDArray[np.bool_] | None = None
    held: npt.NDArray[np.str_] | None = None


def targets_frame(targets: Sequence[Targets], strategies: Sequence[str], base: Floats) -> pd.DataFrame:
    """Targets of one or more dates as rows: the columns of target weights but for the date and the metric's name.

    Parameters
    ----------
    targets
        Date by date, over the same strategies.
    strategies, base
        Names and base weights, in the order of the arrays.

    Returns
    -------
    DataFrame
        Date by date, strategy by strategy: ``strategy``, ``base``, ``metric_value``, ``reason``, ``score``,
        ``formula``, ``raw_multiplier``, ``multiplier``, ``note``, ``scale``, ``target``, ``lower``, ``upper``,
        ``slack`` and ``bound`` (``floor`` or ``cap`` where that limit holds the target, ``cap of NAME's liquidity``
        where the cap follows from that, ``cap of GROUP`` where that of a group does, otherwise empty).
    """
    dates, n = len(targets), len(base)

    def stacked(part: Callable[[Targets], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([part(each) for each in targets])

    reason, rule = stacked(lambda t: t.tilt.reason), stacked(lambda t: t.tilt.rule)
    target, lower, upper = stacked(lambda t: t.target), stacked(lambda t: t.lower), stacked(lambda t: t.upper)
    weight = np.tile(base, dates)
    bound = np.select([weight == 0, target >= upper, target <= lower], [0, 2, 1], default=0)
    bounds = ["", "floor", "cap"]
    if any(t.liquid is not None for t in targets):
        by_liquidity = stacked(lambda t: np.zeros(n, dtype=np.bool_) if t.liquid is None else t.liquid)
        bound = np.where((bound == 2) & by_liquidity, len(bounds) + np.tile(np.arange(n), dates), bound)
        bounds += [f"cap of {name}{BY_LIQUIDITY}" for name in strategies]
    if any(t.held is not None for t in targets):
        names, group = np.unique(stacked(lambda t: np.full(n, "") if t.held is None else t.held), return_inverse=True)
        bound = np.where((bound == 0) & (weight > 0) & (names[group] != ""), len(bounds) + group, bound)
        bounds += names.tolist()
    notes = [*(each.note for each in Rule), *(f"{Rule.NULL.note}: {reason}" for reason in REASONS)]
    words = np.where(rule == Rule.NULL, len(Rule) + reason, rule)
    return pd.DataFrame(
        {
            "strategy": texts(strategies, np.tile(np.arange(n), dates)),
            "base": weight,
            "metric_value": stacked(lambda t: t.tilt.metric),
            "reason": texts(REASONS, reason),
            "score": stacked(lambda t: t.tilt.score),
            "formula": texts([t.tilt.formula for t in targets], np.repeat(np.arange(dates), n)),
            "raw_multiplier": stacked(lambda t: t.tilt.raw),
            "multiplier": stacked(lambda t: t.tilt.value),
            "note": texts(notes, words),
            "scale": stacked(lambda t: np.broadcast_to(t.scale, n)),
            "target": target,
            "lower": lower,
            "upper": upper,
            "slack": np.repeat([t.slack for t in targets], n),
            "bound": texts(bounds, bound),
        }
    )


def target_weights(method: Method, section: CrossSection, limits: Limits) -> Targets:
    r"""Target weights of one rebalance: :math:`b_i m_i`, brought to gross inside the limits.

    Limits that ask for gross at most leave a smaller sum as it is. Otherwise, where the multipliers of all strategies
    with a base weight are equal, and the base weights keep the limits, the targets are the base weights, bit for bit.
    That holds for zeros too, as the limit of equally small multipliers.

    Parameters
    ----------
    method
        The weighting method.
    section
        Base weights and metrics of one date.
    limits
        Floor, cap and normalisation.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        Multipliers that cannot be normalised.
    """
    base, gross = section.base, section.gross
    tilt = method.multipliers(section, limits)
    lower, upper = limits.bounds(base, gross)
    slack, liquid = limits.slack(gross), None
    if section.liquid is not None:
        liquid = section.liquid < upper
        upper = np.minimum(upper, section.liquid)
        lower = np.minimum(lower, upper)
    common = float(tilt.value[base.argmax()])
    scale: float
    groups = limits.grouped(section.strategies)
    # Base weights keep the limits of groups: a policy is not valid otherwise.
    if not slack and (tilt.value == common)[base > 0].all() and ((base >= lower) & (base <= upper)).all():
        target, scale = base.copy(), 1 / common if common > 0 else 1.0
    elif groups:
        fitted = fit_to_groups(base * tilt.value, lower, upper, groups, gross=gross, slack=slack)
        return Targets(
            tilt=tilt,
            target=fitted.weights,
            scale=fitted.scale,
            lower=lower,
            upper=upper,
            slack=slack,
            liquid=liquid,
            held=fitted.held,
        )
    elif limits.normalisation == "proportional":
        target, scale = proportional(base, tilt.value, gross=gross)
        # One strategy may hold all of gross; rounding in the scale may not lift it above.
        target = np.minimum(target, upper)
    elif limits.of == "base" and not slack:
        target, scale = capped(base, tilt.value, floor=limits.floor, cap=limits.cap, gross=gross)
    else:
        target, scale = fit_within(base * tilt.value, lower, upper, gross=gross, slack=slack)
    return Targets(tilt=tilt, target=target, scale=scale, lower=lower, upper=upper, slack=slack, liquid=liquid)


def shares_as_multipliers(section: CrossSection, null: npt.NDArray[np.bool_], shares: Floats) -> Floats:
    r"""Multipliers that give the measured strategies shares of what they hold together at base.

    :math:`m_i = s_i\,B / b_i` with :math:`B` as in :func:`shared_budget`; a null keeps its base weight (1.0), and a
    strategy without a base weight stays without (1.0 as well: it multiplies zero).

    Parameters
    ----------
    section
        Base weights of the date.
    null
        Strategies without a score or without a base weight, shape (n,).
    shares
        Shares of the measured, adding up to 1; shape (n,), not read where ``null``.
    """
    multipliers = np.ones_like(section.base)
    multipliers[~null] = shares[~null] * shared_budget(section, null) / section.base[~null]
    return multipliers


def shared_budget(section: CrossSection, null: npt.NDArray[np.bool_]) -> float:
    r"""What the measured strategies hold together at base: :math:`B = \sum_{\text{measured}} b`.

    Their own sum and not gross less that of the others, which rounding in the printed base weights can turn negative.
    """
    return math.fsum(section.base[~null])


def reason_code(reason: str) -> int:
    """Code of a reason.

    Raises
    ------
    ValueError
        It is not one of ``REASONS``.
    """
    try:
        return REASONS.index(reason)
    except ValueError:
        raise ValueError(f"reason: expected one of {', '.join(REASONS[1:])}, got {reason!r}") from None


def require_metric(metric: str, *, key: str = "metric") -> None:
    """Refuse a metric that does not exist, or of which less is better."""
    if metric not in METRICS:
        raise ValueError(f"{key}: expected one of {', '.join(sorted(METRICS))}, got {metric!r}")
    if metric in LESS_IS_BETTER:
        raise ValueError(f"{key}: of {metric} less is better; expected a metric of which more is")


def require_budget(base: Floats, gross: float) -> None:
    """Refuse base weights that are negative, not finite, or do not add up to gross."""
    if not (np.isfinite(base) & (base >= 0)).all():
        raise ValueError(f"base: expected finite weights of at least 0, got {base.tolist()}")
    total = math.fsum(base)
    if not abs(total - gross) <= GROSS_TOLERANCE * gross:
        raise ValueError(f"base: weights add up to {total:.12g}, expected gross {gross:.12g}")
