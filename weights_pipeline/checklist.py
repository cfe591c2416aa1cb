"""The list of checks: which verification runs on which table, against which limit, how severe a miss is.

Here belong the declarations, free of Dagster, so that the command line and the asset checks run the very same list.
What a check computes is in ``core.verify``; how it becomes an asset check is in ``checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from weights_pipeline.books import Book, load_starter_metrics
from weights_pipeline.core import chain, verify
from weights_pipeline.core.history import ReturnHistory
from weights_pipeline.core.metrics import metrics_table
from weights_pipeline.core.verify import Finding
from weights_pipeline.ledger import LedgerSource, calendar_sessions, read_capital, read_prices
from weights_pipeline.store import catalog
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.tables import Table

LEDGER_SCHEMA = "ledger"
"""Schema of the tables that all books share."""

MAX_REJECTED = 0.01
MAX_TURNOVER = 0.10
EXTREME_METRIC = 25.0
WARM_UP_SESSIONS = 59
MAX_STATE_LOST = 0.05


@dataclass(frozen=True)
class Check:
    """One check: what it is called, what it guards, how it is computed, and what a miss means.

    Attributes
    ----------
    name, table
        Name, unique per table, and the table it guards.
    description
        The rule in one sentence.
    run
        Computes the finding from the store.
    error
        A miss is an ERROR (wrong numbers) rather than a WARN (look at it).
    blocking
        Later steps of the same run do not start after a miss; only with ``error``.
    """

    name: str
    table: Table
    description: str
    run: Callable[[DuckDBStore], Finding]
    error: bool = True
    blocking: bool = False


def ledger_checks(books: Iterable[Book]) -> list[Check]:
    """Checks of the ledger tables, against the strategies that the books name."""
    booked = sorted({strategy for book in books for strategy in book.strategies})

    def files(store: DuckDBStore) -> pd.DataFrame:
        return store.read(LEDGER_SCHEMA, catalog.LEDGER_FILES)

    def seen(store: DuckDBStore) -> list[str]:
        returns = store.read(LEDGER_SCHEMA, catalog.STRATEGY_RETURNS, columns=["strategy"])
        return sorted(returns["strategy"].unique())

    return [
        Check(
            "every_row_accounted_for",
            catalog.REJECTED_LOTS,
            "accepted + rejected = read in every source file, and every rejected row is in quarantine.",
            lambda store: verify.accounting(files(store), store.read(LEDGER_SCHEMA, catalog.REJECTED_LOTS)),
            blocking=True,
        ),
        Check(
            "rejection_share",
            catalog.REJECTED_LOTS,
            f"At most {MAX_REJECTED:.0%} of the rows are rejected for a defect.",
            lambda store: verify.rejection_share(files(store), MAX_REJECTED),
            error=False,
        ),
        Check(
            "lots_unique",
            catalog.TRADE_LEDGER,
            "No lot is booked twice over the whole ledger.",
            lambda store: verify.unique_lots(
                store.read(LEDGER_SCHEMA, catalog.TRADE_LEDGER, columns=["session", "strategy", "lot_id"])
            ),
            blocking=True,
        ),
        Check(
            "strategies_known",
            catalog.STRATEGY_RETURNS,
            "Ledger and books name the same strategies.",
            lambda store: verify.known_strategies(seen(store), booked),
            error=False,
        ),
    ]


def book_checks(book: Book, source: LedgerSource, root: Path) -> list[Check]:
    """Checks of one book's tables; ``source`` and ``root`` are the ledger it reads and the data folder."""
    profile = book.overlay.resolved_profile()
    min_sessions = book.metrics.sessions_needed(book.lookback)

    def read(table: Table) -> Callable[[DuckDBStore], pd.DataFrame]:
        return lambda store: store.read(book.name, table)

    metrics, targets = read(catalog.METRICS), read(catalog.TARGET_WEIGHTS)
    realized, scalars = read(catalog.REALIZED_WEIGHTS), read(catalog.RISK_SCALAR)

    def gaps(store: DuckDBStore) -> Finding:
        keys = sorted(store.partitions(book.name, catalog.REALIZED_WEIGHTS.name))
        months = pd.date_range(keys[0], keys[-1], freq="MS").strftime("%Y-%m-%d").tolist() if keys else []
        return verify.no_gap(keys, months)

    def coverage(store: DuckDBStore) -> Finding:
        weights = realized(store)
        returns = store.read(LEDGER_SCHEMA, catalog.STRATEGY_RETURNS, columns=["session"])
        newest = weights["as_of"].max()
        sessions = pd.DatetimeIndex(returns["session"].unique()).sort_values()
        invested = sessions[(sessions >= weights["effective_from"].min()) & (sessions <= newest)]
        state = store.read(book.name, catalog.ALLOCATOR_STATE, columns=["session"])
        return verify.state_coverage(invested, state, WARM_UP_SESSIONS, MAX_STATE_LOST)

    return [
        Check(
            "enough_data",
            catalog.METRICS,
            "At least one strategy is measured on every date on which one could be.",
            lambda store: verify.enough_data(metrics(store), book.metric, min_sessions),
            blocking=True,
        ),
        Check(
            "extreme_values",
            catalog.METRICS,
            f"The metric stays within ±{EXTREME_METRIC:g}.",
            lambda store: verify.extreme_values(metrics(store), book.metric, EXTREME_METRIC),
            error=False,
        ),
        Check(
            "hard_limits",
            catalog.TARGET_WEIGHTS,
            "Targets sum to gross and keep caps and floors.",
            lambda store: verify.hard_limits(targets(store), "target"),
            blocking=True,
        ),
        Check(
            "at_bound",
            catalog.TARGET_WEIGHTS,
            "No strategy of the newest rebalance sits at its cap or floor.",
            lambda store: verify.at_bound(targets(store)),
            error=False,
        ),
        Check(
            "hard_limits",
            catalog.REALIZED_WEIGHTS,
            "Realised weights sum to gross and keep caps and floors.",
            lambda store: verify.hard_limits(realized(store), "realized"),
            blocking=True,
        ),
        Check(
            "recurrence",
            catalog.REALIZED_WEIGHTS,
            "w = w_old + λ(target − w_old) holds over the whole history.",
            lambda store: verify.recurrence(realized(store)),
            blocking=True,
        ),
        Check(
            "no_gap",
            catalog.REALIZED_WEIGHTS,
            "Partitions form one unbroken run.",
            gaps,
            blocking=True,
        ),
        Check(
            "turnover",
            catalog.REALIZED_WEIGHTS,
            f"One-way turnover of a rebalance stays within {MAX_TURNOVER:.0%}.",
            lambda store: verify.turnover(realized(store), MAX_TURNOVER),
            error=False,
        ),
        Check(
            "coverage",
            catalog.ALLOCATOR_STATE,
            f"At most {MAX_STATE_LOST:.0%} of the sessions beyond warm-up have no state.",
            coverage,
            error=False,
        ),
        Check(
            "sticky_regimes",
            catalog.RISK_REGIME,
            "No regime is left for a calmer one before its minimum stay.",
            lambda store: verify.sticky_regimes(read(catalog.RISK_REGIME)(store), book.overlay.thresholds),
            blocking=True,
        ),
        Check(
            "bounds",
            catalog.RISK_SCALAR,
            "Every scalar lies inside the profile's floor and cap.",
            lambda store: verify.scalar_bounds(scalars(store), profile),
            blocking=True,
        ),
        Check(
            "recursion",
            catalog.RISK_SCALAR,
            "Scalars are the smoothed targets of the stored regimes.",
            lambda store: verify.scalar_recursion(scalars(store), profile),
            blocking=True,
        ),
        Check(
            "final_is_realized_times_scalar",
            catalog.FINAL_WEIGHTS,
            "Final weights are the realised ones, scaled where the overlay is enabled.",
            lambda store: verify.overlay_applied(read(catalog.FINAL_WEIGHTS)(store), realized(store), scalars(store)),
            blocking=True,
        ),
        Check(
            "no_look_ahead",
            catalog.FINAL_WEIGHTS,
            "Recomputed from a ledger cut at their date, sampled past weights come out the same, bit for bit.",
            lambda store: _no_look_ahead(store, book, source, root),
        ),
    ]


