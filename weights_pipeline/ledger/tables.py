"""What the files of a ledger say, as the rows of its tables.

Here belong loading and one call into ``ledger`` or ``core`` per table, for whoever writes these tables and whoever
compares the files with what is stored. Here does not belong the reading of files (``ledger``), nor where tables are
kept.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from weights_pipeline.core import shards
from weights_pipeline.core.chain import last_sessions, returns_table
from weights_pipeline.core.returns.capital import CapitalPolicy
from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.core.returns.currencies import UnknownRateError
from weights_pipeline.core.returns.daily import RuinError
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.liquidity import LIQUIDITY, liquidity, traded
from weights_pipeline.core.returns.marking import UnpricedError
from weights_pipeline.core.shards import Over, Shard, few_at_a_time
from weights_pipeline.core.targets.market_regime import market_regimes
from weights_pipeline.ledger import (
    Intake,
    LedgerSource,
    calendar_sessions,
    observed_sessions,
    read_benchmark,
    read_capital,
    read_prices,
    read_rates,
    recorded_bounds,
    session_closes,
)
from weights_pipeline.ledger.closed import ClosedLots
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.kept import read_said, write_said
from weights_pipeline.ledger.periods import ledger_months, only_windows, window_dates
from weights_pipeline.ledger.prices import blamed
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window, arrow_schema, content_hashes, prepare
from weights_pipeline.tables.definition import Table

_MONTHS_AT_ONCE = 24
"""Months of lots at hand that are hashed together: they are copied for it, and one by one take ten times as long."""


def intake_rows(
    intake: Intake, source: LedgerSource, windows: Sequence[Window], now: dt.datetime
) -> dict[Table, pd.DataFrame]:
    """Rows of closed and open lots, cash, given returns and unknown positions in some months, as known at an instant.

    Lots are shown open at the end of each month; of a month that goes on, after its newest closed session; and where
    their position became unknown, in the last session that it is known of.
    """
    rows = {catalog.TRADE_LEDGER: lot_rows(intake, windows), **other_rows(intake, source, windows, now)}
    return {table: rows[table] for table in month_tables(source)}


def lot_rows(intake: Intake, windows: Sequence[Window]) -> pd.DataFrame:
    """Rows of closed lots in some months."""
    dates = window_dates(windows)
    return intake.closed.between(dates.left[0], dates.right[-1])


def lots_at_a_time(intake: Intake, windows: Sequence[Window]) -> Iterator[tuple[Window, ...]]:
    """Months that follow each other, as many at a time as have closed lots that fit into memory, or one."""
    spans = ((window, pd.Timestamp(window.first), pd.Timestamp(window.after)) for window in windows)
    return few_at_a_time(((window, intake.closed.at_most(*span)) for window, *span in spans), shards.AT_ONCE)


def other_rows(
    intake: Intake, source: LedgerSource, windows: Sequence[Window], now: dt.datetime
) -> dict[Table, pd.DataFrame]:
    """Rows of all that a ledger books in some months but closed lots; see :func:`intake_rows`."""
    dates = window_dates(windows)
    sessions = closed_sessions(source, windows, f"{source.first_month}-01", now)
    begun = dates[dates.left <= sessions[-1]] if len(sessions) else dates[:0]
    lost = intake.lost_lots()
    shown = [intake.open_lots(last_sessions(sessions, begun)), lost[lost["snapshot"].isin(sessions)]]
    return {
        catalog.OPEN_LOTS: pd.concat([shown[0], only_windows(shown[1], "snapshot", windows)], ignore_index=True),
        catalog.CASH: only_windows(intake.cash, "session", windows),
        catalog.GIVEN_RETURNS: only_windows(intake.returns, "session", windows),
        catalog.UNKNOWN_POSITIONS: only_windows(intake.unknown_sessions(sessions), "session", windows),
        **_liquidity_rows(intake, source, windows, now),
    }


def _liquidity_rows(
    intake: Intake, source: LedgerSource, windows: Sequence[Window], now: dt.datetime
) -> dict[Table, pd.DataFrame]:
    """Rows of ``strategy_liquidity`` in some months; no table where the ledger names no volumes."""
    if intake.volumes is None:
        return {}
    months = [month for month in ledger_months(source).begun(now) if month.key <= windows[-1].key]
    spans = ((window_dates(few).left[0], window_dates(few).right[-1]) for few in lots_at_a_time(intake, months))
    trades = traded(intake.closed.between(*span) for span in spans)
    rows = pd.DataFrame(columns=[*LIQUIDITY])
    if len(trades):
        first, last = min(trades["open_session"].min(), intake.volumes.index[0]), trades["session"].max()
        # Volumes may reach further back than a calendar does.
        begin = max(first.date(), recorded_bounds(source.calendar)[0])
        rows = liquidity(trades, intake.volumes, calendar_sessions(source.calendar, begin, last.date()))
    return {catalog.STRATEGY_LIQUIDITY: only_windows(rows, "session", windows)}


def month_tables(source: LedgerSource) -> list[Table]:
    """Tables of a ledger that are written month by month: those that its kinds of files can fill."""
    return [
        catalog.TRADE_LEDGER,
        catalog.OPEN_LOTS,
        *[catalog.UNKNOWN_POSITIONS] * bool(source.fills),
        *[catalog.STRATEGY_LIQUIDITY] * bool(source.volumes),
        *[catalog.CASH] * bool(source.cash),
        *[catalog.GIVEN_RETURNS] * bool(source.returns),
    ]


def finding_rows(intake: Intake) -> pd.DataFrame:
    """Rows of ``ledger_findings``."""
    rows = [
        asdict(each) | {"number": number, "severity": each.severity, "figures": json.dumps(dict(each.figures))}
        for number, each in enumerate(intake.findings, start=1)
    ]
    names = catalog.LEDGER_FINDINGS.column_names()
    return pd.DataFrame(rows, columns=names).astype({"since": "datetime64[us]", "until": "datetime64[us]"})


def return_rows(
    rows: Mapping[Table, pd.DataFrame],
    source: LedgerSource,
    root: Path,
    windows: Sequence[Window],
    now: dt.datetime,
    opened: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Rows of daily returns in some months, on the sessions that had closed by an instant.

    Parameters
    ----------
    rows
        Of the tables of :func:`month_tables`, those from the ledger's first month on.
    source, root
        The ledger, and the data folder with the files of capital, prices and rates that it names.
    windows
        The months.
    now
        The instant, zone-aware.
    opened
        Session in which the ledger's first lot was opened; that of the rows when left out.
    """
    lots = rows[catalog.TRADE_LEDGER]
    if opened is None and len(lots):
        opened = lots["open_session"].min()
    with _explained(source, root, lambda _: rows):
        return _returns_of(_Piece(rows, _reading(source, root, windows, now, opened)))


