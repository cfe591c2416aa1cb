"""Lots that nothing is wrong with, set aside, so that a file is judged once for as long as it is what it was.

Scope: judging a file of closed lots by itself, keeping what that comes to, and telling when it says less than judging
all files together. Not here: the rules that a row has to keep (``core``), and rows that are at fault: they are judged
with all others, each time (``intake``).

A row of a closed lot is at fault for what it says itself, or because another row has its ``lot_id``. So a row that
keeps all rules and whose id is its own alone is accepted whatever other rows there are. What is known of a file goes by
all that this depends on: its path, its content, how it reads, the source's settings, the code that judges, the
hours of its sessions. A file is judged with all others where an id of it stands anywhere else.

Entries that are lost, damaged or of another version cost time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from weights_pipeline.core.returns.cells import Fault
from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.core.returns.identity import ascending, hashed
from weights_pipeline.core.returns.lots import LOT_COLUMNS, lot_faults
from weights_pipeline.core.returns.scale import multiples_suspected
from weights_pipeline.core.returns.sessions import SessionOf
from weights_pipeline.core.returns.sums import exact_sum
from weights_pipeline.ledger.closed import LOT_ORDER, SORTED_BY, completed, placed
from weights_pipeline.ledger.currencies import in_capitals, stated
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.files import Part, read_part
from weights_pipeline.ledger.instruments import Instruments
from weights_pipeline.ledger.kept import UNUSABLE, Kept, Read, digest_of, reader, sealed, write_sealed
from weights_pipeline.ledger.mapping import SHOWN
from weights_pipeline.ledger.places import File
from weights_pipeline.ledger.rows import Rows, SetAside
from weights_pipeline.ledger.source import LedgerSource
from weights_pipeline.ledger.vocabulary import Reading

_LOG = logging.getLogger(__name__)
Ids = NDArray[np.uint64]
Pair = tuple[str, str]
"""A strategy and a symbol."""
Instants = NDArray[np.datetime64]
Hours = tuple[Instants, Instants, Instants]
"""Sessions, and when each opens and closes."""

BLOCK = 500_000
"""Rows that are judged at a time."""
WORTH = 2_000
"""Rows of a file that is worth to be set aside: one of fewer costs less when it is judged with others each time."""
_AT_FAULT = 2_000
"""Rows at fault that a file may have and still be set aside."""
_INDEX = "index.arrow"
_SETTLED = 2_000_000_000
"""Nanoseconds after which a file system shows another time of a file that is written to again."""
_TIMES = ("opened_at", "closed_at")
_OF_PROFIT = (
    "strategy", "symbol", "side", "quantity", "open_price", "close_price", "fees", "multiplier", "pnl", "given", "line",
)  # fmt: skip


class Span(NamedTuple):
    """The history as it is read: hours of its sessions, its ends, and which session an instant is of.

    From the instant ``over`` on nothing is read.
    """

    hours: pd.DataFrame
    first: pd.Timestamp
    last: pd.Timestamp
    over: pd.Timestamp
    session_of: SessionOf


class _Block:
    """Lots of one block of a file, in order, mapped into memory when they are asked for."""

    def __init__(self, file: Path, said: Mapping[str, Any], again: Callable[[], object]) -> None:
        self.name, self.lots, self._file, self._again = file.name, int(said["lots"]), file, again
        self.first, self.last = pd.Timestamp(said["first"]), pd.Timestamp(said["last"])

    def between(self, first: pd.Timestamp, after: pd.Timestamp) -> pd.DataFrame:
        """Lots of the sessions from one to before another, in the columns of `LOT_ORDER`."""
        days = self._table.column("session").to_numpy()
        begin, end = np.searchsorted(days, np.array([first, after], dtype="datetime64[us]"))
        frame: pd.DataFrame = self._table.select(LOT_ORDER).slice(begin, end - begin).to_pandas()
        return frame

    def columns(self, *names: str) -> pd.DataFrame:
        """What is kept of all its lots, in order."""
        frame: pd.DataFrame = self._table.select([*names]).to_pandas()
        return frame

    def ids(self) -> Ids:
        """Hashes of the ids of its lots."""
        found: Ids = self._table.column("id").to_numpy()
        return found

    @cached_property
    def _table(self) -> pa.Table:
        try:
            return sealed(self._file, self.name)[0]
        except UNUSABLE as error:
            _LOG.warning("%s: cannot be used, its file is read again: %s", self._file, error)
        self._again()
        try:
            return sealed(self._file, self.name)[0]
        except UNUSABLE as error:
            raise LedgerError(f"{self._file}: cannot be made again ({error}); start again") from error


class _Found(NamedTuple):
    """A file that lots are set aside of: what is said of it, and where they are."""

    entry: str
    said: Mapping[str, Any]
    part: Part
    blocks: Sequence[_Block]


class Aside:
    """Lots of a ledger's files that were set aside, and those that are now.

    Parameters
    ----------
    folder
        Where they are. It is made when there is something to keep.
    kept
        Cells of files that are judged with all others.
    source, exchange_timezone, instruments
        What judgement depends on besides a file.
    span
        Gives the history as it is read, reaching back to the earliest time of some columns.
    """

    def __init__(
        self,
        folder: Path,
        kept: Kept,
        source: LedgerSource,
        exchange_timezone: str,
        instruments: Instruments,
        span: Callable[..., Span],
    ) -> None:
        self._folder, self._kept, self._source, self._zone = folder, kept, source, exchange_timezone
        self._instruments, self._span = instruments, span
        settings = [source.timezone, exchange_timezone, source.calendar, source.first_month]
        symbols = [sorted(instruments.multiplier.items()), sorted(instruments.currency.items())]
        self._settings = hashlib.sha256(json.dumps([*settings, *symbols, reader()]).encode()).hexdigest()
        self._before, self._ids = self._read_index()
        self._entries: dict[str, dict[str, Any] | None] = {**self._before["entries"]}
        self._settled: list[str] = self._before["settled"]
        self._versions = dict[str, list[str]]()
        self._now, self._device = _clock(folder)
        self._found = dict[str, _Found]()
        self._used, self._together = set[str](), set[str]()

    def part(self, file: File, reading: Reading, prepared: Callable[[Read], Part]) -> Part:
        """Rows of a file that are to be judged with others: those at fault, or all.

        Parameters
        ----------
        file, reading
            The file, and how it reads.
        prepared
            Reads it by a function, and puts it into the ledger's words.
        """
        self._found.pop(file.path, None)
        version = self._version(file)
        named = [file.path, version, reading.model_dump_json(), self._settings]
        entry = hashlib.sha256(json.dumps(named).encode()).hexdigest()
        self._used.add(entry)
        if file.path in self._together:
            return prepared(self._kept.part)
        known = self._entries.get(entry)
        if moved := bool(known and entry in self._before["entries"] and self._moved(known)):
            # It may come to other lots, with other ids.
            self._unsettle([entry])
        if moved or entry not in self._entries:
            whole = list[Part]()

            def once(file: File, reading: Reading) -> Part:
                if not whole:
                    whole.append(read_part(file, reading))
                return whole[0]

            part = prepared(once)
            # Of a file that was written to in between, the entry would hold what it does not say.
            if part.version != version:
                return part
            try:
                self._entries[entry] = self._judged(part, entry) if len(part.line) >= WORTH else None
            except OSError as error:
                _LOG.warning("%s: cannot be written, %s is judged with others: %s", self._folder, file.path, error)
                self._together.add(file.path)
            if not self._entries.get(entry):
                return prepared(partial(self._kept.part, read=once))
        said = self._entries[entry]
        if said is None or self._beyond(said):
            return prepared(self._kept.part)

        def again() -> None:
            if (part := prepared(read_part)).version != version:
                raise LedgerError(f"{file.path}: was written to while the ledger was being read; start again")
            # Of a history that went less far, later lots were left.
            self._judged(part, entry, pd.Timestamp(said["until"]))

        blocks = [_Block(self._folder / each["name"], each, again) for each in said["blocks"]]
        self._found[file.path] = _Found(entry, said, _left(file.path, version, reading, said), blocks)
        return self._found[file.path].part

    def rows(self, parts: Sequence[Part]) -> Rows:
        """Rows to be judged with others, of all files in their order."""
        whole = [part for part in parts if part.name not in self._found]
        found = [self._found[part.name] for part in parts if part.name in self._found]
        pieces = [Rows("lots", whole, self._source.timezone, self._zone)] if whole or not found else []
        if found:
            pieces.append(_rows_left(found))
        rows = pieces[0] if len(pieces) == 1 else Rows.merged("lots", parts, pieces)
        rows.aside = {
            path: SetAside(found.said["lots"], partial(_head, found.part, found.said["head"]))
            for path, found in self._found.items()
        }
        return rows

    def settled(self, rows: Rows) -> bool:
        """Whether no id of what is set aside stands anywhere else; files of which one does are judged with others."""
        here = {found.entry: found for found in self._found.values()}
        self._unsettle([entry for entry in self._settled if entry not in here])
        known, merged = self._settled, self._ids
        new = [entry for entry in here if entry not in {*known}]
        coming = _ids([block for entry in new for block in here[entry].blocks])
        others = hashed(rows.typed["lot_id"].dropna().drop_duplicates())
        twice = [coming[1:][coming[1:] == coming[:-1]], coming[_among(coming, merged)]]
        twice += [others[_among(others, merged)], others[_among(others, coming)]]
        if any(map(len, twice)):
            wanted = np.unique(np.concatenate(twice))
            self._together |= {path for path, found in self._found.items() if _among(_ids(found.blocks), wanted).any()}
            return False
        if new:
            both = np.insert(merged, merged.searchsorted(coming), coming) if len(merged) else coming
            self._settled, self._ids = [*known, *new], both
        return True

    def keep(self) -> None:
        """Write what is known now, and remove what no file is set aside in any more. After it no file is looked at."""
        entries = {entry: said for entry, said in self._entries.items() if entry in self._used}
        said = {"entries": entries, "versions": self._versions, "settled": self._settled}
        blocks = {each["name"] for of in entries.values() if of for each in of["blocks"]}
        if said != {name: self._before[name] for name in said}:
            try:
                write_sealed(self._folder / _INDEX, _INDEX, pa.table({"id": self._ids}), said)
            except OSError as error:
                _LOG.warning("%s: cannot be kept, files will be judged again: %s", self._folder / _INDEX, error)
                return
        for file in self._folder.glob("*.arrow"):
            if file.name not in blocks and file.name != _INDEX and not file.name.startswith("."):
                file.unlink(missing_ok=True)
        # Lots are read long after this, and of a hundred million the ids would be most of what is held meanwhile.
        self._ids = np.empty(0, dtype=np.uint64)

    # --- what is known of all ---------------------------------------------------------------------------------

    @property
    def blocks(self) -> list[_Block]:
        """Where the lots are."""
        return [block for found in self._found.values() for block in found.blocks]

    @property
    def earliest(self) -> pd.Series:
        """Times that the history has to reach back to."""
        return pd.Series([found.said["since"] for found in self._found.values()], dtype="datetime64[us]")

    @property
    def strategies(self) -> dict[str, tuple[int, Fraction]]:
        """By strategy, how many lots are set aside, and what they tied up together."""
        total = dict[str, tuple[int, Fraction]]()
        for found in self._found.values():
            _add(total, found.said["strategies"])
        return total

    @property
    def currencies(self) -> dict[str, str]:
        """Currencies that rows state, each with the first place."""
        stated = dict[str, str]()
        for path, found in sorted(self._found.items()):
            for name, line in found.said["currencies"].items():
                stated.setdefault(name, f"{path} line {line}")
        return stated

    def suspects(self, sound: pd.DataFrame) -> pd.DataFrame:
        """Lots of pairs whose profits may be a multiple of what prices give, with their ``source_file`` and ``line``.

        Parameters
        ----------
        sound
            Accepted rows that are not set aside.
        """
        own = multiples_suspected(sound)
        mixed = own.mixed.union(*(map(tuple, found.said["mixed"]) for found in self._found.values()))
        pairs = own.suspect.union(*(map(tuple, found.said["suspect"]) for found in self._found.values())) - mixed
        if not pairs:
            return sound[:0]
        wanted = pd.MultiIndex.from_tuples(sorted(pairs))
        parts = [sound]
        for path, found in self._found.items():
            for block in found.blocks:
                rows = block.columns(*_OF_PROFIT)
                rows["pnl"] = rows["pnl"].where(rows.pop("given"))
                parts.append(rows.assign(source_file=path))
        lots = pd.concat([part[pd.MultiIndex.from_frame(part[["strategy", "symbol"]]).isin(wanted)] for part in parts])
        return lots.sort_values(["source_file", "line"], kind="stable", ignore_index=True)

    def _unsettle(self, entries: Sequence[str]) -> None:
        """Take ids of files that have gone, or are judged again, from among those that stand nowhere else."""
        gone = {*entries} & {*self._settled}
        if not gone:
            return
        self._settled = [entry for entry in self._settled if entry not in gone]
        try:
            tables = [
                sealed(self._folder / each["name"], each["name"])[0]
                for entry in gone
                for each in (self._entries[entry] or {})["blocks"]
            ]
            ids = ascending((table.column("id").to_numpy() for table in tables), sum(map(len, tables)))
            here = _among(ids, self._ids)
        except UNUSABLE:
            here = np.zeros(1, dtype=bool)
        if not here.all():
            # They are not as they were put there: all are looked at again.
            self._settled, self._ids = [], self._ids[:0]
            return
        left = np.ones(len(self._ids), dtype=bool)
        left[self._ids.searchsorted(ids)] = False
        self._ids = self._ids[left]

    # --- one file ---------------------------------------------------------------------------------------------

    def _judged(self, part: Part, entry: str, until: pd.Timestamp = pd.Timestamp.max) -> dict[str, Any] | None:
        """What a file comes to by itself, its sound lots written; None where it is to be judged with others."""
        found = list[_Judged]()
        for begin in range(0, len(part.line), BLOCK):
            end = begin + BLOCK
            over = end >= len(part.line)
            block = replace(
                part,
                cells=part.cells.iloc[begin:end].reset_index(drop=True),
                line=part.line[begin:end],
                malformed=part.malformed if over else (),
                faults=[fault._replace(row=fault.row - begin) for fault in part.faults if begin <= fault.row < end],
            )
            try:
                judged = self._block(block, f"{entry} {begin}", until, over=over)
            except LedgerError as error:
                # Of what is wrong with it, all files together are told in the order of their names.
                _LOG.debug("%s: is not set aside: %s", part.name, error)
                return None
            if judged is None:
                return None
            found.append(judged)
            if sum(len(each.left.typed) for each in found) + len(block.malformed) > _AT_FAULT:
                return None
        blocks = [each for each in found if each.lots]
        return self._told(part, found, blocks) if blocks else None

    def _block(self, block: Part, name: str, until: pd.Timestamp, *, over: bool) -> _Judged | None:
        """What rows of a file come to by themselves, those that are sound written; None as :meth:`_judged`."""
        rows = Rows("lots", [block], self._source.timezone, self._zone)
        if rows.as_days.any():
            return None
        read, typed = rows.faults, rows.typed
        span = self._span(typed["opened_at"])
        placed(rows, span.session_of, self._instruments.multiplier)
        rows.faults = [*read, *lot_faults(typed, rows.days, first=span.first, last=span.last)]
        sound = rows.flawless() & (typed[["opened_at", "closed_at"]] <= until).all(axis=1).to_numpy()
        if not (over or sound[-1]):
            # Whether it is a footer, the rows after it say.
            return None
        head = typed.head(SHOWN)
        head = head.assign(**in_capitals(head, self._instruments.currency))
        left = rows.only(~sound, [fault for fault in read if not sound[fault.row]])
        if not sound.any():
            return _Judged(head, left)
        accepted = typed[sound].assign(line=rows.line[sound], given=typed["pnl"].notna()[sound])
        lots = in_order(completed(accepted).assign(currency=pd.Series(dtype="str")), SORTED_BY)
        kept = lots[[*LOT_ORDER, "multiplier", "given", "line"]].assign(id=hashed(lots["lot_id"]))
        opened, last, latest = (
            lots["open_session"].min(),
            lots["session"].iloc[-1],
            max(lots["opened_at"].max(), lots["closed_at"].max()),
        )
        # Others may read what was written when the history went less far, or its sessions were others.
        hours = _hours(_arrays(span.hours), *np.array([opened, last], "datetime64[us]"))
        file = f"{hashlib.sha256(f'{name} {latest} {hours}'.encode()).hexdigest()}.arrow"
        write_sealed(self._folder / file, file, pa.Table.from_pandas(kept, preserve_index=False), {})
        suspected = multiples_suspected(accepted)
        return _Judged(
            head,
            left,
            block={
                "name": file,
                "lots": len(lots),
                "first": str(lots["session"].iloc[0]),
                "last": str(last),
            },
            since=lots["opened_at"].min(),
            until=latest,
            opened=opened,
            strategies={str(name): (len(own), exact_sum(own["entry_value"])) for name, own in lots.groupby("strategy")},
            currencies={
                name: int(accepted["line"].loc[row])
                for name, row in stated(accepted.assign(**in_capitals(accepted, self._instruments.currency))).items()
            },
            suspect=suspected.suspect,
            mixed=suspected.mixed,
        )

    def _told(self, part: Part, found: Sequence[_Judged], blocks: Sequence[_Judged]) -> dict[str, Any]:
        """What is kept of a file besides its sound lots."""
        since, opened = min(each.since for each in blocks), min(each.opened for each in blocks)
        last = max(pd.Timestamp(each.block["last"]) for each in blocks)
        strategies, currencies = dict[str, tuple[int, Fraction]](), dict[str, int]()
        for each in blocks:
            _add(strategies, each.strategies)
            currencies = {**each.currencies, **currencies}
        mixed = frozenset().union(*(each.mixed for each in blocks))
        suspect = frozenset().union(*(each.suspect for each in blocks)) - mixed
        written = part.written if len(part.written) else part.cells.head(SHOWN)
        return {
            "lots": sum(each.block["lots"] for each in blocks),
            "since": str(since),
            "until": str(max(each.until for each in blocks)),
            "sessions": [str(opened), str(last)],
            "hours": _hours(_arrays(self._span(pd.Series([since])).hours), *np.array([opened, last], "datetime64[us]")),
            "blocks": [each.block for each in blocks],
            "strategies": {name: [lots, str(value)] for name, (lots, value) in strategies.items()},
            "currencies": currencies,
            "suspect": sorted(map(list, suspect)),
            "mixed": sorted(map(list, mixed)),
            "head": {
                "line": part.line[:SHOWN].tolist(),
                "written": _columns(written),
                "typed": _columns(found[0].head[[*LOT_COLUMNS]]),
            },
            "columns": [*part.cells],
            "header": [*part.header],
            "malformed": [[int(line), why, [*said]] for line, why, said in found[-1].left.parts[0].malformed],
            "unreadable": dict(part.unreadable),
            "left_out": part.left_out,
            "left": [_said_of(each.left) for each in found if len(each.left.typed)],
        }

    # --- what is known ----------------------------------------------------------------------------------------

    @cached_property
    def _whole(self) -> tuple[Span, Hours]:
        """The history, back to all that was known before."""
        since = [said["since"] for said in self._before["entries"].values() if said]
        span = self._span(pd.Series(since, dtype="datetime64[us]"))
        return span, _arrays(span.hours)

    def _moved(self, said: Mapping[str, Any]) -> bool:
        """Whether sessions that lots fall into are others now."""
        since, until = np.array(said["sessions"], dtype="datetime64[us]")
        return bool(_hours(self._whole[1], since, until) != said["hours"])

    def _beyond(self, said: Mapping[str, Any]) -> bool:
        """Whether some lots are after the history that is read."""
        span, (until, last) = self._whole[0], np.array([said["until"], said["sessions"][1]], dtype="datetime64[us]")
        return bool(until >= span.over.to_datetime64() or last > span.last.to_datetime64())

    def _version(self, file: File) -> str:
        """What a file holds, by its digest; one that stands as it did when that was taken is not read for it."""
        if file.version:
            return file.version
        stands = self._stands(file)
        known = self._before["versions"].get(file.path, ["", ""])
        version = known[1] if stands and stands == known[0] else digest_of(file)
        if stands:
            self._versions[file.path] = [stands, version]
        return str(version)

    def _stands(self, file: File) -> str:
        """Size, times and number of a file, which no writing leaves as they are; empty where that is not certain.

        The time of the last change of its content or entry is the system's own. A file changed a moment ago could
        change again without another time.
        """
        try:
            info = file.at.stat() if file.at else None
        except OSError:
            return ""
        if info is None or info.st_dev != self._device or info.st_ctime_ns + _SETTLED > self._now:
            return ""
        return f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_ino}"

    def _read_index(self) -> tuple[dict[str, Any], Ids]:
        try:
            table, said = sealed(self._folder / _INDEX, _INDEX)
            return said, table.column("id").to_numpy()
        except FileNotFoundError:
            pass
        except UNUSABLE as error:
            _LOG.warning("%s: cannot be used, files are judged again: %s", self._folder / _INDEX, error)
        return {"entries": {}, "versions": {}, "settled": []}, np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class _Judged:
    """A block of a file, judged by itself: its first rows, rows that are left, and what the sound ones come to."""

    head: pd.DataFrame
    left: Rows
    block: Mapping[str, Any] = field(default_factory=dict)
    since: pd.Timestamp = pd.Timestamp.max
    until: pd.Timestamp = pd.Timestamp.min
    opened: pd.Timestamp = pd.Timestamp.max
    strategies: Mapping[str, tuple[int, Fraction]] = field(default_factory=dict)
    currencies: Mapping[str, int] = field(default_factory=dict)
    suspect: frozenset[Pair] = frozenset()
    mixed: frozenset[Pair] = frozenset()

    @property
    def lots(self) -> int:
        """How many are sound."""
        return int(self.block.get("lots", 0))


def _among(numbers: Ids, ascending: Ids) -> NDArray[np.bool_]:
    """Whether each number is one of others, which ascend."""
    if not len(ascending):
        return np.zeros(len(numbers), dtype=bool)
    at = np.minimum(ascending.searchsorted(numbers), len(ascending) - 1)
    return np.asarray(ascending[at] == numbers)


def _ids(blocks: Sequence[_Block]) -> Ids:
    """Hashes of the ids of lots, ascending."""
    return ascending((block.ids() for block in blocks), sum(block.lots for block in blocks))


def _add(total: dict[str, tuple[int, Fraction]], own: Mapping[str, Sequence[Any]]) -> None:
    for name, (lots, value) in own.items():
        known, before = total.get(name, (0, Fraction(0)))
        total[name] = known + lots, before + Fraction(value)


def _hours(hours: Hours, since: np.datetime64, until: np.datetime64) -> str:
    """What there is of sessions from one to another, and of those beside them, which say what belongs to none."""
    days = hours[0]
    first, after = days.searchsorted(since), days.searchsorted(until, side="right")
    near = slice(max(first - 1, 0), after + 1)
    content = hashlib.sha256(f"{first > 0} {after < len(days)}".encode())
    for column in hours:
        content.update(column[near].tobytes())
    return content.hexdigest()


def _arrays(hours: pd.DataFrame) -> Hours:
    columns = hours.index, hours["open"], hours["close"]
    day, opens, closes = (column.to_numpy(dtype="datetime64[us]") for column in columns)
    return day, opens, closes


def _clock(folder: Path) -> tuple[int, int]:
    """What time a folder's file system shows, in nanoseconds, and which it is; nothing where none can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            info = os.fstat(file.fileno())
    except OSError:
        return 0, -1
    return info.st_ctime_ns, info.st_dev


