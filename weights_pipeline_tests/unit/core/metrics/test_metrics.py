"""Metrics: golden numbers, null rules, build-up, peer libraries, and what a value may depend on."""

import dataclasses
import math
import statistics
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from pydantic import TypeAdapter, ValidationError

from weights_pipeline.core.metrics import table as metrics
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.measures import (
    LIQUID_CAPITAL,
    METRICS,
    REASONS,
    MetricParameters,
)
from weights_pipeline.core.metrics.starter import StarterMetrics, build_up
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.measured import metrics_table

YEAR, QUARTER = Lookback(12, "months"), Lookback(90, "days")
LENIENT = MetricParameters(min_closed_lots=0, min_sessions=2)
STARTER = StarterMetrics(twelve_month_return=0.20, twelve_month_max_drawdown=0.15, calmar_ratio=1.33, months_of_data=12)


def history(returns, *, start="2020-01-01", lots=1, wins=0, active=None, names=None):
    returns = np.asarray(returns, dtype=float)
    live = ~np.isnan(returns)
    return ReturnHistory(
        sessions=pd.bdate_range(start, periods=len(returns)),
        strategies=tuple(names or (f"s{i}" for i in range(returns.shape[1]))),
        returns=returns,
        closed_lots=None if lots is None else np.where(live, lots, 0),
        winning_lots=None if lots is None else np.where(live, wins, 0),
        active=live if active is None else np.asarray(active, dtype=bool),
    )


def market(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(0.0004, 0.012, (rows, columns))


def long_frame(h):
    t, i = (index.ravel() for index in np.nonzero(~np.isnan(h.returns)))
    return pd.DataFrame(
        {
            "session": h.sessions[t],
            "strategy": np.array(h.strategies, dtype=object)[i],
            "daily_return": h.returns[t, i],
            "closed_lots": h.closed_lots[t, i],
            "winning_lots": h.winning_lots[t, i],
            "active": h.active[t, i],
        }
    )


def last(h, lookback, parameters=LENIENT, strategy="s0", **options):
    """Return metric -> (value, reason, source) at the last session."""
    table = metrics_table(h, h.sessions[-1:], lookback, parameters, **options)
    table = table[table["strategy"] == strategy]
    assert (table["lookback"] == lookback.label).all()
    return {
        metric: (value, reason, source)
        for metric, value, reason, source in table[["metric", "value", "reason", "source"]].itertuples(index=False)
    }


# ---------------------------------------------------------------------------------------------- lookback


@pytest.mark.parametrize(
    ("text", "amount", "unit"), [("12m", 12, "months"), ("90d", 90, "days"), ("60s", 60, "sessions")]
)
def test_a_lookback_reads_its_own_label(text, amount, unit):
    lookback = Lookback.parse(text)
    assert (lookback.amount, lookback.unit, lookback.label) == (amount, unit, text)


@pytest.mark.parametrize("text", ["", "12", "m", "0m", "-3d", "1.5m", "12M", "12 m", "12mm", "012m", "12w", "12m\n"])
def test_an_unreadable_lookback_is_refused(text):
    with pytest.raises(ValueError, match="lookback: expected months, days or sessions such as 12m"):
        Lookback.parse(text)


def test_an_impossible_lookback_is_refused():
    with pytest.raises(ValueError, match=r"lookback\.amount: expected at least 1, got 0"):
        Lookback(0, "days")
    with pytest.raises(ValueError, match=r"lookback\.unit: expected months, days or sessions, got 'weeks'"):
        Lookback(1, "weeks")


@pytest.mark.parametrize(
    ("text", "d", "first"),
    [
        ("12m", "2024-06-14", "2023-06-15"),  # the session twelve months before is out
        ("12m", "2024-02-29", "2023-03-01"),  # twelve months before a leap day is 28 February
        ("1m", "2024-03-29", "2024-03-01"),  # a month before 29 March is the leap day
        ("12m", "2024-07-01", "2023-07-03"),  # 1 July 2023 is a Saturday
        ("90d", "2024-06-14", "2024-03-18"),  # 16 March is a Saturday
        ("5s", "2024-06-14", "2024-06-10"),
        ("99999s", "2024-06-14", "2023-01-02"),
        ("120m", "2024-06-14", "2023-01-02"),
    ],
)
def test_a_window_is_open_at_its_start(text, d, first):
    sessions = pd.bdate_range("2023-01-02", "2024-12-31")
    start = Lookback.parse(text).starts(sessions, pd.DatetimeIndex([d]))[0]
    assert sessions[start] == pd.Timestamp(first)


# -------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("label", "needed"),
    [("12m", 60), ("90d", 20), ("60d", 13), ("60s", 20), ("6m", 42), ("36m", 60), ("20s", 6), ("3s", 2)],
)
def test_sessions_needed_follow_the_lookback(label, needed):
    assert MetricParameters().sessions_needed(Lookback.parse(label)) == needed
    assert MetricParameters(min_sessions=17).sessions_needed(Lookback.parse(label)) == 17


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("risk_free", 4.5, "risk_free: expected an annual fraction such as 0.045"),
        ("risk_free", math.nan, "got nan"),
        ("risk_free", 1.0, r"got 1\.0"),
        ("risk_free", -1.0, r"got -1\.0"),
        ("risk_free", -1.5, r"got -1\.5"),
        ("risk_free", 1.5, r"got 1\.5"),
        ("rf_mode", "simple", "rf_mode: expected arithmetic or geometric, got 'simple'"),
        ("min_closed_lots", -1, "min_closed_lots: expected 0 or more, got -1"),
        ("min_sessions", 1, "min_sessions: expected at least 2, got 1"),
    ],
)
def test_impossible_parameters_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        MetricParameters(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("twelve_month_return", -1.0, "twelve_month_return: expected a fraction above -1"),
        ("twelve_month_return", math.inf, "got inf"),
        ("twelve_month_max_drawdown", 0.0, "twelve_month_max_drawdown: expected a fraction between 0 and 1"),
        ("twelve_month_max_drawdown", 15.0, r"got 15\.0"),
        ("twelve_month_max_drawdown", -0.15, "got -0.15"),
        ("twelve_month_max_drawdown", 1.0, r"got 1\.0"),
        ("calmar_ratio", 1.31, "calmar_ratio: expected return / drawdown = 1.33333 within 1%, got 1.31"),
        ("calmar_ratio", math.nan, "calmar_ratio"),
        ("months_of_data", 0, "months_of_data: expected 1 to 12, got 0"),
        ("months_of_data", 13, "got 13"),
    ],
)
def test_impossible_starter_metrics_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STARTER, **{key: value})


