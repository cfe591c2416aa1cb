"""On how many examples a property is tried.

Scope: the number for properties whose examples take long. Not here: which examples, see the profiles of ``conftest``.
"""

from typing import Any

from hypothesis import settings


def examples(number: int, **others: Any) -> settings:
    """So many examples where they are new, as in ``make fuzz``, or try mutants; a quarter where they never change."""
    fixed = settings.get_current_profile_name() == "fixed"
    return settings(max_examples=max(number // 4, min(number, 3)) if fixed else number, deadline=None, **others)
