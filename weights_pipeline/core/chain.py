"""The chain from daily returns to final weights, table by table.

Scope: the steps that map one stored table to the next, over any number of rebalances; each is one call into the
formulas of its neighbours. Not here: formulas, and where tables are kept. Whoever wants a whole history in memory calls
these in order; an orchestrator calls them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.hedges import hedged, hedged_rows, wanted
from weights_pipeline.core.allocator.overlay import (
    applied_scalar,
    audit,
    audit_of_hedges,
    scalars_in_force,
    scalars_on,
)
from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds, classify
from weights_pipeline.core.allocator.regime_walk import RegimeWalk
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters, risk_scalar
from weights_pipeline.core.allocator.state import (
    WARM_UP,
    allocator_state,
    component_correlations,
    reference_portfolio,
    sleeve_contributions,
)
from weights_pipeline.core.allocator.volatility import volatility_scalars
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import REASONS
from weights_pipeline.core.metrics.table import MetricGrid, metrics_grid
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step, carried
from weights_pipeline.core.returns.capital import CapitalPolicy
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.daily import daily_returns, wide
from weights_pipeline.core.returns.delivered import delivered
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.returns.marking import mark_to_market
from weights_pipeline.core.returns.sessions import sessions_after
from weights_pipeline.core.shards import Over, Shard, shards_of
from weights_pipeline.core.targets.methods.base import (
    MISSING,
    Codes,
    CrossSection,
    Method,
    Targets,
    target_weights,
    targets_frame,
)
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE, Floats
from weights_pipeline.core.targets.samples import samples


def last_sessions(sessions: pd.DatetimeIndex, windows: pd.IntervalIndex) -> pd.DatetimeIndex:
    """Last session inside each window of dates [left, right).

    Parameters
    ----------
    sessions
        Trading sessions, ascending.
    windows
        Half-open windows of dates, ascending.

    Raises
    ------
    ValueError
        A window has no session.
    """
    last = sessions.searchsorted(windows.right, side="left") - 1
    first = sessions.searchsorted(windows.left, side="left")
    if (empty := last < first).any():
        raise ValueError(f"no session in {windows[empty].to_tuples().tolist()}")
    return sessions[last]


def returns_table(
    lots: pd.DataFrame,
    open_lots: pd.DataFrame,
    given: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    policy: CapitalPolicy,
    start: pd.Timestamp,
    prices: pd.DataFrame | None = None,
    cash: pd.DataFrame | None = None,
    frequency: Frequency = DAILY,
    rates: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Daily returns from ``start`` on, from lots or, where a strategy delivers them, as given.

    Parameters
    ----------
    lots, open_lots
        Rows of ``trade_ledger`` and ``open_lots`` from the first session on.
    given
        Rows of ``given_returns`` from the first session on; see :func:`delivered` for a session without one.
    sessions
        Sessions that returns stand on, up to the last one wanted.
    policy
        How capital is chosen.
    start
        First session wanted.
    prices
        Closing prices, sessions × symbols; where given, lots from fills are marked to market while open.
    cash
        Rows of ``cash`` from the first session on.
    frequency
        How often returns are observed.
    rates
        Rates of exchange into account currency, dates × currencies; needed where lots are in others.

    Returns
    -------
    DataFrame
        Rows of ``strategy_returns``.
    """
    marked = None if prices is None else mark_to_market(lots, open_lots, prices, sessions, rates)
    booked = daily_returns(
        lots, sessions, policy, open_lots=open_lots, marked=marked, cash=cash, rates=rates, start=start
    )
    if given.empty:
        return booked
    live = (
        delivered(given, sessions, frequency.ended_after).loc[start:].rename_axis(index="session", columns="strategy")
    )
    rows = live.reset_index().melt("session", value_name="daily_return").dropna()
    rows = rows.assign(
        pnl=np.nan, capital=np.nan, closed_lots=np.nan, winning_lots=np.nan, active=rows["daily_return"] != 0
    )
    table = pd.concat([booked, rows], ignore_index=True)
    return table.sort_values(["session", "strategy"], ignore_index=True)


