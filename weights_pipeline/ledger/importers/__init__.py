"""Importers: how a vendor's export reads, as a preset of a ledger's settings.

Scope: finding presets, here and beside a desk's own ledgers, and adding what a ledger says itself. Not here: the
settings (``source.Reading``), nor reading. An importer is one YAML file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, TypeAdapter

from weights_pipeline.books.reading import BookError, read_yaml, validated
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.vocabulary import Reading

OWN = "importers"
"""Folder of a desk's own importers, beside its ledgers; one of the name of a preset takes its place."""


class Importer(Reading):
    """A preset, as its file has it.

    Attributes
    ----------
    what
        Vendor, export and format.
    as_of
        Month in which the vendor's description was read, ``YYYY-MM``.
    kind
        What its rows are.
    """

    what: str = Field(min_length=1)
    as_of: Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]
    kind: Literal["lots", "fills", "cash", "openings", "returns", "actions", "positions"]


def importers(folder: Path) -> Iterator[tuple[str, Importer, bool]]:
    """Yield name and preset of every importer there is, by name, and whether it is a desk's own.

    Parameters
    ----------
    folder
        Folder of the ledgers.
    """
    own = {file.stem: file for file in (folder / OWN).glob("*.yaml")}
    for name, file in sorted({**{file.stem: file for file in _presets()}, **own}.items()):
        yield name, _loaded(file)[0], name in own


def importer(name: str, folder: Path) -> Importer:
    """One importer by name.

    Raises
    ------
    LedgerError
        There is none of that name, or its file is not valid.
    """
    return _loaded(_file(name, folder))[0]


def with_importers(ledger: Any, folder: Path) -> Any:
    """A ledger's settings with those of the importers it names, wherever it does not say otherwise itself.

    Maps are added to: an item of the ledger takes the place of the importer's, one that is null takes it away. Of
    columns to ignore those of both are ignored. Whatever else the ledger says takes the importer's place.

    Raises
    ------
    LedgerError
        An importer does not exist, is not valid, or reads rows of another kind.
    """
    if not isinstance(ledger, dict):
        return ledger
    changed = {
        kind: [_with_importer(entry, kind, folder) for entry in said]
        if isinstance(said, list)
        else _with_importer(said, kind, folder)
        for kind, said in ledger.items()
        if kind in get_args(Importer.model_fields["kind"].annotation)
    }
    return {**ledger, **changed}


def _with_importer(entry: Any, kind: str, folder: Path) -> Any:
    name = entry.get("importer") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return entry
    preset, content = _loaded(_file(name, folder))
    if preset.kind != kind:
        raise LedgerError(f"{kind}: importer {name} reads {preset.kind}; name it there")
    inherited = {key: value for key, value in content.items() if key in Reading.model_fields}
    return inherited | {key: _added(inherited.get(key), value, key) for key, value in entry.items()}


def _added(inherited: Any, said: Any, key: str) -> Any:
    if key == "ignore" and isinstance(inherited, list) and isinstance(said, list):
        return [*inherited, *said]
    if not (isinstance(inherited, Mapping) and isinstance(said, Mapping)) or key == "strategy_from":
        return said
    return {name: value for name, value in {**inherited, **said}.items() if value is not None}


@cache
def _presets() -> list[Path]:
    return [Path(str(file)) for file in resources.files(__name__).iterdir() if file.name.endswith(".yaml")]


def _file(name: str, folder: Path) -> Path:
    own = folder / OWN / f"{name}.yaml"
    if own.is_file():
        return own
    found = {file.stem: file for file in _presets()}
    if name not in found:
        there = ", ".join(sorted({*found, *(file.stem for file in (folder / OWN).glob("*.yaml"))}))
        raise LedgerError(f"importer: there is no {name!r}; there are {there}, or write your own into {folder / OWN}")
    return found[name]


def _loaded(file: Path) -> tuple[Importer, Mapping[str, Any]]:
    """An importer, and what its file says; those that come with the package are read once."""
    return _shipped(file) if file in _presets() else _read(file)


def _read(file: Path) -> tuple[Importer, Mapping[str, Any]]:
    try:
        content = read_yaml(file)
        preset: Importer = validated(TypeAdapter(Importer), content, file)
    except BookError as error:
        raise LedgerError(str(error)) from error
    return preset, cast(dict[str, Any], content)


_shipped = cache(_read)
