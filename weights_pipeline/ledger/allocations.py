"""Files of allocations, in place of returns: what share of a strategy was in which symbol on each date.

Scope: from such rows and the ledger's closes to rows of returns, with what is in the way of one. Not here: the formula
(``core.returns.allocated``), and what becomes of the rows (``rows``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.allocated import allocated_returns
from weights_pipeline.core.returns.cells import Column, Fault, Formats, parse_cells
from weights_pipeline.core.returns.lots import RETURN_COLUMNS
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, require_columns
from weights_pipeline.ledger.vocabulary import PLAIN, Reading

NO_RETURN = "no_return"
"""Reason of a row whose return cannot be computed."""

LONGEST = pd.Timedelta(days=7)
"""Rows further apart are no consecutive sessions: what was held in between is not known."""

_PERCENTAGE = r"^(-|\d+(?:\.\d+)?%)$"
_BESIDE = ("session", "strategy", "line", "flaw", "part")
_DATE = {"session": Column(kind="date")}


def returns_of(parts: Sequence[Part], closes: pd.DataFrame, formats: Callable[[Reading], Formats]) -> list[Part]:
    """The same parts with the return of each of their rows; files of one strategy go on from one another.

    Parameters
    ----------
    parts
        As :func:`~weights_pipeline.ledger.mapping.mapped` gives them: ``session``, ``strategy`` and a column of
        percentages for each symbol.
    closes
        Dates × symbols.
    formats
        How the cells of a file read.

    Raises
    ------
    LedgerError
        A file has no date, no strategy or no symbol.
    """
    read = pd.concat([_read(part, formats(part.reading)).assign(part=i) for i, part in enumerate(parts)])
    read = read.reset_index(drop=True)
    symbols = [str(name) for name in read if name not in _BESIDE]
    # A symbol that a file has no column of was not held; a flawed row is unknown as a whole.
    read[symbols] = read[symbols].fillna(0.0)
    read.loc[read["flaw"].notna(), symbols] = np.nan
    texts, why = pd.Series("", index=read.index, dtype="str"), read["flaw"].astype("str")
    broken = {i for i, part in enumerate(parts) if part.malformed} | {*read.loc[read["session"].isna(), "part"]}
    for _, rows in read[read["session"].notna()].groupby("strategy"):
        own = rows.sort_values(["session", "part", "line"])
        first = own.drop_duplicates("session")
        differing = _differing(own, symbols)
        why[own.index[own["session"].isin(differing)]] = "session: stands twice, with other allocations"
        weights = first.set_index("session")[symbols]
        weights.loc[weights.index.isin(differing)] = np.nan
        computed = allocated_returns(weights, closes)
        said = {now: f"no close of {symbol} on {on:%Y-%m-%d}" for now, (symbol, on) in computed.lacking.items()}
        said |= _unknown(first, weights, broken)
        texts[own.index] = own["session"].map({day: repr(value) for day, value in computed.returns.items()})
        why[own.index] = why[own.index].fillna(own["session"].map(said).astype("str"))
    texts = texts.where(why.isna(), "")
    found = []
    for i, part in enumerate(parts):
        mine = read["part"] == i
        dates = read.loc[mine, "session"].dt.strftime("%Y-%m-%d")
        cells = pd.DataFrame(
            {
                "session": dates.reset_index(drop=True).fillna(part.cells["session"]),
                "strategy": part.cells["strategy"],
                "daily_return": texts[mine].to_numpy(),
            }
        )
        faults = [
            Fault(row, NO_RETURN, f"daily_return: {detail}")
            for row, detail in enumerate(why[mine].tolist())
            if isinstance(detail, str)
        ]
        found.append(replace(part, cells=cells, header=[], reading=PLAIN, faults=[*part.faults, *faults]))
    return found


def _read(part: Part, formats: Formats) -> pd.DataFrame:
    """Date, strategy and shares of each row, and the first cell of it that is none."""
    require_columns(part, {name: RETURN_COLUMNS[name] for name in ("session", "strategy")})
    symbols = [name for name in part.cells if name not in {"session", "strategy", *part.reading.looked_at}]
    if not symbols:
        raise LedgerError(f"{part.name}: expected a column for each symbol beside the date; found none")
    cells = part.cells[symbols].fillna("").apply(lambda text: text.str.strip())
    right = cells.apply(lambda text: text.str.fullmatch(_PERCENTAGE))
    shares = cells.where(right & (cells != "-"), "0%").apply(lambda text: text.str.rstrip("%").astype(float) / 100)
    flaw = pd.Series(None, index=cells.index, dtype="str")
    for name in reversed(symbols):
        wrong = ~right[name]
        flaw[wrong] = [f"{name}: {text!r} is no share such as 12.5%, or - for none" for text in cells.loc[wrong, name]]
    for fault in part.faults:
        flaw[fault.row] = fault.detail
    dates = parse_cells(part.cells[["session"]], _DATE, formats).typed["session"]
    found: pd.DataFrame = shares.assign(session=dates, strategy=part.cells["strategy"], line=part.line, flaw=flaw)
    return found


def _differing(own: pd.DataFrame, symbols: Sequence[str]) -> set[pd.Timestamp]:
    """Dates that rows give different allocations of."""
    distinct = own.drop_duplicates(["session", *symbols])
    return {*distinct.loc[distinct.duplicated("session"), "session"]}


def _unknown(rows: pd.DataFrame, weights: pd.DataFrame, broken: set[int]) -> Mapping[pd.Timestamp, str]:
    """By date, why the allocation before it is not known."""
    found = dict[pd.Timestamp, str]()
    known = weights.notna().all(axis=1).to_numpy()
    places = [*zip(rows["session"], rows["part"], rows["line"], strict=True)]
    for place, ((since, part, line), (day, other, next_line)) in enumerate(pairwise(places)):
        if not known[place]:
            found[day] = f"the allocation of {since:%Y-%m-%d} is not known"
        elif day - since > LONGEST:
            found[day] = f"no allocation is given between {since:%Y-%m-%d} and {day:%Y-%m-%d}"
        elif {part, other} & broken and (part != other or abs(line - next_line) > 1):
            found[day] = f"a line between {since:%Y-%m-%d} and {day:%Y-%m-%d} cannot be read"
    return found
