"""Colours that lie side by side differ for the colour-blind and in print, by simulation.

Full protanopia, deuteranopia and tritanopia after Machado, Oliveira & Fernandes (2009), and print without colour by
luminance; distances are ΔE of CIE 1976. Above 10 two colours are told apart at a glance.
"""

from itertools import combinations, pairwise

import numpy as np
import pytest

from weights_pipeline.charts import report, style

APART = 15.0
"""Any two colours of lines, seen with any of the deficiencies."""
IN_GREY = 8.0
"""Two colours that nothing but colour tells apart, in print."""

SEEN = {
    "by most": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "in grey": [[0.2126, 0.7152, 0.0722]] * 3,
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colour, how):
    coded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    x, y, z = _XYZ @ np.clip(np.array(SEEN[how]) @ linear, 0.0, 1.0) / _WHITE
    f = [np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, other, how):
    return float(np.linalg.norm(lab(one, how) - lab(other, how)))


def test_the_simulation_is_the_published_one():
    assert lab("#ffffff", "by most") == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#ff0000", "by most") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    # Red and green of one lightness are the classic pair that deuteranopes take for each other.
    assert distance("#ff0000", "#6f8f00", "deuteranopia") < 0.4 * distance("#ff0000", "#6f8f00", "by most")
    assert distance("#123456", "#123456", "in grey") == 0.0


@pytest.mark.parametrize("how", [how for how in SEEN if how != "in grey"])
def test_any_two_lines_differ_in_colour(how):
    near = {pair: distance(*pair, how) for pair in combinations(style.SERIES, 2)}
    assert min(near.values()) > APART


def test_lines_of_one_dash_differ_in_print():
    lines = [(colour, report.DASHES[place % len(report.DASHES)]) for place, colour in enumerate(style.SERIES)]
    alike = [(one, other) for (one, a), (other, b) in combinations(lines, 2) if a == b]
    assert alike
    assert min(distance(*pair, "in grey") for pair in alike) > IN_GREY


def test_bars_and_their_marks_and_gains_and_losses_differ_for_everybody():
    for pair in ((style.BLUE, style.ORANGE), (style.BLUE, style.YELLOW), (style.BLUE, style.VERMILION)):
        assert min(distance(*pair, how) for how in SEEN) > IN_GREY - 0.5


def test_each_regime_is_darker_than_the_calmer_one_for_everybody():
    for calmer, worse in pairwise(style.REGIMES.values()):
        for how in SEEN:
            assert lab(calmer, how)[0] > lab(worse, how)[0] + 5.0
        assert distance(calmer, worse, "in grey") > IN_GREY
