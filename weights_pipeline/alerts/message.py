"""An alert, and the message that tells of one or many.

Scope: what an alert says, what makes two of them the same event, and how text from outside is kept from acting. Not
here: when something is an alert, and how a message travels. Pure: no clock, no file, no environment.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from weights_pipeline.text import visible

_NAMES_SHOWN: Final = 12
_LONGEST_NAME: Final = 80
_LONGEST_TEXT: Final = 600
_ACTIVE: Final = str.maketrans({mark: chr(ord(mark) + 0xFEE0) for mark in "\\`*<>[]|~&@#!"})


class Severity(StrEnum):
    """How urgent an alert is, the most urgent first."""

    ERROR = "ERROR"
    """Something is wrong, or was not done in time: told at once."""
    NOTICE = "NOTICE"
    """Something to know before trading, such as a regime that has changed: told at once."""
    WARN = "WARN"
    """Something to look at: told with others of its kind, in a digest."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One event that an operator is told of.

    Attributes
    ----------
    severity
        How urgent it is.
    book
        The book, ledger or comparison that it is of.
    event
        What tells it from every other event of the book: its kind first, then whatever names it, such as the check and
        the run. Two alerts of one event are one alert.
    title
        What happened, in a few words.
    value, limit
        What was found, and what it was held against; empty where nothing was.
    detail
        More words, where there are any.
    names
        Who offends: strategies, partitions, files.
    advice
        What to do.
    partition, run_id
        Partition or range of them, and run; empty where there is none.
    link
        Where the user interface shows it.
    attachment
        File that goes with it to whoever reads mail, if any. It is the outbox's, and removed once everybody has it.
    """

    severity: Severity
    book: str
    event: tuple[str, ...]
    title: str
    value: str
    limit: str
    advice: str
    link: str
    detail: str = ""
    names: tuple[str, ...] = ()
    partition: str = ""
    run_id: str = ""
    attachment: str = ""

    @property
    def key(self) -> str:
        """Identifies the event, however often and wherever it is told."""
        return _digest([self.book, *self.event])

    def content(self) -> dict[str, Any]:
        """In the types of JSON."""
        return asdict(self) | {"event": list(self.event), "names": list(self.names)}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Alert:
        """What :meth:`content` was made from."""
        tuples = {name: tuple(content[name]) for name in ("event", "names")}
        return cls(**{**content, **tuples, "severity": Severity(content["severity"])})

    def lines(self) -> list[str]:
        """In Markdown that reads as plain text too; nothing in it but the link can be followed or acts."""
        where = f" · {plain(self.partition)}" if self.partition else ""
        facts = {
            "Value": self.value and f"{plain(self.value)} (limit: {plain(self.limit)})",
            "Offending": listed(self.names),
            "To do": plain(self.advice),
            "Run": plain(self.run_id),
            "See": f"<{self.link}>",
            "Key": self.key,
        }
        return [
            f"**{plain(self.book)}{where}: {plain(self.title)}**",
            *([plain(self.detail)] if self.detail else []),
            *(f"- {name}: {fact}" for name, fact in facts.items() if fact),
        ]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent: the alerts of one severity that are due together, in words that stay as they are.

    Attributes
    ----------
    key
        Follows from the alerts: a receiver that knows it has the message already.
    severity
        That of every alert in it.
    title, text
        What a person reads; the text is Markdown.
    alerts
        Keys of the alerts.
    at
        When it was put together.
    attachments
        Files that go with it.
    """

    key: str
    severity: Severity
    title: str
    text: str
    alerts: tuple[str, ...]
    at: dt.datetime
    attachments: tuple[str, ...] = ()


def message(alerts: Sequence[Alert], at: dt.datetime) -> Message:
    """Put alerts of one severity into one message, those of a run beneath each other.

    Raises
    ------
    ValueError
        There is none, or they are not of one severity.
    """
    if len({alert.severity for alert in alerts}) != 1:
        raise ValueError(f"alerts: expected some of one severity, got {[str(a.severity) for a in alerts]}")
    # What became of a run, then what its checks say.
    ordered = sorted(alerts, key=lambda a: (a.book, a.run_id, a.event[0] != "run", a.event))
    key, severity = _digest(sorted(a.key for a in ordered)), ordered[0].severity
    books = sorted({a.book for a in ordered})
    told = plain(ordered[0].title) if len(ordered) == 1 else f"{len(ordered)} alerts"
    blocks = ["\n".join(a.lines()) for a in ordered]
    return Message(
        key=key,
        severity=severity,
        title=f"{severity}: {listed(books, shown=4)}: {told}",
        text="\n\n".join([*blocks, f"Idempotency key: {key}"]),
        alerts=tuple(a.key for a in ordered),
        at=at,
        attachments=tuple(a.attachment for a in ordered if a.attachment),
    )


def plain(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Text on one line that means nothing but itself to Markdown, HTML, chats and terminals.

    What steers a terminal or turns a line round is spelled out. Marks that a dialect gives a meaning (mentions, links,
    emphasis, tags, tables) become their full-width twins: unlike an escape these are read the same by every receiver,
    also by one that shows the text as it comes.
    """
    inert = visible(text).translate(_ACTIVE).replace("://", "：//")
    inert = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", lambda found: "＿" * len(found[0]), inert)
    return inert if len(inert) <= longest else inert[: longest - 1] + "…"


def listed(names: Sequence[str], shown: int = _NAMES_SHOWN) -> str:
    """Names for a line, the first ones of many."""
    text = ", ".join(plain(name, _LONGEST_NAME) for name in names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown} more"


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode("ascii")).hexdigest()[:24]
