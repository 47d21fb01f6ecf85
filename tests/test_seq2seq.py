"""Encoder, attention and decoder against loops over places and against PyTorch's own pieces."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook.batches import length_mask
from rnnbook.encoders import LAYERS
from rnnbook.seq2seq import (
    ATTENTIONS,
    AdditiveAttention,
    Decoder,
    DecoderState,
    Encoder,
    MultiplicativeAttention,
    Seq2Seq,
)

V, E, H = 11, 5, 6
SOURCE, LENGTHS = torch.tensor([[4, 5, 6, 7], [8, 9, 0, 0], [10, 0, 0, 0]]), torch.tensor([4, 2, 1])
TARGET, TARGET_LENGTHS = torch.tensor([[2, 4, 5], [2, 6, 0], [2, 7, 8]]), torch.tensor([3, 2, 3])
BATCH = (SOURCE, LENGTHS, TARGET, TARGET_LENGTHS)
KINDS = (*ATTENTIONS, None)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(attention: str | None = "additive", rnn_type: str = "lstm", dropout: float = 0.0) -> Seq2Seq:
    """Build a small model in float64 with weights far enough from zero for attention to choose."""
    torch.manual_seed(0)
    encoder = Encoder(V, E, H, rnn_type=rnn_type, dropout=dropout)
    decoder = Decoder(V, E, H, rnn_type=rnn_type, attention=attention, dropout=dropout)
    model = Seq2Seq(encoder, decoder).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        decoder.bias.copy_(random(V))
    return model


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


# --- attention -----------------------------------------------------------------------------------


def by_loop(attention: nn.Module, queries: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
    """Take α pair by pair, from the real places alone, as the papers write it."""
    rows = []
    for b in range(len(queries)):
        for h in queries[b]:
            scores = {}
            for s in range(memory.shape[1]):
                if mask[b, s]:
                    place = attention.place.weight @ memory[b, s]
                    if isinstance(attention, AdditiveAttention):
                        hidden = torch.tanh(attention.query.weight @ h + attention.query.bias + place)
                        scores[s] = attention.score.weight[0].dot(hidden)
                    else:
                        scores[s] = h.dot(place)
            total = sum(score.exp() for score in scores.values())
            zero = torch.zeros((), dtype=torch.float64)
            row = [scores[s].exp() / total if s in scores else zero for s in range(memory.shape[1])]
            rows.append(torch.stack(row))
    return torch.stack(rows).view(*queries.shape[:2], -1)


@pytest.mark.parametrize("kind", [AdditiveAttention, MultiplicativeAttention])
def test_attention_equals_a_loop_in_value_and_gradient(kind):
    torch.manual_seed(0)
    attention, mask = kind(H).double(), length_mask(torch.tensor([4, 2, 1]), 4)
    found = []
    for way in (attention, lambda *inputs: by_loop(attention, *inputs)):
        queries, memory = random(3, 2, H).requires_grad_(), random(3, 4, H, seed=1).requires_grad_()
        weights = way(queries, memory, mask)
        inputs = [queries, memory, *attention.parameters()]
        found.append([weights, *torch.autograd.grad((weights * random(3, 2, 4, seed=2)).sum(), inputs)])
    for ours, looped in zip(*found, strict=True):
        close(ours, looped)
    assert (found[0][1][0].abs() > 1e-4).all(), "the gradient says something"


@pytest.mark.parametrize("kind", [AdditiveAttention, MultiplicativeAttention])
def test_shares_have_the_sum_1_and_none_is_in_the_padding(kind):
    attention, mask = kind(H).double(), length_mask(LENGTHS, 4)
    weights = attention(random(3, 5, H), 100 * random(3, 4, H, seed=1), mask)
    close(weights.sum(dim=2), torch.ones(3, 5, dtype=torch.float64))
    assert ((weights > 0) <= mask[:, None]).all()
    assert weights[2, :, 0].tolist() == [1.0] * 5


# --- the whole model -----------------------------------------------------------------------------


def one_to_another(model: Seq2Seq, rnn_type: str) -> Tensor:
    """Compute logits (N, V) from PyTorch's own layers: packed, bidirectional, its own attention."""
    encoder, decoder = model.encoder, model.decoder
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[rnn_type]
    reader = kind(E, H // 2, batch_first=True, bidirectional=True).double()
    backwards = encoder.stack.backwards[0].state_dict()
    reader.load_state_dict(
        {
            **encoder.stack.forwards[0].state_dict(),
            **{f"{name}_reverse": part for name, part in backwards.items()},
        }
    )
    vectors = encoder.embedding.weight[SOURCE]
    outputs, last = reader(pack_padded_sequence(vectors, LENGTHS, batch_first=True, enforce_sorted=False))
    memory, _ = pad_packed_sequence(outputs, batch_first=True)
    hidden = last[0] if rnn_type == "lstm" else last
    first = decoder.first_state(torch.cat([hidden[0], hidden[1]], dim=1)).tanh()[None]

    writer = kind(E, H, batch_first=True).double()
    writer.load_state_dict(decoder.rnn.state_dict())
    state = (first[..., :H].contiguous(), first[..., H:].contiguous()) if rnn_type == "lstm" else first
    h, _ = writer(decoder.embedding.weight[TARGET], state)
    mask = (torch.arange(4) < LENGTHS[:, None])[:, None]
    if decoder.attention is None:
        context = torch.cat([hidden[0], hidden[1]], dim=1)[:, None].expand(-1, 3, -1)
    elif isinstance(decoder.attention, MultiplicativeAttention):
        keys = memory @ decoder.attention.place.weight.T
        context = scaled_dot_product_attention(h, keys, memory, attn_mask=mask, scale=1.0)
    else:
        context = by_loop(decoder.attention, h, memory, mask[:, 0]) @ memory
    features = (torch.cat([h, context], dim=2) @ decoder.combine.weight.T + decoder.combine.bias).tanh()
    logits = features @ decoder.embedding.weight.T + decoder.bias
    return torch.cat([logits[b, :n] for b, n in enumerate(TARGET_LENGTHS.tolist())])


@pytest.mark.parametrize("rnn_type", LAYERS)
@pytest.mark.parametrize("attention", KINDS)
def test_the_model_is_that_of_the_parts_of_pytorch(attention, rnn_type):
    model = make(attention, rnn_type)
    close(model(*BATCH), one_to_another(model, rnn_type))


@pytest.mark.parametrize("rnn_type", LAYERS)
@pytest.mark.parametrize("attention", KINDS)
def test_a_known_target_is_read_at_once_as_token_by_token(attention, rnn_type):
    model = make(attention, rnn_type)
    at_once = iter(model(*BATCH).log_softmax(dim=1))
    for b, length in enumerate(TARGET_LENGTHS.tolist()):
        state = model.start(SOURCE, LENGTHS)
        for t in range(length):
            log_probs, state = model.step(TARGET[:, t], state)
            close(log_probs.exp().sum(dim=1), torch.ones(3, dtype=torch.float64))
            close(log_probs[b], next(at_once))
    assert next(at_once, None) is None


@pytest.mark.parametrize("attention", KINDS)
def test_what_stands_in_the_padding_changes_nothing(attention):
    model, others = make(attention), SOURCE.clone()
    others[SOURCE == 0] = torch.tensor([10, 3, 5, 1, 7])
    wider = torch.cat([others, torch.full((3, 2), 9)], dim=1)
    target = torch.where(TARGET == 0, 9, TARGET)
    expected = model(*BATCH)
    for source in (others, wider):
        assert torch.equal(model(source, LENGTHS, target, TARGET_LENGTHS), expected)
        weights = model.decoder(TARGET, model.start(source, LENGTHS))[2]
        if attention:
            assert not weights[1, :, 2:].any()
            assert not weights[2, :, 1:].any()
    read = SOURCE.clone()
    read[0, 3] = 4
    changed = (model(read, LENGTHS, TARGET, TARGET_LENGTHS) - expected).abs().amax(dim=1)
    assert (changed > 1e-6).tolist() == [True] * 3 + [False] * 5, "and what is real does, in its row alone"


@pytest.mark.parametrize("attention", KINDS)
def test_a_sentence_alone_is_read_as_in_a_batch(attention):
    model = make(attention)
    together = model(*BATCH).split(TARGET_LENGTHS.tolist())
    for b in range(3):
        s, t = int(LENGTHS[b]), int(TARGET_LENGTHS[b])
        alone = model(
            SOURCE[b : b + 1, :s], LENGTHS[b : b + 1], TARGET[b : b + 1, :t], TARGET_LENGTHS[b : b + 1]
        )
        close(alone, together[b])


def test_without_attention_each_step_sees_the_same_summary():
    model = make(None)
    memory, summary = model.encoder(SOURCE, LENGTHS)
    state = model.start(SOURCE, LENGTHS)
    features, after, weights = model.decoder(TARGET, state)
    assert torch.equal(state.memory[:, 0], summary)
    assert weights.tolist() == [[[1.0]] * 3] * 3
    assert after.memory is state.memory
    outside = model.decoder(TARGET, model.decoder.start(memory + 1, summary, LENGTHS))[0]
    assert torch.equal(features, outside), "nothing but the summary comes over"
    outside = model.decoder(TARGET, state._replace(memory=(summary + 1).unsqueeze(1)))[0]
    assert ((features - outside).abs().amax(dim=2) > 1e-4).all(), "and it does at each step"


def test_the_summary_joins_the_ends_of_both_directions():
    encoder = make().encoder
    memory, summary = encoder(SOURCE, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(summary[b], torch.cat([memory[b, length - 1, : H // 2], memory[b, 0, H // 2 :]]))


@pytest.mark.parametrize("rnn_type", LAYERS)
def test_rows_of_a_state_go_on_like_the_rows_they_are_of(rnn_type):
    model = make(rnn_type=rnn_type)
    _, state = model.step(TARGET[:, 0], model.start(SOURCE, LENGTHS))
    index = torch.tensor([2, 0, 2, 1])
    chosen = state.rows(index)
    assert isinstance(chosen, DecoderState)
    close(model.step(TARGET[index, 1], chosen)[0], model.step(TARGET[:, 1], state)[0][index])


@pytest.mark.parametrize("attention", KINDS)
def test_every_weight_learns(attention):
    model = make(attention)
    model(*BATCH).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert not model.encoder.embedding.weight.grad[0].any(), "but for the vector of the padding"


def test_dropout_acts_in_training_alone():
    model = make(dropout=0.5)
    close(model(*BATCH), make()(*BATCH))
    model.train()
    first, second = model(*BATCH), model(*BATCH)
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize("attention", KINDS)
def test_the_first_guess_is_nearly_uniform(attention):
    torch.manual_seed(0)
    model = Seq2Seq(Encoder(1000, 64, 64), Decoder(1000, 64, 64, attention=attention))
    loss = nn.functional.cross_entropy(model(*BATCH), torch.randint(1000, (8,)))
    assert loss.item() == pytest.approx(math.log(1000), abs=0.3)


def test_the_weights_keep_the_names_and_shapes_of_the_recorded_models():
    shapes = {name: tuple(part.shape) for name, part in make("multiplicative").state_dict().items()}
    reader = {
        "weight_ih_l0": (2 * H, E),
        "weight_hh_l0": (2 * H, H // 2),
        "bias_ih_l0": (2 * H,),
        "bias_hh_l0": (2 * H,),
    }
    writer = {
        "weight_ih_l0": (4 * H, E),
        "weight_hh_l0": (4 * H, H),
        "bias_ih_l0": (4 * H,),
        "bias_hh_l0": (4 * H,),
    }
    assert shapes == {
        "encoder.embedding.weight": (V, E),
        **{f"encoder.stack.forwards.0.{name}": shape for name, shape in reader.items()},
        **{f"encoder.stack.backwards.0.{name}": shape for name, shape in reader.items()},
        "decoder.embedding.weight": (V, E),
        "decoder.bias": (V,),
        "decoder.first_state.weight": (2 * H, H),
        "decoder.first_state.bias": (2 * H,),
        **{f"decoder.rnn.{name}": shape for name, shape in writer.items()},
        "decoder.attention.place.weight": (H, H),
        "decoder.combine.weight": (E, 2 * H),
        "decoder.combine.bias": (E,),
    }


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({1: torch.tensor([4, 2, 0])}, ValueError, "lengths from 1 to T = 4, got 0 to 4: an empty text"),
        ({0: SOURCE[:, :0]}, ValueError, "lengths from 1 to T = 0"),
        ({1: LENGTHS[:2]}, ValueError, r"one length a row, shape \(3,\), got \(2,\)"),
        ({1: LENGTHS.float()}, TypeError, "lengths as integers"),
        ({0: SOURCE[:, 0]}, ValueError, r"ids of shape \(batch, time\), got \(3,\)"),
        (
            {0: SOURCE + 1},
            ValueError,
            "ids from 0 to 10, got 1 to 11: were they made with another vocabulary",
        ),
        ({0: SOURCE.double()}, TypeError, "token ids as integers"),
        ({2: TARGET + 4}, ValueError, "ids from 0 to 10, got 4 to 12"),
        ({2: TARGET - 3}, ValueError, "ids from 0 to 10, got -3 to 5"),
        ({2: TARGET.double()}, TypeError, "token ids as integers"),
        (
            {2: TARGET[:2], 3: TARGET_LENGTHS[:2]},
            ValueError,
            r"shape \(3, time\), one row a source, got \(2, 3\)",
        ),
        ({2: TARGET[:, 0]}, ValueError, r"shape \(3, time\), one row a source, got \(3,\)"),
        ({3: TARGET_LENGTHS[:2]}, ValueError, r"one length a row, shape \(3,\), got \(2,\)"),
        ({3: TARGET_LENGTHS + 1}, ValueError, "lengths from 1 to T = 3, got 3 to 4"),
    ],
)
def test_batches_that_do_not_fit(change, error, message):
    with pytest.raises(error, match=message):
        make()(*(change.get(i, part) for i, part in enumerate(BATCH)))


@pytest.mark.parametrize("tokens", [torch.tensor([2, 2]), torch.tensor([2]), TARGET[:, :1]])
def test_a_step_takes_one_token_a_source(tokens):
    model = make(rnn_type="gru")
    with pytest.raises(ValueError, match=r"ids of shape \(3, time\), one row a source, got \("):
        model.step(tokens, model.start(SOURCE, LENGTHS))


def test_models_that_cannot_be():
    with pytest.raises(ValueError, match="an even hidden_size, half for each direction, got 7"):
        Encoder(V, E, 7)
    with pytest.raises(ValueError, match="unknown rnn_type 'transformer'; known: rnn, lstm, gru"):
        Encoder(V, E, H, rnn_type="transformer")
    with pytest.raises(ValueError, match="unknown rnn_type 'transformer'; known: rnn, lstm, gru"):
        Decoder(V, E, H, rnn_type="transformer")
    with pytest.raises(ValueError, match="unknown attention 'dot'; known: None, additive, multiplicative"):
        Decoder(V, E, H, attention="dot")
    with pytest.raises(ValueError, match="one hidden_size, got 6 and 8"):
        Seq2Seq(Encoder(V, E, 6), Decoder(V, E, 8))
