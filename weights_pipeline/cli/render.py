"""What the commands print: tables, progress, JSON forms.

Scope: presentation. Not here: any computation.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli.common import LAYOUT
from weights_pipeline.core.metrics.label import of_label
from weights_pipeline.core.realized.speed import adjustment_speed
from weights_pipeline.text import visible

if TYPE_CHECKING:
    import pandas as pd

    from weights_pipeline.checks import Check
    from weights_pipeline.core.returns.findings import LedgerFinding
    from weights_pipeline.core.verify import Finding
    from weights_pipeline.orchestration.runs import RunReport
    from weights_pipeline.store.queries import WeightRow, WeightSet

FINE = 4
"""Digits of percentages that are compared with one another."""

_OFFENDERS_SHOWN = 5
_WIDEST_RULE = 32
_LEAST, _EASY = 7, 16
"""How narrow a column of text gets where it must, and the last one where others have room."""

_GREEN, _YELLOW, _RED = 32, 33, 31
_STATES = {"ok": _GREEN, "WARN": _YELLOW, "warn": _YELLOW, "ERROR": _RED, "fail": _RED}
_CHANGES = ("Change", "Δ")
"""What headings of columns begin with whose numbers go up and down."""


def weights(found: WeightSet) -> None:
    """Print one weight set with its reasons."""
    metric = of_label(found.metric)[0].capitalize()
    parts = ("base", "target", "realized", "final")
    rows = [
        [
            row.strategy,
            *(percent(getattr(row, part)) for part in parts),
            percent(row.previous),
            points(_change(row)),
            "–" if row.metric_value is None else f"{row.metric_value:.2f}",
            row.note,
        ]
        for row in sorted(found.rows, key=lambda row: (-row.final, row.strategy))
    ]
    totals = [percent(sum(getattr(row, part) for row in found.rows)) for part in parts]
    since = f"; before: from {found.previous_from}" if found.previous_from else ""
    say(f"{found.book}: weights in force from {found.effective_from}, in percent; change in points{since}")
    headings = ["Strategy", "Base", "Target", "Realized", "Final", "Before", "Change", metric, "Why"]
    table([*rows, ["Total", *totals, "", "", "", ""]], headings)
    say(f"Last rebalance: on data to {found.as_of}, in force from {found.effective_from}.")
    say(f"Next rebalance: {found.next_rebalance}.")
    if found.weight_set:
        say(f"Weight set: {found.weight_set}.")
    scalars = sorted({row.scalar for row in found.rows if row.scalar is not None})
    if not scalars:
        say("Risk scalar: none, the book has no overlay or lacks a scalar for that session.")
    else:
        since = f"on {found.scalar_session}" if found.scalar_session else "before the first state"
        effect = "applied" if found.applied else "computed, not applied"
        shown = f"{scalars[0]:.4f}" if len(scalars) == 1 else f"{scalars[0]:.4f} to {scalars[-1]:.4f} by sleeve"
        beside = "" if found.volatility_scalar is None else f", volatility target {found.volatility_scalar:.4f}"
        say(f"Regime {found.regime or 'not known yet'}, risk scalar {shown}{beside} ({since}), {effect}.")
    say(f"Speed: {speed_sentence(found.rate)}")
    if found.reconciled is not None:
        say(f"Ledger reconciled to {found.reconciled}.")
    for each in found.unknown:
        say(
            f"Ledger: {each.strategy}: position in {each.symbol} unknown since {each.since}, {each.source_file} line "
            f"{each.line}. See `weights ledger check`."
        )


def opened(book: str, effective_from: object, rows: Mapping[str, float]) -> None:
    """Print the weights that a book was opened with."""
    say(f"{book}: opened at base weights, in force from {effective_from}, in percent")
    largest_first = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    lines = [[name, percent(weight)] for name, weight in largest_first]
    table([*lines, ["Total", percent(sum(rows.values()))]], ["Strategy", "Weight"])


def percent(weight: float | None, digits: int = 2) -> str:
    """A weight in percent, for a table that says so; of none a dash."""
    return "–" if weight is None or weight != weight else f"{100 * weight:.{digits}f}"


def points(change: float | None, digits: int = 2) -> str:
    """A change of a weight in percentage points, for a table that says so; see :func:`signed`."""
    return signed(percent(change, digits))


def signed(shown: str) -> str:
    """A number with its sign; one that shows as zero has none."""
    if not shown.strip("-0."):
        return shown.lstrip("-")
    return shown if shown[0] in "-–" else f"+{shown}"


def counts(passed: int, warnings: int, failed: int, *, of: str = "") -> None:
    """Say how many examinations came out how."""
    say(f"{of}{passed} passed, {warnings} warning{'s' * (warnings != 1)}, {failed} failed.")


class _Cell(textwrap.TextWrapper):
    """Wraps names after their underscores and strokes, too."""

    wordsep_simple_re = re.compile(r"([\t\n\x0b\x0c\r ]+)|(?<=[_/])")


def say(line: str = "", *, mark: str = "", hang: int = 0) -> None:
    """Print a line, on a terminal wrapped between words.

    Parameters
    ----------
    line
        What to say.
    mark
        How it stands, said first: in colour, on a terminal that shows any.
    hang
        Columns that further lines stand to the right.
    """
    text = f"{mark}{visible(line, LAYOUT)}"
    if sys.stdout.isatty():
        text = "\n".join(_wrapped(part, hang) for part in text.split("\n"))
    sys.stdout.write(f"{_coloured(mark, _STATES.get(mark.strip()))}{text[len(mark) :]}\n")


def table(rows: list[list[str]], headings: list[str]) -> None:
    """Print columns, numbers to the right: as wide as they are for a program that reads, otherwise as they fit.

    On a terminal cells wrap, nothing is cut off. Where no table fits, rows stand one beneath the other. No library:
    importing one costs more than all else here.
    """
    # A name of two lines is still one cell.
    rows = [[visible(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *rows, strict=True))
    numeric = [all(cell[:1] in "+-–0123456789" for cell in column[1:] if cell) for column in columns]
    widths, gap = [max(map(len, column)) for column in columns], 2
    if sys.stdout.isatty():
        if sum(widths) + gap * (len(widths) - 1) > _columns():
            gap = 1
        room = _columns() - gap * (len(widths) - 1)
        if sum(_least(column, right=right) for column, right in zip(columns, numeric, strict=True)) > room:
            for row in rows:
                say()
                table([list(pair) for pair in zip(headings, row, strict=True)], ["", ""])
            return
        widths = _fitted(columns, numeric, widths, room)
    rule = ["─" * min(width, _WIDEST_RULE) for width in widths]
    for row in (headings, rule, *rows) if any(headings) else rows:
        parts = [_parts(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            cells = zip(line, row, headings, widths, numeric, strict=True)
            said = (_cell(part, _colour(cell, heading), width, right) for part, cell, heading, width, right in cells)
            sys.stdout.write((" " * gap).join(said).rstrip() + "\n")


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _wrapped(line: str, hang: int) -> str:
    """A line as lines that fit, what it begins with standing out; a path or a name stays whole, to be copied."""
    indent = " " * (hang or len(line) - len(line.lstrip(" ")))
    return textwrap.fill(
        line, _columns(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, expand_tabs=False
    )


def _least(column: Sequence[str], *, right: bool) -> int:
    """How narrow a column may get: numbers stay whole."""
    if right:
        return max((len(word) for cell in column for word in cell.split()), default=0)
    return min(max(map(len, column)), _LEAST)


def _fitted(columns: list[tuple[str, ...]], numeric: list[bool], widths: list[int], room: int) -> list[int]:
    """Widths of columns that fit: the last one gives way first, then whichever is the widest of those that can."""
    least = [_least(column, right=right) for column, right in zip(columns, numeric, strict=True)]
    fitted = [*widths]
    if not numeric[-1]:
        fitted[-1] = min(fitted[-1], max(room - sum(fitted[:-1]), _EASY))
    while sum(fitted) > room:
        fitted[max(range(len(fitted)), key=lambda at: (fitted[at] > least[at], fitted[at]))] -= 1
    return fitted


def _parts(cell: str, width: int) -> list[str]:
    return [cell] if len(cell) <= width else _Cell(width, break_on_hyphens=False).wrap(cell)


def _cell(part: str, colour: int | None, width: int, right: bool) -> str:
    space = " " * (width - len(part))
    return f"{space}{_coloured(part, colour)}" if right else f"{_coloured(part, colour)}{space}"


def _colour(cell: str, heading: str) -> int | None:
    if cell[:1] in ("+", "-") and heading.startswith(_CHANGES):
        return _GREEN if cell[0] == "+" else _RED
    return None if heading else _STATES.get(cell)


def _coloured(text: str, colour: int | None) -> str:
    """Text in a colour where a terminal shows any, see https://no-color.org."""
    plain = not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR")
    return text if plain or colour is None or not text else f"\x1b[{colour}m{text}\x1b[0m"


