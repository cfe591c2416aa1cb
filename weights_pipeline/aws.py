"""AWS: clients, the objects of an S3 bucket, and failures in words.

Scope: everything that knows boto3, which is imported when it is first needed. Not here: what the objects mean
(``store`` and ``live``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from weights_pipeline.extras import missing
from weights_pipeline.tables.errors import StoreError

_AWS = (".amazonaws.com", ".amazonaws.com.cn")

ATTEMPTS = 8
CONNECTIONS = 16
_LONGEST_PAUSE = 20.0
_PIECE = 1 << 20

_RIGHTS = (
    "The credentials need s3:GetObject and s3:PutObject on the prefix, and s3:ListBucket on the bucket, without which "
    "S3 answers a missing object with a refusal; with a KMS key also kms:GenerateDataKey and kms:Decrypt."
)
_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for temporary ones AWS_SESSION_TOKEN too) or AWS_PROFILE, or "
    "run under a role."
)
_REGION = "Set AWS_REGION or AWS_DEFAULT_REGION to the region of the bucket."
_BY_CODE = {
    "NoSuchBucket": "the bucket does not exist. Create it, or correct WEIGHTS_STORE or WEIGHTS_LIVE, which names it.",
    "AccessDenied": f"access denied. {_RIGHTS}",
    "403": f"access denied. {_RIGHTS}",
    "InvalidAccessKeyId": f"the access key is unknown. {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"the secret access key is not that of the access key. {_CREDENTIALS}",
    "ExpiredToken": f"the credentials have expired. {_CREDENTIALS}",
    "InvalidToken": f"the session token is not valid. {_CREDENTIALS}",
    "NotImplemented": "the service lacks something that is asked of it, such as a write on the condition that nobody "
    "else has written (If-Match, If-None-Match). Use one that has conditional writes.",
    "PermanentRedirect": f"the bucket is in another region. {_REGION}",
    "AuthorizationHeaderMalformed": f"the bucket is in another region. {_REGION}",
}
_MISSING = ("NoSuchKey", "404")
# 412: of another version. 409: somebody else is writing it. NoSuchKey: somebody has deleted it.
_REPLACED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409", "NoSuchKey")


class ServiceError(StoreError):
    """A service is out of reach, or its client cannot be made. The message says what to do and holds no secret."""


class RefusedError(ServiceError):
    """A service answered with an error.

    Attributes
    ----------
    response
        The whole answer.
    status
        HTTP status.
    code
        Kind of error.
    """

    def __init__(self, what: str, response: Mapping[str, Any]) -> None:
        self.response = response
        self.status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        self.code = str(response.get("Error", {}).get("Code", ""))
        reason = _BY_CODE.get(self.code, f"the server answered {self.code or self.status or 'with an unknown error'}.")
        super().__init__(f"{what}: {reason}")


def client(
    service: str,
    *,
    attempts: int | None = None,
    connect: float = 3,
    answer: float = 10,
    profile: str | None = None,
    signed: bool = True,
    **options: Any,
) -> Any:
    """Client of a service, from the standard ``AWS_*`` variables and files.

    A service other than AWS is sent no checksums that it does not ask for.

    Parameters
    ----------
    service
        Name of the service, such as ``s3``.
    attempts
        How often a request is made in all; as ``AWS_MAX_ATTEMPTS`` says when left out.
    connect, answer
        Seconds to wait for a connection and for an answer.
    signed
        False for requests that say nobody's name, as public buckets take them.
    profile, options
        Said in place of the variables and files: a profile, and what boto3 takes, such as ``endpoint_url``.

    Raises
    ------
    ServiceError
        The environment lacks something such as the region, or names an endpoint or profile that is none; or boto3 is
        not installed.
    """
    if said := missing("boto3"):
        raise ServiceError(f"{service} {said}")
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts} if attempts else None,
        connect_timeout=connect,
        read_timeout=answer,
        max_pool_connections=CONNECTIONS,
        **({} if signed else {"signature_version": UNSIGNED}),
    )
    try:
        session = boto3.session.Session(profile_name=profile)
        made = session.client(service, config=config, **options)
        host = str(urlsplit(made.meta.endpoint_url).hostname)
        if not host.endswith(_AWS):
            # Over HTTPS they go into trailers, which hardly anyone but AWS reads.
            needed = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
            made = session.client(service, config=config.merge(needed), **options)
        return made
    except (BotoCoreError, ValueError) as error:
        # Here and below not `from error`: its text, which may hold an endpoint with a password, would be logged.
        raise ServiceError(
            f"{service}: no client can be made of the AWS_* variables and files ({type(error).__name__}). Check "
            f"AWS_ENDPOINT_URL_{service.upper()} or AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE."
        ) from None


@contextmanager
def requests(what: str, by: Any) -> Iterator[None]:
    """Turn failures of a client's requests into :class:`RefusedError`, with an answer, and :class:`ServiceError`.

    Parameters
    ----------
    what
        What is asked for, which the message begins with.
    by
        The client.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise RefusedError(what, error.response) from error
    except BotoCoreError as error:
        raise ServiceError(f"{what}: {_in_words(error, by)}") from None


def encryption(sse: str) -> dict[str, str]:
    """Options of a write that ask for encryption by the server: ``AES256``, ``aws:kms``, ``aws:kms:KEY``; or none."""
    if not sse:
        return {}
    key = sse.removeprefix("aws:kms:")
    if key == sse:
        return {"ServerSideEncryption": sse}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}


