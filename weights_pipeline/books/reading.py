"""Files that people write: YAML and JSON, read safely, with errors that name file, key and what was expected.

Scope: parsing and validation of settings. Not here: what a book means (``book``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

LARGEST_FILE = 500_000
"""Bytes that a file of settings may have; with its aliases written out it may stand for as many characters."""

_DEEPEST = 100
"""Levels of mappings and lists inside each other that a YAML file may have."""


class BookError(ValueError):
    """A book, or a file it names, is not valid. The message names the file, the key and what was expected."""


class Model(BaseModel):
    """Base of all settings: unknown keys, NaN and infinity are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_yaml(file: Path) -> Any:
    """Parse YAML safely.

    Duplicate keys are refused, since the last one would silently win, and so are files that would not be read in a
    moment: deep ones, and those of more than :data:`LARGEST_FILE` characters, each alias counted as what it repeats.
    """
    try:
        text = _read_text(file)
        _require_shallow(text)
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BookError(f"{file}: not readable as YAML: {error}") from error
    except (KeyError, AttributeError, TypeError) as error:
        # What PyYAML raises of a value that its own tag cannot be given to, such as `!!bool maybe`.
        raise BookError(f"{file}: not readable as YAML: a value that its tag does not allow: {error}") from error


def read_json(file: Path, what: str) -> Any:
    """Parse a JSON file that a book names."""
    try:
        return json.loads(_read_text(file), object_pairs_hook=_unique)
    except RecursionError:
        raise BookError(f"{file}: {what} cannot be read: too many levels") from None
    except (OSError, ValueError) as error:
        raise BookError(f"{file}: {what} cannot be read: {error}") from error


def _read_text(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"expected at most {LARGEST_FILE} bytes")
    return content.decode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; duplicate keys are refused, since the last one would silently win."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate keys {sorted({key for key in keys if keys.count(key) > 1})}")
    return content


def validated(
    adapter: TypeAdapter[Any], content: Any, file: Path | str, context: Mapping[str, Any] | None = None
) -> Any:
    """Validate content read from a file, turning every problem into one line ``file: key: what was expected``.

    ``context`` is what validators need to know beside the content.
    """
    try:
        return adapter.validate_python(content, context=context)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(map(str, key)) or '(whole file)'}: {e['msg'].removeprefix('Value error, ')}"
            + ("" if isinstance(e["input"], dict | list) else f", got {e['input']!r}")
            for key, e in _nearest(error.errors(include_url=False), content)
        ]
        raise BookError("\n".join(lines)) from error


_OF_A_FIELD = ("missing", "missing_argument", "extra_forbidden", "unexpected_keyword_argument")
"""Kinds of errors whose key ends with the name of a field that is not there, or should not be."""

Key = tuple[int | str, ...]


def _nearest(errors: Sequence[ErrorDetails], content: Any) -> Iterator[tuple[Key, ErrorDetails]]:
    """Errors by key. Of what may be one of several things, those of the one that it is nearest to."""
    ways: dict[Key, dict[int | str, list[ErrorDetails]]] = {}
    for error in errors:
        key = error["loc"]
        at = _where(key, content, whole=error["type"] in _OF_A_FIELD)
        ways.setdefault(key[:at], {}).setdefault(key[at] if at < len(key) else "", []).append(error)
    for key, by_way in ways.items():
        if len(by_way) < 2:
            yield from ((error["loc"], error) for found in by_way.values() for error in found)
            continue
        found = min(by_way.values(), key=partial(_distance, len(key) + 1))
        yield from (((*key, *error["loc"][len(key) + 1 :]), error) for error in found)


def _distance(depth: int, errors: Sequence[ErrorDetails]) -> tuple[bool, bool, int]:
    """How far something is from what was expected: less when it has its form, or was read further than its kind."""
    formless = all(error["type"] != "value_error" for error in errors)
    return formless, all(len(error["loc"]) == depth for error in errors), len(errors)


def _where(key: Key, content: Any, *, whole: bool) -> int:
    """How many parts of a key lead through content; the part after them names what the rest was taken for.

    ``whole`` says that the last part names a field, whether it is there or not.
    """
    for at, part in enumerate(key):
        there = part in content if isinstance(content, dict) else isinstance(content, list) and isinstance(part, int)
        if not there:
            return len(key) if whole and at + 1 == len(key) else at
        content = content[part]
    return len(key)


def inside(root: Path, relative: str, key: str) -> Path:
    """Resolve a path that a book or ledger source names, refusing any that leaves the data folder."""
    try:
        path = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise BookError(f"{key}: path {relative!r} leads nowhere: {error}") from error
    if not path.is_relative_to(root.resolve()):
        raise BookError(f"{key}: path {relative!r} leaves the data folder; name a file inside it")
    return path


def _require_shallow(text: str) -> None:
    """Refuse YAML of more levels than anybody means: composing it would take all of the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError("too many levels")


class _UniqueKeyLoader(yaml.CSafeLoader):
    """Safe loader, parsing in C, that refuses duplicate keys, and aliases that write out to more than anybody means."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _written_out(node, {}) > LARGEST_FILE:
            problem = f"stands for more than {LARGEST_FILE} characters"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key that is no plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        # Python refuses to print longer ones, so that no message could say what is wrong with them.
        if number.bit_length() > 1024:
            raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
        return number


_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:int", _UniqueKeyLoader.construct_number)


def _written_out(node: yaml.Node, known: dict[yaml.Node, float]) -> float:
    """Characters that a node stands for, each alias counted as what it repeats; without end where it repeats itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value)
    if node not in known:
        known[node] = math.inf
        inner = (each for part in node.value for each in (part if isinstance(part, tuple) else (part,)))
        known[node] = 1 + sum(_written_out(each, known) for each in inner)
    return known[node]
