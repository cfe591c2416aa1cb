"""Books: capital-allocation policies as validated YAML, and where they are found.

Here belongs the policy model and its loading. The parameters of methods, limits and the allocator are the frozen
dataclasses of ``core``, validated here straight from YAML. Here do not belong formulas, nor anything of Dagster.
"""

from __future__ import annotations

import datetime as dt
import json
import keyword
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

import numpy as np
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from weights_pipeline.core.measures import MetricParameters
from weights_pipeline.core.methods import METHODS
from weights_pipeline.core.methods.base import CrossSection, Limits, target_weights
from weights_pipeline.core.methods.fixed import Decision, Fixed, allocation_problems
from weights_pipeline.core.normalise import GROSS_TOLERANCE
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.scalar import AllocatorParameters
from weights_pipeline.core.starter import StarterMetrics

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
LARGEST_FILE = 500_000
"""Bytes that a file of settings may have; with its aliases written out it may stand for as many characters."""

_OF_DUCKDB = {"information_schema", "main", "memory", "pg_catalog", "store", "system", "temp", "weights"}
_OF_DAGSTER = {
    "arg_dict",
    "bool",
    "conf",
    "config",
    "context",
    "dict",
    "float",
    "input",
    "input_arg_dict",
    "int",
    "meta",
}
_OF_DAGSTER |= {"output", "output_arg_dict", "str", "type"}
_OF_REPORTS = {"all", "index", "report"}
DECISION_FILE = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)(?:_(?P<number>[2-9]|[1-9]\d+))?\.json")


class BookError(ValueError):
    """A book, or a file it names, is not valid. The message names the file, the key and what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Monthly(_Model):
    """A rebalance once a month, at a local time of the book's zone."""

    kind: Literal["monthly"] = "monthly"
    day: int = Field(default=1, ge=1, le=28)
    time: dt.time = dt.time(6, 30)

    @property
    def title(self) -> str:
        """In words."""
        return f"monthly on day {self.day} at {self.time:%H:%M}"

    def due(self, after: dt.datetime, *, skip: int = 0) -> dt.datetime:
        """First rebalance at or after a zone-aware instant, or the one that many rebalances later."""
        month = after.year * 12 + after.month - 1
        tick = self._tick(month, after)
        if tick < after:
            month += 1
        return self._tick(month + skip, after)

    def _tick(self, month: int, like: dt.datetime) -> dt.datetime:
        year, index = divmod(month, 12)
        return dt.datetime.combine(dt.date(year, index + 1, self.day), self.time, tzinfo=like.tzinfo)


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)


class Weekly(_Model):
    """A rebalance once a week, at a local time of the book's zone; the week it is for ends then."""

    kind: Literal["weekly"]
    weekday: Weekday
    time: dt.time

    @property
    def title(self) -> str:
        """In words."""
        return f"weekly on {self.weekday.capitalize()} at {self.time:%H:%M}"

    def due(self, after: dt.datetime, *, skip: int = 0) -> dt.datetime:
        """First rebalance at or after a zone-aware instant, or the one that many rebalances later."""
        day = after.date() + dt.timedelta(days=(WEEKDAYS.index(self.weekday) - after.weekday()) % 7)
        tick = dt.datetime.combine(day, self.time, tzinfo=after.tzinfo)
        if tick < after:
            day += dt.timedelta(days=7)
        return dt.datetime.combine(day + dt.timedelta(days=7 * skip), self.time, tzinfo=after.tzinfo)


Cadence = Annotated[Monthly | Weekly, Field(discriminator="kind")]


Rate = Annotated[float, Field(gt=0, le=1)]
Turnover = Annotated[float, Field(gt=0)]


class Adjustment(_Model):
    """How fast realised weights follow their targets: ``w += rate · (target − w)`` each rebalance."""

    rate: Rate | dict[str, Rate] = Field(description="Share of the gap closed; one number, or one per risk regime.")
    turnover_cap: Turnover | dict[str, Turnover] | None = Field(
        default=None, description="Largest one-way turnover of a rebalance, which a longer step is shortened to."
    )


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York") from error
    return value


def _not_taken(value: str) -> str:
    """A name becomes a schema of the store and a job: what they use themselves would be mixed up with it."""
    if value in _OF_DUCKDB | _OF_DAGSTER | _OF_REPORTS or keyword.iskeyword(value):
        raise ValueError(f"{value!r} is taken by Python, Dagster, the store or reports; choose another name")
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
SchemaName = Annotated[Name, AfterValidator(_not_taken)]
Owner = Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_.\-/]+|[A-Za-z0-9._%+\-]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,})$")]
Weight = Annotated[float, Field(ge=0)]
if TYPE_CHECKING:
    from weights_pipeline.core.methods.base import Method
else:
    Method = Annotated[reduce(or_, METHODS), Field(discriminator="kind")]


