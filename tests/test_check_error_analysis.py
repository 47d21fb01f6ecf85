"""The checks of the chapter on errors let right answers pass and call known mistakes by their names."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check_application as check


def test_right_answers_pass(capsys):
    check.integrated_linear(lambda w, x, baseline: w * (x - baseline))
    check.temperature(math.log(0.99 / 0.01) / math.log(0.75 / 0.25))
    check.most_of_four(3)
    check.without_unit(lambda weight, unit: weight.index_fill(1, torch.tensor([unit, unit + 4]), 0.0))
    assert capsys.readouterr().out.count("right") == 4


@pytest.mark.parametrize(
    ("shares", "complaint"),
    [
        (lambda w, x, baseline: w * x, "baseline is missing"),
        (lambda w, x, baseline: w.expand_as(x), "gradient alone"),
        (lambda w, x, baseline: x - baseline, "gradient is missing"),
        (lambda w, x, baseline: w * (baseline - x), "signs are turned round"),
        (lambda w, x, baseline: (x - baseline) @ w, "summed over the features"),
        (lambda w, x, baseline: w * (x - baseline) / 2, "expected"),
    ],
)
def test_wrong_shares_are_named(shares, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.integrated_linear(shares)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (0.99 / 0.75, "quotient of the probabilities"),
        (math.log(3) / math.log(99), "upside down"),
        (math.log(0.99) / math.log(0.75), "quotient of log p"),
        (33, "quotient of the odds"),
        (2, "expected 4.18"),
    ],
)
def test_wrong_temperatures_are_named(value, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.temperature(value)


@pytest.mark.parametrize(
    ("count", "complaint"), [(4, "contradict"), (2, "without a weight"), (1, "expected 3")]
)
def test_wrong_counts_are_named(count, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.most_of_four(count)


def test_the_best_sum_of_word_weights_has_three_of_four():
    generator = torch.Generator().manual_seed(0)
    good, bad, no, bias = torch.randn(4, 100_000, generator=generator)
    scores = torch.stack([good, -bad, -(no + good), no + bad]) + bias * torch.tensor([1, -1, -1, 1])[:, None]
    assert (scores > 0).sum(dim=0).max() == 3


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ([2], "still in the maximum"),
        ([6], "still in the mean"),
        ([2, 3], "do not lie side by side"),
        ([], "nothing was removed"),
    ],
)
def test_a_unit_half_removed_is_named(columns, complaint):
    places = torch.tensor(columns, dtype=torch.int64)
    with pytest.raises(AssertionError, match=complaint):
        check.without_unit(lambda weight, unit: weight.index_fill(1, places, 0.0))


def test_a_weight_changed_in_place_is_refused():
    def in_place(weight, unit):
        weight[:, [unit, unit + 4]] = 0.0
        return weight

    with pytest.raises(AssertionError, match="clone it first"):
        check.without_unit(in_place)
