"""Attributions against closed forms, finite differences and numerical integrals; units against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import fixed_quad
from scipy.stats import pearsonr
from torch import Tensor, nn

from rnnbook import explain
from rnnbook.batches import length_mask, pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.explain import (
    faithfulness,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    unit_tracking,
)

METHODS = (gradient_times_input, integrated_gradients, occlusion)
TEXTS = [torch.tensor(ids) for ids in ([5, 2, 7], [3, 3, 9, 1, 4, 6], [8], [1, 2, 1])]
TOKENS, LENGTHS = pad_sequences(TEXTS)

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def make(**options: object) -> TextClassifier:
    """Make a small classifier in float64, far from linear."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 10, "embedding_dim": 3, "hidden_size": 4}
    model = TextClassifier(ClassifierConfig(**sizes | options)).double().eval()
    with torch.no_grad():
        model.embedding.weight[1:] *= 15
        model.readout.weight *= 10
    return model


class Bag(nn.Module):
    """The mean of the embedded tokens, linear in each: what a token adds can be written down."""

    def __init__(self, num_classes: int = 2, vocab_size: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(vocab_size, 3, padding_idx=0, dtype=torch.float64)
        self.readout = nn.Linear(3, num_classes, dtype=torch.float64)

    def from_vectors(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        return self.readout(vectors.sum(dim=1) / lengths.unsqueeze(1))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.from_vectors(self.embedding(tokens), lengths)


def odds(logits: Tensor, target: int) -> Tensor:
    """Compute the log-odds of a class from its probability."""
    p = logits.softmax(dim=1)[:, target]
    return (p / (1 - p)).log()


# --- attributions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
def test_a_linear_model_has_attributions_in_closed_form(target):
    model = Bag()
    weight = model.readout.weight[target] - model.readout.weight[1 - target]
    vectors = model.embedding.weight[TOKENS]
    real = length_mask(LENGTHS, TOKENS.shape[1])
    from_zero = (vectors @ weight / LENGTHS[:, None]).detach()
    unknown = model.embedding.weight[1]
    from_unknown = ((vectors - unknown) @ weight / LENGTHS[:, None]).detach() * real
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(gradient_times_input(model, TOKENS, target), from_zero, **close)
    zeros = integrated_gradients(model, TOKENS, target, baseline=None, num_steps=1)
    torch.testing.assert_close(zeros, from_zero, **close)
    torch.testing.assert_close(integrated_gradients(model, TOKENS, target), from_unknown, **close)
    torch.testing.assert_close(occlusion(model, TOKENS, target), from_unknown, **close)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_gradient_times_input_is_the_slope_of_scaling_one_vector(num_classes):
    model = make(num_classes=num_classes, bidirectional=True)
    found = gradient_times_input(model, TOKENS, 1)
    vectors, step = model.embedding(TOKENS).detach(), 1e-5
    for t in range(TOKENS.shape[1]):
        more, less = vectors.clone(), vectors.clone()
        more[:, t] *= 1 + step
        less[:, t] *= 1 - step
        up, down = (odds(model.from_vectors(v, LENGTHS), 1) for v in (more, less))
        torch.testing.assert_close(found[:, t], (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("baseline", [None, 1, 4])
def test_integrated_gradients_is_an_integral(baseline):
    model = make(num_classes=3, rnn_type="gru", pooling="mean")
    text, step = TEXTS[1], 1e-4
    found = integrated_gradients(model, text, 2, baseline=baseline, num_steps=1000)
    end = model.embedding(text)
    start = torch.zeros_like(end) if baseline is None else model.embedding(torch.full_like(text, baseline))

    @torch.no_grad()
    def slope(shares: np.ndarray, t: int) -> np.ndarray:
        points = start + torch.from_numpy(shares)[:, None, None] * (end - start)
        aside = torch.zeros_like(end)
        aside[t] = step * (end - start)[t]
        lengths = torch.full((len(shares),), len(text))
        up, down = (odds(model.from_vectors(points + by * aside, lengths), 2) for by in (1, -1))
        return ((up - down) / (2 * step)).numpy()

    wanted = [fixed_quad(slope, 0, 1, args=(t,), n=40)[0] for t in range(len(text))]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert found.abs().max() > 0.1


@pytest.mark.parametrize("baseline", [None, 1, 4])
@pytest.mark.parametrize("rnn_type", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_integrated_gradients_is_complete(rnn_type, bidirectional, baseline):
    model = make(rnn_type=rnn_type, bidirectional=bidirectional, pooling="mean", num_classes=3)
    vectors = model.embedding.weight.clone()
    start = (vectors * 0 if baseline is None else vectors[[baseline] * 10])[TOKENS]
    gain = odds(model(TOKENS, LENGTHS), 2) - odds(model.from_vectors(start, LENGTHS), 2)
    errors = [
        (integrated_gradients(model, TOKENS, 2, baseline=baseline, num_steps=n).sum(dim=1) - gain).abs().max()
        for n in (8, 32, 128)
    ]
    assert errors[1] < 0.01 * gain.abs().max()
    assert errors[2] < errors[0] / 50  # the middles of the steps: an error of the second order
    assert gain.abs().max() > 0.2


def test_occlusion_is_one_answer_a_token():
    model = make(num_classes=3, bidirectional=True)
    found = occlusion(model, TOKENS, 0)
    for row, text in enumerate(TEXTS):
        whole = odds(model(text[None], torch.tensor([len(text)])), 0)
        for t in range(len(text)):
            variant = torch.cat([text[:t], torch.tensor([1]), text[t + 1 :]])
            lost = whole - odds(model(variant[None], torch.tensor([len(text)])), 0)
            assert found[row, t] == pytest.approx(lost.item(), abs=1e-12)
    assert (found[TOKENS <= 1] == 0).all()


@every_method
def test_one_text_and_a_batch_agree(method):
    model = make(bidirectional=True)
    together = method(model, TOKENS, 1)
    assert together.shape == TOKENS.shape
    assert not together.requires_grad
    assert (together[TOKENS == 0] == 0).all()
    for row, text in enumerate(TEXTS):
        alone = method(model, text, 1)
        assert alone.shape == text.shape
        torch.testing.assert_close(together[row, : len(text)], alone, rtol=0, atol=1e-12)


@every_method
def test_the_size_of_a_pass_changes_nothing(method, monkeypatch):
    model = make()
    whole = method(model, TOKENS, 1)
    monkeypatch.setattr(explain, "_ROWS", 3)
    torch.testing.assert_close(method(model, TOKENS, 1), whole, rtol=0, atol=1e-12)


@every_method
def test_the_class_is_the_predicted_one_unless_given(method):
    model = make(num_classes=3)
    predicted = model(TOKENS, LENGTHS).argmax(dim=1)
    assert len(predicted.unique()) > 1
    by_class = torch.stack([method(model, TOKENS, target) for target in range(3)])
    torch.testing.assert_close(method(model, TOKENS), by_class[predicted, torch.arange(4)])
    mixed = torch.tensor([0, 2, 1, 1])
    torch.testing.assert_close(method(model, TOKENS, mixed), by_class[mixed, torch.arange(4)])
    two = make()
    torch.testing.assert_close(method(two, TOKENS, 0), -method(two, TOKENS, 1))


@every_method
def test_dropout_stays_out_and_the_mode_and_the_weights_stay(method):
    model = make(dropout=0.5, word_dropout=0.5)
    wanted = method(model, TOKENS, 1)
    model.train()
    with torch.no_grad():
        found = method(model, TOKENS, 1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="0 to 1"):
        method(model, TOKENS, 2)
    assert model.training


@every_method
@pytest.mark.parametrize(
    ("tokens", "target", "error", "words"),
    [
        (torch.zeros(1, 2, 3, dtype=torch.int64), None, ValueError, r"\(T,\) or of a batch .*\(1, 2, 3\)"),
        (torch.tensor(3), None, ValueError, r"got \(\)"),
        (torch.zeros(0, dtype=torch.int64), None, ValueError, r"shape \(0,\): no token"),
        (torch.zeros(0, 3, dtype=torch.int64), None, ValueError, r"shape \(0, 3\): no token"),
        (torch.tensor([[3, 4], [0, 0]]), None, ValueError, "empty text"),
        (torch.tensor([3, 0, 4]), None, ValueError, "row 0"),
        (torch.tensor([3, 10]), None, ValueError, "0 to 9"),
        (torch.tensor([3.0]), None, TypeError, "integers"),
        (TOKENS, 2, ValueError, "classes from 0 to 1, got 2 to 2"),
        (TOKENS, -1, ValueError, "classes from 0 to 1, got -1 to -1"),
        (TOKENS, torch.tensor([0, 1, 0, 5]), ValueError, "0 to 1, got 0 to 5"),
        (TOKENS, torch.tensor([0, 1]), ValueError, r"\(4,\), got shape \(2,\)"),
        (TOKENS, 0.5, TypeError, "classes as integers"),
        (TOKENS, True, TypeError, "classes as integers"),
    ],
)
def test_texts_and_classes_that_do_not_fit_are_refused(method, tokens, target, error, words):
    with pytest.raises(error, match=words):
        method(make(), tokens, target)


@every_method
def test_one_class_has_no_odds(method):
    with pytest.raises(ValueError, match="at least two logits"):
        method(make(num_classes=1), TOKENS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_steps": 0}, "at least one step"),
        ({"baseline": 10}, "0 to 9, got 10"),
        ({"baseline": -1}, "got -1"),
    ],
)
def test_a_way_from_nowhere_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        integrated_gradients(make(), TOKENS, **options)


# --- faithfulness ----------------------------------------------------------------------------------


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.01, 0.4, 0.5, 1.0])
def test_faithfulness_by_hand(share):
    model = make(num_classes=3)
    scores = torch.randn(TOKENS.shape, generator=seeded(1))
    found = faithfulness(model, TOKENS, scores, share=share, generator=seeded())
    for row, text in enumerate(TEXTS):
        length = torch.tensor([len(text)])
        before = model(text[None], length).softmax(dim=1)[0]
        for name, sign in (("most", -1), ("least", 1)):
            ranked = sorted(range(len(text)), key=lambda t, sign=sign: sign * float(scores[row, t]))
            removed = ranked[: max(1, round(share * len(text)))]
            variant = torch.tensor([1 if t in removed else id_ for t, id_ in enumerate(text.tolist())])
            after = model(variant[None], length).softmax(dim=1)[0]
            wanted = before.max() - after[before.argmax()]
            assert getattr(found, name)[row].item() == pytest.approx(wanted.item(), abs=1e-12)


def test_random_tokens_are_drawn_evenly_and_never_from_the_padding():
    model = Bag()
    with torch.no_grad():  # one token says it all, and stands at each place of the text once
        model.embedding.weight.zero_()
        model.embedding.weight[2] = 1.0
        model.readout.weight.copy_(torch.tensor([[-4.0] * 3, [4.0] * 3]))
        model.readout.bias.zero_()
    texts = [torch.tensor([2 if t == place else 3 for t in range(5)]) for place in range(5)]
    tokens, _ = pad_sequences([*texts * 100, torch.full((12,), 3)])
    tokens = tokens[:-1]  # (500, 12), of which 7 are padding
    found = faithfulness(model, tokens, occlusion(model, tokens), share=0.2, generator=seeded())
    fell = found.random > 0.1
    assert (found.most > 0.4).all()
    assert (found.least.abs() < 1e-12).all()
    assert fell.double().mean().item() == pytest.approx(0.2, abs=0.06)
    places = fell.reshape(100, 5).sum(dim=0)
    assert places.min() > 8
    assert places.max() < 36
    again = faithfulness(model, tokens, occlusion(model, tokens), share=0.2, generator=seeded())
    assert torch.equal(found.random, again.random)
    other = faithfulness(model, tokens, occlusion(model, tokens), share=0.2, generator=seeded(1))
    assert not torch.equal(found.random, other.random)


def test_all_tokens_gone_is_one_answer_whatever_the_order():
    model = make()
    found = faithfulness(model, TOKENS, torch.zeros(TOKENS.shape), share=1.0, generator=seeded())
    torch.testing.assert_close(found.most, found.least)
    torch.testing.assert_close(found.most, found.random)


def test_ties_go_to_the_earlier_token():
    model, text = make(), TEXTS[0]
    flat = faithfulness(model, text, torch.zeros(3), share=0.3, generator=seeded())
    first = faithfulness(model, text, torch.tensor([1.0, 0, 0]), share=0.3, generator=seeded())
    torch.testing.assert_close(flat.most, first.most)


def test_good_attributions_beat_chance_and_bad_ones_do_not():
    model = make(rnn_type="gru", pooling="max")
    tokens = torch.randint(2, 10, (200, 12), generator=seeded(2))
    for method in METHODS:
        found = faithfulness(model, tokens, method(model, tokens), generator=seeded())
        assert found.most.mean() > 3 * found.random.mean() > 0.1
        assert found.least.mean() < 0
    noise = torch.rand(tokens.shape, generator=seeded(3))
    found = faithfulness(model, tokens, noise, generator=seeded())
    assert abs(found.most.mean() - found.random.mean()) < 0.05


@pytest.mark.parametrize(
    ("scores", "share", "words"),
    [
        (torch.zeros(TOKENS.shape), 0.0, "share above 0"),
        (torch.zeros(TOKENS.shape), 20, "up to 1, got 20"),
        (torch.zeros(TOKENS.shape), math.nan, "share above 0"),
        (torch.zeros(4, 5), 0.2, r"\(4, 6\), got \(4, 5\)"),
        (torch.full(TOKENS.shape, math.nan), 0.2, "infinite numbers or NaN"),
    ],
)
def test_attributions_that_give_no_order_are_refused(scores, share, words):
    with pytest.raises(ValueError, match=words):
        faithfulness(make(), TOKENS, scores, share=share, generator=seeded())


def test_faithfulness_keeps_the_mode():
    model = make(dropout=0.5).train()
    wanted = faithfulness(make(), TOKENS, TOKENS.double(), generator=seeded())
    found = faithfulness(model, TOKENS, TOKENS.double(), generator=seeded())
    torch.testing.assert_close(found.most, wanted.most)
    assert model.training


# --- units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
def test_unit_tracking_is_the_correlation_of_scipy(binary):
    outputs = torch.randn(300, 5, generator=seeded(0)) * torch.tensor([1, 1e-4, 3, 1, 1]) + 2
    signal = outputs[:, 2] - outputs[:, 3] + torch.randn(300, generator=seeded(1))
    signal = signal > 2 if binary else signal
    wanted = [pearsonr(column, signal.double()).statistic for column in outputs.double().T]
    np.testing.assert_allclose(unit_tracking(outputs, signal), wanted, rtol=0, atol=1e-12)


def test_a_unit_that_is_the_signal_is_found_and_a_still_one_tracks_nothing():
    position = torch.arange(50)
    outputs = torch.stack([0.1 * position + 7, torch.full((50,), 0.1), -position.float()], dim=1)
    found = unit_tracking(outputs.requires_grad_(), position)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("outputs", "signal", "words"),
    [
        (torch.zeros(5), torch.arange(5), r"\(N, H\).*got \(5,\)"),
        (torch.zeros(2, 5, 3), torch.arange(2), r"got \(2, 5, 3\)"),
        (torch.zeros(5, 3), torch.arange(4), r"got \(5, 3\) and \(4,\)"),
        (torch.zeros(2, 3), torch.arange(2), "at least three tokens .*got 2"),
        (torch.zeros(5, 3), torch.full((5,), 0.1), "signal is 0.1 at each token"),
        (torch.full((5, 3), math.nan), torch.arange(5), "infinite numbers or NaN"),
        (torch.zeros(5, 3), torch.full((5,), math.inf), "infinite numbers or NaN"),
    ],
)
def test_a_correlation_with_nothing_is_refused(outputs, signal, words):
    with pytest.raises(ValueError, match=words):
        unit_tracking(outputs, signal)
