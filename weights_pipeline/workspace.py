"""The workspace: everything one set of settings leads to, loaded and validated once.

Scope: the objects that travel together through the package, in place of loose parameters. Not here: how any of them
is read or computed (``books``, ``ledger``, ``store``).

Nothing is loaded before it is asked for, and then once: a command that reads only published weights loads neither
pandas nor a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from weights_pipeline.settings import Settings

if TYPE_CHECKING:
    from weights_pipeline.books.book import Book
    from weights_pipeline.books.comparisons import Comparison
    from weights_pipeline.core.metrics.starter import StarterMetrics
    from weights_pipeline.core.policy import Policy
    from weights_pipeline.ledger import LedgerSource
    from weights_pipeline.ledger.periods import Periods
    from weights_pipeline.store.base import Store


@dataclass(frozen=True, eq=False)
class BookSetup:
    """One book with all that it reads.

    Attributes
    ----------
    book
        The book.
    source
        The ledger it reads.
    starter
        Its starter metrics by strategy; empty where it has none.
    root
        Data folder, which the files that the ledger names are relative to.
    store
        Where its tables and those of the ledger are.
    engine
        Who works on shards; see :class:`~weights_pipeline.settings.Settings`.
    """

    book: Book
    source: LedgerSource
    starter: Mapping[str, StarterMetrics]
    root: Path
    store: Store
    engine: str = ""

    @property
    def name(self) -> str:
        """Name of the book, under which its tables are kept."""
        return self.book.name

    @cached_property
    def policy(self) -> Policy:
        """What the book means to the formulas, starter metrics included."""
        known = {name: figures for name, figures in self.starter.items() if name in self.book.strategies}
        return self.book.policy(known, self.source.frequency)

    def on(self, key: str) -> BookSetup:
        """The same with the book as it is for one of its partitions."""
        book = self.book.on(key)
        return self if book is self.book else next(each for each in self.every if each.book is book)

    @cached_property
    def every(self) -> tuple[BookSetup, ...]:
        """One for each book before a dated change, and itself."""
        return (*(replace(self, book=book) for book in self.book.every[:-1]), self)

    @cached_property
    def periods(self) -> Periods:
        """What the book rebalances on."""
        from weights_pipeline.ledger.periods import book_periods

        return book_periods(self.book, self.source)


@dataclass(frozen=True, eq=False)
class Workspace:
    """Books, ledgers and store of one set of settings.

    A book whose own file, ledger or starter metrics are not valid is left out, and so is a comparison; ``dropped`` says
    which, and why. Where there is no book at all, or nobody knows which one a file is of, each property raises
    BookError.
    """

    settings: Settings
    _dropped: dict[str, ValueError] = field(default_factory=dict, init=False, repr=False)

    @property
    def root(self) -> Path:
        """The data folder."""
        return self.settings.data

    @cached_property
    def books(self) -> Mapping[str, Book]:
        """Books by name whose own files are valid, with what the stage overrides."""
        from weights_pipeline.books.load import load_books

        return load_books(self.root / "books", self.settings.stage, self._dropped)

    @cached_property
    def sources(self) -> Mapping[str, LedgerSource]:
        """Ledgers that the books read, by name."""
        from weights_pipeline.ledger import load_sources

        return load_sources(self.root / "ledgers", self.books.values(), self._dropped)

    @property
    def dropped(self) -> Mapping[str, ValueError]:
        """What is wrong with each book and comparison that is left out, by name: a message with file and key."""
        _ = self.comparisons  # loads all that there is
        return self._dropped

    def drop(self, name: str, error: Exception) -> None:
        """Leave out what turns out not to work when something is made of it."""
        said = error if isinstance(error, ValueError) else ValueError(f"{name}: {type(error).__name__}: {error}")
        self._dropped[name] = said

    @cached_property
    def store(self) -> Store:
        """The store; it need not exist yet, and nothing is connected to before it is used."""
        from weights_pipeline.store import open_store

        return open_store(self.settings)

    @cached_property
    def setups(self) -> Mapping[str, BookSetup]:
        """Every book with all that it reads, by name."""
        from weights_pipeline.books.load import load_starter_metrics
        from weights_pipeline.books.reading import BookError

        sources, found = self.sources, dict[str, BookSetup]()
        for name, book in self.books.items():
            if name in self._dropped:
                continue
            try:
                starter = load_starter_metrics(book, self.root)
            except BookError as error:
                self._dropped[name] = error
            else:
                found[name] = BookSetup(
                    book, sources[book.ledger], starter, self.root, self.store, self.settings.engine
                )
        return found

    @cached_property
    def readers(self) -> Mapping[str, tuple[BookSetup, ...]]:
        """Books that read each ledger, by its name."""
        found: dict[str, tuple[BookSetup, ...]] = dict.fromkeys(self.sources, ())
        for setup in self.setups.values():
            found[setup.source.name] += (setup,)
        return found

    @cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Comparisons of methods, by name."""
        from weights_pipeline.books.comparisons import load_comparisons

        taken = [source.schema_name for source in self.sources.values()]
        books = {name: setup.book for name, setup in self.setups.items()}
        return load_comparisons(self.root / "comparisons", books, taken, self._dropped)

    def book(self, name: str) -> Book:
        """The book of a name, whatever it reads.

        Raises
        ------
        weights_pipeline.books.reading.BookError
            There is none of that name, or its file is not valid.
        """
        from weights_pipeline.books.reading import BookError

        if name in self.books:
            return self.books[name]
        raise self._dropped.get(name) or BookError(f"unknown book {name!r}; there are {', '.join(self.books)}")

    def setup(self, name: str) -> BookSetup:
        """The book of a name, with all that it reads.

        Raises
        ------
        weights_pipeline.books.reading.BookError, weights_pipeline.ledger.LedgerError
            There is none of that name, or it is not valid.
        """
        book = self.book(name)
        if book.name not in self.setups:
            raise self._dropped[name]
        return self.setups[name]
