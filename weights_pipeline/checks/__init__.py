"""Checks: which verification guards which table, against which limit, and what a miss asks a person to do.

Scope: declarations, free of any orchestrator, and what of the stored rows they are run on. Not here: what a check
computes (``core.verify``).
"""

from weights_pipeline.checks.book import book_checks
from weights_pipeline.checks.comparison import comparison_checks
from weights_pipeline.checks.declaration import Check, Declaration
from weights_pipeline.checks.ledger import LATE_LOTS, ledger_checks
from weights_pipeline.checks.told import told_of
from weights_pipeline.checks.verified import Verified

__all__ = [
    "LATE_LOTS",
    "Check",
    "Declaration",
    "Verified",
    "book_checks",
    "comparison_checks",
    "ledger_checks",
    "told_of",
]