# --- what is left of a file --------------------------------------------------------------------------------------


def _left(path: str, version: str, reading: Reading, said: Mapping[str, Any]) -> Part:
    """The part of a file that is judged with others."""
    line = np.array([line for each in said["left"] for line in each["line"]], dtype=np.intp)
    return Part(
        name=path,
        cells=_cells(said),
        line=line,
        header=said["header"],
        malformed=[(line, why, fields) for line, why, fields in said["malformed"]],
        unreadable=said["unreadable"],
        reading=reading,
        left_out=said["left_out"],
        version=version,
    )


def _cells(said: Mapping[str, Any]) -> pd.DataFrame:
    if not said["left"]:
        return _no_cells(tuple(said["columns"]))
    cells: pd.DataFrame = pd.concat(
        [pd.DataFrame(each["cells"], dtype="str") for each in said["left"]], ignore_index=True
    )
    return cells


@lru_cache(maxsize=256)
def _no_cells(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=[*columns], dtype="str")


def _said_of(left: Rows) -> dict[str, Any]:
    """Rows that are left of a block, as JSON."""
    return {
        "line": left.line.tolist(),
        "cells": _columns(left.cells),
        "typed": _columns(left.typed[[*LOT_COLUMNS]]),
        "days": _columns(left.days),
        "faults": [[*fault] for fault in left.faults],
    }


