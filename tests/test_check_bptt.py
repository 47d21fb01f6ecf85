"""The checks of the chapter on backpropagation through time: usual mistakes are caught and named."""

from __future__ import annotations

import pytest
import torch

from rnnbook import check


def by_hand(*, slope_3=True, slope_2=True, transpose=True, outer="h_{t-1}", uses=3):
    W = torch.tensor([[0.5, 0.0], [1.0, 0.5]])
    h_1 = torch.tanh(torch.tensor([1.0, -1.0]))
    h_2 = torch.tanh(W @ h_1)
    h_3 = torch.tanh(torch.tensor([1.0, -1.0]) + W @ h_2)
    last = h_3 * (1 - h_3**2 if slope_3 else 1)
    delta = ((W.T if transpose else W) @ last) * (1 - h_2**2 if slope_2 else 1)
    before_3, before_2 = (h_2, h_1) if outer == "h_{t-1}" else (h_3, h_2)
    gradient = torch.outer(last, before_3) + (torch.outer(delta, before_2) if uses == 3 else 0)
    return delta, gradient


def test_right_answer_by_hand_passes_even_rounded(capsys):
    delta, gradient = by_hand()
    check.bptt_by_hand(delta.round(decimals=3), gradient.round(decimals=3))
    assert "right" in capsys.readouterr().out


def test_the_answer_by_hand_is_that_of_autograd():
    W = torch.tensor([[0.5, 0.0], [1.0, 0.5]], requires_grad=True)
    h = torch.zeros(2)
    for x in (1.0, 0.0, 1.0):
        h = torch.tanh(torch.tensor([x, -x]) + W @ h)
    h.square().sum().div(2).backward()
    check.bptt_by_hand(by_hand()[0], W.grad)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"slope_3": False}, "missing at t = 3"),
        ({"slope_2": False}, "missing at t = 2"),
        ({"transpose": False}, "W_hh is not transposed"),
    ],
)
def test_wrong_delta_is_named(mistake, words):
    with pytest.raises(AssertionError, match=f"delta_2.*{words}"):
        check.bptt_by_hand(by_hand(**mistake)[0], by_hand()[1])


@pytest.mark.parametrize(
    ("mistake", "words"),
    [({"outer": "h_t"}, "h_t stands where"), ({"uses": 1}, "only the last of the three")],
)
def test_wrong_gradient_is_named(mistake, words):
    with pytest.raises(AssertionError, match=f"gradient.*{words}"):
        check.bptt_by_hand(by_hand()[0], by_hand(**mistake)[1])


def test_transposed_gradient_is_named():
    delta, gradient = by_hand()
    with pytest.raises(AssertionError, match="the outer products are transposed"):
        check.bptt_by_hand(delta, gradient.T)


def test_another_wrong_number_is_shown_with_the_right_one():
    delta, gradient = by_hand()
    with pytest.raises(AssertionError, match=r"delta_2.*expected"):
        check.bptt_by_hand(-delta, gradient)


def slope(gate):
    return gate * (1 - gate)


def right_step(dh, dc, i, f, g, o, c_prev, c):
    dc = dc + dh * o * (1 - c.tanh() ** 2)
    return dc * g * slope(i), dc * c_prev * slope(f), dc * i * (1 - g**2), dh * c.tanh() * slope(o), dc * f


def no_slope_of_tanh_c(dh, dc, i, f, g, o, c_prev, c):
    dc = dc + dh * o
    return dc * g * slope(i), dc * c_prev * slope(f), dc * i * (1 - g**2), dh * c.tanh() * slope(o), dc * f


def no_slope_of_the_sigmoid(dh, dc, i, f, g, o, c_prev, c):
    dc = dc + dh * o * (1 - c.tanh() ** 2)
    return dc * g, dc * c_prev, dc * i * (1 - g**2), dh * c.tanh(), dc * f


def slope_of_sigmoid_for_g(*given):
    i, g = given[2], given[4]
    a_i, a_f, a_g, a_o, c = right_step(*given)
    return a_i, a_f, a_g / (1 - g**2) * slope(g) + 0 * i, a_o, c


def another_order(*given):
    i, f, g, o, c = right_step(*given)
    return i, f, o, g, c


def dc_not_passed_back_by_f(*given):
    *gates, _ = right_step(*given)
    return *gates, given[1]


LSTM_MISTAKES = {
    "1 - tanh\\(c\\)\\^2 is missing": no_slope_of_tanh_c,
    "dc, which comes from the next time step": lambda dh, dc, *rest: right_step(dh, 0 * dc, *rest),
    "dh, which comes through the output": lambda dh, dc, *rest: right_step(0 * dh, dc, *rest),
    "slope of the sigmoid is missing": no_slope_of_the_sigmoid,
    "da_g: g has the slope of tanh": slope_of_sigmoid_for_g,
    "the order is i, f, g, o": another_order,
    "dc_prev.*expected": dc_not_passed_back_by_f,
}


def test_right_backward_step_of_the_lstm_passes(capsys):
    check.lstm_backward(right_step)
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("words", LSTM_MISTAKES)
def test_wrong_backward_step_of_the_lstm_is_named(words):
    with pytest.raises(AssertionError, match=words):
        check.lstm_backward(LSTM_MISTAKES[words])


@pytest.mark.parametrize("part", range(5))
def test_each_part_of_the_backward_step_is_looked_at(part):
    def wrong(*given):
        parts = list(right_step(*given))
        parts[part] = parts[part] * 1.001
        return parts

    with pytest.raises(AssertionError, match="lstm_backward"):
        check.lstm_backward(wrong)
