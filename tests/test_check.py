"""The checks of the exercises: right answers pass, each usual mistake is caught and named."""

from __future__ import annotations

import pytest
import torch

from rnnbook import check
from rnnbook.batches import length_mask


def right_step(x, h, cell):
    return torch.tanh(x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh)


WRONG_STEPS = {
    "no transpose on W_hh": lambda x, h, c: torch.tanh(
        x @ c.weight_ih.T + c.bias_ih + h @ c.weight_hh + c.bias_hh
    ),
    "one bias": lambda x, h, c: torch.tanh(x @ c.weight_ih.T + h @ c.weight_hh.T + c.bias_hh),
    "no tanh": lambda x, h, c: x @ c.weight_ih.T + c.bias_ih + h @ c.weight_hh.T + c.bias_hh,
    "no state": lambda x, h, c: torch.tanh(x @ c.weight_ih.T + c.bias_ih + c.bias_hh),
    "bias outside": lambda x, h, c: torch.tanh(x @ c.weight_ih.T + h @ c.weight_hh.T) + c.bias_ih + c.bias_hh,
}


def right_mean(outputs, lengths):
    real = length_mask(lengths, outputs.shape[1]).unsqueeze(-1)
    return outputs.masked_fill(~real, 0.0).sum(dim=1) / lengths.unsqueeze(1)


WRONG_MEANS = {
    "over all steps": lambda o, n: o.mean(dim=1),
    "sum, not mean": lambda o, n: right_mean(o, n) * n.unsqueeze(1),
    "divided by T": lambda o, n: right_mean(o, n) * n.unsqueeze(1) / o.shape[1],
    "mask by product": lambda o, n: (o * length_mask(n, o.shape[1]).unsqueeze(-1)).sum(1) / n.unsqueeze(1),
    "one step short": lambda o, n: right_mean(o, (n - 1).clamp(min=1)),
    "wrong axis": lambda o, n: o.mean(dim=2),
}


def test_right_answers_pass(capsys):
    check.rnn_step(right_step)
    check.masked_mean(right_mean)
    assert capsys.readouterr().out.count("right") == 2


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_a_wrong_step_is_caught(name, capsys):
    with pytest.raises((AssertionError, RuntimeError)):
        check.rnn_step(WRONG_STEPS[name])
    assert "right" not in capsys.readouterr().out


@pytest.mark.parametrize("name", WRONG_MEANS)
def test_a_wrong_mean_is_caught(name, capsys):
    with pytest.raises(AssertionError, match="mean"):
        check.masked_mean(WRONG_MEANS[name])
    assert "right" not in capsys.readouterr().out


def test_the_mean_that_only_nan_betrays_passes_the_first_half():
    with pytest.raises(AssertionError, match="NaN in the padding"):
        check.masked_mean(WRONG_MEANS["mask by product"])


def test_the_worst_entry_is_named():
    expected = torch.zeros(2, 3)
    actual = expected.clone()
    actual[0, 1], actual[1, 2] = 0.1, -0.5
    with pytest.raises(AssertionError, match=r"h\[1, 2\]: expected 0, got -0.5"):
        check.close("h", actual, expected)


def test_shape_comes_before_value():
    with pytest.raises(AssertionError, match=r"expected shape \(2, 1\), got \(2,\)"):
        check.close("h", torch.zeros(2), torch.zeros(2, 1))


@pytest.mark.parametrize("actual", [None, 1.0, [0.0]])
def test_no_tensor_is_no_answer(actual):
    with pytest.raises(AssertionError, match="expected a tensor"):
        check.close("h", actual, torch.zeros(1))


@pytest.mark.parametrize(
    ("value", "other", "equal"), [("nan", "0", False), ("inf", "inf", True), ("inf", "-inf", False)]
)
def test_numbers_that_are_none(value, other, equal):
    tensors = torch.tensor([float(value)]), torch.tensor([float(other)])
    if equal:
        check.close("h", *tensors)
    else:
        with pytest.raises(AssertionError):
            check.close("h", *tensors)


def test_the_tolerance_is_the_one_given():
    check.close("h", torch.tensor([1e-3]), torch.zeros(1), atol=2e-3)
    with pytest.raises(AssertionError, match=r"0\.0005"):
        check.close("h", torch.tensor([1e-3]), torch.zeros(1), atol=5e-4)


def test_nothing_equals_nothing():
    check.close("h", torch.zeros(0, 2), torch.zeros(0, 2))
