"""Shrunk metrics: empirical Bayes against its formula, the spelling in a book, and the methods that read them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from weights_pipeline.core.metrics.measures import REASONS
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, Metric, target_weights
from weights_pipeline.core.targets.methods.minmax_tilt import MinmaxTilt
from weights_pipeline.core.targets.methods.power_tilt import PowerTilt
from weights_pipeline.core.targets.samples import Sample
from weights_pipeline.core.targets.shrinkage import shrunk

SESSIONS = pd.bdate_range("2020-01-01", periods=252).as_unit("us")
NAMES = ("a", "b", "c", "d")
EQUAL = dict.fromkeys(NAMES, 0.25)


SHRUNK = tuple(
    kind(metric=Metric(name=name, shrink=True), lookback="12m")
    for kind in (PowerTilt, MinmaxTilt)
    for name in ("sharpe", "calmar")
)


def measured(returns: np.ndarray) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Ratios a year at a rate of 0, and why one is null."""
    wealth = np.concatenate([np.ones((1, returns.shape[1])), np.cumprod(1 + returns, axis=0)])
    drawdown = (1 - wealth / np.maximum.accumulate(wealth, axis=0)).max(axis=0)
    calmar = np.full(len(drawdown), np.nan)
    np.divide(wealth[-1] - 1, drawdown, where=drawdown > 0, out=calmar)
    sharpe = returns.mean(axis=0) / returns.std(axis=0, ddof=1) * math.sqrt(252)
    why = ["" if known else "no_drawdown" for known in drawdown > 0]
    return {"sharpe": sharpe.tolist(), "calmar": calmar.tolist()}, {"calmar": why}


def section(returns: np.ndarray, names: tuple[str, ...] = NAMES) -> CrossSection:
    """The date after some returns, with their ratios."""
    values, reasons = measured(returns)
    found = CrossSection.of(
        dict.fromkeys(names, 0.25),
        {name: pd.Series(value, index=list(names)) for name, value in values.items()},
        {name: pd.Series(value, index=list(names)) for name, value in reasons.items()},
    )
    order = [names.index(name) for name in found.strategies]
    sample = Sample(sessions=SESSIONS, returns=returns[:, order], active=returns[:, order] != 0)
    return replace(found, sample=sample)


def lucky(seed: int) -> np.ndarray:
    """A year of four strategies, the last of which had fifteen wins and little else."""
    returns = np.random.default_rng(seed).normal(0.0006, 0.01, (252, 4))
    returns[:, 3] = 0.0
    returns[5:230:15, 3] = 0.02
    return returns


def test_golden_equal_errors_are_the_textbook_case():
    values = np.array([2.0, 1.0, 0.5, 0.0, 3.0])
    found = shrunk(values, np.full(5, 0.4))
    assert found.mean == pytest.approx(1.3)
    assert found.spread == pytest.approx(values.var(ddof=1) - 0.4)
    np.testing.assert_allclose(found.values, 1.3 + 1.05 / 1.45 * (values - 1.3), rtol=1e-12)


def test_values_that_differ_by_no_more_than_their_errors_are_one_value():
    found = shrunk(np.array([1.0, 1.1, 0.9]), np.full(3, 1.0))
    assert found.spread == 0
    np.testing.assert_allclose(found.values, 1.0, rtol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(6)))
@settings(deadline=None)
def test_shrinkage_draws_to_the_mean_whatever_the_order_and_the_uncertain_more(seed, order):
    rng = np.random.default_rng(seed)
    values, variances = rng.normal(0, 2, 6), rng.uniform(0.05, 4, 6)
    found = shrunk(values, variances)
    assert (np.abs(found.values - found.mean) <= np.abs(values - found.mean) + 1e-12).all()
    assert ((found.values - found.mean) * (values - found.mean) >= -1e-12).all()
    other = shrunk(values[list(order)], variances[list(order)])
    np.testing.assert_array_equal(other.values, found.values[list(order)])
    doubted = variances.copy()
    doubted[0] = math.inf
    assert shrunk(values, doubted).values[0] == shrunk(values, doubted).mean


def test_fewer_than_two_known_errors_leave_values_as_they_are():
    values = np.array([1.0, 5.0])
    found = shrunk(values, np.array([0.3, math.inf]))
    assert found.values is values
    assert math.isnan(found.mean)


@pytest.mark.parametrize("method", SHRUNK, ids=repr)
def test_fifteen_lucky_trades_do_not_reach_the_cap(method):
    returns = lucky(5)
    returns[100, 3] = -0.001
    found = section(returns)
    (name,) = method.reads
    plain = replace(method, metric=name)
    assert plain.multipliers(found, Limits()).value[3] > 1.95
    tilt = method.multipliers(found, Limits())
    np.testing.assert_array_equal(tilt.metric, found.values[name])
    np.testing.assert_array_equal(tilt.reason, found.reasons[name])
    others = tilt.score[:3]
    assert others.min() - 1e-12 <= tilt.score[3] <= others.max() + 1e-12
    assert tilt.value[3] < 2.0
    assert f"; {name} shrunk towards" in tilt.formula
    weights = target_weights(method, found, Limits())
    assert math.fsum(weights.target) == pytest.approx(1.0, abs=1e-15)
    assert weights.target[3] < 0.5


