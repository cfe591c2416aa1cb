"""Comparison of methods: windows, a case worked by hand, no look-ahead, fees, nulls, and the check of same sessions."""

import math
import statistics
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.comparison import compare, same_sessions, windows
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.market_regime import MARKET_REGIMES
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe
from weights_pipeline_tests.support.examples import examples

NAMES = ("alpha", "beta", "gamma")
BASE = dict(zip(NAMES, (0.5, 0.3, 0.2), strict=True))
SESSIONS = pd.bdate_range("2019-01-01", periods=230).as_unit("us")
TRAIN, TEST = 80, 40
EAGER = MetricParameters(min_sessions=5)
POLICIES = {
    "minmax": Policy(base=BASE, method=MinmaxTilt(metric="sharpe", lookback="30s"), metrics=EAGER),
    "slow calmar": Policy(base=BASE, method=CalmarTilt(lookback="60s"), metrics=EAGER, rate=0.25),
    "equal, scaled": Policy(
        base=dict.fromkeys(NAMES, 0.4),
        gross=1.2,
        method=Equal(),
        overlay=AllocatorParameters(profile="low"),
    ),
    "ensemble": Policy(
        base=BASE,
        method=SoftmaxSharpe(lookback="60s"),
        limits=Limits(floor=0.0, cap=1.0, of="weight"),
        metrics=EAGER,
        ensemble=True,
    ),
}
REGIMES = pd.Series(np.array(MARKET_REGIMES)[np.arange(len(SESSIONS)) // 30 % 4], index=SESSIONS)


def random_returns(seed, sessions=230):
    rng = np.random.default_rng(seed)
    level = np.where(np.arange(sessions) % 90 > 60, 0.02, 0.006)[:, None]
    returns = 0.0005 + level * rng.standard_normal((sessions, 1)) + 0.006 * rng.standard_normal((sessions, 3))
    returns[:25, 2] = np.nan
    return returns


def history_of(returns, sessions=SESSIONS, names=NAMES):
    return ReturnHistory.from_arrays(returns, sessions[: len(returns)], names)


def run(returns, policies=POLICIES, **options):
    history = history_of(returns)
    options = {"train": TRAIN, "test": TEST, "market_regimes": REGIMES} | options
    return compare(history, history.sessions, policies, **options)


@cache
def whole():
    return run(random_returns(1))


# --------------------------------------------------------------------------------------------------- windows


def test_windows_follow_each_other_and_the_last_ends_with_the_sessions():
    found = windows(SESSIONS, train=100, test=50)
    assert found["window"].tolist() == [0, 1, 2]
    assert found["sessions"].tolist() == [50, 50, 30]
    for name, at in {
        "train_first": [0, 50, 100],
        "train_last": [99, 149, 199],
        "test_first": [100, 150, 200],
        "test_last": [149, 199, 229],
    }.items():
        assert found[name].tolist() == SESSIONS[at].tolist()
    assert len(windows(pd.bdate_range("2020-01-01", periods=252 + 63))) == 1


@settings(max_examples=25, deadline=None)
@given(train=st.integers(1, 60), test=st.integers(1, 60), sessions=st.integers(2, 200))
def test_every_session_is_out_of_sample_once_and_never_in_its_own_sample(train, test, sessions):
    days = SESSIONS[: train + sessions]
    judged = []
    for row in windows(days, train, test).itertuples():
        known, judged_on = days[days.slice_indexer(row.train_first, row.train_last)], days[days >= row.test_first]
        judged_on = judged_on[judged_on <= row.test_last]
        assert len(known) == train
        assert len(judged_on) == row.sessions <= test
        assert known[-1] < judged_on[0]
        judged += judged_on.tolist()
    assert judged == days[train:].tolist()


@pytest.mark.parametrize(
    ("sessions", "train", "test", "message"),
    [
        (SESSIONS, 0, 10, "train: expected at least 1 session, got 0"),
        (SESSIONS, 10, 0, "test: expected at least 1 session, got 0"),
        (SESSIONS[:10], 10, 5, "sessions: expected more than the 10 in sample of the first window, got 10"),
        (SESSIONS[::-1], 10, 5, "sessions: expected ascending and unique days"),
    ],
)
def test_windows_that_cannot_be_made_are_refused(sessions, train, test, message):
    with pytest.raises(ValueError, match=message):
        windows(sessions, train, test)


# --------------------------------------------------------------------------------------------------- by hand


def test_two_strategies_in_two_windows_by_hand():
    a = [0.00, 0.02, 0.01, -0.01, 0.00, 0.04]
    b = [0.00, 0.01, 0.00, 0.02, 0.01, -0.02]
    days = pd.DatetimeIndex(["2024-01-26", "2024-01-29", "2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"])
    tilt = MinmaxTilt(metric="mean_return", lookback="2s", lo=0.5, hi=2.0)
    eager = MetricParameters(min_sessions=2)
    policies = {
        "half way": Policy(base={"a": 0.5, "b": 0.5}, method=tilt, metrics=eager, rate=0.5),
        "held": Policy(base={"a": 0.25, "b": 0.25}, gross=0.5, method=Equal()),
    }
    history = history_of(np.array([a, b]).T, days, ("a", "b"))
    found = compare(history, days, policies, train=3, test=2, costs=Costs(fee=0.01))

    # Window 0 knows the 29th and 30th: a is ahead, so its target is 0.75 (b at its floor of 0.25); half of the way from
    # 0.5. Window 1 knows the two sessions of window 0: b is ahead.
    weights = found.weights[found.weights["method"] == "half way"]
    assert weights["weight"].tolist() == [0.625, 0.375, 0.4375, 0.5625]
    assert weights["strategy"].tolist() == ["a", "b", "a", "b"]
    assert weights["window"].tolist() == [0, 0, 1, 1]
    assert weights["as_of"].tolist() == days[[2, 2, 4, 4]].tolist()
    assert weights["effective_from"].tolist() == days[[3, 3, 5, 5]].tolist()

    expected = {
        "half way": [
            0.625 * -0.01 + 0.375 * 0.02 - 0.01 * (0.625 + 0.375),
            0.625 * 0.00 + 0.375 * 0.01,
            0.4375 * 0.04 + 0.5625 * -0.02 - 0.01 * (0.1875 + 0.1875),
        ],
        "held": [0.25 * -0.01 + 0.25 * 0.02 - 0.01 * 0.5, 0.25 * 0.00 + 0.25 * 0.01, 0.25 * 0.04 + 0.25 * -0.02],
    }
    assert found.returns.index.tolist() == days[3:].tolist()
    for name, returns in expected.items():
        assert found.returns[name].tolist() == pytest.approx(returns, abs=1e-17)

    table = found.table.set_index("method")
    assert table["sessions"].tolist() == [3, 3]
    assert (table["first"] == days[3]).all()
    assert (table["last"] == days[5]).all()
    assert table["mean_gross"].to_dict() == {"half way": 1.0, "held": 0.5}
    # January has one session of the windows, February two.
    assert table.loc["half way", "worst_month"] == pytest.approx(expected["half way"][0], abs=1e-15)
    insufficient = set(table) - {"sessions", "first", "last", "mean_gross", "worst_month", "nulls"}
    assert table[list(insufficient)].isna().all(axis=None)
    assert {part.split(": ")[0] for part in table.loc["held", "nulls"].split("; ")} == insufficient
    assert {part.split(": ")[1] for part in table.loc["held", "nulls"].split("; ")} == {"insufficient"}


def test_figures_are_those_of_a_plain_loop():
    found, risk_free, fee = run(random_returns(2), costs=Costs(fee=0.002), risk_free=0.03), 0.03, 0.002
    for row in found.table.itertuples():
        r = found.returns[row.method].tolist()
        assert row.sessions == len(r) == 150
        wealth, top, drawdown = 1.0, 1.0, 0.0
        for each in r:
            wealth *= 1 + each
            top = max(top, wealth)
            drawdown = max(drawdown, 1 - wealth / top)
        cagr, volatility = wealth ** (252 / 150) - 1, statistics.stdev(r) * math.sqrt(252)
        weights = found.weights[found.weights["method"] == row.method].pivot(
            index="window", columns="strategy", values="weight"
        )
        before, moved = dict.fromkeys(NAMES, 0.0), 0.0
        for _, held in weights.iterrows():
            moved += sum(abs(held[name] - before[name]) for name in NAMES)
            before = held
        expected = {
            "cagr": cagr,
            "volatility": volatility,
            "sharpe": (statistics.fmean(r) * 252 - risk_free) / volatility,
            "max_drawdown": drawdown,
            "calmar": cagr / drawdown,
            "worst_month": performance(found.returns[row.method])["worst_month"][0],
            "mean_gross": sum(weights.sum(axis=1) * [40, 40, 40, 30]) / 150,
            "turnover_per_year": moved / 2 * 252 / 150,
            "fees_per_year": fee * moved * 252 / 150,
        }
        for name, value in expected.items():
            assert getattr(row, name) == pytest.approx(value, rel=1e-10), (row.method, name)
        assert row.cagr < row.cagr_before_fees
        assert row.nulls == ""


# ------------------------------------------------------------------------------------- weights of the chain


def test_weights_and_returns_are_those_of_simulations():
    returns = random_returns(1)
    history, split = history_of(returns), windows(SESSIONS, TRAIN, TEST)
    for name, policy in POLICIES.items():
        alone = simulate(history, pd.DatetimeIndex(split["train_last"]), SESSIONS, policy, market_regimes=REGIMES)
        got = whole().weights[whole().weights["method"] == name]
        assert got["weight"].to_numpy().tobytes() == alone.final.tobytes()
        assert got["effective_from"].tolist() == alone.effective_from.repeat(3).tolist()
        fees = alone.traded.loc[split["test_first"][0] :] - whole().returns[name]
        assert set(fees.index[fees > 1e-9]) <= set(split["test_first"])
    scaled = whole().weights.query("method == 'equal, scaled'").groupby("window")["weight"].sum()
    assert scaled.iloc[0] == pytest.approx(1.2)
    assert scaled.min() < 1.1


@examples(10)
@given(
    seed=st.integers(0, 10_000),
    window=st.integers(0, 3),
    fate=st.sampled_from(["reversed", "ruined", "quiet", "removed"]),
)
def test_nothing_after_an_as_of_session_changes_the_weights_of_its_window(seed, window, fate):
    returns = random_returns(seed)
    known = TRAIN + window * TEST
    changed = returns.copy()
    if fate == "ruined":
        changed[known:] = np.random.default_rng(seed).uniform(-0.3, 0.1, changed[known:].shape)
    elif fate == "removed":
        changed = changed[: known + 1]
    else:
        changed[known:] *= -1 if fate == "reversed" else 1e-3
    one, other = run(returns), run(changed)
    until = SESSIONS[known - 1]
    weights, found = (each.weights[each.weights["as_of"] <= until].reset_index(drop=True) for each in (one, other))
    assert len(weights) == len(POLICIES) * (window + 1) * len(NAMES)
    assert_frame_equal(found, weights, check_exact=True)
    assert_frame_equal(other.returns.loc[:until], one.returns.loc[:until], check_exact=True)
    assert len(other.returns) < len(one.returns) if fate == "removed" else not other.returns.equals(one.returns)


def test_what_lies_after_the_sessions_is_not_read_and_what_lies_before_is():
    returns = random_returns(3)
    returns[200:] = -0.9
    history, part = history_of(returns), SESSIONS[30:200]
    found = compare(history, part, POLICIES, train=TRAIN, test=TEST, market_regimes=REGIMES)
    cut = compare(history_of(returns[:200]), part, POLICIES, train=TRAIN, test=TEST, market_regimes=REGIMES)
    for name in ("windows", "weights", "returns", "table"):
        assert_frame_equal(getattr(found, name), getattr(cut, name), check_exact=True)
    longer = {"calmar": replace(POLICIES["slow calmar"], method=CalmarTilt(lookback="100s"))}
    blind = compare(history_of(returns[30:], SESSIONS[30:]), part, longer, train=TRAIN, test=TEST)
    assert not compare(history, part, longer, train=TRAIN, test=TEST).weights.equals(blind.weights)


# -------------------------------------------------------------------------------- one method, many methods


@pytest.mark.parametrize("dropped", POLICIES)
def test_dropping_a_method_changes_nothing_of_the_others(dropped):
    found = run(random_returns(1), {name: policy for name, policy in POLICIES.items() if name != dropped})
    assert_frame_equal(found.windows, whole().windows)
    assert_frame_equal(found.returns, whole().returns.drop(columns=dropped), check_exact=True)
    for name in ("weights", "table"):
        expected = getattr(whole(), name)
        expected = expected[expected["method"] != dropped].reset_index(drop=True)
        assert_frame_equal(getattr(found, name), expected, check_exact=True)


def test_order_of_methods_permutes_rows_only():
    order = ["ensemble", "minmax", "equal, scaled", "slow calmar"]
    found = run(random_returns(1), {name: POLICIES[name] for name in order})
    assert_frame_equal(found.returns, whole().returns[order], check_exact=True)
    expected = whole().table.set_index("method").loc[order].reset_index()
    assert_frame_equal(found.table, expected, check_exact=True)
    assert found.weights["method"].unique().tolist() == order


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_the_unit_of_sessions_is_irrelevant(unit):
    days = SESSIONS.as_unit(unit)
    found = compare(history_of(random_returns(1), days), days, POLICIES, train=TRAIN, test=TEST, market_regimes=REGIMES)
    for name in ("windows", "weights", "returns", "table"):
        assert_frame_equal(getattr(found, name), getattr(whole(), name), check_exact=True)


def test_order_of_strategies_is_irrelevant():
    returns = random_returns(1)
    reverse = {name: replace(each, base=dict(reversed(each.base.items()))) for name, each in POLICIES.items()}
    history = history_of(returns[:, ::-1], names=NAMES[::-1])
    found = compare(history, SESSIONS, reverse, train=TRAIN, test=TEST, market_regimes=REGIMES)
    assert_frame_equal(found.weights, whole().weights, check_exact=True)
    assert_frame_equal(found.table, whole().table, check_exact=True)


# ------------------------------------------------------------------------------------------------------ fees


def test_without_a_fee_what_is_left_is_what_was_earned():
    free, table = run(random_returns(1), costs=Costs(fee=0.0)), whole().table
    assert (free.table["cagr"] == free.table["cagr_before_fees"]).all()
    assert (free.table["fees_per_year"] == 0).all()
    for name in ("cagr_before_fees", "turnover_per_year", "mean_gross"):
        assert_frame_equal(free.table[[name]], table[[name]], check_exact=True)
    assert_frame_equal(free.weights, whole().weights, check_exact=True)
    np.testing.assert_allclose(table["fees_per_year"], 2 * 0.001 * table["turnover_per_year"], rtol=1e-14)


def test_a_fee_is_paid_on_the_first_session_of_a_window_alone():
    free, dear = run(random_returns(1), costs=Costs(fee=0.0)), run(random_returns(1), costs=Costs(fee=0.05))
    paid = free.returns - dear.returns
    first = paid.index.isin(dear.windows["test_first"])
    assert (paid[~first] == 0).all(axis=None)
    assert (paid[first] >= 0).all(axis=None)
    # The first window builds the book from cash: gross of 1, and of 1.2.
    assert paid.iloc[0].tolist() == pytest.approx([0.05, 0.05, 0.06, 0.05], abs=1e-12)


def test_costs_by_strategy_financing_and_drift():
    free = run(random_returns(1), costs=Costs())
    costs = Costs(fee=0.001, by_strategy={"beta": 0.01}, rebalance=0.0002, financing=0.0252)
    dear = run(random_returns(1), costs=costs)
    paid = free.returns - dear.returns
    # Only one method borrows, where nothing scales it below 1.
    first = paid.index.isin(dear.windows["test_first"])
    assert (paid.loc[~first].drop(columns="equal, scaled") == 0).all(axis=None)
    assert paid.loc[~first, "equal, scaled"].max() == pytest.approx(0.0001 * 0.2)
    assert paid["minmax"].iloc[0] > 0.001 + 0.0002
    for name, total in paid.sum().items():
        yearly = dear.table.set_index("method").loc[name, "fees_per_year"]
        assert yearly == pytest.approx(total * 252 / len(paid))

    drifting = run(random_returns(1), costs=Costs(), drift=True)
    assert_frame_equal(drifting.weights, free.weights, check_exact=True)
    # On the first session of a window weights are what they were set to.
    assert_frame_equal(drifting.returns[first], free.returns[first], check_exact=True)
    assert (drifting.returns != free.returns).any(axis=None)
    assert (drifting.table["turnover_per_year"] != free.table["turnover_per_year"]).all()


# ----------------------------------------------------------------------------------------------------- nulls


@pytest.mark.parametrize(
    ("daily", "nulls"),
    [
        (0.001, "sharpe: zero_volatility; calmar: no_drawdown"),
        (0.0, "sharpe: zero_volatility; calmar: flat"),
        (-0.001, "sharpe: zero_volatility"),
    ],
)
def test_a_null_says_why_and_nothing_is_infinite(daily, nulls):
    found = run(np.full((160, 3), daily), {"equal": Policy(base=BASE, method=Equal())}, costs=Costs(fee=0.0))
    row = found.table.iloc[0]
    assert row["nulls"] == nulls
    assert set(row.index[row.isna()]) == {part.split(":")[0] for part in nulls.split("; ")}
    assert np.isfinite(row.drop(["method", "first", "last", "nulls"]).dropna().astype(float)).all()


@pytest.mark.parametrize(("frequency", "least"), [(DAILY, 60), (MONTHLY, 6)])
def test_below_sixty_sessions_or_six_months_nothing_is_a_year(frequency, least):
    policies = {"equal": Policy(base=BASE, method=Equal(), frequency=frequency)}
    for sessions, measured in ((TRAIN + least, True), (TRAIN + least - 1, False)):
        table = run(random_returns(4, sessions), policies).table
        assert table[["cagr", "turnover_per_year", "fees_per_year"]].notna().all(axis=None) == measured
        assert ("fees_per_year: insufficient" in table["nulls"][0]) != measured


def test_a_book_of_strategies_not_yet_live_earns_nothing_but_pays():
    returns = random_returns(5)
    returns[: TRAIN + 10] = np.nan
    found = run(returns, {"equal": Policy(base=BASE, method=Equal())}, costs=Costs(fee=0.01)).returns["equal"]
    assert found.iloc[:10].tolist() == [-0.01, *[0.0] * 9]
    assert found.iloc[10] != 0


# -------------------------------------------------------------------------------------------------- refusals


@dataclass(frozen=True, kw_only=True)
class Fragile(Equal):
    """Equal weights that cannot be had once the mean return of the first strategy is too low."""

    metric: ClassVar[str] = "mean_return"
    reads: ClassVar[tuple[str, ...]] = ("mean_return",)
    lookback: ClassVar[str] = "10s"

    def multipliers(self, section, limits):
        if section.values["mean_return"][0] < -0.05:
            raise ValueError("no solution: the first strategy has lost too much")
        return super().multipliers(section, limits)


@pytest.mark.parametrize("window", [0, 2, 3])
def test_a_method_that_fails_is_named_with_its_window(window):
    returns = random_returns(6)
    end = TRAIN + window * TEST
    returns[end - 10 : end] = -0.1
    policies = POLICIES | {"fragile": Policy(base=BASE, method=Fragile(), metrics=EAGER)}
    message = f"^fragile, window {window}, as of {SESSIONS[end - 1]:%Y-%m-%d}: no solution: the first"
    with pytest.raises(ValueError, match=message):
        run(returns, policies)
    assert "fragile" in run(random_returns(6), policies).returns


def test_a_book_that_is_lost_under_an_overlay_is_named_with_the_window_of_the_loss():
    returns = random_returns(6)
    returns[TRAIN + 2 * TEST - 1] = -0.9
    with pytest.raises(ValueError, match=r"^equal, scaled, window 1, as of .*: equity: expected values above 0"):
        run(returns)


def test_a_method_without_what_it_needs_is_named():
    with pytest.raises(ValueError, match=r"^ensemble, window 0, as of .*: market_regimes: expected a regime"):
        run(random_returns(1), market_regimes=None)


def test_a_method_that_loses_everything_is_named():
    returns = random_returns(7)
    returns[120] = -0.6
    policies = {"levered": Policy(base=dict.fromkeys(NAMES, 2 / 3), gross=2.0, method=Equal())}
    with pytest.raises(ValueError, match=f"levered: expected returns above -1, got -1.2.* on {SESSIONS[120]:%Y-%m-%d}"):
        run(returns, policies)


def test_policies_over_different_strategies_are_refused():
    other = Policy(base={"alpha": 0.5, "beta": 0.3, "delta": 0.2}, method=Equal())
    with pytest.raises(ValueError, match=r"minmax and other do not share \['delta', 'gamma'\]"):
        run(random_returns(1), POLICIES | {"other": other})


def test_policies_on_returns_of_different_frequencies_are_refused():
    monthly = Policy(base=BASE, method=Equal(), frequency=MONTHLY)
    with pytest.raises(ValueError, match=r"expected one frequency of returns, .* and monthly differ"):
        run(random_returns(1), POLICIES | {"monthly": monthly})


def test_an_overlay_that_trades_daily_is_refused_where_it_is_applied():
    policy, returns = POLICIES["equal, scaled"], random_returns(1)
    daily = replace(policy, overlay=replace(policy.overlay, apply="daily"))
    with pytest.raises(ValueError, match=r"^nervous: expected weights that stay the same through a window"):
        run(returns, {"nervous": daily})
    disabled = replace(policy, overlay=replace(policy.overlay, apply="daily", enabled=False))
    assert (run(returns, {"calm": disabled}).weights["weight"] == 0.4).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policies": {}}, "policies: expected at least one"),
        ({"costs": Costs(by_strategy={"zeta": 0.1})}, r"by_strategy: \['zeta'\] are no strategies of the book"),
        ({"risk_free": 4.5}, "risk_free: expected an annual fraction"),
        ({"train": 230}, "sessions: expected more than the 230"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(random_returns(1), **options)


@pytest.mark.parametrize("sessions", [SESSIONS.delete(100), SESSIONS.append(SESSIONS[-1:] + pd.Timedelta(days=9))])
def test_sessions_with_a_gap_or_outside_the_history_are_refused(sessions):
    with pytest.raises(ValueError, match="sessions: expected sessions of the history, one after the other"):
        compare(history_of(random_returns(1)), sessions, POLICIES, train=TRAIN, test=TEST)


# ---------------------------------------------------------------------------------------------- same sessions


def test_a_comparison_is_on_the_same_sessions():
    found = same_sessions(whole().windows, whole().weights, whole().returns)
    assert (found.passed, found.value, len(found.offending)) == (True, 0.0, 0)
    assert found.summary == "4 methods in 4 windows on 150 sessions; the same for all"


def test_order_of_stored_rows_is_irrelevant():
    shuffled = whole().weights.sample(frac=1, random_state=1)
    returns = whole().returns[sorted(POLICIES)].sample(frac=1, random_state=2)
    assert same_sessions(whole().windows, shuffled, returns).passed


def lacks_a_session(windows, weights, returns):
    return windows, weights, returns.mask((returns.index == SESSIONS[130])[:, None] & (returns.columns == "minmax"))


def lacks_a_window(windows, weights, returns):
    return windows, weights[(weights["method"] != "minmax") | (weights["window"] != 2)], returns


def reads_a_day_more(windows, weights, returns):
    late = (weights["method"] == "minmax") & (weights["window"] == 1)
    return windows, weights.assign(as_of=weights["as_of"].mask(late, weights["effective_from"])), returns


def weighs_in_a_window_more(windows, weights, returns):
    more = weights[weights["method"] == "minmax"].tail(3).assign(window=4, as_of=SESSIONS[-1])
    return windows, pd.concat([weights, more]), returns


def has_a_session_more(windows, weights, returns):
    return windows, weights, pd.concat([returns[["minmax"]].iloc[:1].set_axis(SESSIONS[10:11]), returns])


def is_not_there(windows, weights, returns):
    return windows, weights, returns.drop(columns="minmax")


def is_not_weighted(windows, weights, returns):
    return windows, weights[weights["method"] != "minmax"], returns


@pytest.mark.parametrize(
    ("spoil", "sessions", "problems"),
    [
        (lacks_a_session, [130], {"no return"}),
        (lacks_a_window, [159], {"no weights"}),
        (reads_a_day_more, [119], {"weights of other sessions"}),
        (weighs_in_a_window_more, [229], {"weights of no window"}),
        (has_a_session_more, [10], {"return outside of all windows"}),
        (is_not_there, list(range(80, 230)), {"no return"}),
        (is_not_weighted, [79, 119, 159, 199], {"no weights"}),
    ],
)
def test_a_method_with_other_sessions_or_windows_is_named_with_them(spoil, sessions, problems):
    found = same_sessions(*spoil(whole().windows, whole().weights, whole().returns))
    assert not found.passed
    assert found.value == len(found.offending)
    assert found.summary.endswith(f"; {len(sessions)} differences, of minmax")
    assert set(found.offending["method"]) == {"minmax"}
    assert found.offending["session"].tolist() == SESSIONS[sessions].tolist()
    assert set(found.offending["problem"]) == problems


def test_a_session_that_all_methods_lack_is_found():
    found = same_sessions(whole().windows, whole().weights, whole().returns.drop(SESSIONS[[125, 126]]))
    assert found.offending[["method", "window", "problem"]].drop_duplicates("window").to_numpy().tolist() == [
        ["minmax", 1, "38 of 40 sessions"]
    ]
    assert set(found.offending["method"]) == set(POLICIES)


def test_nothing_compared_is_no_success():
    nothing = same_sessions(whole().windows.iloc[:0], whole().weights.iloc[:0], whole().returns.iloc[:0, :0])
    assert (nothing.passed, len(nothing.offending)) == (False, 0)
    assert nothing.summary.startswith("0 methods in 0 windows on 0 sessions")
