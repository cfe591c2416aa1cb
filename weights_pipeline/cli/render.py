"""What the commands print: tables, progress, JSON forms.

Scope: presentation. Not here: any computation.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli.common import LAYOUT
from weights_pipeline.core.metrics.label import of_label
from weights_pipeline.core.realized.speed import adjustment_speed
from weights_pipeline.text import visible

if TYPE_CHECKING:
    from weights_pipeline.checks import Check
    from weights_pipeline.core.returns.findings import LedgerFinding
    from weights_pipeline.core.verify import Finding
    from weights_pipeline.orchestration.runs import RunReport
    from weights_pipeline.store.queries import WeightSet

_OFFENDERS_SHOWN = 5
_WIDEST_RULE = 32


def weights(found: WeightSet) -> None:
    """Print one weight set with its reasons."""
    metric = of_label(found.metric)[0].capitalize()
    parts = ("base", "target", "realized", "final")
    rows = [
        [
            row.strategy,
            *(f"{100 * getattr(row, part):.2f}%" for part in parts),
            "–" if row.metric_value is None else f"{row.metric_value:.2f}",
            row.note,
        ]
        for row in found.rows
    ]
    totals = [f"{100 * sum(getattr(row, part) for row in found.rows):.2f}%" for part in parts]
    say(f"{found.book}: weights in force from {found.effective_from}")
    table([*rows, ["Total", *totals, "", ""]], ["Strategy", "Base", "Target", "Realized", "Final", metric, "Why"])
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
        say(f"Regime {found.regime or 'not known yet'}, risk scalar {shown} ({since}), {effect}.")
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
    say(f"{book}: opened at base weights, in force from {effective_from}")
    lines = [[name, f"{weight:.2%}"] for name, weight in rows.items()]
    table([*lines, ["Total", f"{sum(rows.values()):.2%}"]], ["Strategy", "Weight"])


def say(line: str = "") -> None:
    """Print a line."""
    sys.stdout.write(visible(line, LAYOUT) + "\n")


def table(rows: list[list[str]], headings: list[str]) -> None:
    """Print aligned columns, numbers to the right. No library: importing one costs more than all else here."""
    # A name of two lines is still one cell.
    rows = [[visible(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(cell[:1] in "-–0123456789" for cell in column[1:] if cell) for column in columns]
    rule = ["─" * min(width, _WIDEST_RULE) for width in widths]
    for row in (headings, rule, *rows):
        cells = zip(row, widths, numeric, strict=True)
        say("  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip())


def speed_sentence(rate: float) -> str:
    """The honest speed of adjustment, in a sentence."""
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

    speed = None if found.rate == 1 else asdict(adjustment_speed(found.rate))
    return {**asdict(found), "speed": speed}


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
        if not finding.passed and len(finding.offending):
            say(f"\n{check.schema}/{check.table.name}: {check.name}, {len(finding.offending)} rows:")
            say(finding.offending.head(_OFFENDERS_SHOWN).to_string(index=False))


def ledger_finding(found: LedgerFinding) -> None:
    """Print what was found in a ledger, where, and what resolves it."""
    place = f"{found.source_file} line {found.line}" if found.line else found.source_file
    of = " ".join(filter(None, (found.strategy, found.symbol)))
    head = ": ".join(filter(None, (f"{found.severity} {found.code}", of, place)))
    say(f"{head}: {found.message}." + f" Resolved by: {found.setting}." * bool(found.setting))


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
    # The stream of now: while a run goes on, standard error is its log.
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as bar:
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
    say(f"Checks: {len(report.checks) - len(failed)} passed, {len(failed)} not.")
    for outcome in failed:
        say(f"  {_mark(passed=False, error=outcome.error)} {outcome.asset}: {outcome.name}: {outcome.summary}")
    say()


def next_steps(data: Path | None) -> None:
    """Say where to look next after the demo; with its data folder, where commands do not find it by themselves."""
    # As it was called where it is not found by its name, from a checkout whose environment is not active.
    own = "weights" if shutil.which("weights") else sys.argv[0]
    own = own if data is None else f"WEIGHTS_DATA={shlex.quote(str(data))} {own}"
    say(f"\nSee it in Dagster: `{own} ui`, then http://127.0.0.1:3000/asset-groups for the lineage.")
    say(f"As one page to forward: `{own} report`.")
