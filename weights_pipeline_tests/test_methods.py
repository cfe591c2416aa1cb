"""Allocation methods and target weights: golden numbers, monotonicity, nulls, and loading from plain data."""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from weights_pipeline.core.methods import METHODS
from weights_pipeline.core.methods.base import Limits, Method, target_weights
from weights_pipeline.core.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.methods.power_tilt import CalmarTilt, PowerTilt

NAN = math.nan
LIMITS = Limits()
PROPORTIONAL = Limits(normalisation="proportional")
BASE = pd.Series({"a": 0.20, "b": 0.25, "c": 0.20, "d": 0.15, "e": 0.20})
SHARPE = pd.Series({"a": 1.80, "b": 1.20, "c": 0.80, "d": 0.50, "e": -0.20})
MEASURED = pd.Series("", index=BASE.index)
TILTS = pytest.mark.parametrize("method", [CalmarTilt(), SharpeTilt()], ids=lambda method: method.kind)

metrics = st.lists(st.one_of(st.floats(-8, 8), st.just(NAN)), min_size=5, max_size=5)


def multipliers(method: Method, values: list[float], reason: str = "insufficient", limits: Limits = LIMITS):
    names = [f"s{number}" for number in range(len(values))]
    reasons = [reason if math.isnan(value) else "" for value in values]
    return method.multipliers(names, np.array(values, dtype=float), reasons, limits)


def test_golden_sharpe_tilt():
    def percent(limits: Limits) -> pd.Series:
        return target_weights(SharpeTilt(), BASE, SHARPE, MEASURED, limits, 1.0)["target"] * 100

    assert percent(PROPORTIONAL).round(1).tolist() == [31.0, 30.0, 19.4, 11.9, 7.7]
    assert percent(LIMITS).round(3).tolist() == [30.220, 29.276, 18.888, 11.616, 10.000]


def test_power_tilt_follows_the_median():
    tilt = multipliers(CalmarTilt(), [4.0, 1.0, 0.25, 9.0, -3.0])
    assert tilt.value.tolist() == [2.0, 1.0, 0.5, 2.0, 0.5]
    assert tilt.raw[:4].tolist() == [2.0, 1.0, 0.5, 3.0]
    assert math.isnan(tilt.raw[4])
    assert tilt.note == ("measured", "measured", "measured", "clipped at cap", "floor: metric <= 0")
    assert multipliers(CalmarTilt(), [1.0, 1.0, 0.01]).note[2] == "clipped at floor"


def test_power_tilt_anchor_has_a_floor_so_losses_never_divide_to_gains():
    tilt = multipliers(CalmarTilt(), [-2.0, -1.0, 0.1, -0.5])
    assert tilt.value.tolist() == [0.5, 0.5, 1.0, 0.5]
    near_zero = [multipliers(CalmarTilt(), [0.05, median, -1.0]).value[0] for median in (-1e-9, 0.0, 1e-9)]
    np.testing.assert_allclose(near_zero, math.sqrt(0.5), rtol=1e-6)


def test_power_tilt_gives_a_gain_without_drawdown_the_cap_and_other_nulls_one():
    tilt = CalmarTilt().multipliers(
        ["a", "b", "c"], np.array([1.0, NAN, NAN]), ["", "no_drawdown", "flat"], Limits(floor=0.8, cap=1.5)
    )
    assert tilt.value.tolist() == [1.0, 1.5, 1.0]
    assert tilt.note == ("measured", "cap: gain without drawdown", "neutral: flat")
    assert np.isnan(tilt.raw[1:]).all()


def test_minmax_tilt_spreads_between_worst_and_best():
    tilt = multipliers(SharpeTilt(), [1.0, 3.0, 2.0, NAN])
    assert tilt.value.tolist() == [0.5, 2.0, 1.25, 1.0]
    assert tilt.note == ("measured", "measured", "measured", "neutral: insufficient")
    assert math.isnan(tilt.raw[3])


def test_minmax_tilt_clips_the_metric_so_one_outlier_cannot_flatten_the_map():
    tilt = multipliers(SharpeTilt(), [1.0, 400.0, 2.0, 0.0])
    assert tilt.value.tolist() == [0.8, 2.0, 1.1, 0.5]
    assert tilt.note[1] == "metric clipped"
    assert tilt.metric[1] == 400.0


