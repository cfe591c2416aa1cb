"""Rows of a ledger's files: parsed, faulted, and either accepted or rejected.

Scope: the account of every row of one kind. Not here: the rules, which are in ``core``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby, pairwise, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Column, Fault, Formats, Parsed, parse_cells
from weights_pipeline.core.returns.columns import framed
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.identity import duplicate_faults, repeats
from weights_pipeline.core.returns.lots import (
    CASH_COLUMNS,
    FILL_COLUMNS,
    LOT_COLUMNS,
    OPENING_COLUMNS,
    RETURN_COLUMNS,
    mostly_negative,
)
from weights_pipeline.ledger.allocations import NO_RETURN, returns_of
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, read_part, require_columns
from weights_pipeline.ledger.kept import Kept
from weights_pipeline.ledger.mapping import mapped, summands, unread
from weights_pipeline.ledger.places import File, file_at, find_files
from weights_pipeline.ledger.prices import read_prices
from weights_pipeline.ledger.source import Kind, LedgerSource
from weights_pipeline.ledger.sources import RowSource, read_rows
from weights_pipeline.ledger.vocabulary import ByTable, Reading

if TYPE_CHECKING:
    from weights_pipeline.ledger.aside import Aside

Indices = NDArray[np.intp]

_MONTH = r"^\s*([0-9]{4}-[0-9]{2})\s*$"

COLUMNS: Mapping[Kind, Mapping[str, Column]] = {
    "lots": LOT_COLUMNS,
    "fills": FILL_COLUMNS,
    "cash": CASH_COLUMNS,
    "openings": OPENING_COLUMNS,
    "returns": RETURN_COLUMNS,
}
_EMPTIED = {"no_strategy": "missing_strategy", NO_RETURN: "missing_daily_return"}
"""Reasons that leave a cell empty, and the reason that it would be by itself."""
UNHURT = ("exact_duplicate", "cancelled", "position_unknown")
"""Reasons of rows that are not defective themselves."""
MEANING = frozenset(
    [
        "side",
        "direction",
        "action",
        "type",
        "status",
        "state",
        "currency",
        "ccy",
        "multiplier",
        "contract_size",
        "commission",
        "commissions",
        "comm",
        "swap",
        "funding",
        "fee",
        "charges",
        "tax",
        "pnl",
        "realized",
        "realised",
        "position",
        "sign",
        "cancel",
        "cancelled",
        "canceled",
        "dividend",
        "interest",
    ]
)
"""Words in the name of a column that say it may change what a row means."""


class SetAside(NamedTuple):
    """Rows of a file that are accepted whatever other rows there are: how many.

    And what gives its first rows, whatever became of them: as they are written, and as they were read.
    """

    rows: int
    first: Callable[[], tuple[Part, pd.DataFrame]]


class Rows:
    """All rows of one kind, over all its files, and the faults found in them.

    Attributes
    ----------
    typed
        Cells read; a positional index in the order of the files' names, then of lines.
    faults
        What is wrong with which row.
    days, near, as_days
        See :class:`~weights_pipeline.core.returns.cells.Parsed`.
    file
        Which part each row is of, shape (n,).
    loose
        Lines that are no row, as far as they can be read: the columns of `typed`, ``part``, ``line`` and ``why`` each.
    aside
        What was set aside of files by their names: rows that were accepted, and are not among these.
    """

    aside: Mapping[str, SetAside] = MappingProxyType({})

    def __init__(self, kind: Kind, parts: Sequence[Part], timezone: str, exchange_timezone: str) -> None:
        columns = COLUMNS[kind]
        self.kind, self.parts, self.columns = kind, parts, columns
        self.cells = _cells(parts, columns)
        self.file = np.repeat(np.arange(len(parts)), [len(part.line) for part in parts])
        self.line = np.concatenate([np.empty(0, np.intp), *(part.line for part in parts)])
        pieces = []
        self.faults: list[Fault] = []
        for reading, mine in self._alike():
            read = parsed(
                self.cells[mine].reset_index(drop=True),
                columns,
                reading,
                formats(reading, timezone, exchange_timezone),
                self.file[mine],
                {number: part.others for number, part in enumerate(parts) if len(part.others)},
            )
            pieces.append(read)
            self.faults += [fault._replace(row=fault.row + mine.start) for fault in read.faults]
        said = [
            fault._replace(row=fault.row + mine.start)
            for part, mine in zip(parts, self._slices(), strict=True)
            for fault in part.faults
        ]
        # Why a cell is empty is said already.
        told = {(fault.row, _EMPTIED[fault.code]) for fault in said if fault.code in _EMPTIED}
        self.faults = said + [fault for fault in self.faults if (fault.row, fault.code) not in told]
        self.typed, self.days, self.near = (
            pd.concat(same, ignore_index=True) if len(same) > 1 else same[0].copy(deep=False)
            for same in ([getattr(piece, name) for piece in pieces] for name in ("typed", "days", "near"))
        )
        self.as_days = np.concatenate([piece.as_days for piece in pieces])
        self._name_footers()
        if "fees" in columns and parts:
            self._turn_fees()
        self.loose = self._loose(timezone, exchange_timezone)

    @classmethod
    def of(
        cls, kind: Kind, parts: Sequence[Part], *, typed: pd.DataFrame, days: pd.DataFrame, faults: Sequence[Fault]
    ) -> Self:
        """Rows that were read before, none of a file of dates alone, nor with a time that the clocks leave open."""
        rows = cls.__new__(cls)
        rows.kind, rows.parts, rows.columns = kind, parts, COLUMNS[kind]
        rows.cells = _cells([part for part in parts if len(part.cells)], COLUMNS[kind])
        rows.file = np.repeat(np.arange(len(parts)), [len(part.line) for part in parts])
        rows.line = np.concatenate([np.empty(0, np.intp), *(part.line for part in parts)])
        rows.typed, rows.days, rows.faults = typed, days, [*faults]
        rows.near, rows.as_days, rows.loose = pd.DataFrame(index=typed.index), np.zeros(len(typed), dtype=bool), []
        return rows

    @classmethod
    def merged(cls, kind: Kind, parts: Sequence[Part], pieces: Sequence[Rows]) -> Self:
        """Rows of some of the parts each as those of all, in the order of the parts."""
        place = {part.name: number for number, part in enumerate(parts)}
        file = np.concatenate([np.array([place[part.name] for part in piece.parts])[piece.file] for piece in pieces])
        order = np.argsort(file, kind="stable")
        new = np.argsort(order)
        begins = np.cumsum([0, *(len(piece.typed) for piece in pieces)]).tolist()
        rows = cls.__new__(cls)
        rows.kind, rows.columns = kind, COLUMNS[kind]
        named = {part.name: part for piece in pieces for part in piece.parts}
        rows.parts = [named[part.name] for part in parts]
        rows.file = file[order]
        rows.line, rows.as_days = (
            np.concatenate([getattr(piece, name) for piece in pieces])[order] for name in ("line", "as_days")
        )
        rows.cells, rows.typed, rows.days, rows.near = (
            pd.concat([getattr(piece, name) for piece in pieces], ignore_index=True).take(order).reset_index(drop=True)
            for name in ("cells", "typed", "days", "near")
        )
        rows.faults = [
            fault._replace(row=int(new[fault.row + begin]))
            for piece, begin in zip(pieces, begins, strict=False)
            for fault in piece.faults
        ]
        rows.loose = []
        return rows

    def only(self, mask: NDArray[np.bool_], faults: Sequence[Fault]) -> Rows:
        """Some rows, with those of the faults that are theirs."""
        number = np.cumsum(mask) - 1
        ends = np.cumsum([0, *(len(part.line) for part in self.parts)])
        parts = [
            replace(
                part,
                cells=self.cells[begin:end][mask[begin:end]].reset_index(drop=True),
                line=part.line[mask[begin:end]],
            )
            for part, (begin, end) in zip(self.parts, pairwise(ends.tolist()), strict=True)
        ]
        return Rows.of(
            self.kind,
            parts,
            typed=self.typed[mask].reset_index(drop=True),
            days=self.days[mask].reset_index(drop=True),
            faults=[fault._replace(row=int(number[fault.row])) for fault in faults if mask[fault.row]],
        )

    def reject_duplicates(self, identity: Sequence[str], code: str) -> None:
        """Compare rows by their typed cells, and by the text of cells that could not be read.

        Of a row without a name, whatever else its file says may tell it apart from another.
        """
        if not repeats(self.typed, identity):
            return
        columns = [*COLUMNS[self.kind]]
        unread = [""] * len(self.typed)
        for fault in self.faults:
            unread[fault.row] += fault.detail
        names = list(identity)
        nameless = self.typed[names].isna().any(axis=1) if names else pd.Series(True, index=self.typed.index)
        beside = self.cells.drop(columns=columns, errors="ignore").where(nameless).add_prefix("beside ")
        content = pd.concat([self.typed[columns].assign(unread=unread), beside], axis=1)
        self.faults += duplicate_faults(content, names, self.file, code=code, place=self.place)

    def accepted(self) -> pd.DataFrame:
        """Typed rows without a fault."""
        flawless = self.flawless()
        rows: pd.DataFrame = self.typed if flawless.all() else self.typed[flawless].reset_index(drop=True)
        return rows.copy(deep=False)

    def accepted_with_origin(self) -> pd.DataFrame:
        """Typed rows without a fault, each with its ``source_file`` and ``line``."""
        names = pd.array([part.name for part in self.parts], dtype="str").take(self.file)
        rows: pd.DataFrame = self.typed.assign(source_file=names, line=self.line)[self.flawless()]
        return rows.reset_index(drop=True)

    def rejected(self) -> pd.DataFrame:
        """Rows with faults and lines that are no row, as `Intake.rejected`."""
        reasons: dict[int, dict[str, None]] = {}
        details: dict[int, list[str]] = {}
        for row, code, detail in self.faults:
            reasons.setdefault(row, {})[code] = None
            details.setdefault(row, []).append(detail)
        faulty = sorted(reasons)
        # Rows are taken out of cells that are put together for it: not where there are none to take.
        written = self.cells.iloc[faulty].to_dict("records") if faulty else []
        records: list[tuple[Any, ...]] = [
            (
                self.parts[self.file[row]].name,
                self.line[row],
                self.kind,
                ";".join(reasons[row]),
                "; ".join(details[row]),
                _content({name: cell for name, cell in cells.items() if isinstance(cell, str)}),
            )
            for row, cells in zip(faulty, written, strict=True)
        ]
        for part in self.parts:
            records += [
                (part.name, line, self.kind, "malformed_row", why, _content(said)) for line, why, said in part.malformed
            ]
        return framed(records, REJECTED_TYPES)

    def account(self) -> list[tuple[Any, ...]]:
        """Say what was read of each file and what became of it, as rows of `Intake.files`."""
        flawless = self.flawless()
        codes: dict[int, set[str]] = {}
        for fault in self.faults:
            codes.setdefault(fault.row, set()).add(fault.code)
        repeats, unhurt = np.zeros((2, len(flawless)), dtype=bool)
        for row, found in codes.items():
            repeats[row] = "exact_duplicate" in found
            unhurt[row] = not repeats[row] and found <= {*UNHURT}
        return [
            (
                part.name,
                self.kind,
                part.read + aside,
                int(flawless[mine].sum()) + aside,
                int((~flawless[mine]).sum()) + len(part.malformed),
                int(repeats[mine].sum()),
                ";".join(unread(part, COLUMNS[self.kind])),
                int(unhurt[mine].sum()),
                part.left_out,
                part.version or None,
            )
            for part, mine in zip(self.parts, self._slices(), strict=True)
            for aside in [self.aside[part.name].rows if part.name in self.aside else 0]
        ]

    def findings(self) -> list[LedgerFinding]:
        """What is to be said of whole files."""
        return [
            LedgerFinding(
                code="dates_read_as_days",
                source_file=self.parts[number].name,
                message="every time is a midnight: each is read as that date of the exchange, whatever zone is written",
                figures={"rows": float((self.file == number).sum())},
                setting="write dates alone, or times of day",
            )
            for number in sorted({*self.file[self.as_days].tolist()})
        ]

    def flawless(self) -> NDArray[np.bool_]:
        """Whether a row has no fault, shape (n,)."""
        flawless = np.ones(len(self.typed), dtype=bool)
        flawless[[fault.row for fault in self.faults]] = False
        return flawless

    def place(self, row: int) -> str:
        """Say where a row was read."""
        return f"{self.parts[self.file[row]].name} line {self.line[row]}"

    def _alike(self) -> Iterator[tuple[Reading, slice]]:
        """Runs of rows whose files read alike; one of nothing where there are no files."""
        slices = self._slices()
        runs = [
            (reading, [number for number, _ in run])
            for reading, run in groupby(enumerate(self.parts), key=lambda each: each[1].reading)
        ]
        for reading, run in runs:
            yield reading, slice(slices[run[0]].start, slices[run[-1]].stop)
        if not runs:
            yield Reading(), slice(0, 0)

    def _slices(self) -> list[slice]:
        ends = np.cumsum([0, *(len(part.line) for part in self.parts)]).tolist()
        return [slice(start, end) for start, end in pairwise(ends)]

    def _name_footers(self) -> None:
        """Say of lines at the end of a file that seem to be no rows which setting leaves them out."""
        if not self.faults and not any(part.malformed for part in self.parts):
            return
        needed = sum(column.required for column in COLUMNS[self.kind].values())
        empty = np.bincount(
            [fault.row for fault in self.faults if fault.code.startswith("missing_")], minlength=len(self.typed)
        )
        # Faults of a row are in the order of its columns; the hint goes to the last of them.
        at = {fault.row: number for number, fault in enumerate(self.faults)}
        parts = []
        for part, mine in zip(self.parts, self._slices(), strict=True):
            rows = [(line, -1) for line, _, _ in part.malformed]
            rows += [*zip(part.line.tolist(), range(mine.start, mine.stop), strict=True)]
            rows.sort(reverse=True)
            trailing = dict(takewhile(lambda each: each[1] < 0 or 2 * empty[each[1]] > needed, rows))
            hint = f"; where it is a total, `footer: {len(trailing)}` leaves it out"
            marked = [(line, why + hint * (line in trailing), fields) for line, why, fields in part.malformed]
            parts.append(replace(part, malformed=marked))
            for row in trailing.values():
                if row >= 0:
                    fault = self.faults[at[row]]
                    self.faults[at[row]] = fault._replace(detail=fault.detail + hint)
        self.parts = parts

    def _turn_fees(self) -> None:
        """Make fees costs, and refuse files that seem to write them otherwise than the source says."""
        fees = self.typed["fees"].to_numpy(dtype=float, copy=True)
        for part, mine in zip(self.parts, self._slices(), strict=True):
            setting = part.reading.fees_sign
            if setting == "negative_is_cost":
                fees[mine] = 0.0 - fees[mine]
            if mostly_negative(fees[mine]):
                found, other = (
                    ("negative", "negative_is_cost")
                    if setting == "positive_is_cost"
                    else (
                        "positive",
                        "positive_is_cost",
                    )
                )
                raise LedgerError(
                    f"{part.name}: fees: most are {found}, and would be booked as gains; where they are costs, set "
                    f"fees_sign: {other}"
                )
        self.typed["fees"] = fees

    def _loose(self, timezone: str, exchange_timezone: str) -> list[dict[Any, Any]]:
        columns = COLUMNS[self.kind]
        found = list[dict[Any, Any]]()
        for number, part in enumerate(self.parts):
            if not part.malformed:
                continue
            said = [
                dict(zip(part.header, fields, strict=False)) | part.reading.constants for _, _, fields in part.malformed
            ]
            cells = pd.DataFrame(said, columns=[*columns], dtype="str")
            read = parse_cells(cells, columns, formats(part.reading, timezone, exchange_timezone))
            found += [
                {**cells, "part": number, "line": line, "why": why}
                for cells, (line, why, _) in zip(read.typed.to_dict("records"), part.malformed, strict=True)
            ]
        return found


def _cells(parts: Sequence[Part], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Cells of all parts: our columns in our order, then theirs; none that no part has."""
    if not parts:
        return _NO_CELLS
    cells = parts[0].cells if len(parts) == 1 else pd.concat([part.cells for part in parts], ignore_index=True)
    ours = [name for name in columns if name in cells]
    names = [*ours, *(name for name in cells if name not in columns)]
    return cells if names == [*cells] else cells[names]


