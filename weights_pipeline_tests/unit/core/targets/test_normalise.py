"""Normalisation: golden numbers, an independent solver, and exact promises about sums and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weights_pipeline.core.targets.normalise import capped, fit_to_gross, fit_within, proportional
from weights_pipeline_tests.support.examples import examples

BASE = np.array([0.20, 0.25, 0.20, 0.15, 0.20])
SHARPE = np.array([1.80, 1.20, 0.80, 0.50, -0.20])
TILT = 0.5 + 1.5 * (SHARPE - SHARPE.min()) / (SHARPE.max() - SHARPE.min())

weight = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))
multiplier = st.one_of(st.just(0.0), st.floats(1e-9, 1e9), st.floats(0.5, 2.0))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def problems(draw: st.DrawFn, multiplier: st.SearchStrategy[float] = multiplier):
    """Base weights that add up to one, multipliers, floor and cap."""
    size = draw(st.integers(1, 12))
    base = np.array(draw(st.lists(weight, min_size=size, max_size=size)))
    assume(base.sum() > 0)
    multipliers = np.array(draw(st.lists(multiplier, min_size=size, max_size=size)))
    floor = draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0)))
    cap = draw(st.one_of(st.sampled_from([1.0, 2.0]), st.floats(1.0, 10.0)))
    return base / base.sum(), multipliers, floor, cap


def test_golden_proportional_and_capped():
    np.testing.assert_array_equal(
        np.round(proportional(BASE, TILT, gross=1.0)[0] * 100, 1), [31.0, 30.0, 19.4, 11.9, 7.7]
    )
    np.testing.assert_array_equal(
        np.round(capped(BASE, TILT, floor=0.5, cap=2.0, gross=1.0)[0] * 100, 3),
        [30.220, 29.276, 18.888, 11.616, 10.000],
    )


@examples(150)
@given(problem=problems())
def test_capped_adds_up_to_gross_and_keeps_bounds_to_the_last_bit(problem):
    base, multipliers, floor, cap = problem
    weights, scale = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    assert abs(math.fsum(weights) - 1.0) <= 4 * len(base) * np.finfo(float).eps
    assert (weights >= floor * base).all()
    assert (weights <= cap * base).all()
    assert math.isfinite(scale)


@examples(100)
@given(problem=problems(st.floats(1e-9, 1e9)))
def test_capped_is_the_clipped_common_scale(problem):
    base, multipliers, floor, cap = problem
    weights, scale = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    np.testing.assert_array_equal(weights, np.clip(scale * (base * multipliers), floor * base, cap * base))


@examples(60)
@given(problem=problems(st.floats(0.1, 10)))
def test_capped_agrees_with_a_root_finder(problem):
    from scipy.optimize import brentq

    base, multipliers, floor, cap = problem
    assume(floor < 0.99 and cap > 1.01)

    def excess(log_scale: float) -> float:
        return float(np.clip(np.exp(log_scale) * base * multipliers, floor * base, cap * base).sum() - 1)

    root = np.exp(brentq(excess, -9, 9, xtol=1e-14))
    weights, _ = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    np.testing.assert_allclose(weights, np.clip(root * base * multipliers, floor * base, cap * base), atol=1e-11)


@examples(60)
@given(problem=problems(st.floats(1e-2, 1e2)))
def test_without_a_binding_bound_capped_is_proportional_bit_for_bit(problem):
    base, multipliers, _, _ = problem
    free, scale = proportional(base, multipliers, gross=1.0)
    weights, same_scale = capped(base, multipliers, floor=0.0, cap=1e6, gross=1.0)
    assert (weights.tobytes(), same_scale) == (free.tobytes(), scale)


@examples(60)
@given(problem=problems(), seed=seeds)
def test_permuting_strategies_permutes_weights_bit_for_bit(problem, seed: int):
    base, multipliers, floor, cap = problem
    order = np.random.default_rng(seed).permutation(len(base))
    weights, scale = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    permuted, same_scale = capped(base[order], multipliers[order], floor=floor, cap=cap, gross=1.0)
    assert (permuted.tobytes(), same_scale) == (weights[order].tobytes(), scale)


@examples(60)
@given(problem=problems(), power=st.integers(-20, 20), factor=st.floats(0.01, 100))
def test_a_common_factor_on_multipliers_changes_nothing(problem, power: int, factor: float):
    base, multipliers, floor, cap = problem
    weights, _ = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    doubled, _ = capped(base, multipliers * 2.0**power, floor=floor, cap=cap, gross=1.0)
    assert doubled.tobytes() == weights.tobytes()
    scaled, _ = capped(base, multipliers * factor, floor=floor, cap=cap, gross=1.0)
    np.testing.assert_allclose(scaled, weights, rtol=1e-9, atol=1e-12)


@examples(60)
@given(problem=problems(), chosen=st.integers(0, 11), factor=st.floats(1.0, 100.0))
def test_a_larger_multiplier_never_gets_a_smaller_weight(problem, chosen: int, factor: float):
    base, multipliers, floor, cap = problem
    chosen %= len(base)
    raised = multipliers.copy()
    raised[chosen] *= factor
    before, _ = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    after, _ = capped(base, raised, floor=floor, cap=cap, gross=1.0)
    assert after[chosen] >= before[chosen] - 1e-15
    others = np.arange(len(base)) != chosen
    assert (after[others] <= before[others] + 1e-15).all()


@examples(60)
@given(problem=problems())
def test_a_larger_multiplier_never_gets_a_smaller_multiple_of_base_than_a_smaller_one(problem):
    base, multipliers, floor, cap = problem
    weights, _ = capped(base, multipliers, floor=floor, cap=cap, gross=1.0)
    order = np.argsort(multipliers[base > 0], kind="stable")
    multiples = (weights[base > 0] / base[base > 0])[order]
    assert (np.diff(multiples) >= -1e-12).all()


@pytest.mark.parametrize(
    ("multipliers", "expected"),
    [
        ([0.0, 1.0, 1.0], [0.25, 0.375, 0.375]),
        ([0.0, 0.0, 1.0], [1 / 3, 1 / 6, 0.5]),
        ([0.0, 0.0, 0.0], [0.5, 0.25, 0.25]),
    ],
)
def test_zero_multipliers_stay_at_the_floor_until_all_others_are_at_the_cap(multipliers, expected):
    weights, scale = capped(np.array([0.5, 0.25, 0.25]), np.array(multipliers), floor=0.5, cap=2.0, gross=1.0)
    np.testing.assert_allclose(weights, expected, rtol=1e-15)
    assert math.isfinite(scale)


def test_zero_multipliers_share_what_capped_ones_leave():
    weights, _ = capped(np.array([0.2, 0.2, 0.6]), np.array([1.0, 0.0, 0.0]), floor=0.5, cap=2.0, gross=1.0)
    np.testing.assert_allclose(weights, [0.4, 0.15, 0.45], rtol=1e-15)


def test_floor_and_cap_at_one_hold_base_even_where_it_is_rounded():
    base = np.array([0.3333333333, 0.3333333333, 0.3333333333])
    weights, _ = capped(base, np.array([1.0, 2.0, 3.0]), floor=1.0, cap=1.0, gross=1.0)
    np.testing.assert_array_equal(weights, base)


def test_gross_missed_by_rounding_only_is_met_at_the_bounds_with_a_scale_that_makes_sense():
    weights, scale = fit_to_gross(
        np.array([2e-13, 1.0]), np.array([1e-13, 1.0]), np.array([1e-13, 1.0]), gross=1 - 1e-10
    )
    assert (weights.tolist(), scale) == ([1e-13, 1.0], 0.5)
    base = np.array([0.999, 0.001])
    weights, _ = capped(base, np.array([1.0, 0.0]), floor=0.5, cap=1.0, gross=1 + 5e-10)
    assert weights.tolist() == base.tolist()


def test_tiny_and_huge_multipliers_neither_overflow_nor_warn():
    weights, scale = capped(
        np.array([0.25, 0.25, 0.5]), np.array([1e-310, 1e-300, 1e300]), floor=0.5, cap=1.25, gross=1.0
    )
    np.testing.assert_allclose(weights, [0.125, 0.25, 0.625], rtol=1e-12)
    assert math.isfinite(scale)


@pytest.mark.parametrize(("gross", "span"), [(0.4, "0.5 to 2"), (2.1, "0.5 to 2"), (math.nan, "0.5 to 2")])
def test_gross_outside_the_bounds_is_refused_with_numbers(gross: float, span: str):
    with pytest.raises(ValueError, match=rf"gross: {gross:g} cannot be reached.* from {span}"):
        capped(BASE, TILT, floor=0.5, cap=2.0, gross=gross)


@pytest.mark.parametrize("solve", [proportional, lambda b, m, gross: capped(b, m, floor=0.5, cap=2.0, gross=gross)])
@pytest.mark.parametrize(
    ("base", "multipliers", "message"),
    [
        ([0.5, -0.5], [1.0, 1.0], "base: expected finite numbers of at least 0"),
        ([0.5, 0.5], [1.0, math.nan], "multipliers: expected finite"),
        ([0.5, 0.5], [1.0, math.inf], "multipliers: expected finite"),
    ],
)
def test_negative_and_infinite_input_is_refused(solve, base, multipliers, message):
    with pytest.raises(ValueError, match=message):
        solve(np.array(base), np.array(multipliers), gross=1.0)


def test_proportional_without_any_tilt_is_refused():
    with pytest.raises(ValueError, match="every base weight times multiplier is zero"):
        proportional(BASE, np.zeros(5), gross=1.0)


def test_crossed_bounds_are_refused():
    with pytest.raises(ValueError, match="a lower bound exceeds its upper bound"):
        fit_to_gross(np.ones(2), np.array([0.6, 0.0]), np.array([0.5, 1.0]), gross=1.0)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("which", ["weights", "lower", "upper"])
def test_weights_and_bounds_that_cannot_be_are_refused_by_name(which: str, wrong: float):
    given = {"weights": np.full(2, 0.5), "lower": np.zeros(2), "upper": np.ones(2)}
    given[which] = np.array([wrong, 0.5])
    with pytest.raises(ValueError, match=f"^{which}: expected finite numbers of at least 0, got "):
        fit_to_gross(**given, gross=1.0)


def test_gross_may_miss_the_bounds_by_a_billionth_of_it():
    lower, upper = np.array([30.0, 30.0]), np.array([40.0, 60.0])
    for gross, expected in ((100 + 9e-8, upper), (60 - 5e-8, lower)):
        assert fit_to_gross(np.ones(2), lower, upper, gross=gross)[0].tolist() == expected.tolist()
    for gross in (100 + 2e-7, 60 - 2e-7):
        with pytest.raises(ValueError, match="cannot be reached"):
            fit_to_gross(np.ones(2), lower, upper, gross=gross)


def test_weights_that_are_all_zero_stay_at_their_lower_bounds_where_these_add_up_to_gross():
    weights, scale = fit_to_gross(np.zeros(2), np.array([0.4, 0.6]), np.array([1.0, 0.6]), gross=1.0)
    assert (weights.tolist(), scale) == ([0.4, 0.6], 0.0)


@given(problems(), st.floats(0.0, 1.0), st.floats(0.1, 3.0))
@examples(60)
def test_weights_within_gross_are_clipped_only_and_others_meet_the_nearer_end(problem, slack, factor):
    base, multipliers, _, cap = problem
    wanted, lower, upper = factor * base * np.minimum(multipliers, 5.0), np.zeros_like(base), cap * base
    weights, scale = fit_within(wanted, lower, upper, gross=1.0, slack=slack)
    clipped = np.clip(wanted, lower, upper)
    total = math.fsum(clipped)
    assert ((weights >= lower) & (weights <= upper)).all()
    assert 1 - slack - 1e-9 <= math.fsum(weights) <= 1 + 1e-9
    if slack > 0 and 1 - slack <= total <= 1:
        assert scale == 1.0
        np.testing.assert_array_equal(weights, clipped)
    else:
        edge = 1.0 - slack if total < 1.0 - slack else 1.0
        np.testing.assert_array_equal(weights, fit_to_gross(wanted, lower, upper, gross=edge)[0])


def test_all_in_cash_is_within_gross():
    weights, scale = fit_within(np.zeros(3), np.zeros(3), np.ones(3), gross=1.0, slack=1.0)
    assert (weights.tolist(), scale) == ([0.0, 0.0, 0.0], 1.0)


def test_zeros_that_cannot_move_count_when_other_zeros_share_the_rest():
    lower, upper = np.array([0.3, 0.0, 0.1]), np.array([0.3, 0.5, 0.2])
    weights, _ = fit_to_gross(np.array([0.0, 0.0, 1.0]), lower, upper, gross=0.9)
    np.testing.assert_allclose(weights, [0.3, 0.4, 0.2], rtol=1e-15)
