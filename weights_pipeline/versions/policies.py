"""Which policy each partition of a book was made under: a book changes, its past does not.

Scope: from what versions keep of their parameters to stretches of partitions. Not here: what parameters are
(``inputs``), and what is judged by them (``checks``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from weights_pipeline.core.policy import Policy
from weights_pipeline.core.targets.methods.fixed import Fixed
from weights_pipeline.core.versions import changed_keys, digest, intact
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.inputs import parameters_of, policy_of
from weights_pipeline.workspace import BookSetup

POLICY_TAG = "weights/policy"
"""Tag of a run that says whose policy counts: ``stored``, that of the newest version of each partition, or ``today``,
that of the book now."""


COUNTS = ("stored", "today")
"""Its values."""

OF_TODAY = {POLICY_TAG: "today"}
"""Tag of a rebalance that is due: it is made by the policy of its day."""


class PolicyError(ValueError):
    """Partitions were made under another policy than the book has now. The message names the first one."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Partitions in a row that were made under the same policy.

    Attributes
    ----------
    keys
        Of the partitions, ascending.
    policies
        The policy that their versions say. Of partitions that were written since, the book's own beside it: until a
        version says which it was, either may be.
    first, after
        First day of their sessions, and the first one after them; all days are in one stretch.
    """

    keys: tuple[str, ...]
    policies: tuple[Policy, ...]
    first: pd.Timestamp
    after: pd.Timestamp

    def of(self, rows: pd.DataFrame, time_column: str) -> pd.DataFrame:
        """Rows that belong to the partitions."""
        days = rows[time_column]
        return rows[(days >= self.first) & (days < self.after)]


def stretches(setup: BookSetup, store: Reader, table: Table) -> list[Stretch]:
    """Stretches of the partitions that are stored of a table of a book; one by its own policy where none are.

    Raises
    ------
    weights_pipeline.tables.errors.DamagedError
        What a version says of its policy is not as it was written.
    weights_pipeline.books.reading.BookError
        A policy is not valid by the code as it is now.
    """
    records = store.partitions(setup.name, table.name)
    kept, strays = Kept(setup, store), set(setup.periods.strays(records))
    found = [Stretch(keys=(), policies=(setup.policy,), first=pd.Timestamp.min, after=pd.Timestamp.max)]
    for key, record in ((key, record) for key, record in records.items() if key not in strays):
        last, policies = found[-1], kept.policies(key, pd.Timestamp(record.recorded_at))
        if not last.keys or last.policies == policies:
            found[-1] = replace(last, keys=(*last.keys, key), policies=policies)
        else:
            begins = pd.Timestamp(setup.periods.window(key).first)
            found[-1] = replace(last, after=begins)
            found.append(replace(last, keys=(key,), policies=policies, first=begins))
    return found


def require_own(setup: BookSetup, store: Reader, keys: Sequence[str]) -> None:
    """Refuse to make partitions again that were made under another policy than the book has now.

    Raises
    ------
    PolicyError
        At least one was, by its newest version.
    """
    kept = Kept(setup, store)
    differing = {key: changes for key in keys if (changes := kept.changed(key))}
    if not differing:
        return
    first, changes = next(iter(differing.items()))
    named = ", ".join(
        path.removeprefix("book.")
        + ("" if isinstance(then, dict | list) or isinstance(now, dict | list) else f" {then} → {now}")
        for path, (then, now) in changes.items()
    )
    raise PolicyError(
        f"{len(differing)} of {len(keys)} {setup.book.cadence.period}s were made under another policy than book "
        f"{setup.name} has now, the first of them {first} ({named}). Nothing was run. Say --policy stored to compute "
        f"each again under the policy that it was made under, or --policy today to restate them under that of now; "
        f"in the interface, give the run the tag {POLICY_TAG} with one of these words. So that the past stays as it "
        f"was decided, date the change: see `since` in docs/change_a_book.md."
    )


class _Newest(NamedTuple):
    """What the newest version of a rebalance says of itself."""

    as_of: pd.Timestamp
    recorded_at: pd.Timestamp
    parameters_hash: str


class Kept:
    """Policies of the newest versions of a book, each read once."""

    def __init__(self, setup: BookSetup, store: Reader) -> None:
        self._setup, self._store = setup, store
        columns = ["version", "rebalance", "as_of", "recorded_at", "parameters_hash"]
        versions = store.read(setup.name, catalog.WEIGHT_HISTORY, columns=columns).drop_duplicates("version")
        # In the order of their numbers: the last one of each rebalance is its newest.
        told = zip(*(versions[name].tolist() for name in columns[1:]), strict=True)
        self._newest = {str(key): _Newest(*row) for key, *row in told}
        self._today: dict[tuple[int, int], str] = {}
        self._read: dict[str, Policy] = {}

    def policies(self, key: str, written: pd.Timestamp) -> tuple[Policy, ...]:
        """See :attr:`Stretch.policies`; ``written`` is when the partition was."""
        today, newest = self._setup.on(key).policy, self._newest.get(key)
        if newest is None or newest.parameters_hash == self._hash_today(key, newest.as_of):
            return (today,)
        own = self._of(newest.parameters_hash)
        return (own, today) if written > newest.recorded_at and own != today else (own,)

    def parameters(self, keys: Iterable[str]) -> dict[str, str]:
        """Parameters of the newest versions of partitions, as far as there are any."""
        hashes = {key: self._newest[key].parameters_hash for key in keys if key in self._newest}
        return {key: intact(self._documents, each) for key, each in hashes.items()}

    def policy(self, key: str) -> Policy:
        """Policy of the newest version of a partition; the book's own where it has none."""
        newest = self._newest.get(key)
        return self._setup.on(key).policy if newest is None else self._of(newest.parameters_hash)

    def changed(self, key: str) -> dict[str, tuple[Any, Any]]:
        """Parameters of the newest version of a partition that are others now: both values by path of keys."""
        newest = self._newest.get(key)
        if newest is None or newest.parameters_hash == self._hash_today(key, newest.as_of):
            return {}
        then, now = intact(self._documents, newest.parameters_hash), parameters_of(self._setup.on(key), newest.as_of)
        return changed_keys(json.loads(then), json.loads(now))

    def _hash_today(self, key: str, as_of: pd.Timestamp) -> str:
        """What a version of a rebalance would say of its policy now; all do the same, but for decisions to come."""
        setup = self._setup.on(key)
        method = setup.book.method
        decided = sum(each.date <= as_of.date() for each in method.decisions) if isinstance(method, Fixed) else 0
        of = (self._setup.every.index(setup), decided)
        if of not in self._today:
            self._today[of] = digest(parameters_of(setup, as_of))
        return self._today[of]

    def _of(self, parameters_hash: str) -> Policy:
        if parameters_hash not in self._read:
            self._read[parameters_hash] = policy_of(json.loads(intact(self._documents, parameters_hash)))
        return self._read[parameters_hash]

    @cached_property
    def _documents(self) -> dict[str, str]:
        rows = self._store.read(self._setup.name, catalog.WEIGHT_DOCUMENTS)
        return dict(zip(rows["hash"], rows["document"], strict=True))