def test_a_gain_without_drawdown_is_as_uncertain_as_can_be():
    found = section(lucky(5))
    assert found.reasons["calmar"].tolist()[3] == REASONS.index("no_drawdown")
    method = PowerTilt(metric=Metric(name="calmar", shrink=True), lookback="12m")
    tilt = method.multipliers(found, Limits())
    others = tilt.score[:3]
    assert others.min() - 1e-12 <= tilt.score[3] <= others.max() + 1e-12
    assert np.isnan(tilt.metric[3])
    assert tilt.value[3] < 2.0
    assert replace(method, metric="calmar").multipliers(found, Limits()).value[3] == 2.0


@pytest.mark.parametrize("method", SHRUNK, ids=repr)
def test_a_null_stays_neutral_and_a_sample_is_needed(method):
    returns = np.random.default_rng(6).normal(0.001, 0.01, (252, 4))
    whole = section(returns)
    (name,) = method.reads
    ratios = whole.values[name].copy()
    ratios[1] = np.nan
    reasons = np.array([0, 1, 0, 0], dtype=np.int8)
    young = replace(whole, values={name: ratios}, reasons={name: reasons})
    tilt = method.multipliers(young, Limits())
    assert tilt.value[1] == 1.0
    assert np.isnan(tilt.score[1])
    with pytest.raises(ValueError, match="sample: expected the returns of the window"):
        method.multipliers(replace(whole, sample=None), Limits())


@pytest.mark.parametrize("method", SHRUNK, ids=repr)
def test_the_order_of_strategies_changes_nothing(method):
    returns = np.random.default_rng(8).normal([0.004, 0.001, 0.001, -0.002], 0.01, (252, 4))
    one, other = section(returns), section(returns, ("c", "a", "d", "b"))
    value = dict(zip(("c", "a", "d", "b"), method.multipliers(one, Limits()).value, strict=True))
    assert dict(zip(other.strategies, method.multipliers(other, Limits()).value, strict=True)) == value


def test_with_fewer_than_two_known_errors_the_plain_metric_is_read():
    returns = np.zeros((252, 4))
    returns[:, 0] = np.random.default_rng(9).normal(0.001, 0.01, 252)
    returns[3::17, 1:] = 0.01
    returns[0, 1:] = [0.0, -0.001, -0.002]
    method = PowerTilt(metric=Metric(name="calmar", shrink=True), lookback="12m")
    tilt, plain = (each.multipliers(section(returns), Limits()) for each in (method, replace(method, metric="calmar")))
    np.testing.assert_array_equal(tilt.value, plain.value)
    assert tilt.formula == f"{plain.formula}; calmar not shrunk, fewer than two have a known sampling error"


@pytest.mark.parametrize("method", SHRUNK, ids=repr)
def test_what_comes_after_a_rebalance_changes_nothing_in_it(method):
    returns = np.random.default_rng(7).normal([0.004, 0.001, 0.001, -0.002], 0.01, (400, 4))
    sessions = pd.bdate_range("2018-01-01", periods=420).as_unit("us")
    policy = Policy(base=EQUAL, method=replace(method, lookback="90d"), rate=0.5)
    as_of = sessions[[200, 300]]
    one = simulate(ReturnHistory.from_arrays(returns, sessions[:400], NAMES), as_of, sessions, policy)
    altered = returns.copy()
    altered[301:] *= -0.3
    other = simulate(ReturnHistory.from_arrays(altered, sessions[:400], NAMES), as_of, sessions, policy)
    np.testing.assert_array_equal(one.realized, other.realized)


def test_a_book_names_a_metric_or_says_that_it_is_shrunk():
    shrunk_calmar = {"name": "calmar", "shrink": True}
    read = TypeAdapter(PowerTilt | MinmaxTilt).validate_python
    method = read({"kind": "power_tilt", "metric": shrunk_calmar, "lookback": "12m"})
    assert method == PowerTilt(metric=Metric(name="calmar", shrink=True), lookback="12m")
    assert method.reads == ("calmar",)
    assert method.optimises
    assert TypeAdapter(PowerTilt).dump_python(method)["metric"] == shrunk_calmar
    plain = read({"kind": "minmax_tilt", "metric": {"name": "sortino"}, "lookback": "12m"})
    assert plain.reads == ("sortino",)
    assert not plain.optimises
    assert Policy(base=EQUAL, method=method).label("12m") == "calmar_12m"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"name": "sortino", "shrink": True},
            "shrink: the sampling error of sortino is not known, but of sharpe, calmar",
        ),
        ({"name": "alpha"}, "name: expected one of .*sharpe"),
        ({"name": "volatility", "shrink": True}, "name: of volatility less is better"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Metric(**given)


def test_a_shrunk_metric_has_one_window_and_no_weight_sets():
    by_regime = PowerTilt(
        metric=Metric(name="sharpe", shrink=True),
        lookback={"NORMAL": "12m", "ELEVATED": "6m", "STRESS": "90d", "CRISIS": "60d"},
    )
    with pytest.raises(ValueError, match="a shrunk metric has one window"):
        Policy(base=EQUAL, method=by_regime)
    with pytest.raises(ValueError, match="an ensemble reads metrics, not returns"):
        Policy(base=EQUAL, method=SHRUNK[0], ensemble=True)
