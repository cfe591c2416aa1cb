"""Optimisers of skfolio: its own answers inside a book's limits, names and values refused, failures that stop a run."""

import importlib
import json
import math
import subprocess
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from weights_pipeline.core import chain
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.core.targets.methods.base import CrossSection, Limits, target_weights
from weights_pipeline.core.targets.methods.skfolio import Skfolio, _chosen
from weights_pipeline.core.targets.optimise import skfolio_estimators
from weights_pipeline.core.targets.optimise.problem import NoSolutionError, Problem
from weights_pipeline.core.targets.samples import Sample
from weights_pipeline_tests.support.examples import examples

pytestmark = [pytest.mark.xdist_group("skfolio"), pytest.mark.usefixtures("sk")]

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def sk():
    """Names of skfolio, which only who runs these tests waits for."""
    skfolio = pytest.importorskip("skfolio", reason="an extra: pip install -e '.[skfolio]'")
    parts = [importlib.import_module(f"skfolio.{name}") for name in skfolio_estimators.MODULES]
    return SimpleNamespace(**{name: value for part in (skfolio, *parts) for name, value in vars(part).items()})


def drawn(n=5, sessions=252, seed=7):
    """Returns with fat tails and a common factor; strategies are the calmer the later they come."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(5, (sessions, n)) + 0.5 * rng.standard_t(5, (sessions, 1))
    return 0.0004 + noise * np.linspace(0.008, 0.003, n)


def uncorrelated(*volatilities):
    """Strategies without mean and without correlation in the sample."""
    days = np.arange(2 ** len(volatilities))
    return np.column_stack([np.where(days >> at & 1, 1, -1) * each for at, each in enumerate(volatilities)])


def problem(returns, lower=0.0, upper=1.0, gross=1.0, slack=0.0):
    n = returns.shape[1]
    low, high = (np.broadcast_to(np.asarray(limit, dtype=float), n).copy() for limit in (lower, upper))
    return Problem(returns=returns, lower=low, upper=high, gross=gross, slack=slack, periods=252, strategies=NAMES[:n])


def solved(optimiser, returns, **limits):
    named = {"kind": optimiser} if isinstance(optimiser, str) else optimiser
    return Skfolio(optimiser=named).solve(problem(returns, **limits))


def fitted(estimator, returns, **parameters):
    names = list(NAMES[: returns.shape[1]])
    return estimator.set_params(**parameters).fit(pd.DataFrame(returns, columns=names)).weights_


# --- the answers of skfolio ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimiser", "expected"),
    [
        ("MeanRisk", [16 / 21, 4 / 21, 1 / 21]),
        ("RiskBudgeting", [4 / 7, 2 / 7, 1 / 7]),
        ("MaximumDiversification", [4 / 7, 2 / 7, 1 / 7]),
        ("InverseVolatility", [4 / 7, 2 / 7, 1 / 7]),
        ("EqualWeighted", [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_golden_strategies_without_correlation(optimiser, expected):
    found = solved(optimiser, uncorrelated(0.01, 0.02, 0.04))
    np.testing.assert_allclose(found.weights, expected, atol=1e-4)
    assert (found.title, found.objective, found.binding) == (optimiser, None, ("gross",))


GROUPS = {"a": ["wild"], "b": ["wild"], "c": ["calm"], "d": ["calm"], "e": ["calm"]}
BUDGETS = {"a": 2, "b": 1, "c": 1, "d": 1, "e": 1}
SPELLED = [
    (
        {
            "kind": "MeanRisk",
            "objective_function": "maximize_ratio",
            "risk_measure": "cvar",
            "cvar_beta": 0.9,
            "prior_estimator": {
                "kind": "EmpiricalPrior",
                "mu_estimator": {"kind": "ShrunkMu", "covariance_estimator": {"kind": "LedoitWolf"}},
            },
        },
        lambda sk: sk.MeanRisk(
            objective_function=sk.ObjectiveFunction.MAXIMIZE_RATIO,
            risk_measure=sk.RiskMeasure.CVAR,
            cvar_beta=0.9,
            prior_estimator=sk.EmpiricalPrior(mu_estimator=sk.ShrunkMu(covariance_estimator=sk.LedoitWolf())),
        ),
    ),
    ({"kind": "MeanRisk", "risk_measure": "cdar"}, lambda sk: sk.MeanRisk(risk_measure=sk.RiskMeasure.CDAR)),
    ({"kind": "MeanRisk", "risk_measure": "edar"}, lambda sk: sk.MeanRisk(risk_measure=sk.RiskMeasure.EDAR)),
    (
        {"kind": "MeanRisk", "groups": GROUPS, "linear_constraints": ["wild <= 0.1", "c >= 0.3 * calm"]},
        lambda sk: sk.MeanRisk(groups=GROUPS, linear_constraints=["wild <= 0.1", "c >= 0.3 * calm"]),
    ),
    ({"kind": "RiskBudgeting", "risk_budget": BUDGETS}, lambda sk: sk.RiskBudgeting(risk_budget=BUDGETS)),
    (
        {
            "kind": "MaximumDiversification",
            "prior_estimator": {
                "kind": "EmpiricalPrior",
                "covariance_estimator": {"kind": "EWCovariance", "half_life": 60},
            },
        },
        lambda sk: sk.MaximumDiversification(
            prior_estimator=sk.EmpiricalPrior(covariance_estimator=sk.EWCovariance(half_life=60))
        ),
    ),
    (
        {
            "kind": "HierarchicalRiskParity",
            "risk_measure": "value_at_risk",
            "distance_estimator": {"kind": "KendallDistance", "absolute": True},
        },
        lambda sk: sk.HierarchicalRiskParity(
            risk_measure=sk.ExtraRiskMeasure.VALUE_AT_RISK, distance_estimator=sk.KendallDistance(absolute=True)
        ),
    ),
    (
        {
            "kind": "HierarchicalEqualRiskContribution",
            "risk_measure": "cdar",
            "hierarchical_clustering_estimator": {"kind": "HierarchicalClustering", "linkage_method": "single"},
        },
        lambda sk: sk.HierarchicalEqualRiskContribution(
            risk_measure=sk.RiskMeasure.CDAR,
            hierarchical_clustering_estimator=sk.HierarchicalClustering(linkage_method=sk.LinkageMethod.SINGLE),
        ),
    ),
    ({"kind": "SchurComplementary", "gamma": 0.3}, lambda sk: sk.SchurComplementary(gamma=0.3)),
    (
        {
            "kind": "NestedClustersOptimization",
            "inner_estimator": {"kind": "MeanRisk", "max_weights": 0.7},
            "outer_estimator": {"kind": "EqualWeighted"},
            "cv": "ignore",
        },
        lambda sk: sk.NestedClustersOptimization(
            inner_estimator=sk.MeanRisk(max_weights=0.7), outer_estimator=sk.EqualWeighted(), cv="ignore"
        ),
    ),
    (
        {
            "kind": "StackingOptimization",
            "estimators": [["hrp", {"kind": "HierarchicalRiskParity"}], ["equal", {"kind": "EqualWeighted"}]],
            "final_estimator": {"kind": "MeanRisk", "risk_measure": "cvar"},
            "cv": {"kind": "WalkForward", "test_size": 50, "train_size": 100},
        },
        lambda sk: sk.StackingOptimization(
            estimators=[("hrp", sk.HierarchicalRiskParity()), ("equal", sk.EqualWeighted())],
            final_estimator=sk.MeanRisk(risk_measure=sk.RiskMeasure.CVAR),
            cv=sk.WalkForward(test_size=50, train_size=100),
        ),
    ),
]


@pytest.mark.parametrize(("named", "estimator"), SPELLED, ids=[f"{n['kind']}{i}" for i, (n, _) in enumerate(SPELLED)])
def test_weights_are_those_of_the_estimator_that_a_book_spells(sk, named, estimator):
    returns = drawn()
    found = solved(named, returns)
    np.testing.assert_allclose(found.weights, fitted(estimator(sk), returns), atol=1e-6)
    assert math.fsum(found.weights) == pytest.approx(1, abs=1e-14)


def test_limits_and_gross_of_the_book_are_those_of_the_optimiser(sk):
    returns, lower, upper = drawn(), np.array([0.2, 0.0, 0.1, 0.0, 0.0]), np.array([1.0, 1.0, 0.5, 0.8, 0.7])
    found = solved("MeanRisk", returns, lower=lower, upper=upper, gross=2.3)
    other = fitted(sk.MeanRisk(), returns, min_weights=lower, max_weights=upper, budget=2.3)
    np.testing.assert_allclose(found.weights, other, atol=1e-6)
    assert found.weights[-1] == 0.7
    # What has no budget answers in shares of it.
    for optimiser in (sk.RiskBudgeting(), sk.HierarchicalRiskParity(), sk.HierarchicalEqualRiskContribution()):
        found = solved(type(optimiser).__name__, returns, lower=lower, upper=upper, gross=2.3)
        other = fitted(optimiser, returns, min_weights=lower / 2.3, max_weights=np.minimum(upper / 2.3, 1))
        np.testing.assert_allclose(found.weights, 2.3 * other, atol=1e-5)


def test_weights_of_an_optimiser_without_limits_are_scaled_and_clipped_to_them():
    found = solved("InverseVolatility", uncorrelated(0.01, 0.02, 0.04), lower=[0, 0, 0.2], upper=0.5)
    # 4 to 2 to 1, of which the first is at its upper limit and the last at its lower one.
    np.testing.assert_allclose(found.weights, [0.5, 0.3, 0.2], rtol=1e-14)
    assert found.weights[[0, 2]].tolist() == [0.5, 0.2]


# --- limits, gross and cash ---------------------------------------------------------------------------------


@given(data=st.data(), optimiser=st.sampled_from(["HierarchicalRiskParity", "InverseVolatility", "RiskBudgeting"]))
@examples(30)
def test_limits_are_kept_to_the_last_bit_and_gross_to_rounding(data, optimiser):
    n = data.draw(st.integers(1, 5))
    shares = data.draw(st.lists(st.floats(0.05, 1), min_size=n, max_size=n).map(np.array))
    gross, tight = data.draw(st.floats(0.1, 3)), data.draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    middle = gross * shares / shares.sum()
    lower, upper = middle * tight, middle * (2 - tight)
    found = solved(optimiser, drawn(n), lower=lower, upper=np.maximum(upper, lower), gross=gross)
    assert ((found.weights >= lower) & (found.weights <= np.maximum(upper, lower))).all()
    assert math.fsum(found.weights) == pytest.approx(gross, rel=1e-12)


CASH = [
    ({"kind": "MeanRisk", "objective_function": "maximize_utility", "risk_aversion": 50}, True),
    ({"kind": "MeanRisk", "objective_function": "maximize_return", "max_cvar": 0.004}, True),
    ({"kind": "MeanRisk", "risk_measure": "cvar", "min_return": 0.0002}, True),
    ({"kind": "MeanRisk", "risk_measure": "cvar"}, False),
    (
        {"kind": "MeanRisk", "objective_function": "maximize_ratio", "risk_measure": "standard_deviation"},
        False,
    ),
    ({"kind": "MaximumDiversification"}, False),
    ({"kind": "HierarchicalRiskParity"}, False),
]


@pytest.mark.parametrize(("named", "keeps"), CASH, ids=[f"{n['kind']}{i}" for i, (n, _) in enumerate(CASH)])
def test_cash_is_kept_by_objectives_that_know_what_it_costs(named, keeps):
    found = solved(named, drawn(), gross=2.0, slack=2.0)
    total = math.fsum(found.weights)
    if keeps:
        assert 0.05 < total < 1.9
        assert found.distances["gross"] == pytest.approx(2 - total)
        assert found.binding == ()
    else:
        assert total == pytest.approx(2, abs=1e-14)


def test_without_room_for_gross_all_is_at_its_limit():
    found = solved("HierarchicalRiskParity", drawn(), upper=0.15, slack=1.0)
    assert found.weights.tolist() == [0.15] * 5
    assert found.distances == {"gross": 0.25}


@pytest.mark.parametrize("optimiser", ["MeanRisk", "HierarchicalRiskParity"])
def test_a_strategy_that_has_not_moved_stays_at_its_lower_limit(optimiser):
    returns = drawn()
    returns[:, 1] = 0.0
    others = [0, 2, 3, 4]
    found = solved(optimiser, returns, lower=[0, 0.1, 0, 0, 0])
    assert found.weights[1] == 0.1
    alone = Skfolio(optimiser={"kind": optimiser}).solve(problem(returns[:, others], gross=0.9))
    np.testing.assert_allclose(found.weights[others], alone.weights, rtol=1e-9)
    # It takes what the others may not have.
    found = solved(optimiser, returns, upper=[0.2, 1, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(found.weights, 0.2, rtol=1e-12)
    with pytest.raises(NoSolutionError, match="no strategy that may be held has moved"):
        solved(optimiser, np.zeros((20, 2)))
    with pytest.raises(NoSolutionError, match="leave nothing for those that have"):
        solved(optimiser, returns, lower=[0, 1, 0, 0, 0])


SHRUNK = {"kind": "EmpiricalPrior", "mu_estimator": {"kind": "ShrunkMu"}}


@pytest.mark.parametrize(
    "named",
    [
        {"kind": "MeanRisk", "prior_estimator": SHRUNK},
        {"kind": "HierarchicalEqualRiskContribution"},
        {"kind": "NestedClustersOptimization"},
        {"kind": "RiskBudgeting", "min_return": -0.01},
    ],
    ids=str,
)
def test_one_strategy_gets_all_there_is(named):
    assert solved(named, drawn(1), gross=0.7).weights == pytest.approx([0.7], rel=1e-14)


def test_one_strategy_has_to_keep_the_constraints_of_the_optimiser():
    with pytest.raises(NoSolutionError, match="MeanRisk of skfolio failed"):
        solved({"kind": "MeanRisk", "max_cvar": 0.001}, drawn(1))


# --- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_return": 0.5}, "MeanRisk of skfolio failed: "),
        ({"linear_constraints": ["z <= 0.1"]}, "does not stand by its weights: .*z"),
        ({"solver_params": {"max_iter": 3}}, "failed: |does not stand by its weights: "),
        ({"min_return": [0.0001, 0.0002]}, r"gave weights of shape \(2, 5\), expected \(5,\)"),
        ({"solver": "NONE"}, "MeanRisk of skfolio failed: The solver NONE is not installed"),
    ],
)
def test_what_skfolio_cannot_answer_stops_with_the_date_and_the_strategies(parameters, message):
    returns = drawn()
    section = CrossSection(
        strategies=NAMES,
        base=np.full(5, 0.2),
        gross=1.0,
        values={"sharpe": np.ones(5)},
        reasons={"sharpe": np.zeros(5, dtype=np.int8)},
        as_of=pd.Timestamp("2021-02-23"),
        sample=Sample(
            sessions=pd.bdate_range(end="2021-02-23", periods=len(returns)), returns=returns, active=~np.isnan(returns)
        ),
    )
    named = Skfolio(optimiser={"kind": "MeanRisk", **parameters})
    with pytest.raises(NoSolutionError, match=rf"2021-02-23: .*(?:{message}).*\(strategies a, b, c, d, e\)") as raised:
        target_weights(named, section, Limits(of="weight", floor=0.0, cap=1.0))
    # A run tells the first cause.
    assert raised.value.__cause__ is None
    named = Skfolio(optimiser={"kind": "RiskBudgeting", "risk_budget": {"a": 1, "zz": 2}})
    with pytest.raises(ValueError, match=r"method.optimiser.risk_budget: strategies \['zz'\] are not in the book"):
        target_weights(named, section, Limits(of="weight", floor=0.0, cap=1.0))


class Stub:
    """An optimiser that gives what it is told to, and warns where it is told to."""

    def __init__(self, weights, warning=None):
        self.weights_, self.warning = np.array(weights), warning

    def get_params(self, deep):
        return {"min_weights", "budget"}

    def set_params(self, **parameters):
        self.parameters = parameters

    def fit(self, returns):
        if self.warning:
            warnings.warn(self.warning, stacklevel=1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.7, 0.3], "do not keep the limits.*: a 0.7, b 0.3, in all 1"),
        ([0.6, 0.3], "do not keep the limits.*: a 0.6, b 0.3, in all 0.9"),
        ([0.4, 0.6], "do not keep the limits"),
        ([np.nan, 0.5], "do not keep the limits"),
    ],
)
def test_weights_that_do_not_keep_limits_or_gross_are_refused(weights, message):
    returns = pd.DataFrame(drawn(2), columns=["a", "b"])
    limits = {"lower": np.array([0.5, 0.0]), "upper": np.array([0.6, 0.5])}
    problem = Problem(returns=returns.to_numpy(), **limits, gross=1.0, slack=0.0, periods=252)
    given = {"problem": problem, "least": 1.0}
    with pytest.raises(NoSolutionError, match=message):
        _chosen(Stub(weights), returns, **given)
    # A solver comes close, and is put on the limit after this.
    assert _chosen(Stub([0.6 + 1e-7, 0.4 - 1e-7]), returns, **given)[0] == 0.6 + 1e-7
    with pytest.raises(NoSolutionError, match="does not stand by its weights: may be inaccurate"):
        _chosen(Stub([0.6, 0.4], "may be inaccurate"), returns, **given)


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimiser", "message"),
    [
        ({}, "optimiser.kind: expected one of .*HierarchicalRiskParity, .*MeanRisk, .*, got None"),
        ({"kind": "Random"}, "optimiser.kind: expected one of .*, got 'Random'"),
        ({"kind": "LedoitWolf"}, "optimiser.kind: expected one of .*, got 'LedoitWolf'"),
        ({"kind": "MeanRisk", "alpha": 1}, "optimiser.alpha: MeanRisk does not have it; it has .*risk_measure"),
        ({"kind": "EqualWeighted", "alpha": 1}, "optimiser.alpha: EqualWeighted does not have it; it has none"),
        ({"kind": "MeanRisk", "risk_measure": "sd"}, "risk_measure: expected one of variance, .*, got 'sd'"),
        ({"kind": "MeanRisk", "risk_aversion": "much"}, "risk_aversion: expected a number, got 'much'"),
        ({"kind": "MeanRisk", "risk_aversion": True}, "risk_aversion: expected a number, got True"),
        ({"kind": "MeanRisk", "risk_aversion": math.inf}, "risk_aversion: expected a finite number, got inf"),
        ({"kind": "MeanRisk", "risk_aversion": {"kind": "OAS"}}, "risk_aversion: expected a number, got {"),
        ({"kind": "MeanRisk", "groups": {"a": [pd.Timestamp(0)]}}, "groups.a.0: expected a number, a text, a list"),
        ({"kind": "MeanRisk", "max_weights": 0.5}, "max_weights: the book's limits say it; leave it out"),
        ({"kind": "MeanRisk", "budget": 2}, "budget: the book's gross says it; leave it out"),
        ({"kind": "MeanRisk", "fallback": "previous_weights"}, "fallback: an optimiser that fails stops the run"),
        (
            {"kind": "MeanRisk", "prior_estimator": "EmpiricalPrior"},
            "prior_estimator: expected a mapping with a kind, one of .*EmpiricalPrior.* or null, got 'EmpiricalPrior'",
        ),
        (
            {
                "kind": "MeanRisk",
                "prior_estimator": {"kind": "EmpiricalPrior", "covariance_estimator": {"kind": "os.system"}},
            },
            "prior_estimator.covariance_estimator.kind: expected one of .*LedoitWolf.*, got 'os.system'",
        ),
        ({"kind": "StackingOptimization"}, "optimiser.estimators: StackingOptimization cannot do without it"),
        (
            {"kind": "StackingOptimization", "estimators": [["a", {"kind": "MeanRisk", "n_jobs": 2}]]},
            "optimiser.estimators.0.1.n_jobs: everything is computed in one process; leave it out",
        ),
        (
            {"kind": "MeanRisk", "mu_uncertainty_set_estimator": {"kind": "BootstrapMuUncertaintySet"}},
            "mu_uncertainty_set_estimator.seed: expected a whole number, so that the same returns give the same",
        ),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused_with_the_key_and_what_there_is(optimiser, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Skfolio).validate_python({"kind": "skfolio", "optimiser": optimiser})


def test_every_class_that_may_be_named_tells_its_parameters_and_their_types():
    known = skfolio_estimators._known()
    assert {"MeanRisk", "LedoitWolf", "EmpiricalPrior", "KendallDistance", "WalkForward"} <= set(known)
    for estimator in known.values():
        for name, (_, allowed) in skfolio_estimators._parameters(estimator).items():
            assert allowed, (estimator, name)
    # None but those of skfolio, and no enumeration.
    assert {each.__module__.split(".")[0] for each in known.values()} == {"skfolio"}
    assert "RiskMeasure" not in known
    assert "ObjectiveFunction" not in known


def test_a_method_from_plain_data_is_the_same_again_from_its_own():
    adapter = TypeAdapter(Skfolio)
    for optimiser, _ in SPELLED:
        method = adapter.validate_python({"kind": "skfolio", "lookback": "60s", "optimiser": optimiser})
        assert adapter.validate_python(json.loads(adapter.dump_json(method))) == method


def test_where_skfolio_is_not_installed_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skfolio", None)
    monkeypatch.setitem(sys.modules, "skfolio.optimization", None)
    with pytest.raises(ValidationError, match="needs the package skfolio, which is not installed"):
        TypeAdapter(Skfolio).validate_python({"kind": "skfolio", "optimiser": {"kind": "MeanRisk"}})


def test_the_same_bits_twice_and_in_another_process():
    script = (
        "import sys\n"
        "import numpy as np\n"
        "from weights_pipeline.core.targets.methods.skfolio import Skfolio\n"
        "from weights_pipeline.core.targets.optimise.problem import Problem\n"
        "returns = np.frombuffer(bytes.fromhex(sys.stdin.read())).reshape(-1, 5)\n"
        "given = Problem(returns=returns, lower=np.zeros(5), upper=np.ones(5), gross=1.0, slack=0.0, periods=252,\n"
        "                strategies=tuple('abcde'))\n"
        "for kind in ('MeanRisk', 'HierarchicalRiskParity'):\n"
        "    print(Skfolio(optimiser={'kind': kind}).solve(given).weights.tobytes().hex())\n"
    )
    returns = drawn()
    run = subprocess.run(
        [sys.executable, "-c", script], input=returns.tobytes().hex(), capture_output=True, text=True, check=True
    )
    expected = [solved(kind, returns).weights for kind in ("MeanRisk", "HierarchicalRiskParity")]
    assert run.stdout.splitlines() == [weights.tobytes().hex() for weights in expected]


# --- what trading costs -------------------------------------------------------------------------------------

UTILITY = {"kind": "MeanRisk", "objective_function": "maximize_utility", "risk_aversion": 5.0}
FEES = np.array([0.001, 0.002, 0.001, 0.003, 0.001])
HELD = np.array([0.3, 0.1, 0.1, 0.3, 0.2])
COSTS = Costs(fee=0.001, by_strategy={"b": 0.002, "d": 0.003})
SESSIONS = pd.bdate_range("2020-01-01", periods=320).as_unit("us")


def counting(horizon=21, **optimiser):
    return Skfolio(optimiser=UTILITY | optimiser, lookback="120s", cost_horizon=horizon)


def costed(**changes):
    given = {"base": dict.fromkeys(NAMES, 0.2), "method": counting(), "limits": Limits(of="weight", cap=1, floor=0)}
    return Policy(**given | {"costs": COSTS, "metrics": MetricParameters(min_sessions=20)} | changes)


@pytest.mark.parametrize("objective", ["maximize_utility", "maximize_ratio", "maximize_return"])
def test_costs_are_those_of_skfolio(sk, objective):
    returns, goal = drawn(), sk.ObjectiveFunction(objective)
    given = replace(problem(returns, upper=0.6), held=HELD, fees=FEES)
    found = counting(objective_function=objective).solve(given)
    own = sk.MeanRisk(
        objective_function=goal, risk_aversion=5.0, previous_weights=HELD, transaction_costs=FEES / 21, max_weights=0.6
    )
    np.testing.assert_allclose(found.weights, fitted(own, returns, min_weights=0, budget=1.0), atol=1e-5)
    free = counting(objective_function=objective).solve(replace(given, held=None, fees=None))
    assert np.abs(found.weights - HELD).sum() < np.abs(free.weights - HELD).sum()
    assert found.parts["cost_of_trading"] == pytest.approx(float(FEES @ np.abs(found.weights - HELD)))


def test_what_is_too_dear_is_not_traded():
    given = replace(problem(drawn()), held=HELD, fees=1000 * FEES)
    np.testing.assert_allclose(counting().solve(given).weights, HELD, atol=1e-5)


def test_dates_one_by_one_are_the_dates_together_and_the_simulated_ones():
    policy, as_of = costed(), SESSIONS[[150, 200, 250]]
    history = ReturnHistory.from_arrays(drawn(sessions=300), SESSIONS[:300], NAMES)
    metrics = chain.metric_rows(history, as_of, policy)
    together = chain.target_table(metrics, policy, history)
    alone, before = [], None
    for date in as_of:
        alone.append(chain.target_table(metrics[metrics["as_of"] == date], policy, history, before))
        before = chain.realized_table(pd.DataFrame() if before is None else before, alone[-1], policy, SESSIONS)
        assert before["realized"].tolist() == alone[-1]["target"].tolist()
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), together, check_exact=True)
    simulated = simulate(history, as_of, SESSIONS, policy)
    assert simulated.target.ravel().tolist() == together["target"].tolist()
    opened = chain.target_table(
        metrics[metrics["as_of"] == as_of[0]], policy, history, opening=pd.Series(HELD, index=list(NAMES))
    )
    assert opened["target"].tolist() != alone[0]["target"].tolist()
    free = simulate(history, as_of, SESSIONS, replace(policy, method=replace(policy.method, cost_horizon=None)))
    assert simulated.turnover.sum() < free.turnover.sum()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"costs": None}, "expected the book to name its costs"),
        ({"rate": 0.5}, "expected a rate of 1, without band and turnover_cap"),
        ({"band": Band(absolute=0.01)}, "expected a rate of 1, without band and turnover_cap"),
        ({"turnover_cap": 0.1}, "expected a rate of 1, without band and turnover_cap"),
        ({"costs": Costs(by_strategy={"zebra": 0.1})}, "costs.by_strategy: .'zebra'. are no strategies of the book"),
    ],
)
def test_a_policy_that_counts_costs_has_them_and_trades_at_once(changes, words):
    with pytest.raises(ValueError, match=words):
        costed(**changes)


@pytest.mark.parametrize(
    ("optimiser", "horizon", "words"),
    [
        ({"kind": "MeanRisk"}, 21, "costs change no weight of MeanRisk as it is"),
        ({"kind": "MaximumDiversification"}, 21, "costs change no weight of MaximumDiversification"),
        ({"kind": "HierarchicalRiskParity"}, 21, "costs change no weight of HierarchicalRiskParity"),
        (UTILITY | {"transaction_costs": 0.001}, 21, "optimiser.transaction_costs: the book's costs say it"),
        (UTILITY, 0, "cost_horizon: expected a number of observations above 0"),
    ],
)
def test_an_optimiser_counts_costs_where_it_weighs_return(optimiser, horizon, words):
    with pytest.raises(ValueError, match=words):
        Skfolio(optimiser=optimiser, cost_horizon=horizon)
    assert Skfolio(optimiser={"kind": "MeanRisk", "min_return": 0.0001}, cost_horizon=21).cost_horizon == 21
