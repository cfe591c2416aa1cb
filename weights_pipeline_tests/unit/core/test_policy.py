"""Policies: parts that contradict each other are refused by name; what follows from a policy."""

import math
from dataclasses import replace

import pytest

from weights_pipeline.core.allocator.hedges import Hedges
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.frequency import MONTHLY
from weights_pipeline.core.targets.methods.base import GroupLimits, Limits
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import SharpeTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt

POLICY = Policy(base={"b": 0.5, "c": 0.2, "a": 0.3}, method=CalmarTilt())
OVERLAY = AllocatorParameters()
BY_REGIME = {"NORMAL": "12m", "ELEVATED": "90d", "STRESS": "60s", "CRISIS": "60s"}
PACE = {"NORMAL": 0.1, "ELEVATED": 0.2, "STRESS": 0.5, "CRISIS": 1.0}
FIGURES = StarterMetrics(twelve_month_return=0.2, twelve_month_max_drawdown=0.1, calmar_ratio=2.0, months_of_data=12)


class Lucky(SharpeTilt):
    """A method that reads a metric nobody has heard of."""

    @property
    def reads(self):
        return ("sharpe", "luck")


def test_strategies_are_sorted_and_weights_follow():
    assert POLICY.strategies == ("a", "b", "c")
    assert POLICY.weights.tolist() == [0.3, 0.5, 0.2]


def test_one_window_serves_every_regime():
    assert POLICY.lookbacks == dict.fromkeys(BY_REGIME, Lookback(12, "months"))
    assert (POLICY.adaptive, POLICY.longest_lookback) == (False, Lookback(12, "months"))
    same = replace(POLICY, method=CalmarTilt(lookback=dict.fromkeys(BY_REGIME, "90d")), ensemble=True)
    assert (same.adaptive, same.longest_lookback) == (False, Lookback(90, "days"))


def test_a_window_per_regime_is_read_by_the_regime():
    adaptive = replace(POLICY, method=CalmarTilt(lookback=BY_REGIME))
    assert {regime: lookback.label for regime, lookback in adaptive.lookbacks.items()} == BY_REGIME
    assert (adaptive.adaptive, adaptive.longest_lookback.label) == (True, "12m")
    reversed_ = CalmarTilt(lookback=dict(zip(BY_REGIME, ["60s", "60s", "90d", "6m"], strict=True)))
    assert replace(POLICY, method=reversed_).longest_lookback.label == "6m"


def test_pace_is_one_for_all_regimes_or_one_for_each():
    assert (POLICY.pace(), POLICY.pace("CRISIS"), POLICY.paced_by_regime) == ((1.0, None), (1.0, None), False)
    rated = replace(POLICY, rate=PACE, turnover_cap=0.3, overlay=OVERLAY)
    assert [rated.pace(regime) for regime in PACE] == [(rate, 0.3) for rate in PACE.values()]
    capped = replace(POLICY, rate=0.5, turnover_cap=PACE, overlay=OVERLAY)
    assert [capped.pace(regime) for regime in PACE] == [(0.5, cap) for cap in PACE.values()]
    assert (rated.pace(), capped.pace()) == ((0.1, 0.3), (0.5, 0.1))
    assert rated.paced_by_regime
    assert capped.paced_by_regime


