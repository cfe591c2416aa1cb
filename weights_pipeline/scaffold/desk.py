"""Files of a new desk, and of a new book.

Scope: text from templates. Not here: reading a ledger, for which this calls ``ledger``.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from weights_pipeline.books.load import book_schema
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.files import replacing
from weights_pipeline.ledger import LedgerError, exchange_timezone, read_ledger
from weights_pipeline.ledger.alone import ALONE, Attempt, attempts, ledger_of_file, local_place
from weights_pipeline.ledger.importers import importer
from weights_pipeline.ledger.periods import horizon
from weights_pipeline.ledger.source import ledger_schema
from weights_pipeline.ledger.understood import summaries
from weights_pipeline.shipped import shipped

_CALENDAR = "XNYS"
_ALONE = ("lots", "fills", "returns")
"""Kinds of rows that a ledger can be made of alone."""
_REQUIRED: Mapping[str, Any] = {
    "metric": "calmar",
    "lookback": "12m",
    "weights": {"sharpe": 0.5, "calmar": 0.5},
    "optimiser": {"kind": "HierarchicalRiskParity"},
}
"""What a method is given that it does not work without."""


class ScaffoldError(ValueError):
    """A desk or a book cannot be made. The message says why, and what to do."""


@dataclass(frozen=True)
class Found:
    """What a file of trades or returns holds.

    Attributes
    ----------
    kind, importer, settings
        How it reads: as rows of a kind, by an importer or in the ledger's own form, and with which settings beside.
    strategies
        Those in it, by name.
    first
        First month, ``YYYY-MM``.
    read, accepted
        Its rows, and those that say something.
    """

    kind: str
    importer: str
    settings: Mapping[str, Any]
    strategies: tuple[str, ...]
    first: str
    read: int
    accepted: int


def found_in(file: str, named: str, now: dt.datetime) -> Found:
    """What a file holds, read by the importer named or in the way that reads most of its rows.

    Raises
    ------
    ScaffoldError
        Nothing reads it, or it holds no strategy.
    """
    nowhere = Path("data", "ledgers")
    try:
        root, path = local_place(file, Path("data"))
        if named:
            way = Attempt(importer=named, kind=importer(named, nowhere).kind, read=0, accepted=0)
        else:
            ways = [each for each in attempts(path, root, nowhere) if each.kind in _ALONE]
            if not ways:
                raise ScaffoldError(
                    f"{file}: no importer reads a row of it; `weights ledger check {file}` says what is in the way"
                )
            way = ways[0]
        source = ledger_of_file(path, root, nowhere, kind=way.kind, named=way.importer, settings=way.settings)
        intake = read_ledger(source, root, horizon=horizon(source, now))
        entries: Sequence[Any] = getattr(source, way.kind) or ()
    except LedgerError as error:
        raise ScaffoldError(str(error).replace(f"ledger {ALONE}: ", "")) from error
    # Where no column says whose a row is, its strategy is called as the file is; said, so that it can be changed.
    constants = {key: value for each in entries for key, value in each.constants.items() if key == "strategy"}
    every = summaries(intake)
    if not every:
        raise ScaffoldError(f"{file}: none of its rows is accepted; `weights ledger check {file}` says why")
    return Found(
        kind=way.kind,
        importer=way.importer,
        settings=dict(way.settings) | ({"constants": constants} if constants else {}),
        strategies=tuple(each.strategy for each in every),
        first=f"{min(each.first for each in every):%Y-%m}",
        read=int(intake.files["read"].sum()),
        accepted=int(intake.files["accepted"].sum()),
    )


def desk_files(
    name: str, now: dt.datetime, *, reads: str = "", file: Path | None = None, found: Found | None = None
) -> dict[Path, bytes]:
    """Files of a new desk, by their path in its folder.

    Parameters
    ----------
    name
        Name of the ledger; its book is called ``NAME_book``.
    now
        The instant, for the first month of a ledger that is still to come.
    reads
        An importer whose files are to come; empty otherwise.
    file, found
        A file to take along, and what it holds. Without either there are a few trades to try things out with.

    Raises
    ------
    ScaffoldError
        There is no such importer, or it reads what a ledger cannot be made of alone.
    """
    if file is not None and found is not None:
        entry = {"files": [f"{name}/{file.name}"], **({"importer": found.importer} if found.importer else {})}
        kind, first, last = found.kind, found.first, ""
        entries: list[Any] = [entry | dict(found.settings)]
        strategies = list(found.strategies)
    elif reads:
        # A ledger is read up to the day it is at the exchange, which a month may begin a day later.
        today = now.astimezone(ZoneInfo(exchange_timezone(_CALENDAR)))
        kind, entries, first, last = _kind_of(reads), [_to_come(reads, name)], f"{today:%Y-%m}", ""
        strategies = ["main"]
    else:
        kind, entries, first, last = "lots", [f"{name}/lots.csv"], "2024-01", "2024-03"
        strategies = ["carry", "fade"]
    book = f"{name}_book"
    words = {
        "ledger": name,
        "book": book,
        "kind": kind,
        "calendar": _CALENDAR,
        "entries": _yaml({kind: entries}),
        "first": first,
        "last": f"last_month: {last}\n" if last else "",
        "capital": _yaml({"capital": _capital(name, example=bool(last))}),
    }
    texts = {
        **_around(words),
        f"data/ledgers/{name}.yaml": _template("ledger.yaml", words),
        f"data/books/{book}.yaml": book_file(book, name, strategies, "sharpe_tilt"),
        **_schemas(),
        **_inputs(),
    }
    made = {Path(path): text.encode() for path, text in texts.items()}
    if file is not None:
        made[Path("data", name, file.name)] = file.read_bytes()
    elif reads:
        made[Path("data", name, "README.md")] = b"The files of this desk's trades.\n"
    else:
        for each in ("lots.csv", "capital.csv"):
            made[Path("data", name, each)] = _template(each, words).encode()
    return made


def sample_files() -> dict[Path, bytes]:
    """Files of a desk that has the sample: its books, its ledger, prices and returns."""
    data = shipped("data")
    kept = [path for path in sorted(data.rglob("*")) if path.is_file() and path.suffix not in (".py", ".pyc")]
    texts = _around({"ledger": "sample", "book": "calmar_core"}) | _inputs()
    return {
        **{Path(path): text.encode() for path, text in texts.items()},
        **{Path("data", path.relative_to(data)): path.read_bytes() for path in kept},
    }


def _inputs() -> dict[str, str]:
    """A file for each kind of input, to show its columns."""
    return {f"templates/{each.name}": each.read_text(encoding="utf-8") for each in _folder("inputs")}


def book_file(name: str, ledger: str, strategies: Sequence[str], method: str) -> str:
    """A book with equal base weights, with comments.

    Raises
    ------
    ScaffoldError
        There is no such method, or the name is none.
    """
    kinds = {each.kind: each for each in METHODS}  # type: ignore[attr-defined]
    if method not in kinds:
        raise ScaffoldError(f"--method: there is no {method!r}; there are {', '.join(sorted(kinds))}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ScaffoldError(f"{name!r}: expected a name of small letters, digits and _, such as my_book")
    if method == "fixed":
        raise ScaffoldError(
            f"--method: {method} takes its percentages from decisions, of which there are none yet; see docs/books.md, "
            f"Decided allocations"
        )
    required = {each.name for each in fields(kinds[method]) if each.default is MISSING}
    spelt = {"kind": method} | {key: value for key, value in _REQUIRED.items() if key in required}
    weights = _shares(len(strategies))
    return _template(
        "book.yaml",
        {
            "book": name,
            "ledger": ledger,
            "strategies": _yaml({"strategies": dict(zip(strategies, weights, strict=True))}),
            "method": yaml.safe_dump(spelt, default_flow_style=True, sort_keys=False, width=1000).strip(),
        },
    )


def write_new(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Write files into a folder that is empty or not there yet; all of them, or none.

    Raises
    ------
    ScaffoldError
        The folder holds something, or a file cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ScaffoldError(f"{folder} is not empty; name a folder that is, or one that is not there yet")
    if folder.exists() and not folder.is_dir():
        raise ScaffoldError(f"{folder} is a file; name a folder")
    try:
        for path, content in files.items():
            with replacing(folder / path, durable=False) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        for path in files:
            (folder / path).unlink(missing_ok=True)
        for inner in sorted({folder / parent for path in files for parent in path.parents}, reverse=True):
            with suppress(OSError):
                inner.rmdir()
        raise ScaffoldError(f"{folder}: cannot be written: {error.strerror}; nothing was left there") from error


def _around(words: Mapping[str, str]) -> dict[str, str]:
    """What stands in the folder of every desk, whatever its data."""
    named = {".gitignore": "gitignore"} | {each: each for each in ("README.md", "pyproject.toml", "workspace.yaml")}
    package = f"{words['ledger']}_dagster"
    return {
        **{path: _template(name, words) for path, name in named.items()},
        f"{package}/__init__.py": "",
        f"{package}/defs/__init__.py": "",
        f"{package}/definitions.py": _template("definitions.txt", words),
        "dagster.yaml": shipped("dagster.yaml").read_text(encoding="utf-8"),
    }


def _kind_of(name: str) -> str:
    try:
        kind = importer(name, Path("data", "ledgers")).kind
    except LedgerError as error:
        raise ScaffoldError(str(error)) from error
    if kind not in _ALONE:
        raise ScaffoldError(
            f"--importer: {name} reads {kind}, which stand beside trades; name an importer of trades, and add this one "
            f"to the ledger's file as `{kind}: {{files: [...], importer: {name}}}`"
        )
    return kind


def _to_come(name: str, ledger: str) -> dict[str, Any]:
    preset = importer(name, Path("data", "ledgers"))
    form = next((each for each in ("json", "xml") if each in preset.what.lower()), "csv")
    entry: dict[str, Any] = {"files": [f"{ledger}/*.{form}"], "importer": name}
    says_whose = preset.strategy_from or {"strategy"} & {*preset.columns, *preset.constants}
    of_its_own = says_whose or (preset.kind == "returns" and not preset.allocations)
    return entry if of_its_own else entry | {"constants": {"strategy": "main"}}


def _capital(name: str, *, example: bool) -> dict[str, Any]:
    return {"kind": "capital_base", "file": f"{name}/capital.csv"} if example else {"kind": "average_position_value"}


def _shares(count: int) -> list[float]:
    """Equal shares of 1 that add up to it as they are printed."""
    share = round(1 / count, 10)
    return [*[share] * (count - 1), round(1 - share * (count - 1), 10)]


@cache
def _schemas() -> Mapping[str, str]:
    """Schemas as they are written beside a desk's files; they take longer to make than all the rest of it."""
    made = {"data/book.schema.json": book_schema(), "data/ledger.schema.json": ledger_schema()}
    return {
        path: json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        for path, schema in made.items()
    }


def _yaml(content: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(content), default_flow_style=None, sort_keys=False, width=110, allow_unicode=True)
    return text.strip()


def _folder(name: str) -> list[Any]:
    folder = resources.files(__package__) / "templates" / name
    return sorted((each for each in folder.iterdir() if each.is_file()), key=lambda each: each.name)


def _template(name: str, words: Mapping[str, str]) -> str:
    text = (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")
    return Template(text).substitute(words)
