"""Hedges: on in their regimes, up and down by the ramp, and inside every limit, whatever pays for them."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.allocator.hedges import Hedges, Hedging, funded, hedged, hedged_rows, wanted
from weights_pipeline.core.allocator.overlay import audit_of_hedges, performance
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import AllocatorParameters, parameter_hash
from weights_pipeline.core.targets.normalise import Group
from weights_pipeline_tests.support.examples import examples

NAMES = ("a", "b", "c", "d")
SESSIONS = pd.bdate_range("2020-03-02", periods=11).as_unit("us")
HEDGES = Hedges(strategies=("d", "c"), weight=0.1, regimes=("CRISIS", "STRESS"), ramp=0.25)
WEIGHTS = np.array([0.5, 0.3, 0.0, 0.0])


def group(name, members, cap):
    return Group(name, np.array([NAMES.index(each) for each in members]), 0.0, cap)


def hedging(limits=(), gross=1.0, **changes):
    hedges = replace(HEDGES, **changes)
    return Hedging(hedges, NAMES, np.array([hedges.share(name) for name in NAMES]), tuple(limits), gross)


def put(weights, goal, own):
    """Weights with hedges among them, of one date."""
    funding, hedge = funded(np.array([weights]), np.array([goal]), own)
    return (weights * funding[0] + hedge[0]).tolist(), float(funding[0])


def regimes(letters):
    named = {regime[0]: regime for regime in REGIMES}
    return pd.Series([named[letter] for letter in letters], index=SESSIONS[: len(letters)])


def test_golden_ramp():
    found = wanted(regimes("NSSCSSNNENN"), HEDGES)
    assert found.tolist() == [0.0, 0.025, 0.05, 0.1 * 0.75, 0.1, 0.1, 0.1 * 0.75, 0.05, 0.025, 0.0, 0.0]
    assert wanted(regimes("SNSN"), replace(HEDGES, ramp=1.0)).tolist() == [0.1, 0.0, 0.1, 0.0]
    assert wanted(regimes(""), HEDGES).empty


def test_a_ramp_that_does_not_divide_one_ends_at_the_weight_and_at_nothing():
    up_and_down = wanted(regimes("SSSSNNNN"), replace(HEDGES, weight=1.0, ramp=0.3)).to_numpy()
    np.testing.assert_allclose(up_and_down, [0.3, 0.6, 0.9, 1.0, 0.7, 0.4, 0.1, 0.0], atol=1e-12)
    assert (up_and_down[3], up_and_down[-1]) == (1.0, 0.0)
    # Ten times 0.1 is 1 - 1e-16: no eleventh session.
    ten = wanted(regimes("SSSSSSSSSSS"), replace(HEDGES, weight=1.0, ramp=0.1)).tolist()
    assert ten[9:] == [1.0, 1.0]
    assert ten[8] < 1.0


def test_golden_funding_pro_rata_and_in_cash():
    weights, funding = put(WEIGHTS, 0.1, hedging())
    np.testing.assert_allclose(weights, [0.4375, 0.2625, 0.05, 0.05], rtol=1e-15)
    assert funding == pytest.approx(0.875, rel=1e-15)
    assert put(WEIGHTS, 0.1, hedging(funded="cash")) == ([0.5, 0.3, 0.05, 0.05], 1.0)
    unequal = hedging(funded="cash", shares={"c": 0.8, "d": 0.2})
    np.testing.assert_allclose(put(WEIGHTS, 0.1, unequal)[0], [0.5, 0.3, 0.08, 0.02], rtol=1e-15)


@pytest.mark.parametrize(
    ("together", "own"),
    [
        (0.05, hedging(funded="cash", gross=0.85)),
        (0.0, hedging(funded="cash", gross=0.8)),
        (0.0, hedging(funded="cash", gross=0.7)),
        (0.04, hedging(cap=0.05)),
        (0.8 * 0.05 / 0.95, hedging(funded="cash", cap=0.05)),
        # b and c: 0.3 · (0.8 - h) / 0.8 + h / 2 = 0.31.
        (0.08, hedging([group("bc", "bc", 0.31)])),
        (0.02, hedging([group("bc", "bc", 0.31)], funded="cash")),
        # a and c weigh less with hedges than without, and the whole book the same.
        (0.1, hedging([group("ac", "ac", 0.5), group("all", "abcd", 0.8)])),
        (0.06, hedging([group("c", "c", 0.03)])),
        (0.0, hedging([group("bc", "bc", 0.29)], funded="cash")),
    ],
)
def test_golden_limits(together, own):
    weights, _ = put(WEIGHTS, 0.1, own)
    assert weights[2] + weights[3] == pytest.approx(together, abs=1e-15)


def test_nothing_to_fund_hedges_with():
    assert put(np.zeros(4), 0.1, hedging()) == ([0.0] * 4, 1.0)
    assert put(np.zeros(4), 0.1, hedging(funded="cash"))[0] == [0.0, 0.0, 0.05, 0.05]
    weights, funding = put(WEIGHTS * np.nan, 0.1, hedging())
    assert np.isnan([*weights, funding]).all()


books = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).map(lambda each: np.array([*each[:3], 0.0, each[3], 0.0]))


@examples(60)
@given(
    weights=books,
    goal=st.floats(0.0, 0.5),
    cap=st.floats(0.01, 1.0),
    share=st.floats(0.05, 0.95),
    paid=st.sampled_from(["pro_rata", "cash"]),
    room=st.lists(st.floats(0.0, 0.3), min_size=3, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_limits_hold_and_more_is_never_less(weights, goal, cap, share, paid, room, seed):
    names = tuple("abcdef")
    gross = math.fsum(weights) + room[0]
    hedges = Hedges(
        strategies=("d", "f"),
        weight=0.5,
        regimes=("CRISIS",),
        shares={"d": share, "f": 1 - share},
        funded=paid,
        cap=cap,
    )
    shares = np.array([hedges.share(name) for name in names])
    members = [np.array([0, 3]), np.array([1, 3, 5])]
    limits = tuple(
        Group(str(at), of, 0.0, math.fsum(weights[of]) + slack)
        for at, (of, slack) in enumerate(zip(members, room[1:], strict=True))
    )
    own = Hedging(hedges, names, shares, limits, gross)
    (funding,), (hedge,) = funded(weights[None], np.array([goal]), own)
    made, together, before = weights * funding + hedge, math.fsum(hedge), math.fsum(weights)

    assert (made >= 0).all()
    assert together <= goal * (1 + 1e-12)
    assert together <= cap * math.fsum(made) + 1e-12
    assert (made[shares == 0] <= weights[shares == 0]).all()
    for limit in limits:
        assert limit.keeps(made, 1e-9)
    if paid == "cash":
        assert funding == 1
        assert math.fsum(made) <= gross + 1e-12
    else:
        assert math.fsum(made) == pytest.approx(before, abs=1e-12)

    # A larger goal never gives less; none at all leaves every bit.
    (_, (more,)), ((alone,), (nothing,)) = (funded(weights[None], np.array([each]), own) for each in (goal + 0.1, 0.0))
    assert math.fsum(more) >= together - 1e-15
    assert (alone, nothing.any()) == (1.0, False)
    # Strategies in another order get the same bits.
    order = np.random.default_rng(seed).permutation(6)
    place = np.argsort(order)
    turned = Hedging(
        hedges,
        tuple(names[at] for at in order),
        shares[order],
        tuple(limit._replace(members=place[limit.members]) for limit in limits),
        gross,
    )
    (also,), (theirs,) = funded(weights[order][None], np.array([goal]), turned)
    assert also == funding
    np.testing.assert_array_equal(theirs, hedge[order])


@examples(40)
@given(
    letters=st.text("NESC", min_size=1, max_size=11),
    ramp=st.floats(0.01, 1.0),
    cut=st.integers(1, 11),
    future=st.data(),
)
def test_the_path_moves_by_the_ramp_and_knows_no_future(letters, ramp, cut, future):
    hedges = replace(HEDGES, ramp=ramp)
    found = wanted(regimes(letters), hedges).to_numpy()
    on = np.isin(list(letters), ["S", "C"])
    steps = np.diff(found, prepend=0.0)
    assert ((found >= 0) & (found <= hedges.weight)).all()
    assert (np.abs(steps) <= hedges.weight * ramp * (1 + 1e-8)).all()
    assert ((steps[on] > 0) | (found[on] == hedges.weight)).all()
    assert ((steps[~on] < 0) | (found[~on] == 0)).all()
    later = letters[:cut] + future.draw(st.text("NESC", min_size=len(letters[cut:]), max_size=len(letters[cut:])))
    assert wanted(regimes(later), hedges).tolist()[:cut] == found.tolist()[:cut]


def test_dates_of_other_strategies_get_no_hedges():
    frame = pd.DataFrame(
        [[0.5, 0.3, 0.0, 0.0, np.nan], [0.5, 0.3, np.nan, 0.0, np.nan], [0.5, 0.2, 0.0, 0.0, 0.1], [np.nan] * 5],
        columns=[*NAMES, "e"],
    )
    funding, hedge = hedged(frame, np.full(4, 0.1), hedging())
    np.testing.assert_allclose(funding, [0.875, 1.0, 1.0, 1.0], rtol=1e-15)
    assert hedge.tolist() == [[0.0, 0.0, 0.05, 0.05, 0.0], *([[0.0] * 5] * 3)]
    assert hedged(frame[["a"]], np.full(4, 0.1), hedging()).hedge.tolist() == [[0.0]] * 4


def test_rows_follow_the_regime_of_their_session_in_any_order():
    path = regimes("NSS")
    dates, used = SESSIONS[[3, 4, 5]].repeat(4), pd.DatetimeIndex([pd.NaT, SESSIONS[0], SESSIONS[2]]).repeat(4)
    table = pd.DataFrame({"as_of": dates, "strategy": NAMES * 3, "scalar_session": used, "scaled": np.tile(WEIGHTS, 3)})
    table = table.sample(frac=1, random_state=4)
    funding, hedge = hedged_rows(table, path, hedging(funded="cash"))
    assert set(funding) == {1.0}
    given = table.assign(hedge=hedge).groupby("as_of")["hedge"].sum()
    assert given.tolist() == [0.0, 0.0, 0.05]
    assert set(table["strategy"][hedge > 0]) == {"c", "d"}


def test_golden_audit():
    days = pd.bdate_range("2020-01-01", periods=60)
    unhedged = pd.Series(np.where(np.arange(60) % 2, 0.01, -0.005), index=days)
    hedges = pd.DataFrame({"weight": 0.0, "earned": 0.0, "given_up": 0.0}, index=days)
    hedges.loc[days[10:25], ["weight", "earned", "given_up"]] = [0.08, 0.001, 0.0002]
    found = audit_of_hedges(unhedged, hedges).set_index(["window", "portfolio", "metric"])
    value, reason = found["value"], found["reason"]
    assert value["all", "hedges", "share_on"] == 0.25
    assert value["all", "hedges", "mean_weight"] == pytest.approx(0.08)
    assert value["all", "hedges", "earned"] == pytest.approx(15 * 0.001 * 252 / 60)
    assert value["all", "hedges", "given_up"] == pytest.approx(15 * 0.0002 * 252 / 60)
    assert value["all", "hedges", "carry"] == pytest.approx(15 * 0.0008 * 252 / 60)
    assert value["all", "unhedged", "cagr"] == performance(unhedged)["cagr"][0]
    assert value["2020-03", "unhedged", "worst_day"] != value["2020-03", "unhedged", "worst_day"]
    assert reason["2020-03", "unhedged", "worst_day"] == "not covered"

    short = audit_of_hedges(unhedged[:9], hedges[:9]).set_index(["portfolio", "metric"])["reason"]["hedges"]
    assert short.to_dict() == {
        "share_on": "",
        "mean_weight": "never on",
        **dict.fromkeys(("earned", "given_up", "carry"), "insufficient"),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ()}, r"strategies: expected one hedge or more"),
        ({"strategies": ("c", "c")}, r"strategies: .* each once, got \['c', 'c'\]"),
        ({"weight": 0.0}, "weight: expected a weight above 0, got 0.0"),
        ({"weight": math.nan}, "weight: expected a weight above 0"),
        ({"regimes": ()}, "regimes: expected some of NORMAL, ELEVATED, STRESS, CRISIS"),
        ({"regimes": ("stress",)}, r"regimes: .* got \['stress'\]"),
        ({"regimes": REGIMES}, "regimes: a hedge that is on in all of them is no hedge; give it a base weight instead"),
        ({"shares": {"c": 1.0}}, "shares: expected none, or one of each of d, c"),
        ({"shares": {"c": 0.0, "d": 1.0}}, "shares: expected shares above 0"),
        ({"shares": {"c": 0.5, "d": 0.4}}, "shares: expected them to add up to 1, got 0.9"),
        ({"funded": "loan"}, "funded: expected one of pro_rata, cash, got 'loan'"),
        ({"ramp": 0.0}, r"ramp: expected a share in \(0, 1\], got 0.0"),
        ({"cap": 1.5}, r"cap: expected a share in \(0, 1\], got 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    given = {"strategies": ("d", "c"), "weight": 0.1, "regimes": ("STRESS",)}
    with pytest.raises(ValueError, match=message):
        Hedges(**given | changes)


def test_one_form_and_a_hash_that_stays_without_hedges():
    plain = AllocatorParameters()
    assert parameter_hash(plain) == "33b594efcbd3241ef32b6b0b2f33b3a37f555d704bb3845882299f7d8471b26f"
    told = replace(plain, hedges=HEDGES)
    same = replace(plain, hedges=replace(HEDGES, strategies=("c", "d"), regimes=("STRESS", "CRISIS")))
    assert parameter_hash(told) == parameter_hash(same) != parameter_hash(plain)
    assert (told.hedging, plain.hedging) == (("c", "d"), ())
