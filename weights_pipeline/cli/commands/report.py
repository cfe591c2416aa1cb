"""``weights report``: a rebalance as one file to read and to forward.

Scope: the command, and the clock: this is where "now" is read. Not here: what the page says (``report``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from pathlib import Path

from weights_pipeline.cli import common


def add(commands: common.Commands) -> None:
    """Declare the command."""
    report = common.command(commands, "report", _report)
    which = report.add_mutually_exclusive_group()
    which.add_argument("--book", help="book; the first when left out")
    which.add_argument("--all", action="store_true", help="all books in one file")
    report.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="the weights in force on this day")
    forms = ("html", "pdf", "md", "json")
    report.add_argument("--format", choices=forms, default="html", help="of the file; html and pdf have charts")
    report.add_argument("--out", type=Path, metavar="FILE", help="file to write; default in the folder reports at home")


def _report(options: argparse.Namespace) -> int:
    """Write a report of a rebalance: one file that needs nothing else."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.waterfall import ReplayError
    from weights_pipeline.extras import MissingExtraError
    from weights_pipeline.files import write_bytes
    from weights_pipeline.live import Keys
    from weights_pipeline.report.facts import gather
    from weights_pipeline.report.pdf import render_pdf
    from weights_pipeline.report.render import render as page
    from weights_pipeline.report.render import render_markdown
    from weights_pipeline.report.words import summary
    from weights_pipeline.store.queries import NothingInForceError

    workspace = common.workspace()
    books = [common.setup_named(workspace, options.book).name] if options.book else [*common.setups(workspace)]
    chosen = books if options.all else books[:1]
    file = (
        options.out or workspace.settings.home / "reports" / f"{'all' if options.all else chosen[0]}.{options.format}"
    )
    try:
        keys = Keys.from_environment(os.environ)
    except ValueError as error:
        common.stop(str(error), common.INVALID)
    try:
        found = gather(workspace, [chosen], options.as_of, now=dt.datetime.now(dt.UTC), keys=keys)[0]
    except (FileNotFoundError, NothingInForceError) as error:
        common.stop(str(error), common.NOTHING)
    except ReplayError as error:
        common.stop(f"stored figures contradict each other: {error}", common.FAILED)
    try:
        if options.format == "json":
            content = common.json_text(found.document).encode()
        elif options.format == "pdf":
            content = render_pdf(found)
        else:
            content = (render_markdown(found) if options.format == "md" else page(found)).encode()
    except MissingExtraError as error:
        common.stop(str(error), common.INVALID)
    try:
        write_bytes(file, content)
    except OSError as error:
        common.stop(f"cannot write {file}: {error}", common.FAILED)
    if options.json:
        common.print_json({"path": str(file), "bytes": len(content), "summary": summary(found), **found.figures})
        return 0
    render.say(summary(found))
    if found.comparison:
        render.say(found.comparison.sentence(None if options.all else chosen))
    render.say(str(file))
    return 0
