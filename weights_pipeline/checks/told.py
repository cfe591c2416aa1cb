"""What a person is told of a check that was missed.

Scope: finding a declaration by the names that an event has. Not here: what the declarations say.
"""

from __future__ import annotations

from typing import NamedTuple

from weights_pipeline.checks.book import BOOK
from weights_pipeline.checks.comparison import COMPARISON
from weights_pipeline.checks.ledger import LATE_LOTS, LEDGER


class Told(NamedTuple):
    """What is the matter, and what to do."""

    title: str
    advice: str


def told_of(table: str, check: str, *, error: bool) -> Told:
    """Title and advice, by name of table and check; also of a check that has been declared nowhere."""
    said = _DECLARED.get((table, check))
    title = f"{said.title} ({table})" if said and said.title else f"check {check} of {table} failed"
    before = ", before anything is traded." if error else "."
    return Told(title, (said and said.advice) or f"Look at the offending rows in the user interface{before}")


_DECLARED = {
    (said.table.name, said.name): said
    for said in (*LEDGER.declarations, LATE_LOTS, *BOOK.declarations, *COMPARISON.declarations)
}
