"""Ledgers: where trades and daily returns come from, and how files become accepted and rejected rows.

Here belongs what a ledger source is (a YAML file), which exchange calendar it keeps, and reading: files,
lines and the identity ``accepted + rejected = read``. The rules that a row has to keep, FIFO matching and
sessions are in ``core``. Here do not belong stores, partitions or Dagster.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import pairwise, takewhile
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    field_validator,
    model_validator,
)

from weights_pipeline.books import BookError, Name, read_yaml, validated
from weights_pipeline.core.lots import (
    FILL_COLUMNS,
    LOT_COLUMNS,
    RETURN_COLUMNS,
    Column,
    Fault,
    duplicate_faults,
    entry_value,
    fill_faults,
    lot_faults,
    lot_pnl,
    match_fifo,
    open_lots_at,
    parse_cells,
    return_faults,
)
from weights_pipeline.core.returns import (
    AverageLotValue,
    AveragePositionValue,
    CapitalBase,
    CapitalEntry,
    CapitalPolicy,
)
from weights_pipeline.core.sessions import assign_session

Kind = Literal["lots", "fills", "returns"]
Indices = NDArray[np.intp]


class LedgerError(ValueError):
    """A ledger source, or a file it names, cannot be used; the message says what to correct, and where."""


# --- sources ------------------------------------------------------------------------------------------------


def _relative(path: str) -> str:
    """Refuse what would lead out of the data folder."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path or ":" in path:
        raise ValueError("expected a path inside the data folder, such as trades/*.csv: no leading / and no ..")
    return path


def _month(text: str) -> str:
    if not re.fullmatch(r"(19|20|21)\d\d-(0[1-9]|1[0-2])", text):
        raise ValueError("expected a month such as 2020-01")
    return text


RelativePath = Annotated[str, AfterValidator(_relative)]
Globs = Annotated[tuple[RelativePath, ...], Field(min_length=1)]
Month = Annotated[str, AfterValidator(_month)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CapitalFile(_Model):
    """Capital by a dated table in a file with the columns ``strategy``, ``date`` and ``capital``."""

    kind: Literal["capital_base"]
    file: RelativePath


class Benchmark(_Model):
    """A price series: a file with the column ``date`` and the column of the prices."""

    file: RelativePath
    column: str = Field(min_length=1)


class LedgerSource(_Model):
    """Where one ledger comes from. Paths are relative to the data folder; globs know ``*``, ``?`` and ``**``.

    Attributes
    ----------
    name, description
        What it is called, and what it is.
    lots, fills, returns
        Globs of closed lots, of fills and of daily returns (in place of a ledger); at least one of them.
        Daily returns are long (``session``, ``strategy``, ``daily_return``) or wide (``date`` or
        ``session``, and one column per strategy).
    timezone
        IANA zone of times that state no offset. A date alone is a date of the exchange.
    calendar
        Calendar of `exchange_calendars` that says what a session is.
    first_month, last_month
        Months of the history, ``YYYY-MM``; without a last one it goes on.
    capital
        What daily profit is divided by.
    benchmark
        Price series for market regimes.
    """

    name: Name
    description: str = Field(min_length=1)
    lots: Globs | None = None
    fills: Globs | None = None
    returns: Globs | None = None
    timezone: str
    calendar: str = "XNYS"
    first_month: Month
    last_month: Month | None = None
    capital: Annotated[CapitalFile | AveragePositionValue | AverageLotValue, Field(discriminator="kind")] = (
        AveragePositionValue()
    )
    benchmark: Benchmark | None = None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York") from error
        return value

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, value: str) -> str:
        _require_calendar(value)
        return value

    @model_validator(mode="after")
    def _has_rows_and_months(self) -> LedgerSource:
        if not (self.lots or self.fills or self.returns):
            raise ValueError("expected at least one of lots, fills and returns")
        if self.last_month is not None and self.last_month < self.first_month:
            raise ValueError(f"last_month {self.last_month} is before first_month {self.first_month}")
        return self


