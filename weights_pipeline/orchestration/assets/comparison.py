"""A comparison of methods: walk-forward windows, the weights in each, what they earned, and the figures.

Scope: loading, one call into ``core``, and metadata. Not here: formulas.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.books.comparisons import Comparison
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.core.study.comparison import compare
from weights_pipeline.ledger import LedgerSource, sessions_past
from weights_pipeline.orchestration.asset_checks import STORE_POOL
from weights_pipeline.orchestration.assets.common import column_schema
from weights_pipeline.orchestration.freshness import follows
from weights_pipeline.tables import catalog

_TABLES = {
    "comparison": catalog.COMPARISON,
    "windows": catalog.WALK_FORWARD_WINDOWS,
    "weights": catalog.WALK_FORWARD_WEIGHTS,
    "returns": catalog.WALK_FORWARD_RETURNS,
}


def comparison_assets(
    comparison: Comparison, policies: Mapping[str, Policy], source: LedgerSource
) -> dg.AssetsDefinition:
    """Assets of one comparison, made together, from all returns of the ledger that its book reads."""
    reads = [catalog.STRATEGY_RETURNS]
    if any(policy.ensemble for policy in policies.values()):
        reads.append(catalog.MARKET_REGIME)

    @dg.multi_asset(
        name=f"{comparison.name}_walk_forward",
        group_name=comparison.name,
        outs={
            name: dg.AssetOut(
                key=[comparison.name, table.name],
                description=table.description,
                owners=[comparison.owner],
                kinds={"table", "pandas"},
                dagster_type=pd.DataFrame,
                metadata={"dagster/column_schema": column_schema(table)},
                automation_condition=follows(),
            )
            for name, table in _TABLES.items()
        },
        deps=[dg.AssetKey([source.schema_name, table.name]) for table in reads],
        required_resource_keys={"store"},
        pool=STORE_POOL,
    )
    def walk_forward(context: dg.AssetExecutionContext) -> Iterator[dg.Output[pd.DataFrame]]:
        with context.resources.store.view():
            stored = {table.name: context.resources.store.read(source.schema_name, table) for table in reads}
        returns = stored["strategy_returns"]
        if returns.empty:
            raise dg.Failure(f"{source.schema_name}.strategy_returns has no rows. Materialise the ledger first.")
        newest = returns["session"].max()
        begin = pd.Timestamp(f"{source.first_month}-01")
        observed = source.frequency.observed(sessions_past(source.calendar, begin.date(), newest.date()))
        history = ReturnHistory.from_long(returns, sessions=observed[observed <= newest])
        regimes = stored["market_regime"].set_index("session")["regime"] if "market_regime" in stored else None
        found = compare(
            history,
            history.sessions,
            policies,
            train=comparison.in_sample,
            test=comparison.out_of_sample,
            fee=comparison.fee,
            risk_free=comparison.risk_free,
            market_regimes=regimes,
        )
        daily = found.returns.rename_axis("session").reset_index().melt("session", None, "method", "daily_return")
        figures: dict[str, Any] = {
            f"sharpe_{name}": float(value)
            for name, value in found.table.set_index("method")["sharpe"].items()
            if value == value
        }
        yield dg.Output(found.table, "comparison", metadata=figures)
        yield dg.Output(found.windows, "windows")
        yield dg.Output(found.weights, "weights")
        yield dg.Output(daily, "returns")

    return walk_forward
