"""Hybrid objective: no general solver and no grid finds better, weights are admissible to the last bit, one answer."""

import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import clarabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from weights_pipeline.core.targets.optimise.drawdown import Region
from weights_pipeline.core.targets.optimise.hybrid import HybridObjective, solve
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.optimise.program import SolverError, minimise, minimum
from weights_pipeline_tests.support.examples import examples

SAMPLE = Path(__file__).parents[4] / "data" / "sample"
DEFAULT = HybridObjective()
WHOLE = HybridObjective(smallest=0)
PERIODS = 252


def problem(returns, lower=0.0, upper=1.0, gross=2.3, slack=None, periods=PERIODS):
    n = returns.shape[1]
    limits = (np.broadcast_to(np.asarray(limit, dtype=float), n).copy() for limit in (lower, upper))
    low, high = limits
    slack = gross if slack is None else slack
    return Problem(
        returns=np.ascontiguousarray(returns), lower=low, upper=high, gross=gross, slack=slack, periods=periods
    )


def drawdown(returns, weights):
    equity = np.cumprod(np.append(1.0, 1.0 + returns @ weights))
    return (1.0 - equity / np.maximum.accumulate(equity)).max()


def value(returns, weights, objective=DEFAULT, periods=PERIODS):
    """The objective by its definition."""
    portfolio = returns @ weights
    cagr = np.prod(1.0 + portfolio) ** (periods / len(portfolio)) - 1.0
    share = objective.sharpe_share
    return share * portfolio.mean() / portfolio.std(ddof=1) + (1 - share) * cagr / objective.cagr_scale


def market(seed, n, sessions, daily=0.006, nu=4, common=0.5, sharpe=0.05):
    """Returns with fat tails and a common factor."""
    rng = np.random.default_rng(seed)
    noise = math.sqrt(common) * rng.standard_t(nu, (sessions, 1)) + math.sqrt(1 - common) * rng.standard_t(
        nu, (sessions, n)
    )
    scale = daily * np.exp(rng.normal(0, 0.6, n))
    return np.maximum(scale * (rng.normal(sharpe, 0.05, n) + 0.7 * noise), -0.5)


@cache
def sample():
    """Daily returns of the strategies of the sample that are reported as lots, on their first capital."""
    columns = ["lot_id", "strategy", "closed_at", "pnl"]
    lots = pd.concat([pd.read_csv(file, usecols=columns) for file in sorted((SAMPLE / "lots").glob("*.csv"))])
    lots = lots.drop_duplicates("lot_id").dropna(subset=["strategy", "pnl"])
    pnl = lots.assign(day=lots.closed_at.str[:10]).pivot_table(
        index="day", columns="strategy", values="pnl", aggfunc="sum"
    )
    capital = pd.read_csv(SAMPLE / "capital.csv").drop_duplicates("strategy").set_index("strategy").capital
    sessions = pd.read_csv(SAMPLE / "benchmark.csv").date
    sessions = sessions[sessions >= "2012-01-03"]
    return (pnl / capital[pnl.columns]).reindex(sessions).fillna(0.0).to_numpy()


