"""``weights allocator``: state, regimes and scalars of any history, what the overlay did, a study of thresholds.

Scope: the commands and what they print; nothing here changes a book. Not here: reading the history
(``operations.allocator_runs``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    import pandas as pd

    from weights_pipeline.books.book import Book
    from weights_pipeline.core.allocator.tune import TuneResult
    from weights_pipeline.core.study.overfitting import Overfitting
    from weights_pipeline.operations.allocator_runs import AllocatorRun

# Named again, as help must not wait for the import of what defines them.
_PROFILES = ("low", "medium", "high")
_SCORES = ("sharpe", "calmar", "max_drawdown")
_SESSIONS_SHOWN = 5
_BEST_SHOWN = 5
_RATIOS = ("sharpe", "sortino", "mean_scalar", "transitions_per_year")
_FIGURES = {"cagr": "CAGR", "sharpe": "Sharpe", "max_drawdown": "Max drawdown"}
_UNTOUCHED = "No book was changed: thresholds are what the book's file says, and change only there."
_FLATTERED = (
    "A choice that is picked for its figures out of sample is flattered by the picking; only walk_forward was chosen "
    "without knowing them."
)


def add(commands: common.Commands) -> None:
    """Declare the command and those beneath it."""
    allocator = commands.add_parser("allocator", help="State, regime and risk scalar of a history, and their worth.")
    beneath = allocator.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, function in (("state", _state), ("regime", _regime), ("risk", _risk)):
        part = common.command(beneath, name, function)
        _add_history(part)
        part.add_argument(
            "--output", type=Path, metavar="DIR", help="write the whole table as CSV, its figures as JSON"
        )
    audit = common.command(beneath, "audit", _audit)
    audit.add_argument("--book", required=True, help="book whose stored returns and weights to read")
    audit.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="nothing after this day is read")
    tune = common.command(beneath, "tune", _tune)
    _add_history(tune)
    tune.add_argument(
        "--grid",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=V1,V2",
        help="values of a threshold, or profile=low,high; all combinations (default: 72 around the default thresholds)",
    )
    tune.add_argument("--train", type=int, default=756, metavar="N", help="sessions to choose on (default 756)")
    tune.add_argument("--test", type=int, default=252, metavar="N", help="sessions to judge on (default 252)")
    tune.add_argument("--score", choices=_SCORES, default="sharpe", help="what to choose by (default sharpe)")


def _add_history(parser: argparse.ArgumentParser) -> None:
    history = parser.add_mutually_exclusive_group(required=True)
    history.add_argument("--book", help="book whose stored returns and weights to read")
    history.add_argument("--returns", type=Path, metavar="FILE", help="CSV or Parquet of daily returns, long or wide")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="constant weights for --returns, JSON or CSV (default: equal)"
    )
    common.add_calendar(parser)
    parser.add_argument("--profile", choices=_PROFILES, help="in place of the book's, or of low for --returns")


def _state(options: argparse.Namespace) -> int:
    """Make the state of the reference portfolio: volatility, drawdown, correlation, breadth, concentration."""
    return _part(options, "state", _print_state)


def _regime(options: argparse.Namespace) -> int:
    """Make the risk regimes of the reference portfolio, with the signals that put it there."""
    return _part(options, "regime", _print_regime)


def _risk(options: argparse.Namespace) -> int:
    """Make the risk scalar: how much of the weights the regimes leave standing."""
    return _part(options, "scalar", _print_scalar)


def _part(options: argparse.Namespace, part: str, show: Any) -> int:
    """Make, write and print one table and its document."""
    from weights_pipeline.cli import render

    run = _run(options)
    document, last = run.document(part), _last_sessions(run.table(part))
    written: list[Path] = []
    if options.output:
        try:
            written = run.write(part, options.output)
        except OSError as error:
            common.stop(f"--output {options.output}: cannot be written: {error}", common.FAILED)
    if options.json:
        common.print_json({"document": document, "last": _records(last)})
        return 0
    sessions = document["sessions"]
    if sessions["count"]:
        render.say(f"{run.name}: {part} on {sessions['count']} sessions, {sessions['first']} to {sessions['last']}")
        _print_table(last)
        render.say()
        show(document)
    else:
        render.say(
            f"{run.name}: no session has a state; it takes 60 sessions at weights, and two strategies that move."
        )
    render.say(f"Parameters {document['parameters_hash'][:12]}, profile {document['profile']['name'] or 'of its own'}.")
    for file in written:
        render.say(f"Wrote {file}.")
    return 0


def _audit(options: argparse.Namespace) -> int:
    """Compare what scaled weights would have earned with unscaled ones, and say whether the overlay helped."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.overlay import audit_misses
    from weights_pipeline.operations.allocator_runs import audit_of_book, audit_sentence, costs_of_book

    book, run = _of_book(options, until=options.as_of)
    try:
        audited, costs = audit_of_book(run, book), costs_of_book(run, book)
    except ValueError as error:
        common.stop(f"{book.name}: {error}", common.FAILED)
    misses, sentence = audit_misses(audited, run.overlay.audit), audit_sentence(audited)
    first, last = (f"{run.portfolio.index[edge]:%Y-%m-%d}" for edge in (0, -1))
    enabled = book.overlay is not None and book.overlay.enabled
    if options.json:
        content = {"book": book.name, "enabled": enabled, "apply": run.overlay.apply, "first": first, "last": last}
        figures = {"figures": _records(audited), "misses": _records(misses), "sentence": sentence, "costs": costs}
        common.print_json(content | figures)
        return 0
    effect = "is applied" if enabled else "is not applied; this is what it would have done"
    render.say(f"{book.name}: scaled against unscaled weights, {first} to {last}. The overlay {effect}.")
    render.say("All before fees, Sharpe ratios over a risk-free rate of 0%; `weights report` has the same after fees.")
    _print_audit(audited)
    _print_costs(costs)
    for miss in misses.to_dict("records"):
        render.say(f"Gate missed: {miss['gate']} is {miss['value']:.4g}, the limit {miss['limit']:.4g}.")
    if misses.empty:
        render.say("All gates are kept.")
    render.say(sentence)
    return 0


