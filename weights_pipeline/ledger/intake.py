"""Intake: everything that the files of a ledger say, row by row either accepted or rejected.

Scope: reading a whole ledger, and the small files of inputs beside it. Not here: streams of fills (``streams``).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from weights_pipeline.core.returns.capital import CapitalBase, CapitalEntry, CapitalPolicy
from weights_pipeline.core.returns.cells import Column, Fault
from weights_pipeline.core.returns.columns import framed, in_order
from weights_pipeline.core.returns.delivered import compounded, delivery_findings, observation_of
from weights_pipeline.core.returns.findings import SEVERITIES, LedgerFinding
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.lots import (
    cash_faults,
    entry_value,
    lot_faults,
    return_faults,
)
from weights_pipeline.core.returns.matching import open_lots_at
from weights_pipeline.core.returns.reconciliation import Break, reconciled
from weights_pipeline.core.returns.scale import profit_multiples
from weights_pipeline.core.returns.sessions import SessionOf, day_start, session_assigner
from weights_pipeline.core.returns.stream import Unknown
from weights_pipeline.core.returns.sums import exact_sum
from weights_pipeline.ledger.aside import Aside, Span
from weights_pipeline.ledger.calendars import exchange_timezone, observed_sessions, recorded_bounds, session_hours
from weights_pipeline.ledger.closed import LOT_ORDER, SORTED_BY, ClosedLots, completed, placed
from weights_pipeline.ledger.currencies import Currencies
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.instruments import read_actions, read_instruments
from weights_pipeline.ledger.kept import Kept
from weights_pipeline.ledger.prices import findings_of_prices
from weights_pipeline.ledger.rows import FILE_TYPES, REJECTED_TYPES, UNHURT, Rows, gather
from weights_pipeline.ledger.source import CapitalFile, LedgerSource
from weights_pipeline.ledger.statements import read_statement, statement_findings
from weights_pipeline.ledger.streams import read_streams
from weights_pipeline.ledger.understood import Sample, samples
from weights_pipeline.ledger.volumes import read_volumes


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Everything that a ledger's files say, row by row either accepted or rejected.

    Times are tz-naive UTC and sessions tz-naive midnights, both ``datetime64[us]``. Accepted rows do not
    depend on how rows are spread over files, nor on their order but where fills of opposite signs share an instant.

    Attributes
    ----------
    closed : ClosedLots
        Closed lots, given or matched from fills, to be read by session: ``lot_id``, ``strategy``, ``symbol``, ``side``,
        ``quantity``, ``opened_at``, ``closed_at``, ``open_price``, ``close_price``, ``pnl``, ``fees`` (0
        where none are given), ``margin_used``, ``parent_lot_id`` (both may be null), ``entry_value``,
        ``open_session``, ``session`` (of the exit), ``source`` (lots or fills), ``currency`` (of all that is not profit
        or fees; null where it is the ledger's own). Sorted by session, strategy and lot_id.
    holdings : DataFrame
        What fills held open, as `MatchResult.holdings` of ``core``, but ``since`` and ``until`` are the
        sessions of the events; and ``open_session``, and ``currency`` (null where it is the ledger's own).
    lost : DataFrame
        What was open when a position became unknown: the columns of `holdings`.
    unknown : list of Unknown
        Stretches in which a position is not known, by strategy, symbol and date; ``since`` and ``until`` are sessions.
    cash : DataFrame
        Cash that is part of a session's profit: ``session``, ``strategy``, ``cash_id``, ``symbol`` (may be null),
        ``kind``, ``ts``, ``amount`` (net of fees). Sorted by session, strategy and cash_id.
    returns : DataFrame
        Returns delivered in place of trades: ``session``, ``strategy``, ``daily_return``; those of days without a
        session are part of the next session's, those of a month stand on its last session. Sorted by session and
        strategy.
    rejected : DataFrame
        ``source_file``, ``line``, ``kind`` (lots, fills, cash, openings or returns), ``reasons`` (the codes of
        ``core.returns.lots``, separated by ;), ``details``, ``content`` (the row as read, JSON). Lines count from
        1, a CSV file's header included; in a Parquet file they are rows. Sorted by source_file and line.
    files : DataFrame
        ``source_file``, ``kind``, ``read``, ``accepted``, ``rejected``, ``duplicates`` (rejected rows
        that repeat an earlier one), ``ignored_columns``, ``unhurt`` (rejected rows that are held back or taken back,
        not wrong), ``left_out`` (rows that the source says are none of its), ``version``
        (ETag of an object in S3, otherwise SHA-256 of the file; null of a query). Of a wide file of daily returns each
        strategy's column is a source of its own, ``file#strategy``, whose rows are the cells that hold something.
    findings : list of LedgerFinding
        What the ledger's owner has to know or to decide; ``since`` and ``until`` are sessions. By severity, code,
        strategy, symbol and date.
    lots_before_history : int
        Lots matched from fills whose exit is before the first month; they are not among `lots`.
    stated : list of Break
        Every figure of the broker's newest statement, and what the ledger's rows come to.
    samples : list of Sample
        First rows of each kind of file, as they are written and as they were read.
    volumes : DataFrame or None
        What trades in each symbol, dates × symbols, in units of quantities; None where the ledger names no volumes.
    """

    closed: ClosedLots
    holdings: pd.DataFrame
    lost: pd.DataFrame
    unknown: Sequence[Unknown]
    cash: pd.DataFrame
    returns: pd.DataFrame
    rejected: pd.DataFrame
    files: pd.DataFrame
    findings: Sequence[LedgerFinding]
    lots_before_history: int
    stated: Sequence[Break]
    samples: Sequence[Sample]
    volumes: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        listed = Counter(self.rejected["source_file"])
        columns = ("source_file", "accepted", "rejected", "read")
        for file, accepted, rejected, read in zip(*(self.files[name] for name in columns), strict=True):
            if accepted + rejected != read or listed[file] != rejected:
                raise ValueError("intake: accepted + rejected differs from the rows read")

    @property
    def lots(self) -> pd.DataFrame:
        """All closed lots at once."""
        return self.closed.all()

    def open_lots(self, sessions: pd.DatetimeIndex) -> pd.DataFrame:
        """Lots from fills still open at the end of each session, such as the last ones of the months.

        Returns
        -------
        DataFrame
            ``lot_id`` (the opening fill's), ``strategy``, ``symbol``, ``side``, ``quantity`` left,
            ``opened_at``, ``open_price``, ``fees`` (opening fees of what is left), ``entry_value``,
            ``open_session``, ``snapshot``, ``currency``. Sorted by snapshot, strategy and lot_id.
        """
        frame = open_lots_at(self.holdings, sessions)
        return frame[_OPEN_LOT_ORDER].sort_values(["snapshot", "strategy", "lot_id"], ignore_index=True)

    def lost_lots(self) -> pd.DataFrame:
        """Lots whose position became unknown, as `open_lots`: the snapshot is the last session they are known of."""
        frame = self.lost.drop(columns="since").rename(columns={"until": "snapshot"})
        return frame[_OPEN_LOT_ORDER].sort_values(["snapshot", "strategy", "lot_id"], ignore_index=True)

    def unknown_sessions(self, sessions: pd.DatetimeIndex) -> pd.DataFrame:
        """Sessions in which a position of a strategy is not known.

        Returns
        -------
        DataFrame
            ``session``, ``strategy``, ``symbols`` (those that are not known, separated by commas). Sorted by the first
            two.
        """
        found = []
        for each in self.unknown:
            first = int(sessions.searchsorted(each.since or sessions[0]))
            end = len(sessions) if each.until is None else int(sessions.searchsorted(each.until))
            found.append(
                pd.DataFrame({"session": sessions[first:end], "strategy": each.strategy, "symbol": each.symbol})
            )
        if not found:
            return pd.DataFrame(columns=["session", "strategy", "symbols"]).astype(_UNKNOWN_SESSION_TYPES)
        rows = pd.concat(found, ignore_index=True).drop_duplicates().sort_values(["session", "strategy", "symbol"])
        named = rows.groupby(["session", "strategy"])["symbol"].agg(", ".join).rename("symbols").reset_index()
        return named.astype(_UNKNOWN_SESSION_TYPES)


