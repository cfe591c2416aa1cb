"""Reference portfolio and allocator state: what the book itself has been doing lately.

Here belong the unscaled reference portfolio, its sleeve contributions and the state features: volatility,
drawdown, correlation, breadth and concentration. Here do not belong thresholds, regimes and scalars
(:mod:`.regime`, :mod:`.scalar`), nor the metrics of single strategies.

Every rolling value is the same sequence of element-wise operations on the content of its own window, with
sums taken oldest session first and columns in the order of their names. Hence it depends neither on where the
loaded history begins or ends, nor on the order of the columns, nor on columns that are left out: not by a
single bit. Library reductions (pairwise sums, BLAS products, online rolling updates) do not promise that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

REQUIRED = (
    "port_rvol_20d",
    "port_rvol_60d",
    "vol_accel",
    "dd_level",
    "dd_slope_10d",
    "corr_20d",
    "corr_60d",
    "corr_shock",
)
BREADTH, CONCENTRATION = OPTIONAL = ("trend_breadth_20d", "sleeve_concentration_60d")

FAST, SLOW, SLOPE = 20, 60, 10
WARM_UP = SLOW - 1
SESSIONS_PER_YEAR = 252
MIN_STD = 1e-10

# Cells a block of windows may hold, so that a handful of such arrays stay in cache. It never changes a value.
_BLOCK_CELLS = 32_768

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_Values = TypeVar("_Values", pd.Series, pd.DataFrame)


@dataclass(frozen=True, kw_only=True)
class ReferencePortfolio:
    """The book at its realised weights, unscaled, so that the overlay never feeds back on itself.

    Attributes
    ----------
    returns : Series, shape (sessions,)
        Σ w_i·r_i with the weights in force that session; a fraction of capital.
    equity : Series, shape (sessions,)
        Cumulative product of 1 + returns, from 1.0 before the first session.
    components : DataFrame, shape (sessions, strategies)
        Strategy returns; null where a strategy is not live.
    units : DataFrame, shape (sessions, strategies)
        Weight in force × return; null where the return is.
    """

    returns: pd.Series
    equity: pd.Series
    components: pd.DataFrame
    units: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class AllocatorState:
    """State features and an account of the sessions that have none.

    Attributes
    ----------
    features : DataFrame, shape (sessions, 8 to 10)
        The columns of ``REQUIRED``, never null, and those of ``OPTIONAL`` whose inputs were given.
    dropped_warm_up : int
        Sessions at the start without a full 60-session window: 59, or all of a shorter history.
    dropped_beyond : int
        Later sessions dropped because a required feature is null.
    """

    features: pd.DataFrame
    dropped_warm_up: int
    dropped_beyond: int

    @property
    def beyond_share(self) -> float:
        """Share of the sessions after the warm-up that were dropped; 0.0 when there are none."""
        eligible = len(self.features) + self.dropped_beyond
        return self.dropped_beyond / eligible if eligible else 0.0


def reference_portfolio(weights: pd.DataFrame, returns: pd.DataFrame) -> ReferencePortfolio:
    """Portfolio returns at the weights in force: Σ_i w_i·r_i, weights constant between rebalances.

    Parameters
    ----------
    weights : DataFrame, shape (rebalances, strategies)
        Realised, unscaled weights indexed by the session they are effective from. A session uses the latest
        row not after it; sessions before the first row are left out. Null is 0: not in the book.
    returns : DataFrame, shape (sessions, strategies)
        Daily returns, null where a strategy is not live; such a strategy earns 0 (cash). Columns without a
        weight are ignored; a weight without a column is a strategy that has not traded yet.

    Returns
    -------
    ReferencePortfolio
        With the strategies in the columns of ``weights``, in that order.

    Raises
    ------
    ValueError
        Dates or strategies that repeat, dates out of order, infinite values.
    """
    _check_frame("weights", weights)
    _check_frame("returns", returns)
    sessions = returns.index[returns.index >= weights.index[0]] if len(weights) else returns.index[:0]
    in_force = weights.fillna(0.0).reindex(sessions, method="ffill")
    components = returns.reindex(index=sessions, columns=weights.columns).astype(float)
    units = in_force * components
    total = _ordered_sum(_by_name(units.fillna(0.0)))
    return ReferencePortfolio(
        returns=pd.Series(total, index=sessions, name="return"),
        equity=pd.Series(np.cumprod(1.0 + total), index=sessions, name="equity"),
        components=components,
        units=units,
    )


def sleeve_contributions(units: pd.DataFrame, sleeve_of: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Contributions summed by sleeve; a strategy without a sleeve is its own.

    Parameters
    ----------
    units : DataFrame, shape (sessions, strategies)
        Weight in force × return; null counts as 0.
    sleeve_of : mapping of strategy to sleeve, optional
        Strategies it does not name keep their own name as sleeve.

    Returns
    -------
    DataFrame, shape (sessions, sleeves)
        Columns sorted by name.
    """
    sleeve_of = sleeve_of or {}
    members: dict[str, list[str]] = {}
    for strategy in sorted(units.columns):
        members.setdefault(sleeve_of.get(strategy, strategy), []).append(strategy)
    known = units.fillna(0.0)
    return pd.DataFrame(
        {name: _ordered_sum(_by_name(known[members[name]])) for name in sorted(members)},
        index=units.index,
    )


