"""Checks of a book's tables, from its metrics to its history of weights.

Scope: declarations. Not here: what they compute (``core.verify``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from weights_pipeline.checks.behind import behind, finding
from weights_pipeline.checks.declaration import Check, CheckList
from weights_pipeline.checks.look_ahead import reproduced
from weights_pipeline.checks.verified import Verified
from weights_pipeline.checks.written import RESTORE, stored_as_written
from weights_pipeline.core import verify
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.allocator.state import WARM_UP
from weights_pipeline.core.chain import overlay_path, volatility_table
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.targets.normalise import Group
from weights_pipeline.core.verify import Finding
from weights_pipeline.core.versions import unbroken
from weights_pipeline.ledger.periods import window_dates
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.inputs import started_from
from weights_pipeline.versions.policies import Stretch, stretches
from weights_pipeline.workspace import BookSetup

FULL_LOOKBACK = 0.9
"""Share of a lookback's sessions from which on a strategy can be measured on it, whatever the holidays."""

_DO_NOT_TRADE = "Do not trade on these weights before the cause is known."


@dataclass(frozen=True)
class BookRows:
    """Rows of one book, and of the ledger that it reads."""

    setup: BookSetup
    store: Reader
    verified: Verified

    @property
    def schema(self) -> str:
        """Schema of the book's tables."""
        return self.setup.name

    @property
    def policy(self) -> Policy:
        """What the book means to the formulas."""
        return self.setup.policy

    @property
    def overlay(self) -> AllocatorParameters:
        """Parameters of the allocator, of a book that has one."""
        if self.policy.overlay is None:
            raise ValueError(f"book {self.schema} has no allocator")
        return self.policy.overlay

    def read(self, table: Table, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of a table of the book."""
        return self.store.read(self.schema, table, columns=columns)

    def by_policy(self, table: Table, find: Callable[[Stretch, Policy], Finding], *, newest: bool = False) -> Finding:
        """Finding on stored partitions of a table, all or the newest, each judged by the policy it was made under."""
        found, every = list[Finding](), stretches(self.setup, self.store, table)
        for stretch in every[-1:] if newest else every:
            each = [find(stretch, policy) for policy in stretch.policies]
            found.append(next((finding for finding in each if finding.passed), each[-1]))
        return verify.together(found)

    def scaled(self, table: Table, find: Callable[[Stretch, AllocatorParameters], Finding]) -> Finding:
        """The same of partitions whose policy has an allocator."""

        def found(stretch: Stretch, policy: Policy) -> Finding:
            if policy.overlay is None:
                return Finding(passed=True, value=0.0, limit=0.0, summary="made without an allocator")
            return find(stretch, policy.overlay)

        return self.by_policy(table, found)

    def scalars(self, stretch: Stretch, overlay: AllocatorParameters) -> pd.DataFrame:
        """Scalars that led to those of a stretch: before it, what its own allocator makes of the history."""
        stored = stretch.of(self.read(catalog.RISK_SCALAR), "session")
        if stretch.first == pd.Timestamp.min:
            return stored
        path = overlay_path(self.returns(), self.read(catalog.REALIZED_WEIGHTS), overlay, self.policy.frequency)
        return pd.concat([path.scalars[path.scalars["session"] < stretch.first], stored], ignore_index=True)

    def returns(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Daily returns of the ledger."""
        return self.store.read(self.setup.source.schema_name, catalog.STRATEGY_RETURNS, columns=columns)


BOOK = CheckList[BookRows]("book")


def book_checks(setup: BookSetup) -> list[Check]:
    """Checks of one book's tables.

    Raises
    ------
    weights_pipeline.books.reading.BookError
        The book sets the threshold of a check that has none.
    """
    return BOOK.of(partial(BookRows, setup), setup.book.checks, f"book {setup.name}: checks")


def _measures(of: BookRows) -> bool:
    return bool(of.policy.method.reads)


def _scales(of: BookRows) -> bool:
    return of.policy.overlay is not None


def _targets_volatility(of: BookRows) -> bool:
    """Whether there is a volatility target, now or under an earlier policy of its file."""
    return any(book.overlay is not None and book.overlay.volatility_target for book in of.setup.book.every)


def _has_groups(of: BookRows) -> bool:
    """Whether groups, or single ones by their capital, have limits, now or under an earlier policy of its file.

    What liquidity allows is a cap of its date, which ``hard_limits`` looks at.
    """
    return any(book.limits.groups or book.limits.capacities for book in of.setup.book.every)


def _within_groups(of: BookRows, table: Table, column: str) -> Finding:
    weights = of.read(table)
    return of.by_policy(
        table,
        lambda stretch, policy: verify.group_limits(
            stretch.of(weights, "as_of"), column, policy.groups, policy.strategies
        ),
    )


def _keeps_sets(of: BookRows) -> bool:
    return of.policy.ensemble


@BOOK.check(
    catalog.METRICS,
    blocking=True,
    when=lambda of: of.setup.source.incomplete == "stop",
    title="positions are not known",
    advice="Run `weights ledger check`: correct the row that it names, or set incomplete: neutral in the ledger.",
)
def positions_known(of: BookRows) -> Finding:
    """Over every lookback all positions of the book's strategies are known."""
    findings = of.store.read(of.setup.source.schema_name, catalog.LEDGER_FINDINGS)
    return verify.measured_on_known_positions(of.read(catalog.METRICS), findings)


BOOK.check(
    catalog.METRICS,
    when=lambda of: of.setup.source.incomplete == "neutral",
    error=False,
    title="positions are not known",
    advice="Run `weights ledger check`: until the row that it names is correct, these strategies stay neutral.",
)(positions_known)


@BOOK.check(
    catalog.METRICS,
    blocking=True,
    when=_measures,
    title="no strategy is measured",
    advice="See whether the ledger was read and holds lots of the lookback; until then base weights count.",
)
def enough_data(of: BookRows) -> Finding:
    """At least one strategy is measured on every date on which one could be."""
    metrics = of.read(catalog.METRICS)

    def found(stretch: Stretch, policy: Policy) -> Finding:
        if not policy.method.reads:
            return Finding(passed=True, value=0.0, limit=0.0, summary="made by a method that reads no metric")
        full = {each.label: int(FULL_LOOKBACK * each.expected(policy.frequency)) for each in policy.lookbacks.values()}
        return verify.enough_data(stretch.of(metrics, "as_of"), policy.method.reads, full)

    return of.by_policy(catalog.METRICS, found)


@BOOK.check(
    catalog.METRICS,
    error=False,
    limit=25.0,
    when=_measures,
    advice="Look at the lots behind it: seldom skill, often a wrong scale.",
)
def extreme_values(of: BookRows, limit: float) -> Finding:
    """What the method reads at the newest rebalance stays within ±{limit:g}."""
    metrics = of.read(catalog.METRICS)
    return of.by_policy(
        catalog.METRICS,
        lambda stretch, policy: verify.extreme_values(stretch.of(metrics, "as_of"), policy.method.reads, limit),
        newest=True,
    )


@BOOK.check(
    catalog.ENSEMBLE_WEIGHTS,
    name="hard_limits",
    blocking=True,
    when=_keeps_sets,
    advice=_DO_NOT_TRADE,
)
def limits_of_sets(of: BookRows) -> Finding:
    """Every weight set keeps gross, caps and floors."""
    return verify.hard_limits(of.read(catalog.ENSEMBLE_WEIGHTS), "target", by=("as_of", "weight_set"))


@BOOK.check(
    catalog.TARGET_WEIGHTS,
    error=False,
    when=_keeps_sets,
)
def set_of_current_regime(of: BookRows) -> Finding:
    """The newest rebalance reads the weight set of the current market regime."""
    return verify.reads_current_set(of.read(catalog.TARGET_WEIGHTS))


@BOOK.check(
    catalog.TARGET_WEIGHTS,
    name="hard_limits",
    blocking=True,
    advice=_DO_NOT_TRADE,
)
def limits_of_targets(of: BookRows) -> Finding:
    """Targets keep gross, caps and floors."""
    return verify.hard_limits(of.read(catalog.TARGET_WEIGHTS), "target")


@BOOK.check(
    catalog.TARGET_WEIGHTS,
    error=False,
)
def at_bound(of: BookRows) -> Finding:
    """For information: which strategies the newest rebalance holds at their cap or floor."""
    return verify.at_bound(of.read(catalog.TARGET_WEIGHTS))


@BOOK.check(
    catalog.REALIZED_WEIGHTS,
    name="hard_limits",
    blocking=True,
    advice=_DO_NOT_TRADE,
)
def limits_of_realized(of: BookRows) -> Finding:
    """Realized weights keep gross, caps and floors."""
    return verify.hard_limits(of.read(catalog.REALIZED_WEIGHTS), "realized")


@BOOK.check(
    catalog.ENSEMBLE_WEIGHTS,
    name="group_limits",
    blocking=True,
    when=lambda of: _keeps_sets(of) and _has_groups(of),
    advice=_DO_NOT_TRADE,
)
def groups_of_sets(of: BookRows) -> Finding:
    """Every weight set keeps floors and caps of groups."""
    return _within_groups(of, catalog.ENSEMBLE_WEIGHTS, "target")


@BOOK.check(
    catalog.TARGET_WEIGHTS,
    name="group_limits",
    blocking=True,
    when=_has_groups,
    advice=_DO_NOT_TRADE,
)
def groups_of_targets(of: BookRows) -> Finding:
    """Targets keep floors and caps of groups."""
    return _within_groups(of, catalog.TARGET_WEIGHTS, "target")


@BOOK.check(
    catalog.REALIZED_WEIGHTS,
    name="group_limits",
    blocking=True,
    when=_has_groups,
    advice=_DO_NOT_TRADE,
)
def groups_of_realized(of: BookRows) -> Finding:
    """Realized weights keep floors and caps of groups."""
    return _within_groups(of, catalog.REALIZED_WEIGHTS, "realized")


@BOOK.check(
    catalog.REALIZED_WEIGHTS,
    blocking=True,
    advice=_DO_NOT_TRADE,
)
def recurrence(of: BookRows) -> Finding:
    """The recurrence w = w_old + λ(target − w_old) holds over the whole history."""
    realized = of.read(catalog.REALIZED_WEIGHTS)
    made = stretches(of.setup, of.store, catalog.REALIZED_WEIGHTS)

    def groups(as_of: pd.Timestamp) -> Sequence[Sequence[Group]]:
        policies = next(stretch.policies for stretch in made if as_of < stretch.after)
        return [policy.groups for policy in policies]

    return verify.recurrence(realized, started_from(of.setup, of.store, realized["as_of"].min()), groups)


@BOOK.check(
    catalog.REALIZED_WEIGHTS,
    blocking=True,
    advice="Materialise the missing partitions in order.",
)
def no_gap(of: BookRows) -> Finding:
    """Partitions form one unbroken run."""
    keys = sorted(of.store.partitions(of.schema, catalog.REALIZED_WEIGHTS.name))
    return verify.no_gap(keys, of.setup.periods.keys(keys[0], keys[-1]) if keys else [])


@BOOK.check(
    catalog.REALIZED_WEIGHTS,
    error=False,
    limit=lambda of: of.setup.book.max_turnover,
    advice="Look at what has moved: `weights explain`.",
)
def turnover(of: BookRows, limit: float) -> Finding:
    """One-way turnover of a rebalance stays within {limit:.0%}."""
    return verify.turnover(of.read(catalog.REALIZED_WEIGHTS), limit)


@BOOK.check(
    catalog.ALLOCATOR_STATE,
    blocking=True,
    when=_scales,
)
def alignment(of: BookRows) -> Finding:
    """The state speaks of the portfolio that was held, unscaled."""
    return verify.aligned_state(of.read(catalog.ALLOCATOR_STATE), of.read(catalog.REALIZED_WEIGHTS), of.returns())


@BOOK.check(catalog.ALLOCATOR_STATE, when=_scales)
def coverage(of: BookRows) -> Finding:
    """Every session beyond warm-up has a state, of partitions whose policy has an allocator."""
    weights, state = of.read(catalog.REALIZED_WEIGHTS), of.read(catalog.ALLOCATOR_STATE)
    sessions = pd.DatetimeIndex(of.returns(["session"])["session"].unique()).sort_values()
    held = sessions[(sessions >= weights["effective_from"].min()) & (sessions <= weights["as_of"].max())]
    scaled = [
        of.setup.periods.window(key)
        for stretch in stretches(of.setup, of.store, catalog.ALLOCATOR_STATE)
        for key in stretch.keys
        if all(policy.overlay for policy in stretch.policies)
    ]
    due = held[WARM_UP:]
    return verify.state_coverage(due[window_dates(scaled).get_indexer(due) >= 0] if scaled else due[:0], state)


@BOOK.check(
    catalog.RISK_REGIME,
    blocking=True,
    when=_scales,
)
def sticky_regimes(of: BookRows) -> Finding:
    """No regime is left for a calmer one before its minimum stay."""
    regimes = of.read(catalog.RISK_REGIME)
    return of.scaled(
        catalog.RISK_REGIME,
        lambda stretch, overlay: verify.sticky_regimes(stretch.of(regimes, "session"), overlay.thresholds),
    )


@BOOK.check(catalog.RISK_SCALAR, blocking=True, when=_scales)
def bounds(of: BookRows) -> Finding:
    """Every scalar lies inside the profile's floor and cap."""
    scalars = of.read(catalog.RISK_SCALAR)
    return of.scaled(
        catalog.RISK_SCALAR,
        lambda stretch, overlay: verify.scalar_bounds(stretch.of(scalars, "session"), overlay.resolved_profile()),
    )


@BOOK.check(catalog.RISK_SCALAR, blocking=True, when=_scales)
def recursion(of: BookRows) -> Finding:
    """Scalars are the smoothed targets of the stored regimes."""
    return of.scaled(
        catalog.RISK_SCALAR,
        lambda stretch, overlay: verify.scalar_recursion(of.scalars(stretch, overlay), overlay.profiles()),
    )


@BOOK.check(catalog.RISK_SCALAR, when=_scales)
def smoothness(of: BookRows) -> Finding:
    """No scalar moves further in a session than its smoothing allows."""
    scalars = of.read(catalog.RISK_SCALAR)
    return of.scaled(
        catalog.RISK_SCALAR,
        lambda stretch, overlay: verify.smooth_scalars(stretch.of(scalars, "session"), overlay.resolved_profile()),
    )


@BOOK.check(catalog.RISK_SCALAR, blocking=True, when=_targets_volatility, advice=_DO_NOT_TRADE)
def volatility_target(of: BookRows) -> Finding:
    """Scalars of the volatility target follow from what the unscaled book has earned."""
    scalars, realized, returns = of.read(catalog.RISK_SCALAR), of.read(catalog.REALIZED_WEIGHTS), of.returns()

    def found(stretch: Stretch, overlay: AllocatorParameters) -> Finding:
        expected = volatility_table(returns, realized, overlay, of.policy.frequency)
        return verify.volatility_targeted(stretch.of(scalars, "session"), expected)

    return of.scaled(catalog.RISK_SCALAR, found)


@BOOK.check(
    catalog.RISK_SCALAR,
    blocking=True,
    when=_scales,
)
def no_null_propagation(of: BookRows) -> Finding:
    """Every session with a state has a regime and a scalar, and nothing required is null."""
    return verify.same_sessions(
        of.read(catalog.ALLOCATOR_STATE), of.read(catalog.RISK_REGIME), of.read(catalog.RISK_SCALAR)
    )


@BOOK.check(
    catalog.RISK_SCALAR,
    error=False,
    when=_scales,
)
def ordered_by_regime(of: BookRows) -> Finding:
    """The mean scalar of a worse regime is not above that of a calmer one."""
    return verify.ordered_scalars(of.read(catalog.RISK_SCALAR))


@BOOK.check(
    catalog.ALLOCATOR_AUDIT,
    error=False,
    advice="The overlay has cost more than it saved, by a gate of the book: a question of policy, not a fault.",
    when=_scales,
)
def audit(of: BookRows) -> Finding:
    """Scaled against unscaled over the whole history, within the book's gates."""
    return verify.audit_gates(of.read(catalog.ALLOCATOR_AUDIT), of.overlay.audit)


@BOOK.check(
    catalog.FINAL_WEIGHTS,
    blocking=True,
    advice=_DO_NOT_TRADE,
)
def final_is_realized_times_scalar(of: BookRows) -> Finding:
    """Final weights are the realized ones, scaled where the overlay is enabled."""
    final, realized = of.read(catalog.FINAL_WEIGHTS), of.read(catalog.REALIZED_WEIGHTS)

    def found(stretch: Stretch, policy: Policy) -> Finding:
        scalars = of.scalars(stretch, policy.overlay) if policy.overlay else of.read(catalog.RISK_SCALAR)
        held, traded = stretch.of(realized, "as_of"), stretch.of(final, "as_of")
        return verify.overlay_applied(traded, held, scalars, policy.overlay, policy.hedging)

    return of.by_policy(catalog.FINAL_WEIGHTS, found)


@BOOK.check(
    catalog.FINAL_WEIGHTS,
    needs_all=True,
    advice="Do not trade on these weights: they depend on data after their date.",
)
def no_look_ahead(of: BookRows) -> Finding:
    """Recomputed from a ledger cut at their date, sampled past weights come out the same, bit for bit."""
    return reproduced(of.setup, of.store, of.verified)


@BOOK.check(
    catalog.WEIGHT_HISTORY,
    advice="Materialise the missing partitions in order.",
)
def no_version_gap(of: BookRows) -> Finding:
    """Versions are numbered without a gap, and every stored rebalance has one of its weights, bit for bit."""
    return unbroken(of.read(catalog.WEIGHT_HISTORY), of.read(catalog.FINAL_WEIGHTS))


@BOOK.check(
    catalog.WEIGHT_HISTORY,
    needs_all=True,
    title="the ledger has changed since",
    advice="See with `weights restate` which weights change, then run the command that it names.",
)
def made_of_stored_ledger(of: BookRows) -> Finding:
    """Every rebalance was made from the ledger as it is stored, whenever that was read."""
    found = behind(of.setup, of.store, of.verified)
    return finding([found] if found else [])


BOOK.check(catalog.WEIGHT_HISTORY, needs_all=True, advice=RESTORE)(stored_as_written)
