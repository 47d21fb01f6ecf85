"""The sampled softmax: the full one where every word is drawn once, and on the way there for more samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnnbook.losses import sampled_softmax_loss

N, H, V = 6, 4, 30


@pytest.fixture
def case() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(N + V + 1, V, generator=generator, dtype=torch.float64)
    q = 1 / torch.arange(1, V + 1, dtype=torch.float64)
    return {
        "hidden": draw[:N, :H].clone().requires_grad_(),
        "targets": torch.tensor([0, 0, 3, 7, 20, V - 1]),
        "weight": (0.5 * draw[N : N + V, :H]).requires_grad_(),
        "bias": (0.5 * draw[-1]).requires_grad_(),
        "log_q": (q / q.sum()).log(),
    }


def gradients(loss: Tensor, case: dict[str, Tensor]) -> Tensor:
    found = torch.autograd.grad(loss, [case[name] for name in ("hidden", "weight", "bias")])
    return torch.cat([part.flatten() for part in found])


def full(case: dict[str, Tensor]) -> Tensor:
    return cross_entropy(case["hidden"] @ case["weight"].T + case["bias"], case["targets"])


def test_with_every_word_drawn_once_it_is_the_full_softmax(case):
    case["log_q"] = torch.full((V,), -math.log(V), dtype=torch.float64)
    order = torch.randperm(V, generator=torch.Generator().manual_seed(1))
    loss = sampled_softmax_loss(samples=order, **case)
    torch.testing.assert_close(loss, full(case), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(loss, case), gradients(full(case), case), rtol=1e-10, atol=1e-12)


def test_the_estimated_sum_is_right_in_the_mean(case):
    """exp(loss) of a single row is the estimate of its sum over exp(score of the right word)."""
    one = case | {"hidden": case["hidden"][3:4], "targets": case["targets"][3:4]}
    generator = torch.Generator().manual_seed(2)
    draws = torch.multinomial(one["log_q"].exp(), 2000 * 5, replacement=True, generator=generator).view(-1, 5)
    sums = torch.stack([sampled_softmax_loss(samples=draw, **one).exp() for draw in draws]).detach()
    error = sums.std() / math.sqrt(len(sums))
    assert abs(sums.mean() - full(one).exp()) < 4 * error < 0.2 * full(one).exp()


def test_the_mean_gradient_comes_nearer_to_the_full_one_with_more_samples(case):
    wanted = gradients(full(case), case)

    def distance(num_samples: int, log_q: Tensor, count: int = 300) -> float:
        generator = torch.Generator().manual_seed(3)
        q = case["log_q"].exp()  # what is drawn from, whatever the loss is told
        total = torch.zeros_like(wanted)
        for _ in range(count):
            samples = torch.multinomial(q, num_samples, replacement=True, generator=generator)
            total += gradients(sampled_softmax_loss(samples=samples, **(case | {"log_q": log_q})), case)
        return ((total / count - wanted).norm() / wanted.norm()).item()

    few, many = distance(10, case["log_q"]), distance(160, case["log_q"])
    assert many < 0.03
    assert many < few / 4, (few, many)
    flat = torch.full((V,), -math.log(V), dtype=torch.float64)
    assert distance(160, flat) > 10 * many  # the correction is not left out


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": torch.zeros(0, dtype=torch.int64)},
        {"samples": torch.zeros(2, 2, dtype=torch.int64)},
        {"bias": torch.zeros(V - 1)},
        {"log_q": torch.zeros(V + 1)},
    ],
)
def test_no_sample_and_shapes_that_disagree_are_refused(case, wrong):
    with pytest.raises(ValueError, match="expected at least one sample"):
        sampled_softmax_loss(**({"samples": torch.arange(3)} | case | wrong))
