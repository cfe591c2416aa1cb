"""FIFO matching, profit of a lot, and the rules of a ledger row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core.returns.cells import Column, Fault, Formats, parse_cells
from weights_pipeline.core.returns.identity import duplicate_faults
from weights_pipeline.core.returns.lots import (
    LOT_COLUMNS,
    RETURN_COLUMNS,
    cancelled_faults,
    entry_value,
    fill_faults,
    lot_faults,
    lot_pnl,
    return_faults,
    signed_amounts,
)
from weights_pipeline.core.returns.matching import FILL, match_fifo, open_lots_at
from weights_pipeline_tests.support.examples import examples

START = pd.Timestamp("2024-01-01")
FIGURES = ["side", "quantity", "open_price", "close_price", "fees", "pnl"]


def fills(rows: Sequence[tuple[Any, ...]], **more: Any) -> pd.DataFrame:
    """Events of one strategy and symbol from (day, amount, price[, fees[, fill_id]]), in the order of a file."""
    days, amounts, prices, fees, ids = zip(*(row + (0.0, None)[len(row) - 3 :] for row in rows), strict=True)
    return pd.DataFrame(
        {
            "strategy": pd.array(["s"] * len(rows), dtype="str"),
            "symbol": pd.array(["X"] * len(rows), dtype="str"),
            "ts": START + pd.to_timedelta(days, unit="D"),
            "amount": np.array(amounts, dtype=float),
            "price": np.array(prices, dtype=float),
            "fees": np.array(fees, dtype=float),
            "fill_id": pd.array(ids, dtype="str"),
            "multiplier": 1.0,
            "sequence": np.nan,
            "position": np.arange(len(rows), dtype=float),
            "event": FILL,
        }
        | more
    )


# --- matching by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "lots", "left"),
    [
        pytest.param([(0, 10, 5), (1, -10, 6)], [("long", 10, 5, 6, 0, 10)], [], id="one long"),
        pytest.param([(0, -10, 5), (1, 10, 6)], [("short", 10, 5, 6, 0, -10)], [], id="one short"),
        pytest.param(
            [(0, 10, 5), (1, -4, 6), (2, -6, 7)],
            [("long", 4, 5, 6, 0, 4), ("long", 6, 5, 7, 0, 12)],
            [],
            id="closed in parts",
        ),
        pytest.param(
            [(0, 4, 5), (1, 6, 5.5), (2, -10, 7)],
            [("long", 4, 5, 7, 0, 8), ("long", 6, 5.5, 7, 0, 9)],
            [],
            id="one exit of two openings, oldest first",
        ),
        pytest.param(
            [(0, 10, 5), (1, -15, 6), (2, 5, 4)],
            [("long", 10, 5, 6, 0, 10), ("short", 5, 6, 4, 0, 10)],
            [],
            id="flip long to short",
        ),
        pytest.param(
            [(0, -2, 5), (1, 5, 4)],
            [("short", 2, 5, 4, 0, 2)],
            [("long", 3, 4)],
            id="flip short to long, the rest stays open",
        ),
        pytest.param(
            [(0, 10, 5, 1.0), (1, -4, 6, 0.2), (2, -6, 7, 0.6)],
            [("long", 4, 5, 6, 0.4 + 0.2, 4 - 0.6), ("long", 6, 5, 7, 0.6 + 0.6, 12 - 1.2)],
            [],
            id="the opening fee is shared by quantity",
        ),
        pytest.param(
            [(0, 4, 5, 0.1), (1, -10, 6, 1.0), (2, 6, 5, 0.3)],
            [("long", 4, 5, 6, 0.1 + 0.4, 4 - 0.5), ("short", 6, 6, 5, 0.6 + 0.3, 6 - 0.9)],
            [],
            id="the fee of a flip is shared between its two lots",
        ),
        pytest.param([(0, 10, 5), (1, 5, -3)], [], [("long", 10, 5), ("long", 5, -3)], id="never closed"),
        pytest.param(
            [(0, 0.3, 1), (1, -0.1, 1), (2, -0.1, 1), (3, -0.1, 1), (4, -0.1, 1)],
            [("long", 0.1, 1, 1, 0, 0)] * 3,
            [("short", 0.1, 1)],
            id="0.3 − 3·0.1 leaves nothing",
        ),
    ],
)
def test_worked_cases(rows: list[tuple[Any, ...]], lots: list[tuple[Any, ...]], left: list[tuple[Any, ...]]) -> None:
    result = match_fifo(fills(rows))
    assert result.lots["side"].tolist() == [lot[0] for lot in lots]
    np.testing.assert_allclose(
        result.lots[FIGURES[1:]].to_numpy(), np.array([lot[1:] for lot in lots]).reshape(-1, 5), atol=1e-12
    )
    open_lots = result.open_lots[["side", "quantity", "open_price"]].itertuples(index=False, name=None)
    assert [(side, round(quantity, 12), price) for side, quantity, price in open_lots] == left


def test_a_lot_names_both_fills_and_its_opening() -> None:
    named = match_fifo(fills([(0, 10, 5, 0, "a"), (1, -4, 6, 0, "b|c"), (2, -6, 7)]))
    assert named.lots["lot_id"].tolist() == ["s|X|a>b%7Cc", "s|X|a>#3"]
    assert named.lots["parent_lot_id"].tolist() == ["s|X|a"] * 2
    assert named.lots["opened_at"].tolist() == [START] * 2
    assert named.lots["closed_at"].tolist() == [START + pd.Timedelta(days=d) for d in (1, 2)]
    assert named.lots["entry_value"].tolist() == [20.0, 30.0]


def test_strategies_and_symbols_do_not_mix() -> None:
    rows = [(0, 10, 5), (1, -10, 6), (2, -10, 7), (3, 10, 8)]
    apart = fills(rows, strategy=pd.array(["a", "b", "a", "b"], dtype="str"))
    lots = match_fifo(apart).lots
    assert lots["lot_id"].tolist() == ["a|X|#1>#2", "b|X|#1>#2"]
    assert lots["pnl"].tolist() == [20.0, -20.0]
    apart = apart.assign(symbol=pd.array(["X", "X", "Y", "Y"], dtype="str"))
    assert match_fifo(apart).lots.empty


def test_simultaneous_fills_follow_their_sequence_then_the_file_and_never_their_ids() -> None:
    rows = [(0, 10, 5, 0, "9"), (0, -10, 6, 0, "10"), (0, 10, 7, 0, "11")]
    assert match_fifo(fills(rows)).lots["lot_id"].tolist() == ["s|X|9>10"]
    assert match_fifo(fills(rows[::-1])).lots["lot_id"].tolist() == ["s|X|11>10"]
    assert match_fifo(fills(rows, sequence=[3.0, 2.0, 1.0])).lots["lot_id"].tolist() == ["s|X|11>10"]
    # What has no sequence comes after what has one.
    assert match_fifo(fills(rows, sequence=[np.nan, 2.0, 1.0])).lots["lot_id"].tolist() == ["s|X|11>10"]


def test_parts_of_a_position_add_up_to_it_as_decimals() -> None:
    result = match_fifo(fills([(0, 0.3, 1), (1, -0.1, 1), (2, -0.05, 1)]))
    assert result.lots["quantity"].tolist() == [0.1, 0.05]
    assert result.holdings["quantity"].tolist() == [0.3, 0.2, 0.15]


def test_a_multiplier_scales_profit_and_entry_value_and_no_fee() -> None:
    lots = match_fifo(fills([(0, 2, 5100, 2.1), (1, -2, 5105, 2.1)], multiplier=50.0)).lots
    assert lots[["pnl", "fees", "entry_value"]].to_numpy().tolist() == [[495.8, 4.2, 510_000.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 0, 5)], "no amount of 0"),
        ([(0, 1, math.nan)], "finite"),
        ([(0, math.inf, 1)], "finite"),
        ([(0, 1, 1, math.nan)], "finite"),
        ([(0, 1, 1, 0, "a"), (1, -1, 1, 0, "a")], "each fill_id once"),
    ],
)
def test_fills_that_cannot_be_matched_are_refused(rows: list[tuple[Any, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        match_fifo(fills(rows))


def test_no_fills_give_empty_frames_of_the_same_types() -> None:
    some = match_fifo(fills([(0, 10, 5), (1, -4, 6)]))
    none = match_fifo(fills([(0, 10, 5)]).iloc[:0])
    assert none.lots.empty
    assert none.holdings.empty
    assert none.lots.dtypes.to_dict() == some.lots.dtypes.to_dict()
    assert none.holdings.dtypes.to_dict() == some.holdings.dtypes.to_dict()


# --- matching in general ------------------------------------------------------------------------------------


@st.composite
def ledgers(draw: st.DrawFn) -> pd.DataFrame:
    """Fills of two strategies and symbols, in tenths, often simultaneous, with and without ids."""
    size = draw(st.integers(1, 30))
    column = lambda values: draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    ids = [str(i) if named else None for i, named in enumerate(column(st.booleans()))]
    rows = list(
        zip(
            sorted(column(st.integers(0, 9))),
            [a / 10 for a in column(st.integers(-30, 30).filter(bool))],
            [p / 4 for p in column(st.integers(-4, 400))],
            [f / 8 for f in column(st.integers(0, 8))],
            ids,
            strict=True,
        )
    )
    names = {"strategy": ["a", "b"], "symbol": ["X", "Y"]}
    return fills(rows, **{k: pd.array(column(st.sampled_from(v)), dtype="str") for k, v in names.items()})


@examples(15)
@given(ledgers())
def test_quantities_fees_and_cash_are_conserved(rows: pd.DataFrame) -> None:
    result = match_fifo(rows)
    by = ["strategy", "symbol"]
    totals = lambda frame, values: values.groupby([frame[name] for name in by]).sum()  # noqa: E731

    open_lots = result.open_lots
    sign = np.where(open_lots["side"] == "long", 1.0, -1.0)
    position = totals(rows, rows["amount"])
    held = totals(open_lots, open_lots["quantity"] * sign).reindex(position.index, fill_value=0.0)
    np.testing.assert_allclose(held, position, atol=1e-9)

    fees = totals(result.lots, result.lots["fees"]).reindex(position.index, fill_value=0.0)
    open_fees = totals(open_lots, open_lots["fees"]).reindex(position.index, fill_value=0.0)
    np.testing.assert_allclose(fees + open_fees, totals(rows, rows["fees"]), atol=1e-9)

    # Closing what is left at its own entry price and without a fee, profit is cash in minus cash out.
    profit = totals(result.lots, result.lots["pnl"]).reindex(position.index, fill_value=0.0)
    cash = totals(rows, -rows["amount"] * rows["price"] - rows["fees"])
    value = totals(open_lots, sign * open_lots["quantity"] * open_lots["open_price"])
    cash += value.reindex(position.index, fill_value=0.0)
    np.testing.assert_allclose(profit - open_fees, cash, atol=1e-6)


AMOUNTS = st.one_of(
    st.integers(1, 30).map(float),
    st.integers(1, 3000).map(lambda n: n / 100),
    st.floats(1e-9, 1e9),
    st.sampled_from([1e-12, 1e-9, 99.9999999, 1 / 3, 123456789012345.6, 1e15, 2.0**53, 1e22, 5e-324, 1e300]),
)


@examples(60)
@given(st.lists(st.tuples(AMOUNTS, st.sampled_from([-1, 1])), min_size=1, max_size=15))
def test_quantities_are_those_of_exact_fractions_to_the_last_bit(fills_of: list[tuple[float, int]]) -> None:
    held: list[list[Any]] = []  # of each opening: sign, what is left, what of it is rounding
    dust: list[list[Any]] = []
    position = peak = Fraction(0)
    closed = []
    for amount, sign in fills_of:
        rest = Fraction(repr(amount))
        rounding, exits = rest / 10**9, False
        while rest and (against := next((each for each in (held, dust) if each and each[0][0] != sign), None)):
            quantity = min(against[0][1], rest)
            rest -= quantity
            rest *= rest > rounding
            against[0][1] -= quantity
            position -= quantity * (against is held)
            if against[0][1] <= against[0][2]:
                against.pop(0)
            closed.append(float(quantity))
            exits = True
        if exits and position * 100 <= peak:
            dust, held, position, peak = [*dust, *held], [], Fraction(0), Fraction(0)
        if rest:
            held.append([sign, rest, rounding])
            position += rest
            peak = max(peak, position)
    result = match_fifo(fills([(day, amount * sign, 1.0) for day, (amount, sign) in enumerate(fills_of)]))
    assert result.lots["quantity"].tolist() == closed
    left = sorted((sign, float(rest)) for sign, rest, _ in held + dust)
    signs = np.where(result.open_lots["side"] == "long", 1, -1).tolist()
    assert sorted(zip(signs, result.open_lots["quantity"].tolist(), strict=True)) == left


@examples(12)
@given(ledgers(), st.randoms(use_true_random=False))
def test_the_order_of_rows_says_nothing(rows: pd.DataFrame, random: Any) -> None:
    order = random.sample(range(len(rows)), len(rows))
    # What says something is the place in the files, which a row carries with it.
    one, other = match_fifo(rows), match_fifo(rows.iloc[order])
    pd.testing.assert_frame_equal(one.lots, other.lots, check_exact=True)
    pd.testing.assert_frame_equal(one.holdings, other.holdings, check_exact=True)


@examples(15)
@given(ledgers(), st.integers(0, 9))
def test_cutting_the_fills_gives_the_lots_closed_by_then_bit_for_bit(rows: pd.DataFrame, day: int) -> None:
    cut = START + pd.Timedelta(days=day)
    whole, part = match_fifo(rows), match_fifo(rows[rows["ts"] <= cut])
    known = whole.lots[whole.lots["closed_at"] <= cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.lots, known, check_exact=True)
    assert whole.lots["lot_id"].is_unique
    at_cut = pd.DatetimeIndex([cut])
    pd.testing.assert_frame_equal(
        open_lots_at(whole.holdings, at_cut), open_lots_at(part.holdings, at_cut), check_exact=True
    )


@examples(12)
@given(ledgers())
def test_snapshots_show_what_was_open_when_the_fills_stopped_there(rows: pd.DataFrame) -> None:
    snapshots = START + pd.to_timedelta([-1, 0, 2, 3, 6, 9], unit="D")
    shown = open_lots_at(match_fifo(rows).holdings, snapshots)
    assert shown["snapshot"].is_monotonic_increasing
    for at in snapshots:
        expected = match_fifo(rows[rows["ts"] <= at]).open_lots.drop(columns=["since", "until"])
        of_it = shown[shown["snapshot"] == at].drop(columns="snapshot")
        pd.testing.assert_frame_equal(
            of_it.sort_values("lot_id", ignore_index=True),
            expected.sort_values("lot_id", ignore_index=True),
            check_exact=True,
        )


def test_a_snapshot_shows_the_quantity_and_the_opening_fee_left() -> None:
    holdings = match_fifo(fills([(0, 10, 5, 1.0, "a"), (2, -4, 6, 0.2, "b"), (4, -6, 7, 0.6, "c")])).holdings
    shown = open_lots_at(holdings, START + pd.to_timedelta([0, 1, 2, 3, 4], unit="D"))
    assert shown["lot_id"].tolist() == ["s|X|a"] * 4
    assert shown["quantity"].tolist() == [10.0, 10.0, 6.0, 6.0]
    assert shown["entry_value"].tolist() == [50.0, 50.0, 30.0, 30.0]
    assert shown["fees"].tolist() == [1.0, 1.0, 0.6, 0.6]
    with pytest.raises(ValueError, match="ascending"):
        open_lots_at(holdings, pd.DatetimeIndex(["2024-01-02", "2024-01-01"]))


def test_a_hundred_thousand_fills_conserve_quantity() -> None:
    n, rng = 100_000, np.random.default_rng(7)
    names = {
        "strategy": pd.array(np.array([f"s{i}" for i in range(10)], dtype=object)[rng.integers(0, 10, n)]),
        "symbol": pd.array(np.array([f"X{i}" for i in range(20)], dtype=object)[rng.integers(0, 20, n)]),
    }
    seconds = rng.integers(0, 3 * 10**8, n) / 86_400
    amounts = rng.choice([-1, 1], n) * rng.integers(1, 500, n) / 10
    rows = fills(list(zip(seconds, amounts, 50 + rng.normal(size=n), strict=True)), **names)
    result = match_fifo(rows)
    sign = np.where(result.open_lots["side"] == "long", 1.0, -1.0)
    assert (result.open_lots["quantity"] * sign).sum() == pytest.approx(amounts.sum(), abs=1e-6)


def test_profit_and_entry_value() -> None:
    lots = pd.DataFrame(
        {
            "side": ["long", "short", "long"],
            "quantity": [10.0, 10.0, 1.0],
            "open_price": [5.0, 5.0, -37.63],  # crude oil, 20 April 2020
            "close_price": [6.0, 6.0, np.nan],
            "fees": [0.5, 0.5, 0.0],
        }
    )
    pnl = lot_pnl(*(lots[name] for name in lots), multiplier=pd.Series(1.0, index=lots.index))
    assert pnl[:2].tolist() == [9.5, -10.5]
    assert np.isnan(pnl[2])
    assert entry_value(lots["quantity"], lots["open_price"], pd.Series([1.0, 2.0, 1.0])).tolist() == [
        50.0,
        100.0,
        37.63,
    ]


# --- cells --------------------------------------------------------------------------------------------------


def read(
    kind: str, texts: list[str | None], timezone: str = "America/New_York", **more: Any
) -> tuple[list[Any], list[str]]:
    """Typed cells of one column, and their faults as ``row code``."""
    cells = pd.DataFrame({"x": pd.array(texts, dtype="str")})
    parsed = parse_cells(
        cells,
        {"x": Column(kind=kind)},  # type: ignore[arg-type]
        Formats(timezone=timezone, exchange_timezone="America/New_York", **more),
    )
    return parsed.typed["x"].tolist(), [f"{fault.row} {fault.code}" for fault in parsed.faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), (" -1234.50 ", -1234.5), ("+.5", 0.5), ("5.", 5.0), ("1e-3", 0.001), ("1E150", 1e150)],
)
def test_plain_decimals_are_numbers(text: str, value: float) -> None:
    assert read("number", [text]) == ([value], [])


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, read("number", ["-0.0"])[0][0]) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1,000", "not_a_number"),
        ("1_000", "not_a_number"),
        ("0x10", "not_a_number"),
        ("1.2.3", "not_a_number"),
        ("€5", "not_a_number"),
        ("٣", "not_a_number"),
        ("N/A", "not_a_number"),
        ("nan", "non_finite"),
        ("-Inf", "non_finite"),
        ("Infinity", "non_finite"),
        ("1e151", "non_finite"),
        ("1e400", "non_finite"),
        ("", "missing_x"),
        ("  ", "missing_x"),
        (None, "missing_x"),
    ],
)
def test_anything_else_is_no_number(text: str | None, code: str) -> None:
    (value,), faults = read("number", [text])
    assert math.isnan(value)
    assert faults == [f"0 {code}"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e150, 1e150), max_size=20))
def test_numbers_are_read_to_the_last_bit(values: list[float]) -> None:
    read_back, faults = read("number", [repr(value) for value in values])
    assert read_back == values
    assert not faults


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-15T14:30:00-04:00", "2024-03-15 18:30"),
        ("2024-03-15 14:30:00.250-0400", "2024-03-15 18:30:00.250"),
        ("2024-03-15T18:30Z", "2024-03-15 18:30"),
        ("2024-03-15 20:30 +02", "2024-03-15 18:30"),
        ("2024-03-15T14:30", "2024-03-15 18:30"),  # summer time in New York
        ("2024-01-15T14:30", "2024-01-15 19:30"),  # winter time
        ("20240315T143000", "2024-03-15 18:30"),
        ("2024-11-03T01:30:00-04:00", "2024-11-03 05:30"),  # the first of the two
        ("2024-11-03T01:30:00-05:00", "2024-11-03 06:30"),  # the second
        ("2024-03-15", "2024-03-15 04:00"),
        ("20240315", "2024-03-15 04:00"),
        ("2024-03-15T14:30:00.123456789Z", "2024-03-15 14:30:00.123456"),
    ],
)
def test_iso_8601_times_are_read_with_their_zone_or_that_of_the_ledger(text: str, utc: str) -> None:
    assert read("time", [text]) == ([pd.Timestamp(utc)], [])


def test_a_date_alone_is_a_date_of_the_exchange_wherever_the_ledger_was_written() -> None:
    at_ten = pd.Timestamp("2024-03-15 10:00")
    assert read("time", ["2024-03-15", "2024-03-15T10:00"], "UTC") == (
        [pd.Timestamp("2024-03-15 04:00"), at_ten],
        [],
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("15/03/2024", "unparseable_time"),
        ("2024-02-30T10:00", "unparseable_time"),
        ("2024-03-15T24:30", "unparseable_time"),
        ("2024-03-15T14:30 New York", "unparseable_time"),
        ("0202-03-15T14:30", "unparseable_time"),
        ("9999-12-31", "unparseable_time"),
        ("1710513000", "unparseable_time"),
        ("now", "unparseable_time"),
        ("2024-11-03T01:30:00", "ambiguous_time"),
        ("2024-03-10T02:30:00", "nonexistent_time"),
        ("", "missing_x"),
    ],
)
def test_anything_else_is_no_time(text: str, code: str) -> None:
    (value,), faults = read("time", [text])
    assert value is pd.NaT
    assert faults == [f"0 {code}"]


def test_dates_may_be_midnights_but_no_other_times() -> None:
    texts = ["2024-03-15", "2024-03-15 00:00:00", "2024-03-15T00:00:00.000000Z", "2024-03-15 09:30"]
    values, faults = read("date", texts)
    assert values == [pd.Timestamp("2024-03-15")] * 3 + [pd.NaT]
    assert faults == ["3 unparseable_date"]


def test_details_quote_the_cell_and_say_what_was_expected() -> None:
    cells = pd.DataFrame({"quantity": ["1,000"], "closed_at": ["2024-11-03 01:30"]}, dtype="str")
    columns = {"quantity": Column(kind="number"), "closed_at": Column(kind="time")}
    formats = Formats(settable=True, timezone="America/New_York", exchange_timezone="America/New_York")
    assert [fault.detail for fault in parse_cells(cells, columns, formats).faults] == [
        "quantity: '1,000' is not a plain decimal number; the setting `thousands: \",\"` reads it",
        "closed_at: '2024-11-03 01:30' occurs twice in America/New_York: state its offset from UTC",
    ]


# --- rows ---------------------------------------------------------------------------------------------------

FIRST, LAST = pd.Timestamp("2024-01-02"), pd.Timestamp("2024-12-31")
OUTSIDE = "outside the sessions 2024-01-02 to 2024-12-31"
STANDS_FOR = "; `values: {side: …}` says which of the two it stands for"
UNSIGNED = "; where its sign says nothing, `unsigned: [quantity]` takes its size"


def lot(**cells: Any) -> pd.DataFrame:
    """A faultless lot, with some cells replaced."""
    sound = dict.fromkeys(LOT_COLUMNS, "x") | {
        "side": "long",
        "quantity": 1.0,
        "opened_at": pd.Timestamp("2024-03-14 15:00"),
        "closed_at": pd.Timestamp("2024-03-15 15:00"),
        "open_session": pd.Timestamp("2024-03-14"),
        "session": pd.Timestamp("2024-03-15"),
    }
    return pd.DataFrame([sound | {"multiplier": np.nan} | cells])


def faults_of(lots: pd.DataFrame, *, day: bool = False) -> list[Fault]:
    return lot_faults(lots, pd.DataFrame({"closed_at": [day]}), first=FIRST, last=LAST)


@pytest.mark.parametrize(
    ("cells", "reasons"),
    [
        ({}, []),
        ({"quantity": np.nan, "side": None}, []),  # nulls were reported as cells
        ({"closed_at": pd.NaT, "session": pd.NaT}, []),
        ({"closed_at": pd.Timestamp("2024-03-14 15:00")}, []),  # opened and closed at once
        ({"side": "Long"}, [f"bad_side side: 'Long' is not 'long' or 'short'{STANDS_FOR}"]),
        ({"quantity": 0.0}, ["quantity_not_positive quantity: 0 is not > 0"]),
        ({"quantity": -3.5}, [f"quantity_not_positive quantity: -3.5 is not > 0{UNSIGNED}"]),
        ({"multiplier": 0.0}, ["bad_multiplier multiplier: 0 is not > 0"]),
        (
            {"closed_at": pd.Timestamp("2024-03-14 14:59")},
            ["closed_before_opened closed_at: 2024-03-14 14:59:00 is before opened_at 2024-03-14 15:00:00 (UTC)"],
        ),
        (
            {"session": pd.Timestamp("2023-12-29")},
            [f"outside_history closed_at: 2024-03-15 15:00:00 is {OUTSIDE}"],
        ),
        (
            {"session": pd.NaT},
            [f"outside_history closed_at: 2024-03-15 15:00:00 is {OUTSIDE}"],
        ),
        (
            {"opened_at": pd.Timestamp("1950-01-03"), "open_session": pd.NaT},
            ["outside_history opened_at: 1950-01-03 00:00:00 UTC is before the calendar begins"],
        ),
    ],
)
def test_rules_of_a_lot(cells: dict[str, Any], reasons: list[str]) -> None:
    assert [f"{fault.code} {fault.detail}" for fault in faults_of(lot(**cells))] == reasons


def test_a_date_alone_closes_a_lot_that_was_opened_at_a_time_of_that_day() -> None:
    opened, midnight = pd.Timestamp("2024-03-15 15:00"), pd.Timestamp("2024-03-15 05:00")
    rows = lot(opened_at=opened, closed_at=midnight)
    assert not faults_of(rows, day=True)
    assert [fault.code for fault in faults_of(rows)] == ["closed_before_opened"]
    assert [fault.code for fault in faults_of(rows.assign(opened_at=opened + pd.Timedelta(days=1)), day=True)] == [
        "closed_before_opened"
    ]


def test_every_reason_that_applies_is_given() -> None:
    bad = lot(side="buy", quantity=-1.0, closed_at=pd.Timestamp("2023-03-15"), session=pd.NaT)
    codes = [fault.code for fault in faults_of(bad)]
    assert codes == ["bad_side", "quantity_not_positive", "closed_before_opened", "outside_history"]


def test_rules_of_a_fill() -> None:
    rows = fills([(0, 1, 5), (1, 0, 5), (2, 1, 5), (2, 1, 5)], multiplier=[np.nan, np.nan, np.nan, -1.0]).assign(
        session=[FIRST, FIRST, pd.NaT, FIRST],
        status=pd.array([None, None, "Filled", "working"], dtype="str"),
    )
    faults = fill_faults(rows, first=FIRST, last=LAST)
    assert [(fault.row, fault.code) for fault in faults] == [
        (1, "zero_amount"),
        (3, "bad_status"),
        (3, "bad_multiplier"),
        (2, "outside_history"),
    ]


def test_amounts_take_the_sign_of_their_side_file_by_file() -> None:
    side = pd.Series(pd.array(["buy", "SLD", None, "sell", "Long", "short", "sell", "up", None], dtype="str"))
    amount = pd.Series([5.0, 5.0, 5.0, -5.0, 5.0, -5.0, 5.0, 5.0, 5.0])
    file = np.array([0, 0, 0, 1, 1, 1, 1, 1, 2])
    signed, faults = signed_amounts(amount, side, file)
    assert signed.tolist()[:2] == [5.0, -5.0]
    assert signed.tolist()[3:] == [-5.0, 5.0, -5.0, 5.0, 5.0, 5.0]
    assert [(fault.row, fault.code) for fault in faults] == [
        (7, "bad_side"),
        (2, "missing_side"),
        (6, "side_contradicts_amount"),
    ]


def test_fills_are_taken_back_by_their_status_or_by_a_row_that_cancels_them() -> None:
    rows = fills([(0, 1, 5, 0, "a"), (0, -1, 5, 0, "b"), (1, 1, 5, 0, "c"), (2, 1, 5, 0, "d")]).assign(
        status=pd.array([None, None, "cancelled", None], dtype="str"),
        cancels=pd.array([None, "a", None, "x"], dtype="str"),
    )
    assert [(fault.row, fault.code) for fault in cancelled_faults(rows)] == [
        (2, "cancelled"),
        (1, "cancelled"),
        (0, "cancelled"),
        (3, "cancels_nothing"),
    ]


def test_rules_of_a_daily_return() -> None:
    dated = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2023-12-29", "2024-01-08", None])
    rows = pd.DataFrame({"session": dated, "strategy": "s", "daily_return": [-0.99, -1.0, 0.0, 0.0, 0.0, np.nan]})
    assert list(rows) == list(RETURN_COLUMNS)
    # The fourth of January has no session, the eighth none that is recorded.
    stands_on = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-05", "2023-12-29", None, None])
    faults = return_faults(rows.assign(stands_on=stands_on), first=FIRST, last=pd.Timestamp("2024-01-05"))
    assert [(fault.row, fault.code) for fault in faults] == [
        (1, "return_too_low"),
        (3, "outside_history"),
        (4, "outside_history"),
    ]


def test_repeats_and_conflicts() -> None:
    content = pd.DataFrame(
        {
            "id": ["a", "a", "b", "b", "b", "c", None, None, None],
            "value": [1.0, 1.0, 1.0, 2.0, 1.0, np.nan, 1.0, 2.0, 1.0],
        }
    )
    file = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])
    faults = duplicate_faults(content, ["id"], file, code="conflict", place=lambda row: f"line {row}")
    assert [tuple(fault) for fault in faults] == [
        (1, "exact_duplicate", "repeats line 0"),
        (2, "conflict", "id: other content at line 3"),
        (3, "conflict", "id: other content at line 2"),
        (4, "conflict", "id: other content at line 3"),
        (4, "exact_duplicate", "repeats line 2"),
        (8, "exact_duplicate", "repeats line 6; if both are meant, give each its own id"),
    ]
