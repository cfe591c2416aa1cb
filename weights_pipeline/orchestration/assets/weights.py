"""A book's metrics, target weights and realized weights.

Scope: which tables there are, one call into ``core`` for each, and what is said of their rows. Not here: how a step
reads and writes (``orchestration.steps``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.charts import metrics as metrics_charts
from weights_pipeline.charts import weights as weight_charts
from weights_pipeline.checks import Check
from weights_pipeline.core.chain import last_sessions, metric_rows, realized_table, target_table
from weights_pipeline.core.ensembles import MAX_REGIME_AGE, all_weight_sets, ensemble_targets, weight_sets
from weights_pipeline.core.metrics.label import metric_label
from weights_pipeline.core.metrics.lookback import Lookback
from weights_pipeline.core.metrics.table import MANUAL, overridden, with_overrides
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.returns.history import ReturnHistory
from weights_pipeline.ledger import LedgerSource
from weights_pipeline.ledger.periods import only_windows, window_dates
from weights_pipeline.ledger.tables import month_tables
from weights_pipeline.operations.rebalance import metric_overrides
from weights_pipeline.orchestration.assets.common import book_shown, book_table, by_stored, known, parts_of, sessions_of
from weights_pipeline.orchestration.metadata import Told, total
from weights_pipeline.orchestration.partitions import Back, Input, ledger_input, own_input, past_input, within
from weights_pipeline.orchestration.steps import Computed, Made, Run, table_step
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.versions.inputs import started_from
from weights_pipeline.workspace import BookSetup

_MANUAL = dg.Field(
    str,
    default_value="",
    description="Twelve-month figures by strategy, as JSON in the form of starter metrics, in place of measured ones; "
    "of one partition only.",
)


def weight_assets(setup: BookSetup, checks: Sequence[Check]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Steps from strategy returns to realized weights of one book; ``checks`` are those of its tables."""
    book, shown = setup.book, book_shown(setup)
    metrics, realized = _metrics(setup, checks), _realized(setup, checks)
    targets = _ensemble_targets(setup, checks) if setup.policy.ensemble else [_targets(setup, checks)]
    steps: list[dg.AssetsDefinition | dg.AssetSpec] = [
        table_step(f"{book.name}__metrics", setup.store, shown, [metrics], config={"manual": _MANUAL}),
        table_step(f"{book.name}__target_weights", setup.store, shown, targets),
        # A step of its own, since it depends on its own past.
        table_step(f"{book.name}__realized_weights", setup.store, shown, [realized]),
    ]
    if setup.policy.ensemble:
        steps.append(
            dg.AssetSpec(
                [book.name, catalog.ENSEMBLE_UPDATES.name],
                description=catalog.ENSEMBLE_UPDATES.description,
                group_name=book.name,
                owners=[book.owner],
                kinds={"table"},
            )
        )
    return steps


def _metrics(setup: BookSetup, checks: Sequence[Check]) -> Made:
    book, source, policy = setup.book, setup.source, setup.policy
    # The risk regime that chooses a window is a recursion from the first session on.
    reach: Back = "all" if any(each.policy.adaptive for each in setup.every) else _longest(setup)

    def metrics(run: Run, **tables: pd.DataFrame) -> Computed:
        rows, tables = [], _earned(setup, run, tables)
        for part in parts_of(setup, run):
            as_of = last_sessions(sessions_of(source, part.windows), window_dates(part.windows))
            rows.append(metric_rows(_seen(tables, part.windows, source), as_of, part.policy, run.over(setup.engine)))
        table = pd.concat(rows, ignore_index=True)
        if manual := run.context.op_execution_context.op_config["manual"]:
            if len(run.windows) > 1:
                raise ValueError(f"metric overrides are of one partition, got {len(run.windows)}")
            table = with_overrides(table, overridden(table, metric_overrides(json.loads(manual), book, MANUAL)))
        told = Told(
            figures=lambda rows: _metric_figures(rows, policy),
            chart=lambda rows: metrics_charts.measured(rows, _shown(policy)),
            history=lambda rows: metrics_charts.history(rows, _shown(policy)),
        )
        return Computed(table, told)

    return book_table(setup, catalog.METRICS, metrics, _measured_on(setup, reach), checks)