def allocator_state(
    portfolio: pd.Series,
    equity: pd.Series,
    components: pd.DataFrame,
    *,
    trend_units: pd.DataFrame | None = None,
    sleeves: pd.DataFrame | None = None,
    peak: float = 1.0,
) -> AllocatorState:
    r"""State features per session; windows in sessions, ddof = 1, annualised by √252.

    ============================ =========================================================================
    ``port_rvol_20d`` (``_60d``) std of the last 20 (60) portfolio returns · √252; exactly 0 for a constant
    ``vol_accel``                port_rvol_20d / port_rvol_60d; null when the latter is 0
    ``dd_level``                 equity / running maximum − 1
    ``dd_slope_10d``             dd_level[t] − dd_level[t−10]
    ``corr_20d`` (``_60d``)      mean pairwise Pearson correlation of the component returns, see below
    ``corr_shock``               corr_20d − corr_60d
    ``trend_breadth_20d``        share of the columns of ``trend_units`` whose 20-session sum is positive;
                                 a sum over a null is not
    ``sleeve_concentration_60d`` Herfindahl index Σ_s (|c_s| / Σ|c|)² of the 60-session sums c_s of
                                 ``sleeves``; a sum over a null is left out; null when every c_s is 0
    ============================ =========================================================================

    Correlations are pairwise complete. A component with fewer than two returns in the window or a std ≤ 1e-10
    is left out, and so is a pair for which that holds on the sessions they share; null when no pair is left.

    Parameters
    ----------
    portfolio, equity : Series, shape (sessions,)
        Unscaled reference returns and their equity. The state covers the sessions on which both are known.
    components : DataFrame, shape (sessions, strategies)
        Component returns; null where not live. Sessions it lacks are null.
    trend_units : DataFrame, shape (sessions, strategies), optional
        Lagged weight × return. Left out, not null-filled, together with its feature.
    sleeves : DataFrame, shape (sessions, sleeves), optional
        Sleeve contributions, likewise.
    peak : float
        Highest equity before the first session given. The default, the starting equity of
        :func:`reference_portfolio`, makes a loss on the very first session a drawdown; to continue a history,
        its running maximum.

    Returns
    -------
    AllocatorState
        Sessions with a null in ``REQUIRED`` are dropped and counted.

    Raises
    ------
    ValueError
        Dates or columns that repeat, dates out of order, infinite values, equity or peak not above 0.
    """
    if not 0.0 < peak < np.inf:
        raise ValueError(f"peak: expected a positive number, got {peak}")
    optional = {BREADTH: trend_units, CONCENTRATION: sleeves}
    given = {name: frame for name, frame in optional.items() if frame is not None and len(frame.columns)}
    _check_frame("portfolio", portfolio)
    _check_frame("equity", equity)
    for name, frame in {"components": components, **given}.items():
        _check_frame(name, frame)
    if (equity.to_numpy() <= 0.0).any():
        date = equity.index[equity <= 0.0][0]
        raise ValueError(f"equity: expected values above 0, got {equity[date]} on {date:%Y-%m-%d}")

    sessions = known_sessions(portfolio, equity)
    names = [*REQUIRED, *given]
    if len(sessions) <= WARM_UP:
        none = pd.DataFrame(index=sessions[:0], columns=names, dtype=float)
        return AllocatorState(features=none, dropped_warm_up=len(sessions), dropped_beyond=0)

    values = required_features(
        _on(portfolio, sessions).to_numpy(dtype=float),
        _on(equity, sessions).to_numpy(dtype=float),
        component_correlations(_by_name(_on(components, sessions))),
        peak=peak,
    )
    if BREADTH in given:
        values[BREADTH] = _breadth(_by_name(_on(given[BREADTH], sessions)))
    if CONCENTRATION in given:
        values[CONCENTRATION] = _herfindahl(_by_name(_on(given[CONCENTRATION], sessions)))
    table = np.column_stack([values[name] for name in names])
    known = np.logical_not(np.isnan(table[:, : len(REQUIRED)]).any(axis=1))
    features = pd.DataFrame(table[known], index=sessions[WARM_UP:][known], columns=names)
    dropped = len(table) - len(features)
    return AllocatorState(features=features, dropped_warm_up=WARM_UP, dropped_beyond=dropped)


