"""Fills and openings, from rows to closed lots: what is known of each position, and what is to be said about it.

Scope: the rows of a ledger's files on their way through the rules of ``core``. Not here: the rules, nor files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.actions import Lineage, match_over
from weights_pipeline.core.returns.ambiguity import ambiguous_order, at_one_instant, opposites
from weights_pipeline.core.returns.cells import ZONES, Fault
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.lots import cancelled_faults, fill_faults, opening_faults, signed_amounts
from weights_pipeline.core.returns.matching import MatchResult
from weights_pipeline.core.returns.splits import sold_times
from weights_pipeline.core.returns.stream import NO_EVENTS, Hole, Pair, Place, Stream, Unknown, known_streams
from weights_pipeline.ledger.rows import Rows
from weights_pipeline.ledger.source import LedgerSource
from weights_pipeline.ledger.statements import Statement

_HARMLESS = {"exact_duplicate", "cancelled"}
_NOTHING = {"zero_amount", "missing_price"}
"""Reasons for which a row may be missing from a stream and nothing is."""


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What the fills of a ledger come to.

    Attributes
    ----------
    matched
        Lots and holdings.
    unknown
        Stretches in which a position is not known.
    findings
        What the ledger's owner has to know.
    unpriced
        Rows of the statement that lack a price, and the strategy of each; see `Stream`.
    """

    matched: MatchResult
    unknown: Sequence[Unknown]
    findings: Sequence[LedgerFinding]
    unpriced: Sequence[tuple[int, str]]


def read_streams(
    fills: Rows,
    openings: Rows,
    source: LedgerSource,
    lineage: Lineage,
    never_short: Collection[str] = (),
    statement: Statement | None = None,
    *,
    first: pd.Timestamp,
    last: pd.Timestamp,
) -> Streams:
    """Match what is known, hold back what is not; faults are added to both kinds of rows.

    Parameters
    ----------
    fills, openings
        Rows with their ``session``; those of openings with ``ts``, when their date begins.
    source
        The ledger.
    lineage
        Corporate actions.
    never_short
        Symbols of which nobody can be short.
    statement
        What the broker states, if there is such a file.
    first, last
        First session of the calendar and last session of the ledger's history.
    """
    if not (fills.parts or openings.parts):
        return _NONE
    typed = fills.typed
    typed["amount"], faults = signed_amounts(typed["amount"], typed["side"], fills.file)
    fills.faults += faults + fill_faults(typed, first=first, last=last)
    fills.reject_duplicates(["strategy", "symbol", "fill_id"], "duplicate_fill_id")
    fills.faults += cancelled_faults(typed)
    openings.faults += opening_faults(openings.typed, first=first, last=last)
    openings.reject_duplicates([], "")
    openings.typed["multiplier"] = openings.typed["multiplier"].fillna(1.0)

    known = _Known(fills, openings)
    unhurt = _unhurt(fills, first)
    missing = [*_missing(fills, known, "ts", unhurt), *_missing(openings, known, "date", _unhurt(openings, first))]
    sound = fills.flawless()
    placed = ~unhurt
    for name in ("strategy", "symbol", "ts"):
        placed &= typed[name].notna().to_numpy()
    rows = typed if placed.all() else typed[placed]
    rows = lineage.spelled(
        rows.assign(
            sound=sound[placed],
            position=np.flatnonzero(placed).astype(float),
            fees=rows["fees"].fillna(0.0),
            multiplier=rows["multiplier"].fillna(1.0),
        )
    )

    def oversold(row: int, held: float) -> Hole:
        return _of_streams(_hole(fills, row, known, f"is oversold: it {_sells(fills, row, held)}", "ts"), lineage)

    stated = openings.typed[openings.flawless()]
    stream = known_streams(
        rows,
        lineage.spelled(stated) if len(stated) else stated,
        [_of_streams(hole, lineage) for hole in missing],
        (source.never_short(rows["strategy"]) | rows["symbol"].isin(never_short)) & rows["sound"],
        oversold,
        lineage.expiries(),
        None if statement is None else statement.makes_known(_first_seen(fills, openings), lineage),
    )
    for row, held in stream.oversold.items():
        says = f"amount: {_sells(fills, row, held)}, which cannot be short; state in openings what was held before"
        fills.faults.append(Fault(row, "oversold", says))
    fills.faults += [Fault(row, "position_unknown", f"held back: {why}") for row, why in stream.held.items()]
    return Streams(
        matched=match_over(stream.events, lineage.actions),
        unknown=stream.unknown,
        findings=[*_stream_findings(fills, openings, stream, lineage.symbols), *_lost_fees(fills)],
        unpriced=stream.unpriced,
    )


_NONE = Streams(matched=match_over(NO_EVENTS, []), unknown=(), findings=(), unpriced=())
"""Of a ledger without fills."""


