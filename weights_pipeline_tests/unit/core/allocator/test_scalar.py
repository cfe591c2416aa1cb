"""Risk scalars: profiles, smoothing, parameters and the chain from portfolio to scalar."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from weights_pipeline.core.allocator.overlay import AuditGates
from weights_pipeline.core.allocator.regime import REGIMES, RegimeThresholds
from weights_pipeline.core.allocator.scalar import (
    PROFILES,
    AllocatorParameters,
    Profile,
    parameter_hash,
    risk_scalar,
    smoothing_alpha,
)
from weights_pipeline_tests.support.allocated import allocated
from weights_pipeline_tests.support.examples import examples

LOW = PROFILES["low"]
paths = st.lists(st.sampled_from(REGIMES), min_size=1, max_size=30)


def series(*regimes: str) -> pd.Series:
    return pd.Series(list(regimes), index=pd.bdate_range("2024-01-01", periods=len(regimes)), dtype=str)


class TestProfiles:
    @pytest.mark.parametrize(
        ("name", "targets", "alpha", "floor"),
        [
            ("low", (1.00, 0.85, 0.55, 0.30), 0.25, 0.25),
            ("medium", (1.00, 0.90, 0.70, 0.45), 0.20, 0.35),
            ("high", (1.00, 0.98, 0.85, 0.60), 0.15, 0.50),
        ],
    )
    def test_published_numbers(self, name: str, targets: tuple[float, ...], alpha: float, floor: float) -> None:
        profile = PROFILES[name]
        assert tuple(profile.map[regime] for regime in REGIMES) == targets
        assert (profile.alpha, profile.floor, profile.cap) == (alpha, floor, 1.0)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"map": {**LOW.map, "STRESS": 0.9}}, "map: .* got ELEVATED 0.85 and STRESS 0.9"),
            ({"map": {**LOW.map, "NORMAL": 1.1}}, "map: expected scalars in"),
            ({"map": {**LOW.map, "CRISIS": -0.1}}, "map: expected scalars in"),
            ({"map": {**LOW.map, "CRISIS": float("nan")}}, "map: expected scalars in"),
            ({"map": {"NORMAL": 1.0}}, "map: expected a scalar for each of NORMAL, ELEVATED, STRESS, CRISIS"),
            ({"map": {**LOW.map, "PANIC": 0.1}}, "map: expected a scalar for each"),
            ({"alpha": 0.0}, "alpha: expected a number in"),
            ({"alpha": 1.01}, "alpha: expected a number in"),
            ({"floor": 0.0}, "floor, cap: expected 0 < floor <= cap <= 1"),
            ({"floor": 0.9, "cap": 0.8}, "floor, cap: expected"),
            ({"cap": 1.5}, "floor, cap: expected"),
        ],
    )
    def test_inconsistent_profiles_are_refused(self, change: dict[str, object], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            replace(LOW, **change)


class TestSmoothing:
    def test_worked_path(self) -> None:
        result = risk_scalar(series("NORMAL", "STRESS", "STRESS", "NORMAL"), LOW)
        assert result["target"].tolist() == [1.0, 0.55, 0.55, 1.0]
        expected = [1.0, 0.75 + 0.25 * 0.55]
        expected.append(0.75 * expected[1] + 0.25 * 0.55)
        expected.append(0.75 * expected[2] + 0.25)
        assert result["scalar"].tolist() == expected
        assert expected[1:] == pytest.approx([0.8875, 0.803125, 0.85234375])

    def test_seeded_at_the_first_target(self) -> None:
        assert risk_scalar(series("CRISIS"), LOW)["scalar"].tolist() == [0.30]

    @pytest.mark.parametrize("name", PROFILES)
    @pytest.mark.parametrize("regime", REGIMES)
    def test_a_lasting_regime_keeps_exactly_its_target(self, name: str, regime: str) -> None:
        result = risk_scalar(series(*[regime] * 50), PROFILES[name])
        assert set(result["scalar"]) == {PROFILES[name].map[regime]}

    def test_floor_above_a_target_binds_and_does_not_wind_up(self) -> None:
        profile = replace(LOW, floor=0.5)
        scalars = risk_scalar(series("NORMAL", *["CRISIS"] * 30, "NORMAL"), profile)["scalar"]
        assert scalars.iloc[-2] == scalars.min() == 0.5
        assert scalars.iloc[-1] == 0.75 * 0.5 + 0.25

    def test_cap_binds(self) -> None:
        assert risk_scalar(series("NORMAL", "ELEVATED"), replace(LOW, cap=0.8))["scalar"].tolist() == [
            0.8,
            0.8,
        ]

    def test_alpha_of_one_is_the_target_itself(self) -> None:
        result = risk_scalar(series(*REGIMES), replace(LOW, alpha=1.0))
        assert result["scalar"].tolist() == result["target"].tolist()

    def test_half_life_halves_the_gap(self) -> None:
        assert smoothing_alpha(1.0) == 0.5
        profile = replace(LOW, alpha=smoothing_alpha(6.0))
        scalars = risk_scalar(series("NORMAL", *["STRESS"] * 6), profile)["scalar"]
        assert scalars.iloc[-1] - 0.55 == pytest.approx((1.0 - 0.55) / 2.0)

    def test_bad_regimes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="got 'CALM' on 2024-01-01"):
            risk_scalar(series("CALM"), LOW)

    def test_no_session_has_no_scalar(self) -> None:
        assert risk_scalar(series(), LOW).shape == (0, 2)

    @examples(50)
    @given(regimes=paths, others=paths, name=st.sampled_from([*PROFILES]))
    def test_more_stress_never_raises_the_scalar(self, regimes: list[str], others: list[str], name: str) -> None:
        both = list(zip(regimes, others, strict=False))
        worse = [max(pair, key=REGIMES.index) for pair in both]
        calm, stressed = (risk_scalar(series(*p), PROFILES[name]) for p in ([a for a, _ in both], worse))
        assert (stressed["target"] <= calm["target"]).all()
        assert (stressed["scalar"] <= calm["scalar"] + 1e-15).all()

    @examples(50)
    @given(regimes=paths, name=st.sampled_from([*PROFILES]), shares=st.lists(st.floats(0, 1), min_size=4, max_size=4))
    def test_a_sleeve_cut_harder_than_the_book_never_has_a_larger_scalar(
        self, regimes: list[str], name: str, shares: list[float]
    ) -> None:
        book = PROFILES[name].map
        harder = {r: book[r] * share for r, share in zip(REGIMES, sorted(shares, reverse=True), strict=True)}
        profiles = AllocatorParameters(profile=name, sleeve_maps={"x": harder}).profiles()
        scalars = {sleeve: risk_scalar(series(*regimes), profile)["scalar"] for sleeve, profile in profiles.items()}
        assert (scalars["x"] <= scalars[""] + 1e-15).all()

    @examples(50)
    @given(regimes=paths, name=st.sampled_from([*PROFILES]))
    def test_scalar_stays_in_bounds_and_moves_by_at_most_alpha_of_the_gap(self, regimes: list[str], name: str) -> None:
        profile = PROFILES[name]
        result = risk_scalar(series(*regimes), profile)
        assert result["scalar"].between(profile.floor, profile.cap).all()
        gap = (result["target"] - result["scalar"].shift()).abs()
        assert (result["scalar"].diff().abs() <= profile.alpha * gap + 1e-15).iloc[1:].all()

    @examples(50)
    @given(regimes=paths, data=st.data(), floor=st.sampled_from([0.25, 0.6]))
    def test_appending_changes_no_past_bit(self, regimes: list[str], data: st.DataObject, floor: float) -> None:
        profile, cut = replace(LOW, floor=floor), data.draw(st.integers(1, len(regimes)))
        whole = risk_scalar(series(*regimes), profile)
        head = risk_scalar(series(*regimes[:cut]), profile)
        pd.testing.assert_frame_equal(head, whole.iloc[:cut], check_exact=True, check_freq=False)


class TestParameters:
    def test_half_life_takes_the_place_of_alpha(self) -> None:
        assert AllocatorParameters().resolved_profile() == LOW
        assert AllocatorParameters(half_life=2.0).resolved_profile() == replace(LOW, alpha=1 - 2**-0.5)
        own = replace(LOW, alpha=0.5)
        assert AllocatorParameters(profile=own).resolved_profile() == own

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"profile": "bold"}, "profile: expected one of low, medium, high, got 'bold'"),
            ({"lag": 0}, "lag: expected at least 1 session, got 0"),
            ({"half_life": 0.0}, "half_life: expected a positive number of sessions"),
            ({"half_life": float("inf")}, "half_life: expected a positive number of sessions"),
            ({"apply": "hourly"}, "apply: expected one of rebalance, daily, got 'hourly'"),
            ({"sleeve_maps": {"": LOW.map}}, "sleeve_maps: expected names of sleeves, got an empty one"),
            ({"sleeve_maps": {"x": {"NORMAL": 1.0}}}, "sleeve_maps.x: expected a scalar for each of NORMAL, ELEVATED"),
            ({"sleeve_maps": {"x": {**LOW.map, "STRESS": 0.9}}}, "sleeve_maps.x: .* got ELEVATED 0.85 and STRESS 0.9"),
        ],
    )
    def test_bad_parameters_are_refused(self, change: dict[str, object], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            replace(AllocatorParameters(), **change)

    def test_a_book_section_validates_into_parameters(self) -> None:
        adapter = TypeAdapter(AllocatorParameters)
        section = {
            "enabled": False,
            "profile": "high",
            "lag": 2,
            "thresholds": {"stepwise": True},
            "sleeves": {"a": "x"},
            "sleeve_maps": {"x": {"NORMAL": 1, "ELEVATED": 1, "STRESS": 0.5, "CRISIS": 0}},
            "apply": "daily",
            "audit": {"max_share_scaled": 0.5},
        }
        assert adapter.validate_python(section) == AllocatorParameters(
            enabled=False,
            profile="high",
            lag=2,
            thresholds=RegimeThresholds(stepwise=True),
            sleeves={"a": "x"},
            sleeve_maps={"x": {"NORMAL": 1.0, "ELEVATED": 1.0, "STRESS": 0.5, "CRISIS": 0.0}},
            apply="daily",
            audit=AuditGates(max_share_scaled=0.5),
        )
        own = {"map": {"NORMAL": 1, "ELEVATED": 1, "STRESS": 0.5, "CRISIS": 0}, "alpha": 1, "floor": 0.1}
        assert adapter.validate_python({"profile": own}).resolved_profile().map["CRISIS"] == 0.0
        for unknown in (
            {"enable": True},
            {"audit": {"min_sharpe": 0}},
            {"apply": "hourly"},
            {"thresholds": {"dd": -0.1}},
            {"profile": {**own, "ceiling": 1}},
        ):
            with pytest.raises(ValidationError):
                adapter.validate_python(unknown)

    def test_hash_follows_the_meaning(self) -> None:
        default = parameter_hash(AllocatorParameters())
        assert default == "33b594efcbd3241ef32b6b0b2f33b3a37f555d704bb3845882299f7d8471b26f"
        assert parameter_hash(AllocatorParameters(profile=LOW)) == default
        spelled = Profile(map={r: LOW.map[r] for r in reversed(REGIMES)}, alpha=0.25, floor=0.25, cap=1)
        assert parameter_hash(AllocatorParameters(profile=spelled)) == default
        assert parameter_hash(AllocatorParameters(sleeves={"b": "y", "a": "x"})) == parameter_hash(
            AllocatorParameters(sleeves={"a": "x", "b": "y"})
        )
        changed = [
            AllocatorParameters(enabled=False),
            AllocatorParameters(profile="medium"),
            AllocatorParameters(half_life=5.0),
            AllocatorParameters(lag=2),
            AllocatorParameters(thresholds=RegimeThresholds(min_stay=6)),
            AllocatorParameters(sleeves={"a": "x"}),
            AllocatorParameters(sleeve_maps={"x": LOW.map}),
            AllocatorParameters(sleeve_maps={"x": PROFILES["high"].map}),
            AllocatorParameters(apply="daily"),
        ]
        assert parameter_hash(AllocatorParameters(audit=AuditGates(max_share_scaled=0.5))) == default
        assert len({default, *map(parameter_hash, changed)}) == len(changed) + 1

    def test_a_mapped_sleeve_has_the_profile_but_for_the_map(self) -> None:
        parameters = AllocatorParameters(
            half_life=3.0, sleeves={"a": "x", "b": "x", "c": "y"}, sleeve_maps={"x": PROFILES["high"].map, "d": LOW.map}
        )
        profiles = parameters.profiles()
        assert list(profiles) == ["", "d", "x"]
        assert profiles[""] == profiles["d"] == parameters.resolved_profile()
        assert profiles["x"] == replace(profiles[""], map=PROFILES["high"].map)
        assert [parameters.scaled_by(name) for name in "abcde"] == ["x", "x", "", "d", ""]


class TestChain:
    @staticmethod
    def stressed_book(sessions: int) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
        """A calm year, then a common fall, then calm again."""
        rng = np.random.default_rng(3)
        returns = rng.normal(0.0003, 0.005, (sessions, 4))
        returns[100:130] += rng.normal(-0.008, 0.02, (len(returns[100:130]), 1))
        index = pd.bdate_range("2020-01-01", periods=sessions)
        components = pd.DataFrame(returns, index=index, columns=list("abcd"))
        portfolio = components.mean(axis=1)
        return portfolio, (1.0 + portfolio).cumprod(), components

    def test_chain_visits_regimes_and_scales_down(self) -> None:
        result = allocated(*self.stressed_book(220), AllocatorParameters())
        assert set(result.regimes["regime"]) >= {"NORMAL", "CRISIS"}
        assert result.scalars["scalar"].iloc[0] == 1.0
        assert result.scalars["scalar"].min() < 0.6
        assert result.scalars["session"].equals(result.state["session"])

    @staticmethod
    def inputs(seed: int, sessions: int, gaps: float = 0.0) -> dict[str, pd.DataFrame | pd.Series]:
        """A book with a fall, a late component, and gaps in all that may have them."""
        rng = np.random.default_rng(seed)
        portfolio, equity, components = TestChain.stressed_book(sessions)
        components.iloc[:70, 1] = np.nan
        components = components.mask(rng.random(components.shape) < gaps)
        return {
            "portfolio": portfolio.mask(rng.random(sessions) < gaps),
            "equity": equity.mask(rng.random(sessions) < gaps),
            "components": components,
            "trend_units": components / 4,
            "sleeves": components.fillna(0.0)[["a", "c"]],
        }

    PARAMETERS = AllocatorParameters(
        profile="medium",
        half_life=4.0,
        thresholds=RegimeThresholds(stepwise=True),
        sleeve_maps={"a": {"NORMAL": 0.9, "ELEVATED": 0.6, "STRESS": 0.2, "CRISIS": 0.1}},
    )

    @examples(10)
    @given(seed=st.integers(0, 999), cut=st.integers(1, 219), fate=st.floats(-3.0, 3.0))
    def test_what_comes_after_a_session_changes_no_bit_up_to_it(self, seed: int, cut: int, fate: float) -> None:
        inputs = self.inputs(seed, 220, 0.02)
        later = {name: values.copy() for name, values in inputs.items() if name != "equity"}
        for values in later.values():
            values.iloc[cut:] *= fate
        other = inputs["equity"].copy()
        other.iloc[cut:] *= 1.5
        until = inputs["components"].index[cut - 1]
        whole = allocated(**inputs, parameters=self.PARAMETERS)
        for changed in (later | {"equity": other}, {name: values.iloc[:cut] for name, values in inputs.items()}):
            found = allocated(**changed, parameters=self.PARAMETERS)
            for one, expected in zip(found, whole, strict=True):
                seen, known = (rows[rows["session"] <= until].reset_index(drop=True) for rows in (one, expected))
                pd.testing.assert_frame_equal(seen, known, check_exact=True)
