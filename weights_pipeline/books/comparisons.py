"""Comparisons: several methods over the strategies of one book, as validated YAML.

Scope: what is compared, and its loading. Not here: what a comparison computes (``core.study.comparison``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from weights_pipeline.books.book import Book, Name, Owner, SchemaName
from weights_pipeline.books.load import load_book, load_starter_metrics, stage_overrides
from weights_pipeline.books.reading import BookError, read_yaml, validated
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.returns.frequency import DAILY, Frequency


class Comparison(BaseModel):
    """Methods that are run in the same windows, on the same sessions, with the same fee.

    Each is the policy of the book with some keys replaced, so that they share whatever is not named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: SchemaName
    description: str = Field(min_length=1)
    owner: Owner
    book: Name = Field(description="Book whose strategies, base weights and gross all methods share.")
    in_sample: int = Field(default=252, ge=1, description="Sessions of a window that weights may be chosen on.")
    out_of_sample: int = Field(default=63, ge=1, description="Sessions after them that the weights are judged on.")
    fee: float = Field(default=0.001, ge=0, description="Cost of trading one unit of weight, bought or sold.")
    costs: Costs | None = Field(
        default=None, description="In place of fee: fee, by_strategy, rebalance (each one's fixed cost), financing."
    )
    drift: bool = Field(default=False, description="Weights drift with returns through a window; otherwise constant.")
    risk_free: float = Field(default=0.0, description="Annual rate of the Sharpe ratio.")
    methods: dict[Name, dict[Annotated[str, Field(min_length=1)], Any]] = Field(
        min_length=2, description="By name of the method, the keys of the book that it replaces."
    )

    @model_validator(mode="after")
    def _one_fee(self) -> Comparison:
        if self.costs is not None and "fee" in self.model_fields_set:
            raise ValueError("fee: expected it within costs, where these are given")
        return self

    @property
    def charged(self) -> Costs:
        """What trading and borrowing cost."""
        return Costs(fee=self.fee) if self.costs is None else self.costs


def load_comparisons(
    folder: Path,
    books: Mapping[str, Book],
    taken: Collection[str],
    dropped: MutableMapping[str, ValueError] | None = None,
) -> dict[str, Comparison]:
    """Comparisons of a folder, by name; none where there is no such folder.

    Parameters
    ----------
    folder
        Folder of ``NAME.yaml`` files.
    books
        Books by name.
    taken
        Names that ledgers keep their tables under.
    dropped
        Where to put what is wrong with a comparison, by the name of its file, in place of raising it.

    Raises
    ------
    BookError
        A file is not a valid comparison, is not named as its comparison, names a book that there is not, or goes by a
        name that is taken.
    """
    found: dict[str, Comparison] = {}
    for file in sorted(folder.glob("*.yaml")):
        try:
            found[file.stem] = _load_comparison(file, books, taken)
        except BookError as error:
            if dropped is None:
                raise
            dropped[file.stem] = error
    return found


def _load_comparison(file: Path, books: Mapping[str, Book], taken: Collection[str]) -> Comparison:
    comparison: Comparison = validated(TypeAdapter(Comparison), read_yaml(file), file)
    if comparison.name != file.stem:
        raise BookError(f"{file}: name: expected {file.stem!r} as the file is named, got {comparison.name!r}")
    if comparison.book not in books:
        raise BookError(f"{file}: book: there is no valid {comparison.book!r}; there are {', '.join(books)}")
    if comparison.name in {*books, *taken}:
        raise BookError(f"{file}: name: a book or ledger keeps its tables under {comparison.name!r}; choose another")
    return comparison


def compared_policies(
    comparison: Comparison, book: Book, root: Path, stage: str | None = None, frequency: Frequency = DAILY
) -> dict[str, Policy]:
    """Policy of each method, by its name.

    Parameters
    ----------
    comparison
        What is compared.
    book
        The book that it names.
    root
        Data folder.
    stage
        Stage whose overrides of the book apply, before the keys of the method do.
    frequency
        How often the returns of the book's ledger are observed.

    Raises
    ------
    BookError
        The book is not valid with the keys of a method in place of its own.
    """
    starter, file = load_starter_metrics(book, root), root / "books" / f"{book.name}.yaml"
    overrides = stage_overrides(root / "books", stage)
    return {
        name: load_book(file, root=root, overrides=overrides, changes=changes).policy(starter, frequency)
        for name, changes in comparison.methods.items()
    }
