"""The chart of the allocator: the state of the book, its risk regime, and the scalar that follows.

Scope: one figure over time, which all tables of the allocator show. Not here: what the scalar does to weights
(``weights``).
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

_HEIGHT: Final = 3.6
_VOLATILITIES: Final = (
    ("port_rvol_20d", style.BLUE, "-", "volatility, 20 sessions"),
    ("port_rvol_60d", style.VERMILION, "--", "60 sessions"),
)


def allocator(state: pd.DataFrame, regimes: pd.DataFrame, scalars: pd.DataFrame, as_of: pd.Timestamp) -> Figure:
    """Drawdown, volatility and scalar of the last year, on a ribbon of risk regimes.

    Parameters
    ----------
    state, regimes, scalars
        Rows of ``allocator_state``, ``risk_regime`` and ``risk_scalar``, back to a year before ``as_of`` where there
        are so many.
    as_of
        Last session to show.

    Returns
    -------
    Figure
        A panel for each; scalars of sleeves are thin lines beside that of the book.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    with style.look():
        regimes = regimes[regimes["session"] <= as_of].tail(SESSIONS)
        if regimes.empty:
            return _nothing(as_of)
        sessions = pd.DatetimeIndex(regimes["session"])
        days, state = np.arange(len(sessions)), state.set_index("session").reindex(sessions)
        paths = scalars.pivot_table(index="session", columns="sleeve", values="scalar").reindex(sessions)
        depth = state["dd_level"].to_numpy(np.float64)
        drawn = style.figure(parts.WIDTH, _HEIGHT)
        axes = list(drawn.subplots(3, 1))
        for ax in axes:
            ax.tick_params(labelsize=7, length=2)
            _ribbon(ax, regimes["regime"].tolist())
            parts.date_axis(ax, sessions, named=ax is axes[-1])
        upper, middle, lower = axes
        upper.plot(days, depth, color=style.BLACK, linewidth=1.2, label="drawdown")
        upper.set_ylim(min(float(np.nanmin(depth, initial=0.0)) * 1.1, -0.01), 0)
        _percent_axis(upper, "Drawdown")
        handles: list[Any] = [
            Patch(facecolor=style.REGIMES[name], edgecolor=style.GREY, label=name.lower()) for name in REGIMES
        ]
        for column, colour, line, label in _VOLATILITIES:
            handles += middle.plot(days, state[column], color=colour, linewidth=1.2, linestyle=line, label=label)
        _percent_axis(middle, "Volatility")
        middle.set_ylim(bottom=0)
        for sleeve in paths:
            thick = 1.6 if sleeve == WHOLE_BOOK else 0.7
            lower.plot(days, paths[sleeve], color=style.BLACK, linewidth=thick, label=str(sleeve))
        if len(paths.columns) > 1:
            handles.append(Line2D([], [], color=style.BLACK, linewidth=0.7, label="sleeve"))
        lower.set_ylim(0, 1.05)
        lower.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        lower.set_ylabel("Scalar", fontsize=7)
        last = state.iloc[-1]
        parts.heading(
            drawn,
            f"Risk regime and allocator up to {_day(sessions[-1])}",
            f"{regimes['regime'].iloc[-1]} for {_sessions(regimes['sessions_in_regime'].iloc[-1])}, "
            f"drawdown {parts.percent(depth[-1])}, volatility {parts.percent(last['port_rvol_20d'])}, "
            + (f"correlation {last['corr_20d']:.2f}, " if np.isfinite(last["corr_20d"]) else "")
            + f"scalar {paths[WHOLE_BOOK].iloc[-1]:.2f}",
        )
        parts.key(drawn, handles)
        return drawn


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


def _percent_axis(ax: Axes, label: str) -> None:
    ax.set_ylabel(label, fontsize=7)
    parts.percent_axis(ax.yaxis, 4)
    ax.grid(axis="y")


def _day(session: pd.Timestamp) -> str:
    return f"{session:%Y-%m-%d}"


def _sessions(count: int) -> str:
    return f"{count} session" + ("" if count == 1 else "s")
