"""What holds of metrics.

Scope: sample sizes, extremes, and how far behind they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from weights_pipeline.core.verify.finding import Finding
from weights_pipeline.core.verify.ledger import UNKNOWN_POSITION, strategies_listed


def measured_on_known_positions(metrics: pd.DataFrame, findings: pd.DataFrame) -> Finding:
    """No metric is null because a position is not known in its window.

    Parameters
    ----------
    metrics
        Rows of a book's ``metrics``.
    findings
        Rows of its ledger's ``ledger_findings``, which say why.
    """
    null = metrics[metrics["reason"] == "ledger_incomplete"]
    strategies = sorted(null["strategy"].unique())
    why = findings[(findings["code"] == UNKNOWN_POSITION) & findings["strategy"].isin(strategies)]
    shown = strategies_listed(why) or ", ".join(strategies)
    return Finding(
        passed=not strategies,
        value=float(len(strategies)),
        limit=0.0,
        summary=f"not measured from {null['as_of'].min():%Y-%m-%d} to {null['as_of'].max():%Y-%m-%d}, positions being "
        f"unknown: {shown}; correct the ledger, or set incomplete: neutral in it"
        if strategies
        else "every strategy is measured on known positions",
        offending=why[["strategy", "symbol", "since", "until", "source_file", "line", "message"]],
    )


def enough_data(metrics: pd.DataFrame, reads: Collection[str], full: Mapping[str, int]) -> Finding:
    """Strategies measured; a date on which none is, though one could be, is a failure.

    One could be when one was on an earlier date, or when the sessions of one fill the lookback. Before that, nothing
    can be measured and base weights are the right answer.

    Parameters
    ----------
    metrics
        Rows of ``metrics``.
    reads
        Names of the metrics that the method reads; a strategy is measured when all of them are.
    full
        Sessions that fill a lookback, by its label.
    """
    read = metrics[metrics["metric"].isin(list(reads))]
    counted = metrics[metrics["metric"] == "n_sessions"]
    whole = read["value"].notna().groupby([read["as_of"], read["strategy"]]).all()
    measured = whole.groupby("as_of").sum()
    filled = (counted["value"] >= counted["lookback"].map(full)).groupby(counted["as_of"]).any().reindex(measured.index)
    empty = measured.index[(measured == 0) & (filled | (measured.cumsum() > 0))]
    count = int(measured.iloc[-1]) if len(measured) else 0
    return Finding(
        passed=empty.empty and len(measured) > 0,
        value=float(measured.min()) if len(measured) else 0.0,
        limit=1.0,
        summary=f"{count} strategies measured on the newest date; {len(empty)} dates without any",
        offending=read.loc[read["as_of"].isin(empty), ["as_of", "strategy", "metric", "lookback", "reason"]],
    )


def extreme_values(metrics: pd.DataFrame, reads: Collection[str], limit: float) -> Finding:
    """Values of the metrics that the method reads beyond ±limit: rarely skill, often a scale error in the ledger.

    Only those of the newest rebalance are judged, which nobody has looked at yet; the largest come first.
    """
    newest = metrics["as_of"] == metrics["as_of"].max()
    rows = metrics.loc[
        newest & metrics["metric"].isin(list(reads)), ["as_of", "strategy", "metric", "lookback", "value"]
    ]
    rows = rows.dropna(subset="value").sort_values("value", key=lambda values: -values.abs(), kind="stable")
    beyond = rows[rows["value"].abs() > limit]
    largest = rows.iloc[0] if len(rows) else None
    return Finding(
        passed=beyond.empty,
        value=0.0 if largest is None else float(largest["value"]),
        limit=limit,
        summary="nothing was measured"
        if largest is None
        else f"largest value of {', '.join(reads)} at the newest rebalance is {largest['value']:.2f} "
        f"({largest['strategy']}); {len(beyond)} values beyond ±{limit:g}",
        offending=beyond,
    )


def not_behind(sessions: pd.Series, reference: pd.Series, limit: int) -> Finding:
    """A series of sessions ends at most some sessions before another one."""
    newest, expected = sessions.max(), np.sort(reference.unique())
    behind = int((expected > newest).sum()) if len(sessions) else len(expected)
    return Finding(
        passed=behind <= limit,
        value=float(behind),
        limit=float(limit),
        summary=f"newest session is {newest:%Y-%m-%d}, {behind} sessions behind" if len(sessions) else "no session",
        offending=pd.DataFrame({"session": expected[-behind:]}) if behind > limit else pd.DataFrame(),
    )
