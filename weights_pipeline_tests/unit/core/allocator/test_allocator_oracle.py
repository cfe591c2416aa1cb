"""The allocator against the published run of a real futures book of 13 assets and two sleeves, 2020 to 2025.

The data are not part of this repository; without them these tests are skipped, and say so.
"""

from pathlib import Path

import pandas as pd
import pytest

from weights_pipeline.core.allocator.regime import REGIMES, regime_summary
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.state import OPTIONAL, REQUIRED, idle_sessions
from weights_pipeline_tests.support.allocated import Allocated, allocated

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
INPUTS, EXPECTED = DATA / "allocator_2020_2025_inputs.csv", DATA / "allocator_2020_2025_expected.csv"


def read(file: Path) -> pd.DataFrame:
    if not file.exists():
        pytest.skip(f"reference data not found: {file}")
    return pd.read_csv(file, index_col="date", parse_dates=["date"])


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return read(EXPECTED)


@pytest.fixture(scope="module")
def allocation() -> Allocated:
    inputs = read(INPUTS)

    def group(prefix: str) -> pd.DataFrame:
        columns = [name for name in inputs if name.startswith(prefix)]
        return inputs[columns].rename(columns=lambda name: name.removeprefix(prefix))

    return allocated(
        inputs["portfolio/ret"],
        inputs["equity/equity"],
        group("component/"),
        AllocatorParameters(profile="low"),
        trend_units=group("trend_unit/"),
        sleeves=group("sleeve/"),
    )


@pytest.mark.parametrize("feature", [*REQUIRED, *OPTIONAL])
def test_features_agree_to_1e_12(allocation: Allocated, expected: pd.DataFrame, feature: str) -> None:
    pd.testing.assert_series_equal(
        allocation.state.set_index("session")[feature], expected[feature], rtol=0, atol=1e-12, check_names=False
    )


def test_sessions_are_those_after_59_of_warm_up(allocation: Allocated, expected: pd.DataFrame) -> None:
    assert allocation.state["session"].tolist() == expected.index.tolist()
    assert not idle_sessions(allocation.state).any()


def test_regimes_are_identical(allocation: Allocated, expected: pd.DataFrame) -> None:
    regimes = allocation.regimes["regime"]
    assert regimes.tolist() == expected["regime"].tolist()
    assert regime_summary(regimes).by_regime["sessions"].to_dict() == dict(
        zip(REGIMES, (1077, 483, 130, 6), strict=True)
    )


def test_scalars_agree_to_1e_14(allocation: Allocated, expected: pd.DataFrame) -> None:
    scalars = allocation.scalars.set_index("session")["scalar"]
    pd.testing.assert_series_equal(scalars, expected["risk_scalar"], rtol=0, atol=1e-14, check_names=False)
    assert scalars.mean() == pytest.approx(0.9205731025491758, abs=1e-14)
    assert scalars.min() == pytest.approx(0.3829480885565539, abs=1e-14)
