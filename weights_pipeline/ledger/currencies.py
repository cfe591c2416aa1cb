"""Currencies: which one a row is in, and what it comes to in the ledger's own.

Scope: the file of rates, and converting by it. Not here: what is converted when (``intake``), nor what lots come to
while they are open (``core``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.actions import Action
from weights_pipeline.core.returns.cells import Column
from weights_pipeline.core.returns.currencies import OLDEST, Booleans, Rates, UnknownRateError
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.stream import Pair
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.rows import Rows
from weights_pipeline.ledger.source import LedgerSource

_RATES = {"date": Column(kind="date"), "currency": Column(kind="text"), "rate": Column(kind="number")}
_POSITION = ["strategy", "symbol"]


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
    elsewhere
        Currencies that other rows state, each with its place.

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
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path, self._sessions = source.fx or "", sessions
        places: dict[str, str] = {}
        kinds = [each for each in rows if each.parts]
        for each in kinds:
            for column, named in in_capitals(each.typed, of_symbols).items():
                each.typed[column] = named
            first = stated(each.typed, each.flawless())
            places = {name: each.place(row) for name, row in first.items()} | places
        places = {**elsewhere} | places
        self.several = {*places} - {source.currency} != set() if source.currency else len(places) > 1
        self.own = source.currency or (next(iter(places)) if len(places) == 1 else "")
        if self.several and not self.path:
            listed = ", ".join(f"{name} ({place})" for name, place in sorted(places.items()))
            raise LedgerError(
                f"ledger {source.name}: currency: amounts in {listed} cannot be added up; name the ledger's own as "
                f"`currency` and a file of rates as `fx`, or take those of one currency with `where`"
            )
        for each in kinds:
            each.typed["currency"] = each.typed["currency"].fillna(self.own)
        if not self.several:
            return
        names = sorted({*places} - {self.own})
        given = read_rates(source, root) if names else pd.DataFrame(index=pd.DatetimeIndex([]))
        self._rates = Rates.on(cast("pd.DataFrame", given).reindex(columns=names), sessions)
        self._needed = np.zeros((1 + len(names), len(sessions)), dtype=np.bool_)

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
        position = self._sessions.get_indexer(pd.DatetimeIndex(session))
        there = position >= 0
        code, at = self._rates.codes(self.foreign(currency))[there], position[there]
        self._need(self._rates.open_in(code, at, at))
        found[there] = self._rates.at(code, at)
        return found

    def foreign(self, currency: pd.Series) -> pd.Series:
        """Currencies, null where it is the ledger's own."""
        return currency.astype("str").where((currency != self.own) & self.several)

    def held(self, rows: pd.DataFrame, until: str, horizon: pd.Timestamp) -> None:
        """Take note of lots that were open: every session in which one was needs a rate.

        Parameters
        ----------
        rows
            Lots: ``currency``, ``open_session``, and their last session under `until`; null where they are open still.
        until
            Name of that column.
        horizon
            Day that goes on: what is open in it needs no rate of it yet.

        Raises
        ------
        LedgerError
            A session has none, nor one of the sessions before.
        """
        if not self.several:
            return
        begin = np.maximum(self._sessions.get_indexer(pd.DatetimeIndex(rows["open_session"])), 0)
        end = self._sessions.get_indexer(pd.DatetimeIndex(rows[until]))
        over = int(self._sessions.searchsorted(horizon)) - 1
        end = np.where(end < 0, over, np.minimum(end, over))
        some = begin <= end
        self._need(self._rates.open_in(self._rates.codes(rows["currency"])[some], begin[some], end[some]))

    def _need(self, needed: Booleans) -> None:
        try:
            self._rates.require(needed)
        except UnknownRateError as error:
            raise LedgerError(f"{self.path}: {error}; add the line") from error
        self._needed |= needed

    def of_positions(self, lots: pd.DataFrame, pairs: Mapping[Pair, str]) -> pd.Series:
        """Currency of the position of lots from fills, as :meth:`foreign` says it."""
        if not self.several:
            return pd.Series(np.nan, index=lots.index, dtype="str")
        named = [pairs.get(pair, self.own) for pair in zip(lots["strategy"], lots["symbol"], strict=True)]
        return self.foreign(pd.Series(named, lots.index, dtype="str"))

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
        if not self.several:
            return []
        carried = self._needed & self._rates.carried[:, 1:]
        dates = {
            name: self._sessions[own] for name, own in zip(self._rates.currencies, carried, strict=True) if own.any()
        }
        return [
            LedgerFinding(
                code="rate_carried",
                since=days[0],
                source_file=self.path,
                message=f"{len(days)} of the sessions that need a rate of {name} have none, the first "
                f"{days[0]:%Y-%m-%d}; that of one of the {OLDEST} sessions before is taken",
                figures={"sessions": float(len(days))},
                setting="add the lines",
            )
            for name, days in dates.items()
        ]


def in_capitals(rows: pd.DataFrame, of_symbols: Mapping[str, str]) -> dict[str, pd.Series]:
    """Currencies of amounts and of fees in capitals, by column; of amounts that of the symbol, where a row has none."""
    found = {name: rows[name] for name in ("currency", "fees_currency") if name in rows}
    if of_symbols:
        found["currency"] = found["currency"].fillna(rows["symbol"].map(of_symbols)).astype("str")
    return {name: column if column.isna().all() else column.str.upper() for name, column in found.items()}


def stated(rows: pd.DataFrame, sound: NDArray[np.bool_] | None = None) -> dict[str, int]:
    """Currencies that rows are in, or those of them that are sound, each with the label of its first row.

    What fees are in counts where there are fees.
    """
    first = dict[str, int]()
    for column in [name for name in ("currency", "fees_currency") if name in rows]:
        if rows[column].isna().all():
            continue
        counts = rows[column].notna()
        if sound is not None:
            counts &= sound
        if column == "fees_currency":
            counts &= rows["fees"].fillna(0.0) != 0
        names = rows.loc[counts, column].drop_duplicates()
        for name, row in zip(names.tolist(), names.index.tolist(), strict=True):
            first.setdefault(name, row)
    return first


def read_rates(source: LedgerSource, root: Path) -> pd.DataFrame | None:
    """Rates into the ledger's own currency, dates × currencies; None where the source names no file.

    Raises
    ------
    LedgerError
        The file cannot be read, or a line is not a date, a currency and a rate above 0, each pair once.
    """
    if source.fx is None:
        return None
    path, own = source.fx, source.currency
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
    foreign = rows[rows["currency"] != own]
    return foreign.pivot(index="date", columns="currency", values="rate").sort_index()