def known_sessions(portfolio: pd.Series, equity: pd.Series) -> pd.Index:
    """Sessions on which both series are known."""
    if not portfolio.index.equals(equity.index):
        return portfolio.dropna().index.intersection(equity.dropna().index)
    known = ~(np.isnan(portfolio.to_numpy(dtype=float)) | np.isnan(equity.to_numpy(dtype=float)))
    return portfolio.index if known.all() else portfolio.index[known]


def required_features(
    portfolio: Floats, equity: Floats, correlations: tuple[Floats, Floats], *, peak: float = 1.0
) -> dict[str, Floats]:
    """Features of ``REQUIRED``, as arrays: what :func:`allocator_state` makes of aligned inputs.

    Parameters
    ----------
    portfolio, equity : array, shape (sessions,)
        Returns and their equity, above 0; more than 59 sessions.
    correlations : tuple of arrays, each of shape (sessions − 59,)
        From :func:`component_correlations`. They do not depend on weights, so many portfolios may share them.
    peak : float
        Highest equity before the first session given.

    Returns
    -------
    dict of str to array, shape (sessions − 59,)
        By name, in the order of ``REQUIRED``; null where undefined.
    """
    drawdown = equity / np.maximum(np.maximum.accumulate(equity), peak) - 1.0
    vol_fast, vol_slow = _volatility(portfolio, FAST), _volatility(portfolio, SLOW)
    corr_fast, corr_slow = correlations
    return {
        "port_rvol_20d": vol_fast,
        "port_rvol_60d": vol_slow,
        "vol_accel": np.divide(vol_fast, vol_slow, out=np.full_like(vol_slow, np.nan), where=vol_slow > 0.0),
        "dd_level": drawdown[WARM_UP:],
        "dd_slope_10d": drawdown[WARM_UP:] - drawdown[WARM_UP - SLOPE : -SLOPE],
        "corr_20d": corr_fast,
        "corr_60d": corr_slow,
        "corr_shock": corr_fast - corr_slow,
    }


def component_correlations(components: Floats) -> tuple[Floats, Floats]:
    """``corr_20d`` and ``corr_60d`` of component returns, for the sessions after the warm-up.

    Parameters
    ----------
    components : array, shape (components, sessions)
        In the order of their names, null where not live; more than 59 sessions.

    Returns
    -------
    fast, slow : array, shape (sessions − 59,)
    """
    fast = mean_pairwise_correlation(components[:, SLOW - FAST :], FAST)
    return fast, mean_pairwise_correlation(components, SLOW)


