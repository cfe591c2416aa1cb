"""What a broker states of positions, beside a ledger's rows.

Scope: the file of positions, what it makes known again, and where it and the ledger differ. Not here: the comparison
(``core.returns.reconciliation``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.actions import Lineage
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.reconciliation import Reconciliation
from weights_pipeline.core.returns.stream import Pair
from weights_pipeline.ledger.beside import rows_beside
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.prices import read_prices
from weights_pipeline.ledger.source import LedgerSource

_IDENTITY = ["date", "symbol", "strategy", "account"]
_MOMENT = pd.Timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Rows of the broker's statement.

    Attributes
    ----------
    rows
        ``date``, ``session`` (the last one on or before it), ``ts`` (the session's last instant), ``symbol``,
        ``stream`` and ``units`` (see ``core.returns.actions``), ``quantity``, ``multiplier``, ``price`` (of the market
        value, or else of the file of closes; null where neither says it), ``strategy`` and ``account`` (empty where
        there is none), ``realized_pnl`` (may be null), ``source_file`` and ``line``. The index names the row.
    accounts
        Strategies of each account that not all are of.
    outside
        ``source_file``, ``line`` and ``date`` of rows that are compared with nothing.
    """

    rows: pd.DataFrame
    accounts: Mapping[str, Collection[str]]
    outside: pd.DataFrame

    def makes_known(self, first_seen: Mapping[Pair, pd.Timestamp], lineage: Lineage) -> pd.DataFrame:
        """Positions stated of one strategy: those that name it, or whose account has one that trades it.

        Parameters
        ----------
        first_seen
            Strategies and symbols of the ledger's rows, and the first instant of each.
        lineage
            Corporate actions.

        Returns
        -------
        DataFrame
            As :func:`~weights_pipeline.core.returns.stream.known_streams` takes them.
        """
        trading: dict[str, list[tuple[pd.Timestamp, str]]] = {}
        for (name, symbol), ts in first_seen.items():
            for stream in lineage.ever(symbol):
                trading.setdefault(stream, []).append((ts, name))
        owner = []
        stated = self.rows[["strategy", "account", "stream", "ts"]].itertuples(index=False, name=None)
        for strategy, account, stream, at in stated:
            # Who trades it later does not count: nothing that was known becomes unknown by it.
            there = {name for ts, name in trading.get(stream, ()) if ts <= at}
            own = there.intersection(self.accounts.get(account, there))
            owner.append(strategy or (next(iter(own)) if len(own) == 1 else None))
        rows = self.rows.assign(strategy=pd.array(owner, dtype="str"), amount=self.rows["quantity"])
        rows = rows[rows["strategy"].notna()].assign(date=rows["session"])
        # What is stated of a weekend is what was stated of the session before it.
        return rows.drop_duplicates(["session", "symbol", "strategy"], keep="last")


def read_statement(
    source: LedgerSource,
    root: Path,
    hours: pd.DataFrame,
    horizon: pd.Timestamp,
    lineage: Lineage,
    traded: pd.DataFrame,
    multiplier: Mapping[str, float],
) -> Statement | None:
    """The broker's statement; None where the source names none.

    Parameters
    ----------
    source, root
        The ledger, and the data folder.
    hours
        ``open`` and ``close`` of sessions, tz-naive UTC, by session.
    horizon
        The day up to which the ledger is read; it may have ended before.
    lineage
        Corporate actions.
    traded
        Fills: their ``symbol``, and as ``multiplier`` the units that a contract stands for.
    multiplier
        The same by symbol, where the file of instruments says it; 1 of any that neither does.

    Raises
    ------
    LedgerError
        The file cannot be read, a position stands in it twice, or nothing says which strategies an account has.
    """
    if source.positions is None:
        return None
    rows = rows_beside(root, source.positions, "positions", f"ledger {source.name}: positions")
    rows = rows.fillna({"strategy": "", "account": ""})
    if (again := rows.duplicated(_IDENTITY).to_numpy()).any():
        at = int(again.argmax())
        date, symbol = rows[["date", "symbol"]].iloc[at]
        raise LedgerError(f"{_place(rows, at)}: {symbol} on {date:%Y-%m-%d} stands twice; keep one")
    several = rows["account"].nunique() > 1 or bool(source.accounts)
    if several and (stray := (~rows["account"].isin([*source.accounts]) & (rows["strategy"] == "")).to_numpy()).any():
        at = int(stray.argmax())
        raise LedgerError(
            f"{_place(rows, at)}: account: nothing says which strategies {rows['account'].iloc[at]!r} has; list "
            f"them under `accounts` in ledger {source.name}"
        )
    sessions = pd.DatetimeIndex(hours.index)
    dates = pd.DatetimeIndex(rows["date"])
    day = sessions.searchsorted(dates, side="right") - 1
    last = horizon if source.last_month is None else min(horizon, pd.Period(source.last_month, "M").end_time)
    read = (day >= 0) & np.asarray(dates <= last)
    outside = rows.loc[~read, ["source_file", "line", "date"]]
    rows, day = rows[read].reset_index(drop=True), day[read]
    opens, closes = (pd.DatetimeIndex(hours[name]) for name in ("open", "close"))
    goes_on = np.append(opens[1:] == closes[:-1], False)
    ends = closes.where(~goes_on, closes - _MOMENT)
    rows = rows.assign(session=sessions.take(day), ts=ends.take(day))
    of_fills = traded.groupby("symbol")["multiplier"].first().dropna().to_dict()
    rows["multiplier"] = rows["symbol"].map(of_fills | {**multiplier}).fillna(1.0).astype(float)
    rows["price"] = (
        (rows["market_value"] / (rows["quantity"] * rows["multiplier"])).abs().mask(rows["quantity"] == 0, 0.0)
    )
    if rows["price"].isna().any() and (closes_of := read_prices(source, root)) is not None:
        known = closes_of.stack().reindex(pd.MultiIndex.from_frame(rows[["session", "symbol"]])).to_numpy(np.float64)
        rows["price"] = rows["price"].fillna(pd.Series(known, index=rows.index))
    return Statement(rows=lineage.spelled(rows), accounts=source.accounts, outside=outside)


