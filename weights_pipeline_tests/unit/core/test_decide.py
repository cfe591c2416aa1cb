"""Signals: what is granted, what is rejected and why, and that nothing ever stops an exit."""

import datetime as dt
import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.decide import ACTIONS, CLOSING, OPENING, Mandate, decide
from weights_pipeline_tests.support.examples import examples

NOW = dt.datetime(2024, 3, 8, 15, 30, tzinfo=dt.UTC)
STALE_AFTER = dt.datetime(2024, 4, 6, tzinfo=dt.UTC)
HYBRID = {
    "chong_vansh_strategy": 0.8191,
    "SPX_1-D_Opt": 0.5779,
    "Com1-Met": 0.4309,
    "Com3-Mkt": 0.1707,
    "Forex": 0.1323,
    "Com2-Ag": 0.1038,
    "SPY": 0.0652,
    "TLT": 0.0,
    "Com4-Misc": 0.0,
}


def live(given, limit=1.0, **changes):
    return Mandate(
        **{
            "book": "max_hybrid",
            "allocations": given,
            "max_leverage": limit,
            "source": "live",
            "reason": "version 7 (scheduled)",
            "version": 7,
            "effective_from": dt.date(2024, 3, 1),
            "stale_after": STALE_AFTER,
        }
        | changes
    )


def base(reason="nothing is published"):
    return Mandate(book="max_hybrid", allocations=HYBRID, max_leverage=2.3, source="base", reason=reason)


def asked(mandate, strategy="trend", equity=100_000.0, action="enter", *, now=NOW, **in_use):
    return decide(mandate, strategy, equity, action, now=now, in_use=in_use)


def test_an_entry_gets_its_allocation_in_money_and_the_margin_of_its_share_of_leverage():
    decision = asked(live(HYBRID, 2.3), "chong_vansh_strategy", 1_000_000.0)
    assert decision.approved
    assert decision.allocation == 0.8191
    assert decision.capital == 819_100.0
    assert decision.margin == pytest.approx(356_130.4348, abs=1e-4)
    assert decision.version == 7
    assert decision.reason == "81.91% of equity allocated, 0.00% in use"


def test_margins_of_a_fully_used_book_add_up_to_the_equity():
    mandate = live(HYBRID, 2.3)
    margins = [asked(mandate, name).margin for name, allocation in HYBRID.items() if allocation]
    assert math.fsum(margins) == pytest.approx(100_000.0 * math.fsum(HYBRID.values()) / 2.3)
    assert asked(live({"trend": 0.5}, 0.8)).margin == 50_000.0, "without borrowing, margin is the capital"


@pytest.mark.parametrize("action", OPENING)
def test_what_the_strategy_has_in_use_counts_for_enter_as_for_increase(action):
    decision = asked(live({"trend": 0.25, "other": 0.5}), action=action, trend=0.125)
    assert (decision.approved, decision.allocation, decision.capital) == (True, 0.125, 12_500.0)
    assert "12.50% in use" in decision.reason


def test_the_leverage_limit_cuts_and_the_reason_says_so():
    decision = asked(live({"trend": 0.5, "other": 0.5}), other=0.5, gone_from_the_book=0.25)
    assert (decision.approved, decision.allocation) == (True, 0.25)
    assert decision.reason == "50.00% of equity left, cut by the leverage limit: 75.00% of 100.00% in use"


