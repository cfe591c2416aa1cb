"""What a person waits for: processor time of whole commands, against that of importing DuckDB, which they all need.

The store is written from a simulation on synthetic returns: as many rebalances and strategies as the sample has.
"""

import datetime as dt
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.bench_simulate import book, market
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.simulate import simulate
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window, no_rows

BOOK, LEDGER = "bench", "bench_ledger"
NOW = dt.datetime(2024, 3, 8, 15, 30, tzinfo=dt.UTC)
BASELINE = "import duckdb"
AIM = "≤ 1.4"


def desk(home: Path, months: int) -> None:
    """Write the store of a book with an allocator, and a folder of data that names nothing."""
    (home / "data").mkdir()
    returns, as_of, calendar = market(16, months)
    history = ReturnHistory.from_arrays(returns.to_numpy(), returns.index, list(returns.columns))
    tables = simulate(history, as_of, calendar, book(16, AllocatorParameters())).tables()
    tables["final_weights"] = tables["final_weights"].assign(next_rebalance="2024-04-01T06:30-04:00")
    store = DuckDBStore(home / "weights.duckdb")
    starts = as_of.to_period("M").to_timestamp().as_unit("us")
    windows = [
        Window(f"{start:%Y-%m-%d}", start, end, start.date(), end.date(), end)
        for start, end in zip(starts, [*starts[1:], starts[-1] + pd.DateOffset(months=1)], strict=True)
    ]
    daily = returns.stack().rename_axis(["session", "strategy"]).rename("daily_return").reset_index()
    tables["strategy_returns"] = daily.assign(pnl=0.0, capital=1.0, closed_lots=0, winning_lots=0, active=True)
    tables["ledger_findings"] = no_rows(catalog.LEDGER_FINDINGS)
    for name in ("target_weights", "realized_weights", "final_weights", "strategy_returns", "ledger_findings"):
        table = catalog.TABLES[name]
        schema = LEDGER if name in ("strategy_returns", "ledger_findings") else BOOK
        store.write(schema, table, tables[name], windows if table.time_column else (), run_id="bench", recorded_at=NOW)


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Processor time of a command that works, with all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results: medians of processes that take turns, and their ratio to the import."""
    python = [sys.executable, "-c"]
    weights = [*python, "from weights_pipeline.cli import main; main()"]
    commands = {
        BASELINE: [*python, BASELINE],
        "weights show": [*weights, "show"],
        "weights --version": [*weights, "--version"],
        "weights show --help": [*weights, "show", "--help"],
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        desk(home, 13 if quick else 132)
        environment = os.environ | {"WEIGHTS_DATA": str(home / "data"), "WEIGHTS_HOME": str(home)}
        for command in commands.values():  # once, so that what is compiled is compiled
            seconds(command, environment)
        timed = [
            {what: seconds(command, environment) for what, command in commands.items()}
            for _ in range(1 if quick else 15)
        ]
    median = {what: statistics.median(each[what] for each in timed) for what in commands}
    return [
        {"what": what, "cpu_s": cpu, "ratio": cpu / median[BASELINE], "aim": AIM if what == "weights show" else ""}
        for what, cpu in median.items()
    ]
