"""A book's allocator: state, regime, scalar, and the final weights they lead to.

Scope: which tables there are, one call into ``core`` for each, and what is said of their rows. Not here: how a step
reads and writes (``orchestration.steps``). State, regime and scalar are recursions from the first session on; each run
computes them from the whole history up to its own end and keeps the sessions of its own partitions, so that they never
depend on how the history was cut into runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from weights_pipeline.charts import regime as regime_charts
from weights_pipeline.charts import weights as weight_charts
from weights_pipeline.checks import Check
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
from weights_pipeline.core.waterfall import Step, waterfalls_by_date
from weights_pipeline.files import write_artefacts
from weights_pipeline.ledger.periods import only_windows, window_dates
from weights_pipeline.orchestration.assets.common import book_shown, book_table, known, sessions_of
from weights_pipeline.orchestration.metadata import Told, total
from weights_pipeline.orchestration.partitions import Input, daily_months, ledger_input, own_input
from weights_pipeline.orchestration.steps import Computed, Made, Run, table_step
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table
from weights_pipeline.text import markdown
from weights_pipeline.workspace import BookSetup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COMPARED = ("cagr", "sharpe", "max_drawdown", "worst_month", "share_scaled", "transitions_per_year")
"""What the audit plots of the scaled and the unscaled portfolio; the last two there is of the scaled one alone."""


def allocator_assets(setup: BookSetup, artefacts: Path, checks: Sequence[Check]) -> list[dg.AssetsDefinition]:
    """The step from realized weights to final weights of one book; ``checks`` are those of its tables.

    Files beside the tables go to a folder of ``artefacts``.
    """
    made, overlay = [_final(setup, checks)], setup.policy.overlay

    def path(run: Run) -> "Figure":
        """Regime and scalar up to the newest partition: one chart, which several tables show."""
        state, regimes, scalars = (
            known(run.store.read(setup.name, table), run.windows)
            for table in (catalog.ALLOCATOR_STATE, catalog.RISK_REGIME, catalog.RISK_SCALAR)
        )
        return regime_charts.risk(regimes, regimes["session"].max(), state=state, scalars=scalars)

    if overlay is not None:
        made = [*_overlay(setup, overlay, path, checks), *_told_of(setup, overlay, artefacts, path, checks), *made]
    return [table_step(f"{setup.name}__final_weights", setup.store, book_shown(setup), made)]


def daily_assets(setup: BookSetup) -> list[dg.AssetsDefinition]:
    """Weights scaled anew for every session, of a book that says so; in months of their own, the open one included."""
    source, policy, overlay = setup.source, setup.policy, setup.policy.overlay
    if overlay is None or overlay.apply != "daily":
        return []

    def daily_weights(run: Run, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame) -> Computed:
        returns = known(strategy_returns, run.windows)
        # The ledger holds closed sessions only; of an open month, those there have been.
        closed = only_windows(returns[["session"]].drop_duplicates(), "session", run.windows)
        state = state_table(returns, realized_weights, overlay.sleeves, source.frequency)
        scalars = scalar_table(regime_table(state, overlay.thresholds), overlay)
        days = pd.DatetimeIndex(closed["session"]).sort_values()
        table = daily_table(realized_weights, scalars, policy, sessions_of(source, run.windows), days)
        return Computed(table, Told(figures=_daily_figures))

    ins = [_returns_so_far(setup), *_so_far(setup, catalog.REALIZED_WEIGHTS)]
    months = daily_months(setup.book, source)
    made = book_table(setup, catalog.DAILY_WEIGHTS, daily_weights, ins, partitions=months)
    return [table_step(f"{setup.name}__daily_weights", setup.store, book_shown(setup), [made])]


def _so_far(setup: BookSetup, *tables: Table) -> list[Input]:
    return [own_input(setup, table, "all") for table in tables]


def _returns_so_far(setup: BookSetup) -> Input:
    return ledger_input(setup, catalog.STRATEGY_RETURNS)


def _overlay(
    setup: BookSetup, overlay: AllocatorParameters, path: Callable[[Run], "Figure"], checks: Sequence[Check]
) -> list[Made]:
    """State, regime and scalar."""

    def allocator_state(run: Run, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame) -> Computed:
        table = state_table(
            known(strategy_returns, run.windows), realized_weights, overlay.sleeves, setup.source.frequency
        )
        told = Told(figures=_state_figures, chart=lambda rows: regime_charts.state(table, rows["session"].iloc[-1]))
        return Computed(only_windows(table, "session", run.windows), told)

    def risk_regime(run: Run, allocator_state: pd.DataFrame) -> Computed:
        table = regime_table(allocator_state, overlay.thresholds)
        told = Told(figures=_regime_figures, chart=lambda rows: run.once(path))
        return Computed(only_windows(table, "session", run.windows), told)

    def risk_scalar(run: Run, risk_regime: pd.DataFrame) -> Computed:
        table = scalar_table(risk_regime, overlay)
        told = Told(figures=_scalar_figures, chart=lambda rows: run.once(path))
        return Computed(only_windows(table, "session", run.windows), told)

    held = [_returns_so_far(setup), *_so_far(setup, catalog.REALIZED_WEIGHTS)]
    return [
        book_table(setup, catalog.ALLOCATOR_STATE, allocator_state, held, checks),
        book_table(setup, catalog.RISK_REGIME, risk_regime, _so_far(setup, catalog.ALLOCATOR_STATE), checks),
        book_table(setup, catalog.RISK_SCALAR, risk_scalar, _so_far(setup, catalog.RISK_REGIME), checks),
    ]


def _told_of(
    setup: BookSetup,
    overlay: AllocatorParameters,
    artefacts: Path,
    path: Callable[[Run], "Figure"],
    checks: Sequence[Check],
) -> list[Made]:
    """What there is to say of the allocator up to each rebalance: documents, and whether it helped."""
    source, policy = setup.source, setup.policy

    def allocator_summary(run: Run, **tables: pd.DataFrame) -> Computed:
        sessions = sessions_of(source, run.windows)
        begun = tables.pop("realized_weights")["effective_from"].min()
        rows = []
        for as_of, window in zip(last_sessions(sessions, window_dates(run.windows)), run.windows, strict=True):
            past = {
                name: table.iloc[: table["session"].searchsorted(as_of, side="right")] for name, table in tables.items()
            }
            held = sessions[(sessions >= begun) & (sessions <= as_of)]
            state, regimes, scalars = (past[name] for name in ("allocator_state", "risk_regime", "risk_scalar"))
            found = documents(state, regimes, scalars, held, overlay, source.frequency.per_year)
            own = {"state": state, "regime": regimes, "scalar": scalars}
            own = {name: only_windows(table, "session", [window]) for name, table in own.items()}
            write_artefacts(artefacts / setup.name / window.key, own, found)
            rows += [(as_of, name, json.dumps(document, allow_nan=False)) for name, document in found.items()]
        told = Told(shown=_summary_shown, chart=lambda rows: run.once(path))
        return Computed(pd.DataFrame(rows, columns=["as_of", "document", "content"]), told)

    def allocator_audit(run: Run, **tables: pd.DataFrame) -> Computed:
        as_of = last_sessions(sessions_of(source, run.windows), window_dates(run.windows))
        table = audit_table(
            tables["realized_weights"],
            known(tables["strategy_returns"], run.windows),
            tables["risk_scalar"],
            tables["risk_regime"],
            policy,
            as_of,
        )
        return Computed(table, Told(figures=_audit_figures))

    so_far = _so_far(setup, catalog.REALIZED_WEIGHTS, catalog.ALLOCATOR_STATE, catalog.RISK_REGIME, catalog.RISK_SCALAR)
    compared = [
        _returns_so_far(setup),
        *_so_far(setup, catalog.REALIZED_WEIGHTS, catalog.RISK_SCALAR, catalog.RISK_REGIME),
    ]
    return [
        book_table(setup, catalog.ALLOCATOR_SUMMARY, allocator_summary, so_far, checks),
        book_table(setup, catalog.ALLOCATOR_AUDIT, allocator_audit, compared, checks),
    ]


def _final(setup: BookSetup, checks: Sequence[Check]) -> Made:
    source, policy = setup.source, setup.policy
    ins = [own_input(setup, catalog.TARGET_WEIGHTS), own_input(setup, catalog.REALIZED_WEIGHTS)]
    if policy.overlay is not None:
        ins += _so_far(setup, catalog.RISK_SCALAR)

    def final_weights(run: Run, **tables: pd.DataFrame) -> Computed:
        realized, targets = tables["realized_weights"], tables["target_weights"]
        table = final_table(realized, tables.get("risk_scalar"), policy, sessions_of(source, run.windows))
        dates = sorted(table["as_of"].unique())
        due = {as_of: setup.periods.next_due(window) for as_of, window in zip(dates, run.windows, strict=True)}
        table["next_rebalance"] = table["as_of"].map(due)
        steps = waterfalls_by_date(targets, realized, table)
        told = Told(figures=lambda rows: _final_figures(rows, steps[rows["as_of"].iloc[0]]), chart=weight_charts.final)
        return Computed(table, told)

    return book_table(setup, catalog.FINAL_WEIGHTS, final_weights, ins, checks)


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


def _summary_shown(rows: pd.DataFrame) -> Mapping[str, Any]:
    content = rows.set_index("document")["content"].map(json.loads)
    return {str(name): dg.MetadataValue.json(document) for name, document in content.items()}


def _audit_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    whole = rows[(rows["window"] == "all") & rows["metric"].isin(_COMPARED) & rows["value"].notna()]
    names = whole["portfolio"] + "_" + whole["metric"]
    return dict(zip(names, whole["value"].astype(float), strict=True))


def _daily_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    newest = rows[rows["as_of"] == rows["as_of"].max()]
    return {"sessions": int(rows["as_of"].nunique()), "gross": total(newest["final"])}


def _final_figures(rows: pd.DataFrame, steps: Mapping[str, Sequence[Step]]) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"gross": total(rows["final"]), "max_weight": float(rows["final"].max())}
    if pd.notna(rows["scalar"].iloc[0]):
        figures["scalar"] = float(rows["scalar"].iloc[0])
    return figures | {"waterfall": dg.MetadataValue.md(_in_lines(steps))}


def _in_lines(waterfalls: Mapping[str, Sequence[Step]]) -> str:
    """Waterfall of every strategy, a line each; the steps are in columns."""
    lines = ["| strategy | steps |", "|---|---|"]
    for strategy, steps in waterfalls.items():
        shown = (
            " ".join([step.name] + [f"{step.value:.6g}"] * (step.value == step.value))
            + (f" ({markdown(step.remark)})" if step.remark else "")
            for step in steps
            if step.value == step.value or step.remark
        )
        lines.append(f"| {markdown(strategy)} | {' → '.join(shown)} |")
    return "\n".join(lines)
