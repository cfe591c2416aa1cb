"""A ledger larger than what is computed at a time: daily returns from one shard of strategies after the other."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pandas as pd
import pytest

from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline.ledger import LedgerError
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.tables import month_tables, return_rows, stored_return_rows
from weights_pipeline.store.parts import Parts
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.desk import Desk

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Told(Parts):
    """Parts that tell which strategies were asked for at a time."""

    asked: list[Sequence[str] | None] = field(default_factory=list)

    def of(self, strategies: Collection[str] | None = None, *which: Sequence[str] | None, **named) -> pd.DataFrame:
        self.asked.append(None if strategies is None else list(strategies))
        return super().of(strategies, *which, **named)


@pytest.mark.parametrize("at_once", [1, 400, 10**9])
def test_returns_are_the_same_bits_however_much_is_read_at_once(finished: Desk, at_once: int) -> None:
    source, store, data = finished.workspace.setups[BOOK].source, finished.store, finished.settings.data
    months = [m for m in ledger_months(source).begun(NOW) if m.key in store.partitions(LEDGER, "trade_ledger")]
    stored = {
        table: Told(store, LEDGER, table, [month.key for month in months])
        for table in month_tables(source)
        if table is not catalog.UNKNOWN_POSITIONS
    }
    lots = stored[catalog.TRADE_LEDGER]
    with store.view():
        rows = stored_return_rows(stored, source, data, months, NOW, at_once=at_once)
        whole = return_rows({table: parts.of() for table, parts in stored.items()}, source, data, months, NOW)
    pd.testing.assert_frame_equal(rows, whole, check_exact=True)
    names = sorted({*whole["strategy"]})
    shards = lots.asked[:-1]
    if at_once == 1:
        assert shards == [[name] for name in names]
    elif at_once == 400:
        assert 1 < len(shards) < len(names)
        assert [name for shard in shards for name in shard or ()] == names
    else:
        assert shards == [None]
    assert lots.count() == len(lots.of())


@dataclass(frozen=True)
class Ruined(Parts):
    """Lots of which the last of the first strategy, and the first of the last, lost more than there is."""

    def of(self, *which: Collection[str] | None, **named) -> pd.DataFrame:
        rows = super().of(*which, **named).reset_index(drop=True)
        if "pnl" in rows and self.table is catalog.TRADE_LEDGER:
            names = sorted({*super().of(columns=["strategy"])["strategy"]})
            for name, at in ((names[0], -1), (names[-1], 0)):
                of_it = rows.index[rows["strategy"] == name]
                if len(of_it):
                    rows.loc[rows.loc[of_it, "session"].sort_values(kind="stable").index[at], "pnl"] = -1e12
        return rows


def test_a_ruin_is_the_ledgers_first_whichever_shard_it_is_in(finished: Desk) -> None:
    source, store, data = finished.workspace.setups[BOOK].source, finished.store, finished.settings.data
    months = [m for m in ledger_months(source).begun(NOW) if m.key in store.partitions(LEDGER, "trade_ledger")]
    stored = {
        table: Ruined(store, LEDGER, table, [month.key for month in months])
        for table in month_tables(source)
        if table is not catalog.UNKNOWN_POSITIONS
    }
    said = []
    with store.view():
        for at_once in (1, 10**9):
            with pytest.raises(LedgerError, match="lost 100% or more") as error:
                stored_return_rows(stored, source, data, months, NOW, at_once=at_once)
            said.append(str(error.value))
        last = max(stored[catalog.TRADE_LEDGER].of(columns=["strategy"])["strategy"])
    assert said[0] == said[1]
    assert f"strategy {last}" in said[0]
