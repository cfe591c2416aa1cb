"""Documents of an allocator run: golden figures, plain JSON, what is refused, and the published run of a real book."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds
from weights_pipeline.core.allocator.scalar import PROFILES, AllocatorParameters, parameter_hash
from weights_pipeline.core.allocator.state import REQUIRED, WARM_UP
from weights_pipeline.core.allocator.summary import VERSION, documents, regime_document, scalar_document, state_document
from weights_pipeline.core.chain import regime_table, scalar_table, state_of
from weights_pipeline.core.returns.frequency import DAILY
from weights_pipeline_tests.support.allocated import allocated

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
OVERLAY = AllocatorParameters()
DAYS = pd.date_range("2020-01-01", periods=70, freq="D")


def state_rows(sessions: pd.DatetimeIndex, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"session": sessions} | dict.fromkeys(REQUIRED, 0.5) | columns)


def regime_rows(regimes: str) -> pd.DataFrame:
    """Rows from initials such as ``NNES``."""
    named = {regime[0]: regime for regime in REGIMES}
    frame = pd.DataFrame({"session": DAYS[: len(regimes)], "regime": [named[each] for each in regimes]})
    run = frame["regime"].ne(frame["regime"].shift()).cumsum()
    return frame.assign(sessions_in_regime=frame.groupby(run).cumcount() + 1)


def scalar_rows(values: list[float], sleeve: str = "") -> pd.DataFrame:
    return pd.DataFrame({"session": DAYS[: len(values)], "sleeve": sleeve, "scalar": values})


def test_state_document_says_what_each_feature_covers_and_what_was_dropped() -> None:
    sessions = DAYS[WARM_UP:].delete([3, 5])
    correlation = [np.nan, *[0.5] * (len(sessions) - 1)]
    breadth = [np.nan, 0.2, 0.4, *[0.6] * (len(sessions) - 4), np.nan]
    rows = state_rows(
        sessions, vol_accel=np.linspace(1.0, 2.0, len(sessions)), corr_20d=correlation, trend_breadth_20d=breadth
    )
    document = state_document(rows, DAYS, OVERLAY)
    assert document["dropped"] == {
        "warm_up": 59,
        "beyond": 2,
        "beyond_share": 2 / 11,
        "sessions": ["2020-03-03", "2020-03-05"],
    }
    assert document["idle"] == 1
    assert document["features"]["vol_accel"] == pytest.approx(
        {"coverage": 9 / 11, "min": 1.0, "max": 2.0, "mean": 1.5, "last": 2.0}
    )
    assert document["features"]["trend_breadth_20d"] == {
        "coverage": 7 / 11,
        "min": 0.2,
        "max": 0.6,
        "mean": pytest.approx(3.6 / 7),
        "last": None,
    }
    assert "sleeve_concentration_60d" not in document["features"]
    assert document["sessions"] == {"first": "2020-02-29", "last": "2020-03-10", "count": 9}


def test_regime_document_counts_runs_and_transitions() -> None:
    document = regime_document(regime_rows("NNNESSNNC"), OVERLAY)
    assert document["regimes"] == {
        "NORMAL": {"sessions": 5, "percent": pytest.approx(500 / 9), "longest_run": 3},
        "ELEVATED": {"sessions": 1, "percent": pytest.approx(100 / 9), "longest_run": 1},
        "STRESS": {"sessions": 2, "percent": pytest.approx(200 / 9), "longest_run": 2},
        "CRISIS": {"sessions": 1, "percent": pytest.approx(100 / 9), "longest_run": 1},
    }
    made = {(a, b): n for a, row in document["transitions"].items() for b, n in row.items() if n}
    assert made == {
        ("NORMAL", "ELEVATED"): 1,
        ("ELEVATED", "STRESS"): 1,
        ("STRESS", "NORMAL"): 1,
        ("NORMAL", "CRISIS"): 1,
    }
    assert document["transitions_per_year"] == 4 * 252 / 9
    assert document["current"] == {"regime": "CRISIS", "sessions": 1}


def test_scalar_document_measures_the_book_its_regimes_and_its_sleeves() -> None:
    whole = [1.0, 1.0, 0.8, 0.5, 0.98]
    rows = pd.concat([scalar_rows(whole), scalar_rows([1.0, 1.0, 0.9, 0.2, 0.3], "trend")])
    document = scalar_document(rows, regime_rows("NNESN"), OVERLAY)
    assert document["scalar"] == {
        "mean": pytest.approx(0.856),
        "min": 0.5,
        "max": 1.0,
        "std": pytest.approx(np.std(whole, ddof=1)),
        "last": 0.98,
        "share_scaled": 3 / 5,
        "largest_step": {"change": pytest.approx(0.48), "session": "2020-01-05"},
    }
    assert document["by_regime"]["NORMAL"] == {
        "sessions": 3,
        "mean": pytest.approx(2.98 / 3),
        "min": 0.98,
        "max": 1.0,
        "std": pytest.approx(np.std([1.0, 1.0, 0.98], ddof=1)),
        "last": 0.98,
        "share_scaled": pytest.approx(1 / 3),
    }
    assert document["by_regime"]["STRESS"]["std"] is None
    assert document["by_regime"]["CRISIS"] == {
        "sessions": 0,
        **dict.fromkeys(("mean", "min", "max", "std", "last", "share_scaled")),
    }
    assert list(document["sleeves"]) == ["trend"]
    assert document["sleeves"]["trend"]["scalar"]["largest_step"]["change"] == pytest.approx(-0.7)
    assert document["sleeves"]["trend"]["by_regime"]["STRESS"]["mean"] == 0.2


def test_a_scalar_that_never_moves_has_no_largest_step() -> None:
    document = scalar_document(scalar_rows([1.0, 1.0, 1.0]), regime_rows("NNN"), OVERLAY)
    assert document["scalar"]["largest_step"] is None
    assert document["scalar"]["std"] == 0.0


def test_every_document_names_its_parameters() -> None:
    spelled_out = AllocatorParameters(profile=PROFILES["high"], thresholds=RegimeThresholds(vol_accel_enter=1.4))
    named = AllocatorParameters(profile="high", half_life=3.0)
    maps = {"trend": {"NORMAL": 1.0, "ELEVATED": 0.5, "STRESS": 0.4, "CRISIS": 0.3}}
    for overlay in (OVERLAY, spelled_out, named, AllocatorParameters(sleeve_maps=maps)):
        for document in made(overlay).values():
            assert document["version"] == VERSION
            assert document["parameters_hash"] == parameter_hash(overlay)
            profile, resolved = document["profile"], overlay.resolved_profile()
            assert profile["name"] == (overlay.profile if isinstance(overlay.profile, str) else None)
            assert (profile["alpha"], profile["floor"], profile["cap"]) == (
                resolved.alpha,
                resolved.floor,
                resolved.cap,
            )
            assert profile["map"] == resolved.map
            assert profile["sleeve_maps"] == overlay.sleeve_maps
            assert document["thresholds"] == vars(overlay.thresholds)


def made(overlay: AllocatorParameters = OVERLAY, sessions: int = 150) -> dict[str, dict[str, object]]:
    return documents(*history(overlay, sessions), overlay)


def history(
    overlay: AllocatorParameters, sessions: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DatetimeIndex]:
    random = np.random.default_rng(4)
    days = pd.bdate_range("2021-01-04", periods=sessions)
    volatility = np.where(np.arange(sessions) % 90 > 70, 0.04, 0.01)[:, None]
    returns = pd.DataFrame(random.normal(0.0, volatility, (sessions, 3)), index=days, columns=["trend", "b", "c"])
    weights = pd.DataFrame({"trend": [0.4], "b": [0.3], "c": [0.3]}, index=days[:1])
    state = state_of(weights, returns, overlay, DAILY)
    regimes = regime_table(state, overlay.thresholds)
    return state, regimes, scalar_table(regimes, overlay), days


def assert_plain(content: object) -> None:
    """Only the types of JSON, exactly, and keys in order."""
    if isinstance(content, Mapping):
        assert list(content) == sorted(content)
        for value in content.values():
            assert_plain(value)
    elif type(content) is list:
        for value in content:
            assert_plain(value)
    else:
        assert content is None or type(content) in (str, int, float, bool), repr(content)


def test_documents_are_plain_and_survive_json() -> None:
    content = made()
    assert_plain(list(content.values()))
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["regime"]["transitions_per_year"] > 0


def test_the_order_of_rows_and_sessions_does_not_matter() -> None:
    state, regimes, scalars, sessions = history(OVERLAY, 150)
    shuffled = [frame.sample(frac=1.0, random_state=3) for frame in (state, regimes, scalars)]
    assert documents(*shuffled, sessions[::-1], OVERLAY) == documents(state, regimes, scalars, sessions, OVERLAY)


@pytest.mark.parametrize("sessions", [0, 1, WARM_UP, WARM_UP + 1])
def test_a_history_too_short_for_a_state_has_nulls(sessions: int) -> None:
    state, regimes, scalars, days = (each[:0] for each in history(OVERLAY, 70))
    known = pd.bdate_range("2021-01-04", periods=sessions)
    content = documents(state, regimes, scalars, known, OVERLAY)
    assert_plain(list(content.values()))
    assert len(days) == 0
    assert content["state"]["sessions"] == {"first": None, "last": None, "count": 0}
    assert content["state"]["dropped"]["warm_up"] == min(sessions, WARM_UP)
    assert content["state"]["dropped"]["beyond"] == max(sessions - WARM_UP, 0)
    assert content["regime"]["current"] == {"regime": None, "sessions": None}
    assert content["regime"]["regimes"]["NORMAL"]["percent"] is None
    assert content["scalar"]["scalar"]["mean"] is None


def test_what_cannot_be_summed_up_is_refused() -> None:
    rows = state_rows(DAYS[WARM_UP:])
    with pytest.raises(ValueError, match=r"expected eligible sessions, got 2020-03-10, which is not one"):
        state_document(rows, DAYS[:-1], OVERLAY)
    with pytest.raises(ValueError, match=r"allocator_state: expected each session once, got 2020-02-29 twice"):
        state_document(pd.concat([rows, rows[:1]]), DAYS, OVERLAY)
    with pytest.raises(
        ValueError, match=r"risk_scalar: expected a regime on each of its sessions, got none on 2020-01-03"
    ):
        scalar_document(scalar_rows([1.0, 1.0, 1.0]), regime_rows("NN"), OVERLAY)
    with pytest.raises(ValueError, match="expected one of NORMAL"):
        regime_document(regime_rows("NN").assign(regime="PANIC"), OVERLAY)


def test_the_published_run_of_a_real_book() -> None:
    inputs_file, expected_file = (DATA / f"allocator_2020_2025_{part}.csv" for part in ("inputs", "expected"))
    if not inputs_file.exists():
        pytest.skip(f"reference data not found: {inputs_file}")
    inputs = pd.read_csv(inputs_file, index_col="date", parse_dates=["date"])
    expected = pd.read_csv(expected_file, index_col="date", parse_dates=["date"])

    def group(prefix: str) -> pd.DataFrame:
        return inputs.filter(regex=f"^{prefix}/").rename(columns=lambda name: name.removeprefix(f"{prefix}/"))

    portfolio, equity = inputs["portfolio/ret"], inputs["equity/equity"]
    state, regimes, scalars = allocated(
        portfolio, equity, group("component"), OVERLAY, trend_units=group("trend_unit"), sleeves=group("sleeve")
    )
    eligible = pd.DatetimeIndex(portfolio.dropna().index.intersection(equity.dropna().index))
    content = documents(state, regimes, scalars, eligible, OVERLAY)

    counts = {name: row["sessions"] for name, row in content["regime"]["regimes"].items()}
    assert counts == {"NORMAL": 1077, "ELEVATED": 483, "STRESS": 130, "CRISIS": 6}
    changes = int((expected["regime"] != expected["regime"].shift()).sum()) - 1
    assert content["regime"]["transitions_per_year"] == changes * 252 / len(expected)
    assert sum(n for row in content["regime"]["transitions"].values() for n in row.values()) == changes
    assert content["regime"]["current"]["regime"] == expected["regime"].iloc[-1]
    assert content["scalar"]["scalar"]["mean"] == pytest.approx(0.9205731025491758, abs=1e-14)
    assert content["scalar"]["scalar"]["min"] == pytest.approx(0.3829480885565539, abs=1e-14)
    assert content["state"]["sessions"] == {
        "first": f"{expected.index[0]:%Y-%m-%d}",
        "last": f"{expected.index[-1]:%Y-%m-%d}",
        "count": 1696,
    }
    assert content["state"]["dropped"] == {"warm_up": 59, "beyond": 0, "beyond_share": 0.0, "sessions": []}
    assert content["state"]["features"]["corr_shock"]["max"] == pytest.approx(expected["corr_shock"].max(), abs=1e-12)
