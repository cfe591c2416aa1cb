"""Overlay: lag, gaps, disabled books, and the two-pass audit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.allocator.overlay import (
    STRESS_WINDOWS,
    AuditGates,
    ScalarInForce,
    StaleScalarError,
    applied_scalar,
    audit,
    audit_misses,
    scalar_in_force,
    scalars_in_force,
    scalars_on,
)
from weights_pipeline_tests.support.examples import examples

SESSIONS = pd.bdate_range("2024-01-01", periods=20)
SCALAR = pd.Series([0.5, 0.75, 0.25, 1.0], index=SESSIONS[10:14])


def overlay(at: int, *, lag: int = 1, enabled: bool = True, scalar: pd.Series = SCALAR) -> ScalarInForce:
    return scalar_in_force(scalar, SESSIONS[at], SESSIONS, lag=lag, enabled=enabled)


class TestScalarInForce:
    @pytest.mark.parametrize(("at", "lag", "scalar"), [(11, 1, 0.5), (12, 1, 0.75), (12, 2, 0.5), (16, 3, 1.0)])
    def test_it_is_that_of_the_session_a_lag_before(self, at: int, lag: int, scalar: float) -> None:
        for enabled in (True, False):
            expected = ScalarInForce(value=scalar, session=SESSIONS[at - lag], reason=None)
            assert overlay(at, lag=lag, enabled=enabled) == expected

    def test_lag_skips_days_without_a_session(self) -> None:
        monday = SESSIONS[15]
        assert monday.day_name() == "Monday"
        scalar = pd.Series([0.5], index=[monday - pd.Timedelta(days=3)])
        assert overlay(15, scalar=scalar).value == 0.5

    @pytest.mark.parametrize(("at", "lag"), [(10, 1), (11, 2), (0, 1), (1, 2)])
    def test_before_the_first_scalar_weights_are_unscaled(self, at: int, lag: int) -> None:
        result = overlay(at, lag=lag)
        assert (result.value, result.reason) == (1.0, "before the first scalar, that of 2024-01-15")
        assert pd.isna(result.session)

    @pytest.mark.parametrize("scalar", [SCALAR.iloc[:0], pd.Series(dtype=float), SCALAR * np.nan])
    def test_without_any_scalar_weights_are_unscaled(self, scalar: pd.Series) -> None:
        result = overlay(12, scalar=scalar)
        assert (result.value, result.reason) == (1.0, "no scalar has been computed yet")

    @pytest.mark.parametrize(
        ("at", "scalar", "needed", "latest"),
        [
            (15, SCALAR, "2024-01-19", "2024-01-18"),
            (13, SCALAR.drop(SESSIONS[12]), "2024-01-17", "2024-01-16"),
            (13, SCALAR.where(SCALAR != 0.25), "2024-01-17", "2024-01-16"),
        ],
    )
    def test_a_gap_stops_an_enabled_overlay_and_names_the_session(
        self, at: int, scalar: pd.Series, needed: str, latest: str
    ) -> None:
        with pytest.raises(StaleScalarError, match=f"no scalar for {needed}, the latest is that of {latest}"):
            overlay(at, scalar=scalar)

    def test_a_gap_of_a_disabled_overlay_is_null_with_a_reason(self) -> None:
        result = overlay(15, enabled=False)
        assert np.isnan(result.value)
        assert pd.isna(result.session)
        assert result.reason == "no scalar for 2024-01-19, the latest is that of 2024-01-18"

    def test_bad_calls_are_refused(self) -> None:
        with pytest.raises(ValueError, match="lag: expected at least 1 session, got 0"):
            overlay(12, lag=0)
        for day in ("2024-01-06", "2024-02-01"):
            with pytest.raises(ValueError, match=f"effective_from: expected a session of the calendar, got {day}"):
                scalar_in_force(SCALAR, pd.Timestamp(day), SESSIONS, lag=1, enabled=True)

    @settings(max_examples=25, deadline=None)
    @given(at=st.integers(11, 14), lag=st.integers(1, 3), future=st.floats(0.25, 1.0))
    def test_nothing_at_or_after_the_effective_session_counts(self, at: int, lag: int, future: float) -> None:
        revised = SCALAR.where(SCALAR.index < SESSIONS[at], future)
        assert overlay(at, lag=lag) == overlay(at, lag=lag, scalar=revised)


class TestAppliedScalar:
    def test_scalar_is_lagged_and_one_before_the_first(self) -> None:
        applied = applied_scalar(SCALAR, SESSIONS, 2)
        assert applied.iloc[:12].tolist() == [1.0] * 12
        assert applied.iloc[12:16].tolist() == SCALAR.tolist()

    def test_a_session_without_a_scalar_keeps_the_last(self) -> None:
        applied = applied_scalar(SCALAR.drop(SESSIONS[11]), SESSIONS, 1)
        assert applied.iloc[11:14].tolist() == [0.5, 0.5, 0.25]

    def test_lag_of_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match="lag: expected at least 1 session"):
            applied_scalar(SCALAR, SESSIONS, 0)


def whole(audited: pd.DataFrame) -> pd.DataFrame:
    return audited[audited["window"] == "all"].set_index(["portfolio", "metric"])


class TestManyDates:
    @examples(25)
    @given(lag=st.integers(1, 4), gaps=st.sets(st.integers(11, 13), max_size=2), enabled=st.booleans())
    def test_each_date_is_the_one_alone(self, lag: int, gaps: set[int], enabled: bool) -> None:
        scalar = SCALAR.mask(SCALAR.index.isin(SESSIONS[list(gaps)]))
        for dates in (SESSIONS[: 10 + lag], SESSIONS[10 : 14 + lag], SESSIONS):
            alone = []
            try:
                for date in dates:
                    alone.append(scalar_in_force(scalar, date, SESSIONS, lag=lag, enabled=enabled))
            except StaleScalarError as error:
                with pytest.raises(StaleScalarError, match=str(error)):
                    scalars_in_force(scalar, dates, SESSIONS, lag=lag, enabled=enabled)
                continue
            values, sessions = scalars_in_force(scalar, dates, SESSIONS, lag=lag, enabled=enabled)
            np.testing.assert_array_equal(values, [used.value for used in alone])
            assert [str(session) for session in sessions] == [str(used.session) for used in alone]

    def test_dates_outside_the_calendar_and_a_lag_of_zero_are_refused(self) -> None:
        for day in ("2024-01-06", "2024-02-01"):
            with pytest.raises(ValueError, match=f"effective_from: expected a session of the calendar, got {day}"):
                scalars_in_force(SCALAR, pd.DatetimeIndex([SESSIONS[12], day]), SESSIONS, lag=1, enabled=True)
        with pytest.raises(ValueError, match="lag: expected at least 1 session, got 0"):
            scalars_in_force(SCALAR, SESSIONS, SESSIONS, lag=0, enabled=True)

    def test_a_sleeve_is_read_on_the_sessions_of_the_book(self) -> None:
        values, sessions = scalars_in_force(SCALAR, SESSIONS[10:14], SESSIONS, lag=1, enabled=True)
        own = scalars_on(SCALAR / 2, "sleeve trend", values, sessions, enabled=True)
        assert own.tolist() == [1.0, 0.25, 0.375, 0.125]
        short = (SCALAR / 2).drop(SESSIONS[11])
        assert np.isnan(scalars_on(short, "sleeve trend", values, sessions, enabled=False)).tolist() == [False] * 2 + [
            True,
            False,
        ]
        with pytest.raises(StaleScalarError, match="sleeve trend: no scalar for 2024-01-16, for which the book has"):
            scalars_on(short, "sleeve trend", values, sessions, enabled=True)


class TestAudit:
    @staticmethod
    def run(returns: pd.Series, scalar: float = 0.5, regimes: list[str] | None = None) -> pd.Series:
        factor = pd.Series(scalar, index=returns.index)
        frame = audit(returns, returns * factor, factor, pd.Series(regimes or ["NORMAL"] * 4))
        assert list(frame.columns) == ["window", "portfolio", "metric", "value", "reason"]
        assert (frame["value"].isna() == (frame["reason"] != "")).all()
        assert frame["window"].unique().tolist() == ["all", *STRESS_WINDOWS]
        return whole(frame)["value"]

    def test_worked_year(self) -> None:
        index = pd.bdate_range("2023-01-02", periods=252)
        returns = pd.Series(np.where(np.arange(252) % 2, 0.02, -0.01), index=index)
        values = self.run(returns)
        assert values["unscaled", "cagr"] == pytest.approx((0.99 * 1.02) ** 126 - 1.0)
        assert values["scaled", "cagr"] == pytest.approx((0.995 * 1.01) ** 126 - 1.0)
        assert values["unscaled", "sharpe"] == pytest.approx(0.005 / (0.015 * np.sqrt(252 / 251)) * np.sqrt(252))
        assert values["scaled", "sharpe"] == pytest.approx(values["unscaled", "sharpe"])
        assert values["unscaled", "volatility"] == pytest.approx(0.015 * np.sqrt(252 / 251) * np.sqrt(252))
        assert values["unscaled", "sortino"] == pytest.approx(0.005 / (0.01 / np.sqrt(2)) * np.sqrt(252))
        assert (values["unscaled", "worst_day"], values["scaled", "worst_day"]) == (-0.01, -0.005)
        assert values["scaled", "volatility"] == pytest.approx(values["unscaled", "volatility"] / 2)
        assert values["unscaled", "max_drawdown"] == pytest.approx(0.01)
        assert values["scaled", "max_drawdown"] == pytest.approx(0.005)

    def test_loss_of_the_first_session_is_a_drawdown(self) -> None:
        values = self.run(pd.Series([-0.2, 0.5, -0.1], index=SESSIONS[:3]))
        assert values["unscaled", "max_drawdown"] == pytest.approx(0.2)
        assert values["scaled", "max_drawdown"] == pytest.approx(0.1)

    def test_worst_month_compounds_calendar_months(self) -> None:
        index = pd.to_datetime(["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-29"])
        values = self.run(pd.Series([-0.1, -0.1, 0.5, -0.2], index=index))
        assert values["unscaled", "worst_month"] == pytest.approx(0.9 * 0.9 - 1.0)
        assert values["scaled", "worst_month"] == pytest.approx(0.95 * 0.95 - 1.0)

    @pytest.mark.parametrize(("scalar", "share"), [(1.0, 0.0), (0.99, 0.0), (0.98, 1.0)])
    def test_share_scaled_starts_below_the_threshold(self, scalar: float, share: float) -> None:
        values = self.run(pd.Series(0.01, index=SESSIONS), scalar)
        assert (values["scaled", "share_scaled"], values["scaled", "mean_scalar"]) == (share, pytest.approx(scalar))

    def test_transitions_are_counted_per_year(self) -> None:
        regimes = ["NORMAL", "STRESS", "STRESS", "NORMAL"] * 63
        values = self.run(pd.Series(0.01, index=SESSIONS), regimes=regimes)
        assert values["scaled", "transitions_per_year"] == 126.0

    def test_constant_returns_have_no_sharpe(self) -> None:
        returns = pd.Series(0.001, index=pd.bdate_range("2024-01-01", periods=60))
        frame = whole(audit(returns, returns, returns * 0 + 1, pd.Series(["NORMAL"])))
        assert frame.loc[("unscaled", "sharpe"), "reason"] == "zero_volatility"
        assert frame.loc[("unscaled", "sortino"), "reason"] == "no_loss"
        assert frame.loc[("unscaled", "volatility"), "value"] == 0.0
        assert frame.loc[("unscaled", "cagr"), "value"] == pytest.approx(1.001**252 - 1.0)

    def test_too_little_history_says_so(self) -> None:
        short = self.run(pd.Series([0.5, -0.1], index=SESSIONS[:2]))
        assert np.isnan(short["unscaled", "cagr"])
        assert np.isnan(short["unscaled", "sharpe"])
        assert short["unscaled", "max_drawdown"] == pytest.approx(0.1)
        none = pd.Series(dtype=float, index=SESSIONS[:0])
        frame = audit(none, none, none, pd.Series(dtype=str))
        assert frame["value"].isna().all()
        assert set(whole(frame)["reason"]) == {"insufficient"}
        assert set(frame.loc[frame["window"] != "all", "reason"]) == {"not covered"}

    def test_windows_of_stress_are_told_apart_from_history_that_does_not_cover_them(self) -> None:
        index = pd.bdate_range("2018-10-01", "2022-12-29")
        returns = pd.Series(0.001, index=index)
        returns["2018-10-02"], returns["2018-12-31"], returns["2020-03-16"] = -0.1, -0.05, -0.2
        exposure = pd.Series(1.0, index=index)
        exposure["2020-03-17":"2020-03-31"] = 0.5
        frame = audit(returns, returns * exposure, exposure, pd.Series(["NORMAL"]))
        found = frame.set_index(["window", "portfolio", "metric"])
        value, reason = found["value"], found["reason"]
        quarter = pd.bdate_range("2018-10-01", "2018-12-31")
        assert value["2018-Q4", "unscaled", "total_return"] == pytest.approx(
            1.001 ** (len(quarter) - 2) * 0.9 * 0.95 - 1.0
        )
        assert value["2018-Q4", "unscaled", "worst_day"] == -0.1
        assert value["2020-03", "scaled", "max_drawdown"] == pytest.approx(0.2)
        assert value["2020-03", "scaled", "share_scaled"] == 11 / 22
        assert value["2018-Q4", "scaled", "share_scaled"] == 0.0
        assert value["2020-03", "scaled", "total_return"] == pytest.approx(1.001**10 * 0.8 * 1.0005**11 - 1.0)
        for window in ("2015-08", "2022"):
            assert set(reason[window]) == {"not covered"}
            assert len(value[window]) == 7

    def test_bad_input_is_refused(self) -> None:
        returns, regimes = pd.Series(0.01, index=SESSIONS), pd.Series(["NORMAL"])
        ones = returns * 0 + 1
        with pytest.raises(ValueError, match="on the same sessions"):
            audit(returns, returns.iloc[1:], ones, regimes)
        with pytest.raises(ValueError, match=r"scaled: expected returns above -1, got -1\.0 on 2024-01-01"):
            audit(returns, returns - 1.01, ones, regimes)
        with pytest.raises(ValueError, match="unscaled: expected returns above -1, got nan on 2024-01-26"):
            audit(returns.iloc[:-1].reindex(SESSIONS), returns, ones, regimes)
        with pytest.raises(ValueError, match="exposure: expected no null, got one on 2024-01-01"):
            audit(returns, returns, ones * np.nan, regimes)


class TestGates:
    @staticmethod
    def audited(**changes: float) -> pd.DataFrame:
        figures = {
            ("unscaled", "sharpe"): 1.0,
            ("unscaled", "max_drawdown"): 0.25,
            ("scaled", "sharpe"): 0.9,
            ("scaled", "max_drawdown"): 0.25,
            ("scaled", "share_scaled"): 0.6,
            ("scaled", "transitions_per_year"): 24.0,
        }
        figures |= {("scaled", name): value for name, value in changes.items()}
        rows = [("all", *key, value, "") for key, value in figures.items()]
        return pd.DataFrame(rows, columns=["window", "portfolio", "metric", "value", "reason"])

    def test_figures_at_the_limits_keep_them(self) -> None:
        gates = AuditGates(min_sharpe_change=0.9 - 1.0)
        found = audit_misses(self.audited(), gates)
        assert (list(found), len(found)) == (["gate", "value", "limit"], 0)

    @pytest.mark.parametrize(
        ("metric", "figure", "gate", "value", "limit"),
        [
            ("sharpe", 0.75, "min_sharpe_change", -0.25, -0.10),
            ("max_drawdown", 0.375, "max_drawdown_ratio", 1.5, 1.0),
            ("share_scaled", 0.75, "max_share_scaled", 0.75, 0.6),
            ("transitions_per_year", 25.0, "max_transitions_per_year", 25.0, 24.0),
        ],
    )
    def test_a_miss_names_gate_value_and_limit(
        self, metric: str, figure: float, gate: str, value: float, limit: float
    ) -> None:
        found = audit_misses(self.audited(**{"sharpe": 1.0, metric: figure}), AuditGates())
        assert found.to_dict("records") == [{"gate": gate, "value": value, "limit": limit}]

    def test_what_cannot_be_measured_misses_no_gate(self) -> None:
        nothing = dict.fromkeys(("sharpe", "max_drawdown", "share_scaled", "transitions_per_year"), np.nan)
        assert audit_misses(self.audited(**nothing), AuditGates()).empty
        flat = self.audited(sharpe=1.0)
        flat.loc[flat["metric"] == "max_drawdown", "value"] = 0.0
        assert audit_misses(flat, AuditGates()).empty

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("min_sharpe_change", np.nan),
            ("max_drawdown_ratio", 0.0),
            ("max_drawdown_ratio", np.inf),
            ("max_share_scaled", 1.1),
            ("max_share_scaled", -0.1),
            ("max_transitions_per_year", -1.0),
            ("max_transitions_per_year", np.inf),
        ],
    )
    def test_limits_that_cannot_be_are_refused(self, key: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"{key}: expected"):
            AuditGates(**{key: value})
