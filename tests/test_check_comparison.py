"""Checks of the chapters on recurrence and comparison: right answers pass, known mistakes get their name."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch

from rnnbook import check, plot

HIDDEN = torch.ones(5, 5).triu(1).bool()


def parts(x, h, cell):
    return x @ cell.weight_ih.T + cell.bias_ih, h @ cell.weight_hh.T + cell.bias_hh


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda x, h, cell: parts(x, h, cell)[0].tanh(), "the state before it plays no part"),
        (lambda x, h, cell: sum(parts(x, h, cell)), "tanh is missing"),
        (lambda x, h, cell: (sum(parts(x, h, cell)) - cell.bias_hh).tanh(), "bias_hh is missing"),
        (
            lambda x, h, cell: (parts(x, h, cell)[0] + h @ cell.weight_hh + cell.bias_hh).tanh(),
            "weight_hh is not transposed",
        ),
    ],
)
def test_rnn_step_names_the_mistake(step, words):
    with pytest.raises(AssertionError, match=words):
        check.rnn_step(step)


def test_right_answers_pass(capsys):
    check.reach(lambda blocks: sum(4 * 2**level for level in range(blocks)))
    check.causal_weights(lambda s: s.masked_fill(HIDDEN, -torch.inf).softmax(dim=1))
    assert "reach: right\ncausal_weights: right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        (lambda blocks: 2 * (2**blocks - 1), "two convolutions, not one"),
        (lambda blocks: 4 * (2**blocks - 1) + 1, "counts the present step as well"),
        (lambda blocks: 4 * blocks if blocks > 1 else 4, "the dilation doubles"),
        (lambda blocks: 7, "expected 4, got 7"),
    ],
)
def test_reach_names_the_mistake(reach, words):
    with pytest.raises(AssertionError, match=words):
        check.reach(reach)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (lambda s: s.softmax(dim=1), "the first sees the last"),
        (lambda s: s.softmax(dim=1) * ~HIDDEN, "a row does not sum to one"),
        (lambda s: s.masked_fill(HIDDEN.T, -torch.inf).softmax(dim=1), "instead of the future"),
        (lambda s: s.masked_fill(HIDDEN, -torch.inf).softmax(dim=0), "down the columns"),
        (lambda s: torch.eye(5), r"weights\[.*\]: expected"),
    ],
)
def test_causal_weights_name_the_mistake(weights, words):
    with pytest.raises(AssertionError, match=words):
        check.causal_weights(weights)


def test_mixing_is_drawn_as_it_is():
    matrices = {"one": torch.eye(4), "two": torch.ones(4, 4).tril() / 4}
    plot.plot_mixing(matrices)
    drawn = [ax for ax in plt.gcf().axes if ax.images]
    assert [ax.texts[0].get_text() for ax in drawn] == ["one", "two"]
    for ax, matrix in zip(drawn, matrices.values(), strict=True):
        values = ax.images[0].get_array()
        assert torch.equal(torch.tensor(values.filled(0)), matrix)
        assert (values.mask == (matrix == 0).numpy()).all()
        assert ax.get_xlabel() == "input $s$"
    assert drawn[0].get_ylabel() == "output $t$"
    plt.close("all")
