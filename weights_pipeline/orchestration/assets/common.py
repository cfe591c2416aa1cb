"""What the assets of a book share: how they are shown, its partitions, and sessions as a run knows them.

Scope: the few lines that would otherwise stand in each asset. Not here: what a step is (``orchestration.steps``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from weights_pipeline.checks import Check
from weights_pipeline.core.policy import Policy
from weights_pipeline.ledger import LedgerSource, sessions_past
from weights_pipeline.orchestration.freshness import book_freshness
from weights_pipeline.orchestration.partitions import Input, Partitions, book_partitions
from weights_pipeline.orchestration.steps import Computed, Made, Run, Shown, guards
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.versions.policies import COUNTS, POLICY_TAG, Kept, PolicyError, require_own
from weights_pipeline.workspace import BookSetup


def book_shown(setup: BookSetup) -> Shown:
    """How the assets of a book are shown, and by when they are expected."""
    book, source = setup.book, setup.source
    return Shown(
        schema=book.name,
        owner=book.owner,
        tags={"account": book.account},
        freshness=lambda table: book_freshness(book, source, table),
    )


def book_table(
    setup: BookSetup,
    table: Table,
    compute: Callable[..., Computed],
    ins: Sequence[Input] = (),
    checks: Sequence[Check] = (),
    partitions: Partitions | None = None,
) -> Made:
    """One table of a book, in its partitions unless others are given; inputs go by the names of their tables."""
    return Made(
        table=table,
        compute=compute,
        ins={each.table.name: each for each in ins},
        partitions=partitions or book_partitions(setup.book, setup.source),
        guards=guards(checks, table),
    )


class Part(NamedTuple):
    """Partitions of a run in a row that are made under one policy."""

    policy: Policy
    windows: Sequence[Window]


def by_stored(run: Run) -> bool:
    """Whether a run makes partitions by the policy that they were made under before."""
    return run.context.run.tags.get(POLICY_TAG) == "stored"


def parts_of(setup: BookSetup, run: Run) -> list[Part]:
    """What a run computes, part by part.

    Raises
    ------
    PolicyError
        A partition was made under another policy than the book's, and no tag of the run says which one counts.
    """
    keys, counts = [window.key for window in run.windows], run.context.run.tags.get(POLICY_TAG)
    if counts is None:
        require_own(setup, run.store, keys)
    elif counts not in COUNTS:
        raise PolicyError(f"the tag {POLICY_TAG} is one of {', '.join(COUNTS)}, got {counts!r}")
    kept, found = Kept(setup, run.store) if by_stored(run) else None, list[Part]()
    for window in run.windows:
        policy = kept.policy(window.key) if kept else setup.on(window.key).policy
        if found and found[-1].policy is policy:
            found[-1] = Part(policy, [*found[-1].windows, window])
        else:
            found.append(Part(policy, [window]))
    return found


def known(frame: pd.DataFrame, windows: Sequence[Window], time_column: str = "session") -> pd.DataFrame:
    """Rows of sessions that had closed by the end of the last window; a month around a week may hold later ones."""
    kept: pd.DataFrame = frame[frame[time_column] < pd.Timestamp(windows[-1].after)].reset_index(drop=True)
    return kept


def sessions_of(source: LedgerSource, windows: Sequence[Window]) -> pd.DatetimeIndex:
    """Trading sessions from the ledger's first month to past the last window."""
    first = pd.Timestamp(f"{source.first_month}-01")
    return sessions_past(source.calendar, first.date(), windows[-1].after - dt.timedelta(days=1))
