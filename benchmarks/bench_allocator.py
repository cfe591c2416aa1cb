"""Time from portfolio returns to risk scalars, against the same definitions written down in pandas."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.regime import classify
from weights_pipeline.core.allocator.scalar import PROFILES, risk_scalar
from weights_pipeline.core.allocator.state import REQUIRED, allocator_state

SIZES = ((250, 12), (2_500, 12), (25_000, 50))
PANDAS_SESSIONS = 2_500
"""The pandas version is timed on at most so many sessions: its time is linear in them."""

Inputs = tuple[pd.Series, pd.Series, pd.DataFrame]


def book(sessions: int, strategies: int, gaps: float = 0.0) -> Inputs:
    """Portfolio, equity and components with a common factor and, optionally, gaps."""
    rng = np.random.default_rng(7)
    returns = rng.normal(2e-4, 0.01, (sessions, strategies)) + rng.normal(0.0, 0.004, (sessions, 1))
    index = pd.bdate_range("1925-01-01", periods=sessions)
    components = pd.DataFrame(returns, index=index, columns=[f"s{i:02d}" for i in range(strategies)])
    portfolio = components.mean(axis=1)
    return portfolio, (1.0 + portfolio).cumprod(), components.mask(rng.random(components.shape) < gaps)


def ours(portfolio: pd.Series, equity: pd.Series, components: pd.DataFrame) -> pd.Series:
    """Scalars by the steps of the chain, with the optional features."""
    state = allocator_state(portfolio, equity, components, trend_units=components, sleeves=components)
    return risk_scalar(classify(state)["regime"], PROFILES["low"])["scalar"]


def pandas_correlation(components: pd.DataFrame, window: int) -> pd.Series:
    """Mean off-diagonal correlation, one ``DataFrame.corr`` a window."""
    upper = np.triu(np.ones((len(components.columns),) * 2, dtype=bool), k=1)
    values = [
        np.nanmean(components.iloc[at - window : at].corr().to_numpy()[upper])
        for at in range(window, len(components) + 1)
    ]
    return pd.Series(values, index=components.index[window - 1 :])


def with_pandas(portfolio: pd.Series, equity: pd.Series, components: pd.DataFrame) -> pd.Series:
    """Scalars as one would write them down: rolling, corr and a loop over rows."""
    state = pd.DataFrame(index=portfolio.index)
    for window in (20, 60):
        state[f"port_rvol_{window}d"] = portfolio.rolling(window).std() * np.sqrt(252)
        state[f"corr_{window}d"] = pandas_correlation(components, window)
    state["vol_accel"] = state["port_rvol_20d"] / state["port_rvol_60d"]
    state["corr_shock"] = state["corr_20d"] - state["corr_60d"]
    state["dd_level"] = equity / equity.cummax().clip(lower=1.0) - 1.0
    state["dd_slope_10d"] = state["dd_level"].diff(10)
    state["trend_breadth_20d"] = (components.rolling(20).sum() > 0).mean(axis=1)
    sums = components.rolling(60).sum().abs()
    state["sleeve_concentration_60d"] = (sums.div(sums.sum(axis=1), axis=0) ** 2).sum(axis=1)
    state = state.dropna(subset=[*REQUIRED])

    names, regimes, current, stay = [*PROFILES["low"].map], [], -1, 0
    for _, row in state.iterrows():
        enter = _signals(row, 1.30, 0.10, -0.10, -0.06)
        score, shock, dd = sum(enter), enter[0] and enter[1], row["dd_level"]
        target = int(score >= 1)
        if score >= 2 or shock or dd <= -0.12:
            target = 2
        if score >= 3 or (shock and enter[3]) or dd <= -0.20:
            target = 3
        leaves = target < current and stay >= 5 and sum(_signals(row, 1.15, 0.05, -0.06, -0.03)) < current
        current, stay = (target, 1) if target > current or leaves else (current, stay + 1)
        regimes.append(names[current])
    targets = pd.Series(regimes, index=state.index).map(PROFILES["low"].map)
    return targets.ewm(alpha=0.25, adjust=False).mean().clip(0.25, 1.0)


def _signals(row: pd.Series, vol: float, corr: float, level: float, slope: float) -> list[bool]:
    return [
        row["vol_accel"] >= vol,
        row["corr_shock"] >= corr,
        row["dd_level"] <= level,
        row["dd_slope_10d"] <= slope,
    ]


def seconds(function: Callable[..., pd.Series], inputs: Inputs, repeats: int) -> float:
    """Median wall time of a call, after one that is not counted where there are several."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = perf_counter()
        function(*inputs)
        times.append(perf_counter() - start)
    return median(times[repeats > 1 :])


def run(quick: bool = False) -> list[dict[str, object]]:
    """Medians in seconds by size; ``pandas_on`` says on how many sessions pandas was timed.

    Raises
    ------
    AssertionError
        The two versions disagree by more than 1e-9 on the sessions both have computed.
    """
    rows: list[dict[str, object]] = []
    for sessions, strategies in SIZES[: 1 if quick else None]:
        for gaps in (0.0, 0.01) if sessions <= PANDAS_SESSIONS else (0.0,):
            inputs = book(sessions, strategies, gaps)
            head = (
                inputs[0].iloc[:PANDAS_SESSIONS],
                inputs[1].iloc[:PANDAS_SESSIONS],
                inputs[2].iloc[:PANDAS_SESSIONS],
            )
            pd.testing.assert_series_equal(
                ours(*head), with_pandas(*head), check_names=False, check_freq=False, rtol=0, atol=1e-9
            )
            large = sessions > PANDAS_SESSIONS
            rows.append(
                {
                    "sessions": sessions,
                    "strategies": strategies,
                    "gaps": gaps,
                    "ours": seconds(ours, inputs, 5 if large or quick else 25),
                    "pandas": seconds(with_pandas, head, 1 if large or sessions == PANDAS_SESSIONS or quick else 5),
                    "pandas_on": len(head[0]),
                }
            )
    return rows
