"""Figures of the chapter on long sequences: what is drawn, and what stands at the axes."""

from __future__ import annotations

import pytest

from rnnbook.charts_optimization import draw_scan, plot_growth

pytestmark = pytest.mark.usefixtures("style")


@pytest.mark.parametrize("num_steps", [2, 4, 8, 16])
def test_scan_joins_every_step_with_all_before_it(num_steps):
    ax = draw_scan(num_steps)
    boxes = {text.get_position(): text for text in ax.texts if text.get_bbox_patch()}
    covers = {place: {int(place[0])} for place in boxes if place[1] == 0}
    for grey, orange in zip(ax.lines[::2], ax.lines[1::2], strict=True):
        (own, place), (other, end) = (list(zip(*line.get_data(), strict=True)) for line in (grey, orange))
        assert place == end
        assert not covers[own] & covers[other]  # no step is joined twice
        covers[place] = covers[own] | covers[other]
    rounds = num_steps.bit_length() - 1
    assert len(ax.lines) // 2 == 2 * num_steps - 2 - rounds
    assert min(y for _, y in boxes) == -max(2 * rounds - 1, 1)
    for place, box in boxes.items():
        first, _, last = box.get_text().partition("–")
        assert covers[place] == set(range(int(first), int(last or first) + 1))
    ends = {
        t: covers[min((at for at in boxes if at[0] == t), key=lambda at: at[1])]
        for t in range(1, num_steps + 1)
    }
    assert ends == {t: set(range(1, t + 1)) for t in ends}  # all states are there
    for place, box in boxes.items():
        assert (box.get_bbox_patch().get_facecolor()[:3] != (1, 1, 1)) == (1 in covers[place])


def test_growth_draws_medians_with_whiskers_and_one_look_a_name():
    time = {"loop": {64: [1.0, 2.0, 6.0], 256: [8.0, 8.0, 9.0]}, "scan": {64: [3.0], 256: [4.0]}}
    memory = {"scan": {64: [10.0], 256: [40.0]}}
    first = plot_growth({"time": time, "memory": memory}, xlabel="time steps T")
    left, right = first.figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [[2, 8], [3, 4]]
    assert [list(line.get_xdata()) for line in left.lines] == [[64, 256]] * 2
    whiskers = [tuple(part[:, 1]) for marks in left.collections for part in marks.get_segments()]
    assert whiskers == [(1, 6), (8, 9), (3, 3), (4, 4)]
    assert left.lines[1].get_color() == right.lines[0].get_color() != left.lines[0].get_color()
    assert [left.get_ylabel(), right.get_ylabel(), right.get_xlabel()] == ["time", "memory", "time steps T"]
    assert {left.get_xscale(), left.get_yscale(), right.get_yscale()} == {"log"}
    assert [text.get_text() for text in left.get_xticklabels()] == ["64", "256"]
    (legend,) = first.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["loop", "scan"]


def test_growth_without_marks_draws_lines_alone():
    ax = plot_growth({"speed-up": {"ideal": {n: [n] for n in range(1, 101)}}}, xlabel="N", marks=False)
    assert ax.lines[0].get_marker() == ""
    assert not ax.collections
