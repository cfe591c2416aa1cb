"""From multipliers to target weights: limits kept, gross reached, nulls and degenerate dates, and their table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.metrics.measures import REASONS
from weights_pipeline.core.realized.adjust import step
from weights_pipeline.core.targets.methods.base import (
    CrossSection,
    Limits,
    Method,
    target_weights,
    targets_frame,
)
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import SharpeTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt
from weights_pipeline.core.targets.methods.proportional_share import ProportionalSharpe
from weights_pipeline.core.targets.rules import Rule
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.method_cases import (
    COMPOSITE,
    EPS,
    EVERY,
    LIMITS,
    METRICS_READ,
    MINMAX,
    NAN,
    PROPORTIONAL,
    READING,
    SHARES,
    WEIGHTS,
    alike,
    each,
    limits_for,
    random_section,
    ready,
    section,
)

BASE = pd.Series({"a": 0.20, "b": 0.25, "c": 0.20, "d": 0.15, "e": 0.20})
SHARPE = pd.Series({"a": 1.80, "b": 1.20, "c": 0.80, "d": 0.50, "e": -0.20})

seeds = st.integers(0, 2**32 - 1)


def frame(
    method: Method,
    base: pd.Series,
    values: pd.Series,
    reasons: pd.Series | None = None,
    limits: Limits = LIMITS,
    gross: float = 1.0,
) -> pd.DataFrame:
    """Targets of one date as rows, from one metric by name of strategy."""
    given = {} if reasons is None else dict.fromkeys(method.reads, reasons)
    cross = CrossSection.of(base, dict.fromkeys(method.reads, values), given, gross)
    return targets_frame([target_weights(method, cross, limits)], cross.strategies, cross.base)


def assert_targets_hold(method: Method, cross: CrossSection) -> None:
    """Under limits of every sort: finite targets that add up to gross inside limits, and can be stepped to."""
    method = ready(method, cross)
    for limits in limits_for(method, cross):
        targets = target_weights(method, cross, limits)
        lower, upper = limits.bounds(cross.base, cross.gross)
        assert (targets.lower.tolist(), targets.upper.tolist()) == (lower.tolist(), upper.tolist())
        assert abs(math.fsum(targets.target) - cross.gross) <= 4 * len(cross.base) * EPS * cross.gross, limits
        assert (targets.target >= lower).all(), limits
        assert (targets.target <= upper).all(), limits
        assert (targets.target[cross.base == 0] == 0).all()
        assert math.isfinite(targets.scale)
        _, realized = step(cross.base, targets.target, lower, upper, rate=0.1, gross=cross.gross)
        assert ((realized >= lower) & (realized <= upper)).all()


# Sum and limits


@each(*EVERY)
@examples(25)
@given(seed=seeds, gross=st.sampled_from([1.0, 0.7, 2.3]))
def test_targets_add_up_to_gross_inside_the_limits(method: Method, seed: int, gross: float):
    cross = random_section(seed, gross=gross)
    if method.kind != "fixed" or gross <= 1:
        assert_targets_hold(method, cross)


@each(*EVERY)
@examples(25)
@given(seed=seeds)
def test_bound_tells_exactly_which_targets_a_limit_holds(method: Method, seed: int):
    cross = random_section(seed, unfunded=False)
    targets = target_weights(ready(method, cross), cross, LIMITS)
    rows = targets_frame([targets], cross.strategies, cross.base)
    assert (rows["lower"] == 0.5 * cross.base).all()
    held = rows["bound"] != ""
    limit = np.where(rows["bound"] == "cap", rows["upper"], rows["lower"])
    assert (rows["target"] == limit)[held].all()
    assert ((rows["target"] > rows["lower"]) & (rows["target"] < rows["upper"]))[~held].all()


def test_bound_names_the_limit_that_holds_a_target():
    base = pd.Series({"a": 0.1, "b": 0.8, "c": 0.1})
    method = SharpeTilt(lo=0.1, hi=3.0)
    rows = frame(method, base, pd.Series({"a": 3.0, "b": 0.9, "c": 0.0}))
    assert rows["bound"].tolist() == ["cap", "", "floor"]
    np.testing.assert_allclose(rows["target"], [0.2, 0.75, 0.05], rtol=1e-15)
    loose = frame(SharpeTilt(), BASE, SHARPE, limits=PROPORTIONAL)
    assert (loose["bound"] == "").all()
    assert (loose["lower"].tolist(), loose["upper"].tolist()) == ([0.0] * 5, [1.0] * 5)


def test_limits_of_weight_hold_weights_whatever_the_base():
    base = pd.Series({"a": 0.2, "b": 0.3, "c": 0.5, "none": 0.0})
    values = pd.Series({"a": 8.0, "b": 1.0, "c": 1.0, "none": 5.0})
    rows = frame(ProportionalSharpe(), base, values, limits=Limits(of="weight", floor=0.15, cap=0.6)).set_index(
        "strategy"
    )
    np.testing.assert_allclose(rows["target"], [0.6, 0.2, 0.2, 0.0], rtol=1e-15)
    assert rows["bound"].tolist() == ["cap", "", "", ""]
    assert rows["lower"].tolist() == [0.15, 0.15, 0.15, 0.0]
    assert rows["upper"].tolist() == [0.6, 0.6, 0.6, 0.0]


def test_rounding_does_not_lift_a_single_strategy_above_gross():
    rng = np.random.default_rng(0)
    for raw in rng.uniform(1, 9, 400):
        cross = section([0.7, 0.0], gross=0.7, sharpe=[raw, 1.0])
        targets = target_weights(SharpeTilt(lo=0.5, hi=float(raw)), cross, PROPORTIONAL)
        assert targets.target[0] <= targets.upper[0]


@each(*SHARES)
def test_shares_stay_positive_where_rounding_of_base_exceeds_the_measured(method: Method):
    cross = alike([NAN, 0.3, 0.2], [1.0, 4e-10, 1e-10])
    assert (target_weights(method, cross, LIMITS).target > 0).all()
    assert (method.multipliers(cross, LIMITS).value > 0).all()


# Nulls


@each(*READING)
@pytest.mark.parametrize(
    ("reason", "base"),
    [
        *((reason, BASE.tolist()) for reason in REASONS[1:]),
        *((REASONS[1], base) for base in ([1 / 3, 1 / 3, 0.3333333333], [0.6, 0.0, 0.4])),
    ],
    ids=str,
)
def test_without_measured_strategies_targets_are_base_bit_for_bit(method: Method, reason: str, base: list[float]):
    cross = alike([NAN] * len(base), base, reason=reason)
    for limits in limits_for(method, cross):
        targets = target_weights(method, cross, limits)
        assert targets.target.tolist() == base
        rows = targets_frame([targets], cross.strategies, cross.base)
        if reason == "no_drawdown" and limits.of == "base" and method.clips_to_limits:
            assert (rows["note"] == "cap: gain without drawdown").all()
        else:
            assert (targets.scale, set(rows["note"])) == (1.0, {f"neutral: {reason}"})


@each(*READING)
@pytest.mark.parametrize("reason", REASONS[1:])
def test_one_null_among_the_measured_is_neutral_and_says_why(method: Method, reason: str):
    cross = alike([0.3, NAN, 0.1], [0.5, 0.3, 0.2], reason=reason)
    rows = targets_frame([target_weights(method, cross, LIMITS)], cross.strategies, cross.base)
    assert rows["reason"].tolist() == ["", reason, ""]
    if method.clips_to_limits and reason == "no_drawdown":
        assert (rows["multiplier"][1], rows["note"][1]) == (2.0, "cap: gain without drawdown")
    else:
        assert (rows["multiplier"][1], rows["note"][1]) == (1.0, f"neutral: {reason}")
    assert rows["metric_value"].isna().tolist() == [False, True, False]


@each(*SHARES)
def test_a_null_keeps_its_base_weight_beside_shares(method: Method):
    cross = alike([0.3, NAN, 0.1], [0.5, 0.3, 0.2])
    assert target_weights(method, cross, WEIGHTS).target[1] == pytest.approx(0.3, rel=1e-15)


# Degenerate dates


@each(*EVERY)
@pytest.mark.parametrize("value", [2.0, 0.0, -1.0, NAN])
def test_a_single_strategy_holds_gross(method: Method, value: float):
    cross = alike([value], [0.7], gross=0.7)
    method = ready(method, cross)
    for limits in (*limits_for(method, cross)[:4], Limits(of="weight", floor=0.1, cap=0.7)):
        assert target_weights(method, cross, limits).target.tolist() == [0.7]


@each(*EVERY)
@pytest.mark.parametrize("value", [3.0, 0.25, 0.0, -1.0, -8.0])
def test_equal_metrics_give_equal_multipliers_or_equal_weights(method: Method, value: float):
    cross = alike([value] * 4, [0.4, 0.3, 0.2, 0.1])
    assert_targets_hold(method, cross)
    tilt = ready(method, cross).multipliers(cross, LIMITS)
    if method.kind == "fixed":
        return
    same = tilt.value * cross.base if (*SHARES, Equal()).count(method) else tilt.value
    np.testing.assert_allclose(same, same[0], rtol=1e-15)


@each(*EVERY)
def test_all_negative_metrics(method: Method):
    assert_targets_hold(method, alike([-0.5, -3.0, -0.1, -7.0], [0.4, 0.3, 0.2, 0.1]))


def test_every_strategy_at_the_floor_is_the_base_portfolio_again():
    rows = frame(CalmarTilt(), BASE, -SHARPE.abs())
    assert rows["multiplier"].tolist() == [0.5] * 5
    assert rows["target"].tolist() == BASE.tolist()
    assert (rows["scale"] == 2.0).all()


def test_equal_multipliers_leave_base_weights_only_inside_the_limits():
    cross = section([0.7, 0.2, 0.1], sharpe=[1.0, 1.0, 1.0])
    weights = target_weights(SharpeTilt(), cross, Limits(of="weight", floor=0.15, cap=0.6)).target
    np.testing.assert_allclose(weights, [0.6, 0.25, 0.15], rtol=1e-15)


@pytest.mark.parametrize("normalisation", ["capped", "proportional"])
def test_multipliers_that_are_all_zero_give_the_base_portfolio_too(normalisation: str):
    limits = Limits(floor=0.0, cap=3.0, normalisation=normalisation)
    losses = target_weights(CalmarTilt(), alike([-1.0, -2.0, -0.5], [0.5, 0.3, 0.2]), limits)
    assert (losses.tilt.value.tolist(), losses.target.tolist(), losses.scale) == ([0.0] * 3, [0.5, 0.3, 0.2], 1.0)
    # The best strategy has no base weight, and the only other one is the worst.
    unfunded_best = target_weights(SharpeTilt(lo=0.0), alike([1.0, 2.0], [1.0, 0.0]), limits)
    assert (unfunded_best.tilt.value.tolist(), unfunded_best.target.tolist()) == ([0.0, 2.0], [1.0, 0.0])


@each(*READING, Equal())
def test_two_strategies_with_the_same_figures_get_the_same_multiplier(method: Method):
    cross = alike([0.4, 0.1, 0.4, 0.9], [0.3, 0.2, 0.3, 0.2])
    assert_targets_hold(method, cross)
    tilt, target = method.multipliers(cross, LIMITS), target_weights(method, cross, LIMITS).target
    assert tilt.value[0] == tilt.value[2]
    assert target[0] == target[2]


@each(*EVERY)
@pytest.mark.parametrize("outlier", [1e6, -1e6])
def test_an_outlier_breaks_no_limit(method: Method, outlier: float):
    assert_targets_hold(method, alike([0.4, outlier, 0.1, 0.2], [0.4, 0.3, 0.2, 0.1]))


@each(*MINMAX, COMPOSITE)
def test_an_outlier_cannot_flatten_the_map(method: Method):
    values = method.multipliers(alike([1.0, 1e6, 3.0]), LIMITS).value
    assert values[2] - values[0] > 0.2 * (values.max() - values.min())


@each(*EVERY)
def test_zero_base_weights_stay_zero(method: Method):
    assert_targets_hold(method, alike([0.4, 3.0, 0.1, NAN], [0.6, 0.0, 0.4, 0.0]))
    assert_targets_hold(method, alike([NAN, 3.0, NAN], [0.6, 0.0, 0.4]))


# The table of targets


def test_table_has_every_strategy_sorted_with_its_reason():
    values = pd.Series({"z": 1.0, "b": 0.5, "a": NAN, "other book": 3.0})
    base = pd.Series({"z": 0.5, "b": 0.2, "a": 0.3, "none": 0.0})
    rows = frame(CalmarTilt(), base, values, pd.Series({"a": "flat"}))
    assert rows["strategy"].tolist() == ["a", "b", "none", "z"]
    assert rows["reason"].tolist() == ["flat", "", "missing", ""]
    assert rows["note"].tolist() == ["neutral: flat", "measured", "neutral: missing", "measured"]
    assert rows.loc[2, ["target", "lower", "upper", "bound"]].tolist() == [0.0, 0.0, 0.0, ""]
    assert rows["metric_value"].isna().tolist() == [True, False, True, False]
    mixed = frame(CalmarTilt(), base[::-1], values[::-1], pd.Series({"a": "flat"}))
    pd.testing.assert_frame_equal(rows, mixed, check_exact=True)


@each(*EVERY)
def test_table_of_several_dates_is_that_of_each_below_the_other(method: Method):
    one = alike([0.4, NAN, 0.1], [0.5, 0.3, 0.2])
    other = dataclasses.replace(one, values={name: one.values[name][::-1] for name in METRICS_READ})
    targets = [target_weights(ready(method, one), cross, LIMITS) for cross in (one, other)]
    alone = [targets_frame([each], one.strategies, one.base) for each in targets]
    together = targets_frame(targets, one.strategies, one.base)
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)
    assert together["formula"].tolist() == [targets[0].tilt.formula] * 3 + [targets[1].tilt.formula] * 3


def test_table_of_a_method_without_metrics_has_neither_values_nor_reasons():
    rows = frame(Equal(), BASE, SHARPE)
    assert rows[["metric_value", "score"]].isna().all(axis=None)
    assert set(rows["reason"]) == {""}
    assert set(rows["note"]) == {"equal weight"}


# What cannot be


def test_reason_of_the_first_null_metric_is_read():
    cross = CrossSection.of(
        {"a": 0.5, "b": 0.3, "c": 0.2},
        {"sharpe": pd.Series({"a": 1.0, "b": NAN, "c": NAN}), "calmar": pd.Series({"a": 1.0, "b": NAN})},
        {"sharpe": pd.Series({"b": "flat"}), "calmar": pd.Series({"a": "stray", "b": "no_lots"})},
    )
    assert [REASONS[code] for code in cross.read(("sharpe", "calmar"))] == ["", "flat", "missing"]
    assert [REASONS[code] for code in cross.read(("calmar", "sharpe"))] == ["", "no_lots", "missing"]
    assert cross.read(()).tolist() == [0, 0, 0]


def test_whole_numbers_become_the_types_of_any_other():
    cross = CrossSection.of(pd.Series({"a": 1, "b": 0}), {"sharpe": pd.Series({"a": 2, "b": 1})}, {})
    assert (cross.base.dtype, cross.values["sharpe"].dtype) == (np.float64, np.float64)
    assert (cross.reasons["sharpe"].dtype, cross.read(("sharpe",)).dtype) == (np.int8, np.int8)


def test_base_weights_may_miss_gross_by_a_billionth_of_it():
    base = pd.Series({"a": 600.0, "b": 400.0})
    assert CrossSection.of(base + 4e-7, {}, {}, gross=1000.0).gross == 1000
    with pytest.raises(ValueError, match=r"base: weights add up to 1000\.0000012, expected gross 1000"):
        CrossSection.of(base + 6e-7, {}, {}, gross=1000.0)


@pytest.mark.parametrize(
    ("base", "values", "reasons", "message"),
    [
        (BASE * 0.9, SHARPE, None, r"weights add up to 0\.9, expected gross 1"),
        (BASE.where(BASE != 0.15, NAN), SHARPE, None, "base: expected finite weights of at least 0"),
        (BASE.where(BASE != 0.15, -0.15), SHARPE, None, "base: expected finite weights of at least 0"),
        (BASE, SHARPE * math.inf, None, r"infinite metric of \['a'"),
        (BASE.iloc[:0], SHARPE, None, "at least one strategy"),
        (pd.concat([BASE, BASE]), SHARPE, None, "base: duplicate strategies"),
        (BASE, pd.concat([SHARPE, SHARPE]), None, "sharpe: duplicate strategies"),
        (
            BASE,
            SHARPE * NAN,
            pd.Series("bad luck", index=BASE.index),
            "reason: expected one of .*flat.*, got 'bad luck'",
        ),
    ],
)
def test_input_that_cannot_be_is_refused(base, values, reasons, message: str):
    with pytest.raises(ValueError, match=message):
        frame(SharpeTilt(), base, values, reasons)


def test_limits_that_no_weights_can_keep_are_refused():
    with pytest.raises(ValueError, match=r"gross: 1 cannot be reached, the bounds allow sums from 0 to 0\.75"):
        frame(SharpeTilt(), BASE, SHARPE, limits=Limits(of="weight", floor=0.0, cap=0.15))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Limits(floor=1.1), r"floor: expected a multiple of base in \[0, 1\], got 1\.1"),
        (lambda: Limits(floor=-0.1), r"floor: expected a multiple of base in \[0, 1\], got -0\.1"),
        (lambda: Limits(cap=0.9), r"cap: expected a finite multiple of base of at least 1, got 0\.9"),
        (lambda: Limits(cap=math.inf), "cap: expected"),
        (lambda: Limits(normalisation="clip"), "normalisation: expected capped or proportional, got 'clip'"),
        (lambda: Limits(of="gross"), "of: expected base or weight, got 'gross'"),
        (lambda: Limits(of="weight", floor=0.5, cap=0.5), "floor, cap: expected weights 0 <= floor < cap, got 0.5 and"),
        (lambda: Limits(of="weight", floor=-0.1, cap=0.5), "floor, cap: expected weights"),
        (lambda: Limits(of="weight", floor=0.0, cap=math.nan), "floor, cap: expected weights"),
        (lambda: Limits(of="weight", floor=0.0, cap=math.inf), "floor, cap: expected weights"),
        (
            lambda: Limits(of="weight", floor=0.0, cap=1.0, normalisation="proportional"),
            "normalisation: limits of weight are kept by capped only, got 'proportional'",
        ),
    ],
)
def test_limits_out_of_range_are_refused_by_name(build: Callable[[], Limits], message: str):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Limits(floor=0.0, cap=1.0),
        lambda: Limits(floor=1.0, cap=1.0),
        lambda: Limits(of="weight", floor=0.0, cap=1e-9),
    ],
)
def test_limits_at_the_end_of_their_range_are_taken(build: Callable[[], Limits]):
    assert build() == build()


def test_every_rule_is_in_words():
    assert len({rule.note for rule in Rule}) == len(Rule) == 17
    assert [Rule.of(rule.note) for rule in Rule] == list(Rule)
    assert Rule.of("neutral: flat") is Rule.NULL
    with pytest.raises(ValueError, match=r"note: expected one of measured, .* got 'measure'"):
        Rule.of("measure")
