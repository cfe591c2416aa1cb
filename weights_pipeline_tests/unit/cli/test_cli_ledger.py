"""The command ``weights ledger``: what files say and what is wrong with them; importers; the schema."""

import json

import pytest
import yaml

from benchmarks.support.data import DATA
from weights_pipeline.ledger.source import LedgerSource, ledger_schema
from weights_pipeline_tests.support.commands import Result, Screen

SOURCE = {
    "name": "desk",
    "description": "A desk.",
    "fills": ["fills.csv"],
    "timezone": "UTC",
    "first_month": "2024-01",
    "last_month": "2024-06",
}
FILLS = "strategy,symbol,ts,amount,price,venue\nm,X,2024-03-04T10:00,100,{},a\nm,X,2024-03-05T10:00,-100,11,b\n"


@pytest.fixture
def data(tmp_path, monkeypatch):
    (tmp_path / "ledgers").mkdir()
    (tmp_path / "ledgers" / "desk.yaml").write_text(yaml.safe_dump(SOURCE))
    (tmp_path / "fills.csv").write_text(FILLS.format("10"))
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path))
    return tmp_path


def test_a_sound_ledger_is_told_in_figures(data):
    result = Result("ledger", "check", "desk")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:2] == [
        "Ledger desk: 2 rows read of 1 files = 2 accepted + 0 rejected (0 repeat others, 0 held back or taken back).",
        "Columns that no rule reads: venue.",
    ]
    assert lines[-5:] == [
        "Booked: 1 closed lots, 0 open, 0 movements of cash, 0 daily returns.",
        "Strategy        From          To  Lots     P&L",
        "────────  ──────────  ──────────  ────  ──────",
        "m         2024-03-04  2024-03-05     1  100.00",
        "Nothing was found that its owner has to decide.",
    ]
    (row,) = json.loads(Result("ledger", "--json").output)
    assert (row["ledger"], row["kinds"], row["incomplete"]) == ("desk", "fills", "stop")


def test_what_is_found_has_its_place_and_the_setting_that_resolves_it(data):
    (data / "fills.csv").write_text(FILLS.format("1O"))
    result = Result("ledger", "check")
    assert result.exit_code == 1
    assert "ERROR position_unknown: m X: fills.csv line 2: position unknown since 2024-03-04" in result.output
    assert "Resolved by: correct the row, or state in openings or positions what is held on a later" in result.output
    (ledger,) = json.loads(Result("ledger", "check", "--json").output)
    (finding,) = ledger["findings"]
    assert (finding["code"], finding["severity"], finding["since"]) == ("position_unknown", "ERROR", "2024-03-04")
    assert (finding["source_file"], finding["line"], finding["figures"]) == ("fills.csv", 2, {"held_back": 1.0})
    assert [row["line"] for row in ledger["rejected"]] == [2, 3]
    assert not (data / ".home").exists()


def test_the_brokers_statement_stands_beside_what_the_ledger_comes_to(data):
    (data / "fills.csv").write_text(FILLS.format("10") + "m,X,2024-03-06T10:00,5,11,a\n")
    (data / "positions.csv").write_text("date,symbol,quantity,realized_pnl\n2024-03-05,X,7,0\n2024-03-07,X,5,90\n")
    (data / "ledgers" / "desk.yaml").write_text(yaml.safe_dump({**SOURCE, "positions": "positions.csv"}))
    lines = Result("ledger", "check", "desk").output.splitlines()
    first = lines.index("The broker's statement of 2024-03-07:")
    assert [line.split() for line in lines[first + 3 : first + 5]] == [
        ["X", "position", "5", "5"],
        ["X", "realized", "P&L", "90", "100"],
    ]
    (ledger,) = json.loads(Result("ledger", "check", "desk", "--json").output)
    assert [(each["what"], each["stated"], each["found"]) for each in ledger["stated"]] == [
        ("quantity", 5, 5),
        ("realized_pnl", 90, 100),
    ]


