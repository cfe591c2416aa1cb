"""A book's allocator: state, regime, scalar, and the final weights they lead to.

Scope: which tables there are, one call into ``core`` for each, and what is said of their rows. Not here: how a step
reads and writes (``orchestration.steps``). State, regime and scalar are recursions from the first session on; each run
computes them from the whole history up to its own end and keeps the sessions of its own partitions, so that they never
depend on how the history was cut into runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import pandas as pd

from weights_pipeline.charts import regime as regime_charts
from weights_pipeline.charts import weights as weight_charts
from weights_pipeline.checks import Check
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK, AllocatorParameters
from weights_pipeline.core.allocator.summary import documents
from weights_pipeline.core.chain import (
    OverlayPath,
    audit_table,
    daily_table,
    final_table,
    last_sessions,
    overlay_path,
    scalars_told,
)
from weights_pipeline.core.waterfall import Step, waterfalls_by_date
from weights_pipeline.files import write_artefacts
from weights_pipeline.ledger.periods import only_windows, window_dates
from weights_pipeline.orchestration.assets.common import Part, book_shown, book_table, known, parts_of, sessions_of
from weights_pipeline.orchestration.metadata import Told, total
from weights_pipeline.orchestration.partitions import Input, daily_months, ledger_input, own_input
from weights_pipeline.orchestration.steps import Computed, Made, Run, table_step
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import no_rows
from weights_pipeline.tables.definition import Table
from weights_pipeline.text import markdown
from weights_pipeline.versions.publication import course_after
from weights_pipeline.workspace import BookSetup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COMPARED = ("cagr", "sharpe", "max_drawdown", "worst_month", "share_scaled", "transitions_per_year", "carry")
"""What the audit plots of the scaled and the unscaled portfolio; shares and transitions there are of the scaled one
alone, and a carry of hedges."""


def allocator_assets(setup: BookSetup, artefacts: Path, checks: Sequence[Check]) -> list[dg.AssetsDefinition]:
    """The step from realized weights to final weights of one book; ``checks`` are those of its tables.

    Files beside the tables go to a folder of ``artefacts``.
    """
    walked = _walked(setup)
    made, chart = [_final(setup, walked, checks)], _chart(walked)
    if setup.policy.overlay is not None:
        told = _told_of(setup, artefacts, walked, chart, checks)
        made = [*_overlay(setup, walked, chart, checks), *told, *made]
    return [table_step(f"{setup.name}__final_weights", setup.store, book_shown(setup), made)]


def daily_assets(setup: BookSetup) -> list[dg.AssetsDefinition]:
    """Weights scaled anew for every session, of a book that says so; in months of their own, the open one included."""
    source, overlay = setup.source, setup.policy.overlay
    if overlay is None or overlay.apply != "daily":
        return []

    def daily_weights(run: Run, strategy_returns: pd.DataFrame, realized_weights: pd.DataFrame) -> Computed:
        returns = known(strategy_returns, run.windows)
        # The ledger holds closed sessions only; of an open month, those there have been.
        closed = only_windows(returns[["session"]].drop_duplicates(), "session", run.windows)
        made = []
        for part in parts_of(setup, run):
            own = only_windows(closed, "session", part.windows)
            days = pd.DatetimeIndex(own["session"]).sort_values()
            scalars = overlay_path(returns, realized_weights, part.policy.overlay or overlay, source.frequency).scalars
            sessions = sessions_of(source, part.windows)
            made.append(daily_table(realized_weights, scalars, part.policy, sessions, days))
        return Computed(pd.concat(made, ignore_index=True), Told(figures=_daily_figures))

    ins = _held(setup)
    months = daily_months(setup.book, source)
    made = book_table(setup, catalog.DAILY_WEIGHTS, daily_weights, ins, partitions=months)
    return [table_step(f"{setup.name}__daily_weights", setup.store, book_shown(setup), [made])]


def _held(setup: BookSetup) -> list[Input]:
    """What an overlay follows from: all realized weights so far, and what they earned."""
    return [ledger_input(setup, catalog.STRATEGY_RETURNS), own_input(setup, catalog.REALIZED_WEIGHTS, "all")]


class _Walked(NamedTuple):
    """Partitions of a run under one policy, and the history up to them as its overlay sees it."""

    part: Part
    returns: pd.DataFrame
    realized: pd.DataFrame
    path: OverlayPath


_Walk = Callable[[Run], list[_Walked]]


def _walked(setup: BookSetup) -> _Walk:
    """What every table of the overlay is cut from.

    It is computed from what was held and earned, and not read from what is stored of earlier partitions, which other
    thresholds and profiles may have made.
    """

    def walk(run: Run) -> list[_Walked]:
        returns, realized = (run.load(each) for each in _held(setup))
        found = []
        for part in parts_of(setup, run):
            if part.policy.overlay is not None:
                earned, held = known(returns, part.windows), known(realized, part.windows, "as_of")
                path = overlay_path(earned, held, part.policy.overlay, setup.source.frequency)
                # In the order in which they are stored.
                scalars = path.scalars.sort_values(["session", "sleeve"], ignore_index=True)
                found.append(_Walked(part, earned, held, path._replace(scalars=scalars)))
        return found

    return walk


def _cut(walked: Sequence[_Walked], name: str, table: Table) -> pd.DataFrame:
    """Sessions of the run's own partitions in one table of the paths."""
    return _joined([only_windows(getattr(each.path, name), "session", each.part.windows) for each in walked], table)


