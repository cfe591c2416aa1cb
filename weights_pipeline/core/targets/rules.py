"""How a multiplier came about: the rule that decided it, its code, and its words.

Scope: the enumeration, with the note that tables hold and what a report says of it. Not here: the methods that decide.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Rule(IntEnum):
    """What decided a multiplier of a base weight.

    Attributes
    ----------
    note
        As tables hold it. That of ``NULL`` is followed by the reason of the null.
    said
        As a report says it; empty where it goes without saying.
    """

    note: str
    said: str

    def __new__(cls, code: int, note: str, said: str | None = None) -> Self:
        """Give a code its words."""
        rule = int.__new__(cls, code)
        rule._value_, rule.note, rule.said = code, note, note if said is None else said
        return rule

    MEASURED = 0, "measured", ""
    METRIC_CLIPPED = 1, "metric clipped"
    AT_FLOOR = 2, "clipped at floor", "multiplier at its floor"
    AT_CAP = 3, "clipped at cap", "multiplier at its cap"
    FLOOR = 4, "floor: metric <= 0", "multiplier at its floor, as the metric is not above 0"
    CAP = 5, "cap: gain without drawdown", "multiplier at its cap, as there was a gain without drawdown"
    SHARE = 6, "share of the measured", "its share of what the measured strategies hold"
    UNIFORM = 7, "uniform: none above zero"
    ALL_EQUAL = 8, "neutral: all equal"
    TOO_FEW = 9, "neutral: fewer than two measured"
    EQUAL = 10, "equal weight"
    FIXED = 11, "fixed allocation"
    OPTIMISED = 12, "optimised"
    DROPPED = 13, "dropped: below the smallest weight"
    NO_BASE = 14, "no base weight"
    NULL = 15, "neutral", "multiplier 1"
    NEWCOMER = 16, "base weight: not live in the whole window", "its base weight, as it was not live all the time"

    @classmethod
    def of(cls, note: str) -> Rule:
        """Rule of a note that a table holds.

        Raises
        ------
        ValueError
            There is none.
        """
        for rule in cls:
            if note == rule.note:
                return rule
        if note.startswith(f"{cls.NULL.note}: "):
            return cls.NULL
        raise ValueError(f"note: expected one of {', '.join(rule.note for rule in cls)}, got {note!r}")
