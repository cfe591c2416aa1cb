"""The chain in memory, from daily returns to final weights: the future changes nothing, nor does the cut of a run."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.books.load import load_books
from weights_pipeline.core import chain
from weights_pipeline.core.returns.capital import AveragePositionValue
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.measured import metrics_table

POLICY = load_books(DATA / "books")[BOOK].policy()
NAMES = list(POLICY.strategies)
SESSIONS = pd.bdate_range("2018-01-01", "2019-06-28", name="session")
AS_OF = pd.DatetimeIndex(pd.Series(SESSIONS, index=SESSIONS).groupby(SESSIONS.to_period("M")).max())


def simulated_returns(seed):
    """Fat-tailed daily returns of the sample book's strategies; two of them start late."""
    rng = np.random.default_rng(seed)
    values = np.clip(rng.standard_t(3, (len(SESSIONS), len(NAMES))) * 0.006, -0.5, 0.5)
    frame = pd.DataFrame(values, index=SESSIONS, columns=NAMES)
    frame.iloc[:120, 0] = frame.iloc[:250, 1] = np.nan
    long = frame.reset_index().melt("session", var_name="strategy", value_name="daily_return").dropna()
    return long.assign(pnl=1.0, capital=1.0, closed_lots=1, winning_lots=0, active=True).sort_values(
        ["session", "strategy"], ignore_index=True
    )


def run_chain(returns, as_of, policy=POLICY):
    """Targets, realized weights, state and final weights, as an orchestrator would compute them in one go."""
    history = ReturnHistory.from_long(returns, sessions=SESSIONS[returns["session"].max() >= SESSIONS])
    metrics = chain.metric_rows(history, as_of, policy)
    targets = chain.target_table(metrics, policy)
    calendar = SESSIONS.append(pd.bdate_range("2019-07-01", periods=5))
    realized = chain.realized_table(pd.DataFrame(), targets, policy, calendar)
    state = chain.state_table(returns, realized, policy.overlay, DAILY)
    regimes = chain.regime_table(state, policy.overlay.thresholds)
    scalars = chain.scalar_table(regimes, policy.overlay)
    final = chain.final_table(realized, scalars, policy, calendar)
    return {"metrics": metrics, "targets": targets, "realized": realized, "state": state, "final": final}


def until(tables, date):
    kept = {}
    for name, table in tables.items():
        column = "session" if name == "state" else "as_of"
        kept[name] = table[table[column] <= date].reset_index(drop=True)
    return kept


@examples(8)
@given(
    seed=st.integers(0, 10_000),
    month=st.integers(0, len(AS_OF) - 2),
    fate=st.sampled_from(["removed", "reversed", "ruined", "a strategy vanishes"]),
)
def test_whatever_happens_after_a_date_earlier_tables_are_the_same_bits(seed, month, fate):
    returns, date = simulated_returns(seed), AS_OF[month]
    after = returns["session"] > date
    changed = returns.copy()
    if fate == "removed":
        changed = changed[~after]
    elif fate == "reversed":
        changed.loc[after, "daily_return"] *= -1
    elif fate == "ruined":
        changed.loc[after, "daily_return"] = np.random.default_rng(seed).uniform(-0.4, 0.1, int(after.sum()))
    else:
        changed.loc[after & (changed["strategy"] == NAMES[3]), "daily_return"] = 0.0
    as_of = AS_OF[date >= AS_OF] if fate == "removed" else AS_OF
    expected, found = until(run_chain(returns, AS_OF), date), until(run_chain(changed, as_of), date)
    for name, table in expected.items():
        assert len(table) or name == "state"
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)


@examples(12)
@given(seed=st.integers(0, 10_000))
def test_weights_keep_their_promises_on_any_history(seed):
    realized = run_chain(simulated_returns(seed), AS_OF)["realized"]
    sums = realized.groupby("as_of")["realized"].sum()
    assert np.abs(sums - POLICY.gross).max() <= 1e-9
    assert (realized["realized"] <= realized["upper"]).all()
    assert (realized["realized"] >= realized["lower"]).all()


ADAPTIVE = replace(
    POLICY,
    method=replace(POLICY.method, lookback={"NORMAL": "12m", "ELEVATED": "6m", "STRESS": "90d", "CRISIS": "60s"}),
)


@pytest.mark.parametrize("month", [5, 11, 16])
def test_a_window_per_risk_regime_sees_no_future_and_follows_the_regime(month):
    returns, date = simulated_returns(3), AS_OF[month]
    returns.loc[returns["session"].between("2018-10-01", "2018-11-15"), "daily_return"] -= 0.01
    whole, blind = run_chain(returns, AS_OF, ADAPTIVE), returns[returns["session"] <= date]
    expected, found = until(whole, date), run_chain(blind, AS_OF[date >= AS_OF], ADAPTIVE)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)
    history = ReturnHistory.from_long(returns, sessions=SESSIONS)
    regimes = chain.base_regimes(history, ADAPTIVE).reindex(AS_OF)
    labels = whole["targets"].drop_duplicates("as_of").set_index("as_of")["metric"]
    assert set(regimes) >= {"NORMAL", "CRISIS"}
    windows = {regime: f"calmar_{lookback.label}" for regime, lookback in ADAPTIVE.lookbacks.items()}
    assert labels.tolist() == [windows[regime] for regime in regimes]


def test_order_of_strategies_is_irrelevant():
    returns = simulated_returns(5)
    shuffled = returns.sample(frac=1, random_state=1)
    expected, found = run_chain(returns, AS_OF), run_chain(shuffled, AS_OF)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)


def test_returns_delivered_in_place_of_a_ledger():
    sessions = SESSIONS[:6]
    nothing = pd.DataFrame(columns=catalog.TRADE_LEDGER.column_names())
    nothing = nothing.astype({"session": "datetime64[us]", "open_session": "datetime64[us]", "pnl": float})
    nothing = nothing.astype({"entry_value": float, "margin_used": float})
    no_open = pd.DataFrame(columns=catalog.OPEN_LOTS.column_names()).astype(
        {"snapshot": "datetime64[us]", "open_session": "datetime64[us]", "entry_value": float}
    )
    delivered = pd.DataFrame({"session": sessions[[1, 3]], "strategy": "alpha", "daily_return": [0.01, -0.02]})
    table = chain.returns_table(nothing, no_open, delivered, sessions, AveragePositionValue(), sessions[0])
    assert table["session"].tolist() == sessions[1:].tolist()
    assert table["daily_return"].tolist() == [0.01, 0.0, -0.02, 0.0, 0.0]
    assert table["closed_lots"].isna().all()
    measured = metrics_table(
        ReturnHistory.from_long(table, sessions=sessions), sessions[-1:], POLICY.longest_lookback, strategies=["alpha"]
    ).set_index("metric")
    assert measured.loc["n_sessions", "value"] == 5
