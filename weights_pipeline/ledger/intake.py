"""Intake: everything that the files of a ledger say, row by row either accepted or rejected.

Here belong reading a whole ledger and the small files of inputs beside it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.capital import CapitalBase, CapitalEntry, CapitalPolicy
from weights_pipeline.core.returns.lots import (
    LOT_COLUMNS,
    Column,
    Fault,
    entry_value,
    fill_faults,
    lot_faults,
    lot_pnl,
    match_fifo,
    open_lots_at,
    parse_cells,
    return_faults,
)
from weights_pipeline.core.returns.sessions import assign_session
from weights_pipeline.ledger.calendars import calendar_sessions, exchange_timezone, recorded_bounds
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import read_part, require_columns
from weights_pipeline.ledger.rows import COLUMNS, gather
from weights_pipeline.ledger.source import CapitalFile, LedgerSource


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Everything that a ledger's files say, row by row either accepted or rejected.

    Times are tz-naive UTC and sessions tz-naive midnights, both ``datetime64[us]``. Accepted rows do not
    depend on the order of rows or on how they are spread over files.

    Attributes
    ----------
    lots : DataFrame
        Closed lots, given or matched from fills: ``lot_id``, ``strategy``, ``symbol``, ``side``,
        ``quantity``, ``opened_at``, ``closed_at``, ``open_price``, ``close_price``, ``pnl``, ``fees`` (0
        where none are given), ``margin_used``, ``parent_lot_id`` (both may be null), ``entry_value``,
        ``open_session``, ``session`` (of the exit), ``source`` (lots or fills). Sorted by session,
        strategy and lot_id.
    holdings : DataFrame
        What fills held open, as `MatchResult.holdings` of ``core.lots``, but ``since`` and ``until`` are the
        sessions of the events; and ``open_session``.
    returns : DataFrame
        Daily returns given in place of a ledger: ``session``, ``strategy``, ``daily_return``. Sorted by
        session and strategy.
    rejected : DataFrame
        ``source_file``, ``line``, ``kind`` (lots, fills or returns), ``reasons`` (the codes of
        ``core.lots``, separated by ;), ``details``, ``content`` (the row as read, JSON). Lines count from
        1, a CSV file's header included; in a Parquet file they are rows. Sorted by source_file and line.
    files : DataFrame
        ``source_file``, ``kind``, ``read``, ``accepted``, ``rejected``, ``duplicates`` (rejected rows
        that repeat an earlier one), ``ignored_columns``. Of a wide file of daily returns each strategy's
        column is a source of its own, ``file#strategy``, whose rows are the cells that hold something.
    lots_before_history : int
        Lots matched from fills whose exit is before the first month; they are not among `lots`.
    """

    lots: pd.DataFrame
    holdings: pd.DataFrame
    returns: pd.DataFrame
    rejected: pd.DataFrame
    files: pd.DataFrame
    lots_before_history: int

    def __post_init__(self) -> None:
        listed = self.files["source_file"].map(self.rejected["source_file"].value_counts()).fillna(0)
        adds_up = self.files["accepted"] + self.files["rejected"] == self.files["read"]
        if not (adds_up & (listed == self.files["rejected"])).all():
            raise ValueError("intake: accepted + rejected differs from the rows read")

    def open_lots(self, sessions: pd.DatetimeIndex) -> pd.DataFrame:
        """Lots from fills still open at the end of each session, such as the last ones of the months.

        Returns
        -------
        DataFrame
            ``lot_id`` (the opening fill's), ``strategy``, ``symbol``, ``side``, ``quantity`` left,
            ``opened_at``, ``open_price``, ``fees`` (opening fees of what is left), ``entry_value``,
            ``open_session``, ``snapshot``. Sorted by snapshot, strategy and lot_id.
        """
        frame = open_lots_at(self.holdings, sessions)
        return frame[_OPEN_LOT_ORDER].sort_values(["snapshot", "strategy", "lot_id"], ignore_index=True)


_LOT_ORDER = [*LOT_COLUMNS, "entry_value", "open_session", "session", "source"]
_OPEN_LOT_ORDER = [
    "lot_id", "strategy", "symbol", "side", "quantity", "opened_at", "open_price", "fees", "entry_value",
    "open_session", "snapshot",
]  # fmt: skip


