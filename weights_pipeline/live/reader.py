"""The reader: live weights in the memory of a trading service, always whole, never blocking.

Scope: when published weights are taken over, when base weights stand in, and watching for new ones. Not here: how a
place is polled (``folder``, ``s3``) and what a signal is granted (``core.decide``).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from weights_pipeline.core.decide import TOLERANCE, Mandate, require_zone
from weights_pipeline.live.document import (
    CorruptError,
    LiveError,
    LiveWeights,
    MissingError,
    NotInForceError,
    UnreachableError,
    require_name,
)
from weights_pipeline.live.places import source
from weights_pipeline.live.signing import Keys


@dataclass(frozen=True, kw_only=True, slots=True)
class _Snapshot:
    """What is known of a place at one time; replaced as a whole, so that no thread sees half of it.

    Attributes
    ----------
    seen
        What tells the content last read from any other.
    weights
        The newest good version.
    flaw
        Why the content last read is not used.
    unreachable
        Why the place could not be looked at the last time.
    """

    seen: Hashable = None
    weights: LiveWeights | None = None
    flaw: LiveError | None = None
    unreachable: LiveError | None = None


class Reader:
    """Live weights of one book, for a service that decides on signals.

    :meth:`current` answers from memory; :meth:`refresh` looks whether there is something newer, and swaps it in by one
    assignment: another thread sees the old weights or the new ones. What is there is read once on construction.

    ==============================  ==============================================================================
    what is published               what is answered
    ==============================  ==============================================================================
    whole, in force, not stale      these weights
    stale, or not in force yet      base weights
    nothing                         base weights, at once: deleting what is published withdraws it
    corrupt, of another book, of    the last good version while it is not stale, then base weights; the reason says
    more leverage than the reader   what is wrong with the newest content
    allows, older than the last,
    or not signed by a key of its
    place cannot be reached         the same
    ==============================  ==============================================================================

    Versions never go back, but for a withdrawal in between.

    Parameters
    ----------
    location
        A folder, or ``s3://bucket/prefix``.
    book
        Name of the book.
    base
        Its base weights, by strategy, in fractions of equity.
    max_leverage
        Most that weights may add up to; what is published may allow less, never more.
    max_age
        Days after which weights are stale, where that is fewer than the published ones say.
    keys
        Public keys: what none of them has signed is not used. Without them no signature is looked at.
    strict
        Raise instead of answering base weights.

    Raises
    ------
    ValueError
        Name, location, base weights or a limit is not valid; nothing else, whatever is or is not published.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        book: str,
        base: Mapping[str, float],
        max_leverage: float,
        max_age: int | None = None,
        keys: Keys | None = None,
        strict: bool = False,
    ) -> None:
        if max_age is not None and max_age < 1:
            raise ValueError(f"max_age: expected a number of days from 1, got {max_age!r}")
        self._base = Mandate(book=book, allocations=base, max_leverage=max_leverage, source="base", reason="not read")
        self._source, self._book, self._max_age, self._strict = source(location), require_name(book), max_age, strict
        self._keys = keys
        self._refreshing = threading.Lock()
        self._snapshot = _Snapshot()
        self.refresh()

    @property
    def newest(self) -> LiveWeights | None:
        """The newest good version, stale or not, of the reader's own maximal age; None where there is none."""
        return self._snapshot.weights

    def current(self, now: dt.datetime) -> Mandate:
        """What the book allows at an instant, from memory.

        Parameters
        ----------
        now
            The time, with a zone.

        Returns
        -------
        Mandate
            Published weights (source ``live``) or base weights (source ``base``), and the reason.

        Raises
        ------
        LiveError
            Base weights would have to stand in, and the reader is strict.
        ValueError
            The time has no zone.
        """
        require_zone("now", now)
        snapshot = self._snapshot
        noted = snapshot.unreachable or snapshot.flaw
        problem = noted or MissingError("nothing was read")
        if snapshot.weights is not None:
            live = snapshot.weights.in_force
            if (ended := snapshot.weights.problem(now)) is None:
                return live if noted is None else replace(live, reason=f"{live.reason}; {noted}")
            problem = ended if noted is None else NotInForceError(f"{ended}; {noted}")
        if self._strict:
            # A new one each time: one that is raised again holds on to where it was raised before.
            raise type(problem)(str(problem))
        return replace(self._base, reason=str(problem))

    def refresh(self) -> bool:
        """Look for something newer; costs one system call or one request without a body where there is nothing.

        Returns
        -------
        bool
            True where other weights were taken over, or those there were withdrawn. Never raises: what goes wrong is
            in the reason of :meth:`current`.
        """
        with self._refreshing:
            before = self._snapshot
            try:
                self._snapshot = self._looked(before)
            except Exception as error:
                # Whatever it is, the next look may succeed, and what was read before still counts.
                said = str(error) if isinstance(error, LiveError) else f"{type(error).__name__}: {error}"
                self._snapshot = replace(before, unreachable=UnreachableError(said))
            return self._snapshot.weights is not before.weights

    @contextmanager
    def watching(self, seconds: float) -> Iterator[Reader]:
        """Refresh in the background every so many seconds, until the block is left."""
        if not 0 < seconds <= threading.TIMEOUT_MAX:
            raise ValueError(f"seconds: expected a positive number, got {seconds!r}")
        left = threading.Event()

        def watch() -> None:
            while not left.wait(seconds):
                self.refresh()

        thread = threading.Thread(target=watch, name=f"live-{self._book}", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            left.set()
            # No longer than this: a request that hangs ends by its own time-out, in a thread that holds up nobody.
            thread.join(timeout=1)

    def _looked(self, before: _Snapshot) -> _Snapshot:
        try:
            found = self._source.poll(self._book, before.seen)
        except MissingError as missing:
            return _Snapshot(flaw=MissingError(str(missing)))
        if found is None:
            return replace(before, unreachable=None)
        content, seen = found
        try:
            weights = self._accepted(content)
            newer = weights.replaces(before.weights)
        except LiveError as error:
            return replace(before, seen=seen, flaw=type(error)(f"newest content not used: {error}"), unreachable=None)
        return _Snapshot(seen=seen, weights=weights if newer else before.weights)

    def _accepted(self, content: bytes) -> LiveWeights:
        """Weights of a document, within the reader's own limits."""
        weights = LiveWeights.from_json(content, self._keys)
        limit = self._base.max_leverage
        if weights.book != self._book:
            raise CorruptError(f"the document is of book {weights.book}, expected {self._book}")
        if weights.gross > limit * (1 + TOLERANCE):
            raise CorruptError(
                f"version {weights.version} allows {weights.gross:g} of equity, expected at most {limit:g}"
            )
        return replace(weights, max_age=min(weights.max_age, self._max_age or weights.max_age))
