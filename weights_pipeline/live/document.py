"""Live weights as they are published: one JSON document per book, which proves that it is whole.

Scope: what a document says, how it is written and checked, which of two is newer, and until when it counts. Not here:
where documents are kept (``folder``, ``s3``, ``dynamodb``) and who watches them (``reader``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from weights_pipeline.core.decide import Mandate, fractions, require_zone
from weights_pipeline.live.signing import SIGNING_KEY, Keys, SigningKey

FORMAT, SIGNED = 1, 2
"""Numbers of the document's forms, without a signature and with one; a document of another form is refused."""

_EARLIEST_ZONE = dt.timedelta(hours=14)
_WEIGHTS = ("base", "target", "realized", "final")


class LiveError(Exception):
    """Live weights cannot be used or published. The message says which, and why."""


class MissingError(LiveError):
    """Nothing is published."""


class CorruptError(LiveError):
    """What is published is not a whole and valid document."""


class SignatureError(CorruptError):
    """What is published is not signed, or not by a key that is accepted."""


class UnknownFormatError(CorruptError):
    """The document has a form that this version of the software does not know."""


class NotInForceError(LiveError):
    """The weights are stale, or their first day has not come."""


class UnreachableError(LiveError):
    """Whether anything is published could not be found out."""


class OlderVersionError(LiveError):
    """What is published already is newer than what should replace it."""