def _realized(setup: BookSetup, checks: Sequence[Check]) -> Made:
    source, policy = setup.source, setup.policy
    paced = any(each.policy.paced_by_regime for each in setup.every)
    past = past_input(setup, catalog.REALIZED_WEIGHTS, "all" if paced else 1)
    ins = [own_input(setup, catalog.TARGET_WEIGHTS), past]
    if paced:
        # The regime of a rebalance follows from all realized weights before it, and from what they earned.
        ins.append(ledger_input(setup, catalog.STRATEGY_RETURNS))

    def realized_weights(run: Run, **tables: pd.DataFrame) -> Computed:
        if by_stored(run):
            # Which may be paced by regime.
            whole = (replace(past, back="all"), ledger_input(setup, catalog.STRATEGY_RETURNS))
            tables |= {each.table.name: run.load(each) for each in whole}
        before, targets, made = tables["realized_weights"], tables["target_weights"], list[pd.DataFrame]()
        opening = started_from(setup, run.store, (before if len(before) else targets)["as_of"].min())
        for part in parts_of(setup, run):
            returns = known(tables["strategy_returns"], part.windows) if "strategy_returns" in tables else None
            own, sessions = only_windows(targets, "as_of", part.windows), sessions_of(source, part.windows)
            made.append(realized_table(before, own, part.policy, sessions, returns, opening))
            before = pd.concat([before, made[-1]], ignore_index=True) if len(before) else made[-1]
        table = pd.concat(made, ignore_index=True)
        told = Told(
            figures=lambda rows: _realized_figures(rows, policy),
            chart=weight_charts.realized,
            history=weight_charts.history,
        )
        return Computed(table, told)

    return book_table(setup, catalog.REALIZED_WEIGHTS, realized_weights, ins, checks)


def _targets(setup: BookSetup, checks: Sequence[Check]) -> Made:
    """Target weights of a book with one weight set."""
    ins = [own_input(setup, catalog.METRICS)]
    if any(each.policy.method.optimises for each in setup.every):
        ins += _measured_on(setup, _longest(setup))
    if any(each.policy.counts_costs for each in setup.every):
        # Trades are counted from the weights before, which follow from the targets before.
        ins.append(past_input(setup, catalog.TARGET_WEIGHTS, 1))

    def target_weights(run: Run, **tables: pd.DataFrame) -> Computed:
        made, tables = list[pd.DataFrame](), tables | (_earned(setup, run, {}) if by_stored(run) else {})
        parts = parts_of(setup, run)
        # The first rebalance trades from what it opens with, as realized weights do.
        counting = any(part.policy.counts_costs for part in parts)
        before = run.load(past_input(setup, catalog.REALIZED_WEIGHTS, 1)) if counting else None
        opening = started_from(setup, run.store, tables["metrics"]["as_of"].min()) if counting else None
        for part in parts:
            history = _seen(tables, part.windows, setup.source) if "strategy_returns" in tables else None
            metrics = only_windows(tables["metrics"], "as_of", part.windows)
            made.append(target_table(metrics, part.policy, history, before, opening))
            if before is not None:
                sessions = sessions_of(setup.source, part.windows)
                before = realized_table(before, made[-1], part.policy, sessions, opening=opening)
        table = pd.concat(made, ignore_index=True)
        return Computed(table, Told(figures=_target_figures, chart=weight_charts.multipliers))

    return book_table(setup, catalog.TARGET_WEIGHTS, target_weights, ins, checks)


