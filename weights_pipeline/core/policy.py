"""The policy of a book: everything that formulas need to know of it, validated as a whole.

Scope: what a book means to the science, free of files and schedules. Not here: how a policy is spelled in YAML, and
what a book says of its owner, account and cadence (``books``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from weights_pipeline.core.allocator.hedges import Hedges, Hedging
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL, METRICS, MetricParameters
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.targets.methods.base import Limits, Method, require_budget
from weights_pipeline.core.targets.methods.skfolio import Skfolio
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats, Group


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One capital-allocation policy over one set of strategies.

    Parameters
    ----------
    base
        Base weight by strategy, non-negative, adding up to ``gross``, inside the limits.
    gross
        What unscaled weights add up to; the most that they do where the limits ask for gross at most.
    method
        From metrics to multipliers of base weights.
    limits
        Floor, cap, normalisation, and limits of groups.
    rate
        Share of the gap to target closed in one rebalance, in (0, 1]; one number, or one for each risk regime.
    aim
        Share of the way from base to target at which the steps aim, in (0, 1]; see
        :func:`~weights_pipeline.core.realized.speed.optimal_speed`.
    turnover_cap
        Largest one-way turnover ½·Σ|w − w_old| of one rebalance: a step that would go further is shortened. One
        number, or one for each risk regime; None where there is no cap.
    band
        How far weights may be from their targets before they are traded; None where they always are.
    metrics
        Risk-free rate and null thresholds.
    overlay
        The allocator; None where the book has none.
    ensemble
        Whether one weight set is kept per market regime.
    starter
        Figures from before a strategy was live, by strategy.
    frequency
        How often the returns that it reads are observed.
    costs
        What trading and borrowing cost; None where the book does not say it. Weights depend on them where the method
        counts them, and on nothing but their fees.

    Raises
    ------
    ValueError
        Parts that contradict each other, or that do not exist; the message begins with the key.
    """

    base: Mapping[str, float]
    method: Method
    gross: float = 1.0
    limits: Limits = field(default_factory=Limits)
    rate: float | Mapping[str, float] = 1.0
    aim: float = 1.0
    turnover_cap: float | Mapping[str, float] | None = None
    band: Band | None = None
    metrics: MetricParameters = field(default_factory=MetricParameters)
    overlay: AllocatorParameters | None = None
    ensemble: bool = False
    starter: Mapping[str, StarterMetrics] = field(default_factory=dict)
    frequency: Frequency = DAILY
    costs: Costs | None = None

    def __post_init__(self) -> None:
        for key, rate in _by_key("rate", self.rate).items():
            if not 0 < rate <= 1:
                raise ValueError(f"{key}: expected a share of the gap in (0, 1], got {rate!r}")
        if not 0 < self.aim <= 1:
            raise ValueError(f"aim: expected a share of the way to target in (0, 1], got {self.aim!r}")
        for key, cap in _by_key("turnover_cap", self.turnover_cap).items():
            if not 0 < cap < math.inf:
                raise ValueError(f"{key}: expected a positive one-way turnover, got {cap!r}")
        if self.paced_by_regime and self.overlay is None:
            key = "rate" if isinstance(self.rate, Mapping) else "turnover_cap"
            raise ValueError(f"{key}: one number per risk regime needs an overlay, whose thresholds tell regimes apart")
        if not (0 < self.gross < math.inf):
            raise ValueError(f"gross: expected a positive number, got {self.gross!r}")
        if not self.base:
            raise ValueError("strategies: expected at least one, got none")
        require_budget(self.weights, self.gross)
        lower, upper = self.limits.bounds(self.weights, self.gross)
        slack = GROSS_TOLERANCE * self.gross
        outside = (self.weights < lower - slack) | (self.weights > upper + slack)
        if outside.any():
            names = [name for name, out in zip(self.strategies, outside, strict=True) if out]
            raise ValueError(f"limits: base weights of {names} lie outside floor and cap; a book starts from them")
        for name, most in sorted(self.limits.capacities.items()):
            needed = self.base.get(name, 0.0) * (self.limits.capital or math.nan)
            if needed > most * (1 + GROSS_TOLERANCE):
                raise ValueError(
                    f"limits.max_capital.{name}: {most:.12g} is less than its base weight takes of the capital; a book "
                    f"starts from that. {needed:.12g} would do, or a smaller base weight"
                )
        if unknown := sorted(set(self.limits.participations) - set(self.base)):
            raise ValueError(f"limits.max_capital: {', '.join(unknown)} is no strategy of the book")
        if self.limits.participations and self.ensemble:
            raise ValueError(
                "limits.max_capital: an ensemble reads weight sets of other dates; expected no limit by liquidity"
            )
        # Base weights keep every limit, so the limits leave weights that do.
        for group in self.groups:
            if not group.keeps(self.weights, slack):
                total = math.fsum(self.weights[group.members])
                side, limit = ("above its cap", group.cap) if total > group.cap else ("below its floor", group.floor)
                raise ValueError(
                    f"limits.groups.{group.name}: base weights of its members add up to {total:.12g}, {side} of "
                    f"{limit:.12g}; a book starts from them. A {side.split()[-1]} of {total:.12g} would do, or base "
                    f"weights that differ by {abs(total - limit):.12g}"
                )
        if self.method.clips_to_limits and self.limits.of != "base":
            raise ValueError(
                f"limits: method {self.method.kind} clips multiples of base weights; expected limits of base, "
                f"got limits of {self.limits.of}"
            )
        if unknown := sorted(set(self.method.reads) - set(METRICS)):
            raise ValueError(f"method: metrics {unknown} do not exist; expected some of {', '.join(sorted(METRICS))}")
        if unknown := sorted(set(self.starter) - set(self.base)):
            raise ValueError(f"starter_metrics: strategies {unknown} are not in the book")
        if self.method.optimises and self.ensemble:
            raise ValueError(
                f"method: an ensemble reads metrics, not returns; expected no optimiser and no shrunk metric, "
                f"got {self.method.kind}"
            )
        overlay = self.overlay or AllocatorParameters()
        if unknown := sorted(set(overlay.sleeves) - set(self.base)):
            raise ValueError(f"overlay.sleeves: strategies {unknown} are not in the book")
        if unknown := sorted(set(overlay.sleeve_maps) - set(map(overlay.sleeve, self.base))):
            raise ValueError(f"overlay.sleeve_maps: {unknown} are no sleeves of the book, named or a strategy's own")
        if overlay.hedges:
            self._check_hedges(overlay.hedges)
        if not isinstance(self.method.lookback, str) and set(self.method.lookback) != set(REGIMES):
            raise ValueError(
                f"method.lookback: expected one window, or one for each of {', '.join(REGIMES)}, "
                f"got {dict(self.method.lookback)}"
            )
        if self.adaptive and self.ensemble:
            raise ValueError("method.lookback: an ensemble has one window; expected no window per risk regime")
        if self.adaptive and self.method.optimises:
            raise ValueError("method.lookback: a shrunk metric has one window; expected no window per risk regime")
        if self.costs is not None:
            try:
                self.costs.require_known(self.strategies)
            except ValueError as error:
                raise ValueError(f"costs.{error}") from None
        if self.counts_costs and self.costs is None:
            raise ValueError("method.cost_horizon: expected the book to name its costs, it names none")
        if self.counts_costs and not (self.rate == self.aim == 1 and self.band is None and self.turnover_cap is None):
            raise ValueError(
                "adjustment: a method that counts costs chooses what is traded; expected a rate of 1, without band and "
                "turnover_cap"
            )
        if overlay.leverage > 1 and self.limits.gross == "at_most":
            raise ValueError(
                f"overlay.volatility_target.cap: expected 1 where weights add up to gross at most, got "
                f"{overlay.leverage:g}; or let limits.gross be exactly, so that final weights may add up to gross × cap"
            )
        daily = {"overlay": self.overlay, "ensemble": self.ensemble, "method.lookback per risk regime": self.adaptive}
        if self.frequency.monthly and (asked := [key for key, value in daily.items() if value]):
            raise ValueError(f"{asked[0]}: counts sessions, of which returns by month have none; expected no such key")

    def _check_hedges(self, hedges: Hedges) -> None:
        key = "overlay.hedges"
        if unknown := sorted(set(hedges.strategies) - set(self.base)):
            raise ValueError(
                f"{key}.strategies: {unknown} are not in the book; add them to its strategies, with a base weight of 0"
            )
        if held := [name for name in hedges.strategies if self.base[name] > 0]:
            raise ValueError(
                f"{key}.strategies: {held} have base weights; a hedge carries weight in its regimes alone: give it 0, "
                f"and its base weight to others"
            )
        limits = [("gross and overlay.hedges.cap leave", hedges.cap * self.gross)]
        for limit in self.hedging.limits if self.hedging else ():
            own = [hedges.share(self.strategies[at]) for at in limit.members]
            limits += [(f"the cap of {limit.name} leaves", limit.cap / math.fsum(own))] if any(own) else []
        if unlimited := [name for name in hedges.strategies if name in self.limits.participations]:
            raise ValueError(
                f"limits.max_capital: {', '.join(unlimited)} carries weight as a hedge alone, which is known after "
                f"liquidity has been looked at; expected an amount or a margin"
            )
        by, most = min(limits, key=lambda limit: limit[1])
        if hedges.weight > most * (1 + GROSS_TOLERANCE):
            raise ValueError(
                f"{key}.weight: {hedges.weight:.12g} can never be reached, {by} at most {most:.12g}; that would do"
            )

    @cached_property
    def are_hedges(self) -> npt.NDArray[np.bool_]:
        """Which strategies are hedges, shape (n,)."""
        hedges = self.overlay.hedging if self.overlay else ()
        return np.array([name in hedges for name in self.strategies])

    @cached_property
    def hedging(self) -> Hedging | None:
        """What hedges come to over the strategies; None where the book has none."""
        hedges = self.overlay.hedges if self.overlay else None
        if hedges is None:
            return None
        shares = np.array([hedges.share(name) for name in self.strategies])
        alone = [Group(self.strategies[at], np.array([at]), 0.0, self.limits.cap) for at in np.flatnonzero(shares)]
        # Of a base weight of 0, multiples say nothing.
        single = alone if self.limits.of == "weight" else []
        return Hedging(hedges, self.strategies, shares, (*single, *self.groups), self.gross)

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """Names, sorted; the order of every array."""
        return tuple(sorted(self.base))

    @cached_property
    def weights(self) -> Floats:
        """Base weights in the order of ``strategies``."""
        return np.array([self.base[name] for name in self.strategies], dtype=np.float64)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups whose weights have limits together, each after all that lie within it."""
        return self.limits.grouped(self.strategies)

    @cached_property
    def lookbacks(self) -> Mapping[str, Lookback]:
        """Window of the metrics by risk regime; the same one four times where the book names one."""
        given = self.method.lookback
        by_regime = dict.fromkeys(REGIMES, given) if isinstance(given, str) else given
        return {regime: Lookback.parse(by_regime[regime]) for regime in REGIMES}

    def aimed(self, base: Floats, target: Floats, lower: Floats, upper: Floats) -> Floats:
        """What steps go towards, shape (n,): targets, or a part of the way to them from base; keeps all limits."""
        return target if self.aim == 1 else np.clip(base + self.aim * (target - base), lower, upper)

    @property
    def counts_costs(self) -> bool:
        """Whether targets depend on the weights held and on what trading costs."""
        return isinstance(self.method, Skfolio) and self.method.cost_horizon is not None

    def label(self, lookback: str) -> str:
        """Label of the metric that is shown beside weights, over a lookback such as ``12m``."""
        metric = self.method.metric
        return metric_label(metric if isinstance(metric, str) else metric.name, lookback)

    @property
    def reads(self) -> tuple[str, ...]:
        """Every metric that targets depend on: those of the method, and what liquidity allows where that limits."""
        own = self.method.reads
        return own if not self.limits.participations or LIQUID_CAPITAL in own else (*own, LIQUID_CAPITAL)

    def liquid(self, values: Mapping[str, Floats]) -> Floats | None:
        """Largest weights by liquidity, shape (n,), from metrics of one date; None where it limits nothing."""
        limits = self.limits
        return limits.liquid(self.strategies, values[LIQUID_CAPITAL]) if limits.participations else None

    @property
    def slack(self) -> float:
        """How far below gross weights may stay."""
        return self.limits.slack(self.gross)

    @property
    def max_gross(self) -> float:
        """Most that final weights may add up to."""
        return self.gross * self.overlay.leverage if self.overlay else self.gross

    @property
    def paced_by_regime(self) -> bool:
        """Whether the rate or the turnover cap depends on the risk regime."""
        return isinstance(self.rate, Mapping) or isinstance(self.turnover_cap, Mapping)

    def pace(self, regime: str = REGIMES[0]) -> tuple[float, float | None]:
        """Rate and turnover cap of a rebalance in a risk regime; any regime where there is one of each for all."""
        rate, cap = self.rate, self.turnover_cap
        return rate[regime] if isinstance(rate, Mapping) else rate, cap[regime] if isinstance(cap, Mapping) else cap

    @property
    def adaptive(self) -> bool:
        """Whether the window depends on the risk regime."""
        return len(set(self.lookbacks.values())) > 1

    @property
    def longest_lookback(self) -> Lookback:
        """The window that reaches back furthest."""
        return max(self.lookbacks.values(), key=lambda lookback: lookback.expected(self.frequency))


def _by_key(key: str, value: float | Mapping[str, float] | None) -> dict[str, float]:
    """Numbers of a parameter by the key that an error names; of one number per risk regime, all four."""
    if not isinstance(value, Mapping):
        return {} if value is None else {key: value}
    if set(value) != set(REGIMES):
        raise ValueError(f"{key}: expected one number, or one for each of {', '.join(REGIMES)}, got {dict(value)}")
    return {f"{key}.{regime}": value[regime] for regime in REGIMES}