def test_many_findings_of_a_kind_are_counted(data):
    days = [f"m,X,2024-03-{day:02d},{sign}1,10,a" for day in range(4, 29) for sign in ("", "-")]
    (data / "fills.csv").write_text("\n".join([FILLS.splitlines()[0], *days]))
    result = Result("ledger", "check", "desk")
    assert result.exit_code == 0
    assert result.output.count("WARN ambiguous_order: m X") == 20
    assert "… and 5 more of ambiguous_order." in result.output


def test_a_ledger_that_is_not_there_or_cannot_be_read_is_refused(data):
    result = Result("ledger", "check", "other")
    assert result.exit_code == 2
    assert "unknown ledger 'other'; there are desk" in result.errors
    (data / "fills.csv").write_text("strategy;symbol\n")
    result = Result("ledger", "check", "desk")
    assert result.exit_code == 2
    assert "set delimiter" in result.errors


FLEX = (
    "CurrencyPrimary,AssetClass,Symbol,Multiplier,DateTime,Quantity,TradePrice,Taxes,IBCommission,Buy/Sell,"
    "TransactionID,LevelOfDetail\n"
    "USD,STK,EWZ,1,20240304;101500,300,34.10,-0.1,-1.5,BUY,9001,EXECUTION\n"
    "USD,STK,EWZ,1,20240306;155900,-100,34.60,0,-1.5,SELL,9002,EXECUTION\n"
    "USD,CASH,EUR.USD,1,20240306;155900,-100,1.1,0,-1.5,SELL,9003,EXECUTION\n"
)


def test_a_file_by_itself_is_shown_as_written_and_as_read(data, tmp_path):
    (tmp_path / "flex.csv").write_text(FLEX)
    result = Result("ledger", "check", str(tmp_path / "flex.csv"), "--importer", "ibkr_flex_trades")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    first = lines.index("flex.csv line 2, read as fills:")
    assert lines[first + 1 : first + 7] == [
        "Ours        Theirs               Written          Read as, UTC",
        "──────────  ───────────────────  ───────────────  ───────────────────",
        "strategy    (constant)           flex             flex",
        "symbol      Symbol               EWZ              EWZ",
        "ts          DateTime             20240304;101500  2024-03-04 15:15:00",
        "amount      Quantity             300              300",
    ]
    assert "fees        IBCommission, Taxes  -1.5, -0.1       1.6" in lines
    assert "Left out, as the source says: 1 rows." in lines
    assert [line.split() for line in lines if line.startswith("flex ")] == [
        ["flex", "2024-03-04", "2024-03-06", "1", "47.97", "EWZ", "200"]
    ]
    assert max(map(len, lines[first:])) <= 80
    (printed,) = json.loads(
        Result("ledger", "check", str(tmp_path / "flex.csv"), "--importer", "ibkr_flex_trades", "--json").output
    )
    assert printed["strategies"][0]["held"] == {"EWZ": 200.0}
    assert printed["samples"][0]["rows"][0]["cells"][2] == {
        "column": "ts",
        "theirs": "DateTime",
        "written": "20240304;101500",
        "read": "2024-03-04 15:15:00",
    }


def test_of_many_open_positions_some_are_named(data):
    rows = [f"m,{symbol},2024-03-04T10:00,1,10,a" for symbol in "ABCDE"]
    (data / "fills.csv").write_text("\n".join([FILLS.splitlines()[0], *rows]) + "\n")
    assert "A 1, B 1, C 1, 2 more" in Result("ledger", "check", "desk").output


def test_a_narrow_terminal_fits(data, tmp_path, monkeypatch):
    long = FLEX.replace("9001", "9" * 60)
    (tmp_path / "flex.csv").write_text(long)
    for columns in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        asked = ("ledger", "check", str(tmp_path / "flex.csv"), "--importer", "ibkr_flex_trades")
        table = Result(*asked, to=Screen).output.split("read as fills:\n")[1].split("\n\n")[0].splitlines()
        assert 50 < max(map(len, table)) <= columns
        assert sum(line.count("9") for line in table) >= 120


