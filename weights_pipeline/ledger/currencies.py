"""Currencies: which one a row is in, and what it comes to in the ledger's own.

Scope: the file of rates, and converting by it. Not here: what is converted when (``intake``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.actions import Action
from weights_pipeline.core.returns.cells import Column
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.stream import Pair
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.rows import Rows
from weights_pipeline.ledger.source import LedgerSource

_RATES = {"date": Column(kind="date"), "currency": Column(kind="text"), "rate": Column(kind="number")}
_POSITION = ["strategy", "symbol"]
OLDEST = 5
"""Sessions that a rate may be older than the one it is used in."""


class Currencies:
    """Rates into the ledger's own currency, by session.

    Attributes
    ----------
    own
        The ledger's own currency; empty where nothing says it.
    several
        Whether there is any other.

    Parameters
    ----------
    source, root
        The ledger, and the data folder.
    sessions
        Those read.
    rows
        Rows of all kinds that state amounts. Their ``currency`` becomes that of their symbol where they state none, and
        the ledger's own where that has none either.
    of_symbols
        Currency of symbols that have one.

    Raises
    ------
    LedgerError
        There are several currencies and no rates, or the file of rates cannot be read or has one that is not above 0
        or stands twice.
    """

    def __init__(
        self,
        source: LedgerSource,
        root: Path,
        sessions: pd.DatetimeIndex,
        rows: Iterable[Rows],
        of_symbols: Mapping[str, str],
    ) -> None:
        self.path, self._sessions = source.fx or "", sessions
        self._carried: dict[tuple[str, pd.Timestamp], None] = {}
        stated: dict[str, str] = {}
        kinds = [*rows]
        for each in kinds:
            typed = each.typed
            if of_symbols:
                typed["currency"] = typed["currency"].fillna(typed["symbol"].map(of_symbols))
            sound = each.flawless()
            for column in [name for name in ("currency", "fees_currency") if name in typed]:
                if typed[column].isna().all():
                    continue
                typed[column] = typed[column].str.upper()
                counts = sound if column == "currency" else sound & (typed["fees"].fillna(0.0) != 0)
                first = typed.loc[counts, column].dropna().drop_duplicates()
                places = zip(first.tolist(), first.index.tolist(), strict=True)
                stated = {name: each.place(row) for name, row in places} | stated
        self.several = {*stated} - {source.currency} != set() if source.currency else len(stated) > 1
        self.own = source.currency or (next(iter(stated)) if len(stated) == 1 else "")
        if self.several and not self.path:
            listed = ", ".join(f"{name} ({place})" for name, place in sorted(stated.items()))
            raise LedgerError(
                f"ledger {source.name}: currency: amounts in {listed} cannot be added up; name the ledger's own as "
                f"`currency` and a file of rates as `fx`, or take those of one currency with `where`"
            )
        for each in kinds:
            each.typed["currency"] = each.typed["currency"].fillna(self.own)
        self._rates = _rates(root, self.path, self.own) if self.several else {}

    def convert_fees(self, rows: Rows) -> None:
        """Fees in the currency of the amounts beside them, at the rates of their ``session``."""
        typed = rows.typed
        if not self.several or typed["fees_currency"].isna().all():
            return
        other = typed["fees_currency"].notna() & (typed["fees_currency"] != typed["currency"])
        other &= (typed["fees"].fillna(0.0) != 0) & typed["session"].notna() & rows.flawless()
        own, session = typed[other], typed.loc[other, "session"]
        factor = self.rate(own["fees_currency"], session) / self.rate(own["currency"], session)
        typed.loc[other, "fees"] = own["fees"] * factor

    def rate(self, currency: pd.Series, session: pd.Series) -> NDArray[np.float64]:
        """Units of the ledger's own currency for one, of each row in its session; 1 of what has no session.

        Raises
        ------
        LedgerError
            There is none, nor one of the sessions before.
        """
        found = np.ones(len(currency))
        if not self.several:
            return found
        name, day = currency.to_numpy(dtype=object), pd.DatetimeIndex(session)
        for each in sorted({*name} - {self.own}):
            rows = np.flatnonzero((name == each) & day.notna())
            dates, rates = self._rates.get(each, (pd.DatetimeIndex([]), np.empty(0)))
            wanted = day[rows]
            at = dates.searchsorted(wanted, side="right") - 1
            stands = self._sessions.searchsorted(dates, side="right") - 1
            age = self._sessions.searchsorted(wanted) - np.append(stands, 0)[at]
            if (missing := (at < 0) | (age > OLDEST)).any():
                raise LedgerError(
                    f"{self.path}: there is no rate of {each} on {wanted[missing].min():%Y-%m-%d}, nor in the {OLDEST} "
                    f"sessions before it; add the line"
                )
            self._carried |= dict.fromkeys((each, date) for date in wanted[age > 0].unique())
            found[rows] = rates[at]
        return found

    def of_pairs(self, kinds: Iterable[Rows], actions: Sequence[Action]) -> Mapping[Pair, str]:
        """Currency of the positions of each strategy and symbol; empty where all are in the ledger's own.

        Raises
        ------
        LedgerError
            Rows of one position are in several.
        """
        found: dict[Pair, str] = {}
        if not self.several:
            return found
        first: dict[Pair, str] = {}
        for rows in kinds:
            sound = rows.typed.loc[rows.flawless(), [*_POSITION, "currency"]].drop_duplicates()
            for strategy, symbol, currency, row in sound.assign(row=sound.index).itertuples(index=False, name=None):
                pair = (strategy, symbol)
                if found.setdefault(pair, currency) != currency:
                    raise LedgerError(
                        f"{rows.place(row)}: currency: {symbol} of {strategy} is in {currency}, and in {found[pair]} "
                        f"in {first[pair]}; a position is in one, so tell its symbols apart"
                    )
                first.setdefault(pair, rows.place(row))
            # Of a position that only a statement makes known, what is held back says what it is in.
            held_back = rows.typed[[*_POSITION, "currency"]].dropna()
            for strategy, symbol, currency in held_back.drop_duplicates(_POSITION).itertuples(index=False, name=None):
                found.setdefault((strategy, symbol), currency)
        for action in sorted(actions, key=lambda each: each.at):
            if action.new_symbol:
                carried = {(name, action.new_symbol): found[name, old] for name, old in found if old == action.symbol}
                found = carried | found
        return found

    def findings(self) -> list[LedgerFinding]:
        """What there is to say of rates that were used on later days than theirs."""
        days: dict[str, list[pd.Timestamp]] = {}
        for name, date in sorted(self._carried):
            days.setdefault(name, []).append(date)
        return [
            LedgerFinding(
                code="rate_carried",
                since=dates[0],
                source_file=self.path,
                message=f"{len(dates)} of the sessions that need a rate of {name} have none, the first "
                f"{dates[0]:%Y-%m-%d}; that of one of the {OLDEST} sessions before is taken",
                figures={"sessions": float(len(dates))},
                setting="add the lines",
            )
            for name, dates in days.items()
        ]


def _rates(root: Path, path: str, own: str) -> dict[str, tuple[pd.DatetimeIndex, NDArray[np.float64]]]:
    """Dates and rates of each currency, ascending."""
    rows, line = flawless_rows(root, path, _RATES)
    rows["currency"] = rows["currency"].str.upper()
    for wrong, what in (
        (rows["rate"] <= 0, "expected a rate above 0"),
        (rows.duplicated(["date", "currency"]), "stands twice; keep one"),
        ((rows["currency"] == own) & (rows["rate"] != 1), f"is the ledger's own currency; expected a rate into {own}"),
    ):
        if wrong.any():
            at = int(wrong.to_numpy().argmax())
            date, name = rows[["date", "currency"]].iloc[at]
            raise LedgerError(f"{path}: line {line[at]}: {name} on {date:%Y-%m-%d}: {what}")
    return {
        str(name): (pd.DatetimeIndex(own_rows["date"]), own_rows["rate"].to_numpy(np.float64))
        for name, own_rows in rows.sort_values("date").groupby("currency")
    }
