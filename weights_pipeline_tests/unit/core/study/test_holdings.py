"""Risk of the weights held: against finite differences, SciPy's trees and what is known in closed form."""

import math

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.core.study.holdings import cluster_order, effective_bets, holdings_risk

SESSIONS = pd.bdate_range("2020-01-01", periods=300)


@pytest.fixture(scope="module")
def returns():
    generator = np.random.default_rng(8)
    common = generator.normal(0, 0.01, (300, 1)) * [1.0, 1.0, 0.0, 0.0, -0.5]
    frame = pd.DataFrame(common + generator.normal(0, 0.006, (300, 5)), index=SESSIONS, columns=list("abcde"))
    return frame.assign(idle=np.where(SESSIONS[30] > SESSIONS, 0.001, np.nan))


WEIGHTS = {"a": 0.3, "b": 0.3, "c": 0.2, "d": 0.1, "e": 0.05, "idle": 0.05}


def test_contributions_are_derivatives_and_add_up_to_the_volatility(returns):
    found = holdings_risk(WEIGHTS, returns)
    table = found.by_strategy
    covariance = returns.iloc[-252:].fillna(0.0).cov() * 252

    def volatility(weights):
        w = pd.Series(weights)
        return math.sqrt(w @ covariance.loc[w.index, w.index] @ w)

    assert found.volatility == pytest.approx(volatility(WEIGHTS), rel=1e-12)
    assert math.fsum(table["contribution"]) == pytest.approx(found.volatility, rel=1e-12)
    assert math.fsum(table["share"]) == pytest.approx(1.0, rel=1e-12)
    for name in WEIGHTS:
        step = 1e-6
        more, less = (volatility(WEIGHTS | {name: WEIGHTS[name] + sign * step}) for sign in (1, -1))
        assert table.loc[name, "marginal"] == pytest.approx((more - less) / (2 * step), abs=1e-8)
    assert found.idle == ("idle",)
    assert found.diversification > 1.0
    assert (found.largest, found.top_five) == pytest.approx((0.3, 0.95))
    assert found.holdings == pytest.approx(1 / sum(w**2 for w in WEIGHTS.values()))


def test_correlations_stand_in_the_order_of_scipys_tree(returns):
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    found = holdings_risk(WEIGHTS, returns).correlations
    ordered = returns.iloc[-252:][list("abcde")].corr()
    distance = np.sqrt((1 - ordered.to_numpy()) / 2)
    expected = leaves_list(linkage(squareform(distance, checks=False), "average"))
    assert list(found.index) == list(found.columns) == [ordered.index[at] for at in expected]
    pd.testing.assert_frame_equal(found, ordered.loc[found.index, found.columns])


@pytest.mark.parametrize("seed", range(5))
def test_any_correlations_are_ordered_as_scipy_does(seed):
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    correlations = np.corrcoef(np.random.default_rng(seed).normal(size=(12, 40)))
    tree = linkage(squareform(np.sqrt((1 - correlations) / 2), checks=False), "average")
    assert cluster_order(correlations) == leaves_list(tree).tolist()
    assert cluster_order(correlations[:1, :1]) == [0]
    assert cluster_order(np.empty((0, 0))) == []


def test_bets_are_counted_between_one_and_all():
    assert effective_bets(np.full(4, 0.25), np.eye(4)) == pytest.approx(4.0)
    assert effective_bets(np.array([1.0, 0.0]), np.eye(2)) == pytest.approx(1.0)
    assert effective_bets(np.full(3, 1 / 3), np.ones((3, 3))) == pytest.approx(1.0, abs=1e-9)
    assert math.isnan(effective_bets(np.ones(2), np.zeros((2, 2))))


def test_the_worst_month_of_each_at_the_same_time():
    sessions = pd.bdate_range("2021-01-01", "2021-06-30")
    returns = pd.DataFrame({"a": 0.0, "b": 0.0, "never": np.nan}, index=sessions)
    returns.loc["2021-02-02", "a"], returns.loc["2021-02-03", "a"] = -0.1, -0.1
    returns.loc["2021-04-01", "b"] = -0.05
    found = holdings_risk({"a": 0.5, "b": 0.4, "never": 0.1}, returns)
    assert found.worst_months["month"].astype(str).to_dict() == {"a": "2021-02", "b": "2021-04"}
    assert found.all_at_once == pytest.approx(0.5 * (0.9**2 - 1) - 0.4 * 0.05)
    assert str(found.replayed[0]) == "2021-02"
    assert found.replayed[1] == pytest.approx(0.95**2 - 1)


def test_too_few_returns_say_nothing(returns):
    assert holdings_risk(WEIGHTS, returns.iloc[:59]) is None
    still = holdings_risk({"a": 1.0}, returns[["a"]] * 0.0)
    assert math.isnan(still.bets)
    assert still.volatility == 0.0
    assert still.correlations.empty
