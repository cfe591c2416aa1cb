"""What holds of a ledger and its returns.

Scope: rows accounted for, positions known, months unchanged where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import pandas as pd

from weights_pipeline.core.returns.delivered import odd_scales
from weights_pipeline.core.returns.frequency import Frequency
from weights_pipeline.core.returns.identity import ascending, hashed
from weights_pipeline.core.verify.finding import LISTED, Finding

UNKNOWN_POSITION = "position_unknown"
"""Code of what is found where a fill is missing."""

RECONCILED, NOT_RECONCILED = "reconciled", "not_reconciled"
"""Codes of the newest statement that a ledger agrees with, and of what a statement says otherwise."""


def accounting(files: pd.DataFrame, rejected: pd.DataFrame) -> Finding:
    """Accepted + rejected = read, in every source file, and every rejected row is in quarantine."""
    quarantined = rejected.groupby("source_file").size().reindex(files["source_file"], fill_value=0).to_numpy()
    gap = (files["read"] - files["accepted"] - files["rejected"]).abs().to_numpy()
    gap = gap + np.abs(files["rejected"].to_numpy() - quarantined)
    total = int(gap.sum())
    return Finding(
        passed=total == 0,
        value=float(total),
        limit=0.0,
        summary=f"{int(files['read'].sum())} rows read = {int(files['accepted'].sum())} accepted + "
        f"{int(files['rejected'].sum())} rejected",
        offending=files[gap != 0],
    )


def rejection_share(files: pd.DataFrame, limit: float) -> Finding:
    """Share of rows rejected for a defect of their own: repeats, and rows held back or taken back, are sound."""
    defects = files["rejected"] - files["duplicates"] - files["unhurt"].fillna(0).astype(int)
    read = int(files["read"].sum())
    share = float(defects.sum()) / read if read else 1.0
    unhurt = int(files["unhurt"].fillna(0).sum())
    return Finding(
        passed=share <= limit,
        value=share,
        limit=limit,
        summary=f"{int(defects.sum())} of {read} rows rejected for a defect ({share:.2%}); "
        f"repeats of rows already read do not count: {int(files['duplicates'].sum())}"
        + (f", nor rows held back or taken back: {unhurt}" if unhurt else ""),
        offending=files[defects > 0] if share > limit else files.iloc[:0],
    )


def positions_known(findings: pd.DataFrame) -> Finding:
    """No position is unknown to this day: none was ever, or an opening has stated what is held.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    """
    unknown = findings[findings["code"] == UNKNOWN_POSITION]
    still = unknown[unknown["until"].isna()]
    return Finding(
        passed=still.empty,
        value=float(len(still)),
        limit=0.0,
        summary=f"positions unknown: {strategies_listed(still)}"
        if len(still)
        else f"every position is known; {len(unknown)} were not for a time"
        if len(unknown)
        else "every position is known",
        offending=still[["strategy", "symbol", "since", "source_file", "line", "message"]],
    )


def reconciled(findings: pd.DataFrame) -> Finding:
    """What the broker states is what the ledger's rows come to.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    """
    broken, agreed = (findings[findings["code"] == code] for code in (NOT_RECONCILED, RECONCILED))
    to = f"reconciled to {agreed['since'].iloc[0]:%Y-%m-%d}" if len(agreed) else "no statement agrees in everything"
    return Finding(
        passed=broken.empty,
        value=float(len(broken)),
        limit=0.0,
        summary=f"{to}; {len(broken)} figures differ" if len(broken) else to,
        offending=broken[["strategy", "symbol", "since", "source_file", "line", "message"]],
    )


def ledger_findings(findings: pd.DataFrame, severity: str) -> Finding:
    """Nothing of a severity was found in a ledger; what has a check of its own is left to that.

    Parameters
    ----------
    findings
        Rows of ``ledger_findings``.
    severity
        ERROR or WARN.
    """
    own_check = findings["code"].isin([UNKNOWN_POSITION, NOT_RECONCILED])
    found = findings[(findings["severity"] == severity) & ~own_check]
    counted = found["code"].value_counts().sort_index()
    return Finding(
        passed=found.empty,
        value=float(len(found)),
        limit=0.0,
        summary=", ".join(f"{code}: {count}" for code, count in counted.items()) or "nothing was found",
        offending=found[["code", "strategy", "symbol", "since", "source_file", "line", "message", "setting"]],
    )


