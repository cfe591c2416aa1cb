"""What a check has found.

Scope: one outcome, and several as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

LISTED = 5
"""Offenders that a summary names."""

_NAMING = ("strategy", "partition_key", "source_file", "lot_id", "method", "table", "as_of", "session")
"""Columns that say of what an offending row is, the telling ones first."""


@dataclass(frozen=True)
class Finding:
    """Outcome of one check.

    Attributes
    ----------
    passed
        Whether the measured value respects the limit.
    value, limit
        The figure measured, and what it was held against.
    summary
        One sentence for a person.
    offending
        The rows that break the rule; empty when passed.
    """

    passed: bool
    value: float
    limit: float
    summary: str
    offending: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def names(self) -> tuple[str, ...]:
        """Who offends, each once: strategies, or else what the rows are of, with the bound they are at."""
        naming = next((name for name in _NAMING if name in self.offending), None)
        if naming is None:
            return ()
        named = self.offending[naming]
        texts = named.dt.strftime("%Y-%m-%d") if named.dtype.kind == "M" else named.astype("str")
        if "bound" in self.offending:
            texts = texts + " (" + self.offending["bound"].astype("str") + ")"
        return tuple(dict.fromkeys(texts))


def together(findings: Sequence[Finding]) -> Finding:
    """One finding on parts that were judged each by itself: the worst value, and what the last part that fails says."""
    failed = [finding for finding in findings if not finding.passed]
    said = (failed or list(findings))[-1]
    return Finding(
        passed=not failed,
        value=said.value,
        limit=said.limit,
        summary=said.summary,
        offending=pd.concat([each.offending for each in failed], ignore_index=True) if failed else said.offending,
    )


def over_limit(values: pd.Series, limit: float, name: str, words: str) -> Finding:
    """Finding on values of which none may be beyond a limit; those that are, offend, under a name."""
    largest = float(values.max()) if len(values) else 0.0
    over = values[values > limit]
    return Finding(
        passed=over.empty,
        value=largest,
        limit=limit,
        summary=f"largest {words} is {largest:.2%}; {len(over)} beyond {limit:.0%}",
        offending=over.rename(name).reset_index(),
    )
