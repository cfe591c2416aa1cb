"""What a report knows: from the store to plain records, with every figure.

Scope: the reading, and the calls into ``core`` and ``checks``. Not here: how anything is said (``words``) or looks
(``render``).
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
from pandas.api.typing import NaTType

from weights_pipeline.books.book import Book
from weights_pipeline.checks import Check, book_checks, ledger_checks
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK
from weights_pipeline.core.realized.speed import common_rate
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.marking import booked_on_exit
from weights_pipeline.core.study.book_comparison import FEE, BookComparison, Contender, compare
from weights_pipeline.core.study.holdings import HoldingsRisk
from weights_pipeline.core.verify import RECONCILED, UNKNOWN_POSITION, Finding
from weights_pipeline.core.versions import OPENING, changed_keys, diff, intact, newest_versions
from weights_pipeline.core.waterfall import Step, waterfalls
from weights_pipeline.live import Keys
from weights_pipeline.live.standing import Course, Standing, standings
from weights_pipeline.operations.book_returns import by_session, traded
from weights_pipeline.report.earnings import Attribution, Earned, at_risk, booking, earned
from weights_pipeline.report.seen import SeenStore
from weights_pipeline.store.queries import NothingInForceError
from weights_pipeline.tables import catalog
from weights_pipeline.versions.inputs import code_version
from weights_pipeline.versions.publication import course_of
from weights_pipeline.workspace import BookSetup, Workspace

BIGGEST = 3
"""Moves that a summary names."""

SMALLEST = 5e-5
"""A change below this, half a basis point of capital, is none to a reader."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One strategy now and at the rebalance before; what there was not is NaN.

    Attributes
    ----------
    base, lower, upper
        Base weight, and the limits of target and realized weight.
    target, realized, final, before
        Weights now, and the weight that was traded before: ``change`` is final − before.
    by_tilt, by_scalar
        What of the change the realized weight and the overlay made; they add up to it.
    label, metric, metric_reason, metric_before
        Metric that the method read, its value, why it is null, and the value before.
    multiplier, multiplier_before, formula, note, bound
        The multiplier that followed, the one before, how it came about, and the limit that holds the target.
    entered
        Whether it is new in the book.
    steps
        Every step from metric to final weight, replayed.
    """

    strategy: str
    base: float
    lower: float
    upper: float
    target: float
    realized: float
    final: float
    before: float
    by_tilt: float
    by_scalar: float
    label: str
    metric: float
    metric_reason: str
    metric_before: float
    multiplier: float
    multiplier_before: float
    formula: str
    note: str
    bound: str
    entered: bool
    steps: tuple[Step, ...]

    @property
    def change(self) -> float:
        """Final weight less the one before."""
        return self.final - self.before

    @property
    def by_risk(self) -> bool:
        """Whether the overlay moved it more than tilting did."""
        return abs(self.by_scalar) > abs(self.by_tilt)


@dataclass(frozen=True)
class Outcome:
    """One check and what it found."""

    check: Check
    finding: Finding

    @property
    def state(self) -> str:
        """``passed``, or the severity of the miss: ``ERROR`` or ``WARN``."""
        if self.finding.passed:
            return "passed"
        return "ERROR" if self.check.error else "WARN"


@dataclass(frozen=True, kw_only=True)
class Version:
    """The version of weights that a report is of, and what sets it apart from that of the rebalance before."""

    number: int
    rebalance: str
    recorded_at: pd.Timestamp
    reason: str
    run_id: str
    code_version: str
    parameters_hash: str
    ledger_hash: str
    before: int | None
    changed: tuple[str, ...]
    parameters: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BookReport:
    """One book.

    Attributes
    ----------
    book
        The book as its file has it.
    as_of, effective_from, next_rebalance
        Last session that the weights read, first session on which they are in force, and when the next ones are due.
    before
        ``as_of`` of the rebalance before; None where there was none and the weights are held against their base.
    moves
        By strategy, the largest change first.
    metric, formula, weight_set, weight_set_before
        Label of the metric shown, how a multiplier follows from it, and of an ensemble the sets that were read.
    rate
        Share of the gap to target that the rebalance closed; None where a no-trade band gave each strategy its own.
    regime, scalar, volatility_scalar, applied
        Risk regime and scalar behind the weights (NaN: there is none, or one per sleeve), that of a volatility target
        (NaN: there is none), and whether they were applied.
    hedged, funding
        What hedges weigh together, and the factor that they leave of all scaled weights; NaN without hedges.
    final, targets
        Weights traded from each session on, and targets from each rebalance on; columns strategies.
    scalars, regimes
        Risk scalar and regime of the book by session; empty without an overlay.
    audit
        Rows of ``allocator_audit`` of the rebalance.
    version
        None where the history has none.
    outcomes
        Checks of the book's tables.
    left_out
        Names of checks that mean nothing for a past day.
    unknown
        Positions of the book's strategies that the ledger does not know to this day: rows of ``ledger_findings``.
    reconciled
        Newest date on which the ledger agrees with the broker's statement; None where there is none.
    booking
        How the ledger books profit, in words.
    benchmark
        Where the closes of its benchmark come from, in words; empty where it has none.
    earned, attribution
        What the book has earned and who earned it; None before the first session at its weights.
    risk
        Risk of the weights held now; None where the ledger has too few returns.
    caveat
        What its ledger says a reader has to know first; empty where it says nothing.
    published
        What each place has published of the book; none of a past day, or where nobody asked.
    course
        Whether the book goes on; None of a past day, or where nobody asked.
    """

    book: Book
    as_of: pd.Timestamp
    effective_from: pd.Timestamp
    next_rebalance: str
    before: pd.Timestamp | None
    moves: tuple[Move, ...]
    metric: str
    formula: str
    weight_set: str
    weight_set_before: str
    rate: float | None
    regime: str
    scalar: float
    volatility_scalar: float
    applied: bool
    hedged: float
    funding: float
    final: pd.DataFrame
    targets: pd.DataFrame
    scalars: pd.Series
    regimes: pd.Series
    audit: pd.DataFrame
    version: Version | None
    outcomes: tuple[Outcome, ...]
    left_out: tuple[str, ...]
    unknown: pd.DataFrame
    reconciled: pd.Timestamp | None
    booking: str
    benchmark: str
    earned: Earned | None
    attribution: Attribution | None
    risk: HoldingsRisk | None
    caveat: str
    published: tuple[Standing, ...] = ()
    course: Course | None = None

    @property
    def expired(self) -> tuple[Standing, ...]:
        """Places whose weights count no more."""
        return tuple(place for place in self.published if place.state == "expired")

    @property
    def turnover(self) -> float:
        """One-way, ½·Σ|change| of the weights traded."""
        return math.fsum(abs(move.change) for move in self.moves) / 2

    @property
    def turnover_by(self) -> tuple[float, float]:
        """One-way turnover that tilting alone and the overlay alone would have made."""
        tilt, scalar = ([abs(getattr(move, by)) for move in self.moves] for by in ("by_tilt", "by_scalar"))
        return math.fsum(tilt) / 2, math.fsum(scalar) / 2

    @property
    def gross(self) -> float:
        """Sum of the weights traded."""
        return math.fsum(move.final for move in self.moves)

    @property
    def movers(self) -> tuple[Move, ...]:
        """The biggest moves, the largest first."""
        return tuple(move for move in self.moves if abs(move.change) >= SMALLEST)[:BIGGEST]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What one file says.

    Attributes
    ----------
    title
        Of the page.
    day
        The past day it is of; None for the newest weights.
    books
        Books that have weights, in the order of their files.
    missing
        Names of books that have nothing stored.
    ledgers
        Checks of each ledger that a book of the report reads.
    comparison
        All books that have weights, and equal weight; None where they share no session.
    known
        When the newest version shown was recorded, UTC; NaT without any.
    code
        Release, and a hash of the science, that made the report.
    """

    title: str
    day: dt.date | None
    books: tuple[BookReport, ...]
    missing: tuple[str, ...]
    ledgers: Mapping[str, tuple[Outcome, ...]]
    comparison: BookComparison | None
    known: pd.Timestamp | NaTType
    code: str

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """All checks."""
        every = [*self.ledgers.values(), *(each.outcomes for each in self.books)]
        return tuple(outcome for outcomes in every for outcome in outcomes)

    @property
    def document(self) -> dict[str, Any]:
        """Everything that the page says in figures, for a machine; a null is NaN."""
        said = self.figures
        chosen = self.comparison.overfitting if self.comparison else None
        said["overfitting"] = asdict(chosen) if chosen else None
        for each in self.books:
            said["books"][each.book.name] |= {
                "booking": each.booking,
                "fee": FEE,
                "caveat": each.caveat,
                "earned": each.earned.document if each.earned else None,
                "attribution": each.attribution.document if each.attribution else None,
                "risk": each.risk.document if each.risk else None,
            }
        return said

    @property
    def figures(self) -> dict[str, Any]:
        """Key figures for a machine; a null is NaN."""
        sides = self.comparison.standings if self.comparison else ()
        return {
            "passed": sum(each.finding.passed for each in self.outcomes),
            "checks": len(self.outcomes),
            "missing": list(self.missing),
            "books": {
                each.book.name: {
                    "as_of": f"{each.as_of:%Y-%m-%d}",
                    "effective_from": f"{each.effective_from:%Y-%m-%d}",
                    "version": each.version.number if each.version else None,
                    "course": each.course.state if each.course else None,
                    "published": [place.state for place in each.published],
                    "regime": each.regime,
                    "scalar": each.scalar,
                    "volatility_scalar": each.volatility_scalar,
                    "hedged": each.hedged,
                    "turnover": each.turnover,
                    "weights": {move.strategy: move.final for move in sorted(each.moves, key=lambda m: m.strategy)},
                }
                for each in self.books
            },
            "comparison": {
                each.name: {
                    "sharpe": each.sharpe.value,
                    "less_equal_weight": asdict(each.equal) if each.equal else None,
                    "less_base_weights": asdict(each.base) if each.base else None,
                    "probabilistic_sharpe": each.probabilistic,
                    "deflated_sharpe": each.deflated,
                }
                for each in sides
            },
        }


