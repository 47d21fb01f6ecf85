"""Figures of "Why is it hard to remember?" show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnbook import plot

pytestmark = pytest.mark.usefixtures("style")


def test_gradients_are_drawn_against_the_distance(ax):
    runs = torch.tensor([[1e-3, 1e-1, 1.0], [1e-5, 1e-2, 1.0], [1e-4, 2e-2, 1.0]])  # t = 0, 1, 2
    plot.plot_gradient_through_time({"small": runs, "large": 1 / runs}, ax=ax)
    named = {line.get_label(): line for line in ax.lines}
    assert named["small"].get_ydata() == pytest.approx([1.0, 2e-2, 1e-4])  # distance 0, 1, 2; the median
    assert named["large"].get_ydata() == pytest.approx([1.0, 50, 1e4])
    assert named["small"].get_xdata().tolist() == [0, 1, 2]
    thin = [line for line in ax.lines if line.get_color() == named["small"].get_color()]
    assert len(thin) == 1 + len(runs)
    assert sorted(line.get_ydata()[-1] for line in thin) == pytest.approx([1e-5, 1e-4, 1e-4, 1e-3])
    assert ax.get_yscale() == "log"
    assert "distance" in ax.get_xlabel()
    assert "partial" in ax.get_ylabel()
    assert named["small"].get_linestyle() != named["large"].get_linestyle()


def test_eigenvalues_stand_in_the_plane_beside_the_unit_circle(ax):
    half = torch.diag(torch.tensor([0.5, -0.5]))
    plot.plot_eigenvalues(half, torch.diag(torch.tensor([2.0, -1.0])), ax=ax)
    circle, before, after = ax.lines
    assert np.hypot(*circle.get_data()) == pytest.approx(np.ones(200))
    assert sorted(zip(*before.get_data(), strict=True)) == [(-0.5, 0), (0.5, 0)]
    assert sorted(zip(*after.get_data(), strict=True)) == [(-1, 0), (2, 0)]
    assert before.get_marker() != after.get_marker()
    assert before.get_color() != after.get_color()
    assert ax.get_aspect() == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("real part", "imaginary part")
    assert len(ax.get_legend().get_texts()) == 2


def surface():
    w, b = torch.meshgrid(torch.linspace(0, 2, 5), torch.linspace(-1, 1, 4), indexing="ij")
    return w, b, w + b


def test_a_path_is_cut_where_it_leaves_the_surface():
    leaves = torch.tensor([[1.0, 0.0, 1.0], [1.5, 0.5, 2.0], [9.5, 2.5, 0.0]])
    stays = torch.tensor([[1.0, 0.0, 1.0], [0.5, -0.5, 0.0], [0.2, -0.4, 0.1]])
    ax = plot.plot_error_surface(*surface(), {"thrown out": leaves, "stays": stays})
    dots, line, way_out = ax.lines
    np.testing.assert_allclose(np.array(dots.get_data_3d()).T, stays.numpy())
    np.testing.assert_allclose(np.array(line.get_data_3d()).T, leaves[:2].numpy())
    np.testing.assert_allclose(
        np.array(way_out.get_data_3d()).T, np.array([[1.5, 0.5, 2.0], [2.0, 0.625, 2.0]])
    )
    assert (dots.get_linestyle(), way_out.get_linestyle()) == ("None", "--")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["stays", "thrown out"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("$w$", "$b$", "cost")


def test_a_path_that_stays_is_drawn_whole():
    stays = torch.tensor([[1.0, 0.0, 1.0], [0.5, -0.5, 0.0]])
    ax = plot.plot_error_surface(*surface(), {"one": stays, "other": stays})
    assert len(ax.lines) == 2
    np.testing.assert_allclose(np.array(ax.lines[1].get_data_3d()).T, stays.numpy())


def test_a_grid_counts_the_seeds_that_solved(ax):
    plot.plot_solved({"a": [[1.0, 0.96], [0.5, 0.97]], "b": [[0.5, 0.5], [0.95, 0.2]]}, ["T=1", "T=2"], ax=ax)
    found = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    assert found == {(0, 0): "2 of 2", (1, 0): "1 of 2", (0, 1): "0 of 2", (1, 1): "0 of 2"}
    assert ax.images[0].get_array().tolist() == [pytest.approx([0.98, 0.735]), pytest.approx([0.5, 0.575])]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["T=1", "T=2"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
