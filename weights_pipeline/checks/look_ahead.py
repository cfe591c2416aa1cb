"""Look-ahead: past weights, recomputed from a ledger cut at their date.

Scope: which dates are sampled, what was known on them, and whether that has changed since they were last recomputed.
Not here: the recomputation (``versions.recompute``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from weights_pipeline.checks.verified import Verified
from weights_pipeline.checks.written import altered
from weights_pipeline.core import shards, verify
from weights_pipeline.core.metrics.table import MANUAL
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.columns import in_order
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.targets.market_regime import market_regimes
from weights_pipeline.core.verify import Finding
from weights_pipeline.core.versions import canonical, digest
from weights_pipeline.ledger import (
    CapitalFile,
    calendar_sessions,
    read_benchmark,
    read_capital,
    read_prices,
    read_rates,
    sessions_past,
)
from weights_pipeline.ledger.calendars import file_of
from weights_pipeline.ledger.tables import spread_of
from weights_pipeline.store.base import Reader
from weights_pipeline.store.parts import Parts
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.versions.inputs import LEDGER, code_version, parameters_of, started_from
from weights_pipeline.versions.policies import stretches
from weights_pipeline.versions.recompute import LedgerView, Taken, recomputed
from weights_pipeline.workspace import BookSetup

_CHECK = "no_look_ahead"
_BOOK = (
    catalog.REALIZED_WEIGHTS,
    catalog.ENSEMBLE_WEIGHTS,
    catalog.ENSEMBLE_UPDATES,
    catalog.METRICS,
    catalog.FINAL_WEIGHTS,
)
"""Tables of a book that a recomputation takes from, or is compared with."""
_LEDGER = tuple(table for table in LEDGER if table is not catalog.MARKET_REGIME)
"""Tables of a ledger that it takes from: regimes are computed from the benchmark's file."""


