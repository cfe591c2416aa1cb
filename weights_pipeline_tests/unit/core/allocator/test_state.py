"""Reference portfolio and state features, against worked cases and a plain implementation."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.allocator import state as module
from weights_pipeline.core.allocator.regime import classify
from weights_pipeline.core.allocator.state import (
    MAY_BE_NULL,
    OPTIONAL,
    REQUIRED,
    allocator_state,
    idle_sessions,
    reference_portfolio,
    sleeve_contributions,
)
from weights_pipeline_tests.support.examples import examples

SCALE_FREE = [
    "vol_accel",
    "corr_20d",
    "corr_60d",
    "corr_shock",
    "trend_breadth_20d",
    "sleeve_concentration_60d",
]


def book(sessions: int, strategies: int, seed: int = 0, gaps: float = 0.0) -> tuple[pd.Series, pd.DataFrame]:
    """Equally weighted portfolio and its components, with a common factor and gaps in the components."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 0.01, (sessions, strategies)) + rng.normal(0.0, 0.005, (sessions, 1))
    index = pd.bdate_range("2015-01-02", periods=sessions)
    components = pd.DataFrame(noise, index=index, columns=[f"s{i:02d}" for i in range(strategies)])
    portfolio = components.mean(axis=1)
    return portfolio, components.mask(rng.random(components.shape) < gaps)


def state_of(portfolio: pd.Series, components: pd.DataFrame, **options: float) -> pd.DataFrame:
    return allocator_state(
        portfolio,
        (1.0 + portfolio).cumprod(),
        components,
        trend_units=components,
        sleeves=components.fillna(0.0),
        **options,
    )


def mean_correlation(returns: np.ndarray, window: int) -> np.ndarray:
    (values,) = module._mean_correlations(returns, (window,))
    return values


def plain_correlation(window: np.ndarray) -> float:
    """The definition, spelled out on one window, sessions × components."""
    rows = [row for row in window.T if np.isfinite(row).sum() >= 2 and np.nanstd(row, ddof=1) > 1e-10]
    rhos = []
    for a, b in combinations(rows, 2):
        shared = np.array([a, b])[:, np.isfinite(a) & np.isfinite(b)]
        if shared.shape[1] >= 2 and (shared.std(axis=1, ddof=1) > 1e-10).all():
            rhos.append(np.corrcoef(shared)[0, 1])
    return float(np.mean(rhos)) if rhos else np.nan


def rolling_oracle(frame: pd.DataFrame, window: int) -> np.ndarray:
    starts = range(len(frame) - window + 1)
    return np.array([plain_correlation(frame.to_numpy()[start : start + window]) for start in starts])


