"""``weights allocations``: the dated decisions of a book with fixed allocations, shown, checked, compared and added to.

Scope: the commands, and the writing of a decision. Not here: what makes allocations a decision (``books.allocations``,
``core.targets.methods.fixed``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from weights_pipeline.books.allocations import Proposal
    from weights_pipeline.books.book import Book
    from weights_pipeline.core.targets.methods.fixed import Decision, Fixed
    from weights_pipeline.workspace import Workspace

_LABEL = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)(?:_(?P<number>\d+))?")


class _Side(NamedTuple):
    """One side of a comparison: a decision by its label, or a file that may become one."""

    name: str
    allocations: Mapping[str, float]


class _Change(NamedTuple):
    """What a strategy, or all of them together, had and gets; percent of capital."""

    strategy: str
    old: Decimal
    new: Decimal

    @property
    def change(self) -> Decimal:
        return self.new - self.old


def add(commands: common.Commands) -> None:
    """Declare the commands."""
    allocations = commands.add_parser("allocations", help="The decisions of a book with fixed allocations.")
    beneath = allocations.add_subparsers(required=True, metavar="COMMAND", title="commands")
    show = common.command(beneath, "show", _show)
    show.add_argument("--date", type=common.day, metavar="YYYY-MM-DD", help="the decision in force on this day")
    validate = common.command(beneath, "validate", _validate)
    validate.add_argument("file", type=Path, nargs="?", metavar="FILE", help="JSON file that is to become a decision")
    diff = common.command(beneath, "diff", _diff)
    side = "a day, for the decision in force then, YYYY-MM-DD_2 for the second of a day, or a JSON file"
    diff.add_argument("sides", nargs="*", metavar="A B", help=f"{side}; default: the newest and the one before")
    update = common.command(beneath, "update", _update)
    update.add_argument(
        "file", type=Path, metavar="FILE", help="JSON: a whole decision, or a plain map from strategy to percent"
    )
    update.add_argument("--date", type=common.day, metavar="YYYY-MM-DD", help="day of the decision, if not in FILE")
    update.add_argument("--provenance", metavar="TEXT", help="what is behind the decision, if not in FILE")
    update.add_argument("--dry-run", action="store_true", help="write nothing")
    for each in (show, validate, diff, update):
        each.add_argument("--book", required=True, help="book with fixed allocations")


def _show(options: argparse.Namespace) -> int:
    """Show the decision in force, now or on a day: its weights and what is behind them."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.targets.methods.base import CrossSection, target_weights
    from weights_pipeline.core.targets.methods.fixed import Fixed

    workspace = common.workspace()
    book, method = _fixed(common.book_named(workspace, options.book))
    try:
        decision = method.in_force(options.date)
    except ValueError as error:
        common.stop(f"{book.name}: {error}", common.NOTHING)
    section = CrossSection.of(book.strategies, {}, {}, book.gross)
    weights = target_weights(Fixed(decisions=(decision,)), section, book.limits).target.tolist()
    given = _exact(decision.allocations)
    total, file = sum(given.values()), _folder(workspace, method) / f"{decision.label}.json"
    if options.json:
        content = {
            "book": book.name,
            "date": decision.date,
            "number": decision.number,
            "allocations": decision.allocations,
            "total": float(total),
            "weights": dict(zip(section.strategies, weights, strict=True)),
            "gross": book.gross,
            "provenance": decision.provenance,
            "file": file,
            "decisions": len(method.decisions),
        }
        common.print_json(content)
        return 0
    digits = _digits(given.values())
    rows = [
        [name, f"{given[name]:.{digits}f}%", f"{weight:.{digits}%}"]
        for name, weight in zip(section.strategies, weights, strict=True)
    ]
    totals = ["Total", f"{total:.{digits}f}%", f"{sum(weights):.{digits}%}"]
    render.say(f"{book.name}: allocations decided on {decision.date}")
    render.table([*rows, totals], ["Strategy", "Allocation", "Target"])
    render.say(f"Behind them: {decision.provenance}")
    render.say(f"File: {file}")
    following = [each for each in method.decisions if each.date > decision.date]
    until = f", until that of {following[0].date}" if following else ""
    render.say(f"Decision {method.decisions.index(decision) + 1} of {len(method.decisions)}{until}.")
    return 0


