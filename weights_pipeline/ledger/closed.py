"""Closed lots of a ledger: completed, and in order, wherever they are.

Scope: what makes a booked lot of a row that is accepted, and reading lots by session. Not here: which rows are accepted
(``intake``), nor which lots are set aside (``aside``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.core.returns.lots import LOT_COLUMNS, entry_value, lot_pnl
from weights_pipeline.core.returns.sessions import SessionOf
from weights_pipeline.ledger.rows import Rows

LOT_ORDER = [
    *(name for name in LOT_COLUMNS if name not in {"multiplier", "currency", "fees_currency"}),
    "entry_value",
    "open_session",
    "session",
    "source",
    "currency",
]
"""Columns of a booked lot."""
SORTED_BY = ["session", "strategy", "lot_id"]


def placed(lots: Rows, session_of: SessionOf, multiplier: Mapping[str, float]) -> None:
    """Give rows the sessions that they were opened and closed in, and the multiplier of their symbol."""
    typed = lots.typed
    typed["open_session"] = session_of(typed["opened_at"])
    typed["session"] = session_of(typed["closed_at"])
    if multiplier:
        typed["multiplier"] = typed["multiplier"].fillna(typed["symbol"].map(multiplier))


def completed(accepted: pd.DataFrame) -> pd.DataFrame:
    """Accepted rows with what they leave out: fees and a multiplier, the profit, and what was tied up."""
    given = accepted.fillna({"fees": 0.0, "multiplier": 1.0}).assign(source="lots")
    # A date alone that closes a lot of that day is no instant before it.
    given["closed_at"] = given["closed_at"].clip(lower=given["opened_at"])
    figures = (given[name] for name in ("side", "quantity", "open_price", "close_price", "fees", "multiplier"))
    given["pnl"] = given["pnl"].fillna(lot_pnl(*figures))
    given["entry_value"] = entry_value(given["quantity"], given["open_price"], given["multiplier"])
    return given


class Block(Protocol):
    """Lots that are kept elsewhere, in order."""

    first: pd.Timestamp
    last: pd.Timestamp
    name: str
    lots: int

    def between(self, first: pd.Timestamp, after: pd.Timestamp) -> pd.DataFrame:
        """Lots of the sessions from one to before another, in the columns of `LOT_ORDER`."""


@dataclass(frozen=True)
class ClosedLots:
    """Closed lots of a ledger, those at hand and those that were set aside.

    Attributes
    ----------
    here : DataFrame
        Lots in the columns of `LOT_ORDER`, in the order of `SORTED_BY`.
    aside
        Others.
    """

    here: pd.DataFrame
    aside: Sequence[Block] = ()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.here) + sum(block.lots for block in self.aside)

    def between(self, first: pd.Timestamp, after: pd.Timestamp) -> pd.DataFrame:
        """Lots of the sessions from one to before another, in order."""
        days = self.here["session"]
        inside = ((days >= first) & (days < after)).to_numpy()
        own = self.here if inside.all() else self.here[inside]
        others = [block.between(first, after) for block in self.touched(first, after)]
        # Where there is nothing to join, there is nothing to copy.
        parts = [part for part in (own, *others) if len(part)] or [own]
        return in_order(
            pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0], SORTED_BY, spent=len(parts) > 1
        )

    def at_most(self, first: pd.Timestamp, after: pd.Timestamp) -> int:
        """An upper bound of how many lots are of the sessions from one to before another."""
        begin, end = self.here["session"].searchsorted([first, after])
        return int(end - begin) + sum(block.lots for block in self.touched(first, after))

    def sources(self, first: pd.Timestamp, after: pd.Timestamp) -> list[str] | None:
        """What all lots of some sessions are set aside in, and how many are there; None where some are at hand."""
        days = self.here["session"]
        if ((days >= first) & (days < after)).any():
            return None
        return sorted(f"{block.name} {block.lots}" for block in self.touched(first, after))

    def all(self) -> pd.DataFrame:
        """All lots, in order."""
        return self.between(pd.Timestamp.min, pd.Timestamp.max) if self.aside else self.here

    def touched(self, first: pd.Timestamp, after: pd.Timestamp) -> list[Block]:
        """Where lots of the sessions from one to before another may be set aside."""
        return [block for block in self.aside if block.first < after and first <= block.last]
