"""Beta and correlation to a benchmark, against NumPy, pandas and empyrical."""

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.core.returns.frequency import MONTHLY
from weights_pipeline.core.study.benchmark import against_benchmark

SESSIONS = pd.bdate_range("2020-01-01", periods=300)
SPANS = {"6 months": 126, "12 months": 252}


def made(seed=1):
    generator = np.random.default_rng(seed)
    market = pd.Series(generator.normal(0.0, 0.01, len(SESSIONS)), SESSIONS)
    own = 0.4 * market + pd.Series(generator.normal(0.0, 0.004, len(SESSIONS)), SESSIONS)
    return own, (1.0 + market).cumprod() * 100.0, market


def test_they_are_those_of_others():
    import empyrical

    own, prices, market = made()
    found = against_benchmark(own, prices, SPANS)
    # The first session has no close before it.
    own, market = own.iloc[1:], market.iloc[1:]
    assert found.observations == 299
    assert found.beta == pytest.approx(empyrical.beta(own, market), rel=1e-9)
    assert found.correlation == pytest.approx(np.corrcoef(own, market)[0, 1], rel=1e-9)
    for span, count in SPANS.items():
        rolled = found.rolling[span]
        ours = own.rolling(count)
        pd.testing.assert_series_equal(rolled["correlation"], ours.corr(market).dropna(), check_names=False)
        beta = (ours.cov(market) / market.rolling(count).var()).dropna()
        pd.testing.assert_series_equal(rolled["beta"], beta, check_names=False)


def test_a_session_without_a_close_is_left_out_with_the_one_after_it():
    own, prices, market = made()
    found = against_benchmark(own, prices.drop(SESSIONS[[10, 50]]), SPANS)
    kept = np.delete(np.arange(300), [0, 10, 11, 50, 51])
    assert found.observations == len(kept)
    assert found.correlation == pytest.approx(np.corrcoef(own.iloc[kept], market.iloc[kept])[0, 1], rel=1e-9)


def test_what_does_not_move_or_is_too_short_has_none():
    own, prices, _ = made()
    assert np.isnan(against_benchmark(own, prices * 0.0 + 1.0, SPANS).beta)
    flat = against_benchmark(own * 0.0, prices, SPANS)
    assert (flat.beta, np.isnan(flat.correlation)) == (0.0, True)
    short = against_benchmark(own.iloc[:50], prices, SPANS)
    assert np.isnan([short.beta, short.correlation]).all()
    assert all(rolled.empty for rolled in short.rolling.values())
    assert not np.isnan(against_benchmark(own.iloc[:50], prices, SPANS, MONTHLY).beta)
    none = against_benchmark(own, prices.iloc[:0], SPANS)
    assert none.observations == 0