_OPEN_LOT_ORDER = [
    "lot_id", "strategy", "symbol", "side", "quantity", "opened_at", "open_price", "fees", "entry_value",
    "open_session", "snapshot", "currency",
]  # fmt: skip
_CASH_ORDER = ["session", "strategy", "cash_id", "symbol", "kind", "ts", "amount"]
_HELD_ORDER = [
    "lot_id", "strategy", "symbol", "side", "quantity", "opened_at", "open_price", "fees", "entry_value", "since",
    "until", "open_session", "currency",
]  # fmt: skip
_TIMES = ("session", "open_session", "opened_at", "closed_at", "ts", "since", "until")
_FIGURES = ("quantity", "open_price", "close_price", "pnl", "fees", "margin_used", "entry_value", "amount")
_NO_LOTS, _NO_CASH, _NOT_HELD = (
    framed(
        [], {name: "datetime64[us]" if name in _TIMES else "float64" if name in _FIGURES else "str" for name in names}
    )
    for names in (LOT_ORDER, _CASH_ORDER, _HELD_ORDER)
)
_UNKNOWN_SESSION_TYPES = {"session": "datetime64[us]", "strategy": "str", "symbols": "str"}


def read_ledger(source: LedgerSource, root: Path, *, horizon: dt.date, kept: Path | None = None) -> Intake:
    """Read all files of a ledger.

    The history runs from the first month to the last one or, while it goes on, to the month of `horizon`,
    and of that to the end of that day, whose evening belongs to the session after it. A row booked outside of it is
    rejected, except that fills before it take part in matching: they may open what is closed within it.

    Parameters
    ----------
    source : LedgerSource
        What to read.
    root : Path
        The data folder.
    horizon : date
        The day up to which the ledger is read, in the exchange's zone.
    kept : Path, optional
        Folder in which cells of its files are kept, so that those which have not changed are not parsed again, and
        lots that nothing is wrong with, so that they are not judged again; what is read is the same. Nothing is kept
        when left out.

    Raises
    ------
    LedgerError
        A file cannot be a ledger at all, no file has any row, a strategy has both daily returns and
        trades, or `horizon` is before the first month.
    """
    read = _judged(source, root, horizon, None if kept is None else Kept(kept), kept)
    # What the lots were made of is gone, and there is room to order them once Arrow gives it back.
    pa.default_memory_pool().release_unused()
    closed = replace(read.closed, here=in_order(read.closed.here, SORTED_BY, spent=True))
    return replace(read, closed=closed)


