"""Limits of groups: the exact projection against solvers, and every place that has to keep them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core import verify
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step, step
from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.targets.methods.base import (
    CrossSection,
    GroupLimits,
    Limits,
    LiquidityLimit,
    MarginLimit,
    target_weights,
    targets_frame,
)
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import SharpeTilt
from weights_pipeline.core.targets.methods.optimised import MaxHybrid
from weights_pipeline.core.targets.normalise import Group, fit_to_groups, fit_within
from weights_pipeline.core.targets.optimise import program
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.overlap import fit_to_overlapping
from weights_pipeline.core.waterfall import waterfall

BASE = {"a": 0.20, "b": 0.25, "c": 0.20, "d": 0.15, "e": 0.20}
SHARPE = {"sharpe": pd.Series({"a": 1.80, "b": 1.20, "c": 0.80, "d": 0.50, "e": -0.20})}
CROSS = CrossSection.of(BASE, SHARPE, {})
TREND = Limits(groups={"trend": GroupLimits(members=("a", "b"), floor=0.1, cap=0.5)})

seeds = st.integers(0, 2**32 - 1)


def random_case(seed: int, zeros: bool = True, kind: str = "nested"):
    """Weights, bounds and groups (nested and disjoint, or overlapping) that the base weights of the case keep."""
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(7))
    lower, upper = base * rng.uniform(0, 1, 7), base * rng.uniform(1, 3, 7)
    weights = base * rng.uniform(0, 4, 7) ** 2
    if zeros:
        weights[rng.random(7) < rng.choice([0.0, 0.3, 1.0])] = 0.0

    def group(name: str, members: list[int]) -> Group:
        total = math.fsum(base[members])
        return Group(name, np.array(members), total * rng.uniform(0.4, 1), total * rng.uniform(1, 1.5))

    if kind == "nested":
        return weights, lower, upper, (group("inner", [0, 1]), group("pair", [4, 5]), group("outer", [0, 1, 2]))
    return weights, lower, upper, (group("left", [0, 1, 2]), group("right", [2, 3, 4]), group("ring", [0, 4, 5, 6]))


def of_groups(groups):
    """Limits of groups as SciPy takes them."""
    return [
        {"type": "ineq", "fun": side}
        for group in groups
        for side in (
            lambda w, g=group: w[g.members].sum() - g.floor,
            lambda w, g=group: g.cap - w[g.members].sum(),
        )
    ]


kinds = st.sampled_from(["nested", "overlapping"])


@given(seed=seeds, slack=st.sampled_from([0.0, 0.3, 1.0]), kind=kinds)
@settings(deadline=None)
def test_all_limits_hold_and_the_factors_replay_the_weights(seed, slack, kind):
    weights, lower, upper, groups = random_case(seed, kind=kind)
    fitted = fit_to_groups(weights, lower, upper, groups, gross=1.0, slack=slack)
    assert 1 - slack - 1e-12 <= math.fsum(fitted.weights) <= 1 + 1e-12
    assert (fitted.weights >= lower).all()
    assert (fitted.weights <= upper).all()
    assert all(group.keeps(fitted.weights, 1e-12) for group in groups)
    shared = np.clip(fitted.scale * np.where(weights > 0, weights, upper), lower, upper)
    plain = np.clip(fitted.scale * weights, lower, upper)
    assert ((plain == fitted.weights) | (shared == fitted.weights)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_weights_are_those_of_least_relative_entropy(seed):
    from scipy.optimize import minimize

    weights, lower, upper, groups = random_case(seed, zeros=False)
    weights = np.maximum(weights, 1e-3)
    fitted = fit_to_groups(weights, lower, upper, groups, gross=1.0).weights

    def entropy(w):
        return float(np.sum(w * (np.log(w / weights) - 1)))

    limits = [{"type": "eq", "fun": lambda w: w.sum() - 1}]
    limits += of_groups(groups)
    found = minimize(
        entropy,
        fitted,
        jac=lambda w: np.log(w / weights),
        bounds=list(zip(np.maximum(lower, 1e-12), upper, strict=True)),
        constraints=limits,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.fun >= entropy(fitted) - 1e-9


@pytest.mark.parametrize("slack", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_of_groups_that_overlap_the_weights_are_the_nearest_by_least_squares(seed, slack):
    from scipy.optimize import minimize

    weights, lower, upper, groups = random_case(seed, zeros=False, kind="overlapping")
    weights = np.maximum(weights, 1e-3)
    fitted = fit_to_groups(weights, lower, upper, groups, gross=1.0, slack=slack).weights

    def distance(w):
        return float(np.sum((w - weights) ** 2 / weights))

    limits = [{"type": "ineq", "fun": lambda w: 1 - w.sum()}, {"type": "ineq", "fun": lambda w: w.sum() - (1 - slack)}]
    limits += of_groups(groups)
    found = minimize(
        distance,
        fitted,
        jac=lambda w: 2 * (w - weights) / weights,
        bounds=list(zip(lower, upper, strict=True)),
        constraints=limits,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    # The oracle itself passes limits by a little.
    assert found.fun >= distance(fitted) * (1 - 1e-9)


@given(seed=seeds, slack=st.sampled_from([0.0, 1.0]))
@settings(deadline=None)
def test_of_nested_groups_least_squares_gives_the_same_weights(seed, slack):
    weights, lower, upper, groups = random_case(seed, zeros=False)
    expected = fit_to_groups(weights, lower, upper, groups, gross=1.0, slack=slack).weights
    found = fit_to_overlapping(weights, lower, upper, groups, gross=1.0, slack=slack).weights
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@given(seed=seeds)
@settings(deadline=None)
def test_limits_in_cents_that_leave_no_room_are_kept_all_the_same(seed):
    rng = np.random.default_rng(seed)
    base = rng.multinomial(100, np.full(6, 1 / 6)) / 100
    groups = []
    for name in "xyz":
        members = np.sort(rng.choice(6, int(rng.integers(2, 5)), replace=False))
        total = round(float(base[members].sum()), 2)
        floor, cap = [(0.0, total), (total, total), (total, math.inf)][int(rng.integers(3))]
        groups.append(Group(name, members, floor, cap))
    weights = base * np.round(rng.uniform(0, 3, 6), 1)
    fitted = fit_to_overlapping(weights, base / 2, base * 2, groups, gross=1.0).weights
    assert ((fitted >= base / 2) & (fitted <= base * 2)).all()
    assert math.fsum(fitted) == pytest.approx(1.0, abs=1e-11)
    assert all(group.keeps(fitted, 1e-11) for group in groups)


def random_groups(seed: int):
    """Weights over three decades, some zero, and groups at random that the base weights of the case keep."""
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(7))
    lower, upper = base * rng.uniform(0, 1, 7), base * rng.uniform(1, 3, 7)
    weights = base * 10 ** rng.uniform(-3, 0, 7) * (rng.random(7) > rng.choice([0.0, 0.3]))
    groups = []
    for name in "uvwxy":
        members = np.sort(rng.choice(7, int(rng.integers(2, 7)), replace=False))
        total = math.fsum(base[members])
        floor, cap = [(0.0, total), (total, total), (total, math.inf), (total * 0.9, total * 1.1)][rng.integers(4)]
        groups.append(Group(name, members, floor, cap))
    return weights, lower, upper, tuple(groups)


@pytest.mark.parametrize("seed", [*range(50), 148, 151, 349, 438])
def test_where_limits_can_be_kept_they_are_wherever_the_search_starts(seed, monkeypatch):
    weights, lower, upper, groups = random_groups(seed)
    slack = (0.0, 0.3, 1.0)[seed % 3]
    fitted = fit_to_overlapping(weights, lower, upper, groups, gross=1.0, slack=slack).weights
    assert ((fitted >= lower) & (fitted <= upper)).all()
    assert 1 - slack - 1e-12 <= math.fsum(fitted) <= 1 + 1e-12
    assert all(group.keeps(fitted, 1e-12) for group in groups)
    # A solver that loses its way tells nothing.
    monkeypatch.setattr(program, "minimum", lost)
    again = fit_to_overlapping(weights, lower, upper, groups, gross=1.0, slack=slack).weights
    np.testing.assert_allclose(again, fitted, rtol=0, atol=1e-15)


def lost(*_, **__):
    raise program.SolverError("no solution: the solver stopped with InsufficientProgress", np.empty(0))


def test_golden_two_groups_that_overlap():
    weights, groups = (
        np.array([0.4, 0.3, 0.2, 0.1]),
        (Group("x", np.array([0, 1]), 0.0, 0.6), Group("y", np.array([1, 2]), 0.0, 0.4)),
    )
    fitted = fit_to_groups(weights, np.zeros(4), np.ones(4), groups, gross=1.0)
    # By hand: 0.7 p + 0.7 x + 0.3 y = 0.6, 0.5 p + 0.3 x + 0.5 y = 0.4, p + 0.7 x + 0.5 y = 1: p 1.68, x -0.6, y -0.52.
    np.testing.assert_allclose(fitted.scale, [1.08, 0.56, 1.16, 1.68], rtol=1e-14)
    np.testing.assert_allclose(fitted.weights, [0.432, 0.168, 0.232, 0.168], rtol=1e-14)
    assert fitted.held.tolist() == ["cap of x", "cap of x and cap of y", "cap of y", ""]


def test_groups_that_overlap_and_contradict_each_other_are_refused():
    groups = (
        Group("x", np.array([0, 1]), 0.7, 1.0),
        Group("y", np.array([1, 2]), 0.7, 1.0),
        Group("z", np.array([1]), 0, 0.2),
    )
    with pytest.raises(ValueError, match="groups: no weights keep all limits"):
        fit_to_groups(np.full(3, 0.3), np.zeros(3), np.ones(3), groups, gross=1.0)


@given(seed=seeds, shift=st.permutations(range(7)), factor=st.sampled_from([0.25, 2.0, 64.0]), kind=kinds)
@settings(deadline=None)
def test_order_and_scale_of_the_weights_do_not_matter(seed, shift, factor, kind):
    weights, lower, upper, groups = random_case(seed, kind=kind)
    place = np.argsort(shift)
    moved = tuple(group._replace(members=np.sort(place[group.members])) for group in groups)
    fitted = fit_to_groups(weights, lower, upper, groups, gross=1.0).weights
    other = fit_to_groups(weights[list(shift)], lower[list(shift)], upper[list(shift)], moved, gross=1.0).weights
    np.testing.assert_array_equal(other, fitted[list(shift)])
    scaled = fit_to_groups(factor * weights, lower, upper, groups, gross=1.0).weights
    np.testing.assert_array_equal(scaled, fitted)


@given(seed=seeds, at=st.integers(0, 6), more=st.floats(1.0, 10.0), kind=kinds)
@settings(deadline=None)
def test_a_larger_weight_never_ends_with_less(seed, at, more, kind):
    weights, lower, upper, groups = random_case(seed, zeros=False, kind=kind)
    larger = weights.copy()
    larger[at] *= more
    before, after = (fit_to_groups(w, lower, upper, groups, gross=1.0).weights[at] for w in (weights, larger))
    assert after >= before - 1e-12


@given(seed=seeds)
@settings(deadline=None)
def test_groups_that_ask_for_nothing_change_no_bit(seed):
    weights, lower, upper, groups = random_case(seed)
    idle = tuple(group._replace(floor=0.0, cap=math.inf) for group in groups)
    expected, _ = fit_within(weights, lower, upper, gross=1.0, slack=0.0)
    for given_groups in ((), idle):
        fitted = fit_to_groups(weights, lower, upper, given_groups, gross=1.0).weights
        np.testing.assert_allclose(fitted, expected, rtol=0, atol=0 if not given_groups else 1e-15)


def test_golden_a_cap_of_a_group_gives_its_excess_to_the_others_pro_rata():
    plain = target_weights(SharpeTilt(), CROSS, Limits()).target
    np.testing.assert_allclose(100 * plain, [30.220, 29.276, 18.888, 11.616, 10.000], atol=5e-4)
    found = target_weights(SharpeTilt(), CROSS, TREND)
    # a and b keep their ratio within 50%, c and d theirs in what is left, and e is at its floor.
    assert found.target[0] / found.target[1] == pytest.approx(plain[0] / plain[1], rel=1e-12)
    assert math.fsum(found.target[:2]) == pytest.approx(0.5, abs=1e-15)
    assert found.target[2] / found.target[3] == pytest.approx(plain[2] / plain[3], rel=1e-12)
    np.testing.assert_allclose(100 * found.target, [25.397, 24.603, 24.768, 15.232, 10.000], atol=5e-4)
    rows = targets_frame([found], tuple(BASE), np.array(list(BASE.values())))
    assert rows["bound"].tolist() == ["cap of trend", "cap of trend", "", "", "floor"]


def test_equal_multipliers_are_still_the_base_weights_to_the_bit():
    found = target_weights(Equal(), CrossSection.of(dict.fromkeys("abcde", 0.2), SHARPE, {}), TREND)
    assert found.target.tolist() == [0.2] * 5


@pytest.mark.parametrize("beside", [{}, {"late": GroupLimits(members=("b", "c"), cap=0.46)}])
def test_a_waterfall_replays_a_target_that_a_group_holds(beside):
    found = target_weights(SharpeTilt(), CROSS, Limits(groups={**TREND.groups, **beside}))
    rows = targets_frame([found], tuple(BASE), np.array(list(BASE.values()))).assign(
        as_of=pd.Timestamp("2020-01-31"), metric="sharpe_90d", weight_set=""
    )
    for target in rows.to_dict("records"):
        weight = target["target"]
        realized = {"target": weight, "previous": weight, "rate": 1.0, "realized": weight, "entered": False}
        # Whatever an overlay states of a weight: of none it is null.
        final = defaultdict(lambda: math.nan, final=weight, applied=False, regime="")
        steps = waterfall(target, realized, final)
        scale = next(each for each in steps if each.name == "scale")
        assert ("cap of trend" in scale.remark) == (target["strategy"] in "ab")


def test_a_step_keeps_groups_and_puts_back_what_breaks_them():
    policy = Policy(base=BASE, method=SharpeTilt(), limits=TREND, rate=0.1)
    lower, upper = policy.limits.bounds(policy.weights, 1.0)
    target = target_weights(SharpeTilt(), CROSS, TREND).target
    broken = np.array([0.35, 0.25, 0.15, 0.10, 0.15])
    start, realized = step(broken, target, lower, upper, rate=0.1, gross=1.0, groups=policy.groups)
    assert math.fsum(start[:2]) == pytest.approx(0.5, abs=1e-15)
    assert math.fsum(realized[:2]) <= 0.5 + 1e-15
    with pytest.raises(ValueError, match=r"target: weights break the limits of groups \['trend'\]"):
        step(target, broken, lower, upper, rate=0.1, gross=1.0, groups=policy.groups)
    kept, _ = step(realized, target, lower, upper, rate=0.1, gross=1.0, groups=policy.groups)
    assert kept is realized


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            {"x": GroupLimits(members=("a", "b"), cap=0.4)},
            "x: base weights .* 0.45, above its cap of 0.4; .* A cap of 0.45",
        ),
        ({"x": GroupLimits(members=("d",), floor=0.2)}, "x: base weights .* 0.15, below its floor of 0.2; .* of 0.15"),
        ({"x": GroupLimits(members=("a", "z"), cap=0.4)}, r"x.members: \['z'\] are not strategies of the book"),
    ],
)
def test_groups_that_no_weights_of_the_book_keep_are_refused(groups, words):
    with pytest.raises(ValueError, match=f"limits.groups.{words}"):
        Policy(base=BASE, method=SharpeTilt(), limits=Limits(groups=groups))


def test_capacity_is_a_cap_that_follows_capital():
    plain = target_weights(SharpeTilt(), CROSS, Limits())
    limits = Limits(capital=2_000_000.0, max_capital={"a": MarginLimit(margin=125_000.0, rate=0.25), "d": 400_000.0})
    found = target_weights(SharpeTilt(), CROSS, limits)
    assert found.target[0] == 0.25
    assert found.target[3] <= 0.2
    assert math.fsum(found.target) == pytest.approx(1.0, abs=1e-15)
    # The others share what is left by the same factor.
    assert found.target[1] / found.target[2] == pytest.approx(plain.target[1] / plain.target[2], rel=1e-12)
    rows = targets_frame([found], tuple(BASE), np.array(list(BASE.values())))
    assert rows["bound"].tolist() == ["cap of a's capacity", "", "", "", "floor"]
    policy = Policy(base=BASE, method=SharpeTilt(), limits=limits)
    assert [(group.name, group.cap) for group in policy.groups] == [("a's capacity", 0.25), ("d's capacity", 0.2)]


def test_a_capacity_that_makes_no_sense_is_refused():
    for wrong in ({"capital": 1.0}, {"max_capital": {"a": 1.0}}):
        with pytest.raises(ValueError, match="capital, max_capital: expected both or neither"):
            Limits(**wrong)
    for amount in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"max_capital\.a: expected an amount above 0"):
            Limits(capital=1.0, max_capital={"a": amount})
        with pytest.raises(ValueError, match="margin, rate: expected an amount and a share of capital above 0"):
            MarginLimit(margin=1.0, rate=amount)
        with pytest.raises(ValueError, match="margin, rate: expected"):
            MarginLimit(margin=amount, rate=0.2)
    with pytest.raises(ValueError, match=r"limits\.max_capital\.a: 100000 is less .* 200000 would do"):
        Policy(base=BASE, method=SharpeTilt(), limits=Limits(capital=1e6, max_capital={"a": 1e5}))
    with pytest.raises(ValueError, match="z is no strategy of the book"):
        Policy(base=BASE, method=SharpeTilt(), limits=Limits(capital=1e6, max_capital={"z": 1e5}))


@given(
    seed=seeds,
    width=st.floats(0.001, 0.3),
    to=st.sampled_from(["edge", "target"]),
    rate=st.floats(0.05, 1.0),
    kind=kinds,
)
@settings(deadline=None)
def test_a_step_with_a_band_keeps_the_limits_of_groups(seed, width, to, rate, kind):
    weights, lower, upper, groups = random_case(seed, kind=kind)
    other = np.random.default_rng(seed + 1).permutation(weights)
    start, target = (
        fit_to_groups(each, lower, upper, groups, gross=1.0, slack=0.0).weights for each in (weights, other)
    )
    begin, after, share = capped_step(
        start,
        target,
        lower,
        upper,
        rate=rate,
        turnover_cap=0.1,
        gross=1.0,
        groups=groups,
        band=Band(absolute=width, to=to),
    )
    np.testing.assert_array_equal(begin, start)
    assert math.fsum(after) == pytest.approx(1.0, abs=1e-12)
    assert ((after >= lower) & (after <= upper)).all()
    assert all(group.keeps(after, 1e-9) for group in groups)
    assert ((share >= 0) & (share <= rate)).all()


def test_the_whole_book_is_traded_where_single_trades_would_break_a_group():
    start, target = np.array([0.28, 0.12, 0.40, 0.20]), np.array([0.265, 0.135, 0.365, 0.235])
    limits = {"lower": np.zeros(4), "upper": np.ones(4), "gross": 1.0}

    def moved(cap: float, turnover_cap: float | None = None) -> list[float]:
        group = Group("pair", np.array([0, 3]), 0.0, cap)
        band = Band(absolute=0.03, to="target")
        return capped_step(start, target, **limits, rate=1.0, turnover_cap=turnover_cap, groups=(group,), band=band)[
            1
        ].tolist()

    # Outside of their bands are the last two. With their trades the first and the last hold 0.28 + 0.235.
    assert moved(0.52) == [0.28, 0.12, 0.365, 0.235]
    assert moved(0.51) == target.tolist()
    assert moved(0.51, 0.025) == pytest.approx((start + (target - start) / 2).tolist())


def test_groups_that_make_no_sense_are_refused():
    one = GroupLimits(members=("a", "b"), cap=0.5)
    with pytest.raises(ValueError, match="kept by capped only"):
        Limits(groups={"one": one}, normalisation="proportional")
    for wrong in ({"members": ()}, {"members": ("a", "a")}):
        with pytest.raises(ValueError, match="members: expected one strategy or more"):
            GroupLimits(**wrong)
    with pytest.raises(ValueError, match="a floor above 0, a cap, or both"):
        GroupLimits(members=("a",))
    for floor, cap in ((0.5, 0.4), (-0.1, None), (math.inf, None), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="expected weights 0 <= floor <= cap"):
            GroupLimits(members=("a",), floor=floor, cap=cap)


def test_the_check_finds_a_sum_beyond_its_group():
    policy = Policy(base=BASE, method=SharpeTilt(), limits=TREND)
    rows = pd.DataFrame(
        {"as_of": pd.Timestamp("2020-01-31"), "strategy": list(BASE), "base": BASE.values(), "target": 0.2}
    )
    assert verify.group_limits(rows, "target", policy.groups, policy.strategies).passed
    rows["target"] = [0.3, 0.25, 0.15, 0.1, 0.2]
    found = verify.group_limits(rows, "target", policy.groups, policy.strategies)
    assert not found.passed
    assert found.value == pytest.approx(0.05)
    assert found.offending[["group", "cap"]].to_numpy().tolist() == [["trend", 0.5]]


def problem(seed: int, slack: float, other: tuple[int, ...] = (0, 1, 2, 3)) -> Problem:
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0004, 0.008, (252, 6)) + rng.normal(0.0002, 0.004, (252, 1))
    groups = (Group("core", np.array([0, 1, 2]), 0.1, 0.35), Group("other", np.array(other), 0.2, 0.5))
    return Problem(
        strategies=tuple("abcdef"),
        returns=returns,
        lower=np.zeros(6),
        upper=np.full(6, 0.4),
        gross=1.0,
        slack=slack,
        periods=252,
        groups=groups,
    )


@pytest.mark.parametrize(
    ("seed", "slack", "other"),
    [(3, 0.0, (0, 1, 2, 3)), (5, 1.0, (0, 1, 2, 3)), (8, 1.0, (0, 1, 2, 3)), (3, 0.0, (2, 3))],
)
def test_max_hybrid_is_the_maximum_inside_groups(seed, slack, other):
    from scipy.optimize import minimize

    case = problem(seed, slack, other)
    found = MaxHybrid(max_drawdown=0.3, smallest=0.0).solve(case)
    assert all(group.keeps(found.weights, 1e-12) for group in case.groups)
    limits = [{"type": "ineq", "fun": lambda w: 1 - w.sum()}, {"type": "ineq", "fun": lambda w: w.sum() - (1 - slack)}]
    limits += of_groups(case.groups)

    def loss(weights):
        figures = case.figures(weights)
        return -(0.85 * figures["sharpe"] + 0.15 * figures["cagr"] / 2)

    best = minimize(
        loss, np.full(6, 1 / 6), bounds=[(0, 0.4)] * 6, constraints=limits, method="SLSQP", options={"ftol": 1e-15}
    )
    assert found.objective is not None
    assert found.objective >= -best.fun - 1e-8
    assert any(name.startswith("cap of") for name in found.binding)


def test_a_problem_whose_groups_contradict_its_limits_has_no_solution():
    case = problem(3, 0.0)
    with pytest.raises(NoSolutionError, match=r"limits: groups\.core: gross: 0.1 cannot be reached"):
        replace(case, upper=np.array([0.0, 0.0, 0.05, 0.4, 0.4, 0.4]))


@pytest.mark.xdist_group("skfolio")
@pytest.mark.parametrize("other", [(0, 1, 2, 3), (2, 3)])
@pytest.mark.parametrize("kind", ["MeanRisk", "RiskBudgeting", "HierarchicalRiskParity"])
def test_optimisers_of_skfolio_keep_groups(kind, other):
    pytest.importorskip("skfolio")
    from weights_pipeline.core.targets.methods.skfolio import Skfolio

    case = problem(3, 0.0, other)
    found = Skfolio(optimiser={"kind": kind}).solve(case)
    assert all(group.keeps(found.weights, 1e-9) for group in case.groups)
    assert math.fsum(found.weights) == pytest.approx(1.0, abs=1e-12)


def by_liquidity(**liquid: float) -> CrossSection:
    """The cross-section with the largest weights that liquidity allows."""
    return replace(CROSS, liquid=np.array([liquid.get(name, math.inf) for name in CROSS.strategies]))


def test_liquidity_is_a_cap_of_its_date_that_leaves_cash():
    limits = Limits(gross="at_most", capital=1e6, max_capital={"a": LiquidityLimit(participation=0.05)})
    plain = target_weights(SharpeTilt(), CROSS, limits)
    liquid = limits.liquid(tuple(BASE), np.array([4e6, 1.0, math.nan, 1.0, 1.0]))
    assert liquid.tolist() == [0.2, *[math.inf] * 4]
    for section, most in ((by_liquidity(a=0.2), 0.2), (by_liquidity(a=0.01), 0.01), (by_liquidity(a=0.0), 0.0)):
        found = target_weights(SharpeTilt(), section, limits)
        # The cap wins over the floor, which is half of base.
        assert found.upper[0] == most
        assert found.lower[0] == min(plain.lower[0], most)
        assert found.target[0] == most
        assert math.fsum(found.target) <= 1
        rows = targets_frame([found], tuple(BASE), np.array(list(BASE.values())))
        assert rows["bound"].iloc[0] == "cap of a's liquidity"
    # What is no limit changes no bit.
    for section in (by_liquidity(), by_liquidity(a=plain.upper[0])):
        found = target_weights(SharpeTilt(), section, limits)
        np.testing.assert_array_equal(found.target, plain.target)
        assert (
            targets_frame([found], tuple(BASE), np.array(list(BASE.values())))["bound"].iloc[0]
            != "cap of a's liquidity"
        )


@given(most=st.floats(0.0, 0.7), more=st.floats(0.0, 0.3), groups=st.booleans())
def test_more_liquidity_never_takes_weight_and_limits_hold(most, more, groups):
    named = {"trend": GroupLimits(members=("a", "b"), cap=0.5)} if groups else {}
    limits = Limits(gross="at_most", capital=1.0, max_capital={"a": LiquidityLimit(participation=1.0)}, groups=named)
    less, enough = (target_weights(SharpeTilt(), by_liquidity(a=value), limits) for value in (most, most + more))
    assert less.target[0] <= enough.target[0]
    for found in (less, enough):
        assert (found.target <= found.upper).all()
        assert math.fsum(found.target) <= 1 + 1e-15
        assert not groups or math.fsum(found.target[:2]) <= 0.5 + 1e-12


def test_a_limit_by_liquidity_that_cannot_be_promised_is_refused():
    by = {"a": LiquidityLimit(participation=0.05)}
    for share in (0.0, -0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="participation: expected a share of volume"):
            LiquidityLimit(participation=share)
    with pytest.raises(ValueError, match="what liquidity allows a is known at a rebalance alone"):
        Limits(capital=1e6, max_capital=by)
    with pytest.raises(ValueError, match=r"groups\.x\.floor: cannot be promised where liquidity limits a"):
        Limits(gross="at_most", capital=1e6, max_capital=by, groups={"x": GroupLimits(members=("b",), floor=0.1)})
    sound = Limits(gross="at_most", capital=1e6, max_capital=by)
    assert Policy(base=BASE, method=SharpeTilt(), limits=sound).reads == ("sharpe", "liquid_capital")
    with pytest.raises(ValueError, match="z is no strategy of the book"):
        Policy(base=BASE, method=SharpeTilt(), limits=replace(sound, max_capital={"z": by["a"]}))
    with pytest.raises(ValueError, match="an ensemble reads weight sets of other dates"):
        Policy(base=BASE, method=SharpeTilt(), limits=sound, ensemble=True)
