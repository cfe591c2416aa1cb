"""Simulations: the bits of the chain, the past safe from the future, and grids that are so many simulations."""

import functools
import gc
import math
from dataclasses import fields, replace
from weakref import ref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.allocator.hedges import Hedges
from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.allocator.regime import RegimeThresholds
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.volatility import VolatilityTarget
from weights_pipeline.core.ensembles import ensemble_targets, weight_sets
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import KEPT, Simulation, grid, simulate
from weights_pipeline.core.targets.market_regime import MARKET_REGIMES
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.methods.base import GroupLimits, Limits

METHOD = {method.__dataclass_fields__["kind"].default: method for method in METHODS}
NAMES = ("alpha", "beta", "delta", "gamma", "kappa", "omega")
BASE = dict(zip(NAMES, (0.10, 0.25, 0.15, 0.20, 0.20, 0.10), strict=True))
CALENDAR = pd.bdate_range("2018-01-01", "2020-06-30").as_unit("us")
SESSIONS = CALENDAR[:440]


def ends(sessions, period):
    return pd.DatetimeIndex(pd.Series(sessions, index=sessions).groupby(sessions.to_period(period)).max()).rename(None)


MONTHS, WEEKS = ends(SESSIONS, "M"), ends(SESSIONS, "W")[40:]
OVERLAY = AllocatorParameters(sleeves={"alpha": "fast", "beta": "fast"})
SLEEVE_MAPS = {
    "fast": {"NORMAL": 1.0, "ELEVATED": 0.7, "STRESS": 0.3, "CRISIS": 0.0},
    "gamma": {"NORMAL": 0.9, "ELEVATED": 0.9, "STRESS": 0.9, "CRISIS": 0.9},
}
TARGET = VolatilityTarget(target=0.10, window=20, cap=1.5)
STARTER = {
    "beta": StarterMetrics(twelve_month_return=0.2, twelve_month_max_drawdown=0.1, calmar_ratio=2.0, months_of_data=12)
}
EAGER = MetricParameters(min_sessions=5)
NERVOUS = RegimeThresholds(vol_accel_enter=1.1, vol_accel_exit=1.0, corr_shock_enter=0.05, corr_shock_exit=0.0)
HEDGED = BASE | {"omega": 0.0, "delta": 0.0, "gamma": 0.45}
HEDGES = Hedges(strategies=("omega", "delta"), weight=0.2, regimes=("ELEVATED", "STRESS", "CRISIS"), ramp=0.3, cap=0.25)
POLICIES = {
    "calmar tilt, overlay on": (
        MONTHS,
        Policy(base=BASE, method=METHOD["calmar_tilt"](), rate=0.1, overlay=OVERLAY, starter=STARTER),
    ),
    "weekly sharpe tilt, proportional, overlay off": (
        WEEKS,
        Policy(
            base=BASE,
            method=METHOD["sharpe_tilt"](),
            limits=Limits(normalisation="proportional"),
            overlay=AllocatorParameters(enabled=False, profile="high", lag=3),
        ),
    ),
    "groups inside of a group": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["sharpe_tilt"](),
            limits=Limits(
                groups={
                    "early": GroupLimits(members=("alpha", "beta", "delta"), floor=0.45, cap=0.52),
                    "letters": GroupLimits(members=("alpha", "beta"), cap=0.36),
                    "late": GroupLimits(members=("kappa", "omega"), floor=0.29),
                }
            ),
            rate=0.5,
        ),
    ),
    "groups that overlap": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["sharpe_tilt"](),
            limits=Limits(
                groups={
                    "early": GroupLimits(members=("alpha", "beta", "delta"), floor=0.45, cap=0.52),
                    "late": GroupLimits(members=("delta", "kappa", "omega"), floor=0.4),
                }
            ),
            rate=0.5,
        ),
    ),
    "ensemble of softmax, limits of weight": (
        WEEKS,
        Policy(
            base=BASE,
            method=METHOD["softmax_sharpe"](),
            limits=Limits(floor=0.0, cap=1.0, of="weight"),
            metrics=EAGER,
            ensemble=True,
        ),
    ),
    "lookback by risk regime": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["power_tilt"](
                metric="sharpe", lookback={"NORMAL": "6m", "ELEVATED": "60s", "STRESS": "60s", "CRISIS": "20s"}
            ),
            rate=0.5,
            metrics=EAGER,
            overlay=OVERLAY,
        ),
    ),
    "paced by risk regime, capped turnover, sleeves of their own": (
        WEEKS,
        Policy(
            base=BASE,
            method=METHOD["sharpe_tilt"](lookback="60s"),
            metrics=EAGER,
            rate={"NORMAL": 0.25, "ELEVATED": 0.5, "STRESS": 0.1, "CRISIS": 1.0},
            turnover_cap={"NORMAL": 0.02, "ELEVATED": 0.01, "STRESS": 0.5, "CRISIS": 0.03},
            overlay=replace(OVERLAY, sleeve_maps=SLEEVE_MAPS, profile="high"),
        ),
    ),
    "overlay applied daily": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["calmar_tilt"](),
            rate=0.5,
            turnover_cap=0.015,
            overlay=replace(OVERLAY, apply="daily", lag=2, sleeve_maps=SLEEVE_MAPS),
        ),
    ),
    "volatility target with leverage": (
        WEEKS,
        Policy(
            base=BASE,
            method=METHOD["sharpe_tilt"](lookback="60s"),
            metrics=EAGER,
            rate=0.5,
            overlay=replace(OVERLAY, sleeve_maps=SLEEVE_MAPS, volatility_target=TARGET),
        ),
    ),
    "volatility target applied daily, with a lag": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["equal"](),
            overlay=replace(OVERLAY, apply="daily", lag=3, volatility_target=replace(TARGET, window=90)),
        ),
    ),
    "volatility target computed, not applied": (
        MONTHS,
        Policy(base=BASE, method=METHOD["equal"](), overlay=replace(OVERLAY, enabled=False, volatility_target=TARGET)),
    ),
    "hedges pro rata, inside of a group": (
        MONTHS,
        Policy(
            base=HEDGED,
            method=METHOD["calmar_tilt"](),
            rate={"NORMAL": 0.5, "ELEVATED": 0.5, "STRESS": 0.1, "CRISIS": 1.0},
            limits=Limits(groups={"some": GroupLimits(members=("alpha", "omega"), cap=0.2)}),
            overlay=AllocatorParameters(hedges=replace(HEDGES, shares={"omega": 0.7, "delta": 0.3})),
        ),
    ),
    "hedges in cash, daily, computed and not applied": (
        WEEKS,
        Policy(
            base=HEDGED,
            method=METHOD["sharpe_tilt"](
                lookback={"NORMAL": "60s", "ELEVATED": "60s", "STRESS": "20s", "CRISIS": "20s"}
            ),
            metrics=EAGER,
            overlay=AllocatorParameters(enabled=False, apply="daily", lag=2, hedges=replace(HEDGES, funded="cash")),
        ),
    ),
    "hedges after a volatility target, daily": (
        MONTHS,
        Policy(
            base=HEDGED,
            method=METHOD["calmar_tilt"](),
            overlay=AllocatorParameters(apply="daily", hedges=HEDGES, volatility_target=TARGET),
        ),
    ),
    "composite of three metrics": (
        MONTHS,
        Policy(
            base=BASE,
            method=METHOD["composite"](weights={"sharpe": 2.0, "sortino": 1.0, "calmar": 1.0}, lookback="6m"),
            rate=0.25,
        ),
    ),
    "equal weights, which read no metric": (
        MONTHS,
        Policy(base=BASE, method=METHOD["equal"](), limits=Limits(floor=0.0, cap=1.0, of="weight"), rate=0.3),
    ),
}
cases = pytest.mark.parametrize("case", POLICIES)


