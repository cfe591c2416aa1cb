"""Restatements: what a changed ledger touches, before anything of it is written.

Scope: comparing what the source files say now with what is stored, and the weights that follow from either. Not here:
the reading of files (``ledger.tables``), and the chain (``versions.recompute``).

A rebalance before the first change stays as it is stored; from there on both ledgers are computed in memory. So the
difference shown is that of the ledger alone, also where something else has changed meanwhile.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from weights_pipeline.checks import Verified
from weights_pipeline.checks.behind import Behind, behind
from weights_pipeline.core.metrics.table import MANUAL
from weights_pipeline.ledger import Intake, LedgerSource, read_ledger
from weights_pipeline.ledger.periods import horizon, ledger_months, only_windows
from weights_pipeline.ledger.tables import closed_sessions, hashes_of, intake_rows, market_rows, return_rows
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window, prepare, to_frame
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.recompute import STORED, StoredLedger, from_returns
from weights_pipeline.workspace import BookSetup, Workspace

_IDENTITY = {
    catalog.TRADE_LEDGER: ["lot_id"],
    catalog.OPEN_LOTS: ["strategy", "lot_id"],
    catalog.GIVEN_RETURNS: ["session", "strategy"],
    catalog.CASH: ["strategy", "cash_id"],
    catalog.UNKNOWN_POSITIONS: ["session", "strategy"],
    catalog.STRATEGY_LIQUIDITY: ["session", "strategy"],
    catalog.MARKET_REGIME: ["session"],
    catalog.STRATEGY_RETURNS: ["session", "strategy"],
}
"""What makes a row of a month the same row in two versions of it."""

_KINDS = {"left_only": "removed", "right_only": "added", "both": "changed"}


class NotReadError(LookupError):
    """The ledger has never been stored, so that nothing can have changed since."""


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """A row of the ledger that is not what is stored.

    Attributes
    ----------
    table, month
        Where; the month is ``YYYY-MM``.
    kind
        ``added``, ``removed`` or ``changed``.
    row
        What identifies it, and its strategy.
    values
        By column the value stored and the one that the files give; of a changed row, where they differ.
    """

    table: str
    month: str
    kind: str
    row: Mapping[str, Any]
    values: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Move:
    """Final weight of a strategy in a rebalance, on the ledger stored and on the one that the files give."""

    rebalance: str
    strategy: str
    old: float
    new: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a restatement does to one book.

    Attributes
    ----------
    book
        Its name.
    rebalances
        How many are stored.
    changed
        Keys of those whose realized or final weights change.
    largest
        Largest change of a final weight; None where none changes.
    newest
        Final weights of the newest rebalance that has seen the change.
    remarks
        Why what is stored would change for other reasons too.
    command
        What brings the book up to date; empty where no rebalance has seen the change.
    """

    book: str
    rebalances: int
    changed: tuple[str, ...] = ()
    largest: Move | None = None
    newest: tuple[Move, ...] = ()
    remarks: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Restatement:
    """What has changed in a ledger, and what it touches.

    Attributes
    ----------
    ledger
        Name of the ledger.
    changes
        Rows of lots, given returns and market regimes that differ, by month.
    returns
        How many daily returns differ, by strategy.
    since
        First session with a change; None where the files say what is stored.
    effects
        By book, in the order asked for; none where nothing has changed, and every book was made from what is stored.
    rejected
        How many rows were set aside when the ledger was read, and how many would be now.
    """

    ledger: str
    changes: tuple[RowChange, ...] = ()
    returns: Mapping[str, int] = field(default_factory=dict)
    since: dt.date | None = None
    effects: tuple[Effect, ...] = ()
    rejected: tuple[int, int] = (0, 0)


