"""The table of all metrics of all strategies, as of many sessions.

Scope: which windows are measured, where the build-up takes over, and where overrides take the place of measured
figures. Not here: the formulas (``measures``, ``starter``), the arithmetic of windows (``windows``), daily returns
(``core.returns``), and anything that turns a metric into a weight.

A metric at session d reads the sessions in (d − lookback, d] from the strategy's first activity on, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import (
    DEFAULT_PARAMETERS,
    LIQUID_CAPITAL,
    METRICS,
    REASONS,
    Measured,
    MetricParameters,
    WindowQuantities,
    calmar_of,
    share_of,
)
from weights_pipeline.core.metrics.starter import StarterMetrics, build_up
from weights_pipeline.core.metrics.windows import MOMENTS, SUM, WEALTH, squared_shortfall, window_statistic
from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.frequency import DAILY, MONTHS_PER_YEAR, Frequency
from weights_pipeline.core.returns.history import ReturnHistory

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MANUAL = "manual"
SOURCES = ("none", "live", "build_up", "starter", MANUAL)

OVERRIDABLE = ("annual_return", "max_drawdown", "calmar")
"""Metrics that a person may give in place of the measured ones."""

_KEY = ["as_of", "strategy", "metric", "lookback"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricGrid:
    """Metrics of many strategies as of many sessions.

    Attributes
    ----------
    as_of : DatetimeIndex, shape (A,)
        Sessions, ascending and unique.
    strategies : tuple of str, length S
        Sorted and unique.
    lookback : Lookback
    measured : mapping of str to Measured
        By metric: values and reasons of shape (A, S).
    source : mapping of str to ndarray of int, shape (A, S)
        By metric: code into `SOURCES`.
    """

    as_of: pd.DatetimeIndex
    strategies: tuple[str, ...]
    lookback: Lookback
    measured: Mapping[str, Measured]
    source: Mapping[str, NDArray[np.int8]]

    def table(self) -> pd.DataFrame:
        """One row per session, strategy and metric, ordered by them.

        Returns
        -------
        DataFrame
            Columns ``as_of``, ``strategy``, ``metric`` (e.g. ``calmar``), ``lookback`` (e.g. ``12m``), ``value`` (NaN
            is null), ``reason`` (one of `REASONS`, "" when measured) and ``source`` (live, build_up, starter; none
            where null).
        """
        metrics = sorted(self.measured)
        shape = (len(self.as_of), len(self.strategies), len(metrics))
        day, strategy, metric = (index.ravel() for index in np.indices(shape, dtype=np.int32))

        def stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
            return np.stack(parts, axis=-1).ravel()

        return pd.DataFrame(
            {
                "as_of": self.as_of.take(day),
                "strategy": texts(self.strategies, strategy),
                "metric": texts(metrics, metric),
                "lookback": texts([self.lookback.label], np.zeros_like(metric)),
                "value": stacked([self.measured[name].value for name in metrics]),
                "reason": texts(REASONS, stacked([self.measured[name].reason for name in metrics])),
                "source": texts(SOURCES, stacked([self.source[name] for name in metrics])),
            },
            copy=False,
        )


def metrics_grid(
    history: ReturnHistory,
    as_of: pd.DatetimeIndex,
    lookback: Lookback,
    parameters: MetricParameters = DEFAULT_PARAMETERS,
    *,
    frequency: Frequency = DAILY,
    metrics: Sequence[str] | None = None,
    strategies: Sequence[str] | None = None,
    starter: Mapping[str, StarterMetrics] | None = None,
    risk_free_daily: pd.Series | None = None,
    within: BoolArray | None = None,
) -> MetricGrid:
    """Compute metrics of every strategy at every as-of session.

    Parameters
    ----------
    history : ReturnHistory
        Must reach back over the lookback of the earliest as-of session, or to the first activity.
    as_of : DatetimeIndex, shape (A,)
        Sessions of the history; of monthly returns any days, which see the months that have ended by then.
    lookback : Lookback
        Window (d − lookback, d].
    parameters : MetricParameters
        Risk-free rate and null thresholds.
    frequency : Frequency
        How often returns are observed: what annualises, and what a lookback spans.
    metrics : sequence of str, optional
        Which ones; all of ``METRICS`` when left out, the liquid capital where volumes are known.
    strategies : sequence of str, optional
        Strategies to report, by default those of the history. One the history has never seen has no sessions.
    starter : mapping of str to StarterMetrics, optional
        With the 12-month lookback, a strategy with fewer than 12 months of data takes its annual return,
        maximum drawdown and Calmar from :func:`build_up`, however few its sessions and lots. Not used by
        other lookbacks.
    risk_free_daily : Series, optional
        Daily risk-free rate by session, in place of the annual one: its window mean is subtracted from the
        mean return, and each day's rate is that day's downside target.
    within : ndarray of bool, shape (T,), optional
        Sessions of the history that count, such as those of one market regime; all of them when left out. The
        others are taken out of the window as if they had never been, and what is left is never a full year.

    Returns
    -------
    MetricGrid

    Raises
    ------
    ValueError
        When an as-of day is not a session of the history, the daily risk-free rate misses a session, or the liquid
        capital is asked for of a history without volumes.
    """
    as_of = pd.DatetimeIndex(as_of.unique().sort_values()).as_unit(history.sessions.unit).rename(None)
    rows = frequency.rows(history.sessions, as_of)
    names = tuple(sorted(set(history.strategies if strategies is None else strategies)))
    starts = lookback.starts(history.sessions, as_of, frequency)
    w = _window_quantities(history, rows, starts, names, lookback, parameters, frequency, risk_free_daily, within)

    blend, blended = np.zeros(w.n.shape, dtype=np.bool_), dict[str, FloatArray]()
    if starter and lookback.is_one_year:
        blend, blended = _built_up(w, names, as_of, starter)

    def by_session(cells: NDArray[Any]) -> NDArray[Any]:
        # Windows run strategy by strategy, as the kernel likes them; tables run day by day.
        return np.ascontiguousarray(cells.reshape(len(names), len(rows)).T)

    incomplete = _incomplete(history, rows, starts, names)
    found, source = dict[str, Measured](), dict[str, NDArray[np.int8]]()
    if history.liquid is None and LIQUID_CAPITAL in (metrics or ()):
        raise ValueError(f"{LIQUID_CAPITAL}: needs the volumes of what was traded, of which the history has none")
    known = [name for name in METRICS if name != LIQUID_CAPITAL or history.liquid is not None]
    for name in known if metrics is None else metrics:
        measured = METRICS[name](w)
        origin = np.where(measured.reason == 0, SOURCES.index("live"), SOURCES.index("none"))
        if name in blended:
            measured = Measured(
                np.where(blend, blended[name], measured.value), np.where(blend, np.int8(0), measured.reason)
            )
            built = np.where(w.months == 0, SOURCES.index("starter"), SOURCES.index("build_up"))
            origin = np.where(blend, built, origin)
        if incomplete is not None:
            measured = Measured(
                np.where(incomplete, np.nan, measured.value),
                np.where(incomplete, np.int8(REASONS.index("ledger_incomplete")), measured.reason),
            )
            origin = np.where(incomplete, SOURCES.index("none"), origin)
        found[name] = Measured(by_session(measured.value), by_session(measured.reason))
        source[name] = by_session(origin.astype(np.int8))
    return MetricGrid(as_of=as_of, strategies=names, lookback=lookback, measured=found, source=source)


def overridden(measured: pd.DataFrame, figures: Mapping[str, StarterMetrics]) -> pd.DataFrame:
    """Metrics that a person gives of one date, in place of the measured ones.

    Parameters
    ----------
    measured : DataFrame
        Rows of :meth:`MetricGrid.table` of that date.
    figures : mapping of str to StarterMetrics
        Twelve-month figures by strategy; the ratio is taken as stated.

    Returns
    -------
    DataFrame
        Rows as those of `measured`, of all its strategies and of the metrics ``OVERRIDABLE`` alone, with the source
        ``manual``. A strategy without figures is null with the reason ``missing``.

    Raises
    ------
    ValueError
        Figures that were known only after the date.
    """
    rows = measured[measured["metric"].isin(OVERRIDABLE)].reset_index(drop=True)
    for strategy, given in sorted(figures.items()):
        if given.known_from is not None and (rows["as_of"] < pd.Timestamp(given.known_from)).any():
            raise ValueError(
                f"{strategy}: known_from: expected a day up to {rows['as_of'].min():%Y-%m-%d}, got {given.known_from}"
            )
    stated = {
        (strategy, metric): value
        for strategy, given in figures.items()
        for metric, value in zip(
            OVERRIDABLE, (given.twelve_month_return, given.twelve_month_max_drawdown, given.calmar_ratio), strict=True
        )
    }
    place = zip(rows["strategy"], rows["metric"], strict=True)
    value = pd.Series([stated.get(each, np.nan) for each in place], index=rows.index, dtype=np.float64)
    reason = texts(("", "missing"), value.isna().to_numpy().astype(np.int8))
    return rows.assign(value=value, reason=reason, source=MANUAL)


def with_overrides(measured: pd.DataFrame, overrides: pd.DataFrame) -> pd.DataFrame:
    """Metrics with some rows in the place of measured ones of the same date, strategy and metric."""
    if overrides.empty:
        return measured
    both = pd.concat([overrides[measured.columns], measured], ignore_index=True)
    return both.drop_duplicates(_KEY).sort_values(_KEY, ignore_index=True)


def _windows(
    history: ReturnHistory, rows: IntArray, starts: IntArray, names: tuple[str, ...], most_months: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, BoolArray]:
    """Column, start, stop and months of data of all windows, and whether returns had ended; shape (S·A,).

    Windows run strategy by strategy.
    """
    length, width = history.returns.shape
    place = pd.Index(history.strategies, dtype=object).get_indexer(pd.Index(names, dtype=object))
    # One column past the last stands for strategies never seen: never live, all windows empty.
    columns = np.where(place < 0, width, place).astype(np.int64)
    never = np.full((len(rows), 1), length)
    live_since = np.hstack([history.live_since(rows), never])[:, columns].T.ravel()
    stop = np.tile(rows + 1, len(names))
    start = np.minimum(np.maximum(np.tile(starts, len(names)), live_since), stop)

    month = np.append(history.sessions.year * MONTHS_PER_YEAR + history.sessions.month, 0)
    months = np.minimum(month[stop - 1] - month[live_since] + 1, most_months)
    column = np.repeat(columns, len(rows))
    ended = (live_since == stop) & (np.append(history.first_live, length)[column] < stop)
    return column, start, stop, np.where(live_since < stop, months, 0), ended


def _incomplete(history: ReturnHistory, rows: IntArray, starts: IntArray, names: tuple[str, ...]) -> BoolArray | None:
    """Whether a window has a session in which a position is not known, shape (S·A,); None where all are known."""
    if history.unknown is None:
        return None
    column = pd.Index(history.strategies, dtype=object).get_indexer(pd.Index(names, dtype=object))
    # Also of sessions before its first return: what was lost may have been its first fill.
    before = np.concatenate([np.zeros((1, len(history.strategies)), dtype=np.int64), history.unknown.cumsum(axis=0)])
    found: BoolArray = (before[rows + 1] > before[starts])[:, column] & (column >= 0)
    return found.T.ravel()


def _window_quantities(
    history: ReturnHistory,
    rows: IntArray,
    starts: IntArray,
    names: tuple[str, ...],
    lookback: Lookback,
    parameters: MetricParameters,
    frequency: Frequency,
    risk_free_daily: pd.Series | None,
    within: BoolArray | None,
) -> WindowQuantities:
    """Measure the windows of all strategies at all as-of rows, strategy by strategy, shape (S·A,)."""
    per_year = frequency.per_year
    column, start, stop, months, ended = _windows(history, rows, starts, names, lookback.full_months(frequency))
    if within is None:
        first = int(start.min(initial=len(history.sessions)))
        used: slice | IntArray = slice(first, int(stop.max(initial=0)))
        start, stop = start - first, stop - first
    else:
        used = np.flatnonzero(within)
        counted = np.concatenate([[0], np.cumsum(within)])
        start, stop = counted[start], counted[stop]
    n = stop - start
    returns, active = history.returns[used], history.active[used]

    if risk_free_daily is None:
        rate = parameters.session_risk_free(per_year)
        daily_rate, risk_free = np.full(len(returns), rate), np.full(n.shape, per_year * rate)
    else:
        daily_rate = _aligned(risk_free_daily, history.sessions[used])
        mean_rate = window_statistic(MOMENTS, daily_rate[:, None], np.zeros_like(column), start, stop)["mean"]
        risk_free = per_year * mean_rate

    active_days = _count(active, column, start, stop)
    moments = window_statistic(MOMENTS, returns, column, start, stop)
    calendar_mean = moments["mean"]
    shortfall = squared_shortfall(returns, daily_rate[:, None])
    if parameters.active_days_only:
        active_start = _count(active, column, np.zeros_like(start), start)
        sample = (column, active_start, active_start + active_days)
        observations, periods = active_days, per_year * share_of(active_days, n)
        moments = window_statistic(MOMENTS, _active_rows(returns, active), *sample)
        shortfall = _active_rows(shortfall, active)
    else:
        sample = (column, start, stop)
        observations, periods = n, np.full(n.shape, float(per_year))

    # A strategy never seen has closed no lots, unless nobody has any.
    counted = np.append(history.counted, history.counted.any())[column]
    closed_lots, winning_lots = (
        np.full(n.shape, np.nan) if lots is None else np.where(counted, _count(lots[used], column, start, stop), np.nan)
        for lots in (history.closed_lots, history.winning_lots)
    )
    return WindowQuantities(
        n=n,
        months=months,
        observations=observations,
        periods=periods,
        risk_free=risk_free,
        one_year=(months == MONTHS_PER_YEAR) & lookback.is_one_year & (within is None),
        active_days=active_days,
        active_sum=window_statistic(SUM, np.where(active, returns, 0.0), column, start, stop)["total"],
        closed_lots=closed_lots,
        winning_lots=winning_lots,
        liquid_capital=_least(history.liquid, used, column, start, stop),
        insufficient=(n < parameters.sessions_needed(lookback, frequency)) | (closed_lots < parameters.min_closed_lots),
        ended=ended,
        per_year=per_year,
        min_volatility=parameters.min_volatility,
        downside_ss=window_statistic(SUM, shortfall, *sample)["total"],
        calendar_mean=calendar_mean,
        **moments,
        **window_statistic(WEALTH, returns, column, start, stop),
    )


def _built_up(
    w: WindowQuantities, names: tuple[str, ...], as_of: pd.DatetimeIndex, starter: Mapping[str, StarterMetrics]
) -> tuple[BoolArray, dict[str, FloatArray]]:
    """Return where the build-up applies, shape (S·A,), and what it gives there, by metric."""
    figures = np.full((len(names), len(as_of), 2), np.nan)
    for i, name in enumerate(names):
        if (given := starter.get(name)) is not None:
            known = as_of >= pd.Timestamp(given.known_from or as_of.min())
            figures[i, known] = given.twelve_month_return, given.twelve_month_max_drawdown
    starter_return, starter_drawdown = figures.reshape(-1, 2).T
    annual, drawdown = build_up(starter_return, starter_drawdown, w.months, w.total_return, w.max_drawdown)
    applies = ~np.isnan(starter_return) & (w.months < MONTHS_PER_YEAR) & ~w.ended
    calmar, *_ = calmar_of(annual, drawdown)
    return applies, {"annual_return": annual, "max_drawdown": drawdown, "calmar": calmar}


def _count(flags: NDArray[np.generic], column: IntArray, start: IntArray, stop: IntArray) -> IntArray:
    """Sum whole numbers over windows, shape (K,); exact, so counts before two rows may be subtracted."""
    used = np.zeros(len(flags) + 1, dtype=np.bool_)
    used[start] = used[stop] = used[0] = used[-1] = True
    edges = np.flatnonzero(used)
    before = np.zeros((len(edges), flags.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.add.reduceat(flags, edges[:-1], axis=0, dtype=np.int64), axis=0, out=before[1:, :-1])
    place = used.cumsum() - 1
    counts: IntArray = before[place[stop], column] - before[place[start], column]
    return counts


def _least(
    values: FloatArray | None, used: slice | IntArray, column: IntArray, start: IntArray, stop: IntArray
) -> FloatArray:
    """Least known value of each window, shape (K,); NaN where there is none."""
    if values is None:
        return np.full(column.shape, np.nan)
    padded = np.asfortranarray(np.pad(values[used], ((0, 0), (0, 1)), constant_values=np.nan))
    least = [np.fmin.reduce(padded[a:b, at], initial=np.inf) for at, a, b in zip(column, start, stop, strict=True)]
    found = np.array(least, dtype=np.float64)
    return np.where(np.isinf(found), np.nan, found)


def _active_rows(values: FloatArray, active: BoolArray) -> FloatArray:
    """Move the active rows of each column to its top, in order."""
    rows, columns = np.nonzero(active)
    packed = np.zeros_like(values)
    packed[active.cumsum(axis=0)[rows, columns] - 1, columns] = values[rows, columns]
    return packed


def _aligned(rate: pd.Series, sessions: pd.DatetimeIndex) -> FloatArray:
    aligned = rate.reindex(sessions).to_numpy(dtype=np.float64)
    bad = ~np.isfinite(aligned)
    if bad.any():
        raise ValueError(
            "risk_free_daily: expected a finite rate for every session,"
            f" none on {sessions[int(np.argmax(bad))]:%Y-%m-%d}"
        )
    return aligned
