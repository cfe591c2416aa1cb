"""Delivery of messages: to every receiver that ``WEIGHTS_ALERTS`` names, or to a file where it names none.

Scope: how a message travels, and that it does so once. Not here: which messages there are.

The URLs of receivers hold tokens and passwords. They are read from the environment by whoever delivers, and live in
nothing that is kept, logged, raised or shown: a receiver is known by its scheme, and by a hash that is slow to guess.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from weights_pipeline.alerts import Message, Outbox, Severity
from weights_pipeline.alerts.outbox import UNANSWERED
from weights_pipeline.extras import missing

VARIABLE: Final = "WEIGHTS_ALERTS"
HEADER: Final = "X-Idempotency-Key"
PATIENCE: Final = 40.0
"""Seconds that are waited for receivers; one that takes longer goes on by itself and holds up nobody."""

_LOG: Final = logging.getLogger(__name__)
_TALKATIVE: Final = ("apprise", "requests", "urllib3", "urllib3.connectionpool", "urllib3.util.retry")
_KINDS: Final = {Severity.ERROR: "failure", Severity.WARN: "warning", Severity.NOTICE: "info"}
_MAIL: Final = frozenset({"mailto", "mailtos", "mailgun", "ses", "smtp2go", "sparkpost"})
"""Schemes of receivers that get attachments: a webhook would have them in the middle of its JSON."""
_SENDING: Final = threading.local()


class Receiver(Protocol):
    """Who messages are delivered to.

    Attributes
    ----------
    name
        For a person; holds no secret.
    fingerprint
        Tells it from others, now and after a restart.
    """

    name: str
    fingerprint: str

    def send(self, message: Message) -> str:
        """Deliver a message; empty where it has arrived, otherwise why not, without a secret."""
        ...


class Remote:
    """A receiver that Apprise knows how to reach: e-mail, chats, webhooks, and a hundred more.

    Parameters
    ----------
    url
        See https://github.com/caronc/apprise/wiki. One that Apprise cannot read is a receiver that nothing reaches.
    """

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        self.name = scheme if "://" in url and re.fullmatch(r"[a-z][a-z0-9+.-]{0,31}", scheme) else "not a URL"
        self.fingerprint = _fingerprint(url)
        self._url = url

    def __repr__(self) -> str:
        return f"Remote({self.name!r}, {self.fingerprint!r})"

    def send(self, message: Message) -> str:
        """Deliver a message with its key as a header, where the receiver takes headers."""
        with _silenced():
            try:
                return self._sent(message)
            except Exception as error:  # whatever a plugin raises may quote its URL
                return f"failed with {type(error).__name__}"

    def _sent(self, message: Message) -> str:
        if said := missing("apprise"):
            return said
        import apprise

        asset = apprise.AppriseAsset(app_id="weights-pipeline", app_desc="weights-pipeline", async_mode=False)
        plugin = apprise.Apprise.instantiate(self._url, asset=asset)
        if plugin is None:
            return "is no URL that Apprise can read"
        if "overflow=" not in self._url:
            # A service refuses a message that is too long for it, and would do so for ever.
            plugin.overflow_mode = apprise.OverflowMode.SPLIT
        if isinstance(headers := getattr(plugin, "headers", None), dict):
            headers[HEADER] = message.key
        files = message.attachments if self.name in _MAIL else ()
        if gone := [file for file in files if not Path(file).is_file()]:
            return f"lacks its attachment {', '.join(gone)}"
        arrived = apprise.Apprise(plugin, asset=asset).notify(
            title=message.title,
            body=message.text,
            notify_type=apprise.NotifyType(_KINDS[message.severity]),
            body_format=apprise.NotifyFormat.MARKDOWN,
            attach=list(files) or None,
        )
        code = getattr(_SENDING, "code", "")
        return "" if arrived else f"answered {code}" if code else "could not be reached"


class LogFile:
    """Where messages go when nobody is named: a file for people, and a line in the log of the process."""

    name = "file"
    fingerprint = "file"

    def __init__(self, file: Path) -> None:
        self.file = file

    def send(self, message: Message) -> str:
        """Add a message to the file and wait for the disk."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(f"{message.at.isoformat(timespec='seconds')} {message.title}\n{message.text}\n\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            return f"cannot be written: {error.strerror}"
        _LOG.warning("%s (in %s)", message.title, self.file)
        return ""