def _judged(source: LedgerSource, root: Path, horizon: dt.date, kept: Kept | None, folder: Path | None) -> Intake:
    """As :func:`read_ledger`, but for the order of the lots."""
    zone = exchange_timezone(source.calendar)
    instruments = read_instruments(source, root)
    over = day_start(pd.DatetimeIndex([pd.Timestamp(horizon) + pd.Timedelta(days=1)]), zone)[0]

    def span(*earlier: pd.Series) -> Span:
        hours, first, last = _history(source, horizon, *earlier)
        return Span(hours, first, last, over, session_assigner(hours, zone, over))

    aside = None
    # Ids of lots from fills are known once these are matched, and amounts in several currencies are converted together.
    if kept is not None and folder is not None and source.lots and not (source.fills or source.fx):
        aside = Aside(folder / "aside", kept, source, zone, instruments, span)
    kinds = gather(source, root, zone, kept=kept, aside=aside)
    while aside and not aside.settled(kinds["lots"]):
        kinds = gather(source, root, zone, kept=kept, aside=aside)
    if kept is not None:
        kept.tidy()
    pa.default_memory_pool().release_unused()
    lots, fills, cash, openings, returns = kinds.values()
    if not any(part.read for rows in kinds.values() for part in rows.parts) and not lots.aside:
        raise LedgerError(f"ledger {source.name}: none of its files has a row; expected at least one")
    instants = lots.typed["opened_at"], fills.typed["ts"], openings.typed["date"], cash.typed["ts"]
    hours, first, last, _, session_of = span(*instants, *([aside.earliest] if aside else []))
    sessions = pd.DatetimeIndex(hours.index)
    if aside:
        aside.keep()

    if lots.parts:
        placed(lots, session_of, instruments.multiplier)
    for rows in (fills, cash):
        if rows.parts:
            rows.typed["session"] = session_of(rows.typed["ts"])
    if openings.parts:
        openings.typed["session"] = _on_or_after(openings.typed["date"], sessions)
        openings.typed["ts"] = _begins(openings.typed["date"], hours, zone)
    elsewhere = aside.currencies if aside else {}
    try:
        currencies = Currencies(source, root, sessions, (lots, fills, cash, openings), instruments.currency, elsewhere)
    except LedgerError:
        if not elsewhere:
            raise
        # Where each currency stands first, all rows together say.
        return _judged(source, root, horizon, kept, None)
    for rows in (lots, fills, cash):
        currencies.convert_fees(rows)
    if instruments.multiplier:
        for rows in (fills, openings):
            rows.typed["multiplier"] = rows.typed["multiplier"].fillna(rows.typed["symbol"].map(instruments.multiplier))
    lineage, idle_actions = read_actions(source, root, hours, [rows.typed["symbol"] for rows in (fills, openings)])
    statement = read_statement(
        source,
        root,
        hours,
        pd.Timestamp(horizon),
        lineage,
        fills.typed,
        instruments.multiplier,
    )
    streams = read_streams(
        fills, openings, source, lineage, instruments.never_short, statement, first=sessions[0], last=last
    )
    given = _given_lots(lots, streams.matched.lots["lot_id"], first, last, currencies)

    cash.faults += cash_faults(cash.typed, first=first, last=last)
    cash.reject_duplicates(["strategy", "cash_id"], "duplicate_cash_id")
    booked_cash = _booked_cash(cash.accepted(), currencies)

    daily, said_of_returns = _accepted_returns(returns, source, sessions, first, horizon)
    pairs = currencies.of_pairs((fills, openings), lineage.actions)
    made, holdings, lost = (
        rows.assign(
            **{name: session_of(rows[of]) for name, of in sessions_of.items()},
            currency=currencies.of_positions(rows, pairs),
        )
        if len(rows)
        else nothing
        for rows, sessions_of, nothing in (
            (streams.matched.lots, {"open_session": "opened_at", "session": "closed_at"}, _NO_LOTS),
            (streams.matched.holdings, _HOLDING_SESSIONS, _NOT_HELD),
            (streams.matched.lost, _HOLDING_SESSIONS, _NOT_HELD),
        )
    )
    in_history = (made["session"] >= first).to_numpy()
    if len(made):
        made = made[in_history].assign(margin_used=np.nan, source="fills")
    # Where there is nothing to join, there is nothing to copy.
    parts = [rows[LOT_ORDER] for rows in (given, made) if len(rows)] or [given[LOT_ORDER]]
    booked = pd.concat(parts) if len(parts) > 1 else parts[0]
    for held, end in ((booked, "session"), (holdings, "until"), (lost, "until")):
        currencies.held(held, end, pd.Timestamp(horizon))
    if currencies.several:
        left = currencies.rate(booked["currency"], booked["session"])
        booked = booked.assign(pnl=booked["pnl"] * left, fees=booked["fees"] * left)
    known = aside.strategies if aside else {}
    trading = {name for frame in (booked, holdings, booked_cash) if len(daily) for name in frame["strategy"].unique()}
    trading.update(known)
    if both := sorted(trading.intersection(daily["strategy"].unique())):
        raise LedgerError(f"ledger {source.name}: {both} have daily returns and trades; give one of the two")

    unknown = _unknown(streams.unknown, session_of, sessions[0])
    findings = [replace(each, since=_session(each.since, session_of)) for each in streams.findings]
    findings += [
        *currencies.findings(),
        *idle_actions,
        *said_of_returns,
        *findings_of_prices(source, root, holdings, lineage.actions),
    ]
    stated: Sequence[Break] = ()
    if statement is not None:
        # What ends with a session because an action holds from the next was held at its end.
        carried = lineage.carries(streams.matched.lost)
        until = session_of(streams.matched.lost.loc[carried, "until"] + pd.Timedelta(microseconds=1))
        held = pd.concat([holdings, lost[carried].assign(until=until)])
        compared = reconciled(statement.rows, held, booked, streams.unknown, statement.accounts, source.tolerance)
        findings += statement_findings(statement, compared, streams.unpriced)
        stated = compared.newest
    findings += [each for rows in kinds.values() for each in rows.findings()]
    findings += _unknown_findings(unknown)
    for rows, there, others in ((lots, given, known), (cash, booked_cash, {})):
        findings += _missing_findings(rows, there, others, currencies.own)
    findings += _scale_findings(lots, aside)
    read = [rows for rows in kinds.values() if rows.parts]
    rejected = [frame for rows in read if len(frame := rows.rejected())]
    files = sorted((each for rows in read for each in rows.account()), key=lambda account: str(account[0]))
    return Intake(
        closed=ClosedLots(booked, aside.blocks if aside else ()),
        holdings=holdings,
        lost=lost,
        unknown=unknown,
        cash=booked_cash,
        returns=daily,
        rejected=in_order(pd.concat(rejected or [framed([], REJECTED_TYPES)]), ["source_file", "line"]),
        files=framed(files, FILE_TYPES),
        findings=sorted(findings, key=_importance),
        lots_before_history=int((~in_history).sum()),
        stated=stated,
        samples=[each for rows in kinds.values() for each in samples(rows, currencies.own)],
        volumes=read_volumes(source, root),
    )