def speed_sentence(rate: float | None) -> str:
    """The honest speed of adjustment, in a sentence."""
    if rate is None:
        return "each strategy was traded by its own gap; those inside the no-trade band were left alone."
    if rate == 0:
        return "nothing was traded: every weight is inside the no-trade band."
    if rate == 1:
        return "each rebalance goes all the way to its target (λ = 1)."
    speed = adjustment_speed(rate)
    return (
        f"each rebalance closes {rate:.0%} of the gap to target; half of a gap takes {speed.half_life:.1f} "
        f"rebalances, 90% takes {speed.rebalances_to_90}; {speed.gap_after_10:.1%} is left after ten."
    )


def weights_as_dict(found: WeightSet) -> dict[str, Any]:
    """JSON form of a weight set."""
    from dataclasses import asdict

    speed = asdict(adjustment_speed(found.rate)) if found.rate and found.rate < 1 else None
    rows = [{**asdict(row), "change": _change(row)} for row in found.rows]
    return {**asdict(found), "rows": rows, "speed": speed}


def _change(row: WeightRow) -> float | None:
    return None if row.previous is None else row.final - row.previous


def outcomes(found: Sequence[tuple[Check, Finding]]) -> None:
    """Print check outcomes, offending rows beneath."""
    rows = [
        [
            _mark(passed=finding.passed, error=check.error),
            f"{check.schema}/{check.table.name}",
            check.name,
            finding.summary,
        ]
        for check, finding in found
    ]
    table(rows, ["", "Table", "Check", "Finding"])
    for check, finding in found:
        if finding.passed:
            continue
        rows_named = f", {len(finding.offending)} rows" if len(finding.offending) else ""
        say(f"\n{check.schema}/{check.table.name}: {check.name}{rows_named}:")
        if check.advice:
            say(f"→ {check.advice}", hang=2)
        if len(finding.offending):
            rows_of(finding.offending.head(_OFFENDERS_SHOWN))
    say()
    counts(*counted([(finding.passed, check.error) for check, finding in found]))


