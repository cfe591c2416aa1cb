"""Ledger sources: one YAML file each, validated.

Here belongs what a source may say. Here does not belong the reading of what it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    field_validator,
    model_validator,
)

from weights_pipeline.books.book import Book, Name, Threshold, TimeZone
from weights_pipeline.books.reading import BookError, Model, inside, read_yaml, validated
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL
from weights_pipeline.core.returns.capital import AverageLotValue, AveragePositionValue
from weights_pipeline.core.returns.frequency import MONTHLY, Frequency
from weights_pipeline.core.returns.reconciliation import TOLERANCE, Tolerance
from weights_pipeline.ledger.calendars import default_per_year, require_calendar, sessions_file
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.importers import with_importers
from weights_pipeline.ledger.sources import SOURCES, RowSource
from weights_pipeline.ledger.vocabulary import Reading, RelativePath, relative

Kind = Literal["lots", "fills", "cash", "openings", "returns"]
_SUFFIX = "_ledger"


def _month(text: str) -> str:
    if not re.fullmatch(r"(19|20|21)\d\d-(0[1-9]|1[0-2])", text):
        raise ValueError("expected a month such as 2020-01")
    return text


Globs = Annotated[tuple[RelativePath, ...], Field(min_length=1)]
Month = Annotated[str, AfterValidator(_month)]
Currency = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{2,12}$"), AfterValidator(str.upper)]


class _Files(Reading):
    """Files or a query of a kind, with what is said of these alone; anything else is as the ledger says of all.

    Attributes
    ----------
    files
        Paths, or globs; or in their place a query under the key of its kind (``ledger.sources``).
    importer
        Preset that the rest is added to; see ``ledger.importers``.
    currency
        What the amounts are in, where the files do not say so.
    """

    files: Globs | None = None
    importer: str = ""
    currency: str = ""

    @property
    def query(self) -> RowSource | None:
        """The query that stands in place of files."""
        return next((query for key in SOURCES if (query := getattr(self, key)) is not None), None)

    @model_validator(mode="after")
    def _from_one_place(self) -> Self:
        given = [key for key in ("files", *SOURCES) if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of files, {', '.join(SOURCES)}; found {', '.join(given) or 'none'}")
        if self.importer and not self.columns:
            raise ValueError("importer: its settings are added when a ledger is loaded from its file")
        return self

    def reading(self, ledger: Reading) -> Reading:
        """How these files read."""
        said = {name for name in Reading.model_fields if name in self.model_fields_set}
        rules = {name: getattr(self if name in said else ledger, name) for name in Reading.model_fields}
        if self.currency:
            rules["constants"] = {"currency": self.currency} | rules["constants"]
        return Reading.model_construct(**rules)


_QUERIES: Mapping[str, Any] = {key: (kind | None, None) for key, kind in SOURCES.items()}
Files: type[_Files] = create_model("Files", __base__=_Files, **_QUERIES)


def _plain_path(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A path by itself stands for files of which nothing else is said."""
    return Files.model_construct({"files"}, files=(relative(value),)) if isinstance(value, str) else handler(value)


Entry = _Files
"""What one of the ledger's entries is, for annotations."""
_Entry = Annotated[Files, WrapValidator(_plain_path, json_schema_input_type=str | Files)]  # type: ignore[valid-type]
Sources = Annotated[tuple[_Entry, ...], Field(min_length=1)]


class CapitalFile(Model):
    """Capital by a dated table in a file with the columns ``strategy``, ``date`` and ``capital``."""

    kind: Literal["capital_base"]
    file: RelativePath


class Benchmark(Model):
    """A price series: a file with the column ``date`` and the column of the prices."""

    file: RelativePath
    column: str = Field(min_length=1)


class SessionsFile(Model):
    """Sessions that a desk lists itself: a file with ``date`` and perhaps ``open`` and ``close``."""

    file: RelativePath
    timezone: TimeZone | None = None


class CustomCalendar(Model):
    """A calendar that is none of the library's."""

    custom: SessionsFile


