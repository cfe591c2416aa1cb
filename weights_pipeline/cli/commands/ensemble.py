"""``weights ensemble``: weight sets per market regime, made by hand.

Scope: the command. Not here: what it makes and stores (``operations.ensemble_updates``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weights_pipeline.core.policy import Policy
    from weights_pipeline.operations.ensemble_updates import EnsembleUpdate
    from weights_pipeline.workspace import BookSetup

_REGIMES = ("bull", "bear", "range", "neutral", "all")
_TOP = 3


def add(commands: common.Commands) -> None:
    """Declare the command and the one beneath it."""
    ensemble = commands.add_parser("ensemble", help="Weight sets of a book that keeps one per market regime.")
    beneath = ensemble.add_subparsers(required=True, metavar="COMMAND", title="commands")
    update = common.command(beneath, "update", _update)
    update.add_argument("--book", required=True, help="book with one weight set per market regime")
    update.add_argument(
        "--regime", choices=_REGIMES, default="all", help="the set of one regime; default all, pooled too"
    )
    update.add_argument("--method", metavar="KIND", help="another method, with its default parameters")
    update.add_argument("--lookback-days", type=int, metavar="N", help="another window, in calendar days")
    update.add_argument("--as-of", type=common.day, metavar="YYYY-MM-DD", help="nothing after this day is read")
    update.add_argument("--dry-run", action="store_true", help="store nothing")
    update.add_argument("--output", type=Path, metavar="FILE", help="where to write weights.json")


def _update(options: argparse.Namespace) -> int:
    """Make the weight sets of a book now, store them beside those of its rebalances, and write them as JSON."""
    from weights_pipeline.cli import render
    from weights_pipeline.files import write_text
    from weights_pipeline.operations.ensemble_updates import NothingStoredError, make_update, store_update
    from weights_pipeline.store.duckdb_store import StoreLockedError
    from weights_pipeline.tables.contract import StoreError

    # The one look at the clock; everything below is told the time.
    now = dt.datetime.now(dt.UTC)
    workspace = common.workspace()
    setup = common.setup_named(workspace, options.book)
    policy = _policy(setup, options)
    sets = _REGIMES if options.regime == "all" else (options.regime,)
    kept, output = list[str](), options.output
    try:
        update = make_update(setup, policy, sets=sets, day=options.as_of)
        if not options.dry_run:
            kept = store_update(update, setup.store, recorded_at=now)
            output = output or workspace.settings.home / setup.name / "weights.json"
        document = update.document(now, dry_run=options.dry_run)
        if output:
            write_text(output, json.dumps(document, indent=2, allow_nan=False) + "\n")
    except NothingStoredError as error:
        common.stop(str(error), common.NOTHING)
    except (ValueError, OSError, StoreError, StoreLockedError) as error:
        common.stop(f"{setup.name}: {error}", common.FAILED)
    if options.json:
        common.print_json(document)
        return 0
    render.say(
        f"{setup.name}: weight sets by {policy.method.kind} over {policy.longest_lookback.label}, on data to "
        f"{update.as_of:%Y-%m-%d}; the market regime is {update.current_regime}."
    )
    render.table(_lines(update), ["Regime", "Sessions", "Active", "Largest weights"])
    for line in _remarks(update, kept):
        render.say(line)
    if options.dry_run:
        render.say("Dry run: nothing was stored.")
    else:
        render.say(
            f"Stored as of {update.as_of:%Y-%m-%d}, where they are read before sets of the same day made at a "
            f"rebalance, and after newer ones."
        )
    if output:
        render.say(f"Wrote {output}.")
    return 0


def _policy(setup: BookSetup, options: argparse.Namespace) -> Policy:
    """Policy to make the sets by; ends the command where the book has no sets, or the method does not suit it."""
    from weights_pipeline.operations.ensemble_updates import policy_with

    if setup.book.ensemble is None:
        message = f"book {setup.name} keeps one weight set whatever the market; expected a book with the key ensemble"
        common.stop(message, common.INVALID)
    try:
        return policy_with(setup.policy, options.method, options.lookback_days)
    except ValueError as error:
        common.stop(f"book {setup.name}: {error}", common.INVALID)


def _lines(update: EnsembleUpdate) -> list[list[str]]:
    lines = []
    for name, rows in update.sets.items():
        top = rows.sort_values(["target", "strategy"], ascending=[False, True]).head(_TOP)
        weights = ", ".join(f"{row['strategy']} {row['target']:.2%}" for row in top.to_dict("records"))
        active = "no" if name in update.inactive else "yes"
        lines.append([name, str(rows["sessions"].iloc[0]), active, weights])
    return lines


def _remarks(update: EnsembleUpdate, kept: Sequence[str]) -> list[str]:
    return [
        f"{name}: nothing could be measured; the set is not active and will not be read."
        + (" The active one of the same day stays." if name in kept else "")
        for name in update.inactive
    ]
