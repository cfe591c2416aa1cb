"""Run benchmarks and print a table of each: medians and ratios, their commit, and how busy the machine was."""

import argparse
import json
import resource
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks import (
    bench_allocator,
    bench_chain,
    bench_decide,
    bench_engine,
    bench_intake,
    bench_ledger,
    bench_metrics,
    bench_optimise,
    bench_report,
    bench_simulate,
    bench_sources,
    bench_start,
)
from benchmarks.support import circumstances

SUITES = {
    "chain": bench_chain.run,
    "metrics": bench_metrics.run,
    "metrics_table": bench_metrics.run_tables,
    "ledger": bench_ledger.run,
    "intake": bench_intake.run,
    "large": bench_intake.run_large,
    "months": bench_intake.run_months,
    "fills": bench_intake.run_fills,
    "sources": bench_sources.run,
    "allocator": bench_allocator.run,
    "simulate": bench_simulate.run,
    "engine": bench_engine.run,
    "start": bench_start.run,
    "decide": bench_decide.run,
    "optimise": bench_optimise.run,
    "report": bench_report.run,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which ones; all when left out")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes once, to see that they run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    before = circumstances.now()
    results = {name: SUITES[name](quick=options.quick) for name in options.suites or SUITES}
    if options.json:
        measured = asdict(before) | {"busy": before.busy, "quick": options.quick}
        print(json.dumps({"measured": measured, "results": results}, indent=2, default=str))
        return
    console = Console(width=170)
    console.print(f"{'quick run, not to be quoted; ' * options.quick}{before}", highlight=False, soft_wrap=True)
    for name, rows in results.items():
        table = Table(title=name, title_justify="left")
        for column in rows[0]:
            table.add_column(str(column))
        for row in rows:
            table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
        console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
