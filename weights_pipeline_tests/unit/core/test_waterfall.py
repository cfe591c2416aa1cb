"""Waterfalls: steps that end at the stored bits, whatever the book, and refuse rows that do not follow."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.allocator.hedges import Hedges
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.volatility import VolatilityTarget
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, target_weights, targets_frame
from weights_pipeline.core.targets.methods.composite import Composite
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt, SharpeTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe
from weights_pipeline.core.waterfall import ReplayError, Step, waterfall, waterfalls
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.method_cases import (
    EVERY,
    NAN,
    WEIGHTS,
    alike,
    each,
    fixed,
    limits_for,
    random_section,
    ready,
    section,
)

SESSIONS = pd.bdate_range("2020-03-02", periods=10).as_unit("us")
DAY = SESSIONS[0]
SCALED, UNSCALED = AllocatorParameters(), AllocatorParameters(enabled=False)
SCALARS = pd.DataFrame({"session": SESSIONS, "scalar": np.linspace(0.9, 0.6, 10), "regime": "STRESS", "sleeve": ""})
TABLES = ("targets", "realized", "final")


@dataclass(frozen=True, kw_only=True)
class ZeroTilt(SharpeTilt):
    """A tilt of which some multipliers are zero, or as good as zero."""

    zeros: tuple[bool, ...]
    nothing: float = 0.0

    def multipliers(self, section, limits):
        tilt = super().multipliers(section, limits)
        return replace(tilt, value=np.where(self.zeros, self.nothing, tilt.value))


def rows(method, cross: CrossSection, limits=None, rate=1.0, overlay=None, scalars=None, previous=None):
    """Target, realized and final weights of one date, as stored."""
    base = dict(zip(cross.strategies, cross.base.tolist(), strict=True))
    policy = Policy(base=base, gross=cross.gross, method=method, limits=limits or Limits(), rate=rate, overlay=overlay)
    targets = targets_frame([target_weights(method, cross, policy.limits)], cross.strategies, cross.base)
    shown = f"{method.metric}_{method.lookback}" if method.metric else ""
    targets = targets.assign(as_of=DAY, metric=shown, weight_set="")
    before = pd.DataFrame()
    if previous is not None:
        before = pd.DataFrame({"as_of": DAY, "strategy": list(previous), "realized": list(previous.values())})
    realized = chain.realized_table(before, targets, policy, SESSIONS)
    return targets, realized, chain.final_table(realized, scalars, policy, SESSIONS)


def replayed(steps: list[Step]) -> dict[str, float]:
    """Redo the arithmetic that is printed; the value after each step but notes, by name."""
    value, values = math.nan, {}
    for step in steps:
        match step.operation:
            case "start" | "hold":
                (value,) = step.operands
            case "times":
                value = value * step.operands[0]
            case "over":
                value = value / step.operands[0]
            case "plus":
                value = value + step.operands[0]
            case "clip":
                value = min(max(value, step.operands[0]), step.operands[1])
            case other:
                assert other == "note"
                continue
        values[step.name] = value
    return values


def assert_exact(tables) -> dict[str, list[Step]]:
    """Steps of every strategy multiply out to what the three tables hold, to the last bit."""
    found = waterfalls(*tables)
    targets, realized, final = (table.set_index("strategy") for table in tables)
    assert list(found) == sorted(targets.index)
    for name, steps in found.items():
        values = replayed(steps)
        assert values["target"] == targets.loc[name, "target"]
        assert values["realized weight"] == realized.loc[name, "realized"]
        assert values["final weight"] == final.loc[name, "final"]
        assert (steps[-1].name, steps[-1].value) == ("final weight", final.loc[name, "final"])
    return found


def named(steps: list[Step], name: str) -> Step:
    (step,) = (step for step in steps if step.name == name)
    return step


overlays = [(None, None), (SCALED, SCALARS), (SCALED, SCALARS.iloc[:0]), (UNSCALED, SCALARS), (UNSCALED, None)]


@each(*EVERY)
@examples(6)
@given(
    seed=st.integers(0, 2**32 - 1),
    gross=st.sampled_from([1.0, 0.7]),
    rate=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
    overlay=st.sampled_from(overlays),
    moved=st.booleans(),
    which=st.integers(0, 11),
)
def test_steps_multiply_out_to_the_stored_bits(method, seed, gross, rate, overlay, moved, which):
    cross = random_section(seed, gross=gross)
    method = ready(method, cross)
    previous = None
    if moved:
        weights = np.random.default_rng(seed).uniform(0, 1, len(cross.base))
        # The last strategy enters, and one that is gone has left its weight behind.
        previous = dict(zip([*cross.strategies[:-1], "gone"], weights.tolist(), strict=True))
    allowed = limits_for(method, cross)
    assert_exact(rows(method, cross, allowed[which % len(allowed)], rate, *overlay, previous=previous))


def test_steps_from_metric_to_final_weight():
    cross = section([0.5, 0.3, 0.2], sharpe=[2.0, 0.5, 1.0])
    steps = waterfalls(*rows(SharpeTilt(), cross, rate=0.25, overlay=SCALED, scalars=SCALARS))["s00"]
    raw = "0.5 + 1.5 × ((sharpe - 0.5) / 1.5)"
    scale = 0.85 / 1.2
    assert [(step.name, step.operation, step.remark) for step in steps] == [
        ("sharpe_90d", "note", "measured"),
        ("raw multiplier", "note", raw),
        ("multiplier", "start", "measured"),
        ("base weight", "times", ""),
        ("scale", "times", "one factor for all, so that weights add up to gross"),
        ("target", "clip", "floor 0.25, cap 1"),
        ("previous weight", "start", "weight before this rebalance"),
        ("realized weight", "plus", "0.25 × (target - previous)"),
        ("final weight", "times", "risk scalar of 2020-03-02 STRESS"),
    ]
    expected = [2, 2, 2, 1, scale, scale, 0.5, 0.375 + 0.25 * scale, 0.9 * (0.375 + 0.25 * scale)]
    np.testing.assert_allclose([step.value for step in steps], expected, rtol=1e-15)
    assert [step.operands for step in steps[:7]] == [
        (2.0,),
        (2.0,),
        (2.0,),
        (0.5,),
        (steps[4].operands[0],),
        (0.25, 1),
        (0.5,),
    ]


def test_a_weight_at_its_cap_says_so():
    cross = section([0.1, 0.8, 0.1], sharpe=[3.0, 0.9, 0.0])
    found = assert_exact(rows(SharpeTilt(lo=0.1, hi=3.0), cross))
    at_cap, inside, at_floor = (named(steps, "target") for steps in found.values())
    assert (at_cap.operation, at_cap.value, at_cap.remark) == ("clip", 0.2, "floor 0.05, cap 0.2; held at its cap")
    assert (at_floor.operation, at_floor.value) == ("clip", 0.05)
    assert at_floor.remark == "floor 0.05, cap 0.2; held at its floor"
    assert inside.remark == "floor 0.4, cap 1.6"


def test_a_score_is_shown_where_it_is_not_the_metric():
    cross = section(sharpe=[9.0, 1.0], max_drawdown=[0.1, 0.1])
    clipped = waterfalls(*rows(SharpeTilt(), cross))
    assert named(clipped["s00"], "score") == Step("score", "note", (5.0,), 5.0)
    assert [step.name for step in clipped["s01"]][:2] == ["sharpe_90d", "raw multiplier"]
    softmax = waterfalls(*rows(SoftmaxSharpe(), cross, WEIGHTS))
    assert named(softmax["s01"], "score").value == 0.9


def test_a_null_metric_gives_its_reason():
    cross = section(calmar=[1.0, 2.0, NAN], reason="no_lots")
    steps = assert_exact(rows(CalmarTilt(), cross))["s02"]
    assert steps[0].remark == "no_lots"
    assert math.isnan(steps[0].value)
    assert [step.name for step in steps][1:3] == ["multiplier", "base weight"]
    assert steps[1].remark == "neutral: no_lots"


def test_a_method_without_metric_starts_at_its_multiplier():
    found = assert_exact(rows(Equal(), section([0.75, 0.25]), WEIGHTS))
    assert [step.name for step in found["s00"]][:2] == ["raw multiplier", "multiplier"]
    decided = assert_exact(rows(fixed({"s00": 40.0, "s01": 60.0}), section([0.75, 0.25]), WEIGHTS))
    assert [(step.name, step.value) for step in decided["s01"]][:2] == [("score", 60.0), ("raw multiplier", 2.4)]


def test_of_an_ensemble_the_set_is_named_first():
    targets, realized, final = rows(SharpeTilt(), section(sharpe=[1.0, 2.0]))
    found = waterfalls(targets.assign(weight_set="bull of 2020-02-28: current regime"), realized, final)
    first = found["s00"][0]
    assert (first.name, first.operation, first.operands) == ("weight set", "note", ())
    assert (math.isnan(first.value), first.remark) == (True, "bull of 2020-02-28: current regime")


@pytest.mark.parametrize("base", [[0.1] * 10, [0.3, 0.6, 0.1]])
@pytest.mark.parametrize("value", [NAN, -1.0, 0.7])
def test_equal_multipliers_cancel_and_leave_the_base_weight_to_the_last_bit(base, value):
    found = assert_exact(rows(CalmarTilt(), alike([value] * len(base), base)))
    for steps, weight in zip(found.values(), base, strict=True):
        scale = named(steps, "scale")
        assert (scale.operation, scale.operands, scale.value) == ("over", named(steps, "multiplier").operands, 1.0)
        assert scale.remark == "one factor for all, which undoes this multiplier"
        assert named(steps, "target") == Step("target", "times", (weight,), weight, "the base weight")


def test_multipliers_that_are_all_zero_leave_the_base_weight():
    zero = ZeroTilt(zeros=(True, True, True))
    for cross in (section([0.5, 0.3, 0.2], sharpe=[1.0, 2.0, 3.0]), section([0.3, 0.6, 0.1], sharpe=[1.0, 2.0, 3.0])):
        for steps, base in zip(assert_exact(rows(zero, cross)).values(), cross.base, strict=True):
            assert named(steps, "target").operation == "hold"
            assert named(steps, "target").operands == (base,)
            assert named(steps, "target").remark == "no multiplier is above zero: the base weight"


@pytest.mark.parametrize("nothing", [0.0, 1e-310])
def test_zero_multipliers_share_in_proportion_to_caps_what_others_leave(nothing):
    cross = section([0.2, 0.2, 0.6], sharpe=[1.0, 2.0, 3.0])
    tables = rows(ZeroTilt(zeros=(False, True, True), nothing=nothing), cross, rate=0.3)
    np.testing.assert_allclose(tables[0]["target"], [0.4, 0.15, 0.45], rtol=1e-15)
    assert tables[0]["bound"].tolist() == ["cap", "", ""]
    found = assert_exact(tables)
    at_cap = named(found["s00"], "target")
    assert (at_cap.operation, at_cap.operands, at_cap.value) == ("hold", (0.4,), 0.4)
    assert at_cap.remark == "floor 0.1, cap 0.4; held at its cap"
    assert [(step.name, step.operation) for step in found["s01"]][2:7] == [
        ("multiplier", "start"),
        ("base weight", "times"),
        ("cap", "hold"),
        ("scale", "times"),
        ("target", "clip"),
    ]
    cap = named(found["s02"], "cap")
    assert (cap.operands, cap.value) == ((1.2,), 1.2)
    assert cap.remark == "no multiplier above zero reaches gross, the rest is shared in proportion to caps"
    assert named(found["s02"], "scale").operands == pytest.approx((0.375,), rel=1e-15)


def test_a_zero_multiplier_at_its_floor_is_clipped_to_it():
    cross = section([0.2, 0.2, 0.6], sharpe=[1.0, 2.0, 3.0])
    found = assert_exact(rows(MinmaxTilt(metric="sharpe", lookback="90d", lo=0.0), cross))
    target = named(found["s00"], "target")
    assert (target.operation, target.operands, target.value) == ("clip", (0.1, 0.4), 0.1)
    assert "cap" not in [step.name for step in found["s00"]]


def test_a_weight_as_good_as_zero_at_a_floor_of_zero():
    cross = section([0.5, 0.5], sharpe=[1.0, 2.0])
    found = assert_exact(rows(ZeroTilt(zeros=(True, False), nothing=1e-310), cross, Limits(floor=0.0, cap=3.0)))
    assert (named(found["s00"], "target").operation, named(found["s00"], "target").value) == ("hold", 0.0)


def test_rate_one_jumps_and_a_new_strategy_starts_from_base():
    cross = section([0.5, 0.5], sharpe=[1.0, 2.0])
    jumped = waterfalls(*rows(SharpeTilt(), cross))["s00"]
    assert named(jumped, "realized weight").operands == (1.0,)
    assert named(jumped, "realized weight").remark == "all the way to target (rate 1)"
    assert "previous weight" not in [step.name for step in jumped]
    entered = assert_exact(rows(SharpeTilt(), cross, rate=0.5, previous={"s00": 0.5, "gone": 0.5}))
    assert named(entered["s00"], "previous weight").remark == "weight before this rebalance"
    assert named(entered["s01"], "previous weight").remark == "its base weight: new in the book"


@pytest.mark.parametrize(
    ("overlay", "scalars", "operand", "remark"),
    [
        (None, None, 1.0, "no risk scalar"),
        (SCALED, SCALARS, 0.9, "risk scalar of 2020-03-02 STRESS"),
        (SCALED, SCALARS.iloc[:0], 1.0, "risk scalar before the first scalar"),
        (UNSCALED, SCALARS, 1.0, "risk scalar 0.9 STRESS not applied"),
        (UNSCALED, SCALARS.assign(scalar=[NAN, *[0.5] * 9]), 1.0, "risk scalar 1  not applied"),
        (UNSCALED, None, 1.0, "no risk scalar"),
    ],
)
def test_every_state_of_the_overlay_in_words(overlay, scalars, operand, remark):
    steps = assert_exact(rows(SharpeTilt(), section(sharpe=[1.0, 2.0]), overlay=overlay, scalars=scalars))["s00"]
    assert (steps[-1].operands, steps[-1].remark) == ((operand,), remark)


def test_hedges_and_what_pays_for_them_are_steps():
    hedges = Hedges(strategies=("s02",), weight=0.1, regimes=("STRESS",))
    overlay = AllocatorParameters(hedges=hedges)
    cross = section([0.5, 0.5, 0.0], sharpe=[1.0, 1.0, NAN])
    tables = rows(SharpeTilt(), cross, overlay=overlay, scalars=SCALARS)
    found = assert_exact(tables)
    assert [(step.name, step.operation, step.remark) for step in found["s00"]][-3:] == [
        ("risk scalar", "times", "risk scalar of 2020-03-02 STRESS"),
        ("funding", "times", "what hedges leave of it"),
        ("final weight", "times", "with the hedges of the book"),
    ]
    np.testing.assert_allclose([step.value for step in found["s00"]][-4:], [0.5, 0.45, 0.4, 0.4], rtol=1e-15)
    assert [(step.name, step.operation, step.value, step.remark) for step in found["s02"]][-3:] == [
        ("funding", "times", 0.0, "what hedges leave of it"),
        ("hedge", "plus", 0.1, "risk regime of 2020-03-02 STRESS"),
        ("final weight", "times", 0.1, "with the hedges of the book"),
    ]
    targeted = replace(overlay, volatility_target=VolatilityTarget(target=0.1, window=5, cap=1.5))
    scalars = SCALARS.assign(volatility=0.08, volatility_scalar=1.25)
    both = assert_exact(rows(SharpeTilt(), cross, overlay=targeted, scalars=scalars))
    assert [step.name for step in both["s02"]][-5:] == [
        "risk scalar",
        "volatility target",
        "funding",
        "hedge",
        "final weight",
    ]
    np.testing.assert_allclose(both["s00"][-1].value, (1.125 - 0.1) / 2, rtol=1e-15)
    calm = assert_exact(rows(SharpeTilt(), cross, overlay=overlay, scalars=SCALARS.assign(regime="NORMAL")))
    assert [step.name for step in calm["s00"]][-2:] == ["realized weight", "final weight"]
    shadow = AllocatorParameters(enabled=False, hedges=hedges)
    unscaled = assert_exact(rows(SharpeTilt(), cross, overlay=shadow, scalars=SCALARS))
    assert unscaled["s02"][-1].value == 0
    targets, realized, final = tables
    with pytest.raises(ReplayError, match="s02 on 2020-03-02: step 'final weight'"):
        waterfalls(targets, realized, final.assign(hedge=final["hedge"] * 1.1))


def spoilt(tables, table, column, value, strategy="s00"):
    changed = [each.copy() for each in tables]
    where = changed[TABLES.index(table)]
    where.loc[where["strategy"] == strategy, column] = value
    return changed


CASES = {
    "inside": (
        rows(SharpeTilt(), section([0.5, 0.3, 0.2], sharpe=[2.0, 0.5, 1.0]), None, 0.25, SCALED, SCALARS),
        "s00",
    ),
    "at a cap": (rows(SharpeTilt(lo=0.1, hi=3.0), section([0.1, 0.8, 0.1], sharpe=[3.0, 0.9, 0.0]), rate=0.5), "s00"),
    "at a floor": (rows(SharpeTilt(lo=0.1, hi=3.0), section([0.1, 0.8, 0.1], sharpe=[3.0, 0.9, 0.0])), "s02"),
    "all zero": (rows(ZeroTilt(zeros=(True, True)), section([0.6, 0.4], sharpe=[1.0, 2.0])), "s00"),
    "shared": (
        rows(ZeroTilt(zeros=(False, True, True)), section([0.2, 0.2, 0.6], sharpe=[1.0, 2.0, 3.0]), rate=0.5),
        "s01",
    ),
    "beside shared": (
        rows(ZeroTilt(zeros=(False, True, True)), section([0.2, 0.2, 0.6], sharpe=[1.0, 2.0, 3.0])),
        "s00",
    ),
    "equal": (rows(CalmarTilt(), section([0.6, 0.4], calmar=[0.7, 0.7]), rate=0.5), "s00"),
}


@pytest.mark.parametrize(
    ("table", "column", "step"),
    [
        ("targets", "target", "target"),
        ("realized", "realized", "realized weight"),
        ("final", "final", "final weight"),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_a_weight_off_by_one_bit_is_refused_with_strategy_date_and_step(case, table, column, step):
    tables, strategy = CASES[case]
    stored = float(tables[TABLES.index(table)].set_index("strategy").loc[strategy, column])
    for wrong in (math.nextafter(stored, 2), math.nextafter(stored, 0), NAN):
        message = f"^{strategy} on 2020-03-02: step '{step}' gives .*, stored is {wrong!r}$"
        with pytest.raises(ReplayError, match=message):
            waterfalls(*spoilt(tables, table, column, wrong, strategy))


@pytest.mark.parametrize(
    ("table", "column", "step"),
    [
        ("targets", "multiplier", "target"),
        ("targets", "base", "target"),
        ("targets", "scale", "target"),
        ("targets", "upper", "target"),
        ("realized", "previous", "realized weight"),
        ("realized", "rate", "realized weight"),
        ("final", "scalar", "final weight"),
    ],
)
def test_a_figure_that_a_weight_does_not_follow_from_is_refused(table, column, step):
    tables, _ = CASES["inside"]
    with pytest.raises(ReplayError, match=f"s00 on 2020-03-02: step '{step}' gives"):
        waterfalls(*spoilt(tables, table, column, 0.3))


def test_tables_of_different_strategies_are_refused():
    targets, realized, final = CASES["inside"][0]
    for tables in (
        (targets.iloc[1:], realized, final),
        (targets, realized.iloc[:2], final),
        (targets, realized, final.assign(strategy=["s00", "s01", "other"])),
    ):
        with pytest.raises(ReplayError, match=r"targets, realized and final weights differ in strategies: .*'s01'"):
            waterfalls(*tables)


def test_rows_are_matched_by_name_in_any_order():
    tables = CASES["inside"][0]
    expected = waterfalls(*tables)
    found = waterfalls(tables[0].iloc[::-1], tables[1].iloc[[1, 0, 2]], tables[2])
    assert found == expected
    assert list(found) == ["s00", "s01", "s02"]
    one = [table.to_dict("records")[1] for table in tables]
    assert waterfall(*one) == expected["s01"]


def test_a_composite_shows_its_score_as_the_metric():
    method = Composite(weights={"sharpe": 1.0, "calmar": 1.0}, lookback="90d")
    steps = assert_exact(rows(method, section(sharpe=[1.0, 2.0], calmar=[3.0, 1.0])))["s00"]
    assert [step.name for step in steps][:2] == ["composite_90d", "raw multiplier"]
