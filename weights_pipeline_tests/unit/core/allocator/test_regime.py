"""Regimes: signals, targets, hysteresis and minimum stay, each by worked cases and as properties."""

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.allocator.regime import (
    FEATURES,
    REGIMES,
    RegimeCarry,
    RegimeThresholds,
    classify,
    regime_arrays,
    regime_levels,
    regime_summary,
)
from weights_pipeline.core.allocator.scalar import PROFILES
from weights_pipeline_tests.support.examples import examples

CALM = (1.0, 0.0, 0.0, 0.0)
VOL, CORR, DEEP, WORSE = (1.30, 0, 0, 0), (0, 0.10, 0, 0), (0, 0, -0.10, 0), (0, 0, 0, -0.06)

# Levels of a feature around its thresholds: clear, past exit only, past entry, far beyond.
GRID = {
    "vol_accel": [1.0, 1.15, 1.30, 2.0],
    "corr_shock": [0.0, 0.05, 0.10, 0.5],
    "dd_level": [0.0, -0.06, -0.10, -0.12, -0.20],
    "dd_slope_10d": [0.0, -0.03, -0.06, -0.2],
}
stress = st.tuples(*(st.integers(0, len(levels) - 1) for levels in GRID.values()))


def frame(rows: list[tuple[float, ...]]) -> pd.DataFrame:
    index = pd.bdate_range("2024-01-01", periods=len(rows))
    return pd.DataFrame(rows, index=index, columns=[*FEATURES], dtype=float)


def from_grid(rows: list[tuple[int, ...]]) -> pd.DataFrame:
    return frame([tuple(levels[i] for levels, i in zip(GRID.values(), row, strict=True)) for row in rows])


def path(rows: list[tuple[float, ...]], **options: object) -> list[str]:
    return classify(frame(rows), RegimeThresholds(**options))["regime"].tolist()  # type: ignore[arg-type]


def together(*signals: tuple[float, ...]) -> tuple[float, ...]:
    """A row on which all the given signals are on."""
    rows = np.array([CALM, *signals])
    return (*rows[:, :2].max(axis=0), *rows[:, 2:].min(axis=0))


