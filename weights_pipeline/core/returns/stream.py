"""Streams of fills: where a position is known, where it is not, and what may be matched.

A fill that is missing makes all that comes after it guesswork, per strategy and symbol: later fills are held back until
an opening or a broker's statement says what is held. Exact arithmetic on a stream with a hole in it would be wrong,
and green.

Scope: from rows that are sound or not to the events that ``matching`` runs over, with what is held back and why. Not
here: what makes a row unsound (``lots``, ``identity``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.matching import FILL, LOST, OPENING, RESIDUE, SKIPPED, stream_order

Pair = tuple[str, str]

_TOLERANCE = Decimal("1e-6")
"""Quantities that differ by less than this fraction of themselves are the same."""

_EVENT = [
    "strategy", "symbol", "ts", "amount", "price", "fees", "fill_id", "multiplier", "sequence", "position", "event",
]  # fmt: skip

_LOSS_TYPES = {"ts": "datetime64[us]", "fill_id": "str", "event": "int64"}
NO_EVENTS = pd.DataFrame(columns=_EVENT, dtype=float).astype({"strategy": "str", "symbol": "str"} | _LOSS_TYPES)
"""A stream of nothing."""


class Place(NamedTuple):
    """Where something stands in the order of a stream; see ``matching.stream_order``.

    A fill without a ``sequence`` has one of infinity; what comes before all fills of an instant has one of −infinity.
    """

    ts: pd.Timestamp
    sequence: float
    position: float


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A row that is missing from streams.

    Attributes
    ----------
    pairs
        Strategies and symbols that it may be of.
    cause
        The row and what is wrong with it, in words.
    source_file, line
        Where it was read.
    place
        Earliest place that it can have; None where its instant is not known at all.
    latest
        Latest instant that it can have; None where that is not known. A position stated by then may lack it.
    """

    pairs: Collection[Pair]
    cause: str
    source_file: str
    line: int
    place: Place | None = None
    latest: pd.Timestamp | None = None