def _accepted_returns(
    rows: Rows, source: LedgerSource, sessions: pd.DatetimeIndex, first: pd.Timestamp, horizon: dt.date
) -> tuple[pd.DataFrame, list[LedgerFinding]]:
    """Delivered returns by session, and what there is to say of them; rows outside the history get their faults."""
    if not rows.parts:
        return rows.typed, []
    frequency = source.frequency
    observed = observed_sessions(source.calendar, frequency, sessions[sessions <= pd.Timestamp(horizon)])
    accepted = judged_returns(rows, observed, frequency, first)
    findings = delivery_findings(accepted, observed[observed >= first], frequency, pd.Timestamp(horizon))
    return compounded(accepted), findings


def judged_returns(rows: Rows, observed: pd.DatetimeIndex, frequency: Frequency, first: pd.Timestamp) -> pd.DataFrame:
    """Accepted rows of returns: ``date`` as written, ``session`` that it stands on; others get their faults.

    Parameters
    ----------
    rows
        All rows of returns.
    observed
        Sessions that returns stand on, ascending.
    frequency
        How often returns are observed.
    first
        First session of the history.
    """
    typed = rows.typed
    typed["stands_on"] = observation_of(typed["session"], observed, frequency)
    rows.faults += return_faults(typed, first=first, last=observed[-1] if len(observed) else first)
    if frequency.monthly:
        # Two days of a month are the same month.
        typed["session"] = typed["stands_on"].fillna(typed["session"])
    rows.reject_duplicates(["session", "strategy"], "duplicate_return")
    return rows.accepted_with_origin().rename(columns={"session": "date", "stands_on": "session"})


