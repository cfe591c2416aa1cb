"""Reconciliation: what a broker states, beside what a ledger's rows come to.

Scope: positions and realized profit at the end of a session. Not here: files.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, NamedTuple

import pandas as pd

from weights_pipeline.core.returns.stream import Pair, Unknown


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far figures may be apart and still agree, as fractions of the larger of the two.

    Parameters
    ----------
    quantity
        Of a quantity.
    realized_pnl
        Of a realized profit.
    """

    quantity: float = 1e-6
    realized_pnl: float = 0.005

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("quantity", "realized_pnl"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a fraction from 0 to below 1, got {getattr(self, name)!r}")

    def differs(self, each: Break) -> bool:
        """Whether the two figures are too far apart."""
        within: float = getattr(self, each.what)
        return abs(each.found - each.stated) > within * max(abs(each.found), abs(each.stated))


TOLERANCE = Tolerance()
"""Unless a ledger says otherwise."""

Figures = Mapping[str, Mapping[str, float]]
"""By symbol and strategy."""

_ROUNDING = 1e-12
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
    tolerance: Tolerance = TOLERANCE,
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
    tolerance
        How far figures may be apart.
    """
    rows = statement.rename_axis("row").reset_index()[[*_Stated._fields]].sort_values("session", kind="stable")
    stated = [*map(_Stated._make, rows.itertuples(index=False, name=None))]
    held, profits = _Held(holdings), _Realized(lots)
    found, agreed, newest = list[Break](), list[pd.Timestamp](), list[Break]()
    for session, each in groupby(stated, key=lambda said: said.session):
        of_day = [*each]
        at = of_day[0].ts
        now = {(stretch.strategy, stretch.symbol) for stretch in unknown if _is_unknown(stretch, at)}
        ever = {(stretch.strategy, stretch.symbol) for stretch in unknown if not (stretch.since or at) > at}
        own = _Day(session, held.by(session), profits.by(session), now, ever, accounts or {})
        compared, unlisted = list(own.compared(of_day)), list(own.unlisted(of_day))
        newest = compared + unlisted
        broken = [*filter(tolerance.differs, compared), *unlisted]
        found += broken
        if not broken and not own.passed_over:
            agreed.append(session)
    return Reconciliation(breaks=found, agreed=agreed, newest=newest)


class _Stated(NamedTuple):
    """One row of a statement."""

    row: int
    session: pd.Timestamp
    ts: pd.Timestamp
    symbol: str
    stream: str
    quantity: float
    strategy: str
    account: str
    realized_pnl: float


class _Held:
    """What is open of each symbol and strategy; asked of sessions in ascending order, each row is touched twice."""

    def __init__(self, holdings: pd.DataFrame) -> None:
        signed = holdings["quantity"].where(holdings["side"] == "long", -holdings["quantity"])
        self._rows = [*zip(holdings["symbol"], holdings["strategy"], signed.tolist(), strict=True)]
        self._begins, self._ends = (_in_order(holdings[name]) for name in ("since", "until"))
        self._open: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))

    def by(self, session: pd.Timestamp) -> Figures:
        """Quantities at the end of a session, by symbol and strategy."""
        while self._begins and self._begins[-1][0] <= session:
            row = self._begins.pop()[1]
            symbol, strategy, figure = self._rows[row]
            self._open[symbol][strategy][row] = figure
        while self._ends and self._ends[-1][0] <= session:
            row = self._ends.pop()[1]
            symbol, strategy, _ = self._rows[row]
            self._open[symbol][strategy].pop(row, None)
        return {
            symbol: {strategy: _total(figures.values()) for strategy, figures in of.items() if figures}
            for symbol, of in self._open.items()
        }


class _Realized:
    """Profit to date of each symbol and strategy; asked of sessions in ascending order."""

    def __init__(self, lots: pd.DataFrame) -> None:
        self._rows = [*zip(lots["symbol"], lots["strategy"], lots["pnl"].tolist(), strict=True)]
        self._booked = _in_order(lots["session"])
        self._profits: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def by(self, session: pd.Timestamp) -> Figures:
        """Profits up to the end of a session, by symbol and strategy."""
        while self._booked and self._booked[-1][0] <= session:
            symbol, strategy, profit = self._rows[self._booked.pop()[1]]
            self._profits[symbol][strategy] += profit
        return self._profits


def _in_order(sessions: pd.Series) -> list[tuple[pd.Timestamp, int]]:
    """Sessions with their rows, the earliest last; those of no session are left out."""
    known = sessions.reset_index(drop=True).dropna().sort_values(kind="stable")[::-1]
    return [*zip(known.tolist(), known.index.tolist(), strict=True)]


def _total(figures: Iterable[float]) -> float:
    """Sum of figures; what rounding leaves of some that cancel out is nothing."""
    each = [*figures]
    total = math.fsum(each)
    return 0.0 if abs(total) <= _ROUNDING * math.fsum(map(abs, each)) else total


def _is_unknown(stretch: Unknown, at: pd.Timestamp) -> bool:
    """Whether a position is not known at the end of an instant."""
    return (stretch.since is None or stretch.since <= at) and (stretch.until is None or stretch.until > at + _MOMENT)


@dataclass
class _Day:
    """One session: what the ledger has, by symbol and strategy, and which pairs are or were not known."""

    session: pd.Timestamp
    held: Figures
    profits: Figures
    unknown: Collection[Pair]
    ever_unknown: Collection[Pair]
    accounts: Mapping[str, Collection[str]]
    passed_over: int = 0

    def compared(self, stated: Sequence[_Stated]) -> Iterator[Break]:
        """Figures of the statement's rows, and the ledger's."""
        for said in stated:
            strategy, symbol, account = said.strategy, said.symbol, said.account
            if self._touches(self.unknown, said.stream, strategy, account):
                self.passed_over += 1
                continue
            found = self._found(self.held, symbol, strategy, account)
            yield Break(said.row, self.session, strategy, symbol, "quantity", said.quantity, found)
            if not (math.isnan(said.realized_pnl) or self._touches(self.ever_unknown, said.stream, strategy, account)):
                found = self._found(self.profits, symbol, strategy, account)
                yield Break(said.row, self.session, strategy, symbol, "realized_pnl", said.realized_pnl, found)

    def unlisted(self, stated: Sequence[_Stated]) -> Iterator[Break]:
        """What an account holds that its statement does not list, where it names no strategy."""
        for account in sorted({said.account for said in stated}):
            own = [said for said in stated if said.account == account]
            if any(said.strategy for said in own):
                continue
            listed, streams = {said.symbol for said in own}, {said.stream for said in own}
            self.passed_over += any(
                stream not in streams and self._is_of(name, "", account) for name, stream in self.unknown
            )
            for symbol in sorted({*self.held} - listed):
                if found := self._found(self.held, symbol, "", account):
                    yield Break(-1, self.session, "", symbol, "quantity", 0.0, found)

    def _found(self, figures: Figures, symbol: str, strategy: str, account: str) -> float:
        own = figures.get(symbol, {}).items()
        return _total(figure for name, figure in own if self._is_of(name, strategy, account))

    def _is_of(self, name: str, strategy: str, account: str) -> bool:
        if strategy:
            return name == strategy
        return account not in self.accounts or name in self.accounts[account]

    def _touches(self, pairs: Collection[Pair], stream: str, strategy: str, account: str) -> bool:
        return any(symbol == stream and self._is_of(name, strategy, account) for name, symbol in pairs)
