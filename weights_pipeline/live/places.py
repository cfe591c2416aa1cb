"""Where live weights are kept: what a place has to offer, and the registry of kinds of places.

Scope: one entry per kind; a new one is a file with a class and an entry here. Not here: any kind itself (``folder``,
``s3``, ``dynamodb``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeVar

from weights_pipeline.live.document import LiveWeights
from weights_pipeline.live.signing import SigningKey
from weights_pipeline.settings import without_secrets

if TYPE_CHECKING:
    from weights_pipeline.live.dynamodb import Table
    from weights_pipeline.live.folder import Folder
    from weights_pipeline.live.s3 import Bucket

Place = TypeVar("Place")


class Sink(Protocol):
    """A place to publish to."""

    def publish(self, document: LiveWeights, key: SigningKey | None = None) -> bool:
        """Put a document in the place of an older one; False where it is there already; see :func:`publish`."""


class Source(Protocol):
    """A place to read from."""

    def poll(self, book: str, seen: Hashable) -> tuple[bytes, Hashable] | None:
        """Content of a book and what tells it from other content; None where that is what was seen, if anything.

        Raises
        ------
        MissingError
            Nothing is published.
        UnreachableError
            Whether anything is published could not be found out.
        """


def _folder(target: str) -> Folder:
    from weights_pipeline.live.folder import Folder

    return Folder(target)


def _bucket(target: str, *, patient: bool = True) -> Bucket:
    from weights_pipeline.live.s3 import Bucket

    return Bucket(target, patient=patient)


def _table(target: str) -> Table:
    from weights_pipeline.live.dynamodb import Table

    return Table(target)


# A kind is loaded where a place is of it: who reads a folder waits for no other.
SINKS: Mapping[str, Callable[[str], Sink]] = MappingProxyType({"": _folder, "s3": _bucket, "dynamodb": _table})
"""Places to publish to, by scheme; none is a folder."""

SOURCES: Mapping[str, Callable[[str], Source]] = MappingProxyType({"": _folder, "s3": _bucket})
"""Places to read from, by scheme; none is a folder."""


_AT_ONCE: Mapping[str, Callable[[str], Source]] = MappingProxyType({**SOURCES, "s3": partial(_bucket, patient=False)})


def sink(target: str | Path) -> Sink:
    """The place that a target names: a folder, ``s3://bucket/prefix`` or ``dynamodb://table``.

    Raises
    ------
    ValueError
        The scheme is unknown, or what follows is not what the scheme expects.
    """
    return _place(SINKS, target)


def source(location: str | Path, *, patient: bool = True) -> Source:
    """The place that a location names: a folder or ``s3://bucket/prefix``; raises as :func:`sink` does.

    Whoever is not patient rather knows at once that a place cannot be reached than has it tried again.
    """
    return _place(SOURCES if patient else _AT_ONCE, location)


def publish(document: LiveWeights, target: str | Path, key: SigningKey | None = None) -> bool:
    """Publish live weights: whole or not at all, and never in the place of newer ones.

    The later version replaces the earlier, and of one version the later record. What is there but corrupt is
    replaced, unless software of another version wrote it. Who signs replaces what is not signed by the same key.

    Parameters
    ----------
    document
        The weights.
    target
        See :func:`sink`.
    key
        Signs the document.

    Returns
    -------
    bool
        True where they were written, False where they were published already.

    Raises
    ------
    OlderVersionError
        What is published is newer, or of the same version and record with other content.
    SignatureError
        What is published is signed, and the document would not be.
    UnknownFormatError
        What is published was written by software of another version.
    UnreachableError
        The service cannot be reached or refuses.
    OSError
        The folder cannot be written to.
    ValueError
        The target is none.
    """
    return sink(target).publish(document, key)


def _place(known: Mapping[str, Callable[[str], Place]], target: str | Path) -> Place:
    text = str(target)
    scheme = text.partition("://")[0] if "://" in text else ""
    if not text or scheme not in known:
        schemes = ", ".join(f"{name}://" for name in known if name)
        raise ValueError(f"target: expected a folder or one of {schemes}, got {without_secrets(text)!r}")
    return known[scheme](text)
