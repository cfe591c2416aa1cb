"""``weights simulate``: a policy over daily returns in a file, without ledger, store or orchestrator.

Scope: the command. Not here: the simulation (``core.study.simulate``), rebalance periods (``ledger.periods``), and the
reading of returns (``ledger.returns_file``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from weights_pipeline.books.book import Book
    from weights_pipeline.core.returns.frequency import Frequency
    from weights_pipeline.core.returns.history import ReturnHistory
    from weights_pipeline.core.study.simulate import Simulation
    from weights_pipeline.ledger import ReturnsFile
    from weights_pipeline.ledger.periods import Periods
    from weights_pipeline.store.queries import WeightSet
    from weights_pipeline.tables.contract import Window

_FORMATS = (".csv", ".parquet")
_FIGURES = {"cagr": "CAGR", "sharpe": "Sharpe", "max_drawdown": "Max drawdown", "worst_month": "Worst month"}
_FLATTERED = (
    "The best of many is flattered by the choice: part of its Sharpe ratio is luck, and luck does not come again. "
    "Judge it on returns that it was not chosen on."
)


class _Rebalances(NamedTuple):
    """Periods of a book, those with data to their end, and the last session of each."""

    periods: Periods
    windows: list[Window]
    as_of: pd.DatetimeIndex


class _Run(NamedTuple):
    """One book simulated, and its rebalances."""

    book: Book
    rebalances: _Rebalances
    simulation: Simulation


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
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="try values of a key of the book, such as method.alpha=0.25,0.5; repeated, all combinations",
    )


def _simulate(options: argparse.Namespace) -> int:
    """Run a book over daily returns in a file: its weights, and what they would have earned."""
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.overlay import StaleScalarError
    from weights_pipeline.core.returns.frequency import MONTHLY, Frequency
    from weights_pipeline.ledger import LedgerError

    if options.output and options.output.suffix.lower() not in _FORMATS:
        common.stop(f"--output {options.output}: expected a file named {' or '.join(_FORMATS)}", common.INVALID)
    data, changes = common.settings().data, _combinations(options.grid)
    try:
        books = [_book(options.book, data, change) for change in changes]
        calendar, per_year = common.calendar(options)
        frequency = MONTHLY if options.monthly else Frequency(per_year=per_year)
        read = _read(options, books[0], calendar, frequency)
        history = read.history
        regimes = _regimes(options, books, history, calendar)
        due = [_rebalances(options, book, history, calendar) for book in books]
    except (BookError, LedgerError) as error:
        common.stop(str(error), common.INVALID)
    try:
        runs = _runs(books, due, history, regimes, calendar, frequency, data)
        figures = [_performance(run.simulation) for run in runs]
    except (ValueError, StaleScalarError) as error:
        common.stop(f"{options.book}: {error}", common.FAILED)

    if options.grid:
        best = _best(figures)
        rows = [
            {"changes": change, **figure, "best_sharpe": i == best}
            for i, (change, figure) in enumerate(zip(changes, figures, strict=True))
        ]
        if options.output:
            _write(_grid_table(rows), options.output)
        if options.json:
            common.print_json({"grid": rows, "note": _FLATTERED, **_said_of(read)})
        else:
            _print_grid(rows)
            _print_said(read)
        return 0
    table = _table(runs[0])
    if options.output:
        _write(table, options.output)
    newest = _weight_set(runs[0], table)
    unknown = sorted(set(books[0].strategies) - set(history.strategies))
    if options.json:
        content = {
            "rebalances": len(runs[0].rebalances.windows),
            "sessions": [str(history.sessions[0].date()), str(history.sessions[-1].date())],
            "without_returns": unknown,
            **_said_of(read),
            "weights": render.weights_as_dict(newest),
            **figures[0],
        }
        common.print_json(content)
        return 0
    _print_run(runs[0], newest, unknown, figures[0])
    _print_said(read)
    return 0


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


def _combinations(grid: Sequence[str]) -> list[dict[str, Any]]:
    """Every combination of the values that a grid names; one without changes where it names none."""
    import yaml

    keys, values = list[str](), list[list[Any]]()
    for text in grid:
        key, equals, listed = text.partition("=")
        if not (key and equals and listed) or key in keys:
            problem = "is named twice" if key in keys else "expected KEY=VALUE,VALUE such as method.alpha=0.25,0.5"
            common.stop(f"--grid {text}: {problem}", common.INVALID)
        try:
            values.append([yaml.safe_load(value) for value in listed.split(",")])
        except yaml.YAMLError as error:
            common.stop(f"--grid {text}: not readable as YAML: {error}", common.INVALID)
        keys.append(key)
    return [dict(zip(keys, chosen, strict=True)) for chosen in product(*values)]


def _book(file: Path, data: Path, changes: dict[str, Any]) -> Book:
    from weights_pipeline.books.load import load_book

    return load_book(file, root=data, changes=changes)


def _read(options: argparse.Namespace, book: Book, calendar: str, frequency: Frequency) -> ReturnsFile:
    from weights_pipeline.ledger import LedgerError, read_returns_file

    read = read_returns_file(options.returns, calendar=calendar, strategies=book.strategies, frequency=frequency)
    begin, end = (f"{read.history.sessions[edge]:%Y-%m}" for edge in (0, -1))
    if options.first and not begin <= f"{options.first:%Y-%m}" <= end:
        raise LedgerError(f"--from {options.first:%Y-%m}: {options.returns} has returns from {begin} to {end}")
    return read


def _regimes(
    options: argparse.Namespace, books: Sequence[Book], history: ReturnHistory, calendar: str
) -> pd.Series | None:
    """Market regime by session, where a book asks for one."""
    from weights_pipeline.core.targets.market_regime import market_regimes
    from weights_pipeline.ledger import LedgerError, calendar_sessions, read_benchmark_file

    asking = [book for book in books if book.ensemble]
    if bool(asking) != bool(options.benchmark):
        reads = "keeps a weight set per market regime; give the prices that say which it is" if asking else "reads none"
        raise LedgerError(f"--benchmark: book {books[0].name} {reads}")
    if not asking:
        return None
    prices = read_benchmark_file(options.benchmark)
    sessions = calendar_sessions(calendar, prices.index[0].date(), history.sessions[-1].date())
    known = prices[prices.index.isin(sessions)]
    if known.empty:
        raise LedgerError(f"{options.benchmark}: has no price on a session up to {history.sessions[-1]:%Y-%m-%d}")
    return market_regimes(known)["regime"]


def _rebalances(options: argparse.Namespace, book: Book, history: ReturnHistory, calendar: str) -> _Rebalances:
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.ledger.periods import Periods, rebalances

    first: dt.date = options.first or history.sessions[0].date().replace(day=1)
    periods = Periods(book.cadence, book.timezone, calendar, first)
    windows, as_of = rebalances(periods, history.sessions[-1].date())
    if not windows:
        raise LedgerError(
            f"{options.returns}: from {first} to {history.sessions[-1]:%Y-%m-%d} there is no whole period of book "
            f"{book.name}, which rebalances {book.cadence.title}"
        )
    return _Rebalances(periods, windows, as_of)


def _runs(
    books: Sequence[Book],
    due: Sequence[_Rebalances],
    history: ReturnHistory,
    regimes: pd.Series | None,
    calendar: str,
    frequency: Frequency,
    data: Path,
) -> list[_Run]:
    """Simulate books; those that rebalance on the same sessions share what they have in common."""
    from weights_pipeline.books.load import load_starter_metrics
    from weights_pipeline.core.study.simulate import grid
    from weights_pipeline.ledger import sessions_past

    first, newest = history.sessions[0].date().replace(day=1), max(each.as_of[-1] for each in due)
    sessions = sessions_past(calendar, first, newest.date()).union(history.sessions)
    together: dict[tuple[Any, ...], list[int]] = {}
    for place, each in enumerate(due):
        together.setdefault(tuple(each.as_of), []).append(place)
    runs: dict[int, _Run] = {}
    for places in together.values():
        policies = [books[place].policy(load_starter_metrics(books[place], data), frequency) for place in places]
        made = grid(history, due[places[0]].as_of, sessions, policies, market_regimes=regimes)
        for place, simulation in zip(places, made, strict=True):
            runs[place] = _Run(books[place], due[place], simulation)
    return [runs[place] for place in range(len(books))]


def _performance(simulation: Simulation) -> dict[str, Any]:
    """What unscaled and traded weights earned, and the turnover of the unscaled ones."""
    from weights_pipeline.core.allocator.overlay import performance

    largest = int(simulation.turnover.argmax())
    return {
        "turnover": {
            "mean": float(simulation.turnover.mean()),
            "largest": float(simulation.turnover[largest]),
            "largest_as_of": str(simulation.as_of[largest].date()),
        },
        "performance": {
            returns.name: {
                name: value
                for name, (value, _) in performance(returns, str(returns.name), simulation.policy.frequency).items()
            }
            for returns in (simulation.unscaled, simulation.traded)
        },
    }


def _best(figures: Sequence[dict[str, Any]]) -> int | None:
    """Place of the best Sharpe ratio of traded weights; None where none has one."""
    sharpe = {i: each["performance"]["traded"]["sharpe"] for i, each in enumerate(figures)}
    measured = {i: value for i, value in sharpe.items() if value == value}
    return max(measured, key=lambda i: measured[i]) if measured else None


def _table(run: _Run) -> pd.DataFrame:
    """All weights of a simulation: per rebalance and strategy, from base weight to the weight to trade."""
    tables = run.simulation.tables()
    keys = ["as_of", "strategy"]
    realized = tables["realized_weights"][[*keys, "effective_from", "base", "previous", "target", "rate", "realized"]]
    targets = tables["target_weights"][[*keys, "metric", "metric_value", "multiplier", "note", "weight_set"]]
    final = tables["final_weights"].drop(columns=["effective_from", "realized"])
    periods, windows, _ = run.rebalances
    due = {as_of: periods.next_due(window) for as_of, window in zip(run.simulation.as_of, windows, strict=True)}
    table = realized.merge(targets, on=keys).merge(final, on=keys)
    return table.assign(next_rebalance=table["as_of"].map(due)).sort_values(keys, ignore_index=True)


def _weight_set(run: _Run, table: pd.DataFrame) -> WeightSet:
    """Weights of the newest rebalance, as the store would answer."""
    import pandas as pd

    from weights_pipeline.store.queries import WeightRow, WeightSet

    newest = table[table["as_of"] == run.simulation.as_of[-1]]
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
        )
        for row in records
    ]
    one = records[0]
    return WeightSet(
        book=run.book.name,
        rows=tuple(rows),
        metric=one["metric"],
        weight_set=one["weight_set"],
        as_of=one["as_of"].date(),
        effective_from=one["effective_from"].date(),
        next_rebalance=one["next_rebalance"],
        rate=float(one["rate"]),
        scalar_session=None if pd.isna(one["scalar_session"]) else one["scalar_session"].date(),
        regime=one["regime"],
        applied=bool(one["applied"]),
    )


def _grid_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            row["changes"]
            | row["performance"]["traded"]
            | {"mean_turnover": row["turnover"]["mean"], "best_sharpe": row["best_sharpe"]}
            for row in rows
        ]
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


def _print_run(run: _Run, newest: WeightSet, unknown: Sequence[str], figures: dict[str, Any]) -> None:
    from weights_pipeline.cli import render

    as_of = run.simulation.as_of
    render.say(f"Simulated {len(as_of)} rebalances, on data to {as_of[0]:%Y-%m-%d} up to {as_of[-1]:%Y-%m-%d}.")
    if unknown:
        render.say(f"Without any return: {', '.join(unknown)}.")
    render.weights(newest)
    turnover = figures["turnover"]
    render.say(
        f"One-way turnover of a rebalance: {turnover['mean']:.2%} on average, {turnover['largest']:.2%} at most, on "
        f"data to {turnover['largest_as_of']}."
    )
    days = run.simulation.traded.index
    render.say(f"\nEarned from {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}, before costs:" if len(days) else "\nEarned:")
    rows = [
        [name.capitalize(), *(_shown(metric, values[metric]) for metric in _FIGURES)]
        for name, values in figures["performance"].items()
    ]
    render.table(rows, ["Weights", *_FIGURES.values()])


def _print_grid(rows: Sequence[dict[str, Any]]) -> None:
    from weights_pipeline.cli import render

    lines = [
        [
            *map(str, row["changes"].values()),
            *(_shown(metric, row["performance"]["traded"][metric]) for metric in _FIGURES),
            f"{row['turnover']['mean']:.2%}",
            "← best Sharpe" if row["best_sharpe"] else "",
        ]
        for row in rows
    ]
    render.table(lines, [*rows[0]["changes"], *_FIGURES.values(), "Mean turnover", ""])
    render.say(_FLATTERED)


def _shown(metric: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:.2f}" if metric == "sharpe" else f"{value:.2%}"
