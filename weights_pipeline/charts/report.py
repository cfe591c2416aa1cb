"""Charts of the report: weights, their history, regime and scalar, and the books side by side, as SVG for a page.

Scope: figures that are read on a phone, on a screen and on paper: drawn once, narrow enough for the first, with text
that stays text. Not here: the page (``report``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

WIDTH: Final = 3.9
"""Inches: what a phone shows at a legible size, and half of a sheet of paper."""

_SMALL, _TINY = 7.0, 6.0
_POINTS = 160
_DRAWN = 300
DASHES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))


def inline(drawn: Figure, prefix: str, label: str) -> str:
    """A figure as an SVG element for a page that has others.

    Every id gets the prefix, which no other figure of the page may have, so that no clip path or marker is taken for
    another's; the size is left to the page, and whoever cannot see it is told the label.
    """
    text = re.sub(r"<metadata>.*?</metadata>", "", style.svg(drawn), count=1, flags=re.DOTALL)
    opening, end = text[: text.index(">") + 1], text.index(">") + 1
    box = re.search(r'viewBox="[^"]*"', opening)
    body = re.sub(r'(<[^<>]*?\s)id="([^"]*)"', rf'\1id="{prefix}-\2"', text[end:])
    body = re.sub(r'(?:xlink:)?href="#([^"]*)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}-\1)", body)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{escape(label)}">{body}'


def weights(rows: pd.DataFrame, applied: bool) -> Figure:
    """Weights now, the largest first: traded, realized, target, base, and between which limits.

    Parameters
    ----------
    rows
        By strategy: ``base``, ``lower``, ``upper``, ``target``, ``realized`` and ``final``.
    applied
        Whether the risk scalar sets the traded weight apart from the realized one.
    """
    rows = rows.sort_values(["final", "base"], ascending=False, kind="stable")
    places = np.arange(len(rows))
    with style.look():
        drawn = style.figure(WIDTH, 0.75 + 0.235 * len(rows))
        ax = drawn.subplots()
        largest = float(rows[["final", "realized", "target", "base"]].to_numpy().max(initial=0.0)) or 1.0
        near = rows["upper"].to_numpy() <= 3 * largest
        end = max(largest, float(rows["upper"].to_numpy()[near].max(initial=0.0)))
        if near.any():
            lower, upper, at = rows["lower"].to_numpy()[near], rows["upper"].to_numpy()[near], places[near]
            ax.hlines(at, lower, upper, colors=style.GREY, linewidth=0.8, label="floor to cap", zorder=1)
            ax.plot([*lower, *upper], [*at, *at], "|", color=style.GREY, markersize=4, zorder=1)
        if applied:
            ax.hlines(places, 0, rows["realized"], colors=style.YELLOW, linewidth=7, label="realized", zorder=2)
        name = "realized × scalar" if applied else "realized"
        ax.hlines(places, 0, rows["final"], colors=style.BLUE, linewidth=4.5 if applied else 6, label=name, zorder=3)
        ax.plot(rows["base"], places, "|", color=style.BLACK, markersize=9, mew=1.6, label="base", zorder=4)
        looks: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": style.BLACK, "markeredgewidth": 0.6}
        ax.plot(rows["target"], places, "o", color=style.ORANGE, label="target", zorder=5, **looks)
        for place, (strategy, weight) in enumerate(rows["final"].items()):
            _text(ax, -0.02, place, _short(str(strategy)), ha="right")
            _text(ax, 1.02, place, f"{weight:.1%}", ha="left")
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(0, end * 1.03)
        _plain(ax)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if end > 0.05 else f"{value:.1%}")
        ax.set_xlabel("weight, % of capital", fontsize=_SMALL)
        _key(drawn)
    return drawn


def history(final: pd.DataFrame, targets: pd.DataFrame, limits: pd.DataFrame, columns: int = 2) -> Figure:
    """Weights over time, a panel per strategy, the largest first; each from zero to what it needs.

    Parameters
    ----------
    final, targets
        Indexed by the session they are in force from; columns strategies.
    limits
        By strategy ``lower`` and ``upper`` as they are now.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    final, targets = _thinned(final), _thinned(targets)
    last = final.ffill().iloc[-1]
    names = sorted(last.dropna().index, key=lambda name: (-last[name], name))
    first, span = final.index[0], max((final.index[-1] - final.index[0]).days, 1)
    rows = -(-len(names) // columns)
    lines: dict[str, list[Any]] = {"final": [], "target": [], "limit": [], "ground": []}
    with style.look():
        height = 0.55 + 0.5 * rows
        drawn = style.figure(WIDTH, height)
        drawn.set_layout_engine("none")
        ax = drawn.add_axes((0.01, 0.3 / height, 0.98, 1 - 0.32 / height))
        for number, name in enumerate(names):
            left, ground = number % columns * 1.06, -(number // columns) - 1.0
            top = np.nanmax([final[name].max(), targets[name].max() if name in targets else 0.0])
            upper, lower = (float(limits[which].get(name, np.nan)) for which in ("upper", "lower"))
            scale = 0.62 / (max(top, upper if upper <= 2.5 * top else 0.0) or 1.0)
            for kind, frame in (("final", final), ("target", targets)):
                if name in frame:
                    lines[kind].append(_steps(frame[name].dropna(), first, span, left, ground, scale))
            lines["limit"] += [
                [(left, ground + bound * scale), (left + 1, ground + bound * scale)]
                for bound in (lower, upper)
                if 0 < bound * scale <= 0.63
            ]
            lines["ground"].append([(left, ground), (left + 1, ground)])
            ax.text(left, ground + 0.7, _short(name), fontsize=_TINY, va="bottom", color=style.BLACK)
            ax.text(
                left + 1, ground + 0.7, f"{last[name]:.1%}", fontsize=_TINY, va="bottom", ha="right", color=style.BLUE
            )
        looks: dict[str, dict[str, Any]] = {
            "ground": {"colors": style.GREY, "linewidths": 0.5},
            "limit": {"colors": style.GREY, "linewidths": 0.6, "linestyles": (0, (2, 2))},
            "target": {"colors": style.ORANGE, "linewidths": 0.7},
            "final": {"colors": style.BLUE, "linewidths": 1.3},
        }
        for kind, how in looks.items():
            ax.add_collection(LineCollection(lines[kind], **how))
        for column in range(min(columns, len(names))):
            left = column * 1.06
            ax.text(left, -rows - 0.08, f"{first:%Y-%m}", fontsize=_TINY, va="top")
            ax.text(left + 1, -rows - 0.08, f"{final.index[-1]:%Y-%m}", fontsize=_TINY, va="top", ha="right")
        ax.set_xlim(0, columns * 1.06 - 0.06)
        ax.set_ylim(-rows - 0.35, 0.02)
        ax.set_axis_off()
        handles = [
            Line2D([], [], color=style.BLUE, linewidth=1.3, label="traded"),
            Line2D([], [], color=style.ORANGE, linewidth=0.7, label="target"),
            Line2D([], [], color=style.GREY, linewidth=0.6, linestyle=(0, (2, 2)), label="floor, cap"),
        ]
        _key(drawn, handles)
    return drawn


def apart(dates: int) -> int:
    """Of how many dates :func:`history` draws one: a panel has no room for more than 160."""
    return -(-dates // _POINTS)


def regime(scalars: pd.Series, regimes: pd.Series, windows: Mapping[str, tuple[pd.Timestamp, pd.Timestamp]]) -> Figure:
    """Risk scalar over time on the risk regimes, with named windows of stress.

    Parameters
    ----------
    scalars, regimes
        By session.
    windows
        First and last session by name; those that the sessions do not reach are left out.
    """
    from matplotlib.patches import Patch

    days = pd.DatetimeIndex(scalars.index)
    x = _numbers(days)
    levels = regimes.reindex(days).to_numpy(dtype=object)
    edges = np.flatnonzero(np.r_[True, levels[1:] != levels[:-1]])
    ends = np.r_[x[edges[1:]], x[-1] + 1]
    with style.look():
        drawn = style.figure(WIDTH, 2.35)
        ax = drawn.subplots()
        floor = min(0.5, float(scalars.min()) - 0.05)
        for name, colour in style.REGIMES.items():
            spans = [(x[at], end - x[at]) for at, end in zip(edges, ends, strict=True) if levels[at] == name]
            if spans:
                ax.broken_barh(spans, (floor, 1.02 - floor), facecolors=colour, edgecolors="none", linewidth=0)
        kept = _corners(scalars.to_numpy(np.float64))
        ax.plot(x[kept], scalars.to_numpy()[kept], color=style.BLACK, linewidth=0.8)
        for name, (begin, end) in windows.items():
            if begin >= days[0] and end <= days[-1]:
                left, right = _numbers(pd.DatetimeIndex([begin, end]))
                ax.plot([left, right], [1.05, 1.05], color=style.VERMILION, linewidth=2, solid_capstyle="butt")
                ax.text((left + right) / 2, 1.07, name, fontsize=_TINY, ha="center", va="bottom", color=style.BLACK)
        ax.set_ylim(floor, 1.16)
        ax.set_xlim(x[0], x[-1])
        _years(ax, days)
        ax.set_yticks([tick for tick in (0.25, 0.5, 0.75, 1.0) if tick >= floor])
        ax.set_ylabel("risk scalar, 1 = full size", fontsize=_SMALL)
        ax.tick_params(labelsize=_SMALL)
        shown = [name for name in style.REGIMES if name in set(levels)]
        patches = [
            Patch(facecolor=style.REGIMES[name], edgecolor=style.GREY, linewidth=0.4, label=name) for name in shown
        ]
        _key(drawn, patches)
    return drawn


def growth(returns: pd.DataFrame) -> Figure:
    """What one unit of capital became, on a logarithmic axis; a line for each column, at the end of each month."""
    wealth = (1.0 + returns).cumprod()
    months = pd.DatetimeIndex(wealth.index).to_period("M")
    ends = wealth[np.r_[months[1:] != months[:-1], True]] if len(months) > 60 else wealth
    x = _numbers(pd.DatetimeIndex(ends.index))
    with style.look():
        drawn = style.figure(WIDTH, 2.7)
        ax = drawn.subplots()
        for place, name in enumerate(ends):
            colour, dashes = style.SERIES[place % len(style.SERIES)], DASHES[place % len(DASHES)]
            ax.plot(x, ends[name], color=colour, linestyle=dashes, linewidth=1.3, label=_short(str(name), 34))
        ax.set_yscale("log")
        _multiples(ax, ends.to_numpy(np.float64))
        ax.set_ylabel("capital, start = 1, log", fontsize=_SMALL)
        _years(ax, pd.DatetimeIndex(ends.index))
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=_SMALL)
        _key(drawn, columns=2)
    return drawn


def equity(returns: pd.Series, underwater: pd.Series) -> Figure:
    """Growth of one unit of capital on a linear and on a logarithmic axis, and how far it stood under its peak.

    Of many sessions the last of each stretch is drawn above, and the deepest of each below.

    Parameters
    ----------
    returns, underwater
        By session; the second 0 or negative.
    """
    wealth = (1.0 + returns).cumprod().to_numpy(np.float64)
    days = _numbers(pd.DatetimeIndex(returns.index))
    begins = np.arange(0, len(wealth), -(-len(wealth) // _DRAWN))
    ends = np.r_[begins[1:], len(wealth)] - 1
    with style.look():
        drawn = style.figure(WIDTH, 3.9)
        linear, above, below = drawn.subplots(3, sharex=True, height_ratios=(2, 2, 1.3))
        for ax in (linear, above):
            ax.plot(days[ends], wealth[ends], color=style.BLUE, linewidth=1.2)
        linear.set_ylabel("capital, start = 1", fontsize=_SMALL)
        above.set_yscale("log")
        _multiples(above, wealth)
        above.set_ylabel("the same, log", fontsize=_SMALL)
        deepest = np.minimum.reduceat(underwater.to_numpy(np.float64), begins)
        below.fill_between(days[ends], deepest, 0.0, color=style.VERMILION, linewidth=0)
        below.set_ylabel("below peak, %", fontsize=_SMALL)
        below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        _years(below, pd.DatetimeIndex(returns.index))
        for ax in (linear, above, below):
            ax.grid(axis="y")
            ax.set_axisbelow(True)
            ax.tick_params(labelsize=_SMALL)
    return drawn


def rolling(figures: Mapping[str, pd.DataFrame], panels: Mapping[str, tuple[str, float]]) -> Figure:
    """Figures of the last so many months by session: a panel for each figure, in it a line for each span.

    Parameters
    ----------
    figures
        By span, the figures by session; the shorter span first, which is not empty.
    panels
        By figure, what its axis counts and by what it is multiplied for that.
    """
    with style.look():
        drawn = style.figure(WIDTH, 3.1)
        axes = drawn.subplots(len(panels), sharex=True)
        for place, (name, found) in enumerate(figures.items()):
            shown = found.iloc[::-1].iloc[:: -(-max(len(found), 1) // _DRAWN)].iloc[::-1]
            looks: dict[str, Any] = {
                "color": style.SERIES[place],
                "linestyle": DASHES[place],
                "linewidth": 1.1,
                "label": f"last {name}",
            }
            for ax, (column, (_, scale)) in zip(axes, panels.items(), strict=True):
                ax.plot(_numbers(pd.DatetimeIndex(shown.index)), shown[column] * scale, **looks)
        for ax, (unit, _) in zip(axes, panels.values(), strict=True):
            ax.axhline(0, color=style.BLACK, linewidth=0.7)
            ax.set_ylabel(unit, fontsize=_SMALL)
        _years(axes[-1], pd.DatetimeIndex(next(iter(figures.values())).index))
        for ax in axes:
            ax.grid(axis="y")
            ax.set_axisbelow(True)
            ax.tick_params(labelsize=_SMALL)
        _key(drawn)
    return drawn


def bars(rows: pd.DataFrame, unit: str) -> Figure:
    """Two figures of each row side by side, in percent: bars, and diamonds on them.

    Parameters
    ----------
    rows
        Indexed by name, two columns of fractions, named as shown; drawn in the order given.
    unit
        What the axis counts.
    """
    (first, bar), (second, mark) = rows.items()
    places = np.arange(len(rows))
    with style.look():
        drawn = style.figure(WIDTH, 0.75 + 0.2 * len(rows))
        ax = drawn.subplots()
        ax.axvline(0, color=style.BLACK, linewidth=0.9)
        ax.hlines(places, 0, 100 * bar, colors=style.BLUE, linewidth=5, label=str(first))
        looks: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": style.BLACK, "markeredgewidth": 0.6}
        ax.plot(100 * mark, places, "D", color=style.ORANGE, label=str(second), **looks)
        for place, name in enumerate(rows.index):
            _text(ax, -0.02, place, _short(str(name)), ha="right")
        ax.set_ylim(len(rows) - 0.4, -0.6)
        _plain(ax)
        ax.set_xlabel(unit, fontsize=_SMALL)
        _key(drawn)
    return drawn


def gaps(names: Sequence[str], differences: Mapping[str, Sequence[tuple[float, float, float] | None]]) -> Figure:
    """Differences of Sharpe ratios with their intervals against no difference, a row for each name.

    Parameters
    ----------
    names
        Of the rows.
    differences
        By what they are to: difference, lower and upper end for each name; None where there is none.
    """
    marks: Any = ((style.BLUE, "o", "-"), (style.VERMILION, "D", (0, (2, 1))))
    with style.look():
        drawn = style.figure(WIDTH, 0.8 + 0.5 * len(names))
        ax = drawn.subplots()
        ax.axvline(0, color=style.BLACK, linewidth=0.9)
        reach = 0.1
        for number, ((label, found), (colour, marker, dashes)) in enumerate(
            zip(differences.items(), marks, strict=True)
        ):
            at = [(place + 0.2 * number, *each) for place, each in enumerate(found) if each is not None]
            places, values, lower, upper = np.array([row for row in at if np.isfinite(row).all()]).reshape(-1, 4).T
            ax.hlines(places, lower, upper, colors=colour, linewidth=1.6, linestyles=dashes)
            ax.plot(values, places, marker, color=colour, markersize=4.5, label=label)
            reach = max(reach, float(np.abs([*lower, *upper]).max(initial=0.0)))
        for place, name in enumerate(names):
            where = ax.get_yaxis_transform()
            ax.text(0.0, place - 0.2, _short(name, 40), transform=where, fontsize=_SMALL, va="bottom")
        ax.set_xlim(-1.1 * reach, 1.1 * reach)
        ax.set_ylim(len(names) - 0.4, -0.75)
        _plain(ax)
        ax.set_xlabel(
            "worse  \N{LEFTWARDS ARROW}  difference of Sharpe ratios  \N{RIGHTWARDS ARROW}  better", fontsize=_SMALL
        )
        _key(drawn)
    return drawn


def _multiples(ax: Axes, values: Floats) -> None:
    """Ticks of a logarithmic axis at round multiples of the capital at the start."""
    low, high = float(values.min()) * 0.9, float(values.max()) * 1.1
    ticks = [tick for tick in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64) if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)


def _plain(ax: Axes) -> None:
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.tick_params("x", labelsize=_SMALL, length=2)
    ax.grid(axis="x")
    ax.set_axisbelow(True)


def _text(ax: Axes, x: float, y: float, text: str, **looks: Any) -> None:
    ax.text(x, y, text, transform=ax.get_yaxis_transform(), fontsize=_SMALL, va="center", **looks)


def _key(drawn: Figure, handles: Sequence[Any] | None = None, columns: int = 0) -> None:
    """What the marks mean, below the figure."""
    found = list(handles) if handles is not None else drawn.axes[0].get_legend_handles_labels()[0]
    drawn.legend(
        handles=found,
        loc="outside lower left" if drawn.get_layout_engine() is not None else "lower left",
        ncols=columns or len(found),
        fontsize=_TINY if len(found) > 4 else _SMALL,
        handlelength=1.4,
        handletextpad=0.4,
        columnspacing=0.9,
        borderpad=0.1,
        borderaxespad=0.1,
    )


def _short(name: str, longest: int = 24) -> str:
    """A name that fits, its middle left out where it is long; nothing that is not printed."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    half = longest // 2
    return visible if len(visible) <= longest else f"{visible[:half]}…{visible[1 - half :]}"


def _thinned(weights: pd.DataFrame) -> pd.DataFrame:
    """Dates that :func:`history` draws, the last among them."""
    return weights.iloc[::-1].iloc[:: apart(len(weights))].iloc[::-1]


def _steps(
    weight: pd.Series, first: pd.Timestamp, span: int, left: float, ground: float, scale: float
) -> list[tuple[float, float]]:
    """Corners of a line of steps inside a panel: a weight stays until the next one."""
    x = left + (pd.DatetimeIndex(weight.index) - first).days.to_numpy(np.float64) / span
    y = ground + weight.to_numpy(np.float64) * scale
    changed = np.flatnonzero(np.r_[True, y[1:] != y[:-1]]) if len(y) else np.array([], dtype=int)
    corners = [(float(x[at]), float(y[before])) for at in changed for before in (max(at - 1, 0), at)]
    return [*corners, (float(x[-1]), float(y[-1]))] if len(y) else corners


def _corners(values: Floats) -> npt.NDArray[np.intp]:
    """Places of a line without those that lie between equal ones."""
    same = np.abs(np.diff(values)) < 5e-4
    inner = np.r_[False, same[:-1] & same[1:], False] if len(values) > 2 else np.zeros(len(values), dtype=bool)
    return np.flatnonzero(~inner)


def _numbers(days: pd.DatetimeIndex) -> Floats:
    """Days since the epoch."""
    return days.to_numpy(dtype="datetime64[D]").astype(np.float64)


def _years(ax: Axes, days: pd.DatetimeIndex) -> None:
    """Years at their first days, or months of a short history."""
    every, form = ("YS", "%Y") if (days[-1] - days[0]).days > 800 else ("QS", "%Y-%m")
    starts = pd.date_range(days[0], days[-1], freq=every)
    starts = starts[:: -(-len(starts) // 6)] if len(starts) else pd.DatetimeIndex([days[0]])
    ax.set_xticks(_numbers(starts), [f"{start:{form}}" for start in starts])
