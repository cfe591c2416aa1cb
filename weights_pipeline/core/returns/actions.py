"""Corporate actions: splits, renames and expiries, and what becomes of a position that is held over one.

A position held over a split or a rename is carried: what was open the session before ends there, and the same goes on
in new units, or under the new symbol, from the start of the action's session. So what was known before the action is
never changed by it, and every quantity is in the units of its own time.

Scope: actions, and the events that they add to streams of fills. Not here: files, nor prices (``marking``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.matching import CARRIED, FILL, LOST, SKIPPED, MatchResult, carried_id, match_fifo

ActionKind = Literal["split", "rename", "expiry"]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One corporate action.

    Attributes
    ----------
    symbol, kind
        Of what, and what happens.
    session
        The first session on or after its date: a split and a rename hold from its start, an expiry at its end.
    before, at
        Last instant before the action, and the instant from which it holds; tz-naive UTC.
    more, fewer
        Of a split ``more:fewer``: so many units for so many; 1 otherwise.
    new_symbol
        Of a rename.
    price
        Of an expiry: what each unit is closed at.
    """

    symbol: str
    kind: ActionKind
    session: pd.Timestamp
    before: pd.Timestamp
    at: pd.Timestamp
    more: Decimal = Decimal(1)
    fewer: Decimal = Decimal(1)
    new_symbol: str = ""
    price: float = 0.0

    @property
    def ratio(self) -> float:
        """Units after the action for one before it."""
        return float(self.more / self.fewer)


