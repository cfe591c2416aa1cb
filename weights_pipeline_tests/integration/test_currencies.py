"""A book on a ledger in two currencies: rates are part of what its versions were made from."""

import numpy as np
import pandas as pd
import pytest

from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import Desk

BOOK = """
name: steady
description: Monthly tilt towards Sharpe.
owner: team:desk
account: main
ledger: desk
cadence: {kind: monthly, day: 1, time: "07:00"}
timezone: America/New_York
max_age: 35
strategies: {abroad: 0.5, home: 0.5}
method: {kind: softmax_sharpe, temperature: 10.0}
limits: {floor: 0.01, cap: 2.0}
adjustment: {rate: 1.0}
metrics: {min_closed_lots: 1}
overlay: {enabled: false}
"""
LEDGER = """
name: desk
description: Two strategies, one of them in euros.
fills: [desk/fills.csv]
prices: desk/closes.csv
currency: USD
fx: desk/fx.csv
timezone: America/New_York
first_month: 2024-01
last_month: 2024-02
"""


@pytest.fixture
def in_two_currencies(tmp_path, instance, monkeypatch):
    data, home = tmp_path / "data", tmp_path / "home"
    for folder in ("books", "ledgers", "desk"):
        (data / folder).mkdir(parents=True)
    (data / "books" / "steady.yaml").write_text(BOOK)
    (data / "ledgers" / "desk.yaml").write_text(LEDGER)
    days, rng = pd.bdate_range("2023-12-29", "2024-03-08"), np.random.default_rng(5)
    closes = pd.DataFrame(100 * np.exp(rng.normal(0.001, 0.01, (len(days), 2)).cumsum(axis=0)), days, ["SAP", "IBM"])
    closes.index.name = "date"
    closes.melt(ignore_index=False, var_name="symbol", value_name="close").to_csv(data / "desk" / "closes.csv")
    rates = pd.DataFrame({"currency": "EUR", "rate": rng.uniform(1.0, 1.2, len(days)).round(4)}, days)
    rates.rename_axis("date").to_csv(data / "desk" / "fx.csv")
    rows = [
        (strategy, symbol, f"{day:%Y-%m-%d}T10:00", amount, round(closes.loc[day, symbol], 2), currency)
        for strategy, symbol, currency in (("abroad", "SAP", "EUR"), ("home", "IBM", "USD"))
        for number, day in enumerate(closes.loc["2024-01-02":"2024-02-28"].index[::4])
        for amount in [10 if number % 2 == 0 else -7]
    ]
    columns = ["strategy", "symbol", "ts", "amount", "price", "currency"]
    pd.DataFrame(rows, columns=columns).to_csv(data / "desk" / "fills.csv", index=False)
    monkeypatch.setenv("WEIGHTS_DATA", str(data))
    monkeypatch.setenv("WEIGHTS_HOME", str(home))
    return Desk(data, home, instance)


def answered(*arguments):
    result = Result(*arguments)
    assert result.exit_code == 0, result.output + result.errors
    return result.output


def test_a_version_is_reproduced_at_the_rates_as_they_were_and_another_rate_is_restated(in_two_currencies):
    desk = in_two_currencies
    desk.fill("2024-01", "2024-02", book="steady")
    lots = desk.store.read("desk_ledger", catalog.TRADE_LEDGER)
    assert {*lots["currency"].fillna("own")} == {"EUR", "own"}
    checked = answered("check", "--book", "steady")
    assert "no_look_ahead" in checked
    assert "ERROR" not in checked
    assert "computed again: 0 of 2 strategies differ" in answered("reproduce", "2", "--book", "steady")
    assert "Nothing has changed" in answered("restate", "--book", "steady")
    before = desk.store.read("steady", catalog.FINAL_WEIGHTS)

    file = desk.settings.data / "desk" / "fx.csv"
    rates = pd.read_csv(file)
    # A session of the second month in which nothing was traded: no lot changes, what it was worth does.
    rates.loc[rates["date"] == "2024-02-14", "rate"] = 1.6
    rates.to_csv(file, index=False)
    restated = answered("restate", "--book", "steady")
    assert "what has changed is its capital, its prices or its rates" in restated
    desk.fill("2024-02", book="steady")
    after = desk.store.read("steady", catalog.FINAL_WEIGHTS)
    moved = (before["final"] != after["final"]).groupby(before["as_of"].dt.month).any()
    assert moved.to_dict() == {1: False, 2: True}
    for version in ("2", "3"):
        assert "computed again: 0 of 2 strategies differ" in answered("reproduce", version, "--book", "steady")
