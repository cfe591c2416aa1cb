"""No-trade bands: what they leave alone, and that gross, limits and the chain hold with them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.adjust import capped_step
from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.normalise import capped
from weights_pipeline.core.verify import recurrence
from weights_pipeline.core.waterfall import waterfalls_by_date
from weights_pipeline_tests.unit.core.realized.test_pace import METHOD, long
from weights_pipeline_tests.unit.core.study.test_simulate import BASE, CALENDAR, EAGER, WEEKS, random_returns
from weights_pipeline_tests.unit.core.study.test_simulate import history_of as history

BANDS = st.one_of(
    st.builds(Band, absolute=st.floats(1e-4, 0.2), to=st.sampled_from(["edge", "target", None])),
    st.builds(Band, relative=st.floats(0.01, 1.0), to=st.sampled_from(["edge", "target"])),
    st.builds(Band, absolute=st.floats(1e-4, 0.2), relative=st.floats(0.01, 1.0)),
    st.builds(Band, absolute=st.floats(1e-4, 0.2), of=st.sampled_from(["book", "turnover"])),
)


def drawn(seed, gross=1.0):
    """Base weights, and two sets of weights that keep half to twice of them and gross."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.1, 1, int(rng.integers(2, 12)))
    base *= gross / base.sum()
    start, target = (
        capped(base, rng.uniform(0.5, 2, len(base)) ** 2, floor=0.5, cap=2.0, gross=gross)[0] for _ in range(2)
    )
    return base, start, target


def moved(base, start, target, band, *, rate=1.0, turnover_cap=None, gross=1.0):
    limits = {"lower": 0.5 * base, "upper": 2.0 * base}
    return capped_step(start, target, **limits, rate=rate, turnover_cap=turnover_cap, gross=gross, band=band)


def by_hand(start, target, width, to):
    """Weights after a step of one rate 1, strategy by strategy, money moved in small equal parts of what is left."""
    after = dict(enumerate(start))
    for i, (old, aim) in enumerate(zip(start, target, strict=True)):
        if abs(aim - old) > width + 1e-12:
            after[i] = aim if to == "target" else aim - np.sign(aim - old) * width
    traded = [i for i in after if after[i] != start[i]]
    if not traded:
        return np.array(start)
    missing = sum(start) - sum(after.values())
    for some in (traded, [i for i in after if i not in traded]):
        left = {i: target[i] - after[i] for i in some if (target[i] - after[i]) * missing > 0}
        part = min(1.0, abs(missing) / abs(sum(left.values()))) if left else 0.0
        for i in left:
            after[i] += part * left[i]
        missing -= part * sum(left.values())
    return np.array(list(after.values()))


