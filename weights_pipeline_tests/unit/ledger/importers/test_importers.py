"""Each importer reads its invented sample as a vendor would have written it, to the rows that are right."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
import yaml

from weights_pipeline.core.returns.lots import signed_amounts
from weights_pipeline.ledger import LedgerError, load_ledger_source, read_ledger
from weights_pipeline.ledger import importers as importers_package
from weights_pipeline.ledger.beside import BESIDE, rows_beside
from weights_pipeline.ledger.calendars import exchange_timezone
from weights_pipeline.ledger.importers import importers
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.rows import COLUMNS, gather
from weights_pipeline.ledger.tables import intake_rows, return_rows

HERE = Path(__file__).parent
SAMPLES = {file.stem: file for file in (HERE / "samples").iterdir()}
ADDED = {
    "vectorbt_trades": {"timezone": "UTC"},
    "backtrader_transactions": {"timezone": "UTC"},
    "mt5_deals": {"timezone": "Etc/GMT-2"},
    "mt5_swaps": {"timezone": "Etc/GMT-2"},
    "composer_allocations": {"prices": "closes.csv"},
}
"""What a ledger has to say of its own."""
CLOSES = """date,symbol,close
2024-01-02,QLD,70
2024-01-03,QLD,68.6
2024-01-04,QLD,70
2024-01-05,QLD,70.7
2024-01-08,QLD,72
2024-01-02,TLT,100
2024-01-03,TLT,101
2024-01-04,TLT,100
2024-01-05,TLT,99
2024-01-08,TLT,99.99
"""
REJECTED = {
    "binance_spot_trades": {"unexpected_value": 1},
    "binance_futures_trades": {"unexpected_value": 1},
    "coinbase_fills": {"unexpected_value": 1},
}
TIMES = ["ts", "opened_at", "closed_at", "date"]
PRESETS = {name: preset for name, preset, _ in importers(HERE)}


def ledger(folder, entries, **beside):
    content = {
        "name": "desk",
        "description": "A desk's broker.",
        "timezone": "America/New_York",
        "first_month": "2024-01",
        "last_month": "2024-06",
        "capital": {"kind": "average_position_value"},
        **entries,
        **beside,
    }
    (folder / "ledgers").mkdir(exist_ok=True)
    file = folder / "ledgers" / "desk.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_ledger_source(file)


def entry(folder, name, **said):
    sample = SAMPLES[name]
    (folder / sample.name).write_bytes(sample.read_bytes())
    whose = {} if PRESETS[name].strategy_from else {"constants": {"strategy": "desk"}}
    return {"files": [sample.name], "importer": name, **whose, **said}


def accepted(source, folder, kind):
    rows = gather(source, folder, exchange_timezone(source.calendar))[kind]
    if kind == "fills":
        rows.typed["amount"], faults = signed_amounts(rows.typed["amount"], rows.typed["side"], rows.file)
        assert not faults
    return rows, rows.accepted()


def assert_as_expected(found, name):
    expected = pd.read_csv(HERE / "expected" / f"{name}.csv", dtype="str", keep_default_na=False)
    for column in expected:
        if column in TIMES:
            wanted = pd.to_datetime(expected[column], format="ISO8601").astype("datetime64[us]")
        elif found[column].dtype == float:
            wanted = pd.to_numeric(expected[column])
        else:
            wanted = expected[column].replace("", None)
        pd.testing.assert_series_equal(
            found[column].reset_index(drop=True), wanted.astype(found[column].dtype), check_names=False, rtol=1e-12
        )


@pytest.mark.parametrize("name", sorted(name for name in SAMPLES if PRESETS[name].kind in BESIDE))
def test_sample_beside_fills(name, tmp_path):
    kind = PRESETS[name].kind
    whole = {key: value for key, value in entry(tmp_path, name).items() if key != "constants"}
    source = ledger(tmp_path, {"fills": ["none.csv"], kind: whole})
    found = rows_beside(tmp_path, getattr(source, kind), kind, kind)
    assert_as_expected(found, name)
    assert set(found["source_file"]) == {SAMPLES[name].name}


@pytest.mark.parametrize("name", sorted(name for name in SAMPLES if PRESETS[name].kind in COLUMNS))
def test_sample(name, tmp_path):
    kind = PRESETS[name].kind
    source = ledger(tmp_path, {"fills": ["none.csv"]} | {kind: [entry(tmp_path, name)]}, **ADDED.get(name, {}))
    if kind != "fills":
        (tmp_path / "none.csv").write_text("strategy,symbol,ts,amount,price\n")
    (tmp_path / "closes.csv").write_text(CLOSES)
    rows, found = accepted(source, tmp_path, kind)
    assert_as_expected(found, name)
    reasons = pd.Series([fault.code for fault in rows.faults], dtype="str").value_counts().to_dict()
    assert reasons == REJECTED.get(name, {})
    [part] = rows.parts
    assert part.read + part.left_out == sum(1 for _ in raw_rows(SAMPLES[name], PRESETS[name]))


def raw_rows(file, preset):
    """Every row of a sample, whatever it is, counted in another way than the reader counts them."""
    if file.suffix == ".json":
        yield from (
            line for line in file.read_text().splitlines() if line.strip().startswith('{"') or '"id": "6f' in line
        )
        return
    if file.suffix == ".xml":
        element = preset.records.split(".")[-1]
        yield from (line for line in file.read_text().splitlines() if line.startswith(f"<{element} "))
        return
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    header = next(i for i, line in enumerate(lines) if line.startswith(preset.skip_to)) if preset.skip_to else 0
    yield from lines[header + 1 :]


# --------------------------------------------------------------------------- presets and what a ledger adds


def test_a_ledger_adds_to_its_importer_replaces_and_takes_away(tmp_path):
    added = entry(
        tmp_path,
        "ibkr_flex_trades",
        constants={},
        strategy_from={"column": "OrderReference"},
        columns={"fees": "IBCommission", "currency": None, "multiplier": None},
        where={"AssetClass": "STK"},
        ignore=["CurrencyPrimary", "Multiplier", "Taxes"],
    )
    [files] = ledger(tmp_path, {"fills": [added]}).fills
    preset = PRESETS["ibkr_flex_trades"]
    assert files.columns == {
        **{ours: theirs for ours, theirs in preset.columns.items() if ours not in ("currency", "multiplier")},
        "fees": ("IBCommission",),
    }
    assert {column: condition.values for column, condition in files.where.items()} == {
        "LevelOfDetail": ("EXECUTION",),
        "AssetClass": ("STK",),
    }
    assert files.ignore == (*preset.ignore, "CurrencyPrimary", "Multiplier", "Taxes")
    _, found = accepted(ledger(tmp_path, {"fills": [added]}), tmp_path, "fills")
    assert found["strategy"].tolist() == ["trend"] * 3
    assert found["fees"].tolist() == [1.0, 0.5, 1.5]


def test_what_an_importer_says_comes_before_what_the_ledger_says_of_all_its_files(tmp_path):
    source = ledger(tmp_path, {"fills": [entry(tmp_path, "ibkr_flex_trades"), "own.csv"]}, time_format="%d.%m.%Y")
    broker, own = [files.reading(source) for files in source.fills]
    assert broker.time_format == ("%Y%m%d;%H%M%S",)
    assert own.time_format == ("%d.%m.%Y",)


def test_a_desks_own_importer_takes_the_place_of_a_preset(tmp_path):
    own = tmp_path / "ledgers" / "importers"
    own.mkdir(parents=True)
    mine = {"what": "Ours", "as_of": "2026-01", "kind": "fills", "columns": {"price": "Mine"}}
    (own / "mt5_deals.yaml").write_text(yaml.safe_dump(mine))
    [files] = ledger(tmp_path, {"fills": [{"files": ["x.csv"], "importer": "mt5_deals"}]}).fills
    assert files.columns == {"price": ("Mine",)}


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("fills", "ibkr_flex", "importer: there is no 'ibkr_flex'; there are alpaca_activities, .*, or write your own"),
        ("fills", "lean_trades", "fills: importer lean_trades reads lots; name it there"),
    ],
)
def test_an_importer_that_cannot_be_used(tmp_path, kind, name, says):
    with pytest.raises(LedgerError, match=says):
        ledger(tmp_path, {kind: [{"files": ["x.csv"], "importer": name}]})


def test_every_preset_says_where_it_was_read_and_what_it_cannot_read():
    folder = Path(importers_package.__file__).parent
    for name in PRESETS:
        comment = "".join(line for line in (folder / f"{name}.yaml").open() if line.startswith("#"))
        assert comment.startswith("# Written after: ")
        assert "Reads: " in comment or "Reads:" in comment
        assert name in SAMPLES


# --------------------------------------------------------------------------- from a sample to daily returns


@pytest.mark.parametrize(
    ("name", "written", "other"),
    [
        ("ibkr_flex_trades", '"-1","USD"', '"-1","EUR"'),
        (
            "ibkr_flex_trades_xml",
            'ibCommission="-1" ibCommissionCurrency="USD"',
            'ibCommission="-1" ibCommissionCurrency="EUR"',
        ),
        ("lean_orders", '"orderFeeCurrency": "USD"', '"orderFeeCurrency": "EUR"'),
        ("nautilus_fills", "24.00000000 USDT", "24.00000000 EUR"),
    ],
)
def test_a_commission_in_another_currency_is_converted_into_that_of_its_fill(tmp_path, name, written, other):
    own = "USDT" if name == "nautilus_fills" else "USD"
    said = {"fills": [entry(tmp_path, name)], "calendar": "24/7", "currency": own, "fx": "fx.csv"}
    (tmp_path / "fx.csv").write_text("date,currency,rate\n2024-03-04,EUR,2\n2024-03-07,EUR,2\n")
    file = tmp_path / SAMPLES[name].name
    plain = read_ledger(ledger(tmp_path, said), tmp_path, horizon=dt.date(2024, 3, 28)).lots
    text = file.read_text()
    assert written in text
    file.write_text(text.replace(written, other, 1))
    dearer = read_ledger(ledger(tmp_path, said), tmp_path, horizon=dt.date(2024, 3, 28)).lots
    assert len(dearer) == len(plain) > 0
    change = dearer["fees"].sum() - plain["fees"].sum()
    assert change == pytest.approx(24 if name == "nautilus_fills" else 1)
    assert dearer["pnl"].sum() == pytest.approx(plain["pnl"].sum() - change)


def test_an_export_without_the_currency_of_its_commission_is_read_and_one_that_is_misspelt_is_refused(tmp_path):
    whole = entry(tmp_path, "ibkr_flex_trades")
    rows = pd.read_csv(tmp_path / SAMPLES["ibkr_flex_trades"].name, dtype="str")
    said = {"fills": [whole]}
    plain = read_ledger(ledger(tmp_path, said), tmp_path, horizon=dt.date(2024, 6, 28)).lots
    file = tmp_path / SAMPLES["ibkr_flex_trades"].name
    rows.drop(columns="IBCommissionCurrency").to_csv(file, index=False)
    again = read_ledger(ledger(tmp_path, said), tmp_path, horizon=dt.date(2024, 6, 28)).lots
    pd.testing.assert_frame_equal(again, plain, check_exact=True)
    rows.rename(columns={"IBCommissionCurrency": "CommissionCurrency"}).to_csv(file, index=False)
    with pytest.raises(
        LedgerError, match=r"columns: there is no column IBCommissionCurrency; found .*CommissionCurrency"
    ):
        read_ledger(ledger(tmp_path, said), tmp_path, horizon=dt.date(2024, 6, 28))


def test_samples_of_several_brokers_make_one_ledger_with_daily_returns(tmp_path):
    entries = {
        "fills": [
            entry(tmp_path, "ibkr_flex_trades", constants={"strategy": "stocks"}),
            entry(tmp_path, "alpaca_activities", constants={"strategy": "alpaca"}),
            entry(tmp_path, "nautilus_fills", columns={"currency": None, "fees_currency": None}, ignore=["currency"]),
        ],
        "lots": [entry(tmp_path, "vectorbt_trades", constants={"strategy": "tested"})],
        "cash": [entry(tmp_path, "ibkr_flex_cash", constants={"strategy": "stocks"})],
    }
    source = ledger(tmp_path, entries | {"calendar": "24/7"})
    intake = read_ledger(source, tmp_path, horizon=dt.date(2024, 6, 28))
    assert intake.rejected.empty
    assert (intake.files["read"] == intake.files["accepted"]).all()
    by_strategy = intake.lots.groupby("strategy")["pnl"].sum()
    # 200 and 100 bought, 300 sold, two options written that expire: 300·41 − 200·40.10 − 100·40.12 + 2·1.25·100 − fees
    assert by_strategy["stocks"] == pytest.approx(300 * 41 - 200 * 40.10 - 100 * 40.12 + 250 - 4.45)
    assert by_strategy["alpaca"] == pytest.approx(300 * 41 - 200 * 40.10 - 100 * 40.12)
    assert by_strategy["EMACross-000"] == pytest.approx(100 - 24 + 1.2)
    assert by_strategy["tested"] == pytest.approx(255)
    assert intake.cash["amount"].sum() == pytest.approx(60 - 9 - 12.34)
    now = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
    months = ledger_months(source).begun(now)
    returns = return_rows(intake_rows(intake, source, months, now), source, tmp_path, months, now)
    days = returns.set_index(["strategy", "session"])["daily_return"]
    assert days["EMACross-000", pd.Timestamp("2024-03-07")] == pytest.approx((100 - 24 + 1.2) / 60000)
    assert set(returns["strategy"]) == {"stocks", "alpaca", "EMACross-000", "tested"}


def test_a_brokers_own_files_split_and_reconcile_what_its_trades_come_to(tmp_path):
    bought = SAMPLES["ibkr_flex_trades"].read_text().splitlines()[:4]
    (tmp_path / "trades.csv").write_text("\n".join(bought).replace("ACME", "NVX") + "\n")
    stated = SAMPLES["ibkr_flex_open_positions"].read_text().splitlines()[:2]
    stated = [line.replace("ACME", "NVX") for line in stated]
    (tmp_path / "may.csv").write_text("\n".join(stated).replace("20240328", "20240531") + "\n")
    june = "\n".join(stated).replace("20240328", "20240628").replace('"300"', '"2990"')
    (tmp_path / "june.csv").write_text(june + "\n")
    entries = {
        "fills": [{"files": ["trades.csv"], "importer": "ibkr_flex_trades", "constants": {"strategy": "desk"}}],
        "actions": {
            key: value for key, value in entry(tmp_path, "ibkr_flex_corporate_actions").items() if key != "constants"
        },
        "positions": {"files": ["may.csv", "june.csv"], "importer": "ibkr_flex_open_positions"},
    }
    intake = read_ledger(ledger(tmp_path, entries), tmp_path, horizon=dt.date(2024, 6, 28))
    assert intake.holdings.loc[intake.holdings["until"].isna(), "quantity"].sum() == 3000
    found = {each.code: each for each in intake.findings}
    assert (found["not_reconciled"].source_file, found["not_reconciled"].line) == ("june.csv", 2)
    assert found["not_reconciled"].figures == {"stated": 2990.0, "found": 3000.0}
    assert found["reconciled"].source_file == "may.csv"
    assert found["action_of_nobody"].symbol == "TINY"


def test_positions_whose_side_nobody_reads_are_refused(tmp_path):
    (tmp_path / "none.csv").write_text("strategy,symbol,ts,amount,price\n")
    said = {"files": ["p.csv"], "columns": {"quantity": "Size"}}
    (tmp_path / "p.csv").write_text("date,symbol,Size,Side\n2024-03-28,A,5,Short\n")
    source = ledger(tmp_path, {"fills": ["none.csv"], "positions": said})
    with pytest.raises(LedgerError, match=r"p\.csv: column 'Side': no rule reads it"):
        rows_beside(tmp_path, source.positions, "positions", "positions")
    with pytest.raises(LedgerError, match="positions: importer mt5_deals reads fills; name it there"):
        ledger(tmp_path, {"fills": ["none.csv"], "positions": {"files": ["p.csv"], "importer": "mt5_deals"}})
