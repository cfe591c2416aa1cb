"""Histories of weights made by hand: two strategies, rebalances by number, runs by day."""

import pandas as pd
from hypothesis import strategies as st

from weights_pipeline.core.versions import Stamp, additions

START = pd.Timestamp("2026-01-01")


def month(number):
    return f"{pd.Timestamp('2020-01-01') + pd.DateOffset(months=number):%Y-%m-%d}"


def rebalance(number, weight=0.5, **changes):
    """Two strategies on one date."""
    as_of = pd.Timestamp(month(number + 1)) - pd.Timedelta(days=1)
    rows = pd.DataFrame({"strategy": ["a", "b"], "base": 0.5, "previous": 0.5, "final": [weight, 1 - weight]})
    rows = rows.assign(target=rows["final"], realized=rows["final"], metrics="{}", rebalance=month(number))
    rows = rows.assign(as_of=as_of, effective_from=as_of + pd.Timedelta(days=1), ledger_hash="l", parameters_hash="p")
    return rows.assign(state_hash="s").assign(**changes)


def stamp(day=0, reason="manual", run_id="run", code_version="1", comment=""):
    return Stamp(
        run_id=run_id,
        recorded_at=START + pd.Timedelta(days=day),
        code_version=code_version,
        comment=comment,
        reason=reason,
        first=month(0),
    )


NOTHING = rebalance(0).assign(version=1, recorded_at=START, run_id="", code_version="", comment="", reason="").iloc[:0]


def history_of(*runs):
    """History after runs, each a frame of rebalances and a stamp."""
    history = NOTHING
    for computed, run in runs:
        added = additions(history, computed, run)
        history = pd.concat([history, added], ignore_index=True) if len(history) else added
    return history


def numbers(rows):
    return sorted(rows["version"].unique().tolist())


FOUR = history_of(
    (pd.concat([rebalance(0, 0.1), rebalance(1, 0.2)]), stamp(0, "backfill")),
    (rebalance(2, 0.3), stamp(10, "scheduled")),
    (rebalance(1, 0.4), stamp(20)),
)
"""January and February in one run, March, then February corrected: versions 1, 2, 3 and 4."""


runs = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 4), st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=3),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)
"""Runs: the weight of each rebalance that one has made, and the days until the next run."""


def made_of(drawn):
    """Runs as :func:`history_of` takes them."""
    day, made = 0, []
    for content, pause in drawn:
        day += pause
        made.append((pd.concat([rebalance(number, weight) for number, weight in content.items()]), stamp(day)))
    return made