def load_ledger_source(file: Path) -> LedgerSource:
    """Load and validate one ledger source.

    Raises
    ------
    LedgerError
        The file is unreadable or not valid, or its name is not ``<name>.yaml``.
    """
    try:
        source: LedgerSource = validated(TypeAdapter(LedgerSource), read_yaml(file), file)
    except BookError as error:
        raise LedgerError(str(error)) from error
    if source.name != file.stem:
        raise LedgerError(f"{file}: name: expected {file.stem!r}, as the file is called, got {source.name!r}")
    return source


def load_ledger_sources(folder: Path) -> dict[str, LedgerSource]:
    """Load every ``*.yaml`` of a folder, by name.

    Raises
    ------
    LedgerError
        Nothing there, or a file is not a valid ledger source.
    """
    sources = [load_ledger_source(file) for file in sorted(folder.glob("*.yaml"))]
    if not sources:
        raise LedgerError(f"{folder}: no ledgers (*.yaml) found. Put one ledger source per file there.")
    return {source.name: source for source in sources}


# --- calendars ----------------------------------------------------------------------------------------------


def calendar_sessions(calendar: str, start: dt.date, end: dt.date) -> pd.DatetimeIndex:
    """Sessions of an exchange from `start` to `end`, both included: tz-naive midnights, microseconds.

    Raises
    ------
    LedgerError
        The calendar is unknown, or not recorded over these dates.
    """
    sessions = _calendar_over(calendar, start, end).sessions
    within = sessions[(sessions >= pd.Timestamp(start)) & (sessions <= pd.Timestamp(end))]
    return pd.DatetimeIndex(within.to_numpy(dtype="datetime64[us]"))


def session_closes(calendar: str, start: dt.date, end: dt.date) -> pd.Series:
    """Return the closing instants, tz-naive UTC, by session; otherwise as `calendar_sessions`."""
    sessions = calendar_sessions(calendar, start, end)
    closes = _calendar_over(calendar, start, end).closes.loc[sessions]
    instants = pd.DatetimeIndex(closes).tz_convert("UTC").tz_localize(None).as_unit("us")
    return pd.Series(instants, index=sessions, name="close")


def exchange_timezone(calendar: str) -> str:
    """IANA zone of an exchange, which says on which date something happened there."""
    return str(_any_year(calendar).tz)


def _calendar_over(name: str, start: dt.date, end: dt.date) -> Any:
    low, high = _bounds(name)
    if start < low or end > high:
        raise LedgerError(f"calendar: {name} is recorded from {low} to {high}; {start} to {end} was asked for")
    return _calendar(name, start.year, end.year)


@lru_cache(maxsize=16)
def _calendar(name: str, first_year: int, last_year: int) -> Any:
    low, high = _bounds(name)
    start, end = max(dt.date(first_year, 1, 1), low), min(dt.date(last_year, 12, 31), high)
    return exchange_calendars.get_calendar(name, start=str(start), end=str(end))


def _bounds(name: str) -> tuple[dt.date, dt.date]:
    """First and last day that a calendar is recorded for, within the years that a ledger may speak of."""
    kind = type(_any_year(name))
    low, high = kind.bound_min(), kind.bound_max()
    return low.date() if low else dt.date(1900, 1, 1), high.date() if high else dt.date(2199, 12, 31)


@lru_cache(maxsize=64)
def _any_year(name: str) -> Any:
    """Open a calendar over one year that all of them cover; the default range would depend on the clock."""
    _require_calendar(name)
    return exchange_calendars.get_calendar(name, start="2024-01-01", end="2024-12-31")


def _require_calendar(name: str) -> None:
    if name not in exchange_calendars.get_calendar_names():
        raise LedgerError(f"calendar: {name!r} is not known to exchange_calendars; expected a name such as XNYS")


