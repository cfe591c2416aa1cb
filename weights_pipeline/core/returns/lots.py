"""Closed lots: FIFO matching of fills, profit of a lot, and the rules that a ledger row has to keep.

Here belongs what a lot *is*. Here do not belong files, returns or capital: rows arrive as frames, one row per
ledger row, and every rule answers with `Fault` entries instead of dropping anything.

Reason codes, all stable:

========================= ==================================================================================
``missing_<column>``      a required cell is empty
``not_a_number``          not a plain decimal such as ``-1234.5`` or ``1e-3`` (no thousands separators)
``non_finite``            NaN, infinite, or so large (above 1e150) that a product of two would be
``unparseable_time``      not an ISO 8601 time or date between 1900 and 2199
``unparseable_date``      not an ISO 8601 date between 1900 and 2199
``ambiguous_time``        a local time that occurred twice when the clocks were put back
``nonexistent_time``      a local time skipped when the clocks were put forward
``bad_side``              ``side`` is neither ``long`` nor ``short``
``quantity_not_positive`` ``quantity`` ≤ 0
``zero_amount``           a fill of nothing
``closed_before_opened``  ``closed_at`` before ``opened_at``
``outside_history``       booked to a session outside the ledger's months, or before the calendar begins
``not_a_session``         a daily return dated on a day without a session
``return_too_low``        a daily return ≤ −1
``duplicate_lot_id``      a ``lot_id`` that occurs with differing content
``duplicate_fill_id``     a ``fill_id`` that occurs with differing content within a strategy
``duplicate_return``      differing returns of one strategy in one session
``exact_duplicate``       repeats an earlier row
``malformed_row``         a line that has not as many fields as the file has columns, or broken quotes
========================= ==================================================================================

Where an identity occurs with differing content, *every* row that carries it is at fault: nothing in the
ledger says which of them is the true one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.sessions import day_start, to_utc

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

RESIDUE = 1e-9
"""A remainder of at most this fraction of its own fill is rounding, not a position."""

MAX_MAGNITUDE = 1e150
"""Largest number a ledger may hold: the product of any two stays finite."""


# --- profit -------------------------------------------------------------------------------------------------


def lot_pnl(
    side: pd.Series, quantity: pd.Series, open_price: pd.Series, close_price: pd.Series, fees: pd.Series
) -> pd.Series:
    """Realised net profit of each lot: ±quantity·(close − open) − fees, + for long and − for short.

    All arguments and the result have shape (n,); money is in the currency of the prices, fees are a cost. A
    NaN among a lot's figures gives NaN.
    """
    direction = pd.Series(np.where(side == "long", 1.0, -1.0), index=side.index)
    return direction * quantity * (close_price - open_price) - fees


def entry_value(quantity: pd.Series, open_price: pd.Series) -> pd.Series:
    """Capital that a lot tied up when it was opened, quantity·open price without its sign; shape (n,)."""
    return (quantity * open_price).abs()


# --- FIFO matching ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MatchResult:
    """What FIFO matching made of the fills.

    Attributes
    ----------
    lots : DataFrame
        One row per exit against one opening fill: ``lot_id``, ``strategy``, ``symbol``, ``side``,
        ``quantity``, ``opened_at``, ``open_price``, ``fees``, ``entry_value``, ``closed_at``,
        ``close_price``, ``pnl`` and ``parent_lot_id``, the opening fill's id. In order of strategy, symbol
        and exit.
    holdings : DataFrame
        What was open: one row per opening fill and span [``since``, ``until``) of constant quantity.
        ``lot_id`` (the opening fill's id), ``strategy``, ``symbol``, ``side``, ``quantity`` left,
        ``opened_at``, ``open_price``, ``fees`` (the opening fee's share of what is left), ``entry_value``,
        ``since``, ``until`` (NaT: not closed by the last fill).
    """

    lots: pd.DataFrame
    holdings: pd.DataFrame

    @property
    def open_lots(self) -> pd.DataFrame:
        """Holdings that the last fill left open: the open remainder."""
        return self.holdings[self.holdings["until"].isna()].reset_index(drop=True)


def match_fifo(fills: pd.DataFrame) -> MatchResult:
    """Match fills first in, first out, per strategy and symbol, long and short.

    A fill against the open position closes its oldest part first; what it has left after the last of it opens
    the other way (a flip). Fees are shared by quantity, those of a closing fill as those of an opening one. A
    remainder of at most `RESIDUE` of its own fill is rounding and counts as zero.

    Fills are taken in order of ``ts``, ``fill_id`` (shorter first, then alphabetical, so that 9 precedes 10),
    ``amount``, ``price`` and ``fees``; the order of the rows says nothing. No figure of a lot depends on a
    fill after its exit, so cutting the fills at a time gives exactly the lots closed by it.

    Parameters
    ----------
    fills : DataFrame
        ``strategy``, ``symbol``, ``ts`` (tz-naive UTC), ``amount`` (signed, + buys), ``price``, ``fees`` and
        ``fill_id`` (null where there is none, otherwise unique per strategy and symbol).

    Returns
    -------
    MatchResult
        A ``lot_id`` reads ``strategy|symbol|opening>closing``, each fill named by its ``fill_id`` or, without
        one, by ``#`` and its ordinal within strategy and symbol, which later fills do not change.

    Raises
    ------
    ValueError
        If an amount, price or fee is not finite, an amount is 0, or a fill_id is not unique.
    """
    fills = _in_fifo_order(fills)
    amount, price, fees = (fills[name].to_numpy(dtype=float) for name in ("amount", "price", "fees"))
    if not (np.isfinite(amount) & np.isfinite(price) & np.isfinite(fees) & (amount != 0)).all():
        raise ValueError("fills: expected finite amounts, prices and fees, and no amount of 0")
    group: Indices = np.asarray(fills.groupby(["strategy", "symbol"], sort=False).ngroup(), dtype=np.intp)
    key = _fill_keys(fills, group)
    opening_id = _opening_ids(fills, group, key)
    if len(set(opening_id)) < len(opening_id):
        raise ValueError("fills: expected each fill_id once per strategy and symbol")
    opener, closer, closed, left = _fifo_events(group.tolist(), amount.tolist())
    size, ts = np.abs(amount), fills["ts"].to_numpy(dtype="datetime64[us]")

    def part(lot_id: Sequence[str], of: Indices, quantity: Floats) -> pd.DataFrame:
        """Make what a lot and a holding have in common: some quantity of the opening fills `of`."""
        frame = pd.DataFrame(
            {
                "lot_id": pd.array(lot_id, dtype="str"),
                "strategy": fills["strategy"].array.take(of),
                "symbol": fills["symbol"].array.take(of),
                "side": pd.array(np.where(amount[of] > 0, "long", "short"), dtype="str"),
                "quantity": quantity,
                "opened_at": ts[of],
                "open_price": price[of],
                "fees": fees[of] * (quantity / size[of]),
            }
        )
        return frame.assign(entry_value=entry_value(frame["quantity"], frame["open_price"]))

    exits = np.flatnonzero(closed)
    of, by, quantity = opener[exits], closer[exits], closed[exits]
    lots = part([f"{opening_id[o]}>{key[c]}" for o, c in zip(of, by, strict=True)], of, quantity)
    lots["fees"] += fees[by] * (quantity / size[by])
    lots["closed_at"], lots["close_price"] = ts[by], price[by]
    lots["pnl"] = lot_pnl(lots["side"], lots["quantity"], lots["open_price"], lots["close_price"], lots["fees"])
    lots["parent_lot_id"] = pd.array([opening_id[o] for o in of], dtype="str")

    # A holding lasts from one event of its opening fill to that fill's next; events are in order of time.
    by_opener = np.argsort(opener, kind="stable")
    of, at, quantity = opener[by_opener], ts[closer[by_opener]], left[by_opener]
    until = np.full(len(at), np.datetime64("NaT", "us"))
    until[:-1] = np.where(of[1:] == of[:-1], at[1:], until[:-1])
    held = (quantity > 0) & (until != at)
    holdings = part([opening_id[o] for o in of[held]], of[held], quantity[held])
    return MatchResult(lots=lots, holdings=holdings.assign(since=at[held], until=until[held]))


def open_lots_at(holdings: pd.DataFrame, snapshots: pd.DatetimeIndex) -> pd.DataFrame:
    """Lots open at the end of each snapshot, in one pass over the holdings.

    Parameters
    ----------
    holdings : DataFrame
        As in `MatchResult.holdings`; ``since`` and ``until`` may be instants or the sessions of them.
    snapshots : DatetimeIndex
        Ascending, on the same axis as ``since``. What happens at a snapshot has happened by its end.

    Returns
    -------
    DataFrame
        ``snapshot``, then the columns of `holdings` without ``since`` and ``until``; of a lot closed in part
        the quantity, entry value and opening fees are those left. In order of snapshot, then of `holdings`.

    Raises
    ------
    ValueError
        If the snapshots do not ascend.
    """
    if not (snapshots.is_monotonic_increasing and snapshots.is_unique):
        raise ValueError("snapshots: expected ascending times, each once")
    axis = snapshots.as_unit("us")
    until = pd.DatetimeIndex(holdings["until"])
    first = axis.searchsorted(pd.DatetimeIndex(holdings["since"]))
    end = np.where(until.isna(), len(axis), axis.searchsorted(until))
    count = np.maximum(end - first, 0)
    row = np.repeat(np.arange(len(holdings)), count)
    at = first[row] + np.arange(len(row)) - (np.cumsum(count) - count)[row]
    order = np.argsort(at, kind="stable")
    open_lots = holdings.drop(columns=["since", "until"]).iloc[row[order]].reset_index(drop=True)
    open_lots.insert(0, "snapshot", axis.take(at[order]))
    return open_lots


def _fifo_events(group: list[int], amount: list[float]) -> tuple[Indices, Indices, Floats, Floats]:
    """Run the queues over fills sorted by group. An event is an opening or an exit.

    Returns
    -------
    opener, closer : ndarray of int, shape (events,)
        Positions of the opening fill and of the fill that made the event; an opening made itself.
    closed, left : ndarray of float, shape (events,)
        Quantity closed (0 for an opening) and the opening fill's quantity left after the event.
    """
    events: list[tuple[int, int, float, float]] = []
    queue: deque[tuple[int, float]] = deque()
    current, long = -1, True
    for i, (g, signed) in enumerate(zip(group, amount, strict=True)):
        if g != current:
            current = g
            queue.clear()
        rest = abs(signed)
        while queue and rest and (signed > 0) != long:
            opener, held = queue[0]
            quantity = min(held, rest)
            held -= quantity
            rest -= quantity
            if rest <= RESIDUE * abs(signed):
                rest = 0.0
            if held <= RESIDUE * abs(amount[opener]):
                held = 0.0
                queue.popleft()
            else:
                queue[0] = (opener, held)
            events.append((opener, i, quantity, held))
        if rest:
            long = signed > 0
            queue.append((i, rest))
            events.append((i, i, 0.0, rest))
    table = np.array(events, dtype=[("opener", np.intp), ("closer", np.intp), ("closed", "f8"), ("left", "f8")])
    return table["opener"], table["closer"], table["closed"], table["left"]


def _in_fifo_order(fills: pd.DataFrame) -> pd.DataFrame:
    ids = fills["fill_id"].astype("str").fillna("")
    order = ["strategy", "symbol", "ts", "id_length", "fill_id", "amount", "price", "fees"]
    return fills.assign(fill_id=ids, id_length=ids.str.len()).sort_values(order, ignore_index=True)


def _fill_keys(fills: pd.DataFrame, group: Indices) -> list[str]:
    """Name of each sorted fill within its group."""
    ordinal = np.arange(len(group)) - np.searchsorted(group, group) + 1  # groups are contiguous and ascend
    pairs = zip(fills["fill_id"].tolist(), ordinal.tolist(), strict=True)
    return [_escape(name) if name else f"#{n}" for name, n in pairs]


def _opening_ids(fills: pd.DataFrame, group: Indices, key: list[str]) -> list[str]:
    pairs = fills[["strategy", "symbol"]].drop_duplicates().itertuples(index=False, name=None)
    prefix = [f"{_escape(strategy)}|{_escape(symbol)}|" for strategy, symbol in pairs]
    return [prefix[g] + name for g, name in zip(group.tolist(), key, strict=True)]


_ESCAPES = str.maketrans({"%": "%25", "|": "%7C", ">": "%3E", "#": "%23"})


def _escape(name: str) -> str:
    """Keep ids unambiguous, whatever a symbol or a fill_id contains."""
    return name.translate(_ESCAPES)


# --- cells --------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """One reason against one row: its position, the stable code, and the same in words."""

    row: int
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column of a ledger holds: how its cells are read, and whether it has to be there and filled."""

    kind: Literal["text", "number", "time", "date"]
    required: bool = True


LOT_COLUMNS: Mapping[str, Column] = {
    "lot_id": Column(kind="text"),
    "strategy": Column(kind="text"),
    "symbol": Column(kind="text"),
    "side": Column(kind="text"),
    "quantity": Column(kind="number"),
    "opened_at": Column(kind="time"),
    "closed_at": Column(kind="time"),
    "open_price": Column(kind="number"),
    "close_price": Column(kind="number"),
    "fees": Column(kind="number", required=False),
    "pnl": Column(kind="number", required=False),
    "margin_used": Column(kind="number", required=False),
    "parent_lot_id": Column(kind="text", required=False),
}
FILL_COLUMNS: Mapping[str, Column] = {
    "strategy": Column(kind="text"),
    "symbol": Column(kind="text"),
    "ts": Column(kind="time"),
    "amount": Column(kind="number"),
    "price": Column(kind="number"),
    "fees": Column(kind="number", required=False),
    "fill_id": Column(kind="text", required=False),
}
RETURN_COLUMNS: Mapping[str, Column] = {
    "session": Column(kind="date"),
    "strategy": Column(kind="text"),
    "daily_return": Column(kind="number"),
}

_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NON_FINITE = r"(?i)[+-]?(?:nan|inf|infinity)"
_DAY = r"(?:19|20|21)[0-9]{2}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})"
_CLOCK = r"[T ][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_OFFSET = r" ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_MIDNIGHT = r"[T ]00:?00(?::?00(?:\.0{1,9})?)?(?:Z|\+00:?00)?"

_Finding = tuple[Mask, str, str]


def parse_cells(
    cells: pd.DataFrame, columns: Mapping[str, Column], *, timezone: str, exchange_timezone: str
) -> tuple[pd.DataFrame, list[Fault]]:
    """Read text cells into typed columns; a cell that cannot be read is null and has a `Fault`.

    Parameters
    ----------
    cells : DataFrame of str, shape (n, …)
        Raw cells with a positional index; null or blank is empty. Columns not in `columns` are not looked at,
        absent ones count as empty.
    columns : mapping of str to Column
        What to read.
    timezone : str
        IANA zone of times that do not state theirs.
    exchange_timezone : str
        IANA zone in which a date alone is read as that day's midnight, so that a date names its own session
        wherever the ledger was written.

    Returns
    -------
    typed : DataFrame, shape (n, len(columns))
        ``str``, ``float64`` (finite or NaN, never −0.0) and ``datetime64[us]`` columns. Times are tz-naive
        UTC, cut to the microsecond; dates are midnights.
    faults : list of Fault
        In the order of the columns.
    """
    typed: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, column in columns.items():
        text = _text(cells, name)
        given = text.notna().to_numpy()
        if column.required:
            faults += _against(~given, f"missing_{name}", f"{name}: is empty")
        findings: list[_Finding] = []
        if column.kind == "text":
            typed[name] = text
        elif column.kind == "number":
            typed[name], findings = _numbers(text, given)
        elif column.kind == "time":
            typed[name], findings = _times(text, given, timezone, exchange_timezone)
        else:
            typed[name], findings = _dates(text, given)
        for mask, code, says in findings:
            faults += _against(mask, code, f"{name}: {{!r}} {says}", text)
    return pd.DataFrame(typed, index=cells.index), faults


def _text(cells: pd.DataFrame, name: str) -> pd.Series:
    if name not in cells:
        return pd.Series(np.nan, index=cells.index, dtype="str")
    text = cells[name].str.strip()
    return text.mask(text == "")


def _numbers(text: pd.Series, given: Mask) -> tuple[Floats, list[_Finding]]:
    decimal = _matches(text, _DECIMAL)
    other = given & ~decimal
    non_finite = np.zeros(len(text), dtype=bool)
    non_finite[other] = _matches(text[other], _NON_FINITE)
    # Arrow's cast rounds correctly, as float() does, in a twentieth of the time; + 0.0 makes −0.0 a 0.0.
    cast = text.where(decimal).astype("double[pyarrow]")
    values = np.asarray(cast.to_numpy(dtype=float, na_value=np.nan) + 0.0, dtype=float)
    too_large = np.abs(values) > MAX_MAGNITUDE
    values[too_large] = np.nan
    return values, [
        (other & ~non_finite, "not_a_number", "is not a plain decimal number"),
        (non_finite, "non_finite", "is not finite"),
        (too_large, "non_finite", f"is too large, above {MAX_MAGNITUDE:g}"),
    ]


def _times(
    text: pd.Series, given: Mask, timezone: str, exchange_timezone: str
) -> tuple[pd.DatetimeIndex, list[_Finding]]:
    date_only, wall_clock = _matches(text, _DAY), _matches(text, _DAY + _CLOCK)
    with_offset = _matches(text, _DAY + _CLOCK + _OFFSET)
    stated = _parsed(text.where(date_only | wall_clock | with_offset))
    local = to_utc(pd.DatetimeIndex(stated.where(wall_clock)), timezone)
    midnight = day_start(pd.DatetimeIndex(stated.where(date_only)), exchange_timezone)
    unparseable = given & np.asarray(stated.isna())
    utc = stated.where(with_offset, local.utc.where(wall_clock, midnight))
    return pd.DatetimeIndex(utc), [
        (unparseable, "unparseable_time", "is not an ISO 8601 time such as 2024-03-15T14:30:00-04:00"),
        (local.ambiguous, "ambiguous_time", f"occurs twice in {timezone}: state its offset from UTC"),
        (local.nonexistent, "nonexistent_time", f"does not exist in {timezone}: state its offset from UTC"),
    ]


def _dates(text: pd.Series, given: Mask) -> tuple[pd.DatetimeIndex, list[_Finding]]:
    dates = _parsed(text.where(_matches(text, f"{_DAY}(?:{_MIDNIGHT})?")))
    unparseable = given & np.asarray(dates.isna())
    return dates, [(unparseable, "unparseable_date", "is not an ISO 8601 date such as 2024-03-15")]


def _matches(text: pd.Series, pattern: str) -> Mask:
    return text.str.fullmatch(pattern, na=False).to_numpy(dtype=bool)


def _parsed(text: pd.Series) -> pd.DatetimeIndex:
    """Read a stated offset as such, a time without one as if it were UTC; NaT where there is no such time."""
    parsed = pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))
    return parsed.tz_localize(None).as_unit("us")


