"""What every chart shares: colours, sizes, and how a figure becomes bytes.

Scope: what makes the charts look like one hand drew them, and the same bytes for the same figures. Not here: what a
chart shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

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

REGIMES: Final = {"NORMAL": "#f2f2f2", "ELEVATED": "#f3d67c", "STRESS": "#f0b27a", "CRISIS": "#c0392b"}
"""Risk regimes, each darker than the calmer one, so that they are ordered in grey too."""

SCALE: Final = ("#ffffff", SKY, BLUE, "#00284a")
"""From nothing to the largest, ever darker."""

_LOOK: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so that every machine draws the same
    "font.size": 8,
    "text.parse_math": False,  # a dollar in a strategy's name begins no formula
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


@contextmanager
def look() -> Iterator[None]:
    """Draw inside this: axes and texts take their looks when they are made, not when they are saved."""
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        yield


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out to fit what is drawn on it."""
    from matplotlib.figure import Figure

    with look():
        return Figure(figsize=(width, height), dpi=100, layout="constrained")


@lru_cache(maxsize=1)  # of a figure that several tables show one after the other
def png(drawn: Figure) -> bytes:
    """A figure as PNG, without a date, in a fixed set of colours: a quarter of the size, for an event log to keep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(drawn)
    with look():
        canvas.draw()
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    pixels.quantize(palette=palette, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()


def svg(drawn: Figure) -> str:
    """A figure as an SVG element to stand inside an HTML page, without a date, XML declaration or document type."""
    buffer = io.BytesIO()
    with look():
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]


def markdown(drawn: Figure, title: str) -> str:
    """A figure as an image inside Markdown, the one form of picture that Dagster's metadata shows."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png(drawn)).decode()})"


@cache
def _palette() -> list[int]:
    """Every colour of the charts with its tints and a shade, the scale, and greys, as bytes of red, green and blue.

    A palette made from the picture would leave out the colours of small marks. Of colours that hardly differ the first
    one stays, as Pillow finds the nearest by their upper bits.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    named = np.array([to_rgb(name) for name in ("white", *SERIES, GREY, PALE, *REGIMES.values())])
    tints = [1 - share * (1 - named) for share in (1, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12)]
    scale = LinearSegmentedColormap.from_list("scale", SCALE)(np.linspace(0, 1, 48))[:, :3]
    greys = np.repeat(np.linspace(0, 1, 32)[:, None], 3, axis=1)
    colours = np.rint(255 * np.concatenate([*tints, named / 2, scale, greys])).astype(int)
    _, first = np.unique(colours // 8, axis=0, return_index=True)
    return [int(part) for colour in colours[np.sort(first)] for part in colour]
