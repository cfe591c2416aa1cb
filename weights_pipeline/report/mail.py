"""The report on rebalance day: a notice of each new rebalance, with the page for whoever reads mail.

Scope: which rebalance is told of, once, and in which words. Not here: the page (``render``), and how a message travels
(``alerts``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from weights_pipeline.alerts import Alert, Outbox, Severity
from weights_pipeline.files import write_text
from weights_pipeline.report import words
from weights_pipeline.report.facts import Report

FRESH: Final = dt.timedelta(days=7)
"""How long after its first session a rebalance is news: a setting that is switched on tells of none before."""


def mail(outbox: Outbox, pages: Mapping[str, tuple[Report, str]], ui: str, now: dt.datetime) -> list[str]:
    """Put the reports of new rebalances into an outbox, each once however often its page is written.

    Parameters
    ----------
    outbox
        It keeps the pages until everybody has them.
    pages
        By name of the book, its report and the page made of it.
    ui
        Address of the user interface.
    now
        The instant, zone-aware.

    Returns
    -------
    list of str
        Books that are told of.
    """
    told, known = list[Alert](), outbox.contents().alerts
    for name, (report, page) in pages.items():
        alert = _notice(name, report, outbox.folder / "pages", ui)
        first = dt.datetime.combine(report.books[0].effective_from, dt.time(), dt.UTC)
        if alert.key not in known and now < first + FRESH:
            write_text(Path(alert.attachment), page)
            told.append(alert)
    if told:
        outbox.put("report", now.isoformat(), told, now)
    return [alert.book for alert in told]


def _notice(name: str, report: Report, folder: Path, ui: str) -> Alert:
    book = report.books[0]
    moved = ", ".join(f"{move.strategy} {words.points(move.change)}" for move in book.movers)
    moves = (
        f" Largest changes in points of capital: {moved}." if moved else f" No weight moved since {words.since(book)}."
    )
    as_of = words.day(book.as_of)
    return Alert(
        severity=Severity.NOTICE,
        book=name,
        event=("report", as_of),
        title=f"weights in force from {words.day(book.effective_from)}",
        value="",
        limit="",
        detail=f"{words.headline(book)}{moves} {words.verdict(report)}",
        advice="Read the report before you trade: mail has it attached, the folder reports has it too.",
        partition=as_of,
        link=f"{ui}/assets/{name}/final_weights",
        attachment=str(folder / f"{name}_{as_of}.html"),
    )
