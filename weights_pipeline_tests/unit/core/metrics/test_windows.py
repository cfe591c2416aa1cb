"""The window kernel against plain loops, and its promise that a window depends on its own content alone."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weights_pipeline.core.metrics import windows
from weights_pipeline.core.metrics.windows import (
    MOMENTS,
    SUM,
    WEALTH,
    squared_shortfall,
    window_statistic,
)
from weights_pipeline_tests.support.examples import examples

FIELDS = ("n", "total_return", "mean", "m2", "downside_ss", "max_drawdown")
RETURNS = st.one_of(
    st.floats(-0.6, 0.6),
    st.sampled_from([0.0, -0.0, 0.01, 0.01, -0.01, 1e-12, -1e-300]),
)


def return_matrices(values=RETURNS, rows=40, columns=3):
    shapes = st.tuples(st.integers(1, rows), st.integers(1, columns))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


def reference(values, target=0.0):
    """Measure one window with plain loops and correctly rounded sums."""
    growth = peak = 1.0
    drawdown = 0.0
    for r in values:
        growth *= 1.0 + r
        peak = max(peak, growth)
        drawdown = max(drawdown, 1.0 - growth / peak)
    mean = math.fsum(values) / len(values)
    return {
        "n": len(values),
        "total_return": growth - 1.0,
        "mean": mean,
        "m2": math.fsum((r - mean) ** 2 for r in values),
        "downside_ss": math.fsum(min(r - target, 0.0) ** 2 for r in values),
        "max_drawdown": drawdown,
    }


def same_bits(a, b):
    """Compare floats bit for bit, sign of zero included; any NaN equals any NaN."""
    a, b = (np.where(np.isnan(x), np.nan, x).astype(np.float64) for x in (a, b))
    return a.tobytes() == b.tobytes()


def window_stats(returns, column, start, stop, target=0.0):
    """All statistics of windows, by name."""
    returns, where = np.asarray(returns), (column, start, stop)
    lacking = window_statistic(SUM, squared_shortfall(returns, target), *where)["total"]
    found = window_statistic(WEALTH, returns, *where) | window_statistic(MOMENTS, returns, *where)
    return SimpleNamespace(n=np.asarray(stop) - np.asarray(start), downside_ss=lacking, **found)


def rolling_stats(returns, window, target=0.0):
    """All statistics of every window of so many sessions, by its last one; those before the first whole one are NaN."""
    stop, column = (index.ravel() for index in np.indices(returns.shape))
    stop += 1
    start = np.where(stop >= window, stop - window, stop)
    found = window_stats(returns, column, start, stop, target)
    return SimpleNamespace(**{name: values.reshape(returns.shape) for name, values in vars(found).items()})


def market(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(0.0004, 0.012, (rows, columns))


@pytest.mark.parametrize("window", [1, 2, 3, 5, 7, 8, 60, 63, 64, 65, 90, 127, 252, 253])
def test_rolling_stats_match_plain_loops(window):
    returns = market(300, 2)
    stats = rolling_stats(returns, window, target=0.0002)
    for t in range(window - 1, 300, 23):
        for i in range(2):
            expected = reference(returns[t - window + 1 : t + 1, i], target=0.0002)
            for field in FIELDS:
                measured = getattr(stats, field)[t, i]
                assert measured == pytest.approx(expected[field], rel=1e-12, abs=1e-14), field


@examples(60)
@given(return_matrices(), st.data())
def test_any_window_matches_plain_loops(returns, data):
    rows, columns = returns.shape
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start + 1, rows))
    column = data.draw(st.integers(0, columns - 1))
    stats = window_stats(returns, [column], [start], [stop], target=0.001)
    for field, expected in reference(returns[start:stop, column], target=0.001).items():
        assert getattr(stats, field)[0] == pytest.approx(expected, rel=1e-12, abs=1e-13), field


@examples(40)
@given(return_matrices(rows=20), return_matrices(rows=15), return_matrices(rows=15), st.integers(0, 19))
def test_a_window_depends_on_its_own_content_alone(content, before, after, skip):
    """Earlier history, later history and neighbouring strategies change no bit of a window."""
    width = min(m.shape[1] for m in (content, before, after))
    skip = min(skip, len(content) - 1)
    alone = window_stats(content[:, :width], np.arange(width), [skip] * width, [len(content)] * width)
    longer = np.vstack([m[:, :width] for m in (before, content, after)])[:, ::-1]
    start, stop = len(before) + skip, len(before) + len(content)
    embedded = window_stats(longer, np.arange(width)[::-1], [start] * width, [stop] * width)
    for field in FIELDS:
        assert same_bits(getattr(alone, field), getattr(embedded, field)), field


@pytest.mark.parametrize("statistic", [WEALTH, MOMENTS, SUM])
def test_chunks_change_no_bit(statistic, monkeypatch):
    returns = market(70, 9)
    column, start = np.repeat(np.arange(9)[::-1], 30), np.tile(np.arange(30), 9)
    stop = start + 1 + (start * 7 + column) % 40
    gathered = window_statistic(statistic, returns, column, start, stop)
    monkeypatch.setattr(windows, "_CHUNK_CELLS", 150)
    for name in statistic.names:
        assert same_bits(gathered[name], window_statistic(statistic, returns, column, start, stop)[name])


def test_a_loss_on_the_first_session_is_a_drawdown():
    stats = rolling_stats(np.array([[-0.10], [0.05], [0.20]]), 3)
    assert stats.max_drawdown[2, 0] == pytest.approx(0.10, rel=1e-14)
    assert stats.total_return[2, 0] == pytest.approx(0.9 * 1.05 * 1.2 - 1, rel=1e-14)
    assert window_stats([[-0.25]], [0], [0], [1]).max_drawdown[0] == 0.25


def test_a_drawdown_spans_block_seams():
    """The peak lies in the first block of a window of 1 + 2 + 4 sessions, the trough in its last."""
    returns = np.array([[0.50], [-0.10], [0.02], [-0.20], [0.05], [-0.10], [0.01]])
    wealth = 1.5 * np.cumprod([1, 0.9, 1.02, 0.8, 1.05, 0.9, 1.01])
    assert rolling_stats(returns, 7).max_drawdown[-1, 0] == pytest.approx(1 - wealth.min() / 1.5, rel=1e-14)


@settings(max_examples=40, deadline=None)
@given(return_matrices(values=st.floats(0, 0.6)), st.integers(1, 40))
def test_without_losses_the_drawdown_is_exactly_zero(returns, window):
    drawdown = rolling_stats(returns, window).max_drawdown[window - 1 :]
    assert (drawdown == 0.0).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.9, 0.9), st.integers(1, 260))
def test_equal_returns_have_exactly_no_variance(value, length):
    stats = window_stats(np.full((length, 1), value), [0], [0], [length])
    assert stats.m2[0] == 0.0
    assert stats.mean[0] == value


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 0.9), st.integers(2, 100), st.data())
def test_one_differing_bit_is_variance(value, length, data):
    returns = np.full((length, 1), value)
    returns[data.draw(st.integers(0, length - 1))] = np.nextafter(value, 1.0)
    assert window_stats(returns, [0], [0], [length]).m2[0] > 0.0


def test_an_outlier_leaves_no_trace():
    calm = market(120, 1) * 1e-6
    shaken = calm.copy()
    shaken[10] = 1e6
    for field in FIELDS:
        clean, after = (getattr(rolling_stats(r, 20), field) for r in (calm, shaken))
        assert same_bits(clean[30:], after[30:]), field
    assert rolling_stats(shaken, 20).m2[29, 0] > 1e11


@examples(40)
@given(return_matrices(), st.integers(1, 40))
def test_drawdown_is_a_fraction_no_smaller_than_the_loss(returns, window):
    stats = rolling_stats(returns, window)
    drawdown, total = stats.max_drawdown[window - 1 :], stats.total_return[window - 1 :]
    assert ((drawdown >= 0) & (drawdown < 1)).all()
    assert (drawdown >= -total - 1e-12).all()


def test_nan_reaches_exactly_the_windows_that_hold_it():
    returns = market(50, 2)
    returns[20, 1] = np.nan
    stats = rolling_stats(returns, 8)
    expected = np.zeros((50, 2), dtype=bool)
    expected[:7] = True
    expected[20:28, 1] = True
    for field in FIELDS[1:]:
        np.testing.assert_array_equal(np.isnan(getattr(stats, field)), expected, err_msg=field)


def test_empty_windows_and_short_histories_are_nan():
    stats = window_stats(market(10, 2), [0, -1, 7], [3, 0, 10], [3, 0, 10])
    assert stats.n.tolist() == [0, 0, 0]
    assert all(np.isnan(getattr(stats, field)).all() for field in FIELDS[1:])
    short = rolling_stats(market(10, 2), 11)
    assert short.n.tolist() == [[0, 0]] * 10
    assert np.isnan(short.max_drawdown).all()


def test_no_strategies_and_no_windows():
    assert rolling_stats(np.empty((5, 0)), 2).mean.shape == (5, 0)
    assert rolling_stats(np.empty((0, 3)), 2).mean.shape == (0, 3)
    assert window_stats(market(5, 1), [], [], []).mean.shape == (0,)


def test_a_target_may_vary_by_session():
    returns, target = market(30, 2), market(30, 1, seed=1)
    where = (np.repeat([0, 1], 21), np.tile(np.arange(21), 2), np.tile(np.arange(10, 31), 2))
    for lowest in (target, 0.0):
        lacking = window_statistic(SUM, np.minimum(returns - lowest, 0) ** 2, *where)["total"]
        assert same_bits(window_stats(returns, *where, target=lowest).downside_ss, lacking)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: window_stats(r[:, 0], [0], [0], [2]), r"expected shape \(sessions, strategies\), got \(5,\)"),
        (lambda r: window_stats(r, [0], [0], [6]), r"window 0 is \[0, 6\) of column 0"),
        (lambda r: window_stats(r, [0, 0], [0, 3], [2, 2]), r"window 1 is \[3, 2\)"),
        (lambda r: window_stats(r, [0], [-1], [2]), r"window 0 is \[-1, 2\)"),
        (lambda r: window_stats(r, [2], [0], [2]), "column below 2"),
        (lambda r: window_stats(r, [-1], [0], [2]), "of column -1"),
        (lambda r: window_stats(r, [0], [0, 1], [2, 2]), "three equally long index arrays"),
    ],
)
def test_impossible_windows_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(market(5, 2))
