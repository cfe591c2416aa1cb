"""Ledger sources: one YAML file each, validated.

Here belongs what a source may say. Here does not belong the reading of what it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    field_validator,
    model_validator,
)

from weights_pipeline.books.book import Book, Name, Threshold, TimeZone
from weights_pipeline.books.reading import BookError, read_yaml, validated
from weights_pipeline.core.returns.capital import AverageLotValue, AveragePositionValue
from weights_pipeline.ledger.calendars import require_calendar
from weights_pipeline.ledger.errors import LedgerError

Kind = Literal["lots", "fills", "returns"]
_SUFFIX = "_ledger"


def _relative(path: str) -> str:
    """Refuse what would lead out of the data folder, and what no file should be called."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path or ":" in path or not path.isprintable():
        raise ValueError("expected a path inside the data folder, such as trades/*.csv: no leading / and no ..")
    return path


def _month(text: str) -> str:
    if not re.fullmatch(r"(19|20|21)\d\d-(0[1-9]|1[0-2])", text):
        raise ValueError("expected a month such as 2020-01")
    return text


RelativePath = Annotated[str, AfterValidator(_relative)]
Globs = Annotated[tuple[RelativePath, ...], Field(min_length=1)]
Month = Annotated[str, AfterValidator(_month)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CapitalFile(_Model):
    """Capital by a dated table in a file with the columns ``strategy``, ``date`` and ``capital``."""

    kind: Literal["capital_base"]
    file: RelativePath


class Benchmark(_Model):
    """A price series: a file with the column ``date`` and the column of the prices."""

    file: RelativePath
    column: str = Field(min_length=1)


class LedgerSource(_Model):
    """Where one ledger comes from. Paths are relative to the data folder; globs know ``*``, ``?`` and ``**``.

    Attributes
    ----------
    name, description
        What it is called, and what it is.
    lots, fills, returns
        Globs of closed lots, of fills and of daily returns (in place of a ledger); at least one of them.
        Daily returns are long (``session``, ``strategy``, ``daily_return``) or wide (``date`` or
        ``session``, and one column per strategy).
    timezone
        IANA zone of times that state no offset. A date alone is a date of the exchange.
    calendar
        Calendar of `exchange_calendars` that says what a session is.
    first_month, last_month
        Months of the history, ``YYYY-MM``; without a last one it goes on.
    capital
        What daily profit is divided by.
    benchmark
        Price series for market regimes.
    checks
        Thresholds of checks by name, in place of their defaults.
    prices
        File of closing prices (``date``, ``symbol``, ``close``). With it, lots from fills are marked to market while
        they are open; without, their profit is booked on exit, which understates drawdowns.
    """

    name: Annotated[Name, Field(max_length=63 - len(_SUFFIX))]
    description: str = Field(min_length=1)
    lots: Globs | None = None
    fills: Globs | None = None
    returns: Globs | None = None
    timezone: TimeZone
    calendar: str = "XNYS"
    first_month: Month
    last_month: Month | None = None
    capital: Annotated[CapitalFile | AveragePositionValue | AverageLotValue, Field(discriminator="kind")] = (
        AveragePositionValue()
    )
    benchmark: Benchmark | None = None
    prices: RelativePath | None = None
    checks: dict[str, Threshold] = {}

    @property
    def schema_name(self) -> str:
        """Where the tables of this ledger are kept, and what its assets' keys begin with."""
        return f"{self.name}{_SUFFIX}"

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, value: str) -> str:
        require_calendar(value)
        return value

    @model_validator(mode="after")
    def _has_rows_and_months(self) -> LedgerSource:
        if not (self.lots or self.fills or self.returns):
            raise ValueError("expected at least one of lots, fills and returns")
        if self.prices and not self.fills:
            raise ValueError("prices: only lots from fills are known while they are open; expected fills beside prices")
        if self.last_month is not None and self.last_month < self.first_month:
            raise ValueError(f"last_month {self.last_month} is before first_month {self.first_month}")
        return self


def load_ledger_source(file: Path) -> LedgerSource:
    """Load and validate one ledger source.

    Raises
    ------
    LedgerError
        The file is unreadable or not valid, or its name is not ``<name>.yaml``.
    """
    try:
        source: LedgerSource = validated(TypeAdapter(LedgerSource), read_yaml(file), file)
    except BookError as error:
        raise LedgerError(str(error)) from error
    if source.name != file.stem:
        raise LedgerError(f"{file}: name: expected {file.stem!r}, as the file is called, got {source.name!r}")
    return source


def load_sources(folder: Path, books: Iterable[Book]) -> dict[str, LedgerSource]:
    """Load the ledgers that books read, by name.

    Raises
    ------
    LedgerError
        A ledger is missing or not valid, has no benchmark that an ensemble asks for, or keeps its tables where a book
        of that name would.
    """
    books = list(books)
    for book in books:
        if not (folder / f"{book.ledger}.yaml").is_file():
            there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
            raise LedgerError(
                f"book {book.name}: ledger: there is no {folder / book.ledger}.yaml; ledgers there are: {there}"
            )
    sources = {name: load_ledger_source(folder / f"{name}.yaml") for name in sorted({book.ledger for book in books})}
    for book in books:
        source = sources[book.ledger]
        if book.ensemble and source.benchmark is None:
            raise LedgerError(
                f"{folder / source.name}.yaml: benchmark: book {book.name} keeps a weight set per market regime; "
                f"expected the benchmark that says which it is"
            )
        if clash := [s.name for s in sources.values() if s.schema_name == book.name]:
            raise LedgerError(f"book {book.name}: ledger {clash[0]} keeps its tables under that name; choose another")
    return sources
