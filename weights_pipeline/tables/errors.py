"""What a store says when it does not do what was asked.

Scope: the exceptions, free of imports, so that a command can catch them before anything heavy is loaded. Not here:
errors of anything else.
"""

from __future__ import annotations


class StoreError(Exception):
    """A store refused or could not do what was asked. The message says what, where and what to do."""


class ContractError(StoreError):
    """A frame does not meet its table's definition; nothing was written."""


class GateError(ContractError):
    """Rows break a hard limit; nothing was written."""


class MissingPartitionError(StoreError):
    """An upstream partition that is needed was never materialised, or only while it was still open."""


class MixedInputsError(StoreError):
    """Tables that follow from each other were made from different ledgers or policies; no version was written."""


class SchemaMigrationError(StoreError):
    """The stored table differs from its definition in a way that only a person can decide about."""


class StoreLockedError(StoreError):
    """Others held the store, or kept changing it, for longer than the time-out; nothing was written."""


class DamagedError(StoreError):
    """What is stored is not what was written: missing, cut short or altered. It was not used."""


class QueryError(StoreError):
    """A query that is not a question, or that the database cannot answer."""
