"""Reference portfolio and allocator state: what the book itself has been doing lately.

Scope: the unscaled reference portfolio, its sleeve contributions and the state features: volatility, drawdown,
correlation, breadth and concentration. Not here: thresholds, regimes and scalars (``regime``, ``scalar``), and the
metrics of single strategies.

Every rolling value is the same sequence of element-wise operations on the content of its own window, with
sums taken in one order of sessions and columns in the order of their names. Hence it depends neither on where the
loaded history begins or ends, nor on the order of the columns, nor on columns that are left out: not by a
single bit. Library reductions (pairwise sums, BLAS products, online rolling updates) do not promise that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.frequency import DAILY

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
MAY_BE_NULL = ("corr_20d", "corr_60d")
"""Features of ``REQUIRED`` that are null where fewer than two components move."""
BREADTH, CONCENTRATION = OPTIONAL = ("trend_breadth_20d", "sleeve_concentration_60d")

FAST, SLOW, SLOPE = 20, 60, 10
WARM_UP = SLOW - 1
MIN_STD = 1e-10

# Cells a block of windows may hold, so that a handful of such arrays stay in cache. It never changes a value.
_BLOCK_CELLS = 32_768

# Share of a sum of squares that must be left once the mean is out, or the sums are taken anew in two passes: below it,
# rounding could show in the twelfth digit of a correlation.
_LEAST_KEPT = 1.0 / 64.0

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_Values = TypeVar("_Values", pd.Series, pd.DataFrame)


@dataclass(frozen=True, kw_only=True)
class ReferencePortfolio:
    """The book at its realized weights, unscaled, so that the overlay never feeds back on itself.

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


def idle_sessions(features: pd.DataFrame) -> pd.Series:
    """Sessions on which a feature has its neutral value for want of movement; shape (sessions,), bool.

    There a correlation is null, so that the shock is 0, or the portfolio did not move over 60 sessions, so that the
    acceleration is 1.

    Parameters
    ----------
    features : DataFrame, shape (sessions, 8 or more)
        From :func:`allocator_state`.
    """
    idle: pd.Series = features[list(MAY_BE_NULL)].isna().any(axis=1) | (features["port_rvol_60d"] == 0.0)
    return idle


