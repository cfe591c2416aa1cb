"""A book's metrics, target weights and realised weights.

Here belongs loading, one call into ``core``, and metadata.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.assets.common import book_asset, per_partition, run_windows, sessions_of, window_dates
from weights_pipeline.books import Book
from weights_pipeline.core.chain import last_sessions, realized_table, target_table
from weights_pipeline.core.history import ReturnHistory
from weights_pipeline.core.metrics import metrics_table
from weights_pipeline.core.starter import StarterMetrics
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.partitions import PREVIOUS, book_months, window
from weights_pipeline.store import catalog
from weights_pipeline.store.duckdb_io import PRECEDING_ONLY


def weight_assets(book: Book, source: LedgerSource, starter: Mapping[str, StarterMetrics]) -> list[dg.AssetsDefinition]:
    """Assets from strategy returns to realised weights of one book."""
    months = book_months(book, source)

    @book_asset(
        book,
        catalog.METRICS,
        months,
        {"pandas"},
        ins={"strategy_returns": dg.AssetIn("strategy_returns", partition_mapping=window(book.lookback))},
    )
    def metrics(context: dg.AssetExecutionContext, strategy_returns: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        sessions = sessions_of(source, windows)
        as_of = last_sessions(sessions, window_dates(windows))
        history = ReturnHistory.from_long(strategy_returns, sessions=sessions[sessions <= as_of[-1]])
        table = metrics_table(
            history, as_of, book.lookback, book.metrics, strategies=list(book.strategies), starter=starter
        )
        return per_partition(context, table, "as_of", windows, lambda rows: _metric_figures(rows, book.metric))

    @book_asset(
        book,
        catalog.TARGET_WEIGHTS,
        months,
        {"pandas"},
        ins={"metrics": dg.AssetIn([book.name, "metrics"])},
    )
    def target_weights(context: dg.AssetExecutionContext, metrics: pd.DataFrame) -> pd.DataFrame:
        table = target_table(metrics, book.metric, book.method, book.strategies, book.limits, book.gross)
        return per_partition(context, table, "as_of", run_windows(context), _target_figures)

    @book_asset(
        book,
        catalog.REALIZED_WEIGHTS,
        months,
        {"pandas"},
        ins={
            "target_weights": dg.AssetIn([book.name, "target_weights"]),
            "realized_weights": dg.AssetIn(
                [book.name, "realized_weights"], partition_mapping=PREVIOUS, metadata=PRECEDING_ONLY
            ),
        },
    )
    def realized_weights(
        context: dg.AssetExecutionContext, target_weights: pd.DataFrame, realized_weights: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        table = realized_table(
            realized_weights,
            target_weights,
            book.adjustment.rate,
            book.limits,
            book.gross,
            sessions_of(source, windows),
        )
        return per_partition(context, table, "as_of", windows, _realized_figures)

    return [metrics, target_weights, realized_weights]


def _metric_figures(rows: pd.DataFrame, metric: str) -> Mapping[str, Any]:
    values = rows.loc[rows["metric"] == metric, "value"]
    measured = values.dropna()
    figures: dict[str, Any] = {
        "measured_strategies": len(measured),
        "unmeasured_strategies": len(values) - len(measured),
    }
    if len(measured):
        figures["median_metric"] = float(measured.median())
    return figures


def _target_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {
        "max_target": float(rows["target"].max()),
        "at_cap": int((rows["bound"] == "cap").sum()),
        "at_floor": int((rows["bound"] == "floor").sum()),
        "scale": float(rows["scale"].iloc[0]),
    }


def _realized_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    weights = rows["realized"]
    return {
        "gross": float(weights.sum()),
        "max_weight": float(weights.max()),
        "effective_strategies": float(weights.sum() ** 2 / (weights**2).sum()),
        "turnover": float((weights - rows["previous"]).abs().sum() / 2),
        "distance_to_target": float((weights - rows["target"]).abs().sum() / 2),
    }