def slsqp(given, objective, starts):
    """Best admissible value that SLSQP finds from these starts, with the gradients written out."""
    from scipy.optimize import minimize

    returns, limit = given.returns, -math.log1p(-objective.max_drawdown)
    covariance, mean = np.atleast_2d(np.cov(returns.T)), returns.mean(axis=0)
    share, growth_share = objective.sharpe_share, (1 - objective.sharpe_share) / objective.cagr_scale

    def negative(weights):
        portfolio = np.maximum(returns @ weights, -0.99)
        spread = covariance @ weights
        deviation, factor = math.sqrt(weights @ spread), math.exp(given.periods * np.log1p(portfolio).mean())
        gradient = share * (mean / deviation - (mean @ weights) / deviation**3 * spread)
        gradient = gradient + growth_share * given.periods * factor * ((1 / (1 + portfolio)) @ returns) / len(returns)
        return -(share * (mean @ weights) / deviation + growth_share * (factor - 1)), -gradient

    def worst(weights):
        path = np.append(0.0, np.cumsum(np.log1p(np.maximum(returns @ weights, -0.99))))
        depth = np.maximum.accumulate(path) - path
        end = int(depth.argmax())
        return depth[end], int(path[: end + 1].argmax()), end

    def room(weights):
        return limit - worst(weights)[0]

    def room_gradient(weights):
        _, start, end = worst(weights)
        return (1 / (1 + np.maximum(returns[start:end] @ weights, -0.99))) @ returns[start:end]

    ones = np.ones(len(mean))
    constraints = [
        {"type": "ineq", "fun": lambda weights: given.gross - weights.sum(), "jac": lambda _: -ones},
        {"type": "ineq", "fun": room, "jac": room_gradient},
    ]
    best = -math.inf
    for start in starts:
        found = minimize(
            negative,
            np.maximum(start, 1e-6),
            jac=True,
            method="SLSQP",
            bounds=list(zip(given.lower, given.upper, strict=True)),
            constraints=constraints,
            options={"ftol": 1e-9, "maxiter": 60},
        ).x
        weights = np.clip(found, given.lower, given.upper)
        weights *= min(1.0, given.gross / weights.sum())
        inside, outside = 0.0, 1.0
        for _ in range(50 if drawdown(returns, weights) > objective.max_drawdown else 0):
            middle = (inside + outside) / 2
            fits = drawdown(returns, middle * weights) <= objective.max_drawdown
            inside, outside = (middle, outside) if fits else (inside, middle)
        best = max(best, value(returns, weights * (inside or 1.0), objective, given.periods))
    return best


def admissible(given, weights, limit):
    orders = [np.arange(len(weights)), np.arange(len(weights))[::-1]]
    return (
        (given.lower <= weights).all()
        and (weights <= given.upper).all()
        and math.fsum(weights) <= given.gross
        and all(weights[order].sum() <= given.gross for order in orders)
        and weights.sum() >= given.gross - given.slack - 1e-9
        and all(drawdown(given.returns[:, order], weights[order]) <= limit for order in orders)
    )


def many():
    """Fifty-six problems: the sample whole and by window, and markets of every kind."""
    booked = sample()
    for first, last in [
        (0, 2449),
        (0, 252),
        (252, 756),
        (900, 1152),
        (1400, 1652),
        (2000, 2400),
        (2400, 2766),
        (300, 1500),
    ]:
        yield f"sample {first}-{last}", problem(booked[first:last])
    kinds = {
        "plain": {},
        "capped": {"upper": 0.15},
        "narrow": {"gross": 0.4},
        "calm": {"daily": 0.001},
        "wild": {"daily": 0.02, "nu": 3},
        "alike": {"common": 0.95},
    }
    for seed in range(8):
        for kind, options in kinds.items():
            n, sessions = 2 + (5 * seed + len(kind)) % 14, (60, 120, 252, 252, 120, 60, 504, 2449)[seed]
            shape = {key: option for key, option in options.items() if key in ("daily", "nu", "common")}
            returns = market([seed, len(kind)], n, sessions, **shape)
            if seed % 4 == 1:
                returns[:, -1] = returns[:, 0]
            if seed % 4 == 2:
                returns[:, 0] += 0.3 * returns[:, 0].std()
            returns += max(0.0, 1e-4 - returns.mean(axis=0).max())
            limits = {key: option for key, option in options.items() if key in ("upper", "gross")}
            yield f"{kind} {n} x {sessions}", problem(returns, **limits)


def test_a_general_solver_from_many_starts_finds_nothing_better():
    bound, count = set(), 0
    for name, posed in many():
        n, rng = posed.returns.shape[1], np.random.default_rng(1)
        found = solve(posed, WHOLE)
        assert admissible(posed, found.weights, WHOLE.max_drawdown), name
        equal = np.full(n, min(float(posed.upper[0]), posed.gross / n))
        starts = [0.3 * equal, *(rng.dirichlet(np.ones(n)) * rng.uniform(0.1, 1) * equal.sum() for _ in range(2))]
        assert found.objective >= slsqp(posed, WHOLE, starts) * (1 - 1e-7), name
        bound |= {*found.binding, "cap"} if (found.weights == posed.upper).any() else {*found.binding}
        count += 1
    assert count >= 50
    assert bound == {"gross", "max_drawdown", "cap"}


