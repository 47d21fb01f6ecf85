"""Figures of the last chapter: paths are the shortest, curves are means over the seeds."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb

from rnnbook.charts_outlook import FAMILIES, draw_reach, plot_costs, plot_tracking, shortest

pytestmark = pytest.mark.usefixtures("style")

CHAIN = [((t, 0), (t, 1)) for t in (1, 2, 3)] + [((t, 1), (t + 1, 1)) for t in (1, 2)]
DIRECT = [((s, 0), (t, 1)) for t in (1, 2, 3) for s in range(1, t + 1)]


def test_the_shortest_path_is_found_and_none_is_an_error():
    assert shortest(CHAIN, (1, 0), (3, 1)) == [(1, 0), (1, 1), (2, 1), (3, 1)]
    assert shortest(DIRECT, (1, 0), (3, 1)) == [(1, 0), (3, 1)]
    with pytest.raises(ValueError, match="none that lead there"):
        shortest(CHAIN, (3, 0), (1, 1))


def test_each_way_has_a_panel_with_its_path_in_orange():
    first = draw_reach({"chain": CHAIN, "direct": DIRECT})
    panels = first.figure.axes
    assert [ax.get_xlabel() for ax in panels] == ["chain\n3 links", "direct\n1 link"]
    for ax, links, length in zip(panels, (CHAIN, DIRECT), (3, 1), strict=True):
        arrows = [text.arrow_patch for text in ax.texts]
        assert len(arrows) == len(links)
        assert sum(arrow.get_linewidth() > 2 for arrow in arrows) == length
        orange = [line for line in ax.lines if line.get_color() != "white"]
        assert len(orange) == length + 1
        places = {place for link in links for place in link}
        assert len(ax.lines) == len(places)
    assert {line.get_marker() for line in first.lines} == {"s", "o"}  # inputs and states differ in shape


def test_tracking_draws_means_whiskers_chance_and_the_lengths_of_training(ax):
    curves = {"GRU": {2: [1.0, 1.0], 64: [0.9, 1.0]}, "minGRU, one layer": {2: [0.8], 64: [0.5]}}
    assert plot_tracking(curves, trained=16, ax=ax) is ax
    chance, *lines = ax.lines
    assert list(chance.get_ydata()) == [0.5, 0.5]
    assert [list(line.get_ydata()) for line in lines] == [[1.0, 0.95], [0.8, 0.5]]
    assert [line.get_color() for line in lines] == [FAMILIES[name][0] for name in curves]
    whiskers = [tuple(part[:, 1]) for marks in ax.collections for part in marks.get_segments()]
    assert (0.9, 1.0) in whiskers
    (band,) = ax.patches
    assert band.get_x() + band.get_width() == 16
    assert ax.get_xscale() == "log"
    assert "accuracy" in ax.get_ylabel()
    assert "T" in ax.get_xlabel()
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == list(curves)


def test_an_unknown_model_is_refused_in_words(ax):
    with pytest.raises(ValueError, match="unknown models Elman; known: RNN, LSTM"):
        plot_tracking({"Elman": {2: [1.0]}}, trained=16, ax=ax)


def test_no_two_models_look_alike():
    looks = list(FAMILIES.values())
    assert len({(colour, str(dash)) for colour, dash, _ in looks}) == len(looks)
    assert len({marker for *_, marker in looks}) == len(looks)


def test_costs_keep_the_look_of_each_model_in_lines_whiskers_and_legend():
    time = {"GRU": {64: [1.0, 2.0, 3.0], 256: [2.0, 2.0, 2.0]}, "causal attention": {64: [2.0], 256: [9.0]}}
    first = plot_costs({"time": time, "memory": {"causal attention": {64: [5.0]}}}, xlabel="tokens")
    left, right = first.figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [[2, 2], [2, 9]]
    for lines in (left.lines, left.collections):
        found = [
            to_rgb(part.get_color()[0]) if lines is left.collections else part.get_color() for part in lines
        ]
        expected = [FAMILIES[name][0] for name in time]
        assert [to_rgb(colour) for colour in found] == [to_rgb(colour) for colour in expected]
    assert right.lines[0].get_marker() == left.lines[1].get_marker() == FAMILIES["causal attention"][2]
    (legend,) = first.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(time)
    assert [line.get_marker() for line in legend.get_lines()] == [FAMILIES[name][2] for name in time]
