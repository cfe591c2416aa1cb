"""What a source may say of how a foreign file reads, so that nobody has to edit it.

Scope: the settings, validated. Not here: reading as they say (``files``, ``mapping``, ``core.returns.cells``).
"""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from weights_pipeline.books.reading import Model
from weights_pipeline.ledger.places import PLACES


def relative(path: str) -> str:
    """Refuse what would lead out of the data folder, and what no file should be called."""
    if begin := next((begin for begin in PLACES if path.startswith(begin)), ""):
        if (
            not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\\]+", path.removeprefix(begin))
            or "/../" in f"{path}/"
        ):
            raise ValueError(f"expected {begin}BUCKET/KEY, such as {begin}desk-ledgers/trades/*.csv")
        return path
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in path or ":" in path or not path.isprintable():
        raise ValueError("expected a path inside the data folder, such as trades/*.csv: no leading / and no ..")
    return path


def _taken(value: Any) -> Any:
    """Write conditions on a column out: a value, several, all others than those under ``not``, or a pattern."""
    if isinstance(value, Condition):
        return value
    negated = isinstance(value, dict)
    if negated and list(value) == ["matches"]:
        return {"pattern": value["matches"]}
    if negated and list(value) != ["not"]:
        raise ValueError("expected a value, a list of values, {not: …} or {matches: PATTERN}")
    said = value["not"] if negated else value
    if not (listed := said if isinstance(said, list) else [said]):
        raise ValueError("expected at least one value")
    return {"values": listed, "negated": negated}


def _listed(value: Any) -> Any:
    """Let one stand for a list of one, and nothing for an empty one."""
    return value if isinstance(value, list | tuple) else [value] if value else []


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
    return text


def _groups(text: str) -> str:
    if not re.compile(_pattern(text)).groups:
        raise ValueError("expected a regular expression with a group in parentheses around what is to be taken")
    return text


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError("expected the name of an encoding, such as utf-8, cp1252 or utf-16") from None


