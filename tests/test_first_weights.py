"""First weights of cells and layers: what each recipe promises, on our cells and on PyTorch's layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rnnbook.cells import (
    GRUCell,
    LSTMCell,
    RNNCell,
    init_chrono,
    init_forget_bias,
    init_identity,
    init_orthogonal,
    unroll,
)

SIZE = 6
GATED = [LSTMCell(3, SIZE), nn.LSTM(3, SIZE), GRUCell(3, SIZE), nn.GRU(3, SIZE)]
ALL = [RNNCell(3, SIZE), nn.RNN(3, SIZE), *GATED, nn.LSTM(3, SIZE, num_layers=2, bidirectional=True)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(module: nn.Module, kind: str) -> list[torch.Tensor]:
    return [p.detach() for name, p in module.named_parameters() if name.startswith(kind)]


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize("module", ALL, ids=lambda m: type(m).__name__)
def test_every_gate_is_orthogonal(module, gain):
    init_orthogonal(module, gain, generator=seeded())
    weights = parameters(module, "weight_hh")
    assert weights
    for weight in weights:
        for block in weight.split(SIZE):
            torch.testing.assert_close(block @ block.T, gain**2 * torch.eye(SIZE))
        assert weight.unique().numel() > len(weight)  # no gate is a copy of another


def test_the_generator_decides():
    first, second, third = (RNNCell(3, SIZE) for _ in range(3))
    for cell, seed in ((first, 1), (second, 1), (third, 2)):
        init_orthogonal(cell, generator=seeded(seed))
    assert torch.equal(first.weight_hh, second.weight_hh)
    assert not torch.equal(first.weight_hh, third.weight_hh)


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan")])
def test_a_gain_is_positive(gain):
    with pytest.raises(ValueError, match="a gain above 0"):
        init_orthogonal(RNNCell(3, SIZE), gain, generator=seeded())


@pytest.mark.parametrize(
    "module", [RNNCell(3, SIZE, "relu"), nn.RNN(3, SIZE, nonlinearity="relu")], ids=["cell", "layer"]
)
def test_the_identity_keeps_a_positive_state(module):
    init_identity(module)
    h = torch.arange(1.0, SIZE + 1).unsqueeze(0)
    if isinstance(module, RNNCell):
        kept = unroll(module, torch.zeros(1, 50, 3), h)[1]
    else:
        kept = module(torch.zeros(50, 1, 3), h.unsqueeze(0))[1][0]
    assert torch.equal(kept, h)


@pytest.mark.parametrize("module", GATED, ids=lambda m: type(m).__name__)
def test_the_identity_is_not_for_gates(module):
    with pytest.raises(TypeError, match="without gates"):
        init_identity(module)


@pytest.mark.parametrize("module", [LSTMCell(3, SIZE), nn.LSTM(3, SIZE, 2)], ids=["cell", "layers"])
def test_the_forget_gate_opens_and_no_other(module):
    before = [bias.clone() for bias in parameters(module, "bias_")]
    init_forget_bias(module, 3.0)
    for old, new in zip(before, parameters(module, "bias_"), strict=True):
        for gate in (0, 2, 3):
            assert torch.equal(old.chunk(4)[gate], new.chunk(4)[gate])
    for bias_ih, bias_hh in zip(parameters(module, "bias_ih"), parameters(module, "bias_hh"), strict=True):
        assert (bias_ih + bias_hh)[SIZE : 2 * SIZE].tolist() == [3.0] * SIZE


def test_with_no_input_the_forget_bias_is_the_gate():
    cell = LSTMCell(3, SIZE)
    init_forget_bias(cell, 2.0)
    _, f, _, _ = cell.gates(torch.zeros(1, 3))
    torch.testing.assert_close(f, torch.full((1, SIZE), 2.0).sigmoid())


@pytest.mark.parametrize("module", [GRUCell(3, SIZE), RNNCell(3, SIZE), nn.GRU(3, SIZE)])
def test_only_an_lstm_forgets_by_that_gate(module):
    with pytest.raises(TypeError, match="a cell with 4 gates"):
        init_forget_bias(module)


def test_chrono_spreads_the_spans_and_ties_the_input_gate():
    cell = LSTMCell(3, 500)
    init_chrono(cell, 100, generator=seeded())
    i, f, _, _ = (cell.bias_ih + cell.bias_hh).detach().chunk(4)
    torch.testing.assert_close(i, -f)
    span = f.exp()  # 1/(1 - sigmoid(b)) = 1 + exp(b)
    assert span.min() >= 1
    assert span.max() <= 99
    assert abs(span.mean() - 50) < 5


def test_chrono_keeps_by_z_in_a_gru():
    layer = nn.GRU(3, 500)
    old = layer.bias_ih_l0.detach().clone().chunk(3)
    init_chrono(layer, 100, generator=seeded())
    r, z, n = layer.bias_ih_l0.detach().chunk(3)
    assert torch.equal(r, old[0])
    assert torch.equal(n, old[2])
    assert z.min() >= 0
    assert 0 < layer.bias_hh_l0.detach().chunk(3)[1].abs().max() + 1 == 1
    assert z.exp().max() <= 99


def test_chrono_refuses_what_it_cannot_spread():
    with pytest.raises(ValueError, match="at least 3 time steps, got 2"):
        init_chrono(LSTMCell(3, SIZE), 2, generator=seeded())
    with pytest.raises(TypeError, match="a cell with 4 gates, got RNNCell"):
        init_chrono(RNNCell(3, SIZE), 10, generator=seeded())


@pytest.mark.parametrize("recipe", [init_identity, lambda m: init_orthogonal(m, generator=seeded())])
def test_something_else_is_refused(recipe):
    with pytest.raises(TypeError, match="a recurrent cell or layer, got Linear"):
        recipe(nn.Linear(3, 3))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_both_nonlinearities_are_pytorchs(nonlinearity):
    ours, theirs = RNNCell(3, SIZE, nonlinearity), nn.RNNCell(3, SIZE, nonlinearity=nonlinearity)
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(4, 3, generator=seeded()), torch.randn(4, SIZE, generator=seeded(1))
    torch.testing.assert_close(ours(x, h), theirs(x, h))


def test_an_unknown_nonlinearity():
    with pytest.raises(ValueError, match=r"unknown nonlinearity 'sigmoid'; known: tanh, relu"):
        RNNCell(3, SIZE, "sigmoid")


def test_gates_are_what_the_step_multiplies_by():
    x, h, c = (torch.randn(4, size, generator=seeded(size)) for size in (3, SIZE, SIZE))
    lstm, gru = LSTMCell(3, SIZE), GRUCell(3, SIZE)
    i, f, g, o = lstm.gates(x, h)
    new_h, new_c = lstm(x, (h, c))
    torch.testing.assert_close(new_c, f * c + i * g)
    torch.testing.assert_close(new_h, o * torch.tanh(new_c))
    for gate in (i, f, o, *gru.gates(x, h)[:2]):
        assert 0 < gate.min() < gate.max() < 1
    assert g.min() < 0
    _, z, n = gru.gates(x, h)
    torch.testing.assert_close(gru(x, h), (1 - z) * n + z * h)