@pytest.mark.parametrize(("seed", "share"), [(5, 0.85), (4, 0.85), (3, 0.3), (6, 0.0)])
def test_a_grid_over_two_strategies_finds_nothing_better(seed, share):
    objective = replace(WHOLE, sharpe_share=share)
    posed = problem(market(seed, 2, 120, sharpe=0.1), gross=1.4)
    steps = np.linspace(0, 1, 81)
    first, second = (axis.ravel() for axis in np.meshgrid(steps, steps))
    fits = (first + second > 0) & (first + second <= posed.gross)
    grid = np.array([first[fits], second[fits]])
    paths = np.vstack([np.ones(grid.shape[1]), np.cumprod(1 + posed.returns @ grid, axis=0)])
    drawdowns = (1 - paths / np.maximum.accumulate(paths, axis=0)).max(axis=0)
    best = max(value(posed.returns, weights, objective) for weights in grid.T[drawdowns <= objective.max_drawdown])
    found = solve(posed, objective)
    assert best * (1 - 1e-9) <= found.objective <= best * 1.03


def lotteries(seed):
    """Strategies that lose a little most days and gain much on a few, the reverse, and wild ones."""
    rng = np.random.default_rng([77, seed])
    n, sessions = int(rng.integers(3, 8)), int(rng.choice([120, 252]))
    columns = []
    for kind in rng.integers(0, 3, n):
        daily, hit = np.exp(rng.normal(np.log(0.005), 0.8)), rng.random(sessions) < rng.uniform(0.01, 0.05)
        columns.append(
            (
                -0.2 * daily + hit * daily * rng.exponential(20, sessions),
                0.3 * daily - hit * daily * rng.exponential(4, sessions) + 0.1 * daily * rng.standard_normal(sessions),
                10 * daily * (rng.normal(0.03, 0.05) + rng.standard_t(3, sessions)),
            )[kind]
        )
    return problem(np.clip(np.column_stack(columns) + 1e-6, -0.9, None), gross=float(rng.choice([1.0, 2.3])))


@pytest.mark.parametrize("limit", [0.06, 0.9])
def test_moments_beyond_the_variance_do_not_mislead(limit):
    objective = replace(WHOLE, max_drawdown=limit)
    for seed in (*range(10), 187, 274):
        posed = lotteries(seed)
        if posed.returns.mean(axis=0).max() <= 0:
            continue
        starts = [0.5 * np.eye(posed.returns.shape[1])[at] + 0.05 for at in range(posed.returns.shape[1])]
        assert solve(posed, objective).objective >= slsqp(posed, objective, starts) * (1 - 1e-6), seed