def restate(workspace: Workspace, ledger: str, books: Sequence[str], now: dt.datetime) -> Restatement:
    """Compare a ledger's files with what is stored, and follow the difference to the weights of books.

    Of a month that goes on since it was read, only the sessions that had closed then are compared.

    Parameters
    ----------
    workspace
        Where ledger and books are stored. Nothing is written.
    ledger
        Name of the ledger.
    books
        Names of books that read it.
    now
        Instant up to which the files are read, zone-aware.

    Raises
    ------
    NotReadError
        The ledger was never stored.
    weights_pipeline.ledger.LedgerError
        A file cannot be read.
    ValueError, weights_pipeline.core.allocator.overlay.StaleScalarError
        Weights cannot be computed from what the files say.
    """
    source, root, store = workspace.sources[ledger], workspace.root, workspace.store
    stored = store.partitions(source.schema_name, catalog.TRADE_LEDGER.name)
    if not stored:
        raise NotReadError(f"ledger {source.name} is not in {store.location} yet. Run `weights run` first.")
    months = [month for month in ledger_months(source).begun(now) if month.key <= max(stored)]
    # Files take the longest, and nobody has to wait for them to write.
    intake = read_ledger(source, root, horizon=horizon(source, now))
    rows = _rows_now(intake, source, root, months, now)
    with store.view():
        rejected = len(store.read(source.schema_name, catalog.REJECTED_LOTS, columns=["line"])), len(intake.rejected)
        differing = {table: _differing(store, source, table, frame, months) for table, frame in rows.items()}
        since = min((frame["first"].min() for frame in differing.values() if len(frame)), default=None)
        late = {name: behind(workspace.setups[name], store, Verified()) for name in books}
        if since is None and not any(late.values()):
            return Restatement(ledger=source.name, rejected=rejected)
        read = StoredLedger.of(store, source.schema_name)
        given = StoredLedger(*(rows.get(table, was) for table, was in zip(STORED, read, strict=True)))
        effects = tuple(_effect(workspace.setups[name], since, read, given, late[name]) for name in books)
    returns = differing.pop(catalog.STRATEGY_RETURNS)["strategy"].value_counts().sort_index()
    changes = [change for table, frame in differing.items() for change in _as_changes(table, frame)]
    return Restatement(
        ledger=source.name,
        changes=tuple(sorted(changes, key=lambda change: change.month)),
        returns={str(name): int(count) for name, count in returns.items()},
        since=since.date() if since is not None else None,
        effects=effects,
        rejected=rejected,
    )


def _rows_now(
    intake: Intake, source: LedgerSource, root: Path, months: Sequence[Window], now: dt.datetime
) -> dict[Table, pd.DataFrame]:
    """Rows of the ledger's tables as the files give them."""
    rows = intake_rows(intake, source, months, now)
    rows[catalog.STRATEGY_RETURNS] = return_rows(rows, source, root, months, now)
    if source.benchmark is not None:
        rows[catalog.MARKET_REGIME] = market_rows(source, root, months, now)
    return rows


def _differing(
    store: Store, source: LedgerSource, table: Table, rows: pd.DataFrame, months: Sequence[Window]
) -> pd.DataFrame:
    """Rows of a table that are not the same as stored; see :func:`_differences`, with the ``month`` of each."""
    stored = store.partitions(source.schema_name, table.name)
    now = hashes_of(rows, table, months) if stored else {}
    suspects = [m for m in months if m.key in stored and stored[m.key].content_hash != now[m.key]]
    old = store.read(source.schema_name, table, [month.key for month in suspects])
    new, found = to_frame(prepare(rows, table, months)) if suspects else rows, list[pd.DataFrame]()
    for month in suspects:
        recorded = stored[month.key].recorded_at.replace(tzinfo=dt.UTC)
        own = [only_windows(frame, str(table.time_column), [month]) for frame in (old, new)]
        if recorded < month.settled:
            seen = closed_sessions(source, [month], month.start.strftime("%Y-%m-01"), recorded)
            # What was open at the end of a month is known at its end only.
            last = seen[-1] if len(seen) and table is not catalog.OPEN_LOTS else pd.Timestamp.min
            own = [frame[frame[table.time_column] <= last] for frame in own]
        if any(map(len, own)):
            found.append(_differences(own[0], own[1], table).assign(month=month.key[:7]))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*_IDENTITY[table], "first"])


