"""Walk-forward study: no look-ahead, its figures against a plain one, ties, nulls, and what is refused."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.allocator.overlay import applied_scalar, performance
from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds
from weights_pipeline.core.allocator.scalar import PROFILES, AllocatorParameters, Profile
from weights_pipeline.core.allocator.tune import DEFAULT_GRID, SCORES, Choice, TuneResult, choices, walk_forward
from weights_pipeline.core.chain import regime_table, scalar_table, state_of
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline_tests.support.examples import examples

BASE = AllocatorParameters()
GRID = {"vol_accel_enter": [1.2, 1.3], "profile": ["low", "high"]}
TRAIN, TEST = 100, 60
FIGURES = ("cagr", "sharpe", "max_drawdown")


def history(sessions: int = 400, seed: int = 1) -> tuple[pd.DataFrame, pd.Series]:
    """State and returns of three strategies with bursts of volatility."""
    random = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=sessions)
    burst = np.where(np.arange(sessions) % 70 > 50, 0.02, 0.006)[:, None]
    returns = pd.DataFrame(random.normal(0.0004, burst, (sessions, 3)), index=days, columns=list("abc"))
    weights = pd.DataFrame([[0.5, 0.3, 0.2]], index=days[:1], columns=list("abc"))
    portfolio = pd.Series((returns.to_numpy() * weights.to_numpy()).sum(axis=1), index=days)
    return state_of(weights, returns, AllocatorParameters(), DAILY), portfolio


STATE, PORTFOLIO = history()


def study(state: pd.DataFrame = STATE, portfolio: pd.Series = PORTFOLIO, **options: object) -> TuneResult:
    arguments = {"choices": choices(GRID, BASE), "train": TRAIN, "test": TEST} | options
    return walk_forward(state, portfolio, **arguments)


@cache
def whole_study() -> TuneResult:
    return study()


def test_the_base_parameters_come_first_and_once() -> None:
    made = choices(GRID, BASE)
    assert [choice.label for choice in made] == [
        "base",
        "vol_accel_enter=1.2",
        "vol_accel_enter=1.2, profile=high",
        "profile=high",
    ]
    assert made[0] == Choice(label="base", thresholds=RegimeThresholds(), profile=PROFILES["low"])
    assert made[2].thresholds == RegimeThresholds(vol_accel_enter=1.2)
    assert made[2].profile == PROFILES["high"]


def test_what_the_grid_does_not_name_is_that_of_the_base() -> None:
    base = AllocatorParameters(profile="medium", half_life=4.0, thresholds=RegimeThresholds(min_stay=7))
    made = choices({"vol_accel_enter": [1.5], "profile": ["medium", "low"], "stepwise": [True]}, base)
    assert {choice.thresholds.min_stay for choice in made} == {7}
    assert {choice.profile.alpha for choice in made} == {base.resolved_profile().alpha}
    assert made[1].label == "vol_accel_enter=1.5, stepwise=True"
    assert made[2].profile.map == PROFILES["low"].map
    assert made[2].thresholds.stepwise is True


def test_scores_are_whole_numbers_however_they_are_written() -> None:
    (_, choice) = choices({"min_stay": [8.0]}, BASE)
    assert type(choice.thresholds.min_stay) is int


def test_the_default_grid_is_valid_and_holds_the_default_parameters() -> None:
    assert len(choices(DEFAULT_GRID, BASE)) == 72


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"vol_speed": [1.0]}, "vol_speed: expected profile or one of vol_accel_enter"),
        ({"dd_enter": []}, "dd_enter: expected at least one value"),
        (
            {"vol_accel_enter": [1.3, 1.1]},
            "vol_accel_enter=1.1: vol_accel_exit: expected a value below vol_accel_enter",
        ),
        ({"profile": ["bold"]}, "profile=bold: profile: expected one of low, medium, high, got 'bold'"),
        ({"min_stay": [2.5]}, "min_stay=2.5: min_stay: expected a whole number, got 2.5"),
        ({"vol_accel_enter": ["high"]}, "vol_accel_enter: expected a number, got 'high'"),
        ({"vol_accel_enter": [float("nan")]}, "vol_accel_enter=nan: vol_accel_enter: expected a number"),
        ({"min_stay": [None]}, "min_stay=None: min_stay: expected a whole number, got None"),
    ],
)
def test_a_grid_that_means_nothing_is_refused(grid: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choices(grid, BASE)


@pytest.mark.parametrize("score", list(SCORES))
@pytest.mark.parametrize("lag", [1, 3])
def test_figures_are_those_of_a_plain_study(score: str, lag: int) -> None:
    result = study(score=score, lag=lag)
    made = choices(GRID, BASE)
    scaled = {}
    for choice in made:
        overlay = AllocatorParameters(profile=choice.profile, thresholds=choice.thresholds)
        scalars = scalar_table(regime_table(STATE, choice.thresholds), overlay).set_index("session")["scalar"]
        scaled[choice.label] = PORTFOLIO * applied_scalar(scalars, PORTFOLIO.index, lag)

    def figures(returns: pd.Series) -> dict[str, float]:
        return {name: value for name, (value, _) in performance(returns).items()}

    def rank(returns: pd.Series) -> float:
        found = figures(returns)
        by_name = {
            "sharpe": found["sharpe"],
            "calmar": found["cagr"] / found["max_drawdown"],
            "max_drawdown": -found["max_drawdown"],
        }
        return by_name[score]

    pieces = []
    starts = list(range(TRAIN, len(PORTFOLIO), TEST))
    assert len(result.windows) == len(starts) == 5
    for window, start in enumerate(starts):
        ranks = {label: rank(returns.iloc[start - TRAIN : start]) for label, returns in scaled.items()}
        best = sorted(ranks, key=lambda label: (-ranks[label], list(scaled).index(label)))[0]
        row = result.windows.loc[window]
        assert row["chosen"] == best
        assert row["train_last"] < row["test_first"]
        pieces.append(scaled[best].iloc[start : start + TEST])
        assert list(pieces[-1].index[[0, -1]]) == [row["test_first"], row["test_last"]]
        unscaled = figures(PORTFOLIO.iloc[start : start + TEST])
        for name, returns in (("chosen", scaled[best]), ("base", scaled["base"])):
            expected = figures(returns.iloc[start : start + TEST])
            for figure in FIGURES:
                np.testing.assert_equal(row[f"{name}_{figure}"], expected[figure])
                np.testing.assert_equal(row[f"unscaled_{figure}"], unscaled[figure])
        trial = result.trials.loc[(window, best)]
        assert trial["train_score"] == ranks[best]
        np.testing.assert_equal(trial["test_sharpe_change"], row["chosen_sharpe"] - row["unscaled_sharpe"])

    chained = pd.concat(pieces)
    pd.testing.assert_series_equal(result.returns["walk_forward"], chained, check_names=False, check_freq=False)
    for name, returns in (
        ("walk_forward", chained),
        ("base", scaled["base"].iloc[TRAIN:]),
        ("unscaled", PORTFOLIO.iloc[TRAIN:]),
    ):
        assert result.totals.loc[name, list(FIGURES)].to_dict() == {key: figures(returns)[key] for key in FIGURES}
        assert result.totals.at[name, "score"] == rank(returns)
    for choice in made:
        row = result.choices.loc[choice.label]
        assert row["sharpe"] == figures(scaled[choice.label])["sharpe"]
        assert row["held_score"] == rank(scaled[choice.label].iloc[TRAIN:])
        assert row["times_chosen"] == list(result.windows["chosen"]).count(choice.label)
    assert result.choices["times_chosen"].sum() == len(starts)


def test_a_choice_is_told_by_its_regimes_and_its_scalars() -> None:
    result = study()
    path = regime_table(STATE, RegimeThresholds())["regime"]
    base = result.choices.loc["base"]
    assert base["share_NORMAL"] == (path == "NORMAL").mean()
    assert sum(base[f"share_{regime}"] for regime in REGIMES) == pytest.approx(1.0)
    assert base["transitions_per_year"] == (path != path.shift()).iloc[1:].sum() * 252 / len(path)
    assert result.choices.at["profile=high", "mean_scalar"] > base["mean_scalar"]
    scalars = applied_scalar(
        scalar_table(regime_table(STATE, BASE.thresholds), BASE).set_index("session")["scalar"], PORTFOLIO.index, 1
    )
    assert base["mean_scalar"] == scalars.mean()
    assert base["share_scaled"] == (scalars < 0.99).mean() > 0


@examples(10)
@given(window=st.integers(0, 4), seed=st.integers(0, 1000), inside=st.booleans())
def test_nothing_after_a_window_moves_its_figures_nor_anything_in_it_its_choice(
    window: int, seed: int, inside: bool
) -> None:
    """Whatever lies after a window, or in it, is drawn anew; what was known before stays, bit for bit."""
    whole = whole_study()
    cut = PORTFOLIO.index[min(TRAIN + TEST * (window + (not inside)), len(PORTFOLIO)) - 1]
    random = np.random.default_rng(seed)
    portfolio, state = PORTFOLIO.copy(), STATE.copy()
    portfolio[portfolio.index > cut] = random.normal(0.0, 0.03, int((portfolio.index > cut).sum()))
    later = state["session"] > cut
    for feature in ("vol_accel", "corr_shock", "dd_level", "dd_slope_10d"):
        state.loc[later, feature] = random.normal(0.0, 1.0, int(later.sum()))
    redrawn = study(state, portfolio)
    known = window if inside else window + 1
    pd.testing.assert_frame_equal(redrawn.windows[:known], whole.windows[:known], check_exact=True)
    pd.testing.assert_frame_equal(redrawn.trials.loc[: known - 1], whole.trials.loc[: known - 1], check_exact=True)
    pd.testing.assert_frame_equal(redrawn.returns.loc[:cut], whole.returns.loc[:cut], check_exact=True)
    if inside:
        assert redrawn.windows.at[window, "chosen"] == whole.windows.at[window, "chosen"]
        trained = ["train_score", "train_sharpe"]
        again, before = (each.trials.loc[window, trained] for each in (redrawn, whole))
        pd.testing.assert_frame_equal(again, before, check_exact=True)


def test_a_cut_history_gives_the_windows_of_the_whole_one() -> None:
    end = PORTFOLIO.index[TRAIN + 2 * TEST - 1]
    cut = study(STATE[STATE["session"] <= end], PORTFOLIO[:end])
    pd.testing.assert_frame_equal(cut.windows, whole_study().windows[:2], check_exact=True)


def test_of_equal_choices_the_first_is_taken() -> None:
    same = [Choice(label=name, thresholds=BASE.thresholds, profile=PROFILES["low"]) for name in ("base", "b", "c")]
    assert set(study(choices=same).windows["chosen"]) == {"base"}


def test_without_a_move_to_judge_by_the_base_parameters_stay() -> None:
    result = study(portfolio=PORTFOLIO * 0.0)
    assert set(result.windows["chosen"]) == {"base"}
    assert result.totals["score"].isna().all()
    assert "cannot be judged" in result.verdict


def test_a_choice_that_cannot_be_scored_ranks_below_any_that_can() -> None:
    """Returns that double exactly when the base parameters halve the book: scaled, they never move."""
    days = PORTFOLIO.index
    stress = pd.Series((np.arange(len(days)) > 60) & (np.arange(len(days)) % 40 >= 20), index=days)
    state = STATE.assign(corr_shock=0.0, dd_level=0.0, dd_slope_10d=0.0)
    state["vol_accel"] = np.where(stress[pd.DatetimeIndex(state["session"])], 1.35, 1.0)
    halved = Profile(map={"NORMAL": 1.0, "ELEVATED": 0.5, "STRESS": 0.5, "CRISIS": 0.5}, alpha=1.0, floor=0.25)
    base = AllocatorParameters(profile=halved, thresholds=RegimeThresholds(min_stay=1))
    portfolio = pd.Series(np.where(stress.shift(1, fill_value=False), -0.02, -0.01), index=days)
    result = walk_forward(state, portfolio, choices({"profile": ["low"]}, base), train=TRAIN, test=TEST)
    scores = result.trials["train_score"].unstack()
    assert scores["base"].isna().all()
    assert (scores["profile=low"] < 0).all()
    assert set(result.windows["chosen"]) == {"profile=low"}


def test_least_drawdown_takes_the_hardest_cut() -> None:
    result = study(score="max_drawdown")
    trained = result.trials["train_max_drawdown"].unstack()
    for window, row in result.windows.iterrows():
        assert trained.at[window, row["chosen"]] == trained.loc[window].min()


def test_the_verdict_says_when_no_choice_beats_the_base() -> None:
    """Stress that pays: whatever cuts more than the base parameters do earns less for each unit of risk."""
    days = PORTFOLIO.index
    stress = pd.Series(np.arange(len(days)) % 40 >= 20, index=days)
    state = STATE.assign(corr_shock=0.0, dd_level=0.0, dd_slope_10d=0.0)
    state["vol_accel"] = np.where(stress[pd.DatetimeIndex(state["session"])], 1.35, 1.0)
    wiggle = np.where(np.arange(len(days)) % 2 == 0, 0.004, -0.004)
    made = choices({"profile": ["medium", "low"]}, AllocatorParameters(profile="high"))
    paying = walk_forward(state, stress * 0.004 + wiggle, made, train=TRAIN, test=TEST)
    assert paying.better_than_base == ()
    assert set(paying.windows["chosen"]) == {"base"}
    assert paying.verdict.startswith("None of 2 choices beats the base parameters out of sample.")
    assert "does not beat them by sharpe" in paying.verdict
    assert "does not beat the unscaled portfolio" in paying.verdict

    costing = walk_forward(state, wiggle + 0.002 - stress * 0.004, made, train=TRAIN, test=TEST)
    assert costing.better_than_base == ("profile=medium", "profile=low")
    assert set(costing.windows["chosen"]) == {"profile=low"}
    assert "2 of 2 choices, held throughout, beat" in costing.verdict
    assert "beats them by sharpe" in costing.verdict
    assert "beats the unscaled portfolio" in costing.verdict


def test_a_study_of_the_base_alone_says_so() -> None:
    result = study(choices=choices({}, BASE))
    assert result.verdict.startswith("There is no choice beside the base parameters.")
    pd.testing.assert_series_equal(result.returns["walk_forward"], result.returns["base"], check_names=False)


def test_the_last_window_may_be_shorter() -> None:
    result = study(train=TRAIN, test=90)
    assert result.windows["sessions"].tolist() == [90, 90, 90, 30]
    assert np.isnan(result.windows["chosen_sharpe"].iloc[-1])
    assert len(result.returns) == len(PORTFOLIO) - TRAIN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choices": []}, "choices: expected at least one"),
        ({"choices": choices({}, BASE) * 2}, "each with a label of its own"),
        ({"score": "alpha"}, "score: expected one of sharpe, calmar, max_drawdown, got 'alpha'"),
        ({"train": 59}, "train: expected at least 60 sessions, got 59"),
        ({"test": 0}, "test: expected at least 1 session, got 0"),
        ({"lag": 0}, "lag: expected at least 1 session, got 0"),
        ({"train": 400}, "expected more than the 400 sessions to train on, got 400"),
        ({"portfolio": PORTFOLIO[::-1]}, "portfolio_returns: expected unique sessions in increasing order"),
        ({"state": STATE[::-1]}, "state: expected unique sessions in increasing order"),
        ({"portfolio": PORTFOLIO[:-1]}, "state: expected sessions of the portfolio, got 2021-07-13"),
        ({"portfolio": PORTFOLIO.where(PORTFOLIO.index != PORTFOLIO.index[200])}, "expected returns above -1, got nan"),
    ],
)
def test_what_cannot_be_studied_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**options)
