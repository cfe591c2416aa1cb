"""Signatures of live weights: who has the public key knows that what is published is the pipeline's.

Scope: Ed25519 keys as text, in the environment and in use. Not here: what of a document is signed (``document``).

cryptography is an optional extra, and it is loaded when a key is given.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SECRET, PUBLIC = "ed25519-secret:", "ed25519-public:"
"""How a key begins as text; its 32 bytes follow in Base64."""

SIGNING_KEY = "WEIGHTS_LIVE_SIGNING_KEY"
"""Variable with the secret key of who publishes."""

KEYS = "WEIGHTS_LIVE_KEYS"
"""Variable with the public keys of who reads, with spaces between."""

_KEY_ID = 16


class SigningKey:
    """The secret key of who publishes; whatever shows it shows its id.

    Parameters
    ----------
    text
        ``ed25519-secret:`` and 44 characters, as :func:`new_secret` makes them.

    Attributes
    ----------
    public
        The public key as text, for those who read.
    keys
        The public key, to verify by.
    key_id
        Its id: the first 16 hexadecimal digits of the SHA-256 of the public key.

    Raises
    ------
    ValueError
        It is no such text, or cryptography is not installed. The message does not hold the text.
    """

    def __init__(self, text: str) -> None:
        self._private = _ed25519().Ed25519PrivateKey.from_private_bytes(_raw(text, SECRET))
        raw = self._private.public_key().public_bytes_raw()
        self.public = f"{PUBLIC}{base64.b64encode(raw).decode()}"
        self.keys = Keys(self.public)
        (self.key_id,) = self.keys.ids

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> SigningKey | None:
        """The key in ``WEIGHTS_LIVE_SIGNING_KEY``; None where there is none. Raises as the class, with the variable."""
        text = environment.get(SIGNING_KEY, "").strip()
        try:
            return cls(text) if text else None
        except ValueError as error:
            raise ValueError(f"{SIGNING_KEY}: {error}") from None

    def sign(self, content: bytes) -> str:
        """Signature of some bytes in Base64: the same for the same bytes."""
        return base64.b64encode(self._private.sign(content)).decode()

    def __repr__(self) -> str:
        return f"SigningKey(key_id={self.key_id!r})"


class Keys:
    """Public keys of which any may have signed; two while one replaces the other.

    Parameters
    ----------
    *texts
        ``ed25519-public:`` and 44 characters each, at least one.

    Attributes
    ----------
    ids
        Their ids.

    Raises
    ------
    ValueError
        There is none, one is no such text, or cryptography is not installed. The message holds no text given, which
        may be the secret key by mistake.
    """

    def __init__(self, *texts: str) -> None:
        if not texts:
            raise ValueError(f"keys: expected at least one public key ({PUBLIC}...), got none")
        found = [_raw(text, PUBLIC) for text in texts]
        self._keys: dict[str, Ed25519PublicKey] = {
            _key_id(raw): _ed25519().Ed25519PublicKey.from_public_bytes(raw) for raw in found
        }
        self.ids = tuple(self._keys)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Keys | None:
        """Those in ``WEIGHTS_LIVE_KEYS``, and that of who publishes; None where there is none."""
        own = SigningKey.from_environment(environment)
        try:
            texts = [*environment.get(KEYS, "").split(), *([own.public] if own else [])]
            return cls(*texts) if texts else None
        except ValueError as error:
            raise ValueError(f"{KEYS}: {error}") from None

    def verify(self, key_id: str, signature: str, content: bytes) -> bool:
        """Whether that key, which is one of these, has signed these bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._keys[key_id].verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, ValueError):
            return False
        return True


def new_secret() -> str:
    """A new secret key as text, from the random numbers of the operating system."""
    made = _ed25519().Ed25519PrivateKey.generate()
    return f"{SECRET}{base64.b64encode(made.private_bytes_raw()).decode()}"


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ValueError(
            f"signing needs the package cryptography, which is not installed ({error}): "
            f"pip install 'weights-pipeline[signing]'"
        ) from error
    return ed25519


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:_KEY_ID]


def _raw(text: str, kind: str) -> bytes:
    """Bytes of a key; errors tell what was given apart, but do not show it."""
    other = PUBLIC if kind == SECRET else SECRET
    try:
        raw = base64.b64decode(text.removeprefix(kind), validate=True) if text.startswith(kind) else b""
    except ValueError:
        raw = b""
    if len(raw) != 32:
        given = f"a key that begins with {other}" if text.startswith(other) else "something else, which is not shown"
        raise ValueError(f"expected {kind} and 44 characters of Base64, got {given}")
    return raw
