"""Closing prices of a ledger: read, looked through, and blamed where a return cannot be.

Scope: the file of closes that open lots are marked to. Not here: what lots earn by them (``core``), nor the benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from weights_pipeline.core.returns.actions import Action
from weights_pipeline.core.returns.cells import Column
from weights_pipeline.core.returns.closes import has_jumped, price_findings
from weights_pipeline.core.returns.daily import RuinError
from weights_pipeline.core.returns.findings import LedgerFinding
from weights_pipeline.core.returns.splits import jumps_held_over
from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.flawless import flawless_rows
from weights_pipeline.ledger.source import LedgerSource

_COLUMNS = {"date": Column(kind="date"), "symbol": Column(kind="text"), "close": Column(kind="number")}


def read_prices(source: LedgerSource, root: Path) -> pd.DataFrame | None:
    """Closing prices, dates × symbols, for marking open lots to market; None where the source names no file.

    Raises
    ------
    LedgerError
        The file cannot be read, or a line is not a date, a symbol and a price, each pair once.
    """
    if source.prices is None:
        return None
    return _closes(root, source.prices).pivot(index="date", columns="symbol", values="close").sort_index()


def findings_of_prices(
    source: LedgerSource, root: Path, holdings: pd.DataFrame, actions: Sequence[Action]
) -> list[LedgerFinding]:
    """What there is to say of the prices, of what was held at them; nothing where the source names no file."""
    if source.prices is None:
        return []
    closes = _closes(root, source.prices)
    splits = [
        LedgerFinding(
            code="possible_split",
            strategy=each.strategy,
            symbol=each.symbol,
            since=each.session,
            source_file=source.prices,
            line=each.line,
            message=f"closes on {each.session:%Y-%m-%d} as after a split of {each.ratio}, while it is held",
            setting=f"add the split to the file of actions: {each.symbol},{each.session:%Y-%m-%d},split,{each.ratio}",
        )
        for each in jumps_held_over(closes, holdings, actions)
    ]
    return [*price_findings(closes, source.prices), *splits]


def blamed(error: RuinError, lots: pd.DataFrame, open_lots: pd.DataFrame, source: LedgerSource, root: Path) -> str:
    """Say which price a return of −100% or less comes from, of lots that are marked to market.

    Parameters
    ----------
    error
        Of which strategy and session.
    lots, open_lots
        Rows of ``trade_ledger`` and ``open_lots``.
    source, root
        The ledger with its prices, and the data folder.

    Returns
    -------
    str
        The error's own words where no close of what the strategy held moved in that session.
    """
    if source.prices is None:
        return str(error)
    ends = lots.loc[lots["source"] == "fills"].rename(columns={"session": "end"})
    held = pd.concat([ends, open_lots.rename(columns={"snapshot": "end"})])
    held = held[(held["strategy"] == error.strategy) & (held["open_session"] <= error.session)]
    closes = _closes(root, source.prices)
    own = closes[closes["symbol"].isin(held.loc[held["end"] >= error.session, "symbol"])]
    own = own.assign(jumped=has_jumped(own))[own["date"] <= error.session].sort_values(["symbol", "date"])
    last_two = own.groupby("symbol").tail(2)
    pairs = [rows for _, rows in last_two.groupby("symbol") if len(rows) == 2]
    moved = [abs(rows["close"].iloc[1] - rows["close"].iloc[0]) / abs(rows["close"].iloc[0]) for rows in pairs]
    if not any(moved):
        return str(error)
    before, now = (row for _, row in pairs[moved.index(max(moved))].iterrows())
    wrong, other = (before, now) if before["jumped"] and not now["jumped"] else (now, before)
    return (
        f"{source.prices}: line {wrong['line']}: {wrong['symbol']} closes at {wrong['close']:g} on "
        f"{wrong['date']:%Y-%m-%d}, and at {other['close']:g} on {other['date']:%Y-%m-%d} (line {other['line']}): "
        f"strategy {error.strategy}, marked to it, lost 100% or more on {error.session:%Y-%m-%d}. Correct the price, "
        f"or give the capital it really had as capital_base"
    )


def _closes(root: Path, path: str) -> pd.DataFrame:
    """Rows of the file, each with its ``line``."""
    rows, line = flawless_rows(root, path, _COLUMNS)
    if (again := rows.duplicated(["date", "symbol"]).to_numpy()).any():
        at = int(again.argmax())
        date, symbol = rows[["date", "symbol"]].iloc[at]
        raise LedgerError(f"{path}: line {line[at]}: {symbol} on {date:%Y-%m-%d} stands twice; keep one")
    return rows.assign(line=line)
