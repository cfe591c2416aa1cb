"""Market regimes: the edges of every rule, confirmation, causality, and a benchmark in exact arithmetic."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.targets.market_regime import MARKET_REGIMES, MarketRegimeParameters, market_regimes
from weights_pipeline_tests.support.examples import examples

BENCHMARK = Path(__file__).resolve().parents[4] / "data" / "sample" / "benchmark.csv"
SWAPPED = {"bull": "bear", "bear": "bull", "range": "range", "neutral": "neutral"}

# With these means of one and two sessions, a price that doubles is a bull signal, one that halves a bear signal
# and one that stays a range signal, all in exact arithmetic; only the first session is neutral.
STEERED = MarketRegimeParameters(fast=1, slow=2, band=0.25)
STEPS = {"bull": 2.0, "bear": 0.5, "range": 1.0}
SMALL = MarketRegimeParameters(fast=3, slow=8, band=0.02, confirmation=2)


def series(values: Sequence[float]) -> pd.Series:
    return pd.Series(values, index=pd.bdate_range("2015-01-01", periods=len(values)), dtype=float)


def steered(*runs: tuple[str, int], confirmation: int = 5) -> pd.DataFrame:
    """The frame of a path whose signals come in the given runs, after its first, neutral session."""
    signals = [name for name, length in runs for _ in range(length)]
    prices = np.cumprod([1.0, *(STEPS[name] for name in signals)])
    frame = market_regimes(series(prices), replace(STEERED, confirmation=confirmation))
    assert frame["signal"].tolist() == ["neutral", *signals]
    return frame


def last_signal(changes: dict[int, float], last: float) -> str:
    """Signal of the 200th of 200 prices, all of them 100 but for the changes."""
    prices = np.full(200, 100.0)
    prices[list(changes)] = list(changes.values())
    prices[-1] = last
    return str(market_regimes(series(prices))["signal"].iloc[-1])


def exact_regimes(
    prices: Sequence[Fraction], band: Fraction, fast: int, slow: int, confirmation: int
) -> list[tuple[str, str, int]]:
    """Signal, regime and sessions in it, from the definition, one session at a time, in exact arithmetic."""
    rows: list[tuple[str, str, int]] = []
    regime, age, recent = "neutral", 0, []
    for t, price in enumerate(prices):
        signal = "neutral"
        if t + 1 >= slow:
            slow_mean = sum(prices[t + 1 - slow : t + 1]) / Fraction(slow)
            fast_mean = sum(prices[t + 1 - fast : t + 1]) / Fraction(fast)
            gap = price / slow_mean - 1
            if abs(gap) <= band:
                signal = "range"
            elif gap > 0 and fast_mean > slow_mean:
                signal = "bull"
            elif gap < 0 and fast_mean < slow_mean:
                signal = "bear"
        recent = [*recent, signal][-confirmation:]
        age += 1
        if signal != regime and recent == [signal] * confirmation:
            regime, age = signal, 1
        rows.append((signal, regime, age))
    return rows


def rows_of(frame: pd.DataFrame) -> list[tuple[str, str, int]]:
    return list(frame[["signal", "regime", "sessions_in_regime"]].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def closes() -> pd.Series:
    table = pd.read_csv(BENCHMARK, parse_dates=["date"], index_col="date")
    return table["close"]


@pytest.fixture(scope="module")
def benchmark(closes: pd.Series) -> pd.DataFrame:
    return market_regimes(closes)


@st.composite
def walks(draw: st.DrawFn, sessions: int = 60) -> np.ndarray:
    """A random walk with a spike somewhere, which a running total would not forget."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    prices = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, sessions)))
    prices[draw(st.integers(0, sessions - 1))] *= 1e9
    return prices


