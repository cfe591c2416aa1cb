"""``weights restate``: what a changed ledger touches, before anything of it is written.

Scope: the command, and the clock: this is where "now" is read. Not here: the comparison (``operations.restatement``).
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.operations.restatement import Effect, Restatement, RowChange

_SHOWN = 20
_TOLD = ("strategy", "symbol", "session", "pnl", "daily_return", "price", "regime")
"""Columns that say what an added or removed row is."""


def add(commands: common.Commands) -> None:
    """Declare the command."""
    restate = common.command(commands, "restate", _restate)
    restate.add_argument("--book", help="follow the change to this book; to all that read a ledger when left out")


def _restate(options: argparse.Namespace) -> int:
    """Show what has changed in the ledger's files since they were stored, and which weights would change with it."""
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.cli import render
    from weights_pipeline.core.allocator.overlay import StaleScalarError
    from weights_pipeline.ledger import LedgerError
    from weights_pipeline.operations.restatement import NotReadError, restate

    now = dt.datetime.now(dt.UTC)
    workspace = common.workspace()
    setups = [common.setup_named(workspace, options.book)] if options.book else [*common.setups(workspace).values()]
    found, never = list["Restatement"](), ""
    try:
        for ledger in sorted({setup.source.name for setup in setups}):
            try:
                found.append(restate(workspace, ledger, [s.name for s in setups if s.source.name == ledger], now))
            except NotReadError as error:
                never = str(error)
    except (BookError, LedgerError) as error:
        common.stop(str(error), common.INVALID)
    except (ValueError, StaleScalarError) as error:
        common.stop(f"on the ledger as its files say: {error}", common.FAILED)
    if not found:
        common.stop(never, common.NOTHING)
    if options.json:
        common.print_json([asdict(each) for each in found])
        return 0
    for each in found:
        if each.since is None and not each.effects:
            render.say(f"Nothing has changed: the files of ledger {each.ledger} say what is stored.")
        else:
            _print(each)
        before, now_rejected = each.rejected
        if before != now_rejected:
            render.say(
                f"Rows set aside: {before} when ledger {each.ledger} was read, {now_rejected} now. Its next reading "
                f"lists them in {each.ledger}_ledger.rejected_lots, with every reason."
            )
    return 0


def _print(found: Restatement) -> None:
    from weights_pipeline.cli import render

    if found.since is None:
        render.say(f"The files of ledger {found.ledger} say what is stored, but not all weights were made from it.")
    else:
        _print_changes(found)
    for effect in found.effects:
        render.say()
        _print_effect(effect)


def _print_changes(found: Restatement) -> None:
    from weights_pipeline.cli import render

    render.say(f"Ledger {found.ledger} has changed since it was stored, from {found.since} on.")
    if found.changes:
        counts = Counter((change.month, change.table, change.kind) for change in found.changes)
        tables = dict.fromkeys((change.month, change.table) for change in found.changes)
        rows = [[*at, *(str(counts[*at, kind]) for kind in ("added", "removed", "changed"))] for at in tables]
        render.table(rows, ["Month", "Table", "Added", "Removed", "Changed"])
        for change in found.changes[:_SHOWN]:
            render.say(f"  {change.month} {change.kind}: {_line(change)}")
        if (more := len(found.changes) - _SHOWN) > 0:
            render.say(f"  and {more} more; --json has them all")
    else:
        render.say("No row of it has: what has changed is its capital, its prices or its rates.")
    returns = ", ".join(f"{count} of {strategy}" for strategy, count in found.returns.items())
    render.say(f"Daily returns that change: {returns or 'none'}.")


def _print_effect(effect: Effect) -> None:
    from weights_pipeline.cli import render

    if not effect.command:
        what = (
            f"none of {effect.rebalances} rebalances has"
            if effect.rebalances
            else "is not stored, so nothing of it has"
        )
        render.say(f"{effect.book}: {what} seen the change.")
        return
    if effect.largest is None:
        render.say(f"{effect.book}: no weight of its {effect.rebalances} rebalances changes.")
    else:
        render.say(
            f"{effect.book}: weights of {len(effect.changed)} of {effect.rebalances} rebalances change, from "
            f"{effect.changed[0]} to {effect.changed[-1]}; most that of {effect.largest.strategy} in "
            f"{effect.largest.rebalance}, from {effect.largest.old:.4%} to {effect.largest.new:.4%}."
        )
        render.say(f"Final weights of {effect.newest[0].rebalance}, in percent; change in points:")
        rows = [
            [
                move.strategy,
                *(render.percent(weight, render.FINE) for weight in (move.old, move.new)),
                render.points(move.new - move.old, render.FINE),
            ]
            for move in effect.newest
        ]
        render.table(rows, ["Strategy", "Old", "New", "Change"])
    for remark in effect.remarks:
        render.say(f"Note: {remark}.")
    render.say(f"To make it so: {effect.command}")


def _line(change: RowChange) -> str:
    """A row, and what of it has changed: of a row in one of the two only, what it is."""
    named: dict[str, Any] = dict(change.row)
    if change.kind != "changed":
        named |= {
            name: new if old is None else old
            for name, (old, new) in change.values.items()
            if name in _TOLD and (old, new) != (None, None)
        }
        return ", ".join(f"{name} {value}" for name, value in named.items())
    changed = ", ".join(f"{name} {old} → {new}" for name, (old, new) in change.values.items())
    return f"{', '.join(f'{name} {value}' for name, value in named.items())}: {changed}"
