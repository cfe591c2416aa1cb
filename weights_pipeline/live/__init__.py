"""Live weights: as the pipeline publishes them, and as trading services read them.

Scope: the contract between the two: the document (``document``), its signature (``signing``), the places it is kept in
(``places``, and one file for each kind), and the reader of a service (``reader``). Not here: which version is to be
published (``versions.publication``). Neither Dagster, pandas nor DuckDB is loaded here, boto3 only where a place needs
it, and cryptography where a key is given.
"""

from weights_pipeline.live.document import (
    CorruptError,
    LiveError,
    LiveWeights,
    MissingError,
    NotInForceError,
    OlderVersionError,
    SignatureError,
    UnknownFormatError,
    UnreachableError,
)
from weights_pipeline.live.places import publish
from weights_pipeline.live.reader import Reader
from weights_pipeline.live.signing import Keys, SigningKey

__all__ = [
    "CorruptError",
    "Keys",
    "LiveError",
    "LiveWeights",
    "MissingError",
    "NotInForceError",
    "OlderVersionError",
    "Reader",
    "SignatureError",
    "SigningKey",
    "UnknownFormatError",
    "UnreachableError",
    "publish",
]
