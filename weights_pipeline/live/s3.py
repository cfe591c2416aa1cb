"""A prefix of an S3 bucket: one object ``<prefix>/<book>.json`` for each book.

Here belongs how an object is replaced and polled. Here does not belong what is in it (``document``).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from weights_pipeline.live import aws
from weights_pipeline.live.document import LiveWeights, MissingError, UnreachableError, published, require_name
from weights_pipeline.settings import without_secrets


class Bucket:
    """``s3://bucket/prefix``, or ``s3://bucket/prefix?encryption=aws:kms:KEY`` for encryption by the server on writing.

    Encryption is ``AES256``, ``aws:kms`` or ``aws:kms:KEY``; without it, the bucket's own.
    """

    def __init__(self, location: str) -> None:
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
            or (encryption is not None and not re.fullmatch(r"AES256|aws:kms(:[A-Za-z0-9:/_-]+)?", encryption))
        ):
            raise ValueError(
                f"target: expected s3://bucket/prefix, if wanted with ?encryption=AES256, aws:kms or aws:kms:KEY, "
                f"got {without_secrets(location)!r}"
            )
        self.options = {"ContentType": "application/json"}
        if encryption is not None:
            key = encryption.removeprefix("aws:kms:")
            self.options["ServerSideEncryption"] = encryption if key == encryption else "aws:kms"
            if key != encryption:
                self.options["SSEKMSKeyId"] = key

    @cached_property
    def client(self) -> Any:
        """Client of S3, made on the first request."""
        return aws.client("s3")

    def publish(self, document: LiveWeights) -> bool:
        """Put a document in the place of an older one; False where it is there already.

        The write holds only where the object is still the one that was compared (``If-Match`` on its ETag, or
        ``If-None-Match: *`` where there was none); where another publisher came first, it is compared again.

        Raises
        ------
        OlderVersionError
            What is published is newer.
        UnreachableError
            The bucket cannot be read or written to, or others always came first.
        """
        for _ in range(aws.ATTEMPTS):
            try:
                data, etag = self._get(document.book, {})
                current, condition = published(data), {"IfMatch": etag}
            except MissingError:
                current, condition = None, {"IfNoneMatch": "*"}
            if not document.replaces(current):
                return False
            try:
                with aws.requests(self._url(document.book)):
                    self.client.put_object(
                        Bucket=self.bucket,
                        Key=self._key(document.book),
                        Body=document.to_json(),
                        **condition,
                        **self.options,
                    )
            except aws.RefusedError as refused:
                # Replaced, replaced at this moment, or deleted since it was read.
                if refused.status not in (412, 409) and refused.code != "NoSuchKey":
                    raise
            else:
                return True
        raise UnreachableError(f"{self._url(document.book)}: others replaced it {aws.ATTEMPTS} times meanwhile")

    def poll(self, book: str, seen: Hashable) -> tuple[bytes, Hashable] | None:
        """Content of a book's object and its ETag; None where the ETag is still the one seen, which transfers nothing.

        Raises
        ------
        MissingError
            There is no such object.
        UnreachableError
            The bucket cannot be read.
        """
        try:
            return self._get(book, {} if seen is None else {"IfNoneMatch": seen})
        except aws.RefusedError as refused:
            if refused.status == 304:
                return None
            raise

    def _get(self, book: str, condition: dict[str, Hashable]) -> tuple[bytes, str]:
        url = self._url(book)
        try:
            with aws.requests(url):
                answer = self.client.get_object(Bucket=self.bucket, Key=self._key(book), **condition)
                return answer["Body"].read(), answer["ETag"]
        except aws.RefusedError as refused:
            if refused.code == "NoSuchKey":
                raise MissingError(f"nothing is published in {url}") from refused
            raise

    def _key(self, book: str) -> str:
        name = f"{require_name(book)}.json"
        return f"{self.prefix}/{name}" if self.prefix else name

    def _url(self, book: str) -> str:
        return f"s3://{self.bucket}/{self._key(book)}"
