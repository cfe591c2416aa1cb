"""Live weights: as the pipeline publishes them, and as trading services read them.

Scope: the contract between the two: the document (``document``), the places it is kept in (``places``, and one file for
each kind), and the reader of a service (``reader``). Not here: which version is to be published
(``versions.publication``). Neither Dagster, pandas nor DuckDB is loaded here, and boto3 only where a place needs it.
"""

from weights_pipeline.live.document import (
    CorruptError,
    LiveError,
    LiveWeights,
    MissingError,
    NotInForceError,
    OlderVersionError,
    UnknownFormatError,
    UnreachableError,
)
from weights_pipeline.live.places import publish
from weights_pipeline.live.reader import Reader

__all__ = [
    "CorruptError",
    "LiveError",
    "LiveWeights",
    "MissingError",
    "NotInForceError",
    "OlderVersionError",
    "Reader",
    "UnknownFormatError",
    "UnreachableError",
    "publish",
]
