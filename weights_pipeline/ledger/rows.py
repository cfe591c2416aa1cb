"""Rows of a ledger's files: parsed, faulted, and either accepted or rejected.

Here belongs the account of every row of one kind. Here do not belong the rules, which are in ``core``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.lots import (
    FILL_COLUMNS,
    LOT_COLUMNS,
    RETURN_COLUMNS,
    Column,
    duplicate_faults,
    parse_cells,
)
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, list_files, read_part, require_columns
from weights_pipeline.ledger.source import Kind, LedgerSource

Indices = NDArray[np.intp]

COLUMNS: Mapping[Kind, Mapping[str, Column]] = {
    "lots": LOT_COLUMNS,
    "fills": FILL_COLUMNS,
    "returns": RETURN_COLUMNS,
}


class Rows:
    """All rows of one kind, over all its files, and the faults found in them."""

    def __init__(self, kind: Kind, parts: Sequence[Part], timezone: str, exchange_timezone: str) -> None:
        columns = COLUMNS[kind]
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
        beside = self.cells.drop(columns=[*COLUMNS[self.kind]]).where(nameless).add_prefix("beside ")
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
                ";".join(sorted({*part.cells, *part.unreadable} - {*COLUMNS[self.kind]})),
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


def gather(source: LedgerSource, root: Path, kind: Kind, exchange_timezone: str) -> Rows:
    """Read all files of one kind, in the order of their paths."""
    patterns: Sequence[str] = getattr(source, kind) or ()
    parts = [read_part(root, path) for path in list_files(root, patterns, f"ledger {source.name}: {kind}")]
    if kind == "returns":
        parts = [part for file in parts for part in long_parts(file)]
    for part in parts:
        require_columns(part, COLUMNS[kind])
    return Rows(kind, parts, source.timezone, exchange_timezone)


def long_parts(part: Part) -> list[Part]:
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
        column = Part(
            name=f"{part.name}#{strategy}",
            cells=cells[given].reset_index(drop=True),
            line=part.line[given],
        )
        parts.append(column)
    return parts