def test_of_two_maxima_the_higher_is_found():
    # A steady strategy for the Sharpe, a wild one for growth: the best of either kind is a maximum of its own.
    days = np.arange(504)
    steady, wild = 0.0005 * np.cos(math.pi * days), 0.1 * np.cos(math.pi * (days // 2))
    objective = replace(WHOLE, max_drawdown=0.95)
    chosen = []
    for mean in (0.0095, 0.01):
        returns = np.column_stack([steady + 0.00015, wild + mean])
        posed = problem(returns, gross=1.0)
        values = [value(returns, np.array([1 - share, share]), objective) for share in np.linspace(0, 1, 401)]
        assert sum(values[at] > max(values[at - 1], values[at + 1]) for at in range(1, 400)) == 2
        found = solve(posed, objective)
        assert found.objective >= max(values)
        chosen.append(bool(found.weights[1] > 0.5))
    assert chosen == [False, True]


def gradient_and_active_rows(posed, weights, objective):
    """Slopes of the objective, and normals of what binds by a look at the weights and at every stretch."""
    returns, n = posed.returns, len(weights)
    portfolio, covariance = returns @ weights, np.atleast_2d(np.cov(returns.T))
    deviation, marginal = portfolio.std(ddof=1), (1 / (1 + portfolio)) @ returns / len(returns)
    slope = returns.mean(axis=0) / deviation - portfolio.mean() / deviation**3 * (covariance @ weights)
    growth = posed.periods * np.exp(posed.periods * np.log1p(portfolio).mean()) * marginal
    share = objective.sharpe_share
    rows = [np.eye(n)[at] for at in range(n) if posed.upper[at] - weights[at] < 1e-9]
    rows += [-np.eye(n)[at] for at in range(n) if weights[at] - posed.lower[at] < 1e-9]
    if posed.gross - weights.sum() < 1e-9:
        rows.append(np.ones(n))
    path = np.append(0.0, np.cumsum(np.log1p(portfolio)))
    falls = np.triu(path[:, None] - path) >= -math.log1p(-objective.max_drawdown) - 1e-9
    rows += [-(1 / (1 + portfolio[s:e])) @ returns[s:e] for s, e in zip(*np.nonzero(falls), strict=True)]
    return share * slope + (1 - share) / objective.cagr_scale * growth, np.array(rows)


def test_what_binds_makes_up_the_gradient():
    from scipy.optimize import nnls

    exact = replace(WHOLE, ridge=1e-9)
    chosen = [posed for _, posed in many() if len(posed.returns) <= 504]
    for posed in chosen:
        found = solve(posed, exact)
        gradient, rows = gradient_and_active_rows(posed, found.weights, exact)
        prices, residual = nnls(rows.T, gradient)
        assert residual < 2e-7 * np.abs(gradient).max()
        assert prices.max() > 0
    assert len(chosen) >= 40


def test_where_nothing_binds_the_gradient_is_none():
    posed, growth = (
        problem(0.2 * market(11, 4, 504, sharpe=0.2), gross=1e3, upper=500.0),
        replace(WHOLE, sharpe_share=0),
    )
    growth = replace(growth, max_drawdown=0.999)
    found = solve(posed, growth)
    gradient, rows = gradient_and_active_rows(posed, found.weights, growth)
    assert found.binding == ()
    assert len(rows) == (found.weights == 0).sum()
    np.testing.assert_allclose(gradient[found.weights > 0] / found.objective, 0, atol=1e-6)


problems = st.builds(
    lambda seed, n, sessions, lower, slack, gross: problem(
        market(seed, n, sessions, sharpe=0.1),
        lower=lower * gross / n * np.random.default_rng(seed).random(n),
        gross=gross,
        slack=slack * gross,
    ),
    seed=st.integers(0, 10**6),
    n=st.integers(3, 9),
    sessions=st.sampled_from((40, 100, 250)),
    lower=st.sampled_from((0.0, 0.0, 0.5)),
    slack=st.sampled_from((0.0, 0.5, 1.0)),
    gross=st.sampled_from((0.5, 1.0, 2.3)),
)


@examples(40, derandomize=True)
@given(given=problems, limit=st.sampled_from((0.06, 0.3)))
def test_weights_are_admissible_to_the_last_bit_and_beat_random_ones(given, limit):
    objective = replace(WHOLE, max_drawdown=limit)
    try:
        found = solve(given, objective)
    except NoSolutionError as error:
        message = str(error)
        assume(not message.startswith(("max_drawdown:", "returns: no strategy")))
        raise
    assert admissible(given, found.weights, limit)
    assert found.objective == pytest.approx(value(given.returns, found.weights), rel=1e-9)
    assert found.distances == {
        "gross": given.gross - found.parts["gross"],
        "max_drawdown": limit - found.parts["max_drawdown"],
    }
    assert min(found.distances.values()) >= 0
    rng = np.random.default_rng(0)
    for tried in rng.dirichlet(np.ones(len(found.weights)), 200):
        weights = found.weights + rng.random() * (
            np.clip(given.gross * tried, given.lower, given.upper) - found.weights
        )
        if admissible(given, weights, limit) and (given.returns @ weights).mean() > 0:
            assert value(given.returns, weights) <= found.objective * (1 + 1e-9)


@examples(15, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 9), smallest=st.sampled_from((0.01, 0.08)))
def test_permuting_strategies_permutes_weights(seed, n, smallest):
    returns, order = market(seed, n, 150, sharpe=0.15), np.random.default_rng(seed).permutation(n)
    objective = replace(DEFAULT, smallest=smallest)
    found, permuted = (solve(problem(columns), objective) for columns in (returns, returns[:, order]))
    np.testing.assert_allclose(permuted.weights, found.weights[order], rtol=0, atol=1e-7)
    assert sorted(order[list(permuted.dropped)]) == list(found.dropped)


@pytest.mark.parametrize(("seed", "share"), [(3, 0.85), (4, 0.85), (8, 0.85), (8, 0.0)])
def test_a_duplicate_shares_the_weight_of_its_twin(seed, share):
    returns, objective = market(seed, 5, 252, sharpe=0.1), replace(WHOLE, sharpe_share=share)
    alone = solve(problem(returns), objective)
    at = int(np.argmax(np.where(alone.weights < 0.99, alone.weights, 0)))
    doubled = solve(problem(np.column_stack([returns, returns[:, at]])), objective)
    assert doubled.weights[at] == pytest.approx(doubled.weights[-1], abs=1e-7)
    assert doubled.weights[at] + doubled.weights[-1] == pytest.approx(alone.weights[at], rel=1e-3)
    assert doubled.objective == pytest.approx(alone.objective, rel=1e-6)


def test_a_duplicate_with_a_lower_cap_is_at_it():
    returns = market(3, 4, 252, sharpe=0.1)
    twins = np.column_stack([returns, returns[:, 0]])
    whole = solve(problem(returns), WHOLE).weights[0]
    posed = problem(twins, upper=np.array([1, 1, 1, 1, 0.3 * whole]))
    weights = solve(posed, WHOLE).weights
    assert weights[4] == 0.3 * whole
    assert weights[0] == pytest.approx(0.7 * whole, rel=1e-3)


@pytest.mark.parametrize("factor", [0.5, 7.0])
def test_bigger_returns_get_smaller_weights_where_only_the_drawdown_binds(factor):
    returns = market(11, 6, 252, daily=0.02, sharpe=0.1)
    found = solve(problem(returns), WHOLE)
    scaled = solve(problem(factor * returns, gross=20.0, upper=10.0), WHOLE)
    assert found.binding == scaled.binding == ("max_drawdown",)
    np.testing.assert_allclose(factor * scaled.weights, found.weights, rtol=0, atol=1e-8)
    assert scaled.objective == pytest.approx(found.objective, rel=1e-9)


def test_a_tighter_drawdown_limit_is_never_better():
    given = problem(market(6, 7, 252, sharpe=0.1))
    limits = (0.005, 0.02, 0.04, 0.06, 0.1, 0.3, 0.9)
    objectives = [solve(given, replace(WHOLE, max_drawdown=limit)).objective for limit in limits]
    assert objectives == sorted(objectives)
    assert objectives[0] < 0.9 * objectives[3]


def test_the_same_bits_twice_and_in_another_process():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from weights_pipeline.core.targets.optimise.hybrid import HybridObjective, solve\n"
        "from weights_pipeline.core.targets.optimise.problem import Problem\n"
        "returns = np.frombuffer(bytes.fromhex(sys.stdin.read())).reshape(-1, 9)\n"
        "given = Problem(returns=returns, lower=np.zeros(9), upper=np.ones(9), gross=2.3, slack=2.3, periods=252)\n"
        "print(solve(given, HybridObjective()).weights.tobytes().hex())\n"
        "print(sorted({'scipy', 'pandas', 'dagster'} & set(sys.modules)))\n"
    )
    returns = market(2, 9, 300, sharpe=0.1)
    one, two = (solve(problem(returns), DEFAULT).weights.tobytes() for _ in range(2))
    command = [sys.executable, "-c", script, str(SAMPLE.parents[1])]
    other = subprocess.run(command, input=returns.tobytes().hex(), capture_output=True, text=True, check=True)
    assert other.stdout.split() == [one.hex(), "[]"]
    assert one == two


