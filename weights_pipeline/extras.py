"""Packages that not every desk needs, and what installs them.

Scope: whether one is there, and what to say where it is not. Not here: using it.
"""

from __future__ import annotations

from importlib.util import find_spec

_EXTRAS = {"apprise": "alerts", "boto3": "aws", "distributed": "dask", "matplotlib": "report", "plutoprint": "pdf"}
"""Extra of this package that brings each."""


class MissingExtraError(ImportError):
    """A package is not installed. The message says what installs it."""


def missing(package: str) -> str:
    """What to say of a package that is not installed; empty where it is."""
    if find_spec(package) is not None:
        return ""
    return f"needs the package {package}, which is not installed: pip install 'weights-pipeline[{_EXTRAS[package]}]'"


def need(package: str, what: str) -> None:
    """Raise :class:`MissingExtraError`, which begins with what is asked for, where a package is not installed."""
    if said := missing(package):
        raise MissingExtraError(f"{what} {said}")