class TestSignal:
    def test_two_percent_above_the_mean_is_range_and_more_is_bull(self) -> None:
        assert last_signal({0: 98.0}, last=102.0) == "range"
        assert last_signal({0: 98.0}, last=np.nextafter(102.0, np.inf)) == "bull"

    def test_two_percent_below_the_mean_is_range_and_more_is_bear(self) -> None:
        assert last_signal({0: 102.0}, last=98.0) == "range"
        assert last_signal({0: 102.0}, last=np.nextafter(98.0, 0.0)) == "bear"

    def test_range_does_not_ask_for_the_fast_mean(self) -> None:
        assert last_signal({}, last=100.0) == "range"
        assert last_signal({0: 60.0, 198: 139.0}, last=101.0) == "range"
        assert last_signal({0: 140.0, 198: 61.0}, last=99.0) == "range"

    @pytest.mark.parametrize(("last", "other", "trend"), [(110.0, 90.0, "bull"), (90.0, 110.0, "bear")])
    def test_fast_mean_must_be_strictly_on_the_side_of_the_price(self, last: float, other: float, trend: str) -> None:
        # The mean of all 200 prices is 100 each time; the 50-session mean has the other price in it, or not.
        against = {150: other - (last - 100.0), 149: last}
        assert last_signal({150: other}, last) == "neutral"
        assert last_signal({149: other}, last) == trend
        assert last_signal(against, last) == "neutral"

    def test_means_are_of_the_last_50_and_200_sessions(self) -> None:
        frame = market_regimes(series(np.arange(1.0, 302.0)))
        assert frame["fast_mean"].first_valid_index() == frame.index[49]
        assert frame["slow_mean"].first_valid_index() == frame.index[199]
        assert frame["fast_mean"].iloc[[49, 50, 300]].tolist() == [25.5, 26.5, 276.5]
        assert frame["slow_mean"].iloc[[199, 200, 300]].tolist() == [100.5, 101.5, 201.5]

    def test_fewer_than_200_sessions_are_neutral(self) -> None:
        frame = market_regimes(series(np.arange(1.0, 206.0)))
        assert frame["signal"].tolist() == ["neutral"] * 199 + ["bull"] * 6
        assert frame["regime"].tolist() == ["neutral"] * 203 + ["bull"] * 2
        assert frame["sessions_in_regime"].tolist() == [*range(1, 204), 1, 2]

    def test_parameters_move_the_edges(self) -> None:
        prices = series([100.0, 100.0, 100.0, 100.0, 112.0])
        loose = MarketRegimeParameters(fast=1, slow=2, band=0.05, confirmation=1)
        assert market_regimes(prices, loose)["regime"].tolist() == ["neutral", "range", "range", "range", "bull"]
        assert market_regimes(prices, replace(loose, band=0.06))["signal"].iloc[-1] == "range"
        assert market_regimes(prices, replace(loose, slow=5))["signal"].tolist() == ["neutral"] * 4 + ["bull"]