def _run(options: argparse.Namespace) -> AllocatorRun:
    """The allocator over the history that the options name; ends the command where there is none."""
    from weights_pipeline.core.returns.frequency import Frequency
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.operations.allocator_runs import run_of_returns

    if options.book:
        if options.weights:
            common.stop("--weights: a book has its own; expected --returns beside it", common.INVALID)
        return _of_book(options, profile=options.profile)[1]
    try:
        calendar, per_year = common.calendar(options)
        return run_of_returns(
            options.returns,
            calendar=calendar,
            frequency=Frequency(per_year=per_year),
            weights_file=options.weights,
            profile=options.profile,
        )
    except LedgerError as error:
        common.stop(str(error), common.INVALID)
    except ValueError as error:
        common.stop(f"{options.returns}: {error}", common.FAILED)


def _of_book(
    options: argparse.Namespace, *, profile: str | None = None, until: dt.date | None = None
) -> tuple[Book, AllocatorRun]:
    """The allocator over a book's stored history; ends the command where there is none."""
    from weights_pipeline.operations.allocator_runs import NoHistoryError, run_of_book
    from weights_pipeline.store.duckdb_store import StoreLockedError

    setup = common.setup_named(common.workspace(), options.book)
    try:
        return setup.book, run_of_book(setup, profile=profile, until=until)
    except NoHistoryError as error:
        common.stop(str(error), common.NOTHING)
    except (ValueError, StoreLockedError) as error:
        common.stop(f"{setup.name}: {error}", common.FAILED)