def read_ledger(source: LedgerSource, root: Path, *, horizon: dt.date) -> Intake:
    """Read all files of a ledger.

    The history runs from the first month to the last one or, while it goes on, to the month of `horizon`,
    and of that to the first session on or after `horizon`. A row booked outside of it is rejected, except
    that fills before it take part in matching: they may open what is closed within it.

    Parameters
    ----------
    source : LedgerSource
        What to read.
    root : Path
        The data folder.
    horizon : date
        The day up to which the ledger is read, in the exchange's zone.

    Raises
    ------
    LedgerError
        A file cannot be a ledger at all, no file has any row, a strategy has both daily returns and
        trades, or `horizon` is before the first month.
    """
    zone = exchange_timezone(source.calendar)
    kinds = lots, fills, returns = [gather(source, root, kind, zone) for kind in COLUMNS]
    if twice := {part.name for part in lots.parts} & {part.name for part in fills.parts}:
        raise LedgerError(f"ledger {source.name}: {sorted(twice)} are named both as lots and as fills")
    if not any(part.read for rows in kinds for part in rows.parts):
        raise LedgerError(f"ledger {source.name}: none of its files has a row; expected at least one")
    sessions, first, last = _history(source, horizon, lots.typed["opened_at"], fills.typed["ts"])
    session_of = partial(assign_session, sessions=sessions, timezone=zone)

    fills.typed["session"] = session_of(fills.typed["ts"])
    fills.faults += fill_faults(fills.typed, first=sessions[0], last=last)
    fills.reject_duplicates(["strategy", "fill_id"], "duplicate_fill_id")
    matched = match_fifo(fills.accepted().fillna({"fees": 0.0}))
    made = matched.lots.assign(
        margin_used=np.nan,
        open_session=session_of(matched.lots["opened_at"]),
        session=session_of(matched.lots["closed_at"]),
        source="fills",
    )
    holdings = matched.holdings.assign(
        since=session_of(matched.holdings["since"]),
        until=session_of(matched.holdings["until"]),
        open_session=session_of(matched.holdings["opened_at"]),
    )

    lots.typed["open_session"] = session_of(lots.typed["opened_at"])
    lots.typed["session"] = session_of(lots.typed["closed_at"])
    lots.faults += lot_faults(lots.typed, first=first, last=last)
    lots.reject_duplicates(["lot_id"], "duplicate_lot_id")
    taken = np.flatnonzero(lots.typed["lot_id"].isin(made["lot_id"])).tolist()
    lots.faults += [Fault(i, "duplicate_lot_id", "lot_id: a lot matched from fills has it") for i in taken]
    given = lots.accepted().fillna({"fees": 0.0}).assign(source="lots")
    figures = (given[name] for name in ("side", "quantity", "open_price", "close_price", "fees"))
    given["pnl"] = given["pnl"].fillna(lot_pnl(*figures))
    given["entry_value"] = entry_value(given["quantity"], given["open_price"])

    returns.faults += return_faults(returns.typed, sessions, first=first)
    returns.reject_duplicates(["session", "strategy"], "duplicate_return")
    daily = returns.accepted()
    in_history = made["session"] >= first
    booked = pd.concat([given[_LOT_ORDER], made.loc[in_history, _LOT_ORDER]]).astype({"source": "str"})
    trading = {*booked["strategy"].unique(), *holdings["strategy"].unique()}
    if both := sorted(trading.intersection(daily["strategy"].unique())):
        raise LedgerError(f"ledger {source.name}: {both} have daily returns and trades; give one of the two")
    rejected = pd.concat([rows.rejected() for rows in kinds])
    return Intake(
        lots=booked.sort_values(["session", "strategy", "lot_id"], ignore_index=True),
        holdings=holdings,
        returns=daily.sort_values(["session", "strategy"], ignore_index=True),
        rejected=rejected.sort_values(["source_file", "line"], ignore_index=True),
        files=pd.concat([rows.account() for rows in kinds]).sort_values("source_file", ignore_index=True),
        lots_before_history=int((~in_history).sum()),
    )


def read_capital(source: LedgerSource, root: Path) -> CapitalPolicy:
    """Policy that says what daily profit is divided by, its table read if it has one.

    Raises
    ------
    LedgerError
        The table cannot be read, or a line is not a strategy, a date and a positive amount, each pair once.
    """
    if not isinstance(source.capital, CapitalFile):
        return source.capital
    path = source.capital.file
    rows = _flawless_rows(root, path, _CAPITAL_COLUMNS)
    try:
        return CapitalBase(
            table=tuple(
                CapitalEntry(strategy=strategy, date=date.date(), capital=capital)
                for strategy, date, capital in rows.itertuples(index=False)
            )
        )
    except ValueError as error:
        raise LedgerError(f"{path}: {error}") from error


