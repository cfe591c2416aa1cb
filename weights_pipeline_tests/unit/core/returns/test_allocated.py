"""Returns of allocations: what was held at the close before earns, exactly, and nothing else does."""

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.allocated import allocated_returns

DAYS = pd.date_range("2024-01-02", periods=5, freq="B")
WEIGHTS = pd.DataFrame({"QLD": [0.6, 0.605, 0, 0, 1], "TLT": [0.4, 0.395, 0, 0.9, 0]}, index=DAYS)
CLOSES = pd.DataFrame({"TLT": [100, 101, 100, 99, 99.99], "QLD": [70, 68.6, 70, 70.7, 72]}, index=DAYS)


def bits(returns):
    return [float(value).hex() for value in returns]


def test_by_hand():
    # 0.6 · −2% + 0.4 · 1%; then 0.605 · (70 / 68.6 − 1) − 0.395 / 101; then cash; then 0.9 · 1%
    found = allocated_returns(WEIGHTS, CLOSES)
    np.testing.assert_allclose(found.returns, [0, -0.008, 0.008436047686401, 0, 0.009], rtol=1e-12)
    assert found.lacking == {}


def test_a_close_that_is_missing_or_none_takes_both_returns_it_is_part_of_and_no_other():
    for gone in (math.nan, 0.0, -3.0):
        closes = CLOSES.assign(TLT=[100, gone, 100, 99, 99.99])
        found = allocated_returns(WEIGHTS, closes)
        assert [math.isnan(value) for value in found.returns] == [False, True, True, False, False]
        assert found.lacking == {DAYS[1]: ("TLT", DAYS[1]), DAYS[2]: ("TLT", DAYS[1])}
    # Nobody holds it then.
    assert not allocated_returns(WEIGHTS, CLOSES.assign(QLD=[70, 68.6, 70, math.nan, 72])).lacking


def test_an_unknown_allocation_takes_the_return_after_it():
    weights = WEIGHTS.copy()
    weights.loc[DAYS[1], "QLD"] = math.nan
    found = allocated_returns(weights, CLOSES)
    assert [math.isnan(value) for value in found.returns] == [False, False, True, False, False]
    assert found.lacking == {}


def test_no_rows_and_one_row():
    assert allocated_returns(WEIGHTS[:0], CLOSES).returns.empty
    assert allocated_returns(WEIGHTS[:1], CLOSES[:0]).returns.tolist() == [0.0]


@st.composite
def portfolios(draw):
    rows, symbols = draw(st.integers(2, 8)), draw(st.integers(1, 5))
    share, price = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5]), st.floats(0.01, 1e4)
    days = pd.date_range("2024-01-02", periods=rows)
    names = [f"S{i}" for i in range(symbols)]
    tables = (draw(st.lists(st.lists(of, min_size=symbols, max_size=symbols), min_size=rows, max_size=rows))
              for of in (share, price))  # fmt: skip
    return tuple(pd.DataFrame(table, index=days, columns=names) for table in tables)


@given(portfolios(), st.randoms(use_true_random=False))
def test_neither_the_order_of_symbols_nor_one_that_is_not_held_changes_a_bit(portfolio, draw):
    weights, closes = portfolio
    order = draw.sample([*weights], len([*weights]))
    other = allocated_returns(weights[order].assign(none=0.0), closes[draw.sample(order, len(order))])
    assert bits(other.returns) == bits(allocated_returns(weights, closes).returns)


@given(portfolios())
def test_half_of_everything_earns_half_and_prices_have_no_unit(portfolio):
    weights, closes = portfolio
    full = allocated_returns(weights, closes).returns
    assert bits(allocated_returns(weights / 2, closes).returns) == bits(full / 2)
    assert bits(allocated_returns(weights, closes * 4).returns) == bits(full)


@given(portfolios(), st.data())
def test_nothing_later_changes_a_return(portfolio, data):
    weights, closes = portfolio
    full = allocated_returns(weights, closes).returns
    at = data.draw(st.integers(1, len(weights) - 1))
    later = weights.copy()
    later.iloc[at:] = 0.77
    assert bits(allocated_returns(later, closes).returns[: at + 1]) == bits(full[: at + 1])
    cut = allocated_returns(weights[: at + 1], closes[: at + 1]).returns
    assert bits(cut) == bits(full[: at + 1])