_NEVER, _FOREVER = pd.Timestamp.min, pd.Timestamp.max
_MOMENT = pd.Timedelta(microseconds=1)
_BEGINNING = Place(_NEVER, -np.inf, -np.inf)


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A stretch in which a position is not known.

    Attributes
    ----------
    strategy, symbol
        Whose.
    since, until
        Instants; from the beginning, and to this day, where they are null.
    cause, source_file, line
        The first row that is missing.
    held_back
        Fills that were not matched.
    """

    strategy: str
    symbol: str
    since: pd.Timestamp | None
    until: pd.Timestamp | None
    cause: str
    source_file: str
    line: int
    held_back: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An opening that states another position than the fills before it leave."""

    row: int
    strategy: str
    symbol: str
    at: pd.Timestamp
    stated: float
    found: float


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What may be matched, and what may not.

    Attributes
    ----------
    events : DataFrame
        Rows for :func:`~weights_pipeline.core.returns.matching.match_fifo`.
    held : mapping of int to str
        Fills held back, by row: the cause.
    oversold : mapping of int to float
        Fills that sell more than is held where no short position can be, by row: what was held.
    unknown : list of Unknown
    differences : list of Difference
    unpriced : list of (int, str)
        Statements that would make a position known but for its price: row and strategy.
    """

    events: pd.DataFrame
    held: Mapping[int, str]
    oversold: Mapping[int, float]
    unknown: Sequence[Unknown]
    differences: Sequence[Difference]
    unpriced: Sequence[tuple[int, str]]


def known_streams(
    fills: pd.DataFrame,
    openings: pd.DataFrame,
    holes: Iterable[Hole],
    never_short: pd.Series,
    oversold_hole: Callable[[int, float], Hole],
    expiries: Mapping[str, Sequence[pd.Timestamp]] | None = None,
    statements: pd.DataFrame | None = None,
) -> Stream:
    """Split fills into what may be matched and what is held back.

    Parameters
    ----------
    fills : DataFrame
        Every fill with a strategy, a symbol and a place in the order: ``strategy``, ``symbol``, ``stream`` and
        ``units`` (the symbol that it goes by since, and units of that for one of it), ``ts``, ``amount``,
        ``price``, ``fees``, ``fill_id``, ``multiplier``, ``sequence``, ``position``, and ``sound``: False of one that
        is missing. The index names the row.
    openings : DataFrame
        Sound openings: ``strategy``, ``symbol``, ``stream``, ``units``, ``date``, ``ts`` (when the date begins),
        ``amount``, ``price``, ``multiplier``.
    holes
        What is missing, of which streams.
    never_short : Series of bool
        Of each fill, whether its position cannot be short.
    oversold_hole
        The hole that a fill leaves which sells more than such a position holds, by its row and what is held.
    expiries
        Instants at which the position of a stream ends, by its name.
    statements : DataFrame
        What a broker states to be held at the end of an instant ``ts``: the columns of `openings`; ``price`` is null
        where nothing says what it is worth.

    Returns
    -------
    Stream
        A hole makes a position unknown from its place on. It is known again from an opening on that is dated after the
        hole can have been, or after a statement of such an instant. An opening of a position that is known has to agree
        with it; a statement of one changes nothing.
    """
    marks: dict[Pair, list[Hole]] = defaultdict(list)
    for hole in holes:
        for pair in hole.pairs:
            marks[pair].append(hole)
    stated = dict(iter(openings.groupby(["strategy", "stream"]))) if len(openings) else {}
    confirmed = {} if statements is None else dict(iter(statements.groupby(["strategy", "stream"])))
    pairs = ["strategy", "stream"]
    wary = {*fills.loc[never_short, pairs].itertuples(index=False, name=None)} if never_short.any() else set[Pair]()
    plain = np.ones(len(fills), dtype=bool)
    nothing = np.empty(0, dtype=np.intp)
    found = _Found()
    walked = sorted({*marks, *stated, *wary})
    groups = fills.groupby(["strategy", "stream"], sort=False).indices if walked else {}
    for pair in walked:
        rows = groups.get(pair, nothing)
        plain[rows] = False
        _Walk(pair, fills.iloc[rows], never_short.iloc[rows], oversold_hole, found).through(
            marks[pair], stated.get(pair), (expiries or {}).get(pair[1], ()), confirmed.get(pair)
        )
    others = fills[plain] if walked else fills
    given = {name: others[name].array for name in _EVENT if name != "event"}
    events = pd.DataFrame(given | {"event": np.where(others["sound"], FILL, SKIPPED)}, copy=False)
    return Stream(
        events=pd.concat([events, *found.events], ignore_index=True) if found.events else events,
        held=found.held,
        oversold=found.oversold,
        unknown=found.unknown,
        differences=found.differences,
        unpriced=found.unpriced,
    )


@dataclass
class _Found:
    """What walks have found so far; see `Stream`."""

    events: list[pd.DataFrame] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    oversold: dict[int, float] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unpriced: list[tuple[int, str]] = field(default_factory=list)


class _Walk:
    """One walk through the stream of a strategy and symbol."""

    def __init__(
        self,
        pair: Pair,
        fills: pd.DataFrame,
        never_short: pd.Series,
        oversold_hole: Callable[[int, float], Hole],
        found: _Found,
    ) -> None:
        order = stream_order(fills.assign(symbol=fills["stream"]))
        self.pair, self.fills, self.found = pair, fills.iloc[order], found
        self.never_short, self.oversold_hole = never_short.iloc[order].tolist(), oversold_hole
        self.position, self.begun = Decimal(0), False
        self.hole: Hole | None = None
        self.blocked, self.held_back = _NEVER, 0
        self.lost: list[Place] = []

    def through(
        self,
        holes: Sequence[Hole],
        openings: pd.DataFrame | None,
        expiries: Sequence[pd.Timestamp],
        statements: pd.DataFrame | None,
    ) -> None:
        fills = self.fills
        rows, amounts, sound = fills.index.tolist(), fills["amount"].tolist(), fills["sound"].tolist()
        units = fills["units"].tolist()
        sequence = fills["sequence"].fillna(np.inf).tolist()
        places = [*map(Place, fills["ts"].tolist(), sequence, fills["position"].tolist())]
        others: list[tuple[Place, Hole | pd.DataFrame | None]] = [(hole.place or _BEGINNING, hole) for hole in holes]
        others += [(Place(at, np.inf, np.inf), None) for at in expiries]
        if openings is not None:
            others += [(Place(pd.Timestamp(str(at)), -np.inf, 0), stated) for at, stated in openings.groupby("ts")]
        if statements is not None:
            others += [(Place(pd.Timestamp(str(at)), np.inf, np.inf), said) for at, said in statements.groupby("ts")]
        others.sort(key=lambda each: each[0])
        kind = [SKIPPED] * len(rows)
        for i, (row, place) in enumerate(zip(rows, places, strict=True)):
            while others and others[0][0] <= place:
                self._meet(*others.pop(0))
            if not sound[i]:
                continue
            self.begun = True
            step = Decimal(repr(float(amounts[i]))) * units[i]
            if self.hole is not None:
                self.found.held[row] = self.hole.cause
                self.held_back += 1
            elif self.never_short[i] and float(self.position + step) < -RESIDUE * abs(float(step)):
                held = float(self.position / units[i])
                self.found.oversold[row] = held
                self._meet(place, self.oversold_hole(row, held))
            else:
                kind[i] = FILL
                self.position += step
        for place, other in others:
            self._meet(place, other)
        self._known_again(None)
        self.found.events += [fills.assign(event=kind)[_EVENT], self._losses()]

    def _meet(self, place: Place, other: Hole | pd.DataFrame | None) -> None:
        """Come to a hole, to what is stated of one instant, or to an expiry, after which nothing is held."""
        if other is None:
            if self.hole is not None and place.ts > self.blocked:
                self._known_again(place.ts)
            self.position = Decimal(0)
            return
        if isinstance(other, Hole):
            self.blocked = max(self.blocked, _FOREVER if other.latest is None else other.latest)
            if self.hole is None:
                self.hole, self.held_back = other, 0
                self.lost.append(place)
            return
        # An opening stands before all fills of its instant, a statement after them.
        confirms = place.sequence == np.inf
        if self.hole is None and confirms:
            return
        if self.hole is not None and (place.ts < self.blocked or (place.ts == self.blocked and not confirms)):
            return
        if confirms and other["price"].isna().any():
            self.found.unpriced += [(row, self.pair[0]) for row in other.index.tolist()]
            return
        amounts, units = other["amount"].tolist(), other["units"].tolist()
        total = sum((Decimal(repr(float(a))) * u for a, u in zip(amounts, units, strict=True)), Decimal(0))
        if self.hole is not None:
            self._known_again(place.ts + _MOMENT if confirms else place.ts)
        elif self.begun:
            largest = max(abs(self.position), abs(total))
            if abs(self.position - total) <= largest * _TOLERANCE:
                return
            strategy, symbol = self.pair
            self.found.differences.append(
                Difference(
                    row=int(other.index[0]),
                    strategy=strategy,
                    symbol=symbol,
                    at=place.ts,
                    stated=float(total / units[0]),
                    found=float(self.position / units[0]),
                )
            )
            self.lost.append(place._replace(position=-1))
        self.found.events.append(_openings(other, np.inf if confirms else -np.inf))
        self.position, self.begun = total, True

    def _known_again(self, until: pd.Timestamp | None) -> None:
        """End the stretch in which the position is not known, if it is in one."""
        if self.hole is None:
            return
        strategy, symbol = self.pair
        self.found.unknown.append(
            Unknown(
                strategy=strategy,
                symbol=symbol,
                since=None if self.hole.place is None else self.hole.place.ts,
                until=until,
                cause=self.hole.cause,
                source_file=self.hole.source_file,
                line=self.hole.line,
                held_back=self.held_back,
            )
        )
        self.hole, self.blocked = None, _NEVER

    def _losses(self) -> pd.DataFrame:
        """Events that end all holdings, under whichever symbol they are."""
        strategy, stream = self.pair
        rows = [
            (strategy, symbol, place.ts, 0.0, 0.0, 0.0, None, 1.0, place.sequence, place.position, LOST)
            for place in self.lost
            if place is not _BEGINNING
            for symbol in sorted({stream, *self.fills["symbol"]})
        ]
        return pd.DataFrame(rows, columns=_EVENT).astype(_LOSS_TYPES)


def _openings(stated: pd.DataFrame, sequence: float) -> pd.DataFrame:
    """Events of positions stated; one of nothing is known to be flat, and has none."""
    rows = stated[stated["amount"] != 0]
    rows = rows.assign(
        fees=0.0,
        fill_id=rows["date"].dt.strftime("%Y-%m-%d"),
        sequence=sequence,
        position=np.arange(len(rows)) if sequence < 0 else np.inf,
        event=OPENING,
    )
    return rows[_EVENT]