def supported(given, objective, which):
    """The best weights that hold these strategies, each with the smallest weight at least, and no others."""
    free = given.lower == 0
    lower = np.where(free & which, objective.smallest, given.lower)
    upper = np.where(free & ~which, 0.0, given.upper)
    try:
        return solve(replace(given, lower=lower, upper=upper), replace(objective, smallest=0)).objective
    except NoSolutionError:
        return -math.inf


def greedy(given, objective):
    """What dropping the smallest of all small weights, one after the other, leads to."""
    upper = given.upper.copy()
    while True:
        try:
            found = solve(replace(given, upper=upper), replace(objective, smallest=0))
        except NoSolutionError:
            return -math.inf
        small = (found.weights > 0) & (found.weights < objective.smallest) & (given.lower == 0)
        if not small.any():
            return found.objective
        upper[np.where(small, found.weights, math.inf).argmin()] = 0.0


@examples(12)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 6),
    smallest=st.sampled_from((0.01, 0.05, 0.1, 0.2)),
    slack=st.sampled_from((0.0, 1.0)),
    gross=st.sampled_from((0.5, 1.0, 2.3)),
    floors=st.booleans(),
)
def test_weights_that_are_not_small_are_the_best_of_all_supports(seed, n, smallest, slack, gross, floors):
    rng = np.random.default_rng(seed)
    returns = market(seed, n, 120, daily=0.003, common=0.3, sharpe=0.1)
    lower = np.where(rng.random(n) < 0.3, 0.03 * rng.random(n), 0.0) if floors else 0.0
    objective = replace(DEFAULT, smallest=smallest)
    assume(returns.mean(axis=0).max() > 0 and gross <= n)
    given = problem(returns, lower=lower, gross=gross, slack=slack * gross)
    best = max(supported(given, objective, np.array(which)) for which in itertools.product((False, True), repeat=n))
    try:
        found = solve(given, objective)
    except NoSolutionError:
        assert best == -math.inf
        return
    assert ((found.weights == 0) | (found.weights >= smallest) | (given.lower > 0)).all()
    assert found.objective >= greedy(given, objective) * (1 - 1e-9)
    assert found.objective == pytest.approx(best, rel=1e-8)