def test_a_starter_ratio_within_one_percent_is_accepted():
    assert dataclasses.replace(STARTER, calmar_ratio=1.345).calmar_ratio == 1.345
    exactly = StarterMetrics(twelve_month_return=50, twelve_month_max_drawdown=0.5, calmar_ratio=101, months_of_data=1)
    assert (exactly.calmar_ratio, exactly.months_of_data) == (101, 1)
    assert dataclasses.replace(STARTER, twelve_month_return=-0.03, calmar_ratio=-0.2).calmar_ratio == -0.2


@pytest.mark.parametrize("model", [MetricParameters, StarterMetrics, Lookback])
def test_unknown_keys_are_refused_by_the_loader(model):
    known = {
        MetricParameters: {"risk_free": 0.03},
        StarterMetrics: dataclasses.asdict(STARTER),
        Lookback: {"amount": 12, "unit": "months"},
    }[model]
    adapter = TypeAdapter(model)
    assert adapter.validate_python(known) == model(**known)
    with pytest.raises(ValidationError, match="surprise"):
        adapter.validate_python({**known, "surprise": 1})


# ----------------------------------------------------------------------------------------------- history


def test_a_long_frame_is_aligned_in_any_row_order():
    returns = market(30, 3)
    returns[:12, 1] = np.nan
    h = history(returns, lots=2, wins=1)
    frame = long_frame(h).sample(frac=1.0, random_state=1)
    for source in (frame, frame.convert_dtypes()):
        again = ReturnHistory.from_long(source)
        assert again.strategies == h.strategies
        assert again.sessions.equals(h.sessions)
        for name in ("returns", "closed_lots", "winning_lots", "active"):
            np.testing.assert_array_equal(getattr(again, name), getattr(h, name), err_msg=name)
    assert h.first_live.tolist() == [0, 12, 0]


def test_a_calendar_may_be_longer_than_the_frame():
    h = history(market(10, 1))
    calendar = pd.bdate_range("2019-12-02", h.sessions[-1])
    again = ReturnHistory.from_long(long_frame(h), sessions=calendar)
    assert again.sessions[again.first_live[0]] == h.sessions[0]


def test_ingested_returns_have_no_lots():
    frame = long_frame(history(market(10, 2))).assign(closed_lots=pd.NA, winning_lots=np.nan)
    h = ReturnHistory.from_long(frame)
    assert h.closed_lots is None
    assert h.winning_lots is None


def change(column, value, row=7):
    def apply(frame):
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="active"), r"missing columns \['active'\]"),
        (
            lambda f: pd.concat([f, f.iloc[[7]]]),
            "more than one row for a session: strategy 's1', session 2020-01-06",
        ),
        (lambda f: f.drop(index=7), "missing after the first activity .*: strategy 's1', session 2020-01-06"),
        (
            lambda f: f.drop(index=19),
            "missing after the first activity .*: strategy 's1', session 2020-01-14",
        ),
        (
            change("daily_return", np.nan),
            "missing after the first activity .*: strategy 's1', session 2020-01-06",
        ),
        (change("daily_return", np.inf), "not finite: strategy 's1', session 2020-01-06"),
        (change("daily_return", -1.0), "-100% or worse: strategy 's1', session 2020-01-06"),
        (change("daily_return", np.nan, row=0), "closed_lots before the first daily_return: strategy 's0'"),
        (change("closed_lots", pd.NA), "null here but not everywhere: strategy 's1', session 2020-01-06"),
        (change("winning_lots", 2), "more winning_lots than closed_lots: strategy 's1', session 2020-01-06"),
        (change("winning_lots", -1), "winning_lots below 0"),
        (change("active", None), "active is null: strategy 's1', session 2020-01-06"),
        (change("strategy", None), "strategy: expected a name in every row, found null"),
        (lambda f: f.assign(session=f["session"] + pd.Timedelta(hours=1)), "expected tz-naive midnights"),
        (lambda f: f.assign(session=f["session"].dt.tz_localize("UTC")), "expected tz-naive midnights"),
    ],
)
def test_a_broken_history_is_refused_by_name(spoil, message):
    frame = long_frame(history(market(10, 2)))
    with pytest.raises(ValueError, match=message):
        ReturnHistory.from_long(spoil(frame))