class TestReferencePortfolio:
    INDEX = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"])

    def test_weights_hold_from_their_effective_session_until_the_next(self) -> None:
        weights = pd.DataFrame({"a": [0.5, 0.25], "b": [0.5, 0.75]}, index=self.INDEX[[1, 3]])
        returns = pd.DataFrame({"a": [0.5, 0.04, 0.02, 0.04], "b": [0.5, 0.0, -0.02, 0.08]}, index=self.INDEX)
        result = reference_portfolio(weights, returns)
        assert list(result.returns.index) == list(self.INDEX[1:])
        assert result.returns.tolist() == pytest.approx([0.02, 0.0, 0.07], abs=1e-16)
        assert result.equity.tolist() == pytest.approx([1.02, 1.02, 1.02 * 1.07])
        assert result.units["b"].tolist() == pytest.approx([0.0, -0.01, 0.06])

    def test_rebalance_off_a_session_holds_from_the_next_session(self) -> None:
        weights = pd.DataFrame({"a": [1.0, 0.5]}, index=pd.to_datetime(["2023-12-30", "2024-01-03"]))
        returns = pd.DataFrame({"a": [0.01] * 4}, index=self.INDEX)
        assert reference_portfolio(weights, returns).returns.tolist() == [0.01, 0.005, 0.005, 0.005]

    def test_null_return_is_cash_and_stays_null_in_components_and_units(self) -> None:
        weights = pd.DataFrame({"a": [0.5], "b": [0.5]}, index=self.INDEX[:1])
        returns = pd.DataFrame({"a": [0.02] * 4, "b": [np.nan, 0.04, np.nan, 0.0]}, index=self.INDEX)
        result = reference_portfolio(weights, returns)
        assert result.returns.tolist() == pytest.approx([0.01, 0.03, 0.01, 0.01])
        assert result.components["b"].isna().tolist() == [True, False, True, False]
        assert result.units["b"].isna().tolist() == [True, False, True, False]

    def test_removed_strategy_has_no_weight_and_untraded_one_earns_nothing(self) -> None:
        weights = pd.DataFrame(
            {"gone": [0.5, np.nan], "kept": [0.5, 0.5], "idle": [0.0, 0.5]}, index=self.INDEX[[0, 2]]
        )
        returns = pd.DataFrame({"gone": [0.1] * 4, "kept": [0.2] * 4, "stranger": [9.0] * 4}, index=self.INDEX)
        result = reference_portfolio(weights, returns)
        assert result.returns.tolist() == pytest.approx([0.15, 0.15, 0.1, 0.1])
        assert result.components["idle"].isna().all()
        assert list(result.components) == ["gone", "kept", "idle"]

    def test_appending_sessions_and_permuting_strategies_changes_no_bit(self) -> None:
        _, returns = book(120, 9, gaps=0.1)
        weights = pd.DataFrame(
            np.random.default_rng(1).dirichlet(np.ones(9), 3),
            index=returns.index[[0, 40, 90]],
            columns=returns.columns,
        )
        full = reference_portfolio(weights, returns)
        cut = reference_portfolio(weights.iloc[:2], returns.iloc[:90])
        pd.testing.assert_series_equal(full.equity.iloc[:90], cut.equity, check_exact=True, check_freq=False)
        turned = reference_portfolio(weights[returns.columns[::-1]], returns)
        pd.testing.assert_series_equal(full.equity, turned.equity, check_exact=True)

    def test_no_rebalance_yields_nothing(self) -> None:
        returns = pd.DataFrame({"a": [0.01] * 4}, index=self.INDEX)
        result = reference_portfolio(pd.DataFrame(columns=["a"], index=self.INDEX[:0], dtype=float), returns)
        assert len(result.returns) == len(result.equity) == len(result.units) == 0

    def test_disorder_is_refused(self) -> None:
        weights = pd.DataFrame({"a": [1.0]}, index=self.INDEX[:1])
        returns = pd.DataFrame({"a": [0.01] * 4}, index=self.INDEX)
        with pytest.raises(ValueError, match="returns: expected unique dates in increasing order"):
            reference_portfolio(weights, returns.iloc[::-1])
        with pytest.raises(ValueError, match="weights: expected each column once, got 'a' twice"):
            reference_portfolio(pd.concat([weights, weights], axis=1), returns)
        with pytest.raises(ValueError, match="returns: expected finite values, got an infinite one on 2024-01-02"):
            reference_portfolio(weights, returns.replace(0.01, np.inf))


class TestSleeveContributions:
    UNITS = pd.DataFrame({"b": [0.01, np.nan], "a": [0.02, 0.03], "c": [0.04, 0.05]}, index=[1, 2])

    def test_members_are_summed_and_the_unnamed_stand_alone(self) -> None:
        sums = sleeve_contributions(self.UNITS, {"a": "trend", "b": "trend"})
        assert list(sums) == ["c", "trend"]
        assert sums["trend"].tolist() == pytest.approx([0.03, 0.03])
        assert sums["c"].tolist() == [0.04, 0.05]

    @pytest.mark.parametrize("sleeve_of", [None, {}])
    def test_each_strategy_its_own_where_none_are_named(self, sleeve_of: dict[str, str] | None) -> None:
        sums = sleeve_contributions(self.UNITS, sleeve_of)
        pd.testing.assert_frame_equal(sums, self.UNITS.fillna(0.0).sort_index(axis=1))

    def test_a_strategy_named_like_a_sleeve_joins_it(self) -> None:
        sums = sleeve_contributions(self.UNITS, {"a": "c"})
        assert sums["c"].tolist() == pytest.approx([0.06, 0.08])