def test_base_weights_may_miss_a_limit_by_a_billionth_of_gross():
    of_weight = Limits(of="weight", floor=20.0, cap=50.0)
    policy = Policy(base={"a": 50 + 9e-8, "b": 20 - 9e-8, "c": 30}, gross=100.0, method=Equal(), limits=of_weight)
    assert policy.weights.tolist() == [50 + 9e-8, 20 - 9e-8, 30]
    for base in ({"a": 50 + 2e-7, "b": 20, "c": 30 - 2e-7}, {"a": 50, "b": 20 - 2e-7, "c": 30 + 2e-7}):
        with pytest.raises(ValueError, match=r"limits: base weights of \['[ab]'\] lie outside floor and cap"):
            replace(policy, base=base)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, r"^rate: expected a share of the gap in \(0, 1\], got 0"),
        ({"rate": 1.1}, "^rate: expected a share"),
        ({"rate": math.nan}, "^rate: expected a share"),
        ({"rate": PACE | {"STRESS": 1.5}, "overlay": OVERLAY}, r"^rate\.STRESS: expected a share .* got 1\.5"),
        ({"rate": {"NORMAL": 1.0}, "overlay": OVERLAY}, "^rate: expected one number, or one for each of NORMAL, ELEV"),
        ({"rate": PACE}, "^rate: one number per risk regime needs an overlay"),
        ({"turnover_cap": PACE}, "^turnover_cap: one number per risk regime needs an overlay"),
        ({"turnover_cap": 0.0}, "^turnover_cap: expected a positive one-way turnover, got 0"),
        ({"turnover_cap": math.inf}, "^turnover_cap: expected a positive one-way turnover, got inf"),
        ({"gross": 0.0}, r"^gross: expected a positive number, got 0\.0"),
        ({"gross": math.inf}, "^gross: expected a positive number, got inf"),
        ({"gross": 2.0}, "^base: weights add up to 1, expected gross 2"),
        ({"base": {}}, "^strategies: expected at least one, got none"),
        (
            {"method": Equal(), "limits": Limits(of="weight", floor=0.25, cap=0.4)},
            r"^limits: base weights of \['b', 'c'\] lie outside floor and cap; a book starts from them",
        ),
        (
            {"limits": Limits(of="weight", floor=0.0, cap=1.0)},
            "^limits: method calmar_tilt clips multiples of base weights; expected limits of base, got",
        ),
        ({"method": Lucky()}, r"^method: metrics \['luck'\] do not exist; expected some of annual_return, calmar, "),
        ({"starter": {"z": FIGURES, "a": FIGURES}}, r"^starter_metrics: strategies \['z'\] are not in the book"),
        (
            {"overlay": replace(OVERLAY, sleeves={"z": "x", "a": "x"})},
            r"^overlay\.sleeves: strategies \['z'\] are not in the book",
        ),
        (
            {"method": CalmarTilt(lookback={"NORMAL": "12m"})},
            r"^method\.lookback: expected one window, or one for each of NORMAL, .*, got \{'NORMAL': '12m'\}",
        ),
        (
            {"method": CalmarTilt(lookback=BY_REGIME), "ensemble": True},
            r"^method\.lookback: an ensemble has one window; expected no window per risk regime",
        ),
        ({"frequency": MONTHLY, "overlay": OVERLAY}, "^overlay: counts sessions, of which returns by month have none"),
        ({"frequency": MONTHLY, "ensemble": True}, "^ensemble: counts sessions"),
        (
            {"frequency": MONTHLY, "method": CalmarTilt(lookback=BY_REGIME)},
            "^method.lookback per risk regime: counts sessions",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_refused_by_key(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(POLICY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": 1e-9},
        {"rate": 1.0, "turnover_cap": 1e-9},
        {"method": Equal(), "limits": Limits(of="weight", floor=0.2, cap=0.5)},
        {"limits": Limits(floor=1.0, cap=1.0)},
        {"starter": {"a": FIGURES}, "overlay": replace(OVERLAY, sleeves={"a": "x"})},
        {"base": {"a": 1.0, "b": 0.0}},
        {"gross": 0.5, "base": {"a": 0.25, "b": 0.25}},
    ],
)
def test_policies_at_the_edge_are_taken(changes):
    assert replace(POLICY, **changes).strategies[0] == "a"


HEDGES = Hedges(strategies=("a", "d"), weight=0.2, regimes=("STRESS",))
HEDGED = Policy(base={"b": 0.6, "c": 0.4, "a": 0.0, "d": 0}, method=Equal(), overlay=AllocatorParameters(hedges=HEDGES))


def hedged(policy=HEDGED, **changes):
    return replace(policy, overlay=AllocatorParameters(hedges=replace(HEDGES, **changes)))


def test_hedges_have_a_share_of_their_own_and_caps_of_the_policy():
    assert HEDGED.are_hedges.tolist() == [True, False, False, True]
    assert HEDGED.hedging.shares.tolist() == [0.5, 0.0, 0.0, 0.5]
    assert (HEDGED.hedging.limits, HEDGED.hedging.gross) == ((), 1.0)
    weights = replace(
        HEDGED, limits=Limits(floor=0.0, cap=0.7, of="weight", groups={"g": GroupLimits(members=("a", "b"), cap=0.8)})
    )
    assert [(limit.name, limit.members.tolist(), limit.cap) for limit in weights.hedging.limits] == [
        ("a", [0], 0.7),
        ("d", [3], 0.7),
        ("g", [0, 1], 0.8),
    ]
    assert POLICY.hedging is None
    assert not POLICY.are_hedges.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: hedged(strategies=("a", "e", "f")),
            r"^overlay.hedges.strategies: \['e', 'f'\] are not in the book; add them",
        ),
        (lambda: hedged(strategies=("a", "b")), r"^overlay.hedges.strategies: \['b'\] have base weights; .* give it 0"),
        (
            lambda: hedged(cap=0.15),
            r"^overlay.hedges.weight: 0.2 can never be reached, gross and overlay.hedges.cap leave at most 0.15;",
        ),
        (
            lambda: replace(HEDGED, limits=Limits(groups={"g": GroupLimits(members=("a",), cap=0.05)})),
            r"^overlay.hedges.weight: 0.2 can never be reached, the cap of g leaves at most 0.1; that would do",
        ),
        (
            lambda: replace(HEDGED, limits=Limits(capital=100.0, max_capital={"d": 6.0})),
            r"^overlay.hedges.weight: .* the cap of d's capacity leaves at most 0.12;",
        ),
        (
            lambda: replace(
                hedged(weight=0.9, shares={"a": 0.9, "d": 0.1}), limits=Limits(floor=0.0, cap=0.7, of="weight")
            ),
            r"^overlay.hedges.weight: 0.9 can never be reached, the cap of a leaves at most 0.777",
        ),
    ],
)
def test_hedges_that_do_not_fit_are_refused_with_what_to_do(change, message):
    with pytest.raises(ValueError, match=message):
        change()
