"""Expected returns and covariances: golden numbers, independent implementations, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from sklearn.covariance import ledoit_wolf

from weights_pipeline.core.targets.optimise.estimators import (
    Covariance,
    ExpectedReturn,
    ExponentialCovariance,
    ExponentialMean,
    LedoitWolf,
    SampleCovariance,
    SampleMean,
)
from weights_pipeline.core.targets.optimise.problem import NoSolutionError

MEANS = [SampleMean(), ExponentialMean(half_life=20.0)]
COVARIANCES = [SampleCovariance(), ExponentialCovariance(half_life=20.0), LedoitWolf()]


def returns(observations: int, strategies: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(observations, 1)) * rng.uniform(0, 1, strategies)
    return 0.01 * (common + rng.normal(size=(observations, strategies))) * rng.uniform(0.2, 3, strategies) + 4e-4


def test_golden_numbers_of_four_observations():
    sample = np.array([[3.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    np.testing.assert_array_equal(SampleMean().estimate(sample), [1.0, 0.0])
    np.testing.assert_allclose(SampleCovariance().estimate(sample), np.diag([8 / 3, 2 / 3]), rtol=1e-15)
    # S = diag(2, 1/2), m = 5/4, d² = 9/8, b² = (34 - 17)/16: 17/18 of the way to the mean variance.
    np.testing.assert_allclose(
        LedoitWolf().estimate(sample), np.diag([5 / 4 + 0.75 / 18, 5 / 4 - 0.75 / 18]), rtol=1e-15
    )
    # Weights 1/15, 2/15, 4/15, 8/15.
    np.testing.assert_allclose(ExponentialMean(half_life=1.0).estimate(sample), [13 / 15, -4 / 15], rtol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_sample_and_exponential_estimates_are_those_of_numpy_and_pandas(seed):
    sample = returns(90, 5, seed)
    frame = pd.DataFrame(sample).ewm(halflife=17.0)
    np.testing.assert_allclose(SampleCovariance().estimate(sample), np.cov(sample.T, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(ExponentialMean(half_life=17.0).estimate(sample), frame.mean().iloc[-1], rtol=1e-12)
    np.testing.assert_allclose(
        ExponentialCovariance(half_life=17.0).estimate(sample), frame.cov(bias=False).loc[89], rtol=1e-10, atol=1e-18
    )


def test_a_long_half_life_weighs_all_observations_alike():
    sample = returns(60, 4)
    np.testing.assert_allclose(ExponentialMean(half_life=1e12).estimate(sample), SampleMean().estimate(sample))
    np.testing.assert_allclose(
        ExponentialCovariance(half_life=1e12).estimate(sample), SampleCovariance().estimate(sample), rtol=1e-9
    )


@pytest.mark.parametrize(
    "sample",
    [
        returns(252, 6),
        returns(60, 20, 1),
        returns(10, 30, 2),
        returns(2, 3, 3),
        returns(40, 1),
        returns(252, 3)[:, [0, 0, 1]],
        1e-3 * returns(500, 8, 4),
        np.random.default_rng(5).normal(size=(30, 12)),
    ],
    ids=["long", "wide", "wider", "two days", "one strategy", "duplicates", "small", "noise"],
)
def test_shrinkage_is_that_of_scikit_learn(sample):
    expected, shrinkage = ledoit_wolf(sample)
    assert 0 <= shrinkage <= 1
    np.testing.assert_allclose(LedoitWolf().estimate(sample), expected, rtol=1e-12, atol=1e-12 * expected.max())


def test_equal_uncorrelated_variances_have_nowhere_to_shrink_to():
    np.testing.assert_array_equal(
        LedoitWolf().estimate(np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])), np.eye(2)
    )


@pytest.mark.parametrize("estimator", [*MEANS, *COVARIANCES], ids=lambda e: type(e).__name__)
def test_estimates_depend_on_numbers_alone(estimator):
    sample = returns(70, 6)
    found = estimator.estimate(sample)
    np.testing.assert_array_equal(estimator.estimate(np.asfortranarray(sample)), found)
    np.testing.assert_array_equal(estimator.estimate(np.repeat(sample, 2, axis=1)[:, ::2]), found)
    np.testing.assert_array_equal(estimator.estimate(np.vstack([returns(9, 6, 1), sample])[9:]), found)
    order = np.array([3, 0, 5, 1, 4, 2])
    moved = found[order] if found.ndim == 1 else found[np.ix_(order, order)]
    np.testing.assert_allclose(estimator.estimate(sample[:, order]), moved, rtol=1e-12, atol=1e-18)
    scaled = 3.0**found.ndim * found
    np.testing.assert_allclose(estimator.estimate(3.0 * sample), scaled, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("estimator", COVARIANCES, ids=lambda e: type(e).__name__)
def test_covariances_are_symmetric_and_semidefinite(estimator):
    found = estimator.estimate(returns(15, 25))
    np.testing.assert_array_equal(found, found.T)
    assert np.linalg.eigvalsh(found).min() >= -1e-15 * found.max()


@pytest.mark.parametrize("estimator", [*MEANS, *COVARIANCES], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("observations", [0, 1])
def test_fewer_than_two_observations_are_refused(estimator, observations):
    with pytest.raises(NoSolutionError, match=f"expected at least 2 observations, got {observations}"):
        estimator.estimate(np.zeros((observations, 3)))


@pytest.mark.parametrize("kind", [ExponentialMean, ExponentialCovariance])
@pytest.mark.parametrize("half_life", [0.99, 0.0, -5.0, math.inf, math.nan])
def test_half_lives_below_one_observation_are_refused(kind, half_life):
    with pytest.raises(ValueError, match=r"half_life: expected a number of observations of at least 1"):
        kind(half_life=half_life)


@pytest.mark.parametrize(
    ("union", "spelled", "meant"),
    [
        (ExpectedReturn, {"kind": "sample"}, SampleMean()),
        (ExpectedReturn, {"kind": "exponential", "half_life": 60}, ExponentialMean(half_life=60)),
        (Covariance, {"kind": "sample"}, SampleCovariance()),
        (Covariance, {"kind": "exponential", "half_life": 60}, ExponentialCovariance(half_life=60)),
        (Covariance, {"kind": "ledoit_wolf"}, LedoitWolf()),
    ],
)
def test_kinds_are_told_apart_by_name(union, spelled, meant):
    assert TypeAdapter(union).validate_python(spelled) == meant
    for wrong in (spelled | {"kind": "robust"}, spelled | {"window": 20}):
        with pytest.raises(ValidationError):
            TypeAdapter(union).validate_python(wrong)