def mean_pairwise_correlation(returns: Floats, window: int) -> Floats:
    """Average the pairwise-complete Pearson correlations between rows, over rolling windows.

    With z standardised in the window so that Σ_t z² = 1, k complete components have
    Σ_t (Σ_i z_it)² = k + 2 Σ_{i<j} ρ_ij, so they need no loop over pairs. Pairs with a gap in the window are
    standardised on the sessions they share. Both are two-pass: means first, then deviations.

    Parameters
    ----------
    returns : array, shape (components, sessions)
        Null where not live.
    window : int
        Sessions in a window.

    Returns
    -------
    array, shape (sessions − window + 1,)
        In [−1, 1]; null where no pair is left (see :func:`allocator_state`).
    """
    windows = returns.shape[1] - window + 1
    step = max(_BLOCK_CELLS // max(len(returns), 1), window)
    blocks = [returns[:, at : at + step + window - 1] for at in range(0, windows, step)]
    return np.concatenate([_block_correlation(block, window) for block in blocks])


def _block_correlation(returns: Floats, window: int) -> Floats:
    """Values of :func:`mean_pairwise_correlation` for one cache-sized block."""
    known = ~np.isnan(returns)
    gaps = not known.all()
    filled = np.where(known, returns, 0.0) if gaps else returns
    weight = known.astype(float) if gaps else None
    count, mean, squares = _moments(filled, weight, window)
    kept = _varies(count, squares)
    complete = kept & (count == window)

    # An incomplete component has the scale 0 and so adds exact zeros.
    scale = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=complete)
    common = np.zeros(squares.shape[1])
    for lags in _batches(filled, window):
        z = lags - mean
        z *= scale
        factor = _ordered_sum(z.swapaxes(0, 1))
        factor *= factor
        _add_each(common, factor)
    number = np.count_nonzero(complete, axis=0)
    total: Floats = (common - number) / 2.0
    pairs = number * (number - 1) // 2

    if weight is not None:
        partial = kept & ~complete
        left, right = np.triu_indices(len(returns), k=1)
        touched = (partial[left] | partial[right]) & kept[left] & kept[right]
        wanted = np.flatnonzero(touched.any(axis=1))
        for some in np.array_split(wanted, len(wanted) * len(total) // _BLOCK_CELLS + 1):
            rho, valid = _paired_correlation(filled, weight, left[some], right[some], window)
            valid &= touched[some]
            _add_each(total, np.where(valid, rho, 0.0))
            pairs += np.count_nonzero(valid, axis=0)
    mean_rho = np.full_like(total, np.nan)
    np.divide(total, pairs, out=mean_rho, where=pairs > 0)
    return np.clip(mean_rho, -1.0, 1.0, out=mean_rho)


def _paired_correlation(
    filled: Floats, weight: Floats, left: NDArray[np.intp], right: NDArray[np.intp], window: int
) -> tuple[Floats, Bools]:
    """Correlations of the given pairs on the sessions they share, and where those are defined."""
    both = weight[left] * weight[right]
    x, y = filled[left] * both, filled[right] * both
    count = _counts(both, window)
    x_mean = _ordered_sum(_lags(x, window)) / np.maximum(count, 1.0)
    y_mean = _ordered_sum(_lags(y, window)) / np.maximum(count, 1.0)
    xx, yy, xy = np.zeros_like(count), np.zeros_like(count), np.zeros_like(count)
    for x_lags, y_lags, shared in zip(*(_batches(v, window) for v in (x, y, both)), strict=True):
        x_deviations, y_deviations = x_lags - x_mean, y_lags - y_mean
        x_deviations *= shared
        y_deviations *= shared
        _add_each(xy, x_deviations * y_deviations)
        x_deviations *= x_deviations
        _add_each(xx, x_deviations)
        y_deviations *= y_deviations
        _add_each(yy, y_deviations)
    valid = _varies(count, xx) & _varies(count, yy)
    return np.clip(xy / np.sqrt(np.where(valid, xx * yy, 1.0)), -1.0, 1.0), valid


def _moments(filled: Floats, weight: Floats | None, window: int) -> tuple[Floats, Floats, Floats]:
    """Count, mean and sum of squared deviations of each row, over rolling windows.

    ``weight`` is 1 where a value is known and 0 where ``filled`` has a 0 for a gap; None when all are known.
    """
    mean = _ordered_sum(_lags(filled, window))
    count = np.full_like(mean, window) if weight is None else _counts(weight, window)
    mean /= np.maximum(count, 1.0)
    squares = np.zeros_like(mean)
    masks = repeat(None) if weight is None else _batches(weight, window)
    for lags, mask in zip(_batches(filled, window), masks, strict=False):
        deviations = lags - mean
        if mask is not None:
            deviations *= mask
        deviations *= deviations
        _add_each(squares, deviations)
    return count, mean, squares


def _counts(weight: Floats, window: int) -> Floats:
    """Sum of the weights in each window: differences of running totals, which are exact for whole numbers."""
    totals = np.cumsum(np.pad(weight, ((0, 0), (1, 0))), axis=-1)
    return totals[:, window:] - totals[:, :-window]


def _varies(count: Floats, squares: Floats) -> Bools:
    """At least two observations and a std (ddof = 1) above the threshold."""
    return (count > 1.0) & (np.sqrt(squares / np.maximum(count - 1.0, 1.0)) > MIN_STD)


def _volatility(returns: Floats, window: int) -> Floats:
    """Annualised rolling std, for the sessions after the warm-up."""
    tail = returns[SLOW - window :]
    squares = _moments(tail, None, window)[2]
    lags = _lags(tail, window)
    # The mean of equal floats may be off by a rounding, which would make a std out of nothing.
    squares[lags.max(axis=0) == lags.min(axis=0)] = 0.0
    volatility: Floats = np.sqrt(squares / (window - 1)) * np.sqrt(SESSIONS_PER_YEAR)
    return volatility


def _breadth(units: Floats) -> Floats:
    """Share of rows with a positive 20-session sum, for the sessions after the warm-up."""
    sums = _ordered_sum(_lags(units[:, SLOW - FAST :], FAST))
    share: Floats = np.count_nonzero(sums > 0.0, axis=0) / len(units)
    return share


def _herfindahl(contributions: Floats) -> Floats:
    """Herfindahl index of absolute 60-session sums, for the sessions after the warm-up."""
    sums = np.abs(_ordered_sum(_lags(contributions, SLOW)))
    sums[np.isnan(sums)] = 0.0
    total = _ordered_sum(sums)
    shares = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0.0)
    return _ordered_sum(shares * shares)


