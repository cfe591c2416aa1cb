"""The outbox: alerts wait here until every receiver has them, across restarts.

Scope: what is kept, and when alerts are put together into messages. Not here: how a message travels.

One file of JSON lines is only ever appended to, and on the disk before anything goes on:

===========  ======================================================================================================
``batch``    alerts found, and the position of whoever found them: both in one line, so that there is never one without
             the other
``message``  alerts put together, in the words that every attempt to deliver them will use
``mark``     an attempt to deliver one message to one receiver: before it is made, and what came of it
``settled``  a message that every receiver has got, or that was given up
===========  ======================================================================================================

A process that ends anywhere goes on from there: at the worst a message that was delivered and not yet marked so is sent
again, under the same key. Where nothing can be written, on a full disk, nothing is sent: it would be sent for ever.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from weights_pipeline.alerts.message import Alert, Message, Severity, message
from weights_pipeline.files import replacing

QUIET: Final = dt.timedelta(hours=1)
"""A digest goes out when so long nothing was added to it: the runs of a morning are less apart."""

LONGEST: Final = dt.timedelta(hours=4)
"""A digest goes out so long after the first thing in it, whatever is added."""

FIRST_PAUSE: Final = dt.timedelta(seconds=30)
LAST_PAUSE: Final = dt.timedelta(minutes=15)
"""Pauses between attempts double from the first to the last."""

GIVEN_UP: Final = dt.timedelta(days=7)
"""What could not be delivered for so long is given up; the list of alerts says so."""

UNANSWERED: Final = "has not answered yet"
"""Why a message has not arrived whose attempt is still going on."""

KEPT: Final = dt.timedelta(days=90)
"""How long settled entries are kept; positions have gone past what they tell of long before."""


@dataclass
class Attempts:
    """What came of delivering one message to one receiver, and what the receiver is called."""

    name: str = ""
    failures: int = 0
    last: dt.datetime | None = None
    outcome: str = ""
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.outcome in ("delivered", "given up")

    def due(self, now: dt.datetime) -> bool:
        """Whether the next attempt may be made."""
        if self.over or self.last is None:
            return not self.over
        pause: dt.timedelta = min(FIRST_PAUSE * 2 ** min(self.failures - 1, 10), LAST_PAUSE)
        return now >= self.last + pause


@dataclass
class Contents:
    """What the file says, taken together.

    Attributes
    ----------
    alerts
        Alert and the instant it was found, by key, in the order found.
    messages
        By key, in the order put together.
    attempts
        By message and receiver.
    settled
        Keys of messages.
    batches
        Source, position, and keys of the alerts, in order.
    oldest
        Instant of the first line.
    """

    alerts: dict[str, tuple[Alert, dt.datetime]] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    attempts: dict[tuple[str, str], Attempts] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    batches: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    oldest: dt.datetime | None = None

    @property
    def waiting(self) -> dict[str, tuple[Alert, dt.datetime]]:
        """Alerts that are in no message yet."""
        told = {key for each in self.messages.values() for key in each.alerts}
        return {key: found for key, found in self.alerts.items() if key not in told}

    @property
    def unsettled(self) -> list[Message]:
        """Messages that are not settled."""
        return [each for each in self.messages.values() if each.key not in self.settled]

    def due(self, receiver: str, now: dt.datetime) -> list[Message]:
        """Messages to deliver to a receiver now: one that is refused again and again does not hold up the others."""
        found = [(self.attempts.get((each.key, receiver), Attempts()), each) for each in self.unsettled]
        ordered = sorted((pair for pair in found if pair[0].due(now)), key=lambda p: (p[0].failures, p[1].at))
        return [each for _, each in ordered]


class Outbox:
    """Alerts and messages in a folder of this machine; any number of threads and processes may use it at once.

    Parameters
    ----------
    folder
        Made when something is first put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "journal.jsonl"
        self._read: tuple[object, Contents] = (None, Contents())

    def contents(self) -> Contents:
        """Everything that is there; read anew only where the file has changed. Not to be changed by the caller."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return Contents()
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._read[0] != seen:
            self._read = (seen, _folded(self._lines()))
        return self._read[1]

    def put(self, source: str, position: str, alerts: Collection[Alert], now: dt.datetime) -> None:
        """Keep alerts, and the position that their source has come to. Those that are there already are left out."""
        with self._locked():
            known = self.contents().alerts
            fresh = {alert.key: alert for alert in alerts if alert.key not in known}
            batch = {"source": source, "position": position, "alerts": [a.content() for a in fresh.values()]}
            self._append(now, batch=batch)

    def position(self, source: str, cursor: str) -> str:
        """Where a source goes on: at its newest position here, or at its cursor where none is known here."""
        return next((position for name, position, _ in reversed(self.contents().batches) if name == source), cursor)

    def settled_position(self, source: str, cursor: str) -> str:
        """Newest position of a source before which every alert is settled: what its cursor may be moved to.

        Were this folder lost, with the machine it is on, the source would find again whatever nobody was told.
        """
        contents = self.contents()
        done = {key for each in contents.settled for key in contents.messages[each].alerts}
        for name, position, alerts in contents.batches:
            if name == source:
                if not done.issuperset(alerts):
                    break
                cursor = position
        return cursor

    def gather(self, now: dt.datetime) -> None:
        """Put together what is due: one message per severity; of warnings, once no more are coming."""
        with self._locked():
            waiting = self.contents().waiting.values()
            for severity in Severity:
                found = [pair for pair in waiting if pair[0].severity is severity]
                instants = [at for _, at in found]
                if not found or (
                    severity is Severity.WARN and now < max(instants) + QUIET and now < min(instants) + LONGEST
                ):
                    continue
                made = message([alert for alert, _ in found], now)
                self._append(now, message=asdict(made) | {"at": now.isoformat()})

    def begin(self, key: str, receiver: str, name: str, now: dt.datetime) -> None:
        """Record that an attempt is about to be made, to a receiver of that name."""
        self._mark(key, receiver, name, "begun", UNANSWERED, now)

    def end(self, key: str, receiver: str, name: str, reason: str, now: dt.datetime) -> None:
        """Record what came of an attempt: delivered where there is no reason why not, otherwise failed or given up."""
        late = now > self.contents().messages[key].at + GIVEN_UP
        self._mark(key, receiver, name, ("given up" if late else "failed") if reason else "delivered", reason, now)

    def settle(self, receivers: Sequence[str], now: dt.datetime) -> None:
        """Record which messages nothing is left to do for, and forget what is old."""
        with self._locked():
            contents = self.contents()
            for each in contents.unsettled:
                if all(contents.attempts.get((each.key, receiver), Attempts()).over for receiver in receivers):
                    self._append(now, settled={"message": each.key})
                    for file in each.attachments:
                        Path(file).unlink(missing_ok=True)
            if contents.oldest is not None and contents.oldest < now - KEPT - dt.timedelta(days=1):
                self._forget(now - KEPT)

    @contextmanager
    def delivering(self, receiver: str) -> Iterator[bool]:
        """Whether this thread is the one that delivers to a receiver; the system frees it should the process die."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{receiver}.lock").open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".journal.lock").open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _mark(self, key: str, receiver: str, name: str, outcome: str, reason: str, now: dt.datetime) -> None:
        mark = {"message": key, "receiver": receiver, "name": name, "outcome": outcome, "reason": reason}
        with self._locked():
            self._append(now, mark=mark)

    def _append(self, now: dt.datetime, **entry: Mapping[str, Any]) -> None:
        line = json.dumps({"at": now.isoformat(), **entry}, sort_keys=True)
        with self._file.open("ab+") as stream:
            # A line that a crash has cut off must not take the next one with it.
            size = stream.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
            stream.write((b"\n" if torn else b"") + line.encode("ascii") + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _lines(self) -> list[tuple[dt.datetime, dict[str, Any]]]:
        found = list[tuple[dt.datetime, dict[str, Any]]]()
        for text in self._file.read_bytes().splitlines():
            try:
                line = json.loads(text)
                found.append((dt.datetime.fromisoformat(line["at"]), line))
            except (KeyError, TypeError, ValueError):
                # Cut off by a crash, before anything followed from it.
                continue
        return found

    def _forget(self, before: dt.datetime) -> None:
        lines = self._lines()
        newest = {line["batch"]["source"]: number for number, (_, line) in enumerate(lines) if "batch" in line}
        kept = list[dict[str, Any]]()
        for number, (at, line) in enumerate(lines):
            if at >= before:
                kept.append(line)
            elif number in newest.values():
                # The position still counts, what was told does not.
                kept.append(line | {"batch": line["batch"] | {"alerts": []}})
        with replacing(self._file) as temporary:
            temporary.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in kept), encoding="ascii")