def test_a_session_outside_the_calendar_is_refused():
    h = history(market(10, 2))
    with pytest.raises(ValueError, match="outside the calendar: strategy 's0', session 2020-01-06"):
        ReturnHistory.from_long(long_frame(h), sessions=h.sessions.delete(3))
    with pytest.raises(ValueError, match="ascending and unique"):
        ReturnHistory.from_long(long_frame(h), sessions=h.sessions[::-1])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("strategies", ("s1", "s0"), "sorted and unique"),
        ("strategies", ("s0", "s0"), "sorted and unique"),
        ("active", np.ones((10, 1), dtype=bool), r"active: expected shape \(10, 2\)"),
        ("winning_lots", None, "expected both or neither"),
    ],
)
def test_misfitting_arrays_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(history(market(10, 2)), **{field: value})


# ---------------------------------------------------------------------------------------- golden numbers

FOUR = [-0.10, 0.05, 0.20, -0.05]


def test_golden_metrics_of_four_sessions():
    h = history(np.array([FOUR]).T, lots=[[2]] * 4, wins=[[1], [2], [0], [2]])
    got = last(h, Lookback(4, "sessions"))
    total = 0.9 * 1.05 * 1.2 * 0.95 - 1  # 0.0773
    mean, deviation = 0.025, statistics.stdev(FOUR)
    daily = 0.045 / 252
    downside = math.sqrt(((-0.10 - daily) ** 2 + (-0.05 - daily) ** 2) / 4)
    expected = {
        "total_return": total,
        "annual_return": (1 + total) ** (252 / 4) - 1,
        "volatility": deviation * math.sqrt(252),
        "sharpe": (mean * 252 - 0.045) / (deviation * math.sqrt(252)),
        "sortino": (mean * 252 - 0.045) / (downside * math.sqrt(252)),
        "max_drawdown": 0.10,
        "calmar": ((1 + total) ** (252 / 4) - 1) / 0.10,
        "hit_rate": 5 / 8,
        "mean_return": mean,
        "mean_active_return": mean,
        "n_sessions": 4,
        "closed_lots": 8,
        "months_of_data": 1,
    }
    assert set(got) == set(expected) == MEASURED
    for name, value in expected.items():
        assert got[name] == (pytest.approx(value, rel=1e-12), "", "live"), name


def test_the_total_of_a_full_year_is_its_annual_return():
    h = history(market(300, 1))
    got = last(h, YEAR)
    assert got["months_of_data"][0] == 12
    assert got["n_sessions"][0] > 255
    assert got["annual_return"][0] == got["total_return"][0]


@pytest.mark.parametrize("lookback", [Lookback(365, "days"), Lookback(260, "sessions"), Lookback(13, "months")])
def test_only_the_twelve_month_window_goes_without_annualisation(lookback):
    got = last(history(market(400, 1)), lookback)
    assert got["months_of_data"][0] == lookback.full_months() >= 12
    annual = (1 + got["total_return"][0]) ** (252 / got["n_sessions"][0]) - 1
    assert got["annual_return"][0] == pytest.approx(annual, rel=1e-12)
    assert got["annual_return"][0] != got["total_return"][0]


def test_a_partial_year_is_annualised_from_the_first_activity():
    returns = market(300, 1)
    returns[:200] = np.nan
    got = last(history(returns), YEAR)
    total = np.prod(1 + returns[200:]) - 1
    assert got["n_sessions"][0] == 100
    assert got["annual_return"][0] == pytest.approx((1 + total) ** (252 / 100) - 1, rel=1e-12)


@pytest.mark.parametrize(
    ("first_live", "months"),
    [
        ("2021-06-30", 1),
        ("2021-06-01", 1),
        ("2021-05-31", 2),
        ("2020-08-03", 11),
        ("2020-07-31", 12),
        ("2019-01-01", 12),
    ],
)
def test_months_of_data_count_calendar_months(first_live, months):
    sessions = pd.bdate_range("2019-01-01", "2021-06-30")
    returns = np.where(sessions >= first_live, 0.001, np.nan)[:, None]
    got = last(history(returns, start="2019-01-01"), YEAR)
    assert got["months_of_data"][0] == months
    assert (got["annual_return"][0] == got["total_return"][0]) == (months == 12)


def test_the_month_of_the_as_of_session_counts_from_its_first_session_on():
    h = history(market(60, 1))
    as_of = pd.DatetimeIndex(["2020-01-31", "2020-02-03", "2020-02-28", "2020-03-02"])
    table = metrics_table(h, as_of, YEAR)
    assert table.loc[table["metric"] == "months_of_data", "value"].tolist() == [1, 2, 2, 3]


def test_months_of_data_stop_at_the_lookback():
    h = history(market(300, 1))
    assert last(h, QUARTER)["months_of_data"][0] == 3
    assert last(h, Lookback(20, "sessions"))["months_of_data"][0] == 1


# --------------------------------------------------------------------------------------------- null rules


