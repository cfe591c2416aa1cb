"""What the commands print: tables, progress, JSON forms.

Here belongs presentation only; nothing here computes a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weights_pipeline.core.speed import adjustment_speed

if TYPE_CHECKING:
    from weights_pipeline.checklist import Check
    from weights_pipeline.core.verify import Finding
    from weights_pipeline.runs import RunReport
    from weights_pipeline.store.queries import WeightSet

console = Console(highlight=False)
_OFFENDERS_SHOWN = 5


def weights(found: WeightSet) -> None:
    """Print one weight set with its reasons."""
    metric = found.metric.rsplit("_", 1)[0].capitalize()
    table = Table(title=f"{found.book}: weights in force from {found.effective_from}", title_justify="left")
    table.add_column("Strategy", no_wrap=True)
    for name in ("Base", "Target", "Realised", "Final", metric):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Why", overflow="fold")
    for row in found.rows:
        table.add_row(
            row.strategy,
            *(f"{100 * value:.2f}%" for value in (row.base, row.target, row.realized, row.final)),
            "–" if row.metric_value is None else f"{row.metric_value:.2f}",
            row.note,
        )
    totals = [sum(getattr(row, part) for row in found.rows) for part in ("base", "target", "realized", "final")]
    table.add_section()
    table.add_row("Total", *(f"{100 * total:.2f}%" for total in totals), "", "")
    console.print(table)
    console.print(f"Last rebalance: on data to {found.as_of}, in force from {found.effective_from}. ", end="")
    console.print(f"Next: {found.next_rebalance}.")
    if found.scalar is None:
        console.print("Risk scalar: none to be had, not applied.")
    else:
        since = f"on {found.scalar_session}" if found.scalar_session else "before the first state"
        effect = "applied" if found.applied else "computed, not applied"
        console.print(f"Regime {found.regime or 'not known yet'}, risk scalar {found.scalar:.4f} ({since}), {effect}.")
    console.print(f"Speed: {speed_sentence(found.rate)}")


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


def outcomes(found: Sequence[tuple[str, Check, Finding]]) -> None:
    """Print check outcomes, offending rows beneath."""
    table = Table(title="Checks", title_justify="left")
    for name in ("", "Table", "Check", "Finding"):
        table.add_column(name, overflow="fold")
    for schema, check, finding in found:
        table.add_row(_mark(check, finding), f"{schema}/{check.table.name}", check.name, escape(finding.summary))
    console.print(table)
    for schema, check, finding in found:
        if not finding.passed and len(finding.offending):
            console.print(f"[bold]{schema}/{check.table.name}: {check.name}[/bold], {len(finding.offending)} rows:")
            console.print(finding.offending.head(_OFFENDERS_SHOWN).to_string(index=False), markup=False)


def _mark(check: Check, finding: Finding) -> str:
    if finding.passed:
        return "[green]ok[/green]"
    return "[red]ERROR[/red]" if check.error else "[yellow]WARN[/yellow]"


def outcome_as_dict(schema: str, check: Check, finding: Finding) -> dict[str, Any]:
    """JSON form of one outcome."""
    return {
        "table": f"{schema}/{check.table.name}",
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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<42}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), disable=quiet)
    with bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def run_report(report: RunReport) -> None:
    """Print what a run did."""
    if report.success:
        console.print(
            f"{report.materialisations} partitions of {report.assets} assets materialised, "
            f"{report.first} to {report.last}, in {report.seconds:.1f} s."
        )
    else:
        console.print("[red]The run failed.[/red] Nothing of the failed step was written.")
        for error in report.errors:
            console.print(f"  {escape(error)}")
    failed = [c for c in report.checks if not c.passed]
    console.print(f"Checks: {len(report.checks) - len(failed)} passed, {len(failed)} not.")
    for outcome in failed:
        colour = "red" if outcome.error else "yellow"
        severity = "ERROR" if outcome.error else "WARN"
        console.print(f"  [{colour}]{severity}[/{colour}] {outcome.asset}: {outcome.name}: {escape(outcome.summary)}")


def next_steps() -> None:
    """Say where to look next after the demo."""
    console.print("\nSee it: [bold]make ui[/bold], then http://127.0.0.1:3000/asset-groups/ for the lineage.")
