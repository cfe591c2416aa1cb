"""From a broker's own files and from databases to weights through Dagster: the same as from the ledger's own form."""

import datetime as dt
import sqlite3

import dagster as dg
import numpy as np
import pandas as pd
import yaml

from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.desk import Desk
from weights_pipeline_tests.support.mongo_server import MongoServer

LEDGER = {
    "name": "desk",
    "description": "A small desk.",
    "timezone": "America/New_York",
    "first_month": "2024-01",
    "last_month": "2024-02",
    "capital": {"kind": "average_position_value"},
}
BOOK = {
    "name": "desk_book",
    "description": "Two strategies.",
    "owner": "team:desk",
    "account": "main",
    "ledger": "desk",
    "cadence": {"kind": "monthly", "day": 1, "time": "07:00"},
    "timezone": "America/New_York",
    "max_age": 35,
    "gross": 1.0,
    "strategies": {"carry": 0.6, "fade": 0.4},
    "method": {"kind": "sharpe_tilt", "lookback": "90d"},
    "metrics": {"min_closed_lots": 3, "min_sessions": 20},
    "limits": {"floor": 0.5, "cap": 2.0},
    "adjustment": {"rate": 0.5},
    "overlay": None,
}


def fills():
    """A position opened and closed every other day by each of two strategies."""
    rows = []
    for number, day in enumerate(pd.bdate_range("2024-01-03", "2024-02-27", freq="2B")):
        for strategy, symbol, size, drift in (("carry", "EWZ", 100, 0.2), ("fade", "SPY", -10, 0.5)):
            opened, price = day + pd.Timedelta(hours=10), 50 + number % 5
            rows.append((strategy, symbol, opened, size, price, 1.0, f"{strategy}-{number}o"))
            gain = drift * ((number % 3) - 0.5)
            rows.append(
                (strategy, symbol, opened + pd.Timedelta(hours=5), -size, price + gain, 1.0, f"{strategy}-{number}c")
            )
    return pd.DataFrame(rows, columns=["strategy", "symbol", "ts", "amount", "price", "fees", "fill_id"])


def own(folder, frame):
    frame.to_csv(folder / "fills.csv", index=False)
    return ["fills.csv"]


def flex_of(frame):
    """The fields of a Flex query."""
    return pd.DataFrame(
        {
            "CurrencyPrimary": "USD",
            "AssetClass": "STK",
            "Symbol": frame["symbol"],
            "Multiplier": "1",
            "DateTime": frame["ts"].dt.strftime("%Y%m%d;%H%M%S"),
            "Quantity": frame["amount"],
            "TradePrice": frame["price"],
            "Taxes": -0.25,
            "IBCommission": 0.25 - frame["fees"],
            "Buy/Sell": frame["amount"].map(lambda amount: "BUY" if amount > 0 else "SELL"),
            "TransactionID": frame["fill_id"],
            "OrderReference": frame["strategy"],
            "LevelOfDetail": "EXECUTION",
        }
    )


def broker(folder, frame):
    flex = flex_of(frame)
    lines = [["HEADER", "TRNT", *flex], *(["DATA", "TRNT", *map(str, row)] for row in flex.to_numpy())]
    (folder / "flex.csv").write_text("BOF,U1\n" + "\n".join(map(",".join, lines)))
    section = {"header": ["HEADER", "TRNT"], "rows": ["DATA", "TRNT"]}
    rule = {"column": "OrderReference"}
    return [{"files": ["flex.csv"], "importer": "ibkr_flex_trades", "section": section, "strategy_from": rule}]


def broker_in_xml(folder, frame):
    special = {"CurrencyPrimary": "currency", "AssetClass": "assetCategory", "Buy/Sell": "buySell"}
    special["IBCommission"] = "ibCommission"
    flex = flex_of(frame).rename(columns=lambda name: special.get(name, name[0].lower() + name[1:]))
    trades = [" ".join(f'{name}="{cell}"' for name, cell in row.items()) for row in flex.to_dict("records")]
    body = "".join(f"<Trade {trade} />\n" for trade in trades)
    wrapped = f"<FlexStatements><FlexStatement>\n<Trades>\n{body}</Trades></FlexStatement></FlexStatements>"
    (folder / "flex.xml").write_text(f"<FlexQueryResponse>{wrapped}</FlexQueryResponse>")
    rule = {"column": "orderReference"}
    return [{"files": ["flex.xml"], "importer": "ibkr_flex_trades_xml", "strategy_from": rule}]


