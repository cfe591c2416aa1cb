"""Documents of a MongoDB collection.

Scope: one read-only find, page by page. Not here: anything that writes, and no code that a server would run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, Field

from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources.cells import flat, record_batch, text
from weights_pipeline.ledger.sources.reading import PAGE, PassingError, RowSource, Variable, require_variable

_EXAMPLE = "mongodb://USER:PASSWORD@HOST:27017/DATABASE"
_CODE = {"$where", "$function", "$accumulator", "$expr"}


def _no_code(given: dict[str, Any]) -> dict[str, Any]:
    if code := sorted({part for name, _ in flat(given) for part in name.split(".")} & _CODE):
        raise ValueError(f"{', '.join(code)}: not allowed; expected fields and operators such as $in, $gte and $lt")
    return given


class MongoDb(RowSource):
    """Documents of a collection, in order of ``_id``; what is nested is named ``outer.inner``.

    Attributes
    ----------
    url_env
        Environment variable that holds the address, with the database's name.
    collection
        Name of the collection.
    filter
        Which documents, as ``find`` takes it; without it, all.
    watch
        A field whose largest value grows with every change, such as ``updated_at``: with it, and with how many
        documents there are, changes are seen without reading them all.
    """

    url_env: Variable
    collection: str = Field(min_length=1)
    filter: Annotated[dict[str, Any], AfterValidator(_no_code)] = Field(default_factory=dict)
    watch: str | None = Field(default=None, min_length=1)

    @property
    def name(self) -> str:
        """Variable, collection and a digest of the filter."""
        told = json.dumps(self.filter, sort_keys=True, default=str)
        return f"mongodb:{self.url_env}/{self.collection}/{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def batches(self, environment: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Find, `PAGE` documents at a time; see :meth:`RowSource.batches`."""
        with self._asked(environment) as collection:
            cursor = collection.find(self.filter, batch_size=PAGE).sort("_id", 1)
            while page := list(islice(cursor, PAGE)):
                yield record_batch({name: _plain(value) for name, value in flat(document)} for document in page)

    def changed(self, environment: Mapping[str, str]) -> str | None:
        """How many documents there are, and the largest value of ``watch``; see :meth:`RowSource.changed`."""
        if self.watch is None:
            return None
        with self._asked(environment) as collection:
            newest = list(collection.find(self.filter, {self.watch: 1}).sort(self.watch, -1).limit(1))
            values = [text(_plain(value)) for document in newest for _, value in flat(document)]
            return json.dumps([collection.count_documents(self.filter), *values])

    @contextmanager
    def _asked(self, environment: Mapping[str, str]) -> Iterator[Any]:
        """The collection, of a client of its own."""
        try:
            from pymongo.errors import AutoReconnect, ConfigurationError, InvalidURI, OperationFailure, PyMongoError
        except ModuleNotFoundError:
            raise LedgerError(
                f"{self.name}: needs the package pymongo: pip install 'weights-pipeline[mongodb]'"
            ) from None
        client = None
        try:
            client = _client(require_variable(environment, self.url_env, self.name, _EXAMPLE))
            yield client.get_default_database()[self.collection]
        except (ConfigurationError, InvalidURI):
            raise LedgerError(
                f"{self.name}: its address is none that names a server and a database; expected one such as {_EXAMPLE}"
            ) from None
        except OperationFailure as error:
            if error.code in _PASSING:
                raise PassingError(f"{type(error).__name__} {error.code}") from None
            raise LedgerError(
                f"{self.name}: the server refused the query: error {error.code}, {_said(error)}"
            ) from None
        except AutoReconnect as error:
            raise PassingError(type(error).__name__) from None
        except PyMongoError as error:
            raise LedgerError(f"{self.name}: cannot be read ({type(error).__name__})") from None
        except TypeError as error:
            raise LedgerError(f"{self.name}: {error}; leave such documents out with `filter`") from error
        finally:
            if client is not None:
                client.close()


_PASSING = {6, 7, 43, 89, 91, 175, 189, 262, 10107, 11600, 11602, 13435, 13436}
"""Codes of servers that are busy, unreachable or stepping down, and of cursors that they have dropped."""


def _client(address: str) -> Any:
    from pymongo import MongoClient

    return MongoClient(
        address,
        tz_aware=True,
        retryReads=True,
        serverSelectionTimeoutMS=5_000,
        connectTimeoutMS=5_000,
        socketTimeoutMS=60_000,
    )


def _said(error: Any) -> str:
    """What the server said of a query; it knows nothing of the address."""
    return str((error.details or {}).get("errmsg", ""))


def _plain(value: Any) -> Any:
    """Values of BSON's own kinds as Python's."""
    from bson import Decimal128, ObjectId

    if isinstance(value, Decimal128):
        return value.to_decimal()
    return str(value) if isinstance(value, ObjectId) else value
