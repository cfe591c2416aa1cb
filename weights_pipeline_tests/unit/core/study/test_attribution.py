"""Attribution: contributions add up, session by session and over any stretch."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.study.attribution import by_sleeve, contributions, hit_rate, linking
from weights_pipeline.core.study.book_comparison import FEE, net_returns

SESSIONS = pd.bdate_range("2021-01-01", periods=250)
NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def returns():
    drawn = pd.DataFrame(np.random.default_rng(5).normal(0.0005, 0.01, (250, 3)), index=SESSIONS, columns=NAMES)
    return drawn.mask((drawn.index < SESSIONS[100])[:, None] & np.array([False, False, True]))


@pytest.fixture(scope="module")
def weights():
    """Base, realized and final weights; the final ones change once more, as under a daily overlay."""
    base = pd.DataFrame([[0.5, 0.3, 0.2]] * 2, index=SESSIONS[[10, 120]], columns=NAMES)
    realized = pd.DataFrame([[0.6, 0.2, 0.2], [0.4, 0.2, 0.4]], index=base.index, columns=NAMES)
    final = pd.concat([realized.mul([0.9, 1.0], axis=0), realized.iloc[1:].set_axis(SESSIONS[[200]], axis=0) * 0.5])
    return base, realized, final


def test_sessions_add_up_to_the_return_after_fees(returns, weights):
    found = contributions(*weights, returns)
    net = net_returns(weights[2], returns)
    assert list(found.sessions) == list(net.index) == list(SESSIONS[10:])
    np.testing.assert_allclose(found.totals, net, atol=1e-16)
    assert found.parts[0, :, 3] == pytest.approx(-FEE * np.array([0.54, 0.18, 0.18]))
    assert not found.parts[1:110, :, 3].any()
    np.testing.assert_allclose(found.parts[..., :3].sum(axis=2), found.weights * found.own, atol=1e-17)


@pytest.mark.parametrize(("since", "until"), [(None, None), (50, 70), (201, None)])
def test_a_stretch_adds_up_to_its_compounded_return(returns, weights, since, until):
    since, until = (None if at is None else SESSIONS[at] for at in (since, until))
    linked = contributions(*weights, returns).linked(since, until)
    net = net_returns(weights[2], returns)[since:until]
    total = math.fsum(linked.to_numpy().ravel())
    assert total == pytest.approx(np.prod(1 + net) - 1, abs=1e-15)
    sleeves = by_sleeve(linked, {"a": "one", "b": "one"})
    assert list(sleeves.index) == ["c", "one"]
    assert math.fsum(sleeves.to_numpy().ravel()) == pytest.approx(total, abs=1e-16)


def test_two_sessions_are_linked_as_carino_does():
    # R = 1.1 * 1.2 - 1 = 0.32: ln 1.32 / 0.32 = 0.867599; ln 1.1 / 0.1 = 0.953102, ln 1.2 / 0.2 = 0.911608.
    assert linking(np.array([0.1, 0.2])) == pytest.approx([1.098551, 1.050725], abs=1e-6)
    assert linking(np.array([0.1])) == pytest.approx([1.0])
    assert linking(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=40))
def test_linking_makes_any_returns_add_up(values):
    returns = np.array(values)
    assert math.fsum(linking(returns) * returns) == pytest.approx(np.prod(1 + returns) - 1, rel=1e-9, abs=1e-12)


def test_a_rebalance_is_a_hit_where_tilting_earned_more_until_the_next(weights):
    returns = pd.DataFrame(0.0, index=SESSIONS, columns=NAMES)
    returns.loc[SESSIONS[20], "a"] = 0.01  # tilted up
    returns.loc[SESSIONS[130], "a"] = 0.01  # tilted down
    found = contributions(*weights, returns)
    assert hit_rate(found, weights[0].index) == (1, 2)
    assert hit_rate(found, weights[0].index.append(pd.DatetimeIndex(["2030-01-01"]))) == (1, 2)