def reference_portfolio(weights: pd.DataFrame, returns: pd.DataFrame) -> ReferencePortfolio:
    """Portfolio returns at the weights in force: Σ_i w_i·r_i, weights constant between rebalances.

    Parameters
    ----------
    weights : DataFrame, shape (rebalances, strategies)
        Realized, unscaled weights indexed by the session they are effective from. A session uses the latest
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
    per_year: float = DAILY.per_year,
) -> pd.DataFrame:
    r"""State features per session; windows in sessions, ddof = 1, annualised by √252 or what the ledger says.

    ============================ =========================================================================
    ``port_rvol_20d`` (``_60d``) std of the last 20 (60) portfolio returns · √252; exactly 0 for a constant
    ``vol_accel``                port_rvol_20d / port_rvol_60d; 1 when the latter is 0
    ``dd_level``                 equity / running maximum − 1
    ``dd_slope_10d``             dd_level[t] − dd_level[t−10]
    ``corr_20d`` (``_60d``)      mean pairwise Pearson correlation of the component returns, see below
    ``corr_shock``               corr_20d − corr_60d; 0, no evidence of a shock, when either is null
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
    per_year : float
        Sessions a year; it moves the two volatilities and nothing else.

    Returns
    -------
    DataFrame, shape (sessions, 8 to 10)
        The columns of ``REQUIRED``, null only as ``MAY_BE_NULL`` says, and those of ``OPTIONAL`` whose inputs were
        given. Every session after the first 59, which are warm-up, has a row: a book that does not move has a state
        too, see :func:`idle_sessions`. A loss on the very first session is a drawdown from the starting equity, 1.0.

    Raises
    ------
    ValueError
        Dates or columns that repeat, dates out of order, infinite values, equity not above 0.
    """
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
        return pd.DataFrame(index=sessions[:0], columns=names, dtype=float)

    values = required_features(
        _on(portfolio, sessions).to_numpy(dtype=float),
        _on(equity, sessions).to_numpy(dtype=float),
        component_correlations(_by_name(_on(components, sessions))),
        per_year=per_year,
    )
    if BREADTH in given:
        values[BREADTH] = _breadth(_by_name(_on(given[BREADTH], sessions)))
    if CONCENTRATION in given:
        values[CONCENTRATION] = _herfindahl(_by_name(_on(given[CONCENTRATION], sessions)))
    table = np.column_stack([values[name] for name in names])
    return pd.DataFrame(table, index=sessions[WARM_UP:], columns=names)


def known_sessions(portfolio: pd.Series, equity: pd.Series) -> pd.Index:
    """Sessions on which both series are known."""
    if not portfolio.index.equals(equity.index):
        return portfolio.dropna().index.intersection(equity.dropna().index)
    known = ~(np.isnan(portfolio.to_numpy(dtype=float)) | np.isnan(equity.to_numpy(dtype=float)))
    return portfolio.index if known.all() else portfolio.index[known]


def required_features(
    portfolio: Floats,
    equity: Floats,
    correlations: tuple[Floats, Floats],
    *,
    peak: float = 1.0,
    per_year: float = DAILY.per_year,
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
    per_year : float
        Sessions a year.

    Returns
    -------
    dict of str to array, shape (sessions − 59,)
        By name, in the order of ``REQUIRED``; null only as ``MAY_BE_NULL`` says.
    """
    drawdown = equity / np.maximum(np.maximum.accumulate(equity), peak) - 1.0
    vol_fast, vol_slow = (rolling_volatility(portfolio[SLOW - window :], window, per_year) for window in (FAST, SLOW))
    corr_fast, corr_slow = correlations
    shock = corr_fast - corr_slow
    return {
        "port_rvol_20d": vol_fast,
        "port_rvol_60d": vol_slow,
        "vol_accel": np.divide(vol_fast, vol_slow, out=np.ones_like(vol_slow), where=vol_slow > 0.0),
        "dd_level": drawdown[WARM_UP:],
        "dd_slope_10d": drawdown[WARM_UP:] - drawdown[WARM_UP - SLOPE : -SLOPE],
        "corr_20d": corr_fast,
        "corr_60d": corr_slow,
        "corr_shock": np.where(np.isnan(shock), 0.0, shock),
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
    fast, slow = _mean_correlations(components, (FAST, SLOW))
    return fast, slow


def _mean_correlations(returns: Floats, windows: tuple[int, ...]) -> tuple[Floats, ...]:
    """Average the pairwise-complete Pearson correlations between rows, over windows that end on the same sessions.

    With z standardised in the window so that Σ_t z² = 1, k complete components have
    Σ_t (Σ_i z_it)² = k + 2 Σ_{i<j} ρ_ij, so they need no loop over pairs. Pairs with a gap in the window are
    standardised on the sessions they share. The former are two-pass, means first, then deviations; the latter from
    sums of products, and two-pass where these would lose digits.

    Parameters
    ----------
    returns : array, shape (components, sessions)
        Null where not live.
    windows : tuple of int
        Sessions in a window, shortest first.

    Returns
    -------
    tuple of arrays, each of shape (sessions − longest window + 1,)
        In [−1, 1]; null where no pair is left (see :func:`allocator_state`).
    """
    longest = windows[-1]
    step = max(_BLOCK_CELLS // max(len(returns), 1), longest)
    starts = range(0, returns.shape[1] - longest + 1, step)
    blocks = [_block_correlations(returns[:, at : at + step + longest - 1], windows) for at in starts]
    return tuple(np.concatenate(parts) for parts in zip(*blocks, strict=True))


class _Tally(NamedTuple):
    """Sum and number of correlations in windows of one length, and which components count in them."""

    window: int
    total: Floats
    pairs: NDArray[np.intp]
    kept: Bools
    partial: Bools


def _block_correlations(returns: Floats, windows: tuple[int, ...]) -> list[Floats]:
    """Values of :func:`_mean_correlations` for one cache-sized block."""
    known = ~np.isnan(returns)
    gaps = not known.all()
    filled = np.where(known, returns, 0.0) if gaps else returns
    weight = known.astype(float) if gaps else None
    tallies = []
    for window in windows:
        tail = slice(windows[-1] - window, None)
        tallies.append(_complete_pairs(filled[:, tail], None if weight is None else weight[:, tail], window))
    if weight is not None:
        _add_incomplete_pairs(tallies, filled, weight)
    means = []
    for tally in tallies:
        mean_rho = np.full_like(tally.total, np.nan)
        np.divide(tally.total, tally.pairs, out=mean_rho, where=tally.pairs > 0)
        means.append(np.clip(mean_rho, -1.0, 1.0, out=mean_rho))
    return means


def _complete_pairs(filled: Floats, weight: Floats | None, window: int) -> _Tally:
    """Tally of the pairs without a gap in the window."""
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
    return _Tally(window, (common - number) / 2.0, number * (number - 1) // 2, kept, kept & ~complete)


def _add_incomplete_pairs(tallies: list[_Tally], filled: Floats, weight: Floats) -> None:
    """Add the pairs with a gap in the window, each on the sessions it shares.

    One pass over sums of products where those lose at most some bits to the mean, two passes for the few pairs and
    windows where they would lose more. Which of them is decided by the window's own content.
    """
    squares, shared = filled * filled, weight.astype(np.uint16)
    longest = tallies[-1].window
    sums = [np.zeros_like(tally.total) for tally in tallies]
    has_gap: Bools = np.any([tally.partial.any(axis=1) for tally in tallies], axis=0)
    varies: Bools = np.any([tally.kept.any(axis=1) for tally in tallies], axis=0)
    for one in np.flatnonzero(varies).tolist():
        others = one + 1 + np.flatnonzero((has_gap[one + 1 :] | has_gap[one]) & varies[one + 1 :])
        if not len(others):
            continue
        x, y, known, also = filled[one], filled[others], weight[one], weight[others]
        products = (x * also, y * known, squares[one] * also, squares[others] * known, x * y)
        in_windows = zip(
            _window_sums(shared[one] * shared[others], tallies),
            *(_window_sums(product, tallies) for product in products),
            strict=True,
        )
        for tally, total, (number, sum_x, sum_y, raw_xx, raw_yy, raw_xy) in zip(tallies, sums, in_windows, strict=True):
            touched = (tally.partial[one] | tally.partial[others]) & tally.kept[one] & tally.kept[others]
            per = 1.0 / np.maximum(number, 1)
            mean_x = sum_x * per
            xy = raw_xy - mean_x * sum_y
            xx = raw_xx - np.multiply(mean_x, sum_x, out=mean_x)
            yy = raw_yy - np.multiply(per * sum_y, sum_y, out=per)
            precise = (xx >= raw_xx * _LEAST_KEPT) & (yy >= raw_yy * _LEAST_KEPT)
            least = number * MIN_STD**2
            least -= MIN_STD**2
            valid = touched & precise & (number > 1) & (xx > least) & (yy > least)
            xx *= yy
            with np.errstate(invalid="ignore", divide="ignore"):
                xy /= np.sqrt(xx, out=xx)
            rho = np.where(valid, xy, 0.0)
            again = touched & ~precise
            if again.any():
                rest, at = np.nonzero(again)
                begin = at + (longest - tally.window)
                rho[rest, at], valid[rest, at] = _exact_correlation(
                    filled, weight, one, others[rest], begin, tally.window
                )
            _add_each(total, rho)
            tally.pairs[:] += np.count_nonzero(valid, axis=0)
    for tally, total in zip(tallies, sums, strict=True):
        tally.total[:] += total


def _exact_correlation(
    filled: Floats, weight: Floats, one: int, others: NDArray[np.intp], at: NDArray[np.intp], window: int
) -> tuple[Floats, Bools]:
    """Two-pass correlations of single pairs in single windows, 0 where not defined, and where they are."""
    rho, valid = np.zeros(len(at)), np.zeros(len(at), dtype=np.bool_)
    values, masks = (np.lib.stride_tricks.sliding_window_view(v, window, axis=-1) for v in (filled, weight))
    step = max(_BLOCK_CELLS // window, 1)
    for some in (slice(begin, begin + step) for begin in range(0, len(at), step)):
        both = (masks[one, at[some]] * masks[others[some], at[some]]).T
        count = np.maximum(_ordered_sum(both), 1.0)
        x, y = values[one, at[some]].T * both, values[others[some], at[some]].T * both
        x, y = ((v - _ordered_sum(v) / count) * both for v in (x, y))
        xx, yy, xy = _ordered_sum(x * x), _ordered_sum(y * y), _ordered_sum(x * y)
        valid[some] = _varies(count, xx) & _varies(count, yy)
        np.divide(xy, np.sqrt(xx * yy), out=rho[some], where=valid[some])
    return rho, valid


def _window_sums(values: NDArray[Any], tallies: list[_Tally]) -> Iterator[NDArray[Any]]:
    """Yield sums of the last axis over the windows of each tally, all ending on the same sessions.

    Sums double in width, and those of a window that is a multiple of the one before are made of its sums: in every
    window the same tree of additions.
    """
    unit, number = 1, values.shape[-1] - tallies[-1].window + 1
    for tally in tallies:
        times = tally.window // unit
        reach, begin, parts = values.shape[-1] - (times - 1) * unit, 0, []
        while times:
            if times & 1:
                parts.append((values, begin))
                begin += unit
            times >>= 1
            if times:
                values = values[..., :-unit] + values[..., unit:]
                unit *= 2
        sums = parts[0][0][..., :reach]
        for part, at in parts[1:]:
            sums = sums + part[..., at : at + reach]
        values, unit = sums, tally.window
        yield sums[..., -number:]


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


def rolling_volatility(returns: Floats, window: int, per_year: float) -> Floats:
    """Annualised std (ddof = 1) over windows; exactly 0 for a constant.

    Parameters
    ----------
    returns : array, shape (sessions,)
        Never null; at least as many as the window has.
    window : int
        Sessions in a window, at least 2.
    per_year : float
        Sessions a year.

    Returns
    -------
    array, shape (sessions − window + 1,)
        Each value has the same bits whatever there is beside its window.
    """
    squares = _moments(returns, None, window)[2]
    lags = _lags(returns, window)
    # The mean of equal floats may be off by a rounding, which would make a std out of nothing.
    squares[lags.max(axis=0) == lags.min(axis=0)] = 0.0
    volatility: Floats = np.sqrt(squares / (window - 1)) * np.sqrt(per_year)
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