class TestShares:
    def test_the_other_side_of_a_trade_is_completed_by_what_is_traded_anyway_and_then_by_the_rest(self):
        start = np.array([0.30, 0.30, 0.20, 0.20])
        target = np.array([0.36, 0.285, 0.175, 0.18])
        # Only the first is outside 0.04. It buys 0.02 to its edge, which the others sell: a third of their 0.06.
        share = Band(absolute=0.04).shares(start, target, gross=1.0)
        np.testing.assert_allclose(share, 1 / 3, rtol=1e-12)
        # Outside 0.022 are the first, to its edge by 0.038, and the third, by 0.003 and then all of its 0.025; the
        # 0.013 that miss still are sold by the second and the last, of whose gaps they are 13/35.
        share = Band(absolute=0.022).shares(start, target, gross=1.0)
        np.testing.assert_allclose(share, [0.038 / 0.06, 13 / 35, 1.0, 13 / 35], rtol=1e-12)
        # Outside 0.017 are the first (0.043), the third (0.008) and the last (0.003). They sell 0.011 of 0.045 and
        # have 0.034 left, of which 0.032 are needed: the second is left alone.
        share = Band(absolute=0.017).shares(start, target, gross=1.0)
        np.testing.assert_allclose(share[[0, 1]], [0.043 / 0.06, 0.0], rtol=1e-12)
        np.testing.assert_allclose(1 - share[2:], [0.017 / 0.025 * 2 / 34, 0.017 / 0.02 * 2 / 34], rtol=1e-9)

    @settings(max_examples=150, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), width=st.floats(1e-4, 0.1), to=st.sampled_from(["edge", "target"]))
    def test_it_is_what_a_plain_loop_gives(self, seed, width, to):
        base, start, target = drawn(seed)
        _, after, _ = moved(base, start, target, Band(absolute=width, to=to))
        np.testing.assert_allclose(after, by_hand(start, target, width, to), rtol=0, atol=1e-11)

    @settings(max_examples=200, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        band=BANDS,
        rate=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
        cap=st.one_of(st.none(), st.floats(1e-4, 0.2)),
    )
    def test_gross_limits_and_turnover_cap_hold_and_nothing_moves_away_from_its_target(self, seed, band, rate, cap):
        base, start, target = drawn(seed)
        begin, after, share = moved(base, start, target, band, rate=rate, turnover_cap=cap)
        np.testing.assert_array_equal(begin, start)
        assert abs(after.sum() - 1) < 1e-12
        assert ((after >= 0.5 * base) & (after <= 2.0 * base)).all()
        assert ((after >= np.minimum(start, target)) & (after <= np.maximum(start, target))).all()
        assert ((share >= 0) & (share <= rate)).all()
        plain = moved(base, start, target, None, rate=rate, turnover_cap=cap)[1]
        assert np.abs(after - start).sum() <= np.abs(plain - start).sum() + 1e-12

    @settings(max_examples=150, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), band=BANDS)
    def test_after_a_whole_step_nothing_is_outside_and_another_step_does_nothing(self, seed, band):
        base, start, target = drawn(seed)
        _, after, share = moved(base, start, target, band)
        _, again, second = moved(base, after, target, band)
        assert not second.any()
        np.testing.assert_array_equal(again, after)
        if band.of == "strategy":
            width = np.fmin(*(np.inf if w is None else w for w in (band.absolute, (band.relative or np.inf) * target)))
            assert (np.abs(target - after) <= width + 1e-11).all()
        else:
            assert set(share) in ({0.0}, {1.0})

    @settings(max_examples=100, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), band=BANDS, rate=st.floats(0.01, 1.0))
    def test_order_and_scale_of_the_book_change_nothing(self, seed, band, rate):
        base, start, target = drawn(seed)
        _, after, share = moved(base, start, target, band, rate=rate)
        order = np.random.default_rng(seed + 1).permutation(len(base))
        other = moved(base[order], start[order], target[order], band, rate=rate)
        np.testing.assert_array_equal(other[1], after[order])
        np.testing.assert_array_equal(other[2], share[order])
        wider = band if band.absolute is None else replace(band, absolute=4 * band.absolute)
        _, scaled, _ = moved(4 * base, 4 * start, 4 * target, wider, rate=rate, gross=4.0)
        np.testing.assert_array_equal(scaled, 4 * after)

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.01, 1.0), cap=st.one_of(st.none(), st.floats(1e-4, 0.1)))
    def test_without_a_width_it_is_the_step_without_a_band_to_the_bit(self, seed, rate, cap):
        base, start, target = drawn(seed)
        plain = moved(base, start, target, None, rate=rate, turnover_cap=cap)
        for none in (Band(absolute=0.0), Band(relative=0.0), Band(absolute=0.0, of="turnover")):
            _, after, share = moved(base, start, target, none, rate=rate, turnover_cap=cap)
            np.testing.assert_array_equal(after, plain[1])
            assert set(share) == {plain[2]}

    def test_weights_that_may_stay_below_gross_need_no_other_side(self):
        start, target = np.array([0.3, 0.2]), np.array([0.5, 0.19])
        share = Band(absolute=0.05).shares(start, target, gross=1.0, slack=1.0)
        np.testing.assert_allclose(share, [0.75, 0.0])
        # Up to gross: what would go beyond it is sold.
        full = Band(absolute=0.05).shares(np.array([0.6, 0.4]), np.array([0.7, 0.3]), gross=1.0, slack=1.0)
        np.testing.assert_allclose(full, [0.5, 0.5])
        share = Band(absolute=0.05, to="target").shares(np.array([0.6, 0.4]), np.array([0.66, 0.35]), gross=1, slack=1)
        assert share.tolist() == [1.0, 1.0]
        part = Band(absolute=0.05, to="target").shares(np.array([0.6, 0.39]), np.array([0.66, 0.34]), gross=1, slack=1)
        np.testing.assert_allclose(part, [1.0, 1.0])

    def test_a_strategy_whose_target_is_none_is_sold_whole_by_a_relative_band(self):
        share = Band(relative=0.25, to="target").shares(np.array([0.1, 0.9]), np.array([0.0, 1.0]), gross=1.0)
        assert share.tolist() == [1.0, 1.0]

    def test_weights_that_break_a_limit_are_put_back_inside_the_band_too(self):
        base = np.array([0.5, 0.5])
        begin, after, share = capped_step(
            np.array([0.55, 0.46]),
            base,
            base,
            base * 2,
            rate=1.0,
            turnover_cap=None,
            gross=1.0,
            band=Band(absolute=0.2),
        )
        np.testing.assert_array_equal(begin, base)
        np.testing.assert_array_equal(after, base)
        assert not share.any()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "expected a width, absolute: 0.01"),
        ({"absolute": -0.01}, r"absolute: expected a width of at least 0, got -0\.01"),
        ({"relative": float("nan")}, "relative: expected a width of at least 0, got nan"),
        ({"absolute": 0.1, "of": "sleeve"}, "of: expected strategy, book or turnover, got 'sleeve'"),
        ({"absolute": 0.1, "to": "middle"}, "to: expected edge or target, got 'middle'"),
        ({"relative": 0.1, "of": "turnover"}, "relative: turnover is of the book"),
        ({"absolute": 0.1, "of": "book", "to": "edge"}, "to: a whole book is traded to its targets"),
    ],
)
def test_bands_that_cannot_be_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Band(**keys)


