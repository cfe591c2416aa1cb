"""A book's allocator: state, regime, scalar, and the final weights they lead to.

Scope: loading, one call into ``core``, and metadata. Not here: formulas. State, regime and scalar are recursions from
the first session on; each run computes them from the whole history up to its own end and keeps the sessions of its own
partitions, so that they never depend on how the history was cut into runs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.charts import regime as regime_charts
from weights_pipeline.charts import weights as weight_charts
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters
from weights_pipeline.core.allocator.summary import documents
from weights_pipeline.core.chain import (
    audit_table,
    daily_table,
    final_table,
    last_sessions,
    regime_table,
    scalar_table,
    state_table,
)
from weights_pipeline.core.waterfall import waterfalls
from weights_pipeline.files import write_artefacts
from weights_pipeline.ledger.periods import only_windows, window_dates
from weights_pipeline.orchestration.assets.common import (
    book_asset,
    known,
    per_partition,
    run_windows,
    sessions_of,
    total,
)
from weights_pipeline.orchestration.partitions import daily_months, ledger_input, own_input
from weights_pipeline.tables import catalog
from weights_pipeline.text import markdown
from weights_pipeline.workspace import BookSetup

_COMPARED = ("cagr", "sharpe", "max_drawdown", "worst_month", "share_scaled", "transitions_per_year")
"""What the audit plots of the scaled and the unscaled portfolio; the last two there is of the scaled one alone."""


def allocator_assets(setup: BookSetup, artefacts: Path) -> list[dg.AssetsDefinition]:
    """Assets from realized weights to final weights of one book; files beside them go to a folder of ``artefacts``."""
    source, policy = setup.source, setup.policy
    ins = {name: own_input(setup, name) for name in ("target_weights", "realized_weights")}
    if policy.overlay is not None:
        ins |= _so_far(setup, "risk_scalar")

    @book_asset(setup, catalog.FINAL_WEIGHTS, ins=ins)
    def final_weights(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        realized, targets = tables["realized_weights"], tables["target_weights"]
        table = final_table(realized, tables.get("risk_scalar"), policy, sessions_of(source, windows))
        dates = sorted(table["as_of"].unique())
        due = {as_of: setup.periods.next_due(window) for as_of, window in zip(dates, windows, strict=True)}
        table["next_rebalance"] = table["as_of"].map(due)
        return per_partition(
            context,
            table,
            "as_of",
            windows,
            lambda rows: _final_figures(rows, realized, targets),
            chart=weight_charts.final,
        )

    if policy.overlay is None:
        return [final_weights]
    overlay = [*_overlay_assets(setup, policy.overlay), *_report_assets(setup, artefacts)]
    return [*overlay, final_weights]


def daily_assets(setup: BookSetup) -> list[dg.AssetsDefinition]:
    """Weights scaled anew for every session, of a book that says so; in months of their own, the open one included."""
    book, source, policy = setup.book, setup.source, setup.policy
    if policy.overlay is None or policy.overlay.apply != "daily":
        return []
    overlay = policy.overlay
    months = daily_months(book, source)

    @book_asset(
        setup,
        catalog.DAILY_WEIGHTS,
        months,
        ins=_returns_so_far(setup) | _so_far(setup, "realized_weights"),
    )
    def daily_weights(
        context: dg.AssetExecutionContext, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        returns = known(strategy_returns, windows)
        # The ledger holds closed sessions only; of an open month, those there have been.
        closed = only_windows(returns[["session"]].drop_duplicates(), "session", windows)
        state = state_table(returns, realized_weights, overlay.sleeves, setup.source.frequency)
        scalars = scalar_table(regime_table(state, overlay.thresholds), overlay)
        days = pd.DatetimeIndex(closed["session"]).sort_values()
        table = daily_table(realized_weights, scalars, policy, sessions_of(source, windows), days)
        return per_partition(context, table, "as_of", windows, _daily_figures)

    return [daily_weights]


def _so_far(setup: BookSetup, *names: str) -> dict[str, dg.AssetIn]:
    return {name: own_input(setup, name, "all") for name in names}


def _returns_so_far(setup: BookSetup) -> dict[str, dg.AssetIn]:
    return {"strategy_returns": ledger_input(setup, "strategy_returns")}


def _overlay_assets(setup: BookSetup, overlay: AllocatorParameters) -> list[dg.AssetsDefinition]:
    """State, regime and scalar."""

    @book_asset(
        setup,
        catalog.ALLOCATOR_STATE,
        ins=_returns_so_far(setup) | _so_far(setup, "realized_weights"),
    )
    def allocator_state(
        context: dg.AssetExecutionContext, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame
    ) -> pd.DataFrame:
        windows = run_windows(context)
        table = state_table(known(strategy_returns, windows), realized_weights, overlay.sleeves, setup.source.frequency)
        return per_partition(
            context,
            only_windows(table, "session", windows),
            "session",
            windows,
            _state_figures,
            chart=lambda rows: regime_charts.state(table, rows["session"].iloc[-1]),
        )

    @book_asset(setup, catalog.RISK_REGIME, ins=_so_far(setup, "allocator_state"))
    def risk_regime(context: dg.AssetExecutionContext, allocator_state: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = regime_table(allocator_state, overlay.thresholds)
        return per_partition(
            context,
            only_windows(table, "session", windows),
            "session",
            windows,
            _regime_figures,
            chart=lambda rows: regime_charts.risk(table, rows["session"].iloc[-1], state=allocator_state),
        )

    @book_asset(setup, catalog.RISK_SCALAR, ins=_so_far(setup, "risk_regime"))
    def risk_scalar(context: dg.AssetExecutionContext, risk_regime: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        table = scalar_table(risk_regime, overlay)
        return per_partition(
            context,
            only_windows(table, "session", windows),
            "session",
            windows,
            _scalar_figures,
            chart=lambda rows: regime_charts.risk(risk_regime, rows["session"].iloc[-1], scalars=table),
        )

    return [allocator_state, risk_regime, risk_scalar]


def _report_assets(setup: BookSetup, artefacts: Path) -> list[dg.AssetsDefinition]:
    """What there is to say of the allocator up to each rebalance: documents, and whether it helped."""
    book, source, policy = setup.book, setup.source, setup.policy
    overlay = policy.overlay or AllocatorParameters()

    @book_asset(
        setup,
        catalog.ALLOCATOR_SUMMARY,
        ins=_so_far(setup, "realized_weights", "allocator_state", "risk_regime", "risk_scalar"),
    )
    def allocator_summary(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        sessions = sessions_of(source, windows)
        begun = tables.pop("realized_weights")["effective_from"].min()
        rows = []
        for as_of, window in zip(last_sessions(sessions, window_dates(windows)), windows, strict=True):
            past = {name: table[table["session"] <= as_of] for name, table in tables.items()}
            held = sessions[(sessions >= begun) & (sessions <= as_of)]
            state, regimes, scalars = (past[name] for name in ("allocator_state", "risk_regime", "risk_scalar"))
            found = documents(state, regimes, scalars, held, overlay, source.frequency.per_year)
            own = {"state": state, "regime": regimes, "scalar": scalars}
            own = {name: only_windows(table, "session", [window]) for name, table in own.items()}
            write_artefacts(artefacts / book.name / window.key, own, found)
            rows += [(as_of, name, json.dumps(document, allow_nan=False)) for name, document in found.items()]
        table = pd.DataFrame(rows, columns=["as_of", "document", "content"])
        return per_partition(
            context,
            table,
            "as_of",
            windows,
            _summary_figures,
            chart=lambda rows: regime_charts.risk(
                tables["risk_regime"],
                rows["as_of"].iloc[0],
                state=tables["allocator_state"],
                scalars=tables["risk_scalar"],
            ),
        )

    @book_asset(
        setup,
        catalog.ALLOCATOR_AUDIT,
        ins=_returns_so_far(setup) | _so_far(setup, "realized_weights", "risk_scalar", "risk_regime"),
    )
    def allocator_audit(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        as_of = last_sessions(sessions_of(source, windows), window_dates(windows))
        table = audit_table(
            tables["realized_weights"],
            known(tables["strategy_returns"], windows),
            tables["risk_scalar"],
            tables["risk_regime"],
            policy,
            as_of,
        )
        return per_partition(context, table, "as_of", windows, _audit_figures)

    return [allocator_summary, allocator_audit]


def _state_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    last = rows.iloc[-1]
    figures = {
        "equity": float(last["equity"]),
        "drawdown": float(last["dd_level"]),
        "volatility_20d": float(last["port_rvol_20d"]),
        "correlation_20d": float(last["corr_20d"]),
    }
    return {name: value for name, value in figures.items() if value == value}


def _regime_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    level, last = rows["regime"].map(REGIMES.index), rows.iloc[-1]
    return {
        "regime": last["regime"],
        "regime_level": int(level.iloc[-1]),
        "highest_regime_level": int(level.max()),
        "sessions_in_regime": int(last["sessions_in_regime"]),
        "transitions": int(rows["changed"].sum()),
    }


def _scalar_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    book = rows[rows["sleeve"] == WHOLE_BOOK]
    return {
        "scalar": float(book["scalar"].iloc[-1]),
        "target_scalar": float(book["target"].iloc[-1]),
        "lowest_scalar": float(rows["scalar"].min()),
    }


def _summary_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    content = rows.set_index("document")["content"].map(json.loads)
    return {str(name): dg.MetadataValue.json(document) for name, document in content.items()}


def _audit_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    whole = rows[(rows["window"] == "all") & rows["metric"].isin(_COMPARED) & rows["value"].notna()]
    names = whole["portfolio"] + "_" + whole["metric"]
    return dict(zip(names, whole["value"].astype(float), strict=True))


def _daily_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    newest = rows[rows["as_of"] == rows["as_of"].max()]
    return {"sessions": int(rows["as_of"].nunique()), "gross": total(newest["final"])}


def _final_figures(rows: pd.DataFrame, realized: pd.DataFrame, targets: pd.DataFrame) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"gross": total(rows["final"]), "max_weight": float(rows["final"].max())}
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
            " ".join([step.name] + [f"{step.value:.6g}"] * (step.value == step.value))
            + (f" ({markdown(step.remark)})" if step.remark else "")
            for step in steps
            if step.value == step.value or step.remark
        )
        lines.append(f"| {markdown(strategy)} | {' → '.join(shown)} |")
    return "\n".join(lines)
