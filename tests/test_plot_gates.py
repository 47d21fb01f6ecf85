"""The gates as a picture, and the drawing of an LSTM cell."""

from __future__ import annotations

import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon

from rnnbook import draw, plot


def test_gates_are_a_column_a_word_on_a_scale_from_shut_to_open(ax):
    gates = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.4]])  # (T, H)
    assert plot.plot_gates(gates, ["too", "dull"], ylabel="input gate", ax=ax) is ax
    image = ax.images[0]
    assert image.get_array().tolist() == gates.T.tolist()
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["too", "dull"]
    assert ax.get_ylabel() == "input gate"
    assert "open" in ax.figure.axes[1].get_ylabel()


def test_the_lstm_cell_has_four_parts_three_valves_and_one_straight_road(ax):
    assert draw.draw_lstm_cell(ax=ax) is ax
    words = [text.get_text() for text in ax.texts]
    assert {"$f_t$", "$i_t$", "$g_t$", "$o_t$", "keep", "write", "show", "+", "tanh"} <= set(words)
    assert {"$c_{t-1}$", "$c_t$", "$h_{t-1}$", "$h_t$", "$x_t$"} <= set(words)
    valves = [patch for patch in ax.patches if isinstance(patch, Polygon) and len(patch.get_xy()) == 5]
    assert len(valves) == 3
    road = max(ax.lines, key=lambda line: line.get_linewidth())
    assert len(set(road.get_ydata())) == 1
    assert to_hex(road.get_color()).upper() == plot.ORANGE


def test_the_current_axes_is_used_where_none_is_given(ax):
    assert draw.draw_lstm_cell() is ax
