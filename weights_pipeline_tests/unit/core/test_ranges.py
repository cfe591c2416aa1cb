"""A range of rebalances is its parts one after the other: every policy, cut anywhere, gives the same bits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights_pipeline.core import chain
from weights_pipeline.core.ensembles import ensemble_targets, weight_sets
from weights_pipeline_tests.unit.core.study.test_simulate import (
    CALENDAR,
    POLICIES,
    SESSIONS,
    by_chain,
    history_of,
    market,
    random_returns,
)

LAST = 280
"""Sessions of the small history: the last strategy has begun, and weeks follow months in having rebalances."""


def long(frame):
    return frame.rename_axis(index="session", columns="strategy").stack().rename("daily_return").reset_index().dropna()


def in_parts(returns, parts, policy, regimes):
    """Tables of dates in parts, each computed from what was known at its end and stored before it."""
    targets, realized, final = [], pd.DataFrame(), []
    for dates in parts:
        known = returns.loc[: dates[-1]]
        history, rows = history_of(known), long(known)
        if policy.ensemble:
            sets = weight_sets(history, regimes.loc[: dates[-1]], dates, policy)
            sets = pd.concat([*(each for _, each in targets), sets])
            made = ensemble_targets(sets, regimes.loc[: dates[-1]], dates, CALENDAR, policy)
        else:
            sets = None
            made = chain.target_table(chain.metric_rows(history, dates, policy), policy)
        newest = (
            realized
            if policy.paced_by_regime or realized.empty
            else realized[realized["as_of"] == realized["as_of"].max()]
        )
        moved = chain.realized_table(newest, made, policy, CALENDAR, rows)
        realized = pd.concat([realized, moved], ignore_index=True)
        scalars = None
        if policy.overlay is not None:
            state = chain.state_table(rows, realized, policy.overlay, policy.frequency)
            targeted = chain.volatility_table(rows, realized, policy.overlay, policy.frequency)
            scalars = chain.scalar_table(chain.regime_table(state, policy.overlay.thresholds), policy.overlay, targeted)
        final.append(chain.final_table(moved, scalars, policy, CALENDAR))
        targets.append((made, sets))
    return {
        "target_weights": pd.concat([made for made, _ in targets], ignore_index=True),
        "realized_weights": realized,
        "final_weights": pd.concat(final, ignore_index=True),
    }


@pytest.mark.parametrize("case", POLICIES)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1000), data=st.data())
def test_a_range_is_its_parts(case, seed, data):
    as_of, policy = POLICIES[case]
    as_of = as_of[as_of <= SESSIONS[LAST - 1]][-10:]
    returns, regimes = random_returns(seed).iloc[:LAST], market(seed).loc[: SESSIONS[LAST - 1]]
    cuts = data.draw(st.lists(st.integers(1, len(as_of) - 1), min_size=1, max_size=2, unique=True).map(sorted))
    found = in_parts(returns, np.split(as_of, cuts), policy, regimes)
    whole = by_chain(history_of(returns), as_of, policy, regimes)
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, whole[name], check_exact=True, obj=name)
