"""Records of a JSON file, one after the other, without the file in memory.

Scope: the list at a path within the file, and lines that are records by themselves. Not here: anything else, which
whoever asked reads as a whole, and then says what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Numbers stay as they are written.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_WHITE = re.compile(r"[ \t\n\r]*")
_AFTER_A_VALUE = frozenset(" \t\n\r,]}")


class NotPlainError(ValueError):
    """It is no list of records that can be read as it comes, or no JSON."""


def listed(pieces: Iterable[str], path: Sequence[str]) -> Iterator[Any]:
    """Yield the elements of the list at a path: keys of objects, places in lists.

    Raises
    ------
    NotPlainError
        There is none, what is around it is no JSON, or it stands there twice. What was yielded does not count.
    """
    text = _Text(pieces)
    yield from _within(text, path)
    if text.mark():
        raise NotPlainError


def lined(pieces: Iterable[str]) -> Iterator[Any]:
    """Yield what stands on each line that is not blank.

    Raises
    ------
    NotPlainError
        A line is no JSON.
    """
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).splitlines(keepends=True) or [""]
        yield from _loaded(lines)
    yield from _loaded([rest])


def _loaded(lines: Iterable[str]) -> Iterator[Any]:
    for line in lines:
        if line.strip():
            try:
                yield _DECODER.decode(line.splitlines()[0])
            except ValueError:
                raise NotPlainError from None


class _Text:
    """Text of a file, as far as it has come and is not read yet."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces, self._over = iter(pieces), False
        self._text, self._at = "", 0

    def mark(self) -> str:
        """The next character that is not white space; none at the end."""
        while True:
            if white := _WHITE.match(self._text, self._at):
                self._at = white.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._over:
                return ""
            self._more()

    def take(self, marks: str) -> str:
        """Go past the next character, which is one of these."""
        if (found := self.mark()) and found in marks:
            self._at += 1
            return found
        raise NotPlainError

    def value(self) -> Any:
        """Go past the next value."""
        self.mark()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if self._over:
                    raise NotPlainError from None
            else:
                # What ends with the text may go on, and a number in two ways.
                if self._over or (end < len(self._text) and self._text[end] in _AFTER_A_VALUE):
                    self._at = end
                    return value
            self._more()

    def name(self) -> str:
        """Go past the next name of an object's member, and the colon behind it."""
        if self.mark() != '"':
            raise NotPlainError
        while True:
            try:
                name, end = _DECODER.raw_decode(self._text, self._at)
                break
            except ValueError:
                if self._over:
                    raise NotPlainError from None
                self._more()
        self._at = end
        self.take(":")
        return str(name)

    def _more(self) -> None:
        """Get at least as much again as is waiting, so that a long value is not begun too often."""
        waiting = [self._text[self._at :]]
        size, needed = 0, len(waiting[0])
        while size <= needed and not self._over:
            piece = next(self._pieces, None)
            self._over = piece is None
            waiting.append(piece or "")
            size += len(waiting[-1])
        self._text, self._at = "".join(waiting), 0


def _within(text: _Text, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield from _elements(text)
        return
    key, *rest = path
    opened = text.take("{[")
    closed, found = {"{": "}", "[": "]"}[opened], False
    if text.mark() == closed:
        raise NotPlainError
    place = 0
    while True:
        here = text.name() if opened == "{" else str(place)
        if here != key:
            text.value()
        elif found:
            raise NotPlainError  # the last one counts
        else:
            found = True
            yield from _within(text, rest)
        if text.take(f",{closed}") == closed:
            break
        place += 1
    if not found:
        raise NotPlainError


def _elements(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.mark() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.take(",]") == "]":
            return