def counted(outcomes: Sequence[tuple[bool, bool]]) -> tuple[int, int, int]:
    """How many passed, how many not with a warning, and how many failed: of pairs (passed, its miss is an error)."""
    passed = sum(each for each, _ in outcomes)
    failed = sum(error and not each for each, error in outcomes)
    return passed, len(outcomes) - passed - failed, failed


def rows_of(rows: pd.DataFrame) -> None:
    """Print rows of a table as they are."""
    columns = [
        [cell(value, 6) for value in rows[name]]
        if rows[name].dtype.kind == "f"
        else [*rows[name].astype("str").mask(rows[name].isna(), "–")]
        for name in rows
    ]
    table([list(row) for row in zip(*columns, strict=True)], [str(name) for name in rows])


def cell(value: Any, digits: int = 10) -> str:
    """A value for a cell of a table; of none a dash."""
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else " ".join(str(value).split())


def ledger_finding(found: LedgerFinding) -> None:
    """Print what was found in a ledger, where, and what resolves it."""
    place = f"{found.source_file} line {found.line}" if found.line else found.source_file
    of = " ".join(filter(None, (found.strategy, found.symbol)))
    head = ": ".join(filter(None, (f" {found.code}", of, place)))
    resolved = f" Resolved by: {found.setting}." * bool(found.setting)
    say(f"{head}: {found.message}.{resolved}", mark=found.severity)


def _mark(*, passed: bool, error: bool) -> str:
    if passed:
        return "ok"
    return "ERROR" if error else "WARN"


def outcome_as_dict(check: Check, finding: Finding) -> dict[str, Any]:
    """JSON form of one outcome."""
    return {
        "table": f"{check.schema}/{check.table.name}",
        "check": check.name,
        "description": check.description,
        "severity": "ERROR" if check.error else "WARN",
        "passed": finding.passed,
        "value": finding.value,
        "limit": finding.limit,
        "summary": finding.summary,
        "offending": finding.offending.astype(str).to_dict("records"),
    }


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar; yields the function that moves it: (done, total, what is being done)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<30}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # The stream of now: while a run goes on, standard error is its log. A file is shown the last line alone.
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, auto_refresh=console.is_terminal, disable=quiet) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def run_report(report: RunReport) -> None:
    """Print what a run did."""
    if report.success:
        say(
            f"{report.materialisations} partitions of {report.assets} assets materialised, "
            f"{report.first} to {report.last}, in {report.seconds:.1f} s."
        )
    else:
        say("The run failed. Nothing of the failed step was written.")
        for error in report.errors:
            say(f"  {error}")
    failed = [c for c in report.checks if not c.passed]
    counts(*counted([(each.passed, each.error) for each in report.checks]), of="Checks: ")
    for outcome in failed:
        mark = f"  {_mark(passed=False, error=outcome.error)}"
        say(f" {outcome.asset}: {outcome.name}: {outcome.summary}", mark=mark)
    say()


def next_steps(data: Path | None) -> None:
    """Say where to look next after the demo; with its data folder, where commands do not find it by themselves."""
    # As it was called where it is not found by its name, from a checkout whose environment is not active.
    own = "weights" if shutil.which("weights") else sys.argv[0]
    own = own if data is None else f"WEIGHTS_DATA={shlex.quote(str(data))} {own}"
    say(f"\nSee it in Dagster: `{own} ui`, then http://127.0.0.1:3000/asset-groups for the lineage.")
    say(f"As one page to forward: `{own} report`.")