def test_small_weights_are_dropped_or_raised_and_reported():
    returns = market(1, 12, 252, daily=0.003, common=0, sharpe=0.1)
    whole, found = solve(problem(returns), WHOLE), solve(problem(returns), HybridObjective(smallest=0.06))
    assert np.flatnonzero((whole.weights > 0) & (whole.weights < 0.06)).tolist() == [0, 10, 11]
    assert found.weights[[0, 10, 11]].tolist() == [0.06, 0.06, 0.0]
    assert found.dropped == (11,)
    assert found.held == "held strategies are the best choice, by branch and bound"
    assert whole.held == ""
    assert 0.9 * whole.objective < found.objective < whole.objective
    assert found.objective > greedy(problem(returns), HybridObjective(smallest=0.06))


def test_of_more_than_twenty_strategies_they_are_chosen_greedily_and_it_says_so():
    returns = market(0, 21, 252, daily=0.003, common=0.2, sharpe=0.1)
    objective = HybridObjective(smallest=0.1)
    found = solve(problem(returns), objective)
    assert found.held == "held strategies chosen greedily"
    assert ((found.weights == 0) | (found.weights >= 0.1)).all()
    without = solve(problem(returns, upper=(np.arange(21) != found.dropped[0]).astype(float)), objective)
    assert without.held == "held strategies are the best choice, by branch and bound"
    assert without.objective >= found.objective * (1 - 1e-9)


def test_of_twins_that_are_too_small_together_one_is_held():
    returns = market(1, 12, 252, daily=0.003, common=0, sharpe=0.1)
    twins = np.column_stack([returns, returns[:, 10]])
    alone, both = (solve(problem(each), HybridObjective(smallest=0.06)) for each in (returns, twins))
    assert both.weights[12] == 0
    np.testing.assert_allclose(both.weights[:12], alone.weights, atol=1e-6)


def test_a_small_weight_that_a_limit_asks_for_is_kept():
    returns = market(1, 12, 252, daily=0.003, common=0, sharpe=0.1)
    found = solve(problem(returns, lower=np.eye(12)[11] * 0.015), HybridObjective(smallest=0.06))
    assert 0.015 <= found.weights[11] < 0.06
    assert 11 not in found.dropped


def test_small_weights_that_gross_cannot_do_without_are_no_answer():
    returns = market(3, 3, 252, sharpe=0.2)
    limits = {"upper": np.array([0.49, 0.5, 0.02]), "gross": 1.0, "slack": 0.0}
    with pytest.raises(NoSolutionError, match=r"smallest: .* at least 5\.000% will do; limits: ") as error:
        solve(problem(returns, **limits), HybridObjective(smallest=0.05, max_drawdown=0.5))
    assert "expected one from 1 to 1" in str(error.value) or "upper limit" in str(error.value)