def metric_rows(history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy, over: Over = map) -> pd.DataFrame:
    """Metrics of a book's strategies at each rebalance, over the policy's lookback.

    A policy with one lookback per risk regime takes that of the as-of session, by :func:`base_regimes`.

    Parameters
    ----------
    history
        Returns; for a lookback per risk regime from the first session on.
    as_of
        Last sessions of the partitions.
    policy
        The book's policy.
    over
        Carries the work to shards of strategies; see :mod:`weights_pipeline.core.shards`.

    Returns
    -------
    DataFrame
        Rows of ``metrics``.
    """
    work = partial(_metrics_of, history, _measured_on(history, as_of, policy), policy)
    tables: list[pd.DataFrame] = list(over(work, map(Shard, shards_of(policy.strategies))))
    return pd.concat(tables).sort_values(["as_of", "strategy", "metric", "lookback"], ignore_index=True)


def metric_grids(
    history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy, metrics: Sequence[str] | None = None
) -> list[MetricGrid]:
    """Metrics as in :func:`metric_rows`, as arrays: one grid per lookback, each with its own as-of sessions."""
    return _grids(history, _measured_on(history, as_of, policy), policy, metrics, policy.strategies)


def _measured_on(history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy) -> dict[Lookback, pd.DatetimeIndex]:
    """Sessions that each lookback is measured on."""
    if not policy.adaptive:
        return {policy.longest_lookback: as_of}
    regimes = base_regimes(history, policy).reindex(as_of).fillna(REGIMES[0])
    return {
        lookback: as_of[[policy.lookbacks[regime] == lookback for regime in regimes]]
        for lookback in dict.fromkeys(policy.lookbacks.values())
    }


def _metrics_of(
    history: ReturnHistory, wanted: Mapping[Lookback, pd.DatetimeIndex], policy: Policy, shard: Shard
) -> pd.DataFrame:
    return pd.concat([grid.table() for grid in _grids(history, wanted, policy, None, shard.strategies)])


def _grids(
    history: ReturnHistory,
    wanted: Mapping[Lookback, pd.DatetimeIndex],
    policy: Policy,
    metrics: Sequence[str] | None,
    strategies: Sequence[str],
) -> list[MetricGrid]:
    return [
        metrics_grid(
            history,
            dates,
            lookback,
            policy.metrics,
            frequency=policy.frequency,
            metrics=metrics,
            strategies=strategies,
            starter=policy.starter,
        )
        for lookback, dates in wanted.items()
        if len(dates)
    ]


def base_regimes(history: ReturnHistory, policy: Policy) -> pd.Series:
    """Risk regime of the portfolio at constant base weights, by session; NORMAL on sessions without a state.

    The metrics may depend on this one, but not on the regime of the realized weights, which follow from them.
    """
    returns = pd.DataFrame(history.returns, index=history.sessions, columns=list(history.strategies))
    weights = pd.DataFrame([policy.weights], index=history.sessions[:1], columns=list(policy.strategies))
    overlay = policy.overlay or AllocatorParameters()
    state = state_of(weights, returns, overlay, policy.frequency)
    return (
        regime_table(state, overlay.thresholds)
        .set_index("session")["regime"]
        .reindex(history.sessions, fill_value=REGIMES[0])
    )


def cross_sections(metrics: pd.DataFrame, policy: Policy) -> tuple[pd.DatetimeIndex, list[str], list[CrossSection]]:
    """What the method reads of each date of a metrics table.

    Returns
    -------
    as_of : DatetimeIndex
        The dates of the table, ascending.
    lookbacks : list of str
        Label of each date's lookback.
    sections : list of CrossSection

    Raises
    ------
    ValueError
        A metric that the method reads is not in the table, or a date has more than one lookback.
    """
    there = set(metrics["metric"].unique())
    if absent := sorted(set(policy.method.reads) - there):
        raise ValueError(f"metrics {absent} are not in the table, which has {sorted(there)}")
    by_date = metrics.groupby("as_of")["lookback"].agg(["first", "nunique"])
    if (several := by_date["nunique"] > 1).any():
        raise ValueError(f"metrics: expected one lookback a date, got several on {by_date.index[several][0]:%Y-%m-%d}")
    as_of = pd.DatetimeIndex(by_date.index).rename(None)
    shape = (len(as_of), len(policy.strategies))
    values, reasons = dict[str, Floats](), dict[str, Codes]()
    for name in policy.method.reads:
        rows = metrics[metrics["metric"] == name]
        values[name], reasons[name] = np.full(shape, np.nan), np.full(shape, MISSING, dtype=np.int8)
        day = as_of.get_indexer(pd.DatetimeIndex(rows["as_of"]))
        place = pd.Index(policy.strategies).get_indexer(pd.Index(rows["strategy"]))
        if pd.Series(day * shape[1] + place)[place >= 0].duplicated().any():
            raise ValueError(f"metrics: a strategy has {name} twice on one date")
        known = place >= 0
        values[name][day[known], place[known]] = rows["value"].to_numpy(np.float64)[known]
        codes = rows["reason"].map({reason: code for code, reason in enumerate(REASONS)}).to_numpy(np.int8)
        reasons[name][day[known], place[known]] = codes[known]
    sections = [
        CrossSection(
            strategies=policy.strategies,
            base=policy.weights,
            gross=policy.gross,
            values={name: grid[day] for name, grid in values.items()},
            reasons={name: grid[day] for name, grid in reasons.items()},
            as_of=as_of[day],
        ).without(policy.are_hedges)
        for day in range(len(as_of))
    ]
    return as_of, by_date["first"].tolist(), sections


