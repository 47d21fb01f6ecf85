"""The figures of the chapter on translation show what they were given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from rnnbook import charts_translation as charts
from rnnbook.evaluate import wilson_interval

pytestmark = pytest.mark.usefixtures("style")


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_attention_map_has_a_row_a_target_token_and_shows_the_weights(ax):
    weights = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.1, 0.9]])
    assert charts.plot_attention_map(weights, "4 A", "月日", ax=ax) is ax
    np.testing.assert_array_equal(ax.images[0].get_array(), weights.numpy())
    assert ax.images[0].get_clim() == (0, 1)
    assert ticks(ax.xaxis) == ["4", "␣", "A"]
    assert ticks(ax.yaxis) == ["月", "日"]
    assert ax.yaxis_inverted()  # the first token stands at the top
    assert "source" in ax.get_xlabel()
    assert "target" in ax.get_ylabel()


def test_attention_map_refuses_weights_that_are_turned(ax):
    with pytest.raises(ValueError, match=r"expected weights of shape \(2, 3\).*got \(3, 2\)"):
        charts.plot_attention_map(torch.ones(3, 2), "4 A", "月日", ax=ax)


def test_matches_by_epoch_may_differ_in_length(ax):
    charts.plot_match_by_epoch({"with": [0.5, 1.0], "without": [0.0, 0.1, 0.2]}, ax=ax)
    one, other = ax.lines
    np.testing.assert_allclose(one.get_xydata(), [[1, 50], [2, 100]])
    np.testing.assert_allclose(other.get_xydata(), [[1, 0], [2, 10], [3, 20]])
    assert one.get_linestyle() != other.get_linestyle()
    assert one.get_color() != other.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["with", "without"]
    assert "%" in ax.get_ylabel()


def test_matches_by_length_are_shares_of_their_class_with_their_interval(ax):
    lengths, found = [3, 4, 6, 5, 9, 9], [True, False, True, True, True, False]
    charts.plot_match_by_length({"a": found, "b": [False] * 6}, lengths, [3, 6, 10], ax=ax)
    assert ticks(ax.xaxis) == ["3–5", "6–9"]
    first, second = ax.containers
    np.testing.assert_allclose(first.lines[0].get_ydata(), [200 / 3, 200 / 3])
    np.testing.assert_allclose(second.lines[0].get_ydata(), [0, 0])
    ends = np.array(first.lines[2][0].get_segments())[:, :, 1]  # (classes, 2)
    np.testing.assert_allclose(ends, [[100 * end for end in wilson_interval(2, 3)]] * 2)
    assert (np.diff([c.lines[0].get_xdata() for c in ax.containers], axis=0) > 0).all()  # side by side
    assert "characters" in ax.get_xlabel()


def test_matches_by_length_refuse_what_they_cannot_draw(ax):
    with pytest.raises(ValueError, match=r"no source has a length of 6–9"):
        charts.plot_match_by_length({"a": [True]}, [3], [3, 6, 10], ax=ax)
    with pytest.raises(ValueError, match="expected 1 matches of a, one a length, got 2"):
        charts.plot_match_by_length({"a": [True, True]}, [3], [3, 6], ax=ax)
    with pytest.raises(ValueError, match="one to 3 models, got 4"):
        charts.plot_match_by_length({name: [True] for name in "abcd"}, [3], [3, 6], ax=ax)
    with pytest.raises(ValueError, match="one to 3 models, got 0"):
        charts.plot_match_by_epoch({}, ax=ax)


def test_recorded_runs_have_a_line_a_seed_and_bleu_where_it_was_taken():
    def rows(shift):
        found = [
            {"epoch": e, "train_loss": 4 - e / 2, "val_loss": 3 - e / 4 + shift, "cpu_seconds": 60.0}
            for e in (1, 2, 3, 4)
        ]
        found[1]["val_bleu"], found[3]["val_bleu"] = 20.0 + shift, 30.0 + shift
        return found

    axes = plt.subplots(1, 2)[1]
    assert charts.plot_translation_runs({"0": rows(0.0), "1": rows(0.5)}, axes=axes) is axes[0]
    left, right = axes
    assert len(left.lines) == 4
    np.testing.assert_allclose(left.lines[0].get_ydata(), [3.5, 3, 2.5, 2])
    np.testing.assert_allclose(left.lines[3].get_ydata(), [3.25, 3, 2.75, 2.5])
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["training", "validation"]
    np.testing.assert_allclose(right.lines[0].get_xydata(), [[2, 20], [4, 30]])
    np.testing.assert_allclose(right.lines[1].get_xydata(), [[2, 20.5], [4, 30.5]])
    assert "BLEU" in right.get_ylabel()
    with pytest.raises(ValueError, match="no epoch of seed 7 has val_bleu"):
        charts.plot_translation_runs({"7": [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0}]}, axes=axes)