@pytest.mark.parametrize(
    ("returns", "nulls"),
    [
        (
            [0.01, 0.01, 0.01],
            {"sharpe": "zero_volatility", "sortino": "zero_volatility", "calmar": "no_drawdown"},
        ),
        (
            [0.1, 0.1, 0.1],
            {"sharpe": "zero_volatility", "sortino": "zero_volatility", "calmar": "no_drawdown"},
        ),
        ([0.0, 0.0, 0.0], {"sharpe": "zero_volatility", "sortino": "zero_volatility", "calmar": "flat"}),
        ([-0.01, -0.01], {"sharpe": "zero_volatility", "sortino": "zero_volatility"}),
        ([0.01, 0.02, 0.03], {"sortino": "no_downside", "calmar": "no_drawdown"}),
        ([0.01, 0.0, 0.03], {"calmar": "no_drawdown"}),
        ([0.0001, 0.0, 0.0002], {"calmar": "no_drawdown"}),
        ([0.01, -0.02, 0.03], {}),
    ],
)
def test_undefined_ratios_are_null_with_a_reason(returns, nulls):
    got = last(history(np.array([returns]).T), Lookback(len(returns), "sessions"))
    assert {name: reason for name, (_, reason, _) in got.items() if reason} == nulls
    for name, (value, reason, source) in got.items():
        assert math.isnan(value) == (name in nulls)
        assert source == ("none" if reason else "live")


def test_no_drawdown_and_no_volatility_are_measured_zeros():
    got = last(history(np.full((5, 1), 0.01)), Lookback(5, "sessions"))
    assert got["max_drawdown"] == (0.0, "", "live")
    assert got["volatility"] == (0.0, "", "live")


MEASURED = set(METRICS) - {LIQUID_CAPITAL}
"""Those of a history without volumes."""
ESTIMATES = MEASURED - {"n_sessions", "closed_lots", "months_of_data"}


@pytest.mark.parametrize(
    ("sessions", "lots", "enough"),
    [(60, 1, True), (59, 1, False), (60, [[0]] * 55 + [[1]] * 5, True), (60, [[0]] * 56 + [[1]] * 4, False)],
)
def test_too_few_sessions_or_lots_are_insufficient(sessions, lots, enough):
    got = last(history(market(sessions, 1), lots=lots), YEAR, MetricParameters())
    for name in ESTIMATES:
        assert got[name][1:] == (("", "live") if enough else ("insufficient", "none")), name
    assert got["n_sessions"] == (sessions, "", "live")
    assert got["closed_lots"][1] == got["months_of_data"][1] == ""


def test_ninety_days_ask_for_twenty_sessions():
    for sessions, reason in ((20, ""), (19, "insufficient")):
        assert last(history(market(sessions, 1)), QUARTER, MetricParameters())["sharpe"][1] == reason


def test_a_history_without_lots_is_not_asked_for_them():
    got = last(history(market(300, 1), lots=None), YEAR, MetricParameters())
    assert {name for name, (_, reason, _) in got.items() if reason == "no_lots"} == {
        "hit_rate",
        "closed_lots",
    }
    assert got["calmar"][1] == ""


def test_a_window_without_lots_has_no_hit_rate():
    got = last(history(market(30, 1), lots=0), QUARTER)
    assert got["hit_rate"][1] == "no_lots"
    assert got["closed_lots"] == (0.0, "", "live")


def test_too_few_active_days_have_no_spread():
    active_only = dataclasses.replace(LENIENT, active_days_only=True)
    for days in (0, 1):
        h = history(market(30, 1), active=np.arange(30)[:, None] < days)
        got = last(h, QUARTER, active_only)
        assert {got[name][1] for name in ("volatility", "sharpe", "sortino")} == {"insufficient"}
        assert got["mean_active_return"][1] == ("" if days else "insufficient")
        assert got["mean_return"][1] == ""


def test_a_strategy_never_seen_is_insufficient():
    got = last(history(market(30, 1)), QUARTER, strategy="ghost", strategies=["ghost", "s0"])
    assert {got[name][1] for name in ESTIMATES} == {"insufficient"}
    assert [got[name] for name in ("n_sessions", "closed_lots", "months_of_data")] == [(0.0, "", "live")] * 3


def test_beyond_floating_point_is_null():
    got = last(history(np.array([[1e200], [1e200], [-0.5]])), Lookback(3, "sessions"))
    assert got["total_return"] == (pytest.approx(math.nan, nan_ok=True), "overflow", "none")
    assert last(history([[1e3], [1e3]]), Lookback(2, "sessions"))["annual_return"][1] == "overflow"


@examples(25)
@given(st.data())
def test_a_value_is_finite_or_null_with_a_reason(data):
    returns = st.sampled_from([0.0, 0.01, -0.01, 0.5, -0.999, 1e-300, 1e150])
    rows = data.draw(st.integers(1, 25))
    h = history(
        np.array(data.draw(st.lists(returns, min_size=rows, max_size=rows)))[:, None],
        lots=data.draw(st.sampled_from([None, 0, 1])),
        active=np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))[:, None],
    )
    parameters = dataclasses.replace(LENIENT, active_days_only=data.draw(st.booleans()))
    table = metrics_table(h, h.sessions, Lookback(data.draw(st.integers(1, 12)), "sessions"), parameters)
    null = table["value"].isna()
    assert (np.isfinite(table["value"]) | null).all()
    assert ((table["reason"] != "") == null).all()
    assert table["reason"].isin(REASONS).all()
    assert ((table["source"] == "none") == null).all()


# ------------------------------------------------------------------------------- risk-free, active days


def test_risk_free_modes():
    returns = market(252, 1)
    h, mean = history(returns), returns.mean()
    spread = returns.std(ddof=1) * math.sqrt(252)
    geometric = dataclasses.replace(LENIENT, rf_mode="geometric")
    sharpe = {mode.rf_mode: last(h, YEAR, mode)["sharpe"][0] for mode in (LENIENT, geometric)}
    assert sharpe["arithmetic"] == pytest.approx((mean * 252 - 0.045) / spread, rel=1e-12)
    assert sharpe["geometric"] == pytest.approx((mean - (1.045 ** (1 / 252) - 1)) * 252 / spread, rel=1e-12)


