"""``weights books``: which books there are, what one says in words, and the schema that editors check them by.

Scope: the command and the words. Not here: what a book may say (``books``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.books.book import Book
    from weights_pipeline.core.allocator.hedges import Hedges
    from weights_pipeline.core.policy import Policy
    from weights_pipeline.core.realized.band import Band
    from weights_pipeline.core.realized.costs import Costs
    from weights_pipeline.core.targets.methods.base import GroupLimits, Limits


_APPLIED = {"rebalance": "once at each rebalance", "daily": "anew for every session"}


def add(commands: common.Commands) -> None:
    """Declare the command and those beneath it."""
    books = common.command(commands, "books", _list)
    beneath = books.add_subparsers(metavar="COMMAND", title="commands")
    validate = common.command(beneath, "validate", _validate, within=True)
    validate.add_argument("file", type=Path, metavar="FILE", help="YAML file of a book")
    returns = common.command(beneath, "returns", _returns, within=True)
    returns.add_argument("book", nargs="+", metavar="BOOK", help="books, each a strategy of the file")
    returns.add_argument("--output", type=Path, metavar="FILE", required=True, help="CSV file to write")
    schema = common.command(beneath, "schema", _schema, within=True)
    schema.add_argument("--output", type=Path, metavar="FILE", help="write it to a file")


def _list(options: argparse.Namespace) -> int:
    """List the books: when they rebalance, by which method, inside which limits."""
    from weights_pipeline.cli import render

    workspace = common.workspace()
    found = [_summary(setup.book) for setup in common.setups(workspace).values()]
    if options.json:
        common.print_json(found)
    else:
        render.table([list(row.values()) for row in found], [name.capitalize() for name in found[0]])
    return common.INVALID if workspace.dropped else 0


def _validate(options: argparse.Namespace) -> int:
    """Say in words what a book means, or everything that is wrong with it (exit code 2)."""
    from weights_pipeline.books.load import load_book, load_starter_metrics
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render
    from weights_pipeline.ledger import LedgerError, load_sources
    from weights_pipeline.ledger.periods import require_recorded

    data, problems, said = common.settings().data, list[str](), dict[str, str]()
    try:
        book = load_book(options.file, root=data)
        said = _in_words(book, book.policy())
    except BookError as error:
        problems += str(error).splitlines()
    else:
        try:
            load_starter_metrics(book, data)
        except BookError as error:
            problems += str(error).splitlines()
        try:
            source = load_sources(data / "ledgers", [book])[book.ledger]
            said = _in_words(book, book.policy(frequency=source.frequency))
            # The one look at the clock.
            require_recorded(source, dt.datetime.now(dt.UTC))
        except LedgerError as error:
            problems += str(error).splitlines()
    if options.json:
        common.print_json({"file": options.file, "valid": not problems, "problems": problems, "meaning": said})
        return common.INVALID if problems else 0
    if problems:
        common.stop("\n  ".join([f"{options.file} is not a valid book:", *problems]), common.INVALID)
    render.say(f"{options.file} is a valid book.")
    for part, sentence in said.items():
        render.say(f"{part.capitalize():<10}  {sentence}")
    return 0


def _returns(options: argparse.Namespace) -> int:
    """Write what books have earned, after fees, as daily returns that a ledger may name: a book may hold books."""
    from weights_pipeline.cli import render
    from weights_pipeline.operations.book_returns import (
        NothingEarnedError,
        OthersFileError,
        book_returns,
        write_book_returns,
    )

    workspace = common.workspace()
    setups = [common.setup_named(workspace, name) for name in dict.fromkeys(options.book)]
    try:
        with setups[0].store.view():
            rows = book_returns(setups, setups[0].store)
    except (FileNotFoundError, NothingEarnedError) as error:
        common.stop(str(error), common.INVALID)
    try:
        write_book_returns(options.output, rows)
    except OthersFileError as error:
        common.stop(str(error), common.INVALID)
    except OSError as error:
        common.stop(f"{options.output}: cannot be written: {error}", common.FAILED)
    first, last = (f"{day:%Y-%m-%d}" for day in (rows["session"].min(), rows["session"].max()))
    names = [setup.name for setup in setups]
    told = {"file": options.output, "books": names, "rows": len(rows), "first": first, "last": last}
    if options.json:
        common.print_json(told)
    else:
        render.say(f"Wrote {options.output}: {len(rows)} daily returns of {', '.join(names)}, {first} to {last}.")
    return 0


def _schema(options: argparse.Namespace) -> int:
    """Print the JSON Schema of books, for editors that complete and check YAML while it is typed."""
    from weights_pipeline.books.load import book_schema

    return common.give_schema(book_schema(), options)


def _summary(book: Book) -> dict[str, str]:
    policy = book.policy()
    label = policy.label(policy.longest_lookback.label)
    metric = f" on {'shrunk ' if _shrunk(book) else ''}{label}" if label else ""
    return {
        "book": book.name,
        "cadence": f"{book.cadence.title}, {book.timezone}",
        "method": f"{book.method.kind}{metric}{', by market regime' if book.ensemble else ''}",
        "rate": _per_regime(policy.rate),
        "limits": _limits(book.limits),
        "overlay": "none" if book.overlay is None else "applied" if book.overlay.enabled else "computed, not applied",
        "ledger": book.ledger,
        "account": book.account,
    }


def _shrunk(book: Book) -> bool:
    metric = book.method.metric
    return not isinstance(metric, str) and metric.shrink


def _per_regime(value: float | Mapping[str, float]) -> str:
    if not isinstance(value, Mapping):
        return f"{value:g}"
    return ", ".join(f"{each:g} in {regime}" for regime, each in value.items())


def _limits(limits: Limits) -> str:
    groups = f", {_counted(len(limits.groups), 'group')}" if limits.groups else ""
    if limits.of == "weight":
        return f"{limits.floor:g}..{limits.cap:g}{groups}"
    return f"{limits.floor:g}x..{limits.cap:g}x base{groups}"


def _in_words(book: Book, policy: Policy) -> dict[str, str]:
    """What each part of a book means, in a sentence."""
    from weights_pipeline.cli.render import speed_sentence

    base = sorted(book.strategies.values())
    return {
        "book": f"{book.name}, for account {book.account}, on ledger {book.ledger}; owner {book.owner}.",
        "strategies": f"{len(base)} with base weights from {base[0]:.2%} to {base[-1]:.2%}, adding up to "
        f"{book.gross:.6g}.",
        "cadence": f"{book.cadence.title}, {book.timezone}, on the {book.cadence.works_on}; "
        f"stale after {_counted(book.max_age, 'day')}.",
        "measured": _measured(book, policy),
        "method": _method(book),
        "limits": _limits_in_words(book),
        "speed": speed_sentence(policy.rate)
        if isinstance(policy.rate, float | int)
        else f"the share of the gap to target closed in a rebalance is {_per_regime(policy.rate)}.",
        **({"aim": f"steps go {policy.aim:.0%} of the way from base to target."} if policy.aim < 1 else {}),
        **({"band": _band(policy.band)} if policy.band else {}),
        **({"costs": _costs(book.costs, counted=policy.counts_costs)} if book.costs else {}),
        "overlay": _overlay(book),
        "ensemble": "one weight set per market regime (bull, bear, range, neutral) and one on all sessions; that of "
        "the current regime is read, else the newest other."
        if book.ensemble
        else "none; there is one weight set, made on all sessions.",
        "turnover": f"a rebalance that turns over more than {book.max_turnover:.0%} (one way) draws a warning"
        + (f"; one is shortened at {_per_regime(policy.turnover_cap)}." if policy.turnover_cap is not None else "."),
        **({"starts": f"with {book.starts}, from what was published by then."} if book.starts else {}),
        **({"changed": f"in {', '.join(book.changed)}; this is the book since then."} if book.changed else {}),
    }


def _costs(costs: Costs, *, counted: bool) -> str:
    own = "".join(f", {name} {fee:.4g}" for name, fee in sorted(costs.by_strategy.items()))
    use = "the method counts those of trading, and figures are stated" if counted else "figures are stated"
    return (
        f"trading one unit of weight costs {costs.fee:.4g}{own}, a rebalance {costs.rebalance:.4g}, gross above 1 "
        f"{costs.financing:.4g} a year; {use} before and after them."
    )


def _band(band: Band) -> str:
    widths = [
        *([f"{band.absolute:.2%} of capital"] if band.absolute is not None else []),
        *([f"{band.relative:.0%} of its target"] if band.relative is not None else []),
    ]
    width = " or ".join(widths) + (", whichever is narrower" if len(widths) > 1 else "")
    if band.of == "turnover":
        return f"the book is traded only when all gaps to target would turn over more than {width}."
    if band.of == "book":
        return f"the book is traded only when one weight is further from its target than {width}."
    return (
        f"a strategy is traded only when its weight is further from its target than {width}, and then to its "
        f"{band.to or 'edge'}; others only to complete what buys and sells add up to."
    )


def _measured(book: Book, policy: Policy) -> str:
    if not book.method.reads:
        return "nothing that the weights depend on."
    names = " and ".join(name.replace("_", " ") for name in book.method.reads)
    windows = {regime: f"{each.amount} {each.unit}" for regime, each in policy.lookbacks.items()}
    over = " or ".join(f"{window} in {regime}" for regime, window in windows.items())
    if not policy.adaptive:
        over = f"the last {policy.longest_lookback.amount} {policy.longest_lookback.unit}"
    needed = policy.metrics.sessions_needed(policy.longest_lookback, policy.frequency)
    sentence = (
        f"{names} over {over}, risk-free rate {policy.metrics.risk_free:.2%}; null with fewer than "
        f"{_counted(needed, policy.frequency.unit)} or {_counted(policy.metrics.min_closed_lots, 'closed lot')}."
    )
    if policy.metrics.active_days_only:
        sentence += " Means are taken over active days only."
    if _shrunk(book):
        sentence += " It is drawn towards the mean of all strategies, the more the larger its sampling error."
    if book.starter_metrics:
        sentence += f" Before the twelfth month of data, blended with {book.starter_metrics}."
    return sentence


def _method(book: Book) -> str:
    from dataclasses import fields

    title = (type(book.method).__doc__ or "").strip().splitlines()[0].split(";")[0].rstrip(".")
    told = {"kind", "metric", "lookback", "decisions"}
    method: Any = book.method
    figures = {each.name: getattr(method, each.name) for each in fields(method) if each.name not in told}
    shown = ", ".join(f"{name} {_figure(value)}" for name, value in figures.items())
    return f"{book.method.kind}: {title}{f' ({shown})' if shown else ''}."


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} {_figure(figure)}" for name, figure in value.items() if name != "kind")
        if "kind" not in value:
            return inner
        return f"{value['kind']} ({inner})" if inner else str(value["kind"])
    if isinstance(value, list):
        return ", ".join(map(_figure, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits_in_words(book: Book) -> str:
    gross = f" In all they are at most {book.gross:g}; the rest is cash." if book.limits.gross == "at_most" else ""
    capacity = "".join(
        f" {name} is given at most {amount:,.6g} of a capital of {book.limits.capital:,.6g}."
        for name, amount in sorted(book.limits.capacities.items())
    ) + "".join(
        f" {name} is given what it can trade with at most {share:.6g} of the usual volume of a symbol."
        for name, share in book.limits.participations.items()
    )
    groups = "".join(map(_group_in_words, sorted(book.limits.groups.items())))
    return _bounds_in_words(book) + groups + capacity + gross


def _group_in_words(item: tuple[str, GroupLimits]) -> str:
    name, group = item
    limits = [f"at least {group.floor:g}"] if group.floor else []
    limits += [] if group.cap is None else [f"at most {group.cap:g}"]
    return f" Group {name} ({', '.join(group.members)}) weighs {' and '.join(limits)} in all."


def _bounds_in_words(book: Book) -> str:
    floor, cap = f"{book.limits.floor:g}", f"{book.limits.cap:g}"
    if book.limits.of == "weight":
        return f"every weight stays between {floor} and {cap}, exactly."
    if book.limits.normalisation == "proportional":
        return (
            f"multipliers stay between {floor} and {cap}; weights are then scaled alike and may end outside of these "
            f"multiples of base."
        )
    return f"every weight stays between {floor} and {cap} times its base weight, exactly."


def _overlay(book: Book) -> str:
    if book.overlay is None:
        return "none; weights are never scaled by risk."
    profile = book.overlay.resolved_profile()
    scalars = ", ".join(f"{regime} {scalar:g}" for regime, scalar in profile.map.items())
    effect = "final weights are scaled" if book.overlay.enabled else "a risk scalar is computed and not applied"
    return (
        f"{effect}: {scalars}; smoothed with alpha {profile.alpha:g}, between {profile.floor:g} and {profile.cap:g}, "
        f"{_counted(book.overlay.lag, 'session')} behind, {_APPLIED[book.overlay.apply]}."
        + (
            f" Sleeves with scalars of their own: {', '.join(own)}."
            if (own := sorted(book.overlay.sleeve_maps))
            else ""
        )
        + (
            f" After it a volatility target of {100 * wanted.target:.4g}% a year over {wanted.window} sessions, "
            f"at most {wanted.cap:g} times."
            if (wanted := book.overlay.volatility_target)
            else ""
        )
        + (_hedges_in_words(book.overlay.hedges) if book.overlay.hedges else "")
    )


def _hedges_in_words(hedges: Hedges) -> str:
    paid = "by all others in proportion" if hedges.funded == "pro_rata" else "by cash"
    most = f" and at most {hedges.cap:.6g} of all weights" if hedges.cap < 1 else ""
    return (
        f" In {', '.join(hedges.regimes)} the hedges {', '.join(hedges.strategies)} weigh {hedges.weight:g} together, "
        f"paid {paid}, by steps of at most {hedges.weight * hedges.ramp:g} a session{most}."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