def documents(server, frame):
    rows = frame.assign(ts=frame["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S"))
    server.data["desk"]["fills"].insert_many(rows.to_dict("records"))
    return [{"mongodb": {"url_env": "DESK_DOCUMENTS", "collection": "fills"}, "ignore": ["_id"]}]


def database(folder, frame):
    with sqlite3.connect(folder / "desk.db") as connection:
        frame.assign(ts=frame["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S")).to_sql("fills", connection, index=False)
    connection.close()
    return [{"sql": {"url_env": "DESK_OMS", "query": "SELECT * FROM fills ORDER BY ts, fill_id"}}]


def computed(folder, **entries):
    """Content hash of every partition that a run of two months makes, and its weights and returns."""
    for name, content in (("ledgers/desk", LEDGER | entries), ("books/desk_book", BOOK)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(folder, folder / "home", instance)
        desk.fill("2024-01", "2024-02", "desk_book")
        tables = [
            ("desk_ledger", catalog.TRADE_LEDGER),
            ("desk_ledger", catalog.STRATEGY_RETURNS),
            ("desk_book", catalog.METRICS),
            ("desk_book", catalog.FINAL_WEIGHTS),
        ]
        weights = desk.store.read("desk_book", catalog.FINAL_WEIGHTS)
        hashes = {
            (table.name, key): record.content_hash
            for schema, table in tables
            for key, record in desk.store.partitions(schema, table.name).items()
        }
        returns = desk.store.read("desk_ledger", catalog.STRATEGY_RETURNS)
    return hashes, weights.set_index(["as_of", "strategy"])["final"], returns


def test_a_brokers_files_and_databases_give_the_weights_of_the_ledgers_own_form(tmp_path, monkeypatch):
    frame = fills()
    folders = {name: tmp_path / name for name in ("own", "foreign")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("DESK_OMS", f"sqlite:///{folders['foreign']}/desk.db")
    of = dict(iter(frame.groupby("strategy")))
    hashes, weights, _ = computed(folders["own"], fills=own(folders["own"], frame))
    folder, server, half = folders["foreign"], MongoServer(), len(of["carry"]) // 2
    monkeypatch.setenv("DESK_DOCUMENTS", server.url)
    foreign = [*broker(folder, of["carry"][:half]), *broker_in_xml(folder, of["carry"][half:])]
    foreign += [*database(folder, of["fade"][:half]), *documents(server, of["fade"][half:])]
    assert len(hashes) == 8
    assert (weights != weights.index.get_level_values("strategy").map(BOOK["strategies"])).any()
    assert computed(folder, fills=foreign)[0] == hashes
    server.close()


def test_allocations_and_closes_give_returns_and_weights(tmp_path):
    days = pd.DatetimeIndex(calendar_sessions("XNYS", dt.date(2024, 1, 2), dt.date(2024, 2, 29)))
    steps = np.arange(len(days))
    closes = pd.DataFrame({"QLD": 70 + steps % 5, "TLT": 100 - steps % 3, "GLD": 190 + steps % 7}, index=days)
    shares = pd.DataFrame({"QLD": 20 + steps % 41, "TLT": 0, "GLD": 80 - steps % 41}, index=days)
    spread = {"carry": shares, "fade": shares.rename(columns={"QLD": "TLT", "TLT": "QLD"})}
    for name, own_shares in spread.items():
        written = own_shares.map(lambda share: f"{share}.0%" if share else "-")
        written.insert(0, "Day Traded", "Yes")
        written.to_csv(tmp_path / f"{name}.csv", index_label="Date")
    long = closes.rename_axis(index="date", columns="symbol").stack().rename("close").reset_index()
    long.to_csv(tmp_path / "closes.csv", index=False)
    entry = {
        "files": ["*e.csv", "*y.csv"],
        "importer": "composer_allocations",
        "strategy_from": {"file": r"(\w+)\.csv"},
    }
    _, weights, returns = computed(tmp_path, returns=[entry], prices="closes.csv")
    assert (weights != weights.index.get_level_values("strategy").map(BOOK["strategies"])).any()
    found = returns.pivot(index="session", columns="strategy", values="daily_return")
    assert len(found) == len(days)
    for name, own_shares in spread.items():
        change = closes.pct_change()[own_shares.columns]
        expected = (own_shares.shift(1) / 100 * change).sum(axis=1)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-16)
