"""Checks of a ledger's tables: every row accounted for, none booked twice, strategies known, nothing altered.

Scope: declarations. Not here: what they compute (``core.verify``), nor the rules a row has to keep (``ledger``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from weights_pipeline.checks.behind import behind, finding
from weights_pipeline.checks.declaration import Check, CheckList, Declaration
from weights_pipeline.checks.verified import Verified
from weights_pipeline.checks.written import RESTORE, stored_as_written
from weights_pipeline.core import shards, verify
from weights_pipeline.core.ensembles import MAX_REGIME_AGE
from weights_pipeline.core.verify import Finding
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.workspace import BookSetup


@dataclass(frozen=True)
class LedgerRows:
    """Rows of one ledger, and the books that read it."""

    source: LedgerSource
    books: tuple[BookSetup, ...]
    store: Reader
    verified: Verified

    @property
    def schema(self) -> str:
        """Schema of the ledger's tables."""
        return self.source.schema_name

    def read(self, table: Table, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of a table."""
        return self.store.read(self.schema, table, columns=columns)

    def parts(self, table: Table, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Rows of a table with partitions, as many of them at a time as fit into memory."""
        records = self.store.partitions(self.schema, table.name)
        counts = ((key, record.rows) for key, record in records.items())
        for keys in shards.few_at_a_time(counts, shards.AT_ONCE):
            yield self.store.read(self.schema, table, keys, columns=columns)


LEDGER = CheckList[LedgerRows]("ledger")


def ledger_checks(source: LedgerSource, books: Iterable[BookSetup]) -> list[Check]:
    """Checks of one ledger's tables, against the strategies that its books name.

    Raises
    ------
    weights_pipeline.books.reading.BookError
        The ledger sets the threshold of a check that has none.
    """
    return LEDGER.of(partial(LedgerRows, source, tuple(books)), source.checks, f"ledger {source.name}: checks")


@LEDGER.check(
    catalog.REJECTED_LOTS,
    blocking=True,
)
def every_row_accounted_for(of: LedgerRows) -> Finding:
    """In every source file accepted + rejected = read, and every rejected row is in quarantine."""
    return verify.accounting(of.read(catalog.LEDGER_FILES), of.read(catalog.REJECTED_LOTS))


@LEDGER.check(
    catalog.REJECTED_LOTS,
    error=False,
    limit=0.01,
    advice="Look at rejected_lots for the reason of each row, and correct the source.",
)
def rejection_share(of: LedgerRows, limit: float) -> Finding:
    """At most {limit:.0%} of the rows are rejected for a defect."""
    return verify.rejection_share(of.read(catalog.LEDGER_FILES), limit)


_CHECK = "Run `weights ledger check`: it names what was found, and the setting that resolves it."


@LEDGER.check(
    catalog.LEDGER_FINDINGS,
    when=lambda of: of.source.incomplete == "stop",
    title="positions are not known",
    advice="Run `weights ledger check`: correct the row that it names, or state in openings what is held.",
)
def positions_known(of: LedgerRows) -> Finding:
    """Every position is known: no fill is missing from a stream, or a later opening has stated what is held."""
    return verify.positions_known(of.read(catalog.LEDGER_FINDINGS))


LEDGER.check(
    catalog.LEDGER_FINDINGS,
    when=lambda of: of.source.incomplete == "neutral",
    error=False,
    title="positions are not known",
    advice="Run `weights ledger check`: until the row that it names is correct, metrics of the strategy are null.",
)(positions_known)


@LEDGER.check(
    catalog.LEDGER_FINDINGS,
    when=lambda of: of.source.positions is not None,
    title="the broker states something else",
    advice="Run `weights ledger check`: add the rows that are missing, or correct those that are wrong.",
)
def reconciled(of: LedgerRows) -> Finding:
    """What the broker states of positions and realized profit is what the ledger's rows come to."""
    return verify.reconciled(of.read(catalog.LEDGER_FINDINGS))


@LEDGER.check(catalog.LEDGER_FINDINGS, advice=_CHECK)
def ledger_errors(of: LedgerRows) -> Finding:
    """Nothing that was found says that figures are wrong or missing."""
    return verify.ledger_findings(of.read(catalog.LEDGER_FINDINGS), "ERROR")


@LEDGER.check(catalog.LEDGER_FINDINGS, error=False, advice=_CHECK)
def ledger_warnings(of: LedgerRows) -> Finding:
    """Nothing in the ledger's files leaves a person to decide what was meant."""
    return verify.ledger_findings(of.read(catalog.LEDGER_FINDINGS), "WARN")


@LEDGER.check(catalog.TRADE_LEDGER, blocking=True)
def lots_unique(of: LedgerRows) -> Finding:
    """No lot is booked twice over the whole ledger."""
    return verify.unique_lots(lambda: of.parts(catalog.TRADE_LEDGER, ["session", "strategy", "lot_id"]))


@LEDGER.check(
    catalog.STRATEGY_LIQUIDITY,
    error=False,
    when=lambda of: of.source.volumes is not None,
    advice="Add the volumes of the sessions before: what is not known limits nothing.",
)
def volumes_known(of: LedgerRows) -> Finding:
    """Of every symbol that was traded, the volumes of some session before are known."""
    return verify.known_volumes(of.read(catalog.STRATEGY_LIQUIDITY))


@LEDGER.check(
    catalog.STRATEGY_RETURNS,
    error=False,
    advice="Add the strategy to a book, or correct its name in the ledger.",
)
def strategies_known(of: LedgerRows) -> Finding:
    """Ledger and books name the same strategies."""
    tables = (catalog.STRATEGY_RETURNS, catalog.UNKNOWN_POSITIONS)
    seen = {strategy for table in tables for strategy in of.read(table, ["strategy"])["strategy"].unique()}
    booked = {strategy for setup in of.books for each in setup.book.every for strategy in each.strategies}
    return verify.known_strategies(sorted(seen), sorted(booked))


@LEDGER.check(
    catalog.STRATEGY_RETURNS,
    error=False,
    advice="Look at the lots of the strategy: its capital, a multiplier or the unit of its returns is wrong.",
)
def returns_in_scale(of: LedgerRows) -> Finding:
    """Returns are of the size of fractions of capital: none above 100%, medians below 5% and near each other."""
    returns = of.read(catalog.STRATEGY_RETURNS, ["strategy", "daily_return"])
    return verify.returns_in_scale(returns, of.source.frequency)


@LEDGER.check(
    catalog.STRATEGY_RETURNS,
    error=False,  # the run that reads a ledger may be about to run the books
    needs_all=True,
    title="weights are of an earlier ledger",
    advice="See with `weights restate` which weights change, then run the command that it names.",
)
def books_made_of_it(of: LedgerRows) -> Finding:
    """Every rebalance of the books that read it was made from the ledger as it is stored."""
    return finding([each for setup in of.books if (each := behind(setup, of.store, of.verified))])


LEDGER.check(catalog.STRATEGY_RETURNS, needs_all=True, advice=RESTORE)(stored_as_written)


@LEDGER.check(
    catalog.MARKET_REGIME,
    error=False,
    limit=MAX_REGIME_AGE,
    when=lambda of: of.source.benchmark is not None,
    advice="Add the missing days to the benchmark.",
)
def up_to_date(of: LedgerRows, limit: float) -> Finding:
    """The benchmark is at most {limit:g} sessions behind the ledger."""
    market, returns = (
        of.read(table, ["session"])["session"] for table in (catalog.MARKET_REGIME, catalog.STRATEGY_RETURNS)
    )
    return verify.not_behind(market, returns, int(limit))


LATE_LOTS = Declaration(
    name="no_late_lots",
    table=catalog.TRADE_LEDGER,
    description="No month written earlier differs from what the source files say now.",
    error=False,
    advice="Run `weights restate` to see what has changed, then materialise from the first month named on.",
)
"""It compares with the source files (``core.verify.unchanged_months``), so whoever reads them runs it."""
