"""The checks of "Why is it hard to remember?": right answers pass, each known mistake is named."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check


def slope(h):
    return torch.diag(1 - h**2)


def product_of(*, factor=lambda h, W: slope(h) @ W, reverse=False, skip=0):
    def product(states, W_hh):
        total = torch.eye(len(W_hh), dtype=states.dtype)
        for h in states[skip:]:
            total = total @ factor(h, W_hh) if reverse else factor(h, W_hh) @ total
        return total

    return product


WRONG_PRODUCTS = {
    "order of the product is reversed": product_of(reverse=True),
    "W_hh is transposed": product_of(factor=lambda h, W: slope(h) @ W.T),
    "1 - h², not 1 - h": product_of(factor=lambda h, W: torch.diag(1 - h) @ W),
    "right of W_hh": product_of(factor=lambda h, W: W @ slope(h)),
    "one time step is missing": product_of(skip=1),
}


def right_clip(gradients, max_norm):
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
    return [gradient * min(1.0, max_norm / norm) for gradient in gradients]


WRONG_CLIPS = {
    "each tensor is clipped by itself": lambda gs, m: [right_clip([g], m)[0] for g in gs],
    "clipped by value": lambda gs, m: [g.clamp(-m, m) for g in gs],
    "small gradient was scaled up": lambda gs, m: [
        g * m / torch.cat([g.flatten() for g in gs]).norm() for g in gs
    ],
}


def test_right_answers_pass(capsys):
    check.steps_to_fade(66)
    check.steps_to_fade(math.ceil(math.log(1e-3) / math.log(0.9)))
    check.state_product(product_of())
    check.clip_gradients(right_clip)
    assert capsys.readouterr().out.count("right") == 4


def test_the_expected_number_of_steps_is_true():
    assert 0.9**66 < 1e-3 < 0.9**65


@pytest.mark.parametrize(
    ("steps", "words"),
    [(65, "rounded down"), (29, "different bases"), (10, "multiplied"), (67, "expected 66")],
)
def test_a_wrong_number_of_steps_is_caught(steps, words):
    with pytest.raises(AssertionError, match=words):
        check.steps_to_fade(steps)


@pytest.mark.parametrize("words", WRONG_PRODUCTS)
def test_a_wrong_product_is_named(words, capsys):
    with pytest.raises(AssertionError, match=words):
        check.state_product(WRONG_PRODUCTS[words])
    assert "right," not in capsys.readouterr().out


def test_the_expected_product_is_that_of_autograd():
    """The check compares with autograd's own Jacobian when the states come from a network without input."""

    def autograd(states, W_hh):
        total = torch.eye(len(W_hh), dtype=states.dtype)
        for h in states:  # the bias that leads from any state to h is atanh(h) - W_hh @ old
            old = torch.zeros_like(h)
            step = torch.func.jacrev(lambda s, h=h: torch.tanh(W_hh @ s + torch.atanh(h)))
            total = step(old) @ total
        return total

    check.state_product(autograd)


@pytest.mark.parametrize("words", WRONG_CLIPS)
def test_a_wrong_clip_is_named(words, capsys):
    with pytest.raises(AssertionError, match=words):
        check.clip_gradients(WRONG_CLIPS[words])
    assert "right" not in capsys.readouterr().out


def test_the_right_clip_is_that_of_pytorch():
    def clip(gradients, max_norm):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        return [parameter.grad for parameter in parameters]

    check.clip_gradients(clip)
