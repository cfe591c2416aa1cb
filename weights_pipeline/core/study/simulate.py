"""Simulation: the whole history of a policy in memory, or of many policies over one history.

Scope: the array forms of the steps of ``core.chain``, and what many policies share of them. Not here: formulas (those
of the neighbours are called), files, stores, schedules, and a search for the best policy: a grid that is read for its
best point has been fitted to its history.

The results are those of ``chain``, bit for bit; what differs is that no table is made on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import funded, wanted
from weights_pipeline.core.allocator.overlay import scalars_in_force, scalars_on
from weights_pipeline.core.allocator.regime import FEATURES, classify
from weights_pipeline.core.allocator.regime_walk import RegimeWalk
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters, risk_scalar
from weights_pipeline.core.allocator.state import WARM_UP, component_correlations, required_features
from weights_pipeline.core.allocator.volatility import volatility_scalars
from weights_pipeline.core.chain import metric_grids, scalar_table, state_of, targets_in_turn, with_samples
from weights_pipeline.core.ensembles import ALL, WEIGHT_SETS, choose, current_regime, is_active, sections_of
from weights_pipeline.core.metrics.table import MetricGrid, metrics_grid
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.returns.sessions import sessions_after
from weights_pipeline.core.targets.methods.base import CrossSection, Method, Targets, targets_frame
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.normalise import Floats

Result = TypeVar("Result")

KEPT = 8
"""Results of a step that are kept for the policies that follow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """The history of one policy: A rebalances of S strategies.

    Attributes
    ----------
    policy : Policy
    history : ReturnHistory
        What it was run on.
    as_of, effective_from : DatetimeIndex, shape (A,)
        Last session whose data a rebalance reads, and first session at its weights.
    strategies : tuple of str, length S
        Sorted; the columns of all arrays.
    values : mapping of str to ndarray, shape (A, S)
        Metrics the method reads, by name; NaN where null. Of an ensemble, those of the weight set read.
    multiplier, target : ndarray, shape (A, S)
        Multipliers of base weights, and the target weights that follow.
    previous, realized : ndarray, shape (A, S)
        Weights a step starts from and ends with; unscaled.
    rate : ndarray, shape (A, S)
        Share of the gap closed: that of the policy, shortened where its turnover cap or its no-trade band holds.
    paced_by : tuple of str, length A
        Risk regime that chose rate and turnover cap; empty where the policy has one of each for all.
    scalar : ndarray, shape (A,)
        Risk scalar of the book at each rebalance; NaN without overlay, and where a disabled one has a gap.
    scalar_session : DatetimeIndex, shape (A,)
        Session of that scalar; NaT where there is none.
    strategy_scalar : ndarray, shape (A, S)
        Risk scalar of each strategy: that of its sleeve where the sleeve has a map of its own, else that of the book.
    volatility_scalar : ndarray, shape (A,)
        Scalar of the volatility target at each rebalance; NaN without one.
    funding : ndarray, shape (A,)
        Factor that hedges leave of the scaled weights; NaN without hedges.
    hedge : ndarray, shape (A, S)
        What each strategy carries as a hedge; NaN without hedges.
    scaled : ndarray, shape (A, S)
        realized × scalars, with the hedges among them; NaN without overlay.
    final : ndarray, shape (A, S)
        Weights to trade from a rebalance on: the scaled ones under an enabled overlay, else the realized ones.
    turnover : ndarray, shape (A,)
        One-way turnover ½·Σ|realized − previous|.
    unscaled, traded : Series, shape (sessions,)
        Daily returns at the realized and at the final weights in force, from the first effective session on (but not
        before any strategy is live) to the end of the history; a strategy not live earns 0, and so does cash. Under an
        overlay that is applied daily, the weights of each session have its own scalar.
    regimes, scalars : DataFrame, or None without overlay
        Risk regime and risk scalar of the book, by session; see
        :func:`~weights_pipeline.core.allocator.regime.classify` and
        :func:`~weights_pipeline.core.allocator.scalar.risk_scalar`.
    targeted : DataFrame or None
        Volatility of the book and scalar of its volatility target, by session; see
        :func:`~weights_pipeline.core.allocator.volatility.volatility_scalars`. None without a target.
    targets : tuple of Targets, length A
        How each target came about.
    metric, weight_set : tuple of str, length A
        Label of the metric shown, such as ``calmar_12m``, and the weight set read; empty where there is none.
    """

    policy: Policy
    history: ReturnHistory
    as_of: pd.DatetimeIndex
    effective_from: pd.DatetimeIndex
    strategies: tuple[str, ...]
    values: Mapping[str, Floats]
    multiplier: Floats
    target: Floats
    previous: Floats
    realized: Floats
    rate: Floats
    paced_by: tuple[str, ...]
    scalar: Floats
    scalar_session: pd.DatetimeIndex
    strategy_scalar: Floats
    volatility_scalar: Floats
    funding: Floats
    hedge: Floats
    scaled: Floats
    final: Floats
    turnover: Floats
    unscaled: pd.Series
    traded: pd.Series
    regimes: pd.DataFrame | None
    scalars: pd.DataFrame | None
    targeted: pd.DataFrame | None
    targets: tuple[Targets, ...]
    metric: tuple[str, ...]
    weight_set: tuple[str, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables of the chain, as :mod:`~weights_pipeline.core.chain` makes them of the same inputs.

        Returns
        -------
        dict of str to DataFrame
            Those of :meth:`weights`; with an overlay also ``allocator_state``, ``risk_regime`` and ``risk_scalar``.
        """
        tables, overlay = self.weights(), self.policy.overlay
        if overlay is None or self.regimes is None:
            return tables
        weights = pd.DataFrame(self.realized, index=self.effective_from, columns=list(self.strategies))
        history = self.history
        returns = pd.DataFrame(history.returns, index=history.sessions, columns=list(history.strategies))
        regimes = self.regimes.rename_axis("session").reset_index()
        return tables | {
            "allocator_state": state_of(weights, returns.dropna(how="all"), overlay, self.policy.frequency),
            "risk_regime": regimes,
            "risk_scalar": scalar_table(regimes, overlay, self.targeted),
        }

    def weights(self) -> dict[str, pd.DataFrame]:
        """Tables of weights alone: ``target_weights``, ``realized_weights``, ``final_weights``.

        As :meth:`tables` gives them; ``next_rebalance`` is not among their columns.
        """
        n, overlay = len(self.strategies), self.policy.overlay
        date = np.repeat(np.arange(len(self.as_of)), n)
        targets = targets_frame(self.targets, self.strategies, self.policy.weights).assign(
            as_of=self.as_of[date], metric=texts(self.metric, date), weight_set=texts(self.weight_set, date)
        )
        realized = targets[["as_of", "strategy", "base", "target", "lower", "upper", "slack"]].assign(
            target=self.policy.aimed(*(targets[name].to_numpy() for name in ("base", "target", "lower", "upper"))),
            previous=self.previous.ravel(),
            rate=self.rate.ravel(),
            regime=texts(self.paced_by, date),
            realized=self.realized.ravel(),
            entered=False,
            effective_from=self.effective_from[date],
        )
        final = realized[["as_of", "effective_from", "strategy", "realized"]].assign(
            scalar=self.strategy_scalar.ravel(),
            scalar_session=self.scalar_session[date],
            regime="",
            volatility=np.nan,
            volatility_scalar=self.volatility_scalar[date],
            funding=self.funding[date],
            hedge=self.hedge.ravel(),
            scaled=self.scaled.ravel(),
            applied=overlay is not None and overlay.enabled,
            final=self.final.ravel(),
        )
        if overlay is not None and self.regimes is not None:
            final["regime"] = self.regimes["regime"].reindex(self.scalar_session).fillna("").to_numpy()[date]
            if self.targeted is not None:
                final["volatility"] = self.targeted["volatility"].reindex(self.scalar_session).to_numpy()[date]
        return {"target_weights": targets, "realized_weights": realized, "final_weights": final}


def simulate(
    history: ReturnHistory,
    as_of: pd.DatetimeIndex,
    sessions: pd.DatetimeIndex,
    policy: Policy,
    *,
    market_regimes: pd.Series | None = None,
) -> Simulation:
    """Run one policy over a whole history, from its base weights on.

    Parameters
    ----------
    history
        Daily returns, from the lookback of the first rebalance on (for a lookback per risk regime, from the first
        session on). What lies after a rebalance changes nothing in it.
    as_of
        Last session of each rebalance period, ascending.
    sessions
        Trading calendar, past the last of ``as_of``.
    policy
        What to run.
    market_regimes
        Market regime by session, for an ensemble.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        Dates out of order, or that are no sessions of the history and the calendar; an ensemble without market regimes;
        an equity of the book that is not above 0 under an overlay.
    StaleScalarError
        An enabled overlay lacks the scalar of a session, once scalars have begun.
    """
    return next(grid(history, as_of, sessions, [policy], market_regimes=market_regimes))


def grid(
    history: ReturnHistory,
    as_of: pd.DatetimeIndex,
    sessions: pd.DatetimeIndex,
    policies: Iterable[Policy],
    *,
    market_regimes: pd.Series | None = None,
) -> Iterator[Simulation]:
    """Run many policies over one history; each step once for neighbours that do not differ in what it reads.

    A policy is taken when the one before has been given out, and of every step the newest results alone are kept
    (:data:`KEPT`): neither time nor memory depends on more than the number of policies, and the time linearly.
    Policies that share much should follow each other.

    Parameters
    ----------
    history, as_of, sessions, market_regimes
        See :func:`simulate`.
    policies
        What to run; all read returns of one frequency.

    Yields
    ------
    Simulation
        In the order of ``policies``; each is the one that :func:`simulate` gives. They share arrays, which are not to
        be written to.

    Raises
    ------
    ValueError, StaleScalarError
        See :func:`simulate`; when the policy's turn comes.
    """
    shared: _Shared | None = None
    for policy in policies:
        if shared is None:
            shared = _Shared(history, as_of, sessions, market_regimes, policy.frequency)
        if policy.frequency != shared.frequency:
            raise ValueError(
                f"policies: expected one frequency of returns, got {shared.frequency} and {policy.frequency}"
            )
        yield shared.simulation(policy)


class _Read(NamedTuple):
    """What one rebalance reads, and with which method."""

    section: CrossSection
    method: Method
    metric: str
    weight_set: str


class _Tilts(NamedTuple):
    """Targets of all rebalances, and what they were read from; see :class:`Simulation`."""

    values: dict[str, Floats]
    targets: tuple[Targets, ...]
    multiplier: Floats
    target: Floats
    metric: tuple[str, ...]
    weight_set: tuple[str, ...]


class _Path(NamedTuple):
    """Realized weights of all rebalances, how they came about, and what they earned by session."""

    previous: Floats
    realized: Floats
    rate: Floats
    paced_by: tuple[str, ...]
    earned: Floats


class _Shared:
    """One history, and every result that policies may share, by the parts of a policy that it depends on."""

    def __init__(
        self,
        history: ReturnHistory,
        as_of: pd.DatetimeIndex,
        sessions: pd.DatetimeIndex,
        market_regimes: pd.Series | None,
        frequency: Frequency,
    ) -> None:
        if not len(as_of) or not (as_of.is_monotonic_increasing and as_of.is_unique):
            raise ValueError("as_of: expected at least one session, in ascending order and each once")
        unknown = sessions.get_indexer(as_of) < 0
        if not frequency.monthly:
            unknown |= history.sessions.get_indexer(as_of) < 0
        if unknown.any():
            raise ValueError(f"as_of: expected sessions of history and calendar, got {as_of[unknown][0]:%Y-%m-%d}")
        self.history, self.sessions, self.market_regimes = history, sessions, market_regimes
        self.frequency = frequency
        self.as_of = as_of.as_unit(history.sessions.unit).rename(None)
        self.effective_from = sessions_after(sessions, self.as_of)
        self.begin = max(
            int(history.sessions.searchsorted(self.effective_from[0])),
            int(history.first_live.min(initial=len(history.sessions))),
        )
        self.days = history.sessions[self.begin :]
        self.in_force = self.effective_from.searchsorted(self.days, side="right") - 1
        self.known: dict[str, list[tuple[Any, Any]]] = {}

    def once(self, step: str, key: Any, make: Callable[[], Result]) -> Result:
        """Result of a step for a key, if it is among the newest; keys are compared, as parameters hold mappings."""
        known = self.known.setdefault(step, [])
        for place, (found, result) in enumerate(known):
            if found == key:
                known.append(known.pop(place))
                return result  # type: ignore[no-any-return]
        del known[: len(known) + 1 - KEPT]
        known.append((key, made := make()))
        return made

    def simulation(self, policy: Policy) -> Simulation:
        """History of one policy, of results made here or known already."""
        strategies, overlay = policy.strategies, policy.overlay
        # The formulas of targets print parameters, and 1 prints other than 1.0.
        hedges = policy.overlay.hedging if policy.overlay else ()
        chosen_by = (policy.method, repr(policy.method), policy.ensemble, hedges, _measured_by(policy))
        tilted_by = (policy.limits, policy.base, policy.gross, chosen_by)
        tilts = self.once("tilts", tilted_by, lambda: self.tilts(policy))
        paced_by = policy.overlay.thresholds if policy.paced_by_regime and policy.overlay else None
        moved_by = (policy.rate, policy.aim, policy.turnover_cap, policy.band, paced_by, tilted_by)
        path = self.once("path", moved_by, lambda: self.path(policy, tilts))
        final, traded, regimes, scalars, targeted = path.realized, path.earned, None, None, None
        scalar = np.full(len(self.as_of), np.nan)
        strategy_scalar, hedge = np.full(path.realized.shape, np.nan), np.full(path.realized.shape, np.nan)
        volatility_scalar, funding = np.full(len(self.as_of), np.nan), np.full(len(self.as_of), np.nan)
        scaled = strategy_scalar
        scalar_session = pd.DatetimeIndex([pd.NaT] * len(self.as_of)).as_unit("us")
        if overlay is not None:
            features = self.once("features", moved_by, lambda: self.features(policy, path))
            classified_by = (overlay.thresholds, moved_by)
            regimes = self.once("regimes", classified_by, lambda: classify(features, overlay.thresholds))
            by_sleeve = {name: risk_scalar(regimes["regime"], each) for name, each in overlay.profiles().items()}
            scalars = by_sleeve[WHOLE_BOOK]
            scalar, scalar_session, strategy_scalar = self.in_force_at(self.effective_from, by_sleeve, policy)
            if target := overlay.volatility_target:
                held = pd.Series(path.earned, index=self.days)
                targeted_by, per_year = (target, moved_by), self.frequency.per_year
                targeted = self.once("targeted", targeted_by, lambda: volatility_scalars(held, target, per_year))
                volatility_scalar = _targeted_on(scalar_session, targeted, overlay)
            goal = wanted(regimes["regime"], policy.hedging.hedges) if policy.hedging else None
            scaled = path.realized * strategy_scalar
            scaled = scaled if targeted is None else scaled * volatility_scalar[:, None]
            if policy.hedging and goal is not None:
                funding, hedge = funded(scaled, _at(goal, scalar_session), policy.hedging)
                scaled = scaled * funding[:, None] + hedge
            if overlay.enabled:
                final = scaled
                traded = self.earned(strategies, self.by_day(final))
            if overlay.enabled and overlay.apply == "daily":
                _, used, daily = self.in_force_at(self.days, by_sleeve, policy)
                each_day = self.by_day(path.realized) * daily.T
                each_day = each_day if targeted is None else each_day * _targeted_on(used, targeted, overlay)
                if policy.hedging and goal is not None:
                    left, put = funded(each_day.T, _at(goal, used), policy.hedging)
                    each_day = each_day * left + put.T
                traded = self.earned(strategies, each_day)
        return Simulation(
            policy=policy,
            history=self.history,
            as_of=self.as_of,
            effective_from=self.effective_from,
            strategies=strategies,
            values=tilts.values,
            multiplier=tilts.multiplier,
            target=tilts.target,
            previous=path.previous,
            realized=path.realized,
            rate=path.rate,
            paced_by=path.paced_by,
            scalar=scalar,
            scalar_session=scalar_session,
            strategy_scalar=strategy_scalar,
            volatility_scalar=volatility_scalar,
            funding=funding,
            hedge=hedge,
            scaled=scaled,
            final=final,
            turnover=np.array([math.fsum(row) / 2 for row in np.abs(path.realized - path.previous).tolist()]),
            unscaled=pd.Series(path.earned, index=self.days, name="unscaled"),
            traded=pd.Series(traded, index=self.days, name="traded"),
            regimes=regimes,
            scalars=scalars,
            targeted=targeted,
            targets=tilts.targets,
            metric=tilts.metric,
            weight_set=tilts.weight_set,
        )

    def tilts(self, policy: Policy) -> _Tilts:
        """Targets of every rebalance, from what it reads."""
        read = self.weight_sets_read(policy) if policy.ensemble else self.metrics_read(policy)
        targets = tuple(targets_in_turn(((each.method, each.section) for each in read), policy))
        unknown = np.full(len(policy.strategies), np.nan)
        return _Tilts(
            values={
                name: np.stack([each.section.values.get(name, unknown) for each in read])
                for name in policy.method.reads
            },
            targets=targets,
            multiplier=np.stack([each.tilt.value for each in targets]),
            target=np.stack([each.target for each in targets]),
            metric=tuple(each.metric for each in read),
            weight_set=tuple(each.weight_set for each in read),
        )

    def metrics_read(self, policy: Policy) -> list[_Read]:
        """Metrics of every rebalance, over the lookback of its risk regime."""
        grids = self.once(
            "metrics",
            _measured_by(policy),
            lambda: metric_grids(self.history, self.as_of, policy, policy.reads),
        )
        by_date = {}
        for grid in grids:
            sections = sections_of(grid, policy)
            if policy.method.optimises:
                sections = with_samples(sections, self.history, grid.as_of, policy)
            for date, section in zip(grid.as_of, sections, strict=True):
                by_date[date] = _Read(section, policy.method, _label(grid, policy), "")
        return [by_date[date] for date in self.as_of]

    def weight_sets_read(self, policy: Policy) -> list[_Read]:
        """Metrics of every rebalance, over the sessions of the weight set it reads."""
        regimes = self.market_regimes
        if regimes is None:
            raise ValueError("market_regimes: expected a regime by session for an ensemble, got none")
        grids = self.once("weight_sets", _measured_by(policy), lambda: self.set_grids(policy, regimes))
        sections = {name: dict(zip(self.as_of, sections_of(grid, policy), strict=True)) for name, grid in grids.items()}
        active = {
            name: [date for date, section in made.items() if is_active(section, policy)]
            for name, made in sections.items()
        }
        nothing = CrossSection(
            strategies=policy.strategies, base=policy.weights, gross=policy.gross, values={}, reasons={}
        )
        read = []
        for date in self.as_of:
            choice = choose(active, current_regime(regimes, date, self.sessions), date)
            if choice.weight_set in grids:
                section, grid = sections[choice.weight_set][choice.snapshot], grids[choice.weight_set]
                read.append(_Read(section, policy.method, _label(grid, policy), str(choice)))
            else:
                read.append(_Read(nothing, Equal(), "", str(choice)))
        return read

    def set_grids(self, policy: Policy, regimes: pd.Series) -> dict[str, MetricGrid]:
        """Metrics over the sessions of each weight set."""
        regime = regimes.reindex(self.history.sessions).to_numpy()
        return {
            name: metrics_grid(
                self.history,
                self.as_of,
                policy.longest_lookback,
                policy.metrics,
                frequency=self.frequency,
                metrics=policy.method.reads,
                strategies=policy.strategies,
                starter=policy.starter,
                within=None if name == ALL else regime == name,
            )
            for name in WEIGHT_SETS
        }

    def path(self, policy: Policy, tilts: _Tilts) -> _Path:
        """Realized weights, each step from where the one before ended."""
        previous, realized = np.empty_like(tilts.target), np.empty_like(tilts.target)
        rates, regimes = np.empty_like(tilts.target), []
        walk, correlations = None, (np.empty(0), np.empty(0))
        if policy.paced_by_regime and policy.overlay:
            walk = RegimeWalk(self.days, self.components(policy.strategies), policy.overlay.thresholds)
            correlations = self.correlations(policy)
        ends = self.days.searchsorted(self.as_of, side="right")
        weights = policy.weights
        for day, aim in enumerate(tilts.targets):
            if walk:
                walk.advance(int(ends[day]), weights, correlations)
                regimes.append(walk.regime)
            rate, turnover_cap = policy.pace(*regimes[-1:])
            previous[day], weights, rates[day] = capped_step(
                weights,
                policy.aimed(policy.weights, aim.target, aim.lower, aim.upper),
                aim.lower,
                aim.upper,
                rate=rate,
                turnover_cap=turnover_cap,
                gross=policy.gross,
                slack=policy.slack,
                band=policy.band,
                groups=policy.groups,
            )
            realized[day] = weights
        paced_by = tuple(regimes) or ("",) * len(self.as_of)
        return _Path(previous, realized, rates, paced_by, self.earned(policy.strategies, self.by_day(realized)))

    def in_force_at(
        self, dates: pd.DatetimeIndex, by_sleeve: Mapping[str, pd.DataFrame], policy: Policy
    ) -> tuple[Floats, pd.DatetimeIndex, Floats]:
        """Scalars of the book in force on some sessions, their sessions, and the scalars of strategies."""
        overlay = policy.overlay or AllocatorParameters()
        enabled, book = overlay.enabled, by_sleeve[WHOLE_BOOK]["scalar"]
        value, session = scalars_in_force(book, dates, self.sessions, lag=overlay.lag, enabled=enabled)
        own = {WHOLE_BOOK: value} | {
            name: scalars_on(by_sleeve[name]["scalar"], f"sleeve {name}", value, session, enabled=enabled)
            for name in overlay.sleeve_maps
        }
        return value, session, np.stack([own[overlay.scaled_by(name)] for name in policy.strategies], axis=1)

    def by_day(self, weights: Floats) -> Floats:
        """Weights of rebalances, shape (A, S), as those in force each day, shape (S, days)."""
        return np.take(weights.T, self.in_force, axis=1)

    def earned(self, strategies: tuple[str, ...], weights: Floats) -> Floats:
        """Daily returns at weights of shape (S, days), summed in the order of names."""
        total = np.zeros(len(self.days))
        for weight, returns in zip(weights, self.components(strategies), strict=True):
            total += weight * np.where(np.isnan(returns), 0.0, returns)
        return total

    def correlations(self, policy: Policy) -> tuple[Floats, Floats]:
        """Correlations of the components but for hedges; they do not depend on weights."""
        if len(self.days) <= WARM_UP:
            return np.empty(0), np.empty(0)
        watched = tuple(np.array(policy.strategies)[~policy.are_hedges].tolist())
        return self.once("correlations", watched, lambda: component_correlations(self.components(watched)))

    def components(self, strategies: tuple[str, ...]) -> Floats:
        """Returns from the first day at weights on, shape (S, sessions); NaN where not live."""
        return self.once(
            "components", strategies, lambda: np.ascontiguousarray(self.history.of(strategies)[self.begin :].T)
        )

    def features(self, policy: Policy, path: _Path) -> pd.DataFrame:
        """What risk regimes are read from, on every session after the warm-up."""
        equity = np.cumprod(1.0 + path.earned, dtype=np.float64)
        if (equity <= 0.0).any():
            lost = int(np.argmax(equity <= 0.0))
            raise ValueError(f"equity: expected values above 0, got {equity[lost]} on {self.days[lost]:%Y-%m-%d}")
        if len(self.days) <= WARM_UP:
            return pd.DataFrame(index=self.days[:0], columns=list(FEATURES), dtype=np.float64)
        per_year = self.frequency.per_year
        found = required_features(path.earned, equity, self.correlations(policy), per_year=per_year)
        return pd.DataFrame({name: found[name] for name in FEATURES}, index=self.days[WARM_UP:])


def _measured_by(policy: Policy) -> tuple[Any, ...]:
    """What the metrics of a policy depend on."""
    regimes = (policy.base, policy.gross, policy.overlay) if policy.adaptive else ()
    return policy.reads, policy.lookbacks, policy.metrics, policy.strategies, policy.starter, *regimes


def _targeted_on(sessions: pd.DatetimeIndex, targeted: pd.DataFrame, overlay: AllocatorParameters) -> Floats:
    """Scalars of a volatility target that go with the risk scalars of some sessions; 1 where there is none."""
    neutral, of = np.ones(len(sessions)), "volatility target"
    return scalars_on(targeted["volatility_scalar"], of, neutral, sessions, enabled=overlay.enabled)


def _at(goal: pd.Series, sessions: pd.DatetimeIndex) -> Floats:
    """Weight that hedges go for on some sessions; 0 where there is none, before the first scalar."""
    return goal.reindex(sessions).fillna(0.0).to_numpy()


def _label(grid: MetricGrid, policy: Policy) -> str:
    return policy.label(grid.lookback.label)