class TestFeatures:
    def test_match_pandas(self) -> None:
        portfolio, components = book(100, 4, gaps=0.05)
        equity = (1.0 + portfolio).cumprod()
        result = state_of(portfolio, components)
        drawdown = equity / equity.cummax().clip(lower=1.0) - 1.0
        rvol = {window: portfolio.rolling(window).std() * np.sqrt(252) for window in (20, 60)}
        sums = components.fillna(0.0).rolling(60).sum().abs()
        corr = {n: pd.Series(rolling_oracle(components, n), index=portfolio.index[n - 1 :]) for n in (20, 60)}
        expected = pd.DataFrame(
            {
                "port_rvol_20d": rvol[20],
                "port_rvol_60d": rvol[60],
                "vol_accel": rvol[20] / rvol[60],
                "dd_level": drawdown,
                "dd_slope_10d": drawdown - drawdown.shift(10),
                "corr_20d": corr[20],
                "corr_60d": corr[60],
                "corr_shock": corr[20] - corr[60],
                "trend_breadth_20d": (components.rolling(20).sum() > 0).mean(axis=1),
                "sleeve_concentration_60d": (sums.div(sums.sum(axis=1), axis=0) ** 2).sum(axis=1),
            }
        ).iloc[59:]
        assert list(result) == [*REQUIRED, *OPTIONAL]
        pd.testing.assert_frame_equal(result, expected, rtol=0, atol=1e-12, check_freq=False)

    def test_only_the_first_59_sessions_are_warm_up(self) -> None:
        portfolio, components = book(75, 3)
        result = state_of(portfolio, components)
        assert result.index.equals(portfolio.index[59:])
        assert not idle_sessions(result).any()

    @pytest.mark.parametrize("sessions", [0, 1, 59])
    def test_short_history_has_no_state(self, sessions: int) -> None:
        result = state_of(*book(sessions, 3))
        assert list(result) == [*REQUIRED, *OPTIONAL]
        assert result.empty
        assert idle_sessions(result).empty

    def test_sessions_are_those_on_which_portfolio_and_equity_are_known(self) -> None:
        portfolio, components = book(80, 3)
        equity = (1.0 + portfolio).cumprod()
        portfolio.iloc[70] = np.nan
        result = allocator_state(portfolio, equity.iloc[5:], components)
        known = portfolio.index.delete(70)[5:]
        assert result.index.equals(known[59:])

    def test_optional_features_are_left_out_not_null_filled(self) -> None:
        portfolio, components = book(70, 3)
        equity = (1.0 + portfolio).cumprod()
        empty = pd.DataFrame(index=portfolio.index)
        assert tuple(allocator_state(portfolio, equity, components)) == REQUIRED
        assert tuple(allocator_state(portfolio, equity, components, sleeves=empty)) == REQUIRED
        with_breadth = allocator_state(portfolio, equity, components, trend_units=components)
        assert tuple(with_breadth) == (*REQUIRED, "trend_breadth_20d")

    @pytest.mark.parametrize("idle", [np.nan, 0.0], ids=["ended", "flat"])
    def test_where_fewer_than_two_components_move_there_is_no_shock(self, idle: float) -> None:
        portfolio, components = book(140, 2)
        components.iloc[60:, 1] = idle
        result = state_of(portfolio, components)
        assert result.index.equals(portfolio.index[59:])
        # corr_20d has what it needs of the second component until the 18th session (of zeros, the 19th) after the last.
        lost = result["corr_20d"].isna()
        assert int(lost.sum()) == len(lost) - (19 if np.isnan(idle) else 20)
        assert lost.is_monotonic_increasing
        assert (result["corr_shock"][lost] == 0.0).all()
        assert not result.drop(columns=list(MAY_BE_NULL)).isna().any(axis=None)
        pd.testing.assert_series_equal(idle_sessions(result), lost, check_names=False)

    @pytest.mark.parametrize("components", [1, 2])
    def test_an_idle_book_has_a_neutral_state(self, components: int) -> None:
        portfolio, returns = book(70, components)
        portfolio[:], returns[:] = 0.0, 0.0
        state = state_of(portfolio, returns)
        assert len(state) == 11
        assert state[["vol_accel", "corr_shock", "dd_level"]].drop_duplicates().to_numpy().tolist() == [[1.0, 0.0, 0.0]]
        assert classify(state)["regime"].eq("NORMAL").all()

    def test_first_day_loss_is_a_drawdown_from_the_starting_equity(self) -> None:
        portfolio, components = book(60, 3)
        portfolio[:] = 0.0
        portfolio.iloc[[0, 5]] = -0.25, 0.125
        anchored = state_of(portfolio, components)["dd_level"].iloc[0]
        assert anchored == 0.75 * 1.125 - 1.0

    def test_sessions_a_year_scale_volatility_and_nothing_else(self) -> None:
        portfolio, components = book(90, 3, seed=4)
        daily, always = (state_of(portfolio, components, per_year=each) for each in (252, 365))
        volatility = ["port_rvol_20d", "port_rvol_60d"]
        np.testing.assert_allclose(always[volatility], daily[volatility] * np.sqrt(365 / 252), rtol=1e-14)
        pd.testing.assert_frame_equal(always.drop(columns=volatility), daily.drop(columns=volatility), rtol=1e-14)

    def test_constant_returns_have_exactly_no_volatility_and_no_acceleration(self) -> None:
        portfolio, components = book(130, 3)
        portfolio.iloc[70:] = 0.001
        result = state_of(portfolio, components)
        assert result["port_rvol_20d"].iloc[-1] == 0.0
        # Only the very last window of 60 sessions is constant throughout.
        assert result["vol_accel"].iloc[-2:].tolist() == [0.0, 1.0]
        assert idle_sessions(result).iloc[-2:].tolist() == [False, True]

    def test_volatility_forgets_an_outlier_completely(self) -> None:
        portfolio, components = book(150, 3)
        shocked = portfolio.copy()
        shocked.iloc[10] = 1e8
        columns = ["port_rvol_20d", "port_rvol_60d", "vol_accel"]
        calm, after = (state_of(p, components)[columns].iloc[20:] for p in (portfolio, shocked))
        pd.testing.assert_frame_equal(calm, after, check_exact=True)

    def test_breadth_counts_a_sum_over_a_null_and_a_zero_as_not_positive(self) -> None:
        portfolio, components = book(60, 4)
        units = pd.DataFrame(0.01, index=portfolio.index, columns=list("abcd"))
        units["b"] = -0.01
        units["c"] = 0.0
        units.iloc[-1, 3] = np.nan
        result = allocator_state(portfolio, (1.0 + portfolio).cumprod(), components, trend_units=units)
        assert result["trend_breadth_20d"].tolist() == [0.25]

    def test_concentration_is_one_for_one_sleeve_and_one_over_n_for_equals(self) -> None:
        portfolio, components = book(60, 4)
        equity = (1.0 + portfolio).cumprod()
        sleeves = pd.DataFrame({"a": 0.25, "b": -0.25, "c": 0.0, "d": np.nan}, index=portfolio.index)

        def concentration(names: list[str]) -> float:
            features = allocator_state(portfolio, equity, components, sleeves=sleeves[names])
            return features["sleeve_concentration_60d"].iloc[0]

        assert concentration(["a"]) == concentration(["a", "c", "d"]) == 1.0
        assert concentration(["a", "b"]) == 0.5
        assert np.isnan(concentration(["c"]))
        assert np.isnan(concentration(["d"]))

    def test_bad_input_is_refused_with_its_name(self) -> None:
        portfolio, components = book(70, 3)
        equity = (1.0 + portfolio).cumprod()
        with pytest.raises(ValueError, match=r"equity: expected values above 0, got 0\.0 on 2015-01-02"):
            allocator_state(portfolio, equity.where(equity.index != equity.index[0], 0.0), components)
        with pytest.raises(ValueError, match="components: expected finite values"):
            allocator_state(portfolio, equity, components.replace(components.iloc[3, 1], -np.inf))
        with pytest.raises(ValueError, match="portfolio: expected unique dates"):
            allocator_state(portfolio.iloc[[0, 0]], equity, components)


