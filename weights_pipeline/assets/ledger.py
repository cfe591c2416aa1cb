"""A ledger: closed and open lots, quarantine, source files, the daily returns that follow from them, market regimes.

Here belongs loading, one call into ``ledger`` or ``core``, and metadata. All books on a ledger share these assets.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd

from weights_pipeline.assets.common import (
    only_windows,
    per_partition,
    run_windows,
    table_metadata,
    window_dates,
)
from weights_pipeline.checks import STORE_POOL, as_result
from weights_pipeline.core.chain import last_sessions, returns_table
from weights_pipeline.core.market_regime import market_regimes
from weights_pipeline.core.verify import unchanged_months
from weights_pipeline.ledger import (
    LedgerSource,
    exchange_timezone,
    read_benchmark,
    read_capital,
    read_ledger,
    read_prices,
    session_closes,
)
from weights_pipeline.partitions import SINGLE_RUN, ledger_history, ledger_months
from weights_pipeline.store import catalog
from weights_pipeline.store.base import Store
from weights_pipeline.store.contract import Window, content_hashes, prepare
from weights_pipeline.store.io_manager import partition_window, run_instant
from weights_pipeline.store.tables import Table

OWNER = "team:allocation"
_LATE = "no_late_lots"


def ledger_assets(source: LedgerSource, root: Path) -> list[dg.AssetsDefinition]:
    """Assets of one ledger source, from files to daily returns."""
    months, schema = ledger_months(source), source.schema_name
    trade_ledger = dg.AssetKey([schema, catalog.TRADE_LEDGER.name])
    partitioned = [catalog.TRADE_LEDGER, catalog.OPEN_LOTS] + [catalog.GIVEN_RETURNS] * bool(source.returns)
    whole = [catalog.REJECTED_LOTS, catalog.LEDGER_FILES]

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
        intake = read_ledger(source, root, horizon=_horizon(source, months, now))
        sessions = _closed_sessions(source, windows, f"{source.first_month}-01", now)
        frames = {
            catalog.TRADE_LEDGER: only_windows(intake.lots, "session", windows),
            catalog.OPEN_LOTS: intake.open_lots(_month_ends(sessions, windows)),
            catalog.GIVEN_RETURNS: only_windows(intake.returns, "session", windows),
        }
        for table, figures in ((catalog.TRADE_LEDGER, _lot_figures), (catalog.OPEN_LOTS, _open_figures)):
            key = dg.AssetKey([schema, table.name])
            per_partition(context, frames[table], str(table.time_column), windows, figures, key)
        for table in partitioned:
            yield dg.Output(frames[table], output_name=table.name)
        keys = months.get_partition_keys(current_time=now)
        every = [partition_window(months, key, source.calendar) for key in keys]
        late = unchanged_months(
            _hashes(intake.lots, every),
            _stored_hashes(context.resources.store, schema),
            being_written=[w.key for w in windows],
        )
        yield as_result(late, error=False, check_name=_LATE, asset_key=trade_ledger)

    @dg.multi_asset(
        name=f"{schema}_quarantine", outs={table.name: _out(table, source) for table in whole}, pool=STORE_POOL
    )
    def quarantine(context: dg.AssetExecutionContext) -> Iterator[dg.Output[pd.DataFrame]]:
        now = run_instant(context.instance, context.run.run_id)
        intake = read_ledger(source, root, horizon=_horizon(source, months, now))
        yield dg.Output(intake.rejected, output_name=catalog.REJECTED_LOTS.name, metadata=_intake_figures(intake.files))
        yield dg.Output(intake.files, output_name=catalog.LEDGER_FILES.name)

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
            metadata=table_metadata(table, source),
            pool=STORE_POOL,
            **options,
        )
        return decorate

    @on_sessions(
        catalog.STRATEGY_RETURNS,
        "pandas",
        ins={
            table.name: dg.AssetIn([schema, table.name], partition_mapping=ledger_history(source))
            for table in partitioned
        },
    )
    def strategy_returns(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> pd.DataFrame:
        windows = run_windows(context)
        lots = tables[catalog.TRADE_LEDGER.name]
        opened = lots["open_session"].min() if len(lots) else pd.Timestamp.max
        first = min(pd.Timestamp(f"{source.first_month}-01"), opened)
        sessions = _closed_sessions(source, windows, first, run_instant(context.instance, context.run.run_id))
        start = window_dates(windows).left[0]
        given = tables.get(catalog.GIVEN_RETURNS.name, pd.DataFrame())
        table = returns_table(
            lots,
            tables[catalog.OPEN_LOTS.name],
            given,
            sessions,
            read_capital(source, root),
            start,
            read_prices(source, root),
        )
        return per_partition(context, table, "session", windows, _return_figures)

    @on_sessions(catalog.MARKET_REGIME, "csv")
    def market_regime(context: dg.AssetExecutionContext) -> pd.DataFrame:
        windows = run_windows(context)
        prices = read_benchmark(source, root)
        sessions = _closed_sessions(source, windows, prices.index[0], run_instant(context.instance, context.run.run_id))
        path = market_regimes(prices[prices.index.isin(sessions)])
        table = only_windows(path.rename_axis("session").reset_index(), "session", windows)
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
        metadata=table_metadata(table, source),
    )


def _horizon(source: LedgerSource, months: dg.MonthlyPartitionsDefinition, now: dt.datetime) -> dt.date:
    """Day up to which the ledger is read: today at the exchange, or the last day of a finished history."""
    last = months.get_partition_keys(current_time=now)[-1]
    end = partition_window(months, last, source.calendar).end - dt.timedelta(microseconds=1)
    return min(now, end).astimezone(ZoneInfo(exchange_timezone(source.calendar))).date()


def _closed_sessions(
    source: LedgerSource, windows: Sequence[Window], first: str | pd.Timestamp, now: dt.datetime
) -> pd.DatetimeIndex:
    """Sessions that had closed by now, from a first day to the end of the last window."""
    last = pd.Timestamp(windows[-1].end.date()) - pd.Timedelta(days=1)
    closes = session_closes(source.calendar, pd.Timestamp(first).date(), last.date())
    return pd.DatetimeIndex(closes.index[closes <= pd.Timestamp(now).tz_convert("UTC").tz_localize(None)])


def _month_ends(sessions: pd.DatetimeIndex, windows: Sequence[Window]) -> pd.DatetimeIndex:
    """Last closed session of each window that has one; an open month's is the newest there is."""
    dates = window_dates(windows)
    begun = dates[dates.left <= sessions[-1]] if len(sessions) else dates[:0]
    return last_sessions(sessions, begun)


def _hashes(lots: pd.DataFrame, windows: Sequence[Window]) -> dict[str, str]:
    stored = prepare(only_windows(lots, "session", windows), catalog.TRADE_LEDGER, windows)
    found = content_hashes(stored, catalog.TRADE_LEDGER, [w.key for w in windows])
    return {key: content for key, (_, content) in found.items()}


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