class TestConfirmation:
    def test_fifth_session_in_a_row_is_the_first_of_the_regime(self) -> None:
        frame = steered(("bull", 6))
        assert frame["regime"].tolist() == ["neutral"] * 5 + ["bull"] * 2
        assert frame["sessions_in_regime"].tolist() == [1, 2, 3, 4, 5, 1, 2]

    def test_four_in_a_row_are_not_enough_however_often(self) -> None:
        frame = steered(*[("bull", 4), ("range", 1)] * 6)
        assert set(frame["regime"]) == {"neutral"}
        assert frame["sessions_in_regime"].tolist() == list(range(1, 32))

    def test_four_of_another_and_four_of_a_third_change_nothing(self) -> None:
        frame = steered(("bull", 5), ("bear", 4), ("range", 4), ("bear", 4))
        assert frame["regime"].tolist() == ["neutral"] * 5 + ["bull"] * 13

    def test_own_signal_starts_the_count_of_the_other_again(self) -> None:
        frame = steered(("bull", 5), ("bear", 4), ("bull", 1), ("bear", 5))
        assert frame["regime"].tolist() == ["neutral"] * 5 + ["bull"] * 10 + ["bear"]

    def test_bull_may_turn_into_bear_without_a_stop(self) -> None:
        frame = steered(("bull", 5), ("bear", 5), ("range", 5), ("bull", 1))
        assert frame["regime"].tolist() == ["neutral"] * 5 + ["bull"] * 5 + ["bear"] * 5 + ["range"] * 2

    def test_neutral_is_confirmed_like_any_other(self, benchmark: pd.DataFrame) -> None:
        entry = benchmark.index.get_loc(pd.Timestamp("2020-03-12"))
        around = benchmark.iloc[entry - 5 : entry + 1]
        assert around["signal"].tolist() == ["range"] + ["neutral"] * 5
        assert around["regime"].tolist() == ["bull"] * 5 + ["neutral"]

    def test_one_session_of_confirmation_makes_every_signal_the_regime(self) -> None:
        frame = steered(("bull", 1), ("bear", 2), ("range", 1), ("bull", 3), confirmation=1)
        assert frame["regime"].tolist() == frame["signal"].tolist()
        assert frame["sessions_in_regime"].tolist() == [1, 1, 1, 2, 1, 1, 2, 3]

    @given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(1, 8)), min_size=1, max_size=25))
    @examples(60)
    def test_regime_changes_exactly_after_five_of_the_same_other_signal(self, runs: list[tuple[str, int]]) -> None:
        frame = steered(*runs)
        signals, regimes = frame["signal"].tolist(), frame["regime"].tolist()
        assert regimes[0] == "neutral"
        for t in range(1, len(frame)):
            five = t >= 4 and len(set(signals[t - 4 : t + 1])) == 1
            assert regimes[t] == (signals[t] if five else regimes[t - 1])

    @given(st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=40), st.integers(1, 4))
    @examples(40)
    def test_flapping_signals_never_change_the_regime(self, names: list[str], length: int) -> None:
        flapping = [names[0]] + [b for a, b in pairwise(names) if a != b]
        assert set(steered(*((name, length) for name in flapping))["regime"]) == {"neutral"}


class TestCausality:
    @given(walks(), st.integers(0, 60))
    @examples(60)
    def test_appending_never_changes_the_past(self, prices: np.ndarray, cut: int) -> None:
        whole = market_regimes(series(prices), SMALL)
        part = market_regimes(series(prices[:cut]), SMALL)
        pd.testing.assert_frame_equal(whole.iloc[:cut], part, check_exact=True, check_freq=False)

    @given(walks(), st.integers(1, 50))
    @examples(60)
    def test_means_and_signals_have_the_same_bits_wherever_the_history_begins(
        self, prices: np.ndarray, first: int
    ) -> None:
        whole = market_regimes(series(prices), SMALL)
        part = market_regimes(series(prices).iloc[first:], SMALL)
        for column, window in (("fast_mean", SMALL.fast), ("slow_mean", SMALL.slow), ("signal", SMALL.slow)):
            assert part[column].iloc[window - 1 :].tolist() == whole[column].iloc[first + window - 1 :].tolist()

    def test_regime_depends_on_where_the_history_begins(self, closes: pd.Series, benchmark: pd.DataFrame) -> None:
        late = market_regimes(closes.loc["2013":])
        assert set(benchmark.loc["2013-01":"2013-09", "regime"]) == {"bull"}
        assert set(late.loc["2013-01":"2013-09", "regime"]) == {"neutral"}
        assert late.loc["2014":, "regime"].equals(benchmark.loc["2014":, "regime"])

    @given(walks(), st.integers(-60, 60))
    @examples(40)
    def test_scaling_by_a_power_of_two_changes_no_regime(self, prices: np.ndarray, power: int) -> None:
        scaled = market_regimes(series(prices * 2.0**power), SMALL)
        plain = market_regimes(series(prices), SMALL)
        assert rows_of(scaled) == rows_of(plain)
        assert scaled["slow_mean"].equals(plain["slow_mean"] * 2.0**power)

    def test_parameters_and_index_are_taken_as_given(self, closes: pd.Series, benchmark: pd.DataFrame) -> None:
        assert benchmark.index.equals(closes.index)
        assert benchmark["price"].tolist() == closes.tolist()
        pd.testing.assert_frame_equal(market_regimes(closes, MarketRegimeParameters()), benchmark)
        other_unit = closes.set_axis(closes.index.as_unit("s"))
        assert rows_of(market_regimes(other_unit)) == rows_of(benchmark)


