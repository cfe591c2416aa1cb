"""From a ledger's files to daily returns, as the library does it: CPU seconds and peak memory of a process each.

A synthetic ledger of closed lots (12 strategies, 300 symbols, 10 years, lots held up to 40 days) lies in one file, CSV
or Parquet. Measured are reading and judging its rows, bringing them into stored form with their hashes, writing them to
a DuckDB file, a million lots at a time, and the daily returns from there. Of the peak, what is mapped from files may be
taken back by the system when others need memory; what is held is the rest.

Of a ledger that gets a file a month, reading is measured as a new month comes, with the cells of the files before it
kept and without.

Of fills, FIFO matching is measured alone: 100,000 and a million of them, or 10,000.

Run ``python -m benchmarks intake [--quick]``: 10 million lots, or 20,000; ``python -m benchmarks large``: a hundred
million in ten files, a quarter of an hour; and ``python -m benchmarks months`` and ``python -m benchmarks fills``.
"""

from __future__ import annotations

import datetime as dt
import resource
import tempfile
from itertools import pairwise, product
from pathlib import Path
from threading import Event, Thread
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks.support.apart import apart
from weights_pipeline.core.returns.matching import FILL, match_fifo
from weights_pipeline.ledger import read_ledger
from weights_pipeline.ledger.periods import ledger_months
from weights_pipeline.ledger.source import load_ledger_source
from weights_pipeline.ledger.tables import lot_rows, lots_at_a_time, month_tables, other_rows, stored_return_rows
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.parts import Parts
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Prepared

# hash() of a row number and a salt gives every draw; the same version of DuckDB gives the same ledger.
LOTS = """
    WITH draws AS (
        SELECT i, 1325430000 + $begin + hash(i, 1) % $length AS closed, hash(i, 2) % (86400 * 40) AS held,
               1 + hash(i, 3) % 100000 / 100.0 AS price, (hash(i, 4) % 20001 / 10000.0 - 1) * 0.02 AS gain
        FROM range($first, $first + $lots) AS numbers(i)
    )
    SELECT 'L' || lpad(i::VARCHAR, 9, '0') AS lot_id, format('strategy_{:02d}', hash(i, 5) % 12) AS strategy,
           'SYM' || hash(i, 6) % 300 AS symbol, ['long', 'short'][1 + (hash(i, 7) % 2)::INT] AS side,
           1 + hash(i, 8) % 1000 AS quantity,
           strftime(make_timestamp((closed - held)::BIGINT * 1000000), '%Y-%m-%dT%H:%M:%SZ') AS opened_at,
           strftime(make_timestamp(closed::BIGINT * 1000000), '%Y-%m-%dT%H:%M:%SZ') AS closed_at,
           price AS open_price, round(price * (1 + gain), 4) AS close_price, 0.35 AS fees
    FROM draws ORDER BY closed
"""

LEDGER = """
name: desk
description: Synthetic closed lots.
lots: ['{files}']
timezone: UTC
first_month: 2012-01
last_month: 2021-12
"""


TEN_YEARS = 3650 * 86_400


def create(root: Path, kind: str, lots: int, files: int = 1) -> None:
    """Write a data folder with one ledger of so many files, each with as many lots and as long a time as the others."""
    _describe(root, f"*.{kind}")
    few, length = lots // files, TEN_YEARS // files
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false").fetchall()
        for number in range(files):
            drawn = {"first": number * few, "lots": few, "begin": number * length, "length": length}
            file = root / f"lots_{number}.{kind}"
            connection.execute(f"COPY ({LOTS}) TO '{file}' (FORMAT {kind})", drawn).fetchall()


def create_months(root: Path, lots: int, years: int) -> None:
    """Write a data folder with one ledger, whose every month has a file with its cells quoted, as brokers export it."""
    _describe(root, "*.csv")
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false").fetchall()
        drawn = {"first": 0, "lots": lots, "begin": 0, "length": TEN_YEARS}
        connection.execute(f"CREATE TABLE lots AS {LOTS}", drawn).fetchall()
        for year, month in product(range(2012, 2012 + years), range(1, 13)):
            key = f"{year}-{month:02}"
            of_month = f"SELECT * FROM lots WHERE closed_at LIKE '{key}%'"
            connection.execute(f"COPY ({of_month}) TO '{root / f'{key}.csv'}' (FORMAT csv, FORCE_QUOTE *)").fetchall()


def _describe(root: Path, files: str) -> None:
    (root / "ledgers").mkdir(parents=True)
    (root / "ledgers" / "desk.yaml").write_text(LEDGER.format(files=files))


