"""A book's allocator: state, regime, scalar, and the final weights they lead to.

Here belongs loading, one call into ``core``, and metadata. State, regime and scalar are recursions from the first
session on; each run computes them from the whole history up to its own end and keeps the sessions of its own
partitions, so that they never depend on how the history was cut into runs.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.assets.common import book_asset, only_windows, per_partition, run_windows, sessions_of
from weights_pipeline.books import Book
from weights_pipeline.core.chain import final_table, regime_table, scalar_table, state_table
from weights_pipeline.core.regime import REGIMES
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.partitions import book_months, history
from weights_pipeline.store import catalog


def allocator_assets(book: Book, source: LedgerSource) -> list[dg.AssetsDefinition]:
    """Assets from realised weights to final weights of one book."""
    months = book_months(book, source)
    overlay = book.overlay
    profile = overlay.resolved_profile()

    def so_far(name: str, *prefix: str) -> dict[str, dg.AssetIn]:
        return {name: dg.AssetIn([*prefix, name], partition_mapping=history(source))}

    @book_asset(
        book,
        catalog.ALLOCATOR_STATE,
        months,
        {"pandas"},
        ins=so_far("strategy_returns") | so_far("realized_weights", book.name),
    )
    def allocator_state(
        context: dg.AssetExecutionContext, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame
    ) -> pd.DataFrame:
        table = state_table(strategy_returns, realized_weights, overlay.sleeves)
        windows = run_windows(context)
        return per_partition(context, only_windows(table, "session", windows), "session", windows, _state_figures)

    @book_asset(book, catalog.RISK_REGIME, months, {"pandas"}, ins=so_far("allocator_state", book.name))
    def risk_regime(context: dg.AssetExecutionContext, allocator_state: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = only_windows(regime_table(allocator_state, overlay.thresholds), "session", windows)
        return per_partition(context, table, "session", windows, _regime_figures)

    @book_asset(book, catalog.RISK_SCALAR, months, {"pandas"}, ins=so_far("risk_regime", book.name))
    def risk_scalar(context: dg.AssetExecutionContext, risk_regime: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = only_windows(scalar_table(risk_regime, profile), "session", windows)
        return per_partition(context, table, "session", windows, _scalar_figures)

    @book_asset(
        book,
        catalog.FINAL_WEIGHTS,
        months,
        {"pandas"},
        ins={"realized_weights": dg.AssetIn([book.name, "realized_weights"])} | so_far("risk_scalar", book.name),
    )
    def final_weights(
        context: dg.AssetExecutionContext, realized_weights: pd.DataFrame, risk_scalar: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        table = final_table(realized_weights, risk_scalar, overlay, sessions_of(source, windows))
        due = {
            as_of: book.next_rebalance(w.end) for as_of, w in zip(sorted(table["as_of"].unique()), windows, strict=True)
        }
        table["next_rebalance"] = table["as_of"].map(due)
        return per_partition(context, table, "as_of", windows, _final_figures)

    return [allocator_state, risk_regime, risk_scalar, final_weights]


def _state_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    last = rows.iloc[-1]
    return {
        "sessions": len(rows),
        "drawdown": float(last["dd_level"]),
        "volatility_20d": float(last["port_rvol_20d"]),
        "correlation_20d": float(last["corr_20d"]),
    }


def _regime_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    counts = rows["regime"].value_counts()
    share = {f"share_{name.lower()}": float(counts.get(name, 0) / len(rows)) for name in REGIMES}
    return {"regime": rows["regime"].iloc[-1], "transitions": int(rows["changed"].sum()), **share}


def _scalar_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {"scalar": float(rows["scalar"].iloc[-1]), "lowest_scalar": float(rows["scalar"].min())}


def _final_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"gross": float(rows["final"].sum()), "max_weight": float(rows["final"].max())}
    if pd.notna(rows["scalar"].iloc[0]):
        figures["scalar"] = float(rows["scalar"].iloc[0])
    return figures