def _lags(values: Floats, window: int) -> Floats:
    """View with a leading axis of lags, oldest first: window j is ``[:, …, j]``."""
    view = np.lib.stride_tricks.sliding_window_view(values, values.shape[-1] - window + 1, axis=-1)
    return np.moveaxis(view, -2, 0)


def _batches(values: Floats, window: int) -> Iterator[Floats]:
    """Yield the lags of :func:`_lags`, as many at a time as fit a block."""
    lags = _lags(values, window)
    size = max(_BLOCK_CELLS // max(lags[0].size, 1), 1)
    return (lags[at : at + size] for at in range(0, window, size))


def _add_each(total: Floats, terms: Floats) -> None:
    """Add the terms along the first axis in order: the same bits whatever the shape, unlike ``np.sum``."""
    for term in terms:
        total += term


def _ordered_sum(terms: Floats) -> Floats:
    """Sum over the first axis, in order (see :func:`_add_each`)."""
    total = np.zeros(terms.shape[1:])
    _add_each(total, terms)
    return total


def _on(values: _Values, sessions: pd.Index) -> _Values:
    """Values on some sessions; as they are where these are theirs."""
    return values if values.index.equals(sessions) else values.reindex(sessions)


def _by_name(frame: pd.DataFrame) -> Floats:
    """Columns as rows, in the order of their names."""
    order = np.argsort(frame.columns.to_numpy(dtype=object), kind="stable")
    return np.ascontiguousarray(frame.to_numpy(dtype=float)[:, order].T)


def _check_frame(name: str, frame: pd.DataFrame | pd.Series) -> None:
    """Refuse what would silently misalign or poison a window."""
    if not (frame.index.is_unique and frame.index.is_monotonic_increasing):
        raise ValueError(f"{name}: expected unique dates in increasing order, got an index that is not")
    if isinstance(frame, pd.DataFrame) and not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{name}: expected each column once, got {repeated!r} twice")
    infinite = np.isinf(frame.to_numpy(dtype=float))
    if infinite.any():
        date = frame.index[np.argwhere(infinite)[0][0]]
        raise ValueError(f"{name}: expected finite values, got an infinite one on {date:%Y-%m-%d}")