def _cell(value: Any) -> Any:
    """A number of the YAML stands for the cell that reads like it."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Cell = Annotated[str, BeforeValidator(_cell, json_schema_input_type=str | int | float)]
RelativePath = Annotated[str, AfterValidator(relative)]
Pattern = Annotated[str, Field(max_length=500), AfterValidator(_pattern)]
Extract = Annotated[str, Field(max_length=500), AfterValidator(_groups)]
Name = Annotated[str, Field(min_length=1)]
Theirs = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=Name | list[Name]),
]


class Condition(Model):
    """Which rows are taken by a column: those with one of some values, all others, or those that match a pattern.

    A number of the YAML is compared as one, text as it is written.
    """

    values: tuple[str | int | float, ...] = ()
    negated: bool = False
    pattern: Pattern = ""

    def __str__(self) -> str:
        """Say what is taken, as the end of a sentence."""
        if self.pattern:
            return f"a match of {self.pattern!r}"
        listed = " or ".join(map(str, self.values))
        return f"anything but {listed}" if self.negated else listed

    def takes(self, cells: pd.Series) -> NDArray[np.bool_]:
        """Whether each cell meets the condition, shape (n,)."""
        text = cells.fillna("").str.strip()
        if self.pattern:
            return text.str.contains(re.compile(self.pattern)).to_numpy(bool)
        equal: NDArray[np.bool_] = text.isin([v for v in self.values if isinstance(v, str)]).to_numpy(bool)
        if numbers := [float(value) for value in self.values if not isinstance(value, str)]:
            equal = equal | pd.to_numeric(text, errors="coerce").isin(numbers).to_numpy(bool)
        return ~equal if self.negated else equal


_Value = str | int | float
Taken = Annotated[
    Condition,
    BeforeValidator(
        _taken,
        json_schema_input_type=_Value
        | list[_Value]
        | dict[Literal["not"], _Value | list[_Value]]
        | dict[Literal["matches"], str],
    ),
]
"""A condition as it is written: a value, several, ``{not: …}``, or ``{matches: PATTERN}``."""


class Section(Model):
    """A table within a file of several: lines that begin with some cells, its header and its rows.

    Attributes
    ----------
    header, rows
        First cells of the line of the header, and of each row's; they are taken off.
    """

    header: Theirs
    rows: Theirs


class ByColumn(Model):
    """The strategy stands in a column, or is the first group of a pattern that is searched for there."""

    column: str
    matches: Extract = ""


class ByFile(Model):
    """The strategy is the first group of a pattern that is searched for in the path of the file."""

    file: Extract


class ByTable(Model):
    """A file that maps what a row says to its strategy: the first line that fits is taken.

    Attributes
    ----------
    table
        CSV or Parquet: the column ``strategy``, and others named like columns of the rows. An empty cell fits anything.
    """

    table: RelativePath


class Reading(Model):
    """How a file reads that was not written for this ledger, so that nobody has to edit it.

    Attributes
    ----------
    columns
        Their name of our columns, ``ours: theirs``. Several numbers are added up, one named ``-theirs`` is taken off;
        several texts are joined by a space. What is nested in a record is named ``outer.inner``. A file may lack the
        column of ``fees_currency``: its fees are in the currency of the amounts beside them.
    constants
        Value of one of our columns that the file does not have.
    strategy_from
        Where the strategy comes from: a column, the path of the file, or a table. A row that gets none is rejected.
    where
        Rows to take, by their column: a value, several, ``{not: …}`` or ``{matches: PATTERN}``.
    expect
        What each row that is taken has to say in some of their columns, written as for `where`; others are rejected.
    extract
        Pattern whose group is taken in place of a cell, by our column; several groups are joined by ``:``.
    values
        What their values stand for, by our column: ``theirs: ours``.
    ignore
        Columns that no rule reads and that may be left unread, whatever their names say.
    skip_lines, footer
        Lines above the header, and lines below the last row.
    skip_to, stop_at
        In place of these: the first cell of the header, wherever it stands; and that rows end at a blank line.
    section
        Which lines, of a file of several tables.
    records
        Path to the list of records in a JSON file, ``outer.inner``, empty where the file is the list; in an XML file
        to the elements that are records, from below its root.
    allocations
        Of returns: that the columns beside the date are symbols, and their cells the ``percent`` of the strategy in
        each. Its returns follow from the ledger's closes; see ``ledger.allocations``.
    newest_first
        Whether the rows stand in reverse order.
    delimiter, encoding
        Of a CSV file.
    decimal, thousands, currency_signs, negatives, unsigned, time_format
        See :class:`~weights_pipeline.core.returns.cells.Formats`.
    fees_sign
        Whether a cost is written as a positive number or as a negative one.
    """

    columns: dict[str, Theirs] = Field(default_factory=dict)
    constants: dict[str, Cell] = Field(default_factory=dict)
    strategy_from: ByColumn | ByFile | ByTable | None = None
    where: dict[str, Taken] = Field(default_factory=dict)
    expect: dict[str, Taken] = Field(default_factory=dict)
    extract: dict[str, Extract] = Field(default_factory=dict)
    values: dict[str, dict[Cell, Cell]] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    skip_lines: Annotated[int, Field(ge=0)] = 0
    footer: Annotated[int, Field(ge=0)] = 0
    skip_to: str = ""
    stop_at: Literal["", "blank_line"] = ""
    section: Section | None = None
    records: str = ""
    allocations: Literal["", "percent"] = ""
    newest_first: bool = False
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Annotated[str, Field(max_length=1)] = ""
    currency_signs: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    negatives: tuple[Literal["parentheses", "trailing", "minus_sign"], ...] = ()
    unsigned: tuple[str, ...] = ()
    time_format: Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=str | list[Name])] = ()
    fees_sign: Literal["positive_is_cost", "negative_is_cost"] = "positive_is_cost"

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands: is {self.thousands!r}, which is the decimal mark too")
        if self.skip_to and self.skip_lines:
            raise ValueError("skip_to: finds the header; expected no skip_lines beside it")
        if self.section and (self.skip_to or self.skip_lines or self.footer or self.stop_at):
            raise ValueError(
                "section: says which lines are read; expected neither skip_lines, skip_to, footer nor stop_at"
            )
        if self.strategy_from and "strategy" in {*self.columns, *self.constants}:
            raise ValueError("strategy_from: the strategy is under columns or constants too; expected one of them")
        return self

    @property
    def looked_at(self) -> frozenset[str]:
        """Their columns that something here reads or dismisses, beside those that become ours."""
        added = [name.removeprefix("-") for names in self.columns.values() for name in names[1:]]
        ruled = [self.strategy_from.column] if isinstance(self.strategy_from, ByColumn) else []
        return frozenset([*self.ignore, *self.where, *self.expect, *added, *ruled])


PLAIN = Reading()
"""How a file reads that was written for this ledger."""
