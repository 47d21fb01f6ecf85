"""Derivatives through time against autograd taken step by step; bytes against a count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rnnbook.cells import GRUCell, LSTMCell, RNNCell, unroll
from rnnbook.gradients import gradient_through_time, saved_bytes, state_jacobians


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell])
@pytest.mark.parametrize("given", [True, False])
def test_state_jacobians_are_those_of_autograd_step_by_step(kind, given):
    torch.manual_seed(0)
    cell, hidden = kind(3, 4).double(), 4
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    parts = 2 if kind is LSTMCell else 1
    flat = torch.randn(parts * hidden, dtype=torch.float64) if given else torch.zeros(parts * hidden).double()

    def packed(s):
        pieces = tuple(s.view(1, -1).split(hidden, dim=1))
        return pieces if parts == 2 else pieces[0]

    def step(t):
        def f(s):
            new = cell(x[:, t], packed(s))
            return torch.cat(new if isinstance(new, tuple) else (new,), dim=1)[0]

        return f

    product, expected, states = torch.eye(parts * hidden).double(), [], [flat]
    for t in range(5):
        states.append(step(t)(states[-1]).detach())
    for t in reversed(range(5)):
        expected.insert(0, product)
        product = product @ torch.autograd.functional.jacobian(step(t), states[t])
    expected.insert(0, product)
    actual = state_jacobians(cell, x, packed(flat) if given else None)
    torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-10, atol=1e-12)
    norms = gradient_through_time(cell, x, packed(flat) if given else None)
    torch.testing.assert_close(norms, torch.stack([torch.linalg.svdvals(j)[0] for j in expected]))


@pytest.mark.parametrize("shape", [(2, 5, 3), (5, 3), (1, 0, 3)])
def test_jacobians_are_of_one_sequence(shape):
    with pytest.raises(ValueError, match=r"one sequence, x of shape \(1, time, feature\), got"):
        state_jacobians(RNNCell(3, 4), torch.zeros(shape))


def test_saved_bytes_count_each_storage_once_and_no_weights():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7))

        def forward(self, x):
            y = x * self.weight  # keeps x and the weight
            return (y * y).sum()  # keeps y, twice

    x = torch.ones(100, 7, requires_grad=True)
    assert saved_bytes(Square(), x) == 2 * 100 * 7 * 4


def test_saved_bytes_grow_with_the_sequence():
    cell = RNNCell(3, 4)
    sizes = [saved_bytes(_Unrolled(cell), torch.zeros(2, T, 3)) for T in (10, 20, 40)]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.05)


class _Unrolled(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return unroll(self.cell, x)[0]