_NO_CELLS = pd.DataFrame(index=pd.RangeIndex(0))


def _content(cells: Mapping[Any, str] | Sequence[str]) -> str:
    return json.dumps(cells, ensure_ascii=False)


REJECTED_TYPES = {
    "source_file": "str",
    "line": "int64",
    "kind": "str",
    "reasons": "str",
    "details": "str",
    "content": "str",
}
FILE_TYPES = {
    "source_file": "str",
    "kind": "str",
    "read": "int64",
    "accepted": "int64",
    "rejected": "int64",
    "duplicates": "int64",
    "ignored_columns": "str",
    "unhurt": "int64",
    "left_out": "int64",
    "version": "str",
}


def gather(
    source: LedgerSource,
    root: Path,
    exchange_timezone: str,
    kinds: Collection[Kind] = tuple(COLUMNS),
    kept: Kept | None = None,
    aside: Aside | None = None,
) -> dict[Kind, Rows]:
    """Read all files of a ledger that are of some kinds, each kind's in the order of their names.

    With ``kept``, files that are as they were the last time are not parsed again; with ``aside``, lots are only those
    that are to be judged with others.

    Raises
    ------
    LedgerError
        A file cannot be a ledger, a column that may change what its rows mean is not read, or a row is read twice.
    """
    taken: dict[str, list[tuple[Kind, Part]]] = {}
    read = read_part if kept is None else kept.part
    parts = {kind: [*_parts_of(source, root, kind, taken, read, aside)] for kind in kinds}
    allocated = [part for part in parts.get("returns", ()) if part.reading.allocations]
    if allocated and (closes := read_prices(source, root)) is not None:

        def written(reading: Reading) -> Formats:
            return formats(reading, source.timezone, exchange_timezone)

        computed = dict(zip(map(id, allocated), returns_of(allocated, closes, written), strict=True))
        parts["returns"] = [computed.get(id(part), part) for part in parts["returns"]]
    return {
        kind: aside.rows(parts[kind])
        if aside and kind == "lots"
        else Rows(kind, parts[kind], source.timezone, exchange_timezone)
        for kind in kinds
    }