@pytest.mark.parametrize(
    ("mandate", "arguments", "reason"),
    [
        (live({"trend": 0.0}), {}, "0% allocation"),
        (live({"other": 0.5}), {}, "unknown strategy: 'trend' is not in book max_hybrid"),
        (
            live({"trend": 0.5}),
            {"now": STALE_AFTER + dt.timedelta.resolution},
            "stale weights: version 7 counted until",
        ),
        (base("document is corrupt"), {"strategy": "SPY"}, "base weights stand in and open nothing new: document is"),
        (live({"trend": 0.5}), {"trend": 0.5 - 1e-10}, "allocation used up: 50.00% of equity in use"),
        (live({"trend": 0.5}), {"trend": 0.7}, "allocation used up: 70.00% of equity in use"),
        (live({"trend": 0.5}), {"other": 1.0 - 1e-10}, "leverage full: 100.00% of equity in use"),
        (live({"trend": 0.5}), {"other": 1.4}, "leverage full: 140.00% of equity in use, 100.00% allowed"),
        *[
            (live({"trend": 0.5}), {"equity": e}, "equity: expected a positive amount")
            for e in (0, -1e5, 1e309, math.nan)
        ],
        *[
            (live({"trend": 0.5}), {"other": used}, "in_use: expected fractions of equity, got {'other'")
            for used in (-0.1, math.nan, math.inf)
        ],
        (live({"trend": 0.5}), {"other": math.inf, "more": -math.inf}, "in_use: expected"),
        (live({"trend": 0.5}), {"other": 1.7e308, "more": 1.7e308}, "in_use: expected"),
        (live({"trend": 0.5}), {"other": 0.5, "more": -0.5}, "got {'more': -0.5}"),
    ],
)
@pytest.mark.parametrize("action", OPENING)
def test_rejections_say_why_and_grant_nothing(mandate, arguments, reason, action):
    decision = asked(mandate, **arguments, action=action)
    assert not decision.approved
    assert reason in decision.reason
    assert (decision.allocation, decision.capital, decision.margin) == (0.0, 0.0, 0.0)
    assert decision.version == mandate.version


def test_weights_count_to_the_last_instant():
    mandate = live({"trend": 0.5})
    assert asked(mandate, now=STALE_AFTER).approved
    west = dt.timezone(dt.timedelta(hours=-5))
    assert asked(mandate, now=dt.datetime(2024, 4, 5, 19, tzinfo=west)).approved
    assert not asked(mandate, now=dt.datetime(2024, 4, 5, 19, 0, 1, tzinfo=west)).approved


def test_an_unknown_action_and_a_time_without_zone_are_errors():
    with pytest.raises(ValueError, match="action: expected one of enter, increase, reduce, exit, got 'buy'"):
        asked(live({"trend": 0.5}), action="buy")
    with pytest.raises(ValueError, match="now: expected a time with a zone"):
        asked(live({"trend": 0.5}), now=dt.datetime(2024, 3, 8))


nonsense = [None, "", "SPY", "\ud800", b"x", dt.datetime(2024, 3, 8), NOW, dt.datetime.max, {"SPY": math.nan}, [0.1]]
anything = st.one_of(st.sampled_from(nonsense), st.floats(), st.integers())
mandates = st.sampled_from([live({"trend": 0.5}), live({"trend": 0.0}), live({}), base(), live(HYBRID, 2.3)])


@given(mandates, anything, anything, st.sampled_from(CLOSING), anything, anything)
@examples(150)
def test_exits_and_reductions_are_approved_whatever_the_rest_says(mandate, strategy, equity, action, now, in_use):
    decision = decide(mandate, strategy, equity, action, now=now, in_use=in_use)
    assert decision.approved
    assert (decision.allocation, decision.capital, decision.margin) == (0.0, 0.0, 0.0)


names = st.sampled_from(["a", "b", "c", "d"])
weights = st.floats(0, 0.57)
books = st.dictionaries(names, weights, min_size=1).map(lambda allocations: live(allocations, 2.3))
used = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "gone"]), st.floats(0, 1.2))


@given(books, names, st.floats(1e-3, 1e12), st.sampled_from(OPENING), used)
@examples(150)
def test_never_beyond_the_allocation_nor_beyond_the_leverage_limit(mandate, strategy, equity, action, in_use):
    decision = decide(mandate, strategy, equity, action, now=NOW, in_use=in_use)
    allowed, total = mandate.allocations.get(strategy, 0.0), math.fsum(in_use.values())
    left = min(allowed - in_use.get(strategy, 0.0), 2.3 - total)
    assert decision.approved == (left > 1e-9)
    if decision.approved:
        assert decision.allocation == left
        assert in_use.get(strategy, 0.0) + decision.allocation <= allowed + 1e-15
        assert total + decision.allocation <= 2.3 + 1e-15
        assert 0 < decision.margin <= decision.capital <= 0.57 * equity