def gather(
    workspace: Workspace,
    chosen: Sequence[Sequence[str]],
    as_of: dt.date | None = None,
    *,
    now: dt.datetime | None = None,
    keys: Keys | None = None,
) -> list[Report]:
    """One report for each choice of books, from one look at the store.

    Parameters
    ----------
    workspace
        All books and where their tables are: every book with weights is in a comparison, with those whose returns are
        observed as often; a report of several books has that of the first.
    chosen
        Names of the books of each report; of several, those without weights are named as missing.
    as_of
        Day on which the weights were in force; the newest of all when None. Nothing that came later is read.
    now
        Instant with a zone at which is asked what is published of the newest, and whether books go on; nobody asks
        when left out.
    keys
        Whose signatures of published weights are accepted.

    Raises
    ------
    FileNotFoundError
        The store does not exist.
    weights_pipeline.store.queries.NothingInForceError
        No book of a report has weights in force.
    weights_pipeline.core.waterfall.ReplayError
        Stored figures contradict each other.
    """
    store, setups = workspace.store, workspace.setups
    with store.view():
        seen = SeenStore(store, as_of)
        stored = {schema for schema, name in store.tables() if name == catalog.FINAL_WEIGHTS.name}
        there = [name for name in setups if name in stored and len(seen.read(name, catalog.FINAL_WEIGHTS))]
        for names in chosen:
            if not set(names) & set(there):
                when = f" in force on {as_of}" if as_of else ""
                hint = f" Run `weights run --book {names[0]}` first." if names and names[0] not in stored else ""
                raise NothingInForceError(f"{', '.join(names)}: no weights{when} in {store.location}.{hint}")
        wanted = [name for name in there if any(name in names for names in chosen)]
        found = {name: _book(setups[name], seen) for name in wanted}
        ledgers = {
            name: _outcomes(ledger_checks(workspace.sources[name], workspace.readers[name]), seen)[0]
            for name in dict.fromkeys(setups[name].source.name for name in wanted)
        }
        alike: dict[Frequency, list[BookSetup]] = {}
        for name in there:
            alike.setdefault(setups[name].source.frequency, []).append(setups[name])
        comparisons = {frequency: compare(_contenders(own, seen)) for frequency, own in alike.items()}
        courses = {name: course_of(setups[name], seen, now) for name in wanted if now is not None and as_of is None}
    if now is not None and as_of is None:
        weights = {name: {move.strategy: move.final for move in report.moves} for name, report in found.items()}
        published = standings(weights, workspace.settings.live, keys, now)
        for name, report in found.items():
            found[name] = replace(report, published=published[name], course=courses[name])
    compared = [comparisons[next(setups[n].source.frequency for n in names if n in there)] for names in chosen]
    return [
        _report(names, found, ledgers, comparison, as_of) for names, comparison in zip(chosen, compared, strict=True)
    ]