def read_benchmark(source: LedgerSource, root: Path) -> pd.Series:
    """Prices of the benchmark by date, ascending; tz-naive midnights in microseconds.

    Raises
    ------
    LedgerError
        The source names no benchmark, its file cannot be read, or a line is not a date and a positive price,
        each date once.
    """
    if source.benchmark is None:
        raise LedgerError(f"ledger {source.name}: benchmark: expected a file and a column, none are given")
    return price_series(root, source.benchmark.file, source.benchmark.column)


def price_series(root: Path, path: str, column: str) -> pd.Series:
    """Prices of a file by its column ``date``; otherwise as :func:`read_benchmark`."""
    rows = _flawless_rows(root, path, {"date": Column(kind="date"), column: Column(kind="number")})
    prices = pd.Series(rows[column].to_numpy(), index=pd.DatetimeIndex(rows["date"]), name=column).sort_index()
    if not (prices > 0).all():
        raise LedgerError(f"{path}: {column}: expected positive prices, got {prices.min():g}")
    if prices.index.has_duplicates:
        twice = prices.index[prices.index.duplicated()][0]
        raise LedgerError(f"{path}: date: expected each date once, got {twice:%Y-%m-%d} twice")
    return prices


def read_prices(source: LedgerSource, root: Path) -> pd.DataFrame | None:
    """Closing prices, dates × symbols, for marking open lots to market; None where the source names no file.

    Raises
    ------
    LedgerError
        The file cannot be read, or a line is not a date, a symbol and a price, each pair once.
    """
    if source.prices is None:
        return None
    rows = _flawless_rows(root, source.prices, _PRICE_COLUMNS)
    if (repeated := rows.duplicated(["date", "symbol"])).any():
        date, symbol = rows.loc[repeated, ["date", "symbol"]].iloc[0]
        raise LedgerError(f"{source.prices}: expected each date and symbol once, got {date:%Y-%m-%d} {symbol} twice")
    return rows.pivot(index="date", columns="symbol", values="close").sort_index()


_PRICE_COLUMNS = {
    "date": Column(kind="date"),
    "symbol": Column(kind="text"),
    "close": Column(kind="number"),
}

_CAPITAL_COLUMNS = {
    "strategy": Column(kind="text"),
    "date": Column(kind="date"),
    "capital": Column(kind="number"),
}


def _flawless_rows(root: Path, path: str, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Rows of a small file of inputs in which nothing may be wrong."""
    part = read_part(root, path)
    require_columns(part, columns)
    typed, faults = parse_cells(part.cells, columns, timezone="UTC", exchange_timezone="UTC")
    flaws = [(line, detail) for line, detail, _ in part.malformed]
    flaws += [(int(part.line[fault.row]), fault.detail) for fault in faults]
    if flaws:
        listed = "; ".join(f"line {line}: {detail}" for line, detail in sorted(flaws)[:5])
        raise LedgerError(f"{path}: {len(flaws)} cells or lines to correct: {listed}")
    if typed.empty:
        raise LedgerError(f"{path}: has no row below its header; expected {', '.join(columns)}")
    return typed


def _history(
    source: LedgerSource, horizon: dt.date, *earlier: pd.Series
) -> tuple[pd.DatetimeIndex, pd.Timestamp, pd.Timestamp]:
    """Sessions back to the earliest event, and the first and last session of the history."""
    begin, (recorded, _) = pd.Timestamp(f"{source.first_month}-01"), recorded_bounds(source.calendar)
    key = f"ledger {source.name}: first_month {source.first_month}"
    if pd.Timestamp(horizon) < begin:
        raise LedgerError(f"{key}: is after {horizon}, up to which the ledger is read")
    if begin.date() < recorded:
        raise LedgerError(f"{key}: calendar {source.calendar} is recorded from {recorded} on")
    end = min(pd.Period(month, "M").end_time.date() for month in (horizon, source.last_month or horizon))
    # A month more, so that there is a session before the earliest event.
    start = min([begin, *(time.min() for time in earlier if time.notna().any())]) - pd.Timedelta(days=31)
    sessions = calendar_sessions(source.calendar, max(start.date(), recorded), end)
    sessions = sessions[: int(sessions.searchsorted(pd.Timestamp(horizon))) + 1]
    return sessions, sessions[int(sessions.searchsorted(begin))], sessions[-1]
