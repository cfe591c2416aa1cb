"""The allocator over any history: a stored book's, or that of a file of daily returns at constant weights.

Scope: what such a run reads, and the files it is handed on as. Stored allocator tables are not read; a run makes its
own from returns and unscaled weights. Not here: formulas (``core``), and what a person is shown.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.state import reference_portfolio
from weights_pipeline.core.allocator.summary import documents
from weights_pipeline.core.chain import audit_table, audited_weights, overlay_path, scalars_told
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.costs import in_force_after
from weights_pipeline.files import write_artefacts
from weights_pipeline.ledger import LedgerError, read_returns_file
from weights_pipeline.ledger.files import read_part
from weights_pipeline.ledger.places import file_at
from weights_pipeline.ledger.rows import long_parts
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import BookSetup


class NoHistoryError(LookupError):
    """There is no session at a book's weights."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AllocatorRun:
    """State, regimes and scalars of one history.

    Attributes
    ----------
    name
        Of the book, or of the file.
    overlay
        Parameters of the run.
    realized, returns
        Rows of ``realized_weights`` and ``strategy_returns``, as far as they are read.
    portfolio
        Daily returns of the unscaled reference portfolio, on every session with weights.
    frequency
        How many sessions make a year.
    state, regime, scalar
        Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar``, the last as they are told.
    """

    name: str
    overlay: AllocatorParameters
    realized: pd.DataFrame
    returns: pd.DataFrame
    portfolio: pd.Series
    frequency: Frequency
    state: pd.DataFrame
    regime: pd.DataFrame
    scalar: pd.DataFrame

    def table(self, part: str) -> pd.DataFrame:
        """Table that a document (``state``, ``regime`` or ``scalar``) is of."""
        return {"state": self.state, "regime": self.regime, "scalar": self.scalar}[part]

    def document(self, part: str) -> dict[str, Any]:
        """Document of a table."""
        eligible = pd.DatetimeIndex(self.portfolio.index)
        year = self.frequency.per_year
        return documents(self.state, self.regime, self.scalar, eligible, self.overlay, year)[part]

    def write(self, part: str, folder: Path) -> list[Path]:
        """Write one table as ``PART.csv`` and its document as ``PART.json``; each whole or not at all."""
        write_artefacts(folder, {part: self.table(part)}, {part: self.document(part)})
        return [folder / f"{part}.csv", folder / f"{part}.json"]


def run_of_book(setup: BookSetup, *, profile: str | None = None, until: dt.date | None = None) -> AllocatorRun:
    """Run the allocator over a book's stored returns and realized weights.

    Parameters
    ----------
    setup
        The book, whose overlay says how (default parameters where it has none).
    profile
        Name of a profile to take in place of the book's.
    until
        Nothing after this day is read.

    Raises
    ------
    NoHistoryError
        There is nothing by that day, or no store at all.
    """
    book, source, store = setup.book, setup.source, setup.store
    limit = pd.Timestamp(until) if until is not None else pd.Timestamp.max
    realized = store.read(
        book.name, catalog.REALIZED_WEIGHTS, columns=["as_of", "effective_from", "strategy", "realized"]
    )
    returns = store.read(source.schema_name, catalog.STRATEGY_RETURNS, columns=["session", "strategy", "daily_return"])
    realized, returns = realized[realized["as_of"] <= limit], returns[returns["session"] <= limit]
    # Of no rows the newest session is null, and no comparison with null holds.
    if not returns["session"].max() >= realized["effective_from"].min():
        by = f" by {until}" if until is not None else ""
        raise NoHistoryError(
            f"{book.name}: no session at its weights{by} in {store.location}. "
            f"Run `weights run --book {book.name}` first."
        )
    overlay = _with_profile(book.overlay or AllocatorParameters(), profile)
    # Refused where returns are monthly, whose ledger has no overlay either.
    replace(setup.policy, overlay=overlay)
    return _run(book.name, realized, returns, overlay, source.frequency)


def run_of_returns(
    file: Path,
    *,
    calendar: str,
    frequency: Frequency = DAILY,
    weights_file: Path | None = None,
    profile: str | None = None,
) -> AllocatorRun:
    """Run the allocator over a file of daily returns at constant weights, with default thresholds.

    Parameters
    ----------
    file
        Daily returns; see :func:`~weights_pipeline.ledger.returns_file.read_returns_file`. Each strategy is its own
        sleeve.
    calendar, frequency
        Calendar of the returns, and how many of its sessions make a year.
    weights_file
        Constant weights; see :func:`read_weights`. A strategy that it does not name is left out. Where there is no
        file, equal weights that sum to 1.
    profile
        Name of a profile; the default one where left out.

    Raises
    ------
    LedgerError
        A file cannot be used.
    """
    read = read_returns_file(file, calendar=calendar, strategies=_strategies(file), frequency=frequency)
    read.require_whole()
    history = read.history
    names = history.strategies
    weights = read_weights(weights_file, names) if weights_file else dict.fromkeys(names, 1.0 / len(names))
    return _run(file.name, *_constant(history, weights), _with_profile(AllocatorParameters(), profile), frequency)