class Book(_Model):
    """One capital-allocation policy over one set of strategies.

    Base weights are inputs: nothing in the pipeline writes them back.
    """

    name: SchemaName
    description: str = Field(min_length=1)
    owner: Owner
    account: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,63}$")
    ledger: Name = Field(description="Name of the ledger it reads, a file in data/ledgers.")
    cadence: Cadence
    timezone: TimeZone
    strategies: dict[str, Weight] = Field(min_length=1, description="Base weight of each strategy.")
    gross: float = Field(default=1.0, gt=0, description="What the weights add up to, or at most do.")
    method: Method
    ensemble: Literal["market_regime"] | None = Field(
        default=None, description="Keep one weight set per market regime of the ledger's benchmark."
    )
    metrics: MetricParameters = MetricParameters()
    adjustment: Adjustment
    limits: Limits
    overlay: AllocatorParameters | None = Field(description="The allocator; null for a book without one.")
    starter_metrics: str | None = Field(default=None, description="JSON file, relative to the data folder.")
    max_turnover: float = Field(default=0.1, gt=0, description="One-way turnover of a rebalance that draws a warning.")
    max_age: int = Field(gt=0, description="Days after which published weights are stale.")

    @model_validator(mode="after")
    def _hangs_together(self) -> Book:
        total = math.fsum(self.strategies.values())
        if abs(total - self.gross) > GROSS_TOLERANCE * self.gross:
            raise ValueError(f"strategies: base weights sum to {total:.12g}, expected gross {self.gross:.12g}")
        self.policy()
        return self

    def policy(self, starter: Mapping[str, StarterMetrics] | None = None) -> Policy:
        """What the book means to the formulas; ``starter`` are the metrics of :func:`load_starter_metrics`."""
        return Policy(
            base=self.strategies,
            gross=self.gross,
            method=self.method,
            limits=self.limits,
            rate=self.adjustment.rate,
            turnover_cap=self.adjustment.turnover_cap,
            metrics=self.metrics,
            overlay=self.overlay,
            ensemble=self.ensemble is not None,
            starter=starter or {},
        )

    def next_rebalance(self, window_end: dt.datetime) -> str:
        """When the book is due again after the rebalance on a window that ended then; ISO 8601, the book's zone."""
        local = window_end.astimezone(ZoneInfo(self.timezone))
        return self.cadence.due(local, skip=1).isoformat(timespec="minutes")


class Proposal(_Model):
    """Fixed allocations that may become a decision, with as much as is known of when and why."""

    date: dt.date | None = None
    provenance: str | None = Field(default=None, pattern=r"\S")
    allocations: dict[str, Annotated[float, Field(strict=True)]]


class Allocations(Proposal):
    """A file of fixed allocations: percent of capital by strategy, and where they come from."""

    date: dt.date = Field(description="Day the allocations were decided.")
    provenance: str = Field(pattern=r"\S", description="The backtest or decision behind them.")


def load_books(folder: Path, stage: str | None = None) -> dict[str, Book]:
    """Load every ``*.yaml`` of a folder, by name.

    Parameters
    ----------
    folder
        The folder of books; the files they name are relative to the folder above it.
    stage
        Name of a folder beneath, whose ``NAME.yaml`` overrides single keys of the book of that name.

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
        book = load_book(file, overrides=overrides)
        if book.name in books:
            raise BookError(f"{file}: name: duplicate book {book.name!r}, already defined in {origin[book.name]}")
        books[book.name], origin[book.name] = book, file
    if stray := sorted(set(overrides) - set(books)):
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
    for path, value in (changes or {}).items():
        named += f" with {path}={value}"
        content = _changed(content, path.split("."), value, named)
    book: Book = validated(TypeAdapter(Book), content, named)
    if isinstance(book.method, Fixed) and book.method.folder:
        decisions = load_allocations(root or file.resolve().parents[1], book)
        book = book.model_copy(update={"method": replace(book.method, decisions=decisions)})
    elif not book.method.reads:
        _require_reachable(book, book.method, named)
    return book


def _require_reachable(book: Book, method: Method, named: Path | str) -> None:
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


def _changed(content: Any, path: list[str], value: Any, named: str) -> Any:
    """Content with one value replaced; keys on the way that are missing or null are made."""
    key, *rest = path
    if not isinstance(content, dict | None):
        raise BookError(f"{named}: {key}: expected it to be a key of a mapping, found {content!r} in place of that")
    keys = content or {}
    return keys | {key: _changed(keys.get(key), rest, value, named) if rest else value}


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
    _require_reachable(book, Fixed(decisions=(Decision(date=dt.date.min, allocations=allocations),)), named)


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
    if unknown := sorted(set(figures) - set(book.strategies)):
        raise BookError(
            f"{named}: strategies {unknown} are not in book {book.name}, which has {sorted(book.strategies)}"
        )
    return figures


def read_yaml(file: Path) -> Any:
    """Parse YAML safely.

    Duplicate keys are refused, since the last one would silently win, and so are files that would not be read in a
    moment: deep ones, and those of more than :data:`LARGEST_FILE` characters, each alias counted as what it repeats.
    """
    try:
        return yaml.load(_read_text(file), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise BookError(f"{file}: not readable as YAML: too many levels") from None
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


def validated(adapter: TypeAdapter[Any], content: Any, file: Path | str) -> Any:
    """Validate content read from a file, turning every problem into one line ``file: key: what was expected``."""
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(map(str, e['loc'])) or '(whole file)'}: {e['msg'].removeprefix('Value error, ')}"
            + ("" if isinstance(e["input"], dict | list) else f", got {e['input']!r}")
            for e in error.errors(include_url=False)
        ]
        raise BookError("\n".join(lines)) from error


def inside(root: Path, relative: str, key: str) -> Path:
    """Resolve a path that a book or ledger source names, refusing any that leaves the data folder."""
    try:
        path = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise BookError(f"{key}: path {relative!r} leads nowhere: {error}") from error
    if not path.is_relative_to(root.resolve()):
        raise BookError(f"{key}: path {relative!r} leaves the data folder; name a file inside it")
    return path


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, and aliases that write out to more than anybody means."""

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
