"""Text that comes from files and names, made harmless for where it is shown.

Scope: terminals and Markdown. Not here: what is said.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"[\\`*<>\[\]|~&]|(?<!\w)_|_(?!\w)")


def visible(text: str, kept: str = "") -> str:
    """Text with all that would steer a terminal, or turn a line round, spelled out; characters in ``kept`` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)


def markdown(text: object) -> str:
    """Text for a cell of a Markdown table: no mark-up, no HTML, no picture, and no end of the cell or the row."""
    return _MARKUP.sub(r"\\\g<0>", visible(str(text)))
