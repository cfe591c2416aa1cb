"""From a trade ledger to capital weights.

Scope: rooms, each importing only those below it. ``core`` is the science; ``tables``, ``books``, ``ledger``, ``store``
and ``versions`` say what is stored, by which policy, from which trades, and where; ``orchestration`` is all of Dagster;
``cli`` is the command line.
"""

from typing import Any

_COMPONENT = "Desk"


def __getattr__(name: str) -> Any:
    """Dagster's component :class:`~weights_pipeline.orchestration.component.Desk`, loaded when it is asked for.

    A service that reads live weights imports this package too, and does not want Dagster.
    """
    if name != _COMPONENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from weights_pipeline.orchestration.component import Desk

    return Desk


def __dir__() -> list[str]:
    """Names of the module, and the component, which Dagster's tools look for."""
    return [*globals(), _COMPONENT]
