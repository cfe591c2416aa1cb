"""Ensembles: what each weight set is made on, and which set is read."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.ensembles import (
    MAX_REGIME_AGE,
    WEIGHT_SETS,
    all_weight_sets,
    choose,
    current_regime,
    ensemble_targets,
    weight_sets,
)
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.market_regime import MARKET_REGIMES
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.targets.methods.minmax_tilt import SharpeTilt
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt
from weights_pipeline.core.targets.methods.softmax_sharpe import SoftmaxSharpe
from weights_pipeline_tests.support.examples import examples

NAMES = ("alpha", "beta", "gamma")
BASE = dict(zip(NAMES, (0.5, 0.3, 0.2), strict=True))
SESSIONS = pd.bdate_range("2020-01-01", periods=120)
LAST = SESSIONS[-1:]
POLICY = Policy(
    base=BASE,
    method=SoftmaxSharpe(lookback="40s"),
    limits=Limits(of="weight", floor=0.0, cap=1.0),
    metrics=MetricParameters(min_sessions=5),
    ensemble=True,
)
MADE = ["target", "multiplier", "raw_multiplier", "score", "metric_value", "reason", "scale", "sessions", "is_active"]
each_regime = pytest.mark.parametrize("regime", MARKET_REGIMES)


def random_values(seed=1):
    return np.random.default_rng(seed).normal(0, 0.01, (len(SESSIONS), len(NAMES)))


def history_of(values, sessions=SESSIONS):
    return ReturnHistory.from_arrays(values, sessions, NAMES)


def regimes_of(seed=1):
    """A regime for every session, at random; of the first, second and last forty sessions each has ten."""
    rng = np.random.default_rng(seed)
    forties = [rng.permutation(np.repeat(MARKET_REGIMES, 10)) for _ in range(3)]
    return pd.Series(np.concatenate(forties), index=SESSIONS)


def made(sets, name):
    return sets[sets["weight_set"] == name].set_index("strategy")[MADE]


# Making


def test_every_date_has_every_set_with_every_strategy_in_order():
    sets = weight_sets(history_of(random_values()), regimes_of(), SESSIONS[[90, 119]], POLICY)
    dates = SESSIONS[[90, 119]]
    expected = [(date, name, strategy) for date in dates for name in sorted(WEIGHT_SETS) for strategy in NAMES]
    assert list(sets[["as_of", "weight_set", "strategy"]].itertuples(index=False, name=None)) == expected
    assert sets.index.tolist() == list(range(len(expected)))
    assert set(sets["metric"]) == {"sharpe_40s"}
    assert sets["base"].tolist() == [0.5, 0.3, 0.2] * 10
    assert (sets["is_active"].dtype, sets["sessions"].dtype) == (bool, np.int64)


STARTER = StarterMetrics(twelve_month_return=0.2, twelve_month_max_drawdown=0.1, calmar_ratio=2.0, months_of_data=12)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": SharpeTilt(lookback="1m")},
        {"method": Equal()},
        {"method": CalmarTilt(), "limits": Limits(), "starter": {"beta": STARTER}},
    ],
)
def test_the_pooled_set_is_that_of_a_book_without_ensemble(changes):
    policy, as_of = replace(POLICY, **changes), SESSIONS[[60, 90, 119]]
    history = history_of(random_values())
    plain = chain.target_table(chain.metric_rows(history, as_of, policy), policy)
    sets = weight_sets(history, regimes_of(), as_of, policy)
    pooled = sets[sets["weight_set"] == "all"].reset_index(drop=True)
    columns = plain.columns.drop("weight_set")
    pd.testing.assert_frame_equal(pooled[columns], plain[columns], check_exact=True)


@each_regime
def test_a_set_is_that_of_a_history_of_the_regimes_sessions_alone(regime):
    values, regimes = random_values(), regimes_of()
    window = np.arange(len(SESSIONS)) >= len(SESSIONS) - 40
    own = window & (regimes == regime).to_numpy()
    alone = history_of(values[own], SESSIONS[own])
    oracle = weight_sets(alone, regimes, SESSIONS[own][-1:], replace(POLICY, method=SoftmaxSharpe(lookback="999s")))
    found = made(weight_sets(history_of(values), regimes, LAST, POLICY), regime)
    pd.testing.assert_frame_equal(found, made(oracle, "all"), check_exact=True)
    assert set(found["sessions"]) == {own.sum()}
    assert found["is_active"].all()


@examples(6)
@given(seed=st.integers(0, 10_000), regime=st.sampled_from(MARKET_REGIMES))
def test_sessions_of_other_regimes_and_outside_the_lookback_change_no_bit(seed, regime):
    values, regimes = random_values(seed), regimes_of(seed)
    own = (np.arange(len(SESSIONS)) >= len(SESSIONS) - 40) & (regimes == regime).to_numpy()
    disturbed = np.where(own[:, None], values, np.random.default_rng(seed + 1).uniform(-0.3, 0.3, values.shape))
    before, after = (weight_sets(history_of(each), regimes, LAST, POLICY) for each in (values, disturbed))
    pd.testing.assert_frame_equal(made(after, regime), made(before, regime), check_exact=True)
    assert not made(after, "all").equals(made(before, "all"))
    one = values.copy()
    one[np.flatnonzero(own)[0]] -= 0.01
    assert not made(weight_sets(history_of(one), regimes, LAST, POLICY), regime).equals(made(before, regime))


def test_a_session_without_a_regime_is_in_the_pooled_set_only():
    history, regimes = history_of(random_values()), regimes_of()
    known = weight_sets(history, regimes, LAST, POLICY)
    absent = regimes.iloc[[*range(110), *range(114, 120)]]
    null = regimes.where(np.isin(np.arange(120), range(110, 114), invert=True))
    for fewer in (absent, null):
        sets = weight_sets(history, fewer, LAST, POLICY)
        counts = sets.groupby("weight_set")["sessions"].first()
        assert counts["all"] == 40
        assert counts[list(MARKET_REGIMES)].sum() == 36
        pd.testing.assert_frame_equal(made(sets, "all"), made(known, "all"), check_exact=True)


def test_without_any_regime_only_the_pooled_set_is_active():
    sets = weight_sets(history_of(random_values()), pd.Series(dtype=str, index=SESSIONS[:0]), LAST, POLICY)
    active = sets.groupby("weight_set")["is_active"].first()
    assert active[active].index.tolist() == ["all"]
    silent = sets[sets["weight_set"] == "bull"]
    assert silent["sessions"].tolist() == [0, 0, 0]
    assert silent["target"].tolist() == [0.5, 0.3, 0.2]
    assert silent["reason"].tolist() == ["insufficient"] * 3


@pytest.mark.parametrize(
    ("lookback", "d", "sessions"),
    [
        ("40s", 119, 40),
        ("40s", 20, 21),
        ("1s", 119, 1),
        # 2020-06-16 back to 2020-05-17, a Sunday, and to the Saturday before; 2020-06-15 to the 15th of May exactly.
        ("30d", 119, 22),
        ("31d", 119, 22),
        ("1m", 118, 21),
    ],
)
def test_the_lookback_is_open_at_its_start(lookback, d, sessions):
    policy = replace(POLICY, method=SoftmaxSharpe(lookback=lookback))
    bull = pd.Series("bull", index=SESSIONS)
    sets = weight_sets(history_of(random_values()), bull, SESSIONS[[d]], policy)
    counts = sets.groupby("weight_set")["sessions"].first()
    assert (counts["all"], counts["bull"], counts["bear"]) == (sessions, sessions, 0)


def test_the_last_session_of_a_window_counts_and_the_one_before_the_first_does_not():
    regimes = pd.Series("bear", index=SESSIONS)
    regimes.iloc[[79, 119]] = "bull"
    sets = weight_sets(history_of(random_values()), regimes, LAST, POLICY)
    assert sets.groupby("weight_set")["sessions"].first()[["bull", "bear"]].tolist() == [1, 39]


def test_a_set_is_active_where_a_strategy_with_base_weight_is_measured():
    values, regimes = random_values(), regimes_of()
    values[:118, 1] = np.nan
    # Sessions 115 to 119 are a range; the one strategy that is measured on them has a base weight or not.
    values[:, 2] = np.nan
    regimes.iloc[:] = "bull"
    regimes.iloc[115:] = "range"
    for base, active in ((BASE, True), ({"alpha": 0.0, "beta": 0.6, "gamma": 0.4}, False)):
        sets = weight_sets(history_of(values), regimes, LAST, replace(POLICY, base=base))
        assert sets.groupby("weight_set")["is_active"].agg(["min", "max"]).loc["range"].tolist() == [active] * 2
    fewer = weight_sets(history_of(values), regimes.shift(1, fill_value="bull"), LAST, POLICY)
    assert not fewer.loc[fewer["weight_set"] == "range", "is_active"].any()


def test_metrics_are_what_the_method_read():
    values = random_values()
    values[:, 1] = np.nan
    sets = weight_sets(history_of(values), regimes_of(), LAST, POLICY)
    read = [json.loads(row) for row in sets.loc[sets["weight_set"] == "all", "metrics"]]
    assert [list(row) for row in read] == [["sharpe_40s", "max_drawdown_40s"]] * 3
    assert read[1] == {"sharpe_40s": None, "max_drawdown_40s": None}
    assert read[0]["sharpe_40s"] == sets.loc[sets["weight_set"] == "all", "metric_value"].iloc[0]
    assert 0 < read[2]["max_drawdown_40s"] < 1
    without = weight_sets(history_of(values), regimes_of(), LAST, replace(POLICY, method=Equal()))
    assert set(without["metrics"]) == {"{}"}
    assert set(without["metric"]) == {""}


def test_sets_are_of_the_strategies_of_the_book():
    history = ReturnHistory.from_arrays(random_values(), SESSIONS, ["alpha", "beta", "elsewhere"])
    sets = weight_sets(history, regimes_of(), LAST, POLICY)
    assert sets["strategy"].tolist() == list(NAMES) * 5
    assert sets.loc[sets["strategy"] == "gamma", "reason"].tolist() == ["insufficient"] * 5


def test_dates_together_are_dates_alone_in_any_order():
    history, regimes = history_of(random_values()), regimes_of()
    together = weight_sets(history, regimes, SESSIONS[[119, 70, 95]], POLICY)
    alone = [
        weight_sets(history_of(random_values()[: row + 1], SESSIONS[: row + 1]), regimes, SESSIONS[[row]], POLICY)
        for row in (70, 95, 119)
    ]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)


def test_only_the_sets_asked_for_are_made():
    history, regimes = history_of(random_values()), regimes_of()
    every = weight_sets(history, regimes, LAST, POLICY)
    two = weight_sets(history, regimes, LAST, POLICY, sets=("bear", "all"))
    expected = every[every["weight_set"].isin(["all", "bear"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(two, expected, check_exact=True)


# Choosing


def days(*rows):
    return [SESSIONS[row] for row in rows]


@pytest.mark.parametrize(
    ("newest", "regime", "expected"),
    [
        ({"bull": days(3, 8), "all": days(9)}, "bull", "bull of 2020-01-13: current regime"),
        ({"bull": days(8, 10)}, "bull", "bull of 2020-01-15: current regime"),
        ({"bull": days(8, 11)}, "bull", "bull of 2020-01-13: current regime"),
        ({"bear": days(4), "bull": days(8)}, "range", "bull of 2020-01-13: latest other, no set of the current regime"),
        (
            {"all": days(8), "bull": days(8)},
            "bear",
            "all of 2020-01-13: latest other, no set of the current regime bear",
        ),
        ({"all": days(7), "bull": days(8)}, "bear", "bull of 2020-01-13: latest other"),
        ({"bear": days(8), "neutral": days(8)}, "bull", "bear of 2020-01-13: latest other"),
        (
            {"all": days(8), "bull": days(11)},
            "bull",
            "all of 2020-01-13: latest other, no set of the current regime bull",
        ),
        ({}, "bull", "uniform: no active set, regime bull"),
        ({"all": days(11), "bull": []}, "bull", "uniform: no active set, regime bull"),
    ],
)
def test_the_current_regime_comes_before_the_latest_other_and_that_before_uniform(newest, regime, expected):
    choice = choose({name: newest.get(name, []) for name in WEIGHT_SETS}, regime, SESSIONS[10])
    assert str(choice).startswith(expected)
    assert choice.weight_set == expected.split(":")[0].split(" of ")[0]
    assert pd.isna(choice.snapshot) == (choice.weight_set == "uniform")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2020-01-10", "neutral"),
        ("2020-01-13", "bull"),
        ("2020-01-14", "bear"),
        ("2020-01-19", "bear"),
        ("2020-01-21", "bear"),
    ],
)
def test_the_current_regime_is_the_newest_by_then(day, expected):
    regimes = pd.Series(["bull", "bear"], index=pd.DatetimeIndex(["2020-01-13", "2020-01-14"]))
    assert current_regime(regimes, pd.Timestamp(day), SESSIONS) == expected


def test_a_regime_older_than_five_sessions_is_refused():
    regimes = pd.Series(["bear"], index=SESSIONS[[8]])
    assert current_regime(regimes, SESSIONS[8 + MAX_REGIME_AGE], SESSIONS) == "bear"
    message = r"newest is that of 2020-01-13, 6 sessions before 2020-01-21; expected at most 5. Bring the benchmark"
    with pytest.raises(ValueError, match=message):
        current_regime(regimes, SESSIONS[9 + MAX_REGIME_AGE], SESSIONS)
    with pytest.raises(ValueError, match=message):
        ensemble_targets(one_set("all", 3), regimes, SESSIONS[[9 + MAX_REGIME_AGE]], SESSIONS, POLICY)


# Reading


def one_set(name, row, target=(0.2, 0.3, 0.5), **changes):
    """A weight set as it is stored, told from others by its targets."""
    sets = weight_sets(history_of(random_values()), regimes_of(), LAST, POLICY, sets=("all",))
    return sets.assign(weight_set=name, as_of=SESSIONS[row], target=list(target), is_active=True, **changes)


def read(sets, row=10, regime="bull", policy=POLICY):
    regimes = pd.Series(regime, index=SESSIONS[: row + 1])
    table = ensemble_targets(pd.concat(sets, ignore_index=True), regimes, SESSIONS[[row]], SESSIONS, policy)
    assert table["strategy"].tolist() == list(policy.strategies)
    assert set(table["as_of"]) == {SESSIONS[row]}
    assert table["weight_set"].nunique() == 1
    return table["target"].tolist(), table["weight_set"].iloc[0]


def test_targets_are_those_of_the_set_that_is_read():
    sets = [one_set("bull", 8, (0.1, 0.2, 0.7)), one_set("bull", 4), one_set("all", 9), one_set("bear", 10)]
    assert read(sets) == ([0.1, 0.2, 0.7], "bull of 2020-01-13: current regime")
    latest = "all of 2020-01-14: latest other, no set of the current regime neutral"
    assert read(sets[:3], regime="neutral") == ([0.2, 0.3, 0.5], latest)


def test_a_table_has_the_columns_of_any_targets():
    policy = replace(POLICY, ensemble=False)
    plain = chain.target_table(chain.metric_rows(history_of(random_values()), LAST, policy), policy)
    regimes = regimes_of()
    sets = weight_sets(history_of(random_values()), regimes, SESSIONS[[60]], POLICY)
    for stored in (sets, sets.iloc[:0]):
        table = ensemble_targets(stored, regimes, SESSIONS[[40, 60, 61]], SESSIONS, POLICY)
        assert set(table) == set(plain)
        assert (table[plain.columns].dtypes == plain.dtypes).all()
        assert table["as_of"].tolist() == [SESSIONS[row] for row in (40, 60, 61) for _ in NAMES]
    assert set(table["metric"]) == {""}


def test_a_set_is_read_whole_from_its_date_on_and_never_before():
    regimes = pd.Series("bull", index=SESSIONS)
    sets = weight_sets(history_of(random_values()), regimes, SESSIONS[[60, 80]], POLICY)
    as_of = SESSIONS[[59, 60, 79, 80, 119]]
    table = ensemble_targets(sets.sample(frac=1, random_state=3), regimes, as_of, SESSIONS, POLICY)
    chosen = table.groupby("as_of")["weight_set"].agg(["first", "nunique"])
    assert chosen["nunique"].tolist() == [1] * 5
    assert chosen["first"].str.split(":").str[0].tolist() == [
        "uniform",
        *[f"bull of {SESSIONS[60].date()}"] * 2,
        *[f"bull of {SESSIONS[80].date()}"] * 2,
    ]
    bull = sets[(sets["weight_set"] == "bull") & (sets["as_of"] == SESSIONS[80])].reset_index(drop=True)
    last = table[table["as_of"] == SESSIONS[119]].reset_index(drop=True)
    columns = bull.columns.intersection(table.columns).drop(["as_of", "weight_set"])
    pd.testing.assert_frame_equal(last[columns], bull[columns], check_exact=True)
    for row, date in zip((59, 60, 79, 80), as_of[:4], strict=True):
        known = sets[sets["as_of"] <= date]
        blind = ensemble_targets(known, regimes[: row + 1], SESSIONS[[row]], SESSIONS[: row + 1], POLICY)
        seen = table[table["as_of"] == date].reset_index(drop=True)
        pd.testing.assert_frame_equal(blind, seen, check_exact=True)


def test_a_regime_after_the_date_is_not_looked_at():
    regimes = pd.Series(["bull"] * 11 + ["bear"] * 5, index=SESSIONS[:16])
    sets = pd.concat([one_set("bull", 8, (0.1, 0.2, 0.7)), one_set("bear", 8)])
    table = ensemble_targets(sets, regimes, SESSIONS[[10, 11]], SESSIONS, POLICY)
    assert table["target"].tolist() == [0.1, 0.2, 0.7, 0.2, 0.3, 0.5]


def test_before_the_first_regime_the_market_is_neutral():
    regimes = pd.Series("bull", index=SESSIONS[20:30])
    sets = pd.concat([one_set("neutral", 4), one_set("bull", 8, (0.1, 0.2, 0.7))])
    table = ensemble_targets(sets, regimes, SESSIONS[[10]], SESSIONS, POLICY)
    assert table["weight_set"].iloc[0] == "neutral of 2020-01-07: current regime"


def test_uniform_weights_are_the_same_for_every_strategy_with_a_base_weight():
    policy = replace(POLICY, base={"alpha": 0.9, "beta": 0.0, "gamma": 0.3}, gross=1.2)
    targets, why = read([one_set("bull", 8)], policy=policy)
    assert (targets, why) == ([0.6, 0.0, 0.6], "uniform: no active set, regime bull")
    capped = replace(POLICY, limits=Limits(of="base", floor=0.5, cap=1.5))
    np.testing.assert_allclose(read([one_set("bull", 8)], policy=capped)[0], [0.35, 0.35, 0.3], rtol=1e-15)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda rows: rows.assign(is_active=False),
        lambda rows: rows.assign(base=[0.5, 0.2, 0.3]),
        lambda rows: rows.assign(lower=[0.0, 0.0, 0.1]),
        lambda rows: rows.assign(upper=[1.0, 1.0, 0.9]),
        lambda rows: rows.assign(strategy=["alpha", "beta", "delta"]),
        lambda rows: rows.iloc[:2],
        lambda rows: pd.concat([rows, rows.iloc[2:].assign(strategy="zeta")]),
        lambda rows: rows.assign(weight_set="weather"),
    ],
    ids=["inactive", "other base", "other floor", "other cap", "another strategy", "one less", "one more", "unknown"],
)
def test_a_set_that_is_not_the_books_is_not_read(spoilt):
    older = one_set("bull", 4, (0.1, 0.2, 0.7))
    assert read([older, one_set("bull", 8)]) == ([0.2, 0.3, 0.5], "bull of 2020-01-13: current regime")
    assert read([older, spoilt(one_set("bull", 8))]) == ([0.1, 0.2, 0.7], "bull of 2020-01-07: current regime")


def test_under_proportional_limits_any_weight_up_to_gross_fits():
    proportional = replace(POLICY, limits=Limits(normalisation="proportional"))
    assert read([one_set("bull", 8)], policy=proportional)[1] == "bull of 2020-01-13: current regime"
    assert read([one_set("bull", 8, upper=2.0)], policy=proportional)[1].startswith("uniform")


def test_of_one_name_and_date_a_set_made_by_hand_counts():
    by_hand, scheduled = (0.1, 0.2, 0.7), (0.2, 0.3, 0.5)

    def targets(manual_row, **changes):
        kept = one_set("bull", manual_row, by_hand).assign(policy="{}", **changes)
        together = all_weight_sets(one_set("bull", 8, scheduled), kept)
        assert together["source"].tolist() == ["scheduled"] * 3 + ["manual"] * 3
        assert "policy" not in together
        assert together.index.tolist() == list(range(6))
        return tuple(read([together])[0])

    assert targets(8) == by_hand
    assert targets(9) == by_hand
    assert targets(7) == scheduled
    assert targets(11) == scheduled
    assert targets(8, is_active=False) == scheduled
    assert targets(8, base=[0.2, 0.3, 0.5]) == scheduled


def test_without_sets_made_by_hand_the_scheduled_ones_are_read():
    scheduled = one_set("bull", 8)
    assert read([all_weight_sets(scheduled, scheduled.iloc[:0])]) == read([scheduled])
    assert read([all_weight_sets(scheduled.iloc[:0], scheduled)]) == read([scheduled])
