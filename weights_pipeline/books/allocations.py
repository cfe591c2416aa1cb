"""Fixed allocations: dated decisions in files.

Scope: reading and checking decisions. Not here: the method that follows them (``core.targets.methods.fixed``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

import numpy as np
from pydantic import Field, TypeAdapter

from weights_pipeline.books.book import Book
from weights_pipeline.books.reading import BookError, Model, inside, read_json, validated
from weights_pipeline.core.targets.methods.base import CrossSection, Method, target_weights
from weights_pipeline.core.targets.methods.fixed import Decision, Fixed, allocation_problems

DECISION_FILE = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)(?:_(?P<number>[2-9]|[1-9]\d+))?\.json")


class Proposal(Model):
    """Fixed allocations that may become a decision, with as much as is known of when and why."""

    date: dt.date | None = None
    provenance: str | None = Field(default=None, pattern=r"\S")
    allocations: dict[str, Annotated[float, Field(strict=True)]]


class Allocations(Proposal):
    """A file of fixed allocations: percent of capital by strategy, and where they come from."""

    date: dt.date = Field(description="Day the allocations were decided.")
    provenance: str = Field(pattern=r"\S", description="The backtest or decision behind them.")


def require_reachable(book: Book, method: Method, named: Path | str) -> None:
    """Refuse a method that reads no metric where its weights cannot be what it says they are."""
    section = _section(book)
    try:
        targets = target_weights(method, section, book.limits)
    except ValueError as error:
        raise BookError(f"{named}: method: {error}") from error
    wanted = section.base * targets.tilt.value
    if moved := [
        name for name, w, t in zip(section.strategies, wanted, targets.target, strict=True) if abs(w - t) > 0.001
    ]:
        raise BookError(
            f"{named}: limits: they change the weights that method {method.kind} sets for {moved} in book {book.name}; "
            f"expected limits such as {{of: weight, floor: 0, cap: 1}} that leave them as they are"
        )


def _section(book: Book) -> CrossSection:
    """What a method that reads no metric reads of any date."""
    strategies = tuple(sorted(book.strategies))
    base = np.array([book.strategies[name] for name in strategies], dtype=np.float64)
    return CrossSection(strategies=strategies, base=base, gross=book.gross, values={}, reasons={})


def load_allocations(root: Path, book: Book) -> tuple[Decision, ...]:
    """Every decision in the folder that a book with fixed allocations names, the oldest first.

    A decision is a file ``YYYY-MM-DD.json``, or ``YYYY-MM-DD_2.json`` and so on where it takes the place of another of
    the same day. Hidden files are left aside: decisions are, while they are being written.

    Raises
    ------
    BookError
        The folder is missing, empty or outside the data folder, or one of its files is not a decision for the book.
        Every problem of every file is in it.
    """
    method = cast(Fixed, book.method)
    folder = inside(root, method.folder, f"book {book.name}: method.folder")
    try:
        names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise BookError(f"{folder}: book {book.name}: method.folder: allocations cannot be read: {error}") from error
    if not names:
        raise BookError(f"{folder}: book {book.name}: method.folder: no allocations there; expected YYYY-MM-DD.json")
    decisions, problems = list[Decision](), list[str]()
    for name in names:
        try:
            decisions.append(_load_decision(inside(root, f"{method.folder}/{name}", str(folder / name)), book))
        except BookError as error:
            problems.append(str(error))
    if problems:
        raise BookError("\n".join(problems))
    return tuple(sorted(decisions, key=lambda decision: decision.order))


def _load_decision(file: Path, book: Book) -> Decision:
    if not (named := DECISION_FILE.fullmatch(file.name)):
        raise BookError(
            f"{file}: not a decision; expected YYYY-MM-DD.json, or YYYY-MM-DD_2.json and so on for others of that day"
        )
    given: Allocations = validated(TypeAdapter(Allocations), read_json(file, "allocations"), file)
    problems = list[str]()
    if f"{given.date}" != named["date"]:
        problems.append(f"{file}: date: expected that in the name of the file, {named['date']}, got {given.date}")
    try:
        require_allocations(given.allocations, book, file)
    except BookError as error:
        problems.append(str(error))
    if problems:
        raise BookError("\n".join(problems))
    number = int(named["number"] or 1)
    return Decision(date=given.date, number=number, allocations=given.allocations, provenance=given.provenance)


def load_proposal(file: Path) -> Proposal:
    """Allocations from a JSON file that need not be in a book's folder, not yet checked against one.

    Either a whole decision, or a plain map from strategy to percent.
    """
    content = read_json(file, "allocations")
    if isinstance(content, dict) and not content.keys() & Proposal.model_fields.keys():
        content = {"allocations": content}
    proposal: Proposal = validated(TypeAdapter(Proposal), content, file)
    return proposal


def require_allocations(allocations: Mapping[str, float], book: Book, named: Path | str) -> None:
    """Refuse allocations that a book with fixed ones cannot follow; every problem is in the :class:`BookError`."""
    if problems := allocation_problems(allocations, _section(book), book.limits):
        raise BookError("\n".join(f"{named}: {problem}" for problem in problems))
    # Whether the limits leave them as they are is the same on any day.
    require_reachable(book, Fixed(decisions=(Decision(date=dt.date.min, allocations=allocations),)), named)
