"""One vector a sequence: what is read, what is not, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rnnbook.encoders import RecurrentStack, reverse_real
from rnnbook.models import POOLINGS, AttentionPooling, Pooling, pool

LENGTHS = torch.tensor([3, 6, 1, 4])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pooling_equals_a_loop():
    outputs = random(4, 6, 5)
    rows = [outputs[i, :length] for i, length in enumerate(LENGTHS.tolist())]
    expected = {
        "last": torch.stack([row[-1] for row in rows]),
        "mean": torch.stack([row.mean(dim=0) for row in rows]),
        "max": torch.stack([row.amax(dim=0) for row in rows]),
    }
    expected["mean+max"] = torch.cat([expected["mean"], expected["max"]], dim=1)
    assert set(expected) == set(POOLINGS)
    for how, values in expected.items():
        torch.testing.assert_close(pool(outputs, LENGTHS, how), values)
    for row, length in zip(outputs, LENGTHS.tolist(), strict=True):
        row[length:] = torch.nan
    for how, values in expected.items():
        torch.testing.assert_close(pool(outputs, LENGTHS, how), values)


def test_the_largest_may_be_negative():
    assert pool(-torch.ones(1, 3, 2), torch.tensor([2]), "max").tolist() == [[-1.0, -1.0]]


# --- attention -----------------------------------------------------------------------------------


def attention(size: int = 5) -> Pooling:
    torch.manual_seed(0)
    return Pooling("attention", size).double()


def test_attention_equals_a_loop():
    pooling, outputs = attention(), random(4, 6, 5)
    hidden, score = pooling.attention.hidden, pooling.attention.score
    weights = pooling.attention.weights(outputs, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        h = outputs[row, :length]
        e = torch.stack([score.weight[0].dot(torch.tanh(hidden.weight @ h_t + hidden.bias)) for h_t in h])
        alpha = e.exp() / e.exp().sum()
        torch.testing.assert_close(weights[row], torch.cat([alpha, alpha.new_zeros(6 - length)]))
        expected = sum(a * h_t for a, h_t in zip(alpha, h, strict=True))
        torch.testing.assert_close(pooling(outputs, LENGTHS)[row], expected)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e300])
def test_attention_does_not_look_into_the_padding(value):
    outputs, gradients = random(4, 6, 5), []
    clean = outputs.masked_fill(torch.arange(6).expand(4, 6).ge(LENGTHS[:, None])[:, :, None], 7.0)
    for padded in (clean, clean.masked_fill(clean == 7.0, value)):
        pooling = attention()
        read = padded.requires_grad_()
        vectors = pooling(read, LENGTHS)
        torch.testing.assert_close(vectors, attention()(outputs, LENGTHS), rtol=0, atol=1e-14)
        vectors.square().sum().backward()
        gradients.append([read.grad, *(parameter.grad for parameter in pooling.parameters())])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-14)
    assert (gradients[0][0].abs().sum(dim=2) > 0).sum(dim=1).tolist() == LENGTHS.tolist()


def test_attention_with_equal_scores_is_the_mean():
    pooling, outputs = attention(), random(4, 6, 5)
    torch.nn.init.zeros_(pooling.attention.score.weight)
    torch.testing.assert_close(pooling(outputs, LENGTHS), pool(outputs, LENGTHS, "mean"))


@pytest.mark.parametrize("how", Pooling.known)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_pooling_says_its_size_and_has_no_parameters_but_for_attention(how, bidirectional):
    pooling, outputs = Pooling(how, 6, bidirectional=bidirectional).double(), random(4, 6, 6)
    vectors = pooling(outputs, LENGTHS)
    assert vectors.shape == (4, pooling.output_size)
    assert len(list(pooling.parameters())) == (3 if how == "attention" else 0)
    if how in POOLINGS:
        assert torch.equal(vectors, pool(outputs, LENGTHS, how, bidirectional=bidirectional))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 1), (4,)])
def test_only_batch_time_feature_is_a_padded_batch(shape):
    x, message = torch.zeros(shape), r"expected shape \(batch, time, feature\), got \(4,"
    with pytest.raises(ValueError, match=message):
        pool(x, LENGTHS, "last")
    with pytest.raises(ValueError, match=message):
        AttentionPooling(3)(x, LENGTHS)
    with pytest.raises(ValueError, match=message):
        reverse_real(x, LENGTHS)
    with pytest.raises(ValueError, match=message):
        RecurrentStack("gru", 6, 4)(x, LENGTHS)


def test_lengths_are_checked_wherever_they_enter():
    x, lengths = torch.zeros(4, 5, 3), LENGTHS
    message = "lengths from 1 to T = 5, got 1 to 6"
    for how in POOLINGS:
        with pytest.raises(ValueError, match=message):
            pool(x, lengths, how)
    with pytest.raises(ValueError, match=message):
        AttentionPooling(3)(x, lengths)
    with pytest.raises(ValueError, match=message):
        reverse_real(x, lengths)
    with pytest.raises(ValueError, match=message):
        RecurrentStack("gru", 3, 4)(x, lengths)
    with pytest.raises(ValueError, match="unknown pooling 'first'"):
        pool(x, lengths, "first")
    with pytest.raises(ValueError, match=r"unknown pooling 'first'; known: last, .*, attention$"):
        Pooling("first", 3)