class TestCorrelation:
    def correlation(self, columns: list[list[float]]) -> float:
        return float(mean_correlation(np.array(columns), len(columns[0]))[0])

    def test_worked_cases(self) -> None:
        up, down, tent = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 1.0]
        assert self.correlation([up, up]) == pytest.approx(1.0, abs=1e-15)
        assert self.correlation([up, down]) == pytest.approx(-1.0, abs=1e-15)
        assert self.correlation([up, tent]) == pytest.approx(0.0, abs=1e-15)
        assert self.correlation([up, up, down]) == pytest.approx(-1 / 3)

    def test_constant_and_short_components_are_left_out(self) -> None:
        up, down = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
        assert self.correlation([up, [0.1] * 4, down]) == pytest.approx(-1.0)
        assert self.correlation([up, [np.nan, np.nan, np.nan, 7.0], down]) == pytest.approx(-1.0)
        assert np.isnan(self.correlation([up, [0.1] * 4]))
        assert np.isnan(self.correlation([up]))
        assert np.isnan(self.correlation([[np.nan] * 4, [np.nan] * 4]))

    def test_std_at_the_threshold_is_left_out(self) -> None:
        up = [0.0, 1.0, 2.0]
        assert np.isnan(self.correlation([up, [0.0, 0.9e-10, 1.8e-10]]))
        assert self.correlation([up, [0.0, 1.1e-10, 2.2e-10]]) == pytest.approx(1.0)
        # A component that is left out has no pairs, even where it varies more on the sessions it shares.
        still = [0.0, 1.8e-10, 0.9e-10, 0.9e-10]
        assert np.isnan(self.correlation([[1.0, 2.0, np.nan, np.nan], still]))

    def test_pair_is_correlated_on_the_sessions_it_shares(self) -> None:
        nan = np.nan
        assert self.correlation([[1.0, 2.0, 3.0, nan], [5.0, 3.0, 1.0, 9.0]]) == pytest.approx(-1.0)
        # Only one shared session; or shared sessions on which one side stands still.
        assert np.isnan(self.correlation([[1.0, 2.0, nan, nan], [nan, 2.0, 3.0, 4.0]]))
        assert np.isnan(self.correlation([[0.1, 0.1, 0.1, 5.0], [1.0, 2.0, 3.0, nan]]))

    def test_late_start_counts_from_its_second_return(self) -> None:
        _, frame = book(70, 4)
        frame.iloc[:40, 2] = np.nan
        np.testing.assert_allclose(
            mean_correlation(frame.to_numpy().T, 20), rolling_oracle(frame, 20), rtol=0, atol=1e-14
        )

    @examples(12)
    @given(
        seed=st.integers(0, 2**32 - 1),
        strategies=st.integers(2, 6),
        gaps=st.sampled_from([0.0, 0.02, 0.3, 0.8]),
        window=st.sampled_from([3, 20]),
    )
    def test_equals_the_definition_for_any_pattern_of_gaps(
        self, seed: int, strategies: int, gaps: float, window: int
    ) -> None:
        _, frame = book(35, strategies, seed, gaps)
        frame.iloc[5:30, 0] = 0.001
        ours = mean_correlation(frame.to_numpy().T, window)
        np.testing.assert_allclose(ours, rolling_oracle(frame, window), rtol=0, atol=1e-12)

    @settings(max_examples=12, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), gaps=st.sampled_from([0.02, 0.3]), level=st.sampled_from([1.0, 1e4, -1e6]))
    def test_pairs_with_gaps_keep_their_digits_where_the_mean_dwarfs_what_moves(
        self, seed: int, gaps: float, level: float
    ) -> None:
        _, frame = book(60, 4, seed, gaps)
        # Powers of two keep sums with the level exact to the returns' own last bits.
        grid = (frame * 2**30).round() / 2**30
        shifted = grid.copy()
        shifted.iloc[:, 1] += level
        shifted.iloc[7, 2] = 2.0**20
        plain = grid.copy()
        plain.iloc[7, 2] = 2.0**20
        found, expected = (mean_correlation(each.to_numpy().T, 20) for each in (shifted, plain))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 + 1e-15 * abs(level))


