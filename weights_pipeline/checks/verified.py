"""What was verified before, so that it is not verified again for as long as it is what it was.

Scope: remembering, in a file beside the store. Not here: what is verified, nor what identifies its content.

An entry says that something of one name has passed with one content. The content identifies everything that the
verification depended on: rows, policy, files and code. Whatever differs is verified anew, so an entry that is lost,
stale or of another store costs time and nothing else. Only what has passed is remembered.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from weights_pipeline.files import write_text


class Verified:
    """What was verified before, and what is verified now.

    Attributes
    ----------
    altered
        What of a schema was found altered, and how many tables there are, once it has been looked for.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._before = _entries(file)
        self._now: dict[str, str] = {}
        self.altered: dict[str, tuple[pd.DataFrame, int]] = {}

    def before(self, name: str) -> str:
        """Content with which something of a name has passed; empty where none is known."""
        return self._before.get(name, "")

    def passed(self, name: str, content: str) -> None:
        """Remember that something of a name has passed with a content."""
        self._now[name] = content

    def keep(self) -> None:
        """Write down what has passed now, and nothing else: what is not looked at any more is forgotten."""
        if self._file is not None and self._now != self._before:
            write_text(self._file, json.dumps(self._now, indent=1, sort_keys=True) + "\n")


def _entries(file: Path | None) -> dict[str, str]:
    """Entries of a file; none where there is no such file, or nobody can read it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    is_known = isinstance(found, dict) and all(isinstance(content, str) for content in found.values())
    return found if is_known else {}
