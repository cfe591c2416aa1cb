"""Weights computed again: one rebalance from a ledger, or a version from the ledger as it was known then.

Scope: the chain from ledger rows to the final weights of one date, and its comparison with what was recorded. Not here:
the steps of the chain (``core.chain``), and what a version keeps of its inputs (``inputs``).

Some things are not computed again but taken as they were, since a rebalance starts from them whatever they came from;
see :class:`Taken`. The weights that a desk opened with follow from its book alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from weights_pipeline.core import chain
from weights_pipeline.core.ensembles import all_weight_sets, ensemble_targets, weight_sets
from weights_pipeline.core.metrics.label import of_label
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL
from weights_pipeline.core.metrics.table import MANUAL, with_overrides
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.capital import CapitalPolicy
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.verify import Finding, reproduced
from weights_pipeline.core.versions import OPENING, WEIGHTS, known_before, published_before
from weights_pipeline.ledger import sessions_past
from weights_pipeline.store.base import Reader, Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.tables.errors import MixedInputsError
from weights_pipeline.versions.history import read_documents, read_version
from weights_pipeline.versions.inputs import LEDGER, known_then, of_same_periods, read_named, sets_then, started_from
from weights_pipeline.workspace import BookSetup


@dataclass(frozen=True, kw_only=True, eq=False)
class LedgerView:
    """A ledger as far as it is known.

    Attributes
    ----------
    lots, open_lots, given, cash, unknown, liquidity
        Rows of ``trade_ledger``, ``open_lots``, ``given_returns``, ``cash``, ``unknown_positions`` and
        ``strategy_liquidity``.
    capital
        What profit is divided by.
    prices
        Closing prices, dates × symbols; None where nothing is marked to market.
    rates
        Rates of exchange, dates × currencies; None where there are none.
    sessions
        Trading sessions from one day to past another.
    begin
        First day of the ledger's first month.
    market
        Market regime by session; read for an ensemble alone.
    """

    lots: pd.DataFrame
    open_lots: pd.DataFrame
    given: pd.DataFrame
    cash: pd.DataFrame
    unknown: pd.DataFrame
    liquidity: pd.DataFrame
    capital: CapitalPolicy
    prices: pd.DataFrame | None
    rates: pd.DataFrame | None
    sessions: Callable[[dt.date, dt.date], pd.DatetimeIndex]
    begin: pd.Timestamp
    market: pd.Series

    def cut(self, as_of: pd.Timestamp) -> LedgerView:
        """Ledger as it could be read on a day: nothing after it, and what fills had open by then still open."""
        lots, remainder = self.lots, self.open_lots
        end = as_of + pd.offsets.MonthBegin()
        left = lots[(lots["source"] == "fills") & (lots["session"] > as_of) & (lots["session"] < end)]
        # What is still open is named by its opening fill.
        left = left.assign(lot_id=left["parent_lot_id"])
        stayed = remainder[(remainder["snapshot"] > as_of) & (remainder["snapshot"] < end)]
        still_open = [
            rows[rows["open_session"] <= as_of] for rows in (left[[*remainder.columns.drop("snapshot")]], stayed)
        ]
        known = [rows.assign(snapshot=as_of) for rows in still_open if len(rows)]
        return replace(
            self,
            lots=lots[lots["session"] <= as_of],
            open_lots=pd.concat([remainder[remainder["snapshot"] <= as_of], *known], ignore_index=True),
            given=self.given[self.given["session"] <= as_of],
            cash=self.cash[self.cash["session"] <= as_of],
            unknown=self.unknown[self.unknown["session"] <= as_of],
            liquidity=self.liquidity[self.liquidity["session"] <= as_of],
        )

    def returns(self, as_of: pd.Timestamp, frequency: Frequency, opened: pd.Timestamp | None = None) -> pd.DataFrame:
        """Daily returns to the end of the month of a day, for which the rows may be those of some strategies alone.

        Parameters
        ----------
        as_of
            The day.
        frequency
            How often returns are observed.
        opened
            Session in which the ledger's first lot was opened; that of the rows when left out.
        """
        if opened is None and len(self.lots):
            opened = self.lots["open_session"].min()
        first = self.begin if opened is None else min(self.begin, opened)
        calendar = self.sessions(first.date(), as_of.date())
        observed = frequency.observed(calendar)
        return chain.returns_table(
            self.lots,
            self.open_lots,
            self.given,
            observed[observed < as_of + pd.offsets.MonthBegin()],
            self.capital,
            self.begin,
            self.prices,
            self.cash,
            frequency,
            self.rates,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """What rebalances take as it was.

    Attributes
    ----------
    past
        Rows of ``realized_weights`` of the rebalances before them.
    opening
        Weights by strategy that the first of all rebalances starts from; None for the base weights.
    sets, updates
        Rows of ``ensemble_weights`` of the rebalances before them, and of ``ensemble_updates``; read for an ensemble
        alone.
    overrides
        Rows of ``metrics`` that a person gave in place of measured ones.
    """

    past: pd.DataFrame
    opening: pd.Series | None = None
    sets: pd.DataFrame = field(default_factory=lambda: no_rows(catalog.ENSEMBLE_WEIGHTS))
    updates: pd.DataFrame = field(default_factory=lambda: no_rows(catalog.ENSEMBLE_UPDATES))
    overrides: pd.DataFrame = field(default_factory=lambda: no_rows(catalog.METRICS))


class Rebalanced(NamedTuple):
    """Rows of ``target_weights``, ``realized_weights`` and ``final_weights`` (but for ``next_rebalance``)."""

    targets: pd.DataFrame
    realized: pd.DataFrame
    final: pd.DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class Reproduction:
    """A version, computed again.

    Attributes
    ----------
    version, rebalance, as_of
        Which.
    weights
        By strategy: of previous, target, realized and final weight the recorded one and the ``_recomputed`` one.
    finding
        Passed where all are the same, bit for bit.
    """

    version: int
    rebalance: str
    as_of: pd.Timestamp
    weights: pd.DataFrame
    finding: Finding


def rebalanced(
    returns: pd.DataFrame,
    unknown: pd.DataFrame,
    liquidity: pd.DataFrame,
    as_of: pd.DatetimeIndex,
    taken: Taken,
    policy: Policy,
    sessions: pd.DatetimeIndex,
    market: pd.Series,
) -> Rebalanced:
    """Weights of some rebalances that follow each other, from daily returns on.

    Parameters
    ----------
    returns
        Rows of ``strategy_returns`` from the ledger's first month on.
    unknown, liquidity
        Rows of ``unknown_positions`` and of ``strategy_liquidity``.
    as_of
        Last session of each rebalance, ascending; of returns and market regimes nothing after it is used.
    taken
        What is not computed.
    policy
        The book's policy.
    sessions
        Trading sessions from the ledger's first month to past the last rebalance.
    market
        Market regime by session, read for an ensemble alone.
    """
    returns = returns[returns["session"] <= as_of[-1]].reset_index(drop=True)
    observed = policy.frequency.observed(sessions)
    history = ReturnHistory.from_long(returns, sessions=observed[observed <= as_of[-1]]).with_unknown(unknown)
    if LIQUID_CAPITAL in policy.reads:
        history = history.with_liquidity(liquidity, returns)
    if policy.ensemble:
        market = market[market.index <= as_of[-1]]
        made = pd.concat([taken.sets, weight_sets(history, market, as_of, policy)], ignore_index=True)
        targets = ensemble_targets(all_weight_sets(made, taken.updates), market, as_of, sessions, policy)
    else:
        metrics = chain.metric_rows(history, as_of, policy)
        overrides = taken.overrides[taken.overrides["as_of"].isin(as_of)]
        targets = chain.target_table(with_overrides(metrics, overrides), policy, history, taken.past, taken.opening)
    realized = chain.realized_table(taken.past, targets, policy, sessions, returns, taken.opening)
    scalars = None
    if policy.overlay is not None:
        weights = pd.concat([taken.past, realized])
        scalars = chain.overlay_path(returns, weights, policy.overlay, policy.frequency).scalars
    return Rebalanced(targets, realized, chain.final_table(realized, scalars, policy, sessions))


class StoredLedger(NamedTuple):
    """What rebalances read of a ledger: rows of the tables of ``STORED``."""

    returns: pd.DataFrame
    unknown: pd.DataFrame
    liquidity: pd.DataFrame
    market: pd.DataFrame

    @classmethod
    def of(cls, store: Reader, schema: str) -> StoredLedger:
        """What is stored of it."""
        return cls(*(store.read(schema, table) for table in STORED))


STORED = catalog.STRATEGY_RETURNS, catalog.UNKNOWN_POSITIONS, catalog.STRATEGY_LIQUIDITY, catalog.MARKET_REGIME
"""Tables of :class:`StoredLedger`."""


Parts = Sequence[tuple[Policy, Mapping[str, pd.Timestamp]]]
"""Rebalances that follow each other, in parts of one policy each: as-of sessions by key of the partition."""


def from_returns(
    setup: BookSetup, store: Reader, parts: Parts, ledger: StoredLedger, overrides: pd.DataFrame | None = None
) -> Rebalanced:
    """Weights of some rebalances that follow each other, from daily returns on.

    Parameters
    ----------
    setup
        The book.
    store
        Where the realized weights and weight sets before them are taken from.
    parts
        The rebalances, with the policy of each.
    ledger
        What they are computed from.
    overrides
        Rows of ``metrics`` that count in place of measured ones; none when left out.
    """
    source, (_, rebalances) = setup.source, parts[0]
    realized, sets = (store.read(setup.name, table) for table in (catalog.REALIZED_WEIGHTS, catalog.ENSEMBLE_WEIGHTS))
    first = next(iter(rebalances.values()))
    taken = Taken(
        past=realized[realized["as_of"] < first],
        opening=started_from(setup, store, realized["as_of"].min()),
        sets=sets[sets["as_of"] < first],
        updates=store.read(setup.name, catalog.ENSEMBLE_UPDATES),
        overrides=no_rows(catalog.METRICS) if overrides is None else overrides,
    )
    begin, market = pd.Timestamp(f"{source.first_month}-01"), ledger.market.set_index("session")["regime"]
    made = list[Rebalanced]()
    for policy, own in parts:
        dates = pd.DatetimeIndex(list(own.values()))
        sessions = sessions_past(source.calendar, begin.date(), dates[-1].date())
        made.append(
            rebalanced(ledger.returns, ledger.unknown, ledger.liquidity, dates, taken, policy, sessions, market)
        )
        past = pd.concat([taken.past, made[-1].realized], ignore_index=True)
        # What an ensemble makes of the past it has stored.
        taken = replace(taken, past=past, sets=sets[sets["as_of"] <= dates[-1]])
    return Rebalanced(*(pd.concat(each, ignore_index=True) for each in zip(*made, strict=True)))


def require_one_origin(setup: BookSetup, store: Reader, final: pd.DataFrame, parts: Parts) -> None:
    """Refuse final weights that do not follow, bit for bit, from the ledger as it is and from their policies.

    A table on the way to them may have been made before the ledger was read again, or the book was changed: a run that
    goes on where another one failed leaves out what that one had done.

    Parameters
    ----------
    setup, store
        The book, and where its tables and those of its ledger are read.
    final
        Rows of ``final_weights`` of the rebalances.
    parts
        The rebalances, with the policy that each is made by.

    Raises
    ------
    MixedInputsError
        They do not.
    """
    metrics = store.read(setup.name, catalog.METRICS)
    overrides = metrics[metrics["source"] == MANUAL]
    again = from_returns(setup, store, parts, StoredLedger.of(store, setup.source.schema_name), overrides)
    found = reproduced(again.final, final)
    if not found.passed:
        first = found.offending["as_of"].min()
        key = next(key for _, own in parts for key, date in own.items() if date == first)
        raise MixedInputsError(
            f"{setup.name}: the final weights of {key} do not follow from the ledger and the book as they are now: a "
            f"table that they follow from was made from another ledger or policy. No version was written. Run all: "
            f"weights run --book {setup.name} --from {key[:7]}"
        )


def recomputed(
    as_of: pd.Timestamp, ledger: LedgerView, returns: pd.DataFrame, taken: Taken, policy: Policy
) -> pd.DataFrame:
    """Final weights of one date, from daily returns on.

    Parameters
    ----------
    as_of
        Last session of the rebalance.
    ledger
        What is known of the ledger, whose lots are not read.
    returns
        Of all its strategies; see :meth:`LedgerView.returns`. They may reach to the end of the month: a return is
        fixed on its session.
    taken
        What is not computed.
    policy
        The book's policy.

    Returns
    -------
    DataFrame
        Rows of ``final_weights`` but for ``next_rebalance``, and their ``base``, ``previous`` and ``target``.
    """
    sessions = ledger.sessions(ledger.begin.date(), as_of.date())
    dates, unknown, liquidity = pd.DatetimeIndex([as_of]), ledger.unknown, ledger.liquidity
    made = rebalanced(returns, unknown, liquidity, dates, taken, policy, sessions, ledger.market)
    steps = made.realized[["base", "previous", "target"]].reset_index(drop=True)
    return pd.concat([made.final, steps], axis=1)


def reproduce(store: Store, book: str, version: int) -> Reproduction:
    """Compute a version again from what was known when it was made, and compare it with what was recorded.

    Of the rebalances before it, the realized weights and weight sets are those of the versions that there were.

    Parameters
    ----------
    store
        Where versions, documents and ledger rows are; those that others have taken the place of included.
    book
        Name of the book; it need not exist any more.
    version
        Number of the version.

    Raises
    ------
    weights_pipeline.versions.history.NoVersionError
        There is no such version.
    weights_pipeline.tables.errors.StoreError
        Something that it was computed from is nowhere any more, or not what it was.
    ValueError
        The code as it is now cannot compute it.
    """
    with store.view():
        rows = read_version(store, book, version)
        documents = read_documents(store, book)
        history = store.read(book, catalog.WEIGHT_HISTORY)
        as_of = rows["as_of"].iloc[0]
        parameters_hash, ledger_hash, state_hash = rows[["parameters_hash", "ledger_hash", "state_hash"]].iloc[0]
        alike = of_same_periods(documents, parameters_hash, history["parameters_hash"])
        past = known_before(history[history["parameters_hash"].isin(alike)], version)
        known = known_then(documents, parameters_hash, state_hash)
        if rows["rebalance"].iloc[0] == OPENING:
            return _compared(rows, _opened(known.policy), same_ledger=True)
        tables = {table: known.read(store, table) for table in LEDGER}
        made = [sets_then(documents, key) for key in past["state_hash"].unique()] if known.policy.ensemble else []
        sets = read_named(store, catalog.ENSEMBLE_WEIGHTS, {k: v for each in made for k, v in each.items()})
        updates = read_named(store, catalog.ENSEMBLE_UPDATES, known.sets)
    seen = known.ledger_hash(tables, as_of)
    lots, open_lots, given, cash, unknown, liquidity, market = (tables[table] for table in LEDGER)
    ledger = LedgerView(
        lots=lots,
        open_lots=open_lots,
        given=given,
        cash=cash,
        unknown=unknown,
        liquidity=liquidity,
        capital=known.capital,
        prices=known.prices,
        rates=known.rates,
        sessions=known.sessions,
        begin=pd.Timestamp(f"{known.first_month}-01"),
        market=market.set_index("session")["regime"],
    )
    first = past["as_of"].min() if len(past) else as_of
    opening = published_before(history[history["version"] < version], first) if known.starts else None
    taken = Taken(past=past, opening=opening, sets=sets, updates=updates, overrides=_overrides(rows))
    again = recomputed(as_of, ledger, ledger.returns(as_of, known.policy.frequency), taken, known.policy)
    return _compared(rows, again, same_ledger=seen == ledger_hash)


def _opened(policy: Policy) -> pd.DataFrame:
    """Weights that a desk opens with."""
    return pd.DataFrame({"strategy": policy.strategies, **dict.fromkeys(WEIGHTS, policy.weights)})


def _overrides(version: pd.DataFrame) -> pd.DataFrame:
    """Metric overrides that a version says it was made with."""
    found = [
        (as_of, strategy, *of_label(label), np.nan if value is None else value, "missing" * (value is None), MANUAL)
        for as_of, strategy, read in version[["as_of", "strategy", "metrics"]].itertuples(index=False)
        for metrics in [json.loads(read)]
        if metrics.pop("source", "") == MANUAL
        for label, value in metrics.items()
    ]
    return pd.DataFrame(found, columns=catalog.METRICS.column_names())


def _compared(recorded: pd.DataFrame, again: pd.DataFrame, *, same_ledger: bool) -> Reproduction:
    names = [name for name in WEIGHTS if name != "base"]
    rows = recorded[["strategy", *names]].merge(
        again[["strategy", *names]], on="strategy", how="outer", suffixes=("", "_recomputed")
    )
    found, expected = (rows[[f"{name}{end}" for name in names]].to_numpy(float) for end in ("", "_recomputed"))
    differs = (found != expected).any(axis=1)
    gap = float(np.nanmax(np.abs(found - expected), initial=0.0))
    number, as_of = int(recorded["version"].iloc[0]), recorded["as_of"].iloc[0]
    summary = f"version {number} computed again: {int(differs.sum())} of {len(rows)} strategies differ"
    if not same_ledger:
        summary += "; the hash of the ledger known then is another than the recorded one"
    return Reproduction(
        version=number,
        rebalance=recorded["rebalance"].iloc[0],
        as_of=as_of,
        weights=rows,
        finding=Finding(
            passed=same_ledger and not differs.any(), value=gap, limit=0.0, summary=summary, offending=rows[differs]
        ),
    )
