"""The figure of two runs that part: labels, the median, and zero at the bottom."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from rnnbook.charts import plot_parting


def test_runs_that_part_are_drawn_with_their_median_and_equal_ones_at_zero():
    steps = [1, 10, 100]
    distances = {
        "again": [[0.0, 0.0, 0.0]],
        "reversed": [[1e-8, 1e-6, 1.0], [3e-8, 1e-4, 1.0], [2e-8, 1e-5, 0.1]],
    }
    ax = plot_parting(distances, steps, ax=plt.figure().add_subplot())
    thick = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(thick) == ["again", "reversed"]
    assert thick["reversed"].get_ydata() == pytest.approx([2e-8, 1e-5, 1.0])
    assert list(thick["again"].get_ydata()) == [1e-10] * 3
    assert ax.get_yticklabels()[0].get_text() == "0"
    assert ax.get_yticks()[0] == 1e-10
    assert len(ax.lines) == 2 + 1 + 3
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "steps (log scale)"
    assert ax.get_ylabel() == "relative difference (log scale)"
    plt.close(ax.figure)
