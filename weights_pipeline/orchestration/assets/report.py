"""The report: one HTML file for each book that has weights, and one for all of them.

Scope: one call that gathers what is known, one that makes each page, and metadata. Not here: what a page says
(``report``).
"""

import os

import dagster as dg

from weights_pipeline.alerts import Outbox
from weights_pipeline.files import write_text
from weights_pipeline.live import Keys
from weights_pipeline.orchestration.data_versions import of_content
from weights_pipeline.orchestration.partitions import SINGLE_RUN
from weights_pipeline.orchestration.steps import run_instant
from weights_pipeline.report.facts import gather
from weights_pipeline.report.words import summary
from weights_pipeline.store.queries import books_in_store
from weights_pipeline.versions.inputs import code_version
from weights_pipeline.workspace import Workspace

NAME = "report"
"""Key prefix, group and job of the asset."""

_READS = ("final_weights", "weight_history", "live_weights")


def report_asset(workspace: Workspace) -> dg.AssetsDefinition:
    """Report of all books; unpartitioned, as it is of the newest weights of each."""
    books = {name: setup.book for name, setup in workspace.setups.items()}
    store = workspace.store
    folder = workspace.settings.home / "reports"

    @dg.asset(
        name="weights_report",
        key_prefix=NAME,
        group_name=NAME,
        description="Where the capital stands and why, as HTML files in the folder reports: one a book, one of all.",
        owners=sorted({book.owner for book in books.values()}),
        kinds={"html"},
        backfill_policy=SINGLE_RUN,
        deps=[dg.AssetKey([book, table]) for book in books for table in _READS],
        code_version=code_version(),
    )
    def weights_report(context: dg.AssetExecutionContext) -> None:
        # Templates are compiled by whoever writes a page, not by every step.
        from weights_pipeline.report.mail import mail
        from weights_pipeline.report.render import render

        stored = books_in_store(store)
        there = [name for name in books if name in stored]
        if not there:
            raise dg.Failure(f"No book has weights in {store.location}. Materialise one first.")
        now, keys = run_instant(context.instance, context.run.run_id), Keys.from_environment(os.environ)
        found = gather(workspace, [*([name] for name in there), list(books)], now=now, keys=keys)
        pages = {f"{name}.html": render(report) for name, report in zip([*there, "index"], found, strict=True)}
        for name, page in pages.items():
            write_text(folder / name, page)
        if workspace.settings.mail_reports:
            told = {name: (report, pages[f"{name}.html"]) for name, report in zip(there, found, strict=False)}
            mailed = mail(Outbox(workspace.settings.alerts), told, workspace.settings.ui, now)
            context.log.info(f"reports to be mailed: {', '.join(mailed) or 'none is new'}")
        sizes = {str(folder / name): len(page.encode()) for name, page in pages.items()}
        context.set_data_version(context.asset_key, of_content(pages))
        newest = found[-1]
        context.add_output_metadata(
            {
                "path": dg.MetadataValue.path(folder / "index.html"),
                "summary": summary(newest),
                "comparison": newest.comparison.sentence() if newest.comparison else "no session in common",
                "bytes": sum(sizes.values()),
                "files": dg.MetadataValue.json(sizes),
            }
        )

    return weights_report
