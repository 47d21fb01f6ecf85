"""Encoders: what a step can see, what padding can do (nothing), and how a name becomes a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rnnbook.encoders import ENCODERS, CausalAttention, CausalConvolution, make_encoder
from rnnbook.models import SequenceModel, pool

CAUSAL = [kind for kind in ENCODERS if kind != "bilstm"]
LENGTHS = torch.tensor([3, 6, 1])

every_kind = pytest.mark.parametrize("kind", ENCODERS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(kind: str, reach: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return make_encoder(kind, 3, 8, reach=reach).double()


def seen(encoder: nn.Module, seq_len: int) -> Tensor:
    """Which inputs s move the output t: bool (T, T)."""
    x = random(1, seq_len, 3).requires_grad_()
    outputs = encoder(x, torch.tensor([seq_len]))
    rows = [
        torch.autograd.grad(outputs[0, t].square().sum(), x, retain_graph=True)[0] for t in range(seq_len)
    ]
    return torch.stack([row[0].abs().sum(dim=1) for row in rows]) != 0


def nowhere_dead(encoder: nn.Module) -> None:
    """Make all biases large, so that no ReLU is at zero and every path carries a gradient."""
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            parameter.data.fill_(20.0)
        else:
            parameter.data.mul_(0.1)


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_step_sees_the_future_and_every_step_the_past(kind):
    encoder = made(kind)
    if kind == "tcn":
        nowhere_dead(encoder)
    assert torch.equal(seen(encoder, 12), torch.ones(12, 12).tril().bool())


def test_two_directions_see_everything():
    assert seen(made("bilstm"), 7).all()


@pytest.mark.parametrize("reach", [1, 4, 5, 12, 13, 40])
def test_a_convolution_reaches_as_far_as_asked(reach):
    torch.manual_seed(0)
    encoder = CausalConvolution(3, 4, reach=reach).double()
    nowhere_dead(encoder)
    sees = seen(encoder, 3 * reach + 10)
    span = int(sees[-1].sum()) - 1  # steps back from the last one
    assert span >= reach
    assert span == sum(4 * dilation for dilation in encoder.dilations)
    smaller = sum(4 * dilation for dilation in encoder.dilations[:-1])
    assert smaller < reach  # one block fewer would not do


@every_kind
def test_padding_changes_no_real_output(kind):
    encoder, x = made(kind), random(3, 6, 3)
    clean = encoder(x, LENGTHS)
    poisoned = x.clone()
    real = torch.arange(6) < LENGTHS[:, None]
    poisoned[~real] = 1e6
    torch.testing.assert_close(encoder(poisoned, LENGTHS)[real], clean[real])
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], clean[row, :length])


@every_kind
def test_shapes_and_gradients(kind):
    encoder = made(kind)
    outputs = encoder(random(3, 6, 3), LENGTHS)
    assert outputs.shape == (3, 6, encoder.output_size)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@every_kind
def test_it_says_what_it_wants(kind):
    with pytest.raises(ValueError, match=r"expected shape \(batch, time, feature\), got \(6, 3\)"):
        made(kind)(random(6, 3), LENGTHS)
    with pytest.raises(ValueError, match="lengths from 1 to T = 6"):
        made(kind)(random(3, 6, 3), torch.tensor([3, 7, 1]))


def test_names_and_sizes_that_are_none():
    with pytest.raises(ValueError, match=r"unknown encoder 'transformer'; known: rnn, lstm, gru, bilstm"):
        make_encoder("transformer", 3, 8)
    with pytest.raises(ValueError, match="an even hidden_size, for two heads, got 7"):
        CausalAttention(3, 7)
    with pytest.raises(ValueError, match="a reach of at least one time step, got 0"):
        CausalConvolution(3, 4, reach=0)


def test_attention_needs_its_positions():
    encoder, x = made("attention"), random(1, 5, 3)
    turned = x[:, [1, 0, 2, 3, 4]]  # the first two inputs change places
    lengths = torch.tensor([5])
    assert not torch.allclose(encoder(turned, lengths)[:, -1], encoder(x, lengths)[:, -1])
    same = encoder(torch.ones(1, 5, 3).double(), lengths)  # without positions, equal inputs stay equal
    assert not torch.allclose(same[:, 0], same[:, -1])


# --- one model around any of them ------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "mean+max"])
def test_one_answer_a_sequence_whatever_the_padding(kind, pooling):
    model = SequenceModel(made(kind), 2, pooling=pooling).double()
    x = random(3, 6, 3)
    answers = model(x, LENGTHS)
    assert answers.shape == (3, 2)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(model(x[row : row + 1, :length])[0], answers[row])


@every_kind
def test_an_answer_at_every_real_step_in_order(kind):
    model = SequenceModel(made(kind), 2, pooling="every").double()
    x = random(3, 6, 3)
    alone = [model(x[row : row + 1, :length]) for row, length in enumerate(LENGTHS.tolist())]
    torch.testing.assert_close(model(x, LENGTHS), torch.cat(alone))


def test_the_last_state_of_a_backward_layer_is_the_one_at_step_zero():
    encoder, x = made("bilstm"), random(3, 6, 3)
    outputs = encoder(x, LENGTHS)
    last = pool(outputs, LENGTHS, "last", bidirectional=True)
    torch.testing.assert_close(last[:, :8], outputs[torch.arange(3), LENGTHS - 1, :8])
    torch.testing.assert_close(last[:, 8:], outputs[:, 0, 8:])
    moved = x.clone()
    moved[1, 0] += 1.0  # the first input of the second row
    after = pool(encoder(moved, LENGTHS), LENGTHS, "last", bidirectional=True)
    naive = [pool(o, LENGTHS, "last")[1, 8:] for o in (outputs, encoder(moved, LENGTHS))]
    assert not torch.allclose(after[1, 8:], last[1, 8:])
    assert torch.equal(*naive)  # at its last step the backward half has seen one token


def test_tokens_go_through_the_embedding_and_are_checked():
    model = SequenceModel(make_encoder("gru", 5, 8), 2, embedding=nn.Embedding(4, 5))
    assert model(torch.tensor([[0, 3, 1]])).shape == (1, 2)
    with pytest.raises(ValueError, match="token ids from 0 to 3, got 0 to 4"):
        model(torch.tensor([[0, 4]]))
    with pytest.raises(
        ValueError, match=r"unknown pooling 'first'; known: last, mean, max, mean\+max, every"
    ):
        SequenceModel(make_encoder("gru", 5, 8), 2, pooling="first")