@dataclass(frozen=True)
class S3Objects:
    """Objects of a bucket, by key; safe to share between threads.

    Endpoint, region and credentials are those of the standard ``AWS_*`` variables and files. Server errors,
    throttling, time-outs and broken connections are tried again, ``attempts`` times in all, with growing, random
    pauses.

    Parameters
    ----------
    bucket
        Name of the bucket.
    sse
        Encryption asked of the server; see :func:`encryption`. Empty for the bucket's own.
    attempts, connect, answer
        See :func:`client`: fewer and shorter for who had rather know at once than wait.

    Raises
    ------
    ServiceError
        By every operation: no credentials, no such bucket, access denied, endpoint out of reach. The message names
        the object and what to do, and holds no secret.
    """

    bucket: str
    sse: str = ""
    attempts: int | None = field(default_factory=lambda: ATTEMPTS)
    connect: float = 5
    answer: float = 30

    def url(self, key: str) -> str:
        """Name of an object for a person."""
        return f"s3://{self.bucket}/{key}"

    @cached_property
    def client(self) -> Any:
        """The boto3 client: the one place that does not know its type."""
        return client("s3", attempts=self.attempts, connect=self.connect, answer=self.answer)

    def get(self, key: str, seen: str | None = None, into: BinaryIO | None = None) -> tuple[bytes, str] | None:
        """Content and version of an object; None where there is none.

        Of the version ``seen`` nothing is transferred: its content is empty. It is too where it goes into a file, in
        place of what is there.
        """
        condition = {} if seen is None else {"IfNoneMatch": seen}
        attempts = self.attempts or 1
        for attempt in range(attempts):
            try:
                answer = self._call("get_object", key, **condition)
            except RefusedError as refused:
                if refused.code in _MISSING:
                    return None
                if seen is not None and refused.status == 304:
                    return b"", seen
                raise
            try:
                if into is None:
                    return b"".join(_pieces(answer["Body"], None)), answer["ETag"]
                into.seek(0)
                into.truncate()
                into.writelines(_pieces(answer["Body"], _PIECE))
                return b"", answer["ETag"]
            except _BrokenOffError as error:
                # The client tries again what fails before the content begins; that it breaks off is ours to mend.
                broken = error
            time.sleep(random.uniform(0, min(2.0**attempt / 10, _LONGEST_PAUSE)))  # noqa: S311 - jitter
        raise ServiceError(
            f"{self.url(key)} could not be read to its end, {attempts} times ({broken}). Check the "
            f"network; if it persists, the object is damaged: write it again or restore its previous version."
        )

    def list(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield key and version of every object whose key begins so, a page of the service at a time."""
        with requests(f"list_objects_v2 {self.url(prefix)}", self.client):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield from ((entry["Key"], entry["ETag"]) for entry in page.get("Contents", ()))

    def put(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        """Store an object, whatever was there."""
        self._call("put_object", key, Body=content, Metadata=dict(metadata), **encryption(self.sse))

    def replace(self, key: str, content: bytes, version: str | None) -> bool:
        """Store an object if what is there is of a version (nothing, when None), and tell whether it was."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        options = {"ContentType": "application/json", **condition, **encryption(self.sse)}
        try:
            self._call("put_object", key, Body=content, **options)
        except RefusedError as refused:
            if refused.code not in _REPLACED:
                raise
            return False
        return True

    def _call(self, operation: str, key: str, **options: Any) -> Any:
        with requests(f"{operation} {self.url(key)}", self.client):
            return getattr(self.client, operation)(Bucket=self.bucket, Key=key, **options)


class _BrokenOffError(Exception):
    """The content of an object has broken off."""


def _pieces(body: Any, size: int | None) -> Iterator[bytes]:
    """Content of an object, so many bytes at a time."""
    from botocore.exceptions import BotoCoreError

    try:
        while piece := body.read(size):
            yield piece
    except (BotoCoreError, OSError) as error:
        raise _BrokenOffError(type(error).__name__) from error


def _in_words(error: Exception, by: Any) -> str:
    """What kept a client from an answer. Its own text is left out: it may hold more than anyone should read."""
    from botocore.exceptions import ConnectionError as NotConnectedError
    from botocore.exceptions import (
        CredentialRetrievalError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        SSLError,
        TokenRetrievalError,
    )

    kind = type(error).__name__
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | TokenRetrievalError):
        return f"no usable AWS credentials ({kind}). {_CREDENTIALS}"
    if isinstance(error, HTTPClientError | NotConnectedError):
        endpoint = urlsplit(by.meta.endpoint_url)
        port = f":{endpoint.port}" if endpoint.port else ""
        attempts = (by.meta.config.retries or {}).get("total_max_attempts")
        if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"{endpoint.scheme}://{endpoint.hostname}{port} has no certificate that is trusted here ({kind}). "
                f"Set AWS_CA_BUNDLE to the file of whoever issued it, or correct AWS_ENDPOINT_URL."
            )
        return (
            f"{endpoint.scheme}://{endpoint.hostname}{port} cannot be reached ({kind})"
            f"{f', tried {attempts} times' if attempts else ''}. Check the network, the variable AWS_ENDPOINT_URL or "
            f"that of the service, and AWS_REGION."
        )
    return f"the client refused ({kind})."
