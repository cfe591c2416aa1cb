"""Who may see and do what in the user interface.

Scope: ``access`` (the rules, on plain values) and ``guard`` (the middleware that keeps them). Not here: the interface
itself, which is Dagster's (``orchestration.webserver``).
"""

from weights_pipeline.ui.access import Access, AccessError, Refusal, Role
from weights_pipeline.ui.guard import ROLE, Guard

__all__ = ["ROLE", "Access", "AccessError", "Guard", "Refusal", "Role"]
