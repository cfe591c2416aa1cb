"""One file of daily returns, read by itself: for whoever tries a policy out and has no ledger.

Scope: that file, by the reader and into the quarantine of a ledger's returns, and the benchmark beside it. Not here:
daily returns that a ledger names (``intake``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.cells import Column, Fault, Formats, parse_cells
from weights_pipeline.core.returns.delivered import compounded, delivered, delivery_findings
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.returns.lots import RETURN_COLUMNS
from weights_pipeline.ledger.calendars import calendar_sessions, observed_sessions, recorded_bounds
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import read_part, require_columns
from weights_pipeline.ledger.intake import judged_returns, price_series
from weights_pipeline.ledger.places import file_at
from weights_pipeline.ledger.rows import Rows, long_parts

_BESIDE = {
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
    """What a file of returns says, and what somebody has to look at.

    Attributes
    ----------
    history
        Its accepted rows, of the strategies asked for.
    findings
        What a ledger would find in them.
    rejected
        The other rows, as `Intake.rejected`.
    read
        Rows in the file.
    strangers
        Strategies of the file that nobody asked for.
    """

    history: ReturnHistory
    findings: tuple[LedgerFinding, ...]
    rejected: pd.DataFrame
    read: int
    strangers: tuple[str, ...]

    def require_whole(self) -> None:
        """Refuse a file of which a row was rejected, or that has a strategy which nobody asked for."""
        if len(self.rejected):
            raise LedgerError(flaws_of(self.rejected))
        if self.strangers:
            raise LedgerError(f"strategies that are not known: {', '.join(self.strangers)}")


def flaws_of(rejected: pd.DataFrame) -> str:
    """Say on which lines rows were rejected, and why."""
    name = str(rejected["source_file"].iloc[0]).split("#")[0]
    unit = "row" if name.lower().endswith(".parquet") else "line"
    rows = rejected[["line", "details"]].drop_duplicates().sort_values("line", kind="stable")
    shown = [f"  {unit} {line}: {details}" for line, details in rows.head(_FLAWS_SHOWN).itertuples(index=False)]
    return "\n".join([f"{name}: {len(rows)} rows to correct:", *shown, *["  …"] * (len(rows) > _FLAWS_SHOWN)])


def read_returns_file(
    file: Path, *, calendar: str, strategies: Collection[str], frequency: Frequency = DAILY
) -> ReturnsFile:
    """Read returns of a book's strategies.

    Parameters
    ----------
    file
        What a ledger may name as returns. Either long (``session``, ``strategy``, ``daily_return`` and perhaps
        ``closed_lots``, ``winning_lots`` and ``active``, as in the table ``strategy_returns``) or wide (``date`` or
        ``session``, and one column per strategy). Other columns of a long file are not looked at. Sessions without a
        row or with an empty cell, and days without a session: see :mod:`~weights_pipeline.core.returns.delivered`. A
        strategy with lots never ends.
    calendar
        Calendar of the exchange that says what a session is.
    strategies
        Names that are asked for; others are left out and told.
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
        The file cannot be read, or none of its rows can be used; the message says on which lines (of Parquet: rows).
    """
    file = file.resolve()
    parts = long_parts(read_part(file_at(file.parent, file.name)), frequency)
    for part in parts:
        require_columns(part, RETURN_COLUMNS)
    rows = Rows("returns", parts, "UTC", "UTC")
    beside = parse_cells(rows.cells, _BESIDE, Formats())
    flags = beside.typed["active"].str.lower()
    counts = beside.typed.assign(strategy=rows.typed["strategy"])
    rows.faults += beside.faults + _lot_faults(counts) + _flag_faults(flags)
    days = rows.typed["session"].dropna()
    if days.empty:
        _refuse(rows, file.name)

    low, high = (pd.Timestamp(day) for day in recorded_bounds(calendar))
    around = calendar_sessions(calendar, max(days.min() - _MARGIN, low).date(), min(days.max() + _MARGIN, high).date())
    observed = observed_sessions(calendar, frequency, around)
    accepted = judged_returns(rows, observed, frequency, observed[0])
    accepted = accepted.assign(**{name: counts.loc[rows.flawless(), name].to_numpy() for name in _LOTS})
    accepted["active"] = flags[rows.flawless()].to_numpy()
    own = accepted[accepted["strategy"].isin(list(strategies))]
    strangers = tuple(sorted({*accepted["strategy"]} - {*strategies}))
    if own.empty and not len(rows.rejected()):
        raise LedgerError(
            f"{file.name}: strategy: none of {', '.join(strangers)} is in the book, which has "
            f"{', '.join(sorted(strategies))}"
        )
    if own.empty:
        _refuse(rows, file.name)

    first, last = own["session"].min().replace(day=1), own["session"].max()
    sessions = observed[(observed >= first) & (observed <= last)]
    try:
        history = _history(own, sessions, frequency)
    except ValueError as error:
        raise LedgerError(f"{file.name}: {error}") from error
    return ReturnsFile(
        history=history,
        findings=tuple(delivery_findings(own, sessions, frequency, last)),
        rejected=rows.rejected(),
        read=sum(part.read for part in parts),
        strangers=strangers,
    )


def _refuse(rows: Rows, name: str) -> NoReturn:
    if len(rejected := rows.rejected()):
        raise LedgerError(flaws_of(rejected))
    raise LedgerError(f"{name}: has no row below its header; expected {', '.join(RETURN_COLUMNS)}")


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
