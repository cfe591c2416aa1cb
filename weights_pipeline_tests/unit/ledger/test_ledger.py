"""Ledger sources, files, and the intake: what is accepted, what is rejected, and why."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.core.returns.capital import AverageLotValue, AveragePositionValue, CapitalBase
from weights_pipeline.ledger import (
    Intake,
    LedgerError,
    LedgerSource,
    calendar_sessions,
    exchange_timezone,
    load_ledger_source,
    load_sources,
    read_benchmark,
    read_capital,
    read_ledger,
    session_closes,
)
from weights_pipeline_tests.support.examples import examples

HORIZON = dt.date(2024, 6, 28)
LOT_HEADER = "lot_id,strategy,symbol,side,quantity,opened_at,closed_at,open_price,close_price,pnl,fees"
STANDS_FOR = "; `values: {side: …}` says which of the two it stands for"
UNSIGNED = "; where its sign says nothing, `unsigned: [quantity]` takes its size"
NO_NUMBER = "not a plain decimal number; say under `values` what it stands for"
NO_TIME = "not an ISO 8601 time such as 2024-03-15T14:30:00-04:00; a `time_format` reads others"
LOT = "L1,alpha,SPY,long,10,2024-03-14T10:00:00,2024-03-15T15:30:00,500,505,49,1"
FILL_HEADER = "strategy,symbol,ts,amount,price,fees,fill_id"


def make(**keys: Any) -> LedgerSource:
    sound = {"name": "desk", "description": "Test.", "timezone": "America/New_York", "first_month": "2024-01"}
    return LedgerSource.model_validate(sound | keys)


def put(root: Path, **files: str | bytes) -> None:
    """Write files named by their stem; text is CSV."""
    for stem, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (root / f"{stem}.csv").write_bytes(data)


def read_lots(root: Path, *rows: str, header: str = LOT_HEADER, **keys: Any) -> Intake:
    put(root, lots="\n".join([header, *rows]) + "\n")
    return read_ledger(make(lots=["lots.csv"], **keys), root, horizon=HORIZON)


def lot(**cells: str) -> str:
    """The sound lot as a CSV line, with some cells replaced."""
    sound = dict(zip(LOT_HEADER.split(","), LOT.split(","), strict=True))
    assert set(cells) <= set(sound)
    return ",".join((sound | cells).values())


def assert_adds_up(intake: Intake) -> None:
    """accepted + rejected = read, per file and over all of them, and each rejected row is listed."""
    files = intake.files
    assert (files["accepted"] + files["rejected"] == files["read"]).all()
    listed = intake.rejected.groupby("source_file").size().reindex(files["source_file"], fill_value=0)
    assert listed.tolist() == files["rejected"].tolist()
    from_lots = int((intake.lots["source"] == "lots").sum()) + len(intake.returns)
    assert files.loc[files["kind"] != "fills", "accepted"].sum() == from_lots


# --- rows that are rejected ---------------------------------------------------------------------------------


BAD_LOTS = [
    (lot(lot_id=""), "missing_lot_id", "lot_id: is empty"),
    (lot(strategy=" "), "missing_strategy", "strategy: is empty"),
    (lot(symbol=""), "missing_symbol", "symbol: is empty"),
    (lot(side=""), "missing_side", "side: is empty"),
    (lot(side="LONG"), "bad_side", f"side: 'LONG' is not 'long' or 'short'{STANDS_FOR}"),
    (lot(side="buy"), "bad_side", f"side: 'buy' is not 'long' or 'short'{STANDS_FOR}"),
    (lot(quantity=""), "missing_quantity", "quantity: is empty"),
    (lot(quantity="0"), "quantity_not_positive", "quantity: 0 is not > 0"),
    (lot(quantity="-3"), "quantity_not_positive", f"quantity: -3 is not > 0{UNSIGNED}"),
    (lot(quantity="ten"), "not_a_number", f"quantity: 'ten' is {NO_NUMBER}"),
    (
        lot(quantity="1 000"),
        "not_a_number",
        "quantity: '1 000' is not a plain decimal number; the setting `thousands: \" \"` reads it",
    ),
    (
        lot(quantity="1'000"),
        "not_a_number",
        'quantity: "1\'000" is not a plain decimal number; the setting `thousands: "\'"` reads it',
    ),
    (lot(quantity="inf"), "non_finite", "quantity: 'inf' is not finite"),
    (lot(open_price="NaN"), "non_finite", "open_price: 'NaN' is not finite"),
    (lot(open_price="1e200"), "non_finite", "open_price: '1e200' is too large, above 1e+150"),
    (lot(open_price=""), "missing_open_price", "open_price: is empty"),
    (lot(close_price=""), "missing_close_price", "close_price: is empty"),
    (lot(pnl="-"), "not_a_number", f"pnl: '-' is {NO_NUMBER}"),
    (lot(fees="free"), "not_a_number", f"fees: 'free' is {NO_NUMBER}"),
    (lot(closed_at=""), "missing_closed_at", "closed_at: is empty"),
    (
        lot(closed_at="15/03/2024"),
        "unparseable_time",
        f"closed_at: '15/03/2024' is {NO_TIME}",
    ),
    (
        lot(opened_at="2024-02-30T10:00"),
        "unparseable_time",
        f"opened_at: '2024-02-30T10:00' is {NO_TIME}",
    ),
    (
        lot(opened_at="2023-11-05T01:30"),
        "ambiguous_time",
        "opened_at: '2023-11-05T01:30' occurs twice in America/New_York: state its offset from UTC",
    ),
    (
        lot(opened_at="2024-03-10T02:15:00"),
        "nonexistent_time",
        "opened_at: '2024-03-10T02:15:00' does not exist in America/New_York: state its offset from UTC",
    ),
    (
        lot(closed_at="2024-03-13"),
        "closed_before_opened",
        "closed_at: 2024-03-13 04:00:00 is before opened_at 2024-03-14 14:00:00 (UTC)",
    ),
    (
        lot(opened_at="2023-12-01", closed_at="2023-12-29T12:00"),
        "outside_history",
        "closed_at: 2023-12-29 17:00:00 is outside the sessions 2024-01-02 to 2024-06-28",
    ),
    (
        lot(closed_at="2024-07-01T09:30"),  # a session, but after the horizon
        "outside_history",
        "closed_at: 2024-07-01 13:30:00 is outside the sessions 2024-01-02 to 2024-06-28",
    ),
    (
        lot(closed_at="2024-06-29"),  # a Saturday whose session is in a month not begun
        "outside_history",
        "closed_at: 2024-06-29 04:00:00 is outside the sessions 2024-01-02 to 2024-06-28",
    ),
    (LOT + ",", "malformed_row", "expected 11 fields, found 12"),
    ("L2,alpha", "malformed_row", "expected 11 fields, found 2"),
    ("   ", "malformed_row", "expected 11 fields, found 1"),
    (lot(strategy='"alpha'), "malformed_row", "quotes: unexpected end of data"),
    (lot(strategy='"al"pha'), "malformed_row", "quotes: ',' expected after '\"'"),
    (
        lot(symbol="", side="x", quantity="-1", open_price="a"),
        "missing_symbol;not_a_number;bad_side;quantity_not_positive",
        f"symbol: is empty; open_price: 'a' is {NO_NUMBER}; side: 'x' is not 'long' or "
        f"'short'{STANDS_FOR}; quantity: -1 is not > 0{UNSIGNED}",
    ),
    (
        "," * 10,
        "missing_lot_id;missing_strategy;missing_symbol;missing_side;missing_quantity;missing_opened_at;"
        "missing_closed_at;missing_open_price;missing_close_price",
        "lot_id: is empty; strategy: is empty; symbol: is empty; side: is empty; quantity: is empty; "
        "opened_at: is empty; closed_at: is empty; open_price: is empty; close_price: is empty",
    ),
]


@pytest.fixture(scope="module")
def bad_lots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Intake, list[str]]:
    """All bad lots that need no quotes, each with an id of its own, between two sound ones: read, and as written."""
    rows = [row.replace("L1", f"L{number}") for number, (row, *_) in enumerate(BAD_LOTS, 3) if '"' not in row]
    return read_lots(tmp_path_factory.mktemp("bad"), lot(lot_id="A"), *rows, lot(lot_id="B")), rows


@pytest.mark.parametrize(("number", "row", "reasons", "details"), [(i, *bad) for i, bad in enumerate(BAD_LOTS, 3)])
def test_a_bad_lot_is_rejected_with_every_reason_and_the_others_stay(
    tmp_path: Path, bad_lots: tuple[Intake, list[str]], number: int, row: str, reasons: str, details: str
) -> None:
    if '"' in row:
        intake, rows = read_lots(tmp_path, lot(lot_id="A"), row, lot(lot_id="B")), [row]
    else:
        intake, rows = bad_lots
        row = row.replace("L1", f"L{number}")
    assert_adds_up(intake)
    assert intake.rejected["line"].tolist() == [*range(3, 3 + len(rows))]
    line = 3 + rows.index(row)
    (rejected,) = intake.rejected[intake.rejected["line"] == line].itertuples(index=False)
    assert (rejected.source_file, rejected.kind) == ("lots.csv", "lots")
    assert (rejected.reasons, rejected.details) == (reasons, details)
    content = json.loads(rejected.content)
    if isinstance(content, dict):
        assert [content[name] for name in LOT_HEADER.split(",")] == row.split(",")
    else:
        assert ",".join(content) == row
    assert intake.lots["lot_id"].tolist() == ["A", "B"]


@pytest.mark.parametrize(
    ("row", "reasons", "details"),
    [
        (",SPY,2024-03-15T10:00,1,5,,", "missing_strategy", "strategy: is empty"),
        ("alpha,,2024-03-15T10:00,1,5,,", "missing_symbol", "symbol: is empty"),
        (
            "alpha,SPY,2024-03-15T10:00,0,5,,",
            "zero_amount",
            "amount: is 0; `where: {amount: {not: 0}}` leaves out what is no fill",
        ),
        ("alpha,SPY,2024-03-15T10:00,1,,,", "missing_price", "price: is empty"),
        ("alpha,SPY,2024-03-15T10:00,nan,5,,", "non_finite", "amount: 'nan' is not finite"),
        (
            "alpha,SPY,2024-07-15T10:00,1,5,,",
            "outside_history",
            "ts: 2024-07-15 14:00:00 is outside the sessions 2023-12-01 to 2024-06-28",
        ),
        (
            "alpha,SPY,2024-01-02T10:00,10,5,0,F1",
            "exact_duplicate",
            "repeats fills.csv line 2",
        ),
    ],
)
def test_a_bad_fill_is_rejected_and_takes_no_part_in_matching(
    tmp_path: Path, row: str, reasons: str, details: str
) -> None:
    sound = ["alpha,SPY,2024-01-02T10:00,10,5,0,F1", "alpha,SPY,2024-03-14T10:00,-10,6,0,F2"]
    put(tmp_path, fills="\n".join([FILL_HEADER, *sound, row]))
    intake = read_ledger(make(fills=["fills.csv"]), tmp_path, horizon=HORIZON)
    assert_adds_up(intake)
    (rejected,) = intake.rejected.itertuples(index=False)
    assert (rejected.line, rejected.kind, rejected.reasons, rejected.details) == (
        4,
        "fills",
        reasons,
        details,
    )
    assert intake.lots[["lot_id", "quantity", "pnl", "source"]].to_numpy().tolist() == [
        ["alpha|SPY|F1>F2", 10.0, 10.0, "fills"]
    ]


def test_repeated_and_conflicting_lots(tmp_path: Path) -> None:
    put(
        tmp_path,
        a="\n".join([LOT_HEADER, lot(lot_id="once"), lot(lot_id="conflict", pnl="1"), lot(lot_id="bad", fees="x")]),
        b="\n".join([LOT_HEADER, lot(lot_id="once", pnl="49.0"), lot(lot_id="conflict"), lot(lot_id="bad")]),
    )
    intake = read_ledger(make(lots=["?.csv"]), tmp_path, horizon=HORIZON)
    assert_adds_up(intake)
    assert intake.lots["lot_id"].tolist() == ["once"]
    assert intake.rejected[["source_file", "line", "reasons", "details"]].to_numpy().tolist() == [
        ["a.csv", 3, "duplicate_lot_id", "lot_id: other content at b.csv line 3"],
        [
            "a.csv",
            4,
            "not_a_number;duplicate_lot_id",
            f"fees: 'x' is {NO_NUMBER}; lot_id: other content at b.csv line 4",
        ],
        ["b.csv", 2, "exact_duplicate", "repeats a.csv line 2"],
        ["b.csv", 3, "duplicate_lot_id", "lot_id: other content at a.csv line 3"],
        ["b.csv", 4, "duplicate_lot_id", "lot_id: other content at a.csv line 4"],
    ]
    assert intake.files["duplicates"].tolist() == [0, 1]


def test_fills_without_an_id_are_told_apart_by_whatever_else_their_file_says(tmp_path: Path) -> None:
    row = "alpha,SPY,2024-03-15T10:00,1,5"
    header = "strategy,symbol,ts,amount,price"
    put(tmp_path, plain="\n".join([header, row, row]))
    intake = read_ledger(make(fills=["plain.csv"]), tmp_path, horizon=HORIZON)
    assert intake.rejected.empty
    # An export that overlaps shows rows again: there are as many as one file has at most.
    put(tmp_path, again="\n".join([header, row]), once_more="\n".join([header, row, row, row]))
    intake = read_ledger(make(fills=["*.csv"]), tmp_path, horizon=HORIZON)
    hint = "; if both are meant, give each its own fill_id"
    assert intake.rejected[["source_file", "line", "details"]].to_numpy().tolist() == [
        ["once_more.csv", 2, f"repeats again.csv line 2{hint}"],
        ["plain.csv", 2, f"repeats again.csv line 2{hint}"],
        ["plain.csv", 3, f"repeats once_more.csv line 3{hint}"],
    ]
    assert len(intake.open_lots(pd.DatetimeIndex(["2024-03-28"]))) == 3
    put(tmp_path, venue="\n".join([f"{header},execution", f"{row},17", f"{row},18"]))
    put(tmp_path, venue2="\n".join([f"{header},execution", f"{row},18", f"{row},19"]))
    intake = read_ledger(make(fills=["venue*.csv"]), tmp_path, horizon=HORIZON)
    assert intake.rejected[["source_file", "line"]].to_numpy().tolist() == [["venue2.csv", 2]]
    assert intake.files["ignored_columns"].tolist() == ["execution", "execution"]
    assert len(intake.open_lots(pd.DatetimeIndex(["2024-03-28"]))) == 3


def test_a_fill_id_is_unique_within_its_strategy_and_symbol(tmp_path: Path) -> None:
    rows = [
        "alpha,SPY,2024-03-15T10:00,1,5,,7",
        "beta,SPY,2024-03-15T10:00,1,6,,7",
        "alpha,QQQ,2024-03-15,1,5,,7",
        "alpha,QQQ,2024-03-18,2,5,,7",
    ]
    put(tmp_path, fills="\n".join([FILL_HEADER, *rows]))
    intake = read_ledger(make(fills=["fills.csv"]), tmp_path, horizon=HORIZON)
    assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [
        [4, "duplicate_fill_id"],
        [5, "duplicate_fill_id"],
    ]
    assert intake.holdings["lot_id"].tolist() == ["alpha|SPY|7", "beta|SPY|7"]


def test_a_given_lot_may_not_take_the_id_of_a_matched_one(tmp_path: Path) -> None:
    put(
        tmp_path,
        fills=f"{FILL_HEADER}\nalpha,SPY,2024-03-15,1,5,,1\nalpha,SPY,2024-03-18,-1,5,,2\n",
        lots=f"{LOT_HEADER}\n{lot(lot_id='alpha|SPY|1>2')}\n",
    )
    intake = read_ledger(make(fills=["fills.csv"], lots=["lots.csv"]), tmp_path, horizon=HORIZON)
    assert_adds_up(intake)
    assert intake.rejected["reasons"].tolist() == ["duplicate_lot_id"]
    assert intake.lots["source"].tolist() == ["fills"]


# --- files that stop the run --------------------------------------------------------------------------------


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "lots.csv: is empty; expected at least a header"),
        (b"\xef\xbb\xbf \r\n", "lots.csv: is empty"),
        (f"\n{LOT_HEADER}\n{LOT}\n".encode(), "line 1 is blank; expected the header there"),
        (f"{LOT_HEADER}\n".encode(), "ledger desk: none of its files has a row"),
        (
            f"{LOT_HEADER.replace('closed_at', 'exit')}\n{LOT}\n".encode(),
            "missing column closed_at; found lot_id, strategy, symbol, side, quantity, opened_at, exit, ",
        ),
        (
            f"{LOT_HEADER.replace('lot_id', 'Lot_ID')}\n{LOT}\n".encode(),
            r"missing column lot_id; .*; rename 'Lot_ID' to 'lot_id'",
        ),
        (
            f"{LOT_HEADER}\n{LOT}\n".replace(",", ";").encode(),
            "the fields seem to be separated by ';': save the file with commas",
        ),
        (f"{LOT_HEADER}\n{LOT}\n".replace(",", "\t").encode(), r"separated by '\\t'"),
        (f"{LOT_HEADER},fees\n{LOT},1\n".encode(), "column 'fees' appears more than once"),
        (f"{LOT_HEADER}\n{LOT}\n".encode("utf-16"), "is not UTF-8 .byte 0xff at offset 0, line 1"),
        (
            f"{LOT_HEADER}\n{lot(symbol='Société')}\n".encode("latin-1"),
            r"is not UTF-8 \(byte 0xe9 at offset 102, line 2\); save the file as CSV in UTF-8",
        ),
        (f"{LOT_HEADER}\n{LOT}\n".encode("utf-16-le"), "is not text .byte 0x00 at offset 1"),
        (parquet(pa.table({"lot_id": ["a"]})), "is a Parquet file; name it .parquet"),
        (b'"lot_id,strategy\nx,y\n', "line 1: the header is not CSV"),
    ],
)
def test_a_file_that_cannot_be_a_ledger_stops_with_the_remedy(tmp_path: Path, data: bytes, message: str) -> None:
    put(tmp_path, lots=data)
    with pytest.raises(LedgerError, match=message):
        read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=HORIZON)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f"{LOT_HEADER}\n{LOT}\n".encode(), "lots.parquet: is not a Parquet file"),
        (parquet(pa.table({"lot_id": ["a"]})), "missing column strategy, symbol"),
        (
            parquet(pa.table({name: [[1]] if name == "quantity" else ["1"] for name in LOT_HEADER.split(",")})),
            "missing column quantity; .*; quantity holds list<.*>, which is no text, number or time",
        ),
    ],
)
def test_a_parquet_file_that_cannot_be_a_ledger_stops_with_the_remedy(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "lots.parquet").write_bytes(data)
    with pytest.raises(LedgerError, match=message):
        read_ledger(make(lots=["lots.parquet"]), tmp_path, horizon=HORIZON)


def test_a_glob_without_files_another_format_and_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(LedgerError, match=r"ledger desk: lots: no file in .* matches 'trades/\*.csv'"):
        read_ledger(make(lots=["trades/*.csv"]), root, horizon=HORIZON)
    (root / "lots.xlsx").write_bytes(b"PK")
    with pytest.raises(LedgerError, match=r"lots.xlsx: expected a file named .csv, .parquet, .json, .jsonl"):
        read_ledger(make(lots=["lots.xlsx"]), root, horizon=HORIZON)
    put(tmp_path, secret=f"{LOT_HEADER}\n{LOT}\n")
    (root / "lots.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(LedgerError, match=r"lots\.csv: leads out of the data folder"):
        read_ledger(make(lots=["*.csv"]), root, horizon=HORIZON)


def test_a_file_is_either_lots_or_fills_and_a_strategy_trades_or_reports_returns(tmp_path: Path) -> None:
    both = f"{LOT_HEADER},ts,amount,price\n{LOT},2024-03-15,1,5\n"
    put(tmp_path, both=both, lots=f"{LOT_HEADER}\n{LOT}\n", returns="date,alpha\n2024-03-15,0.01\n")
    with pytest.raises(LedgerError, match=r"both.csv: line 2 is read both as lots and as fills; say with `where`"):
        read_ledger(make(lots=["both.csv"], fills=["both.csv"]), tmp_path, horizon=HORIZON)
    with pytest.raises(LedgerError, match=r"\['alpha'\] have daily returns and trades; give one of the two"):
        read_ledger(make(lots=["lots.csv"], returns=["returns.csv"]), tmp_path, horizon=HORIZON)


def test_a_history_has_to_have_begun_and_its_calendar_to_be_recorded(tmp_path: Path) -> None:
    put(tmp_path, lots=f"{LOT_HEADER}\n{LOT}\n")
    with pytest.raises(LedgerError, match="first_month 2024-01: is after 2023-12-31"):
        read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=dt.date(2023, 12, 31))
    with pytest.raises(LedgerError, match="first_month 1990-01: calendar XTKS is recorded from 1997-01-01 on"):
        read_ledger(make(lots=["lots.csv"], calendar="XTKS", first_month="1990-01"), tmp_path, horizon=HORIZON)


# --- files that are read ------------------------------------------------------------------------------------


def test_lots_are_typed_booked_and_completed(tmp_path: Path) -> None:
    intake = read_lots(
        tmp_path,
        lot(lot_id="weekend", opened_at="2024-03-16T12:00Z", closed_at="2024-03-17 12:00", pnl="", fees=""),
        lot(lot_id="evening", closed_at="2024-03-14T23:30:00-04:00", side="short", pnl=""),
        lot(lot_id="early", opened_at="2019-05-25", closed_at="2024-01-01T10:00:00"),
        lot(lot_id="given", pnl="7.5"),
    )
    assert intake.rejected.empty
    lots = intake.lots.set_index("lot_id")
    assert intake.lots["lot_id"].tolist() == ["early", "evening", "given", "weekend"]
    assert lots["session"].dt.strftime("%m-%d").to_dict() == {
        "early": "01-02",  # New Year's Day
        "evening": "03-15",
        "given": "03-15",
        "weekend": "03-18",
    }
    assert lots["open_session"].dt.strftime("%Y-%m-%d").to_dict() == {
        "early": "2019-05-28",  # Saturday before Memorial Day
        "evening": "2024-03-14",
        "given": "2024-03-14",
        "weekend": "2024-03-18",
    }
    assert lots["pnl"].to_dict() == {"early": 49.0, "evening": -51.0, "given": 7.5, "weekend": 50.0}
    assert lots["fees"].to_dict() == {"early": 1.0, "evening": 1.0, "given": 1.0, "weekend": 0.0}
    assert lots.loc["evening", "closed_at"] == pd.Timestamp("2024-03-15 03:30")
    assert (lots["entry_value"] == 5000.0).all()
    assert lots["margin_used"].isna().all()


def test_frames_have_the_same_types_whatever_was_read(tmp_path: Path) -> None:
    put(
        tmp_path,
        fills=f"{FILL_HEADER}\nalpha,SPY,2024-03-15,1,5,,1\nalpha,SPY,2024-03-18,-1,5,,2\n",
        returns="session,strategy,daily_return\n2024-03-15,beta,0.01\n",
    )
    intakes = [
        read_lots(tmp_path, LOT),
        read_ledger(make(fills=["fills.csv"]), tmp_path, horizon=HORIZON),
        read_ledger(make(returns=["returns.csv"]), tmp_path, horizon=HORIZON),
    ]
    for name in ("lots", "holdings", "returns", "rejected", "files"):
        types = [getattr(intake, name).dtypes.to_dict() for intake in intakes]
        assert types[0] == types[1] == types[2], name
    assert str(intakes[0].lots.dtypes["session"]) == "datetime64[us]"
    assert [len(intake.lots) for intake in intakes] == [1, 1, 0]


def test_lines_count_physically_over_blank_lines_quoted_breaks_and_stray_quotes(tmp_path: Path) -> None:
    header = f"{LOT_HEADER},note"
    rows = [
        lot(lot_id="A") + ",plain",  # line 2
        "",
        lot(lot_id="B") + ',"two\nlines"',  # 4 and 5
        lot(lot_id="C", quantity="0") + ',"three\r\n\nlines"',  # 6 to 8
        lot(lot_id="D") + ',"never closed',  # 9: only this line is lost
        lot(lot_id="E") + ",x",  # 10
        lot(lot_id="F", quantity="0") + ",x",  # 11
        lot(lot_id="G") + ',"said ""so""",too many',  # 12
        lot(lot_id="H") + ",x",
        "",
    ]
    intake = read_lots(tmp_path, *rows, header=header)
    assert_adds_up(intake)
    assert intake.lots["lot_id"].tolist() == ["A", "B", "E", "H"]
    assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [
        [6, "quantity_not_positive"],
        [9, "malformed_row"],
        [11, "quantity_not_positive"],
        [12, "malformed_row"],
    ]
    assert json.loads(intake.rejected["content"][0])["note"] == "three\r\n\nlines"
    assert intake.files["ignored_columns"].tolist() == ["note"]


