"""Policies side by side: the same sessions, the same rebalances, out of sample only, after fees.

Scope: the walk-forward windows, what each policy earns in them, and the check that all have seen the same. Not here:
formulas of figures (``metrics.measures``), how weights come about (``simulate``), and a choice between policies: the
best of many has been fitted to the sessions on which they were compared.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from weights_pipeline.core.allocator.overlay import INSUFFICIENT, performance
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import REASONS, MetricParameters
from weights_pipeline.core.metrics.table import metrics_grid
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.costs import earned
from weights_pipeline.core.study.simulate import Simulation, grid
from weights_pipeline.core.targets.normalise import Floats
from weights_pipeline.core.verify import Finding

METRIC_OF: Mapping[str, str] = MappingProxyType(
    {
        "cagr": "annual_return",
        "volatility": "volatility",
        "sharpe": "sharpe",
        "max_drawdown": "max_drawdown",
        "calmar": "calmar",
    }
)
"""Figures of a comparison that are metrics of the portfolio's returns, and which ones."""

FEES = Costs(fee=0.001)
"""Costs where none are named: 10 basis points of weight traded."""

_REBALANCE = ["method", "window", "as_of", "effective_from"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What methods held and earned on the same out-of-sample sessions.

    Attributes
    ----------
    windows : DataFrame
        See :func:`~weights_pipeline.core.study.comparison.windows`.
    weights : DataFrame
        One row per method, window and strategy, methods in the order given: ``method``, ``window``, ``as_of`` (last
        session whose data the weight reads), ``effective_from`` (first session at it), ``strategy``, ``weight`` (final:
        times the risk scalar of the rebalance where the overlay is enabled).
    returns : DataFrame, shape (sessions of all windows, methods)
        Daily returns after fees; index ``session``, columns ``method``.
    table : DataFrame
        One row per method, in the order given, over the sessions of all windows and after fees:

        ====================== =====================================================================================
        ``method``             name
        ``sessions``           how many, ``first`` and ``last`` of them
        ``cagr``               Π(1 + r)^(252/n) − 1
        ``volatility``         std (ddof = 1) · √252
        ``sharpe``             (mean · 252 − rf) / volatility
        ``max_drawdown``       max over t of 1 − E_t / max_{s≤t} E_s, E anchored at 1.0; a positive number
        ``calmar``             cagr / max_drawdown
        ``cagr_before_fees``   cagr of the same weights before costs
        ``worst_month``        smallest compounded return of a calendar month, whole or not
        ``mean_gross``         mean over sessions of the sum of the weights in force
        ``turnover_per_year``  one-way, ½·Σ|Δw| of all windows · 252/n, building the book from cash included
        ``fees_per_year``      all costs of all windows · 252/n, a fraction of capital
        ``nulls``              what is null and why, such as ``calmar: no_drawdown``; empty where nothing is
        ====================== =====================================================================================

        Worst month and mean gross are never null. All other figures are below 60 sessions (``insufficient``), and by
        the null rules of :mod:`~weights_pipeline.core.metrics.measures`.
    """

    windows: pd.DataFrame
    weights: pd.DataFrame
    returns: pd.DataFrame
    table: pd.DataFrame


def windows(sessions: pd.DatetimeIndex, train: int = 252, test: int = 63) -> pd.DataFrame:
    """Split sessions by date into what is known and what comes next, window after window.

    The first ``train`` sessions are in sample of window 0 and the ``test`` sessions after them out of sample; each next
    window lies ``test`` sessions later. So every session after the first ``train`` is out of sample in exactly one
    window, and none is both in and out of sample of the same one.

    Parameters
    ----------
    sessions
        Ascending, more than ``train``.
    train, test
        Sessions in and out of sample of a window, at least 1.

    Returns
    -------
    DataFrame
        ``window`` (from 0), ``train_first``, ``train_last`` (the as-of session), ``test_first``, ``test_last`` and
        ``sessions`` out of sample: ``test``, or fewer in the last window, where the sessions end.

    Raises
    ------
    ValueError
        Sessions that do not ascend or are too few, a length below 1.
    """
    for name, length in (("train", train), ("test", test)):
        if length < 1:
            raise ValueError(f"{name}: expected at least 1 session, got {length}")
    if not (sessions.is_monotonic_increasing and sessions.is_unique):
        raise ValueError("sessions: expected ascending and unique days")
    if len(sessions) <= train:
        raise ValueError(f"sessions: expected more than the {train} in sample of the first window, got {len(sessions)}")
    days = sessions.as_unit("us").rename(None)
    start = np.arange(train, len(days), test)
    end = np.minimum(start + test, len(days))
    return pd.DataFrame(
        {
            "window": np.arange(len(start)),
            "train_first": days[start - train],
            "train_last": days[start - 1],
            "test_first": days[start],
            "test_last": days[end - 1],
            "sessions": end - start,
        }
    )


def compare(
    history: ReturnHistory,
    sessions: pd.DatetimeIndex,
    policies: Mapping[str, Policy],
    *,
    train: int = 252,
    test: int = 63,
    costs: Costs = FEES,
    drift: bool = False,
    risk_free: float = 0.0,
    market_regimes: pd.Series | None = None,
) -> Comparison:
    r"""Run policies over the same windows and judge each by what it earned out of sample, after fees.

    Every policy rebalances on the as-of session of each window, as :func:`~weights_pipeline.core.study.simulate.grid`
    has it: from its base weights on, at its own rate and inside its limits, reading its own lookback up to that
    session. The weights are in force throughout the window, constant or drifting. On its first session a method pays
    :math:`\mathrm{fee} \cdot \sum_i |w_i - w_i^{\mathrm{before}}|` of capital, for what it buys and for what it sells;
    in window 0, before which it holds cash, for the whole book. Of other costs, and of drift, see
    :func:`~weights_pipeline.core.study.costs.earned`. A strategy that is not live earns 0, and so does cash.

    Parameters
    ----------
    history
        Daily returns of the strategies. It may begin before ``sessions``, for a lookback longer than ``train``; what
        lies after them is not read.
    sessions
        Sessions of the history, one after the other, to split into windows.
    policies
        By name of the method; all over the same strategies.
    train, test
        See :func:`windows`.
    costs
        What trading and borrowing cost.
    drift
        Whether weights drift with returns through a window, in place of being constant.
    risk_free
        Annual risk-free rate of the Sharpe ratio, a fraction.
    market_regimes
        Market regime by session, for an ensemble.

    Returns
    -------
    Comparison
        Nothing of a method depends on which others there are.

    Raises
    ------
    ValueError
        No policy, policies over different strategies, an overlay that trades daily, sessions that the history does not
        have one after the other, a cost of another strategy; a policy that cannot be run, with the name of the method
        and the window in which it fails; a return of a method that is not above −1.
    """
    _require(policies, costs)
    frequency = next(iter(policies.values())).frequency
    parameters = MetricParameters(risk_free=risk_free, min_closed_lots=0, min_sessions=frequency.enough)
    split = windows(sessions, train, test)
    place = history.sessions.get_indexer(sessions)
    if (place < 0).any() or (np.diff(place) != 1).any():
        raise ValueError("sessions: expected sessions of the history, one after the other, got others or a gap")
    simulations = _simulations(history, sessions, policies, split, market_regimes)

    tested = history.sessions[place[train:]]
    found = {
        name: earned(
            each.final,
            np.arange(0, len(tested), test),
            history.of(each.strategies)[place[train:]],
            each.strategies,
            costs,
            drift=drift,
            per_year=frequency.per_year,
        )
        for name, each in simulations.items()
    }
    index = tested.as_unit("us").rename("session")
    before, after = (
        pd.DataFrame({name: getattr(each, side) for name, each in found.items()}, index).rename_axis(columns="method")
        for side in ("before", "after")
    )

    worst = {name: performance(after[name], name)["worst_month"] for name in simulations}
    net, gross = (_figures(returns, parameters, frequency) for returns in (after, before))
    enough = len(tested) >= frequency.enough
    a_year, reason = (frequency.per_year / len(tested), "") if enough else (np.nan, INSUFFICIENT)
    rows = []
    for name, each in simulations.items():
        # Constant through a window, so that each counts with its sessions.
        by_window = each.final.sum(axis=1) * split["sessions"].to_numpy()
        held = math.fsum(found[name].gross if drift else by_window) / len(tested)
        moved = math.fsum(found[name].traded)
        figures = net[name] | {
            "cagr_before_fees": gross[name]["cagr"],
            "worst_month": worst[name],
            "mean_gross": (held, ""),
            "turnover_per_year": (moved / 2 * a_year, reason),
            "fees_per_year": (found[name].paid * a_year, reason),
        }
        rows.append(
            {"method": name, "sessions": len(tested), "first": after.index[0], "last": after.index[-1]}
            | {figure: value for figure, (value, _) in figures.items()}
            | {"nulls": "; ".join(f"{figure}: {why}" for figure, (_, why) in figures.items() if why)}
        )
    return Comparison(
        windows=split,
        weights=pd.concat([_weights(name, each) for name, each in simulations.items()], ignore_index=True),
        returns=after,
        table=pd.DataFrame(rows),
    )


def same_sessions(windows: pd.DataFrame, weights: pd.DataFrame, returns: pd.DataFrame) -> Finding:
    """Every method was run in the same windows and judged on the same sessions: all those of the windows, no others.

    Parameters
    ----------
    windows, weights, returns
        As in :class:`Comparison`; a session that a method lacks is a null.

    Returns
    -------
    Finding
        Offending rows: ``method``, ``window`` (−1 outside of all), ``session`` (the as-of session where weights are
        wrong, the first one where all methods lack sessions) and ``problem``. Not passed where there is no method.
    """
    days = pd.DatetimeIndex(returns.index)
    judged = [days[(days >= first) & (days <= last)] for first, last in _rows(windows, "test_first", "test_last")]
    dates: dict[tuple[str, int], list[tuple[pd.Timestamp, pd.Timestamp]]] = {}
    for name, window, *pair in _rows(weights.drop_duplicates(_REBALANCE), *_REBALANCE):
        dates.setdefault((name, window), []).append((pair[0], pair[1]))
    methods = list(dict.fromkeys([*weights["method"], *returns.columns]))
    rows = list[tuple[str, int, pd.Timestamp, str]]()
    for name in methods:
        left = days[returns[name].notna().to_numpy()] if name in returns else days[:0]
        for (window, as_of, first, count), inside in zip(
            _rows(windows, "window", "train_last", "test_first", "sessions"), judged, strict=True
        ):
            rows += [(name, window, day, "no return") for day in inside.difference(left)]
            left = left.difference(inside)
            if len(inside) != count:
                rows.append((name, window, first, f"{len(inside)} of {count} sessions"))
            if (found := dates.pop((name, window), [])) != [(as_of, first)]:
                rows.append((name, window, as_of, "weights of other sessions" if found else "no weights"))
        rows += [(name, -1, day, "return outside of all windows") for day in left]
    rows += [(name, -1, as_of, "weights of no window") for (name, _), pairs in dates.items() for as_of, _ in pairs]
    named = ", ".join(sorted({name for name, *_ in rows}))
    return Finding(
        passed=len(methods) > 0 and not rows,
        value=float(len(rows)),
        limit=0.0,
        summary=f"{len(methods)} methods in {len(windows)} windows on {len(days)} sessions; "
        + (f"{len(rows)} differences, of {named}" if named else "the same for all"),
        offending=pd.DataFrame(rows, columns=["method", "window", "session", "problem"]),
    )


def _rows(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Rows of some columns of a table."""
    return table[list(columns)].itertuples(index=False, name=None)


def _require(policies: Mapping[str, Policy], costs: Costs) -> None:
    if not policies:
        raise ValueError("policies: expected at least one, got none")
    first, *others = policies
    costs.require_known(policies[first].strategies)
    for name in others:
        if odd := sorted(set(policies[name].base) ^ set(policies[first].base)):
            raise ValueError(f"policies: expected the same strategies, {first} and {name} do not share {odd}")
        if policies[name].frequency != policies[first].frequency:
            raise ValueError(f"policies: expected one frequency of returns, {first} and {name} differ")
    for name, policy in policies.items():
        if policy.overlay is not None and policy.overlay.enabled and policy.overlay.apply == "daily":
            raise ValueError(f"{name}: expected weights that stay the same through a window, its overlay trades daily")


def _simulations(
    history: ReturnHistory,
    sessions: pd.DatetimeIndex,
    policies: Mapping[str, Policy],
    split: pd.DataFrame,
    market_regimes: pd.Series | None,
) -> dict[str, Simulation]:
    """Simulations by method; an error says which method failed, and in which window."""
    as_of, last = pd.DatetimeIndex(split["train_last"]), pd.DatetimeIndex(split["test_last"])

    def run(chosen: Sequence[Policy], count: int) -> list[Simulation]:
        known = _until(history, last[count - 1])
        return list(grid(known, as_of[:count], sessions, chosen, market_regimes=market_regimes))

    def fails(name: str, count: int) -> bool:
        try:
            run([policies[name]], count)
        except ValueError:
            return True
        return False

    try:
        return dict(zip(policies, run(list(policies.values()), len(as_of)), strict=True))
    except ValueError as error:
        # No window sees a later one, so windows fail from some count of them on.
        name = next(name for name in policies if fails(name, len(as_of)))
        window = bisect_left(range(1, len(as_of)), True, key=lambda count: fails(name, count))
        raise ValueError(f"{name}, window {window}, as of {as_of[window]:%Y-%m-%d}: {error}") from error


def _until(history: ReturnHistory, last: pd.Timestamp) -> ReturnHistory:
    """History up to a session."""
    end = int(history.sessions.searchsorted(last, side="right"))
    return replace(
        history,
        sessions=history.sessions[:end],
        returns=history.returns[:end],
        closed_lots=None if history.closed_lots is None else history.closed_lots[:end],
        winning_lots=None if history.winning_lots is None else history.winning_lots[:end],
        active=history.active[:end],
    )


def traded_weight(weights: Floats) -> Floats:
    """Σ|Δw| of each date, shape (A,), the first one from cash; ``weights`` of shape (A, S), without nulls."""
    return np.array([math.fsum(row) for row in np.abs(np.diff(weights, axis=0, prepend=0.0)).tolist()])


def _weights(name: str, simulation: Simulation) -> pd.DataFrame:
    """Rows of ``Comparison.weights`` of one method."""
    window, strategy = (index.ravel() for index in np.indices(simulation.final.shape))
    return pd.DataFrame(
        {
            "method": texts([name], np.zeros_like(window)),
            "window": window,
            "as_of": simulation.as_of.as_unit("us")[window],
            "effective_from": simulation.effective_from[window],
            "strategy": texts(simulation.strategies, strategy),
            "weight": simulation.final.ravel(),
        }
    )


def _figures(
    returns: pd.DataFrame, parameters: MetricParameters, frequency: Frequency
) -> dict[str, dict[str, tuple[float, str]]]:
    """Value and reason of each figure of ``METRIC_OF``, by method."""
    found = metrics_grid(
        ReturnHistory.from_arrays(returns.to_numpy(), pd.DatetimeIndex(returns.index), list(returns.columns)),
        pd.DatetimeIndex(returns.index[-1:]),
        Lookback(len(returns), "sessions"),
        parameters,
        frequency=frequency,
        metrics=tuple(METRIC_OF.values()),
    )
    return {
        name: {
            figure: (float(found.measured[metric].value[0, column]), REASONS[found.measured[metric].reason[0, column]])
            for figure, metric in METRIC_OF.items()
        }
        for column, name in enumerate(found.strategies)
    }
