"""FIFO matching: closed lots, and what was held between the fills.

Scope: queues of fills per strategy and symbol. Not here: which fills may be matched (``stream``), nor where rows come
from.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.columns import texts
from weights_pipeline.core.returns.lots import DUST, entry_value, lot_pnl

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

RESIDUE = 1e-9
"""A remainder of at most this fraction of its own fill is rounding, not a position."""

FILL, OPENING, SKIPPED, LOST, CARRIED = range(5)
"""Events of a stream: a fill; a holding stated; a fill that is not matched but keeps its number; holdings end there,
unknown or in other units; a holding that goes on in other units or under another symbol."""


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
    lost : DataFrame
        What was open when the position became unknown, or was carried over an action: the columns of `holdings`,
        ``until`` being that instant.
    """

    lots: pd.DataFrame
    holdings: pd.DataFrame
    lost: pd.DataFrame

    @property
    def open_lots(self) -> pd.DataFrame:
        """Holdings that the last fill left open: the open remainder."""
        return self.holdings[self.holdings["until"].isna()].reset_index(drop=True)


def stream_order(rows: pd.DataFrame) -> Indices:
    """Positions of rows in the order of their streams, shape (n,).

    That is by strategy and symbol, then by instant; of one instant those with a ``sequence`` first, by it (none is
    one of infinity); then by ``position``, their place in the files. Ids order nothing.
    """
    # Where a null sorted behind infinity, the loss of what an instant's fills hold would come before these fills.
    sequence = rows["sequence"].to_numpy(dtype=float, na_value=np.inf)
    position = rows["position"].to_numpy(dtype=float)
    symbol, strategy = (pd.factorize(rows[name], sort=True)[0] for name in ("symbol", "strategy"))
    return np.lexsort([position, sequence, rows["ts"].to_numpy(), symbol, strategy])


