"""Charts of weights: where they stand, where they should go, and what moved them.

Scope: figures of ``target_weights``, ``realized_weights`` and ``final_weights``. Not here: any figure of a strategy's
returns (``metrics``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.charts import parts, style
from weights_pipeline.core.targets.rules import Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAR: Final = 2.0
"""Limits further out than so many times the largest mark stay off the chart: they would flatten everything else."""
_ORDINARY: Final = (Rule.MEASURED, Rule.SHARE, Rule.EQUAL, Rule.FIXED, Rule.OPTIMISED)
"""How most multipliers of a method come about, which goes without saying."""
_DOT: Final[dict[str, Any]] = {"color": style.ORANGE, "markersize": 4, "mec": style.BLACK, "mew": 0.6, "zorder": 4}
_LINE: Final[dict[str, Any]] = {"color": style.BLACK, "markersize": 9, "mew": 1.4, "zorder": 3}


def realized(rows: pd.DataFrame) -> Figure:
    """Realized weights against target, base, floor and cap, the largest first.

    Parameters
    ----------
    rows
        Rows of ``realized_weights`` of one date.

    Returns
    -------
    Figure
        A bar per strategy; a weight at its floor or cap is said beside it, and so is a null.
    """
    with style.look():
        rows = _ordered(rows, "realized")
        drawn, (ax,) = parts.canvas(len(rows))
        weight, target, base, lower, upper = (
            rows[name].to_numpy(np.float64) for name in ("realized", "target", "base", "lower", "upper")
        )
        moved = np.nansum(np.abs(weight - rows["previous"].to_numpy(np.float64))) / 2
        left = np.nansum(np.abs(weight - target)) / 2
        parts.heading(
            drawn,
            f"Realized weights as of {_date(rows)}",
            f"sum {parts.percent(np.nansum(weight))}, one-way turnover {parts.percent(moved)}, "
            f"{parts.percent(left)} one way from target",
        )
        handles = [
            _bars(ax, weight, "realized"),
            parts.marks(ax, target, "o", "target", **_DOT),
            parts.marks(ax, base, "|", "base", **_LINE),
        ]
        end = _end(weight, target, base)
        if np.nanmax(upper, initial=0) <= _FAR * end:
            end = max(end, np.nanmax(upper, initial=0))
            ax.hlines(range(len(rows)), lower, upper, colors=style.GREY, linewidth=0.7, zorder=1, label="limits")
            for at, inwards in ((upper, 4), (lower, 5)):
                limit = parts.marks(ax, at, inwards, "floor, cap", color=style.BLACK, markersize=3, zorder=3)
            handles.append(limit)
        ax.set_xlim(0, end * 1.03)
        parts.percent_axis(ax.xaxis)
        parts.names(ax, rows["strategy"])
        parts.column(
            ax,
            [
                parts.percent(w) + (f" at {limit}" if limit else "")
                for w, limit in zip(weight, held_at(rows), strict=True)
            ],
        )
        parts.key(drawn, handles)
        return drawn


def final(rows: pd.DataFrame) -> Figure:
    """Weights to trade against realized weights, the largest first.

    Parameters
    ----------
    rows
        Rows of ``final_weights`` of one date.

    Returns
    -------
    Figure
        A bar per strategy, with what the risk scalar makes of it where that is not applied.
    """
    with style.look():
        rows = _ordered(rows, "final")
        drawn, (ax,) = parts.canvas(len(rows))
        weight, unscaled, scaled = (rows[name].to_numpy(np.float64) for name in ("final", "realized", "scaled"))
        parts.heading(
            drawn, f"Weights to trade as of {_date(rows)}", f"sum {parts.percent(np.nansum(weight))}, {_overlay(rows)}"
        )
        handles = [_bars(ax, weight, "to trade")]
        if rows["applied"].all():
            handles.append(parts.marks(ax, unscaled, "|", "realized", **_LINE))
        elif np.isfinite(scaled).any():
            handles.append(parts.marks(ax, scaled, "o", "scaled, not applied", **_DOT))
        ax.set_xlim(0, _end(weight, unscaled) * 1.03)
        parts.percent_axis(ax.xaxis)
        parts.names(ax, rows["strategy"])
        parts.column(ax, [parts.percent(w) for w in weight])
        parts.key(drawn, handles)
        return drawn


def multipliers(rows: pd.DataFrame) -> Figure:
    """Multiplier of base per strategy, the largest first.

    Parameters
    ----------
    rows
        Rows of ``target_weights`` of one date.

    Returns
    -------
    Figure
        A bar from 1 per strategy. Strategies that could not be measured, and multipliers at floor and cap, have marks
        of their own and are said beside them.
    """
    with style.look():
        rows = _ordered(rows, "multiplier", "metric_value", "target")
        drawn, (ax,) = parts.canvas(len(rows))
        value, note = rows["multiplier"].to_numpy(np.float64), rows["note"]
        rule = note.map(Rule.of)
        unmeasured = (rows["reason"].ne("") & (rule == Rule.NULL)).to_numpy()
        at_cap, at_floor = (
            rule.isin(either).to_numpy() for either in ((Rule.AT_CAP, Rule.CAP), (Rule.AT_FLOOR, Rule.FLOOR))
        )
        every = note.iloc[0] if note.nunique() == 1 else ""
        told = [f"by {metric}" for metric in rows["metric"].unique() if metric]
        told += [f"set {chosen}" for chosen in rows["weight_set"].unique() if chosen]
        told.append(every or f"{len(rows) - unmeasured.sum()} of {len(rows)} measured")
        parts.heading(drawn, f"Multipliers of base weights as of {_date(rows)}", ", ".join(told))
        ax.axvline(1, color=style.BLACK, linewidth=0.8)
        parts.bars(ax, value, [style.BLUE if m >= 1 else style.VERMILION for m in value], "multiplier", start=1)
        handles = [
            parts.marks(ax, np.where(here, value, np.nan), marker, label, **looks, markersize=5, zorder=4)
            for here, marker, label, looks in (
                (at_cap, ">", "at cap", {"color": style.BLUE}),
                (at_floor, "<", "at floor", {"color": style.VERMILION}),
                (unmeasured, "o", "not measured", {"mfc": "white", "mec": style.BLACK}),
            )
            if here.any()
        ]
        shown = value[np.isfinite(value)]
        low, high = shown.min(initial=1.0), shown.max(initial=1.0)
        room = 0.05 * max(high - low, 1.0)
        ax.set_xlim(low - room, high + room)
        ax.locator_params("x", nbins=5)
        parts.names(ax, rows["strategy"])
        held = rows["bound"].map({"floor": "target at floor", "cap": "target at cap"}).fillna("")
        said = note.where(~rule.isin(_ORDINARY), held)
        parts.column(
            ax,
            [f"{m:.2f}× {why}".rstrip() if np.isfinite(m) else "no value" for m, why in zip(value, said, strict=True)],
        )
        if handles:
            parts.key(drawn, handles)
        return drawn


def history(rows: pd.DataFrame) -> Figure:
    """Realized weights over time: a row per strategy, the darker the larger.

    Parameters
    ----------
    rows
        Rows of ``realized_weights`` of two dates or more.

    Returns
    -------
    Figure
        Strategies as they stand on the newest date, the largest first; one that has left comes last.
    """
    with style.look():
        table = rows.pivot_table(index="strategy", columns="as_of", values="realized", sort=True)
        newest = table.iloc[:, -1]
        table = table.loc[newest.sort_values(ascending=False, kind="stable").index]
        drawn, (ax,) = parts.canvas(len(table))
        dates = pd.DatetimeIndex(table.columns)
        largest = float(np.nanmax(table.to_numpy(), initial=0.0))
        parts.heading(
            drawn,
            f"Realized weights from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}",
            f"white is nothing, darkest {parts.percent(largest)}; newest beside",
        )
        _shade(ax, table, largest)
        parts.date_axis(ax, dates)
        parts.names(ax, [str(name) for name in table.index])
        parts.column(ax, [parts.percent(w) if np.isfinite(w) else "left" for w in table.iloc[:, -1]])
        return drawn


def sets(rows: pd.DataFrame) -> Figure:
    """Targets of every weight set side by side: a row per strategy, a column per set, the darker the larger.

    Parameters
    ----------
    rows
        Rows of ``ensemble_weights`` of one date.

    Returns
    -------
    Figure
        Strategies by their weight in the set on all sessions; sets that may not be read are said to be inactive.
    """
    with style.look():
        table = rows.pivot_table(index="strategy", columns="weight_set", values="target")
        table = table.sort_values(str(table.columns[0]), ascending=False, kind="stable")
        facts = rows.drop_duplicates("weight_set").set_index("weight_set").loc[table.columns]
        drawn, (ax,) = parts.canvas(len(table))
        largest = float(np.nanmax(table.to_numpy(), initial=0.0))
        inactive = [str(name) for name in table.columns[~facts["is_active"]]]
        parts.heading(
            drawn,
            f"Weight sets as of {_date(rows)}",
            f"targets; not active: {', '.join(inactive)}" if inactive else "targets; all sets are active",
        )
        _shade(ax, table, largest)
        ax.set_xticks(
            range(len(facts)), [f"{name}\n{count} sessions" for name, count in facts["sessions"].items()], fontsize=7
        )
        parts.names(ax, [str(name) for name in table.index])
        for (row, column), weight in np.ndenumerate(table.to_numpy()):
            ink = "white" if weight > 0.45 * largest else style.BLACK
            ax.text(column, row, parts.percent(weight), ha="center", va="center", fontsize=6.5, color=ink)
        return drawn


def _shade(ax: Axes, table: pd.DataFrame, largest: float) -> None:
    """A cell for each number, white for nothing; none for a null."""
    from matplotlib.colors import LinearSegmentedColormap

    edges = [np.arange(count + 1) - 0.5 for count in reversed(table.shape)]
    colours = LinearSegmentedColormap.from_list("scale", style.SCALE)
    ax.pcolormesh(*edges, np.ma.masked_invalid(table.to_numpy()), cmap=colours, vmin=0, vmax=largest or 1)
    ax.grid(visible=False)


def held_at(rows: pd.DataFrame) -> npt.NDArray[np.str_]:
    """Limit that holds each realized weight: floor, cap, or empty; as for targets, none without a base weight."""
    weight, lower, upper, base = (rows[name].to_numpy(np.float64) for name in ("realized", "lower", "upper", "base"))
    slack = 1e-9 * upper
    return np.select([base == 0, weight >= upper - slack, weight <= lower + slack], ["", "cap", "floor"], default="")


def _bars(ax: Axes, lengths: parts.Floats, label: str) -> Any:
    from matplotlib.lines import Line2D

    parts.bars(ax, lengths, style.SKY, label)
    return Line2D([], [], color=style.SKY, linewidth=5.5, label=label)


def _end(*values: parts.Floats) -> float:
    """Largest of all, or 1 where nothing is above zero, so that there is an axis."""
    largest = max(float(np.nanmax(each, initial=0.0)) for each in values)
    return largest if largest > 0 else 1.0


def _ordered(rows: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Largest first, nulls last, equals by name."""
    return rows.sort_values([*by, "strategy"], ascending=[False] * len(by) + [True], ignore_index=True)


def _date(rows: pd.DataFrame) -> str:
    return f"{rows['as_of'].iloc[0]:%Y-%m-%d}"


def _overlay(rows: pd.DataFrame) -> str:
    """What the overlay does, in words."""
    scalars = rows["scalar"].dropna().unique()
    if not len(scalars):
        return "no risk scalar"
    spread = f"{scalars.min():.2f}" + (f" to {scalars.max():.2f}" if len(scalars) > 1 else "")
    said = f"risk scalar {spread} ({rows['regime'].iloc[0].lower() or 'no regime'})"
    if pd.notna(targeted := rows["volatility_scalar"].iloc[0]):
        said += f", volatility target {targeted:.2f}"
    return said if rows["applied"].all() else f"{said}, not applied"