def test_minmax_tilt_does_not_overshoot_its_ends_by_rounding():
    assert multipliers(SharpeTilt(lo=0.49, hi=2.78), [1.0, 3.0]).value.tolist() == [0.49, 2.78]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([1.5, 1.5, 1.5], "neutral: all equal"),
        ([7.0, 9.0], "neutral: all equal"),
        ([1.5, NAN], "neutral: fewer than two measured"),
        ([NAN, NAN], "neutral: insufficient"),
    ],
)
def test_minmax_tilt_is_neutral_without_two_different_values(values: list[float], note: str):
    tilt = multipliers(SharpeTilt(), values)
    assert (tilt.value == 1.0).all()
    assert tilt.note[0] == note


@TILTS
@settings(max_examples=60, deadline=None)
@given(values=metrics)
def test_the_better_of_two_strategies_never_gets_the_smaller_multiplier(method: Method, values: list[float]):
    value = multipliers(method, values).value
    assert ((value >= 0.5) & (value <= 2.0)).all()
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


@TILTS
@settings(max_examples=40, deadline=None)
@given(values=metrics, order=st.permutations(range(5)))
def test_order_of_strategies_permutes_multipliers_bit_for_bit(method: Method, values, order):
    plain, mixed = multipliers(method, values), multipliers(method, [values[i] for i in order])
    assert mixed.value.tobytes() == plain.value[list(order)].tobytes()
    assert mixed.note == tuple(plain.note[i] for i in order)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(0.2, 4), min_size=2, max_size=6),
    power=st.integers(0, 6),
    shift=st.floats(0.1, 0.9),
)
def test_tilts_ignore_units(values: list[float], power: int, shift: float):
    power_tilt = CalmarTilt()
    scaled = multipliers(power_tilt, [x * 2.0**power for x in values]).value
    assert scaled.tobytes() == multipliers(power_tilt, values).value.tobytes()
    minmax = SharpeTilt()
    moved = multipliers(minmax, [x + shift for x in values]).value
    spread = max(values) - min(values)
    if spread > 1e-6:
        np.testing.assert_allclose(moved, multipliers(minmax, values).value, atol=1e-15 * 100 / spread)


@TILTS
@settings(max_examples=60, deadline=None)
@given(values=metrics)
def test_targets_add_up_and_keep_the_caps(method: Method, values: list[float]):
    frame = target_weights(method, BASE, pd.Series(values, index=BASE.index), MEASURED, LIMITS, 1.0)
    assert abs(math.fsum(frame["target"]) - 1) < 1e-14
    assert (frame["target"] >= frame["lower"]).all()
    assert (frame["target"] <= frame["upper"]).all()
    assert (frame["lower"] == 0.5 * BASE.to_numpy()).all()
    held = frame["bound"] != ""
    limit = np.where(frame["bound"] == "cap", frame["upper"], frame["lower"])
    assert (frame["target"] == limit)[held].all()
    assert ((frame["target"] > frame["lower"]) & (frame["target"] < frame["upper"]))[~held].all()


@TILTS
@pytest.mark.parametrize("limits", [LIMITS, PROPORTIONAL])
@pytest.mark.parametrize("base", [BASE, pd.Series([1 / 3, 1 / 3, 0.3333333333], index=list("abc"))])
def test_without_measured_strategies_targets_are_base_bit_for_bit(method, limits, base):
    nothing = pd.Series(NAN, index=base.index)
    frame = target_weights(method, base, nothing, pd.Series("insufficient", index=base.index), limits, 1.0)
    assert frame["target"].tolist() == base.tolist()
    assert (frame["scale"] == 1.0).all()
    assert (frame["note"] == "neutral: insufficient").all()


def test_every_strategy_at_the_floor_is_the_base_portfolio_again():
    frame = target_weights(CalmarTilt(), BASE, -SHARPE.abs(), MEASURED, LIMITS, 1.0)
    assert frame["multiplier"].tolist() == [0.5] * 5
    assert frame["target"].tolist() == BASE.tolist()
    assert (frame["scale"] == 2.0).all()


def test_target_frame_reports_every_strategy_sorted_with_its_reason():
    values = pd.Series({"z": 1.0, "b": 0.5, "a": NAN, "other book": 3.0})
    base = pd.Series({"z": 0.5, "b": 0.2, "a": 0.3, "none": 0.0})
    frame = target_weights(CalmarTilt(), base, values, pd.Series({"a": "flat"}), LIMITS, 1.0)
    assert frame["strategy"].tolist() == ["a", "b", "none", "z"]
    assert frame["reason"].tolist() == ["flat", "", "missing", ""]
    assert frame["note"].tolist() == ["neutral: flat", "measured", "neutral: missing", "measured"]
    assert frame.loc[2, ["target", "lower", "upper", "bound"]].tolist() == [0.0, 0.0, 0.0, ""]
    assert frame["metric_value"].isna().tolist() == [True, False, True, False]
    mixed = target_weights(CalmarTilt(), base[::-1], values[::-1], pd.Series({"a": "flat"}), LIMITS, 1.0)
    pd.testing.assert_frame_equal(frame, mixed, check_exact=True)


