"""A ledger: closed and open lots, quarantine, source files, the daily returns that follow from them, market regimes.

Scope: loading, one call into ``ledger`` or ``core``, and metadata. All books on a ledger share these assets. Not here:
the reading of files (``ledger``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.verify import unchanged_months
from weights_pipeline.ledger import LedgerSource, read_ledger
from weights_pipeline.ledger.periods import horizon
from weights_pipeline.ledger.tables import (
    finding_rows,
    hashes_of,
    intake_rows,
    market_rows,
    month_tables,
    return_rows,
)
from weights_pipeline.orchestration.asset_checks import STORE_POOL, as_result
from weights_pipeline.orchestration.assets.common import column_schema, per_partition, run_windows
from weights_pipeline.orchestration.freshness import follows, ledger_freshness
from weights_pipeline.orchestration.io_manager import run_instant
from weights_pipeline.orchestration.partitions import SINGLE_RUN, ledger_history, ledger_months
from weights_pipeline.store.base import Store
from weights_pipeline.tables import catalog
from weights_pipeline.tables.definition import Table

OWNER = "team:allocation"
_LATE = "no_late_lots"


def ledger_assets(source: LedgerSource, root: Path) -> list[dg.AssetsDefinition]:
    """Assets of one ledger source, from files to daily returns."""
    months, schema = ledger_months(source), source.schema_name
    trade_ledger = dg.AssetKey([schema, catalog.TRADE_LEDGER.name])
    partitioned = month_tables(source)
    reads = [table for table in partitioned if table is not catalog.UNKNOWN_POSITIONS]
    whole = [catalog.REJECTED_LOTS, catalog.LEDGER_FILES, catalog.LEDGER_FINDINGS]

    @dg.multi_asset(
        name=f"{schema}_trades",
        outs={table.name: _out(table, source) for table in partitioned},
        check_specs=[
            dg.AssetCheckSpec(
                _LATE,
                asset=trade_ledger,
                description="No month written earlier differs from what the source files say now.",
            )
        ],
        partitions_def=months,
        backfill_policy=SINGLE_RUN,
        pool=STORE_POOL,
        required_resource_keys={"store"},
    )
    def trades(context: dg.AssetExecutionContext) -> Iterator[dg.Output[pd.DataFrame] | dg.AssetCheckResult]:
        now = run_instant(context.instance, context.run.run_id)
        windows = run_windows(context)
        intake = read_ledger(source, root, horizon=horizon(source, now))
        frames = intake_rows(intake, source, windows, now)
        for table, figures in ((catalog.TRADE_LEDGER, _lot_figures), (catalog.OPEN_LOTS, _open_figures)):
            key = dg.AssetKey([schema, table.name])
            per_partition(context, frames[table], str(table.time_column), windows, figures, key)
        for table in partitioned:
            yield dg.Output(frames[table], output_name=table.name)
        late = unchanged_months(
            hashes_of(intake.lots, catalog.TRADE_LEDGER, months.existing(now)),
            _stored_hashes(context.resources.store, schema),
            being_written=[w.key for w in windows],
        )
        yield as_result(late, error=False, check_name=_LATE, asset_key=trade_ledger)

    @dg.multi_asset(
        name=f"{schema}_quarantine", outs={table.name: _out(table, source) for table in whole}, pool=STORE_POOL
    )
    def quarantine(context: dg.AssetExecutionContext) -> Iterator[dg.Output[pd.DataFrame]]:
        now = run_instant(context.instance, context.run.run_id)
        intake = read_ledger(source, root, horizon=horizon(source, now))
        yield dg.Output(intake.rejected, output_name=catalog.REJECTED_LOTS.name, metadata=_intake_figures(intake.files))
        yield dg.Output(intake.files, output_name=catalog.LEDGER_FILES.name)
        yield dg.Output(
            finding_rows(intake), output_name=catalog.LEDGER_FINDINGS.name, metadata=_finding_figures(intake.findings)
        )

    def on_sessions(table: Table, kind: str, **options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            name=table.name,
            key_prefix=schema,
            group_name=schema,
            description=table.description,
            owners=[OWNER],
            kinds={"table", kind},
            partitions_def=months,
            backfill_policy=SINGLE_RUN,
            metadata={"dagster/column_schema": column_schema(table)},
            freshness_policy=ledger_freshness(source),
            pool=STORE_POOL,
            **options,
        )
        return decorate

    @on_sessions(
        catalog.STRATEGY_RETURNS,
        "pandas",
        automation_condition=follows(),
        ins={table.name: ledger_history(source, table.name) for table in reads},
    )
    def strategy_returns(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows, now = run_windows(context), run_instant(context.instance, context.run.run_id)
        rows = {table: tables[table.name] for table in reads}
        table = return_rows(rows, source, root, windows, now)
        return per_partition(context, table, "session", windows, _return_figures)

    @on_sessions(catalog.MARKET_REGIME, "csv")
    def market_regime(context: dg.AssetExecutionContext) -> pd.DataFrame:
        windows = run_windows(context)
        table = market_rows(source, root, windows, run_instant(context.instance, context.run.run_id))
        return per_partition(context, table, "session", windows, _market_figures)

    return [trades, quarantine, strategy_returns] + [market_regime] * (source.benchmark is not None)


def _out(table: Table, source: LedgerSource) -> dg.AssetOut:
    return dg.AssetOut(
        key_prefix=source.schema_name,
        dagster_type=pd.DataFrame,
        group_name=source.schema_name,
        description=table.description,
        owners=[OWNER],
        kinds={"table", "csv"},
        metadata={"dagster/column_schema": column_schema(table)},
        freshness_policy=ledger_freshness(source),
    )


def _stored_hashes(store: Store, schema: str) -> dict[str, str]:
    records = store.partitions(schema, catalog.TRADE_LEDGER.name)
    return {key: record.content_hash for key, record in records.items()}


def _lot_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {
        "lots": len(rows),
        "strategies": int(rows["strategy"].nunique()),
        "pnl": float(rows["pnl"].sum()),
        "winning_share": float((rows["pnl"] > 0).mean()),
    }


def _open_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {"open_lots": len(rows), "open_value": float(rows["entry_value"].sum())}


def _intake_figures(files: pd.DataFrame) -> Mapping[str, Any]:
    return {name: int(files[name].sum()) for name in ("read", "accepted", "rejected", "duplicates")}


def _finding_figures(findings: Sequence[LedgerFinding]) -> Mapping[str, Any]:
    codes = [each.code for each in findings]
    return {
        "errors": sum(each.severity == "ERROR" for each in findings),
        "warnings": sum(each.severity == "WARN" for each in findings),
        "by_code": dg.MetadataValue.json({code: codes.count(code) for code in sorted({*codes})}),
    }


def _return_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {
        "strategies": int(rows["strategy"].nunique()),
        "sessions": int(rows["session"].nunique()),
        "mean_return": float(rows["daily_return"].mean()),
        "worst_return": float(rows["daily_return"].min()),
    }


def _market_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    last = rows.iloc[-1]
    return {
        "regime": last["regime"],
        "price": float(last["price"]),
        "sessions_in_regime": int(last["sessions_in_regime"]),
    }
