"""Foreign rows in the ledger's words, as a source says they read.

Scope: columns, the rows taken of a file, their values, and whose strategy they are. Not here: reading files
(``files``), nor what a cell means (``core.returns.cells``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Column, Fault, against
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part
from weights_pipeline.ledger.vocabulary import PLAIN, ByColumn, ByFile, ByTable, Condition, Reading

SHOWN = 2
"""Rows of a file that are kept as they are written, to be shown beside what they were read as."""


_DISMISSIBLE = ("currency", "fees_currency")
"""Columns of ours that a source may leave unread although its files have them."""


def mapped(part: Part, columns: Mapping[str, Column], table: Part | None = None) -> Part:
    """Rename columns, take the rows asked for, turn their values into ours, and say whose they are.

    Parameters
    ----------
    part
        Rows in the words of their file.
    columns
        Our columns, of the kind that the rows are.
    table
        The file that a strategy is looked up in, where the source names one.

    Returns
    -------
    Part
        With our columns, then theirs that no rule reads. Of numbers to be added up each stands by itself, as
        `summands` names them.

    Raises
    ------
    LedgerError
        The source names a column that is not there, or the table is none.
    """
    reading = _without_fees_currency(part)
    if reading == PLAIN:
        return part
    _require(part, "columns", _named(reading))
    where, expect = _in_their_words(part, reading, reading.where), _in_their_words(part, reading, reading.expect)
    _require(part, "where", where)
    _require(part, "expect", expect)
    theirs, line = part.cells, part.line
    if reading.newest_first:
        theirs, line = theirs.iloc[::-1], line[::-1]
    taken = np.ones(len(theirs), dtype=bool)
    for column, condition in where.items():
        taken &= condition.takes(theirs[column])
    others = _renamed(theirs[~taken], reading, columns)
    theirs, line = theirs[taken].reset_index(drop=True), line[taken]
    cells = _renamed(theirs, reading, columns)
    faults = [fault for column, condition in expect.items() for fault in _unexpected(theirs[column], column, condition)]
    for column, pattern in reading.extract.items():
        groups = cells[column].str.extract(pattern, expand=True)
        found = groups[0].str.cat(groups.iloc[:, 1:], sep=":") if groups.shape[1] > 1 else groups[0]
        missed = found.isna() & (cells[column].fillna("").str.strip() != "")
        faults += against(
            missed, "unexpected_value", f"{column}: {{!r}} is no match of its pattern under extract", cells[column]
        )
        cells[column] = found
    for column, constant in reading.constants.items():
        cells[column] = pd.array([constant] * len(cells), dtype="str")
    for column, values in reading.values.items():
        if column in cells:
            text = cells[column].str.strip()
            cells[column] = text.map(values).where(text.isin([*values]), cells[column])
    cells = cells.drop(columns=[name for name in _DISMISSIBLE if name in cells and name in reading.ignore])
    if reading.strategy_from is not None:
        cells["strategy"] = _strategies(part, theirs, table).astype("str")
        faults += against(
            cells["strategy"].isna(), "no_strategy", "strategy: no rule of strategy_from says whose it is", None
        )
    return replace(
        part,
        reading=reading,
        cells=cells,
        line=line,
        header=list(_names(part.header, reading).values()),
        left_out=part.left_out + len(others),
        others=others,
        faults=faults,
        written=theirs.head(SHOWN),
    )


def summands(reading: Reading, columns: Mapping[str, Column]) -> Mapping[str, list[tuple[str, float]]]:
    """Columns of cells that are added to ours, with the sign of each: our column → (column of cells, ±1).

    The first summand, which is our column itself, has its sign alone.
    """
    return {
        ours: [(_cell_name(ours, i, name), -1.0 if name.startswith("-") else 1.0) for i, name in enumerate(names)]
        for ours, names in reading.columns.items()
        if ours in columns and columns[ours].kind == "number" and (len(names) > 1 or names[0].startswith("-"))
    }


def unread(part: Part, columns: Mapping[str, Column]) -> list[str]:
    """Columns of a file that no rule reads, neither ours nor one of its source's."""
    added = {name for terms in summands(part.reading, columns).values() for name, _ in terms}
    found = {*part.header, *part.cells, *part.unreadable}
    return sorted(found - {*columns, *added, *part.reading.looked_at})


def _cell_name(ours: str, position: int, theirs: str) -> str:
    return ours if position == 0 else f"{theirs.removeprefix('-')} (in {ours})"