def measure(root: Path) -> dict[str, float]:
    """CPU seconds of each stage, and the peaks in MB of all memory and of what is held."""
    held, over = [0.0], Event()
    watch = Thread(target=_watch, args=(held, over), daemon=True)
    watch.start()
    source, now = load_ledger_source(root / "ledgers" / "desk.yaml"), dt.datetime(2022, 2, 1, tzinfo=dt.UTC)
    windows = ledger_months(source).begun(now)
    laps = [_cpu_seconds()]
    intake = read_ledger(source, root, horizon=dt.date(2022, 1, 31), kept=root / "cells")
    laps.append(_cpu_seconds())
    store, of = DuckDBStore(root / "weights.duckdb"), {"run_id": "bench", "recorded_at": now}
    lots = [
        Prepared.of("desk", catalog.TRADE_LEDGER, lot_rows(intake, few), few, **of).laid_down(root)
        for few in lots_at_a_time(intake, windows)
    ]
    others = other_rows(intake, source, windows, now)
    tables = month_tables(source)
    beside = [Prepared.of("desk", table, others[table], windows, **of) for table in tables if table in others]
    laps.append(_cpu_seconds())
    store.commit([Prepared.joined(lots), *beside])
    del lots, beside
    laps.append(_cpu_seconds())
    with store.view():
        parts = {table: Parts(store, "desk", table, [window.key for window in windows]) for table in tables}
        stored_return_rows(parts, source, root, windows, now)
    laps.append(_cpu_seconds())
    over.set()
    watch.join()
    read, stored_form, write, returns = (after - before for before, after in pairwise(laps))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {"read": read, "stored_form": stored_form, "write": write, "returns": returns}
    return seconds | {"cpu_seconds": sum(seconds.values()), "peak_mb": peak, "held_mb": held[0]}


def measure_months(root: Path) -> dict[str, dict[str, float]]:
    """CPU seconds of reading a ledger when its month 12 comes, and its last one: with the cells of others, without."""
    source, kept, waiting = load_ledger_source(root / "ledgers" / "desk.yaml"), root / "cells", root / "waiting"
    waiting.mkdir()
    files = sorted(root.glob("*.csv"))
    for file in files:
        file.rename(waiting / file.name)
    seconds = dict[str, dict[str, float]]()
    for number, file in enumerate(files, 1):
        horizon = dt.date(*map(int, file.stem.split("-")), 28)
        (waiting / file.name).rename(file)
        if number not in (11, 12, len(files) - 1, len(files)):
            continue
        laps = [_cpu_seconds()]
        read_ledger(source, root, horizon=horizon, kept=kept)
        laps.append(_cpu_seconds())
        if number in (12, len(files)):
            read_ledger(source, root, horizon=horizon)
            laps.append(_cpu_seconds())
            seconds[f"month {number}"] = {"kept": laps[1] - laps[0], "from_nothing": laps[2] - laps[1]}
    return seconds


def _watch(largest: list[float], over: Event) -> None:
    """Note the most memory that no file backs, until it is over."""
    status = Path("/proc/self/status")
    while not over.wait(0.02):
        held = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        largest[0] = max(largest[0], int(held.split()[1]) / 1024)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure each kind of file in a process of its own, so that the peak is that of the measured work."""
    lots, found, done = 20_000 if quick else 10_000_000, [], apart(quick)
    for kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            done(create, Path(folder), kind, lots)
            measured = done(measure, Path(folder))
        found.append({"file": kind, "lots": lots} | {name: round(figure, 2) for name, figure in measured.items()})
    return found


def run_large(quick: bool = False) -> list[dict[str, Any]]:
    """Measure a hundred million lots in ten Parquet files."""
    lots, done = 20_000 if quick else 100_000_000, apart(quick)
    with tempfile.TemporaryDirectory() as folder:
        done(create, Path(folder), "parquet", lots, 10)
        measured = done(measure, Path(folder))
    return [{"file": "parquet", "lots": lots} | {name: round(figure, 2) for name, figure in measured.items()}]


def run_months(quick: bool = False) -> list[dict[str, Any]]:
    """Measure what a new month costs after eleven others and after 119; in the last row, how many times as much."""
    lots, done = 24_000 if quick else 1_200_000, apart(quick)
    with tempfile.TemporaryDirectory() as folder:
        done(create_months, Path(folder), lots, 2 if quick else 10)
        seconds: dict[str, dict[str, float]] = done(measure_months, Path(folder))
    first, last = seconds.values()
    seconds["times"] = {name: last[name] / first[name] for name in last}
    return [
        {"at": at, "lots_a_month": lots // 120} | {name: round(figure, 2) for name, figure in figures.items()}
        for at, figures in seconds.items()
    ]


def measure_fills(number: int) -> float:
    """CPU seconds of matching so many fills, amounts in hundredths, of 12 strategies in 100 symbols each."""
    rng = np.random.default_rng(7)
    strategy, symbol = rng.integers(0, 12, number), rng.integers(0, 100, number)
    fills = pd.DataFrame(
        {
            "strategy": pd.array([f"strategy_{i:02}" for i in strategy.tolist()], dtype="str"),
            "symbol": pd.array([f"SYM{i}" for i in symbol.tolist()], dtype="str"),
            "ts": np.datetime64("2012-01-02", "us") + np.sort(rng.integers(0, 3 * 10**8, number)) * 1_000_000,
            "amount": rng.choice([-1, 1], number) * rng.integers(1, 100_000, number) / 100,
            "price": rng.integers(100, 100_000, number) / 100,
            "fees": 0.35,
            "fill_id": pd.array([None] * number, dtype="str"),
            "multiplier": 1.0,
            "sequence": np.nan,
            "position": np.arange(number, dtype=float),
            "event": FILL,
        }
    )
    begun = _cpu_seconds()
    match_fifo(fills)
    return _cpu_seconds() - begun


def run_fills(quick: bool = False) -> list[dict[str, Any]]:
    """Measure FIFO matching of fills."""
    return [
        {"fills": number, "cpu_seconds": round(measure_fills(number), 2)}
        for number in ([10_000] if quick else [100_000, 1_000_000])
    ]
