"""Diagrams of the chapter on layers: what stands in them, and that packing is drawn as PyTorch packs."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch.nn.utils.rnn import pack_sequence

from rnnbook.draw import draw_core_modules, draw_packed
from rnnbook.plot import BLUE


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_core_modules_are_three_and_only_two_have_a_loop(ax):
    assert draw_core_modules(ax=ax) is ax
    said = words(ax)
    assert said.count("tokens (B, T)") == 3
    assert {"described", "listed", "needed", "(B, T, 32, 16)", "T answers", "1 answer"} <= set(said)
    assert said.count("embedding") == 3
    assert said.count("embedding 2") == 1
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 10
    blue = [
        patch
        for patch in ax.patches
        if isinstance(patch, FancyArrowPatch) and to_hex(patch.get_edgecolor()).upper() == BLUE
    ]
    assert len(blue) == 2
    assert not ax.axison


@pytest.mark.parametrize("texts", [["6", "123", "45"], ["12", "3"], ["7"]])
def test_packed_rows_stand_in_the_order_of_pytorch(ax, texts):
    draw_packed(texts, ax=ax)
    row = [text for text in ax.texts if text.get_position()[1] == pytest.approx(-1.23)]
    row = sorted((text for text in row if text.get_text() != "packed"), key=lambda t: t.get_position()[0])
    expected = pack_sequence([torch.tensor([int(c) for c in text]) for text in texts], enforce_sorted=False)
    assert [int(text.get_text()) for text in row] == expected.data.tolist()
    sizes = [text for text in ax.texts if text.get_position()[1] == pytest.approx(-2.3)]
    assert [t.get_text() for t in sizes if t.get_text() != "batch_sizes"] == [
        str(int(size)) for size in expected.batch_sizes
    ]


def test_a_sequence_has_one_colour_and_padding_is_hatched(ax):
    draw_packed(["6", "123", "45"], ax=ax)
    cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    hatched = [cell for cell in cells if cell.get_hatch()]
    assert len(cells) == 9 + 6 + 6
    assert len(hatched) == 3
    colours = [to_hex(cell.get_edgecolor()) for cell in cells if not cell.get_hatch()]
    assert sorted(colours.count(colour) for colour in set(colours)) == [3, 6, 9]