def _parts_of(
    source: LedgerSource,
    root: Path,
    kind: Kind,
    taken: dict[str, list[tuple[Kind, Part]]],
    read: Callable[[File, Reading], Part],
    aside: Aside | None,
) -> Iterator[Part]:
    key = f"ledger {source.name}: {kind}"
    entries = [(entry, entry.reading(source)) for entry in getattr(source, kind) or ()]
    found = _found(source, root, kind)
    alone = _found_once(source, root, found) if aside and kind == "lots" else ()
    for path, number in sorted(found):
        before = taken.setdefault(path, [])
        entry, reading = entries[number]
        if any(other == kind and earlier.reading == reading for other, earlier in before):
            continue
        file, rule = found[path, number], reading.strategy_from
        if aside and file and path in alone and not isinstance(rule, ByTable):
            yield aside.part(file, reading, partial(_in_words, file, reading, kind))
            continue
        part = read(file, reading) if file else queried(entry.query, reading)
        part = mapped(part, COLUMNS[kind], read_part(file_at(root, rule.table)) if isinstance(rule, ByTable) else None)
        if before:
            same = sum(other == kind for other, _ in before)
            part = replace(part, name=f"{path}#{kind}{f'-{same + 1}' if same else ''}")
        _require_once(path, kind, part, before)
        before.append((kind, part))
        if reading.allocations:
            if kind != "returns":
                raise LedgerError(f"{key}: allocations: are of returns; name the file there")
            yield part
            continue
        wide = long_parts(part, source.frequency) if kind == "returns" else [part]
        for each in wide:
            require_columns(each, COLUMNS[kind])
            # Beside a daily return nothing changes what it means, and of a wide file columns are named by strategies.
            if kind != "returns":
                require_meaning_read(each, COLUMNS[kind])
            yield each