# --- intake -------------------------------------------------------------------------------------------------


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
    kinds = lots, fills, returns = [_gather(source, root, kind, zone) for kind in _COLUMNS]
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
    path, column = source.benchmark.file, source.benchmark.column
    rows = _flawless_rows(root, path, {"date": Column(kind="date"), column: Column(kind="number")})
    prices = pd.Series(rows[column].to_numpy(), index=pd.DatetimeIndex(rows["date"]), name=column).sort_index()
    if not (prices > 0).all():
        raise LedgerError(f"{path}: {column}: expected positive prices, got {prices.min():g}")
    if prices.index.has_duplicates:
        twice = prices.index[prices.index.duplicated()][0]
        raise LedgerError(f"{path}: date: expected each date once, got {twice:%Y-%m-%d} twice")
    return prices


_CAPITAL_COLUMNS = {
    "strategy": Column(kind="text"),
    "date": Column(kind="date"),
    "capital": Column(kind="number"),
}


def _flawless_rows(root: Path, path: str, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Rows of a small file of inputs in which nothing may be wrong."""
    part = _read_part(root, path)
    _require_columns(part, columns)
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
    begin, (recorded, _) = pd.Timestamp(f"{source.first_month}-01"), _bounds(source.calendar)
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


# --- rows of files ------------------------------------------------------------------------------------------

_COLUMNS: Mapping[Kind, Mapping[str, Column]] = {
    "lots": LOT_COLUMNS,
    "fills": FILL_COLUMNS,
    "returns": RETURN_COLUMNS,
}


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Rows of one file as read.

    `cells` is text with a positional index and `line` says where each row was read. `malformed` is what
    is no row: line, reason and fields. `unreadable` are columns whose type is no cell, with that type.
    """

    name: str
    cells: pd.DataFrame
    line: Indices
    malformed: Sequence[tuple[int, str, list[str]]] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> int:
        return len(self.line) + len(self.malformed)


class _Rows:
    """All rows of one kind, over all its files, and the faults found in them."""

    def __init__(self, kind: Kind, parts: Sequence[_Part], timezone: str, exchange_timezone: str) -> None:
        columns = _COLUMNS[kind]
        self.kind, self.parts = kind, parts
        nothing = pd.DataFrame(columns=[*columns], dtype="str")
        self.cells = pd.concat([nothing, *(part.cells for part in parts)], ignore_index=True)
        self.origin = np.repeat(np.arange(len(parts)), [len(part.line) for part in parts])
        self.line = np.concatenate([np.empty(0, np.intp), *(part.line for part in parts)])
        self.typed, self.faults = parse_cells(
            self.cells, columns, timezone=timezone, exchange_timezone=exchange_timezone
        )

    def reject_duplicates(self, identity: Sequence[str], code: str) -> None:
        """Compare rows by their typed cells, and by the text of cells that could not be read.

        Of a row without a name, whatever else its file says may tell it apart from another.
        """
        unread = [""] * len(self.typed)
        for fault in self.faults:
            unread[fault.row] += fault.detail
        nameless = self.typed[list(identity)].isna().any(axis=1)
        beside = self.cells.drop(columns=[*_COLUMNS[self.kind]]).where(nameless).add_prefix("beside ")
        content = pd.concat([self.typed.assign(unread=unread), beside], axis=1)
        self.faults += duplicate_faults(content, identity, code=code, place=self._place)

    def accepted(self) -> pd.DataFrame:
        """Typed rows without a fault."""
        return self.typed[self._flawless()].reset_index(drop=True)

    def rejected(self) -> pd.DataFrame:
        """Rows with faults and lines that are no row, as `Intake.rejected`."""
        reasons: dict[int, dict[str, None]] = {}
        details: dict[int, list[str]] = {}
        for row, code, detail in self.faults:
            reasons.setdefault(row, {})[code] = None
            details.setdefault(row, []).append(detail)
        faulty = sorted(reasons)
        records: list[tuple[Any, ...]] = [
            (
                self.parts[self.origin[row]].name,
                self.line[row],
                ";".join(reasons[row]),
                "; ".join(details[row]),
                {name: cell for name, cell in cells.items() if isinstance(cell, str)},
            )
            for row, cells in zip(faulty, self.cells.iloc[faulty].to_dict("records"), strict=True)
        ]
        for part in self.parts:
            records += [(part.name, line, "malformed_row", why, said) for line, why, said in part.malformed]
        frame = pd.DataFrame(records, columns=["source_file", "line", "reasons", "details", "content"])
        frame["content"] = [json.dumps(content, ensure_ascii=False) for content in frame["content"]]
        return frame.assign(kind=self.kind)[[*_REJECTED_TYPES]].astype(_REJECTED_TYPES)

    def account(self) -> pd.DataFrame:
        """Say what was read of each file and what became of it, as `Intake.files`."""
        flawless = self._flawless()
        repeats = np.zeros(len(flawless), dtype=bool)
        repeats[[fault.row for fault in self.faults if fault.code == "exact_duplicate"]] = True
        rows = [
            (
                part.name,
                self.kind,
                part.read,
                int(flawless[mine].sum()),
                int((~flawless[mine]).sum()) + len(part.malformed),
                int(repeats[mine].sum()),
                ";".join(sorted({*part.cells, *part.unreadable} - {*_COLUMNS[self.kind]})),
            )
            for part, mine in zip(self.parts, self._slices(), strict=True)
        ]
        return pd.DataFrame(rows, columns=[*_FILE_TYPES]).astype(_FILE_TYPES)

    def _slices(self) -> list[slice]:
        ends = np.cumsum([0, *(len(part.line) for part in self.parts)]).tolist()
        return [slice(start, end) for start, end in pairwise(ends)]

    def _flawless(self) -> NDArray[np.bool_]:
        flawless = np.ones(len(self.typed), dtype=bool)
        flawless[[fault.row for fault in self.faults]] = False
        return flawless

    def _place(self, row: int) -> str:
        return f"{self.parts[self.origin[row]].name} line {self.line[row]}"


_REJECTED_TYPES = {
    "source_file": "str",
    "line": "int64",
    "kind": "str",
    "reasons": "str",
    "details": "str",
    "content": "str",
}
_FILE_TYPES = {
    "source_file": "str",
    "kind": "str",
    "read": "int64",
    "accepted": "int64",
    "rejected": "int64",
    "duplicates": "int64",
    "ignored_columns": "str",
}


def _gather(source: LedgerSource, root: Path, kind: Kind, exchange_timezone: str) -> _Rows:
    """Read all files of one kind, in the order of their paths."""
    patterns: Sequence[str] = getattr(source, kind) or ()
    parts = [_read_part(root, path) for path in _list_files(root, patterns, f"ledger {source.name}: {kind}")]
    if kind == "returns":
        parts = [part for file in parts for part in _long(file)]
    for part in parts:
        _require_columns(part, _COLUMNS[kind])
    return _Rows(kind, parts, source.timezone, exchange_timezone)


def _long(part: _Part) -> list[_Part]:
    """Daily returns as long rows: each strategy's column of a wide file becomes a part of its own."""
    names = [*part.cells, *part.unreadable]
    if {"strategy", "daily_return"} & {name.casefold() for name in names}:
        return [part]
    date = next((name for name in ("date", "session") if name in part.cells), None)
    if date is None or len(names) < 2 or part.unreadable:
        raise LedgerError(
            f"{part.name}: expected the columns {', '.join(RETURN_COLUMNS)}, or a date and one column of "
            f"numbers per strategy; found {', '.join(names)}"
        )
    rowless = replace(part, cells=pd.DataFrame(columns=[*RETURN_COLUMNS], dtype="str"), line=part.line[:0])
    parts = [rowless] if part.malformed else []
    for strategy in part.cells.columns.drop(date):
        values = part.cells[strategy]
        given = (values.notna() & (values.str.strip() != "")).to_numpy()
        cells = pd.DataFrame({"session": part.cells[date], "strategy": strategy, "daily_return": values})
        column = _Part(
            name=f"{part.name}#{strategy}",
            cells=cells[given].reset_index(drop=True),
            line=part.line[given],
        )
        parts.append(column)
    return parts


def _require_columns(part: _Part, columns: Mapping[str, Column]) -> None:
    """Stop at a file that lacks a column, saying what it has instead."""
    found = [*part.cells, *part.unreadable]
    missing = [name for name, column in columns.items() if column.required and name not in part.cells]
    if not missing:
        return
    hints = [
        f"{name} holds {part.unreadable[name]}, which is no text, number or time"
        for name in missing
        if name in part.unreadable
    ]
    alike = {name.strip().casefold(): name for name in found}
    hints += [f"rename {alike[name]!r} to {name!r}" for name in missing if name in alike and name not in found]
    if len(found) == 1 and (other := next((c for c in ";\t|" if c in found[0]), None)):
        hints.append(f"the fields seem to be separated by {other!r}: save the file with commas")
    raise LedgerError(
        f"{part.name}: missing column {', '.join(missing)}; found {', '.join(found) or 'none'}"
        + "".join(f"; {hint}" for hint in hints)
    )


# --- files --------------------------------------------------------------------------------------------------


def _filesystem(root: Path) -> pyarrow.fs.FileSystem:
    """Open the data folder; the one place that knows where it is kept."""
    return pyarrow.fs.SubTreeFileSystem(str(root.resolve()), pyarrow.fs.LocalFileSystem())


def _list_files(root: Path, patterns: Iterable[str], key: str) -> list[str]:
    """Files that any of the globs matches, sorted; a glob that matches none is an error."""
    files: set[str] = set()
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        fixed = list(takewhile(lambda part: not set(part) & set("*?"), parts[:-1]))
        below = pyarrow.fs.FileSelector("/".join(fixed), allow_not_found=True, recursive=True)
        wanted = re.compile(_glob_expression("/".join(parts)))
        found = {
            info.path for info in _filesystem(root).get_file_info(below) if info.is_file and wanted.fullmatch(info.path)
        }
        if not found:
            raise LedgerError(f"{key}: no file in {root} matches {pattern!r}; correct the path or add the file")
        files |= found
    return sorted(files)


def _glob_expression(pattern: str) -> str:
    wild = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return "".join(wild.get(token) or re.escape(token) for token in tokens)


def _read_part(root: Path, path: str) -> _Part:
    """Read one file.

    Raises
    ------
    LedgerError
        The path leads out of the data folder, or the file is missing, empty, or neither CSV nor Parquet.
    """
    if not (root / path).resolve().is_relative_to(root.resolve()):
        raise LedgerError(f"{path}: leads out of the data folder {root}; keep the file itself inside it")
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(PurePosixPath(path).suffix.lower())
    if reader is None:
        raise LedgerError(f"{path}: expected a file named .csv or .parquet")
    try:
        with _filesystem(root).open_input_stream(path) as stream:
            data = stream.read()
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read from {root}: {error}") from error
    if re.fullmatch(rb"(?:\xef\xbb\xbf)?\s*", data):
        raise LedgerError(f"{path}: is empty; expected at least a header, or leave the file out")
    return reader(path, data)


def _read_parquet(path: str, data: bytes) -> _Part:
    """Read Parquet, every column as the text that a CSV file would have."""
    try:
        table = pyarrow.parquet.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: is not a Parquet file ({error}); export it again") from error
    _require_unique(path, table.column_names)
    texts, unreadable = {}, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            texts[name] = _as_text(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            unreadable[name] = str(column.type)
    cells = pa.table(texts).to_pandas() if texts else pd.DataFrame(index=range(table.num_rows))
    return _Part(name=path, cells=cells, line=np.arange(1, table.num_rows + 1), unreadable=unreadable)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))  # so that the text ends in Z
    return column.cast(pa.string())


