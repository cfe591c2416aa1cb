"""Loading of books: folders, overrides of a stage, the files that books name.

Scope: from files to valid books. Not here: the model (``book``).
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from weights_pipeline.books.allocations import load_allocations, require_reachable
from weights_pipeline.books.book import Book
from weights_pipeline.books.reading import BookError, inside, read_json, read_yaml, validated
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.targets.methods.fixed import Fixed

DATED = {"strategies", "gross", "method", "metrics", "adjustment", "limits", "overlay"}
"""Keys whose changes may be dated."""


def load_books(
    folder: Path, stage: str | None = None, dropped: MutableMapping[str, ValueError] | None = None
) -> dict[str, Book]:
    """Load every ``*.yaml`` of a folder, by name.

    Parameters
    ----------
    folder
        The folder of books; the files they name are relative to the folder above it.
    stage
        Name of a folder beneath, whose ``NAME.yaml`` overrides single keys of the book of that name.
    dropped
        Where to put what is wrong with a book, by name (of its file, where that cannot be read), in place of raising
        it: the others are loaded.

    Raises
    ------
    BookError
        Nothing there, a file is not a valid book, two files hold the same name, or a stage overrides a book that there
        is not.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise BookError(f"{folder}: no books (*.yaml) found. Put one policy per file there.")
    overrides = stage_overrides(folder, stage)
    books: dict[str, Book] = {}
    origin: dict[str, Path] = {}
    for file in files:
        name = file.stem
        try:
            book = load_book(file, overrides=overrides)
            if (name := book.name) in origin:
                # Nobody knows which of them is meant.
                books.pop(name, None)
                raise BookError(f"{file}: name: duplicate book {name!r}, already defined in {origin[name]}")
        except BookError as error:
            if dropped is None:
                raise
            dropped[name] = error
        else:
            books[name], origin[name] = book, file
    if stray := sorted(set(overrides) - set(books) - set(dropped or ())):
        raise BookError(f"{overrides[stray[0]]}: overrides a book that there is not; there are {', '.join(books)}")
    return books


def stage_overrides(folder: Path, stage: str | None) -> dict[str, Path]:
    """Files with the keys that a stage overrides, by name of the book; none where the stage has no folder."""
    return {file.stem: file for file in sorted((folder / stage).glob("*.yaml"))} if stage else {}


def load_book(
    file: Path,
    *,
    root: Path | None = None,
    overrides: Mapping[str, Path] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Book:
    """Load one book; every problem of the file is in the one :class:`BookError` raised.

    Parameters
    ----------
    file
        The YAML file.
    root
        Data folder, which the files it names are relative to; two folders above the file when left out.
    overrides
        Files by name of book, whose keys replace those of the book.
    changes
        Values by path of keys, such as ``method.alpha``, that replace those of the file.
    """
    content, named = read_yaml(file), str(file)
    name = str(content.get("name")) if isinstance(content, dict) else ""
    if overrides and name in overrides:
        own = read_yaml(overrides[name])
        if not isinstance(own, dict) or "name" in own:
            raise BookError(f"{overrides[name]}: expected keys of book {name} to override, other than its name")
        content, named = content | own, f"{file} with {overrides[name]}"
    root = root or file.resolve().parents[1]
    *earlier, (content, named) = _dated(content, named)
    if changes:
        earlier = []
    for path, value in (changes or {}).items():
        named += f" with {path}={value}"
        content = _changed(content, path.split("."), value, named)
    past = [_book(*each, root) for each in earlier]
    return _book(content, named, root).after(zip(_months(content), past, strict=True) if past else ())


def _book(content: Any, named: str, root: Path) -> Book:
    book: Book = validated(TypeAdapter(Book), content, named)
    if isinstance(book.method, Fixed) and book.method.folder:
        decisions = load_allocations(root, book)
        book = book.model_copy(update={"method": replace(book.method, decisions=decisions)})
    elif not book.method.reads:
        require_reachable(book, book.method, named)
    return book


def _dated(content: Any, named: str) -> list[tuple[Any, str]]:
    """Content as it was at first, and after each of its dated changes; with its name for an error.

    Raises
    ------
    BookError
        A change is of a key that none may be of, or makes or ends an overlay.
    """
    since = content.get("since") if isinstance(content, dict) else None
    found = [(content, named)]
    if not isinstance(since, dict):
        return found
    # Whether months and keys are what they should be, the book itself tells.
    for month in _months(content):
        changes, at = since[month], f"{named}: since: {month}"
        if not isinstance(changes, dict):
            raise BookError(f"{at}: expected keys of the book with their values from that month on, got {changes!r}")
        if unknown := sorted(set(changes) - DATED):
            raise BookError(f"{at}: {', '.join(map(str, unknown))}: expected some of {', '.join(sorted(DATED))}")
        if "overlay" in changes and (changes["overlay"] is None) != (content.get("overlay") is None):
            raise BookError(f"{at}: overlay: may not come or go; expected one throughout, with enabled true or false")
        found.append((found[-1][0] | changes, f"{named} since {month}"))
    return found


def _months(content: Mapping[str, Any]) -> list[Any]:
    """Months of the dated changes of a book, in order."""
    return sorted(content["since"], key=str)


def _changed(content: Any, path: list[str], value: Any, named: str) -> Any:
    """Content with one value replaced; keys on the way that are missing or null are made."""
    key, *rest = path
    if not isinstance(content, dict | None):
        raise BookError(f"{named}: {key}: expected it to be a key of a mapping, found {content!r} in place of that")
    keys = content or {}
    return keys | {key: _changed(keys.get(key), rest, value, named) if rest else value}


def book_schema() -> dict[str, Any]:
    """JSON Schema of a book, for editors that complete and check YAML while it is typed."""
    schema = TypeAdapter(Book).json_schema()
    # Decisions come from files of their own.
    del schema["$defs"]["Fixed"]["properties"]["decisions"], schema["$defs"]["Decision"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Book of weights-pipeline"}


def load_starter_metrics(book: Book, root: Path) -> Mapping[str, StarterMetrics]:
    """Starter metrics of a book by strategy; empty when the book names no file.

    Raises
    ------
    BookError
        The file is missing, not JSON, holds figures that contradict each other, or strategies the book does not have.
    """
    if book.starter_metrics is None:
        return {}
    file = inside(root, book.starter_metrics, f"book {book.name}: starter_metrics")
    return metrics_given(read_json(file, f"starter metrics of book {book.name}"), book, file)


def metrics_given(content: Any, book: Book, named: Path | str) -> Mapping[str, StarterMetrics]:
    """Twelve-month figures by strategy, from the content of a JSON file.

    Raises
    ------
    BookError
        Figures that contradict each other, or strategies the book does not have; ``named`` says where they are from.
    """
    figures: dict[str, StarterMetrics] = validated(TypeAdapter(dict[str, StarterMetrics]), content, named)
    known = {name for each in book.every for name in each.strategies}
    if unknown := sorted(set(figures) - known):
        raise BookError(
            f"{named}: strategies {unknown} are not in book {book.name}, which has {sorted(known)}; "
            f"remove them from the file, or add them to the book"
        )
    return figures
