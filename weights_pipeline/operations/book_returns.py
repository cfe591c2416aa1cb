"""What books have earned, as daily returns: a ledger whose strategies are books.

Scope: the weights that a book had in force, from its tables, and the returns of several books as rows of a file that a
ledger names. Not here: the arithmetic (``core.study.book_comparison``), and the weights of a book on such a ledger,
which is one like any other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.study.book_comparison import net_returns
from weights_pipeline.files import write_text
from weights_pipeline.ledger import LedgerSource, observed_sessions
from weights_pipeline.ledger.tables import closed_sessions
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.workspace import BookSetup


class NothingEarnedError(LookupError):
    """The weights of a book have not been in force on any session that the store has returns of."""


class OthersFileError(ValueError):
    """A file that returns of books would replace holds something else."""


def book_returns(setups: Iterable[BookSetup], store: Reader) -> pd.DataFrame:
    """Daily returns of books after fees, on all sessions on which their weights were in force.

    A session's return is of the weights in force on it, which follow from sessions before it alone, so that a book
    that chooses among books by these returns sees nothing that was not there.

    Parameters
    ----------
    setups
        The books.
    store
        Where their tables are, and those of their ledgers.

    Returns
    -------
    DataFrame
        ``session``, ``strategy`` (the book) and ``daily_return``, no nulls, by session and book.

    Raises
    ------
    NothingEarnedError
        A book has earned nothing yet.
    """
    rows = []
    for setup in setups:
        final = store.read(setup.name, catalog.FINAL_WEIGHTS)
        returns = store.read(setup.source.schema_name, catalog.STRATEGY_RETURNS)
        earned = (
            net_returns(by_session(traded(setup.book, store, final), "final"), wide(returns))
            if len(final) and len(returns)
            else pd.Series(dtype="float64")
        )
        if earned.empty:
            raise NothingEarnedError(
                f"book {setup.name}: its weights have not been in force on any session of ledger {setup.source.name} "
                f"that is stored. Make its history: weights run --book {setup.name}"
            )
        rows.append(pd.DataFrame({"session": earned.index, "strategy": setup.name, "daily_return": earned.to_numpy()}))
    return pd.concat(rows).sort_values(["session", "strategy"], ignore_index=True)


def within(source: LedgerSource, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`book_returns` in the months of a ledger: it would reject all others."""
    month = rows["session"].dt.strftime("%Y-%m")
    kept: pd.DataFrame = rows[month.between(source.first_month, source.last_month or "9999-12")]
    return kept.reset_index(drop=True)


def require_earned(setups: Iterable[BookSetup], store: Reader, windows: Sequence[Window], now: dt.datetime) -> None:
    """Refuse books whose returns do not reach the newest session of some months that had closed by an instant.

    What is not there yet would count as a session on which the book earned nothing.

    Parameters
    ----------
    setups, store
        The books, and where the returns of their ledgers are.
    windows
        The months, of a ledger that these books are the strategies of.
    now
        The instant, zone-aware.

    Raises
    ------
    NothingEarnedError
        A book has earned nothing on a session that it should have.
    """
    for setup in setups:
        source = setup.source
        closed = closed_sessions(source, windows, f"{source.first_month}-01", now)
        due = observed_sessions(source.calendar, source.frequency, closed)
        if source.last_month:
            due = due[due < pd.Timestamp(source.last_month) + pd.offsets.MonthBegin()]
        months = [*store.partitions(source.schema_name, catalog.STRATEGY_RETURNS.name)][-1:]
        read = store.read(source.schema_name, catalog.STRATEGY_RETURNS, months, columns=["session"])["session"]
        if len(due) and not (read >= due[-1]).any():
            raise NothingEarnedError(
                f"book {setup.name}: the returns of ledger {source.name} do not reach {due[-1]:%Y-%m-%d}, the newest "
                f"session that has closed; a book of books would take the rest for sessions without any. Read that "
                f"ledger first: weights run --book {setup.name} --partition latest"
            )


def write_book_returns(file: Path, rows: pd.DataFrame) -> str:
    """Write rows of :func:`book_returns` as a CSV file, unless it holds them already, and give what it holds.

    Raises
    ------
    OthersFileError
        The file is there, and is not one of returns of these books: somebody else's is never replaced.
    """
    # Every digit: what is read back is the same number.
    content = rows.to_csv(index=False, date_format="%Y-%m-%d")
    if file.is_file():
        there = file.read_bytes().decode(errors="replace")
        if there == content:
            return content
        header, *lines = there.splitlines() or [""]
        own = {*rows["strategy"]}
        others = sorted({line.split(",")[1] if "," in line else line for line in lines} - own)
        begins = "" if header == ",".join(rows.columns) else f"begins with {header[:60]!r}"
        if what := begins or ", ".join(f"has {name}" for name in others[:3]):
            raise OthersFileError(
                f"{file}: {what}: it holds something other than returns of {', '.join(sorted(own))}, and was not "
                f"replaced. Move it away, or name another file"
            )
    write_text(file, content)
    return content


def tables_read(setup: BookSetup) -> list[tuple[str, Table]]:
    """Schema and definition of the tables that a book's returns are made of."""
    overlay = setup.book.overlay
    daily = [catalog.DAILY_WEIGHTS] * (overlay is not None and overlay.apply == "daily")
    own = [(setup.name, table) for table in (catalog.FINAL_WEIGHTS, *daily)]
    return [*own, (setup.source.schema_name, catalog.STRATEGY_RETURNS)]


def traded(book: Book, store: Reader, final: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``final_weights`` and, of a book that is scaled every day, of the days between its rebalances too."""
    if book.overlay is None or book.overlay.apply != "daily":
        return final
    daily = store.read(book.name, catalog.DAILY_WEIGHTS)
    daily = daily[~daily["effective_from"].isin(final["effective_from"])]
    return pd.concat([final[daily.columns], daily], ignore_index=True) if len(daily) else final


def by_session(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of weights by the session they are in force from, ascending; columns strategies."""
    return rows.pivot(index="effective_from", columns="strategy", values=column).sort_index()