class _Reading(NamedTuple):
    """What daily returns are computed with, besides rows."""

    sessions: pd.DatetimeIndex
    start: pd.Timestamp
    capital: CapitalPolicy
    prices: pd.DataFrame | None
    rates: pd.DataFrame | None
    frequency: Frequency
    fills: bool

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> _Reading:
        """The same for a stretch of sessions, with as many before it as returns depend on."""
        begin = self.sessions.searchsorted(first)
        known = max(int(begin) - 2 * self.capital.sessions, 0)
        return self._replace(
            sessions=self.sessions[known : self.sessions.searchsorted(last, side="right")], start=first
        )


def _reading(
    source: LedgerSource, root: Path, windows: Sequence[Window], now: dt.datetime, opened: pd.Timestamp | None
) -> _Reading:
    begin = pd.Timestamp(f"{source.first_month}-01")
    first = begin if opened is None else min(begin, opened)
    sessions = observed_sessions(source.calendar, source.frequency, closed_sessions(source, windows, first, now))
    return _Reading(
        sessions=sessions,
        start=window_dates(windows).left[0],
        capital=read_capital(source, root),
        prices=read_prices(source, root),
        rates=read_rates(source, root),
        frequency=source.frequency,
        fills=bool(source.fills),
    )


class _Piece(NamedTuple):
    """Rows by table, what returns are computed with, and first sessions of strategies that the rows may not reach."""

    rows: Mapping[Table, pd.DataFrame]
    by: _Reading
    first: Mapping[str, pd.Timestamp] | None = None


def _returns_of(piece: _Piece) -> pd.DataFrame:
    """Daily returns of a piece."""
    rows, by = piece.rows, piece.by
    given, cash = rows.get(catalog.GIVEN_RETURNS, pd.DataFrame()), rows.get(catalog.CASH)
    lots, open_lots = rows[catalog.TRADE_LEDGER], rows[catalog.OPEN_LOTS] if by.fills else None
    return returns_table(
        lots,
        open_lots,
        given,
        by.sessions,
        by.capital,
        by.start,
        by.prices,
        cash,
        by.frequency,
        by.rates,
        piece.first,
    )


def _returns_or_ruin(shard: Shard) -> pd.DataFrame | RuinError:
    """Daily returns of a shard's piece, or its first ruin, which others may come before."""
    try:
        return _returns_of(shard.rows)
    except RuinError as error:
        return error


