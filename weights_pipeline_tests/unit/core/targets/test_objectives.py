"""Objectives on a covariance: golden numbers, two independent optimisers, and what every answer has to keep."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import brentq
from skfolio.datasets import load_factors_dataset, load_sp500_dataset
from skfolio.moments import LedoitWolf as SkfolioLedoitWolf
from skfolio.optimization import MaximumDiversification as SkfolioDiversification
from skfolio.optimization import MeanRisk, ObjectiveFunction, RiskBudgeting
from skfolio.prior import EmpiricalPrior

from weights_pipeline.core.targets.optimise.estimators import (
    ExponentialCovariance,
    ExponentialMean,
    LedoitWolf,
    SampleCovariance,
)
from weights_pipeline.core.targets.optimise.maximum_diversification import MaximumDiversification
from weights_pipeline.core.targets.optimise.mean_variance import MeanVariance
from weights_pipeline.core.targets.optimise.minimum_variance import MinimumVariance
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.optimise.risk_parity import RiskParity

PRECISE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
FULLY_INVESTED = [MinimumVariance(), RiskParity(), MaximumDiversification()]
OBJECTIVES = [*FULLY_INVESTED, MeanVariance(risk_aversion=3.0)]

seeds = st.integers(0, 2**32 - 1)
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.kind)
fully_invested = pytest.mark.parametrize("objective", FULLY_INVESTED, ids=lambda o: o.kind)


def problem(returns, lower=0.0, upper=1.0, *, gross=1.0, slack=0.0, periods=252.0):
    n = returns.shape[1]
    return Problem(
        returns=np.asarray(returns, dtype=np.float64),
        lower=np.broadcast_to(np.float64(lower), n).copy(),
        upper=np.broadcast_to(np.float64(upper), n).copy(),
        gross=gross,
        slack=slack,
        periods=periods,
    )


def factor_returns(rng, observations, strategies, spread=0.5):
    common = rng.normal(size=(observations, 2)) @ rng.normal(size=(2, strategies)) * rng.uniform(0, 1)
    scale = 0.01 * np.exp(spread * rng.normal(size=strategies))
    return (common + rng.normal(size=(observations, strategies))) * scale + 5e-4 * rng.normal(size=strategies)


def random_problem(seed, *, slack=0.0):
    """Two to twelve strategies, uncapped, capped at multiples of equal weights, or at limits of their own."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 13))
    returns = factor_returns(rng, int(rng.integers(3 * n, 252)), n)
    gross = float(rng.choice([1.0, 2.3, 0.4]))
    lower, upper = [
        (np.zeros(n), np.full(n, 1.0)),
        (np.full(n, 0.5 / n), np.full(n, 2.0 / n)),
        (np.full(n, 0.5 / n), np.full(n, 1.5 / n)),
        (rng.uniform(0, 0.9 / n, n), rng.uniform(1.0 / n, 3.0 / n, n)),
    ][int(rng.integers(4))]
    return problem(returns, gross * lower, gross * upper, gross=gross, slack=slack * gross)


def uncorrelated(*volatilities):
    """Eight observations whose sample correlations are exactly 0."""
    signs = [[1, -1] * 4, [1, 1, -1, -1] * 2, [1] * 4 + [-1] * 4, [1, -1, -1, 1] * 2]
    return np.array([v * np.array(s) for v, s in zip(volatilities, signs, strict=False)], dtype=np.float64).T


def contributions(covariance, weights):
    return weights * (covariance @ weights)


# Golden numbers


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (MinimumVariance(), [16 / 21, 4 / 21, 1 / 21]),
        (RiskParity(), [4 / 7, 2 / 7, 1 / 7]),
        (MaximumDiversification(), [4 / 7, 2 / 7, 1 / 7]),
    ],
    ids=lambda o: getattr(o, "kind", ""),
)
def test_golden_uncorrelated_strategies_are_weighted_by_inverse_variance_or_volatility(objective, expected):
    found = objective.solve(problem(uncorrelated(0.01, 0.02, 0.04)))
    np.testing.assert_allclose(found.weights, expected, atol=1e-7 if objective != RiskParity() else 1e-12)
    assert found.binding == ("gross",)


