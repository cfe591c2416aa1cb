"""A prefix of an S3 bucket: one object ``<prefix>/<book>.json`` for each book.

Scope: when an object is replaced, and polling it. Not here: what is in it (``document``), requests to S3
(``weights_pipeline.aws``).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from weights_pipeline.aws import S3Objects
from weights_pipeline.live import reach
from weights_pipeline.live.document import LiveWeights, MissingError, UnreachableError, published, require_name
from weights_pipeline.live.signing import SigningKey
from weights_pipeline.settings import ENCRYPTION, without_secrets

_PATIENT: dict[str, Any] = {"attempts": None, "connect": 3, "answer": 10}
_AT_ONCE: dict[str, Any] = {"attempts": 1, "connect": 2, "answer": 2}


class Bucket:
    """``s3://bucket/prefix``, or ``s3://bucket/prefix?encryption=aws:kms:KEY`` for encryption by the server on writing.

    Encryption is ``AES256``, ``aws:kms`` or ``aws:kms:KEY``; without it, the bucket's own. Whoever is not patient asks
    once, and waits for two seconds.
    """

    def __init__(self, location: str, *, patient: bool = True) -> None:
        parts = urlsplit(location)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        encryption = options.pop("encryption", None)
        segments = self.prefix.split("/") if self.prefix else []
        if (
            not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket)
            or any(not re.fullmatch(r"[A-Za-z0-9!_.*'()=-]+", part) or set(part) == {"."} for part in segments)
            or options
            or parts.fragment
            or (encryption is not None and not ENCRYPTION.fullmatch(encryption))
        ):
            raise ValueError(
                f"target: expected s3://bucket/prefix, if wanted with ?encryption=AES256, aws:kms or aws:kms:KEY, "
                f"got {without_secrets(location)!r}"
            )
        # A service that trades had rather know at once than wait.
        asking = _PATIENT if patient else _AT_ONCE
        self.objects = S3Objects(self.bucket, encryption or "", **asking)

    def publish(self, document: LiveWeights, key: SigningKey | None = None) -> bool:
        """Put a document in the place of an older one; False where it is there already.

        The write holds only where the object is still the one that was compared; where another publisher came first,
        it is compared again.

        Raises
        ------
        OlderVersionError
            What is published is newer.
        SignatureError
            What is published is signed, and the document would not be.
        UnreachableError
            The bucket cannot be read or written to, or others always came first.
        """
        name = self._key(document.book)
        for _ in range(reach.ATTEMPTS):
            with reach.reached():
                found = self.objects.get(name)
            content, version = found or (None, None)
            if not document.replaces(published(content, key) if content is not None else None):
                return False
            with reach.reached():
                if self.objects.replace(name, document.to_json(key), version):
                    return True
        raise UnreachableError(f"{self.objects.url(name)}: others replaced it {reach.ATTEMPTS} times meanwhile")

    def poll(self, book: str, seen: Hashable) -> tuple[bytes, Hashable] | None:
        """Content of a book's object and its version; None where that is still the one seen, which transfers nothing.

        Raises
        ------
        MissingError
            There is no such object.
        UnreachableError
            The bucket cannot be read.
        """
        key = self._key(book)
        with reach.reached():
            found = self.objects.get(key, None if seen is None else str(seen))
        if found is None:
            raise MissingError(f"nothing is published in {self.objects.url(key)}")
        return None if found[1] == seen else found

    def _key(self, book: str) -> str:
        name = f"{require_name(book)}.json"
        return f"{self.prefix}/{name}" if self.prefix else name