def _joined(made: Sequence[pd.DataFrame], table: Table) -> pd.DataFrame:
    """Rows one after the other; none of a table where every partition is made by a policy without an overlay."""
    return pd.concat(made, ignore_index=True) if made else no_rows(table)


def _overlay(setup: BookSetup, walked: _Walk, chart: Callable[[Run], "Figure"], checks: Sequence[Check]) -> list[Made]:
    """State, regime and scalar."""

    def allocator_state(run: Run, **_: pd.DataFrame) -> Computed:
        told = Told(figures=_state_figures, chart=lambda rows: run.once(chart))
        return Computed(_cut(run.once(walked), "state", catalog.ALLOCATOR_STATE), told)

    def risk_regime(run: Run, **_: pd.DataFrame) -> Computed:
        told = Told(figures=_regime_figures, chart=lambda rows: run.once(chart))
        return Computed(_cut(run.once(walked), "regimes", catalog.RISK_REGIME), told)

    def risk_scalar(run: Run, **_: pd.DataFrame) -> Computed:
        told = Told(figures=_scalar_figures, chart=lambda rows: run.once(chart))
        return Computed(_cut(run.once(walked), "scalars", catalog.RISK_SCALAR), told)

    state, regime = (own_input(setup, table) for table in (catalog.ALLOCATOR_STATE, catalog.RISK_REGIME))
    return [
        book_table(setup, catalog.ALLOCATOR_STATE, allocator_state, _held(setup), checks),
        book_table(setup, catalog.RISK_REGIME, risk_regime, [state], checks),
        book_table(setup, catalog.RISK_SCALAR, risk_scalar, [regime], checks),
    ]


def _told_of(
    setup: BookSetup, artefacts: Path, walked: _Walk, chart: Callable[[Run], "Figure"], checks: Sequence[Check]
) -> list[Made]:
    """What there is to say of the allocator up to each rebalance: documents, and whether it helped."""
    source = setup.source

    def summed_up(of: _Walked) -> list[tuple[pd.Timestamp, str, str]]:
        overlay, windows = of.part.policy.overlay or AllocatorParameters(), of.part.windows
        sessions = sessions_of(source, windows)
        begun, rows = of.realized["effective_from"].min(), []
        for as_of, window in zip(last_sessions(sessions, window_dates(windows)), windows, strict=True):
            state, regimes, scalars = (
                table.iloc[: table["session"].searchsorted(as_of, side="right")] for table in of.path
            )
            held = sessions[(sessions >= begun) & (sessions <= as_of)]
            found = documents(state, regimes, scalars, held, overlay, source.frequency.per_year)
            own = {"state": state, "regime": regimes, "scalar": scalars_told(scalars, overlay)}
            own = {name: only_windows(table, "session", [window]) for name, table in own.items()}
            write_artefacts(artefacts / setup.name / window.key, own, found)
            rows += [(as_of, name, json.dumps(document, allow_nan=False)) for name, document in found.items()]
        return rows

    def allocator_summary(run: Run, **_: pd.DataFrame) -> Computed:
        rows = [row for each in run.once(walked) for row in summed_up(each)]
        told = Told(shown=_summary_shown, chart=lambda rows: run.once(chart))
        made = [pd.DataFrame(rows, columns=["as_of", "document", "content"])] if rows else []
        return Computed(_joined(made, catalog.ALLOCATOR_SUMMARY), told)

    def allocator_audit(run: Run, **_: pd.DataFrame) -> Computed:
        tables = []
        for each in run.once(walked):
            windows, path = each.part.windows, each.path
            as_of = last_sessions(sessions_of(source, windows), window_dates(windows))
            compared = (each.realized, each.returns, path.scalars, path.regimes)
            tables.append(audit_table(*compared, each.part.policy, as_of))
        return Computed(_joined(tables, catalog.ALLOCATOR_AUDIT), Told(figures=_audit_figures))

    scalar = [own_input(setup, catalog.RISK_SCALAR)]
    return [
        book_table(setup, catalog.ALLOCATOR_SUMMARY, allocator_summary, scalar, checks),
        book_table(setup, catalog.ALLOCATOR_AUDIT, allocator_audit, scalar, checks),
    ]


