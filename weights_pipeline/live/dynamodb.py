"""A DynamoDB table of live weights: the current version, and every version ever published.

Scope: keys, attributes and the conditions of writes. Not here: what a document says (``document``).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from weights_pipeline import aws
from weights_pipeline.live import reach
from weights_pipeline.live.document import (
    LiveError,
    LiveWeights,
    OlderVersionError,
    UnreachableError,
    published,
    timestamp,
)
from weights_pipeline.live.signing import SigningKey
from weights_pipeline.settings import without_secrets

_BOOK = "{book}"
_FAILED = "ConditionalCheckFailed"


class Table:
    """``dynamodb://table`` for one book, ``dynamodb://table/{book}`` for several books in one table.

    The table has the keys ``PK`` and ``SK``, and an index ``GSI1`` on ``GSI1PK`` and ``GSI1SK`` where the history is
    to be queried. A book is two items of one transaction:

    ========  ======================  ==========================  ================  ==========================
    item      PK                      SK                          GSI1PK            GSI1SK
    ========  ======================  ==========================  ================  ==========================
    current   ``WEIGHTS#CURRENT``     ``METADATA``
    history   ``WEIGHTS#CURRENT``     ``VERSION#<recorded_at>``   ``HISTORY#ALL``   ``VERSION#<recorded_at>``
    ========  ======================  ==========================  ================  ==========================

    With a namespace behind the table, ``<namespace>#`` precedes ``PK`` and ``GSI1PK``; ``{book}`` in it stands for the
    name of the book. Attributes: ``book``, ``version`` (number), ``recorded_at``, ``effective_from``, ``checksum``,
    ``weights`` (final weights by strategy, decimals as strings), ``document``, the whole document as JSON, and, where
    that is signed, ``key_id``. ``checksum`` is that of the content, whoever signs it.
    """

    def __init__(self, location: str) -> None:
        parts = urlsplit(location)
        self.table, self.namespace = parts.netloc, parts.path.strip("/")
        if (
            not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", self.table)
            or not re.fullmatch(r"[A-Za-z0-9_.-]*", self.namespace.replace(_BOOK, "book"))
            or parts.query
            or parts.fragment
        ):
            raise ValueError(
                f"target: expected dynamodb://table or dynamodb://table/namespace, got {without_secrets(location)!r}"
            )

    @cached_property
    def client(self) -> Any:
        """Client of DynamoDB, made on the first request."""
        return aws.client("dynamodb")

    def publish(self, document: LiveWeights, key: SigningKey | None = None) -> bool:
        """Put a document in the place of an older one, and into the history; False where it is there already.

        The condition is part of the write, so publishers need no lock. A current item that is no document of this
        software is left alone. Who signs replaces the same weights where they are not signed by the same key.

        Raises
        ------
        OlderVersionError
            What is published is newer, or the history has another version of the same time.
        UnreachableError
            The table cannot be written to, or others always came first.
        SignatureError
            What is published is signed, and the document would not be, or it is newer and signed by another key.
        LiveError
            Another book, or something else, has the keys already, or the current item contradicts itself.
        """
        for _ in range(reach.ATTEMPTS):
            with reach.reached():
                refused = self._write(document, key)
            if refused is None:
                return True
            current, history = refused
            if current.get("Code") == _FAILED:
                self._require_same(document, current.get("Item", {}), key)
                return False
            if history.get("Code") == _FAILED:
                raise OlderVersionError(
                    f"{self.table}: the history has another version recorded at {timestamp(document.recorded_at)}"
                )
        raise UnreachableError(f"{self.table}: others wrote to it {reach.ATTEMPTS} times meanwhile")

    def _write(self, document: LiveWeights, key: SigningKey | None) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Write a document; where a condition failed or others wrote meanwhile, why each of the two items was not."""
        try:
            with aws.requests(self.table, self.client):
                self.client.transact_write_items(TransactItems=self._writes(document, key))
        except aws.RefusedError as refused:
            reasons = refused.response.get("CancellationReasons", [])
            if len(reasons) != 2 or {_FAILED, "TransactionConflict"}.isdisjoint(each.get("Code") for each in reasons):
                raise
            return reasons[0], reasons[1]
        return None

    def _require_same(self, document: LiveWeights, item: dict[str, Any], key: SigningKey | None) -> None:
        """Say why an item was not replaced, unless it holds the document already."""
        current = published(item.get("document", {}).get("S", "").encode(), key)
        if current is None or current.book != document.book:
            signed = f" signed by key {key.key_id}" if key else ""
            holds = f"book {current.book}" if current else f"no document of live weights{signed}"
            raise LiveError(
                f"{self.table}: its current item holds {holds}, expected {document.book}; give every book keys of its "
                f"own with dynamodb://{self.table}/{_BOOK}"
            )
        if document.replaces(current):
            raise LiveError(f"{self.table}: its current item says another version than its document, {current.version}")

    def _writes(self, document: LiveWeights, key: SigningKey | None) -> list[dict[str, Any]]:
        namespace = self.namespace.replace(_BOOK, document.book)
        prefix = f"{namespace}#" if namespace else ""
        recorded_at = timestamp(document.recorded_at)
        place, time = {"PK": {"S": f"{prefix}WEIGHTS#CURRENT"}}, {"S": f"VERSION#{recorded_at}"}
        item: dict[str, Any] = {
            "book": {"S": document.book},
            "version": {"N": str(document.version)},
            "recorded_at": {"S": recorded_at},
            "effective_from": {"S": document.effective_from.isoformat()},
            "checksum": {"S": document.checksum},
            "weights": {"M": {name: {"S": repr(weight)} for name, weight in document.final.items()}},
            "document": {"S": document.to_json(key).decode("ascii")},
        }
        compared = ["book", "version", "recorded_at"]
        replaced = "#version < :version OR (#version = :version AND #recorded_at < :recorded_at)"
        if key is None:
            replaced = f"attribute_not_exists(#key_id) AND ({replaced})"
        else:
            # The same weights without a signature, or under another one, are signed anew.
            replaced += (
                " OR (#version = :version AND #recorded_at = :recorded_at AND #checksum = :checksum AND "
                "(attribute_not_exists(#key_id) OR #key_id <> :key_id))"
            )
            compared += ["checksum", "key_id"]
            item["key_id"] = {"S": key.key_id}
        current = {
            "TableName": self.table,
            "Item": place | {"SK": {"S": "METADATA"}} | item,
            "ConditionExpression": f"attribute_not_exists(PK) OR (#book = :book AND ({replaced}))",
            "ExpressionAttributeNames": {f"#{name}": name for name in (*compared, "key_id")},
            "ExpressionAttributeValues": {f":{name}": item[name] for name in compared},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        index = {"GSI1PK": {"S": f"{prefix}HISTORY#ALL"}, "GSI1SK": time}
        history = {
            "TableName": self.table,
            "Item": place | {"SK": time} | index | item,
            "ConditionExpression": "attribute_not_exists(PK) OR #checksum = :checksum",
            "ExpressionAttributeNames": {"#checksum": "checksum"},
            "ExpressionAttributeValues": {":checksum": item["checksum"]},
        }
        return [{"Put": current}, {"Put": history}]