def test_golden_figures_of_two_uncorrelated_strategies():
    found = RiskParity().solve(problem(uncorrelated(0.01, 0.01)))
    variance = 252 * 8 / 7 * 0.01**2 / 2
    assert found.objective == pytest.approx(0.0, abs=1e-12)
    assert found.parts == pytest.approx(
        {
            "volatility": math.sqrt(variance),
            "diversification_ratio": math.sqrt(2),
            "effective_strategies": 2.0,
            "largest_risk_contribution": 0.5,
            "smallest_risk_contribution": 0.5,
        },
        rel=1e-12,
    )
    assert MinimumVariance().solve(problem(uncorrelated(0.01, 0.01))).objective == pytest.approx(-variance, rel=1e-12)


def test_golden_mean_variance_without_binding_limits_is_mean_over_variance():
    """γ = 10: 0.02 % a day at 1 % volatility asks for 0.2, and the other loses."""
    returns = uncorrelated(0.01, 0.01) + np.array([2e-4, -1e-4])
    found = MeanVariance(risk_aversion=10.0, covariance=SampleCovariance()).solve(problem(returns, slack=1.0))
    np.testing.assert_allclose(found.weights, [0.175, 0.0], atol=1e-8)
    assert found.weights[1] == 0
    assert found.parts["expected_return"] == pytest.approx(252 * 2e-4 * 0.175, rel=1e-7)
    assert found.objective == pytest.approx(252 * (2e-4 * 0.175 - 5 * 8 / 7 * 1e-4 * 0.175**2), rel=1e-7)
    assert found.distances["gross"] == pytest.approx(0.825, abs=1e-8)
    assert found.binding == ()


def test_golden_parity_under_a_cap_is_parity_of_the_others():
    found = RiskParity().solve(problem(uncorrelated(0.01, 0.01, 0.02), 0.0, [0.2, 1.0, 1.0]))
    np.testing.assert_allclose(found.weights, [0.2, 1.6 / 3, 0.8 / 3], rtol=1e-12)
    assert found.weights[0] == 0.2
    found = RiskParity().solve(problem(uncorrelated(0.01, 0.01, 0.02), [0.0, 0.0, 0.5], 1.0))
    np.testing.assert_allclose(found.weights, [0.25, 0.25, 0.5], rtol=1e-12)


# Independent optimisers


def market(name):
    prices = load_factors_dataset() if name == "factors" else load_sp500_dataset()
    return prices.iloc[-800:].pct_change().iloc[1:].to_numpy()


STOCKS, FACTORS = market("stocks"), market("factors")
SAMPLES = {
    "three stocks": (STOCKS[-252:, :3], 0.0, 1.0),
    "eight stocks, capped": (STOCKS[:252, 6:14], 0.05, 0.2),
    "all stocks": (STOCKS[-504:], 0.0, 1.0),
    "all stocks, capped": (STOCKS[-300:], 0.02, 0.08),
    "factors, capped": (FACTORS[-252:], 0.1, 0.3),
    "six synthetic": (factor_returns(np.random.default_rng(1), 100, 6, 1.0), 0.0, 1.0),
    "fifteen synthetic, capped": (factor_returns(np.random.default_rng(2), 200, 15), 0.5 / 15, 2 / 15),
}
every_sample = pytest.mark.parametrize(("returns", "lower", "upper"), SAMPLES.values(), ids=SAMPLES)


@every_sample
def test_minimum_variance_is_that_of_skfolio(returns, lower, upper):
    other = MeanRisk(min_weights=lower, max_weights=upper, solver_params=PRECISE).fit(returns).weights_
    found = MinimumVariance().solve(problem(returns, lower, upper)).weights
    np.testing.assert_allclose(found, other, atol=2e-5)
    covariance = np.cov(returns.T)
    assert found @ covariance @ found <= other @ covariance @ other * (1 + 1e-8)


