"""What every chart shares: colours, sizes, and how a figure becomes bytes.

Here belongs what makes the charts look like one hand drew them, and the same bytes for the same figures. Here does not
belong what a chart shows.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with every common kind of colour blindness, and in grey by lightness.
BLACK: Final = "#222222"
GREY: Final = "#8c8c8c"
PALE: Final = "#d9d9d9"
ORANGE: Final = "#e69f00"
SKY: Final = "#56b4e9"
GREEN: Final = "#009e73"
YELLOW: Final = "#f0e442"
BLUE: Final = "#0072b2"
VERMILION: Final = "#d55e00"
PURPLE: Final = "#cc79a7"
SERIES: Final = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, YELLOW)

REGIMES: Final = {"NORMAL": "#f2f2f2", "ELEVATED": "#f7e3a1", "STRESS": "#f0b27a", "CRISIS": "#c0392b"}
"""Risk regimes, each darker than the calmer one, so that they are ordered in grey too."""

_LOOK: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so that every machine draws the same
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "weights-pipeline",  # element ids follow from this instead of a random number
    "svg.fonttype": "none",
}


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out to fit what is drawn on it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        return Figure(figsize=(width, height), dpi=100, layout="constrained")


def png(drawn: Figure) -> bytes:
    """A figure as PNG, without a date."""
    return _saved(drawn, "png", {"Software": None})


def svg(drawn: Figure) -> str:
    """A figure as an SVG element to stand inside an HTML page, without a date, XML declaration or document type."""
    text = _saved(drawn, "svg", {"Date": None, "Creator": None}).decode()
    return text[text.index("<svg") :]


def markdown(drawn: Figure, title: str) -> str:
    """A figure as an image inside Markdown, the one form of picture that Dagster's metadata shows."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png(drawn)).decode()})"


def _saved(drawn: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(_LOOK):
        drawn.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
