"""A foreign file says the same as one written for the ledger, or an error or a rejected row says why not."""

import datetime as dt
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights_pipeline.core.returns.cells import Formats, parse_cells
from weights_pipeline.core.returns.lots import FILL_COLUMNS
from weights_pipeline.ledger import LedgerError, read_ledger
from weights_pipeline.ledger.calendars import exchange_timezone
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import file_at
from weights_pipeline.ledger.rows import gather
from weights_pipeline.ledger.vocabulary import Reading
from weights_pipeline_tests.support.examples import examples
from weights_pipeline_tests.support.trades import FILLS, HORIZON, PLAIN, hashes, lots, source


@pytest.fixture
def written(tmp_path):
    """Write text into the data folder and read it as fills."""

    def read(text, name="fills.csv", **said):
        (tmp_path / name).write_text(text)
        return gather(source([{"files": [name], **said}]), tmp_path, exchange_timezone("XNYS"))["fills"]

    return read


def faults(rows):
    return [(int(rows.line[fault.row]), fault.code) for fault in rows.faults]


# --------------------------------------------------------------------------- the same in every form

FOREIGN = {
    "columns": {"symbol": "Ticker", "ts": "When", "amount": "Qty", "side": "Action", "price": "Px", "fill_id": "Id"},
    "values": {"side": {"B": "buy", "S": "sell"}},
}


def foreign():
    amount = FILLS["amount"].astype(float)
    return pd.DataFrame(
        {
            "Tag": FILLS["strategy"],
            "Ticker": FILLS["symbol"],
            "When": FILLS["ts"],
            "Qty": amount.abs().map("{:g}".format),
            "Action": ["B" if each > 0 else "S" for each in amount],
            "Px": FILLS["price"],
            "Comm": (FILLS["fees"].astype(float) - 0.25).map("{:g}".format),
            "Tax": "0.25",
            "Id": FILLS["fill_id"],
        }
    )


def foreign_said(**more):
    columns = {**FOREIGN["columns"], "fees": ["Comm", "Tax"]}
    return {**FOREIGN, "columns": columns, "strategy_from": {"column": "Tag"}, **more}


def as_german(folder):
    frame = foreign()
    for name in ("Qty", "Px", "Comm", "Tax"):
        frame[name] = frame[name].str.replace(".", ",")
    frame["When"] = pd.to_datetime(frame["When"]).dt.strftime("%d.%m.%Y %H:%M:%S")
    table = frame.to_csv(index=False, sep=";")
    (folder / "german.csv").write_bytes(f"Depot 4711 – Umsätze\n\n{table}Summe;;;;;;;;\n".encode("cp1252"))
    more = {"skip_to": "Tag", "footer": 1, "delimiter": ";", "decimal": ",", "encoding": "cp1252"}
    return {"files": ["german.csv"], **foreign_said(**more, time_format="%d.%m.%Y %H:%M:%S")}


def as_sections(folder):
    lines = ["BOF,U1", f"HEADER,TRNT,{','.join(foreign())}"]
    lines += [f"DATA,TRNT,{','.join(row)}" for row in foreign().to_numpy()]
    lines[4:4] = ["HEADER,CTRN,Currency,Amount", "DATA,CTRN,USD,5"]
    (folder / "flex.csv").write_text("\n".join([*lines, lines[1], "EOF,U1"]))
    section = {"header": ["HEADER", "TRNT"], "rows": ["DATA", "TRNT"]}
    return {"files": ["flex.csv"], **foreign_said(section=section)}


def as_json(folder):
    records = foreign().to_dict("records")
    milliseconds = pd.to_datetime(FILLS["ts"]).dt.tz_localize(None).astype("datetime64[ms]").astype("int64").tolist()
    for record, when in zip(records, milliseconds, strict=True):
        record.update(
            When=when, Qty=float(record["Qty"]), fees={"Comm": record.pop("Comm"), "Tax": [record.pop("Tax")]}
        )
    (folder / "fills.json").write_text(json.dumps({"page": {"fills": records[::-1]}}))
    said = foreign_said(records="page.fills", newest_first=True, time_format="milliseconds")
    return {"files": ["fills.json"], **said, "columns": {**said["columns"], "fees": ["fees.Comm", "fees.Tax.0"]}}


def as_parquet(folder):
    frame = foreign().assign(When=pd.to_datetime(FILLS["ts"]), Px=FILLS["price"].astype(float))
    pyarrow.parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "fills.parquet")
    return {"files": ["fills.parquet"], **foreign_said()}


def as_lines(folder):
    (folder / "fills.jsonl").write_text(foreign().to_json(orient="records", lines=True))
    return {"files": ["fills.jsonl"], **foreign_said()}