def test_a_constant_daily_rate_is_the_annual_rate():
    h = history(market(252, 2))
    rate = pd.Series(0.045 / 252, index=h.sessions[::-1])
    plain, daily = last(h, YEAR), last(h, YEAR, risk_free_daily=rate)
    for name in MEASURED:
        assert daily[name][0] == pytest.approx(plain[name][0], rel=1e-12), name


def test_a_varying_daily_rate_is_subtracted_day_by_day():
    returns, rate = market(100, 1), np.abs(market(100, 1, seed=5)) / 50
    h = history(returns)
    got = last(h, Lookback(60, "sessions"), risk_free_daily=pd.Series(rate[:, 0], index=h.sessions))
    excess, window = (returns - rate)[-60:, 0], returns[-60:, 0]
    downside = math.sqrt((np.minimum(excess, 0) ** 2).mean())
    assert got["sharpe"][0] == pytest.approx(excess.mean() * math.sqrt(252) / window.std(ddof=1), rel=1e-11)
    assert got["sortino"][0] == pytest.approx(excess.mean() * math.sqrt(252) / downside, rel=1e-11)


def test_a_daily_rate_with_a_hole_is_refused():
    h = history(market(60, 1))
    rate = pd.Series(0.0001, index=h.sessions).drop(h.sessions[-2])
    with pytest.raises(ValueError, match=f"risk_free_daily: .* none on {h.sessions[-2]:%Y-%m-%d}"):
        last(h, Lookback(30, "sessions"), risk_free_daily=rate)


def test_active_days_only_follows_its_definition():
    returns = market(250, 2)
    active = np.random.default_rng(3).random((250, 2)) < 0.3
    returns[~active] = 0.0
    h = history(returns, active=active)
    lookback = Lookback(100, "sessions")
    plain = last(h, lookback, strategy="s1")
    got = last(h, lookback, dataclasses.replace(LENIENT, active_days_only=True), strategy="s1")
    sample = returns[-100:, 1][active[-100:, 1]]
    a_year = len(sample) / 100 * 252
    volatility = sample.std(ddof=1) * math.sqrt(a_year)
    downside = math.sqrt((np.minimum(sample - 0.045 / 252, 0) ** 2).mean() * a_year)
    assert got["volatility"][0] == pytest.approx(volatility, rel=1e-12)
    assert got["sharpe"][0] == pytest.approx((sample.mean() * a_year - 0.045) / volatility, rel=1e-11)
    assert got["sortino"][0] == pytest.approx((sample.mean() * a_year - 0.045) / downside, rel=1e-11)
    assert got["mean_active_return"][0] == pytest.approx(sample.mean(), rel=1e-11)
    assert got["mean_return"][0] == pytest.approx(returns[-100:, 1].mean(), rel=1e-11)
    untouched = MEASURED - {"volatility", "sharpe", "sortino"}
    assert {name: got[name] for name in untouched} == {name: plain[name] for name in untouched}
    # Neither punished nor flattered: idle days change the Sharpe of an infrequent trader by little.
    assert got["sharpe"][0] == pytest.approx(plain["sharpe"][0], rel=0.02)


def test_always_active_makes_active_days_only_the_default():
    h = history(market(300, 3))
    tables = [
        metrics_table(h, h.sessions[-40:], QUARTER, dataclasses.replace(LENIENT, active_days_only=flag))
        for flag in (False, True)
    ]
    assert_frame_equal(*tables, check_exact=True)


# -------------------------------------------------------------------------------------------------- peers


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_empyrical(seed):
    import empyrical

    returns = market(252, 1, seed)[:, 0]
    got = last(history(returns[:, None]), Lookback(252, "sessions"))
    peers = {
        "total_return": empyrical.cum_returns_final(returns),
        "annual_return": empyrical.annual_return(returns),
        "volatility": empyrical.annual_volatility(returns),
        "sharpe": empyrical.sharpe_ratio(returns, risk_free=0.045 / 252),
        "sortino": empyrical.sortino_ratio(returns, required_return=0.045 / 252),
        "max_drawdown": -empyrical.max_drawdown(returns),
        "calmar": empyrical.calmar_ratio(returns),
    }
    for name, value in peers.items():
        assert got[name][0] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_ffn(seed):
    """ffn takes the annual rate to a day geometrically, and drawdowns from prices as given."""
    import ffn

    returns = pd.Series(market(252, 1, seed)[:, 0], index=pd.bdate_range("2020-01-01", periods=252))
    got = last(
        history(returns.to_numpy()[:, None]),
        Lookback(252, "sessions"),
        dataclasses.replace(LENIENT, rf_mode="geometric"),
    )
    anchored = pd.Series(np.concatenate([[1.0], (1 + returns).cumprod()]))
    assert got["sharpe"][0] == pytest.approx(ffn.calc_sharpe(returns, rf=0.045, nperiods=252), rel=1e-9)
    assert got["sortino"][0] == pytest.approx(ffn.calc_sortino_ratio(returns, rf=0.045, nperiods=252), rel=1e-9)
    assert got["max_drawdown"][0] == pytest.approx(-ffn.calc_max_drawdown(anchored), rel=1e-9)


def test_prices_without_an_anchor_miss_the_loss_we_count():
    import ffn

    returns = np.array([-0.30, 0.10, -0.05])
    unanchored = -ffn.calc_max_drawdown(pd.Series((1 + returns).cumprod()))
    ours = last(history(returns[:, None]), Lookback(3, "sessions"))["max_drawdown"][0]
    assert unanchored == pytest.approx(0.05)
    assert ours == pytest.approx(0.30)


