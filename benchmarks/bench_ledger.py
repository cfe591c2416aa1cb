"""Ledger to daily returns at scale, against the least a database can do with the same columns.

A synthetic ledger (12 strategies, 11 years of sessions, lots held up to 40 sessions) lies in a DuckDB file
in the order of its key, as the store writes it. Measured are the read of the needed columns with strategies
and sessions coded in SQL, the computation on arrays, and, as the floor, a bare scan that sums and counts
the same columns.

Run ``python benchmarks/bench_ledger.py [--quick]``: 10 million lots, or 200,000.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks.support.apart import apart
from weights_pipeline.core.returns.capital import AveragePositionValue
from weights_pipeline.core.returns.daily import DailyArrays, daily_return_arrays
from weights_pipeline.core.returns.lot_arrays import LotArrays

STRATEGIES = tuple(f"strategy_{number:02d}" for number in range(12))
SESSIONS = pd.bdate_range("2012-01-02", periods=2770)

# hash() of a row number and a salt gives every draw; the same version of DuckDB gives the same ledger.
CREATE = """
CREATE TABLE lots AS
WITH draws AS (
    SELECT i, hash(i, 1) % $strategies AS strategy, hash(i, 2) % $sessions AS closed, hash(i, 3) % 40 AS held,
           1000 + hash(i, 4) % 1000000 / 100.0 AS entry_value, (hash(i, 5) % 20001 / 10000.0 - 1) * 0.02 AS
           gain
    FROM range($lots) AS numbers(i)
)
SELECT 'L' || lpad(i::VARCHAR, 9, '0') AS lot_id, format('strategy_{:02d}', strategy) AS strategy, c.session,
       o.session AS open_session, entry_value, round(entry_value * gain, 2) AS pnl, NULL::DOUBLE AS
       margin_used
FROM draws
JOIN calendar AS c ON c.position = closed
JOIN calendar AS o ON o.position = greatest(closed::BIGINT - held::BIGINT, 0)
ORDER BY c.session, strategy, lot_id
"""

SCAN = """
SELECT count(strategy), count(session), count(open_session), count(margin_used), sum(entry_value), sum(pnl)
FROM lots
"""

READ = """
SELECT (list_position($strategies, strategy) - 1)::TINYINT AS strategy, (session - $first)::SMALLINT AS
session,
       (open_session - $first)::SMALLINT AS open_session, entry_value, pnl,
       coalesce(margin_used != 0, true) AS uses_margin
FROM lots
"""


def create(file: Path, lots: int) -> None:
    """Write the synthetic ledger."""
    calendar = pd.DataFrame({"position": np.arange(len(SESSIONS)), "session": SESSIONS.date})
    with duckdb.connect(str(file)) as connection:
        connection.register("days", calendar)
        connection.execute("CREATE TEMP TABLE calendar AS SELECT position, session::DATE AS session FROM days")
        numbers = {"strategies": len(STRATEGIES), "sessions": len(SESSIONS), "lots": lots}
        connection.execute(CREATE, numbers).fetchall()


def scan(file: Path) -> Any:
    """Touch every value of the columns that returns are made of."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(SCAN).fetchall()


def read(file: Path) -> LotArrays:
    """Read the ledger as coded arrays, in stored order."""
    first = SESSIONS[0].date()
    with duckdb.connect(str(file), read_only=True) as connection:
        table = connection.sql(READ, params={"strategies": list(STRATEGIES), "first": first}).to_arrow_table()
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    day = (SESSIONS - SESSIONS[0]).days.to_numpy()
    position = np.full(day[-1] + 1, -1, dtype=np.int16)
    position[day] = np.arange(len(day))
    for name in ("session", "open_session"):
        columns[name] = position[columns[name]]
    return LotArrays(
        strategies=STRATEGIES,
        sessions=SESSIONS,
        **columns,
        states_margin=np.zeros(table.num_rows, dtype=bool),
        from_fills=np.zeros(table.num_rows, dtype=bool),
    )


def compute(lots: LotArrays) -> DailyArrays:
    """Daily returns under the default policy."""
    return daily_return_arrays(lots, AveragePositionValue())


def measure(file: Path, rounds: int) -> dict[str, float]:
    """Median seconds of each stage, and the peak memory of the process in MB."""

    def median(stage: Callable[[], object]) -> float:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            stage()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    seconds = {"scan": median(lambda: scan(file)), "read": median(lambda: read(file))}
    lots = read(file)
    seconds["compute"] = median(lambda: compute(lots))
    return seconds | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure the stages; one row each, with its ratio to the bare scan.

    Creation and measurement have a process each, so that the peak memory is that of the measured work.
    """
    size, rounds = (20_000, 1) if quick else (10_000_000, 5)
    done = apart(quick)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.duckdb"
        done(create, file, size)
        found = done(measure, file, rounds)
    stages = {
        "bare scan": found["scan"],
        "read coded arrays": found["read"],
        "compute daily returns": found["compute"],
        "ledger to daily returns": found["read"] + found["compute"],
    }
    return [
        {
            "stage": stage,
            "lots": size,
            "seconds": round(seconds, 4),
            "ratio_to_scan": round(seconds / found["scan"], 1),
            "peak_mb": round(found["peak_mb"]),
        }
        for stage, seconds in stages.items()
    ]