def _renamed(theirs: pd.DataFrame, reading: Reading, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Rows with our columns, those to be added up each by itself, then theirs that become none of ours."""
    theirs = theirs.reset_index(drop=True)
    first = {_exact(names[0], theirs) for names in reading.columns.values()}
    rest = theirs[[name for name in theirs if name not in first]].rename(columns=_names(map(str, theirs), reading))
    return pd.concat([pd.DataFrame(dict(_ours(theirs, reading, columns)), index=theirs.index), rest], axis=1)


def _names(theirs: Iterable[str], reading: Reading) -> dict[str, str]:
    """Their columns by the name that they get: ours, or their own, told apart where ours is another."""
    ours = {names[0].removeprefix("-"): name for name, names in reversed(reading.columns.items())}
    taken = {*reading.columns, *reading.constants}
    return {name: ours.get(name, f"{name} (of the file)" if name in taken else name) for name in theirs}


def _ours(theirs: pd.DataFrame, reading: Reading, columns: Mapping[str, Column]) -> Iterator[tuple[str, pd.Series]]:
    for ours, names in reading.columns.items():
        texts = [theirs[_exact(name, theirs)] for name in names]
        if ours in columns and columns[ours].kind == "number":
            for position, text in enumerate(texts):
                yield _cell_name(ours, position, names[position]), text
        else:
            joined = texts[0]
            for text in texts[1:]:
                joined = joined.str.strip() + " " + text.str.strip()
            yield ours, joined


def _exact(name: str, found: pd.DataFrame) -> str:
    """A column as it is called; with a sign before it where none is called so."""
    return name if name in found else name.removeprefix("-")


def _without_fees_currency(part: Part) -> Reading:
    """How a file reads; without a currency of fees where it states none, as exports of few columns do."""
    reading, found = part.reading, {*part.cells, *part.unreadable}
    perhaps = [name for name in found.difference(reading.looked_at, _named(reading)) if "currency" in name.casefold()]
    if perhaps or {*reading.columns.get("fees_currency", ("fees_currency",))} <= found:
        return reading
    kept = {
        key: {ours: said for ours, said in getattr(reading, key).items() if ours != "fees_currency"}
        for key in ("columns", "extract")
    }
    return reading.model_copy(update=kept)


def _named(reading: Reading) -> list[str]:
    return [name for names in reading.columns.values() for name in names]


def _require(part: Part, key: str, names: Mapping[str, object] | list[str]) -> None:
    found = [*part.cells, *part.unreadable]
    if missing := sorted({name for name in names if name not in found and name.removeprefix("-") not in found}):
        raise LedgerError(f"{part.name}: {key}: there is no column {', '.join(missing)}; found {', '.join(found)}")


def _in_their_words(part: Part, reading: Reading, said: Mapping[str, Condition]) -> dict[str, Condition]:
    """Conditions by their columns, which may be named as we do where no column of theirs is called so."""
    return {
        name if name in part.cells or name not in reading.columns else reading.columns[name][0]: condition
        for name, condition in said.items()
    }


def _unexpected(cells: pd.Series, column: str, condition: Condition) -> list[Fault]:
    return against(
        ~condition.takes(cells),
        "unexpected_value",
        f"{column}: {{!r}}; the source expects {condition}",
        cells.fillna(""),
    )


def _strategies(part: Part, theirs: pd.DataFrame, table: Part | None) -> pd.Series:
    """Strategy of each row; null where no rule gives one."""
    match part.reading.strategy_from:
        case ByColumn(column=column, matches=pattern):
            _require(part, "strategy_from", [column])
            text = theirs[column].str.strip()
            found = text.str.extract(pattern, expand=True)[0] if pattern else text
            return found.mask(found == "")
        case ByFile(file=pattern):
            name = pd.Series([part.name], dtype="str").str.extract(pattern, expand=True)[0].iloc[0]
            return pd.Series([name] * len(theirs), index=theirs.index, dtype="str")
        case ByTable(table=path) if table is not None:
            return _looked_up(part, theirs, table, path)
        case _:
            raise AssertionError(part.reading.strategy_from)


def _looked_up(part: Part, theirs: pd.DataFrame, table: Part, path: str) -> pd.Series:
    """Strategy that the first fitting line of a table gives to each row."""
    keys = [str(name) for name in table.cells if name != "strategy"]
    if "strategy" not in table.cells or not keys or table.malformed:
        raise LedgerError(f"{path}: expected the column strategy and others, named like columns of {part.name}")
    if missing := [name for name in keys if name not in theirs]:
        raise LedgerError(f"{path}: column {', '.join(missing)}: {part.name} has {', '.join(map(str, theirs))}")
    rules = table.cells.fillna("").apply(lambda cells: cells.str.strip())
    if (blank := np.flatnonzero(rules["strategy"] == "")).size:
        raise LedgerError(
            f"{path}: line {table.line[blank[0]]}: strategy: is empty; expected the strategy of such rows"
        )
    said = theirs[keys].fillna("").apply(lambda cells: cells.str.strip())
    first: NDArray[np.float64] = np.full(len(theirs), np.inf)
    # Lines that leave the same cells empty ask for the same columns, and are looked up together.
    for given, lines in rules.groupby([rules[key] != "" for key in keys]):
        asked = [key for key, there in zip(keys, np.atleast_1d(given), strict=True) if there]
        if not asked:
            first = np.minimum(first, lines.index[0])
            continue
        position = pd.Series(lines.index.to_numpy(float), index=_joined(lines[asked]))
        position = position[~position.index.duplicated()]
        first = np.fmin(first, _joined(said[asked]).map(position).to_numpy(float))
    known = np.isfinite(first)
    names = pd.Series(None, index=theirs.index, dtype="str")
    names[known] = rules["strategy"].to_numpy()[first[known].astype(int)]
    return names


def _joined(cells: pd.DataFrame) -> pd.Series:
    joined = cells.iloc[:, 0]
    for name in cells.columns[1:]:
        joined = joined + "\x1f" + cells[name]
    return joined