def as_xml(folder):
    records = [" ".join(f'{name}="{cell}"' for name, cell in row.items()) for row in foreign().to_dict("records")]
    fills = "".join(f"<fill {record}/>" for record in records)
    (folder / "fills.xml").write_text(f"<report><day><fills>{fills}</fills></day></report>")
    return {"files": ["fills.xml"], **foreign_said(records="day.fills.fill")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Lots, holdings and hashes of the trades in the ledger's own form."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain.csv").write_text(PLAIN)
    here = source(["plain.csv"])
    return lots(here, folder), hashes(here, folder)


@pytest.mark.parametrize("form", [as_german, as_sections, as_json, as_parquet, as_lines, as_xml])
def test_the_same_trades_in_another_form_are_the_same_lots(form, plain, tmp_path):
    there = source([form(tmp_path)])
    for found, right in zip(lots(there, tmp_path), plain[0], strict=True):
        pd.testing.assert_frame_equal(found, right, check_exact=True)
    assert hashes(there, tmp_path) == plain[1]


# --------------------------------------------------------------------------- whose a fill is

ACCOUNT = """acct,tag,symbol,ts,amount,price
U1,carry-7,EWZ,2024-03-04T15:15:00Z,300,34.10
U1,,SPY,2024-03-05T15:15:00Z,10,510
U2,fade,EWZ,2024-03-06T15:15:00Z,5,34
U3,,GLD,2024-03-07T15:15:00Z,1,200
"""


def strategies(rows):
    return [None if pd.isna(each) else each for each in rows.typed["strategy"]]


def test_strategy_from_a_column(written):
    rows = written(ACCOUNT, strategy_from={"column": "tag"})
    assert strategies(rows) == ["carry-7", None, "fade", None]
    assert faults(rows) == [(3, "no_strategy"), (5, "no_strategy")]


def test_strategy_from_a_pattern(written):
    rows = written(ACCOUNT, strategy_from={"column": "tag", "matches": "^([a-z]+)-"})
    assert strategies(rows) == ["carry", None, None, None]


def test_strategy_from_the_name_of_the_file(written):
    rows = written(ACCOUNT, name="2024_carry.csv", strategy_from={"file": r"\d+_(\w+)\.csv$"}, ignore=["tag"])
    assert strategies(rows) == ["carry"] * 4
    assert faults(written(ACCOUNT, strategy_from={"file": r"\d+_(\w+)\.csv$"})) == [
        (n, "no_strategy") for n in (2, 3, 4, 5)
    ]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("acct,strategy\nU1,one\nU2,two\n", ["one", "one", "two", None]),
        ("acct,symbol,strategy\nU1,SPY,hedge\nU1,,one\n,GLD,gold\n", ["one", "hedge", None, "gold"]),
        ("acct,symbol,strategy\nU1,,one\nU1,SPY,never\n,,rest\n", ["one", "one", "rest", "rest"]),
    ],
)
def test_strategy_from_a_table_takes_the_first_line_that_fits(written, tmp_path, table, expected):
    (tmp_path / "rules.csv").write_text(table)
    assert strategies(written(ACCOUNT, strategy_from={"table": "rules.csv"})) == expected


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("acct,who\nU1,one\n", "rules.csv: expected the column strategy"),
        ("desk,strategy\nU1,one\n", "rules.csv: column desk: fills.csv has acct, tag, symbol"),
        ("acct,strategy\nU1,\n", "rules.csv: line 2: strategy: is empty"),
    ],
)
def test_table_of_strategies_that_is_none(written, tmp_path, table, says):
    (tmp_path / "rules.csv").write_text(table)
    with pytest.raises(LedgerError, match=says):
        written(ACCOUNT, strategy_from={"table": "rules.csv"})


def test_a_fill_that_no_rule_assigns_leaves_its_symbol_unknown(tmp_path):
    (tmp_path / "fills.csv").write_text(
        "tag,symbol,ts,amount,price,fill_id\n"
        "carry,EWZ,2024-03-04T15:15:00Z,300,34,1\n"
        "carry,SPY,2024-03-04T15:15:00Z,10,500,2\n"
        ",EWZ,2024-03-05T15:15:00Z,-100,35,3\n"
        "carry,EWZ,2024-03-06T15:15:00Z,-300,36,4\n"
        "carry,SPY,2024-03-06T15:15:00Z,-10,510,5\n"
    )
    intake = read_ledger(
        source([{"files": ["fills.csv"], "strategy_from": {"column": "tag"}}]), tmp_path, horizon=HORIZON
    )
    assert intake.lots["symbol"].tolist() == ["SPY"]
    assert intake.rejected[["line", "reasons"]].to_numpy().tolist() == [[4, "no_strategy"], [5, "position_unknown"]]
    assert intake.files[["read", "accepted", "rejected"]].to_numpy().tolist() == [[5, 3, 2]]


