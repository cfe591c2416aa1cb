"""A file by itself, before there is a ledger: as one importer reads it, and which importer reads most of its rows.

Scope: a ledger of one file, and suggestions, which nothing here applies. Not here: how a file reads (``files``,
``mapping``), nor what was understood (``understood``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from weights_pipeline.books.reading import BookError, validated
from weights_pipeline.ledger.beside import BESIDE, parts_beside
from weights_pipeline.ledger.calendars import exchange_timezone
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.importers import importers, with_importers
from weights_pipeline.ledger.mapping import SHOWN
from weights_pipeline.ledger.places import PLACES, file_at
from weights_pipeline.ledger.rows import COLUMNS, gather
from weights_pipeline.ledger.source import Kind, LedgerSource
from weights_pipeline.ledger.understood import Sample, sample
from weights_pipeline.ledger.vocabulary import Reading

ALONE = "file"
"""Name of the ledger that is one file."""

CALENDAR = "XNYS"
"""Calendar whose sessions and time zone a file is read by that no ledger names."""

_FIRST_MONTH = "1990-01"
_DELIMITERS = ",;\t|"
_NUMBERS: tuple[Mapping[str, Any], ...] = (
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"thousands": ","},
    {"currency_signs": ["$"]},
    {"negatives": ["parentheses"]},
)
"""Ways of writing numbers that are tried, one after the other, where a file is not read whole without."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How many rows of a file were read in one way.

    Attributes
    ----------
    importer
        Name of the importer; empty of the ledger's own form.
    kind
        What the rows are.
    settings
        What a ledger would say beside the importer.
    read, accepted
        Rows of the file, and those whose cells could all be read.
    """

    importer: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    read: int
    accepted: int


def ledger_of_file(
    path: str, root: Path, folder: Path, *, kind: str, named: str = "", settings: Mapping[str, Any] | None = None
) -> LedgerSource:
    """A ledger that is one file.

    Its times without a zone are those of `CALENDAR`. Where nothing says whose the rows are, the strategy is called as
    the file is.

    Parameters
    ----------
    path, root
        The file, and the folder that its path is relative to.
    folder
        Folder of the ledgers, for a desk's own importers.
    kind
        What its rows are.
    named
        Importer; empty of the ledger's own form.
    settings
        What a ledger would say beside the importer.

    Raises
    ------
    LedgerError
        There is no such importer, it reads rows of another kind, or a setting is none.
    """
    entry = {"files": [path], **({"importer": named} if named else {}), **(settings or {})}
    try:
        source = _validated(path, entry, kind, folder)
        if kind in BESIDE:
            return source
        [files] = getattr(source, kind)
        reading = files.reading(source)
        says_whose = reading.strategy_from or {"strategy"} & {*reading.columns, *reading.constants}
        if kind != "returns" and not says_whose and "strategy" not in read_part(file_at(root, path), reading).cells:
            constants = {**reading.constants, "strategy": PurePosixPath(path).stem}
            source = _validated(path, entry | {"constants": constants}, kind, folder)
    except BookError as error:
        raise LedgerError(str(error)) from error
    return source


def _validated(path: str, entry: Mapping[str, Any], kind: str, folder: Path) -> LedgerSource:
    entries: Any = entry if kind in BESIDE else [entry]
    content = {
        "name": ALONE,
        "description": "A file by itself.",
        "timezone": exchange_timezone(CALENDAR),
        "calendar": CALENDAR,
        "first_month": _FIRST_MONTH,
        "fills": ["none.csv"],  # what cash and openings stand beside in a ledger
        kind: entries,
    }
    source: LedgerSource = validated(TypeAdapter(LedgerSource), with_importers(content, folder), path)
    return source if kind in ("fills", *BESIDE) else source.model_copy(update={"fills": None})


def samples_beside(source: LedgerSource, root: Path, kind: str) -> Iterator[tuple[Sample, int]]:
    """Yield the first rows of each file of actions or positions, and how many rows it has.

    Raises
    ------
    LedgerError
        A file cannot be read, or something in it is wrong.
    """
    for part, typed in parts_beside(root, getattr(source, kind), kind, kind):
        yield sample(part, kind, BESIDE[kind], typed.head(SHOWN)), len(typed)


def attempts(path: str, root: Path, folder: Path) -> list[Attempt]:
    """Every way of reading a file that reads a row of it, the one that reads most of its rows first.

    Tried are the ledger's own form and every importer, each with the delimiter and the encoding that the file seems to
    have and, where cells cannot be read, with other ways of writing numbers. Formats of times are not: more than one
    may read the same dates as other days.

    Raises
    ------
    LedgerError
        The file cannot be read at all.
    """
    seems = _seems(file_at(root, path).read(), path)
    presets = {name: preset for name, preset, _ in importers(folder)}
    ways: list[tuple[str, str]] = [("", kind) for kind in (*COLUMNS, *BESIDE)]
    ways += [(name, preset.kind) for name, preset in presets.items()]
    own = {name: preset.model_fields_set for name, preset in presets.items()}
    found = [
        best
        for name, kind in ways
        if (best := _best(path, root, folder, name, kind, seems, own.get(name, frozenset())))
    ]
    return sorted(
        found, key=lambda each: (-each.accepted / each.read, -each.accepted, len(each.settings), bool(each.importer))
    )


def _best(
    path: str, root: Path, folder: Path, name: str, kind: str, seems: Mapping[str, Any], own: Collection[str]
) -> Attempt | None:
    """The way of one importer that reads most rows and leaves its `own` settings alone; None where it reads none."""
    settings = {key: value for key, value in seems.items() if key not in own}
    best: Attempt | None = None
    for more in ({}, *_NUMBERS):
        if more.keys() & {*own}:
            continue
        tried = _attempt(path, root, folder, name, kind, {**settings, **more})
        if tried is None and not more:
            return None
        if tried is not None and (best is None or tried.accepted > best.accepted):
            best = tried
        if best is not None and best.accepted == best.read:
            break
    return best if best is not None and best.accepted else None


def _attempt(path: str, root: Path, folder: Path, name: str, kind: str, settings: Mapping[str, Any]) -> Attempt | None:
    for turned in ({}, {"fees_sign": "negative_is_cost"}):
        try:
            source = ledger_of_file(path, root, folder, kind=kind, named=name, settings={**settings, **turned})
            read, accepted = _counted(source, root, kind)
        except LedgerError as error:
            if "fees_sign" in str(error):
                continue
            return None
        return Attempt(importer=name, kind=kind, settings={**settings, **turned}, read=read, accepted=accepted)
    return None


def _counted(source: LedgerSource, root: Path, kind: str) -> tuple[int, int]:
    """How many rows a file has, and how many of them can be read."""
    if kind in BESIDE:
        read = list(parts_beside(root, getattr(source, kind), kind, kind))
        return sum(part.read + part.left_out for part, _ in read), sum(len(typed) for _, typed in read)
    own = [each for each in COLUMNS if each == kind]
    [rows] = gather(source, root, exchange_timezone(CALENDAR), own).values()
    return sum(part.read + part.left_out for part in rows.parts), int(rows.flawless().sum())


def _seems(data: bytes, path: str) -> dict[str, Any]:
    """Encoding and delimiter that a text file seems to have, where they are not what is read without being said."""
    plain, suffix = Reading(), PurePosixPath(path).suffix.lower()
    if suffix == ".parquet":
        return {}
    found: dict[str, Any] = {}
    for encoding in (plain.encoding, "utf-16", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != plain.encoding:
            found["encoding"] = encoding
        break
    else:
        return {}
    if suffix == ".csv":
        lines = text.splitlines()[:50]
        often = max(_DELIMITERS, key=lambda mark: sum(line.count(mark) for line in lines))
        if often != plain.delimiter and any(often in line for line in lines):
            found["delimiter"] = often
    return found


def own_errors(path: str, root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Why a file is none of the ledger's own form: kind of rows and reason, for fills and for lots."""
    kinds: tuple[Kind, ...] = ("fills", "lots")
    for kind in kinds:
        try:
            gather(ledger_of_file(path, root, folder, kind=kind), root, exchange_timezone(CALENDAR), [kind])
        except LedgerError as error:
            yield kind, str(error)


def local_place(file: str, data: Path) -> tuple[Path, str]:
    """Folder and path of a file that is named on a command line: of one inside the data folder, its path there.

    Raises
    ------
    LedgerError
        There is no such file.
    """
    if any(file.startswith(begin) for begin in PLACES):
        return data, file
    path = Path(file).resolve()
    if not path.is_file():
        raise LedgerError(f"{file}: there is no such file; correct the path, or name a ledger")
    root = data.resolve() if path.is_relative_to(data.resolve()) else path.parent
    return root, path.relative_to(root).as_posix()
