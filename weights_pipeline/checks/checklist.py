"""The list of checks: which verification runs on which table, against which limit, how severe a miss is.

Here belong the declarations, free of Dagster, so that the command line and the asset checks run the very same list.
What a check computes is in ``core.verify``; how it becomes an asset check is in ``checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from weights_pipeline.books.book import Book
from weights_pipeline.books.cadence import Monthly
from weights_pipeline.books.comparisons import Comparison
from weights_pipeline.core import verify
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.ensembles import MAX_REGIME_AGE
from weights_pipeline.core.metrics.table import MANUAL
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.study.comparison import same_sessions as verify_sessions
from weights_pipeline.core.targets.market_regime import market_regimes
from weights_pipeline.core.verify import Finding
from weights_pipeline.core.versions import unbroken
from weights_pipeline.ledger import LedgerSource, calendar_sessions, read_benchmark, read_capital, read_prices
from weights_pipeline.store.base import Store
from weights_pipeline.store.integrity import altered_tables
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.recompute import LedgerView, Taken, recomputed
from weights_pipeline.workspace import BookSetup

MAX_REJECTED = 0.01
EXTREME_METRIC = 25.0
FULL_LOOKBACK = 0.9
WARM_UP_SESSIONS = 59
MAX_STATE_LOST = 0.05


@dataclass(frozen=True)
class Check:
    """One check: what it is called, what it guards, how it is computed, and what a miss means.

    Attributes
    ----------
    name
        Unique per table.
    schema, table
        The table it guards.
    description
        The rule in one sentence.
    run
        Computes the finding from the store.
    error
        A miss is an ERROR (wrong numbers) rather than a WARN (look at it).
    blocking
        Later steps of the same run do not start after a miss; only with ``error``.
    needs_all
        It reads what came after a day too, to prove that it does not matter or is what was written: no check of a past
        day alone.
    """

    name: str
    schema: str
    table: Table
    description: str
    run: Callable[[Store], Finding]
    error: bool = True
    blocking: bool = False
    needs_all: bool = False


def ledger_checks(source: LedgerSource, books: Iterable[Book]) -> list[Check]:
    """Checks of one ledger's tables, against the strategies that its books name."""
    booked = sorted({strategy for book in books for strategy in book.strategies})
    schema = source.schema_name

    def files(store: Store) -> pd.DataFrame:
        return store.read(schema, catalog.LEDGER_FILES)

    def seen(store: Store) -> list[str]:
        returns = store.read(schema, catalog.STRATEGY_RETURNS, columns=["strategy"])
        return sorted(returns["strategy"].unique())

    checks = [
        Check(
            "every_row_accounted_for",
            schema,
            catalog.REJECTED_LOTS,
            "accepted + rejected = read in every source file, and every rejected row is in quarantine.",
            lambda store: verify.accounting(files(store), store.read(schema, catalog.REJECTED_LOTS)),
            blocking=True,
        ),
        Check(
            "rejection_share",
            schema,
            catalog.REJECTED_LOTS,
            f"At most {MAX_REJECTED:.0%} of the rows are rejected for a defect.",
            lambda store: verify.rejection_share(files(store), MAX_REJECTED),
            error=False,
        ),
        Check(
            "lots_unique",
            schema,
            catalog.TRADE_LEDGER,
            "No lot is booked twice over the whole ledger.",
            lambda store: verify.unique_lots(
                store.read(schema, catalog.TRADE_LEDGER, columns=["session", "strategy", "lot_id"])
            ),
            blocking=True,
        ),
        Check(
            "strategies_known",
            schema,
            catalog.STRATEGY_RETURNS,
            "Ledger and books name the same strategies.",
            lambda store: verify.known_strategies(seen(store), booked),
            error=False,
        ),
        _as_written(schema, catalog.STRATEGY_RETURNS),
    ]
    if source.benchmark is not None:
        checks.append(
            Check(
                "up_to_date",
                schema,
                catalog.MARKET_REGIME,
                f"The benchmark is at most {MAX_REGIME_AGE} sessions behind the ledger.",
                lambda store: verify.not_behind(
                    store.read(schema, catalog.MARKET_REGIME, columns=["session"])["session"],
                    store.read(schema, catalog.STRATEGY_RETURNS, columns=["session"])["session"],
                    MAX_REGIME_AGE,
                ),
                error=False,
            )
        )
    return checks