def test_every_window_agrees_with_empyrical():
    import empyrical

    returns = market(300, 2)
    h = history(returns)

    def rolled(metric, sessions):
        rows = metrics_table(h, h.sessions[sessions - 1 :], Lookback(sessions, "sessions"), LENIENT, metrics=[metric])
        return rows.pivot(index="as_of", columns="strategy", values="value").to_numpy()

    peer = empyrical.roll_sharpe_ratio(returns[:, 0], window=90, risk_free=0.045 / 252)
    np.testing.assert_allclose(rolled("sharpe", 90)[:, 0], peer, rtol=1e-9)
    peer = empyrical.roll_max_drawdown(returns[:, 0], window=252)
    np.testing.assert_allclose(rolled("max_drawdown", 252)[:, 0], -peer, rtol=1e-9)
    year = np.array([empyrical.calmar_ratio(returns[t - 252 : t, 1]) for t in range(252, 301)])
    np.testing.assert_allclose(rolled("calmar", 252)[:, 1], year, rtol=1e-9)


# ----------------------------------------------------------------------------------------------- build-up


def test_golden_build_up():
    annual, drawdown = build_up(0.20, 0.15, 1, 0.20 / 12, 0.05)
    assert annual == pytest.approx(0.20, rel=1e-14)
    assert drawdown == pytest.approx(0.1375, rel=1e-14)


@pytest.mark.parametrize("months", range(1, 13))
def test_build_up_follows_its_definition(months):
    annual, drawdown = build_up(0.20, 0.15, months, 0.03, 0.04)
    share = months / 12
    assert annual == pytest.approx((1 - share) * 0.20 + share * (0.03 * 12 / months), rel=1e-12)
    assert drawdown == pytest.approx(max((1 - share) * 0.15, 0.04), rel=1e-12)


def test_build_up_begins_with_the_starter_and_ends_with_the_live_window():
    months = np.array([0, 12, 30])
    annual, drawdown = build_up(0.20, 0.15, months, [np.nan, 0.07, 0.07], [np.nan, 0.02, 0.02])
    assert annual.tolist() == [0.20, 0.07, 0.07]
    assert drawdown.tolist() == [0.15, 0.02, 0.02]
    with pytest.raises(ValueError, match="months: expected 0 or more, got -1"):
        build_up(0.20, 0.15, -1, 0.0, 0.0)


def test_starter_metrics_carry_a_strategy_through_its_first_year():
    import empyrical

    sessions = pd.bdate_range("2020-01-01", "2021-03-31")
    live = sessions >= "2020-03-16"
    returns = np.where(live, np.random.default_rng(4).normal(0.0005, 0.01, len(sessions)), np.nan)[:, None]
    h = history(returns, lots=0)
    month_ends = pd.DatetimeIndex(pd.Series(sessions).groupby(sessions.to_period("M")).max())
    parameters = MetricParameters()
    table = metrics_table(h, month_ends, YEAR, parameters, starter={"s0": STARTER})
    built = table.pivot(index="as_of", columns="metric", values="value")
    source = table.pivot(index="as_of", columns="metric", values="source")
    plain = metrics_table(h, month_ends, YEAR, parameters)

    affected = ["annual_return", "calmar", "max_drawdown"]
    rest = ~table["metric"].isin(affected)
    assert_frame_equal(table[rest], plain[rest], check_exact=True)

    assert built.loc["2020-02-28", affected].tolist() == [0.20, 0.20 / 0.15, 0.15]
    assert (source.loc["2020-02-28", affected] == "starter").all()
    for m, day in enumerate(month_ends[2:13], start=1):
        window = returns[live & (sessions <= day), 0]
        drawdown = -empyrical.max_drawdown(window)
        expected = build_up(0.20, 0.15, m, np.prod(1 + window) - 1, drawdown)
        got = built.loc[day, affected].tolist()
        assert got == pytest.approx([expected[0], expected[0] / expected[1], expected[1]], rel=1e-11)
        assert (source.loc[day, affected] == "build_up").all()
    # From month 12 on the true window alone, which here has too few lots.
    assert (source.loc["2021-02-26":, affected] == "none").all(axis=None)
    assert built.loc["2021-02-26":, affected].isna().all(axis=None)


def test_a_starter_stands_in_for_a_strategy_never_seen():
    got = last(history(market(300, 1)), YEAR, strategy="new", strategies=["new"], starter={"new": STARTER})
    assert got["calmar"] == (pytest.approx(0.20 / 0.15), "", "starter")
    assert got["sharpe"][1:] == ("insufficient", "none")


def test_starter_metrics_are_not_used_before_they_were_known():
    sessions = pd.bdate_range("2020-01-01", "2020-06-30")
    unlike = ReturnHistory.from_arrays(np.zeros((len(sessions), 1)), sessions, ["other"])
    days = sessions[[20, 60, 61, 100]]
    known = dataclasses.replace(STARTER, known_from=days[2].date())
    table = metrics_table(unlike, days, YEAR, strategies=["new"], starter={"new": known})
    calmar = table[table["metric"] == "calmar"].set_index("as_of")
    assert calmar["source"].tolist() == ["none", "none", "starter", "starter"]
    assert calmar["value"].isna().tolist() == [True, True, False, False]
    ever = metrics_table(unlike, days, YEAR, strategies=["new"], starter={"new": STARTER})
    assert (ever.loc[ever["metric"] == "calmar", "source"] == "starter").all()