def test_two_stray_quotes_that_close_each_other_swallow_no_rows_between_them(tmp_path: Path) -> None:
    rows = [
        lot(lot_id="A"),
        lot(lot_id="B", strategy='"alpha'),  # line 3: up to the next quote it would be one cell
        lot(lot_id="C"),
        lot(lot_id="D"),
        lot(lot_id="E", strategy='alpha"'),
    ]
    intake = read_lots(tmp_path, *rows)
    assert_adds_up(intake)
    assert intake.lots["lot_id"].tolist() == ["A", "C", "D", "E"]
    assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [[3, "malformed_row"]]
    assert "a cell goes on over lines that are rows" in intake.rejected["details"][0]


@pytest.mark.parametrize(("newline", "bom"), [("\n", b""), ("\r\n", b"\xef\xbb\xbf"), ("\r", b"")])
def test_line_ends_a_byte_order_mark_and_a_missing_last_newline_change_nothing(
    tmp_path: Path, newline: str, bom: bytes
) -> None:
    text = newline.join([f" {LOT_HEADER} ", lot(lot_id="A"), "", "short,row", lot(lot_id="B", quantity="0")])
    for data in (text, text + newline, text.replace("alpha", '"alpha"')):
        put(tmp_path, lots=bom + data.encode())
        intake = read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=HORIZON)
        assert intake.lots["lot_id"].tolist() == ["A"]
        assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [
            [4, "malformed_row"],
            [5, "quantity_not_positive"],
        ]