def _of_streams(hole: Hole, lineage: Lineage) -> Hole:
    """The hole, by the names of the streams that it is in."""
    if not lineage.symbols.intersection(symbol for _, symbol in hole.pairs):
        return hole
    at = None if hole.place is None or hole.latest != hole.place.ts else hole.place.ts
    streams = {
        (strategy, name)
        for strategy, symbol in hole.pairs
        for name in (lineage.ever(symbol) if at is None else [lineage.of(symbol, at)[0]])
    }
    return replace(hole, pairs=sorted(streams))


def _sells(fills: Rows, row: int, held: float) -> str:
    return f"sells {abs(fills.typed['amount'].iloc[row]):.15g} of {held:.15g} held"


def _first_seen(*kinds: Rows) -> dict[Pair, pd.Timestamp]:
    """First instant of every strategy and symbol; the beginning of time where that of one of its rows is not known."""
    named = [rows.typed[["strategy", "symbol", "ts"]] for rows in kinds if rows.parts]
    rows = pd.concat(named).dropna(subset=["strategy", "symbol"])
    first = rows["ts"].fillna(pd.Timestamp.min.as_unit("us")).groupby([rows["strategy"], rows["symbol"]]).min()
    return {(strategy, symbol): ts for (strategy, symbol), ts in first.items()}


class _Known:
    """Strategies and symbols that there are, over all files and by file; looked up where a row is missing."""

    def __init__(self, *kinds: Rows) -> None:
        self._kinds = kinds

    @cached_property
    def _seen(self) -> pd.DataFrame:
        named = [
            rows.typed[["strategy", "symbol"]].assign(file=[rows.parts[number].name for number in rows.file.tolist()])
            for rows in self._kinds
        ]
        seen: pd.DataFrame = pd.concat(named, ignore_index=True).drop_duplicates()
        return seen

    @cached_property
    def strategies(self) -> Mapping[str, set[str]]:
        found = defaultdict[str, set[str]](set)
        for name, strategy in self._seen[["file", "strategy"]].dropna().itertuples(index=False, name=None):
            found[name].add(strategy)
        return found

    @cached_property
    def pairs(self) -> set[Pair]:
        return {*self._seen[["strategy", "symbol"]].dropna().itertuples(index=False, name=None)}

    def of(self, file: str, strategy: object, symbol: object) -> Collection[Pair]:
        """Every strategy and symbol that a row of a file may be of, whose own are not all readable."""
        has_strategy, has_symbol = isinstance(strategy, str), isinstance(symbol, str)
        if has_strategy and has_symbol:
            return [(str(strategy), str(symbol))]
        own = {str(strategy)} if has_strategy else self.strategies[file]
        found = [pair for pair in self.pairs if pair[0] in own] or ([] if has_strategy else [*self.pairs])
        if not has_symbol:
            return found
        # Where nobody is known to trade the symbol, it may be a position of any of the strategies.
        return [pair for pair in found if pair[1] == symbol] or sorted({(pair[0], str(symbol)) for pair in found})


def _unhurt(rows: Rows, first: pd.Timestamp) -> NDArray[np.bool_]:
    """Rows that are rejected, and without which positions are known all the same, shape (n,).

    They repeat another row, are taken back, are of nothing, or come after the last session. A fill of nothing has no
    price and no fees either, as an order that was never executed; one that has says that something was traded.
    """
    typed = rows.typed
    harmless = np.zeros(len(typed), dtype=bool)
    if not rows.faults:
        return harmless
    harmless[[fault.row for fault in rows.faults if fault.code in _HARMLESS]] = True
    if rows.kind == "fills" and (nothing := (typed["amount"] == 0).to_numpy()).any():
        nothing = nothing & (typed[["price", "fees"]].fillna(0.0) == 0).all(axis=1).to_numpy()
        nothing[[fault.row for fault in rows.faults if fault.code not in _NOTHING]] = False
        harmless |= nothing
    late = typed["session"].isna() & (typed["ts"] > first)
    return np.asarray((harmless | late.to_numpy()) & ~rows.flawless())


def _missing(rows: Rows, known: _Known, instant: str, unhurt: NDArray[np.bool_]) -> Iterator[Hole]:
    """Holes that rejected rows and broken lines leave."""
    details: dict[int, list[str]] = defaultdict(list)
    for fault in rows.faults:
        details[fault.row].append(fault.detail)
    for row in np.flatnonzero(~rows.flawless() & ~unhurt).tolist():
        # One whose sequence cannot be read may be any of its instant.
        placed = not any(detail.startswith("sequence:") for detail in details[row])
        yield _hole(rows, row, known, f"was rejected: {'; '.join(details[row])}", instant, placed=placed)
    for line in rows.loose:
        part = rows.parts[line["part"]]
        strategy, symbol, at = line["strategy"], line["symbol"], None
        # A field in its place is what it seems where other rows say the same, and the time is one.
        if strategy not in known.strategies[part.name]:
            strategy = symbol = None
        elif (strategy, symbol) not in known.pairs:
            symbol = None
        elif instant == "ts" and pd.notna(line["ts"]):
            at = line["ts"]
        yield Hole(
            pairs=known.of(part.name, strategy, symbol),
            cause=f"{part.name} line {line['line']} is no row: {line['why']}",
            source_file=part.name,
            line=line["line"],
            place=None if at is None else Place(at, -np.inf, -1),
            latest=at,
        )