def test_starter_metrics_belong_to_the_twelve_month_lookback():
    h = history(market(30, 1))
    for lookback in (QUARTER, Lookback(252, "sessions"), Lookback(6, "months")):
        assert last(h, lookback, starter={"s0": STARTER}) == last(h, lookback)


# ------------------------------------------------------------------------------ what a value may depend on


def realistic(seed, rows=420):
    rng = np.random.default_rng(seed)
    returns = market(rows, 4, seed)
    returns[: rng.integers(0, 300), 1] = np.nan
    returns[: rng.integers(0, 420), 3] = np.nan
    active = rng.random((rows, 4)) < 0.5
    return history(returns, lots=rng.poisson(0.5, (rows, 4)), active=active)


def cut(h, rows):
    arrays = {f: getattr(h, f)[rows] for f in ("sessions", "returns", "closed_lots", "winning_lots", "active")}
    return dataclasses.replace(h, **arrays)


PARAMETERS = st.sampled_from([MetricParameters(), MetricParameters(active_days_only=True, min_sessions=5)])
LOOKBACKS = st.sampled_from([YEAR, QUARTER, Lookback(40, "sessions"), Lookback(3, "months")])
STARTERS = {"s1": STARTER, "s3": STARTER}


@examples(20)
@given(st.integers(0, 99), st.integers(280, 419), LOOKBACKS, PARAMETERS)
def test_nothing_after_d_changes_a_value(seed, t, lookback, parameters):
    h = realistic(seed)
    as_of = h.sessions[[t]]
    future = h.returns.copy()
    future[t + 1 :] = np.where(np.isnan(future[t + 1 :]), np.nan, 0.33)
    expected = metrics_table(h, as_of, lookback, parameters, starter=STARTERS)
    for other in (cut(h, slice(0, t + 1)), dataclasses.replace(h, returns=future)):
        assert_frame_equal(
            metrics_table(other, as_of, lookback, parameters, starter=STARTERS), expected, check_exact=True
        )


@examples(20)
@given(st.integers(0, 99), st.integers(0, 10), st.integers(280, 419), LOOKBACKS, PARAMETERS)
def test_history_before_the_window_changes_no_bit(seed, spare, t, lookback, parameters):
    """A load that just reaches back over the lookback gives what the whole history gives."""
    h = realistic(seed)
    as_of = h.sessions[[t]]
    first = max(0, int(lookback.starts(h.sessions, as_of[:1])[0]) - spare)
    expected = metrics_table(h, as_of, lookback, parameters, starter=STARTERS)
    short = metrics_table(cut(h, slice(first, None)), as_of, lookback, parameters, starter=STARTERS)
    assert_frame_equal(short, expected, check_exact=True)


@examples(10)
@given(st.integers(0, 99), LOOKBACKS, PARAMETERS)
def test_a_batch_is_its_single_sessions(seed, lookback, parameters):
    h = realistic(seed)
    as_of = h.sessions[[3, 90, 91, 250, 419]]
    batch = metrics_table(h, as_of, lookback, parameters, starter=STARTERS)
    singles = [metrics_table(h, as_of[[k]], lookback, parameters, starter=STARTERS) for k in range(len(as_of))]
    assert_frame_equal(pd.concat(singles, ignore_index=True), batch, check_exact=True)
    shuffled = metrics_table(h, as_of[[4, 0, 2, 1, 3, 0]], lookback, parameters, starter=STARTERS)
    assert_frame_equal(shuffled, batch, check_exact=True)


def test_strategies_do_not_touch_each_other():
    h = realistic(7)
    as_of = h.sessions[[300, 400]]
    together = metrics_table(h, as_of, YEAR, strategies=["s3", "s0"])
    for strategy in ("s0", "s3"):
        i = h.strategies.index(strategy)
        alone = history(h.returns[:, [i]], lots=h.closed_lots[:, [i]], active=h.active[:, [i]], names=[strategy])
        own = together[together["strategy"] == strategy].reset_index(drop=True)
        assert_frame_equal(own, metrics_table(alone, as_of, YEAR), check_exact=True)


# -------------------------------------------------------------------------------------------------- table


def test_the_table_is_long_and_ordered():
    h = realistic(1)
    table = metrics_table(h, h.sessions[[400, 300]], QUARTER, strategies=["s2", "s0", "zz"])
    assert list(table.columns) == ["as_of", "strategy", "metric", "lookback", "value", "reason", "source"]
    assert table.dtypes.astype(str).to_dict() == {
        "as_of": str(h.sessions.dtype),
        "strategy": "str",
        "metric": "str",
        "lookback": "str",
        "value": "float64",
        "reason": "str",
        "source": "str",
    }
    assert len(table) == 2 * 3 * len(MEASURED)
    keys = table[["as_of", "strategy", "metric"]]
    assert_frame_equal(keys, keys.sort_values(list(keys.columns), ignore_index=True))
    assert not keys.duplicated().any()
    assert set(table["metric"]) == MEASURED
    assert set(table["lookback"]) == {"90d"}
    some = metrics_table(
        h, h.sessions[[400, 300]], QUARTER, strategies=["s2", "s0", "zz"], metrics=["sharpe", "calmar"]
    )
    assert_frame_equal(some, table[table["metric"].isin(set(some["metric"]))].reset_index(drop=True), check_exact=True)
    assert set(some["metric"]) == {"sharpe", "calmar"}