cells = st.text(st.sampled_from('ab1.,"\n\r ;é'), max_size=5)


@examples(10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=st.lists(cells, min_size=1, max_size=6), terminator=st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_csv_writer_quotes_is_read_back_on_its_line(
    tmp_path: Path, notes: list[str], terminator: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=terminator, quoting=csv.QUOTE_ALL)
    writer.writerow([*LOT_HEADER.split(","), "note"])
    lines = []
    for i, note in enumerate(notes):
        lines.append(len(out.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")))
        writer.writerow([*lot(lot_id=f"L{i}", quantity="0").split(","), note])
    put(tmp_path, lots=out.getvalue())
    intake = read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=HORIZON)
    assert intake.rejected["line"].tolist() == lines
    assert [json.loads(content)["note"] for content in intake.rejected["content"]] == notes


def test_parquet_with_native_types_equals_the_same_ledger_as_csv(tmp_path: Path) -> None:
    rows = [
        lot(lot_id="A"),
        lot(lot_id="B", pnl=""),
        lot(lot_id="C", quantity="-1"),
        lot(lot_id="D", pnl="nan"),
    ]
    as_csv = read_lots(tmp_path, *rows)
    frame = pd.read_csv(tmp_path / "lots.csv", keep_default_na=False)
    new_york = pd.to_datetime(frame["opened_at"]).dt.tz_localize("America/New_York")
    table = pa.table(
        {
            "lot_id": frame["lot_id"],
            "strategy": pa.array(frame["strategy"]).dictionary_encode(),
            "symbol": pa.array(frame["symbol"], pa.large_string()),
            "side": frame["side"],
            "quantity": frame["quantity"].astype("int32"),
            "opened_at": pa.array(new_york),
            "closed_at": pa.array(pd.to_datetime(frame["closed_at"]).astype("datetime64[ns]")),
            "open_price": pa.array(frame["open_price"].astype(int)).cast(pa.decimal128(30, 4)),
            "close_price": frame["close_price"].astype(float),
            "pnl": pa.array([49.0, None, 49.0, float("nan")]),
            "fees": frame["fees"].astype("float32"),
            "flags": [[1]] * 4,
        }
    )
    pq.write_table(table, tmp_path / "lots.parquet")
    as_parquet = read_ledger(make(lots=["*.parquet"]), tmp_path, horizon=HORIZON)
    assert_adds_up(as_parquet)
    pd.testing.assert_frame_equal(as_parquet.lots, as_csv.lots, check_exact=True)
    assert as_parquet.rejected[["line", "reasons"]].to_numpy().tolist() == [
        [3, "quantity_not_positive"],
        [4, "non_finite"],
    ]
    assert as_parquet.files["ignored_columns"].tolist() == ["flags"]


def test_dates_in_parquet_are_dates_of_the_exchange(tmp_path: Path) -> None:
    columns: dict[str, Any] = {name: [cell] for name, cell in zip(LOT_HEADER.split(","), LOT.split(","), strict=True)}
    columns |= {"opened_at": pa.array([dt.date(2024, 3, 14)]), "closed_at": pa.array([dt.date(2024, 3, 15)])}
    pq.write_table(pa.table(columns), tmp_path / "lots.parquet")
    intake = read_ledger(make(lots=["lots.parquet"], timezone="Asia/Tokyo"), tmp_path, horizon=HORIZON)
    assert intake.lots["session"].tolist() == [pd.Timestamp("2024-03-15")]


def test_globs_know_folders(tmp_path: Path) -> None:
    for folder in ("a", "a/b", "a/b/c"):
        (tmp_path / folder).mkdir()
        put(tmp_path / folder, lots=f"{LOT_HEADER}\n{lot(lot_id=folder)}\n", other="no ledger")

    def names(*globs: str) -> list[str]:
        return read_ledger(make(lots=globs), tmp_path, horizon=HORIZON).files["source_file"].tolist()

    assert names("a/lots.csv") == ["a/lots.csv"]
    assert names("a/*/lots.csv", "a/b/l?ts.csv") == ["a/b/lots.csv"]
    assert names("**/lots.csv") == ["a/b/c/lots.csv", "a/b/lots.csv", "a/lots.csv"]
    assert names("a/b/**/lo*.csv") == ["a/b/c/lots.csv", "a/b/lots.csv"]


# --- what is accepted in general ----------------------------------------------------------------------------

DAYS = [f"2024-0{1 + i % 6}-1{i}T15:00" for i in range(8)]
POOL = [
    *(lot(lot_id=f"L{i}", opened_at="2023-12-15", closed_at=day, fees=f"{i}.1") for i, day in enumerate(DAYS)),
    lot(lot_id="L1", opened_at="2023-12-15", closed_at=DAYS[1], fees="1.10"),  # once more
    lot(lot_id="L3", pnl="12"),  # in conflict
    lot(lot_id="bad", quantity="x"),
]
FILLS = [
    f"{s},SPY,2024-0{1 + i // 4}-1{i % 9}T1{i % 4}:00,{sign * (1 + i % 5) / 10},{100 + i},0.1,{s}{i}"
    for s in ("beta", "gamma")
    for i, sign in enumerate([1, 1, 1, -1, -1, -1] * 2 + [1, 1, 1, -1])
]


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_accepted_rows_do_not_depend_on_order_or_files(tmp_path: Path, data: st.DataObject) -> None:
    def spread(kind: str, header: str, rows: list[str]) -> None:
        for old in tmp_path.glob(f"{kind}*.csv"):
            old.unlink()
        order = data.draw(st.permutations(rows))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
        for i, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
            put(tmp_path, **{f"{kind}{i}": "\n".join([header, *order[start:end]]) + "\n"})

    def read() -> Intake:
        return read_ledger(make(lots=["lots*.csv"], fills=["fills*.csv"]), tmp_path, horizon=HORIZON)

    def outcome(intake: Intake) -> list[str]:
        return sorted(intake.rejected["kind"] + " " + intake.rejected["reasons"])

    spread("lots", LOT_HEADER, POOL)
    spread("fills", FILL_HEADER, FILLS)
    one = read()
    spread("lots", LOT_HEADER, POOL)
    spread("fills", FILL_HEADER, FILLS)
    other = read()
    assert_adds_up(one)
    pd.testing.assert_frame_equal(one.lots, other.lots, check_exact=True)
    pd.testing.assert_frame_equal(one.holdings, other.holdings, check_exact=True)
    assert outcome(one) == outcome(other)
    assert len(one.rejected) == 4


def test_an_earlier_horizon_gives_the_same_lots_up_to_it_bit_for_bit(tmp_path: Path) -> None:
    put(tmp_path, lots="\n".join([LOT_HEADER, *POOL]), fills="\n".join([FILL_HEADER, *FILLS]))
    source = make(lots=["lots.csv"], fills=["fills.csv"])
    whole = read_ledger(source, tmp_path, horizon=HORIZON)
    for horizon in (dt.date(2024, 2, 1), dt.date(2024, 3, 29), dt.date(2024, 4, 12)):
        part = read_ledger(source, tmp_path, horizon=horizon)
        assert_adds_up(part)
        known = whole.lots[whole.lots["session"] <= part.lots["session"].max()].reset_index(drop=True)
        pd.testing.assert_frame_equal(part.lots, known, check_exact=True)
        at = pd.DatetimeIndex([part.lots["session"].max()])
        pd.testing.assert_frame_equal(part.open_lots(at), whole.open_lots(at), check_exact=True)


def test_a_weekend_exit_is_known_before_its_session_within_a_month(tmp_path: Path) -> None:
    saturday = lot(closed_at="2024-03-16T12:00")
    put(tmp_path, lots=f"{LOT_HEADER}\n{saturday}\n")
    source = make(lots=["lots.csv"])
    known = read_ledger(source, tmp_path, horizon=dt.date(2024, 3, 16))
    assert known.lots["session"].tolist() == [pd.Timestamp("2024-03-18")]
    assert read_ledger(source, tmp_path, horizon=dt.date(2024, 3, 15)).lots.empty


def test_the_last_weekend_of_a_finished_history_belongs_to_no_month_of_it(tmp_path: Path) -> None:
    rows = [
        lot(lot_id="Friday", closed_at="2024-03-29"),
        lot(lot_id="Thursday", closed_at="2024-03-28T16:00"),
        lot(lot_id="Thursday evening", closed_at="2024-03-28T16:01"),
    ]
    intake = read_lots(tmp_path, *rows, last_month="2024-03")  # 2024-03-29 was Good Friday
    assert intake.lots["lot_id"].tolist() == ["Thursday"]
    assert intake.rejected["reasons"].tolist() == ["outside_history"] * 2


def test_the_evening_of_the_day_that_a_ledger_is_read_belongs_to_the_session_after_it(tmp_path: Path) -> None:
    put(
        tmp_path,
        lots=f"{LOT_HEADER}\n{lot(closed_at='2024-03-15T18:00')}\n{lot(lot_id='L2', closed_at='2024-03-18')}\n",
    )
    intake = read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=dt.date(2024, 3, 15))
    assert intake.lots[["lot_id", "session"]].to_numpy().tolist() == [["L1", pd.Timestamp("2024-03-18")]]
    assert intake.rejected["reasons"].tolist() == ["outside_history"]


# --- fills --------------------------------------------------------------------------------------------------


def test_fills_before_the_history_open_what_is_closed_in_it(tmp_path: Path) -> None:
    rows = [
        "alpha,SPY,2023-11-01T10:00,10,5,0,a",
        "alpha,SPY,2023-12-01T10:00,-4,6,0,b",
        "alpha,SPY,2024-01-05T10:00,-5,7,0,c",
    ]
    put(tmp_path, fills="\n".join([FILL_HEADER, *rows]))
    intake = read_ledger(make(fills=["fills.csv"]), tmp_path, horizon=HORIZON)
    assert_adds_up(intake)
    assert intake.files["accepted"].tolist() == [3]
    assert intake.lots["lot_id"].tolist() == ["alpha|SPY|a>c"]
    assert intake.lots_before_history == 1
    month_ends = pd.DatetimeIndex(["2023-11-30", "2023-12-29", "2024-01-31"])
    open_lots = intake.open_lots(month_ends)
    assert open_lots["quantity"].tolist() == [10.0, 6.0, 1.0]
    assert open_lots["open_session"].tolist() == [pd.Timestamp("2023-11-01")] * 3
    assert open_lots["snapshot"].tolist() == month_ends.tolist()


def test_a_position_is_open_at_the_end_of_a_session_by_the_session_of_its_fills(tmp_path: Path) -> None:
    rows = [
        "alpha,SPY,2024-03-28T16:00,1,5,,late",  # the close of the month's last session
        "alpha,SPY,2024-03-30T12:00,1,5,,weekend",  # already April's
        "alpha,SPY,2024-04-01T10:00,-1,6,,out",
        "alpha,QQQ,2024-03-28T10:00,1,5,,in",
        "alpha,QQQ,2024-03-28T11:00,-1,5,,and out",
    ]
    put(tmp_path, fills="\n".join([FILL_HEADER, *rows]))
    intake = read_ledger(make(fills=["fills.csv"]), tmp_path, horizon=HORIZON)
    open_lots = intake.open_lots(pd.DatetimeIndex(["2024-03-28", "2024-04-01"]))
    assert open_lots[["snapshot", "lot_id"]].to_numpy().tolist() == [
        [pd.Timestamp("2024-03-28"), "alpha|SPY|late"],
        [pd.Timestamp("2024-04-01"), "alpha|SPY|weekend"],
    ]


# --- daily returns ------------------------------------------------------------------------------------------


def test_long_and_wide_returns_are_the_same(tmp_path: Path) -> None:
    put(
        tmp_path,
        long="session,strategy,daily_return\n2024-03-15,b,0.02\n2024-03-14,a,-0.01\n2024-03-15,a,0\n",
        wide="date,a,b\n2024-03-14,-0.01,\n2024-03-15 00:00:00,0,0.02\n",
        other="session,b,a\n20240315,0.02,0.0\n2024-03-14,,-1e-2\n",
    )
    frames = [
        read_ledger(make(returns=[f"{name}.csv"]), tmp_path, horizon=HORIZON) for name in ("long", "wide", "other")
    ]
    expected = [["2024-03-14", "a", -0.01], ["2024-03-15", "a", 0.0], ["2024-03-15", "b", 0.02]]
    for intake in frames:
        assert_adds_up(intake)
        found = intake.returns.assign(session=intake.returns["session"].dt.strftime("%Y-%m-%d"))
        assert found.to_numpy().tolist() == expected
    assert frames[1].files[["source_file", "read"]].to_numpy().tolist() == [
        ["wide.csv#a", 2],
        ["wide.csv#b", 1],
    ]


def test_bad_returns_are_rejected_cell_by_cell(tmp_path: Path) -> None:
    rows = ["2024-03-14,0.01,x", "2024-03-15,-1,0.02", "2024-03-16,0.01,", "15 March,,0.02", "2024-03-18,1"]
    put(
        tmp_path,
        wide="\n".join(["date,a,b", *rows]),
        again="date,a\n2024-03-14,0.01\n2024-03-19,0.5\n2024-03-19,0.6\n",
    )
    intake = read_ledger(make(returns=["*.csv"]), tmp_path, horizon=HORIZON)
    assert_adds_up(intake)
    assert intake.rejected[["source_file", "line", "reasons"]].to_numpy().tolist() == [
        ["again.csv#a", 3, "duplicate_return"],
        ["again.csv#a", 4, "duplicate_return"],
        ["wide.csv", 6, "malformed_row"],
        ["wide.csv#a", 2, "exact_duplicate"],
        ["wide.csv#a", 3, "return_too_low"],
        ["wide.csv#b", 2, "not_a_number"],
        ["wide.csv#b", 5, "unparseable_date"],
    ]
    # What a earned on a Saturday stands on the Monday.
    assert intake.returns.astype({"session": "str"}).to_numpy().tolist() == [
        ["2024-03-14", "a", 0.01],
        ["2024-03-15", "b", 0.02],
        ["2024-03-18", "a", 0.01],
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Session,Strategy,Daily_Return", "rename 'Session' to 'session'; rename 'Strategy' to 'strategy'"),
        (
            "day,a,b",
            "expected the columns session, strategy, daily_return, or a date and one column of numbers",
        ),
        ("date", "found date"),
    ],
)
def test_returns_that_are_neither_long_nor_wide_stop(tmp_path: Path, header: str, message: str) -> None:
    put(tmp_path, returns=f"{header}\n2024-03-15,0.1,0.1\n")
    with pytest.raises(LedgerError, match=message):
        read_ledger(make(returns=["returns.csv"]), tmp_path, horizon=HORIZON)


