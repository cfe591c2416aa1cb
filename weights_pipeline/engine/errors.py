"""What an engine can fail by.

Scope: the errors, which name no library. Not here: when they are raised.
"""


class EngineError(RuntimeError):
    """Work could not be done where ``WEIGHTS_ENGINE`` sends it. The message says where, which shard, and what to do."""


class OtherVersionError(EngineError):
    """Somebody who would work on shards runs other code."""