@contextmanager
def _explained(
    source: LedgerSource, root: Path, rows_of: Callable[[str], Mapping[Table, pd.DataFrame]]
) -> Iterator[None]:
    """Say which file what is wrong with daily returns comes from; ``rows_of`` gives the rows of a strategy."""
    try:
        yield
    except RuinError as error:
        rows = rows_of(error.strategy)
        told = blamed(error, rows[catalog.TRADE_LEDGER], rows[catalog.OPEN_LOTS], source, root)
        raise LedgerError(told) from error
    except UnpricedError as error:
        raise LedgerError(f"{source.prices}: {error}; add the line") from error
    except UnknownRateError as error:
        raise LedgerError(f"{source.fx or f'ledger {source.name}: fx'}: {error}; add the line") from error


class Stored(Protocol):
    """Rows of a table that are stored, from the ledger's first month on, to be read in parts."""

    @property
    def keys(self) -> Sequence[str]:
        """Of the months that there are."""

    def count(self) -> int:
        """How many there are."""

    def of(
        self,
        strategies: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Those of some strategies, or all, and of some months, or all."""

    def each(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Columns of one month after the other."""


_READ = {
    catalog.TRADE_LEDGER: [
        name for name in catalog.TRADE_LEDGER.column_names() if name not in ("lot_id", "opened_at", "closed_at", "fees")
    ]
}
"""Columns that daily returns are made of, where there are many others."""

_BOOKED = {
    catalog.TRADE_LEDGER: ["strategy", "session", "open_session", "entry_value", "pnl", "margin_used", "currency"]
}
"""The same of a ledger whose lots are all given closed."""


def stored_return_rows(
    stored: Mapping[Table, Stored],
    source: LedgerSource,
    root: Path,
    windows: Sequence[Window],
    now: dt.datetime,
    *,
    at_once: int = shards.AT_ONCE,
    over: Over = map,
) -> pd.DataFrame:
    """Rows of daily returns, to the bit as :func:`return_rows` gives them, from a piece of the ledger at a time.

    No strategy's returns depend on another's, so that strategies are taken apart. Where all lots are given closed, no
    return depends on what was closed two windows of capital before it, and so are months: memory is that of a piece,
    and no month before those windows is read.

    Parameters
    ----------
    stored
        Of the tables of :func:`month_tables`.
    source, root, windows, now
        As of :func:`return_rows`.
    at_once
        Rows of a piece; a month of a strategy that has more is one by itself.
    over
        Carries the work to shards of strategies; see :mod:`weights_pipeline.core.shards`.
    """
    spread = spread_of(stored, at_once)
    if spread is None:
        whole = {table: rows.of(columns=_READ.get(table)) for table, rows in stored.items()}
        return return_rows(whole, source, root, windows, now)
    by = _reading(source, root, windows, now, spread.opened)
    booked = not (source.fills or source.cash or source.returns)
    read = _BOOKED if booked else _READ

    def rows_of(*strategies: str, keys: Sequence[str] | None = None) -> dict[Table, pd.DataFrame]:
        return {table: rows.of(strategies, read.get(table), keys) for table, rows in stored.items()}

    def pieces() -> Iterator[Shard]:
        for names in spread.strategies_at_a_time(at_once):
            if not booked:
                yield Shard(names, _Piece(rows_of(*names), by))
                continue
            first = {name: spread.first[name] for name in names}
            for few in few_at_a_time(((window, spread.rows_of(names, window.key)) for window in windows), at_once):
                own = by.between(pd.Timestamp(few[0].first), pd.Timestamp(few[-1].after) - pd.Timedelta(days=1))
                since = f"{own.sessions[0]:%Y-%m}" if len(own.sessions) else few[0].key
                keys = [key for key in spread.months if since <= key <= few[-1].key]
                if len(own.sessions):
                    yield Shard(names, _Piece(rows_of(*names, keys=keys), own, first))

    with _explained(source, root, rows_of):
        made = list(over(_returns_or_ruin, pieces()))
        if ruins := [each for each in made if isinstance(each, RuinError)]:
            # The ledger's first, as where all is computed at once, whichever shard it is in.
            raise min(ruins, key=lambda ruin: (ruin.session, ruin.strategy))
        return in_order(pd.concat(made, ignore_index=True), ["session", "strategy"])


class Spread(NamedTuple):
    """Where the rows of a large ledger are.

    Attributes
    ----------
    rows
        How many, by strategy and month.
    months
        Those there are.
    first
        Session in which the first lot of each strategy left.
    opened
        Session in which the first lot of all was opened; None where there are no lots.
    """

    rows: Mapping[str, Mapping[str, int]]
    months: Sequence[str]
    first: Mapping[str, pd.Timestamp]
    opened: pd.Timestamp | None

    def rows_of(self, strategies: Collection[str], month: str) -> int:
        """How many rows some strategies have in a month."""
        return sum(self.rows[name].get(month, 0) for name in strategies)

    def strategies_at_a_time(self, at_once: int) -> Iterator[tuple[str, ...]]:
        """Strategies by name, as many at a time as have so many rows together."""
        return few_at_a_time(((name, sum(of.values())) for name, of in sorted(self.rows.items())), at_once)


def spread_of(stored: Mapping[Table, Stored], at_once: int) -> Spread | None:
    """Where rows are, read month by month; None where all of them are so few that they can be read at once."""
    if sum(rows.count() for rows in stored.values()) <= at_once:
        return None
    counts, first, opened = dict[str, Counter[str]](), dict[str, pd.Timestamp](), pd.Timestamp.max
    for table, rows in stored.items():
        lots = table is catalog.TRADE_LEDGER
        columns = ["strategy", *["open_session", "session"] * lots]
        for key, month in zip(rows.keys, rows.each(columns), strict=True):
            for name, count in month["strategy"].value_counts().items():
                counts.setdefault(str(name), Counter())[key] += int(count)
            if lots and len(month):
                opened = min(opened, month["open_session"].min())
                for name, session in month.groupby("strategy")["session"].min().items():
                    first.setdefault(str(name), session)
    months = sorted({key for rows in stored.values() for key in rows.keys})
    return Spread(counts, months, first, None if opened == pd.Timestamp.max else opened)


def market_rows(source: LedgerSource, root: Path, windows: Sequence[Window], now: dt.datetime) -> pd.DataFrame:
    """Rows of market regimes in some months, on the sessions that had closed by an instant."""
    prices = read_benchmark(source, root)
    sessions = closed_sessions(source, windows, prices.index[0], now)
    path = market_regimes(prices[prices.index.isin(sessions)])
    return only_windows(path.rename_axis("session").reset_index(), "session", windows)


def closed_sessions(
    source: LedgerSource, windows: Sequence[Window], first: str | pd.Timestamp, now: dt.datetime
) -> pd.DatetimeIndex:
    """Sessions that had closed by an instant, from a first day to the end of the last window."""
    last = pd.Timestamp(windows[-1].end.date()) - pd.Timedelta(days=1)
    closes = session_closes(source.calendar, pd.Timestamp(first).date(), last.date())
    return pd.DatetimeIndex(closes.index[closes <= pd.Timestamp(now).tz_convert("UTC").tz_localize(None)])


def hashes_of(frame: pd.DataFrame, table: Table, windows: Sequence[Window]) -> dict[str, str]:
    """Content hash by month of the rows that a store would hold."""
    stored = prepare(only_windows(frame, str(table.time_column), windows), table, windows)
    found = content_hashes(stored, table, [window.key for window in windows])
    return {key: content for key, (_, content) in found.items()}


def lot_hashes(closed: ClosedLots, windows: Sequence[Window], kept: Path | None = None) -> dict[str, str]:
    """Content hash by month of the closed lots that a store would hold.

    Months whose lots are all set aside are not hashed again for as long as they are set aside in the same places.

    Parameters
    ----------
    closed
        The lots.
    windows
        The months.
    kept
        Folder of the ledger's cells, beside which hashes are kept; nothing is when left out.
    """
    file = None if kept is None else kept / "aside" / "hashes"
    known, hashes = dict[str, str]() if file is None else read_said(file), dict[str, str]()
    of, now = [str(field) for field in arrow_schema(catalog.TRADE_LEDGER)], dict[str, str]()
    spans = [(window, pd.Timestamp(window.first), pd.Timestamp(window.after)) for window in windows]
    for aside, group in groupby(spans, key=lambda span: bool(closed.touched(*span[1:]))):
        if not aside:
            own = [window for window, _, _ in group]
            for at in range(0, len(own), _MONTHS_AT_ONCE):
                hashes |= hashes_of(closed.here, catalog.TRADE_LEDGER, own[at : at + _MONTHS_AT_ONCE])
            continue
        for window, first, after in group:
            sources = closed.sources(first, after)
            named = hashlib.sha256(json.dumps([window.key, str(first), str(after), of, sources]).encode()).hexdigest()
            content = None if sources is None else known.get(named)
            if content is None:
                content = hashes_of(closed.between(first, after), catalog.TRADE_LEDGER, [window])[window.key]
            hashes[window.key] = content
            if sources is not None:
                now[named] = content
    if file is not None and now != known:
        write_said(file, now)
    return hashes
