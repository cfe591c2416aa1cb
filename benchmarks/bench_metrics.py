"""Time rolling Calmar(252), Sharpe(90) and maximum drawdown(252) against empyrical-reloaded and pandas.

Medians of wall-clock seconds on one core, and the largest error of each library on a sample of windows
measured with plain loops and correctly rounded sums. Errors are relative to the reference, or to 0.01 where
that is larger. One session of the first strategy is an outlier of +900%, so that what a library carries over
from it shows.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import empyrical
import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.metrics.table import metrics_grid
from weights_pipeline.core.returns.history import ReturnHistory

SIZES = ((10, 2_520), (100, 2_520), (1_000, 5_040))
TABLES = ((12, 2_772, 1), (12, 2_772, 132), (1_000, 5_040, 1), (1_000, 5_040, 240))
YEAR, QUARTER, RISK_FREE = 252, 90, 0.045
OUTLIER = 300

Array = np.ndarray
Roll = Callable[[Array], Array]


def by_column(roll: Roll, returns: Array, window: int) -> Array:
    """Run a function of one strategy's returns on each; its results start with the first complete window."""
    out = np.full(returns.shape, np.nan)
    for i in range(returns.shape[1]):
        out[window - 1 :, i] = roll(np.ascontiguousarray(returns[:, i]))
    return out


def ours(metric: str, window: int) -> Roll:
    """One metric of every window, as a book measures it."""

    def roll(returns: Array) -> Array:
        rows, columns = returns.shape
        history = ReturnHistory(
            sessions=pd.bdate_range("2004-01-01", periods=rows),
            strategies=tuple(f"s{i:04d}" for i in range(columns)),
            returns=np.asfortranarray(returns),
            closed_lots=None,
            winning_lots=None,
            active=np.ones(returns.shape, dtype=np.bool_, order="F"),
        )
        days, lookback = history.sessions[window - 1 :], Lookback(window, "sessions")
        grid = metrics_grid(history, days, lookback, MetricParameters(risk_free=RISK_FREE), metrics=[metric])
        return np.vstack([np.full((window - 1, columns), np.nan), grid.measured[metric].value])

    return roll


def pandas_drawdown(returns: Array) -> Array:
    """Apply an anchored drawdown to every window."""

    def drawdown(window: Array) -> float:
        wealth = np.concatenate([[1.0], np.cumprod(1.0 + window)])
        return float(1.0 - (wealth / np.maximum.accumulate(wealth)).min())

    return pd.DataFrame(returns).rolling(YEAR).apply(drawdown, raw=True).to_numpy()


def pandas_sharpe(returns: Array) -> Array:
    """Divide rolling means by rolling standard deviations."""
    rolling = pd.DataFrame(returns).rolling(QUARTER)
    return ((rolling.mean() * 252 - RISK_FREE) / (rolling.std() * math.sqrt(252))).to_numpy()


def pandas_calmar(returns: Array) -> Array:
    """Divide rolling total returns by rolling drawdowns."""
    total = np.expm1(pd.DataFrame(np.log1p(returns)).rolling(YEAR).sum().to_numpy())
    return total / pandas_drawdown(returns)


def empyrical_drawdown(returns: Array) -> Array:
    """Roll empyrical's maximum drawdown, as a positive number."""
    return -by_column(lambda r: empyrical.roll_max_drawdown(r, window=YEAR), returns, YEAR)


def empyrical_sharpe(returns: Array) -> Array:
    """Roll empyrical's Sharpe ratio."""
    daily = RISK_FREE / 252
    return by_column(lambda r: empyrical.roll_sharpe_ratio(r, QUARTER, risk_free=daily), returns, QUARTER)


def empyrical_calmar(returns: Array) -> Array:
    """Divide empyrical's annual return of all windows by its rolling drawdown."""
    annual = by_column(lambda r: empyrical.annual_return(sliding_window_view(r, YEAR).T), returns, YEAR)
    return annual / empyrical_drawdown(returns)


def exact_drawdown(window: Array) -> float:
    """Measure one window with a plain loop."""
    wealth = peak = 1.0
    deepest = 0.0
    for r in window:
        wealth *= 1.0 + r
        peak = max(peak, wealth)
        deepest = max(deepest, 1.0 - wealth / peak)
    return deepest


def exact_sharpe(window: Array) -> float:
    """Measure one window with correctly rounded sums."""
    mean = math.fsum(window) / len(window)
    variance = math.fsum((r - mean) ** 2 for r in window) / (len(window) - 1)
    return (mean * 252 - RISK_FREE) / math.sqrt(variance * 252)