def book_checks(setup: BookSetup) -> list[Check]:
    """Checks of one book's tables."""
    book, source, policy = setup.book, setup.source, setup.policy
    reads = policy.method.reads

    def read(table: Table) -> Callable[[Store], pd.DataFrame]:
        return lambda store: store.read(book.name, table)

    targets, realized = read(catalog.TARGET_WEIGHTS), read(catalog.REALIZED_WEIGHTS)
    final = read(catalog.FINAL_WEIGHTS)

    def gaps(store: Store) -> Finding:
        keys = sorted(store.partitions(book.name, catalog.REALIZED_WEIGHTS.name))
        every = "MS" if isinstance(book.cadence, Monthly) else "7D"
        expected = pd.date_range(keys[0], keys[-1], freq=every).strftime("%Y-%m-%d").tolist() if keys else []
        return verify.no_gap(keys, expected)

    return [
        *(_metric_checks(book, policy) if reads else []),
        *(_ensemble_checks(book) if policy.ensemble else []),
        Check(
            "hard_limits",
            book.name,
            catalog.TARGET_WEIGHTS,
            "Targets keep gross, caps and floors.",
            lambda store: verify.hard_limits(targets(store), "target"),
            blocking=True,
        ),
        Check(
            "at_bound",
            book.name,
            catalog.TARGET_WEIGHTS,
            "No strategy of the newest rebalance sits at its cap or floor.",
            lambda store: verify.at_bound(targets(store)),
            error=False,
        ),
        Check(
            "hard_limits",
            book.name,
            catalog.REALIZED_WEIGHTS,
            "Realised weights keep gross, caps and floors.",
            lambda store: verify.hard_limits(realized(store), "realized"),
            blocking=True,
        ),
        Check(
            "recurrence",
            book.name,
            catalog.REALIZED_WEIGHTS,
            "w = w_old + λ(target − w_old) holds over the whole history.",
            lambda store: verify.recurrence(realized(store)),
            blocking=True,
        ),
        Check(
            "no_gap",
            book.name,
            catalog.REALIZED_WEIGHTS,
            "Partitions form one unbroken run.",
            gaps,
            blocking=True,
        ),
        Check(
            "turnover",
            book.name,
            catalog.REALIZED_WEIGHTS,
            f"One-way turnover of a rebalance stays within {book.max_turnover:.0%}.",
            lambda store: verify.turnover(realized(store), book.max_turnover),
            error=False,
        ),
        *(_overlay_checks(book, source, policy.overlay) if policy.overlay else []),
        Check(
            "final_is_realized_times_scalar",
            book.name,
            catalog.FINAL_WEIGHTS,
            "Final weights are the realised ones, scaled where the overlay is enabled.",
            lambda store: verify.overlay_applied(
                final(store), realized(store), store.read(book.name, catalog.RISK_SCALAR), policy.overlay
            ),
            blocking=True,
        ),
        Check(
            "no_look_ahead",
            book.name,
            catalog.FINAL_WEIGHTS,
            "Recomputed from a ledger cut at their date, sampled past weights come out the same, bit for bit.",
            lambda store: _no_look_ahead(store, setup),
            needs_all=True,
        ),
        Check(
            "no_version_gap",
            book.name,
            catalog.WEIGHT_HISTORY,
            "Versions are numbered without a gap, and every stored rebalance has one of its weights, bit for bit.",
            lambda store: unbroken(store.read(book.name, catalog.WEIGHT_HISTORY), final(store)),
        ),
        _as_written(book.name, catalog.WEIGHT_HISTORY),
    ]