@dataclass(frozen=True)
class Lineage:
    """Symbols over time: which stream a symbol is part of, and in which units."""

    actions: Sequence[Action] = ()

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols that any action names."""
        return frozenset(name for a in self.actions for name in (a.symbol, a.new_symbol) if name)

    def of(self, symbol: str, ts: pd.Timestamp) -> tuple[str, Decimal]:
        """Name of the stream that a row of an instant is part of (its newest symbol), and units of it for one then."""
        return self._after(symbol, int(self._instants.searchsorted(ts, side="right")))

    def ever(self, symbol: str) -> frozenset[str]:
        """Every stream that a symbol may be part of, at whatever instant."""
        return frozenset(self._after(symbol, done)[0] for done in range(len(self.actions) + 1))

    def spelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with ``stream`` and ``units``, by their ``symbol`` and ``ts``."""
        stream, units = rows["symbol"].tolist(), [Decimal(1)] * len(rows)
        if self.actions:
            at = np.flatnonzero(rows["symbol"].isin(self.symbols) & rows["ts"].notna())
            done = self._instants.searchsorted(pd.DatetimeIndex(rows["ts"].iloc[at]), side="right")
            for i, number in zip(at.tolist(), done.tolist(), strict=True):
                stream[i], units[i] = self._after(stream[i], number)
        spelled = pd.Series(stream, index=rows.index, dtype="str"), pd.Series(units, index=rows.index, dtype=object)
        return rows.assign(stream=spelled[0], units=spelled[1])

    @cached_property
    def _ordered(self) -> list[Action]:
        return sorted(self.actions, key=lambda each: each.at)

    @cached_property
    def _instants(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex([action.at for action in self._ordered], dtype="datetime64[us]")

    @cached_property
    def _known(self) -> dict[tuple[str, int], tuple[str, Decimal]]:
        return {}

    def _after(self, symbol: str, done: int) -> tuple[str, Decimal]:
        """What a row is part of, with which some of the actions are done; looked up once."""
        if (found := self._known.get((symbol, done))) is None:
            name, units = symbol, Decimal(1)
            for action in self._ordered[done:]:
                if action.symbol == name:
                    units = units * action.more / action.fewer
                    name = action.new_symbol or name
            found = self._known[symbol, done] = name, units
        return found

    def carries(self, lost: pd.DataFrame) -> pd.Series:
        """Whether each row of `MatchResult.lost` ends because an action carries it over, by its index."""
        ends = [(action.symbol, action.before) for action in self.actions]
        return pd.Series(
            [end in ends for end in zip(lost["symbol"], lost["until"], strict=True)], lost.index, dtype=bool
        )

    def expiries(self) -> dict[str, list[pd.Timestamp]]:
        """Instants at which the position of a stream ends, by its name."""
        found: dict[str, list[pd.Timestamp]] = {}
        for action in self.actions:
            if action.kind == "expiry":
                found.setdefault(self.of(action.symbol, action.at)[0], []).append(action.at)
        return found


def match_over(events: pd.DataFrame, actions: Iterable[Action]) -> MatchResult:
    """Match fills first in, first out, carrying positions over actions.

    Parameters
    ----------
    events
        As :func:`~weights_pipeline.core.returns.matching.match_fifo` takes them, in the units and under the symbols of
        their own time.
    actions
        In any order; of one instant in the order given.

    Returns
    -------
    MatchResult
        What is held over a split or rename is in ``lost`` up to the instant before it, and goes on in ``holdings`` and
        ``lots`` as a lot opened at the action, at the same cost, fractions kept; see
        :func:`~weights_pipeline.core.returns.matching.carried_id` for its id. An expiry closes what is open.
    """
    ordered = sorted(actions, key=lambda each: each.at)
    if not ordered:
        return match_fifo(events)
    named = {name for action in ordered for name in (action.symbol, action.new_symbol)}
    own = events[events["symbol"].isin(named)]
    streams = defaultdict(lambda: _Since(own[:0]), {str(name): _Since(rows) for name, rows in own.groupby("symbol")})
    made = [events]
    for action in ordered:
        since = streams[action.symbol]
        rows = since.until(action.at)
        held = match_fifo(rows, since.counted).open_lots if len(rows) else pd.DataFrame()
        expires = action.kind == "expiry" and not held.empty
        if not held.empty:
            added = _expired(held, action, rows) if expires else _carried(held, action, rows)
            made.append(added.astype({"ts": "datetime64[us]", "fill_id": "str"}))
        # What expires is held until a fill of that instant closes it; otherwise nothing is held any more.
        if not expires:
            since.settle(action.at)
        if not held.empty:
            streams[action.new_symbol or action.symbol].added.append(made[-1][made[-1]["ts"] == action.at])
    return match_fifo(pd.concat(made, ignore_index=True))


class _Since:
    """Events of a symbol since nothing of it was held, or only what was carried then."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows.sort_values("ts", kind="stable")
        self._ts, self._begin = pd.DatetimeIndex(self._rows["ts"]), 0
        self.added: list[pd.DataFrame] = []
        self.counted = Counter[tuple[str, str]]()

    def until(self, at: pd.Timestamp) -> pd.DataFrame:
        """Those before an instant."""
        own = self._rows.iloc[self._begin : int(self._ts.searchsorted(at))]
        return pd.concat([own, *(rows[rows["ts"] < at] for rows in self.added)], ignore_index=True)

    def settle(self, at: pd.Timestamp) -> None:
        """Leave those before an instant behind: nothing of them is held any more."""
        gone = self.until(at)
        fills = gone.loc[gone["event"].isin([FILL, SKIPPED]), ["strategy", "symbol"]]
        self.counted.update(fills.itertuples(index=False, name=None))
        self._begin = int(self._ts.searchsorted(at))
        self.added = [later for rows in self.added if len(later := rows[rows["ts"] >= at])]


def _signed(held: pd.DataFrame) -> list[Decimal]:
    signs = np.where(held["side"] == "long", 1, -1).tolist()
    return [Decimal(repr(q)) * sign for q, sign in zip(held["quantity"].tolist(), signs, strict=True)]


def _multipliers(held: pd.DataFrame, own: pd.DataFrame) -> list[float]:
    """Units that a contract stands for, of each lot held: that of its symbol's fills."""
    by_strategy = own.groupby("strategy")["multiplier"].last()
    return [float(by_strategy[name]) for name in held["strategy"]]


def _carried(held: pd.DataFrame, action: Action, own: pd.DataFrame) -> pd.DataFrame:
    """Events that end what is held before an action, and go on with it after."""
    amounts = [float(amount * action.more / action.fewer) for amount in _signed(held)]
    goes_on = pd.DataFrame(
        {
            "strategy": held["strategy"],
            "symbol": action.new_symbol or action.symbol,
            "ts": action.at,
            "amount": amounts,
            "price": held["open_price"] / action.ratio,
            "fees": held["fees"],
            "fill_id": [carried_id(lot_id, action.session, action.new_symbol) for lot_id in held["lot_id"]],
            "multiplier": _multipliers(held, own),
            "sequence": -np.inf,
            "position": np.arange(len(held), dtype=float),
            "event": CARRIED,
        }
    )
    ends = pd.DataFrame(
        {
            "strategy": sorted(held["strategy"].unique()),
            "symbol": action.symbol,
            "ts": action.before,
            "amount": 0.0,
            "price": 0.0,
            "fees": 0.0,
            "fill_id": None,
            "multiplier": 1.0,
            "sequence": np.inf,
            "position": np.inf,
            "event": LOST,
        }
    )
    return pd.concat([ends, goes_on], ignore_index=True)


def _expired(held: pd.DataFrame, action: Action, own: pd.DataFrame) -> pd.DataFrame:
    """Events that close what is held at an expiry."""
    net: dict[str, Decimal] = {}
    for strategy, signed in zip(held["strategy"].tolist(), _signed(held), strict=True):
        net[strategy] = net.get(strategy, Decimal(0)) + signed
    multiplier = dict(zip(held["strategy"], _multipliers(held, own), strict=True))
    return pd.DataFrame(
        {
            "strategy": [*net],
            "symbol": action.symbol,
            "ts": action.at,
            "amount": [-float(each) for each in net.values()],
            "price": action.price,
            "fees": 0.0,
            "fill_id": f"expiry {action.session:%Y-%m-%d}",
            "multiplier": [multiplier[name] for name in net],
            "sequence": np.inf,
            "position": np.inf,
            "event": FILL,
        }
    )