class TestMirror:
    @given(st.lists(st.integers(1, 99), min_size=8, max_size=60))
    @examples(60)
    def test_without_a_band_prices_mirrored_at_a_level_swap_bull_and_bear(self, prices: list[int]) -> None:
        parameters = replace(SMALL, band=0.0)
        plain, mirrored = (market_regimes(series(p), parameters) for p in (prices, [100 - x for x in prices]))
        for column in ("signal", "regime"):
            assert mirrored[column].tolist() == plain[column].map(SWAPPED).tolist()
        assert mirrored["sessions_in_regime"].equals(plain["sessions_in_regime"])

    @given(st.lists(st.integers(60, 100), min_size=8, max_size=8))
    @examples(60)
    def test_with_a_band_so_do_prices_mirrored_at_a_constant_slow_mean(self, cycle: list[int]) -> None:
        # Prices that repeat every eight sessions have a constant mean over eight: a whole one, once multiplied by 8.
        parameters = replace(SMALL, band=0.125)
        prices = np.array(cycle * 4) * 8.0
        plain, mirrored = (market_regimes(series(p), parameters) for p in (prices, 2.0 * sum(cycle) - prices))
        for column in ("signal", "regime"):
            assert mirrored[column].tolist() == plain[column].map(SWAPPED).tolist()


class TestOracle:
    @given(
        prices=st.lists(st.integers(1, 12), max_size=60),
        fast=st.integers(1, 3),
        slow=st.sampled_from([4, 8]),
        band=st.sampled_from([0.0, 0.125, 0.25]),
        confirmation=st.integers(1, 4),
    )
    @examples(100)
    def test_whole_prices_agree_with_exact_arithmetic_at_every_tie(
        self, prices: list[int], fast: int, slow: int, band: float, confirmation: int
    ) -> None:
        parameters = MarketRegimeParameters(fast=fast, slow=slow, band=band, confirmation=confirmation)
        expected = exact_regimes([Fraction(p) for p in prices], Fraction(band), fast, slow, confirmation)
        assert rows_of(market_regimes(series(prices), parameters)) == expected

    def test_benchmark_agrees_with_exact_arithmetic(self, benchmark: pd.DataFrame) -> None:
        with BENCHMARK.open(newline="") as stream:
            cents = [Fraction(row["close"]) * 100 for row in csv.DictReader(stream)]
        assert all(price.denominator == 1 for price in cents)
        whole = [price.numerator for price in cents]
        assert rows_of(benchmark) == exact_regimes(whole, Fraction("0.02"), fast=50, slow=200, confirmation=5)

    def test_benchmark_means_are_sums_from_the_oldest_price_on(self, benchmark: pd.DataFrame) -> None:
        prices = benchmark["price"].tolist()
        for t in (199, 1000, len(prices) - 1):
            total = 0.0
            for price in prices[t - 199 : t + 1]:
                total += price
            assert benchmark["slow_mean"].iloc[t] == total / 200

    def test_benchmark_years(self, benchmark: pd.DataFrame) -> None:
        assert set(benchmark["signal"]) == set(benchmark["regime"]) == set(MARKET_REGIMES)
        shares = benchmark.groupby(benchmark.index.year)["regime"].value_counts(normalize=True)
        assert all(shares[year, "bull"] == 1.0 for year in (2013, 2014, 2017, 2021))
        assert shares[2022, "bear"] > 0.6
        assert shares[2022, "bull"] < 0.1

    def test_benchmark_crash_of_2020_and_bear_market_of_2022(self, benchmark: pd.DataFrame) -> None:
        entries = benchmark.loc[benchmark["sessions_in_regime"] == 1, "regime"].loc["2020":]
        assert [f"{date:%Y-%m-%d} {regime}" for date, regime in entries.items()] == [
            "2020-03-12 neutral",
            "2020-04-03 bear",
            "2020-05-27 range",
            "2020-06-08 neutral",
            "2020-07-15 bull",
            "2022-01-26 range",
            "2022-03-09 neutral",
            "2022-03-23 range",
            "2022-04-27 bear",
            "2022-08-18 range",
            "2022-08-25 bear",
        ]
        assert benchmark["signal"].eq("bear").loc["2020-03-01":].idxmax() == pd.Timestamp("2020-03-30")