def _report(
    names: Sequence[str],
    found: Mapping[str, BookReport],
    ledgers: Mapping[str, tuple[Outcome, ...]],
    comparison: BookComparison | None,
    as_of: dt.date | None,
) -> Report:
    books = tuple(found[name] for name in names if name in found)
    recorded = [each.version.recorded_at for each in books if each.version is not None]
    return Report(
        title=f"Weights of {names[0]}" if len(names) == 1 else "Weights of all books",
        day=as_of,
        books=books,
        missing=tuple(name for name in names if name not in found),
        ledgers={name: ledgers[name] for name in dict.fromkeys(each.book.ledger for each in books)},
        comparison=comparison,
        known=max(recorded, default=pd.NaT),
        code=code_version(),
    )


def _book(setup: BookSetup, seen: SeenStore) -> BookReport:
    book = setup.book
    targets, realized, final = (
        seen.read(book.name, table)
        for table in (catalog.TARGET_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.FINAL_WEIGHTS)
    )
    dates = pd.DatetimeIndex(final["as_of"].unique()).sort_values()
    newest = dates[-1]
    before = dates[-2] if len(dates) > 1 else None
    steps = waterfalls(*(rows[rows["as_of"] == newest] for rows in (targets, realized, final)))
    held_by_session, in_force = _traded(book, seen, final)
    current = targets[targets["as_of"] == newest]
    one, scalars = in_force.iloc[0], in_force["scalar"].unique()
    first = current.iloc[0]
    earlier = targets[targets["as_of"] == before] if before is not None else targets.iloc[:0]
    outcomes, left_out = _outcomes(book_checks(setup), seen)
    since = final[["as_of", "effective_from"]].drop_duplicates().set_index("as_of")["effective_from"]
    returns = wide(seen.read(setup.source.schema_name, catalog.STRATEGY_RETURNS))
    at_realized = by_session(final, "realized")
    applied = bool(one["applied"])
    scaled = held_by_session if applied else by_session(final, "scaled").fillna(at_realized)
    base, (booked, prices) = by_session(realized, "base"), _beside(setup, seen)
    found = earned(setup, base, at_realized, scaled, held_by_session, returns, booked, prices)
    held = dict(zip(in_force["strategy"], in_force["final"], strict=True))
    return BookReport(
        book=book,
        as_of=newest,
        effective_from=one["effective_from"],
        next_rebalance=final.loc[final["as_of"] == newest, "next_rebalance"].iloc[0],
        before=before,
        moves=_moves(newest, before, targets, realized, final, in_force, steps),
        metric=first["metric"],
        formula=first["formula"],
        weight_set=first["weight_set"],
        weight_set_before=earlier["weight_set"].iloc[0] if len(earlier) else "",
        rate=common_rate(realized.loc[realized["as_of"] == newest, "rate"].tolist()),
        regime=one["regime"],
        scalar=float(scalars[0]) if len(scalars) == 1 else math.nan,
        volatility_scalar=float(one["volatility_scalar"]),
        applied=applied,
        hedged=float(in_force["hedge"].sum(skipna=False)),
        funding=float(one["funding"]),
        final=held_by_session,
        targets=by_session(targets.assign(effective_from=targets["as_of"].map(since)), "target"),
        scalars=_by_session(seen.read(book.name, catalog.RISK_SCALAR), "scalar"),
        regimes=_by_session(seen.read(book.name, catalog.RISK_REGIME), "regime"),
        audit=_on(seen.read(book.name, catalog.ALLOCATOR_AUDIT), newest),
        version=_version(book.name, newest, before, seen),
        outcomes=outcomes,
        left_out=left_out,
        unknown=_unknown(setup, seen, newest),
        reconciled=_reconciled(setup, seen),
        booking=booking(setup),
        benchmark=f"{named.column} of {named.file}" if (named := setup.source.benchmark) else "",
        earned=found[0] if found else None,
        attribution=found[1] if found else None,
        risk=at_risk(setup, held, returns),
        caveat=setup.source.caveat,
    )


