"""Attacks on words and vectors against brute force, their controls, and an oracle of what a text says."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor, nn

from rnnbook.attack import hotflip, neutral_words, pgd, random_direction, random_words
from rnnbook.batches import Batches, length_mask, pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.train import train

VOCAB_SIZE = 40
MARKERS = {0: torch.arange(2, 6), 1: torch.arange(6, 10)}  # the label is whose marker stands in the text
HINTS = {0: torch.arange(10, 14), 1: torch.arange(14, 18)}  # go with the label and do not make it
LABELS = torch.arange(60) % 2
HARMLESS = torch.arange(VOCAB_SIZE) >= 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(labels: Tensor, seed: int) -> list[Tensor]:
    """Make texts of one marker, mostly one hint, and fillers, in random order."""
    rng = generator(seed)
    texts = []
    for label in labels.tolist():
        words = torch.randint(18, VOCAB_SIZE, (int(torch.randint(3, 8, (), generator=rng)),), generator=rng)
        side = label if torch.rand((), generator=rng) < 0.8 else 1 - label
        pick = torch.randint(4, (2,), generator=rng)
        words = torch.cat([words, MARKERS[label][pick[:1]], HINTS[side][pick[1:]]])
        texts.append(words[torch.randperm(len(words), generator=rng)])
    return texts


def says(tokens: Tensor) -> list[set[int]]:
    """Tell by the definition of the task which labels a text speaks for."""
    return [{label for label, of in MARKERS.items() if torch.isin(of, row).any()} for row in tokens]


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    torch.manual_seed(0)
    model = TextClassifier(ClassifierConfig(VOCAB_SIZE, embedding_dim=8, hidden_size=8, rnn_type="gru"))
    labels = torch.arange(400) % 2
    train(
        model,
        Batches(draw(labels, 1), labels, batch_size=32, generator=generator()),
        num_epochs=4,
        learning_rate=1e-2,
    )
    model.zero_grad()
    return model


@pytest.fixture(scope="module")
def texts() -> tuple[Tensor, Tensor]:
    return pad_sequences(draw(LABELS, 2))


def losses(model: nn.Module, tokens: Tensor, lengths: Tensor, labels: Tensor = LABELS) -> Tensor:
    with torch.no_grad():
        return nn.functional.cross_entropy(model.eval()(tokens, lengths), labels, reduction="none")


def vector_losses(model: TextClassifier, vectors: Tensor, lengths: Tensor, labels: Tensor = LABELS) -> Tensor:
    with torch.no_grad():
        logits = model.eval().from_vectors(vectors, lengths)
        return nn.functional.cross_entropy(logits, labels, reduction="none")


def right(model: nn.Module, tokens: Tensor, lengths: Tensor) -> float:
    with torch.no_grad():
        return (model(tokens, lengths).argmax(dim=1) == LABELS).float().mean().item()


def swaps(tokens: Tensor, length: int, allowed: Tensor) -> Tensor:
    """List every text (N, T) that one allowed swap in the text (T,) can give."""
    words = [v for v in range(2, len(allowed)) if allowed[v]]
    places = [t for t in range(length) if allowed[tokens[t]]]
    found = tokens.repeat(len(places) * len(words), 1)
    for row, (t, v) in zip(found, product(places, words), strict=True):
        row[t] = v
    return found[(found != tokens).any(dim=1)]


class Linear(TextClassifier):
    """A model whose logits are linear in the vectors, so that the estimate ranks all swaps as they are."""

    def from_vectors(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        weights = torch.randn(vectors.shape[1], 8, 2, generator=generator(5))
        mask = length_mask(lengths, vectors.shape[1]).float()
        return torch.einsum("bte,teo,bt->bo", vectors, weights, mask)


@pytest.fixture(scope="module")
def linear() -> Linear:
    torch.manual_seed(3)
    return Linear(ClassifierConfig(VOCAB_SIZE, embedding_dim=8, hidden_size=8))


# --- hotflip -------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [torch.ones(VOCAB_SIZE, dtype=torch.bool), HARMLESS])
def test_the_swap_is_the_best_of_all_where_the_estimate_is_exact(linear, texts, allowed):
    tokens, lengths = (part[:12] for part in texts)
    found = hotflip(linear, tokens, lengths, LABELS[:12], allowed=allowed)
    after = losses(linear, found.examples, lengths, LABELS[:12])
    for i, row in enumerate(tokens):
        every = swaps(row, int(lengths[i]), allowed)
        best = losses(linear, every, lengths[i].repeat(len(every)), LABELS[i].repeat(len(every))).max()
        torch.testing.assert_close(after[i], best)
    assert found.words_changed.tolist() == found.queries.tolist() == [1] * 12


def test_two_swaps_are_the_best_pair_where_the_estimate_is_exact(linear, texts):
    tokens, lengths = texts[0][:2], texts[1][:2]
    few = torch.isin(
        torch.arange(VOCAB_SIZE), torch.cat([tokens.flatten().unique()[1:], torch.tensor([3, 20])])
    )
    found = hotflip(linear, tokens, lengths, LABELS[:2], 2, allowed=few)
    after = losses(linear, found.examples, lengths, LABELS[:2])
    for i, row in enumerate(tokens):
        once = swaps(row, int(lengths[i]), few)
        pairs = torch.cat([swaps(one, int(lengths[i]), few) for one in once])
        pairs = pairs[(pairs != row).sum(dim=1) == 2]
        every = losses(linear, pairs, lengths[i].repeat(len(pairs)), LABELS[i].repeat(len(pairs)))
        torch.testing.assert_close(after[i], every.max())
    assert found.words_changed.tolist() == [2, 2]


def test_the_swap_raises_the_loss_of_a_network_more_than_most(model, texts):
    tokens, lengths = (part[:20] for part in texts)
    after = losses(model, hotflip(model, tokens, lengths, LABELS[:20]).examples, lengths, LABELS[:20])
    ranks = []
    for i, row in enumerate(tokens):
        every = swaps(row, int(lengths[i]), torch.ones(VOCAB_SIZE, dtype=torch.bool))
        others = losses(model, every, lengths[i].repeat(len(every)), LABELS[i].repeat(len(every)))
        ranks.append((others < after[i]).float().mean().item())
    assert min(ranks) > 0.5
    assert np.mean(ranks) > 0.95


def test_candidates_that_are_tried_only_raise_the_loss(model, texts):
    tokens, lengths = texts
    one = losses(model, hotflip(model, tokens, lengths, LABELS).examples, lengths)
    tried = hotflip(model, tokens, lengths, LABELS, candidates=4)
    more = losses(model, tried.examples, lengths)
    assert (more >= one - 1e-6).all()
    assert (more > one + 1e-3).any()
    assert tried.queries.tolist() == [5] * 60
    everything = hotflip(model, tokens, lengths, LABELS, candidates=99)  # more than there are places
    assert (losses(model, everything.examples, lengths) >= more - 1e-6).all()


def test_within_the_mask_no_text_changes_what_it_says(model, texts):
    tokens, lengths = texts
    assert says(tokens) == [{label} for label in LABELS.tolist()]
    for n in (1, 2, 3):
        for candidates in (1, 4):
            found = hotflip(model, tokens, lengths, LABELS, n, allowed=HARMLESS, candidates=candidates)
            assert says(found.examples) == says(tokens)
        control = random_words(tokens, lengths, VOCAB_SIZE, n, allowed=HARMLESS, generator=generator())
        assert says(control.examples) == says(tokens)
    free = hotflip(model, tokens, lengths, LABELS).examples
    assert sum(a != b for a, b in zip(says(free), says(tokens), strict=True)) > 30


def test_each_attack_beats_its_control(model, texts):
    tokens, lengths = texts
    assert right(model, tokens, lengths) > 0.9
    for n, allowed in product((1, 2), (None, HARMLESS)):
        attacked = hotflip(model, tokens, lengths, LABELS, n, allowed=allowed).examples
        control = random_words(
            tokens, lengths, VOCAB_SIZE, n, allowed=allowed, generator=generator()
        ).examples
        assert right(model, attacked, lengths) < right(model, control, lengths) - 0.1
    noise = random_direction(model, tokens, lengths, 1.0, generator=generator()).examples
    fast, slow = (pgd(model, tokens, lengths, LABELS, 1.0, num_steps=n).examples for n in (1, 8))
    means = [vector_losses(model, vectors, lengths).mean().item() for vectors in (noise, fast, slow)]
    assert means[0] < means[1] - 0.3
    assert means[1] < means[2]


def test_a_text_with_no_place_in_the_mask_stays(model):
    tokens, lengths = torch.tensor([[2, 3, 20], [4, 5, 0]]), torch.tensor([3, 2])
    for found in (
        hotflip(model, tokens, lengths, LABELS[:2], 2, allowed=HARMLESS),
        random_words(tokens, lengths, VOCAB_SIZE, 2, allowed=HARMLESS, generator=generator()),
    ):
        assert found.words_changed.tolist() == [1, 0]
        assert found.examples[1].tolist() == [4, 5, 0]


def test_texts_do_not_meet_and_nothing_of_the_model_changes(model, texts):
    tokens, lengths = texts
    model.train()
    wide = nn.functional.pad(tokens, (0, 3))
    together = hotflip(model, tokens, lengths, LABELS, 2).examples
    assert hotflip(model, wide, lengths, LABELS, 2).examples[:, :-3].equal(together)
    for i in (0, 7, 31):
        row = tokens[i : i + 1, : lengths[i]]
        alone = hotflip(model, row, lengths[i : i + 1], LABELS[i : i + 1], 2).examples
        assert alone.equal(together[i : i + 1, : lengths[i]])
        alone = pgd(model, row, lengths[i : i + 1], LABELS[i : i + 1], 0.5, num_steps=3).examples
        vectors = pgd(model, tokens, lengths, LABELS, 0.5, num_steps=3).examples
        torch.testing.assert_close(alone, vectors[i : i + 1, : lengths[i]])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_random_words_are_evenly_spread_and_never_the_old_ones():
    tokens, lengths = torch.tensor([[2, 3, 12, 13, 0]]).repeat(6000, 1), torch.full((6000,), 4)
    found = random_words(tokens, lengths, 16, 2, generator=generator())
    changed = found.examples != tokens
    assert (changed.sum(dim=1) == 2).all()
    assert found.words_changed.tolist() == [2] * 6000
    assert not changed[:, 4].any()
    assert found.queries.sum() == 0
    shares = changed.float().mean(dim=0)[:4]
    torch.testing.assert_close(shares, torch.full((4,), 0.5), atol=0.03, rtol=0)
    new = found.examples[:, 0][changed[:, 0]].bincount(minlength=16).float()
    assert new[:3].tolist() == [0, 0, 0]
    torch.testing.assert_close(new[3:] / new.sum(), torch.full((13,), 1 / 13), atol=0.02, rtol=0)


# --- neutral words -------------------------------------------------------------------------------


def test_neutral_words_are_those_of_the_log_count_ratio():
    labels = torch.arange(200) % 2
    sequences = draw(labels, 4)
    vectorizer = CountVectorizer(
        analyzer=lambda ids: [str(i) for i in ids.tolist()],
        vocabulary=[str(i) for i in range(VOCAB_SIZE)],
        binary=True,
    )
    counts = vectorizer.transform(sequences).toarray()
    p, q = (1 + counts[labels.numpy() == label].sum(axis=0) for label in (1, 0))
    ratio = np.abs(np.log((p / p.sum()) / (q / q.sum())))
    for limit in (0.1, 0.5, 2.0):
        neutral = neutral_words(sequences, labels, VOCAB_SIZE, limit)
        assert neutral[2:].tolist() == (ratio[2:] <= limit).tolist()
        assert neutral[:2].tolist() == [False, False]
    assert not neutral_words(sequences, labels, VOCAB_SIZE, 1.0)[:10].any()  # each marker is on one side
    assert not neutral_words([torch.tensor([2]), torch.tensor([3])], torch.tensor([0, 1]), 5, 0.69)[2:4].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": torch.tensor([0, 2])},
            r"0 or 1 and both present, got shape \(2,\) with the labels \[0, 2\]",
        ),
        ({"labels": torch.tensor([1, 1])}, r"with the labels \[1\]"),
        ({"labels": torch.tensor([1])}, r"one label a sequence, \(2,\)"),
        ({"limit": 0.0}, "limit above 0 nats, got 0.0"),
        ({"limit": float("nan")}, "limit above 0 nats, got nan"),
        ({"vocab_size": 3}, "expected token ids from 0 to 2, got 2 to 3"),
        ({"sequences": [torch.tensor([2]), torch.tensor([], dtype=torch.int64)]}, "sequence 1 is empty"),
    ],
)
def test_neutral_words_refuses(change, message):
    usual = {"sequences": [torch.tensor([2]), torch.tensor([2, 3])], "labels": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=message):
        neutral_words(**(usual | {"vocab_size": 5, "limit": 0.5} | change))


# --- embedded tokens -----------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.01, 3.0])
def test_the_move_has_its_norm_and_leaves_padding(model, texts, epsilon):
    tokens, lengths = texts
    start = model.embedding(tokens).detach()
    padding = ~length_mask(lengths, tokens.shape[1])
    for found in (
        pgd(model, tokens, lengths, LABELS, epsilon),
        pgd(model, tokens, lengths, LABELS, epsilon, num_steps=5),
        random_direction(model, tokens, lengths, epsilon, generator=generator()),
    ):
        move = found.examples - start
        norms = move.flatten(1).norm(dim=1)
        assert (norms <= epsilon * 1.001).all()
        if found.queries[0] < 2:
            torch.testing.assert_close(norms, torch.full((60,), epsilon), rtol=1e-3, atol=0)
        assert not move[padding].any()
        assert (move[~padding] != 0).any()
        assert found.words_changed.equal(lengths)


def test_one_step_goes_along_the_gradient_by_finite_differences(model, texts):
    tokens, lengths = texts[0][:1], texts[1][:1]
    exact = TextClassifier(model.config).double()
    exact.load_state_dict(model.state_dict())
    start = exact.embedding(tokens).detach()
    move = (pgd(exact, tokens, lengths, LABELS[:1], 1.0).examples - start).flatten()
    steps = 1e-6 * torch.eye(start.numel(), dtype=torch.float64).view(-1, *start.shape[1:])
    count = len(steps)
    up, down = (
        vector_losses(exact, start + sign * steps, lengths.repeat(count), LABELS[:1].repeat(count))
        for sign in (1, -1)
    )
    gradient = (up - down) / 2e-6
    torch.testing.assert_close(move, gradient / gradient.norm(), rtol=1e-4, atol=1e-6)


def test_many_steps_find_the_best_point_of_the_ball_where_the_loss_is_linear(linear, texts):
    tokens, lengths = texts
    one, many = (pgd(linear, tokens, lengths, LABELS, 0.7, num_steps=n).examples for n in (1, 20))
    torch.testing.assert_close(one, many, rtol=1e-3, atol=1e-4)


# --- errors --------------------------------------------------------------------------------------

ROWS = (torch.tensor([[2, 20, 21], [6, 22, 0]]), torch.tensor([3, 2]), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lengths": torch.tensor([3, 0])}, ValueError, "an empty text has no last state"),
        (
            {"tokens": torch.zeros(0, 3, dtype=torch.int64)},
            ValueError,
            r"at least one text, got shape \(0, 3\)",
        ),
        (
            {"tokens": torch.tensor([2, 3])},
            ValueError,
            r"tokens \(B, T\) of at least one text, got shape \(2,\)",
        ),
        ({"labels": torch.tensor([0, 2])}, ValueError, "expected labels from 0 to 1, got 0 to 2"),
        ({"labels": torch.tensor([0])}, ValueError, r"labels \(B,\), got \(2, 2\) and \(1,\)"),
        ({"labels": torch.tensor([0.0, 1.0])}, TypeError, "class numbers"),
        ({"num_words": 0}, ValueError, "num_words from 1 to 2, the length of the shortest text, got 0"),
        ({"num_words": 3}, ValueError, "num_words from 1 to 2, the length of the shortest text, got 3"),
        ({"candidates": 0}, ValueError, "at least one of the candidates, got 0"),
        (
            {"allowed": torch.ones(3, dtype=torch.bool)},
            ValueError,
            r"one a word, \(40,\), got torch.bool \(3,\)",
        ),
        ({"allowed": torch.ones(40)}, ValueError, r"mask of bools, one a word, \(40,\), got torch.float32"),
        ({"allowed": torch.arange(40) < 3}, ValueError, "two words that are allowed, this mask has 1"),
        ({"tokens": torch.tensor([[2, 20, 99], [6, 22, 0]])}, ValueError, "expected token ids from 0 to 39"),
    ],
)
def test_hotflip_refuses(model, change, error, message):
    given = dict(zip(("tokens", "lengths", "labels"), ROWS, strict=True)) | change
    with pytest.raises(error, match=message):
        hotflip(model, **given)
    if not {"labels", "candidates"} & set(change):
        del given["labels"]
        with pytest.raises(error, match=message):
            random_words(vocab_size=VOCAB_SIZE, generator=generator(), **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.0}, "norm epsilon above 0, got 0.0"),
        ({"epsilon": -1.0}, "norm epsilon above 0, got -1.0"),
        ({"epsilon": float("nan")}, "norm epsilon above 0, got nan"),
        ({"num_steps": 0}, "num_steps of at least 1, got 0"),
        ({"lengths": torch.tensor([3, 0])}, "an empty text has no last state"),
        ({"labels": torch.tensor([0, 5])}, "expected labels from 0 to 1, got 0 to 5"),
    ],
)
def test_moves_refuse(model, change, message):
    given = dict(zip(("tokens", "lengths", "labels"), ROWS, strict=True)) | {"epsilon": 1.0} | change
    with pytest.raises(ValueError, match=message):
        pgd(model, **given)
    if not {"labels", "num_steps"} & set(change):
        del given["labels"]
        with pytest.raises(ValueError, match=message):
            random_direction(model, generator=generator(), **given)