class TestInput:
    def test_no_price_gives_an_empty_frame_of_the_same_types(self, benchmark: pd.DataFrame) -> None:
        empty = market_regimes(series([]))
        assert len(empty) == 0
        assert empty.dtypes.equals(benchmark.dtypes)

    def test_whole_and_nullable_prices_are_read_as_floats(self) -> None:
        prices = series(np.arange(10.0, 30.0))
        for dtype in ("int64", "Int64", "Float64", "object"):
            pd.testing.assert_frame_equal(market_regimes(prices.astype(dtype), SMALL), market_regimes(prices, SMALL))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
    def test_price_that_is_none_is_refused_with_its_first_date(self, bad: float) -> None:
        prices = series([100.0] * 6)
        prices.iloc[[2, 4]] = bad
        with pytest.raises(ValueError, match=f"prices: expected positive and finite, got {bad} on 2015-01-05"):
            market_regimes(prices)

    def test_missing_nullable_price_is_refused_too(self) -> None:
        with pytest.raises(ValueError, match="got nan on 2015-01-02"):
            market_regimes(pd.Series([1.0, None], dtype="Float64", index=pd.bdate_range("2015-01-01", periods=2)))

    @pytest.mark.parametrize(
        ("dates", "message"),
        [
            (["2015-01-05", "2015-01-02"], "ascending sessions, got 2015-01-02 after 2015-01-05"),
            (["2015-01-05", "2015-01-05"], "ascending sessions, got 2015-01-05 after 2015-01-05"),
            (["2015-01-02", "2015-01-06", "2015-01-05"], "ascending sessions, got 2015-01-05 after 2015-01-06"),
            (["2015-01-05", "2015-01-06 16:00"], "sessions at midnight, got 2015-01-06 16:00:00"),
            (["2015-01-05", None], "sessions at midnight, got NaT"),
            (["2015-01-05T00:00Z", "2015-01-06T00:00Z"], "tz-naive sessions, got sessions in UTC"),
        ],
    )
    def test_sessions_that_are_none_are_refused(self, dates: list[str | None], message: str) -> None:
        index = pd.DatetimeIndex([pd.Timestamp(date) for date in dates])
        with pytest.raises(ValueError, match=f"prices: expected {message}"):
            market_regimes(pd.Series(1.0, index=index))

    def test_index_of_other_things_is_refused(self) -> None:
        with pytest.raises(ValueError, match="expected an index of sessions"):
            market_regimes(pd.Series([1.0, 2.0]))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"band": -0.01}, "band: expected a fraction of at least 0 and below 1, got -0.01"),
            ({"band": 1.0}, "band: expected a fraction of at least 0 and below 1, got 1.0"),
            ({"band": np.nan}, "band: expected a fraction of at least 0 and below 1, got nan"),
            ({"fast": 0}, "fast: expected at least 1 session, got 0"),
            ({"slow": 50}, r"slow: expected more sessions than fast \(50\), got 50"),
            ({"confirmation": 0}, "confirmation: expected at least 1 session, got 0"),
        ],
    )
    def test_impossible_parameters_name_their_key(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            MarketRegimeParameters(**options)  # type: ignore[arg-type]