def market(seed, sessions=SESSIONS):
    """Market regimes in runs of thirty sessions; the first forty have none, and the first bull market comes late."""
    codes = np.random.default_rng(seed).integers(1, 4, 1 + len(sessions) // 30).repeat(30)[: len(sessions)]
    first_bull = sessions.get_loc(WEEKS[30]) - 2
    codes[first_bull : first_bull + 30] = MARKET_REGIMES.index("bull")
    return pd.Series(np.array(MARKET_REGIMES)[codes], index=sessions).iloc[40:]


def random_returns(seed):
    """Fat-tailed returns with a common factor whose volatility changes; late starters; kappa never trades."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0, 0.8, 1 + len(SESSIONS) // 20)).repeat(20)[: len(SESSIONS), None]
    common = level * rng.standard_t(3, (len(SESSIONS), 1)) * 0.004
    values = pd.DataFrame(
        np.clip(common + rng.standard_t(3, (len(SESSIONS), 6)) * 0.006, -0.5, 0.5),
        index=SESSIONS,
        columns=["alpha", "beta", "delta", "elsewhere", "gamma", "omega"],
    )
    values.iloc[:7] = values.iloc[:150, 0] = values.iloc[:260, 2] = np.nan
    return values


def history_of(frame):
    return ReturnHistory.from_arrays(frame.to_numpy(), pd.DatetimeIndex(frame.index), list(frame.columns))


def by_chain(history, as_of, policy, regimes=None):
    """Tables as an orchestrator would compute them in one go."""
    frame = pd.DataFrame(history.returns, index=history.sessions, columns=list(history.strategies))
    returns = frame.rename_axis(index="session", columns="strategy").stack().rename("daily_return").reset_index()
    if policy.ensemble:
        sets = weight_sets(history, regimes, as_of, policy)
        targets = ensemble_targets(sets, regimes, as_of, CALENDAR, policy)
    else:
        targets = chain.target_table(chain.metric_rows(history, as_of, policy), policy)
    realized = chain.realized_table(pd.DataFrame(), targets, policy, CALENDAR, returns.dropna())
    tables = {"target_weights": targets, "realized_weights": realized}
    scalars = None
    if policy.overlay is not None:
        state = chain.state_table(returns.dropna(), realized, policy.overlay, DAILY)
        regime = chain.regime_table(state, policy.overlay.thresholds)
        targeted = chain.volatility_table(returns.dropna(), realized, policy.overlay, DAILY)
        scalars = chain.scalar_table(regime, policy.overlay, targeted)
        tables |= {"allocator_state": state, "risk_regime": regime, "risk_scalar": scalars}
    return tables | {"final_weights": chain.final_table(realized, scalars, policy, CALENDAR)}


def assert_is_the_chain(simulation, expected):
    found = simulation.tables()
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        # The chain orders the columns of targets in two ways, by whether there is an ensemble.
        pd.testing.assert_frame_equal(found[name][list(table)], table, check_exact=True)
        assert set(found[name]) == set(table)
    spread = {
        column: expected[name].pivot(index="as_of", columns="strategy", values=column).to_numpy()
        for name, columns in {
            "target_weights": ["multiplier", "target"],
            "realized_weights": ["previous", "realized", "rate"],
            "final_weights": ["final", "scalar", "volatility_scalar"],
        }.items()
        for column in columns
    }
    for name in ("multiplier", "target", "previous", "realized", "rate", "final"):
        np.testing.assert_array_equal(getattr(simulation, name), spread[name], err_msg=name)
    np.testing.assert_array_equal(simulation.strategy_scalar, spread["scalar"])
    np.testing.assert_array_equal(simulation.volatility_scalar, spread["volatility_scalar"][:, 0])
    [unmapped, *_] = {*simulation.strategies} - {*SLEEVE_MAPS, *OVERLAY.sleeves}
    np.testing.assert_array_equal(simulation.scalar, spread["scalar"][:, simulation.strategies.index(unmapped)])


def assert_same(one, other, until=None):
    """Everything in two simulations is equal to the last bit; up to a number of rebalances where one is given."""
    session = None if until is None else one.as_of[until - 1]
    for field in fields(Simulation):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, pd.Series):
            pd.testing.assert_series_equal(a.loc[:session], b.loc[:session], check_exact=True)
        elif isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a.loc[:session], b.loc[:session], check_exact=True)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a[:until], b[:until], err_msg=field.name)
        elif isinstance(a, pd.DatetimeIndex):
            pd.testing.assert_index_equal(a[:until], b[:until])
        elif field.name in ("metric", "weight_set", "paced_by"):
            assert a[:until] == b[:until]
    for name, values in one.values.items():
        np.testing.assert_array_equal(values[:until], other.values[name][:until], err_msg=name)


@functools.cache
def simulated(case, seed):
    """Simulate a case on random returns; tests only read it."""
    as_of, policy = POLICIES[case]
    return simulate(history_of(random_returns(seed)), as_of, CALENDAR, policy, market_regimes=market(seed))


@pytest.mark.parametrize("case", [case for case, (_, policy) in POLICIES.items() if policy.overlay is not None])
def test_what_was_earned_is_what_the_audit_of_the_tables_compares(case):
    as_of, policy = POLICIES[case]
    returns, simulation = random_returns(1), simulated(case, 1)
    tables, until = simulation.tables(), SESSIONS[-30]
    rows = returns.rename_axis(index="session", columns="strategy").stack().rename("daily_return").reset_index()
    on = [tables[name] for name in ("risk_scalar", "risk_regime")]
    found = chain.audit_table(tables["realized_weights"], rows, *on, policy, pd.DatetimeIndex([SESSIONS[200], until]))
    found = found[found["as_of"] == until]
    found = found[found["window"] == "all"].set_index(["portfolio", "metric"])["value"]
    enabled = replace(policy, overlay=replace(policy.overlay, enabled=True))
    scaled = simulation if policy == enabled else simulate(history_of(returns), as_of, CALENDAR, enabled)
    for portfolio, earned in (("unscaled", simulation.unscaled), ("scaled", scaled.traded)):
        for metric, (value, _) in performance(earned.loc[:until]).items():
            assert found[portfolio, metric] == value


@cases
def test_simulation_is_the_chain_bit_for_bit(case):
    as_of, policy = POLICIES[case]
    simulation = simulated(case, 1)
    assert_is_the_chain(simulation, by_chain(history_of(random_returns(1)), as_of, policy, market(1)))
    assert set(simulation.values) == set(policy.method.reads)


def test_cases_reach_every_branch():
    tilted, ensemble = (
        simulated(case, 1) for case in ("calmar tilt, overlay on", "ensemble of softmax, limits of weight")
    )
    assert (tilted.scalar < 1).any()
    assert tilted.scalar[0] == 1
    assert tilted.regimes["regime"].nunique() >= 3
    reasons = {choice.split(": ")[1].split(",")[0] for choice in ensemble.weight_set}
    assert reasons >= {"current regime", "latest other"}
    assert len(set(simulated("lookback by risk regime", 1).metric)) >= 2
    paced = simulated("paced by risk regime, capped turnover, sleeves of their own", 1)
    daily = simulated("overlay applied daily", 1)
    assert len(set(paced.paced_by)) >= 3
    for simulation in (paced, daily):
        rates, caps = zip(*(simulation.policy.pace(regime) for regime in simulation.paced_by), strict=True)
        held = np.less(simulation.rate, np.array(rates)[:, None]).all(axis=1)
        assert 0 < held.sum() < len(held)
        np.testing.assert_allclose(simulation.turnover[held], np.array(caps)[held], rtol=1e-12)
        assert len(np.unique(simulation.strategy_scalar[-1])) == 3
    pro_rata, cash = (simulated(case, 1) for case in HEDGED_CASES)
    for simulation in (pro_rata, cash):
        together = simulation.hedge.sum(axis=1)
        assert 0 < (together > 0).sum() < len(together)
        # Full, on the ramp, and held by a limit.
        assert len(np.unique(together)) >= 4
    assert 0 < pro_rata.funding.min() < pro_rata.funding.max() == 1
    assert (cash.funding == 1).all()


HEDGED_CASES = ["hedges pro rata, inside of a group", "hedges in cash, daily, computed and not applied"]


@pytest.mark.parametrize("case", HEDGED_CASES)
@pytest.mark.parametrize("enabled", [False, True])
def test_hedges_that_are_never_on_leave_every_bit(case, enabled):
    as_of, policy = POLICIES[case]
    never = replace(policy.overlay, enabled=enabled, hedges=replace(HEDGES, regimes=("CRISIS",)))
    # No session is in CRISIS.
    never = replace(never, thresholds=replace(never.thresholds, crisis_score=4, stress_score=3, dd_crisis=-0.99))
    history = history_of(random_returns(6) / 5)
    hedged = simulate(history, as_of, CALENDAR, replace(policy, overlay=never, limits=Limits()))
    others = {name: weight for name, weight in HEDGED.items() if weight}
    without = replace(policy, base=others, overlay=replace(never, hedges=None), limits=Limits())
    plain = simulate(history, as_of, CALENDAR, without)
    assert "CRISIS" not in set(hedged.regimes["regime"])
    pd.testing.assert_frame_equal(hedged.regimes, plain.regimes, check_exact=True)
    kept = [hedged.strategies.index(name) for name in plain.strategies]
    for name in ("target", "realized", "strategy_scalar", "scaled", "final"):
        np.testing.assert_array_equal(getattr(hedged, name)[:, kept], getattr(plain, name), err_msg=name)
    assert not np.delete(hedged.final, kept, axis=1).any()
    pd.testing.assert_series_equal(hedged.traded, plain.traded, check_exact=True)


@pytest.mark.parametrize("case", HEDGED_CASES)
def test_hedges_of_every_day_keep_limits_and_are_those_of_the_rebalance(case):
    policy = replace(POLICIES[case][1], overlay=replace(POLICIES[case][1].overlay, enabled=True))
    tables = simulated(case, 1).tables()
    tables["final_weights"] = tables["final_weights"].assign(final=tables["final_weights"]["scaled"])
    every = chain.daily_table(tables["realized_weights"], tables["risk_scalar"], policy, CALENDAR, SESSIONS)
    same = every.merge(tables["final_weights"], on=["as_of", "strategy"], suffixes=("", "_rebalance"))
    assert len(same) == len(tables["final_weights"])
    for column in ("funding", "hedge", "final"):
        np.testing.assert_array_equal(same[column], same[f"{column}_rebalance"])
    hedge, final = (every.pivot(index="as_of", columns="strategy", values=name) for name in ("hedge", "final"))
    assert (hedge.sum(axis=1) <= 0.25 * final.sum(axis=1) + 1e-12).all()
    assert (final.sum(axis=1) <= 1 + 1e-12).all()
    for group in policy.groups:
        assert all(group.keeps(row, 1e-12) for row in final.to_numpy())


@pytest.mark.parametrize("measured", ["elsewhere", "omega"], ids=["outside the book", "without a base weight"])
def test_uniform_weights_are_read_before_any_weight_set(measured):
    as_of, policy = POLICIES["ensemble of softmax, limits of weight"]
    policy = replace(policy, base=BASE | {"alpha": 0.2, "omega": 0.0})
    history, regimes = history_of(random_returns(3)[[measured]]), market(3)
    simulation = simulate(history, as_of, CALENDAR, policy, market_regimes=regimes)
    assert_is_the_chain(simulation, by_chain(history, as_of, policy, regimes))
    assert simulation.weight_set[0].startswith("uniform")
    np.testing.assert_allclose(simulation.target, np.tile([0.2] * 5 + [0.0], (len(as_of), 1)))


def test_rebalances_before_any_strategy_is_live():
    history, policy = history_of(random_returns(12)), POLICIES["calmar tilt, overlay on"][1]
    as_of = SESSIONS[[2, 4]].append(MONTHS)
    simulation = simulate(history, as_of, CALENDAR, policy)
    assert_is_the_chain(simulation, by_chain(history, as_of, policy))
    assert simulation.unscaled.index[0] == SESSIONS[7]


@pytest.mark.parametrize("sessions", [30, 66, 100])
def test_histories_too_short_for_a_state(sessions):
    history = history_of(random_returns(4).iloc[:sessions])
    as_of = ends(SESSIONS[:sessions], "M")
    policy = POLICIES["calmar tilt, overlay on"][1]
    simulation = simulate(history, as_of, CALENDAR, policy)
    assert_is_the_chain(simulation, by_chain(history, as_of, policy))
    np.testing.assert_array_equal(simulation.final, simulation.realized)
    assert len(simulation.traded) == len(simulation.unscaled) < sessions


def test_a_grid_reads_returns_of_one_frequency():
    plain = Policy(base=BASE, method=METHOD["equal"]())
    with pytest.raises(ValueError, match="one frequency of returns"):
        list(grid(history_of(random_returns(5)), MONTHS, CALENDAR, [plain, replace(plain, frequency=MONTHLY)]))


def test_grid_is_so_many_simulations():
    history, regimes = history_of(random_returns(5).iloc[:400]), market(5)
    policies = [
        replace(policy, rate=rate, metrics=metrics, overlay=overlay)
        for _, policy in POLICIES.values()
        for rate, metrics, overlay in (
            (1.0, EAGER, policy.overlay),
            (0.2, EAGER, policy.overlay),
            (0.2, MetricParameters(risk_free=0.0), policy.overlay),
            (0.2, MetricParameters(risk_free=0.0), OVERLAY),
        )
    ]
    policies += [
        replace(policies[0], limits=Limits(cap=3.0)),
        replace(policies[0], base=dict.fromkeys(NAMES, 1 / 6)),
        replace(policies[0], ensemble=True),
        replace(policies[0], starter={}),
        replace(policies[0], overlay=replace(OVERLAY, thresholds=NERVOUS)),
        replace(POLICIES["lookback by risk regime"][1], overlay=replace(OVERLAY, thresholds=NERVOUS)),
        replace(POLICIES["lookback by risk regime"][1], base=dict.fromkeys(NAMES, 1 / 6)),
        replace(policies[0], method=METHOD["calmar_tilt"](alpha=1)),
        replace(policies[0], method=METHOD["calmar_tilt"](alpha=1.0)),
    ]
    as_of = MONTHS[SESSIONS[399] >= MONTHS][::3]
    together = grid(history, as_of, CALENDAR, policies, market_regimes=regimes)
    for policy, found in zip(policies, together, strict=True):
        alone = simulate(history, as_of, CALENDAR, policy, market_regimes=regimes)
        assert found.policy is policy
        assert found.targets[-1].tilt.formula == alone.targets[-1].tilt.formula
        assert_same(found, alone)


def test_a_grid_keeps_no_more_than_its_newest_results():
    history, policy = history_of(random_returns(5)), POLICIES["calmar tilt, overlay on"][1]
    policies = (replace(policy, rate=rate) for rate in np.linspace(0.05, 1, 3 * KEPT))
    alive = [ref(found.realized) for found in grid(history, MONTHS, CALENDAR, policies)]
    gc.collect()
    assert len(alive) == 3 * KEPT
    # Those of the generator went with it; what a policy gave out nobody else holds.
    assert not any(each() is not None for each in alive)
    kept = []
    for found in grid(history, MONTHS, CALENDAR, (replace(policy, rate=rate) for rate in np.linspace(0.05, 1, 20))):
        kept.append(ref(found.realized))
        assert sum(each() is not None for each in kept) <= KEPT + 1


@cases
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.95))
def test_appended_data_never_change_the_past(case, seed, share):
    as_of, policy = POLICIES[case]
    returns, regimes = random_returns(seed), market(seed)
    count = max(1, int(share * len(as_of)))
    date = as_of[count - 1]
    whole = simulate(history_of(returns), as_of, CALENDAR, policy, market_regimes=regimes)
    cut = simulate(history_of(returns.loc[:date]), as_of[:count], CALENDAR, policy, market_regimes=regimes.loc[:date])
    assert_same(cut, whole, until=count)


@cases
def test_order_of_columns_is_irrelevant(case):
    as_of, policy = POLICIES[case]
    returns, regimes = random_returns(6), market(6)
    shuffled = returns[list(np.random.default_rng(6).permutation(returns.columns))]
    other = replace(policy, base=dict(reversed(policy.base.items())))
    assert_same(
        simulate(history_of(returns), as_of, CALENDAR, policy, market_regimes=regimes),
        simulate(history_of(shuffled), as_of, CALENDAR, other, market_regimes=regimes),
    )


@pytest.mark.parametrize("case", [case for case, (_, policy) in POLICIES.items() if policy.overlay is None])
def test_permuting_strategies_permutes_weights_only(case):
    as_of, policy = POLICIES[case]
    returns, regimes = random_returns(7), market(7)
    order = np.random.default_rng(7).permutation(len(NAMES))
    new_name = dict(zip(NAMES, np.array(NAMES)[order].tolist(), strict=True))
    groups = {
        name: replace(group, members=tuple(new_name[member] for member in group.members))
        for name, group in policy.limits.groups.items()
    }
    renamed = replace(
        policy,
        base={new_name[name]: weight for name, weight in policy.base.items()},
        limits=replace(policy.limits, groups=groups),
    )
    one = simulate(history_of(returns), as_of, CALENDAR, policy, market_regimes=regimes)
    other = simulate(history_of(returns.rename(columns=new_name)), as_of, CALENDAR, renamed, market_regimes=regimes)
    for name in ("multiplier", "target", "previous", "realized", "rate", "final"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[:, order], err_msg=name)
    np.testing.assert_array_equal(one.turnover, other.turnover)
    np.testing.assert_allclose(one.traded, other.traded, rtol=0, atol=1e-16)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_fifty_two_weeks_of_the_same_metrics_do_not_drift(rate):
    week = np.random.default_rng(8).normal(0.001, 0.01, (5, len(NAMES)))
    sessions = pd.bdate_range("2021-01-04", periods=54 * 5).as_unit("us")
    as_of = sessions[9 : 53 * 5 : 5]
    policy = Policy(
        base=BASE,
        method=METHOD["minmax_tilt"](metric="sharpe", lookback="10s"),
        metrics=MetricParameters(min_sessions=5),
        rate=rate,
    )
    simulation = simulate(ReturnHistory.from_arrays(np.tile(week, (54, 1)), sessions, NAMES), as_of, sessions, policy)
    assert len(as_of) == 52
    base = np.array([BASE[name] for name in simulation.strategies])
    first = simulation.target[0]
    assert np.abs(first - base).max() > 0.02
    for targets in simulation.targets:
        np.testing.assert_array_equal(targets.target, first)
        np.testing.assert_array_equal([targets.lower, targets.upper], [0.5 * base, 2.0 * base])
    np.testing.assert_array_equal(simulation.previous[0], base)
    np.testing.assert_array_equal(simulation.previous[1:], simulation.realized[:-1])
    gap = np.abs(simulation.realized - first).max(axis=1)
    np.testing.assert_allclose(gap, np.abs(first - base).max() * (1 - rate) ** np.arange(1, 53), rtol=0, atol=1e-15)
    assert max(abs(math.fsum(row) - 1) for row in simulation.realized) < 1e-14


@pytest.mark.parametrize("case", ["calmar tilt, overlay on", "weekly sharpe tilt, proportional, overlay off"])
def test_returns_are_those_of_the_weights_in_force(case):
    as_of, policy = POLICIES[case]
    returns = random_returns(9)
    simulation = simulate(history_of(returns), as_of, CALENDAR, policy)
    earned = returns.reindex(columns=list(NAMES)).fillna(0.0)
    assert simulation.traded.index.equals(SESSIONS[max(simulation.effective_from[0], SESSIONS[7]) <= SESSIONS])
    for day in simulation.traded.index[::17]:
        rebalance = np.flatnonzero(simulation.effective_from <= day)[-1]
        for series, weights in ((simulation.unscaled, simulation.realized), (simulation.traded, simulation.final)):
            expected = math.fsum(weights[rebalance] * earned.loc[day])
            assert series[day] == pytest.approx(expected, abs=1e-15)
    assert (simulation.final == simulation.realized).all() != policy.overlay.enabled
    moved = np.abs(simulation.realized - simulation.previous).sum(axis=1) / 2
    np.testing.assert_allclose(simulation.turnover, moved, rtol=1e-12)


@pytest.mark.parametrize(
    ("strategies", "idle"),
    [
        (6, lambda returns: returns.iloc[300:420].mul(0.0)),
        (6, lambda returns: returns.iloc[300:420, 1:].mul(0.0)),
        (2, lambda returns: returns.iloc[300:420, 1:].mul(0.0)),
        (2, lambda returns: returns.iloc[:200, 1:].mul(np.nan)),
        (2, lambda returns: returns.iloc[200:, 1:].mul(np.nan)),
        (1, lambda returns: returns.iloc[300:420].mul(0.0)),
    ],
    ids=["all", "all but one", "one of two", "one starts", "one stops", "a book of one"],
)
def test_idle_strategies_never_stop_a_rebalance(strategies, idle):
    returns = random_returns(10)[["omega", "delta", "alpha", "beta", "gamma", "elsewhere"][:strategies]]
    found = idle(returns)
    returns.loc[found.index, found.columns] = found
    as_of, policy = POLICIES["calmar tilt, overlay on"]
    base = dict.fromkeys(returns, 1 / strategies)
    policy = replace(policy, base=base, starter={}, overlay=AllocatorParameters())
    history = history_of(returns)
    simulation = simulate(history, as_of, CALENDAR, policy)
    assert np.isfinite(simulation.scalar[np.arange(len(as_of)) >= 4]).all()
    assert_is_the_chain(simulation, by_chain(history, as_of, policy))


@pytest.mark.parametrize(
    ("as_of", "calendar", "message"),
    [
        (MONTHS[:0], CALENDAR, "at least one session"),
        (MONTHS[::-1], CALENDAR, "ascending order"),
        (MONTHS[[0, 0]], CALENDAR, "each once"),
        (pd.DatetimeIndex(["2018-03-31"]), CALENDAR, "got 2018-03-31"),
        (MONTHS, CALENDAR[MONTHS[4] != CALENDAR], f"got {MONTHS[4]:%Y-%m-%d}"),
        (MONTHS, SESSIONS[MONTHS[-1] >= SESSIONS], "expected one after"),
    ],
)
def test_dates_are_validated(as_of, calendar, message):
    policy = POLICIES["calmar tilt, overlay on"][1]
    with pytest.raises(ValueError, match=message):
        simulate(history_of(random_returns(0)), as_of, calendar, policy)


def test_an_ensemble_needs_market_regimes():
    as_of, policy = POLICIES["ensemble of softmax, limits of weight"]
    with pytest.raises(ValueError, match="market_regimes: expected a regime by session"):
        simulate(history_of(random_returns(0)), as_of, CALENDAR, policy)


def test_a_book_that_loses_everything_is_refused_under_an_overlay():
    returns = random_returns(0).fillna(0.0)
    returns.iloc[200] = -0.9
    double = Policy(
        base={name: 2 * weight for name, weight in BASE.items()},
        gross=2.0,
        method=METHOD["calmar_tilt"](),
        overlay=OVERLAY,
    )
    with pytest.raises(ValueError, match=f"equity: expected values above 0, got .* on {SESSIONS[200]:%Y-%m-%d}"):
        simulate(history_of(returns), MONTHS, CALENDAR, double)


def test_history_from_arrays_sorts_strategies_and_knows_no_lots():
    sessions = pd.bdate_range("2024-01-01", periods=3)
    history = ReturnHistory.from_arrays(
        [[0.01, np.nan], [0.0, 0.02], [-0.01, 0.0]], sessions, strategies=["zeta", "eta"]
    )
    assert history.strategies == ("eta", "zeta")
    np.testing.assert_array_equal(history.returns, [[np.nan, 0.01], [0.02, 0.0], [0.0, -0.01]])
    np.testing.assert_array_equal(history.active, [[False, True], [True, False], [False, True]])
    assert history.closed_lots is None
    assert history.winning_lots is None
    assert history.first_live.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("returns", "names", "message"),
    [
        (np.zeros((3, 3)), ["a", "b"], r"returns: expected shape \(3, 2\)"),
        (np.zeros((3, 2)), ["a", "a"], "unique names"),
        (np.full((3, 2), -1.0), ["a", "b"], "-100% or worse: strategy 'a'"),
    ],
)
def test_history_from_arrays_is_validated(returns, names, message):
    with pytest.raises(ValueError, match=message):
        ReturnHistory.from_arrays(returns, pd.bdate_range("2024-01-01", periods=3), names)