class TestTargets:
    @pytest.mark.parametrize(
        ("row", "short", "signal"),
        [
            (VOL, (1.3 - 1e-12, 0, 0, 0), "vol_fast"),
            (CORR, (1, 0.1 - 1e-12, 0, 0), "corr_spike"),
            (DEEP, (1, 0, -0.1 + 1e-12, 0), "dd_deep"),
            (WORSE, (1, 0, 0, -0.06 + 1e-12), "dd_worsening"),
        ],
    )
    def test_each_signal_is_inclusive_and_alone_means_elevated(
        self, row: tuple[float, ...], short: tuple[float, ...], signal: str
    ) -> None:
        at, before = (classify(frame([each])).iloc[0] for each in (together(row), short))
        assert (at["regime"], at["score"], bool(at[signal])) == ("ELEVATED", 1, True)
        assert (before["regime"], before["score"], bool(before[signal])) == ("NORMAL", 0, False)

    @pytest.mark.parametrize(
        ("row", "exit_score"),
        [((1.15, 0, 0, 0), 1), ((1, 0.05, 0, 0), 1), ((1, 0, -0.06, 0), 1), ((1, 0, 0, -0.03), 1), (CALM, 0)],
    )
    def test_exit_thresholds_are_inclusive_too(self, row: tuple[float, ...], exit_score: int) -> None:
        at = classify(frame([row])).iloc[0]
        assert (at["score"], at["exit_score"], at["regime"]) == (0, exit_score, "NORMAL")

    @pytest.mark.parametrize(
        ("row", "regime"),
        [
            (CALM, "NORMAL"),
            (together(VOL, CORR), "STRESS"),
            (together(VOL, DEEP), "STRESS"),
            (together(DEEP, WORSE), "STRESS"),
            (together(VOL, CORR, WORSE), "CRISIS"),
            (together(VOL, CORR, DEEP), "CRISIS"),
            (together(CORR, DEEP, WORSE), "CRISIS"),
            (together(VOL, CORR, DEEP, WORSE), "CRISIS"),
            ((1, 0, -0.1199999, 0), "ELEVATED"),
            ((1, 0, -0.12, 0), "STRESS"),
            ((1, 0, -0.1999999, 0), "STRESS"),
            ((1, 0, -0.20, 0), "CRISIS"),
        ],
    )
    def test_worked_targets(self, row: tuple[float, ...], regime: str) -> None:
        assert path([row]) == [regime]

    def test_combinations_hold_whatever_the_scores(self) -> None:
        strict = {"stress_score": 3, "crisis_score": 4}
        assert path([together(VOL, CORR)], **strict) == ["STRESS"]
        assert path([together(VOL, DEEP)], **strict) == ["ELEVATED"]
        assert path([together(VOL, CORR, WORSE)], **strict) == ["CRISIS"]
        assert path([together(CORR, DEEP, WORSE)], **strict) == ["STRESS"]

    @examples(60)
    @given(first=stress, second=stress)
    def test_more_stress_never_means_a_calmer_target(self, first: tuple[int, ...], second: tuple[int, ...]) -> None:
        worse = tuple(np.maximum(first, second))
        (level,), (worse_level,) = (regime_levels(classify(from_grid([row]))["regime"]) for row in (first, worse))
        assert worse_level >= level

    @examples(60)
    @given(
        row=st.tuples(st.floats(0, 3), st.floats(-1, 1), st.floats(-0.5, 0), st.floats(-0.3, 0.3)),
        feature=st.integers(0, 3),
        by=st.floats(0, 1),
        shift=st.floats(0, 0.04),
    )
    def test_raising_one_input_never_calms_the_target_nor_raises_its_scalar(
        self, row: tuple[float, ...], feature: int, by: float, shift: float
    ) -> None:
        limits = RegimeThresholds(vol_accel_enter=1.3 + shift, corr_shock_enter=0.1 + shift, dd_enter=-0.1 - shift / 3)
        stressed = list(row)
        stressed[feature] += by if feature < 2 else -by
        level, worse = (regime_levels(classify(frame([each]), limits)["regime"])[0] for each in (row, stressed))
        assert worse >= level
        for profile in PROFILES.values():
            assert profile.map[REGIMES[worse]] <= profile.map[REGIMES[level]]

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_the_order_in_which_signals_come_on_is_irrelevant(self, count: int) -> None:
        for signals in combinations((VOL, CORR, DEEP, WORSE), count):
            (target,) = path([together(*signals)])
            for order in permutations(signals):
                assert path([together(*order[:on]) for on in range(count + 1)])[-1] == target

    def test_the_order_of_features_is_irrelevant(self) -> None:
        rows = frame([CALM, together(VOL, CORR), together(WORSE), together(DEEP, WORSE), CALM])
        expected = classify(rows)
        for order in permutations(FEATURES):
            pd.testing.assert_frame_equal(classify(rows[[*order]]), expected)


