"""Six fills in the ledger's own form, and the lots that a ledger makes of its files."""

import datetime as dt
import io

import pandas as pd

from weights_pipeline.ledger import LedgerSource, read_ledger
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.tables import hashes_of, intake_rows
from weights_pipeline.tables import catalog

HORIZON = dt.date(2024, 6, 28)
PLAIN = """strategy,symbol,ts,amount,price,fees,fill_id
carry,EWZ,2024-03-04T15:15:00Z,300,34.10,1.5,a1
carry,EWZ,2024-03-06T20:59:00Z,-300,34.60,1.5,a2
fade,SPY,2024-03-05T14:30:05Z,-10,510.25,0.5,b1
fade,SPY,2024-03-07T20:00:00Z,4,505,0.25,b2
fade,SPY,2024-03-08T20:00:00Z,6,512.5,0.25,b3
carry,EWZ,2024-03-11T15:00:00Z,100,33.90,1,a3
"""
FILLS = pd.read_csv(io.StringIO(PLAIN), dtype="str")


def source(fills, **keys):
    content = {
        "name": "desk",
        "description": "A desk.",
        "timezone": "UTC",
        "first_month": "2024-01",
        "last_month": "2024-06",
        "fills": fills,
    }
    return LedgerSource.model_validate({**content, **keys})


def lots(of, root):
    intake = read_ledger(of, root, horizon=HORIZON)
    assert intake.rejected.empty
    return intake.lots, intake.holdings


def hashes(of, root):
    """Content hash of every month of ``trade_ledger``."""
    now = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
    windows = ledger_months(of).begun(now)
    rows = intake_rows(read_ledger(of, root, horizon=HORIZON), of, windows, now)
    return hashes_of(rows[catalog.TRADE_LEDGER], catalog.TRADE_LEDGER, windows)
