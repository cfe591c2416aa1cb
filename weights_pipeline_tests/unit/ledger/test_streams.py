"""A ledger that cannot lie: what is known of a position, what is held back, and what is asked of its owner."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from weights_pipeline.core.chain import last_sessions, returns_table
from weights_pipeline.core.returns.capital import AveragePositionValue
from weights_pipeline.ledger import Intake, LedgerError, LedgerSource, calendar_sessions, read_ledger
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
FILLS = "strategy,symbol,ts,amount,price,fees,fill_id"
LOTS = "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,fees"
OPENINGS = "strategy,symbol,date,amount,price"
STREAM = [
    "m,X,2024-03-04T15:00:00Z,100,1050.00,0,1",
    "m,X,2024-03-05T15:00:00Z,-100,1060.00,0,2",
    "m,X,2024-03-06T15:00:00Z,100,1040.00,0,3",
    "m,X,2024-03-07T15:00:00Z,-100,1045.00,0,4",
    "m,Y,2024-03-06T15:00:00Z,10,50.00,0,5",
    "m,Y,2024-03-07T15:00:00Z,-10,51.00,0,6",
    "k,X,2024-03-06T15:00:00Z,10,50.00,0,7",
    "k,X,2024-03-07T15:00:00Z,-10,51.00,0,8",
]
"""Lots 1>2 and 3>4 of m in X, and one each of m in Y and of k in X."""


def read(root: Path, /, *rows: str, header: str = FILLS, openings: Sequence[str] = (), **keys: Any) -> Intake:
    """Read one file of fills, with openings beside it where there are any."""
    (root / "fills.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    if openings:
        (root / "openings.csv").write_text("\n".join([OPENINGS, *openings]) + "\n")
        keys["openings"] = ["openings.csv"]
    return read_files(root, **{"fills": ["fills.csv"]} | keys)


def read_files(root: Path, **keys: Any) -> Intake:
    sound = {"name": "desk", "description": "Test.", "timezone": "America/New_York", "first_month": "2024-01"}
    return read_ledger(LedgerSource.model_validate(sound | keys), root, horizon=HORIZON)


def lots(intake: Intake) -> dict[str, float]:
    return dict(zip(intake.lots["lot_id"], intake.lots["pnl"].round(6), strict=True))


def unknown(intake: Intake) -> list[tuple[str, str, str, str, int]]:
    """Whose position, since when, until when, and how many fills are held back."""
    return [
        (u.strategy, u.symbol, f"{u.since:%m-%d}", "" if u.until is None else f"{u.until:%m-%d}", u.held_back)
        for u in intake.unknown
    ]


def codes(intake: Intake) -> list[str]:
    return [f"{each.severity} {each.code}" for each in intake.findings]


# --- known or not known -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "kept", "found"),
    [
        pytest.param("m,X,2024-03-05T15:00:00Z,-100,1 060,0,2", "", ["m X 03-05"], id="price"),
        pytest.param('m,X,2024-03-05T15:00:00Z,-100,"1,060.00",0,2', "", ["m X 03-05"], id="thousands in quotes"),
        pytest.param("m,X,2024-03-05T15:00:00Z,-100,1,060.00,0,2", "", ["m X 03-05"], id="thousands without quotes"),
        pytest.param("m,X,2024-03-05T15:00:00Z,,1060,0,2", "", ["m X 03-05"], id="amount"),
        pytest.param("m,X,2024-03-05T15:00:00Z,-100,1060,none,2", "", ["m X 03-05"], id="fees"),
        pytest.param("m,X,2024-03-05T15:00:00Z,-99,1060,0,1", "", ["m X 03-04"], id="an id that is taken"),
        pytest.param("m,X,05.03.2024,-100,1060,0,2", "", ["m X 12-01"], id="time: from the beginning"),
        pytest.param("m,X,2024-03-10T02:30,-100,1060,0,2", "m|X|1>4", ["m X 03-11"], id="time: within an hour"),
        pytest.param("m,,2024-03-05T15:00:00Z,-100,1060,0,2", "", ["m X 03-05", "m Y 03-05"], id="symbol"),
        pytest.param(",X,2024-03-05T15:00:00Z,-100,1060,0,2", "", ["k X 03-05", "m X 03-05"], id="strategy"),
        pytest.param(",,2024-03-05T15:00:00Z,-100,1060,0,2", "", ["k X 03-05", "m X 03-05", "m Y 03-05"], id="both"),
        pytest.param('"m,X,2024-03-05T15:00', "", ["k X 12-01", "m X 12-01", "m Y 12-01"], id="quotes"),
        pytest.param("m,X,2024-03-05T15:0", "", ["m X 12-01"], id="a line cut off"),
    ],
)
def test_a_fill_that_cannot_be_read_makes_what_follows_unknown_and_nothing_else(
    tmp_path: Path, row: str, kept: str, found: list[str]
) -> None:
    intake = read(tmp_path, STREAM[0], row, *STREAM[2:])
    assert [f"{strategy} {symbol} {since}" for strategy, symbol, since, _, _ in unknown(intake)] == found
    touched = {tuple(each.split()[:2]) for each in found}
    assert set(lots(intake)) == {lot for lot in ("m|Y|5>6", "k|X|7>8") if tuple(lot.split("|")[:2]) not in touched} | {
        *filter(None, [kept])
    }
    held = intake.rejected[intake.rejected["reasons"] == "position_unknown"]
    assert len(held) == sum(number for *_, number in unknown(intake))
    assert held["details"].str.startswith("held back: fills.csv line ").all()
    assert codes(intake) == ["ERROR position_unknown"] * len(found)
    assert {(each.source_file, each.line) for each in intake.findings} <= {("fills.csv", 2), ("fills.csv", 3)}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("m,X,2024-03-04T15:00:00Z,100,1050.00,0,1", id="a repetition"),
        pytest.param("m,X,2024-03-05T15:00:00Z,0,,0,2x", id="a fill of nothing"),
        pytest.param("m,X,2024-07-05T15:00:00Z,-100,1060,0,2x", id="after the history"),
    ],
)
def test_a_row_without_which_nothing_is_missing_holds_nothing_back(tmp_path: Path, row: str) -> None:
    intake = read(tmp_path, *STREAM, row)
    assert len(intake.rejected) == 1
    assert not intake.unknown
    assert len(lots(intake)) == 4


def test_an_opening_makes_a_position_known_again_and_what_was_open_is_not_lost(tmp_path: Path) -> None:
    rows = [STREAM[0], "m,X,2024-03-05T15:00:00Z,-60,bad,0,2", *STREAM[2:]]
    intake = read(tmp_path, *rows, openings=["m,X,2024-03-07,140,1045"])
    assert unknown(intake) == [("m", "X", "03-05", "03-07", 1)]
    # What is sold on the 7th is what the opening states.
    assert lots(intake) == {"m|X|#2024-03-07>4": 0.0, "m|Y|5>6": 10.0, "k|X|7>8": 10.0}
    assert intake.open_lots(pd.DatetimeIndex(["2024-03-04", "2024-03-28"]))[
        ["lot_id", "quantity"]
    ].to_numpy().tolist() == [
        ["m|X|1", 100.0],
        ["m|X|#2024-03-07", 40.0],
    ]
    lost = intake.lost_lots()
    assert lost[["lot_id", "quantity", "snapshot"]].to_numpy().tolist() == [
        ["m|X|1", 100.0, pd.Timestamp("2024-03-05")]
    ]
    sessions = pd.DatetimeIndex(["2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07"])
    assert intake.unknown_sessions(sessions)[["session", "strategy", "symbols"]].to_numpy().tolist() == [
        [pd.Timestamp("2024-03-05"), "m", "X"],
        [pd.Timestamp("2024-03-06"), "m", "X"],
    ]


def test_a_position_that_is_flat_is_stated_by_an_opening_of_nothing(tmp_path: Path) -> None:
    rows = ["m,X,2024-03-04T15:00:00Z,100,bad,0,1", *STREAM[1:]]
    intake = read(tmp_path, *rows, openings=["m,X,2024-03-06,0,0"])
    assert unknown(intake) == [("m", "X", "03-04", "03-06", 1)]
    assert lots(intake)["m|X|3>4"] == 500.0


def test_no_opening_heals_what_may_come_after_it(tmp_path: Path) -> None:
    rows = [STREAM[0], "m,X,soon,-100,1060,0,2", *STREAM[2:]]
    intake = read(tmp_path, *rows, openings=["m,X,2024-03-06,0,0"])
    assert unknown(intake) == [("m", "X", "12-01", "", 3)]
    # Of a day's fills an opening states what was held before them.
    rows = [STREAM[0], "m,X,2024-03-06,-100,bad,0,2", *STREAM[2:]]
    intake = read(tmp_path, *rows, openings=["m,X,2024-03-06,0,0"])
    assert unknown(intake) == [("m", "X", "03-06", "", 2)]


def test_openings_are_what_the_first_fill_continues_from(tmp_path: Path) -> None:
    rows = [
        "lo,A,2024-03-04T10:00,-1796,0.20,0,1",
        "lo,A,2024-03-11T10:00,500,0.21,0,2",
        "lo,A,2024-03-18T10:00,-500,0.24,0,3",
    ]
    held = ["lo,A,2024-03-01,1000,0.15", "lo,A,2024-03-01,796,0.18"]
    intake = read(tmp_path, *rows, openings=held, long_only=["lo"])
    assert lots(intake) == {"lo|A|#2024-03-01>1": 50.0, "lo|A|#2024-03-01.2>1": 15.92, "lo|A|2>3": 15.0}
    assert not intake.findings
    # Without it the sale is one of what was never bought, and all after it is guesswork.
    (tmp_path / "openings.csv").unlink()
    intake = read(tmp_path, *rows, long_only=["lo"])
    assert intake.lots.empty
    assert intake.rejected["reasons"].tolist() == ["oversold", "position_unknown", "position_unknown"]
    assert intake.rejected["details"].tolist()[:2] == [
        "amount: sells 1796 of 0 held, which cannot be short; state in openings what was held before",
        "held back: fills.csv line 2 is oversold: it sells 1796 of 0 held",
    ]
    # A strategy that may be short has sold short.
    assert lots(read(tmp_path, *rows)) == {"lo|A|1>2": -5.0}


def test_an_opening_that_agrees_with_the_fills_changes_nothing_and_another_is_an_error(tmp_path: Path) -> None:
    rows = [
        "m,X,2024-03-04T15:00:00Z,0.3,10,0,1",
        "m,X,2024-03-05T15:00:00Z,-0.1,11,0,2",
        "m,X,2024-03-07T15:00:00Z,-0.2,12,0,3",
    ]
    agrees = read(tmp_path, *rows, openings=["m,X,2024-03-06,0.2,99"])
    assert lots(agrees) == {"m|X|1>2": 0.1, "m|X|1>3": 0.4}
    assert not agrees.findings
    differs = read(tmp_path, *rows, openings=["m,X,2024-03-06,0.5,11.5"])
    assert lots(differs) == {"m|X|1>2": 0.1, "m|X|#2024-03-06>3": 0.1}
    assert codes(differs) == ["ERROR opening_differs"]
    assert differs.findings[0].figures == {"stated": 0.5, "found": 0.2}


def test_an_opening_that_cannot_be_read_leaves_its_position_unknown(tmp_path: Path) -> None:
    intake = read(tmp_path, *STREAM, openings=["m,X,2024-03-01,1O,5", "m,Y,2024-03-01,5,5", "m,Y,2024-03-01,-5,5"])
    assert unknown(intake) == [("m", "X", "03-01", "", 4), ("m", "Y", "03-01", "", 2)]
    assert lots(intake) == {"k|X|7>8": 10.0}
    assert intake.rejected["reasons"].value_counts().to_dict() == {
        "position_unknown": 6,
        "contradicting_openings": 2,
        "not_a_number": 1,
    }


def test_a_rejected_lot_costs_its_own_profit_and_says_how_much_of_the_strategy_is_missing(tmp_path: Path) -> None:
    rows = [f"{i},a,X,long,{i},2024-03-04,2024-03-05,10,11,0" for i in (1, 2, 3)]
    (tmp_path / "lots.csv").write_text("\n".join([LOTS, *rows, "4,a,X,long,6,2024-03-04,2024-03-05,10,eleven,0", ""]))
    intake = read_files(tmp_path, lots=["lots.csv"])
    assert len(intake.lots) == 3
    assert not intake.unknown
    (finding,) = intake.findings
    assert (finding.code, finding.strategy, finding.line) == ("lots_rejected", "a", 5)
    assert finding.figures == {"rejected": 1.0, "read": 4.0, "entry_value": 60.0, "of": 120.0}
    assert finding.message.startswith("1 of 4 lots could not be read, with 60.00 of 120.00 of entry value")


def test_profits_that_are_a_multiple_of_what_prices_give_lack_a_multiplier(tmp_path: Path) -> None:
    rows = [
        "1,f,ESM4,short,2,2024-03-04T10:00,2024-03-06T15:00,5100,5095,4.2,495.8",
        "2,f,ESM4,long,2,2024-03-11T10:00,2024-03-13T15:00,5100,5020,4.2,-8004.2",
        "3,f,SPY,long,2,2024-03-11T10:00,2024-03-13T15:00,500,501,0,2",
    ]
    (tmp_path / "lots.csv").write_text("\n".join([f"{LOTS},pnl", *rows]))
    (finding,) = read_files(tmp_path, lots=["lots.csv"]).findings
    assert (finding.code, finding.strategy, finding.symbol, finding.line) == ("scale", "f", "ESM4", 2)
    assert finding.figures == {"factor": 50.0, "lots": 2.0}
    by_row = [f"{row},{multiplier}" for row, multiplier in zip(rows, [50, 50, ""], strict=True)]
    (tmp_path / "lots.csv").write_text("\n".join([f"{LOTS},pnl,multiplier", *by_row]))
    intake = read_files(tmp_path, lots=["lots.csv"])
    assert not intake.findings
    assert intake.lots["entry_value"].tolist() == [510_000.0, 510_000.0, 1000.0]


# --- identity -----------------------------------------------------------------------------------------------


def test_partial_fills_that_look_alike_are_as_many_as_there_are_rows(tmp_path: Path) -> None:
    part = "mom,ACME,2024-03-04T10:00:00-05:00,300,20.00,0"
    intake = read(
        tmp_path, part, part, "mom,ACME,2024-03-08T15:00:00-05:00,-600,22.00,0", header=FILLS[: -len(",fill_id")]
    )
    assert lots(intake) == {"mom|ACME|#1>#3": 600.0, "mom|ACME|#2>#3": 600.0}
    assert intake.rejected.empty


def test_an_id_names_a_fill_of_its_strategy_and_symbol(tmp_path: Path) -> None:
    rows = [
        "g,AAA,2024-03-04T10:00Z,2,100,0.1,748",
        "g,BBB,2024-03-04T11:00Z,5,40,0.1,748",
        "g,AAA,2024-03-05T10:00Z,-2,103,0.1,751",
        "g,BBB,2024-03-05T11:00Z,-5,41,0.1,752",
    ]
    assert lots(read(tmp_path, *rows)) == {"g|AAA|748>751": 5.8, "g|BBB|748>752": 4.8}


# --- order, sign, cancellations -----------------------------------------------------------------------------


def test_fills_of_one_date_follow_the_file_and_their_owner_is_asked(tmp_path: Path) -> None:
    rows = [
        "d,A,2024-03-04,100,12,0",
        "d,A,2024-03-04,-100,11,0",
        "d,A,2024-03-04,100,10,0",
        "d,A,2024-03-05,-100,10,0",
    ]
    header = FILLS[: -len(",fill_id")]
    intake = read(tmp_path, *rows, header=header)
    assert lots(intake) == {"d|A|#1>#2": -100.0, "d|A|#3>#4": 0.0}
    (finding,) = intake.findings
    assert (finding.code, finding.strategy, finding.symbol) == ("ambiguous_order", "d", "A")
    assert finding.since == pd.Timestamp("2024-03-04")
    # With something held before, the order decides what is realised.
    held = ["d,A,2024-03-01,100,9"]
    finding = read(tmp_path, *rows[:2], header=header, openings=held).findings[0]
    assert finding.figures == {"buys_first": 200.0, "sells_first": 200.0}
    finding = read(tmp_path, "d,A,2024-03-04,-100,11,0", "d,A,2024-03-04,150,12,0", header=header).findings[0]
    assert finding.figures == {"buys_first": -100.0, "sells_first": -100.0}
    by_number = [f"{row},{number}" for row, number in zip(rows, [2, 1, 3, 4], strict=True)]
    intake = read(tmp_path, *by_number, header=f"{header},sequence")
    assert lots(intake) == {"d|A|#1>#2": -100.0, "d|A|#3>#4": 0.0}
    assert intake.lots["side"].tolist() == ["short", "long"]
    assert not intake.findings


@pytest.mark.parametrize(("buy", "sell"), [("buy", "sell"), ("B", "S"), ("BOT", "SLD"), ("long", "short")])
def test_sizes_take_the_sign_of_their_side(tmp_path: Path, buy: str, sell: str) -> None:
    rows = [f"a,Q,2024-03-04T10:00,{buy},100,31.6,0", f"a,Q,2024-03-05T10:00,{sell},100,32,0"]
    header = "strategy,symbol,ts,side,amount,price,fees"
    assert lots(read(tmp_path, *rows, header=header)) == {"a|Q|#1>#2": 40.0}
    signed = [rows[0], rows[1].replace(",100,", ",-100,")]
    assert lots(read(tmp_path, *signed, header=header)) == {"a|Q|#1>#2": 40.0}
    against = [*signed, f"a,Q,2024-03-06T10:00,{sell},100,32,0"]
    intake = read(tmp_path, *against, header=header)
    assert intake.rejected["reasons"].tolist() == ["side_contradicts_amount"]
    assert unknown(intake) == [("a", "Q", "03-06", "", 0)]


def test_a_trade_its_cancellation_and_the_trade_again(tmp_path: Path) -> None:
    rows = [
        "m,A,2024-03-04T10:00,500,10,3,t1,,",
        "m,A,2024-03-04T10:00,-500,10,-3,t1c,,t1",
        "m,A,2024-03-04T10:00,500,10,3,t1r,,",
        "m,A,2024-03-08T15:00,-500,11,3,t2,,",
    ]
    header = f"{FILLS},status,cancels"
    intake = read(tmp_path, *rows, header=header)
    assert lots(intake) == {"m|A|t1r>t2": 494.0}
    assert intake.rejected["reasons"].tolist() == ["cancelled", "cancelled"]
    assert intake.files["unhurt"].tolist() == [2]
    assert not intake.findings
    told = [
        row.removesuffix(",,t1").removesuffix(",,") + end
        for row, end in zip(rows, (",cancelled,", ",cancelled,", ",,", ",,"), strict=True)
    ]
    assert lots(read(tmp_path, *told, header=header)) == {"m|A|t1r>t2": 494.0}
    untold = [row.rsplit(",", 2)[0] for row in rows]
    intake = read(tmp_path, *untold)
    assert lots(intake)["m|A|t1r>t2"] == 494.0
    assert codes(intake) == ["WARN ambiguous_order", "WARN possible_cancellation"]
    assert "is the opposite of fills.csv line 2, at the same instant, price and size" in intake.findings[1].message
    assert intake.findings[1].line == 3
    lost = read(tmp_path, rows[0], rows[1].replace(",t1", ",t9"), header=header)
    assert lost.rejected["reasons"].tolist() == ["cancels_nothing"]
    assert unknown(lost) == [("m", "A", "03-04", "", 0)]


# --- meaning, scale, time -----------------------------------------------------------------------------------


def test_costs_are_positive_or_the_source_says_otherwise(tmp_path: Path) -> None:
    rows = ["i,A,2024-03-04T10:00,100,50,-1.00,1", "i,A,2024-03-05T10:00,-100,51,-1.20,2"]
    with pytest.raises(LedgerError, match=r"fills.csv: fees: most are negative.* set fees_sign: negative_is_cost"):
        read(tmp_path, *rows)
    assert lots(read(tmp_path, *rows, fees_sign="negative_is_cost")) == {"i|A|1>2": 97.8}
    positive = [row.replace(",-1.", ",1.") for row in rows]
    with pytest.raises(LedgerError, match=r"fees: most are positive.* set fees_sign: positive_is_cost"):
        read(tmp_path, *positive, fees_sign="negative_is_cost")
    # One rebate among costs is a rebate.
    assert lots(read(tmp_path, rows[0], positive[1])) == {"i|A|1>2": 99.8}


@pytest.mark.parametrize("name", ["Direction", "Ccy", "Realized PnL", "trade_type", "contract_size", "Swap"])
def test_a_column_whose_name_carries_meaning_is_read_or_dismissed(tmp_path: Path, name: str) -> None:
    rows = [f"{row},x" for row in STREAM]
    with pytest.raises(LedgerError, match=rf"fills.csv: column '{name}': no rule reads it.* list it under ignore"):
        read(tmp_path, *rows, header=f"{FILLS},{name}")
    assert len(read(tmp_path, *rows, header=f"{FILLS},{name}", ignore=[name]).lots) == 4
    assert read(tmp_path, *rows, header=f"{FILLS},venue").files["ignored_columns"].tolist() == ["venue"]


def test_midnights_in_a_zone_are_dates_of_the_exchange(tmp_path: Path) -> None:
    rows = ["m,X,2024-03-04T00:00:00Z,1,10,0,1", "m,X,2024-03-06T00:00:00Z,-1,11,0,2"]
    intake = read(tmp_path, *rows)
    assert intake.lots[["open_session", "session"]].to_numpy().tolist() == [
        [pd.Timestamp("2024-03-04"), pd.Timestamp("2024-03-06")]
    ]
    assert codes(intake) == ["WARN dates_read_as_days"]
    # One time of day among them, and midnights are instants.
    intake = read(tmp_path, *rows, "m,X,2024-03-07T15:00:00Z,1,10,0,3")
    assert intake.lots["session"].tolist() == [pd.Timestamp("2024-03-06")]
    assert not intake.findings
    assert read(tmp_path, "m,X,2024-03-04,1,10,0,1").findings == []


def test_overnight_sessions_belong_to_the_next_date(tmp_path: Path) -> None:
    rows = [
        "1,f,ES,long,1,2024-03-04T09:00:00-06:00,2024-03-04T19:30:00-06:00,5100,5110,0",
        "2,f,ES,long,1,2024-03-03T17:30:00-06:00,2024-03-03T18:00:00-06:00,5100,5110,0",
        "3,f,ES,long,1,2024-03-28T09:00:00-05:00,2024-03-31T19:30:00-05:00,5100,5110,0",
    ]
    (tmp_path / "lots.csv").write_text("\n".join([LOTS, *rows]))
    intake = read_files(tmp_path, lots=["lots.csv"], calendar="CMES")
    assert dict(zip(intake.lots["lot_id"], intake.lots["session"].dt.strftime("%m-%d"), strict=True)) == {
        "1": "03-05",
        "2": "03-04",
        "3": "04-01",
    }


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ("0,,,9", True),
        ("0,0,0,9", True),
        ("0.000,0,,9", True),
        ("0,10,,9", False),
        ("0,,1,9", False),
        ("0,x,,9", False),
        (",0,,9", False),
        ("0,0,,1", False),
        ("1,,,9", False),
    ],
)
def test_only_a_row_that_states_no_quantity_no_price_and_no_fees_leaves_its_position_known(
    tmp_path: Path, row: str, known: bool
) -> None:
    around = ["m,X,2024-03-04T15:00:00Z,10,10,0,1", "m,X,2024-03-06T15:00:00Z,-10,11,0,2"]
    intake = read(tmp_path, around[0], f"m,X,2024-03-05T15:00:00Z,{row}", around[1])
    assert len(intake.lots) == known
    assert (not intake.unknown) is known
    # A price of 0 alone is one: an option that expires worthless, or a share that is given.
    assert len(read(tmp_path, around[0], "m,X,2024-03-05T15:00:00Z,-10,0,0,9").lots) == 1


def test_rows_of_nothing_that_carry_fees_are_cash(tmp_path: Path) -> None:
    rows = [
        "p,B,2024-03-04T10:00:00Z,1,60000,30,1",
        "p,B,2024-03-05T00:00:00Z,0,60000,45,f1",
        "p,B,2024-03-06T00:00:00Z,0,60000,45,f2",
        "p,B,2024-03-07T10:00:00Z,-1,60100,30,2",
    ]
    intake = read(tmp_path, *rows)
    assert codes(intake) == ["ERROR fees_lost", "ERROR position_unknown"]
    assert intake.findings[0].figures == {"rows": 2.0, "fees": 90.0}
    fills = [{"files": ["fills.csv"], "where": {"amount": {"not": 0}}}]
    cash = [{"files": ["fills.csv"], "where": {"amount": [0]}, "constants": {"kind": "funding"}}]
    intake = read(tmp_path, *rows, fills=fills, cash=cash, timezone="UTC")
    assert intake.lots["pnl"].sum() + intake.cash["amount"].sum() == -50.0
    assert intake.cash["session"].dt.strftime("%m-%d").tolist() == ["03-05", "03-06"]
    assert intake.files[["source_file", "read", "accepted", "left_out"]].to_numpy().tolist() == [
        ["fills.csv", 2, 2, 2],
        ["fills.csv#cash", 2, 2, 2],
    ]
    assert not intake.findings
    with pytest.raises(LedgerError, match=r"fills.csv: line 3 is read both as fills and as cash; say with `where`"):
        read(tmp_path, *rows, cash=cash)


def test_cash_is_part_of_a_sessions_profit(tmp_path: Path) -> None:
    (tmp_path / "cash.csv").write_text(
        "strategy,ts,amount,kind,symbol,cash_id\n"
        "m,2024-03-05T12:00,-5,funding,X,c1\nm,2024-03-05T12:00,2,dividend,X,\nm,2024-03-05T12:00,2,dividend,X,\n"
        "m,2024-03-05T12:00,1,bonus,X,\n"
    )
    intake = read(tmp_path, *STREAM[:2], cash=["cash.csv"])
    assert intake.cash["amount"].tolist() == [2.0, 2.0, -5.0]
    assert intake.rejected["reasons"].tolist() == ["bad_kind"]
    assert codes(intake) == ["ERROR cash_rejected"]
    table = returns(intake, AveragePositionValue())
    assert table.loc[table["session"] == pd.Timestamp("2024-03-05"), ["pnl", "closed_lots"]].to_numpy().tolist() == [
        [999.0, 1]
    ]


# --- what a file writes otherwise ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ('1,a,X,long,"1,000",2024-03-04,2024-03-05,10,11,0', {"thousands": ","}),
        ('1,a,X,long,1.000,2024-03-04,2024-03-05,"10,0",11,0', {"thousands": ".", "decimal": ","}),
        ("1,a,X,long,1000,2024-03-04,2024-03-05,$10.00,11.00 $,0", {"currency_signs": ["$"]}),
        ("1,a,X,long,1 000,2024-03-04,2024-03-05,10,11,0", {"thousands": " "}),
        ("1,a,X,long,-1000,2024-03-04,2024-03-05,10,11,0", {"unsigned": ["quantity"]}),
        ("1,a,X,Long,1000,2024-03-04,2024-03-05,10,11,0", {"values": {"side": {"Long": "long"}}}),
        ("1,a,X,long,1000,2024-03-04,2024-03-05,10,11,--", {"values": {"fees": {"--": ""}}}),
        ("1,a,X,long,1000,04/03/2024,05/03/2024,10,11,0", {"time_format": "%d/%m/%Y"}),
        (
            "1,a,X,short,1000,2024-03-04,2024-03-05,(10),11-,0",
            {"unsigned": ["open_price", "close_price"], "negatives": ["parentheses", "trailing"]},
        ),
    ],
)
def test_settings_read_what_else_is_rejected_and_names_them(tmp_path: Path, row: str, settings: dict[str, Any]) -> None:
    (tmp_path / "lots.csv").write_text(f"{LOTS}\n{row}\n", encoding="utf-8")
    without = read_files(tmp_path, lots=["lots.csv"])
    assert len(without.rejected) == 1
    assert f"`{[*settings][-1]}" in without.rejected["details"][0]
    intake = read_files(tmp_path, lots=["lots.csv"], **settings)
    assert intake.rejected.empty
    assert intake.lots["quantity"].tolist() == [1000.0]


def test_a_sentence_above_the_header_and_totals_below_are_named_and_left_out(tmp_path: Path) -> None:
    text = (
        f'"Transactions for account ...XXX"\n{LOTS}\n1,a,X,long,10,2024-03-04,2024-03-05,10,11,0\n"Total",,,,,,,,,\n\n'
    )
    (tmp_path / "lots.csv").write_text(text)
    with pytest.raises(LedgerError, match="the header is not in line 1 but in line 2: set skip_lines: 1, and footer"):
        read_files(tmp_path, lots=["lots.csv"])
    intake = read_files(tmp_path, lots=["lots.csv"], skip_lines=1, footer=1)
    assert intake.lots["lot_id"].tolist() == ["1"]
    assert intake.files["left_out"].tolist() == [1]
    assert intake.rejected.empty
    read_on = read_files(tmp_path, lots=["lots.csv"], skip_lines=1)
    assert read_on.rejected["details"].str.endswith("; where it is a total, `footer: 1` leaves it out").tolist() == [
        True
    ]
    (tmp_path / "lots.csv").write_text(text.replace("1,a,X,long,10", "1,a,X,long,ten"))
    assert read_files(tmp_path, lots=["lots.csv"], skip_lines=1, footer=1).rejected["line"].tolist() == [3]


def test_a_foreign_file_is_read_by_its_own_names(tmp_path: Path) -> None:
    rows = ["2024-03-04 10:00;100;10,5;Kauf;A1", "2024-03-05 10:00;100;11,5;Verkauf;A1", "2024-03-05 10:00;1;1;Kauf;B2"]
    text = "\n".join(["Zeit;Stück;Kurs;Art;Konto;Papier", *(f"{row};X" for row in rows)])
    (tmp_path / "fills.csv").write_bytes(text.encode("cp1252"))
    reading = {
        "files": ["fills.csv"],
        "columns": {"symbol": "Papier", "ts": "Zeit", "amount": "Stück", "price": "Kurs", "side": "Art"},
        "constants": {"strategy": "mine"},
        "where": {"Konto": "A1"},
        "values": {"side": {"Kauf": "buy", "Verkauf": "sell"}},
        "delimiter": ";",
        "encoding": "cp1252",
        "decimal": ",",
    }
    intake = read_files(tmp_path, fills=[reading])
    assert lots(intake) == {"mine|X|#1>#2": 100.0}
    assert intake.files[["read", "left_out", "ignored_columns"]].to_numpy().tolist() == [[2, 1, ""]]
    with pytest.raises(LedgerError, match=r"fills.csv: columns: there is no column Preis; found Zeit, Stück"):
        read_files(tmp_path, fills=[reading | {"columns": reading["columns"] | {"price": "Preis"}}])


def test_parquet_is_held_to_the_same(tmp_path: Path) -> None:
    cells = zip(*(row.split(",") for row in (STREAM[0], STREAM[1].replace("1060.00", "bad"), *STREAM[2:])), strict=True)
    columns = dict(zip(FILLS.split(","), map(list, cells), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "fills.parquet")
    intake = read_files(tmp_path, fills=["fills.parquet"])
    assert unknown(intake) == [("m", "X", "03-05", "", 2)]


# --- capital and returns ------------------------------------------------------------------------------------


def returns(intake: Intake, policy: AveragePositionValue, until: str = "2024-06-28", marks: Any = None) -> pd.DataFrame:
    """Daily returns as the chain computes them, up to a session."""
    sessions = calendar_sessions("XNYS", dt.date(2023, 12, 1), dt.date.fromisoformat(until))
    months = pd.period_range(sessions[0], sessions[-1], freq="M")
    windows = pd.IntervalIndex.from_arrays(
        months.start_time.as_unit("us"), (months + 1).start_time.as_unit("us"), closed="left"
    )
    lost = intake.lost_lots()
    shown = [intake.open_lots(last_sessions(sessions, windows)), lost[lost["snapshot"] <= sessions[-1]]]
    booked = intake.lots[intake.lots["session"] <= sessions[-1]]
    begin = pd.Timestamp("2024-01-01")
    return returns_table(booked, pd.concat(shown), intake.returns, sessions, policy, begin, marks, intake.cash)


def test_dust_left_by_a_fee_in_the_instrument_is_no_position(tmp_path: Path) -> None:
    rows = []
    for trip in range(25):
        day = pd.Timestamp("2024-01-08") + pd.Timedelta(days=6 * trip)
        for strategy, amount in (("kept", "0.999"), ("dusty", "1")):
            rows += [
                f"{strategy},COIN,{day:%Y-%m-%d}T15:00:00Z,{amount},{40000 + 10 * trip},0,b{trip}",
                f"{strategy},COIN,{day + pd.Timedelta(days=2):%Y-%m-%d}T15:00:00Z,-0.999,{40100 + 7 * trip},0,s{trip}",
            ]
    intake = read(tmp_path, *rows)
    assert intake.holdings["until"].isna().sum() == 25  # reported, not lost
    table = returns(intake, AveragePositionValue()).pivot(index="session", columns="strategy")
    for name in ("active", "closed_lots", "winning_lots"):
        assert table[name, "dusty"].sum() == table[name, "kept"].sum()
    assert (table["capital", "dusty"] / table["capital", "kept"]).between(0.99, 1.01).all()
    pd.testing.assert_series_equal(
        table["daily_return", "dusty"], table["daily_return", "kept"], check_names=False, rtol=0.01
    )
    # Sold at last, it is a lot like any other.
    sold = read(tmp_path, *rows, "dusty,COIN,2024-06-20T15:00:00Z,-0.025,40000,0,all")
    assert sold.holdings["until"].notna().all()


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(5, 100))
@example(seed=6300500, cut=5)  # nothing was closed yet
def test_returns_never_move_by_an_ulp_when_a_file_is_read_again(tmp_path: Path, seed: int, cut: int) -> None:
    rng = pd.Series(range(40)).sample(40, random_state=seed, replace=True).to_numpy()
    rows, instant = [], pd.Timestamp("2024-01-03T15:00")
    for i, draw in enumerate(rng):
        instant += pd.Timedelta(hours=int(7 * (1 + draw % 11)))
        amount = (0.1 + draw % 7 / 3) * (1 if (draw + i) % 5 < 3 else -1)
        rows.append(f"ab,XY,{instant:%Y-%m-%dT%H:%M:%SZ},{amount:.3f},{100 + draw / 7:.2f},{draw / 10},{i}")
        if draw % 13 == 0:
            rows.append(f"ab,XY,{instant:%Y-%m-%dT%H:%M:%SZ},1,bad,0,b{i}")
            rows.append(f"ab,ZZ,{instant:%Y-%m-%dT%H:%M:%SZ},1,5,0,z{i}")
    until = calendar_sessions("XNYS", dt.date(2024, 1, 3), dt.date(2024, 6, 28))[cut]
    days = calendar_sessions("XNYS", dt.date(2023, 11, 1), dt.date(2024, 6, 28))
    marks = pd.DataFrame({"XY": 100 + pd.Series(range(len(days))).mod(17).to_numpy() / 7, "ZZ": 5.1}, index=days)
    policy = AveragePositionValue(sessions=20)
    (tmp_path / "fills.csv").write_text("\n".join([FILLS, *rows]))
    source = LedgerSource.model_validate(
        {"name": "d", "description": "x", "timezone": "UTC", "first_month": "2024-01", "fills": ["fills.csv"]}
    )
    whole = read_ledger(source, tmp_path, horizon=HORIZON)
    early = read_ledger(source, tmp_path, horizon=until.date())
    for prices in (None, marks):
        later = returns(whole, policy, marks=prices)
        seen = returns(early, policy, f"{until:%Y-%m-%d}", prices)
        pd.testing.assert_frame_equal(later[later["session"] <= until].reset_index(drop=True), seen, check_exact=True)
    pd.testing.assert_frame_equal(
        whole.unknown_sessions(days[days <= until]), early.unknown_sessions(days[days <= until])
    )


# --- properties ---------------------------------------------------------------------------------------------

DAMAGES = ("?!", "", '"1,050"')


@st.composite
def ledgers(draw: st.DrawFn) -> list[list[str]]:
    """Fills of two strategies and two symbols, often of one instant, with ids."""
    size = draw(st.integers(4, 25))
    hours = sorted(draw(st.lists(st.integers(0, 60), min_size=size, max_size=size)))
    rows = []
    for number, hour in enumerate(hours):
        instant = pd.Timestamp("2024-03-04T15:00") + pd.Timedelta(hours=4 * hour)
        amount = draw(st.sampled_from([1, -1, 2, -2, 0.5, -0.5, 0.1]))
        pair = [draw(st.sampled_from("ab")), draw(st.sampled_from("XY"))]
        rows.append([*pair, f"{instant:%Y-%m-%dT%H:%M:%SZ}", f"{amount}", f"{90 + number}", "0.1", f"f{number}"])
    return rows


def booked(intake: Intake) -> set[tuple[Any, ...]]:
    names = ["lot_id", "strategy", "symbol", "opened_at", "closed_at", "quantity", "open_price", "close_price", "pnl"]
    return {*intake.lots[names].itertuples(index=False, name=None)}


def joined(rows: list[list[str]]) -> list[str]:
    return [",".join(row) for row in rows]


@examples(8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ledgers(), data=st.data())
def test_a_damaged_stream_never_books_what_the_full_one_does_not(
    tmp_path: Path, rows: list[list[str]], data: st.DataObject
) -> None:
    full = read(tmp_path, *joined(rows))
    which = data.draw(st.integers(0, len(rows) - 1))
    damaged = [[*row] for row in rows]
    column = data.draw(st.sampled_from([2, 3, 4]))
    damaged[which][column] = data.draw(st.sampled_from(DAMAGES))
    part = read(tmp_path, *joined(damaged))
    assert int(part.files["read"].sum()) == int((part.files["accepted"] + part.files["rejected"]).sum())
    assert booked(part) <= booked(full)
    strategy, symbol, instant = rows[which][:3]
    before = {lot for lot in booked(full) if lot[1:3] != (strategy, symbol)}
    if column != 2:
        before |= {lot for lot in booked(full) if lot[4] < pd.Timestamp(instant).tz_localize(None)}
    assert before <= booked(part)
    assert [(each.strategy, each.symbol) for each in part.unknown] == [(strategy, symbol)]


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ledgers(), data=st.data())
def test_files_that_overlap_and_rows_that_repeat_change_nothing(
    tmp_path: Path, rows: list[list[str]], data: st.DataObject
) -> None:
    full = read(tmp_path, *joined(rows))
    begin = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(begin, len(rows)))
    repeated = data.draw(st.integers(0, len(rows) - 1))
    for name, part in (("1", rows[:end]), ("2", [*rows[begin:], rows[repeated]])):
        (tmp_path / f"part{name}.csv").write_text("\n".join([FILLS, *joined(part)]) + "\n")
    for globs in (["part1.csv", "part2.csv"], ["part2.csv", "part1.csv"], ["part*.csv"]):
        assert booked(read_files(tmp_path, fills=globs)) == booked(full)


def test_what_an_instant_held_before_a_hole_in_it_is_not_held_after(tmp_path: Path) -> None:
    bought = [["a", "X", "2024-03-04T15:00:00Z", "1", f"{90 + i}", "0.1", f"f{i}"] for i in range(3)]
    bought[1][4] = "?!"
    again = [
        ["a", "X", f"2024-03-2{day}T15:00:00Z", "1" if day == 5 else "-1", "100", "0", f"n{day}"] for day in (5, 6)
    ]
    part = read(tmp_path, *joined([*bought, *again]), openings=["a,X,2024-03-22,0,0"])
    assert [lot[0] for lot in booked(part)] == ["a|X|n5>n6"]


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ledgers(), data=st.data())
def test_a_stream_is_whole_again_after_a_flat_position_is_stated(
    tmp_path: Path, rows: list[list[str]], data: st.DataObject
) -> None:
    strategy, symbol = rows[0][:2]
    held = sum(float(row[3]) for row in rows if row[:2] == [strategy, symbol])
    flat = [strategy, symbol, "2024-03-20T15:00:00Z", f"{-held:.1f}", "100", "0", "flat"]
    again = [
        [strategy, symbol, f"2024-03-2{day}T15:00:00Z", amount, "100", "0", f"n{day}"]
        for day, amount in ((5, "1"), (6, "-1"))
    ]
    rows = [*rows, *([flat] if abs(held) > 1e-9 else []), *again]
    full = read(tmp_path, *joined(rows))
    which = data.draw(st.integers(0, len(rows) - len(again) - 1))
    damaged = [[*row] for row in rows]
    damaged[which][4] = "?!"
    part = read(tmp_path, *joined(damaged), openings=[f"{strategy},{symbol},2024-03-22,0,0"])
    assert {
        lot for lot in booked(full) if lot[4] >= pd.Timestamp("2024-03-22") and lot[1:3] == (strategy, symbol)
    } <= booked(part)
    assert booked(part) <= booked(full)
