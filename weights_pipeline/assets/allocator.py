"""A book's allocator: state, regime, scalar, and the final weights they lead to.

Here belongs loading, one call into ``core``, and metadata. State, regime and scalar are recursions from the first
session on; each run computes them from the whole history up to its own end and keeps the sessions of its own
partitions, so that they never depend on how the history was cut into runs.
"""

import math
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.assets.common import (
    book_asset,
    known,
    only_windows,
    per_partition,
    run_windows,
    sessions_of,
)
from weights_pipeline.books import Book
from weights_pipeline.core.chain import final_table, regime_table, scalar_table, state_table
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.regime import REGIMES
from weights_pipeline.core.scalar import AllocatorParameters
from weights_pipeline.core.waterfall import waterfalls
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.partitions import ledger_history, own_history
from weights_pipeline.store import catalog


def allocator_assets(book: Book, source: LedgerSource, policy: Policy) -> list[dg.AssetsDefinition]:
    """Assets from realised weights to final weights of one book."""
    ins = {name: dg.AssetIn([book.name, name]) for name in ("target_weights", "realized_weights")}
    if policy.overlay is not None:
        ins |= _so_far(book, source, "risk_scalar")

    @book_asset(book, source, catalog.FINAL_WEIGHTS, ins=ins)
    def final_weights(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        realized, targets = tables["realized_weights"], tables["target_weights"]
        table = final_table(realized, tables.get("risk_scalar"), policy, sessions_of(source, windows))
        due = {
            as_of: book.next_rebalance(w.end) for as_of, w in zip(sorted(table["as_of"].unique()), windows, strict=True)
        }
        table["next_rebalance"] = table["as_of"].map(due)
        return per_partition(context, table, "as_of", windows, lambda rows: _final_figures(rows, realized, targets))

    if policy.overlay is None:
        return [final_weights]
    return [*_overlay_assets(book, source, policy.overlay), final_weights]


def _so_far(book: Book, source: LedgerSource, name: str) -> dict[str, dg.AssetIn]:
    return {name: dg.AssetIn([book.name, name], partition_mapping=own_history(book, source))}


def _overlay_assets(book: Book, source: LedgerSource, overlay: AllocatorParameters) -> list[dg.AssetsDefinition]:
    """State, regime and scalar."""
    profile = overlay.resolved_profile()

    @book_asset(
        book,
        source,
        catalog.ALLOCATOR_STATE,
        ins={
            "strategy_returns": dg.AssetIn(
                [source.schema_name, "strategy_returns"], partition_mapping=ledger_history(source, book)
            )
        }
        | _so_far(book, source, "realized_weights"),
    )
    def allocator_state(
        context: dg.AssetExecutionContext, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        table = state_table(known(strategy_returns, windows), realized_weights, overlay.sleeves)
        return per_partition(context, only_windows(table, "session", windows), "session", windows, _state_figures)

    @book_asset(book, source, catalog.RISK_REGIME, ins=_so_far(book, source, "allocator_state"))
    def risk_regime(context: dg.AssetExecutionContext, allocator_state: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = only_windows(regime_table(allocator_state, overlay.thresholds), "session", windows)
        return per_partition(context, table, "session", windows, _regime_figures)

    @book_asset(book, source, catalog.RISK_SCALAR, ins=_so_far(book, source, "risk_regime"))
    def risk_scalar(context: dg.AssetExecutionContext, risk_regime: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = only_windows(scalar_table(risk_regime, profile), "session", windows)
        return per_partition(context, table, "session", windows, _scalar_figures)

    return [allocator_state, risk_regime, risk_scalar]


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


def _final_figures(rows: pd.DataFrame, realized: pd.DataFrame, targets: pd.DataFrame) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"gross": float(rows["final"].sum()), "max_weight": float(rows["final"].max())}
    if pd.notna(rows["scalar"].iloc[0]):
        figures["scalar"] = float(rows["scalar"].iloc[0])
    figures["waterfall"] = dg.MetadataValue.md(_markdown(rows, realized, targets))
    return figures


def _markdown(rows: pd.DataFrame, realized: pd.DataFrame, targets: pd.DataFrame) -> str:
    """Waterfall of every strategy, a line each; the steps are in columns."""
    as_of = rows["as_of"].iloc[0]
    on = waterfalls(targets[targets["as_of"] == as_of], realized[realized["as_of"] == as_of], rows)
    lines = ["| strategy | steps |", "|---|---|"]
    for strategy, steps in on.items():
        shown = (
            f"{step.name} {step.value:.6g}" + (f" ({step.remark})" if step.remark else "")
            for step in steps
            if not math.isnan(step.value) or step.remark
        )
        lines.append(f"| {strategy} | {' → '.join(shown)} |".replace("nan ", ""))
    return "\n".join(lines)
