"""How a ledger's rows were understood: the first of them before and after, and what each strategy's come to.

Scope: what a person looks at before they rely on a file. Not here: reading it (``rows``, ``intake``), nor printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from weights_pipeline.core.returns.cells import Column
from weights_pipeline.ledger.files import Part
from weights_pipeline.ledger.mapping import SHOWN
from weights_pipeline.ledger.vocabulary import ByColumn, ByFile, Reading

if TYPE_CHECKING:
    from weights_pipeline.ledger.intake import Intake
    from weights_pipeline.ledger.rows import Rows


class Cell(NamedTuple):
    """One of our columns in one row: where it comes from, what is written there, and what that was read as.

    Times are read in UTC.
    """

    column: str
    theirs: str
    written: str
    read: str


class SampleRow(NamedTuple):
    """A row: where it stands, its cells, and why it was rejected, if it was."""

    line: int
    cells: Sequence[Cell]
    reasons: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """First rows of a file, as they are written and as they were read."""

    source_file: str
    kind: str
    rows: Sequence[SampleRow]

    @property
    def foreign(self) -> bool:
        """Whether anything stands in the file otherwise than a ledger calls it."""
        return any(cell.theirs not in ("", cell.column) for row in self.rows for cell in row.cells)


def samples(rows: Rows, currency: str) -> Iterator[Sample]:
    """Yield the first rows of the first file of each way of reading; amounts are in a currency, unless they say so."""
    seen: list[Reading] = []
    reasons: dict[int, list[str]] = {}
    for fault in rows.faults:
        reasons.setdefault(fault.row, []).append(fault.code)
    for number, part in enumerate(rows.parts):
        aside = rows.aside.get(part.name)
        if part.reading in seen or not (len(part.line) or aside):
            continue
        seen.append(part.reading)
        if aside:
            why = {rows.line[row]: codes for row, codes in reasons.items() if rows.file[row] == number}
            written, typed = aside.first()
            by_place = {place: why[line] for place, line in enumerate(written.line.tolist()) if line in why}
            yield sample(written, rows.kind, rows.columns, typed.fillna({"currency": currency}), by_place)
            continue
        begin = int((rows.file < number).sum())
        typed = rows.typed.iloc[begin : begin + min(SHOWN, len(part.line))]
        yield sample(part, rows.kind, rows.columns, typed, reasons, begin)


def sample(
    part: Part,
    kind: str,
    columns: Mapping[str, Column],
    typed: pd.DataFrame,
    reasons: Mapping[int, Sequence[str]] | None = None,
    begin: int = 0,
) -> Sample:
    """First rows of one file.

    Parameters
    ----------
    part, kind
        The file, in the ledger's words, and what its rows are.
    columns
        The ledger's columns.
    typed
        Its first rows as they were read.
    reasons
        Why rows were rejected, by their number.
    begin
        Number of the first row.
    """
    written = part.written if len(part.written) else part.cells.head(SHOWN)
    shown = []
    read, wrote = ({str(name): rows[name].tolist() for name in rows} for rows in (typed, written))
    for i in range(min(len(typed), len(written))):
        row = {name: cells[i] for name, cells in wrote.items()}
        cells = [Cell(name, *_origin(name, part, row), _text(read[name][i], of)) for name, of in columns.items()]
        known = [cell for cell in cells if cell.theirs or cell.read]
        shown.append(SampleRow(int(part.line[i]), known, (reasons or {}).get(begin + i, ())))
    return Sample(source_file=part.name, kind=kind, rows=shown)


def _origin(name: str, part: Part, written: Mapping[Any, Any]) -> tuple[str, str]:
    """Where a column comes from, and what is written there; empty where it does not occur."""
    reading = part.reading
    match reading.strategy_from if name == "strategy" else None:
        case ByColumn(column=column):
            return column, _cell(written, column)
        case ByFile():
            return "(path)", part.name
        case None:
            pass
        case _:
            return "(table)", ""
    if name in reading.columns:
        theirs = reading.columns[name]
        return ", ".join(theirs), ", ".join(_cell(written, each) for each in theirs)
    if name in reading.constants:
        return "(constant)", reading.constants[name]
    return (name, _cell(written, name)) if name in written else ("", "")


def _cell(written: Mapping[Any, Any], name: str) -> str:
    cell = written.get(name, written.get(name.removeprefix("-")))
    return cell if isinstance(cell, str) else ""


def _text(value: Any, column: Column) -> str:
    if pd.isna(value):
        return ""
    match column.kind:
        case "number":
            return f"{value:.15g}"
        case "time":
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case "date":
            return f"{value:%Y-%m-%d}"
        case _:
            return str(value)


class Summary(NamedTuple):
    """What the rows of one strategy come to: its first and last session, and what was booked until then.

    ``compounded`` is of delivered returns, and null where there are none; ``held`` is the open quantity by symbol, null
    where it is not known.
    """

    strategy: str
    first: pd.Timestamp
    last: pd.Timestamp
    lots: int
    pnl: float
    cash: float
    compounded: float | None
    held: Mapping[str, float | None]


def summaries(intake: Intake) -> list[Summary]:
    """What each strategy's accepted rows come to, by name."""
    lots, cash, returns = intake.lots, intake.cash, intake.returns
    open_now = intake.holdings[intake.holdings["until"].isna()]
    sessions = pd.concat(
        [
            *(frame[["strategy", "session"]] for frame in (lots, cash, returns)),
            *(
                frame[["strategy", "open_session"]].set_axis(["strategy", "session"], axis=1)
                for frame in (lots, open_now)
            ),
        ]
    ).dropna()
    unknown = {(each.strategy, each.symbol) for each in intake.unknown if each.until is None}
    signed = open_now["quantity"].where(open_now["side"] == "long", -open_now["quantity"])
    held = open_now.assign(quantity=signed).groupby(["strategy", "symbol"], as_index=False)["quantity"].sum()
    found = []
    for strategy in sorted({*sessions["strategy"], *(name for name, _ in unknown)}):
        days = sessions.loc[sessions["strategy"] == strategy, "session"]
        own = returns.loc[returns["strategy"] == strategy, "daily_return"]
        mine = held[held["strategy"] == strategy]
        position: dict[str, float | None] = dict(zip(mine["symbol"], mine["quantity"].astype(float), strict=True))
        found.append(
            Summary(
                strategy=strategy,
                first=days.min(),
                last=days.max(),
                lots=int((lots["strategy"] == strategy).sum()),
                pnl=float(lots.loc[lots["strategy"] == strategy, "pnl"].sum()),
                cash=float(cash.loc[cash["strategy"] == strategy, "amount"].sum()),
                compounded=float((1 + own).prod() - 1) if len(own) else None,
                held=position | {symbol: None for name, symbol in sorted(unknown) if name == strategy},
            )
        )
    return found
