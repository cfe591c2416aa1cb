"""Liquidity: what strategies trade against the usual volume of its symbol, and the capital that it would be for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL
from weights_pipeline.core.metrics.table import metrics_grid
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.returns.liquidity import USUAL, liquidity, traded
from weights_pipeline_tests.support.examples import examples

SESSIONS = pd.bdate_range("2024-01-01", periods=40).as_unit("us")
NAMES, SYMBOLS = ("a", "b"), ("X", "Y", "Z")


def lots(*rows: tuple[str, str, int, int, float]) -> pd.DataFrame:
    """Strategy, symbol, numbers of the sessions of entry and exit, and quantity."""
    frame = pd.DataFrame(rows, columns=["strategy", "symbol", "open_session", "session", "quantity"])
    return frame.assign(**{name: SESSIONS[frame[name].to_numpy(int)] for name in ("open_session", "session")})


def even(**volume: float) -> pd.DataFrame:
    return pd.DataFrame(volume, index=SESSIONS)


def test_what_left_and_what_had_entered_is_held_against_the_sessions_before_it() -> None:
    volumes = even(X=1_000.0, Y=400.0)
    volumes.loc[SESSIONS[25], "X"] = 22_000.0
    made = traded([lots(("a", "X", 23, 30, 10.0), ("a", "X", 23, 26, 20.0), ("a", "Y", 29, 30, 2.0))])
    found = liquidity(made, volumes, SESSIONS).set_index("session")
    # Session 26: 20 left; the usual volume has the one of session 25 in it. Of the entry in session 23, 20 are known.
    usual = (20 * 1_000.0 + 22_000.0) / USUAL
    columns = ["strategy", "symbol", "quantity", "usual_volume"]
    assert found["unknown"].isna().all()
    assert found.loc[SESSIONS[26], columns].tolist() == ["a", "X", 20.0, 1_000.0]
    # Session 30: of X 10 left against `usual`, but 30 entered in session 23 are known, against 1,000.
    assert usual > 1_000.0
    assert found.loc[SESSIONS[30], columns].tolist() == ["a", "X", 30.0, 1_000.0]


def test_sessions_without_a_stated_volume_are_left_out_and_none_at_all_is_unknown() -> None:
    volumes = even(X=100.0, Y=5.0)
    volumes.loc[SESSIONS[5:20], "X"] = np.nan
    volumes.loc[SESSIONS[:10], "Y"] = np.nan
    made = traded([lots(("a", "X", 12, 21, 1.0), ("b", "Y", 10, 12, 1.0), ("b", "Z", 20, 30, 1.0))])
    found = liquidity(made, volumes, SESSIONS).set_index(["strategy", "session"])
    assert found.loc[("a", SESSIONS[21]), "usual_volume"] == 100.0
    # Of Y nothing was stated before it was entered, though it was before it left; Z is never stated.
    assert found.loc[("b", SESSIONS[12]), ["usual_volume", "unknown"]].tolist() == [5.0, "Y"]
    assert np.isnan(found.loc[("b", SESSIONS[30]), "usual_volume"])
    assert found.loc[("b", SESSIONS[30]), ["symbol", "unknown"]].tolist() == ["Z", "Z"]
    # What is known limits whatever else is not.
    both = traded([lots(("b", "X", 32, 33, 4.0), ("b", "Z", 20, 33, 1.0))])
    assert liquidity(both, volumes, SESSIONS).iloc[0, 2:].tolist() == ["X", 4.0, 100.0, "Z"]


def test_a_day_without_trade_in_the_market_is_a_volume() -> None:
    made = traded([lots(("a", "X", 22, 23, 4.0))])
    assert liquidity(made, even(X=0.0), SESSIONS)["usual_volume"].tolist() == [0.0]


books = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(SYMBOLS), st.integers(0, 38), st.integers(1, 12), st.integers(1, 999)
    ).map(lambda row: (*row[:3], min(row[2] + row[3], 39), row[4] / 7)),
    min_size=1,
    max_size=30,
)


def volumes_drawn(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 10_000, (len(SESSIONS), len(SYMBOLS))).astype(float)
    values[rng.random(values.shape) < 0.2] = np.nan
    return pd.DataFrame(values, index=SESSIONS, columns=list(SYMBOLS))


@examples(30)
@given(books, st.integers(0, 99), st.randoms(use_true_random=False), st.integers(5, 39))
def test_order_parts_and_what_comes_later_change_nothing(rows, seed, random, end) -> None:
    frame, volumes = lots(*rows), volumes_drawn(seed)
    whole = liquidity(traded([frame]), volumes, SESSIONS)
    shuffled = frame.sample(frac=1, random_state=random.randrange(1000))
    cut = SESSIONS[end]
    parts = [shuffled[shuffled["session"] < cut], shuffled[shuffled["session"] >= cut]]
    pd.testing.assert_frame_equal(liquidity(traded(parts), volumes, SESSIONS), whole, check_exact=True)
    # A month by itself, with what is known by its end: the same rows, to the bit.
    then = volumes.copy()
    then.loc[then.index >= cut] = 1.0
    known = liquidity(traded([frame[frame["session"] <= cut]]), then, SESSIONS)
    pd.testing.assert_frame_equal(known, whole[whole["session"] <= cut].reset_index(drop=True), check_exact=True)


@examples(30)
@given(books, st.integers(0, 99), st.sampled_from([0.25, 2.0, 8.0]))
def test_more_volume_is_more_liquid_and_units_do_not_matter(rows, seed, factor) -> None:
    frame, volumes = lots(*rows), volumes_drawn(seed)
    ratio = [
        (each["usual_volume"] / each["quantity"]).to_numpy()
        for each in (
            liquidity(traded([frame]), volumes, SESSIONS),
            liquidity(traded([frame.assign(quantity=frame["quantity"] * factor)]), volumes * factor, SESSIONS),
            liquidity(traded([frame]), volumes + 1.0, SESSIONS),
        )
    ]
    np.testing.assert_array_equal(ratio[0], ratio[1])
    known = ~np.isnan(ratio[0])
    assert (ratio[2][known] > ratio[0][known]).all()


def history(capital: float = 50_000.0) -> ReturnHistory:
    rows = pd.DataFrame(
        {"session": SESSIONS.repeat(2), "strategy": NAMES * len(SESSIONS), "daily_return": 0.001, "closed_lots": 1}
    ).assign(winning_lots=1, active=True, capital=capital)
    made = traded([lots(("a", "X", 22, 24, 10.0), ("a", "Y", 25, 30, 10.0), ("b", "Z", 22, 25, 1.0))])
    found = liquidity(made, even(X=1_000.0, Y=200.0), SESSIONS)
    return ReturnHistory.from_long(rows).with_liquidity(found, rows)


def test_liquid_capital_is_the_least_of_the_window_and_known_on_its_session() -> None:
    grid = metrics_grid(history(), SESSIONS[[23, 24, 29, 30, 39]], Lookback.parse("10s"))
    measured = grid.measured[LIQUID_CAPITAL]
    # 50,000 at 1% of the volume of X; at 5% of that of Y.
    nothing = np.nan
    np.testing.assert_array_equal(measured.value[:, 0], [nothing, 5_000_000.0, 5_000_000.0, 1_000_000.0, 1_000_000.0])
    assert np.isnan(measured.value[:, 1]).all()
    assert (grid.table().query("strategy == 'b' and metric == 'liquid_capital'")["reason"] == "no_lots").all()


def test_a_history_without_volumes_has_no_such_metric() -> None:
    rows = ReturnHistory.from_arrays(np.full((40, 1), 0.001), SESSIONS, ["a"])
    assert LIQUID_CAPITAL not in metrics_grid(rows, SESSIONS[-1:], Lookback.parse("10s")).measured
    with pytest.raises(ValueError, match="liquid_capital: needs the volumes of what was traded"):
        metrics_grid(rows, SESSIONS[-1:], Lookback.parse("10s"), metrics=[LIQUID_CAPITAL])
