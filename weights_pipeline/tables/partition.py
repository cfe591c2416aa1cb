"""Which partition of which table.

Scope: its identity, and the one spelling of it in documents. Not here: what a partition holds (``tables.contract``),
and when it begins and ends (``ledger.periods``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartitionId:
    """One partition of one table.

    Attributes
    ----------
    schema, table
        The table.
    key
        Key of the partition.
    """

    schema: str
    table: str
    key: str

    def __str__(self) -> str:
        """As documents spell it: ``schema/table/key``."""
        return f"{self.schema}/{self.table}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> PartitionId | None:
        """Read what :meth:`__str__` gives; None where a text is the name of something else."""
        parts = text.split("/")
        return cls(*parts) if len(parts) == 3 else None
