"""``weights sql``: a query of one's own over everything that is stored, which can change nothing.

Scope: the command. Not here: what a query may do (``store.queries``).
"""

from __future__ import annotations

import argparse
import csv
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT = 100


def add(commands: common.Commands) -> None:
    """Declare the command."""
    sql = common.command(commands, "sql", _sql)
    sql.add_argument("query", metavar="QUERY", help='such as "SELECT * FROM calmar_core.final_weights"')
    sql.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    many = f"rows to print; default {_LIMIT}, and all of them with --csv or --json"
    sql.add_argument("--limit", type=_count, metavar="N", help=many)


def _sql(options: argparse.Namespace) -> int:
    """Answer a query in SQL over the store, read-only: its tables are SCHEMA.TABLE, its manifest store.partitions."""
    from weights_pipeline.cli import render
    from weights_pipeline.store.queries import sql
    from weights_pipeline.tables.errors import QueryError

    if options.json and options.csv:
        common.stop("--json and --csv are two forms of one answer: give one or the other", common.INVALID)
    try:
        found = sql(common.workspace().store, options.query)
    except FileNotFoundError as error:
        common.stop(str(error), common.NOTHING)
    except QueryError as error:
        common.stop(_in_a_line(str(error)), common.INVALID)
    limit = options.limit or (found.num_rows if options.json or options.csv else _LIMIT)
    names, shown = list(found.column_names), found.slice(0, limit)
    rows = list(zip(*([_number(value) for value in column.to_pylist()] for column in shown.columns), strict=True))
    if options.json:
        common.print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *rows])
    else:
        render.table([[render.cell(value) for value in row] for row in rows], names)
    if found.num_rows > limit:
        # Beside the answer, which may be read by a machine.
        sys.stderr.write(f"weights: {limit} of {found.num_rows} rows; --limit shows more\n")
    return 0


def _number(value: Any) -> Any:
    """A value as JSON knows it, where it is an exact decimal number."""
    return float(value) if isinstance(value, Decimal) else value


def _in_a_line(message: str) -> str:
    """What DuckDB says, without the lines that point into the query."""
    told: Sequence[str] = [line.strip() for line in message.splitlines()]
    return " ".join(line for line in told if line.strip("^ ") and not line.startswith("LINE "))


def _count(text: str) -> int:
    """Parse a number of rows; argparse names this function when it cannot."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number