@every_sample
def test_maximum_diversification_is_that_of_skfolio(returns, lower, upper):
    other = SkfolioDiversification(min_weights=lower, max_weights=upper, solver_params=PRECISE).fit(returns).weights_
    np.testing.assert_allclose(MaximumDiversification().solve(problem(returns, lower, upper)).weights, other, atol=2e-5)


@every_sample
def test_mean_variance_is_the_utility_of_skfolio(returns, lower, upper):
    prior = EmpiricalPrior(covariance_estimator=SkfolioLedoitWolf())
    other = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=2.0,
        prior_estimator=prior,
        min_weights=lower,
        max_weights=upper,
        budget=None,
        min_budget=0.3,
        max_budget=1.0,
        solver_params=PRECISE,
    )
    found = MeanVariance(risk_aversion=4.0).solve(problem(returns, lower, upper, slack=0.7))
    np.testing.assert_allclose(found.weights, other.fit(returns).weights_, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in SAMPLES if "capped" not in name])
def test_risk_parity_without_caps_is_that_of_skfolio(name):
    returns = SAMPLES[name][0]
    other = RiskBudgeting(solver_params=PRECISE).fit(returns).weights_
    np.testing.assert_allclose(RiskParity().solve(problem(returns)).weights, other, atol=2e-5)


def coordinate_descent(covariance, lower, upper, level):
    """Constrained risk budgeting one weight at a time: each has a closed form, clipped to its limits."""
    w = upper.copy()
    for _ in range(2000):
        before = w.copy()
        for i in range(len(w)):
            cross = covariance[i] @ w - covariance[i, i] * w[i]
            root = (-cross + math.sqrt(cross**2 + 4 * covariance[i, i] * level)) / (2 * covariance[i, i])
            w[i] = min(max(root, lower[i]), upper[i])
        if np.abs(w - before).max() < 1e-13:
            break
    return w


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_risk_parity_under_limits_is_that_of_coordinate_descent(seed):
    rng = np.random.default_rng(seed)
    returns = factor_returns(rng, 150, 5)
    covariance, lower, upper = np.cov(returns.T), rng.uniform(0.02, 0.15, 5), rng.uniform(0.2, 0.4, 5)
    found = RiskParity().solve(problem(returns, lower, upper)).weights
    assert ((found == lower) | (found == upper)).any()

    def excess(log_level):
        return coordinate_descent(covariance, lower, upper, math.exp(log_level)).sum() - 1

    level = math.exp(brentq(excess, -25, 0, xtol=1e-12))
    np.testing.assert_allclose(found, coordinate_descent(covariance, lower, upper, level), atol=1e-9)


# What every answer has to keep