class LedgerSource(Reading):
    """Where one ledger comes from. Paths are relative to the data folder; globs know ``*``, ``?`` and ``**``.

    What :class:`Reading` knows may be said here, of all files, or of some of them alone:
    ``fills: [{files: [desk/*.csv], columns: {amount: Quantity}}]``.

    Attributes
    ----------
    name, description
        What it is called, and what it is.
    caveat
        What a reader of figures made from it has to know first; a report begins with it.
    lots, fills, returns
        Files of closed lots, of fills and of daily returns (in place of a ledger); at least one of them.
        Daily returns are long (``session``, ``strategy``, ``daily_return``) or wide (``date`` or
        ``session``, and one column per strategy).
    books
        Books whose earnings the one file of ``returns`` holds: it is written before each reading, from their tables.
    cash
        Files of cash that is part of a session's profit: dividends, funding, interest, fees.
    openings
        Files of what was held before the first fill, or is known to be held after fills that are missing.
    long_only
        Strategies that never hold a short position, or ``true`` for all: a sale beyond what one holds says that fills
        are missing.
    incomplete
        What becomes of a book that holds a strategy whose positions are not known: it stops, or goes on with the
        strategy's metrics null (``neutral``).
    timezone
        IANA zone of times that state no offset. A date alone is a date of the exchange.
    calendar
        What a session is: a calendar of `exchange_calendars`, or ``custom: {file: sessions.csv}``, whose ``timezone``
        is the ledger's unless it says so. Read, it is the calendar's name as ``calendars`` knows it.
    unit
        In YAML ``frequency``: ``monthly`` where returns are those of calendar months.
    sessions_per_year
        What annual figures reckon with: 365 on ``24/7`` and 252 on any other calendar unless stated.
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
    volumes
        File of what trades in each symbol and session (``date``, ``symbol``, ``volume`` in units of quantities), which
        may be the one of prices. With it, a book can limit what a strategy holds by the liquidity of its symbols. Not
        beside `actions`, which change units.
    instruments
        File of what symbols are: ``symbol``, ``multiplier``, ``long_only``.
    actions
        Corporate actions, a file or an entry of files: ``symbol``, ``date``, ``kind`` (split, rename or expiry) and
        what it needs of ``ratio``, ``new_symbol`` and ``price``.
    positions
        What the broker states, a file or an entry of files: ``date``, ``symbol``, ``quantity`` and perhaps
        ``strategy``, ``account``, ``realized_pnl`` to date and ``market_value``.
    currency
        What profit and capital are in; other amounts are converted by `fx`. Where all rows are in one, it need not be
        said.
    fx
        File of rates of exchange: ``date``, ``currency``, ``rate`` (units of the ledger's own currency for one).
    accounts
        Strategies of each account that the file of positions names.
    tolerance
        How far what `positions` states may be from what rows come to, as fractions: of a ``quantity``, 1e-6 unless
        stated, and of a ``realized_pnl``, 0.005.
    """

    name: Annotated[Name, Field(max_length=63 - len(_SUFFIX))]
    description: str = Field(min_length=1)
    caveat: str = ""
    lots: Sources | None = None
    fills: Sources | None = None
    cash: Sources | None = None
    openings: Sources | None = None
    returns: Sources | None = None
    books: tuple[Name, ...] = ()
    long_only: bool | tuple[str, ...] = False
    incomplete: Literal["stop", "neutral"] = "stop"
    timezone: TimeZone
    calendar: str = "XNYS"
    unit: Literal["daily", "monthly"] = Field(default="daily", alias="frequency")
    sessions_per_year: float | None = Field(default=None, ge=1, le=366)
    first_month: Month
    last_month: Month | None = None
    capital: Annotated[CapitalFile | AveragePositionValue | AverageLotValue, Field(discriminator="kind")] = (
        AveragePositionValue()
    )
    benchmark: Benchmark | None = None
    prices: RelativePath | None = None
    volumes: RelativePath | None = None
    instruments: RelativePath | None = None
    actions: _Entry | None = None
    positions: _Entry | None = None
    currency: Currency | None = None
    fx: RelativePath | None = None
    accounts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tolerance: Tolerance = TOLERANCE
    checks: dict[str, Threshold] = Field(default_factory=dict)

    @property
    def schema_name(self) -> str:
        """Where the tables of this ledger are kept, and what its assets' keys begin with."""
        return f"{self.name}{_SUFFIX}"

    def never_short(self, strategy: pd.Series) -> pd.Series:
        """Whether the strategy of each row is one that never holds a short position."""
        if isinstance(self.long_only, bool):
            return pd.Series(self.long_only, index=strategy.index)
        return strategy.isin(list(self.long_only))

    @property
    def written(self) -> str:
        """File that holds what books have earned; empty where the ledger is of no books."""
        entries: tuple[Entry, ...] = self.returns or ()
        files = [name for entry in entries for name in entry.files or ("",)]
        return files[0] if self.books and len(files) == 1 and not any(sign in files[0] for sign in "*?[") else ""

    @property
    def frequency(self) -> Frequency:
        """How often returns are observed, and how many observations make a year."""
        if self.unit == "monthly":
            return MONTHLY
        return Frequency(per_year=self.sessions_per_year or default_per_year(self.calendar))

    @field_validator("calendar", mode="before")
    @classmethod
    def _named(cls, value: object, info: ValidationInfo) -> object:
        """Name a file of sessions by where it is; the data folder is the context of validation."""
        if not isinstance(value, dict):
            return value
        custom = CustomCalendar.model_validate(value).custom
        if info.context is None:
            raise ValueError("a file of sessions is known by the data folder only, in which the ledger was not read")
        # Without a valid zone of its own the ledger is refused anyway.
        timezone = custom.timezone or info.data.get("timezone", "UTC")
        return sessions_file(inside(info.context["root"], custom.file, "custom.file"), timezone)

    @model_validator(mode="after")
    def _has_rows_and_months(self) -> LedgerSource:
        if not (self.lots or self.fills or self.returns):
            raise ValueError("expected at least one of lots, fills and returns")
        if self.actions and not self.fills:
            raise ValueError("actions: change positions, which only fills make known; expected fills beside actions")
        if self.positions and not self.fills:
            raise ValueError("positions: only fills say what is open; expected fills beside positions")
        if self.fx and not self.currency:
            raise ValueError("fx: is of rates into the ledger's own currency; expected currency beside fx")
        if self.accounts and not self.positions:
            raise ValueError("accounts: are what positions are stated of; expected positions beside accounts")
        if self.tolerance != TOLERANCE and not self.positions:
            raise ValueError("tolerance: is of what positions state; expected positions beside tolerance")
        named = [name for strategies in self.accounts.values() for name in strategies]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"accounts: expected each strategy in one account; {', '.join(twice)} is in several")
        if self.openings and not self.fills:
            raise ValueError("openings: are what fills continue from; expected fills beside openings")
        delivered: tuple[Entry, ...] = self.returns or ()
        allocated = any(entry.reading(self).allocations for entry in delivered)
        if allocated and not self.prices:
            raise ValueError(
                "returns: allocations are shares of symbols, whose returns follow from closes; name their file under "
                "prices"
            )
        if self.prices and not (self.fills or allocated):
            raise ValueError(
                "prices: only lots from fills are known while they are open, and only allocations are of symbols; "
                "expected one of the two beside prices"
            )
        if self.volumes and not (self.lots or self.fills):
            raise ValueError("volumes: are what lots are held against; expected lots or fills beside volumes")
        if self.volumes and self.actions:
            raise ValueError(
                "volumes: splits and renames are not carried into them, and quantities would be held against volumes "
                "in other units; expected no actions beside volumes"
            )
        if self.last_month is not None and self.last_month < self.first_month:
            raise ValueError(f"last_month {self.last_month} is before first_month {self.first_month}")
        if self.unit == "monthly" and (self.lots or self.fills):
            raise ValueError("frequency: trades have days; expected returns alone beside frequency: monthly")
        if self.books and (self.lots or self.fills or self.cash or not self.written.endswith(".csv")):
            raise ValueError("books: what they have earned is written to a file; expected returns: [FILE.csv] alone")
        if self.books and self.unit == "monthly":
            raise ValueError("books: earn by session; expected no frequency: monthly beside books")
        if self.unit == "monthly" and self.sessions_per_year is not None:
            raise ValueError("sessions_per_year: a year has 12 months; expected no such key beside frequency: monthly")
        require_calendar(self.calendar, per_year=self.sessions_per_year)
        return self


