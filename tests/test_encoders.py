"""Encoders: what a step can see, what padding can do (nothing), and how a name becomes a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook.encoders import (
    ENCODERS,
    LAYERS,
    CausalAttention,
    CausalConvolution,
    RecurrentStack,
    in_windows,
    make_encoder,
    reverse_real,
)
from rnnbook.models import Pooling, SequenceModel, pool

CAUSAL = [kind for kind in ENCODERS if kind != "bilstm"]
LENGTHS = torch.tensor([3, 6, 1])
TORCHS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

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


# --- the layers ----------------------------------------------------------------------------------


def torchs(
    stack: RecurrentStack, rnn_type: str, hidden: int, num_layers: int, bidirectional: bool
) -> nn.Module:
    """Make PyTorch's layer with the weights of ours."""
    layer = TORCHS[rnn_type](
        3, hidden, num_layers=num_layers, bidirectional=bidirectional, batch_first=True
    ).double()
    weights = {}
    for suffix, layers in (("", stack.forwards), ("_reverse", stack.backwards)):
        for depth, own in enumerate(layers):
            for name, value in own.state_dict().items():
                weights[name.replace("_l0", f"_l{depth}{suffix}")] = value
    layer.load_state_dict(weights, strict=True)
    return layer


@pytest.mark.parametrize("rnn_type", TORCHS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_stack_equals_torch_on_packed_sequences(rnn_type, bidirectional, num_layers):
    torch.manual_seed(0)
    stack = RecurrentStack(rnn_type, 3, 4, num_layers=num_layers, bidirectional=bidirectional).double()
    layer = torchs(stack, rnn_type, 4, num_layers, bidirectional)
    assert stack.output_size == 4 * (1 + bidirectional)
    inputs = [random(3, 6, 3).requires_grad_() for _ in range(2)]
    ours = stack(inputs[0], LENGTHS)
    packed = pack_padded_sequence(inputs[1], LENGTHS, batch_first=True, enforce_sorted=False)
    theirs = pad_packed_sequence(layer(packed)[0], batch_first=True)[0]
    real = torch.arange(6) < LENGTHS[:, None]
    torch.testing.assert_close(ours[real], theirs[real], rtol=1e-10, atol=1e-10)
    weight = random(*ours.shape, seed=2) * real[:, :, None]
    for outputs in (ours, theirs):
        (outputs * weight).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-10, atol=1e-10)
    theirs_of = dict(layer.named_parameters())
    for suffix, layers in (("", stack.forwards), ("_reverse", stack.backwards)):
        for depth, own in enumerate(layers):
            for name, parameter in own.named_parameters():
                twin = theirs_of[name.replace("_l0", f"_l{depth}{suffix}")]
                torch.testing.assert_close(parameter.grad, twin.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rnn_type", TORCHS)
def test_first_weights_are_those_of_torch(rnn_type):
    assert LAYERS.keys() == TORCHS.keys()
    torch.manual_seed(3)
    stack = RecurrentStack(rnn_type, 3, 4, num_layers=2, bidirectional=True)
    torch.manual_seed(3)
    sizes = (3, 8, 3, 8)  # all forward layers, then all backward ones
    theirs = [p for size in sizes for p in TORCHS[rnn_type](size, 4, batch_first=True).parameters()]
    for own, twin in zip(stack.parameters(), theirs, strict=True):
        assert torch.equal(own, twin)


def test_reversing_by_hand_and_twice():
    x = torch.arange(8.0).reshape(2, 4, 1)
    assert reverse_real(x, torch.tensor([3, 1]))[:, :, 0].tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]
    x = random(3, 6, 3)
    assert torch.equal(reverse_real(reverse_real(x, LENGTHS), LENGTHS), x)
    assert torch.equal(reverse_real(x, torch.full((3,), 6)), x.flip(1))


# --- windows -------------------------------------------------------------------------------------


def windows_one_by_one(encoder: nn.Module, row: Tensor, window: int) -> Tensor:
    """Cut x (T, I) without padding, and read each piece alone: (T, H)."""
    pieces = [encoder(piece[None], torch.tensor([len(piece)]))[0] for piece in row.split(window)]
    return torch.cat(pieces)


@every_kind
@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 6, 7, 100, None])
def test_each_window_is_read_as_if_alone(kind, window):
    encoder, x = made(kind), random(3, 6, 3)
    outputs = in_windows(encoder, x, LENGTHS, window)
    assert outputs.shape == (3, 6, encoder.output_size)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = windows_one_by_one(encoder, x[row, :length], window or 6)
        torch.testing.assert_close(outputs[row, :length], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "bilstm"])
def test_no_step_sees_beyond_its_window(kind):
    stack, x = made(kind), random(1, 7, 3).requires_grad_()
    outputs = in_windows(stack, x, torch.tensor([7]), 3)
    rows = [torch.autograd.grad(outputs[0, t].square().sum(), x, retain_graph=True)[0][0] for t in range(7)]
    window = torch.arange(7) // 3
    allowed = window[:, None] == window
    if kind != "bilstm":
        allowed &= torch.ones(7, 7).tril().bool()
    assert torch.equal(torch.stack([row.abs().sum(dim=1) > 0 for row in rows]), allowed)


def test_windows_depend_on_no_other_row_and_padding_is_not_read():
    stack, x = made("bilstm"), random(3, 6, 3)
    real = torch.arange(6) < LENGTHS[:, None]
    poisoned = x.masked_fill(~real[:, :, None], torch.nan).requires_grad_()
    clean, read = in_windows(stack, x, LENGTHS, 2), in_windows(stack, poisoned, LENGTHS, 2)
    assert torch.equal(read[real], clean[real])
    longer = nn.functional.pad(x, (0, 0, 0, 5))  # a longer batch-mate makes more padding
    with_mate = in_windows(stack, torch.cat([longer, random(1, 11, 3)]), torch.tensor([3, 6, 1, 11]), 4)
    own = in_windows(stack, x, LENGTHS, 4)
    torch.testing.assert_close(with_mate[:3, :6][real], own[real], rtol=0, atol=1e-12)


def test_windows_without_a_token_are_not_run():
    seen = []

    class Spy(nn.Module):
        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            seen.append((tuple(x.shape), lengths.tolist()))
            return x

    x = random(3, 6, 3)
    outputs = in_windows(Spy(), x, LENGTHS, 2)
    assert seen == [((6, 2, 3), [2, 1, 2, 2, 2, 1])]
    real = torch.arange(6) < LENGTHS[:, None]
    assert torch.equal(outputs[real], x[real])


def test_windows_that_are_none():
    with pytest.raises(ValueError, match="a window of at least one time step, got 0"):
        in_windows(made("gru"), random(3, 6, 3), LENGTHS, 0)
    with pytest.raises(ValueError, match="lengths from 1 to T = 6"):
        in_windows(made("gru"), random(3, 6, 3), torch.tensor([3, 7, 1]), 2)


# --- one model around any of them ------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("pooling", Pooling.known)
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
        ValueError, match=r"unknown pooling 'first'; known: last, mean, max, mean\+max, attention, every"
    ):
        SequenceModel(make_encoder("gru", 5, 8), 2, pooling="first")
