"""The optimal speed: against a Riccati equation solved numerically, its limits, and the chain with it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.speed import optimal_speed
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.verify import recurrence
from weights_pipeline.core.waterfall import waterfalls_by_date
from weights_pipeline_tests.unit.core.realized.test_pace import METHOD, long
from weights_pipeline_tests.unit.core.study.test_simulate import BASE, CALENDAR, EAGER, WEEKS, random_returns
from weights_pipeline_tests.unit.core.study.test_simulate import history_of as history


def by_riccati(cost, half_life, discount):
    """Rate and aim from the value function -A x²/2 + B x m, iterated until it stays; risk aversion and variance 1."""
    later, kept = 1 - discount, 2 ** (-1 / half_life)
    a = b = 0.0
    for _ in range(100_000):
        whole, pull = cost + later * (1 + a), later * (1 + b * kept)
        new = cost - cost**2 / whole, cost * pull / whole
        if max(abs(new[0] - a), abs(new[1] - b)) < 1e-15:
            break
        a, b = new
    # The best x is (cost x_before + pull m) / whole.
    return 1 - cost / whole, pull / (whole - cost)


@settings(max_examples=100, deadline=None)
@given(cost=st.floats(0.01, 50), half_life=st.floats(0.2, 60), discount=st.floats(0.0, 0.3))
def test_the_closed_form_solves_the_riccati_equation(cost, half_life, discount):
    rate, aim = by_riccati(cost, half_life, discount)
    speed = optimal_speed(cost, half_life, discount)
    assert (speed.rate, speed.aim) == (pytest.approx(rate, rel=1e-8), pytest.approx(aim, rel=1e-8))


def test_golden():
    speed = optimal_speed(20.0, 6.0)
    assert speed.rate == pytest.approx(0.2, abs=1e-15)
    assert speed.aim == pytest.approx(1 / (1 + (1 - 2 ** (-1 / 6)) * 4), abs=1e-15)
    assert speed.aim == pytest.approx(0.6962, abs=1e-4)


def test_what_costs_nothing_is_traded_at_once_and_what_lasts_is_aimed_at_whole():
    assert optimal_speed(0.0, 3.0) == optimal_speed(0.0, None, 0.2)
    assert (optimal_speed(0.0, 3.0).rate, optimal_speed(0.0, 3.0).aim) == (1.0, 1.0)
    assert optimal_speed(5.0).aim == 1.0
    assert optimal_speed(5.0, 1e9).aim == pytest.approx(1.0, abs=1e-8)
    dear, cheap, brief = optimal_speed(9.0, 6.0), optimal_speed(2.0, 6.0), optimal_speed(2.0, 1.0)
    assert dear.rate < cheap.rate == brief.rate
    assert max(dear.aim, brief.aim) < cheap.aim


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cost": -1.0}, r"cost: expected a number of at least 0, got -1\.0"),
        ({"cost": math.inf}, "cost: expected"),
        ({"cost": 1.0, "half_life": 0}, "half_life: expected rebalances above 0, got 0"),
        ({"cost": 1.0, "half_life": math.nan}, "half_life: expected a number"),
        ({"cost": 1.0, "discount": 1.0}, r"discount: expected a fraction in \[0, 1\), got 1\.0"),
    ],
)
def test_parameters_out_of_range_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        optimal_speed(**keys)


def test_the_chain_aims_between_base_and_target_and_every_weight_follows_from_its_row():
    returns, speed = random_returns(7), optimal_speed(4.0, 6.0)
    plain = Policy(base=BASE, method=METHOD["sharpe_tilt"](lookback="60s"), metrics=EAGER, rate=speed.rate)
    policy = replace(plain, aim=speed.aim)
    targets = chain.target_table(chain.metric_rows(history(returns), WEEKS, policy), policy)
    whole = chain.realized_table(pd.DataFrame(), targets, policy, CALENDAR, long(returns))
    wanted = targets.sort_values(["as_of", "strategy"], ignore_index=True)
    np.testing.assert_allclose(whole["target"], wanted["base"] + speed.aim * (wanted["target"] - wanted["base"]))
    assert ((whole["realized"] >= whole["lower"]) & (whole["realized"] <= whole["upper"])).all()
    np.testing.assert_allclose(whole.groupby("as_of")["realized"].sum(), 1.0, rtol=0, atol=1e-12)
    assert recurrence(whole).value == 0.0

    made = simulate(history(returns), WEEKS, CALENDAR, policy).tables()["realized_weights"]
    columns = ["as_of", "strategy", "previous", "target", "rate", "realized"]
    pd.testing.assert_frame_equal(made[columns], whole[columns], check_dtype=False)

    found = waterfalls_by_date(targets, whole, chain.final_table(whole, None, policy, CALENDAR))
    steps = {step.name: step for step in found[WEEKS[-1]]["alpha"]}
    assert steps["aim"].value == whole.set_index(["as_of", "strategy"])["target"].loc[WEEKS[-1], "alpha"]
    one_step = simulate(history(returns), WEEKS, CALENDAR, replace(plain, aim=1.0))
    np.testing.assert_array_equal(one_step.realized, simulate(history(returns), WEEKS, CALENDAR, plain).realized)


def test_the_aim_keeps_limits_of_weight_where_base_misses_them_by_rounding():
    policy = Policy(base={"a": 0.5, "b": 0.5}, method=METHOD["equal"](), limits=Limits(floor=1.0, cap=1.0), aim=0.3)
    base = np.array([0.5, 0.5])
    np.testing.assert_array_equal(policy.aimed(base + 1e-12, base, base, base), base)
    with pytest.raises(ValueError, match=r"aim: expected a share of the way to target in \(0, 1\], got 0"):
        replace(policy, aim=0.0)