def test_a_solver_that_fails_says_which_limits_bind(monkeypatch):
    posed = problem(market(1, 3, 252, daily=0.001, sharpe=0.1), upper=[1.0, 0.3, 1.0])
    region = Region(replace(posed, strategies=("carry", "fade", "trend")), 0.06, {})
    made = clarabel.DefaultSettings()
    made.max_iter = 4
    monkeypatch.setattr(clarabel, "DefaultSettings", lambda: made)
    with pytest.raises(SolverError, match=r"stopped with MaxIterations, where these limits bind: upper limit of fade$"):
        region.minimise(np.eye(3), -np.array([0.5, 2.0, 0.5]))
    with pytest.raises(NoSolutionError, match=r"stopped with MaxIterations, where these limits bind: .*max_drawdown"):
        solve(replace(posed, slack=0.0, gross=1.0), DEFAULT)


def test_a_strategy_that_did_nothing_gets_nothing():
    returns = market(1, 5, 252, sharpe=0.1)
    without = solve(problem(returns), WHOLE)
    idle = np.column_stack([np.zeros(252), returns[:, :2], np.full(252, 0.001), returns[:, 2:]])
    found = solve(problem(idle), WHOLE)
    assert found.weights[[0, 3]].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(found.weights[[1, 2, 4, 5, 6]], without.weights, rtol=0, atol=1e-4)
    assert solve(problem(idle, lower=np.eye(7)[0] * 0.1), WHOLE).weights[0] == 0.1


def test_a_loss_on_the_first_day_counts():
    returns = 0.01 + 0.005 * np.cos(np.arange(60.0))[:, None]
    returns[0] = -0.12
    assert solve(problem(returns), WHOLE).weights == pytest.approx([0.5], abs=1e-9)


def test_a_book_that_could_lose_more_than_all_is_not_chosen():
    returns = 0.1 + 0.05 * np.cos(np.arange(60.0))[:, None]
    returns[30] = -1.0
    found = solve(problem(returns, upper=2.3), WHOLE)
    assert found.weights == pytest.approx([0.06], abs=1e-9)
    with pytest.raises(NoSolutionError, match=r"max_drawdown: .* leave is .*, expected one within 6\.000%"):
        solve(problem(returns, upper=2.3, slack=0.0), WHOLE)


@pytest.mark.parametrize(
    ("returns", "options", "message"),
    [
        (market(1, 3, 2), {}, "returns: expected at least 3 observations, got 2"),
        (np.tile([0.0, 0.01, -0.01], (50, 1)), {}, "returns: those of each strategy are all the same"),
        (-np.abs(market(1, 3, 50)), {}, "no strategy has a positive mean; the best is cash"),
        (-np.abs(market(1, 3, 50)), {"gross": 1.0, "slack": 0.0}, "no strategy has a positive mean; of a negative"),
        (market(1, 3, 250, daily=0.05, sharpe=0.1), {"slack": 0.0}, "max_drawdown: the least that the limits leave is"),
        (
            np.column_stack([np.zeros(50), market(2, 1, 50, sharpe=0.3)]),
            {"gross": 1.5, "slack": 0.0},
            "limits: strategies whose returns vary may have 1 in all, expected at least 1.5",
        ),
        (
            np.column_stack([market(2, 1, 50, daily=1e-4, sharpe=0.3), -5e-4 + market(3, 1, 50, daily=1e-5)]),
            {"lower": np.array([0.0, 0.9]), "gross": 1.0},
            "limits: no weights within them have a positive mean",
        ),
        (
            0.01 * np.column_stack([np.cos(np.arange(60.0)) + 0.2, 0.2 - np.cos(np.arange(60.0))]),
            {},
            "returns: there are weights that gain without volatility",
        ),
    ],
)
def test_what_has_no_answer_says_why(returns, options, message):
    with pytest.raises(NoSolutionError, match=message):
        solve(problem(returns, **options), DEFAULT)


def test_no_weight_of_any_size_is_no_answer():
    given_up = HybridObjective(smallest=0.7)
    with pytest.raises(
        NoSolutionError, match=r"smallest: no weights that are 0 or at least 70\.000% will do; max_drawdown: the least"
    ):
        solve(problem(market(2, 4, 252, daily=0.02, sharpe=0.1)), given_up)