def strategies_listed(unknown: pd.DataFrame) -> str:
    """Whose positions are unknown, since when, and by which row; the first few."""
    named = [
        f"{row['strategy']} {row['symbol']} since {row['since']:%Y-%m-%d} ({row['source_file']} line {row['line']})"
        for row in unknown.head(LISTED).to_dict("records")
    ]
    return ", ".join(named) + (f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else "")


def unique_lots(read: Callable[[], Iterable[pd.DataFrame]]) -> Finding:
    """No lot is booked twice over the whole ledger: a re-dated exit leaves its old month only when that is re-run.

    Parameters
    ----------
    read
        Gives session, strategy and ``lot_id`` of all lots, a part at a time. Of all parts only eight bytes a lot are
        held; they are read once more where these may be the same of two.
    """
    hashes = [hashed(part["lot_id"]) for part in read()]
    total = sum(map(len, hashes))
    numbers = ascending((hashes.pop() for _ in range(len(hashes))), total)
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    parts = [part[np.isin(hashed(part["lot_id"]), twice)] for part in read()] if len(twice) else []
    lots = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"lot_id": pd.Series(dtype="str")})
    repeats = lots[lots.duplicated("lot_id", keep=False)].sort_values("lot_id", kind="stable")
    return Finding(
        passed=repeats.empty,
        value=float(repeats["lot_id"].nunique()),
        limit=0.0,
        summary=f"{repeats['lot_id'].nunique()} lot ids are booked more than once among {len(numbers)} lots",
        offending=repeats,
    )


def known_volumes(liquidity: pd.DataFrame) -> Finding:
    """Usual volumes are known of every symbol that was traded.

    Parameters
    ----------
    liquidity
        Rows of ``strategy_liquidity``.
    """
    unknown = liquidity[liquidity["unknown"].notna()]
    first = unknown.sort_values(["session", "strategy"]).drop_duplicates("unknown").head(LISTED)
    named = [f"{symbol} on {day:%Y-%m-%d}" for symbol, day in zip(first["unknown"], first["session"], strict=True)]
    return Finding(
        passed=unknown.empty,
        value=float(len(unknown)),
        limit=0.0,
        summary=f"{len(unknown)} of {len(liquidity)} sessions traded symbols without volumes before: {', '.join(named)}"
        if named
        else f"{len(liquidity)} sessions traded symbols whose usual volumes are known",
        offending=unknown,
    )


def known_strategies(seen: Collection[str], booked: Collection[str]) -> Finding:
    """Ledger and books name the same strategies."""
    rows = [(s, "in the ledger, in no book") for s in sorted(set(seen) - set(booked))]
    rows += [(s, "in a book, never in the ledger") for s in sorted(set(booked) - set(seen))]
    return Finding(
        passed=not rows,
        value=float(len(rows)),
        limit=0.0,
        summary="; ".join(f"{s}: {what}" for s, what in rows) or f"all {len(set(booked))} strategies are known",
        offending=pd.DataFrame(rows, columns=["strategy", "problem"]),
    )


def returns_in_scale(returns: pd.DataFrame, frequency: Frequency) -> Finding:
    """Daily returns have the size of fractions of capital, and strategies are of about one size.

    Parameters
    ----------
    returns
        ``strategy`` and ``daily_return``; zeros and nulls say nothing of scale.
    frequency
        How often the ledger's returns come.
    """
    odd = odd_scales(
        {str(name): own.to_numpy() for name, own in returns.groupby("strategy")["daily_return"]}, frequency
    )
    columns = ["strategy", "median", "largest", "times_others", "factor"]
    offending = pd.DataFrame([[getattr(row, name) for name in columns] for row in odd], columns=columns)
    said = [f"{row.strategy}: median size {row.median:.4g}, largest {row.largest:.4g}" for row in odd]
    return Finding(
        passed=not odd,
        value=float(len(odd)),
        limit=0.0,
        summary="; ".join(said) or f"all {returns['strategy'].nunique()} strategies are in scale",
        offending=offending,
    )