@every_objective
@settings(max_examples=40, deadline=None)
@given(seed=seeds, slack=st.sampled_from([0.0, 0.3, 1.0]), odd=st.sampled_from(["", "constant", "twin", "idle"]))
def test_limits_and_gross_are_kept_and_the_same_bits_come_again(objective, seed, slack, odd):
    given = random_problem(seed, slack=slack)
    returns = given.returns.copy()
    if odd == "constant":
        returns[:, 0] = 0.0
    elif odd == "twin":
        returns[:, 0] = returns[:, 1]
    elif odd == "idle":
        returns[: len(returns) * 9 // 10, 0] = 0.0
    given = replace(given, returns=returns)
    found = objective.solve(given)
    total = math.fsum(found.weights)
    assert (found.weights >= given.lower).all()
    assert (found.weights <= given.upper).all()
    assert given.gross - given.slack - 1e-12 <= total <= given.gross + 1e-12
    if objective.kind != "mean_variance":
        # A strategy that has not moved stays at its floor where slack lets it.
        most = math.fsum(np.where(np.ptp(returns, axis=0) > 0, given.upper, given.lower))
        expected = max(given.gross - given.slack, min(given.gross, most))
        assert total == pytest.approx(expected, rel=1e-12)
    assert all(math.isfinite(x) for x in (found.objective, *found.parts.values()))
    again = objective.solve(replace(given, returns=np.asfortranarray(returns)))
    np.testing.assert_array_equal(again.weights, found.weights)
    assert again.parts == found.parts


@every_objective
@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_permuting_strategies_permutes_weights(objective, seed):
    given = random_problem(seed, slack=0.5)
    order = np.random.default_rng(seed).permutation(len(given.lower))
    permuted = replace(given, returns=given.returns[:, order], lower=given.lower[order], upper=given.upper[order])
    np.testing.assert_allclose(
        objective.solve(permuted).weights, objective.solve(given).weights[order], atol=1e-9 * given.gross
    )


@every_objective
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_duplicates_share_equally(objective, seed):
    rng = np.random.default_rng(seed)
    returns = factor_returns(rng, 120, int(rng.integers(2, 8)))
    twins = np.column_stack([returns, returns[:, 0]])
    weights = objective.solve(problem(twins, slack=0.5)).weights
    assert weights[0] == pytest.approx(weights[-1], abs=1e-7)
    if objective.kind in ("minimum_variance", "maximum_diversification"):
        np.testing.assert_allclose(
            np.append(weights[0] + weights[-1], weights[1:-1]), objective.solve(problem(returns)).weights, atol=1e-5
        )


@fully_invested
@settings(max_examples=25, deadline=None)
@given(seed=seeds, factor=st.sampled_from([1e-3, 0.1, 7.0, 30.0]))
def test_leverage_of_all_strategies_alike_changes_nothing(objective, seed, factor):
    given = random_problem(seed)
    np.testing.assert_allclose(
        objective.solve(replace(given, returns=factor * given.returns)).weights,
        objective.solve(given).weights,
        atol=1e-9 * given.gross,
    )


@settings(max_examples=60, deadline=None)
@given(seed=seeds, shrunk=st.booleans())
def test_risk_contributions_are_equal_between_the_limits_and_ordered_at_them(seed, shrunk):
    given = random_problem(seed)
    covariance = LedoitWolf() if shrunk else SampleCovariance()
    found = RiskParity(covariance=covariance).solve(given)
    risk = contributions(covariance.estimate(given.returns), found.weights)
    at_floor, at_cap = found.weights == given.lower, found.weights == given.upper
    between = risk[~at_floor & ~at_cap]
    if not between.size or between.min() <= 0:
        # All at their limits; or floors that the others hedge, which leave no parity.
        assert at_floor.any()
        return
    level = between.mean()
    np.testing.assert_allclose(between, level, rtol=1e-9)
    assert (risk[at_floor] >= level * (1 - 1e-9)).all()
    assert (risk[at_cap] <= level * (1 + 1e-9)).all()
    if not (at_floor | at_cap).any():
        assert found.objective == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_no_feasible_weights_are_better(seed):
    given = random_problem(seed)
    rng = np.random.default_rng(seed)
    covariance, mean = np.cov(given.returns.T), given.returns.mean(axis=0)
    shrunk, volatility = LedoitWolf().estimate(given.returns), np.sqrt(np.diag(covariance))
    spread = given.lower + (given.upper - given.lower) * rng.dirichlet(np.full(len(mean), 0.5), 200)
    gap = (given.gross - spread.sum(axis=1, keepdims=True)) / (given.upper - spread).sum(axis=1, keepdims=True)
    others = spread + gap * (given.upper - spread)
    others = others[((others >= given.lower) & (others <= given.upper)).all(axis=1)]

    def best(value, objective):
        found = objective.solve(given).weights
        assert value(found) >= max([value(w) for w in others], default=-math.inf) - 1e-7 * abs(value(found))

    best(lambda w: -w @ covariance @ w, MinimumVariance())
    best(lambda w: w @ volatility / math.sqrt(w @ covariance @ w), MaximumDiversification())
    best(lambda w: mean @ w - 1.5 * w @ shrunk @ w, MeanVariance(risk_aversion=3.0))


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_more_risk_aversion_never_takes_more_risk(seed):
    given = random_problem(seed, slack=1.0)
    risks = [
        MeanVariance(risk_aversion=aversion).solve(given).parts["volatility"] for aversion in (0.5, 1.0, 2.0, 4.0, 20.0)
    ]
    assert all(less <= more * (1 + 1e-9) for more, less in pairwise(risks))


# Special cases


@every_objective
def test_a_strategy_that_has_not_moved_stays_at_its_floor(objective):
    returns = factor_returns(np.random.default_rng(0), 80, 4)
    still = np.insert(returns, 2, 0.001, axis=1)
    found = objective.solve(problem(still, 0.05, 0.9))
    alone = objective.solve(problem(returns, 0.05, 0.9, gross=0.95))
    assert found.weights[2] == 0.05
    np.testing.assert_allclose(np.delete(found.weights, 2), alone.weights, atol=1e-12)
    assert found.parts["volatility"] == pytest.approx(alone.parts["volatility"], rel=1e-12)


@every_objective
def test_strategies_that_have_not_moved_take_what_the_caps_of_the_others_leave(objective):
    returns = np.column_stack([np.zeros(80), np.full(80, 1e-4), factor_returns(np.random.default_rng(0), 80, 2)])
    found = objective.solve(problem(returns, 0.1, [1.0, 0.5, 0.3, 0.3]))
    np.testing.assert_array_equal(found.weights[2:], [0.3, 0.3])
    assert math.fsum(found.weights) == pytest.approx(1.0, abs=1e-12)
    assert (found.weights[:2] >= 0.1).all()


@fully_invested
def test_slack_invests_as_much_as_limits_allow(objective):
    returns = factor_returns(np.random.default_rng(3), 80, 3)
    found = objective.solve(problem(returns, 0.0, [0.2, 0.3, 0.1], slack=1.0))
    np.testing.assert_array_equal(found.weights, [0.2, 0.3, 0.1])
    assert found.distances["gross"] == pytest.approx(0.4)
    roomy = problem(returns, 0.0, 0.6)
    np.testing.assert_array_equal(objective.solve(replace(roomy, slack=1.0)).weights, objective.solve(roomy).weights)


def test_losers_are_left_alone_where_cash_is_allowed():
    returns = factor_returns(np.random.default_rng(4), 80, 3)
    returns -= returns.mean(axis=0) + np.array([1e-5, 1e-3, 1e-4])
    found = MeanVariance(risk_aversion=2.0).solve(problem(returns, slack=1.0))
    np.testing.assert_array_equal(found.weights, 0.0)
    assert (found.objective, found.parts["volatility"], found.distances["gross"]) == (0.0, 0.0, 1.0)


@every_objective
def test_one_strategy_takes_gross(objective):
    returns = factor_returns(np.random.default_rng(5), 80, 1) + 0.01
    np.testing.assert_allclose(objective.solve(problem(returns)).weights, [1.0], rtol=1e-15)


@every_objective
def test_limits_that_leave_one_choice_are_that_choice(objective):
    returns = factor_returns(np.random.default_rng(6), 80, 4)
    only = np.array([0.1, 0.2, 0.3, 0.4])
    for lower, upper in [(only, 1.0), (0.0, only), (only, only)]:
        np.testing.assert_array_equal(objective.solve(problem(returns, lower, upper)).weights, only)
    offset = returns[:, [0]] * [1.0, -0.05, 0.1, -0.2]
    np.testing.assert_array_equal(objective.solve(problem(offset, 0.0, only)).weights, only)


def test_a_floor_that_the_others_hedge_leaves_least_variance():
    """However small its contribution, the hedge of the first would take more than is left."""
    rng = np.random.default_rng(7)
    risky = rng.normal(size=200)
    returns = np.column_stack([0.04 * risky, -0.01 * risky + 0.002 * rng.normal(size=200)])
    given = problem(returns, [0.4, 0.0], 1.0)
    np.testing.assert_allclose(RiskParity().solve(given).weights, MinimumVariance().solve(given).weights, atol=1e-12)
    parity = RiskParity().solve(replace(given, lower=np.array([0.1, 0.0])))
    risk = contributions(np.cov(returns.T), parity.weights)
    assert risk[0] == pytest.approx(risk[1], rel=1e-9)
    assert parity.objective == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("objective", [RiskParity(), MaximumDiversification()], ids=lambda o: o.kind)
def test_strategies_that_offset_each_other_completely_have_no_risk_to_share(objective):
    returns = factor_returns(np.random.default_rng(8), 80, 1) * [1.0, -1.0]
    with pytest.raises(NoSolutionError, match="offset each other completely"):
        objective.solve(problem(returns))
    np.testing.assert_allclose(MinimumVariance().solve(problem(returns)).weights, 0.5, atol=1e-7)


def test_estimators_are_the_ones_named():
    given = problem(factor_returns(np.random.default_rng(9), 120, 4), slack=1.0)
    recent, shrunk = ExponentialCovariance(half_life=10.0), LedoitWolf()
    for kind in (MinimumVariance, RiskParity, MaximumDiversification):
        answers = [kind(covariance=c).solve(given).weights for c in (SampleCovariance(), recent, shrunk)]
        assert min(np.abs(a - b).max() for a, b in pairwise(answers)) > 1e-4
    risk = contributions(recent.estimate(given.returns), RiskParity(covariance=recent).solve(given).weights)
    np.testing.assert_allclose(risk, risk[0], rtol=1e-9)
    means = [
        MeanVariance(risk_aversion=2.0),
        MeanVariance(risk_aversion=2.0, expected_return=ExponentialMean(half_life=5.0)),
    ]
    assert np.abs(means[0].solve(given).weights - means[1].solve(given).weights).max() > 1e-3


def test_risk_that_an_estimate_has_forgotten_is_no_risk():
    returns = factor_returns(np.random.default_rng(10), 300, 3)
    returns[5:, 0] = 0.0
    recent = ExponentialCovariance(half_life=2.0)
    found = MinimumVariance(covariance=recent).solve(problem(returns, 0.1, 0.9))
    assert found.weights[0] == 0.1
    assert MinimumVariance().solve(problem(returns, 0.1, 0.9)).weights[0] == pytest.approx(0.8, rel=1e-12)


# Failure paths


@every_objective
def test_without_risk_there_is_nothing_to_choose_by(objective):
    with pytest.raises(NoSolutionError, match="no strategy that may be held has moved"):
        objective.solve(problem(np.full((30, 3), 0.001)))
    with pytest.raises(NoSolutionError, match="no strategy that may be held has moved"):
        objective.solve(problem(factor_returns(np.random.default_rng(0), 30, 3), 0.0, 0.0, slack=1.0))
    returns = factor_returns(np.random.default_rng(0), 30, 3) * [1.0, 1.0, 0.0]
    with pytest.raises(NoSolutionError, match="floors of strategies that have not moved leave nothing"):
        objective.solve(problem(returns, [0.0, 0.0, 1.0], 1.0))
    with pytest.raises(NoSolutionError, match="expected at least 2 observations, got 1"):
        objective.solve(problem(np.full((1, 3), 0.001)))


@pytest.mark.parametrize("risk_aversion", [0.0, -1.0, math.inf, math.nan])
def test_risk_aversion_has_to_be_positive(risk_aversion):
    with pytest.raises(ValueError, match="risk_aversion: expected a positive number"):
        MeanVariance(risk_aversion=risk_aversion)


def test_books_spell_objectives_and_their_estimators():
    spelled = {
        "kind": "mean_variance",
        "risk_aversion": 3,
        "expected_return": {"kind": "exponential", "half_life": 60},
        "covariance": {"kind": "sample"},
    }
    meant = MeanVariance(
        risk_aversion=3.0, expected_return=ExponentialMean(half_life=60.0), covariance=SampleCovariance()
    )
    assert TypeAdapter(MeanVariance).validate_python(spelled) == meant
    with pytest.raises(ValidationError):
        TypeAdapter(MeanVariance).validate_python(spelled | {"gamma": 3})
    for objective in FULLY_INVESTED:
        assert TypeAdapter(type(objective)).validate_python({"covariance": {"kind": "sample"}}) == objective