# --- sources ------------------------------------------------------------------------------------------------

SOUND = {
    "name": "desk",
    "description": "A desk.",
    "lots": ["trades/*.csv"],
    "timezone": "America/New_York",
    "first_month": "2020-01",
}


def load(root: Path, **keys: Any) -> LedgerSource:
    content = {key: value for key, value in (SOUND | keys).items() if value is not None}
    (root / "desk.yaml").write_text(yaml.safe_dump(content))
    return load_ledger_source(root / "desk.yaml")


def test_a_source_is_loaded_with_its_defaults(tmp_path: Path) -> None:
    source = load(tmp_path)
    assert source.lots is not None
    assert [files.files for files in source.lots] == [("trades/*.csv",)]
    assert (source.calendar, source.last_month, source.incomplete) == ("XNYS", None, "stop")
    assert source.capital == AveragePositionValue(sessions=252)
    assert load(tmp_path, capital={"kind": "average_lot_value", "sessions": 60}).capital == AverageLotValue(sessions=60)
    book = load_book(DATA / "books" / "calmar_core.yaml").model_copy(update={"ledger": "desk"})
    assert load_sources(tmp_path, [book, book]) == {
        "desk": load(tmp_path, capital={"kind": "average_lot_value", "sessions": 60})
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"surprise": "x.csv"}, "desk.yaml: surprise: Extra inputs are not permitted"),
        ({"name": "Desk"}, "name: String should match pattern"),
        ({"name": "other"}, "name: expected 'desk', as the file is called, got 'other'"),
        ({"lots": None}, "expected at least one of lots, fills and returns"),
        ({"lots": []}, "lots: Tuple should have at least 1 item"),
        ({"lots": "trades.csv"}, "lots: Input should be a valid tuple, got 'trades.csv'"),
        ({"lots": [{"globs": ["x.csv"]}]}, "lots.0.globs: Extra inputs are not permitted"),
        ({"lots": [{"delimiter": ";"}]}, "lots.0: expected one of files, sql, dynamodb, mongodb; found none"),
        ({"lots": [{"files": ["../x.csv"]}]}, "lots.0.files.0: expected a path inside the data folder"),
        ({"decimal": ";"}, "decimal: Input should be '.' or ','"),
        ({"decimal": ",", "thousands": ","}, "thousands: is ',', which is the decimal mark too"),
        ({"encoding": "utf-9"}, "encoding: expected the name of an encoding, such as utf-8, .* got 'utf-9'"),
        ({"where": {"x": {"in": 1}}}, r"where.x: expected a value, .*\{not: …\} or \{matches: PATTERN\}"),
        ({"openings": ["o.csv"]}, "openings: are what fills continue from; expected fills beside openings"),
        ({"incomplete": "ignore"}, "incomplete: Input should be 'stop' or 'neutral'"),
        ({"lots": ["../secret.csv"]}, "lots.0: .*expected a path inside the data folder"),
        ({"fills": ["/etc/passwd"]}, "fills.0: .*expected a path inside the data folder"),
        ({"returns": ["s3://bucket"]}, "returns.0: .*expected s3://BUCKET/KEY"),
        ({"returns": ["s3://bucket/a/../x.csv"]}, "returns.0: .*expected s3://BUCKET/KEY"),
        ({"returns": ["https://bucket/x.csv"]}, "returns.0: .*expected a path inside the data folder"),
        ({"lots": ["C:\\x.csv"]}, "lots.0: .*expected a path inside the data folder"),
        ({"timezone": None}, "timezone: Field required"),
        ({"timezone": "New York"}, "timezone: .*'New York' is not an IANA time zone"),
        ({"timezone": "../etc/passwd"}, "timezone: .*is not an IANA time zone"),
        ({"calendar": "NYC"}, "calendar: .*'NYC' is not known to exchange_calendars"),
        ({"first_month": "2020-13"}, "first_month: .*expected a month such as 2020-01, got '2020-13'"),
        ({"first_month": dt.date(2020, 1, 1)}, "first_month: Input should be a valid string"),
        ({"last_month": "2019-12"}, "last_month 2019-12 is before first_month 2020-01"),
        ({"capital": {"kind": "own_funds"}}, "capital: .*'own_funds'.*'capital_base'"),
        ({"capital": {"kind": "capital_base"}}, "capital.capital_base.file: Field required"),
        ({"capital": {"kind": "average_position_value", "sessions": 0}}, "sessions: "),
        ({"capital": {"kind": "average_lot_value", "window": 5}}, "window: "),
        ({"benchmark": {"file": "b.csv"}}, "benchmark.column: Field required"),
    ],
)
def test_a_source_that_is_wrong_names_the_key_and_what_was_expected(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(LedgerError, match=message):
        load(tmp_path, **keys)


def test_missing_and_unreadable_sources_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    with pytest.raises(LedgerError, match=r"desk.yaml: not readable as YAML: .*No such file"):
        load_ledger_source(file)
    (tmp_path / "desk.yaml").write_text("name: desk\nname: desk\n")
    with pytest.raises(LedgerError, match="duplicate key 'name'"):
        load_ledger_source(file)
    (tmp_path / "desk.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(LedgerError, match="not readable as YAML"):
        load_ledger_source(file)


# --- capital and benchmark ----------------------------------------------------------------------------------


def test_capital_is_the_policy_or_its_table(tmp_path: Path) -> None:
    put(tmp_path, capital="strategy,date,capital\nalpha,2024-01-02,1e6\nbeta,2024-01-02,250000.5\n")
    source = make(lots=["x.csv"], capital={"kind": "capital_base", "file": "capital.csv"})
    policy = read_capital(source, tmp_path)
    assert isinstance(policy, CapitalBase)
    assert [(e.strategy, e.date, e.capital) for e in policy.table] == [
        ("alpha", dt.date(2024, 1, 2), 1e6),
        ("beta", dt.date(2024, 1, 2), 250000.5),
    ]
    assert read_capital(make(lots=["x.csv"]), tmp_path) == AveragePositionValue()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("alpha,2024-01-02,0", "capital.csv: capital: expected a positive amount for alpha"),
        ("alpha,2024-01-02,inf", "line 2: capital: 'inf' is not finite"),
        (
            "alpha,Jan 2,5\n,2024-01-02,5",
            "2 cells or lines to correct: line 2: date: 'Jan 2' .*; line 3: strategy",
        ),
        ("alpha,2024-01-02", "line 2: expected 3 fields, found 2"),
        ("alpha,2024-01-02,5\nalpha,2024-01-02,6", "one entry per strategy and date"),
        ("", "has no row below its header"),
    ],
)
def test_a_wrong_capital_table_stops(tmp_path: Path, rows: str, message: str) -> None:
    put(tmp_path, capital=f"strategy,date,capital\n{rows}\n")
    with pytest.raises(LedgerError, match=message):
        read_capital(make(lots=["x.csv"], capital={"kind": "capital_base", "file": "capital.csv"}), tmp_path)