def _no_look_ahead(store: DuckDBStore, book: Book, source: LedgerSource, root: Path) -> Finding:
    final = store.read(book.name, catalog.FINAL_WEIGHTS)
    dates = pd.DatetimeIndex(final["as_of"].unique()).sort_values()
    sampled = dates[[len(dates) // 3, 2 * len(dates) // 3, len(dates) - 1]].unique() if len(dates) else dates
    ledger = {
        table: store.read(LEDGER_SCHEMA, table)
        for table in (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.GIVEN_RETURNS)
    }
    realized = store.read(book.name, catalog.REALIZED_WEIGHTS)
    recomputed = [_recomputed(as_of, ledger, realized, book, source, root) for as_of in sampled]
    stored = final[final["as_of"].isin(sampled)]
    return verify.reproduced(pd.concat(recomputed) if recomputed else stored, stored)


def _recomputed(
    as_of: pd.Timestamp,
    ledger: Mapping[Table, pd.DataFrame],
    realized: pd.DataFrame,
    book: Book,
    source: LedgerSource,
    root: Path,
) -> pd.DataFrame:
    """Final weights of one date from what was known on it: the same chain, on a ledger cut there."""
    known = {table: frame[frame[str(table.time_column)] <= as_of] for table, frame in ledger.items()}
    lots = known[catalog.TRADE_LEDGER]
    first = pd.Timestamp(f"{source.first_month}-01")
    if len(lots):
        first = min(first, lots["open_session"].min())
    calendar = calendar_sessions(source.calendar, first.date(), (as_of + pd.Timedelta(days=14)).date())
    sessions = calendar[calendar <= as_of]
    returns = chain.returns_table(
        lots,
        known[catalog.OPEN_LOTS],
        known[catalog.GIVEN_RETURNS],
        sessions,
        read_capital(source, root),
        first,
        read_prices(source, root),
    )
    metrics = metrics_table(
        ReturnHistory.from_long(returns, sessions=sessions),
        pd.DatetimeIndex([as_of]),
        book.lookback,
        book.metrics,
        strategies=list(book.strategies),
        starter=load_starter_metrics(book, root),
    )
    targets = chain.target_table(metrics, book.metric, book.method, book.strategies, book.limits, book.gross)
    past = realized[realized["as_of"] < as_of]
    newest = chain.realized_table(past, targets, book.adjustment.rate, book.limits, book.gross, calendar)
    state = chain.state_table(returns, pd.concat([past, newest]), book.overlay.sleeves)
    regimes = chain.regime_table(state, book.overlay.thresholds)
    scalars = chain.scalar_table(regimes, book.overlay.resolved_profile())
    return chain.final_table(newest, scalars, book.overlay, calendar)