def test_the_least_drawdown_there_is_decides_whether_there_is_an_answer():
    returns = market(5, 2, 250, common=0, sharpe=0.1)
    posed = problem(returns, gross=1.0, slack=0.0)
    least = min(drawdown(returns, np.array([share, 1 - share])) for share in np.linspace(0, 1, 2001))
    assert least < 0.9 * min(drawdown(returns, weights) for weights in np.eye(2))
    found = solve(posed, replace(WHOLE, max_drawdown=least))
    assert admissible(posed, found.weights, least)
    with pytest.raises(NoSolutionError, match="max_drawdown: the least that the limits leave is") as error:
        solve(posed, replace(WHOLE, max_drawdown=0.99 * least))
    told = float(re.findall(r"leave is ([\d.]+)%", str(error.value))[0]) / 100
    assert told == pytest.approx(least, abs=5e-5)


def test_fixed_weights_are_the_answer_where_limits_leave_no_other():
    weights = np.array([0.2, 0.5, 0.3])
    given = problem(market(1, 3, 100, sharpe=0.2), lower=weights, upper=weights, gross=1.0, slack=0.0)
    assert solve(given, replace(DEFAULT, max_drawdown=0.9)).weights.tolist() == weights.tolist()


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("sharpe_share", 1.0),
        ("sharpe_share", -0.1),
        ("cagr_scale", 0.0),
        ("max_drawdown", 0.0),
        ("max_drawdown", 1.0),
        ("max_drawdown", math.nan),
        ("ridge", 0.0),
        ("smallest", 1.0),
        ("smallest", -0.01),
    ],
)
def test_parameters_are_refused_by_name(key, bad):
    with pytest.raises(ValueError, match=f"{key}: expected .*got {bad!r}"):
        HybridObjective(**{key: bad})


def test_parameters_are_read_from_books():
    adapter = TypeAdapter(HybridObjective)
    assert adapter.validate_python({"max_drawdown": 0.1}) == HybridObjective(max_drawdown=0.1)
    with pytest.raises(ValidationError, match="max_drawndown"):
        adapter.validate_python({"max_drawndown": 0.1})


def test_a_program_tells_what_its_constraints_cost():
    # Closest to (2, 1) in the unit square with a sum of at most 1.5: (1, 0.5).
    quadratic, linear = 1e-4 * np.eye(2), -1e-4 * np.array([2.0, 1.0])
    rows, sides = np.vstack([np.eye(2), -np.eye(2), np.ones((1, 2))]), np.array([1.0, 1.0, 0.0, 0.0, 1.5])
    none = np.zeros((0, 2)), np.zeros(0)
    found = minimum(quadratic, linear, equal=none, below=(rows, sides))
    np.testing.assert_allclose(found.x, [1.0, 0.5], atol=1e-9)
    np.testing.assert_allclose(found.multipliers, [0.5e-4, 0, 0, 0, 0.5e-4], atol=1e-12)
    looser = minimise(quadratic, linear, equal=none, below=(rows, sides + 1e-3 * np.eye(5)[0]))
    np.testing.assert_allclose(looser, [1.001, 0.499], atol=1e-9)


def test_programs_that_scaling_spoils_are_solved_as_they_are():
    # The solver alone ends with MaxIterations on these.
    for seed in (288, 367, 421, 494):
        rng = np.random.default_rng([6, seed])
        scale = 10.0 ** rng.integers(-4, 1, 6)
        linear = -scale * rng.random(6) * 10.0 ** rng.integers(-2, 2)
        below = np.vstack([np.eye(6), -np.eye(6)]), np.concatenate([np.full(6, 2.0), np.zeros(6)])
        found = minimise(np.diag(scale), linear, equal=(np.ones((1, 6)), np.array([0.5])), below=below)
        inside = found > 1e-6
        slopes = scale * found + linear
        assert found.sum() == pytest.approx(0.5, abs=1e-9)
        np.testing.assert_allclose(slopes[inside], slopes[inside][0], atol=1e-9)
        assert (slopes[~inside] >= slopes[inside][0] - 1e-9).all()