def test_a_file_that_stands_beside_fills_is_shown_too(data):
    (data / "splits.csv").write_text("symbol,date,kind,ratio\nX,2024-03-04,split,2:1\n")
    result = Result("ledger", "check", str(data / "splits.csv"))
    assert result.exit_code == 0
    assert "splits.csv: 1 rows read as actions." in result.output
    printed = json.loads(Result("ledger", "check", str(data / "splits.csv"), "--json").output)
    assert (printed["rows"], printed["sample"]["rows"][0]["cells"][0]["read"]) == (1, "X")
    (data / "splits.csv").write_text("symbol,date,kind,ratio\nX,04.03.2024,split,2:1\n")
    assert Result("ledger", "check", str(data / "splits.csv")).exit_code == 2


def test_a_file_in_the_ledgers_own_form_needs_no_importer(data):
    result = Result("ledger", "check", str(data / "fills.csv"))
    assert result.exit_code == 0
    assert "fills.csv line 2, read as fills:" in result.output


def test_an_importer_is_suggested_and_not_applied(data, tmp_path):
    (tmp_path / "flex.csv").write_text(FLEX)
    result = Result("ledger", "check", str(tmp_path / "flex.csv"))
    assert result.exit_code == 2
    assert ["ibkr_flex_trades", "fills", "2", "of", "3"] in [line.split() for line in result.output.splitlines()]
    assert f"weights ledger check {tmp_path}/flex.csv --importer ibkr_flex_trades" in result.output
    assert "no importer was named" in result.errors
    suggested = json.loads(Result("ledger", "check", str(tmp_path / "flex.csv"), "--json").output)
    assert suggested[0]["importer"] == "ibkr_flex_trades"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.csv"], "none.csv: there is no such file; correct the path, or name a ledger"),
        (["fills.csv", "--importer", "flex"], "importer: there is no 'flex'; there are alpaca_activities"),
        (["--importer", "mt5_deals"], "--importer: says how a file reads; name the file too"),
        (["fills.csv", "--importer", "mt5_deals"], "fills.csv: columns: there is no column"),
        (["text.csv"], "Read as fills: text.csv: missing column symbol, ts, amount, price"),
    ],
)
def test_a_file_that_cannot_be_checked_is_refused(data, monkeypatch, arguments, says):
    monkeypatch.chdir(data)
    (data / "text.csv").write_text("a,b\n1,2\n")
    result = Result("ledger", "check", *arguments)
    assert result.exit_code == 2
    assert says in result.errors


OWN = {"what": "Our back office, CSV", "as_of": "2026-01", "kind": "fills", "columns": {"price": "Px"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder without books, with an importer of its own."""
    own = tmp_path / "ledgers" / "importers"
    own.mkdir(parents=True)
    (own / "back_office.yaml").write_text(yaml.safe_dump(OWN))
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path))
    return own


def test_importers_says_what_each_reads_and_which_are_the_desks_own(folder):
    rows = {row["importer"]: row for row in json.loads(Result("ledger", "importers", "--json").output)}
    assert rows["back_office"] == {
        "importer": "back_office",
        "kind": "fills",
        "what": "Our back office, CSV",
        "as_of": "2026-01",
        "own": True,
    }
    assert not rows["ibkr_flex_trades"]["own"]
    lines = Result("ledger", "importers").output.splitlines()
    assert next(line for line in lines if "back_office" in line).split()[-1] == "own"
    assert next(line for line in lines if "mt5_deals" in line).split()[-1] == "2026-11"


def test_importers_that_are_not_valid_are_named(folder):
    (folder / "broken.yaml").write_text(yaml.safe_dump({**OWN, "colums": {}}))
    result = Result("ledger", "importers")
    assert result.exit_code == 2
    assert "broken.yaml: colums: Extra inputs are not permitted" in result.errors


def test_schema_in_the_data_folder_is_up_to_date(tmp_path):
    printed = Result("ledger", "schema")
    assert printed.exit_code == 0
    assert (DATA / "ledger.schema.json").read_text(encoding="utf-8") == printed.output, (
        "run `weights ledger schema --output data/ledger.schema.json`"
    )
    assert set(ledger_schema()["properties"]) == {
        field.alias or name for name, field in LedgerSource.model_fields.items()
    }
    for file in (DATA / "ledgers").glob("*.yaml"):
        assert file.read_text().startswith("# yaml-language-server: $schema=../ledger.schema.json\n")