def reproduced(setup: BookSetup, store: Reader, verified: Verified) -> Finding:
    """Recompute sampled dates from what was known on them: the same chain, on a ledger cut there.

    A date that came out the same before is not recomputed while nothing that it depends on has changed: not what is
    recorded of the stored rows, nor, as the rows themselves tell, what is stored.
    """
    final = store.read(setup.name, catalog.FINAL_WEIGHTS)
    dates = pd.DatetimeIndex(final["as_of"].unique()).sort_values()
    sampled = dates[[len(dates) // 3, 2 * len(dates) // 3, len(dates) - 1]].unique() if len(dates) else dates
    contents = _contents(setup, store, dates, sampled)
    known = [
        as_of
        for as_of in sampled
        if as_of in contents and verified.before(_CHECK, f"{as_of:%Y-%m-%d}") == contents[as_of]
    ]
    read = [(setup.name, ()), (setup.source.schema_name, _LEDGER)]
    if known and any(len(altered(store, schema, verified, tables)[0]) for schema, tables in read):
        known = []
    stored = final[final["as_of"].isin(sampled)]
    parts = [final[final["as_of"].isin(known)], *_recomputed(setup, store, final, sampled.difference(known))]
    finding = verify.reproduced(pd.concat(parts), stored)
    if finding.passed:
        for as_of, content in contents.items():
            verified.passed(_CHECK, f"{as_of:%Y-%m-%d}", content)
    return finding


def _recomputed(setup: BookSetup, store: Reader, final: pd.DataFrame, dates: pd.DatetimeIndex) -> list[pd.DataFrame]:
    """Final weights of some dates, each from what was known on it and by the policy that it was made under."""
    if dates.empty:
        return []
    source, root = setup.source, setup.root
    realized, sets, updates, metrics, _ = (store.read(setup.name, table) for table in _BOOK)
    ledger = LedgerView(
        lots=no_rows(catalog.TRADE_LEDGER),
        open_lots=no_rows(catalog.OPEN_LOTS),
        given=no_rows(catalog.GIVEN_RETURNS),
        cash=no_rows(catalog.CASH),
        unknown=store.read(source.schema_name, catalog.UNKNOWN_POSITIONS),
        liquidity=store.read(source.schema_name, catalog.STRATEGY_LIQUIDITY),
        capital=read_capital(source, root),
        prices=read_prices(source, root),
        rates=read_rates(source, root),
        sessions=partial(sessions_past, source.calendar),
        begin=pd.Timestamp(f"{source.first_month}-01"),
        market=pd.Series(dtype="str"),
    )
    overrides = metrics[metrics["source"] == MANUAL]
    again, made = [], stretches(setup, store, catalog.FINAL_WEIGHTS)
    policies = dict[pd.Timestamp, Sequence[Policy]]()
    for as_of in dates:
        (own,) = (stretch for stretch in made if stretch.first <= as_of < stretch.after)
        policies[as_of] = own.policies
    observed = {(as_of, policy.frequency) for as_of, tried in policies.items() for policy in tried}
    returns = _returns(store, source.schema_name, ledger, observed)
    for as_of in dates:
        past, stored = realized[realized["as_of"] < as_of], final[final["as_of"] == as_of]
        opening = started_from(setup, store, final["as_of"].min())
        taken = Taken(
            past=past, opening=opening, sets=sets[sets["as_of"] < as_of], updates=updates, overrides=overrides
        )
        known = ledger.cut(as_of)
        for policy in policies[as_of]:
            if policy.ensemble:
                known = replace(known, market=_market(setup, as_of))
            found = recomputed(as_of, known, returns[as_of, policy.frequency], taken, policy)
            if verify.reproduced(found, stored).passed:
                break
        again.append(found)
    return again


def _returns(
    store: Reader, schema: str, ledger: LedgerView, observed: Collection[tuple[pd.Timestamp, Frequency]]
) -> dict[tuple[pd.Timestamp, Frequency], pd.DataFrame]:
    """Daily returns as they could be computed on each day, as many strategies at a time as fit into memory."""
    tables = {
        table: Parts(store, schema, table, sorted(store.partitions(schema, table.name)))
        for table in (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.GIVEN_RETURNS, catalog.CASH)
    }
    spread = spread_of(tables, shards.AT_ONCE)
    opened = spread.opened if spread else None
    found: dict[tuple[pd.Timestamp, Frequency], list[pd.DataFrame]] = {each: [] for each in observed}
    pieces: Iterable[tuple[str, ...] | None] = spread.strategies_at_a_time(shards.AT_ONCE) if spread else [None]
    for names in pieces:
        among = None if names is None else {"strategy": names}
        lots, open_lots, given, cash = (store.read(schema, table, among=among) for table in tables)
        own = replace(ledger, lots=lots, open_lots=open_lots, given=given, cash=cash)
        for as_of, frequency in observed:
            found[as_of, frequency].append(own.cut(as_of).returns(as_of, frequency, opened))
    return {
        each: in_order(pd.concat(parts, ignore_index=True), ["session", "strategy"]) for each, parts in found.items()
    }


def _market(setup: BookSetup, as_of: pd.Timestamp) -> pd.Series:
    """Market regimes from the benchmark up to a date."""
    prices = read_benchmark(setup.source, setup.root)
    closed = calendar_sessions(setup.source.calendar, prices.index[0].date(), as_of.date())
    regimes: pd.Series = market_regimes(prices[prices.index.isin(closed)])["regime"]
    return regimes


def _contents(
    setup: BookSetup, store: Reader, dates: pd.DatetimeIndex, sampled: pd.DatetimeIndex
) -> dict[pd.Timestamp, str]:
    """Digest of everything that the recomputation of a sampled date depends on, by what is recorded of stored rows."""
    recorded = {table: store.partitions(setup.name, table.name) for table in _BOOK}
    keys = sorted(recorded[catalog.FINAL_WEIGHTS])
    made = [stretch.policies for stretch in stretches(setup, store, catalog.FINAL_WEIGHTS) for _ in stretch.keys]
    if not len(keys) == len(dates) == len(made):
        # Some rows are of no partition, or some partition has no rows: nothing is known then.
        return {}
    schema = setup.source.schema_name
    ledger = {table: store.partitions(schema, table.name) for table in _LEDGER}
    files = _file_digests(setup)
    contents = {}
    for key, as_of, policies in zip(keys, dates, made, strict=True):
        if as_of not in sampled:
            continue
        parts: dict[str, Any] = {"code": code_version(), "policies": repr(policies), "files": files}
        parts["parameters"] = parameters_of(setup, as_of)
        for table, records in recorded.items():
            parts[f"{setup.name}/{table.name}"] = {k: r.content_hash for k, r in records.items() if k <= key}
        for table, records in ledger.items():
            month = f"{as_of:%Y-%m}"
            parts[f"{schema}/{table.name}"] = {k: r.content_hash for k, r in records.items() if k[:7] <= month}
        contents[as_of] = digest(canonical(parts))
    return contents


def _file_digests(setup: BookSetup) -> dict[str, str]:
    """SHA-256 of the files that a recomputation reads besides the store."""
    source = setup.source
    capital = source.capital.file if isinstance(source.capital, CapitalFile) else None
    benchmark = source.benchmark.file if source.benchmark and setup.policy.ensemble else None
    given = capital, source.prices, source.fx, benchmark, file_of(source.calendar)
    named = [name for name in given if name is not None]
    return {str(name): hashlib.sha256((setup.root / name).read_bytes()).hexdigest() for name in named}
