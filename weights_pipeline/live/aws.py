"""Requests to AWS: clients, and what their failures mean.

Here belongs what S3 and DynamoDB have in common. boto3 is loaded on the first request only: a service that reads a
folder starts without it. Time-outs are short, since a service that trades had rather know at once than wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from weights_pipeline.live.document import UnreachableError

ATTEMPTS = 20
"""How often a conditional write is tried against other publishers who come first."""


class RefusedError(UnreachableError):
    """A service answered with an error.

    Attributes
    ----------
    status
        HTTP status.
    code
        Kind of error.
    response
        The whole answer.
    """

    def __init__(self, place: str, response: dict[str, Any]) -> None:
        self.response = response
        self.status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        self.code: str = response.get("Error", {}).get("Code", "")
        super().__init__(f"{place}: the service answered {self.code or self.status}")


def client(service: str) -> Any:
    """Client of a service, from the usual environment: credentials, region, ``AWS_ENDPOINT_URL``, ``AWS_MAX_ATTEMPTS``.

    Raises
    ------
    UnreachableError
        The environment lacks something such as the region, or names an endpoint that is none.
    """
    import boto3
    from botocore.config import Config

    with requests(service):
        try:
            return boto3.client(service, config=Config(connect_timeout=3, read_timeout=10))
        except ValueError:
            raise UnreachableError(f"{service}: no client can be made; check AWS_ENDPOINT_URL") from None


@contextmanager
def requests(place: str) -> Iterator[None]:
    """Turn failures of requests into :class:`RefusedError`, with an answer, and :class:`UnreachableError`, without.

    Messages have the kind of error only, and failures without an answer are not chained to it: its own text may hold
    more than belongs in a log, such as an endpoint with a password.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise RefusedError(place, error.response) from error
    except BotoCoreError as error:
        raise UnreachableError(f"{place}: {type(error).__name__}") from None