def with_samples(
    sections: Sequence[CrossSection], history: ReturnHistory, as_of: pd.DatetimeIndex, policy: Policy
) -> list[CrossSection]:
    """Sections of some dates, each with the returns of its window."""
    drawn = samples(history, as_of, policy.longest_lookback, policy.strategies, policy.frequency)
    return [replace(section, sample=sample) for section, sample in zip(sections, drawn, strict=True)]


def targets_in_turn(
    read: Iterable[tuple[Method, CrossSection]], policy: Policy, held: pd.Series | None = None
) -> list[Targets]:
    """Targets of some dates, each the weights that the next one trades from where the method counts costs.

    Parameters
    ----------
    read
        Method and what it reads, by date, ascending.
    policy
        The book's policy.
    held
        Weights by strategy before the first date; None in the first partition, which starts from base weights.
    """
    made = list[Targets]()
    fees = policy.costs.fees(policy.strategies) if policy.counts_costs and policy.costs is not None else None
    for method, section in read:
        if fees is not None:
            start, _ = carried(held, policy.strategies, policy.weights)
            section = replace(section, held=start, fees=fees)
        made.append(target_weights(method, section, policy.limits))
        # A policy that counts costs goes to its targets at once.
        held = pd.Series(made[-1].target, index=pd.Index(policy.strategies))
    return made


def target_table(
    metrics: pd.DataFrame,
    policy: Policy,
    history: ReturnHistory | None = None,
    previous: pd.DataFrame | None = None,
    opening: pd.Series | None = None,
) -> pd.DataFrame:
    """Target weights of every date in a metrics table.

    Parameters
    ----------
    metrics
        Rows of ``metrics``: as_of, strategy, metric, lookback, value, reason.
    policy
        The book's policy.
    history
        Returns from the lookback of the first date on; read by a method that optimises or shrinks, and needed by it.
    previous, opening
        As of :func:`realized_table`; read by a method that counts costs alone.

    Returns
    -------
    DataFrame
        Rows of ``target_weights``.

    Raises
    ------
    ValueError
        See :func:`cross_sections`.
    """
    as_of, lookbacks, sections = cross_sections(metrics, policy)
    if policy.method.optimises:
        if history is None:
            raise ValueError(f"history: method {policy.method.kind} reads the returns of the window, got none")
        sections = with_samples(sections, history, as_of, policy)
    held = _newest(previous) if previous is not None and len(previous) else opening
    targets = targets_in_turn(((policy.method, section) for section in sections), policy, held)
    n = len(policy.strategies)
    table = targets_frame(targets, policy.strategies, policy.weights)
    shown = [policy.label(lookback) for lookback in lookbacks]
    return table.assign(as_of=as_of.repeat(n), metric=texts(shown, np.repeat(np.arange(len(as_of)), n)), weight_set="")