def require_name(book: str) -> str:
    """Name of a book, which becomes part of paths and keys; refused where it could lead anywhere else."""
    if not isinstance(book, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", book):
        raise ValueError(f"book: expected a name such as calmar_core (a-z, 0-9, _; at most 63), got {book!r}")
    return book


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveWeights:
    r"""The weights of one book in one version, with everything needed to check, use and trace them.

    Attributes
    ----------
    book, account
        Whose weights they are.
    version
        Number of the version, from 1.
    effective_from
        First session on which they are in force.
    as_of
        Last session whose data they use; before ``effective_from``.
    recorded_at
        When the version was made, an instant with a zone; kept in UTC.
    reason
        Why it was made: initial, scheduled, manual, backfill or correction.
    run_id
        Run that made it.
    max_age
        Days after which they are stale, from 1.
    gross
        Most that weights may add up to, which is the book's leverage limit.
    base, target, realized, final
        Weights by strategy, in fractions of equity: all four of the same strategies. ``final`` are those to trade.
    regime, scalar
        Risk regime and risk scalar they rest on; None for a book without them.
    parameters_hash, ledger_hash, code_version
        What they were made from and with.
    key_id
        Key that the document is signed by; empty where they are of no document, or of one without a signature. Two
        documents of the same weights are equal whoever has signed them.
    begins, stale_after
        First and last instant at which they may be used, in UTC; see the notes.
    in_force
        What they allow between the two.

    Raises
    ------
    ValueError
        A field is not as said above. The message names it, what was expected and what was given.

    Notes
    -----
    A day begins and ends in UTC, save that the first day has come once it has begun anywhere on Earth (UTC+14):
    whoever publishes has waited for it, by the clock of the book's own exchange. Age is counted in whole days since
    ``effective_from``: weights in force from 1 March that count for 35 days are last used on 5 April.
    """

    book: str
    account: str
    version: int
    effective_from: dt.date
    as_of: dt.date
    recorded_at: dt.datetime
    reason: str
    run_id: str
    max_age: int
    gross: float
    base: Mapping[str, float]
    target: Mapping[str, float]
    realized: Mapping[str, float]
    final: Mapping[str, float]
    regime: str | None
    scalar: float | None
    parameters_hash: str
    ledger_hash: str
    code_version: str
    key_id: str = field(default="", compare=False)
    begins: dt.datetime = field(init=False, compare=False, repr=False)
    stale_after: dt.datetime = field(init=False, compare=False, repr=False)
    in_force: Mandate = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        require_name(self.book)
        for key in ("account", "reason", "run_id", "parameters_hash", "ledger_hash", "code_version"):
            _require(key, isinstance(value := getattr(self, key), str) and value != "", "text", value)
        _require("key_id", isinstance(self.key_id, str), "text", self.key_id)
        for key in ("version", "max_age"):
            _require(key, type(value := getattr(self, key)) is int and value >= 1, "a whole number from 1", value)
        for key in ("effective_from", "as_of"):
            _require(key, type(value := getattr(self, key)) is dt.date, "a day", value)
        _require("as_of", self.as_of < self.effective_from, f"a day before {self.effective_from}", self.as_of)
        _require("regime", isinstance(self.regime, str | None), "text or nothing", self.regime)
        _require("gross", _is_number(self.gross) and 0 < self.gross < math.inf, "a positive number", self.gross)
        scalar = self.scalar
        _require("scalar", scalar is None or (_is_number(scalar) and 0 <= scalar < math.inf), "0 or more", scalar)
        _require("recorded_at", type(self.recorded_at) is dt.datetime, "an instant", self.recorded_at)
        require_zone("recorded_at", self.recorded_at)
        named = bool(self.base) and all(isinstance(name, str) and name for name in self.base)
        _require("base", named, "a weight for every strategy, by name", dict(self.base))
        for key in _WEIGHTS:
            weights = fractions(key, getattr(self, key), total=self.gross)
            _require(key, weights.keys() == self.base.keys(), f"the strategies {sorted(self.base)}", sorted(weights))
            object.__setattr__(self, key, weights)
        object.__setattr__(self, "gross", float(self.gross))
        object.__setattr__(self, "scalar", None if scalar is None else float(scalar))
        object.__setattr__(self, "recorded_at", self.recorded_at.astimezone(dt.UTC))
        first = dt.datetime.combine(self.effective_from, dt.time(), tzinfo=dt.UTC)
        object.__setattr__(self, "begins", first - _EARLIEST_ZONE)
        try:
            object.__setattr__(self, "stale_after", first + dt.timedelta(days=self.max_age + 1))
        except OverflowError as error:
            raise ValueError(f"max_age: expected days that the calendar has, got {self.max_age!r}") from error
        in_force = Mandate(
            book=self.book,
            allocations=self.final,
            max_leverage=self.gross,
            source="live",
            reason=f"version {self.version} ({self.reason}), in force from {self.effective_from}",
            version=self.version,
            effective_from=self.effective_from,
            stale_after=self.stale_after,
        )
        object.__setattr__(self, "in_force", in_force)

    def problem(self, now: dt.datetime) -> NotInForceError | None:
        """Why they must not be used at an instant with a zone; None where they may."""
        require_zone("now", now)
        if now < self.begins:
            return NotInForceError(f"version {self.version} is in force from {self.effective_from} on only")
        if now > self.stale_after:
            return NotInForceError(
                f"version {self.version} is stale: in force from {self.effective_from}, not used after {self.max_age} "
                f"days"
            )
        return None

    def mandate(self, now: dt.datetime) -> Mandate:
        """What the book allows at an instant with a zone: these weights, or its base weights where they do not count.

        Raises
        ------
        ValueError
            The instant has no zone.
        """
        if (problem := self.problem(now)) is None:
            return self.in_force
        return Mandate(
            book=self.book, allocations=self.base, max_leverage=self.gross, source="base", reason=str(problem)
        )

    def replaces(self, published: LiveWeights | None) -> bool:
        """Whether to put them in the place of what is published: the later version, of one version the later record.

        Returns
        -------
        bool
            False where they are published already.

        Raises
        ------
        OlderVersionError
            What is published is newer, or of the same version and record with other content.
        """
        if published is None or (self.version, self.recorded_at) > (published.version, published.recorded_at):
            return True
        if self == published:
            return False
        raise OlderVersionError(
            f"{self.book}: version {self.version}, recorded at {self.recorded_at.isoformat(' ')}, does not replace "
            f"version {published.version}, recorded at {published.recorded_at.isoformat(' ')}"
        )

    def content(self) -> dict[str, Any]:
        """What the document says, in the types of JSON, without checksum and signature."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.compare}
        return content | {
            "format": FORMAT,
            "effective_from": self.effective_from.isoformat(),
            "as_of": self.as_of.isoformat(),
            "recorded_at": timestamp(self.recorded_at),
            **{key: dict(content[key]) for key in _WEIGHTS},
        }

    @property
    def checksum(self) -> str:
        """SHA-256 of the content in canonical form, in hexadecimal digits."""
        return _checksum(self.content())

    def to_json(self, key: SigningKey | None = None) -> bytes:
        """The document: canonical JSON, so that equal weights are equal bytes, and every float reads back exactly.

        Canonical is: keys sorted, no white space, ASCII, floats in the fewest digits that read back as the same
        number. ``checksum`` is the SHA-256 of that form without the key ``checksum`` itself, and ``signature`` is of
        that form without either.

        Parameters
        ----------
        key
            Signs the document.
        """
        content = self.content()
        if key is not None:
            content |= {"format": SIGNED, "key_id": key.key_id}
            content["signature"] = key.sign(_canonical(content))
        return _canonical(content | {"checksum": _checksum(content)}) + b"\n"

    @classmethod
    def from_json(cls, data: bytes, keys: Keys | None = None) -> LiveWeights:
        """Read a document; not a bit of it can have changed since it was written.

        Parameters
        ----------
        data
            The document.
        keys
            Keys of which one has to have signed it; without them a signature is not looked at.

        Raises
        ------
        SignatureError
            It is not signed, or not by one of the keys.
        UnknownFormatError
            The document has another format number.
        CorruptError
            It is no canonical JSON, does not match its checksum, lacks a key or has one too many, or a field is not
            valid.
        """
        try:
            content = json.loads(data.decode("ascii"))
            # Digits may change and still read as the same number, and of a key that is there twice the last one wins.
            canonical = _canonical(content) == data.strip()
            checksum = content.pop("checksum")
            if (found := _checksum(content)) != checksum:
                raise CorruptError(f"checksum: the content has {found}, the document says {checksum!r}")
            if not canonical:
                raise CorruptError("the document is not in canonical form: it was written by something else")
            if (number := content["format"]) not in (FORMAT, SIGNED):
                raise UnknownFormatError(f"format: expected {FORMAT} or {SIGNED}, got {number!r}; update the software")
            signature = content.pop("signature") if number == SIGNED else ""
            signed = _canonical(content)
            key_id = content.pop("key_id") if number == SIGNED else ""
            _require("key_id", number != SIGNED or key_id != "", "the id of a key", key_id)
            if keys is not None:
                _require_signed(keys, key_id, signature, signed)
            del content["format"]
            for key, parse in (
                ("effective_from", dt.date.fromisoformat),
                ("as_of", dt.date.fromisoformat),
                ("recorded_at", dt.datetime.fromisoformat),
            ):
                content[key] = parse(content[key])
            return cls(**content, key_id=key_id)
        except KeyError as error:
            raise CorruptError(f"{error.args[0]}: missing") from error
        # What JSON can hold beyond ours: other types, endless digits, dates out of range, a thousand brackets.
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise CorruptError(f"not a document of live weights: {error}") from error


def published(data: bytes, key: SigningKey | None) -> LiveWeights | None:
    """What is published, for whoever wants to replace it; None where it is corrupt, since anything whole is better.

    Parameters
    ----------
    data
        What is there.
    key
        Signs what replaces it. What is not signed by it is as good as corrupt.

    Raises
    ------
    UnknownFormatError
        It was published by software of another version, whose work is not undone.
    SignatureError
        It is signed, and what would replace it is not.
    """
    try:
        weights = LiveWeights.from_json(data, None if key is None else key.keys)
    except UnknownFormatError:
        raise
    except CorruptError:
        return None
    if key is None and weights.key_id:
        raise SignatureError(
            f"{weights.book}: what is published is signed by key {weights.key_id}, and who reads it may expect that. "
            f"Set {SIGNING_KEY}, or delete what is published to go on without signatures"
        )
    return weights


def timestamp(instant: dt.datetime) -> str:
    """An instant as text that sorts as instants do: in UTC, always with microseconds."""
    return instant.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _require_signed(keys: Keys, key_id: object, signature: object, content: bytes) -> None:
    accepted = f"expected a signature by key {' or '.join(keys.ids)}"
    if key_id == "":
        raise SignatureError(f"the document is not signed, {accepted}")
    if key_id not in keys.ids:
        raise SignatureError(f"key_id: {accepted}, got {key_id!r}")
    if not keys.verify(str(key_id), str(signature), content):
        raise SignatureError(f"signature: it is not that of key {key_id} for this content")


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _require(key: str, holds: bool, expected: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{key}: expected {expected}, got {value!r}")