class TestBits:
    """A value depends on the content of its own window, and on nothing else, to the last bit."""

    @examples(12)
    @given(
        seed=st.integers(0, 2**32 - 1),
        gaps=st.sampled_from([0.0, 0.03]),
        start=st.integers(0, 60),
        length=st.integers(60, 100),
    )
    def test_batch_equals_any_stretch_of_the_history(self, seed: int, gaps: float, start: int, length: int) -> None:
        portfolio, components = book(160, 11, seed, gaps)
        components.iloc[:75, 3] = np.nan
        equity = (1.0 + portfolio).cumprod()
        whole = state_of(portfolio, components)
        cut = slice(start, start + length)
        part = allocator_state(
            portfolio.iloc[cut],
            equity.iloc[cut],
            components.iloc[cut],
            trend_units=components.iloc[cut],
            sleeves=components.iloc[cut].fillna(0.0),
        )
        assert len(part) == length - 59
        # Drawdowns reach back to the first session of all.
        part = part.drop(columns=["dd_level", "dd_slope_10d"])
        expected = whole.loc[part.index, part.columns]
        pd.testing.assert_frame_equal(part, expected, check_exact=True, check_freq=False)

    def test_block_size_changes_no_bit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        portfolio, components = book(150, 5, gaps=0.02)
        whole = state_of(portfolio, components)
        for cells in (40, 700, 10**7):
            monkeypatch.setattr(module, "_BLOCK_CELLS", cells)
            pd.testing.assert_frame_equal(state_of(portfolio, components), whole, check_exact=True)

    @settings(max_examples=10, deadline=None)
    @given(order=st.permutations(range(9)), gaps=st.sampled_from([0.0, 0.05]))
    def test_permuting_components_changes_no_bit(self, order: list[int], gaps: float) -> None:
        portfolio, components = book(80, 9, gaps=gaps)
        straight, turned = (state_of(portfolio, frame) for frame in (components, components.iloc[:, order]))
        pd.testing.assert_frame_equal(straight, turned, check_exact=True)

    def test_components_that_are_left_out_change_no_bit(self) -> None:
        portfolio, components = book(90, 9)
        equity = (1.0 + portfolio).cumprod()
        extra = components.copy()
        extra["a"], extra["s03b"], extra["z"] = np.nan, 0.001, 0.0
        few, many = (allocator_state(portfolio, equity, frame) for frame in (components, extra))
        pd.testing.assert_frame_equal(few, many, check_exact=True)

    def test_future_changes_no_bit_of_the_past(self) -> None:
        portfolio, components = book(150, 6, gaps=0.02)
        other, others = portfolio.copy(), components.copy()
        other.iloc[100:] *= -3.0
        others.iloc[100:] = 0.5
        past = portfolio.index[99]
        pd.testing.assert_frame_equal(
            state_of(portfolio, components).loc[:past],
            state_of(other, others).loc[:past],
            check_exact=True,
        )

    @settings(max_examples=10, deadline=None)
    @given(exponent=st.integers(-4, 4), gaps=st.sampled_from([0.0, 0.05]))
    def test_scaling_returns_by_a_power_of_two_leaves_ratios_unchanged(self, exponent: int, gaps: float) -> None:
        portfolio, components = book(80, 5, gaps=gaps)
        factor = 2.0**exponent
        plain, scaled = (state_of(portfolio * f, components * f) for f in (1.0, factor))
        pd.testing.assert_frame_equal(plain[SCALE_FREE], scaled[SCALE_FREE], check_exact=True)
        assert (scaled["port_rvol_60d"] == factor * plain["port_rvol_60d"]).all()

    @settings(max_examples=10, deadline=None)
    @given(factor=st.floats(1e-3, 1e3), gaps=st.sampled_from([0.0, 0.05]))
    def test_scaling_returns_by_any_constant_leaves_ratios_unchanged_but_for_rounding(
        self, factor: float, gaps: float
    ) -> None:
        portfolio, components = book(80, 5, gaps=gaps)
        equity = (1.0 + portfolio).cumprod()
        plain, scaled = (
            allocator_state(portfolio * f, equity, components * f, trend_units=components * f) for f in (1.0, factor)
        )
        columns = ["vol_accel", "corr_20d", "corr_60d", "corr_shock", "trend_breadth_20d"]
        pd.testing.assert_frame_equal(plain[columns], scaled[columns], rtol=0, atol=1e-12)