def _read_csv(path: str, data: bytes) -> _Part:
    """Read CSV, every cell as text and every row with the physical line it starts on."""
    text = _decoded(path, data)
    if '"' in text:
        return _read_quoted(path, io.StringIO(text, newline="").readlines())
    return _read_unquoted(path, data, re.split(r"[\r\n]", text, maxsplit=1)[0])


def _read_unquoted(path: str, data: bytes, header: str) -> _Part:
    """Read CSV without quotes, in which a line is a row: several times as fast as the general case."""
    names = _header(path, header.split(","))
    cut: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        cut.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data + b"\n" * (not data.endswith((b"\n", b"\r")))),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False,  # so that rows come in order and invalid ones know their number
            block_size=min(len(data) + 2, 2**31 - 1),  # one block, so that no line can straddle two
            skip_rows=1,
            column_names=names,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            quote_char=False, double_quote=False, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    cells = table.to_pandas()
    line = np.delete(np.arange(2, 2 + len(cells) + len(cut)), [row.number - 2 for row in cut])
    if len(perhaps := np.flatnonzero(cells[names[0]] == "")):
        physical = re.split(rb"\r\n|\r|\n", data)
        blank = [row for row in perhaps.tolist() if not physical[line[row] - 1]]
        cells, line = cells.drop(index=blank).reset_index(drop=True), np.delete(line, blank)
    malformed = [(row.number, _miscounted(names, row.actual_columns), row.text.split(",")) for row in cut]
    return _Part(name=path, cells=cells, line=line, malformed=malformed)