def _in_words(file: File, reading: Reading, kind: Kind, read: Callable[[File, Reading], Part]) -> Part:
    """A file whose rows stand on lines of their own, in the ledger's words."""
    part = mapped(read(file, reading), COLUMNS[kind], None)
    require_columns(part, COLUMNS[kind])
    require_meaning_read(part, COLUMNS[kind])
    return part


def _found(source: LedgerSource, root: Path, kind: Kind) -> dict[tuple[str, int], File | None]:
    """Files and queries of a kind by their name and the number of the entry that names them."""
    key = f"ledger {source.name}: {kind}"
    found: dict[tuple[str, int], File | None] = {}
    for number, entry in enumerate(getattr(source, kind) or ()):
        if entry.query:
            found[entry.query.name, number] = None
        else:
            found |= {(file.path, number): file for file in find_files(root, entry.files or (), key)}
    return found


def _found_once(source: LedgerSource, root: Path, found: Collection[tuple[str, int]]) -> set[str]:
    """Paths that one entry of one kind names."""
    others = [path for kind in COLUMNS if kind != "lots" for path, _ in _found(source, root, kind)]
    times = Counter([*others, *(path for path, _ in found)])
    return {path for path, number in times.items() if number == 1}


def queried(query: RowSource, reading: Reading) -> Part:
    """Rows of a database as those of one file, whose lines are their ordinals."""
    table = read_rows(query)
    if not table.column_names:
        raise LedgerError(f"{query.name}: has no rows; correct what is asked for, or leave it out")
    cells = table.to_pandas()
    return Part(name=query.name, cells=cells, line=np.arange(1, 1 + len(cells)), header=list(cells), reading=reading)