def comparison_checks(comparison: Comparison) -> list[Check]:
    """Checks of one comparison's tables."""

    def same_sessions(store: Store) -> Finding:
        def read(table: Table) -> pd.DataFrame:
            return store.read(comparison.name, table)

        daily = read(catalog.WALK_FORWARD_RETURNS).pivot(index="session", columns="method", values="daily_return")
        return verify_sessions(read(catalog.WALK_FORWARD_WINDOWS), read(catalog.WALK_FORWARD_WEIGHTS), daily)

    return [
        Check(
            "same_sessions",
            comparison.name,
            catalog.COMPARISON,
            "Every method was run in the same windows and judged on the same sessions.",
            same_sessions,
        ),
        _as_written(comparison.name, catalog.COMPARISON),
    ]


def _as_written(schema: str, table: Table) -> Check:
    """One check for all tables of a schema, shown at the one that is written last."""
    return Check(
        "stored_as_written",
        schema,
        table,
        f"Every table of {schema} holds the rows that were written, by the hashes recorded with them.",
        lambda store: verify.as_written(*altered_tables(store, schema)),
        needs_all=True,
    )


def _metric_checks(book: Book, policy: Policy) -> list[Check]:
    full = {each.label: int(FULL_LOOKBACK * each.expected_sessions) for each in policy.lookbacks.values()}
    reads = policy.method.reads

    def metrics(store: Store) -> pd.DataFrame:
        return store.read(book.name, catalog.METRICS)

    return [
        Check(
            "enough_data",
            book.name,
            catalog.METRICS,
            "At least one strategy is measured on every date on which one could be.",
            lambda store: verify.enough_data(metrics(store), reads, full),
            blocking=True,
        ),
        Check(
            "extreme_values",
            book.name,
            catalog.METRICS,
            f"What the method reads stays within ±{EXTREME_METRIC:g}.",
            lambda store: verify.extreme_values(metrics(store), reads, EXTREME_METRIC),
            error=False,
        ),
    ]


def _ensemble_checks(book: Book) -> list[Check]:
    return [
        Check(
            "hard_limits",
            book.name,
            catalog.ENSEMBLE_WEIGHTS,
            "Every weight set keeps gross, caps and floors.",
            lambda store: verify.hard_limits(
                store.read(book.name, catalog.ENSEMBLE_WEIGHTS), "target", by=("as_of", "weight_set")
            ),
            blocking=True,
        ),
        Check(
            "set_of_current_regime",
            book.name,
            catalog.TARGET_WEIGHTS,
            "The newest rebalance reads the weight set of the current market regime.",
            lambda store: verify.reads_current_set(store.read(book.name, catalog.TARGET_WEIGHTS)),
            error=False,
        ),
    ]