def realized_table(
    previous: pd.DataFrame,
    targets: pd.DataFrame,
    policy: Policy,
    sessions: pd.DatetimeIndex,
    returns: pd.DataFrame | None = None,
    opening: pd.Series | None = None,
) -> pd.DataFrame:
    """Realized weights of every date in a targets table, each continuing from the one before.

    A policy whose rate or turnover cap depends on the risk regime takes that of the as-of session, which earlier
    realized weights have led to: the one that :func:`regime_table` gives for that session, or for the last one before
    it that has a state; NORMAL before the first.

    Parameters
    ----------
    previous
        Rows of ``realized_weights`` before the first date; only the newest date counts, but all are needed for a policy
        paced by risk regime. Empty for the first partition of a book, which starts from base weights.
    targets
        Rows of ``target_weights``.
    policy
        The book's policy.
    sessions
        Trading sessions, past the last date.
    returns
        Rows of ``strategy_returns`` from the first session on; read for a policy paced by risk regime alone.
    opening
        Weights by strategy that the first partition starts from, where they are not the base weights.

    Returns
    -------
    DataFrame
        Rows of ``realized_weights``; ``target`` is that of :meth:`Policy.aimed`; ``rate`` is the one used, shortened by
        the turnover cap where that holds and 0 where a no-trade band leaves the strategy alone, and ``regime`` the risk
        regime that chose them, empty where the policy has one rate and cap for all.

    Raises
    ------
    ValueError
        A policy paced by risk regime lacks returns up to the last date, or earlier realized weights.
    """
    table = targets[["as_of", "strategy", "base", "target", "lower", "upper", "slack"]]
    table = table.sort_values(["as_of", "strategy"], ignore_index=True)
    walk = _Walk(previous, table, returns, policy, opening) if policy.paced_by_regime else None
    weights = _newest(previous) if len(previous) else opening
    start, realized, rate = np.empty(len(table)), np.empty(len(table)), np.empty(len(table))
    entered, regime = np.zeros(len(table), dtype=np.bool_), np.zeros(len(table), dtype=np.int8)
    base, target, lower, upper = (table[name].to_numpy(np.float64) for name in ("base", "target", "lower", "upper"))
    target = policy.aimed(base, target, lower, upper)
    for rows in table.groupby("as_of").indices.values():
        names = table["strategy"].iloc[rows].tolist()
        current = walk.regime(table["as_of"].iloc[rows[0]]) if walk else REGIMES[0]
        pace, turnover_cap = policy.pace(current)
        begin, entered[rows] = carried(weights, names, base[rows])
        start[rows], realized[rows], rate[rows] = capped_step(
            begin,
            target[rows],
            lower[rows],
            upper[rows],
            rate=pace,
            turnover_cap=turnover_cap,
            gross=policy.gross,
            slack=policy.slack,
            band=policy.band,
            groups=policy.groups,
        )
        weights = pd.Series(realized[rows], index=pd.Index(names))
        if walk:
            regime[rows] = 1 + REGIMES.index(current)
            walk.hold(weights)
    return table.assign(
        target=target,
        previous=start,
        rate=rate,
        regime=texts(("", *REGIMES), regime),
        realized=realized,
        entered=entered,
        effective_from=sessions_after(sessions, pd.DatetimeIndex(table["as_of"])),
    )


class _Walk:
    """Risk regimes up to each rebalance, by the realized weights before it."""

    def __init__(
        self,
        previous: pd.DataFrame,
        targets: pd.DataFrame,
        returns: pd.DataFrame | None,
        policy: Policy,
        opening: pd.Series | None,
    ) -> None:
        if returns is None:
            raise ValueError(
                "returns: expected daily returns from the first session on, which tell the regime, got none"
            )
        last = targets["as_of"].max()
        if len(returns) and returns["session"].max() < last:
            raise ValueError(
                f"returns: expected them up to {last:%Y-%m-%d}, they end on {returns['session'].max():%Y-%m-%d}"
            )
        first = (previous if len(previous) else targets)["as_of"].min()
        if len(previous) and opening is None:
            oldest = previous[previous["as_of"] == first]
            if not np.allclose(oldest["previous"], oldest["base"], rtol=0, atol=GROSS_TOLERANCE * policy.gross):
                raise ValueError(
                    "previous: expected realized weights from the first rebalance on, which starts from base weights; "
                    f"the oldest, of {first:%Y-%m-%d}, does not"
                )
        overlay = policy.overlay or AllocatorParameters()
        self._hedges = list(overlay.hedging)
        self._names = pd.Index(sorted({*targets["strategy"], *(previous["strategy"] if len(previous) else ())}))
        daily = wide(returns).reindex(columns=self._names)
        self._days = pd.DatetimeIndex(daily.index[(daily.index > first) & (daily.index <= last)])
        self._returns = daily.loc[self._days].to_numpy(np.float64).T
        self._walk = RegimeWalk(self._days, self._returns, overlay.thresholds)
        self._in_book = np.zeros(len(self._names), dtype=np.bool_)
        self._in_force = np.zeros(len(self._names))
        self._correlations: dict[bytes, tuple[Floats, Floats]] = {}
        for _, rows in previous.groupby("as_of") if len(previous) else ():
            self.regime(rows["as_of"].iloc[0])
            self.hold(_newest(rows))

    def regime(self, as_of: pd.Timestamp) -> str:
        """Regime of a session."""
        end = int(self._days.searchsorted(as_of, side="right"))
        self._walk.advance(end, self._in_force, self._components())
        return self._walk.regime

    def hold(self, weights: pd.Series) -> None:
        """Put realized weights in force, by strategy."""
        self._in_book = self._names.isin(weights.index.difference(self._hedges))
        self._in_force = weights.reindex(self._names, fill_value=0.0).to_numpy(np.float64)

    def _components(self) -> tuple[Floats, Floats]:
        """Correlations of the strategies in the book but for hedges; they do not depend on weights."""
        key = self._in_book.tobytes()
        if len(self._days) <= WARM_UP or not self._in_book.any():
            return np.empty(0), np.empty(0)
        if key not in self._correlations:
            self._correlations[key] = component_correlations(self._returns[self._in_book])
        return self._correlations[key]


