"""Whether the weights of a book were made from the ledger as it is stored, whenever that was read.

Scope: comparing hashes. Not here: what a version keeps of its ledger (``versions.inputs``), and which weights another
ledger gives (``operations.restatement``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from weights_pipeline.checks.verified import Verified
from weights_pipeline.core.verify import Finding
from weights_pipeline.core.versions import OPENING, canonical, digest, linked, newest_versions
from weights_pipeline.ledger import sessions_past
from weights_pipeline.store.base import Reader
from weights_pipeline.tables import catalog
from weights_pipeline.versions.inputs import contents_of, inputs_of
from weights_pipeline.workspace import BookSetup

_CHECK = "made_of_stored_ledger"
_IDENTITY = ["rebalance", "version", "ledger_hash"]


class Behind(NamedTuple):
    """Rebalances whose newest version was made from another ledger than is stored.

    Attributes
    ----------
    book
        Whose.
    rebalances
        Keys, ascending.
    as_of
        As-of session of the first.
    month
        First month of the ledger that is another, ``YYYY-MM``.
    """

    book: str
    rebalances: tuple[str, ...]
    as_of: pd.Timestamp
    month: str

    @property
    def command(self) -> str:
        """What brings the book up to date."""
        return f"weights run --book {self.book} --from {self.rebalances[0][:7]}"


def behind(setup: BookSetup, store: Reader, verified: Verified) -> Behind | None:
    """Rebalances of a book that were made from another ledger than is stored; None where there are none.

    Months of which the same was found before, with the same versions, are not looked at again.
    """
    history = store.read(setup.name, catalog.WEIGHT_HISTORY, columns=[*_IDENTITY, "as_of", "state_hash"])
    newest = newest_versions(history[history["rebalance"] != OPENING]).drop_duplicates("rebalance")
    newest = newest.sort_values("as_of", ignore_index=True)
    if newest.empty:
        return None
    begin, last = pd.Timestamp(f"{setup.source.first_month}-01"), newest["as_of"].iloc[-1]
    sessions = sessions_past(setup.source.calendar, begin.date(), last.date())
    now = contents_of(setup, store, f"{last:%Y-%m}", sessions)
    month_of = newest["as_of"].dt.strftime("%Y-%m")
    versions = defaultdict[str, list[Any]](list)
    for month, *identity in zip(month_of, *(newest[name].tolist() for name in _IDENTITY), strict=True):
        versions[month].append(identity)
    told = {month: digest(canonical([now.heads.get(month), rows])) for month, rows in versions.items()}
    known = [month for month, content in told.items() if verified.before(_CHECK, f"{setup.name}/{month}") == content]
    looked_at = newest[~month_of.isin(known)]
    # A month that is not stored any more has no hash to compare.
    there = looked_at[looked_at["as_of"].dt.strftime("%Y-%m").isin(now.months)]
    same = there[:0]
    if len(there):
        made = inputs_of(setup, store, dict(zip(there["rebalance"], there["as_of"], strict=True))).hashes
        same = there[there["ledger_hash"].to_numpy() == made["ledger_hash"].to_numpy()]
    stale = looked_at.drop(same.index)
    for month in sorted({*told} - {*stale["as_of"].dt.strftime("%Y-%m")}):
        verified.passed(_CHECK, f"{setup.name}/{month}", told[month])
    if stale.empty:
        return None
    first = stale.iloc[0]
    return Behind(setup.name, tuple(stale["rebalance"]), first["as_of"], _first_month(setup, store, first, now.months))


def _first_month(setup: BookSetup, store: Reader, version: pd.Series, now: Mapping[str, Mapping[str, str]]) -> str:
    """First month that is another than the version was made from; its own where all before it are the same."""
    rows = store.read(setup.name, catalog.WEIGHT_DOCUMENTS)
    documents = dict(zip(rows["hash"], rows["document"], strict=True))
    then = linked(documents, version["state_hash"])
    own = f"{version['as_of']:%Y-%m}"
    return min((month for month in {*then, *now} if month < own and then.get(month) != now.get(month)), default=own)


def finding(found: list[Behind]) -> Finding:
    """Finding on the books that are behind."""
    rows = [(each.book, key, each.month, each.command) for each in found for key in each.rebalances]
    said = [
        f"{each.book}: {len(each.rebalances)} rebalances from {each.rebalances[0]} on were made from another ledger "
        f"than is stored now, which differs from {each.month} on: {each.command}"
        for each in found
    ]
    return Finding(
        passed=not rows,
        value=float(len(rows)),
        limit=0.0,
        summary="; ".join(said) or "every rebalance was made from the ledger as it is stored",
        offending=pd.DataFrame(rows, columns=["book", "rebalance", "ledger_differs_from", "command"]),
    )
