"""A book's metrics, target weights and realized weights.

Scope: loading, one call into ``core``, and metadata. Not here: formulas.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from weights_pipeline.charts import metrics as metrics_charts
from weights_pipeline.charts import weights as weight_charts
from weights_pipeline.core.chain import last_sessions, metric_rows, realized_table, target_table
from weights_pipeline.core.ensembles import MAX_REGIME_AGE, all_weight_sets, ensemble_targets, weight_sets
from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.table import MANUAL, overridden, with_overrides
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.ledger.periods import window_dates
from weights_pipeline.ledger.tables import month_tables
from weights_pipeline.operations.rebalance import metric_overrides
from weights_pipeline.orchestration.assets.common import (
    book_asset,
    known,
    per_partition,
    run_windows,
    sessions_of,
    total,
)
from weights_pipeline.orchestration.partitions import Back, ledger_input, own_input, past_input, within
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.workspace import BookSetup


class MetricsConfig(dg.Config):
    """What a run may be told about metrics."""

    manual: str = Field(
        default="",
        description="Twelve-month figures by strategy, as JSON in the form of starter metrics, in place of measured "
        "ones; of one partition only.",
    )


def weight_assets(setup: BookSetup) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Assets from strategy returns to realized weights of one book."""
    book, source, policy = setup.book, setup.source, setup.policy
    # The risk regime that chooses a window is a recursion from the first session on.
    reach: Back = "all" if policy.adaptive else within(policy.longest_lookback, policy.frequency)

    @book_asset(
        setup,
        catalog.METRICS,
        ins=_measured_on(setup, reach),
    )
    def metrics(context: dg.AssetExecutionContext, config: MetricsConfig, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        as_of = last_sessions(sessions_of(source, windows), window_dates(windows))
        table = metric_rows(_seen(tables, windows, source), as_of, policy)
        if config.manual:
            if len(windows) > 1:
                raise ValueError(f"metric overrides are of one partition, got {len(windows)}")
            table = with_overrides(table, overridden(table, metric_overrides(json.loads(config.manual), book, MANUAL)))
        return per_partition(
            context,
            table,
            "as_of",
            windows,
            lambda rows: _metric_figures(rows, policy),
            chart=lambda rows: metrics_charts.measured(rows, _shown(policy)),
            history=lambda rows: metrics_charts.history(rows, _shown(policy)),
        )

    ins = {"target_weights": own_input(setup, "target_weights")}
    if policy.paced_by_regime:
        # The regime of a rebalance follows from all realized weights before it, and from what they earned.
        ins["strategy_returns"] = ledger_input(setup, "strategy_returns")
    ins["realized_weights"] = past_input(setup, "realized_weights", "all" if policy.paced_by_regime else 1)

    @book_asset(setup, catalog.REALIZED_WEIGHTS, ins=ins)
    def realized_weights(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        returns = known(tables["strategy_returns"], windows) if "strategy_returns" in tables else None
        table = realized_table(
            tables["realized_weights"], tables["target_weights"], policy, sessions_of(source, windows), returns
        )
        return per_partition(
            context,
            table,
            "as_of",
            windows,
            lambda rows: _realized_figures(rows, policy),
            chart=weight_charts.realized,
            history=weight_charts.history,
        )

    targets = _ensemble_assets if policy.ensemble else _plain_assets
    return [metrics, *targets(setup), realized_weights]


def _plain_assets(setup: BookSetup) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Target weights of a book with one weight set."""
    source, policy = setup.source, setup.policy
    ins = {"metrics": own_input(setup, "metrics")}
    if policy.method.optimises:
        ins |= _measured_on(setup, within(policy.longest_lookback, policy.frequency))

    @book_asset(setup, catalog.TARGET_WEIGHTS, ins=ins)
    def target_weights(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        history = _seen(tables, windows, source) if "strategy_returns" in tables else None
        table = target_table(tables["metrics"], policy, history)
        return per_partition(context, table, "as_of", windows, _target_figures, chart=weight_charts.multipliers)

    return [target_weights]


def _ensemble_assets(setup: BookSetup) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Weight sets of a book with one per market regime, and the targets read from them."""
    book, source, policy = setup.book, setup.source, setup.policy
    updates = dg.AssetSpec(
        [book.name, catalog.ENSEMBLE_UPDATES.name],
        description=catalog.ENSEMBLE_UPDATES.description,
        group_name=book.name,
        owners=[book.owner],
        kinds={"table"},
    )

    def ledger_in(name: str, lookback: Lookback) -> dict[str, dg.AssetIn]:
        return {name: ledger_input(setup, name, within(lookback, policy.frequency))}

    @book_asset(
        setup,
        catalog.ENSEMBLE_WEIGHTS,
        ins=_measured_on(setup, within(policy.longest_lookback, policy.frequency))
        | ledger_in("market_regime", policy.longest_lookback),
        # Not an input of the sets, but nothing of a book is computed where its metrics are refused.
        deps=[dg.AssetKey([book.name, "metrics"])],
    )
    def ensemble_weights(
        context: dg.AssetExecutionContext, market_regime: pd.DataFrame, **tables: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        as_of = last_sessions(sessions_of(source, windows), window_dates(windows))
        regimes = known(market_regime, windows).set_index("session")["regime"]
        table = weight_sets(_seen(tables, windows, source), regimes, as_of, policy)
        return per_partition(context, table, "as_of", windows, _ensemble_figures, chart=weight_charts.sets)

    recent = Lookback(amount=MAX_REGIME_AGE + 2, unit="sessions")

    @book_asset(
        setup,
        catalog.TARGET_WEIGHTS,
        ins={
            "ensemble_weights": own_input(setup, "ensemble_weights", "all"),
            "ensemble_updates": dg.AssetIn([book.name, "ensemble_updates"]),
        }
        | ledger_in("market_regime", recent),
    )
    def target_weights(
        context: dg.AssetExecutionContext,
        ensemble_weights: pd.DataFrame,
        ensemble_updates: pd.DataFrame,
        market_regime: pd.DataFrame,
    ) -> pd.DataFrame:
        windows = run_windows(context)
        sessions = sessions_of(source, windows)
        as_of = last_sessions(sessions, window_dates(windows))
        regimes = known(market_regime, windows).set_index("session")["regime"]
        sets = all_weight_sets(ensemble_weights, ensemble_updates)
        table = ensemble_targets(sets, regimes, as_of, sessions, policy)
        return per_partition(context, table, "as_of", windows, _target_figures, chart=weight_charts.multipliers)

    return [updates, ensemble_weights, target_weights]


def _measured_on(setup: BookSetup, back: Back) -> dict[str, dg.AssetIn]:
    """Tables of a ledger that strategies are measured on."""
    unknown = catalog.UNKNOWN_POSITIONS
    tables = [catalog.STRATEGY_RETURNS, *[unknown] * (unknown in month_tables(setup.source))]
    return {table.name: ledger_input(setup, table.name, back) for table in tables}


def _seen(tables: Mapping[str, pd.DataFrame], windows: Sequence[Window], source: LedgerSource) -> ReturnHistory:
    """Returns up to the last session of the run's partitions, and where they are not known."""
    sessions = sessions_of(source, windows)
    newest, observed = last_sessions(sessions, window_dates(windows))[-1], source.frequency.observed(sessions)
    returns = known(tables[catalog.STRATEGY_RETURNS.name], windows)
    history = ReturnHistory.from_long(returns, sessions=observed[observed <= newest])
    unknown = tables.get(catalog.UNKNOWN_POSITIONS.name)
    return history if unknown is None else history.with_unknown(known(unknown, windows))


def _shown(policy: Policy) -> list[str]:
    """Two metrics to draw: what the method reads first, and Calmar or Sharpe beside it."""
    return list(dict.fromkeys([*policy.method.reads, "sharpe", "calmar"]))[:2]


def _metric_figures(rows: pd.DataFrame, policy: Policy) -> Mapping[str, Any]:
    own = rows[rows["metric"] == _shown(policy)[0]]
    measured = own["value"].dropna()
    label = metric_label(*own[["metric", "lookback"]].iloc[0])
    figures: dict[str, Any] = {"metric": label, "measured_strategies": len(measured)}
    if len(measured):
        figures |= {
            "best_metric": float(measured.max()),
            "median_metric": float(measured.median()),
            "worst_metric": float(measured.min()),
        }
    if given := int((rows["source"] == MANUAL).sum()):
        figures["overridden"] = given
    return figures


def _ensemble_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    sets = rows.drop_duplicates("weight_set").set_index("weight_set")
    return {"active_sets": int(sets["is_active"].sum())} | {
        f"sessions_{name}": int(count) for name, count in sets["sessions"].items()
    }


def _target_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    chosen = rows["weight_set"].iloc[0]
    return ({"weight_set": chosen} if chosen else {}) | {
        "max_target": float(rows["target"].max()),
        "at_cap": int((rows["bound"] == "cap").sum()),
        "at_floor": int((rows["bound"] == "floor").sum()),
        "distance_from_base": float((rows["target"] - rows["base"]).abs().sum() / 2),
    }


def _realized_figures(rows: pd.DataFrame, policy: Policy) -> Mapping[str, Any]:
    weights, held = rows["realized"], weight_charts.held_at(rows)
    figures: dict[str, Any] = {
        "gross": total(weights),
        "max_weight": float(weights.max()),
        "effective_strategies": float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0,
        "turnover": float((weights - rows["previous"]).abs().sum() / 2),
        "distance_to_target": float((weights - rows["target"]).abs().sum() / 2),
        "at_cap": int((held == "cap").sum()),
        "at_floor": int((held == "floor").sum()),
    }
    if policy.paced_by_regime:
        figures["regime"] = rows["regime"].iloc[0]
    if policy.paced_by_regime or policy.turnover_cap is not None:
        # Otherwise the same number at every rebalance.
        figures["rate"] = float(rows["rate"].iloc[0])
    return figures
