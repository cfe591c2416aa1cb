"""Rate and turnover cap, one for all or one per risk regime: the step, the policy, and the walk through regimes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.allocator.overlay import StaleScalarError
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step, step
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.normalise import capped
from weights_pipeline.core.verify import recurrence
from weights_pipeline.core.waterfall import waterfalls
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.unit.core.study.test_simulate import (
    BASE,
    CALENDAR,
    EAGER,
    MONTHS,
    NAMES,
    SESSIONS,
    WEEKS,
    random_returns,
)
from weights_pipeline_tests.unit.core.study.test_simulate import history_of as history

METHOD = {method.__dataclass_fields__["kind"].default: method for method in METHODS}
RATES = {"NORMAL": 0.25, "ELEVATED": 0.5, "STRESS": 0.1, "CRISIS": 1.0}
CAPS = {"NORMAL": 0.02, "ELEVATED": 0.01, "STRESS": 0.5, "CRISIS": 0.03}
PLAIN = Policy(base=BASE, method=METHOD["sharpe_tilt"](lookback="60s"), metrics=EAGER, rate=0.25)
PACED = replace(PLAIN, rate=RATES, turnover_cap=CAPS, overlay=AllocatorParameters(sleeves={"alpha": "fast"}))
SLEEVES = {"fast": {"NORMAL": 0.9, "ELEVATED": 0.5, "STRESS": 0.2, "CRISIS": 0.0}}


def long(returns):
    return returns.rename_axis(index="session", columns="strategy").stack().rename("daily_return").reset_index()


def targets_of(returns, as_of, policy=PACED):
    return chain.target_table(chain.metric_rows(history(returns), as_of, policy), policy)


def realized_of(returns, as_of=WEEKS, policy=PACED, targets=None):
    targets = targets_of(returns, as_of, policy) if targets is None else targets
    return chain.realized_table(pd.DataFrame(), targets, policy, CALENDAR, long(returns))


class TestStep:
    @examples(60)
    @given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.01, 1.0), cap=st.floats(1e-4, 0.5))
    def test_a_shortened_step_keeps_cap_limits_gross_and_recurrence(self, seed, rate, cap):
        rng = np.random.default_rng(seed)
        base = rng.uniform(0.1, 1, int(rng.integers(2, 9)))
        base /= base.sum()
        start, target = (
            capped(base, rng.uniform(0.5, 2, len(base)) ** 2, floor=0.5, cap=2.0, gross=1.0)[0] for _ in range(2)
        )
        limits = {"lower": 0.5 * base, "upper": 2.0 * base, "gross": 1.0}
        begin, moved, used = capped_step(start, target, **limits, rate=rate, turnover_cap=cap)
        plain = step(start, target, **limits, rate=rate)[1]
        wanted, turnover = (np.abs(weights - begin).sum() / 2 for weights in (plain, moved))
        assert turnover <= cap * (1 + 1e-12)
        assert used <= rate
        assert (used < rate) == (not np.array_equal(moved, plain))
        assert turnover == pytest.approx(min(wanted, cap), rel=1e-9)
        assert ((moved >= limits["lower"]) & (moved <= limits["upper"])).all()
        assert abs(moved.sum() - 1) < 1e-12
        again = step(start, target, **limits, rate=used)
        np.testing.assert_array_equal(again, (begin, moved))

    def test_the_gap_is_measured_from_where_the_step_starts(self):
        base, target = np.array([0.5, 0.5]), np.array([0.7, 0.3])
        start, moved, rate = capped_step(
            np.array([0.5, 0.6]), target, base / 2, base * 2, rate=1.0, turnover_cap=0.1, gross=1.0
        )
        assert start.sum() == pytest.approx(1.0)
        assert rate == 0.1 / (np.abs(target - start).sum() / 2)
        assert np.abs(moved - start).sum() / 2 == pytest.approx(0.1)

    def test_at_rest_nothing_moves(self):
        base = np.array([0.5, 0.5])
        assert capped_step(base, base, base / 2, base * 2, rate=0.5, turnover_cap=1e-9, gross=1.0)[2] == 0.5


class TestPolicy:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"rate": 0.0}, r"rate: expected a share of the gap in \(0, 1\], got 0\.0"),
            ({"rate": RATES | {"STRESS": 1.5}}, r"rate\.STRESS: expected a share of the gap in \(0, 1\], got 1\.5"),
            ({"rate": {"NORMAL": 0.5}}, "rate: expected one number, or one for each of NORMAL, ELEVATED, STRESS, CRI"),
            ({"rate": RATES | {"PANIC": 0.5}}, "rate: expected one number, or one for each"),
            ({"turnover_cap": 0.0}, r"turnover_cap: expected a positive one-way turnover, got 0\.0"),
            ({"turnover_cap": np.inf}, "turnover_cap: expected a positive one-way turnover, got inf"),
            ({"turnover_cap": CAPS | {"CRISIS": np.nan}}, r"turnover_cap\.CRISIS: expected a positive"),
            ({"turnover_cap": {}}, "turnover_cap: expected one number, or one for each"),
            ({"overlay": None}, "rate: one number per risk regime needs an overlay"),
            ({"overlay": None, "rate": 0.5}, "turnover_cap: one number per risk regime needs an overlay"),
            (
                {"overlay": AllocatorParameters(sleeve_maps=SLEEVES)},
                r"overlay\.sleeve_maps: \['fast'\] are no sleeves of the book",
            ),
            (
                {"overlay": AllocatorParameters(sleeves={"alpha": "x"}, sleeve_maps={"alpha": SLEEVES["fast"]})},
                r"overlay\.sleeve_maps: \['alpha'\] are no sleeves of the book",
            ),
        ],
    )
    def test_parameters_that_cannot_be_are_refused(self, change, message):
        with pytest.raises(ValueError, match=message):
            replace(PACED, **change)

    def test_one_number_needs_no_regime(self):
        policy = replace(PLAIN, turnover_cap=0.05)
        assert (policy.pace(), policy.paced_by_regime) == ((0.25, 0.05), False)
        assert PACED.pace("CRISIS") == (1.0, 0.03)
        assert replace(PACED, turnover_cap=None).pace("STRESS") == (0.1, None)


class TestWalk:
    @examples(12)
    @given(seed=st.integers(0, 10_000))
    def test_the_regime_used_is_the_one_later_stored_for_the_session(self, seed):
        returns = random_returns(seed)
        realized = realized_of(returns)
        state = chain.state_table(long(returns), realized, PACED.overlay, DAILY)
        stored = chain.regime_table(state, PACED.overlay.thresholds).set_index("session")["regime"]
        used = realized.drop_duplicates("as_of").set_index("as_of")
        assert used["regime"].tolist() == stored.reindex(WEEKS).ffill().fillna("NORMAL").tolist()
        assert set(used["regime"]) > {"NORMAL"}
        assert (used["rate"] <= used["regime"].map(RATES)).all()
        turnover = (realized["realized"] - realized["previous"]).abs().groupby(realized["as_of"]).sum() / 2
        assert (turnover <= used["regime"].map(CAPS) * (1 + 1e-12)).all()
        assert recurrence(realized).passed

    @examples(12)
    @given(seed=st.integers(0, 10_000), data=st.data())
    def test_a_range_is_the_same_bits_as_date_by_date_and_sees_no_future(self, seed, data):
        returns = random_returns(seed)
        weeks = WEEKS[::2]
        targets = targets_of(returns, weeks)
        whole = realized_of(returns, targets=targets)
        start = data.draw(st.integers(0, len(weeks) - 3))
        stored = whole[whole["as_of"] < weeks[start]]
        for date in weeks[start : start + 3]:
            seen = long(returns.loc[:date])
            made = chain.realized_table(stored, targets[targets["as_of"] == date], PACED, CALENDAR, seen)
            stored = pd.concat([stored, made], ignore_index=True)
        expected = whole[whole["as_of"] <= weeks[start + 2]]
        pd.testing.assert_frame_equal(stored, expected, check_exact=True)

    def test_a_strategy_that_joins_is_a_component_from_then_on_as_in_the_stored_history(self):
        """Tables as they are kept: of each run the sessions and dates of its own stretch."""
        returns, few = random_returns(3), {name: weight for name, weight in BASE.items() if name != "omega"}
        before = replace(PACED, base={name: weight / sum(few.values()) for name, weight in few.items()})
        realized = state = pd.DataFrame()
        for dates, policy in ((WEEKS[:40], before), (WEEKS[40:45], PACED), (WEEKS[45:], PACED)):
            seen = returns.loc[: dates[-1]]
            targets = targets_of(seen, dates, policy)
            made = chain.realized_table(realized, targets, policy, CALENDAR, long(seen))
            realized = pd.concat([realized, made], ignore_index=True)
            found = chain.state_table(long(seen), realized, PACED.overlay, DAILY)
            begun = state["session"].max() if len(state) else found["session"].min() - pd.Timedelta(days=1)
            state = pd.concat([state, found[found["session"] > begun]], ignore_index=True)
        stored = chain.regime_table(state, PACED.overlay.thresholds).set_index("session")["regime"]
        used = realized.drop_duplicates("as_of").set_index("as_of")["regime"]
        assert used.tolist() == stored.reindex(WEEKS).ffill().fillna("NORMAL").tolist()
        assert realized.loc[realized["entered"], "strategy"].tolist() == ["omega"]

    def test_a_session_without_a_state_has_the_regime_before_it(self):
        returns = random_returns(10)
        returns.iloc[300:420] = 0.0
        used = realized_of(returns).drop_duplicates("as_of").set_index("as_of")["regime"]
        still = used[(used.index > SESSIONS[365]) & (used.index < SESSIONS[420])]
        assert len(still) > 5
        assert still.nunique() == 1

    def test_without_regimes_nothing_is_walked(self):
        returns = random_returns(1)
        targets = targets_of(returns, MONTHS, PLAIN)
        realized = chain.realized_table(pd.DataFrame(), targets, replace(PLAIN, turnover_cap=0.01), CALENDAR)
        assert (realized["rate"] <= 0.25).all()
        assert (realized["rate"] < 0.25).any()
        assert recurrence(realized).passed

    def test_rates_that_do_not_differ_are_one_rate(self):
        returns = random_returns(2)
        same = replace(PACED, rate=dict.fromkeys(REGIMES, 0.25), turnover_cap=None)
        one = chain.realized_table(pd.DataFrame(), targets_of(returns, WEEKS), PLAIN, CALENDAR)
        columns = [name for name in one if name != "regime"]
        pd.testing.assert_frame_equal(realized_of(returns, policy=same)[columns], one[columns], check_exact=True)

    def test_what_the_walk_needs_is_asked_for(self):
        returns = random_returns(1)
        whole, targets = realized_of(returns, MONTHS), targets_of(returns, MONTHS)
        early, late = targets[targets["as_of"] <= MONTHS[11]], targets[targets["as_of"] > MONTHS[11]]
        stored = whole[whole["as_of"] <= MONTHS[11]]
        with pytest.raises(ValueError, match="returns: expected daily returns from the first session on"):
            chain.realized_table(pd.DataFrame(), early, PACED, CALENDAR)
        with pytest.raises(ValueError, match=f"returns: expected them up to {MONTHS[-1]:%Y-%m-%d}, they end on"):
            chain.realized_table(stored, late, PACED, CALENDAR, long(returns.loc[: MONTHS[-2]]))
        newest = stored[stored["as_of"] == MONTHS[11]]
        with pytest.raises(ValueError, match=f"previous: expected .* the oldest, of {MONTHS[11]:%Y-%m-%d}, does not"):
            chain.realized_table(newest, late, PACED, CALENDAR, long(returns))

    def test_a_book_that_loses_everything_is_refused(self):
        returns = random_returns(0).fillna(0.0)
        returns.iloc[200] = -0.9
        double = replace(PACED, base={name: 2 * weight for name, weight in BASE.items()}, gross=2.0)
        with pytest.raises(ValueError, match=f"equity: expected values above 0, got .* on {SESSIONS[200]:%Y-%m-%d}"):
            realized_of(returns, MONTHS, double)


class TestDailyWeights:
    POLICY = replace(
        PLAIN, overlay=AllocatorParameters(sleeves={"alpha": "fast"}, sleeve_maps=SLEEVES, apply="daily", lag=2)
    )

    def tables(self, policy=POLICY, seed=4):
        returns = random_returns(seed)
        realized = realized_of(returns, MONTHS, policy)
        regimes = chain.regime_table(
            chain.state_table(long(returns), realized, AllocatorParameters(), DAILY), policy.overlay.thresholds
        )
        return realized, chain.scalar_table(regimes, policy.overlay)

    def test_each_session_has_the_newest_weights_at_a_scalar_of_its_own(self):
        realized, scalars = self.tables()
        as_of = SESSIONS[MONTHS[5] < SESSIONS]
        table = chain.daily_table(realized, scalars, self.POLICY, CALENDAR, as_of)
        assert len(table) == len(as_of) * len(NAMES)
        by_sleeve = scalars.pivot(index="session", columns="sleeve", values="scalar")
        for date, rows in list(table.groupby("as_of"))[::23]:
            after = CALENDAR[CALENDAR.searchsorted(date) + 1]
            newest = realized[realized["effective_from"] <= after]
            newest = newest[newest["as_of"] == newest["as_of"].max()]
            session = CALENDAR[CALENDAR.get_loc(after) - 2]
            assert set(rows["effective_from"]) == {after}
            assert set(rows["scalar_session"]) == {session}
            sleeve = np.where(rows["strategy"] == "alpha", "fast", "")
            expected = [by_sleeve.loc[session, name] for name in sleeve]
            assert rows["scalar"].tolist() == expected
            assert rows["realized"].tolist() == newest["realized"].tolist()
            assert rows["final"].tolist() == (newest["realized"].to_numpy() * expected).tolist()
        assert table["scalar"].nunique() > 20

    def test_after_a_rebalance_they_are_the_final_weights(self):
        realized, scalars = self.tables()
        final = chain.final_table(realized, scalars, self.POLICY, CALENDAR)
        daily = chain.daily_table(realized, scalars, self.POLICY, CALENDAR, SESSIONS)
        on = daily[daily["as_of"].isin(MONTHS)].reset_index(drop=True)
        pd.testing.assert_frame_equal(on[list(final)], final, check_exact=True)
        assert set(daily) == set(final)

    def test_before_the_first_weights_there_are_none(self):
        realized, scalars = self.tables()
        early = SESSIONS[MONTHS[0] > SESSIONS]
        assert chain.daily_table(realized, scalars, self.POLICY, CALENDAR, early).empty
        whole = chain.daily_table(realized, scalars, self.POLICY, CALENDAR, SESSIONS[: len(early) + 1])
        assert whole["as_of"].unique().tolist() == [MONTHS[0]]

    def test_a_session_at_a_time_is_the_whole(self):
        realized, scalars = self.tables()
        whole = chain.daily_table(realized, scalars, self.POLICY, CALENDAR, SESSIONS)
        for session in SESSIONS[60::97]:
            known = scalars[scalars["session"] <= session], realized[realized["as_of"] <= session]
            alone = chain.daily_table(known[1], known[0], self.POLICY, CALENDAR, pd.DatetimeIndex([session]))
            expected = whole[whole["as_of"] == session].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, expected, check_exact=True)

    def test_a_missing_scalar_stops_an_enabled_overlay_only(self):
        realized, scalars = self.tables()
        gap = scalars[scalars["session"] != SESSIONS[300]]
        with pytest.raises(StaleScalarError, match=f"no scalar for {SESSIONS[300]:%Y-%m-%d}"):
            chain.daily_table(realized, gap, self.POLICY, CALENDAR, SESSIONS)
        disabled = replace(self.POLICY, overlay=replace(self.POLICY.overlay, enabled=False))
        table = chain.daily_table(realized, gap, disabled, CALENDAR, SESSIONS)
        assert table.loc[table["scalar"].isna(), "as_of"].unique().tolist() == [SESSIONS[301]]
        assert (table["final"] == table["realized"]).all()

    def test_without_overlay_they_are_the_realized_ones(self):
        realized, _ = self.tables()
        table = chain.daily_table(realized, None, PLAIN, CALENDAR, SESSIONS)
        assert (table["final"] == table["realized"]).all()
        assert table["scalar"].isna().all()


def test_a_sleeve_mapped_later_was_scaled_as_the_book_before():
    policy = TestDailyWeights.POLICY
    realized, scalars = TestDailyWeights().tables()
    returns = random_returns(4)
    regimes = scalars.loc[scalars["sleeve"] == "", ["session", "regime"]]
    unmapped = replace(policy, overlay=replace(policy.overlay, sleeve_maps={}))
    book = scalars[scalars["sleeve"] == ""]
    tables = {"mapped from now on": (book, policy), "never mapped": (book, unmapped), "mapped": (scalars, policy)}
    found = {
        name: chain.audit_table(realized, long(returns), rows, regimes, on, SESSIONS[[-1]])
        for name, (rows, on) in tables.items()
    }
    pd.testing.assert_frame_equal(found["mapped from now on"], found["never mapped"], check_exact=True)
    assert not found["mapped"].equals(found["never mapped"])


def test_an_audit_up_to_a_date_sees_nothing_after_it():
    policy = TestDailyWeights.POLICY
    realized, scalars = TestDailyWeights().tables()
    returns, regimes = random_returns(4), scalars.loc[scalars["sleeve"] == "", ["session", "regime"]]
    dates = SESSIONS[[10, 40, 200, 400]]
    whole = chain.audit_table(realized, long(returns), scalars, regimes, policy, dates)
    for date in dates:
        known = (
            realized[realized["as_of"] <= date],
            long(returns.loc[:date]),
            scalars[scalars["session"] <= date],
            regimes[regimes["session"] <= date],
        )
        if len(known[0]):
            alone = chain.audit_table(*known, policy, pd.DatetimeIndex([date]))
            expected = whole[whole["as_of"] == date].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    nothing_yet = whole[whole["as_of"] == dates[0]]
    assert nothing_yet["value"].isna().all()


def test_waterfalls_replay_shortened_steps_and_scalars_of_sleeves():
    overlay = replace(PACED.overlay, sleeve_maps=SLEEVES)
    tables = simulate(history(random_returns(5)), WEEKS, CALENDAR, replace(PACED, overlay=overlay)).tables()
    for date in WEEKS[::11]:
        on = (tables[name] for name in ("target_weights", "realized_weights", "final_weights"))
        assert list(waterfalls(*(table[table["as_of"] == date] for table in on))) == sorted(NAMES)