def statement_findings(
    statement: Statement, found: Reconciliation, unpriced: Sequence[tuple[int, str]]
) -> Iterator[LedgerFinding]:
    """Where the broker's statement and the ledger differ, the first date of each difference; and where they agree last.

    Parameters
    ----------
    statement
        What is stated.
    found
        What became of the comparison with the ledger.
    unpriced
        See `Stream` of ``core.returns.stream``.
    """
    rows = statement.rows
    seen = set()
    for each in found.breaks:
        if (key := (each.strategy, each.symbol, each.what)) in seen:
            continue
        seen.add(key)
        what = "position" if each.what == "quantity" else "realized profit"
        yield LedgerFinding(
            code="not_reconciled",
            strategy=each.strategy,
            symbol=each.symbol,
            since=each.session,
            source_file=_file_of(rows, each.session) if each.row < 0 else str(rows["source_file"][each.row]),
            line=0 if each.row < 0 else int(rows["line"][each.row]),
            message=f"{what} on {each.session:%Y-%m-%d}: the statement says {each.stated:.15g}, the ledger's rows come "
            f"to {each.found:.15g}",
            figures={"stated": each.stated, "found": each.found},
            setting="add the rows that are missing, or correct those that are wrong",
        )
    if found.agreed:
        yield LedgerFinding(
            code="reconciled",
            since=found.agreed[-1],
            source_file=_file_of(rows, found.agreed[-1]),
            message=f"reconciled to {found.agreed[-1]:%Y-%m-%d}: all that the statement of this date says is what the "
            f"ledger's rows come to",
        )
    first: dict[Pair, int] = {}
    for row, strategy in unpriced:
        first.setdefault((strategy, rows["stream"][row]), row)
    for (strategy, _), row in first.items():
        said = rows.loc[[row]].to_dict("records")[0]
        yield LedgerFinding(
            code="statement_without_price",
            strategy=strategy,
            symbol=said["symbol"],
            since=said["session"],
            source_file=said["source_file"],
            line=said["line"],
            message=f"states {said['quantity']:.15g} on {said['date']:%Y-%m-%d} and not what it is worth, so that the "
            f"position stays unknown",
            setting="its market_value, or a file of prices that has the close of the day",
        )
    for file, own in statement.outside.groupby("source_file"):
        line, date = own[["line", "date"]].iloc[0]
        yield LedgerFinding(
            code="statement_outside",
            source_file=str(file),
            line=int(line),
            message=f"{len(own)} rows are of dates that are not read, the first {date:%Y-%m-%d}: nothing is compared "
            f"with them",
            figures={"rows": float(len(own))},
            setting="correct the dates, where they are wrong",
        )


def _place(rows: pd.DataFrame, at: int) -> str:
    return f"{rows['source_file'].iloc[at]}: line {rows['line'].iloc[at]}"


def _file_of(rows: pd.DataFrame, session: pd.Timestamp) -> str:
    """File of the first row that is of a session."""
    return str(rows.loc[rows["session"] == session, "source_file"].iloc[0])
