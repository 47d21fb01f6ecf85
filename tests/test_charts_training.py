"""The figures of the chapter on training show what they were given."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest

from rnnbook.charts import plot_epochs, plot_range_test, plot_steps, plot_symptoms
from rnnbook.checkpoint import History

pytestmark = pytest.mark.usefixtures("style")


def test_steps_and_their_median():
    _, ax = plt.subplots()
    late = [math.nan] * 2 + [5.0, 4.0, 3.0]
    ax = plot_steps({"a": [3.0, 1.0, 8.0, 2.0], "late": late}, ylabel="loss", window=3, ax=ax)
    thin, thick, _, other = ax.lines
    assert list(thin.get_ydata()) == [3, 1, 8, 2]
    assert (list(thick.get_xdata()), list(thick.get_ydata())) == ([2, 3], [3, 2])
    assert math.isnan(other.get_ydata()[0])
    assert list(other.get_ydata()[-1:]) == [4]
    assert thick.get_linestyle() != other.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "late"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")


def test_range_test_with_the_chosen_rate():
    _, ax = plt.subplots()
    rates, losses = [10.0**k for k in range(-6, 0)], [1.0, 1.0, 0.7, 0.4, 0.4, 2.0]
    ax = plot_range_test(rates, losses, 1e-3, window=3, ax=ax)
    raw, mean, chosen = ax.lines
    assert list(raw.get_ydata()) == losses
    assert list(mean.get_xdata()) == rates[1:-1]
    assert list(mean.get_ydata()) == pytest.approx([0.9, 0.7, 0.5, 2.8 / 3])
    assert set(chosen.get_xdata()) == {1e-3}
    assert ax.get_xscale() == "log"
    assert "learning rate" in ax.get_xlabel()


def test_epochs_with_the_best_marked():
    _, ax = plt.subplots()
    ax = plot_epochs(History(train_loss=[3.0, 2.0, 1.0], val_loss=[3.0, 2.5, 2.7], best_epoch=1), ax=ax)
    train, val, best = ax.lines
    assert (list(train.get_ydata()), list(val.get_ydata())) == ([3, 2, 1], [3, 2.5, 2.7])
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([2], [2.5])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (nats)")


def test_symptoms_have_a_panel_each_and_the_correct_run_in_all():
    runs = {
        "correct": ([0.7, 0.3], [0.6, 0.35]),
        "A": ([0.7, 0.7], [0.8, 0.9]),
        "B": ([9.0, 5.0], [4.0, 3.0]),
    }
    first = plot_symptoms(runs, floor=0.3)
    axes = first.figure.axes
    assert len(axes) == 2
    for ax, name in zip(axes, ("A", "B"), strict=True):
        assert [list(line.get_ydata()) for line in ax.lines[:4]] == [*runs["correct"], *runs[name]]
        assert set(ax.lines[4].get_ydata()) == {0.3}
        assert [text.get_text() for text in ax.texts] == [name]
    assert axes[0].get_ylim()[1] < 1.3
    assert axes[1].get_ylim()[1] > 9
    assert first.get_ylabel() == "loss (nats)"
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == ["training", "validation"]