class TestPath:
    CRISIS = together(VOL, CORR, DEEP)

    def test_first_session_enters_its_target_and_counts_as_one(self) -> None:
        result = classify(frame([together(VOL, CORR)] * 2))
        assert result["regime"].tolist() == ["STRESS", "STRESS"]
        assert result["sessions_in_regime"].tolist() == [1, 2]
        assert result["changed"].tolist() == [False, False]

    def test_upgrade_is_immediate_and_skips_levels(self) -> None:
        result = classify(frame([CALM, self.CRISIS, self.CRISIS]))
        assert result["regime"].tolist() == ["NORMAL", "CRISIS", "CRISIS"]
        assert result["sessions_in_regime"].tolist() == [1, 1, 2]
        assert result["changed"].tolist() == [False, True, False]

    def test_sixth_session_is_the_first_that_can_leave(self) -> None:
        assert path([CALM, self.CRISIS, *[CALM] * 6]) == ["NORMAL", *["CRISIS"] * 5, "NORMAL", "NORMAL"]
        assert path([CALM, self.CRISIS, *[CALM] * 2], min_stay=1) == ["NORMAL", "CRISIS", "NORMAL", "NORMAL"]

    def test_every_entry_starts_a_new_stay(self) -> None:
        rows = [VOL, VOL, VOL, self.CRISIS, *[CALM] * 6]
        assert path([together(row) for row in rows]) == [
            *["ELEVATED"] * 3,
            *["CRISIS"] * 5,
            "NORMAL",
            "NORMAL",
        ]

    @pytest.mark.parametrize(
        ("entry", "held", "freed"),
        [
            # Signals past exit but not entry: three hold a crisis, two a stress, one an elevated regime.
            (together(VOL, CORR, DEEP), (1.15, 0.05, -0.06, 0), (1.15, 0.05, 0, 0)),
            (together(VOL, CORR), (1.15, 0.05, 0, 0), (1.15, 0, 0, 0)),
            (together(VOL), (1.15, 0, 0, 0), CALM),
        ],
    )
    def test_exit_score_must_be_below_the_score_of_the_regime(
        self, entry: tuple[float, ...], held: tuple[float, ...], freed: tuple[float, ...]
    ) -> None:
        regimes = path([entry, *[held] * 9, freed])
        assert regimes == [regimes[0]] * 10 + ["NORMAL"]

    def test_downgrade_goes_to_the_target(self) -> None:
        assert path([self.CRISIS, *[together(VOL)] * 5])[-1] == "ELEVATED"

    def test_stepwise_goes_down_one_level_per_stay(self) -> None:
        regimes = path([self.CRISIS, *[CALM] * 15], stepwise=True)
        assert regimes == [*["CRISIS"] * 5, *["STRESS"] * 5, *["ELEVATED"] * 5, "NORMAL"]

    def test_stepwise_upgrades_still_skip_levels(self) -> None:
        assert path([CALM, self.CRISIS], stepwise=True) == ["NORMAL", "CRISIS"]

    def test_empty_state_keeps_the_carry(self) -> None:
        assert classify(frame([])).empty
        carry = RegimeCarry(regime="STRESS", sessions=3)
        for before in (None, carry):
            result = regime_arrays(np.empty((4, 0)), RegimeThresholds(), before)
            assert (result.carry, len(result.levels)) == (before, 0)

    def test_missing_features_and_nulls_are_refused(self) -> None:
        with pytest.raises(ValueError, match="got none named corr_shock, dd_level"):
            classify(frame([CALM]).drop(columns=["corr_shock", "dd_level"]))
        with pytest.raises(ValueError, match="expected no null, got one in dd_level on 2024-01-02"):
            classify(frame([CALM, (1.0, 0.0, np.nan, 0.0)]))

    @examples(60)
    @given(rows=st.lists(stress, min_size=2, max_size=40), stepwise=st.booleans(), min_stay=st.integers(1, 7))
    def test_no_regime_is_left_for_a_calmer_one_before_its_stay(
        self, rows: list[tuple[int, ...]], stepwise: bool, min_stay: int
    ) -> None:
        limits = RegimeThresholds(min_stay=min_stay, stepwise=stepwise)
        result = classify(from_grid(rows), limits)
        step = np.diff(regime_levels(result["regime"]))
        assert (result["sessions_in_regime"].to_numpy()[:-1][step < 0] >= min_stay).all()
        assert (step >= -1).all() or not stepwise
        assert (result["changed"].to_numpy()[1:] == (step != 0)).all()

    @examples(60)
    @given(rows=st.lists(stress, min_size=2, max_size=40), data=st.data(), stepwise=st.booleans())
    def test_continuing_a_path_equals_the_whole(
        self, rows: list[tuple[int, ...]], data: st.DataObject, stepwise: bool
    ) -> None:
        limits = RegimeThresholds(stepwise=stepwise)
        state, cut = from_grid(rows), data.draw(st.integers(0, len(rows)))
        features = state[[*FEATURES]].to_numpy().T
        whole, head = regime_arrays(features, limits), regime_arrays(features[:, :cut], limits)
        tail = regime_arrays(features[:, cut:], limits, head.carry)
        assert tail.carry == whole.carry
        for name in ("levels", "stays", "changed", "score", "exit_score", "signals"):
            parts = [getattr(part, name) for part in (head, tail)]
            np.testing.assert_array_equal(np.concatenate(parts, axis=-1), getattr(whole, name))