def read_weights(file: Path, strategies: Collection[str]) -> dict[str, float]:
    """Constant weights by strategy, sorted by name.

    Parameters
    ----------
    file
        JSON with weights by strategy, or CSV with the columns ``strategy`` and ``weight``. Weights are fractions of
        capital, not negative, and need not sum to 1.
    strategies
        Names that may occur.

    Raises
    ------
    LedgerError
        The file cannot be read, names a strategy twice or one that is not known, or holds what is no weight.
    """
    try:
        pairs = _pairs(file)
    except (OSError, ValueError) as error:
        raise LedgerError(
            f"{file}: expected JSON with weights by strategy, or CSV with the columns strategy and weight: {error}"
        ) from error
    weights: dict[str, float] = {}
    for name, given in pairs:
        if name not in strategies:
            raise LedgerError(f"{file}: {name}: expected one of {', '.join(sorted(strategies))}")
        if name in weights:
            raise LedgerError(f"{file}: {name}: has two weights")
        try:
            weights[name] = float(given)
        except (TypeError, ValueError):
            weights[name] = math.nan
        if not 0.0 <= weights[name] < math.inf:
            raise LedgerError(f"{file}: {name}: expected a weight of at least 0, got {given!r}")
    if not any(weights.values()):
        raise LedgerError(f"{file}: expected at least one weight above 0")
    return dict(sorted(weights.items()))


def audit_of_book(run: AllocatorRun, book: Book) -> pd.DataFrame:
    """What a book would have earned at scaled weights against unscaled ones.

    Returns
    -------
    DataFrame
        See :func:`~weights_pipeline.core.chain.audit_table`, up to the last session of the run.
    """
    policy = replace(book.policy(frequency=run.frequency), overlay=run.overlay)
    last = pd.DatetimeIndex(run.portfolio.index[-1:])
    return audit_table(run.realized, run.returns, run.scalar, run.regime, policy, last)


def costs_of_book(run: AllocatorRun, book: Book) -> dict[str, Any]:
    """What a book would have earned unscaled and scaled, before and after the costs that it names.

    Returns
    -------
    dict
        ``unscaled`` and ``scaled``, each as :func:`~weights_pipeline.core.study.costs.in_force_after` has it; empty
        where the book names no costs.
    """
    if book.costs is None:
        return {}
    policy = replace(book.policy(frequency=run.frequency), overlay=run.overlay)
    weights = audited_weights(run.realized, run.returns, run.scalar, policy)
    returns = wide(run.returns)
    return {
        name: in_force_after(each, returns, book.costs, run.frequency)
        for name, each in (("unscaled", weights.unscaled), ("scaled", weights.scaled))
    }


def audit_sentence(audited: pd.DataFrame) -> str:
    """Whether an overlay helped, by the figures of an audit, flattering or not."""
    whole = audited[audited["window"] == "all"].pivot(index="metric", columns="portfolio", values="value")
    scaled, unscaled = whole["scaled"].to_dict(), whole["unscaled"].to_dict()
    earned, sharpe = (scaled[metric] - unscaled[metric] for metric in ("cagr", "sharpe"))
    spared = unscaled["max_drawdown"] - scaled["max_drawdown"]
    if math.isnan(earned) or math.isnan(sharpe):
        return "There are too few sessions, or none with a move, to say whether the overlay helped."
    if spared > 0.0 and sharpe >= 0.0:
        verdict = "The overlay helped"
    elif spared > 0.0 or sharpe > 0.0:
        verdict = "The overlay helped in one way and hurt in another"
    else:
        verdict = "The overlay did not help"
    return (
        f"{verdict}: {abs(earned):.2%} of return a year {'given up' if earned <= 0.0 else 'gained'}, {abs(spared):.2%} "
        f"of maximum drawdown {'avoided' if spared >= 0.0 else 'added'}, Sharpe ratio "
        f"{scaled['sharpe']:.2f} in place of {unscaled['sharpe']:.2f}."
    )


def _pairs(file: Path) -> list[tuple[str, Any]]:
    """Names and what stands beside them, repeated names included."""
    if file.suffix.lower() != ".json":
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if not {"strategy", "weight"} <= set(rows.fieldnames or ()):
                raise ValueError(f"found {list(rows.fieldnames or ())!r}")
            return [(str(row["strategy"]).strip(), row["weight"]) for row in rows]
    content: Any = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=tuple)
    if not isinstance(content, tuple):
        raise ValueError(f"found {content!r}")
    return list(content)


def _strategies(file: Path) -> set[str]:
    """Names that a file of daily returns has."""
    parts = long_parts(read_part(file_at(file.resolve().parent, file.name)))
    return {name.strip() for part in parts if "strategy" in part.cells for name in part.cells["strategy"].dropna()}


def _constant(history: ReturnHistory, weights: Mapping[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of realized weights from the first session on which any strategy is live, and of returns from there on."""
    everything = pd.DataFrame(history.returns, index=history.sessions, columns=list(history.strategies))
    live = everything[list(weights)].dropna(how="all").rename_axis(index="session", columns="strategy")
    returns = live.reset_index().melt("session", value_name="daily_return").dropna(ignore_index=True)
    first = live.index[:1].repeat(len(weights))
    realized = pd.DataFrame({"effective_from": first, "strategy": list(weights), "realized": list(weights.values())})
    return realized, returns


def _with_profile(overlay: AllocatorParameters, profile: str | None) -> AllocatorParameters:
    return overlay if profile is None else replace(overlay, profile=profile)


def _run(
    name: str, realized: pd.DataFrame, returns: pd.DataFrame, overlay: AllocatorParameters, frequency: Frequency
) -> AllocatorRun:
    weights = realized.pivot(index="effective_from", columns="strategy", values="realized").fillna(0.0)
    path = overlay_path(returns, realized, overlay, frequency)
    return AllocatorRun(
        name=name,
        overlay=overlay,
        realized=realized,
        returns=returns,
        portfolio=reference_portfolio(weights, wide(returns)).returns,
        frequency=frequency,
        state=path.state,
        regime=path.regimes,
        scalar=scalars_told(path.scalars, overlay),
    )