def parsed(
    cells: pd.DataFrame,
    columns: Mapping[str, Column],
    reading: Reading,
    formats: Formats,
    file: Indices,
    others: Mapping[int, pd.DataFrame],
) -> Parsed:
    """Cells read, with numbers that a file states in several columns added up."""
    if not file.size:
        return _nothing(tuple(columns.items()))
    if not (added := summands(reading, columns)):
        return parse_cells(cells, columns, formats, file, others)
    parts = {name: Column(kind="number", required=False) for terms in added.values() for name, _ in terms[1:]}
    read = parse_cells(cells, {**columns, **parts}, formats, file, others)
    typed = read.typed
    for ours, terms in added.items():
        figures = pd.DataFrame({name: typed[name] * sign for name, sign in terms})
        typed[ours] = figures.sum(axis=1, min_count=1)
    return replace(read, typed=typed[[*columns]])


@lru_cache(maxsize=32)
def _nothing(columns: tuple[tuple[str, Column], ...]) -> Parsed:
    """What is read where a ledger has no rows of a kind, made once: few have rows of all."""
    cells = pd.DataFrame(columns=[name for name, _ in columns], dtype="str")
    return parse_cells(cells, dict(columns), Formats(), np.empty(0, np.intp), {})


def _require_once(path: str, kind: Kind, part: Part, before: Sequence[tuple[Kind, Part]]) -> None:
    """Refuse a file some line of which is a row of two kinds, or twice a row of one, and states a number to both."""
    for other, earlier in before:
        if not _numbers(kind, part) & _numbers(other, earlier):
            continue
        both = [*np.intersect1d(part.line, earlier.line).tolist(), *(line for line, _, _ in part.malformed)]
        if both:
            raise LedgerError(
                f"{path}: line {min(both)} is read both as {other} and as {kind}; say with `where` which rows are which"
            )


