"""Daily strategy returns: definitions by hand, a slow oracle, and what must not change a single bit."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from weights_pipeline.core.returns.capital import (
    AverageLotValue,
    AveragePositionValue,
    CapitalBase,
    CapitalEntry,
    CapitalPolicy,
)
from weights_pipeline.core.returns.currencies import UnknownRateError
from weights_pipeline.core.returns.daily import daily_return_arrays, daily_returns, wide
from weights_pipeline.core.returns.lot_arrays import LotArrays
from weights_pipeline.core.returns.marking import mark_to_market
from weights_pipeline_tests.support.examples import examples

SESSIONS = pd.bdate_range("2020-01-01", periods=90)
WINDOW = 15
POSITION, LOT = AveragePositionValue(sessions=WINDOW), AverageLotValue(sessions=WINDOW)
WINDOWED = pytest.mark.parametrize("policy", [POSITION, LOT], ids=lambda policy: policy.kind)
seeds = st.integers(0, 2**32 - 1)


def lot(strategy: str, opened: int, closed: int, entry: float, pnl: float, **more: object) -> dict[str, object]:
    return {
        "strategy": strategy,
        "open_session": SESSIONS[opened],
        "session": SESSIONS[closed],
        "entry_value": entry,
        "pnl": pnl,
        "margin_used": np.nan,
        "source": "lots",
        "parent_lot_id": f"{strategy} {opened} {closed} {entry}",
        "symbol": "X",
        "quantity": 1.0,
    } | more


def ledger(*lots: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(lots))


def random_ledger(seed: int, size: int = 60, sessions: pd.DatetimeIndex = SESSIONS) -> pd.DataFrame:
    """Lots of three strategies, held from 0 to 25 sessions, at values that do not add up exactly."""
    rng = np.random.default_rng(seed)
    closed = rng.integers(0, len(sessions), size)
    opened = np.maximum(closed - rng.integers(0, 26, size), 0)
    entry = rng.lognormal(8, 1.5, size)
    quantity = rng.lognormal(2, 1, size)
    exit_price = entry / quantity * (1 + rng.normal(0, 0.01, size))
    side = rng.choice(["long", "short"], size)
    sign = np.where(side == "long", 1, -1)
    return pd.DataFrame(
        {
            "strategy": rng.choice(["alpha", "beta", "gamma"], size),
            "symbol": rng.choice(["X", "Y"], size),
            "side": side,
            "quantity": quantity,
            "open_price": entry / quantity,
            "close_price": exit_price,
            "open_session": sessions[opened],
            "session": sessions[closed],
            "entry_value": entry,
            "pnl": sign * quantity * (exit_price - entry / quantity) - rng.uniform(0, 0.001, size) * entry,
            "margin_used": rng.choice([np.nan, 0.0, 10.0], size),
            "source": "lots",
            "parent_lot_id": [f"opening {number}" for number in range(size)],
        }
    )


def with_snapshots(lots: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same lots as if from fills: with a snapshot of what was open at each month end."""
    ends = SESSIONS.to_series().groupby([SESSIONS.year, SESSIONS.month]).max()
    open_lots = [lots[(lots["open_session"] <= end) & (lots["session"] > end)].assign(snapshot=end) for end in ends]
    known = [
        "lot_id",
        "strategy",
        "symbol",
        "side",
        "quantity",
        "open_price",
        "open_session",
        "entry_value",
        "snapshot",
    ]
    opened = pd.concat(open_lots, ignore_index=True)
    known += ["currency"] * ("currency" in lots)
    return lots.assign(source="fills"), opened.assign(lot_id=opened["parent_lot_id"])[known]


