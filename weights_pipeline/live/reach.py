"""What services that hold live weights have in common.

Scope: failures of a service as those of live weights, and how often a write is tried. Not here: the services
(``weights_pipeline.aws``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from weights_pipeline.aws import ServiceError
from weights_pipeline.live.document import UnreachableError

ATTEMPTS = 20
"""How often a conditional write is tried against other publishers who come first."""


@contextmanager
def reached() -> Iterator[None]:
    """Raise :class:`UnreachableError` in place of the error of a service, whose text holds no secret."""
    try:
        yield
    except ServiceError as error:
        raise UnreachableError(str(error)) from None