def ledger_schema() -> dict[str, Any]:
    """JSON Schema of a ledger, for editors that complete and check YAML while it is typed."""
    schema = TypeAdapter(LedgerSource).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Ledger of weights-pipeline"}


def load_ledger_source(file: Path) -> LedgerSource:
    """Load and validate one ledger source; the data folder is the one that the file's own folder lies in.

    Raises
    ------
    LedgerError
        The file is unreadable or not valid, or its name is not ``<name>.yaml``.
    """
    try:
        context = {"root": file.resolve().parent.parent}
        content = with_importers(read_yaml(file), file.parent)
        source: LedgerSource = validated(TypeAdapter(LedgerSource), content, file, context)
    except BookError as error:
        raise LedgerError(str(error)) from error
    if source.name != file.stem:
        raise LedgerError(f"{file}: name: expected {file.stem!r}, as the file is called, got {source.name!r}")
    return source


def load_sources(
    folder: Path, books: Iterable[Book], dropped: MutableMapping[str, ValueError] | None = None
) -> dict[str, LedgerSource]:
    """Load the ledgers that books read, by name.

    Parameters
    ----------
    folder
        Folder of ``NAME.yaml`` files.
    books
        The books.
    dropped
        Where to put why a book cannot be used, by its name, in place of raising it; its ledger is not loaded for it.

    Raises
    ------
    LedgerError
        A ledger is missing or not valid, has no benchmark that an ensemble asks for, or keeps its tables where a book
        of that name would; or a book starts outside its months.
    """
    books, sources = list(books), dict[str, LedgerSource]()
    kept_in = {f"{book.ledger}{_SUFFIX}": book.ledger for book in books}
    for book in books:
        try:
            if book.name in kept_in:
                raise LedgerError(
                    f"book {book.name}: ledger {kept_in[book.name]} keeps its tables under that name; choose another"
                )
            source = sources.get(book.ledger) or _source_of(folder, book)
            _require_fitting(folder, book, source)
            _require_books(folder, book, source, {each.name: each.ledger for each in books})
        except LedgerError as error:
            if dropped is None:
                raise
            dropped[book.name] = error
        else:
            sources[source.name] = source
    return dict(sorted(sources.items()))