def test_a_benchmark_is_a_positive_series_by_date(tmp_path: Path) -> None:
    source = make(lots=["x.csv"], benchmark={"file": "spx.csv", "column": "close"})
    put(tmp_path, spx="date,open,close\n2024-01-03,1,4704.81\n2024-01-02,,4742.83\n")
    prices = read_benchmark(source, tmp_path)
    assert prices.to_dict() == {pd.Timestamp("2024-01-02"): 4742.83, pd.Timestamp("2024-01-03"): 4704.81}
    assert prices.index.is_monotonic_increasing
    for rows, message in [
        ("2024-01-02,1,0", "spx.csv: line 2: close: expected a positive price, got 0"),
        ("2024-01-02,1,", "line 2: close: is empty"),
        ("2024-01-02,1,5\n2024-01-02,1,5", "spx.csv: line 3: date: 2024-01-02 stands twice"),
    ]:
        put(tmp_path, spx=f"date,open,close\n{rows}\n")
        with pytest.raises(LedgerError, match=message):
            read_benchmark(source, tmp_path)
    put(tmp_path, spx="date,Close\n2024-01-02,1\n")
    with pytest.raises(LedgerError, match="missing column close; found date, Close; rename 'Close' to 'close'"):
        read_benchmark(source, tmp_path)
    with pytest.raises(LedgerError, match="benchmark: expected a file and a column"):
        read_benchmark(make(lots=["x.csv"]), tmp_path)
    with pytest.raises(LedgerError, match=r"gone\.csv: cannot be read"):
        read_benchmark(make(lots=["x.csv"], benchmark={"file": "gone.csv", "column": "close"}), tmp_path)


