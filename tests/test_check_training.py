"""The checks of the chapter on training: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check_practice as check


def choose(window=5, pick=torch.argmin, log=True, index=False):
    """Make a reading of a range test: another window, another extreme, another slope."""

    def read(rates, losses):
        smooth = torch.tensor(losses, dtype=torch.double).unfold(0, window, 1).mean(dim=1)
        own = torch.tensor(rates, dtype=torch.double)[window // 2 :][: len(smooth)]
        at = int(pick(smooth.diff() if log else smooth.diff() / own.diff()))
        return at if index else float(own[at])

    return read


def bottom(window):
    def read(rates, losses):
        smooth = torch.tensor(losses).unfold(0, window, 1).mean(dim=1)
        return rates[int(smooth.argmin()) + window // 2]

    return read


def alone(rows=None, cut=True, atol=1e-5):
    """Make a test that compares these rows, cut to their lengths or not, to this tolerance."""

    def test(model, tokens, lengths):
        many = model(tokens, lengths)
        chosen = range(len(tokens)) if rows is None else rows
        ones = [
            model(tokens[b : b + 1, : lengths[b] if cut else None], lengths[b : b + 1])[0] for b in chosen
        ]
        return all(
            torch.allclose(one, many[b], rtol=0, atol=atol) for one, b in zip(ones, chosen, strict=True)
        )

    return test


def test_right_answers_pass(capsys):
    check.untrained(3.91, 50)
    check.choose_rate(choose())
    check.one_equals_many(alone())
    assert capsys.readouterr().out.count("right") == 3


@pytest.mark.parametrize(
    ("loss", "perplexity", "words"),
    [
        (math.log2(50), 50, "in bits"),
        (math.log10(50), 50, "base 10"),
        (0.02, 50, "minus its logarithm"),
        (-math.log(50), 50, "minus sign"),
        (0.693, 50, "ln 2"),
        (3.91, 2**3.912, "2 to the loss"),
        (3.91, 3.91, "take exp"),
        (3.5, 50, "expected 3.912"),
    ],
)
def test_a_wrong_first_loss_is_named(loss, perplexity, words):
    with pytest.raises(AssertionError, match=words):
        check.untrained(loss, perplexity)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (bottom(5), "lowest: the edge"),
        (bottom(1), "lowest single loss"),
        (choose(window=1), "steepest pair of neighbours"),
        (choose(pick=torch.argmax), r"\*rises\* fastest"),
        (choose(log=False), "instead of by its logarithm"),
        (choose(index=True), "index is given"),
        (lambda rates, losses: 1e-5, "expected a rate near"),
        (lambda rates, losses: math.nan, "expected a rate near"),
    ],
)
def test_a_wrong_reading_is_named(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.choose_rate(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda model, tokens, lengths: True, "passes a model that reads the padding"),
        (lambda model, tokens, lengths: False, "refuses a right model"),
        (alone(atol=0.0), "allow 1e-5"),
        (alone(cut=False), "reads the padding: cut each row"),
        (alone(rows=[0, 1, 2]), "is wrong in row 3 alone: compare all rows"),
    ],
)
def test_a_test_that_sees_too_little_or_too_much_is_named(wrong, words):
    with pytest.raises(AssertionError, match=words):
        check.one_equals_many(wrong)