# --------------------------------------------------------------------------- what does not fit

TRADES = """Ticker,When,Qty,Px,Fee,Kind,Ccy
EWZ,2024-03-04T15:15:00Z,300,34.10,-1.5 USD,trade,USD
EWZ,2024-03-05T15:15:00Z,-300,34.20,free,trade,USD
EWZ,2024-03-06T15:15:00Z,10,34.30,,trade,EUR
EWZ,2024-03-07T15:15:00Z,10,34.30,-1 USD,transfer,USD
"""
SAID = {
    "columns": {"symbol": "Ticker", "ts": "When", "amount": "Qty", "price": "Px", "fees": "Fee"},
    "constants": {"strategy": "desk"},
    "extract": {"fees": r"^(-?[0-9.]+) USD$"},
    "where": {"Kind": "trade"},
    "expect": {"Ccy": "USD"},
    "fees_sign": "negative_is_cost",
}


def test_what_the_source_does_not_expect_is_rejected_and_says_what(written):
    rows = written(TRADES, **SAID)
    assert faults(rows) == [(4, "unexpected_value"), (3, "unexpected_value")]
    assert [fault.detail for fault in rows.faults] == [
        "Ccy: 'EUR'; the source expects USD",
        "fees: 'free' is no match of its pattern under extract",
    ]
    assert rows.typed["fees"].tolist()[0] == 1.5
    assert rows.parts[0].left_out == 1
    assert rows.parts[0].read == 3


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"columns": {"symbol": "Tick"}}, "fills.csv: columns: there is no column Tick; found Ticker, When"),
        ({"where": {"State": "x"}}, "where: there is no column State"),
        ({"expect": {"State": "x"}}, "expect: there is no column State"),
        ({"strategy_from": {"column": "Tag"}, "constants": {}}, "strategy_from: there is no column Tag"),
        ({"skip_to": "Nothing"}, "skip_to: no line begins with the cell 'Nothing'"),
        ({"section": {"header": ["H"], "rows": ["D"]}}, "section: no line begins with H"),
        ({"records": "a.b"}, "records: is a path within JSON"),
        ({"expect": {}, "where": {}, "ignore": []}, "column 'Ccy': no rule reads it"),
    ],
)
def test_a_setting_that_does_not_fit_the_file(written, said, says):
    with pytest.raises(LedgerError, match=says):
        written(TRADES, **{**SAID, **said})


@pytest.mark.parametrize(
    ("content", "said", "says"),
    [
        ("{", {}, "is not JSON"),
        ("[" * 100_000, {}, "is not JSON"),
        ('{"a": 1}', {}, "expected a list of records; found a: say with records where the list is"),
        ("3", {}, "expected a list of records; found str"),
        ('{"a": {"b": []}}', {"records": "a.c"}, "records: there is no 'a.c' in it"),
        ("[]", {"skip_lines": 1}, "JSON has no lines to skip"),
    ],
)
def test_json_that_holds_no_list(written, content, said, says):
    with pytest.raises(LedgerError, match=says):
        written(content, name="fills.json", **said)


def test_json_rows_are_counted_and_what_is_no_record_is_rejected(written):
    record = {"strategy": "a", "symbol": "X", "ts": "2024-03-04T15:00:00Z", "amount": 1, "price": 1e2}
    rows = written(json.dumps([record, 5, {**record, "amount": 2}]), name="fills.json")
    assert rows.typed["price"].tolist() == [100, 100]
    assert rows.line.tolist() == [1, 3]
    assert [(line, why) for line, why, _ in rows.parts[0].malformed] == [(2, "is no record")]


def test_another_header_within_a_section_is_refused(written):
    text = "H,a,b\nD,1,2\nH,a,c\nD,1,2\n"
    with pytest.raises(LedgerError, match=r"line 3: section: another header than in line 1"):
        written(text, section={"header": ["H"], "rows": ["D"]})


