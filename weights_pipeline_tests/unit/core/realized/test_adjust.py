"""Partial adjustment: golden numbers, changes of the book, and promises that hold along whole histories."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.realized.adjust import carried, step
from weights_pipeline.core.realized.speed import adjustment_speed, remaining_gap
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.normalise import capped
from weights_pipeline_tests.support.examples import examples

LIMITS = Limits()
seeds = st.integers(0, 2**32 - 1)
rates = st.one_of(st.just(1.0), st.floats(0.01, 1.0))


def series(*weights: float, names: str = "abcdefghijklmnop") -> pd.Series:
    return pd.Series(weights, index=list(names[: len(weights)]), dtype=float)


def random_book(seed: int, partitions: int = 1) -> tuple[pd.Series, list[pd.Series]]:
    """Base weights of two to eight strategies and a target per partition, inside the default limits."""
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 9)
    base = rng.uniform(0.1, 1, size)
    base /= base.sum()
    targets = [
        capped(base, rng.uniform(0.5, 2, size) ** 2, floor=0.5, cap=2.0, gross=1.0)[0] for _ in range(partitions)
    ]
    return series(*base), [series(*target) for target in targets]


def adjusted(
    previous: pd.Series | None,
    target: pd.Series,
    base: pd.Series,
    *,
    rate: float,
    limits: Limits = LIMITS,
    gross: float = 1.0,
) -> pd.DataFrame:
    """One rebalance by name of strategy, sorted: what it starts from, where it goes, and how far it gets."""
    base = base.sort_index()
    anchor, goal = base.to_numpy(float), target.reindex(base.index).to_numpy(float)
    begin, entered = carried(previous, base.index.tolist(), anchor)
    lower, upper = limits.bounds(anchor, gross)
    start, realized = step(begin, goal, lower, upper, rate=rate, gross=gross)
    return pd.DataFrame(
        {
            "strategy": base.index,
            "base": anchor,
            "previous": start,
            "target": goal,
            "realized": realized,
            "entered": entered,
            "lower": lower,
            "upper": upper,
            "slack": limits.slack(gross),
        }
    )


def history(base: pd.Series, targets: list[pd.Series], rate: float, previous: pd.Series | None = None) -> pd.DataFrame:
    steps = []
    for target in targets:
        steps.append(adjusted(previous, target, base, rate=rate))
        previous = steps[-1].set_index("strategy")["realized"]
    return pd.concat(steps, ignore_index=True)


def test_golden_steps():
    base, target = series(0.075, 0.1, 0.825), series(0.078, 0.105, 0.817)
    first = adjusted(None, target, base, rate=0.1)
    np.testing.assert_allclose(first["realized"], [0.0753, 0.1005, 0.8242], rtol=1e-14)
    assert first["previous"].tolist() == base.tolist()
    assert not first["entered"].any()


def test_golden_speed():
    slow, fast = adjustment_speed(0.1), adjustment_speed(0.25)
    assert (round(slow.gap_after_10, 3), round(slow.half_life, 1), slow.rebalances_to_90) == (0.349, 6.6, 22)
    assert fast.rebalances_to_90 == 8
    assert (slow.rate, fast.rate, adjustment_speed(1).rate) == (0.1, 0.25, 1)
    assert adjustment_speed(0.95).rebalances_to_90 == 1
    at_once = adjustment_speed(1)
    assert (at_once.half_life, at_once.gap_after_10, at_once.rebalances_to_90) == (0.0, 0.0, 1)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_the_gap_to_a_constant_target_shrinks_as_stated(rate: float):
    base, target = series(0.5, 0.5), series(0.7, 0.3)
    steps = history(base, [target] * 10, rate)
    gaps = (target["a"] - steps.loc[steps["strategy"] == "a", "realized"]).to_numpy() / 0.2
    np.testing.assert_allclose(gaps, [remaining_gap(rate, n) for n in range(1, 11)], rtol=1e-9)
    assert remaining_gap(rate, 10) == adjustment_speed(rate).gap_after_10
    assert math.isclose((1 - rate) ** adjustment_speed(rate).half_life, 0.5)


@examples(25)
@given(seed=seeds, rate=rates)
def test_realized_weights_keep_caps_and_gross_along_a_history(seed: int, rate: float):
    base, targets = random_book(seed, partitions=8)
    steps = history(base, targets, rate)
    assert (steps["realized"] >= steps["lower"]).all()
    assert (steps["realized"] <= steps["upper"]).all()
    assert (steps["lower"] == 0.5 * steps["base"]).all()
    assert (steps["upper"] == 2.0 * steps["base"]).all()
    for start in range(0, len(steps), len(base)):
        assert abs(math.fsum(steps["realized"].iloc[start : start + len(base)]) - 1) < 1e-12
    recurrence = steps["previous"] + rate * (steps["target"] - steps["previous"])
    np.testing.assert_allclose(steps["realized"], recurrence, rtol=1e-15)


@examples(30)
@given(seed=seeds, rate=rates, resume=st.integers(1, 5))
def test_a_history_resumed_from_stored_weights_has_the_same_bits(seed: int, rate: float, resume: int):
    base, targets = random_book(seed, partitions=6)
    whole = history(base, targets, rate)
    head = history(base, targets[:resume], rate)
    stored = head.tail(len(base)).set_index("strategy")["realized"].sample(frac=1, random_state=0)
    tail = history(base, targets[resume:], rate, previous=stored)
    pd.testing.assert_frame_equal(whole, pd.concat([head, tail], ignore_index=True), check_exact=True)


@examples(30)
@given(seed=seeds, rate=rates)
def test_order_of_strategies_changes_no_bit(seed: int, rate: float):
    base, (previous, target) = random_book(seed, partitions=2)
    old = previous.drop("a")
    plain = adjusted(old, target, base, rate=rate)
    mixed = adjusted(old[::-1], target[::-1], base[::-1], rate=rate)
    pd.testing.assert_frame_equal(plain, mixed, check_exact=True)


@examples(30)
@given(seed=seeds, rate=rates, power=st.integers(-8, 8))
def test_weights_scale_with_gross(seed: int, rate: float, power: int):
    base, (previous, target) = random_book(seed, partitions=2)
    old, k = previous.drop("a"), 2.0**power
    one = adjusted(old, target, base, rate=rate)
    many = adjusted(k * old, k * target, k * base, rate=rate, gross=k)
    assert (many["realized"] == k * one["realized"]).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, slow=st.floats(0.01, 1.0), fast=st.floats(0.01, 1.0))
def test_a_higher_rate_ends_nearer_the_target(seed: int, slow: float, fast: float):
    base, (target,) = random_book(seed)
    slow, fast = sorted((slow, fast))
    gaps = [(target.to_numpy() - adjusted(None, target, base, rate=r)["realized"]).abs() for r in (slow, fast)]
    assert (gaps[1] <= gaps[0] + 1e-16).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_rate_one_jumps_to_the_target_exactly(seed: int):
    base, (previous, target) = random_book(seed, partitions=2)
    moved = adjusted(previous, target, base, rate=1.0)
    assert moved["realized"].tolist() == target.tolist()


def test_a_step_at_rest_disturbs_no_bit():
    base = series(*[0.1] * 10)
    rest = history(base, [base] * 5, 0.1)
    assert (rest["realized"] == 0.1).all()


def test_a_start_that_is_feasible_to_rounding_is_taken_as_it_is():
    previous = series(0.3, 0.7 - 4e-10)
    moved = adjusted(previous, series(0.5, 0.5), series(0.5, 0.5), rate=0.1)
    assert moved["previous"].tolist() == previous.tolist()
    # What counts as rounding grows with gross.
    large = series(30.0, 70.0 - 4e-8)
    moved = adjusted(large, series(50, 50), series(50, 50), rate=0.1, gross=100.0)
    assert moved["previous"].tolist() == large.tolist()
    moved = adjusted(large - 4e-8, series(50, 50), series(50, 50), rate=0.1, gross=100.0)
    assert moved["previous"].tolist() != (large - 4e-8).tolist()


def test_a_weight_of_zero_is_a_weight_to_start_from():
    limits = Limits(floor=0.0, cap=2.0)
    moved = adjusted(series(0.0, 1.0), series(0.5, 0.5), series(0.5, 0.5), rate=0.5, limits=limits)
    assert (moved["previous"].tolist(), moved["realized"].tolist()) == ([0.0, 1.0], [0.25, 0.75])
    assert moved["entered"].tolist() == [False, False]


def test_a_new_strategy_starts_from_base_and_a_removed_one_is_dropped():
    base = series(0.4, 0.4, 0.2)
    previous = pd.Series({"a": 0.6, "b": 0.3, "gone": 0.1})
    moved = adjusted(previous, base, base, rate=0.5)
    assert moved["entered"].tolist() == [False, False, True]
    # 0.6 + 0.3 + 0.2 of base is 1.1: put back on gross in proportion, as no limit binds.
    np.testing.assert_allclose(moved["previous"], np.array([0.6, 0.3, 0.2]) / 1.1, rtol=1e-15)
    np.testing.assert_allclose(moved["realized"], (moved["previous"] + base.to_numpy()) / 2, rtol=1e-15)


def test_weights_carried_follow_their_names_and_are_not_yet_put_back():
    base = np.array([0.4, 0.4, 0.2])
    start, entered = carried(pd.Series({"gone": 0.1, "b": 0.3, "a": 0.6}), ["a", "b", "c"], base)
    assert (start.tolist(), entered.tolist()) == ([0.6, 0.3, 0.2], [False, False, True])


@pytest.mark.parametrize("previous", [None, pd.Series(dtype=float), pd.Series({"gone": 1.0})])
def test_a_book_without_a_known_strategy_starts_from_base(previous: pd.Series | None):
    base = np.array([0.4, 0.6])
    start, entered = carried(previous, ["a", "b"], base)
    assert start.tolist() == base.tolist()
    assert entered.tolist() == [previous is not None] * 2
    assert entered.dtype == np.bool_


def test_changed_base_weights_bring_the_start_inside_the_new_limits():
    base = series(0.2, 0.8)
    moved = adjusted(series(0.6, 0.4), base, base, rate=0.1)
    np.testing.assert_allclose(moved["previous"], [0.4, 0.6], rtol=1e-15)
    assert moved["previous"].iloc[0] <= 2 * 0.2


def test_proportional_books_follow_targets_outside_the_multiples_and_keep_gross():
    limits = Limits(normalisation="proportional")
    base, target = series(0.2, 0.8), series(0.05, 0.95)
    moved = adjusted(series(0.06, 0.94), target, base, rate=0.5, limits=limits)
    np.testing.assert_allclose(moved["realized"], [0.055, 0.945], rtol=1e-15)
    assert (moved["lower"].tolist(), moved["upper"].tolist()) == ([0.0, 0.0], [1.0, 1.0])
    dropped = adjusted(pd.Series({"a": 0.03, "b": 0.57, "gone": 0.4}), target, base, rate=1, limits=limits)
    np.testing.assert_allclose(dropped["previous"], [0.05, 0.95], rtol=1e-15)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, math.nan])
def test_rates_outside_the_unit_interval_are_refused(rate: float):
    base = series(0.5, 0.5)
    for call in (
        lambda: adjusted(None, base, base, rate=rate),
        lambda: adjustment_speed(rate),
        lambda: remaining_gap(rate, 3),
    ):
        with pytest.raises(ValueError, match=r"rate: expected a share of the gap in \(0, 1\]"):
            call()


@pytest.mark.parametrize(
    ("previous", "target", "message"),
    [
        (None, series(0.9, 0.2), "break a limit or do not add up"),
        (None, series(0.2, 0.8), "break a limit or do not add up"),
        (None, series(0.5, math.nan), "break a limit or do not add up"),
        (series(0.5, math.nan), series(0.5, 0.5), "previous: expected one weight of at least 0"),
        (series(1.5, -0.5), series(0.5, 0.5), "previous: expected one weight of at least 0"),
        (pd.Series([0.5, 0.5], index=["a", "a"]), series(0.5, 0.5), "previous: expected one weight"),
    ],
)
def test_weights_that_cannot_be_are_refused(previous, target, message: str):
    with pytest.raises(ValueError, match=message):
        adjusted(previous, target, series(0.5, 0.5), rate=0.1)
