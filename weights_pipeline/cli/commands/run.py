"""``weights run``: a book and the ledger it reads, materialised over a range of its periods.

Scope: the command. Not here: launching and following runs (``orchestration.runs``).
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.orchestration.runs import RunReport
    from weights_pipeline.workspace import Workspace


def add(commands: common.Commands) -> None:
    """Declare the command."""
    run = common.command(commands, "run", _run)
    run.add_argument("--book", help="book to materialise, with the ledger it reads; the only one when left out")
    run.add_argument("--from", dest="first", metavar="YYYY-MM", help="first month")
    run.add_argument("--to", dest="last", metavar="YYYY-MM", help="last month")
    run.add_argument(
        "--policy",
        choices=("stored", "today"),
        default="",
        help="of partitions made under another policy: under that one again, or a restatement under today's",
    )
    run.add_argument("--partition", metavar="YYYY-MM", help="one month, or latest: the last that has ended")


def _run(options: argparse.Namespace) -> int:
    """Materialise a book over a range of months (the whole history when none is given)."""
    from weights_pipeline.cli import render

    if options.partition and (options.first or options.last):
        common.stop("--partition names one month, --from and --to a range: give one or the other", common.INVALID)
    first, last = options.partition or options.first, options.partition or options.last
    workspace = common.workspace()
    book = options.book or common.only_book(workspace)
    report = run_book(workspace, book, first, last, as_json=options.json, policy=options.policy)
    if not options.json and not all(check.passed for check in report.checks):
        render.say(f"The rows behind it: `weights check --book {book}`.")
    return 0 if report.success else common.FAILED


def run_book(
    workspace: Workspace,
    book: str,
    first: str | None,
    last: str | None,
    *,
    as_json: bool,
    comment: str = "",
    manual: str = "",
    policy: str = "",
) -> RunReport:
    """Materialise a book under a progress display, and print what came of it; see :func:`runs.materialise`."""
    from weights_pipeline.cli import render

    with render.progress(quiet=as_json) as progress:
        # Imported under the progress display: Dagster takes a moment to load.
        from weights_pipeline.books.reading import BookError
        from weights_pipeline.ledger import LedgerError
        from weights_pipeline.orchestration.runs import RangeError, materialise
        from weights_pipeline.settings import SettingsError
        from weights_pipeline.versions.policies import PolicyError

        os.environ.setdefault("DAGSTER_HOME", str(workspace.settings.home))
        try:
            report = materialise(
                workspace, book, first, last, comment=comment, manual=manual, policy=policy, on_progress=progress
            )
        except (BookError, LedgerError, PolicyError, RangeError, SettingsError) as error:
            common.stop(str(error), common.INVALID)
    if as_json:
        common.print_json(report.as_dict())
    else:
        render.run_report(report)
    return report