def _source_of(folder: Path, book: Book) -> LedgerSource:
    if not (folder / f"{book.ledger}.yaml").is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise LedgerError(
            f"book {book.name}: ledger: there is no {folder / book.ledger}.yaml; ledgers there are: {there}"
        )
    return load_ledger_source(folder / f"{book.ledger}.yaml")


def _require_books(folder: Path, book: Book, source: LedgerSource, ledgers: Mapping[str, str]) -> None:
    """Refuse a ledger of books that there are none of, or that read what they earn themselves."""
    if unknown := [name for name in source.books if name not in ledgers]:
        raise LedgerError(
            f"{folder / source.name}.yaml: books: {', '.join(unknown)} not among the books there are: "
            f"{', '.join(sorted(ledgers))}"
        )
    below, seen = [*source.books], set[str]()
    while below:
        name = below.pop()
        if name == book.name:
            raise LedgerError(
                f"{folder / source.name}.yaml: books: book {name} reads this ledger, by itself or through others; "
                f"expected books that do not depend on what they earn here"
            )
        if name not in seen:
            seen.add(name)
            file = folder / f"{ledgers[name]}.yaml"
            below += [each for each in load_ledger_source(file).books if each in ledgers] if file.is_file() else []


def _require_fitting(folder: Path, book: Book, source: LedgerSource) -> None:
    if book.starts and not source.first_month <= book.starts <= (source.last_month or book.starts):
        raise LedgerError(
            f"book {book.name}: starts: expected a month of ledger {source.name}, from {source.first_month} to "
            f"{source.last_month or 'now'}, got {book.starts}"
        )
    if book.ensemble and source.benchmark is None:
        raise LedgerError(
            f"{folder / source.name}.yaml: benchmark: book {book.name} keeps a weight set per market regime; "
            f"expected the benchmark that says which it is"
        )
    try:
        policy = book.policy(frequency=source.frequency)
    except ValueError as error:
        raise LedgerError(f"book {book.name}, on ledger {source.name}: {error}") from error
    if LIQUID_CAPITAL in policy.reads and source.volumes is None:
        raise LedgerError(
            f"{folder / source.name}.yaml: volumes: book {book.name} reads the liquidity of what its strategies trade; "
            f"expected the file that says what trades in symbols"
        )
