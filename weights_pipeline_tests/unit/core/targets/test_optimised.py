"""Optimised methods: what they choose on, what becomes of their weights, and the limits on both."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.core import chain
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import REASONS, MetricParameters
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, target_weights, targets_frame
from weights_pipeline.core.targets.methods.optimised import MaxHybrid
from weights_pipeline.core.targets.methods.skfolio import Skfolio
from weights_pipeline.core.targets.optimise.problem import NoSolutionError
from weights_pipeline.core.targets.samples import Sample, samples

NAMES = ("a", "b", "c", "d")
SESSIONS = pd.bdate_range("2020-01-01", periods=300).as_unit("us")
WEIGHTS = Limits(of="weight", floor=0.0, cap=1.0, gross="at_most")
FULL = Limits(of="weight", floor=0.0, cap=1.0)
SKFOLIO = {
    "hrp": {"kind": "HierarchicalRiskParity"},
    "cvar": {"kind": "MeanRisk", "risk_measure": "cvar"},
    "utility": {"kind": "MeanRisk", "objective_function": "maximize_utility", "risk_aversion": 5},
}
EVERY = ("max_hybrid", *SKFOLIO)


@pytest.fixture
def method(request):
    if request.param == "max_hybrid":
        return MaxHybrid()
    pytest.importorskip("skfolio", reason="an extra: pip install -e '.[skfolio]'")
    return Skfolio(optimiser=SKFOLIO[request.param])


def each(names):
    marked = [
        pytest.param(name, marks=pytest.mark.xdist_group("skfolio")) if name in SKFOLIO else name for name in names
    ]
    return pytest.mark.parametrize("method", marked, indirect=True)


def drawn(sessions=300, names=NAMES, seed=7):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0006, 0.004, (sessions, len(names))) + rng.normal(0, 0.002, (sessions, 1))


def history_of(returns, names=NAMES, active=None):
    return ReturnHistory(
        sessions=SESSIONS[: len(returns)],
        strategies=names,
        returns=returns,
        closed_lots=None,
        winning_lots=None,
        active=~np.isnan(returns) if active is None else active,
    )


def section_of(returns, null=(), gross=1.0, base=None, active=None):
    n = returns.shape[1]
    unmeasured = np.isin(np.arange(n), null)
    return CrossSection(
        strategies=NAMES[:n],
        base=np.full(n, gross / n) if base is None else np.array(base),
        gross=gross,
        values={"sharpe": np.where(unmeasured, np.nan, 1.0)},
        reasons={"sharpe": np.where(unmeasured, REASONS.index("insufficient"), 0).astype(np.int8)},
        as_of=SESSIONS[len(returns) - 1],
        sample=sample_of(returns, active),
    )


def sample_of(returns, active=None):
    return Sample(
        sessions=SESSIONS[: len(returns)], returns=returns, active=~np.isnan(returns) if active is None else active
    )


def test_a_sample_is_the_lookback_and_nothing_after():
    returns = drawn()
    found = samples(history_of(returns), SESSIONS[[99, 250]], Lookback.parse("60s"), ("a", "c", "x"))
    assert [len(sample.returns) for sample in found] == [60, 60]
    np.testing.assert_array_equal(found[0].returns[:, :2], returns[40:100, [0, 2]])
    assert np.isnan(found[0].returns[:, 2]).all()
    assert not found[0].active[:, 2].any()
    with pytest.raises(ValueError, match="expected sessions of the history, got 2019-12-31"):
        samples(history_of(returns), pd.DatetimeIndex(["2019-12-31"]), Lookback.parse("60s"), NAMES)


@pytest.mark.parametrize(
    ("lookback", "covered"), [("60s", [False, True]), ("61s", [False, False]), ("2m", [False, True])]
)
def test_a_window_that_returns_do_not_go_back_to_is_whole_for_nobody(lookback, covered):
    found = samples(history_of(drawn()), SESSIONS[[20, 59]], Lookback.parse(lookback), NAMES)
    assert [sample.covers for sample in found] == covered
    assert [sample.whole.tolist() for sample in found] == [[each] * 4 for each in covered]


@pytest.mark.parametrize("lookback", ["60s", "3m", "85d"])
def test_a_calendar_that_begins_before_the_ledger_changes_nothing(lookback):
    returns, as_of = drawn(), SESSIONS[[58, 70, 100, 299]]
    returns[:40], returns[:45, 1] = np.nan, np.nan
    early = samples(history_of(returns), as_of, Lookback.parse(lookback), NAMES)
    whole = history_of(returns)
    later = replace(whole, sessions=whole.sessions[40:], returns=returns[40:], active=whole.active[40:])
    for one, other in zip(early, samples(later, as_of, Lookback.parse(lookback), NAMES), strict=True):
        np.testing.assert_array_equal(one.returns, other.returns)
        assert one.covers == other.covers
        assert one.sessions.equals(other.sessions)
    assert [sample.whole.all() for sample in early] == [False, False, False, True]


def test_a_strategy_is_whole_in_a_window_where_it_was_live_on_every_session():
    returns = drawn(100)
    returns[40, 1] = returns[:41, 2] = returns[99:, 3] = np.nan
    early, late = samples(history_of(returns), SESSIONS[[98, 99]], Lookback.parse("60s"), NAMES)
    assert early.whole.tolist() == [True, False, False, True]
    assert late.whole.tolist() == [True, False, False, False]
    assert samples(history_of(returns), SESSIONS[[99]], Lookback.parse("59s"), NAMES)[0].whole[:3].all()


def test_idle_sessions_can_be_left_out_and_the_year_is_as_much_shorter():
    returns, active = drawn(100), np.ones((100, 4), dtype=bool)
    idle = np.arange(0, 100, 4)
    returns[idle, :2], active[idle, :2] = 0.0, False
    sample = sample_of(returns, active)
    observed, periods, words = sample.observed(np.array([0, 1]), active_days_only=True)
    np.testing.assert_array_equal(observed, np.delete(returns, idle, axis=0)[:, :2])
    assert periods == 252 * 75 / 100
    assert words == "the 75 active of 100 sessions from 2020-01-01 to 2020-05-19"
    observed, periods, words = sample.observed(np.array([0, 1]), active_days_only=False)
    np.testing.assert_array_equal(observed, returns[:, :2])
    assert periods == 252
    assert words == "100 sessions from 2020-01-01 to 2020-05-19"
    assert len(sample.observed(np.array([0, 2]), active_days_only=True)[0]) == 100


@each(EVERY)
@pytest.mark.parametrize("limits", [FULL, WEIGHTS, Limits(of="weight", floor=0.05, cap=0.4)])
def test_targets_are_the_optimised_weights_inside_limits_and_gross(method, limits):
    section = section_of(drawn())
    targets = target_weights(method, section, limits)
    total = math.fsum(targets.target)
    assert ((targets.target >= targets.lower) & (targets.target <= targets.upper)).all()
    assert 1 - limits.slack(1.0) - 1e-9 <= total <= 1 + 1e-9
    np.testing.assert_allclose(targets.target, targets.tilt.score, rtol=1e-9, atol=1e-12)
    rows = targets_frame([targets], NAMES, section.base)
    assert rows["formula"].str.contains(r"^\w+[ .\d]*\(sharpe .*gross .*\); limits: ").all()
    assert set(rows["note"]) <= {"optimised", "dropped: below the smallest weight"}


@each(SKFOLIO)
def test_a_strategy_without_enough_data_keeps_its_base_weight_and_the_others_share_the_rest(method):
    section = section_of(drawn(), null=[2], base=[0.1, 0.3, 0.4, 0.2])
    targets = target_weights(method, section, FULL)
    assert targets.target[2] == pytest.approx(0.4, rel=1e-12)
    assert math.fsum(targets.target) == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(targets.tilt.score[2])
    rows = targets_frame([targets], NAMES, section.base)
    assert rows["note"][2] == "neutral: insufficient"


@each(EVERY)
def test_a_newcomer_keeps_its_base_weight_and_shortens_nobodys_sample(method):
    returns = drawn()
    returns[:-90, 2] = np.nan
    section = section_of(returns, base=[0.1, 0.3, 0.4, 0.2])
    targets = target_weights(method, section, FULL)
    assert targets.target[2] == pytest.approx(0.4, rel=1e-12)
    rows = targets_frame([targets], NAMES, section.base)
    assert rows["note"].tolist() == [*["optimised"] * 2, "base weight: not live in the whole window", "optimised"]
    assert rows["formula"].str.endswith("; on 300 sessions from 2020-01-01 to 2021-02-23").all()
    assert math.isnan(rows["raw_multiplier"][2])
    others = section_of(returns[:, [0, 1, 3]], gross=0.6, base=[0.1, 0.3, 0.2])
    assert target_weights(method, others, FULL).target == pytest.approx(targets.target[[0, 1, 3]], rel=1e-9)


def test_the_drawdown_limit_holds_over_the_whole_window():
    returns = drawn()
    returns[100:110, 0] -= 0.004
    returns[:-90, 2] = np.nan
    chosen = [0, 1, 3]
    weights = target_weights(MaxHybrid(max_drawdown=0.02), section_of(returns), WEIGHTS).target[chosen]
    equity = np.cumprod(np.append(1.0, 1.0 + returns[:, chosen] @ weights))
    assert 0.019 < (1 - equity / np.maximum.accumulate(equity)).max() <= 0.02


@each(EVERY)
def test_nothing_measured_leaves_base_weights(method):
    section = section_of(np.full((10, 4), np.nan), null=range(4), base=[0.1, 0.3, 0.4, 0.2])
    for limits in (FULL, WEIGHTS):
        np.testing.assert_array_equal(target_weights(method, section, limits).target, section.base)


@each(EVERY)
def test_a_strategy_without_base_weight_stays_without(method):
    targets = target_weights(method, section_of(drawn(), base=[0.5, 0.0, 0.25, 0.25]), FULL)
    assert targets.target[1] == 0


@each(EVERY)
def test_without_returns_there_is_nothing_to_choose_on(method):
    with pytest.raises(ValueError, match="expected the returns of the window"):
        target_weights(method, replace(section_of(drawn()), sample=None), FULL)


def test_no_solution_names_the_date_and_the_strategies():
    losing = -np.abs(drawn()) - 0.001
    with pytest.raises(NoSolutionError, match=r"2021-02-23: .*strategies a, b, c, d"):
        target_weights(MaxHybrid(), section_of(losing), WEIGHTS)


def test_small_weights_are_dropped_and_said_to_be():
    returns = drawn()
    returns[:, 3] = 0.02 * returns[:, 3] - 0.0004 + 0.9 * returns[:, 0]
    targets = target_weights(MaxHybrid(smallest=0.2), section_of(returns), WEIGHTS)
    rows = targets_frame([targets], NAMES, np.full(4, 0.25))
    assert ((targets.target == 0) | (targets.target >= 0.2)).all()
    assert (rows.loc[rows["note"].str.startswith("dropped"), "target"] == 0).all()


def test_active_days_lower_no_drawdown_but_raise_the_daily_sharpe():
    returns, active = drawn(), np.ones((300, 4), dtype=bool)
    returns[::2], active[::2] = 0.0, False
    every = target_weights(MaxHybrid(), section_of(returns, active=active), WEIGHTS).tilt.formula
    busy = target_weights(MaxHybrid(days="active"), section_of(returns, active=active), WEIGHTS).tilt.formula

    def part(text, name):
        return float(text.split(f"{name} ")[1].split(",")[0].rstrip(")"))

    assert part(busy, "sharpe") > 1.3 * part(every, "sharpe")


@each(EVERY)
def test_the_table_of_targets_needs_returns_and_has_no_look_ahead(method):
    policy = Policy(
        base=dict.fromkeys(NAMES, 0.25),
        method=replace(method, lookback="60s"),
        limits=WEIGHTS,
        metrics=MetricParameters(min_sessions=20),
    )
    returns, as_of = drawn(), SESSIONS[[119, 180]]
    metrics = chain.metric_rows(history_of(returns), as_of, policy)
    with pytest.raises(ValueError, match=f"method {method.kind} reads the returns of the window, got none"):
        chain.target_table(metrics, policy)
    table = chain.target_table(metrics, policy, history_of(returns))
    changed = returns.copy()
    changed[120:] = drawn(180, seed=1)
    again = chain.target_table(metrics, policy, history_of(changed))
    first = table["as_of"] == as_of[0]
    pd.testing.assert_frame_equal(table[first], again[first], check_exact=True)
    assert (table.loc[~first, "target"].to_numpy() != again.loc[~first, "target"].to_numpy()).any()
    alone = chain.target_table(metrics[metrics["as_of"] == as_of[1]], policy, history_of(returns))
    pd.testing.assert_frame_equal(table[~first].reset_index(drop=True), alone, check_exact=True)


def test_an_ensemble_cannot_optimise_and_days_are_known():
    with pytest.raises(ValueError, match="an ensemble reads metrics"):
        Policy(base={"a": 1.0}, method=MaxHybrid(), limits=FULL, ensemble=True)
    with pytest.raises(ValueError, match="days: expected calendar or active, got 'trading'"):
        MaxHybrid(days="trading")


def test_gross_at_most_needs_capped_limits():
    with pytest.raises(ValueError, match="gross: at_most is kept by capped only"):
        Limits(normalisation="proportional", gross="at_most")
    with pytest.raises(ValueError, match="gross: expected exactly or at_most"):
        Limits(gross="about")