def _hole(rows: Rows, row: int, known: _Known, what: str, instant: str, *, placed: bool = True) -> Hole:
    """Hole that a row leaves, in its own place or anywhere in its instant."""
    typed, part = rows.typed, rows.parts[rows.file[row]]
    strategy, symbol, ts = (typed[name].iloc[row] for name in ("strategy", "symbol", "ts"))
    place, latest = None, None
    if pd.notna(ts):
        sequence = typed["sequence"].fillna(np.inf).iloc[row] if "sequence" in typed else -np.inf
        place, latest = Place(ts, sequence, row) if placed else Place(ts, -np.inf, -1), ts
    elif instant in rows.near and pd.notna(near := rows.near[instant].iloc[row]):
        place, latest = Place(near - ZONES, -np.inf, -1), near + ZONES
    return Hole(
        pairs=known.of(part.name, strategy, symbol),
        cause=f"{rows.place(row)} {what}",
        source_file=part.name,
        line=int(rows.line[row]),
        place=place,
        latest=latest,
    )


def _stream_findings(fills: Rows, openings: Rows, stream: Stream, acted_on: Collection[str]) -> Iterator[LedgerFinding]:
    for each in stream.differences:
        yield LedgerFinding(
            code="opening_differs",
            strategy=each.strategy,
            symbol=each.symbol,
            since=each.at,
            source_file=openings.parts[openings.file[each.row]].name,
            line=int(openings.line[each.row]),
            message=f"states {each.stated:.15g}, the fills before it leave {each.found:.15g}; what is stated counts",
            figures={"stated": each.stated, "found": each.found},
            setting="correct the opening, or add the fills that are missing",
        )
    together = at_one_instant(stream.events)
    for order in ambiguous_order(stream.events, together):
        yield LedgerFinding(
            code="ambiguous_order",
            strategy=order.strategy,
            symbol=order.symbol,
            since=order.ts,
            source_file=fills.parts[fills.file[order.position]].name if order.position >= 0 else "",
            line=int(fills.line[order.position]),
            message=f"buys and sells at one instant: they realise {order.buys_first:.2f} with buys first, "
            f"{order.sells_first:.2f} with sells first, a difference of "
            f"{order.buys_first - order.sells_first:.2f}; they are taken in the order of the file",
            figures={"buys_first": order.buys_first, "sells_first": order.sells_first},
            setting="a column sequence",
        )
    events = stream.events
    for turned in sold_times(events[~events["symbol"].isin(acted_on)] if acted_on else events):
        yield LedgerFinding(
            code="possible_split",
            strategy=turned.strategy,
            symbol=turned.symbol,
            since=turned.ts,
            source_file=fills.parts[fills.file[turned.row]].name,
            line=int(fills.line[turned.row]),
            message=f"turns the position of {turned.held:.15g} round at about one {turned.times}th of the price paid "
            f"for it: after a split of {turned.times}:1 it would be no more than what is held",
            figures={"times": float(turned.times), "held": turned.held},
            setting="a split in the file of actions",
        )
    for pair in opposites(together):
        yield LedgerFinding(
            code="possible_cancellation",
            strategy=pair.strategy,
            symbol=pair.symbol,
            since=pair.ts,
            source_file=fills.parts[fills.file[pair.second]].name,
            line=int(fills.line[pair.second]),
            message=f"is the opposite of {fills.place(pair.first)}, at the same instant, price and size: where "
            f"it takes it back, neither is a trade",
            setting="a column cancels or status",
        )


def _lost_fees(fills: Rows) -> Iterator[LedgerFinding]:
    """Fees of rows that are no fill, which are rejected and with them what they cost."""
    gone = {fault.row for fault in fills.faults if fault.code in _HARMLESS}
    nothing = {fault.row for fault in fills.faults if fault.code == "zero_amount"} - gone
    if not nothing:
        return
    rows = fills.typed.loc[sorted(nothing)]
    rows = rows[rows["fees"].fillna(0.0) != 0]
    for (strategy, symbol), own in rows.fillna({"strategy": "", "symbol": ""}).groupby(["strategy", "symbol"]):
        row, total = int(own.index[0]), float(own["fees"].sum())
        yield LedgerFinding(
            code="fees_lost",
            strategy=strategy,
            symbol=symbol,
            since=own["ts"].min() if own["ts"].notna().any() else None,
            source_file=fills.parts[fills.file[row]].name,
            line=int(fills.line[row]),
            message=f"{len(own)} rows with an amount of 0 carry fees of {total:.15g}, which are booked nowhere",
            figures={"rows": float(len(own)), "fees": total},
            setting="read these rows as cash: where: {amount: 0} there, and where: {amount: {not: 0}} under fills",
        )
