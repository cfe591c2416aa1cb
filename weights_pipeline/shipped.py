"""Files that come with the package: the sample's data, and configuration of Dagster.

Scope: where they are. Not here: what they say.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """A file or folder that comes with the package, from a wheel or from a checkout.

    Parameters
    ----------
    name
        Its path in a checkout: ``data``, ``dagster.yaml`` or ``deploy/dagster.yaml``.
    """
    within = _PACKAGE / "shipped_files" / name
    return within if within.exists() else _PACKAGE.parent / name
