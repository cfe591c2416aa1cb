"""``weights simulate``: a policy over daily returns in a file, without ledger, store or orchestrator.

Scope: the command. Not here: the simulation (``core.study.simulate``), rebalance periods (``ledger.periods``), and the
reading of returns (``ledger.returns_file``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from weights_pipeline.books.book import Book
    from weights_pipeline.core.policy import Policy
    from weights_pipeline.core.realized.costs import Costs
    from weights_pipeline.core.returns.frequency import Frequency
    from weights_pipeline.core.returns.history import ReturnHistory
    from weights_pipeline.core.study.simulate import Simulation
    from weights_pipeline.ledger import ReturnsFile
    from weights_pipeline.operations.policy_grid import Choice, PolicyGrid, Rebalances, Results, Trading, Trial
    from weights_pipeline.store.queries import WeightSet

_FORMATS = (".csv", ".parquet")
_SHOWN = 40
"""So many policies of a grid are listed."""

_FIGURES = {"cagr": "CAGR", "sharpe": "Sharpe", "max_drawdown": "Max drawdown", "worst_month": "Worst month"}
_FLATTERED = (
    "The best of many is flattered by the choice: part of its Sharpe ratio is luck, and luck does not come again. "
    "Judge it on returns that it was not chosen on."
)


def add(commands: common.Commands) -> None:
    """Declare the command."""
    simulate = common.command(commands, "simulate", _simulate)
    simulate.add_argument("--book", required=True, type=Path, metavar="FILE", help="YAML file of the book")
    simulate.add_argument(
        "--returns", required=True, type=Path, metavar="FILE", help="file of daily returns, long or wide"
    )
    common.add_calendar(simulate)
    simulate.add_argument("--monthly", action="store_true", help="the returns are those of calendar months")
    simulate.add_argument("--benchmark", type=Path, metavar="FILE", help="prices that say what the market regime is")
    simulate.add_argument("--from", dest="first", type=common.month, metavar="YYYY-MM", help="first month to rebalance")
    simulate.add_argument("--output", type=Path, metavar="FILE", help="write all weights to a .csv or .parquet file")
    simulate.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="YAML file of costs in place of the book's: fee, by_strategy, rebalance, financing; says what is earned "
        "after them",
    )
    simulate.add_argument(
        "--drift", action="store_true", help="let weights drift with returns between rebalances; otherwise constant"
    )
    simulate.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="try values of a key of the book, such as method.alpha=0.25,0.5; repeated, all combinations",
    )


def _simulate(options: argparse.Namespace) -> int:
    """Run a book over daily returns in a file: its weights, and what they would have earned."""
    from weights_pipeline.books.load import load_starter_metrics
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render
    from weights_pipeline.core.returns.frequency import MONTHLY, Frequency
    from weights_pipeline.core.study.simulate import grid
    from weights_pipeline.engine import open_engine
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.operations.policy_grid import (
        PolicyGrid,
        Trading,
        Trial,
        choice_of,
        figures_of,
        figures_over,
        fingerprint,
        grid_table,
        hash_of,
    )

    if options.output and options.output.suffix.lower() not in _FORMATS:
        common.stop(f"--output {options.output}: expected a file named {' or '.join(_FORMATS)}", common.INVALID)
    settings = common.settings()
    try:
        values, data = PolicyGrid(common.grid_values(options.grid, "method.alpha=0.25,0.5")), settings.data
    except ValueError as error:
        common.stop(f"--grid {error}", common.INVALID)
    try:
        first = _book(options, data, values.changes(0))
        asked = options.costs or options.drift or (first.costs is not None and not first.scaled_daily)
        trading = Trading(_costs(options.costs), options.drift) if asked else None
        calendar, per_year = common.calendar(options)
        frequency = MONTHLY if options.monthly else Frequency(per_year=per_year)
        read = _read(options, first, calendar, frequency)
        history = read.history
        due: dict[Any, Rebalances] = {}

        def trial(place: int) -> Trial:
            book = first if place == 0 else _book(options, data, values.changes(place))
            rhythm = (repr(book.cadence), book.timezone)
            if rhythm not in due:
                due[rhythm] = _rebalances(options, book, history, calendar)
            return Trial(place, book, book.policy(load_starter_metrics(book, data), frequency), due[rhythm])

        def looked_at(asking: set[bool]) -> Iterator[Policy]:
            for made in map(trial, order):
                asking.add(made.book.ensemble is not None)
                _require_costs(options, trading, made.policy)
                yield made.policy

        # All of them first, and none is kept: what is wrong with one is said before anything is computed.
        order, asking = values.order(), set[bool]()
        policies = hash_of(looked_at(asking))
        regimes = _regimes(options, first, asking, history, calendar)
        sessions = _sessions(history, due.values(), calendar)
    except (BookError, LedgerError) as error:
        common.stop(str(error), common.INVALID)
    if not options.grid:
        alone = trial(0)
        of_every_gap = [] if alone.policy.band is None else [replace(alone.policy, band=None)]
        with _told(options):
            made = grid(history, alone.due.as_of, sessions, [alone.policy, *of_every_gap], market_regimes=regimes)
            simulation, *without_band = made
            figures = figures_of(simulation, trading and trading.of(simulation))
        _tell_run(options, read, alone, simulation, without_band, figures)
        return 0
    of = fingerprint(policies, history, sessions, regimes, trading)
    since = max(each.as_of[0] for each in due.values())
    with _results(options, of) as results, render.progress(quiet=options.json or len(order) <= _SHOWN) as progress:
        left = [place for place in order if place not in results.figures]
        with _told(options), open_engine(settings.engine) as engine:
            found = figures_over(map(trial, left), history, sessions, regimes, since, trading, engine.map)
            for place, figures in found:
                results.add(place, figures)
                progress(len(results.figures), len(order), "policies")
        if options.output:
            _write(grid_table(values, results.figures), options.output)
            results.done()
    choice = choice_of(results.figures, int((sessions > since).sum()), frequency)
    _tell_grid(options, read, values, results.figures, choice)
    return 0


def _results(options: argparse.Namespace, of: str) -> Results:
    """Figures of a grid as they come, with those of the same grid that were kept when it was interrupted."""
    from weights_pipeline.operations.policy_grid import OtherGridError, Results

    kept = options.output and options.output.with_name(f"{options.output.name}.partial")
    try:
        return Results(kept, of)
    except OtherGridError as error:
        common.stop(f"--output {error}", common.INVALID)
    except OSError as error:
        common.stop(f"--output {kept}: cannot be written: {error}", common.FAILED)


@contextmanager
def _told(options: argparse.Namespace) -> Iterator[None]:
    """Say what a book, an engine or a disk failed by."""
    from weights_pipeline.core.allocator.overlay import StaleScalarError
    from weights_pipeline.engine import EngineError

    try:
        yield
    except EngineError as error:
        common.stop(str(error), common.FAILED)
    except OSError as error:
        common.stop(f"--output {options.output}: {error}" if options.output else str(error), common.FAILED)
    except (ValueError, StaleScalarError) as error:
        common.stop(f"{options.book}: {error}", common.FAILED)


def _tell_run(
    options: argparse.Namespace,
    read: ReturnsFile,
    alone: Trial,
    simulation: Simulation,
    without_band: Sequence[Simulation],
    figures: dict[str, Any],
) -> None:
    from weights_pipeline.cli import render

    history, table = read.history, _table(alone, simulation)
    for each in without_band:
        figures["turnover"]["without_band"] = float(each.turnover.mean())
    if options.output:
        _write(table, options.output)
    newest = _weight_set(alone, simulation, table)
    unknown = sorted(set(alone.book.strategies) - set(history.strategies))
    if options.json:
        content = {
            "rebalances": len(alone.due.windows),
            "sessions": [str(history.sessions[0].date()), str(history.sessions[-1].date())],
            "without_returns": unknown,
            **_said_of(read),
            "weights": render.weights_as_dict(newest),
            **figures,
        }
        common.print_json(content)
    else:
        _print_run(simulation, newest, unknown, figures)
        _print_said(read)


def _tell_grid(
    options: argparse.Namespace,
    read: ReturnsFile,
    values: PolicyGrid,
    figures: dict[int, dict[str, Any]],
    choice: Choice,
) -> None:
    from weights_pipeline.cli import render
    from weights_pipeline.operations.policy_grid import best_of

    if options.json:
        best = best_of(figures)
        rows = [
            {
                "changes": values.changes(place),
                "turnover": figures[place]["turnover"],
                "performance": figures[place]["performance"],
                **({"costs": figures[place]["costs"]} if "costs" in figures[place] else {}),
                "best_sharpe": place == best,
            }
            for place in sorted(figures)
        ]
        chosen = {
            "policies": choice.policies,
            "best_sharpe_by_luck": choice.lucky,
            "overfitting": asdict(choice.overfitting) if choice.overfitting else None,
            "walk_forward": asdict(choice.walked) if choice.walked else None,
        }
        common.print_json({"grid": rows, "note": _FLATTERED, "choice": chosen, **_said_of(read)})
    else:
        _print_grid(values, figures, options)
        render.say(choice.sentence)
        _print_said(read)


def _said_of(read: ReturnsFile) -> dict[str, Any]:
    """JSON form of what somebody has to look at in the file of returns."""
    shown = ("severity", "code", "strategy", "message", "setting")
    return {
        "read": read.read,
        "rejected": read.rejected[["source_file", "line", "reasons", "details"]].to_dict("records"),
        "not_in_the_book": list(read.strangers),
        "findings": [{name: getattr(each, name) for name in shown} for each in read.findings],
    }


def _print_said(read: ReturnsFile) -> None:
    from weights_pipeline.cli import render
    from weights_pipeline.ledger.returns_file import flaws_of

    if read.strangers:
        render.say(f"Not in the book, and left out: {', '.join(read.strangers)}.")
    if rejected := len(read.rejected):
        render.say(
            f"Rejected: {rejected} of {read.read} rows, which count as if they were not there. "
            + flaws_of(read.rejected)
        )
    for each in read.findings:
        render.ledger_finding(each)


def _require_costs(options: argparse.Namespace, trading: Trading | None, policy: Policy) -> None:
    from weights_pipeline.books.reading import BookError

    if trading is None:
        return
    try:
        trading.require(policy)
    except ValueError as error:
        raise BookError(f"{options.costs or options.book}: {error}") from error


def _costs(file: Path | None) -> Costs | None:
    """Costs that a file says; None where there is no file."""
    from pydantic import TypeAdapter

    from weights_pipeline.books.reading import read_yaml, validated
    from weights_pipeline.core.realized.costs import Costs

    if file is None:
        return None
    costs: Costs = validated(TypeAdapter(Costs), read_yaml(file), file)
    return costs


def _book(options: argparse.Namespace, data: Path, changes: dict[str, Any]) -> Book:
    from weights_pipeline.books.load import load_book

    return load_book(options.book, root=data, changes=changes)


def _read(options: argparse.Namespace, book: Book, calendar: str, frequency: Frequency) -> ReturnsFile:
    from weights_pipeline.ledger import LedgerError, read_returns_file

    read = read_returns_file(options.returns, calendar=calendar, strategies=book.strategies, frequency=frequency)
    begin, end = (f"{read.history.sessions[edge]:%Y-%m}" for edge in (0, -1))
    if options.first and not begin <= f"{options.first:%Y-%m}" <= end:
        raise LedgerError(f"--from {options.first:%Y-%m}: {options.returns} has returns from {begin} to {end}")
    return read


def _regimes(
    options: argparse.Namespace, book: Book, asking: set[bool], history: ReturnHistory, calendar: str
) -> pd.Series | None:
    """Market regime by session, where a book asks for one."""
    from weights_pipeline.core.targets.market_regime import market_regimes
    from weights_pipeline.ledger import LedgerError, calendar_sessions, read_benchmark_file

    asked = True in asking
    if asked != bool(options.benchmark):
        reads = "keeps a weight set per market regime; give the prices that say which it is" if asked else "reads none"
        raise LedgerError(f"--benchmark: book {book.name} {reads}")
    if not asked:
        return None
    prices = read_benchmark_file(options.benchmark)
    sessions = calendar_sessions(calendar, prices.index[0].date(), history.sessions[-1].date())
    known = prices[prices.index.isin(sessions)]
    if known.empty:
        raise LedgerError(f"{options.benchmark}: has no price on a session up to {history.sessions[-1]:%Y-%m-%d}")
    return market_regimes(known)["regime"]


def _rebalances(options: argparse.Namespace, book: Book, history: ReturnHistory, calendar: str) -> Rebalances:
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.ledger.periods import Periods
    from weights_pipeline.operations.policy_grid import Rebalances

    first: dt.date = options.first or history.sessions[0].date().replace(day=1)
    due = Rebalances.of(Periods(book.cadence, book.timezone, calendar, first), history)
    if not due.windows:
        raise LedgerError(
            f"{options.returns}: from {first} to {history.sessions[-1]:%Y-%m-%d} there is no whole period of book "
            f"{book.name}, which rebalances {book.cadence.title}"
        )
    return due


def _sessions(history: ReturnHistory, due: Iterable[Rebalances], calendar: str) -> pd.DatetimeIndex:
    """Trading calendar of the history, and past the last rebalance."""
    from weights_pipeline.ledger import sessions_past

    first, newest = history.sessions[0].date().replace(day=1), max(each.as_of[-1] for each in due)
    return sessions_past(calendar, first, newest.date()).union(history.sessions)


def _table(trial: Trial, simulation: Simulation) -> pd.DataFrame:
    """All weights of a simulation: per rebalance and strategy, from base weight to the weight to trade."""
    tables = simulation.weights()
    keys = ["as_of", "strategy"]
    realized = tables["realized_weights"][[*keys, "effective_from", "base", "previous", "target", "rate", "realized"]]
    targets = tables["target_weights"][[*keys, "metric", "metric_value", "multiplier", "note", "weight_set"]]
    final = tables["final_weights"].drop(columns=["effective_from", "realized"])
    periods, windows, _ = trial.due
    due = {as_of: periods.next_due(window) for as_of, window in zip(simulation.as_of, windows, strict=True)}
    table = realized.merge(targets, on=keys).merge(final, on=keys)
    return table.assign(next_rebalance=table["as_of"].map(due)).sort_values(keys, ignore_index=True)


def _weight_set(trial: Trial, simulation: Simulation, table: pd.DataFrame) -> WeightSet:
    """Weights of the newest rebalance, as the store would answer."""
    import pandas as pd

    from weights_pipeline.core.realized.speed import common_rate
    from weights_pipeline.store.queries import WeightRow, WeightSet

    newest = table[table["as_of"] == simulation.as_of[-1]]
    earlier = table[table["as_of"] == simulation.as_of[-2]] if len(simulation.as_of) > 1 else newest.head(0)
    previous = dict(zip(earlier["strategy"], earlier["final"], strict=True))
    records: list[dict[Any, Any]] = newest.to_dict("records")
    rows = [
        WeightRow(
            strategy=row["strategy"],
            base=row["base"],
            target=row["target"],
            realized=row["realized"],
            final=row["final"],
            metric_value=None if pd.isna(row["metric_value"]) else row["metric_value"],
            note=row["note"],
            scalar=None if pd.isna(row["scalar"]) else row["scalar"],
            previous=previous.get(row["strategy"]),
        )
        for row in records
    ]
    one = records[0]
    return WeightSet(
        book=trial.book.name,
        rows=tuple(rows),
        metric=one["metric"],
        weight_set=one["weight_set"],
        as_of=one["as_of"].date(),
        effective_from=one["effective_from"].date(),
        next_rebalance=one["next_rebalance"],
        rate=common_rate(newest["rate"].tolist()),
        scalar_session=None if pd.isna(one["scalar_session"]) else one["scalar_session"].date(),
        regime=one["regime"],
        applied=bool(one["applied"]),
        volatility_scalar=None if pd.isna(one["volatility_scalar"]) else one["volatility_scalar"],
        previous_from=earlier["effective_from"].iloc[0].date() if len(earlier) else None,
    )


def _write(table: pd.DataFrame, file: Path) -> None:
    from weights_pipeline.files import replacing

    try:
        with replacing(file) as temporary:
            if file.suffix.lower() == ".csv":
                table.to_csv(temporary, index=False)
            else:
                table.to_parquet(temporary, index=False)
    except OSError as error:
        common.stop(f"--output {file}: cannot be written: {error}", common.FAILED)


def _print_run(simulation: Simulation, newest: WeightSet, unknown: Sequence[str], figures: dict[str, Any]) -> None:
    from weights_pipeline.cli import render
    from weights_pipeline.core.study.costs import paid_in_words

    as_of = simulation.as_of
    render.say(f"Simulated {len(as_of)} rebalances, on data to {as_of[0]:%Y-%m-%d} up to {as_of[-1]:%Y-%m-%d}.")
    if unknown:
        render.say(f"Without any return: {', '.join(unknown)}.")
    render.weights(newest)
    turnover = figures["turnover"]
    render.say(
        f"One-way turnover of a rebalance: {turnover['mean']:.2%} on average, {turnover['largest']:.2%} at most, on "
        f"data to {turnover['largest_as_of']}."
    )
    if (without := turnover.get("without_band")) is not None:
        render.say(
            f"Without its no-trade band it would be {without:.2%} on average: the band saves "
            f"{without - turnover['mean']:.2%} of capital in trades a rebalance."
        )
    days = simulation.traded.index
    render.say(f"\nEarned from {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}, before costs:" if len(days) else "\nEarned:")
    rows = [
        [name.capitalize(), *(_shown(metric, values[metric]) for metric in _FIGURES)]
        for name, values in figures["performance"].items()
    ]
    render.table(rows, ["Weights", *_FIGURES.values()])
    if costs := figures.get("costs"):
        held = "drift with returns" if costs["drift"] else "are held constant"
        render.say(f"\nTraded weights, which {held} between rebalances, before and after costs:")
        sides = ("before", "after")
        rows = [[side.capitalize(), *(_shown(metric, costs[side][metric]) for metric in _FIGURES)] for side in sides]
        render.table(rows, ["Costs", *_FIGURES.values()])
        render.say(paid_in_words(costs))


def _print_grid(values: PolicyGrid, figures: dict[int, dict[str, Any]], options: argparse.Namespace) -> None:
    """All of a small grid in its order; of a large one, the best."""
    from weights_pipeline.cli import render
    from weights_pipeline.operations.policy_grid import by_sharpe, judged_by

    ranked = by_sharpe(figures)
    whole = len(figures) <= _SHOWN
    costed = "costs" in figures[0]
    lines = [
        [
            *map(str, values.cells(place).values()),
            *([_shown("sharpe", figures[place]["costs"]["before"]["sharpe"])] if costed else []),
            *(_shown(metric, judged_by(figures[place])[metric]) for metric in _FIGURES),
            f"{figures[place]['turnover']['mean']:.2%}",
            "← best Sharpe" if place in ranked[:1] else "",
        ]
        for place in (sorted(figures) if whole else ranked[:_SHOWN])
    ]
    before = ["Sharpe before costs"] if costed else []
    render.table(lines, [*values.values, *before, *_FIGURES.values(), "Mean turnover", ""])
    if not whole:
        where = f"{options.output} has all" if options.output else "--output FILE writes all"
        render.say(f"The {len(lines)} best by Sharpe ratio of {len(figures):,} policies; {where}.")
    if costed:
        held = "drift with returns" if options.drift else "are held constant"
        render.say(f"All but the ratio before costs is after them, at weights that {held} between rebalances.")
    render.say(_FLATTERED)


def _shown(metric: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:.2f}" if metric == "sharpe" else f"{value:.2%}"