def begins_stream(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each row is the first of its strategy and symbol, of rows in the order of their streams; shape (n,)."""
    begins = np.zeros(len(rows), dtype=bool)
    begins[:1] = True
    for name in ("strategy", "symbol"):
        column = rows[name].array
        begins[1:] |= np.asarray(column[1:] != column[:-1], dtype=bool)
    return begins


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(rows["strategy"].tolist(), rows["symbol"].tolist(), strict=True)


def match_fifo(events: pd.DataFrame, counted: Mapping[tuple[str, str], int] | None = None) -> MatchResult:
    """Match fills first in, first out, per strategy and symbol, long and short.

    A fill against the open position closes its oldest part first; what it has left after the last of it opens
    the other way (a flip). Fees are shared by quantity, those of a closing fill as those of an opening one. A
    remainder of at most `RESIDUE` of its own fill is rounding and counts as zero. Where an exit leaves at most `DUST`
    of what the position was at its largest, the remainder stays open and later exits close it last: a fee paid in the
    instrument would otherwise split every later lot in two. Quantities are taken as the decimals
    they are written as: 0.3 less 0.1 is 0.2, so that the parts of a position always add up to it.

    No figure of a lot depends on a fill after its exit, so cutting the fills at a time gives exactly the lots closed by
    it.

    Parameters
    ----------
    events : DataFrame
        ``strategy``, ``symbol``, ``ts`` (tz-naive UTC), ``amount`` (signed, + buys), ``price``, ``fees``,
        ``fill_id`` (null where there is none, otherwise unique per strategy and symbol), ``multiplier``, ``sequence``
        (null where there is none; −inf of what comes before all fills of an instant), ``position`` (place in the files)
        and ``event``, one of `FILL`, `OPENING`, `SKIPPED`, `LOST` and `CARRIED`. See :func:`stream_order`.
    counted
        How many fills came before the events, by strategy and symbol; none unless said.

    Returns
    -------
    MatchResult
        A ``lot_id`` reads ``strategy|symbol|opening>closing``, each fill named by its ``fill_id`` or, without
        one, by ``#`` and its ordinal within strategy and symbol, which later fills do not change; an opening is named
        by ``#`` and its date, and what was carried over an action as :func:`carried_id` says.

    Raises
    ------
    ValueError
        If an amount, price or fee is not finite, an amount is 0, or a fill_id is not unique.
    """
    events = events.iloc[stream_order(events)].reset_index(drop=True)
    event = events["event"].to_numpy()
    matched = (event == FILL) | (event == OPENING) | (event == CARRIED)
    amount, price, fees, multiplier = (
        events[name].to_numpy(dtype=float) for name in ("amount", "price", "fees", "multiplier")
    )
    usable = np.isfinite(amount) & np.isfinite(price) & np.isfinite(fees) & (amount != 0)
    if not usable[matched].all():
        raise ValueError("fills: expected finite amounts, prices and fees, and no amount of 0")
    begins = begins_stream(events)
    group: Indices = np.cumsum(begins) - 1
    key = _fill_keys(events, group, counted or {})
    prefix = [f"{_escape(strategy)}|{_escape(symbol)}|" for strategy, symbol in _pairs(events[begins])]
    opening_id = _opening_ids(events, prefix, group, key)
    named = [opening_id[i] for i in np.flatnonzero(matched).tolist()]
    if len(set(named)) < len(named):
        raise ValueError("fills: expected each fill_id once per strategy and symbol")
    opener, closer, closed, left, lost = _fifo_events(group, event, amount)
    size, ts = np.abs(amount), events["ts"].to_numpy(dtype="datetime64[us]")

    def part(lot_id: Sequence[str], of: Indices, quantity: Floats) -> dict[str, Any]:
        """Make what a lot and a holding have in common: some quantity of the opening fills `of`."""
        return {
            "lot_id": pd.array(lot_id, dtype="str"),
            "strategy": events["strategy"].array.take(of),
            "symbol": events["symbol"].array.take(of),
            "side": texts(["short", "long"], (amount[of] > 0).astype(np.intp)),
            "quantity": quantity,
            "opened_at": ts[of],
            "open_price": price[of],
            "fees": fees[of] * (quantity / size[of]),
            "entry_value": entry_value(quantity, price[of], multiplier[of]),
        }

    exits = np.flatnonzero(closed)
    of, by, quantity = opener[exits], closer[exits], closed[exits]
    lots = part([f"{opening_id[o]}>{key[c]}" for o, c in zip(of, by, strict=True)], of, quantity)
    lots["fees"] += fees[by] * (quantity / size[by])
    lots["closed_at"], lots["close_price"] = ts[by], price[by]
    lots["pnl"] = lot_pnl(lots["side"], quantity, price[of], price[by], lots["fees"], multiplier[of])
    lots["parent_lot_id"] = pd.array([opening_id[o] for o in of], dtype="str")

    # A holding lasts from one event of its opening fill to that fill's next; events are in order of time.
    by_opener = np.argsort(opener, kind="stable")
    of, at, quantity = opener[by_opener], ts[closer[by_opener]], left[by_opener]
    until = np.full(len(at), np.datetime64("NaT", "us"))
    until[:-1] = np.where(of[1:] == of[:-1], at[1:], until[:-1])
    held = (quantity > 0) & (until != at)
    gone = lost[by_opener]
    before = np.concatenate([[0.0], quantity[:-1]]) if len(quantity) else quantity

    def holding(rows: NDArray[np.bool_], quantity: Floats, until: NDArray[np.datetime64]) -> pd.DataFrame:
        common = part([opening_id[o] for o in of[rows]], of[rows], quantity[rows])
        return pd.DataFrame(common | {"since": at[rows], "until": until[rows]})

    return MatchResult(lots=pd.DataFrame(lots), holdings=holding(held, quantity, until), lost=holding(gone, before, at))


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


class _Events(NamedTuple):
    """What the queues did: an opening, an exit, or a loss (the position became unknown); one entry each.

    Attributes
    ----------
    opener, closer : ndarray of int
        Positions of the opening fill and of the row that made the event; an opening made itself.
    closed, left : ndarray of float
        Quantity closed (0 unless an exit) and the opening fill's quantity left after the event.
    lost : ndarray of bool
        Whether it is a loss.
    """

    opener: Indices
    closer: Indices
    closed: Floats
    left: Floats
    lost: NDArray[np.bool_]


_GRAINS, _DUSTS = round(1 / RESIDUE), round(1 / DUST)
"""How many of what is rounding, or dust, make the whole: of whole numbers a share is a floor division, and exact."""
_EXACT_DIGITS, _EXACT_PLACES = 1e15, 15
"""A number of at most 15 digits is the only one of so few digits that its float can be read as."""


def _whole_sizes(group: Indices, size: Floats) -> tuple[list[int], list[int]]:
    """Sizes as whole numbers of a unit of their group's, and how many of its units make one, for each row.

    The unit is the last decimal place that any size of the group is written with, so that no digit is lost.
    """
    units, places = np.zeros(len(size), dtype=np.int64), np.zeros(len(size), dtype=np.int64)
    rest = np.arange(len(size))
    for place in range(_EXACT_PLACES + 1):
        with np.errstate(over="ignore"):
            scaled = np.rint(size[rest] * 10.0**place)
        fits = (scaled < _EXACT_DIGITS) & (scaled / 10.0**place == size[rest])
        units[rest[fits]], places[rest[fits]] = scaled[fits], place
        rest = rest[~fits]
    written = {i: Decimal(repr(size.item(i))) for i in rest.tolist()}  # more digits than that, or smaller
    for i, number in written.items():
        places[i] = max(-int(number.as_tuple().exponent), 0)
    finest = np.zeros(int(group[-1]) + 1 if len(group) else 0, dtype=np.int64)
    np.maximum.at(finest, group, places)
    power = [10**place for place in range(int(finest.max(initial=0)) + 1)]
    whole = units.tolist()
    for i, number in written.items():
        whole[i] = int(number.scaleb(int(places[i])))
    lift = (finest[group] - places).tolist()
    return [n * power[k] for n, k in zip(whole, lift, strict=True)], [power[k] for k in finest[group].tolist()]


def _fifo_events(group: Indices, event: NDArray[np.int_], amount: Floats) -> _Events:
    """Run the queues over events sorted by group: opening fills, oldest first, and dust apart."""
    opener: list[int] = []
    closer: list[int] = []
    closed: list[float] = []
    left: list[float] = []
    gone: list[int] = []
    no_amount = (event == LOST) | (event == SKIPPED)
    size, ones = _whole_sizes(group, np.abs(np.where(no_amount, 0.0, amount)))
    buys, remaining = (amount > 0).tolist(), size.copy()
    held: deque[int] = deque()
    dust: deque[int] = deque()
    position = peak = 0
    current = -1
    for i, (g, what, rest, one) in enumerate(zip(group.tolist(), event.tolist(), size, ones, strict=True)):
        if g != current or what == LOST:
            if g == current:
                gone += range(len(opener), len(opener) + len(held) + len(dust))
                for row in (*held, *dust):
                    opener.append(row)
                    closer.append(i)
                    closed.append(0.0)
                    left.append(0.0)
            held, dust, position, peak, current = deque(), deque(), 0, 0, g
        if not rest:
            continue
        side, grain, exits = buys[i], rest // _GRAINS, False
        while rest:
            # A fill closes the position, or else dust, of the other sign.
            if held and buys[held[0]] != side:
                against = held
            elif dust and buys[dust[0]] != side:
                against = dust
            else:
                break
            row = against[0]
            quantity = min(remaining[row], rest)
            rest = 0 if rest - quantity <= grain else rest - quantity
            if against is held:
                position -= quantity
            after = remaining[row] - quantity
            if after <= size[row] // _GRAINS:
                after = 0
                against.popleft()
            remaining[row] = after
            opener.append(row)
            closer.append(i)
            closed.append(quantity / one)
            left.append(after / one)
            exits = True
        if exits and position <= peak // _DUSTS:
            dust += held
            held.clear()
            position = peak = 0
        if rest:
            held.append(i)
            remaining[i] = rest
            position += rest
            peak = max(peak, position)
            opener.append(i)
            closer.append(i)
            closed.append(0.0)
            left.append(rest / one)
    lost = np.zeros(len(opener), dtype=bool)
    lost[gone] = True
    return _Events(
        np.array(opener, dtype=np.intp), np.array(closer, dtype=np.intp), np.array(closed), np.array(left), lost
    )


def _fill_keys(events: pd.DataFrame, group: Indices, already: Mapping[tuple[str, str], int]) -> list[str]:
    """Name of each sorted event within its group."""
    event = events["event"].to_numpy()
    counted = (event == FILL) | (event == SKIPPED)
    before = np.cumsum(counted)
    start = np.searchsorted(group, group)  # groups are contiguous and ascend
    ordinal = before - (before - counted)[start]
    if already:
        ordinal += [already.get(pair, 0) for pair in _pairs(events)]
    given = events["fill_id"].astype("str").fillna("").tolist()
    keys = [_escape(name) if name else f"#{n}" for name, n in zip(given, ordinal.tolist(), strict=True)]
    stated: dict[tuple[int, str], int] = {}
    for i in np.flatnonzero(event == OPENING).tolist():
        # An opening's fill_id is its date.
        place = (int(group[i]), given[i])
        stated[place] = stated.get(place, 0) + 1
        keys[i] = f"#{given[i]}" + (f".{stated[place]}" if stated[place] > 1 else "")
    return keys


def _opening_ids(events: pd.DataFrame, prefix: list[str], group: Indices, key: list[str]) -> list[str]:
    event, given = events["event"].tolist(), events["fill_id"].tolist()
    # What was carried brings its whole id.
    return [
        given[i] if event[i] == CARRIED else prefix[g] + name
        for i, (g, name) in enumerate(zip(group.tolist(), key, strict=True))
    ]


def carried_id(lot_id: str, session: pd.Timestamp, new_symbol: str = "") -> str:
    """Id of an opening after it was carried over a split, or over a rename to another symbol, of a session.

    It is the one it had and ``@`` with the date; of a rename ``@=``, and the old symbol stays after the new one.
    """
    strategy, rest = lot_id.split("|", 1)
    moved = f"{_escape(new_symbol)}|{rest}@=" if new_symbol else f"{rest}@"
    return f"{strategy}|{moved}{session:%Y-%m-%d}"


def carried_from(lot_id: str) -> str | None:
    """Id that an opening had before it was carried, of :func:`carried_id`; None of one that was not."""
    found = _CARRIED_ID.fullmatch(lot_id)
    if found is None:
        return None
    strategy, rest = found["before"].split("|", 1)
    return f"{strategy}|{rest.split('|', 1)[1]}" if found["moved"] else found["before"]


_CARRIED_ID = re.compile(r"(?P<before>.*)@(?P<moved>=?)\d{4}-\d\d-\d\d", re.DOTALL)
_ESCAPES = str.maketrans({"%": "%25", "|": "%7C", ">": "%3E", "#": "%23", "@": "%40"})


def _escape(name: str) -> str:
    """Keep ids unambiguous, whatever a symbol or a fill_id contains."""
    return name.translate(_ESCAPES)
