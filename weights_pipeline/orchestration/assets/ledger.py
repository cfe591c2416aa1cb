"""A ledger: closed and open lots, quarantine, source files, the daily returns that follow from them, market regimes.

Scope: which tables there are, one call into ``ledger`` or ``core`` for each, and what is said of their rows. Not here:
how a step reads and writes (``orchestration.steps``). All books on a ledger share these assets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from weights_pipeline.checks import LATE_LOTS, Check
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.verify import RECONCILED, Finding, unchanged_months
from weights_pipeline.ledger import Intake, LedgerSource, read_ledger
from weights_pipeline.ledger.periods import horizon
from weights_pipeline.ledger.tables import (
    finding_rows,
    lot_hashes,
    lot_rows,
    lots_at_a_time,
    market_rows,
    month_tables,
    other_rows,
    stored_return_rows,
)
from weights_pipeline.operations.book_returns import require_earned
from weights_pipeline.orchestration.assets.earned import OWNER, earned_asset, earned_key
from weights_pipeline.orchestration.freshness import follows, ledger_freshness
from weights_pipeline.orchestration.metadata import Told
from weights_pipeline.orchestration.partitions import ledger_history, ledger_months
from weights_pipeline.orchestration.steps import Computed, Guard, Made, Run, Shown, guards, table_step
from weights_pipeline.store.base import Store
from weights_pipeline.store.parts import Parts
from weights_pipeline.tables import catalog
from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Table
from weights_pipeline.workspace import BookSetup


def ledger_assets(
    source: LedgerSource,
    root: Path,
    store: Store,
    checks: Sequence[Check],
    engine: str = "",
    kept: Path | None = None,
    books: Sequence[BookSetup] = (),
) -> list[dg.AssetsDefinition]:
    """Steps of one ledger source, from files to daily returns.

    ``checks`` are those of its tables, ``kept`` is the folder of cells that are not parsed again, and ``books`` are
    those whose earnings its file holds, which is written first.
    """
    months, schema = ledger_months(source), source.schema_name
    booked = month_tables(source)
    beside = (catalog.UNKNOWN_POSITIONS, catalog.STRATEGY_LIQUIDITY)
    reads = [table for table in booked if table not in beside]

    def intake(run: Run) -> Intake:
        if run.windows:
            require_earned(books, run.store, run.windows, run.now)
        return read_ledger(source, root, horizon=horizon(source, run.now), kept=kept)

    def trade_ledger(run: Run) -> Computed:
        return Computed(lot_rows(run.once(intake), run.windows), Told(figures=_lot_figures))

    def months_at_a_time(run: Run) -> Iterable[Sequence[Window]]:
        return lots_at_a_time(run.once(intake), run.windows)

    def booked_beside(run: Run) -> dict[Table, pd.DataFrame]:
        return other_rows(run.once(intake), source, run.windows, run.now)

    def booked_table(table: Table) -> Made:
        def rows(run: Run) -> Computed:
            figures = _open_figures if table is catalog.OPEN_LOTS else _no_figures
            return Computed(run.once(booked_beside)[table], Told(figures=figures))

        return Made(table=table, compute=rows, partitions=months, guards=guards(checks, table), kind="csv")

    def no_late_lots(run: Run) -> Finding:
        stored, written = store.partitions(schema, catalog.TRADE_LEDGER.name), [window.key for window in run.windows]
        existing = months.existing(run.now)
        earlier = [i for i, month in enumerate(existing) if month.key in stored and month.key not in written]
        # Months follow each other without a gap: whatever is written between the earlier ones is looked at in vain.
        looked_at = existing[earlier[0] : earlier[-1] + 1] if earlier else []
        return unchanged_months(
            lot_hashes(run.once(intake).closed, looked_at, kept),
            {key: record.content_hash for key, record in stored.items()},
            being_written=written,
        )

    def ledger_files(run: Run) -> Computed:
        return Computed(run.once(intake).files)

    def rejected_lots(run: Run) -> Computed:
        read = run.once(intake)
        return Computed(read.rejected, Told(figures=lambda rows: _intake_figures(read.files)))

    def strategy_returns(run: Run, **stored: Parts) -> Computed:
        parts = {table: stored[table.name] for table in reads}
        rows = stored_return_rows(parts, source, root, run.windows, run.now, over=run.over(engine))
        return Computed(rows, Told(figures=_return_figures))

    def ledger_findings(run: Run) -> Computed:
        found = run.once(intake)
        return Computed(finding_rows(found), Told(figures=lambda rows: _finding_figures(found.findings)))

    def market_regime(run: Run) -> Computed:
        return Computed(market_rows(source, root, run.windows, run.now), Told(figures=_market_figures))

    shown = Shown(schema=schema, owner=OWNER, freshness=lambda table: ledger_freshness(source))
    # What a file says of itself is written before the check that adds it up.
    quarantine = [
        (catalog.LEDGER_FILES, ledger_files),
        (catalog.REJECTED_LOTS, rejected_lots),
        (catalog.LEDGER_FINDINGS, ledger_findings),
    ]
    lots = Made(
        table=catalog.TRADE_LEDGER,
        compute=trade_ledger,
        partitions=months,
        guards=[*guards(checks, catalog.TRADE_LEDGER), Guard(said=LATE_LOTS, find=no_late_lots)],
        kind="csv",
        at_a_time=months_at_a_time,
        aside=kept,
    )
    files = [
        lots,
        *(booked_table(table) for table in booked if table is not catalog.TRADE_LEDGER),
        *(Made(table=table, compute=rows, guards=guards(checks, table), kind="csv") for table, rows in quarantine),
    ]
    if source.benchmark is not None:
        files.append(Made(table=catalog.MARKET_REGIME, compute=market_regime, partitions=months, kind="csv"))
    returns = Made(
        table=catalog.STRATEGY_RETURNS,
        compute=strategy_returns,
        ins={table.name: ledger_history(source, table) for table in reads},
        in_parts=True,
        partitions=months,
        automation=follows(),
    )
    after = [earned_key(source)] if books else []
    return [
        *([earned_asset(source, books, root, store)] if books else []),
        table_step(f"{schema}_files", store, shown, [replace(each, after=after) for each in files]),
        table_step(f"{schema}_returns", store, shown, [returns]),
    ]


def _no_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {}


def _lot_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    return {
        "lots": len(rows),
        "strategies": int(rows["strategy"].nunique()),
        "pnl": float(rows["pnl"].sum()),
        "winning_share": float((rows["pnl"] > 0).mean()),
    }


def _open_figures(rows: pd.DataFrame) -> Mapping[str, Any]:
    value = rows["entry_value"].groupby(rows["currency"].fillna("")).sum()
    named = {"open_value" + f"_{name}" * bool(name): float(own) for name, own in value.items()}
    return {"open_lots": len(rows), "open_value": 0.0} | named


def _intake_figures(files: pd.DataFrame) -> Mapping[str, Any]:
    return {name: int(files[name].sum()) for name in ("read", "accepted", "rejected", "duplicates")}


def _finding_figures(findings: Sequence[LedgerFinding]) -> Mapping[str, Any]:
    codes = [each.code for each in findings]
    return {
        "errors": sum(each.severity == "ERROR" for each in findings),
        "warnings": sum(each.severity == "WARN" for each in findings),
        **{each.code: each.message for each in findings if each.code == RECONCILED},
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
