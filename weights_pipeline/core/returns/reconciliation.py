"""Reconciliation: what a broker states, beside what a ledger's rows come to.

Scope: positions and realized profit at the end of a session. Not here: files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from weights_pipeline.core.returns.stream import Pair, Unknown

QUANTITY, PROFIT = 1e-6, 0.005
"""Relative tolerance of a quantity, and of a realized profit."""

_MOMENT = pd.Timedelta(microseconds=1)


class Break(NamedTuple):
    """A figure of a statement and of the ledger; ``strategy`` is empty where the statement names none.

    ``row`` is the statement's row, or −1 of a position that it does not list.
    """

    row: int
    session: pd.Timestamp
    strategy: str
    symbol: str
    what: str
    stated: float
    found: float


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What statements and the ledger agree on, and what not.

    Attributes
    ----------
    breaks
        Figures that differ, by session.
    agreed
        Sessions whose statements agree with the ledger in everything, ascending. One that names a position which is not
        known is none of them.
    newest
        Every figure of the newest session that was compared, agreed on or not.
    """

    breaks: Sequence[Break]
    agreed: Sequence[pd.Timestamp]
    newest: Sequence[Break]


def reconciled(
    statement: pd.DataFrame,
    holdings: pd.DataFrame,
    lots: pd.DataFrame,
    unknown: Sequence[Unknown] = (),
    accounts: Mapping[str, Collection[str]] | None = None,
) -> Reconciliation:
    """Compare every date of a statement with the ledger.

    Parameters
    ----------
    statement
        ``session`` (the last one on or before its date), ``ts`` (its last instant), ``symbol``, ``stream`` (the symbol
        that it goes by since), ``quantity`` (signed), ``strategy`` (empty: summed over all of the account), ``account``
        (may be empty) and ``realized_pnl`` to date (may be null). A date on which an account names no strategy lists
        every position that it holds.
    holdings
        ``strategy``, ``symbol``, ``side``, ``quantity``, ``since`` and ``until``, sessions.
    lots
        Closed lots: ``strategy``, ``symbol``, ``session``, ``pnl``.
    unknown
        Stretches in which a position is not known, in instants. In them nothing is compared, and after them no profit,
        since some of it is missing.
    accounts
        Strategies of each account; one that is not named has all there are.
    """
    signed = holdings["quantity"].where(holdings["side"] == "long", -holdings["quantity"])
    held_by = holdings[["strategy", "symbol", "since", "until"]].assign(figure=signed)
    done = lots[["strategy", "symbol", "session", "pnl"]].sort_values("session", kind="stable")
    profits: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    booked, begun = pd.DatetimeIndex(done["session"]), 0
    found, agreed, newest = list[Break](), list[pd.Timestamp](), list[Break]()
    for session, stated in statement.groupby("session", sort=True):
        day = pd.Timestamp(str(session))
        held: dict[str, dict[str, float]] = defaultdict(dict)
        here = held_by[(held_by["since"] <= day) & ~(held_by["until"] <= day)]
        sums = here.groupby(["symbol", "strategy"], as_index=False)["figure"].sum()
        for symbol, strategy, figure in sums[["symbol", "strategy", "figure"]].itertuples(index=False, name=None):
            held[symbol][strategy] = figure
        end = int(booked.searchsorted(day, side="right"))
        for strategy, symbol, pnl in (
            done[["strategy", "symbol", "pnl"]].iloc[begun:end].itertuples(index=False, name=None)
        ):
            profits[symbol][strategy] += pnl
        begun = end
        at = pd.Timestamp(stated["ts"].iloc[0])
        now = {(each.strategy, each.symbol) for each in unknown if _is_unknown(each, at)}
        ever = {(each.strategy, each.symbol) for each in unknown if each.since is None or each.since <= at}
        own = _Day(day, held, profits, now, ever, accounts or {})
        compared, unlisted = list(own.compared(stated)), list(own.unlisted(stated))
        newest = compared + unlisted
        broken = [*filter(_differs, compared), *unlisted]
        found += broken
        if not broken and not own.passed_over:
            agreed.append(day)
    return Reconciliation(breaks=found, agreed=agreed, newest=newest)


def _differs(each: Break) -> bool:
    tolerance = QUANTITY if each.what == "quantity" else PROFIT
    return abs(each.found - each.stated) > tolerance * max(abs(each.found), abs(each.stated))


def _is_unknown(stretch: Unknown, at: pd.Timestamp) -> bool:
    """Whether a position is not known at the end of an instant."""
    return (stretch.since is None or stretch.since <= at) and (stretch.until is None or stretch.until > at + _MOMENT)


@dataclass
class _Day:
    """One session: what the ledger has, by symbol and strategy, and which pairs are or were not known."""

    session: pd.Timestamp
    held: Mapping[str, Mapping[str, float]]
    profits: Mapping[str, Mapping[str, float]]
    unknown: Collection[Pair]
    ever_unknown: Collection[Pair]
    accounts: Mapping[str, Collection[str]]
    passed_over: int = 0

    def compared(self, stated: pd.DataFrame) -> Iterator[Break]:
        """Figures of the statement's rows, and the ledger's."""
        for row, said in zip(stated.index.tolist(), stated.to_dict("records"), strict=True):
            strategy, symbol, account = said["strategy"], said["symbol"], said["account"]
            if self._touches(self.unknown, said["stream"], strategy, account):
                self.passed_over += 1
                continue
            profit = None if self._touches(self.ever_unknown, said["stream"], strategy, account) else "realized_pnl"
            for what, figures in (("quantity", self.held), (profit, self.profits)):
                if what is None or pd.isna(said[what]):
                    continue
                own = figures.get(symbol, {}).items()
                found = sum(figure for name, figure in own if self._is_of(name, strategy, account))
                yield Break(row, self.session, strategy, symbol, what, said[what], found)

    def unlisted(self, stated: pd.DataFrame) -> Iterator[Break]:
        """What an account holds that its statement does not list, where it names no strategy."""
        for account, own in stated.groupby("account"):
            if (own["strategy"] != "").any():
                continue
            listed, streams = {*own["symbol"]}, {*own["stream"]}
            self.passed_over += any(
                stream not in streams and self._is_of(name, "", str(account)) for name, stream in self.unknown
            )
            for symbol in sorted({*self.held} - listed):
                figures = [each for name, each in self.held[symbol].items() if self._is_of(name, "", str(account))]
                if abs(found := sum(figures)) > QUANTITY * sum(map(abs, figures)):
                    yield Break(-1, self.session, "", symbol, "quantity", 0.0, found)

    def _is_of(self, name: str, strategy: str, account: str) -> bool:
        if strategy:
            return name == strategy
        return account not in self.accounts or name in self.accounts[account]

    def _touches(self, pairs: Collection[Pair], stream: str, strategy: str, account: str) -> bool:
        return any(symbol == stream and self._is_of(name, strategy, account) for name, symbol in pairs)
