"""Allocation methods: golden numbers, monotonicity, invariances, nulls, and loading from plain data."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from contextlib import nullcontext
from functools import reduce
from operator import or_
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from weights_pipeline.core.metrics.measures import LESS_IS_BETTER, REASONS
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.methods.base import (
    CrossSection,
    Limits,
    Method,
    Multipliers,
    target_weights,
)
from weights_pipeline.core.targets.methods.composite import Composite, standardised
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.fixed import Fixed, allocation_problems
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.targets.methods.optimised import Optimised
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt, PowerTilt
from weights_pipeline.core.targets.methods.proportional_share import CalmarWeighted, ProportionalSharpe
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe
from weights_pipeline.core.targets.rules import Rule
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.method_cases import (
    COMPOSITE,
    EVERY,
    LIMITS,
    METRICS_READ,
    MINMAX,
    NAN,
    POWER,
    PROPORTIONAL,
    SHARES,
    WEIGHTS,
    alike,
    decided,
    each,
    fixed,
    random_section,
    ready,
    section,
)

BASE = [0.20, 0.25, 0.20, 0.15, 0.20]
SHARPE = [1.80, 1.20, 0.80, 0.50, -0.20]
DESK = {
    "chong_vansh_strategy": 81.91,
    "SPX_1-D_Opt": 57.79,
    "Com1-Met": 43.09,
    "Com3-Mkt": 17.07,
    "Forex": 13.23,
    "Com2-Ag": 10.38,
    "SPY": 6.54,
    "TLT": 0,
    "Com4-Misc": 0,
}

AT_MOST = dataclasses.replace(WEIGHTS, gross="at_most")
each_gross = pytest.mark.parametrize("limits", [WEIGHTS, AT_MOST], ids=lambda limits: limits.gross)

metrics = st.lists(st.one_of(st.floats(-8, 8), st.just(NAN)), min_size=5, max_size=5)
seeds = st.integers(0, 2**32 - 1)


def multipliers(method: Method, values: list[float], reason: str = "insufficient", limits: Limits = LIMITS):
    return method.multipliers(alike(values, reason=reason), limits)


def rules(tilt: Multipliers) -> list[str]:
    return [Rule(rule).note for rule in tilt.rule]


def weights(method: Method, cross: CrossSection, limits: Limits = WEIGHTS) -> list[float]:
    return target_weights(method, cross, limits).target.tolist()


def renumbered(cross: CrossSection, order: list[int]) -> CrossSection:
    """The same strategies in another order."""
    return CrossSection(
        strategies=tuple(cross.strategies[i] for i in order),
        base=cross.base[order],
        gross=cross.gross,
        values={name: values[order] for name, values in cross.values.items()},
        reasons={name: reasons[order] for name, reasons in cross.reasons.items()},
    )


def with_metrics(cross: CrossSection, change) -> CrossSection:
    return dataclasses.replace(cross, values={name: change(values) for name, values in cross.values.items()})


# Golden numbers


def test_golden_sharpe_tilt():
    cross = section(BASE, sharpe=SHARPE)
    proportional, capped = (np.array(weights(SharpeTilt(), cross, limits)) * 100 for limits in (PROPORTIONAL, LIMITS))
    assert proportional.round(1).tolist() == [31.0, 30.0, 19.4, 11.9, 7.7]
    assert capped.round(3).tolist() == [30.220, 29.276, 18.888, 11.616, 10.000]


@pytest.mark.parametrize("base", [None, [0.5, 0.2, 0.3]])
def test_golden_softmax_whatever_the_base_weights(base: list[float] | None):
    cross = section(base, sharpe=[2, 1, 1.5], max_drawdown=[0.08, 0.12, 0.10])
    tilt = SoftmaxSharpe().multipliers(cross, WEIGHTS)
    np.testing.assert_allclose(tilt.score, [1.84, 0.88, 1.35], rtol=1e-15)
    assert rules(tilt) == ["share of the measured"] * 3
    assert np.round(weights(SoftmaxSharpe(), cross), 3).tolist() == [0.501, 0.192, 0.307]


def test_softmax_penalises_drawdown_of_gains_and_losses_up_to_its_scale():
    cross = section(sharpe=[2.0, 2.0, 2.0, -2.0, -2.0, 0.0], max_drawdown=[0.0, 0.25, 0.9, 0.0, 0.9, 0.9])
    assert SoftmaxSharpe().multipliers(cross, LIMITS).score.tolist() == [2.0, 1.5, 1.0, -2.0, -3.0, 0.0]
    assert SoftmaxSharpe(drawdown_scale=1.0).multipliers(cross, LIMITS).score[1] == 1.75


def test_softmax_temperature_is_the_score_difference_of_a_factor_e():
    cross = section(sharpe=[2.5, 2.0], max_drawdown=[0.0, 0.0])
    ratio = np.divide(*weights(SoftmaxSharpe(temperature=0.5), cross))
    assert ratio == pytest.approx(math.e, rel=1e-14)


def test_softmax_does_not_overflow():
    cold = SoftmaxSharpe(temperature=1e-300)
    assert weights(cold, section(sharpe=[1e6, 1e5, -1e6], max_drawdown=[0.1] * 3)) == [1.0, 0.0, 0.0]


def test_golden_proportional_shares_leave_a_null_its_base_weight():
    sharpe = section([0.4, 0.2, 0.3, 0.1], sharpe=[1.5, 0.5, -1.0, NAN])
    np.testing.assert_allclose(weights(ProportionalSharpe(), sharpe), [0.675, 0.225, 0.0, 0.1], rtol=1e-15)
    tilt = ProportionalSharpe().multipliers(sharpe, LIMITS)
    assert rules(tilt) == ["share of the measured"] * 3 + ["neutral"]
    np.testing.assert_allclose(tilt.value, [0.675 / 0.4, 0.225 / 0.2, 0.0, 1.0], rtol=1e-15)
    calmar = section([0.4, 0.2, 0.4], calmar=[3.0, 0.0, 1.0])
    np.testing.assert_allclose(weights(CalmarWeighted(), calmar), [0.75, 0.0, 0.25], rtol=1e-15)


@pytest.mark.parametrize("values", [[-1.0, -2.0, -0.5], [0.0, 0.0, 0.0], [-1.0, 0.0, -3.0]])
def test_shares_are_uniform_where_no_metric_is_above_zero(values: list[float]):
    cross = section([0.4, 0.1, 0.3, 0.2], calmar=[*values, NAN])
    tilt = CalmarWeighted().multipliers(cross, LIMITS)
    assert rules(tilt) == ["uniform: none above zero"] * 3 + ["neutral"]
    np.testing.assert_allclose(tilt.value * cross.base, [0.8 / 3] * 3 + [0.2], rtol=1e-15)


def test_golden_composite():
    cross = section(sharpe=[1.0, 1.0, 4.0], max_drawdown=[0.1, 0.3, 0.2])
    tilt = Composite(weights={"sharpe": 2, "max_drawdown": 1}, lookback="90d").multipliers(cross, LIMITS)
    # z of sharpe: -√½, -√½, √2; of drawdown, sign flipped: √1.5, -√1.5, 0.
    np.testing.assert_allclose(tilt.score, [-0.063156, -0.879653, 0.942809], atol=5e-7)
    np.testing.assert_allclose(tilt.value, [0.5 + 1.5 * 0.816497 / 1.822462, 0.5, 2.0], atol=1e-6)
    assert tilt.metric.tolist() == tilt.score.tolist()


def test_composite_clips_its_score_but_shows_it_whole():
    cross = section(sharpe=[0.0] * 40 + [1.0])
    tilt = Composite(weights={"sharpe": 1}, lookback="90d").multipliers(cross, LIMITS)
    assert tilt.metric[-1] == pytest.approx(math.sqrt(40))
    assert (tilt.score[-1], rules(tilt)[-1]) == (5.0, "metric clipped")


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_standardised_is_the_z_score(values: list[float]):
    x = np.array(values)
    assume(x.max() - x.min() > 1e-6)
    np.testing.assert_allclose(standardised(x), (x - x.mean()) / x.std(), atol=1e-7)


@pytest.mark.parametrize("x", [[0.0, 5e-324], [1.0, math.nextafter(1.0, 2.0)], [0.1, 0.1, 0.1 + 1e-300], [0.1] * 3])
def test_standardised_survives_the_smallest_spread(x: list[float]):
    z = standardised(np.array(x))
    assert np.isfinite(z).all()
    assert (z[0] < z[-1]) == (x[0] < x[-1])
    assert (z == 0).all() == (x[0] == x[-1])


def test_equal_splits_gross_among_the_funded():
    cross = section([1.5, 0.9, 0.6, 0.0], gross=3.0)
    tilt = Equal().multipliers(cross, LIMITS)
    assert (rules(tilt), tilt.formula) == (["equal weight"] * 3 + ["no base weight"], "3.0 / 3 / base")
    limits = Limits(of="weight", floor=0.0, cap=2.0)
    np.testing.assert_allclose(weights(Equal(), cross, limits), [1.0, 1.0, 1.0, 0.0], rtol=1e-15)


def desk_section(gross: float = 2.3) -> CrossSection:
    return CrossSection.of(dict.fromkeys(DESK, gross / 9), {}, {}, gross)


@each_gross
def test_golden_fixed_allocations_are_brought_to_gross_exactly(limits: Limits):
    cross = desk_section()
    tilt = fixed(DESK).multipliers(cross, limits)
    assert set(rules(tilt)) == {"fixed allocation"}
    assert tilt.score.tolist() == [DESK[name] for name in cross.strategies]
    target = target_weights(fixed(DESK), cross, limits).target
    assert math.fsum(target) == 2.3
    by_name = dict(zip(cross.strategies, target, strict=True))
    for name, percent in DESK.items():
        assert by_name[name] == pytest.approx(percent / 100 * 2.3 / 2.3001, rel=1e-14)
    assert by_name["TLT"] == by_name["Com4-Misc"] == 0.0


@each_gross
@pytest.mark.parametrize(
    ("off", "accepted"),
    # 230.01 as it stands, and half a hundredth for each of nine numbers.
    [(0.0, True), (0.03, True), (0.04, False), (0.05, False), (-0.05, True), (-0.06, False), (-6.54, False)],
)
def test_fixed_allocations_may_miss_gross_by_the_rounding_of_their_digits(off: float, accepted: bool, limits: Limits):
    at_most = limits.gross == "at_most"
    method = fixed(DESK | {"SPY": round(6.54 + off, 2)})
    if accepted or (at_most and off < 0):
        total = 2.3001 + off / 100 if at_most and off < 0 else 2.3
        found = math.fsum(target_weights(method, desk_section(), limits).target)
        assert found == pytest.approx(total, rel=1e-15)
        return
    of = "of at most" if at_most else "of"
    message = rf"allocations: expected a total {of} 230%, .* rounding of 0\.0450, got {230.01 + off:.5g}%"
    with pytest.raises(ValueError, match=message):
        method.multipliers(desk_section(), limits)


@pytest.mark.parametrize(
    ("percent", "accepted"),
    [
        ([33, 33, 33], True),
        ([33.0, 33.0, 32.0], False),
        ([33.3, 33.3, 33.3], True),
        ([33.33, 33.3, 33.3], False),  # as printed: 33.33, 33.30, 33.30
        ([100 / 3, 100 / 3, 100 / 3], True),
        ([1e-05, 49.999995, 49.999995], True),
        ([1e-05, 50.0, 50.0], True),
        ([1e-05, 49.99999, 49.99999], True),
        ([1e-05, 49.99998, 49.99999], False),
        # Where the digits leave nothing open, the tolerance of any sum of weights is left: 1e-9 of 100 %.
        ([33.333333333333, 33.333333333333, 33.333333333334 - 9e-8], True),
        ([33.333333333333, 33.333333333333, 33.333333333334 - 1.1e-7], False),
    ],
)
def test_printed_digits_are_those_of_the_finest_number(percent: list[float], accepted: bool):
    method = fixed({f"s0{number}": each for number, each in enumerate(percent)})
    with nullcontext() if accepted else pytest.raises(ValueError, match="within the rounding of"):
        method.multipliers(section([0.3, 0.3, 0.4]), WEIGHTS)


@pytest.mark.parametrize(
    ("allocations", "base", "message"),
    [
        ({"s00": 100}, [0.5, 0.5], r"allocations: \['s01'\] have none"),
        ({"s00": 100, "x": 0}, [1.0], r"allocations: \['x'\] are not strategies of the book"),
        ({"s00": 60, "s01": 40}, [1.0, 0.0], r"allocations: \['s01'\] have one above 0 but no base"),
        ({"s00": 99.5, "s01": 0.5}, [1.0, 0.0], r"allocations: \['s01'\] have one above 0"),
        ({"s00": 60, "s01": 30}, [0.5, 0.5], r"expected a total of 100%, .*, got 90%"),
        ({"y": 60}, [0.5, 0.5], r"'s00', 's01'\] have none.*; .*'y'\] are not .*; .*expected a total of 100%"),
        ({}, [0.5, 0.5], r"'s00', 's01'\] have none"),
    ],
)
def test_fixed_allocations_that_are_not_those_of_the_book_are_refused(allocations, base: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        fixed(allocations).multipliers(section(base), WEIGHTS)


def test_every_problem_of_allocations_is_named_and_the_total_only_where_numbers_are_percent():
    cross = section([0.5, 0.5, 0.0])
    found = allocation_problems({"s00": 120, "s02": 1, "x": -1}, cross, WEIGHTS)
    assert [problem.split(": ")[0] for problem in found] == ["allocations.s00", "allocations.x"] + ["allocations"] * 3
    assert not any("total" in problem for problem in found)
    assert allocation_problems({"s00": 100, "s01": 0, "s02": 0}, cross, WEIGHTS) == []


def test_a_fixed_zero_needs_no_base_weight():
    cross = section([0.5, 0.5, 0.0])
    tilt = fixed({"s00": 75, "s01": 25, "s02": 0}).multipliers(cross, WEIGHTS)
    assert rules(tilt)[2] == "no base weight"
    assert tilt.value.tolist() == [1.5, 0.5, 1.0]


def test_all_of_the_book_may_be_left_in_cash_where_gross_is_a_limit():
    nothing = fixed({"s00": 0, "s01": 0})
    assert weights(nothing, section([0.5, 0.5]), AT_MOST) == [0.0, 0.0]
    with pytest.raises(ValueError, match="expected a total of 100%"):
        nothing.multipliers(section([0.5, 0.5]), WEIGHTS)


DECISIONS = (
    decided({"s00": 60, "s01": 40}, "2015-01-30", 10),
    decided({"s00": 10, "s01": 90}, "2014-12-31"),
    decided({"s00": 50, "s01": 50}, "2015-01-30"),
    decided({"s00": 55, "s01": 45}, "2015-01-30", 2),
)


@pytest.mark.parametrize(
    ("as_of", "percent", "label"),
    [
        ("2014-12-31", 10.0, "2014-12-31"),
        ("2015-01-29", 10.0, "2014-12-31"),
        ("2015-01-30", 60.0, "2015-01-30_10"),
        ("2022-12-30", 60.0, "2015-01-30_10"),
        (None, 60.0, "2015-01-30_10"),
    ],
)
@given(order=st.permutations(DECISIONS))
@examples(12)
def test_a_date_follows_the_newest_decision_made_by_then(as_of, percent, label, order):
    cross = dataclasses.replace(section([0.5, 0.5]), as_of=as_of and pd.Timestamp(as_of))
    tilt = Fixed(decisions=tuple(order)).multipliers(cross, WEIGHTS)
    assert tilt.score[0] == percent
    assert tilt.formula == f"allocation of {label} / 100 / base"


@given(
    dates=st.lists(st.dates(dt.date(2012, 1, 1), dt.date(2012, 3, 1)), min_size=1, max_size=5, unique=True),
    day=st.dates(dt.date(2012, 1, 1), dt.date(2012, 3, 1)),
)
@settings(max_examples=50, deadline=None)
def test_a_decision_made_later_changes_nothing_before(dates: list[dt.date], day: dt.date):
    decisions = [decided({"s00": 1.0}, f"{date}") for date in dates]
    known = tuple(decision for decision in decisions if decision.date <= day)
    if known:
        assert Fixed(decisions=tuple(decisions)).in_force(day) is Fixed(decisions=known).in_force()
        return
    with pytest.raises(ValueError, match="no decision by"):
        Fixed(decisions=tuple(decisions)).in_force(day)


def test_before_the_first_decision_there_is_none_to_fall_back_on():
    method = Fixed(folder="sample/mix", decisions=DECISIONS)
    cross = dataclasses.replace(section([0.5, 0.5]), as_of=pd.Timestamp("2014-12-30"))
    message = r"allocations: no decision by 2014-12-30 in folder 'sample/mix'; the first is that of 2014-12-31"
    with pytest.raises(ValueError, match=message):
        method.multipliers(cross, WEIGHTS)
    with pytest.raises(ValueError, match="allocations: none given, the folder 'mix' was not loaded"):
        Fixed(folder="mix").multipliers(cross, WEIGHTS)


# The tilts in detail


def test_power_tilt_follows_the_median():
    tilt = multipliers(CalmarTilt(), [4.0, 1.0, 0.25, 9.0, -3.0])
    assert tilt.value.tolist() == [2.0, 1.0, 0.5, 2.0, 0.5]
    assert tilt.raw[:4].tolist() == [2.0, 1.0, 0.5, 3.0]
    assert math.isnan(tilt.raw[4])
    assert rules(tilt) == ["measured", "measured", "measured", "clipped at cap", "floor: metric <= 0"]
    assert rules(multipliers(CalmarTilt(), [1.0, 1.0, 0.01]))[2] == "clipped at floor"
    nothing = multipliers(CalmarTilt(), [1.0, 1.0, 0.0])
    assert (rules(nothing)[2], nothing.value[2], math.isnan(nothing.raw[2])) == ("floor: metric <= 0", 0.5, True)


def test_power_tilt_anchor_has_a_floor_so_losses_never_divide_to_gains():
    tilt = multipliers(CalmarTilt(), [-2.0, -1.0, 0.1, -0.5])
    assert tilt.value.tolist() == [0.5, 0.5, 1.0, 0.5]
    near_zero = [multipliers(CalmarTilt(), [0.05, median, -1.0]).value[0] for median in (-1e-9, 0.0, 1e-9)]
    np.testing.assert_allclose(near_zero, math.sqrt(0.5), rtol=1e-6)


def test_power_tilt_gives_a_gain_without_drawdown_the_cap_and_other_nulls_one():
    limits = Limits(floor=0.8, cap=1.5)
    for reason, value, rule in (("no_drawdown", 1.5, "cap: gain without drawdown"), ("flat", 1.0, "neutral")):
        tilt = multipliers(CalmarTilt(), [1.0, NAN], reason, limits)
        assert (tilt.value.tolist(), rules(tilt)) == ([1.0, value], ["measured", rule])
        assert math.isnan(tilt.raw[1])


def test_minmax_tilt_spreads_between_worst_and_best():
    tilt = multipliers(SharpeTilt(), [1.0, 3.0, 2.0, NAN])
    assert tilt.value.tolist() == [0.5, 2.0, 1.25, 1.0]
    assert rules(tilt) == ["measured", "measured", "measured", "neutral"]
    assert math.isnan(tilt.raw[3])


def test_minmax_tilt_clips_the_metric_so_one_outlier_cannot_flatten_the_map():
    tilt = multipliers(SharpeTilt(), [1.0, 400.0, 2.0, 0.0])
    assert tilt.value.tolist() == [0.8, 2.0, 1.1, 0.5]
    assert rules(tilt)[1] == "metric clipped"
    assert (tilt.metric[1], tilt.score[1]) == (400.0, 5.0)
    below = multipliers(SharpeTilt(), [-400.0, 0.0, 5.0])
    assert below.value.tolist() == [0.5, 1.25, 2.0]
    assert (below.metric[0], below.score[0], rules(below)[0]) == (-400.0, -5.0, "metric clipped")


def test_minmax_tilt_does_not_overshoot_its_ends_by_rounding():
    assert multipliers(SharpeTilt(lo=0.49, hi=2.78), [1.0, 3.0]).value.tolist() == [0.49, 2.78]


@each(SharpeTilt(), COMPOSITE)
@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([1.5, 1.5, 1.5], "neutral: all equal"),
        ([7.0, 9.0], "neutral: all equal"),
        ([1.5, NAN], "neutral: fewer than two measured"),
        ([NAN, NAN], "neutral"),
    ],
)
def test_minmax_map_is_neutral_without_two_different_values(method: Method, values: list[float], rule: str):
    tilt = multipliers(method, values)
    assert (tilt.value == 1.0).all()
    assert rules(tilt)[0] == rule


def test_presets_are_the_general_methods_on_their_metric():
    values = [3.0, 0.5, NAN, -1.0]
    general = PowerTilt(metric="calmar", lookback="12m"), MinmaxTilt(metric="sharpe", lookback="90d")
    for preset, method in zip((CalmarTilt(), SharpeTilt()), general, strict=True):
        assert (preset.metric, preset.lookback) == (method.metric, method.lookback)
        assert multipliers(preset, values).value.tolist() == multipliers(method, values).value.tolist()


# What is better never gets less


@each(*POWER, *MINMAX)
@examples(40)
@given(values=metrics)
def test_the_better_of_two_strategies_never_gets_the_smaller_multiplier(method: Method, values: list[float]):
    value = multipliers(method, values).value
    low, high = (method.lo, method.hi) if isinstance(method, MinmaxTilt) else (LIMITS.floor, LIMITS.cap)
    assert ((value >= low) & (value <= high)).all()
    measured = ~np.isnan(values)
    order = np.argsort(np.array(values)[measured], kind="stable")
    assert (np.diff(value[measured][order]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(values=metrics, chosen=st.integers(0, 4), gain=st.floats(0, 8))
def test_minmax_tilt_never_punishes_an_improvement(values: list[float], chosen: int, gain: float):
    improved = [*values[:chosen], values[chosen] + gain, *values[chosen + 1 :]]
    before, after = (
        multipliers(SharpeTilt(), values).value[chosen],
        multipliers(SharpeTilt(), improved).value[chosen],
    )
    assert after >= before - 1e-12


def dominates(cross: CrossSection, reads: tuple[str, ...], i: int, j: int) -> bool:
    """Whether every metric of i is at least as good as that of j."""
    goodness = [cross.values[name] * (-1 if name in LESS_IS_BETTER else 1) for name in reads]
    return all(x[i] >= x[j] for x in goodness)


@each(*SHARES, COMPOSITE)
@examples(40)
@given(seed=seeds)
def test_at_least_as_good_a_strategy_never_gets_less(method: Method, seed: int):
    cross = random_section(seed)
    tilt = method.multipliers(cross, LIMITS)
    given_to = tilt.value if method is COMPOSITE else tilt.value * cross.base
    # Weights pass through a division by base and a product with it: they agree to rounding.
    slack = 0.0 if method is COMPOSITE else 1e-15
    counted = np.flatnonzero(~np.isin(tilt.rule, [Rule.NULL, Rule.NO_BASE]))
    for i in counted:
        for j in counted:
            if dominates(cross, method.reads, i, j):
                assert given_to[i] >= given_to[j] - slack


@each(*SHARES, COMPOSITE)
def test_any_one_metric_that_improves_brings_more(method: Method):
    values = {name: [0.3, 0.2, 0.4] for name in METRICS_READ}
    before = method.multipliers(section(**values), LIMITS).value[0]
    for name in method.reads:
        better = 0.05 if name in LESS_IS_BETTER else 0.35
        assert method.multipliers(section(**(values | {name: [better, 0.2, 0.4]})), LIMITS).value[0] > before


# Invariances


@each(*EVERY)
@examples(30)
@given(seed=seeds, data=st.data())
def test_order_of_strategies_permutes_everything_bit_for_bit(method: Method, seed: int, data: st.DataObject):
    cross = random_section(seed)
    order = data.draw(st.permutations(range(len(cross.base))))
    method = ready(method, cross)
    plain, mixed = (target_weights(method, each, LIMITS) for each in (cross, renumbered(cross, order)))
    for name in ("metric", "reason", "score", "raw", "value", "rule"):
        assert getattr(mixed.tilt, name).tobytes() == getattr(plain.tilt, name)[order].tobytes(), name
    assert mixed.target.tobytes() == plain.target[order].tobytes()
    assert (mixed.tilt.formula, mixed.scale) == (plain.tilt.formula, plain.scale)


@pytest.mark.parametrize("weights", [{"sharpe": 0.1, "calmar": 0.2, "sortino": 0.7}])
def test_order_of_metrics_changes_no_bit_of_a_composite(weights: dict[str, float]):
    cross = random_section(5)
    one, other = (Composite(weights=given, lookback="90d") for given in (weights, dict(reversed(weights.items()))))
    assert one.multipliers(cross, LIMITS).raw.tobytes() == other.multipliers(cross, LIMITS).raw.tobytes()


@each(*EVERY)
@examples(20)
@given(seed=seeds, power=st.integers(-8, 0))
def test_weights_scale_with_base_and_gross(method: Method, seed: int, power: int):
    cross, k = random_section(seed), 2.0**power
    small = dataclasses.replace(cross, base=k * cross.base, gross=k * cross.gross)
    one, other = (target_weights(ready(method, each), each, LIMITS) for each in (cross, small))
    assert other.target.tobytes() == (k * one.target).tobytes()
    assert other.tilt.value.tobytes() == one.tilt.value.tobytes()


@each(*POWER, ProportionalSharpe(), CalmarWeighted())
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0.2, 4), min_size=2, max_size=6), power=st.integers(0, 6))
def test_units_of_the_metric_change_no_bit_of_ratios(method: Method, values: list[float], power: int):
    # Above the floor of the anchor, the tilt is a ratio too.
    scaled = multipliers(method, [x * 2.0**power for x in values])
    assert scaled.value.tobytes() == multipliers(method, values).value.tobytes()


@each(SharpeTilt(), MinmaxTilt(metric="sortino", lookback="90d"), COMPOSITE)
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=6), a=st.floats(0.5, 3), b=st.floats(-1.5, 1.5))
def test_minmax_map_ignores_affine_units_inside_the_clip(method: Method, values: list[float], a: float, b: float):
    assume((spread := max(values) - min(values)) > 1e-6)
    cross = alike(values)
    moved = method.multipliers(with_metrics(cross, lambda x: a * x + b), LIMITS).value
    np.testing.assert_allclose(moved, method.multipliers(cross, LIMITS).value, atol=1e-14 / spread)


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0, 4), min_size=1, max_size=6), shift=st.floats(0, 9))
def test_softmax_ignores_a_constant_added_to_all_scores(values: list[float], shift: float):
    cross = section(sharpe=values, max_drawdown=[0.0] * len(values))
    moved = dataclasses.replace(cross, values=cross.values | {"sharpe": cross.values["sharpe"] + shift})
    plain, other = (SoftmaxSharpe().multipliers(each, LIMITS).value for each in (cross, moved))
    np.testing.assert_allclose(other, plain, rtol=1e-13)


# How multipliers came about


def evaluated(tilt: Multipliers, cross: CrossSection, i: int) -> float:
    names = {name: float(tilt.score[i]) for name in (*METRICS_READ, "score", "composite", "allocation")}
    formula = re.sub(r"allocation of \S+", "allocation", tilt.formula).replace("×", "*").replace("^", "**")
    return float(eval(formula, {"exp": math.exp, "max": max, "base": float(cross.base[i]), **names}))


@each(*EVERY)
@examples(30)
@given(seed=seeds)
def test_the_printed_formula_gives_the_raw_multiplier(method: Method, seed: int):
    cross = random_section(seed, gross=1.0 if isinstance(method, Fixed) else 2.3)
    tilt = ready(method, cross).multipliers(cross, LIMITS)
    for i in np.flatnonzero(~np.isnan(tilt.raw)):
        value = evaluated(tilt, cross, i)
        if isinstance(method, MinmaxTilt | Composite):
            value = min(max(value, method.lo), method.hi)
        assert value == tilt.raw[i]
        assert tilt.value[i] == (min(max(value, LIMITS.floor), LIMITS.cap) if method.clips_to_limits else value)


@each(*EVERY)
@examples(30)
@given(seed=seeds)
def test_multipliers_are_finite_and_say_which_are_null(method: Method, seed: int):
    cross = random_section(seed)
    tilt = ready(method, cross).multipliers(cross, LIMITS)
    assert (np.isfinite(tilt.value) & (tilt.value >= 0)).all()
    assert {part.dtype.str for part in (tilt.metric, tilt.score, tilt.raw, tilt.value)} == {"<f8"}
    assert {tilt.reason.dtype.str, tilt.rule.dtype.str} == {"|i1"}
    assert tilt.reason.tolist() == cross.read(method.reads).tolist()
    assert not np.isinf(tilt.raw).any()
    null = tilt.rule == Rule.NULL
    assert (tilt.value[null] == 1.0).all()
    assert np.isnan(tilt.raw[null]).all()
    assert np.isnan(tilt.score[null]).all()
    assert (tilt.reason[null] > 0).all()
    if method.metric:
        assert np.isnan(tilt.metric).tolist() == (tilt.reason > 0).tolist()


@each(*SHARES, Equal(), Fixed())
def test_a_strategy_without_base_weight_takes_no_share(method: Method):
    cross = alike([0.1, 9.0, 0.2, NAN], [0.5, 0.0, 0.3, 0.2])
    tilt = ready(method, cross).multipliers(cross, LIMITS)
    assert (rules(tilt)[1], tilt.value[1]) == ("no base weight", 1.0)
    assert math.isnan(tilt.raw[1])
    assert math.fsum(tilt.value * cross.base) == pytest.approx(1.0, abs=1e-15)


@each(SoftmaxSharpe(), COMPOSITE)
def test_any_null_metric_makes_a_strategy_null_with_the_first_reason(method: Method):
    for name in method.reads:
        values = {metric: [0.1, 0.2, 0.3] for metric in METRICS_READ}
        tilt = method.multipliers(section(reason="flat", **(values | {name: [0.1, NAN, 0.3]})), LIMITS)
        assert rules(tilt)[1] == "neutral"
        assert REASONS[tilt.reason[1]] == "flat"
        assert tilt.value[1] == 1.0


# Loading


def adapter() -> TypeAdapter[Method]:
    return TypeAdapter(Annotated[reduce(or_, METHODS), Field(discriminator="kind")])


@pytest.mark.parametrize(
    ("content", "method"),
    [
        ({"kind": "calmar_tilt", "alpha": 0.7}, CalmarTilt(alpha=0.7)),
        ({"kind": "sharpe_tilt", "lookback": "60d"}, SharpeTilt(lookback="60d")),
        ({"kind": "power_tilt", "metric": "sortino", "lookback": "12m"}, PowerTilt(metric="sortino", lookback="12m")),
        ({"kind": "minmax_tilt", "metric": "calmar", "lookback": "12m"}, MinmaxTilt(metric="calmar", lookback="12m")),
        ({"kind": "softmax_sharpe", "temperature": 2}, SoftmaxSharpe(temperature=2.0)),
        ({"kind": "softmax_sharpe", "lookback": {"NORMAL": "60d"}}, SoftmaxSharpe(lookback={"NORMAL": "60d"})),
        ({"kind": "proportional_sharpe"}, ProportionalSharpe(lookback="90d")),
        ({"kind": "calmar_weighted"}, CalmarWeighted(lookback="12m")),
        (
            {"kind": "composite", "lookback": "90d", "weights": {"sharpe": 1, "max_drawdown": 0.5}, "hi": 3},
            Composite(lookback="90d", weights={"sharpe": 1.0, "max_drawdown": 0.5}, hi=3.0),
        ),
        ({"kind": "equal"}, Equal()),
        ({"kind": "fixed", "folder": "sample/mix"}, Fixed(folder="sample/mix")),
    ],
    ids=str,
)
def test_methods_load_from_plain_data_by_kind(content: dict[str, object], method: Method):
    assert adapter().validate_python(content) == method


def test_every_method_has_a_kind_of_its_own_and_a_case_here():
    kinds = [method.__dataclass_fields__["kind"].default for method in METHODS]
    assert len(set(kinds)) == len(METHODS)
    assert {type(method) for method in EVERY} == {method for method in METHODS if not issubclass(method, Optimised)}


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "calmar_tilt", "gamma": 1},
        {"kind": "calmar_tilt", "metric": "sharpe"},
        {"kind": "power_tilt"},
        {"kind": "unknown"},
        {"kind": "sharpe_tilt", "metric_clip": "wide"},
        {"kind": "softmax_sharpe", "metric": "calmar"},
        {"kind": "proportional_sharpe", "metric": "calmar"},
        {"kind": "composite", "lookback": "90d"},
        {"kind": "composite", "weights": {"sharpe": 1}},
        {"kind": "composite", "lookback": "90d", "weights": {"alpha": 1}},
        {"kind": "equal", "lookback": "90d"},
        {"kind": "fixed", "file": "mix.json"},
        {"kind": "fixed", "allocations": {"a": 100}},
        {"kind": "fixed", "decisions": [{"date": "2015-01-02", "allocations": {"a": 100}}]},
    ],
    ids=str,
)
def test_methods_refuse_what_they_do_not_know(content: dict[str, object]):
    with pytest.raises(ValidationError):
        adapter().validate_python(content)


def composite(**weights: float) -> Composite:
    return Composite(weights=weights, lookback="90d")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CalmarTilt(alpha=0), r"alpha: expected a power in \(0, 1\], got 0"),
        (lambda: CalmarTilt(alpha=math.nan), "alpha: expected"),
        (lambda: CalmarTilt(alpha=1.1), "alpha: expected"),
        (lambda: CalmarTilt(anchor_floor=0), "anchor_floor: expected a positive number, got 0"),
        (lambda: CalmarTilt(anchor_floor=math.inf), "anchor_floor: expected a positive number, got inf"),
        (lambda: PowerTilt(metric="alpha", lookback="90d"), "metric: expected one of .*sharpe.*, got 'alpha'"),
        (lambda: PowerTilt(metric="max_drawdown", lookback="90d"), "metric: of max_drawdown less is better"),
        (lambda: MinmaxTilt(metric="volatility", lookback="90d"), "metric: of volatility less is better"),
        (lambda: SharpeTilt(lo=1.5), r"lo: expected a multiplier in \[0, 1\], got 1\.5"),
        (lambda: SharpeTilt(hi=0.5), "hi: expected a finite multiplier of at least 1, got 0.5"),
        (lambda: SharpeTilt(hi=math.inf), "hi: expected a finite multiplier of at least 1, got inf"),
        (lambda: SharpeTilt(metric_clip=-1), "metric_clip: expected a positive number, got -1"),
        (lambda: SharpeTilt(metric_clip=0), "metric_clip: expected a positive number, got 0"),
        (lambda: SharpeTilt(metric_clip=math.inf), "metric_clip: expected a positive number, got inf"),
        (lambda: SoftmaxSharpe(temperature=0), "temperature: expected a positive number, got 0"),
        (lambda: SoftmaxSharpe(temperature=math.inf), "temperature: expected a positive number, got inf"),
        (lambda: SoftmaxSharpe(drawdown_scale=-1), "drawdown_scale: expected a positive number, got -1"),
        (lambda: composite(), "weights: expected at least one metric, got none"),
        (lambda: composite(alpha=1), r"weights\.alpha: expected one of .*sharpe.*, got 'alpha'"),
        (lambda: composite(sharpe=0), r"weights\.sharpe: expected a positive number, got 0"),
        (lambda: composite(sharpe=math.inf), r"weights\.sharpe: expected a positive number, got inf"),
        (lambda: composite(sharpe=math.nan), r"weights\.sharpe: expected a positive number, got nan"),
        (lambda: Composite(weights={"sharpe": 1}, lookback="90d", lo=2), "lo: expected a multiplier"),
        (lambda: decided({"a": -1}), r"allocations\.a: expected percent of capital from 0 to 100, got -1"),
        (lambda: decided({"a": 101}), r"allocations\.a: expected percent of capital from 0 to 100, got 101"),
        (lambda: decided({"a": math.nan}), r"allocations\.a: expected"),
        (lambda: decided({"a": 100}, number=0), "number: expected at least 1, got 0"),
        (lambda: Fixed(decisions=2 * (decided({"a": 100}),)), r"each date and number once, got \['2011-12-30'\] again"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: CalmarTilt(alpha=1.0, anchor_floor=1e-9),
        lambda: SharpeTilt(lo=1.0, hi=1.0, metric_clip=1e-9),
        lambda: SharpeTilt(lo=0.0),
        lambda: SoftmaxSharpe(temperature=1e-9, drawdown_scale=1e-9),
        lambda: composite(sharpe=1e-9),
        lambda: fixed({"a": 0, "b": 100}),
    ],
)
def test_parameters_at_the_end_of_their_range_are_taken(build):
    assert build() == build()


@each(*SHARES, *MINMAX, COMPOSITE)
def test_without_measured_strategies_the_formula_is_one(method: Method):
    assert multipliers(method, [NAN, NAN]).formula == "1.0"


def test_without_measured_strategies_the_anchor_is_its_floor():
    assert multipliers(CalmarTilt(), [NAN, NAN]).formula == "(calmar / 0.1)^0.5"