def _ensemble_targets(setup: BookSetup, checks: Sequence[Check]) -> list[Made]:
    """Weight sets of a book with one per market regime, and the targets read from them."""
    source = setup.source

    def ensemble_weights(run: Run, market_regime: pd.DataFrame, **tables: pd.DataFrame) -> Computed:
        made, tables = [], _earned(setup, run, tables)
        if by_stored(run):
            market_regime = run.load(ledger_input(setup, catalog.MARKET_REGIME))
        for part in parts_of(setup, run):
            as_of = last_sessions(sessions_of(source, part.windows), window_dates(part.windows))
            regimes = known(market_regime, part.windows).set_index("session")["regime"]
            made.append(weight_sets(_seen(tables, part.windows, source), regimes, as_of, part.policy))
        table = pd.concat(made, ignore_index=True)
        return Computed(table, Told(figures=_ensemble_figures, chart=weight_charts.sets))

    def target_weights(
        run: Run, ensemble_weights: pd.DataFrame, ensemble_updates: pd.DataFrame, market_regime: pd.DataFrame
    ) -> Computed:
        sets, made = all_weight_sets(ensemble_weights, ensemble_updates), []
        for part in parts_of(setup, run):
            sessions = sessions_of(source, part.windows)
            as_of = last_sessions(sessions, window_dates(part.windows))
            regimes = known(market_regime, part.windows).set_index("session")["regime"]
            made.append(ensemble_targets(sets, regimes, as_of, sessions, part.policy))
        table = pd.concat(made, ignore_index=True)
        return Computed(table, Told(figures=_target_figures, chart=weight_charts.multipliers))

    recent = Lookback(amount=MAX_REGIME_AGE + 2, unit="sessions")
    reach = _longest(setup)
    read = [*_measured_on(setup, reach), ledger_input(setup, catalog.MARKET_REGIME, reach)]
    sets = book_table(setup, catalog.ENSEMBLE_WEIGHTS, ensemble_weights, read, checks)
    chosen = [
        own_input(setup, catalog.ENSEMBLE_WEIGHTS, "all"),
        Input(schema=setup.name, table=catalog.ENSEMBLE_UPDATES),
        ledger_input(setup, catalog.MARKET_REGIME, within(recent, source.frequency)),
    ]
    return [
        # Not an input of the sets, but nothing of a book is computed where its metrics are refused.
        replace(sets, after=[dg.AssetKey([setup.name, catalog.METRICS.name])]),
        book_table(setup, catalog.TARGET_WEIGHTS, target_weights, chosen, checks),
    ]


def _longest(setup: BookSetup) -> int:
    """Months that metrics may look back, whichever policy of the book they are of."""
    return max(within(each.policy.longest_lookback, each.policy.frequency) for each in setup.every)


def _measured_on(setup: BookSetup, back: Back) -> list[Input]:
    """Tables of a ledger that strategies are measured on."""
    beside = (catalog.UNKNOWN_POSITIONS, catalog.STRATEGY_LIQUIDITY)
    there = month_tables(setup.source)
    tables = [catalog.STRATEGY_RETURNS, *(table for table in beside if table in there)]
    return [ledger_input(setup, table, back) for table in tables]


def _earned(setup: BookSetup, run: Run, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Those tables as they were read; from the first month on for stored policies, which may look back further."""
    return {each.table.name: run.load(each) for each in _measured_on(setup, "all")} if by_stored(run) else tables


def _seen(tables: Mapping[str, pd.DataFrame], windows: Sequence[Window], source: LedgerSource) -> ReturnHistory:
    """Returns up to the last session of the run's partitions, how liquid they were, and where they are not known."""
    sessions = sessions_of(source, windows)
    newest, observed = last_sessions(sessions, window_dates(windows))[-1], source.frequency.observed(sessions)
    returns = known(tables[catalog.STRATEGY_RETURNS.name], windows)
    history = ReturnHistory.from_long(returns, sessions=observed[observed <= newest])
    if (liquidity := tables.get(catalog.STRATEGY_LIQUIDITY.name)) is not None:
        history = history.with_liquidity(known(liquidity, windows), returns)
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
    if policy.band is not None:
        figures["not_traded"] = int((rows["rate"] == 0).sum())
    elif policy.paced_by_regime or policy.turnover_cap is not None:
        # Otherwise the same number at every rebalance.
        figures["rate"] = float(rows["rate"].iloc[0])
    return figures
