"""Prices beside a ledger: open lots are marked to market, and a file of prices is validated."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.data import LEDGER, edit_yaml
from weights_pipeline.ledger import LedgerError, load_ledger_source, read_prices
from weights_pipeline.tables import catalog


def test_prices_mark_open_lots_to_market(own_data, desk):
    source = own_data / "ledgers" / "sample.yaml"
    fills = pd.concat([pd.read_csv(f) for f in sorted((own_data / "sample" / "fills").glob("*.csv"))])
    days = pd.bdate_range("2012-01-01", "2013-06-28").strftime("%Y-%m-%d")
    walk = np.random.default_rng(2).normal(0, 0.01, (len(days), fills["symbol"].nunique())).cumsum(axis=0)
    level = fills.groupby("symbol")["price"].mean()
    prices = pd.DataFrame(level.to_numpy() * np.exp(walk), index=days, columns=level.index)
    long = prices.rename_axis("date").reset_index().melt("date", var_name="symbol", value_name="close")
    long.to_csv(own_data / "sample" / "prices.csv", index=False)
    booked = desk(own_data)
    booked.job(LEDGER, "2012-01-01", "2012-03-01")
    edit_yaml(source, prices="sample/prices.csv")
    marked = desk(own_data)
    marked.job(LEDGER, "2012-01-01", "2012-03-01")
    with_marks, without = (
        d.store.read(LEDGER, catalog.STRATEGY_RETURNS).set_index(["session", "strategy"])["pnl"]
        for d in (marked, booked)
    )
    from_fills = set(fills["strategy"])
    names = with_marks.index.get_level_values("strategy")
    change = (with_marks - without).abs()
    assert change[names.isin(from_fills)].max() > 1
    # Lots given as closed stay booked on exit; only the order of summation differs.
    assert change[~names.isin(from_fills)].max() < 1e-9


def test_prices_are_validated(own_data):
    file = own_data / "ledgers" / "sample.yaml"
    edit_yaml(file, prices="sample/prices.csv")
    (own_data / "sample" / "prices.csv").write_text("date,symbol,close\n2012-01-03,KO,70\n2012-01-03,KO,71\n")
    with pytest.raises(LedgerError, match=r"sample/prices\.csv: line 3: KO on 2012-01-03 stands twice"):
        read_prices(load_ledger_source(file), own_data)
    edit_yaml(file, fills=None)
    with pytest.raises(LedgerError, match="expected one of the two beside prices"):
        load_ledger_source(file)
