"""Checks of a comparison's tables.

Scope: declarations. Not here: what they compute (``core.study``, ``core.verify``).
"""

from __future__ import annotations

from dataclasses import dataclass

from weights_pipeline.books.comparisons import Comparison
from weights_pipeline.checks.declaration import Check, CheckList
from weights_pipeline.checks.verified import Verified
from weights_pipeline.checks.written import RESTORE, stored_as_written
from weights_pipeline.core.study import comparison as study
from weights_pipeline.core.verify import Finding
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog


@dataclass(frozen=True)
class ComparisonRows:
    """Rows of one comparison."""

    schema: str
    store: Reader
    verified: Verified


COMPARISON = CheckList[ComparisonRows]("comparison")


def comparison_checks(comparison: Comparison) -> list[Check]:
    """Checks of one comparison's tables."""
    name = comparison.name
    return COMPARISON.of(lambda store, verified: ComparisonRows(name, store, verified), {}, f"comparison {name}")


@COMPARISON.check(catalog.COMPARISON)
def same_sessions(of: ComparisonRows) -> Finding:
    """Every method was run in the same windows and judged on the same sessions."""
    windows, weights, returns = (
        of.store.read(of.schema, table)
        for table in (catalog.WALK_FORWARD_WINDOWS, catalog.WALK_FORWARD_WEIGHTS, catalog.WALK_FORWARD_RETURNS)
    )
    daily = returns.pivot(index="session", columns="method", values="daily_return")
    return study.same_sessions(windows, weights, daily)


COMPARISON.check(catalog.COMPARISON, needs_all=True, advice=RESTORE)(stored_as_written)