def test_one_line_may_be_a_fill_and_cash_where_it_states_different_numbers(tmp_path):
    (tmp_path / "deals.csv").write_text(
        "strategy,symbol,ts,amount,price,fees,swap\n"
        "fx,EURUSD,2024-03-04T15:15:00Z,100,1.1,0.5,0\n"
        "fx,EURUSD,2024-03-06T15:15:00Z,-100,1.2,0.5,-2.5\n"
    )
    fills = [{"files": ["deals.csv"], "ignore": ["swap"]}]
    swaps = {"files": ["deals.csv"], "columns": {"amount": "swap"}, "constants": {"kind": "funding"}}
    with pytest.raises(LedgerError, match="line 2 is read both as fills and as cash"):
        read_ledger(source(fills, cash=[swaps]), tmp_path, horizon=HORIZON)
    swaps["columns"]["fees"] = "swap"
    (tmp_path / "deals.csv").write_text((tmp_path / "deals.csv").read_text().replace("fees", "costs"))
    fills[0]["columns"] = {"fees": "costs"}
    intake = read_ledger(source(fills, cash=[{**swaps, "columns": {"amount": "swap"}}]), tmp_path, horizon=HORIZON)
    assert intake.cash["amount"].sum() == -2.5
    assert len(intake.lots) == 1


# --------------------------------------------------------------------------- times

UNITS = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}


@examples(40)
@given(
    st.sampled_from(sorted(UNITS)),
    st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2199, 12, 31)),
    st.sampled_from(["UTC", "America/New_York"]),
)
def test_counted_times_are_read_to_the_microsecond(unit, when, zone):
    whole = (when - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    digits = f"{whole:07d}000"  # nanoseconds
    cut = len(digits) - 9 + UNITS[unit]
    written = digits[:cut] + (f".{digits[cut:]}" if digits[cut:] else "")
    cells = pd.DataFrame({"ts": [written]}, dtype="str")
    columns = {"ts": FILL_COLUMNS["ts"]}
    parsed = parse_cells(cells, columns, Formats(time_format=(unit,), timezone=zone))
    assert parsed.typed["ts"].tolist() == [pd.Timestamp(when)]
    local = parse_cells(cells, columns, Formats(time_format=(f"local_{unit}",), timezone="Etc/GMT-2"))
    assert local.typed["ts"].tolist() == [pd.Timestamp(when) - pd.Timedelta(hours=2)]


def test_formats_are_tried_in_turn(written):
    text = "strategy,symbol,ts,amount,price\na,X,20240304;101500,1,1\na,X,20240305,1,1\na,X,2024-03-06,1,1\n"
    rows = written(text, time_format=["%Y%m%d;%H%M%S", "%Y%m%d"])
    assert rows.typed["ts"].tolist()[:2] == [pd.Timestamp("2024-03-04 10:15"), pd.Timestamp("2024-03-05 05:00")]
    assert rows.faults[0].detail == "ts: '2024-03-06' is not as time_format '%Y%m%d;%H%M%S', '%Y%m%d' says"


# --------------------------------------------------------------------------- XML


XML = """<?xml version="1.0"?>
<report><fills account="U1">
<fill strategy="m" symbol="A&amp;B" ts="2024-03-04" amount="1"
  price="10"><fees>0.5</fees></fill>
<other strategy="m"/>
<fill strategy="m" symbol="A&amp;B" ts="2024-03-05" amount="-1" price="11"/>
</fills><none/></report>
"""


def xml(folder, text, **said):
    (folder / "fills.xml").write_text(text)
    return read_part(file_at(folder, "fills.xml"), Reading.model_validate({"records": "fills.fill", **said}))


def test_elements_of_xml_are_rows_their_attributes_and_what_is_within_them_are_cells(tmp_path):
    part = xml(tmp_path, XML)
    assert part.line.tolist() == [3, 6]
    first = {"strategy": "m", "symbol": "A&B", "ts": "2024-03-04", "amount": "1", "price": "10", "fees": "0.5"}
    assert part.cells.iloc[0].to_dict() == first
    assert part.cells["fees"].isna().tolist() == [False, True]
    assert xml(tmp_path, XML.replace("\n", " ")).line.tolist() == [1, 2]


def test_xml_without_a_record_still_has_the_columns_that_the_source_names(tmp_path):
    part = xml(tmp_path, XML, records="none.fill", columns={"amount": "shares", "fees": ["a", "-b"]}, where={"c": 1})
    assert (len(part.line), [*part.cells]) == (0, ["shares", "a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        (XML, {"records": ""}, "say which elements are rows"),
        (XML, {"records": "trades.fill"}, "there is no 'trades.fill' below its root"),
        (XML, {"skip_lines": 1}, "XML has no lines to skip"),
        (XML.replace("</fills>", ""), {}, "is not XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a><fills/></a>", {}, "declares a document type"),
        (XML.replace("</fees>", "</fees><fees>1</fees>"), {}, "line 4: fees stands twice in one record"),
    ],
)
def test_xml_that_is_refused(tmp_path, text, said, message):
    with pytest.raises(LedgerError, match=message):
        xml(tmp_path, text, **said)
