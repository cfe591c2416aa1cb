"""Updates of an ensemble by hand: weight sets made outside of a rebalance, or by another method than the book's.

Scope: what such an update reads from the store, which stored sets it replaces, and the document it is handed on as. Not
here: the making of a weight set, and the order in which sets are read (``core.ensembles``).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import pandas as pd

from weights_pipeline.core.ensembles import ALL, WEIGHT_SETS, current_regime, weight_sets
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.methods.base import CrossSection, Method, target_weights
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import BookSetup

SOURCE = "manual"
"""What the store and the document say such sets come from."""


class NothingStoredError(LookupError):
    """The store has no returns or no market regime to make a weight set of."""


@dataclass(frozen=True, kw_only=True)
class EnsembleUpdate:
    """Weight sets of one book, as of one session.

    Attributes
    ----------
    book
        Name of the book.
    policy
        What the sets were made by.
    as_of
        Newest session that they have seen.
    current_regime
        Market regime on it.
    rows
        Rows of ``ensemble_updates``.
    """

    book: str
    policy: Policy
    as_of: pd.Timestamp
    current_regime: str
    rows: pd.DataFrame

    @cached_property
    def sets(self) -> dict[str, pd.DataFrame]:
        """Rows of each set, by its name."""
        return {name: rows for name in WEIGHT_SETS if len(rows := self.rows[self.rows["weight_set"] == name])}

    @cached_property
    def inactive(self) -> list[str]:
        """Names of the sets in which nothing could be measured."""
        return [name for name, rows in self.sets.items() if not rows["is_active"].any()]

    def document(self, timestamp: dt.datetime, *, dry_run: bool) -> dict[str, Any]:
        """The update as JSON: weights by set and strategy, metrics by strategy, and how they came about.

        Parameters
        ----------
        timestamp
            Instant of the update, zone-aware.
        dry_run
            Whether the store was left as it is.

        Returns
        -------
        dict
            The metrics are those on all sessions or, where that set was not made, those of the first set.
        """
        sets = self.sets
        shown = sets[ALL if ALL in sets else next(iter(sets))]
        parameters = asdict(self.policy.method)  # type: ignore[call-overload]
        as_of = f"{self.as_of:%Y-%m-%d}"
        return {
            "timestamp": timestamp.astimezone(dt.UTC).isoformat(timespec="seconds"),
            "book": self.book,
            "as_of": as_of,
            "current_regime": self.current_regime,
            "weights": {
                name: dict(zip(rows["strategy"], rows["target"].tolist(), strict=True)) for name, rows in sets.items()
            },
            "metrics": dict(zip(shown["strategy"], map(json.loads, shown["metrics"]), strict=True)),
            "metadata": {
                "method": parameters.pop("kind"),
                "parameters": parameters,
                "lookback": self.policy.longest_lookback.label,
                "sessions": {name: int(rows["sessions"].iloc[0]) for name, rows in sets.items()},
                "is_active": {name: name not in self.inactive for name in sets},
                "snapshot": dict.fromkeys(sets, as_of),
                "dry_run": dry_run,
                "source": SOURCE,
            },
        }


def policy_with(policy: Policy, kind: str | None = None, lookback_days: int | None = None) -> Policy:
    """Policy with another method, or another window.

    Parameters
    ----------
    policy
        The book's policy.
    kind
        Method with the parameters it has by default, or those of the book where that is the book's own method.
    lookback_days
        Window in calendar days.

    Raises
    ------
    ValueError
        There is no such method, it has parameters without a default, has no window, or does not go with the policy.
    """
    method: Any = policy.method
    if kind is not None and kind != policy.method.kind:
        method = _by_default(kind)
    if lookback_days is not None:
        if "lookback" not in {field.name for field in fields(method)}:
            raise ValueError(f"lookback: method {method.kind} reads nothing over a window")
        method = replace(method, lookback=f"{lookback_days}d")
    changed = replace(policy, method=method)
    # Parses the window, and finds a method that cannot do without what is in no default, such as a file.
    if changed.longest_lookback and not method.reads:
        target_weights(method, CrossSection.of(policy.base, {}, {}, policy.gross), policy.limits)
    return changed


def make_update(
    setup: BookSetup,
    policy: Policy,
    *,
    sets: Collection[str] = WEIGHT_SETS,
    day: dt.date | None = None,
) -> EnsembleUpdate:
    """Make weight sets from the stored returns and market regimes.

    Parameters
    ----------
    setup, policy
        The book, and what to make its sets by.
    sets
        Which of ``WEIGHT_SETS`` to make.
    day
        The newest stored session by this day is the one to make them as of; the newest of all when left out. Nothing
        after it is read.

    Raises
    ------
    NothingStoredError
        There is no return or no market regime by that day.
    ValueError
        The stored returns have a gap, or the newest market regime is too old to be the current one.
    """
    source, store = setup.source, setup.store
    schema = source.schema_name
    columns = ["session", "strategy", "daily_return", "closed_lots", "winning_lots", "active"]
    limit = pd.Timestamp(day) if day is not None else pd.Timestamp.max
    with store.view():
        returns = store.read(schema, catalog.STRATEGY_RETURNS, columns=columns)
        unknown = store.read(schema, catalog.UNKNOWN_POSITIONS)
        regimes = store.read(schema, catalog.MARKET_REGIME, columns=["session", "regime"])
    returns, regimes = (table[table["session"] <= limit] for table in (returns, regimes))
    for name, table in (("strategy_returns", returns), ("market_regime", regimes)):
        if table.empty:
            by = f" by {day}" if day is not None else ""
            raise NothingStoredError(f"{store.location}: {schema}.{name} has no session{by}. Run `weights run` first.")
    as_of = returns["session"].max()
    sessions = calendar_sessions(source.calendar, dt.date.fromisoformat(f"{source.first_month}-01"), as_of.date())
    by_session = regimes[regimes["session"] <= as_of].set_index("session")["regime"]
    history = ReturnHistory.from_long(returns, sessions=sessions).with_unknown(unknown)
    chosen = tuple(name for name in WEIGHT_SETS if name in sets)
    rows = weight_sets(history, by_session, pd.DatetimeIndex([as_of]), policy, chosen)
    return EnsembleUpdate(
        book=setup.name,
        policy=policy,
        as_of=as_of,
        current_regime=current_regime(by_session, as_of, sessions),
        rows=rows.assign(policy=_as_json(policy)),
    )


def store_update(update: EnsembleUpdate, store: Store, *, recorded_at: dt.datetime) -> list[str]:
    """Put an update among the stored ones, in place of sets of the same name and date.

    A set in which nothing could be measured does not take the place of one in which something was. Reading and writing
    are one transaction, so that of two updates at once neither loses a set of the other.

    Parameters
    ----------
    update
        What to store.
    store
        Where to.
    recorded_at
        Instant of the update, zone-aware.

    Returns
    -------
    list of str
        Names of the inactive sets in whose place an active one of the same date stays.
    """
    kept: list[str] = []

    def change(stored: pd.DataFrame) -> pd.DataFrame:
        same_date = stored["as_of"] == update.as_of
        active = set(stored.loc[same_date & stored["is_active"].astype("bool"), "weight_set"])
        kept[:] = [name for name in update.inactive if name in active]
        new = update.rows[~update.rows["weight_set"].isin(kept)]
        old = stored[~(same_date & stored["weight_set"].isin(new["weight_set"]))]
        return pd.concat([old, new], ignore_index=True) if len(old) else new

    store.update(update.book, catalog.ENSEMBLE_UPDATES, change, run_id=SOURCE, recorded_at=recorded_at)
    return kept


def _by_default(kind: str) -> Method:
    """Make a method of the parameters it has by default."""
    known: dict[str, Any] = {method.__dataclass_fields__["kind"].default: method for method in METHODS}  # type: ignore[attr-defined]
    if kind not in known:
        raise ValueError(f"method: expected one of {', '.join(sorted(known))}, got {kind!r}")
    required = [f.name for f in fields(known[kind]) if f.default is MISSING and f.default_factory is MISSING]
    if required:
        raise ValueError(
            f"method: {kind} has no default for {', '.join(required)}; expected a method whose parameters have, or "
            f"the book's own"
        )
    method: Method = known[kind]()
    return method


def _as_json(policy: Policy) -> str:
    """Method and metrics parameters of a policy, in one spelling."""
    meaning = {"method": asdict(policy.method), "metrics": asdict(policy.metrics)}  # type: ignore[call-overload]
    return json.dumps(meaning, sort_keys=True, default=str)