def receivers(environment: Mapping[str, str], folder: Path) -> list[Receiver]:
    """Who is told: the URLs of ``WEIGHTS_ALERTS``, with spaces between, or a file in a folder where there is none."""
    urls = dict.fromkeys(environment.get(VARIABLE, "").split())
    return [Remote(url) for url in urls] or [LogFile(folder / "alerts.log")]


def deliver(
    outbox: Outbox, to: Sequence[Receiver], now: dt.datetime, *, patience: float = PATIENCE
) -> list[tuple[str, str]]:
    """Deliver what is due, to all receivers at once, each message once to each.

    Parameters
    ----------
    outbox
        What is to be delivered, and where every delivery is recorded as soon as it was made.
    to
        The receivers.
    now
        The instant, zone-aware.
    patience
        Seconds to wait for them.

    Returns
    -------
    list of (str, str)
        Receivers that lack a message, and why. The next calls try again, with pauses that grow.
    """
    outbox.gather(now)
    due = [each for each in to if outbox.contents().due(each.fingerprint, now)]
    threads = [threading.Thread(target=_deliver, args=(outbox, each, now), daemon=True) for each in due]
    until = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    outbox.settle([each.fingerprint for each in to], now)
    contents = outbox.contents()
    lacking = {
        (each.name, attempts.reason)
        for each in to
        for message in contents.unsettled
        if (attempts := contents.attempts.get((message.key, each.fingerprint))) and not attempts.over
    }
    # A receiver may be so slow to reach that not even the attempt is recorded.
    lacking |= {(each.name, UNANSWERED) for each, thread in zip(due, threads, strict=True) if thread.is_alive()}
    return sorted(lacking)


def try_out(message: Message, to: Sequence[Receiver]) -> list[tuple[str, str]]:
    """Send one message to every receiver, whatever it got before; by receiver, why it did not arrive."""
    return [(each.name, each.send(message)) for each in to]


def _deliver(outbox: Outbox, receiver: Receiver, now: dt.datetime) -> None:
    with outbox.delivering(receiver.fingerprint) as mine:
        # Looked up under the lock: whoever held it has marked what it delivered.
        for message in outbox.contents().due(receiver.fingerprint, now) if mine else []:
            outbox.begin(message.key, receiver.fingerprint, receiver.name, now)
            reason = receiver.send(message)
            outbox.end(message.key, receiver.fingerprint, receiver.name, reason, now)
            if reason:
                # Down, most likely: the other messages wait for the next time instead of for a time-out each.
                return


@lru_cache(maxsize=64)
def _fingerprint(url: str) -> str:
    # A password that is a word could be found out from a fast hash of the URL.
    return hashlib.scrypt(url.encode(), salt=b"weights-pipeline alerts", n=2**14, r=8, p=1, dklen=8).hex()


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep what libraries log of a delivery of this thread, which quotes URLs, from every handler there is."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if _keep_quiet not in logger.filters:
            logger.addFilter(_keep_quiet)
    _SENDING.on, _SENDING.code = True, ""
    try:
        yield
    finally:
        _SENDING.on = False


def _keep_quiet(record: logging.LogRecord) -> bool:
    if not getattr(_SENDING, "on", False):
        return True
    # All that is taken from it are three digits: how the service has answered.
    if found := re.search(r"\berror=([1-5]\d\d)\b", record.getMessage()):
        _SENDING.code = found[1]
    return False
