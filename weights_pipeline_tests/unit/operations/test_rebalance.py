"""What a rebalance by hand asks for first, in periods that the book has."""

import datetime as dt
from types import SimpleNamespace

import pytest

from benchmarks.support.data import DATA
from weights_pipeline.books.load import load_book
from weights_pipeline.ledger import load_ledger_source
from weights_pipeline.ledger.periods import book_periods
from weights_pipeline.operations.rebalance import NotReadyError, require_ready
from weights_pipeline.tables.contract import PartitionRecord

READ_LATER = dt.datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("cadence", "read", "run"),
    [
        ({"kind": "monthly"}, [], "--from 2012-01`"),
        ({"kind": "monthly"}, ["2012-01-01", "2012-02-01"], "--from 2012-01`"),
        ({"kind": "quarterly", "first_month": 2}, [], "--from 2012-02-01`"),
        ({"kind": "sessions", "every": 60, "time": "17:00"}, [], "--from 2012-01`"),
    ],
)
def test_what_is_lacking_is_run_from_a_period_of_the_book(cadence, read, run):
    book = load_book(DATA / "books" / "calmar_core.yaml", root=DATA, changes={"cadence": cadence})
    source = load_ledger_source(DATA / "ledgers" / "sample.yaml")
    records = {key: PartitionRecord(key, 1, "", "", READ_LATER) for key in read}
    stored = {"strategy_returns": records, "realized_weights": {}}
    store = SimpleNamespace(location="here", partitions=lambda schema, table: stored[table])
    periods = book_periods(book, source).ended(dt.datetime(2012, 9, 1, tzinfo=dt.UTC))
    with pytest.raises(NotReadyError, match=run):
        require_ready(SimpleNamespace(book=book, source=source, store=store), periods, trial=True)