_HOLDING_SESSIONS = {"since": "since", "until": "until", "open_session": "opened_at"}


def _importance(finding: LedgerFinding) -> tuple[object, ...]:
    since = "" if finding.since is None else str(finding.since)
    place = finding.source_file, finding.line
    grave = SEVERITIES.index(finding.severity)
    return grave, finding.code, finding.strategy, finding.symbol, since, *place


def _given_lots(
    lots: Rows, taken: pd.Series, first: pd.Timestamp, last: pd.Timestamp, currencies: Currencies
) -> pd.DataFrame:
    """Closed lots as they are given, completed; those at fault are left out."""
    if not lots.parts:
        return _NO_LOTS
    typed = lots.typed
    lots.faults += lot_faults(typed, lots.days, first=first, last=last)
    lots.reject_duplicates(["lot_id"], "duplicate_lot_id")
    clash = np.flatnonzero(_among(typed["lot_id"], taken)).tolist()
    lots.faults += [Fault(i, "duplicate_lot_id", "lot_id: a lot matched from fills has it") for i in clash]
    given = completed(lots.accepted())
    given["currency"] = currencies.foreign(given["currency"])
    return given


def _among(names: pd.Series, others: pd.Series) -> NDArray[np.bool_]:
    """Whether each name is one of some others, shape (n,); null is none. Series.isin makes an object of each other."""
    if names.empty or others.empty:
        return np.zeros(len(names), dtype=bool)
    codes, distinct = pd.factorize(pd.concat([others, names]))
    taken = np.zeros(len(distinct) + 1, dtype=bool)
    taken[codes[: len(others)]] = True
    taken[-1] = False
    found: NDArray[np.bool_] = taken[codes[len(others) :]]
    return found


