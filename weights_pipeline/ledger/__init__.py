"""Ledgers: where trades and daily returns come from, and how files become accepted and rejected rows.

Scope: what a ledger source is (``source``) and may say of foreign files (``vocabulary``, ``importers``), which exchange
calendar it keeps (``calendars``), where files and rows come from (``places``, ``sources``), their cells (``files``), in
the ledger's words (``mapping``), their rows (``rows``), and the identity ``accepted + rejected = read`` (``intake``);
what brokers say beside trades (``beside``), how rows were understood (``understood``), whether anything has changed
(``changes``); also a file that belongs to no ledger (``alone``), or of daily returns (``returns_file``). Not here: the
rules that a row has to keep, FIFO matching and sessions (``core``); stores, partitions, Dagster.
"""

from weights_pipeline.ledger.calendars import (
    SessionSpan,
    calendar_sessions,
    exchange_timezone,
    observed_sessions,
    recorded_bounds,
    recorded_until,
    session_closes,
    session_span,
    sessions_past,
)
from weights_pipeline.ledger.currencies import read_rates
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.intake import Intake, read_benchmark, read_capital, read_ledger
from weights_pipeline.ledger.prices import read_prices
from weights_pipeline.ledger.returns_file import ReturnsFile, read_benchmark_file, read_returns_file
from weights_pipeline.ledger.source import Benchmark, CapitalFile, LedgerSource, load_ledger_source, load_sources

__all__ = [
    "Benchmark",
    "CapitalFile",
    "Intake",
    "LedgerError",
    "LedgerSource",
    "ReturnsFile",
    "SessionSpan",
    "calendar_sessions",
    "exchange_timezone",
    "load_ledger_source",
    "load_sources",
    "observed_sessions",
    "read_benchmark",
    "read_benchmark_file",
    "read_capital",
    "read_ledger",
    "read_prices",
    "read_rates",
    "read_returns_file",
    "recorded_bounds",
    "recorded_until",
    "session_closes",
    "session_span",
    "sessions_past",
]