def _columns(rows: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): _plain(column) for name, column in rows.items()}


def _plain(column: pd.Series) -> list[Any]:
    """Values as JSON has them; times in microseconds, which are whole."""
    values = column.astype("int64") if column.dtype.kind == "M" else column
    return [None if null else value for value, null in zip(values.tolist(), column.isna(), strict=True)]


def _typed(said: Mapping[str, Any]) -> pd.DataFrame:
    """Rows that are left of a block, as they were read."""
    typed = dict[str, Any]()
    for name, column in LOT_COLUMNS.items():
        match column.kind:
            case "number":
                typed[name] = np.array(said[name], dtype=np.float64)
            case "time":
                typed[name] = pd.array(said[name], dtype="Int64").astype("datetime64[us]")
            case _:
                typed[name] = pd.array(said[name], dtype="str")
    return pd.DataFrame(typed)


def _rows_left(found: Sequence[_Found]) -> Rows:
    """Rows that are left of files, which were read when their other lots were set aside."""
    blocks = [each for of in found for each in of.said["left"]]
    sizes = [len(each["line"]) for each in blocks]
    begins = np.cumsum([0, *sizes]).tolist()
    typed = [_typed(each["typed"]) for each in blocks] or [_typed(dict.fromkeys(LOT_COLUMNS, ()))]
    days = [pd.DataFrame(each["days"], dtype=bool) for each in blocks] or [pd.DataFrame(columns=_TIMES, dtype=bool)]
    return Rows.of(
        "lots",
        [each.part for each in found],
        typed=pd.concat(typed, ignore_index=True),
        days=pd.concat(days, ignore_index=True),
        faults=[
            Fault(row + begin, code, detail)
            for each, begin in zip(blocks, begins, strict=False)
            for row, code, detail in each["faults"]
        ],
    )


def _head(part: Part, said: Mapping[str, Any]) -> tuple[Part, pd.DataFrame]:
    """First rows of a file, as they are written and as they were read."""
    written = pd.DataFrame(said["written"], dtype="str")
    line = np.array(said["line"], dtype=np.intp)
    return replace(part, cells=written, line=line, written=written), _typed(said["typed"])