def _booked_cash(accepted: pd.DataFrame, currencies: Currencies) -> pd.DataFrame:
    """Cash net of fees, in the ledger's own currency.

    A movement without an id is named by its instant and its place among those of the instant.
    """
    if accepted.empty:
        return _NO_CASH
    rate = currencies.rate(accepted["currency"], accepted["session"])
    rows = accepted.assign(amount=(accepted["amount"] - accepted["fees"].fillna(0.0)) * rate)
    rows = rows.sort_values(["strategy", "ts", "kind", "symbol", "amount"], ignore_index=True)
    number = rows.groupby(["strategy", "ts", rows["cash_id"].isna()]).cumcount() + 1
    named = "#" + rows["ts"].dt.strftime("%Y-%m-%dT%H:%M:%S") + "." + number.astype("str")
    rows["cash_id"] = rows["cash_id"].fillna(named)
    return rows[_CASH_ORDER].sort_values(["session", "strategy", "cash_id"], ignore_index=True)


def _unknown(stretches: Sequence[Unknown], session_of: SessionOf, first: pd.Timestamp) -> list[Unknown]:
    """Stretches by session; one that begins after the last session is not known of yet."""
    found = []
    for each in stretches:
        since = None if each.since is None else _session(each.since, session_of)
        if since is None and each.since is not None and each.since > first:
            continue
        found.append(replace(each, since=since or first, until=_session(each.until, session_of)))
    return sorted(found, key=lambda each: (each.strategy, each.symbol, each.since))


def _session(instant: pd.Timestamp | None, session_of: SessionOf) -> pd.Timestamp | None:
    if instant is None:
        return None
    session = session_of(pd.DatetimeIndex([instant]))
    return None if session.hasnans else session[0]


def _unknown_findings(unknown: Sequence[Unknown]) -> Iterator[LedgerFinding]:
    for each in unknown:
        ended = "" if each.until is None else f", known again from {each.until:%Y-%m-%d} on"
        yield LedgerFinding(
            code="position_unknown",
            strategy=each.strategy,
            symbol=each.symbol,
            since=each.since,
            until=each.until,
            source_file=each.source_file,
            line=each.line,
            message=f"position unknown since {each.since:%Y-%m-%d}{ended}: {each.cause}; {each.held_back} later fills "
            f"are held back",
            figures={"held_back": float(each.held_back)},
            setting="correct the row, or state in openings or positions what is held on a later date",
        )


def _scale_findings(lots: Rows, aside: Aside | None) -> Iterator[LedgerFinding]:
    if not lots.parts or (aside is None and lots.typed["pnl"].array.isna().all()):
        return
    sound = lots.accepted_with_origin()
    rows = aside.suspects(sound) if aside else sound
    for each in profit_multiples(rows):
        yield LedgerFinding(
            code="scale",
            strategy=each.strategy,
            symbol=each.symbol,
            since=rows["session"].iloc[each.row],
            source_file=str(rows["source_file"].iloc[each.row]),
            line=int(rows["line"].iloc[each.row]),
            message=f"pnl is {each.factor:.6g} times what prices give, over {each.lots} lots",
            figures={"factor": each.factor, "lots": float(each.lots)},
            setting=f"a multiplier of {each.factor:.6g}, as a column or under constants",
        )


