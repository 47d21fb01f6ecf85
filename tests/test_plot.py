"""Figures show the numbers they are given, on labelled axes, in colours that most eyes can tell apart."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from rnnbook import draw, plot
from rnnbook.results import score_row

pytestmark = pytest.mark.usefixtures("style")


def rows():
    return [
        score_row("t", "TF-IDF", [0], [0.9], num_items=1000, num_parameters=1),
        score_row("t", "LSTM", [0, 1, 2], [0.86, 0.88, 0.87], num_items=1000, num_parameters=1),
    ]


def test_lines_are_the_numbers_and_are_told_apart_by_more_than_colour(ax):
    series = {"training": [3.0, 2.0], "validation": [3.1, 2.9]}
    plot.plot_lines(series, x=[1, 2], xlabel="epoch", ylabel="loss (nats)", ax=ax)
    for line, (name, values) in zip(ax.lines, series.items(), strict=True):
        assert line.get_label() == name
        assert line.get_xdata().tolist() == [1, 2]
        assert line.get_ydata().tolist() == values
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert len({line.get_color() for line in ax.lines}) == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (nats)")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(series)


def test_scores_stand_at_their_means_between_their_ends(ax):
    linear, lstm = rows()
    plot.plot_scores([linear, lstm], ax=ax)
    names = dict(zip((tick.get_text() for tick in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert names["TF-IDF"] > names["LSTM"]  # the first row stands on top
    for row in (linear, lstm):
        here = [line for line in ax.lines if set(line.get_ydata()) == {names[row.model]}]
        data = [list(line.get_xdata()) for line in here]
        assert [row.low, row.high] in data
        assert [row.mean] in data
        assert row.values in data
    assert sum(line.get_marker() == "|" for line in ax.lines) == 1  # the seeds of the LSTM
    dots = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert len({dot.get_marker() for dot in dots}) == len({dot.get_color() for dot in dots}) == 2
    assert "accuracy" in ax.get_xlabel()


def test_a_reading_is_one_bar_a_word_from_top_to_bottom(ax):
    probability = [0.7, 0.2, 0.5]
    plot.plot_reading(["a", "dull", "film"], probability, ax=ax)
    bars = ax.patches
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx(probability)
    colours = [to_hex(bar.get_facecolor()).upper() for bar in bars]
    assert colours == [plot.BLUE, plot.ORANGE, plot.BLUE]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "dull", "film"]
    assert ax.yaxis_inverted()
    assert ax.get_xlim() == (0, 1)
    assert "probability" in ax.get_xlabel()


def test_influence_leaves_exact_zeros_white_and_counts_from_one(ax):
    norms = torch.tensor([[0.5, 0.0], [1e-3, 2.0]])
    plot.plot_influence(norms, ax=ax)
    image = ax.images[0]
    assert image.get_array().mask.tolist() == [[False, True], [False, False]]
    assert image.get_extent() == [0.5, 2.5, 2.5, 0.5]
    assert image.norm.vmax == 2.0
    assert "$s$" in ax.get_xlabel()
    assert "$t$" in ax.get_ylabel()
    assert "partial" in ax.figure.axes[1].get_ylabel()


@pytest.mark.parametrize("num_steps", [2, 4])
def test_the_unrolled_drawing_has_every_step_and_one_matrix_for_all(ax, num_steps):
    draw.draw_unrolled(num_steps, ax=ax)
    words = [text.get_text() for text in ax.texts]
    for step in range(1, num_steps + 1):
        assert {f"$x_{{{step}}}$", f"$h_{{{step}}}$", f"$\\hat{{y}}_{{{step}}}$"} <= set(words)
    assert f"$h_{{{num_steps + 1}}}$" not in words
    assert words.count("$W_{ih}$") == num_steps + 1  # and once in the loop
    assert words.count("$W_{hh}$") == num_steps


def test_without_an_axes_the_current_one_is_used(ax):
    assert plot.plot_reading(["a"], [0.5]) is ax


COLOURS = {name: getattr(plot, name) for name in ("BLUE", "ORANGE", "GREEN", "PURPLE", "YELLOW", "SKY")}
# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as a colour-blind eye sees it.
EYES = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def seen(colour: str, eye: str) -> np.ndarray:
    """Return the colour as a point of CIE L*a*b*, seen by that eye."""
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_the_palette_can_be_told_apart(eye):
    points = {name: seen(colour, eye) for name, colour in COLOURS.items()}
    names = list(points)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.linalg.norm(points[one] - points[other]) > 12, (one, other)


def test_red_and_green_would_fail_that_test():
    one, other = (seen(colour, "deuteranopia") for colour in ("#B05030", "#7A7030"))
    assert np.linalg.norm(one - other) < 12


def test_the_style_is_the_palette():
    cycle = [colour.upper() for colour in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]
    assert cycle[:2] == [plot.BLUE, plot.ORANGE]
    assert set(cycle) <= {*COLOURS.values(), "#000000", plot.GREY}


def test_figures_have_the_same_bytes_each_time(tmp_path):
    sizes = []
    for name in ("one.png", "two.png"):
        figure, ax = plt.subplots()
        plot.plot_scores(rows(), ax=ax)
        figure.savefig(tmp_path / name, metadata={"Software": None})
        sizes.append((tmp_path / name).read_bytes())
    assert sizes[0] == sizes[1]
