"""Batches as rectangles: what is text and what is padding."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from rnnbook import charts, plot


@pytest.fixture
def axes(style):  # noqa: ARG001 (it acts by being there)
    return plt.subplots(1, 2, sharex=True, sharey=True)[1]


def test_a_rectangle_is_as_wide_as_its_longest_row(axes):
    kinds = {"random": [[2, 9], [3, 10]], "like length": [[2, 3], [9, 10]]}
    assert charts.plot_rectangles(kinds, axes=axes) is axes[0]
    for ax, batches in zip(axes, kinds.values(), strict=True):
        bars = [(round(bar.get_y() + 0.5, 6), bar.get_x(), bar.get_width()) for bar in ax.patches]
        places = {0: batches[0][0], 1: batches[0][1], 5: batches[1][0], 6: batches[1][1]}
        assert {y: width for y, x, width in bars if x == 0} == places
        widths = [max(batch) for batch in batches]
        for y, x, width in bars:
            if x:
                assert x + width == widths[int(y > 2)]
    assert [ax.get_xlabel() for ax in axes] == ["time step, random", "time step, like length"]
    assert axes[0].yaxis_inverted()
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["tokens", "padding"]


def test_panels_are_made_where_none_are_given():
    with mpl.rc_context():
        plot.use_style()
        ax = charts.plot_rectangles({"random": [[1, 2]], "like length": [[2, 2]]})
        assert len(ax.figure.axes) == 2
        plt.close("all")