def assert_same_bits(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert list(left.columns) == list(right.columns)
    assert len(left) == len(right)
    for name in left.columns:
        a, b = left[name].to_numpy(), right[name].to_numpy()
        assert a.tobytes() == b.tobytes() if a.dtype.kind in "fib" else (a == b).all(), name


def oracle(lots: pd.DataFrame, policy: CapitalPolicy, *, openings_known: bool = False) -> dict[tuple[str, int], float]:
    """Capital by the definition: loops over strategies, sessions, windows and lots."""
    result = {}
    for name, own in lots.groupby("strategy"):
        opened, closed = SESSIONS.get_indexer(own["open_session"]), SESSIONS.get_indexer(own["session"])
        entry = own["entry_value"].to_numpy()
        for t in range(len(SESSIONS)):
            trailing = range(max(0, t - WINDOW + 1), t + 1)
            if isinstance(policy, AverageLotValue):
                values = [e for e, c in zip(entry, closed, strict=True) if c in trailing]
            else:
                values = [
                    sum(
                        e
                        for e, o, c in zip(entry, opened, closed, strict=True)
                        if o <= s <= c and (c <= t or openings_known)
                    )
                    for s in trailing
                ]
            dust = 0.0 if isinstance(policy, AverageLotValue) else max(values) / 100
            held = [v for v in values if v >= dust and v > 0]
            result[str(name), t] = sum(held) / len(held) if held else np.nan
    return result


def assert_capital(frame: pd.DataFrame, expected: dict[tuple[str, int], float]) -> None:
    position = SESSIONS.get_indexer(frame["session"])
    wanted = [expected[name, t] for name, t in zip(frame["strategy"], position, strict=True)]
    np.testing.assert_allclose(frame["capital"], wanted, rtol=1e-12)


def test_average_position_value_counts_open_to_exit_inclusive_over_sessions_with_a_position():
    lots = ledger(lot("a", 0, 2, 100.0, 10.0), lot("a", 2, 3, 80.0, -5.0))
    result = daily_returns(lots, SESSIONS[:6], AveragePositionValue(sessions=4))
    # E_2 = 100 100 100, E_3 = 100 100 180 80; then the window moves on, and empty sessions do not count.
    assert result["session"].tolist() == SESSIONS[2:6].tolist()
    assert result["capital"].tolist() == [100.0, 115.0, 120.0, 130.0]
    assert result["daily_return"].tolist() == [0.1, -5 / 115, 0.0, 0.0]
    assert result["pnl"].tolist() == [10.0, -5.0, 0.0, 0.0]
    assert result["closed_lots"].tolist() == [1, 1, 0, 0]
    assert result["winning_lots"].tolist() == [1, 0, 0, 0]


def test_a_lot_is_not_in_the_capital_before_its_exit_reveals_it():
    early = lot("a", 0, 1, 100.0, 1.0)
    alone = daily_returns(ledger(early), SESSIONS[:9], POSITION)
    both = daily_returns(ledger(early, lot("a", 1, 8, 1e6, 1.0)), SESSIONS[:9], POSITION)
    assert both["capital"].tolist()[:-1] == alone["capital"].tolist()[:-1] == [100.0] * 7
    # The 100 of the first session are dust beside it.
    assert both["capital"].iloc[-1] == (1_000_100 + 7 * 1e6) / 8


def test_average_lot_value_is_the_mean_entry_of_lots_closed_in_the_window():
    lots = ledger(lot("a", 0, 1, 100.0, 3.0), lot("a", 0, 1, 200.0, 0.0), lot("a", 1, 3, 600.0, -6.0))
    result = daily_returns(lots, SESSIONS[:6], AverageLotValue(sessions=3))
    assert result["capital"].tolist() == [150.0, 150.0, 300.0, 600.0, 600.0]
    assert result["daily_return"].tolist() == [0.02, 0.0, -0.02, 0.0, 0.0]


def test_capital_base_is_in_force_from_its_date():
    table = (
        CapitalEntry(strategy="a", date=SESSIONS[3].date(), capital=200.0),
        CapitalEntry(strategy="a", date=dt.date(2019, 6, 1), capital=100.0),
        CapitalEntry(strategy="elsewhere", date=dt.date(2019, 6, 1), capital=1.0),
    )
    lots = ledger(lot("a", 0, 2, 5.0, 10.0), lot("a", 0, 3, 5.0, 10.0), lot("a", 0, 4, 5.0, 10.0))
    result = daily_returns(lots, SESSIONS[:5], CapitalBase(table=table))
    assert result["capital"].tolist() == [100.0, 200.0, 200.0]
    assert result["daily_return"].tolist() == [0.1, 0.05, 0.05]


@WINDOWED
@examples(15)
@given(seed=seeds)
def test_windowed_capital_agrees_with_the_definition(policy: CapitalPolicy, seed: int):
    lots = random_ledger(seed)
    result = daily_returns(lots, SESSIONS, policy)
    assert_capital(result, oracle(lots, policy))
    exits = lots.groupby(["session", "strategy"])["pnl"].agg(["sum", "count"])
    booked = result.set_index(["session", "strategy"]).loc[exits.index]
    np.testing.assert_allclose(booked["daily_return"], exits["sum"] / booked["capital"], rtol=1e-9, atol=1e-15)
    assert booked["closed_lots"].tolist() == exits["count"].tolist()
    assert (result.loc[result["closed_lots"] == 0, "daily_return"] == 0).all()


@examples(15)
@given(seed=seeds)
def test_from_fills_open_positions_count_from_their_opening(seed: int):
    lots, open_lots = with_snapshots(random_ledger(seed))
    result = daily_returns(lots, SESSIONS, POSITION, open_lots=open_lots)
    assert_capital(result, oracle(lots, POSITION, openings_known=True))
    opening = lots.groupby("strategy")["open_session"].min()
    assert result.groupby("strategy")["session"].min().to_dict() == opening.to_dict()


@WINDOWED
@examples(15)
@given(seed=seeds, cut=st.integers(5, len(SESSIONS) - 2))
def test_cutting_the_ledger_leaves_earlier_rows_bit_identical(policy: CapitalPolicy, seed: int, cut: int):
    lots = random_ledger(seed)
    whole = daily_returns(lots, SESSIONS, policy)
    until = whole[whole["session"] <= SESSIONS[cut]].reset_index(drop=True)
    assert_same_bits(until, daily_returns(lots[lots["session"] <= SESSIONS[cut]], SESSIONS[: cut + 1], policy))
    # Later lots in the frame change nothing either.
    assert_same_bits(until, daily_returns(lots, SESSIONS[: cut + 1], policy))


@WINDOWED
@examples(15)
@given(seed=seeds, start=st.integers(2 * WINDOW, len(SESSIONS) - 2))
def test_a_ledger_trimmed_to_the_window_gives_the_same_bits(policy: CapitalPolicy, seed: int, start: int):
    lots = random_ledger(seed)
    whole = daily_returns(lots, SESSIONS, policy)
    first = whole.groupby("strategy")["session"].min().to_dict()
    trimmed = daily_returns(
        lots[lots["session"] > SESSIONS[start - WINDOW]],
        SESSIONS[start - 2 * WINDOW :],
        policy,
        first_activity=first,
        start=SESSIONS[start],
    )
    assert_same_bits(whole[whole["session"] >= SESSIONS[start]].reset_index(drop=True), trimmed)


@WINDOWED
@examples(15)
@given(seed=seeds, earlier=st.integers(1, 2 * WINDOW))
def test_sessions_before_the_first_lot_change_no_bit(policy: CapitalPolicy, seed: int, earlier: int):
    lots = random_ledger(seed, sessions=SESSIONS[earlier:])
    assert_same_bits(daily_returns(lots, SESSIONS, policy), daily_returns(lots, SESSIONS[earlier:], policy))


@examples(12)
@given(seed=seeds)
def test_month_by_month_from_fills_equals_one_batch(seed: int):
    lots, open_lots = with_snapshots(random_ledger(seed))
    whole = daily_returns(lots, SESSIONS, POSITION, open_lots=open_lots)
    first = whole.groupby("strategy")["session"].min().to_dict()
    months = []
    for _, month in SESSIONS.to_series().groupby([SESSIONS.year, SESSIONS.month]):
        months.append(
            daily_returns(
                lots[lots["session"] <= month.iloc[-1]],
                SESSIONS[month.iloc[-1] >= SESSIONS],
                POSITION,
                open_lots=open_lots[open_lots["snapshot"] <= month.iloc[-1]],
                first_activity=first,
                start=month.iloc[0],
            )
        )
    assert_same_bits(whole, pd.concat(months, ignore_index=True))


@WINDOWED
@examples(15)
@given(seed=seeds)
def test_order_of_rows_and_company_of_other_strategies_change_no_bit(policy: CapitalPolicy, seed: int):
    lots = random_ledger(seed)
    whole = daily_returns(lots, SESSIONS, policy)
    assert_same_bits(whole, daily_returns(lots.sample(frac=1, random_state=seed), SESSIONS, policy))
    alone = daily_returns(lots[lots["strategy"] == "beta"], SESSIONS, policy)
    assert_same_bits(whole[whole["strategy"] == "beta"].reset_index(drop=True), alone)


def test_a_position_that_is_gone_leaves_exactly_nothing_behind():
    lots = ledger(lot("a", 0, 5, 0.1, 0.0), lot("a", 0, 5, 1e15, 0.0), lot("a", 40, 41, 100.0, 1.0))
    result = daily_returns(lots, SESSIONS[:45], POSITION).set_index("session")
    assert result.loc[SESSIONS[20:40], "capital"].isna().all()
    assert result.loc[SESSIONS[41], "capital"] == 100.0


def test_active_means_a_known_open_lot_that_uses_margin_or_does_not_say():
    closed = ledger(
        lot("a", 0, 2, 10.0, 0.0),
        lot("a", 2, 4, 10.0, 0.0, margin_used=0.0),
        lot("a", 3, 5, 10.0, 0.0, margin_used=2.0),
    )
    assert daily_returns(closed, SESSIONS[:7], POSITION)["active"].tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    fills = ledger(lot("a", 1, 3, 10.0, 0.0, source="fills"))
    still_open = pd.DataFrame(
        {
            "lot_id": ["x"],
            "strategy": ["a"],
            "symbol": ["X"],
            "quantity": [1.0],
            "entry_value": [5.0],
            "open_session": [SESSIONS[6]],
            "snapshot": [SESSIONS[22]],
        }
    )
    result = daily_returns(fills, SESSIONS[:23], POSITION, open_lots=still_open)
    assert result["session"].iloc[0] == SESSIONS[1]
    assert result["active"].tolist() == [True] * 3 + [False] * 2 + [True] * 17
    assert result["closed_lots"].sum() == 1


def test_dates_of_any_unit_mean_the_same():
    lots = random_ledger(7)
    coarse = lots.assign(session=lots["session"].astype("datetime64[s]"))
    assert_same_bits(daily_returns(lots, SESSIONS, POSITION), daily_returns(coarse, SESSIONS.as_unit("us"), POSITION))


def test_no_lots_give_no_rows_and_given_first_activity_gives_zeros():
    none = random_ledger(1).iloc[:0]
    assert daily_returns(none, SESSIONS, POSITION).empty
    idle = daily_returns(none, SESSIONS[:4], POSITION, first_activity={"a": SESSIONS[2]})
    assert idle["session"].tolist() == SESSIONS[2:4].tolist()
    assert idle["daily_return"].tolist() == [0.0, 0.0]
    assert idle["capital"].isna().all()


def test_wide_spreads_one_column():
    lots = ledger(lot("b", 0, 1, 10.0, 1.0), lot("a", 0, 2, 10.0, 2.0))
    spread = wide(daily_returns(lots, SESSIONS[:3], POSITION), "pnl")
    assert list(spread.columns) == ["a", "b"]
    np.testing.assert_array_equal(spread.to_numpy(), [[np.nan, 1.0], [2.0, 0.0]])


def marks(seed: int) -> pd.DataFrame:
    steps = np.random.default_rng(seed).normal(0, 0.01, (len(SESSIONS), 2))
    return pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), index=SESSIONS, columns=["X", "Y"])


