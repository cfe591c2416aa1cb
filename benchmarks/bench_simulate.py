"""Whole histories of policies in memory, against the same policies written down in pandas.

Returns are synthetic: fat tails and a common factor; the grid has the size of the sample. The pandas version is timed
on two years of the same history, after its first year, and scaled by rebalances, as its time is linear in them; both
must agree from the first month to the last of these.
"""

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.bench_allocator import with_pandas
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import grid
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt

PANDAS_MONTHS = slice(12, 36)
"""Rebalances that the pandas version is timed on: two years of them, with full windows."""

GRID = {
    "alpha": (0.1, 0.25, 0.5, 0.75, 1.0),
    "lookback": ("6m", "12m"),
    "limits": ((0.5, 2.0), (0.25, 3.0), (0.8, 1.5), (0.0, 4.0)),
    "rate": (0.05, 0.1, 0.25, 0.5, 1.0),
}


def market(strategies: int, months: int) -> tuple[pd.DataFrame, pd.DatetimeIndex, pd.DatetimeIndex]:
    """Daily returns, the last session of each month, and a calendar that reaches past them; 21 sessions a month."""
    rng, length = np.random.default_rng(7), 21 * months
    calendar = pd.bdate_range("2004-01-01", periods=length + 1).as_unit("us")
    values = 0.006 * rng.standard_t(3, (length, strategies)) + 0.002 * rng.standard_t(3, (length, 1))
    names = [f"s{i:04d}" for i in range(strategies)]
    returns = pd.DataFrame(np.clip(values + 3e-4, -0.5, 0.5), index=calendar[:-1], columns=names)
    return returns, calendar[20:-1:21], calendar


def book(strategies: int, overlay: AllocatorParameters | None = None) -> Policy:
    """Equal base weights under a Calmar tilt."""
    base = {f"s{i:04d}": 1 / strategies for i in range(strategies)}
    return Policy(base=base, method=CalmarTilt(), rate=0.1, overlay=overlay)


def points() -> list[Policy]:
    """Policies of the grid."""
    one = book(16, AllocatorParameters())
    return [
        replace(one, rate=rate, limits=Limits(floor=floor, cap=cap), method=CalmarTilt(alpha=alpha, lookback=lookback))
        for alpha, lookback, (floor, cap), rate in itertools.product(*GRID.values())
    ]


def in_pandas(returns: pd.DataFrame, as_of: pd.DatetimeIndex, policy: Policy) -> tuple[pd.DataFrame, pd.Series]:
    """Final weights and traded returns of one policy as one would write them down: a loop over rebalances."""
    method, limits = policy.method, policy.limits
    assert isinstance(method, CalmarTilt)
    months = int(str(method.lookback).removesuffix("m"))
    base = pd.Series(policy.base)
    weights, rows = base, {}
    for date in as_of:
        window = returns.loc[date - pd.DateOffset(months=months) + pd.Timedelta(days=1) : date]
        wealth = (1.0 + window).cumprod()
        drawdown = (1.0 - wealth / wealth.cummax().clip(lower=1.0)).max()
        annual = wealth.iloc[-1] - 1.0
        live = (date.year - returns.index[0].year) * 12 + date.month - returns.index[0].month + 1
        if months < 12 or live < 12:
            annual = (1.0 + annual) ** (252 / len(window)) - 1.0
        tilt = pd.Series(1.0, index=base.index)
        if len(window) >= min(60, 7 * months):
            calmar = annual / drawdown
            anchor = max(calmar.median(), method.anchor_floor)
            tilt = ((calmar.clip(lower=0.0) / anchor) ** method.alpha).clip(limits.floor, limits.cap)
        tilted, floors, caps = (base * tilt).to_numpy(), limits.floor * base.to_numpy(), limits.cap * base.to_numpy()
        low, high = 0.0, limits.cap / max(tilt.min(), 1e-3)
        for _ in range(60):
            scale = (low + high) / 2
            target = np.clip(scale * tilted, floors, caps)
            low, high = (low, scale) if target.sum() > policy.gross else (scale, high)
        weights = weights + policy.rate * (target - weights)
        rows[date] = weights
    effective = returns.index[returns.index.get_indexer(as_of[:-1]) + 1]
    realized = pd.DataFrame(rows).T
    in_force = realized.iloc[:-1].set_axis(effective).reindex(returns.index, method="ffill").loc[effective[0] :]
    portfolio = (in_force * returns.loc[effective[0] :]).sum(axis=1)
    if policy.overlay is None:
        return realized, portfolio
    scalars = with_pandas(portfolio, (1.0 + portfolio).cumprod(), returns.loc[effective[0] :])
    final = realized.mul(scalars.reindex(as_of).fillna(1.0), axis=0)
    in_force = final.iloc[:-1].set_axis(effective).reindex(returns.index, method="ffill").loc[effective[0] :]
    return final, (in_force * returns.loc[effective[0] :]).sum(axis=1)


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results: medians in seconds, and how many times as long pandas takes.

    Raises
    ------
    AssertionError
        The two versions differ by more than 1e-9 in a weight or a return.
    """
    overlay = AllocatorParameters()
    cases = [
        ("calmar tilt", 1_000, 240, [book(1_000)]),
        ("calmar tilt, overlay", 100, 240, [book(100, overlay)]),
        ("grid of calmar tilts, overlay", 16, 132, points()),
    ]
    if quick:
        cases = [("calmar tilt, overlay", 16, 40, [book(16, overlay)]), ("grid", 16, 40, points()[::50])]
    results: list[dict[str, object]] = []
    for what, strategies, months, policies in cases:
        returns, as_of, calendar = market(strategies, months)
        history = ReturnHistory.from_arrays(returns.to_numpy(), returns.index, list(returns.columns))
        ours = seconds(lambda: deque(grid(history, as_of, calendar, policies), 0), 1 if quick else 5)  # noqa: B023

        head, dates = returns.loc[: as_of[PANDAS_MONTHS][-1]], as_of[: PANDAS_MONTHS.stop]
        part = ReturnHistory.from_arrays(head.to_numpy(), head.index, list(head.columns))
        some = policies[:: max(1, len(policies) // 4)]
        for policy, found in zip(some, grid(part, dates, calendar, some), strict=True):
            final, traded = in_pandas(head, dates, policy)
            np.testing.assert_allclose(found.final, final, rtol=0, atol=1e-9)
            np.testing.assert_allclose(found.traded, traded, rtol=0, atol=1e-9)
        timed = dates[PANDAS_MONTHS]
        peer = seconds(lambda: in_pandas(head, timed, policies[0]), 1 if quick else 3)  # noqa: B023
        scaled = peer * len(as_of) / len(timed) * len(policies)
        results.append(
            {
                "what": what,
                "strategies": strategies,
                "sessions": len(returns),
                "rebalances": len(as_of),
                "policies": len(policies),
                "ours_s": ours,
                "pandas_s": scaled,
                "times_ours": scaled / ours,
                "pandas_on": f"{len(timed)} rebalances of 1 policy, scaled",
            }
        )
    return results