class TestThresholds:
    @pytest.mark.parametrize(
        ("key", "value", "named"),
        [
            ("vol_accel_exit", 1.30, "vol_accel_exit: expected a value below vol_accel_enter"),
            ("corr_shock_exit", 0.11, "corr_shock_exit: expected a value below corr_shock_enter"),
            ("dd_exit", -0.10, "dd_enter: expected a value below dd_exit"),
            ("dd_slope_exit", -0.07, "dd_slope_enter: expected a value below dd_slope_exit"),
            ("dd_crisis", -0.12, "dd_crisis: expected a value below dd_stress"),
            ("elevated_score", 2, "elevated_score: expected a value below stress_score"),
            ("stress_score", 3, "stress_score: expected a value below crisis_score"),
            ("elevated_score", 0, "expected scores from 1 to 4"),
            ("crisis_score", 5, "expected scores from 1 to 4"),
            ("min_stay", 0, "min_stay: expected at least 1 session, got 0"),
            ("dd_enter", float("nan"), "dd_enter: expected a finite number, got nan"),
            ("dd_crisis", -float("inf"), "dd_crisis: expected a finite number, got -inf"),
        ],
    )
    def test_inconsistent_thresholds_are_refused(self, key: str, value: float, named: str) -> None:
        with pytest.raises(ValueError, match=named):
            replace(RegimeThresholds(), **{key: value})

    @pytest.mark.parametrize(("regime", "sessions"), [("PANIC", 1), ("STRESS", 0)])
    def test_impossible_carry_is_refused(self, regime: str, sessions: int) -> None:
        with pytest.raises(ValueError, match="expected"):
            RegimeCarry(regime=regime, sessions=sessions)


class TestSummary:
    def test_counts_transitions_and_longest_runs(self) -> None:
        regimes = pd.Series(["NORMAL", "NORMAL", "STRESS", "NORMAL", "CRISIS", "CRISIS", "CRISIS", "STRESS"])
        summary = regime_summary(regimes)
        assert summary.by_regime["sessions"].to_dict() == dict(zip(REGIMES, (3, 0, 2, 3), strict=True))
        assert summary.by_regime["share"].tolist() == [0.375, 0.0, 0.25, 0.375]
        assert summary.by_regime["longest_run"].tolist() == [2, 0, 1, 3]
        assert summary.transitions.loc["NORMAL", "STRESS"] == summary.transitions.loc["CRISIS", "STRESS"] == 1
        assert summary.transitions.loc["STRESS", "NORMAL"] == summary.transitions.loc["NORMAL", "CRISIS"] == 1
        assert summary.transitions.to_numpy().sum() == 4

    def test_single_and_no_session(self) -> None:
        assert regime_summary(pd.Series(["STRESS"])).by_regime["longest_run"].tolist() == [0, 0, 1, 0]
        empty = regime_summary(pd.Series([], dtype=str))
        assert empty.by_regime["sessions"].sum() == empty.transitions.to_numpy().sum() == 0
        assert empty.by_regime["share"].isna().all()

    def test_unknown_regime_is_refused_with_its_date(self) -> None:
        regimes = pd.Series(["NORMAL", "PANIC"], index=pd.bdate_range("2024-01-01", periods=2))
        with pytest.raises(ValueError, match="got 'PANIC' on 2024-01-02"):
            regime_levels(regimes)