def _validate(options: argparse.Namespace) -> int:
    """Check all decisions of a book, or a file that is to become one: everything that is wrong (exit code 2)."""
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render

    workspace, problems = common.workspace(), list[str]()
    checked = str(options.file or f"decisions of book {options.book}")
    try:
        # A book is not loaded where any of its decisions is not valid.
        book, method = _fixed(workspace.book(options.book))
        if options.file:
            _proposal(options.file, book, method.decisions[-1])
        else:
            checked = f"{len(method.decisions)} {checked}"
    except BookError as error:
        problems = str(error).splitlines()
    if options.json:
        common.print_json({"book": options.book, "checked": checked, "valid": not problems, "problems": problems})
        return common.INVALID if problems else 0
    if problems:
        common.stop("\n  ".join([f"{checked}: not valid:", *problems]), common.INVALID)
    render.say(f"{checked}: valid.")
    return 0


def _diff(options: argparse.Namespace) -> int:
    """Compare two decisions, or a decision and a file; one alone is compared with the decision before it."""
    if len(options.sides) > 2:
        common.stop(f"expected two decisions at most, got {len(options.sides)}", common.INVALID)
    workspace = common.workspace()
    book, method = _fixed(common.book_named(workspace, options.book))
    *first, new = [_side(text, book, method) for text in options.sides] or [_decided(method.decisions[-1])]
    labels = [decision.label for decision in method.decisions]
    before = method.decisions[: labels.index(new.name)] if new.name in labels else method.decisions
    if not first and not before:
        common.stop(f"{book.name}: there is no decision before {new.name}", common.NOTHING)
    old = first[0] if first else _decided(before[-1])
    if options.json:
        common.print_json(_compared(book, old, new))
    else:
        _print_compared(book, old, new)
    return 0


def _update(options: argparse.Namespace) -> int:
    """Add a decision to those of a book, as a new file; what was decided before stays."""
    from weights_pipeline.books.allocations import Allocations
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render
    from weights_pipeline.core.targets.methods.fixed import Decision

    workspace = common.workspace()
    book, method = _fixed(common.book_named(workspace, options.book))
    newest = method.decisions[-1]
    try:
        proposal = _proposal(options.file, book, newest, date=options.date, provenance=options.provenance)
        given = Allocations(**proposal.model_dump())
    except BookError as error:
        lines = [f"{options.file}: not a decision for book {book.name}:", *str(error).splitlines()]
        common.stop("\n  ".join(lines), common.INVALID)
    if given.allocations == newest.allocations:
        message = f"{options.file}: nothing changes: these are the allocations of {newest.label}, the newest decision"
        common.stop(message, common.INVALID)
    decision = Decision(
        date=given.date,
        number=newest.number + 1 if given.date == newest.date else 1,
        allocations={name: given.allocations[name] for name in book.strategies},
        provenance=given.provenance,
    )
    folder, file = _folder(workspace, method), None
    if not options.dry_run:
        try:
            decision = _record(decision, folder)
        except OSError as error:
            common.stop(f"{folder}: cannot be written: {error}", common.FAILED)
        file = folder / f"{decision.label}.json"
    old, new = _decided(newest), _decided(decision)
    if options.json:
        common.print_json(_compared(book, old, new) | {"file": file, "dry_run": options.dry_run})
        return 0
    _print_compared(book, old, new)
    if file is None:
        render.say("Dry run: nothing was written.")
    else:
        render.say(f"Wrote {file}.")
        render.say(f"Rebalances on data to {decision.date} or later follow it; next: weights run --book {book.name}")
    return 0


def _fixed(book: Book) -> tuple[Book, Fixed]:
    """A book and its method; ends the command where that is not one with fixed allocations."""
    from weights_pipeline.core.targets.methods.fixed import Fixed

    if not isinstance(book.method, Fixed):
        message = f"book {book.name} has the method {book.method.kind}; expected one with fixed allocations"
        common.stop(message, common.INVALID)
    return book, book.method


def _folder(workspace: Workspace, method: Fixed) -> Path:
    return workspace.root / method.folder


def _proposal(file: Path, book: Book, newest: Decision, **wanted: Any) -> Proposal:
    """What a file proposes, completed by what is wanted of it and given beside it.

    Raises
    ------
    BookError
        Everything that keeps it from being the next decision.
    """
    from pydantic import TypeAdapter

    from weights_pipeline.books.allocations import Proposal, load_proposal, require_allocations
    from weights_pipeline.books.reading import BookError, validated

    proposal, problems = load_proposal(file), list[str]()
    for key, beside in wanted.items():
        own = getattr(proposal, key)
        if own is None and beside is None:
            problems.append(f"{file}: {key}: expected one, there or as --{key}")
        elif own is not None and beside is not None and own != beside:
            problems.append(f"{file}: {key}: expected that of --{key}, {beside}, got {own}")
    given = {key: value for key, value in wanted.items() if value is not None}
    completed: Proposal = validated(TypeAdapter(Proposal), proposal.model_dump() | given, file)
    if completed.date is not None and completed.date < newest.date:
        problems.append(
            f"{file}: date: expected {newest.date} or later, got {completed.date}: the newest decision is of "
            f"{newest.date}, and history is not rewritten"
        )
    try:
        require_allocations(completed.allocations, book, file)
    except BookError as error:
        problems.append(str(error))
    if problems:
        raise BookError("\n".join(problems))
    return completed