# --- row rules ----------------------------------------------------------------------------------------------
# A null was reported when its cell was read, so no rule below judges one.


def lot_faults(lots: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a closed lot has to keep.

    Parameters
    ----------
    lots : DataFrame
        The columns of `LOT_COLUMNS`, and ``open_session`` and ``session``, the sessions of ``opened_at`` and
        ``closed_at`` (NaT where the calendar has none).
    first, last : Timestamp
        First and last session of the ledger's history.
    """
    side, quantity, opened, closed = (lots[name] for name in ("side", "quantity", "opened_at", "closed_at"))
    too_early = lots["open_session"].isna() & (opened < first)
    backwards = "closed_at: {} is before opened_at {} (UTC)"
    bad_side = side.notna() & ~side.isin(["long", "short"])
    return [
        *_against(bad_side, "bad_side", "side: {!r} is not 'long' or 'short'", side),
        *_against(quantity <= 0, "quantity_not_positive", "quantity: {:.15g} is not > 0", quantity),
        *_against(closed < opened, "closed_before_opened", backwards, closed, opened),
        *_against(too_early, "outside_history", "opened_at: {} UTC is before the calendar begins", opened),
        *_outside("closed_at", closed, lots["session"], first, last),
    ]


def fill_faults(fills: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    """Rules that a fill has to keep; one before the ledger's months is kept, it may open what they close.

    Parameters
    ----------
    fills : DataFrame
        The columns of `FILL_COLUMNS`, and ``session``, the session of ``ts`` (NaT where there is none).
    first, last : Timestamp
        First session of the calendar and last session of the ledger's history.
    """
    return [
        *_against(fills["amount"] == 0, "zero_amount", "amount: is 0"),
        *_outside("ts", fills["ts"], fills["session"], first, last),
    ]


def return_faults(returns: pd.DataFrame, sessions: pd.DatetimeIndex, *, first: pd.Timestamp) -> list[Fault]:
    """Rules that a daily return has to keep.

    Parameters
    ----------
    returns : DataFrame
        The columns of `RETURN_COLUMNS`.
    sessions : DatetimeIndex
        Sessions of the calendar; the last one is the last of the ledger's history.
    first : Timestamp
        First session of the ledger's history.
    """
    session, value, last = returns["session"], returns["daily_return"], sessions[-1]
    no_session = session.between(first, last) & ~session.isin(sessions)
    return [
        *_against(value <= -1, "return_too_low", "daily_return: {:.15g} is not > -1", value),
        *_against(no_session, "not_a_session", "session: {:%Y-%m-%d} is no session of the calendar", session),
        *_outside("session", session, session.where(session <= last), first, last),
    ]


def duplicate_faults(
    content: pd.DataFrame, identity: Sequence[str], *, code: str, place: Callable[[int], str]
) -> list[Fault]:
    """Rows that repeat an earlier row, and rows whose identity also stands for something else.

    Parameters
    ----------
    content : DataFrame
        All that makes two rows the same, in reading order and with a positional index; two nulls are equal.
    identity : sequence of str
        The columns that name a row. A row with a null among them has no name, but may still repeat another.
    code : str
        Reason against every row whose identity occurs with differing content.
    place : callable
        Says where the row at a position was read.
    """
    names = list(identity)
    suspects = content[content.duplicated(names, keep=False)]
    if suspects.empty:
        return []
    version = suspects.groupby(list(content), dropna=False, sort=False).ngroup().tolist()
    owner = suspects.groupby(names, dropna=False, sort=False).ngroup().tolist()
    named = suspects[names].notna().all(axis=1).tolist()
    first_row: dict[int, int] = {}
    firsts: dict[int, list[int]] = {}
    for row, v, who in zip(suspects.index.tolist(), version, owner, strict=True):
        if first_row.setdefault(v, row) == row:
            firsts.setdefault(who, []).append(row)
    faults = []
    for row, v, who, has_name in zip(suspects.index.tolist(), version, owner, named, strict=True):
        if has_name and len(firsts[who]) > 1:
            other = next(other for other in firsts[who] if other != first_row[v])
            faults.append(Fault(row, code, f"{', '.join(names)}: other content at {place(other)}"))
        if row != first_row[v]:
            hint = "" if has_name else f"; if both are meant, give each its own {names[-1]}"
            faults.append(Fault(row, "exact_duplicate", f"repeats {place(first_row[v])}{hint}"))
    return faults


def _outside(name: str, time: pd.Series, session: pd.Series, first: pd.Timestamp, last: pd.Timestamp) -> list[Fault]:
    says = f"{name}: {{}} is outside the sessions {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return _against(time.notna() & ~(session >= first), "outside_history", says, time)


def _against(mask: pd.Series | Mask, code: str, template: str, *columns: pd.Series) -> list[Fault]:
    """One fault per marked row; the detail is the template with the row's cells of `columns`."""
    rows = np.flatnonzero(mask).tolist()
    cells = zip(*(column.iloc[rows] for column in columns), strict=True) if columns else [()] * len(rows)
    return [Fault(row, code, template.format(*cell)) for row, cell in zip(rows, cells, strict=True)]