def exact_calmar(window: Array) -> float:
    """Measure one window with correctly rounded sums."""
    return math.expm1(math.fsum(math.log1p(r) for r in window)) / exact_drawdown(window)


MEASURES: dict[str, tuple[int, Callable[[Array], float], dict[str, Roll]]] = {
    "Calmar(252)": (
        YEAR,
        exact_calmar,
        {"ours": ours("calmar", YEAR), "empyrical": empyrical_calmar, "pandas": pandas_calmar},
    ),
    "Sharpe(90)": (
        QUARTER,
        exact_sharpe,
        {
            "ours": ours("sharpe", QUARTER),
            "empyrical": empyrical_sharpe,
            "pandas": pandas_sharpe,
        },
    ),
    "MDD(252)": (
        YEAR,
        exact_drawdown,
        {
            "ours": ours("max_drawdown", YEAR),
            "empyrical": empyrical_drawdown,
            "pandas": pandas_drawdown,
        },
    ),
}


def market(strategies: int, sessions: int) -> Array:
    """Return daily returns of independent strategies, shape (sessions, strategies)."""
    returns = np.random.default_rng(7).normal(0.0004, 0.012, (sessions, strategies))
    returns[OUTLIER, 0] = 9.0
    return returns


def timed(function: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def largest_error(measured: Array, returns: Array, window: int, exact: Callable[[Array], float]) -> float:
    """Return the largest error on the last windows of the first strategy and a spread over all."""
    rows, columns = measured.shape
    rng = np.random.default_rng(11)
    sample = [(t, 0) for t in range(OUTLIER + window, min(rows, OUTLIER + window + 50))]
    sample += [(int(rng.integers(window - 1, rows)), int(rng.integers(columns))) for _ in range(100)]
    errors = []
    for t, i in sample:
        reference = exact(returns[t - window + 1 : t + 1, i])
        errors.append(abs(measured[t, i] - reference) / max(abs(reference), 0.01))
    return max(errors)


def effort(library: str, strategies: int, quick: bool) -> tuple[int, int]:
    """Return how many strategies to run a library on (its seconds are scaled up from there) and how often."""
    if library == "ours":
        return strategies, 3 if quick else 15
    columns = {"empyrical": 2 if quick else 1_000, "pandas": 1 if quick else 10}[library]
    return min(strategies, columns), 1 if quick or strategies > 100 else 3


def run(quick: bool = False) -> list[dict[str, object]]:
    """Return one row per size, library and measure: seconds, ratio to ours, error, and how it was timed."""
    results: list[dict[str, object]] = []
    for strategies, sessions in SIZES[: 1 if quick else None]:
        returns = market(strategies, sessions)
        ours: list[float] = []
        for library in ("ours", "empyrical", "pandas"):
            columns, repeats = effort(library, strategies, quick)
            part = np.ascontiguousarray(returns[:, :columns])
            seconds, errors = [], []
            for window, exact, rolls in MEASURES.values():
                roll = partial(rolls[library], part)
                seconds.append(timed(roll, repeats) * strategies / columns)
                errors.append(largest_error(roll(), part, window, exact))
            seconds.append(sum(seconds))
            errors.append(max(errors))
            ours = ours or seconds
            results += [
                {
                    "strategies": strategies,
                    "sessions": sessions,
                    "measure": measure,
                    "library": library,
                    "seconds": seconds[k],
                    "times_ours": seconds[k] / ours[k],
                    "max_relative_error": errors[k],
                    "repeats": repeats,
                    "columns_run": columns,
                }
                for k, measure in enumerate((*MEASURES, "all three"))
            ]
    return results


def run_tables(quick: bool = False) -> list[dict[str, object]]:
    """Return the seconds of the table of all 12-month metrics, by size."""
    results: list[dict[str, object]] = []
    for strategies, sessions, as_of in TABLES[: 2 if quick else None]:
        lots = np.random.default_rng(3).poisson(0.3, (sessions, strategies))
        history = ReturnHistory(
            sessions=pd.bdate_range("2004-01-01", periods=sessions),
            strategies=tuple(f"s{i:04d}" for i in range(strategies)),
            returns=np.asfortranarray(market(strategies, sessions)),
            closed_lots=np.asfortranarray(lots),
            winning_lots=np.asfortranarray(lots // 2),
            active=np.asfortranarray(lots > 0),
        )
        days = history.sessions[np.linspace(sessions - 1, 260, as_of).astype(int)]
        grid = partial(metrics_grid, history, days, Lookback(12, "months"))
        seconds = timed(lambda grid=grid: grid().table(), 3 if quick else 9)
        results.append({"strategies": strategies, "sessions": sessions, "as_of": as_of, "seconds": seconds})
    return results
