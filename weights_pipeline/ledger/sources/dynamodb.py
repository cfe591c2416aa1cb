"""Items of a DynamoDB table or index.

Scope: one read-only scan, page by page. Not here: clients and what their failures mean (``aws``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from weights_pipeline import aws
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources.cells import record_batch
from weights_pipeline.ledger.sources.reading import PassingError, RowSource

_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")]
_Value = bool | int | float | str
_PASSING = {
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
}
_RIGHTS = "It takes the right dynamodb:Scan on the table, or on its index; check AWS_REGION and the name too."


class DynamoDb(RowSource):
    """Items of a table, or of one of its indexes, that are as the filter says; what is nested is named ``outer.inner``.

    Region, credentials and endpoint are those of the standard ``AWS_*`` variables. A scan has no order that lasts, so
    items are put in the order of what they say.

    Attributes
    ----------
    table
        Name of the table.
    index
        Name of an index of it, or none.
    filter
        Attribute → value, or a list of the values it may have. Without it, all items.
    """

    ordered: ClassVar[bool] = False
    table: _NAME
    index: _NAME | None = None
    filter: dict[str, _Value | Annotated[tuple[_Value, ...], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict
    )

    @property
    def name(self) -> str:
        """Table, index and a digest of the filter."""
        told = json.dumps(self.filter, sort_keys=True)
        place = self.table if self.index is None else f"{self.table}/{self.index}"
        return f"dynamodb:{place}/{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def batches(self, environment: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Scan, a page of the service at a time; see :meth:`RowSource.batches`."""
        try:
            client = aws.client("dynamodb")
            with aws.requests(f"scan {self.name}", client):
                for page in client.get_paginator("scan").paginate(**self._request()):
                    yield record_batch({name: _plain(value) for name, value in item.items()} for item in page["Items"])
        except aws.RefusedError as refused:
            if refused.status >= 500 or refused.code in _PASSING:
                raise PassingError(refused.code or str(refused.status)) from None
            raise LedgerError(f"{refused} {_RIGHTS}") from None
        except aws.ServiceError as error:
            if "cannot be reached" in str(error):
                raise PassingError(str(error)) from None
            raise LedgerError(str(error)) from None
        except TypeError as error:
            raise LedgerError(f"{self.name}: {error}; leave such items out with `filter`") from error

    def _request(self) -> dict[str, Any]:
        """Arguments of a scan. An index cannot be read consistently, a table can."""
        request: dict[str, Any] = {"TableName": self.table, "ConsistentRead": self.index is None}
        if self.index is not None:
            request["IndexName"] = self.index
        if self.filter:
            given = [value if isinstance(value, tuple) else (value,) for value in self.filter.values()]
            request["FilterExpression"] = " AND ".join(
                f"#a{i} IN ({', '.join(f':v{i}_{j}' for j in range(len(values)))})" for i, values in enumerate(given)
            )
            request["ExpressionAttributeNames"] = {f"#a{i}": name for i, name in enumerate(self.filter)}
            request["ExpressionAttributeValues"] = {
                f":v{i}_{j}": _attribute(value) for i, values in enumerate(given) for j, value in enumerate(values)
            }
        return request


def _attribute(value: _Value) -> dict[str, Any]:
    """A value as DynamoDB's wire format has it."""
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _plain(attribute: Mapping[str, Any]) -> Any:
    """A value of that format; a number as it is written, a set, which has no order, as a list that has one."""
    ((kind, value),) = attribute.items()
    match kind:
        case "M":
            return {name: _plain(each) for name, each in value.items()}
        case "L":
            return [_plain(each) for each in value]
        case "SS" | "NS":
            return sorted(value)
        case "NULL":
            return None
        case _:
            return value