def _beside(setup: BookSetup, seen: SeenStore) -> tuple[pd.DataFrame | None, pd.Series | None]:
    """Returns with all profit booked on exit where open lots are marked; closes of the benchmark where there is one."""
    source, booked, prices = setup.source, None, None
    if source.prices and source.fills:
        rows, lots, cash = (
            seen.read(source.schema_name, table)
            for table in (catalog.STRATEGY_RETURNS, catalog.TRADE_LEDGER, catalog.CASH)
        )
        booked = booked_on_exit(rows, lots, cash[["session", "strategy", "amount"]])
    if source.benchmark is not None:
        closes = seen.read(source.schema_name, catalog.MARKET_REGIME)
        prices = closes.set_index("session")["price"] if len(closes) else None
    return booked, prices


def _unknown(setup: BookSetup, seen: SeenStore, as_of: pd.Timestamp) -> pd.DataFrame:
    """Positions of a book's strategies that its ledger does not know to this day, and did not on a day."""
    found = seen.read(setup.source.schema_name, catalog.LEDGER_FINDINGS)
    own = (found["code"] == UNKNOWN_POSITION) & found["strategy"].isin(list(setup.book.strategies))
    return found[own & found["until"].isna() & (found["since"] <= as_of)]


def _reconciled(setup: BookSetup, seen: SeenStore) -> pd.Timestamp | None:
    """Newest date on which the book's ledger agrees with the broker's statement."""
    found = seen.read(setup.source.schema_name, catalog.LEDGER_FINDINGS)
    dates = found.loc[found["code"] == RECONCILED, "since"]
    return None if dates.empty else dates.max()


