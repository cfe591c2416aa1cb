"""Findings: what the rows of a ledger say that cannot be right, or that only its owner can decide.

Scope: their form, their codes and how severe each is. Not here: the rules that find them, nor the row-by-row faults of
``lots``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import pandas as pd

Severity = Literal["ERROR", "WARN", "INFO"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The gravest first."""

FINDINGS: Mapping[str, tuple[Severity, str]] = {
    "position_unknown": ("ERROR", "a fill is missing, so that what comes after it is not known"),
    "opening_differs": ("ERROR", "an opening states another position than the fills before it leave"),
    "fees_lost": ("ERROR", "rows that are no fill carry fees, which are booked nowhere"),
    "cash_rejected": ("ERROR", "cash that could not be read is booked nowhere"),
    "lots_rejected": ("WARN", "lots that could not be read, whose profit is missing"),
    "scale": ("WARN", "figures of another size than they should be"),
    "ambiguous_order": ("WARN", "fills of opposite signs at one instant, which nothing puts in order"),
    "possible_cancellation": ("WARN", "a fill and its opposite at one instant, price and size"),
    "not_reconciled": ("ERROR", "the broker states another position or profit than the ledger's rows come to"),
    "statement_without_price": ("WARN", "a statement of a position that is not known does not say what it is worth"),
    "statement_outside": ("INFO", "a statement of a date that is not read, compared with nothing"),
    "reconciled": ("INFO", "the newest date on which the broker's statement and the ledger's rows agree in everything"),
    "rate_carried": ("INFO", "a rate of exchange of an earlier day, in place of one that is missing"),
    "action_of_nobody": ("WARN", "a corporate action of a symbol that no row names"),
    "action_outside": ("INFO", "a corporate action of a date that is not read"),
    "possible_split": ("WARN", "prices or quantities change as they do in a split, and no action says so"),
    "returns_gap": ("WARN", "delivered returns lack more than 1% of their sessions"),
    "series_ended": ("WARN", "delivered returns have ended"),
    "returns_off_calendar": ("INFO", "delivered returns of days without a session, part of the next session's"),
    "price_not_positive": ("WARN", "a closing price of 0 or less"),
    "price_jump": ("WARN", "a closing price that leaves its neighbours by a factor, and is left again the next day"),
    "dates_read_as_days": ("WARN", "times that are all midnight, read as dates of the exchange"),
}
"""By code: how severe, and what it is in a few words."""


@dataclass(frozen=True, kw_only=True)
class LedgerFinding:
    """One thing that the owner of a ledger has to know, or to decide.

    Attributes
    ----------
    code
        Key of `FINDINGS`.
    message
        What was found, with its figures, in a sentence.
    strategy, symbol
        Of whom; empty where it is of more than one.
    since, until
        First session that it touches, and the session from which it does no more; null where there is none.
    source_file, line
        The row that it comes from; empty and 0 where it is of a whole file or of none.
    figures
        The numbers of the message by name.
    setting
        What in the ledger's YAML or in its files resolves it.
    """

    code: str
    message: str
    strategy: str = ""
    symbol: str = ""
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None
    source_file: str = ""
    line: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    setting: str = ""

    @property
    def severity(self) -> Severity:
        """ERROR where numbers are wrong or missing, WARN where somebody has to look, INFO where nobody has to."""
        return FINDINGS[self.code][0]