def _newest(realized: pd.DataFrame) -> pd.Series:
    """Realized weights of the newest date, by strategy."""
    weights: pd.Series = realized[realized["as_of"] == realized["as_of"].max()].set_index("strategy")["realized"]
    return weights


def state_table(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame:
    """State of the unscaled reference portfolio on every session on which it can be computed.

    Parameters
    ----------
    returns
        Rows of ``strategy_returns`` from the first session on.
    realized
        Rows of ``realized_weights`` from the first rebalance on.
    overlay
        The allocator: sleeves of strategies, and which are hedges.
    frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame
        Rows of ``allocator_state``.
    """
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized")
    return state_of(weights, wide(returns), overlay, frequency)


def state_of(
    weights: pd.DataFrame, returns: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame:
    """State as in :func:`state_table`, of weights by effective session and returns by session.

    A weight is null where the strategy is not in the book. The components of a session are the strategies in the book,
    with what they returned before they joined it: whoever joins or leaves later does not change it. Hedges are none:
    the state is that of the portfolio that they hedge.
    """
    portfolio = reference_portfolio(weights, returns.reindex(columns=weights.columns))
    in_book = weights.notna() & ~weights.columns.isin(overlay.hedging)
    begun = in_book.index[(in_book != in_book.shift()).any(axis=1)]
    states = []
    for first, later in zip_longest(begun, begun[1:]):
        until = portfolio.returns.index < later if later is not None else slice(None)
        names = weights.columns[in_book.loc[first]]
        units = portfolio.units.loc[until, names]
        states.append(
            allocator_state(
                portfolio.returns[until],
                portfolio.equity[until],
                portfolio.components.loc[until, names],
                trend_units=units,
                sleeves=sleeve_contributions(units, overlay.sleeves or None),
                per_year=frequency.per_year,
            ).loc[first:]
        )
    state = states[0] if len(states) == 1 else pd.concat(states)
    table = state.assign(
        portfolio_return=portfolio.returns.reindex(state.index), equity=portfolio.equity.reindex(state.index)
    )
    return table.rename_axis("session").reset_index()


def regime_table(state: pd.DataFrame, thresholds: RegimeThresholds) -> pd.DataFrame:
    """Risk regime of every session of a state table, from its first row on."""
    return classify(state.set_index("session"), thresholds).rename_axis("session").reset_index()


def scalar_table(
    regimes: pd.DataFrame, overlay: AllocatorParameters, targeted: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Scalars of every session of a regime table, from its first row on.

    Parameters
    ----------
    regimes
        Rows of ``risk_regime`` from the first session on.
    overlay
        The book's allocator.
    targeted
        What :func:`volatility_table` makes of an overlay with a volatility target; None of any other.

    Returns
    -------
    DataFrame
        Rows of ``risk_scalar``: those of the whole book, with an empty ``sleeve``, and after them those of each sleeve
        with a map of its own, by name. What follows from a volatility target is in those of the whole book alone.
    """
    by_session = regimes.set_index("session")["regime"]
    tables = [
        risk_scalar(by_session, profile).assign(
            regime=by_session, sleeve=texts([sleeve], np.zeros(len(by_session), int))
        )
        for sleeve, profile in overlay.profiles().items()
    ]
    if targeted is None:
        targeted = pd.DataFrame({"volatility": np.nan, "volatility_scalar": np.nan}, index=by_session.index)
    tables[0] = tables[0].join(targeted)
    return pd.concat(tables).rename_axis("session").reset_index()


def scalars_told(scalars: pd.DataFrame, overlay: AllocatorParameters) -> pd.DataFrame:
    """Rows of ``risk_scalar`` for people and files: without columns of a volatility target where there is none."""
    return scalars if overlay.volatility_target else scalars.drop(columns=["volatility", "volatility_scalar"])


def volatility_table(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> pd.DataFrame | None:
    """What a volatility target makes of the unscaled reference portfolio on every session at weights.

    Parameters
    ----------
    returns, realized
        Rows of ``strategy_returns`` and ``realized_weights`` from the first on.
    overlay
        The book's allocator.
    frequency
        How many sessions make a year.

    Returns
    -------
    DataFrame or None
        ``volatility`` and ``volatility_scalar`` by session, see
        :func:`~weights_pipeline.core.allocator.volatility.volatility_scalars`; None without a target.
    """
    if overlay.volatility_target is None:
        return None
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized")
    held = reference_portfolio(weights, wide(returns).reindex(columns=weights.columns)).returns
    return volatility_scalars(held, overlay.volatility_target, frequency.per_year)


class OverlayPath(NamedTuple):
    """Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar`` from the first session on."""

    state: pd.DataFrame
    regimes: pd.DataFrame
    scalars: pd.DataFrame


def overlay_path(
    returns: pd.DataFrame, realized: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> OverlayPath:
    """What an overlay makes of the whole history: a book that changes its overlay has another path from then on.

    Parameters
    ----------
    returns, realized
        Rows of ``strategy_returns`` and ``realized_weights`` from the first on.
    overlay
        The allocator of the rebalance that the path leads to.
    frequency
        How many sessions make a year.
    """
    state = state_table(returns, realized, overlay, frequency)
    regimes = regime_table(state, overlay.thresholds)
    targeted = volatility_table(returns, realized, overlay, frequency)
    return OverlayPath(state, regimes, scalar_table(regimes, overlay, targeted))


def final_table(
    realized: pd.DataFrame, scalars: pd.DataFrame | None, policy: Policy, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Weights to trade on every date of a realized table.

    Parameters
    ----------
    realized
        Rows of ``realized_weights``.
    scalars
        Rows of ``risk_scalar`` from the first session on; None for a policy without overlay.
    policy
        The book's policy.
    sessions
        Trading sessions, past the last effective date.

    Returns
    -------
    DataFrame
        Rows of ``final_weights`` but for ``next_rebalance``.

    Raises
    ------
    StaleScalarError
        An enabled overlay lacks the scalar of a session, once scalars have begun.
    """
    table = realized[["as_of", "effective_from", "strategy", "realized"]].reset_index(drop=True)
    return _scaled(table, scalars, policy, sessions)


def daily_table(
    realized: pd.DataFrame,
    scalars: pd.DataFrame | None,
    policy: Policy,
    sessions: pd.DatetimeIndex,
    as_of: pd.DatetimeIndex,
) -> pd.DataFrame:
    """Weights to trade after every session: the newest realized ones at a scalar of each day's own.

    Parameters
    ----------
    realized, scalars, policy
        See :func:`final_table`.
    sessions
        Trading sessions, past the last of ``as_of``.
    as_of
        Closed sessions, ascending.

    Returns
    -------
    DataFrame
        Columns of :func:`final_table`, one row per session and strategy in force on the session after it, which is
        ``effective_from``. None for sessions before the first realized weights. After the as-of session of a rebalance
        they are those of :func:`final_table`.

    Raises
    ------
    StaleScalarError
        See :func:`final_table`.
    """
    effective = sessions_after(sessions, as_of)
    rows = realized.sort_values(["effective_from", "strategy"], ignore_index=True)
    begun, first, count = np.unique(rows["effective_from"].to_numpy(), return_index=True, return_counts=True)
    newest = np.searchsorted(begun, effective.to_numpy(), side="right") - 1
    days = np.flatnonzero(newest >= 0)
    size = count[newest[days]]
    day = days.repeat(size)
    place = np.arange(len(day)) + (first[newest[days]] - (size.cumsum() - size)).repeat(size)
    table = pd.DataFrame(
        {
            "as_of": as_of[day],
            "effective_from": effective[day],
            "strategy": rows["strategy"].array.take(place),
            "realized": rows["realized"].to_numpy()[place],
        }
    )
    return _scaled(table, scalars, policy, sessions)


def _scaled(
    table: pd.DataFrame, scalars: pd.DataFrame | None, policy: Policy, sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Scale realized weights, each by the scalar of its sleeve that is in force when they are, and by the target's."""
    if policy.overlay is None or scalars is None:
        nowhere = pd.DatetimeIndex([pd.NaT] * len(table)).as_unit("us")
        nothing = ("scalar", "volatility", "volatility_scalar", "funding", "hedge", "scaled")
        unscaled = table.assign(**dict.fromkeys(nothing, np.nan), scalar_session=nowhere, regime="", applied=False)
        return unscaled.assign(final=table["realized"])
    overlay = policy.overlay
    dates = pd.DatetimeIndex(table["effective_from"].unique()).sort_values()
    date = dates.get_indexer(pd.DatetimeIndex(table["effective_from"]))
    book = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")
    values, used = scalars_in_force(book["scalar"], dates, sessions, lag=overlay.lag, enabled=overlay.enabled)
    value, session = values[date], used[date]
    sleeve = table["strategy"].map(overlay.scaled_by).to_numpy()
    for name in overlay.sleeve_maps:
        own = scalars[scalars["sleeve"] == name].set_index("session")["scalar"]
        mine = sleeve == name
        value[mine] = scalars_on(own, f"sleeve {name}", values, used, enabled=overlay.enabled)[date[mine]]
    scaled = table["realized"].to_numpy() * value
    volatility = targeted = np.full(len(table), np.nan)
    if overlay.volatility_target is not None:
        volatility = book["volatility"].reindex(session).to_numpy()
        neutral, of = np.ones(len(session)), "volatility target"
        targeted = scalars_on(book["volatility_scalar"], of, neutral, session, enabled=overlay.enabled)
        scaled = scaled * targeted
    table = table.assign(
        scalar=value,
        scalar_session=session,
        regime=book["regime"].reindex(session).fillna("").to_numpy(),
        volatility=volatility,
        volatility_scalar=targeted,
        funding=np.nan,
        hedge=np.nan,
        scaled=scaled,
        applied=overlay.enabled,
    )
    if policy.hedging:
        table["funding"], table["hedge"] = hedged_rows(table, book["regime"], policy.hedging)
        table["scaled"] = table["scaled"] * table["funding"] + table["hedge"]
    return table.assign(final=table["scaled"] if overlay.enabled else table["realized"])


def audit_table(
    realized: pd.DataFrame,
    returns: pd.DataFrame,
    scalars: pd.DataFrame,
    regimes: pd.DataFrame,
    policy: Policy,
    as_of: pd.DatetimeIndex,
) -> pd.DataFrame:
    """Audit of an overlay over the whole history up to each date: final against realized weights, by what they earned.

    Final weights are those of :func:`final_table`, or of :func:`daily_table` where the overlay is applied daily, also
    where it is disabled: what it would do. Where the scalar of a session is missing, the one before it stays.

    Parameters
    ----------
    realized, returns, scalars, regimes
        Rows of ``realized_weights``, ``strategy_returns``, ``risk_scalar`` and ``risk_regime`` from the first on.
    policy
        The book's policy, with an overlay.
    as_of
        Last sessions that count.

    Returns
    -------
    DataFrame
        Date by date: ``as_of`` and the rows of :func:`~weights_pipeline.core.allocator.overlay.audit`; of a policy with
        hedges also those of :func:`~weights_pipeline.core.allocator.overlay.audit_of_hedges`.
    """
    weights, daily = audited_weights(realized, returns, scalars, policy), wide(returns)
    unscaled, scaled = (reference_portfolio(each, daily).returns for each in (weights.unscaled, weights.scaled))
    exposure, path = weights.exposure, regimes.set_index("session")["regime"]
    unhedged, hedges = scaled, None
    if weights.hedges:
        unhedged, given_up, earned = (reference_portfolio(each, daily).returns for each in weights.hedges)
        together = weights.hedges.hedge.sum(axis=1)
        hedges = pd.DataFrame({"weight": together, "earned": earned, "given_up": given_up})
    tables = []
    for date in as_of:
        table = audit(unscaled.loc[:date], scaled.loc[:date], exposure.loc[:date], path.loc[:date], policy.frequency)
        tables.append(table.assign(as_of=date))
        if hedges is not None:
            table = audit_of_hedges(unhedged.loc[:date], hedges.loc[:date], policy.frequency)
            tables.append(table.assign(as_of=date))
    return pd.concat(tables, ignore_index=True)


class AuditedHedges(NamedTuple):
    """Scaled weights without hedges, how much of them has paid for these, and they; sessions × strategies."""

    unhedged: pd.DataFrame
    paid: pd.DataFrame
    hedge: pd.DataFrame


class AuditedWeights(NamedTuple):
    """Weights that an audit is of: unscaled and scaled, sessions × strategies, and scaled over unscaled gross.

    Scaled weights have the hedges among them; how, is None under a policy without any.
    """

    unscaled: pd.DataFrame
    scaled: pd.DataFrame
    exposure: pd.Series
    hedges: AuditedHedges | None = None


def audited_weights(
    realized: pd.DataFrame, returns: pd.DataFrame, scalars: pd.DataFrame, policy: Policy
) -> AuditedWeights:
    """Weights in force on each session of an audit, as they were and as they were or would have been scaled.

    Parameters
    ----------
    realized, returns, scalars, policy
        See :func:`audit_table`.
    """
    overlay = policy.overlay or AllocatorParameters()
    daily = wide(returns)
    held = realized.pivot(index="effective_from", columns="strategy", values="realized")
    weights = held.fillna(0.0)
    days = pd.DatetimeIndex(daily.index[daily.index >= weights.index.min()])
    by_sleeve = scalars.pivot(index="session", columns="sleeve", values="scalar")
    # A sleeve that has got a map of its own only later was scaled as the book before.
    own = {name: by_sleeve[name].fillna(by_sleeve[WHOLE_BOOK]) for name in by_sleeve}
    book = own.get(WHOLE_BOOK, pd.Series(dtype=np.float64))
    factor = pd.DataFrame(
        {
            name: applied_scalar(own.get(overlay.scaled_by(name), book), pd.DatetimeIndex(daily.index), overlay.lag)
            for name in weights.columns
        }
    )
    targeted = pd.Series(1.0, index=daily.index)
    if overlay.volatility_target is not None:
        found = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")["volatility_scalar"]
        targeted = applied_scalar(found, pd.DatetimeIndex(daily.index), overlay.lag)
    if overlay.apply == "rebalance":
        factor, targeted = factor.reindex(weights.index).fillna(1.0), targeted.reindex(weights.index).fillna(1.0)
    factor, targeted = factor.reindex(days, method="ffill"), targeted.reindex(days, method="ffill")
    in_force = weights.reindex(days, method="ffill")
    lowest = factor.min(axis=1)
    # Exactly the scalar where it is the same for all strategies.
    exposure = lowest + (in_force * factor.sub(lowest, axis=0)).sum(axis=1) / in_force.sum(axis=1)
    scaled = (in_force * factor).mul(targeted, axis=0)
    audited = AuditedWeights(in_force, scaled, exposure * targeted)
    if policy.hedging is None:
        return audited
    regimes = scalars[scalars["sleeve"] == WHOLE_BOOK].set_index("session")["regime"]
    goal = wanted(regimes, policy.hedging.hedges).reindex(daily.index).ffill().shift(overlay.lag).fillna(0.0)
    dates = days if overlay.apply == "daily" else held.index
    of_book = scaled.reindex(dates).where(held.notna().reindex(dates, method="ffill"))
    made = hedged(of_book, goal.reindex(dates).to_numpy(), policy.hedging)
    hedge = pd.DataFrame(made.hedge, index=dates, columns=held.columns).reindex(days, method="ffill")
    funding = pd.Series(made.funding, index=dates).reindex(days, method="ffill")
    paid = scaled.mul(1.0 - funding, axis=0)
    return audited._replace(scaled=scaled.mul(funding, axis=0) + hedge, hedges=AuditedHedges(scaled, paid, hedge))
