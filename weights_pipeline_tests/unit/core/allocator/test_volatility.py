"""The volatility target: a plain implementation, the past safe from the future, and books that say nothing of risk."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.allocator.overlay import StaleScalarError
from weights_pipeline.core.allocator.scalar import AllocatorParameters, Profile, parameter_hash
from weights_pipeline.core.allocator.state import WARM_UP
from weights_pipeline.core.allocator.summary import scalar_document
from weights_pipeline.core.allocator.volatility import VolatilityTarget, volatility_scalars
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.methods.equal import Equal
from weights_pipeline.core.verify import overlay_applied, volatility_targeted
from weights_pipeline.core.waterfall import ReplayError, waterfalls, waterfalls_by_date

CALENDAR = pd.bdate_range("2019-01-01", "2020-02-28").as_unit("us")
SESSIONS = CALENDAR[:280]
TARGET = VolatilityTarget(target=0.10, window=20, cap=1.5)
FLAT = Profile(map=dict.fromkeys(("NORMAL", "ELEVATED", "STRESS", "CRISIS"), 1.0), alpha=1.0, floor=1.0)
BASE = {"ant": 0.5, "bee": 0.3, "cow": 0.2}


def series(values):
    return pd.Series(values, index=SESSIONS[: len(values)], dtype=float)


def random_returns(seed, scale=0.01, sessions=280):
    rng = np.random.default_rng(seed)
    calm = np.where(np.arange(sessions) // 70 % 2 == 0, 1.0, 0.3)
    return calm * scale * rng.standard_normal(sessions)


def plainly(returns, wanted, per_year):
    """The definition, session by session, by the standard library."""
    found = []
    for end in range(1, len(returns) + 1):
        window = returns[max(end - wanted.window, 0) : end]
        if len(window) < wanted.window:
            found.append((math.nan, 1.0))
            continue
        volatility = statistics.stdev(window) * math.sqrt(per_year)
        found.append((volatility, min(wanted.cap, wanted.target / volatility) if volatility >= 1e-4 else 1.0))
    return np.array(found).reshape(-1, 2)


def long(frame):
    return frame.rename_axis(index="session", columns="strategy").stack().rename("daily_return").reset_index()


def policy_of(wanted=TARGET, **overlay):
    return Policy(base=BASE, method=Equal(), overlay=AllocatorParameters(volatility_target=wanted, **overlay))


def held(dates, weights=BASE):
    """Rows of realized weights, those of the base throughout."""
    effective = [SESSIONS[SESSIONS.get_loc(date) + 1] for date in dates]
    names, given = list(weights), list(weights.values())
    return pd.DataFrame(
        {
            "as_of": pd.DatetimeIndex(dates).repeat(len(names)),
            "effective_from": pd.DatetimeIndex(effective).repeat(len(names)),
            "strategy": names * len(dates),
            "realized": given * len(dates),
        }
    )


def strategy_returns(seed):
    rng = np.random.default_rng(seed)
    scale = np.where(np.arange(len(SESSIONS)) < 180, 0.004, 0.02)[:, None]
    return pd.DataFrame(scale * rng.standard_normal((len(SESSIONS), 3)), index=SESSIONS, columns=list(BASE))


DATES = SESSIONS[[0, 40, 90, 130, 170, 210, 250]]


def tables(policy, returns, dates=DATES):
    realized = held(dates)
    path = chain.overlay_path(long(returns), realized, policy.overlay, DAILY)
    return realized, path, chain.final_table(realized, path.scalars, policy, CALENDAR)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("wanted", "per_year"),
    [
        (TARGET, 252),
        (VolatilityTarget(target=0.05, window=60), 365),
        (VolatilityTarget(target=0.3, window=2, cap=3), 252),
        (VolatilityTarget(target=0.08, window=300), 252),
    ],
    ids=repr,
)
def test_it_is_the_plain_definition(seed, wanted, per_year):
    returns = random_returns(seed)
    found = volatility_scalars(series(returns), wanted, per_year)
    np.testing.assert_allclose(found, plainly(returns.tolist(), wanted, per_year), rtol=1e-12)


def test_golden_numbers():
    # ±1 % in turn: std (ddof = 1) of 20 is 1 % · √(20/19), a year 1 % · √(20/19 · 252) = 16.287 %.
    found = volatility_scalars(series([0.01, -0.01] * 20), TARGET, 252).iloc[-1]
    assert found["volatility"] == pytest.approx(0.01 * math.sqrt(20 / 19 * 252), rel=1e-14)
    assert found["volatility_scalar"] == pytest.approx(0.6139903, abs=5e-8)
    quiet = volatility_scalars(series([0.004, -0.004] * 20), TARGET, 252).iloc[-1]
    assert quiet["volatility_scalar"] == 1.5  # 10 % / 6.515 % = 1.535, above the cap


def test_a_window_of_sixty_measures_what_the_state_does():
    policy = policy_of(replace(TARGET, window=60))
    _, path, _ = tables(policy, strategy_returns(1))
    assert len(path.state) == len(path.scalars) == len(SESSIONS) - 1 - WARM_UP
    np.testing.assert_array_equal(path.scalars["volatility"], path.state["port_rvol_60d"])


def test_too_few_sessions_and_no_movement_leave_weights_alone():
    wanted = replace(TARGET, window=40)
    found = volatility_scalars(series([0.0] * 80 + random_returns(1)[:60].tolist()), wanted, 252)
    assert found["volatility"].isna().tolist() == [True] * 39 + [False] * 101
    assert (found["volatility_scalar"].iloc[:80] == 1.0).all()
    assert (found["volatility"].iloc[39:80] == 0.0).all()
    noise = volatility_scalars(series(random_returns(1, scale=1e-7)), wanted, 252)
    assert (noise["volatility_scalar"] == 1.0).all()
    constant = volatility_scalars(series([0.1] * 60), wanted, 252)
    assert (constant["volatility_scalar"] == 1.0).all()
    assert volatility_scalars(series([]), wanted, 252).empty


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 199), window=st.integers(2, 70))
def test_the_future_changes_nothing_and_one_by_one_is_all_at_once(seed, cut, window):
    wanted, returns = replace(TARGET, window=window), random_returns(seed, sessions=200)
    whole = volatility_scalars(series(returns), wanted, 252)
    other = np.where(np.arange(200) <= cut, returns, 0.3 * returns[::-1] - 0.01)
    pd.testing.assert_frame_equal(
        volatility_scalars(series(other), wanted, 252).iloc[: cut + 1], whole.iloc[: cut + 1], check_exact=True
    )
    alone = volatility_scalars(series(returns[: cut + 1]), wanted, 252)
    pd.testing.assert_frame_equal(alone, whole.iloc[: cut + 1], check_exact=True)
    if cut + 1 >= window:
        last = volatility_scalars(series(returns[cut + 1 - window : cut + 1]), wanted, 252)
        np.testing.assert_array_equal(last.iloc[-1], whole.iloc[cut])


@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-3, 3))
def test_it_scales_inversely_where_the_cap_does_not_bind(seed, power):
    wanted, returns = replace(TARGET, cap=1e6), random_returns(seed)
    one, other = (volatility_scalars(series(each), wanted, 252)[19:] for each in (returns, 2.0**power * returns))
    np.testing.assert_array_equal(other["volatility_scalar"], one["volatility_scalar"] / 2.0**power)
    np.testing.assert_array_equal(
        volatility_scalars(series(returns), TARGET, 252)["volatility_scalar"][19:],
        np.minimum(one["volatility_scalar"], TARGET.cap),
    )
    twice = volatility_scalars(series(returns), replace(wanted, target=0.2), 252)[19:]
    np.testing.assert_array_equal(twice["volatility_scalar"], 2 * one["volatility_scalar"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target": 0.0}, "target: expected a volatility a year"),
        ({"target": math.inf}, "target: expected a volatility a year"),
        ({"target": math.nan}, "target: expected a volatility a year"),
        ({"window": 1}, "window: expected at least 2"),
        ({"cap": 0.9}, "cap: expected a finite number of at least 1"),
        ({"cap": math.nan}, "cap: expected a finite number of at least 1"),
    ],
)
def test_what_is_no_target_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        VolatilityTarget(**{"target": 0.1} | given)


@pytest.mark.parametrize("apply", ["rebalance", "daily"])
@pytest.mark.parametrize("lag", [1, 4])
def test_final_weights_are_scaled_by_both_with_a_lag(apply, lag):
    policy, returns = policy_of(apply=apply, lag=lag), strategy_returns(2)
    realized, path, final = tables(policy, returns)
    book = path.scalars.set_index("session")
    if apply == "daily":
        final = chain.daily_table(realized, path.scalars, policy, CALENDAR, SESSIONS[1:])
    assert final["volatility_scalar"].nunique() > 3
    for row in final.to_dict("records"):
        place = CALENDAR.get_loc(row["effective_from"]) - lag
        session, known = CALENDAR[max(place, 0)], place > WARM_UP
        assert row["volatility_scalar"] == (book.loc[session, "volatility_scalar"] if known else 1.0)
        assert row["scaled"] == row["final"] == row["realized"] * row["scalar"] * row["volatility_scalar"]
        assert row["final"] <= 1.5 * row["realized"]
    assert path.scalars["session"].tolist() == SESSIONS[1 + WARM_UP :].tolist()


def test_it_does_not_feed_back_on_itself():
    returns, (realized, path, _) = strategy_returns(3), tables(policy_of(), strategy_returns(3))
    weights = np.array([BASE[name] for name in returns])
    unscaled = pd.Series((returns.iloc[1:] * weights).sum(axis=1), index=SESSIONS[1:])
    expected = volatility_scalars(unscaled, TARGET, 252).iloc[WARM_UP:]
    np.testing.assert_allclose(path.scalars[["volatility", "volatility_scalar"]], expected, rtol=1e-12)
    hotter = policy_of(replace(TARGET, target=0.2, cap=3.0))
    again = chain.overlay_path(long(returns), realized, hotter.overlay, DAILY)
    np.testing.assert_array_equal(again.scalars["volatility"], path.scalars["volatility"])
    pd.testing.assert_frame_equal(again.state, path.state, check_exact=True)


def test_alone_it_needs_a_profile_that_cuts_nothing():
    _, path, final = tables(policy_of(profile=FLAT), strategy_returns(4))
    assert (path.scalars["scalar"] == 1.0).all()
    np.testing.assert_array_equal(final["final"], final["realized"] * final["volatility_scalar"])


def test_computed_and_not_applied():
    policy = policy_of(enabled=False)
    _, _, final = tables(policy, strategy_returns(5))
    np.testing.assert_array_equal(final["final"], final["realized"])
    np.testing.assert_array_equal(final["scaled"], final["realized"] * final["scalar"] * final["volatility_scalar"])
    assert policy.max_gross == 1.0
    assert policy_of().max_gross == 1.5


def test_without_one_there_is_nothing_of_it():
    overlay = AllocatorParameters()
    policy = Policy(base=BASE, method=Equal(), overlay=overlay)
    _, path, final = tables(policy, strategy_returns(5))
    for table in (path.scalars, final):
        assert table[["volatility", "volatility_scalar"]].isna().all(axis=None)
    assert parameter_hash(overlay) != parameter_hash(policy_of().overlay)
    assert policy.max_gross == policy.gross


def test_scalars_without_the_target_are_stale():
    policy = policy_of()
    realized, path, _ = tables(policy, strategy_returns(6))
    gap = path.scalars.assign(volatility_scalar=np.nan)
    with pytest.raises(StaleScalarError, match="volatility target: no scalar for 2019-05-07"):
        chain.final_table(realized, gap, policy, CALENDAR)


def test_leverage_needs_a_gross_that_is_no_limit():
    with pytest.raises(ValueError, match=r"overlay\.volatility_target\.cap: expected 1 where weights add up to gross"):
        replace(policy_of(), limits=Limits(gross="at_most"))
    replace(policy_of(replace(TARGET, cap=1.0)), limits=Limits(gross="at_most"))


def test_leverage_that_would_have_ruined_the_book_is_no_audit():
    returns = strategy_returns(7) / 100
    returns.iloc[200] = -0.7
    policy = policy_of(profile=FLAT)
    realized, path, final = tables(policy, returns)
    assert final["volatility_scalar"].max() == 1.5
    audited = (realized, long(returns), path.scalars, path.regimes)
    with pytest.raises(ValueError, match=r"scaled: expected returns above -1, got -1\.0"):
        chain.audit_table(*audited, policy, SESSIONS[[-1]])
    returns.iloc[200] = -1.0
    with pytest.raises(ValueError, match="equity: expected values above 0"):
        tables(policy, returns)


def test_the_audit_tells_what_leverage_earned():
    policy, returns = policy_of(profile=FLAT), strategy_returns(8)
    realized, path, final = tables(policy, returns)
    audited = chain.audit_table(realized, long(returns), path.scalars, path.regimes, policy, SESSIONS[[-1]])
    whole = audited[audited["window"] == "all"].set_index(["portfolio", "metric"])["value"]
    weights = final.pivot(index="effective_from", columns="strategy", values="final").reindex(SESSIONS[1:]).ffill()
    earned = (weights * returns.loc[SESSIONS[1:]]).sum(axis=1)
    assert whole["scaled", "volatility"] == pytest.approx(earned.std() * math.sqrt(252), rel=1e-12)
    by_session = final.drop_duplicates("as_of").set_index("effective_from")["volatility_scalar"]
    assert whole["scaled", "mean_scalar"] == pytest.approx(by_session.reindex(SESSIONS[1:]).ffill().mean(), rel=1e-12)


def test_it_is_a_step_of_the_waterfall():
    policy = policy_of()
    targets = chain.target_table(metrics(), policy)
    realized = held(DATES, dict(zip(targets["strategy"], targets["target"], strict=True)))
    path = chain.overlay_path(long(strategy_returns(9)), realized, policy.overlay, DAILY)
    final, date = chain.final_table(realized, path.scalars, policy, CALENDAR), DATES[-1]
    moved = targets[["strategy", "base", "target"]].assign(
        as_of=date, previous=targets["base"], rate=1.0, realized=targets["target"], entered=False
    )
    rows = [targets.assign(as_of=date), moved, final[final["as_of"] == date]]
    steps = waterfalls(*rows)["ant"]
    assert [step.name for step in steps[-4:]] == [
        "realized weight",
        "risk scalar",
        "volatility target",
        "final weight",
    ]
    row = rows[2].iloc[0]
    assert steps[-2].operands == (row["volatility_scalar"],)
    assert steps[-2].remark == f"of {row['scalar_session']:%Y-%m-%d}, over {row['volatility']:.4%} a year"
    assert steps[-1].value == row["final"]
    early = waterfalls(rows[0].assign(as_of=DATES[0]), moved.assign(as_of=DATES[0]), final[final["as_of"] == DATES[0]])
    assert early["ant"][-2].remark == "before the first scalar, too few sessions"
    wrong = rows[2].assign(volatility_scalar=1.01)
    with pytest.raises(ReplayError, match="volatility target"):
        waterfalls(*rows[:2], wrong)
    idle = rows[2].assign(applied=False, final=rows[2]["realized"])
    remark = waterfalls_by_date(*rows[:2], idle)[date]["ant"][-1].remark
    assert remark.endswith(f"and volatility target {row['volatility_scalar']:.6g} not applied")


def metrics():
    return pd.DataFrame(
        {
            "as_of": DATES[-1],
            "strategy": list(BASE),
            "metric": "sharpe",
            "lookback": "12m",
            "value": 1.0,
            "reason": "",
            "source": "ledger",
        }
    )


def test_checks_find_what_does_not_follow():
    policy, returns = policy_of(), strategy_returns(10)
    realized, path, final = tables(policy, returns)
    expected = chain.volatility_table(long(returns), realized, policy.overlay, DAILY)
    assert volatility_targeted(path.scalars, expected).passed
    assert overlay_applied(final, realized, path.scalars, policy.overlay).passed
    spoilt = path.scalars.copy()
    spoilt.loc[5, "volatility_scalar"] = np.nextafter(spoilt.loc[5, "volatility_scalar"], 0)
    finding = volatility_targeted(spoilt, expected)
    assert not finding.passed
    assert finding.offending["session"].tolist() == [spoilt.loc[5, "session"]]
    assert not volatility_targeted(path.scalars, None).passed
    assert volatility_targeted(path.scalars.assign(volatility=np.nan, volatility_scalar=np.nan), None).passed
    for column in ("final", "volatility_scalar"):
        off = final.assign(**{column: final[column] * 1.01})
        assert not overlay_applied(off, realized, path.scalars, policy.overlay).passed
    plain = replace(policy.overlay, volatility_target=None)
    assert not overlay_applied(final, realized, path.scalars, plain).passed


def test_the_document_of_scalars_sums_it_up():
    policy = policy_of(replace(TARGET, window=100))
    _, path, _ = tables(policy, strategy_returns(11))
    told = scalar_document(path.scalars, path.regimes, policy.overlay)["volatility_target"]
    scalars = path.scalars["volatility_scalar"]
    assert told["parameters"] == {"target": 0.1, "window": 100, "cap": 1.5}
    assert told["scalar"]["last"] == scalars.iloc[-1]
    assert told["share_at_cap"] == (scalars == 1.5).mean() > 0
    assert told["volatility"]["max"] == path.scalars["volatility"].max()
