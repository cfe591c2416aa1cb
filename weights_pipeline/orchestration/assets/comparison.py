"""A comparison of methods: walk-forward windows, the weights in each, what they earned, and the figures.

Scope: which tables there are, one call into ``core``, and what is said of the rows. Not here: how a step reads and
writes (``orchestration.steps``).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from weights_pipeline.books.comparisons import Comparison
from weights_pipeline.core.metrics.measures import LIQUID_CAPITAL
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.comparison import Comparison as Compared
from weights_pipeline.core.study.comparison import compare
from weights_pipeline.core.study.overfitting import of_returns
from weights_pipeline.ledger import sessions_past
from weights_pipeline.orchestration.freshness import follows
from weights_pipeline.orchestration.metadata import Told
from weights_pipeline.orchestration.steps import Computed, Made, Run, Shown, table_step
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import BookSetup


def comparison_assets(comparison: Comparison, policies: Mapping[str, Policy], setup: BookSetup) -> dg.AssetsDefinition:
    """The step of one comparison, from all returns of the ledger that its book reads."""
    source = setup.source
    reads = [catalog.STRATEGY_RETURNS]
    if any(policy.ensemble for policy in policies.values()):
        reads.append(catalog.MARKET_REGIME)
    if by_liquidity := any(LIQUID_CAPITAL in policy.reads for policy in policies.values()):
        reads.append(catalog.STRATEGY_LIQUIDITY)

    def walk_forward(run: Run) -> Compared:
        read = {table: run.store.read(source.schema_name, table) for table in reads}
        returns, regimes = read[catalog.STRATEGY_RETURNS], read.get(catalog.MARKET_REGIME)
        if returns.empty:
            raise dg.Failure(f"{source.schema_name}.strategy_returns has no rows. Materialise the ledger first.")
        newest = returns["session"].max()
        begin = pd.Timestamp(f"{source.first_month}-01")
        observed = source.frequency.observed(sessions_past(source.calendar, begin.date(), newest.date()))
        history = ReturnHistory.from_long(returns, sessions=observed[observed <= newest])
        if by_liquidity:
            history = history.with_liquidity(read[catalog.STRATEGY_LIQUIDITY], returns)
        return compare(
            history,
            history.sessions,
            policies,
            train=comparison.in_sample,
            test=comparison.out_of_sample,
            costs=comparison.charged,
            drift=comparison.drift,
            risk_free=comparison.risk_free,
            market_regimes=None if regimes is None else regimes.set_index("session")["regime"],
        )

    def figures(run: Run) -> Computed:
        made = run.once(walk_forward)
        chosen = of_returns(made.returns.to_numpy(np.float64))
        doubt = {} if chosen is None else {"overfitting": chosen.sentence}
        return Computed(made.table, Told(figures=_figures, shown=lambda _: doubt))

    def windows(run: Run) -> Computed:
        return Computed(run.once(walk_forward).windows)

    def weights(run: Run) -> Computed:
        return Computed(run.once(walk_forward).weights)

    def returns(run: Run) -> Computed:
        daily = run.once(walk_forward).returns.rename_axis("session").reset_index()
        return Computed(daily.melt("session", None, "method", "daily_return"))

    after = [dg.AssetKey([source.schema_name, table.name]) for table in reads]
    made = [
        Made(table=table, compute=compute, after=after, automation=follows())
        for table, compute in (
            (catalog.COMPARISON, figures),
            (catalog.WALK_FORWARD_WINDOWS, windows),
            (catalog.WALK_FORWARD_WEIGHTS, weights),
            (catalog.WALK_FORWARD_RETURNS, returns),
        )
    ]
    shown = Shown(schema=comparison.name, owner=comparison.owner)
    return table_step(f"{comparison.name}_walk_forward", setup.store, shown, made)


def _figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    ratios = rows.set_index("method")["sharpe"]
    return {f"sharpe_{name}": float(value) for name, value in ratios.items() if value == value}