def _differences(old: pd.DataFrame, new: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Rows that are not the same in both, and which of the two have them.

    Returns
    -------
    DataFrame
        The columns that identify a row, every other one as ``_old`` and ``_new``, ``kind``, and the ``first`` day that
        either has for the row.
    """
    identity, time = _IDENTITY[table], str(table.time_column)
    names = table.column_names()
    both = old[names].merge(new[names], on=identity, how="outer", suffixes=("_old", "_new"), indicator="kind")
    same = both["kind"] == "both"
    for name in (name for name in names if name not in identity):
        was, now = both[f"{name}_old"], both[f"{name}_new"]
        same &= (was == now) | (was.isna() & now.isna())
    both = both[~same].reset_index(drop=True)
    days = [time] if time in identity else [f"{time}_old", f"{time}_new"]
    return both.assign(kind=both["kind"].astype("str").map(_KINDS), first=both[days].min(axis=1))


def _as_changes(table: Table, rows: pd.DataFrame) -> list[RowChange]:
    identity = _IDENTITY[table]
    others = [name for name in table.column_names() if name not in identity]
    changes = []
    for row in rows.to_dict("records"):
        values = {name: (_plain(row[f"{name}_old"]), _plain(row[f"{name}_new"])) for name in others}
        named = {name: _plain(row[name]) for name in identity}
        if "strategy" in values:
            named["strategy"] = values["strategy"][0] or values["strategy"][1]
        if row["kind"] == "changed":
            values = {name: (was, now) for name, (was, now) in values.items() if was != now}
        changes.append(
            RowChange(
                table=table.name,
                month=row["month"],
                kind=row["kind"],
                row=named,
                values=values,
            )
        )
    return changes


def _effect(
    setup: BookSetup, since: pd.Timestamp | None, stored: StoredLedger, given: StoredLedger, late: Behind | None
) -> Effect:
    """Compute every rebalance that has seen a change on both ledgers, and compare.

    Of a book that was made from another ledger than is stored, what is given is compared with its stored weights.
    """
    book, store = setup.book, setup.store
    keys = sorted(store.partitions(book.name, catalog.FINAL_WEIGHTS.name))
    final = store.read(book.name, catalog.FINAL_WEIGHTS)
    dates = pd.DatetimeIndex(final["as_of"].unique()).sort_values()
    begins = [date for date in (since, late.as_of if late else None) if date is not None]
    touched = dates[dates >= min(begins)] if begins else dates[:0]
    if touched.empty:
        return Effect(book=book.name, rebalances=len(keys))
    key_of = dict(zip(dates, keys, strict=True))
    parts = [
        (setup.on(key_of[first]).policy, {key_of[date]: date for date in (first, *others)})
        for _, (first, *others) in groupby(touched, key=lambda date: id(setup.on(key_of[date]).policy))
    ]
    old = final[final["as_of"].isin(touched)] if late else from_returns(setup, store, parts, stored).final
    new = from_returns(setup, store, parts, given).final
    weights = old.merge(new, on=["as_of", "strategy"], suffixes=("_old", "_new"))
    moved = (weights["final_old"] != weights["final_new"]) | (weights["realized_old"] != weights["realized_new"])
    metrics = store.read(book.name, catalog.METRICS)
    overridden = metrics.loc[(metrics["source"] == MANUAL) & metrics["as_of"].isin(touched), "as_of"].unique()
    largest = int((weights["final_new"] - weights["final_old"]).abs().to_numpy().argmax())
    moves = [
        Move(rebalance=key_of[as_of], strategy=strategy, old=was, new=now)
        for as_of, strategy, was, now in weights[["as_of", "strategy", "final_old", "final_new"]].itertuples(
            index=False
        )
    ]
    return Effect(
        book=book.name,
        rebalances=len(keys),
        changed=tuple(key_of[date] for date in sorted(weights.loc[moved, "as_of"].unique())),
        largest=moves[largest] if moved.any() else None,
        newest=tuple(move for move in moves if move.rebalance == key_of[touched[-1]]),
        remarks=tuple(_remarks(final, old, [key_of[date] for date in sorted(overridden)], key_of, late)),
        command=f"weights run --book {book.name} --from {key_of[touched[0]][:7]}",
    )


def _remarks(
    stored: pd.DataFrame,
    again: pd.DataFrame,
    overridden: Sequence[str],
    key_of: Mapping[pd.Timestamp, str],
    late: Behind | None,
) -> Iterator[str]:
    """Say where the ledger as it is stored does not lead to the weights that are."""
    if late:
        yield (
            f"{len(late.rebalances)} rebalances from {late.rebalances[0]} on were made from another ledger than is "
            f"stored, which differs from {late.month} on"
        )
    columns = ["as_of", "strategy", "realized", "final"]
    rows = again[columns].merge(
        stored.loc[stored["as_of"].isin(again["as_of"]), columns], on=["as_of", "strategy"], how="outer"
    )
    differs = (rows["realized_x"] != rows["realized_y"]) | (rows["final_x"] != rows["final_y"])
    if overridden:
        yield f"metrics of {', '.join(overridden)} are overrides; run again, it is rebalanced on measured ones"
    if differs.any():
        first = key_of[rows.loc[differs, "as_of"].min()]
        yield (
            f"the weights stored from {first} on are not those that the book as it is now gives on the ledger as it "
            f"is stored; shown is the change by the ledger alone"
        )


def _plain(value: Any) -> Any:
    """A cell as JSON knows it."""
    if pd.isna(value):
        return None
    return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00") if isinstance(value, pd.Timestamp) else value