@examples(15)
@given(seed=seeds)
def test_marked_days_of_lots_add_up_to_their_pnl(seed: int):
    lots, open_lots = with_snapshots(random_ledger(seed))
    mixed = pd.concat([lots, random_ledger(seed + 1, 5)], ignore_index=True)
    marked = mark_to_market(mixed, open_lots, marks(seed), SESSIONS)
    expected = mixed.groupby("strategy")["pnl"].sum()
    np.testing.assert_allclose(marked.sum(), expected, rtol=1e-9, atol=1e-7)
    shuffled = mark_to_market(mixed.sample(frac=1, random_state=1), open_lots[::-1], marks(seed), SESSIONS)
    assert_same_bits(marked, shuffled)


def test_marking_follows_prices_between_entry_and_exit_and_books_fees_on_exit():
    prices = pd.DataFrame({"X": [10.0, 11.0, 13.0, 12.0, 15.0]}, index=SESSIONS[:5])
    short = lot("a", 1, 3, 24.0, -1.5, symbol="X", side="short", quantity=2.0, open_price=12.0, source="fills")
    lots = ledger(short | {"close_price": 12.5})
    marked = mark_to_market(lots, with_snapshots(lots)[1], prices, SESSIONS[:5])
    assert marked["a"].tolist() == [0.0, 2.0, -4.0, 1.0 - 0.5, 0.0]
    result = daily_returns(lots, SESSIONS[:5], POSITION, open_lots=with_snapshots(lots)[1], marked=marked)
    assert result["daily_return"].tolist() == [2 / 24, -4 / 24, 0.5 / 24, 0.0]
    assert result["pnl"].tolist() == [2.0, -4.0, 0.5, 0.0]


