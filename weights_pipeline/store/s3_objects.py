"""Objects of one S3 bucket: get, put, replace if unchanged, with every failure in words.

Here belongs everything that knows boto3, which is imported when it is first needed. What the objects mean is in
``s3_store``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from weights_pipeline.tables.errors import StoreError

ATTEMPTS = 8
CONNECTIONS = 16
_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 30
_LONGEST_PAUSE = 20.0

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
    "NoSuchBucket": "the bucket does not exist. Create it, or correct WEIGHTS_STORE.",
    "AccessDenied": f"access denied. {_RIGHTS}",
    "403": f"access denied. {_RIGHTS}",
    "InvalidAccessKeyId": f"the access key is unknown. {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"the secret access key is not that of the access key. {_CREDENTIALS}",
    "ExpiredToken": f"the credentials have expired. {_CREDENTIALS}",
    "InvalidToken": f"the session token is not valid. {_CREDENTIALS}",
    "PermanentRedirect": f"the bucket is in another region. {_REGION}",
    "AuthorizationHeaderMalformed": f"the bucket is in another region. {_REGION}",
}


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
        Encryption asked of the server: empty for the bucket's own, ``AES256``, ``aws:kms``, or ``aws:kms:KEY``.
    attempts
        How often, for who had rather know at once than wait.

    Raises
    ------
    StoreError
        By every operation: no credentials, no such bucket, access denied, endpoint out of reach. The message names
        the object and what to do, and holds no secret.
    """

    bucket: str
    sse: str = ""
    attempts: int = field(default_factory=lambda: ATTEMPTS)

    def url(self, key: str) -> str:
        """Name of an object for a person."""
        return f"s3://{self.bucket}/{key}"

    @cached_property
    def client(self) -> Any:
        """The boto3 client: the one place that does not know its type."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            max_pool_connections=CONNECTIONS,
        )
        try:
            return boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            # Here and below not `from error`: its text, which may hold an endpoint with a password, would be logged.
            raise StoreError(
                f"s3://{self.bucket}: no client can be made of the AWS_* variables and files "
                f"({type(error).__name__}). Check AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE."
            ) from None

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Content and version of an object; None where there is none."""
        from botocore.exceptions import BotoCoreError

        for attempt in range(self.attempts):
            answer = self._call("get_object", key, expected=("NoSuchKey", "404"))
            if answer is None:
                return None
            try:
                return answer["Body"].read(), answer["ETag"]
            except (BotoCoreError, OSError) as error:
                # The client tries again what fails before the content begins; that it breaks off is ours to mend.
                broken = error
            time.sleep(random.uniform(0, min(2.0**attempt / 10, _LONGEST_PAUSE)))  # noqa: S311 - jitter
        raise StoreError(
            f"{self.url(key)} could not be read to its end, {self.attempts} times ({type(broken).__name__}). Check the "
            f"network; if it persists, the object is damaged: write it again or restore its previous version."
        )

    def put(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        """Store an object, whatever was there."""
        self._call("put_object", key, Body=content, Metadata=dict(metadata), **self._encryption)

    def replace(self, key: str, content: bytes, version: str | None) -> bool:
        """Store an object if what is there is of a version (nothing, when None), and tell whether it was."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        # 412: of another version. 409: somebody else is writing it. NoSuchKey: somebody has deleted it.
        expected = ("PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409", "NoSuchKey")
        options = {"ContentType": "application/json", **condition, **self._encryption}
        return self._call("put_object", key, expected=expected, Body=content, **options) is not None

    @property
    def _encryption(self) -> dict[str, str]:
        if not self.sse:
            return {}
        key = self.sse.removeprefix("aws:kms:")
        if key == self.sse:
            return {"ServerSideEncryption": self.sse}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}

    def _call(self, operation: str, key: str, expected: Collection[str] = (), **options: Any) -> Any:
        """Answer of the server; None where it is an error that the caller expects."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self.client, operation)(Bucket=self.bucket, Key=key, **options)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in expected:
                return None
            reason = _BY_CODE.get(code, f"the server answered {code or 'with an unknown error'}.")
            raise StoreError(f"{operation} {self.url(key)}: {reason}") from error
        except BotoCoreError as error:
            raise StoreError(f"{operation} {self.url(key)}: {self._in_words(error)}") from None

    def _in_words(self, error: Exception) -> str:
        """What kept the client from an answer. Its own text is left out: it may hold more than anyone should read."""
        from botocore.exceptions import ConnectionError as NotConnectedError
        from botocore.exceptions import (
            CredentialRetrievalError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
            TokenRetrievalError,
        )

        kind = type(error).__name__
        if isinstance(
            error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | TokenRetrievalError
        ):
            return f"no usable AWS credentials ({kind}). {_CREDENTIALS}"
        if isinstance(error, HTTPClientError | NotConnectedError):
            endpoint = urlsplit(self.client.meta.endpoint_url)
            port = f":{endpoint.port}" if endpoint.port else ""
            return (
                f"{endpoint.scheme}://{endpoint.hostname}{port} cannot be reached ({kind}), tried "
                f"{self.attempts} times. Check the network, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, and AWS_REGION."
            )
        return f"the client refused ({kind})."