# --- calendars ----------------------------------------------------------------------------------------------


def test_sessions_and_closes_of_an_exchange() -> None:
    sessions = calendar_sessions("XNYS", dt.date(2021, 12, 30), dt.date(2022, 1, 4))
    assert sessions.strftime("%m-%d").tolist() == ["12-30", "12-31", "01-03", "01-04"]
    assert sessions.tz is None
    assert exchange_timezone("XNYS") == "America/New_York"
    closes = session_closes("XNYS", dt.date(2024, 7, 2), dt.date(2024, 7, 5))
    assert closes.index.strftime("%m-%d").tolist() == ["07-02", "07-03", "07-05"]
    assert closes.dt.strftime("%H:%M").tolist() == ["20:00", "17:00", "20:00"]  # a half day before the 4th


def test_unknown_and_unrecorded_calendars_are_refused() -> None:
    with pytest.raises(LedgerError, match="calendar: 'NYC' is not known"):
        exchange_timezone("NYC")
    with pytest.raises(LedgerError, match="XTKS is recorded from 1997-01-01"):
        calendar_sessions("XTKS", dt.date(1996, 1, 1), dt.date(2000, 1, 1))


# --- speed --------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_lots_add_up(tmp_path: Path) -> None:
    n, rng = 100_000, np.random.default_rng(3)
    opened = pd.Timestamp("2024-01-02 15:00") + pd.to_timedelta(rng.integers(0, 150 * 86_400, n), unit="s")
    frame = pd.DataFrame(
        {
            "lot_id": np.arange(n),
            "strategy": "s",
            "symbol": "X",
            "side": "long",
            "quantity": rng.integers(0, 100, n),
            "opened_at": opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "closed_at": (opened + pd.Timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "open_price": rng.random(n).round(4),
            "close_price": rng.random(n).round(4),
        }
    )
    frame.to_csv(tmp_path / "lots.csv", index=False)
    calendar_sessions("XNYS", dt.date(2023, 12, 1), dt.date(2024, 12, 31))
    intake = read_ledger(make(lots=["lots.csv"]), tmp_path, horizon=HORIZON)
    assert len(intake.lots) == int((frame["quantity"] > 0).sum())
    assert_adds_up(intake)
