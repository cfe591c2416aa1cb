"""Parts that several charts have: a heading, a key, and a row for each strategy.

Scope: layout. Not here: what a chart shows. Rows are made of few artists, without ticks: an axis tick of Matplotlib
costs a millisecond or two, and a chart of sixteen strategies is drawn a hundred times in a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from weights_pipeline.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

WIDTH: Final = 5.2
"""Width of a chart, inches."""

_ROW, _HEADING, _AXIS, _KEY = 0.165, 0.36, 0.22, 0.2
_NAME_LENGTH = 28
_SMALL = 7.0
_DATES_NAMED = 6
_MONTHS_APART = (1, 2, 3, 6, 12, 24, 36, 60, 120)


def canvas(rows: int, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, high enough for so many rows, the first row on top; without y ticks."""
    drawn = style.figure(WIDTH, _HEADING + _AXIS + _KEY + _ROW * max(rows, 3))
    axes = list(drawn.subplots(1, panels, squeeze=False)[0])
    for ax in axes:
        ax.set_ylim(max(rows, 1) - 0.5, -0.5)
        ax.yaxis.set_visible(False)
        _without_label(ax.xaxis)
        ax.spines["left"].set_visible(False)
        ax.tick_params("x", labelsize=_SMALL, length=2)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    return drawn, axes


def heading(drawn: Figure, title: str, text: str = "") -> None:
    """Title, a smaller line below it, and room at the bottom for a key."""
    height = drawn.get_figheight()
    drawn.text(0.012, 1 - 0.05 / height, title, va="top", fontsize=9, fontweight="bold")
    drawn.text(0.012, 1 - 0.21 / height, text, va="top", fontsize=_SMALL, color=style.GREY)
    # What stands around the panels is measured once, where the layout of other figures measures it twice.
    drawn.set_layout_engine("tight", pad=0.4, rect=(0, _KEY / height, 1, 1 - _HEADING / height))


def key(drawn: Figure, handles: Sequence[Any]) -> None:
    """What the marks mean, in one line at the bottom."""
    drawn.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncols=len(handles),
        fontsize=_SMALL,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.2,
        borderpad=0.2,
    )


def names(ax: Axes, strategies: Iterable[str]) -> None:
    """Strategies to the left of their rows."""
    column(ax, [short(name) for name in strategies], x=-0.02, align="right", colour=style.BLACK)


def column(ax: Axes, texts: Sequence[str], x: float = 1.02, align: str = "left", colour: str = style.BLACK) -> None:
    """A text beside each row; ``x`` in widths of the panel."""
    place = ax.get_yaxis_transform()
    longest = sorted(range(len(texts)), key=lambda row: len(texts[row]))[-3:]
    for row, text in enumerate(texts):
        if text:
            written = ax.text(x, row, text, transform=place, ha=align, va="center", fontsize=_SMALL, color=colour)
            # The layout measures every text that takes part in it.
            written.set_in_layout(row in longest)


def short(name: str) -> str:
    """A name that fits beside a chart: its middle left out where it is long, nothing that is not printed."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    half = _NAME_LENGTH // 2
    return visible if len(visible) <= _NAME_LENGTH else f"{visible[:half]}…{visible[1 - half :]}"


def bars(ax: Axes, lengths: Floats, colours: str | Sequence[str], label: str, start: float = 0.0) -> None:
    """A bar in each row from ``start``; none where the length is null."""
    there = np.flatnonzero(np.isfinite(lengths))
    chosen = colours if isinstance(colours, str) else [colours[row] for row in there.tolist()]
    ax.hlines(there, start, lengths[there], colors=chosen, linewidth=5.5, label=label)


def marks(ax: Axes, at: Floats, marker: str | int, label: str, **looks: Any) -> Any:
    """A mark in each row, none where the place is null; returned to stand in a key."""
    there = np.flatnonzero(np.isfinite(at))
    return ax.plot(at[there], there, marker=marker, linestyle="none", label=label, **looks)[0]


def date_axis(ax: Axes, dates: pd.DatetimeIndex, *, named: bool = True) -> None:
    """Dates side by side, without the days between them; at most six months named, each at its first date."""
    _without_label(ax.xaxis)
    ax.set_xlim(-0.5, len(dates) - 0.5)
    months = dates.year * 12 + dates.month - 1
    first = np.flatnonzero(np.diff(months, prepend=months[0] - 1))
    apart = next((step for step in _MONTHS_APART if (months[first] % step == 0).sum() <= _DATES_NAMED), 1)
    at = first[months[first] % apart == 0]
    ax.set_xticks(at, [f"{date:%Y-%m}" for date in dates[at]] if named else [""] * len(at))


def _without_label(axis: Axis) -> None:
    """Give an axis that has no label a place for it: Matplotlib would measure every tick for one that fits."""
    axis.set_label_coords(0.5, 0)


def percent_axis(axis: Axis, ticks: int = 5) -> None:
    """Fractions in percent, with no more digits than they have."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def percent(value: float) -> str:
    """A fraction in percent; a null in words."""
    return f"{value:.1%}" if np.isfinite(value) else "no value"
