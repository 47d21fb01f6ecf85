"""Figures of the chapter on backpropagation through time."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rnnbook import draw, plot


def test_errors_are_drawn_on_two_logarithmic_axes(ax):
    series = {"one-sided": [1e-3, 1e-4], "central": [1e-6, 1e-8]}
    plot.plot_errors(series, x=[0.1, 0.01], xlabel="step", notes={"rounding": (0.05, 1e-5)}, ax=ax)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "relative error (log scale)")
    for line, (name, values) in zip(ax.lines, series.items(), strict=True):
        assert line.get_label() == name
        assert line.get_ydata().tolist() == values
    for look in ("get_marker", "get_color", "get_linestyle"):
        assert len({getattr(line, look)() for line in ax.lines}) == 2
    (note,) = ax.texts
    assert (note.get_text(), note.xy) == ("rounding", (0.05, 1e-5))


def test_the_way_back_has_one_box_a_step_and_every_factor(ax):
    draw.draw_backward(4, ax=ax)
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(boxes) == 4 + 2  # the states, the loss, the weight
    faint = [arrow for arrow in arrows if arrow.get_edgecolor()[3] < 1]
    assert len(faint) == 4 + 4  # forward: into each state, and from it to the loss
    assert len(arrows) - len(faint) == 4 + 4 + 3  # from the loss, into the weight, back in time
    said = [text.get_text() for text in ax.texts]
    for t in (2, 3, 4):
        assert any("W_{hh}^\\top" in text and f"(1-h_{t}^2)" in text for text in said)
    for t in (1, 2, 3, 4):
        assert any(f"e_{t}$" in text for text in said)
        assert f"$\\delta_{t}\\,h_{t - 1}^\\top$" in said


def test_arrows_back_in_time_point_to_the_left(ax):
    draw.draw_backward(3, ax=ax)
    blue = [arrow for arrow in ax.patches if isinstance(arrow, FancyArrowPatch) and _is(arrow, plot.BLUE)]
    assert len(blue) == 2
    for arrow in blue:
        (start, _), (end, _) = arrow._posA_posB
        assert start > end


def _is(patch, colour):
    return mpl.colors.to_hex(patch.get_edgecolor()).upper() == colour.upper()