def _tune(options: argparse.Namespace) -> int:
    """Try thresholds out, each chosen on sessions before those it is judged on; changes no book."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.tune import DEFAULT_GRID, choices, walk_forward
    from weights_pipeline.core.study.overfitting import of_returns

    run = _run(options)
    try:
        made = choices(common.grid_values(options.grid, "vol_accel_enter=1.2,1.3") or DEFAULT_GRID, run.overlay)
    except ValueError as error:
        common.stop(f"--grid {error}", common.INVALID)
    try:
        result = walk_forward(
            run.state,
            run.portfolio,
            made,
            lag=run.overlay.lag,
            train=options.train,
            test=options.test,
            score=options.score,
            frequency=run.frequency,
        )
    except ValueError as error:
        common.stop(f"{run.name}: {error}", common.FAILED)
    overfitting = of_returns(result.held.to_numpy())
    parts = {"volatility target": run.overlay.volatility_target, "hedges": run.overlay.hedges}
    left_out = [name for name, part in parts.items() if part is not None]
    if options.json:
        frames = ("choices", "trials", "windows", "totals")
        content: dict[str, Any] = {name: _records(getattr(result, name).reset_index()) for name in frames}
        parameters = {"score": options.score, "train": options.train, "test": options.test, "lag": run.overlay.lag}
        content["overfitting"] = asdict(overfitting) if overfitting else None
        content |= {"verdict": result.verdict, "note": _UNTOUCHED, "left_out": left_out}
        common.print_json({"name": run.name, **parameters, **content})
        return 0
    render.say(f"{run.name}: {len(made)} choices, {len(result.windows)} windows of {options.test} sessions, each")
    render.say(
        f"chosen by {options.score} on the {options.train} sessions before it. All at the scalar of the whole book,"
    )
    render.say("anew for every session, before costs.\n")
    if left_out:
        render.say(f"The book's {' and '.join(left_out)} are not in these figures, but in those of `audit`.\n")
    _print_tune(result, overfitting)
    return 0


def _print_state(document: Mapping[str, Any]) -> None:
    from weights_pipeline.cli import render

    lines = [
        [name, _percent(row["coverage"]), *(_number(row[key]) for key in ("min", "mean", "max", "last"))]
        for name, row in document["features"].items()
    ]
    render.table(lines, ["Feature", "Coverage", "Min", "Mean", "Max", "Last"])
    dropped = document["dropped"]
    render.say(f"Without a state: {dropped['warm_up']} sessions of warm-up, {dropped['beyond']} beyond.")
    render.say(f"With neutral values, too little having moved: {document['idle']} sessions.")


def _print_regime(document: Mapping[str, Any]) -> None:
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.regime import REGIMES

    lines = [
        [
            regime,
            str(document["regimes"][regime]["sessions"]),
            f"{document['regimes'][regime]['percent']:.1f}%",
            str(document["regimes"][regime]["longest_run"]),
            *(str(document["transitions"][regime].get(after, "–")) for after in REGIMES),
        ]
        for regime in REGIMES
    ]
    render.table(lines, ["Regime", "Sessions", "Share", "Longest run", *(f"to {regime}" for regime in REGIMES)])
    current = document["current"]
    render.say(
        f"{document['transitions_per_year']:.1f} transitions a year; in {current['regime']} for {current['sessions']} "
        "sessions."
    )


def _print_scalar(document: Mapping[str, Any]) -> None:
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.regime import REGIMES

    def line(name: str, figures: Mapping[str, Any]) -> list[str]:
        spread = (_number(figures[key]) for key in ("mean", "min", "max", "std", "last"))
        return [name, *spread, _percent(figures["share_scaled"])]

    lines = [line("all sessions", document["scalar"])]
    lines += [line(regime, document["by_regime"][regime]) for regime in REGIMES]
    lines += [line(f"sleeve {name}", figures["scalar"]) for name, figures in document["sleeves"].items()]
    if targeted := document.get("volatility_target"):
        lines.append(line("volatility target", targeted["scalar"]))
    render.table(lines, ["", "Mean", "Min", "Max", "Std", "Last", "Below 0.99"])
    if step := document["scalar"]["largest_step"]:
        render.say(f"Largest step in a session: {step['change']:+.4f} on {step['session']}.")


def _print_audit(audited: pd.DataFrame) -> None:
    """Print the whole history metric by metric, then the windows of stress."""
    from weights_pipeline.cli import render

    reasons = audited.set_index(["window", "metric", "portfolio"])["reason"].to_dict()
    values = audited.set_index(["window", "metric", "portfolio"])["value"].to_dict()

    told = {"unscaled": "Unscaled", "unhedged": "Scaled, no hedges", "scaled": "Scaled"}
    told = {portfolio: heading for portfolio, heading in told.items() if ("all", "sharpe", portfolio) in values}

    def cells(window: str, metric: str) -> list[str]:
        found = ((window, metric, portfolio) for portfolio in told)
        return [_figure(metric, values[key]) if not reasons[key] else reasons[key] for key in found if key in values]

    whole = audited[(audited["window"] == "all") & (audited["portfolio"] == "scaled")]["metric"]
    empty = [""] * (len(told) - 1)
    lines = [[metric.replace("_", " "), *[*empty, *cells("all", metric)][-len(told) :]] for metric in whole]
    render.table(lines, ["Whole history", *told.values()])
    if "unhedged" in told:
        from weights_pipeline.report.words import carried_by_hedges

        render.say(carried_by_hedges(audited[audited["portfolio"] == "hedges"].set_index("metric")["value"]))
    render.say()
    shown = {
        "total_return": "Return",
        "max_drawdown": "Max DD",
        "worst_day": "Worst day",
        "share_scaled": "Days scaled",
    }
    windows = [name for name in audited["window"].drop_duplicates() if name != "all"]
    covered = [name for name in windows if not reasons[name, "share_scaled", "scaled"]]
    rows = [[name, *(cell for metric in shown for cell in cells(name, metric))] for name in covered]
    headings = [f"{heading} {of.lower()}" for heading in list(shown.values())[:3] for of in told.values()]
    if covered:
        render.table(rows, ["Window", *headings, shown["share_scaled"]])
    if missing := [name for name in windows if name not in covered]:
        render.say(f"Not covered by the history: {', '.join(missing)}.")


def _print_costs(costs: Mapping[str, Any]) -> None:
    """Print what the costs of the book leave of either portfolio."""
    from weights_pipeline.cli import render
    from weights_pipeline.core.study.costs import paid_in_words

    if not costs:
        return
    lines = [
        [f"{portfolio.capitalize()}, {side} costs", *_figures(found[side])]
        for portfolio, found in costs.items()
        for side in ("before", "after")
    ]
    render.say("\nWeights constant between rebalances, before and after the costs that the book names:")
    render.table(lines, ["Whole history", *_FIGURES.values()])
    for portfolio, found in costs.items():
        render.say(f"{portfolio.capitalize()}. {paid_in_words(found)}")


def _print_tune(result: TuneResult, overfitting: Overfitting | None) -> None:
    from weights_pipeline.cli import render

    totals = [
        [str(name), *_figures(row), _percent(row["share_scaled"])]
        for name, row in result.totals.to_dict("index").items()
    ]
    render.table(totals, ["Out of sample", *_FIGURES.values(), "Days scaled"])
    render.say()
    windows = [
        [
            f"{row['test_first']:%Y-%m-%d} to {row['test_last']:%Y-%m-%d}",
            *(_figure("sharpe", row[f"{prefix}_sharpe"]) for prefix in ("chosen", "base", "unscaled")),
            *(_figure("max_drawdown", row[f"{prefix}_max_drawdown"]) for prefix in ("chosen", "base", "unscaled")),
            row["chosen"],
        ]
        for row in result.windows.to_dict("records")
    ]
    figures = [f"{figure} {of}" for figure in ("Sharpe", "Max DD") for of in ("chosen", "base", "unscaled")]
    render.table(windows, ["Window", *figures, "Chosen"])
    render.say()
    shown = _worth_a_line(result.choices)
    lines = [
        [
            str(name),
            str(row["times_chosen"]),
            _percent(row["share_NORMAL"]),
            _number(row["transitions_per_year"], 1),
            _number(row["mean_scalar"]),
            _percent(row["share_scaled"]),
            *(_figure(metric, row[metric]) for metric in ("sharpe", "max_drawdown")),
            *_figures(row, "held_"),
        ]
        for name, row in shown.to_dict("index").items()
    ]
    headings = ["Choice", "Chosen", "NORMAL", "Turns/year", "Mean scalar", "Days scaled", "Sharpe seen", "Max DD seen"]
    render.table(lines, [*headings, "CAGR out", "Sharpe out", "Max DD out"])
    render.say("Seen: over the whole history. Out: held over all windows.")
    if len(shown) < len(result.choices):
        render.say(f"{len(result.choices) - len(shown)} more choices are in --json.")
    render.say()
    render.say(result.verdict)
    if overfitting:
        render.say(overfitting.sentence)
    render.say(_FLATTERED)
    render.say(_UNTOUCHED)


def _worth_a_line(choices: pd.DataFrame) -> pd.DataFrame:
    """The base parameters, all that were ever chosen, and those that did best when held throughout."""
    best = choices["held_score"].nlargest(_BEST_SHOWN).index
    wanted = (choices["times_chosen"] > 0) | choices.index.isin(best)
    wanted.iloc[0] = True
    return choices[wanted]


def _figures(row: Mapping[Any, Any], prefix: str = "") -> list[str]:
    return [_figure(metric, row[f"{prefix}{metric}"]) for metric in _FIGURES]


def _figure(metric: str, value: float) -> str:
    return _number(value, 2) if metric in _RATIOS else _percent(value, 2)


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}%}"


def _print_table(table: pd.DataFrame) -> None:
    """Print rows of a stored table as they are."""
    from weights_pipeline.cli import render

    lines = [
        [_number(cell) if isinstance(cell, float) else str(cell) for cell in row.values()] for row in _records(table)
    ]
    render.table(lines, [str(name) for name in table])


def _last_sessions(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the newest sessions; a session with scalars of sleeves has several."""
    newest = table["session"].drop_duplicates().nlargest(_SESSIONS_SHOWN)
    return table[table["session"].isin(newest)].sort_values("session", kind="stable")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows, with dates as text."""
    import pandas as pd

    dates = [name for name in table if pd.api.types.is_datetime64_any_dtype(table[name])]
    shown = table.assign(**{str(name): table[name].dt.strftime("%Y-%m-%d") for name in dates})
    return [{str(name): cell for name, cell in row.items()} for row in shown.to_dict("records")]
