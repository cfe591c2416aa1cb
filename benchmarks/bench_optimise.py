"""The hybrid objective under its drawdown limit, against general solvers as one would call them.

Returns are synthetic: fat tails and a common factor. The peers are SLSQP and trust-constr of SciPy from equal weights,
with the gradients they make themselves. SLSQP gets Sharpe, growth and drawdown as NumPy functions of the weights;
trust-constr only finds the highest Sharpe with the same total, without the drawdown limit.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.targets.optimise.hybrid import HybridObjective, solve
from weights_pipeline.core.targets.optimise.problem import Problem
from weights_pipeline.core.targets.optimise.support import EXACT

GROSS, PERIODS = 2.3, 252
WINDOW, STEP, WINDOWS = 252, 63, 63
OBJECTIVE = HybridObjective(smallest=0.0)
SUPPORTED = HybridObjective(smallest=0.1)
PRECISION = 1e-8
"""Step of the objective at which SLSQP stops."""


def market(sessions: int, strategies: int) -> Floats:
    """Daily returns."""
    rng = np.random.default_rng(7)
    noise = 0.5 * rng.standard_t(4, (sessions, 1)) + rng.standard_t(4, (sessions, strategies))
    return np.maximum(0.004 * noise + rng.normal(3e-4, 2e-4, strategies), -0.5)


def problem(returns: Floats) -> Problem:
    """Weights from 0 to 1, gross up to 2.3, the rest in cash."""
    strategies = returns.shape[1]
    return Problem(
        returns=returns,
        lower=np.zeros(strategies),
        upper=np.ones(strategies),
        gross=GROSS,
        slack=GROSS,
        periods=PERIODS,
    )


def objective(returns: Floats, weights: Floats) -> float:
    """Return the objective."""
    portfolio = returns @ weights
    growth = np.expm1(PERIODS * np.log1p(np.maximum(portfolio, -0.99)).mean())
    share = OBJECTIVE.sharpe_share
    return float(share * portfolio.mean() / portfolio.std(ddof=1) + (1 - share) * growth / OBJECTIVE.cagr_scale)


def drawdown(returns: Floats, weights: Floats) -> float:
    """Return the maximum drawdown."""
    equity = np.cumprod(np.append(1.0, 1.0 + np.maximum(returns @ weights, -0.99)))
    return float((1.0 - equity / np.maximum.accumulate(equity)).max())


def slsqp(returns: Floats) -> float:
    """Objective that one run of SLSQP finds, scaled down to where the drawdown limit holds."""
    from scipy.optimize import minimize

    limit, strategies = OBJECTIVE.max_drawdown, returns.shape[1]
    constraints = [
        {"type": "ineq", "fun": lambda weights: GROSS - weights.sum()},
        {"type": "ineq", "fun": lambda weights: limit - drawdown(returns, weights)},
    ]
    found = minimize(
        lambda weights: -objective(returns, weights),
        np.full(strategies, 1 / strategies),
        method="SLSQP",
        bounds=[(0, 1)] * strategies,
        constraints=constraints,
        options={"ftol": PRECISION, "maxiter": 300},
    )
    weights = np.clip(found.x, 0, 1)
    while drawdown(returns, weights) > limit:
        weights *= 1 - 1e-6
    return objective(returns, weights)


def trust_constr(returns: Floats) -> float:
    """Objective at the highest Sharpe with the whole of gross, as trust-constr finds it."""
    from scipy.optimize import LinearConstraint, minimize

    strategies = returns.shape[1]
    mean, covariance = returns.mean(axis=0), np.cov(returns.T)
    found = minimize(
        lambda weights: -(mean @ weights) / np.sqrt(weights @ covariance @ weights),
        np.full(strategies, GROSS / strategies),
        method="trust-constr",
        bounds=[(0, 1)] * strategies,
        constraints=[LinearConstraint(np.ones((1, strategies)), GROSS, GROSS)],
    )
    return objective(returns, found.x)


def side_by_side(functions: list[Callable[[], object]], repeats: int) -> tuple[list[float], list[object]]:
    """Median wall times of calls that take turns, so that a busy machine slows all of them, and what they give."""
    results = [function() for function in functions]
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, own in zip(functions, times, strict=True):
            began = time.perf_counter()
            function()
            own.append(time.perf_counter() - began)
    return [statistics.median(own) for own in times], results


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results: medians in seconds, how many times ours a peer takes, and by how much its objective is short.

    Raises
    ------
    AssertionError
        SLSQP finds more than 1e-6 above ours.
    """
    results: list[dict[str, object]] = []

    def report(
        what: str, size: tuple[int, ...], ours: float, peer: str, theirs: float | None, short: float | None = None
    ) -> None:
        sessions, strategies = size
        result: dict[str, object] = {"what": what, "strategies": strategies, "sessions": sessions, "ours_s": ours}
        ratio = None if theirs is None else theirs / ours
        results.append(result | {"peer": peer, "peer_s": theirs, "times_ours": ratio, "peer_short": short})

    returns = market(2_449, 9)
    given = problem(returns)
    calls: list[Callable[[], object]] = [
        lambda: solve(given, OBJECTIVE).objective,
        lambda: slsqp(returns),
        lambda: trust_constr(returns),
    ]
    times, found = side_by_side(calls, 1 if quick else 15)
    best, other = (float(value) for value in found[:2])  # type: ignore[arg-type]
    assert other <= best * (1 + 1e-6), (other, best)
    report("one window", returns.shape, times[0], "SLSQP", times[1], 1 - other / best)
    report("one window", returns.shape, times[0], "trust-constr, Sharpe alone", times[2])

    wide = problem(market(500, 50) if quick else market(5_000, 200))
    times, _ = side_by_side([lambda: solve(wide, OBJECTIVE)], 1 if quick else 3)
    report("one wide window", wide.returns.shape, times[0], "none", None)

    count = 5 if quick else WINDOWS
    history = market(WINDOW + STEP * (count - 1), 9)
    windows = [problem(history[STEP * at : STEP * at + WINDOW]) for at in range(count)]
    times, _ = side_by_side([lambda: [solve(window, OBJECTIVE) for window in windows]], 1 if quick else 7)
    report(f"{count} windows", (WINDOW, 9), times[0], "none", None)

    for strategies, what in ((EXACT, "no weight small, best"), (EXACT + 1, "no weight small, greedy")):
        held = problem(market(WINDOW, strategies))
        times, _ = side_by_side([lambda held=held: solve(held, SUPPORTED)], 1 if quick else 7)  # type: ignore[misc]
        report(what, held.returns.shape, times[0], "none", None)
    return results