def test_marking_without_a_price_names_strategy_symbol_and_session():
    lots, open_lots = with_snapshots(
        ledger(lot("a", 1, 3, 24.0, 0.0, symbol="X", side="long", quantity=2.0, open_price=12.0, close_price=12.0))
    )
    prices = pd.DataFrame({"X": [10.0, 11.0, np.nan, 12.0]}, index=SESSIONS[:4])
    with pytest.raises(ValueError, match=r"strategy a held X on 2020-01-03.*no price"):
        mark_to_market(lots, open_lots, prices, SESSIONS[:4])


def test_marked_pnl_must_cover_every_strategy_and_session():
    lots = ledger(lot("a", 0, 1, 10.0, 1.0))
    short = pd.DataFrame({"a": [0.0, 1.0]}, index=SESSIONS[:2])
    with pytest.raises(ValueError, match="no P&L of strategy a on 2020-01-03"):
        daily_returns(lots, SESSIONS[:3], POSITION, marked=short)


def test_an_exit_without_capital_names_strategy_session_and_remedy():
    table = (CapitalEntry(strategy="a", date=SESSIONS[5].date(), capital=100.0),)
    with pytest.raises(ValueError, match=r"strategy a has P&L of 7\.00 on 2020-01-03 .*capital_base: .* add an entry"):
        daily_returns(ledger(lot("a", 0, 2, 1.0, 7.0)), SESSIONS, CapitalBase(table=table))


