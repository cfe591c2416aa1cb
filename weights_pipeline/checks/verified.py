"""What was verified before, so that it is not verified again for as long as it is what it was.

Scope: remembering, in a file beside the store. Not here: what is verified, nor what identifies its content.

An entry says that a part of what a check looks at, such as a table or a date, has passed with one content. The content
identifies everything that the verification depended on: rows, policy, files and code. Whatever differs is verified
anew, so an entry that is lost, stale or of another store costs time and nothing else. Only what has passed is
remembered.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import pandas as pd

from weights_pipeline.files import write_text


class Verified:
    """What was verified before, and what is verified now.

    Attributes
    ----------
    altered
        What of a schema, or of some of its tables by their names, was found altered, and how many tables there are,
        once it has been looked for.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._before = _entries(file)
        self._now: dict[str, dict[str, str]] = {}
        self.altered: dict[tuple[str, ...], tuple[pd.DataFrame, int]] = {}

    @classmethod
    def of(cls, folder: Path, schema: str) -> Self:
        """What is remembered of a ledger, book or comparison."""
        return cls(folder / f"{schema}.json")

    def before(self, check: str, part: str) -> str:
        """Content with which a part of what a check looks at has passed; empty where none is known."""
        return self._before.get(check, {}).get(part, "")

    def passed(self, check: str, part: str, content: str) -> None:
        """Remember that a part has passed with a content."""
        self._now.setdefault(check, {})[part] = content

    def keep(self) -> None:
        """Write down what has passed now; of the checks that were run, nothing else is remembered."""
        entries = {**self._before, **self._now}
        if self._file is not None and entries != self._before:
            write_text(self._file, json.dumps(entries, indent=1, sort_keys=True) + "\n")


def _entries(file: Path | None) -> dict[str, dict[str, str]]:
    """Entries of a file; none where there is no such file, or nobody can read it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else {}
        return {
            str(check): {str(part): str(content) for part, content in parts.items()} for check, parts in found.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}
