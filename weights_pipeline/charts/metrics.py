"""Charts of metrics: of each strategy on one date, and of all strategies over time.

Scope: figures of ``metrics``. Not here: what a method makes of them (``weights``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from weights_pipeline.charts import parts, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LIVE: Final = ("live", "none")
_HOLLOW: Final[dict[str, Any]] = {"mfc": "white", "mec": style.BLACK, "markersize": 4, "zorder": 5}
_OUTLIER: Final = 4.0
"""An axis ends at so many times the upper quartile of the sizes; a bar that goes further ends in an arrow.

A ratio to a drawdown that has hardly begun is a hundred times the others."""
_NEITHER: Final = ("max_drawdown", "volatility", "closed_lots", "n_sessions", "months_of_data")
"""Metrics of which more is not better; drawn without the colours of gain and loss."""
_PERCENT: Final = ("return", "drawdown", "volatility", "rate")


def measured(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Some metrics per strategy, side by side, the largest of the first one on top.

    Parameters
    ----------
    rows
        Rows of ``metrics`` of one date.
    names
        Metrics to show, without their windows.

    Returns
    -------
    Figure
        A bar per strategy and metric; nulls are said by their reason, and figures that are not of live returns alone
        have a hollow mark.
    """
    from matplotlib.lines import Line2D

    with style.look():
        tables = [rows[rows["metric"] == name].set_index("strategy") for name in names]
        first = tables[0]["value"].rename("value").reset_index()
        order = first.sort_values(["value", "strategy"], ascending=[False, True])["strategy"].tolist()
        drawn, axes = parts.canvas(len(order), len(tables))
        parts.heading(
            drawn,
            f"Metrics over {rows['lookback'].iloc[0]} as of {rows['as_of'].iloc[0]:%Y-%m-%d}",
            f"{first['value'].notna().sum()} of {len(order)} strategies measured",
        )
        parts.names(axes[0], order)
        handles: list[Any] = [Line2D([], [], color=style.BLACK, linestyle=":", linewidth=1, label="median")]
        for ax, table, name in zip(axes, tables, names, strict=True):
            _panel(ax, table.loc[order], name)
        if not rows["source"].isin(_LIVE).all():
            handles.append(Line2D([], [], marker="o", linestyle="none", label="not of live returns alone", **_HOLLOW))
        parts.key(drawn, handles)
        return drawn


def history(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Some metrics over time, a panel each: the median strategy, and where half and four fifths of them lie.

    Parameters
    ----------
    rows
        Rows of ``metrics`` of two dates or more.
    names
        Metrics to show, without their windows.

    Returns
    -------
    Figure
        Dates on which no strategy is measured stay empty.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    with style.look():
        drawn = style.figure(parts.WIDTH, 0.6 + 1.15 * len(names))
        axes = drawn.subplots(len(names), 1, squeeze=False)[:, 0]
        dates = pd.DatetimeIndex(sorted(rows["as_of"].unique()))
        parts.heading(drawn, "Rolling metrics", f"over all strategies, {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}")
        days = np.arange(len(dates))
        for ax, name in zip(axes, names, strict=True):
            own = rows[rows["metric"] == name]
            spread = (
                own.groupby("as_of")["value"].quantile(np.array([0.1, 0.25, 0.5, 0.75, 0.9])).unstack().reindex(dates)
            )
            low, quarter, middle, three, high = (spread[level].to_numpy(np.float64) for level in spread)
            ax.fill_between(days, low, high, color=style.SKY, alpha=0.25, linewidth=0)
            ax.fill_between(days, quarter, three, color=style.SKY, alpha=0.6, linewidth=0)
            ax.plot(days, middle, color=style.BLUE, linewidth=1.5, label=name)
            ax.axhline(0, color=style.BLACK, linewidth=0.6)
            ax.set_ylabel(_title(name), fontsize=7)
            ax.tick_params(labelsize=7, length=2)
            ax.grid(axis="y")
            # The four fifths may go far beyond: a Calmar ratio has no upper limit.
            bottom, top = np.nanmin(quarter, initial=0), np.nanmax(three, initial=0)
            ax.set_ylim(bottom - 0.15 * (top - bottom or 1), top + 0.15 * (top - bottom or 1))
            ax.locator_params("y", nbins=4)
            if name.endswith(_PERCENT):
                parts.percent_axis(ax.yaxis, 4)
            parts.date_axis(ax, dates, named=ax is axes[-1])
        parts.key(
            drawn,
            [
                Line2D([], [], color=style.BLUE, linewidth=1.5, label="median strategy"),
                Patch(color=style.SKY, alpha=0.7, label="middle half"),
                Patch(color=style.SKY, alpha=0.25, label="middle four fifths"),
            ],
        )
        return drawn


def _panel(ax: Axes, table: pd.DataFrame, name: str) -> None:
    """One metric: a bar from zero in each row, its number beside it, or why there is none."""
    value = table["value"].to_numpy(np.float64)
    there = np.isfinite(value)
    known = value[there]
    ax.set_title(_title(name), fontsize=7.5)
    written = parts.percent if name.endswith(_PERCENT) else "{:.2f}".format
    parts.column(ax, [written(v) if known_here else "" for v, known_here in zip(value, there, strict=True)])
    low, high = _span(known)
    ax.set_xlim(low - 0.04 * (high - low) * (low < 0), high + 0.04 * (high - low))
    signed = [style.BLUE if v >= 0 else style.VERMILION for v in value]
    parts.bars(ax, value, style.GREY if name in _NEITHER else signed, name)
    ax.axvline(0, color=style.BLACK, linewidth=0.8)
    for label, marker, place, beyond in (("above", ">", high, value > high), ("below", "<", low, value < low)):
        parts.marks(ax, np.where(beyond, place, np.nan), marker, label, color=style.BLACK, markersize=4, zorder=4)
    given = ~table["source"].isin(_LIVE).to_numpy()
    parts.marks(ax, np.where(given, np.clip(value, low, high), np.nan), "o", "not live alone", **_HOLLOW)
    if len(known):
        ax.axvline(float(np.median(known)), color=style.BLACK, linestyle=":", linewidth=1)
    if name.endswith(_PERCENT):
        parts.percent_axis(ax.xaxis, 4)
    else:
        ax.locator_params("x", nbins=4)
    # A reason stands where its bar would begin, or at the edge where there is no room to its right.
    start = 0.0 if high > 0.4 * (high - low) else low
    for row in np.flatnonzero(~there).tolist():
        reason = f" {table['reason'].iloc[row]}"
        ax.text(start, row, reason, ha="left", va="center", fontsize=6.5, color=style.GREY)


def _span(known: parts.Floats) -> tuple[float, float]:
    """Ends of the axis, zero between them: as far as the values go, or as far as is legible."""
    sizes = np.abs(known)
    end = min(sizes.max(initial=0), _OUTLIER * np.quantile(sizes, 0.75)) if len(known) else 0.0
    end = float(end) or 1.0
    low, high = max(-end, known.min(initial=0)), min(end, known.max(initial=0))
    return float(low), float(high or 0.1 * end)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
