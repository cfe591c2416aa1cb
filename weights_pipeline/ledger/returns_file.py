"""One file of daily returns, read by itself: for whoever tries a policy out and has no ledger.

Here belong the reading of that file and of the benchmark beside it. Nothing may be wrong in them: there is no
quarantine, and whoever gave the file is there to correct it. Daily returns that a ledger names are read in ``intake``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Column, Fault, Formats, parse_cells
from weights_pipeline.core.returns.delivered import compounded, delivered, delivery_findings, observation_of
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.returns.identity import duplicate_faults
from weights_pipeline.core.returns.lots import RETURN_COLUMNS, return_faults
from weights_pipeline.ledger.calendars import calendar_sessions, observed_sessions, recorded_bounds
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, read_part, require_columns
from weights_pipeline.ledger.intake import price_series
from weights_pipeline.ledger.places import file_at
from weights_pipeline.ledger.rows import long_parts

_COLUMNS = {
    **RETURN_COLUMNS,
    "closed_lots": Column(kind="number", required=False),
    "winning_lots": Column(kind="number", required=False),
    "active": Column(kind="text", required=False),
}
_LOTS = ["closed_lots", "winning_lots"]
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_MARGIN = pd.Timedelta(days=45)
_FLAWS_SHOWN = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class ReturnsFile:
    """What a file of returns says: the history, and what somebody has to look at."""

    history: ReturnHistory
    findings: tuple[LedgerFinding, ...]


def read_returns_file(
    file: Path, *, calendar: str, strategies: Collection[str], frequency: Frequency = DAILY
) -> ReturnsFile:
    """Read returns of a book's strategies.

    Parameters
    ----------
    file
        CSV or Parquet. Either long (``session``, ``strategy``, ``daily_return`` and perhaps ``closed_lots``,
        ``winning_lots`` and ``active``, as in the table ``strategy_returns``) or wide (``date`` or ``session``, and one
        column per strategy). Other columns of a long file are not looked at. Sessions without a row or with an empty
        cell, and days without a session: see :mod:`~weights_pipeline.core.returns.delivered`. A strategy with lots
        never ends.
    calendar
        Calendar of the exchange that says what a session is.
    strategies
        Names that may occur.
    frequency
        How often returns are observed.

    Returns
    -------
    ReturnsFile
        The history is on every session from the first of the month in which the returns begin to their last. Where the
        file does not say what is active, that is a strategy whose return is not 0.

    Raises
    ------
    LedgerError
        The file cannot be read, or anything in it is wrong; the message says on which lines (of Parquet: rows).
    """
    file = file.resolve()
    parts = long_parts(read_part(file_at(file.parent, file.name)), frequency)
    for part in parts:
        require_columns(part, _COLUMNS)
    cells = pd.concat([part.cells for part in parts], ignore_index=True)
    lines = np.concatenate([part.line for part in parts])
    parsed = parse_cells(cells, _COLUMNS, Formats())
    typed, faults = parsed.typed, parsed.faults
    days = typed["session"].dropna()
    if days.empty:
        _refuse(parts, lines, faults)
        raise LedgerError(f"{file.name}: has no row below its header; expected {', '.join(RETURN_COLUMNS)}")

    low, high = (pd.Timestamp(day) for day in recorded_bounds(calendar))
    around = calendar_sessions(calendar, max(days.min() - _MARGIN, low).date(), min(days.max() + _MARGIN, high).date())
    observed = observed_sessions(calendar, frequency, around)
    typed = typed.assign(stands_on=observation_of(typed["session"], observed, frequency))
    faults += return_faults(typed, first=observed[0], last=observed[-1])
    content = typed.assign(active=typed["active"].str.lower())
    identity = "stands_on" if frequency.monthly else "session"
    faults += duplicate_faults(
        content,
        [identity, "strategy"],
        np.zeros(len(content), dtype=np.intp),
        code="duplicate_return",
        place=lambda row: f"line {lines[row]}",
    )
    faults += _lot_faults(typed) + _flag_faults(content["active"]) + _unknown(typed["strategy"], strategies)
    _refuse(parts, lines, faults)

    places = np.repeat([part.name for part in parts], [len(part.line) for part in parts])
    rows = content.rename(columns={"session": "date", "stands_on": "session"}).assign(source_file=places, line=lines)
    first, last = rows["session"].min().replace(day=1), rows["session"].max()
    sessions = observed[(observed >= first) & (observed <= last)]
    try:
        history = _history(rows, sessions, frequency)
    except ValueError as error:
        raise LedgerError(f"{file.name}: {error}") from error
    return ReturnsFile(history=history, findings=tuple(delivery_findings(rows, sessions, frequency, last)))


def _history(rows: pd.DataFrame, sessions: pd.DatetimeIndex, frequency: Frequency) -> ReturnHistory:
    """Rows that are all in order, on sessions."""
    stated = rows["active"].map(_FLAGS.get, na_action="ignore")
    flags = stated.where(stated.notna(), rows["daily_return"] != 0).astype(bool)
    together = rows.assign(active=flags).groupby(["session", "strategy"])
    spread = {
        name: values.unstack("strategy").reindex(sessions)
        for name, values in together.agg({**dict.fromkeys(_LOTS, "sum"), "active": "any"}).items()
    }
    counted = rows.groupby("strategy")[_LOTS[0]].count() > 0
    of_lots = rows["strategy"].map(counted)
    returns = pd.concat(
        [
            delivered(compounded(rows[of_lots]), sessions, None),
            delivered(compounded(rows[~of_lots]), sessions, frequency.ended_after),
        ],
        axis="columns",
    ).sort_index(axis="columns")
    lots = {name: np.asfortranarray(spread[name].fillna(0.0).to_numpy(np.int64)) for name in _LOTS}
    return ReturnHistory(
        sessions=sessions,
        strategies=tuple(returns.columns),
        returns=np.asfortranarray(returns.to_numpy(np.float64)),
        closed_lots=lots["closed_lots"] if counted.any() else None,
        winning_lots=lots["winning_lots"] if counted.any() else None,
        active=np.asfortranarray(spread["active"].fillna(False).to_numpy(np.bool_)),
        without_lots=frozenset(counted.index[~counted]),
    )


def read_benchmark_file(file: Path) -> pd.Series:
    """Prices of a benchmark by date: of the column ``close``, or the only one beside ``date``.

    Raises
    ------
    LedgerError
        There is no such column, or see :func:`~weights_pipeline.ledger.intake.read_benchmark`.
    """
    file = file.resolve()
    names = [str(name) for name in read_part(file_at(file.parent, file.name)).cells if name != "date"]
    if "close" not in names and len(names) != 1:
        raise LedgerError(
            f"{file.name}: expected the columns date and close, or date and one other; found {', '.join(names)}"
        )
    return price_series(file.parent, file.name, "close" if "close" in names else names[0])


def _lot_faults(typed: pd.DataFrame) -> list[Fault]:
    """Lot counts are whole numbers, in all rows of a strategy or in none."""
    faults = []
    has_lots = typed[_LOTS].notna().any(axis=1).groupby(typed["strategy"]).transform("any").fillna(False)
    for name in _LOTS:
        counts = typed[name]
        odd = (counts < 0) | (counts % 1 != 0) & counts.notna()
        faults += [
            Fault(i, "bad_count", f"{name}: {counts[i]:g} is no count of lots") for i in np.flatnonzero(odd).tolist()
        ]
        gaps = np.flatnonzero(counts.isna() & has_lots).tolist()
        faults += [Fault(i, "missing_count", f"{name}: is empty, but lots are given in other rows") for i in gaps]
    return faults


def _flag_faults(active: pd.Series) -> list[Fault]:
    odd = np.flatnonzero(active.notna() & ~active.isin(list(_FLAGS))).tolist()
    return [Fault(i, "bad_flag", f"active: {active[i]!r} is not true or false") for i in odd]


def _unknown(names: pd.Series, strategies: Collection[str]) -> list[Fault]:
    """One fault for each unknown name, at its first row."""
    rows = np.flatnonzero(names.notna() & ~names.isin(list(strategies)) & ~names.duplicated()).tolist()
    known = ", ".join(sorted(strategies))
    return [Fault(i, "unknown_strategy", f"strategy: {names[i]!r} is not in the book, which has {known}") for i in rows]


def _refuse(parts: list[Part], lines: NDArray[np.intp], faults: list[Fault]) -> None:
    flaws = [(line, detail) for part in parts for line, detail, _ in part.malformed]
    flaws += [(int(lines[fault.row]), fault.detail) for fault in faults]
    if not flaws:
        return
    name = parts[0].name.split("#")[0]
    unit = "row" if name.lower().endswith(".parquet") else "line"
    shown = [f"  {unit} {line}: {detail}" for line, detail in sorted(set(flaws))[:_FLAWS_SHOWN]]
    more = ["  …"] if len(set(flaws)) > _FLAWS_SHOWN else []
    raise LedgerError("\n".join([f"{name}: {len(set(flaws))} cells or lines to correct:", *shown, *more]))