def _folded(lines: Sequence[tuple[dt.datetime, Mapping[str, Any]]]) -> Contents:
    contents = Contents()
    for at, line in lines:
        try:
            _add(contents, at, line)
        except (KeyError, TypeError, ValueError):
            # Of another version of the software: better told twice than nothing told any more.
            continue
    return contents


def _add(contents: Contents, at: dt.datetime, line: Mapping[str, Any]) -> None:
    contents.oldest = contents.oldest or at
    if "batch" in line:
        alerts = [Alert.from_content(content) for content in line["batch"]["alerts"]]
        keys = tuple(alert.key for alert in alerts)
        contents.batches.append((line["batch"]["source"], line["batch"]["position"], keys))
        contents.alerts |= {alert.key: (alert, at) for alert in alerts}
    elif "message" in line:
        content = line["message"]
        parsed = {"severity": Severity(content["severity"]), "alerts": tuple(content["alerts"]), "at": at}
        parsed["attachments"] = tuple(content.get("attachments", ()))
        contents.messages[content["key"]] = Message(**content | parsed)
    elif "mark" in line:
        mark = line["mark"]
        attempts = contents.attempts.setdefault((mark["message"], mark["receiver"]), Attempts())
        attempts.failures += mark["outcome"] in ("failed", "given up")
        attempts.name, attempts.last = mark["name"], at
        attempts.outcome, attempts.reason = mark["outcome"], mark["reason"]
    elif line["settled"]["message"] in contents.messages:
        contents.settled.add(line["settled"]["message"])