def test_an_as_of_day_that_is_no_session_is_refused():
    h = history(market(30, 1))
    with pytest.raises(ValueError, match="as_of: expected sessions of the history, got 2020-01-04"):
        metrics_table(h, pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-04"]), YEAR)


def test_nothing_asked_is_nothing_answered():
    h = history(market(30, 1))
    for table in (
        metrics_table(h, h.sessions[:0], YEAR, starter={"s0": STARTER}),
        metrics_table(h, h.sessions[-1:], YEAR, strategies=[], starter={"s0": STARTER}),
    ):
        assert len(table) == 0
        assert list(table.columns) == ["as_of", "strategy", "metric", "lookback", "value", "reason", "source"]


def test_an_empty_ledger_still_answers_for_the_strategies_asked():
    frame = long_frame(history(market(10, 1))).iloc[:0]
    h = ReturnHistory.from_long(frame, sessions=pd.bdate_range("2020-01-01", periods=10))
    for flag in (False, True):
        got = last(h, YEAR, MetricParameters(active_days_only=flag), strategies=["s0"])
        assert {got[name][1] for name in ESTIMATES} == {"insufficient"}


def test_one_registry_entry_adds_a_metric(monkeypatch):
    def loss_share(w):
        return metrics.Measured(w.max_drawdown * 100, np.zeros(w.n.shape, dtype=np.int8))

    monkeypatch.setattr(metrics, "METRICS", MappingProxyType({**METRICS, "drawdown_percent": loss_share}))
    got = last(history(np.array([FOUR]).T), Lookback(4, "sessions"))
    assert got["drawdown_percent"] == (pytest.approx(10.0), "", "live")


# ---------------------------------------------------------------------------------------------- by hand


def test_figures_given_by_hand_take_the_place_of_three_metrics_of_every_strategy():
    h = history(market(300, 2))
    measured = metrics_table(h, h.sessions[-1:], QUARTER, LENIENT)
    stated = dataclasses.replace(STARTER, known_from=h.sessions[-1].date())
    given_rows = metrics.overridden(measured, {"s1": stated})
    table = metrics.with_overrides(measured, given_rows)
    keys = ["as_of", "strategy", "metric"]
    assert_frame_equal(table[keys], measured[keys])
    own = table["metric"].isin(["annual_return", "max_drawdown", "calmar"])
    assert_frame_equal(table[~own], measured[~own], check_exact=True)
    assert set(table.loc[own, "source"]) == {"manual"}
    by_strategy = {name: rows.set_index("metric") for name, rows in table[own].groupby("strategy")}
    # The ratio is taken as stated, not as return over drawdown.
    expected = {"annual_return": 0.20, "max_drawdown": 0.15, "calmar": 1.33}
    assert by_strategy["s1"]["value"].to_dict() == expected
    assert set(by_strategy["s1"]["reason"]) == {""}
    assert by_strategy["s0"]["value"].isna().all()
    assert set(by_strategy["s0"]["reason"]) == {"missing"}
    assert metrics.with_overrides(measured, given_rows.iloc[:0]) is measured


def test_figures_known_only_later_are_refused():
    h = history(market(300, 1))
    measured = metrics_table(h, h.sessions[-1:], YEAR, LENIENT)
    later = dataclasses.replace(STARTER, known_from=(h.sessions[-1] + pd.Timedelta(days=1)).date())
    with pytest.raises(ValueError, match=f"s0: known_from: expected a day up to {h.sessions[-1]:%Y-%m-%d}, got"):
        metrics.overridden(measured, {"s0": later})


# --- positions that are not known ---------------------------------------------------------------------------


def test_a_window_that_touches_an_unknown_session_is_null_whatever_else_is_known():
    h = history(market(400, 2))
    gap = pd.DataFrame({"session": h.sessions[[100, 101]], "strategy": "s0"})
    never = pd.DataFrame({"session": h.sessions[[100]], "strategy": "s9"})
    known = h.with_unknown(pd.concat([gap, never]))
    assert known.strategies == ("s0", "s1", "s9")
    as_of = h.sessions[[99, 100, 101 + 62, 101 + 66]]
    table = metrics_table(known, as_of, QUARTER, LENIENT, starter={"s0": STARTER})
    calmar = table[table["metric"] == "calmar"].pivot(index="as_of", columns="strategy", values="reason")
    assert (calmar["s1"] == "").all()
    assert (calmar["s0"] == "ledger_incomplete").tolist() == [False, True, True, False]
    assert (calmar["s9"] == "ledger_incomplete").tolist() == [False, True, True, False]
    null = table[table["reason"] == "ledger_incomplete"]
    assert null["value"].isna().all()
    assert (null["source"] == "none").all()
    # Starter metrics are no way round it, and what came before is measured as ever.
    year = metrics_table(known, h.sessions[[100]], YEAR, LENIENT, strategies=["s0"], starter={"s0": STARTER})
    assert set(year["reason"]) == {"ledger_incomplete"}
    before = metrics_table(h, h.sessions[[99]], QUARTER, LENIENT)
    same = metrics_table(known, h.sessions[[99]], QUARTER, LENIENT, strategies=["s0", "s1"])
    pd.testing.assert_frame_equal(before, same)


def test_no_unknown_session_leaves_the_history_as_it_is():
    h = history(market(10, 1))
    elsewhere = pd.DataFrame({"session": [pd.Timestamp("1999-01-04")], "strategy": ["s0"]})
    assert h.with_unknown(elsewhere) is h
