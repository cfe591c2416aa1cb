"""Proof by trying: kills, many writers, a server that fails, a full disk, damaged files, two backfills at once.

Run ``python -m benchmarks.reliability [--kills 200] [--quick]``: prints what was tried and what came of it, and ends
with exit code 1 where anything was not as it has to be. Everything happens in processes and folders of its own; S3 is
moto's server on loopback, in a process of its own.

The work is that of the sample book: frames that real runs have computed from the sample ledger once, and from a
ledger with other profits before ("old" content, which a run replaces by the new). Most kills are of a process that
writes these frames through the store, table after table, over the range of months or for the last month alone; some
are of whole Dagster runs. Each is followed by a look at the store (every table readable, every partition whole, each
write there as a whole or not at all), by a run that nobody disturbs, and by a comparison of content hashes, taken
anew from the rows, with a history that nobody disturbed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import pandas as pd
from rich.console import Console
from rich.table import Table as Lines

from benchmarks import disturbed
from benchmarks.disturbed import Child, FaultyServer, Place, Step, faulty_server, undisturbed, write_all
from benchmarks.support.data import BOOK, beginning, edit_rows
from weights_pipeline.store.base import Store
from weights_pipeline.store.integrity import compared
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import PartitionRecord, Window
from weights_pipeline.tables.definition import Column, Table, Type
from weights_pipeline.tables.errors import StoreError

MONTHS = ("2012-01-01", "2012-02-01", "2012-03-01", "2012-04-01")
OF_THE_RUN = ("run_id", "recorded_at", "reason", "code_version")
"""Columns of the history that say which run, of which code, added a version, and not what it is."""

_SHOWN = 400
_Item = TypeVar("_Item")
Contents = dict[tuple[str, str, str], str]


@dataclass
class Line:
    """One line of the report: what was tried, how often, what came of it, and what should not have."""

    what: str
    tried: int = 0
    found: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


# What a store holds.


def contents(store: Store, tables: Collection[tuple[str, Table]]) -> Contents:
    """Content hash of every partition, each compared with the rows there are.

    Raises
    ------
    AssertionError
        Rows are not those that the manifest names.
    """
    found: Contents = {}
    with store.view():
        for schema, table in tables:
            altered = compared(store, schema, table).altered
            assert not altered, f"{schema}.{table.name}: {altered} are not what the manifest says"
            records = store.partitions(schema, table.name)
            found |= {(schema, table.name, key): record.content_hash for key, record in records.items()}
    return found


def of_step(found: Contents, step: Step) -> Contents:
    """Those of the partitions that a step writes."""
    keys = {window.key for window in step.windows} or {""}
    return {place: content for place, content in found.items() if place[:2] == step.place and place[2] in keys}


def as_a_whole(found: Contents, before: Contents, after: Contents, steps: Sequence[Step]) -> str:
    """What has happened of a run, given what a store held before it, holds, and will hold after it.

    Raises
    ------
    AssertionError
        A step has happened in part, or before one that precedes it.
    """
    others = found.keys() - {place for step in steps for place in of_step(found, step)}
    assert all(found[place] == before.get(place) for place in others), "partitions changed that nobody wrote"
    states = ""
    for step in steps:
        own, old, new = (of_step(held, step) for held in (found, before, after))
        assert own in (old, new), f"{step.name}: neither the old content nor the new: {own}"
        states += "" if old == new else "o" if own == old else "n"
    assert "on" not in states, f"a later step has happened before an earlier one: {states}"
    return "all old" if "n" not in states else "all new" if "o" not in states else "some tables new"


# Work to disturb.


@dataclass(frozen=True)
class Scenario:
    """A store as it is before (none where ``old`` is empty), and the steps of a run on it."""

    name: str
    old: tuple[Step, ...]
    steps: tuple[Step, ...]

    @property
    def tables(self) -> dict[tuple[str, str], tuple[str, Table]]:
        return {step.place: (step.schema, step.table) for step in (*self.old, *self.steps)}

    def only(self, step: Step) -> Scenario:
        """The same for one table alone."""
        old = tuple(own for own in self.old if own.place == step.place)
        return Scenario(f"{self.name} {step.name}", old, (step,))


class Ground:
    """Stores to be destroyed: DuckDB files in folders of their own, or prefixes of a server."""

    def __init__(self, folder: Path, server: FaultyServer | None) -> None:
        self._folder, self._server, self._numbers = folder, server, count()
        self._bases: dict[str, Path] = {}

    @contextmanager
    def store(self, scenario: Scenario) -> Iterator[Place]:
        """A store in the state that a scenario begins with."""
        if self._server is not None:
            place = self._server.place()
            write_all(place, scenario.old)
            yield place
            return
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        place = Place(folder / "weights.duckdb")
        if scenario.old:
            if scenario.name not in self._bases:
                self._bases[scenario.name] = self._folder / f"base{len(self._bases)}.duckdb"
                write_all(Place(self._bases[scenario.name]), scenario.old)
            shutil.copy(self._bases[scenario.name], folder / "weights.duckdb")
        yield place
        shutil.rmtree(folder)

    def expected(self, scenario: Scenario) -> tuple[Contents, Contents]:
        """What a store holds before and after a run that nobody disturbs."""
        with self.store(scenario) as place:
            before = contents(place.open(), scenario.tables.values())
            undisturbed(write_all, place, scenario.steps)
            return before, contents(place.open(), scenario.tables.values())


Kill = Callable[[Place, Scenario], int]
"""Disturbs a process that does the steps of a scenario: 0 where it was killed in time."""

AimedKill = Callable[[int, Place, Scenario], int]
"""Kills at the n-th step of a kind: 0, or how many steps the process took in all."""


def at_file_call(number: int, place: Place, scenario: Scenario) -> int:
    assert place.file is not None
    return disturbed.killed_at_file_call(number, place.file.parent, write_all, place, scenario.steps)


def at_request(number: int, place: Place, scenario: Scenario) -> int:
    """Odd numbers: in place of a request; even ones: as soon as it is answered."""
    return 2 * disturbed.killed_at_request((number + 1) // 2, number % 2 == 0, write_all, place, scenario.steps)


def at_instant(seconds: float, place: Place, scenario: Scenario) -> int:
    return 0 if disturbed.killed_after(seconds, write_all, place, scenario.steps) else 1


def survives(
    ground: Ground, scenario: Scenario, expected: tuple[Contents, Contents], kill: Kill, where: str, line: Line
) -> None:
    """Kill a run, look, run again, look again."""
    before, after = expected
    with ground.store(scenario) as place:
        if kill(place, scenario):
            line.found["too late"] += 1
            return
        line.tried += 1
        try:
            store, tables = place.open(), scenario.tables.values()
            line.found[as_a_whole(contents(store, tables), before, after, scenario.steps)] += 1
            write_all(place, scenario.steps)
            assert contents(store, tables) == after, "the next run gave another content than an undisturbed one"
            for schema, table in tables:
                if table.kept:
                    held = {key: content for (*own, key), content in before.items() if own == [schema, table.name]}
                    store.read_known(schema, table, held)
        except Exception as error:
            line.wrong.append(f"{scenario.name}, killed {where}: {type(error).__name__}: {str(error)[:_SHOWN]}")


def spread(items: Sequence[_Item], number: int) -> list[_Item]:
    """So many items, evenly from first to last."""
    return [items[int(turn * len(items) / number)] for turn in range(number)] if number < len(items) else list(items)


def aimed_kills(ground: Ground, scenarios: Sequence[Scenario], at: AimedKill, number: int, what: str) -> Line:
    """Kill at every step of single writes, or at as many of them as there are to be kills, evenly chosen.

    The choice is made from the first steps of all scenarios, then their second steps, and so on.
    """
    line, started, steps = Line(what), time.monotonic(), {}
    for scenario in scenarios:
        with ground.store(scenario) as place:
            steps[scenario.name] = at(0, place, scenario)
    places = [(n, s) for n in range(1, max(steps.values()) + 1) for s in scenarios if n <= steps[s.name]]
    expected: dict[str, tuple[Contents, Contents]] = {}
    for step, scenario in spread(places, number):
        if scenario.name not in expected:
            expected[scenario.name] = ground.expected(scenario)

        def kill(place: Place, own: Scenario, step: int = step) -> int:
            return at(step, place, own)

        survives(ground, scenario, expected[scenario.name], kill, f"at step {step}", line)
    line.what += f", at {min(number, len(places))} of {len(places)} steps of {len(scenarios)} writes"
    line.seconds = time.monotonic() - started
    return line


def timed_kills(ground: Ground, scenario: Scenario, number: int, what: str) -> Line:
    """Kill at instants spread evenly over a run of all tables."""
    line, started = Line(what), time.monotonic()
    expected = ground.expected(scenario)
    with ground.store(scenario) as place:
        whole = undisturbed(write_all, place, scenario.steps)
    for turn in range(number):
        instant = whole * (turn + 0.5) / number

        def kill(place: Place, own: Scenario, instant: float = instant) -> int:
            return at_instant(instant, place, own)

        survives(ground, scenario, expected, kill, f"after {instant:.3f} s", line)
    line.seconds = time.monotonic() - started
    return line


# The sample, computed once.


def month(key: str) -> Window:
    """Window of a month of the sample, whose exchange is in New York."""
    start = dt.datetime.fromisoformat(key).replace(tzinfo=ZoneInfo("America/New_York"))
    end = (start + dt.timedelta(days=32)).replace(day=1)
    return Window(key, start, end, first=start.date(), after=end.date(), settled=end)


def sample(data: Path, *, other_profits: bool = False) -> Path:
    """The first months of the sample with one book; the earlier ledger has other profits."""
    beginning(data, MONTHS[-1][:7])
    if other_profits:
        for file in (data / "sample" / "lots").glob("*.csv"):
            edit_rows(file, lambda row: row | {"pnl": str(float(row["pnl"] or 0) - 1000)})
    return data


def steps_of(store: Store, order: Sequence[str]) -> list[Step]:
    """Everything that a store holds, as the steps of a run that writes it."""
    steps = []
    for schema, name in sorted(store.tables(), key=lambda pair: order.index(pair[1])):
        table = catalog.TABLES[name]
        windows = tuple(month(key) for key in store.partitions(schema, name) if table.time_column is not None)
        added = name in ("weight_history", "weight_documents")
        steps.append(Step(schema, table, store.read(schema, table), windows, added))
    return steps


def of_month(step: Step, key: str) -> Step:
    """The same for one month alone."""
    if step.table.time_column is None:
        return step
    window = month(key)
    days = step.rows[step.table.time_column]
    inside = (days >= pd.Timestamp(window.first)) & (days < pd.Timestamp(window.after))
    return replace(step, rows=step.rows[inside].reset_index(drop=True), windows=(window,))


def scenarios_of(old: Sequence[Step], new: Sequence[Step]) -> list[Scenario]:
    """A range over old content, the same on an empty store, and a single month over old content."""
    steps = []
    for step in new:
        rows = step.rows
        if step.table is catalog.WEIGHT_HISTORY:
            there = next(own.rows for own in old if own.place == step.place)
            rows = rows.assign(version=rows["version"] + there["version"].max())
        steps.append(replace(step, rows=rows))
    return [
        Scenario("range", tuple(old), tuple(steps)),
        Scenario("single", tuple(old), tuple(of_month(step, MONTHS[-1]) for step in steps)),
        Scenario("first", (), tuple(steps)),
    ]


# Real runs.


@dataclass(frozen=True)
class Desk:
    """A data folder, a home, and the store of its real runs."""

    data: Path
    home: Path
    place: Place

    def run(self, first: str = MONTHS[0], last: str = MONTHS[-1]) -> tuple[object, ...]:
        """Arguments of a backfill of this desk."""
        url = "" if self.place.file else f"s3://{self.place.bucket}/{self.place.prefix}"
        return self.data, self.home, url, dict(self.place.variables), BOOK, first, last

    def contents(self) -> tuple[Contents, pd.DataFrame]:
        """What the store holds, and the history but for what says which run it was."""
        store = self.place.open()
        tables = [(schema, catalog.TABLES[name]) for schema, name in store.tables()]
        found = contents(store, tables)
        history = store.read(BOOK, catalog.WEIGHT_HISTORY).drop(columns=list(OF_THE_RUN))
        return {place: content for place, content in found.items() if place[1] != "weight_history"}, history


class Desks:
    """Desks with a store in the state that real runs begin with."""

    def __init__(self, folder: Path, data: Path, base: Path, old: Sequence[Step], server: FaultyServer | None) -> None:
        self._folder, self._data, self._base, self._old, self._server = folder, data, base, old, server
        self._numbers = count()

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        home = self._folder / f"desk{next(self._numbers)}"
        home.mkdir(parents=True)
        if self._server is not None:
            place = self._server.place()
            write_all(place, self._old)
        else:
            place = Place(home / "weights.duckdb")
            shutil.copy(self._base, home / "weights.duckdb")
        yield Desk(self._data, home, place)
        shutil.rmtree(home)


def killed_runs(desks: Desks, number: int, what: str) -> Line:
    """Kill whole Dagster runs, at instants spread evenly over them; every second one is of the last month alone."""
    line, started = Line(what), time.monotonic()
    for first in (MONTHS[0], MONTHS[-1]):
        with desks.desk() as desk:
            before = desk.contents()
            whole = undisturbed(disturbed.backfill, *desk.run(first))
            after = desk.contents()
        own = (number + (first == MONTHS[0])) // 2
        for turn in range(own):
            instant = whole * (turn + 0.5) / own
            with desks.desk() as desk:
                if not disturbed.killed_after(instant, disturbed.backfill, *desk.run(first)):
                    line.found["too late"] += 1
                    continue
                line.tried += 1
                try:
                    found, _ = desk.contents()
                    for table in {place[:2] for place in found}:
                        held, old, new = (
                            {place: content for place, content in of.items() if place[:2] == table}
                            for of in (found, before[0], after[0])
                        )
                        assert held in (old, new), f"{table}: neither the old content nor the new"
                    line.found["all old" if found == before[0] else "all new" if found == after[0] else "some new"] += 1
                    undisturbed(disturbed.backfill, *desk.run(first))
                    _require_equal(desk.contents(), after)
                except Exception as error:
                    line.wrong.append(
                        f"run from {first}, killed after {instant:.2f} s: {type(error).__name__}: {str(error)[:_SHOWN]}"
                    )
    line.seconds = time.monotonic() - started
    return line


def _require_equal(found: tuple[Contents, pd.DataFrame], expected: tuple[Contents, pd.DataFrame]) -> None:
    differing = sorted(place for place, content in found[0].items() ^ expected[0].items())
    assert not differing, f"differs from an undisturbed run: {differing[:5]}"
    pd.testing.assert_frame_equal(found[1], expected[1], check_exact=True)


def two_backfills(desks: Desks, what: str) -> Line:
    """Two real runs of one range at once."""
    line, started = Line(what), time.monotonic()
    with desks.desk() as desk:
        undisturbed(disturbed.backfill, *desk.run())
        expected = desk.contents()
    with desks.desk() as desk:
        _at_once([Child.of(disturbed.backfill, *desk.run()) for _ in range(2)], line)
        _check(line, lambda: _require_equal(desk.contents(), expected), "as one run")
    line.seconds = time.monotonic() - started
    return line


def two_writers(ground: Ground, scenario: Scenario, rounds: int, what: str) -> Line:
    """Two processes that write the same range through the store at once."""
    line, started = Line(what), time.monotonic()
    _, after = ground.expected(scenario)
    for _ in range(rounds):
        with ground.store(scenario) as place:
            _at_once([Child.of(write_all, place, scenario.steps) for _ in range(2)], line)

            def equal(place: Place = place) -> None:
                assert contents(place.open(), scenario.tables.values()) == after, "not the content of one run"

            _check(line, equal, "as one run")
    line.seconds = time.monotonic() - started
    return line


def _at_once(children: Sequence[Child], line: Line) -> None:
    line.tried += 1
    for child in children:
        child.begin()
    for child in children:
        code, said = child.end()
        if code != 0:
            line.wrong.append(f"a process failed: exit code {code}, {said}")


def _check(line: Line, question: Callable[[], object], found: str) -> None:
    try:
        question()
        line.found[found] += 1
    except Exception as error:
        line.wrong.append(f"{type(error).__name__}: {str(error)[:_SHOWN]}")


# Many processes on one store.

SHARED = Table(
    name="shared",
    description="Partitions of many writers.",
    columns=(
        Column("day", Type.DATE, "day"),
        Column("name", Type.TEXT, "name"),
        Column("value", Type.FLOAT, "Turn of the writer, the same in all rows."),
        Column("rows", Type.INTEGER, "How many rows there are."),
    ),
    key=("day", "name"),
    time_column="day",
)
COUNTER = Table(
    name="counter",
    description="What all have counted together.",
    columns=(Column("name", Type.TEXT, "name"), Column("count", Type.INTEGER, "count")),
    key=("name",),
    time_column=None,
)


def many_writers(place: Place, folder: Path, seconds: float, what: str, processes: int = 8) -> Line:
    """Processes that write own partitions, count in a shared table, and read what all have written."""
    line, started = Line(what), time.monotonic()
    folder.mkdir(parents=True)
    until = time.time() + seconds
    told = [folder / str(number) for number in range(processes)]
    children = [
        Child.of(disturbed.keep_writing, place, number, SHARED, COUNTER, until, told[number])
        for number in range(processes)
    ]
    _at_once(children, line)
    line.tried = processes

    def nothing_lost() -> None:
        ends = [[int(figure) for figure in file.read_text().split()] for file in told]
        store = place.open()
        assert len(contents(store, [("many", SHARED), ("many", COUNTER)])) == processes + 1
        counted = store.read("many", COUNTER)["count"].tolist()
        assert counted == [sum(end[0] for end in ends)], f"counted {counted}, done {[end[0] for end in ends]}"
        rows = store.read("many", SHARED, columns=["partition_key", "value"]).groupby("partition_key")["value"]
        assert rows.first().tolist() == [end[0] for end in ends], "a last write is missing"
        assert rows.size().tolist() == [end[2] for end in ends], "rows are missing"
        line.found["writes"] += 2 * sum(end[0] for end in ends)
        line.found["reads"] += sum(end[1] for end in ends)

    _check(line, nothing_lost, "nothing lost")
    line.seconds = time.monotonic() - started
    return line


# A server that fails.


def faulty_requests(server: FaultyServer, scenarios: Sequence[Scenario], rounds: int, what: str) -> Line:
    """One request in ten fails; what is stored in the end, and read meanwhile, is the same."""
    line, started = Line(what), time.monotonic()
    ground = Ground(Path(), server)
    for scenario in scenarios:
        _, calm = ground.expected(scenario)
        for turn in range(rounds):
            with ground.store(scenario) as place:
                line.tried += 1
                server.faults(0.1, seed=turn + 1)

                def same(place: Place = place, own: Scenario = scenario, calm: Contents = calm) -> None:
                    undisturbed(write_all, place, own.steps)
                    assert contents(place.open(), own.tables.values()) == calm, (
                        "not the content of a run without faults"
                    )

                _check(line, same, "identical")
                line.found.update({f"× {kind}": n for kind, n in server.faults(0).items()})
    line.seconds = time.monotonic() - started
    return line


# A disk without space.


def full_disk(folder: Path, scenario: Scenario, spaces: Sequence[int], what: str, *, mounted: bool) -> Line:
    """Write with less and less space: all or nothing, an error in words, and the same content once there is space."""
    line, started = Line(what), time.monotonic()
    for space in spaces:
        own = folder / f"space{space}{mounted}"
        own.mkdir(parents=True)
        child = Child.of(_short_of_space, own, scenario, space, mounted)
        child.begin()
        code, said = child.end()
        shutil.rmtree(own)
        if said.startswith("OSError") and mounted:
            line.found[f"not permitted on this machine ({said})"] = 1
            break
        line.tried += 1
        if code == 0:
            line.found[said] += 1
        else:
            line.wrong.append(f"{space} bytes: exit code {code}, {said}")
    line.seconds = time.monotonic() - started
    return line


def _short_of_space(folder: Path, scenario: Scenario, space: int, mounted: bool) -> str:
    """Fill the disk but for some bytes, or limit files to them; write, look, make room, write again."""
    if mounted:
        disturbed.mount_small_disk(folder, 64 << 20)
    tables = scenario.tables.values()
    (calm, _), (file, place) = ((own := folder / f"{name}.duckdb", Place(own)) for name in ("calm", "weights"))
    write_all(Place(calm), scenario.old)
    shutil.copy(calm, file)
    write_all(Place(calm), scenario.steps)
    store, after = place.open(), contents(Place(calm).open(), tables)
    before, said = contents(store, tables), ""
    with disturbed.no_more_than(space, file, fill=mounted):
        try:
            write_all(place, scenario.steps)
        except StoreError as error:
            said = str(error)
            assert "Free space" in said, said
        state = as_a_whole(contents(store, tables), before, after, scenario.steps)
    assert said or state == "all new", f"no error, and not written either: {state}"
    write_all(place, scenario.steps)
    assert contents(store, tables) == after, "the next run gave another content than an undisturbed one"
    return f"refused in words, {state}" if said else "there was room, all new"


# Damaged files and objects.


def damaged_file(folder: Path, scenario: Scenario, number: int, what: str) -> Line:
    """Flip single bits all over a DuckDB file, its headers above all, and cut it short."""
    folder.mkdir(parents=True)
    file = folder / "weights.duckdb"
    write_all(Place(file), scenario.old)
    write_all(Place(file), scenario.steps)
    size, dice = file.stat().st_size, random.Random(1)
    header = 3 * 4096
    places = [*spread(range(header), number // 3), *sorted(dice.sample(range(header, size), number - number // 3))]
    cuts = [0, 1, 4096, header - 1, header, header + 1, *spread(range(header, size), number // 10), size - 1]
    damages = [(place, 1 << dice.randrange(8)) for place in places] + [(cut, 0) for cut in cuts]
    return _damaged(file, file, scenario, damages, what)


def damaged_log(folder: Path, scenario: Scenario, number: int, what: str) -> Line:
    """The same for the write-ahead log that a process leaves which was killed right after its commit."""
    folder.mkdir(parents=True)
    file, log = folder / "weights.duckdb", folder / "weights.duckdb.wal"
    step, ground = scenario.only(scenario.steps[0]), Ground(folder, None)
    before, _ = ground.expected(step)
    for number_of_call in count(1):
        with ground.store(step) as place:
            assert place.file is not None
            assert not at_file_call(number_of_call, place, step), "no log was left"
            if contents(place.open(), step.tables.values()) != before:
                shutil.copy(place.file, file)
                shutil.copy(place.file.with_name(log.name), log)
                break
    size, dice = log.stat().st_size, random.Random(2)
    damages = [(place, 1 << dice.randrange(8)) for place in spread(range(size), number)]
    damages += [(cut, 0) for cut in spread(range(size), number // 4)]
    return _damaged(file, log, step, damages, what)


def _damaged(file: Path, hurt: Path, scenario: Scenario, damages: Sequence[tuple[int, int]], what: str) -> Line:
    line, started, at = Line(what), time.monotonic(), 0
    told, whole = file.with_suffix(".told"), hurt.read_bytes()
    while at < len(damages):
        hurt.write_bytes(whole)
        told.write_text("")
        child = Child.of(_read_damaged, file, hurt, scenario, damages[at:], told)
        child.begin()
        code, said = child.end()
        lines = told.read_text().splitlines()
        for (place, bit), outcome in zip(damages[at:], lines, strict=False):
            line.tried += 1
            if outcome.startswith("!"):
                line.wrong.append(f"{f'bit {bit} of byte {place}' if bit else f'cut at {place}'}: {outcome[1:]}")
            else:
                line.found[outcome] += 1
        at += len(lines)
        if at < len(damages):
            line.tried, at = line.tried + 1, at + 1
            line.found["reader crashed"] += 1
            line.wrong.append(f"damage {damages[at - 1]}: the reader ended with {code}, {said}")
    line.seconds = time.monotonic() - started
    return line


def _read_damaged(file: Path, hurt: Path, scenario: Scenario, damages: Sequence[tuple[int, int]], told: Path) -> None:
    """Read a store file with each damage alone, and tell what came of it line by line."""
    whole = hurt.read_bytes()
    store, tables = Place(file).open(), list(scenario.tables.values())
    rightly = [(_all_of(store, tables), "content right")]
    if hurt != file:
        # A log that seems to end early is what a process leaves that dies in a commit: nobody was told of success.
        hurt.unlink()
        rightly.append((_all_of(store, tables), "content before the commit"))
    for place, bit in damages:
        hurt.write_bytes(whole[:place] + (bytes([whole[place] ^ bit]) + whole[place + 1 :] if bit else b""))
        outcome = _outcome(lambda: _all_of(store, tables), rightly)
        with told.open("a") as stream:
            stream.write(outcome.replace("\n", " ") + "\n")


def _outcome(read: Callable[[], object], rightly: Sequence[tuple[object, str]]) -> str:
    """What comes of reading something damaged, given what may come of it; with a "!" where it is wrong."""
    try:
        found = read()
    except StoreError:
        return "refused in words"
    except AssertionError:
        return "rows are not those of the manifest"
    except Exception as error:
        return f"!refused, but not in words: {type(error).__name__}: {str(error)[:_SHOWN]}"
    return next((what for right, what in rightly if found == right), "!other content, and nobody noticed")


def _all_of(store: Store, tables: Sequence[tuple[str, Table]]) -> tuple[Contents, list[dict[str, PartitionRecord]]]:
    """All that a store says: contents of rows, and the whole of the manifest."""
    with store.view():
        return contents(store, tables), [store.partitions(schema, table.name) for schema, table in tables]


def damaged_objects(server: FaultyServer, scenario: Scenario, number: int, what: str) -> Line:
    """Flip single bits all over the objects of a small store in S3, cut them short, and delete them."""
    from weights_pipeline.store.s3_store import S3Store

    line, started, dice = Line(what), time.monotonic(), random.Random(3)
    with Ground(Path(), server).store(scenario) as place:
        write_all(place, scenario.steps)
        store, tables = place.open(), list(scenario.tables.values())
        assert isinstance(store, S3Store)

        def read() -> object:
            return _all_of(store, tables), store.tables()

        right = [(read(), "content right")]
        client = store.objects.client
        listed = client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix)["Contents"]
        current = set(contents(store, tables).values())
        names = [n for entry in listed if not (n := entry["Key"]).endswith(".parquet") or Path(n).stem in current]
        for name in names:
            whole = client.get_object(Bucket=place.bucket, Key=name)["Body"].read()
            hurt: list[bytes | None] = [None, b"", whole[: len(whole) // 2], whole[:-1]]
            for at in spread(range(len(whole)), number // len(names)):
                hurt.append(whole[:at] + bytes([whole[at] ^ (1 << dice.randrange(8))]) + whole[at + 1 :])
            for content in hurt:
                if content is None:
                    client.delete_object(Bucket=place.bucket, Key=name)
                else:
                    client.put_object(Bucket=place.bucket, Key=name, Body=content)
                line.tried += 1
                outcome = _outcome(read, right)
                # A manifest or an index that is not there is that of a table, or a store, that was never written.
                if content is None and name.endswith(".json"):
                    outcome = "deleted, reads as never written"
                if outcome.startswith("!"):
                    line.wrong.append(f"{name} {'deleted' if content is None else len(content)}: {outcome[1:]}")
                else:
                    line.found[outcome] += 1
            client.put_object(Bucket=place.bucket, Key=name, Body=whole)
    line.seconds = time.monotonic() - started
    return line


# The report.


def lines(kills: int, quick: bool, folder: Path, server: FaultyServer) -> Iterator[Line]:
    """Everything that is tried, one after the other."""
    runs = max(2, kills // 10)
    desks, order = [], list(catalog.TABLES)
    for name, other in (("old", True), ("new", False)):
        home = folder / name
        home.mkdir()
        desks.append(Desk(sample(folder / f"{name}_data", other_profits=other), home, Place(home / "weights.duckdb")))
        undisturbed(disturbed.backfill, *desks[-1].run())
    old, new = (steps_of(desk.place.open(), order) for desk in desks)
    scenarios = scenarios_of(old, new)
    single = [scenario.only(step) for scenario in scenarios for step in scenario.steps]
    if quick:
        single = spread(single, 6)
    grounds = {"DuckDB": Ground(folder / "stores", None), "S3": Ground(folder, server)}
    real = {"DuckDB": None, "S3": server}
    aims = {"DuckDB": (at_file_call, "file calls"), "S3": (at_request, "requests")}
    for kind, ground in grounds.items():
        at, what = aims[kind]
        timed = max(3, kills * 15 // 100)
        own = kills // 2 - timed
        if kind == "S3" or disturbed.CAN_TRACE:
            yield aimed_kills(ground, single, at, own, f"{kind}: writer killed at its {what}")
        for scenario in scenarios:
            amount = -(-timed // len(scenarios))
            yield timed_kills(ground, scenario, amount, f"{kind}: writer of all tables killed in time, {scenario.name}")
    for kind, on in real.items():
        made = Desks(folder / f"runs_{kind}", desks[1].data, desks[0].place.file or folder, old, on)
        yield killed_runs(made, -(-runs // 2), f"{kind}: Dagster run killed in time")
    seconds = 10 if quick else 60
    yield many_writers(
        Place(folder / "many" / "weights.duckdb"),
        folder / "many",
        seconds,
        f"DuckDB: 8 processes at once for {seconds} s",
    )
    yield many_writers(
        server.place(), folder / "many_s3", seconds / 2, f"S3: 8 processes at once for {seconds / 2:g} s"
    )
    chosen = scenarios[1:2] if quick else scenarios
    yield faulty_requests(
        server, chosen, 1 if quick else 3, "S3: one request in ten fails (500, 503, reset, lost, cut)"
    )
    spaces = [0, 4096, 16 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20]
    for mounted, what in ((True, "DuckDB: full disk (tmpfs)"), (False, "DuckDB: file size limit (RLIMIT_FSIZE)")):
        yield full_disk(folder / "space", scenarios[0], spaces, what, mounted=mounted)
    flips = 60 if quick else 600
    yield damaged_file(folder / "damaged", scenarios[0], flips, "DuckDB: file with a flipped bit, or cut short")
    if disturbed.CAN_TRACE:
        yield damaged_log(folder / "log", scenarios[0], flips // 3, "DuckDB: the same for its write-ahead log")
    small = [scenarios[1].only(step) for step in scenarios[1].steps if step.table.name in ("metrics", "weight_history")]
    for scenario in small:
        yield damaged_objects(server, scenario, flips // 2, f"S3: the same for its objects, {scenario.steps[0].name}")
    for kind, on in real.items():
        made = Desks(folder / f"twice_{kind}", desks[1].data, desks[0].place.file or folder, old, on)
        yield two_backfills(made, f"{kind}: two Dagster backfills of a range at once")
        yield two_writers(grounds[kind], scenarios[0], 2 if quick else 5, f"{kind}: two writers of a range at once")


def main() -> int:
    """Try everything, print what came of it, and tell whether it was as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="kills of writers; a tenth as many of Dagster runs")
    parser.add_argument("--quick", action="store_true", help="a fifth of the kills and less of everything else")
    options = parser.parse_args()
    kills = options.kills // 5 if options.quick else options.kills
    disturbed.preload("weights_pipeline.orchestration.runs", "rich.table")
    console, table = Console(width=170), Lines(title="reliability", title_justify="left")
    for column in ("what", "tried", "what came of it", "wrong", "seconds"):
        table.add_column(column)
    done: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="reliability") as folder, faulty_server() as server:
        for line in lines(kills, options.quick, Path(folder), server):
            done.append(line)
            found = ", ".join(f"{n} {outcome}" for outcome, n in line.found.most_common())
            table.add_row(line.what, str(line.tried), found, str(len(line.wrong)), f"{line.seconds:.0f}")
            print(f"{line.what}: {line.tried} tried, {found}; {len(line.wrong)} wrong", file=sys.stderr, flush=True)
            for wrong in line.wrong:
                print(f"  {wrong}", file=sys.stderr, flush=True)
    console.print(table)
    killed = [line for line in done if "killed" in line.what]
    runs = sum(line.tried for line in killed if "Dagster" in line.what)
    console.print(f"{sum(line.tried for line in killed) - runs} kills of writers, {runs} of whole Dagster runs")
    failures = sum(len(line.wrong) for line in done)
    console.print("nothing was lost, and nothing was wrong" if not failures else f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
