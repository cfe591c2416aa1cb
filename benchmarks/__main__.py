"""Run every benchmark and print its table: medians, ratios, peak memory."""

import argparse
import json
import resource

from rich.console import Console
from rich.table import Table

from benchmarks import (
    bench_allocator,
    bench_chain,
    bench_decide,
    bench_ledger,
    bench_metrics,
    bench_optimise,
    bench_simulate,
)

SUITES = {
    "chain": bench_chain.run,
    "metrics": bench_metrics.run,
    "ledger": bench_ledger.run,
    "allocator": bench_allocator.run,
    "simulate": bench_simulate.run,
    "decide": bench_decide.run,
    "optimise": bench_optimise.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which ones; all when left out")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that they run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = {name: SUITES[name](quick=options.quick) for name in options.suites or SUITES}
    if options.json:
        print(json.dumps(results, indent=2, default=str))
        return
    console = Console(width=170)
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