def _traded(book: Book, seen: SeenStore, final: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Final weights by the session they are in force from, and the rows of the newest: those of a daily scaling too."""
    rows = traded(book, seen, final)
    newest = rows[rows["effective_from"] == rows["effective_from"].max()]
    return by_session(rows, "final"), newest.sort_values("strategy", ignore_index=True)


def _by_session(rows: pd.DataFrame, column: str) -> pd.Series:
    if "sleeve" in rows:
        rows = rows[rows["sleeve"] == WHOLE_BOOK]
    return rows.set_index("session")[column].sort_index()


def _on(rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    kept: pd.DataFrame = rows[rows["as_of"] == as_of].reset_index(drop=True)
    return kept


def _moves(
    newest: pd.Timestamp,
    before: pd.Timestamp | None,
    targets: pd.DataFrame,
    realized: pd.DataFrame,
    final: pd.DataFrame,
    in_force: pd.DataFrame,
    steps: Mapping[str, Sequence[Step]],
) -> tuple[Move, ...]:
    now = {name: _indexed(rows, newest) for name, rows in (("target", targets), ("realized", realized))}
    then = {name: _indexed(rows, before) for name, rows in (("target", targets), ("final", final))}
    moves = []
    for row in in_force.to_dict("records"):
        name = row["strategy"]
        target, step = now["target"][name], now["realized"][name]
        old, old_final = then["target"].get(name), then["final"].get(name)
        base, weight = float(step["base"]), float(row["final"])
        # Before its first rebalance a strategy stood at its base weight, unscaled.
        was = float(old_final["final"]) if old_final else base
        was_realized = float(old_final["realized"]) if old_final else base
        factor = was / was_realized if was_realized else 1.0
        by_tilt = factor * (float(row["realized"]) - was_realized)
        moves.append(
            Move(
                strategy=name,
                base=base,
                lower=float(step["lower"]),
                upper=float(step["upper"]),
                target=float(step["target"]),
                realized=float(row["realized"]),
                final=weight,
                before=was,
                by_tilt=by_tilt,
                by_scalar=weight - was - by_tilt,
                label=target["metric"],
                metric=float(target["metric_value"]),
                metric_reason=target["reason"],
                metric_before=float(old["metric_value"]) if old else math.nan,
                multiplier=float(target["multiplier"]),
                multiplier_before=float(old["multiplier"]) if old else math.nan,
                formula=target["formula"],
                note=target["note"],
                bound=target["bound"],
                entered=bool(step["entered"]),
                steps=tuple(steps[name]),
            )
        )
    return tuple(sorted(moves, key=lambda move: (-abs(move.change), move.strategy)))


def _indexed(rows: pd.DataFrame, as_of: pd.Timestamp | None) -> dict[str, dict[str, Any]]:
    if as_of is None:
        return {}
    return {str(row["strategy"]): {str(k): v for k, v in row.items()} for row in _on(rows, as_of).to_dict("records")}


def _version(book: str, newest: pd.Timestamp, before: pd.Timestamp | None, seen: SeenStore) -> Version | None:
    history = seen.read(book, catalog.WEIGHT_HISTORY)
    history = newest_versions(history[history["rebalance"] != OPENING], "as_of")
    rows, earlier = _on(history, newest), _on(history, before) if before is not None else history.iloc[:0]
    if rows.empty:
        return None
    one = rows.iloc[0]
    changed: tuple[str, ...] = ()
    parameters: Mapping[str, tuple[Any, Any]] = {}
    if len(earlier):
        changed = diff(earlier, rows).changed
    if "policy" in changed:
        kept = seen.read(book, catalog.WEIGHT_DOCUMENTS)
        documents = dict(zip(kept["hash"], kept["document"], strict=True))
        old, new = (json.loads(intact(documents, each["parameters_hash"])) for each in (earlier.iloc[0], one))
        parameters = changed_keys(old, new)
    return Version(
        number=int(one["version"]),
        rebalance=one["rebalance"],
        recorded_at=one["recorded_at"],
        reason=one["reason"],
        run_id=one["run_id"],
        code_version=one["code_version"],
        parameters_hash=one["parameters_hash"],
        ledger_hash=one["ledger_hash"],
        before=int(earlier["version"].iloc[0]) if len(earlier) else None,
        changed=changed,
        parameters=parameters,
    )


def _outcomes(checks: Sequence[Check], seen: SeenStore) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
    run = [check for check in checks if seen.runs(check)]
    left_out = [check.name for check in checks if not seen.runs(check)]
    return tuple(Outcome(check, seen.outcome(check)) for check in run), tuple(dict.fromkeys(left_out))


def _contenders(setups: Sequence[BookSetup], seen: SeenStore) -> list[Contender]:
    """The books; then their strategies in equal parts of gross, and their base weights, once where books share them."""
    found, still = list[Contender](), dict[tuple[Any, ...], Contender]()

    def held(
        setup: BookSetup, weights: Mapping[str, float], label: str, first: pd.DatetimeIndex, returns: pd.DataFrame
    ) -> str:
        key = (setup.source.name, *sorted(weights.items()))
        if key not in still:
            taken = any(each.name == label for each in still.values())
            frame = pd.DataFrame([weights], index=first)
            still[key] = Contender(
                name=f"{label}, as in {setup.name}" if taken else label,
                weights=frame,
                returns=returns,
                frequency=setup.source.frequency,
            )
        # Whoever began first decides from when on it is held.
        if first[0] < still[key].weights.index[0]:
            still[key] = replace(still[key], weights=still[key].weights.set_axis(first, axis=0))
        return still[key].name

    for setup in setups:
        book = setup.book
        returns = wide(seen.read(setup.source.schema_name, catalog.STRATEGY_RETURNS))
        weights, _ = _traded(book, seen, seen.read(book.name, catalog.FINAL_WEIGHTS))
        number, first = len(book.strategies), pd.DatetimeIndex(weights.index[:1])
        parts = dict.fromkeys(book.strategies, book.gross / number)
        equal = held(setup, parts, f"equal weight of {number} strategies", first, returns)
        base = held(setup, book.strategies, f"base weights of {book.name}", first, returns)
        own = Contender(name=book.name, weights=weights, returns=returns, frequency=setup.source.frequency)
        found.append(replace(own, equal=equal, base=base))
    order = sorted(still.values(), key=lambda each: not each.name.startswith("equal"))
    return [*found, *order]