@given(books, names, st.floats(1, 1e9), st.integers(-20, 20), used)
@examples(150)
def test_capital_scales_with_equity(mandate, strategy, equity, power, in_use):
    one = decide(mandate, strategy, equity, "enter", now=NOW, in_use=in_use)
    other = decide(mandate, strategy, equity * 2.0**power, "enter", now=NOW, in_use=in_use)
    assert (other.approved, other.allocation, other.reason) == (one.approved, one.allocation, one.reason)
    assert (other.capital, other.margin) == (one.capital * 2.0**power, one.margin * 2.0**power)


@given(books, names, used, st.randoms())
@examples(100)
def test_the_order_of_strategies_changes_nothing(mandate, strategy, in_use, random):
    shuffled = [list(mapping.items()) for mapping in (in_use, mandate.allocations)]
    for pairs in shuffled:
        random.shuffle(pairs)
    other = replace(mandate, allocations=dict(shuffled[1]))
    one = decide(mandate, strategy, 1e5, "enter", now=NOW, in_use=in_use)
    assert decide(other, strategy, 1e5, "enter", now=NOW, in_use=dict(shuffled[0])) == one


def test_what_is_in_use_adds_up_to_the_same_in_any_order():
    used = {"a": 0.1, "b": 0.2, "c": 0.3}
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    answers = [asked(live({"trend": 1.0}), **dict(order)) for order in (used.items(), reversed(used.items()))]
    assert answers[0] == answers[1]
    assert answers[0].allocation == 1.0 - 0.6


def test_books_of_different_accounts_decide_independently():
    one = live({"trend": 0.5}, book="one")
    other = live({"trend": 0.25}, 2.0, book="other", version=9)
    full = asked(one, trend=0.5)
    free = asked(other)
    assert not full.approved
    assert (free.approved, free.allocation, free.book, free.version) == (True, 0.25, "other", 9)
    assert asked(one) == asked(one), "what was asked before leaves no trace"


def test_a_mandate_cannot_be_changed_by_whoever_holds_it_or_made_it():
    allocations = {"trend": 0.5}
    mandate = live(allocations)
    allocations["trend"] = 1.0
    assert asked(mandate).allocation == 0.5
    with pytest.raises(TypeError):
        mandate.allocations["trend"] = 1.0
    with pytest.raises(FrozenInstanceError):
        mandate.max_leverage = 9.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allocations": {"trend": -0.1}}, "allocations.trend: expected a finite weight of 0 or more, got -0.1"),
        ({"allocations": {"trend": math.nan}}, "allocations.trend: expected a finite weight"),
        ({"allocations": {"trend": math.inf}}, "allocations.trend: expected a finite weight"),
        ({"allocations": {"trend": "0.5"}}, "allocations.trend: expected a finite weight"),
        ({"allocations": {"trend": True}}, "allocations.trend: expected a finite weight"),
        ({"allocations": {"a": 0.6, "b": 0.5}}, "allocations: expected weights that add up to at most 1, got 1.1"),
        ({"allocations": {"a": 10**400}}, "allocations: expected weights that add up to at most 1, got inf"),
        ({"max_leverage": 0.0}, "max_leverage: expected a positive multiple of equity, got 0.0"),
        ({"max_leverage": math.nan}, "max_leverage: expected a positive multiple"),
        ({"max_leverage": math.inf}, "max_leverage: expected a positive multiple"),
        ({"stale_after": dt.datetime(2024, 4, 6)}, "stale_after: expected a time with a zone"),
        ({"stale_after": None}, "source: expected live with version, effective_from and stale_after"),
        ({"source": "base"}, "source: expected live with version"),
        ({"source": "guess"}, "source: expected live with version"),
    ],
)
def test_a_mandate_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        live({"trend": 0.5}, **changes)


def test_allocations_may_exceed_the_limit_by_rounding_only():
    assert live({"a": 0.1, "b": 0.2, "c": 0.7 + 5e-10})
    with pytest.raises(ValueError, match="add up to at most"):
        live({"a": 0.1, "b": 0.2, "c": 0.7 + 5e-9})


def test_every_action_is_either_opening_or_closing():
    assert set(ACTIONS) == {"enter", "increase", "reduce", "exit"}
    assert not set(OPENING) & set(CLOSING)
