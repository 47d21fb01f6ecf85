"""Figures of the chapter on fast cells."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from rnnbook import charts
from rnnbook.results import Row

pytestmark = pytest.mark.usefixtures("style")


def row(task, model, values):
    return Row(task, model, "speed_ratio", [*range(len(values))], values, 0.0, 0.0, 0.0, [], 0)


def test_calls_are_bars_with_a_piece_for_each_kind_and_their_sum():
    calls = {
        "loop": {"products": 3.0, "other": 10.0, "views": 20.0},
        "layer": {"products": 1.0, "other": 2.0, "views": 0.0},
    }
    ax = charts.plot_calls(calls, ax=plt.subplots()[1])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["loop", "layer"]
    assert ax.yaxis_inverted()  # the first form stands on top
    assert [bars.get_label() for bars in ax.containers] == ["products", "other", "views"]
    for bars, kind in zip(ax.containers, calls["loop"], strict=True):
        assert [bar.get_width() for bar in bars] == [form[kind] for form in calls.values()]
    assert [bar.get_x() for bar in ax.containers[2]] == [13.0, 3.0]
    assert [text.get_text() for text in ax.texts] == ["33", "3"]
    assert "calls per time step" in ax.get_xlabel()


def test_speed_has_a_panel_for_each_layer_and_whiskers_to_the_extremes():
    rows = [
        row("LSTM, H=64", "slow", [0.2, 0.1, 0.3]),
        row("LSTM, H=64", "fast", [0.6, 0.5, 0.7]),
        row("LSTM, H=128", "slow", [0.4, 0.4, 0.5]),
        row("LSTM, H=128", "fast", [0.8, 0.9, 0.85]),
        row("GRU, H=64", "slow", [1.0, 1.1, 1.2]),
        row("GRU, H=128", "slow", [1.3, 1.4, 1.5]),
    ]
    first = charts.plot_speed(rows)
    lstm, gru = first.figure.axes
    assert lstm is first
    reference, *lines = lstm.lines
    assert list(reference.get_ydata()) == [1.0, 1.0]
    assert [line.get_label() for line in lines] == ["slow", "fast"]
    assert [list(line.get_ydata()) for line in lines] == [[0.2, 0.4], [0.6, 0.85]]
    assert list(lines[0].get_xdata()) == pytest.approx([64, 128], rel=0.05)
    assert lines[0].get_xdata()[0] < lines[1].get_xdata()[0]  # or whiskers would hide each other
    assert lstm.get_ylim()[1] > 1.5  # the other panel's tallest whisker
    assert len({line.get_marker() for line in lines}) == 2
    whiskers = [tuple(segment[:, 1]) for marks in lstm.collections for segment in marks.get_segments()]
    assert whiskers == [(0.1, 0.3), (0.4, 0.5), (0.5, 0.7), (0.8, 0.9)]
    assert [list(line.get_ydata()) for line in gru.lines[1:]] == [[1.1, 1.4], []]
    assert [text.get_text() for text in gru.get_xticklabels()] == ["64", "128"]
    assert (lstm.get_xlabel(), gru.get_xlabel()) == ("H of the LSTM", "H of the GRU")
    assert "torch.nn = 1" in lstm.get_ylabel()
    (legend,) = first.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["slow", "fast"]