def _read_quoted(path: str, lines: list[str]) -> _Part:
    """Read CSV whose cells may be quoted and then hold line breaks."""
    records = _csv_records(lines)
    _, fields, problem = next(records)
    if problem:
        raise LedgerError(f"{path}: line 1: the header is not CSV: {problem}")
    names = _header(path, fields)
    rows: list[list[str]] = []
    line: list[int] = []
    malformed: list[tuple[int, str, list[str]]] = []
    for number, fields, problem in records:
        if problem or len(fields) not in (0, len(names)):
            malformed.append((number, problem or _miscounted(names, len(fields)), fields))
        elif fields:
            rows.append(fields)
            line.append(number)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    cells = pa.table([pa.array(column, pa.string()) for column in columns], names=names).to_pandas()
    return _Part(name=path, cells=cells, line=np.array(line, dtype=np.intp), malformed=malformed)


def _header(path: str, fields: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    if not any(names):
        raise LedgerError(f"{path}: line 1 is blank; expected the header there")
    _require_unique(path, names)
    return names


def _miscounted(names: list[str], found: int) -> str:
    return f"expected {len(names)} fields, found {found}"


def _csv_records(lines: list[str]) -> Iterator[tuple[int, list[str], str]]:
    """Yield the records: the line each starts on, its fields, and what is wrong with its quotes.

    After broken quotes reading goes on with the very next line, so that a quote which is never closed
    costs its own line and not those after it.
    """
    at = 0

    def feed() -> Iterator[str]:
        nonlocal at
        while at < len(lines):
            at += 1
            yield lines[at - 1]

    reader = csv.reader(feed(), strict=True)
    while (start := at) < len(lines):
        try:
            yield start + 1, next(reader), ""
        except csv.Error as error:
            at = start + 1
            reader = csv.reader(feed(), strict=True)
            yield at, [lines[start].rstrip("\r\n")], f"quotes: {error}"


def _decoded(path: str, data: bytes) -> str:
    """Text of a file, or where it stops being UTF-8 text."""
    if data.startswith(b"PAR1"):
        raise LedgerError(f"{path}: is a Parquet file; name it .parquet")
    remedy = "save the file as CSV in UTF-8"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"byte {data[error.start]:#04x} at offset {error.start}, line {line}"
        raise LedgerError(f"{path}: is not UTF-8 ({where}); {remedy}") from error
    if "\0" in text:
        raise LedgerError(f"{path}: is not text (byte 0x00 at offset {data.index(0)}); {remedy}")
    return text


def _require_unique(path: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LedgerError(f"{path}: column {', '.join(map(repr, twice))} appears more than once; keep one")
