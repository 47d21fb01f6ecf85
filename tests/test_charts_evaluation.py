"""The reliability diagram, and scores over splits and seeds."""

from __future__ import annotations

import pytest
import torch

from rnnbook import charts
from rnnbook.evaluate import calibration
from rnnbook.results import score_row


def test_reliability_has_a_mark_a_bin_as_large_as_it_is_full(ax):
    sure = torch.tensor([[0.08, 0.92], [0.05, 0.95], [0.06, 0.94], [0.4, 0.6]])
    found = calibration(sure, torch.tensor([1, 1, 0, 0]))
    assert charts.plot_reliability({"early": found, "late": found}, ax=ax) is ax
    _, line, other = ax.lines
    assert line.get_xdata().tolist() == pytest.approx([0.6, 2.81 / 3])
    assert line.get_ydata().tolist() == pytest.approx([0.0, 2 / 3])
    sizes = ax.collections[0].get_sizes()
    assert sizes[1] - 20 == pytest.approx(3 * (sizes[0] - 20))
    assert line.get_color() != other.get_color()
    assert line.get_linestyle() != other.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().texts] == ["early", "late"]
    assert "confidence" in ax.get_xlabel()


def test_splits_show_every_seed_their_mean_the_baseline_and_the_items(ax):
    networks = [score_row("t", "LSTM", [0, 1], [0.7, 0.8], num_items=9, num_parameters=1) for _ in range(2)]
    linear = [score_row("t", "linear", [0], [0.78], num_items=9, num_parameters=1) for _ in range(2)]
    assert charts.plot_splits(networks, linear, 0.01, ax=ax) is ax
    dots, mean, diamond = ax.lines[:3]
    assert dots.get_ydata().tolist() == [0.7, 0.8]
    assert mean.get_ydata() == pytest.approx([0.75, 0.75])
    assert diamond.get_ydata().tolist() == [0.78]
    (bar,) = ax.containers
    (segment,) = bar.lines[2][0].get_segments()
    assert segment[:, 1].tolist() == pytest.approx([0.73, 0.77])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "items"]
    assert len(ax.get_legend().texts) == 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("split", "accuracy (share)")


def test_the_current_axes_is_used_where_none_is_given(ax):
    found = calibration(torch.tensor([[0.1, 0.9]]), torch.tensor([1]))
    assert charts.plot_reliability({"one": found}) is ax
