"""Where rows come from beside files: databases, one adapter each.

Scope: the registry. A kind of source is a file here and a line in `SOURCES`. Not here: what a row means.
"""

from collections.abc import Mapping

from weights_pipeline.ledger.sources.dynamodb import DynamoDb
from weights_pipeline.ledger.sources.mongodb import MongoDb
from weights_pipeline.ledger.sources.reading import RowSource, read_rows
from weights_pipeline.ledger.sources.sql import Sql

SOURCES: Mapping[str, type[RowSource]] = {
    "sql": Sql,
    "dynamodb": DynamoDb,
    "mongodb": MongoDb,
}
"""Adapters by the key that names them in a ledger's YAML."""

__all__ = ["SOURCES", "RowSource", "read_rows"]
