"""Books: capital-allocation policies as validated YAML, and where they are found.

Here belongs the policy model and its loading. The parameters of methods, limits and the allocator are the frozen
dataclasses of ``core``, validated here straight from YAML. Here do not belong formulas, nor anything of Dagster.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from weights_pipeline.core.lookback import Lookback
from weights_pipeline.core.measures import MetricParameters
from weights_pipeline.core.methods import METHODS
from weights_pipeline.core.methods.base import Limits
from weights_pipeline.core.normalise import GROSS_TOLERANCE
from weights_pipeline.core.scalar import AllocatorParameters
from weights_pipeline.core.starter import StarterMetrics

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"


class BookError(ValueError):
    """A book, or a file it names, is not valid. The message names the file, the key and what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Monthly(_Model):
    """A rebalance once a month, at a local time of the book's zone."""

    kind: Literal["monthly"] = "monthly"
    day: int = Field(default=1, ge=1, le=28)
    time: dt.time = dt.time(6, 30)

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


class Adjustment(_Model):
    """How fast realised weights follow their targets: ``w += rate · (target − w)`` each rebalance."""

    rate: float = Field(gt=0, le=1)


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York") from error
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
Weight = Annotated[float, Field(ge=0)]
if TYPE_CHECKING:
    from weights_pipeline.core.methods.base import Method
else:
    Method = Annotated[reduce(or_, METHODS), Field(discriminator="kind")]


class Book(_Model):
    """One capital-allocation policy over one set of strategies.

    Base weights are inputs: nothing in the pipeline writes them back.
    """

    name: Name
    description: str = Field(min_length=1)
    owner: str = Field(pattern=r"^(team:[A-Za-z0-9_.\-/]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")
    account: str = Field(min_length=1)
    ledger: Name
    cadence: Monthly
    timezone: TimeZone
    strategies: dict[str, Weight] = Field(min_length=1)
    gross: float = Field(default=1.0, gt=0)
    method: Method
    metrics: MetricParameters = MetricParameters()
    adjustment: Adjustment
    limits: Limits
    overlay: AllocatorParameters
    starter_metrics: str | None = None
    max_age: int = Field(gt=0, description="Days after which published weights are stale.")

    @model_validator(mode="after")
    def _base_sums_to_gross(self) -> Book:
        total = math.fsum(self.strategies.values())
        if abs(total - self.gross) > GROSS_TOLERANCE * self.gross:
            raise ValueError(f"strategies: base weights sum to {total:.12g}, expected gross {self.gross:.12g}")
        return self

    @property
    def lookback(self) -> Lookback:
        """The window of the metric that the method reads."""
        return Lookback.parse(self.method.lookback)

    def next_rebalance(self, window_end: dt.datetime) -> str:
        """When the book is due again after the rebalance on a window that ended then; ISO 8601, the book's zone."""
        local = window_end.astimezone(ZoneInfo(self.timezone))
        return self.cadence.due(local, skip=1).isoformat(timespec="minutes")

    @property
    def metric(self) -> str:
        """Name of the metric that the method reads, with its window: ``calmar_12m``."""
        return f"{self.method.metric}_{self.lookback.label}"


def load_books(folder: Path) -> dict[str, Book]:
    """Load every ``*.yaml`` of a folder, by name.

    Raises
    ------
    BookError
        Nothing there, a file is not a valid book, or two files hold the same name.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise BookError(f"{folder}: no books (*.yaml) found. Put one policy per file there.")
    books: dict[str, Book] = {}
    origin: dict[str, Path] = {}
    for file in files:
        book = load_book(file)
        if book.name in books:
            raise BookError(f"{file}: name: duplicate book {book.name!r}, already defined in {origin[book.name]}")
        books[book.name], origin[book.name] = book, file
    return books


def load_book(file: Path) -> Book:
    """Load one book; every problem of the file is in the one :class:`BookError` raised."""
    book: Book = validated(TypeAdapter(Book), read_yaml(file), file)
    return book


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
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BookError(f"{file}: starter metrics of book {book.name} cannot be read: {error}") from error
    starter: dict[str, StarterMetrics] = validated(TypeAdapter(dict[str, StarterMetrics]), content, file)
    if unknown := sorted(set(starter) - set(book.strategies)):
        raise BookError(
            f"{file}: strategies {unknown} are not in book {book.name}, which has {sorted(book.strategies)}"
        )
    return starter


def read_yaml(file: Path) -> Any:
    """Parse YAML safely; duplicate keys are refused, since the last one would silently win."""
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BookError(f"{file}: not readable as YAML: {error}") from error


def validated(adapter: TypeAdapter[Any], content: Any, file: Path) -> Any:
    """Validate content read from a file, turning every problem into one line ``file: key: what was expected``."""
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(map(str, e['loc'])) or '(whole file)'}: {e['msg']}"
            + ("" if isinstance(e["input"], dict | list) else f", got {e['input']!r}")
            for e in error.errors(include_url=False)
        ]
        raise BookError("\n".join(lines)) from error


def inside(root: Path, relative: str, key: str) -> Path:
    """Resolve a path that a book or ledger source names, refusing any that leaves the data folder."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise BookError(f"{key}: path {relative!r} leaves the data folder; name a file inside it")
    return path


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
