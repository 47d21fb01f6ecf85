"""The figures of the chapter on speed: what is drawn where, and the labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnbook.charts_optimization import draw_profile, plot_intervals, plot_knobs, plot_roof
from rnnbook.results import score_row

pytestmark = pytest.mark.usefixtures("style")

ROW = score_row("task", "a", [0, 1], [0.5, 0.7], num_items=10, num_parameters=1)


def bars_of(ax):
    """Return mean and ends of each interval: ((x, y), [[x, y], [x, y]])."""
    found = []
    for container in ax.containers:
        points, _, (bars,) = container
        found += list(
            zip(points.get_xydata().tolist(), [s.tolist() for s in bars.get_segments()], strict=True)
        )
    return found


def test_a_call_lies_below_its_caller_and_says_both_times():
    ax = draw_profile([("all", 0, 0, 10), ("one", 1, 1, 6), ("two", 1, 7, 2), ("deep", 2, 2, 5)])
    assert [text.get_text() for text in ax.texts] == [
        "all\n10 / 2",
        "one\n6 / 1",
        "two\n2 / 2",
        "deep\n5 / 5",
    ]
    assert [text.get_position()[1] for text in ax.texts] == [0, -1, -1, -2]
    places = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert places == [(0, 10), (1, 6), (7, 2), (1, 6), (2, 5), (7, 2), (2, 5)]


def test_the_roof_bends_where_both_limits_are_equal():
    row = replace(ROW, mean=0.5, low=0.4, high=0.7)
    ax = plot_roof({"H=1": {1.0: row, 32.0: row}}, 0.25)
    roof = ax.lines[0].get_xydata().tolist()
    assert roof[1] == [4.0, 1.0]
    assert roof[0] == pytest.approx([1 / 1.5, 0.25 / 1.5])
    assert roof[2][1] == 1
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "FLOP for each byte of weights"
    (_, _, (bars,)) = ax.containers[0]
    assert bars.get_segments()[1].ravel().tolist() == pytest.approx([32, 0.4, 32, 0.7])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["H=1"]


def test_intervals_share_a_line_for_each_model():
    other = replace(ROW, model="b", mean=2.0, low=1.5, high=3.0)
    ax = plot_intervals({"p50": [ROW, other], "p99": [other]}, xlabel="speed")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    (first, second, third) = bars_of(ax)
    assert first[0] == pytest.approx([ROW.mean, -0.1])
    assert second[0] == pytest.approx([2, 0.9])
    assert third[0] == pytest.approx([2, 1.1])
    assert [x for x, _ in second[1]] == pytest.approx([1.5, 3.0])
    assert ax.get_xscale() == "log"
    assert ax.lines[0].get_xdata()[0] == 1
    assert ax.get_xlabel() == "speed"
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["p50", "p99"]


def test_shares_begin_at_zero_and_one_series_needs_no_legend():
    ax = plot_intervals({"": [ROW]}, xlabel="share", ratios=False)
    assert ax.get_xscale() == "linear"
    assert ax.lines[0].get_xdata()[0] == 0
    assert not ax.figure.legends


def test_each_knob_has_a_panel():
    runs = [
        {
            "learning_rate": 10.0**-k,
            "num_layers": k,
            "width": k,
            "dropout": 0.1 * k,
            "accuracy": 0.5 + 0.1 * k,
        }
        for k in range(4)
    ]
    ax = plot_knobs(runs, dict.fromkeys(("learning_rate", "num_layers", "width", "dropout"), runs[1:]))
    axes = ax.figure.axes
    assert [a.get_xlabel() for a in axes] == ["learning rate", "number of layers", "width", "dropout"]
    assert [a.get_xscale() for a in axes] == ["log", "linear", "linear", "linear"]
    circles, line = axes[1].lines
    assert circles.get_ydata() == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert list(circles.get_xdata()) == [0, 1, 2, 3]
    assert circles.get_linestyle() == "None"
    assert line.get_xdata().tolist() == [1, 2, 3]