def _overlay_checks(book: Book, source: LedgerSource, overlay: AllocatorParameters) -> list[Check]:
    profile = overlay.resolved_profile()

    def read(table: Table) -> Callable[[Store], pd.DataFrame]:
        return lambda store: store.read(book.name, table)

    state, regimes, scalars = read(catalog.ALLOCATOR_STATE), read(catalog.RISK_REGIME), read(catalog.RISK_SCALAR)

    def coverage(store: Store) -> Finding:
        weights = store.read(book.name, catalog.REALIZED_WEIGHTS)
        returns = store.read(source.schema_name, catalog.STRATEGY_RETURNS, columns=["session"])
        newest = weights["as_of"].max()
        sessions = pd.DatetimeIndex(returns["session"].unique()).sort_values()
        invested = sessions[(sessions >= weights["effective_from"].min()) & (sessions <= newest)]
        state = store.read(book.name, catalog.ALLOCATOR_STATE, columns=["session"])
        return verify.state_coverage(invested, state, WARM_UP_SESSIONS, MAX_STATE_LOST)

    return [
        Check(
            "alignment",
            book.name,
            catalog.ALLOCATOR_STATE,
            "The state speaks of the portfolio that was held, unscaled.",
            lambda store: verify.aligned_state(
                state(store),
                store.read(book.name, catalog.REALIZED_WEIGHTS),
                store.read(source.schema_name, catalog.STRATEGY_RETURNS),
            ),
            blocking=True,
        ),
        Check(
            "coverage",
            book.name,
            catalog.ALLOCATOR_STATE,
            f"At most {MAX_STATE_LOST:.0%} of the sessions beyond warm-up have no state.",
            coverage,
            error=False,
        ),
        Check(
            "sticky_regimes",
            book.name,
            catalog.RISK_REGIME,
            "No regime is left for a calmer one before its minimum stay.",
            lambda store: verify.sticky_regimes(regimes(store), overlay.thresholds),
            blocking=True,
        ),
        Check(
            "bounds",
            book.name,
            catalog.RISK_SCALAR,
            "Every scalar lies inside the profile's floor and cap.",
            lambda store: verify.scalar_bounds(scalars(store), profile),
            blocking=True,
        ),
        Check(
            "recursion",
            book.name,
            catalog.RISK_SCALAR,
            "Scalars are the smoothed targets of the stored regimes.",
            lambda store: verify.scalar_recursion(scalars(store), overlay.profiles()),
            blocking=True,
        ),
        Check(
            "smoothness",
            book.name,
            catalog.RISK_SCALAR,
            "No scalar moves further in a session than its smoothing allows.",
            lambda store: verify.smooth_scalars(scalars(store), profile),
        ),
        Check(
            "no_null_propagation",
            book.name,
            catalog.RISK_SCALAR,
            "Every session with a state has a regime and a scalar, and nothing required is null.",
            lambda store: verify.same_sessions(state(store), regimes(store), scalars(store)),
            blocking=True,
        ),
        Check(
            "ordered_by_regime",
            book.name,
            catalog.RISK_SCALAR,
            "The mean scalar of a worse regime is not above that of a calmer one.",
            lambda store: verify.ordered_scalars(scalars(store)),
            error=False,
        ),
        Check(
            "audit",
            book.name,
            catalog.ALLOCATOR_AUDIT,
            "Scaled against unscaled over the whole history, within the book's gates.",
            lambda store: verify.audit_gates(store.read(book.name, catalog.ALLOCATOR_AUDIT), overlay.audit),
            error=False,
        ),
    ]


def _no_look_ahead(store: Store, setup: BookSetup) -> Finding:
    """Recompute sampled dates from what was known on them: the same chain, on a ledger cut there."""
    book, source, policy, root = setup.book, setup.source, setup.policy, setup.root
    final = store.read(book.name, catalog.FINAL_WEIGHTS)
    dates = pd.DatetimeIndex(final["as_of"].unique()).sort_values()
    sampled = dates[[len(dates) // 3, 2 * len(dates) // 3, len(dates) - 1]].unique() if len(dates) else dates
    realized, sets, updates, metrics = (
        store.read(book.name, table)
        for table in (catalog.REALIZED_WEIGHTS, catalog.ENSEMBLE_WEIGHTS, catalog.ENSEMBLE_UPDATES, catalog.METRICS)
    )
    by_hand = metrics[metrics["source"] == MANUAL]
    lots, open_lots, given = (
        store.read(source.schema_name, table)
        for table in (catalog.TRADE_LEDGER, catalog.OPEN_LOTS, catalog.GIVEN_RETURNS)
    )
    ledger = LedgerView(
        lots=lots,
        open_lots=open_lots,
        given=given,
        capital=read_capital(source, root),
        prices=read_prices(source, root),
        calendar=source.calendar,
        begin=pd.Timestamp(f"{source.first_month}-01"),
        market=pd.Series(dtype="str"),
    )
    again = []
    for as_of in sampled:
        known = ledger.cut(as_of)
        if policy.ensemble:
            known = replace(known, market=_market(source, root, as_of))
        past = realized[realized["as_of"] < as_of]
        taken = Taken(past=past, sets=sets[sets["as_of"] < as_of], updates=updates, given=by_hand)
        again.append(recomputed(as_of, known, taken, policy))
    stored = final[final["as_of"].isin(sampled)]
    return verify.reproduced(pd.concat(again) if again else stored, stored)


def _market(source: LedgerSource, root: Path, as_of: pd.Timestamp) -> pd.Series:
    """Market regimes from the benchmark up to a date."""
    prices = read_benchmark(source, root)
    closed = calendar_sessions(source.calendar, prices.index[0].date(), as_of.date())
    regimes: pd.Series = market_regimes(prices[prices.index.isin(closed)])["regime"]
    return regimes