def _numbers(kind: Kind, part: Part) -> set[str]:
    """Columns of a file that numbers are read from."""
    ours = [name for name, column in COLUMNS[kind].items() if column.kind == "number" and name in part.cells]
    return {theirs for name in ours for theirs in part.reading.columns.get(name, (name,))}


def require_meaning_read(part: Part, columns: Mapping[str, Column]) -> None:
    """Refuse a column that no rule reads although its name says that it may change what a row means."""
    loaded = [
        name for name in unread(part, columns) if MEANING & {*re.split(r"[^a-z]+", name.casefold()), name.casefold()}
    ]
    if loaded:
        named = ", ".join(map(repr, loaded))
        raise LedgerError(
            f"{part.name}: column {named}: no rule reads it, and its name says that it may change what a row means; "
            f"map it under columns, or list it under ignore"
        )


def formats(reading: Reading, timezone: str, exchange_timezone: str) -> Formats:
    """How the cells of a file read."""
    return Formats(
        decimal=reading.decimal,
        thousands=reading.thousands,
        currency_signs=reading.currency_signs,
        negatives=reading.negatives,
        unsigned=reading.unsigned,
        time_format=reading.time_format,
        settable=True,
        timezone=timezone,
        exchange_timezone=exchange_timezone,
    )


def long_parts(part: Part, frequency: Frequency = DAILY) -> list[Part]:
    """Returns as long rows: each strategy's column of a wide file becomes a part of its own.

    Of monthly returns a date may be a month alone, such as 2024-03.
    """
    parts = _long_parts(part)
    if not frequency.monthly:
        return parts
    return [
        replace(part, cells=part.cells.assign(session=part.cells["session"].str.replace(_MONTH, r"\1-01", regex=True)))
        if "session" in part.cells
        else part
        for part in parts
    ]


def _long_parts(part: Part) -> list[Part]:
    names = [*part.cells, *part.unreadable]
    if {"strategy", "daily_return"} & {name.casefold() for name in names}:
        return [part]
    date = next((name for name in ("date", "session") if name in part.cells), None)
    if date is None or len(names) < 2 or part.unreadable:
        raise LedgerError(
            f"{part.name}: expected the columns {', '.join(RETURN_COLUMNS)}, or a date and one column of "
            f"numbers per strategy; found {', '.join(names)}"
        )
    rowless = replace(
        part, cells=pd.DataFrame(columns=[*RETURN_COLUMNS], dtype="str"), line=part.line[:0], header=[*RETURN_COLUMNS]
    )
    parts = [rowless] if part.malformed else []
    for strategy in part.cells.columns.drop(date):
        values = part.cells[strategy]
        given = (values.notna() & (values.str.strip() != "")).to_numpy()
        cells = pd.DataFrame({"session": part.cells[date], "strategy": strategy, "daily_return": values})
        column = Part(
            name=f"{part.name}#{strategy}",
            cells=cells[given].reset_index(drop=True),
            line=part.line[given],
            header=[*cells],
            reading=part.reading,
            version=part.version,
        )
        parts.append(column)
    return parts
