"""``weights rebalance``: the rebalance that is due, started by hand or tried out.

Scope: the command, and the clock: this is where "now" is read. Not here: which rebalance is due, metric overrides and
the trial (``operations.rebalance``), and running it (``orchestration.runs``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common
from weights_pipeline.core.metrics.label import of_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weights_pipeline.books.book import Book
    from weights_pipeline.operations.rebalance import Plan


def add(commands: common.Commands) -> None:
    """Declare the command."""
    rebalance = common.command(commands, "rebalance", _rebalance)
    rebalance.add_argument("--book", required=True, help="book to rebalance, with the ledger it reads")
    rebalance.add_argument(
        "--metrics", type=Path, metavar="FILE", help="JSON of twelve-month figures, in place of measured ones"
    )
    rebalance.add_argument("--reason", default="", metavar="TEXT", help="what the history says beside it")
    rebalance.add_argument("--dry-run", action="store_true", help="compute from what is stored, and store nothing")
    rebalance.add_argument(
        "--partition", metavar="KEY", help="month, or day that a period begins; default the last that has ended"
    )


def _rebalance(options: argparse.Namespace) -> int:
    """Rebalance a book on its newest period that has ended, on measured metrics or on those of a file."""
    from weights_pipeline.books.reading import BookError, read_json
    from weights_pipeline.core.allocator.overlay import StaleScalarError
    from weights_pipeline.core.versions import canonical
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.operations.rebalance import (
        NotDueError,
        NotReadyError,
        due,
        metric_overrides,
        plan,
        require_ready,
    )

    now = dt.datetime.now(dt.UTC)
    workspace = common.workspace()
    setup = common.setup_named(workspace, options.book)
    book = setup.book
    content, figures = None, dict[str, Any]()
    try:
        if options.metrics:
            content = read_json(options.metrics, "metrics")
            figures |= metric_overrides(content, book, options.metrics)
        periods = due(setup, now, options.partition)
    except (BookError, LedgerError, NotDueError) as error:
        common.stop(str(error), common.INVALID)
    absent = sorted(set(book.strategies) - set(figures)) if figures else []
    if options.dry_run:
        try:
            found = plan(setup, periods, figures)
        except NotReadyError as error:
            common.stop(str(error), common.NOTHING)
        except (BookError, StaleScalarError, ValueError) as error:
            common.stop(f"{book.name}: {error}", common.FAILED)
        if options.json:
            common.print_json(_as_dict(book, found, absent))
        else:
            _print(book, found, options.metrics, absent)
        return 0

    from weights_pipeline.cli.commands.run import run_book
    from weights_pipeline.cli.commands.show import print_weights

    try:
        require_ready(setup, periods, trial=False)
    except NotReadyError as error:
        common.stop(str(error), common.NOTHING)
    if absent:
        # Beside the report, which may be read by a machine.
        sys.stderr.write(f"weights: {_absent(options.metrics, absent)}\n")
    key = periods[-1].key
    manual = canonical(content) if figures else ""
    # Whatever the partition was made under before, a rebalance is by the policy of the day.
    said = {"comment": options.reason, "manual": manual, "policy": "today"}
    report = run_book(workspace, book.name, key, key, as_json=options.json, **said)
    if report.success and not options.json:
        print_weights(workspace, book.name, None, as_json=False)
    return 0 if report.success else common.FAILED


def _absent(file: Path, absent: Sequence[str]) -> str:
    return f"Not in {file}, so without a metric: {', '.join(absent)}."


def _print(book: Book, found: Plan, file: Path | None, absent: Sequence[str]) -> None:
    from weights_pipeline.cli import render

    metric = of_label(found.metric)[0].capitalize()
    weights = ("base", "target", "previous", "realized", "held", "final")
    rows = [
        [
            row["strategy"],
            *(render.percent(row[name]) for name in weights),
            render.points(row["final"] - row["held"]),
            "–" if row["metric_value"] != row["metric_value"] else f"{row['metric_value']:.2f}",
            row["note"],
        ]
        for row in found.weights.to_dict("records")
    ]
    totals = [render.percent(found.weights[name].sum()) for name in weights]
    render.say(
        f"{book.name}, rebalance {found.partition} on data to {found.as_of:%Y-%m-%d}: weights that would be in force "
        f"from {found.effective_from:%Y-%m-%d}, in percent; change from those held in points"
    )
    headings = ["Strategy", "Base", "Target", "Before", "Realized", "Held", "Final", "Change", metric, "Why"]
    render.table([*rows, ["Total", *totals, "", "", ""]], headings)
    if found.weight_set:
        render.say(f"Weight set: {found.weight_set}.")
    if absent and file:
        render.say(_absent(file, absent))
    render.say(f"Held are the weights of {found.held}.")
    render.say(
        f"One-way turnover: {found.turnover:.2%} of realized weights, {found.traded:.2%} of those to trade against "
        f"those held."
    )
    render.say("Dry run: nothing was stored.")


def _as_dict(book: Book, found: Plan, absent: Sequence[str]) -> dict[str, Any]:
    return {
        "book": book.name,
        "rebalance": found.partition,
        "as_of": f"{found.as_of:%Y-%m-%d}",
        "effective_from": f"{found.effective_from:%Y-%m-%d}",
        "metric": found.metric,
        "weight_set": found.weight_set,
        "held": found.held,
        "turnover": found.turnover,
        "traded": found.traded,
        "without_metric": list(absent),
        "weights": found.weights.to_dict("records"),
        "dry_run": True,
    }