def test_bound_names_the_limit_that_holds_a_target():
    base = pd.Series({"a": 0.1, "b": 0.8, "c": 0.1})
    values = pd.Series({"a": 3.0, "b": 0.9, "c": 0.0})
    method = SharpeTilt(lo=0.1, hi=3.0)
    frame = target_weights(method, base, values, pd.Series(dtype=str), LIMITS, 1.0)
    assert frame["bound"].tolist() == ["cap", "", "floor"]
    np.testing.assert_allclose(frame["target"], [0.2, 0.75, 0.05], rtol=1e-15)
    loose = target_weights(SharpeTilt(), BASE, SHARPE, MEASURED, PROPORTIONAL, 1.0)
    assert (loose["bound"] == "").all()
    assert (loose["lower"].tolist(), loose["upper"].tolist()) == ([0.0] * 5, [1.0] * 5)


@pytest.mark.parametrize(
    ("base", "values", "message"),
    [
        (BASE * 0.9, SHARPE, r"weights add up to 0\.9, expected gross 1"),
        (BASE, SHARPE * math.inf, r"infinite metric of \['a'"),
        (BASE.iloc[:0], SHARPE, "at least one strategy"),
        (pd.concat([BASE, BASE]), SHARPE, "base: duplicate strategies"),
        (BASE, pd.concat([SHARPE, SHARPE]), "values: duplicate strategies"),
    ],
)
def test_input_that_cannot_be_is_refused(base: pd.Series, values: pd.Series, message: str):
    with pytest.raises(ValueError, match=message):
        target_weights(SharpeTilt(), base, values, MEASURED, LIMITS, 1.0)


def adapter() -> TypeAdapter[Method]:
    return TypeAdapter(Annotated[reduce(or_, METHODS), Field(discriminator="kind")])


def test_presets_are_the_general_methods_on_their_metric():
    values = [3.0, 0.5, NAN, -1.0]
    general = PowerTilt(metric="calmar", lookback="12m"), MinmaxTilt(metric="sharpe", lookback="90d")
    for preset, method in zip((CalmarTilt(), SharpeTilt()), general, strict=True):
        assert (preset.metric, preset.lookback) == (method.metric, method.lookback)
        assert multipliers(preset, values).value.tolist() == multipliers(method, values).value.tolist()


def test_methods_load_from_plain_data_by_kind():
    assert adapter().validate_python({"kind": "calmar_tilt", "alpha": 0.7}) == CalmarTilt(alpha=0.7)
    assert adapter().validate_python({"kind": "sharpe_tilt", "lookback": "60d"}) == SharpeTilt(lookback="60d")
    loaded = adapter().validate_python({"kind": "power_tilt", "metric": "sortino", "lookback": "12m"})
    assert loaded == PowerTilt(metric="sortino", lookback="12m")
    kinds = [method.__dataclass_fields__["kind"].default for method in METHODS]
    assert len(set(kinds)) == len(METHODS)


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "calmar_tilt", "gamma": 1},
        {"kind": "calmar_tilt", "metric": "sharpe"},
        {"kind": "power_tilt"},
        {"kind": "unknown"},
        {"kind": "sharpe_tilt", "metric_clip": "wide"},
    ],
)
def test_methods_refuse_what_they_do_not_know(content: dict[str, object]):
    with pytest.raises(ValidationError):
        adapter().validate_python(content)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Limits(floor=1.1), r"floor: expected a multiple of base in \[0, 1\], got 1\.1"),
        (lambda: Limits(cap=0.9), r"cap: expected a finite multiple of base of at least 1, got 0\.9"),
        (lambda: Limits(cap=math.inf), "cap: expected"),
        (lambda: Limits(normalisation="clip"), "normalisation: expected capped or proportional, got 'clip'"),
        (lambda: CalmarTilt(alpha=0), r"alpha: expected a power in \(0, 1\], got 0"),
        (lambda: CalmarTilt(alpha=math.nan), "alpha: expected"),
        (lambda: CalmarTilt(anchor_floor=0), "anchor_floor: expected a positive number, got 0"),
        (lambda: SharpeTilt(lo=1.5), r"lo: expected a multiplier in \[0, 1\], got 1\.5"),
        (lambda: SharpeTilt(hi=0.5), "hi: expected a finite multiplier of at least 1, got 0.5"),
        (lambda: SharpeTilt(metric_clip=-1), "metric_clip: expected a positive number, got -1"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
