"""Whether what a ledger reads has changed, asked without reading it.

Scope: files by their listing, queries by what their sources answer. Not here: who asks, and what follows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from weights_pipeline.ledger.calendars import file_of
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.places import listed
from weights_pipeline.ledger.source import CapitalFile, Entry, LedgerSource
from weights_pipeline.ledger.sources.reading import PassingError
from weights_pipeline.ledger.vocabulary import ByTable


def state(source: LedgerSource, root: Path, environment: Mapping[str, str]) -> str:
    """A digest that is another one once a file is new, gone or changed, or a query answers otherwise.

    A query counts where its source can tell without reading: see ``watch`` of ``sql`` and ``mongodb``.

    Parameters
    ----------
    source, root
        The ledger, and the data folder.
    environment
        Where addresses of databases are looked up.

    Raises
    ------
    LedgerError
        A place or a database cannot be asked.
    """
    entries = list(_entries(source))
    found = listed(root, dict.fromkeys(_paths(source, root, entries)))
    for query in (entry.query for entry in entries if entry.query):
        try:
            answer = query.changed(environment)
        except PassingError as error:
            raise LedgerError(f"{query.name}: cannot be asked whether its rows have changed ({error})") from None
        if answer is not None:
            found[query.name] = answer
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _entries(source: LedgerSource) -> Iterator[Entry]:
    for kind in ("lots", "fills", "cash", "openings", "returns"):
        yield from getattr(source, kind) or ()
    yield from filter(None, (source.actions, source.positions))


def _paths(source: LedgerSource, root: Path, entries: list[Entry]) -> Iterator[str]:
    """Every path and glob that the ledger names."""
    if (sessions := file_of(source.calendar)) is not None:
        yield sessions.resolve().relative_to(root.resolve()).as_posix()
    yield from (path for path in (source.prices, source.volumes, source.instruments, source.fx) if path)
    if isinstance(source.capital, CapitalFile):
        yield source.capital.file
    if source.benchmark:
        yield source.benchmark.file
    for entry in entries:
        yield from entry.files or ()
        if isinstance(rule := entry.reading(source).strategy_from, ByTable):
            yield rule.table
