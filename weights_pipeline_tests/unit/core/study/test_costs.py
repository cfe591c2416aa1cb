"""Costs and drift: worked by hand, against a plain ledger of money, and the conventions they have."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.study.costs import before_and_after, earned, earned_by, in_force_after, paid_in_words
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline_tests.unit.core.study.test_simulate import BASE, CALENDAR, MONTHS, history_of, random_returns

NAMES = ("a", "b")


def money(weights, first, returns, costs, *, drift, per_year):
    """Wealth after each session, by positions in money; costs are paid out of cash on the session."""
    wealth, path, traded = 1.0, [], []
    positions, turn = np.zeros(weights.shape[1]), 0
    fees = np.array([costs.by_strategy.get(name, costs.fee) for name in NAMES[: weights.shape[1]]])
    for day, row in enumerate(np.nan_to_num(returns)):
        cost = 0.0
        if turn < len(first) and first[turn] == day:
            aim = weights[turn] * wealth
            moves = np.abs(aim - positions)
            traded.append(moves.sum() / wealth)
            cost = (fees * moves).sum() + (costs.rebalance * wealth if moves.sum() > 1e-15 else 0.0)
            positions, turn = aim, turn + 1
        cost += costs.financing / per_year * max(positions.sum() - wealth, 0.0)
        earned = (positions * row).sum() - cost
        positions = positions * (1 + row)
        if not drift and turn:
            positions = weights[turn - 1] * (wealth + earned)
        wealth += earned
        path.append(wealth)
    return np.array(path), np.array(traded)


def test_two_strategies_by_hand():
    weights, first = np.array([[0.5, 0.5], [0.6, 0.6]]), np.array([1, 3])
    returns = np.array([[0.5, 0.5], [0.1, -0.1], [0.1, np.nan], [0.0, 0.0]])
    costs = Costs(fee=0.01, by_strategy={"b": 0.02}, rebalance=0.001, financing=0.252)
    still = earned(weights, first, returns, NAMES, costs, per_year=252)
    np.testing.assert_allclose(still.before, [0.0, 0.0, 0.05, 0.0], atol=1e-16)
    # 0.5 of each is bought, then 0.1 more of each; 0.2 are borrowed at 0.1% a session.
    np.testing.assert_allclose(still.after, [0.0, -0.016, 0.05, -0.003 - 0.001 - 0.0002], atol=1e-15)
    np.testing.assert_allclose(still.traded, [1.0, 0.2])
    np.testing.assert_allclose((still.fees, still.rebalances, still.financing), (0.018, 0.002, 0.0002))
    np.testing.assert_allclose(still.gross, [0.0, 1.0, 1.0, 1.2])

    moved = earned(weights, first, returns, NAMES, Costs(), drift=True, per_year=252)
    # 0.5 and 0.5 become 0.55 and 0.45 of 1, then 0.605 and 0.45 of 1.055.
    np.testing.assert_allclose(moved.before, [0.0, 0.0, 0.055, 0.0], atol=1e-16)
    np.testing.assert_allclose(moved.traded, [1.0, 0.6 - 0.605 / 1.055 + 0.6 - 0.45 / 1.055])


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), drift=st.booleans())
def test_it_is_a_ledger_of_money(seed, drift):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.02, (40, 2))
    returns[:5, 1] = np.nan
    first = np.sort(rng.choice(40, 4, replace=False))
    weights = rng.uniform(0, 0.9, (4, 2))
    costs = Costs(fee=0.002, by_strategy={"a": 0.001}, rebalance=0.0003, financing=0.06)
    found = earned(weights, first, returns, NAMES, costs, drift=drift, per_year=252)
    wealth, traded = money(weights, first, returns, costs, drift=drift, per_year=252)
    np.testing.assert_allclose(np.cumprod(1 + found.after), wealth, rtol=1e-12)
    np.testing.assert_allclose(found.traded, traded, rtol=1e-12)
    assert found.paid == pytest.approx((found.before - found.after).sum(), rel=1e-12)
    free = earned(weights, first, returns, NAMES, Costs(), drift=drift, per_year=252)
    np.testing.assert_array_equal(free.before, free.after)
    assert (free.paid, found.paid > 0) == (0.0, True)


def test_constant_weights_earn_what_a_simulation_says_to_the_bit():
    policy = Policy(base=BASE, method=Equal(), rate=0.5)
    simulation = simulate(history_of(random_returns(3)), MONTHS, CALENDAR, policy)
    found = earned_by(simulation, Costs(fee=0.001))
    np.testing.assert_array_equal(found.before, simulation.traded.to_numpy())
    assert earned_by(simulation, Costs(), drift=True).traded[1:].sum() > found.traded[1:].sum()


def test_weights_in_force_are_those_of_a_simulation():
    policy = Policy(base=BASE, method=Equal(), rate=0.5)
    simulation = simulate(history_of(random_returns(3)), MONTHS, CALENDAR, policy)
    costs = Costs(fee=0.001, by_strategy={simulation.strategies[0]: 0.002}, rebalance=0.0001)
    days, history = pd.DatetimeIndex(simulation.traded.index), simulation.history
    weights = pd.DataFrame(simulation.final, simulation.effective_from, list(simulation.strategies))
    returns = pd.DataFrame(history.returns, history.sessions, list(history.strategies))
    found = in_force_after(weights, returns, costs, DAILY)
    assert found == before_and_after(earned_by(simulation, costs), days, DAILY)
    assert found["after"]["sharpe"] < found["before"]["sharpe"]
    # One without weights and one that comes in force after everything change nothing.
    later = pd.concat([weights, weights.tail(1).set_axis([returns.index[-1] + pd.Timedelta(days=3)], axis=0)])
    assert (
        in_force_after(later, returns, replace(costs, by_strategy={**costs.by_strategy, "zebra": 1.0}), DAILY) == found
    )
    assert in_force_after(later.tail(1), returns, costs, DAILY) is None


def test_what_was_paid_is_a_sentence():
    rates = {"traded_per_year": 0.5, "fees_per_year": 0.001, "rebalances_per_year": 0.0, "financing_per_year": 0.02}
    assert paid_in_words(rates) == (
        "A year: 50.0% of capital bought and sold; 0.100% paid for that, 0.000% for rebalances as such, 2.000% for "
        "gross above 1."
    )


def test_a_book_that_drifts_may_not_lose_all():
    with pytest.raises(ValueError, match=r"a book that drifts has lost all by session 0, its return is -1\.2"):
        earned(
            np.array([[1.0, 1.0]]), np.array([0]), np.array([[-0.6, -0.6]]), NAMES, Costs(), drift=True, per_year=252
        )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fee": float("inf")}, "fee: expected a fraction of at least 0, such as 0.001, got inf"),
        ({"by_strategy": {"a": -1}}, "by_strategy.a: expected a fraction"),
        ({"rebalance": -1.0}, "rebalance: expected"),
        ({"financing": float("nan")}, "financing: expected"),
    ],
)
def test_costs_that_cannot_be_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Costs(**keys)