PLAIN = Policy(base=BASE, method=METHOD["sharpe_tilt"](lookback="60s"), metrics=EAGER, rate=0.5)


class TestChain:
    @pytest.mark.parametrize(
        "band",
        [
            Band(absolute=0.02),
            Band(relative=0.1, to="target"),
            Band(absolute=0.04, of="book"),
            Band(absolute=0.12, of="turnover"),
        ],
        ids=["edge", "target", "book", "turnover"],
    )
    def test_one_by_one_is_all_at_once_and_every_weight_follows_from_its_row(self, band):
        returns, weeks = random_returns(7), WEEKS[:15]
        policy = replace(PLAIN, band=band, turnover_cap=0.05)
        metrics = chain.metric_rows(history(returns), weeks, policy)
        targets = chain.target_table(metrics, policy)
        whole = chain.realized_table(pd.DataFrame(), targets, policy, CALENDAR, long(returns))
        parts = whole.head(0)
        for _, rows in targets.groupby("as_of"):
            made = chain.realized_table(parts, rows, policy, CALENDAR, long(returns))
            parts = pd.concat([parts, made], ignore_index=True) if len(parts) else made
        pd.testing.assert_frame_equal(parts, whole)
        assert (whole["rate"] == 0).any()
        assert (whole["rate"] > 0).any()

        checked = recurrence(whole)
        assert (checked.passed, checked.value) == (True, 0.0)
        stretched = whole.assign(rate=whole["rate"].where(whole["rate"] == 0, whole["rate"] * 0.9))
        assert not recurrence(stretched).passed

        simulated = simulate(history(returns), weeks, CALENDAR, policy)
        made = simulated.tables()["realized_weights"]
        columns = ["as_of", "strategy", "previous", "rate", "realized"]
        pd.testing.assert_frame_equal(made[columns], whole[columns], check_dtype=False)
        freely = simulate(history(returns), weeks, CALENDAR, replace(policy, band=None))
        assert simulated.turnover.mean() < freely.turnover.mean()

        final = chain.final_table(whole, None, policy, CALENDAR)
        found = waterfalls_by_date(targets, whole, final)
        still = whole[whole["rate"] == 0].iloc[0]
        said = found[still["as_of"]][still["strategy"]]
        assert any(step.remark.startswith("inside its no-trade band: not traded, a gap to target of") for step in said)

    def test_what_comes_after_a_rebalance_changes_nothing_in_it(self):
        returns, policy = random_returns(8), replace(PLAIN, band=Band(absolute=0.02))
        half = WEEKS[: len(WEEKS) // 2]
        whole = simulate(history(returns), WEEKS, CALENDAR, policy)
        part = simulate(history(returns.loc[: half[-1]]), half, CALENDAR, policy)
        np.testing.assert_array_equal(part.realized, whole.realized[: len(half)])