@WINDOWED
def test_an_exit_without_entry_value_names_the_remedy(policy: CapitalPolicy):
    with pytest.raises(ValueError, match=r"strategy a .* no capital under average_.*dated capital_base"):
        daily_returns(ledger(lot("a", 0, 2, 0.0, 7.0)), SESSIONS, policy)


@pytest.mark.parametrize("loss", [-100.0, -250.0])
def test_a_loss_of_all_capital_is_refused_with_the_figures(loss: float):
    with pytest.raises(ValueError, match=rf"strategy a .*2020-01-03: P&L {loss:.2f} on capital 100\.00"):
        daily_returns(ledger(lot("a", 0, 2, 100.0, loss)), SESSIONS, POSITION)


def test_history_before_the_start_is_not_judged():
    lots = ledger(lot("a", 0, 2, 100.0, -250.0), lot("a", 3, 5, 100.0, 1.0))
    result = daily_returns(lots, SESSIONS[:7], POSITION, start=SESSIONS[4])
    assert result["daily_return"].tolist() == [0.0, 0.01, 0.0]


def test_a_position_from_before_the_first_session_counts_from_the_first_session_on():
    lots = ledger(lot("a", 0, 7, 100.0, 1.0), lot("a", 6, 8, 60.0, 1.0))
    result = daily_returns(lots, SESSIONS[5:10], POSITION)
    assert result["session"].iloc[0] == SESSIONS[7]
    assert result["capital"].tolist() == [100.0, (100 + 160 + 160 + 60) / 4, (100 + 160 + 160 + 60) / 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"session": pd.Timestamp("2020-01-04")}, "session: 2020-01-04 of strategy a is not a session"),
        ({"open_session": pd.Timestamp("2020-01-04")}, "open_session: 2020-01-04"),
        ({"open_session": SESSIONS[9]}, r"the lot opens after it ends: strategy a, session 2020-01-07"),
        ({"pnl": np.inf}, "pnl is not finite: strategy a"),
        ({"entry_value": -1.0}, "entry_value is negative"),
        ({"pnl": np.nan}, "column 'pnl' has 1 nulls"),
    ],
)
def test_rows_that_cannot_be_are_refused(change: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        daily_returns(ledger(lot("a", 1, 4, 10.0, 1.0) | change), SESSIONS, POSITION)


def test_missing_columns_and_bad_grids_are_refused():
    lots = ledger(lot("a", 1, 4, 10.0, 1.0))
    for column in ("entry_value", "margin_used"):
        with pytest.raises(ValueError, match=f"column '{column}' is missing"):
            daily_returns(lots.drop(columns=column), SESSIONS, POSITION)
    with pytest.raises(ValueError, match="open_lots: column 'snapshot' is missing"):
        daily_returns(lots, SESSIONS, POSITION, open_lots=lots.assign(lot_id="x"))
    for sessions in (SESSIONS[:0], SESSIONS[::-1], SESSIONS.tz_localize("UTC")):
        with pytest.raises(ValueError, match="sessions: expected"):
            daily_returns(lots, sessions, POSITION)


def test_first_activity_must_cover_and_precede_the_lots():
    lots = ledger(lot("a", 1, 4, 10.0, 1.0))
    with pytest.raises(ValueError, match="strategy a has lots but no first session"):
        daily_returns(lots, SESSIONS, POSITION, first_activity={"b": SESSIONS[0]})
    with pytest.raises(ValueError, match="strategy a has lots on 2020-01-07, before 2020-01-08"):
        daily_returns(lots, SESSIONS, POSITION, first_activity={"a": SESSIONS[5]})


def test_array_core_refuses_rows_out_of_order():
    with pytest.raises(ValueError, match="sorted by session"):
        coded(session=[3, 2])


def test_array_core_takes_small_integers_without_overflow():
    few = daily_return_arrays(coded(session=[2, 80], dtype=np.int8), AveragePositionValue(sessions=60))
    many = daily_return_arrays(coded(session=[2, 80], dtype=np.int64), AveragePositionValue(sessions=60))
    assert few.capital.tobytes() == many.capital.tobytes()
    assert few.daily_return[1, 80] == 0.1


def coded(session: list[int], dtype: type = np.int64) -> LotArrays:
    size = len(session)
    return LotArrays(
        strategies=("a", "b", "c"),
        sessions=SESSIONS,
        strategy=np.ones(size, dtype=dtype),
        session=np.array(session, dtype=dtype),
        open_session=np.zeros(size, dtype=dtype),
        pnl=np.ones(size),
        entry_value=np.full(size, 10.0),
        uses_margin=np.ones(size, dtype=bool),
        states_margin=np.zeros(size, dtype=bool),
        from_fills=np.zeros(size, dtype=bool),
    )


def test_policies_load_from_plain_data_and_refuse_what_they_do_not_know():
    adapter = TypeAdapter(Annotated[CapitalPolicy, Field(discriminator="kind")])
    entry = {"strategy": "a", "date": "2020-01-01", "capital": 5}
    loaded = adapter.validate_python({"kind": "capital_base", "table": [entry]})
    assert loaded == CapitalBase(table=(CapitalEntry(strategy="a", date=dt.date(2020, 1, 1), capital=5.0),))
    assert adapter.validate_python({"kind": "average_position_value"}) == AveragePositionValue(sessions=252)
    for wrong in (
        {"kind": "average_lot_value", "window": 3},
        {"kind": "average_lot_value", "sessions": 0},
        {"kind": "capital_base", "table": [entry, entry]},
        {"kind": "capital_base", "table": [entry | {"capital": 0}]},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def in_currencies(seed: int, *names: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random lots of which each is in account currency or another one, and the rates."""
    rng, lots = np.random.default_rng(seed), random_ledger(seed)
    lots["currency"] = pd.Series(rng.choice(["", *names], len(lots)), dtype="str").replace("", np.nan)
    rates = pd.DataFrame(rng.lognormal(0, 0.2, (len(SESSIONS), len(names))), index=SESSIONS, columns=list(names))
    exits = zip(lots["currency"], lots["session"], strict=True)
    left = [1.0 if pd.isna(name) else rates.loc[day, name] for name, day in exits]
    return lots.assign(pnl=lots["pnl"] * left), rates


def seven_after(day: pd.Timestamp, rates: pd.DataFrame) -> pd.DataFrame:
    """Rates that are all 7 after a day."""
    later = rates.copy()
    later.loc[later.index > day] = 7.0
    return later


@pytest.mark.parametrize("openings_known", [False, True])
@examples(12)
@given(seed=seeds)
def test_capital_counts_what_each_session_held_at_the_rates_of_that_session(openings_known: bool, seed: int):
    lots, rates = in_currencies(seed, "EUR", "GBP")
    own, open_lots = with_snapshots(lots) if openings_known else (lots, None)
    result = daily_returns(own, SESSIONS, POSITION, open_lots=open_lots, rates=rates)
    # What was open in a session, lot by lot, as if each session were a lot of its own.
    known, rows = rates.assign(own=1.0), list[tuple[object, ...]]()
    for row in lots.to_dict("records"):
        name = "own" if pd.isna(row["currency"]) else row["currency"]
        days = SESSIONS[SESSIONS.slice_indexer(row["open_session"], row["session"])]
        rows += [(row["strategy"], row["session"], day, row["entry_value"] * known.loc[day, name]) for day in days]
    held = pd.DataFrame(rows, columns=["strategy", "closed", "day", "value"])
    for row in result.sample(20, random_state=seed).to_dict("records"):
        at = SESSIONS.get_loc(row["session"])
        window = SESSIONS[max(0, at - WINDOW + 1) : at + 1]
        seen = held[(held["strategy"] == row["strategy"]) & (openings_known | (held["closed"] <= row["session"]))]
        values = seen[seen["day"].isin(window)].groupby("day")["value"].sum()
        expected = values[values >= values.max() / 100].mean()
        assert row["capital"] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_average_lot_value_counts_a_lot_at_the_rate_of_the_session_it_was_closed_in():
    lots = ledger(lot("a", 0, 1, 10.0, 1.0, currency="EUR"), lot("a", 0, 2, 20.0, 1.0, currency=None))
    rates = pd.DataFrame({"EUR": [3.0, 2.0, 5.0]}, index=SESSIONS[:3])
    assert daily_returns(lots, SESSIONS[:3], LOT, rates=rates)["capital"].tolist() == [20.0, 20.0]


@WINDOWED
@examples(12)
@given(seed=seeds, cut=st.integers(5, len(SESSIONS) - 2))
def test_in_several_currencies_no_later_lot_or_rate_no_order_and_no_company_changes_a_bit(
    policy: CapitalPolicy, seed: int, cut: int
):
    lots, rates = in_currencies(seed, "EUR", "GBP")
    whole = daily_returns(lots, SESSIONS, policy, rates=rates)
    until = whole[whole["session"] <= SESSIONS[cut]].reset_index(drop=True)
    early = lots[lots["session"] <= SESSIONS[cut]]
    later = seven_after(SESSIONS[cut], rates).assign(CHF=1.0)
    assert_same_bits(until, daily_returns(early, SESSIONS[: cut + 1], policy, rates=later))
    assert_same_bits(whole, daily_returns(lots.sample(frac=1, random_state=seed), SESSIONS, policy, rates=rates))
    for own in (lots["strategy"] == "beta", lots["currency"].isna() & (lots["strategy"] == "beta")):
        others = lots[own | (lots["strategy"] != "beta")]
        beta = daily_returns(others, SESSIONS, policy, rates=rates).query("strategy == 'beta'").reset_index(drop=True)
        assert_same_bits(beta, daily_returns(lots[own], SESSIONS, policy, rates=rates))


@examples(12)
@given(seed=seeds)
def test_marked_days_add_up_to_the_pnl_at_the_rate_of_the_exit_and_a_month_that_ends_changes_no_bit(seed: int):
    lots, rates = in_currencies(seed, "EUR", "GBP")
    lots, open_lots = with_snapshots(lots)
    marked = mark_to_market(lots, open_lots, marks(seed), SESSIONS, rates)
    np.testing.assert_allclose(marked.sum(), lots.groupby("strategy")["pnl"].sum(), rtol=1e-9, atol=1e-7)
    shuffled = mark_to_market(lots.sample(frac=1, random_state=1), open_lots[::-1], marks(seed), SESSIONS, rates)
    assert_same_bits(marked, shuffled)
    end = open_lots["snapshot"].min()
    early = mark_to_market(
        lots[lots["session"] <= end],
        open_lots[open_lots["snapshot"] <= end],
        marks(seed),
        SESSIONS[end >= SESSIONS],
        seven_after(end, rates),
    )
    assert_same_bits(marked.loc[:end, early.columns], early)


@WINDOWED
@examples(12)
@given(seed=seeds, rate=st.sampled_from([0.5, 8.0, 0.7, 3.0]))
def test_a_rate_that_never_moves_leaves_returns(policy: CapitalPolicy, seed: int, rate: float):
    lots, open_lots = with_snapshots(random_ledger(seed))
    rates = pd.DataFrame({"EUR": rate}, index=SESSIONS)
    there, open_there = lots.assign(currency="EUR", pnl=lots["pnl"] * rate), open_lots.assign(currency="EUR")
    exact = rate in (0.5, 8.0)
    pd.testing.assert_frame_equal(
        daily_returns(there, SESSIONS, policy, open_lots=open_there, rates=rates).drop(columns=["pnl", "capital"]),
        daily_returns(lots, SESSIONS, policy, open_lots=open_lots).drop(columns=["pnl", "capital"]),
        check_exact=exact,
        rtol=1e-12,
        atol=1e-15,
    )
    pd.testing.assert_frame_equal(
        mark_to_market(there, open_there, marks(seed), SESSIONS, rates),
        mark_to_market(lots, open_lots, marks(seed), SESSIONS) * rate,
        check_exact=exact,
        rtol=1e-9,
        atol=1e-6,
    )


def test_a_rate_that_is_missing_is_an_error_with_currency_and_date_and_five_sessions_old_it_is_used():
    lots = ledger(lot("a", 2, 8, 10.0, 1.0, currency="EUR"))
    rates = pd.DataFrame({"EUR": [2.0, 4.0]}, index=SESSIONS[[2, 8]])
    with pytest.raises(UnknownRateError, match="there is no rate of EUR on 2020-01-13, nor in the 5 sessions before"):
        daily_returns(lots, SESSIONS[:9], POSITION, rates=rates.iloc[:1])
    assert daily_returns(lots, SESSIONS[:9], POSITION, rates=rates)["capital"].tolist() == [(6 * 20 + 40) / 7]
    with pytest.raises(UnknownRateError, match="no rate of EUR on 2020-01-03"):
        daily_returns(lots, SESSIONS[:9], POSITION)