def _chart(walked: _Walk) -> Callable[[Run], "Figure"]:
    """One chart up to the newest partition, which every table of the allocator shows."""

    def chart(run: Run) -> "Figure":
        path = run.once(walked)[-1].path
        return regime_charts.allocator(path.state, path.regimes, path.scalars, path.regimes["session"].max())

    return chart


def _final(setup: BookSetup, walked: _Walk, checks: Sequence[Check]) -> Made:
    ins = [own_input(setup, catalog.TARGET_WEIGHTS), own_input(setup, catalog.REALIZED_WEIGHTS)]
    if setup.policy.overlay is not None:
        ins.append(own_input(setup, catalog.RISK_SCALAR))

    def final_weights(run: Run, target_weights: pd.DataFrame, realized_weights: pd.DataFrame, **_: Any) -> Computed:
        paths = run.once(walked) if any(part.policy.overlay for part in parts_of(setup, run)) else []
        scalars = {each.part.windows[0].key: each.path.scalars for each in paths}
        tables = [
            final_table(
                only_windows(realized_weights, "as_of", part.windows),
                scalars.get(part.windows[0].key),
                part.policy,
                sessions_of(setup.source, part.windows),
            )
            for part in parts_of(setup, run)
        ]
        table = pd.concat(tables, ignore_index=True)
        dates = sorted(table["as_of"].unique())
        due = {as_of: setup.periods.next_due(window) for as_of, window in zip(dates, run.windows, strict=True)}
        table["next_rebalance"] = table["as_of"].map(due)
        steps = waterfalls_by_date(target_weights, realized_weights, table)
        newest = run.windows[-1].key >= max(run.store.partitions(setup.name, catalog.FINAL_WEIGHTS.name), default="")
        told = Told(
            figures=lambda rows: _final_figures(rows, steps[rows["as_of"].iloc[0]]),
            shown=lambda rows: (
                {"course": course_after(setup, run.store, rows, run.now).says or "on time"} if newest else {}
            ),
            chart=weight_charts.final,
        )
        return Computed(table, told)

    return book_table(setup, catalog.FINAL_WEIGHTS, final_weights, ins, checks)


_WEIGHED = frozenset({"base weight", "target"})
"""Steps of a waterfall from which on its figures are weights."""


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
    if pd.notna(rows["volatility_scalar"].iloc[0]):
        figures["volatility_scalar"] = float(rows["volatility_scalar"].iloc[0])
    return figures | {"waterfall": dg.MetadataValue.md(_as_table(steps))}


def _as_table(waterfalls: Mapping[str, Sequence[Step]]) -> str:
    """Waterfalls as a table: a row for each strategy, a column for each step, and what is said of a step.

    What is said of a step alike for all strategies stands below. Weights are in percent; every figure to the last digit
    is in the tables.
    """
    longest = sorted(waterfalls.values(), key=len, reverse=True)
    names = list(dict.fromkeys(step.name for steps in longest for step in steps))
    remarks = {name: {s.remark for steps in waterfalls.values() for s in steps if s.name == name} for name in names}
    alike = {name: next(iter(said)) for name, said in remarks.items() if len(said) == 1 and said != {""}}
    lines = [f"| strategy | {' | '.join(names)} | why |", f"|---|{'---:|' * len(names)}---|"]
    for strategy, steps in waterfalls.items():
        shown, weighed = dict.fromkeys(names, ""), False
        for step in steps:
            # Before it is a weight it is a metric, a score or a multiplier.
            weighed = weighed or step.name in _WEIGHED
            if step.value == step.value:
                shown[step.name] = f"{step.value:.2%}" if weighed else f"{step.value:.4g}"
        own = [f"{s.name}: {s.remark}" for s in steps if s.remark and s.name not in alike and s.remark != "measured"]
        lines.append(f"| {markdown(strategy)} | {' | '.join(shown.values())} | {markdown('; '.join(own))} |")
    return "\n".join(
        [*lines, "", *(f"- {name}: {markdown(said)}" for name, said in alike.items() if said != "measured")]
    )