def _side(text: str, book: Book, method: Fixed) -> _Side:
    """The decision that a day or label stands for, or the content of a file."""
    from weights_pipeline.books.allocations import load_proposal, require_allocations
    from weights_pipeline.books.reading import BookError

    if label := _LABEL.fullmatch(text):
        try:
            return _decided(_decision(method, common.day(label["date"]), label["number"]))
        except ValueError as error:
            common.stop(f"{book.name}: {text}: {error}", common.NOTHING)
    try:
        proposal = load_proposal(Path(text))
        require_allocations(proposal.allocations, book, text)
    except BookError as error:
        common.stop(str(error), common.INVALID)
    return _Side(text, proposal.allocations)


def _decision(method: Fixed, day: dt.date, number: str | None) -> Decision:
    """The decision in force on a day, or the one of that number that was made on it."""
    if number is None:
        return method.in_force(day)
    for decision in method.decisions:
        if decision.order == (day, int(number)):
            return decision
    raise ValueError("there is no such decision")


def _decided(decision: Decision) -> _Side:
    return _Side(decision.label, decision.allocations)


def _exact(allocations: Mapping[str, float]) -> dict[str, Decimal]:
    """Allocations as they are printed, so that sums and differences are what a reader would get."""
    from weights_pipeline.core.targets.methods.fixed import printed

    return {name: printed(percent) for name, percent in allocations.items()}


def _digits(numbers: Iterable[Decimal]) -> int:
    """Digits after the point that show every number in full; two at least."""
    return max(2, *(-int(number.as_tuple().exponent) for number in numbers))


def _changes(book: Book, old: _Side, new: _Side) -> tuple[list[_Change], _Change]:
    """Change of every strategy, and of their total."""
    from decimal import Decimal

    before, after = _exact(old.allocations), _exact(new.allocations)
    changes = [_Change(name, before[name], after[name]) for name in sorted(book.strategies)]
    return changes, _Change("Total", sum(before.values(), Decimal()), sum(after.values(), Decimal()))


def _compared(book: Book, old: _Side, new: _Side) -> dict[str, Any]:
    """JSON form of a comparison."""
    changes, total = _changes(book, old, new)

    def figures(each: _Change) -> dict[str, float]:
        return {"old": float(each.old), "new": float(each.new), "change": float(each.change)}

    return {
        "book": book.name,
        "old": old.name,
        "new": new.name,
        "changes": {each.strategy: figures(each) for each in changes},
        "total": figures(total),
    }


def _print_compared(book: Book, old: _Side, new: _Side) -> None:
    from weights_pipeline.cli import render

    changes, total = _changes(book, old, new)
    digits = _digits(number for each in changes for number in (each.old, each.new))
    rows = [
        [each.strategy, f"{each.old:.{digits}f}", f"{each.new:.{digits}f}", render.signed(f"{each.change:.{digits}f}")]
        for each in (*changes, total)
    ]
    render.say(f"{book.name}: from {old.name} to {new.name}, in percent of capital; change in points")
    render.table(rows, ["Strategy", "Old", "New", "Change"])


def _record(decision: Decision, folder: Path) -> Decision:
    """Write a decision to a file that was not there before, under the first free number from its own on.

    A link to a finished file either appears whole or, where the name has been taken by then, not at all.
    """
    import tempfile
    from dataclasses import replace

    content = {"date": decision.date, "provenance": decision.provenance, "allocations": decision.allocations}
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=".", suffix=".json") as scratch:
        json.dump(content, scratch, indent=2, default=str, ensure_ascii=False, allow_nan=False)
        scratch.write("\n")
        scratch.flush()
        os.fsync(scratch.fileno())
        # Private to its owner until here, as temporary files are.
        Path(scratch.name).chmod(0o644)
        while True:
            try:
                os.link(scratch.name, folder / f"{decision.label}.json")
            except FileExistsError:
                decision = replace(decision, number=decision.number + 1)
            else:
                return decision