def _missing_findings(
    rows: Rows, accepted: pd.DataFrame, aside: Mapping[str, tuple[int, Fraction]], own_currency: str
) -> Iterator[LedgerFinding]:
    """What rejected lots or cash are of all that a strategy has.

    Set aside are, by strategy, so many rows more, of so much value together.
    """
    codes: dict[int, set[str]] = {}
    for fault in rows.faults:
        codes.setdefault(fault.row, set()).add(fault.code)
    gone = sorted(row for row, found in codes.items() if not found & {*UNHURT, "outside_history"})
    if not gone:
        return
    lost = rows.typed.loc[gone]
    names = lost["strategy"].fillna("")
    for strategy, own in lost.groupby(names):
        row = int(own.index[0])
        there = accepted[accepted["strategy"] == strategy]
        more, worth = aside.get(strategy, (0, Fraction(0)))
        figures = {"rejected": float(len(own)), "read": float(len(own) + len(there) + more)}
        share = ""
        # Values in several currencies have no sum, and a rejected lot no rate.
        stated = {*own["currency"], *there["currency"].fillna(own_currency)} if rows.kind == "lots" else set[str]()
        if len(stated | {own_currency} if more else stated) == 1:
            lost_value = entry_value(own["quantity"].abs(), own["open_price"], own["multiplier"].fillna(1.0))
            value = exact_sum(lost_value)
            worth += value + exact_sum(there["entry_value"])
            figures |= {"entry_value": float(value), "of": float(worth)}
            share = f", with {float(value):.2f} of {float(worth):.2f} of entry value"
        yield LedgerFinding(
            code=f"{rows.kind}_rejected",
            strategy=strategy,
            since=None if own["session"].isna().all() else own["session"].min(),
            source_file=rows.parts[rows.file[row]].name,
            line=int(rows.line[row]),
            message=f"{len(own)} of {int(figures['read'])} {'lots' if rows.kind == 'lots' else 'rows of cash'} could "
            f"not be read{share}: their profit is missing",
            figures=figures,
            setting="correct the rows that rejected_lots names",
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
    rows, _ = flawless_rows(root, path, _CAPITAL_COLUMNS)
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
    rows, line = flawless_rows(root, path, {"date": Column(kind="date"), column: Column(kind="number")})
    if (wrong := ~(rows[column] > 0).to_numpy()).any():
        at = int(wrong.argmax())
        price = rows[column].iloc[at]
        raise LedgerError(f"{path}: line {line[at]}: {column}: expected a positive price, got {price:g}")
    if (again := rows.duplicated("date").to_numpy()).any():
        at = int(again.argmax())
        raise LedgerError(f"{path}: line {line[at]}: date: {rows['date'].iloc[at]:%Y-%m-%d} stands twice; keep one")
    return pd.Series(rows[column].to_numpy(), index=pd.DatetimeIndex(rows["date"]), name=column).sort_index()


_CAPITAL_COLUMNS = {
    "strategy": Column(kind="text"),
    "date": Column(kind="date"),
    "capital": Column(kind="number"),
}


def _begins(dates: pd.Series, hours: pd.DataFrame, timezone: str) -> pd.DatetimeIndex:
    """When a date begins to trade: at midnight, or the evening before where its session has opened by then."""
    midnight = day_start(pd.DatetimeIndex(dates), timezone)
    opens = pd.DatetimeIndex(hours["open"].reindex(pd.DatetimeIndex(dates)))
    return pd.DatetimeIndex(midnight.where(~(opens < midnight), opens))


def _on_or_after(dates: pd.Series, sessions: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """First session on or after each date; NaT before the first and after the last."""
    days = pd.DatetimeIndex(dates)
    position = sessions.searchsorted(days)
    known = np.asarray(days >= sessions[0]) & (position < len(sessions))
    return pd.DatetimeIndex(sessions.take(np.where(known, position, 0)).where(known))


def _history(
    source: LedgerSource, horizon: dt.date, *earlier: pd.Series
) -> tuple[pd.DataFrame, pd.Timestamp, pd.Timestamp]:
    """Hours of sessions back to the earliest event, and the first and last session of the history."""
    begin, (recorded, until) = pd.Timestamp(f"{source.first_month}-01"), recorded_bounds(source.calendar)
    key = f"ledger {source.name}: first_month {source.first_month}"
    if pd.Timestamp(horizon) < begin:
        raise LedgerError(f"{key}: is after {horizon}, up to which the ledger is read")
    if begin.date() < recorded:
        raise LedgerError(f"{key}: calendar {source.calendar} is recorded from {recorded} on")
    end = min(pd.Period(month, "M").end_time.date() for month in (horizon, source.last_month or horizon))
    # Of a month that goes on, what is recorded does, if only to the horizon.
    end = min(end, max(until, horizon))
    # A month more, so that there is a session before the earliest event.
    known = [first for time in earlier if len(time) and pd.notna(first := time.min())]
    start = min([begin, *known]) - pd.Timedelta(days=31)
    hours = session_hours(source.calendar, max(start.date(), recorded), end)
    # What happens in the evening of the last day belongs to the session after it.
    hours = hours.iloc[: int(hours.index.searchsorted(pd.Timestamp(horizon), side="right")) + 1]
    return hours, hours.index[int(hours.index.searchsorted(begin))], hours.index[-1]
