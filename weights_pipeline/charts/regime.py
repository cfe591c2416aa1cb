"""Charts of the allocator: the state of the book, its risk regime, and the scalar that follows.

Scope: figures over time, on a ribbon of regimes. Not here: what the scalar does to weights (``weights``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from weights_pipeline.charts import parts, style
from weights_pipeline.core.allocator.regime import REGIMES
from weights_pipeline.core.allocator.scalar import WHOLE_BOOK
from weights_pipeline.core.allocator.state import WARM_UP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SESSIONS: Final = 252
"""How far back a chart goes."""


def state(rows: pd.DataFrame, as_of: pd.Timestamp) -> Figure:
    """Drawdown and volatility of the reference portfolio over the last year.

    Parameters
    ----------
    rows
        Rows of ``allocator_state``, back to a year before ``as_of`` where there are so many.
    as_of
        Last session to show.
    """
    with style.look():
        rows = _recent(rows, as_of)
        if rows.empty:
            return _nothing(as_of)
        drawn, (upper, lower) = _canvas(2)
        last = rows.iloc[-1]
        moved = last["corr_20d"] == last["corr_20d"]
        parts.heading(
            drawn,
            f"Allocator state up to {_day(last['session'])}",
            f"drawdown {parts.percent(last['dd_level'])}, volatility of 20 sessions "
            f"{parts.percent(last['port_rvol_20d'])}, "
            + (f"mean correlation {last['corr_20d']:.2f}" if moved else "fewer than two strategies moved"),
        )
        _drawdown(upper, rows["dd_level"].to_numpy(np.float64))
        days = np.arange(len(rows))
        handles = [
            lower.plot(days, rows[column], color=colour, linewidth=1.2, linestyle=line, label=label)[0]
            for column, colour, line, label in (
                ("port_rvol_20d", style.BLUE, "-", "volatility, 20 sessions"),
                ("port_rvol_60d", style.VERMILION, "--", "60 sessions"),
            )
        ]
        _percent_axis(lower, "Volatility")
        lower.set_ylim(bottom=0)
        for ax in (upper, lower):
            parts.date_axis(ax, pd.DatetimeIndex(rows["session"]), named=ax is lower)
        parts.key(drawn, handles)
        return drawn


def risk(
    regimes: pd.DataFrame,
    as_of: pd.Timestamp,
    state: pd.DataFrame | None = None,
    scalars: pd.DataFrame | None = None,
) -> Figure:
    """Risk regimes of the last year as a ribbon, with the drawdown and the scalar on it where they are given.

    Parameters
    ----------
    regimes
        Rows of ``risk_regime``, back to a year before ``as_of`` where there are so many.
    as_of
        Last session to show.
    state, scalars
        Rows of ``allocator_state`` and ``risk_scalar`` over the same sessions; one of them at least.

    Returns
    -------
    Figure
        A panel for each of the two; scalars of sleeves are thin lines beside that of the book.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    with style.look():
        regimes = _recent(regimes, as_of)
        if regimes.empty:
            return _nothing(as_of)
        sessions = pd.DatetimeIndex(regimes["session"])
        drawn, axes = _canvas((state is not None) + (scalars is not None))
        last = regimes.iloc[-1]
        said = [f"{last['regime']} for {_sessions(last['sessions_in_regime'])}"]
        handles: list[Any] = [
            Patch(facecolor=style.REGIMES[name], edgecolor=style.GREY, label=name.lower()) for name in REGIMES
        ]
        for ax in axes:
            _ribbon(ax, regimes["regime"].tolist())
            parts.date_axis(ax, sessions, named=ax is axes[-1])
        panels = iter(axes)
        if state is not None:
            depth = state.set_index("session")["dd_level"].reindex(sessions).to_numpy(np.float64)
            said.append(f"drawdown {parts.percent(depth[-1])}")
            _drawdown(next(panels), depth)
        if scalars is not None:
            ax = next(panels)
            paths = scalars.pivot_table(index="session", columns="sleeve", values="scalar").reindex(sessions)
            for sleeve in paths:
                thick = 1.6 if sleeve == WHOLE_BOOK else 0.7
                ax.plot(np.arange(len(sessions)), paths[sleeve], color=style.BLACK, linewidth=thick, label=str(sleeve))
            said.append(f"scalar {paths[WHOLE_BOOK].iloc[-1]:.2f}")
            if len(paths.columns) > 1:
                handles.append(Line2D([], [], color=style.BLACK, linewidth=0.7, label="sleeve"))
            ax.set_ylim(0, 1.05)
            ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            ax.set_ylabel("Scalar", fontsize=7)
        parts.heading(drawn, f"Risk regime up to {_day(sessions[-1])}", ", ".join(said))
        parts.key(drawn, handles)
        return drawn


def _canvas(panels: int) -> tuple[Figure, list[Axes]]:
    drawn = style.figure(parts.WIDTH, 0.6 + (1.0 if panels > 1 else 1.4) * panels)
    axes = list(drawn.subplots(panels, 1, squeeze=False)[:, 0])
    for ax in axes:
        ax.tick_params(labelsize=7, length=2)
    return drawn, axes


def _nothing(as_of: pd.Timestamp) -> Figure:
    drawn = style.figure(parts.WIDTH, 0.6)
    parts.heading(
        drawn, f"No state of the allocator yet on {_day(as_of)}", f"the first is that of session {WARM_UP + 1}"
    )
    return drawn


def _ribbon(ax: Axes, regimes: list[str]) -> None:
    """A background as high as the panel, one piece for each run of the same regime."""
    names = np.array(regimes)
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    spans = np.diff(np.append(starts, len(names)))
    ax.broken_barh(
        list(zip(starts - 0.5, spans, strict=True)),
        (0, 1),
        transform=ax.get_xaxis_transform(),
        facecolors=[style.REGIMES[names[at]] for at in starts],
        linewidth=0,
        zorder=0,
    )


def _drawdown(ax: Axes, depth: parts.Floats) -> None:
    ax.plot(np.arange(len(depth)), depth, color=style.BLACK, linewidth=1.2, label="drawdown")
    ax.set_ylim(min(float(np.nanmin(depth, initial=0.0)) * 1.1, -0.01), 0)
    _percent_axis(ax, "Drawdown")


def _percent_axis(ax: Axes, label: str) -> None:
    ax.set_ylabel(label, fontsize=7)
    parts.percent_axis(ax.yaxis, 4)
    ax.grid(axis="y")


def _recent(rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    return rows[rows["session"] <= as_of].tail(SESSIONS)


def _day(session: pd.Timestamp) -> str:
    return f"{session:%Y-%m-%d}"


def _sessions(count: int) -> str:
    return f"{count} session" + ("" if count == 1 else "s")
